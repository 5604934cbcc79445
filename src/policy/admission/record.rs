//! The breaker and the budget of one name, and what an attempt changes in them.
//!
//! A run changes a record before an attempt ([`Record::admit`]) and after it ([`Record::settle`]).
//! Often nothing has to change: then a look at the record is enough, and the run needs no lock.
//! [`Record::preview`] and [`Breaker::holds_already`] say when that is so.

use std::cell::Cell;
use std::time::Duration;

use super::breaker::{
    Admitted, Answer, Applicant, Breaker, Claim, HostTag, Observation, Open, Pass, Refusal, Role, Settings,
};
use super::budget::{Bucket, Rate, Spent};
use super::moment::Moment;

/// Everything that the runs of one name share.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Record {
    pub(crate) breaker: Breaker,
    /// None before the first run with a budget. Such a budget is full.
    pub(crate) budget: Option<Bucket>,
}

/// The answer to an applicant, as far as a look at the record tells.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) enum Preview {
    /// This is the answer, and nothing in the record has to change.
    Final(Admitted),
    /// The breaker admits the run and does not change. Only the budget has to change.
    DepositOnly,
    /// A transaction must decide.
    Undecided,
}

/// An attempt that has ended, as its run reports it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report<'a> {
    pub(crate) pass: Pass,
    pub(crate) observation: &'a Observation,
    /// The host of the run, in a store that many hosts share.
    pub(crate) from: Option<HostTag>,
    pub(crate) settings: &'a Settings,
    pub(crate) intent: Intent,
    /// The budget that a retry takes a token from. None if another record holds it.
    pub(crate) budget: Option<Rate>,
}

/// A run's plan after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intent {
    /// The run makes no other attempt.
    Stop,
    /// The run retries, unless the breaker is open.
    Retry,
    /// The run retries. If the breaker is open, the run waits for it, unless no probe is due within
    /// this time.
    RetryWithin(Duration),
}

impl Intent {
    /// Whether the run wants to retry.
    pub(crate) fn is_retry(self) -> bool {
        self != Self::Stop
    }

    /// Whether the run waits for an open breaker.
    fn waits(self) -> bool {
        match self {
            Self::Stop | Self::Retry => false,
            Self::RetryWithin(_) => true,
        }
    }

    /// Whether the run waits for a breaker that refuses it.
    pub(crate) fn waits_for(self, refusal: &Refusal) -> bool {
        match self {
            Self::Stop | Self::Retry => false,
            Self::RetryWithin(time) => refusal.is_over_in(time),
        }
    }
}

/// The answer to a report.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) enum Settlement {
    /// The run may retry, as far as is known now.
    Go,
    /// The breaker is open, and the run ends.
    Open(Refusal),
    /// The breaker is open. The run may retry after it has waited for it.
    Wait(Refusal),
    /// The budget has no token for a retry.
    Spent(Spent),
}

impl Record {
    /// Asks the breaker for an attempt. If the attempt may be made, pays a deposit into the budget:
    /// the first attempt of a run does so. `lives` gets a claim and the process id of its holder.
    pub(crate) fn admit(
        &mut self,
        applicant: &Applicant,
        deposit: Option<Rate>,
        now: Moment,
        lives: impl Fn(Claim, u32) -> bool,
    ) -> Admitted {
        let admitted = self.breaker.admit(applicant, now, lives);
        if let (Admitted::Yes(_), Some(rate)) = (&admitted, deposit) {
            self.deposit(rate, now);
        }
        admitted
    }

    /// The answer that [`admit`](Self::admit) would give, if it would change nothing. `lives` returns
    /// None if it cannot tell.
    pub(crate) fn preview(
        &self,
        applicant: &Applicant,
        deposit: Option<Rate>,
        now: Moment,
        lives: impl Fn(Claim, u32) -> Option<bool>,
    ) -> Preview {
        let unknown = Cell::new(false);
        let lives = |claim, owner| {
            lives(claim, owner).unwrap_or_else(|| {
                unknown.set(true);
                true
            })
        };
        let answer = self.breaker.answer(applicant, now, lives);
        match answer {
            Answer::Claim => Preview::Undecided,
            Answer::Refused(_) | Answer::Ordinary if unknown.get() => Preview::Undecided,
            Answer::Refused(refusal) => Preview::Final(Admitted::No(refusal)),
            Answer::Ordinary if deposit.is_some_and(|rate| !self.is_full(rate, now)) => Preview::DepositOnly,
            Answer::Ordinary => {
                let generation = self.breaker.generation;
                Preview::Final(Admitted::Yes(Pass { generation, role: Role::Ordinary }))
            }
        }
    }

    /// Counts a report, and answers whether the run may retry. A retry takes a token from the
    /// budget.
    pub(crate) fn settle(
        &mut self,
        report: &Report<'_>,
        now: Moment,
        lives: impl Fn(Claim, u32) -> bool,
    ) -> Settlement {
        let Report { pass, observation, from, settings, intent, .. } = *report;
        self.breaker.record(pass, observation, from, now, settings);
        // A run asks for a permit later, before its next attempt.
        let settled = match self.breaker.opening_refusal(intent.waits(), now, lives) {
            None => Settlement::Go,
            Some(refusal) if intent.waits_for(&refusal) => Settlement::Wait(refusal),
            Some(refusal) => return Settlement::Open(refusal),
        };
        let budget = report.budget.filter(|_| intent.is_retry());
        match budget.map(|rate| self.withdraw(rate, now)) {
            Some(Err(spent)) => Settlement::Spent(spent),
            Some(Ok(())) | None => settled,
        }
    }

    /// Puts back the opening that a run has seen, after the record was damaged. See
    /// [`Breaker::restore`].
    pub(crate) fn restore(&mut self, seen: &Open, probe: Option<u64>, now: Moment) {
        self.breaker.restore(seen, probe, now);
    }

    /// Pays the deposit of a first attempt into the budget.
    pub(crate) fn deposit(&mut self, rate: Rate, now: Moment) {
        if let Some(bucket) = &mut self.budget {
            bucket.deposit(rate, now);
        }
    }

    /// Takes a token for a retry from the budget.
    ///
    /// # Errors
    /// [`Spent`] if the budget has no token.
    pub(crate) fn withdraw(&mut self, rate: Rate, now: Moment) -> Result<(), Spent> {
        self.budget.get_or_insert(Bucket::full(rate, now)).withdraw(rate, now)
    }

    /// Whether a deposit would change nothing.
    pub(crate) fn is_full(&self, rate: Rate, now: Moment) -> bool {
        let mut changed = self.clone();
        changed.deposit(rate, now);
        changed == *self
    }

    /// Moves all times into the count of another boot, which is `millis` ahead.
    pub(crate) fn shift(&mut self, millis: i64) {
        self.breaker.shift(millis);
        if let Some(bucket) = &mut self.budget {
            bucket.shift(millis);
        }
    }

    /// Moves times that lie ahead of `now` back to `now`. They lie ahead if the clock was set back.
    pub(crate) fn not_after(&mut self, now: Moment) {
        self.breaker.not_after(now);
        if let Some(bucket) = &mut self.budget {
            bucket.not_after(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::super::breaker::{Opens, State};
    use super::*;

    const FIFTH: Rate = Rate::Share { billionths: 200_000_000 };
    const ONE_A_DAY: Rate = Rate::Times { count: 1, period: Duration::from_hours(24) };

    fn at(seconds: i64) -> Moment {
        Moment(seconds * 1000)
    }

    fn settings() -> Settings {
        let secs = Duration::from_secs;
        Settings { opens: Opens::InRow(NonZeroU32::MIN), cooldown: secs(30), lease: secs(20) }
    }

    fn applicant() -> Applicant {
        Applicant { pid: 7, lease: Duration::from_secs(20), waits: false, returns: false }
    }

    fn failure() -> Observation {
        Observation::Failure { description: "exited 7".into(), asked: None }
    }

    fn pass(record: &mut Record, now: Moment) -> Pass {
        match record.admit(&applicant(), None, now, |_, _| true) {
            Admitted::Yes(pass) => pass,
            Admitted::No(refusal) => panic!("{refusal:?}"),
        }
    }

    fn settled(
        record: &mut Record,
        observation: &Observation,
        intent: Intent,
        budget: Option<Rate>,
    ) -> Settlement {
        let pass = pass(record, at(0));
        let report = Report { pass, observation, from: None, settings: &settings(), intent, budget };
        record.settle(&report, at(0), |_, _| true)
    }

    /// A breaker that has just opened for 30 seconds.
    fn open() -> Record {
        let mut record = Record::default();
        let _ = settled(&mut record, &failure(), Intent::Stop, None);
        record
    }

    #[test]
    fn an_intent_waits_only_for_a_probe_that_comes_in_time() {
        let secs = Duration::from_secs;
        let refused = open().breaker.opening_refusal(false, at(0), |_, _| true).unwrap();
        for (intent, waits, retries) in [
            (Intent::Stop, false, false),
            (Intent::Retry, false, true),
            (Intent::RetryWithin(secs(30)), false, true),
            (Intent::RetryWithin(secs(31)), true, true),
        ] {
            assert_eq!((intent.waits_for(&refused), intent.is_retry()), (waits, retries), "{intent:?}");
        }
    }

    #[test]
    fn a_report_is_answered_by_breaker_and_budget() {
        let (retry, wait) = (Intent::Retry, Intent::RetryWithin(Duration::MAX));
        let fresh = Record::default;
        assert_eq!(settled(&mut fresh(), &Observation::Success, Intent::Stop, None), Settlement::Go);
        assert_eq!(settled(&mut fresh(), &Observation::Nothing, retry, Some(ONE_A_DAY)), Settlement::Go);
        assert!(matches!(settled(&mut fresh(), &failure(), retry, None), Settlement::Open(_)));
        assert!(matches!(settled(&mut fresh(), &failure(), wait, None), Settlement::Wait(_)));
        assert!(matches!(settled(&mut fresh(), &failure(), Intent::Stop, None), Settlement::Open(_)));
        // The only token of the day is gone.
        let mut spent = fresh();
        assert_eq!(settled(&mut spent, &Observation::Nothing, retry, Some(ONE_A_DAY)), Settlement::Go);
        let before = spent.clone();
        assert!(matches!(
            settled(&mut spent, &Observation::Nothing, retry, Some(ONE_A_DAY)),
            Settlement::Spent(_)
        ));
        assert!(matches!(settled(&mut spent, &failure(), wait, Some(ONE_A_DAY)), Settlement::Spent(_)));
        assert_eq!(spent.budget, before.budget);
        // A run that does not retry asks for no token.
        let mut spent = before;
        assert_eq!(settled(&mut spent, &Observation::Nothing, Intent::Stop, Some(ONE_A_DAY)), Settlement::Go);
        // A run that the breaker refuses takes no token.
        let mut record = fresh();
        let _ = settled(&mut record, &failure(), retry, Some(ONE_A_DAY));
        assert_eq!(record.budget, None);
    }

    #[test]
    fn a_look_is_enough_if_nothing_changes() {
        let look = |record: &Record, deposit, now, lives: Option<bool>| {
            record.preview(&applicant(), deposit, now, move |_, _| lives)
        };
        let admitted = Preview::Final(Admitted::Yes(Pass { generation: 0, role: Role::Ordinary }));
        let mut record = Record::default();
        assert_eq!(look(&record, None, at(0), None), admitted);
        assert_eq!(
            look(&record, Some(FIFTH), at(0), None),
            admitted,
            "a budget that nobody has used is full"
        );
        let _ = record.withdraw(FIFTH, at(0));
        assert_eq!(look(&record, Some(FIFTH), at(0), None), Preview::DepositOnly);
        assert_eq!(look(&record, None, at(0), None), admitted);
        let mut record = open();
        assert!(matches!(look(&record, Some(FIFTH), at(1), None), Preview::Final(Admitted::No(_))));
        assert_eq!(look(&record, None, at(30), None), Preview::Undecided, "a probe is due");
        assert!(pass(&mut record, at(30)).is_probe());
        assert!(matches!(look(&record, None, at(31), Some(true)), Preview::Final(Admitted::No(_))));
        for unclear in [Some(false), None] {
            assert_eq!(look(&record, None, at(31), unclear), Preview::Undecided, "{unclear:?}");
        }
    }

    #[test]
    fn a_success_is_news_only_after_a_failure() {
        let pass = Pass { generation: 0, role: Role::Ordinary };
        let holds = |record: &Record, pass, observation: &Observation| {
            record.breaker.holds_already(pass, observation, None, at(0), &settings())
        };
        let clean = Record::default();
        assert!(holds(&clean, pass, &Observation::Success));
        assert!(!holds(&clean, pass, &failure()));
        assert!(!holds(&clean, pass, &Observation::Nothing));
        assert!(!holds(&clean, Pass { generation: 1, ..pass }, &Observation::Success));
        let mut failed = Record::default();
        let two = Settings { opens: Opens::InRow(NonZeroU32::new(2).unwrap()), ..settings() };
        failed.breaker.record(pass, &failure(), None, at(0), &two);
        assert!(!holds(&failed, pass, &Observation::Success));
        let open = open();
        let pass = Pass { generation: open.breaker.generation, role: Role::Ordinary };
        assert!(!holds(&open, pass, &Observation::Success));
    }

    #[test]
    fn all_times_move_into_the_count_of_another_boot() {
        let mut record = open();
        let _ = record.withdraw(ONE_A_DAY, at(0));
        assert!(pass(&mut record, at(30)).is_probe());
        let lives = |_: Claim, _: u32| true;
        let before = record.breaker.opening_refusal(false, at(35), lives);
        record.shift(-7000);
        assert_eq!(record.breaker.opening_refusal(false, at(28), lives), before);
        assert_eq!(record.budget.map(|bucket| bucket.at), Some(at(-7)));
        let mut closed = Record::default();
        closed.breaker.reset(at(10));
        closed.shift(5000);
        assert!(matches!(&closed.breaker.state, State::Closed(closed) if closed.since == Some(at(15))));
    }
}
