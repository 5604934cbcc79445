//! Replay: the command reads from a pipe of its own what retry's standard input, a pipe or a socket, has, and
//! after a failure the next attempt reads it again.
//!
//! What an earlier attempt has read is kept, and comes first. What none has read yet is put into the pipe
//! without taking it from the input, and taken as the command reads it; so what no attempt reads stays where
//! it was. New bytes can be put there only once the pipe is empty: the kernel shows a source from its beginning
//! only. It does not tell when a pipe has become empty, so that is looked at now and then.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;

use super::end::{End, unread};
use super::source::{HALF, PART, Source};
use super::spool::Spool;
use crate::policy::outcome::Unkept;

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
    /// Our end of what it reads, until it has all, or nobody reads it.
    end: Option<End>,
    /// How much of what is kept has been put there.
    position: u64,
    /// How much was put there that the source still has.
    given: usize,
    waits: Waits,
    /// What was kept cannot be read back.
    failed: Option<Errno>,
    part: Vec<u8>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// Room in what the command reads.
    Room,
    /// That the command reads something.
    Read(Look),
    /// More from the source.
    More,
    /// The same where the source says that there is something, and gives nothing: for so long, and until then.
    Quiet { pause: Duration, until: Duration },
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
        self.spool.length() == 0 && !self.source.reads_ahead() && self.unkept.is_none()
    }

    /// What the next attempt reads; another may follow it where it `keeps`.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(crate) fn open(&mut self, keeps: bool) -> nix::Result<OwnedFd> {
        if keeps {
            self.source.prepare()?;
        }
        let (theirs, end) = if self.source.is_socket() {
            End::socket()?
        } else {
            End::pipe(if keeps { HALF } else { PART })?
        };
        // The command finds its own as it would have found the shared one.
        let shared = OFlag::from_bits_retain(fcntl(Source::fd(), FcntlArg::F_GETFL)?);
        if shared.contains(OFlag::O_NONBLOCK) {
            let flags = OFlag::from_bits_retain(fcntl(&theirs, FcntlArg::F_GETFL)?);
            fcntl(&theirs, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        }
        self.end = Some(end);
        self.keeps = keeps;
        (self.position, self.given, self.waits) = (0, 0, Waits::Room);
        Ok(theirs)
    }

    /// The next attempt has the source itself, for want of descriptors: none can follow it.
    pub(crate) fn hand_over(&mut self, errno: Errno) {
        self.unkept = Some(Unkept::HandedOver { why: errno.desc().to_owned() });
    }

    /// Closes a descriptor that replay can do without. Tells whether there was one.
    pub(crate) fn spare_descriptor(&mut self) -> bool {
        self.source.spare_descriptor()
    }

    /// What to poll(2) for; whether it is the command's pipe, which loses its reader.
    pub(crate) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags, bool)> {
        let to = self.end.as_ref()?.to()?;
        match self.waits {
            Waits::Room | Waits::Read(Look { again: None, .. }) => Some((to, PollFlags::POLLOUT, true)),
            // Without a flag poll still tells that nobody reads it any more.
            Waits::Read(_) | Waits::Quiet { .. } => Some((to, PollFlags::empty(), true)),
            Waits::More => Some((Source::fd(), PollFlags::POLLIN, false)),
        }
    }

    /// When to look although nothing happens (time since boot).
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        self.end.as_ref()?.to()?;
        match self.waits {
            Waits::Read(look) => look.again,
            Waits::Quiet { until, .. } => Some(until),
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
        let Some(to) = self.end.as_ref().and_then(End::to) else { return false };
        if self.position < self.spool.length() {
            self.part.resize(PART, 0);
            let length = match self.spool.read_at(self.position, &mut self.part) {
                Ok(length) if length > 0 => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
                other => {
                    let errno = other.err().and_then(|error| error.raw_os_error()).map(Errno::from_raw);
                    self.failed.get_or_insert(errno.unwrap_or(Errno::EIO));
                    self.end = None;
                    return false;
                }
            };
            match write(to, self.part.get(..length).unwrap_or_default()) {
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
        let unread = self.end.as_ref().map_or(0, End::unread);
        self.settle(unread);
        if unread > 0 {
            self.waits = match self.waits {
                Waits::Read(mut look) => {
                    look.see(unread, now);
                    Waits::Read(look)
                }
                // The end of what was kept.
                Waits::Room | Waits::More | Waits::Quiet { .. } => {
                    let mut look = Look::new(unread, now);
                    look.see(unread, now);
                    Waits::Read(look)
                }
            };
            return false;
        }
        let Some(to) = self.end.as_ref().and_then(End::to) else { return false };
        match self.source.give(to, self.keeps && self.unkept.is_none()) {
            Ok(0) => {
                if let Some(end) = self.end.take() {
                    end.close();
                }
                false
            }
            // The pipe may be full: then it tells when that ends.
            Ok(given) => {
                self.given = given;
                self.waits = Waits::Read(Look::new(given, now));
                if self.all_is_given()
                    && let Some(end) = self.end.take()
                {
                    self.end = Some(end.whole());
                }
                false
            }
            Err(Errno::EAGAIN) => {
                self.waits = match self.waits {
                    _ if !Source::is_ready() => Waits::More,
                    Waits::Quiet { pause, .. } => {
                        let pause = (pause * 2).min(LOOKS.1);
                        Waits::Quiet { pause, until: now.saturating_add(pause) }
                    }
                    Waits::Room | Waits::Read(_) | Waits::More => {
                        Waits::Quiet { pause: LOOKS.0, until: now.saturating_add(LOOKS.0) }
                    }
                };
                false
            }
            Err(Errno::EINTR) => true,
            // Nobody reads.
            Err(Errno::EPIPE) => {
                self.end = None;
                false
            }
            Err(errno) => {
                self.break_off(errno);
                false
            }
        }
    }

    /// Whether what was given is all that the source will ever have: nobody writes any more.
    fn all_is_given(&self) -> bool {
        if self.source.is_socket() || self.source.reads_ahead() {
            return false;
        }
        let mut hung = [PollFd::new(Source::fd(), PollFlags::empty())];
        poll(&mut hung, PollTimeout::ZERO) == Ok(1)
            && hung[0].revents() == Some(PollFlags::POLLHUP)
            && unread(Source::fd()) == self.given
    }

    /// The input cannot be read on: the command finds it broken as well, and no other attempt can have it.
    fn break_off(&mut self, errno: Errno) {
        self.unkept = Some(Unkept::Broken { why: errno.desc().to_owned() });
        self.spool = Spool::default();
        self.position = 0;
        self.end = None;
    }

    /// Takes from the source what the command has read of it, all that was given but the last `unread` bytes,
    /// and keeps it for the next attempt.
    fn settle(&mut self, unread: usize) {
        let read = self.given.saturating_sub(unread);
        if read == 0 {
            return;
        }
        self.given -= read;
        let taken = self.source.take(read);
        if self.keeps && self.unkept.is_none() {
            self.keep(read);
        } else {
            let _ = self.source.kept(read);
        }
        if let Err(errno) = taken {
            // It would be given once more.
            self.break_off(errno);
        }
    }

    fn keep(&mut self, count: usize) {
        let Self { source, spool, limit, unkept, .. } = self;
        let bytes = source.kept(count);
        let length = spool.length().saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        *unkept = if length > *limit {
            Some(Unkept::TooLong { limit: *limit })
        } else {
            spool.push(bytes).err().map(|why| Unkept::NoRoom {
                hint: why.is_of_the_place(),
                directory: why.directory.to_string_lossy().into_owned(),
                why: why.errno.desc().to_owned(),
            })
        };
        if unkept.is_some() {
            // Nobody will read it: no attempt follows.
            *spool = Spool::default();
        }
        self.position = self.spool.length();
    }

    /// Nobody reads the command's pipe any more.
    pub(crate) fn reader_gone(&mut self) {
        if let Some(end) = self.end.take() {
            self.settle(end.unread());
        }
    }

    /// The attempt is over: what it has not read stays with the source. Why no other may follow, if so.
    ///
    /// # Errors
    /// Where what was kept could not be read back.
    pub(crate) fn attempt_over(&mut self) -> nix::Result<Option<Unkept>> {
        if let Some(end) = self.end.take() {
            self.settle(end.take_back());
        }
        self.given = 0;
        self.failed.take().map_or(Ok(self.unkept.clone()), Err)
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
