//! `--max`, `--deadline` and the options of the delay.

use std::num::NonZeroU32;
use std::time::Duration;

use super::length;
use crate::cli::args::{Args, DelayArgs};
use crate::cli::defaults;
use crate::cli::values::{BackoffName, Delays, JitterName, MaxAttempts};
use crate::error::Error;
use crate::policy::delay::backoff::Growth;
use crate::policy::delay::jitter::Jitter;
use crate::policy::delay::schedule::Schedule;

/// The schedule of attempts and delays.
///
/// # Errors
/// Options of the delay that contradict each other.
pub(super) fn schedule(args: &Args) -> Result<Schedule, Error> {
    let Delays { first, rest } =
        args.delays.delay.clone().unwrap_or(Delays { first: defaults::DELAY.duration(), rest: Vec::new() });
    let list = !rest.is_empty();
    let backoff = args.delays.backoff.unwrap_or(defaults::BACKOFF);
    let growing = backoff != BackoffName::Constant && !list;
    let default_jitter = if growing { defaults::JITTER } else { JitterName::None };
    let jitter = args.delays.jitter.unwrap_or(default_jitter);
    contradictions(&args.delays)?;

    let floor = args.delays.min_delay.unwrap_or(defaults::MIN_DELAY.duration());
    // The default of --max-delay does not cut a delay that the user asked for.
    let longest = rest.iter().copied().fold(first.max(floor), Duration::max);
    let cap = args.delays.max_delay.unwrap_or(defaults::MAX_DELAY.duration().max(longest));
    if floor > cap {
        return Err(Error::usage(
            "--min-delay is longer than --max-delay",
            "lower --min-delay, or raise --max-delay",
        ));
    }
    let (splay, deadline) = (
        length(args.delays.splay.as_ref()).unwrap_or(defaults::SPLAY.duration()),
        length(args.attempts.deadline.as_ref()),
    );
    if deadline.is_some_and(|deadline| splay >= deadline) {
        return Err(Error::usage(
            "--splay must be shorter than --deadline",
            "the wait before the first attempt counts towards the deadline",
        ));
    }
    let growth = match backoff {
        _ if list => Growth::List { first, rest },
        BackoffName::Exponential => {
            Growth::Exponential { delay: first, factor: args.delays.factor.unwrap_or(defaults::FACTOR) }
        }
        BackoffName::Linear => Growth::Linear { delay: first },
        BackoffName::Fibonacci => Growth::Fibonacci { delay: first },
        BackoffName::Constant => Growth::Constant { delay: first },
    };
    let max_attempts = match (args.attempts.max, deadline) {
        (Some(MaxAttempts(max)), _) => max,
        (None, Some(_)) => None,
        (None, None) => Some(defaults::MAX_ATTEMPTS),
    };
    Ok(Schedule {
        max_attempts,
        successes: successes(args, max_attempts)?,
        deadline,
        healthy_after: length(args.delays.healthy_after.as_ref()),
        growth,
        jitter: Jitter::from(jitter),
        cap,
        floor,
        splay,
        max_retry_after: length(args.verdict.max_retry_after.as_ref())
            .unwrap_or(defaults::MAX_RETRY_AFTER.duration()),
    })
}

/// # Errors
/// More successes than attempts.
fn successes(args: &Args, max_attempts: Option<NonZeroU32>) -> Result<NonZeroU32, Error> {
    let successes = args.attempts.successes.unwrap_or(defaults::SUCCESSES);
    match max_attempts.filter(|max| *max < successes) {
        None => Ok(successes),
        Some(max) => Err(Error::usage(
            format!("--successes {successes} needs more attempts than --max {max} allows"),
            "raise --max: it counts all attempts",
        )),
    }
}

/// # Errors
/// Two options of which one makes the other useless.
pub(crate) fn contradictions(delays: &DelayArgs) -> Result<(), Error> {
    let list = delays.delay.as_ref().is_some_and(|delay| !delay.rest.is_empty());
    let exponential = !list && delays.backoff.is_none_or(|backoff| backoff == BackoffName::Exponential);
    let error = |cause: &str, hint: &str| Err(Error::usage(cause, hint));
    if list && delays.backoff.is_some() {
        return error(
            "--backoff and a list for --delay contradict each other",
            "a list is the schedule itself: give one delay, or leave --backoff out",
        );
    }
    if delays.factor.is_some() && !exponential {
        return error(
            "--factor is for exponential backoff only",
            "leave --factor out, or use --backoff exponential with one --delay",
        );
    }
    if delays.jitter == Some(JitterName::Decorrelated) {
        if !exponential {
            return error(
                "--jitter decorrelated makes its own schedule",
                "give one --delay and no other --backoff, or use another jitter",
            );
        }
        if delays.factor.is_some() {
            return error(
                "--factor does nothing with --jitter decorrelated",
                "decorrelated grows from the last delay: leave --factor out, or use another jitter",
            );
        }
    }
    Ok(())
}
