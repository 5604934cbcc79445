//! Words out: an event becomes a line on stderr.
//!
//! The command's ARGs are never part of one: they carry secrets.

pub(crate) mod text;

use std::num::NonZeroU32;
use std::time::Duration;

use crate::error::Error;
use crate::policy::delay::schedule::Progress;
use crate::policy::verdict::classify::{Rule, Rules};
use crate::policy::verdict::outcome::{
    Alive, Attempt, Cut, Exhausted, Finish, Limit, NotStarted, Outcome, Signal, Verdict,
};
use crate::process::attempt::{Note, Voice};
use crate::streams::messages::Messages;
use text::{count, duration, printable};

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Volume {
    /// `-qq`: nothing.
    Silent,
    /// `-q`: the last line of a run that failed.
    Quiet,
    /// A line for every failure, and how it ended.
    Normal,
    /// `-v`: also which rule decided, and what was signalled.
    Verbose,
}

/// Longest label, in characters.
const LONGEST_LABEL: usize = 100;

/// What happened.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// An attempt failed and another follows.
    Retry { progress: &'a Progress, attempt: &'a Attempt, verdict: &'a Verdict, delay: Duration },
    /// The run is over.
    Finish { progress: &'a Progress, finish: &'a Finish, elapsed: Duration },
}

/// Tells the user what happens, as much as was asked for.
#[derive(Debug)]
pub(crate) struct Report {
    messages: Messages,
    phrases: Phrases,
    volume: Volume,
}

impl Report {
    /// A report on the command of this name.
    pub(crate) fn new(label: &str, volume: Volume, max_attempts: Option<NonZeroU32>, rules: Rules) -> Self {
        // A longer name says no more, and could push the rest out of sight.
        let label = match label.char_indices().nth(LONGEST_LABEL) {
            Some((end, _)) => format!("{}...", printable(&label[..end])),
            None if label.is_empty() => "''".to_owned(),
            None => printable(label).into_owned(),
        };
        let verbose = volume == Volume::Verbose;
        Self {
            messages: Messages::default(),
            phrases: Phrases { label, max_attempts, rules, verbose },
            volume,
        }
    }

    /// Says what an event is worth.
    pub(crate) fn tell(&mut self, event: &Event<'_>) {
        if let Some((least, line)) = self.phrases.event(event)
            && self.volume >= least
        {
            self.messages.say(&line);
        }
    }

    /// Says why retry itself failed.
    pub(crate) fn fail(&mut self, error: &Error) {
        if self.volume > Volume::Silent {
            say_error(&mut self.messages, error);
        }
    }

    /// Waits a little for what has not been passed on.
    pub(crate) fn finish(&mut self, now: impl Fn() -> Duration) {
        self.messages.finish(now);
    }
}

/// Says an error: a line of cause and, where there is one, a line of hint.
pub(crate) fn say_error(messages: &mut Messages, error: &Error) {
    messages.say(&format!("retry: {}", printable(&error.to_string())));
    if let Some(hint) = error.hint() {
        messages.say(&format!("retry: hint: {}", printable(hint)));
    }
}

impl Voice for Report {
    fn note(&mut self, note: &Note) {
        let label = &self.phrases.label;
        let (least, line) = match note {
            Note::Signalled { signal, pids } => {
                let list: Vec<String> = pids.iter().map(ToString::to_string).collect();
                let processes = if pids.len() == 1 { "process" } else { "processes" };
                (Volume::Verbose, format!("retry: {label}: sent {signal} to {processes} {}", list.join(", ")))
            }
            Note::NotPassedOn { signal, pid, errno } => (
                Volume::Normal,
                format!("retry: {label}: cannot pass {signal} on to process {pid}: {}", errno.desc()),
            ),
        };
        if self.volume >= least {
            self.messages.say(&line);
        }
    }

    fn messages(&mut self) -> &mut Messages {
        &mut self.messages
    }
}

/// The wording, apart from where it goes.
#[derive(Debug)]
struct Phrases {
    /// The command's name, fit to print.
    label: String,
    max_attempts: Option<NonZeroU32>,
    rules: Rules,
    verbose: bool,
}

impl Phrases {
    /// The line for an event, and the least volume at which it is said; none where there is nothing to say.
    fn event(&self, event: &Event<'_>) -> Option<(Volume, String)> {
        let (volume, text) = match event {
            Event::Retry { progress, attempt, verdict, delay } => {
                let outcome = self.outcome(&attempt.outcome, self.verbose.then(|| verdict.rule()));
                let number = self.number(progress.attempts());
                let delay = duration(*delay);
                (Volume::Normal, format!("attempt {number} {outcome}; next in {delay}"))
            }
            Event::Finish { progress, finish, elapsed } => self.finish(progress, finish, *elapsed)?,
        };
        Some((volume, format!("retry: {}: {text}", self.label)))
    }

    fn finish(&self, progress: &Progress, finish: &Finish, elapsed: Duration) -> Option<(Volume, String)> {
        let after = || format!("{} in {}", count(progress.in_all(), "attempt"), duration(elapsed));
        let number = || self.number(progress.attempts());
        Some(match finish {
            Finish::Succeeded { rule: Rule::ExitZero, .. } if progress.in_all() == 1 => return None,
            Finish::Succeeded { outcome, rule } => {
                let least = if progress.in_all() == 1 { Volume::Verbose } else { Volume::Normal };
                let rule = match rule {
                    Rule::ExitZero => String::new(),
                    rule => format!(": {}", self.outcome(outcome, Some(rule))),
                };
                (least, format!("succeeded at attempt {} in {}{rule}", number(), duration(elapsed)))
            }
            Finish::GaveUp { outcome, rule, why } => {
                let outcome_text = self.outcome(outcome, self.verbose.then_some(rule));
                let text = match (why, outcome) {
                    (Exhausted::Attempts, _) => outcome_text,
                    (Exhausted::Deadline(_), Outcome::TimedOut(Cut { limit: Limit::Deadline(_), .. })) => {
                        format!("the last {outcome_text}")
                    }
                    (Exhausted::Deadline(deadline), _) => {
                        format!("the deadline of {} has passed; {outcome_text}", duration(*deadline))
                    }
                    (Exhausted::DelayPastDeadline(deadline), _) => format!(
                        "the next delay does not fit into the deadline of {}; {outcome_text}",
                        duration(*deadline)
                    ),
                };
                (Volume::Quiet, format!("gave up after {}: {text}", after()))
            }
            Finish::NotRetried { outcome, rule } => {
                // A pipe whose reader has had enough is the normal end of many a pipeline.
                let least =
                    if *rule == Rule::Stopped(Signal::PIPE) { Volume::Verbose } else { Volume::Quiet };
                (least, format!("not retried: {}", self.not_retried(outcome, rule)))
            }
            Finish::InterruptedAttempt { signal, outcome } => {
                let outcome = self.outcome(outcome, None);
                (Volume::Quiet, format!("interrupted by {signal} during attempt {}; {outcome}", number()))
            }
            Finish::InterruptedWait { signal } => {
                let when = match progress.in_all() {
                    0 => "before the first attempt".to_owned(),
                    _ => format!("after attempt {}", progress.attempts()),
                };
                (Volume::Quiet, format!("interrupted by {signal} during the wait {when}"))
            }
        })
    }

    /// `2 of 5`, or `2` where there is no limit.
    fn number(&self, number: u32) -> String {
        match self.max_attempts {
            Some(max) => format!("{number} of {max}"),
            None => number.to_string(),
        }
    }

    /// How an attempt ended, with what is known of the reason and, if asked for, the rule in brackets.
    fn outcome(&self, outcome: &Outcome, rule: Option<&Rule>) -> String {
        let text = ending(outcome);
        let reason = self.rules.reason(outcome).map(ToOwned::to_owned);
        let rule = rule.map(|rule| rule_name(rule, outcome));
        let known: Vec<String> = reason.into_iter().chain(rule).collect();
        if known.is_empty() { text } else { format!("{text} ({})", known.join("; ")) }
    }

    /// How an attempt ended, the rule that forbids another, and how to have one all the same.
    fn not_retried(&self, outcome: &Outcome, rule: &Rule) -> String {
        let ending = ending(outcome);
        let term = match outcome {
            Outcome::Exited(status) => status.to_string(),
            Outcome::Signaled(signal) => signal.to_string(),
            Outcome::TimedOut(_) => "timeout".to_owned(),
            Outcome::NotStarted(_) => "failure".to_owned(),
        };
        let reason = self.rules.reason(outcome).map(|reason| format!("{reason}; ")).unwrap_or_default();
        let why = match rule {
            Rule::LeftAlive => {
                let left = match outcome {
                    Outcome::TimedOut(cut) => left(cut),
                    _ => String::new(),
                };
                return format!("{ending}; still alive: {left}: end it before you run this again");
            }
            Rule::FatalOn(text) => {
                format!(
                    "{reason}fatal by --fatal-on {}; without that the other rules decide",
                    printable(text)
                )
            }
            Rule::NotInRetryOn => format!("{reason}not in --retry-on; -r {term} retries it"),
            Rule::Profile { name, reason } => {
                format!("{reason} is fatal: profile {name}; -r failure retries it")
            }
            Rule::CannotRun => match outcome {
                Outcome::Exited(126) => "a command could not run; -r 126 retries it".to_owned(),
                Outcome::Exited(127) => "a command was not found; -r 127 retries it".to_owned(),
                _ => format!("-r {term} retries it"),
            },
            Rule::Stopped(Signal::PIPE) => {
                format!("what read its output has gone; -r {term} retries it")
            }
            Rule::Stopped(_) => format!("somebody wants it to end; -r {term} retries it"),
            Rule::ReaderGone => "what read its output has gone; -r failure retries it".to_owned(),
            Rule::SuccessOn(_)
            | Rule::Until(_)
            | Rule::RetryOn(_)
            | Rule::ExitZero
            | Rule::NotYet
            | Rule::AnyFailure => rule_name(rule, outcome),
        };
        format!("{ending} ({why})")
    }
}

/// How an attempt ended.
fn ending(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited(status) => format!("exited {status}"),
        Outcome::Signaled(signal) => format!("killed by {signal}"),
        Outcome::TimedOut(cut) => match cut.limit {
            Limit::Timeout(time) => format!("timed out after {}, ended by {}", duration(time), cut.ended_by),
            Limit::Deadline(time) => {
                format!("was cut by the deadline of {}, ended by {}", duration(time), cut.ended_by)
            }
        },
        Outcome::NotStarted(NotStarted::NotFound) => "command not found".to_owned(),
        Outcome::NotStarted(NotStarted::CannotRun(why)) => format!("could not run: {why}"),
        Outcome::NotStarted(NotStarted::NoProcess(why)) => format!("could not be started: {why}"),
    }
}

/// What outlived KILL, with pids.
fn left(cut: &Cut) -> String {
    let each: Vec<String> = cut
        .left
        .iter()
        .map(|survivor| {
            let why = match survivor.why {
                Alive::Foreign => "belongs to another user",
                Alive::Unkillable => "does not die",
            };
            format!("process {} ({why})", survivor.pid)
        })
        .collect();
    each.join(", ")
}

/// A rule in a word or two.
fn rule_name(rule: &Rule, outcome: &Outcome) -> String {
    match rule {
        Rule::LeftAlive => "its processes are still alive".to_owned(),
        Rule::FatalOn(text) => format!("--fatal-on {}", printable(text)),
        Rule::SuccessOn(text) => format!("--success-on {}", printable(text)),
        Rule::Until(text) => format!("--until {}", printable(text)),
        Rule::RetryOn(text) => format!("--retry-on {}", printable(text)),
        Rule::NotInRetryOn => "not in --retry-on".to_owned(),
        Rule::Profile { name, .. } => match outcome {
            Outcome::Exited(status) => format!("profile {name}: {status} is retryable"),
            _ => format!("profile {name}"),
        },
        Rule::ExitZero => "exit 0".to_owned(),
        Rule::NotYet => "not yet what --until waits for".to_owned(),
        Rule::CannotRun => "could not run".to_owned(),
        Rule::Stopped(signal) => format!("killed by {signal}"),
        Rule::ReaderGone => "what read its output has gone".to_owned(),
        Rule::AnyFailure => "any failure is retryable".to_owned(),
    }
}
