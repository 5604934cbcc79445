//! A running command: its output so far, signals to it, and a bounded wait for its end.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::Signal;

use super::process;
use super::run::{Run, describe};

/// The interval between checks for events that cannot be waited for.
const POLL: Duration = Duration::from_millis(2);

/// Reads a stream until its end, or until its writer has exited and the stream is empty. The second
/// condition is needed because processes that the writer left behind may keep the stream open.
#[derive(Debug)]
pub(super) struct Drain {
    bytes: Arc<Mutex<Vec<u8>>>,
    exited: Arc<AtomicBool>,
    thread: Option<JoinHandle<Box<dyn Stream>>>,
}

/// The reading end of a pipe, which stays open for as long as the test looks at the run.
pub(super) trait Stream: Read + AsFd + Send + std::fmt::Debug {}

impl<T: Read + AsFd + Send + std::fmt::Debug> Stream for T {}

impl Drain {
    pub(super) fn new(stream: impl Stream + 'static) -> Self {
        let mut stream: Box<dyn Stream> = Box::new(stream);
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let exited = Arc::new(AtomicBool::new(false));
        let (filled, ended) = (Arc::clone(&bytes), Arc::clone(&exited));
        let thread = thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                // We load the flag before we look into the pipe. If the writer has exited by then,
                // all its output is already in the pipe.
                let ended = ended.load(Ordering::Acquire);
                let mut fds = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
                match poll(&mut fds, 10u8) {
                    Ok(0) if ended => return stream,
                    Ok(0) | Err(_) => continue,
                    Ok(_) => {}
                }
                match stream.read(&mut buffer) {
                    Ok(0) => return stream,
                    Ok(n) => filled.lock().unwrap().extend_from_slice(&buffer[..n]),
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return stream,
                }
            }
        });
        Self { bytes, exited, thread: Some(thread) }
    }

    fn so_far(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    fn finish(&mut self) -> Box<dyn Stream> {
        self.exited.store(true, Ordering::Release);
        self.thread.take().unwrap().join().unwrap()
    }
}

/// A running command. If it is dropped before its end, it is killed with all processes that it
/// started.
#[derive(Debug)]
#[must_use = "a command that is not waited for is killed"]
pub(crate) struct Running {
    pub(super) child: Child,
    pub(super) stdout: Option<Drain>,
    pub(super) stderr: Option<Drain>,
    pub(super) started: Instant,
    pub(super) limit: Duration,
    pub(super) shown: String,
    pub(super) status: Option<ExitStatus>,
}

impl Running {
    /// The process id.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    /// Sends a signal to this process, but not to its group.
    pub(crate) fn signal(&self, signal: Signal) {
        process::send(self.pid(), signal);
    }

    /// The output on stdout so far.
    pub(crate) fn stdout_so_far(&self) -> Vec<u8> {
        self.stdout.as_ref().map(Drain::so_far).unwrap_or_default()
    }

    /// The output on stderr so far.
    pub(crate) fn stderr_so_far(&self) -> String {
        let bytes = self.stderr.as_ref().map(Drain::so_far).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until stderr contains `needle`.
    #[track_caller]
    pub(crate) fn wait_for_stderr(&self, needle: &str) {
        self.wait_for_text("stderr", needle, || self.stderr_so_far());
    }

    /// Waits until stdout contains `needle`.
    #[track_caller]
    pub(crate) fn wait_for_stdout(&self, needle: &str) {
        self.wait_for_text("stdout", needle, || String::from_utf8_lossy(&self.stdout_so_far()).into_owned());
    }

    #[track_caller]
    fn wait_for_text(&self, stream: &str, needle: &str, text: impl Fn() -> String) {
        let mut end = Instant::now() + process::PATIENCE;
        while !text().contains(needle) {
            let now = Instant::now();
            assert!(now < end, "no {needle:?} in its {stream}\n{}", self.describe("not waited for"));
            if self.ended() {
                // The last output may still be on its way to us, but there will be no more.
                end = end.min(now + Duration::from_secs(10));
            }
            thread::sleep(POLL);
        }
    }

    /// Tells whether the command has ended, without reaping it.
    pub(crate) fn ended(&self) -> bool {
        !process::alive(self.pid())
    }

    /// Waits for the end. After the limit all its processes are killed, and the test fails.
    #[track_caller]
    pub(crate) fn wait_bounded(mut self) -> Run {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if self.started.elapsed() > self.limit {
                process::kill_tree(self.pid());
                let status = self.child.wait().unwrap();
                self.status = Some(status);
                panic!("it did not end within {:?}\n{}", self.limit, self.describe(&status.to_string()));
            }
            thread::sleep(POLL);
        };
        let took = self.started.elapsed();
        self.status = Some(status);
        let open = [self.stdout.as_mut(), self.stderr.as_mut()];
        let open = open.into_iter().flatten().map(Drain::finish).collect();
        Run {
            status,
            stdout: self.stdout_so_far(),
            stderr: self.stderr_so_far(),
            took,
            shown: std::mem::take(&mut self.shown),
            open,
        }
    }

    fn describe(&self, status: &str) -> String {
        describe(&self.shown, status, &self.stdout_so_far(), &self.stderr_so_far())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.status.is_none() {
            process::kill_tree(self.pid());
            let _ = self.child.wait();
        }
        for drain in [self.stdout.as_ref(), self.stderr.as_ref()].into_iter().flatten() {
            drain.exited.store(true, Ordering::Release);
        }
    }
}
mod tests {
    use super::*;
    use crate::support::failure::failure;
    use crate::support::run::tests::sh;
    use crate::support::scratch::Scratch;

    #[test]
    fn a_run_past_its_limit_is_killed_with_all_that_it_started() {
        let scratch = Scratch::new();
        let log = scratch.log("pids");
        let script = format!("echo seen; setsid sleep 600 & {}; wait", log.echo("$!"));
        let run = sh(&script).limit(Duration::from_millis(500));
        let text = failure(|| run.run());
        assert!(text.contains("did not end within") && text.contains("seen"), "{text}");
        let pid = log.wait_for(1)[0].parse().unwrap();
        process::wait_until("the sleeper is dead", || !process::alive(pid));
    }

    #[test]
    fn a_command_that_is_dropped_is_killed() {
        let running = sh("echo ready; sleep 600").spawn();
        running.wait_for_stdout("ready");
        let pid = running.pid();
        assert_eq!(process::sid(pid), Some(pid));
        drop(running);
        assert!(!process::alive(pid));
    }

    #[test]
    fn what_is_left_running_does_not_hold_up_a_run() {
        let run = sh("sleep 600 & echo $!").run();
        let left = process::Doomed::new(String::from_utf8_lossy(&run.stdout).trim().parse().unwrap());
        assert!(left.alive());
    }
}
