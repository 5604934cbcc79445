//! The record of one name, as the value of a key.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::Xoshiro256PlusPlus;
use redis::Pipeline;

use super::exchange::{
    LEASE, Written, key, record_in, to_look, to_read, to_try_write, to_write, was_written,
};
use super::link::Link;
use super::renewal::Renewal;
use super::wire::{Fault, Limit};
use crate::clock;
use crate::policy::admission::breaker::{Claim, HostTag, Pass};
use crate::policy::admission::moment::{Moment, millis};
use crate::policy::admission::record::Record;
use crate::policy::delay::jitter::uniform;
use crate::state::host;
use crate::state::record::Snapshot;
use crate::state::stamp::Stamp;
use crate::state::store::{Claims, Store, StoreError, Transaction};

/// The longest time for a look at a record, from the resolution of the name to the last byte.
pub(super) const LOOK: Duration = Duration::from_millis(500);

/// The longest time for a change of a record.
const CHANGE: Duration = Duration::from_secs(1);

/// The longest pause before another try.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// The record of one name, in a server.
#[derive(Debug)]
pub(crate) struct RedisStore {
    link: Rc<RefCell<Link>>,
    key: String,
    claims: ClaimsInRecord,
    /// Why this record is not asked for any more, although the server serves.
    failure: RefCell<Option<StoreError>>,
}

impl RedisStore {
    /// The store of this name. `above` is the claim on it that a retry around this run holds.
    pub(crate) fn new(name: &str, link: Rc<RefCell<Link>>, above: Option<Claim>) -> Self {
        Self { link, key: key(name), claims: ClaimsInRecord { above }, failure: RefCell::new(None) }
    }

    /// Why the record is not asked for any more.
    pub(crate) fn failure(&self) -> Option<StoreError> {
        self.failure.borrow().clone().or_else(|| self.link.borrow().failure().cloned())
    }

    /// Milliseconds to add to a time of the server to make it a time since boot.
    pub(crate) fn to_boot_ms(&self) -> i64 {
        self.link.borrow().to_boot_ms()
    }

    /// The renewal of the claim of this pass, which lasts for `length` in all.
    pub(crate) fn renewal(&self, pass: Pass, length: Duration) -> Renewal {
        Renewal::new(Rc::clone(&self.link), self.key.clone(), pass, length)
    }

    /// Reads the record. None if there is no such key.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn read(&self) -> Result<Option<Snapshot>, StoreError> {
        self.check()?;
        let mut link = self.link.borrow_mut();
        let limit = link.limit(LOOK);
        let read = self.ask(&mut link, &to_look(&self.key), limit);
        read.map(|(_, seen)| seen).map_err(|fault| self.error(&mut link, fault))
    }

    /// Asks for the record, and notes the time.
    fn ask(
        &self,
        link: &mut Link,
        commands: &Pipeline,
        limit: Limit,
    ) -> Result<(Stamp, Option<Snapshot>), Fault> {
        let (stamp, seen) = record_in(&self.key, link.ask(commands, limit)?)?;
        link.set_now(stamp.moment());
        Ok((stamp, seen))
    }

    /// # Errors
    /// Why the record is not asked for any more.
    fn check(&self) -> Result<(), StoreError> {
        self.failure().map_or(Ok(()), Err)
    }

    /// The error for a fault. A trouble with the key leaves other records alone.
    fn error(&self, link: &mut Link, fault: Fault) -> StoreError {
        match fault.about(&self.key) {
            Fault::Trouble(trouble) if trouble.is_of_key() => {
                let error = StoreError::Server { address: link.shown(), trouble };
                *self.failure.borrow_mut() = Some(error.clone());
                error
            }
            fault => link.error(fault),
        }
    }

    /// One try of a change. None if another run was faster.
    fn attempt<T>(
        &self,
        link: &mut Link,
        limit: Limit,
        change: &mut impl FnMut(&mut Record, &Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let read = self.ask(link, &to_read(&self.key), limit);
        let (stamp, before) = read.map_err(|fault| self.error(link, fault))?;
        let now = stamp.moment();
        let before = before.unwrap_or_else(|| Snapshot::empty(now));
        let mut record = before.record.clone();
        let transaction = Transaction { now, is_lost: false, moved_ms: 0, claims: &self.claims };
        let result = change(&mut record, &transaction)?;
        if record == before.record && !before.moved {
            return Ok(Some(result));
        }
        let commands = to_write(&self.key, &record, stamp);
        match link.go_on(&commands, limit).and_then(was_written) {
            Ok(Written::Yes) => Ok(Some(result)),
            Ok(Written::No) => Ok(None),
            Err(Fault::Trouble(trouble)) if link.may_ask_again(&trouble) => Ok(None),
            Err(fault) => Err(self.error(link, fault)),
        }
    }
}

impl Store for RedisStore {
    fn now(&self) -> Moment {
        self.link.borrow().now()
    }

    fn transact<T>(
        &mut self,
        patience: Duration,
        mut change: impl FnMut(&mut Record, &Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.check()?;
        let mut link = self.link.borrow_mut();
        let limit = link.limit(patience.min(CHANGE));
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(u64::from(std::process::id()) ^ millis(clock::now()));
        let mut longest = Duration::from_millis(1);
        loop {
            if let Some(result) = self.attempt(&mut link, limit, &mut change)? {
                return Ok(result);
            }
            // A try that the limit would cut off says nothing about the server.
            if limit.left() < 2 * LONGEST_PAUSE {
                return Err(StoreError::Busy);
            }
            let pause = uniform(Duration::ZERO, longest, &mut rng);
            limit.sleep(pause).map_err(|fault| self.error(&mut link, fault))?;
            longest = (longest * 2).min(LONGEST_PAUSE);
        }
    }

    fn look(&self) -> Result<Snapshot, StoreError> {
        Ok(self.read()?.unwrap_or_else(|| Snapshot::empty(self.now())))
    }

    fn host(&self) -> Option<HostTag> {
        Some(host::this())
    }

    fn holder_lives(&self, claim: Claim, owner: u32) -> Option<bool> {
        Some(self.claims.holder_lives(claim, owner))
    }

    fn release(&self, _claim: Claim) {}

    fn close(&mut self) {
        self.link.borrow_mut().close();
    }

    fn check_writable(&mut self) -> Result<(), StoreError> {
        self.check()?;
        let mut link = self.link.borrow_mut();
        let limit = link.limit(LOOK);
        let commands = to_try_write(&self.key);
        let tried = match link.ask(&commands, limit) {
            Err(Fault::Trouble(trouble)) if link.may_ask_again(&trouble) => link.ask(&commands, limit),
            tried => tried,
        };
        tried.map(drop).map_err(|fault| self.error(&mut link, fault))
    }

    fn take_set_aside(&mut self) -> Option<PathBuf> {
        None
    }
}

/// Claims in a record that hosts share. Nobody can see whether their holders live, so time alone ends
/// a claim.
#[derive(Debug)]
struct ClaimsInRecord {
    /// The claim of a retry that waits for this run to end.
    above: Option<Claim>,
}

impl Claims for ClaimsInRecord {
    fn hold(&self, _claim: Claim) -> Result<(), StoreError> {
        Ok(())
    }

    fn holder_lives(&self, claim: Claim, _owner: u32) -> bool {
        self.above != Some(claim)
    }

    fn longest(&self) -> Duration {
        LEASE
    }
}
