//! Budgets of retries.

use std::time::Duration;

use super::duration::unit_hint;
use super::{ValueError, duration, name};
use crate::cli::hints;
use crate::policy::admission::budget::Rate;
use crate::policy::decimal::Decimal;

const FORM: &str =
    "a budget is a number of retries per time (10/s, 100/m, 5/30s) or a share of first attempts (20%)";

const NO_RETRY: &str = "a budget of 0 allows no retry: use --max 1 instead";

/// `--budget`: a rate, and the name of the budget unless the breaker's name is its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Budget {
    pub(crate) name: Option<String>,
    pub(crate) rate: Rate,
}

/// Reads `10/s`, `100/m` or `20%`, or one of them after `NAME=`.
pub(crate) fn budget(text: &str) -> Result<Budget, ValueError> {
    let (named, text) = match text.rsplit_once('=') {
        Some((named, text)) => (Some(name(named)?), text),
        None => (None, text),
    };
    Ok(Budget { name: named, rate: rate(text)? })
}

fn rate(text: &str) -> Result<Rate, ValueError> {
    let error = |cause: &str| ValueError::new(cause, FORM);
    if let Some(percent) = text.strip_suffix('%') {
        return share(percent.trim_end());
    }
    let (count, period) = text.split_once('/').ok_or_else(|| error("not a rate"))?;
    let digits = count.bytes().all(|b| b.is_ascii_digit());
    let count = match count.parse::<u32>() {
        Ok(0) if digits => return Err(error(NO_RETRY)),
        Ok(count) if digits => count,
        Ok(_) | Err(_) => return Err(error("not a rate")),
    };
    // `/s` is `/1s`.
    let period = match period.bytes().next() {
        Some(b'0'..=b'9' | b'.') => period.to_owned(),
        Some(_) => format!("1{period}"),
        None => return Err(error("not a rate")),
    };
    match duration(&period) {
        Ok(period) if period >= Duration::from_millis(1) => Ok(Rate::Times { count, period }),
        Ok(_) => Err(error("the time of a rate must be at least 1ms")),
        Err(_) => {
            let hint = unit_hint(&period).unwrap_or_else(|| FORM.to_owned());
            Err(ValueError::new("not a rate", hint))
        }
    }
}

/// Reads a percentage of the first attempts.
fn share(percent: &str) -> Result<Rate, ValueError> {
    const BILLIONTHS_OF_A_PERCENT: u128 = 10_000_000;
    const MOST: u64 = 10_000_000_000;
    let error = |cause: &str| ValueError::new(cause, FORM);
    let Some(number) = Decimal::parse(percent.as_bytes()) else {
        return Err(match hints::with_point(percent) {
            Some(text) => {
                ValueError::new("not a percentage", format!("a fraction has a point, as in {text}%"))
            }
            None => error("not a percentage"),
        });
    };
    match number.times(BILLIONTHS_OF_A_PERCENT).and_then(|billionths| u64::try_from(billionths).ok()) {
        Some(0) => Err(error(NO_RETRY)),
        Some(billionths @ ..=MOST) => Ok(Rate::Share { billionths }),
        Some(_) | None => Err(error("a percentage cannot be more than 1000%")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_rates_with_or_without_a_name() {
        let times = |count, secs| Rate::Times { count, period: Duration::from_secs(secs) };
        let share = |billionths| Rate::Share { billionths };
        for (text, named, rate) in [
            ("10/s", None, times(10, 1)),
            ("100/m", None, times(100, 60)),
            ("payments=100/h", Some("payments"), times(100, 3600)),
            ("5/30s", None, times(5, 30)),
            ("5/30", None, times(5, 30)),
            ("20%", None, share(200_000_000)),
            ("a=b=0.5%", Some("a=b"), share(5_000_000)),
            ("1000%", None, share(10_000_000_000)),
        ] {
            let budget = budget(text).unwrap();
            assert_eq!((budget.name.as_deref(), budget.rate), (named, rate), "{text}");
        }
        for text in [
            "",
            "10",
            "/s",
            "10/",
            "0/s",
            "0%",
            "-1%",
            "-1/s",
            "+1/s",
            "1001%",
            "x%",
            "10/x",
            "10/0",
            "=20%",
            "a/b=20%",
            "1e3/s",
            "4294967296/s",
            "NaN%",
            "20 percent",
        ] {
            assert!(budget(text).is_err(), "{text}");
        }
    }
}
