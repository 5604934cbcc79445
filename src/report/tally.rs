//! What the sinks that look at a run as a whole have to remember of it.

use std::time::Duration;

use super::event::{Event, RunEnd};
use super::wording::Wording;
use crate::clock::now;
use crate::exit::{Exit, FAILED};
use crate::policy::finish::{Exhausted, Finish};
use crate::policy::signal::Signal;
use crate::policy::verdict::rule::{Judged, Rule, Verdict};

/// The most different failures of one run that are told apart.
const MOST_KINDS: usize = 20;

/// The attempts of a run so far.
#[derive(Debug)]
pub(super) struct Tally {
    started: Duration,
    attempts: u64,
    failures: u64,
    /// Attempts that followed a failure.
    retries: u64,
    /// The next attempt is one of these.
    is_retry: bool,
    kinds: Vec<(String, u64)>,
    waits: Duration,
}

/// How a run ended, in numbers.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) result: RunResult,
    /// Why a run gave up, did not run, or was done before it began.
    pub(super) why: Option<&'static str>,
    pub(super) signal: Option<Signal>,
    /// The exit status of retry, as a shell reports it.
    pub(super) status: u8,
    pub(super) attempts: u64,
    /// Attempts that followed a failure. A success that `--successes` repeats is not one.
    pub(super) retries: u64,
    pub(super) elapsed: Duration,
    pub(super) waited: Duration,
    /// The run succeeded after attempts that failed.
    pub(super) flaky: bool,
    /// The different failures in the order of their first occurrence, each with its number.
    pub(super) kinds: Vec<(String, u64)>,
}

/// The end of a run in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RunResult {
    Succeeded,
    /// `--check` said that the work is done, or `--once` had the answer.
    Done,
    GaveUp,
    NotRetried,
    /// Nothing was run, because the breaker was open, or because another run was making the answer of
    /// `--once`.
    NotRun,
    Interrupted,
    /// retry itself failed.
    Error,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            started: now(),
            attempts: 0,
            failures: 0,
            retries: 0,
            is_retry: false,
            kinds: Vec::new(),
            waits: Duration::ZERO,
        }
    }

    /// Counts an event. Returns the numbers of the run if the event ends it.
    pub(super) fn count(&mut self, event: &Event<'_>, wording: &Wording) -> Option<Ended> {
        match event {
            Event::Attempt { progress, judged, next } => {
                self.attempts = progress.in_all();
                if self.is_retry {
                    self.retries += 1;
                }
                self.is_retry = !judged.is_success();
                self.waits = self.waits.saturating_add(next.unwrap_or_default());
                if is_failure(judged) {
                    self.failures += 1;
                    self.count_kind(wording.outcome_and_cause(judged));
                }
                None
            }
            Event::Finish(end) => Some(self.ended(end)),
            Event::Failure(_) => Some(self.numbers(RunResult::Error, None, FAILED)),
            _ => None,
        }
    }

    fn count_kind(&mut self, kind: String) {
        if let Some((_, count)) = self.kinds.iter_mut().find(|(known, _)| *known == kind) {
            *count += 1;
        } else if self.kinds.len() < MOST_KINDS {
            self.kinds.push((kind, 1));
        }
    }

    fn ended(&mut self, end: &RunEnd<'_>) -> Ended {
        let (result, why, signal) = in_words(end.finish);
        let status = match Exit::of(end.finish) {
            Exit::Status(status) => status,
            Exit::Signal(signal) => signal.status(),
        };
        let numbers = self.numbers(result, why, status);
        let attempts = end.progress.in_all();
        Ended { signal, attempts, elapsed: end.elapsed, waited: end.waited, ..numbers }
    }

    fn numbers(&mut self, result: RunResult, why: Option<&'static str>, status: u8) -> Ended {
        let succeeded = matches!(result, RunResult::Succeeded | RunResult::Done);
        Ended {
            result,
            why,
            signal: None,
            status,
            attempts: self.attempts,
            retries: self.retries,
            elapsed: now().saturating_sub(self.started),
            waited: self.waits,
            flaky: succeeded && self.failures > 0,
            kinds: std::mem::take(&mut self.kinds),
        }
    }
}

/// Whether an attempt failed. An attempt that only comes too early for `--until` has not.
fn is_failure(judged: &Judged) -> bool {
    match &judged.verdict {
        Verdict::Success(_) => false,
        Verdict::Retryable(rule) | Verdict::Fatal(rule) => *rule != Rule::NotYet,
    }
}

fn in_words(finish: &Finish) -> (RunResult, Option<&'static str>, Option<Signal>) {
    match finish {
        Finish::Succeeded { rule: Rule::Done, .. } => (RunResult::Done, None, None),
        Finish::Succeeded { .. } => (RunResult::Succeeded, None, None),
        Finish::GaveUp { why, .. } => (RunResult::GaveUp, Some(exhausted(why)), None),
        Finish::NotRetried { .. } => (RunResult::NotRetried, None, None),
        Finish::NotRun { .. } => (RunResult::NotRun, Some("breaker"), None),
        Finish::Answered { .. } => (RunResult::Done, Some("once"), None),
        Finish::Busy { .. } => (RunResult::NotRun, Some("once"), None),
        Finish::NeverStarted { .. } => (RunResult::GaveUp, Some("deadline"), None),
        Finish::InterruptedAttempt { signal, .. }
        | Finish::InterruptedOutput { signal }
        | Finish::InterruptedWait { signal, .. } => (RunResult::Interrupted, None, Some(*signal)),
    }
}

/// What a run lacked for another attempt, in one word.
fn exhausted(why: &Exhausted) -> &'static str {
    match why {
        Exhausted::Attempts => "attempts",
        Exhausted::Deadline(_) | Exhausted::DelayPastDeadline(_) | Exhausted::AskedPastDeadline { .. } => {
            "deadline"
        }
        Exhausted::AskedTooMuch { .. } => "retry-after",
        Exhausted::BreakerOpen { .. } => "breaker",
        Exhausted::BudgetSpent(_) => "budget",
        Exhausted::InputUnkept(_) => "stdin",
        Exhausted::Unprepared { .. } => "resources",
    }
}
