//! The words of a policy as options, by the definition of the command line.

use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;

use clap::Command;
use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};

use super::Fault;
use super::lines::Word;
use crate::cli::args::{Args, definition, leak};
use crate::cli::hints::SEE;
use crate::cli::scan::{self, First, Scan};
use crate::cli::{echo, usage_error};
use crate::error::Error;

const NO_COMMAND: &str = "a policy has no COMMAND, only options";
const LIST: &str = "retry --help lists the options";

/// One option.
#[derive(Debug)]
pub(super) struct PolicyOption {
    /// The number of its line.
    pub(super) line: usize,
    /// The places of its words.
    pub(super) words: Range<usize>,
    pub(super) args: Args,
}

/// Reads all words.
///
/// # Errors
/// The first line that is not an option of a run.
pub(super) fn read(words: &[Word]) -> Result<Args, Fault> {
    if let Some(args) = briefly(words) {
        return Ok(args);
    }
    each(words)?;
    let mut definition = definition();
    let program = std::iter::once(OsString::from("retry"));
    let all = program.chain(words.iter().map(|word| word.text.clone()));
    let read = definition.try_get_matches_from_mut(all).and_then(|mut matches| Args::whole(&mut matches));
    let args = read.map_err(|error| {
        let line = words.first().map_or(1, |word| word.line);
        Fault { line, error: usage_error::explain(&error, &definition, &texts(words)) }
    });
    leak(definition);
    args
}

/// Reads right words with a part of the definition, as [`Args::brief`] does. None if the whole
/// definition has to decide.
fn briefly(words: &[Word]) -> Option<Args> {
    let mut line = texts(words);
    line.extend(["--", "command"].map(OsString::from));
    let (args, scan) = Args::brief(&line)?;
    let Scan::Command { at, .. } = scan else { return None };
    // `--` of the policy itself would end its options.
    let right = at == words.len() + 1 && args.policy.policy.is_none();
    right.then(|| Args { command: Vec::new(), ..args })
}

/// Reads each option alone, to find the line of an error.
///
/// # Errors
/// The first line that is not an option of a run.
pub(super) fn each(words: &[Word]) -> Result<Vec<PolicyOption>, Fault> {
    let mut definition = definition();
    let all = texts(words);
    let mut options = Vec::new();
    let mut at = 0;
    while let (Some(word), Some(rest)) = (words.get(at), all.get(at..)) {
        let length = length(&definition, rest).map_err(|error| Fault { line: word.line, error })?;
        let range = at..at + length;
        let texts = all.get(range.clone()).unwrap_or_default();
        let args = alone(&mut definition, texts).map_err(|error| Fault { line: word.line, error })?;
        options.push(PolicyOption { line: word.line, words: range, args });
        at += length;
    }
    leak(definition);
    Ok(options)
}

fn texts(words: &[Word]) -> Vec<OsString> {
    words.iter().map(|word| word.text.clone()).collect()
}

/// The number of words that the first option takes.
///
/// # Errors
/// A word that is no option, an option without its value, and an option for the command line only.
fn length(definition: &Command, words: &[OsString]) -> Result<usize, Error> {
    let word = words.first().map_or(OsStr::new(""), OsString::as_os_str);
    if let Some(error) = in_one_line(definition, word) {
        return Err(error);
    }
    if matches!(word.as_bytes(), b"--" | b"-") || !word.as_bytes().starts_with(b"-") {
        return Err(Error::usage(NO_COMMAND, without_dashes(definition, word)));
    }
    match scan::first(definition, words) {
        First::Option { words, .. } => Ok(words),
        First::Help { .. } => Err(not_here("--help")),
        First::ValueMissing { option, value } => {
            Err(Error::usage(format!("{option} needs a value"), format!("write {option}={value}")))
        }
        // clap says what is wrong with it.
        First::Unknown => Ok(1),
    }
}

/// The error for an option and its value on one line, with a blank between them.
fn in_one_line(definition: &Command, word: &OsStr) -> Option<Error> {
    let bytes = word.as_bytes();
    let end = bytes.iter().position(u8::is_ascii_whitespace)?;
    let (option, value) = scan::named(definition, OsStr::from_bytes(&bytes[..end]))?;
    let Some(form) = value else { return Some(Error::usage(format!("{option} takes no value"), LIST)) };
    let value = String::from_utf8_lossy(bytes[end..].trim_ascii()).into_owned();
    // A value with a blank would look as if it had to be in quotes.
    let value = echo::shown(&option, &value).filter(|value| !value.contains(' ')).unwrap_or(form);
    Some(Error::usage(
        format!("{option} and its value are on one line with a blank between them"),
        format!("write {option}={value}"),
    ))
}

/// The hint for a word that is no option. The word may be a secret.
fn without_dashes(definition: &Command, word: &OsStr) -> String {
    let name = word.as_bytes().split(|byte| *byte == b'=' || byte.is_ascii_whitespace()).next();
    let dashed = [&b"--"[..], name.unwrap_or_default()].concat();
    match scan::named(definition, OsStr::from_bytes(&dashed)) {
        Some((option, _)) => format!("an option begins with dashes: {option}"),
        None => {
            "write an option on each line, such as --max=8; the COMMAND stays on the command line".to_owned()
        }
    }
}

/// Reads the words of one option.
fn alone(definition: &mut Command, words: &[OsString]) -> Result<Args, Error> {
    let all = std::iter::once(OsString::from("retry")).chain(words.iter().cloned());
    let read = definition.try_get_matches_from_mut(all).and_then(|mut matches| Args::whole(&mut matches));
    match read {
        Ok(args) if args.serves_action() || args.policy.policy.is_some() => Err(not_here(&typed(words))),
        Ok(args) => Ok(args),
        Err(error) if matches!(error.kind(), DisplayHelp) => Err(not_here("--help")),
        Err(error) if matches!(error.kind(), DisplayVersion) => Err(not_here("--version")),
        Err(error) => match usage_error::explain(&error, definition, words) {
            Error::Usage { cause, quote, .. } if words.iter().any(has_comment) => {
                Err(Error::Usage { cause, hint: "a comment needs a line of its own".to_owned(), quote })
            }
            // The rest of this hint is about the command.
            Error::Usage { cause, hint, quote } if hint == SEE => {
                Err(Error::Usage { cause, hint: LIST.to_owned(), quote })
            }
            error => Err(error),
        },
    }
}

/// Whether a comment may follow the option in this word.
fn has_comment(word: &OsString) -> bool {
    word.as_bytes().windows(2).any(|two| two[0].is_ascii_whitespace() && two[1] == b'#')
}

/// The name of a long option that is known.
fn typed(words: &[OsString]) -> String {
    let word = words.first().map_or("".into(), |word| word.to_string_lossy());
    word.split('=').next().unwrap_or_default().to_owned()
}

fn not_here(option: &str) -> Error {
    Error::usage(
        format!("{option} is for the command line only"),
        "a policy has only options that change how a COMMAND is run",
    )
}
