//! A retry inside an attempt of another one that holds the probe or a permit in a server.

use crate::support::process::wait_until;
use crate::support::redis::{Redis, program};
use crate::support::retry::BINARY;
use crate::support::scratch::quoted;
use crate::support::*;

/// Opens these breakers. A probe is due at once.
fn open(server: &Redis, names: &[&str]) {
    for name in names {
        let options = ["-n1", "--breaker", name, "--breaker-failures", "1", "--breaker-cooldown", "0.001"];
        server.run(|run| run.args(options).sh("exit 7")).code(7);
        assert_eq!(server.state(name), "open");
    }
}

/// The words of an inner retry with these options, in a shell.
fn inner(options: &str, script: &str) -> String {
    format!("{BINARY} -n1 {options} -- {script}")
}

/// A server, or the end of the test if this machine has none.
macro_rules! server {
    () => {
        match program() {
            Some(program) => Redis::start(&program, &[]),
            None => return,
        }
    };
}

#[test]
fn a_run_within_the_probe_is_the_probe_through_all_levels() {
    let server = server!();
    for script in [
        inner("--breaker b", "true"),
        // A run without a breaker hands the claim on.
        inner("", &inner("--breaker b", "true")),
        // The run between the two holds the probe of another breaker.
        inner("--breaker c", &inner("--breaker b", "true")),
        // The innermost run goes on with what the middle one has taken over.
        inner("--breaker b", &inner("--breaker b", "true")),
    ] {
        open(&server, &["b", "c"]);
        server.run(|run| run.args(["-n1", "--breaker", "b"]).sh(&script)).code(0);
        assert_eq!(server.state("b"), "closed", "{script}");
    }
    assert_eq!(server.state("c"), "open", "nobody has probed it again");
}

#[test]
fn a_probe_that_fails_within_a_probe_counts_once() {
    let server = server!();
    open(&server, &["b"]);
    // Both would report a failure. The record has another generation when the outer one does.
    let script = inner("--breaker b", "sh -c 'exit 7'");
    server.run(|run| run.args(["-n1", "--breaker", "b", "--breaker-cooldown", "1h"]).sh(&script)).code(7);
    let breaker = &server.read("b")["breaker"];
    assert_eq!((&breaker["state"], &breaker["probes"]), (&"open".into(), &1.into()), "{breaker}");
    assert_eq!(server.failures("b"), 2);
}

#[test]
fn a_claim_counts_only_as_long_as_the_record_has_it() {
    let server = server!();
    let log = server.scratch.log("claims");
    let go = server.scratch.join("go");
    let script = format!("{}; until [ -e {} ]; do sleep 0.05; done", log.echo("$RETRY_CLAIMS"), quoted(&go));
    let attempt = |claim: &str| {
        server.run(|run| run.env("RETRY_CLAIMS", claim).args(["-n1", "--breaker", "b"]).sh("exit 0"))
    };
    let mut earlier = "probe:1:b".to_owned();
    for round in 1..=2 {
        open(&server, &["b"]);
        let outer = (0..20)
            .find_map(|_| {
                let before = log.lines().len();
                let running = server.retry().args(["-n1", "--breaker", "b"]).sh(&script).spawn();
                wait_until("the run probes", || log.lines().len() > before || running.ended());
                // On a very busy machine the server may not answer in time.
                (server.state("b") == "half-open").then_some(running)
            })
            .expect("a run was served");
        let claim = log.lines().pop().unwrap();
        assert_eq!(claim, format!("probe:{}:b", server.read("b")["breaker"]["generation"]), "round {round}");
        let number = claim.split(':').nth(1).unwrap();
        for other in [&earlier, &format!("probe:{number}:c"), &format!("permit:{number}:b"), ""] {
            attempt(other).code(75).stderr_contains("probes, for ");
        }
        attempt(&claim).code(0);
        assert_eq!(server.state("b"), "closed");
        earlier = claim;
        std::fs::write(&go, "").unwrap();
        outer.wait_bounded().code(0);
        std::fs::remove_file(&go).unwrap();
    }
}

#[test]
fn a_run_within_an_attempt_with_a_permit_has_the_permit() {
    let server = server!();
    let recovers = || {
        open(&server, &["b"]);
        server.run(|run| run.args(["-n1", "--breaker", "b"]).sh("exit 0")).code(0);
    };
    let log = server.scratch.log("claims");
    // The window is one permit, and the outer run has it.
    recovers();
    let wait = "--breaker b --breaker-wait --deadline 30";
    let script = format!("{}; {}", log.echo("$RETRY_CLAIMS"), inner(wait, "true"));
    server.run(|run| run.args(["-n1"]).args(wait.split(' ')).sh(&script)).code(0);
    assert!(log.lines()[0].starts_with("permit:"), "{:?}", log.lines());
    let recovery = &server.read("b")["breaker"]["recovery"];
    assert_eq!(recovery["permits"].as_array().map(Vec::len), Some(0), "all permits have come back");
    // Without the claim, the run waits for its whole deadline.
    recovers();
    let wait = "--breaker b --breaker-wait --deadline 1";
    let script = format!("unset RETRY_CLAIMS; {}", inner(wait, "true"));
    server
        .run(|run| run.args(["-n1"]).args(wait.replace("deadline 1", "deadline 60").split(' ')).sh(&script))
        .code(75);
}

#[test]
fn an_attempt_without_a_claim_hands_none_down() {
    let server = server!();
    let show = "echo ${RETRY_CLAIMS-none}";
    server.run(|run| run.args(["-n1", "--breaker", "b"]).sh(show)).code(0).stdout("none\n");
    // What no retry writes is not handed on.
    retry().env("RETRY_CLAIMS", "x").sh(show).run().code(0).stdout("none\n");
    retry().env("RETRY_CLAIMS", "probe:7:b").sh(show).run().code(0).stdout("probe:7:b\n");
}
