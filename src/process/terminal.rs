//! Is there a controlling terminal? Where there is, the command shares retry's process group, so that the
//! terminal's own signals, reading it, and job control work as without retry.

use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt as _;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, getpgid, getpgrp, getppid, getsid, tcgetpgrp, tcsetpgrp};

use super::signal::send;
use crate::policy::stream::Stream;
use crate::streams::standard::{self, Standard as _};

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

/// Whether retry's parent sees a stop of retry and takes the terminal back: a shell with job control, which
/// puts its jobs in groups of their own, or another retry. A script's shell waits for the end and sees no
/// stop. In an orphaned group (POSIX, 3.264) nobody looks after the job at all.
pub(crate) fn is_watched_by_a_shell() -> bool {
    let parent = getppid();
    let leads_another = getpgid(Some(parent)).is_ok_and(|group| group != getpgrp());
    let in_session = getsid(Some(parent)).is_ok_and(|session| getsid(None) == Ok(session));
    let program =
        |pid: &str| std::fs::metadata(format!("/proc/{pid}/exe")).map(|file| (file.dev(), file.ino()));
    let is_retry = || {
        let (its, own) = (program(&parent.to_string()), program("self"));
        its.is_ok_and(|its| own.is_ok_and(|own| its == own))
    };
    in_session && (leads_another || is_retry())
}

/// The controlling terminal, while retry's group has it in the foreground.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal(BorrowedFd<'static>);

impl Terminal {
    /// The terminal as it is now, if a standard stream is it and this group is in its foreground.
    pub(crate) fn held() -> Option<Self> {
        let own = getpgrp();
        let streams = [Stream::Stderr.fd(), standard::input(), Stream::Stdout.fd()];
        streams.into_iter().find(|fd| tcgetpgrp(fd) == Ok(own)).map(Self)
    }

    /// The process group in the foreground of the terminal that a standard stream is.
    pub(crate) fn foreground() -> Option<i32> {
        let streams = [Stream::Stderr.fd(), standard::input(), Stream::Stdout.fd()];
        streams.into_iter().find_map(|fd| tcgetpgrp(fd).ok()).map(Pid::as_raw)
    }

    /// Takes it back from a group that the command gave it to and that has ended with it: the next attempt
    /// would be in the background. Not from one that lives, such as the shell's, which put retry there.
    /// retry has TTOU blocked, so this does not stop it (tcsetpgrp(3)). Its modes are left alone: another
    /// member of a pipeline may have set them.
    pub(crate) fn take_back(self) {
        let gone = |group: Pid| send(-group.as_raw(), 0) == Err(Errno::ESRCH);
        if tcgetpgrp(self.0).is_ok_and(|group| group != getpgrp() && gone(group)) {
            let _ = tcsetpgrp(self.0, getpgrp());
        }
    }
}
