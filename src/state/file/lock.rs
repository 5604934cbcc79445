//! The lock beside a record: a file whose bytes are locked (open file description locks, fcntl(2)).
//!
//! A run that changes the record locks the first byte for about a millisecond. It never keeps that
//! lock while a command runs or while retry waits. It signs the file, so that other runs see
//! whether the lock goes from hand to hand or one holder does not let go.
//!
//! The other bytes are claims: the leases of probes, and the permits of a recovery. A run locks the
//! byte of its claim for as long as it lives, and the kernel frees the byte when it dies.
//!
//! retry never removes the lock file of a record. The lock file of an answer is a different matter:
//! the run that has the lock removes it, see [`Lock::remove`]. The descriptor is close-on-exec, so
//! the command shares neither the lock nor the claims.

use std::fs::{self, DirEntry};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::{FileStat, fstat, lstat};
use nix::sys::uio::{pread, pwrite};

use super::private::{PRIVATE, SAFE, belongs_to, is_file, owner_of};
use crate::clock::now;
use crate::policy::admission::breaker::Claim;
use crate::state::store::StoreError;
use crate::state::surroundings::Surroundings;

/// The longest wait for a holder that is stopped, dead or unknown.
const IDLE_HOLDER: Duration = Duration::from_secs(1);

/// The longest wait for a holder that lives and is not stopped. It may be waiting for a processor.
const BUSY_HOLDER: Duration = Duration::from_secs(10);

/// The longest wait for a lock that goes from hand to hand.
pub(super) const QUEUE: Duration = Duration::from_secs(30);

/// A waiting run looks this often for its signals and for the holder.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The holder's signature in the file: its process id, and when it took the lock.
type Signature = [u8; SIGNATURE];
const SIGNATURE: usize = 32;

/// The lock file, open.
#[derive(Debug)]
pub(in crate::state) struct Lock {
    file: OwnedFd,
    surroundings: Surroundings,
}

/// Why there is no lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::state) enum LockError {
    /// A directory, a link, a pipe or a device is in its place.
    NotAFile,
    /// The file has the content of another program.
    NotALock,
    /// A signal that ends the run has arrived.
    Interrupted,
    /// The system refused the call that is named.
    System(&'static str, Errno),
    /// Another process keeps it: its process id, if it has signed the file. None too if the lock went
    /// from hand to hand all the time.
    Held(Option<u32>),
}

impl LockError {
    /// The same, with the path of the file.
    pub(super) fn at(self, path: PathBuf) -> StoreError {
        match self {
            Self::NotAFile => StoreError::NotAFile { path },
            Self::NotALock => StoreError::NotALock { path },
            Self::Interrupted => StoreError::Interrupted,
            Self::System(doing, errno) => StoreError::System { doing, path, errno },
            Self::Held(by) => StoreError::Locked { path, by },
        }
    }
}

/// Whether a lock was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(in crate::state) enum Acquired {
    Yes,
    /// Another file has taken the place of this one. It locks nothing any more.
    Replaced,
}

impl Lock {
    /// Opens the file of this path. None if there is no file.
    pub(in crate::state) fn open(path: &Path, surroundings: Surroundings) -> Result<Option<Self>, LockError> {
        match try_open(path, OFlag::empty()) {
            Err(Errno::ENOENT) => Ok(None),
            opened => Self::of(opened, surroundings).map(Some),
        }
    }

    /// Makes the file of this path, or opens it if another run was faster.
    pub(in crate::state) fn create(path: &Path, surroundings: Surroundings) -> Result<Self, LockError> {
        let file = match try_open(path, OFlag::O_CREAT | OFlag::O_EXCL) {
            Err(Errno::EEXIST) => try_open(path, OFlag::empty()),
            made => made.inspect(|file| belongs_to(file, owner_of(path.parent()))),
        };
        Self::of(file, surroundings)
    }

    fn of(file: nix::Result<OwnedFd>, surroundings: Surroundings) -> Result<Self, LockError> {
        let refused = |errno| match errno {
            Errno::ELOOP | Errno::ENXIO | Errno::EISDIR => LockError::NotAFile,
            errno => LockError::System("open", errno),
        };
        let file = file.and_then(surroundings.lift).map_err(refused)?;
        let stat = fstat(&file).map_err(refused)?;
        if !is_file(&stat) {
            return Err(LockError::NotAFile);
        }
        let lock = Self { file, surroundings };
        // The file is empty, or has a signature or a part of one. retry signs no other file.
        let signs = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b' ' | b'\n' | 0);
        let ours =
            matches!(usize::try_from(stat.st_size), Ok(0..=SIGNATURE)) && lock.signature().iter().all(signs);
        if ours { Ok(lock) } else { Err(LockError::NotALock) }
    }

    /// Locks the first byte. Waits at most `patience`, and for one holder only as long as that one
    /// may take.
    pub(in crate::state) fn acquire(&self, path: &Path, patience: Duration) -> Result<Acquired, LockError> {
        let began = now();
        let mut holder = Holder { signature: None, since: began };
        let mut first = None;
        loop {
            let waited = now().saturating_sub(began);
            let step = LOOK_EVERY.min(patience.saturating_sub(waited));
            let locked = match range(&self.file, Act::Lock, 0) {
                // Waiting runs stand in the kernel's queue. If five hundred of them tried again and
                // again, they would take the processor from the holder.
                Ok(false) if holder.signature.is_some() => {
                    (self.surroundings.interrupted)(step, &mut || range(&self.file, Act::Wait, 0))
                }
                tried => tried,
            };
            match locked {
                Ok(true) if !self.is_at(path) => {
                    self.release();
                    return Ok(Acquired::Replaced);
                }
                Ok(true) => {
                    self.sign();
                    return Ok(Acquired::Yes);
                }
                Ok(false) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(LockError::System("lock", errno)),
            }
            if (self.surroundings.end_is_pending)() {
                return Err(LockError::Interrupted);
            }
            let present = now();
            holder.see(self.signature(), present);
            let first = *first.get_or_insert(holder.since);
            let stuck = holder.is_stuck(present, |pid| self.is_busy(pid));
            if stuck || present.saturating_sub(began) >= patience {
                return Err(LockError::Held(holder.pid().filter(|_| stuck || holder.since == first)));
            }
        }
    }

    /// Unlocks the first byte, and keeps claims.
    pub(super) fn release(&self) {
        // The kernel never refuses to unlock a byte that this process has locked.
        let _ = range(&self.file, Act::Unlock, 0);
    }

    /// Removes the file, which this run has locked, and gives up the lock.
    ///
    /// Only the run that has the lock may do this, as the last thing. A run that has opened the file
    /// before sees that the path no longer names it ([`Acquired::Replaced`]). So no two runs ever
    /// count as holders of the lock.
    pub(in crate::state) fn remove(self, path: &Path) {
        if self.is_at(path) {
            // If the file stays, the next run locks and removes it.
            let _ = fs::remove_file(path);
        }
    }

    /// Takes a claim, for as long as retry lives.
    pub(super) fn hold(&self, claim: Claim) -> Result<(), LockError> {
        match range(&self.file, Act::Lock, byte_of(claim)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(LockError::Held(None)),
            Err(errno) => Err(LockError::System("lock a lease in", errno)),
        }
    }

    /// Gives a claim up.
    pub(super) fn give_up(&self, claim: Claim) {
        // If the kernel refuses, the claim ends with retry.
        let _ = range(&self.file, Act::Unlock, byte_of(claim));
    }

    /// Whether another process has this claim.
    pub(super) fn is_held(&self, claim: Claim) -> bool {
        // If the kernel does not tell, the claim counts until its time is over.
        range(&self.file, Act::Ask, byte_of(claim)).unwrap_or(true)
    }

    /// Whether `owner`, the holder of a claim, lives and does not wait for this very run to end.
    pub(super) fn holder_lives(&self, claim: Claim, owner: u32) -> bool {
        let is_ancestor = || (self.surroundings.ancestors)().contains(&owner);
        self.is_held(claim) && !(is_ancestor() && self.is_open_in(owner))
    }

    /// The newest generation whose lease another process holds. None if there is no lease, or if
    /// the system does not tell.
    pub(super) fn newest_lease(&self) -> Option<u64> {
        let (mut newest, mut from) = (None, FIRST_LEASE);
        // Each answer is a lock somewhere in the rest of the file, not always the first.
        while let Some(byte) = lease_from(&self.file, from) {
            newest = Some((byte - FIRST_LEASE).unsigned_abs());
            from = byte + 1;
        }
        newest
    }

    /// The ancestor of this process that has the lock file open, if there is one.
    pub(in crate::state) fn ancestor_with_it(&self) -> Option<u32> {
        (self.surroundings.ancestors)().into_iter().find(|pid| self.is_open_in(*pid))
    }

    /// Whether a process has this file open.
    fn is_open_in(&self, pid: u32) -> bool {
        let Ok(own) = fstat(&self.file) else { return false };
        let same = |entry: std::io::Result<DirEntry>| {
            let there = entry.and_then(|entry| fs::metadata(entry.path()));
            there.is_ok_and(|there| (there.dev(), there.ino()) == (own.st_dev, own.st_ino))
        };
        fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|mut entries| entries.any(same))
    }

    /// Whether a process lives and is not stopped. It will give the lock up as soon as it gets a
    /// processor.
    fn is_busy(&self, pid: u32) -> bool {
        i32::try_from(pid).is_ok_and(|pid| {
            Path::new(&format!("/proc/{pid}")).exists() && !(self.surroundings.is_stopped)(pid)
        })
    }

    /// Signs the file as the holder. If the write fails, other runs cannot tell holders apart.
    fn sign(&self) {
        let text = format!("{:>10} {:>20}\n", std::process::id(), now().as_micros());
        let _ = pwrite(&self.file, text.as_bytes(), 0);
    }

    /// The signature of the last holder.
    fn signature(&self) -> Signature {
        let mut signature = Signature::default();
        let _ = pread(&self.file, &mut signature, 0);
        signature
    }

    /// Whether the path still names this file.
    fn is_at(&self, path: &Path) -> bool {
        let identity = |stat: FileStat| (stat.st_dev, stat.st_ino);
        let there = lstat(path).map(identity);
        there.is_ok() && there == fstat(&self.file).map(identity)
    }
}

/// The process that holds the lock, as a waiting run sees it.
#[derive(Debug)]
struct Holder {
    /// None before the first look.
    signature: Option<Signature>,
    /// When this run first saw the signature.
    since: Duration,
}

impl Holder {
    fn see(&mut self, signature: Signature, now: Duration) {
        if self.signature != Some(signature) {
            *self = Self { signature: Some(signature), since: now };
        }
    }

    /// The process id in the signature.
    fn pid(&self) -> Option<u32> {
        let text = self.signature.as_ref().and_then(|bytes| std::str::from_utf8(bytes).ok())?;
        text.split_whitespace().next()?.parse().ok()
    }

    /// Whether the holder has had the lock for longer than a holder may.
    fn is_stuck(&self, now: Duration, is_busy: impl FnOnce(u32) -> bool) -> bool {
        let held = now.saturating_sub(self.since);
        held >= BUSY_HOLDER || (held >= IDLE_HOLDER && !self.pid().is_some_and(is_busy))
    }
}

fn try_open(path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    open(path, OFlag::O_RDWR | SAFE | flags, PRIVATE)
}

/// The byte of the first generation's lease, behind that of the lock.
const FIRST_LEASE: i64 = 1;

/// This many generations have a byte of their own, and as many permits. An offset in a file is an
/// `i64`.
const LEASES: u64 = 1 << 40;

/// The byte of the first permit, behind those of the leases.
const FIRST_PERMIT: i64 = FIRST_LEASE + LEASES.cast_signed();

/// The byte of a claim.
fn byte_of(claim: Claim) -> i64 {
    match claim {
        Claim::Probe(generation) => (generation % LEASES).cast_signed() + FIRST_LEASE,
        Claim::Permit(number) => (number % LEASES).cast_signed() + FIRST_PERMIT,
    }
}

/// A request about a byte of the lock file.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// Lock it, or return at once.
    Lock,
    /// Lock it, and wait for that in the kernel's queue.
    Wait,
    Unlock,
    /// Tell whether another process has locked it.
    Ask,
}

/// `F_WRLCK`, `F_UNLCK` and `SEEK_SET` have the type of an `int`, the fields of a `flock` that of a
/// `short` (fcntl(2)).
#[expect(clippy::cast_possible_truncation, reason = "the constants are below 3")]
fn short(constant: i32) -> i16 {
    constant as i16
}

/// Bytes of the lock file. A length of 0 means the rest of the file (fcntl(2)).
fn request(kind: i32, start: i64, length: i64) -> libc::flock {
    libc::flock {
        l_type: short(kind),
        l_whence: short(libc::SEEK_SET),
        l_start: start,
        l_len: length,
        l_pid: 0,
    }
}

/// The first byte from `start` on that another process holds as a lease.
fn lease_from(file: &OwnedFd, start: i64) -> Option<i64> {
    // A length of 0 would mean the rest of the file, which has the permits too.
    let length = FIRST_PERMIT.saturating_sub(start);
    if length <= 0 {
        return None;
    }
    let mut wanted = request(libc::F_WRLCK, start, length);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut wanted)).ok()?;
    // A lease is one byte. Any other lock belongs to another program.
    let is_lease = i32::from(wanted.l_type) != libc::F_UNLCK && wanted.l_len == 1 && wanted.l_start >= start;
    is_lease.then_some(wanted.l_start)
}

/// Carries the request out. Returns whether the byte is locked: by this process after [`Act::Lock`]
/// and [`Act::Wait`], by another after [`Act::Ask`].
fn range(file: &OwnedFd, act: Act, byte: i64) -> nix::Result<bool> {
    let kind = match act {
        Act::Lock | Act::Wait | Act::Ask => libc::F_WRLCK,
        Act::Unlock => libc::F_UNLCK,
    };
    let mut wanted = request(kind, byte, 1);
    let how = match act {
        Act::Ask => FcntlArg::F_OFD_GETLK(&mut wanted),
        Act::Wait => FcntlArg::F_OFD_SETLKW(&wanted),
        Act::Lock | Act::Unlock => FcntlArg::F_OFD_SETLK(&wanted),
    };
    match (act, fcntl(file, how)) {
        (Act::Ask, answer) => answer.map(|_| i32::from(wanted.l_type) != libc::F_UNLCK),
        (_, Ok(_)) => Ok(true),
        (_, Err(Errno::EAGAIN | Errno::EACCES)) => Ok(false),
        (_, Err(errno)) => Err(errno),
    }
}

#[cfg(test)]
mod tests;
