//! A timeout ends the processes that the attempt started. It spares processes that lived below
//! retry before, and processes that those start during the attempt. Each side forks twice and
//! creates a new session, so that parents do not show the origin of a process.

use crate::support::process::{self, Doomed};
use crate::support::retry::BINARY;
use crate::support::{Log, Retry, Run, Scratch, each, retry};

/// Timeouts that the test tries in turn, until one is long enough for both sides.
const TIMEOUTS: [&str; 3] = ["0.6", "4", "16"];

/// A shell function that creates a daemon with `$2...` and writes the daemon's pid to a file.
const DAEMON: &str = r#"daemon() { file=$1; shift; ("$@" sh -c 'sleep 300 & echo $! >>"$0"' "$file" &); }"#;

/// A script that waits for the attempt's go, and creates a daemon with `how`.
fn makes_theirs(how: &str) -> String {
    format!("{DAEMON}; until [ -e \"$GO\" ]; do sleep 0.01; done; daemon \"$THEIRS\" {how}")
}

/// The script of the attempt: it gives the go, creates a daemon with `how`, and never ends.
fn makes_ours(how: &str) -> String {
    format!("{DAEMON}; >\"$GO\"; daemon \"$OURS\" {how}; exec sleep 300")
}

/// The processes that remain after a run with a timeout.
struct Left {
    run: Run,
    theirs: Vec<Doomed>,
    ours: Vec<Doomed>,
}

/// The living processes whose pids are in this log.
fn living(log: &Log) -> Vec<Doomed> {
    let pids = log.lines().into_iter().map(|pid| pid.parse().unwrap());
    pids.filter(|pid| process::alive(*pid)).map(Doomed::new).collect()
}

/// Tries the run of `make` with each timeout until both sides have created their daemons.
#[track_caller]
fn timed_out(make: impl Fn(&str) -> Retry) -> Left {
    for timeout in TIMEOUTS {
        let scratch = Scratch::new();
        let (theirs, ours) = (scratch.log("theirs"), scratch.log("ours"));
        let run = make(timeout)
            .env("GO", scratch.join("go"))
            .env("THEIRS", theirs.path())
            .env("OURS", ours.path())
            .run();
        let made = theirs.lines().len() == 2 && ours.lines().len() == 1;
        let (theirs, ours) = (living(&theirs), living(&ours));
        if made {
            run.code(124);
            return Left { run, theirs, ours };
        }
    }
    panic!("the daemons are missing");
}

/// Asserts that the attempt's processes are gone and the others live.
#[track_caller]
fn check(what: &str, left: &Left) {
    let Left { run, theirs, ours } = left;
    run.check(theirs.len() == 2 && ours.is_empty(), &format!("{what}: {theirs:?} alive, and {ours:?} not"));
    assert!(!run.stderr.contains("still alive"), "{what}: {}", run.stderr);
}

#[test]
fn a_timeout_spares_what_a_service_starts_that_lived_before_retry() {
    each([("exit", "setsid"), ("exec sleep 300", "setsid"), ("exit", "setsid env -i")], |(ends, how)| {
        let service = format!("{}; {ends}", makes_theirs(how));
        // The shell that calls exec leaves its own pid as one of two lines, or as the only line if
        // it ends.
        let script = r#"sh -c "$SERVICE" & sleep 300 & echo $! >>"$THEIRS"
            exec "$0" --timeout "$TIMEOUT" -n 1 -- sh -c "$COMMAND""#;
        let left = timed_out(|timeout| {
            let shell = Retry::new("sh").args(["-c", script, BINARY]);
            let shell = shell.env("SERVICE", &service).env("COMMAND", makes_ours("setsid"));
            shell.env("TIMEOUT", timeout)
        });
        check(&format!("{ends}, {how}"), &left);
    });
}

#[test]
fn a_timeout_spares_what_an_earlier_attempt_left_and_what_that_starts() {
    let cases = [
        ("sh -c", "setsid", "setsid"),
        // The daemon has no environment, but all older processes carry the key of the run.
        ("sh -c", "setsid", "env -i setsid"),
        // The environment does not show the daemon's origin, but its session does.
        ("setsid sh -c", "env -i", "setsid"),
    ];
    each(cases, |(how_it_was_left, theirs, ours)| {
        let command = format!(
            "if [ $RETRY_ATTEMPT = 1 ]; then {how_it_was_left} \"$LEFT\" & echo $! >>\"$THEIRS\"; exit 1; fi; {}",
            makes_ours(ours)
        );
        let service = format!("{}; exec sleep 300", makes_theirs(theirs));
        let left = timed_out(|timeout| {
            let options = ["-v", "-n", "2", "-d", "0", "--timeout", timeout];
            retry().args(options).sh(&command).env("LEFT", &service)
        });
        check(&format!("{how_it_was_left}, {theirs}, {ours}"), &left);
    });
}

#[test]
fn only_a_command_with_older_processes_and_a_limit_is_marked() {
    let script = r#"[ $RETRY_ATTEMPT = 2 ] || { sleep 300 >&2 & echo $! >>"$LOG"; }
        env >"$LOG.$RETRY_ATTEMPT"; exit 1"#;
    for (options, marks) in [(&["--timeout", "60"][..], 1), (&[], 0)] {
        let scratch = Scratch::new();
        let log = scratch.log("log");
        let run = retry().args(options).args(["-n", "2", "-d", "0"]).sh(script).env("LOG", log.path()).run();
        let _left = living(&log);
        run.code(1);
        let names = |attempt: u32| -> Vec<String> {
            let text = std::fs::read_to_string(scratch.join(format!("log.{attempt}"))).unwrap();
            text.lines().filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect()
        };
        let (first, second) = (names(1), names(2));
        let added: Vec<&String> = second.iter().filter(|name| !first.contains(name)).collect();
        assert_eq!(added, vec!["RETRY_ORIGIN"; marks], "{options:?}");
    }
}

#[test]
fn a_retry_within_an_attempt_leaves_the_outer_mark() {
    // The inner run has an older process of its own. The parents of its command's daemon do not
    // show the daemon's origin.
    let inner = format!(
        "sleep 300 >&2 & exec {BINARY} --timeout 100 -n 1 -- sh -c \"{DAEMON}; $INNER\"",
        DAEMON = DAEMON.replace('"', "\\\"").replace('$', "\\$"),
    );
    let command = format!(
        "if [ $RETRY_ATTEMPT = 1 ]; then sh -c \"$LEFT\" & echo $! >>\"$THEIRS\"; exit 1; fi; >\"$GO\"; {inner}"
    );
    let service = format!("{}; exec sleep 300", makes_theirs("setsid"));
    let left = timed_out(|timeout| {
        let retry =
            retry().args(["-n", "2", "-d", "0", "--kill-after", "0", "--timeout", timeout]).sh(&command);
        retry.env("LEFT", &service).env("INNER", "daemon \"$OURS\" setsid; exec sleep 300")
    });
    check("nested", &left);
}
