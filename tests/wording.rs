//! Messages give the reason: tested through the binary, in addition to the tables in
//! `src/report/wording/tests.rs`.

use nix::sys::signal::Signal;

use crate::support::records::Records;
use crate::support::retry::BINARY;
use crate::support::scratch::quoted;
use crate::support::*;

#[test]
fn a_condition_that_did_not_hold_is_named() {
    let run = retry().args(["-d0", "-n2", "--until", "stdout~^done"]).sh("echo pending").run();
    run.code(1).says(&[
        "retry: sh: attempt 1 of 2 exited 0 (--until stdout~^done did not hold); next in 0s",
        "retry: sh: gave up after 2 attempts in {T}: exited 0 (--until stdout~^done did not hold)",
    ]);
    // The message also names the condition after a failure of the command.
    let run = retry().args(["-q", "-d0", "-n2", "-u", "3"]).sh("exit 1").run();
    run.code(1).says(&["retry: sh: gave up after 2 attempts in {T}: exited 1 (--until 3 did not hold)"]);
    let long = format!("stdout~{}", "x".repeat(300));
    let run = retry().args(["-q", "-n1", "-u", &long]).arg("true").run();
    run.code(1)
        .check(run.stderr.len() < 200 && run.stderr.contains("xxx... did not hold)"), "it is shortened");
}

#[test]
fn a_cut_shows_the_failure_before_it() {
    let script = "[ $RETRY_ATTEMPT = 2 ] || exit 7; exec sleep 600";
    let run = retry().args(["--deadline", "1", "-d0"]).sh(script).run();
    run.code(124).says(&[
        "retry: sh: attempt 1 exited 7; next in 0s",
        "retry: sh: gave up after 2 attempts in {T}: the last was cut by the deadline of 1s, ended by TERM; previous attempt: exited 7",
    ]);
}

#[test]
fn an_interruption_shows_the_last_failure() {
    let running = retry().args(["-d", "60", "-j", "none", "-n", "3"]).sh("exit 7").spawn();
    running.wait_for_stderr("; next in ");
    running.signal(Signal::SIGTERM);
    running.wait_bounded().signal(Signal::SIGTERM).says(&[
        "retry: sh: attempt 1 of 3 exited 7; next in 60s",
        "retry: sh: interrupted by TERM during the wait after attempt 1 of 3; exited 7",
    ]);
}

#[test]
fn a_duration_is_echoed_as_it_was_written() {
    for (deadline, delay, shown) in [("1h", "9h", "1h"), ("5400", "9h", "5400s"), ("90 m", "9h", "90 m")] {
        let run = retry().args(["--deadline", deadline, "-d", delay, "-j", "none"]).sh("exit 7").run();
        run.code(7).says(&[&format!(
            "retry: sh: gave up after 1 attempt in {{T}}: the next delay does not fit into the deadline of {shown}; \
             exited 7"
        )]);
    }
    let run = retry().args(["--timeout", "0.3", "-n1"]).args(["sleep", "600"]).run();
    run.code(124)
        .says(&["retry: sleep: gave up after 1 attempt in {T}: timed out after 0.3s, ended by TERM"]);
    // The record of a breaker keeps the user's words. --breaker-status shows them, and so do the
    // runs that the breaker refuses.
    let records = Records::new();
    for (options, shown) in [
        (["--timeout", "200ms"], "timed out after 200ms, ended by TERM"),
        (["--deadline", "0.25"], "was cut by the deadline of 0.25s, ended by TERM"),
    ] {
        let shared = ["-n1", "--breaker", options[1], "--breaker-failures", "1"];
        records.retry().args(shared).args(options).args(["sleep", "600"]).run().code(124);
        assert_eq!(records.read(options[1])["breaker"]["last"], shown);
        let refused = records.retry().args(shared).sh("exit 0").run();
        refused.code(75).stderr_contains(&format!("(1 failure, last: {shown})"));
    }
    // A duration that no option gave is shown in the largest unit that fits.
    let run = retry().args(["-n2", "-d", "3600", "-j", "none"]).sh("exit 7").spawn();
    run.wait_for_stderr("; next in 1h\n");
    run.signal(Signal::SIGTERM);
    run.wait_bounded().signal(Signal::SIGTERM);
}

#[test]
fn the_number_of_an_attempt_is_the_same_wherever_it_is_told() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    // The second and the fourth attempt are healthy.
    let script = format!(
        "{}; case $(wc -l <{}) in 2|4) sleep 2;; esac; exit 7",
        log.echo("$RETRY_ATTEMPT $1"),
        quoted(log.path())
    );
    let run = retry().args(["-n3", "-d0", "--healthy-after", "2", "--expand", "--hold"]);
    let run = run.args(["sh", "-c", &script, "sh", "{attempt}"]).run();
    let numbers: Vec<String> =
        log.lines().iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert!(log.lines().iter().zip(&numbers).all(|(line, number)| *line == format!("{number} {number}")));
    assert_eq!(numbers, ["1", "2", "2", "3", "2", "3"]);
    let told: Vec<&str> =
        run.stderr.lines().filter_map(|line| line.split("attempt ").nth(1)?.get(..1)).collect();
    assert_eq!(told, ["1", "2", "2", "3", "2"], "{}", run.stderr);
    assert_eq!(run.stderr.matches("so it now counts as attempt 1 of 3").count(), 2, "{}", run.stderr);
    run.code(7).stderr_contains("gave up after 6 attempts");
}

#[test]
fn a_splay_says_when_the_first_attempt_comes() {
    let running = retry().args(["-v", "--splay", "100000", "--seed", "1", "true"]).spawn();
    running.wait_for_stderr("retry: true: first attempt in ");
    running.signal(Signal::SIGTERM);
    running.wait_bounded().signal(Signal::SIGTERM).says(&[
        "retry: true: first attempt in {T} (--splay 100000s)",
        "retry: true: interrupted by TERM during the wait before the first attempt (--splay 100000s)",
    ]);
    // A person at a terminal waits for the first attempt.
    let mut terminal = Terminal::shell();
    terminal.line(&format!("{BINARY} --splay 100000 --seed 1 true"));
    terminal.expect("retry: true: first attempt in ");
    terminal.key(b"\x03");
    terminal.expect("interrupted by INT during the wait before the first attempt (--splay 100000s)");
}
