//! The growth factor and the seed.

use super::ValueError;
use crate::cli::hints;

/// Reads the growth factor: a number, at least 1.
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

/// Reads a seed: a number from 0 to 18446744073709551615.
pub(crate) fn seed(text: &str) -> Result<u64, ValueError> {
    let hint = "a seed is a whole number from 0 to 18446744073709551615";
    // `parse` would take a sign too.
    match text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse().map_err(|_| ValueError::new("not a seed", hint)),
        false => Err(ValueError::new("not a seed", hint)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
