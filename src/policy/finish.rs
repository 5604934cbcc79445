//! How a run ends.

use std::time::Duration;

use nix::errno::Errno;

use super::admission::breaker::Refusal;
use super::admission::budget::Spent;
use super::signal::Signal;
use super::verdict::http::Asked;
use super::verdict::rule::{Judged, Rule};
use crate::policy::outcome::{Outcome, Unkept};

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

/// What a run waits for while no attempt runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The end of the random wait before the first attempt (`--splay`).
    Splay,
    /// The end of the delay after an attempt.
    Delay,
    /// An open breaker, which refused in this way when the wait ended.
    Breaker(Refusal),
    /// Nothing: the next attempt was about to begin.
    Nothing,
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
    InterruptedWait { signal: Signal, wait: Wait },
    /// The breaker was open before there was an attempt; with a deadline it was waited for, and that comes first.
    NotRun { refusal: Refusal, deadline: Option<Duration> },
    /// The deadline passed before there was an attempt: retry was stopped in its first wait.
    NeverStarted { deadline: Duration },
}

impl Judged {
    /// The end of a run that had this attempt as its last.
    pub(crate) fn gave_up(&self, why: Exhausted) -> Finish {
        Finish::GaveUp { outcome: self.attempt.outcome.clone(), rule: self.rule().clone(), why }
    }
}
