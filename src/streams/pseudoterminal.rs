//! A pseudo-terminal in place of a terminal (pty(7)). The command sees a terminal of the right
//! size.

use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::pty::{Winsize, openpty};
use nix::sys::stat::{Mode, fchmod};
use nix::sys::termios::{LocalFlags, OutputFlags, tcgetattr};
use nix::unistd::ttyname;

use super::descriptor::lift;
use super::standard::Standard as _;
use crate::policy::stream::Stream;

/// The most bytes in a pseudo-terminal: the kernel has 4 KiB in the line discipline and 64 KiB in
/// the tty buffers. This is about twice as many, to be safe.
pub(crate) const HOLDS: usize = 128 * 1024;

/// Opens a pseudo-terminal with the size and the modes of the terminal at `stream`. It does not
/// change the output, because the terminal itself turns newlines into what it needs. Returns
/// retry's end and the command's end, both close-on-exec.
///
/// # Errors
/// If the system has no pseudo-terminal left, or no devpts(5).
pub(crate) fn like(stream: Stream) -> nix::Result<(OwnedFd, OwnedFd)> {
    let mut modes = tcgetattr(stream.fd())?;
    modes.output_flags.remove(OutputFlags::OPOST);
    modes.local_flags.remove(LocalFlags::ECHO);
    let pair = openpty(size(stream.fd()).as_ref(), &modes)?;
    for end in [&pair.master, &pair.slave] {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    // Nobody types there. A pager that wants to read keys from it gets an error, and does not wait
    // forever. (Root may open it nevertheless.)
    fchmod(&pair.slave, Mode::S_IWUSR)?;
    let flags = OFlag::O_WRONLY | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let slave = open(&ttyname(&pair.slave)?, flags, Mode::empty())?;
    Ok((lift(pair.master)?, lift(slave)?))
}

/// The size of a terminal in characters and pixels. None if the descriptor is no terminal.
pub(crate) fn size(fd: BorrowedFd<'_>) -> Option<Winsize> {
    let mut size = Winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one `winsize` (ioctl_tty(2)).
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (result == 0).then_some(size)
}

/// Sets the size of a terminal, which sends WINCH to its foreground group. Returns whether it
/// could.
pub(crate) fn set_size(fd: BorrowedFd<'_>, size: Winsize) -> bool {
    // SAFETY: TIOCSWINSZ reads one `winsize` (ioctl_tty(2)).
    unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) == 0 }
}
