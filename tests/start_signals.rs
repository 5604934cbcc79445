//! A signal that arrives while a command starts reaches the command exactly once, at each instant
//! between clone(2) and execve(2).
//!
//! strace delays a process at one system call. The command starts with INT blocked, so that an INT
//! from before its execve stays pending and can be counted.

use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::needs;
use crate::support::process::{self, Entry, descendants_of, stopped, wait_until};
use crate::support::retry::{self, BINARY};
use crate::support::scratch::quoted;
use crate::support::terminal::{CTRL_C, CTRL_Z};
use crate::support::{Log, Scratch, Terminal, each};

/// Logs each INT and each WINCH, and exits with 6 at TERM.
const COUNT: &str = r#"
use POSIX;
sub note { open my $log, ">>", $ENV{LOG}; syswrite $log, "$_[0]\n"; close $log }
$SIG{INT} = sub { note "int" };
$SIG{WINCH} = sub { note "mark" };
$SIG{TERM} = sub { exit 6 };
note "up";
sigprocmask(SIG_UNBLOCK, POSIX::SigSet->new(SIGINT));
select undef, undef, undef, 0.01 while 1;
"#;

/// The process that strace delays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Retry,
    Child,
}

use Who::{Child, Retry};

/// The point of the delay: the n-th call of this name, at its entry or at its exit.
#[derive(Debug, Clone, Copy)]
struct Instant(Who, &'static str, &'static str, usize);

/// The child's last call before it takes the signal mask of the command. retry itself calls this
/// less often.
const BEFORE_MASK: Instant = Instant(Child, "rt_sigaction", "exit", 3);

impl Instant {
    /// The command line of strace with this delay. With -DDD strace is not a part of the job.
    fn strace(self) -> Vec<String> {
        let Self(_, call, side, n) = self;
        let (trace, inject) =
            (format!("trace={call}"), format!("inject={call}:delay_{side}=60000000:when={n}"));
        let words = ["strace", "-DDD", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
        words.map(ToOwned::to_owned).to_vec()
    }

    /// Waits until the process is delayed at this call.
    #[track_caller]
    fn wait(self, above: i32) -> Held {
        let Self(who, call, ..) = self;
        let runs = matches!(self, Self(Retry, "poll", ..) | Self(Retry, "clone", "exit", _));
        let (mut seen, mut held) = (0, None);
        wait_until(&format!("{self:?}"), || {
            let retry = retry_in(above);
            let pid = match who {
                Retry => retry,
                Child => retry.and_then(|retry| process::children_of(retry).first().copied()),
            };
            let there = pid.is_some_and(|pid| process::state(pid) == Some('t') && is_in(pid, call));
            // Each call of a traced process stops it for a moment, but only the delayed call stops
            // it for longer.
            seen = if there { seen + 1 } else { 0 };
            held = retry.zip(pid.and_then(tracer_of)).map(|(retry, strace)| Held { retry, strace, runs });
            seen >= 4 && held.is_some()
        });
        held.expect("the wait was for this")
    }
}

/// A start that strace delays.
#[derive(Debug)]
struct Held {
    retry: i32,
    strace: i32,
    /// The command already runs, and only retry is delayed.
    runs: bool,
}

impl Held {
    /// Ends the delay: without its tracer the process continues.
    fn release(&self) {
        process::send(self.strace, Signal::SIGKILL);
    }

    /// Sends an INT with `send`, and returns the lines that the command has logged by then.
    ///
    /// If `send` reaches the whole group, retry is stopped until the command has handled the INT.
    /// Otherwise an INT that retry passes on could merge with the first one.
    #[track_caller]
    fn logged(&self, by_group: bool, log: &Log, send: impl FnOnce()) -> Vec<String> {
        if by_group {
            process::send(self.retry, Signal::SIGSTOP);
        }
        send();
        // If the command already runs, the INT reaches it in spite of the delay.
        if !self.runs {
            self.release();
        }
        wait_until("the INT", || log.lines().iter().any(|line| line == "int"));
        self.release();
        process::send(self.retry, Signal::SIGCONT);
        // retry passes WINCH on after all signals that came before it.
        process::send(self.retry, Signal::SIGWINCH);
        wait_until("what came before", || log.lines().iter().any(|line| line == "mark"));
        process::send(self.retry, Signal::SIGTERM);
        log.lines()
    }
}

/// The process that traces `pid` (proc_pid_status(5)).
fn tracer_of(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?.trim().parse().ok()?;
    (tracer != 0).then_some(tracer)
}

/// The first process with the name `retry` among `above` and its descendants.
fn retry_in(above: i32) -> Option<i32> {
    let tree = std::iter::once(above).chain(descendants_of(above));
    tree.filter_map(Entry::read).find(|entry| entry.name == "retry").map(|entry| entry.pid)
}

/// Tells whether a process is in this system call (proc_pid_syscall(5)).
fn is_in(pid: i32, call: &str) -> bool {
    let number = match call {
        "clone" => libc::SYS_clone,
        "dup2" => libc::SYS_dup2,
        "execve" => libc::SYS_execve,
        "getppid" => libc::SYS_getppid,
        "poll" => libc::SYS_poll,
        "prctl" => libc::SYS_prctl,
        "read" => libc::SYS_read,
        "rt_sigaction" => libc::SYS_rt_sigaction,
        "rt_sigpending" => libc::SYS_rt_sigpending,
        "setpgid" => libc::SYS_setpgid,
        other => panic!("{other} has no number here"),
    };
    let text = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    text.split(' ').next() == Some(&number.to_string())
}

/// Types ^C at this instant of a command's start, and returns the lines that the command has
/// logged.
#[track_caller]
fn interrupted_at(instant: Instant, around: &[&str]) -> Vec<String> {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let words = [around, &["env", "--block-signal=INT"]].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(instant.strace());
    command.args([BINARY, "-n1", "-r", "output~x", "--", "perl", "-e", COUNT]).env("LOG", log.path());
    let mut terminal = Terminal::open(command);
    let held = instant.wait(terminal.leader());
    // Before the child exists, only retry gets the INT.
    let by_group = !matches!(instant, Instant(Retry, "clone", "enter", _));
    let lines = held.logged(by_group, &log, || terminal.key(CTRL_C));
    assert_eq!(terminal.wait().code(), Some(6), "{}", terminal.transcript());
    lines
}

#[test]
fn the_interrupt_key_reaches_a_command_that_starts_exactly_once() {
    need!("perl", "strace");
    let instants = [
        Instant(Retry, "clone", "enter", 1),
        Instant(Child, "dup2", "enter", 1),
        Instant(Child, "prctl", "exit", 1),
        Instant(Child, "getppid", "exit", 1),
        Instant(Child, "read", "enter", 1),
        Instant(Child, "read", "exit", 1),
        Instant(Child, "rt_sigpending", "enter", 1),
        Instant(Child, "rt_sigpending", "exit", 1),
        BEFORE_MASK,
        Instant(Child, "execve", "enter", 1),
        Instant(Child, "execve", "exit", 1),
        Instant(Retry, "clone", "exit", 1),
        Instant(Retry, "poll", "enter", 1),
    ];
    each(instants, |instant| assert_eq!(interrupted_at(instant, &[]), ["up", "int", "mark"], "{instant:?}"));
}

#[test]
fn without_proc_the_interrupt_key_is_not_lost() {
    need!("perl", "strace");
    let hidden = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /proc && exec \"$@\"", "sh"];
    if retry::Retry::new(hidden[0]).args(&hidden[1..]).arg("true").run().status.code() != Some(0) {
        needs::left_out("the right to mount a file system");
        return;
    }
    let instants = [
        Instant(Retry, "clone", "enter", 1),
        Instant(Child, "rt_sigpending", "enter", 1),
        Instant(Child, "execve", "enter", 1),
    ];
    each(instants, |instant| {
        let lines = interrupted_at(instant, &hidden);
        // The command may get the INT twice.
        let is = |word: &&String| *word == "int";
        assert!((1..=2).contains(&lines.iter().filter(is).count()), "{instant:?}: {lines:?}");
    });
}

#[test]
fn a_signal_to_the_group_of_a_command_that_leaves_it_reaches_that_once() {
    need!("perl", "strace");
    let sent = |instant: Instant| {
        let scratch = Scratch::new();
        let log = scratch.log("log");
        let [strace, words @ ..] = &instant.strace()[..] else { panic!("it has words") };
        let running = retry::Retry::new(strace)
            .args(words)
            .args([BINARY, "-n1", "--", "perl", "-e", COUNT])
            .env("LOG", log.path())
            .blocking(Signal::SIGINT)
            .spawn();
        let held = instant.wait(running.pid());
        // After the child has left the group, only retry gets the INT.
        let by_group = matches!(instant, Instant(Child, "setpgid", "enter", _));
        let lines = held.logged(by_group, &log, || {
            assert!(process::send(-running.pid(), Signal::SIGINT));
        });
        assert_eq!(lines, ["up", "int", "mark"], "{instant:?}");
        running.wait_bounded().code(6);
    };
    let instants = [
        Instant(Retry, "clone", "enter", 1),
        Instant(Child, "setpgid", "enter", 1),
        Instant(Child, "setpgid", "exit", 1),
        Instant(Child, "execve", "enter", 1),
    ];
    each(instants, sent);
}

/// Types ^Z at this instant of a command's start, and continues the job in the foreground after the
/// shell shows its prompt.
#[track_caller]
fn suspended_at(instant: Instant) {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let gate = scratch.join("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = scratch.file("script", "echo up >>\"$LOG\"; read go <\"$GATE\"; exit 7");
    let mut terminal = Terminal::shell();
    terminal.command(&format!("export LOG={} GATE={}", quoted(log.path()), quoted(&gate)));
    let strace = instant.strace().join(" ");
    terminal.line(&format!("{strace} {BINARY} -n1 -- sh {}", quoted(&script)));
    let held = instant.wait(terminal.leader());
    terminal.key(CTRL_Z);
    held.release();
    terminal.expect("Stopped");
    terminal.expect_prompt();
    let job: Vec<Entry> = descendants_of(terminal.leader()).into_iter().filter_map(Entry::read).collect();
    assert!(job.len() >= 2 && job.iter().all(|e| stopped(e.pid)), "{}", terminal.transcript());
    terminal.line("fg");
    fs::write(&gate, "\n").unwrap();
    terminal.expect_prompt();
    assert!(terminal.command("echo $?").starts_with('7'), "{}", terminal.transcript());
}

#[test]
fn the_stop_key_stops_a_job_whose_command_starts() {
    need!("bash", "strace");
    let instants = [
        Instant(Retry, "clone", "enter", 1),
        Instant(Child, "rt_sigpending", "enter", 1),
        Instant(Child, "rt_sigpending", "exit", 1),
        BEFORE_MASK,
        Instant(Child, "execve", "enter", 1),
    ];
    each(instants, suspended_at);
}
