//! Options of shared state: the rules between them, and the breaker and the budget of a run.

use std::ffi::CString;

use crate::cli::args::Args;
use crate::cli::defaults;
use crate::cli::directory::home;
use crate::error::Error;
use crate::policy::Limits;
use crate::policy::admission::breaker::{Opens, Settings};
use crate::policy::admission::{Admission, probe_lease};
use crate::state::file::place::Place;

/// The places of the records that a run shares with other runs.
#[derive(Debug, Default)]
pub(crate) struct Sharing {
    pub(crate) breaker: Option<Place>,
    pub(crate) budget: Option<Place>,
}

/// Checks that each option of shared state has the options that it needs. `--deadline 0` is a
/// deadline that was given, but not a limit.
///
/// # Errors
/// The first option that lacks another one.
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

/// The breaker and the budget of a run, and their places.
///
/// # Errors
/// A wrong URL in RETRY_STATE.
pub(crate) fn sharing(
    args: &Args,
    limits: &Limits,
    environment: &[CString],
) -> Result<(Admission, Sharing), Error> {
    if args.shared.breaker.is_none() && args.shared.budget.is_none() {
        return Ok((Admission::default(), Sharing::default()));
    }
    let home = home(args, environment)?;
    let place = |name: &String| Place::new(name, &home);
    let breaker = args.shared.breaker.as_ref().map(place);
    let budget = args
        .shared
        .budget
        .as_ref()
        .and_then(|budget| budget.name.as_ref().map(place).or_else(|| breaker.clone()));
    let admission = Admission {
        breaker: args.shared.breaker.as_ref().map(|_| Settings {
            opens: args.shared.breaker_failures.unwrap_or(Opens::InRow(defaults::BREAKER_FAILURES)),
            cooldown: args.shared.breaker_cooldown.unwrap_or(defaults::BREAKER_COOLDOWN.duration()),
            lease: {
                // A check has the timeout of an attempt for itself.
                let times = if args.repeats.check.is_some() { 2 } else { 1 };
                let timeout = limits.timeout.map(|timeout| timeout.saturating_mul(times));
                probe_lease(timeout, limits.kill_after.saturating_mul(times))
            },
        }),
        wait: args.shared.breaker_wait,
        budget: args.shared.budget.as_ref().map(|budget| budget.rate),
    };
    Ok((admission, Sharing { breaker, budget }))
}
