//! A connection to a server, with one limit for all that happens on it.
//!
//! The descriptor does not block. Each read and each write waits in poll(2) until the limit, so a
//! server that answers byte by byte has no more time than one that does not answer at all.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::{SocketError, TcpNoDelay};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, connect,
    getsockopt, recv, send, setsockopt, socket,
};

use super::trouble::Trouble;
use crate::clock::now;
use crate::state::surroundings::Surroundings;

/// A waiting run looks this often for a signal that ends it.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The pause before another try on a socket whose queue of connections is full.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// The most bytes of one exchange. A record has at most 64 KiB.
const MOST_BYTES: usize = 256 * 1024;

/// Why something with a server has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    Trouble(Trouble),
    /// A signal that ends the run has arrived.
    Interrupted,
}

impl Fault {
    /// The same fault, as one of a key if the server says that the key holds something else.
    pub(super) fn about(self, key: &str) -> Self {
        match self {
            Self::Trouble(Trouble::Refused { code, .. }) if code == "WRONGTYPE" => {
                Trouble::Foreign { key: key.to_owned() }.into()
            }
            fault => fault,
        }
    }
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// The end of the time for an exchange, name resolution and connection included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    /// A time since boot.
    until: Duration,
    /// The whole time, for messages.
    length: Duration,
    end_is_pending: fn() -> bool,
}

impl Limit {
    pub(super) fn within(length: Duration, surroundings: &Surroundings) -> Self {
        let until = now().saturating_add(length);
        Self { until, length, end_is_pending: surroundings.end_is_pending }
    }

    /// An equal part of the time that is left, for the first of so many that come one after
    /// another.
    pub(super) fn share(self, of: usize) -> Self {
        let part = self.left() / u32::try_from(of.max(1)).unwrap_or(u32::MAX);
        Self { until: now().saturating_add(part), ..self }
    }

    pub(super) fn left(self) -> Duration {
        self.until.saturating_sub(now())
    }

    /// Whether there is time left, and no signal has arrived.
    pub(super) fn check(self) -> Result<(), Fault> {
        if (self.end_is_pending)() {
            return Err(Fault::Interrupted);
        }
        match self.left().is_zero() {
            true => Err(Trouble::Silent(self.length).into()),
            false => Ok(()),
        }
    }

    /// Sleeps for `pause`, or until the end of the time.
    pub(super) fn sleep(self, pause: Duration) -> Result<(), Fault> {
        self.check()?;
        thread::sleep(pause.min(self.left()));
        self.check()
    }

    /// Waits until the descriptor is ready.
    fn wait(self, fd: BorrowedFd<'_>, flags: PollFlags) -> Result<(), Fault> {
        loop {
            self.check()?;
            // Rounded up, because a wait of nothing would not wait.
            let slice = self.left().min(LOOK_EVERY) + Duration::from_millis(1);
            let slice = u16::try_from(slice.as_millis()).unwrap_or(u16::MAX);
            match poll(&mut [PollFd::new(fd, flags)], PollTimeout::from(slice)) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(Trouble::Unconnected(errno).into()),
            }
        }
    }
}

/// A connected socket.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    limit: Limit,
    /// The bytes that may still come in this exchange.
    room: usize,
    /// Why the last read or write failed.
    fault: Option<Fault>,
}

impl Socket {
    /// Connects to an address of the Internet.
    pub(super) fn tcp(address: SocketAddr, limit: Limit, surroundings: &Surroundings) -> Result<Self, Fault> {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let socket = Self::connected(family, &SockaddrStorage::from(address), limit, surroundings)?;
        // An exchange is a few small packets, each of which waits for an answer. A socket without
        // this option works too, but later.
        let _ = setsockopt(&socket.fd, TcpNoDelay, &true);
        Ok(socket)
    }

    /// Connects to a socket in the file system.
    pub(super) fn unix(path: &Path, limit: Limit, surroundings: &Surroundings) -> Result<Self, Fault> {
        let address = UnixAddr::new(path).map_err(Trouble::Unconnected)?;
        Self::connected(AddressFamily::Unix, &address, limit, surroundings)
    }

    fn connected(
        family: AddressFamily,
        address: &dyn SockaddrLike,
        limit: Limit,
        surroundings: &Surroundings,
    ) -> Result<Self, Fault> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let opened = socket(family, SockType::Stream, flags, None).and_then(surroundings.lift);
        let fd = opened.map_err(Trouble::Unconnected)?;
        loop {
            match connect(fd.as_raw_fd(), address) {
                Ok(()) => break,
                Err(Errno::EINPROGRESS | Errno::EINTR) => {
                    limit.wait(fd.as_fd(), PollFlags::POLLOUT)?;
                    match getsockopt(&fd, SocketError).map(Errno::from_raw) {
                        Ok(Errno::UnknownErrno) => break,
                        Ok(errno) | Err(errno) => return Err(Trouble::Unconnected(errno).into()),
                    }
                }
                // The queue of a socket in the file system is full (connect(2)).
                Err(Errno::EAGAIN) => limit.sleep(FULL_PAUSE)?,
                Err(errno) => return Err(Trouble::Unconnected(errno).into()),
            }
        }
        Ok(Self { fd, limit, room: MOST_BYTES, fault: None })
    }

    /// Begins an exchange.
    pub(super) fn begin(&mut self, limit: Limit) {
        (self.limit, self.room, self.fault) = (limit, MOST_BYTES, None);
    }

    pub(super) fn take_fault(&mut self) -> Option<Fault> {
        self.fault.take()
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Makes a call until it does not have to wait any more.
    fn make<T>(&mut self, flags: PollFlags, mut call: impl FnMut(i32) -> nix::Result<T>) -> io::Result<T> {
        let fault = loop {
            match call(self.fd.as_raw_fd()) {
                Ok(result) => return Ok(result),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => match self.limit.wait(self.fd.as_fd(), flags) {
                    Ok(()) => {}
                    Err(fault) => break fault,
                },
                Err(Errno::ECONNRESET | Errno::EPIPE) => break Trouble::Closed.into(),
                Err(errno) => break Trouble::Unconnected(errno).into(),
            }
        };
        self.fault = Some(fault);
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.room);
        if most == 0 && !buffer.is_empty() {
            self.fault = Some(Trouble::Garbage.into());
            return Err(io::ErrorKind::InvalidData.into());
        }
        let length = self.make(PollFlags::POLLIN, |fd| recv(fd, &mut buffer[..most], MsgFlags::empty()))?;
        if length == 0 && most > 0 {
            self.fault = Some(Trouble::Closed.into());
        }
        self.room -= length;
        Ok(length)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Nobody must die of SIGPIPE because a server has gone.
        self.make(PollFlags::POLLOUT, |fd| send(fd, bytes, MsgFlags::MSG_NOSIGNAL))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const LONG: Duration = Duration::from_mins(10);

    #[test]
    fn a_signal_that_ends_the_run_ends_the_wait() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let surroundings = Surroundings::none();
        let mut socket = Socket::tcp(address, Limit::within(LONG, &surroundings), &surroundings).unwrap();
        let ended = Surroundings { end_is_pending: || true, ..surroundings };
        let limit = Limit::within(LONG, &ended);
        socket.begin(limit);
        assert!(socket.read(&mut [0]).is_err());
        assert_eq!(socket.take_fault(), Some(Fault::Interrupted));
        assert_eq!(limit.sleep(LONG), Err(Fault::Interrupted));
    }

    #[test]
    fn one_limit_counts_for_all_that_happens() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let surroundings = Surroundings::none();
        let limit = Limit::within(Duration::from_millis(20), &surroundings);
        let mut socket = Socket::tcp(listener.local_addr().unwrap(), limit, &surroundings).unwrap();
        assert!(socket.read(&mut [0]).is_err());
        assert_eq!(socket.take_fault(), Some(Fault::Trouble(Trouble::Silent(Duration::from_millis(20)))));
        // Nothing is left of it for the next call.
        assert!(limit.left().is_zero() && limit.check().is_err());
        let part = Limit::within(LONG, &surroundings).share(4);
        assert!(part.left() <= LONG / 4 && part.left() > LONG / 5);
    }
}
