//! Conditions, with hints for the ones that cannot be read.

use super::ValueError;
use crate::cli::{echo, hints};
use crate::error::Quote;
use crate::policy::verdict::condition::{Condition, ConditionError};
use crate::policy::verdict::text::PatternError;
use crate::report::format::shortened_to;

const FORM: &str = "a condition is a list of exit statuses (22, 5-7), signals (TERM), HTTP statuses (http:503) \
                    and the words signal, timeout, success, failure, any, transient; or it is one stdout~REGEX";

/// Reads a condition. The error is about the first term that cannot be read.
pub(crate) fn condition(text: &str) -> Result<Condition, ValueError> {
    Condition::parse(text).map_err(|error| {
        let meant = match &error {
            ConditionError::Http(term) | ConditionError::Status(term) | ConditionError::Unknown(term) => {
                // A regex may have commas of its own.
                hints::condition::meant(term)
                    .filter(|meant| !meant.contains('~'))
                    .or_else(|| hints::condition::meant(text))
            }
            _ => None,
        };
        // A value that may be a secret is not repeated, so its terms are not repeated either.
        let harmless = error.term().is_none_or(echo::condition);
        let short = error.term().is_none_or(|term| term.chars().count() <= echo::LONGEST);
        let cause = if harmless && short { error.to_string() } else { "not a condition".to_owned() };
        let meant = meant.filter(|_| harmless);
        let hint = match (&error, meant) {
            (ConditionError::Status(_), Some(meant)) if meant.starts_with("http:") => {
                format!("an exit status is 0 to 255; for the HTTP status write {meant}")
            }
            (_, Some(meant)) => format!("did you mean {}?", shortened_to(&meant, echo::LONGEST)),
            (ConditionError::Backwards(_), None) => "write the lower status first, as in 5-7".to_owned(),
            (ConditionError::Http(_), None) => "write http:503, http:5xx or http:500-504".to_owned(),
            (ConditionError::TextInList(_), None) => {
                "give the regex an option of its own; -r, -x and --success-on can be repeated".to_owned()
            }
            (ConditionError::Pattern(_), None) => {
                "the syntax is that of Rust's regex crate; \\ before a punctuation character makes it literal"
                    .to_owned()
            }
            (ConditionError::Status(_), None) => "an exit status is 0 to 255, as in 5-255; \
                 for an HTTP status write http:503, http:5xx or http:500-504"
                .to_owned(),
            (ConditionError::Empty | ConditionError::Unknown(_), None) => FORM.to_owned(),
        };
        let quote = match &error {
            ConditionError::Pattern(PatternError { pattern, at: Some(at), .. }) => {
                Some(excerpt(pattern, *at))
            }
            _ => None,
        };
        ValueError { quote, ..ValueError::new(cause, hint) }
    })
}

/// The part of a pattern around a fault in it.
fn excerpt(pattern: &str, at: usize) -> Quote {
    let before = pattern.get(..at).unwrap_or_default();
    let skipped = before.chars().count().saturating_sub(echo::LONGEST / 2);
    let start = pattern.char_indices().nth(skipped).map_or(0, |(start, _)| start);
    let dots = if start > 0 { "..." } else { "" };
    let text = shortened_to(&pattern[start..], echo::LONGEST);
    Quote { text: format!("{dots}{text}"), at: dots.len() + at - start }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_say_what_to_write_instead() {
        for (text, hint) in [
            ("503", "an exit status is 0 to 255; for the HTTP status write http:503"),
            ("7-5", "write the lower status first, as in 5-7"),
            ("22,tiemout", "did you mean timeout?"),
            ("http:9999", "write http:503, http:5xx or http:500-504"),
            ("", FORM),
        ] {
            assert_eq!(condition(text).unwrap_err().hint, hint, "{text}");
        }
        assert!(condition("22,stdout~x").unwrap_err().hint.contains("an option of its own"));
    }

    #[test]
    fn a_term_that_may_be_a_secret_is_not_repeated() {
        let error = condition("admin:SECRET99").unwrap_err();
        assert_eq!(error.cause, "not a condition");
        assert!(!error.hint.contains("SECRET99"), "{}", error.hint);
    }

    #[test]
    fn a_fault_in_a_pattern_is_quoted_with_its_place() {
        let quote = condition("stderr~a(b").unwrap_err().quote.unwrap();
        assert_eq!((quote.text.as_str(), quote.at), ("a(b", 1));
        let long = format!("stderr~{}(b", "x".repeat(100));
        let quote = condition(&long).unwrap_err().quote.unwrap();
        assert!(quote.text.starts_with("...x") && quote.text[quote.at..].starts_with('('), "{}", quote.text);
    }
}
