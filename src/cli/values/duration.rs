//! Durations: a number of seconds, or numbers with units.

use std::time::Duration;

use super::ValueError;
use crate::cli::hints;
use crate::policy::decimal::Decimal;
use crate::report::format;

const FORM: &str = "a duration is a number of seconds (5, 0.25), or has units (500ms, 1m 30s, 1.5h)";

/// Reads a duration: `5`, `0.25`, `500ms`, `1m 30s`, `1.5h`.
pub(crate) fn duration(text: &str) -> Result<Duration, ValueError> {
    let error = |cause: &str| ValueError::new(cause, FORM);
    let text = text.trim();
    if text.is_empty() {
        return Err(error("the duration is empty"));
    }
    if text.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit() || c == '.')) {
        return Err(error("a duration cannot be negative"));
    }
    if let Some(hint) = uneven_unit(text) {
        return Err(ValueError::new("months and years are not units of a duration", hint));
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let decimal = number.contains('.');
    if unit.is_empty() || (decimal && !unit.contains(|c: char| c.is_ascii_digit())) {
        let unit = if unit.is_empty() { Some(Duration::from_secs(1)) } else { unit_length(unit.trim()) };
        let unit = unit.ok_or_else(|| ValueError::new("not a duration", form_hint(text)))?;
        let number = Decimal::parse(number.as_bytes()).ok_or_else(|| error("not a duration"))?;
        return number.duration(unit).ok_or_else(|| error("the duration is too long"));
    }
    humantime::parse_duration(text).map_err(|cause| {
        if cause == humantime::DurationError::NumberOverflow {
            error("the duration is too long")
        } else {
            let hint = case_hint(text).unwrap_or_else(|| form_hint(text));
            ValueError::new("not a duration", hint)
        }
    })
}

/// The hint for a duration that [`duration`] refuses for its unit. None if something else is wrong
/// with it.
pub(crate) fn unit_hint(text: &str) -> Option<String> {
    let text = text.trim();
    uneven_unit(text).or_else(|| case_hint(text))
}

/// The hint for a duration whose units are right except for their case.
fn case_hint(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let only_case =
        lower != text && humantime::parse_duration(&lower).is_ok() && uneven_unit(&lower).is_none();
    only_case.then(|| format!("units are in lower case, as in {lower}"))
}

/// The hint for a text that other programs read as a duration: `5,5s`, `00:05`.
fn form_hint(text: &str) -> String {
    let point = hints::with_point(text).filter(|text| duration(text).is_ok());
    let point = point.map(|text| format!("a fraction has a point, as in {text}"));
    let units = || hints::with_units(text).map(|text| format!("a duration has units: write {text}"));
    let entries = || text.split(',').all(|entry| duration(entry).is_ok());
    let list = || (text.contains(',') && entries()).then(|| "only --delay takes a list".to_owned());
    point.or_else(units).or_else(list).unwrap_or_else(|| FORM.to_owned())
}

/// The hint for a duration with a unit that humantime takes for a month or a year. Months and years
/// have no fixed length, and `5M` usually means minutes.
fn uneven_unit(text: &str) -> Option<String> {
    let units = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|unit| !unit.is_empty());
    let uneven = units.clone().find(|unit| {
        matches!(
            *unit,
            "M" | "month" | "months" | "Month" | "Months" | "y" | "yr" | "yrs" | "year" | "years" | "Y"
        )
    })?;
    Some(match uneven {
        "M" => "minutes are m, in lower case, as in 5m".to_owned(),
        _ => "the longest unit is the week: write days or weeks, as in 30d or 52w".to_owned(),
    })
}

/// The length of a unit by its name, as humantime knows it.
fn unit_length(unit: &str) -> Option<Duration> {
    let is_name = unit.bytes().all(|b| b.is_ascii_alphabetic());
    is_name.then(|| humantime::parse_duration(&format!("1{unit}")).ok())?
}

/// Reads a duration other than 0.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, ValueError> {
    positive(text, "write a duration such as 30s or 5m")
}

fn positive(text: &str, hint: &str) -> Result<Duration, ValueError> {
    match duration(text)? {
        Duration::ZERO => Err(ValueError::new("the duration must be more than 0", hint)),
        duration => Ok(duration),
    }
}

/// Longest text of a [`Span`], in bytes. Messages show a longer one in our own form.
const LONGEST_TEXT: usize = 40;

/// A duration that messages repeat as the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) length: Duration,
    /// `90m`, `1m 30s`. A bare number of seconds gets its unit: `5400s`.
    pub(crate) text: String,
}

impl Span {
    fn new(text: &str, length: Duration) -> Self {
        let text = text.trim();
        if text.len() > LONGEST_TEXT {
            return Self { length, text: format::duration(length) };
        }
        let unit = if text.ends_with(|c: char| c.is_ascii_alphabetic()) { "" } else { "s" };
        Self { length, text: format!("{text}{unit}") }
    }
}

/// Reads a duration and keeps its text.
pub(crate) fn span(text: &str) -> Result<Span, ValueError> {
    duration(text).map(|length| Span::new(text, length))
}

/// Reads the value of `--healthy-after`.
pub(crate) fn healthy_after(text: &str) -> Result<Span, ValueError> {
    let length = positive(text, "without --healthy-after, retry never resets the attempts")?;
    Ok(Span::new(text, length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_have_three_forms() {
        for (text, millis) in [
            ("5", 5000),
            ("0.25", 250),
            (".5", 500),
            ("1.", 1000),
            ("0", 0),
            ("007", 7000),
            ("500ms", 500),
            ("1m 30s", 90_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("1.5 h", 5_400_000),
            ("2h", 7_200_000),
            (" 3s ", 3000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text:?}");
        }
        assert_eq!(duration("0.000000001"), Ok(Duration::from_nanos(1)));
        assert_eq!(duration("18446744073709551615"), Ok(Duration::from_secs(u64::MAX)));
    }

    #[test]
    fn a_span_keeps_its_text() {
        for (text, kept) in [
            ("90m", "90m"),
            ("5400", "5400s"),
            (" 0.25 ", "0.25s"),
            ("1.", "1.s"),
            ("1m 30s", "1m 30s"),
            ("1.5 h", "1.5 h"),
            ("60000ms", "60000ms"),
            (&format!("{}5", "0".repeat(40)), "5s"),
        ] {
            assert_eq!(span(text).unwrap(), Span { length: duration(text).unwrap(), text: kept.into() });
        }
    }

    #[test]
    fn a_refusal_names_its_cause() {
        let cause = |text: &str| duration(text).unwrap_err().cause;
        assert_eq!(cause(""), "the duration is empty");
        assert_eq!(cause("  "), "the duration is empty");
        assert_eq!(cause("-1"), "a duration cannot be negative");
        assert_eq!(cause("-0.5s"), "a duration cannot be negative");
        for text in ["18446744073709551616", "1e400", "99999999999999999999999h", "9".repeat(60).as_str()] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(cause("18446744073709551616"), "the duration is too long");
        assert_eq!(cause(&"9".repeat(60)), "the duration is too long");
        for text in ["NaN", "inf", "abc", "1e3", ".", "1.2.3", "5 apples", "1.5x", "1.5h30", "+5", "0x10"] {
            assert_eq!(cause(text), "not a duration", "{text}");
        }
    }

    #[test]
    fn zero_is_refused_if_it_means_nothing() {
        for (error, hint) in [
            (positive_duration("0").unwrap_err(), "such as 30s"),
            (healthy_after("0s").unwrap_err(), "--healthy-after"),
        ] {
            assert_eq!(error.cause, "the duration must be more than 0");
            assert!(error.hint.contains(hint), "{}", error.hint);
        }
        assert_eq!(positive_duration("1ms"), Ok(Duration::from_millis(1)));
    }

    #[test]
    fn hints_say_what_to_write_instead() {
        for (text, hint) in [
            ("5M", "minutes are m, in lower case, as in 5m"),
            ("2 years", "the longest unit is the week: write days or weeks, as in 30d or 52w"),
            ("5S", "units are in lower case, as in 5s"),
            ("5,5s", "a fraction has a point, as in 5.5s"),
            ("00:05", "a duration has units: write 5s or 5m"),
            ("5s,6s", "only --delay takes a list"),
            ("soon", FORM),
        ] {
            assert_eq!(duration(text).unwrap_err().hint, hint, "{text}");
        }
        assert_eq!(unit_hint("5M").as_deref(), Some("minutes are m, in lower case, as in 5m"));
        assert_eq!(unit_hint("soon"), None);
    }

    proptest! {
        #[test]
        fn seconds_read_back(seconds: u64, nanos in 0u32..1_000_000_000) {
            prop_assert_eq!(duration(&format!("{seconds}.{nanos:09}")), Ok(Duration::new(seconds, nanos)));
        }
    }
}
