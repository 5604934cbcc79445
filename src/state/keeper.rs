//! The store of one name: a file, or a server with a file of this machine in reserve.
//!
//! A server that has failed is not asked again in the run, and the file serves in its place. So the
//! runs of one machine still share what they know. The file knows nothing of what this run has seen
//! in the server: the first change finds the record lost, and the run puts back the opening that it
//! has seen. Until then a look at the file would say that the breaker is closed, so it fails.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::file::fitness::directory_of;
use super::file::place::Place;
use super::file::store::FileStore;
use super::record::Snapshot;
use super::redis::renewal::Renewal;
use super::redis::store::RedisStore;
use super::redis::{Link, Server};
use super::store::{Replacement, Store, StoreError, Transaction};
use super::surroundings::Surroundings;
use crate::policy::admission::above::ClaimsAbove;
use crate::policy::admission::breaker::{Claim, HostTag, Pass, State};
use crate::policy::admission::moment::Moment;
use crate::policy::admission::record::Record;

/// The links to servers that a run has. All records in one server share its link.
#[derive(Debug, Default)]
pub(crate) struct Links(Vec<(String, Rc<RefCell<Link>>)>);

impl Links {
    /// The link to the server of a place. None if its record is in a file.
    pub(crate) fn to(&mut self, place: &Place, surroundings: Surroundings) -> Option<Rc<RefCell<Link>>> {
        place.server.as_deref().map(|server| self.of(server, surroundings))
    }

    /// The link to a server.
    pub(crate) fn of(&mut self, server: &Server, surroundings: Surroundings) -> Rc<RefCell<Link>> {
        let shown = server.address.to_string();
        if let Some((_, link)) = self.0.iter().find(|(known, _)| *known == shown) {
            return Rc::clone(link);
        }
        let link = Rc::new(RefCell::new(Link::new(server.clone(), surroundings)));
        self.0.push((shown, Rc::clone(&link)));
        link
    }
}

/// The store of one name.
#[derive(Debug)]
pub(crate) enum Keeper {
    File(FileStore),
    Server(Box<Reserved>),
}

/// A record in a server, and the file in reserve.
#[derive(Debug)]
pub(crate) struct Reserved {
    place: Place,
    server: RedisStore,
    file: FileStore,
    serving: Serving,
    /// The user has been told that the file serves.
    is_told: bool,
}

/// The store that serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Serving {
    Server,
    /// The server has failed, and nothing has been written into the file yet.
    Nothing,
    File,
}

impl Keeper {
    /// The store of a place. `above` are the claims of the retries around this run.
    pub(crate) fn new(
        place: &Place,
        links: &mut Links,
        above: &ClaimsAbove,
        surroundings: Surroundings,
    ) -> Self {
        let file = FileStore::new(place, surroundings);
        match links.to(place, surroundings) {
            None => Self::File(file),
            Some(link) => Self::Server(Box::new(Reserved {
                place: place.clone(),
                server: RedisStore::new(&place.name, link, above.on(&place.name)),
                file,
                serving: Serving::Server,
                is_told: false,
            })),
        }
    }
}

impl Keeper {
    /// The name of a record whose claims must be handed down to the retries in an attempt. None if
    /// they find the holder of a claim by themselves.
    pub(crate) fn hands_down(&self) -> Option<&str> {
        match self {
            Self::File(_) => None,
            Self::Server(reserved) => match reserved.serving() {
                Serving::Server => Some(&reserved.place.name),
                Serving::Nothing | Serving::File => None,
            },
        }
    }

    /// The renewal of the claim of this pass, which lasts for `length` in all. None if the claim
    /// lasts for as long as this process.
    pub(crate) fn renewal(&self, pass: Pass, length: Duration) -> Option<Renewal> {
        match self {
            Self::File(_) => None,
            Self::Server(reserved) => match reserved.serving() {
                Serving::Server => Some(reserved.server.renewal(pass, length)),
                Serving::Nothing | Serving::File => None,
            },
        }
    }
}

impl Reserved {
    fn serving(&self) -> Serving {
        match self.serving {
            Serving::Server if self.server.failure().is_some() => Serving::Nothing,
            serving => serving,
        }
    }

    /// Changes the record in the file, for the first time or again.
    fn change_file<T>(
        &mut self,
        patience: Duration,
        mut change: impl FnMut(&mut Record, &Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let is_first = self.serving() == Serving::Nothing;
        let moved_ms = if is_first { self.server.to_boot_ms() } else { 0 };
        let result = self.file.transact(patience, |record, transaction| {
            // Other runs may have opened it already.
            let knows_nothing = is_first && matches!(record.breaker.state, State::Closed(_));
            let is_lost = transaction.is_lost || knows_nothing;
            change(record, &Transaction { is_lost, moved_ms, ..*transaction })
        });
        if result.is_ok() {
            self.serving = Serving::File;
        }
        result
    }
}

impl Store for Reserved {
    fn now(&self) -> Moment {
        match self.serving() {
            Serving::Server | Serving::Nothing => self.server.now(),
            Serving::File => self.file.now(),
        }
    }

    fn transact<T>(
        &mut self,
        patience: Duration,
        mut change: impl FnMut(&mut Record, &Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.serving() == Serving::Server {
            match self.server.transact(patience, &mut change) {
                Err(StoreError::Server { .. }) => {}
                result => return result,
            }
        }
        self.change_file(patience, change)
    }

    fn look(&self) -> Result<Snapshot, StoreError> {
        match self.serving() {
            Serving::Server => self.server.look(),
            Serving::Nothing => Err(self.server.failure().unwrap_or(StoreError::Busy)),
            Serving::File => self.file.look(),
        }
    }

    fn host(&self) -> Option<HostTag> {
        match self.serving() {
            Serving::Server => self.server.host(),
            Serving::Nothing | Serving::File => self.file.host(),
        }
    }

    fn holder_lives(&self, claim: Claim, owner: u32) -> Option<bool> {
        match self.serving() {
            Serving::Server => self.server.holder_lives(claim, owner),
            Serving::Nothing => None,
            Serving::File => self.file.holder_lives(claim, owner),
        }
    }

    fn release(&self, claim: Claim) {
        self.server.release(claim);
        self.file.release(claim);
    }

    fn close(&mut self) {
        self.server.close();
        self.file.close();
    }

    fn check_writable(&mut self) -> Result<(), StoreError> {
        if self.serving() == Serving::Server {
            match self.server.check_writable() {
                Err(StoreError::Server { .. }) => {}
                result => return result,
            }
        }
        self.file.check_writable()
    }

    fn take_set_aside(&mut self) -> Option<PathBuf> {
        self.file.take_set_aside()
    }

    fn take_replacement(&mut self) -> Option<Replacement> {
        let why = self.server.failure().filter(|_| !self.is_told)?;
        self.is_told = true;
        Some(Replacement { why, directory: directory_of(&self.place.path).to_owned() })
    }
}

impl Store for Keeper {
    fn now(&self) -> Moment {
        match self {
            Self::File(file) => file.now(),
            Self::Server(server) => server.now(),
        }
    }

    fn transact<T>(
        &mut self,
        patience: Duration,
        change: impl FnMut(&mut Record, &Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self {
            Self::File(file) => file.transact(patience, change),
            Self::Server(server) => server.transact(patience, change),
        }
    }

    fn look(&self) -> Result<Snapshot, StoreError> {
        match self {
            Self::File(file) => file.look(),
            Self::Server(server) => server.look(),
        }
    }

    fn host(&self) -> Option<HostTag> {
        match self {
            Self::File(file) => file.host(),
            Self::Server(server) => server.host(),
        }
    }

    fn holder_lives(&self, claim: Claim, owner: u32) -> Option<bool> {
        match self {
            Self::File(file) => file.holder_lives(claim, owner),
            Self::Server(server) => server.holder_lives(claim, owner),
        }
    }

    fn release(&self, claim: Claim) {
        match self {
            Self::File(file) => file.release(claim),
            Self::Server(server) => server.release(claim),
        }
    }

    fn close(&mut self) {
        match self {
            Self::File(file) => file.close(),
            Self::Server(server) => server.close(),
        }
    }

    fn check_writable(&mut self) -> Result<(), StoreError> {
        match self {
            Self::File(file) => file.check_writable(),
            Self::Server(server) => server.check_writable(),
        }
    }

    fn take_set_aside(&mut self) -> Option<PathBuf> {
        match self {
            Self::File(file) => file.take_set_aside(),
            Self::Server(server) => server.take_set_aside(),
        }
    }

    fn take_replacement(&mut self) -> Option<Replacement> {
        match self {
            Self::File(file) => file.take_replacement(),
            Self::Server(server) => server.take_replacement(),
        }
    }
}
