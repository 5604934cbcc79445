//! The exit status of retry, or its death by the same signal as the command.

use crate::policy::finish::Finish;
use crate::policy::outcome::Outcome;
use crate::policy::signal::Signal;
use crate::policy::verdict::rule::Rule;

/// The end of retry, as its parent sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Status(u8),
    Signal(Signal),
}

/// The breaker was open or another run was at it, and nothing was run: EX_TEMPFAIL (sysexits.h).
const REFUSED: u8 = 75;

/// The run reached a limit.
const TIMED_OUT: u8 = 124;

/// retry itself failed.
pub(crate) const FAILED: u8 = 125;

/// The exit statuses, for the man page and `--help`.
pub(crate) const TABLE: [(&str, &str); 8] = [
    ("0", "success of the command, `--until` or `--check`; an answer of `--once`"),
    ("N", "the status of the last attempt; 1 if it exited 0 without success"),
    ("75", "nothing ran: the breaker was open, or `--once` was busy elsewhere"),
    ("124", "the last attempt timed out, or the deadline cut it"),
    ("125", "retry itself failed: a bad option, lost output, an internal error"),
    ("126", "the command was found but could not run"),
    ("127", "the command was not found"),
    ("128+N", "signal N killed the command"),
];

impl Exit {
    /// The exit status for the end of a run. See [`TABLE`].
    pub(crate) fn of(finish: &Finish) -> Self {
        let failed = |outcome: &Outcome| match outcome.status() {
            0 => Self::Status(1),
            status => Self::Status(status),
        };
        match finish {
            Finish::Succeeded { rule: Rule::Until(_), .. } | Finish::Answered { .. } => Self::Status(0),
            Finish::Succeeded { outcome, .. } => Self::Status(outcome.status()),
            Finish::GaveUp { outcome, .. } | Finish::NotRetried { outcome, .. } => failed(outcome),
            // The end of `--check` is not the end of the command.
            Finish::InterruptedAttempt { signal, rule: Rule::NotDone, .. }
            | Finish::InterruptedAttempt {
                signal,
                rule: Rule::CannotTell,
                outcome: Outcome::Signaled(_) | Outcome::TimedOut(_),
            } => Self::Signal(*signal),
            Finish::InterruptedAttempt { outcome: Outcome::Signaled(signal), .. } => Self::Signal(*signal),
            Finish::InterruptedAttempt { outcome, .. } => failed(outcome),
            Finish::InterruptedWait { signal, .. } | Finish::InterruptedOutput { signal } => {
                Self::Signal(*signal)
            }
            Finish::NotRun { .. } | Finish::Busy { .. } => Self::Status(REFUSED),
            Finish::NeverStarted { .. } => Self::Status(TIMED_OUT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::admission::breaker::{Awaits, Cause, Known, Refusal};
    use crate::policy::finish::{Exhausted, Wait};

    #[test]
    fn each_end_has_its_status() {
        let outcome = Outcome::Exited;
        let until = Rule::Until("3".into());
        let success_on = Rule::SuccessOn("3".into());
        let killed = Outcome::Signaled(Signal::TERM);
        let why = Exhausted::Attempts;
        let time = std::time::Duration::ZERO;
        let (cause, last, awaits) = (Cause::Tripped, None, Awaits::Probe);
        let refusal = Refusal { age: time, left: time, cause, failures: 0, last, awaits, known: Known::Now };
        for (finish, exit) in [
            (Finish::Succeeded { outcome: outcome(0), rule: Rule::ExitZero }, Exit::Status(0)),
            (Finish::Succeeded { outcome: outcome(3), rule: until }, Exit::Status(0)),
            (Finish::Succeeded { outcome: outcome(3), rule: success_on }, Exit::Status(3)),
            (
                Finish::GaveUp { outcome: outcome(7), rule: Rule::AnyFailure, why: why.clone() },
                Exit::Status(7),
            ),
            (
                Finish::GaveUp { outcome: outcome(0), rule: Rule::AnyFailure, why: why.clone() },
                Exit::Status(1),
            ),
            (Finish::GaveUp { outcome: killed.clone(), rule: Rule::AnyFailure, why }, Exit::Status(143)),
            (Finish::NotRetried { outcome: outcome(0), rule: Rule::NotYet }, Exit::Status(1)),
            (
                Finish::InterruptedAttempt { signal: Signal::TERM, outcome: killed, rule: Rule::AnyFailure },
                Exit::Signal(Signal::TERM),
            ),
            (
                Finish::InterruptedAttempt {
                    signal: Signal::TERM,
                    outcome: outcome(9),
                    rule: Rule::Until("9".into()),
                },
                Exit::Status(9),
            ),
            (
                Finish::InterruptedAttempt { signal: Signal::TERM, outcome: outcome(1), rule: Rule::NotDone },
                Exit::Signal(Signal::TERM),
            ),
            (
                Finish::InterruptedAttempt {
                    signal: Signal::TERM,
                    outcome: Outcome::Signaled(Signal::KILL),
                    rule: Rule::CannotTell,
                },
                Exit::Signal(Signal::TERM),
            ),
            (Finish::NotRun { refusal, deadline: None }, Exit::Status(75)),
            (Finish::Busy { by: Some(7), deadline: None }, Exit::Status(75)),
            (Finish::Answered { age: time }, Exit::Status(0)),
            (Finish::NeverStarted { deadline: std::time::Duration::from_secs(1) }, Exit::Status(124)),
            (Finish::InterruptedWait { signal: Signal::INT, wait: Wait::Delay }, Exit::Signal(Signal::INT)),
        ] {
            assert_eq!(Exit::of(&finish), exit, "{finish:?}");
        }
    }
}
