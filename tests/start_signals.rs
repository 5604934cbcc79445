//! Signals that arrive while a command starts reach it exactly once, at each instant between clone(2) and
//! execve(2).
//!
//! strace holds a process up at one system call. The command starts with INT blocked, so that an INT from
//! before its execve stays pending and can be counted.

use std::fs;
use std::process::Command;
use std::thread;

use nix::sys::signal::Signal;

use crate::support::needs;
use crate::support::process::{self, Entry, descendants_of, stopped, wait_until};
use crate::support::retry::{self, BINARY};
use crate::support::scratch::quoted;
use crate::support::terminal::{CTRL_C, CTRL_Z};
use crate::support::{Log, Scratch, Terminal};

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

/// Who is held up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Retry,
    Child,
}

use Who::{Child, Retry};

/// Where a start is held up: at the n-th call of this name, on its way in or out.
#[derive(Debug, Clone, Copy)]
struct Instant(Who, &'static str, &'static str, usize);

impl Instant {
    /// The words that make strace hold up retry there, and before retry reads its signals: the command deals
    /// with its own first, so that a second one does not merge with it.
    fn strace(self) -> Vec<String> {
        let Self(_, call, side, n) = self;
        let there = format!("inject={call}:delay_{side}=250000:when={n}");
        let trace = format!("trace={call},poll");
        // Only these calls stop for strace, so that the command starts in less time than the delays take.
        let mut words =
            vec!["strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &there];
        if call != "poll" {
            words.extend(["-e", "inject=poll:delay_enter=250000:when=1"]);
        }
        words.into_iter().map(ToOwned::to_owned).collect()
    }

    /// Waits until the process is held up there, or has passed it: then the test is true and less sharp.
    #[track_caller]
    fn wait(self, above: i32, log: &Log) {
        let Self(who, call, ..) = self;
        let mut seen = 0;
        wait_until(&format!("{self:?}"), || {
            let held = match (who, retry_in(above)) {
                (_, None) => None,
                (Retry, Some(retry)) => Some(retry),
                (Child, Some(retry)) => process::children_of(retry).first().copied(),
            };
            let there = held.is_some_and(|pid| process::state(pid) == Some('t') && is_in(pid, call));
            // Each call of a traced process stops for a moment, the one that is held up for longer.
            seen = if there { seen + 1 } else { 0 };
            seen >= 4 || !log.lines().is_empty()
        });
    }
}

/// The first process that is retry, of this one and those below it.
fn retry_in(above: i32) -> Option<i32> {
    let tree = std::iter::once(above).chain(descendants_of(above));
    tree.filter_map(Entry::read).find(|entry| entry.name == "retry").map(|entry| entry.pid)
}

/// Whether a process is in this system call (proc_pid_syscall(5)).
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
        "rt_sigprocmask" => libc::SYS_rt_sigprocmask,
        "setpgid" => libc::SYS_setpgid,
        other => panic!("{other} has no number here"),
    };
    let text = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    text.split(' ').next() == Some(&number.to_string())
}

/// What the command has logged once it has got an INT, and all that came to retry before a WINCH to it.
#[track_caller]
fn logged(above: i32, log: &Log) -> Vec<String> {
    let retry = retry_in(above).expect("it runs until TERM");
    wait_until("the INT", || log.lines().iter().any(|line| line == "int"));
    process::send(retry, Signal::SIGWINCH);
    wait_until("what came before", || log.lines().iter().any(|line| line == "mark"));
    process::send(retry, Signal::SIGTERM);
    log.lines()
}

/// Types ^C at this instant of the start of a command; what that has logged.
#[track_caller]
fn interrupted_at(instant: Instant, around: &[&str]) -> Vec<String> {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let [strace, words @ ..] = &instant.strace()[..] else { panic!("it has words") };
    let mut command = Command::new(strace);
    command.args(words).args(around).args(["env", "--block-signal=INT"]);
    command.args([BINARY, "-n1", "-r", "output~x", "--", "perl", "-e", COUNT]).env("LOG", log.path());
    let mut terminal = Terminal::open(command);
    instant.wait(terminal.leader(), &log);
    terminal.key(CTRL_C);
    let lines = logged(terminal.leader(), &log);
    assert_eq!(terminal.wait().code(), Some(6), "{}", terminal.transcript());
    lines
}

/// Runs a check for each instant, all at once: they wait more than they work.
fn each(instants: &[Instant], check: impl Fn(Instant) + Sync) {
    thread::scope(|scope| {
        for instant in instants {
            let check = &check;
            scope.spawn(move || check(*instant));
        }
    });
}

#[test]
fn the_interrupt_key_reaches_a_command_that_starts_exactly_once() {
    need!("perl", "strace");
    let instants = [
        Instant(Retry, "clone", "enter", 1),
        Instant(Child, "dup2", "enter", 1),
        Instant(Child, "read", "enter", 1),
        Instant(Child, "read", "exit", 1),
        Instant(Child, "getppid", "enter", 1),
        Instant(Child, "rt_sigpending", "enter", 1),
        Instant(Child, "rt_sigpending", "exit", 1),
        Instant(Child, "rt_sigaction", "exit", 1),
        Instant(Child, "rt_sigprocmask", "enter", 1),
        Instant(Child, "execve", "enter", 1),
        Instant(Child, "execve", "exit", 1),
        Instant(Retry, "clone", "exit", 1),
        Instant(Retry, "rt_sigpending", "enter", 1),
        Instant(Retry, "poll", "enter", 1),
    ];
    each(&instants, |instant| assert_eq!(interrupted_at(instant, &[]), ["up", "int", "mark"], "{instant:?}"));
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
    each(&instants, |instant| {
        let lines = interrupted_at(instant, &hidden);
        // It may come twice.
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
        // strace itself leaves the group.
        let running = retry::Retry::new(strace)
            .args(["-DDD"])
            .args(words)
            .args([BINARY, "-n1", "--", "perl", "-e", COUNT])
            .env("LOG", log.path())
            .blocking(Signal::SIGINT)
            .spawn();
        instant.wait(running.pid(), &log);
        assert!(process::send(-running.pid(), Signal::SIGINT));
        assert_eq!(logged(running.pid(), &log), ["up", "int", "mark"], "{instant:?}");
        running.wait_bounded().code(6);
    };
    let instants = [
        Instant(Retry, "clone", "enter", 1),
        Instant(Child, "setpgid", "enter", 1),
        Instant(Child, "setpgid", "exit", 1),
        Instant(Child, "execve", "enter", 1),
    ];
    each(&instants, sent);
}

/// Types ^Z at this instant of the start of a command, and brings the job back once the shell has its prompt.
#[track_caller]
fn suspended_at(instant: Instant) {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let gate = scratch.join("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = scratch.file("script", "echo up >>\"$LOG\"; read go <\"$GATE\"; exit 7");
    let mut terminal = Terminal::shell();
    terminal.command(&format!("export LOG={} GATE={}", quoted(log.path()), quoted(&gate)));
    // With -DDD strace is no part of the job.
    let strace = instant.strace().join(" ").replacen("strace", "strace -DDD", 1);
    terminal.line(&format!("{strace} {BINARY} -n1 -- sh {}", quoted(&script)));
    instant.wait(terminal.leader(), &log);
    terminal.key(CTRL_Z);
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
        Instant(Child, "rt_sigprocmask", "enter", 1),
        Instant(Child, "rt_sigprocmask", "exit", 1),
        Instant(Child, "execve", "enter", 1),
        Instant(Retry, "clone", "exit", 1),
    ];
    each(&instants, suspended_at);
}
