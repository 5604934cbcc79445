//! The grammar of conditions, and what one matches.
//!
//! A condition is a comma-separated list; it matches an outcome when one of its terms does.

use std::fmt;
use std::ops::RangeInclusive;

use super::outcome::{Outcome, Signal};

/// One list of terms, as the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    text: String,
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    /// Exit statuses; above 128 also death by the signal 128 less.
    Status(RangeInclusive<u8>),
    Signal(Signal),
    AnySignal,
    Timeout,
    Success,
    Failure,
    Any,
    Transient,
}

/// A term that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConditionError {
    /// Nothing between two commas, or nothing at all.
    Empty,
    /// A number that is no exit status.
    Status(String),
    /// A range whose end is below its start.
    Backwards(String),
    /// Neither a status nor a word that is known.
    Unknown(String),
}

impl fmt::Display for ConditionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a term is empty"),
            Self::Status(term) => write!(f, "{term:?} is not an exit status (0 to 255)"),
            Self::Backwards(term) => write!(f, "the range {term:?} runs backwards"),
            Self::Unknown(term) => write!(f, "{term:?} is not a condition"),
        }
    }
}

impl Condition {
    /// Reads `22`, `5-7,28`, `TERM`, `signal,timeout`, `failure` and the like.
    ///
    /// # Errors
    /// The first term that cannot be read.
    pub(crate) fn parse(text: &str) -> Result<Self, ConditionError> {
        let terms = text.split(',').map(|term| Term::parse(term.trim())).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), terms })
    }

    /// Whether a term matches. `transient` tells what the rules behind the conditions say: it is asked
    /// only where the word is used.
    pub(crate) fn matches(&self, outcome: &Outcome, transient: impl Fn() -> bool) -> bool {
        self.terms.iter().any(|term| term.matches(outcome, &transient))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Term {
    fn parse(text: &str) -> Result<Self, ConditionError> {
        let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
        let status = |t: &str| t.parse::<u8>().map_err(|_| ConditionError::Status(text.to_owned()));
        if text.is_empty() {
            return Err(ConditionError::Empty);
        }
        if digits(text) {
            let n = status(text)?;
            return Ok(Self::Status(n..=n));
        }
        if let Some((from, to)) = text.split_once('-')
            && digits(from)
            && digits(to)
        {
            let (from, to) = (status(from)?, status(to)?);
            if to < from {
                return Err(ConditionError::Backwards(text.to_owned()));
            }
            return Ok(Self::Status(from..=to));
        }
        Ok(match text.to_ascii_lowercase().as_str() {
            "signal" => Self::AnySignal,
            "timeout" => Self::Timeout,
            "success" => Self::Success,
            "failure" => Self::Failure,
            "any" => Self::Any,
            "transient" => Self::Transient,
            // A leading minus is a negative number, not a name.
            _ => Signal::parse(text)
                .map(Self::Signal)
                .ok_or_else(|| ConditionError::Unknown(text.to_owned()))?,
        })
    }

    fn matches(&self, outcome: &Outcome, transient: impl Fn() -> bool) -> bool {
        match self {
            Self::Status(range) => match outcome {
                Outcome::Exited(status) => range.contains(status),
                Outcome::Signaled(_) | Outcome::NotStarted(_) => range.contains(&outcome.status()),
                Outcome::TimedOut(_) => false,
            },
            Self::Signal(signal) => *outcome == Outcome::Signaled(*signal),
            Self::AnySignal => matches!(outcome, Outcome::Signaled(_)),
            Self::Timeout => matches!(outcome, Outcome::TimedOut(_)),
            Self::Success => !outcome.is_failure(),
            Self::Failure => outcome.is_failure(),
            Self::Any => true,
            Self::Transient => transient(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::outcome::{Cut, Limit, NotStarted};
    use super::*;

    fn timed_out() -> Outcome {
        Outcome::TimedOut(Cut {
            limit: Limit::Timeout(Duration::from_secs(1)),
            ended_by: Signal::TERM,
            left: Vec::new(),
        })
    }

    #[test]
    fn each_form_matches_what_it_names_and_nothing_else() {
        let exited = Outcome::Exited;
        let killed = |n| Outcome::Signaled(Signal::reported(n));
        for (text, yes, no) in [
            ("22", vec![exited(22)], vec![exited(2), exited(0), timed_out(), killed(22)]),
            ("5-7", vec![exited(5), exited(7)], vec![exited(4), exited(8)]),
            ("143", vec![exited(143), killed(15)], vec![exited(15), killed(9)]),
            ("130-143", vec![killed(2), killed(15), exited(131)], vec![killed(1)]),
            ("TERM", vec![killed(15)], vec![exited(143), killed(9)]),
            ("sigkill", vec![killed(9)], vec![killed(15)]),
            ("signal", vec![killed(9), killed(40)], vec![exited(137), timed_out()]),
            ("timeout", vec![timed_out()], vec![exited(124)]),
            ("124", vec![exited(124)], vec![timed_out()]),
            ("success", vec![exited(0)], vec![exited(1)]),
            ("failure", vec![exited(1), killed(9), timed_out()], vec![exited(0)]),
            ("any", vec![exited(0), exited(1), timed_out()], vec![]),
            ("127", vec![Outcome::NotStarted(NotStarted::NotFound)], vec![]),
            ("7, 28 ,TERM", vec![exited(7), exited(28), killed(15)], vec![exited(8)]),
        ] {
            let condition = Condition::parse(text).unwrap();
            for outcome in yes {
                assert!(condition.matches(&outcome, || false), "{text} matches {outcome:?}");
            }
            for outcome in no {
                assert!(!condition.matches(&outcome, || false), "{text} does not match {outcome:?}");
            }
        }
    }

    #[test]
    fn transient_asks_the_rules_behind() {
        let condition = Condition::parse("transient,60").unwrap();
        assert!(condition.matches(&Outcome::Exited(1), || true));
        assert!(!condition.matches(&Outcome::Exited(1), || false));
        assert!(condition.matches(&Outcome::Exited(60), || false));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let error = |text| Condition::parse(text).unwrap_err().to_string();
        assert_eq!(error(""), "a term is empty");
        assert_eq!(error("1,,2"), "a term is empty");
        assert_eq!(error("256"), "\"256\" is not an exit status (0 to 255)");
        assert_eq!(error("0-999999999999"), "\"0-999999999999\" is not an exit status (0 to 255)");
        assert_eq!(error("9-5"), "the range \"9-5\" runs backwards");
        assert_eq!(error("-1"), "\"-1\" is not a condition");
        assert_eq!(error("oops"), "\"oops\" is not a condition");
        assert_eq!(error("1-"), "\"1-\" is not a condition");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = Condition::parse(&text);
        }

        #[test]
        fn a_range_matches_exactly_its_statuses(from: u8, to: u8, status: u8) {
            let (from, to) = (from.min(to), from.max(to));
            let condition = Condition::parse(&format!("{from}-{to}")).unwrap();
            prop_assert_eq!(
                condition.matches(&Outcome::Exited(status), || false),
                (from..=to).contains(&status)
            );
        }
    }
}
