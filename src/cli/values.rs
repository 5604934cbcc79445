//! Text to values, with exact messages. An error here names the value and the form wanted; the option's
//! name is added where the error is shown.

use std::ffi::OsString;
use std::fmt;
use std::num::NonZeroU32;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use super::{echo, hints};
use crate::error::Quote;
use crate::policy::delay::jitter::Jitter;
use crate::policy::signal::Signal;
use crate::policy::verdict::condition::{Condition, ConditionError};
use crate::policy::verdict::text::PatternError;
use crate::report::text::{duration as rounded, shortened_to};
use crate::state::key::wrong_with;

/// A value that cannot be read: what is wrong with it, and the form wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ValueError {
    pub(crate) cause: String,
    pub(crate) hint: String,
    /// What to show of it, and where in that the fault is.
    pub(crate) quote: Option<Quote>,
}

impl ValueError {
    pub(crate) fn new(cause: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { cause: cause.into(), hint: hint.into(), quote: None }
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl std::error::Error for ValueError {}

/// The forms of a duration, for hints.
const DURATION: &str = "a duration is a number of seconds (5, 0.25), or has units (500ms, 1m 30s, 1.5h)";

/// Reads a duration: `5`, `0.25`, `500ms`, `1m 30s`, `1.5h`.
///
/// # Errors
/// Empty, negative, not a number, infinite, or beyond what a duration holds.
pub(crate) fn duration(text: &str) -> Result<Duration, ValueError> {
    let wrong = |what: &str| ValueError::new(what, DURATION);
    let text = text.trim();
    if text.is_empty() {
        return Err(wrong("the duration is empty"));
    }
    if text.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit() || c == '.')) {
        return Err(wrong("a duration cannot be negative"));
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
        return decimal_times(number, unit).map_err(wrong);
    }
    humantime::parse_duration(text).map_err(|error| {
        if error == humantime::DurationError::NumberOverflow {
            wrong("the duration is too long")
        } else {
            let hint = case_hint(text).unwrap_or_else(|| form_hint(text));
            ValueError::new("not a duration", hint)
        }
    })
}

/// The hint for a duration that [`duration`] refuses for its unit. None if something else is wrong with it.
pub(crate) fn unit_hint(text: &str) -> Option<String> {
    let text = text.trim();
    uneven_unit(text).or_else(|| case_hint(text))
}

/// The hint for a duration whose units are right but for their case.
fn case_hint(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let right = lower != text && humantime::parse_duration(&lower).is_ok() && uneven_unit(&lower).is_none();
    right.then(|| format!("units are in lower case, as in {lower}"))
}

/// The hint for a text that has the form of a duration elsewhere: `5,5s`, `00:05`.
fn form_hint(text: &str) -> String {
    let point = hints::with_point(text).filter(|text| duration(text).is_ok());
    let point = point.map(|text| format!("a fraction has a point, as in {text}"));
    let units = || hints::with_units(text).map(|text| format!("a duration has units: write {text}"));
    let entries = || text.split(',').all(|entry| duration(entry).is_ok());
    let list = || (text.contains(',') && entries()).then(|| "only --delay takes a list".to_owned());
    point.or_else(units).or_else(list).unwrap_or_else(|| DURATION.to_owned())
}

/// The hint for a duration with a unit that humantime takes for a month or a year: these have no fixed length,
/// and `5M` is more often meant for minutes.
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

/// Longest text of a duration that is repeated, in bytes.
const LONGEST_SPAN: usize = 40;

/// A duration that messages repeat as the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) length: Duration,
    /// `90m`, `1m 30s`; a bare number of seconds gets its unit: `5400s`.
    pub(crate) text: String,
}

impl Span {
    fn new(text: &str, length: Duration) -> Self {
        let text = text.trim();
        if text.len() > LONGEST_SPAN {
            return Self { length, text: rounded(length) };
        }
        let unit = if text.ends_with(|c: char| c.is_ascii_alphabetic()) { "" } else { "s" };
        Self { length, text: format!("{text}{unit}") }
    }
}

/// Reads a duration and keeps its text.
///
/// # Errors
/// As [`duration`].
pub(crate) fn span(text: &str) -> Result<Span, ValueError> {
    duration(text).map(|length| Span::new(text, length))
}

/// Reads a duration that is more than nothing, and keeps its text.
///
/// # Errors
/// As [`positive_duration`].
pub(crate) fn positive_span(text: &str) -> Result<Span, ValueError> {
    positive_duration(text).map(|length| Span::new(text, length))
}

/// The length of a unit by its name, as humantime knows it.
fn unit_length(unit: &str) -> Option<Duration> {
    unit.bytes()
        .all(|b| b.is_ascii_alphabetic())
        .then(|| humantime::parse_duration(&format!("1{unit}")).ok())?
}

/// `number · unit`, exact to the nanosecond.
///
/// # Errors
/// Not a number, or too large a product.
pub(crate) fn decimal_times(number: &str, unit: Duration) -> Result<Duration, &'static str> {
    const NO_NUMBER: &str = "not a duration";
    const TOO_LONG: &str = "the duration is too long";
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return Err(NO_NUMBER);
    }
    let value = |digits: &str| match digits.trim_start_matches('0') {
        "" => Ok(0u128),
        digits => digits.parse().map_err(|_| TOO_LONG),
    };
    // Digits beyond the 18th make less than a nanosecond of any unit.
    let fraction = &fraction[..fraction.len().min(18)];
    let scale = 10u128.pow(u32::try_from(fraction.len()).unwrap_or(18));
    let unit = unit.as_nanos();
    let whole = value(whole)?.checked_mul(unit).ok_or(TOO_LONG)?;
    let part = value(fraction)?.checked_mul(unit).ok_or(TOO_LONG)? / scale;
    let nanos = whole.checked_add(part).ok_or(TOO_LONG)?;
    let seconds = u64::try_from(nanos / 1_000_000_000).map_err(|_| TOO_LONG)?;
    Ok(Duration::new(seconds, u32::try_from(nanos % 1_000_000_000).unwrap_or(0)))
}

/// Reads a duration that is more than nothing.
///
/// # Errors
/// As [`duration`], and zero.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, ValueError> {
    match duration(text)? {
        Duration::ZERO => Err(ValueError::new(
            "the duration must be more than 0",
            "without --healthy-after, retry never resets the attempts",
        )),
        time => Ok(time),
    }
}

/// The delays of `--delay`: one, or a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delays {
    pub(crate) first: Duration,
    pub(crate) rest: Vec<Duration>,
}

/// Reads one duration, or several with commas between.
///
/// # Errors
/// As [`duration`], for the first entry that cannot be read.
pub(crate) fn delays(text: &str) -> Result<Delays, ValueError> {
    let mut entries = text.split(',').map(duration);
    let first = entries.next().unwrap_or_else(|| duration(""))?;
    Ok(Delays { first, rest: entries.collect::<Result<_, _>>()? })
}

/// Reads a number of attempts; `unlimited` is none.
///
/// # Errors
/// Anything but a number from 1 to 4294967295 or the word.
pub(crate) fn max_attempts(text: &str) -> Result<MaxAttempts, ValueError> {
    let hint = "write a number that includes the first attempt (1 runs the command once), or unlimited";
    if text.eq_ignore_ascii_case("unlimited") {
        return Ok(MaxAttempts(None));
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        if text.bytes().all(|b| b == b'0') {
            return Err(ValueError::new("0 attempts would run nothing", hint));
        }
        let number = text.parse::<NonZeroU32>();
        return number
            .map(|n| MaxAttempts(Some(n)))
            .map_err(|_| ValueError::new("the number is too large", hint));
    }
    Err(ValueError::new("not a number of attempts", hint))
}

/// `--max`: a number, or none for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MaxAttempts(pub(crate) Option<NonZeroU32>);

/// Reads a signal: `TERM`, `SIGTERM`, `15`, any case.
///
/// # Errors
/// Where there is no such signal.
pub(crate) fn signal(text: &str) -> Result<Signal, ValueError> {
    let hint = "a signal is a name or number, such as TERM, SIGTERM or 15; kill -l lists them";
    Signal::parse(text).ok_or_else(|| ValueError::new("no such signal", hint))
}

/// Reads a label: any text but none.
///
/// # Errors
/// Where it is empty.
pub(crate) fn label(text: &str) -> Result<String, ValueError> {
    match text.trim() {
        "" => Err(ValueError::new(
            "the label is empty",
            "without --label, messages use the command's base name",
        )),
        _ => Ok(text.to_owned()),
    }
}

/// Reads a command for the shell, which may be any bytes.
///
/// # Errors
/// Where it is empty or blank.
pub(crate) fn check(text: OsString) -> Result<OsString, ValueError> {
    match text.as_bytes().iter().all(u8::is_ascii_whitespace) {
        true => Err(ValueError::new(
            "the command is empty",
            "retry runs it with sh -c; exit status 0 means done, 1 means not done",
        )),
        false => Ok(text),
    }
}

/// Reads a file's name, which may be any bytes.
///
/// # Errors
/// Where it is empty.
pub(crate) fn file(name: OsString) -> Result<PathBuf, ValueError> {
    match name.is_empty() {
        true => Err(ValueError::new(
            "the file name is empty",
            "give the name of the file that the command writes",
        )),
        false => Ok(name.into()),
    }
}

/// Reads a directory's name, which may be any bytes.
///
/// # Errors
/// An empty name, and a URL.
pub(crate) fn state(name: OsString) -> Result<PathBuf, ValueError> {
    if name.is_empty() {
        return Err(ValueError::new(
            "the directory name is empty",
            "give the name of the directory for shared state",
        ));
    }
    match scheme(name.as_bytes()) {
        // The rest of a URL may hold a password.
        Some(scheme) => Err(ValueError::new(
            "shared state in a server is not supported yet",
            format!("name a directory; if that is its name, write ./{scheme}://..."),
        )),
        None => Ok(name.into()),
    }
}

/// The scheme of a URL that has `//` behind it (RFC 3986 §3.1).
fn scheme(text: &[u8]) -> Option<&str> {
    let end = text.windows(3).position(|part| part == b"://")?;
    let (first, rest) = text[..end].split_first()?;
    let in_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    let valid = first.is_ascii_alphabetic() && rest.iter().all(in_scheme);
    valid.then(|| std::str::from_utf8(&text[..end]).ok()).flatten()
}

/// Where the idempotency key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// It is new in every run.
    Fresh,
    /// The user has one.
    Given(String),
    /// A file keeps it until a run succeeds.
    File(PathBuf),
}

/// Reads a key, or `file:PATH`, which may be any bytes.
///
/// # Errors
/// A key that is empty, too long, not UTF-8, or has control characters; a path that is empty.
pub(crate) fn key(text: OsString) -> Result<KeySource, ValueError> {
    let hint = "a key is text of 1 to 255 bytes; file:PATH keeps one in a file until a run succeeds";
    if let Some(path) = text.as_bytes().strip_prefix(b"file:") {
        return match path {
            b"" => Err(ValueError::new("file: needs the name of a file behind it", hint)),
            path => Ok(KeySource::File(OsString::from_vec(path.to_vec()).into())),
        };
    }
    let text = text.into_string().map_err(|_| ValueError::new("the key is not UTF-8", hint))?;
    match wrong_with(&text) {
        Some(why) => Err(ValueError::new(format!("the key {why}"), hint)),
        None => Ok(KeySource::Given(text)),
    }
}

/// Reads a size in bytes: `4096`, `64KiB`, `1.5G`. K, M, G and T are powers of 1024, with `B` of 1000, as in dd(1).
///
/// # Errors
/// No number, an unknown unit, or more than fits into 64 bits.
pub(crate) fn size(text: &str) -> Result<u64, ValueError> {
    let text = text.trim();
    let wrong = |what: &str| {
        let point = hints::with_point(text).filter(|text| size(text).is_ok());
        let hint = point.map(|text| format!("a fraction has a point, as in {text}"));
        let form = "a size is a number of bytes (4096), or has a unit (64KiB, 1G; 1GB is 1000MB)";
        ValueError::new(what, hint.unwrap_or_else(|| form.to_owned()))
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start().to_ascii_lowercase();
    let base: u128 = if unit.len() == 2 && unit.ends_with('b') { 1000 } else { 1024 };
    let power = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        _ if number.is_empty() => return Err(wrong("not a size")),
        _ => return Err(wrong("unknown unit")),
    };
    let unit = base.pow(power);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let fraction = &fraction[..fraction.len().min(12)];
    let number = |digits: &str| match digits.bytes().all(|b| b.is_ascii_digit()) && !digits.is_empty() {
        true => digits.parse::<u64>().map(u128::from).map_err(|_| wrong("too large")),
        false => Err(wrong("not a size")),
    };
    let (whole, part) = (number(whole)?, number(fraction)?);
    let scale = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
    let bytes = whole.checked_mul(unit).map(|bytes| bytes + part * unit / scale);
    bytes.and_then(|bytes| u64::try_from(bytes).ok()).ok_or_else(|| wrong("too large"))
}

/// Reads the growth factor: a number, at least 1.
///
/// # Errors
/// Below 1, infinite, or no number.
pub(crate) fn factor(text: &str) -> Result<f64, ValueError> {
    let hint = "every retry multiplies the delay by the factor: 2 doubles the delay, 1 keeps it";
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor >= 1.0 => Ok(factor),
        Ok(factor) if factor < 1.0 => Err(ValueError::new("the factor must be at least 1", hint)),
        _ => {
            let point = hints::with_point(text).filter(|text| factor(text).is_ok());
            let hint = point.map_or(hint.to_owned(), |text| format!("a fraction has a point, as in {text}"));
            Err(ValueError::new("not a number", hint))
        }
    }
}

/// Reads a seed.
///
/// # Errors
/// Anything but a number from 0 to 18446744073709551615.
pub(crate) fn seed(text: &str) -> Result<u64, ValueError> {
    let hint = "a seed is a whole number from 0 to 18446744073709551615";
    // `parse` would take a sign.
    match text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse().map_err(|_| ValueError::new("not a seed", hint)),
        false => Err(ValueError::new("not a seed", hint)),
    }
}

/// The forms of a condition, for hints.
const CONDITION: &str = "a condition lists exit statuses (22, 5-7), signals (TERM), http:503, or signal, timeout, \
                         success, failure, any, transient, with commas between; or it is one stdout~REGEX";

/// Reads a condition.
///
/// # Errors
/// The term that cannot be read.
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
        // The value is not repeated, so neither is a term of it.
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
            (ConditionError::Status(_), None) => {
                "an exit status is 0 to 255, as in 5-255; for an HTTP status write http:503, http:5xx or http:500-504"
                    .to_owned()
            }
            (ConditionError::Empty | ConditionError::Unknown(_), None) => CONDITION.to_owned(),
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

/// What every attempt reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StdinName {
    /// the same input, from its beginning
    Replay,
    /// whatever the attempt before left unread
    Inherit,
    /// nothing
    Null,
}

/// How the delay is randomized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum JitterName {
    /// random between 0 and the delay
    Full,
    /// random between half the delay and the delay
    Equal,
    /// random between the first delay and 3 times the last
    Decorrelated,
    /// random between the delay and twice the delay
    Additive,
    /// the delay, not randomized
    None,
}

impl From<JitterName> for Jitter {
    fn from(name: JitterName) -> Self {
        match name {
            JitterName::Full => Self::Full,
            JitterName::Equal => Self::Equal,
            JitterName::Decorrelated => Self::Decorrelated,
            JitterName::Additive => Self::Additive,
            JitterName::None => Self::None,
        }
    }
}

/// How the delay grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackoffName {
    /// multiplied by --factor for every retry
    Exponential,
    /// once, twice, three times the delay
    Linear,
    /// 1, 1, 2, 3, 5 times the delay
    Fibonacci,
    /// always the delay
    Constant,
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
    fn a_span_keeps_what_was_written() {
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
    fn what_is_no_duration_is_said_why() {
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
    fn a_list_of_delays_keeps_its_order() {
        let secs = Duration::from_secs;
        assert_eq!(delays("1s, 5,1m"), Ok(Delays { first: secs(1), rest: vec![secs(5), secs(60)] }));
        assert!(delays("1,,2").is_err());
        assert!(delays("1,").is_err());
    }

    #[test]
    fn attempts_are_counted_from_one() {
        assert_eq!(max_attempts("5"), Ok(MaxAttempts(NonZeroU32::new(5))));
        assert_eq!(max_attempts("unlimited"), Ok(MaxAttempts(None)));
        assert_eq!(max_attempts("4294967295"), Ok(MaxAttempts(NonZeroU32::new(u32::MAX))));
        for text in ["0", "00", "", "-1", "4294967296", "1.5", "many", "+3", "NaN"] {
            assert!(max_attempts(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_is_text_or_in_a_file() {
        let read = |text: &str| key(text.into());
        assert_eq!(read("order 42"), Ok(KeySource::Given("order 42".into())));
        assert_eq!(read("file:a/b"), Ok(KeySource::File("a/b".into())));
        assert_eq!(
            key(OsString::from_vec(b"file:\xff".to_vec())),
            Ok(KeySource::File(OsString::from_vec(vec![0xff]).into()))
        );
        assert!(read(&"k".repeat(255)).is_ok());
        for text in ["", "file:", "a\tb", "a\n", &"k".repeat(256)] {
            assert!(read(text).is_err(), "{text:?}");
        }
        assert!(key(OsString::from_vec(vec![0xff])).is_err());
    }

    #[test]
    fn sizes_have_units_of_1024_and_of_1000() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("4096B", 4096),
            (" 64KiB ", 65536),
            ("64k", 65536),
            ("1G", 1 << 30),
            ("1 GiB", 1 << 30),
            ("1.5gib", 3 << 29),
            ("1GB", 1_000_000_000),
            ("0.1kB", 100),
            ("16777215T", 16_777_215 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for (text, cause) in [
            ("", "not a size"),
            ("-1", "not a size"),
            ("+1", "not a size"),
            ("G", "not a size"),
            (".5G", "not a size"),
            ("1.G", "not a size"),
            ("1.2.3", "not a size"),
            ("1X", "unknown unit"),
            ("1e9", "unknown unit"),
            ("1GiBs", "unknown unit"),
            ("16777216T", "too large"),
            ("99999999999999999999", "too large"),
        ] {
            assert_eq!(size(text).unwrap_err().cause, cause, "{text}");
        }
    }

    #[test]
    fn factors_and_seeds_are_numbers_in_their_range() {
        assert_eq!(factor("1.5"), Ok(1.5));
        for text in ["0.9", "-2", "NaN", "inf", "1e999", "", "two"] {
            assert!(factor(text).is_err(), "{text}");
        }
        assert_eq!(seed("18446744073709551615"), Ok(u64::MAX));
        for text in ["", "-1", "+1", "18446744073709551616", "1.0", "x"] {
            assert!(seed(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = (duration(&text), delays(&text), max_attempts(&text), signal(&text), factor(&text));
            let _ = (seed(&text), condition(&text));
        }

        #[test]
        fn seconds_read_back(seconds: u64, nanos in 0u32..1_000_000_000) {
            prop_assert_eq!(duration(&format!("{seconds}.{nanos:09}")), Ok(Duration::new(seconds, nanos)));
        }
    }
}
