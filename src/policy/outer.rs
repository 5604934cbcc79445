//! The retry around this run, as its variables describe it, and the deadline that this run has from
//! it.
//!
//! An outer retry changes what a run says, which waits the run starts, and the answer of a breaker that
//! both use ([`above`](super::admission::above)). It changes nothing else. Any other program may have
//! set the variables, so a value that retry would not have written counts as absent.

use std::ffi::CString;
use std::time::Duration;

use super::environment::value;

/// The number of the attempt (`RETRY_ATTEMPT`).
pub(crate) const ATTEMPT: &str = "RETRY_ATTEMPT";

/// The maximum number of attempts. It is empty if there is no limit.
pub(crate) const MAX_ATTEMPTS: &str = "RETRY_MAX_ATTEMPTS";

/// The product of the limits of all retries around the one that sets it. It is empty if one of them
/// has no limit.
pub(crate) const ATTEMPTS_ABOVE: &str = "RETRY_ATTEMPTS_ABOVE";

/// The time by which the attempt has to end, in milliseconds since 1970.
pub(crate) const DEADLINE: &str = "RETRY_DEADLINE";

/// A deadline that is further away was not meant as one.
const FURTHEST: Duration = Duration::from_hours(366 * 24);

/// An attempt of another retry that this run is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outer {
    /// The number of the attempt.
    pub(crate) attempt: u64,
    /// The maximum number of attempts of that retry. None: no limit.
    pub(crate) max: Option<u64>,
    /// The product of the limits of all retries outside. None: one of them has no limit.
    pub(crate) product: Option<u64>,
}

impl Outer {
    /// Reads the variables. None if no attempt of another retry has set them: it sets both the number
    /// and the limit.
    pub(crate) fn read(environment: &[CString]) -> Option<Self> {
        let attempt = number(value(environment, ATTEMPT)?)?;
        let max = limit(value(environment, MAX_ATTEMPTS)?)?;
        let above = value(environment, ATTEMPTS_ABOVE).and_then(limit).unwrap_or(Some(1));
        Some(Self { attempt, max, product: product(above, max) })
    }

    /// The maximum number of attempts that all retries make together, if the inner one makes at most
    /// `max`. None if there is no limit.
    pub(crate) fn in_all(&self, max: Option<u64>) -> Option<u64> {
        product(self.product, max)
    }

    /// Whether the retries outside may make more than one attempt.
    pub(crate) fn repeats(&self) -> bool {
        self.product != Some(1)
    }
}

fn product(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    Some(a?.saturating_mul(b?))
}

/// A limit, or None if the text is empty and says that there is none.
#[expect(clippy::option_option, reason = "the outer one is absent if the text is neither")]
fn limit(text: &[u8]) -> Option<Option<u64>> {
    if text.is_empty() { Some(None) } else { number(text).map(Some) }
}

/// A number from 1, in digits.
fn number(text: &[u8]) -> Option<u64> {
    digits(text).filter(|number| *number > 0)
}

/// `parse` would take a sign too.
fn digits(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A deadline that a retry outside has handed down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HandedDown {
    /// In the time of the run, which counts from boot.
    pub(crate) at: Duration,
    /// In milliseconds since 1970, to be handed on as it is.
    pub(crate) unix_ms: u64,
}

impl HandedDown {
    /// Reads `RETRY_DEADLINE`. `now` tells both clocks: the one of the run, and the time since 1970.
    /// None if the deadline has passed, or is more than a year ahead.
    pub(crate) fn read(environment: &[CString], now: impl FnOnce() -> (Duration, Duration)) -> Option<Self> {
        let unix_ms = digits(value(environment, DEADLINE)?)?;
        let (now, since_1970) = now();
        let left = Duration::from_millis(unix_ms).checked_sub(since_1970)?;
        (!left.is_zero() && left <= FURTHEST).then(|| Self { at: now.saturating_add(left), unix_ms })
    }
}

/// A deadline, as messages name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// `--deadline`, with its length.
    Own(Duration),
    /// The deadline of a retry outside, with the time that was left.
    Outer(Duration),
}

/// The time until the first deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeLeft {
    pub(crate) deadline: Deadline,
    pub(crate) left: Duration,
}

impl TimeLeft {
    /// The time until a deadline of this length, `elapsed` into the run.
    pub(crate) fn own(length: Duration, elapsed: Duration) -> Self {
        Self { deadline: Deadline::Own(length), left: length.saturating_sub(elapsed) }
    }

    /// The time until the deadline of a retry outside.
    pub(crate) fn outer(left: Duration) -> Self {
        Self { deadline: Deadline::Outer(left), left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(entries: &str) -> Vec<CString> {
        entries.split_whitespace().map(|entry| CString::new(entry).unwrap()).collect()
    }

    #[test]
    fn the_limits_of_all_retries_are_multiplied() {
        let read = |entries: &str| Outer::read(&environment(entries));
        for (entries, max, product, in_all) in [
            ("RETRY_ATTEMPT=2 RETRY_MAX_ATTEMPTS=5", Some(5), Some(5), Some(15)),
            ("RETRY_ATTEMPT=2 RETRY_MAX_ATTEMPTS=5 RETRY_ATTEMPTS_ABOVE=7", Some(5), Some(35), Some(105)),
            // No limit.
            ("RETRY_ATTEMPT=2 RETRY_MAX_ATTEMPTS=", None, None, None),
            ("RETRY_ATTEMPT=2 RETRY_MAX_ATTEMPTS=5 RETRY_ATTEMPTS_ABOVE=", Some(5), None, None),
            // Not what retry writes.
            ("RETRY_ATTEMPT=2 RETRY_MAX_ATTEMPTS=5 RETRY_ATTEMPTS_ABOVE=x", Some(5), Some(5), Some(15)),
            ("RETRY_ATTEMPT=2 RETRY_MAX_ATTEMPTS=5 RETRY_ATTEMPTS_ABOVE=0", Some(5), Some(5), Some(15)),
        ] {
            let outer = read(entries).unwrap();
            assert_eq!((outer.attempt, outer.max, outer.product), (2, max, product), "{entries}");
            assert_eq!((outer.in_all(Some(3)), outer.in_all(None)), (in_all, None), "{entries}");
        }
        let huge = "RETRY_ATTEMPT=2 RETRY_MAX_ATTEMPTS=9 RETRY_ATTEMPTS_ABOVE=18446744073709551615";
        assert_eq!(read(huge).unwrap().in_all(Some(9)), Some(u64::MAX));
        for attempt in ["", "0", "+1", "1.5", "x"] {
            assert_eq!(read(&format!("RETRY_ATTEMPT={attempt} RETRY_MAX_ATTEMPTS=5")), None, "{attempt}");
        }
        for max in ["", "RETRY_MAX_ATTEMPTS=0", "RETRY_MAX_ATTEMPTS=-5"] {
            assert_eq!(read(&format!("RETRY_ATTEMPT=1 {max}")), None, "{max}");
        }
        assert_eq!(read("RETRY_MAX_ATTEMPTS=5 RETRY_ATTEMPTS_ABOVE=5"), None);
        assert!(!read("RETRY_ATTEMPT=1 RETRY_MAX_ATTEMPTS=1").unwrap().repeats());
        assert!(read("RETRY_ATTEMPT=1 RETRY_MAX_ATTEMPTS=").unwrap().repeats());
    }

    #[test]
    fn a_deadline_is_handed_down_if_it_is_still_to_come() {
        let (now, since_1970) = (Duration::from_secs(50), Duration::from_secs(1_700_000_000));
        let read = |text: &str| {
            let deadline =
                HandedDown::read(&environment(&format!("{DEADLINE}={text}")), || (now, since_1970));
            deadline.map(|deadline| (deadline.at.as_millis(), deadline.unix_ms))
        };
        assert_eq!(read("1700000000001"), Some((50_001, 1_700_000_000_001)));
        assert_eq!(read("1730000000000"), Some((30_000_050_000, 1_730_000_000_000)));
        for text in ["", "1700000000000", "1699999999999", "1740000000000", "-1", "1700000001000.5", "soon"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read(&u64::MAX.to_string()), None);
        assert_eq!(read(&"9".repeat(40)), None);
        assert_eq!(HandedDown::read(&[], || panic!("no clock is read")), None);
    }
}
