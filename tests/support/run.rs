//! The results of a finished run, and assertions about them.

use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Output};
use std::time::Duration;

use assert_cmd::assert::Assert;
use nix::sys::signal::Signal;
use predicates::Predicate;

use super::running::Stream;

/// The results of a run. Its pipes stay open until this value is dropped, so that processes which
/// the command left running do not die of SIGPIPE.
#[derive(Debug)]
pub(crate) struct Run {
    /// The exit status or signal.
    pub(crate) status: ExitStatus,
    /// Everything that arrived on stdout until the run ended.
    pub(crate) stdout: Vec<u8>,
    /// Everything that arrived on stderr until the run ended, with invalid UTF-8 replaced.
    pub(crate) stderr: String,
    /// The time from before the start to the end, which is never less than the true time.
    pub(crate) took: Duration,
    pub(super) shown: String,
    pub(super) open: Vec<Box<dyn Stream>>,
}

impl Run {
    /// Asserts that the run exited with `status`.
    #[track_caller]
    pub(crate) fn code(&self, status: i32) -> &Self {
        self.check(self.status.code() == Some(status), &format!("exit status {status}"))
    }

    /// Asserts that the run died by `signal`.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) -> &Self {
        self.check(self.status.signal() == Some(signal as i32), &format!("death by {signal}"))
    }

    /// Asserts that stdout is exactly this.
    #[track_caller]
    pub(crate) fn stdout(&self, expected: impl AsRef<[u8]>) -> &Self {
        let expected = expected.as_ref();
        let what = format!("stdout {:?}", String::from_utf8_lossy(expected));
        self.check(self.stdout == expected, &what)
    }

    /// Asserts that stderr is exactly this.
    #[track_caller]
    pub(crate) fn stderr(&self, expected: &str) -> &Self {
        self.check(self.stderr == expected, &format!("stderr {expected:?}"))
    }

    /// Asserts that stderr contains this.
    #[track_caller]
    pub(crate) fn stderr_contains(&self, needle: &str) -> &Self {
        self.stderr_is(&predicates::str::contains(needle))
    }

    /// Asserts that stderr satisfies this.
    #[track_caller]
    pub(crate) fn stderr_is(&self, predicate: &impl Predicate<str>) -> &Self {
        self.check(predicate.eval(&self.stderr), &format!("a stderr with {predicate}"))
    }

    /// Asserts that stderr is empty.
    #[track_caller]
    pub(crate) fn silent(&self) -> &Self {
        self.stderr("")
    }

    /// The lines on stderr that retry itself wrote.
    pub(crate) fn messages(&self) -> Vec<&str> {
        self.stderr.lines().filter(|line| line.starts_with("retry: ")).collect()
    }

    /// Asserts that retry wrote exactly these lines. `{T}` stands for any time (`0.8s`, `1m 30s`),
    /// `{R}` for a reason in parentheses or nothing, and `{*}` for any text.
    #[track_caller]
    pub(crate) fn says(&self, lines: &[&str]) -> &Self {
        let messages = self.messages();
        let fits =
            messages.len() == lines.len() && messages.iter().zip(lines).all(|(m, l)| shaped(l).eval(m));
        self.check(fits, &format!("these messages and no others:\n{}", lines.join("\n")))
    }

    /// The announced waits, in the format of the messages.
    pub(crate) fn announced(&self) -> Vec<&str> {
        self.messages().iter().filter_map(|line| Some(line.split_once("; next in ")?.1)).collect()
    }

    /// The assertions of `assert_cmd`, if a test needs more than the methods here.
    pub(crate) fn assert(&self) -> Assert {
        let (stdout, stderr) = (self.stdout.clone(), self.stderr.clone().into_bytes());
        let output = Output { status: self.status, stdout, stderr };
        Assert::new(output).append_context("command", self.shown.clone())
    }

    /// Fails if `true_of_it` is false, and shows everything that is known about the run.
    #[track_caller]
    pub(crate) fn check(&self, true_of_it: bool, expected: &str) -> &Self {
        assert!(
            true_of_it,
            "expected {expected}\n{}\ntook {:?}",
            describe(&self.shown, &self.status.to_string(), &self.stdout, &self.stderr),
            self.took
        );
        self
    }
}

/// A regular expression for a time in messages.
const TIME: &str = r"\d+(\.\d+)?(ms|s|m|h|d)( \d+(\.\d+)?(ms|s|m|h))*";

/// A predicate for the shape of a message; see [`Run::says`].
fn shaped(line: &str) -> impl Predicate<str> {
    let mut pattern = String::from("^");
    for c in line.chars() {
        let meta = r"\.+*?()|[]{}^$#&-~".contains(c);
        write!(pattern, "{}{c}", if meta { r"\" } else { "" }).unwrap();
    }
    let pattern =
        pattern.replace(r"\{T\}", TIME).replace(r"\{R\}", r"( \([^)]*\))?").replace(r"\{\*\}", ".*");
    predicates::str::is_match(pattern + "$").unwrap()
}
pub(super) fn describe(shown: &str, status: &str, stdout: &[u8], stderr: &str) -> String {
    let stdout = String::from_utf8_lossy(stdout);
    format!("command: {shown}\nstatus: {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---")
}
pub(super) mod tests {

    use super::*;
    use crate::support::failure::failure;
    use crate::support::retry::Retry;

    /// A shell that runs `script`.
    pub(crate) fn sh(script: &str) -> Retry {
        Retry::new("sh").args(["-c", script])
    }

    #[test]
    fn a_run_is_told_whole() {
        let run = sh("cat; echo lines >&2; exit 3").stdin("in").run();
        run.code(3).stdout("in").stderr("lines\n").stderr_contains("ine");
        run.assert().code(3).stdout("in");
        assert_eq!(sh("kill -TERM $$").run().silent().signal(Signal::SIGTERM).stdout, b"");
    }

    #[test]
    fn a_wrong_expectation_fails_and_shows_everything() {
        let run = sh("echo one; echo two >&2; exit 3").run();
        for text in [
            failure(|| run.code(0)),
            failure(|| run.signal(Signal::SIGTERM)),
            failure(|| run.stdout("on")),
            failure(|| run.stderr("two")),
            failure(|| run.stderr_contains("three")),
            failure(|| run.silent()),
            failure(|| run.says(&["retry: x"])),
        ] {
            assert!(
                text.contains("one") && text.contains("two") && text.contains("exit status: 3"),
                "{text}"
            );
        }
    }

    #[test]
    fn messages_are_compared_by_shape() {
        let line = "retry: curl: attempt 1 of 5 exited 7 (could not connect); next in ";
        let expected = ["retry: curl: attempt 1 of 5 exited 7{R}; next in {T}"];
        for time in ["0.8s", "12s", "1m 30s", "250ms"] {
            let run = sh(&format!("echo noise >&2; echo '{line}{time}' >&2")).run();
            run.says(&expected);
            assert_eq!(run.announced(), [time]);
        }
        for time in ["soon", "0.8s.", "0.8", ""] {
            let run = sh(&format!("echo '{line}{time}' >&2")).run();
            failure(|| run.says(&expected));
        }
        let quiet = sh("").run();
        failure(|| quiet.says(&expected));
    }
}
