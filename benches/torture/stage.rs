//! Makes a run, and collects the observations from outside.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{OpenptyResult, openpty};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, kill, sigaction, sigprocmask,
};
use nix::sys::termios::tcgetattr;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, getpid, setpgid, setsid, tcgetpgrp, tcsetpgrp};
use serde_json::Value;

use crate::judge::judge;
use crate::plan::{Act, DIRECTORY, Input, Plan, SIGNALS};
use crate::seen::{self, End, Left, Log, Seen, Wrong};
use crate::support::RETRY;

/// First argument of this program if it runs as the leader of a session, as a shell does.
pub(crate) const LEADER: &str = "leader";

/// The message about a wrong run shows at most this many of the last bytes that retry wrote.
const SAID: usize = 600;

/// A killed process may take this long to disappear on a busy machine.
const PATIENCE: Duration = Duration::from_secs(1);

/// A run that takes this much longer than it may counts as endless.
const ENDLESS: Duration = Duration::from_secs(20);

/// The time since boot, on the clock of `/proc/uptime`.
fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).expect("a clock").into()
}

/// Makes the run that a seed drew, and judges it.
pub(crate) fn run(plan: &Plan) -> Result<(), Wrong> {
    let name = format!("retry-torture-{}-{}", std::process::id(), plan.seed);
    let directory = std::env::temp_dir().join(&name);
    let _ = fs::remove_dir_all(&directory);
    for part in ["tmp", "work"] {
        fs::create_dir_all(directory.join(part)).expect("a directory");
    }
    let seen = see(plan, &name, &directory);
    let judged = judge(plan, &seen);
    let _ = fs::remove_dir_all(directory);
    judged.map_err(|wrong| {
        let said = seen.terminal.or(seen.errors).unwrap_or_default();
        let said = String::from_utf8_lossy(&said[said.len().saturating_sub(SAID)..]);
        wrong.with(&format!("; it said {said:?}"))
    })
}

fn see(plan: &Plan, mark: &str, directory: &Path) -> Seen {
    let terminal = plan.terminal.then(pseudo_terminal);
    let modes = || terminal.as_ref().map(|pair| tcgetattr(&pair.slave).expect("modes"));
    let before = modes();
    let state = directory.join("state");
    if plan.tripped {
        let mut trip = Command::new(RETRY);
        trip.args(["--breaker-trip", "b=1m"]).env("RETRY_STATE", &state).stdout(Stdio::null());
        assert!(trip.status().expect("it starts").success(), "the breaker is not to be tripped");
    }
    let mut command = prepare(plan, mark, directory, terminal.as_ref());
    let company = if plan.company { company(&state) } else { Vec::new() };
    let (start, started) = (Instant::now(), since_boot());
    let mut child = command.spawn().expect("it starts");
    // `command` keeps copies of the terminal's descriptors open until it is dropped.
    drop(command);
    if let (Some(mut stdin), Input::Pipe(bytes)) = (child.stdin.take(), &plan.input) {
        let bytes = bytes.clone();
        thread::spawn(move || stdin.write_all(&bytes));
    }
    let output = child.stdout.take().map(|out| reader(out.into(), plan.reader_leaves));
    let errors = child.stderr.take().map(|errors| reader(errors.into(), None));
    let screen = terminal.as_ref().map(|pair| reader(pair.master.try_clone().expect("a descriptor"), None));
    let stage = Stage { plan, directory, start, keyboard: terminal.as_ref().map(|pair| &pair.master) };
    let (status, stopped, sent) = stage.supervise(&mut child);
    let took = start.elapsed();
    let company = company.into_iter().find_map(part);
    let (end, took, left) = match status {
        // The leader has looked for processes before it ended.
        Some(_) if plan.terminal => match report(directory) {
            Some((end, over, left)) => (Some(end), over.saturating_sub(started), left),
            None => (None, took, Left::default()),
        },
        Some(status) => (Some(end(status)), took, left(mark, || false)),
        None => (None, took, Left::default()),
    };
    let changed = modes() != before;
    sweep(mark);
    // The last descriptor on this side closes here, so the reader of the terminal reaches the end.
    drop(terminal);
    let all =
        |thread: Option<JoinHandle<Option<Vec<u8>>>>| thread.and_then(|thread| thread.join().ok().flatten());
    Seen {
        end,
        started,
        took,
        stopped,
        sent,
        left,
        log: Log::read(&directory.join("log")),
        output: all(output),
        errors: all(errors),
        terminal: all(screen),
        company,
        changed,
        report: plan.has("--report").then(|| seen::report(&directory.join("report"))),
        summary: plan.has("--report").then(|| summary(directory)).flatten(),
        files: files(directory),
    }
}

/// What `--summary` says about the report. None if nothing.
fn summary(directory: &Path) -> Option<Value> {
    let mut retry = Command::new(RETRY);
    let out = retry.arg("--summary").arg(directory.join("report")).arg("--json").output().ok()?;
    serde_json::from_slice(&out.stdout).ok()
}

/// Prepares the command line with its environment, session and streams.
fn prepare(plan: &Plan, mark: &str, directory: &Path, terminal: Option<&OpenptyResult>) -> Command {
    let mut command = if plan.terminal {
        let mut leader = Command::new(std::env::current_exe().expect("this program"));
        leader.arg(LEADER).arg(directory);
        leader
    } else {
        Command::new(RETRY)
    };
    let path = directory.to_str().expect("a path in UTF-8");
    command.args(plan.options.iter().map(|word| word.replace(DIRECTORY, path)));
    command.arg("--").args(plan.command()).current_dir(directory.join("work"));
    command.env("RETRY_STATE", directory.join("state")).env("TMPDIR", directory.join("tmp"));
    if plan.has("--ci") {
        command.env("GITHUB_ACTIONS", "true");
    } else {
        command.env_remove("GITHUB_ACTIONS");
    }
    command.env("TORTURE", mark).env("TORTURE_LOG", directory.join("log"));
    let slave: Option<RawFd> = terminal.map(|pair| pair.slave.as_raw_fd());
    let ignored = plan.ignored;
    // SAFETY: setsid(2), ioctl(2) and sigaction(2) are async-signal-safe, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            setsid()?;
            if let Some(slave) = slave {
                Errno::result(libc::ioctl(slave, libc::TIOCSCTTY, 0))?;
            }
            // A shell ignores INT and QUIT in the processes that it starts in the background. This
            // loop restores the default for each signal, except for the signal that the plan
            // ignores.
            for signal in SIGNALS {
                let handler = if Some(signal) == ignored { SigHandler::SigIgn } else { SigHandler::SigDfl };
                if signal != Signal::SIGSTOP {
                    sigaction(signal, &SigAction::new(handler, SaFlags::empty(), SigSet::empty()))?;
                }
            }
            Ok(())
        });
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(pair) = terminal {
        let slave = || Stdio::from(pair.slave.try_clone().expect("a descriptor"));
        command.stdout(slave()).stderr(slave());
        if plan.input == Input::Terminal {
            command.stdin(slave());
        }
    }
    command
}

/// Starts two other runs that use the same records.
fn company(state: &Path) -> Vec<Child> {
    let one = || {
        let mut command = Command::new(RETRY);
        command.args(["-qq", "-n3", "-d", "20ms", "--deadline", "5s", "--breaker", "b"]);
        command.args(["--breaker-failures", "2", "--budget", "c=50%", "--", "false"]);
        command.env("RETRY_STATE", state).stdin(Stdio::null()).spawn().expect("it starts")
    };
    (0..2).map(|_| one()).collect()
}

/// Waits for one of the other runs. Returns an error message if the run does not end as it may.
fn part(mut other: Child) -> Option<String> {
    let patience = Instant::now() + ENDLESS;
    let status = loop {
        match other.try_wait().expect("a child") {
            Some(status) => break status,
            None if Instant::now() < patience => thread::sleep(Duration::from_millis(2)),
            None => {
                let _ = other.kill();
                let _ = other.wait();
                return Some("one did not end".to_owned());
            }
        }
    };
    // The run exits with 1 if its command fails, with 75 if the breaker keeps the command from
    // running, and with 124 at the deadline.
    (!matches!(status.code(), Some(1 | 75 | 124))).then(|| format!("one ended with {:?}", end(status)))
}

/// A pseudo-terminal whose descriptors close on exec, so that only chosen processes get it.
fn pseudo_terminal() -> OpenptyResult {
    let pair = openpty(None, None).expect("a pseudo-terminal");
    for end in [&pair.master, &pair.slave] {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("a flag");
    }
    pair
}

/// Reads to the end and returns all bytes. With `leaves`, stops after this number of bytes and
/// returns None.
fn reader(from: OwnedFd, leaves: Option<usize>) -> JoinHandle<Option<Vec<u8>>> {
    thread::spawn(move || {
        let mut file = File::from(from);
        let mut all = Vec::new();
        let mut part = vec![0; 65536];
        loop {
            let most = leaves.map_or(part.len(), |leaves| leaves.saturating_sub(all.len()).min(part.len()));
            match file.read(&mut part[..most]) {
                Ok(0) | Err(_) => return leaves.is_none().then_some(all),
                Ok(length) => all.extend_from_slice(&part[..length]),
            }
        }
    })
}

struct Stage<'a> {
    plan: &'a Plan,
    directory: &'a Path,
    start: Instant,
    keyboard: Option<&'a OwnedFd>,
}

impl Stage<'_> {
    /// Sends the signals and keys of the plan, and waits for the end. Returns the status (None if
    /// retry did not end), the time for which retry was stopped, and the signals and keys that were
    /// sent.
    fn supervise(&self, child: &mut Child) -> (Option<ExitStatus>, Duration, Vec<(Act, Duration)>) {
        let own = i32::try_from(child.id()).expect("a pid");
        let retry = || {
            let pid = match self.keyboard {
                Some(_) => fs::read_to_string(self.directory.join("pid")).ok()?.parse().ok()?,
                None => own,
            };
            Some(Pid::from_raw(pid))
        };
        let (mut stopped, mut sent) = (Duration::ZERO, Vec::new());
        let mut acts = self.plan.acts.iter();
        let mut next = acts.next();
        loop {
            if let Some(status) = child.try_wait().expect("a child") {
                return (Some(status), stopped, sent);
            }
            if let Some((at, act)) = next
                && self.start.elapsed() >= *at
                && let Some(pid) = retry()
            {
                stopped += self.act(*act, pid, &mut sent);
                next = acts.next();
                continue;
            }
            if self.start.elapsed() > self.plan.longest + stopped + ENDLESS {
                let _ = child.kill();
                let _ = child.wait();
                return (None, stopped, sent);
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends one signal or key. Returns the time for which it stopped retry.
    fn act(&self, act: Act, retry: Pid, sent: &mut Vec<(Act, Duration)>) -> Duration {
        const STOP: Duration = Duration::from_millis(100);
        let now = since_boot();
        let stops = match act {
            Act::Send(signal) => {
                if kill(retry, signal).is_err() {
                    return Duration::ZERO;
                }
                matches!(signal, Signal::SIGTSTP | Signal::SIGSTOP)
            }
            Act::Key(key) => {
                let Some(keyboard) = self.keyboard else { return Duration::ZERO };
                let _ = nix::unistd::write(keyboard, &[key]);
                key == 26
            }
        };
        sent.push((act, now));
        if !stops {
            return Duration::ZERO;
        }
        thread::sleep(STOP);
        // `fg` continues the whole job, so a stop by the keyboard needs CONT for the group.
        let _ = match act {
            Act::Send(_) => kill(retry, Signal::SIGCONT),
            Act::Key(_) => kill(Pid::from_raw(-retry.as_raw()), Signal::SIGCONT),
        };
        STOP
    }
}

fn end(status: ExitStatus) -> End {
    match status.signal() {
        Some(signal) => End::Signal(signal),
        None => End::Status(status.code().unwrap_or(-1)),
    }
}

/// Runs retry as a job of the session that this process leads, as a shell does. Writes the pid of
/// retry to a file. At the end, writes the status of retry and the processes that are left.
pub(crate) fn lead(words: &[String]) -> ExitCode {
    let (directory, words) = words.split_first().expect("a directory");
    let say = |name: &str, text: &str| {
        let new = format!("{directory}/{name}.new");
        fs::write(&new, text).expect("a report");
        fs::rename(&new, format!("{directory}/{name}")).expect("a report");
    };
    set_child_subreaper(true).expect("a subreaper");
    let mut command = Command::new(RETRY);
    command.args(words);
    // SAFETY: setpgid(2), sigprocmask(2) and tcsetpgrp(3) are async-signal-safe, and nothing is
    // allocated.
    unsafe {
        command.pre_exec(|| {
            setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
            Ok(foreground(getpid())?)
        });
    }
    let group = command.spawn().expect("it starts").id();
    let group = Pid::from_raw(i32::try_from(group).expect("a pid"));
    say("pid", &group.to_string());
    let stops_itself = words.iter().any(|word| word.contains("kill -STOP"));
    // If retry got the terminal only while an attempt was running, retry cannot know from which
    // group to take it back.
    let mut held = true;
    let end = loop {
        match waitpid(group, Some(WaitPidFlag::WUNTRACED)) {
            Ok(WaitStatus::Exited(_, status)) => break End::Status(status),
            Ok(WaitStatus::Signaled(_, signal, _)) => break End::Signal(signal as i32),
            // Another job has the terminal, and retry wants it. A user would type `fg` here.
            Ok(WaitStatus::Stopped(_, Signal::SIGTTIN | Signal::SIGTTOU)) => {
                foreground(group).expect("the terminal");
                held = false;
                let _ = kill(Pid::from_raw(-group.as_raw()), Signal::SIGCONT);
            }
            // The command has stopped itself, and retry with it. A user would continue the job.
            Ok(WaitStatus::Stopped(..)) if stops_itself => {
                let _ = kill(Pid::from_raw(-group.as_raw()), Signal::SIGCONT);
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => panic!("{errno}"),
        }
    };
    let over = since_boot().as_micros();
    let mark = std::env::var("TORTURE").unwrap_or_default();
    let left = left(&mark, || {
        tcgetpgrp(std::io::stderr()).is_ok_and(|front| {
            held && front != group && kill(Pid::from_raw(-front.as_raw()), None) == Err(Errno::ESRCH)
        })
    });
    let (kind, number) = match end {
        End::Status(status) => ("status", status),
        End::Signal(signal) => ("signal", signal),
    };
    let alive: Vec<String> = left.alive.iter().map(ToString::to_string).collect();
    say("end", &format!("{kind} {number} {over} {} {} {}", left.dead, left.lost, alive.join(" ")));
    ExitCode::SUCCESS
}

/// Gives the terminal to this group, also from the background. Makes only async-signal-safe calls.
fn foreground(group: Pid) -> nix::Result<()> {
    let mut stop = SigSet::empty();
    stop.add(Signal::SIGTTOU);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&stop), None)?;
    let given = tcsetpgrp(std::io::stderr(), group);
    sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&stop), None)?;
    given
}

/// Reads the report of the leader: how retry ended, the time since boot, and the processes that are
/// left.
fn report(directory: &Path) -> Option<(End, Duration, Left)> {
    let text = fs::read_to_string(directory.join("end")).ok()?;
    let mut words = text.split_whitespace();
    let kind = words.next()?;
    let number = words.next()?.parse().ok()?;
    let end = if kind == "signal" { End::Signal(number) } else { End::Status(number) };
    let over = Duration::from_micros(words.next()?.parse().ok()?);
    let (dead, lost) = (words.next()?.parse().ok()?, words.next()? == "true");
    Some((end, over, Left { dead, lost, alive: words.filter_map(|word| word.parse().ok()).collect() }))
}

/// Looks for the processes that an ended run has left. This process must be their reaper. `lost`
/// tells whether the terminal is lost.
fn left(mark: &str, lost: impl FnOnce() -> bool) -> Left {
    let (dead, _) = adopted();
    let lost = lost();
    let patience = Instant::now() + PATIENCE;
    let mut alive = marked(mark);
    while !alive.is_empty() && Instant::now() < patience {
        thread::sleep(Duration::from_millis(10));
        alive = marked(mark);
    }
    Left { dead, alive, lost }
}

/// Kills and reaps the processes that are left.
fn sweep(mark: &str) {
    loop {
        for pid in marked(mark) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if !adopted().1 {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Reaps the orphans that became children of this process. Returns the number of dead children, and
/// whether any child is alive.
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

/// The processes that have this mark in their environment, without zombies and without this
/// process.
fn marked(mark: &str) -> Vec<i32> {
    let Ok(table) = fs::read_dir("/proc") else { return Vec::new() };
    let entry = format!("TORTURE={mark}");
    table
        .flatten()
        .filter_map(|found| found.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| *pid != getpid().as_raw())
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|text| text.split(|b| *b == 0).any(|one| one == entry.as_bytes()))
        })
        .collect()
}

/// The files of a run, without the files of this benchmark.
fn files(directory: &Path) -> Vec<PathBuf> {
    let own = ["log", "pid", "end", "tmp", "work", "state"].map(|name| directory.join(name));
    let parts = ["", "tmp", "work", "state"].map(|part| directory.join(part));
    let entries = parts.into_iter().flat_map(|part| fs::read_dir(part).into_iter().flatten().flatten());
    let found = entries.map(|entry| entry.path()).filter(|path| !own.contains(path));
    found.filter_map(|path| path.strip_prefix(directory).ok().map(Path::to_owned)).collect()
}
