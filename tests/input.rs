//! The command line: wrong options and values, bytes that are not text, names, help and volumes.

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};

use nix::sys::signal::Signal;

use crate::support::retry::BINARY;
use crate::support::{Log, Retry, Run, Scratch, retry};

/// Values that every option for a duration refuses.
const DURATIONS: &[&str] = &[
    "",
    " ",
    "-1",
    "-0.5s",
    "-0",
    "NaN",
    "nan",
    "inf",
    "-inf",
    "infinity",
    "1e400",
    "1e3",
    "99999999999999999999999",
    "18446744073709551616",
    "99999999999999999999h",
    "5 apples",
    "s",
    ".",
    "1.2.3",
    "+5",
    "0x10",
    "5s junk",
    "1;2",
    "٥",
    "5M",
    "1.5M",
    "1h 5M",
    "1month",
    "2 months",
    "1y",
    "2yrs",
    "1year 5s",
    "3years",
];

/// Durations of zero, which some options refuse as well.
const ZEROS: &[&str] = &["0", "0s", "0.0", "00"];

const COUNTS: &[&str] =
    &["", " ", "0", "00", "-1", "+1", "1.5", "NaN", "inf", "4294967296", "99999999999999999999999", "many"];

const SIGNALS: &[&str] =
    &["", "0", "-1", "65", "256", "99999999999999999999999", "NaN", "SIG", "FOO", "SIGFOO", "TERM INT"];

const FACTORS: &[&str] = &["", " ", "0", "0.99", "-2", "NaN", "inf", "-inf", "1e400", "two", "2x"];

const SEEDS: &[&str] =
    &["", " ", "-1", "+1", "18446744073709551616", "99999999999999999999999", "1.0", "NaN", "x"];

const CONDITIONS: &[&str] = &[
    "",
    " ",
    ",",
    "1,",
    ",1",
    "1,,2",
    "-1",
    "256",
    "1-256",
    "99999999999999999999999",
    "9-3",
    "1-",
    "-",
    "NaN",
    "FOO",
    "SIGFOO",
    "7;8",
    "http:",
    "http:600",
    "http:5",
    "http:504-500",
    "7,stdout~x",
    "stdin~x",
    "stdout~\\n",
];

/// Names that are not files to which a command could write.
const FILES: &[&str] = &["", ".", "/dev/null"];

const WORDS: &[&str] = &["", " ", "-1", "NaN", "99999999999999999999999", "fulll", "full,none"];

const SIZES: &[&str] = &[
    "",
    " ",
    "-1",
    "+1",
    "NaN",
    "inf",
    "1e9",
    "G",
    "1X",
    ".5k",
    "1.2.3",
    "99999999999999999999999",
    "16777216T",
];

const PROFILES: &[&str] = &["", "-1", "NaN", "curll", "curl,none", "none,curl", "auto,none"];

/// Values that are not names of breakers.
const NAMES: &[&str] = &["", "a/b", "x/", "/", "./", "../..", LONG_NAME];

/// This name has 101 bytes.
const LONG_NAME: &str =
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

const BUDGETS: &[&str] = &[
    "",
    "10",
    "10/",
    "/s",
    "0/s",
    "+1/s",
    "1e3/s",
    "4294967296/s",
    "10/x",
    "10/0",
    "10/-1s",
    "%",
    "0%",
    "NaN%",
    "1001%",
    "20 percent",
    "=20%",
    "a/b=20%",
    "x=",
    "x=20",
];

const KEYS: &[&str] = &["", "file:"];

const TRIPS: &[&str] = &["", "=1h", "x=", "x=0", "x=-1", "x=soon", "a/b", "x=99999999999999999999h"];

const LABELS: &[&str] = &["", "  "];

/// All options that take a value: the names, the wrong values, and a valid value.
#[rustfmt::skip]
const OPTIONS: &[(&str, &str, &[&[&str]], &str)] = &[
    ("--max", "-n", &[COUNTS], "2"),
    ("--deadline", "", &[DURATIONS], "9"),
    ("--timeout", "", &[DURATIONS], "9"),
    ("--signal", "", &[SIGNALS], "INT"),
    ("--kill-after", "", &[DURATIONS], "1"),
    ("--delay", "-d", &[DURATIONS, &["1,", ",1", "1,,2", "1,-2", "1,NaN", "1,99999999999999999999999"]], "1"),
    ("--jitter", "-j", &[WORDS], "full"),
    ("--backoff", "", &[WORDS], "linear"),
    ("--factor", "", &[FACTORS], "3"),
    ("--max-delay", "", &[DURATIONS], "9"),
    ("--min-delay", "", &[DURATIONS], "1"),
    ("--splay", "", &[DURATIONS], "1"),
    ("--healthy-after", "", &[DURATIONS, ZEROS], "9"),
    ("--seed", "", &[SEEDS], "1"),
    ("--successes", "", &[COUNTS], "3"),
    ("--retry-on", "-r", &[CONDITIONS], "7"),
    ("--fatal-on", "-x", &[CONDITIONS], "7"),
    ("--until", "-u", &[CONDITIONS], "0"),
    ("--success-on", "", &[CONDITIONS], "7"),
    ("--profile", "-p", &[PROFILES], "none"),
    ("--headers", "", &[FILES], "h"),
    ("--max-retry-after", "", &[DURATIONS], "9"),
    ("--breaker", "", &[NAMES], "x"),
    ("--breaker-failures", "", &[COUNTS], "3"),
    ("--breaker-cooldown", "", &[DURATIONS, ZEROS], "9"),
    ("--budget", "", &[BUDGETS], "x=20%"),
    ("--state", "", &[&[""]], "s"),
    ("--breaker-reset", "", &[NAMES], "x"),
    ("--breaker-trip", "", &[TRIPS], "x"),
    ("--stdin", "", &[WORDS], "null"),
    ("--stdin-limit", "", &[SIZES], "4k"),
    ("--idempotency-key", "", &[KEYS], "k"),
    ("--check", "", &[&["", " "]], "false"),
    ("--on-retry", "", &[&["", " "]], "false"),
    ("--label", "", &[LABELS], "x"),
    ("--ci", "", &[WORDS], "none"),
];

/// Options that take no value.
const FLAGS: &[(&str, &str)] = &[
    ("--breaker-wait", ""),
    ("--expand", ""),
    ("--not-idempotent", ""),
    ("--json", ""),
    ("--markdown", ""),
    ("--quiet", "-q"),
    ("--verbose", "-v"),
    ("--help", "-h"),
    ("--version", "-V"),
];

/// Runs of retry with wrong options. If a command ran, it would write a line to a log.
struct Refusals {
    scratch: Scratch,
    log: Log,
    wrong: Vec<String>,
}

impl Refusals {
    fn new() -> Self {
        let scratch = Scratch::new();
        let log = scratch.log("ran");
        Self { scratch, log, wrong: Vec::new() }
    }

    fn run<A: AsRef<OsStr>>(&self, options: &[A]) -> Run {
        retry().args(options).sh(self.log.echo("ran")).dir(self.scratch.path()).run()
    }

    /// Checks that retry refuses a wrong command line: it prints two lines, of which the first
    /// satisfies `cause`, exits with 125, leaves stdout empty, and runs nothing.
    fn refused(&mut self, run: &Run, what: &str, cause: impl Fn(&str) -> bool) {
        let lines: Vec<&str> = run.stderr.lines().collect();
        let fits = match lines[..] {
            [first, second] => {
                let hint = second.strip_prefix("retry: hint: ").is_some_and(|hint| !hint.trim().is_empty());
                hint && first
                    .strip_prefix("retry: ")
                    .is_some_and(|line| !line.starts_with("hint: ") && cause(line))
            }
            _ => false,
        };
        let ended = run.stderr.ends_with('\n');
        if !fits || !ended || run.status.code() != Some(125) || !run.stdout.is_empty() {
            self.wrong.push(format!("{what}: {}, {:?}", run.status, run.stderr));
        }
    }

    #[track_caller]
    fn done(self) {
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
        assert_eq!(self.log.lines(), [""; 0], "nothing was run");
        // A valid command line does run the command, so the log would show it.
        self.run(&["-n", "1"]).code(0);
        assert_eq!(self.log.lines(), ["ran"]);
    }
}

/// Tells whether the cause names the option and the value, if the value is visible.
fn names(cause: &str, option: &str, value: &str) -> bool {
    let named = cause.strip_prefix(option).is_some_and(|rest| rest.starts_with([' ', ':']));
    // The message shows only the beginning of a long value.
    let seen = value.get(..60).unwrap_or(value);
    named && cause.contains(seen)
}

#[test]
fn a_wrong_value_is_refused_with_its_option_and_a_hint() {
    let mut refusals = Refusals::new();
    for (long, short, lists, _) in OPTIONS {
        for value in lists.iter().copied().flatten() {
            let run = refusals.run(&[long, value]);
            refusals.refused(&run, &format!("{long} {value:?}"), |cause| names(cause, long, value));
            let joined = format!("{long}={value}");
            let run = refusals.run(&[&joined]);
            refusals.refused(&run, &joined, |cause| names(cause, long, value));
        }
        // The short name means the same option.
        if let (false, Some(value)) = (short.is_empty(), lists[0].last()) {
            let run = refusals.run(&[short, value]);
            refusals.refused(&run, &format!("{short} {value:?}"), |cause| names(cause, long, value));
            let joined = format!("{short}{value}");
            let run = refusals.run(&[&joined]);
            refusals.refused(&run, &joined, |cause| names(cause, long, value.trim()));
        }
    }
    // If the value has several names, the message shows the wrong name.
    let run = refusals.run(&["--profile", "curl,curll"]);
    refusals.refused(&run, "curl,curll", |cause| names(cause, "--profile", "curll"));
    refusals.done();
}

#[test]
fn an_option_without_its_value_is_refused() {
    let mut refusals = Refusals::new();
    for (long, short, ..) in OPTIONS {
        for name in [long, short].into_iter().filter(|name| !name.is_empty()) {
            let run = retry().arg(name).run();
            refusals.refused(&run, name, |cause| cause == format!("{long} needs a value"));
        }
    }
    for (long, _) in FLAGS {
        let run = refusals.run(&[format!("{long}=1")]);
        refusals.refused(&run, long, |cause| cause == format!("{long} takes no value"));
    }
    refusals.done();
}

/// If an option with one value is given twice, the last value counts, so that users can override
/// their aliases.
#[test]
fn an_option_given_twice_has_its_last_value() {
    let repeatable = ["--retry-on", "--fatal-on", "--success-on"];
    let instead = ["--breaker-reset", "--breaker-trip"];
    for (long, short, wrong, value) in OPTIONS.iter().filter(|(long, ..)| !repeatable.contains(long)) {
        let again = if short.is_empty() { long } else { short };
        let scratch = Scratch::new();
        let run = |options: &[&str]| {
            let command = if instead.contains(long) { &[][..] } else { &["true"] };
            let run = retry().args(["--breaker", "b", "--state", "."]).dir(scratch.path());
            let run =
                if instead.contains(long) { retry().args(["--state", "."]).dir(scratch.path()) } else { run };
            run.args(options).args(command).run().status.code()
        };
        // The command line has everything that the option needs, so that a repetition of the option
        // changes nothing.
        let once = run(&[long, value]);
        assert_eq!(run(&[long, value, again, value]), once, "{long}");
        // retry still checks a value that a later value replaces.
        let wrong = wrong[0].iter().find(|wrong| !wrong.trim().is_empty() && *long != "--headers");
        if let Some(wrong) = wrong {
            assert_eq!(run(&[long, wrong, again, value]), Some(125), "{long} {wrong}");
        }
    }
    // These runs show the effect of the last value.
    let fails = || retry().args(["-d", "0"]).args(["--label", "a", "-n", "9"]);
    let run = fails().args(["-n", "2", "--label", "b", "--max=3"]).sh("exit 8").run();
    run.code(8).check(run.messages().len() == 3, "three attempts");
    run.check(run.messages().iter().all(|line| line.starts_with("retry: b: ")), "the last label");
    let run = retry().args(["-n", "9", "-u", "3", "--until", "4"]).sh("exit 4").run();
    run.code(0);
    let run = retry().args(["-p", "curl", "-p", "none", "-n", "9", "-d", "0", "-n1"]).sh("exit 3").run();
    run.code(3).says(&["retry: sh: gave up after 1 attempt in {T}: exited 3"]);
    let run = retry().args(["--timeout", "0.2", "--timeout", "60"]).sh("sleep 0.4").run();
    run.code(0).silent();
    for flags in
        [&["-v", "--verbose"][..], &["-vv"], &["-vvv"], &["--expand", "--expand"], &["--hold", "--hold"]]
    {
        retry().args(flags).arg("true").run().code(0);
    }
}

#[test]
fn what_is_repeatable_adds_up() {
    let status = |options: &[&str]| retry().args(options).sh("exit 8").run().status.code();
    assert_eq!(status(&["-x", "7", "-x", "8", "-r", "1", "-r", "2", "--label", "a"]), Some(8));
    assert_eq!(status(&["-x", "8", "-x", "7", "-d", "0"]), Some(8));
    let twice = retry().args(["--success-on", "8", "--success-on", "7"]).sh("exit 8").run();
    twice.code(8).silent();
    let run = retry().args(["-d0", "-n3", "-r", "8", "-r", "7"]).sh("exit 8").run();
    run.code(8).check(run.messages().len() == 3, "the first of two -r holds");
    retry().args(["-q", "-q", "-n1"]).sh("exit 8").run().code(8).silent();
}

/// A duration of zero means no limit, as in timeout(1).
#[test]
fn no_time_at_all_is_no_limit() {
    for zero in ["0", "0s", "0.0", "00"] {
        let run = retry()
            .args(["--timeout", zero, "--deadline", zero, "-n2", "-d0"])
            .sh("sleep 0.02; exit 8")
            .run();
        run.code(8).says(&[
            "retry: sh: attempt 1 of 2 exited 8; next in {T}",
            "retry: sh: gave up after 2 attempts in {T}: exited 8",
        ]);
    }
    // A zero cancels an earlier limit and its consequences.
    let run = retry().args(["--deadline", "60", "--deadline", "0", "-d0"]).sh("exit 8").run();
    run.code(8).check(run.messages().len() == 5, "five attempts, as without a deadline");
    let run = retry().args(["--timeout", "0.1", "--timeout", "0"]).sh("sleep 0.3").run();
    run.code(0).silent();
    let run = retry().args(["--breaker", "x", "--breaker-wait", "--deadline", "0"]).arg("true").run();
    run.code(125).stderr_contains("--breaker-wait needs a --deadline other than 0");
    run.stderr_contains("hint: limit the whole run: --deadline 10m");
    let run = retry().args(["--breaker", "x", "--breaker-wait"]).arg("true").run();
    run.code(125).stderr_contains("--breaker-wait needs --deadline\n");
    retry().args(["--splay", "0.01", "--deadline", "0"]).arg("true").run().code(0);
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let mut refusals = Refusals::new();
    for (options, named) in [
        ("--min-delay 5 --max-delay 2", ["--min-delay", "--max-delay"]),
        ("--min-delay 1.001 --max-delay 1", ["--min-delay", "--max-delay"]),
        ("--splay 9 --deadline 5", ["--splay", "--deadline"]),
        ("--splay 5 --deadline 5", ["--splay", "--deadline"]),
        ("-d 1,2 --backoff exponential", ["--backoff", "--delay"]),
        ("-d 1,2 --factor 2", ["--factor", "exponential"]),
        ("--factor 3 --backoff linear", ["--factor", "exponential"]),
        ("--factor 3 --backoff fibonacci", ["--factor", "exponential"]),
        ("--factor 3 --backoff constant", ["--factor", "exponential"]),
        ("-j decorrelated -d 1,2", ["--jitter", "decorrelated"]),
        ("-j decorrelated --backoff linear", ["--jitter", "decorrelated"]),
        ("-j decorrelated --factor 2", ["--factor", "--jitter decorrelated"]),
        ("-p curl,none", ["--profile", "curl,none"]),
        ("--breaker-failures 3", ["--breaker-failures", "--breaker"]),
        ("--breaker-cooldown 3", ["--breaker-cooldown", "--breaker"]),
        ("--breaker-wait --deadline 9", ["--breaker-wait", "--breaker"]),
        ("--breaker x --breaker-wait", ["--breaker-wait", "--deadline"]),
        ("--budget 20%", ["--budget", "name"]),
        ("--state s", ["--state", "--breaker"]),
        ("--json", ["--json", "--breaker-status"]),
        ("--breaker-status", ["--breaker-status", "COMMAND"]),
        ("--breaker-reset x", ["--breaker-reset", "COMMAND"]),
        ("--breaker-trip x=2h", ["--breaker-trip", "COMMAND"]),
        ("--profiles", ["--profiles", "COMMAND"]),
        ("--profiles=curl -n 3", ["--profiles", "COMMAND"]),
        ("--breaker-status --breaker-reset x", ["--breaker-status", "--breaker-reset"]),
        ("--breaker-trip x --breaker-reset x", ["--breaker-trip", "--breaker-reset"]),
    ] {
        let run = refusals.run(&options.split(' ').collect::<Vec<_>>());
        refusals.refused(&run, options, |cause| named.iter().all(|word| cause.contains(word)));
    }
    refusals.done();
    // These combinations only look contradictory.
    for options in [
        "--min-delay 2 --max-delay 2",
        "--splay 0 --deadline 5",
        "-d 1,2 -j full",
        "--factor 1 --backoff exponential",
        "--kill-after 1 --timeout 9",
        "--kill-after 0 --deadline 9",
        "-d 90",
        "--min-delay 90",
        "-x 7 -r 7",
        "--signal sigint",
        "--max UNLIMITED",
    ] {
        retry().args(options.split(' ')).arg("true").run().code(0).silent();
    }
}

#[test]
fn an_unknown_option_is_refused() {
    let mut refusals = Refusals::new();
    for (options, name, hint) in [
        ("--frob", "--frob", "--help"),
        ("--frob=5", "--frob", "--help"),
        ("-Z", "-Z", "--help"),
        ("-vZ", "-Z", "--help"),
        ("--max5", "--max5", "--max"),
        ("--retires-on=7", "--retires-on", "--retry-on"),
        ("-t 5", "-t", "--timeout"),
        ("-t5", "-t", "--max"),
        ("-m 5", "-m", "--max-delay"),
        ("-m 5", "-m", "--max"),
        ("--retries 3", "--retries", "--max"),
        ("--max_attempts=3", "--max_attempts", "--max"),
        ("--interval 3", "--interval", "--delay"),
        ("--max-time 3", "--max-time", "--deadline"),
        ("--on-failure", "--on-failure", "--retry-on"),
        ("--dry-run", "--dry-run", "-n 1 -v"),
        ("--dry-run", "--dry-run", "--plan shows"),
        ("--dry_run", "--dry_run", "--plan shows"),
        ("--simulate", "--simulate", "--plan shows"),
        ("--Timeout 3", "--Timeout", "--timeout"),
        ("-attempts 3", "-a", "--max"),
        ("-max-delay=3", "-m", "--max-delay"),
        ("-s 3", "-s", "--delay"),
        ("-5", "-5", "--max"),
    ] {
        let run = refusals.run(&options.split(' ').collect::<Vec<_>>());
        refusals.refused(&run, options, |cause| cause == format!("unknown option {name}"));
        if !run.stderr.lines().nth(1).is_some_and(|line| line.contains(hint)) {
            refusals.wrong.push(format!("{options}: no {hint} in {:?}", run.stderr));
        }
    }
    for options in [&[][..], &["--"], &["-v"], &["-n", "3", "--"]] {
        let run = retry().args(options).run();
        refusals.refused(&run, &format!("{options:?}"), |cause| cause == "no command to run");
    }
    refusals.done();
}

#[test]
fn the_table_above_has_every_option() {
    let help = retry().arg("--help").run();
    let help = String::from_utf8(help.code(0).stdout.clone()).unwrap();
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-') && line.contains("--"));
    let seen: BTreeSet<(&str, bool)> = lines
        .filter(|line| !line.starts_with("- "))
        .map(|line| {
            let long = line.find("--").map(|at| &line[at..]).unwrap();
            let name = long.split(|c: char| c != '-' && !c.is_ascii_lowercase()).next().unwrap();
            (name, line.contains('<'))
        })
        .collect();
    let valued = OPTIONS.iter().map(|(long, ..)| (*long, true));
    // The value of these options is optional, or they name files. Other tests cover them.
    let others =
        ["--breaker-status", "--hold", "--once", "--plan", "--policy", "--profiles", "--report", "--summary"];
    let others = others.into_iter().map(|long| (long, true));
    let table: BTreeSet<_> =
        valued.chain(FLAGS.iter().map(|(long, _)| (*long, false))).chain(others).collect();
    assert_eq!(seen, table);
}

#[test]
fn what_is_not_utf8_is_refused_in_an_option() {
    let mut refusals = Refusals::new();
    // The name of a file may contain any bytes, and so may a command.
    for (long, short, ..) in
        OPTIONS.iter().filter(|(long, ..)| !["--headers", "--state", "--check", "--on-retry"].contains(long))
    {
        for name in [long, short].into_iter().filter(|name| !name.is_empty()) {
            let run = refusals.run(&[OsStr::new(name), OsStr::from_bytes(b"\xff1")]);
            refusals.refused(&run, name, |cause| cause.contains("UTF-8") || names(cause, long, "\u{fffd}1"));
        }
        let joined = [long.as_bytes(), b"=1\xfe"].concat();
        let run = refusals.run(&[OsString::from_vec(joined)]);
        refusals.refused(&run, long, |cause| cause.contains("UTF-8") || names(cause, long, "1\u{fffd}"));
    }
    for option in [&b"--\xff"[..], b"-\xff", b"--max\xff"] {
        let run = refusals.run(&[OsStr::from_bytes(option)]);
        refusals.refused(&run, "not UTF-8", |cause| cause.contains("option"));
    }
    refusals.done();
}

/// A script that prints its own arguments, each ended by a NUL.
const CMDLINE: &str = "cat /proc/$$/cmdline; exit";

#[test]
fn args_are_bytes_and_come_as_they_are() {
    let odd: [&[u8]; 8] = [b"\xff\xfe", b"", b" a  b ", b"\n\t\x1b[1m", b"--max", b"{attempt}", b"*", b"-"];
    let all: Vec<u8> = (1..=255).collect();
    let args: Vec<&[u8]> = odd.into_iter().chain([all.as_slice()]).collect();
    let expected = [&[&b"sh"[..], b"-c", CMDLINE.as_bytes(), b"name"], &args[..]].concat();
    let expected: Vec<u8> = expected.into_iter().flat_map(|arg| [arg, b"\0"].concat()).collect();
    let args = || args.iter().map(|arg| OsStr::from_bytes(arg));
    retry().sh(CMDLINE).arg("name").args(args()).run().code(0).silent().stdout(&expected);
    retry().args(["sh", "-c", CMDLINE, "name"]).args(args()).run().code(0).silent().stdout(&expected);
}

#[test]
fn a_command_whose_name_is_not_utf8_runs_and_its_name_is_not_printed() {
    let scratch = Scratch::new();
    let name = b"x\xff\x1b[1m\ny";
    let path = scratch.join(OsStr::from_bytes(name));
    let script = scratch.script("script", "#!/bin/sh\nprintf %s \"${0##*/}\"\nexit 3\n");
    fs::rename(script, &path).unwrap();
    let err = scratch.join("stderr");
    let run = retry().args(["-n", "1"]).arg(&path).stderr(fs::File::create(&err).unwrap()).run();
    run.code(3).stdout(name);
    let line = String::from_utf8(fs::read(err).unwrap()).expect("what is printed is UTF-8");
    let start = "retry: command: gave up after 1 attempt in ";
    assert!(line.starts_with(start) && line.ends_with(": exited 3\n"), "{line:?}");

    // The name of a missing command is not printed either.
    let missing = scratch.join(OsStr::from_bytes(b"no\xff\x07"));
    let run = retry().arg(&missing).run();
    run.code(127).stdout("");
    run.says(&["retry: command: not retried: command not found{R}"]);
}

#[test]
fn a_label_is_printed_with_control_characters_escaped() {
    for (label, shown) in [
        ("db backup", "db backup"),
        ("a\x1b[31m\nb\tc\r", "a\\u{1b}[31m\\nb\\tc\\r"),
        ("\u{9b}x\u{202e}é", "\\u{9b}x\\u{202e}é"),
        ("-5", "-5"),
        ("%s{}", "%s{}"),
    ] {
        let run = retry().args(["-n", "1", "--label", label]).sh("exit 3").run();
        run.code(3).check(run.stderr.lines().count() == 1, "one line");
        run.check(run.stderr.starts_with(&format!("retry: {shown}: gave up after 1 attempt in ")), shown);
    }
}

#[test]
fn args_are_not_printed() {
    let run = retry().args(["-v", "-n", "2", "-d", "0"]).sh("exit 3 # s3cret").arg("s3cret").run();
    run.code(3).check(!run.stderr.contains("s3cret") && run.messages().len() == 2, "no secrets");
    let run = retry().args(["/does/not/exist", "s3cret"]).run();
    run.code(127).check(!run.stderr.contains("s3cret"), "no secrets");
}

#[test]
fn options_end_at_the_first_operand() {
    let words = ["-n", "5", "--max", "-h", "--help", "--", "-V", "--", "-Z"];
    let expected = "-n|5|--max|-h|--help|--|-V|--|-Z|";
    retry().args(["printf", "%s|"]).args(words).run().code(0).silent().stdout(expected);
    retry().args(["--", "printf", "%s|"]).args(words).run().code(0).silent().stdout(expected);
    retry().args(["-n", "2", "printf", "%s|"]).args(words).run().code(0).silent().stdout(expected);
    retry().args(["echo", "-n", "5", "--max"]).run().code(0).silent().stdout("5 --max");
    retry().args(["printf", "%s|", "--", "a"]).run().code(0).silent().stdout("--|a|");
    // A name after `--` may begin with a dash.
    retry().args(["--", "-n", "5"]).run().code(127).says(&["retry: -n: not retried: command not found{R}"]);
    retry().args(["--", "--", "x"]).run().code(127).says(&["retry: --: not retried: command not found{R}"]);
    retry().args(["-", "x"]).run().code(127).says(&["retry: -: not retried: command not found{R}"]);
}

#[test]
fn an_empty_name_is_not_found() {
    for args in [&[""][..], &["--", ""], &["-n", "3", "", "true"]] {
        let run = retry().args(args).run();
        run.code(127).stdout("").check(run.stderr.lines().count() == 2, "one line, and a hint");
        run.stderr_contains("command not found").stderr_contains("is a variable unset?");
    }
}

#[test]
fn an_empty_environment_stays_empty_but_for_the_attempt() {
    let run = retry().args(["-n", "3", "/usr/bin/env"]).env_clear().run();
    let mut lines: Vec<&str> = std::str::from_utf8(&run.stdout).unwrap().lines().collect();
    lines.retain(|line| !line.starts_with("RETRY_IDEMPOTENCY_KEY="));
    lines.sort_unstable();
    run.code(0).silent();
    assert_eq!(
        lines,
        ["RETRY_ATTEMPT=1", "RETRY_LAST_REASON=", "RETRY_LAST_STATUS=", "RETRY_MAX_ATTEMPTS=3"]
    );
    // Without PATH, a name is looked up in the same directories as in execvp(3).
    retry().args(["echo", "found"]).env_clear().run().code(0).silent().stdout("found\n");
}

#[test]
fn a_missing_name_of_its_own_costs_nothing() {
    let script = format!("exec -a '' '{BINARY}' \"$@\"");
    let bash = || Retry::new("bash").args(["-c", &script, "bash"]);
    bash().args(["-n", "1", "sh", "-c", "echo x; exit 3"]).run().code(3).stdout("x\n");
    bash().run().code(125).says(&["retry: no command to run", "retry: hint: {*}"]);

    // There is not even an empty argv[0]. Newer kernels add one.
    let binary = CString::new(BINARY).unwrap();
    let bare = retry().with(|command| {
        // SAFETY: execve is async-signal-safe. The lists end with a null pointer and live on this
        // stack.
        unsafe {
            command.pre_exec(move || {
                let none = [std::ptr::null()];
                libc::execve(binary.as_ptr(), none.as_ptr(), none.as_ptr());
                Err(io::Error::last_os_error())
            });
        }
    });
    bare.run().code(125).stdout("").says(&["retry: no command to run", "retry: hint: {*}"]);
}

#[test]
fn the_short_help_has_ten_options_on_one_screen() {
    let run = retry().arg("-h").run();
    let help = String::from_utf8(run.code(0).silent().stdout.clone()).unwrap();
    assert!(help.lines().count() <= 24, "{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    for word in ["-q,", "-p,", "Exit status:", "124", "125", "126", "127", "128+N", "75"] {
        assert!(help.contains(word), "{word} in {help}");
    }
    let options = help.lines().filter(|line| line.trim_start().starts_with('-'));
    let options: Vec<&str> =
        options.filter(|line| !line.contains("--help") && !line.contains("--version")).collect();
    assert_eq!(options.len(), 10, "{options:#?}");
    assert!(help.contains("  -h, --help"), "{help}");
    // The width and the size of the terminal do not matter, and neither does the position of `-h`.
    retry().args(["-v", "-h", "--frob"]).env("COLUMNS", "20").run().code(0).silent().stdout(&help);
}

#[test]
fn the_whole_help_fits_into_80_columns() {
    let run = retry().arg("--help").env("COLUMNS", "200").run();
    let help = String::from_utf8(run.code(0).silent().stdout.clone()).unwrap();
    for line in help.lines() {
        assert!(line.chars().count() <= 80, "{}: {line}", line.chars().count());
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    let version = format!("retry {}\n", env!("CARGO_PKG_VERSION"));
    for option in ["-V", "--version"] {
        retry().arg(option).run().code(0).silent().stdout(&version);
    }
    let help = retry().arg("--help").run();
    help.code(0).silent();
    let text = String::from_utf8(help.stdout.clone()).unwrap();
    for (long, short, ..) in OPTIONS {
        assert!(text.contains(long) && text.contains(short), "{long} {short}");
    }
}

#[test]
fn help_that_cannot_be_written_is_a_failure() {
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for option in ["--help", "-h", "-V", "--plan", "--profiles", "--profiles=curl"] {
        let run = retry().arg(option).stdout(full()).run();
        run.code(125).says(&["retry: cannot write to stdout: {*}"]);
    }
}

#[test]
fn help_that_nobody_reads_is_quiet() {
    for option in ["--help", "-h", "-V", "--plan", "--profiles", "--profiles=curl"] {
        let gone = || {
            let (reader, writer) = io::pipe().unwrap();
            drop(reader);
            writer
        };
        let run = retry().arg(option).stdout(gone()).run();
        let sigpipe = run.status.signal() == Some(libc::SIGPIPE);
        run.silent().check(sigpipe || run.status.code() == Some(0), "SIGPIPE or 0");
        retry().arg(option).stdout(gone()).ignoring(Signal::SIGPIPE).run().code(0).silent();
    }
}

/// If a pattern is not a valid regular expression, the message marks the position of the error.
#[test]
fn a_regex_that_is_none_is_shown_with_a_caret() {
    let scratch = Scratch::new();
    let log = scratch.log("ran");
    let run = retry().args(["--until", "stdout~ab(c"]).sh(log.echo("ran")).run();
    run.code(125).stdout("");
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(lines[..3], ["retry: --until stdout~ab(c: unclosed group", "retry:   ab(c", "retry:     ^"]);
    assert!(lines.len() == 4 && lines[3].starts_with("retry: hint: "), "{lines:?}");
    assert_eq!(log.lines(), [""; 0]);
    // Characters without width and control characters are shown escaped, and the caret allows for
    // that.
    let run = retry().args(["-r", "stderr~\u{1b}[31m(x"]).sh("exit 0").run();
    let lines: Vec<&str> = run.code(125).stderr.lines().collect();
    let column = lines[1].find("[31").unwrap();
    assert_eq!(lines[2].find('^'), Some(column), "{lines:?}");
}

#[test]
fn what_is_too_long_for_a_line_is_shortened() {
    let nines = "9".repeat(70_000);
    let run = retry().args(["-n", &nines, "true"]).run();
    let lines: Vec<&str> = run.code(125).stderr.lines().collect();
    assert!(
        lines.len() == 2 && lines[0].starts_with("retry: --max 999") && lines[0].len() < 400,
        "{lines:?}"
    );
    let threes = vec!["3"; 33_000].join(",");
    let run = retry().args(["-x", &threes]).sh("exit 3").run();
    run.code(3).says(&["retry: sh: not retried: exited 3 (fatal by --fatal-on 3,3{*}..{*}decide)"]);
}

#[test]
fn help_to_a_closed_stdout_is_a_failure() {
    for option in ["-h", "--help", "--version", "--plan", "--profiles"] {
        let script = format!("exec {BINARY} {option} >&-");
        let run = crate::support::Retry::new("sh").args(["-c", &script]).run();
        run.code(125).says(&["retry: cannot write to stdout: {*}"]);
    }
}

/// Compares the messages of each volume for a run that fails, a run that succeeds late, and a run
/// that succeeds at once.
#[test]
fn volumes_say_less_and_more() {
    let fails = "exit 3";
    let late = "[ $RETRY_ATTEMPT = 2 ]";
    let run = |options: &[&str], script: &str| {
        let run = retry().args(["-n", "2", "-d", "0.01", "-j", "none", "--label", "x"]).args(options);
        run.sh(script).run()
    };
    let attempt = "retry: x: attempt 1 of 2 exited 3; next in 10ms";
    let gave_up = "retry: x: gave up after 2 attempts in {T}: exited 3";
    let attempt_late = "retry: x: attempt 1 of 2 exited 1; next in 10ms";
    let succeeded = "retry: x: succeeded at attempt 2 of 2 in {T}";
    let decided = "retry: x: succeeded at attempt 2 of 2 in {T} (exit 0)";

    run(&[], fails).code(3).says(&[attempt, gave_up]);
    run(&[], late).code(0).says(&[attempt_late, succeeded]);
    for quiet in ["-q", "--quiet"] {
        run(&[quiet], fails).code(3).says(&[gave_up]);
        run(&[quiet], late).code(0).silent();
    }
    for silent in [&["-qq"][..], &["-q", "--quiet"], &["-qqq"]] {
        run(silent, fails).code(3).silent();
        run(silent, late).code(0).silent();
    }
    // With `-v` the message names the deciding rule.
    let verbose = "retry: x: attempt 1 of 2 exited 3 (any failure is retryable); next in 10ms";
    let gave_up_verbose = format!("{gave_up} (any failure is retryable)");
    run(&["-v"], fails).code(3).says(&[verbose, &gave_up_verbose]);
    // The last of the two options counts, so that users can override their aliases.
    for options in [&["-q", "-v"][..], &["-qq", "-v"], &["-qqv"], &["--quiet", "-v", "-q", "--verbose"]] {
        run(options, fails).code(3).says(&[verbose, &gave_up_verbose]);
    }
    for options in [&["-v", "-q"][..], &["-vq"], &["-q", "-v", "-q"], &["-qq", "-v", "--quiet"]] {
        run(options, fails).code(3).says(&[gave_up]);
    }
    for options in [&["-v", "-qq"][..], &["-vq", "-q"], &["--verbose", "--quiet", "--quiet"]] {
        run(options, fails).code(3).silent();
    }
    let verbose = "retry: x: attempt 1 of 2 exited 1 (--retry-on 1); next in 10ms";
    run(&["--verbose", "-r", "1"], late).code(0).says(&[verbose, decided]);
    // With `-v` retry reports the signals that it sends.
    let cut = retry().args(["-v", "-n1", "--timeout", "0.2", "sleep", "600"]).run();
    cut.code(124).says(&[
        "retry: sleep: sent TERM to process {*}",
        "retry: sleep: gave up after 1 attempt in {T}: timed out after 0.2s, ended by TERM \
         (any failure is retryable)",
    ]);
    for volume in [&[][..], &["-q"], &["-qq"]] {
        run(volume, "exit 0").code(0).silent();
    }
}
