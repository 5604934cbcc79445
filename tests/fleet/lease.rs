//! The lease of a probe: short, renewed by a run that lives, and over soon after its death.

use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::process::wait_until;
use crate::support::redis::{Redis, program};
use crate::support::scratch::quoted;
use crate::support::*;

/// A run that probes until the file `go` exists. Its breaker `b` is half-open.
fn probing(server: &Redis, log: &Log) -> Running {
    probing_with(server, "b", log, |run| run)
}

/// The same, with a breaker of this name and further options.
fn probing_with(server: &Redis, name: &str, log: &Log, further: impl Fn(Retry) -> Retry) -> Running {
    let options = ["-n1", "--breaker", name, "--breaker-failures", "1", "--breaker-cooldown", "0.01"];
    server.run(|run| run.args(options).sh("exit 7")).code(7);
    let go = quoted(server.scratch.join("go"));
    let script = format!("{}; until [ -e {go} ]; do sleep 0.05; done", log.echo("probe"));
    for _ in 0..20 {
        let before = log.lines().len();
        let running = further(server.retry().args(options).args(["--timeout", "10m"])).sh(&script).spawn();
        let has_begun = || log.lines().len() > before;
        // The cooldown may not be over yet.
        wait_until("the run probes or is refused", || has_begun() || running.ended());
        // On a very busy machine the server may not answer in time.
        if has_begun() && server.state(name) == "half-open" {
            return running;
        }
    }
    panic!("no run was served");
}

/// The field of the lease of breaker `b`.
fn lease(server: &Redis, field: &str) -> i64 {
    lease_of(server, "b", field)
}

fn lease_of(server: &Redis, name: &str, field: &str) -> i64 {
    server.read(name)["breaker"]["probe"][field].as_i64().unwrap()
}

fn refused(server: &Redis) -> Run {
    server.run(|run| run.args(["-n1", "--breaker", "b"]).sh("exit 0"))
}

#[test]
fn a_lease_is_renewed_while_its_probe_runs() {
    let Some(program) = program() else { return };
    let server = Redis::start(&program, &[]);
    let log = server.scratch.log("probes");
    let running = probing(&server, &log);
    let since = lease(&server, "since_ms");
    assert!(lease(&server, "length_ms") <= 15_000);
    refused(&server).code(75);
    // The budgets of these runs are in keys that another program uses, or that the user may not read.
    // That is no matter of the lease.
    for version in ["v1", "v2", "v3"] {
        server.ask(&["LPUSH", &format!("retry:{version}:list"), "x"]);
    }
    server.ask(&["ACL", "SETUSER", "some", "on", "nopass", "+@all", "~retry:*:d"]);
    let url = server.url().replace("//", "//some@");
    let others: Vec<(&str, Running, i64)> = [("c", "list", server.url()), ("d", "other", url)]
        .into_iter()
        .map(|(name, budget, url)| {
            let budget = format!("{budget}=20%");
            let log = server.scratch.log(name);
            let running = probing_with(&server, name, &log, |run| {
                run.env("RETRY_STATE", &url).args(["--budget", &budget])
            });
            (name, running, lease_of(&server, name, "since_ms"))
        })
        .collect();
    // The lease begins anew every five seconds.
    wait_until("the lease is renewed", || {
        // Each look starts a redis-cli.
        thread::sleep(Duration::from_millis(200));
        lease(&server, "since_ms") > since
    });
    assert!(lease(&server, "since_ms") >= since + 4500 && lease(&server, "length_ms") <= 15_000);
    refused(&server).code(75);
    wait_until("the other leases are renewed", || {
        thread::sleep(Duration::from_millis(200));
        others.iter().all(|(name, _, since)| lease_of(&server, name, "since_ms") > *since)
    });
    server.scratch.file("go", "");
    running.wait_bounded().code(0);
    assert_eq!(server.state("b"), "closed");
    for (name, running, _) in others {
        running.wait_bounded().code(0).stderr_contains("sharing budget ");
        assert_eq!(server.state(name), "closed", "the server keeps the breaker");
    }
}

#[test]
fn the_death_of_a_prober_frees_its_lease() {
    let Some(program) = program() else { return };
    let server = Redis::start(&program, &[]);
    let log = server.scratch.log("probes");
    let running = probing(&server, &log);
    running.signal(Signal::SIGKILL);
    running.wait_bounded().signal(Signal::SIGKILL);
    refused(&server).code(75).stderr_contains("probes, for 1");
    // Fifteen seconds later. Nobody waits for that in a test.
    let key = server.key("b");
    let mut record = server.read("b");
    let since = record["breaker"]["probe"]["since_ms"].as_i64().unwrap();
    record["breaker"]["probe"]["since_ms"] = (since - 15_000).into();
    server.ask(&["SET", &key, &record.to_string(), "KEEPTTL"]);
    refused(&server).code(0);
    assert_eq!(server.state("b"), "closed");
}

#[test]
fn a_server_that_hangs_holds_up_neither_the_probe_nor_its_output() {
    let Some(program) = program() else { return };
    let server = Redis::start(&program, &[]);
    let log = server.scratch.log("probes");
    let running = probing(&server, &log);
    server.signal(Signal::SIGSTOP);
    server.scratch.file("go", "");
    let run = running.wait_bounded();
    run.code(0).stderr_contains(" on this machine only, in ").stderr_contains("no answer within 500 ms");
}
