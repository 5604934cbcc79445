//! The values of header fields: numbers, dates, moments, and the list of `RateLimit`.
//!
//! A malformed value counts as absent: no value is read in part. A number that is too large for a
//! [`Duration`] is [`Duration::MAX`].

use std::time::{Duration, SystemTime};

use crate::policy::decimal::Decimal;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MILLISECOND: Duration = Duration::from_millis(1);

/// A moment in the value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// A time after the response.
    After(Duration),
    /// A time since the Unix epoch.
    At(Duration),
}

/// The meaning of `RateLimit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateLimit {
    /// Whether a quota has nothing left (`r=0`).
    pub(crate) nothing_left: bool,
    /// The largest `t` of the quotas with nothing left.
    pub(crate) wait: Option<Duration>,
}

/// Reads `120` or `1.5`. RFC 9110 §10.2.3 allows only digits, but some servers send a fraction.
pub(crate) fn number(text: &[u8], unit: Duration) -> Option<Duration> {
    let number = Decimal::parse(text).filter(|number| number.is_complete())?;
    Some(number.duration(unit).unwrap_or(Duration::MAX))
}

/// Zones that servers write instead of `GMT`, in the case of [`date`]. All of them are the same time:
/// RFC 5322 §3.3 says that `-0000` is Universal Time too, from a server that hides its own zone.
const ZONES: [&str; 3] = [" Utc", " +0000", " -0000"];

/// Reads an HTTP-date in one of its three forms (RFC 9110 §5.6.7), as a time since the Unix epoch.
/// Case does not matter. A leap second counts. The forms with a zone may name Universal Time in
/// another way, see [`ZONES`].
pub(crate) fn date(text: &[u8]) -> Option<Duration> {
    // The longest date is `Wednesday, 09-Nov-94 08:49:37 +0000`.
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= 35)?;
    let mut inside = false;
    let cased = |c: char| {
        let cased = if inside { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() };
        inside = c.is_ascii_alphabetic();
        cased
    };
    let text = text.chars().map(cased).collect::<String>().replace(" Gmt", " GMT");
    let other = ZONES.into_iter().find_map(|zone| text.strip_suffix(zone));
    let text = other.map_or(text.clone(), |date| format!("{date} GMT"));
    let whole = text.replace(":60 ", ":59 ");
    let leap = if whole == text { Duration::ZERO } else { SECOND };
    let date = httpdate::parse_http_date(&whole).ok()?;
    Some(date.duration_since(SystemTime::UNIX_EPOCH).ok()? + leap)
}

/// The value of `Retry-After` (RFC 9110 §10.2.3).
pub(crate) fn retry_after(text: &[u8]) -> Option<Moment> {
    number(text, SECOND).map(Moment::After).or_else(|| date(text).map(Moment::At))
}

/// The value of `X-RateLimit-Reset` and `RateLimit-Reset`. There is no standard. A number below
/// 10^8 is in seconds from now, a number from 10^9 in seconds since the epoch, and a number from
/// 10^12 in milliseconds since the epoch. A number between 10^8 and 10^9 makes no sense.
pub(crate) fn reset(text: &[u8]) -> Option<Moment> {
    let value = number(text, SECOND)?;
    match value.as_secs() {
        0..100_000_000 => Some(Moment::After(value)),
        100_000_000..1_000_000_000 => None,
        1_000_000_000..1_000_000_000_000 => Some(Moment::At(value)),
        1_000_000_000_000.. => number(text, MILLISECOND).map(Moment::At),
    }
}

/// The value of `RateLimit` (draft-ietf-httpapi-ratelimit-headers): a list of quotas (RFC 9651
/// §3.1). The parameter `r` of a quota is the number of units that are left, `t` the seconds until
/// there are more.
pub(crate) fn rate_limit(value: &[u8]) -> Option<RateLimit> {
    let mut rest = Rest(value);
    let mut limit = RateLimit { nothing_left: false, wait: None };
    loop {
        rest.item()?;
        let (mut left, mut wait) = (None, None);
        while rest.eat(b';') {
            rest.skip(|b| b == b' ');
            match rest.key()? {
                b"r" => left = rest.parameter()?.count(),
                b"t" => wait = rest.parameter()?.count().map(Duration::from_secs),
                _ => _ = rest.parameter()?,
            }
        }
        if left? == 0 {
            limit.nothing_left = true;
            limit.wait = limit.wait.max(wait);
        }
        rest.skip(is_blank);
        if rest.0.is_empty() {
            return Some(limit);
        }
        if !rest.eat(b',') {
            return None;
        }
        rest.skip(is_blank);
    }
}

/// A bare item (RFC 9651 §3.3). A quota needs only integers.
enum Item {
    /// A non-negative integer.
    Count(u64),
    Other,
}

impl Item {
    fn count(&self) -> Option<u64> {
        match self {
            Self::Count(n) => Some(*n),
            Self::Other => None,
        }
    }
}

/// The rest of a structured field (RFC 9651 §4.2).
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn eat(&mut self, byte: u8) -> bool {
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// Takes bytes while they satisfy the condition.
    fn skip(&mut self, such: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|b| !such(*b)).unwrap_or(self.0.len());
        let (these, rest) = self.0.split_at(end);
        self.0 = rest;
        these
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        let key = self.skip(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b));
        key.first().filter(|b| b.is_ascii_lowercase() || **b == b'*').map(|_| key)
    }

    /// The value of a parameter. A parameter without a value is true.
    fn parameter(&mut self) -> Option<Item> {
        if self.eat(b'=') { self.item() } else { Some(Item::Other) }
    }

    fn item(&mut self) -> Option<Item> {
        let well_formed = match *self.0.first()? {
            b'0'..=b'9' | b'-' => return self.number(),
            b'"' => self.string(),
            // A date and a display string.
            b'@' => self.eat(b'@') && self.number().is_some(),
            b'%' => self.eat(b'%') && self.string(),
            b'?' => self.eat(b'?') && (self.eat(b'0') || self.eat(b'1')),
            b':' => {
                self.eat(b':');
                self.skip(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
                self.eat(b':')
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'*' => {
                self.skip(|b| is_token(b) || b == b':' || b == b'/');
                true
            }
            _ => false,
        };
        well_formed.then_some(Item::Other)
    }

    /// An integer of up to 15 digits, or a decimal number.
    fn number(&mut self) -> Option<Item> {
        let negative = self.eat(b'-');
        let whole = self.skip(|b| b.is_ascii_digit());
        if self.eat(b'.') {
            let fraction = self.skip(|b| b.is_ascii_digit());
            let fits = (1..=12).contains(&whole.len()) && (1..=3).contains(&fraction.len());
            return fits.then_some(Item::Other);
        }
        if !(1..=15).contains(&whole.len()) {
            return None;
        }
        let value = whole.iter().fold(0, |n, b| n * 10 + u64::from(b - b'0'));
        Some(if negative && value > 0 { Item::Other } else { Item::Count(value) })
    }

    /// A string `"..."`, with the escapes `\"` and `\\`.
    fn string(&mut self) -> bool {
        if !self.eat(b'"') {
            return false;
        }
        loop {
            self.skip(|b| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\');
            if self.eat(b'"') {
                return true;
            }
            if !(self.eat(b'\\') && (self.eat(b'"') || self.eat(b'\\'))) {
                return false;
            }
        }
    }
}

/// A byte of a token, such as the name of a field (RFC 9110 §5.6.2).
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Optional whitespace (RFC 9110 §5.6.3).
pub(crate) fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn numbers_are_digits_with_perhaps_a_fraction() {
        let huge = "9".repeat(400);
        for (text, unit, expected) in [
            ("0", SECOND, Some(Duration::ZERO)),
            ("120", SECOND, Some(seconds(120))),
            ("0120", SECOND, Some(seconds(120))),
            ("1.5", SECOND, Some(Duration::from_millis(1500))),
            ("1.0000000019", SECOND, Some(Duration::new(1, 1))),
            ("1500", MILLISECOND, Some(Duration::from_millis(1500))),
            ("0.25", MILLISECOND, Some(Duration::from_micros(250))),
            ("18446744073709551615", SECOND, Some(seconds(u64::MAX))),
            ("18446744073709551616", SECOND, Some(Duration::MAX)),
            (&huge, SECOND, Some(Duration::MAX)),
            (&huge, MILLISECOND, Some(Duration::MAX)),
            ("", SECOND, None),
            ("-5", SECOND, None),
            ("-0", SECOND, None),
            ("+5", SECOND, None),
            ("5s", SECOND, None),
            ("5 5", SECOND, None),
            ("0x10", SECOND, None),
            ("1e9", SECOND, None),
            ("1_000", SECOND, None),
            (".5", SECOND, None),
            ("5.", SECOND, None),
            ("1.2.3", SECOND, None),
            ("NaN", SECOND, None),
            ("inf", SECOND, None),
        ] {
            assert_eq!(number(text.as_bytes(), unit), expected, "{text}");
        }
    }

    #[test]
    fn dates_are_read_in_three_forms_and_any_case() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "sun, 06 nov 1994 08:49:37 gmt",
            "SUN, 06 NOV 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "sunday, 06-NOV-94 08:49:37 Gmt",
            "Sun Nov  6 08:49:37 1994",
            "sUN nOV  6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "sun, 06 nov 1994 08:49:37 utc",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 06 Nov 1994 08:49:37 -0000",
            "Sunday, 06-Nov-94 08:49:37 UTC",
            "Sunday, 06-Nov-94 08:49:37 +0000",
        ] {
            assert_eq!(date(text.as_bytes()), Some(seconds(784_111_777)), "{text}");
        }
        // A past leap second, and the longest name of a weekday.
        assert_eq!(date(b"Sat, 31 Dec 2016 23:59:60 GMT"), Some(seconds(1_483_228_800)));
        assert_eq!(date(b"Wednesday, 09-Nov-94 08:49:37 GMT"), Some(seconds(784_370_977)));
        assert_eq!(date(b"Wednesday, 09-Nov-94 08:49:37 +0000"), Some(seconds(784_370_977)));
        for text in [
            "",
            "Sun",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 +0100",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 08:49:37 UTC GMT",
            "Sun, 06 Nov 1994 08:49:37UTC",
            "Sun, 06 Nov 1994 08:49:37 Z",
            "Sun Nov  6 08:49:37 1994 UTC",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 0000 08:49:37 GMT",
            "1994-11-06T08:49:37Z",
            "Sün, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(date(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_reset_is_told_apart_by_its_size() {
        let after = |wait| Some(Moment::After(wait));
        let at = |time| Some(Moment::At(time));
        for (text, expected) in [
            ("0", after(Duration::ZERO)),
            ("30.5", after(Duration::from_millis(30_500))),
            ("99999999", after(seconds(99_999_999))),
            ("100000000", None),
            ("999999999", None),
            ("1000000000", at(seconds(1_000_000_000))),
            ("1700000000.25", at(Duration::from_millis(1_700_000_000_250))),
            ("999999999999", at(seconds(999_999_999_999))),
            ("1000000000000", at(seconds(1_000_000_000))),
            ("1700000000250", at(Duration::from_millis(1_700_000_000_250))),
            ("1e9", None),
            ("-1", None),
            ("NaN", None),
            ("2026-01-01T00:00:00Z", None),
        ] {
            assert_eq!(reset(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(reset("9".repeat(99).as_bytes()), at(Duration::MAX));
    }

    #[test]
    fn rate_limit_is_a_list_of_quotas() {
        let left = Some(RateLimit { nothing_left: false, wait: None });
        let nothing = |wait: Option<u64>| Some(RateLimit { nothing_left: true, wait: wait.map(seconds) });
        for (text, expected) in [
            (r#""default";r=0;t=30"#, nothing(Some(30))),
            (r#""default";r=50;t=30"#, left),
            (r#""default";r=0"#, nothing(None)),
            (r#""burst";r=0;t=5, "daily";r=0;t=3600,"hourly";r=9;t=9999"#, nothing(Some(3600))),
            ("\"a\";r=0 \t,\t\"b\"; r=0;  t=7", nothing(Some(7))),
            (
                r#""a;r=1,\"\\";pk=:cHsdsRa894==:;r=0;x;y=?1;z=tok/en:*;d=@-5;e=%"f%c3";f=1.5;t=2"#,
                nothing(Some(2)),
            ),
            (r#""a";r=1;r=0;t=1;t=2"#, nothing(Some(2))),
            ("token;r=0;t=1", nothing(Some(1))),
            // The draft does not allow this value of `t`. The value is ignored, and the quota stays
            // empty.
            (r#""a";r=0;t=-1"#, nothing(None)),
            (r#""a";r=0;t=1.5"#, nothing(None)),
            ("", None),
            (r#""a""#, None),
            (r#""a";t=30"#, None),
            (r#""a";r=-1;t=30"#, None),
            (r#""a";r=0.0;t=30"#, None),
            (r#""a";r;t=30"#, None),
            (r#""a";r="0";t=30"#, None),
            (r#""a";R=0;t=30"#, None),
            (r#""a";r=0;t=1234567890123456"#, None),
            (r#""a";r=0;t=30,"#, None),
            (r#""a";r=0;t=30 "b";r=0"#, None),
            (r#""a";r=0;t=30, "b""#, None),
            (r#""a";r=0;"#, None),
            (r#""a";r=0;t="#, None),
            (r#""a;r=0;t=30"#, None),
            (r#""\a";r=0;t=30"#, None),
            (r#"("a" "b");r=0;t=30"#, None),
            ("limit=100, remaining=0, reset=5", None),
            ("\"\u{e4}\";r=0;t=30", None),
        ] {
            assert_eq!(rate_limit(text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(text: Vec<u8>) {
            let _ = (retry_after(&text), reset(&text), rate_limit(&text));
        }

        #[test]
        fn no_near_miss_panics(text in r#"[A-Za-z]{0,9},? ?[0-9A-Za-z:;=" -]{0,26}"#) {
            let _ = (retry_after(text.as_bytes()), reset(text.as_bytes()), rate_limit(text.as_bytes()));
        }

        /// Each moment with a date is read back from that date, in upper and in lower case.
        #[test]
        fn dates_read_back(time in 0u64..253_402_300_800, upper: bool) {
            let text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + seconds(time));
            let text = if upper { text.to_uppercase() } else { text.to_lowercase() };
            prop_assert_eq!(date(text.as_bytes()), Some(seconds(time)));
        }

        #[test]
        fn whole_numbers_read_back(n: u64) {
            prop_assert_eq!(number(n.to_string().as_bytes(), SECOND), Some(seconds(n)));
            prop_assert_eq!(number(n.to_string().as_bytes(), MILLISECOND), Some(Duration::from_millis(n)));
        }
    }
}
