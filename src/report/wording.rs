//! The words for every event, apart from where they go.

mod explain;
mod finish;
mod nested;
mod once;
mod outcome;
mod row;
mod shared;
#[cfg(test)]
mod tests;

pub(super) use outcome::{cause_in_words, decider};
pub(crate) use shared::read;

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use super::event::{Awaited, Event, Loss, Lost};
use super::format::{duration, printable, size};
use super::subject::{Subject, Volume};
use crate::error::one_line;
use crate::policy::delay::schedule::Progress;
use crate::policy::outcome::{Attempt, By, NotStarted, Outcome};
use crate::policy::outer::Outer;
use crate::policy::stream::Streams;
use crate::policy::verdict::request::Method;
use crate::policy::verdict::rule::Judged;
use crate::process::notice::Notice;
use crate::streams::hold::HeldBack;

/// The longest label, in characters. A longer one says no more, and could push the rest out of
/// sight.
const LONGEST_LABEL: usize = 100;

/// The words for one run.
#[derive(Debug)]
pub(super) struct Wording {
    subject: Subject,
    /// Whether messages name the rule that decided.
    verbose: bool,
}

impl Wording {
    pub(super) fn new(subject: Subject, verbose: bool) -> Self {
        let label = match subject.label.char_indices().nth(LONGEST_LABEL) {
            Some((end, _)) => format!("{}...", printable(&subject.label[..end])),
            None if subject.label.is_empty() => "''".to_owned(),
            None => printable(&subject.label).into_owned(),
        };
        Self { subject: Subject { label, ..subject }, verbose }
    }

    /// The name of the command in messages.
    pub(super) fn label(&self) -> &str {
        &self.subject.label
    }

    /// The most attempts of the run.
    pub(super) fn max_attempts(&self) -> Option<NonZeroU32> {
        self.subject.max_attempts
    }

    /// The retry that this run is part of.
    pub(super) fn outer(&self) -> Option<Outer> {
        self.subject.outer
    }

    /// The line for an event, and the least volume at which it is printed.
    pub(super) fn event(&self, event: &Event<'_>) -> Option<(Volume, String)> {
        Some(match event {
            // The sink prints more than the one line for these.
            Event::Started | Event::HeldBack { .. } | Event::Failure(_) | Event::Hint(_) => return None,
            // Another sink counts it down.
            Event::Pause(_) => return None,
            Event::HttpUnseen { why } => {
                (Volume::Verbose, format!("the http: conditions cannot match: {why}"))
            }
            Event::Splay { wait } => (Volume::Verbose, self.splay(*wait)),
            Event::KeyReused { path, age } => (Volume::Normal, key_reused(path, *age)),
            Event::KeyLeft { why } => {
                let why = one_line(*why);
                (
                    Volume::Quiet,
                    format!("{}; remove it before the next run, which needs a new key", printable(&why)),
                )
            }
            Event::Making { by, again } => {
                let least = if *again { Volume::Verbose } else { Volume::Normal };
                (least, format!("{}; retry waits for it", self.making(*by)))
            }
            Event::Kept => (Volume::Verbose, format!("the answer is in {}", self.answer_file())),
            Event::Probe => {
                (Volume::Verbose, format!("the next attempt is the probe of breaker {}", self.breaker()))
            }
            Event::Attempt { progress, judged, next: Some(delay) } if judged.is_success() => {
                (Volume::Normal, self.repeat(progress, judged, *delay))
            }
            Event::Attempt { progress, judged, next: Some(delay) } => {
                (Volume::Normal, self.retry(progress, judged, *delay))
            }
            // The last line of the run tells about it.
            Event::Attempt { next: None, .. } => return None,
            Event::HookFailed { outcome } => (Volume::Normal, self.hook_failed(outcome)),
            Event::HookNotRun { error } => {
                let why = one_line(*error);
                (Volume::Normal, format!("--on-retry was not run: {}; the retry follows", printable(&why)))
            }
            Event::Nested { outer, in_all } => (Volume::Normal, nested::nested(*outer, *in_all)),
            Event::MayRepeat { method } => (Volume::Normal, may_repeat(*method)),
            Event::Opened { refusal } => (Volume::Normal, self.refusal(refusal)),
            Event::Waiting { refusal, look, again } => {
                let least = if *again { Volume::Verbose } else { Volume::Normal };
                let breaker = self.refusal(refusal);
                (least, format!("{breaker}; retry looks again in {}", duration(*look)))
            }
            // --quiet prints it too: a run without its protection must not look like one that has
            // it.
            Event::SharedState(warning) => (Self::volume(warning), self.warning(warning)),
            Event::Process(note) => process(note),
            Event::NotPassed { error } => (Volume::Quiet, printable(&one_line(*error)).into_owned()),
            Event::Finish(end) => self.finish(end)?,
            // --quiet prints it too, as a report is for somebody who does not look at stderr.
            Event::ReportLost(lost) => (Volume::Quiet, report_lost(lost)),
        })
    }

    /// What follows a wait.
    pub(super) fn awaited(&self, awaited: Awaited) -> String {
        match awaited {
            Awaited::Attempt(number) => format!("attempt {}", self.number(number)),
            Awaited::Look => format!("waits for breaker {}; looks again", self.breaker()),
        }
    }

    pub(super) fn splay(&self, wait: Duration) -> String {
        format!("first attempt in {} ({})", duration(wait), self.splay_option())
    }

    /// `--splay` with its value, as the user wrote it.
    fn splay_option(&self) -> String {
        let splay = self.subject.written.splay.as_ref();
        format!("--splay{}", splay.map(|splay| format!(" {splay}")).unwrap_or_default())
    }

    fn retry(&self, progress: &Progress, judged: &Judged, delay: Duration) -> String {
        let attempt = &judged.attempt;
        let verb = match (attempt.by, &attempt.outcome) {
            (By::Check, _) => " was not made: ",
            (By::Command, Outcome::NotStarted(NotStarted::NotFound)) => ": ",
            (By::Command, _) if self.named(attempt).is_some() => ": ",
            (By::Command, _) => " ",
        };
        let outcome = self.outcome(judged, self.verbose);
        let (number, renumbered) = (self.number(progress.number()), self.renumbered(progress, attempt));
        format!("attempt {number}{verb}{outcome}{renumbered}; next in {}", duration(delay))
    }

    /// Says that a healthy attempt counts under another number from now on.
    fn renumbered(&self, progress: &Progress, attempt: &Attempt) -> String {
        if progress.number() == progress.attempts() {
            return String::new();
        }
        let healthy = self.subject.written.healthy_after.as_ref();
        let healthy = healthy.map(|time| format!(" {time}")).unwrap_or_default();
        let number = self.number(progress.attempts());
        format!(
            "; it ran {} (--healthy-after{healthy}), so it now counts as attempt {number}",
            duration(attempt.ran)
        )
    }

    /// The line before the output of a failed attempt. A binary output does not follow.
    pub(super) fn held_back(&self, number: u32, held: &HeldBack, is_binary: bool) -> String {
        let wrote = size(held.length);
        let left_out = held.length.saturating_sub(u64::try_from(held.end.len()).unwrap_or(0));
        let what = match (is_binary, left_out) {
            (true, _) => "; binary output is not shown".to_owned(),
            (false, 0) => ":".to_owned(),
            (false, _) => format!("; the last {} of the output:", size(held.length - left_out)),
        };
        let to = match held.streams {
            Streams::Stdout => " to stdout",
            Streams::Stderr => " to stderr",
            Streams::Both => "",
        };
        format!("attempt {} wrote {wrote}{to}{what}", self.number(number))
    }

    /// `2 of 5`, or `2` if there is no limit.
    fn number(&self, number: u32) -> String {
        match self.subject.max_attempts {
            Some(max) => format!("{number} of {max}"),
            None => number.to_string(),
        }
    }

    /// The deadline of the run, as the user wrote it.
    fn deadline(&self, length: Duration) -> String {
        self.subject.written.deadline.clone().unwrap_or_else(|| duration(length))
    }
}

fn key_reused(path: &Path, age: Duration) -> String {
    let (path, age) = (path.to_string_lossy(), duration(age));
    format!("using the key that an earlier run kept in {}, {age} old", printable(&path))
}

fn may_repeat(method: Method) -> String {
    format!(
        "sends a {method} without an Idempotency-Key: a retry may repeat its effect; --not-idempotent prevents this"
    )
}

fn process(note: &Notice) -> (Volume, String) {
    match note {
        Notice::SignalSent { signal, pids } => {
            let list: Vec<String> = pids.iter().map(ToString::to_string).collect();
            let processes = if pids.len() == 1 { "process" } else { "processes" };
            (Volume::Verbose, format!("sent {signal} to {processes} {}", list.join(", ")))
        }
        Notice::NotPassedOn { signal, pid, errno } => {
            (Volume::Normal, format!("cannot pass {signal} on to process {pid}: {}", errno.desc()))
        }
        Notice::OutputNotMatched => (
            Volume::Normal,
            "retry could not search all of the output in time; the rest counts as no match".to_owned(),
        ),
    }
}

fn report_lost(lost: &Lost) -> String {
    let path = lost.path.to_string_lossy();
    let path = printable(&path);
    match &lost.loss {
        Loss::Lines(why) => format!("cannot write the report to {path}: {why}"),
        Loss::Metrics(why) => format!("cannot write the metrics to {path}: {why}"),
        Loss::OldContent(aside) => {
            let aside = aside.to_string_lossy();
            format!("the content of {path} was not metrics; retry renamed it to {}", printable(&aside))
        }
        Loss::Timestamps => format!(
            "metrics of other programs in {path} had timestamps; retry removed the timestamps, because \
             node_exporter refuses a file that has any"
        ),
    }
}
