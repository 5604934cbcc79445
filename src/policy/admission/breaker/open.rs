//! The open breaker: no attempt is made before the cooldown is over.
//!
//! A run that waits for the breaker need not wait for the whole cooldown. The other runs that wait
//! send nothing meanwhile, so one of them may probe early and often, for all. The first early probe
//! comes [`FIRST_EARLY`] after the opening. Later the time between two probes is an eighth of the time
//! since the breaker opened, so the crowd notices the end of an outage soon after it, however long the
//! outage was. Doubled times would not do: after an outage of ten seconds, the crowd would wait for
//! five more. The time between two probes is never longer than the cooldown, and no probe
//! comes before a moment that the server asked for.

use std::time::Duration;

use super::super::moment::Moment;
use super::{Awaits, Known, LONGEST_ASKED, MOST_DOUBLINGS, Refusal, Settings};

/// The time from the opening to the first early probe, and the shortest time between two of them.
const FIRST_EARLY: Duration = Duration::from_secs(1);

/// The time between two early probes is this part of the time since the opening.
const EARLY_PART: u32 = 8;

/// No breaker stays open for longer, whatever its record says. That is also the life of a key in a
/// server.
pub(super) const LONGEST: Duration = Duration::from_hours(24 * 3650);

/// No attempt is made before the cooldown is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Open {
    /// The moment at which it first opened. Failed probes do not change it.
    pub(crate) first: Moment,
    /// The moment at which it last opened. Early probes do not change it.
    pub(crate) since: Moment,
    /// It stays open for this long from `since`.
    pub(crate) length: Duration,
    /// `--breaker-cooldown` of the run that opened it. Unknown if it was opened by hand.
    pub(crate) cooldown: Option<Duration>,
    pub(crate) cause: Cause,
    /// Probes that failed after the end of a cooldown, since it first opened.
    pub(crate) probes: u32,
    /// The end of the last failed probe, early ones included. The opening, if there was none.
    pub(crate) probed: Moment,
    /// Failures that count, including the probes.
    pub(crate) failures: u32,
    /// The description of the last of them.
    pub(crate) last: Option<String>,
    /// A server has asked to be left alone until this moment.
    pub(crate) not_before: Option<Moment>,
}

/// Why a breaker opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Failures: several in a row, or too large a share.
    Failures,
    /// `--breaker-trip`
    Tripped,
}

impl Open {
    /// An opening of which nothing else is known.
    pub(super) fn new(cause: Cause, now: Moment, length: Duration) -> Self {
        Self {
            first: now,
            since: now,
            length,
            cooldown: None,
            cause,
            probes: 0,
            probed: now,
            failures: 0,
            last: None,
            not_before: None,
        }
    }

    /// The moment from which any run may probe.
    pub(crate) fn until(&self) -> Moment {
        self.since.plus(self.length)
    }

    /// The moment from which a run that waits may probe.
    fn early(&self) -> Moment {
        let Some(cooldown) = self.cooldown.filter(|_| self.cause == Cause::Failures || self.probes > 0)
        else {
            return self.until();
        };
        let pause = (self.probed.since(self.first) / EARLY_PART).max(FIRST_EARLY).min(cooldown);
        let early = Some(self.probed.plus(pause));
        early.max(self.not_before).map_or(self.until(), |early| early.min(self.until()))
    }

    /// The refusal, unless a probe may be made.
    pub(super) fn refusal(&self, waits: bool, now: Moment) -> Option<Refusal> {
        let until = if waits { self.early() } else { self.until() };
        (now < until).then(|| Refusal { left: until.since(now), ..self.refused(now) })
    }

    /// The refusal of a run that has seen this opening, and cannot read the record now.
    pub(crate) fn unanswered(&self, now: Moment) -> Refusal {
        Refusal { known: Known::Earlier, ..self.refused(now) }
    }

    pub(super) fn refused(&self, now: Moment) -> Refusal {
        Refusal {
            age: now.since(self.first),
            left: self.until().since(now),
            cause: self.cause,
            failures: self.failures,
            last: self.last.clone(),
            awaits: Awaits::Probe,
            known: Known::Now,
        }
    }

    /// The opening after a failed probe. The cooldown doubles.
    pub(super) fn after_probe(self, asked: Option<Duration>, now: Moment, settings: &Settings) -> Self {
        let probes = self.probes.saturating_add(1);
        Self {
            since: now,
            length: settings.open_for(probes, asked),
            cooldown: Some(settings.cooldown),
            probes,
            probed: now,
            not_before: asked.map(|asked| now.plus(asked)),
            ..self
        }
    }

    /// The opening after a failed early probe. For the runs that do not wait, only a server that
    /// asked for more time changes something.
    pub(super) fn after_early_probe(self, asked: Option<Duration>, now: Moment) -> Self {
        let asked = asked.map(|asked| now.plus(asked));
        let length = asked.map_or(Duration::ZERO, |asked| asked.since(self.since));
        Self { length: self.length.max(length), probed: now, not_before: self.not_before.max(asked), ..self }
    }

    /// The longest time that it may still be open. Failures open it for some cooldowns, or for as
    /// long as a server asked.
    fn longest(&self) -> Duration {
        let cooldown = self.cooldown.filter(|_| self.cause == Cause::Failures);
        let failed = cooldown.map(|cooldown| cooldown.saturating_mul(1 << MOST_DOUBLINGS).max(LONGEST_ASKED));
        failed.unwrap_or(LONGEST).min(LONGEST)
    }

    pub(super) fn not_after(&mut self, now: Moment) {
        self.since = self.since.min(now);
        self.first = self.first.min(now);
        self.probed = self.probed.min(now);
        let last = now.plus(self.longest());
        if self.until() > last {
            self.length = last.since(self.since);
        }
        let latest = now.plus(self.length);
        self.not_before = self.not_before.map(|until| until.min(latest));
    }

    pub(crate) fn shift(&mut self, millis: i64) {
        self.since = self.since.shifted(millis);
        self.first = self.first.shifted(millis);
        self.probed = self.probed.shifted(millis);
        self.not_before = self.not_before.map(|until| until.shifted(millis));
    }
}
