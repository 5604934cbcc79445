//! Signals that arrive faster than retry reads them, and CONT signals without a stop of retry.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::process::{self, Entry, alive, descendants_of, stopped, wait_until, zombie};
use crate::support::retry::BINARY;
use crate::support::{Retry, Scratch, retry};

/// A thread that sends signals to a process without a pause until it is dropped.
struct Storm {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Storm {
    fn new(pid: i32, signals: &'static [Signal]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for signal in signals {
                    let _ = kill(Pid::from_raw(pid), *signal);
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A limit far below the duration of a storm.
const BOUNDED: Duration = Duration::from_secs(20);

const DEAF: &str = "trap '' USR1 USR2 WINCH CONT CHLD";

#[test]
fn signals_that_come_faster_than_retry_reads_them_put_off_no_limit() {
    need!("strace");
    let scratch = Scratch::new();
    let log = scratch.log("log");
    // strace makes each kill(2) of retry so slow that the next signals arrive meanwhile.
    let strace = ["-qq", "-o", "/dev/null", "-e", "trace=kill", "-e", "inject=kill:delay_enter=20000"];
    let running = Retry::new("strace").args(strace).arg(BINARY).args(["-n", "1", "--timeout", "0.5"]);
    let running = running.sh(format!("{DEAF}; {}; exec sleep 600", log.echo("$PPID"))).limit(BOUNDED).spawn();
    let pid = log.wait_for(1)[0].parse().unwrap();
    let storm = Storm::new(pid, &[Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGWINCH]);
    let run = running.wait_bounded();
    drop(storm);
    run.code(124).says(&["retry: sh: gave up after 1 attempt in {T}: timed out after 0.5s, ended by {*}"]);
}

#[test]
fn a_storm_from_several_senders_changes_nothing() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let running = retry().args(["-n", "1", "--timeout", "0.5"]).limit(BOUNDED);
    let running = running.sh(format!("{DEAF}; {}; exec sleep 600", log.echo("up"))).spawn();
    log.wait_for(1);
    let storms = [
        &[Signal::SIGCONT][..],
        &[Signal::SIGUSR1, Signal::SIGCONT, Signal::SIGWINCH],
        &[Signal::SIGCHLD, Signal::SIGUSR2],
    ]
    .map(|signals| Storm::new(running.pid(), signals));
    let run = running.wait_bounded();
    drop(storms);
    run.code(124).says(&["retry: sh: gave up after 1 attempt in {T}: timed out after 0.5s, ended by TERM"]);
}

#[test]
fn a_storm_does_not_keep_a_wait_from_its_end() {
    let running = retry().args(["-n", "2", "-d", "0.5", "-j", "none"]).sh("exit 7").limit(BOUNDED).spawn();
    running.wait_for_stderr("next in 0.5s");
    // The second attempt gets these signals as well, and they do not kill a command.
    let storm = Storm::new(running.pid(), &[Signal::SIGCONT, Signal::SIGWINCH]);
    running.wait_for_stderr("gave up after 2 attempts");
    drop(storm);
    running.wait_bounded().code(7);
    let running = retry().args(["-n", "2", "-d", "300", "-j", "none", "--max-delay", "300"]).sh("exit 7");
    let running = running.limit(BOUNDED).spawn();
    running.wait_for_stderr("next in 5m");
    // TERM has a higher number than these signals, so retry reads these first.
    let storm = Storm::new(running.pid(), &[Signal::SIGUSR1, Signal::SIGUSR2]);
    running.signal(Signal::SIGTERM);
    let run = running.wait_bounded();
    drop(storm);
    run.signal(Signal::SIGTERM).stderr_contains("interrupted by TERM during the wait after attempt 1");
}

#[test]
fn a_notice_that_comes_while_retry_starts_does_not_kill_it() {
    need!("strace");
    // retry is delayed after it has blocked the notices, and before it reads its options and blocks
    // the other signals.
    let inject = "inject=rt_sigprocmask:delay_exit=1000000:when=1";
    let strace =
        Retry::new("strace").args(["-qq", "-o", "/dev/null", "-e", "trace=rt_sigprocmask", "-e", inject]);
    let running = strace.arg(BINARY).args(["-n", "1"]).sh("exit 7").limit(BOUNDED).spawn();
    let mut pid = 0;
    wait_until("retry is held", || {
        let below = descendants_of(running.pid()).into_iter().filter_map(Entry::read);
        pid = below.filter(|entry| entry.name == "retry").map(|entry| entry.pid).next().unwrap_or(0);
        let blocked = process::signals(pid, "SigBlk:");
        blocked.contains(&Signal::SIGUSR1) && !blocked.contains(&Signal::SIGTERM)
    });
    process::send(pid, Signal::SIGUSR1);
    let run = running.wait_bounded();
    run.code(7).says(&["retry: sh: gave up after 1 attempt in {T}: exited 7"]);
}

#[test]
fn orphans_that_die_with_the_command_are_reaped_during_the_wait() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let running = retry().args(["--timeout", "60", "-d", "300", "-j", "none", "--max-delay", "300"]);
    let orphans = format!("for i in 1 2 3; do (sleep 600 & {}); done", log.echo("$!"));
    let running = running.sh(format!("{orphans}; {}; exec sleep 600", log.echo("$$"))).spawn();
    let pids: Vec<i32> = log.wait_for(4).iter().map(|line| line.parse().unwrap()).collect();
    wait_until("the orphans are retry's", || {
        pids.iter().all(|pid| process::parent_of(*pid) == Some(running.pid()))
    });
    running.signal(Signal::SIGSTOP);
    wait_until("retry is stopped", || stopped(running.pid()));
    for pid in &pids {
        process::send(*pid, Signal::SIGKILL);
    }
    wait_until("all are dead", || pids.iter().all(|pid| zombie(*pid)));
    running.signal(Signal::SIGCONT);
    running.wait_for_stderr("killed by KILL; next in 5m");
    wait_until("all are reaped", || pids.iter().all(|pid| process::state(*pid).is_none()));
    assert!(alive(running.pid()));
}
