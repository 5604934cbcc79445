//! Real terminals: a pseudo-terminal (pty(7)), a shell that leads its session, job control, and a
//! record of everything that a person would see.
//!
//! The terminal echoes everything that a test types. A test that waits for a word must not type
//! that word: it types `echo rea''dy` and expects `ready`.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::termios::{Termios, tcgetattr};

use super::needs;
use super::process;
use super::retry::{BINARY, CI_VARIABLES, defaults_before_exec};

/// The prompt of the shells that this module starts.
pub(crate) const PROMPT: &str = "<<prompt>> ";

/// ^C, the key that sends INT.
pub(crate) const CTRL_C: &[u8] = b"\x03";
/// ^D, the key that ends the input.
pub(crate) const CTRL_D: &[u8] = b"\x04";
/// ^Z, the key that sends TSTP.
pub(crate) const CTRL_Z: &[u8] = b"\x1a";
/// ^\, the key that sends QUIT.
pub(crate) const CTRL_BACKSLASH: &[u8] = b"\x1c";

/// The longest wait for an expected text.
const PATIENCE: Duration = Duration::from_mins(1);

/// A terminal and its session. Drop kills the whole session.
#[derive(Debug)]
pub(crate) struct Terminal {
    master: Option<Arc<File>>,
    leader: Child,
    seen: Arc<Mutex<Vec<u8>>>,
    /// The length of the part of `seen` that earlier expectations have consumed.
    cursor: usize,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Starts an interactive bash with `retry` on its PATH, and waits for its prompt.
    #[track_caller]
    #[must_use]
    pub(crate) fn shell() -> Self {
        let mut bash = Command::new("bash");
        // Without readline the terminal stays in the mode that programs find it in.
        bash.args(["--norc", "--noprofile", "--noediting", "-i"]);
        Self::interactive(bash)
    }

    /// Starts an interactive dash with `retry` on its PATH, and waits for its prompt.
    #[track_caller]
    #[must_use]
    pub(crate) fn dash() -> Self {
        let mut dash = Command::new("dash");
        dash.arg("-i");
        Self::interactive(dash)
    }

    /// Starts an interactive zsh with `retry` on its PATH, and waits for its prompt.
    #[track_caller]
    #[must_use]
    pub(crate) fn zsh() -> Self {
        let mut zsh = Command::new("zsh");
        zsh.args(["-f", "-i", "-o", "nozle", "-o", "nopromptsp", "-o", "nopromptcr"]);
        Self::interactive(zsh)
    }

    #[track_caller]
    fn interactive(mut shell: Command) -> Self {
        let mut path = Path::new(BINARY).parent().unwrap().as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        for name in ["ENV", "BASH_ENV", "PS2", "PS4", "PROMPT_COMMAND", "MAIL", "TMOUT"] {
            shell.env_remove(name);
        }
        shell.env("PS1", PROMPT).env("PATH", path).env("HISTFILE", "/dev/null").env("TERM", "dumb");
        let mut terminal = Self::open(shell);
        terminal.expect_prompt();
        terminal
    }

    /// Runs `command` as the leader of a session. A new terminal of 24 by 80 is the session's
    /// controlling terminal and the command's stdin, stdout and stderr.
    #[track_caller]
    #[must_use]
    pub(crate) fn open(mut command: Command) -> Self {
        // All descriptors close at exec, so that a command which another test starts meanwhile
        // cannot keep this terminal open.
        let master = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOCTTY)
            .open("/dev/ptmx")
            .expect("there are pseudo-terminals");
        let unlocked: libc::c_int = 0;
        // SAFETY: TIOCSPTLCK reads an int.
        ok(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) });
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
        // SAFETY: TIOCGPTPEER takes the flags by value and returns a new descriptor (ioctl_tty(2)).
        let slave = ok(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) });
        // SAFETY: the descriptor was just created, and nothing else owns it.
        let slave = unsafe { OwnedFd::from_raw_fd(slave) };
        set_size(&master, 24, 80);

        for (name, _) in std::env::vars_os() {
            let of_ci = CI_VARIABLES.iter().any(|variable| name == *variable);
            if of_ci || name.as_encoded_bytes().starts_with(b"RETRY_") {
                command.env_remove(name);
            }
        }
        command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
        defaults_before_exec(&mut command, true, HashSet::new(), HashSet::new());
        // SAFETY: ioctl is only a system call, and it takes no pointer here.
        unsafe {
            command.pre_exec(|| match libc::ioctl(0, libc::TIOCSCTTY, 0) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            });
        }
        let leader = command.spawn().unwrap_or_else(|e| panic!("{command:?} did not start: {e}"));
        drop(command);

        let master = Arc::new(master);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let reader = {
            let (master, seen, stop) = (Arc::clone(&master), Arc::clone(&seen), Arc::clone(&stop));
            thread::spawn(move || watch(&master, &seen, &stop))
        };
        Self { master: Some(master), leader, seen, cursor: 0, stop, reader: Some(reader) }
    }

    /// The process id of the session's leader.
    pub(crate) fn leader(&self) -> i32 {
        self.leader.id().try_into().unwrap()
    }

    fn master(&self) -> &File {
        self.master.as_ref().expect("it was not hung up")
    }

    /// Types `text`; `\r` is the return key.
    pub(crate) fn send(&mut self, text: &str) {
        self.key(text.as_bytes());
    }

    /// Types these bytes, for example [`CTRL_C`].
    pub(crate) fn key(&mut self, bytes: &[u8]) {
        self.master().write_all(bytes).unwrap();
    }

    /// Types a command line at the prompt.
    pub(crate) fn line(&mut self, line: &str) {
        self.send(line);
        self.send("\r");
    }

    /// Types a command line, waits for the next prompt, and returns the text between the two.
    #[track_caller]
    pub(crate) fn command(&mut self, line: &str) -> String {
        self.line(line);
        // The echo comes first and ends with the end of the line.
        self.expect("\n");
        self.expect_prompt()
    }

    /// Waits for `needle` in the text after the earlier expectations, and returns the text before
    /// it.
    #[track_caller]
    pub(crate) fn expect(&mut self, needle: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            {
                let seen = self.seen.lock().unwrap();
                let new = &seen[self.cursor..];
                if let Some(at) = new.windows(needle.len()).position(|w| w == needle.as_bytes()) {
                    let before = String::from_utf8_lossy(&new[..at]).into_owned();
                    self.cursor += at + needle.len();
                    return before;
                }
            }
            assert!(Instant::now() < end, "{needle:?} was not seen in time:\n{}", self.transcript());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for the shell's next prompt, and returns the text before it.
    #[track_caller]
    pub(crate) fn expect_prompt(&mut self) -> String {
        self.expect(PROMPT)
    }

    /// Everything that the terminal has shown so far.
    pub(crate) fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    /// The whole text so far, with a mark at the place where the next expectation begins.
    pub(crate) fn transcript(&self) -> String {
        let seen = self.seen.lock().unwrap();
        let (old, new) = seen.split_at(self.cursor);
        let (old, new) = (String::from_utf8_lossy(old), String::from_utf8_lossy(new));
        let group = self.foreground_pgid();
        let table: Vec<_> = process::table().into_iter().filter(|e| e.sid == self.leader()).collect();
        format!("{old}|HERE|{new}\n--- foreground group {group:?}, session {table:#?}")
    }

    /// The process group in the foreground, if there is one.
    pub(crate) fn foreground_pgid(&self) -> Option<i32> {
        nix::unistd::tcgetpgrp(self.master.as_deref()?).ok().map(nix::unistd::Pid::as_raw)
    }

    /// Waits until the foreground belongs to a group whose first process has become the program
    /// `name`, and returns that group. Before that moment the process is still a copy of the shell
    /// with the shell's signal handling, so that a key could be lost.
    #[track_caller]
    pub(crate) fn wait_for_job(&self, name: &str) -> i32 {
        let mut job = None;
        process::wait_until(&format!("{name} in the foreground"), || {
            job = self.foreground_pgid().filter(|&group| group != self.leader());
            job.and_then(process::Entry::read).is_some_and(|entry| entry.name == name)
        });
        job.expect("the wait was for this")
    }

    /// Gives the terminal a new size, so that the kernel sends WINCH to the foreground group.
    pub(crate) fn size(&self, rows: u16, cols: u16) {
        set_size(self.master(), rows, cols);
    }

    /// The modes of the terminal, for a comparison of before and after.
    pub(crate) fn termios(&self) -> Termios {
        // On Linux an ioctl on the master acts on the slave (tty_ioctl.c, `tty_mode_ioctl`).
        tcgetattr(self.master()).unwrap()
    }

    /// Hangs up: the kernel sends HUP to the session's leader and to the foreground group.
    pub(crate) fn hang_up(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        self.master = None;
    }

    /// Waits until the leader ends.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        let mut status = None;
        process::wait_until("the end of the session's leader", || {
            status = self.leader.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Waits until the leader and everything that has the terminal open have ended, and all that
    /// they wrote has been seen.
    #[track_caller]
    pub(crate) fn wait_for_all(&mut self) -> std::process::ExitStatus {
        let status = self.wait();
        process::wait_until("the end of the terminal's output", || {
            self.reader.as_ref().is_none_or(JoinHandle::is_finished)
        });
        status
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if matches!(self.leader.try_wait(), Ok(None)) {
            process::kill_tree(self.leader());
            let _ = self.leader.wait();
        }
        self.hang_up();
    }
}

fn watch(mut master: &File, seen: &Mutex<Vec<u8>>, stop: &AtomicBool) {
    let mut buffer = vec![0; 16 * 1024];
    while !stop.load(Ordering::Acquire) {
        let mut fds = [PollFd::new(master.as_fd(), PollFlags::POLLIN)];
        if !matches!(poll(&mut fds, 10u8), Ok(1..)) {
            continue;
        }
        match master.read(&mut buffer) {
            Ok(0) => return,
            Ok(n) => seen.lock().unwrap().extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // EIO means that no process has the terminal open any more.
            Err(_) => return,
        }
    }
}

fn set_size(master: &File, rows: u16, cols: u16) {
    let size = libc::winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads a `winsize`.
    ok(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) });
}

#[track_caller]
fn ok(result: libc::c_int) -> libc::c_int {
    assert!(result >= 0, "{}", io::Error::last_os_error());
    result
}

mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn both_shells_have_a_terminal_and_job_control() {
        let dash = needs::all(&["dash"]).then(Terminal::dash);
        for mut terminal in [Terminal::shell()].into_iter().chain(dash) {
            let leader = terminal.leader();
            assert_eq!(terminal.command("echo o''k; tty | tr / _"), {
                let name = std::fs::read_link(format!("/proc/{leader}/fd/0")).unwrap();
                format!("ok\r\n{}\r\n", name.to_str().unwrap().replace('/', "_"))
            });
            assert_eq!((process::sid(leader), terminal.foreground_pgid()), (Some(leader), Some(leader)));
            let before = terminal.termios();
            terminal.line("cat");
            let job = terminal.wait_for_job("cat");
            assert_eq!(process::pgid(job), Some(job));
            terminal.key(CTRL_Z);
            terminal.expect_prompt();
            assert!(process::stopped(job), "{}", terminal.transcript());
            assert_eq!(terminal.foreground_pgid(), Some(leader));
            terminal.line("fg");
            assert_eq!(terminal.wait_for_job("cat"), job);
            process::wait_until("it runs on", || !process::stopped(job));
            terminal.key(CTRL_C);
            terminal.expect_prompt();
            assert!(!process::alive(job));
            assert_eq!(terminal.command("echo $?"), "130\r\n");
            assert_eq!(terminal.termios(), before);
        }
    }

    #[test]
    fn the_binary_under_test_is_found() {
        let mut terminal = Terminal::shell();
        assert_eq!(terminal.command("command -v retry"), format!("{BINARY}\r\n"));
    }

    #[test]
    fn a_new_size_is_told() {
        let mut terminal = Terminal::shell();
        terminal.line("sh -c 'trap \"stty size; exit\" WINCH; echo rea\"\"dy; while :; do sleep 0.05; done'");
        terminal.expect("ready");
        terminal.size(11, 77);
        terminal.expect("11 77");
        terminal.expect_prompt();
    }

    #[test]
    fn what_leads_a_session_dies_when_its_terminal_goes() {
        let mut cat = Terminal::open(Command::new("cat"));
        cat.line("word");
        cat.expect("word\r\nword\r\n");
        cat.hang_up();
        assert_eq!(cat.wait().signal(), Some(libc::SIGHUP));
    }

    #[test]
    fn a_terminal_takes_its_session_with_it() {
        let mut terminal = Terminal::shell();
        terminal.line("sleep 600");
        let job = terminal.wait_for_job("sleep");
        let leader = terminal.leader();
        drop(terminal);
        assert!(!process::alive(job) && !process::alive(leader));
    }
}
