//! Options that defeat each other.
//!
//! Each warning states a fact about the runs of this policy, not a suspicion. Combinations that can
//! never make sense are errors of the command line and do not come here.

use std::num::NonZeroU32;
use std::time::Duration;

use super::forecast::Forecast;
use crate::policy::Policy;
use crate::policy::delay::backoff::Growth;
use crate::policy::delay::jitter::Jitter;
use crate::policy::delay::schedule::Schedule;

/// The number of clients from which a crowd in step is worth a warning.
const MANY: u32 = 10;

/// Two options of which one defeats the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Warning {
    /// `--max 1`.
    NoRetry,
    /// The deadline keeps `runs` of `of` runs from a retry.
    DeadlineBeforeRetry { runs: usize, of: usize, deadline: Duration },
    /// The deadline ends each attempt before its timeout does.
    DeadlineBeforeTimeout { timeout: Duration, deadline: Duration },
    /// In `runs` of `of` runs, which are most of them, no retry follows an attempt that ends at its
    /// timeout.
    NoRetryAfterTimeout { runs: usize, of: usize, timeout: Duration, deadline: Duration },
    /// The deadline ends all `of` runs before they make so many attempts. Half of them make at most
    /// `attempts`.
    MaxNotReached { max: NonZeroU32, attempts: u32, of: usize, deadline: Duration },
    /// There is no delay at all.
    NoDelay,
    /// All clients come back in the same instant.
    InStep { clients: NonZeroU32, why: InStep },
    /// The cap is shorter than a delay that is given.
    CapBelowDelay { cap: Duration, delay: Duration },
    /// No attempt can run so long.
    NeverHealthy { healthy_after: Duration, limit: Limit },
    /// An attempt that ends at its timeout counts as healthy, so the maximum does not end the run.
    TimeoutIsHealthy { healthy_after: Duration, timeout: Duration, max: NonZeroU32 },
    /// One failure makes the successes impossible.
    NoRoomForFailure { successes: NonZeroU32 },
    /// The delays between the successes take until the deadline or longer.
    SuccessesPastDeadline { successes: NonZeroU32, needed: Duration, deadline: Duration },
}

/// Why clients that fail together come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InStep {
    NoJitter,
    /// The lower bound of the delay is the upper bound too.
    FloorIsCap,
}

/// What ends an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Timeout(Duration),
    Deadline(Duration),
}

/// All warnings about a policy, the gravest first. The forecasts are those of the plan.
pub(super) fn warnings(
    policy: &Policy,
    clients: NonZeroU32,
    quick: &Forecast,
    slow: Option<&Forecast>,
) -> Vec<Warning> {
    let mut warnings = about_deadline(policy, quick, slow);
    warnings.extend(about_delays(&policy.schedule, clients, quick));
    warnings.extend(about_health(policy));
    warnings.extend(about_successes(&policy.schedule));
    warnings
}

fn retries(schedule: &Schedule) -> bool {
    schedule.max_attempts.is_none_or(|max| max.get() > 1)
}

fn about_deadline(policy: &Policy, quick: &Forecast, slow: Option<&Forecast>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let Some(deadline) = policy.schedule.deadline else { return warnings };
    let retries = retries(&policy.schedule);
    if retries && quick.without_retry > 0 {
        let (runs, of) = (quick.without_retry, quick.runs);
        warnings.push(Warning::DeadlineBeforeRetry { runs, of, deadline });
    }
    if let Some(timeout) = policy.limits.timeout {
        if timeout >= deadline {
            warnings.push(Warning::DeadlineBeforeTimeout { timeout, deadline });
        } else if retries
            && quick.without_retry < quick.runs
            && let Some(slow) = slow.filter(|slow| slow.without_retry * 2 > slow.runs)
        {
            let (runs, of) = (slow.without_retry, slow.runs);
            warnings.push(Warning::NoRetryAfterTimeout { runs, of, timeout, deadline });
        }
    }
    if let Some(max) = policy.schedule.max_attempts
        && quick.without_retry < quick.runs
        && quick.is_whole
        && quick.attempts.most < max.get()
    {
        let (attempts, of) = (quick.attempts.median, quick.runs);
        warnings.push(Warning::MaxNotReached { max, attempts, of, deadline });
    }
    warnings
}

fn about_delays(schedule: &Schedule, clients: NonZeroU32, quick: &Forecast) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if !retries(schedule) {
        return vec![Warning::NoRetry];
    }
    let longest = longest(&schedule.growth);
    let is_zero = longest.min(schedule.cap).max(schedule.floor).is_zero();
    let why = match schedule.jitter {
        Jitter::None => Some(InStep::NoJitter),
        Jitter::Full | Jitter::Equal | Jitter::Decorrelated | Jitter::Additive => {
            (schedule.floor == schedule.cap).then_some(InStep::FloorIsCap)
        }
    };
    if is_zero {
        warnings.push(Warning::NoDelay);
    } else if let Some(why) = why
        && clients.get() >= MANY
        // Somebody comes back.
        && quick.without_retry < quick.runs
        && schedule.splay.is_zero()
    {
        warnings.push(Warning::InStep { clients, why });
    }
    if schedule.cap < longest {
        warnings.push(Warning::CapBelowDelay { cap: schedule.cap, delay: longest });
    }
    warnings
}

/// The longest delay that the user has given.
fn longest(growth: &Growth) -> Duration {
    match growth {
        Growth::Exponential { delay, .. }
        | Growth::Linear { delay }
        | Growth::Fibonacci { delay }
        | Growth::Constant { delay } => *delay,
        Growth::List { first, rest } => rest.iter().copied().fold(*first, Duration::max),
    }
}

fn about_health(policy: &Policy) -> Option<Warning> {
    let schedule = &policy.schedule;
    let healthy_after = schedule.healthy_after?;
    if let Some(deadline) = schedule.deadline.filter(|deadline| *deadline <= healthy_after) {
        return Some(Warning::NeverHealthy { healthy_after, limit: Limit::Deadline(deadline) });
    }
    let timeout = policy.limits.timeout?;
    // An attempt that ignores the signal runs until KILL.
    if timeout.saturating_add(policy.limits.kill_after) < healthy_after {
        return Some(Warning::NeverHealthy { healthy_after, limit: Limit::Timeout(timeout) });
    }
    let max = schedule.max_attempts.filter(|max| max.get() > 1 && timeout >= healthy_after)?;
    Some(Warning::TimeoutIsHealthy { healthy_after, timeout, max })
}

fn about_successes(schedule: &Schedule) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let successes = schedule.successes;
    if successes.get() == 1 {
        return warnings;
    }
    if schedule.max_attempts == Some(successes) && schedule.healthy_after.is_none() {
        warnings.push(Warning::NoRoomForFailure { successes });
    }
    let needed = schedule.delay_in_row().saturating_mul(successes.get() - 1);
    if let Some(deadline) = schedule.deadline.filter(|deadline| needed >= *deadline) {
        warnings.push(Warning::SuccessesPastDeadline { successes, needed, deadline });
    }
    warnings
}
