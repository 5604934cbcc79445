//! Retries inside retries: what an inner retry says, and the deadline that it gets from outside.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::records::Records;
use crate::support::retry::BINARY;
use crate::support::*;

/// The time of the wall clock in this many milliseconds, as `RETRY_DEADLINE` has it.
fn unix_ms(ahead: u64) -> String {
    let then = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_millis(ahead);
    then.as_millis().to_string()
}

/// The words of a retry with these options, separated by spaces, around a shell.
fn inner(options: &str) -> Vec<String> {
    let words = [BINARY, "-p", "none"].into_iter().chain(options.split(' ')).chain(["--", "sh", "-c"]);
    words.map(str::to_owned).collect()
}

/// What an inner retry says, up to the attempts.
fn nested(attempt: &str) -> String {
    format!("retry: sh: runs inside another retry (attempt {attempt}): ")
}

const LEAVE: &str = "; -n 1 leaves them to the outer one";

#[test]
fn an_inner_retry_says_once_how_many_attempts_there_may_be() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let script = format!("{}; exit 7", log.echo("$RETRY_ATTEMPT ${RETRY_ATTEMPTS_ABOVE-none}"));
    let run = retry().args(["-n2", "-d0"]).args(inner("-n3 -d0")).arg(&script).run();
    let (first, second) = (nested("1 of 2"), nested("2 of 2"));
    let attempts = |said: &str| {
        [
            "retry: sh: attempt 1 of 3 exited 7; next in 0s".to_owned(),
            said.to_owned(),
            "retry: sh: attempt 2 of 3 exited 7; next in 0s".to_owned(),
            "retry: sh: gave up after 3 attempts in {T}: exited 7".to_owned(),
        ]
    };
    let mut lines = attempts(&format!("{first}up to 6 attempts in all{LEAVE}")).to_vec();
    lines.push("retry: sh: attempt 1 of 2 exited 7{R}; next in 0s".to_owned());
    lines.extend(attempts(&format!("{second}up to 6 attempts in all{LEAVE}")));
    lines.push("retry: sh: gave up after 2 attempts in {T}: exited 7{R}".to_owned());
    run.code(7).says(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    // The limit of the retry around an attempt is in RETRY_MAX_ATTEMPTS.
    assert_eq!(log.lines(), ["1 2", "2 2", "3 2", "1 2", "2 2", "3 2"]);
    // A retry without another one around it hands no such variable down.
    retry()
        .args(["-n1"])
        .sh(script)
        .env("RETRY_ATTEMPTS_ABOVE", "9")
        .run()
        .code(7)
        .stderr_contains("gave up");
    assert_eq!(log.lines()[6..], ["1 none"]);
}

#[test]
fn the_limits_of_all_levels_are_multiplied() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let script = format!("{}; test $RETRY_ATTEMPT = 2", log.echo("$RETRY_ATTEMPTS_ABOVE"));
    let levels = |options: [&str; 3]| {
        let run = retry().args(["-p", "none", "-d0"]).args(options[0].split(' '));
        let run = run.args(inner(&format!("-d0 {}", options[1]))).args(["exec \"$@\"", "sh"]);
        run.args(inner(&format!("-d0 {}", options[2]))).arg(&script).run()
    };
    levels(["-n 2", "-n 3", "-n 4"]).code(0).says(&[
        "retry: sh: attempt 1 of 4 exited 1; next in 0s",
        &format!("{}up to 24 attempts in all{LEAVE}", nested("1 of 3")),
        "retry: sh: succeeded at attempt 2 of 4 in {T}",
    ]);
    levels(["-n unlimited", "-n 3", "-n 4"])
        .code(0)
        .stderr_contains(&format!("{}no limit on the attempts in all{LEAVE}\n", nested("1 of 3")));
    levels(["-n 2", "-n unlimited", "-n 4"])
        .code(0)
        .stderr_contains(&format!("{}no limit on the attempts in all{LEAVE}\n", nested("1")));
    levels(["-n 2", "-n 3", "-n unlimited"])
        .code(0)
        .stderr_contains(&format!("{}no limit on the attempts in all{LEAVE}\n", nested("1 of 3")));
    // Outside, there is one attempt only, so nothing is multiplied.
    levels(["-n 1", "-n 1", "-n 4"]).code(0).says(&[
        "retry: sh: attempt 1 of 4 exited 1; next in 0s",
        "retry: sh: succeeded at attempt 2 of 4 in {T}",
    ]);
    assert_eq!(log.lines(), ["6", "6", "", "", "", "", "6", "6", "1", "1"]);
}

#[test]
fn variables_that_no_retry_writes_count_as_absent() {
    let fails = |variables: &[(&str, &str)]| {
        let run = retry().args(["-n2", "-d0", "-p", "none"]).sh("echo \"$RETRY_ATTEMPTS_ABOVE\"; exit 7");
        variables.iter().fold(run, |run, (name, value)| run.env(name, value)).run()
    };
    for (attempt, max) in
        [("", "5"), ("0", "5"), ("-1", "5"), ("1.5", "5"), ("99999999999999999999999", "5"), ("2", "x")]
    {
        fails(&[("RETRY_ATTEMPT", attempt), ("RETRY_MAX_ATTEMPTS", max)]).code(7).stdout("\n\n").says(&[
            "retry: sh: attempt 1 of 2 exited 7; next in 0s",
            "retry: sh: gave up after 2 attempts in {T}: exited 7",
        ]);
    }
    let attempt = ("RETRY_ATTEMPT", "2");
    for (max, above, said) in [
        ("", "", "attempt 2): no limit on the attempts in all;"),
        ("", "5", "attempt 2): no limit on the attempts in all;"),
        ("5", "x", "attempt 2 of 5): up to 10 attempts in all;"),
        ("5", "99999999999999999999999", "attempt 2 of 5): up to 10 attempts in all;"),
        ("5", "18446744073709551615", "attempt 2 of 5): up to 18446744073709551615 attempts in all;"),
    ] {
        let run = fails(&[attempt, ("RETRY_MAX_ATTEMPTS", max), ("RETRY_ATTEMPTS_ABOVE", above)]);
        run.code(7).stderr_contains(said);
    }
    // A run that succeeds at once, or that does not retry, says nothing.
    let inside = || retry().env("RETRY_ATTEMPT", "2").env("RETRY_MAX_ATTEMPTS", "5");
    inside().sh("exit 0").run().code(0).silent();
    let once = inside().args(["-n1"]).sh("exit 7").run();
    once.code(7).says(&["retry: sh: gave up after 1 attempt in {T}: exited 7"]);
    let quiet = inside().args(["-q", "-n2", "-d0"]).sh("exit 7").run();
    quiet.code(7).says(&["retry: sh: gave up after 2 attempts in {T}: exited 7"]);
}

#[test]
fn an_attempt_finds_the_first_of_all_deadlines() {
    let now =
        |text: &str| text.trim().parse::<u64>().map(|ms| ms.saturating_sub(unix_ms(0).parse().unwrap()));
    let found = |options: &[&str], inherited: &str| {
        let run =
            retry().args(options).env("RETRY_DEADLINE", inherited).sh("echo ${RETRY_DEADLINE-none}").run();
        String::from_utf8(run.code(0).stdout.clone()).unwrap()
    };
    assert_eq!(found(&[], ""), "none\n");
    // Both limits are so long that the time until the look at the clock does not matter.
    for (options, longest) in [
        (&["--timeout", "1000"][..], 1_000_000),
        (&["--deadline", "2000"], 2_000_000),
        (&["--deadline", "2000", "--timeout", "1000"], 1_000_000),
        (&["--deadline", "1000", "--timeout", "2000"], 1_000_000),
    ] {
        let left = now(&found(options, "")).unwrap();
        assert!((longest - 60_000..=longest).contains(&left), "{options:?}: {left}");
    }
    // One that comes sooner is handed on as it is.
    let sooner = unix_ms(500_000);
    assert_eq!(found(&[], &sooner).trim(), sooner);
    assert_eq!(found(&["--timeout", "1000", "--deadline", "2000"], &sooner).trim(), sooner);
    let left = now(&found(&["--timeout", "100"], &sooner)).unwrap();
    assert!(left <= 100_000, "{left}");
    // These count as absent.
    let far = unix_ms(400 * 24 * 3600 * 1000);
    for other in ["x", "-5", "1700000000000", &far, "99999999999999999999999"] {
        assert_eq!(found(&[], other), "none\n", "{other}");
    }
    // --check has the same environment.
    let run = retry().args(["--timeout", "1000", "--check", "echo ${RETRY_DEADLINE-none} >&2; exit 1"]);
    assert!(now(&run.arg("true").run().code(0).stderr).is_ok());
}

/// A retry with this many milliseconds until the deadline of the one around it.
fn within(ms: u64) -> Retry {
    retry().env("RETRY_DEADLINE", unix_ms(ms)).limit(Duration::from_secs(40))
}

#[test]
fn an_inner_retry_starts_no_wait_past_the_deadline_of_the_outer_one() {
    // The outer retry does not have to end the attempt: the status tells how the command ended.
    let outer = retry().args(["-n1", "--timeout", "30"]).args(inner("-d 60 -j none")).arg("exit 7").run();
    outer.code(7).says(&[
        "retry: sh: gave up after 1 attempt in {T}: \
         the next delay does not fit into the outer retry's deadline (in {T}); exited 7",
        "retry: sh: gave up after 1 attempt in {T}: exited 7{R}",
    ]);
    // The run's own deadline comes first.
    let own = within(60_000).args(["--deadline", "30", "-d", "120", "-j", "none"]).sh("exit 7").run();
    own.code(7).stderr_contains("does not fit into the deadline of 30s; exited 7");
    let later = within(30_000).args(["--deadline", "60", "-d", "120", "-j", "none"]).sh("exit 7").run();
    later.code(7).stderr_contains("does not fit into the outer retry's deadline (in ");
    // A server asks for more.
    let script = "echo 'HTTP/1.1 503 x' >&2; echo 'Retry-After: 60' >&2; echo >&2; exit 22";
    within(30_000)
        .args(["-p", "http"])
        .sh(script)
        .run()
        .code(22)
        .stderr_contains(": the server asks to wait 60s (Retry-After), past the outer retry's deadline (in ");
    // Waits that fit are not changed.
    within(60_000).args(["-n2", "-d", "10ms", "-j", "none"]).sh("exit 7").run().code(7).says(&[
        "retry: sh: attempt 1 of 2 exited 7; next in 10ms",
        "retry: sh: gave up after 2 attempts in {T}: exited 7",
    ]);
}

#[test]
fn an_attempt_that_runs_past_the_deadline_of_the_outer_retry_is_not_ended() {
    let script = "while test $(date +%s%3N) -lt $RETRY_DEADLINE; do sleep 0.1; done; exit 7";
    let run = within(1500).args(["-d0", "-n", "3"]).sh(script).run();
    run.code(7).says(&[
        "retry: sh: gave up after 1 attempt in {T}: the outer retry's deadline has passed; exited 7",
    ]);
}

#[test]
fn waits_before_the_first_attempt_end_before_the_deadline_of_the_outer_retry() {
    let splayed = within(1500).args(["--splay", "1h"]).arg("true").run();
    splayed.code(0).silent();
    // A breaker stays open for longer.
    let records = Records::new();
    records.retry().arg("--breaker-trip=b=1h").run().code(0);
    let wait = ["--breaker", "b", "--breaker-wait", "--deadline", "2h"];
    let run = records.retry().env("RETRY_DEADLINE", unix_ms(60_000)).args(wait).arg("true").run();
    run.code(75).says(&["retry: true: not run: breaker b is open since {*}, next probe in {T}, \
         past the outer retry's deadline (in {T}); to close it: {*}"]);
}

#[test]
fn an_attempt_finds_the_reason_of_the_last_failure() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let script = format!(
        "{}; case $RETRY_ATTEMPT in 1) echo HTTP/1.1 503 x >&2; exit 22;; 2) kill -9 $$;; 3) sleep 600;; esac",
        log.echo("$RETRY_LAST_STATUS:$RETRY_LAST_REASON")
    );
    let run = retry().args(["-p", "http", "-d0", "-r", "any", "-n4", "--timeout", "1", "--signal", "KILL"]);
    run.sh(script).env("RETRY_LAST_REASON", "stale").run().code(1);
    assert_eq!(
        log.lines(),
        [":", "22:exited 22 (HTTP 503)", "137:killed by KILL", "124:timed out after 1s, ended by KILL"]
    );
}
