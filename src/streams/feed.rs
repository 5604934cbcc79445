//! Replay: the command reads from a pipe of its own what retry's standard input, a pipe or a socket, has, and
//! after a failure the next attempt reads it again.
//!
//! What an earlier attempt has read is kept, and comes first. What none has read yet is put into the pipe
//! without taking it from the input, and taken as the command reads it; so what no attempt reads stays where
//! it was. New bytes can be put there only once the pipe is empty: the kernel shows a source from its beginning
//! only. It does not tell when a pipe has become empty, so that is looked at now and then.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::poll::PollFlags;
use nix::sys::stat::Mode;
use nix::unistd::{pipe2, read, write};

use super::descriptor::lift;
use super::source::{PART, Source};
use super::spool::Spool;
use crate::policy::verdict::outcome::Unkept;

/// Moves before signals and the clock are looked at again.
const ROUNDS: usize = 16;

/// Least and longest time between two looks at how much the command has read.
const LOOKS: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(100));

/// One input for all attempts.
#[derive(Debug)]
pub(crate) struct Feed {
    source: Source,
    /// What attempts have read.
    spool: Spool,
    /// Most that is kept, in bytes.
    limit: u64,
    /// Why it is not kept any more.
    unkept: Option<Unkept>,
    /// The attempt that runs may be followed by another.
    keeps: bool,
    /// Our end of its pipe, until it has all, or nobody reads it.
    end: Option<OwnedFd>,
    /// How much of what is kept has been put into the pipe.
    position: u64,
    /// How much was put into the pipe that the source still has.
    given: usize,
    waits: Waits,
    /// What the source said that is not its end.
    failed: Option<Errno>,
    part: Vec<u8>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// Room in the pipe.
    Room,
    /// That the command reads something.
    Read(Look),
    /// More from the source.
    More,
}

/// How far the command has read what it was given last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    /// How much it was given, in bytes, and when.
    given: usize,
    since: Duration,
    /// How much of that it has not read, and since when it is so much.
    unread: usize,
    unread_since: Duration,
    /// When to look again; not before the pipe tells of room where it is full.
    again: Option<Duration>,
}

impl Look {
    fn new(given: usize, now: Duration) -> Self {
        Self { given, since: now, unread: given, unread_since: now, again: None }
    }

    /// At this time so much is unread: when to look again. In half of the time that the rest takes at the
    /// speed so far; ever less often where nothing moves.
    fn see(&mut self, unread: usize, now: Duration) {
        if unread != self.unread {
            (self.unread, self.unread_since) = (unread, now);
        }
        let read = u32::try_from(self.given.saturating_sub(unread)).unwrap_or(u32::MAX);
        let rest = u32::try_from(unread).unwrap_or(u32::MAX);
        let half = match read {
            0 => Duration::ZERO,
            read => now.saturating_sub(self.since).saturating_mul(rest) / read / 2,
        };
        let stands = now.saturating_sub(self.unread_since) / 8;
        let (least, longest) = LOOKS;
        self.again = Some(now.saturating_add(half.max(stands).clamp(least, longest)));
    }
}

impl Feed {
    /// Input from this source, of which at most `limit` bytes are kept.
    pub(crate) fn new(source: Source, limit: u64) -> Self {
        Self {
            source,
            spool: Spool::default(),
            limit,
            unkept: None,
            keeps: true,
            end: None,
            position: 0,
            given: 0,
            waits: Waits::Room,
            failed: None,
            part: Vec::new(),
        }
    }

    /// Whether no attempt has read anything: then one that no other follows may have the source itself.
    pub(crate) fn is_untouched(&self) -> bool {
        self.spool.length() == 0 && !self.source.reads_ahead()
    }

    /// What the next attempt reads; another may follow it where it `keeps`.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(crate) fn open(&mut self, keeps: bool) -> nix::Result<OwnedFd> {
        self.source.prepare()?;
        let (theirs, ours) = pipe2(OFlag::O_CLOEXEC)?;
        let (theirs, ours) = (lift(theirs)?, lift(ours)?);
        fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_WRONLY | OFlag::O_NONBLOCK))?;
        // The command finds its own as it would have found the shared one.
        let shared = OFlag::from_bits_retain(fcntl(Source::fd(), FcntlArg::F_GETFL)?);
        if shared.contains(OFlag::O_NONBLOCK) {
            fcntl(&theirs, FcntlArg::F_SETFL(OFlag::O_RDONLY | OFlag::O_NONBLOCK))?;
        }
        self.end = Some(ours);
        self.keeps = keeps;
        (self.position, self.given, self.waits) = (0, 0, Waits::Room);
        Ok(theirs)
    }

    /// What to poll(2) for; whether it is the command's pipe, which loses its reader.
    pub(crate) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags, bool)> {
        let end = self.end.as_ref()?.as_fd();
        Some(match self.waits {
            Waits::Room | Waits::Read(Look { again: None, .. }) => (end, PollFlags::POLLOUT, true),
            // Without a flag poll still tells that nobody reads it any more.
            Waits::Read(_) => (end, PollFlags::empty(), true),
            Waits::More => (Source::fd(), PollFlags::POLLIN, false),
        })
    }

    /// When to look although nothing happens (time since boot).
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        self.end.as_ref()?;
        match self.waits {
            Waits::Read(look) => look.again,
            Waits::Room | Waits::More => None,
        }
    }

    /// Moves what can be moved at this time since boot.
    pub(crate) fn turn(&mut self, now: Duration) {
        for _ in 0..ROUNDS {
            if !self.step(now) {
                return;
            }
        }
    }

    /// Moves something. Tells whether there may be more.
    fn step(&mut self, now: Duration) -> bool {
        let Some(end) = &self.end else { return false };
        if self.position < self.spool.length() {
            self.part.resize(PART, 0);
            let length = match self.spool.read_at(self.position, &mut self.part) {
                Ok(length) if length > 0 => length,
                Ok(_) => return self.fail(Errno::EIO),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
                Err(error) => return self.fail(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)),
            };
            match write(end, self.part.get(..length).unwrap_or_default()) {
                Ok(written) => self.position += u64::try_from(written).unwrap_or(0),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    self.waits = Waits::Room;
                    return false;
                }
                Err(_) => self.end = None,
            }
            return true;
        }
        let unread = unread(end.as_fd());
        self.settle(unread);
        if unread > 0 {
            self.keep();
            match &mut self.waits {
                Waits::Read(look) => look.see(unread, now),
                // The end of what was kept.
                Waits::Room | Waits::More => {
                    let mut look = Look::new(unread, now);
                    look.see(unread, now);
                    self.waits = Waits::Read(look);
                }
            }
            return false;
        }
        let Some(end) = &self.end else { return false };
        let given = self.source.give(end.as_fd());
        self.keep();
        match given {
            // The pipe may be full: then it tells when that ends.
            Ok(given) if given > 0 => {
                self.given = given;
                self.waits = Waits::Read(Look::new(given, now));
                false
            }
            Err(Errno::EAGAIN) => {
                self.waits = Waits::More;
                false
            }
            Err(Errno::EINTR) => true,
            // Its end, or nobody reads.
            Ok(_) | Err(Errno::EPIPE) => {
                self.end = None;
                false
            }
            Err(errno) => self.fail(errno),
        }
    }

    /// The input cannot be read on: that is not its end, and must not look like it for long.
    fn fail(&mut self, errno: Errno) -> bool {
        self.failed.get_or_insert(errno);
        self.end = None;
        false
    }

    /// Takes from the source what the command has read of it: all that was given but the last `unread` bytes.
    fn settle(&mut self, unread: usize) {
        let read = self.given.saturating_sub(unread);
        if read == 0 {
            return;
        }
        self.given -= read;
        match self.source.take(read, !self.keeps || self.unkept.is_some()) {
            // Another process has taken them.
            Ok(()) | Err(Errno::EAGAIN) => {}
            // It would be given once more.
            Err(errno) => drop(self.fail(errno)),
        }
    }

    /// Keeps what was taken for the next attempt.
    fn keep(&mut self) {
        let Self { source, spool, limit, unkept, .. } = self;
        let kept = source.keep(|bytes| {
            let length = spool.length().saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            let why = match unkept {
                Some(_) => return,
                None if length > *limit => Some(Unkept::TooLong { limit: *limit }),
                None => spool.push(bytes).err().map(|why| Unkept::NoRoom {
                    directory: why.directory.to_string_lossy().into_owned(),
                    why: why.errno.desc().to_owned(),
                }),
            };
            if why.is_some() {
                *unkept = why;
                // Nobody will read it: no attempt follows.
                *spool = Spool::default();
            }
        });
        if let Err(errno) = kept {
            self.fail(errno);
        }
        self.position = self.spool.length();
    }

    /// Nobody reads the command's pipe any more.
    pub(crate) fn reader_gone(&mut self) {
        if let Some(end) = self.end.take() {
            self.settle(unread(end.as_fd()));
            self.keep();
        }
    }

    /// No attempt follows: the source is left to others.
    pub(crate) fn leave(&mut self) {
        self.source.leave();
    }

    /// The attempt is over: what it has not read stays with the source. Why no other may follow, if so.
    ///
    /// # Errors
    /// What the source said that was not its end.
    pub(crate) fn attempt_over(&mut self) -> nix::Result<Option<Unkept>> {
        if let Some(end) = self.end.take() {
            self.settle(take_back(end.as_fd()));
            self.keep();
        }
        self.given = 0;
        match self.failed.take() {
            Some(errno) => Err(errno),
            None => Ok(self.unkept.clone()),
        }
    }
}

/// How much a pipe holds, in bytes.
fn unread(pipe: BorrowedFd<'_>) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int (ioctl_tty(2), pipe(7)).
    let result = unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    if result == 0 { usize::try_from(count).unwrap_or(0) } else { 0 }
}

/// Takes what a pipe holds out of it, so that a background process cannot read it any more, and tells how much
/// it was, in bytes. `pipe` is the end to write to.
fn take_back(pipe: BorrowedFd<'_>) -> usize {
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let Ok(reader) = open(path.as_str(), flags, Mode::empty()) else { return unread(pipe) };
    let (mut count, mut part) = (0, vec![0; PART]);
    loop {
        match read(&reader, &mut part) {
            Ok(0) | Err(Errno::EAGAIN) => return count,
            Ok(length) => count += length,
            Err(Errno::EINTR) => {}
            Err(_) => return count.max(unread(pipe)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn looks_are_as_often_as_the_command_is_fast() {
        let start = micros(1_000_000);
        let after = |unread, since_start: u64, changed_before: u64| {
            let mut look = Look::new(64_000, start);
            let now = start + micros(since_start);
            look.see(unread, now.saturating_sub(micros(changed_before)));
            look.see(unread, now);
            look.again.unwrap().checked_sub(now).unwrap()
        };
        // Nothing yet: soon, and less often the longer it stands.
        assert_eq!(after(64_000, 0, 0), LOOKS.0);
        assert_eq!(after(64_000, 8000, 0), micros(1000));
        assert_eq!(after(64_000, 80_000_000, 0), LOOKS.1);
        // Half of the time that the rest takes at this speed.
        assert_eq!(after(32_000, 1000, 0), micros(500));
        assert_eq!(after(48_000, 1000, 0), micros(1500));
        assert_eq!(after(1, 1000, 0), LOOKS.0);
        // Most is read, and then it stands.
        assert_eq!(after(1, 801_000, 800_000), LOOKS.1);
        assert_eq!(after(1, 9000, 8000), micros(1000));
    }
}
