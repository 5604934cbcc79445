//! A start that fails because of a lack of resources, or only for the moment, is retried.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::Uid;

use crate::support::needs;
use crate::support::retry::{BINARY, Retry};
use crate::support::{Run, Scratch, each, retry};

/// Runs `retry OPTIONS -- COMMAND` under strace, which makes the calls in `inject` fail.
#[track_caller]
fn injected(inject: &str, options: &[&str], command: &[&str]) -> Run {
    let call = inject.split(':').next().unwrap();
    let (trace, inject) = (format!("trace={call}"), format!("inject={inject}"));
    let strace = Retry::new("strace").args(["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject]);
    strace.arg(BINARY).args(["-d", "0", "--label", "it"]).args(options).arg("--").args(command).run()
}

#[test]
fn every_error_of_a_start_is_retried_or_final() {
    need!("strace");
    // The error, its message, and whether the error is retried.
    let errors = [
        ("EAGAIN", "too many processes", true),
        ("ENOMEM", "Out of memory", true),
        ("ENFILE", "too many open files in the system", true),
        ("EMFILE", "Too many open files", true),
        ("ETXTBSY", "Text file busy", true),
        ("EINTR", "Interrupted system call", true),
        ("EIO", "I/O error", true),
        ("ESTALE", "Stale file handle", true),
        ("ETIMEDOUT", "Connection timed out", true),
        ("E2BIG", "Argument list too long", false),
        ("EACCES", "Permission denied", false),
        ("EPERM", "Operation not permitted", false),
        ("ELOOP", "Too many symbolic links encountered", false),
        ("ELIBBAD", "Accessing a corrupted shared library", false),
    ];
    each(errors, |(error, told, passes)| each_way(error, told, passes));
}

/// Gets the error from execve(2) in every attempt, and from clone(2) in the first attempt.
#[track_caller]
fn each_way(error: &str, told: &str, passes: bool) {
    let failing = format!("execve:error={error}");
    let run = injected(&failing, &["-n2"], &["/bin/true"]);
    if passes {
        run.code(126).says(&[
            &format!("retry: it: attempt 1 of 2: /bin/true: could not run: {told}; next in 0s"),
            &format!("retry: it: gave up after 2 attempts in {{T}}: /bin/true: could not run: {told}"),
        ]);
    } else {
        let line = format!("retry: it: not retried: /bin/true: could not run: {told} (-r 126 retries it)");
        run.code(126).says(&[&line]);
    }
    let run = injected(&format!("clone:error={error}:when=1"), &["-n2"], &["/bin/true"]);
    if passes {
        run.code(0).says(&[
            &format!("retry: it: attempt 1 of 2 could not be started: {told}; next in 0s"),
            "retry: it: succeeded at attempt 2 of 2 in {T}",
        ]);
    } else {
        let line = format!("retry: it: not retried: could not be started: {told} (-r 125 retries it)");
        run.code(125).says(&[&line]);
    }
}

#[test]
fn options_see_a_start_that_may_work_later() {
    need!("strace");
    let attempts = |options: &[&str]| {
        let run = injected("clone:error=EAGAIN:when=1", &[&["-n2"], options].concat(), &["/bin/true"]);
        (run.status.code(), run.messages().len())
    };
    for options in [
        &["--not-idempotent"][..],
        &["-r", "126"],
        &["-r", "7,transient"],
        &["-r", "failure"],
        &["-r", "1,any", "--success-on", "0"],
        &["-p", "curl"],
    ] {
        assert_eq!(attempts(options), (Some(0), 2), "{options:?}");
    }
    for options in [&["-r", "7"][..], &["-x", "126"], &["-x", "transient"], &["-x", "failure"]] {
        assert_eq!(attempts(options), (Some(126), 1), "{options:?}");
    }
    // The condition does not match, because the command has not run.
    for options in [["-u", "failure"], ["--success-on", "any"]] {
        let run = injected("execve:error=EIO", &[&["-n2"], &options[..]].concat(), &["/bin/true"]);
        run.code(126).stderr_contains("gave up after 2 attempts");
    }
    let run = injected("clone:error=EAGAIN:when=1", &["-n2", "-v"], &["/bin/true"]);
    run.code(0).stderr_contains("too many processes (a start that may work later is retryable)");
}

#[test]
fn a_start_that_fails_says_nothing_of_the_service() {
    need!("strace");
    let scratch = Scratch::new();
    let state = scratch.join("state");
    let breaker = ["--state", state.to_str().unwrap(), "--breaker", "b", "--breaker-failures", "2"];
    let fails = |inject: &str, attempts: &str| {
        injected(inject, &[&breaker[..], &["-n", attempts]].concat(), &["/bin/false"])
    };
    // The single failure that counts stays the only one, and is not forgotten.
    retry().args(["-n1"]).args(breaker).args(["--", "/bin/false"]).run().code(1);
    fails("execve:error=EIO", "3").code(126).stderr_contains("gave up after 3 attempts");
    let status = |expected: &str| {
        let shown = retry().args(["--state", breaker[1], "--breaker-status=b"]).run();
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(text.contains(expected), "{text}");
    };
    status("closed");
    retry().args(["-n1"]).args(breaker).args(["--", "/bin/false"]).run().code(1);
    status("open");
}

#[test]
fn a_check_that_cannot_start_is_asked_again() {
    need!("strace");
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let check = format!("{}; exit 1", log.echo("asked"));
    let run = injected("clone:error=ENOMEM:when=1", &["-n2", "--check", &check], &["/bin/true"]);
    run.code(0).says(&[
        "retry: it: attempt 1 of 2 was not made: --check could not be started: Out of memory; next in 0s",
        "retry: it: succeeded at attempt 2 of 2 in {T}",
    ]);
    assert_eq!(log.lines(), ["asked"]);
}

#[test]
fn a_file_that_is_being_written_is_run_once_it_is_whole() {
    let scratch = Scratch::new();
    for (name, bytes) in
        [("script", b"#!/bin/sh\nexit 0\n".to_vec()), ("program", fs::read("/bin/true").unwrap())]
    {
        let path = scratch.join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let writer = OpenOptions::new().append(true).open(&path).unwrap();
        let running =
            retry().args(["-n", "unlimited", "-d", "0.02", "--backoff", "constant"]).arg(&path).spawn();
        running.wait_for_stderr("could not run: Text file busy; next in 20ms");
        drop(writer);
        running.wait_bounded().code(0).stderr_contains("succeeded at attempt");
    }
}

#[test]
fn a_user_with_too_many_processes_gets_one_later() {
    if !Uid::effective().is_root() {
        // The test needs another user, without other processes.
        needs::left_out("the rights of root");
        return;
    }
    let scratch = Scratch::new();
    let program = scratch.script("retry", fs::read(BINARY).unwrap());
    // The user is unique to this test and may have two processes. One process already exists.
    let user = 3_000_000_000 + std::process::id();
    let alone = |command: &mut Command| {
        command.uid(user).gid(user).current_dir("/");
        // SAFETY: the closure makes one system call, and allocates nothing.
        unsafe { command.pre_exec(|| Ok(setrlimit(Resource::RLIMIT_NPROC, 2, 2)?)) };
    };
    let other = Retry::new("sleep").arg("300").with(alone).spawn();
    let running = Retry::new(&program)
        .args(["-n", "unlimited", "-d", "0.02", "--backoff", "constant", "--", "true"])
        .with(alone)
        .spawn();
    running.wait_for_stderr("attempt 1 could not be started: too many processes; next in 20ms");
    drop(other);
    running.wait_bounded().code(0).stderr_contains("succeeded at attempt");
}
