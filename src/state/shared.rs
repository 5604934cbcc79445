//! A run's part in what runs share: it asks before each attempt, and reports after it.
//!
//! Each is one short transaction on a record, two where breaker and budget have different names; and none, but
//! a look, where all is well and there is nothing to change. A record that cannot be used is left out from
//! then on; the other is not.

use std::path::PathBuf;
use std::time::Duration;

use super::clock::Stamp;
use super::place::Place;
use super::record::Record;
use super::store::{Access, Store, Trouble};
use crate::policy::admission::breaker::{Admitted, Pass, Refusal, Settings, Shown, State};
use crate::policy::admission::budget::{Bucket, Rate, Spent};
use crate::policy::admission::{Moment, Settlement};
use crate::process::descendants::is_ancestor;

/// The breaker and the budget of a run.
#[derive(Debug)]
pub(crate) struct Shared {
    breaker: Option<(Store, Settings)>,
    budget: Option<(Rate, Tokens)>,
    /// Of the attempt that runs.
    pass: Option<Pass>,
    /// An attempt was admitted before.
    begun: bool,
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
            warnings: Vec::new(),
        })
    }

    /// Asks whether an attempt may be made, for at most this time; a run's first puts into the budget. The
    /// refusal, if there is one.
    pub(crate) fn admit(&mut self, most: Duration) -> Option<Refusal> {
        let first = !self.begun;
        let together = self.together().filter(|_| first);
        if let Some((store, settings)) = &mut self.breaker {
            let admitted = match glance(store, together) {
                Some(pass) => Ok(Admitted::Yes(pass)),
                None => store.transact(most, |record, access| admit(record, access, settings, together)),
            };
            match self.by_breaker(admitted) {
                Some(Admitted::Yes(pass)) => self.pass = Some(pass),
                Some(Admitted::No(refusal)) => return Some(refusal),
                None => {}
            }
        }
        if let Some((rate, Tokens::Own(store))) = &mut self.budget
            && first
            && !look(store).is_some_and(|(record, now)| takes_nothing(&record, *rate, now))
        {
            let deposited = store.transact(most, |record, access| {
                deposit(record, *rate, access.now);
                Ok(())
            });
            self.by_budget(deposited);
        }
        self.begun = true;
        None
    }

    /// Whether the attempt that was admitted is the breaker's probe.
    pub(crate) fn probes(&self) -> bool {
        self.pass.is_some_and(|pass| pass.probe)
    }

    /// Reports what the attempt has shown, and takes a token where another is wanted (`retry`), within `most`.
    /// Where the breaker has opened and a probe is due in less than `through`, the run will wait for it.
    pub(crate) fn settle(
        &mut self,
        shown: &Shown,
        retry: bool,
        through: Option<Duration>,
        most: Duration,
    ) -> Settlement {
        let together = self.together().filter(|_| retry);
        let mut answer = Settlement::Go;
        if let Some((store, settings)) = &mut self.breaker
            && let Some(pass) = self.pass.take()
            && (together.is_some() || !is_known(store, pass, shown))
        {
            let settled = store.transact(most, |record, access| {
                record.breaker.record(pass, shown, access.now, settings);
                let open =
                    record.breaker.refusal(access.now, |generation, owner| lives(access, generation, owner));
                let granted = match open {
                    Some(refusal) if !retry || !through.is_some_and(|most| refusal.is_over_in(most)) => {
                        return Ok(Settlement::Open(refusal));
                    }
                    Some(refusal) => Settlement::Wait(refusal),
                    None => Settlement::Go,
                };
                let withdrawn = together.map(|rate| withdraw(record, rate, access.now));
                Ok(match withdrawn {
                    Some(Err(spent)) => Settlement::Spent(spent),
                    Some(Ok(())) | None => granted,
                })
            });
            if pass.probe {
                store.give_up(pass.generation);
            }
            match self.by_breaker(settled) {
                None => {}
                Some(settled @ (Settlement::Go | Settlement::Wait(_))) => answer = settled,
                Some(settled @ (Settlement::Open(_) | Settlement::Spent(_))) => return settled,
            }
        }
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

    /// Whether the breaker is closed now. Only a look; where that fails, the transaction will say why.
    pub(crate) fn is_closed(&self) -> bool {
        let closed = |(record, _): (Record, Moment)| matches!(record.breaker.state, State::Closed(_));
        self.breaker.as_ref().is_none_or(|(store, _)| look(store).is_some_and(closed))
    }

    /// What is to be told, once.
    pub(crate) fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
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

/// What a record holds, and when. A look is enough where nothing is to be changed, as the file is replaced as a
/// whole; where it fails, the transaction will say why.
fn look(store: &Store) -> Option<(Record, Moment)> {
    let now = Stamp::now();
    Some((store.read(&now).ok()?.unwrap_or_default(), now.moment()))
}

/// The pass for an attempt where that changes nothing: the breaker is closed, and the budget full.
fn glance(store: &Store, rate: Option<Rate>) -> Option<Pass> {
    let (record, now) = look(store)?;
    let pass = Pass { generation: record.breaker.generation, probe: false };
    let closed = matches!(record.breaker.state, State::Closed(_));
    (closed && rate.is_none_or(|rate| takes_nothing(&record, rate, now))).then_some(pass)
}

/// Whether a report changes nothing: a success where there is no failure.
fn is_known(store: &Store, pass: Pass, shown: &Shown) -> bool {
    let clean = |(record, _): (Record, Moment)| match record.breaker.state {
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
) -> Result<Admitted, Trouble> {
    let lives = |generation, owner| lives(access, generation, owner);
    let admitted = record.breaker.admit(access.now, settings.lease, std::process::id(), lives);
    if let Admitted::Yes(pass) = admitted {
        if pass.probe {
            access.hold(pass.generation)?;
        }
        if let Some(rate) = rate {
            deposit(record, rate, access.now);
        }
    }
    Ok(admitted)
}

/// Whether the holder of a lease lives, and is not waiting for this very run: then the probe is this one's.
fn lives(access: &Access<'_>, generation: u64, owner: u32) -> bool {
    access.lives(generation) && !(is_ancestor(owner) && access.is_open_in(owner))
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
