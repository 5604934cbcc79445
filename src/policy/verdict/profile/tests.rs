use std::sync::Arc;

use proptest::prelude::*;
use proptest::string::bytes_regex;
use regex::bytes::{Regex, RegexBuilder};

use super::super::evidence::{Reach, Scanner};
use super::Class::Ambiguous;
use super::*;
use crate::policy::outcome::{Attempt, Outcome};
use crate::policy::stream::Streams;
use crate::policy::verdict::classify::Rules;
use crate::policy::verdict::rule::Rule;
use crate::policy::verdict::rule::Verdict;

#[test]
fn no_status_stands_twice_in_a_row_and_every_row_has_a_source() {
    for row in TABLE {
        for status in 0..=u8::MAX {
            let listed = row.statuses.iter().filter(|(range, ..)| range.contains(&status)).count();
            assert!(listed <= 1, "{} lists {status} {listed} times", row.name);
        }
        assert!(row.status(0).is_none(), "{}: success is not a failure", row.name);
        assert!(!row.source.is_empty());
        assert_eq!(Profile::named(row.name), Some(row));
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

/// Lists the classes of the reference table a second time, by class, so that a slip in either list
/// shows.
#[test]
fn the_classes_are_those_of_the_sources() {
    for (name, class, statuses) in [
        ("curl", Retryable, &[5, 6, 7, 12, 16, 18, 28, 35, 52, 55, 56, 92, 95, 96][..]),
        (
            "curl",
            Fatal,
            &[
                1, 2, 3, 4, 9, 23, 26, 27, 37, 43, 47, 48, 53, 54, 58, 59, 60, 61, 63, 64, 66, 67, 68, 69,
                70, 71, 72, 73, 74, 77, 78, 82, 83, 90, 91, 94, 98, 101,
            ],
        ),
        ("curl", Ambiguous, &[8, 22, 97]),
        ("wget", Retryable, &[4]),
        ("wget", Fatal, &[2, 3, 5, 6]),
        ("wget", Ambiguous, &[1, 7, 8]),
        ("http", Retryable, &[]),
        ("httpie", Retryable, &[2, 5]),
        ("httpie", Fatal, &[3, 6, 7, 130]),
        ("httpie", Ambiguous, &[1, 4]),
        ("ssh", Retryable, &[255]),
        ("rsync", Retryable, &[5, 10, 12, 30, 35, 255]),
        ("rsync", Fatal, &[1, 2, 3, 4, 6, 13, 14, 20, 22, 25, 126, 127]),
        ("rsync", Ambiguous, &[11, 23, 24, 124, 125]),
        ("git", Fatal, &[1, 129]),
        ("git", Ambiguous, &[128]),
        ("apt", Ambiguous, &[100]),
        ("pip", Fatal, &[2, 3, 4, 23]),
        ("pip", Ambiguous, &[1]),
        ("npm", Ambiguous, &[1]),
        ("docker", Fatal, &[126, 127]),
        ("docker", Ambiguous, &[1, 125]),
        ("kubectl", Ambiguous, &[1]),
        ("aws", Fatal, &[2, 130, 252, 253]),
        ("aws", Ambiguous, &[1, 254, 255]),
        ("psql", Retryable, &[2]),
        ("psql", Fatal, &[1, 3]),
        ("pg_isready", Retryable, &[1, 2]),
        ("pg_isready", Fatal, &[3]),
        ("pg_dump", Fatal, &[1]),
        ("mysql", Fatal, &[7]),
        ("mysql", Ambiguous, &[1, 2]),
        ("redis-cli", Ambiguous, &[1]),
        ("restic", Retryable, &[11]),
        ("restic", Fatal, &[3, 10, 12, 130]),
        ("restic", Ambiguous, &[1]),
        ("rclone", Retryable, &[5]),
        ("rclone", Fatal, &[2, 3, 4, 6, 7, 8, 10]),
        ("rclone", Ambiguous, &[1, 9]),
        ("gh", Fatal, &[2, 4]),
        ("gh", Ambiguous, &[1, 8]),
        ("terraform", Fatal, &[1, 2]),
        ("ansible", Fatal, &[1, 2, 4, 5, 6, 8, 99]),
        ("ansible", Ambiguous, &[250]),
        ("timeout", Retryable, &[124]),
        ("timeout", Fatal, &[125, 126, 127]),
        ("sudo", Fatal, &[]),
        ("sudo", Ambiguous, &[1]),
        ("doas", Ambiguous, &[1]),
        ("sysexits", Retryable, &[69, 75]),
        ("sysexits", Fatal, &[64, 65, 66, 67, 70, 72, 73, 76, 77, 78]),
        ("sysexits", Ambiguous, &[68, 71, 74]),
    ] {
        let row = Profile::named(name).unwrap();
        let listed: Vec<u8> =
            (0..=u8::MAX).filter(|s| row.status(*s).is_some_and(|(c, _)| c == class)).collect();
        assert_eq!(listed, statuses, "{name} {class:?}");
    }
}

/// All reasons of a row.
fn reasons(row: &Profile) -> impl Iterator<Item = &'static str> {
    let statuses = row.statuses.iter().map(|(_, _, reason)| *reason);
    let lines = row.patterns.iter().filter_map(|pattern| match pattern.says {
        Says::Class(_, words) => Some(words),
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
    for pattern in TABLE.iter().flat_map(|row| row.patterns) {
        let regex = compiled(pattern.regex);
        assert!(!regex.is_match(b""), "{} matches nothing at all", pattern.regex);
        assert!(!regex.is_match(b"503"), "{} matches a bare number", pattern.regex);
        match pattern.says {
            Says::HttpStatus => assert_eq!(regex.captures_len(), 2, "{}", pattern.regex),
            Says::Class(class, words) => {
                assert_eq!(regex.captures_len(), 1, "{}", pattern.regex);
                assert!(class != Ambiguous && !words.is_empty() && words.is_ascii());
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

/// The class and the reason that the rules give for a failure of the row's program. The arguments
/// are the status and the watched lines.
fn judge(row: &'static Profile, status: u8, text: &str) -> (Class, String) {
    let rules = Rules { profiles: vec![row], ..Rules::default() };
    let mut scanner = Scanner::new(Arc::new(rules.wanted(Reach::default())));
    scanner.push(Streams::Stderr, text.as_bytes());
    let evidence = scanner.finish(false, b"");
    let verdict = rules.classify(&Attempt { evidence, ..Attempt::ended(Outcome::Exited(status)) });
    let class = match verdict {
        Verdict::Fatal(_) => Fatal,
        Verdict::Retryable(_) => Retryable,
        Verdict::Success(_) => panic!("{} succeeded with {status}", row.name),
    };
    let reason = match verdict.rule() {
        Rule::Http { status, .. } => format!("HTTP {status}"),
        Rule::Line { pattern, .. } => pattern.words().to_owned(),
        Rule::Profile { reason, .. } => (*reason).to_owned(),
        _ => "default".to_owned(),
    };
    (class, reason)
}

/// A recorded failure: see tests/recorded/README.md.
struct Case<'a> {
    heading: &'a str,
    status: u8,
    expected: &'a str,
    text: String,
}

fn cases(file: &str) -> Vec<Case<'_>> {
    let mut cases: Vec<Case<'_>> = Vec::new();
    let mut lines = file.lines();
    while let Some(line) = lines.next() {
        match (line.strip_prefix("=== "), cases.last_mut()) {
            (Some("stdout"), Some(_)) => {}
            (Some(heading), _) => {
                let (_, rest) = heading.split_once(", status ").unwrap();
                let (status, expected) = rest.split_once(": ").unwrap();
                assert!(lines.next().is_some_and(|line| line.starts_with("$ ")), "{heading}");
                cases.push(Case { heading, status: status.parse().unwrap(), expected, text: String::new() });
            }
            (None, Some(case)) => {
                case.text.push_str(line);
                case.text.push('\n');
            }
            (None, None) => {}
        }
    }
    cases
}

macro_rules! recorded {
    ($($row:literal),* $(,)?) => {
        [$(($row, include_str!(concat!("../../../../tests/recorded/", $row, ".txt")))),*]
    };
}

const RECORDED: [(&str, &str); 25] = recorded!(
    "ansible",
    "apt",
    "aws",
    "curl",
    "doas",
    "docker",
    "gh",
    "git",
    "http",
    "httpie",
    "kubectl",
    "mysql",
    "npm",
    "pg_dump",
    "pg_isready",
    "pip",
    "psql",
    "rclone",
    "redis-cli",
    "restic",
    "rsync",
    "ssh",
    "sudo",
    "terraform",
    "wget",
);

#[test]
fn recorded_failures_are_judged_right() {
    let mut wrong = Vec::new();
    for (name, file) in RECORDED {
        let row = Profile::named(name).unwrap();
        let cases = cases(file);
        assert!(!cases.is_empty(), "{name}");
        for (n, case) in cases.iter().enumerate() {
            let (class, reason) = judge(row, case.status, &case.text);
            let found = format!("{} ({reason})", if class == Fatal { "fatal" } else { "retryable" });
            if found != case.expected {
                wrong.push(format!("{name}/{n}: {}: found {found}", case.heading));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_row_has_recorded_failures_but_those_that_are_statuses_alone() {
    for row in TABLE {
        let recorded = RECORDED.iter().any(|(name, _)| *name == row.name);
        assert!(recorded || row.patterns.is_empty(), "{}", row.name);
    }
}
