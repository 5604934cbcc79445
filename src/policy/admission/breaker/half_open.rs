//! The half-open breaker: one run probes, and no other makes an attempt.

use std::time::Duration;

use super::super::moment::Moment;
use super::{Closed, Observation, Open, Refusal, Settings, State};

/// One probe is under way, and no other attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HalfOpen {
    pub(crate) open: Open,
    pub(crate) lease: Lease,
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
    /// The refusal, unless the lease is over or its holder is dead.
    pub(super) fn refusal(&self, now: Moment, holder_lives: impl FnOnce(u32) -> bool) -> Option<Refusal> {
        let until = self.lease.since.plus(self.lease.length);
        (now < until && holder_lives(self.lease.owner)).then(|| Refusal {
            left: until.since(now),
            prober: Some(self.lease.owner),
            ..self.open.refused(now)
        })
    }

    pub(super) fn after(&self, observation: &Observation, now: Moment, settings: &Settings) -> State {
        match observation {
            Observation::Success => State::Closed(Closed::since(now)),
            Observation::Failure { description, asked } => {
                let probes = self.open.probes.saturating_add(1);
                State::Open(Open {
                    since: now,
                    length: settings.open_for(probes, *asked),
                    cooldown: Some(settings.cooldown),
                    probes,
                    failures: self.open.failures.saturating_add(1),
                    last: Some(description.clone()),
                    ..self.open.clone()
                })
            }
            // The next run probes.
            Observation::Nothing => {
                State::Open(Open { since: now, length: Duration::ZERO, ..self.open.clone() })
            }
        }
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
