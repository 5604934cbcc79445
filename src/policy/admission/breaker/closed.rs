//! The closed breaker: attempts are made, and failures are counted.

use super::super::moment::Moment;
use super::super::recovery::{Gate, Recovery, Sign};
use super::opens::{HostTag, Outcomes, age_limit};
use super::{
    Applicant, Awaits, Cause, Claim, Known, LONGEST_ASKED, Observation, Open, Refusal, Settings, State,
};

use std::time::Duration;

/// Attempts are made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Closed {
    /// The moment at which it closed. None if it was never open.
    pub(crate) since: Option<Moment>,
    pub(crate) outcomes: Outcomes,
    /// The description of the last failure in a row.
    pub(crate) last: Option<String>,
    /// A server has asked to be left alone until this moment.
    pub(crate) not_before: Option<Moment>,
    /// The permits of the runs that have waited for it. None if it was never open.
    pub(crate) recovery: Option<Recovery>,
}

impl Closed {
    /// A breaker that has just closed.
    pub(super) fn since(now: Moment) -> Self {
        Self { since: Some(now), recovery: Some(Recovery::new(now)), ..Self::default() }
    }

    /// What an applicant finds.
    pub(super) fn gate(
        &self,
        applicant: &Applicant,
        now: Moment,
        lives: impl Fn(Claim, u32) -> bool,
    ) -> Gate {
        match &self.recovery {
            _ if !applicant.waits => Gate::Free,
            Some(recovery) => recovery.gate(now, |id, owner| lives(Claim::Permit(id), owner)),
            // The applicant has seen the breaker open, and the record was removed since. Other runs
            // may have waited too, so a recovery begins.
            None if applicant.returns && self.since.is_none() => Gate::Permit,
            None => Gate::Free,
        }
    }

    /// The refusal of a run that needs a permit and does not get it.
    pub(crate) fn without_permit(&self, now: Moment) -> Refusal {
        Refusal {
            age: self.since.map_or(Duration::ZERO, |since| now.since(since)),
            left: Duration::ZERO,
            cause: Cause::Failures,
            failures: 0,
            last: None,
            awaits: Awaits::Permit,
            known: Known::Now,
        }
    }

    /// Takes a permit for an applicant that has found one.
    pub(super) fn grant(
        &mut self,
        applicant: &Applicant,
        now: Moment,
        lives: impl Fn(Claim, u32) -> bool,
    ) -> Option<u64> {
        let recovery = self.recovery.get_or_insert_with(|| Recovery::new(now));
        recovery.grant(now, applicant.lease, applicant.pid, |id, owner| lives(Claim::Permit(id), owner))
    }

    pub(super) fn after(
        &mut self,
        permit: Option<u64>,
        observation: &Observation,
        from: Option<HostTag>,
        now: Moment,
        settings: &Settings,
    ) -> Option<State> {
        let age = age_limit(settings.cooldown);
        let (sign, opened) = match observation {
            Observation::Success => {
                self.outcomes.succeed(from, now, settings.opens, age);
                (self.last, self.not_before) = (None, None);
                (Sign::Success, None)
            }
            Observation::Failure { description, asked } => {
                self.outcomes.fail(from, now, age);
                self.last = Some(description.clone());
                let until = asked.map(|asked| now.plus(asked.min(LONGEST_ASKED)));
                self.not_before = self.not_before.max(until);
                let failures = self.outcomes.opening(settings.opens, now, age);
                (Sign::Failure, failures.map(|failures| State::Open(self.open(failures, now, settings))))
            }
            Observation::Nothing => (Sign::Nothing, None),
        };
        if let Some(recovery) = &mut self.recovery {
            recovery.report(permit, sign, now);
            if recovery.gate(now, |_, _| true) == Gate::Free {
                self.recovery = None;
            }
        }
        opened
    }

    /// Whether a success would change nothing that matters.
    pub(super) fn success_is_known(
        &self,
        permit: Option<u64>,
        from: Option<HostTag>,
        now: Moment,
        settings: &Settings,
    ) -> bool {
        let permit =
            permit.is_some_and(|permit| self.recovery.as_ref().is_some_and(|recovery| recovery.runs(permit)));
        let age = age_limit(settings.cooldown);
        !permit && self.outcomes.success_is_known(settings.opens, from, now, age)
    }

    /// The opening after the last of the failures.
    fn open(&self, failures: u32, now: Moment, settings: &Settings) -> Open {
        let asked = self.not_before.map(|until| until.since(now));
        Open {
            cooldown: Some(settings.cooldown),
            failures,
            last: self.last.clone(),
            not_before: self.not_before.filter(|until| *until > now),
            ..Open::new(Cause::Failures, now, settings.open_for(0, asked))
        }
    }

    pub(super) fn not_after(&mut self, now: Moment) {
        self.since = self.since.map(|since| since.min(now));
        self.outcomes.not_after(now);
        let latest = now.plus(LONGEST_ASKED);
        self.not_before = self.not_before.map(|until| until.min(latest));
        if let Some(recovery) = &mut self.recovery {
            recovery.not_after(now);
        }
    }

    pub(super) fn shift(&mut self, millis: i64) {
        self.since = self.since.map(|since| since.shifted(millis));
        self.outcomes.shift(millis);
        self.not_before = self.not_before.map(|until| until.shifted(millis));
        if let Some(recovery) = &mut self.recovery {
            recovery.shift(millis);
        }
    }
}
