//! The lock beside a record: a file whose bytes are locked (open file description locks, fcntl(2)).
//!
//! Who changes the record holds the first byte, for about a millisecond, and never while a command runs or
//! retry waits; it signs the file, so that others see whether the lock goes from hand to hand or one does not
//! let go. The other bytes are the leases of probes: who has one holds the byte of its generation for as long
//! as it lives, and no longer. The file is never removed. Its descriptor is close-on-exec, so the command has
//! no part in either.

use std::fs::{self, DirEntry};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::{FileStat, fstat, lstat};
use nix::sys::uio::{pread, pwrite};

use super::files::{PRIVATE, SAFE, belongs_to, is_file, owner_of};
use crate::clock::now;
use crate::process::descendants::Process;
use crate::process::signal::end_is_pending;
use crate::streams::alarm::interrupted;
use crate::streams::descriptor::lift;

/// How long one holder is waited for that is stopped, dead or unknown.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long one is waited for that is there and not stopped: it may only want for a core.
const BUSY: Duration = Duration::from_secs(10);

/// Between two looks of a waiting run at its signals and at the holder.
const LOOK: Duration = Duration::from_millis(100);

/// How long is waited in all, while the lock goes from hand to hand.
pub(super) const LONGEST: Duration = Duration::from_secs(30);

/// What a holder writes into the file: its pid, and when it took the lock.
type Signature = [u8; SIGNED];
const SIGNED: usize = 32;

/// The lock file, open.
#[derive(Debug)]
pub(super) struct Lock {
    file: OwnedFd,
}

/// Why there is no lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Something else than a file is there.
    NoFile,
    /// A file with something else in it.
    NoLock,
    /// A signal that ends the run has come.
    Interrupted,
    /// It cannot be opened or locked.
    System(&'static str, Errno),
    /// Somebody holds it: this process, where it has signed.
    Held(Option<u32>),
}

impl Lock {
    /// Opens the file of this path, and makes it where there is none; before that `make` makes its directory.
    pub(super) fn open<E: From<Refused>>(
        path: &Path,
        make: impl FnOnce() -> Result<(), E>,
    ) -> Result<Self, E> {
        let refused = |errno| match errno {
            Errno::ELOOP | Errno::ENXIO | Errno::EISDIR => Refused::NoFile,
            errno => Refused::System("open", errno),
        };
        let try_open = |flags: OFlag| open(path, OFlag::O_RDWR | SAFE | flags, PRIVATE);
        let file = match try_open(OFlag::empty()) {
            Err(Errno::ENOENT) => {
                make()?;
                match try_open(OFlag::O_CREAT | OFlag::O_EXCL) {
                    // Another was faster.
                    Err(Errno::EEXIST) => try_open(OFlag::empty()),
                    Ok(file) => {
                        belongs_to(&file, owner_of(path.parent()));
                        Ok(file)
                    }
                    Err(errno) => Err(errno),
                }
            }
            opened => opened,
        };
        let file = file.and_then(lift).map_err(refused)?;
        let stat = fstat(&file).map_err(refused)?;
        if !is_file(&stat) {
            return Err(Refused::NoFile.into());
        }
        let lock = Self { file };
        // Empty, or signed, if only in part: into nothing else is signed.
        let blank = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b' ' | b'\n' | 0);
        let ours =
            matches!(usize::try_from(stat.st_size), Ok(0..=SIGNED)) && lock.signature().iter().all(blank);
        if ours { Ok(lock) } else { Err(Refused::NoLock.into()) }
    }

    /// Locks the first byte, within `most` and as long as one holder is waited for. False where the file is no
    /// longer the one at this path: it locks nothing then, and is to be opened anew.
    pub(super) fn acquire(&self, path: &Path, most: Duration) -> Result<bool, Refused> {
        let began = now();
        let (mut holder, mut since) = (None, began);
        let mut waits = false;
        loop {
            let waited = now().saturating_sub(began);
            let step = LOOK.min(most.saturating_sub(waited));
            let locked = match range(&self.file, Act::Lock, 0) {
                // Waiting runs stand in the kernel's queue: if five hundred of them tried again and again, they
                // would take the core from the holder.
                Ok(false) if waits => interrupted(step, || range(&self.file, Act::Wait, 0)),
                tried => tried,
            };
            match locked {
                Ok(true) if !self.is_at(path) => {
                    self.release();
                    return Ok(false);
                }
                Ok(true) => {
                    self.sign();
                    return Ok(true);
                }
                Ok(false) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Refused::System("lock", errno)),
            }
            if end_is_pending() {
                return Err(Refused::Interrupted);
            }
            let (at, signed) = (now(), self.signature());
            if holder != Some(signed) {
                (holder, since) = (Some(signed), at);
            }
            let text = std::str::from_utf8(&signed).unwrap_or_default();
            let by = text.split_whitespace().next().and_then(|pid| pid.parse().ok());
            let held = at.saturating_sub(since);
            let stuck = held >= BUSY || (held >= PATIENCE && !by.is_some_and(is_busy));
            if stuck || at.saturating_sub(began) >= most {
                return Err(Refused::Held(by));
            }
            waits = true;
        }
    }

    /// Gives the first byte up; leases are kept.
    pub(super) fn release(&self) {
        // It does not fail: what was locked can be unlocked.
        let _ = range(&self.file, Act::Unlock, 0);
    }

    /// Takes the lease of this generation, for as long as retry lives.
    pub(super) fn hold(&self, generation: u64) -> Result<(), Refused> {
        match range(&self.file, Act::Lock, lease(generation)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refused::Held(None)),
            Err(errno) => Err(Refused::System("lock a lease in", errno)),
        }
    }

    /// Gives up the lease of this generation.
    pub(super) fn give_up(&self, generation: u64) {
        // Where it cannot be given up it ends with retry.
        let _ = range(&self.file, Act::Unlock, lease(generation));
    }

    /// Whether another process holds the lease of this generation.
    pub(super) fn lives(&self, generation: u64) -> bool {
        // Where that cannot be seen it counts until its time is over.
        range(&self.file, Act::Ask, lease(generation)).unwrap_or(true)
    }

    /// The newest generation whose lease another process holds. None also if the system does not tell.
    pub(super) fn newest_lease(&self) -> Option<u64> {
        let (mut newest, mut from) = (None, lease(0));
        // Each answer is a lock somewhere in the rest of the file, not always the first.
        while let Some(byte) = lease_from(&self.file, from) {
            newest = u64::try_from(byte - 1).ok();
            from = byte + 1;
        }
        newest
    }

    /// Whether a process has this file open.
    pub(super) fn is_open_in(&self, pid: u32) -> bool {
        let Ok(own) = fstat(&self.file) else { return false };
        let same = |entry: std::io::Result<DirEntry>| {
            let there = entry.and_then(|entry| fs::metadata(entry.path()));
            there.is_ok_and(|there| (there.dev(), there.ino()) == (own.st_dev, own.st_ino))
        };
        fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|mut entries| entries.any(same))
    }

    /// Signs as the holder. Where that cannot be written holders are not told apart.
    fn sign(&self) {
        let text = format!("{:>10} {:>20}\n", std::process::id(), now().as_micros());
        let _ = pwrite(&self.file, text.as_bytes(), 0);
    }

    /// What the holder has signed with.
    fn signature(&self) -> Signature {
        let mut signature = Signature::default();
        let _ = pread(&self.file, &mut signature, 0);
        signature
    }

    /// Whether it is still the file at this path.
    fn is_at(&self, path: &Path) -> bool {
        let identity = |stat: FileStat| (stat.st_dev, stat.st_ino);
        let there = lstat(path).map(identity);
        there.is_ok() && there == fstat(&self.file).map(identity)
    }
}

/// Whether a process is there and not stopped: it gives the lock up as soon as it gets a core.
fn is_busy(pid: u32) -> bool {
    i32::try_from(pid)
        .is_ok_and(|pid| Path::new(&format!("/proc/{pid}")).exists() && !Process::is_stopped(pid))
}

/// The byte of a generation's lease: behind the first, in range of an offset.
fn lease(generation: u64) -> i64 {
    i64::try_from(generation % (1 << 40)).unwrap_or(0) + 1
}

/// What is to be done with a byte of the lock file.
#[derive(Debug, Clone, Copy)]
enum Act {
    Lock,
    /// The same, in the queue of those who wait.
    Wait,
    Unlock,
    /// Whether another has it locked.
    Ask,
}

/// Bytes of the lock file; a length of 0 is the rest of the file (fcntl(2)).
fn request(kind: i32, start: i64, length: i64) -> libc::flock {
    libc::flock {
        l_type: i16::try_from(kind).unwrap_or_default(),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: start,
        l_len: length,
        l_pid: 0,
    }
}

/// A byte from this one on that another process holds as a lease. None if there is none.
fn lease_from(file: &OwnedFd, start: i64) -> Option<i64> {
    let mut wanted = request(libc::F_WRLCK, start, 0);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut wanted)).ok()?;
    // A lease is one byte. Any other lock is not of retry.
    let is_lease = i32::from(wanted.l_type) != libc::F_UNLCK && wanted.l_len == 1 && wanted.l_start >= start;
    is_lease.then_some(wanted.l_start)
}

/// Locks a byte and tells whether that could be done; unlocks it; or asks.
fn range(file: &OwnedFd, act: Act, byte: i64) -> nix::Result<bool> {
    let kind = match act {
        Act::Lock | Act::Wait | Act::Ask => libc::F_WRLCK,
        Act::Unlock => libc::F_UNLCK,
    };
    let mut wanted = request(kind, byte, 1);
    if let Act::Ask = act {
        fcntl(file, FcntlArg::F_OFD_GETLK(&mut wanted))?;
        return Ok(i32::from(wanted.l_type) != libc::F_UNLCK);
    }
    let how = match act {
        Act::Wait => FcntlArg::F_OFD_SETLKW(&wanted),
        Act::Lock | Act::Unlock | Act::Ask => FcntlArg::F_OFD_SETLK(&wanted),
    };
    match fcntl(file, how) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(errno),
    }
}
