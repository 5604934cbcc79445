//! Replay of a pipe or a socket: each attempt reads the same bytes from a pipe (or socket) of its
//! own.
//!
//! The bytes that earlier attempts have read are kept, and come first. The feed then copies the
//! next bytes of the input into the command's pipe, and takes them from the input only when the
//! command has read them. So the bytes that no attempt reads stay in the input.
//!
//! The feed can copy more only when the command's pipe is empty, because the kernel shows an input
//! from its beginning only. [`Pace`] decides how often the feed looks at that.

use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;

use super::end::{End, unread};
use super::pace::{LONGEST, Pace, SHORTEST};
use super::polled::{Interest, Polled, has_gone};
use super::preview::Preview;
use super::source::{self, PIPE, Source, WINDOW};
use super::spool::{NotKept, Spool};
use crate::error::errno;
use crate::policy::outcome::Unkept;

/// How many steps the feed makes before the caller looks at signals and the clock again.
const STEPS: usize = 16;

/// One input for all attempts.
#[derive(Debug)]
pub(crate) struct Feed {
    source: Source,
    /// The bytes that attempts have read. Bytes behind `position` are for the attempt that runs.
    spool: Spool,
    /// How many bytes of the spool were put into the command's pipe.
    position: u64,
    /// The most bytes to keep.
    limit: u64,
    /// Why the bytes are not kept any more.
    unkept: Option<Unkept>,
    /// Another attempt may follow the attempt that runs.
    may_follow: bool,
    /// Our end of the command's input. None once the command has everything or does not read any
    /// more.
    end: Option<End>,
    /// The bytes that were copied, and how many of them are in the command's pipe.
    preview: Preview,
    given: usize,
    /// Bytes that were taken from the input and that the command has yet to get, behind the
    /// preview.
    further: Vec<u8>,
    wait: Wait,
    /// The bytes that were kept cannot be read back.
    failed: Option<Errno>,
    part: Vec<u8>,
}

/// The reason why the feed waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// Room in the command's pipe.
    Room,
    /// The command has bytes to read.
    Reading(Pace),
    /// More from the input.
    More,
    /// More from an input that reports bytes and gives none. It is asked again after this pause.
    Quiet { pause: Duration, until: Duration },
}

/// Whether the feed can do more now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Again,
    Wait,
}

impl Feed {
    /// Keeps at most `limit` bytes of this input.
    pub(crate) fn new(source: Source, limit: u64) -> Self {
        Self {
            source,
            spool: Spool::default(),
            position: 0,
            limit,
            unkept: None,
            may_follow: true,
            end: None,
            preview: Preview::default(),
            given: 0,
            further: Vec::new(),
            wait: Wait::Room,
            failed: None,
            part: Vec::new(),
        }
    }

    /// Whether no attempt has read anything. The last attempt may then have the input itself.
    pub(crate) fn is_untouched(&self) -> bool {
        self.spool.length() == 0 && !self.source.reads_ahead() && self.unkept.is_none()
    }

    /// Opens the input of the next attempt.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub(crate) fn open(&mut self, may_follow: bool) -> nix::Result<OwnedFd> {
        self.source.prepare()?;
        let (theirs, end) = if self.source.is_socket() { End::socket()? } else { End::pipe(WINDOW)? };
        // The command finds its own pipe in the mode in which it would have found the shared one.
        let shared = OFlag::from_bits_retain(fcntl(source::fd(), FcntlArg::F_GETFL)?);
        if shared.contains(OFlag::O_NONBLOCK) {
            let flags = OFlag::from_bits_retain(fcntl(&theirs, FcntlArg::F_GETFL)?);
            fcntl(&theirs, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        }
        self.end = Some(end);
        self.may_follow = may_follow;
        (self.position, self.given, self.wait) = (0, 0, Wait::Room);
        Ok(theirs)
    }

    /// The next attempt gets the input itself, because no descriptor is left. No attempt can follow
    /// it.
    pub(crate) fn hand_over(&mut self, errno: Errno) {
        self.unkept = Some(Unkept::HandedOver { why: errno.desc().to_owned() });
    }

    /// Moves what can be moved at this time since boot.
    pub(crate) fn turn(&mut self, now: Duration) {
        for _ in 0..STEPS {
            if self.step(now) == Step::Wait {
                return;
            }
        }
    }

    fn step(&mut self, now: Duration) -> Step {
        if self.end.as_ref().and_then(End::to).is_none() {
            return Step::Wait;
        }
        if self.position < self.spool.length() {
            return self.repeat();
        }
        let unread = self.end.as_ref().map_or(0, End::unread);
        self.settle(unread);
        if self.position < self.spool.length() {
            return Step::Again;
        }
        if unread > 0 {
            let pace = match self.wait {
                Wait::Reading(pace) => pace,
                // The command has the end of what was kept to read.
                Wait::Room | Wait::More | Wait::Quiet { .. } => Pace::new(unread, now),
            };
            self.wait = Wait::Reading(pace.after_look(unread, now));
            return Step::Wait;
        }
        self.give(now)
    }

    /// Writes bytes that were kept to the command's pipe.
    fn repeat(&mut self) -> Step {
        let Some(to) = self.end.as_ref().and_then(End::to) else { return Step::Wait };
        self.part.resize(PIPE, 0);
        let length = match self.spool.read_at(self.position, &mut self.part) {
            Ok(length) if length > 0 => length,
            other => {
                self.failed.get_or_insert(other.map_or_else(|error| errno(&error), |_| Errno::EIO));
                self.end = None;
                return Step::Wait;
            }
        };
        match write(to, self.part.get(..length).unwrap_or_default()) {
            Ok(written) => self.position += u64::try_from(written).unwrap_or(0),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                self.wait = Wait::Room;
                return Step::Wait;
            }
            Err(_) => self.end = None,
        }
        Step::Again
    }

    /// Copies the next bytes of the input into the command's pipe, which is empty.
    fn give(&mut self, now: Duration) -> Step {
        let Some(to) = self.end.as_ref().and_then(End::to) else { return Step::Wait };
        // Bytes that were read ahead may still have to be given.
        if self.preview.unread().is_empty() || !self.source.reads_ahead() {
            match self.source.peek() {
                Ok(next) => self.preview = Preview::new(next),
                Err(errno) => return self.without_next(errno, now),
            }
        }
        if self.preview.unread().is_empty() {
            if let Some(end) = self.end.take() {
                end.close();
            }
            return Step::Wait;
        }
        match write(to, self.preview.unread()) {
            Ok(given) => {
                self.given = given;
                if !self.source.reads_ahead() {
                    self.preview.shorten(given);
                }
                // If the pipe is full, poll(2) reports when it is not.
                self.wait = Wait::Reading(Pace::new(given, now));
                if self.all_is_given() {
                    self.end = self.end.take().map(End::whole);
                }
                Step::Wait
            }
            Err(Errno::EINTR) => Step::Again,
            Err(Errno::EAGAIN) => {
                self.wait = Wait::Room;
                Step::Wait
            }
            // EPIPE: the command does not read any more.
            Err(_) => {
                self.end = None;
                Step::Wait
            }
        }
    }

    /// The input has given no bytes.
    fn without_next(&mut self, errno: Errno, now: Duration) -> Step {
        match errno {
            Errno::EINTR => return Step::Again,
            Errno::EAGAIN if source::is_ready() => {
                let pause = match self.wait {
                    Wait::Quiet { pause, .. } => (pause * 2).min(LONGEST),
                    Wait::Room | Wait::Reading(_) | Wait::More => SHORTEST,
                };
                self.wait = Wait::Quiet { pause, until: now.saturating_add(pause) };
            }
            Errno::EAGAIN => self.wait = Wait::More,
            errno => self.break_off(errno),
        }
        Step::Wait
    }

    /// Whether the command has been given everything that the input will ever have: nobody writes
    /// to it.
    fn all_is_given(&self) -> bool {
        if self.source.is_socket() || self.source.reads_ahead() {
            return false;
        }
        let mut hung = [PollFd::new(source::fd(), PollFlags::empty())];
        poll(&mut hung, PollTimeout::ZERO) == Ok(1)
            && hung[0].revents() == Some(PollFlags::POLLHUP)
            && unread(source::fd()) == self.given
    }

    /// The input cannot be read on. The command finds it broken too, and no other attempt can have
    /// it.
    fn break_off(&mut self, errno: Errno) {
        self.unkept = Some(Unkept::Broken { why: errno.desc().to_owned() });
        self.spool = Spool::default();
        self.position = 0;
        self.end = None;
    }

    /// Whether bytes that the command reads are kept for another attempt.
    fn keeps(&self) -> bool {
        self.may_follow && self.unkept.is_none()
    }

    /// The command has read all that it was given except the last `unread` bytes: takes these bytes
    /// from the input, and keeps them for the next attempt.
    fn settle(&mut self, unread: usize) {
        let read = self.given.saturating_sub(unread);
        if read == 0 {
            return;
        }
        self.given -= read;
        let bytes = self.preview.advance(read).to_vec();
        let taken = self.source.take(&mut self.preview);
        if self.keeps() {
            self.keep(&bytes);
            self.position = self.spool.length();
        }
        match taken {
            Ok(further) => self.further.extend(further),
            // The command would get the bytes once more.
            Err(errno) => return self.break_off(errno),
        }
        if self.given == 0 && !self.further.is_empty() {
            self.queue_further();
        }
    }

    /// Puts bytes that another reader has made retry take behind what the command was given.
    fn queue_further(&mut self) {
        let further = std::mem::take(&mut self.further);
        if !self.keeps() {
            // The command has all of the spool, and no attempt reads it again.
            (self.spool, self.position) = (Spool::default(), 0);
        }
        if let Err(why) = self.spool.push(&further) {
            if self.keeps() {
                self.unkept = Some(no_room(&why));
            }
            // The bytes fit into the memory of an empty spool.
            (self.spool, self.position) = (Spool::default(), 0);
            let _ = self.spool.push(&further);
        }
    }

    /// Adds bytes to the spool for the next attempt.
    fn keep(&mut self, bytes: &[u8]) {
        let length = self.spool.length().saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.unkept = if length > self.limit {
            Some(Unkept::TooLong { limit: self.limit })
        } else {
            self.spool.push(bytes).err().map(|why| no_room(&why))
        };
        if self.unkept.is_some() {
            // No attempt follows that would read it.
            self.spool = Spool::default();
        }
    }

    /// Nobody reads the command's pipe any more.
    fn reader_gone(&mut self) {
        if let Some(end) = self.end.take() {
            self.settle(end.unread());
        }
    }

    /// The attempt is over. The bytes that it has not read stay in the input. Returns why no other
    /// attempt can follow, if none can.
    ///
    /// # Errors
    /// If the bytes that were kept could not be read back.
    pub(crate) fn attempt_over(&mut self) -> nix::Result<Option<Unkept>> {
        if let Some(end) = self.end.take() {
            self.settle(end.take_back());
        }
        self.given = 0;
        if !self.source.reads_ahead() {
            // Only the next attempt can still get what was taken too early.
            let rest = [self.preview.only_here(), std::mem::take(&mut self.further)].concat();
            self.preview = Preview::default();
            if self.keeps() && !rest.is_empty() {
                self.keep(&rest);
            }
        }
        self.failed.take().map_or(Ok(self.unkept.clone()), Err)
    }
}

fn no_room(why: &NotKept) -> Unkept {
    Unkept::NoRoom {
        hint: why.is_of_the_place(),
        directory: why.directory.to_string_lossy().into_owned(),
        why: why.errno.desc().to_owned(),
    }
}

impl Polled for Feed {
    fn interests(&mut self) -> Vec<Interest<'_>> {
        let Some(to) = self.end.as_ref().and_then(End::to) else { return Vec::new() };
        let interest = match self.wait {
            Wait::More => Interest { fd: source::fd(), flags: PollFlags::POLLIN },
            Wait::Room => Interest { fd: to, flags: PollFlags::POLLOUT },
            Wait::Reading(pace) if pace.look_at().is_none() => Interest { fd: to, flags: PollFlags::POLLOUT },
            Wait::Reading(_) | Wait::Quiet { .. } => Interest { fd: to, flags: PollFlags::empty() },
        };
        vec![interest]
    }

    fn ready(&mut self, events: &[PollFlags]) {
        let is_of_the_command = self.wait != Wait::More;
        if is_of_the_command && events.iter().any(|events| has_gone(*events)) {
            self.reader_gone();
        }
    }

    fn wake_at(&self) -> Option<Duration> {
        self.end.as_ref()?.to()?;
        match self.wait {
            Wait::Reading(pace) => pace.look_at(),
            Wait::Quiet { until, .. } => Some(until),
            Wait::Room | Wait::More => None,
        }
    }
}
