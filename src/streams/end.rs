//! retry's end of the input of a command: a pipe or, in place of a socket, a socket.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, recv, send, shutdown, socketpair,
};
use nix::sys::stat::Mode;
use nix::unistd::{pipe2, read};

use super::descriptor::lift;
use super::source::PIPE;
use crate::error::errno;

/// retry's end.
#[derive(Debug)]
pub(crate) enum End {
    /// The end of a pipe to write to.
    Pipe(OwnedFd),
    /// The end of a pipe to read from. Nobody can write any more, so the command finds the end of
    /// its input. retry can still see how much is unread.
    Whole(OwnedFd),
    /// retry's socket, and the command's, which shows how much is unread. One byte waits in retry's
    /// socket, and nobody reads it. If retry's socket is closed with this byte, the command finds a
    /// broken connection (ECONNRESET, unix(7)) and not the end of its input.
    Socket { ours: OwnedFd, theirs: OwnedFd },
}

impl End {
    /// Opens a pipe of this size in bytes, if the system allows the size. Returns the command's end
    /// first.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub(crate) fn pipe(size: usize) -> nix::Result<(OwnedFd, Self)> {
        let (theirs, ours) = pipe2(OFlag::O_CLOEXEC)?;
        let (theirs, ours) = (lift(theirs)?, lift(ours)?);
        let _ = fcntl(&ours, FcntlArg::F_SETPIPE_SZ(i32::try_from(size).unwrap_or(i32::MAX)));
        fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_WRONLY | OFlag::O_NONBLOCK))?;
        Ok((theirs, Self::Pipe(ours)))
    }

    /// Opens a pair of sockets on which the command cannot send. Returns the command's end first.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub(crate) fn socket() -> nix::Result<(OwnedFd, Self)> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, flags)?;
        let (ours, theirs) = (lift(ours)?, lift(theirs)?);
        fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK))?;
        send(theirs.as_raw_fd(), b"\0", MsgFlags::empty())?;
        shutdown(ours.as_raw_fd(), Shutdown::Read)?;
        let kept = theirs.try_clone().map_err(|error| errno(&error))?;
        Ok((theirs, Self::Socket { ours, theirs: kept }))
    }

    /// The descriptor to write to. None if everything has been written.
    pub(crate) fn to(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Pipe(ours) | Self::Socket { ours, .. } => Some(ours.as_fd()),
            Self::Whole(_) => None,
        }
    }

    /// How many bytes the command has not read.
    pub(crate) fn unread(&self) -> usize {
        match self {
            Self::Pipe(end) | Self::Whole(end) | Self::Socket { theirs: end, .. } => unread(end.as_fd()),
        }
    }

    /// Everything has been written. The command finds the end of its input after it.
    #[must_use]
    pub(crate) fn whole(self) -> Self {
        match self {
            Self::Pipe(ours) => reader(ours.as_fd()).map_or(Self::Pipe(ours), Self::Whole),
            other => other,
        }
    }

    /// Ends the input.
    pub(crate) fn close(self) {
        if let Self::Socket { ours, .. } = &self {
            let _ = recv(ours.as_raw_fd(), &mut [0], MsgFlags::MSG_DONTWAIT);
        }
    }

    /// Takes back the bytes that the command has not read, so that a background process cannot read
    /// them. Returns how many there were.
    pub(crate) fn take_back(self) -> usize {
        let (mut count, mut part) = (0, vec![0; PIPE]);
        let reader = match &self {
            Self::Pipe(ours) => reader(ours.as_fd()).ok(),
            Self::Whole(_) | Self::Socket { .. } => None,
        };
        let mut next = || match (&self, &reader) {
            (Self::Pipe(_), None) => Ok(0),
            (Self::Pipe(_), Some(reader)) | (Self::Whole(reader), _) => read(reader, &mut part),
            (Self::Socket { theirs, .. }, _) => recv(theirs.as_raw_fd(), &mut part, MsgFlags::MSG_DONTWAIT),
        };
        loop {
            match next() {
                Ok(0) | Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Ok(length) => count += length,
                Err(_) => break,
            }
        }
        // Bytes that cannot be taken back are counted.
        count += self.unread();
        self.close();
        count
    }
}

/// Opens the end of a pipe to read from, without blocking, through the end to write to.
fn reader(pipe: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    lift(open(path.as_str(), flags, Mode::empty())?)
}

/// How many bytes wait in a pipe or socket.
pub(crate) fn unread(fd: BorrowedFd<'_>) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int (ioctl_tty(2), pipe(7), unix(7)).
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    if result == 0 { usize::try_from(count).unwrap_or(0) } else { 0 }
}
