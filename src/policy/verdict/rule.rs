//! The verdict on an attempt, and the rule that decided.

use super::profile::{Pattern, Profile, Status};
use crate::policy::outcome::Attempt;
use crate::policy::signal::Signal;

/// The rule that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rule {
    /// retry itself failed when the attempt was over.
    OwnError,
    /// Processes of the attempt are still alive, and the next attempt would run beside them.
    LeftAlive,
    /// `--check` says that the work is done.
    Done,
    /// `--check` says that the work is not done, but a signal ends the run.
    NotDone,
    /// `--check` failed.
    CannotTell,
    /// `--fatal-on` with this condition.
    FatalOn(String),
    /// `--success-on` with this condition.
    SuccessOn(String),
    /// `--until` with this condition.
    Until(String),
    /// `--retry-on` with this condition.
    RetryOn(String),
    /// `--retry-on` is given, and does not match.
    NotInRetryOn,
    /// A profile, by the exit status.
    Profile { row: &'static Profile, status: &'static Status },
    /// A profile, by a line of the output that matched the pattern.
    Line { row: &'static Profile, pattern: &'static Pattern },
    /// The status of an HTTP response. Without a row, it comes from the `--headers` file. With a
    /// pattern, a message of the program named it.
    Http { status: u16, row: Option<&'static Profile>, pattern: Option<&'static Pattern> },
    /// Exit 0.
    ExitZero,
    /// Exit 0, but `--until` waits for something else.
    NotYet,
    /// The command could not start, or its status 126 or 127 says the same of another command.
    CannotRun,
    /// The command could not start, for a reason that may pass.
    StartMayPass,
    /// INT, QUIT or PIPE killed the command, which counts as a request to stop.
    Stopped(Signal),
    /// The command failed, and nobody reads its output any more.
    ReaderGone,
    /// The failure is retryable, but the command may have taken effect (`--not-idempotent`).
    MaybeSent,
    /// Any other failure.
    AnyFailure,
}

/// What decided, if a profile or the `--headers` file did.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Known {
    Status(&'static Profile, &'static Status),
    Line(&'static Profile, &'static Pattern),
    Http(u16, Option<&'static Profile>, Option<&'static Pattern>),
}

impl Rule {
    pub(crate) fn known(&self) -> Option<Known> {
        match self {
            Self::Profile { row, status } => Some(Known::Status(row, status)),
            Self::Line { row, pattern } => Some(Known::Line(row, pattern)),
            Self::Http { status, row, pattern } => Some(Known::Http(*status, *row, *pattern)),
            Self::OwnError
            | Self::LeftAlive
            | Self::Done
            | Self::NotDone
            | Self::CannotTell
            | Self::FatalOn(_)
            | Self::SuccessOn(_)
            | Self::Until(_)
            | Self::RetryOn(_)
            | Self::NotInRetryOn
            | Self::ExitZero
            | Self::NotYet
            | Self::CannotRun
            | Self::StartMayPass
            | Self::Stopped(_)
            | Self::ReaderGone
            | Self::MaybeSent
            | Self::AnyFailure => None,
        }
    }
}

/// The meaning of an outcome, and the rule that decided.
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

/// The cause of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The status of an HTTP response.
    Http(u16),
    /// A noun phrase.
    Words(&'static str),
}

/// A finished attempt and its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) attempt: Attempt,
    pub(crate) verdict: Verdict,
    /// The cause of a failure, for messages. A condition of the user may have decided otherwise.
    pub(crate) cause: Option<Cause>,
}

impl Judged {
    /// The rule that decided.
    pub(crate) fn rule(&self) -> &Rule {
        self.verdict.rule()
    }

    pub(crate) fn is_success(&self) -> bool {
        matches!(self.verdict, Verdict::Success(_))
    }
}
