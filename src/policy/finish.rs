//! The end of a run.

use std::time::Duration;

use nix::errno::Errno;

use super::admission::breaker::Refusal;
use super::admission::budget::Spent;
use super::outer::Deadline;
use super::signal::Signal;
use super::verdict::http::Asked;
use super::verdict::rule::{Judged, Rule};
use crate::policy::outcome::{Outcome, Unkept};

/// Why a run gave up although its last failure was retryable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exhausted {
    Attempts,
    /// The deadline ended the last attempt, or passed after it.
    Deadline(Deadline),
    /// The next delay would end after the deadline.
    DelayPastDeadline(Deadline),
    /// The server asks for a longer wait than `--max-retry-after`.
    AskedTooMuch {
        asked: Asked,
        most: Duration,
    },
    /// The wait that the server asks for would end after the deadline.
    AskedPastDeadline {
        asked: Asked,
        deadline: Deadline,
    },
    /// The breaker is open. With a `deadline`, the run would wait for the breaker, but not for so
    /// long.
    BreakerOpen {
        refusal: Refusal,
        deadline: Option<Deadline>,
    },
    /// The budget has no token left.
    BudgetSpent(Spent),
    /// Another attempt could not read the same input.
    InputUnkept(Unkept),
    /// The system refused a resource that another attempt needs.
    Unprepared {
        what: &'static str,
        errno: Errno,
    },
}

/// The purpose of a wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The random wait before the first attempt.
    Splay,
    /// The delay after an attempt.
    Delay,
    /// The wait for an open breaker, with its last answer.
    Breaker(Refusal),
    /// The wait for a run that is making the answer of `--once`.
    Answer,
    /// No wait: the next attempt was about to begin.
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) enum Finish {
    /// An attempt succeeded.
    Succeeded { outcome: Outcome, rule: Rule },
    /// The last failure was retryable, but no attempt follows.
    GaveUp { outcome: Outcome, rule: Rule, why: Exhausted },
    /// The last failure was fatal.
    NotRetried { outcome: Outcome, rule: Rule },
    /// INT, TERM, HUP or QUIT arrived during an attempt.
    InterruptedAttempt { signal: Signal, outcome: Outcome, rule: Rule },
    /// A signal arrived while retry passed on the output of a success. PIPE: nobody reads the
    /// output.
    InterruptedOutput { signal: Signal },
    /// INT, TERM, HUP or QUIT arrived between two attempts.
    InterruptedWait { signal: Signal, wait: Wait },
    /// The breaker was open before the first attempt. `deadline` is as in
    /// [`Exhausted::BreakerOpen`].
    NotRun { refusal: Refusal, deadline: Option<Deadline> },
    /// `--once` had the answer, of this age, and nothing was run.
    Answered { age: Duration },
    /// Another run is making the answer of `--once`, and nothing was run. `deadline` is the one that
    /// has passed.
    Busy { by: Option<u32>, deadline: Option<Deadline> },
    /// The deadline passed before the first attempt, for example because retry was stopped.
    NeverStarted { deadline: Duration },
}

impl Judged {
    /// The end of a run after this attempt.
    pub(crate) fn gave_up(&self, why: Exhausted) -> Finish {
        Finish::GaveUp { outcome: self.attempt.outcome.clone(), rule: self.rule().clone(), why }
    }
}
