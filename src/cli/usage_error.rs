//! The errors of clap in our words: one line of cause, and one line of hint.

use std::error::Error as _;
use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::echo;
use super::hints::{self, Names, SEE, nearest, one_dash, unknown_option};
use super::scan::{self, Scan};
use super::values::ValueError;
use crate::error::Error;
use crate::report::format::shortened_to;

/// Turns clap's error about these words into ours.
pub(crate) fn explain(error: &clap::Error, definition: &Command, words: &[OsString]) -> Error {
    let names = Names::new(definition);
    suggest_two_dashes(cause(error, &names), definition, words)
}

/// The error for words without a command.
pub(crate) fn no_command(definition: &Command, words: &[OsString]) -> Error {
    let error = Error::usage("no command to run", "retry [OPTIONS] [--] COMMAND [ARG]...");
    suggest_two_dashes(error, definition, words)
}

/// Replaces the hint if a long option has one dash only. `-timeout 5` is read as `-t imeout`, so
/// the error is about something that the user did not mean.
fn suggest_two_dashes(error: Error, definition: &Command, words: &[OsString]) -> Error {
    let names = Names::new(definition);
    // Words after the command's name belong to the command.
    let end = match scan::read(definition, words) {
        Scan::Command { at, .. } => at,
        Scan::Help { .. } | Scan::ValueMissing { .. } | Scan::Unknown => words.len(),
    };
    let before = words.get(..end).unwrap_or_default();
    let mut options = before.iter().map_while(|word| word.to_str().filter(|word| *word != "--"));
    match (error, options.find_map(|word| one_dash(word, &names))) {
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
    // The name alone of `--delay <DURATION[,DURATION]...>`. After the name of an unknown option
    // there may be a secret: `--password:SECRET`.
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

/// The error for a missing value, or for one that is not among the few valid values.
fn not_among(name: &str, value: &str, error: &clap::Error) -> Error {
    if value.contains(char::REPLACEMENT_CHARACTER) {
        return not_utf8();
    }
    let valid = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(valid)) if !valid.is_empty() => valid,
        _ => return Error::usage(format!("{name} needs a value"), SEE),
    };
    let what = if matches!(name, "--profile" | "--profiles") { "profile" } else { "value" };
    let nearest = nearest(value, valid.iter().map(String::as_str));
    let near = match name {
        "--profile" | "--profiles" => {
            hints::nearest_profile(value).filter(|near| valid.iter().any(|name| name == near))
        }
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
    // A value that is nearly right is not a secret.
    let (about, hint) = match nearest {
        Some(_) if !value.contains(char::is_control) => {
            (format!("{name} {}", shortened_to(value, echo::LONGEST)), hint)
        }
        Some(_) | None => about(name, value, &hint),
    };
    Error::usage(format!("{about}: no such {what}"), hint)
}

/// The option with its value and the hint. If the value may be a secret, the option alone, and a
/// hint that also says why the value may be there.
fn about(name: &str, value: &str, hint: &str) -> (String, String) {
    match echo::shown(name, value) {
        Some(value) => (format!("{name} {value}"), hint.to_owned()),
        None if MISTAKEN.contains(&name) => {
            (name.to_owned(), format!("options of the command follow the command's name; {hint}"))
        }
        None => (name.to_owned(), hint.to_owned()),
    }
}

/// Options whose letters other tools use too: `-p` for a password, `-u` for a user, `-d` for data,
/// `-x` for a proxy.
const MISTAKEN: [&str; 7] =
    ["--profile", "--until", "--delay", "--fatal-on", "--retry-on", "--max", "--jitter"];

/// Our value for a value of another tool.
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
        // Other tools take a time or a share.
        ("--jitter", value) if value.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
            Some("additive")
        }
        ("--stdin", "none" | "empty" | "close" | "closed" | "/dev/null") => Some("null"),
        ("--stdin", "pass" | "through" | "-") => Some("inherit"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::parse::parse;

    use super::*;

    fn error(line: &str) -> (String, String) {
        let words: Vec<OsString> =
            line.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect();
        let error = parse(&words).unwrap_err();
        (error.to_string(), error.hint().unwrap_or_default().to_owned())
    }

    #[test]
    fn an_error_has_a_cause_and_a_hint() {
        for (line, cause, hint) in [
            ("", "no command to run", "retry [OPTIONS] [--] COMMAND"),
            ("-n 3", "no command to run", "retry [OPTIONS] [--] COMMAND"),
            ("--frob x", "unknown option --frob", SEE),
            ("--frob:SECRET x", "unknown option --frob", SEE),
            ("--timout 5 x", "unknown option --timout", "did you mean --timeout?"),
            ("-timeout 5 x", "unknown option -t", "a long option has two dashes: --timeout"),
            ("--max 0 x", "--max 0: 0 attempts would run nothing", "or unlimited"),
            ("--max forever x", "--max forever: not a number of attempts", "write --max unlimited"),
            ("--jitter half x", "--jitter half: no such value", "did you mean equal?"),
            ("--jitter= x", "--jitter needs a value", "valid values: full, equal"),
            ("--profile postgres x", "--profile postgres: no such profile", "did you mean psql?"),
            ("--profiles=postgres", "--profiles postgres: no such profile", "did you mean psql?"),
            ("--profiles=auto", "--profiles auto: no such profile", "valid values: curl, "),
            ("--profiles=", "--profiles needs a value", "valid values: curl, "),
            ("--hold=1 x", "--hold 1: no such value", "valid values: stdout, both"),
            ("--hold=boht x", "--hold boht: no such value", "did you mean both?"),
            ("--hold= x", "--hold needs a value", "valid values: stdout, both"),
            ("--expand=1 x", "--expand takes no value", SEE),
            ("--breaker -x5 y", "--breaker needs a value", SEE),
        ] {
            let (found, hint_found) = error(line);
            assert_eq!(found, cause, "{line}");
            assert!(hint_found.contains(hint), "{line}: {hint_found}");
        }
    }

    #[test]
    fn a_value_that_may_be_a_secret_is_not_repeated() {
        let (cause, hint) = error("-pSECRET99 mysql");
        assert_eq!(cause, "--profile: no such profile");
        assert!(hint.starts_with("options of the command follow the command's name; "), "{hint}");
    }

    #[test]
    fn a_word_that_is_not_text_is_refused_without_its_bytes() {
        use std::os::unix::ffi::OsStringExt as _;
        let words = ["--max".into(), OsString::from_vec(vec![0xff]), "x".into()];
        assert_eq!(parse(&words).unwrap_err().to_string(), "an option or its value is not UTF-8");
    }
}
