//! The policies of `packaging/policies/` keep what their comments promise.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;

use crate::support::records::Records;
use crate::support::*;

fn shipped(name: &str) -> String {
    format!("{}/packaging/policies/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A run with one of the policies.
fn with(name: &str) -> Retry {
    retry().args(["--policy", &shipped(name)])
}

/// The limits that the command finds: the number of attempts, and a time limit in seconds.
#[track_caller]
fn limits(run: Retry, limit: u64) -> String {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let before = now();
    let run = run.sh("echo $RETRY_DEADLINE; printf %s \"$RETRY_MAX_ATTEMPTS\"").run();
    let after = now();
    let text = String::from_utf8(run.code(0).silent().stdout.clone()).unwrap();
    let (deadline, attempts) = text.split_once('\n').unwrap();
    let (deadline, limit) = (Duration::from_millis(deadline.parse().unwrap()), Duration::from_secs(limit));
    let second = Duration::from_secs(1);
    assert!(before + limit <= deadline + second && deadline <= after + limit + second, "{deadline:?}");
    attempts.to_owned()
}

/// The first wait that a run announces after a failure. It is not waited for.
fn first_wait(run: Retry, script: &str) -> String {
    let run = run.sh(script).spawn();
    run.wait_for_stderr("; next in ");
    run.signal(Signal::SIGTERM);
    run.wait_bounded().announced()[0].to_owned()
}

/// A script that fails with this status before the attempt with this number.
fn until(attempt: u32, status: u8) -> String {
    format!("[ $RETRY_ATTEMPT -ge {attempt} ] || exit {status}")
}

#[test]
fn each_has_a_comment_on_top_and_at_each_group_of_options() {
    let names = fs::read_dir(shipped("")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["ci", "cron", "fleet", "wait"]);
    for name in names {
        let text = fs::read_to_string(shipped(&name)).unwrap();
        for (n, paragraph) in text.trim_end().split("\n\n").enumerate() {
            let comments = paragraph.lines().filter(|line| line.starts_with('#')).count();
            assert!(comments > 0, "{name}: {paragraph}");
            assert_eq!(n == 0, paragraph.lines().count() == comments, "{name}: {paragraph}");
            assert!(paragraph.lines().all(|line| line.chars().count() <= 100), "{name}: {paragraph}");
        }
        assert!(text.contains(&format!("retry --policy {name} ")), "{name} shows its use");
        let records = Records::new();
        records.retry().args(["--policy", &shipped(&name), "--splay=0", "true"]).run().code(0).silent();
    }
}

#[test]
fn wait_looks_at_an_even_pace_until_the_service_is_up() {
    let run = with("wait").args(["-d", "0.01"]).sh(until(9, 1)).run();
    run.code(0).stderr_contains("succeeded at attempt 9 in");
    assert_eq!(limits(with("wait"), 10), "");
    assert_eq!(limits(with("wait").args(["--timeout", "0"]), 120), "");
    let wait = humantime::parse_duration(&first_wait(with("wait"), "exit 1")).unwrap();
    assert!((Duration::from_millis(500)..=Duration::from_secs(1)).contains(&wait), "{wait:?}");
    // The delay does not grow.
    let run = with("wait").args(["-d0.1", "-jnone"]).sh(until(4, 1)).run();
    assert_eq!(run.code(0).announced(), ["0.1s", "0.1s", "0.1s"]);
}

#[test]
fn wait_takes_no_failure_for_permanent_but_a_missing_command() {
    let scratch = Scratch::new();
    // The profile knows 3 as a wrong option.
    let tool = scratch.script("pg_isready", format!("#!/bin/sh\n{}\n", until(3, 3)));
    retry().args(["-d0"]).arg(&tool).run().code(3).stderr_contains("not retried: ");
    with("wait").args(["-d0"]).arg(&tool).run().code(0).stderr_contains("succeeded at attempt 3 in");
    with("wait").args(["-d0", "/no/such"]).run().code(127).stderr_contains("not retried: ");
    // A user adds what the answer must be.
    let run = with("wait").args(["-d0", "-u", "stdout~^3"]).sh("echo $RETRY_ATTEMPT").run();
    run.code(0).stdout("1\n2\n3\n");
}

#[test]
fn wait_takes_a_404_of_a_server_that_starts() {
    need!("curl");
    let server = Server::new([Reply::status(404), Reply::status(503), Reply::status(200)]);
    let run = with("wait").args(["-d0", "--", "curl", "-fsS", &server.url("/")]).run();
    run.code(0);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn ci_is_bounded_in_attempts_and_in_time() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let run = with("ci").args(["-d0"]).sh(format!("{}; exit 1", log.echo("ran"))).run();
    run.code(1).stderr_contains("gave up after 5 attempts in");
    assert_eq!(log.lines().len(), 5);
    assert_eq!(limits(with("ci"), 300), "5");
    assert_eq!(limits(with("ci").args(["--timeout=0"]), 900), "5");
    assert_eq!(first_wait(with("ci").args(["-jnone"]), "exit 1"), "2s");
    let answer = |wait: u32| {
        format!("printf 'HTTP/1.1 503 x\\r\\nRetry-After: {wait}\\r\\n\\r\\n'; {}; exit 1", log.echo("asked"))
    };
    let run = with("ci").args(["-p", "http"]).sh(answer(121)).run();
    run.code(1).stderr_contains("gave up after 1 attempt");
    let options = ["-p", "http", "-jnone"];
    assert_eq!(first_wait(with("ci").args(options), &answer(119)), "119s");
}

#[test]
fn cron_is_silent_about_what_recovers_and_mails_the_last_attempt_of_what_fails() {
    let script = "echo out $RETRY_ATTEMPT; echo err $RETRY_ATTEMPT >&2; [ $RETRY_ATTEMPT = $1 ]";
    let run = |good: &str| {
        let run = with("cron").args(["--splay=0", "-d0", "-n3", "--", "sh", "-c", script, "sh", good]);
        run.run()
    };
    run("3").code(0).stdout("out 3\n").stderr("err 3\n");
    let failed = run("none");
    failed.code(1).stdout("");
    let (output, error) = failed.stderr.split_once("retry: ").unwrap();
    assert_eq!(output, "out 3\nerr 3\n");
    assert!(error.starts_with("sh: gave up after 3 attempts in") && error.lines().count() == 1, "{error}");
}

#[test]
fn cron_begins_at_a_moment_of_its_own_and_has_an_hour() {
    assert_eq!(limits(with("cron").args(["--splay=0"]), 3600), "");
    let run = with("cron").args(["-v", "--seed=1", "true"]).spawn();
    run.wait_for_stderr("first attempt in ");
    run.signal(Signal::SIGTERM);
    run.wait_bounded().signal(Signal::SIGTERM).stderr_contains("(--splay 5m)");
    let verbose = |options: &[&str]| with("cron").args(["-v", "--splay=0", "-jnone"]).args(options);
    assert_eq!(first_wait(verbose(&[]), "exit 1"), "30s");
    assert_eq!(first_wait(verbose(&["-d1h"]), "exit 1"), "10m");
    let answer = "printf 'HTTP/1.1 503 x\\r\\nRetry-After: 1200\\r\\n\\r\\n'; exit 1";
    assert_eq!(first_wait(verbose(&["-phttp"]), answer), "20m");
}

#[test]
fn fleet_waits_for_the_breaker_and_then_asks_once() {
    let records = Records::new();
    let server = Server::new([Reply::status(200)]);
    let fleet = || records.retry().args(["--policy", &shipped("fleet")]);
    // Five failures open the breaker, and the run goes on to wait.
    let run = fleet().args(["-d0", "--breaker-cooldown=60"]).sh("exit 7").spawn();
    run.wait_for_stderr("breaker fleet is open");
    run.signal(Signal::SIGTERM);
    run.wait_bounded();
    assert_eq!(records.state("fleet"), "open");
    // A breaker that was opened by hand has no early probe, so this run can only wait.
    retry().env("RETRY_STATE", records.directory()).arg("--breaker-trip=fleet=1h").run().code(0);
    fleet().arg("--breaker-wait").arg("--deadline=0.1").arg("true").run().code(75);
    retry().env("RETRY_STATE", records.directory()).arg("--breaker-reset=fleet").run().code(0);
    retry().env("RETRY_STATE", records.directory()).arg("--breaker-trip=fleet=1s").run().code(0);
    let port = server.port();
    let request =
        format!("exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3");
    let words = ["--breaker-cooldown=0.1", "--", "bash", "-c", &request];
    let run = fleet().args(words).spawn();
    run.wait_for_stderr("breaker fleet is open");
    assert!(server.requests().is_empty(), "the service has its rest");
    run.wait_bounded().code(0);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn fleet_bounds_its_retries_and_its_delays() {
    let records = Records::new();
    let fleet = || records.retry().args(["--policy", &shipped("fleet")]);
    let log = records.scratch.log("log");
    let run = fleet().args(["-d0", "--breaker-failures=1000"]).sh(format!("{}; exit 7", log.echo("ran")));
    run.run().code(7).stderr_contains("budget fleet is spent");
    // A full budget has ten retries.
    assert_eq!(log.lines().len(), 11);
    assert_eq!(limits(fleet(), 30), "");
    assert_eq!(limits(fleet().args(["--timeout=0"]), 600), "");
    let fresh = Records::new();
    let fleet = || fresh.retry().args(["--policy", &shipped("fleet"), "-jnone"]);
    assert_eq!(first_wait(fleet(), "exit 7"), "1s");
    assert_eq!(first_wait(fleet().args(["-d1h"]), "exit 7"), "2m");
}
