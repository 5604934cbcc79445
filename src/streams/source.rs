//! Where replayed input comes from: what its next bytes are can be seen before they are taken, so that what
//! the command does not read stays there for whoever reads after it.
//!
//! This is the seam between what only Linux has (tee(2), and MSG_PEEK on a socket) and reading ahead, which
//! every system has: there what has been read and not been wanted is lost to others.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice, tee};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};
use nix::unistd::{pipe2, read, write};

use super::alarm::interrupted;
use super::descriptor::{above_standard, lift};
use super::sink::Stream;

/// How much is moved at a time: what a pipe holds (pipe(7)), in bytes.
pub(crate) const PART: usize = 64 * 1024;

/// What a pipe holds where nobody has changed that (pipe(7)), in bytes.
const USUAL: i32 = 64 * 1024;

/// How much passes until it pays to give the shared pipe more room, in bytes.
const MANY: usize = 1024 * 1024;

/// How long a read may take where poll(2) has said that there is something: another reader may have been faster.
const SOON: Duration = Duration::from_millis(20);

/// The standard input of retry itself, a pipe or a stream socket.
#[derive(Debug)]
pub(crate) enum Source {
    /// A pipe or FIFO: its pages are shared with the command's, and spliced away once it has read them.
    Pipe(Pipe),
    /// A stream socket.
    Socket(Socket),
    /// Either, where the kernel has no tee(2).
    Ahead(Ahead),
}

impl Source {
    pub(crate) fn pipe() -> Self {
        Self::Pipe(Pipe::default())
    }

    pub(crate) fn socket() -> Self {
        Self::Socket(Socket::default())
    }

    /// What tells by POLLIN that there is something to give.
    pub(crate) fn fd() -> BorrowedFd<'static> {
        Stream::Stdin.fd()
    }

    /// Makes ready what taking needs.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(crate) fn prepare(&mut self) -> nix::Result<()> {
        match self {
            Self::Pipe(pipe) => pipe.prepare(),
            Self::Socket(_) | Self::Ahead(_) => Ok(()),
        }
    }

    /// Puts the next bytes into an empty pipe whose end `to` does not block, without taking them; returns how
    /// many, 0 at the end of the input.
    ///
    /// # Errors
    /// EAGAIN where there is nothing yet, EPIPE where nobody reads the pipe, and what the input itself says.
    pub(crate) fn give(&mut self, to: BorrowedFd<'_>) -> nix::Result<usize> {
        match self {
            Self::Pipe(_) => match tee(Self::fd(), to, PART, SpliceFFlags::SPLICE_F_NONBLOCK) {
                // No such call here (ENOSYS), forbidden (seccomp(2)), or not for this kind of pipe.
                Err(Errno::ENOSYS | Errno::EPERM | Errno::EINVAL | Errno::EOPNOTSUPP) => {
                    *self = Self::Ahead(Ahead::default());
                    self.give(to)
                }
                given => given,
            },
            Self::Socket(socket) => socket.give(to),
            Self::Ahead(ahead) => ahead.give(to),
        }
    }

    /// Takes the first `count` bytes of what was given last, as the command has read them: to be
    /// [kept](Self::keep), or for good.
    ///
    /// # Errors
    /// What the input says; fewer are taken where another process has taken some.
    pub(crate) fn take(&mut self, count: usize, for_good: bool) -> nix::Result<()> {
        match self {
            Self::Pipe(pipe) => pipe.take(count, for_good),
            Self::Socket(socket) => socket.take(count, for_good),
            Self::Ahead(ahead) => {
                ahead.take(count, for_good);
                Ok(())
            }
        }
    }

    /// Hands over what was taken to be kept. That may take longer than taking it, so the command has its next
    /// bytes before.
    ///
    /// # Errors
    /// What reading it back says.
    pub(crate) fn keep(&mut self, keep: impl FnMut(&[u8])) -> nix::Result<()> {
        match self {
            Self::Pipe(pipe) => pipe.keep(keep),
            Self::Socket(Socket { taken, .. }) | Self::Ahead(Ahead { taken, .. }) => {
                let mut keep = keep;
                if !taken.is_empty() {
                    keep(taken);
                    taken.clear();
                }
                Ok(())
            }
        }
    }

    /// Nothing more is read by retry: leaves the input as it was.
    pub(crate) fn leave(&mut self) {
        match self {
            Self::Pipe(pipe) => pipe.restore(),
            Self::Socket(_) | Self::Ahead(_) => {}
        }
    }

    /// Whether it reads more than the command does.
    pub(crate) fn reads_ahead(&self) -> bool {
        matches!(self, Self::Ahead(_))
    }
}

/// A pipe's bytes on their way to be kept or dropped.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    /// A pipe of retry's own: from a shared one only splice(2) reads without ever waiting there.
    way: Option<(OwnedFd, OwnedFd)>,
    /// `/dev/null`, which takes pages without looking at them, where it was needed and is there.
    void: Option<File>,
    /// How much is in that pipe, in bytes.
    held: usize,
    part: Vec<u8>,
    /// How much was taken in all, in bytes; counted up to [`MANY`].
    taken: usize,
    /// The shared pipe holds more than it did.
    grown: bool,
}

impl Pipe {
    /// So much more was taken. The command and what writes the pipe cannot both have a pipe of the usual size:
    /// while the one has it all before it, the other waits. Twice the size, and they run side by side.
    fn count(&mut self, taken: usize) {
        let many = self.taken >= MANY;
        self.taken = self.taken.saturating_add(taken);
        let usual = || fcntl(Source::fd(), FcntlArg::F_GETPIPE_SZ) == Ok(USUAL);
        if !many && self.taken >= MANY && usual() {
            // A user has room for so many (pipe(7), pipe-user-pages-soft).
            self.grown = fcntl(Source::fd(), FcntlArg::F_SETPIPE_SZ(2 * USUAL)).is_ok();
        }
    }

    /// Gives the shared pipe the size that it had, where it does not hold more now.
    fn restore(&mut self) {
        if std::mem::take(&mut self.grown) {
            let _ = fcntl(Source::fd(), FcntlArg::F_SETPIPE_SZ(USUAL));
        }
    }

    fn prepare(&mut self) -> nix::Result<()> {
        if self.way.is_none() {
            let (from, to) = pipe2(OFlag::O_CLOEXEC)?;
            self.way = Some((lift(from)?, lift(to)?));
        }
        Ok(())
    }

    fn take(&mut self, count: usize, for_good: bool) -> nix::Result<()> {
        self.prepare()?;
        let Some((_, to)) = &self.way else { return Err(Errno::EBADF) };
        if for_good && self.void.is_none() {
            self.void = above_standard(|| OpenOptions::new().write(true).open("/dev/null")).ok();
        }
        let void = self.void.as_ref().filter(|_| for_good);
        let to = void.map_or(to.as_fd(), |void| void.as_fd());
        let mut left = count;
        while left > 0 {
            let moved = splice(Source::fd(), None, to, None, left, SpliceFFlags::SPLICE_F_NONBLOCK)?;
            if moved == 0 {
                break;
            }
            left -= moved;
            if void.is_none() {
                self.held += moved;
            }
        }
        self.count(count);
        if for_good { self.keep(|_| {}) } else { Ok(()) }
    }

    fn keep(&mut self, mut keep: impl FnMut(&[u8])) -> nix::Result<()> {
        let Self { way: Some((from, _)), held, part, .. } = self else { return Ok(()) };
        part.resize(PART, 0);
        while *held > 0 {
            let most = (*held).min(PART);
            let length = read(&*from, part.get_mut(..most).unwrap_or_default())?;
            if length == 0 {
                return Err(Errno::EIO);
            }
            keep(part.get(..length).unwrap_or_default());
            *held -= length;
        }
        Ok(())
    }
}

/// A socket's bytes.
#[derive(Debug, Default)]
pub(crate) struct Socket {
    part: Vec<u8>,
    /// Taken, to be kept.
    taken: Vec<u8>,
}

impl Socket {
    fn give(&mut self, to: BorrowedFd<'_>) -> nix::Result<usize> {
        self.part.resize(PART, 0);
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        match recv(Source::fd().as_raw_fd(), &mut self.part, flags)? {
            0 => Ok(0),
            seen => write(to, self.part.get(..seen).unwrap_or_default()),
        }
    }

    fn take(&mut self, count: usize, for_good: bool) -> nix::Result<()> {
        self.part.resize(PART, 0);
        let mut left = count;
        while left > 0 {
            let most = left.min(PART);
            let part = self.part.get_mut(..most).unwrap_or_default();
            let length = recv(Source::fd().as_raw_fd(), part, MsgFlags::MSG_DONTWAIT)?;
            if length == 0 {
                return Ok(());
            }
            if !for_good {
                self.taken.extend_from_slice(self.part.get(..length).unwrap_or_default());
            }
            left -= length;
        }
        Ok(())
    }
}

/// Bytes that were read before the command wanted them.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// Read, and not known to have been read by the command.
    part: Vec<u8>,
    /// Taken, to be kept.
    taken: Vec<u8>,
}

impl Ahead {
    fn give(&mut self, to: BorrowedFd<'_>) -> nix::Result<usize> {
        if self.part.is_empty() {
            let fd = Source::fd();
            let mut ready = [PollFd::new(fd, PollFlags::POLLIN)];
            if poll(&mut ready, PollTimeout::ZERO)? == 0 {
                return Err(Errno::EAGAIN);
            }
            self.part.resize(PART, 0);
            let length = interrupted(SOON, || read(fd, &mut self.part));
            self.part.truncate(*length.as_ref().unwrap_or(&0));
            match length {
                Ok(0) => return Ok(0),
                Ok(_) => {}
                Err(Errno::EINTR) => return Err(Errno::EAGAIN),
                Err(errno) => return Err(errno),
            }
        }
        write(to, &self.part)
    }

    fn take(&mut self, count: usize, for_good: bool) {
        let taken = self.part.drain(..count.min(self.part.len()));
        if !for_good {
            self.taken.extend(taken);
        }
    }
}
