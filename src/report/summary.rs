//! `--summary`: what reports say about each label, worst first.
//!
//! Reports may be longer than memory and broken in places, and several runs write to one at the same
//! time. So each line is read by itself, and the number of everything that is remembered has a
//! limit.
//!
//! A run counts once. Its lines may stand in several files: a copy, or both parts of a report that
//! was rotated while the run lasted, the newer part first.

mod form;
mod repeated;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::Deserialize;

pub(crate) use form::{json, markdown, table};
use repeated::{Remembered, hash};

use super::format::{duration, printable, shortened_to};

/// The longest line that is read. retry writes shorter ones.
pub(crate) const LONGEST_LINE: usize = 64 * 1024;

/// The most labels that have a row of their own.
const MOST_LABELS: usize = 1000;

/// The row of all further labels.
const OTHER_LABELS: &str = "(other labels)";

/// The most reasons of a label that are told apart.
const MOST_REASONS: usize = 16;

/// The longest text that is remembered, in characters.
const LONGEST_TEXT: usize = 100;

/// The most runs whose end is awaited, and the most ended runs of which attempts are missing.
const MOST_OPEN: usize = 10_000;

/// What the lines so far say.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    rows: HashMap<String, Row>,
    /// The runs without an end so far, by their id, which begins with the time.
    open: BTreeMap<String, Open>,
    /// The runs whose end came before some of their attempts, by the hash of their id, with the
    /// number of missing attempts.
    incomplete: HashMap<u64, u64>,
    lines: Remembered,
    /// Lines that retry did not write, or not to their end.
    pub(crate) skipped: u64,
    /// Lines of a newer retry that this one cannot read.
    pub(crate) newer: u64,
}

/// What the runs of a label did.
#[derive(Debug, Clone, Default, PartialEq)]
struct Row {
    runs: u64,
    flaky: u64,
    failed: u64,
    not_run: u64,
    /// Runs without an end: killed, or still running.
    unended: u64,
    retries: u64,
    waited: Duration,
    reasons: Vec<(String, u64)>,
    /// Failures for other reasons.
    other_reasons: u64,
}

/// A run without an end so far.
#[derive(Debug)]
struct Open {
    label: String,
    attempts: u64,
}

/// The members of a line that the summary needs. All others are ignored.
#[derive(Debug, Deserialize)]
struct Line<'a> {
    v: u64,
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    run: Cow<'a, str>,
    #[serde(borrow)]
    label: Cow<'a, str>,
    outcome: Option<Outcome>,
    verdict: Option<String>,
    rule: Option<String>,
    limit: Option<String>,
    reason: Option<String>,
    result: Option<String>,
    #[serde(default)]
    attempts: u64,
    retries: Option<u64>,
    #[serde(default)]
    flaky: bool,
    #[serde(default)]
    waited_s: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Outcome {
    exited: Option<i64>,
    killed: Option<String>,
    timed_out_s: Option<f64>,
    not_started: Option<String>,
}

/// The version of a line, if it is one of retry.
#[derive(Debug, Deserialize)]
struct Version {
    v: u64,
}

impl Summary {
    /// Adds a line. None is a line that is too long.
    pub(crate) fn add(&mut self, line: Option<&[u8]>) {
        let Some(line) = line else {
            self.skipped += 1;
            return;
        };
        let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line).trim_ascii();
        if line.is_empty() {
            return;
        }
        match serde_json::from_slice::<Line<'_>>(line) {
            Ok(parsed) if parsed.v == 1 => {
                if self.lines.is_new(line) {
                    self.count(&parsed);
                }
            }
            Ok(_) => self.newer += 1,
            Err(_) if serde_json::from_slice::<Version>(line).is_ok_and(|version| version.v > 1) => {
                self.newer += 1;
            }
            Err(_) => self.skipped += 1,
        }
    }

    fn count(&mut self, line: &Line<'_>) {
        match &*line.event {
            "attempt" => self.count_attempt(line),
            "run" => self.count_run(line),
            // A newer retry may tell more.
            _ => {}
        }
    }

    fn count_attempt(&mut self, line: &Line<'_>) {
        let label = short(&line.label);
        let run = short(&line.run);
        if !self.has_ended(&run) {
            match self.open.get_mut(&run) {
                Some(open) => open.attempts += 1,
                None => {
                    self.open.insert(run, Open { label: label.clone(), attempts: 1 });
                }
            }
        }
        if self.open.len() > MOST_OPEN
            && let Some((_, oldest)) = self.open.pop_first()
        {
            self.close(&oldest);
        }
        if let Some(reason) = line.failure() {
            self.row(&label).count_reason(reason);
        }
    }

    /// Whether a run has ended of which this attempt was missing. It is not missing any more.
    fn has_ended(&mut self, run: &str) -> bool {
        let id = hash(run.as_bytes());
        let Some(missing) = self.incomplete.get_mut(&id) else { return false };
        *missing -= 1;
        if *missing == 0 {
            self.incomplete.remove(&id);
        }
        true
    }

    fn count_run(&mut self, line: &Line<'_>) {
        let run = short(&line.run);
        let attempts = self.open.remove(&run).map_or(0, |open| open.attempts);
        if attempts < line.attempts && self.incomplete.len() < MOST_OPEN {
            self.incomplete.insert(hash(run.as_bytes()), line.attempts - attempts);
        }
        let row = self.row(&short(&line.label));
        row.runs += 1;
        row.retries = row.retries.saturating_add(line.retries.unwrap_or(line.attempts.saturating_sub(1)));
        row.waited =
            row.waited.saturating_add(Duration::try_from_secs_f64(line.waited_s).unwrap_or_default());
        match line.result.as_deref() {
            Some("succeeded" | "done") if line.flaky => row.flaky += 1,
            Some("succeeded" | "done") => {}
            Some("not-run") => row.not_run += 1,
            Some("error") => row.failed += 1,
            _ if line.attempts == 0 => row.not_run += 1,
            _ => row.failed += 1,
        }
    }

    /// Counts a run that has no end.
    fn close(&mut self, open: &Open) {
        let row = self.row(&open.label);
        row.runs += 1;
        row.unended += 1;
        row.retries = row.retries.saturating_add(open.attempts.saturating_sub(1));
    }

    /// Whether no run was found.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.open.is_empty()
    }

    fn row(&mut self, label: &str) -> &mut Row {
        let is_known = self.rows.contains_key(label);
        let label = if is_known || self.rows.len() < MOST_LABELS { label } else { OTHER_LABELS };
        self.rows.entry(label.to_owned()).or_default()
    }

    /// The rows with their labels, worst first.
    fn ranked(mut self) -> Vec<(String, Row)> {
        for open in std::mem::take(&mut self.open).into_values() {
            self.close(&open);
        }
        let mut rows: Vec<(String, Row)> = self.rows.into_iter().collect();
        for (_, row) in &mut rows {
            row.reasons.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        }
        rows.sort_by(|(a_label, a), (b_label, b)| {
            (b.bad(), b.retries).cmp(&(a.bad(), a.retries)).then_with(|| a_label.cmp(b_label))
        });
        rows
    }
}

impl Row {
    fn count_reason(&mut self, reason: String) {
        if let Some((_, count)) = self.reasons.iter_mut().find(|(known, _)| *known == reason) {
            *count += 1;
        } else if self.reasons.len() < MOST_REASONS {
            self.reasons.push((reason, 1));
        } else {
            self.other_reasons += 1;
        }
    }

    /// The runs that were not clean.
    fn bad(&self) -> u64 {
        self.flaky + self.failed + self.not_run + self.unended
    }
}

impl Line<'_> {
    /// Words for a failed attempt, as in a message. None if the attempt did not fail.
    fn failure(&self) -> Option<String> {
        let waits_only = self.rule.as_deref() == Some("--until did not hold");
        if waits_only || self.verdict.as_deref() == Some("success") {
            return None;
        }
        let outcome = self.outcome.as_ref()?;
        let ending = if let Some(status) = outcome.exited {
            format!("exited {status}")
        } else if let Some(signal) = &outcome.killed {
            format!("killed by {signal}")
        } else if self.limit.as_deref() == Some("deadline") {
            "cut by the deadline".to_owned()
        } else if let Some(limit) = outcome.timed_out_s {
            let limit = Duration::try_from_secs_f64(limit).unwrap_or_default();
            format!("timed out after {}", duration(limit))
        } else if let Some(errno) = &outcome.not_started {
            format!("could not start: {errno}")
        } else {
            "failed".to_owned()
        };
        Some(short(&match &self.reason {
            Some(reason) => format!("{ending} ({reason})"),
            None => ending,
        }))
    }
}

/// A text that may come from anybody, printable and not too long.
fn short(text: &str) -> String {
    shortened_to(&printable(text), LONGEST_TEXT).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(lines: &[&str]) -> Summary {
        let mut summary = Summary::default();
        for line in lines {
            summary.add(Some(line.as_bytes()));
        }
        summary
    }

    fn attempt(run: &str, label: &str, rest: &str) -> String {
        format!(
            r#"{{"v":1,"event":"attempt","run":"{run}","label":"{label}","verdict":"retryable","new":[1],{rest}}}"#
        )
    }

    #[test]
    fn lines_add_up_whatever_their_order() {
        let lines = [
            attempt("1", "npm", r#""attempt":1,"outcome":{"exited":1},"reason":"HTTP 503""#),
            attempt("2", "npm", r#""outcome":{"timed_out_s":30.0}"#),
            attempt("1", "npm", r#""attempt":2,"outcome":{"exited":1},"reason":"HTTP 503""#),
            attempt("3", "curl", r#""outcome":{"exited":0},"rule":"--until did not hold""#),
            attempt("4", "gone", r#""outcome":{"killed":"KILL"}"#),
            r#"{"v":1,"event":"run","run":"1","label":"npm","result":"succeeded","attempts":3,"flaky":true,"waited_s":1.5}"#.to_owned(),
            r#"{"v":1,"event":"run","run":"2","label":"npm","result":"gave-up","attempts":1,"flaky":false,"waited_s":0}"#.to_owned(),
            r#"{"v":1,"event":"run","run":"3","label":"curl","result":"succeeded","attempts":2,"flaky":false}"#.to_owned(),
            r#"{"v":1,"event":"run","run":"5","label":"curl","result":"not-run","attempts":0}"#.to_owned(),
            format!("\u{feff}{}", r#"{"v":1,"event":"run","run":"6","label":"huge","result":"gave-up","attempts":18446744073709551615,"waited_s":1e308}"#),
            r#"{"v":1,"event":"run","run":"7","label":"huge","result":"gave-up","attempts":18446744073709551615,"waited_s":1e308}"#.to_owned(),
        ];
        let mut summary = summary(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        for line in ["{\"v\":1,\"event\":\"att", "hello", "[]", "{\"v\":1}"] {
            summary.add(Some(line.as_bytes()));
        }
        summary.add(Some(b"\xff"));
        summary.add(None);
        summary.add(Some(b"  "));
        summary.add(Some(br#"{"v":2,"what":"ever"}"#));
        summary.add(Some(br#"{"v":1,"event":"pause","run":"1","label":"npm"}"#));
        assert_eq!((summary.skipped, summary.newer), (6, 1));
        let rows = summary.ranked();
        let labels: Vec<&str> = rows.iter().map(|(label, _)| label.as_str()).collect();
        assert_eq!(labels, ["huge", "npm", "curl", "gone"]);
        assert_eq!((rows[0].1.retries, rows[0].1.runs), (u64::MAX, 2));
        let rows = &rows[1..];
        let npm = &rows[0].1;
        assert_eq!((npm.runs, npm.flaky, npm.failed, npm.retries), (2, 1, 1, 2));
        assert_eq!(npm.waited, Duration::from_millis(1500));
        let reasons = [("exited 1 (HTTP 503)".to_owned(), 2), ("timed out after 30s".to_owned(), 1)];
        assert_eq!(npm.reasons, reasons);
        let curl = &rows[1].1;
        assert_eq!((curl.runs, curl.not_run, curl.retries, curl.reasons.len()), (2, 1, 1, 0));
        assert_eq!((rows[2].1.runs, rows[2].1.unended), (1, 1));
    }

    #[test]
    fn a_run_counts_once_in_whatever_order_its_lines_come() {
        let at = |n: u32, status: u8| {
            attempt("1", "npm", &format!(r#""attempt":{n},"outcome":{{"exited":{status}}}"#))
        };
        let end = r#"{"v":1,"event":"run","run":"1","label":"npm","result":"succeeded","attempts":3,"flaky":true,"waited_s":1}"#;
        let (first, second) = (at(1, 7), at(2, 8));
        let third = at(3, 0).replace("retryable", "success");
        let (first, second, third) = (first.as_str(), second.as_str(), third.as_str());
        for lines in [
            &[first, second, third, end][..],
            // The newer of two parts of a report comes first.
            &[third, end, first, second],
            &[end, first, second, third],
            // Both parts come twice, and the end comes alone.
            &[third, end, first, second, end, third, second, first, end],
        ] {
            let rows = summary(lines).ranked();
            let (label, row) = &rows[0];
            assert_eq!((rows.len(), label.as_str()), (1, "npm"), "{lines:#?}");
            assert_eq!((row.runs, row.flaky, row.unended, row.retries), (1, 1, 0, 2), "{lines:#?}");
            let mut reasons = row.reasons.clone();
            reasons.sort();
            assert_eq!(reasons, [("exited 7".to_owned(), 1), ("exited 8".to_owned(), 1)], "{lines:#?}");
        }
    }

    #[test]
    fn what_is_remembered_has_a_limit() {
        let mut summary = Summary::default();
        for n in 0..20_000 {
            let run = format!("{n:05}");
            let label = format!("label {n}");
            let outcome = format!(r#""outcome":{{"exited":{n}}}"#);
            summary.add(Some(attempt(&run, &label, &outcome).as_bytes()));
            summary.add(Some(attempt(&run, "one", &outcome).as_bytes()));
            let end = format!(r#"{{"v":1,"event":"run","run":"x{n}","label":"two","attempts":9}}"#);
            summary.add(Some(end.as_bytes()));
        }
        assert!(summary.open.len() <= MOST_OPEN && summary.rows.len() <= MOST_LABELS + 1);
        assert!(summary.incomplete.len() <= MOST_OPEN);
        let rows = summary.ranked();
        assert_eq!(rows.iter().map(|(_, row)| row.runs).sum::<u64>(), 40_000);
        let (_, one) = rows.iter().find(|(label, _)| label == "one").unwrap();
        assert_eq!((one.reasons.len(), one.other_reasons), (MOST_REASONS, 20_000 - 16));
    }
}
