//! Runs that wait for a breaker: the time of their next look, and their behaviour if the record
//! cannot be read.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::records::Records;
use crate::support::scratch::quoted;
use crate::support::{Log, Running, process};

/// The longest time of a run that waits for nothing.
const SOON: Duration = Duration::from_secs(30);

/// A breaker with this cooldown that one failure has just opened.
fn opened(cooldown: &str) -> Records {
    let records = Records::new();
    let options = ["-n1", "--breaker", "b", "--breaker-failures", "1", "--breaker-cooldown", cooldown];
    records.retry().args(options).sh("exit 7").run().code(7);
    assert_eq!(records.state("b"), "open");
    records
}

/// The options of a run that waits for the breaker b.
const WAITS: [&str; 5] = ["--breaker", "b", "--breaker-wait", "--deadline", "200"];

#[test]
fn those_who_wait_come_back_by_the_cooldown_of_the_breaker_not_their_own() {
    let records = opened("0.5");
    let run =
        records.retry().args(WAITS).args(["--breaker-cooldown", "600"]).sh("exit 0").limit(SOON).spawn();
    let run = run.wait_bounded();
    run.code(0).check(run.took < Duration::from_secs(15), "back soon after the cooldown");
}

#[test]
fn while_runs_wait_one_of_them_probes_early_for_all() {
    let records = opened("600");
    let (log, up) = (records.scratch.log("log"), records.scratch.join("up"));
    let script = format!("{}; test -e {}", log.echo("ran"), quoted(&up));
    let start = |_| records.retry().args(WAITS).args(["-d0"]).sh(&script).limit(SOON).spawn();
    let waiting: Vec<_> = (0..8).map(start).collect();
    // The first probe comes after a second, the next a second later.
    log.wait_for(2);
    fs::write(&up, "").unwrap();
    for run in waiting {
        run.wait_bounded().code(0);
    }
    // Each run has succeeded once. A probe or two may have come before the file.
    assert!((10..=13).contains(&log.lines().len()), "{:?}", log.lines());
    assert_eq!(records.state("b"), "closed");
    // All permits have come back.
    assert_eq!(records.read("b")["breaker"]["recovery"]["permits"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_run_that_does_not_wait_notices_nothing_of_early_probes_and_permits() {
    let records = opened("600");
    let waiting = records.retry().args(WAITS).args(["-d0"]).sh("exit 7").limit(SOON).spawn();
    process::wait_until("an early probe has failed", || records.failures("b") >= 2);
    records.retry().args(["--breaker", "b"]).sh("exit 0").run().code(75).stderr_contains("next probe in ");
    waiting.signal(Signal::SIGTERM);
    waiting.wait_bounded().signal(Signal::SIGTERM);
    // It needs no permit: one is held by a run that does not end.
    let (records, gate) = (opened("600"), Records::new());
    let held = gate.scratch.log("held");
    let script = format!("{}; sleep 100", held.echo("runs"));
    records.retry().args(WAITS).sh("exit 0").run().code(0);
    let holder = records.retry().args(WAITS).sh(&script).limit(SOON).spawn();
    held.wait_for(1);
    records.edit("b", |record| record["breaker"]["recovery"]["window"] = 1000.into());
    records.retry().args(["--breaker", "b"]).sh("exit 0").run().code(0);
    // A run that waits has to wait for the permit. The permit comes back when its holder is killed.
    let next = records.retry().args(WAITS).sh("exit 0").limit(SOON).spawn();
    next.wait_for_stderr("lets the waiting runs back a few at a time");
    let status = records.retry().arg("--breaker-status=b").run();
    assert!(String::from_utf8_lossy(&status.stdout).contains("recovering"), "{status:?}");
    holder.signal(Signal::SIGKILL);
    next.wait_bounded().code(0);
    drop(holder);
}

#[test]
fn a_share_of_failures_opens_it() {
    let records = Records::new();
    let rate = ["-n1", "--breaker", "b", "--breaker-failures", "50%/6"];
    let attempt = |script: &str, code| {
        records.retry().args(rate).sh(script).run().code(code);
    };
    // Two failures of two would be enough, but half of six outcomes must be known.
    attempt("exit 7", 7);
    attempt("exit 0", 0);
    assert_eq!(records.state("b"), "closed");
    attempt("exit 0", 0);
    attempt("exit 7", 7);
    assert_eq!(records.state("b"), "open", "two of four");
    let run = records.retry().args(rate).sh("exit 0").run();
    run.code(75).stderr_contains("(2 failures, last: exited 7)");
}

#[test]
fn failures_that_are_too_old_do_not_count() {
    let records = Records::new();
    let run = |times: u64| {
        for _ in 0..times {
            records.retry().args(["-n1", "--breaker", "b"]).sh("exit 7").run().code(7);
        }
    };
    run(4);
    records.age("b", Duration::from_secs(601));
    run(4);
    assert_eq!((records.state("b").as_str(), records.failures("b")), ("closed", 4));
    run(1);
    assert_eq!(records.state("b"), "open");
}

/// A run that waits for the breaker and has seen that it is open.
fn waiting(records: &Records, deadline: &str, script: &str) -> Running {
    let options = ["--breaker", "b", "--breaker-wait", "--deadline", deadline, "-n1"];
    let run = records.retry().args(options).sh(script).limit(SOON).spawn();
    run.wait_for_stderr("looks again in ");
    run
}

/// A run that probes until it is killed.
fn probing(records: &Records) -> Running {
    let log = records.scratch.log("probe");
    let script = format!("{}; exec sleep 100", log.echo("probes"));
    let run = records.retry().args(WAITS).arg("-n1").sh(script).limit(SOON).spawn();
    log.wait_for(1);
    run
}

/// Makes the record unusable for other runs, at one stroke: if the record were missing for a moment,
/// the breaker would count as closed.
type Spoil = fn(&Records) -> Option<fs::File>;

/// Puts a link in the place of a file.
fn relink(records: &Records, file: &str) {
    let link = records.scratch.join("link");
    symlink("nowhere", &link).unwrap();
    fs::rename(link, records.path(file)).unwrap();
}

const SPOILT: [(&str, Spoil); 4] = [
    ("has been locked by process", |records| Some(records.locked("b"))),
    ("b.json is not a regular file", |records| {
        relink(records, "b.json");
        None
    }),
    ("was written by a newer retry (format version 3)", |records| {
        let newer = records.scratch.file("newer", "{\"version\": 3, \"clock\": 0}");
        fs::rename(newer, records.path("b.json")).unwrap();
        None
    }),
    ("b.json.lock is not a regular file", |records| {
        relink(records, "b.json.lock");
        // Without the lock file, only the time ends the lease of the probe.
        records.age("b", Duration::from_secs(400));
        None
    }),
];

/// Lets a run wait for a probe that runs, makes the record unusable, and ends the probe. The breaker
/// has a cooldown of 6000 s, and opened so long ago.
fn unanswered(opened_before: u64, spoil: Spoil) -> (Records, Running, Log, Option<fs::File>) {
    let records = opened("6000");
    records.age("b", Duration::from_secs(opened_before));
    let probe = probing(&records);
    let log = records.scratch.log("log");
    // A run that waits for a probe looks about every second.
    let run = waiting(&records, "200", &log.echo("ran"));
    let held = spoil(&records);
    probe.signal(Signal::SIGKILL);
    probe.wait_bounded().signal(Signal::SIGKILL);
    (records, run, log, held)
}

#[test]
fn no_answer_is_a_refusal_for_a_run_that_has_seen_it_open() {
    let waits =
        "retry: sh: breaker b is open since {*} (1 failure, last: exited 7), {*}; retry looks again in {T}";
    let cannot = "retry: sh: breaker b was open and cannot be used now, so the command is not run: {*}";
    let unusable =
        "breaker b is open since {*} (1 failure, last: exited 7), and its record cannot be used now; ";
    // The cooldown is over, so the run tries again and again.
    let ran = SPOILT.map(|(why, spoil)| (why, unanswered(7000, spoil)));
    for (why, (_records, run, log, _held)) in ran {
        run.wait_for_stderr("and its record cannot be used now; retry looks again in ");
        run.signal(Signal::SIGTERM);
        // The signal may come while the run waits for the lock. Then the message does not name the wait.
        let ended = "retry: sh: interrupted by TERM{*} before the first attempt{*}";
        let again = format!("retry: sh: {unusable}retry looks again in {{T}}");
        let told = format!("{cannot}{why}{{*}}");
        run.wait_bounded().signal(Signal::SIGTERM).stdout("").says(&[waits, &told, &again, ended]);
        assert!(log.lines().is_empty(), "{why}: {:?}", log.lines());
    }
    // The cooldown is longer than the deadline. Only an early probe would have come in time.
    let ran = SPOILT.map(|(why, spoil)| (why, unanswered(5, spoil)));
    for (why, (_records, run, log, _held)) in ran {
        let told = format!("{cannot}{why}{{*}}");
        let ended = format!(
            "retry: sh: not run: {unusable}the deadline of {{*}} comes first; \
             to close it: retry --breaker-reset={{*}}/b.json"
        );
        run.wait_bounded().code(75).stdout("").says(&[waits, &told, &ended]);
        assert!(log.lines().is_empty(), "{why}: {:?}", log.lines());
    }
}

#[test]
fn an_interrupted_wait_names_the_breaker() {
    let records = opened("60");
    let log = records.scratch.log("log");
    let run = waiting(&records, "100", &log.echo("ran"));
    run.signal(Signal::SIGTERM);
    run.wait_bounded().signal(Signal::SIGTERM).says(&[
        "retry: sh: breaker b is open since {*}; retry looks again in {T}",
        "retry: sh: interrupted by TERM during the wait for breaker b before the first attempt; the breaker is open \
         since {*} (1 failure, last: exited 7), next probe in {T}",
    ]);
    assert!(log.lines().is_empty());
    // The failure of this run has opened the breaker.
    let options = ["--breaker", "c", "--breaker-failures", "1", "--breaker-wait", "--deadline", "100"];
    let run = records.retry().args(options).args(["-n3", "-d0"]).sh("exit 7").limit(SOON).spawn();
    run.wait_for_stderr("; next in ");
    run.signal(Signal::SIGTERM);
    let run = run.wait_bounded();
    run.signal(Signal::SIGTERM).stderr_contains(
        "interrupted by TERM during the wait for breaker c after attempt 1 of 3; exited 7; the breaker is open since ",
    );
}

#[test]
fn who_gets_no_answer_looks_again_while_there_is_time() {
    let records = opened("1");
    let log = records.scratch.log("log");
    let run = waiting(&records, "25", &log.echo("ran"));
    let lock = records.locked("b");
    run.wait_for_stderr("cannot be used now, so the command is not run: ");
    assert!(log.lines().is_empty());
    drop(lock);
    run.wait_bounded().code(0);
    assert_eq!((log.lines().len(), records.state("b").as_str()), (1, "closed"));
}

#[test]
fn to_be_refused_takes_no_lock() {
    let records = opened("60");
    let _lock = records.locked("b");
    let log = records.scratch.log("log");
    let run = records.retry().args(["--breaker", "b"]).sh(log.echo("ran")).limit(SOON).run();
    run.code(75).says(&["retry: sh: not run: breaker b is open since {*}, next probe in {T}; {*}"]);
    assert!(log.lines().is_empty());
}

#[test]
fn a_probe_that_cannot_report_its_failure_is_no_licence_for_more_attempts() {
    let records = opened("60");
    records.age("b", Duration::from_secs(90));
    let (log, go) = (records.scratch.log("log"), records.scratch.join("go"));
    let script = format!("{}; until [ -e {} ]; do sleep 0.01; done; exit 7", log.echo("ran"), quoted(&go));
    let run = records.retry().args(["--breaker", "b", "-d0"]).sh(script).limit(SOON).spawn();
    log.wait_for(1);
    let lock = records.locked("b");
    fs::write(&go, "").unwrap();
    let run = run.wait_bounded();
    run.code(7).stderr_contains("cannot be used now").stderr_contains("gave up after 1 attempt");
    assert_eq!(log.lines().len(), 1);
    // The lease of the probe ended with the probe.
    drop(lock);
    records.retry().args(["--breaker", "b"]).sh("exit 0").run().code(0);
}

#[test]
fn a_damaged_record_is_begun_anew_as_those_who_wait_have_seen_it() {
    let records = opened("1");
    let (log, go) = (records.scratch.log("log"), records.scratch.join("go"));
    let script = format!("{}; until [ -e {} ]; do sleep 0.01; done", log.echo("ran"), quoted(&go));
    let run = waiting(&records, "20", &script);
    fs::write(records.path("b.json"), "damaged").unwrap();
    log.wait_for(1);
    // The waiting run is the probe, and no other run may start its command.
    assert_eq!(records.state("b"), "half-open");
    records.retry().args(["--breaker", "b"]).sh("exit 0").run().code(75).stderr_contains(" probes, for ");
    fs::write(&go, "").unwrap();
    run.wait_bounded().code(0).stderr_contains("the file was damaged; retry renamed it to ");
    process::wait_until("it is closed", || records.state("b") == "closed");
}
