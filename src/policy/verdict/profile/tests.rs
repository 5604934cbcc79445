use proptest::prelude::*;
use proptest::string::bytes_regex;
use regex::bytes::{Regex, RegexBuilder};

use super::*;

#[test]
fn no_status_stands_twice_in_a_row_and_every_row_has_a_source() {
    for row in TABLE {
        for status in 0..=u8::MAX {
            let listed = row.statuses.iter().filter(|listed| listed.range.contains(&status)).count();
            assert!(listed <= 1, "{} lists {status} {listed} times", row.name);
        }
        assert!(row.status(0).is_none(), "{}: success is not a failure", row.name);
        assert!(!row.source.is_empty());
        let named = TABLE.iter().filter(|other| other.name == row.name).count();
        assert_eq!(named, 1, "{}: rows are compared by their names", row.name);
    }
}

#[test]
fn stdout_tells_where_an_option_says_so() {
    for (name, line, told) in [
        ("curl", "-fsS URL", false),
        ("curl", "-i URL", true),
        ("curl", "-fsSi URL", true),
        ("curl", "--include URL", true),
        ("curl", "-oW-index URL", false),
        ("curl", "-o -i URL", false),
        ("curl", "-sSo/tmp/index URL", false),
        ("curl", "-Hwho:me URL", false),
        ("curl", "-d -i URL", false),
        ("curl", "-D headers URL", false),
        ("curl", "-Dheaders URL", false),
        ("curl", "-D - URL", true),
        ("curl", "-D- URL", true),
        ("curl", "-fsSD /dev/stdout URL", true),
        ("curl", "--dump-header - URL", true),
        ("curl", "--dump-header=- URL", true),
        ("curl", "--dump-header h URL", false),
        ("curl", "-D h -i URL", true),
        ("curl", "-w %{http_code} URL", true),
        ("curl", "URL -D", false),
        ("wget", "-S -O - URL", false),
        ("ansible", "all -m ping", true),
    ] {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        assert_eq!(Profile::named(name).unwrap().stdout.applies_to(&words), told, "{name} {line}");
    }
}

/// Checks each row again with a command line as a person types it. A command line after `>` keeps
/// its terminal.
#[test]
fn what_may_ask_or_page_keeps_its_terminal() {
    for line in include_str!("terminal.txt").lines().filter(|line| !line.starts_with('#')) {
        let (needed, line) = match line.strip_prefix("> ") {
            Some(line) => (true, line),
            None => (false, line.trim_start()),
        };
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        let Some((program, arguments)) = words.split_first() else { continue };
        let row = std::str::from_utf8(program).ok().and_then(Profile::for_program).expect(line);
        assert_eq!(row.terminal.is_needed(arguments), needed, "{line}");
    }
}

#[test]
fn the_lines_of_terminals_have_every_program_with_rules() {
    let lines = include_str!("terminal.txt");
    for row in TABLE.iter().filter(|row| row.terminal != Terminal::FREE) {
        let of_row = |line: &&str| {
            let program = line.trim_start_matches("> ").split_whitespace().next().unwrap_or_default();
            row.programs.contains(&program)
        };
        assert!(lines.lines().filter(of_row).count() >= 2, "{}", row.name);
    }
}

#[test]
fn auto_finds_a_row_by_each_of_its_programs() {
    for row in TABLE {
        for program in row.programs {
            assert_eq!(Profile::for_program(program), Some(row));
        }
    }
    assert_eq!(Profile::for_program("true"), None);
}

/// All reasons of a row.
fn reasons(row: &Profile) -> impl Iterator<Item = &'static str> {
    let statuses = row.statuses.iter().map(|status| status.reason);
    let lines = row.patterns.iter().filter_map(|pattern| match pattern.says {
        Says::Class(_, words) | Says::Doubt(words) => Some(words),
        Says::HttpStatus => None,
    });
    statuses.chain(lines)
}

/// Words that end a clause, or a noun phrase whose noun comes too early: `connection refused`,
/// `option requires an argument`, `file not found`. A participle before a noun is an adjective:
/// `refused connection`.
const ENDS: [&str; 45] = [
    "accepted",
    "allowed",
    "available",
    "broken",
    "cancelled",
    "changed",
    "closed",
    "compatible",
    "corrupt",
    "declined",
    "denied",
    "detected",
    "exceeded",
    "exist",
    "exists",
    "expired",
    "failed",
    "failing",
    "fails",
    "found",
    "incompatible",
    "installed",
    "installable",
    "invalid",
    "long",
    "lost",
    "made",
    "matched",
    "misbehaving",
    "missing",
    "pending",
    "reached",
    "refused",
    "rejected",
    "required",
    "reset",
    "responding",
    "slow",
    "supplied",
    "supported",
    "transferred",
    "trusted",
    "unknown",
    "unreachable",
    "wrong",
];

/// Finite verbs. A reason with one of these verbs after the first word is a clause.
const VERBS: [&str; 20] = [
    "accepts", "asks", "denies", "exceeds", "expects", "expires", "fails", "found", "gave", "gives", "got",
    "lacks", "needs", "refuses", "rejects", "requires", "said", "says", "timed", "wants",
];

/// Whether a reason is a clause. A single word is a code from the line, and not a clause.
fn is_clause(reason: &str) -> bool {
    let lower = reason.to_lowercase();
    let words: Vec<&str> = lower.split([' ', '-', ',', ':']).filter(|word| !word.is_empty()).collect();
    let Some((last, before)) = words.split_last().filter(|(_, before)| !before.is_empty()) else {
        return false;
    };
    // `connection reset by peer` is a clause, like `connection reset`.
    let by = before.iter().zip(&words[1..]).any(|(word, next)| *next == "by" && ENDS.contains(word));
    ENDS.contains(last)
        || by
        || before[0] == "not"
        || words[1..].iter().any(|word| VERBS.contains(word) || *word == "not")
}

#[test]
fn no_reason_is_a_clause() {
    for clause in [
        "option requires an argument",
        "Host key verification failed",
        "context deadline exceeded",
        "connection reset by peer",
        "pull access denied",
        "ssl-verification-failed",
        "server not trusted",
        "no matches found",
    ] {
        assert!(is_clause(clause), "{clause}");
    }
    for phrase in ["missing option argument", "failed S3 transfers", "reset connection", "NotFound"] {
        assert!(!is_clause(phrase), "{phrase}");
    }
    for row in TABLE {
        for reason in reasons(row) {
            // The README and the man page quote curl's 7, which is never fatal.
            assert!(!is_clause(reason) || reason == "could not connect", "{}: {reason}", row.name);
        }
    }
}

/// A verb makes a clause, and so does a participle that stands alone. Neither reads well before the
/// words "is fatal".
#[test]
fn every_reason_is_a_noun_phrase() {
    let verbs = Regex::new(concat!(
        r"^(?:is|are|was|were|be|do|does|must|may|can|could|cannot|can't|unable|failed to|try|please|you",
        r"|refused|denied|rejected|unauthorized|interrupted|cancelled|blocked|timed out|giving up|not)$",
        r"|(?i)^(?:is|was|were|does|do|must|could|cannot|can't|unable|failed to|please|you) ",
        r"|(?i) (?:is|are|was|were|does|do|must|could|cannot|can't|doesn't|didn't|couldn't|has|have|hung up) ",
    ));
    let verbs = verbs.unwrap();
    for row in TABLE {
        for reason in reasons(row) {
            // The README and the man page quote curl's 7, which is never fatal.
            assert!(
                !verbs.is_match(reason.as_bytes()) || reason == "could not connect",
                "{}: {reason}",
                row.name
            );
        }
    }
}

fn compiled(regex: &str) -> Regex {
    RegexBuilder::new(regex).unicode(false).build().unwrap()
}

#[test]
fn every_pattern_is_a_regex_that_needs_words_and_an_http_status_has_its_group() {
    for pattern in TABLE.iter().flat_map(|row| row.patterns).chain([&doubt::DOUBT]) {
        let regex = compiled(pattern.regex);
        assert!(!regex.is_match(b""), "{} matches nothing at all", pattern.regex);
        assert!(!regex.is_match(b"503"), "{} matches a bare number", pattern.regex);
        match pattern.says {
            Says::HttpStatus => assert_eq!(regex.captures_len(), 2, "{}", pattern.regex),
            Says::Class(_, words) | Says::Doubt(words) => {
                assert_eq!(regex.captures_len(), 1, "{}", pattern.regex);
                assert!(!words.is_empty() && words.is_ascii());
            }
        }
    }
}

proptest! {
    /// The search pattern `found_by` finds each line that the pattern matches.
    #[test]
    fn found_by_finds_what_the_pattern_matches(line in found_differently(), around in "[ -~]{0,9}") {
        let (pattern, line) = line;
        let found_by = pattern.found_by.unwrap_or_default();
        prop_assert!(compiled(found_by).is_match(&line), "{:?} in {}", found_by, line.escape_ascii());
        // The longer line need not match the pattern. If it does, `found_by` must find it.
        let longer = [around.as_bytes(), &line, around.as_bytes()].concat();
        prop_assert!(!compiled(pattern.regex).is_match(&longer) || compiled(found_by).is_match(&longer));
    }
}

/// A pattern with its own `found_by`, and a text that the pattern matches.
fn found_differently() -> impl Strategy<Value = (&'static Pattern, Vec<u8>)> {
    let all = TABLE.iter().flat_map(|row| row.patterns).filter(|pattern| pattern.found_by.is_some());
    prop::sample::select(all.collect::<Vec<_>>()).prop_flat_map(|pattern| {
        // The generator does not support `^` and `$`. Both patterns have the same condition for the
        // text before a match, so `^` can be left out.
        let source = pattern.regex.replace("(?:^|", "(?:|").replace("|$)", "|)");
        let text = bytes_regex(&format!("(?-u){source}")).expect("it can be generated");
        text.prop_map(move |text| (pattern, text))
    })
}
