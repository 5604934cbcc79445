//! From the words of the command line to what they ask for.

use std::ffi::OsString;

use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};

use super::args::{Args, definition, leak};
use super::help;
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
    if let Some((args, scanned)) = Args::brief(words) {
        let split_duration = split_duration(&scanned, words);
        return Ok(Parsed::Run(Box::new(Args { split_duration, ..args })));
    }
    by_whole_definition(words)
}

/// The same for words that are not known to be right.
pub(super) fn by_whole_definition(words: &[OsString]) -> Result<Parsed, Error> {
    let mut definition = definition();
    let scanned = scan::read(&definition, words);
    match &scanned {
        Words::Help { all } => return Ok(Parsed::Print(if *all { help::all() } else { help::main() })),
        Words::ValueMissing { option, value } => {
            return Err(Error::usage(
                format!("{option} needs a value"),
                format!("write {option} {value}; if the value begins with -, write {option}=VALUE"),
            ));
        }
        Words::Command { .. } | Words::Unknown => {}
    }
    let all = std::iter::once(OsString::from("retry")).chain(words.iter().cloned());
    match definition.try_get_matches_from_mut(all) {
        Ok(mut matches) => {
            stands_alone(&matches)?;
            let args =
                Args::whole(&mut matches).map_err(|error| wrong::explain(&error, &definition, words))?;
            leak(definition);
            let split_duration = split_duration(&scanned, words);
            Ok(Parsed::Run(Box::new(Args { split_duration, ..args })))
        }
        Err(error) if matches!(error.kind(), DisplayHelp) => Ok(Parsed::Print(help::main())),
        Err(error) if matches!(error.kind(), DisplayVersion) => Ok(Parsed::Print(error.render().to_string())),
        Err(error) => Err(wrong::explain(&error, &definition, words)),
    }
}

/// A hint for `--timeout 5 minutes`, where the unit is taken for the command.
fn split_duration(scanned: &Words, words: &[OsString]) -> Option<String> {
    let Words::Command { at, last: Some(given) } = scanned else { return None };
    let number = given.value.to_str().filter(|_| given.takes.contains("DURATION"))?;
    hints::split_duration(&given.option, number, words.get(*at)?)
}
