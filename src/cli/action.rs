//! Options that take the place of a COMMAND: `--profiles`, `--summary`, `--breaker-status`,
//! `--breaker-reset`, `--breaker-trip`. With `--plan`, there may be a COMMAND, and it is not run.

use std::ffi::CString;
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use super::args::Args;
use super::defaults;
use super::directory::home;
use super::label;
use super::resolve::{Invocation, resolve};
use super::values::{clients, name};
use crate::error::Error;
use crate::policy::verdict::profile::Profile;
use crate::state::file::place::{Home, Place};

/// An action instead of running a command.
#[derive(Debug)]
pub(crate) enum Action {
    /// Shows the breaker and the budget at one place, or all at home.
    Status { place: Option<Place>, home: Home, json: bool },
    /// Closes a breaker.
    Reset(Place),
    /// Holds a breaker open for this long.
    Trip(Place, Duration),
    /// Shows one profile, or the table of all.
    Profiles(Option<&'static Profile>),
    /// Sums reports up.
    Summary { files: Vec<PathBuf>, form: Form },
    /// Shows what the options of a run mean.
    Plan(Box<Planned>),
}

/// A run that is planned and not made.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) run: Invocation,
    /// The number of clients that fail at the same instant.
    pub(crate) clients: NonZeroU32,
    /// Whether the user gave a COMMAND.
    pub(crate) has_command: bool,
    pub(crate) json: bool,
}

/// The form of a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Table,
    Markdown,
    Json,
}

/// The action that the options ask for. None if they ask for a run of a command.
///
/// # Errors
/// A wrong URL in RETRY_STATE. With `--plan`, everything that keeps a run from its beginning.
pub(crate) fn action(args: &Args, environment: &[CString]) -> Result<Option<Action>, Error> {
    if !args.has_action() {
        return Ok(None);
    }
    if let Some(clients) = args.plan.plan {
        let clients = clients.unwrap_or(defaults::CLIENTS);
        let (has_command, json) = (!args.command.is_empty(), args.shared.json);
        let run = resolve(args.clone(), environment.to_vec())?;
        return Ok(Some(Action::Plan(Box::new(Planned { run, clients, has_command, json }))));
    }
    if let Some(name) = &args.verdict.profiles {
        return Ok(Some(Action::Profiles(name.as_deref().and_then(Profile::named))));
    }
    if !args.report.summary.is_empty() {
        let form = match (args.shared.json, args.report.markdown) {
            (true, _) => Form::Json,
            (false, true) => Form::Markdown,
            (false, false) => Form::Table,
        };
        return Ok(Some(Action::Summary { files: args.report.summary.clone(), form }));
    }
    let home = home(args, environment)?;
    let place = |name: &str| Place::new(name, &home);
    if let Some((name, time)) = &args.shared.breaker_trip {
        return Ok(Some(Action::Trip(place(name), *time)));
    }
    if let Some(name) = &args.shared.breaker_reset {
        return Ok(Some(Action::Reset(place(name))));
    }
    let place = args.shared.breaker_status.as_ref().and_then(|name| name.as_deref().map(place));
    Ok(Some(Action::Status { place, home, json: args.shared.json }))
}

/// An option that asks for an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ActionOption {
    Status,
    Reset,
    Trip,
    Profiles,
    Summary,
    Plan,
}

impl ActionOption {
    const ALL: [Self; 6] = [Self::Status, Self::Reset, Self::Trip, Self::Profiles, Self::Summary, Self::Plan];

    fn name(self) -> &'static str {
        match self {
            Self::Status => "--breaker-status",
            Self::Reset => "--breaker-reset",
            Self::Trip => "--breaker-trip",
            Self::Profiles => "--profiles",
            Self::Summary => "--summary",
            Self::Plan => "--plan",
        }
    }

    fn is_given(self, args: &Args) -> bool {
        match self {
            Self::Status => args.shared.breaker_status.is_some(),
            Self::Reset => args.shared.breaker_reset.is_some(),
            Self::Trip => args.shared.breaker_trip.is_some(),
            Self::Profiles => args.verdict.profiles.is_some(),
            Self::Summary => !args.report.summary.is_empty(),
            Self::Plan => args.plan.plan.is_some(),
        }
    }

    /// Whether another option means something beside this one.
    fn goes_with(self, option: &str) -> bool {
        option == self.name()
            || match self {
                Self::Status => matches!(option, "--state" | "--policy" | "--json"),
                Self::Reset | Self::Trip => matches!(option, "--state" | "--policy"),
                Self::Profiles => false,
                Self::Summary => matches!(option, "--json" | "--markdown"),
                // A plan shows what the options of a run mean.
                Self::Plan => option != "--markdown",
            }
    }
}

/// Checks that an option that asks for an action has neither a command nor a useless option beside
/// it. `given` are the names of all options that the user gave.
///
/// # Errors
/// The first contradiction.
pub(crate) fn check_alone(args: &Args, given: &[String]) -> Result<(), Error> {
    let mut actions = ActionOption::ALL.into_iter().filter(|option| option.is_given(args));
    let Some(action) = actions.next() else {
        return match (args.shared.json, args.report.markdown) {
            (true, _) => Err(Error::usage(
                "--json is for --breaker-status, --plan and --summary",
                "write retry --breaker-status --json, retry --plan --json, or retry --summary FILE --json",
            )),
            (false, true) => {
                Err(Error::usage("--markdown is for --summary", "write retry --summary FILE --markdown"))
            }
            (false, false) => Ok(()),
        };
    };
    let option = action.name();
    if let Some(other) = actions.next() {
        return Err(Error::usage(
            format!("{option} and {} contradict each other", other.name()),
            "give only one of them",
        ));
    }
    if action == ActionOption::Plan {
        check_clients(args)?;
    } else if let Some(word) = args.command.first() {
        let hint = match label::typed(word.as_bytes()) {
            Some(word) if action == ActionOption::Status && name(word).is_ok() => {
                format!("to see one breaker, write {option}={word}")
            }
            Some(word) if action == ActionOption::Profiles && Profile::named(word).is_some() => {
                format!("to see a profile, write {option}={word}; to use it, write --profile {word}")
            }
            Some(_) | None => format!("leave the command out: {option} runs nothing"),
        };
        return Err(Error::usage(format!("{option} takes no COMMAND"), hint));
    }
    if args.shared.json && args.report.markdown {
        return Err(Error::usage("--json and --markdown contradict each other", "give only one of them"));
    }
    match given.iter().find(|other| !action.goes_with(other)) {
        Some(other) => Err(Error::usage(
            format!("{other} does nothing with {option}"),
            "leave it out: no command is run",
        )),
        None => Ok(()),
    }
}

/// Checks that no number of clients is taken for the command.
///
/// # Errors
/// `--plan 500`.
fn check_clients(args: &Args) -> Result<(), Error> {
    let word = args.command.first().and_then(|word| word.to_str()).unwrap_or_default();
    match clients(word) {
        Ok(number) => Err(Error::usage(
            "--plan takes its number of clients after an equals sign",
            format!("write --plan={number}"),
        )),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::parse::{Parsed, parse};

    /// The action, or the error, in one line.
    fn read(line: &str) -> String {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let args = match parse(&words) {
            Ok(Parsed::Run(args)) => args,
            Ok(Parsed::Print(text)) => return text,
            Err(error) => return error.to_string(),
        };
        match action(&args, &[]) {
            Ok(Some(Action::Status { place, json, .. })) => {
                format!("status {} {json}", place.map_or("all".to_owned(), |place| place.name))
            }
            Ok(Some(Action::Reset(place))) => format!("reset {}", place.name),
            Ok(Some(Action::Trip(place, time))) => format!("trip {} {}", place.name, time.as_secs()),
            Ok(Some(Action::Profiles(row))) => format!("profiles {}", row.map_or("all", |row| row.name)),
            Ok(Some(Action::Summary { files, form })) => format!("summary {form:?} {files:?}"),
            Ok(Some(Action::Plan(plan))) => {
                let Planned { run, clients, has_command, json } = *plan;
                format!("plan {} {clients} {has_command} {json}", run.label)
            }
            Ok(None) => "run".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_option_asks_for_an_action() {
        for (line, action) in [
            ("--breaker-status", "status all false"),
            ("--json --state /x --breaker-status=a", "status a true"),
            ("--breaker-reset a", "reset a"),
            ("--breaker-trip a=5 --state /x", "trip a 5"),
            ("--policy ci --breaker-reset=a", "reset a"),
            ("--profiles", "profiles all"),
            ("--summary a", "summary Table [\"a\"]"),
            ("--summary a b - --markdown", "summary Markdown [\"a\", \"b\", \"-\"]"),
            ("--json --summary=a --summary b c", "summary Json [\"a\", \"b\", \"c\"]"),
            ("--profiles=curl", "profiles curl"),
            ("--plan", "plan command 300 false false"),
            ("--plan=7 -n 3 -q --check x --state /x --breaker y -- curl --plan", "plan curl 7 true false"),
            ("--json --plan --label x true", "plan x 300 true true"),
            ("--breaker a -- true", "run"),
            ("true --breaker-status", "run"),
        ] {
            assert_eq!(read(line), action, "{line}");
        }
    }

    #[test]
    fn an_action_stands_alone() {
        for (line, error) in [
            ("--json true", "--json is for --breaker-status, --plan and --summary"),
            ("--markdown true", "--markdown is for --summary"),
            ("--summary a --json --markdown", "--json and --markdown contradict each other"),
            ("--summary a b -n 3", "an option stands between the files of --summary"),
            ("-n 3 --summary a", "--max does nothing with --summary"),
            ("--summary a --profiles", "--profiles and --summary contradict each other"),
            ("--breaker-status --markdown", "--markdown does nothing with --breaker-status"),
            ("--json", "no command to run"),
            (
                "--breaker-trip a --breaker-status",
                "--breaker-status and --breaker-trip contradict each other",
            ),
            ("--breaker-reset a true", "--breaker-reset takes no COMMAND"),
            ("--breaker-status a", "--breaker-status takes no COMMAND"),
            ("--breaker-reset a --json", "--json does nothing with --breaker-reset"),
            ("--breaker-trip a -n 3", "--max does nothing with --breaker-trip"),
            ("--profiles curl", "--profiles takes no COMMAND"),
            ("--profiles=curl -- true", "--profiles takes no COMMAND"),
            ("--profiles -p curl", "--profile does nothing with --profiles"),
            ("--profiles --state /x", "--state does nothing with --profiles"),
            ("--profiles --policy x", "--policy does nothing with --profiles"),
            ("--profiles --json", "--json does nothing with --profiles"),
            ("--profiles --breaker-status", "--breaker-status and --profiles contradict each other"),
            ("--plan --profiles", "--profiles and --plan contradict each other"),
            ("--plan --summary a", "--summary and --plan contradict each other"),
            ("--plan --markdown", "--markdown does nothing with --plan"),
            ("--plan 500 curl", "--plan takes its number of clients after an equals sign"),
            ("--plan=0", "--plan 0: not a number of clients"),
            ("--plan --splay 9 --deadline 5", "--splay must be shorter than --deadline"),
            ("--plan --breaker-wait", "--breaker-wait needs --breaker"),
            ("--breaker-status -q", "--quiet does nothing with --breaker-status"),
        ] {
            assert_eq!(read(line), error, "{line}");
        }
    }
}
