//! Breaker and budget: the state that one run leaves for the next.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::process::{self, wait_until};
use crate::support::records::Records;
use crate::support::retry::BINARY;
use crate::support::{Log, Reply, Retry, Run, Scratch, Server, retry};

const HOUR: Duration = Duration::from_hours(1);

/// The longest time of a run that waits for nothing.
const SOON: Duration = Duration::from_secs(30);

impl Records {
    /// Makes a run of one attempt with this breaker.
    fn once(&self, options: &[&str], script: &str) -> Run {
        self.retry().args(["-n1", "--breaker", "b"]).args(options).sh(script).limit(SOON).run()
    }

    /// A breaker that this many failures have just opened.
    fn opened(failures: usize) -> Self {
        let records = Self::new();
        let threshold = failures.to_string();
        for _ in 0..failures {
            records.once(&["--breaker-failures", &threshold], "exit 7").code(7);
        }
        assert_eq!(records.state("b"), "open");
        records
    }
}

/// A script that logs its attempt and runs until the file `go` exists.
fn blocked(log: &Log, go: &str) -> String {
    format!("{}; until [ -e {go} ]; do sleep 0.01; done", log.echo("$RETRY_ATTEMPT"))
}

#[test]
fn failures_in_a_row_of_all_runs_open_it_and_then_nothing_runs() {
    let records = Records::new();
    let log = records.scratch.log("log");
    let script = format!("{}; exit 7", log.echo("ran"));
    for n in 1..=5 {
        let run = records.once(&[], &script);
        assert_eq!((run.code(7).messages().len(), records.failures("b")), (if n == 5 { 2 } else { 1 }, n));
        if n == 5 {
            // The run that opens the breaker reports it.
            run.stderr_contains("retry: sh: breaker b is open since ")
                .stderr_contains("(5 failures, last: exited 7), next probe in 30s\n");
        }
    }
    assert_eq!(log.lines().len(), 5);
    let run = records.once(&[], &script);
    let path = records.path("b.json");
    run.code(75).stdout("").says(&[&format!(
        "retry: sh: not run: breaker b is open since {{*}} (5 failures, last: exited 7), next probe in {{T}}; \
         to close it: retry --breaker-reset={}",
        path.display()
    )]);
    assert_eq!(log.lines().len(), 5, "nothing was run");
    // The message shows the time of the wall clock.
    let since = run.stderr.split("since ").nth(1).unwrap();
    // The date follows the time, because the user may read the line on another day.
    let date = since.split([' ', '(']).nth(2).unwrap_or_default();
    let shape: String = date.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert_eq!(shape, "9999-99-99", "{since}");
    let clock: Vec<&str> = since.split([':', ' ']).take(3).collect();
    assert!(clock.iter().all(|part| part.len() == 2 && part.parse::<u8>().is_ok()), "{since}");
    assert!(
        (run.stderr.contains("next probe in 30s")) || run.stderr.contains("next probe in 2"),
        "{}",
        run.stderr
    );
    // The breaker is open for every process, even for a run with other settings.
    records.once(&["--breaker-failures", "99", "--breaker-cooldown", "1"], &script).code(75);
    // With -q the run still reports why it failed. With -qq it prints nothing.
    records.once(&["-q"], &script).code(75).stderr_contains("not run");
    records.once(&["-qq"], &script).code(75).silent();
    // The command in the message closes the breaker.
    let command = run.stderr.trim_end().rsplit("retry ").next().unwrap().to_owned();
    retry().arg(&command).run().code(0).stderr("").assert().stdout(predicates::str::contains("is closed"));
    records.once(&[], "exit 0").code(0).silent();
    assert_eq!(records.failures("b"), 0);
}

#[test]
fn a_success_between_sets_the_count_to_nothing() {
    let records = Records::new();
    for script in ["exit 7", "exit 7", "exit 7", "exit 7", "exit 0", "exit 7", "exit 7", "exit 7", "exit 7"] {
        let _ = records.once(&[], script);
    }
    assert_eq!((records.state("b"), records.failures("b")), ("closed".into(), 4));
}

#[test]
fn what_the_service_is_not_to_blame_for_does_not_count() {
    let records = Records::new();
    records.once(&[], "exit 7").code(7);
    let before = records.read("b");
    let counted = |what: &str| assert_eq!(records.failures("b"), 1, "{what}");
    records.once(&["-x", "3"], "exit 3").code(3);
    counted("a fatal failure");
    records.once(&["-r", "9"], "exit 3").code(3);
    counted("a failure that --retry-on does not name");
    records.retry().args(["--breaker", "b", "/no/such/command"]).run().code(127);
    counted("a missing command");
    records.retry().args(["--breaker", "b", "-r", "127", "-n1", "/no/such/command"]).run().code(127);
    counted("a missing command, even where that is retried");
    let started = records.scratch.join("started");
    for (signal, script) in [
        (Signal::SIGTERM, "exec sleep 300"),
        (Signal::SIGINT, "trap 'exit 5' INT; while :; do sleep 0.01; done"),
    ] {
        let _ = fs::remove_file(&started);
        let script = format!("echo >{}; {script}", started.display());
        let running = records.retry().args(["--breaker", "b"]).sh(script).limit(SOON).spawn();
        wait_until("it runs", || started.exists());
        running.signal(signal);
        let _ = running.wait_bounded();
        counted("an interrupted attempt");
    }
    records.once(&["--timeout", "20", "--deadline", "0.2"], "exec sleep 300").code(124);
    counted("an attempt that the deadline cut before its timeout");
    assert_eq!(records.read("b")["breaker"], before["breaker"], "nothing else has changed");
    // Failures of the service do count.
    records.once(&["--timeout", "0.2"], "exec sleep 300").code(124);
    assert_eq!(records.failures("b"), 2, "a timeout");
    records.once(&["--timeout", "0.2", "-x", "timeout"], "exec sleep 300").code(124);
    assert_eq!(records.failures("b"), 3, "a timeout, even where it is not retried");
    records.once(&["--deadline", "0.2"], "exec sleep 300").code(124);
    assert_eq!(records.failures("b"), 4, "an attempt that had no other limit than the deadline");
    records.once(&["--success-on", "7"], "exit 7").code(7);
    assert_eq!(records.failures("b"), 0, "what counts as success is one");
}

#[test]
fn if_it_opens_between_two_attempts_the_run_ends_with_the_command_s_status() {
    let records = Records::new();
    let run = records.retry().args(["--breaker", "b", "--breaker-failures", "2", "-d0"]).sh("exit 7").run();
    run.code(7).says(&[
        "retry: sh: attempt 1 of 5 exited 7{R}; next in 0s",
        "retry: sh: gave up after 2 attempts in {T}: breaker b is open since {*} (2 failures, last: exited 7), next \
         probe in {T}; to close it: retry --breaker-reset={*}/b.json; exited 7{R}",
    ]);
    // The run also ends if another run opens the breaker during the wait.
    let records = Records::new();
    let log = records.scratch.log("log");
    let script = format!("{}; exit 7", log.echo("ran"));
    let running = records.retry().args(["--breaker", "b", "-d2", "-jnone", "-n2"]).sh(&script).spawn();
    running.wait_for_stderr("next in");
    records.retry().args(["--breaker-trip=b"]).run().code(0);
    running
        .wait_bounded()
        .code(7)
        .stderr_contains("held open by --breaker-trip")
        .stderr_contains("; exited 7");
    assert_eq!(log.lines().len(), 1);
}

#[test]
fn after_the_cooldown_one_run_probes_and_its_outcome_holds_for_all() {
    for (script, status, state) in [("exit 0", 0, "closed"), ("exit 7", 7, "open")] {
        let records = Records::opened(3);
        records.age("b", Duration::from_secs(31));
        let (log, go) = (records.scratch.log("log"), records.scratch.join("go"));
        let probe = format!("{}; {script}", blocked(&log, go.to_str().unwrap()));
        let running: Vec<_> = (0..20)
            .map(|_| records.retry().args(["-n1", "--breaker", "b", "-v"]).sh(&probe).limit(SOON).spawn())
            .collect();
        wait_until("all but the probe were refused", || {
            running.iter().filter(|run| run.ended()).count() == 19
        });
        assert_eq!(log.wait_for(1).len(), 1);
        assert_eq!(records.state("b"), "half-open");
        let refused = records.once(&[], "exit 0");
        let pid = records.read("b")["breaker"]["probe"]["pid"].clone();
        refused
            .code(75)
            .stderr_contains(&format!("(3 failures, last: exited 7), process {pid} probes, for "));
        fs::write(&go, "").unwrap();
        let runs: Vec<_> = running.into_iter().map(|run| run.wait_bounded()).collect();
        let (refused, probes): (Vec<_>, Vec<_>) = runs.iter().partition(|run| run.status.code() == Some(75));
        assert_eq!((refused.len(), probes.len()), (19, 1));
        probes[0].code(status).stderr_contains("the next attempt is the probe of breaker b");
        assert_eq!((log.lines().len(), records.state("b").as_str()), (1, state));
        if state == "open" {
            let breaker = &records.read("b")["breaker"];
            assert_eq!(
                (breaker["length_ms"].as_u64(), breaker["failures"].as_u64()),
                (Some(60_000), Some(4))
            );
            // After ten more failures the breaker is open for 16 times its cooldown, and never
            // longer.
            for _ in 0..10 {
                records.age("b", HOUR);
                records.once(&[], "exit 7").code(7);
            }
            assert_eq!(records.read("b")["breaker"]["length_ms"], 480_000);
        }
    }
}

#[test]
fn a_probe_that_shows_nothing_leaves_the_next_to_probe() {
    let records = Records::opened(3);
    records.age("b", HOUR);
    records.once(&["-x", "3"], "exit 3").code(3);
    assert_eq!(records.state("b"), "open");
    records.once(&[], "exit 0").code(0);
    assert_eq!(records.state("b"), "closed");
}

#[test]
fn the_lease_of_a_prober_ends_with_its_life_or_its_time() {
    for end in [Signal::SIGKILL, Signal::SIGSTOP] {
        let records = Records::opened(3);
        records.age("b", HOUR);
        let (log, go) = (records.scratch.log("log"), records.scratch.join("go"));
        let script = blocked(&log, go.to_str().unwrap());
        let options = ["-n1", "--breaker", "b", "--timeout", "100", "--kill-after", "10"];
        let prober = records.retry().args(options).sh(&script).limit(SOON * 2).spawn();
        log.wait_for(1);
        assert_eq!(records.read("b")["breaker"]["probe"]["length_ms"], 115_000);
        prober.signal(end);
        if end == Signal::SIGKILL {
            wait_until("it is dead", || prober.ended());
            records.once(&[], "exit 0").code(0);
        } else {
            wait_until("it is stopped", || process::stopped(prober.pid()));
            records.once(&[], "exit 0").code(75);
            records.age("b", Duration::from_secs(114));
            records.once(&[], "exit 0").code(75);
            records.age("b", Duration::from_secs(1));
            // The lease has expired, so another run probes, and fails.
            records.once(&[], "exit 7").code(7);
            let before = records.read("b");
            // The late success of the first prober changes nothing.
            fs::write(&go, "").unwrap();
            prober.signal(Signal::SIGCONT);
            prober.wait_bounded().code(0);
            assert_eq!(records.read("b"), before);
            records.once(&[], "exit 0").code(75);
            continue;
        }
        assert_eq!(records.state("b"), "closed");
    }
}

#[test]
fn a_background_process_of_the_prober_does_not_keep_the_lease() {
    let records = Records::opened(3);
    records.age("b", HOUR);
    let log = records.scratch.log("log");
    let script = format!("sleep 300 >/dev/null 2>&1 & {}; kill -KILL $PPID; sleep 300", log.echo("$!"));
    let _ = records.once(&["--signal", "KILL"], &script);
    let left = process::Doomed::new(log.wait_for(1)[0].parse().unwrap());
    assert!(left.alive());
    records.once(&[], "exit 0").code(0);
}

#[test]
fn polling_is_no_failure_of_the_service() {
    let records = Records::new();
    records.once(&[], "exit 7").code(7);
    let run =
        records.retry().args(["--breaker", "b", "-n9", "-d0", "-u", "stdout~ready"]).sh("echo pending").run();
    run.code(1).stderr_contains("gave up after 9 attempts");
    assert_eq!((records.state("b"), records.failures("b")), ("closed".into(), 0));
}

#[test]
fn what_the_deadline_cut_is_counted_by_all_at_once() {
    let records = Records::new();
    let options = ["--breaker", "b", "--breaker-failures", "99", "--deadline", "1", "--signal", "KILL"];
    let start = |_| records.retry().args(options).sh("exec sleep 300").limit(SOON).spawn();
    let running: Vec<_> = (0..20).map(start).collect();
    for run in running {
        let run = run.wait_bounded();
        run.code(124).check(!run.stderr.contains("continuing without"), "it reports the failure");
    }
    assert_eq!(records.failures("b"), 20);
}

#[test]
fn what_the_deadline_cut_is_counted_although_the_holder_of_the_lock_is_slow() {
    let records = Records::new();
    records.once(&[], "exit 7").code(7);
    let lock = records.locked("b");
    // This test lives and is not stopped: the signature says that it is the holder.
    writeln!(&lock, "{:>10} {:>20}", std::process::id(), 1).unwrap();
    let log = records.scratch.log("log");
    let script = format!("{}; exec sleep 300", log.echo("$$"));
    let options = ["--breaker", "b", "--deadline", "1", "--signal", "KILL"];
    let run = records.retry().args(options).sh(&script).limit(SOON).spawn();
    let command = log.wait_for(1)[0].parse().unwrap();
    wait_until("the deadline has cut it", || !process::alive(command));
    // Longer than a stopped holder would be waited for.
    thread::sleep(Duration::from_millis(1500));
    drop(lock);
    run.wait_bounded().code(124);
    assert_eq!(records.failures("b"), 2);
}

#[test]
fn polling_takes_from_the_budget_whatever_its_name() {
    for options in [&["--budget", "b=2/1d"][..], &["--breaker", "b", "--budget", "2/1d"]] {
        let records = Records::new();
        let run = records.retry().args(options).args(["-n9", "-d0", "-u", "failure", "true"]).run();
        run.code(1).stderr_contains("gave up after 3 attempts").stderr_contains("budget b is spent");
    }
}

#[test]
fn a_run_within_the_probe_is_the_probe() {
    let records = Records::opened(1);
    records.age("b", HOUR);
    let inner = format!("{BINARY} -n1 --breaker b -- sh -c 'exit 0'");
    records.once(&[], &inner).code(0);
    assert_eq!(records.state("b"), "closed");
}

#[test]
fn a_name_takes_no_option_for_its_value() {
    for option in ["--breaker", "--breaker-reset", "--breaker-trip", "--budget", "--state"] {
        for next in ["--", "-n", "--deadline"] {
            let run = retry().args([option, next, "1", "true"]).run();
            run.code(125).stderr_contains(&format!("{option} needs a value"));
        }
    }
    let records = Records::new();
    records.retry().args(["--breaker=-x", "-n1"]).sh("exit 7").run().code(7);
    assert_eq!(records.files(), ["-x.json", "-x.json.lock"]);
}

#[test]
fn a_server_that_says_when_keeps_it_open_so_long() {
    need!("curl");
    let records = Records::new();
    let server = Server::new([Reply::status(503).header("Retry-After", "100")]);
    let run = records
        .retry()
        .args(["--breaker", "b", "--breaker-failures", "1", "--", "curl", "-fsSi", &server.url("/")])
        .run();
    run.code(22);
    let length = records.read("b")["breaker"]["length_ms"].as_u64().unwrap();
    assert!((99_000..=100_000).contains(&length), "{length}");
    records.once(&[], "exit 0").code(75).stderr_contains("last: exited 22, HTTP 503, Retry-After 100s");
}

#[test]
fn who_waits_for_it_runs_when_the_probe_is_due() {
    let records = Records::opened(1);
    let log = records.scratch.log("log");
    records.age("b", Duration::from_millis(28_500));
    // Without the cooldown of the run that opened it, no probe comes early.
    records.edit("b", |record| record["breaker"]["cooldown_ms"] = serde_json::Value::Null);
    let wait = ["--breaker-wait", "--deadline", "60"];
    let began = Instant::now();
    let run = records.once(&wait, &log.echo("ran"));
    run.code(0).says(&["retry: sh: breaker b is open since {*} (1 failure, last: exited 7), next probe in {T}; retry looks again in {T}"]);
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!((log.lines().len(), records.state("b").as_str()), (1, "closed"));
    // The run's own failures open the breaker, too.
    let options = ["--breaker", "b", "--breaker-wait", "--deadline", "60", "-d0", "--breaker-failures", "1"];
    let script = "test $RETRY_ATTEMPT = 3";
    let began = Instant::now();
    let run = records.retry().args(options).args(["--breaker-cooldown", "0.5"]).sh(script).limit(SOON).run();
    run.code(0);
    // A run that waits probes after the cooldown, not after twice the cooldown.
    assert!(began.elapsed() >= Duration::from_secs(1), "0.5 s, and again: {:?}", began.elapsed());
    run.says(&[
        "retry: sh: breaker b is open since {*} (1 failure, last: exited 1), next probe in {T}",
        "retry: sh: attempt 1 exited 1; next in {T}",
        "retry: sh: breaker b is open since {*} (2 failures, last: exited 1), next probe in {T}",
        "retry: sh: attempt 2 exited 1; next in {T}",
        "retry: sh: succeeded at attempt 3 in {T}",
    ]);
    // A wait that does not fit into the deadline does not begin, and costs no token.
    let options =
        ["--breaker", "c", "--breaker-wait", "--deadline", "0.9s", "-d0", "--breaker-failures", "1"];
    let run = records.retry().args(options).args(["--budget", "3/h"]).sh("exit 7").run();
    run.code(7).stderr_contains("gave up after 1 attempt").stderr_contains("past the deadline of 0.9s");
    assert!(run.took < Duration::from_secs(5));
    assert!(records.read("c")["budget"].is_null());
}

#[test]
fn a_wait_past_the_deadline_is_not_begun_and_a_signal_ends_it() {
    let records = Records::opened(1);
    // Without the cooldown of the run that opened it, no probe comes early.
    records.edit("b", |record| record["breaker"]["cooldown_ms"] = serde_json::Value::Null);
    let wait = ["--breaker-wait", "--deadline", "20"];
    let run = records.once(&wait, "exit 0");
    run.code(75).says(&[
        "retry: sh: not run: breaker b is open since {*} (1 failure, last: exited 7), next probe in {T}, past the deadline of \
         20s; to close it: retry --breaker-reset={*}",
    ]);
    let running = records
        .retry()
        .args(["--breaker", "b", "--breaker-wait", "--deadline", "100"])
        .sh("exit 0")
        .limit(SOON)
        .spawn();
    running.wait_for_stderr("looks again in");
    running.signal(Signal::SIGTERM);
    running.wait_bounded().signal(Signal::SIGTERM).stderr_contains("interrupted by TERM");
}

#[test]
fn a_budget_lets_a_share_of_the_runs_retry() {
    let records = Records::new();
    let log = records.scratch.log("log");
    let script = format!("{}; exit 7", log.echo("$RETRY_ATTEMPT"));
    let run = || records.retry().args(["-n3", "-d0", "--budget", "b=20%"]).sh(&script).run();
    // The budget starts with ten tokens.
    let first: Vec<Run> = (0..5).map(|_| run()).collect();
    for run in &first {
        run.code(7).stderr_contains("gave up after 3 attempts");
    }
    let retries = || log.lines().iter().filter(|line| *line != "1").count();
    assert_eq!(retries(), 10);
    // Five runs then earn one token. The tokens that return over time are less than one.
    let runs: Vec<Run> = (0..20).map(|_| run()).collect();
    assert!((14..=15).contains(&retries()), "{}", retries());
    let refused = runs.iter().find(|run| run.stderr.contains("spent")).unwrap();
    refused
        .code(7)
        .stderr_contains(": budget b is spent, next retry allowed in ")
        .stderr_contains("s; exited 7\n");
    // The budget never holds up a first attempt.
    assert_eq!(log.lines().iter().filter(|line| *line == "1").count(), 25);
    records.age("b", Duration::from_secs(61));
    let before = retries();
    run().code(7);
    assert!((2..=3).contains(&(retries() - before)), "two have come back in a minute");
}

#[test]
fn a_budget_by_time_holds_for_all_runs_and_has_a_name_of_its_own() {
    let records = Records::new();
    let log = records.scratch.log("log");
    let script = format!("{}; exit 7", log.echo("ran"));
    let options = ["-n9", "-d0", "--breaker", "b", "--breaker-failures", "99", "--budget"];
    let run = records.retry().args(options).arg("other=3/h").sh(&script).run();
    run.code(7).stderr_contains("budget other is spent, next retry allowed in ");
    assert_eq!(log.lines().len(), 4);
    records.retry().args(options).arg("other=3/h").sh(&script).run().code(7);
    assert_eq!(log.lines().len(), 5);
    assert_eq!(records.files(), ["b.json", "b.json.lock", "other.json", "other.json.lock"]);
    assert_eq!(records.failures("b"), 5);
    // A budget without a name belongs to the breaker's record.
    records.retry().args(options).arg("2/h").sh(&script).run().code(7);
    assert_eq!(log.lines().len(), 8);
    assert!(records.read("b")["budget"].is_object());
    records.age("b", Duration::from_mins(30));
    records.retry().args(options).arg("2/h").sh(&script).run().code(7);
    assert_eq!(log.lines().len(), 10, "one has come back in half an hour");
}

#[test]
fn an_open_breaker_takes_nothing_from_the_budget() {
    let records = Records::new();
    let options = ["-n9", "-d0", "--breaker", "b", "--breaker-failures", "2", "--budget", "5/h"];
    records.retry().args(options).sh("exit 7").run().code(7).stderr_contains("breaker b is open");
    let tokens = || records.read("b")["budget"]["billionths"].as_u64().unwrap() / 1_000_000_000;
    assert_eq!(tokens(), 4, "one retry");
    records.retry().args(options).sh("exit 7").run().code(75);
    assert_eq!(tokens(), 4);
}

#[test]
fn the_table_shows_all_that_there_is() {
    let records = Records::opened(3);
    records.retry().args(["--budget", "all the load=20%", "-n2", "-d0"]).sh("exit 7").run().code(7);
    records
        .retry()
        .args(["--breaker-trip=window=2h"])
        .run()
        .code(0)
        .stdout_is(r"^breaker window is open until .*\d\d:\d\d:\d\d \(2h\); then one run probes\n$");
    records.age("b", Duration::from_secs(40));
    let table = records.retry().arg("--breaker-status").run();
    let text = String::from_utf8(table.code(0).silent().stdout.clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let heading: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(heading, ["NAME", "STATE", "FAILURES", "SINCE", "NEXT", "PROBE", "BUDGET"]);
    // The table has aligned columns.
    for column in ["STATE", "FAILURES", "SINCE", "NEXT", "BUDGET"].map(|name| lines[0].find(name).unwrap()) {
        for line in &lines {
            assert!(line[..column].ends_with("  ") && !line[column..].starts_with(' '), "{text}");
        }
    }
    let cells = |line: &str| {
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(cells(lines[1])[..5], ["all the load", "closed", "0", "-", "-"], "{text}");
    assert!(cells(lines[1])[5].ends_with(" of 10") && cells(lines[1])[5].starts_with('9'), "{text}");
    let row = cells(lines[2]);
    assert_eq!(
        (&row[..3], &row[4..]),
        (&["b", "open", "3"].map(String::from)[..], &["now", "-"].map(String::from)[..]),
        "{text}"
    );
    assert!(row[3].starts_with('4') && row[3].ends_with("s ago"), "{text}");
    assert_eq!(cells(lines[3])[..3], ["window", "open", "0"], "{text}");
    assert!(cells(lines[3])[4].starts_with("in "), "{text}");
    assert_eq!(lines.len(), 4);
}

#[test]
fn json_is_for_programs() {
    let records = Records::opened(3);
    records.retry().args(["--budget", "load=20%", "-n2", "-d0"]).sh("exit 7").run().code(7);
    let run = records.retry().args(["--breaker-status", "--json"]).run();
    let all: Value = serde_json::from_slice(&run.code(0).silent().stdout).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 2);
    let run = records.retry().args(["--json", "--breaker-status=b"]).run();
    let one: Value = serde_json::from_slice(&run.code(0).silent().stdout).unwrap();
    assert_eq!((&one["name"], &one["state"], &one["failures"]), (&"b".into(), &"open".into(), &3.into()));
    assert_eq!((&one["last"], one["path"].as_str()), (&"exited 7".into(), records.path("b.json").to_str()));
    let left = one["next_probe_seconds"].as_f64().unwrap();
    assert!(left > 0.0 && left <= 30.0, "{one}");
    humantime::parse_rfc3339(one["since"].as_str().unwrap()).unwrap();
    assert_eq!(all[1]["budget"]["size"], 10, "{all}");
    assert_eq!((&one["cause"], &one["failed_probes"]), (&"failures".into(), &0.into()));
    let run = records.retry().args(["--breaker-status=none", "--json"]).run();
    let none: Value = serde_json::from_slice(&run.code(0).stdout).unwrap();
    assert_eq!((&none["state"], &none["since"]), (&"closed".into(), &Value::Null));
    run.says(&["retry: {*}/none.json does not exist yet"]);
    // A time that no date format can show does not hide the rest of the record.
    records.edit("b", |record| record["breaker"]["first_ms"] = (-1_000_000_000_000_000_i64).into());
    let run = records.retry().args(["--breaker-status", "--json"]).run();
    let all: Value = serde_json::from_slice(&run.code(0).stdout).unwrap();
    assert_eq!((all.as_array().unwrap().len(), &all[0]["since"]), (2, &Value::Null));
}

#[test]
fn tripped_it_stays_open_until_its_time_or_a_reset() {
    let records = Records::new();
    records.retry().args(["--breaker-trip", "b"]).run().code(0);
    assert_eq!(records.read("b")["breaker"]["length_ms"], 3_600_000);
    let run = records.once(&[], "exit 0");
    run.code(75).stderr_contains("(held open by --breaker-trip), next probe in ");
    records.age("b", HOUR);
    records.once(&[], "exit 0").code(0);
    assert_eq!(records.state("b"), "closed");
    records.retry().args(["--breaker-trip=b=90m"]).run().code(0);
    let run = records.retry().args(["--breaker-reset=b"]).run();
    run.code(0).stdout_is("^breaker b is closed; it was open for .*\n$");
    records.once(&[], "exit 0").code(0);
    // A breaker without a record counts as closed, and the message says that the record does not
    // exist.
    let run = records.retry().args(["--breaker-reset=typo"]).run();
    run.code(0).stdout_is("^breaker typo is closed; .*/typo.json does not exist yet\n$");
    assert_eq!(records.files(), ["b.json", "b.json.lock"]);
    retry().arg("--breaker-status").env("RETRY_STATE", records.path("none")).run().code(0).silent();
}

impl Run {
    /// Asserts that stdout matches this regular expression.
    #[track_caller]
    fn stdout_is(&self, pattern: &str) -> &Self {
        use predicates::Predicate;
        let text = String::from_utf8_lossy(&self.stdout);
        self.check(predicates::str::is_match(pattern).unwrap().eval(&text), pattern)
    }
}

#[test]
fn the_state_is_where_the_user_or_xdg_has_it_for_its_owner_alone() {
    let scratch = Scratch::new();
    let home = scratch.path().to_str().unwrap().to_owned();
    let run = |variables: &[(&str, &str)], options: &[&str]| {
        let run = retry().env_clear().env("PATH", "/usr/bin:/bin").dir(scratch.path());
        let run = variables.iter().fold(run, |run, (name, value)| run.env(name, value));
        run.args(options)
            .args(["-n1", "--breaker", "b"])
            .sh("exit 7")
            .with(|command| {
                use std::os::unix::process::CommandExt;
                // SAFETY: umask(2) only sets a number.
                unsafe {
                    command.pre_exec(|| {
                        nix::sys::stat::umask(nix::sys::stat::Mode::empty());
                        Ok(())
                    });
                }
            })
            .run()
            .code(7)
            .check_says_nothing_of_state();
    };
    let there = |path: &str| {
        let directory = scratch.join(path);
        assert!(directory.join("b.json").is_file(), "{path}");
        let mode = |name: &str| fs::metadata(directory.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("b.json"), mode("b.json.lock"), mode("")), (0o600, 0o600, 0o700), "{path}");
    };
    run(&[("HOME", &home)], &[]);
    there(".local/state/retry");
    run(&[("HOME", &home), ("XDG_STATE_HOME", &format!("{home}/xdg"))], &[]);
    there("xdg/retry");
    run(&[("HOME", &home), ("RETRY_STATE", &format!("{home}/own/deep"))], &[]);
    there("own/deep");
    run(&[("HOME", &home), ("RETRY_STATE", "x")], &["--state", "relative"]);
    there("relative");
    // A name that is a path means that file.
    let path = scratch.join("file");
    retry().args(["-n1", "--breaker", "./file"]).sh("exit 7").dir(scratch.path()).run().code(7);
    assert!(path.is_file() && scratch.join("file.lock").is_file());
    let run = retry().args(["-n1", "--breaker-failures", "1", "--breaker"]).arg(&path).sh("exit 7").run();
    run.code(7);
    let run = retry().arg("--breaker").arg(&path).arg("true").run();
    run.code(75).stderr_contains(&format!("--breaker-reset={}", path.display()));
}

impl Run {
    #[track_caller]
    fn check_says_nothing_of_state(&self) {
        self.check(!self.stderr.contains("without"), "no word of shared state");
    }
}

#[test]
fn without_home_the_password_database_has_it() {
    // The test checks only that retry looks there, because the user may lack the right to write
    // there.
    let run = retry()
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .args(["--breaker-status=no-such-name-in-any-home"])
        .run();
    let home = Retry::new("sh").args(["-c", "getent passwd $(id -u) | cut -d: -f6"]).run();
    let home = String::from_utf8(home.stdout).unwrap();
    run.code(0).stderr_contains(&format!("{}/.local/state/retry/", home.trim().trim_end_matches('/')));
}

#[test]
fn nothing_is_kept_or_asked_without_the_options() {
    let scratch = Scratch::new();
    let run = retry().env("HOME", scratch.path()).args(["-n2", "-d0"]).sh("exit 7").run();
    run.code(7);
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn the_command_has_no_part_in_lock_or_lease_and_neither_is_held_while_it_runs() {
    let records = Records::opened(1);
    records.age("b", HOUR);
    // The run is a probe, which holds its lease meanwhile.
    let inner = format!("{BINARY} --breaker-status; {BINARY} --breaker-trip=b");
    let run = records.once(&[], &format!("ls -l /proc/self/fd; {inner}"));
    let text = String::from_utf8(run.code(0).stdout.clone()).unwrap();
    assert!(!text.contains("b.json"), "{text}");
    assert!(text.contains("half-open") && text.contains("is open until"), "{text}");
    assert_eq!(records.state("b"), "open", "what was tripped meanwhile stays so");
}
