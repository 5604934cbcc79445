//! Is there a controlling terminal? Where there is, the command shares retry's process group, so that the
//! terminal's own signals, reading it, and job control work as without retry.

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::tcgetpgrp;

/// Which process group the command runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// retry's own: there is a controlling terminal.
    Shared,
    /// One of its own: cron, CI, a service.
    Own,
}

/// The group for commands, found once at the start.
///
/// A standard stream that is the terminal tells without opening a file; only if none does, `/dev/tty` is
/// asked: it opens exactly where there is a controlling terminal (tty(4)).
pub(crate) fn group() -> Group {
    let ours = tcgetpgrp(std::io::stderr()).is_ok()
        || tcgetpgrp(std::io::stdin()).is_ok()
        || tcgetpgrp(std::io::stdout()).is_ok()
        || open("/dev/tty", OFlag::O_RDONLY | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty()).is_ok();
    if ours { Group::Shared } else { Group::Own }
}
