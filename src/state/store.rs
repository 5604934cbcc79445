//! The door to a record, wherever it is kept.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;

use super::record::Snapshot;
use super::redis::trouble::Trouble;
use crate::policy::admission::breaker::{Claim, HostTag, Open};
use crate::policy::admission::moment::Moment;
use crate::policy::admission::record::Record;

/// A place that keeps the record of one name.
///
/// [`transact`](Self::transact) is the only way to change the record. The claims of runs are the
/// store's as well: the lease of a probe, and the permits of a recovery. The store must notice when
/// a process that holds a claim dies.
pub(crate) trait Store: fmt::Debug {
    /// The present moment, on the clock that the record counts in.
    fn now(&self) -> Moment;

    /// This host, if many hosts share the store.
    fn host(&self) -> Option<HostTag>;

    /// Changes the record, and waits at most `patience` for other runs that change it. If `change`
    /// fails, the record stays as it was. A store calls `change` again if another run was faster.
    ///
    /// # Errors
    /// If the record cannot be read or written, or if `change` fails. [`StoreError::Busy`] if other
    /// runs were faster all the time.
    fn transact<T>(
        &mut self,
        patience: Duration,
        change: impl FnMut(&mut Record, &Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError>;

    /// The record as it is now. A record that nobody has written is empty. Waits for nobody.
    ///
    /// # Errors
    /// If the record cannot be read.
    fn look(&self) -> Result<Snapshot, StoreError>;

    /// Whether the process `owner` still has this claim. None if the store cannot tell. See
    /// [`Claims::holder_lives`].
    fn holder_lives(&self, claim: Claim, owner: u32) -> Option<bool>;

    /// Gives a claim up.
    fn release(&self, claim: Claim);

    /// Gives up all claims, and all that the store has open.
    fn close(&mut self);

    /// Whether this run could write the record later, as far as the store can tell without a write.
    ///
    /// # Errors
    /// Why it could not.
    fn check_writable(&mut self) -> Result<(), StoreError>;

    /// The path that a damaged record was moved to. Only the first call after that returns it.
    fn take_set_aside(&mut self) -> Option<PathBuf>;

    /// The store that serves in place of this one, if there is one. Only the first call after that
    /// returns it.
    fn take_replacement(&mut self) -> Option<Replacement> {
        None
    }
}

/// A store of this machine that serves in place of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replacement {
    pub(crate) why: StoreError,
    /// The directory of its file.
    pub(crate) directory: PathBuf,
}

/// The circumstances in which a record is changed.
#[derive(Debug)]
pub(crate) struct Transaction<'a> {
    pub(crate) now: Moment,
    /// The record that this run may have seen is lost. This is another one, which knows nothing of
    /// it.
    pub(crate) is_lost: bool,
    /// Milliseconds to add to times that this run has seen earlier: the clock is another one.
    pub(crate) moved_ms: i64,
    pub(crate) claims: &'a dyn Claims,
}

impl Transaction<'_> {
    /// The opening that this run has seen, if the record has lost it.
    pub(crate) fn lost(&self, seen: Option<&Open>) -> Option<Open> {
        let mut opening = seen.filter(|_| self.is_lost)?.clone();
        opening.shift(self.moved_ms);
        Some(opening)
    }
}

/// The claims of runs that live, within a transaction.
pub(crate) trait Claims: fmt::Debug {
    /// Takes a claim. It lasts until this process gives it up or dies.
    ///
    /// # Errors
    /// If another process has it, or the system refuses it.
    fn hold(&self, claim: Claim) -> Result<(), StoreError>;

    /// Whether `owner`, the holder of a claim, still lives. Not if `owner` waits for this very
    /// process to end: then this process may go on in its place. A store of this machine looks for
    /// `owner` among the ancestors of this process, and a server among the claims that were handed
    /// down ([`above`](crate::policy::admission::above)).
    fn holder_lives(&self, claim: Claim, owner: u32) -> bool;

    /// The longest claim that the store gives at once. The run that holds it renews it.
    fn longest(&self) -> Duration {
        Duration::MAX
    }
}

/// Why a record cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    /// The system refused something.
    #[error("cannot {doing} {}", path.display())]
    System {
        doing: &'static str,
        path: PathBuf,
        #[source]
        errno: Errno,
    },
    /// The system refused the directory for the records of all names.
    #[error("cannot {doing} {} (--state sets another directory)", path.display())]
    Directory {
        doing: &'static str,
        path: PathBuf,
        #[source]
        errno: Errno,
    },
    /// A directory, a link, a pipe or a device is in place of the file.
    #[error("{} is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    /// A newer program wrote the record.
    #[error("{} was written by a newer retry (format version {version})", path.display())]
    Newer { path: PathBuf, version: u64 },
    /// The file is no record that any program has finished.
    #[error("{} is damaged", path.display())]
    Damaged { path: PathBuf },
    /// A server that keeps records cannot be used.
    #[error("cannot use {address}")]
    Server {
        /// Its URL, without user and password.
        address: String,
        #[source]
        trouble: Trouble,
    },
    /// Other runs were faster all the time. Nothing is wrong with the store.
    #[error("too many runs change it at the same time")]
    Busy,
    /// A signal that ends the run arrived while the run waited for the lock.
    #[error("interrupted by a signal")]
    Interrupted,
    /// The file in place of the lock belongs to another program.
    #[error("{} is not a lock file of retry", path.display())]
    NotALock { path: PathBuf },
    /// The file in place of the record belongs to another program.
    #[error("{} is not a record of retry", path.display())]
    NotARecord { path: PathBuf },
    /// A process keeps the lock, if that process is known, or several keep it one after another.
    #[error("{} has been locked by {} for too long", path.display(), holder(*by))]
    Locked { path: PathBuf, by: Option<u32> },
}

impl StoreError {
    /// What the user can do about it, if there is more to say than the error says.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Newer { .. } => Some("use the newer retry, or remove the file"),
            Self::NotARecord { .. } => Some("a name that begins with /, ./ or ../ is a file's path"),
            Self::Server { trouble: Trouble::Newer { .. }, .. } => {
                Some("use the newer retry, or remove the key: redis-cli DEL KEY")
            }
            Self::Server { trouble: Trouble::Damaged { .. }, .. } => {
                Some("remove the key: redis-cli DEL KEY")
            }
            Self::Server { .. }
            | Self::System { .. }
            | Self::Directory { .. }
            | Self::NotAFile { .. }
            | Self::NotALock { .. }
            | Self::Damaged { .. }
            | Self::Locked { .. }
            | Self::Busy
            | Self::Interrupted => None,
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "others".to_owned(), |pid| format!("process {pid}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::one_line;

    #[test]
    fn every_error_names_its_file_and_its_cause() {
        let path = || PathBuf::from("/s/x.json");
        for (error, line) in [
            (
                StoreError::System { doing: "read", path: path(), errno: Errno::EACCES },
                "cannot read /s/x.json: Permission denied",
            ),
            (StoreError::NotAFile { path: path() }, "/s/x.json is not a regular file"),
            (
                StoreError::Newer { path: path(), version: 7 },
                "/s/x.json was written by a newer retry (format version 7)",
            ),
            (StoreError::Damaged { path: path() }, "/s/x.json is damaged"),
            (StoreError::Interrupted, "interrupted by a signal"),
            (
                StoreError::Server {
                    address: "redis://h:6379".into(),
                    trouble: Trouble::Unconnected(Errno::ECONNREFUSED),
                },
                "cannot use redis://h:6379: no connection: Connection refused",
            ),
            (StoreError::Busy, "too many runs change it at the same time"),
            (StoreError::NotALock { path: path() }, "/s/x.json is not a lock file of retry"),
            (StoreError::NotARecord { path: path() }, "/s/x.json is not a record of retry"),
            (
                StoreError::Locked { path: path(), by: Some(9) },
                "/s/x.json has been locked by process 9 for too long",
            ),
            (
                StoreError::Locked { path: path(), by: None },
                "/s/x.json has been locked by others for too long",
            ),
        ] {
            assert_eq!(one_line(&error), line);
        }
    }
}
