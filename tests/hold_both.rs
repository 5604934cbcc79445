//! `--hold=both`: stdout and stderr of a successful attempt pass once, complete and where they
//! belong. If the run fails, the output of its last attempt is shown on stderr, in order.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::pipe::fill;
use crate::support::process::{children_of, wait_until};
use crate::support::retry::BINARY;
use crate::support::scratch::quoted;
use crate::support::terminal::CTRL_C;
use crate::support::{Retry, Run, Scratch, Terminal, retry};

/// A quiet run of a script that writes `out N` and `err N` in attempt N.
fn quiet(options: &[&str], end: &str) -> Run {
    let script = format!("echo out $RETRY_ATTEMPT; echo err $RETRY_ATTEMPT >&2; {end}");
    retry().args(["--hold=both", "-d0", "-n3"]).args(options).sh(script).run()
}

#[test]
fn a_run_that_recovers_is_silent_but_for_its_output() {
    quiet(&["-q"], "[ $RETRY_ATTEMPT = 3 ]").code(0).stdout("out 3\n").stderr("err 3\n");
    quiet(&[], "true").code(0).stdout("out 1\n").stderr("err 1\n");
    // An exit with 0 may be a failure here, and an exit with 3 a success.
    quiet(&["-q", "-u", "stderr~^err 2$"], "true").code(0).stdout("out 2\n").stderr("err 2\n");
    quiet(&["-q", "--success-on", "3"], "exit 3").code(3).stdout("out 1\n").stderr("err 1\n");
    // retry's own lines do not wait for the verdict.
    let run = quiet(&[], "[ $RETRY_ATTEMPT = 2 ]");
    run.code(0).stdout("out 2\n").stderr_is(
        &predicates::str::is_match(
            "^retry: sh: attempt 1 of 3 exited 1; next in 0s\nerr 2\n\
             retry: sh: succeeded at attempt 2 of 3 in [0-9.]+m?s\n$",
        )
        .unwrap(),
    );
}

#[test]
fn a_run_that_fails_shows_the_last_attempt_and_the_final_error() {
    let gave_up = "retry: sh: gave up after 3 attempts in [0-9.]+m?s: exited 7\n$";
    let like = |text: &str| predicates::str::is_match(format!("^{text}")).unwrap();
    let run = quiet(&["-q"], "exit 7");
    run.code(7).stdout("").stderr_is(&like(&format!("out 3\nerr 3\n{gave_up}")));
    let run = quiet(&[], "exit 7");
    run.code(7).stdout("").stderr_is(&like(&format!(
        "retry: sh: attempt 1 of 3 exited 7; next in 0s\n\
         retry: sh: attempt 2 of 3 exited 7; next in 0s\n\
         retry: sh: attempt 3 of 3 wrote 12 bytes:\nout 3\nerr 3\n{gave_up}"
    )));
    // -qq keeps retry quiet, not the command.
    quiet(&["-qq"], "exit 7").code(7).stdout("").stderr("out 3\nerr 3\n");
    // A failure that is not retried ends the run too.
    let run = quiet(&["-q", "-x", "stderr~^err 2$"], "exit 7");
    run.code(7).stdout("").stderr_contains("out 2\nerr 2\nretry: sh: not retried: exited 7");
    // Output without a newline gets one.
    let run = retry().args(["--hold=both", "-n1", "-q"]).sh("printf abc >&2; exit 7").run();
    run.stderr_contains("abc\nretry: sh: gave up");
    retry().args(["--hold=both", "-n1", "-q"]).sh("exit 7").run().says(&["{*} gave up {*}"]);
}

#[test]
fn what_is_left_out_is_said_unless_nothing_may_be() {
    let with = |option: &str, script: &str| {
        let run =
            retry().args(["--hold=both", "-n1", "-d0"]).args(option.split_whitespace()).sh(script).run();
        run.code(3).stdout("");
        run
    };
    let long = "seq -f %05g 10000; seq -f %05g 10001 20000 >&2; exit 3";
    let lines = (10_001..=20_000).map(|n| format!("{n:05}\n")).collect::<Vec<_>>().concat();
    let run = with("-q", long);
    let (first, rest) = run.stderr.split_once('\n').unwrap();
    assert_eq!(first, "retry: sh: attempt 1 of 1 wrote 117.1KiB; the last 64KiB of the output:");
    // The last 64 KiB begin in stdout's part, because stderr has 60,000 bytes.
    assert_eq!(rest.find("retry: sh: gave up"), Some(64 * 1024));
    run.check(rest.contains(&format!("\n10000\n{lines}retry: sh: gave up")), "both in order");
    let run = with("-qq", long);
    run.check(run.stderr.len() == 64 * 1024 && run.stderr.ends_with(&lines), "the end alone");
    let binary = "printf 'a\\0b' >&2; exit 3";
    for option in ["", "-q"] {
        with(option, binary).says(&[
            "retry: sh: attempt 1 of 1 wrote 3 bytes; binary output is not shown",
            "{*} gave up {*}",
        ]);
    }
    with("-qq", binary).silent();
}

#[test]
fn the_order_of_the_two_streams_is_kept() {
    let scratch = Scratch::new();
    // In one file the order is exact, however fast the command writes.
    for end in ["exit 3", "exit 0"] {
        let script = format!("for n in 1 2 3 4 5 6 7 8 9; do echo $n; echo e$n >&2; done; {end}");
        let file = File::create(scratch.join("both")).unwrap();
        let run = retry().args(["--hold=both", "-q", "-n1"]).sh(script);
        run.stdout(file.try_clone().unwrap()).stderr(file).run();
        let expected = (1..=9).map(|n| format!("{n}\ne{n}\n")).collect::<Vec<_>>().concat();
        let found = fs::read_to_string(scratch.join("both")).unwrap();
        assert!(found.starts_with(&expected), "{end}: {found}");
    }
    need!("python3");
    // This program writes to the other stream when retry has read all of the first (FIONREAD).
    let program = "import array, fcntl, os, sys, termios, time
left = array.array('i', [0])
for n in range(60):
    stream = 1 + n * n // 7 % 2
    os.write(stream, b'%d on %d\\n' % (n, stream))
    while fcntl.ioctl(stream, termios.FIONREAD, left) or left[0]:
        time.sleep(0.0005)
sys.exit(int(sys.argv[1]))";
    let line = |n: usize| format!("{n} on {}\n", 1 + n * n / 7 % 2);
    let only = |end: &str| (0..60).map(line).filter(|line| line.ends_with(end)).collect::<String>();
    let run = retry().args(["--hold=both", "-q", "-n1", "python3", "-c", program]);
    let failed = run.arg("3").run();
    failed.code(3).stdout("");
    let all: String = (0..60).map(line).collect();
    failed.check(failed.stderr.starts_with(&format!("{all}retry: python3: gave up")), "all in order");
    let run = retry().args(["--hold=both", "-q", "-n1", "python3", "-c", program, "0"]).run();
    run.code(0).stdout(only("on 1\n")).stderr(&only("on 2\n"));
}

#[test]
fn both_pass_whole_at_any_size_in_little_memory() {
    let scratch = Scratch::new();
    let bytes: Vec<u8> =
        (0_u32..).flat_map(|n| n.wrapping_mul(2_654_435_761).to_ne_bytes()).take(9_000_001).collect();
    let file = quoted(scratch.file("bytes", &bytes));
    let peak = quoted(scratch.join("peak"));
    let directory = scratch.join("tmp");
    fs::create_dir(&directory).unwrap();
    // The parts of the two streams come in turns.
    let script = format!(
        "for n in 0 1 2 3 4 5 6 7 8; do
             tail -c +$((n * 1000000 + 1)) {file} | head -c 1000000
             tail -c +$((n * 1000000 + 1)) {file} | head -c 1000000 >&2
         done; tail -c 1 {file}; tail -c 1 {file} >&2
         grep VmHWM /proc/$PPID/status >{peak}; [ $RETRY_ATTEMPT = 2 ]"
    );
    let errors = File::create(scratch.join("errors")).unwrap();
    let run = retry().args(["--hold=both", "-q", "-d0"]).sh(script).env("TMPDIR", &directory).stderr(errors);
    let run = run.run();
    run.code(0).check(run.stdout == bytes, "these bytes");
    assert!(fs::read(scratch.join("errors")).unwrap() == bytes);
    let peak: u64 =
        fs::read_to_string(scratch.join("peak")).unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    run.check(peak < 16 * 1024, "under 16 MiB, unoptimised");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
}

#[test]
fn a_slow_reader_gets_all_and_a_reader_that_goes_away_ends_the_run() {
    let (mut reader, writer) = io::pipe().unwrap();
    let running = retry().args(["--hold=both", "-q"]).sh("seq 30000 >&2; echo out").stderr(writer).spawn();
    // This pause is longer than retry waits for the reader of a watched stream.
    thread::sleep(Duration::from_millis(1300));
    assert!(!running.ended());
    let mut read = String::new();
    reader.read_to_string(&mut read).unwrap();
    running.wait_bounded().code(0).stdout("out\n");
    assert_eq!(read.lines().count(), 30_000);
    // The reader of one stream goes away: the other one passes, and retry dies of PIPE.
    for is_stdout in [true, false] {
        let (reader, mut writer) = io::pipe().unwrap();
        fill(&mut writer);
        let scratch = Scratch::new();
        let log = scratch.log("log");
        let script = format!("echo a; echo b >&2; echo c; echo d >&2; {}", log.echo("written"));
        let run = retry().args(["--hold=both", "-q"]).sh(script);
        let run = if is_stdout { run.stdout(writer) } else { run.stderr(writer) };
        let running = run.spawn();
        log.wait_for(1);
        drop(reader);
        let run = running.wait_bounded();
        run.signal(Signal::SIGPIPE);
        if is_stdout {
            run.stderr("b\nd\n")
        } else {
            run.stdout("a\nc\n")
        };
    }
    let bash = |command: &str| {
        Retry::new("bash").args(["-c", &format!("{command} | head -n1; echo ${{PIPESTATUS[0]}}")]).run()
    };
    bash(&format!("{BINARY} --hold=both -- seq 1000000")).code(0).stdout("1\n141\n").silent();
    let both = format!("{BINARY} --hold=both -- sh -c 'seq 100000; echo note >&2; seq 100000'");
    bash(&both).code(0).stdout("1\n141\n").stderr("note\n");
    // The reader left earlier. What the command said on stderr is shown, and the rest is not.
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let script = "echo why >&2; while :; do echo x; done";
    let run = retry().args(["--hold=both", "-d0", "-q"]).sh(script).stdout(writer).run();
    run.code(141).stderr("why\n");
}

#[test]
fn what_cannot_be_kept_or_passed_on_is_no_success() {
    let large = "head -c 2000000 /dev/zero >&2";
    let run = retry().args(["--hold=both", "-q"]).sh(large).env("TMPDIR", "/nonexistent").run();
    run.code(125).stdout("").says(&[
        "retry: the command succeeded, but retry could not keep its output in /nonexistent: \
         No such file or directory",
        "retry: hint: set TMPDIR to use another directory",
    ]);
    // A failed attempt is judged as usual, and the end of its output is shown.
    let script = "seq 300000; echo why >&2; exit 3";
    let run =
        retry().args(["--hold=both", "-n2", "-d0", "-q"]).sh(script).env("TMPDIR", "/nonexistent").run();
    run.code(3).stdout("").stderr_contains("\n300000\n").stderr_contains("why\n");
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let run = retry().args(["--hold=both", "sh", "-c", "echo y >&2; echo x"]).stderr(full()).run();
    run.code(125).stdout("x\n");
    let run = retry().args(["--hold=both", "sh", "-c", "echo y >&2; echo x"]).stdout(full()).run();
    run.code(125).stderr("y\nretry: cannot write to stdout: No space left on device\n");
    // Nobody takes the held output until a signal ends the run, whichever stream it is.
    for is_stdout in [true, false] {
        let (_reader, mut writer) = io::pipe().unwrap();
        fill(&mut writer);
        let scratch = Scratch::new();
        let log = scratch.log("log");
        let script = format!("echo y >&2; echo x; {}", log.echo("over"));
        let run = retry().arg("--hold=both").sh(script);
        let running = if is_stdout { run.stdout(writer) } else { run.stderr(writer) }.spawn();
        log.wait_for(1);
        wait_until("the end of the attempt", || children_of(running.pid()).is_empty());
        thread::sleep(Duration::from_millis(100));
        assert!(!running.ended());
        running.signal(Signal::SIGTERM);
        running.wait_bounded().signal(Signal::SIGTERM);
    }
    // Nobody takes the held stderr until the deadline.
    let (_reader, mut writer) = io::pipe().unwrap();
    fill(&mut writer);
    let run =
        retry().args(["--hold=both", "--deadline", "0.5"]).sh("echo y >&2; echo x").stderr(writer).run();
    run.code(125);
    let (one, _other) = std::os::unix::net::UnixDatagram::pair().unwrap();
    let run = retry().args(["--hold=both", "echo", "x"]).stderr(std::os::fd::OwnedFd::from(one)).run();
    run.code(125).stdout("");
}

#[test]
fn a_limit_or_a_signal_shows_the_attempt_that_it_ended() {
    let script = "echo out $RETRY_ATTEMPT; echo err $RETRY_ATTEMPT >&2; exec sleep 600";
    let run = retry().args(["--hold=both", "-q", "-n2", "-d0", "--timeout", "0.5"]).sh(script).run();
    run.code(124).stdout("").stderr_contains("out 2\nerr 2\nretry: sh: gave up");
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let script = format!("echo out; echo err >&2; {}; exec sleep 600", log.echo("ready"));
    let running = retry().args(["--hold=both", "-q"]).sh(script).spawn();
    log.wait_for(1);
    running.signal(Signal::SIGTERM);
    let run = running.wait_bounded();
    run.signal(Signal::SIGTERM).stdout("");
    run.stderr_contains("out\nerr\nretry: sh: interrupted by TERM during attempt 1 of 5");
    // During a wait, it is the attempt before.
    let running = retry().args(["--hold=both", "-q", "-d600", "-jnone"]);
    let running = running.sh(format!("echo out; echo err >&2; {}; exit 1", log.echo("over"))).spawn();
    log.wait_for(2);
    wait_until("the end of the attempt", || children_of(running.pid()).is_empty());
    running.signal(Signal::SIGTERM);
    let run = running.wait_bounded();
    run.signal(Signal::SIGTERM).stdout("").stderr_contains("out\nerr\nretry: sh: interrupted by TERM");
}

#[test]
fn what_stays_in_the_background_holds_up_nothing() {
    let scratch = Scratch::new();
    let gate = scratch.join("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let log = scratch.log("log");
    // Both pipes stay open, and what comes late from a failed attempt is dropped.
    let script = format!(
        "if [ $RETRY_ATTEMPT = 1 ]; then
             (read go <{gate}; echo late; echo late >&2 || exit; {logs}) & echo early >&2; exit 3
         fi
         echo go >{gate}; until [ -s {log} ]; do sleep 0.01; done; echo done >&2
         sleep 600 & exit $((RETRY_ATTEMPT - 2))",
        gate = quoted(&gate),
        log = quoted(log.path()),
        logs = log.echo("written")
    );
    retry().args(["--hold=both", "-q", "-d0"]).sh(script).run().code(0).stdout("").stderr("done\n");
}

#[test]
fn rules_checks_and_input_work_as_without_it() {
    let scratch = Scratch::new();
    // A profile reads what is held.
    let curl = scratch.script("curl", "echo 'curl: (22) The requested URL returned error: 404' >&2; exit 22");
    let run = retry().args(["--hold=both", "-q"]).arg(curl).run();
    run.code(22).stderr_contains("error: 404\nretry: curl: not retried: exited 22 (HTTP 404");
    // The output of a check is held too.
    let check = "echo checked $RETRY_ATTEMPT; exit $((RETRY_ATTEMPT < 3 ? 7 : 1))";
    let run = |options: &[&str], script: &str| {
        retry().args(["--hold=both", "-q", "-d0", "--check", check]).args(options).sh(script).run()
    };
    run(&[], "echo out; echo err >&2").code(0).stdout("out\n").stderr("checked 3\nerr\n");
    let failed = run(&["-n2"], "echo out; exit 1");
    failed.code(7).stdout("").stderr_contains("checked 2\nretry: sh: gave up");
    let failed = run(&["-n3"], "echo out; exit 1");
    failed.code(1).stdout("").stderr_contains("checked 3\nout\nretry: sh: gave up");
    let done = retry().args(["--hold=both", "-q", "--check", "echo is done", "false"]).run();
    done.code(0).stdout("").stderr("is done\n");
    // Every attempt reads the same input.
    let run = retry().args(["--hold=both", "-q", "-d0"]).sh("cat; cat >&2; [ $RETRY_ATTEMPT = 2 ]");
    run.stdin("input\n").run().code(0).stdout("input\n").silent();
}

#[test]
fn a_terminal_and_closed_streams() {
    let mut terminal = Terminal::shell();
    let seen = terminal.command(
        "retry -q --hold=both -d0 -- sh -c 'test -t 1 || test -t 2 || echo no-$RETRY_ATTEMPT >&2; [ $RETRY_ATTEMPT = 2 ]'",
    );
    assert!(seen.contains("no-2") && !seen.contains("no-1"), "{seen}");
    // After ^C, the output of the attempt that it ended is shown.
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let script = scratch.file("script", format!("echo so''-far >&2; {}; exec sleep 600", log.echo("ready")));
    terminal.line(&format!("retry --hold=both -- sh {}", quoted(script)));
    log.wait_for(1);
    terminal.key(CTRL_C);
    let seen = terminal.expect_prompt();
    assert!(seen.contains("so-far\r\nretry: sh: interrupted by INT during attempt 1"), "{seen}");
    let closed = |redirection: &str, script: &str| {
        let script = format!("{BINARY} --hold=both -n1 -- sh -c '{script}' {redirection}");
        Retry::new("sh").args(["-c", &script]).run()
    };
    closed(">&-", "echo x || echo y >&2").code(0).stdout("").stderr_contains("y\n");
    closed("2>&-", "echo x; echo y >&2 || exit 0; exit 9").code(0).stdout("x\n").silent();
}

#[test]
fn the_option_takes_its_value_only_in_the_same_word() {
    for option in ["--hold", "--hold=stdout"] {
        let run = retry().args([option, "-n1", "sh", "-c", "echo out; echo err >&2; exit 1"]).arg("x").run();
        run.stdout("").stderr_contains("wrote 4 bytes to stdout:\nout\n").stderr_contains("err\n");
        retry().args([option, "--", "echo", "both"]).run().code(0).stdout("both\n").silent();
    }
    let split = retry().args(["--hold", "both", "echo", "x"]).run();
    split
        .code(127)
        .stdout("")
        .stderr_contains("\nretry: hint: to hold standard error too, write --hold=both\n");
    retry().args(["-n1", "both"]).run().code(127).stderr_contains("function, alias or builtin");
    retry().args(["--hold=neither", "true"]).run().code(125).stderr_contains("valid values: stdout, both");
}
