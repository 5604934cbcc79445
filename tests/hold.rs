//! `--hold`: the stdout of a successful attempt passes once and complete, and the stdout of a
//! failed attempt does not pass.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::needs;
use crate::support::pipe::{fill, full_pipe, set_nonblocking};
use crate::support::retry::BINARY;
use crate::support::scratch::quoted;
use crate::support::{Retry, Scratch, Terminal, retry};

/// Bytes from which a test can tell the place of a loss. They contain all values.
fn bytes(length: usize) -> Vec<u8> {
    (0_u32..).flat_map(|n| (n.wrapping_mul(2_654_435_761)).to_ne_bytes()).take(length).collect()
}

#[test]
fn only_the_attempt_that_succeeds_is_passed_on() {
    let run = retry().args(["--hold", "-d0"]).sh("echo half $RETRY_ATTEMPT; [ $RETRY_ATTEMPT = 3 ]").run();
    run.code(0).stdout("half 3\n").stderr_is(
        &predicates::str::is_match(
            "^retry: sh: attempt 1 of 5 wrote 7 bytes to stdout:\nhalf 1\n\
         retry: sh: attempt 1 of 5 exited 1; next in 0s\n\
         retry: sh: attempt 2 of 5 wrote 7 bytes to stdout:\nhalf 2\n\
         retry: sh: attempt 2 of 5 exited 1; next in 0s\n\
         retry: sh: succeeded at attempt 3 of 5 in [0-9.]+m?s\n$",
        )
        .unwrap(),
    );
    let run = retry().args(["--hold", "-n2", "-d0", "-q"]).sh("echo half; exit 3").run();
    run.code(3).stdout("").says(&["{*}gave up after 2 attempts{*}"]);
    run.check(!run.stderr.contains("half"), "quiet");
    retry().args(["--hold", "-n2", "-d0", "-qq"]).sh("echo half; exit 3").run().code(3).stdout("").silent();
    // An exit with 0 may be a failure here, and an exit with 3 a success.
    let run = retry().args(["--hold", "-n2", "-d0", "-u", "stdout~^ready"]);
    run.sh("[ $RETRY_ATTEMPT = 2 ] && echo ready; echo more").run().code(0).stdout("ready\nmore\n");
    retry().args(["--hold", "--success-on", "3"]).sh("echo it; exit 3").run().code(3).stdout("it\n");
    retry().args(["--hold", "true"]).run().code(0).stdout("").silent();
}

#[test]
fn it_passes_whole_at_any_size_in_little_memory() {
    let scratch = Scratch::new();
    for length in [0, 1, 65_536, 1_048_576, 1_048_577, 20_000_001] {
        let bytes = bytes(length);
        let file = scratch.file("bytes", &bytes);
        let directory = scratch.join("tmp");
        let _ = fs::create_dir(&directory);
        let script =
            format!("cat {}; grep VmHWM /proc/$PPID/status >&2; [ $RETRY_ATTEMPT = 2 ]", quoted(&file));
        let run = retry().args(["--hold", "-q", "-d0"]).sh(script).env("TMPDIR", &directory).run();
        run.code(0).check(run.stdout == bytes, "these bytes");
        let peaks = run.stderr.lines().map(|line| line.split_whitespace().nth(1).unwrap().parse().unwrap());
        let peaks: Vec<u64> = peaks.collect();
        run.check(
            peaks.len() == 2 && peaks.iter().all(|peak| *peak < 16 * 1024),
            "under 16 MiB, unoptimised",
        );
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    }
}

#[test]
fn several_writers_are_all_kept() {
    let run = retry().arg("--hold").sh("echo a; echo b >/dev/stdout; echo c >>/dev/stdout; echo d").run();
    run.code(0).stdout("a\nb\nc\nd\n");
    // Each block arrives in one piece, whatever its position (PIPE_BUF, pipe(7)).
    let run = retry().arg("--hold").sh("for n in a b c; do yes $n$n$n | head -c 400000 & done; wait").run();
    let mut counts = [0; 3];
    for line in run.code(0).stdout.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        counts[usize::from(line[0] - b'a')] += 1;
    }
    assert_eq!(counts, [100_000; 3]);
}

#[test]
fn of_a_failed_attempt_the_end_goes_to_stderr() {
    let with = |script: &str| retry().args(["--hold", "-n1"]).sh(script).run();
    let lines: Vec<String> = (1..=20_000).map(|n| format!("{n:05}\n")).collect();
    let run = with("seq -f %05g 20000; exit 3");
    run.code(3).stdout("");
    let (first, rest) = run.stderr.split_once('\n').unwrap();
    assert_eq!(first, "retry: sh: attempt 1 of 1 wrote 117.1KiB to stdout; the last 64KiB of the output:");
    let (end, last) = rest.split_at(64 * 1024);
    run.check(end == &lines.concat()[120_000 - 64 * 1024..], "the last 64 KiB");
    run.check(last.starts_with("retry: sh: gave up"), "and the line after it");
    // A last line without a newline gets one. Empty output is not mentioned, and binary output is
    // not shown.
    with("printf abc; exit 3").stderr_contains("bytes to stdout:\nabc\nretry: sh: gave up");
    with("exit 3").says(&["{*} gave up {*}"]);
    let run = with("printf 'a\\0b'; exit 3");
    run.says(&[
        "retry: sh: attempt 1 of 1 wrote 3 bytes to stdout; binary output is not shown",
        "{*} gave up {*}",
    ]);
    run.check(!run.stderr.contains('\0'), "no byte of it");
    // A stderr without a reader does not stop the run.
    let (_reader, writer) = full_pipe();
    let run = retry().args(["--hold", "-n3", "-d0"]).sh("seq 20000; exit 3").stderr(writer).run();
    run.code(3).stdout("");
}

#[test]
fn stderr_passes_at_once_and_by_itself() {
    let scratch = Scratch::new();
    let gate = scratch.join("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = format!("echo out; echo err >&2; read go <{}", quoted(&gate));
    // The second set of options also watches stderr.
    for options in [&["--hold"][..], &["--hold", "-r", "stderr~never"]] {
        let running = retry().args(options).sh(&script).spawn();
        running.wait_for_stderr("err\n");
        assert_eq!(running.stdout_so_far(), b"");
        fs::write(&gate, "\n").unwrap();
        running.wait_bounded().code(0).stdout("out\n").stderr("err\n");
    }
    // If both streams go to one file, the held output comes last.
    let both = scratch.join("both");
    let file = File::create(&both).unwrap();
    let run = retry().arg("--hold").sh("echo out; echo err >&2").stdout(file.try_clone().unwrap());
    run.stderr(file).run().code(0);
    assert_eq!(fs::read_to_string(both).unwrap(), "err\nout\n");
}

#[test]
fn what_stays_in_the_background_holds_up_nothing() {
    let scratch = Scratch::new();
    let (gate, log) = (scratch.join("gate"), scratch.log("log"));
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Late output from the background of a failed attempt is dropped, and does not kill the writer
    // while retry runs.
    let script = format!(
        "if [ $RETRY_ATTEMPT = 1 ]; then
             (read go <{gate}; echo late || exit; {logs}) & exit 3
         fi
         echo go >{gate}; until [ -s {log} ]; do sleep 0.01; done; echo done",
        gate = quoted(&gate),
        log = quoted(log.path()),
        logs = log.echo("written")
    );
    let run = retry().args(["--hold", "-d0", "-q"]).sh(script).run();
    run.code(0).stdout("done\n").silent();
    // The output contains everything that any process wrote before the command ended.
    let script = format!(
        "(echo early; {}; sleep 600) & until [ -s {} ]; do sleep 0.01; done; echo end",
        log.echo("x"),
        quoted(log.path())
    );
    fs::write(log.path(), "").unwrap();
    retry().arg("--hold").sh(script).run().code(0).stdout("early\nend\n");
}

#[test]
fn a_broken_pipe_downstream_ends_as_without_retry() {
    let bash = |command: &str| {
        Retry::new("bash").args(["-c", &format!("{command} | head -n1; echo ${{PIPESTATUS[0]}}")]).run()
    };
    let plain = bash("seq 1000000");
    plain.code(0).stdout("1\n141\n").silent();
    bash(&format!("{BINARY} --hold -- seq 1000000")).code(0).stdout("1\n141\n").silent();
    let run = bash(&format!("{BINARY} -v --hold -- seq 1000000"));
    run.code(0).says(&[
        "retry: seq: succeeded at attempt 1 of 5 in {T}; the reader of the command's output is gone",
    ]);
    // The reader left earlier: the command gets the error when it writes, and is not run again.
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let run = retry().args(["--hold", "-d0"]).sh("while :; do echo x; done").stdout(writer).run();
    run.code(141).silent();
    // If PIPE is ignored, retry reports an error, as the command would.
    let run = bash(&format!("(trap '' PIPE; exec {BINARY} --hold -- seq 1000000)"));
    run.code(0).stdout("1\n125\n").says(&["retry: cannot write to stdout: Broken pipe"]);
}

#[test]
fn a_slow_reader_gets_all() {
    let bytes = bytes(300_000);
    let scratch = Scratch::new();
    let file = scratch.file("bytes", &bytes);
    let (mut reader, writer) = io::pipe().unwrap();
    let running = retry().args(["--hold", "cat"]).arg(&file).stdout(writer).spawn();
    // This pause is longer than retry waits for the reader of a watched stream.
    thread::sleep(Duration::from_millis(1500));
    assert!(!running.ended());
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    assert!(read == bytes);
    running.wait_bounded().code(0).silent();
}

#[test]
fn what_cannot_be_passed_on_whole_is_no_success() {
    let unread = |options: &[&str]| {
        let (reader, mut writer) = io::pipe().unwrap();
        fill(&mut writer);
        (reader, retry().args(options).args(["--hold", "echo", "x"]).stdout(writer))
    };
    let (_reader, run) = unread(&["--deadline", "0.5"]);
    run.run()
        .code(125)
        .says(&["retry: the command has ended, but the reader of its stdout did not read all of it"]);
    for (signal, name) in [(Signal::SIGTERM, "TERM"), (Signal::SIGINT, "INT")] {
        let (_reader, run) = unread(&["-v"]);
        let running = run.spawn();
        crate::support::process::wait_until("the command to have ended", || {
            crate::support::process::children_of(running.pid()).is_empty() && in_poll(running.pid())
        });
        running.signal(signal);
        let run = running.wait_bounded();
        run.signal(signal).says(&[&format!(
            "retry: echo: succeeded at attempt 1 of 5 in {{T}}; interrupted by {name} while retry passed on the command's output"
        )]);
    }
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let run = retry().args(["--hold", "echo", "x"]).stdout(full).run();
    run.code(125).says(&["retry: cannot write to stdout: No space left on device"]);
    // The idempotency key is kept, because the answer has reached nobody.
    let scratch = Scratch::new();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let option = format!("--idempotency-key=file:{}", scratch.join("key").display());
    retry().args(["--hold", &option, "echo", "x"]).stdout(full).run().code(125);
    assert!(scratch.join("key").exists());
}

/// Tells whether a process has been waiting in poll(2) for a while.
fn in_poll(pid: i32) -> bool {
    let waits = || fs::read_to_string(format!("/proc/{pid}/wchan")).is_ok_and(|place| place.contains("poll"));
    waits()
        && (0..20).all(|_| {
            thread::sleep(Duration::from_millis(2));
            waits()
        })
}

#[test]
fn without_room_it_is_a_failure_of_retry() {
    let scratch = Scratch::new();
    let said = |place: &str, why: &str| {
        [
            format!("retry: the command succeeded, but retry could not keep its stdout in {place}: {why}"),
            "retry: hint: set TMPDIR to use another directory".to_owned(),
        ]
    };
    let large = "head -c 3000000 /dev/zero";
    let run = retry().arg("--hold").sh(large).env("TMPDIR", "/nonexistent").run();
    run.code(125)
        .stdout("")
        .says(&said("/nonexistent", "No such file or directory").each_ref().map(String::as_str));
    // A failed attempt is judged as usual, and the end of its output is shown.
    let script = "[ $RETRY_ATTEMPT = 2 ] || { seq 1000000; exit 3; }; echo done";
    let run = retry().args(["--hold", "-d0"]).sh(script).env("TMPDIR", "/nonexistent").run();
    run.code(0).stdout("done\n").stderr_contains("999999\n1000000\nretry: sh: attempt 1 of 5 exited 3");
    let script = format!(
        "mount -t tmpfs -o size=2m tmpfs {directory} || exit 99
         TMPDIR={directory} {BINARY} --hold -- {large}",
        directory = scratch.path().display()
    );
    let run = Retry::new("unshare").args(["--mount", "sh", "-c", &script]).run();
    if run.status.code() == Some(99) || run.stderr.contains("unshare") {
        needs::left_out("the right to mount a file system");
        return;
    }
    let place = scratch.path().to_str().unwrap();
    run.code(125).stdout("").says(&said(place, "No space left on device").each_ref().map(String::as_str));
}

#[test]
fn a_timeout_passes_nothing_on() {
    let script = "echo $RETRY_ATTEMPT; [ $RETRY_ATTEMPT = 2 ] || sleep 600";
    let run = retry().args(["--hold", "-d0", "--timeout", "1"]).sh(script).run();
    run.code(0).stdout("2\n").stderr_contains("bytes to stdout:\n1\n");
    let run = retry().args(["--hold", "--deadline", "1"]).sh("echo 1; sleep 600").run();
    run.code(124).stdout("").stderr_contains("bytes to stdout:\n1\n");
    // A signal to retry passes nothing on either.
    let running = retry().args(["--hold"]).sh("echo 1; echo err >&2; sleep 600").spawn();
    running.wait_for_stderr("err\n");
    running.signal(Signal::SIGTERM);
    running.wait_bounded().signal(Signal::SIGTERM).stdout("").stderr_contains("bytes to stdout:\n1\n");
}

#[test]
fn a_terminal_a_closed_stdout_and_one_that_does_not_block() {
    let mut terminal = Terminal::shell();
    let seen = terminal.command(
        "retry -q --hold -d0 -- sh -c 'test -t 1 || echo no-$RETRY_ATTEMPT; [ $RETRY_ATTEMPT = 2 ]'",
    );
    assert!(seen.contains("no-2") && !seen.contains("no-1"), "{seen}");
    // A closed stdout stays closed.
    let run = Retry::new("sh").args(["-c", &format!("{BINARY} --hold -n1 -- sh -c 'echo x || exit 9' >&-")]);
    run.run().code(9);
    let (mut reader, writer) = io::pipe().unwrap();
    set_nonblocking(&writer, true);
    let running = retry().args(["--hold"]).sh("seq 100000").stdout(writer).spawn();
    let mut read = String::new();
    reader.read_to_string(&mut read).unwrap();
    running.wait_bounded().code(0).silent();
    assert_eq!(read.lines().count(), 100_000);
}

#[test]
fn conditions_see_what_is_held() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let script = format!("{}; echo busy; exit 1", log.echo("x"));
    let run = retry().args(["--hold", "-d0", "-n3", "-r", "stdout~^busy$"]).sh(&script).run();
    run.code(1).stdout("");
    assert_eq!(log.lines().len(), 3);
    let run = retry().args(["--hold", "-d0", "-x", "output~^busy$"]).sh(&script).run();
    run.code(1).stdout("").stderr_contains("not retried: exited 1 (fatal by --fatal-on output~^busy$");
    assert_eq!(log.lines().len(), 4);
    let many: String =
        (0..400_000).flat_map(|n| ["line ".to_owned(), n.to_string(), "\n".to_owned()]).collect();
    scratch.file("many", &many);
    let run = retry().args(["--hold", "-u", "stdout~^line 399999$", "cat"]).arg(scratch.join("many")).run();
    run.code(0).check(run.stdout == many.as_bytes(), "all of it");
}

#[test]
fn what_a_background_process_writes_while_it_is_passed_on_is_dropped() {
    let scratch = Scratch::new();
    let gate = scratch.join("gate");
    let script =
        format!("echo done; (until [ -e {} ]; do sleep 0.01; done; exec yes) & exit 0", quoted(&gate));
    let (mut reader, mut writer) = io::pipe().unwrap();
    fill(&mut writer);
    let running = retry().arg("--hold").sh(script).stdout(writer).spawn();
    crate::support::process::wait_until("the wait for the reader", || in_poll(running.pid()));
    fs::write(&gate, "").unwrap();
    thread::sleep(Duration::from_millis(300));
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    running.wait_bounded().code(0).silent();
    assert_eq!(String::from_utf8_lossy(&read).trim_start_matches('.'), "done\n");
}

#[test]
fn a_signal_that_the_command_answers_with_success_ends_the_wait_for_a_reader() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let (_reader, mut writer) = io::pipe().unwrap();
    fill(&mut writer);
    let script = format!("trap 'exit 0' TERM; echo x; {}; while :; do sleep 0.02; done", log.echo("ready"));
    let running = retry().arg("--hold").sh(script).stdout(writer).spawn();
    log.wait_for(1);
    running.signal(Signal::SIGTERM);
    running
        .wait_bounded()
        .signal(Signal::SIGTERM)
        .stderr_contains("interrupted by TERM while retry passed on the command's output");
}

#[test]
fn a_success_at_the_deadline_is_passed_on_to_a_reader_that_takes_it() {
    let run = retry().args(["--hold", "--deadline", "0.5", "--success-on", "timeout"]);
    let run = run.sh("seq 100000; exec sleep 600").run();
    run.code(124).check(run.stdout.len() == 588_895, "all of it");
}

#[test]
fn a_pipe_that_the_command_makes_larger_loses_nothing() {
    need!("python3");
    let program = "import fcntl, os
fcntl.fcntl(1, 1031, 1 << 20)
os.write(1, b'x' * (1 << 20))";
    for options in [&["-r", "stdout~never"][..], &["--hold"]] {
        let (mut reader, writer) = io::pipe().unwrap();
        let running = retry().args(options).args(["python3", "-c", program]).stdout(writer).spawn();
        // The command has ended, and most of its output is still in the pipe.
        thread::sleep(Duration::from_millis(500));
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        running.wait_bounded().code(0);
        assert_eq!(read.len(), 1 << 20, "{options:?}");
    }
}

#[test]
fn no_line_is_lost_to_what_is_shown_before_it() {
    // The test reads stderr only after retry has written all its messages.
    let (mut reader, writer) = io::pipe().unwrap();
    let running = retry().args(["--hold", "-n4", "-d0"]).sh("seq 20000; exit 3").stderr(writer).spawn();
    thread::sleep(Duration::from_millis(300));
    let mut read = String::new();
    reader.read_to_string(&mut read).unwrap();
    running.wait_bounded().code(3).stdout("");
    let lines: Vec<&str> = read.lines().filter(|line| line.starts_with("retry: ")).collect();
    assert_eq!(lines.len(), 8, "{lines:#?}");
    assert!(lines[7].contains("gave up after 4 attempts"), "{lines:#?}");
}

#[test]
fn where_both_streams_are_one_what_was_said_comes_first_and_nothing_is_torn() {
    let (mut reader, writer) = io::pipe().unwrap();
    let script = "seq -f %.0f 100000 160000; [ $RETRY_ATTEMPT = 3 ]";
    let run = retry().args(["--hold", "-d0"]).sh(script).stdout(writer.try_clone().unwrap()).stderr(writer);
    let running = run.spawn();
    thread::sleep(Duration::from_millis(100));
    let mut read = String::new();
    reader.read_to_string(&mut read).unwrap();
    running.wait_bounded().code(0);
    assert!(read.lines().all(|line| line.starts_with("retry: ") || line.len() <= 6), "torn");
    let output = read.find("\n100000\n").unwrap();
    assert!(read.find("attempt 2 of 5 exited 1").unwrap() < output);
    assert!(read[output..].contains("\n160000\nretry: sh: succeeded"));
}

#[test]
fn messages_are_not_held() {
    let (one, _other) = std::os::unix::net::UnixDatagram::pair().unwrap();
    let run = retry().args(["--hold", "echo", "x"]).stdout(std::os::fd::OwnedFd::from(one)).run();
    run.code(125)
        .says(&["retry: stdout is a socket with message boundaries, and --hold would lose them", "{*}"]);
}
