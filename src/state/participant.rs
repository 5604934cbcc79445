//! One run's part in the records that it shares: it asks before each attempt, and reports after it.
//!
//! Each of the two is one short transaction on a record, or two if the breaker and the budget have
//! different names. If nothing has to change, a look without a lock is enough: the breaker is
//! closed and all is well, or it is open.
//!
//! If a record cannot be used, the run goes on without it, and keeps the other one. There is one
//! exception. A run that has seen its breaker open, whether it waits or probes, treats a missing
//! answer as a refusal. Otherwise a record that is locked or damaged for a moment would send all
//! waiting runs to a service that is down.

use std::path::PathBuf;
use std::time::Duration;

use super::file::place::Place;
use super::keeper::{Keeper, Links};
use super::record::Snapshot;
use super::redis::renewal::Renewal;
use super::store::{Store, StoreError, Transaction};
use super::surroundings::Surroundings;
pub(crate) use super::warning::{Affected, Problem, Warning};
use crate::policy::admission::above::ClaimsAbove;
use crate::policy::admission::breaker::{
    Admitted, Answer, Applicant, Breaker, Claim, Known, Observation, Open, Pass, Refusal, Settings, State,
};
use crate::policy::admission::budget::{Rate, Spent};
use crate::policy::admission::record::{Intent, Preview, Record, Report, Settlement};

/// A run that may not make an attempt without an answer waits this long for the lock, as far as its
/// deadline allows.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);

/// A run, with the records of its breaker and its budget.
#[derive(Debug)]
pub(crate) struct Participant<S = Keeper> {
    breaker: Option<BreakerRecord<S>>,
    /// The budget, if the breaker's record does not hold it.
    budget: Option<BudgetRecord<S>>,
    /// The pass of the attempt that runs.
    pass: Option<Pass>,
    /// The first attempt has been admitted.
    begun: bool,
    /// The opening of the breaker, as this run last saw it. None if the breaker was closed then, or
    /// if this run has never seen it.
    seen: Option<Open>,
    /// The run has been warned of [`Problem::Unanswered`].
    warned_unanswered: bool,
    /// Warnings that the user has not been told yet.
    warnings: Vec<Warning>,
}

/// The record of the breaker, which may hold the budget too.
#[derive(Debug)]
struct BreakerRecord<S> {
    store: S,
    settings: Settings,
    /// The run waits for an open breaker.
    waits: bool,
    budget: Option<Rate>,
}

impl<S> BreakerRecord<S> {
    /// What a warning about the record is about.
    fn affected(&self) -> Affected {
        if self.budget.is_some() { Affected::Both } else { Affected::Breaker }
    }
}

/// The record of a budget alone.
#[derive(Debug)]
struct BudgetRecord<S> {
    store: S,
    rate: Rate,
}

impl Participant {
    /// A run that shares the records in these places. `waits` says whether it waits for an open
    /// breaker, and `above` are the claims of the retries around it. None if it shares nothing.
    pub(crate) fn new(
        breaker: Option<(&Place, Settings)>,
        waits: bool,
        budget: Option<(&Place, Rate)>,
        above: &ClaimsAbove,
        surroundings: Surroundings,
    ) -> Option<Self> {
        let in_one_record =
            breaker.zip(budget).is_some_and(|((breaker, _), (budget, _))| breaker.path == budget.path);
        let mut links = Links::default();
        let mut store = |place| Keeper::new(place, &mut links, above, surroundings);
        Self::with(
            breaker.map(|(place, settings)| BreakerRecord {
                store: store(place),
                settings,
                waits,
                budget: budget.filter(|_| in_one_record).map(|(_, rate)| rate),
            }),
            budget.filter(|_| !in_one_record).map(|(place, rate)| BudgetRecord { store: store(place), rate }),
        )
    }
}

impl Participant {
    /// The renewal of the claim that the admitted attempt holds, if it needs one.
    pub(crate) fn renewal(&self) -> Option<Renewal> {
        let BreakerRecord { store, settings, .. } = self.breaker.as_ref()?;
        let pass = self.pass.filter(|pass| pass.claim().is_some())?;
        store.renewal(pass, settings.lease)
    }

    /// The claim of the admitted attempt, for the retries in it, and the name of its breaker. None if
    /// there is no claim, or if they find it by themselves.
    pub(crate) fn handed_down(&self) -> Option<(&str, Claim)> {
        let name = self.breaker.as_ref()?.store.hands_down()?;
        Some((name, self.pass.as_ref()?.claim()?))
    }
}

impl<S: Store> Participant<S> {
    fn with(breaker: Option<BreakerRecord<S>>, budget: Option<BudgetRecord<S>>) -> Option<Self> {
        if breaker.is_none() && budget.is_none() {
            return None;
        }
        Some(Self {
            breaker,
            budget,
            pass: None,
            begun: false,
            seen: None,
            warned_unanswered: false,
            warnings: Vec::new(),
        })
    }

    /// Asks for an attempt, `left` before the deadline. The first attempt of a run pays a deposit
    /// into the budget. Returns the refusal, if there is one.
    pub(crate) fn admit(&mut self, left: Duration) -> Option<Refusal> {
        match self.ask_breaker(left) {
            Some(Reply { admitted: Admitted::No(refusal), opening }) => {
                self.seen = opening;
                return Some(refusal);
            }
            Some(Reply { admitted: Admitted::Yes(pass), opening }) => {
                (self.pass, self.seen) = (Some(pass), opening);
            }
            None => {}
        }
        if !self.begun {
            self.pay_deposit(left / 2);
        }
        self.begun = true;
        None
    }

    /// The breaker's answer. None if there is no breaker, or none that can be used.
    fn ask_breaker(&mut self, left: Duration) -> Option<Reply> {
        let first = !self.begun;
        let seen = self.seen.clone();
        let BreakerRecord { store, settings, waits, budget } = self.breaker.as_mut()?;
        let deposit = budget.filter(|_| first);
        let (pid, lease, returns) = (std::process::id(), settings.lease, *waits && seen.is_some());
        let applicant = Applicant { pid, lease, waits: *waits, returns };
        // The transaction must leave time for an attempt.
        let patience = left / 2;
        let mut unheard = false;
        let answer = match preview(store, &applicant, deposit) {
            (Preview::Final(admitted), opening) => {
                // A run must learn before its first attempt that it cannot write its report later.
                let check = first && matches!(admitted, Admitted::Yes(_));
                let checked = if check { store.check_writable() } else { Ok(()) };
                checked.map(|()| Reply { admitted, opening })
            }
            (Preview::DepositOnly, _) => match admit(store, patience, &applicant, deposit, seen.as_ref()) {
                // Many runs pay at the same time. No attempt depends on this deposit.
                Err(StoreError::Busy) => {
                    unheard = true;
                    admit(store, patience, &applicant, None, seen.as_ref())
                }
                answer => answer,
            },
            (Preview::Undecided, _) => {
                // Without the answer there is no attempt that would need the time.
                let patience = patience.max(left.min(ANSWER_PATIENCE));
                admit(store, patience, &applicant, deposit, seen.as_ref())
            }
        };
        if unheard {
            self.note(Affected::Budget, Problem::Unheard);
        }
        match answer {
            Ok(answer) => self.keep_breaker(Ok(answer)),
            Err(error) => match self.refusal_without_answer(&error, None) {
                Some(Refused { refusal, opening }) => {
                    Some(Reply { admitted: Admitted::No(refusal), opening })
                }
                None => self.keep_breaker(Err(error)),
            },
        }
    }

    /// Pays the deposit of the first attempt into a budget with a record of its own.
    fn pay_deposit(&mut self, patience: Duration) {
        let Some(BudgetRecord { store, rate }) = &mut self.budget else { return };
        let is_full = |seen: Snapshot| seen.record.is_full(*rate, seen.now);
        let paid = if store.look().is_ok_and(is_full) {
            store.check_writable()
        } else {
            store.transact(patience, |record, transaction| {
                record.deposit(*rate, transaction.now);
                Ok(())
            })
        };
        match paid {
            Err(StoreError::Busy) => self.note(Affected::Budget, Problem::Unheard),
            paid => {
                self.keep_budget(paid);
            }
        }
    }

    /// A refusal in place of the answer that `error` has prevented, if the breaker is open by all
    /// that this run knows. `probe` is the report of this run's own probe, if it has just ended.
    fn refusal_without_answer(
        &mut self,
        error: &StoreError,
        probe: Option<(Pass, &Observation)>,
    ) -> Option<Refused> {
        let record = self.breaker.as_mut().filter(|_| *error != StoreError::Interrupted)?;
        let affected = record.affected();
        let BreakerRecord { store, settings, waits, .. } = record;
        let (mut breaker, now, known) = match (store.look(), &self.seen) {
            (Ok(seen), _) => (seen.record.breaker, seen.now, Known::Now),
            (Err(_), Some(opening)) => {
                let (mut breaker, now) = (Breaker::default(), store.now());
                breaker.restore(opening, probe.map(|(pass, _)| pass.generation), now);
                (breaker, now, Known::Earlier)
            }
            (Err(_), None) => return None,
        };
        if let Some((pass, observation)) = probe {
            breaker.record(pass, observation, store.host(), now, settings);
        }
        let applicant = Applicant { pid: 0, lease: settings.lease, waits: *waits, returns: false };
        let lives = |claim, owner| store.holder_lives(claim, owner).unwrap_or(true);
        let refusal = match (breaker.answer(&applicant, now, lives), &breaker.state, &self.seen) {
            (Answer::Refused(refusal), ..) => Refusal { known, ..refusal },
            // There is a permit, but this run cannot get it.
            (Answer::Claim, State::Closed(closed), _) => closed.without_permit(now),
            // A probe is due, but this run cannot get the lease.
            (Answer::Claim, State::Open(_) | State::HalfOpen(_), Some(opening)) => opening.unanswered(now),
            (Answer::Claim, State::Open(_) | State::HalfOpen(_), None) | (Answer::Ordinary, ..) => {
                return None;
            }
        };
        let opening = breaker.opening().cloned();
        // This run may have taken a lease that it could not write down. Nobody must wait for that.
        store.close();
        if !self.warned_unanswered && self.seen.is_some() {
            self.warned_unanswered = true;
            self.note(affected, Problem::Unanswered(error.clone()));
        }
        Some(Refused { refusal, opening })
    }

    /// Whether the admitted attempt is the breaker's probe.
    pub(crate) fn probes(&self) -> bool {
        self.pass.is_some_and(|pass| pass.is_probe())
    }

    /// Reports an attempt, and takes a token from the budget if the run intends to retry. Waits at
    /// most `patience` for each record.
    pub(crate) fn settle(
        &mut self,
        observation: &Observation,
        intent: Intent,
        patience: Duration,
    ) -> Settlement {
        let answer = match self.report_to_breaker(observation, intent, patience) {
            None => Settlement::Go,
            Some(settled @ (Settlement::Go | Settlement::Wait(_))) => settled,
            Some(settled @ (Settlement::Open(_) | Settlement::Spent(_))) => return settled,
        };
        if let Some(BudgetRecord { store, rate }) = self.budget.as_mut().filter(|_| intent.is_retry()) {
            let withdrawn =
                store.transact(patience, |record, transaction| Ok(record.withdraw(*rate, transaction.now)));
            let withdrawn = match withdrawn {
                Err(StoreError::Busy) => Ok(Err(UNPAID)),
                withdrawn => withdrawn,
            };
            if let Some(Err(spent)) = self.keep_budget(withdrawn) {
                return Settlement::Spent(spent);
            }
        }
        answer
    }

    /// Reports an attempt to the breaker, and to the budget in the same record. None if there is no
    /// breaker, or none that can be used, or nothing to report.
    fn report_to_breaker(
        &mut self,
        observation: &Observation,
        intent: Intent,
        patience: Duration,
    ) -> Option<Settlement> {
        let seen = self.seen.clone();
        let BreakerRecord { store, settings, budget, .. } = self.breaker.as_mut()?;
        let pass = self.pass.take()?;
        let budget = budget.filter(|_| intent.is_retry());
        let from = store.host();
        let is_known =
            |seen: Snapshot| seen.record.breaker.holds_already(pass, observation, from, seen.now, settings);
        if budget.is_none() && store.look().is_ok_and(is_known) {
            return None;
        }
        let report = Report { pass, observation, from, settings, intent, budget };
        let settled = store.transact(patience, |record, transaction| {
            if let Some(opening) = transaction.lost(seen.as_ref()).filter(|_| pass.is_probe()) {
                record.restore(&opening, Some(pass.generation), transaction.now);
            }
            let lives = |claim, owner| transaction.claims.holder_lives(claim, owner);
            // The attempt was admitted by the record that is lost, and counts in this one.
            let adopted = Pass { generation: record.breaker.generation, ..pass };
            let pass = if transaction.is_lost && !pass.is_probe() { adopted } else { pass };
            let settled = record.settle(&Report { pass, ..report }, transaction.now, lives);
            Ok((settled, record.breaker.opening().cloned()))
        });
        if let Some(claim) = pass.claim() {
            store.release(claim);
        }
        if settled == Err(StoreError::Busy) && !pass.is_probe() {
            self.note(Affected::Breaker, Problem::Unheard);
            // The next look tells whether the breaker is open. A retry that is not paid for does
            // not come.
            return budget.map(|_| Settlement::Spent(UNPAID));
        }
        let (settled, opening) = match settled {
            Ok(settled) => self.keep_breaker(Ok(settled))?,
            Err(error) => {
                match self.refusal_without_answer(&error, pass.is_probe().then_some((pass, observation))) {
                    None => return self.keep_breaker(Err(error)),
                    Some(Refused { refusal, opening }) if intent.waits_for(&refusal) => {
                        (Settlement::Wait(refusal), opening)
                    }
                    Some(Refused { refusal, opening }) => (Settlement::Open(refusal), opening),
                }
            }
        };
        self.seen = opening;
        Some(settled)
    }

    /// Whether the breaker is closed now, or there is none. If a look cannot tell, it counts as not
    /// closed; the next transaction will say why.
    pub(crate) fn is_closed(&self) -> bool {
        let closed = |seen: Snapshot| matches!(seen.record.breaker.state, State::Closed(_));
        self.breaker.as_ref().is_none_or(|breaker| breaker.store.look().is_ok_and(closed))
    }

    /// The warnings since the last call.
    pub(crate) fn take_warnings(&mut self) -> Vec<Warning> {
        let mut warnings = std::mem::take(&mut self.warnings);
        // Two records in a directory that cannot be used are one problem.
        warnings.dedup_by(|later, first| {
            let same = later.problem == first.problem;
            if same {
                first.affected = first.affected.with(later.affected);
            }
            same
        });
        warnings
    }

    fn note(&mut self, affected: Affected, problem: Problem) {
        self.warnings.push(Warning { affected, problem });
    }

    /// Passes on the result of a transaction on the breaker's record. If it failed, gives the
    /// record up, and the budget in it.
    fn keep_breaker<T>(&mut self, result: Result<T, StoreError>) -> Option<T> {
        let affected = self.breaker.as_ref()?.affected();
        self.warn_of_replacements();
        let set_aside = self.breaker.as_mut()?.store.take_set_aside();
        let kept = self.warn_of(result, set_aside, affected);
        if kept.is_none() {
            (self.breaker, self.pass) = (None, None);
        }
        kept
    }

    /// Passes on the result of a transaction on the budget's own record. If it failed, gives the
    /// record up.
    fn keep_budget<T>(&mut self, result: Result<T, StoreError>) -> Option<T> {
        self.warn_of_replacements();
        let set_aside = self.budget.as_mut()?.store.take_set_aside();
        let kept = self.warn_of(result, set_aside, Affected::Budget);
        if kept.is_none() {
            self.budget = None;
        }
        kept
    }

    /// Notes the stores that have been replaced. If the server of both records has failed, one of them
    /// notices it first, and the user is told once.
    fn warn_of_replacements(&mut self) {
        let breaker = self.breaker.as_mut().map(|breaker| (breaker.affected(), &mut breaker.store));
        let budget = self.budget.as_mut().map(|budget| (Affected::Budget, &mut budget.store));
        for (affected, store) in breaker.into_iter().chain(budget) {
            if let Some(replacement) = store.take_replacement() {
                self.warnings.push(Warning { affected, problem: Problem::Replaced(replacement) });
            }
        }
    }

    /// Notes the warnings of a transaction. The run itself reports a signal that ends it.
    fn warn_of<T>(
        &mut self,
        result: Result<T, StoreError>,
        set_aside: Option<PathBuf>,
        affected: Affected,
    ) -> Option<T> {
        let warning = |problem| Warning { affected, problem };
        self.warnings.extend(set_aside.map(|path| warning(Problem::SetAside(path))));
        match result {
            Ok(value) => return Some(value),
            Err(StoreError::Interrupted) => {}
            Err(error) => self.warnings.push(warning(Problem::Unusable(error))),
        }
        None
    }
}

/// The answer to a retry that could not be paid for, because too many runs paid at the same time.
const UNPAID: Spent = Spent { next: Duration::ZERO };

/// A record's answer to a run that asks for an attempt.
struct Reply {
    admitted: Admitted,
    /// The opening of the breaker, unless it is closed.
    opening: Option<Open>,
}

/// A refusal in place of an answer that could not be had.
struct Refused {
    refusal: Refusal,
    opening: Option<Open>,
}

/// The answer as far as a look without a lock tells, and the opening of the breaker.
fn preview(store: &impl Store, applicant: &Applicant, deposit: Option<Rate>) -> (Preview, Option<Open>) {
    let Ok(Snapshot { record, now, moved }) = store.look() else { return (Preview::Undecided, None) };
    let opening = record.breaker.opening().cloned();
    match record.preview(applicant, deposit, now, |claim, owner| store.holder_lives(claim, owner)) {
        // The moved times must be written.
        Preview::Final(Admitted::No(_)) if moved => (Preview::Undecided, opening),
        preview => (preview, opening),
    }
}

/// Asks for an attempt in a transaction. `seen` is the opening that this run has seen.
fn admit(
    store: &mut impl Store,
    patience: Duration,
    applicant: &Applicant,
    deposit: Option<Rate>,
    seen: Option<&Open>,
) -> Result<Reply, StoreError> {
    store.transact(patience, |record: &mut Record, transaction: &Transaction<'_>| {
        // The record was damaged, and this run knows what was in it. If somebody has removed the
        // record instead, that closes the breaker, like a reset.
        if let Some(opening) = transaction.lost(seen) {
            record.restore(&opening, None, transaction.now);
        }
        let lives = |claim, owner| transaction.claims.holder_lives(claim, owner);
        let lease = applicant.lease.min(transaction.claims.longest());
        let admitted = record.admit(&Applicant { lease, ..*applicant }, deposit, transaction.now, lives);
        if let Admitted::Yes(pass) = admitted
            && let Some(claim) = pass.claim()
        {
            transaction.claims.hold(claim)?;
        }
        Ok(Reply { admitted, opening: record.breaker.opening().cloned() })
    })
}

#[cfg(test)]
mod tests;
