//! If a record is damaged while a probe runs, no second run becomes a probe.

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::records::Records;
use crate::support::scratch::quoted;
use crate::support::{Log, Running, process, retry};

/// The longest time of a run that waits for nothing.
const SOON: Duration = Duration::from_secs(30);

/// A probe of breaker `b`, whose record is then damaged. The probe ends with `script` after the
/// file `go` exists.
fn probed_and_damaged(records: &Records, log: &Log, script: &str) -> Running {
    records.retry().args(["--breaker", "b", "--breaker-failures", "1", "-n1", "false"]).run().code(1);
    records.age("b", Duration::from_mins(1));
    let go = quoted(records.scratch.join("go"));
    let script = format!("{}; until [ -e {go} ]; do sleep 0.01; done; {script}", log.echo("probe"));
    let probe = records.retry().args(["--breaker", "b", "-n1"]).sh(script).limit(SOON).spawn();
    log.wait_for(1);
    assert_eq!(records.state("b"), "half-open");
    fs::write(records.path("b.json"), "garbage").unwrap();
    probe
}

#[test]
fn a_damaged_record_gives_no_second_probe_away() {
    for (script, status, state) in [("exit 0", 0, "closed"), ("exit 7", 7, "open")] {
        let records = Records::new();
        let log = records.scratch.log("log");
        let probe = probed_and_damaged(&records, &log, script);
        for n in 0..3 {
            let run = records.retry().args(["--breaker", "b"]).sh(log.echo("second")).run();
            run.code(75).stderr_contains("(its record was damaged), another run probes, for ");
            run.check((n == 0) == run.stderr.contains("retry renamed it to "), "set aside once");
        }
        let status_of = records.retry().arg("--breaker-status").run();
        let text = String::from_utf8_lossy(&status_of.stdout);
        status_of.code(0).check(text.contains("by another run"), "the probe in the table");
        // The record is damaged again, and a budget in the same record reads it first.
        fs::write(records.path("b.json"), "").unwrap();
        records.retry().args(["--budget", "b=20%", "true"]).run().code(0);
        records.retry().args(["--breaker", "b"]).sh(log.echo("second")).run().code(75);
        // The result of the probe counts.
        fs::write(records.scratch.join("go"), "").unwrap();
        probe.wait_bounded().code(status);
        assert_eq!((log.lines(), records.state("b").as_str()), (vec!["probe".to_owned()], state));
    }
}

#[test]
fn a_probe_that_died_leaves_its_damaged_record_to_the_next_run() {
    let records = Records::new();
    let log = records.scratch.log("log");
    let probe = probed_and_damaged(&records, &log, "exit 0");
    records.retry().args(["--breaker", "b", "true"]).run().code(75);
    kill(Pid::from_raw(probe.pid()), Signal::SIGKILL).unwrap();
    process::wait_until("it is dead", || probe.ended());
    fs::write(records.scratch.join("go"), "").unwrap();
    records.retry().args(["--breaker", "b", "-v", "true"]).run().code(0).stderr_contains("is the probe");
    assert_eq!(records.state("b"), "closed");
    // Without a probe, a run replaces a damaged record with a fresh one.
    fs::write(records.path("b.json"), "garbage").unwrap();
    retry().env("RETRY_STATE", records.directory()).args(["--breaker", "b", "true"]).run().code(0);
}

#[test]
fn a_run_that_the_probe_waits_for_goes_on_in_its_place() {
    let records = Records::new();
    records.retry().args(["--breaker", "b", "--breaker-failures", "1", "-n1", "false"]).run().code(1);
    records.age("b", Duration::from_mins(1));
    let record = quoted(records.path("b.json"));
    let script = format!("echo garbage >{record}; exec {} --breaker b true", crate::support::retry::BINARY);
    records.retry().args(["--breaker", "b", "-n1"]).sh(script).limit(SOON).run().code(0);
}
