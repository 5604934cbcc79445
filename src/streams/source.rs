//! The input that is replayed: retry's own standard input, a pipe or a stream socket.
//!
//! retry looks at the next bytes before it takes them. So the bytes that the command does not read
//! stay in the input, for the process that reads after the command. Linux can do this: tee(2) for a
//! pipe, and MSG_PEEK for a socket. If tee(2) is missing or forbidden, retry reads ahead, and other
//! processes do not get the bytes that the command leaves.

use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, SpliceFFlags, splice, tee};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};
use nix::unistd::{pipe2, read};

use super::alarm::interrupted;
use super::descriptor::lift;
use super::preview::Preview;
use super::sink::ATOMIC;
use super::standard;

/// The size of a pipe (pipe(7)), in bytes.
pub(super) const PIPE: usize = 64 * 1024;

/// The most that the command is given at a time, in bytes. The writer fills the other half of the
/// pipe meanwhile.
pub(super) const WINDOW: usize = PIPE / 2;

/// How many bytes are looked at to see whether another reader has taken some.
const SAMPLE: usize = 4096;

/// The time limit of a read after poll(2) has reported bytes. Another reader may take them first.
const SOON: Duration = Duration::from_millis(20);

/// The kind of the input.
#[derive(Debug)]
pub(crate) enum Source {
    /// A pipe or FIFO. The pipe of retry's own, made when it is needed, is empty between calls.
    Pipe(Option<OwnPipe>),
    /// A stream socket.
    Socket,
    /// Either, if the kernel has no tee(2).
    Ahead,
}

/// A pipe by which retry looks at the input's bytes, or takes them, without waiting.
#[derive(Debug)]
pub(crate) struct OwnPipe {
    from: OwnedFd,
    to: OwnedFd,
}

/// Whether bytes leave the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Look,
    Take,
}

/// The descriptor of the input, which reports by POLLIN that there are bytes.
pub(super) fn fd() -> BorrowedFd<'static> {
    standard::input()
}

/// Whether there are bytes, or the end of the input.
pub(super) fn is_ready() -> bool {
    let mut ready = [PollFd::new(fd(), PollFlags::POLLIN)];
    poll(&mut ready, PollTimeout::ZERO) != Ok(0)
}

impl Source {
    /// Opens what [`peek`](Self::peek) needs.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub(super) fn prepare(&mut self) -> nix::Result<()> {
        if let Self::Pipe(own @ None) = self {
            *own = Some(OwnPipe::open()?);
        }
        Ok(())
    }

    /// Whether retry takes more from the input than the command reads.
    pub(super) fn reads_ahead(&self) -> bool {
        matches!(self, Self::Ahead)
    }

    pub(super) fn is_socket(&self) -> bool {
        matches!(self, Self::Socket)
    }

    /// The next bytes of the input. There are none at its end. Only a source that reads ahead takes
    /// the bytes.
    ///
    /// More than [`ATOMIC`] bytes end with a line, so that two readers that share the input do not
    /// get parts of one line.
    ///
    /// # Errors
    /// EAGAIN if there is nothing yet, and the errors of the input.
    pub(super) fn peek(&mut self) -> nix::Result<Vec<u8>> {
        if self.reads_ahead() {
            return read_ahead();
        }
        match self.get(Access::Look, WINDOW) {
            // The call is missing (ENOSYS) or forbidden (seccomp(2)), or the pipe is of another
            // kind.
            Err(Errno::ENOSYS | Errno::EPERM | Errno::EINVAL | Errno::EOPNOTSUPP) if !self.is_socket() => {
                *self = Self::Ahead;
                read_ahead()
            }
            Ok(mut bytes) => {
                bytes.truncate(window_end(&bytes));
                Ok(bytes)
            }
            Err(errno) => Err(errno),
        }
    }

    /// Takes the bytes that the command has read. Returns the bytes that the command was not given.
    ///
    /// # Errors
    /// The errors of the input.
    pub(super) fn take(&mut self, preview: &mut Preview) -> nix::Result<Vec<u8>> {
        let mut further = Vec::new();
        while !self.reads_ahead() && preview.to_take() > 0 {
            let next = match self.get(Access::Look, SAMPLE.min(preview.to_take())) {
                Err(Errno::EAGAIN) => break,
                next => next?,
            };
            preview.align(&next);
            if next.is_empty() || preview.to_take() == 0 {
                break;
            }
            match self.get(Access::Take, preview.to_take()) {
                Err(Errno::EAGAIN) => break,
                taken => further.extend_from_slice(preview.take(&taken?)),
            }
        }
        Ok(further)
    }

    /// The next bytes, at most `most`.
    fn get(&mut self, access: Access, most: usize) -> nix::Result<Vec<u8>> {
        self.prepare()?;
        loop {
            let bytes = match self {
                Self::Pipe(Some(own)) => own.get(access, most),
                Self::Pipe(None) | Self::Ahead => return Err(Errno::EBADF),
                Self::Socket => receive(access, most),
            };
            // Nothing here waits, so that a signal can interrupt it only at its beginning.
            if bytes != Err(Errno::EINTR) {
                return bytes;
            }
        }
    }
}

/// How many of the bytes to give. A program that writes few bytes may expect that they are read at
/// once (pipe(7), PIPE_BUF). More bytes may be a part of what the program writes, and they end with
/// a line.
fn window_end(bytes: &[u8]) -> usize {
    if bytes.len() <= ATOMIC {
        return bytes.len();
    }
    memchr::memrchr(b'\n', bytes).map_or(bytes.len(), |newline| newline + 1)
}

fn receive(access: Access, most: usize) -> nix::Result<Vec<u8>> {
    let flags = match access {
        Access::Look => MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT,
        Access::Take => MsgFlags::MSG_DONTWAIT,
    };
    let mut bytes = vec![0; most];
    let length = recv(fd().as_raw_fd(), &mut bytes, flags)?;
    bytes.truncate(length);
    Ok(bytes)
}

/// Takes what is there now.
fn read_ahead() -> nix::Result<Vec<u8>> {
    read_soon(PIPE)
}

/// Reads at most `most` bytes, if there are any.
fn read_soon(most: usize) -> nix::Result<Vec<u8>> {
    if !is_ready() {
        return Err(Errno::EAGAIN);
    }
    let mut bytes = vec![0; most];
    let length = interrupted(SOON, || read(fd(), &mut bytes))
        .map_err(|errno| if errno == Errno::EINTR { Errno::EAGAIN } else { errno })?;
    bytes.truncate(length);
    Ok(bytes)
}

impl OwnPipe {
    fn open() -> nix::Result<Self> {
        let (from, to) = pipe2(OFlag::O_CLOEXEC)?;
        Ok(Self { from: lift(from)?, to: lift(to)? })
    }

    /// The next bytes of the input, at most `most`.
    fn get(&self, access: Access, most: usize) -> nix::Result<Vec<u8>> {
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
        let moved = match access {
            Access::Look => tee(fd(), &self.to, most, flags)?,
            Access::Take => match splice(fd(), None, &self.to, None, most, flags) {
                // The call is missing or forbidden. A read takes the bytes too.
                Err(Errno::ENOSYS | Errno::EPERM | Errno::EINVAL | Errno::EOPNOTSUPP) => {
                    return read_soon(most);
                }
                moved => moved?,
            },
        };
        let mut bytes = vec![0; moved];
        let mut filled = 0;
        while filled < moved {
            match read(&self.from, &mut bytes[filled..]) {
                Ok(0) => return Err(Errno::EIO),
                Err(Errno::EINTR) => {}
                length => filled += length?,
            }
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_bytes_end_with_a_line() {
        let long = "x".repeat(ATOMIC);
        assert_eq!(window_end(b""), 0);
        assert_eq!(window_end(b"ab\nc"), 4);
        assert_eq!(window_end(format!("ab\n{long}").as_bytes()), 3);
        assert_eq!(window_end(format!("{long}\n").as_bytes()), ATOMIC + 1);
        assert_eq!(window_end(format!("{long}y").as_bytes()), ATOMIC + 1);
    }
}
