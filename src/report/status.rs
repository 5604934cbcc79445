//! `--breaker-status`: a table for people, JSON for programs.

use std::time::SystemTime;

use serde::{Serialize, Serializer};

use super::text::{duration, printable};
use crate::policy::admission::Moment;
use crate::policy::admission::breaker::{Cause, HalfOpen, Refusal, State};
use crate::state::place::Place;
use crate::state::record::Record;
use crate::state::store::Trouble;

/// A name, and what was seen of it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) place: Place,
    pub(crate) seen: Result<Seen, Trouble>,
}

/// A record and the time at which it was read.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) record: Record,
    pub(crate) now: Moment,
    /// Who has the lease of a probe lives.
    pub(crate) lives: bool,
}

impl Seen {
    fn state(&self) -> &'static str {
        match &self.record.breaker.state {
            State::Closed(_) => "closed",
            State::HalfOpen(_) if self.refusal().is_some() => "half-open",
            State::Open(_) | State::HalfOpen(_) => "open",
        }
    }

    fn failures(&self) -> u32 {
        match &self.record.breaker.state {
            State::Closed(closed) => closed.failures,
            State::Open(open) | State::HalfOpen(HalfOpen { open, .. }) => open.failures,
        }
    }

    fn last(&self) -> Option<&str> {
        match &self.record.breaker.state {
            State::Closed(closed) => closed.last.as_deref(),
            State::Open(open) | State::HalfOpen(HalfOpen { open, .. }) => open.last.as_deref(),
        }
    }

    fn since(&self) -> Option<Moment> {
        match &self.record.breaker.state {
            State::Closed(closed) => closed.since,
            State::Open(open) | State::HalfOpen(HalfOpen { open, .. }) => Some(open.first),
        }
    }

    /// What an attempt would be told now.
    fn refusal(&self) -> Option<Refusal> {
        self.record.breaker.refusal(self.now, |_, _| self.lives)
    }

    /// What is in the budget and what it holds, in tokens.
    fn budget(&self) -> Option<(f64, u64)> {
        self.record.budget.map(|bucket| (bucket.tokens(self.now), bucket.size))
    }

    fn next_probe(&self) -> String {
        match (&self.record.breaker.state, self.refusal()) {
            (State::Closed(_), _) => "-".to_owned(),
            (_, None) => "now".to_owned(),
            (_, Some(Refusal { prober: Some(pid), .. })) => format!("by {pid}"),
            (_, Some(refusal)) => format!("in {}", duration(refusal.left)),
        }
    }
}

/// The rows below a heading, in columns.
pub(crate) fn table(rows: &[Row]) -> String {
    let none = || "-".to_owned();
    let mut cells =
        vec![["NAME", "STATE", "FAILURES", "SINCE", "NEXT PROBE", "BUDGET"].map(ToOwned::to_owned)];
    cells.extend(rows.iter().map(|row| {
        let name = printable(&row.place.name).into_owned();
        let Ok(seen) = &row.seen else {
            return [name, "unusable".to_owned(), none(), none(), none(), none()];
        };
        let since = seen.since().map(|since| format!("{} ago", duration(seen.now.since(since))));
        let budget = seen.budget().map(|(tokens, size)| format!("{tokens:.1} of {size}"));
        [
            name,
            seen.state().to_owned(),
            seen.failures().to_string(),
            since.unwrap_or_else(none),
            seen.next_probe(),
            budget.unwrap_or_else(none),
        ]
    }));
    let widths: Vec<usize> =
        (0..6).map(|i| cells.iter().map(|row| row[i].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in cells {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// One row, or all in a list.
pub(crate) fn json(rows: &(impl Serialize + ?Sized)) -> String {
    // Numbers and text only: it does not fail.
    let mut text = serde_json::to_string_pretty(rows).unwrap_or_default();
    text.push('\n');
    text
}

#[derive(Serialize)]
struct Whole<'a> {
    name: &'a str,
    path: String,
    state: &'static str,
    /// In a row.
    failures: u32,
    last: Option<&'a str>,
    /// UTC (RFC 3339).
    since: Option<String>,
    /// Until the next probe; 0: the next run probes.
    next_probe_seconds: Option<f64>,
    /// The pid of the run that probes, and how long it may at most.
    prober: Option<u32>,
    probe_left_seconds: Option<f64>,
    /// Probes that failed since it opened.
    failed_probes: u32,
    /// Why it opened: `failures` or `tripped`.
    cause: Option<&'static str>,
    budget: Option<Budget>,
}

#[derive(Serialize)]
struct Budget {
    tokens: f64,
    size: u64,
}

#[derive(Serialize)]
struct Broken<'a> {
    name: &'a str,
    path: String,
    state: &'static str,
    error: String,
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, path) = (self.place.name.as_str(), self.place.path.to_string_lossy().into_owned());
        let seen = match &self.seen {
            Ok(seen) => seen,
            Err(trouble) => {
                return Broken { name, path, state: "unusable", error: trouble.to_string() }
                    .serialize(serializer);
            }
        };
        let refusal = seen.refusal();
        // What lies before 1970 has no such form.
        let ago = |since: Moment| {
            SystemTime::now()
                .checked_sub(seen.now.since(since))
                .filter(|time| *time >= SystemTime::UNIX_EPOCH)
        };
        let closed = matches!(seen.record.breaker.state, State::Closed(_));
        Whole {
            name,
            path,
            state: seen.state(),
            failures: seen.failures(),
            last: seen.last(),
            since: seen.since().and_then(ago).map(|time| humantime::format_rfc3339_seconds(time).to_string()),
            next_probe_seconds: match &refusal {
                _ if closed => None,
                Some(Refusal { prober: Some(_), .. }) => None,
                refusal => Some(refusal.as_ref().map_or(0.0, |refusal| refusal.left.as_secs_f64())),
            },
            prober: refusal.as_ref().and_then(|refusal| refusal.prober),
            probe_left_seconds: refusal
                .as_ref()
                .filter(|refusal| refusal.prober.is_some())
                .map(|refusal| refusal.left.as_secs_f64()),
            failed_probes: seen.record.breaker.opening().map_or(0, |open| open.probes),
            cause: seen.record.breaker.opening().map(|open| match open.cause {
                Cause::Failures => "failures",
                Cause::Tripped => "tripped",
            }),
            budget: seen.budget().map(|(tokens, size)| Budget { tokens, size }),
        }
        .serialize(serializer)
    }
}
