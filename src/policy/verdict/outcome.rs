//! What happened to an attempt, what that means, and how a run ends.

use std::fmt;
use std::time::Duration;

use nix::errno::Errno;

use super::classify::Rule;
use super::evidence::Evidence;
use super::http::Asked;
use crate::policy::admission::breaker::Refusal;
use crate::policy::admission::budget::Spent;

/// A signal by its number on this system, real-time signals included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Signal(i32);

/// The first real-time signal that glibc gives to programs, and the last (signal(7)).
const REALTIME: std::ops::RangeInclusive<i32> = 34..=64;

impl Signal {
    pub(crate) const INT: Self = Self(2);
    pub(crate) const QUIT: Self = Self(3);
    pub(crate) const KILL: Self = Self(9);
    pub(crate) const PIPE: Self = Self(13);
    pub(crate) const TERM: Self = Self(15);

    /// The signal with this number, if there is one: 1 to 31, and the real-time signals 34 to 64.
    pub(crate) fn new(number: i32) -> Option<Self> {
        ((1..=31).contains(&number) || REALTIME.contains(&number)).then_some(Self(number))
    }

    /// A signal as the kernel reported it.
    pub(crate) fn reported(number: i32) -> Self {
        Self(number)
    }

    /// Reads `TERM`, `SIGTERM`, `15`, `RTMIN+1`, `RTMAX-1`, in any case.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return Self::new(text.parse().ok()?);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let offset = |rest: &str, sign: char| -> Option<i32> {
            if rest.is_empty() {
                return Some(0);
            }
            let digits = rest.strip_prefix(sign)?;
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
        };
        if let Some(rest) = name.strip_prefix("RTMIN") {
            return Self::new(REALTIME.start().checked_add(offset(rest, '+')?)?)
                .filter(|s| REALTIME.contains(&s.0));
        }
        if let Some(rest) = name.strip_prefix("RTMAX") {
            return Self::new(REALTIME.end().checked_sub(offset(rest, '-')?)?)
                .filter(|s| REALTIME.contains(&s.0));
        }
        (1..=31).map(Self).find(|s| s.name() == Some(name))
    }

    /// Its number on this system.
    pub(crate) fn number(self) -> i32 {
        self.0
    }

    /// Its exit status as shells and timeout(1) write it: 128 + number.
    pub(crate) fn status(self) -> u8 {
        u8::try_from(128 + self.0).unwrap_or(u8::MAX)
    }

    fn name(self) -> Option<&'static str> {
        let signal = nix::sys::signal::Signal::try_from(self.0).ok()?;
        signal.as_str().strip_prefix("SIG")
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None if self.0 == *REALTIME.start() => f.write_str("RTMIN"),
            None if REALTIME.contains(&self.0) => write!(f, "RTMIN+{}", self.0 - REALTIME.start()),
            None => write!(f, "signal {}", self.0),
        }
    }
}

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

/// What an outcome means, with the rule that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) enum Verdict {
    Success(Rule),
    Retryable(Rule),
    Fatal(Rule),
}

impl Verdict {
    /// The rule that decided.
    pub(crate) fn rule(&self) -> &Rule {
        match self {
            Self::Success(rule) | Self::Retryable(rule) | Self::Fatal(rule) => rule,
        }
    }
}

/// A finished attempt and the rule of its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) attempt: Attempt,
    pub(crate) rule: Rule,
}

impl Judged {
    /// The end of a run that had this attempt as its last.
    pub(crate) fn gave_up(&self, why: Exhausted) -> Finish {
        Finish::GaveUp { outcome: self.attempt.outcome.clone(), rule: self.rule.clone(), why }
    }
}

/// Why a run ended without success although its last failure was retryable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exhausted {
    /// All attempts were made.
    Attempts,
    /// The deadline ended the last attempt or has passed.
    Deadline(Duration),
    /// The next delay would end past the deadline.
    DelayPastDeadline(Duration),
    /// The server asks for more than `--max-retry-after`.
    AskedTooMuch { asked: Asked, most: Duration },
    /// What the server asks for would end past the deadline.
    AskedPastDeadline { asked: Asked, deadline: Duration },
    /// The breaker is open; with a deadline it was waited for, and that comes first.
    BreakerOpen { refusal: Refusal, deadline: Option<Duration> },
    /// The budget has no token for a retry.
    BudgetSpent(Spent),
    /// Another attempt could not read the same input.
    InputUnkept(Unkept),
    /// The system refused something that another attempt needs.
    Unprepared { what: &'static str, errno: Errno },
}

/// How a run ends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) enum Finish {
    /// An attempt succeeded.
    Succeeded { outcome: Outcome, rule: Rule },
    /// It was retryable, but there is no further attempt.
    GaveUp { outcome: Outcome, rule: Rule, why: Exhausted },
    /// The last failure cannot succeed later.
    NotRetried { outcome: Outcome, rule: Rule },
    /// INT, TERM, HUP or QUIT came while an attempt ran.
    InterruptedAttempt { signal: Signal, outcome: Outcome, rule: Rule },
    /// INT, TERM, HUP or QUIT came while the held output of a success was passed on, or (PIPE) nobody reads it.
    InterruptedOutput { signal: Signal },
    /// INT, TERM, HUP or QUIT came while no attempt ran.
    InterruptedWait { signal: Signal },
    /// The breaker was open before there was an attempt; with a deadline it was waited for, and that comes first.
    NotRun { refusal: Refusal, deadline: Option<Duration> },
    /// The deadline passed before there was an attempt: retry was stopped in its first wait.
    NeverStarted { deadline: Duration },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_by_name_and_number_in_any_case() {
        for text in ["TERM", "SIGTERM", "15", "term", "SigTerm", "015"] {
            assert_eq!(Signal::parse(text), Some(Signal::TERM), "{text}");
        }
        assert_eq!(Signal::parse("RTMIN+6").map(Signal::number), Some(40));
        assert_eq!(Signal::parse("rtmax").map(Signal::number), Some(64));
        for text in [
            "",
            "0",
            "32",
            "33",
            "65",
            "-1",
            "+15",
            "FOO",
            "SIG",
            "SIGSIGTERM",
            "RTMIN+31",
            "RTMIN+",
            "RTMAX-99",
            "RTMIN-1",
        ] {
            assert_eq!(Signal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_signal_reads_back_as_it_is_shown() {
        for number in (1..=31).chain(REALTIME) {
            let signal = Signal::new(number).unwrap();
            assert_eq!(Signal::parse(&signal.to_string()), Some(signal));
        }
    }

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
