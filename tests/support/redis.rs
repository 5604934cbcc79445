//! Servers of Redis and Valkey, each with a port and a directory of its own on the loopback
//! interface, and with an end that does not depend on the test.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::needs;
use super::process::{self, wait_until};
use super::records::{failures_of, state_of};
use super::retry::{Retry, retry};
use super::run::Run;
use super::scratch::Scratch;

/// A server that the tests have started.
#[derive(Debug)]
pub(crate) struct Redis {
    child: Mutex<Child>,
    program: PathBuf,
    arguments: Vec<String>,
    pub(crate) port: u16,
    pub(crate) scratch: Scratch,
}

/// A port that is free now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// The path of `redis-server`, if this machine has it.
#[track_caller]
pub(crate) fn program() -> Option<PathBuf> {
    needs::program("redis-cli").and_then(|_| needs::program("redis-server"))
}

impl Redis {
    /// Starts a server with these further arguments, and waits until it answers.
    pub(crate) fn start(program: &Path, arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        for _ in 0..20 {
            let scratch = Scratch::new();
            let port = free_port();
            let child = Mutex::new(spawn(program, &arguments, port, scratch.path()));
            let server =
                Self { child, program: program.to_owned(), arguments: arguments.clone(), port, scratch };
            if server.is_up() {
                return server;
            }
        }
        panic!("{} does not start", program.display());
    }

    /// A server that all tests share. Each test uses names of its own.
    #[track_caller]
    pub(crate) fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Redis> = OnceLock::new();
        let program = program()?;
        Some(SHARED.get_or_init(|| Self::start(&program, &[])))
    }

    /// Whether the server answers, and is the one that this test has started: another process may
    /// have taken the port meanwhile.
    fn is_up(&self) -> bool {
        for _ in 0..2000 {
            if self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait().unwrap().is_some() {
                return false;
            }
            let output = self.command().args(["INFO", "server"]).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            if text.contains(&format!("process_id:{}\r", self.pid())) || text.contains("NOAUTH") {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.lock().unwrap_or_else(PoisonError::into_inner).id().try_into().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        process::send(self.pid(), signal);
    }

    /// Kills the server, and waits for its end.
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        child.wait().unwrap();
    }

    /// Starts the server again after its end, empty, at the same port.
    pub(crate) fn restart(&self) {
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) =
            spawn(&self.program, &self.arguments, self.port, self.scratch.path());
        assert!(self.is_up(), "the server starts again");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A run that keeps its records here, and its files in a directory of its own.
    pub(crate) fn retry(&self) -> Retry {
        retry().env("RETRY_STATE", self.url()).env("XDG_STATE_HOME", self.scratch.path())
    }

    /// Makes a run that the server serves. On a very busy machine a run may get no answer within
    /// its limits, and goes on with files. Such a run has changed nothing here, and is repeated.
    #[track_caller]
    pub(crate) fn run(&self, run: impl Fn(Retry) -> Retry) -> Run {
        for _ in 0..20 {
            let run = run(self.retry()).run();
            if !run.stderr.contains("no answer within ") {
                return run;
            }
        }
        panic!("no run was served");
    }

    /// redis-cli for this server.
    fn command(&self) -> Command {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]).stdin(Stdio::null());
        command
    }

    /// Sends a command with redis-cli, an independent client. Returns its answer.
    #[track_caller]
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        let mut output = self.command().args(words).output().unwrap();
        // A server that becomes a replica closes all connections.
        for _ in 0..20 {
            if output.status.success() || !String::from_utf8_lossy(&output.stderr).contains("closed") {
                break;
            }
            output = self.command().args(words).output().unwrap();
        }
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Changes the value of a key, and keeps its life.
    #[track_caller]
    pub(crate) fn set(&self, key: &str, value: &str) {
        assert_eq!(self.ask(&["SET", key, value, "KEEPTTL"]), "OK");
    }

    /// The key of a name.
    #[track_caller]
    pub(crate) fn key(&self, name: &str) -> String {
        let keys = self.ask(&["KEYS", &format!("retry:v*:{name}")]);
        assert_eq!(keys.lines().count(), 1, "{keys}");
        keys
    }

    /// The record of a name.
    #[track_caller]
    pub(crate) fn read(&self, name: &str) -> Value {
        let text = self.ask(&["GET", &self.key(name)]);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The field `state` of the breaker in the record `name`.
    #[track_caller]
    pub(crate) fn state(&self, name: &str) -> String {
        state_of(&self.read(name))
    }

    /// The field `failures` of the breaker in the record `name`.
    #[track_caller]
    pub(crate) fn failures(&self, name: &str) -> u64 {
        failures_of(&self.read(name))
    }

    /// Waits until the field `state` of the breaker in the record `name` has this value.
    #[track_caller]
    pub(crate) fn wait_for_state(&self, name: &str, state: &str) {
        wait_until("the breaker has its state", || {
            !self.ask(&["KEYS", &format!("retry:v*:{name}")]).is_empty() && self.state(name) == state
        });
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // A stopped process dies of KILL too.
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Starts a server that dies with this process. The kernel ends a child at the end of the thread
/// that has started it (PR_SET_PDEATHSIG, prctl(2)), so one thread starts all servers and stays.
fn spawn(program: &Path, arguments: &[String], port: u16, directory: &Path) -> Child {
    let mut command = Command::new(program);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.arg("--dir").arg(directory).args(["--daemonize", "no", "--loglevel", "warning"]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    start(command)
}

/// Starts a command that dies with this process.
pub(crate) fn start(mut command: Command) -> Child {
    type Order = (Command, mpsc::Sender<Child>);
    static STARTER: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    // SAFETY: prctl(2) is a plain system call.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    let starter = STARTER.get_or_init(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in orders {
                answer.send(command.spawn().unwrap()).unwrap();
            }
        });
        Mutex::new(sender)
    });
    let (answer, child) = mpsc::channel();
    starter.lock().unwrap_or_else(PoisonError::into_inner).send((command, answer)).unwrap();
    child.recv().unwrap()
}
