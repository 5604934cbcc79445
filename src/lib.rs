//! `retry` runs a command until it succeeds. The command line is the interface. This library is the
//! inside of the binary, and not an interface for other programs.
//!
//! The flow of a run:
//!
//! ```text
//! argv ──cli──▶ Args ──resolve──▶ Policy + Invocation
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
//! Imports point down, from this file and `run`, `host` and `manage` to `cli`, `report` and `exit`, then
//! to `process`, `streams` and `state` (effects), then to `policy` (pure decisions). `error` and `clock`
//! are used everywhere. `tests/architecture.rs` checks this.

#[cfg(not(target_os = "linux"))]
compile_error!("retry runs on Linux only so far: it needs signalfd, timerfd, a child subreaper and /proc");

mod cli;
mod clock;
mod error;
mod exit;
mod host;
mod manage;
mod policy;
mod process;
mod report;
mod run;
mod state;
mod streams;

use std::ffi::{CString, OsString, c_char, c_int};
use std::sync::Arc;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::cli::action::{Action, action};
use crate::cli::parse::{Parsed, parse};
use crate::cli::resolve::{Invocation, resolve};
use crate::cli::values::KeySource;
use crate::error::Error;
use crate::exit::{Exit, FAILED};
use crate::policy::finish::Finish;
use crate::policy::outcome::{NotStarted, Outcome};
use crate::policy::stream::Stream;
use crate::process::attempt::{Between, Supervisor};
use crate::process::signal::StartMask;
use crate::report::Report;
use crate::report::event::Event;
use crate::report::format::printable;
use crate::report::subject::{Names, Subject};
use crate::state::participant::Participant;
use crate::streams::headers::HeadersFile;
use crate::streams::messages::Messages;
use crate::streams::plan::can_hold;
use crate::streams::standard::Standard as _;

#[doc(hidden)]
pub use crate::cli::reference;

/// The entry points of the fuzzers in `fuzz/`.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz {
    use crate::policy::verdict::properties;

    pub fn condition(bytes: &[u8]) {
        properties::condition(bytes);
    }

    pub fn key(bytes: &[u8]) {
        crate::state::key::property(bytes);
    }

    pub fn options(bytes: &[u8]) {
        crate::cli::properties::options(bytes);
    }

    pub fn values(bytes: &[u8]) {
        crate::cli::properties::values(bytes);
    }

    pub fn response(bytes: &[u8]) {
        properties::response(bytes);
    }

    pub fn record(bytes: &[u8]) {
        crate::state::record::property(bytes);
    }

    pub fn evidence(bytes: &[u8]) {
        properties::evidence(bytes);
    }

    pub fn words(bytes: &[u8]) {
        properties::words(bytes);
    }

    pub fn stat(bytes: &[u8]) {
        crate::process::descendants::property(bytes);
    }

    pub fn shown(bytes: &[u8]) {
        crate::report::format::property(bytes);
        crate::report::status::property(bytes);
    }

    pub fn window(bytes: &[u8]) {
        properties::window(bytes);
    }
}

/// The whole program. C's `main` calls it.
///
/// # Safety
/// `argv` must be null or point to `argc` valid C strings, as the C library hands it to `main`.
pub unsafe fn start(argc: c_int, argv: *const *const c_char) -> c_int {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|l| format!(" ({}:{})", l.file(), l.line())).unwrap_or_default();
        process::signal::survive_writes();
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
    let mask = process::signal::hold_notices();
    let invocation = match parse(args) {
        Ok(Parsed::Run(args)) => match action(&args, &environment) {
            Ok(Some(task)) => return carry_out(&task),
            Ok(None) => resolve(*args, environment),
            Err(error) => Err(error),
        },
        Ok(Parsed::Print(text)) => return print(&text),
        Err(error) => Err(error),
    };
    match invocation
        .and_then(|invocation| attempts(&invocation, mask))
        .unwrap_or_else(|error| complain(&error))
    {
        Exit::Status(status) => status,
        Exit::Signal(signal) => {
            process::signal::die_by(signal);
            signal.status()
        }
    }
}

/// Carries out an action instead of running a command.
fn carry_out(task: &Action) -> u8 {
    process::signal::survive_writes();
    match manage::carry_out(task, host::SURROUNDINGS) {
        Ok((text, aside)) => {
            let mut messages = Messages::default();
            for line in aside {
                messages.say(&printable(&line));
            }
            messages.finish(clock::now);
            print(&text)
        }
        Err(error) => {
            complain(&error);
            FAILED
        }
    }
}

/// Prints an error, and returns the status of a failed retry.
fn complain(error: &Error) -> Exit {
    process::signal::survive_writes();
    let mut messages = Messages::default();
    report::text::write_error(&mut messages, error);
    messages.finish(clock::now);
    Exit::Status(FAILED)
}

/// Runs a command until the end of the run.
///
/// # Errors
/// If no attempt can be made.
fn attempts(invocation: &Invocation, mask: StartMask) -> Result<Exit, Error> {
    let policy = &invocation.policy;
    if let KeySource::File(path) = &invocation.key {
        // A key file that cannot be used is an error before the first wait.
        let _ = state::key::read(path).map_err(host::key_error)?;
    }
    if invocation.hold && !can_hold() {
        return Err(Error::usage(
            "stdout is a socket with message boundaries, and --hold would lose them",
            "leave --hold out, or pass the output through a pipe",
        ));
    }
    let wanted = Arc::new(policy.rules.wanted(invocation.reach));
    let headers = invocation.headers.as_deref().map(HeadersFile::new).transpose()?;
    let sharing = &invocation.sharing;
    let subject = Subject {
        label: invocation.label.clone(),
        typed: invocation.typed.clone(),
        max_attempts: policy.schedule.max_attempts,
        rules: policy.rules.clone(),
        shared: Names { breaker: sharing.breaker.clone(), budget: sharing.budget.clone() },
        written: invocation.written.clone(),
        doubt: invocation.two_in_one.clone(),
    };
    let mut report = Report::new(subject, invocation.volume);
    report.tell(&Event::Started);
    if let Some(why) = invocation.http_unheard {
        report.tell(&Event::HttpUnseen { why });
    }
    let shared = Participant::new(
        sharing.breaker.as_ref().zip(policy.admission.breaker),
        sharing.budget.as_ref().zip(policy.admission.budget),
        host::SURROUNDINGS,
    );
    let between = Between { wanted, headers, stdin: invocation.stdin, hold: invocation.hold };
    let (finish, mut report) = match Supervisor::new(between, mask) {
        Ok(supervisor) => {
            let mut host =
                host::System { supervisor, invocation, report, shared, random: None, dice: None, key: None };
            let finish = run::run(policy, &mut host);
            host.supervisor.leave();
            if matches!(finish, Ok(Finish::Succeeded { .. })) {
                host.forget_key();
            }
            (finish, host.report)
        }
        Err(error) => (Err(error), report),
    };
    let exit = match finish {
        Ok(finish) => {
            if let Some(hint) = invocation.not_found_hint.as_deref().filter(|_| is_not_found(&finish)) {
                report.tell(&Event::Hint(hint));
            }
            Exit::of(&finish)
        }
        Err(error) => {
            report.tell(&Event::Failure(&error));
            Exit::Status(FAILED)
        }
    };
    report.finish(clock::now);
    Ok(exit)
}

/// Whether the run ended because the command was not found.
fn is_not_found(finish: &Finish) -> bool {
    matches!(
        finish,
        Finish::NotRetried { outcome: Outcome::NotStarted(NotStarted::NotFound), .. }
            | Finish::GaveUp { outcome: Outcome::NotStarted(NotStarted::NotFound), .. }
    )
}

/// Writes a text to stdout, and waits for a slow reader.
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
