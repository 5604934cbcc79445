//! What retry says on stderr, in a way that never stops it: a stderr that is closed, full or never read
//! costs the lines, not the run.
//!
//! stderr is shared with the command, so it cannot be made non-blocking. A pipe or a terminal is opened a
//! second time for retry itself, through /proc, non-blocking; where that is refused, retry writes only when
//! poll(2) says that there is room. What does not go out at once waits here and goes out when it can.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{isatty, write};

/// How much waits at most: further lines are dropped.
const MOST: usize = 64 * 1024;

/// What a pipe takes whole once poll(2) has said that there is room (PIPE_BUF, pipe(7)).
const ATOMIC: usize = 4096;

/// How long the last lines may take when the run is over.
const PATIENCE: Duration = Duration::from_secs(1);

/// The lines that wait, and the way to stderr.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    queue: Vec<u8>,
    way: Option<Way>,
}

#[derive(Debug)]
enum Way {
    /// A file, or a device that never blocks.
    Direct,
    /// A description of retry's own that does not block.
    Own(File),
    /// A socket, each write non-blocking.
    Socket,
    /// The shared description, when poll(2) says that there is room.
    Polled,
    /// Nobody reads it.
    Gone,
}

impl Messages {
    /// Says a line. It ends without a newline; one is added.
    pub(crate) fn say(&mut self, line: &str) {
        if self.queue.len() + line.len() < MOST {
            self.queue.extend_from_slice(line.as_bytes());
            self.queue.push(b'\n');
        }
        self.flush();
    }

    /// stderr, where something waits for room on it.
    pub(crate) fn pending_on(&self) -> Option<BorrowedFd<'_>> {
        match &self.way {
            _ if self.queue.is_empty() => None,
            None | Some(Way::Gone) => None,
            Some(Way::Own(file)) => Some(file.as_fd()),
            Some(Way::Direct | Way::Socket | Way::Polled) => Some(stderr()),
        }
    }

    /// Passes on what waits, as far as stderr takes it now.
    pub(crate) fn flush(&mut self) {
        while !self.queue.is_empty() {
            // Whole lines, so that what the command writes meanwhile does not land inside one.
            let window = &self.queue[..self.queue.len().min(ATOMIC)];
            let end = window.iter().rposition(|b| *b == b'\n').map_or(window.len(), |i| i + 1);
            let way = self.way.get_or_insert_with(Way::find);
            match way.write(&self.queue[..end]) {
                Ok(written) => drop(self.queue.drain(..written)),
                Err(ErrorKind::WouldBlock) => return,
                Err(_) => {
                    self.way = Some(Way::Gone);
                    self.queue.clear();
                }
            }
        }
    }

    /// Passes on what waits when the run is over; gives up after a second.
    pub(crate) fn finish(&mut self, now: impl Fn() -> Duration) {
        let end = now() + PATIENCE;
        loop {
            self.flush();
            let Some(fd) = self.pending_on() else { return };
            let left = end.saturating_sub(now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            let mut fds = [PollFd::new(fd, PollFlags::POLLOUT)];
            if left.is_zero() || !matches!(poll(&mut fds, timeout), Ok(1) | Err(Errno::EINTR)) {
                return;
            }
        }
    }
}

fn stderr() -> BorrowedFd<'static> {
    // A closed one gives EBADF, and that is all.
    static STDERR: std::sync::LazyLock<std::io::Stderr> = std::sync::LazyLock::new(std::io::stderr);
    STDERR.as_fd()
}

impl Way {
    fn find() -> Self {
        let Ok(stat) = fstat(stderr()) else { return Self::Gone };
        let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        let terminal = kind == SFlag::S_IFCHR && isatty(stderr()).unwrap_or(false);
        if kind == SFlag::S_IFSOCK {
            return Self::Socket;
        }
        if kind != SFlag::S_IFIFO && !terminal {
            return Self::Direct;
        }
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        match OpenOptions::new().write(true).custom_flags(flags).open("/proc/self/fd/2") {
            // Above the standard streams: one of those that the caller closed must stay closed.
            Ok(file) if file.as_raw_fd() <= 2 => file.try_clone().map_or(Self::Polled, Self::Own),
            Ok(file) => Self::Own(file),
            // A pipe that nobody has open for reading (fifo(7)).
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Self::Gone,
            Err(_) => Self::Polled,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        let kind = |errno: Errno| std::io::Error::from(errno).kind();
        let written = match self {
            Self::Own(file) => file.write(bytes).map_err(|error| error.kind()),
            Self::Direct => write(stderr(), bytes).map_err(kind),
            Self::Socket => {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                send(stderr().as_raw_fd(), bytes, flags).map_err(kind)
            }
            Self::Polled => {
                let mut fds = [PollFd::new(stderr(), PollFlags::POLLOUT)];
                match poll(&mut fds, PollTimeout::ZERO) {
                    Ok(0) => Err(ErrorKind::WouldBlock),
                    _ => write(stderr(), bytes).map_err(kind),
                }
            }
            Self::Gone => Err(ErrorKind::BrokenPipe),
        };
        match written {
            Err(ErrorKind::Interrupted) => Ok(0),
            Ok(0) => Err(ErrorKind::WriteZero),
            other => other,
        }
    }
}
