//! Each rule against the next ones. A made-up row keeps the cases apart from the table.

use std::sync::Arc;

use super::*;
use crate::policy::outcome::Outcome;
use crate::policy::stream::Streams;
use crate::policy::verdict::classify::Rules;
use crate::policy::verdict::evidence::{Reach, Scanner};
use crate::policy::verdict::profile::{PLAIN, Proof, Status, pattern};

const BROKEN: u8 = 1;
const SHARED: u8 = 2;
const PROVEN: u8 = 3;
const UNLISTED: u8 = 9;

static ROW: Profile = Profile {
    name: "blank",
    statuses: &[
        Status { range: BROKEN..=BROKEN, meaning: Meaning::Retryable, reason: "broken connection" },
        Status { range: SHARED..=SHARED, meaning: Meaning::Ambiguous, reason: "error" },
        Status { range: PROVEN..=PROVEN, meaning: Meaning::Fatal(Proof::Usage), reason: "usage" },
    ],
    patterns: &[
        pattern("^e: answer ([0-9]{3})", Says::HttpStatus),
        Pattern { statuses: &[BROKEN..=BROKEN], ..pattern("^e: end ([0-9]{3})", Says::HttpStatus) },
        pattern("^e: missing", Says::Class(Class::Fatal, "missing")),
        pattern("^e: reset", Says::Class(Class::Retryable, "reset")),
        Pattern { general: true, ..pattern("^e: failed", Says::Class(Class::Retryable, "failed")) },
        Pattern { statuses: &[SHARED..=SHARED], ..pattern("^e: two", Says::Class(Class::Fatal, "two")) },
    ],
    ..PLAIN
};

fn weigh(rules: &Rules, status: u8, text: &str) -> Option<(Class, Rule)> {
    let mut scanner = Scanner::new(Arc::new(rules.wanted(Reach::default())));
    scanner.push(Streams::Stderr, text.as_bytes());
    let attempt = Attempt { evidence: scanner.finish(false, b""), ..Attempt::ended(Outcome::Exited(status)) };
    let Rules { profiles, relays, headers, .. } = rules;
    Evidences { profiles, relays, headers: *headers, attempt: &attempt, status }.weigh()
}

fn rules() -> Rules {
    Rules { profiles: vec![&ROW], ..Rules::default() }
}

/// The class, and a word for the rule that decided.
fn verdict(status: u8, text: &str) -> (&'static str, String) {
    match weigh(&rules(), status, text) {
        None => ("ambiguous", String::new()),
        Some((class, rule)) => {
            let class = if class == Class::Fatal { "fatal" } else { "retryable" };
            let rule = match rule {
                Rule::Http { status, .. } => status.to_string(),
                Rule::Line { pattern, .. } => pattern.words().to_owned(),
                Rule::Profile { status, .. } => status.reason.to_owned(),
                other => format!("{other:?}"),
            };
            (class, rule)
        }
    }
}

#[test]
fn each_rule_comes_before_the_next_ones() {
    for (status, text, class, rule) in [
        // Transient evidence comes first, whatever the status.
        (PROVEN, "e: missing\ne: answer 404\ne: answer 503", "retryable", "503"),
        (PROVEN, "e: reset\ne: missing", "retryable", "reset"),
        (UNLISTED, "e: missing\ne: reset", "retryable", "reset"),
        // The program's own words about its end outrank the status.
        (BROKEN, "e: missing", "fatal", "missing"),
        (BROKEN, "e: end 407", "fatal", "407"),
        // The status outranks what a server said before.
        (BROKEN, "e: answer 404", "retryable", "broken connection"),
        (BROKEN, "", "retryable", "broken connection"),
        // An HTTP status outranks a line without a cause.
        (SHARED, "e: answer 404\ne: failed", "fatal", "404"),
        (SHARED, "e: missing\ne: failed", "fatal", "missing"),
        // A line without a cause outranks a status with a proof.
        (PROVEN, "e: failed", "retryable", "failed"),
        (PROVEN, "", "fatal", "usage"),
        (PROVEN, "e: answer 200", "fatal", "usage"),
        // Nothing decides.
        (SHARED, "", "ambiguous", ""),
        (UNLISTED, "other words", "ambiguous", ""),
    ] {
        assert_eq!(verdict(status, text), (class, rule.to_owned()), "{status} {text:?}");
    }
}

#[test]
fn a_line_counts_only_with_its_statuses() {
    assert_eq!(verdict(SHARED, "e: two"), ("fatal", "two".to_owned()));
    assert_eq!(verdict(UNLISTED, "e: two"), ("ambiguous", String::new()));
    assert_eq!(verdict(SHARED, "e: end 407"), ("ambiguous", String::new()));
}

#[test]
fn relayed_lines_count_only_with_the_programs_own_status() {
    static RELAY: Relay = Relay { program: None, command: "run", operands: 0, own: &[SHARED..=SHARED] };
    let relaying = Rules { relays: vec![("blank", &RELAY)], ..rules() };
    assert_eq!(weigh(&relaying, UNLISTED, "e: missing\ne: answer 404"), None);
    assert!(matches!(weigh(&relaying, SHARED, "e: missing"), Some((Class::Fatal, _))));
    let other = Rules { relays: vec![("another", &RELAY)], ..rules() };
    assert!(matches!(weigh(&other, UNLISTED, "e: missing"), Some((Class::Fatal, _))));
}

#[test]
fn a_status_that_is_ambiguous_for_a_wrapper_proves_nothing() {
    static WRAPPER: Profile = Profile {
        statuses: &[Status { range: PROVEN..=PROVEN, meaning: Meaning::Ambiguous, reason: "error" }],
        ..PLAIN
    };
    let both = Rules { profiles: vec![&ROW, &WRAPPER], ..Rules::default() };
    assert_eq!(weigh(&both, PROVEN, ""), None);
}

#[test]
fn in_doubt_nothing_is_fatal() {
    let doubt = || ("retryable", "sign of a transient cause".to_owned());
    for (status, text) in [
        (SHARED, "e: missing\nwarning: Connection reset by peer"),
        (SHARED, "x: the server is currently unable to handle the request\ne: answer 404"),
        (PROVEN, "ld.so: Cannot allocate memory"),
        (SHARED, "e: missing\nStale file handle"),
        (SHARED, "e: missing\nread: TIMED OUT"),
    ] {
        assert_eq!(verdict(status, text), doubt(), "{text:?}");
    }
    // A word alone decides nothing, and parts of other words are none.
    assert_eq!(verdict(SHARED, "Connection reset by peer"), ("ambiguous", String::new()));
    assert_eq!(verdict(BROKEN, "Connection reset by peer").1, "broken connection");
    assert_eq!(verdict(SHARED, "e: missing\nunknown flag: --timeout"), ("fatal", "missing".to_owned()));
}
