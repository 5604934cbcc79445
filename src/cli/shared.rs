//! The options of shared state: their values, the rules between them, and what stands instead of a COMMAND.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::args::Args;
use super::values::{self, ValueError, name};
use super::{defaults, label};
use crate::error::Error;
use crate::policy::Limits;
use crate::policy::admission::Admission;
use crate::policy::admission::breaker::Settings;
use crate::state::place::{self, Place, VARIABLE, variable};
use crate::state::shared::lease;

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
        && let Err(ValueError { cause, hint, .. }) = values::state_directory(named.into())
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
