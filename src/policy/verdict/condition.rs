//! Conditions: `22`, `5-7,28`, `TERM`, `http:5xx`, `stderr~REGEX`.
//!
//! A condition is either a comma-separated list of terms, and matches if one of its terms matches,
//! or a single regular expression for the lines of a stream. A list cannot contain a regular
//! expression, because a comma may be part of the expression.

use std::fmt;
use std::ops::RangeInclusive;

use super::text::{PatternError, Text};
use crate::policy::outcome::{Attempt, Outcome};
use crate::policy::signal::Signal;
use crate::policy::stream::Streams;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    text: String,
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    /// Exit statuses. Status 128+N also matches a command that signal N killed.
    Status(RangeInclusive<u8>),
    Signal(Signal),
    AnySignal,
    Timeout,
    Success,
    Failure,
    Any,
    Transient,
    /// `http:503`, `http:5xx`, `http:500-504`: statuses of the last HTTP response.
    Http(RangeInclusive<u16>),
    /// `stdout~REGEX`, `stderr~REGEX`, `output~REGEX`: a line of the stream matches.
    Text(Text),
}

/// Why a term cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConditionError {
    /// There is nothing between two commas, or nothing at all.
    #[error("a term is empty")]
    Empty,
    #[error("{0:?} is not an exit status (0 to 255)")]
    Status(String),
    /// The end of a range is below its start.
    #[error("the range {0:?} runs backwards")]
    Backwards(String),
    /// Neither an HTTP status, nor a class of them, nor a range.
    #[error("{0:?} is not an HTTP status")]
    Http(String),
    /// Commas of a regex could not be told from those of the list.
    #[error("the regex {0:?} cannot be part of a list")]
    TextInList(String),
    #[error(transparent)]
    Pattern(PatternError),
    /// Neither a status nor a known word.
    #[error("{0:?} is not a condition")]
    Unknown(String),
}

impl ConditionError {
    /// The term that the message repeats.
    pub(crate) fn term(&self) -> Option<&str> {
        match self {
            Self::Status(term)
            | Self::Backwards(term)
            | Self::Http(term)
            | Self::TextInList(term)
            | Self::Unknown(term) => Some(term),
            Self::Empty | Self::Pattern(_) => None,
        }
    }
}

impl Condition {
    /// # Errors
    /// If a term cannot be read. The error is about the first such term.
    pub(crate) fn parse(text: &str) -> Result<Self, ConditionError> {
        if let Some((streams, pattern)) = text_term(text.trim_start()) {
            let text_term = Text::new(streams, pattern).map_err(ConditionError::Pattern)?;
            return Ok(Self { text: text.to_owned(), terms: vec![Term::Text(text_term)] });
        }
        let terms = text.split(',').map(|term| Term::parse(term.trim())).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), terms })
    }

    /// Whether a term matches. `transient` says what the rules after the conditions decide. It is
    /// called only if the condition contains the word `transient`.
    pub(crate) fn matches(&self, attempt: &Attempt, transient: impl Fn() -> bool) -> bool {
        self.terms.iter().any(|term| term.matches(attempt, &transient))
    }

    /// The pattern, if the condition is a regular expression.
    pub(crate) fn text(&self) -> Option<&Text> {
        self.terms.iter().find_map(|term| if let Term::Text(text) = term { Some(text) } else { None })
    }

    /// Whether the condition contains `failure` or `any`.
    pub(crate) fn names_every_failure(&self) -> bool {
        self.terms.iter().any(|term| matches!(term, Term::Failure | Term::Any))
    }

    pub(crate) fn asks_http(&self) -> bool {
        self.terms.iter().any(|term| matches!(term, Term::Http(_)))
    }
}

/// Splits `stdout~REGEX` into its stream and its pattern.
fn text_term(text: &str) -> Option<(Streams, &str)> {
    let (stream, pattern) = text.split_once('~')?;
    let streams = match stream.to_ascii_lowercase().as_str() {
        "stdout" => Streams::Stdout,
        "stderr" => Streams::Stderr,
        "output" => Streams::Both,
        _ => return None,
    };
    Some((streams, pattern))
}

/// Reads `503`, `5xx` or `500-504`.
fn http_statuses(text: &str) -> Option<RangeInclusive<u16>> {
    let status = |text: &str| {
        let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().ok())?.filter(|status| (100..=599).contains(status))
    };
    if let Some(class) = text.strip_suffix("xx") {
        let from = status(&format!("{class}00"))?;
        return Some(from..=from + 99);
    }
    match text.split_once('-') {
        Some((from, to)) => Some(status(from)?..=status(to)?),
        None => status(text).map(|status| status..=status),
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
        let lower = text.to_ascii_lowercase();
        if text_term(text).is_some() {
            return Err(ConditionError::TextInList(text.to_owned()));
        }
        if let Some(statuses) = lower.strip_prefix("http:") {
            let statuses =
                http_statuses(statuses.trim()).ok_or_else(|| ConditionError::Http(text.to_owned()))?;
            return match statuses.is_empty() {
                true => Err(ConditionError::Backwards(text.to_owned())),
                false => Ok(Self::Http(statuses)),
            };
        }
        Ok(match lower.as_str() {
            "signal" => Self::AnySignal,
            "timeout" => Self::Timeout,
            "success" => Self::Success,
            "failure" => Self::Failure,
            "any" => Self::Any,
            "transient" => Self::Transient,
            // A word that begins with a minus is a negative number, not the name of a signal.
            _ => Signal::parse(text)
                .map(Self::Signal)
                .ok_or_else(|| ConditionError::Unknown(text.to_owned()))?,
        })
    }

    fn matches(&self, attempt: &Attempt, transient: impl Fn() -> bool) -> bool {
        let outcome = &attempt.outcome;
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
            // A command that could not start is not a failure in this sense. Its status still
            // matches.
            Self::Failure => outcome.is_failure() && !matches!(outcome, Outcome::NotStarted(_)),
            Self::Any => !matches!(outcome, Outcome::NotStarted(_)),
            Self::Transient => transient(),
            Self::Http(statuses) => attempt.evidence.response.status().is_some_and(|s| statuses.contains(&s)),
            Self::Text(text) => attempt.evidence.has(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::evidence::Evidence;
    use super::*;
    use crate::policy::outcome::{Cut, Limit, NotStarted};

    fn timed_out() -> Outcome {
        Outcome::TimedOut(Cut {
            limit: Limit::Timeout(Duration::from_secs(1)),
            ended_by: Signal::TERM,
            left: Vec::new(),
        })
    }

    fn missing() -> Outcome {
        Outcome::NotStarted(NotStarted::NotFound)
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
            ("failure", vec![exited(1), killed(9), timed_out()], vec![exited(0), missing()]),
            ("any", vec![exited(0), exited(1), timed_out()], vec![missing()]),
            ("127", vec![missing(), exited(127)], vec![]),
            ("7, 28 ,TERM", vec![exited(7), exited(28), killed(15)], vec![exited(8)]),
        ] {
            let condition = Condition::parse(text).unwrap();
            for outcome in yes {
                let attempt = Attempt::ended(outcome);
                assert!(condition.matches(&attempt, || false), "{text} matches {attempt:?}");
            }
            for outcome in no {
                let attempt = Attempt::ended(outcome);
                assert!(!condition.matches(&attempt, || false), "{text} does not match {attempt:?}");
            }
        }
    }

    #[test]
    fn http_statuses_are_of_the_last_response() {
        let mut attempt = Attempt::ended(Outcome::Exited(22));
        let matches =
            |attempt: &Attempt, text: &str| Condition::parse(text).unwrap().matches(attempt, || false);
        assert!(!matches(&attempt, "http:100-599"), "none was seen");
        attempt.evidence = Evidence::of_status(503);
        for (text, expected) in [
            ("http:503", true),
            ("HTTP:5xx", true),
            ("http:500-503", true),
            ("7,http:503", true),
            ("http:502", false),
            ("http:4xx", false),
            ("http:504-599", false),
            ("22", true),
        ] {
            assert_eq!(matches(&attempt, text), expected, "{text}");
        }
        assert!(Condition::parse("7,http:503").unwrap().asks_http());
        assert!(!Condition::parse("7").unwrap().asks_http());
    }

    #[test]
    fn a_regex_has_its_option_alone_and_keeps_its_commas() {
        let condition = Condition::parse("stdout~a{1,2},b").unwrap();
        let text = condition.text().unwrap();
        assert!(text.is_match(b"aa,b", 0..4) && !text.is_match(b"aab", 0..3));
        assert_eq!(text.streams, Streams::Stdout);
        assert_eq!(Condition::parse("Output~x").unwrap().text().unwrap().streams, Streams::Both);
        assert!(Condition::parse("stderr~").unwrap().text().unwrap().is_match(b"x", 0..1));
        assert_eq!(Condition::parse("7").unwrap().text(), None);
    }

    #[test]
    fn transient_asks_the_rules_behind() {
        let condition = Condition::parse("transient,60").unwrap();
        assert!(condition.matches(&Attempt::ended(Outcome::Exited(1)), || true));
        assert!(!condition.matches(&Attempt::ended(Outcome::Exited(1)), || false));
        assert!(condition.matches(&Attempt::ended(Outcome::Exited(60)), || false));
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
        assert_eq!(error("22,stdout~x"), "the regex \"stdout~x\" cannot be part of a list");
        assert_eq!(error("stdout~(x"), "unclosed group");
        assert_eq!(error("stdin~x"), "\"stdin~x\" is not a condition");
        for text in
            ["http:", "http:5", "http:600", "http:0xx", "http:xx", "http:50x", "http:5xx-6xx", "http:+50"]
        {
            assert_eq!(error(text), format!("{text:?} is not an HTTP status"));
        }
        assert_eq!(error("http:504-500"), "the range \"http:504-500\" runs backwards");
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
                condition.matches(&Attempt::ended(Outcome::Exited(status)), || false),
                (from..=to).contains(&status)
            );
        }
    }
}
