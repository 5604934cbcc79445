//! How an attempt ended, and what else a verdict needs to know about it.

use std::time::Duration;

use nix::errno::Errno;

use super::signal::Signal;
use super::verdict::evidence::Evidence;
use super::verdict::http::Asked;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It exited with this status.
    Exited(u8),
    /// A signal killed it that retry did not send at a limit.
    Signaled(Signal),
    /// It ran into a limit and was ended.
    TimedOut(Cut),
    /// It could not be started.
    NotStarted(NotStarted),
}

impl Outcome {
    /// Its exit status as a shell and timeout(1) would write it.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Exited(status) => *status,
            Self::Signaled(signal) => signal.status(),
            Self::TimedOut(_) => 124,
            Self::NotStarted(failure) => failure.status(),
        }
    }

    /// Whether it is anything but exit 0.
    pub(crate) fn is_failure(&self) -> bool {
        *self != Self::Exited(0)
    }
}

/// An attempt that was ended at a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The limit that it ran into.
    pub(crate) limit: Limit,
    /// The signal that ended it: `--signal`, or KILL where that was not enough.
    pub(crate) ended_by: Signal,
    /// What of it still lives.
    pub(crate) left: Vec<Survivor>,
}

/// Which limit ended an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// `--timeout`, the time of one attempt.
    Timeout(Duration),
    /// `--deadline`, the time of the whole run.
    Deadline(Duration),
}

/// A process of an ended attempt that could not be killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Survivor {
    /// Its pid, where that is known.
    pub(crate) pid: Option<i32>,
    pub(crate) why: Alive,
}

/// Why a process outlived KILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alive {
    /// It belongs to another user: EPERM from kill(2).
    Foreign,
    /// It still lives 5 s after KILL.
    Unkillable,
    /// Something lives below retry that /proc does not show.
    Unseen,
}

/// Why a command could not be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotStarted {
    /// No such command: 127.
    NotFound,
    /// A directory has this name: 126.
    Directory,
    /// The script was found, but not the interpreter in its first line: 126.
    NoInterpreter,
    /// The command was found, but execve(2) failed: 126.
    CannotRun(Errno),
    /// clone(2) failed: 126 if that may pass, else 125.
    NoProcess(Errno),
}

/// Errors of clone(2) and execve(2) that may be gone a moment later: a resource is exhausted, the file is
/// being written, or a file system is away. ETIMEDOUT is a network file system that does not answer.
const PASSING: [Errno; 9] = [
    Errno::EAGAIN,
    Errno::ENOMEM,
    Errno::ENFILE,
    Errno::EMFILE,
    Errno::ETXTBSY,
    Errno::EINTR,
    Errno::EIO,
    Errno::ESTALE,
    Errno::ETIMEDOUT,
];

/// Whether another start may work although this one failed with `errno`.
pub(crate) fn may_pass(errno: Errno) -> bool {
    PASSING.contains(&errno)
}

impl NotStarted {
    /// The exit status: 126 and 127 as POSIX defines them for env(1), and 125 if the cause is neither the
    /// command nor a lack of resources.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::NotFound => 127,
            Self::Directory | Self::NoInterpreter | Self::CannotRun(_) => 126,
            Self::NoProcess(errno) if may_pass(*errno) => 126,
            Self::NoProcess(_) => 125,
        }
    }

    /// Whether the cause lies with the file that the command names, so that its path is worth telling.
    pub(crate) fn is_about_the_file(&self) -> bool {
        match self {
            Self::NotFound | Self::Directory | Self::NoInterpreter | Self::CannotRun(_) => true,
            Self::NoProcess(_) => false,
        }
    }

    /// Whether a later start may work.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::NotFound | Self::Directory | Self::NoInterpreter => false,
            Self::CannotRun(errno) | Self::NoProcess(errno) => may_pass(*errno),
        }
    }
}

/// A finished attempt: its outcome and what else a verdict needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) outcome: Outcome,
    /// Whose outcome it is.
    pub(crate) by: By,
    /// How long it ran, time stopped not counted.
    pub(crate) ran: Duration,
    /// The first of INT, TERM, HUP, QUIT that reached retry meanwhile.
    pub(crate) interrupted: Option<Signal>,
    /// It failed, and what reads retry's stdout has gone.
    pub(crate) reader_gone: bool,
    /// What its watched streams have shown.
    pub(crate) evidence: Evidence,
    /// How long the server asks to wait, counted from the attempt's end.
    pub(crate) asked: Option<Asked>,
    /// Another attempt could not read the same input.
    pub(crate) unkept: Option<Unkept>,
}

/// What an attempt came to: the command, or not so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Command,
    /// `--check`, which says that it is done, or cannot tell.
    Check,
}

/// Why the input of an attempt could not be kept for the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unkept {
    /// It is longer than `--stdin-limit`, in bytes.
    TooLong { limit: u64 },
    /// The file that was to hold it cannot be made or written, in this directory and for this reason; the `hint`
    /// is that another directory may do.
    NoRoom { directory: String, why: String, hint: bool },
    /// It could not be read to its end, or not by retry.
    Broken { why: String },
    /// The command has it without retry in between, as retry had no descriptor left for a pipe.
    HandedOver { why: String },
}

impl Attempt {
    /// An attempt that took no time, was not interrupted, and has shown nothing.
    pub(crate) fn ended(outcome: Outcome) -> Self {
        Self {
            outcome,
            by: By::Command,
            ran: Duration::ZERO,
            interrupted: None,
            reader_gone: false,
            evidence: Evidence::default(),
            asked: None,
            unkept: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_follow_the_shell() {
        assert_eq!(Outcome::Signaled(Signal::KILL).status(), 137);
        assert_eq!(Outcome::NotStarted(NotStarted::NotFound).status(), 127);
        assert_eq!(Outcome::NotStarted(NotStarted::CannotRun(Errno::ENOEXEC)).status(), 126);
        assert_eq!(Outcome::NotStarted(NotStarted::NoProcess(Errno::EAGAIN)).status(), 126);
        assert_eq!(Outcome::NotStarted(NotStarted::NoProcess(Errno::EPERM)).status(), 125);
        assert_eq!(Signal::new(64).unwrap().status(), 192);
    }
}
