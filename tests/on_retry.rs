//! `--on-retry`: a shell command between a failure and the retry that is certain to follow.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;

use crate::support::records::Records;
use crate::support::retry::BINARY;
use crate::support::*;

/// A run with this shell command before its retries, and no delays.
fn hooked(hook: &str) -> Retry {
    retry().args(["-d0", "--on-retry", hook])
}

#[test]
fn it_runs_before_each_retry_and_never_after_the_last_attempt() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let words = "$RETRY_ATTEMPT/$RETRY_MAX_ATTEMPTS after $RETRY_LAST_STATUS ($RETRY_LAST_REASON)";
    let hook = log.echo(&format!("hook {words} $RETRY_IDEMPOTENCY_KEY"));
    let script = |end: &str| format!("{}; {end}", log.echo("attempt $RETRY_ATTEMPT $RETRY_IDEMPOTENCY_KEY"));
    let fails = "case $RETRY_ATTEMPT in 1) echo HTTP/1.1 503 x >&2; exit 22;; *) kill -TERM $$;; esac";
    let run = hooked(&hook).args(["-n3", "-p", "http", "--idempotency-key", "k"]).sh(script(fails)).run();
    run.code(143).says(&[
        "retry: sh: attempt 1 of 3 exited 22 (HTTP 503); next in 0s",
        "retry: sh: attempt 2 of 3 killed by TERM; next in 0s",
        "retry: sh: gave up after 3 attempts in {T}: killed by TERM",
    ]);
    let lines = [
        "attempt 1 k",
        "hook 2/3 after 22 (exited 22 (HTTP 503)) k",
        "attempt 2 k",
        "hook 3/3 after 143 (killed by TERM) k",
        "attempt 3 k",
    ];
    assert_eq!(log.lines(), lines);
    // No retry follows.
    let ran = |run: Retry, status: i32| {
        let before = log.lines().len();
        run.run().code(status);
        let lines = log.lines()[before..].to_vec();
        assert!(lines.iter().all(|line| line.starts_with("attempt")), "{lines:?}");
    };
    ran(hooked(&hook).sh(script("exit 0")), 0);
    ran(hooked(&hook).args(["-x", "7"]).sh(script("exit 7")), 7);
    ran(hooked(&hook).args(["-n1"]).sh(script("exit 7")), 7);
    ran(
        retry()
            .args(["--deadline", "20", "-d", "60", "-j", "none", "--on-retry", &hook])
            .sh(script("exit 7")),
        7,
    );
    let records = Records::new();
    let shared = |options: [&str; 4]| records.retry().args(["-d0", "--on-retry", &hook]).args(options);
    ran(shared(["--breaker", "b", "--breaker-failures", "1"]).sh(script("exit 7")), 7);
    // This run takes the only token.
    shared(["-n2", "--budget", "c=1/h", "-q"]).sh("exit 7").run().code(7);
    ran(shared(["-n2", "--budget", "c=1/h", "-q"]).sh(script("exit 7")), 7);
    // A check that cannot tell is a failure, and a retry follows.
    let check = "test $RETRY_ATTEMPT = 2 && exit 1; exit 3";
    hooked(&hook).args(["--check", check, "--idempotency-key", "k"]).sh(script("exit 0")).run().code(0);
    let lines = log.lines();
    let last: Vec<&str> = lines.iter().rev().take(2).map(String::as_str).collect();
    assert_eq!(last, ["attempt 2 k", "hook 2/5 after 3 (--check exited 3) k"]);
}

#[test]
fn its_time_counts_towards_the_delay() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let ms = |line: &str| line.parse::<u64>().unwrap();
    let stamp = log.echo("$(date +%s%3N)");
    // The hook takes a part of the delay, and then the rest of it.
    for (delay, least) in [("1", 1000), ("0", 400)] {
        let hook = format!("{stamp}; sleep 0.4; {stamp}");
        let run = retry().args(["-n2", "-d", delay, "-j", "none", "--on-retry", &hook]);
        let run = run.sh(format!("{stamp}; exit 7")).run();
        run.code(7).stderr_contains(&format!("; next in {delay}s\n"));
        let lines = log.lines();
        let [first, begin, end, second] = [4, 3, 2, 1].map(|back| ms(&lines[lines.len() - back]));
        assert!(first <= begin && end <= second, "{lines:?}");
        assert!(second - first >= least, "{lines:?}");
    }
}

#[test]
fn it_reads_nothing_and_writes_to_stderr() {
    for options in [&[][..], &["--hold"], &["-r", "stdout~hooked", "-r", "7"]] {
        let run = hooked("cat; echo hooked; echo so >&2").args(options).args(["-q", "-n2"]);
        let run = run.sh("cat; [ $RETRY_ATTEMPT = 2 ] || exit 7").stdin("in\n").run();
        let out = if options == ["--hold"] { "in\n" } else { "in\nin\n" };
        run.code(0).stdout(out).stderr("hooked\nso\n");
    }
}

#[test]
fn its_output_is_held_with_that_of_the_coming_attempt() {
    let held = |script: &str| {
        let run = hooked("echo hooked $RETRY_ATTEMPT; echo so >&2").args(["--hold=both", "-q", "-n3"]);
        run.sh(script).run()
    };
    held("echo out; [ $RETRY_ATTEMPT = 3 ] || exit 7").code(0).stdout("out\n").stderr("hooked 3\nso\n");
    let failed = held("echo out $RETRY_ATTEMPT; exit 7");
    failed.code(7).stdout("").stderr_contains("hooked 3\nso\nout 3\nretry: sh: gave up");
    failed.check(!failed.stderr.contains("hooked 2"), "the last attempt alone");
}

#[test]
fn a_hook_that_fails_is_one_warning_and_the_retry_follows() {
    for (hook, how) in [
        ("exit 3", "exited 3"),
        ("kill -USR1 $$", "killed by USR1"),
        ("nonsuch 2>/dev/null", "exited 127"),
        ("false", "exited 1"),
    ] {
        hooked(hook).sh("[ $RETRY_ATTEMPT = 2 ] || exit 7").run().code(0).says(&[
            "retry: sh: attempt 1 of 5 exited 7; next in 0s",
            &format!("retry: sh: --on-retry {how}; the retry follows"),
            "retry: sh: succeeded at attempt 2 of 5 in {T}",
        ]);
    }
    hooked("exit 3").arg("-q").sh("[ $RETRY_ATTEMPT = 2 ] || exit 7").run().code(0).silent();
    // The timeout of an attempt limits it too, and no process of it survives.
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let hook = format!("{}; setsid sleep 600 & sleep 600", log.echo("$$"));
    let run =
        hooked(&hook).args(["--timeout", "1", "-p", "none"]).sh("[ $RETRY_ATTEMPT = 2 ] || exit 7").run();
    run.code(0).says(&[
        "retry: sh: attempt 1 of 5 exited 7; next in 0s",
        "retry: sh: --on-retry timed out after 1s, ended by TERM; the retry follows",
        "retry: sh: succeeded at attempt 2 of 5 in {T}",
    ]);
    let pid = log.lines()[0].parse().unwrap();
    assert!(!process::alive(pid) && process::session(pid).is_empty());
}

#[test]
fn the_deadline_ends_it() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let hook = format!("{}; sleep 600", log.echo("hook $RETRY_DEADLINE"));
    let run = hooked(&hook).args(["--deadline", "1.5"]).sh(format!("{}; exit 7", log.echo("attempt"))).run();
    run.code(7).says(&[
        "retry: sh: attempt 1 exited 7; next in 0s",
        "retry: sh: --on-retry was cut by the deadline of 1.5s, ended by TERM",
        "retry: sh: gave up after 1 attempt in {T}: the deadline of 1.5s has passed; exited 7",
    ]);
    let lines = log.lines();
    assert_eq!((lines.len(), &*lines[0]), (2, "attempt"));
    let deadline: u128 = lines[1].strip_prefix("hook ").unwrap().parse().unwrap();
    assert!(deadline <= SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis());
}

/// A run whose `--on-retry` or `--check` ignores the signals that end a run. The process that it
/// starts in a session of its own ignores them too.
struct Deaf {
    running: Running,
    pids: Vec<i32>,
}

impl Deaf {
    fn start(option: &str, options: &[&str]) -> Self {
        let scratch = Scratch::new();
        let log = scratch.log("log");
        let deaf = format!("trap '' TERM INT HUP; {}; setsid sleep 600 & sleep 600; :", log.echo("$$"));
        let run = retry().args(["-q", "-d0", "--kill-after", "0.3", option, &deaf]).args(options);
        let running = run.sh("exit 7").spawn();
        let pid: i32 = log.wait_for(1)[0].parse().unwrap();
        let below = || process::descendants_of(pid);
        process::wait_until("both sleep", || below().len() >= 2);
        Self { running, pids: [vec![pid], below()].concat() }
    }

    fn end(self) -> Run {
        let run = self.running.wait_bounded();
        assert!(self.pids.iter().all(|pid| !process::alive(*pid)), "{:?}", self.pids);
        run
    }
}

#[test]
fn kill_follows_a_signal_that_is_ignored_here_and_in_a_check() {
    let deadline = ["--deadline", "2.5"];
    let (hook, check) = (Deaf::start("--on-retry", &deadline), Deaf::start("--check", &deadline));
    for (option, during) in [("--on-retry", "the wait"), ("--check", "the check before attempt 1")] {
        let deaf = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]
            .map(|signal| (Deaf::start(option, &[]), signal));
        for (deaf, signal) in &deaf {
            deaf.running.signal(*signal);
        }
        for (deaf, signal) in deaf {
            let said = format!("interrupted by {} during {during}", &signal.as_str()[3..]);
            deaf.end().signal(signal).stderr_contains(&said);
        }
    }
    hook.end().code(7).stderr_contains("the deadline of 2.5s has passed");
    check.end().code(124).stderr_contains("deadline of 2.5s");
}

/// Waits until a process below `pid` sleeps. Before that, dash may lose an INT while it forks.
fn wait_for_sleep(pid: i32) {
    let name = |pid: &i32| process::Entry::read(*pid).is_some_and(|entry| entry.name == "sleep");
    process::wait_until("a process sleeps", || process::descendants_of(pid).iter().any(name));
}

#[test]
fn a_signal_during_the_hook_ends_the_run() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    for (hook, signal, name) in [
        ("exec sleep 600", Signal::SIGTERM, "TERM"),
        ("exec sleep 600", Signal::SIGINT, "INT"),
        // The hook may end as if nothing had happened.
        ("trap 'exit 0' TERM; while :; do sleep 0.02; done", Signal::SIGTERM, "TERM"),
    ] {
        let before = log.lines().len();
        let hook = format!("{}; {hook}", log.echo("hook"));
        let running = hooked(&hook).sh(format!("{}; exit 7", log.echo("attempt"))).spawn();
        log.wait_for(before + 2);
        wait_for_sleep(running.pid());
        running.signal(signal);
        running.wait_bounded().signal(signal).says(&[
            "retry: sh: attempt 1 of 5 exited 7; next in 0s",
            &format!("retry: sh: interrupted by {name} during the wait after attempt 1 of 5; exited 7"),
        ]);
        assert_eq!(log.lines()[before..], ["attempt", "hook"]);
    }
    // ^C reaches both.
    let mut terminal = Terminal::shell();
    terminal.line(&format!("{BINARY} -d0 --on-retry 'exec sleep 600' sh -c 'exit 7'"));
    wait_for_sleep(terminal.leader());
    terminal.key(b"\x03");
    terminal.expect("interrupted by INT during the wait after attempt 1 of 5; exited 7");
    terminal.expect_prompt();
}

#[test]
fn a_run_that_waits_for_a_breaker_runs_it_once() {
    let (records, scratch) = (Records::new(), Scratch::new());
    let log = scratch.log("log");
    let options =
        ["--breaker", "b", "--breaker-failures", "1", "--breaker-cooldown", "0.5", "--breaker-wait"];
    let run =
        records.retry().args(options).args(["--deadline", "40", "-d0", "--on-retry", &log.echo("hook")]);
    let run = run.limit(Duration::from_secs(50)).sh("[ $RETRY_ATTEMPT = 2 ] || exit 7").run();
    run.code(0);
    assert_eq!(log.lines(), ["hook"]);
}
