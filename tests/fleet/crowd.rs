//! Many runs at once, and runs and servers that die at any moment.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::redis::{Redis, program};
use crate::support::retry::nice;

/// The runs that begin at once.
const RUNS: usize = 300;

/// A run that has no answer within half a second goes on with files. It happens on a busy machine.
const AWAY: &str = " on this machine only, in ";

/// Starts runs with these options at once. Returns what they wrote.
fn crowd(server: &Redis, options: &[&str]) -> Vec<String> {
    let command = || -> Command {
        let mut command = nice();
        command.env("RETRY_STATE", server.url()).env("XDG_STATE_HOME", server.scratch.path());
        command.args(options).args(["--", "false"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    let children: Vec<_> = (0..RUNS).map(|_| command().spawn().unwrap()).collect();
    let outputs = children.into_iter().map(|child| {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        text
    });
    outputs.collect()
}

#[test]
fn nothing_that_three_hundred_runs_say_at_once_is_lost_in_silence() {
    let Some(program) = program() else { return };
    let server = Redis::start(&program, &[]);
    let options = ["-vn2", "-d0", "--breaker", "b", "--breaker-failures", "10000", "--budget", "1000/1h"];
    let texts = crowd(&server, &options);
    let count = |text: &str| texts.iter().map(|said| said.matches(text).count()).sum::<usize>();
    let (retries, refused) = (count("gave up after 2 attempts"), count("budget b is spent"));
    let (lost, away) = (count("this report is lost"), count(AWAY));
    assert_eq!(retries + refused, RUNS);
    // Each retry has taken a token. A little has come back meanwhile.
    let taken = 1_000_000_000_000 - server.read("b")["budget"]["billionths"].as_i64().unwrap();
    let taken = usize::try_from((taken + 999_999_999) / 1_000_000_000).unwrap();
    assert!(taken <= retries && taken + away + 30 >= retries, "{taken} of {retries}, {away} in files");
    let counted = usize::try_from(server.failures("b")).unwrap();
    let said = 2 * retries + refused;
    assert!(
        counted <= said && counted + lost + 2 * away >= said,
        "{counted} of {said}, {lost} lost, {away} in files"
    );
}

#[test]
fn what_is_killed_at_any_moment_leaves_no_torn_record() {
    let Some(program) = program() else { return };
    let server = Redis::start(&program, &[]);
    let options = ["-n50", "-d0", "--breaker", "b", "--breaker-failures", "100000", "--budget", "90%"];
    for round in 0..12u64 {
        let running = server.retry().args(options).sh("exit 7").spawn();
        thread::sleep(Duration::from_millis(round * 7));
        running.signal(Signal::SIGKILL);
        drop(running);
        // Another run reads what is left, and goes on from there.
        let run =
            server.retry().args(["-n1", "--breaker", "b", "--breaker-failures", "100000"]).sh("exit 7").run();
        run.code(7).check(!run.stderr.contains(AWAY), "the record is whole");
    }
    // The server dies in the middle of the attempts of a run.
    for round in 0..6u64 {
        let running = server.retry().args(options).args(["--deadline", "2s"]).sh("exit 7").spawn();
        thread::sleep(Duration::from_millis(20 + round * 7));
        server.kill();
        let run = running.wait_bounded();
        let told = run.stderr.matches(AWAY).count();
        run.check(told <= 1, "one warning").check(run.status.code() == Some(7), "the command runs");
        server.restart();
    }
}
