//! Scans the words of the command line as getopt(3) reads them, before clap parses them.
//!
//! clap takes any word after an option for its value. The scan finds values that were left out
//! (`--delay -- curl`), and the word at which the command begins.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use clap::{Arg, ArgAction, Command};

/// The result for the words before the command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Scan {
    /// The user asks for help: with all options, or with the main ones.
    Help { all: bool },
    /// The next word is an option instead of a value.
    ValueMissing { option: String, value: String },
    /// The command begins at this word. `last` is the option right before it, if it has a value.
    Command { at: usize, last: Option<OptionValue> },
    /// An unknown option, or no command. clap finds the error.
    Unknown,
}

/// An option and its value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OptionValue {
    /// The option as the user typed it: `--timeout`, `-d`.
    pub(crate) option: String,
    /// The name of the value in the help.
    pub(crate) value_name: String,
    pub(crate) value: OsString,
}

/// The result for the first of some words, which begins with a dash.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// An option, or a bundle of short ones, in this many words. The last one may have a value.
    Option { words: usize, value: Option<OptionValue> },
    /// See [`Scan`].
    Help { all: bool },
    /// See [`Scan`].
    ValueMissing { option: String, value: String },
    /// An unknown option, or an option without a next word for its value.
    Unknown,
}

/// Scans the words up to the command.
pub(crate) fn read(definition: &Command, words: &[OsString]) -> Scan {
    let mut last = None;
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let bytes = word.as_bytes();
        if bytes == b"--" {
            return Scan::Command { at: at + 1, last: None };
        }
        if !bytes.starts_with(b"-") || bytes == b"-" {
            return Scan::Command { at, last };
        }
        match first(definition, words.get(at..).unwrap_or_default()) {
            First::Option { words, value } => {
                at += words;
                last = value;
            }
            First::Help { all } => return Scan::Help { all },
            First::ValueMissing { option, value } => return Scan::ValueMissing { option, value },
            First::Unknown => return Scan::Unknown,
        }
    }
    Scan::Unknown
}

/// Scans the first word, and the second if that is the value of an option in the first.
pub(crate) fn first(definition: &Command, words: &[OsString]) -> First {
    let Some((word, rest)) = words.split_first() else { return First::Unknown };
    let Some(option) = option(definition, word) else { return First::Unknown };
    if matches!(option.arg.get_action(), ArgAction::Help)
        && (option.value.is_none() || option.typed.len() == 2)
    {
        return First::Help { all: word.as_bytes().starts_with(b"--") };
    }
    match (takes_value(option.arg), option.value.clone()) {
        (false, _) => First::Option { words: 1, value: None },
        (true, Some(value)) => First::Option { words: 1, value: Some(option.given(value)) },
        (true, None) => match rest.first() {
            None => First::Unknown,
            Some(value) if is_option(definition, value) => {
                let long = option.arg.get_long().map(|name| format!("--{name}"));
                First::ValueMissing { option: long.unwrap_or(option.typed), value: value_name(option.arg) }
            }
            Some(value) => First::Option { words: 2, value: Some(option.given(value.clone())) },
        },
    }
}

/// The option that a word names, without its value: the long name with its dashes, the name of its
/// value if it can have one.
pub(crate) fn named(definition: &Command, word: &OsStr) -> Option<(String, Option<String>)> {
    let option = option(definition, word).filter(|option| option.value.is_none())?;
    let value = option.arg.get_action().takes_values().then(|| value_name(option.arg));
    Some((format!("--{}", option.arg.get_long()?), value))
}

/// Scans the words with a part of the definition. None if the part may lack an option before the
/// command. A value that begins with a dash may be such an option.
pub(crate) fn read_with_part(part: &Command, words: &[OsString]) -> Option<Scan> {
    let scan = read(part, words);
    let Scan::Command { at, .. } = scan else { return None };
    let dashed = |word: &&OsString| word.as_bytes().starts_with(b"-") && *word != "--" && *word != "-";
    let options = words.get(..at).unwrap_or_default();
    options.iter().filter(dashed).all(|word| option(part, word).is_some()).then_some(scan)
}

/// An option, or the last of a bundle of short ones.
struct Found<'a> {
    arg: &'a Arg,
    typed: String,
    /// The value in the same word.
    value: Option<OsString>,
}

impl Found<'_> {
    fn given(&self, value: OsString) -> OptionValue {
        OptionValue { option: self.typed.clone(), value_name: value_name(self.arg), value }
    }
}

fn option<'a>(definition: &'a Command, word: &OsStr) -> Option<Found<'a>> {
    let bytes = word.as_bytes();
    if let Some(long) = bytes.strip_prefix(b"--") {
        let end = long.iter().position(|b| *b == b'=');
        let name = std::str::from_utf8(&long[..end.unwrap_or(long.len())]).ok()?;
        let arg = definition.get_arguments().find(|arg| arg.get_long() == Some(name))?;
        let value = end.map(|end| OsStr::from_bytes(&long[end + 1..]).to_owned());
        return Some(Found { arg, typed: format!("--{name}"), value });
    }
    let mut letters = bytes.get(1..)?.iter();
    loop {
        let letter = char::from(*letters.next()?);
        let arg = definition.get_arguments().find(|arg| arg.get_short() == Some(letter))?;
        let rest = letters.as_slice();
        if takes_value(arg) || rest.is_empty() || matches!(arg.get_action(), ArgAction::Help) {
            let value = (!rest.is_empty()).then(|| OsStr::from_bytes(rest).to_owned());
            return Some(Found { arg, typed: format!("-{letter}"), value });
        }
    }
}

/// Whether the next word can be its value.
fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values() && !arg.is_require_equals_set()
}

fn value_name(arg: &Arg) -> String {
    arg.get_value_names().map(<[_]>::concat).unwrap_or_default()
}

/// Whether a word is `--`, or is spelled exactly like one of the options.
fn is_option(definition: &Command, word: &OsStr) -> bool {
    let bytes = word.as_bytes();
    let long = bytes.starts_with(b"--");
    bytes == b"--"
        || ((long || bytes.len() == 2) && bytes.starts_with(b"-") && option(definition, word).is_some())
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::cli::args;

    fn read_line(line: &str) -> Scan {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        read(&args::definition(), &words)
    }

    #[test]
    fn the_command_begins_after_the_options_and_their_values() {
        for (line, at) in [
            ("curl -f", 0),
            ("-- curl", 1),
            ("-n 3 curl", 2),
            ("-n3 curl", 1),
            ("-vn 3 curl", 2),
            ("--max=3 --verbose -qd1 curl -n", 3),
            ("--breaker-status x", 1),
            ("--label -5 curl", 2),
            ("--timeout -- curl", usize::MAX),
        ] {
            let found = match read_line(line) {
                Scan::Command { at, .. } => at,
                _ => usize::MAX,
            };
            assert_eq!(found, at, "{line}");
        }
    }

    #[test]
    fn a_value_that_is_an_option_is_missing() {
        for (line, option) in [
            ("-d -- curl", "--delay"),
            ("--timeout -n 3 curl", "--timeout"),
            ("-vn --delay 3 curl", "--max"),
            ("--label --timeout=5 curl", "--label"),
            ("--check -- curl", "--check"),
            ("--breaker -- curl", "--breaker"),
        ] {
            let found = match read_line(line) {
                Scan::ValueMissing { option, .. } => option,
                _ => String::new(),
            };
            assert_eq!(found, option, "{line}");
        }
        for line in ["--label=-v curl", "-d- curl", "--label - curl", "-n -5 curl", "-p -1"] {
            assert!(!matches!(read_line(line), Scan::ValueMissing { .. }), "{line}");
        }
    }

    #[test]
    fn help_is_short_or_whole() {
        assert_eq!(read_line("-vh --frob"), Scan::Help { all: false });
        assert_eq!(read_line("-n 3 --help"), Scan::Help { all: true });
        assert_eq!(read_line("--frob -h"), Scan::Unknown);
        assert!(matches!(read_line("curl -h"), Scan::Command { at: 0, .. }));
    }

    #[test]
    fn the_value_right_before_the_command_is_known() {
        let last = |line: &str| match read_line(line) {
            Scan::Command { last: Some(given), .. } => {
                format!("{} {}", given.option, given.value.to_string_lossy())
            }
            _ => String::new(),
        };
        assert_eq!(last("--timeout 5 minutes"), "--timeout 5");
        assert_eq!(last("--timeout=5 minutes"), "--timeout 5");
        assert_eq!(last("-d5 minutes"), "-d 5");
        assert_eq!(last("--timeout 5 -v minutes"), "");
        assert_eq!(last("--timeout 5 -- minutes"), "");
    }
}
