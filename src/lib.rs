//! `retry` runs a command until it succeeds. The command line is the interface; this library is only what
//! the binary is made of, and promises nothing to other programs.
//!
//! The way of the data:
//!
//! ```text
//! argv ──cli──▶ Args ──resolve──▶ Policy + Invocation
//! run: loop {
//!     Refusal ◀ admit              decide   by the breaker, in one transaction
//!     Outcome ◀ attempt            effect   Exited | Signaled | TimedOut | NotStarted
//!     Verdict ◀ classify           decide   Success | Retryable | Fatal, with the rule
//!     Next    ◀ schedule           decide   Stop | Wait
//!     Next    ◀ settle             decide   by breaker and budget, in one transaction
//!     Pause   ◀ wait               effect   elapsed, or a signal
//! } ──▶ Finish ──exit──▶ exit status, or death by the same signal
//! ```
//!
//! Three floors; an import points down: `run`, `host` and this file over `cli`, `report` and `exit` over
//! `process`, `streams` and `state` (effects) over `policy` (decisions, pure). `tests/architecture.rs` holds that.

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

/// What the fuzzers in `fuzz/` call.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz {
    use crate::policy::verdict::properties;

    /// See the property.
    pub fn condition(bytes: &[u8]) {
        properties::condition(bytes);
    }

    /// See the property.
    pub fn key(bytes: &[u8]) {
        crate::state::key::property(bytes);
    }

    /// See the property.
    pub fn options(bytes: &[u8]) {
        crate::cli::properties::options(bytes);
    }

    /// See the property.
    pub fn values(bytes: &[u8]) {
        crate::cli::properties::values(bytes);
    }

    /// See the property.
    pub fn response(bytes: &[u8]) {
        properties::response(bytes);
    }

    /// See the property.
    pub fn record(bytes: &[u8]) {
        crate::state::record::property(bytes);
    }

    /// See the property.
    pub fn evidence(bytes: &[u8]) {
        properties::evidence(bytes);
    }

    /// See the property.
    pub fn words(bytes: &[u8]) {
        properties::words(bytes);
    }

    /// See the property.
    pub fn stat(bytes: &[u8]) {
        crate::process::descendants::property(bytes);
    }

    /// See the properties.
    pub fn shown(bytes: &[u8]) {
        crate::report::format::property(bytes);
        crate::report::status::property(bytes);
    }

    /// See the property.
    pub fn window(bytes: &[u8]) {
        properties::window(bytes);
    }
}

/// The whole program, as C's `main` calls it.
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
    // SAFETY: the caller's promise.
    let args = unsafe { process::entry::arguments(argc, argv) };
    c_int::from(run(&args, process::entry::environment()))
}

/// Runs with these arguments (the program's name not among them) and environment, and returns the exit
/// status; dies by a signal where the command did and retry was asked to end.
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

/// Does what was asked for instead of running a command.
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

/// Says why nothing was run.
fn complain(error: &Error) -> Exit {
    process::signal::survive_writes();
    let mut messages = Messages::default();
    report::text::write_error(&mut messages, error);
    messages.finish(clock::now);
    Exit::Status(FAILED)
}

/// Runs the attempts of an invocation to their end.
///
/// # Errors
/// Where nothing could be run.
fn attempts(invocation: &Invocation, mask: StartMask) -> Result<Exit, Error> {
    let policy = &invocation.policy;
    if let KeySource::File(path) = &invocation.key {
        // What is wrong with it is said before anything is waited for.
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

/// If the run ended because the command was not found.
fn is_not_found(finish: &Finish) -> bool {
    matches!(
        finish,
        Finish::NotRetried { outcome: Outcome::NotStarted(NotStarted::NotFound), .. }
            | Finish::GaveUp { outcome: Outcome::NotStarted(NotStarted::NotFound), .. }
    )
}

/// Writes an answer (help, version, the state of breakers) to stdout, and waits for as long as its reader takes.
fn print(text: &str) -> u8 {
    let stdout = Stream::Stdout.fd();
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        // `std::io::Stdout` reports a closed stdout as a complete write.
        match nix::unistd::write(stdout, rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::EINTR) => {}
            // The description is shared with other processes, and one of them made it non-blocking.
            Err(Errno::EAGAIN) => {
                // If poll(2) fails, the next write says why there is no progress.
                let _ = poll(&mut [PollFd::new(stdout, PollFlags::POLLOUT)], PollTimeout::NONE);
            }
            // `retry --help | head -1` with SIGPIPE ignored: who stops reading has seen enough.
            Err(Errno::EPIPE) => return 0,
            Err(errno) => {
                complain(&Error::System { what: "cannot write to stdout", errno });
                return FAILED;
            }
        }
    }
    0
}
