//! Warnings in words.

use super::time;
use crate::policy::plan::{InStep, Limit, Warning};

/// The name of a kind of warning, for programs.
pub(super) fn kind(warning: &Warning) -> &'static str {
    match warning {
        Warning::NoRetry => "no-retry",
        Warning::DeadlineBeforeRetry { .. } => "deadline-before-retry",
        Warning::DeadlineBeforeTimeout { .. } => "deadline-before-timeout",
        Warning::NoRetryAfterTimeout { .. } => "no-retry-after-timeout",
        Warning::MaxNotReached { .. } => "max-not-reached",
        Warning::NoDelay => "no-delay",
        Warning::InStep { .. } => "in-step",
        Warning::CapBelowDelay { .. } => "max-delay-below-delay",
        Warning::NeverHealthy { .. } => "never-healthy",
        Warning::TimeoutIsHealthy { .. } => "timeout-is-healthy",
        Warning::NoRoomForFailure { .. } => "no-room-for-failure",
        Warning::SuccessesPastDeadline { .. } => "successes-past-deadline",
    }
}

/// A sentence without its end.
pub(super) fn in_words(warning: &Warning) -> String {
    match warning {
        Warning::NoRetry => "--max 1 allows no retry, so no delay matters".to_owned(),
        Warning::DeadlineBeforeRetry { runs, of, deadline } => {
            let runs = match runs == of {
                true => format!("none of {of} runs makes a retry"),
                false => format!("{}% of the runs make no retry", percent(*runs, *of)),
            };
            format!("{runs}: the deadline of {} comes first", time(*deadline))
        }
        Warning::DeadlineBeforeTimeout { timeout, deadline } => format!(
            "--timeout {} never ends an attempt: the deadline of {} comes first",
            time(*timeout),
            time(*deadline)
        ),
        Warning::NoRetryAfterTimeout { runs, of, timeout, deadline } => {
            let runs =
                if runs == of { String::new() } else { format!("{}% of the runs ", percent(*runs, *of)) };
            format!(
                "an attempt that times out after {} leaves {runs}no time for a retry before the deadline of {}",
                time(*timeout),
                time(*deadline)
            )
        }
        Warning::MaxNotReached { max, attempts, of, deadline } => format!(
            "none of {of} runs makes {max} attempts (--max): the deadline of {} comes first, and half of the \
             runs make at most {attempts}",
            time(*deadline)
        ),
        Warning::NoDelay => "there is no delay: a retry follows as soon as an attempt fails".to_owned(),
        Warning::InStep { clients, why } => {
            let why = match why {
                InStep::NoJitter => "there is no jitter (--jitter full adds it)",
                InStep::FloorIsCap => "--min-delay equals --max-delay, which leaves nothing to jitter",
            };
            format!("all {clients} clients come back in the same instant: {why}")
        }
        Warning::CapBelowDelay { cap, delay } => {
            format!("--max-delay {} shortens the delay of {} (--delay)", time(*cap), time(*delay))
        }
        Warning::NeverHealthy { healthy_after, limit } => {
            let (end, limit) = match limit {
                Limit::Timeout(end) => (end, "--timeout"),
                Limit::Deadline(end) => (end, "--deadline"),
            };
            format!(
                "no attempt runs for {} (--healthy-after): {limit} ends it after {}",
                time(*healthy_after),
                time(*end)
            )
        }
        Warning::TimeoutIsHealthy { healthy_after, timeout, max } => format!(
            "an attempt that times out after {} counts as healthy (--healthy-after {}), so --max {max} does \
             not end a run of timeouts",
            time(*timeout),
            time(*healthy_after)
        ),
        Warning::NoRoomForFailure { successes } => {
            format!("--max {successes} leaves no room for a failure: --successes {successes} needs them all")
        }
        Warning::SuccessesPastDeadline { successes, needed, deadline } => format!(
            "--successes {successes} never succeeds: the delays alone take {}, and the deadline is {}",
            time(*needed),
            time(*deadline)
        ),
    }
}

/// The part of the runs, in percent, but at least 1.
fn percent(runs: usize, of: usize) -> usize {
    (runs * 100 / of.max(1)).max(1)
}
