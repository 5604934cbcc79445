//! `retry` runs a command until it succeeds. The command line is the interface. This library is the
//! inside of the binary, and not an interface for other programs.
//!
//! The flow of a run:
//!
//! ```text
//! argv ──cli──▶ Args, over those of a policy file ──resolve──▶ Policy + Invocation
//! run: loop {
//!     wait                effect     until the delay is over, or a signal arrives
//!     admit               effect     asks the breaker, in one transaction
//!     attempt             effect     ──▶ Attempt: Exited | Signaled | TimedOut | NotStarted, evidence
//!     classify            decision   ──▶ Verdict: Success | Retryable | Fatal, with the rule
//!     next                decision   ──▶ Step: Again | Await | Over
//!     settle              effect     asks breaker and budget, in one transaction; may change the step
//! } ──▶ Finish ──exit──▶ exit status, or death by the same signal
//! ```
//!
//! Imports point down, from this file and `run`, `host` and `manage` to `cli`, `report` and `exit`,
//! then to `process`, `streams` and `state` (effects), then to `policy` (pure decisions). `error`
//! and `clock` are used everywhere. `tests/architecture.rs` checks this.

#[cfg(not(target_os = "linux"))]
compile_error!("retry runs on Linux only so far: it needs signalfd, timerfd, a child subreaper and /proc");

mod cli;
mod clock;
mod error;
mod exit;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
mod host;
mod manage;
mod policy;
mod process;
mod report;
mod run;
mod state;
mod streams;

use std::ffi::{CString, OsString, c_char, c_int};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::cli::action::{Action, action};
use crate::cli::args::Args;
use crate::cli::parse::{Parsed, parse};
use crate::cli::policy_file::{self, PolicyFile};
use crate::cli::resolve::{Invocation, resolve};
use crate::error::Error;
use crate::exit::{Exit, FAILED};
use crate::manage::Done;
use crate::policy::stream::Stream;
use crate::report::format::printable;
use crate::streams::messages::Messages;
use crate::streams::standard::Standard as _;

#[doc(hidden)]
pub use crate::cli::reference;

/// The whole program. C's `main` calls it.
///
/// # Safety
/// `argv` must be null or point to `argc` valid C strings, as the C library hands it to `main`.
pub unsafe fn start(argc: c_int, argv: *const *const c_char) -> c_int {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|l| format!(" ({}:{})", l.file(), l.line())).unwrap_or_default();
        process::signal::disposition::block_write_signals();
        let line = format!("retry: internal error{place}; please report it");
        Messages::default().say(&line);
        process::entry::leave(FAILED);
    }));
    // SAFETY: the caller promises this.
    let args = unsafe { process::entry::arguments(argc, argv) };
    c_int::from(run(&args, process::entry::environment()))
}

/// Runs with these arguments, without the name of the program, and returns the exit status. If the
/// command died by a signal and somebody asked retry to end, retry dies by that signal.
pub fn run(args: &[OsString], environment: Vec<CString>) -> u8 {
    let mask = process::signal::disposition::block_user_signals();
    let task = match parse(args) {
        Ok(Parsed::Print(text)) => return print(&text),
        Ok(Parsed::Run(args)) => task(*args, environment),
        Err(error) => Err(error),
    };
    let exit = match task {
        Ok(Task::Act(action)) => return carry_out(&action),
        Ok(Task::Run(invocation)) => host::run(&invocation, mask),
        Err(error) => complain(&error),
    };
    match exit {
        Exit::Status(status) => status,
        Exit::Signal(signal) => {
            process::signal::disposition::die_by(signal);
            signal.status()
        }
    }
}

/// What the options ask for.
enum Task {
    Act(Action),
    Run(Box<Invocation>),
}

/// The task of the options that the user typed, with those of a policy.
///
/// This function and others below are never inlined. In one frame, the variables of all steps would
/// fill pages of the stack that a run does not need.
#[inline(never)]
fn task(typed: Args, environment: Vec<CString>) -> Result<Task, Error> {
    let Some(policy) = policy_file::read(&typed, &environment)? else {
        return task_of(typed, environment);
    };
    under(&policy, &typed, &environment)
}

/// The task of the typed options and those of this policy.
#[inline(never)]
fn under(policy: &PolicyFile, typed: &Args, environment: &[CString]) -> Result<Task, Error> {
    let merged = policy.under(typed.clone());
    task_of(merged, environment.to_vec())
        .map_err(|error| policy.explain(error, typed, |args| task_of(args, environment.to_vec()).is_ok()))
}

#[inline(never)]
fn task_of(args: Args, environment: Vec<CString>) -> Result<Task, Error> {
    Ok(match action(&args, &environment)? {
        Some(action) => Task::Act(action),
        None => Task::Run(Box::new(resolve(args, environment)?)),
    })
}

/// Carries out an action instead of running a command.
#[inline(never)]
fn carry_out(task: &Action) -> u8 {
    process::signal::disposition::block_write_signals();
    match manage::carry_out(task, host::SURROUNDINGS) {
        Ok(Done { text, aside, status }) => {
            let mut messages = Messages::default();
            for line in aside {
                messages.say(&printable(&line));
            }
            messages.finish(clock::now);
            match print(&text) {
                0 => status,
                failed => failed,
            }
        }
        Err(error) => {
            complain(&error);
            FAILED
        }
    }
}

/// Prints an error, and returns the status of a failed retry.
#[inline(never)]
fn complain(error: &Error) -> Exit {
    process::signal::disposition::block_write_signals();
    let mut messages = Messages::default();
    report::text::write_error(&mut messages, error);
    messages.finish(clock::now);
    Exit::Status(FAILED)
}

/// Writes a text to stdout, and waits for a slow reader.
#[inline(never)]
fn print(text: &str) -> u8 {
    let stdout = Stream::Stdout.fd();
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        // `std::io::Stdout` reports a closed stdout as a complete write.
        match nix::unistd::write(stdout, rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::EINTR) => {}
            // Another process that shares the file description has made it non-blocking.
            Err(Errno::EAGAIN) => {
                // If poll(2) fails, the next write reports the cause.
                let _ = poll(&mut [PollFd::new(stdout, PollFlags::POLLOUT)], PollTimeout::NONE);
            }
            // `retry --help | head -1` with SIGPIPE ignored: the reader has seen enough.
            Err(Errno::EPIPE) => return 0,
            Err(errno) => {
                complain(&Error::System { what: "cannot write to stdout", errno });
                return FAILED;
            }
        }
    }
    0
}
