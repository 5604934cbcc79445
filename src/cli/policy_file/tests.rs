//! Properties of policies: every option of the definition, and options split over a policy and a
//! command line.

use std::collections::BTreeSet;
use std::ffi::OsString;

use proptest::prelude::*;

use super::layers::merged;
use super::lines::{self, Word};
use super::trust::{Power, power};
use super::{Args, options};
use crate::cli::args::definition;
use crate::cli::parse::{Parsed, parse};

/// What a policy makes of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It sets how a command is run.
    Taken,
    /// It also acts with the rights of the user.
    Trusted(Power),
    /// It is an error in a policy.
    Refused,
}
use Fate::{Refused, Taken, Trusted};

/// An option: its long name, a value for a policy, another one for the command line, and its fate.
/// None is for an option without a value.
type Sample = (&'static str, Option<(&'static str, &'static str)>, Fate);

#[rustfmt::skip]
const SAMPLES: [Sample; 48] = [
    ("max", Some(("3", "unlimited")), Taken),
    ("deadline", Some(("5m", "1h")), Taken),
    ("timeout", Some(("10", "0")), Taken),
    ("signal", Some(("INT", "HUP")), Taken),
    ("kill-after", Some(("1", "2")), Taken),
    ("successes", Some(("2", "3")), Taken),
    ("delay", Some(("2", "3")), Taken),
    ("jitter", Some(("equal", "none")), Taken),
    ("backoff", Some(("exponential", "exponential")), Taken),
    ("factor", Some(("3", "1.5")), Taken),
    ("max-delay", Some(("40", "50")), Taken),
    ("min-delay", Some(("1", "2")), Taken),
    ("splay", Some(("1", "2")), Taken),
    ("healthy-after", Some(("1h", "2h")), Taken),
    ("seed", Some(("1", "2")), Taken),
    ("retry-on", Some(("5-9", "http:503")), Taken),
    ("fatal-on", Some(("stderr~a, b", "4")), Taken),
    ("until", Some(("stdout~ok", "3")), Taken),
    ("success-on", Some(("7", "8")), Taken),
    ("profile", Some(("curl,git", "none")), Taken),
    ("headers", Some(("f", "g")), Taken),
    ("max-retry-after", Some(("1m", "2m")), Taken),
    ("plan", Some(("300", "7")), Refused),
    ("profiles", Some(("curl", "git")), Refused),
    ("breaker", Some(("a", "b")), Taken),
    ("breaker-failures", Some(("2", "3")), Taken),
    ("breaker-cooldown", Some(("5", "6")), Taken),
    ("breaker-wait", None, Taken),
    ("budget", Some(("20%", "x=10/s")), Taken),
    ("state", Some(("/s", "/t")), Trusted(Power::Place("--state"))),
    ("breaker-status", Some(("a", "b")), Refused),
    ("json", None, Refused),
    ("breaker-reset", Some(("a", "b")), Refused),
    ("breaker-trip", Some(("a", "b=2h")), Refused),
    ("stdin", Some(("replay", "replay")), Taken),
    ("stdin-limit", Some(("1K", "2K")), Taken),
    ("hold", Some(("both", "stdout")), Taken),
    ("idempotency-key", Some(("file:/k", "key")), Trusted(Power::Place("--idempotency-key"))),
    ("expand", None, Taken),
    ("check", Some(("test -e 'a b'", "true")), Trusted(Power::Command("--check"))),
    ("on-retry", Some(("rm x", "true")), Trusted(Power::Command("--on-retry"))),
    ("not-idempotent", None, Taken),
    ("once", Some(("/a", "b")), Trusted(Power::Place("--once"))),
    ("report", Some(("r.jsonl", "-")), Trusted(Power::Place("--report"))),
    ("ci", Some(("none", "auto")), Taken),
    ("summary", Some(("r", "s")), Refused),
    ("markdown", None, Refused),
    ("policy", Some(("ci", "none")), Refused),
];

/// The options that a test reads apart: the two that are one setting, the label, and the two that
/// print.
#[rustfmt::skip]
const OUTPUT: [Sample; 5] = [
    ("quiet", None, Taken),
    ("verbose", None, Taken),
    ("label", Some(("a b", "# c")), Taken),
    ("help", None, Refused),
    ("version", None, Refused),
];

fn samples() -> impl Iterator<Item = &'static Sample> {
    SAMPLES.iter().chain(&OUTPUT)
}

/// The option as one word, with the value for a policy or for the command line.
fn word((name, values, _): &Sample, typed: bool) -> String {
    match values {
        Some((of_policy, of_line)) => format!("--{name}={}", if typed { of_line } else { of_policy }),
        None => format!("--{name}"),
    }
}

fn of_file(text: &str) -> Vec<Word> {
    lines::words(text.as_bytes()).unwrap()
}

/// Reads a command line.
fn of_line(words: &[String]) -> Args {
    let words: Vec<OsString> =
        words.iter().map(String::as_str).chain(["--", "x"]).map(OsString::from).collect();
    match parse(&words) {
        Ok(Parsed::Run(args)) => *args,
        other => panic!("{words:?}: {other:?}"),
    }
}

fn cause(text: &str) -> String {
    let fault = options::read(&of_file(text)).unwrap_err();
    format!("{}: {}", fault.line, fault.error)
}

#[test]
fn every_option_of_the_definition_has_its_place() {
    let definition = definition();
    let defined: BTreeSet<&str> = definition.get_arguments().filter_map(clap::Arg::get_long).collect();
    let known: BTreeSet<&str> = samples().map(|(name, ..)| *name).collect();
    assert_eq!(defined, known, "each option needs a line in SAMPLES: may a policy have it?");
    for sample in samples() {
        let (name, _, fate) = sample;
        let words = of_file(&format!("# one\n{}\n", word(sample, false)));
        let read = options::read(&words);
        let Fate::Refused = fate else {
            let args = read.unwrap();
            // The policy is read as a command line is.
            let line = of_line(&[word(sample, false)]);
            assert_eq!(
                format!("{:?}", merged(of_line(&[]), args.clone())),
                format!("{line:?}"),
                "{name}: a policy's option is lost"
            );
            // The command line's own value replaces it.
            let typed = of_line(&[word(sample, true)]);
            assert_eq!(format!("{:?}", merged(typed.clone(), args.clone())), format!("{typed:?}"), "{name}");
            assert_eq!(power(&args).map_or(Taken, Trusted), *fate, "{name}");
            continue;
        };
        let fault = read.unwrap_err();
        assert_eq!(fault.line, 2);
        assert_eq!(fault.error.to_string(), format!("--{name} is for the command line only"));
    }
}

#[test]
fn a_short_option_is_refused_by_its_long_name() {
    assert_eq!(cause("-q\n-h"), "2: --help is for the command line only");
    assert_eq!(cause("-vV"), "1: --version is for the command line only");
    assert_eq!(cause("--breaker-status"), "1: --breaker-status is for the command line only");
    assert_eq!(cause("--policy\nci"), "1: --policy is for the command line only");
}

#[test]
fn a_file_that_is_written_by_name_needs_trust_too() {
    let power = |text: &str| power(&options::read(&of_file(text)).unwrap());
    assert_eq!(power("--breaker=./b"), Some(Power::Place("--breaker")));
    assert_eq!(power("--budget=/b=20%"), Some(Power::Place("--budget")));
    assert_eq!(power("--idempotency-key=x"), None);
    assert_eq!(power("--report=-"), None);
}

/// A policy and a command line of which the first yields, and how it is then.
#[test]
fn what_contradicts_the_command_line_yields() {
    for (policy, line, left) in [
        ("--delay=1,5 -jfull", "--backoff=linear", "-jfull"),
        ("--delay=1,5", "--factor=3", ""),
        ("--delay=1,5", "-jdecorrelated", ""),
        ("--backoff=linear --max-delay=9", "--delay=1,5", "--max-delay=9"),
        ("--backoff=linear -d9", "--factor=3", "-d9"),
        ("--backoff=constant", "-jdecorrelated", ""),
        ("--factor=3 -n9", "--delay=1,5", "-n9"),
        ("--factor=3", "--backoff=fibonacci", ""),
        ("--factor=3", "-jdecorrelated", ""),
        ("--factor=3", "-jnone", "--factor=3"),
        ("-jdecorrelated", "--delay=1,5", ""),
        ("-jdecorrelated", "--backoff=constant", ""),
        ("-jdecorrelated -d4", "--factor=3", "-d4"),
        ("-jdecorrelated -d4", "-d5", "-jdecorrelated"),
        ("--stdin-limit=1K", "--stdin=null", ""),
        ("--stdin-limit=1K", "--stdin=replay", "--stdin-limit=1K"),
        ("--stdin=null", "--stdin-limit=1K", ""),
        ("--stdin=null", "--hold", "--stdin=null"),
        ("-qq --label=a", "-v", "--label=a"),
        ("-v", "-q", ""),
        ("-q", "-qq", ""),
    ] {
        let words = |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
        let policy = options::read(&of_file(&policy.replace(' ', "\n"))).unwrap();
        let found = merged(of_line(&words(line)), policy);
        let expected = of_line(&[words(left), words(line)].concat());
        assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{line}");
    }
}

#[test]
fn an_option_may_stand_on_two_lines() {
    for (text, line) in [
        ("--max\n8", "--max=8"),
        ("-n\n8", "-n8"),
        ("-n8", "-n8"),
        ("-vn\n# a comment between\n8", "-vn8"),
        ("--check\ntest -e 'a b'", "--check=test -e 'a b'"),
        ("--label\n -5", "--label=-5"),
        ("--hold\n-q", "--hold"),
        ("-n8\n-n9", "-n9"),
    ] {
        let found = merged(of_line(&[]), options::read(&of_file(text)).unwrap());
        let expected = match line {
            "--hold" => of_line(&["--hold".to_owned(), "-q".to_owned()]),
            line => of_line(&[line.to_owned()]),
        };
        assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{text}");
    }
}

#[test]
fn an_error_names_its_line_and_a_way_out() {
    for (text, expected, hint) in [
        ("\n--max 8", "2: --max and its value are on one line with a blank between them", "write --max=8"),
        ("-n 8", "1: --max and its value are on one line with a blank between them", "write --max=8"),
        ("--check test -e x", "1: --check and its value", "write --check=SHELL COMMAND"),
        ("--hold both", "1: --hold and its value", "write --hold=both"),
        ("--idempotency-key s3cret", "1: --idempotency-key and its value", "=KEY|file:PATH"),
        ("-q yes", "1: --quiet takes no value", "retry --help lists the options"),
        ("-q\nyes", "2: a policy has no COMMAND", "such as --max=8; the COMMAND stays"),
        ("max=8", "1: a policy has no COMMAND", "an option begins with dashes: --max"),
        ("max 8", "1: a policy has no COMMAND", "an option begins with dashes: --max"),
        ("--max=8\n--", "2: a policy has no COMMAND", "such as --max=8"),
        ("-", "1: a policy has no COMMAND", "such as --max=8"),
        ("--max=8\n--delay", "2: --delay needs a value", "retry --help lists the options"),
        ("--delay\n--max=8", "1: --delay needs a value", "write --delay=DURATION"),
        ("--max=8\n--frob=1", "2: unknown option --frob", "retry --help lists the options"),
        ("--timout=5", "1: unknown option --timout", "did you mean --timeout?"),
        ("--max=0", "1: --max 0: 0 attempts would run nothing", "or unlimited"),
        ("--max=8 # eight", "1: --max: not a number of attempts", "a comment needs a line of its own"),
        ("-q\n-x\nstderr~(", "2: --fatal-on stderr~(", "regex"),
        ("--expand=1", "1: --expand takes no value", "retry --help lists the options"),
    ] {
        let fault = options::read(&of_file(text)).unwrap_err();
        let found = format!("{}: {}", fault.line, fault.error);
        assert!(found.starts_with(expected), "{text}: {found}");
        let found = fault.error.hint().unwrap_or_default();
        assert!(found.contains(hint), "{text}: {found}");
        assert!(!found.contains("before the command"), "{text}: {found}");
    }
}

#[test]
fn an_error_never_repeats_what_may_be_a_secret() {
    for text in [
        "s3cret",
        "--frob=s3cret",
        "--frob s3cret",
        "password=s3cret",
        "--max s3cret99X",
        "--max=s3cret99X",
        "-pS3cret99s3cret",
        "-us3cret:S3cret9",
        "--idempotency-key s3cret",
        "--check echo s3cret",
        "--state=redis://x:s3cret@h",
        "--state redis://x:s3cret@h",
        "-q s3cret",
        "--label s3cret",
        "--max\n--s3cret",
    ] {
        let fault = options::read(&of_file(text)).unwrap_err();
        let found = format!("{} {:?}", fault.error, fault.error.hint()).to_lowercase();
        assert!(!found.contains("s3cret"), "{text}: {found}");
    }
}

#[test]
fn the_seeds_of_the_fuzzer() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds/policy");
    let seeds: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
    assert!(!seeds.is_empty());
    for seed in seeds {
        super::property(&std::fs::read(seed.unwrap().path()).unwrap());
    }
}

proptest! {
    /// The merged options are those of the command line that the rule describes: what the user
    /// typed, and before it what of the policy the user did not type.
    #[test]
    fn a_policy_is_what_the_command_line_leaves(
        of_policy in prop::collection::vec(0..SAMPLES.len() + OUTPUT.len(), 0..12),
        of_line_too in prop::collection::vec(0..SAMPLES.len() + OUTPUT.len(), 0..12),
    ) {
        let all: Vec<&Sample> = samples().filter(|(.., fate)| *fate != Refused).collect();
        let pick = |places: &[usize]| -> Vec<&Sample> {
            places.iter().filter_map(|at| all.get(*at).copied()).collect()
        };
        let (policy, typed) = (pick(&of_policy), pick(&of_line_too));
        let text: String = policy.iter().map(|sample| word(sample, false) + "\n").collect();
        let read = options::read(&of_file(&text)).unwrap();
        let typed_words: Vec<String> = typed.iter().map(|sample| word(sample, true)).collect();
        let found = merged(of_line(&typed_words), read);

        let volume = |name: &str| matches!(name, "quiet" | "verbose");
        let is_typed = |name: &str| {
            let mut names = typed.iter().map(|(typed, ..)| *typed);
            names.any(|typed| typed == name || (volume(typed) && volume(name)))
        };
        let left = policy.iter().filter(|(name, ..)| !is_typed(name));
        let line: Vec<String> = left.map(|sample| word(sample, false)).chain(typed_words).collect();
        prop_assert_eq!(format!("{:?}", found), format!("{:?}", of_line(&line)));
    }

    /// A part of the definition reads a policy as the whole does, and any text is read or refused
    /// with a line that it has.
    #[test]
    fn any_text_is_read_or_refused(
        words in prop::collection::vec(
            prop_oneof![
                prop::sample::select(vec![
                    "--max", "--max=3", "8", "-n", "-vq", "-h", "--", "#", "", "--hold", "--hold=both", "-p",
                    "curl", "--policy=x", "--breaker-status", "x", "--label", "--check=a b", "--max 8", "\u{0}",
                ]).prop_map(str::to_owned),
                "\\PC{0,12}",
                "--[a-z-]{1,12}(=[0-9a-z]{0,3})?",
            ],
            0..6,
        )
    ) {
        super::property(words.join("\n").as_bytes());
    }
}
