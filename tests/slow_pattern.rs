//! A slow pattern delays neither limits, nor signals, nor the passing bytes.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::process::{start_time, wait_until};
use crate::support::{Retry, Scratch, retry};

/// A match of the output here takes many seconds. A run that does not wait for the match ends much
/// earlier than this limit.
const SOON: Duration = Duration::from_secs(10);

/// For each byte the matcher tracks thousands of states.
const SLOW: [&str; 2] = ["-r", "output~a.{2000}c"];

/// The length of the output, which is one line.
const LENGTH: usize = 300_000;

const WRITES: &str = "head -c 300000 /dev/zero | tr '\\0' a";

const UNMATCHED: &str = "retry could not search all of the output in time; the rest counts as no match";

fn slow() -> Retry {
    retry().args(SLOW).args(["-d0", "--kill-after=0"]).limit(Duration::from_secs(50))
}

#[test]
fn a_limit_comes_in_time_and_the_output_passes_whole() {
    let stays = format!("{WRITES}; exec sleep 600");
    let fails = format!("{WRITES}; exit 3");
    let ends = format!("{WRITES}; exit 0");
    // A command that ended in time keeps its status.
    let start =
        |(limit, script, status): (_, &String, _)| (status, slow().args(["-n1", limit]).sh(script).spawn());
    for (status, running) in [
        ("--timeout=2", &stays, 124),
        ("--deadline=2", &stays, 124),
        ("--timeout=2", &fails, 3),
        ("--deadline=2", &ends, 0),
    ]
    .map(start)
    {
        let run = running.wait_bounded();
        run.code(status).stderr_contains(UNMATCHED);
        run.check(run.took < SOON, "soon after the limit");
        run.check(run.stdout.len() == LENGTH, &format!("all output, not {} bytes", run.stdout.len()));
    }
}

#[test]
fn a_signal_is_answered_while_the_command_runs_and_after_its_end() {
    let scratch = Scratch::new();
    for (end, signal) in [("exec sleep 600", true), ("exit 7", false)] {
        let log = scratch.log("log");
        let running = slow().sh(format!("{WRITES}; {}; {end}", log.echo("$$"))).spawn();
        let pid = log.wait_for(1)[0].parse().unwrap();
        if !signal {
            wait_until("the command is reaped", || start_time(pid).is_none());
        }
        let at = Instant::now();
        running.signal(Signal::SIGTERM);
        let run = running.wait_bounded();
        run.check(at.elapsed() < SOON, "soon after the signal");
        run.stderr_contains(UNMATCHED);
        match signal {
            true => run.signal(Signal::SIGTERM),
            false => run.check(run.status.code() != Some(0), "a failure"),
        };
    }
}

#[test]
fn the_next_attempt_begins_though_the_last_is_still_matched() {
    let script = format!("[ $RETRY_ATTEMPT = 2 ] && echo done && exit 0; {WRITES} >&2; exec sleep 600");
    let run = slow().args(["--timeout=2", "-r", "timeout"]).sh(script).run();
    run.code(0).stdout("done\n").stderr_contains(UNMATCHED);
    run.check(run.took < SOON, "soon");
}

#[test]
fn without_a_limit_the_verdict_waits_for_the_match() {
    // The match takes a few seconds at most, and outlasts the command.
    let line = "head -c 200000 /dev/zero | tr '\\0' b; echo a; head -c 50 /dev/zero | tr '\\0' x; echo ay";
    let run = retry().args(["-x", "stdout~x{40}.{0,60}y$", "-d0"]).sh(format!("{line}; exit 3")).run();
    run.code(3).stderr_contains("fatal by --fatal-on");
    run.check(!run.stderr.contains(UNMATCHED), "it was matched");
}
