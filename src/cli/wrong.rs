//! What clap says of a wrong command line, in one line of cause and one of hint.

use std::error::Error as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::values::ValueError;
use crate::error::Error;
use crate::report::text::shortened;

const SEE: &str = "retry --help lists the options; put -- before the command if its name begins with -";

/// What users of other programs of this name type, and what it is called here.
const ELSEWHERE: [(&str, &str); 5] = [
    ("-t", "attempts are -n or --max, the limit of one attempt is --timeout"),
    ("-m", "attempts are -n or --max, the longest delay is --max-delay, the name in messages is --label"),
    ("--times", "attempts are -n or --max"),
    ("--message", "the name in messages is --label"),
    ("--while", "the failures to retry are -r or --retry-on"),
];

/// Turns clap's error into ours.
pub(crate) fn explain(error: &clap::Error) -> Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    let option = text(ContextKind::InvalidArg).unwrap_or_default();
    // `--max <N>`, `--delay <DURATION[,DURATION]...>`: the name alone.
    let bare = |text: &str| text.split([' ', '=', '.', '[']).next().unwrap_or_default().to_owned();
    let name = bare(&option);
    let value = text(ContextKind::InvalidValue).unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => unknown(&name, text(ContextKind::SuggestedArg)),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            match error.source().and_then(|source| source.downcast_ref::<ValueError>()) {
                Some(ValueError { cause, hint, quote }) => Error::Usage {
                    cause: format!("{name} {}: {cause}", shown(&value)),
                    hint: hint.clone(),
                    quote: quote.clone(),
                },
                None => not_among(&name, &value, error),
            }
        }
        ErrorKind::MissingRequiredArgument => {
            Error::usage("no command to run", "retry [OPTIONS] [--] COMMAND [ARG]...")
        }
        ErrorKind::ArgumentConflict => {
            let other = bare(&text(ContextKind::PriorArg).unwrap_or_default());
            if other == name {
                Error::usage(format!("{name} is given more than once"), "give it once")
            } else {
                Error::usage(format!("{name} and {other} contradict each other"), "give one of them")
            }
        }
        ErrorKind::TooManyValues => Error::usage(format!("{name} takes no value"), SEE),
        ErrorKind::InvalidUtf8 => not_utf8(),
        _ => Error::usage(error.kind().to_string(), SEE),
    }
}

fn unknown(name: &str, suggestion: Option<String>) -> Error {
    let suggestion = suggestion.and_then(|s| s.split(' ').next().map(ToOwned::to_owned));
    let hint = ELSEWHERE
        .iter()
        .find(|(other, _)| *other == name)
        .map(|(_, hint)| (*hint).to_owned())
        .or_else(|| {
            // clap's idea of what is like is wide.
            let near = suggestion.filter(|suggested| strsim::osa_distance(name, suggested) <= 3)?;
            Some(format!("did you mean {near}?"))
        })
        .unwrap_or_else(|| SEE.to_owned());
    Error::usage(format!("unknown option {name}"), hint)
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
    let cause = match value {
        "" => format!("{name} needs a value"),
        value => format!("{name} {}: no such value", shown(value)),
    };
    Error::usage(cause, format!("it is one of {}", valid.join(", ")))
}

/// A value as it was typed, or in quotes where that could be overlooked.
fn shown(value: &str) -> String {
    let value = shortened(value);
    let value = value.as_ref();
    if value.is_empty() || value.contains(' ') { format!("'{value}'") } else { value.to_owned() }
}
