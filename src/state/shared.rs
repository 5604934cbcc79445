//! A run's part in what runs share: it asks before each attempt, and reports after it.
//!
//! Each is one short transaction on a record; two where breaker and budget have different names.

use std::path::PathBuf;
use std::time::Duration;

use super::place::Place;
use super::store::{Store, Trouble};
use crate::policy::admission::Settlement;
use crate::policy::admission::breaker::{Admitted, Pass, Refusal, Settings, Shown};
use crate::policy::admission::budget::{Bucket, Rate};

/// The breaker and the budget of a run.
#[derive(Debug)]
pub(crate) struct Shared {
    breaker: Option<(Store, Settings)>,
    budget: Option<(Rate, Tokens)>,
    /// Of the attempt that runs.
    pass: Option<Pass>,
    /// An attempt was admitted before.
    begun: bool,
}

/// Where the budget's tokens are.
#[derive(Debug)]
enum Tokens {
    /// In the record of the breaker.
    WithBreaker,
    Own(Store),
}

/// Something that the user must know of the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Warning {
    /// They cannot be used; the run goes on without them.
    Unusable(Trouble),
    /// A file was no record, and is here now; a new one was begun.
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
        })
    }

    /// Asks whether an attempt may be made; a run's first puts into the budget. The refusal, if there is one.
    ///
    /// # Errors
    /// Where the record cannot be used.
    pub(crate) fn admit(&mut self) -> Result<Option<Refusal>, Trouble> {
        let first = !self.begun;
        let together = match &self.budget {
            Some((rate, Tokens::WithBreaker)) if first => Some(*rate),
            Some(_) | None => None,
        };
        if let Some((store, settings)) = &mut self.breaker {
            let admitted = store.transact(|record, access| {
                let lives = |generation| access.lives(generation);
                let admitted = record.breaker.admit(access.now, settings.lease, std::process::id(), lives);
                if let Admitted::Yes(pass) = admitted {
                    if pass.probe {
                        access.hold(pass.generation)?;
                    }
                    if let Some(rate) = together {
                        record.budget.get_or_insert(Bucket::full(rate, access.now)).deposit(rate, access.now);
                    }
                }
                Ok(admitted)
            })?;
            match admitted {
                Admitted::Yes(pass) => self.pass = Some(pass),
                Admitted::No(refusal) => return Ok(Some(refusal)),
            }
        }
        if let Some((rate, Tokens::Own(store))) = &mut self.budget
            && first
        {
            store.transact(|record, access| {
                record.budget.get_or_insert(Bucket::full(*rate, access.now)).deposit(*rate, access.now);
                Ok(())
            })?;
        }
        self.begun = true;
        Ok(None)
    }

    /// Reports what the attempt has shown, and takes a token where another is wanted (`retry`). With
    /// `through` that is so also where the breaker has opened: the run will wait for it.
    ///
    /// # Errors
    /// Where the record cannot be used.
    pub(crate) fn settle(
        &mut self,
        shown: &Shown,
        retry: bool,
        through: bool,
    ) -> Result<Settlement, Trouble> {
        let together = match &self.budget {
            Some((rate, Tokens::WithBreaker)) if retry => Some(*rate),
            Some(_) | None => None,
        };
        if let Some((store, settings)) = &mut self.breaker
            && let Some(pass) = self.pass.take()
        {
            let settled = store.transact(|record, access| {
                record.breaker.record(pass, shown, access.now, settings);
                let refusal = record.breaker.refusal(access.now, |generation| access.lives(generation));
                if let Some(refusal) = refusal
                    && !through
                {
                    return Ok(Settlement::Open(refusal));
                }
                let granted = together.is_none_or(|rate| {
                    record.budget.get_or_insert(Bucket::full(rate, access.now)).withdraw(rate, access.now)
                });
                Ok(if granted { Settlement::Go } else { Settlement::Spent })
            });
            if pass.probe {
                store.release(pass.generation);
            }
            let settled = settled?;
            if settled != Settlement::Go {
                return Ok(settled);
            }
        }
        match &mut self.budget {
            Some((rate, Tokens::Own(store))) if retry => store.transact(|record, access| {
                let bucket = record.budget.get_or_insert(Bucket::full(*rate, access.now));
                Ok(if bucket.withdraw(*rate, access.now) { Settlement::Go } else { Settlement::Spent })
            }),
            Some(_) | None => Ok(Settlement::Go),
        }
    }

    /// Whether the attempt that was admitted is the breaker's probe.
    pub(crate) fn probes(&self) -> bool {
        self.pass.is_some_and(|pass| pass.probe)
    }

    /// A file that was set aside, told once.
    pub(crate) fn take_set_aside(&mut self) -> Option<PathBuf> {
        let breaker = self.breaker.as_mut().and_then(|(store, _)| store.take_set_aside());
        let own = || match &mut self.budget {
            Some((_, Tokens::Own(store))) => store.take_set_aside(),
            Some((_, Tokens::WithBreaker)) | None => None,
        };
        breaker.or_else(own)
    }
}

/// The lease of a probe: as long as an attempt can take, or a while where that is not known.
pub(crate) fn lease(timeout: Option<Duration>, kill_after: Duration) -> Duration {
    /// For the report.
    const MORE: Duration = Duration::from_secs(5);
    /// Without a timeout.
    const UNKNOWN: Duration = Duration::from_secs(5 * 60);
    timeout.map_or(UNKNOWN, |timeout| timeout.saturating_add(kill_after).saturating_add(MORE))
}
