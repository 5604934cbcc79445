//! The value of `--breaker-trip`.

use std::time::Duration;

use super::{ValueError, name, positive_duration};
use crate::cli::{defaults, echo};

/// Reads `NAME` or `NAME=DURATION`.
pub(crate) fn trip(text: &str) -> Result<(String, Duration), ValueError> {
    match text.rsplit_once('=') {
        Some((named, time)) => {
            // A text that begins like a number is a mistyped duration. Any other text may belong to
            // the name.
            let numeric =
                time.trim_start_matches([' ', '-', '+', '.']).starts_with(|c: char| c.is_ascii_digit());
            let time = positive_duration(time).map_err(|error| match numeric {
                true => error,
                false => ValueError {
                    hint: match echo::shown("--breaker-trip", text) {
                        Some(text) if text.len() < echo::LONGEST && !text.starts_with('\'') => {
                            format!("the text after the last = is a duration, as in {named}=2h or {text}=2h")
                        }
                        Some(_) | None => "the text after the last = is a duration, as in NAME=2h".to_owned(),
                    },
                    ..error
                },
            });
            Ok((name(named)?, time?))
        }
        None => Ok((name(text)?, defaults::BREAKER_TRIP.duration())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trip_has_its_time_after_the_last_equals_sign() {
        assert_eq!(trip("payments"), Ok(("payments".into(), defaults::BREAKER_TRIP.duration())));
        assert_eq!(trip("payments=2h"), Ok(("payments".into(), Duration::from_hours(2))));
        assert_eq!(trip("a=b=5"), Ok(("a=b".into(), Duration::from_secs(5))));
        for text in ["", "=2h", "payments=", "payments=0", "payments=soon"] {
            assert!(trip(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_hint_fits_the_text_after_the_equals_sign() {
        let hint = |text| trip(text).unwrap_err().hint;
        assert_eq!(hint("a=b"), "the text after the last = is a duration, as in a=2h or a=b=2h");
        assert_eq!(hint("a=x://b"), "the text after the last = is a duration, as in NAME=2h");
        assert!(hint("a=5x").starts_with("a duration is a number of seconds"));
    }
}
