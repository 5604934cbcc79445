//! The half-open breaker: one run probes, and no other makes an attempt.

use std::time::Duration;

use super::super::moment::Moment;
use super::{Awaits, Closed, LONGEST_ASKED, Observation, Open, Refusal, Settings, State};

/// One probe is under way, and no other attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HalfOpen {
    pub(crate) open: Open,
    pub(crate) lease: Lease,
    pub(crate) timing: Timing,
}

/// When a probe began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timing {
    /// After the cooldown.
    Due,
    /// Before the end of the cooldown, by a run that waits.
    Early,
}

/// The right to probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    /// The process id of the retry that has it, or 0 if that is unknown. It is for people: it may
    /// be an id of another container.
    pub(crate) owner: u32,
    pub(crate) since: Moment,
    pub(crate) length: Duration,
}

impl HalfOpen {
    /// The refusal, unless the lease is over or its holder is dead. After an early probe that never
    /// reported, the cooldown goes on.
    pub(super) fn refusal(
        &self,
        waits: bool,
        now: Moment,
        holder_lives: impl FnOnce(u32) -> bool,
    ) -> Option<Refusal> {
        let until = self.lease.since.plus(self.lease.length);
        if now < until && holder_lives(self.lease.owner) {
            let awaits = Awaits::Prober(self.lease.owner);
            return Some(Refusal { left: until.since(now), awaits, ..self.open.refused(now) });
        }
        match self.timing {
            Timing::Due => None,
            Timing::Early => self.open.refusal(waits, now),
        }
    }

    pub(super) fn after(&self, observation: &Observation, now: Moment, settings: &Settings) -> State {
        match observation {
            Observation::Success => State::Closed(Closed::since(now)),
            Observation::Failure { description, asked } => {
                let asked = asked.map(|asked| asked.min(LONGEST_ASKED));
                let last = Some(description.clone());
                let failures = self.open.failures.saturating_add(1);
                let open = Open { failures, last, ..self.open.clone() };
                State::Open(match self.timing {
                    Timing::Due => open.after_probe(asked, now, settings),
                    Timing::Early => open.after_early_probe(asked, now),
                })
            }
            // The next run of the same kind probes.
            Observation::Nothing => State::Open(match self.timing {
                Timing::Due => Open { since: now, length: Duration::ZERO, ..self.open.clone() },
                Timing::Early => self.open.clone(),
            }),
        }
    }

    /// Ends the lease at most `longest` after now.
    pub(super) fn limit_lease(&mut self, longest: Duration, now: Moment) {
        self.lease.length = self.lease.length.min(now.plus(longest).since(self.lease.since));
    }

    pub(super) fn not_after(&mut self, now: Moment) {
        self.lease.since = self.lease.since.min(now);
        self.open.not_after(now);
    }

    pub(super) fn shift(&mut self, millis: i64) {
        self.lease.since = self.lease.since.shifted(millis);
        self.open.shift(millis);
    }
}
