//! The closed breaker: attempts are made, and failures in a row are counted.

use super::super::moment::Moment;
use super::{Cause, LONGEST_ASKED, Observation, Open, Settings, State};

/// Attempts are made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Closed {
    /// The moment at which it closed. None if it was never open.
    pub(crate) since: Option<Moment>,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// The description of the last of them.
    pub(crate) last: Option<String>,
    /// A server has asked to be left alone until this moment.
    pub(crate) not_before: Option<Moment>,
}

impl Closed {
    /// A breaker that has just closed.
    pub(super) fn since(now: Moment) -> Self {
        Self { since: Some(now), ..Self::default() }
    }

    pub(super) fn after(
        &mut self,
        observation: &Observation,
        now: Moment,
        settings: &Settings,
    ) -> Option<State> {
        match observation {
            Observation::Success => {
                *self = Self { since: self.since, ..Self::default() };
                None
            }
            Observation::Failure { description, asked } => {
                self.failures = self.failures.saturating_add(1);
                self.last = Some(description.clone());
                let until = asked.map(|asked| now.plus(asked.min(LONGEST_ASKED)));
                self.not_before = self.not_before.max(until);
                (self.failures >= settings.failures.get()).then(|| State::Open(self.open(now, settings)))
            }
            Observation::Nothing => None,
        }
    }

    /// The opening after the last of the failures.
    fn open(&self, now: Moment, settings: &Settings) -> Open {
        let asked = self.not_before.map(|until| until.since(now));
        Open {
            cooldown: Some(settings.cooldown),
            failures: self.failures,
            last: self.last.clone(),
            ..Open::new(Cause::Failures, now, settings.open_for(0, asked))
        }
    }

    pub(super) fn not_after(&mut self, now: Moment) {
        self.since = self.since.map(|since| since.min(now));
        let latest = now.plus(LONGEST_ASKED);
        self.not_before = self.not_before.map(|until| until.min(latest));
    }

    pub(super) fn shift(&mut self, millis: i64) {
        self.since = self.since.map(|since| since.shifted(millis));
        self.not_before = self.not_before.map(|until| until.shifted(millis));
    }
}
