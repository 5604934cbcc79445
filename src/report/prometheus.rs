//! Metrics of the last run in a text file, for the textfile collector of Prometheus' node_exporter.
//!
//! The file is read, added to and replaced as a whole, under a lock. It may hold the metrics of
//! other labels, and of other programs; these stay as they are, but for their timestamps:
//! node_exporter skips a whole file for one timestamp (`collector/textfile.go`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use super::Sink;
use super::event::{Event, Loss, Lost};
use super::tally::{Ended, RunResult};
use super::wording::Wording;
use crate::clock::since_1970;
use crate::streams::messages::Messages;
use crate::streams::replace::{Change, NotReplaced, Old, replace};

/// A longer file is not one of metrics.
const LONGEST: u64 = 16 * 1024 * 1024;

const COMPLETION: &str = "retry_last_completion_timestamp_seconds";
const SUCCESS: &str = "retry_last_success_timestamp_seconds";
const DURATION: &str = "retry_last_run_duration_seconds";
const ATTEMPTS: &str = "retry_last_run_attempts";
const STATUS: &str = "retry_last_run_exit_status";
const RUNS: &str = "retry_runs_total";
const RETRIES: &str = "retry_retries_total";

/// The metrics with their types and help texts, in the order of the file. The texts never change,
/// because node_exporter complains if they differ between files.
const FAMILIES: [(&str, &str, &str); 7] = [
    (COMPLETION, "gauge", "Unix time at which the last run ended."),
    (SUCCESS, "gauge", "Unix time at which the last run that succeeded ended."),
    (DURATION, "gauge", "Duration of the last run, including the waits."),
    (ATTEMPTS, "gauge", "Attempts of the last run."),
    (STATUS, "gauge", "Exit status of the last run."),
    (RUNS, "counter", "Runs by result: succeeded, flaky, failed or not_run."),
    (RETRIES, "counter", "Attempts that followed a failure."),
];

/// The values of the label `result`.
const RESULTS: [&str; 4] = ["succeeded", "flaky", "failed", "not_run"];

#[derive(Debug)]
pub(super) struct Metrics {
    path: PathBuf,
    wording: Rc<Wording>,
}

impl Metrics {
    pub(super) fn new(path: PathBuf, wording: Rc<Wording>) -> Self {
        Self { path, wording }
    }

    fn write(&self, ended: &Ended) -> Result<(), Lost> {
        let label = self.wording.label();
        let now = since_1970().as_secs_f64();
        let mut had_timestamps = false;
        let change = |content: &[u8]| {
            let parsed = File::parse(content);
            let old = if parsed.is_none() { Old::SetAside } else { Old::Dropped };
            let mut file = parsed.unwrap_or_default();
            had_timestamps = file.had_timestamps;
            file.add(label, ended, now);
            Change { new: file.to_text().into_bytes(), old }
        };
        let lost = |loss: Loss| Lost { path: self.path.clone(), loss };
        let replaced = replace(&self.path, LONGEST, change);
        let aside = replaced.map_err(|error| {
            lost(Loss::Metrics(match error {
                NotReplaced::Locked => "another process keeps the directory locked",
                NotReplaced::NotAFile => "it is not a regular file",
                NotReplaced::TooLong => "it is too long for a file of metrics",
                NotReplaced::System(errno) => errno.desc(),
            }))
        })?;
        match aside {
            Some(aside) => Err(lost(Loss::OldContent(aside))),
            None if had_timestamps => Err(lost(Loss::Timestamps)),
            None => Ok(()),
        }
    }
}

impl Sink for Metrics {
    fn take(&mut self, _: &Event<'_>, ended: Option<&Ended>, _: &mut Messages) -> Result<(), Lost> {
        ended.map_or(Ok(()), |ended| self.write(ended))
    }
}

/// The content of a file of metrics.
#[derive(Debug, Default, PartialEq)]
struct File {
    /// The samples of retry: the name and the labels as they stand in the file, and the value.
    samples: BTreeMap<(usize, String), f64>,
    /// The lines of other programs.
    foreign: Vec<String>,
    /// A sample of another program had a timestamp.
    had_timestamps: bool,
}

impl File {
    /// Reads a file. None if it is not one of metrics.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut file = Self::default();
        for line in std::str::from_utf8(text).ok()?.lines() {
            let line = line.trim();
            if let Some(comment) = line.strip_prefix('#') {
                let name = comment.split_whitespace().nth(1);
                if name.and_then(family).is_none() {
                    file.foreign.push(line.to_owned());
                }
                continue;
            }
            if line.is_empty() {
                continue;
            }
            let sample = Sample::parse(line)?;
            if let Some(family) = family(sample.name) {
                // A sample that retry did not write would stand beside the one that it writes.
                if let Some(labels) = own_labels(sample.labels).filter(|_| sample.value.is_finite()) {
                    file.samples.insert((family, labels), sample.value);
                }
            } else {
                file.had_timestamps |= sample.text.len() < line.len();
                file.foreign.push(sample.text.to_owned());
            }
        }
        Some(file)
    }

    /// Adds a run that has ended `now`, in seconds since 1970.
    fn add(&mut self, label: &str, ended: &Ended, now: f64) {
        let quoted = quoted(label);
        let labels = format!("label=\"{quoted}\"");
        let succeeded = matches!(ended.result, RunResult::Succeeded | RunResult::Done);
        let mut set = |name: &str, labels: &str, value: &dyn Fn(f64) -> f64| {
            if let Some(family) = family(name) {
                let sample = self.samples.entry((family, labels.to_owned())).or_insert(0.0);
                *sample = value(*sample);
            }
        };
        // Unix times have 10 digits, and milliseconds are enough.
        let now = (now * 1000.0).round() / 1000.0;
        set(COMPLETION, &labels, &|_| now);
        if succeeded {
            set(SUCCESS, &labels, &|_| now);
        }
        set(DURATION, &labels, &|_| (ended.elapsed.as_secs_f64() * 1000.0).round() / 1000.0);
        set(ATTEMPTS, &labels, &|_| count(ended.attempts));
        set(STATUS, &labels, &|_| f64::from(ended.status));
        let result = result(ended);
        // A counter that begins at 0 shows its first step too.
        for each in RESULTS {
            let step = if each == result { 1.0 } else { 0.0 };
            set(RUNS, &format!("{labels},result=\"{each}\""), &|before| before + step);
        }
        set(RETRIES, &labels, &|before| before + count(ended.retries));
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        for (index, (name, kind, help)) in FAMILIES.iter().enumerate() {
            let samples: Vec<_> = self.samples.iter().filter(|((family, _), _)| *family == index).collect();
            if samples.is_empty() {
                continue;
            }
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
            for ((_, labels), value) in samples {
                text.push_str(&format!("{name}{{{labels}}} {value}\n"));
            }
        }
        for line in &self.foreign {
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

/// A sample in the text format of Prometheus: `NAME{LABELS} VALUE [TIMESTAMP]`.
#[derive(Debug, PartialEq)]
struct Sample<'a> {
    name: &'a str,
    /// The text between the braces, without a last comma.
    labels: &'a str,
    value: f64,
    /// The sample without its timestamp.
    text: &'a str,
}

impl<'a> Sample<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let end = line.find(|c| !in_name(c))?;
        let (name, rest) = line.split_at(end);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let rest = rest.trim_start();
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(inner) => {
                let close = closing_brace(inner)?;
                (inner[..close].trim().trim_end_matches(','), &inner[close + 1..])
            }
            None => ("", rest),
        };
        let rest = rest.trim_start();
        let word = rest.split_whitespace().next()?;
        let timestamp = &rest[word.len()..];
        let text = &line[..line.len() - timestamp.len()];
        let valid = timestamp.is_empty() || timestamp.trim().parse::<i64>().is_ok();
        let value = word.parse().ok()?;
        valid.then_some(Self { name, labels, value, text })
    }
}

/// The place of the brace that closes the labels. A quoted value may contain one.
fn closing_brace(text: &str) -> Option<usize> {
    let (mut in_quotes, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_quotes => escaped = true,
            '"' => in_quotes = !in_quotes,
            '}' if !in_quotes => return Some(at),
            _ => {}
        }
    }
    None
}

/// The labels of a sample of retry, in the order in which retry writes them. None if others are among
/// them.
fn own_labels(text: &str) -> Option<String> {
    let (mut label, mut result) = (None, None);
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let value = after.trim_start().strip_prefix('"')?;
        let end = closing_quote(value)?;
        let place = match name.trim() {
            "label" => &mut label,
            "result" => &mut result,
            _ => return None,
        };
        *place = Some(unquoted(&value[..end])?);
        let after = value[end + 1..].trim_start();
        rest = after.strip_prefix(',').unwrap_or(after).trim_start();
    }
    let label = format!("label=\"{}\"", quoted(&label?));
    Some(match result {
        Some(result) => format!("{label},result=\"{}\"", quoted(&result)),
        None => label,
    })
}

/// The place of the quotation mark that ends a value.
fn closing_quote(value: &str) -> Option<usize> {
    let mut escaped = false;
    value.char_indices().find_map(|(at, c)| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at)
    })
}

/// A value without its escapes. None if one of them is unknown.
fn unquoted(value: &str) -> Option<String> {
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => match chars.next()? {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                _ => return None,
            },
            c => c,
        });
    }
    Some(plain)
}

fn family(name: &str) -> Option<usize> {
    FAMILIES.iter().position(|(known, ..)| *known == name)
}

/// The run's value of the label `result`.
fn result(ended: &Ended) -> &'static str {
    match ended.result {
        RunResult::Succeeded | RunResult::Done if ended.flaky => "flaky",
        RunResult::Succeeded | RunResult::Done => "succeeded",
        RunResult::NotRun => "not_run",
        // The attempt may have begun.
        RunResult::Error => "failed",
        RunResult::GaveUp | RunResult::NotRetried | RunResult::Interrupted => {
            if ended.attempts == 0 {
                "not_run"
            } else {
                "failed"
            }
        }
    }
}

/// A label's value in quotes.
fn quoted(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[expect(clippy::cast_precision_loss, reason = "a run has fewer than 2^53 attempts")]
fn count(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ended(result: RunResult, attempts: u64, flaky: bool) -> Ended {
        Ended {
            result,
            why: None,
            signal: None,
            status: 7,
            attempts,
            retries: attempts.saturating_sub(1),
            elapsed: Duration::from_millis(1_250),
            waited: Duration::ZERO,
            flaky,
            kinds: Vec::new(),
        }
    }

    #[test]
    fn a_run_is_added_to_what_is_there() {
        let mut file = File::default();
        file.add("a\"b\\", &ended(RunResult::Succeeded, 3, true), 1_795_000_000.125);
        file.add("a\"b\\", &ended(RunResult::GaveUp, 5, false), 1_795_000_100.0);
        file.add("c", &ended(RunResult::NotRun, 0, false), 1_795_000_200.0);
        let text = file.to_text();
        for line in [
            r#"retry_last_success_timestamp_seconds{label="a\"b\\"} 1795000000.125"#,
            r#"retry_last_completion_timestamp_seconds{label="a\"b\\"} 1795000100"#,
            r#"retry_last_run_duration_seconds{label="a\"b\\"} 1.25"#,
            r#"retry_last_run_attempts{label="a\"b\\"} 5"#,
            r#"retry_last_run_exit_status{label="a\"b\\"} 7"#,
            r#"retry_runs_total{label="a\"b\\",result="flaky"} 1"#,
            r#"retry_runs_total{label="a\"b\\",result="failed"} 1"#,
            r#"retry_runs_total{label="a\"b\\",result="succeeded"} 0"#,
            r#"retry_runs_total{label="c",result="not_run"} 1"#,
            r#"retry_retries_total{label="a\"b\\"} 6"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert_eq!(File::parse(text.as_bytes()), Some(file));
    }

    #[test]
    fn lines_of_others_stay() {
        let text = "# HELP other x\n# TYPE other gauge\nother{a=\"}\"} 1\nother 2 1700000000\n\
                    # a remark\nretry_runs_total{label=\"x\",result=\"failed\",} 4 12\n";
        let file = File::parse(text.as_bytes()).unwrap();
        assert_eq!(
            file.to_text(),
            "# HELP retry_runs_total Runs by result: succeeded, flaky, failed or not_run.\n\
             # TYPE retry_runs_total counter\n\
             retry_runs_total{label=\"x\",result=\"failed\"} 4\n\
             # HELP other x\n# TYPE other gauge\nother{a=\"}\"} 1\nother 2\n# a remark\n"
        );
        assert!(file.had_timestamps);
    }

    #[test]
    fn a_sample_of_retry_has_one_form() {
        let text = "retry_runs_total{result=\"failed\", label = \"a\\\"b\",} 4\nretry_retries_total{label=\"\\L\"} 9\n\
                    retry_retries_total{label=\"x\"} NaN\nretry_retries_total{host=\"x\"} 1\nretry_retries_total 1\n";
        let file = File::parse(text.as_bytes()).unwrap();
        let samples: Vec<(&str, f64)> =
            file.samples.iter().map(|((_, labels), value)| (labels.as_str(), *value)).collect();
        assert_eq!(samples, [(r#"label="a\"b",result="failed""#, 4.0)]);
        assert!(file.foreign.is_empty());
    }

    #[test]
    fn other_texts_are_no_metrics() {
        for text in
            [&b"hello world\n"[..], b"\xff", b"a{b=\"c} 1\n", b"a\n", b"1a 2\n", b"a 1 2 3\n", b"{} 1\n"]
        {
            assert_eq!(File::parse(text), None, "{}", String::from_utf8_lossy(text));
        }
        assert_eq!(File::parse(b""), Some(File::default()));
        for value in ["NaN", "+Inf", "-Inf", "1e9", "-2.5"] {
            assert!(File::parse(format!("a {value}\n").as_bytes()).is_some(), "{value}");
        }
    }
}
