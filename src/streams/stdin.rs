//! The standard input of every attempt.
//!
//! `--stdin replay` gives every attempt the same bytes. Of a file, each attempt gets an open file
//! description of its own. The bytes of a pipe or a stream socket come from a
//! [`feed`](super::feed). The command inherits everything else: a terminal or another device, a
//! socket of messages, a socket that is also standard output, a directory, or a closed stream.

use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::poll::PollFlags;
use nix::sys::socket::sockopt::{AcceptConn, SockType};
use nix::sys::socket::{SockType as Type, SockaddrStorage, getpeername, getsockopt};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{Whence, lseek};

use super::descriptor::{file_kind, lift};
use super::feed::Feed;
use super::polled::{Interest, Polled};
use super::source::Source;
use super::standard::{self, Standard as _};
use crate::error::{Doing as _, Error, errno};
use crate::policy::outcome::Unkept;
use crate::policy::stream::Stream;

/// The value of `--stdin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stdin {
    /// The same bytes for every attempt. At most `limit` bytes are kept.
    Replay { limit: u64 },
    /// retry's own input. Each attempt reads on where the last one stopped.
    Inherit,
    /// `/dev/null`.
    Null,
}

/// The input of all attempts.
#[derive(Debug)]
pub(crate) struct Input {
    stdin: Stdin,
    kind: Option<Kind>,
}

/// How the input is replayed.
#[derive(Debug)]
enum Kind {
    /// It is not: the command has retry's own.
    Inherited,
    Seekable(Seekable),
    Feed(Box<Feed>),
}

/// A file, or a block device.
#[derive(Debug)]
struct Seekable {
    /// The offset at which retry found it.
    start: i64,
    /// The flags with which it was opened.
    flags: OFlag,
    /// The shared description holds a lock, and the command may depend on it (flock(2)).
    locked: bool,
    /// The description of the last attempt, if it had its own.
    own: Option<OwnedFd>,
    /// The shared offset, when retry and its commands left it. Another one tells that somebody else
    /// has read.
    left_at: i64,
    /// The furthest shared offset to which somebody else has read, if anybody has.
    others: Option<i64>,
}

impl Input {
    pub(crate) fn new(stdin: Stdin) -> Self {
        Self { stdin, kind: None }
    }

    /// Opens the input of the next attempt, which may be the `last`. Returns None if the attempt
    /// gets retry's own.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub(crate) fn open(&mut self, last: bool) -> Result<Option<OwnedFd>, Error> {
        let limit = match self.stdin {
            Stdin::Inherit => return Ok(None),
            Stdin::Null => return null(OFlag::O_RDONLY).map(Some).doing("cannot open /dev/null"),
            Stdin::Replay { limit } => limit,
        };
        if last && self.kind.is_none() {
            return Ok(None);
        }
        match self.kind.get_or_insert_with(|| Kind::find(limit)) {
            Kind::Inherited => Ok(None),
            Kind::Seekable(file) => file.open(last).doing("cannot rewind stdin"),
            Kind::Feed(feed) if last && feed.is_untouched() => Ok(None),
            Kind::Feed(feed) => match feed.open(!last) {
                Err(errno @ (Errno::EMFILE | Errno::ENFILE)) if feed.is_untouched() => {
                    feed.hand_over(errno);
                    Ok(None)
                }
                opened => opened.map(Some).doing("cannot open a pipe"),
            },
        }
    }

    fn feed(&mut self) -> Option<&mut Feed> {
        match &mut self.kind {
            Some(Kind::Feed(feed)) => Some(feed),
            Some(Kind::Inherited | Kind::Seekable(_)) | None => None,
        }
    }

    /// Moves what can be moved at a time since boot.
    pub(crate) fn turn(&mut self, now: impl FnOnce() -> Duration) {
        if let Some(feed) = self.feed() {
            feed.turn(now());
        }
    }

    /// The attempt is over. Returns why no other attempt can have the same input, if none can.
    ///
    /// # Errors
    /// If the bytes that were kept could not be read back.
    pub(crate) fn attempt_over(&mut self) -> Result<Option<Unkept>, Error> {
        if let Some(Kind::Seekable(file)) = &mut self.kind {
            file.attempt_over();
        }
        self.feed().map_or(Ok(None), Feed::attempt_over).doing("cannot read the stored copy of stdin")
    }

    /// The run is over. A process that shares a file with retry reads on where the last attempt
    /// stopped.
    pub(crate) fn leave(&mut self) {
        if let Some(Kind::Seekable(file)) = &mut self.kind {
            file.leave();
        }
    }
}

impl Polled for Input {
    fn interests(&mut self) -> Vec<Interest<'_>> {
        self.feed().map_or_else(Vec::new, Polled::interests)
    }

    fn ready(&mut self, events: &[PollFlags]) {
        if let Some(feed) = self.feed() {
            feed.ready(events);
        }
    }

    fn wake_at(&self) -> Option<Duration> {
        match &self.kind {
            Some(Kind::Feed(feed)) => feed.wake_at(),
            Some(Kind::Inherited | Kind::Seekable(_)) | None => None,
        }
    }
}

/// Opens `/dev/null` above the standard streams, close-on-exec.
///
/// # Errors
/// The errors of open(2).
pub(crate) fn null(mode: OFlag) -> nix::Result<OwnedFd> {
    lift(open("/dev/null", mode | OFlag::O_CLOEXEC, Mode::empty())?)
}

impl Kind {
    fn find(limit: u64) -> Self {
        let fd = standard::input();
        let Ok(stat) = fstat(fd) else { return Self::Inherited };
        let flags = fcntl(fd, FcntlArg::F_GETFL).map_or(OFlag::O_PATH, OFlag::from_bits_retain);
        if flags.contains(OFlag::O_PATH) || flags & OFlag::O_ACCMODE == OFlag::O_WRONLY {
            return Self::Inherited;
        }
        match file_kind(&stat) {
            SFlag::S_IFREG | SFlag::S_IFBLK => match lseek(fd, 0, Whence::SeekCur) {
                Ok(start) => Self::Seekable(Seekable::new(start, flags)),
                Err(_) => Self::Inherited,
            },
            // The command may write to it too, or may want its packets (pipe(7), O_DIRECT).
            SFlag::S_IFIFO if flags.intersects(OFlag::O_RDWR | OFlag::O_DIRECT) => Self::Inherited,
            SFlag::S_IFIFO => Self::Feed(Box::new(Feed::new(Source::Pipe(None), limit))),
            SFlag::S_IFSOCK if is_one_way_stream(fd) => {
                Self::Feed(Box::new(Feed::new(Source::Socket, limit)))
            }
            _ => Self::Inherited,
        }
    }
}

/// Whether the description of the standard input holds a lock (proc_pid_fdinfo(5)).
fn is_locked() -> bool {
    std::fs::read_to_string("/proc/self/fdinfo/0").is_ok_and(|text| text.contains("\nlock:"))
}

/// Whether a socket is a connected stream, and is not standard output too. A command that has the
/// socket as both may expect one socket.
fn is_one_way_stream(fd: impl AsFd) -> bool {
    let identity = |fd: &dyn AsFd| fstat(fd.as_fd()).ok().map(|stat| (stat.st_dev, stat.st_ino));
    getsockopt(&fd, SockType) == Ok(Type::Stream)
        && getsockopt(&fd, AcceptConn) == Ok(false)
        && getpeername::<SockaddrStorage>(fd.as_fd().as_raw_fd()).is_ok()
        && identity(&fd) != identity(&Stream::Stdout.fd())
}

impl Seekable {
    fn new(start: i64, flags: OFlag) -> Self {
        Self { start, flags, locked: is_locked(), own: None, left_at: start, others: None }
    }

    /// Opens a description of the attempt's own, at the start. The last attempt gets the shared
    /// description, unless somebody else has moved that. If the system refuses to open the file
    /// again (the user may not open it, or there is no /proc), retry sets the shared description
    /// back.
    ///
    /// # Errors
    /// If the shared description cannot be set back.
    fn open(&mut self, last: bool) -> nix::Result<Option<OwnedFd>> {
        self.own = None;
        let now = self.look()?;
        if (!last || now != self.start)
            && !self.locked
            && let Ok((theirs, ours)) = self.reopen()
        {
            self.own = Some(ours);
            return Ok(Some(theirs));
        }
        if now != self.start {
            lseek(standard::input(), self.start, Whence::SeekSet)?;
        }
        Ok(None)
    }

    /// Returns the shared offset, and notes whether another process has moved it since retry left
    /// it.
    fn look(&mut self) -> nix::Result<i64> {
        let now = lseek(standard::input(), 0, Whence::SeekCur)?;
        if now != self.left_at {
            self.others = self.others.max(Some(now));
            self.left_at = now;
        }
        Ok(now)
    }

    /// The attempt is over. If it had the shared description, its reads look like reads of other
    /// processes.
    fn attempt_over(&mut self) {
        if self.own.is_none()
            && let Ok(now) = lseek(standard::input(), 0, Whence::SeekCur)
        {
            self.left_at = now;
        }
    }

    /// Sets the shared offset to where the last attempt stopped, but never back past what another
    /// process has read.
    fn leave(&mut self) {
        let Ok(now) = self.look() else { return };
        let own = self.own.as_ref().and_then(|own| lseek(own, 0, Whence::SeekCur).ok());
        let to = match (own, self.others) {
            // Nobody else has read. The command may have gone back by itself.
            (Some(own), None) => own,
            (own, others) => own.max(others).unwrap_or(now).max(now),
        };
        if to != now {
            // A relative step is atomic, so it does not go back past a read at the same moment. If
            // the offset cannot be set, retry can do nothing about it.
            let _ = lseek(standard::input(), to.saturating_sub(now), Whence::SeekCur);
        }
    }

    /// Opens a new description, and returns two descriptors of it.
    fn reopen(&self) -> nix::Result<(OwnedFd, OwnedFd)> {
        let kept = OFlag::O_ACCMODE | OFlag::O_APPEND | OFlag::O_NONBLOCK | OFlag::O_DIRECT;
        let flags = (self.flags & kept) | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
        let path = format!("/proc/self/fd/{}", standard::input().as_raw_fd());
        let theirs = lift(open(path.as_str(), flags, Mode::empty())?)?;
        lseek(&theirs, self.start, Whence::SeekSet)?;
        let ours = theirs.try_clone().map_err(|error| errno(&error))?;
        Ok((theirs, ours))
    }
}
