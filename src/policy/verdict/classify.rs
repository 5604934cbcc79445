//! The rules in their order; the first that matches decides, and the verdict names it.

use super::condition::Condition;
use super::outcome::{Attempt, NotStarted, Outcome, Signal, Verdict};
use super::profile::{Class, Profile};

/// What the user said of outcomes, and what is known of the command.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// `--fatal-on`
    pub(crate) fatal_on: Vec<Condition>,
    /// `--success-on`
    pub(crate) success_on: Vec<Condition>,
    /// `--until`
    pub(crate) until: Option<Condition>,
    /// `--retry-on`
    pub(crate) retry_on: Vec<Condition>,
    /// The rows of the profile table that apply, in order.
    pub(crate) profiles: Vec<&'static Profile>,
}

/// The rule that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Processes of the attempt are still alive: a next attempt would run beside them.
    LeftAlive,
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
    /// A row of the profile table, with the reason that it gives.
    Profile { name: &'static str, reason: &'static str },
    /// Exit 0.
    ExitZero,
    /// Exit 0, while `--until` waits for something else.
    NotYet,
    /// The command could not be started, or says by 126 or 127 that another could not.
    CannotRun,
    /// Killed by INT, QUIT or PIPE: somebody wants it to end.
    Stopped(Signal),
    /// It failed, and nobody reads its output any more.
    ReaderGone,
    /// Any other failure.
    AnyFailure,
}

impl Rules {
    /// The verdict on a finished attempt. Total: every outcome gets one.
    pub(crate) fn classify(&self, attempt: &Attempt) -> Verdict {
        let outcome = &attempt.outcome;
        if let Outcome::TimedOut(cut) = outcome
            && !cut.left.is_empty()
        {
            return Verdict::Fatal(Rule::LeftAlive);
        }
        let transient = || matches!(self.behind_conditions(attempt), Verdict::Retryable(_));
        let first = |conditions: &[Condition]| {
            conditions.iter().find(|c| c.matches(outcome, transient)).map(ToString::to_string)
        };
        if let Some(text) = first(&self.fatal_on) {
            return Verdict::Fatal(Rule::FatalOn(text));
        }
        if let Some(text) = first(&self.success_on) {
            return Verdict::Success(Rule::SuccessOn(text));
        }
        if let Some(text) = first(self.until.as_slice()) {
            return Verdict::Success(Rule::Until(text));
        }
        if let Some(text) = first(&self.retry_on) {
            return Verdict::Retryable(Rule::RetryOn(text));
        }
        if outcome.is_failure() && !self.retry_on.is_empty() {
            return Verdict::Fatal(Rule::NotInRetryOn);
        }
        self.behind_conditions(attempt)
    }

    /// What the command's profile says of a status, where it knows it: for the reason in a message.
    pub(crate) fn reason(&self, outcome: &Outcome) -> Option<&'static str> {
        let Outcome::Exited(status) = outcome else { return None };
        self.profiles.iter().find_map(|row| row.status(*status)).map(|(_, reason)| reason)
    }

    /// The rules behind the user's conditions: profile, then defaults.
    fn behind_conditions(&self, attempt: &Attempt) -> Verdict {
        if let Outcome::Exited(status) = attempt.outcome {
            for row in &self.profiles {
                let rule = |reason| Rule::Profile { name: row.name, reason };
                match row.status(status) {
                    Some((Class::Retryable, reason)) if !attempt.reader_gone => {
                        return Verdict::Retryable(rule(reason));
                    }
                    Some((Class::Fatal, reason)) => return Verdict::Fatal(rule(reason)),
                    Some((Class::Retryable | Class::Ambiguous, _)) | None => {}
                }
            }
        }
        match &attempt.outcome {
            Outcome::Exited(0) if self.until.is_some() => Verdict::Retryable(Rule::NotYet),
            Outcome::Exited(0) => Verdict::Success(Rule::ExitZero),
            Outcome::NotStarted(
                NotStarted::NotFound | NotStarted::CannotRun(_) | NotStarted::NoProcess(_),
            )
            | Outcome::Exited(126 | 127) => Verdict::Fatal(Rule::CannotRun),
            Outcome::Signaled(signal @ (Signal::INT | Signal::QUIT | Signal::PIPE)) => {
                Verdict::Fatal(Rule::Stopped(*signal))
            }
            Outcome::Exited(_) | Outcome::Signaled(_) | Outcome::TimedOut(_) if attempt.reader_gone => {
                Verdict::Fatal(Rule::ReaderGone)
            }
            Outcome::Exited(_) | Outcome::Signaled(_) | Outcome::TimedOut(_) => {
                Verdict::Retryable(Rule::AnyFailure)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::outcome::{Alive, Cut, Limit, Survivor};
    use super::*;

    fn attempt(outcome: Outcome) -> Attempt {
        Attempt { outcome, ran: Duration::ZERO, interrupted: None, reader_gone: false }
    }

    fn condition(text: &str) -> Condition {
        Condition::parse(text).unwrap()
    }

    fn timed_out(left: Vec<Survivor>) -> Outcome {
        let limit = Limit::Timeout(Duration::from_secs(1));
        Outcome::TimedOut(Cut { limit, ended_by: Signal::TERM, left })
    }

    #[test]
    fn without_conditions_the_defaults_decide() {
        let rules = Rules::default();
        for (outcome, verdict) in [
            (Outcome::Exited(0), Verdict::Success(Rule::ExitZero)),
            (Outcome::Exited(1), Verdict::Retryable(Rule::AnyFailure)),
            (Outcome::Exited(126), Verdict::Fatal(Rule::CannotRun)),
            (Outcome::Exited(127), Verdict::Fatal(Rule::CannotRun)),
            (Outcome::NotStarted(NotStarted::NotFound), Verdict::Fatal(Rule::CannotRun)),
            (Outcome::Signaled(Signal::INT), Verdict::Fatal(Rule::Stopped(Signal::INT))),
            (Outcome::Signaled(Signal::QUIT), Verdict::Fatal(Rule::Stopped(Signal::QUIT))),
            (Outcome::Signaled(Signal::PIPE), Verdict::Fatal(Rule::Stopped(Signal::PIPE))),
            (Outcome::Signaled(Signal::TERM), Verdict::Retryable(Rule::AnyFailure)),
            (timed_out(vec![]), Verdict::Retryable(Rule::AnyFailure)),
        ] {
            assert_eq!(rules.classify(&attempt(outcome.clone())), verdict, "{outcome:?}");
        }
    }

    #[test]
    fn the_order_is_fatal_success_until_retry_then_the_rest() {
        let all = Rules {
            fatal_on: vec![condition("1")],
            success_on: vec![condition("1,2")],
            until: Some(condition("1-3")),
            retry_on: vec![condition("1-4")],
            profiles: vec![],
        };
        let verdict = |status| all.classify(&attempt(Outcome::Exited(status)));
        assert_eq!(verdict(1), Verdict::Fatal(Rule::FatalOn("1".into())));
        assert_eq!(verdict(2), Verdict::Success(Rule::SuccessOn("1,2".into())));
        assert_eq!(verdict(3), Verdict::Success(Rule::Until("1-3".into())));
        assert_eq!(verdict(4), Verdict::Retryable(Rule::RetryOn("1-4".into())));
        assert_eq!(verdict(5), Verdict::Fatal(Rule::NotInRetryOn));
        assert_eq!(verdict(0), Verdict::Retryable(Rule::NotYet));
    }

    #[test]
    fn a_profile_stands_behind_the_conditions_and_before_the_defaults() {
        let profiles = vec![Profile::named("curl").unwrap()];
        let rules = Rules { profiles, ..Rules::default() };
        assert!(matches!(
            rules.classify(&attempt(Outcome::Exited(7))),
            Verdict::Retryable(Rule::Profile { .. })
        ));
        assert!(matches!(rules.classify(&attempt(Outcome::Exited(3))), Verdict::Fatal(Rule::Profile { .. })));
        assert_eq!(rules.classify(&attempt(Outcome::Exited(22))), Verdict::Retryable(Rule::AnyFailure));
        let rules = Rules { retry_on: vec![condition("transient,3")], ..rules };
        assert!(matches!(rules.classify(&attempt(Outcome::Exited(7))), Verdict::Retryable(Rule::RetryOn(_))));
        assert!(matches!(rules.classify(&attempt(Outcome::Exited(3))), Verdict::Retryable(Rule::RetryOn(_))));
        assert_eq!(rules.classify(&attempt(Outcome::Exited(2))), Verdict::Fatal(Rule::NotInRetryOn));
    }

    #[test]
    fn a_lost_reader_makes_every_failure_fatal_but_leaves_success_alone() {
        let rules = Rules { profiles: vec![Profile::named("curl").unwrap()], ..Rules::default() };
        let gone = |outcome| Attempt { reader_gone: true, ..attempt(outcome) };
        assert_eq!(
            rules.classify(&gone(Outcome::Exited(1))),
            Verdict::Fatal(Rule::Profile { name: "curl", reason: "unsupported protocol" })
        );
        assert_eq!(rules.classify(&gone(Outcome::Exited(7))), Verdict::Fatal(Rule::ReaderGone));
        assert_eq!(rules.classify(&gone(Outcome::Signaled(Signal::TERM))), Verdict::Fatal(Rule::ReaderGone));
        assert_eq!(rules.classify(&gone(Outcome::Exited(0))), Verdict::Success(Rule::ExitZero));
        let rules = Rules { retry_on: vec![condition("failure")], ..rules };
        assert!(matches!(rules.classify(&gone(Outcome::Exited(7))), Verdict::Retryable(_)));
    }

    #[test]
    fn what_still_lives_forbids_the_next_attempt_whatever_the_user_said() {
        let rules = Rules { retry_on: vec![condition("any")], ..Rules::default() };
        let left = vec![Survivor { pid: 7, why: Alive::Foreign }];
        assert_eq!(rules.classify(&attempt(timed_out(left))), Verdict::Fatal(Rule::LeftAlive));
    }

    proptest! {
        /// No outcome is left without a verdict, and only what the user or exit 0 calls success is one.
        #[test]
        fn only_exit_zero_succeeds_by_default(status: u8, signal in 1..=64i32, reader_gone: bool) {
            for outcome in [Outcome::Exited(status), Outcome::Signaled(Signal::reported(signal))] {
                let zero = outcome == Outcome::Exited(0);
                let verdict = Rules::default().classify(&Attempt { reader_gone, ..attempt(outcome) });
                prop_assert_eq!(matches!(verdict, Verdict::Success(_)), zero);
            }
        }
    }
}
