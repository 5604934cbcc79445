//! From [`Args`] to a policy and an invocation: defaults, and the rules between options.

mod forms;
mod once;
mod profiles;
mod schedule;
mod sharing;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ffi::{CString, OsStr, OsString};
use std::io::IsTerminal as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use forms::forms;
use once::once;
use profiles::profiles;
use schedule::schedule;
use sharing::{check_needs, sharing};

pub(crate) use schedule::contradictions;
pub(crate) use sharing::Sharing;

use super::args::Args;
use super::defaults;
use super::hints;
use super::label;
use super::values::{HoldName, KeySource, Span, StdinName};
use crate::clock;
use crate::error::Error;
use crate::policy::environment::{IDEMPOTENCY_KEY, value};
use crate::policy::expand::has_key;
use crate::policy::outer::{HandedDown, Outer};
use crate::policy::verdict::classify::Rules;
use crate::policy::verdict::condition::Condition;
use crate::policy::verdict::evidence::Reach;
use crate::policy::verdict::program::{self, look_through};
use crate::policy::verdict::request::{self, Method};
use crate::policy::{Limits, Policy};
use crate::process::child::Command;
use crate::report::Forms;
use crate::report::subject::{PolicySource, Volume, Written};
use crate::streams::plan::Held;
use crate::streams::stdin::Stdin;

/// A run: its policy, its command, and how its attempts get input, output and environment.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) policy: Policy,
    pub(crate) command: Command,
    /// The environment without the variables that every attempt gets anew.
    pub(crate) environment: Vec<CString>,
    pub(crate) seed: Option<u64>,
    /// The streams that the profiles may read.
    pub(crate) reach: Reach,
    /// Runs before every attempt, to tell whether the attempt is needed.
    pub(crate) check: Option<Command>,
    /// Runs before every retry.
    pub(crate) on_retry: Option<Command>,
    /// The input of the attempts.
    pub(crate) stdin: Stdin,
    /// The streams of which only the output of the attempt that succeeds is passed on.
    pub(crate) hold: Option<Held>,
    /// The file that the command writes headers to.
    pub(crate) headers: Option<PathBuf>,
    pub(crate) sharing: Sharing,
    pub(crate) key: KeySource,
    /// The file that keeps the output of the run that succeeds.
    pub(crate) once: Option<PathBuf>,
    /// Whether tokens in the arguments are replaced.
    pub(crate) expand: bool,
    pub(crate) label: String,
    /// The command as the user typed it, if that is safe to print and differs from the label.
    pub(crate) typed: Option<String>,
    pub(crate) written: Written,
    pub(crate) policy_file: Option<PolicySource>,
    pub(crate) volume: Volume,
    /// The forms of the report besides the lines on stderr.
    pub(crate) forms: Forms,
    /// A hint to show if the command is not found.
    pub(crate) not_found_hint: Option<Cow<'static, str>>,
    /// Why `http:` conditions cannot match.
    pub(crate) http_unheard: Option<&'static str>,
    /// A pattern whose comma probably was to begin another condition, and what to write instead.
    pub(crate) two_in_one: Option<String>,
}

/// Turns options into a run.
///
/// # Errors
/// Options that contradict each other, or that lack another one.
pub(crate) fn resolve(mut args: Args, environment: Vec<CString>) -> Result<Invocation, Error> {
    check_needs(&args)?;
    // 0 means no limit, as in timeout(1).
    args.attempts.timeout = args.attempts.timeout.filter(|time| !time.length.is_zero());
    args.attempts.deadline = args.attempts.deadline.filter(|time| !time.length.is_zero());
    let profiles = profiles(&args)?;
    check_key(&args)?;
    let stdin = stdin(&args)?;
    let limits = limits(&args);
    let (admission, sharing) = sharing(&args, &limits, &environment)?;
    let forms = forms(&args, &environment);
    let once = once(&args, &forms, &sharing)?;
    let policy = Policy {
        rules: Rules {
            profiles: profiles.rows,
            relays: profiles.relays,
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
        repeated: repeated(&args, stdin),
        outer: Outer::read(&environment),
        handed_down: HandedDown::read(&environment, || (clock::now(), clock::since_1970())),
    };
    let path = value(&environment, "PATH");
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
        volume: volume(&args),
        forms,
        policy_file: args.policy_file,
        seed: args.delays.seed,
        reach: profiles.reach,
        stdin,
        check: args.repeats.check.map(|check| shell(&check)),
        on_retry: args.repeats.on_retry.map(|hook| shell(&hook)),
        hold: held(args.streams.hold, once.is_some()),
        once,
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

/// The streams that are held. An answer is held too, and stderr is no part of it.
fn held(hold: Option<HoldName>, once: bool) -> Option<Held> {
    match (hold.map(Held::from), once) {
        (Some(Held::Both | Held::Apart), true) => Some(Held::Apart),
        (Some(Held::Stdout) | None, true) => Some(Held::Stdout),
        (hold, false) => hold,
    }
}

/// The shell with a command of the user.
fn shell(command: &OsStr) -> Command {
    Command::new(OsStr::new("/bin/sh"), &[OsStr::new("-c"), OsStr::new("--"), command], None)
}

/// # Errors
/// A key that the command would not get, because its token stays in an argument.
fn check_key(args: &Args) -> Result<(), Error> {
    let key_in_arguments = args.command.iter().skip(1).any(|word| has_key(word.as_bytes()));
    match args.repeats.idempotency_key.is_some() && !args.repeats.expand && key_in_arguments {
        true => Err(Error::usage(
            "--idempotency-key is given, but {key} in an argument is not replaced without --expand",
            "add --expand, so that retry replaces {key}",
        )),
        false => Ok(()),
    }
}

fn volume(args: &Args) -> Volume {
    match (args.output.quiet, args.output.verbose) {
        (0, false) => Volume::Normal,
        (0, true) => Volume::Verbose,
        (1, _) => Volume::Quiet,
        (2.., _) => Volume::Silent,
    }
}

fn not_found_hint(args: &Args) -> Option<Cow<'static, str>> {
    let held = args.streams.hold.is_some();
    let split_hold = || args.command.first().filter(|_| held).and_then(|word| hints::split_hold(word));
    let split = args.split_duration.clone().map(Cow::Owned).or_else(|| split_hold().map(Cow::Borrowed));
    split.or_else(|| hints::not_found(&args.command).map(Cow::Borrowed))
}

/// Why `http:` conditions cannot match. None if there are none, or if the command shows its HTTP
/// status.
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

/// The method of a request whose effect a retry may repeat. None if the options prevent that.
fn repeated(args: &Args, stdin: Stdin) -> Option<Method> {
    let (repeats, command) = (&args.repeats, &args.command);
    // curl may put the variable into a header itself (`--variable %NAME`).
    let has_key = |word: &OsString| {
        let word = word.as_bytes();
        (repeats.expand && has_key(word)) || memchr::memmem::find(word, IDEMPOTENCY_KEY.as_bytes()).is_some()
    };
    if repeats.not_idempotent || repeats.check.is_some() {
        return None;
    }
    let words: Vec<&[u8]> = command.iter().map(|word| word.as_bytes()).collect();
    let has_input = || matches!(stdin, Stdin::Null) || !std::io::stdin().is_terminal();
    // Most commands are none of these programs, so the search for a key comes last.
    request::unkeyed(&words, has_input).filter(|_| !command.iter().any(has_key))
}

/// A message about a pattern with a comma and another condition in it.
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

/// The durations that messages repeat as the user wrote them.
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

/// # Errors
/// `--stdin-limit` without replay.
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
