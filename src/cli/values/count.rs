//! Counts of attempts, failures and clients.

use std::num::{NonZeroU8, NonZeroU32};

use super::ValueError;
use crate::cli::defaults;
use crate::policy::admission::breaker::{MOST_OUTCOMES, Opens};

/// `--max`: a number, or no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MaxAttempts(pub(crate) Option<NonZeroU32>);

/// Reads a number of attempts from 1 to 4294967295, or `unlimited`.
pub(crate) fn max_attempts(text: &str) -> Result<MaxAttempts, ValueError> {
    let hint = "write a number that includes the first attempt (1 runs the command once), or unlimited";
    let error = |cause| Err(ValueError::new(cause, hint));
    if text.eq_ignore_ascii_case("unlimited") {
        return Ok(MaxAttempts(None));
    }
    if text.is_empty() || !is_digits(text) {
        return error("not a number of attempts");
    }
    if text.bytes().all(|b| b == b'0') {
        return error("0 attempts would run nothing");
    }
    match text.parse() {
        Ok(number) => Ok(MaxAttempts(Some(number))),
        Err(_) => error("the number is too large"),
    }
}

/// Reads what opens a breaker: a number of failures in a row (`5`), or a share of the last outcomes
/// (`50%`, `50%/40`).
pub(crate) fn failures(text: &str) -> Result<Opens, ValueError> {
    let hint =
        "write how many failures in a row open the breaker (5), or a share of the last outcomes (50%/20)";
    let error = |cause| ValueError::new(cause, hint);
    let Some((percent, of)) = text.split_once('%') else {
        let number = if is_digits(text) { text.parse().ok() } else { None };
        return number.map(Opens::InRow).ok_or_else(|| error("not a number of failures"));
    };
    let number = |text: &str| if is_digits(text) { text.parse::<NonZeroU8>().ok() } else { None };
    let percent = number(percent).filter(|percent| percent.get() <= 100);
    let percent = percent.ok_or_else(|| error("the share must be a whole number from 1% to 100%"))?;
    let of = match of.strip_prefix('/') {
        None if of.is_empty() => Some(defaults::BREAKER_OUTCOMES),
        None => return Err(error("not a number of failures")),
        Some(of) => number(of).filter(|of| (2..=MOST_OUTCOMES).contains(&usize::from(of.get()))),
    };
    let of = of.ok_or_else(|| error("a share counts the last 2 to 64 outcomes"))?;
    Ok(Opens::Rate { percent, of })
}

/// Reads a number of successes from 1 to 4294967295.
pub(crate) fn successes(text: &str) -> Result<NonZeroU32, ValueError> {
    let hint = "write how many attempts in a row have to succeed: 1 or more";
    let number = if is_digits(text) { text.parse().ok() } else { None };
    number.ok_or_else(|| ValueError::new("not a number of successes", hint))
}

/// The most clients of a plan.
const MOST_CLIENTS: u32 = 1_000_000;

/// Reads a number of clients from 1 to 1000000.
pub(crate) fn clients(text: &str) -> Result<NonZeroU32, ValueError> {
    let hint = format!("write how many clients fail at the same instant: 1 to {MOST_CLIENTS}");
    let number = if is_digits(text) { text.parse().ok() } else { None };
    let number = number.filter(|number: &NonZeroU32| number.get() <= MOST_CLIENTS);
    number.ok_or_else(|| ValueError::new("not a number of clients", hint))
}

/// `parse` would take a sign too.
fn is_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_share_of_the_last_outcomes_is_a_percentage() {
        let rate = |percent, of| {
            Ok(Opens::Rate { percent: NonZeroU8::new(percent).unwrap(), of: NonZeroU8::new(of).unwrap() })
        };
        for (text, expected) in [("50%", rate(50, 20)), ("1%/2", rate(1, 2)), ("100%/64", rate(100, 64))] {
            assert_eq!(failures(text), expected, "{text}");
        }
        for text in [
            "%", "0%", "101%", "50%/", "50%/1", "50%/65", "50%20", "-5%", "50.5%", "50%/x", "50 %", "%/5",
            "256%",
        ] {
            assert!(failures(text).is_err(), "{text}");
        }
    }

    #[test]
    fn failures_are_counted_from_one() {
        assert_eq!(failures("1"), Ok(Opens::InRow(NonZeroU32::MIN)));
        assert_eq!(successes("3").map(NonZeroU32::get), Ok(3));
        for text in ["", "0", "-1", "+1", "1.5", "4294967296", "five"] {
            assert!(failures(text).is_err() && successes(text).is_err(), "{text}");
            assert!(clients(text).is_err(), "{text}");
        }
        assert_eq!(clients("1000000").map(NonZeroU32::get), Ok(1_000_000));
        assert!(clients("1000001").is_err());
    }
}
