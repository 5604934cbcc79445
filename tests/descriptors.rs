//! Runs with few descriptors: retry never hides the status of a command that ran, and later
//! attempts need no more descriptors than the first.

use crate::support::retry::{BINARY, Retry};
use crate::support::scratch::quoted;
use crate::support::{Log, Run, Scratch, each};

/// Runs `retry OPTIONS -- sh` with input from a pipe and with this many descriptors. The command
/// logs each run and exits with 7.
#[track_caller]
fn limited(descriptors: usize, options: &str, log: &Log, script: &str) -> Run {
    // A shell needs more descriptors for a redirection.
    let script = quoted(format!("ulimit -Sn 64; {}; {script}; exit 7", log.echo("run")));
    let line = format!(
        "exec </dev/null; echo in | (ulimit -Sn {descriptors}; exec {BINARY} -n 3 -d 0 {options} -- sh -c {script})"
    );
    Retry::new("bash").args(["-c", &line]).run()
}

#[test]
fn the_status_of_a_command_that_ran_is_never_hidden() {
    let options = [
        "",
        "--timeout 60",
        "-r output~never -r failure",
        "--hold",
        "-p curl",
        "--stdin inherit",
        "--stdin null",
        "--breaker b --state S",
        "--budget b=9/s --state S",
        "--headers H",
        "--check 'exit 1'",
        "--on-retry 'exit 0'",
        "--hold -p curl --timeout 60 --breaker b --state S --headers H",
    ];
    each(options, with_each_limit);
}

#[track_caller]
fn with_each_limit(options: &str) {
    // With fewer than five descriptors bash itself cannot create the pipeline.
    for descriptors in (5..=11).chain([16]) {
        let scratch = Scratch::new();
        let log = scratch.log("log");
        let place = |letter: &str| format!(" {}", quoted(scratch.join(letter)));
        let options = options.replace(" S", &place("state")).replace(" H", &place("headers"));
        let run = limited(descriptors, &options, &log, "cat >/dev/null");
        let what = format!("ulimit -n {descriptors}, {options}: {:?}", log.lines());
        let required = ["output~", "--hold", "--check", "--stdin null"].iter().any(|o| options.contains(o));
        match (log.lines().len(), run.status.code()) {
            // If retry cannot do what an option requires, nothing runs.
            (0, Some(125)) => run.check(required && descriptors < 8, &what),
            // The input cannot be kept, so the command reads the original.
            (1, Some(7)) => run.stderr_contains("stdin could not be kept for another attempt (Too many"),
            (3, Some(7)) => run.stderr_contains("gave up after 3 attempts"),
            _ => run.check(false, &what),
        };
    }
}

#[test]
fn what_fails_between_attempts_does_not_hide_the_status() {
    need!("strace");
    // The failing calls, the options, and the last line.
    let again = "retry: sh: gave up after 2 attempts in {T}: exited 7";
    for (inject, options, line) in [
        (
            "pipe2:error=ENFILE:when=2+",
            &["--hold"][..],
            "retry: sh: gave up after 1 attempt in {T}: cannot open a pipe: {*}; exited 7",
        ),
        ("getrandom:error=ENOSYS", &["--idempotency-key", "k"], again),
        ("poll:error=ENOMEM", &["--timeout", "30"], again),
        ("poll:error=EINVAL", &["-r", "stderr~x", "-r", "failure"], again),
        ("timerfd_create:error=EMFILE", &["--timeout", "30"], again),
    ] {
        let call = inject.split(':').next().unwrap();
        let (trace, inject) = (format!("trace={call}"), format!("inject={inject}"));
        let strace = Retry::new("strace").args(["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject]);
        let run = strace.args([BINARY, "-n2", "-d", "0.01"]).args(options).sh("exit 7").run();
        run.code(7);
        let first = "retry: sh: attempt 1 of 2 exited 7; next in {T}";
        run.says(&[first, line]);
    }
}
