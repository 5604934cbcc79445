//! A record in a file, and the one way to change it.
//!
//! `NAME.json` is replaced as a whole, under a [`lock`](super::lock): written beside and renamed, so that who
//! reads it needs no lock. Nothing is synced to the disk: after a power failure a file may be empty, and is
//! then set aside.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, open, renameat2};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access, geteuid};

use super::files::{PRIVATE, SAFE, belongs_to, errno, is_file, make_directory, owner_of};
use super::lock::{LONGEST, Lock, Refused};
use super::record::{Record, Unreadable, looks_like_one};
use super::stamp::Stamp;
use crate::clock::boot;
use crate::policy::admission::Moment;
use crate::policy::admission::breaker::Breaker;
use crate::process::descendants::ancestors;

/// Largest file that may be a record, in bytes, and room for what is usual.
const LARGEST: u64 = 64 * 1024;
const USUAL: usize = 1024;

/// What stands beside a record.
const LOCK: &str = ".lock";
const NEW: &str = ".retry-tmp";
const CORRUPT: &str = ".corrupt";

/// How many files that are no records are kept; then the last is replaced.
const KEPT: u32 = 9;

/// The record of one name.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    /// retry's own directory, where the name is in it: it may be made, and what is there is retry's.
    directory: Option<PathBuf>,
    lock: Option<Lock>,
    /// Where a file that is no record was put.
    set_aside: Option<PathBuf>,
}

/// Why a record cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    System {
        doing: &'static str,
        path: PathBuf,
        errno: Errno,
    },
    /// Something else stands where the file should.
    NoFile {
        path: PathBuf,
    },
    /// It is a newer program's.
    Newer {
        path: PathBuf,
        version: u64,
    },
    /// It is no record.
    Corrupt {
        path: PathBuf,
    },
    /// A signal that ends the run came while the lock was waited for.
    Interrupted,
    /// It is no lock file.
    NoLock {
        path: PathBuf,
    },
    /// Nor has it ever been one.
    Foreign {
        path: PathBuf,
    },
    /// Somebody holds the lock: this process, where it has signed.
    Locked {
        path: PathBuf,
        by: Option<u32>,
    },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { doing, path, errno } => {
                write!(f, "cannot {doing} {}: {}", path.display(), errno.desc())
            }
            Self::NoFile { path } => write!(f, "{} is not a regular file", path.display()),
            Self::Newer { path, version } => {
                write!(f, "{} was written by a newer retry (format version {version})", path.display())
            }
            Self::Corrupt { path } => write!(f, "{} is damaged", path.display()),
            Self::Interrupted => f.write_str("interrupted by a signal"),
            Self::NoLock { path } => write!(f, "{} is not a lock file of retry", path.display()),
            Self::Foreign { path } => {
                write!(f, "{} is not a record of retry", path.display())
            }
            Self::Locked { path, by: Some(pid) } => {
                write!(f, "{} has been locked by process {pid} for too long", path.display())
            }
            Self::Locked { path, by: None } => {
                write!(f, "{} has been locked by another process for too long", path.display())
            }
        }
    }
}

/// The present, within a transaction.
#[derive(Debug)]
pub(crate) struct Access<'a> {
    pub(crate) now: Moment,
    /// The file was no record, and a new one is begun.
    pub(crate) anew: bool,
    pub(super) lock: &'a Lock,
    path: PathBuf,
}

impl Store {
    /// The record in this file; `directory` is made where it is missing.
    pub(crate) fn new(path: PathBuf, directory: Option<PathBuf>) -> Self {
        Self { path, directory, lock: None, set_aside: None }
    }

    /// Where a file that was no record has been put, once.
    pub(crate) fn take_set_aside(&mut self) -> Option<PathBuf> {
        self.set_aside.take()
    }

    /// Changes the record: takes the lock within `most`, reads, calls `change`, and writes what has changed.
    /// Where `change` fails nothing is written.
    ///
    /// # Errors
    /// Where the record cannot be read or written, or `change` fails; the file is then as it was.
    pub(crate) fn transact<T>(
        &mut self,
        most: Duration,
        change: impl FnOnce(&mut Record, &Access<'_>) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        // Read before the lock is taken: the lock is held for no longer than it must be.
        let _ = boot();
        if self.lock.is_none() {
            self.check_directory()?;
            // No lock file is made beside what cannot be used anyhow.
            match self.read(&Stamp::now()) {
                Ok(_) | Err(Trouble::Corrupt { .. }) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        let lock = self.lock(most)?;
        let result = self.change(&lock, change);
        lock.release();
        self.lock = Some(lock);
        result
    }

    /// Reads the record, without a lock. None where there is no file.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(crate) fn read(&self, now: &Stamp) -> Result<Option<Record>, Trouble> {
        Ok(self.read_at(now)?.map(|(record, _)| record))
    }

    /// The record, and whether its times were moved to fit into the present.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(super) fn read_at(&self, now: &Stamp) -> Result<Option<(Record, bool)>, Trouble> {
        let Some(bytes) = self.bytes()? else { return Ok(None) };
        let path = || self.path.clone();
        match Record::read(&bytes, now) {
            Ok(read) => Ok(Some(read)),
            // A name in retry's own directory is retry's; a path may be anybody's.
            Err(_) if self.directory.is_none() && !looks_like_one(&bytes) => {
                Err(Trouble::Foreign { path: path() })
            }
            Err(Unreadable::Newer(version)) => Err(Trouble::Newer { path: path(), version }),
            Err(Unreadable::Corrupt) => Err(Trouble::Corrupt { path: path() }),
        }
    }

    /// Gives up the lease of this generation.
    pub(crate) fn give_up(&self, generation: u64) {
        if let Some(lock) = &self.lock {
            lock.give_up(generation);
        }
    }

    /// Whether the holder of a generation's lease lives. Makes nothing; where it cannot be seen it counts until
    /// its time is over.
    pub(crate) fn lives(&self, generation: u64) -> bool {
        self.ask_lock(|lock| lock.lives(generation)).unwrap_or(true)
    }

    /// Asks the lock file something without a lock. Makes nothing. None if there is no such file, or it cannot be used.
    pub(super) fn ask_lock<T>(&self, ask: impl FnOnce(&Lock) -> T) -> Option<T> {
        if let Some(lock) = &self.lock {
            return Some(ask(lock));
        }
        let none = || Err(Refused::NoFile);
        Lock::open(&self.beside(LOCK), none).ok().map(|lock| ask(&lock))
    }

    /// Whether this run could write a change later, as far as it can tell without a write: it may write the
    /// directory, it can open the lock file, and the file system has room for another file. Makes a directory and a
    /// lock file that are missing.
    ///
    /// # Errors
    /// Why it could not.
    pub(super) fn ready(&mut self) -> Result<(), Trouble> {
        if self.lock.is_none() {
            self.check_directory()?;
            let lock = self.open_lock()?;
            self.check_room()?;
            self.lock = Some(lock);
        }
        Ok(())
    }

    /// Closes the lock file, and with it gives up all leases.
    pub(super) fn close(&mut self) {
        self.lock = None;
    }

    /// That files can be made in the directory. One of retry's own that is missing will be made.
    fn check_directory(&self) -> Result<(), Trouble> {
        let directory = self.path.parent().unwrap_or(&self.path);
        // The last part makes an error of a file that stands in its place. access(2) asks for the real user, who is
        // the effective one here too; to ask for that one, glibc makes six calls of one.
        match access(&directory.join("."), AccessFlags::W_OK | AccessFlags::X_OK) {
            Ok(()) => Ok(()),
            Err(Errno::ENOENT) if self.directory.is_some() => Ok(()),
            Err(errno) => {
                Err(Trouble::System { doing: "use the directory", path: directory.to_owned(), errno })
            }
        }
    }

    /// Checks that the file system has room for a new record: a block, an inode, and a name of its length. A
    /// change writes a new file before it gives up the old one, so an existing record does not help.
    fn check_room(&self) -> Result<(), Trouble> {
        let full = |errno| Err(self.system("write", NEW, errno));
        // Not every file system answers. The write itself decides then.
        let Ok(room) = statvfs(self.path.parent().unwrap_or(&self.path)) else { return Ok(()) };
        let root = geteuid().is_root();
        let (blocks, inodes) = match root {
            true => (room.blocks_free(), room.files_free()),
            false => (room.blocks_available(), room.files_available()),
        };
        // A total of 0 means that the file system sets no limit, or counts none: btrfs makes inodes as it goes.
        if (room.blocks() > 0 && blocks == 0) || (room.files() > 0 && inodes == 0) {
            return full(Errno::ENOSPC);
        }
        let name = self.beside(NEW).file_name().map_or(0, std::ffi::OsStr::len);
        let longest = usize::try_from(room.name_max()).unwrap_or(usize::MAX);
        if longest > 0 && name > longest { full(Errno::ENAMETOOLONG) } else { Ok(()) }
    }

    fn change<T>(
        &mut self,
        lock: &Lock,
        change: impl FnOnce(&mut Record, &Access<'_>) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let now = Stamp::now();
        let mut anew = false;
        let (record, moved) = match self.read_at(&now) {
            Err(Trouble::Corrupt { .. }) => {
                self.put_aside()?;
                anew = true;
                let probed = probed(lock, now.moment());
                // The next run must see the probe too, also if this one changes nothing.
                let known = probed.is_some();
                (Record { breaker: probed.unwrap_or_default(), ..Record::default() }, known)
            }
            read => read?.unwrap_or_default(),
        };
        let mut changed = record.clone();
        let access = Access { now: now.moment(), anew, lock, path: self.path.clone() };
        let result = change(&mut changed, &access)?;
        // What was moved would be moved again, from a later now.
        if changed != record || moved {
            self.write(&changed.write(now))?;
        }
        Ok(result)
    }

    /// Renames the file, which is no record.
    fn put_aside(&mut self) -> Result<(), Trouble> {
        let names = (1..=KEPT).map(|n| if n == 1 { CORRUPT.to_owned() } else { format!("{CORRUPT}-{n}") });
        let mut last = Err(Errno::EEXIST);
        for (n, name) in names.enumerate() {
            let aside = self.beside(&name);
            let replace = n + 1 == KEPT as usize;
            let flags = if replace { RenameFlags::empty() } else { RenameFlags::RENAME_NOREPLACE };
            last = match renameat2(AT_FDCWD, &self.path, AT_FDCWD, &aside, flags) {
                // Not every file system can (renameat2(2)).
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
        last.map_err(|errno| self.system("set aside", "", errno))
    }

    /// The file's bytes. None where there is no file.
    fn bytes(&self) -> Result<Option<Vec<u8>>, Trouble> {
        let file = match open(&self.path, OFlag::O_RDONLY | SAFE, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ELOOP | Errno::ENXIO) => return Err(Trouble::NoFile { path: self.path.clone() }),
            Err(errno) => return Err(self.system("read", "", errno)),
        };
        let stat = fstat(&file).map_err(|errno| self.system("read", "", errno))?;
        if !is_file(&stat) {
            return Err(Trouble::NoFile { path: self.path.clone() });
        }
        let mut bytes = Vec::with_capacity(USUAL);
        let read = file.take(LARGEST + 1).read_to_end(&mut bytes);
        read.map_err(|error| self.system("read", "", errno(&error)))?;
        // One that is larger does not parse.
        Ok(Some(bytes))
    }

    /// Replaces the file.
    fn write(&self, bytes: &[u8]) -> Result<(), Trouble> {
        let new = self.beside(NEW);
        let trouble = |errno| self.system("write", NEW, errno);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | SAFE;
        let mut file = match open(&new, flags, PRIVATE) {
            Err(Errno::EEXIST) => {
                // The lock is ours, so whoever wrote this is dead.
                fs::remove_file(&new).map_err(|error| trouble(errno(&error)))?;
                open(&new, flags, PRIVATE)
            }
            opened => opened,
        }
        .map(File::from)
        .map_err(trouble)?;
        belongs_to(&file, owner_of(Some(&self.path)).or_else(|| owner_of(self.path.parent())));
        let written = file.write_all(bytes).and_then(|()| fs::rename(&new, &self.path));
        written.map_err(|error| {
            let _ = fs::remove_file(&new);
            trouble(errno(&error))
        })
    }

    /// The lock file, its first byte locked.
    fn lock(&mut self, most: Duration) -> Result<Lock, Trouble> {
        let path = self.beside(LOCK);
        let most = most.min(LONGEST);
        if let Some(lock) = self.lock.take()
            && lock.acquire(&path, most).map_err(|why| self.refused(why))?
        {
            return Ok(lock);
        }
        // Who removes it again and again locks everybody out.
        for _ in 0..9 {
            let lock = self.open_lock()?;
            if lock.acquire(&path, most).map_err(|why| self.refused(why))? {
                // Whoever wrote this is dead.
                let _ = fs::remove_file(self.beside(NEW));
                return Ok(lock);
            }
        }
        Err(Trouble::Locked { path, by: None })
    }

    /// The lock file, which is made if it is missing, and so is its directory if that is retry's own.
    fn open_lock(&self) -> Result<Lock, Trouble> {
        let make = || match &self.directory {
            Some(directory) => make_directory(directory).map_err(Failed::Directory),
            None => Ok(()),
        };
        Lock::open(&self.beside(LOCK), make).map_err(|failed| match failed {
            Failed::Lock(why) => self.refused(why),
            Failed::Directory(errno) => Trouble::System {
                doing: "make the directory",
                path: self.directory.clone().unwrap_or_default(),
                errno,
            },
        })
    }

    /// Why there is no lock, with the path of its file.
    fn refused(&self, why: Refused) -> Trouble {
        let path = self.beside(LOCK);
        match why {
            Refused::NoFile => Trouble::NoFile { path },
            Refused::NoLock => Trouble::NoLock { path },
            Refused::Interrupted => Trouble::Interrupted,
            Refused::System(doing, errno) => Trouble::System { doing, path, errno },
            Refused::Held(by) => Trouble::Locked { path, by },
        }
    }

    /// The path of a file that goes with it.
    fn beside(&self, ending: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(ending);
        path.into()
    }

    fn system(&self, doing: &'static str, ending: &str, errno: Errno) -> Trouble {
        Trouble::System { doing, path: self.beside(ending), errno }
    }
}

/// The breaker of a record that was lost while another run probes. None if nobody probes.
fn probed(lock: &Lock, now: Moment) -> Option<Breaker> {
    /// The lost record had the length of the lease. It matters only if the probe never ends.
    const LENGTH: Duration = Duration::from_mins(5);
    let generation = lock.newest_lease()?;
    // If the probe waits for this very run, this run may go on in its place.
    let above = ancestors().find(|pid| lock.is_open_in(*pid));
    Some(Breaker::probed(generation, above.unwrap_or(0), now, LENGTH))
}

/// Why there is no lock file.
enum Failed {
    Lock(Refused),
    Directory(Errno),
}

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        Self::Lock(refused)
    }
}

impl Access<'_> {
    /// Takes the lease of this generation, for as long as retry lives.
    ///
    /// # Errors
    /// Where the system has no lock left, or another has it.
    pub(crate) fn hold(&self, generation: u64) -> Result<(), Trouble> {
        let path = || self.path.clone();
        self.lock.hold(generation).map_err(|refused| match refused {
            Refused::System(doing, errno) => Trouble::System { doing, path: path(), errno },
            Refused::NoFile | Refused::NoLock | Refused::Interrupted | Refused::Held(_) => {
                Trouble::Locked { path: path(), by: None }
            }
        })
    }
}
