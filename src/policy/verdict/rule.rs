//! The verdict on an attempt, and the rule that decided.

use super::profile::{Pattern, Profile};
use crate::policy::outcome::Attempt;
use crate::policy::signal::Signal;

/// The rule that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Processes of the attempt are still alive: a next attempt would run beside them.
    LeftAlive,
    /// `--check` says that there is nothing to do.
    Done,
    /// `--check` says that there is, and a signal allows no attempt.
    NotDone,
    /// `--check` cannot tell whether there is.
    CannotTell,
    /// `--fatal-on`, with the condition as written.
    FatalOn(String),
    /// `--success-on`, with the condition as written.
    SuccessOn(String),
    /// `--until`, with the condition as written.
    Until(String),
    /// `--retry-on`, with the condition as written.
    RetryOn(String),
    /// `--retry-on` was given and does not name this failure.
    NotInRetryOn,
    /// A row of the profile table, by exit status.
    Profile { row: &'static Profile, reason: &'static str },
    /// A row of the profile table, by a line of the output that matched the pattern.
    Line { row: &'static Profile, pattern: &'static Pattern },
    /// The status of the last HTTP response. Without a row, `--headers` showed it.
    Http { status: u16, row: Option<&'static Profile> },
    /// Exit 0.
    ExitZero,
    /// Exit 0, while `--until` waits for something else.
    NotYet,
    /// The command could not be started, or says by 126 or 127 that another could not.
    CannotRun,
    /// The command could not be started, for a cause that may pass.
    StartMayPass,
    /// Killed by INT, QUIT or PIPE: somebody wants it to end.
    Stopped(Signal),
    /// It failed, and nobody reads its output any more.
    ReaderGone,
    /// It would be retried, but may have had its effect (`--not-idempotent`).
    MaybeSent,
    /// Any other failure.
    AnyFailure,
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

/// A finished attempt and its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) attempt: Attempt,
    pub(crate) verdict: Verdict,
}

impl Judged {
    /// The rule that decided.
    pub(crate) fn rule(&self) -> &Rule {
        self.verdict.rule()
    }
}
