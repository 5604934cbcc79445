//! `--once` in several runs at the same time: one makes the answer, and the others wait for it or
//! take over.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::retry::{BINARY, nice};
use crate::support::scratch::quoted;
use crate::support::{Log, Retry, Running, Scratch, process, retry};

/// The longest time of a run that waits for nothing.
const SOON: Duration = Duration::from_secs(30);

fn once(path: &Path) -> Retry {
    retry().arg("--once").arg(path)
}

/// A run that is making the answer, until the file `go` exists. Then it ends with this command.
fn maker(scratch: &Scratch, log: &Log, end: &str) -> Running {
    let script = format!(
        "{}; until [ -e {} ]; do sleep 0.01; done; {end}",
        log.echo("up"),
        quoted(scratch.join("go"))
    );
    let running = once(&scratch.join("answer")).arg("-n1").sh(script).spawn();
    log.wait_for(1);
    running
}

/// A run that waits for the answer.
fn waiter(scratch: &Scratch, deadline: &str, script: &str) -> Running {
    let running =
        once(&scratch.join("answer")).args(["-n1", "--deadline", deadline]).sh(script).limit(SOON).spawn();
    running.wait_for_stderr("retry waits for it\n");
    running
}

#[test]
fn a_second_run_waits_for_the_first_or_does_not_run() {
    let scratch = Scratch::new();
    let (log, path) = (scratch.log("log"), scratch.join("answer"));
    let first = maker(&scratch, &log, "echo the answer");
    let by = format!("process {} is making {}", first.pid(), path.display());
    let refused = once(&path).sh(log.echo("ran")).limit(SOON).run();
    refused
        .code(75)
        .stdout("")
        .stderr(&format!("retry: sh: not run: {by}; with --deadline, retry waits for it\n"));
    once(&path).arg("-qq").sh(log.echo("ran")).limit(SOON).run().code(75).silent();
    let late = once(&path).args(["--deadline", "0.3"]).sh(log.echo("ran")).limit(SOON).run();
    late.code(75).says(&[
        &format!("retry: sh: {by}; retry waits for it"),
        &format!("retry: sh: not run: {by}, and the deadline of 0.3s has passed"),
    ]);
    let waiting = waiter(&scratch, "1h", &log.echo("ran"));
    let ended = waiter(&scratch, "1h", &log.echo("ran"));
    ended.signal(Signal::SIGTERM);
    ended.wait_bounded().signal(Signal::SIGTERM).says(&[
        &format!("retry: sh: {by}; retry waits for it"),
        &format!(
            "retry: sh: interrupted by TERM during the wait for {} before the first attempt",
            path.display()
        ),
    ]);
    scratch.file("go", "");
    first.wait_bounded().code(0).stdout("the answer\n");
    waiting.wait_bounded().code(0).stdout("the answer\n").says(&[
        &format!("retry: sh: {by}; retry waits for it"),
        &format!("retry: sh: not run: done {{T}} ago ({})", path.display()),
    ]);
    assert_eq!(log.lines(), ["up"]);
    assert!(!scratch.join("answer.lock").exists());
}

#[test]
fn a_run_takes_over_if_the_first_one_fails_or_dies() {
    for killed in [false, true] {
        let scratch = Scratch::new();
        let log = scratch.log("log");
        // A process that the command leaves behind does not keep the lock.
        let first = maker(&scratch, &log, "sleep 300 >/dev/null 2>&1 & echo $!; exit 7");
        let second = waiter(&scratch, "1h", "echo second");
        if killed {
            first.signal(Signal::SIGKILL);
        } else {
            scratch.file("go", "");
        }
        second.wait_bounded().code(0).stdout("second\n");
        assert_eq!(fs::read(scratch.join("answer")).unwrap(), b"second\n");
        drop(first);
        assert!(!scratch.join("answer.lock").exists());
    }
}

#[test]
fn a_background_process_of_the_command_does_not_keep_the_lock() {
    let scratch = Scratch::new();
    let path = scratch.join("answer");
    let run = once(&path).arg("-n1").sh("sleep 300 >/dev/null 2>&1 & echo $! >&2; exit 7").run();
    let pid = run.code(7).stderr.lines().next().unwrap().parse().unwrap();
    let left = process::Doomed::new(pid);
    once(&path).sh("echo mine").limit(SOON).run().code(0).stdout("mine\n").silent();
    assert!(left.alive());
}

#[test]
fn a_run_inside_the_run_that_it_would_wait_for_is_an_error() {
    let scratch = Scratch::new();
    let path = scratch.join("answer");
    let inner = format!("{BINARY} --deadline 1h --once {} -- echo x", quoted(&path));
    let run = once(&path).arg("-n1").sh(&inner).limit(SOON).run();
    run.code(125)
        .stderr_contains("waits for this run to end")
        .stderr_contains("hint: give the inner retry another file");
    assert!(!path.exists());
}

/// Starts runs at low priority, all at once.
fn crowd(size: usize, path: &Path, options: &[&str], script: &str) -> Vec<Child> {
    let start = |_| {
        let mut command = nice();
        command.arg("--once").arg(path).args(options).args(["--deadline", "10m", "--", "sh", "-c", script]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    (0..size).map(start).collect()
}

#[test]
fn fifty_runs_at_once_run_the_command_once_and_print_the_same() {
    let scratch = Scratch::new();
    let (log, path) = (scratch.log("log"), scratch.join("answer"));
    let script = format!("{}; sleep 0.2; echo answer $$", log.echo("ran"));
    let outputs = crowd(50, &path, &[], &script).into_iter().map(|run| run.wait_with_output().unwrap());
    let outputs: Vec<_> = outputs.collect();
    let answer = fs::read(&path).unwrap();
    assert!(answer.starts_with(b"answer "));
    for output in &outputs {
        assert!(output.status.success() && output.stdout == answer, "{output:?}");
    }
    assert_eq!((outputs.len(), log.lines()), (50, vec!["ran".to_owned()]));
    assert!(!scratch.join("answer.lock").exists());
}

#[test]
fn runs_that_fail_take_turns_and_never_overlap() {
    let scratch = Scratch::new();
    let (log, path) = (scratch.log("log"), scratch.join("answer"));
    // The lock file is made and removed for each run.
    let script = format!(
        "{ran}; mkdir {inside} || {overlap}; sleep 0.02; rmdir {inside}; exit 7",
        ran = log.echo("ran"),
        overlap = log.echo("overlap"),
        inside = quoted(scratch.join("inside"))
    );
    for run in crowd(12, &path, &["-n1"], &script) {
        assert_eq!(run.wait_with_output().unwrap().status.code(), Some(7));
    }
    assert_eq!(log.lines(), vec!["ran"; 12]);
    assert!(!path.exists() && !scratch.join("answer.lock").exists());
}

/// The number of runs that are killed, and how many run at the same time.
const KILLED: usize = 500;
const AT_ONCE: usize = 10;

/// Numbers that look random (Numerical Recipes' linear congruential generator).
struct Numbers(u32);

impl Numbers {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        u32::try_from((u64::from(self.0) * u64::from(limit)) >> 32).unwrap()
    }
}

#[test]
fn a_run_that_is_killed_at_any_moment_leaves_a_whole_answer_or_none() {
    let scratch = Scratch::new();
    let whole = vec![b'x'; 200_000];
    let source = scratch.file("source", &whole);
    let directory = scratch.join("answers");
    fs::create_dir(&directory).unwrap();
    let command = |path: &Path| -> Command {
        let mut command = nice();
        command.arg("-qq").arg("--once").arg(path).args(["--deadline", "1m", "--", "cat"]).arg(&source);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let began = Instant::now();
    assert!(command(&directory.join("measured")).status().unwrap().success());
    let most = u32::try_from(began.elapsed().as_micros()).unwrap().saturating_mul(2).clamp(5_000, 60_000);
    let directory = &directory;
    thread::scope(|scope| {
        for worker in 0..AT_ONCE {
            let (command, whole) = (&command, &whole);
            scope.spawn(move || {
                let path = directory.join(format!("answer-{}", worker / 2));
                let mut numbers = Numbers(u32::try_from(worker).unwrap());
                for _ in 0..KILLED / AT_ONCE {
                    let mut run = command(&path).spawn().unwrap();
                    thread::sleep(Duration::from_micros(numbers.below(most).into()));
                    run.kill().unwrap();
                    run.wait().unwrap();
                    match fs::read(&path) {
                        Ok(answer) => assert!(answer == *whole, "{} bytes", answer.len()),
                        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
                    }
                    let _ = fs::remove_file(&path);
                }
            });
        }
    });
    // The next run finds what the dead ones have left, and nothing stays but the answer.
    for number in 0..AT_ONCE / 2 {
        assert!(command(&directory.join(format!("answer-{number}"))).status().unwrap().success());
    }
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["answer-0", "answer-1", "answer-2", "answer-3", "answer-4", "measured"]);
    for name in names {
        assert!(fs::read(directory.join(name)).unwrap() == whole);
    }
}
