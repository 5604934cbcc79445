//! The outcome of an attempt, and everything else that the verdict depends on.

use std::time::Duration;

use nix::errno::Errno;

use super::signal::Signal;
use super::verdict::evidence::Evidence;
use super::verdict::http::Asked;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Exited(u8),
    /// A signal killed the command, and retry did not send it at a limit.
    Signaled(Signal),
    /// The attempt reached a limit, and retry ended it.
    TimedOut(Cut),
    /// The command could not start.
    NotStarted(NotStarted),
}

impl Outcome {
    /// The exit status that a shell or timeout(1) would report.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Exited(status) => *status,
            Self::Signaled(signal) => signal.status(),
            Self::TimedOut(_) => 124,
            Self::NotStarted(failure) => failure.status(),
        }
    }

    /// Any outcome but exit 0 is a failure.
    pub(crate) fn is_failure(&self) -> bool {
        *self != Self::Exited(0)
    }
}

/// The end of an attempt at a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) limit: Limit,
    /// The signal that ended the attempt: `--signal`, or KILL if that was not enough.
    pub(crate) ended_by: Signal,
    /// The processes of the attempt that are still alive.
    pub(crate) left: Vec<Survivor>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// `--timeout`
    Timeout(Duration),
    /// `--deadline`
    Deadline(Duration),
}

/// A process of an attempt that retry could not kill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Survivor {
    /// The pid, if it is known.
    pub(crate) pid: Option<i32>,
    pub(crate) why: Alive,
}

/// Why a process survived KILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alive {
    /// The process belongs to another user: kill(2) fails with EPERM.
    Foreign,
    /// The process is still alive five seconds after KILL.
    Unkillable,
    /// retry has a living descendant, but /proc does not show it.
    Unseen,
}

/// Why a command could not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotStarted {
    /// There is no such command: status 127.
    NotFound,
    /// The command is a directory: status 126.
    Directory,
    /// The interpreter in the first line of the script was not found: status 126.
    NoInterpreter,
    /// The command was found, but execve(2) failed: status 126.
    CannotRun(Errno),
    /// clone(2) failed: status 126 if the cause may pass, else 125.
    NoProcess(Errno),
}

/// Errors of clone(2) and execve(2) that may pass: a resource is exhausted, a process has the file
/// open for writing, or a file system does not answer (ETIMEDOUT: a network file system).
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

/// Whether a later start may succeed although this one failed with `errno`.
pub(crate) fn may_pass(errno: Errno) -> bool {
    PASSING.contains(&errno)
}

impl NotStarted {
    /// The exit status: 126 and 127 as POSIX defines them for env(1), and 125 if neither the
    /// command nor a lack of resources is the cause.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::NotFound => 127,
            Self::Directory | Self::NoInterpreter | Self::CannotRun(_) => 126,
            Self::NoProcess(errno) if may_pass(*errno) => 126,
            Self::NoProcess(_) => 125,
        }
    }

    /// Whether the cause is the file of the command. Messages then name its path.
    pub(crate) fn is_about_the_file(&self) -> bool {
        match self {
            Self::NotFound | Self::Directory | Self::NoInterpreter | Self::CannotRun(_) => true,
            Self::NoProcess(_) => false,
        }
    }

    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::NotFound | Self::Directory | Self::NoInterpreter => false,
            Self::CannotRun(errno) | Self::NoProcess(errno) => may_pass(*errno),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) outcome: Outcome,
    /// Whether the command or `--check` had this outcome.
    pub(crate) by: By,
    /// The time for which the attempt ran. Time in which it was stopped does not count.
    pub(crate) ran: Duration,
    /// The first INT, TERM, HUP or QUIT that retry received during the attempt.
    pub(crate) interrupted: Option<Signal>,
    /// The attempt failed, and the reader of retry's stdout is gone.
    pub(crate) reader_gone: bool,
    /// The evidence in the watched streams.
    pub(crate) evidence: Evidence,
    /// The wait that the server asks for, counted from the end of the attempt.
    pub(crate) asked: Option<Asked>,
    /// The reason why another attempt could not read the same input.
    pub(crate) unkept: Option<Unkept>,
    /// retry itself failed when the attempt was over, for example to write its output. The run ends.
    pub(crate) error: Option<OwnError>,
}

/// A failure of retry itself: what it was doing, and why that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnError {
    pub(crate) what: &'static str,
    pub(crate) errno: Errno,
}

/// The process whose outcome counts as that of the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Command,
    /// `--check`, and the command did not run.
    Check,
}

/// Why retry could not keep the input for another attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unkept {
    /// The input is longer than `--stdin-limit`, in bytes.
    TooLong { limit: u64 },
    /// The spool file in this directory cannot be created or written. `hint`: another directory may
    /// work.
    NoRoom { directory: String, why: String, hint: bool },
    /// retry could not read the input to its end.
    Broken { why: String },
    /// retry had no descriptor left for a pipe, so the command read the input directly.
    HandedOver { why: String },
}

impl Attempt {
    /// An attempt that took no time and left no evidence.
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
            error: None,
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
