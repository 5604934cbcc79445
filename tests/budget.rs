//! If a budget is spent, retry reports when the next retry is allowed.

use std::time::Duration;

use crate::support::Run;
use crate::support::records::Records;

impl Run {
    /// The time until the next retry in the last message.
    #[track_caller]
    fn next_retry(&self) -> Duration {
        let (_, rest) = self.stderr.split_once(" is spent, next retry allowed in ").unwrap_or_default();
        let (time, after) = rest.split_once("; ").unwrap_or_default();
        self.check(after == "exited 7\n", "a time, and how the command ended");
        humantime::parse_duration(time).unwrap()
    }
}

/// A run that retries until the budget is spent.
fn run(records: &Records, options: &[&str]) -> Run {
    let run = records.retry().args(["-n9", "-d0", "--breaker-failures", "99"]).args(options);
    let run = run.sh("exit 7").run();
    run.code(7);
    run
}

#[test]
fn a_spent_budget_says_when_the_next_retry_comes_back() {
    // The period is the time until the next token after the bucket was emptied.
    for (budget, period) in [("3/h", 1200), ("5/10m", 120), ("20%", 30)] {
        for own in [true, false] {
            let records = Records::new();
            let named = format!("b={budget}");
            let options = if own {
                ["--breaker", "a", "--budget", &named]
            } else {
                ["--breaker", "b", "--budget", budget]
            };
            let within = |run: &Run, from: u64, to: u64| {
                let (next, from, to) = (run.next_retry(), Duration::from_secs(from), Duration::from_secs(to));
                assert!((from..=to).contains(&next), "{budget}: {next:?}\n{}", run.stderr);
            };
            if budget == "20%" {
                // The nine attempts of one run leave some of its ten tokens.
                let _ = run(&records, &options);
            }
            let spent = run(&records, &options);
            within(&spent, period - 20, period);
            // After most of that time, the message shows the rest.
            records.age("b", Duration::from_secs(period - 25));
            let spent = run(&records, &options);
            spent.stderr_contains("gave up after 1 attempt in ");
            within(&spent, 1, 25);
            // After exactly the time that the message names there is one retry.
            records.age("b", spent.next_retry() + Duration::from_millis(500));
            let spent = run(&records, &options);
            spent.stderr_contains("gave up after 2 attempts in ");
        }
    }
}
