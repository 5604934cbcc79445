//! The answer of a breaker that lets no attempt through.

use std::mem;
use std::time::Duration;

use super::Cause;

/// Why no attempt may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The time since the breaker first opened. If it has closed, the time since then.
    pub(crate) age: Duration,
    /// The time until a probe may be made. If a probe runs, the time until it must have reported.
    pub(crate) left: Duration,
    pub(crate) cause: Cause,
    pub(crate) failures: u32,
    /// The description of the last failure.
    pub(crate) last: Option<String>,
    pub(crate) awaits: Awaits,
    pub(crate) known: Known,
}

/// What must happen before the refused run may make an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaits {
    /// The cooldown ends, and one run probes.
    Probe,
    /// The run that probes reports. This is its process id, or 0 if the process id is unknown.
    Prober(u32),
    /// A permit comes back. The breaker has closed, and the runs that have waited come back a few at
    /// a time.
    Permit,
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
        let reasons = |refusal: &Self| {
            (refusal.cause, refusal.failures, mem::discriminant(&refusal.awaits), refusal.known)
        };
        reasons(self) == reasons(other)
    }

    /// The same refusal after some time has passed.
    #[must_use]
    pub(crate) fn after(self, passed: Duration) -> Self {
        Self { age: self.age.saturating_add(passed), left: self.left.saturating_sub(passed), ..self }
    }

    /// Whether the run may make an attempt in less than this time. A probe that runs may end at any
    /// moment, and a permit may come back at any moment.
    pub(crate) fn is_over_in(&self, time: Duration) -> bool {
        self.left() < time
    }

    /// The shortest time until the run may make an attempt.
    pub(crate) fn left(&self) -> Duration {
        match self.awaits {
            Awaits::Probe => self.left,
            Awaits::Prober(_) | Awaits::Permit => Duration::ZERO,
        }
    }

    /// The process id of the run that probes, or 0 if it is unknown. None if no run probes.
    pub(crate) fn prober(&self) -> Option<u32> {
        match self.awaits {
            Awaits::Prober(pid) => Some(pid),
            Awaits::Probe | Awaits::Permit => None,
        }
    }
}
