//! The open breaker: no attempt is made before the cooldown is over.

use std::time::Duration;

use super::super::moment::Moment;
use super::{Known, Refusal};

/// No attempt is made before the cooldown is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Open {
    /// The moment at which it first opened. Failed probes do not change it.
    pub(crate) first: Moment,
    /// The moment at which it last opened.
    pub(crate) since: Moment,
    /// It stays open for this long from `since`.
    pub(crate) length: Duration,
    /// `--breaker-cooldown` of the run that opened it. Unknown if it was opened by hand.
    pub(crate) cooldown: Option<Duration>,
    pub(crate) cause: Cause,
    /// Probes that failed since it first opened.
    pub(crate) probes: u32,
    /// Failures in a row, including the probes.
    pub(crate) failures: u32,
    /// The description of the last of them.
    pub(crate) last: Option<String>,
}

/// Why a breaker opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Failures in a row.
    Failures,
    /// `--breaker-trip`
    Tripped,
}

impl Open {
    /// An opening of which nothing else is known.
    pub(super) fn new(cause: Cause, now: Moment, length: Duration) -> Self {
        Self { first: now, since: now, length, cooldown: None, cause, probes: 0, failures: 0, last: None }
    }

    /// The moment from which a probe may be made.
    pub(crate) fn until(&self) -> Moment {
        self.since.plus(self.length)
    }

    /// The refusal, unless a probe may be made.
    pub(super) fn refusal(&self, now: Moment) -> Option<Refusal> {
        (now < self.until()).then(|| self.refused(now))
    }

    /// The refusal of a run that has seen this opening, and cannot read the record now.
    pub(crate) fn unanswered(&self, now: Moment) -> Refusal {
        Refusal { known: Known::Earlier, ..self.refused(now) }
    }

    pub(super) fn refused(&self, now: Moment) -> Refusal {
        Refusal {
            age: now.since(self.first),
            left: self.until().since(now),
            cooldown: self.cooldown,
            cause: self.cause,
            failures: self.failures,
            last: self.last.clone(),
            prober: None,
            known: Known::Now,
        }
    }

    pub(super) fn not_after(&mut self, now: Moment) {
        self.since = self.since.min(now);
        self.first = self.first.min(now);
    }

    pub(crate) fn shift(&mut self, millis: i64) {
        self.since = self.since.shifted(millis);
        self.first = self.first.shifted(millis);
    }
}
