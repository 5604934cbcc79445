//! The output of `--breaker-status`: a table for people, and JSON for programs.

use std::time::SystemTime;

use serde::{Serialize, Serializer};

use super::format::{duration, printable};
use crate::clock::wall;
use crate::error::one_line;
use crate::policy::admission::breaker::{Awaits, Cause, HalfOpen, Refusal, State};
use crate::policy::admission::moment::Moment;
use crate::policy::admission::record::Record;
use crate::policy::admission::recovery::{Gate, Recovery};
use crate::state::file::place::Place;
use crate::state::store::StoreError;

/// A name, and its record or the reason why the record cannot be read.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) place: Place,
    pub(crate) seen: Result<Seen, StoreError>,
}

/// A record, and the time of the look at it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) record: Record,
    pub(crate) now: Moment,
    /// Whether the run that probes is alive.
    pub(crate) lives: bool,
}

impl Seen {
    fn state(&self) -> &'static str {
        match &self.record.breaker.state {
            State::Closed(_) if self.recovery().is_some() => "recovering",
            State::Closed(_) => "closed",
            State::HalfOpen(_) if self.refusal().is_some() => "half-open",
            State::Open(_) | State::HalfOpen(_) => "open",
        }
    }

    fn failures(&self) -> u32 {
        match &self.record.breaker.state {
            State::Closed(closed) => closed.outcomes.in_row,
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

    /// The answer that an attempt of a run that does not wait would get now.
    fn refusal(&self) -> Option<Refusal> {
        self.record.breaker.opening_refusal(false, self.now, |_, _| self.lives)
    }

    /// The recovery, if runs that have waited still come back.
    fn recovery(&self) -> Option<&Recovery> {
        match &self.record.breaker.state {
            State::Closed(closed) => closed.recovery.as_ref(),
            State::Open(_) | State::HalfOpen(_) => None,
        }
        .filter(|recovery| recovery.gate(self.now, |_, _| true) != Gate::Free)
    }

    /// The tokens in the budget, and its capacity.
    fn budget(&self) -> Option<(f64, u64)> {
        self.record.budget.map(|bucket| (bucket.tokens(self.now), bucket.size))
    }

    fn next_probe(&self) -> String {
        match (&self.record.breaker.state, self.refusal()) {
            (State::Closed(_), _) => "-".to_owned(),
            (_, None) => "now".to_owned(),
            (_, Some(Refusal { awaits: Awaits::Prober(0), .. })) => "by another run".to_owned(),
            (_, Some(Refusal { awaits: Awaits::Prober(pid), .. })) => format!("by {pid}"),
            (_, Some(refusal)) => format!("in {}", duration(refusal.left)),
        }
    }
}

/// The table.
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

/// JSON for one row, or for a list of rows.
pub(crate) fn json(rows: &(impl Serialize + ?Sized)) -> String {
    // Numbers and texts always serialize.
    let mut text = serde_json::to_string_pretty(rows).unwrap_or_default();
    text.push('\n');
    text
}

/// No record and no name of a record can control the terminal.
#[cfg(any(test, fuzzing))]
pub(crate) fn property(bytes: &[u8]) {
    use crate::state::record::{Snapshot, decode};
    let mut halves = bytes.splitn(2, |b| *b == 0);
    let (name, record) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    let name = String::from_utf8_lossy(name).into_owned();
    let now = crate::state::stamp::Stamp { boot_id: "a".into(), boot_ms: 1000, unix_ms: 2000 };
    let Ok(Snapshot { record, .. }) = decode(record, &now) else { return };
    for lives in [false, true] {
        let place = Place { name: name.clone(), path: "/p".into(), directory: None, server: None };
        let seen = Seen { record: record.clone(), now: now.moment(), lives };
        let rows = [Row { place, seen: Ok(seen) }];
        let (table, json) = (table(&rows), json(&rows[0]));
        assert_eq!(table.lines().count(), 2);
        assert!(!table.chars().any(|c| c.is_control() && c != '\n'));
        assert!(!json.is_empty() && !json.chars().any(|c| c < ' ' && c != '\n'));
    }
}

#[derive(Serialize)]
struct Whole<'a> {
    name: &'a str,
    path: String,
    state: &'static str,
    /// Failures in a row.
    failures: u32,
    last: Option<&'a str>,
    /// A time in UTC (RFC 3339).
    since: Option<String>,
    /// The time until the next probe. 0: the next run probes.
    next_probe_seconds: Option<f64>,
    /// The pid of the run that probes, if it is known, and the rest of its lease.
    prober: Option<u32>,
    probe_left_seconds: Option<f64>,
    /// Probes that failed since it opened.
    failed_probes: u32,
    /// The cause: `failures` or `tripped`.
    cause: Option<&'static str>,
    /// The permits of the runs that have waited, while they come back.
    permits: Option<Permits>,
    budget: Option<Budget>,
}

#[derive(Serialize)]
struct Permits {
    held: usize,
    most: usize,
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
        let (name, path) = (self.place.name.as_str(), self.place.shown());
        let seen = match &self.seen {
            Ok(seen) => seen,
            Err(error) => {
                return Broken { name, path, state: "unusable", error: one_line(error) }
                    .serialize(serializer);
            }
        };
        let refusal = seen.refusal();
        // Times before 1970 have no such form.
        let ago = |since: Moment| {
            wall().checked_sub(seen.now.since(since)).filter(|time| *time >= SystemTime::UNIX_EPOCH)
        };
        let closed = matches!(seen.record.breaker.state, State::Closed(_));
        Whole {
            name,
            path,
            // A program that knows three states reads a recovering breaker as a closed one.
            state: if closed { "closed" } else { seen.state() },
            failures: seen.failures(),
            last: seen.last(),
            since: seen.since().and_then(ago).map(|time| humantime::format_rfc3339_seconds(time).to_string()),
            next_probe_seconds: match &refusal {
                _ if closed => None,
                Some(Refusal { awaits: Awaits::Prober(_), .. }) => None,
                refusal => Some(refusal.as_ref().map_or(0.0, |refusal| refusal.left.as_secs_f64())),
            },
            prober: refusal.as_ref().and_then(Refusal::prober).filter(|pid| *pid != 0),
            probe_left_seconds: refusal
                .as_ref()
                .filter(|refusal| refusal.prober().is_some())
                .map(|refusal| refusal.left.as_secs_f64()),
            failed_probes: seen.record.breaker.opening().map_or(0, |open| open.probes),
            cause: seen.record.breaker.opening().map(|open| match open.cause {
                Cause::Failures => "failures",
                Cause::Tripped => "tripped",
            }),
            permits: seen
                .recovery()
                .map(|recovery| Permits { held: recovery.permits.len(), most: recovery.capacity() }),
            budget: seen.budget().map(|(tokens, size)| Budget { tokens, size }),
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_name_and_last_failure_is_borne(name in "[a\x1b\n\u{9b}\u{202e}é]{0,9}", last in "[a\x1b\n\u{9b}\"]{0,9}") {
            let last = serde_json::to_string(&last).unwrap();
            let record = format!(
                r#"{{"version": 1, "clock": {{"boot_id": "a", "boot_ms": 9, "unix_ms": 9}}, "breaker": {{"generation": 1,
                "state": "open", "first_ms": 5, "since_ms": 5, "length_ms": 30000, "cause": "failures", "probes": 0,
                "failures": 1, "last": {last}}}}}"#
            );
            let stamp = crate::state::stamp::Stamp { boot_id: "a".into(), boot_ms: 1000, unix_ms: 2000 };
            assert!(crate::state::record::decode(record.as_bytes(), &stamp).is_ok());
            super::property(format!("{name}\0{record}").as_bytes());
        }
    }
}
