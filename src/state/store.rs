//! A record in a file, and the one way to change it.
//!
//! `NAME.json` is replaced as a whole: written beside as `NAME.json.tmp` and renamed, so that who reads it
//! needs no lock. Who changes it holds the first byte of `NAME.json.lock` (an open file description lock,
//! fcntl(2)), for about a millisecond, and never while a command runs or retry waits; it signs the file, so that
//! others see whether the lock goes from hand to hand or one does not let go. The lock file is never removed. Its other bytes are the leases of probes: who has one holds the byte of its generation for as
//! long as it lives, and no longer. The descriptor is close-on-exec, so the command has no part in either.
//!
//! Nothing is synced to the disk: after a power failure a file may be empty, and is then set aside.

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, lstat};
use nix::sys::uio::{pread, pwrite};
use nix::unistd::{Gid, Uid, fchown, geteuid};

use super::clock::{Stamp, boot_id};
use super::record::{Record, Unreadable};
use crate::policy::admission::Moment;
use crate::process::wait;
use crate::streams::descriptor::lift;

/// How long one holder of the lock is waited for: so long, and so many looks, as a busy machine may let retry
/// look seldom.
const PATIENCE: Duration = Duration::from_secs(1);
const LOOKS: u32 = 50;

/// How long the lock is waited for in all, while it goes from hand to hand.
const LONGEST: Duration = Duration::from_secs(10);

/// Between two looks at the lock, at most.
const LOOK: Duration = Duration::from_millis(20);

/// What a holder writes into the lock file: its pid, and when it took the lock.
type Signature = [u8; 32];

/// Largest file that may be a record, in bytes, and room for what is usual.
const LARGEST: u64 = 64 * 1024;
const USUAL: usize = 1024;

/// Only its owner may read and write it.
const PRIVATE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// What is opened is itself a file, no link; waits for nobody; and is not the command's.
const SAFE: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);

/// The record of one name.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    /// The directory, where it may be made.
    directory: Option<PathBuf>,
    lock: Option<OwnedFd>,
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
    /// It is no record; only where it may not be set aside.
    Corrupt {
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
                write!(f, "{} has version {version} of the format, of a newer retry", path.display())
            }
            Self::Corrupt { path } => write!(f, "{} is damaged", path.display()),
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
    lock: &'a OwnedFd,
    path: &'a Path,
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

    /// Changes the record: takes the lock, reads, calls `change`, and writes what has changed. Where `change`
    /// fails nothing is written.
    ///
    /// # Errors
    /// Where the record cannot be read or written, or `change` fails; the file is then as it was.
    pub(crate) fn transact<T>(
        &mut self,
        change: impl FnOnce(&mut Record, &Access<'_>) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        // Read beforehand: the lock is held for no longer than it must be.
        let _ = boot_id();
        let lock = self.lock()?;
        let result = self.change(&lock, change);
        // Its leases are kept.
        let unlocked = range(&lock, Act::Unlock, 0);
        self.lock = Some(lock);
        match unlocked {
            Ok(_) => result,
            Err(errno) => result.and(Err(self.system("unlock", ".lock", errno))),
        }
    }

    /// Reads the record, without a lock. None where there is no file.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(crate) fn read(&self, now: &Stamp) -> Result<Option<Record>, Trouble> {
        let Some(bytes) = self.bytes()? else { return Ok(None) };
        match Record::read(&bytes, now) {
            Ok(record) => Ok(Some(record)),
            Err(Unreadable::Newer(version)) => Err(Trouble::Newer { path: self.path.clone(), version }),
            Err(Unreadable::Corrupt) => Err(Trouble::Corrupt { path: self.path.clone() }),
        }
    }

    /// Gives up the lease of this generation.
    pub(crate) fn release(&self, generation: u64) {
        if let Some(lock) = &self.lock {
            // Where it cannot be given up it ends with retry.
            let _ = range(lock, Act::Unlock, lease(generation));
        }
    }

    /// Whether the holder of a generation's lease lives. Asked without the first byte's lock.
    pub(crate) fn lives(&self, generation: u64) -> bool {
        let lock = open(&self.beside(".lock"), OFlag::O_RDWR | SAFE, Mode::empty());
        // Where that cannot be seen it counts until its time is over.
        lock.is_err() || lock.is_ok_and(|lock| range(&lock, Act::Ask, lease(generation)).unwrap_or(true))
    }

    fn change<T>(
        &mut self,
        lock: &OwnedFd,
        change: impl FnOnce(&mut Record, &Access<'_>) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let now = Stamp::now();
        let record = match self.read(&now) {
            Err(Trouble::Corrupt { .. }) => {
                let aside = self.beside(".corrupt");
                let moved = fs::rename(&self.path, &aside);
                moved.map_err(|error| self.system("set aside", "", errno(&error)))?;
                self.set_aside = Some(aside);
                None
            }
            read => read?,
        };
        let mut changed = record.clone().unwrap_or_default();
        let access = Access { now: now.moment(), lock, path: &self.path };
        let result = change(&mut changed, &access)?;
        if changed != record.unwrap_or_default() {
            self.write(&changed.write(now))?;
        }
        Ok(result)
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
        let length = read.map_err(|error| self.system("read", "", errno(&error)))?;
        if length as u64 > LARGEST {
            return Err(Trouble::Corrupt { path: self.path.clone() });
        }
        Ok(Some(bytes))
    }

    /// Replaces the file.
    fn write(&self, bytes: &[u8]) -> Result<(), Trouble> {
        let beside = self.beside(".tmp");
        let trouble = |errno| self.system("write", ".tmp", errno);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | SAFE;
        let mut file = match open(&beside, flags, PRIVATE) {
            Err(Errno::EEXIST) => {
                // The lock is ours, so whoever wrote this is dead.
                fs::remove_file(&beside).map_err(|error| trouble(errno(&error)))?;
                open(&beside, flags, PRIVATE)
            }
            opened => opened,
        }
        .map(File::from)
        .map_err(trouble)?;
        self.belongs_here(&file);
        let written = file.write_all(bytes).and_then(|()| fs::rename(&beside, &self.path));
        written.map_err(|error| {
            let _ = fs::remove_file(&beside);
            trouble(errno(&error))
        })
    }

    /// Gives a file that root has made to the owner of the directory, who could not use it otherwise.
    fn belongs_here(&self, file: &File) {
        if !geteuid().is_root() {
            return;
        }
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Ok(stat) = lstat(parent.unwrap_or(Path::new(".")))
            && stat.st_uid != 0
        {
            // Where it stays root's, its owner is told at the next run.
            let _ = fchown(file, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
        }
    }

    /// The lock file, its first byte locked.
    fn lock(&mut self) -> Result<OwnedFd, Trouble> {
        let path = self.beside(".lock");
        let mut kept = self.lock.take();
        let began = wait::now();
        let (mut looks, mut holder, mut since) = (0, None, began);
        loop {
            let lock = match kept.take() {
                Some(lock) => lock,
                None => self.open_lock()?,
            };
            match range(&lock, Act::Lock, 0) {
                // It may have been removed, and made anew by another: then this one locks nothing.
                Ok(true) if is_same(&lock, &path) => {
                    sign(&lock);
                    return Ok(lock);
                }
                Ok(true) => {}
                Ok(false) => {
                    let (now, signed) = (wait::now(), signature(&lock));
                    if holder != Some(signed) {
                        (looks, holder, since) = (0, Some(signed), now);
                    }
                    looks += 1;
                    let waited = now.saturating_sub(began);
                    if (now.saturating_sub(since) >= PATIENCE && looks >= LOOKS) || waited >= LONGEST {
                        let text = std::str::from_utf8(&signed).unwrap_or_default();
                        let by = text.split_whitespace().next().and_then(|pid| pid.parse().ok());
                        return Err(Trouble::Locked { path, by });
                    }
                    sleep(pause(waited));
                    kept = Some(lock);
                }
                Err(errno) => return Err(self.system("lock", ".lock", errno)),
            }
        }
    }

    fn open_lock(&self) -> Result<OwnedFd, Trouble> {
        let path = self.beside(".lock");
        let trouble = |errno| match errno {
            Errno::ELOOP | Errno::ENXIO | Errno::EISDIR => Trouble::NoFile { path: path.clone() },
            errno => self.system("open", ".lock", errno),
        };
        let open_it = |flags: OFlag| open(&path, OFlag::O_RDWR | SAFE | flags, PRIVATE);
        let create = || match open_it(OFlag::O_CREAT | OFlag::O_EXCL) {
            Ok(lock) => {
                let lock = File::from(lock);
                self.belongs_here(&lock);
                Ok(OwnedFd::from(lock))
            }
            Err(Errno::EEXIST) => open_it(OFlag::empty()),
            Err(errno) => Err(errno),
        };
        let lock = match open_it(OFlag::empty()) {
            Err(Errno::ENOENT) => {
                self.make_directory()?;
                create()
            }
            opened => opened,
        };
        let lock = lock.and_then(lift).map_err(trouble)?;
        match fstat(&lock) {
            Ok(stat) if is_file(&stat) => Ok(lock),
            Ok(_) => Err(Trouble::NoFile { path }),
            Err(errno) => Err(trouble(errno)),
        }
    }

    fn make_directory(&self) -> Result<(), Trouble> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|error| Trouble::System {
            doing: "make the directory",
            path: directory.clone(),
            errno: errno(&error),
        })
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

impl Access<'_> {
    /// Takes the lease of this generation, for as long as retry lives.
    ///
    /// # Errors
    /// Where the system has no lock left, or another has it.
    pub(crate) fn hold(&self, generation: u64) -> Result<(), Trouble> {
        match range(self.lock, Act::Lock, lease(generation)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Trouble::Locked { path: self.path.to_path_buf(), by: None }),
            Err(errno) => {
                Err(Trouble::System { doing: "lock the lease of", path: self.path.to_path_buf(), errno })
            }
        }
    }

    /// Whether another process holds the lease of this generation.
    pub(crate) fn lives(&self, generation: u64) -> bool {
        // Where that cannot be seen it counts until its time is over.
        range(self.lock, Act::Ask, lease(generation)).unwrap_or(true)
    }
}

/// The byte of a generation's lease: behind the first, in range of an offset.
fn lease(generation: u64) -> i64 {
    i64::try_from(generation % (1 << 40)).unwrap_or(0) + 1
}

/// What is to be done with a byte of the lock file.
#[derive(Debug, Clone, Copy)]
enum Act {
    Lock,
    Unlock,
    /// Whether another has it locked.
    Ask,
}

/// Locks a byte and tells whether that could be done; unlocks it; or asks.
fn range(lock: &OwnedFd, act: Act, byte: i64) -> nix::Result<bool> {
    let kind = match act {
        Act::Lock | Act::Ask => libc::F_WRLCK,
        Act::Unlock => libc::F_UNLCK,
    };
    let mut wanted = libc::flock {
        l_type: i16::try_from(kind).unwrap_or_default(),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: byte,
        l_len: 1,
        l_pid: 0,
    };
    if let Act::Ask = act {
        fcntl(lock, FcntlArg::F_OFD_GETLK(&mut wanted))?;
        return Ok(i32::from(wanted.l_type) != libc::F_UNLCK);
    }
    match fcntl(lock, FcntlArg::F_OFD_SETLK(&wanted)) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Signs the lock file as the holder of its lock. Where it cannot be written its holders are not told apart.
fn sign(lock: &OwnedFd) {
    let text = format!("{:>10} {:>20}\n", std::process::id(), wait::now().as_micros());
    let _ = pwrite(lock, text.as_bytes(), 0);
}

/// What the holder of the lock has signed with.
fn signature(lock: &OwnedFd) -> Signature {
    let mut signature = Signature::default();
    let _ = pread(lock, &mut signature, 0);
    signature
}

/// How long to sleep before the next look: longer with time, and not in step with others.
fn pause(waited: Duration) -> Duration {
    let most = (waited / 10).clamp(Duration::from_millis(1), LOOK);
    // The last digits of the clock are as good as any die.
    most / 2 + (most / 2) * (wait::now().subsec_nanos() / 100 % 100) / 100
}

fn is_file(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
}

/// Whether an open file is still the one at this path.
fn is_same(lock: &OwnedFd, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (fstat(lock.as_fd()), lstat(path)) else { return false };
    (open.st_dev, open.st_ino) == (there.st_dev, there.st_ino)
}

fn errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
