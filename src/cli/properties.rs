//! What must hold of anything that is typed: checked on random words by the tests, and on those that a fuzzer
//! finds (`fuzz/`).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use clap::Parser as _;

use super::args::Args;
use super::parse::{Parsed, parse};
use super::resolve::resolve;
use super::shared::{budget, failures, manage, name, some_time, trip};
use super::values::{
    ValueError, condition, delays, duration, factor, key, label, max_attempts, positive_duration, seed,
    signal, size,
};
use crate::error::Error;
use crate::report::text::printable;

/// What is refused has a cause and a hint.
fn refused<T>(result: Result<T, ValueError>) {
    if let Err(error) = result {
        assert!(!error.cause.is_empty() && !error.hint.is_empty());
    }
}

/// A value is read, or refused with a cause and a hint.
pub(crate) fn values(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    refused(positive_duration(text));
    refused(delays(text));
    refused(max_attempts(text));
    refused(signal(text));
    refused(factor(text));
    refused(seed(text));
    refused(label(text));
    refused(condition(text));
    refused(name(text));
    refused(budget(text));
    refused(failures(text));
    refused(some_time(text));
    refused(trip(text));
    refused(key(text.into()));
    match duration(text) {
        // A number of seconds is one of milliseconds with that unit.
        Ok(time) if text.bytes().all(|b| b.is_ascii_digit()) && text.len() < 10 => {
            assert_eq!(duration(&format!("{text}000ms")).ok(), Some(time));
        }
        result => refused(result),
    }
    match size(text) {
        Ok(bytes) if text.bytes().all(|b| b.is_ascii_digit()) && bytes < 1 << 50 => {
            assert_eq!(size(&format!("{text}KiB")).ok(), Some(bytes << 10));
        }
        result => refused(result),
    }
}

/// A command line, its words apart by NUL, is understood, or refused in lines that can be printed; and without
/// options it means the same as parsed.
pub(crate) fn options(bytes: &[u8]) {
    let words: Vec<OsString> =
        bytes.split(|b| *b == 0).map(|word| OsString::from_vec(word.to_vec())).collect();
    if let Some(plain) = Args::plain(&words) {
        let program = std::iter::once(OsString::from("retry"));
        let parsed = Args::try_parse_from(program.chain(words.iter().cloned())).ok();
        assert_eq!(format!("{:?}", Some(plain)), format!("{parsed:?}"));
    }
    let error = match parse(&words) {
        Ok(Parsed::Print(_)) => return,
        Ok(Parsed::Run(args)) if matches!(manage(&args, &[]), Ok(Some(_))) => return,
        Ok(Parsed::Run(args)) => match resolve(*args, Vec::new()) {
            Ok(_) => return,
            Err(error) => error,
        },
        Err(error) => error,
    };
    let Error::Usage { cause, hint, .. } = &error else { return };
    assert!(!cause.is_empty() && !hint.is_empty());
    let line = printable(cause);
    assert!(!line.contains(char::is_control), "{line}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_value_is_read_or_refused(text in "\\PC*|[-+0-9.smhkKMGib%/=:,~ ]{0,12}") {
            super::values(text.as_bytes());
        }

        #[test]
        fn any_command_line_is_understood_or_refused(
            words in prop::collection::vec(
                prop_oneof![
                    "--[a-z-]{1,20}(=[0-9a-z,.:~/%]{0,8})?",
                    "-[a-zA-Z]{1,2}",
                    "[0-9]{1,3}(ms|s|%|/s|KiB)?",
                    prop::sample::select(vec![
                        "--max", "--delay", "--jitter", "--stdin", "--stdin-limit", "--hold", "--check", "--breaker",
                        "--budget", "--deadline", "--breaker-wait", "--until", "--profile", "--expand",
                        "--idempotency-key", "--breaker-status", "--json", "null", "x", "none", "{key}", "--", "",
                    ]).prop_map(str::to_owned),
                ],
                0..6,
            )
        ) {
            super::options(words.join("\0").as_bytes());
        }
    }
}
