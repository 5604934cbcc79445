//! From the words of the command line to [`Args`], or to a text to print.

use std::ffi::OsString;

use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use super::action::check_alone;
use super::args::{Args, definition, leak};
use super::scan::{self, Scan};
use super::{help, hints, usage_error};
use crate::error::Error;

/// The request of a command line.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// A command to run, or an action on shared state.
    Run(Box<Args>),
    /// Help or version.
    Print(String),
}

/// Reads the words after retry's own name.
///
/// # Errors
/// Words that are not a command line of retry.
#[inline(never)]
pub(crate) fn parse(words: &[OsString]) -> Result<Parsed, Error> {
    if let Some(args) = Args::plain(words) {
        return Ok(Parsed::Run(Box::new(args)));
    }
    if let Some((args, scan)) = Args::brief(words) {
        let split_duration = split_duration(&scan, words);
        return Ok(Parsed::Run(Box::new(Args { split_duration, ..args })));
    }
    by_whole_definition(words)
}

/// Reads any words, with the definition of all options.
#[inline(never)]
pub(super) fn by_whole_definition(words: &[OsString]) -> Result<Parsed, Error> {
    let mut definition = definition();
    let scan = scan::read(&definition, words);
    match &scan {
        Scan::Help { all } => return Ok(Parsed::Print(if *all { help::all() } else { help::main() })),
        Scan::ValueMissing { option, value } => {
            return Err(Error::usage(
                format!("{option} needs a value"),
                format!("write {option} {value}; if the value begins with -, write {option}=VALUE"),
            ));
        }
        Scan::Command { .. } | Scan::Unknown => {}
    }
    let all = std::iter::once(OsString::from("retry")).chain(words.iter().cloned());
    match definition.try_get_matches_from_mut(all) {
        Ok(mut matches) => {
            let mut given = given(&definition, &matches);
            let explain = |error| usage_error::explain(&error, &definition, words);
            let mut args = Args::whole(&mut matches).map_err(explain)?;
            given.extend(args.take_files()?);
            if args.command.is_empty() && !args.has_action() {
                return Err(usage_error::no_command(&definition, words));
            }
            check_alone(&args, &given)?;
            leak(definition);
            let split_duration = split_duration(&scan, words);
            Ok(Parsed::Run(Box::new(Args { split_duration, ..args })))
        }
        Err(error) if matches!(error.kind(), DisplayHelp) => Ok(Parsed::Print(help::main())),
        Err(error) if matches!(error.kind(), DisplayVersion) => Ok(Parsed::Print(error.render().to_string())),
        Err(error) => Err(usage_error::explain(&error, &definition, words)),
    }
}

/// The names of the options that the user gave, with their dashes.
fn given(definition: &Command, matches: &ArgMatches) -> Vec<String> {
    let typed = |id: &&clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
    let option = |id: &clap::Id| definition.get_arguments().find(|arg| arg.get_id() == id)?.get_long();
    matches.ids().filter(typed).filter_map(option).map(|name| format!("--{name}")).collect()
}

/// The hint for `--timeout 5 minutes`, in which the unit is taken for the command.
fn split_duration(scan: &Scan, words: &[OsString]) -> Option<String> {
    let Scan::Command { at, last: Some(last) } = scan else { return None };
    let number = last.value.to_str().filter(|_| last.value_name.contains("DURATION"))?;
    hints::split_duration(&last.option, number, words.get(*at)?)
}
