//! Writing to stdout or stderr without waiting.
//!
//! Both are shared with the command, so retry cannot make them non-blocking. It opens a pipe or a
//! terminal a second time for itself, through /proc, non-blocking. If the system refuses that
//! (another user's pipe, no /proc), bytes reach a pipe by [`splice`](super::splice), which never
//! waits. retry writes to anything else that may block only if poll(2) reports room, and an alarm
//! interrupts the write if another writer was faster.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{SFlag, fstat};
use nix::sys::termios::tcgetsid;
use nix::unistd::{getsid, isatty, write};

use super::alarm::interrupted;
use super::descriptor::{file_kind, lift};
use super::line::Line;
use super::splice::Splice;
use super::standard::Standard as _;
use crate::error::errno;
use crate::policy::stream::Stream;

/// How many bytes a pipe takes at once after poll(2) has reported room (PIPE_BUF, pipe(7)).
pub(crate) const ATOMIC: usize = 4096;

/// The time limit of a write that may block.
const SOON: Duration = Duration::from_millis(20);

/// One of retry's own streams. The way to write to it is found at the first write.
#[derive(Debug)]
pub(crate) struct Sink {
    stream: Stream,
    way: Option<Way>,
    /// The state of the last line.
    line: Line,
    /// Bytes were written since the last [`take_unfinished`](Self::take_unfinished).
    wrote: bool,
}

#[derive(Debug)]
enum Way {
    /// A file, or a device that never blocks.
    Direct,
    /// An open file description of retry's own, which does not block.
    Own(File),
    /// A socket. Each write is non-blocking.
    Socket,
    /// The shared description of a pipe, through a pipe of retry's own.
    Spliced(Splice),
    /// The shared description, with a time limit, and only if poll(2) reports room.
    Timed,
    /// Nobody reads the stream.
    Gone,
}

impl Sink {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, way: None, line: Line::default(), wrote: false }
    }

    /// The descriptor to poll for room.
    pub(crate) fn fd(&mut self) -> BorrowedFd<'_> {
        let stream = self.stream;
        match &*self.way() {
            Way::Own(file) => file.as_fd(),
            Way::Direct | Way::Socket | Way::Spliced(_) | Way::Timed | Way::Gone => stream.fd(),
        }
    }

    /// Writes as much as there is room for.
    ///
    /// # Errors
    /// EAGAIN if there is no room now, EPIPE if nobody reads, and the other errors of write(2).
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let fd = self.stream.fd();
        let written = match self.way() {
            Way::Own(file) => file.write(bytes).map_err(|error| errno(&error)),
            Way::Direct => write(fd, bytes),
            Way::Socket => send(fd.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL),
            Way::Spliced(splice) => match splice.write(fd, bytes) {
                // The call is missing or forbidden (seccomp(2)), or the pipe is of another kind.
                Err(Errno::ENOSYS | Errno::EPERM | Errno::EINVAL | Errno::EOPNOTSUPP | Errno::EIO) => {
                    self.way = Some(Way::Timed);
                    return self.write(bytes);
                }
                written => written,
            },
            Way::Timed if !has_room(fd) => Err(Errno::EAGAIN),
            Way::Timed => {
                let written = interrupted(SOON, || write(fd, &bytes[..bytes.len().min(ATOMIC)]));
                written.map_err(|errno| if errno == Errno::EINTR { Errno::EAGAIN } else { errno })
            }
            Way::Gone => Err(Errno::EPIPE),
        };
        match written {
            Err(Errno::EINTR) => Ok(0),
            Ok(0) if !bytes.is_empty() => Err(Errno::EIO),
            Ok(length) => {
                self.line = self.line.after(bytes.get(..length).unwrap_or_default());
                self.wrote = true;
                Ok(length)
            }
            other => other,
        }
    }

    /// Closes retry's own description, if there is one. The next write opens it again. Returns
    /// whether there was one.
    pub(crate) fn spare_descriptor(&mut self) -> bool {
        self.way.take_if(|way| matches!(way, Way::Own(_))).is_some()
    }

    /// Whether the last line is unfinished. None if nothing was written since the last call.
    pub(crate) fn take_unfinished(&mut self) -> Option<bool> {
        std::mem::take(&mut self.wrote).then_some(self.line.is_unfinished())
    }

    /// Writes nothing to the stream any more.
    pub(crate) fn give_up(&mut self) {
        self.way = Some(Way::Gone);
    }

    fn way(&mut self) -> &mut Way {
        let stream = self.stream;
        self.way.get_or_insert_with(|| Way::find(stream))
    }
}

impl Way {
    fn find(stream: Stream) -> Self {
        let fd = stream.fd();
        let Ok(stat) = fstat(fd) else { return Self::Gone };
        let kind = file_kind(&stat);
        let terminal = kind == SFlag::S_IFCHR && isatty(fd).unwrap_or(false);
        if kind == SFlag::S_IFSOCK {
            return Self::Socket;
        }
        if kind != SFlag::S_IFIFO && !terminal {
            return if may_block(kind, stat.st_rdev) { Self::Timed } else { Self::Direct };
        }
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        match OpenOptions::new().write(true).custom_flags(flags).open(path) {
            Ok(file) => lift(file.into()).map_or(Self::Timed, |fd| Self::Own(fd.into())),
            // A pipe that nobody has open for reading (fifo(7)).
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Self::Gone,
            // A terminal that belongs to another user, as after su(1): the controlling one has a
            // name that anybody may open (tty(4)).
            Err(_) if terminal && tcgetsid(fd) == getsid(None) => {
                let own = OpenOptions::new().write(true).custom_flags(flags).open("/dev/tty");
                let own = own.ok().and_then(|file| lift(file.into()).ok());
                own.map_or(Self::Timed, |fd| Self::Own(fd.into()))
            }
            Err(_) if terminal => Self::Timed,
            // retry may not open the pipe again.
            Err(_) => Splice::new().map_or(Self::Timed, Self::Spliced),
        }
    }
}

/// Whether a write may have to wait. Files and disks do not wait. Neither do `/dev/null`,
/// `/dev/full` and the other devices of memory (null(4), mem(4)), whose major number is 1.
fn may_block(kind: SFlag, device: u64) -> bool {
    let memory = kind == SFlag::S_IFCHR && libc::major(device) == 1;
    !memory && kind != SFlag::S_IFREG && kind != SFlag::S_IFBLK
}

pub(super) fn has_room(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::POLLOUT)];
    !matches!(poll(&mut fds, PollTimeout::ZERO), Ok(0))
}
