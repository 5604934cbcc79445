//! Tries to break the tool: random options, random commands, random signals at random times; and after each run
//! the exit status must be one that the contract allows, within its time, with no process, file or changed
//! terminal left.
//!
//! `cargo bench --bench torture [-- SECONDS [FIRST-SEED]]`, ten minutes by default. A failing run prints its seed;
//! `cargo bench --bench torture -- 0 SEED` repeats that run.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a measurement prints, fails by a panic, and counts in floating point"
)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::pty::openpty;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpgrp, tcgetpgrp};
use support::{RETRY, Random, argument, arguments, ended, preamble};

/// What a command does; the status that it may end with by itself; whether it leaves a process behind that is
/// its own affair where the attempt ends by itself.
const COMMANDS: [(&str, &[i32], bool); 19] = [
    ("exit 0", &[0], false),
    ("exit 7", &[7], false),
    ("[ $RETRY_ATTEMPT = 2 ]", &[0, 1], false),
    ("sleep 60", &[], false),
    ("trap '' TERM INT HUP; sleep 60; sleep 60", &[0], false),
    ("trap 'exit 9' TERM INT; while :; do sleep 0.02; done", &[9], false),
    ("sleep 60 & sleep 60 & wait", &[], false),
    ("setsid sleep 60 & sleep 60", &[], false),
    ("(trap '' TERM; setsid sh -c 'sleep 60; sleep 60') & sleep 60", &[], false),
    ("sleep 0.3 & exit 3", &[3], true),
    ("kill -STOP $$; exit 4", &[4], false),
    ("head -c 3000000 /dev/zero; exit 5", &[5], false),
    ("seq 20000; [ $RETRY_ATTEMPT = 2 ]", &[0, 1], false),
    ("exec >&- 2>&-; sleep 0.05; exit 6", &[6], false),
    ("cat; exit 8", &[8], false),
    ("printf 'HTTP/1.1 503\\nRetry-After: 1\\n\\n'; exit 22", &[22], false),
    // Takes the foreground of the terminal, where there is one.
    ("set -m; sleep 60", &[], false),
    ("set -m; sh -c 'exit 3'; exit 11", &[11], false),
    ("head -c 10; read x; seq 3 >&2; kill -KILL $$", &[137], false),
];

const SIGNALS: [Signal; 9] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGTSTP,
    Signal::SIGSTOP,
];

/// How much longer than it should a run may take on a busy machine.
const SLACK: Duration = Duration::from_secs(8);

/// The first argument of this program where it is the leader of a session.
const LEADER: &str = "leader";

fn main() -> ExitCode {
    if let [first, words @ ..] = &arguments()[..]
        && first == LEADER
    {
        return lead(words);
    }
    // What retry leaves behind, dead or alive, comes to this process.
    set_child_subreaper(true).expect("a subreaper");
    let (seconds, first) = (argument(0, 600), argument(1, 1));
    preamble("Torture");
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut runs, mut failed, mut seed) = (0_u32, 0_u32, first);
    loop {
        if let Err(what) = run(seed) {
            failed += 1;
            println!("seed {seed}: {what}");
        }
        runs += 1;
        seed += 1;
        if Instant::now() >= end {
            break;
        }
    }
    println!("{runs} runs from seed {first} on, {failed} failed");
    if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What was drawn.
struct Plan {
    options: Vec<String>,
    command: &'static str,
    /// Statuses that are allowed.
    allowed: Vec<i32>,
    leaves: bool,
    /// How long it may take at most.
    longest: Duration,
    /// Signals to retry, and when.
    signals: Vec<(Duration, Signal)>,
    input: u64,
    terminal: bool,
}

fn plan(random: &mut Random, directory: &Path) -> Plan {
    let (command, own, leaves) = *random.pick(&COMMANDS);
    let mut options: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| options.extend(words.iter().map(|word| (*word).to_owned()));
    let attempts = 1 + random.below(4);
    add(&["-n", &attempts.to_string()]);
    let timeout = 100 + random.below(400);
    add(&["--timeout", &format!("{timeout}ms")]);
    let kill_after = *random.pick(&[0, 50, 300]);
    add(&["--kill-after", &format!("{kill_after}ms")]);
    let mut longest = Duration::from_millis(attempts * (timeout + kill_after + 300));
    let bounded = random.chance(40);
    if bounded {
        let deadline = 250 + random.below(1500);
        add(&["--deadline", &format!("{deadline}ms")]);
        longest = longest.min(Duration::from_millis(deadline + kill_after));
    }
    // A deadline cuts a long delay too.
    if bounded && random.chance(30) {
        add(&["-d", "1m", "-j", "none"]);
    } else {
        add(&["-d", *random.pick(&["0", "0.01", "0.2"]), "--max-delay", "0.3"]);
        if random.chance(20) {
            add(&["-j", *random.pick(&["full", "equal", "decorrelated", "none"])]);
        }
        if random.chance(10) {
            add(&["--min-delay", "20ms"]);
        }
    }
    let mut allowed = own.to_vec();
    // A limit.
    allowed.push(124);
    let key = format!("file:{}", directory.join("key").display());
    let headers = directory.join("headers").display().to_string();
    for (percent, words) in [
        (30, &["--hold"][..]),
        (20, &["-r", "stdout~never", "-r", "failure"]),
        (20, &["-x", "stderr~^3$"]),
        (20, &["--stdin", "null"]),
        (10, &["--stdin", "inherit"]),
        (10, &["--stdin-limit", "1000"]),
        (20, &["-v"]),
        (20, &["-q"]),
        (10, &["--signal", "KILL"]),
        (10, &["--signal", "INT"]),
        (10, &["--check", "exit 1"]),
        (10, &["--not-idempotent"]),
        (10, &["--healthy-after", "1h"]),
        (10, &["--expand", "--idempotency-key", "k"]),
        (10, &["--idempotency-key", &key]),
        (10, &["--until", "failure"]),
        (10, &["--success-on", "7"]),
        (10, &["-p", "http"]),
        (10, &["--headers", &headers]),
        (10, &["--splay", "200ms"]),
        (10, &["--seed", "7"]),
        (10, &["--label", "a b"]),
    ] {
        // Of these pairs one makes the other an error.
        const APART: [&[&str]; 5] = [
            &["-q", "-v"],
            &["--stdin", "--stdin-limit"],
            &["--signal"],
            &["--expand", "--idempotency-key"],
            &["--until", "--success-on", "-r"],
        ];
        let first = words[0];
        let drawn = |word: &str| options.iter().any(|option| option == word);
        let apart = APART.iter().any(|set| set.contains(&first) && set.iter().any(|word| drawn(word)));
        if !random.chance(percent) || apart {
            continue;
        }
        options.extend(words.iter().map(|word| (*word).to_owned()));
        match first {
            "--check" => longest += Duration::from_millis(attempts * (timeout + kill_after)),
            "--splay" => longest += Duration::from_millis(200),
            // A wait of two seconds between attempts at most, as the command asks.
            "-p" => longest += Duration::from_secs(2 * attempts),
            // What fails is what was waited for; what succeeds is not.
            "--until" => allowed.extend([0, 1]),
            _ => {}
        }
    }
    if random.chance(10) {
        options.extend(["--budget", "c=50%"].map(str::to_owned));
    }
    if random.chance(20) {
        options.extend(["--breaker", "b", "--breaker-failures", "2"].map(str::to_owned));
        if bounded && random.chance(50) {
            options.push("--breaker-wait".to_owned());
        }
        allowed.push(75);
    }
    let mut signals: Vec<(Duration, Signal)> = Vec::new();
    if random.chance(50) {
        for _ in 0..=random.below(3) {
            let at = Duration::from_micros(random.below(700_000));
            signals.push((at, *random.pick(&SIGNALS)));
        }
        signals.sort();
    }
    // What a signal makes of the command, and of retry.
    allowed.extend(signals.iter().map(|(_, signal)| 128 + *signal as i32));
    let input = *random.pick(&[0, 0, 5, 100, 200_000]);
    let terminal = random.chance(25);
    Plan { options, command, allowed, leaves, longest, signals, input, terminal }
}

/// Runs what this seed draws.
fn run(seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed);
    let directory = std::env::temp_dir().join(format!("retry-torture-{}-{seed}", std::process::id()));
    let spool = directory.join("tmp");
    fs::create_dir_all(&spool).expect("a directory");
    let plan = plan(&mut random, &directory);
    let mark = format!("TORTURE={}-{seed}", std::process::id());
    let report = directory.join("report");
    let mut command = if plan.terminal {
        // A leader that stays: where retry led the session, the terminal would be nobody's in the end.
        let mut leader = Command::new(std::env::current_exe().expect("this program"));
        leader.arg(LEADER).arg(&report);
        leader
    } else {
        Command::new(RETRY)
    };
    command.args(&plan.options).args(["--", "sh", "-c", plan.command]);
    command.env("RETRY_STATE", directory.join("state"));
    command.env("TMPDIR", &spool).env("TORTURE", mark.trim_start_matches("TORTURE="));
    let terminal = if plan.terminal { Some(openpty(None, None).expect("a pseudo-terminal")) } else { None };
    let before: Option<Termios> = terminal.as_ref().map(|pair| tcgetattr(&pair.slave).expect("modes"));
    let reader = |from: OwnedFd| {
        thread::spawn(move || {
            let mut file = fs::File::from(from);
            let mut part = vec![0; 65536];
            while file.read(&mut part).is_ok_and(|length| length > 0) {}
        })
    };
    let slave = terminal.as_ref().map(|pair| pair.slave.as_raw_fd());
    // SAFETY: setsid(2) and ioctl(2) are async-signal-safe, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            nix::unistd::setsid()?;
            if let Some(slave) = slave {
                libc::ioctl(slave, libc::TIOCSCTTY, 0);
            }
            Ok(())
        });
    }
    command.stdin(Stdio::piped());
    if let Some(pair) = &terminal {
        let end = || Stdio::from(pair.slave.try_clone().expect("a descriptor"));
        command.stdout(end()).stderr(end());
        if random.chance(50) {
            command.stdin(end());
        }
    } else {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    }
    let start = Instant::now();
    let mut child = command.spawn().expect("it starts");
    drop(command);
    if let Some(mut stdin) = child.stdin.take() {
        let input = plan.input;
        thread::spawn(move || stdin.write_all(&vec![b'x'; input as usize]));
    }
    if let Some(out) = child.stdout.take() {
        reader(out.into());
    }
    if let Some(error) = child.stderr.take() {
        reader(error.into());
    }
    if let Some(pair) = &terminal {
        reader(pair.master.try_clone().expect("a descriptor"));
    }
    let (status, stopped) = supervise(&mut child, &plan, start, &report);
    let took = start.elapsed();
    let described = || {
        format!("retry {} -- sh -c {:?}, signals {:?}", plan.options.join(" "), plan.command, plan.signals)
    };
    let result = judge(status, took, stopped, &plan, &mark, &directory)
        .map_err(|what| format!("{what}: {}", described()));
    let result = result.and_then(|()| match (&terminal, &before) {
        (Some(pair), Some(before)) if tcgetattr(&pair.slave).ok().as_ref() != Some(before) => {
            Err(format!("the terminal has other modes: {}", described()))
        }
        _ => Ok(()),
    });
    loop {
        for pid in marked(&mark) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if !adopted().1 {
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    let _ = fs::remove_dir_all(directory);
    result
}

/// Runs retry as a job of the session that this process leads, and ends with its status. Says in a file which
/// process it is, and in the end whether the terminal has been lost.
fn lead(words: &[String]) -> ExitCode {
    let (report, words) = words.split_first().expect("a file");
    let say = |text: &str| {
        let new = format!("{report}.new");
        fs::write(&new, text).expect("a report");
        fs::rename(&new, report).expect("a report");
    };
    let mut child = Command::new(RETRY).args(words).spawn().expect("it starts");
    say(&child.id().to_string());
    let status = child.wait().expect("a child");
    if tcgetpgrp(std::io::stderr()) != Ok(getpgrp()) {
        say("lost");
    }
    u8::try_from(ended(status)).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Reaps what has come to this process, its parent having ended: how many were dead, and whether any lives.
fn adopted() -> (usize, bool) {
    let mut dead = 0;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return (dead, true),
            Ok(_) => dead += 1,
            Err(Errno::EINTR) => {}
            Err(_) => return (dead, false),
        }
    }
}

/// Sends the signals, and waits; the status, if it ended, and how long it was stopped. Where a leader is between,
/// its report tells which process retry is.
fn supervise(
    child: &mut Child,
    plan: &Plan,
    start: Instant,
    report: &Path,
) -> (Option<ExitStatus>, Duration) {
    let own = i32::try_from(child.id()).expect("a pid");
    let retry = || {
        let pid = if plan.terminal { fs::read_to_string(report).ok()?.parse().ok()? } else { own };
        Some(Pid::from_raw(pid))
    };
    let mut stopped = Duration::ZERO;
    let mut signals = plan.signals.iter();
    let mut next = signals.next();
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return (Some(status), stopped);
        }
        if let Some((at, signal)) = next
            && start.elapsed() >= *at
            && let Some(pid) = retry()
        {
            let _ = kill(pid, *signal);
            if matches!(signal, Signal::SIGTSTP | Signal::SIGSTOP) {
                thread::sleep(Duration::from_millis(100));
                stopped += Duration::from_millis(100);
                let _ = kill(pid, Signal::SIGCONT);
            }
            next = signals.next();
            continue;
        }
        if start.elapsed() > plan.longest + stopped + SLACK + SLACK {
            let _ = child.kill();
            let _ = child.wait();
            return (None, stopped);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Whether that was right.
fn judge(
    status: Option<ExitStatus>,
    took: Duration,
    stopped: Duration,
    plan: &Plan,
    mark: &str,
    directory: &Path,
) -> Result<(), String> {
    let Some(status) = status else { return Err("it did not end".to_owned()) };
    let (unreaped, _) = adopted();
    let ended = ended(status);
    if took > plan.longest + stopped + SLACK {
        return Err(format!("it took {took:?}, and {:?} are allowed", plan.longest));
    }
    if !plan.allowed.contains(&ended) {
        return Err(format!("it ended with {ended}, and {:?} are allowed", plan.allowed));
    }
    // An attempt that ends by itself, also by a signal that was passed on to it, may leave its own behind.
    let deadly = |signal: &Signal| {
        !matches!(signal, Signal::SIGWINCH | Signal::SIGTSTP | Signal::SIGSTOP | Signal::SIGCONT)
    };
    let own_end = plan.leaves || plan.signals.iter().any(|(_, signal)| deadly(signal));
    if unreaped > 0 && !own_end {
        return Err(format!("it ended with {ended}, and left {unreaped} dead processes to others"));
    }
    let patience = Instant::now() + Duration::from_secs(2);
    while !own_end && !marked(mark).is_empty() {
        if Instant::now() > patience {
            return Err(format!("it ended with {ended}, and these live: {:?}", marked(mark)));
        }
        thread::sleep(Duration::from_millis(10));
    }
    // What lives may have it.
    if !own_end && fs::read_to_string(directory.join("report")).is_ok_and(|text| text == "lost") {
        return Err(format!("it ended with {ended}, and the terminal is another group's"));
    }
    // The records and their locks, and a key that is kept for the next run, are no strays.
    let kept = ["tmp", "state", "report", "key"];
    let records = ["b.json", "b.json.lock", "c.json", "c.json.lock"];
    let strays: Vec<_> = [("tmp", &[][..]), ("state", &records), ("", &kept)]
        .into_iter()
        .flat_map(|(at, kept)| {
            fs::read_dir(directory.join(at)).into_iter().flatten().flatten().map(move |f| (f, kept))
        })
        .filter(|(file, kept)| !kept.iter().any(|name| file.file_name() == *name))
        .map(|(file, _)| file.path())
        .collect();
    if strays.is_empty() { Ok(()) } else { Err(format!("files are left: {strays:?}")) }
}

/// The processes that have this in their environment, zombies aside.
fn marked(mark: &str) -> Vec<i32> {
    let Ok(table) = fs::read_dir("/proc") else { return Vec::new() };
    table
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|text| text.split(|b| *b == 0).any(|entry| entry == mark.as_bytes()))
        })
        .collect()
}
