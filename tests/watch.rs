//! Watched streams: the command and its reader notice nothing, and the rules see every line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::pipe::full_pipe;
use crate::support::process::{Doomed, alive, wait_until};
use crate::support::retry::BINARY;
use crate::support::scratch::quoted;
use crate::support::terminal::CTRL_C;
use crate::support::{Retry, Scratch, Terminal, retry};

/// A limit well below the sleeps of the commands here, and far above the needs of a busy machine.
const BOUNDED: Duration = Duration::from_secs(40);

/// A rule that needs both streams and matches nothing here.
const WATCHED: [&str; 2] = ["-x", "output~never such a line"];

/// A script that waits for a file.
fn until_there(path: &std::path::Path) -> String {
    format!("until [ -e {} ]; do sleep 0.02; done", quoted(path))
}

/// Bytes that are hard to pass through: not text, without lines, with an end in the middle of a
/// line.
fn nasty() -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    bytes.extend(
        b"\r\nCRLF\r\n\x1b[31mred\x1b[0m\x1b]0;title\x07\0\0\xff\xfe\n\n\nno newline at the end".repeat(100),
    );
    bytes.extend(vec![b'x'; 300_000]);
    bytes
}

#[test]
fn bytes_pass_exactly_and_in_order() {
    let scratch = Scratch::new();
    let file = scratch.file("nasty", nasty());
    let script = format!("cat {0}; cat {0} >&2; exit 0", quoted(&file));
    let run = retry().args(WATCHED).sh(&script).run();
    run.code(0).stdout(nasty());
    // A `Run` keeps stderr as text, so this run writes stderr to a file.
    let copy = scratch.join("stderr");
    let run = retry().args(WATCHED).sh(&script).stderr(File::create(&copy).unwrap()).run();
    run.code(0).stdout(nasty());
    assert!(fs::read(&copy).unwrap() == nasty());
}

#[test]
fn what_is_written_appears_at_once() {
    let scratch = Scratch::new();
    let go = scratch.join("go");
    let script = format!("printf half; printf 'and half' >&2; {}; printf done", until_there(&go));
    let running = retry().args(WATCHED).sh(script).limit(BOUNDED).spawn();
    running.wait_for_stdout("half");
    running.wait_for_stderr("and half");
    fs::write(&go, "").unwrap();
    running.wait_bounded().code(0).stdout("halfdone").stderr("and half");
}

#[test]
fn streams_to_the_same_place_keep_their_order() {
    let scratch = Scratch::new();
    let script = "for i in 1 2 3 4 5 6 7 8 9; do echo out $i; echo err $i >&2; done";
    let expected: Vec<String> = (1..=9).map(|i| format!("out {i}\nerr {i}\n")).collect();
    let expected = expected.concat();
    for rule in ["stdout~never", "stderr~never", "output~never"] {
        // Both streams go to a file.
        let path = scratch.join("both");
        let both = File::create(&path).unwrap();
        retry().args(["-x", rule]).sh(script).stdout(both.try_clone().unwrap()).stderr(both).run().code(0);
        assert_eq!(fs::read_to_string(&path).unwrap(), expected, "{rule}");
        // Both streams go to a pipe.
        let (mut reader, writer) = io::pipe().unwrap();
        let run =
            retry().args(["-x", rule]).sh(script).stdout(writer.try_clone().unwrap()).stderr(writer).run();
        run.code(0);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, expected, "{rule}");
    }
    // If both streams go to one place, a rule for one stream also sees the lines of the other.
    let path = scratch.join("both");
    for (rule, script) in
        [("stdout~^b$", "echo a; echo b >&2; exit 1"), ("stderr~^b$", "echo a; echo b; exit 1")]
    {
        let both = File::create(&path).unwrap();
        let run =
            retry().args(["-x", rule, "-d0"]).sh(script).stdout(both.try_clone().unwrap()).stderr(both).run();
        run.code(1);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("not retried: exited 1 (fatal by --fatal-on"), "{rule}: {text}");
    }
    // If the streams go to different places, each stays in its place.
    let run = retry().args(["-x", "output~never"]).sh("echo out; echo err >&2").run();
    run.code(0).stdout("out\n").stderr("err\n");
}

#[test]
fn a_stream_that_no_rule_needs_is_the_commands_own() {
    let scratch = Scratch::new();
    let streams = |rule: &[&str]| {
        let (out, err, said) = (scratch.join("out"), scratch.join("err"), scratch.join("said"));
        // The script uses no redirection during the look, because the shell may create descriptors
        // for it.
        let script = format!("find /proc/$$/fd/1 /proc/$$/fd/2 -fprintf {} '%l\\n'; :", quoted(&said));
        let run = retry().args(rule).sh(script);
        run.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap()).run().code(0);
        let said = fs::read_to_string(&said).unwrap();
        let own: Vec<bool> = said.lines().map(|line| line.starts_with('/')).collect();
        (own[0], own[1])
    };
    assert_eq!(streams(&[]), (true, true));
    assert_eq!(streams(&["-x", "stdout~x"]), (false, true));
    assert_eq!(streams(&["-x", "stderr~x"]), (true, false));
    assert_eq!(streams(&["-x", "output~x"]), (false, false));
    assert_eq!(streams(&["-x", "http:4xx"]), (false, false));
    assert_eq!(streams(&["-x", "http:4xx", "--headers", "/nonexistent/h"]), (true, true));
    assert_eq!(streams(&["-p", "curl"]), (true, false));
    assert_eq!(streams(&["-p", "http"]), (false, false));
    assert_eq!(streams(&["-p", "pg_isready,sysexits"]), (true, true));
    assert_eq!(streams(&["-p", "none"]), (true, true));
    // A closed stream stays closed.
    let said = scratch.join("said");
    let script = format!(
        "exec {BINARY} -x output~x -- sh -c 'find /proc/$$/fd -mindepth 1 -fprintf {} \"%f\\n\"; :' >&- 2>&-",
        said.display()
    );
    Retry::new("sh").args(["-c", &script]).run().code(0);
    let open = fs::read_to_string(&said).unwrap();
    assert!(!open.lines().any(|fd| fd == "1" || fd == "2"), "{open}");
}

#[test]
fn lines_are_found_wherever_they_stand() {
    let long = "head -c 200000 /dev/zero | tr '\\0' x";
    for (rule, script, matches) in [
        ("stdout~^ready$", "echo not; echo ready; exit 1", true),
        ("stdout~^ready$", "printf 'not\\nready'; exit 1", true),
        ("stdout~^ready$", "printf 'ready\\r\\nnot'; exit 1", true),
        ("stdout~^ready$", "printf 'wait\\rready\\rwait'; exit 1", true),
        ("stdout~^ready$", "printf '\\033[32mready\\033[0m\\n'; exit 1", true),
        ("stdout~^ready$", "printf 're'; sleep 0.1; printf 'ady\\n'; exit 1", true),
        ("stdout~ready", "echo ready >&2; exit 1", false),
        ("output~ready", "echo ready >&2; exit 1", true),
        ("stdout~a.b", "printf 'a\\nb\\n'; exit 1", false),
        ("stdout~^a(?-u:\\x00|\\xff)b", "printf 'a\\000b'; exit 1", true),
        ("stdout~^a(?-u:\\x00|\\xff)b", "printf 'a\\377b'; exit 1", true),
        // These lines are longer than the part that retry keeps of a line.
        ("stdout~xready$", &format!("{long}; echo ready; exit 1"), true),
        ("stdout~^ready", &format!("{long}; echo ready; exit 1"), false),
        ("stdout~readyx", &format!("{long}; printf ready; {long}; exit 1"), true),
        ("stdout~x$", &format!("{long}; echo ready; exit 1"), false),
        ("stdout~^ready", &format!("{long}; echo; echo ready; exit 1"), true),
        ("stdout~^ready", &format!("{{ {long}; yes | head -c 100000; }} >&2; echo ready; exit 1"), true),
    ] {
        let run = retry().args(["-d0", "-n2", "-x", rule]).sh(script).run();
        let stopped = run.stderr.contains("fatal by --fatal-on");
        run.check(stopped == matches, &format!("{rule} {matches} for {script}"));
    }
}

#[test]
fn until_polls_what_a_command_says() {
    let script =
        "echo \"{\\\"state\\\": \\\"$( [ $RETRY_ATTEMPT = 3 ] && echo ready || echo pending )\\\"}\"";
    let run = retry().args(["-d0", "--until", "stdout~\"state\": *\"ready\""]).sh(script).run();
    run.code(0).says(&[
        "retry: sh: attempt 1 of 5 exited 0{R}; next in {T}",
        "retry: sh: attempt 2 of 5 exited 0{R}; next in {T}",
        "retry: sh: succeeded at attempt 3 of 5 in {T}: exited 0 (--until stdout~\"state\": *\"ready\")",
    ]);
    // The lines of one attempt do not count for another attempt.
    let script = "[ $RETRY_ATTEMPT = 1 ] && echo fatal; exit 1";
    let run = retry().args(["-d0", "-n3", "-r", "stdout~fatal"]).sh(script).run();
    run.code(1).says(&[
        "retry: sh: attempt 1 of 3 exited 1{R}; next in {T}",
        "retry: sh: not retried: exited 1 (not in --retry-on; -r 1 retries it)",
    ]);
}

#[test]
fn a_background_process_does_not_hold_up_the_verdict() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let go = scratch.join("go");
    // The first attempt leaves a process that holds both streams, and that writes while the second
    // attempt runs.
    let script = format!(
        "if [ $RETRY_ATTEMPT = 1 ]; then ({}; echo late; {}; exec sleep 600) & {}; exit 1; fi; \
         touch {}; until grep -q wrote {}; do sleep 0.02; done; exit 7",
        until_there(&go),
        log.echo("wrote"),
        log.echo("$!"),
        quoted(&go),
        quoted(log.path()),
    );
    // The late output passes through, and does not count for any verdict.
    let run = retry()
        .args(["-d0", "-n2", "-x", "stdout~late", "-x", "stderr~late"])
        .sh(script)
        .limit(BOUNDED)
        .run();
    let _left: Vec<Doomed> = log
        .lines()
        .iter()
        .filter_map(|line| line.parse().ok())
        .filter(|pid| alive(*pid))
        .map(Doomed::new)
        .collect();
    run.code(7).stdout("late\n").says(&[
        "retry: sh: attempt 1 of 2 exited 1{R}; next in {T}",
        "retry: sh: gave up after 2 attempts in {T}: exited 7",
    ]);
    // A background process that never stops writing does not hold up the verdict either.
    let script = format!("yes >&2 & {}; exit 3", log.echo("$!"));
    let run =
        retry().args(["-n1", "-x", "stderr~never"]).sh(script).stderr(File::create("/dev/null").unwrap());
    run.limit(BOUNDED).run().code(3);
}

#[test]
fn a_command_learns_that_its_reader_has_gone() {
    // The command learns it by a signal at its next write.
    let script = format!("{BINARY} -v -x stdout~never -- yes | head -1");
    let run = Retry::new("bash").args(["-c", &format!("{script}; echo ${{PIPESTATUS[0]}}")]).run();
    run.code(0).stdout("y\n141\n");
    run.says(&[
        "retry: yes: not retried: killed by PIPE (the reader of the command's output is gone; -r PIPE retries it)",
    ]);
    // The command also learns it by poll(2) before it writes.
    need!("python3");
    let waits = "import select, sys\np = select.poll()\np.register(1, 0)\nsys.stderr.write('polls\\n')\n\
                 sys.stderr.flush()\nprint(p.poll(30000), file=sys.stderr)\n";
    let (reader, writer) = io::pipe().unwrap();
    let running = retry().args(["-n1", "-x", "stdout~never", "python3", "-c", waits]).stdout(writer);
    let running = running.limit(BOUNDED).spawn();
    running.wait_for_stderr("polls");
    drop(reader);
    let run = running.wait_bounded();
    run.check(run.stderr.contains("[(1, 8)]"), "POLLERR");
}

#[test]
fn a_full_disk_is_no_success() {
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let run = retry().args(["-x", "stdout~never"]).sh("seq 1 200000; exit 0").stdout(full()).run();
    run.code(125).says(&["retry: cannot write to stdout: No space left on device"]);
    // A stderr that refuses bytes does not stop the command. But the lost bytes were the command's,
    // so the run fails.
    let run = retry().args(["-x", "stderr~never"]).sh("seq 1 200000 >&2; echo done").stderr(full()).run();
    run.code(125).stdout("done\n");
}

#[test]
fn a_reader_that_does_not_read_holds_up_the_command_and_no_limit() {
    let (reader, writer) = io::pipe().unwrap();
    // The output is larger than any pipe.
    let script = "yes | head -c 3000000";
    let run = retry().args(["-n1", "--timeout", "1", "-x", "stdout~never"]).sh(script).stdout(writer);
    let run = run.limit(BOUNDED).run();
    run.code(124).says(&[
        "retry: sh: the command has ended, but the reader of its stdout did not read all of it",
        "retry: sh: gave up after 1 attempt in {T}: timed out after 1s, ended by TERM",
    ]);
    drop(reader);
    // The command ended in time, so retry does not run it again. But the loss of its output must be
    // reported.
    for (limit, script, status) in [
        ("--timeout", "echo last", 125),
        ("--deadline", "echo last", 125),
        ("--timeout", "echo last; exit 7", 7),
    ] {
        let (reader, writer) = full_pipe();
        let run = retry().args(["-n1", limit, "1", "-x", "stdout~never"]).sh(script).stdout(writer);
        let run = run.limit(BOUNDED).run();
        run.code(status);
        if status == 125 {
            run.says(&["retry: the command has ended, but the reader of its stdout did not read all of it"]);
        }
        drop(reader);
    }
    // A slow reader gets all the output.
    let scratch = Scratch::new();
    let go = scratch.join("go");
    let inner = format!("{BINARY} -x stdout~never -- sh -c 'head -c 300000 /dev/zero'");
    let script = format!("{inner} | {{ {}; wc -c; }}", until_there(&go));
    let running = Retry::new("sh").args(["-c", &script]).limit(BOUNDED).spawn();
    fs::write(&go, "").unwrap();
    running.wait_bounded().code(0).stdout("300000\n");
}

#[test]
fn memory_stays_bounded_whatever_passes() {
    // The output is many lines, or one line without an end. Either is several times the limit.
    for writes in ["yes 'a line of some length' | head -c 64000000", "head -c 48000000 /dev/zero"] {
        let script = format!("{writes}; grep VmHWM /proc/$PPID/status >&2");
        let run = retry()
            .args(["-x", "stdout~never such a line$"])
            .sh(script)
            .stdout(File::create("/dev/null").unwrap());
        let run = run.limit(Duration::from_mins(2)).run();
        let peak = run.code(0).stderr.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap();
        run.check(peak < 16 * 1024, "under 16 MiB in a debug build");
    }
}

#[test]
fn long_output_is_matched_to_its_last_byte() {
    // A second thread does the matching, and ends before the next attempt starts.
    let count = "ls /proc/$PPID/task | wc -l >&2";
    let long = "yes 'a line of some length' | head -c 22000000";
    let script = format!("{count}; {long}; printf 'the end %s' $RETRY_ATTEMPT; {count}");
    let run = retry()
        .args(["-d0", "-r", "stdout~^the end [12]$", "-u", "stdout~^the end 3$"])
        .sh(&script)
        .stdout(File::create("/dev/null").unwrap())
        .limit(BOUNDED)
        .run();
    run.code(0);
    let counts: Vec<&str> = run.stderr.lines().filter(|line| line.len() == 1).collect();
    assert_eq!(counts, ["1", "2"].repeat(3));
}

#[test]
fn a_thousand_watched_attempts_leave_nothing_open() {
    let script = "if [ $RETRY_ATTEMPT = 1000 ]; then ls /proc/$PPID/fd | wc -l; exit 0; fi; echo x; exit 1";
    let run =
        retry().args(["-n1000", "-d0", "-qq", "-x", "output~never"]).sh(script).limit(BOUNDED * 3).run();
    let text = String::from_utf8(run.code(0).stdout.clone()).unwrap();
    let open: u32 = text.lines().last().unwrap().parse().unwrap();
    run.check(open < 16, "few descriptors");
}

#[test]
fn a_terminal_stays_one_with_its_size() {
    let mut terminal = Terminal::shell();
    terminal.size(33, 77);
    let scratch = Scratch::new();
    let script = scratch.file("script", "test -t 1 && test -t 2 && echo both; stty size <&2; stty size <&1");
    let with = |rule: &str| format!("retry {rule} -- sh {}", quoted(&script));
    for rule in ["-x stdout~never", "-x stderr~never", "-x output~never"] {
        let seen = terminal.command(&with(rule));
        assert_eq!(seen.matches("33 77").count(), 2, "{rule}: {seen:?}");
        assert!(seen.contains("both"), "{rule}: {seen:?}");
    }
    // The terminal alone converts newlines, and does so once.
    let lines = scratch.file("lines", "printf 'one\\ntwo\\tx\\r\\n'; printf 'three\\n' >&2");
    let plain = terminal.command(&format!("sh {}", quoted(&lines)));
    let body = |text: &str| text.split_once('\n').map(|(_, rest)| rest.to_owned()).unwrap();
    for rule in ["stdout", "stderr", "output"] {
        let watched = terminal.command(&format!("retry -x {rule}~never -- sh {}", quoted(&lines)));
        if rule == "output" {
            assert_eq!(body(&watched), body(&plain));
        }
        assert_eq!(watched.matches("\r\r\n").count(), plain.matches("\r\r\n").count(), "{watched:?}");
    }
}

#[test]
fn a_terminal_that_changes_its_size_tells_a_watched_command() {
    let mut terminal = Terminal::shell();
    let scratch = Scratch::new();
    let log = scratch.log("log");
    terminal.size(20, 80);
    // The trap may run for the kernel's signal before the new size is set, and again for retry's
    // signal.
    let script = format!(
        "trap {} WINCH; {}; until grep -q '44 99' {}; do sleep 0.02; done",
        quoted(format!("echo $(stty size <&2) >>{}", quoted(log.path()))),
        log.echo("ready"),
        quoted(log.path()),
    );
    let script = scratch.file("script", script);
    terminal.line(&format!("retry -x stderr~never -- sh {}", quoted(&script)));
    log.wait_for(1);
    terminal.size(44, 99);
    terminal.expect_prompt();
    assert!(log.lines().contains(&"44 99".to_owned()), "{:?}", log.lines());
}

#[test]
fn keys_work_on_a_watched_command() {
    let mut terminal = Terminal::shell();
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let modes = terminal.termios();
    // The script reads the terminal through stdin and through /dev/tty.
    let reads = scratch.file(
        "reads",
        format!("printf 'name? ' >&2; read a; printf 'again? ' >&2; read b </dev/tty; {}", log.echo("$a $b")),
    );
    terminal.line(&format!("retry -x output~never -- sh {}", quoted(&reads)));
    terminal.expect("name? ");
    terminal.send("anna\r");
    terminal.expect("again? ");
    terminal.send("bert\r");
    terminal.expect_prompt();
    assert_eq!(log.lines(), ["anna bert"]);
    // ^C reaches the command once and ends it.
    let loops = scratch.file(
        "loops",
        format!("trap 'echo caught; exit 9' INT; {}; while :; do sleep 0.02; done", log.echo("on")),
    );
    terminal.line(&format!("retry -x output~never -- sh {}; echo \"status $?\"", quoted(&loops)));
    log.wait_for(2);
    terminal.key(CTRL_C);
    let seen = terminal.expect("status 9");
    assert_eq!(seen.matches("caught").count(), 1, "{seen:?}");
    assert!(terminal.termios() == modes);
}

#[test]
fn a_signal_ends_the_wait_for_a_reader() {
    // The command has ended, and its last bytes wait for space in a full pipe.
    let (reader, writer) = full_pipe();
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let script = format!("echo last; {}; exit 5", log.echo("$$"));
    let running = retry().args(["-x", "stdout~never"]).sh(script).stdout(writer).limit(BOUNDED).spawn();
    let pid = &log.wait_for(1)[0];
    wait_until("the command is reaped", || !fs::exists(format!("/proc/{pid}")).unwrap());
    running.signal(Signal::SIGTERM);
    running.wait_bounded().code(5);
    drop(reader);
}

#[test]
fn descriptors_that_were_given_are_not_watched() {
    // The command also has a duplicate of stdout. retry does not watch the duplicate.
    let scratch = Scratch::new();
    let path = scratch.join("out");
    let out = File::create(&path).unwrap();
    let script =
        format!("exec 5>&1; {BINARY} -x stdout~never -- sh -c 'echo by 5 >&5; readlink /proc/$$/fd/5 >&2'");
    let run = Retry::new("sh").args(["-c", &script]).stdout(out).run();
    run.code(0).stderr(&format!("{}\n", path.display()));
    assert_eq!(fs::read_to_string(&path).unwrap(), "by 5\n");
    assert!(run.messages().is_empty());
}

#[test]
fn attempts_that_were_cut_keep_their_order_for_a_slow_reader() {
    need!("python3");
    // Each attempt writes without end. The output of one attempt must come before the output of the
    // next.
    let scratch = Scratch::new();
    let go = scratch.join("go");
    let inner = format!(
        "{BINARY} -n4 --timeout 0.5 --kill-after 0 -d0 -x output~never -- \
         sh -c 'exec yes \"attempt $RETRY_ATTEMPT of some length\"' 2>&1"
    );
    let slow = "import os,sys,time\nwhile True:\n b=os.read(0,3000)\n if not b: break\n sys.stdout.buffer.write(b)\n time.sleep(.002)\n";
    let slow = scratch.file("slow.py", slow);
    let script = format!("{inner} | python3 {}; touch {}", quoted(&slow), quoted(&go));
    let run = Retry::new("sh").args(["-c", &script]).limit(BOUNDED * 2).run();
    let text = String::from_utf8(run.code(0).stdout.clone()).unwrap();
    let mut last = 0;
    let (mut lines, mut messages) = (0, 0);
    for line in text.lines() {
        if line.contains("retry: ") {
            messages += 1;
            continue;
        }
        // The last line of an attempt that was cut may be incomplete, and another line may begin
        // right behind it.
        let Some(at) = line.find("attempt ") else { continue };
        let number: u32 = line[at + 8..].chars().next().and_then(|c| c.to_digit(10)).unwrap_or(last);
        assert!(number >= last, "attempt {number} after {last}");
        last = number;
        lines += 1;
    }
    assert!(lines > 100 && last == 4 && messages >= 4, "{lines} lines, up to {last}, {messages} messages");
}

#[test]
fn a_signal_ends_a_command_and_retry_though_nobody_reads() {
    let (reader, writer) = io::pipe().unwrap();
    let running = retry().args(["-x", "stdout~never", "--", "yes"]).stdout(writer).limit(BOUNDED).spawn();
    let yes = crate::support::process::children_of;
    wait_until("yes has filled all pipes", || {
        yes(running.pid()).first().is_some_and(|pid| crate::support::process::state(*pid) == Some('S'))
    });
    running.signal(Signal::SIGTERM);
    running.wait_bounded().signal(Signal::SIGTERM);
    drop(reader);
}

#[test]
fn what_a_profile_alone_wants_is_not_worth_a_failure() {
    need!("curl");
    let server = crate::support::Server::new([crate::support::Reply::status(200).body("fine")]);
    let url = server.url("/");
    // No descriptor is left for a pipe.
    let limited = |options: &str| {
        let script = format!("ulimit -n 5; exec {BINARY} -n1 {options} -- curl -q --noproxy '*' -fsS {url}");
        Retry::new("sh").args(["-c", &script]).run()
    };
    limited("").check(true, "");
    assert_eq!(limited("-r stderr~x").status.code(), Some(125), "a condition needs it");
    assert_ne!(limited("").status.code(), Some(125));
    // Streams of background processes from earlier attempts give their descriptors up.
    let script = "ulimit -n 40; exec \"$0\" -n 60 -d 0 -qq -r output~never -r failure -- sh -c 'sleep 300 & echo $! >&3; exit 1' 3>\"$1\"";
    let scratch = Scratch::new();
    let pids = scratch.join("pids");
    let run = Retry::new("sh").args(["-c", script, BINARY]).arg(&pids).limit(BOUNDED).run();
    let pids: Vec<Doomed> =
        fs::read_to_string(&pids).unwrap().lines().map(|pid| Doomed::new(pid.parse().unwrap())).collect();
    run.code(1);
    assert_eq!(pids.len(), 60);
}

#[test]
fn a_terminal_behind_a_wrapper_is_watched_only_if_a_profile_knows_the_program() {
    let scratch = Scratch::new();
    let shows = "readlink /proc/self/fd/2";
    let known = quoted(scratch.script("curl", shows));
    let unknown = quoted(scratch.script("tool", shows));
    let mut terminal = Terminal::shell();
    let own = terminal.command("readlink /proc/self/fd/0");
    for wrapper in ["retry -n1 -p none --", "timeout 60"] {
        let mut of = |program: &str| terminal.command(&format!("retry -n1 -- {wrapper} {program}"));
        let (known, unknown) = (of(&known), of(&unknown));
        assert!(known.starts_with("/dev/pts/") && known != own, "{wrapper}: {known}");
        assert_eq!(unknown, own, "{wrapper}");
    }
    for name in ["retry", "timeout"] {
        let page = retry().arg(format!("--profiles={name}")).run();
        let page = String::from_utf8_lossy(&page.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        let words = "Terminal: watched by auto only if a profile knows the program behind it and allows that";
        assert!(page.contains(words), "{page}");
    }
}

#[test]
fn a_pager_at_a_watched_terminal_reads_keys() {
    need!("less");
    let mut terminal = Terminal::shell();
    let scratch = Scratch::new();
    let text: String = (1..=200).map(|i| format!("row-{i}\n")).collect::<Vec<_>>().concat();
    let text = scratch.file("text", text);
    // If git may start a pager, it keeps its terminal. Otherwise retry watches it.
    let git = scratch.script(
        "git",
        format!("#!/bin/sh\n[ $1 = log ] && exec less {}\nreadlink /proc/$$/fd/2; exit 3\n", quoted(&text)),
    );
    let git = quoted(&git);
    terminal.line(&format!("TERM=xterm retry -n1 -- {git} log"));
    terminal.expect("row-23");
    terminal.send("q");
    terminal.expect_prompt();
    let own = terminal.command("readlink /proc/$$/fd/2");
    let seen = terminal.command(&format!("retry -n1 -- {git} fetch"));
    assert!(!seen.contains(own.trim()), "{seen:?} is another than {own:?}");
    let seen = terminal.command(&format!("retry -n1 -- {git} diff"));
    assert!(seen.contains(own.trim()), "{seen:?} is {own:?}");
}

#[test]
fn a_terminal_that_goes_takes_a_watched_command_with_it() {
    for rule in ["stdout~never", "output~never"] {
        let mut command = std::process::Command::new(BINARY);
        command.args(["-x", rule, "--", "yes"]);
        let mut terminal = Terminal::open(command);
        terminal.expect("y\r\ny");
        terminal.hang_up();
        let status = terminal.wait();
        // The command ends by the signal or by a failed write, whichever comes first.
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert!(signal == Some(libc::SIGHUP) || status.code() == Some(1), "{rule}: {status}");
    }
}

#[test]
fn a_background_writer_does_not_hold_up_the_end_while_a_slow_reader_keeps_up() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let slow = "import os,time\nwhile os.read(0,20000): time.sleep(.05)\n";
    let slow = scratch.file("slow.py", slow);
    // The background process writes until its reader is gone. By then the output of the command
    // itself has been read.
    let inner = format!("{BINARY} -n1 -r stdout~never -- sh -c 'yes & {}; exit 0'", log.echo("$!"));
    let script = format!("{{ {inner}; {}; }} | timeout 60 python3 {}", log.echo("status $?"), quoted(&slow));
    let running = Retry::new("sh").args(["-c", &script]).limit(BOUNDED * 2).spawn();
    let writer = Doomed::new(log.wait_for(1)[0].parse().unwrap());
    log.wait_for(2);
    assert_eq!(log.lines()[1], "status 0");
    drop(writer);
    running.wait_bounded();
}
