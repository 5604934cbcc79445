//! On a terminal, a longer wait is counted down on a line that is erased before anything else is
//! printed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::process::{stopped, wait_until};
use crate::support::retry::BINARY;
use crate::support::scratch::quoted;
use crate::support::terminal::{CTRL_C, CTRL_Z, PROMPT};
use crate::support::{Retry, Scratch, Terminal, retry};

/// What retry writes before and behind each of its lines that count down.
const BEGIN: &str = "\r\x1b[?7l";
const END: &str = "\x1b[J\x1b[?7h\r";

/// What retry writes to erase such a line.
const ERASE: &str = "\r \x1b[J\r";

/// The lines of a terminal that is wide enough, and of which nothing scrolls away.
fn screen(seen: &str) -> Vec<String> {
    let (mut lines, mut column) = (vec![Vec::new()], 0);
    let mut rest = seen;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let row: &mut Vec<char> = lines.last_mut().unwrap();
        match c {
            '\r' => column = 0,
            '\n' => {
                lines.push(Vec::new());
                column = 0;
            }
            '\x1b' => {
                let wrap = rest.strip_prefix("[?7l").or_else(|| rest.strip_prefix("[?7h"));
                if wrap.is_none() {
                    row.truncate(column);
                }
                let erase = || rest.strip_prefix("[J");
                rest = wrap.or_else(erase).unwrap_or_else(|| panic!("another sequence: {rest:?}"));
            }
            c => {
                row.resize(row.len().max(column + 1), ' ');
                row[column] = c;
                column += 1;
            }
        }
    }
    lines.into_iter().map(|line| String::from_iter(line).trim_end().to_owned()).collect()
}

/// The texts that were drawn in place of each other.
fn frames(seen: &str) -> Vec<&str> {
    let drawn = seen.split(BEGIN).skip(1);
    drawn.filter_map(|part| Some(part.split_once(END)?.0)).filter(|part| part.contains(" in ")).collect()
}

/// The seconds that lines like `... in 3s` count down.
fn seconds(seen: &str) -> Vec<u32> {
    let number = |frame: &&str| frame.rsplit(' ').next()?.strip_suffix('s')?.parse().ok();
    frames(seen).iter().filter_map(number).collect()
}

/// A terminal in which retry runs as the leader of the session, and counts down if it can.
fn start(change: impl FnOnce(&mut Command)) -> Terminal {
    let mut command = Command::new(BINARY);
    command.env("TERM", "xterm").args(["--label", "job"]);
    change(&mut command);
    Terminal::open(command)
}

/// A terminal whose run has two attempts with a wait of this length between them. The attempts run
/// this script.
fn two_attempts(wait: &str, options: &[&str], script: &str) -> Terminal {
    start(|command| {
        command.args(["-n2", "-jnone", "-d", wait]).args(options).args(["sh", "-c", script]);
    })
}

/// Asserts that seconds count down from a number to 1. A busy machine may miss one of them.
#[track_caller]
fn assert_counts_down(seen: &str, from: u32) {
    let seconds = seconds(seen);
    let falls = seconds.windows(2).all(|pair| pair[0] > pair[1]);
    assert!(falls && seconds.len() + 1 >= from as usize, "{seconds:?}\n{seen:?}");
    assert!(seconds.iter().all(|second| (1..=from).contains(second)), "{seconds:?}\n{seen:?}");
}

#[test]
fn a_wait_is_counted_down_and_nothing_is_left_of_it() {
    let script = "echo run $RETRY_ATTEMPT; exit 3";
    let mut plain = two_attempts("3", &[], script);
    // A process in the background writes through retry, which watches stderr here.
    let noise = "[ $RETRY_ATTEMPT = 2 ] || (sleep 1; echo noise >&2; sleep 1; printf part >&2) & exit 3";
    let mut noisy = two_attempts("4", &["-x", "stderr~never"], noise);
    let mut narrow = two_attempts("3", &[], script);
    let mut verbose = two_attempts("2", &["-v"], script);
    let mut splayed = start(|command| {
        command.args(["--splay", "3", "--seed", "1", "-n1", "sh", "-c", "echo run"]);
    });
    narrow.expect("attempt 2 of 2 in ");
    narrow.size(24, 20);
    let ends = [&mut plain, &mut noisy, &mut narrow, &mut verbose, &mut splayed];
    let ends = ends.map(|terminal| terminal.wait_for_all().code());
    assert_eq!(ends, [Some(3), Some(3), Some(3), Some(3), Some(0)]);

    let seen = plain.seen();
    assert_counts_down(&seen, 3);
    assert!(
        frames(&seen).iter().all(|frame| frame.starts_with("retry: job: attempt 2 of 2 in ")),
        "{seen:?}"
    );
    let lines = screen(&seen);
    assert_eq!(lines[..3], ["run 1", "retry: job: attempt 1 of 2 exited 3; next in 3s", "run 2"]);
    assert!(lines[3].starts_with("retry: job: gave up after 2 attempts"), "{lines:#?}");
    assert_eq!(lines[4..], [""]);

    let seen = noisy.seen();
    let lines = screen(&seen);
    assert_eq!(lines[..3], ["retry: job: attempt 1 of 2 exited 3; next in 4s", "noise", "part"], "{seen:?}");
    assert!(lines[3].starts_with("retry: job: gave up"), "{lines:#?}");
    // The line comes back after the noise, but not behind an unfinished line.
    let (before, after) = seen.split_once("noise").unwrap();
    assert!(!frames(before).is_empty() && !frames(after).is_empty(), "{seen:?}");
    assert_eq!(frames(after.split_once("part").unwrap().1), [""; 0], "{seen:?}");

    let seen = narrow.seen();
    let short = "retry: job: attempt";
    let at = seen.find(&format!("{BEGIN}{short}{END}")).unwrap_or_else(|| panic!("{seen:?}"));
    assert_eq!(
        (frames(&seen)[0], frames(&seen[at..])),
        ("retry: job: attempt 2 of 2 in 3s", vec![]),
        "{seen:?}"
    );

    assert_counts_down(&verbose.seen(), 2);
    let seen = splayed.seen();
    assert!(frames(&seen)[0].starts_with("retry: job: attempt 1 of 1 in "), "{seen:?}");
    assert_eq!(screen(&seen)[1..], ["run", ""]);
}

/// A server of tmux with one window, which runs a shell command. Drop ends both.
struct Tmux {
    socket: PathBuf,
    _scratch: Scratch,
}

impl Tmux {
    fn open(width: u16, command: &str) -> Self {
        let scratch = Scratch::new();
        let tmux = Self { socket: scratch.join("tmux"), _scratch: scratch };
        tmux.tell(&["new-session", "-d", "-x", &width.to_string(), "-y", "12", command]);
        tmux
    }

    fn tell(&self, words: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        tmux.arg("-S").arg(&self.socket).args(["-f", "/dev/null"]).args(words);
        let out = tmux.env("SHELL", "/bin/sh").env_remove("TMUX").output().unwrap();
        assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// Gives the window another width, which breaks longer lines or joins them again.
    fn width(&self, width: u16) {
        self.tell(&["resize-window", "-x", &width.to_string()]);
    }

    /// Waits for these lines, apart from empty ones. A broken line counts as one.
    #[track_caller]
    fn shows(&self, lines: &[&str]) {
        let mut shown = Vec::new();
        wait_until(&format!("{lines:#?}"), || {
            let text = self.tell(&["capture-pane", "-p", "-J", "-S", "-"]);
            let text = text.lines().map(|line| line.trim_end().to_owned());
            shown = text.filter(|line| !line.is_empty()).collect();
            shown == lines
        });
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.tell(&["kill-server"]);
    }
}

#[test]
fn nothing_is_left_of_the_line_when_the_terminal_becomes_narrower() {
    need!("tmux");
    // For 50 seconds, the time that is left is 3 hours in words.
    let run = "--label job -n2 -jnone -d 10850 sh -c 'echo one; echo two; exit 3'";
    let tmux = Tmux::open(80, &format!("exec {BINARY} {run}"));
    let above = ["one", "two", "retry: job: attempt 1 of 2 exited 3; next in 3h"];
    let with = |line: &'static str| [&above[..], &[line]].concat();
    for (width, line) in [
        (80, "retry: job: attempt 2 of 2 in 3h"),
        (25, "retry: job: attempt 2 of"),
        (11, "retry: job"),
        (80, "retry: job: attempt 2 of 2 in 3h"),
    ] {
        tmux.width(width);
        tmux.shows(&with(line));
    }
}

/// How often a process has given the processor up and got it again.
fn wakes(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    line.trim().parse().unwrap()
}

#[test]
fn nothing_is_counted_down_where_nobody_could_see_it_or_wants_to() {
    let scratch = Scratch::new();
    let script = "exit 3";
    let mut all = [
        two_attempts("2", &["-q"], script),
        two_attempts("1.8", &[], script),
        start(|command| {
            command.env("TERM", "dumb").args(["-n2", "-jnone", "-d2", "sh", "-c", script]);
        }),
        start(|command| {
            command.env_remove("TERM").args(["-n2", "-jnone", "-d2", "sh", "-c", script]);
        }),
    ];
    // This terminal has no retry in it, because stderr is a file there.
    let mut logged = Command::new("sh");
    let line = format!("exec {BINARY} -n2 -jnone -d2 sh -c 'exit 3' 2>{}", quoted(scratch.join("log")));
    logged.env("TERM", "xterm").args(["-c", &line]);
    let mut logged = Terminal::open(logged);
    // Without a terminal, retry sleeps through the wait.
    let asleep = retry().env("TERM", "xterm").args(["-n2", "-jnone", "-d600"]).sh("exit 3").spawn();
    asleep.wait_for_stderr("next in 10m\n");
    let mut before = wakes(asleep.pid());
    wait_until("it sleeps", || {
        thread::sleep(Duration::from_millis(50));
        std::mem::replace(&mut before, wakes(asleep.pid())) == before
    });
    for terminal in &mut all {
        assert_eq!(terminal.wait_for_all().code(), Some(3));
        assert!(!terminal.seen().contains('\x1b'), "{}", terminal.transcript());
    }
    assert_eq!(logged.wait_for_all().code(), Some(3));
    assert_eq!(wakes(asleep.pid()), before);
    asleep.signal(Signal::SIGTERM);
    asleep.wait_bounded().signal(Signal::SIGTERM);
    assert!(!fs::read_to_string(scratch.join("log")).unwrap().contains('\x1b'));
    assert_eq!(logged.seen(), "");
}

#[test]
fn job_control_takes_the_line_away_and_brings_it_back() {
    let mut terminal = Terminal::shell();
    terminal.command("export TERM=xterm");
    terminal.line("retry --label job -n2 -d600 -jnone -- sh -c 'exit 3'");
    terminal.expect("retry: job: attempt 2 of 2 in ");
    let job = terminal.wait_for_job("retry");
    terminal.key(CTRL_Z);
    let stop = terminal.expect("Stopped");
    assert!(stop.contains(ERASE), "{stop:?}");
    terminal.expect_prompt();
    assert!(stopped(job));
    terminal.command("bg");
    wait_until("it goes on", || !stopped(job));
    // Two looks at the terminal find it in the background.
    thread::sleep(Duration::from_millis(2200));
    assert_eq!(frames(&terminal.command("echo qui''et")), [""; 0]);
    terminal.line("fg");
    terminal.expect("retry: job: attempt 2 of 2 in 9m ");
    terminal.key(CTRL_C);
    let end = terminal.expect_prompt();
    assert!(end.contains(&format!("{ERASE}retry: job: interrupted by INT during the wait")), "{end:?}");
    let lines = screen(&terminal.seen());
    assert!(lines.iter().all(|line| !line.contains("attempt 2 of 2 in")), "{lines:#?}");
    assert_eq!(lines.last().unwrap(), PROMPT.trim_end());
}

#[test]
fn a_wait_for_a_breaker_is_counted_down() {
    let scratch = Scratch::new();
    let state = scratch.join("state");
    let trip = Retry::new(BINARY).arg("--state").arg(&state).args(["--breaker-trip", "payments=3s"]).run();
    trip.code(0);
    let mut terminal = start(|command| {
        command.arg("--state").arg(&state);
        command.args(["--breaker", "payments", "--breaker-cooldown", "1", "--breaker-wait"]);
        command.args(["--deadline", "1m", "sh", "-c", "echo run"]);
    });
    assert_eq!(terminal.wait_for_all().code(), Some(0));
    let seen = terminal.seen();
    assert!(
        frames(&seen)[0].starts_with("retry: job: waits for breaker payments; looks again in "),
        "{seen:?}"
    );
    let lines = screen(&seen);
    assert!(lines.iter().all(|line| !line.contains("waits for breaker")), "{lines:#?}");
    assert!(lines.contains(&"run".to_owned()), "{lines:#?}");
}
