//! JSON lines for other programs: one for each attempt, as it ends, and one for the run.
//!
//! `docs/report.schema.json` describes the lines. They hold no ARG, no output of the command and no
//! idempotency key.

use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use nix::errno::Errno;
use rand::TryRng as _;
use rand::rngs::SysRng;
use serde::Serialize;

use super::Sink;
use super::event::{Event, Loss, Lost};
use super::format::printable;
use super::tally::{Ended, RunResult};
use super::wording::{Wording, cause_in_words, decider};
use crate::clock::since_1970;
use crate::error::{Error, one_line};
use crate::policy::delay::schedule::Progress;
use crate::policy::outcome::{Attempt, By, Cut, Limit, NotStarted, Outcome, OwnError};
use crate::policy::verdict::rule::{Judged, Verdict};
use crate::streams::append::Appender;
use crate::streams::messages::Messages;

/// The version of the lines. It grows only if an older reader would misread them.
const VERSION: u8 = 1;

#[derive(Debug)]
pub(super) struct Json {
    target: Target,
    wording: Rc<Wording>,
    run: String,
    /// The trace that the run belongs to (W3C Trace Context).
    trace: Option<String>,
    /// The user knows that lines are lost.
    told: bool,
}

/// Where the lines go.
#[derive(Debug)]
pub(super) enum Target {
    Stderr,
    File(Appender),
}

/// The members that both kinds of line begin with.
#[derive(Serialize)]
struct Head<'a> {
    v: u8,
    event: &'static str,
    run: &'a str,
    time: String,
    label: &'a str,
}

#[derive(Serialize)]
struct AttemptLine<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    attempt: u32,
    max: Option<NonZeroU32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'static str>,
    outcome: OutcomeJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'static str>,
    verdict: &'static str,
    rule: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<u16>,
    ran_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<f64>,
}

#[derive(Serialize)]
struct RunLine<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    result: RunResult,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<String>,
    attempts: u64,
    retries: u64,
    flaky: bool,
    status: u8,
    elapsed_s: f64,
    waited_s: f64,
    breaker: Option<String>,
    nested: Option<Nested>,
    trace: Option<&'a str>,
}

/// How an attempt ended.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum OutcomeJson {
    Exited(u8),
    /// The name of the signal, without SIG.
    Killed(String),
    TimedOutS(f64),
    /// The name of the errno.
    NotStarted(String),
}

/// The attempt of another retry that this run is part of.
#[derive(Serialize)]
struct Nested {
    attempt: u64,
    max: Option<u64>,
}

impl Json {
    pub(super) fn new(target: Target, wording: Rc<Wording>, trace: Option<String>) -> Self {
        Self { target, wording, run: run_id(), trace, told: false }
    }

    fn head(&self, event: &'static str) -> Head<'_> {
        let time = humantime::format_rfc3339_millis(UNIX_EPOCH + since_1970()).to_string();
        Head { v: VERSION, event, run: &self.run, time, label: self.wording.label() }
    }

    fn attempt(&self, progress: &Progress, judged: &Judged, next: Option<Duration>) -> Option<String> {
        let attempt = &judged.attempt;
        line(&AttemptLine {
            head: self.head("attempt"),
            attempt: progress.number(),
            max: self.wording.max_attempts(),
            by: (attempt.by == By::Check).then_some("check"),
            outcome: outcome(attempt),
            limit: limit(attempt),
            verdict: match judged.verdict {
                Verdict::Success(_) => "success",
                Verdict::Retryable(_) => "retryable",
                Verdict::Fatal(_) => "fatal",
            },
            rule: decider(judged),
            reason: reason(judged),
            http: attempt.evidence.response.status(),
            ran_s: seconds(attempt.ran),
            next_s: next.map(seconds),
            retry_after_s: attempt.asked.map(|asked| seconds(asked.wait)),
        })
    }

    fn end(&self, ended: &Ended, error: Option<&str>) -> Option<String> {
        line(&RunLine {
            head: self.head("run"),
            result: ended.result,
            why: ended.why.or(error),
            signal: ended.signal.map(|signal| signal.to_string()),
            attempts: ended.attempts,
            retries: ended.retries,
            flaky: ended.flaky,
            status: ended.status,
            elapsed_s: seconds(ended.elapsed),
            waited_s: seconds(ended.waited),
            breaker: self.wording.breaker_name(),
            nested: self.wording.outer().map(|outer| Nested { attempt: outer.attempt, max: outer.max }),
            trace: self.trace.as_deref(),
        })
    }

    fn write(&mut self, line: &str, stderr: &mut Messages) -> Result<(), Lost> {
        let file = match &mut self.target {
            Target::Stderr => {
                stderr.say(line);
                return Ok(());
            }
            Target::File(file) => file,
        };
        match file.line(line) {
            Err(errno) if !std::mem::replace(&mut self.told, true) => {
                Err(Lost { path: file.path().to_owned(), loss: Loss::Lines(why_lost(errno)) })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl Sink for Json {
    fn take(&mut self, event: &Event<'_>, ended: Option<&Ended>, stderr: &mut Messages) -> Result<(), Lost> {
        let line = match (event, ended) {
            (Event::Attempt { progress, judged, next }, _) => self.attempt(progress, judged, *next),
            (Event::Failure(error), Some(ended)) => self.end(ended, Some(&printable(&one_line(*error)))),
            (_, Some(ended)) => self.end(ended, None),
            (_, None) => None,
        };
        line.map_or(Ok(()), |line| self.write(&line, stderr))
    }
}

/// The cause of a failure: what retry could not do, or what the attempt has shown.
fn reason(judged: &Judged) -> Option<String> {
    match judged.attempt.error {
        Some(OwnError { what, errno }) => Some(one_line(&Error::System { what, errno })),
        None => judged.cause.map(cause_in_words),
    }
}

fn line(value: &impl Serialize) -> Option<String> {
    // Neither type can fail to become JSON: every key is a string.
    serde_json::to_string(value).ok()
}

/// Rounded to milliseconds.
pub(super) fn seconds(time: Duration) -> f64 {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).as_secs_f64()
}

fn outcome(attempt: &Attempt) -> OutcomeJson {
    match &attempt.outcome {
        Outcome::Exited(status) => OutcomeJson::Exited(*status),
        Outcome::Signaled(signal) => OutcomeJson::Killed(signal.to_string()),
        Outcome::TimedOut(Cut { limit: Limit::Timeout(time) | Limit::Deadline(time), .. }) => {
            OutcomeJson::TimedOutS(seconds(*time))
        }
        Outcome::NotStarted(why) => OutcomeJson::NotStarted(match why {
            NotStarted::NotFound | NotStarted::NoInterpreter => errno_name(Errno::ENOENT),
            NotStarted::Directory => errno_name(Errno::EISDIR),
            NotStarted::CannotRun(errno) | NotStarted::NoProcess(errno) => errno_name(*errno),
        }),
    }
}

/// The limit that ended an attempt, if it was not the timeout.
fn limit(attempt: &Attempt) -> Option<&'static str> {
    match &attempt.outcome {
        Outcome::TimedOut(Cut { limit: Limit::Deadline(_), .. }) => Some("deadline"),
        Outcome::TimedOut(_) | Outcome::Exited(_) | Outcome::Signaled(_) | Outcome::NotStarted(_) => None,
    }
}

/// `ENOENT`
fn errno_name(errno: Errno) -> String {
    format!("{errno:?}")
}

/// A random UUID that begins with the time (RFC 9562, version 7). It is not the idempotency key,
/// because that must not stand in a log.
fn run_id() -> String {
    let mut random = [0; 10];
    // Without randomness the id still has its time.
    let _ = SysRng.try_fill_bytes(&mut random);
    let millis = u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().to_string()
}

/// The id of the trace in a `traceparent`: `00-TRACE-SPAN-FLAGS`, in hexadecimal digits (W3C Trace
/// Context, section 3.2).
pub(crate) fn trace_id(traceparent: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(traceparent).ok()?;
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let [version, trace, span, flags, ..] = text.split('-').collect::<Vec<_>>()[..] else { return None };
    let valid = hex(version, 2) && version != "ff" && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    let is_null = trace.bytes().all(|b| b == b'0') || span.bytes().all(|b| b == b'0');
    (valid && !is_null).then(|| trace.to_owned())
}

/// Says why a line was lost.
fn why_lost(errno: Errno) -> &'static str {
    match errno {
        Errno::ENXIO | Errno::EPIPE => "nobody reads it",
        Errno::EAGAIN => "its reader is too slow",
        errno => errno.desc(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_known_by_its_id() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let good = format!("00-{id}-00f067aa0ba902b7-01");
        assert_eq!(trace_id(good.as_bytes()).as_deref(), Some(id));
        assert_eq!(trace_id(format!("{good}-more").as_bytes()).as_deref(), Some(id));
        for bad in
            ["", "00", "00-x-y-z", &good.replace("00-4", "ff-4"), &good.replace("4b", "4B"), &good[..50]]
        {
            assert_eq!(trace_id(bad.as_bytes()), None, "{bad}");
        }
        let zeros = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        assert_eq!(trace_id(zeros.as_bytes()), None);
        assert_eq!(trace_id(b"00-\xff"), None);
    }

    #[test]
    fn run_ids_differ_and_sort_by_time() {
        let (one, two) = (run_id(), run_id());
        assert_ne!(one, two);
        assert_eq!(&one[14..15], "7");
        assert_eq!(one[..8], two[..8]);
    }
}
