//! The decisions of `retry`, and nothing else: pure functions of values, the time and a random source.
//!
//! Three wings, one question each: [`verdict`] (again or not?), [`delay`] (when?) and [`admission`] (at all?).
//! [`expand`] is what `--expand` makes of an argument. Nothing here reads a clock, a file, a process, the environment, or prints; `now` and the random source are arguments, so
//! that every decision can be tested as a value.
#![forbid(unsafe_code)]

pub(crate) mod admission;
pub(crate) mod decimal;
pub(crate) mod delay;
pub(crate) mod expand;
pub(crate) mod finish;
pub(crate) mod outcome;
pub(crate) mod signal;
pub(crate) mod step;
pub(crate) mod stream;
pub(crate) mod verdict;

use std::time::Duration;

use crate::policy::signal::Signal;
use crate::policy::verdict::classify::Rules;
use admission::Admission;
use delay::schedule::Schedule;

/// All that was decided before the first attempt: whole and validated.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// Which outcome means what.
    pub(crate) rules: Rules,
    /// How many attempts, and when.
    pub(crate) schedule: Schedule,
    /// Whether, as far as other runs have a say.
    pub(crate) admission: Admission,
    /// How one attempt is ended.
    pub(crate) limits: Limits,
}

/// The limit of one attempt and how it is ended there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Longest time that one attempt may run, time stopped not counted.
    pub(crate) timeout: Option<Duration>,
    /// What ends it.
    pub(crate) signal: Signal,
    /// From that signal to KILL; zero kills at once.
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
        Self { rules, schedule, admission: Admission::default(), limits }
    }
}
