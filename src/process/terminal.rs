//! The controlling terminal. If there is one, the command shares the process group of retry, so
//! that signals of the terminal, reading from it and job control work as they do without retry.

use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt as _;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, getpgid, getpgrp, getppid, getsid, tcgetpgrp, tcsetpgrp};

use super::signal::send::send;
use crate::policy::stream::Stream;
use crate::streams::standard::{self, Standard as _};

/// The process group of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// The group of retry, because there is a controlling terminal.
    Shared,
    /// A group of its own, for example under cron, in CI or in a service.
    Own,
}

/// The group for commands. It does not change during a run.
///
/// If a standard stream is the terminal, there is no need to open a file. Otherwise `/dev/tty`
/// decides: it can be opened exactly if there is a controlling terminal (tty(4)).
pub(crate) fn group() -> Group {
    let ours = tcgetpgrp(std::io::stderr()).is_ok()
        || tcgetpgrp(std::io::stdin()).is_ok()
        || tcgetpgrp(std::io::stdout()).is_ok()
        || open("/dev/tty", OFlag::O_RDONLY | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty()).is_ok();
    if ours { Group::Shared } else { Group::Own }
}

/// Whether retry's parent notices a stop of retry and takes the terminal back. A shell with job
/// control does so, which puts its jobs in groups of their own, and another retry does. The shell
/// of a script waits for the end and notices no stop. In an orphaned group (POSIX, 3.264) nobody
/// looks after the job.
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

/// The controlling terminal, with retry's group in its foreground.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal(BorrowedFd<'static>);

impl Terminal {
    /// The terminal, if a standard stream is the terminal and retry's group is in its foreground
    /// now.
    pub(crate) fn held() -> Option<Self> {
        let own = getpgrp();
        let streams = [Stream::Stderr.fd(), standard::input(), Stream::Stdout.fd()];
        streams.into_iter().find(|fd| tcgetpgrp(fd) == Ok(own)).map(Self)
    }

    /// The process group in the foreground of the terminal, if a standard stream is the terminal.
    pub(crate) fn foreground() -> Option<i32> {
        let streams = [Stream::Stderr.fd(), standard::input(), Stream::Stdout.fd()];
        streams.into_iter().find_map(|fd| tcgetpgrp(fd).ok()).map(Pid::as_raw)
    }

    /// Takes the terminal back from a group that is gone: the command gave the terminal to that
    /// group, and the next attempt would run in the background. A group that lives keeps the
    /// terminal, for example that of a shell that has put retry into the background. retry blocks
    /// TTOU, so the call does not stop it (tcsetpgrp(3)). The modes of the terminal stay as they
    /// are: another member of a pipeline may have set them.
    pub(crate) fn take_back(self) {
        let gone = |group: Pid| send(-group.as_raw(), 0) == Err(Errno::ESRCH);
        if tcgetpgrp(self.0).is_ok_and(|group| group != getpgrp() && gone(group)) {
            let _ = tcsetpgrp(self.0, getpgrp());
        }
    }
}
