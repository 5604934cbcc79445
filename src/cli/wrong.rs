//! What clap says of a wrong command line, in one line of cause and one of hint.

use std::error::Error as _;
use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::echo;
use super::hints::{self, Names, SEE, nearest, one_dash, unknown_option};
use super::scan::{self, Words};
use super::values::ValueError;
use crate::error::Error;
use crate::report::format::shortened_to;

/// Turns clap's error about these words into ours.
pub(crate) fn explain(error: &clap::Error, definition: &Command, words: &[OsString]) -> Error {
    let names = Names::new(definition);
    let cause = cause(error, &names);
    // `-timeout 5` is read as `-t imeout`, and whatever is wrong with that is not what is wrong.
    // What follows the command's name is the command's own.
    let end = match scan::read(definition, words) {
        Words::Command { at, .. } => at,
        Words::Help { .. } | Words::ValueMissing { .. } | Words::Unknown => words.len(),
    };
    let before = words.get(..end).unwrap_or_default();
    let mut options = before.iter().map_while(|word| word.to_str().filter(|word| *word != "--"));
    match (cause, options.find_map(|word| one_dash(word, &names))) {
        (Error::Usage { cause, quote, .. }, Some(hint)) => Error::Usage { cause, hint, quote },
        (error, _) => error,
    }
}

fn cause(error: &clap::Error, names: &Names) -> Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    let option = text(ContextKind::InvalidArg).unwrap_or_default();
    // `--max <N>`, `--delay <DURATION[,DURATION]...>`: the name alone. What follows the name of an unknown
    // option may be a secret: `--password:SECRET`.
    let bare = |text: &str| {
        text.split(|c: char| !c.is_alphanumeric() && !"-_".contains(c)).next().unwrap_or_default().to_owned()
    };
    let name = bare(&option);
    let value = text(ContextKind::InvalidValue).unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let hint = unknown_option(&name, names).unwrap_or_else(|| SEE.to_owned());
            Error::usage(format!("unknown option {}", shortened_to(&name, echo::LONGEST)), hint)
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            match error.source().and_then(|source| source.downcast_ref::<ValueError>()) {
                Some(ValueError { cause, hint, quote }) => {
                    let (about, hint) = match hints::without_limit(&name, &value) {
                        Some(hint) => (format!("{name} {}", value.trim()), hint.to_owned()),
                        None => about(&name, &value, hint),
                    };
                    Error::Usage { cause: format!("{about}: {cause}"), hint, quote: quote.clone() }
                }
                None => not_among(&name, &value, error),
            }
        }
        ErrorKind::MissingRequiredArgument => {
            Error::usage("no command to run", "retry [OPTIONS] [--] COMMAND [ARG]...")
        }
        ErrorKind::TooManyValues => Error::usage(format!("{name} takes no value"), SEE),
        ErrorKind::InvalidUtf8 => not_utf8(),
        _ => Error::usage(error.kind().to_string(), SEE),
    }
}

fn not_utf8() -> Error {
    Error::usage(
        "an option or its value is not UTF-8",
        "the command's own arguments may be any bytes; put -- before the command",
    )
}

/// A value that is missing, or not one of the few that there are.
fn not_among(name: &str, value: &str, error: &clap::Error) -> Error {
    if value.contains(char::REPLACEMENT_CHARACTER) {
        return not_utf8();
    }
    let valid = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(valid)) if !valid.is_empty() => valid,
        _ => return Error::usage(format!("{name} needs a value"), SEE),
    };
    let what = if name == "--profile" { "profile" } else { "value" };
    let nearest = nearest(value, valid.iter().map(String::as_str));
    let near = match name {
        "--profile" => hints::nearest_profile(value),
        _ => synonym(name, value).or(nearest),
    };
    let valid = valid.join(", ");
    let hint = match near {
        Some(near) => format!("did you mean {near}? valid values: {valid}"),
        None => format!("valid values: {valid}"),
    };
    if value.is_empty() {
        return Error::usage(format!("{name} needs a value"), hint);
    }
    // A value that is nearly right is no secret.
    let (about, hint) = match nearest {
        Some(_) if !value.contains(char::is_control) => {
            (format!("{name} {}", shortened_to(value, echo::LONGEST)), hint)
        }
        Some(_) | None => about(name, value, &hint),
    };
    Error::usage(format!("{about}: no such {what}"), hint)
}

/// The option with its value, unless the value may be a secret; and the hint, which then also says what may be wrong.
fn about(name: &str, value: &str, hint: &str) -> (String, String) {
    match echo::shown(name, value) {
        Some(value) => (format!("{name} {value}"), hint.to_owned()),
        None if MISTAKEN.contains(&name) => {
            (name.to_owned(), format!("options of the command follow the command's name; {hint}"))
        }
        None => (name.to_owned(), hint.to_owned()),
    }
}

/// Options whose letters other tools use too: `-p` for a password, `-u` for a user, `-d` for data, `-x` for a proxy.
const MISTAKEN: [&str; 7] =
    ["--profile", "--until", "--delay", "--fatal-on", "--retry-on", "--max", "--jitter"];

/// What another tool calls a value.
fn synonym(name: &str, value: &str) -> Option<&'static str> {
    let value = value.to_ascii_lowercase();
    match (name, value.as_str()) {
        ("--backoff", "exp" | "expo" | "double" | "doubling") => Some("exponential"),
        ("--backoff", "fib") => Some("fibonacci"),
        ("--backoff", "fixed" | "none" | "const" | "static" | "flat") => Some("constant"),
        ("--backoff", "incremental" | "incrementing" | "arithmetic") => Some("linear"),
        ("--jitter", "true" | "yes" | "on" | "random" | "uniform") => Some("full"),
        ("--jitter", "false" | "no" | "off" | "0") => Some("none"),
        ("--jitter", "half") => Some("equal"),
        ("--jitter", "aws" | "decorr") => Some("decorrelated"),
        // A time or a share, as other tools have it.
        ("--jitter", value) if value.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
            Some("additive")
        }
        ("--stdin", "none" | "empty" | "close" | "closed" | "/dev/null") => Some("null"),
        ("--stdin", "pass" | "through" | "-") => Some("inherit"),
        _ => None,
    }
}
