//! Where replayed input comes from: what its next bytes are can be seen before they are taken, so that what
//! the command does not read stays there for whoever reads after it.
//!
//! This is the seam between what only Linux has (tee(2), and MSG_PEEK on a socket) and reading ahead, which
//! every system has: there what has been read and not been wanted is lost to others.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, SpliceFFlags, splice, tee};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};
use nix::unistd::{pipe2, read, write};

use super::alarm::interrupted;
use super::descriptor::{above_standard, lift};
use super::standard;

/// How much is moved at a time: what a pipe holds (pipe(7)), in bytes.
pub(crate) const PART: usize = 64 * 1024;

/// How much of a pipe is given at a time where it is kept: its writer fills the other half meanwhile.
pub(crate) const HALF: usize = PART / 2;

/// How long a read may take where poll(2) has said that there is something: another reader may have been faster.
const SOON: Duration = Duration::from_millis(20);

/// The standard input of retry itself, a pipe or a stream socket.
#[derive(Debug)]
pub(crate) struct Source {
    from: From,
    /// What was given, or has been read to be given.
    seen: Vec<u8>,
    /// How much of that has been taken.
    taken: usize,
}

#[derive(Debug)]
enum From {
    /// A pipe or FIFO: its pages are shared with the command's, and spliced away once it has read them.
    Pipe(Pipe),
    /// A stream socket, and room for what is read from it for good.
    Socket { part: Vec<u8> },
    /// Either, where the kernel has no tee(2).
    Ahead,
}

impl Source {
    fn new(from: From) -> Self {
        Self { from, seen: Vec::new(), taken: 0 }
    }

    pub(crate) fn pipe() -> Self {
        Self::new(From::Pipe(Pipe::default()))
    }

    pub(crate) fn socket() -> Self {
        Self::new(From::Socket { part: Vec::new() })
    }

    /// What tells by POLLIN that there is something to give.
    pub(crate) fn fd() -> BorrowedFd<'static> {
        standard::input()
    }

    /// Whether something has come, or the end.
    pub(crate) fn is_ready() -> bool {
        let mut ready = [PollFd::new(Self::fd(), PollFlags::POLLIN)];
        poll(&mut ready, PollTimeout::ZERO) != Ok(0)
    }

    /// Makes ready what giving needs where what is given is [kept](Self::kept) too.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(crate) fn prepare(&mut self) -> nix::Result<()> {
        match &mut self.from {
            From::Pipe(pipe) => pipe.prepare(),
            From::Socket { .. } | From::Ahead => Ok(()),
        }
    }

    /// Closes `/dev/null`, which makes taking bytes cheaper and is opened again when it can be. Tells whether
    /// it was open.
    pub(crate) fn spare_descriptor(&mut self) -> bool {
        match &mut self.from {
            From::Pipe(pipe) => pipe.void.take().is_some(),
            From::Socket { .. } | From::Ahead => false,
        }
    }

    /// Whether it reads more than the command does.
    pub(crate) fn reads_ahead(&self) -> bool {
        matches!(self.from, From::Ahead)
    }

    /// Whether it is a socket.
    pub(crate) fn is_socket(&self) -> bool {
        matches!(self.from, From::Socket { .. })
    }

    /// Puts the next bytes into what the command reads, which is empty and whose end `to` does not block,
    /// without taking them; returns how many, 0 at the end of the input. With `keeps` they can be
    /// [kept](Self::kept).
    ///
    /// # Errors
    /// EAGAIN where there is nothing yet, EPIPE where nobody reads, and what the input itself says.
    pub(crate) fn give(&mut self, to: BorrowedFd<'_>, keeps: bool) -> nix::Result<usize> {
        match &mut self.from {
            From::Pipe(pipe) => {
                self.taken = 0;
                match pipe.give(to, keeps.then_some(&mut self.seen)) {
                    // No such call here (ENOSYS), forbidden (seccomp(2)), or not for this kind of pipe.
                    Err(Errno::ENOSYS | Errno::EPERM | Errno::EINVAL | Errno::EOPNOTSUPP) => {
                        *self = Self::new(From::Ahead);
                        self.give(to, keeps)
                    }
                    given => given,
                }
            }
            From::Socket { .. } => {
                self.taken = 0;
                self.seen.resize(PART, 0);
                let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
                let seen = recv(Self::fd().as_raw_fd(), &mut self.seen, flags);
                self.seen.truncate(*seen.as_ref().unwrap_or(&0));
                if seen? == 0 { Ok(0) } else { write(to, &self.seen) }
            }
            From::Ahead => {
                if self.taken >= self.seen.len() {
                    self.read_ahead()?;
                }
                match self.seen.get(self.taken..) {
                    None | Some([]) => Ok(0),
                    Some(rest) => write(to, rest),
                }
            }
        }
    }

    /// Reads what is there now.
    fn read_ahead(&mut self) -> nix::Result<()> {
        (self.taken, self.seen) = (0, Vec::new());
        if !Self::is_ready() {
            return Err(Errno::EAGAIN);
        }
        let mut part = vec![0; PART];
        let length = interrupted(SOON, || read(Self::fd(), &mut part))
            .map_err(|errno| if errno == Errno::EINTR { Errno::EAGAIN } else { errno })?;
        part.truncate(length);
        self.seen = part;
        Ok(())
    }

    /// Takes the next `count` bytes of what was given last, as the command has read them. Where another process
    /// has taken some, fewer are there.
    ///
    /// # Errors
    /// What the input says.
    pub(crate) fn take(&mut self, count: usize) -> nix::Result<()> {
        match &mut self.from {
            From::Pipe(pipe) => pipe.take(count),
            From::Socket { part } => {
                part.resize(PART, 0);
                let mut left = count;
                while left > 0 {
                    let most = left.min(PART);
                    let part = part.get_mut(..most).unwrap_or_default();
                    match recv(Self::fd().as_raw_fd(), part, MsgFlags::MSG_DONTWAIT) {
                        Ok(0) | Err(Errno::EAGAIN) => break,
                        Err(Errno::EINTR) => {}
                        length => left -= length?,
                    }
                }
                Ok(())
            }
            From::Ahead => Ok(()),
        }
    }

    /// The `count` bytes that were taken last, where they were given to be kept. Asked once after each
    /// [`take`](Self::take).
    pub(crate) fn kept(&mut self, count: usize) -> &[u8] {
        let from = self.taken;
        self.taken = from.saturating_add(count).min(self.seen.len());
        self.seen.get(from..self.taken).unwrap_or_default()
    }
}

/// The way of a pipe's bytes.
#[derive(Debug, Default)]
struct Pipe {
    /// A pipe of retry's own, empty but within a call: by it bytes are seen without taking them.
    way: Option<(OwnedFd, OwnedFd)>,
    /// `/dev/null`, which takes pages without looking at them, where it was needed and is there.
    void: Option<File>,
}

impl Pipe {
    fn prepare(&mut self) -> nix::Result<()> {
        if self.way.is_none() {
            let (from, to) = pipe2(OFlag::O_CLOEXEC)?;
            self.way = Some((lift(from)?, lift(to)?));
        }
        Ok(())
    }

    /// Gives the next bytes, and shows them. They are looked at now, while their writer may not touch them
    /// (vmsplice(2)): once the command has read them they belong to it again.
    fn give(&mut self, to: BorrowedFd<'_>, seen: Option<&mut Vec<u8>>) -> nix::Result<usize> {
        let Some(seen) = seen else { return tee(Source::fd(), to, PART, SpliceFFlags::SPLICE_F_NONBLOCK) };
        self.prepare()?;
        let Some((from, way)) = &self.way else { return Err(Errno::EBADF) };
        let shown = tee(Source::fd(), way, HALF, SpliceFFlags::SPLICE_F_NONBLOCK)?;
        if shown == 0 {
            return Ok(0);
        }
        // No more than what was shown, also where the command's pipe could hold more.
        let given = tee(from, to, shown, SpliceFFlags::SPLICE_F_NONBLOCK);
        seen.resize(shown, 0);
        let mut filled = 0;
        while let Some(part) = seen.get_mut(filled..).filter(|part| !part.is_empty()) {
            match read(from, part) {
                Ok(0) => return Err(Errno::EIO),
                Err(Errno::EINTR) => {}
                length => filled += length?,
            }
        }
        seen.truncate(*given.as_ref().unwrap_or(&0));
        given
    }

    fn take(&mut self, count: usize) -> nix::Result<()> {
        if self.void.is_none() {
            self.void = above_standard(|| OpenOptions::new().write(true).open("/dev/null")).ok();
        }
        let mut part = Vec::new();
        let mut left = count;
        while left > 0 {
            let moved = match &self.void {
                Some(void) => {
                    splice(Source::fd(), None, void.as_fd(), None, left, SpliceFFlags::SPLICE_F_NONBLOCK)
                }
                None => Err(Errno::ENOSYS),
            };
            let moved = match moved {
                // Not to be had, or forbidden: they are there, and a read takes them as well.
                Err(Errno::ENOSYS | Errno::EPERM | Errno::EINVAL | Errno::EOPNOTSUPP)
                    if Source::is_ready() =>
                {
                    part.resize(left.min(PART), 0);
                    interrupted(SOON, || read(Source::fd(), &mut part))
                }
                moved => moved,
            };
            match moved {
                Ok(0) | Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) if !Source::is_ready() => break,
                Err(Errno::EINTR) => {}
                moved => left -= moved?,
            }
        }
        Ok(())
    }
}
