//! The decisions: pure functions of values, the time and a random source.
//!
//! [`verdict`] decides whether a failure is retried, [`delay`] decides when, and [`admission`] asks
//! the breaker and the budget. [`step`] puts the three together, and [`plan`] shows what they mean
//! for a service that is down. [`once`] decides before all of them whether anything runs. [`outer`]
//! reads what a retry around this one hands down, [`expand`] replaces the tokens of `--expand`, and
//! [`decimal`] reads numbers. Nothing here reads a clock, a file, a process or the environment, and
//! nothing prints. The time and the random source are arguments, so that tests can check every
//! decision as a value.
#![forbid(unsafe_code)]

pub(crate) mod admission;
pub(crate) mod decimal;
pub(crate) mod delay;
pub(crate) mod environment;
pub(crate) mod expand;
pub(crate) mod finish;
pub(crate) mod once;
pub(crate) mod outcome;
pub(crate) mod outer;
pub(crate) mod plan;
pub(crate) mod signal;
pub(crate) mod step;
pub(crate) mod stream;
pub(crate) mod verdict;

use std::time::Duration;

use crate::policy::outer::{HandedDown, Outer};
use crate::policy::signal::Signal;
use crate::policy::verdict::classify::Rules;
use crate::policy::verdict::request::Method;
use admission::Admission;
use delay::schedule::Schedule;

/// Everything that the options decide before the first attempt.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// The meaning of outcomes.
    pub(crate) rules: Rules,
    /// The number of attempts, and the delays.
    pub(crate) schedule: Schedule,
    /// The breaker and the budget.
    pub(crate) admission: Admission,
    /// The limit of one attempt.
    pub(crate) limits: Limits,
    /// The method of a request whose effect a retry may repeat.
    pub(crate) repeated: Option<Method>,
    /// The retry around this run.
    pub(crate) outer: Option<Outer>,
    /// The deadline that a retry outside has handed down. No wait ends after it.
    pub(crate) handed_down: Option<HandedDown>,
}

/// The time limit of one attempt, and how retry ends an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The time limit of one attempt. Time in which the attempt is stopped does not count.
    pub(crate) timeout: Option<Duration>,
    /// The first signal that ends the attempt.
    pub(crate) signal: Signal,
    /// The time from that signal to KILL. If it is zero, KILL is the first signal.
    pub(crate) kill_after: Duration,
}

#[cfg(test)]
impl Policy {
    /// Three attempts, with delays of 1 s and 2 s.
    pub(crate) fn example(rules: Rules) -> Self {
        use delay::backoff::Growth;
        use delay::jitter::Jitter;

        let schedule = Schedule {
            max_attempts: std::num::NonZeroU32::new(3),
            successes: std::num::NonZeroU32::MIN,
            deadline: None,
            healthy_after: None,
            growth: Growth::Exponential { delay: Duration::from_secs(1), factor: 2.0 },
            jitter: Jitter::None,
            cap: Duration::from_mins(1),
            floor: Duration::ZERO,
            splay: Duration::ZERO,
            max_retry_after: Duration::from_mins(5),
        };
        let limits = Limits { timeout: None, signal: Signal::TERM, kill_after: Duration::from_secs(5) };
        let admission = Admission::default();
        Self { rules, schedule, admission, limits, repeated: None, outer: None, handed_down: None }
    }
}
