//! Numbers in decimal notation.

use std::time::Duration;

/// Digits of a fraction that count. Further digits are less than a nanosecond, a byte or a
/// billionth.
const PRECISION: usize = 18;

/// Digits, and perhaps a point among, before or after them: `120`, `1.5`, `.5`, `1.`. A sign, an
/// exponent and another base are not part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decimal<'a> {
    whole: &'a [u8],
    /// The digits after the point. None without a point.
    fraction: Option<&'a [u8]>,
}

impl<'a> Decimal<'a> {
    /// None if the text has no digit, or something else than digits and one point.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let mut parts = text.splitn(2, |b| *b == b'.');
        let decimal = Self { whole: parts.next()?, fraction: parts.next() };
        let mut digits = decimal.whole.iter().chain(decimal.fraction.unwrap_or_default()).peekable();
        (digits.peek().is_some() && digits.all(u8::is_ascii_digit)).then_some(decimal)
    }

    /// Whether the point, if there is one, has digits on both sides.
    pub(crate) fn is_complete(self) -> bool {
        !self.whole.is_empty() && self.fraction.is_none_or(|digits| !digits.is_empty())
    }

    /// The number times `unit`, rounded down. None if the product does not fit.
    pub(crate) fn times(self, unit: u128) -> Option<u128> {
        let fraction = self.fraction.unwrap_or_default();
        let fraction = fraction.get(..PRECISION).unwrap_or(fraction);
        let scale = fraction.iter().fold(1, |scale, _| scale * 10);
        let part = value(fraction)?.checked_mul(unit)? / scale;
        value(self.whole)?.checked_mul(unit)?.checked_add(part)
    }

    /// The number times `unit`, rounded down to a nanosecond. None if the duration is too long.
    pub(crate) fn duration(self, unit: Duration) -> Option<Duration> {
        const SECOND: u128 = 1_000_000_000;
        let nanos = self.times(unit.as_nanos())?;
        let seconds = u64::try_from(nanos / SECOND).ok()?;
        Some(Duration::new(seconds, u32::try_from(nanos % SECOND).ok()?))
    }
}

/// None if the number does not fit.
fn value(digits: &[u8]) -> Option<u128> {
    digits
        .iter()
        .try_fold(0_u128, |value, digit| value.checked_mul(10)?.checked_add(u128::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn times(text: &str, unit: u128) -> Option<u128> {
        Decimal::parse(text.as_bytes())?.times(unit)
    }

    #[test]
    fn a_number_is_digits_with_one_point_at_most() {
        for (text, complete) in [("0", true), ("007.50", true), (".5", false), ("1.", false)] {
            let decimal = Decimal::parse(text.as_bytes()).unwrap();
            assert_eq!(decimal.is_complete(), complete, "{text}");
        }
        for text in ["", ".", "1.2.3", "+1", "-1", "1e3", "0x1", " 1", "1,5", "\u{661}"] {
            assert_eq!(Decimal::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_product_is_rounded_down() {
        for (text, unit, product) in [
            ("1.5", 3600, 5400),
            (".9", 1, 0),
            ("0.333333333333333333", 3, 0),
            ("0.99999999999999999999999", 1000, 999),
            ("2", 0, 0),
        ] {
            assert_eq!(times(text, unit), Some(product), "{text}");
        }
    }

    #[test]
    fn a_product_that_does_not_fit_is_none() {
        let most = u128::MAX.to_string();
        assert_eq!(times(&most, 1), Some(u128::MAX));
        assert_eq!(times(&most, 2), None);
        assert_eq!(times(&format!("{most}0"), 0), None);
        assert_eq!(times(&"9".repeat(400), 1), None);
        let duration = |text: &str| Decimal::parse(text.as_bytes())?.duration(Duration::from_secs(1));
        assert_eq!(duration("18446744073709551615"), Some(Duration::from_secs(u64::MAX)));
        assert_eq!(duration("18446744073709551616"), None);
    }

    proptest! {
        #[test]
        fn seconds_read_back(seconds: u64, nanos in 0u32..1_000_000_000) {
            let text = format!("{seconds}.{nanos:09}");
            let duration = Decimal::parse(text.as_bytes()).unwrap().duration(Duration::from_secs(1));
            prop_assert_eq!(duration, Some(Duration::new(seconds, nanos)));
        }
    }
}
