//! The one definition of the command line, with a file for each heading of the help.
//!
//! Help, man page, completions and the table of options are made from it (see [`super::reference`]).
//! To define all options takes longer than everything else that retry does for a command that
//! succeeds. So [`Args::plain`] reads words without options, and [`Args::brief`] defines only the
//! headings that the given options belong to.

mod attempts;
mod delays;
mod output;
mod plan;
mod policy;
mod repeats;
mod report;
mod shared;
mod streams;
mod verdict;

use std::ffi::OsString;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, Args as _, Command, FromArgMatches as _, ValueHint};

pub(crate) use attempts::AttemptArgs;
pub(crate) use delays::DelayArgs;
pub(crate) use output::OutputArgs;
pub(crate) use plan::PlanArgs;
pub(crate) use policy::PolicyArgs;
pub(crate) use repeats::RepeatArgs;
pub(crate) use report::ReportArgs;
pub(crate) use shared::SharedArgs;
pub(crate) use streams::StreamArgs;
pub(crate) use verdict::VerdictArgs;

use super::scan::{self, Scan};
use super::values::ValueError;
use crate::error::Error;
use crate::report::subject::PolicySource;

/// The options and the command as the user typed them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Args {
    pub(crate) attempts: AttemptArgs,
    pub(crate) delays: DelayArgs,
    pub(crate) verdict: VerdictArgs,
    pub(crate) shared: SharedArgs,
    pub(crate) streams: StreamArgs,
    pub(crate) repeats: RepeatArgs,
    pub(crate) report: ReportArgs,
    pub(crate) policy: PolicyArgs,
    pub(crate) plan: PlanArgs,
    pub(crate) output: OutputArgs,
    pub(crate) command: Vec<OsString>,
    /// A hint for a COMMAND that is the unit of the duration before it.
    pub(crate) split_duration: Option<String>,
    /// The policy file that some of the options come from.
    pub(crate) policy_file: Option<PolicySource>,
}

/// The options under one heading of the help.
struct Heading {
    define: fn(Command) -> Command,
    read: fn(&mut Args, &mut ArgMatches) -> Result<(), clap::Error>,
}

macro_rules! heading {
    ($field:ident: $type:ty) => {
        Heading {
            define: <$type>::augment_args,
            read: |args, matches| {
                args.$field = <$type>::from_arg_matches_mut(matches)?;
                Ok(())
            },
        }
    };
}

/// In the order of the help.
const HEADINGS: [Heading; 9] = [
    heading!(attempts: AttemptArgs),
    heading!(delays: DelayArgs),
    heading!(verdict: VerdictArgs),
    heading!(shared: SharedArgs),
    heading!(streams: StreamArgs),
    heading!(repeats: RepeatArgs),
    heading!(report: ReportArgs),
    heading!(policy: PolicyArgs),
    heading!(plan: PlanArgs),
];

/// The last heading of the help. It is always defined, for `--help`.
const OUTPUT: Heading = heading!(output: OutputArgs);

const COMMAND: &str = "command";

/// The definition of the whole command line.
pub(crate) fn definition() -> Command {
    let command = Arg::new(COMMAND)
        .help("The command and its arguments; options of retry end here")
        .value_name("COMMAND")
        .value_parser(clap::value_parser!(OsString))
        .action(ArgAction::Append)
        .trailing_var_arg(true)
        .num_args(1..)
        .value_hint(ValueHint::CommandWithArguments)
        .hide(true);
    let options = HEADINGS.iter().chain([&OUTPUT]).fold(base(), |options, heading| (heading.define)(options));
    options
        .mut_args(accept_dashes)
        .about("Run a command until it succeeds")
        .long_about(
            "Run a command until it succeeds, with exponential backoff and jitter between attempts. \
             retry does not repeat a failure that another attempt cannot fix. \
             The exit status is the command's own.",
        )
        .override_usage("retry [OPTIONS] [--] COMMAND [ARG]...")
        .next_help_heading(None::<&str>)
        .arg(command)
}

fn base() -> Command {
    Command::new("retry")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .disable_version_flag(true)
        // An option overrides an earlier one, as in curl and the coreutils: an alias may have given
        // the earlier one.
        .args_override_self(true)
}

/// Options for which a next word that begins with a dash is an error, because it is more likely an
/// option than a name, a directory or a shell command.
const NO_DASH: [&str; 15] = [
    "profiles",
    "breaker",
    "budget",
    "state",
    "breaker-status",
    "breaker-reset",
    "breaker-trip",
    "check",
    "hold",
    "report",
    "on-retry",
    "once",
    "summary",
    "policy",
    "plan",
];

/// Lets a value begin with a dash, so that the option's own parser explains `--delay -5`.
fn accept_dashes(arg: Arg) -> Arg {
    let accepts =
        arg.get_action().takes_values() && arg.get_long().is_some_and(|name| !NO_DASH.contains(&name));
    if accepts { arg.allow_hyphen_values(true) } else { arg }
}

/// A parser for values that may be any bytes.
fn os_text<T, F>(read: F) -> impl TypedValueParser<Value = T>
where
    F: Fn(OsString) -> Result<T, ValueError> + Clone + Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
{
    OsStringValueParser::new().try_map(read)
}

impl Args {
    /// Reads words without options. They need no definition. None if there is an option, or no
    /// command.
    pub(crate) fn plain(words: &[OsString]) -> Option<Self> {
        let command = match words.split_first() {
            Some((first, rest)) if first == "--" => rest,
            Some((first, _)) if !first.is_empty() && !first.as_encoded_bytes().starts_with(b"-") => words,
            Some(_) | None => return None,
        };
        (!command.is_empty()).then(|| Self { command: command.to_vec(), ..Self::default() })
    }

    /// Reads words whose options belong to the first headings, and defines only these. None if the
    /// whole definition has to decide: an option or a value is wrong, or an option takes the place
    /// of a command.
    pub(crate) fn brief(words: &[OsString]) -> Option<(Self, Scan)> {
        let mut definition = (OUTPUT.define)(base());
        let mut defined = 0;
        let scanned = loop {
            if let Some(scanned) = scan::read_with_part(&definition, words) {
                break scanned;
            }
            definition = (HEADINGS.get(defined)?.define)(definition);
            defined += 1;
        };
        definition = definition.mut_args(accept_dashes);
        let Scan::Command { at, .. } = scanned else { return None };
        let (options, command) = words.split_at_checked(at).filter(|(_, command)| !command.is_empty())?;
        let program = std::iter::once(OsString::from("retry"));
        let mut matches = definition.try_get_matches_from_mut(program.chain(options.iter().cloned())).ok()?;
        let args = Self { command: command.to_vec(), ..Self::read(&mut matches, defined).ok()? };
        leak(definition);
        (!args.serves_action()).then_some((args, scanned))
    }

    /// Takes the values out of the matches of the whole definition.
    ///
    /// # Errors
    /// None, if the matches come from [`definition`].
    pub(crate) fn whole(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        let command = matches.remove_many(COMMAND).map(Iterator::collect).unwrap_or_default();
        Ok(Self { command, ..Self::read(matches, HEADINGS.len())? })
    }

    /// Whether an option takes the place of a COMMAND.
    pub(crate) fn has_action(&self) -> bool {
        self.shared.breaker_status.is_some()
            || self.shared.breaker_reset.is_some()
            || self.shared.breaker_trip.is_some()
            || self.verdict.profiles.is_some()
            || !self.report.summary.is_empty()
            || self.plan.plan.is_some()
    }

    /// Whether an option takes the place of a COMMAND, or sets the form of its output.
    pub(crate) fn serves_action(&self) -> bool {
        self.has_action() || self.shared.json || self.report.markdown
    }

    /// Takes the words after `--summary FILE` for further files. --json and --markdown may stand
    /// among them. Returns the names of these two if they do.
    ///
    /// # Errors
    /// Another option.
    pub(crate) fn take_files(&mut self) -> Result<Vec<String>, Error> {
        let mut given = Vec::new();
        if self.report.summary.is_empty() {
            return Ok(given);
        }
        for word in std::mem::take(&mut self.command) {
            match word.as_encoded_bytes() {
                b"--json" => self.shared.json = true,
                b"--markdown" => self.report.markdown = true,
                name if name.starts_with(b"-") && name != b"-" => {
                    return Err(Error::usage(
                        "an option stands between the files of --summary",
                        "write options before the files; a file whose name begins with - is ./-NAME",
                    ));
                }
                _ => {
                    self.report.summary.push(word.into());
                    continue;
                }
            }
            given.extend(word.into_string());
        }
        Ok(given)
    }

    fn read(matches: &mut ArgMatches, headings: usize) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        for heading in HEADINGS.iter().take(headings).chain([&OUTPUT]) {
            (heading.read)(&mut args, matches)?;
        }
        Ok(args)
    }
}

/// Leaves a definition to the end of the process. To free its pieces would take a tenth of the time
/// that parsing takes.
pub(crate) fn leak(definition: Command) {
    std::mem::forget(definition);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ensures that common words need only a part of the definition. Otherwise the property that
    /// compares both ways would compare nothing.
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
