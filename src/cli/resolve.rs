//! What the words mean: defaults, and the rules between options.

use std::borrow::Cow;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use super::args::Args;
use super::defaults;
use super::hints;
use super::label;
use super::shared::{Sharing, check_needs, sharing};
use super::values::{BackoffName, Delays, JitterName, KeySource, MaxAttempts, Span, StdinName};
use crate::error::Error;
use crate::policy::delay::backoff::Growth;
use crate::policy::delay::jitter::Jitter;
use crate::policy::delay::schedule::Schedule;
use crate::policy::expand::has_key;
use crate::policy::verdict::classify::Rules;
use crate::policy::verdict::condition::Condition;
use crate::policy::verdict::evidence::Reach;
use crate::policy::verdict::profile::Profile;
use crate::policy::verdict::program::{self, look_through};
use crate::policy::{Limits, Policy};
use crate::process::child::Command;
use crate::report::subject::{Volume, Written};
use crate::streams::stdin::Stdin;

/// All that was asked for, made whole.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) policy: Policy,
    pub(crate) command: Command,
    /// The environment without the variables that every attempt gets anew.
    pub(crate) environment: Vec<CString>,
    pub(crate) seed: Option<u64>,
    /// Where the profile looks.
    pub(crate) reach: Reach,
    /// What asks before every attempt whether it is needed.
    pub(crate) check: Option<Command>,
    /// What attempts read.
    pub(crate) stdin: Stdin,
    /// Only the stdout of the attempt that succeeds is passed on.
    pub(crate) hold: bool,
    /// The file that the command writes headers to.
    pub(crate) headers: Option<PathBuf>,
    /// What it shares with other runs, and where.
    pub(crate) sharing: Sharing,
    pub(crate) key: KeySource,
    /// Tokens in the arguments are replaced.
    pub(crate) expand: bool,
    pub(crate) label: String,
    /// The command as it was typed, if it is fit to print and the label does not tell it.
    pub(crate) typed: Option<String>,
    pub(crate) written: Written,
    pub(crate) volume: Volume,
    /// What to try if the command is not found.
    pub(crate) not_found_hint: Option<Cow<'static, str>>,
    /// Why `http:` conditions cannot match.
    pub(crate) http_unheard: Option<&'static str>,
    /// A pattern whose comma probably was to begin another condition, and what to write instead.
    pub(crate) two_in_one: Option<String>,
}

/// Makes a policy of the words.
///
/// # Errors
/// Where two options contradict each other.
pub(crate) fn resolve(mut args: Args, environment: Vec<CString>) -> Result<Invocation, Error> {
    check_needs(&args)?;
    // 0 is no limit, as in timeout(1).
    args.attempts.timeout = args.attempts.timeout.filter(|time| !time.length.is_zero());
    args.attempts.deadline = args.attempts.deadline.filter(|time| !time.length.is_zero());
    let profiles = profiles(&args)?;
    let key_in_arguments = args.command.iter().skip(1).any(|word| has_key(word.as_bytes()));
    if args.repeats.idempotency_key.is_some() && !args.repeats.expand && key_in_arguments {
        return Err(Error::usage(
            "--idempotency-key is given, but {key} in an argument is not replaced without --expand",
            "add --expand, so that retry replaces {key}",
        ));
    }
    let stdin = stdin(&args)?;
    let limits = limits(&args);
    let (admission, sharing) = sharing(&args, &limits, &environment)?;
    let policy = Policy {
        rules: Rules {
            profiles: profiles.rows,
            named: profiles.named,
            not_idempotent: args.repeats.not_idempotent,
            headers: args.verdict.headers.is_some(),
            fatal_on: args.verdict.fatal_on.clone(),
            success_on: args.verdict.success_on.clone(),
            until: args.verdict.until.clone(),
            retry_on: args.verdict.retry_on.clone(),
        },
        schedule: schedule(&args)?,
        admission,
        limits,
    };
    // The last of a doubled name, as getenv(3) has the first: execvp(3) asks getenv.
    let path = environment.iter().find_map(|entry| entry.as_bytes().strip_prefix(b"PATH="));
    let (program, arguments) = args.command.split_first().map_or((OsStr::new(""), &[][..]), |(p, a)| (p, a));
    let (not_found_hint, http_unheard) = (not_found_hint(&args), http_unheard(&args));
    let two_in_one = two_in_one(&args);
    let written = written(&args);
    let label = args.output.label.clone().unwrap_or_else(|| {
        let words: Vec<&[u8]> = args.command.iter().map(|word| word.as_bytes()).collect();
        label::label(&words).to_owned()
    });
    Ok(Invocation {
        command: Command::new(program, arguments, path),
        typed: label::typed(program.as_bytes()).filter(|typed| *typed != label).map(ToOwned::to_owned),
        written,
        label,
        volume: match (args.output.quiet, args.output.verbose) {
            (0, false) => Volume::Normal,
            (0, true) => Volume::Verbose,
            (1, _) => Volume::Quiet,
            (2.., _) => Volume::Silent,
        },
        seed: args.delays.seed,
        reach: profiles.reach,
        stdin,
        check: args.repeats.check.map(|check| {
            Command::new(OsStr::new("/bin/sh"), &[OsStr::new("-c"), OsStr::new("--"), &check], None)
        }),
        hold: args.streams.hold,
        headers: args.verdict.headers,
        not_found_hint,
        http_unheard,
        two_in_one,
        key: args.repeats.idempotency_key.unwrap_or(KeySource::Fresh),
        expand: args.repeats.expand,
        sharing,
        environment,
        policy,
    })
}

fn not_found_hint(args: &Args) -> Option<Cow<'static, str>> {
    let split = args.split_duration.clone().map(Cow::Owned);
    split.or_else(|| hints::not_found(&args.command).map(Cow::Borrowed))
}

/// Why `http:` conditions cannot match, where there are some and nothing shows them a status.
fn http_unheard(args: &Args) -> Option<&'static str> {
    let mut conditions = args
        .verdict
        .fatal_on
        .iter()
        .chain(&args.verdict.success_on)
        .chain(&args.verdict.until)
        .chain(&args.verdict.retry_on);
    if args.verdict.headers.is_some() || !conditions.any(Condition::asks_http) {
        return None;
    }
    let words: Vec<&[u8]> = args.command.iter().map(|word| word.as_bytes()).collect();
    let at = look_through(&words).program?;
    let program = std::str::from_utf8(program::base_name(words.get(at)?)).ok()?;
    hints::unheard::why(program, words.get(at + 1..).unwrap_or_default())
}

/// What to say of a pattern that has another condition behind a comma.
fn two_in_one(args: &Args) -> Option<String> {
    let verdict = &args.verdict;
    let of = |option: &'static str, conditions: &[Condition]| {
        let patterns = conditions.iter().filter(|condition| condition.text().is_some());
        patterns.map(|condition| (option, condition.to_string())).collect::<Vec<_>>()
    };
    let mut all = of("-r", &verdict.retry_on);
    all.extend(of("-x", &verdict.fatal_on));
    all.extend(of("--success-on", &verdict.success_on));
    all.extend(of("-u", verdict.until.as_slice()));
    all.iter().find_map(|(option, text)| {
        let (pattern, rest) = hints::condition::two_in_one(text)?;
        let instead = match *option {
            "-u" => "-u takes one pattern or one list of other conditions".to_owned(),
            option => format!("for two conditions, write {option} '{pattern}' {option} '{rest}'"),
        };
        Some(format!("{option} '{text}' is one pattern that contains a comma; {instead}"))
    })
}

/// The durations that messages repeat, as they were written.
fn written(args: &Args) -> Written {
    let text = |span: &Option<Span>| span.as_ref().map(|span| span.text.clone());
    Written {
        deadline: text(&args.attempts.deadline),
        timeout: text(&args.attempts.timeout),
        max_retry_after: text(&args.verdict.max_retry_after),
        healthy_after: text(&args.delays.healthy_after),
        splay: text(&args.delays.splay),
    }
}

fn length(span: Option<&Span>) -> Option<Duration> {
    span.map(|span| span.length)
}

/// What `--profile` comes to for this command.
struct Profiles {
    rows: Vec<&'static Profile>,
    /// By name, at least one.
    named: bool,
    reach: Reach,
}

fn profiles(args: &Args) -> Result<Profiles, Error> {
    let names: Vec<&str> = args.verdict.profile.iter().flatten().map(String::as_str).collect();
    if names.len() > 1 && names.contains(&"none") {
        return Err(Error::usage(
            format!("--profile {}: none and another profile contradict each other", names.join(",")),
            "write none alone, or leave none out",
        ));
    }
    let words: Vec<&[u8]> = args.command.iter().map(|word| word.as_bytes()).collect();
    let mut rows: Vec<&'static Profile> = Vec::new();
    for name in if names.is_empty() { &[defaults::PROFILE] } else { names.as_slice() } {
        let found = if *name == "auto" { auto(&words) } else { Profile::named(name).into_iter().collect() };
        for row in found {
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
    }
    let program = look_through(&words).program;
    let arguments = words.get(program.unwrap_or(0) + 1..).unwrap_or_default();
    let named = names.iter().any(|name| !matches!(*name, "auto" | "none"));
    // A wrapper may run anything: its row alone says nothing of what the program does with the terminal.
    let known = program.and_then(|at| row_of(&words, at)).is_some();
    let needs_terminal = !known || rows.iter().any(|row| row.terminal.is_needed(arguments));
    Ok(Profiles {
        reach: Reach {
            stdout: rows.iter().any(|row| row.stdout.is_told_by(arguments)),
            terminal: named || !needs_terminal,
        },
        named,
        rows,
    })
}

/// The rows of the program that the words run, and of the programs around it.
fn auto(words: &[&[u8]]) -> Vec<&'static Profile> {
    let programs = look_through(words);
    programs.program.into_iter().chain(programs.wrappers).filter_map(|at| row_of(words, at)).collect()
}

fn row_of(words: &[&[u8]], at: usize) -> Option<&'static Profile> {
    Profile::for_program(std::str::from_utf8(program::base_name(words.get(at)?)).ok()?)
}

/// # Errors
/// Where a limit is given to what has none.
fn stdin(args: &Args) -> Result<Stdin, Error> {
    let stdin = match args.streams.stdin.unwrap_or(defaults::STDIN) {
        StdinName::Replay => {
            Stdin::Replay { limit: args.streams.stdin_limit.unwrap_or(defaults::STDIN_LIMIT.bytes()) }
        }
        StdinName::Inherit => Stdin::Inherit,
        StdinName::Null => Stdin::Null,
    };
    if args.streams.stdin_limit.is_some() && !matches!(stdin, Stdin::Replay { .. }) {
        return Err(Error::usage(
            "--stdin-limit is for --stdin replay only",
            "leave --stdin-limit out: retry keeps only input that it replays",
        ));
    }
    Ok(stdin)
}

fn limits(args: &Args) -> Limits {
    Limits {
        timeout: length(args.attempts.timeout.as_ref()),
        signal: args.attempts.signal.unwrap_or(defaults::SIGNAL),
        kill_after: args.attempts.kill_after.unwrap_or(defaults::KILL_AFTER.duration()),
    }
}

fn schedule(args: &Args) -> Result<Schedule, Error> {
    let Delays { first, rest } =
        args.delays.delay.clone().unwrap_or(Delays { first: defaults::DELAY.duration(), rest: Vec::new() });
    let list = !rest.is_empty();
    let backoff = args.delays.backoff.unwrap_or(defaults::BACKOFF);
    let growing = backoff != BackoffName::Constant && !list;
    let default_jitter = if growing { defaults::JITTER } else { JitterName::None };
    let jitter = args.delays.jitter.unwrap_or(default_jitter);
    contradictions(args, list, backoff, jitter)?;

    let floor = args.delays.min_delay.unwrap_or(defaults::MIN_DELAY.duration());
    // A delay that was asked for is not cut by a cap that was not.
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
    Ok(Schedule {
        max_attempts: match (args.attempts.max, deadline) {
            (Some(MaxAttempts(max)), _) => max,
            (None, Some(_)) => None,
            (None, None) => Some(defaults::MAX_ATTEMPTS),
        },
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

/// Options of the delay that cannot both be meant.
fn contradictions(args: &Args, list: bool, backoff: BackoffName, jitter: JitterName) -> Result<(), Error> {
    let wrong = |cause: &str, hint: &str| Err(Error::usage(cause, hint));
    if list && args.delays.backoff.is_some() {
        return wrong(
            "--backoff and a list for --delay contradict each other",
            "a list is the schedule itself: give one delay, or leave --backoff out",
        );
    }
    if args.delays.factor.is_some() && (list || backoff != BackoffName::Exponential) {
        return wrong(
            "--factor is for exponential backoff only",
            "leave --factor out, or use --backoff exponential with one --delay",
        );
    }
    if jitter == JitterName::Decorrelated {
        if list || backoff != BackoffName::Exponential {
            return wrong(
                "--jitter decorrelated makes its own schedule",
                "give one --delay and no other --backoff, or use another jitter",
            );
        }
        if args.delays.factor.is_some() {
            return wrong(
                "--factor does nothing with --jitter decorrelated",
                "decorrelated grows from the last delay: leave --factor out, or use another jitter",
            );
        }
    }
    Ok(())
}
