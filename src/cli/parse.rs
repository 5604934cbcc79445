//! From the words of the command line to what they ask for.

use std::ffi::OsString;

use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
use clap::{CommandFactory as _, FromArgMatches as _};

use super::args::Args;
use super::docs::help;
use super::hints;
use super::scan::{self, Words};
use super::shared::stands_alone;
use super::wrong;
use crate::error::Error;

/// What the words ask for.
#[derive(Debug)]
pub(crate) enum Parsed {
    Run(Box<Args>),
    /// Help or version.
    Print(String),
}

/// Reads the words behind retry's own name.
///
/// # Errors
/// Where they are wrong: with a cause and a hint.
pub(crate) fn parse(words: &[OsString]) -> Result<Parsed, Error> {
    if let Some(args) = Args::plain(words) {
        return Ok(Parsed::Run(Box::new(args)));
    }
    let mut definition = Args::command();
    let split = match scan::read(&definition, words) {
        Words::Help { all } => return Ok(Parsed::Print(if all { help::all() } else { help::main() })),
        Words::ValueMissing { option, value } => {
            return Err(Error::usage(
                format!("{option} needs a value"),
                format!("write {option} {value}; if the value begins with -, write {option}=VALUE"),
            ));
        }
        Words::Command { at, last } => last.zip(words.get(at)).and_then(|(given, command)| {
            let duration = given.takes.contains("DURATION");
            let number = given.value.to_str().filter(|_| duration)?;
            hints::split_duration(&given.option, number, command)
        }),
        Words::Unknown => None,
    };
    let all = std::iter::once(OsString::from("retry")).chain(words.iter().cloned());
    match definition.try_get_matches_from_mut(all) {
        Ok(mut matches) => {
            stands_alone(&matches)?;
            let args = Args::from_arg_matches_mut(&mut matches);
            let args = args.map_err(|error| wrong::explain(&error, &definition, words))?;
            // To free the definition piece by piece takes a tenth of the time up to here. It is needed no more,
            // and the end of the process frees it at once.
            std::mem::forget(definition);
            Ok(Parsed::Run(Box::new(Args { split_duration: split, ..args })))
        }
        Err(error) if matches!(error.kind(), DisplayHelp) => Ok(Parsed::Print(help::main())),
        Err(error) if matches!(error.kind(), DisplayVersion) => Ok(Parsed::Print(error.render().to_string())),
        Err(error) => Err(wrong::explain(&error, &definition, words)),
    }
}
