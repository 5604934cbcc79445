//! The options of shared state: their values, the rules between them, and what stands instead of a COMMAND.

use std::ffi::CString;
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::args::Args;
use super::values::{self, ValueError, decimal_times, duration, unit_hint};
use super::{defaults, echo, hints, label};
use crate::error::Error;
use crate::policy::Limits;
use crate::policy::admission::Admission;
use crate::policy::admission::breaker::Settings;
use crate::policy::admission::budget::Rate;
use crate::state::place::{self, Place, VARIABLE, is_path, variable};
use crate::state::shared::lease;

/// Longest name, in bytes: a file's name has some more around it.
const LONGEST: usize = 100;

/// What is done instead of running a command.
#[derive(Debug)]
pub(crate) enum Manage {
    /// Shows one name, or all in the directory.
    Status { place: Option<Place>, directory: PathBuf, json: bool },
    /// Closes a breaker.
    Reset(Place),
    /// Holds a breaker open for so long.
    Trip(Place, Duration),
}

/// Reads the name of a breaker or budget.
///
/// # Errors
/// Where it is empty, too long, or has a slash or control characters and is no path.
pub(crate) fn name(text: &str) -> Result<String, ValueError> {
    let hint = "a name is any text of up to 100 bytes without /, or a file's path: /x, ./x, ../x";
    let wrong = |cause: &str| Err(ValueError::new(cause, hint));
    if text.is_empty() {
        return wrong("the name is empty");
    }
    if text.chars().any(char::is_control) {
        return wrong("a name cannot contain control characters");
    }
    if is_path(text) {
        let last = text.rsplit('/').next().unwrap_or_default();
        return if matches!(last, "" | "." | "..") {
            wrong("the path names a directory")
        } else {
            Ok(text.to_owned())
        };
    }
    if text.contains('/') {
        return wrong("a name cannot contain /");
    }
    if text.len() > LONGEST {
        return wrong("the name is too long");
    }
    Ok(text.to_owned())
}

/// `--budget`: a rate, under a name of its own or the breaker's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Budget {
    pub(crate) name: Option<String>,
    pub(crate) rate: Rate,
}

/// Reads `10/s`, `100/m`, `20%`, with `NAME=` before it or not.
///
/// # Errors
/// Where name or rate cannot be read.
pub(crate) fn budget(text: &str) -> Result<Budget, ValueError> {
    let (named, rate) = match text.rsplit_once('=') {
        Some((named, rate)) => (Some(name(named)?), rate),
        None => (None, text),
    };
    Ok(Budget { name: named, rate: read_rate(rate)? })
}

fn read_rate(text: &str) -> Result<Rate, ValueError> {
    let hint =
        "a budget is a number of retries per time (10/s, 100/m, 5/30s) or a share of first attempts (20%)";
    let wrong = |cause: &str| ValueError::new(cause, hint);
    if let Some(percent) = text.strip_suffix('%') {
        // One percent is 10,000,000 billionths, as a nanosecond is a billionth of a second.
        let share =
            decimal_times(percent.trim_end(), Duration::from_millis(10)).map_err(
                |_| match hints::with_point(percent) {
                    Some(text) => {
                        ValueError::new("not a percentage", format!("a fraction has a point, as in {text}%"))
                    }
                    None => wrong("not a percentage"),
                },
            )?;
        return match u64::try_from(share.as_nanos()) {
            Ok(0) => Err(wrong("a budget of 0 allows no retry: use --max 1 instead")),
            Ok(billionths) if share <= Duration::from_secs(10) => Ok(Rate::Share { billionths }),
            Ok(_) | Err(_) => Err(wrong("a percentage cannot be more than 1000%")),
        };
    }
    let (count, period) = text.split_once('/').ok_or_else(|| wrong("not a rate"))?;
    let digits = count.bytes().all(|b| b.is_ascii_digit());
    let count = match count.parse::<u32>() {
        Ok(0) if digits => return Err(wrong("a budget of 0 allows no retry: use --max 1 instead")),
        Ok(count) if digits => count,
        Ok(_) | Err(_) => return Err(wrong("not a rate")),
    };
    // `/s` is `/1s`.
    let period = match period.bytes().next() {
        Some(b'0'..=b'9' | b'.') => period.to_owned(),
        Some(_) => format!("1{period}"),
        None => return Err(wrong("not a rate")),
    };
    match duration(&period) {
        Ok(period) if period >= Duration::from_millis(1) => Ok(Rate::Times { count, period }),
        Ok(_) => Err(wrong("the time of a rate must be at least 1ms")),
        Err(_) => {
            let hint = unit_hint(&period).unwrap_or_else(|| hint.to_owned());
            Err(ValueError::new("not a rate", hint))
        }
    }
}

/// Reads a number of failures.
///
/// # Errors
/// Anything but a number from 1 to 4294967295.
pub(crate) fn failures(text: &str) -> Result<NonZeroU32, ValueError> {
    let hint = "write how many failures in a row open the breaker; with 1, the first one does";
    match text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten() {
        Some(failures) => Ok(failures),
        None => Err(ValueError::new("not a number of failures", hint)),
    }
}

/// Reads a duration that is more than nothing.
///
/// # Errors
/// As [`duration`], and zero.
pub(crate) fn some_time(text: &str) -> Result<Duration, ValueError> {
    match duration(text)? {
        Duration::ZERO => {
            Err(ValueError::new("the duration must be more than 0", "write a duration such as 30s or 5m"))
        }
        time => Ok(time),
    }
}

/// Reads `NAME` or `NAME=DURATION`.
///
/// # Errors
/// Where name or duration cannot be read.
pub(crate) fn trip(text: &str) -> Result<(String, Duration), ValueError> {
    match text.rsplit_once('=') {
        Some((named, time)) => {
            // A text that begins like a number was meant for a time, and any other may belong to the name.
            let numeric =
                time.trim_start_matches([' ', '-', '+', '.']).starts_with(|c: char| c.is_ascii_digit());
            let time = some_time(time).map_err(|error| match numeric {
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

/// What a run shares, and where.
#[derive(Debug, Default)]
pub(crate) struct Sharing {
    pub(crate) breaker: Option<Place>,
    pub(crate) budget: Option<Place>,
}

/// Checks that no option of shared state lacks another that it needs. A `--deadline 0` still counts as given.
///
/// # Errors
/// The first that does.
pub(crate) fn check_needs(args: &Args) -> Result<(), Error> {
    let needs = |option: &str, other: &str, hint: &str| {
        Err(Error::usage(format!("{option} needs {other}"), hint.to_owned()))
    };
    if args.shared.breaker.is_none() {
        for (given, option) in [
            (args.shared.breaker_failures.is_some(), "--breaker-failures"),
            (args.shared.breaker_cooldown.is_some(), "--breaker-cooldown"),
            (args.shared.breaker_wait, "--breaker-wait"),
        ] {
            if given {
                return needs(option, "--breaker", "name the breaker: --breaker NAME");
            }
        }
    }
    if args.shared.breaker_wait {
        let hint = "limit the whole run: --deadline 10m";
        match &args.attempts.deadline {
            None => return needs("--breaker-wait", "--deadline", hint),
            Some(limit) if limit.length.is_zero() => {
                return needs("--breaker-wait", "a --deadline other than 0", hint);
            }
            Some(_) => {}
        }
    }
    if args.shared.state.is_some() && args.shared.breaker.is_none() && args.shared.budget.is_none() {
        return needs("--state", "--breaker or --budget", "without them, retry keeps no shared state");
    }
    if args.shared.breaker.is_none()
        && args.shared.budget.as_ref().is_some_and(|budget| budget.name.is_none())
    {
        return needs("--budget", "a name", "write --budget NAME=RATE, or name a breaker");
    }
    Ok(())
}

/// What the options come to.
///
/// # Errors
/// A URL in RETRY_STATE.
pub(crate) fn sharing(
    args: &Args,
    limits: &Limits,
    environment: &[CString],
) -> Result<(Admission, Sharing), Error> {
    if args.shared.breaker.is_none() && args.shared.budget.is_none() {
        return Ok((Admission::default(), Sharing::default()));
    }
    let directory = directory(args, environment)?;
    let place = |name: &String| Place::new(name, &directory);
    let breaker = args.shared.breaker.as_ref().map(place);
    let budget = args
        .shared
        .budget
        .as_ref()
        .and_then(|budget| budget.name.as_ref().map(place).or_else(|| breaker.clone()));
    let admission = Admission {
        breaker: args.shared.breaker.as_ref().map(|_| Settings {
            failures: args.shared.breaker_failures.unwrap_or(defaults::BREAKER_FAILURES),
            cooldown: args.shared.breaker_cooldown.unwrap_or(defaults::BREAKER_COOLDOWN.duration()),
            lease: {
                // The check has a timeout of its own.
                let times = if args.repeats.check.is_some() { 2 } else { 1 };
                let timeout = limits.timeout.map(|timeout| timeout.saturating_mul(times));
                lease(timeout, limits.kill_after.saturating_mul(times))
            },
        }),
        wait: args.shared.breaker_wait,
        budget: args.shared.budget.as_ref().map(|budget| budget.rate),
    };
    Ok((admission, Sharing { breaker, budget }))
}

/// The directory of shared state.
///
/// # Errors
/// A URL in RETRY_STATE. That in `--state` is refused where the option is read.
fn directory(args: &Args, environment: &[CString]) -> Result<PathBuf, Error> {
    if args.shared.state.is_none()
        && let Some(named) = variable(VARIABLE, environment)
        && let Err(ValueError { cause, hint, .. }) = values::state(named.into())
    {
        return Err(Error::usage(format!("the variable {VARIABLE}: {cause}"), hint));
    }
    Ok(place::directory(args.shared.state.as_deref(), environment))
}

/// What stands instead of a COMMAND, if something does.
///
/// # Errors
/// A URL in RETRY_STATE.
pub(crate) fn manage(args: &Args, environment: &[CString]) -> Result<Option<Manage>, Error> {
    if args.shared.breaker_trip.is_none()
        && args.shared.breaker_reset.is_none()
        && args.shared.breaker_status.is_none()
    {
        return Ok(None);
    }
    let directory = directory(args, environment)?;
    let place = |name: &str| Place::new(name, &directory);
    if let Some((name, time)) = &args.shared.breaker_trip {
        return Ok(Some(Manage::Trip(place(name), *time)));
    }
    if let Some(name) = &args.shared.breaker_reset {
        return Ok(Some(Manage::Reset(place(name))));
    }
    let place = args.shared.breaker_status.as_ref().and_then(|name| name.as_deref().map(place));
    Ok(Some(Manage::Status { place, directory, json: args.shared.json }))
}

/// The three options that stand instead of a COMMAND.
const INSTEAD: [(&str, &str); 3] = [
    ("breaker_status", "--breaker-status"),
    ("breaker_reset", "--breaker-reset"),
    ("breaker_trip", "--breaker-trip"),
];

/// That nothing is given beside an option that stands instead of a COMMAND but what goes with it.
///
/// # Errors
/// Where something else is.
pub(crate) fn stands_alone(matches: &ArgMatches) -> Result<(), Error> {
    let given = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let mut instead = INSTEAD.iter().filter(|(id, _)| given(id));
    let Some((first, option)) = instead.next() else {
        return if given("json") {
            Err(Error::usage("--json is for --breaker-status", "write retry --breaker-status --json"))
        } else {
            Ok(())
        };
    };
    if let Some((_, other)) = instead.next() {
        return Err(Error::usage(
            format!("{option} and {other} contradict each other"),
            "give only one of them",
        ));
    }
    if given("command") {
        let word = matches.get_raw("command").and_then(|mut words| words.next());
        let word = word.and_then(|word| label::typed(word.as_bytes()));
        let hint = match word {
            Some(word) if *first == "breaker_status" && name(word).is_ok() => {
                format!("to see one breaker write {option}={word}")
            }
            Some(_) | None => format!("leave the command out: {option} runs nothing"),
        };
        return Err(Error::usage(format!("{option} takes no COMMAND"), hint));
    }
    let goes_with = |id: &str| id == *first || id == "state" || (id == "json" && *first == "breaker_status");
    match matches.ids().find(|id| given(id.as_str()) && !goes_with(id.as_str())) {
        Some(id) => Err(Error::usage(
            format!("--{} does nothing with {option}", id.as_str().replace('_', "-")),
            "leave it out: no command is run",
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_text_or_a_path() {
        for text in ["payments", "a b", "é", "a=b", "..", ".x", "/x", "./x", "../x/y", &"x".repeat(100)] {
            assert_eq!(name(text).as_deref(), Ok(text));
        }
        for text in ["", "a/b", "x/", "/", "./", "../..", "/x/.", "a\nb", "\u{85}", &"x".repeat(101)] {
            assert!(name(text).is_err(), "{text:?}");
        }
    }

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

    #[test]
    fn a_trip_has_its_time_behind_the_last_equals_sign() {
        assert_eq!(trip("payments"), Ok(("payments".into(), defaults::BREAKER_TRIP.duration())));
        assert_eq!(trip("payments=2h"), Ok(("payments".into(), Duration::from_hours(2))));
        assert_eq!(trip("a=b=5"), Ok(("a=b".into(), Duration::from_secs(5))));
        for text in ["", "=2h", "payments=", "payments=0", "payments=soon"] {
            assert!(trip(text).is_err(), "{text}");
        }
    }

    #[test]
    fn failures_are_counted_from_one() {
        assert_eq!(failures("1").map(NonZeroU32::get), Ok(1));
        for text in ["", "0", "-1", "+1", "1.5", "4294967296", "five"] {
            assert!(failures(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = (name(&text), budget(&text), trip(&text), failures(&text));
        }
    }
}
