//! What was typed: the one definition of the command line. Help, man page, completions and the README's
//! table are made from it.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::TypedValueParser as _;
use clap::{ArgAction, Parser, ValueHint};

use super::shared::{Budget, budget, failures, name, some_time, trip};
use super::values::{
    BackoffName, Delays, JitterName, KeySource, MaxAttempts, StdinName, check, condition, delays, duration,
    factor, file, key, label, max_attempts, positive_duration, seed, signal, size, state,
};
use crate::policy::verdict::condition::Condition;
use crate::policy::verdict::outcome::Signal;
use crate::policy::verdict::profile::TABLE;

/// Names for `--profile`: the rows of the table, `auto` and `none`.
fn profile_names() -> clap::builder::PossibleValuesParser {
    let rows = TABLE.iter().map(|row| row.name);
    clap::builder::PossibleValuesParser::new(rows.chain(["auto", "none"]))
}

#[derive(Debug, Default, Parser)]
#[command(
    name = "retry",
    version,
    about = "Run a command until it succeeds",
    long_about = "Run a command until it succeeds, with exponential backoff and jitter between attempts. \
                  Failures that cannot succeed later are not retried; the exit status is the command's own.",
    override_usage = "retry [OPTIONS] [--] COMMAND [ARG]...",
    help_template = "{about-with-newline}{usage-heading} {usage}\n\n{all-args}{after-help}",
    after_help = "Example: retry --max 3 -- curl -fsS http://127.0.0.1:8080/data    All options: --help, retry(1)",
    after_long_help = super::docs::after_long_help(),
    disable_help_flag = true,
    disable_version_flag = true,
    term_width = 100
)]
#[group(skip)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Args {
    /// Attempts, the first included [default: 5; unlimited with --deadline]
    #[arg(short = 'n', long, value_name = "N|unlimited", value_parser = max_attempts, allow_hyphen_values = true, help_heading = "Attempts")]
    pub(crate) max: Option<MaxAttempts>,

    /// Limit for everything, waits included
    #[arg(long, value_name = "DURATION", value_parser = positive_duration, allow_hyphen_values = true, help_heading = "Attempts")]
    pub(crate) deadline: Option<Duration>,

    /// Limit for one attempt
    #[arg(long, value_name = "DURATION", value_parser = positive_duration, allow_hyphen_values = true, help_heading = "Attempts")]
    pub(crate) timeout: Option<Duration>,

    /// What ends an attempt at its limit, and the command when retry is killed [default: TERM]
    #[arg(long, value_name = "SIGNAL", value_parser = signal, allow_hyphen_values = true, help_heading = "Attempts", hide_short_help = true)]
    pub(crate) signal: Option<Signal>,

    /// From that signal to KILL; 0 kills at once [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true, help_heading = "Attempts", hide_short_help = true)]
    pub(crate) kill_after: Option<Duration>,

    /// First delay, or the whole schedule as a list [default: 1s]
    ///
    /// The last entry of a list repeats.
    #[arg(short, long, value_name = "DURATION[,DURATION]...", value_parser = delays, allow_hyphen_values = true, help_heading = "Delays")]
    pub(crate) delay: Option<Delays>,

    /// How the delay is spread [default: full]
    #[arg(
        short,
        long,
        value_enum,
        hide_possible_values = true,
        long_help = super::docs::with_values::<JitterName>("How the delay is spread [default: full; none for constant and for a list]"),
        value_name = "JITTER",
        allow_hyphen_values = true,
        help_heading = "Delays"
    )]
    pub(crate) jitter: Option<JitterName>,

    /// How the delay grows [default: exponential]
    #[arg(
        long,
        value_enum,
        value_name = "BACKOFF",
        allow_hyphen_values = true,
        help_heading = "Delays",
        hide_short_help = true
    )]
    pub(crate) backoff: Option<BackoffName>,

    /// Growth per retry, exponential only; at least 1 [default: 2]
    #[arg(long, value_name = "NUMBER", value_parser = factor, allow_hyphen_values = true, help_heading = "Delays", hide_short_help = true)]
    pub(crate) factor: Option<f64>,

    /// Cap; jitter stays under it [default: 60s]
    ///
    /// A longer --delay or --min-delay raises the default.
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true, help_heading = "Delays")]
    pub(crate) max_delay: Option<Duration>,

    /// No delay is shorter, whatever the jitter draws [default: 0]
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true, help_heading = "Delays", hide_short_help = true)]
    pub(crate) min_delay: Option<Duration>,

    /// Random wait before the first attempt, 0 to this [default: 0]
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true, help_heading = "Delays", hide_short_help = true)]
    pub(crate) splay: Option<Duration>,

    /// An attempt that ran this long starts attempts and backoff anew [default: never]
    #[arg(long, value_name = "DURATION", value_parser = positive_duration, allow_hyphen_values = true, help_heading = "Delays", hide_short_help = true)]
    pub(crate) healthy_after: Option<Duration>,

    /// Fixes the jitter: same options and seed, same delays [default: random]
    #[arg(long, value_name = "N", value_parser = seed, allow_hyphen_values = true, help_heading = "Delays", hide_short_help = true)]
    pub(crate) seed: Option<u64>,

    /// Retry these, and no other failures; repeatable [default: any failure]
    #[arg(short, long, value_name = "CONDITION", value_parser = condition, allow_hyphen_values = true, action = ArgAction::Append, help_heading = "Verdict")]
    pub(crate) retry_on: Vec<Condition>,

    /// Never retry these; repeatable
    #[arg(short = 'x', long, value_name = "CONDITION", value_parser = condition, allow_hyphen_values = true, action = ArgAction::Append, help_heading = "Verdict")]
    pub(crate) fatal_on: Vec<Condition>,

    /// Only this is success; what else would be success is retried
    #[arg(short, long, value_name = "CONDITION", value_parser = condition, allow_hyphen_values = true, help_heading = "Verdict")]
    pub(crate) until: Option<Condition>,

    /// These count as success too; repeatable
    #[arg(long, value_name = "CONDITION", value_parser = condition, allow_hyphen_values = true, action = ArgAction::Append, help_heading = "Verdict", hide_short_help = true)]
    pub(crate) success_on: Vec<Condition>,

    /// What is known of the command's failures [default: auto]
    #[arg(short, long, value_name = "NAME[,NAME]|auto|none", value_parser = profile_names(), value_delimiter = ',', action = ArgAction::Set, num_args = 1, allow_hyphen_values = true, help_heading = "Verdict", hide_short_help = true)]
    pub(crate) profile: Option<Vec<String>>,

    /// Read HTTP status and headers from FILE, which the command writes
    #[arg(long, value_name = "FILE", value_parser = clap::builder::OsStringValueParser::new().try_map(file), allow_hyphen_values = true, value_hint = ValueHint::FilePath, help_heading = "Verdict", hide_short_help = true)]
    pub(crate) headers: Option<PathBuf>,

    /// Give up when a server asks for more than this [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true, help_heading = "Verdict", hide_short_help = true)]
    pub(crate) max_retry_after: Option<Duration>,

    /// Keep a circuit breaker under NAME between runs
    ///
    /// While it is open nothing is run, and the exit status is 75.
    #[arg(long, value_name = "NAME", value_parser = name, help_heading = "Shared state", hide_short_help = true)]
    pub(crate) breaker: Option<String>,

    /// Failures in a row that open it [default: 5]
    #[arg(long, value_name = "N", value_parser = failures, allow_hyphen_values = true, help_heading = "Shared state", hide_short_help = true)]
    pub(crate) breaker_failures: Option<NonZeroU32>,

    /// How long it stays open before one probe [default: 30s]
    ///
    /// It doubles with every failed probe, up to 16 times.
    #[arg(long, value_name = "DURATION", value_parser = some_time, allow_hyphen_values = true, help_heading = "Shared state", hide_short_help = true)]
    pub(crate) breaker_cooldown: Option<Duration>,

    /// Wait for the probe instead of failing fast; needs --deadline
    #[arg(long, help_heading = "Shared state", hide_short_help = true)]
    pub(crate) breaker_wait: bool,

    /// Limit retries over all runs that share NAME, else the breaker's name
    ///
    /// `10/s`, `100/m`, or `20%` of first attempts.
    #[arg(long, value_name = "[NAME=]RATE", value_parser = budget, help_heading = "Shared state", hide_short_help = true)]
    pub(crate) budget: Option<Budget>,

    /// Where shared state is kept [default: $XDG_STATE_HOME/retry]
    ///
    /// Also by the variable RETRY_STATE.
    #[arg(long, value_name = "DIR", value_parser = clap::builder::OsStringValueParser::new().try_map(state), value_hint = ValueHint::DirPath, help_heading = "Shared state", hide_short_help = true)]
    pub(crate) state: Option<PathBuf>,

    /// Instead of a COMMAND: show all breakers and budgets, or one
    #[arg(long, value_name = "NAME", value_parser = name, num_args = 0..=1, require_equals = true, help_heading = "Shared state", hide_short_help = true)]
    #[expect(clippy::option_option, reason = "not given, given, given with a name: so clap has it")]
    pub(crate) breaker_status: Option<Option<String>>,

    /// Show them as JSON
    #[arg(long, help_heading = "Shared state", hide_short_help = true)]
    pub(crate) json: bool,

    /// Instead of a COMMAND: close a breaker
    #[arg(long, value_name = "NAME", value_parser = name, help_heading = "Shared state", hide_short_help = true)]
    pub(crate) breaker_reset: Option<String>,

    /// Instead of a COMMAND: hold a breaker open, for 1h or DURATION
    #[arg(long, value_name = "NAME[=DURATION]", value_parser = trip, help_heading = "Shared state", hide_short_help = true)]
    pub(crate) breaker_trip: Option<(String, Duration)>,

    /// What every attempt reads [default: replay]
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        long_help = super::docs::with_values::<StdinName>("What every attempt reads [default: replay]"),
        value_name = "STDIN",
        allow_hyphen_values = true,
        help_heading = "Streams",
        hide_short_help = true
    )]
    pub(crate) stdin: Option<StdinName>,

    /// Most that replay keeps, in bytes [default: 1GiB]
    ///
    /// A failure after more than that is not retried.
    #[arg(long, value_name = "SIZE", value_parser = size, allow_hyphen_values = true, help_heading = "Streams", hide_short_help = true)]
    pub(crate) stdin_limit: Option<u64>,

    /// Pass on only the stdout of the attempt that succeeds
    ///
    /// Of a failed one the last 64 KiB go to stderr.
    #[arg(long, help_heading = "Streams", hide_short_help = true)]
    pub(crate) hold: bool,

    /// The key exported to every attempt, or the file that keeps it until a run succeeds [default: a fresh UUID]
    #[arg(long, value_name = "KEY|file:PATH", value_parser = clap::builder::OsStringValueParser::new().try_map(key), allow_hyphen_values = true, help_heading = "Safe repeats", hide_short_help = true)]
    pub(crate) idempotency_key: Option<KeySource>,

    /// Replace {key}, {attempt}, {max} in ARGs
    #[arg(long, help_heading = "Safe repeats", hide_short_help = true)]
    pub(crate) expand: bool,

    /// Ask before every attempt whether it is done already
    ///
    /// Exit status 0: it is, and retry succeeds; 1: it is not; any other: cannot tell, which counts as a failed
    /// attempt.
    #[arg(long, value_name = "SHELL COMMAND", value_parser = clap::builder::OsStringValueParser::new().try_map(check), value_hint = ValueHint::CommandString, help_heading = "Safe repeats", hide_short_help = true)]
    pub(crate) check: Option<OsString>,

    /// Retry only failures that prove that nothing was sent
    #[arg(long, help_heading = "Safe repeats", hide_short_help = true)]
    pub(crate) not_idempotent: bool,

    /// Only the last line, why it failed; twice: nothing
    #[arg(short, long, action = ArgAction::Count, help_heading = "Output", hide_short_help = true)]
    pub(crate) quiet: u8,

    /// Which rule decided, what was signalled, where state is
    #[arg(short, long, conflicts_with = "quiet", help_heading = "Output")]
    pub(crate) verbose: bool,

    /// The command's name in messages [default: its base name]
    #[arg(
        long,
        value_name = "TEXT",
        value_parser = label,
        allow_hyphen_values = true,
        help_heading = "Output",
        hide_short_help = true
    )]
    pub(crate) label: Option<String>,

    /// The ten options that matter (-h), or all (--help)
    #[arg(short, long, action = ArgAction::Help, help_heading = "Output")]
    pub(crate) help: Option<bool>,

    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = "Output", hide_short_help = true)]
    pub(crate) version: Option<bool>,

    /// The command and its arguments; options of retry end here
    #[arg(value_name = "COMMAND", required_unless_present_any = ["breaker_status", "breaker_reset", "breaker_trip"], trailing_var_arg = true, num_args = 1.., value_hint = ValueHint::CommandWithArguments, hide = true)]
    pub(crate) command: Vec<OsString>,
}

impl Args {
    /// The meaning of words without an option. Then there is nothing to parse, and the definition of all
    /// options, which takes longer than all else that is done for a command that succeeds, is not built.
    pub(crate) fn plain(words: &[OsString]) -> Option<Self> {
        let command = match words.split_first() {
            Some((first, rest)) if first == "--" => rest,
            Some((first, _)) if !first.is_empty() && !first.as_encoded_bytes().starts_with(b"-") => words,
            Some(_) | None => return None,
        };
        (!command.is_empty()).then(|| Self { command: command.to_vec(), ..Self::default() })
    }
}
