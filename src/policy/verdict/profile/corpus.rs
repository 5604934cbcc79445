//! The recorded failures of tests/recorded/, judged by the rows: see the README there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use super::super::evidence::{Reach, Scanner, Wanted};
use super::super::program::{base_name, look_through};
use super::*;
use crate::policy::outcome::{Attempt, Outcome};
use crate::policy::stream::Streams;
use crate::policy::verdict::classify::Rules;
use crate::policy::verdict::rule::{Rule, Verdict};

/// What the cause of a failure says about a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    Transient,
    Permanent,
    Unclear,
}

/// A recorded failure.
struct Case {
    heading: String,
    status: u8,
    label: Label,
    /// The verdict and its reason, if the recording pins them.
    expected: Option<String>,
    line: String,
    text: String,
}

impl Case {
    fn new(heading: &str, line: &str) -> Self {
        let (_, rest) = heading.split_once(", status ").unwrap_or_else(|| panic!("{heading}"));
        let (status, rest) = rest.split_once(": ").unwrap_or_else(|| panic!("{heading}"));
        let (label, expected) = rest.split_once(", ").unwrap_or((rest, ""));
        let label = match label {
            "transient" => Label::Transient,
            "permanent" => Label::Permanent,
            "unclear" => Label::Unclear,
            _ => panic!("{heading}: no label"),
        };
        Self {
            heading: heading.to_owned(),
            status: status.parse().unwrap_or_else(|_| panic!("{heading}")),
            label,
            expected: Some(expected.to_owned()).filter(|text| !text.is_empty()),
            line: line.to_owned(),
            text: String::new(),
        }
    }

    /// The class and the reason that the rules give. `wanted` is that of the row.
    fn judge(&self, row: &'static Profile, wanted: &Arc<Wanted>) -> (Class, String) {
        let words: Vec<&[u8]> = self.line.split_whitespace().map(str::as_bytes).collect();
        let run = look_through(&words).program.and_then(|at| words.get(at..)).unwrap_or_default();
        let (program, arguments) =
            run.split_first().map_or((&b""[..], run), |(word, rest)| (base_name(word), rest));
        let relays = row.relay(program, arguments).map(|relay| (row.name, relay)).into_iter().collect();
        let rules = Rules { profiles: vec![row], relays, ..Rules::default() };
        let mut scanner = Scanner::new(Arc::clone(wanted));
        scanner.push(Streams::Stderr, self.text.as_bytes());
        let evidence = scanner.finish(false, b"");
        let verdict = rules.classify(&Attempt { evidence, ..Attempt::ended(Outcome::Exited(self.status)) });
        let class = match verdict {
            Verdict::Fatal(_) => Class::Fatal,
            Verdict::Retryable(_) => Class::Retryable,
            Verdict::Success(_) => panic!("{} succeeded with {}", row.name, self.status),
        };
        let reason = match verdict.rule() {
            Rule::Http { status, .. } => format!("HTTP {status}"),
            Rule::Line { pattern, .. } => pattern.words().to_owned(),
            Rule::Profile { status, .. } => status.reason.to_owned(),
            _ => "default".to_owned(),
        };
        (class, reason)
    }
}

fn cases(file: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut lines = file.lines().peekable();
    while let Some(line) = lines.next() {
        match (line.strip_prefix("=== "), cases.last_mut()) {
            (Some("stdout"), Some(_)) => {}
            (Some(heading), _) => {
                let line = lines.next().and_then(|line| line.strip_prefix("$ "));
                cases.push(Case::new(heading, line.unwrap_or_else(|| panic!("{heading}: no command line"))));
                // The source of a text that was not recorded.
                lines.next_if(|line| line.starts_with("# "));
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

/// A recorded failure, and what the rules make of it.
struct Judged {
    case: Case,
    class: Class,
    reason: String,
}

/// All recorded failures, by the name of the row. They are judged once for all tests.
static CORPUS: LazyLock<BTreeMap<String, Vec<Judged>>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let row = row_of(&name);
            // To compile the patterns takes longer than to search the text of a case.
            let rules = Rules { profiles: vec![row], ..Rules::default() };
            let wanted = Arc::new(rules.wanted(Reach::default()));
            let judge = |case: Case| {
                let (class, reason) = case.judge(row, &wanted);
                Judged { case, class, reason }
            };
            all.insert(name, cases(&fs::read_to_string(path).unwrap()).into_iter().map(judge).collect());
        }
    }
    all
});

fn row_of(name: &str) -> &'static Profile {
    Profile::named(name).unwrap_or_else(|| panic!("tests/recorded/{name}.txt: no such row"))
}

#[test]
fn recorded_failures_are_judged_for_the_recorded_reason() {
    let mut wrong = Vec::new();
    for (name, cases) in CORPUS.iter() {
        assert!(!cases.is_empty(), "{name}");
        for Judged { case, class, reason } in cases {
            let found = format!("{} ({reason})", if *class == Class::Fatal { "fatal" } else { "retryable" });
            if case.expected.as_ref().is_some_and(|expected| *expected != found) {
                wrong.push(format!("{name}: {}\n    $ {}\n    found {found}", case.heading, case.line));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the rows make of the recorded failures of one row, or of all.
#[derive(Debug, Default, Clone, Copy)]
struct Count {
    transient: usize,
    /// Transient failures that are judged fatal.
    refused: usize,
    permanent: usize,
    /// Permanent failures that are retried.
    retried: usize,
    unclear: usize,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.transient += other.transient;
        self.refused += other.refused;
        self.permanent += other.permanent;
        self.retried += other.retried;
        self.unclear += other.unclear;
    }

    /// A line of the table, in Markdown.
    fn line(&self, name: &str) -> String {
        let Self { transient, refused, permanent, retried, unclear } = self;
        format!("| {name} | {transient} | {refused} | {permanent} | {retried} | {unclear} |\n")
    }
}

/// The table of `docs/verdicts.md`, and the transient failures that are judged fatal.
fn table() -> (String, Vec<String>) {
    let (mut refused, mut all) = (Vec::new(), Count::default());
    let mut text = String::from(
        "| Profile | Transient | ... judged fatal | Permanent | ... retried | Unclear |\n|---|--:|--:|--:|--:|--:|\n",
    );
    for (name, cases) in CORPUS.iter() {
        let mut count = Count::default();
        for Judged { case, class, reason } in cases {
            let fatal = *class == Class::Fatal;
            count.add(match case.label {
                Label::Transient => Count { transient: 1, refused: usize::from(fatal), ..Count::default() },
                Label::Permanent => Count { permanent: 1, retried: usize::from(!fatal), ..Count::default() },
                Label::Unclear => Count { unclear: 1, ..Count::default() },
            });
            if fatal && case.label == Label::Transient {
                refused.push(format!("{name}: {}: {reason}\n    $ {}", case.heading, case.line));
            }
        }
        text += &count.line(name);
        all.add(count);
    }
    text += &all.line("all");
    (text, refused)
}

/// Prints the table of all profiles, and fails if a transient failure is judged fatal, or if the
/// table in the docs is another. `BLESS=1` writes it there.
#[test]
fn no_transient_failure_is_fatal() {
    let (table, refused) = table();
    println!("{table}");
    assert!(refused.is_empty(), "transient failures judged fatal:\n{}", refused.join("\n"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verdicts.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once("<!-- table begin -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- table end -->").unwrap();
    let right = format!("{before}<!-- table begin -->\n{table}<!-- table end -->{after}");
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, right).unwrap();
    } else {
        assert!(page == right, "docs/verdicts.md is stale: BLESS=1 cargo test --lib corpus");
    }
}

#[test]
fn every_row_with_patterns_has_recorded_failures() {
    for row in TABLE {
        assert!(CORPUS.contains_key(row.name) || row.patterns.is_empty(), "{}", row.name);
    }
}
