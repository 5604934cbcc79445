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
    BackoffName, Delays, JitterName, KeySource, MaxAttempts, Span, StdinName, check, condition, delays,
    duration, factor, file, key, label, max_attempts, positive_span, seed, signal, size, span, state,
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
                  retry does not repeat a failure that another attempt cannot fix. The exit status is the command's own.",
    override_usage = "retry [OPTIONS] [--] COMMAND [ARG]...",
    disable_help_flag = true,
    disable_version_flag = true,
    // As in curl and the coreutils: who has an alias can override what it gives.
    args_override_self = true
)]
#[group(skip)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Args {
    #[arg(short = 'n', long, help = "Maximum attempts, the first included [default: 5]", long_help = "Maximum attempts, the first included [default: 5; unlimited with --deadline]", value_name = "N|unlimited", value_parser = max_attempts, allow_hyphen_values = true, help_heading = "Attempts")]
    pub(crate) max: Option<MaxAttempts>,

    /// Time limit for the whole run, including waits
    ///
    /// 0 sets no limit.
    #[arg(long, value_name = "DURATION", value_parser = span, allow_hyphen_values = true, help_heading = "Attempts")]
    pub(crate) deadline: Option<Span>,

    /// Time limit for each attempt
    ///
    /// 0 sets no limit.
    #[arg(long, value_name = "DURATION", value_parser = span, allow_hyphen_values = true, help_heading = "Attempts")]
    pub(crate) timeout: Option<Span>,

    /// Signal to send at the timeout or the deadline [default: TERM]
    ///
    /// The command also gets this signal if retry is killed.
    #[arg(long, value_name = "SIGNAL", value_parser = signal, allow_hyphen_values = true, help_heading = "Attempts", hide_short_help = true)]
    pub(crate) signal: Option<Signal>,

    /// Send KILL this long after --signal; 0 sends KILL immediately [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true, help_heading = "Attempts", hide_short_help = true)]
    pub(crate) kill_after: Option<Duration>,

    #[arg(short, long, help = "First delay, or a list of all delays [default: 1s]", long_help = "First delay, or the whole schedule as a list [default: 1s]\n\nThe last entry of a list repeats.", value_name = "DURATION[,DURATION]...", value_parser = delays, allow_hyphen_values = true, help_heading = "Delays")]
    pub(crate) delay: Option<Delays>,

    /// How to randomize the delay [default: full]
    #[arg(
        short,
        long,
        value_enum,
        hide_possible_values = true,
        hide_short_help = true,
        long_help = super::docs::with_values::<JitterName>("How to randomize the delay [default: full; none for constant and for a list]"),
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

    /// Growth per retry, for exponential backoff; at least 1 [default: 2]
    #[arg(long, value_name = "NUMBER", value_parser = factor, allow_hyphen_values = true, help_heading = "Delays", hide_short_help = true)]
    pub(crate) factor: Option<f64>,

    /// Upper bound on the delay, jitter included [default: 60s]
    ///
    /// A longer --delay or --min-delay raises the default.
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true, help_heading = "Delays", hide_short_help = true)]
    pub(crate) max_delay: Option<Duration>,

    /// Lower bound on every delay [default: 0]
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true, help_heading = "Delays", hide_short_help = true)]
    pub(crate) min_delay: Option<Duration>,

    /// Longest random wait before the first attempt [default: 0]
    #[arg(long, value_name = "DURATION", value_parser = span, allow_hyphen_values = true, help_heading = "Delays", hide_short_help = true)]
    pub(crate) splay: Option<Span>,

    /// Reset attempts and backoff after an attempt that ran this long [default: never]
    #[arg(long, value_name = "DURATION", value_parser = positive_span, allow_hyphen_values = true, help_heading = "Delays", hide_short_help = true)]
    pub(crate) healthy_after: Option<Span>,

    /// Seed of the jitter: the same options and seed give the same delays [default: random]
    #[arg(long, value_name = "N", value_parser = seed, allow_hyphen_values = true, help_heading = "Delays", hide_short_help = true)]
    pub(crate) seed: Option<u64>,

    #[arg(short, long, help = "Retry these failures and no others; repeatable", long_help = "Retry these failures and no others; repeatable [default: any failure]", value_name = "CONDITION", value_parser = condition, allow_hyphen_values = true, action = ArgAction::Append, help_heading = "Verdict")]
    pub(crate) retry_on: Vec<Condition>,

    /// Never retry these failures; repeatable
    #[arg(short = 'x', long, value_name = "CONDITION", value_parser = condition, allow_hyphen_values = true, action = ArgAction::Append, help_heading = "Verdict")]
    pub(crate) fatal_on: Vec<Condition>,

    #[arg(short, long, help = "Retry until this holds; exit 0 is not enough", long_help = "Retry until this condition holds; exit 0 alone is not success", value_name = "CONDITION", value_parser = condition, allow_hyphen_values = true, help_heading = "Verdict")]
    pub(crate) until: Option<Condition>,

    /// Count these as success too; repeatable
    #[arg(long, value_name = "CONDITION", value_parser = condition, allow_hyphen_values = true, action = ArgAction::Append, help_heading = "Verdict", hide_short_help = true)]
    pub(crate) success_on: Vec<Condition>,

    #[arg(short, long, help = "How to interpret the failures [default: auto]", long_help = "How to interpret the command's failures [default: auto]", value_name = "NAME[,NAME]|auto|none", value_parser = profile_names(), value_delimiter = ',', action = ArgAction::Set, num_args = 1, allow_hyphen_values = true, help_heading = "Verdict")]
    pub(crate) profile: Option<Vec<String>>,

    /// Read HTTP status and headers from FILE, which the command writes
    #[arg(long, value_name = "FILE", value_parser = clap::builder::OsStringValueParser::new().try_map(file), allow_hyphen_values = true, value_hint = ValueHint::FilePath, help_heading = "Verdict", hide_short_help = true)]
    pub(crate) headers: Option<PathBuf>,

    /// Give up when a server asks for a longer wait [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = span, allow_hyphen_values = true, help_heading = "Verdict", hide_short_help = true)]
    pub(crate) max_retry_after: Option<Span>,

    /// Share a circuit breaker between all runs that give NAME
    ///
    /// While the breaker is open, retry runs nothing and exits with 75.
    #[arg(long, value_name = "NAME", value_parser = name, help_heading = "Shared state", hide_short_help = true)]
    pub(crate) breaker: Option<String>,

    /// Failures in a row that open the breaker [default: 5]
    #[arg(long, value_name = "N", value_parser = failures, allow_hyphen_values = true, help_heading = "Shared state", hide_short_help = true)]
    pub(crate) breaker_failures: Option<NonZeroU32>,

    /// How long the breaker stays open before one probe [default: 30s]
    ///
    /// The time doubles with every failed probe, up to 16 times.
    #[arg(long, value_name = "DURATION", value_parser = some_time, allow_hyphen_values = true, help_heading = "Shared state", hide_short_help = true)]
    pub(crate) breaker_cooldown: Option<Duration>,

    /// Wait for the breaker to close instead of failing fast; needs --deadline
    #[arg(long, help_heading = "Shared state", hide_short_help = true)]
    pub(crate) breaker_wait: bool,

    /// Limit retries over all runs that share NAME, or the breaker's name
    ///
    /// RATE is `10/s`, `100/m`, or `20%` of first attempts.
    #[arg(long, value_name = "[NAME=]RATE", value_parser = budget, help_heading = "Shared state", hide_short_help = true)]
    pub(crate) budget: Option<Budget>,

    /// Directory for shared state [default: $XDG_STATE_HOME/retry]
    ///
    /// The environment variable RETRY_STATE sets it too.
    #[arg(long, value_name = "DIR", value_parser = clap::builder::OsStringValueParser::new().try_map(state), value_hint = ValueHint::DirPath, help_heading = "Shared state", hide_short_help = true)]
    pub(crate) state: Option<PathBuf>,

    /// Instead of a COMMAND: show all breakers and budgets, or one
    #[arg(long, value_name = "NAME", value_parser = name, num_args = 0..=1, require_equals = true, help_heading = "Shared state", hide_short_help = true)]
    #[expect(clippy::option_option, reason = "not given, given, given with a name: so clap has it")]
    pub(crate) breaker_status: Option<Option<String>>,

    /// Print the output of --breaker-status as JSON
    #[arg(long, help_heading = "Shared state", hide_short_help = true)]
    pub(crate) json: bool,

    /// Instead of a COMMAND: close a breaker
    #[arg(long, value_name = "NAME", value_parser = name, help_heading = "Shared state", hide_short_help = true)]
    pub(crate) breaker_reset: Option<String>,

    /// Instead of a COMMAND: hold a breaker open, for 1h or DURATION
    #[arg(long, value_name = "NAME[=DURATION]", value_parser = trip, help_heading = "Shared state", hide_short_help = true)]
    pub(crate) breaker_trip: Option<(String, Duration)>,

    /// What every attempt reads from standard input [default: replay]
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        long_help = super::docs::with_values::<StdinName>("What every attempt reads from standard input [default: replay]"),
        value_name = "STDIN",
        allow_hyphen_values = true,
        help_heading = "Streams",
        hide_short_help = true
    )]
    pub(crate) stdin: Option<StdinName>,

    /// Maximum input kept for replay, in bytes [default: 1GiB]
    ///
    /// A failure after more input than that is not retried.
    #[arg(long, value_name = "SIZE", value_parser = size, allow_hyphen_values = true, help_heading = "Streams", hide_short_help = true)]
    pub(crate) stdin_limit: Option<u64>,

    /// Pass on only the stdout of the attempt that succeeds
    ///
    /// For a failed attempt, the last 64 KiB go to stderr.
    #[arg(long, help_heading = "Streams", hide_short_help = true)]
    pub(crate) hold: bool,

    /// Key that every attempt finds in RETRY_IDEMPOTENCY_KEY [default: a fresh UUID]
    ///
    /// file:PATH keeps the key in a file until a run succeeds.
    #[arg(long, value_name = "KEY|file:PATH", value_parser = clap::builder::OsStringValueParser::new().try_map(key), allow_hyphen_values = true, help_heading = "Safe repeats", hide_short_help = true)]
    pub(crate) idempotency_key: Option<KeySource>,

    /// Replace {key}, {attempt} and {max} in ARGs
    #[arg(long, help_heading = "Safe repeats", hide_short_help = true)]
    pub(crate) expand: bool,

    /// Shell command to run before each attempt
    ///
    /// 0: already done, stop with success. 1: not done, run it. Anything else counts as a failed attempt.
    #[arg(long, value_name = "SHELL COMMAND", value_parser = clap::builder::OsStringValueParser::new().try_map(check), value_hint = ValueHint::CommandString, help_heading = "Safe repeats", hide_short_help = true)]
    pub(crate) check: Option<OsString>,

    /// Retry a failure only if it proves that nothing was sent
    #[arg(long, help_heading = "Safe repeats", hide_short_help = true)]
    pub(crate) not_idempotent: bool,

    #[arg(
        short,
        long,
        help = "Print only the final error; -qq prints nothing",
        long_help = "Print only the final error, and warnings about shared state; -qq prints nothing",
        action = ArgAction::Count,
        help_heading = "Output"
    )]
    pub(crate) quiet: u8,

    #[arg(
        short,
        long,
        help = "Also print which rule decided",
        long_help = "Also print which rule decided, which signals were sent, and where shared state is kept",
        conflicts_with = "quiet",
        help_heading = "Output"
    )]
    pub(crate) verbose: bool,

    /// Name of the command in messages [default: its base name]
    #[arg(
        long,
        value_name = "TEXT",
        value_parser = label,
        allow_hyphen_values = true,
        help_heading = "Output",
        hide_short_help = true
    )]
    pub(crate) label: Option<String>,

    /// Print these options (-h) or all options (--help)
    #[arg(short, long, action = ArgAction::Help, help_heading = "Output")]
    pub(crate) help: Option<bool>,

    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = "Output", hide_short_help = true)]
    pub(crate) version: Option<bool>,

    /// The command and its arguments; options of retry end here
    #[arg(value_name = "COMMAND", required_unless_present_any = ["breaker_status", "breaker_reset", "breaker_trip"], trailing_var_arg = true, num_args = 1.., value_hint = ValueHint::CommandWithArguments, hide = true)]
    pub(crate) command: Vec<OsString>,

    /// A hint for a COMMAND that is the unit of the duration before it.
    #[arg(skip)]
    pub(crate) split_duration: Option<String>,
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
