//! A run's part in what runs share: it asks before each attempt, and reports after it.
//!
//! Each is one short transaction on a record, or two if breaker and budget have different names. A
//! look without a lock is enough if there is nothing to change: the breaker is closed and all is
//! well, or it is open.
//!
//! A record that cannot be used is left out from then on, and the other is not. The exception is a
//! run that has seen its breaker open, whether it waits or probes: for that run no answer is a
//! refusal. Else a record that is locked or damaged for a moment would send all who wait to a
//! service that is down.

use std::path::PathBuf;
use std::time::Duration;

use super::lock::Lock;
use super::place::Place;
use super::record::Record;
use super::stamp::Stamp;
use super::store::{Access, Store, Trouble};
use crate::policy::admission::breaker::{
    Admitted, Breaker, Known, Open, Pass, Refusal, Settings, Shown, State,
};
use crate::policy::admission::budget::{Bucket, Rate, Spent};
use crate::policy::admission::{Moment, Settlement};
use crate::process::descendants::is_ancestor;

/// How long a run waits for the lock if it may make no attempt without it, as far as its deadline
/// allows.
const PATIENCE: Duration = Duration::from_secs(1);

/// The breaker and the budget of a run.
#[derive(Debug)]
pub(crate) struct Shared {
    breaker: Option<(Store, Settings)>,
    budget: Option<(Rate, Tokens)>,
    /// Of the attempt that runs.
    pass: Option<Pass>,
    /// An attempt was admitted before.
    begun: bool,
    /// The opening of the breaker, as this run saw it last. None if the breaker was closed then, or
    /// never seen.
    seen: Option<Open>,
    /// A run that has seen its breaker open got no answer later: this has been said.
    unanswered: bool,
    /// Not told yet.
    warnings: Vec<Warning>,
}

/// Where the budget's tokens are.
#[derive(Debug)]
enum Tokens {
    /// In the record of the breaker.
    WithBreaker,
    Own(Store),
}

/// Something that the user must know of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    /// It is the breaker's.
    pub(crate) breaker: bool,
    /// It is the budget's.
    pub(crate) budget: bool,
    pub(crate) what: Wrong,
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It cannot be used; the run goes on without it.
    Unusable(Trouble),
    /// It cannot be used now, and the breaker was open when this run saw it last: it counts as
    /// open.
    Unanswered(Trouble),
    /// The file was no record, and is here now; a new one was begun.
    SetAside(PathBuf),
}

impl Shared {
    /// None where a run shares nothing.
    pub(crate) fn new(breaker: Option<(&Place, Settings)>, budget: Option<(&Place, Rate)>) -> Option<Self> {
        let store = |place: &Place| Store::new(place.path.clone(), place.directory.clone());
        if breaker.is_none() && budget.is_none() {
            return None;
        }
        let same = |place: &Place| breaker.is_some_and(|(breaker, _)| breaker.path == place.path);
        Some(Self {
            budget: budget.map(|(place, rate)| {
                let tokens = if same(place) { Tokens::WithBreaker } else { Tokens::Own(store(place)) };
                (rate, tokens)
            }),
            breaker: breaker.map(|(place, settings)| (store(place), settings)),
            pass: None,
            begun: false,
            seen: None,
            unanswered: false,
            warnings: Vec::new(),
        })
    }

    /// Asks whether an attempt may be made, `left` before the deadline; a run's first puts into the
    /// budget. The refusal, if there is one.
    pub(crate) fn admit(&mut self, left: Duration) -> Option<Refusal> {
        let first = !self.begun;
        match self.ask_breaker(left) {
            Some(Answer { admitted: Admitted::No(refusal), opening }) => {
                self.seen = opening;
                return Some(refusal);
            }
            Some(Answer { admitted: Admitted::Yes(pass), opening }) => {
                (self.pass, self.seen) = (Some(pass), opening);
            }
            None => {}
        }
        if first {
            self.put_into_budget(left / 2);
        }
        self.begun = true;
        None
    }

    /// What the breaker answers to a run that wants to make an attempt. None if there is no
    /// breaker, or none that can be used.
    fn ask_breaker(&mut self, left: Duration) -> Option<Answer> {
        let first = !self.begun;
        let together = self.together().filter(|_| first);
        let seen = self.seen.clone();
        let (store, settings) = self.breaker.as_mut()?;
        let answer = match glance(store, together) {
            Glance::Answer(answer) => match answer.admitted {
                // What could not be written later is said now.
                Admitted::Yes(_) if first => store.ready().map(|()| answer),
                Admitted::Yes(_) | Admitted::No(_) => Ok(answer),
            },
            Glance::Ask { closed } => {
                // It has to leave time for an attempt, unless the attempt may not be made without
                // it.
                let most = if closed { left / 2 } else { (left / 2).max(left.min(PATIENCE)) };
                store
                    .transact(most, |record, access| admit(record, access, settings, together, seen.as_ref()))
            }
        };
        match answer {
            Ok(answer) => self.by_breaker(Ok(answer)),
            Err(trouble) => match self.unanswered(&trouble, None) {
                Some(Refused { refusal, opening }) => {
                    Some(Answer { admitted: Admitted::No(refusal), opening })
                }
                None => self.by_breaker(Err(trouble)),
            },
        }
    }

    /// Puts a first attempt into a budget with a record of its own, within `most`.
    fn put_into_budget(&mut self, most: Duration) {
        let Some((rate, Tokens::Own(store))) = &mut self.budget else { return };
        let deposited = if look(store).is_some_and(|seen| takes_nothing(&seen.record, *rate, seen.now)) {
            store.ready()
        } else {
            store.transact(most, |record, access| {
                deposit(record, *rate, access.now);
                Ok(())
            })
        };
        self.by_budget(deposited);
    }

    /// The answer in place of the record's, which cannot be had because of this trouble: a refusal,
    /// if the breaker is open by all that this run knows. `report` is that of this run's own probe.
    fn unanswered(&mut self, trouble: &Trouble, report: Option<(Pass, &Shown)>) -> Option<Refused> {
        let (store, settings) = self.breaker.as_mut().filter(|_| *trouble != Trouble::Interrupted)?;
        let (mut breaker, now, known) = match (look(store), &self.seen) {
            (Some(seen), _) => (seen.record.breaker, seen.now, Known::Now),
            (None, Some(opening)) => {
                let (mut breaker, now) = (Breaker::default(), Stamp::now().moment());
                breaker.restore(opening, report.map(|(pass, _)| pass.generation), now);
                (breaker, now, Known::Earlier)
            }
            (None, None) => return None,
        };
        if let Some((pass, shown)) = report {
            breaker.record(pass, shown, now, settings);
        }
        let lives = |generation, owner| holder_lives(store, generation, owner).unwrap_or(true);
        let refusal = match (breaker.refusal(now, lives), &self.seen) {
            (Some(refusal), _) => Refusal { known, ..refusal },
            // A probe is due, and cannot be had.
            (None, Some(opening)) if breaker.opening().is_some() => opening.unanswered(now),
            (None, _) => return None,
        };
        let opening = breaker.opening().cloned();
        // A lease that could not be written down is nobody's.
        store.close();
        if !self.unanswered && self.seen.is_some() {
            self.unanswered = true;
            let budget = matches!(self.budget, Some((_, Tokens::WithBreaker)));
            self.warnings.push(Warning { breaker: true, budget, what: Wrong::Unanswered(trouble.clone()) });
        }
        Some(Refused { refusal, opening })
    }

    /// Whether the attempt that was admitted is the breaker's probe.
    pub(crate) fn probes(&self) -> bool {
        self.pass.is_some_and(|pass| pass.probe)
    }

    /// Reports what the attempt has shown, and takes a token where another is wanted (`retry`),
    /// within `most`. Where the breaker has opened and a probe is due in less than `through`, the
    /// run will wait for it.
    pub(crate) fn settle(
        &mut self,
        shown: &Shown,
        retry: bool,
        through: Option<Duration>,
        most: Duration,
    ) -> Settlement {
        let waits = |refusal: &Refusal| retry && through.is_some_and(|most| refusal.is_over_in(most));
        let answer = match self.report_to_breaker(shown, retry, &waits, most) {
            None => Settlement::Go,
            Some(settled @ (Settlement::Go | Settlement::Wait(_))) => settled,
            Some(settled @ (Settlement::Open(_) | Settlement::Spent(_))) => return settled,
        };
        if let Some((rate, Tokens::Own(store))) = &mut self.budget
            && retry
        {
            let granted = store.transact(most, |record, access| Ok(withdraw(record, *rate, access.now)));
            if let Some(Err(spent)) = self.by_budget(granted) {
                return Settlement::Spent(spent);
            }
        }
        answer
    }

    /// Reports to the breaker what the attempt has shown, and asks the budget that is in the same
    /// record for a `retry`. None if there is no breaker, or none that can be used, or nothing to
    /// report.
    fn report_to_breaker(
        &mut self,
        shown: &Shown,
        retry: bool,
        waits: &impl Fn(&Refusal) -> bool,
        most: Duration,
    ) -> Option<Settlement> {
        let together = self.together().filter(|_| retry);
        let seen = self.seen.clone();
        let (store, settings) = self.breaker.as_mut()?;
        let pass = self.pass.take()?;
        if together.is_none() && is_known(store, pass, shown) {
            return None;
        }
        let settled = store.transact(most, |record, access| {
            if let Some(opening) = seen.filter(|_| access.anew && pass.probe) {
                record.breaker.restore(&opening, Some(pass.generation), access.now);
            }
            record.breaker.record(pass, shown, access.now, settings);
            let opening = record.breaker.opening().cloned();
            let lives = |generation, owner| lives(access.lock, generation, owner);
            let granted = match record.breaker.refusal(access.now, lives) {
                Some(refusal) if !waits(&refusal) => return Ok((Settlement::Open(refusal), opening)),
                Some(refusal) => Settlement::Wait(refusal),
                None => Settlement::Go,
            };
            let withdrawn = together.map(|rate| withdraw(record, rate, access.now));
            Ok(match withdrawn {
                Some(Err(spent)) => (Settlement::Spent(spent), opening),
                Some(Ok(())) | None => (granted, opening),
            })
        });
        if pass.probe {
            store.give_up(pass.generation);
        }
        let (settled, opening) = match settled {
            Ok(settled) => self.by_breaker(Ok(settled))?,
            Err(trouble) => match self.unanswered(&trouble, pass.probe.then_some((pass, shown))) {
                None => return self.by_breaker(Err(trouble)),
                Some(Refused { refusal, opening }) if waits(&refusal) => (Settlement::Wait(refusal), opening),
                Some(Refused { refusal, opening }) => (Settlement::Open(refusal), opening),
            },
        };
        self.seen = opening;
        Some(settled)
    }

    /// Whether the breaker is closed now. Only a look; where that fails, the transaction will say
    /// why.
    pub(crate) fn is_closed(&self) -> bool {
        let closed = |seen: Look| matches!(seen.record.breaker.state, State::Closed(_));
        self.breaker.as_ref().is_none_or(|(store, _)| look(store).is_some_and(closed))
    }

    /// What is to be told, once.
    pub(crate) fn take_warnings(&mut self) -> Vec<Warning> {
        let mut warnings = std::mem::take(&mut self.warnings);
        // Two records in a directory that cannot be used are one trouble.
        warnings.dedup_by(|later, first| {
            let same = later.what == first.what;
            first.breaker |= same && later.breaker;
            first.budget |= same && later.budget;
            same
        });
        warnings
    }

    /// The rate of a budget that is in the breaker's record.
    fn together(&self) -> Option<Rate> {
        match &self.budget {
            Some((rate, Tokens::WithBreaker)) => Some(*rate),
            Some((_, Tokens::Own(_))) | None => None,
        }
    }

    /// The result of a transaction on the breaker's record; none where that is given up.
    fn by_breaker<T>(&mut self, result: Result<T, Trouble>) -> Option<T> {
        let aside = self.breaker.as_mut().and_then(|(store, _)| store.take_set_aside());
        let budget = matches!(self.budget, Some((_, Tokens::WithBreaker)));
        let used = self.used(result, aside, |what| Warning { breaker: true, budget, what });
        if used.is_none() {
            (self.breaker, self.pass) = (None, None);
            self.budget.take_if(|_| budget);
        }
        used
    }

    /// The result of a transaction on the budget's own record; none where that is given up.
    fn by_budget<T>(&mut self, result: Result<T, Trouble>) -> Option<T> {
        let aside = match &mut self.budget {
            Some((_, Tokens::Own(store))) => store.take_set_aside(),
            Some((_, Tokens::WithBreaker)) | None => None,
        };
        let used = self.used(result, aside, |what| Warning { breaker: false, budget: true, what });
        if used.is_none() {
            self.budget = None;
        }
        used
    }

    /// Notes what is to be told of a transaction. A signal that ends the run is told by the run.
    fn used<T>(
        &mut self,
        result: Result<T, Trouble>,
        aside: Option<PathBuf>,
        warn: impl Fn(Wrong) -> Warning,
    ) -> Option<T> {
        self.warnings.extend(aside.map(|path| warn(Wrong::SetAside(path))));
        match result {
            Ok(value) => return Some(value),
            Err(Trouble::Interrupted) => {}
            Err(trouble) => self.warnings.push(warn(Wrong::Unusable(trouble))),
        }
        None
    }
}

/// What a record says to a run that wants to make an attempt.
struct Answer {
    admitted: Admitted,
    /// The opening of the breaker, unless it is closed.
    opening: Option<Open>,
}

/// A refusal in place of an answer that could not be had.
struct Refused {
    refusal: Refusal,
    opening: Option<Open>,
}

/// What a look without a lock comes to.
enum Glance {
    /// It is enough: nothing has to be changed.
    Answer(Answer),
    /// It is not.
    Ask { closed: bool },
}

/// A record as it was at a moment.
struct Look {
    record: Record,
    now: Moment,
    /// Its times were moved to fit into the present, and have to be written so.
    moved: bool,
}

/// What a record holds now. A look is enough where nothing is to be changed, as the file is
/// replaced as a whole; where it fails, the transaction will say why.
fn look(store: &Store) -> Option<Look> {
    let now = Stamp::now();
    let (record, moved) = store.read_at(&now).ok()?.unwrap_or_default();
    Some(Look { record, now: now.moment(), moved })
}

/// The answer to a run that wants to make an attempt, if nothing has to be changed for it: the
/// breaker is closed and the budget full, or the breaker is open and no probe is due.
fn glance(store: &Store, rate: Option<Rate>) -> Glance {
    let Some(Look { record, now, moved }) = look(store) else { return Glance::Ask { closed: false } };
    let Record { breaker, .. } = &record;
    let Some(opening) = breaker.opening().cloned() else {
        let pass = Pass { generation: breaker.generation, probe: false };
        return match rate {
            Some(rate) if !takes_nothing(&record, rate, now) => Glance::Ask { closed: true },
            Some(_) | None => Glance::Answer(Answer { admitted: Admitted::Yes(pass), opening: None }),
        };
    };
    let lives = match &breaker.state {
        State::HalfOpen(half) => holder_lives(store, breaker.generation, half.lease.owner),
        State::Closed(_) | State::Open(_) => Some(true),
    };
    match lives.and_then(|lives| breaker.refusal(now, |_, _| lives)) {
        Some(refusal) if !moved => {
            Glance::Answer(Answer { admitted: Admitted::No(refusal), opening: Some(opening) })
        }
        Some(_) | None => Glance::Ask { closed: false },
    }
}

/// Whether a report changes nothing: a success where there is no failure.
fn is_known(store: &Store, pass: Pass, shown: &Shown) -> bool {
    let clean = |Look { record, .. }: Look| match record.breaker.state {
        State::Closed(closed) => record.breaker.generation == pass.generation && closed.failures == 0,
        State::Open(_) | State::HalfOpen(_) => false,
    };
    *shown == Shown::Success && look(store).is_some_and(clean)
}

/// Whether a deposit would change nothing: the budget is full.
fn takes_nothing(record: &Record, rate: Rate, now: Moment) -> bool {
    let mut changed = record.clone();
    deposit(&mut changed, rate, now);
    changed == *record
}

fn admit(
    record: &mut Record,
    access: &Access<'_>,
    settings: &Settings,
    rate: Option<Rate>,
    seen: Option<&Open>,
) -> Result<Answer, Trouble> {
    // The record was damaged, and this run knows what was in it. A record that somebody has removed
    // is another matter: that closes the breaker, like a reset.
    if let Some(opening) = seen.filter(|_| access.anew) {
        record.breaker.restore(opening, None, access.now);
    }
    let lives = |generation, owner| lives(access.lock, generation, owner);
    let admitted = record.breaker.admit(access.now, settings.lease, std::process::id(), lives);
    if let Admitted::Yes(pass) = admitted {
        if pass.probe {
            access.hold(pass.generation)?;
        }
        if let Some(rate) = rate {
            deposit(record, rate, access.now);
        }
    }
    Ok(Answer { admitted, opening: record.breaker.opening().cloned() })
}

/// Whether the holder of a lease lives, and is not waiting for this very run: then the probe is
/// this one's.
fn lives(lock: &Lock, generation: u64, owner: u32) -> bool {
    lock.lives(generation) && !(is_ancestor(owner) && lock.is_open_in(owner))
}

/// The same without a transaction. None if that cannot be seen.
fn holder_lives(store: &Store, generation: u64, owner: u32) -> Option<bool> {
    store.ask_lock(|lock| lives(lock, generation, owner))
}

/// A bucket that is not there is full.
fn deposit(record: &mut Record, rate: Rate, now: Moment) {
    if let Some(bucket) = &mut record.budget {
        bucket.deposit(rate, now);
    }
}

fn withdraw(record: &mut Record, rate: Rate, now: Moment) -> Result<(), Spent> {
    record.budget.get_or_insert(Bucket::full(rate, now)).withdraw(rate, now)
}

/// The lease of a probe: as long as an attempt can take, or a while where that is not known.
pub(crate) fn lease(timeout: Option<Duration>, kill_after: Duration) -> Duration {
    /// For the report.
    const MORE: Duration = Duration::from_secs(5);
    /// Without a timeout.
    const UNKNOWN: Duration = Duration::from_mins(5);
    timeout.map_or(UNKNOWN, |timeout| timeout.saturating_add(kill_after).saturating_add(MORE))
}
