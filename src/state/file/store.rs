//! A record in a file of its own.
//!
//! `NAME.json` is replaced as a whole, under a [`lock`](super::lock): the new file is written
//! beside the old one and renamed. So a reader needs no lock. Nothing is synced to the disk: after
//! a power failure a file may be empty, and the next run sets it aside as damaged.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, open, renameat2};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access, geteuid};

use super::lock::{Acquired, Lock, QUEUE};
use super::place::Place;
use super::private::{PRIVATE, SAFE, belongs_to, is_file, make_directory, owner_of};
use crate::clock::boot;
use crate::error::errno;
use crate::policy::admission::breaker::{Breaker, Claim, HostTag};
use crate::policy::admission::moment::Moment;
use crate::policy::admission::record::Record;
use crate::state::record::{self, Snapshot, Unreadable, decode, encode, looks_like_one};
use crate::state::stamp::Stamp;
use crate::state::store::{Claims, Store, StoreError, Transaction};
use crate::state::surroundings::Surroundings;

/// This much of a file is read. One byte more than a record may have shows that it is none.
const MOST_READ: u64 = record::LARGEST as u64 + 1;

/// Room for nearly every record, in bytes, so that one read gets it whole.
const USUAL: usize = 4096;

/// Endings of the files beside a record.
const LOCK: &str = ".lock";
const NEW: &str = ".retry-tmp";
const CORRUPT: &str = ".corrupt";

/// This many damaged files are kept. The next one replaces the last of them.
const CORRUPT_KEPT: u32 = 9;

/// If the lock file was removed this often in a row, retry gives up.
const REPLACEMENTS: u32 = 9;

/// The lease of a probe whose record was lost. The lost record had the real length, which matters
/// only if the probe never ends.
const LOST_LEASE: Duration = Duration::from_mins(5);

/// The record of one name, in a file.
#[derive(Debug)]
pub(crate) struct FileStore {
    path: PathBuf,
    /// retry's own directory, if the name is in it. retry may make it, and all in it is retry's.
    directory: Option<PathBuf>,
    surroundings: Surroundings,
    lock: Option<Lock>,
    /// The path that a damaged file was moved to, until it is told.
    set_aside: Option<PathBuf>,
}

impl FileStore {
    pub(crate) fn new(place: &Place, surroundings: Surroundings) -> Self {
        let (path, directory) = (place.path.clone(), place.directory.clone());
        Self { path, directory, surroundings, lock: None, set_aside: None }
    }

    /// Reads the record, without a lock. None if there is no file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn read(&self) -> Result<Option<Snapshot>, StoreError> {
        self.read_at(&Stamp::now())
    }

    /// Whether a process has this claim. If that cannot be seen, the claim counts until its time is
    /// over. Makes no file.
    pub(crate) fn is_held(&self, claim: Claim) -> bool {
        self.ask_lock(|lock| lock.is_held(claim)).unwrap_or(true)
    }

    fn read_at(&self, now: &Stamp) -> Result<Option<Snapshot>, StoreError> {
        let Some(bytes) = self.bytes()? else { return Ok(None) };
        let path = || self.path.clone();
        match decode(&bytes, now) {
            Ok(snapshot) => Ok(Some(snapshot)),
            // Every file in retry's own directory is retry's. A path may name anybody's file.
            Err(_) if self.directory.is_none() && !looks_like_one(&bytes) => {
                Err(StoreError::NotARecord { path: path() })
            }
            Err(Unreadable::Newer(version)) => Err(StoreError::Newer { path: path(), version }),
            Err(Unreadable::Corrupt) => Err(StoreError::Damaged { path: path() }),
        }
    }

    /// Asks the lock file something, without a lock. Makes no file. None if there is no lock file,
    /// or none that can be used.
    fn ask_lock<T>(&self, ask: impl FnOnce(&Lock) -> T) -> Option<T> {
        if let Some(lock) = &self.lock {
            return Some(ask(lock));
        }
        let lock = Lock::open(&self.beside(LOCK), self.surroundings).ok().flatten();
        lock.map(|lock| ask(&lock))
    }

    /// Checks that files can be made in the directory. If retry's own is missing, it will be made.
    fn check_directory(&self) -> Result<(), StoreError> {
        let directory = self.path.parent().unwrap_or(&self.path);
        // With the last part it is an error if a file is in the directory's place. access(2) asks
        // for the real user, who is the effective one here too. To ask for the effective one, glibc
        // makes six calls of one.
        match access(&directory.join("."), AccessFlags::W_OK | AccessFlags::X_OK) {
            Ok(()) => Ok(()),
            Err(Errno::ENOENT) if self.directory.is_some() => Ok(()),
            Err(errno) => {
                let (doing, path) = ("use the directory", directory.to_owned());
                Err(match self.directory {
                    Some(_) => StoreError::Directory { doing, path, errno },
                    None => StoreError::System { doing, path, errno },
                })
            }
        }
    }

    /// Checks that the file system has room for a new record: a block, an inode, and a name of its
    /// length. A change writes a new file before it gives up the old one, so an existing record
    /// does not help.
    fn check_room(&self) -> Result<(), StoreError> {
        let full = |errno| Err(self.system("write", NEW, errno));
        // Not every file system answers. Then the write itself decides.
        let Ok(room) = statvfs(self.path.parent().unwrap_or(&self.path)) else { return Ok(()) };
        let (blocks, inodes) = match geteuid().is_root() {
            true => (room.blocks_free(), room.files_free()),
            false => (room.blocks_available(), room.files_available()),
        };
        // A total of 0 means that the file system has no limit, or does not count: btrfs makes
        // inodes as it goes.
        if (room.blocks() > 0 && blocks == 0) || (room.files() > 0 && inodes == 0) {
            return full(Errno::ENOSPC);
        }
        let name = self.beside(NEW).file_name().map_or(0, OsStr::len);
        // A file system without a limit says 0.
        let fits = usize::try_from(room.name_max()).map_or(true, |most| most == 0 || name <= most);
        if fits { Ok(()) } else { full(Errno::ENAMETOOLONG) }
    }

    /// Changes the record, while this run has the lock.
    fn change<T>(
        &mut self,
        lock: &Lock,
        mut change: impl FnMut(&mut Record, &Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let stamp = Stamp::now();
        let now = stamp.moment();
        let (before, is_lost) = match self.read_at(&stamp) {
            Err(StoreError::Damaged { .. }) => {
                self.put_aside()?;
                (after_loss(lock, now), true)
            }
            read => (read?.unwrap_or_else(|| Snapshot::empty(now)), false),
        };
        let mut record = before.record.clone();
        let claims = ClaimsInLock { lock, record: &self.path };
        let result = change(&mut record, &Transaction { now, is_lost, moved_ms: 0, claims: &claims })?;
        if record != before.record || before.moved {
            self.write(&encode(&record, stamp))?;
        }
        Ok(result)
    }

    /// Renames the file, which is damaged.
    fn put_aside(&mut self) -> Result<(), StoreError> {
        let names =
            (1..=CORRUPT_KEPT).map(|n| if n == 1 { CORRUPT.to_owned() } else { format!("{CORRUPT}-{n}") });
        let mut last = Err(Errno::EEXIST);
        for (n, name) in (1..).zip(names) {
            let aside = self.beside(&name);
            let flags = if n == CORRUPT_KEPT { RenameFlags::empty() } else { RenameFlags::RENAME_NOREPLACE };
            last = match renameat2(AT_FDCWD, &self.path, AT_FDCWD, &aside, flags) {
                // Not every file system can do this (renameat2(2)).
                Err(Errno::EINVAL | Errno::ENOSYS) if !aside.exists() => {
                    fs::rename(&self.path, &aside).map_err(|error| errno(&error))
                }
                renamed => renamed,
            };
            if last != Err(Errno::EEXIST) {
                self.set_aside = last.is_ok().then_some(aside);
                break;
            }
        }
        last.map_err(|errno| self.system("rename the damaged file", "", errno))
    }

    /// The bytes of the file. None if there is no file.
    fn bytes(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let file = match open(&self.path, OFlag::O_RDONLY | SAFE, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ELOOP | Errno::ENXIO) => return Err(StoreError::NotAFile { path: self.path.clone() }),
            Err(errno) => return Err(self.system("read", "", errno)),
        };
        let stat = fstat(&file).map_err(|errno| self.system("read", "", errno))?;
        if !is_file(&stat) {
            return Err(StoreError::NotAFile { path: self.path.clone() });
        }
        let mut bytes = Vec::with_capacity(USUAL);
        let read = file.take(MOST_READ).read_to_end(&mut bytes);
        read.map_err(|error| self.system("read", "", errno(&error)))?;
        Ok(Some(bytes))
    }

    /// Replaces the file.
    fn write(&self, bytes: &[u8]) -> Result<(), StoreError> {
        let new = self.beside(NEW);
        let failed = |errno| self.system("write", NEW, errno);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | SAFE;
        let made = match open(&new, flags, PRIVATE) {
            Err(Errno::EEXIST) => {
                // This run has the lock, so the run that wrote the file is dead.
                fs::remove_file(&new).map_err(|error| failed(errno(&error)))?;
                open(&new, flags, PRIVATE)
            }
            made => made,
        };
        let mut file = File::from(made.map_err(failed)?);
        belongs_to(&file, owner_of(Some(&self.path)).or_else(|| owner_of(self.path.parent())));
        let written = file.write_all(bytes).and_then(|()| fs::rename(&new, &self.path));
        written.map_err(|error| {
            let _ = fs::remove_file(&new);
            failed(errno(&error))
        })
    }

    /// Takes the lock.
    fn lock(&mut self, patience: Duration) -> Result<Lock, StoreError> {
        let path = self.beside(LOCK);
        let patience = patience.min(QUEUE);
        let acquire = |lock: &Lock| lock.acquire(&path, patience).map_err(|why| why.at(path.clone()));
        if let Some(lock) = self.lock.take()
            && acquire(&lock)? == Acquired::Yes
        {
            return Ok(lock);
        }
        for _ in 0..REPLACEMENTS {
            let lock = self.open_lock()?;
            if acquire(&lock)? == Acquired::Yes {
                // If there is such a file, the run that wrote it is dead.
                let _ = fs::remove_file(self.beside(NEW));
                return Ok(lock);
            }
        }
        Err(StoreError::Locked { path, by: None })
    }

    /// Opens the lock file. Makes it if it is missing, and its directory too if that is retry's
    /// own.
    fn open_lock(&self) -> Result<Lock, StoreError> {
        let path = self.beside(LOCK);
        let opened = Lock::open(&path, self.surroundings).map_err(|why| why.at(path.clone()))?;
        if let Some(lock) = opened {
            return Ok(lock);
        }
        if let Some(directory) = &self.directory {
            make_directory(directory).map_err(|errno| StoreError::Directory {
                doing: "make the directory",
                path: directory.clone(),
                errno,
            })?;
        }
        Lock::create(&path, self.surroundings).map_err(|why| why.at(path))
    }

    /// The path of a file beside the record.
    fn beside(&self, ending: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(ending);
        path.into()
    }

    fn system(&self, doing: &'static str, ending: &str, errno: Errno) -> StoreError {
        StoreError::System { doing, path: self.beside(ending), errno }
    }
}

impl Store for FileStore {
    fn now(&self) -> Moment {
        Stamp::now().moment()
    }

    fn transact<T>(
        &mut self,
        patience: Duration,
        change: impl FnMut(&mut Record, &Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // Read now, so that this run holds the lock for no longer than it must.
        let _ = boot();
        if self.lock.is_none() {
            self.check_directory()?;
            // No lock file is made beside a file that cannot be used anyhow.
            match self.read() {
                Ok(_) | Err(StoreError::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let lock = self.lock(patience)?;
        let result = self.change(&lock, change);
        lock.release();
        self.lock = Some(lock);
        result
    }

    fn look(&self) -> Result<Snapshot, StoreError> {
        let now = Stamp::now();
        Ok(self.read_at(&now)?.unwrap_or_else(|| Snapshot::empty(now.moment())))
    }

    fn host(&self) -> Option<HostTag> {
        None
    }

    fn holder_lives(&self, claim: Claim, owner: u32) -> Option<bool> {
        self.ask_lock(|lock| lock.holder_lives(claim, owner))
    }

    fn release(&self, claim: Claim) {
        if let Some(lock) = &self.lock {
            lock.give_up(claim);
        }
    }

    fn close(&mut self) {
        self.lock = None;
    }

    /// This run may write the directory, it can open the lock file, and the file system has room
    /// for another file. Makes a directory and a lock file that are missing.
    fn check_writable(&mut self) -> Result<(), StoreError> {
        if self.lock.is_none() {
            self.check_directory()?;
            let lock = self.open_lock()?;
            self.check_room()?;
            self.lock = Some(lock);
        }
        Ok(())
    }

    fn take_set_aside(&mut self) -> Option<PathBuf> {
        self.set_aside.take()
    }
}

/// The record that follows a damaged one. Only the lease of a probe that still runs has survived.
fn after_loss(lock: &Lock, now: Moment) -> Snapshot {
    let Some(generation) = lock.newest_lease() else { return Snapshot::empty(now) };
    // If the probe waits for this very run to end, this run may go on in its place.
    let owner = lock.ancestor_with_it().unwrap_or(0);
    let breaker = Breaker::probed(generation, owner, now, LOST_LEASE);
    // The next run must see the probe too, even if this run changes nothing: so the record is
    // written.
    Snapshot { record: Record { breaker, budget: None }, now, moved: true }
}

/// Claims, as bytes of the lock file.
#[derive(Debug)]
struct ClaimsInLock<'a> {
    lock: &'a Lock,
    /// The path of the record, for errors.
    record: &'a Path,
}

impl Claims for ClaimsInLock<'_> {
    fn hold(&self, claim: Claim) -> Result<(), StoreError> {
        self.lock.hold(claim).map_err(|why| why.at(self.record.to_owned()))
    }

    fn holder_lives(&self, claim: Claim, owner: u32) -> bool {
        self.lock.holder_lives(claim, owner)
    }
}

#[cfg(test)]
mod tests;
