//! The command under test, and the surroundings in which a test starts it.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{PipeReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal};

use super::run::Run;
use super::running::{Drain, Running};

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_retry");

/// The command under test at a low priority, for a crowd of processes. A crowd must not slow down the
/// tests that run beside it. `nice` replaces itself with the command, so the pid stays the same.
pub(crate) fn nice() -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "10", BINARY]);
    command
}

/// Variables of a CI that runs the tests. They would change what retry prints.
pub(super) const CI_VARIABLES: [&str; 4] =
    ["GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "TF_BUILD", "TRACEPARENT"];

/// The longest time of a run, unless the test sets another limit.
const LIMIT: Duration = Duration::from_mins(2);

/// The command under test with no arguments yet.
pub(crate) fn retry() -> Retry {
    Retry::new(BINARY)
}

/// A command to run. By default it leads its own session, has an empty stdin, has all signals at
/// their defaults, and lacks the variables that a `retry` or a CI around the tests would have set.
#[derive(Debug)]
#[must_use = "nothing runs before `run` or `spawn`"]
pub(crate) struct Retry {
    command: Command,
    stdin: Input,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
    setsid: bool,
    ignored: HashSet<Signal>,
    blocked: HashSet<Signal>,
    limit: Duration,
}

/// The stdin of a command.
#[derive(Debug)]
pub(crate) enum Input {
    /// These bytes, through a pipe that closes after them.
    Bytes(Vec<u8>),
    /// This descriptor.
    Stdio(Stdio),
}

impl From<&str> for Input {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }
}

impl From<&[u8]> for Input {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<Vec<u8>> for Input {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Stdio> for Input {
    fn from(stdio: Stdio) -> Self {
        Self::Stdio(stdio)
    }
}

impl From<File> for Input {
    fn from(file: File) -> Self {
        Self::Stdio(file.into())
    }
}

impl From<PipeReader> for Input {
    fn from(pipe: PipeReader) -> Self {
        Self::Stdio(pipe.into())
    }
}

impl Retry {
    /// Prepares another program in the same way, for a comparison.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        keep_small();
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let of_ci = CI_VARIABLES.iter().any(|variable| name == *variable);
            if of_ci || name.as_encoded_bytes().starts_with(b"RETRY_") {
                command.env_remove(name);
            }
        }
        Self {
            command,
            stdin: Input::Stdio(Stdio::null()),
            stdout: None,
            stderr: None,
            setsid: true,
            ignored: HashSet::new(),
            blocked: HashSet::new(),
            limit: LIMIT,
        }
    }

    /// Adds an argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// Ends the arguments with `-- sh -c SCRIPT`.
    pub(crate) fn sh(self, script: impl AsRef<OsStr>) -> Self {
        self.args(["--", "sh", "-c"]).arg(script)
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Removes a variable.
    pub(crate) fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Starts the command without any variables, except for those set after this call.
    pub(crate) fn env_clear(mut self) -> Self {
        self.command.env_clear();
        self
    }

    /// Sets the stdin: bytes through a pipe, a file, the end of a pipe, or a `Stdio`.
    pub(crate) fn stdin(mut self, input: impl Into<Input>) -> Self {
        self.stdin = input.into();
        self
    }

    /// Sends the stdout elsewhere, instead of into [`Run::stdout`].
    pub(crate) fn stdout(mut self, stdio: impl Into<Stdio>) -> Self {
        self.stdout = Some(stdio.into());
        self
    }

    /// Sends the stderr elsewhere, instead of into [`Run::stderr`].
    pub(crate) fn stderr(mut self, stdio: impl Into<Stdio>) -> Self {
        self.stderr = Some(stdio.into());
        self
    }

    /// Sets the working directory.
    pub(crate) fn dir(mut self, path: impl AsRef<Path>) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Sets whether the command leads its own session, without a controlling terminal (the
    /// default).
    pub(crate) fn setsid(mut self, yes: bool) -> Self {
        self.setsid = yes;
        self
    }

    /// Starts the command with this signal ignored, as under `nohup` or after `trap ''`.
    pub(crate) fn ignoring(mut self, signal: Signal) -> Self {
        self.ignored.insert(signal);
        self
    }

    /// Starts the command with this signal blocked.
    pub(crate) fn blocking(mut self, signal: Signal) -> Self {
        self.blocked.insert(signal);
        self
    }

    /// Starts the command as if the kernel lacked tee(2) (ENOSYS), as under some sandboxes.
    pub(crate) fn without_tee(self) -> Self {
        self.denying(libc::SYS_tee, libc::ENOSYS)
    }

    /// Starts the command under a filter that answers this system call with this errno
    /// (seccomp(2)).
    pub(crate) fn denying(mut self, call: libc::c_long, errno: i32) -> Self {
        let number = u32::try_from(call).unwrap();
        let instruction = |code: u32, yes, no, k| libc::sock_filter {
            code: u16::try_from(code).unwrap(),
            jt: yes,
            jf: no,
            k,
        };
        let filter = [
            // The system call's number is the first field of the data that a filter sees
            // (seccomp(2)).
            instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
            instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number),
            instruction(
                libc::BPF_RET | libc::BPF_K,
                0,
                0,
                libc::SECCOMP_RET_ERRNO | u32::try_from(errno).unwrap(),
            ),
            instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        // SAFETY: prctl(2) is a plain system call, and the closure owns the filter.
        unsafe {
            self.command.pre_exec(move || {
                let program = libc::sock_fprog {
                    len: libc::c_ushort::try_from(filter.len()).unwrap_or(0),
                    filter: filter.as_ptr().cast_mut(),
                };
                let on: libc::c_ulong = 1;
                let none: libc::c_ulong = 0;
                let mode: libc::c_ulong = libc::c_ulong::from(libc::SECCOMP_MODE_FILTER);
                if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, on, none, none, none) != 0
                    || libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) != 0
                {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        self
    }

    /// Applies any other change that a [`Command`] allows.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Command)) -> Self {
        change(&mut self.command);
        self
    }

    /// Sets the longest time of the run. After that time all its processes are killed and the test
    /// fails.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs the command to its end.
    #[track_caller]
    pub(crate) fn run(self) -> Run {
        self.spawn().wait_bounded()
    }

    /// Starts the command.
    #[track_caller]
    pub(crate) fn spawn(mut self) -> Running {
        let bytes = match self.stdin {
            Input::Bytes(bytes) => {
                self.command.stdin(Stdio::piped());
                Some(bytes)
            }
            Input::Stdio(stdio) => {
                self.command.stdin(stdio);
                None
            }
        };
        self.command.stdout(self.stdout.unwrap_or_else(Stdio::piped));
        self.command.stderr(self.stderr.unwrap_or_else(Stdio::piped));
        defaults_before_exec(&mut self.command, self.setsid, self.ignored, self.blocked);
        let shown = format!("{:?}", self.command);
        let started = Instant::now();
        let mut child = self.command.spawn().unwrap_or_else(|e| panic!("{shown} did not start: {e}"));
        // Descriptors that remain open in this process would keep pipes open.
        drop(self.command);
        if let Some(bytes) = bytes {
            let mut pipe = child.stdin.take().unwrap();
            // The command may leave bytes unread. The thread then ends when the last reader closes
            // the pipe.
            thread::spawn(move || pipe.write_all(&bytes));
        }
        let stdout = child.stdout.take().map(Drain::new);
        let stderr = child.stderr.take().map(Drain::new);
        Running { child, stdout, stderr, started, limit: self.limit, shown, status: None }
    }
}

/// Lets malloc(3) give the memory of large buffers back to the system. By default it keeps more and
/// more of them, because it raises its limit for what is large (mallopt(3)). fork(2) copies the page
/// tables of all memory of this process, and the tests start thousands of processes.
fn keep_small() {
    #[cfg(target_env = "gnu")]
    {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| {
            // SAFETY: mallopt takes two numbers.
            let done = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, 128 * 1024) };
            assert_eq!(done, 1, "mallopt(3) knows this parameter");
        });
    }
}

/// Lets a command start with the dispositions and the mask of a login shell's child, whatever the
/// tests themselves started with. For example, a shell without job control ignores INT for
/// background commands, and the command would inherit that.
pub(crate) fn defaults_before_exec(
    command: &mut Command,
    setsid: bool,
    ignored: HashSet<Signal>,
    blocked: HashSet<Signal>,
) {
    let blocked: SigSet = blocked.into_iter().collect();
    // SAFETY: setsid, signal and sigprocmask are async-signal-safe (signal-safety(7)). Nothing here
    // allocates, because the sets are built before.
    unsafe {
        command.pre_exec(move || {
            if setsid {
                nix::unistd::setsid()?;
            }
            for signal in Signal::iterator() {
                if matches!(signal, Signal::SIGKILL | Signal::SIGSTOP) {
                    continue;
                }
                let ignore = ignored.contains(&signal);
                let handler = if ignore { SigHandler::SigIgn } else { SigHandler::SigDfl };
                nix::sys::signal::signal(signal, handler)?;
            }
            nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked), None)?;
            Ok(())
        });
    }
}
mod tests {
    use super::*;

    #[test]
    fn signals_start_as_asked_for() {
        let status = |run: Run| {
            let text = String::from_utf8(run.stdout).unwrap();
            let field = |name: &str| {
                let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap();
                u64::from_str_radix(line.trim(), 16).unwrap()
            };
            (field("SigIgn:") & 0x7fff_ffff, field("SigBlk:"))
        };
        let cat = || Retry::new("cat").arg("/proc/self/status");
        assert_eq!(status(cat().run()), (0, 0));
        assert_eq!(status(cat().ignoring(Signal::SIGHUP).blocking(Signal::SIGINT).run()), (1, 2));
    }
}
