//! Properties of all words that a user may type. The tests check them on random words, and the
//! fuzzers (`fuzz/`) on words that they find.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use super::action::action;
use super::parse::{Parsed, by_whole_definition, parse};
use super::resolve::resolve;
use super::values::{
    ValueError, budget, check, clients, condition, delays, duration, factor, failures, file, healthy_after,
    key, label, max_attempts, name, on_retry, policy, positive_duration, report_file, seed, signal, size,
    state_option, successes, summary_file, trip,
};
use crate::error::Error;
use crate::report::format::printable;

/// Checks that a refusal has a cause and a hint.
fn refused<T>(result: Result<T, ValueError>) {
    if let Err(error) = result {
        assert!(!error.cause.is_empty() && !error.hint.is_empty());
    }
}

/// Checks that each kind of value is read, or refused with a cause and a hint.
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
    refused(successes(text));
    refused(clients(text));
    refused(trip(text));
    refused(healthy_after(text));
    refused(key(text.into()));
    refused(check(text.into()));
    refused(on_retry(text.into()));
    refused(file(text.into()));
    refused(policy(text.into()));
    refused(report_file(text.into()));
    refused(summary_file(text.into()));
    refused(state_option(text.into()));
    match duration(text) {
        // The same duration in milliseconds.
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

/// Checks that a command line, with NUL between its words, is accepted or refused with a printable
/// error, and that a part of the definition reads it as the whole definition does.
pub(crate) fn options(bytes: &[u8]) {
    let words: Vec<OsString> =
        bytes.split(|b| *b == 0).map(|word| OsString::from_vec(word.to_vec())).collect();
    if let Ok(Parsed::Run(args)) = parse(&words) {
        let whole = by_whole_definition(&words);
        assert!(
            matches!(&whole, Ok(Parsed::Run(whole)) if format!("{whole:?}") == format!("{args:?}")),
            "{whole:?}"
        );
    }
    let error = match parse(&words) {
        Ok(Parsed::Print(_)) => return,
        Ok(Parsed::Run(args)) => match action(&args, &[]) {
            Ok(Some(_)) => return,
            Ok(None) => match resolve(*args, Vec::new()) {
                Ok(_) => return,
                Err(error) => error,
            },
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
                        "--max", "--delay", "--jitter", "--stdin", "--stdin-limit", "--hold", "--check",
                        "--breaker", "--budget", "--deadline", "--breaker-wait", "--until", "--profile",
                        "--expand", "--idempotency-key", "--breaker-status", "--json", "null", "x", "none",
                        "{key}", "--", "", "--profiles", "--profiles=curl", "--hold=both", "--plan",
                    ]).prop_map(str::to_owned),
                ],
                0..6,
            )
        ) {
            super::options(words.join("\0").as_bytes());
        }

        /// Most of these words are valid, so a part of the definition is enough to read them.
        #[test]
        fn a_part_of_the_definition_reads_what_the_whole_reads(
            options in prop::collection::vec(prop::sample::select(RIGHT.to_vec()), 0..5),
            end in prop::sample::select(vec![
                "curl", "-- curl -n 3", "-- -x", "curl --max", "5 minutes", "--", "", "- -v",
            ]),
        ) {
            let line = [options.as_slice(), &[end]].concat().join(" ");
            let words: Vec<&str> = line.split_whitespace().collect();
            super::options(words.join("\0").as_bytes());
        }
    }

    const RIGHT: [&str; 48] = [
        "-n 3",
        "-n3",
        "--max=unlimited",
        "--deadline 1m",
        "--timeout 5",
        "--signal INT",
        "--kill-after 0",
        "--successes 2",
        "-d 1s,5s",
        "-jnone",
        "--backoff linear",
        "--factor 3",
        "--max-delay 9s",
        "--min-delay 0",
        "--splay 1s",
        "--healthy-after 1h",
        "--seed 7",
        "-r 5-9",
        "-x http:404",
        "-u stdout~ok",
        "--success-on 3",
        "-p curl,git",
        "--headers f",
        "--max-retry-after 1m",
        "--breaker x",
        "--breaker-failures 3",
        "--breaker-cooldown 1m",
        "--breaker-wait",
        "--budget x=10%",
        "--breaker-status",
        "--breaker-status=x",
        "--profiles",
        "--profiles=git",
        "--json",
        "--plan=9",
        "--stdin null",
        "--hold",
        "--hold=both",
        "--policy ci",
        "--policy=none",
        "--expand",
        "--check true",
        "--on-retry true",
        "--label -5",
        "--label=-v",
        "-qq",
        "-vn 2",
        "--label -r",
    ];
}
