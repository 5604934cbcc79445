//! The answer of a breaker that lets no attempt through.

use std::time::Duration;

use super::Cause;

/// Why no attempt may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The time since the breaker first opened.
    pub(crate) age: Duration,
    /// The time until a probe may be made. If a probe runs, the time until it must have reported.
    pub(crate) left: Duration,
    /// The cooldown of the run that opened it, before any doubling. Waiting runs spread their looks
    /// over it.
    pub(crate) cooldown: Option<Duration>,
    pub(crate) cause: Cause,
    pub(crate) failures: u32,
    /// The description of the last failure.
    pub(crate) last: Option<String>,
    /// The process id of the run that probes, or 0 if it is unknown. None if no run probes.
    pub(crate) prober: Option<u32>,
    pub(crate) known: Known,
}

/// The age of the knowledge behind a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// The record says so now.
    Now,
    /// The record said so when this run last looked. Now this run cannot read or lock it.
    Earlier,
}

impl Refusal {
    /// Whether another refusal says the same, apart from the times.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let reasons =
            |refusal: &Self| (refusal.cause, refusal.failures, refusal.prober.is_some(), refusal.known);
        reasons(self) == reasons(other)
    }

    /// The same refusal after some time has passed.
    #[must_use]
    pub(crate) fn after(self, passed: Duration) -> Self {
        Self { age: self.age.saturating_add(passed), left: self.left.saturating_sub(passed), ..self }
    }

    /// Whether a probe may be made in less than this time. A probe that runs may end at any moment.
    pub(crate) fn is_over_in(&self, time: Duration) -> bool {
        self.prober.is_some() || self.left < time
    }
}
