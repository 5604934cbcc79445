//! Runs that wait for a breaker: when they look again, and what they do when nobody can tell them how it is.

use std::time::Duration;

use crate::support::records::Records;

/// Longest time for a run that has nothing to wait for.
const SOON: Duration = Duration::from_secs(30);

/// A breaker that one failure has just opened, with this cooldown.
fn opened(cooldown: &str) -> Records {
    let records = Records::new();
    let options = ["-n1", "--breaker", "b", "--breaker-failures", "1", "--breaker-cooldown", cooldown];
    records.retry().args(options).sh("exit 7").run().code(7);
    assert_eq!(records.state("b"), "open");
    records
}

#[test]
fn those_who_wait_come_back_by_the_cooldown_of_the_breaker_not_their_own() {
    let start = |records: &Records, cooldown: &str| {
        let options =
            ["--breaker", "b", "--breaker-wait", "--deadline", "200", "--breaker-cooldown", cooldown];
        records.retry().args(options).sh("exit 0").limit(SOON).spawn()
    };
    // By their own they would come back within five minutes.
    let records = opened("0.5");
    let waiting: Vec<_> = (0..4).map(|_| start(&records, "600")).collect();
    for run in waiting {
        let run = run.wait_bounded();
        run.code(0).check(run.took < Duration::from_secs(15), "back soon after the cooldown");
    }
    // By their own they would all come back within ten milliseconds, after a second.
    let records = opened("60");
    records.age("b", Duration::from_secs(59));
    let waiting: Vec<_> = (0..8).map(|_| start(&records, "0.02")).collect();
    let late = waiting.into_iter().filter(|run| {
        run.wait_for_stderr("looks again in ");
        let text = run.stderr_so_far();
        let (_, look) = text.split_once("looks again in ").unwrap();
        humantime::parse_duration(look.lines().next().unwrap()).unwrap() > Duration::from_secs(3)
    });
    assert!(late.count() >= 2, "spread over half a minute");
}
