//! What was typed: the one definition of the command line. Help, man page, completions and the README's
//! table are made from it.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::TypedValueParser as _;
use clap::{Arg, ArgAction, ArgMatches, Args as _, Command, FromArgMatches as _, ValueEnum, ValueHint};

use super::scan::{self, Words};
use super::shared::{Budget, budget, failures, name, some_time, trip};
use super::values::{
    BackoffName, Delays, JitterName, KeySource, MaxAttempts, Span, StdinName, check, condition, delays,
    duration, factor, file, key, label, max_attempts, positive_span, seed, signal, size, span, state,
};
use crate::policy::signal::Signal;
use crate::policy::verdict::condition::Condition;
use crate::policy::verdict::profile::TABLE;

/// Names for `--profile`: the rows of the table, `auto` and `none`.
fn profile_names() -> clap::builder::PossibleValuesParser {
    let rows = TABLE.iter().map(|row| row.name);
    clap::builder::PossibleValuesParser::new(rows.chain(["auto", "none"]))
}

/// A long help that lists the values of an option whose short help has no room for them.
fn with_values<V: ValueEnum>(help: &str) -> String {
    let values: Vec<_> = V::value_variants().iter().filter_map(ValueEnum::to_possible_value).collect();
    let width = values.iter().map(|value| value.get_name().len() + 1).max().unwrap_or(0);
    let mut text = format!("{help}\n\nPossible values:");
    for value in values {
        let meaning = value.get_help().map(ToString::to_string).unwrap_or_default();
        text.push_str(&format!("\n- {:width$} {meaning}", format!("{}:", value.get_name())));
    }
    text
}

/// What was typed: one field for each heading of the help, and the command.
#[derive(Debug, Default)]
pub(crate) struct Args {
    pub(crate) attempts: AttemptArgs,
    pub(crate) delays: DelayArgs,
    pub(crate) verdict: VerdictArgs,
    pub(crate) shared: SharedArgs,
    pub(crate) streams: StreamArgs,
    pub(crate) repeats: RepeatArgs,
    pub(crate) output: OutputArgs,
    pub(crate) command: Vec<OsString>,
    /// A hint for a COMMAND that is the unit of the duration before it.
    pub(crate) split_duration: Option<String>,
}

/// The options below one heading of the help.
struct Group {
    define: fn(Command) -> Command,
    read: fn(&mut Args, &mut ArgMatches) -> Result<(), clap::Error>,
}

macro_rules! group {
    ($field:ident: $type:ty) => {
        Group {
            define: <$type>::augment_args,
            read: |args, matches| {
                args.$field = <$type>::from_arg_matches_mut(matches)?;
                Ok(())
            },
        }
    };
}

/// In the order of the help.
const GROUPS: [Group; 6] = [
    group!(attempts: AttemptArgs),
    group!(delays: DelayArgs),
    group!(verdict: VerdictArgs),
    group!(shared: SharedArgs),
    group!(streams: StreamArgs),
    group!(repeats: RepeatArgs),
];

/// The last heading of the help.
const OUTPUT: Group = group!(output: OutputArgs);

/// The definition of the whole command line.
pub(crate) fn definition() -> Command {
    let command = Arg::new(COMMAND)
        .help("The command and its arguments; options of retry end here")
        .value_name("COMMAND")
        .value_parser(clap::value_parser!(OsString))
        .action(ArgAction::Append)
        .required_unless_present_any(["breaker_status", "breaker_reset", "breaker_trip"])
        .trailing_var_arg(true)
        .num_args(1..)
        .value_hint(ValueHint::CommandWithArguments)
        .hide(true);
    let options = GROUPS.iter().chain([&OUTPUT]).fold(base(), |options, group| (group.define)(options));
    options
        .about("Run a command until it succeeds")
        .long_about(
            "Run a command until it succeeds, with exponential backoff and jitter between attempts. \
             retry does not repeat a failure that another attempt cannot fix. The exit status is the command's own.",
        )
        .override_usage("retry [OPTIONS] [--] COMMAND [ARG]...")
        .next_help_heading(None::<&str>)
        .arg(command)
}

const COMMAND: &str = "command";

fn base() -> Command {
    Command::new("retry")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .disable_version_flag(true)
        // As in curl and the coreutils, an option overrides an earlier one, which an alias may have given.
        .args_override_self(true)
}

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Attempts")]
#[group(skip)]
pub(crate) struct AttemptArgs {
    #[arg(short = 'n', long, help = "Maximum attempts, the first included [default: 5]", long_help = "Maximum attempts, the first included [default: 5; unlimited with --deadline]", value_name = "N|unlimited", value_parser = max_attempts, allow_hyphen_values = true)]
    pub(crate) max: Option<MaxAttempts>,

    /// Time limit for the whole run, including waits
    ///
    /// 0 sets no limit.
    #[arg(long, value_name = "DURATION", value_parser = span, allow_hyphen_values = true)]
    pub(crate) deadline: Option<Span>,

    /// Time limit for each attempt
    ///
    /// 0 sets no limit.
    #[arg(long, value_name = "DURATION", value_parser = span, allow_hyphen_values = true)]
    pub(crate) timeout: Option<Span>,

    /// Signal to send at the timeout or the deadline [default: TERM]
    ///
    /// The command also gets this signal if retry is killed.
    #[arg(long, value_name = "SIGNAL", value_parser = signal, allow_hyphen_values = true, hide_short_help = true)]
    pub(crate) signal: Option<Signal>,

    /// Send KILL this long after --signal; 0 sends KILL immediately [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true, hide_short_help = true)]
    pub(crate) kill_after: Option<Duration>,
}

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Delays")]
#[group(skip)]
pub(crate) struct DelayArgs {
    #[arg(short, long, help = "First delay, or a list of all delays [default: 1s]", long_help = "First delay, or the whole schedule as a list [default: 1s]\n\nThe last entry of a list repeats.", value_name = "DURATION[,DURATION]...", value_parser = delays, allow_hyphen_values = true)]
    pub(crate) delay: Option<Delays>,

    /// How to randomize the delay [default: full]
    #[arg(
        short,
        long,
        value_enum,
        hide_possible_values = true,
        hide_short_help = true,
        long_help = with_values::<JitterName>("How to randomize the delay [default: full; none for constant and for a list]"),
        value_name = "JITTER",
        allow_hyphen_values = true
    )]
    pub(crate) jitter: Option<JitterName>,

    /// How the delay grows [default: exponential]
    #[arg(long, value_enum, value_name = "BACKOFF", allow_hyphen_values = true, hide_short_help = true)]
    pub(crate) backoff: Option<BackoffName>,

    /// Growth per retry, for exponential backoff; at least 1 [default: 2]
    #[arg(long, value_name = "NUMBER", value_parser = factor, allow_hyphen_values = true, hide_short_help = true)]
    pub(crate) factor: Option<f64>,

    /// Upper bound on the delay, jitter included [default: 60s]
    ///
    /// A longer --delay or --min-delay raises the default.
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true, hide_short_help = true)]
    pub(crate) max_delay: Option<Duration>,

    /// Lower bound on every delay [default: 0]
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true, hide_short_help = true)]
    pub(crate) min_delay: Option<Duration>,

    /// Longest random wait before the first attempt [default: 0]
    #[arg(long, value_name = "DURATION", value_parser = span, allow_hyphen_values = true, hide_short_help = true)]
    pub(crate) splay: Option<Span>,

    /// Reset attempts and backoff after an attempt that ran this long [default: never]
    #[arg(long, value_name = "DURATION", value_parser = positive_span, allow_hyphen_values = true, hide_short_help = true)]
    pub(crate) healthy_after: Option<Span>,

    /// Seed of the jitter: the same options and seed give the same delays [default: random]
    #[arg(long, value_name = "N", value_parser = seed, allow_hyphen_values = true, hide_short_help = true)]
    pub(crate) seed: Option<u64>,
}

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Verdict")]
#[group(skip)]
pub(crate) struct VerdictArgs {
    #[arg(short, long, help = "Retry these failures and no others; repeatable", long_help = "Retry these failures and no others; repeatable [default: any failure]", value_name = "CONDITION", value_parser = condition, allow_hyphen_values = true, action = ArgAction::Append)]
    pub(crate) retry_on: Vec<Condition>,

    /// Never retry these failures; repeatable
    #[arg(short = 'x', long, value_name = "CONDITION", value_parser = condition, allow_hyphen_values = true, action = ArgAction::Append)]
    pub(crate) fatal_on: Vec<Condition>,

    #[arg(short, long, help = "Retry until this holds; exit 0 is not enough", long_help = "Retry until this condition holds; exit 0 alone is not success", value_name = "CONDITION", value_parser = condition, allow_hyphen_values = true)]
    pub(crate) until: Option<Condition>,

    /// Count these as success too; repeatable
    #[arg(long, value_name = "CONDITION", value_parser = condition, allow_hyphen_values = true, action = ArgAction::Append, hide_short_help = true)]
    pub(crate) success_on: Vec<Condition>,

    #[arg(short, long, help = "How to interpret the failures [default: auto]", long_help = "How to interpret the command's failures [default: auto]", value_name = "NAME[,NAME]|auto|none", value_parser = profile_names(), value_delimiter = ',', action = ArgAction::Set, num_args = 1, allow_hyphen_values = true)]
    pub(crate) profile: Option<Vec<String>>,

    /// Read HTTP status and headers from FILE, which the command writes
    #[arg(long, value_name = "FILE", value_parser = clap::builder::OsStringValueParser::new().try_map(file), allow_hyphen_values = true, value_hint = ValueHint::FilePath, hide_short_help = true)]
    pub(crate) headers: Option<PathBuf>,

    /// Give up when a server asks for a longer wait [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = span, allow_hyphen_values = true, hide_short_help = true)]
    pub(crate) max_retry_after: Option<Span>,
}

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Shared state")]
#[group(skip)]
pub(crate) struct SharedArgs {
    /// Share a circuit breaker between all runs that give NAME
    ///
    /// While the breaker is open, retry runs nothing and exits with 75.
    #[arg(long, value_name = "NAME", value_parser = name, hide_short_help = true)]
    pub(crate) breaker: Option<String>,

    /// Failures in a row that open the breaker [default: 5]
    #[arg(long, value_name = "N", value_parser = failures, allow_hyphen_values = true, hide_short_help = true)]
    pub(crate) breaker_failures: Option<NonZeroU32>,

    /// How long the breaker stays open before one probe [default: 30s]
    ///
    /// The time doubles with every failed probe, up to 16 times.
    #[arg(long, value_name = "DURATION", value_parser = some_time, allow_hyphen_values = true, hide_short_help = true)]
    pub(crate) breaker_cooldown: Option<Duration>,

    /// Wait for the breaker to close instead of failing fast; needs --deadline
    #[arg(long, hide_short_help = true)]
    pub(crate) breaker_wait: bool,

    /// Limit retries over all runs that share NAME, or the breaker's name
    ///
    /// RATE is `10/s`, `100/m`, or `20%` of first attempts.
    #[arg(long, value_name = "[NAME=]RATE", value_parser = budget, hide_short_help = true)]
    pub(crate) budget: Option<Budget>,

    /// Directory for shared state [default: $XDG_STATE_HOME/retry]
    ///
    /// The environment variable RETRY_STATE sets it too.
    #[arg(long, value_name = "DIR", value_parser = clap::builder::OsStringValueParser::new().try_map(state), value_hint = ValueHint::DirPath, hide_short_help = true)]
    pub(crate) state: Option<PathBuf>,

    /// Instead of a COMMAND: show all breakers and budgets, or one
    #[arg(long, value_name = "NAME", value_parser = name, num_args = 0..=1, require_equals = true, hide_short_help = true)]
    #[expect(clippy::option_option, reason = "not given, given, given with a name: so clap has it")]
    pub(crate) breaker_status: Option<Option<String>>,

    /// Print the output of --breaker-status as JSON
    #[arg(long, hide_short_help = true)]
    pub(crate) json: bool,

    /// Instead of a COMMAND: close a breaker
    #[arg(long, value_name = "NAME", value_parser = name, hide_short_help = true)]
    pub(crate) breaker_reset: Option<String>,

    /// Instead of a COMMAND: hold a breaker open, for 1h or DURATION
    #[arg(long, value_name = "NAME[=DURATION]", value_parser = trip, hide_short_help = true)]
    pub(crate) breaker_trip: Option<(String, Duration)>,
}

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Streams")]
#[group(skip)]
pub(crate) struct StreamArgs {
    /// What every attempt reads from standard input [default: replay]
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        long_help = with_values::<StdinName>("What every attempt reads from standard input [default: replay]"),
        value_name = "STDIN",
        allow_hyphen_values = true,
        hide_short_help = true
    )]
    pub(crate) stdin: Option<StdinName>,

    /// Maximum input kept for replay, in bytes [default: 1GiB]
    ///
    /// A failure after more input than that is not retried.
    #[arg(long, value_name = "SIZE", value_parser = size, allow_hyphen_values = true, hide_short_help = true)]
    pub(crate) stdin_limit: Option<u64>,

    /// Pass on only the stdout of the attempt that succeeds
    ///
    /// For a failed attempt, the last 64 KiB go to stderr.
    #[arg(long, hide_short_help = true)]
    pub(crate) hold: bool,
}

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Safe repeats")]
#[group(skip)]
pub(crate) struct RepeatArgs {
    /// Key that every attempt finds in RETRY_IDEMPOTENCY_KEY [default: a fresh UUID]
    ///
    /// file:PATH keeps the key in a file until a run succeeds.
    #[arg(long, value_name = "KEY|file:PATH", value_parser = clap::builder::OsStringValueParser::new().try_map(key), allow_hyphen_values = true, hide_short_help = true)]
    pub(crate) idempotency_key: Option<KeySource>,

    /// Replace {key}, {attempt} and {max} in ARGs
    #[arg(long, hide_short_help = true)]
    pub(crate) expand: bool,

    /// Shell command to run before each attempt
    ///
    /// 0: already done, stop with success. 1: not done, run it. Anything else counts as a failed attempt.
    #[arg(long, value_name = "SHELL COMMAND", value_parser = clap::builder::OsStringValueParser::new().try_map(check), value_hint = ValueHint::CommandString, hide_short_help = true)]
    pub(crate) check: Option<OsString>,

    /// Retry a failure only if it proves that nothing was sent
    #[arg(long, hide_short_help = true)]
    pub(crate) not_idempotent: bool,
}

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Output")]
#[group(skip)]
pub(crate) struct OutputArgs {
    #[arg(
        short,
        long,
        help = "Print only the final error; -qq prints nothing",
        long_help = "Print only the final error, and warnings about shared state; -qq prints nothing",
        action = ArgAction::Count,
        overrides_with = "verbose"
    )]
    pub(crate) quiet: u8,

    #[arg(
        short,
        long,
        help = "Also print which rule decided",
        long_help = "Also print which rule decided, which signals were sent, and where shared state is kept\n\nThe last of --quiet and --verbose counts.",
        overrides_with = "quiet"
    )]
    pub(crate) verbose: bool,

    /// Name of the command in messages [default: its base name]
    #[arg(
        long,
        value_name = "TEXT",
        value_parser = label,
        allow_hyphen_values = true,
        hide_short_help = true
    )]
    pub(crate) label: Option<String>,

    /// Print these options (-h) or all options (--help)
    #[arg(short, long, action = ArgAction::Help)]
    pub(crate) help: Option<bool>,

    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version, hide_short_help = true)]
    pub(crate) version: Option<bool>,
}

impl Args {
    /// The meaning of words without an option. They need no definition of the options, which takes longer than
    /// all else that is done for a command that succeeds.
    pub(crate) fn plain(words: &[OsString]) -> Option<Self> {
        let command = match words.split_first() {
            Some((first, rest)) if first == "--" => rest,
            Some((first, _)) if !first.is_empty() && !first.as_encoded_bytes().starts_with(b"-") => words,
            Some(_) | None => return None,
        };
        (!command.is_empty()).then(|| Self { command: command.to_vec(), ..Self::default() })
    }

    /// The meaning of words whose options are of a few groups. Only these groups are defined, for the same reason.
    /// None where the whole definition has to decide: an option or a value is wrong, or something is asked for
    /// instead of a command.
    pub(crate) fn brief(words: &[OsString]) -> Option<(Self, Words)> {
        let mut definition = (OUTPUT.define)(base());
        let mut groups = 0;
        while !scan::knows(&definition, words) {
            definition = (GROUPS.get(groups)?.define)(definition);
            groups += 1;
        }
        let scanned = scan::read(&definition, words);
        let Words::Command { at, .. } = scanned else { return None };
        let (options, command) = words.split_at_checked(at).filter(|(_, command)| !command.is_empty())?;
        let program = std::iter::once(OsString::from("retry"));
        let mut matches = definition.try_get_matches_from_mut(program.chain(options.iter().cloned())).ok()?;
        let args = Self { command: command.to_vec(), ..Self::read(&mut matches, groups).ok()? };
        leak(definition);
        (!args.shared.replaces_command()).then_some((args, scanned))
    }

    /// # Errors
    /// None that the definition has not found before.
    pub(crate) fn whole(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        let command = matches.remove_many(COMMAND).map(Iterator::collect).unwrap_or_default();
        Ok(Self { command, ..Self::read(matches, GROUPS.len())? })
    }

    fn read(matches: &mut ArgMatches, groups: usize) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        for group in GROUPS.iter().take(groups).chain([&OUTPUT]) {
            (group.read)(&mut args, matches)?;
        }
        Ok(args)
    }
}

/// To free a definition piece by piece takes a tenth of the time that parsing takes, and the end of the process frees
/// it at once.
pub(crate) fn leak(definition: Command) {
    std::mem::forget(definition);
}

impl SharedArgs {
    /// Whether an option that stands instead of a command is given, or one that belongs to such an option.
    fn replaces_command(&self) -> bool {
        self.breaker_status.is_some()
            || self.breaker_reset.is_some()
            || self.breaker_trip.is_some()
            || self.json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else the property that compares both ways compares nothing.
    #[test]
    fn common_words_need_only_a_part_of_the_definition() {
        for line in
            ["-n 3 curl", "-n 3 -d 1s,5s -j none --timeout 5 -q -- curl -n", "-r 5-9 -p curl --label=-v x"]
        {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert!(Args::brief(&words).is_some(), "{line}");
        }
        for line in ["-n 3", "-n x curl", "--no-such curl", "--breaker-status", "-h", "-V", "--label -r curl"]
        {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert!(Args::brief(&words).is_none(), "{line}");
        }
    }
}
