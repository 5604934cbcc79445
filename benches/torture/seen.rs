//! The observations of a run: how it ended, what it left, the log of its attempts, and what was
//! wrong with it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::plan::Act;

/// A command must log a signal within this time.
pub(crate) const SOON: Duration = Duration::from_millis(300);

/// How retry ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Status(i32),
    Signal(i32),
}

/// Processes that a run has left behind, and the state of its terminal.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Number of zombies that retry left to its parent.
    pub(crate) dead: usize,
    pub(crate) alive: Vec<i32>,
    /// The foreground group of the terminal has no living process.
    pub(crate) lost: bool,
}

/// The observations of a run.
#[derive(Debug)]
pub(crate) struct Seen {
    /// None if the run did not end.
    pub(crate) end: Option<End>,
    /// Time from boot to the beginning of the run. `took` is the length of the run.
    pub(crate) started: Duration,
    pub(crate) took: Duration,
    /// Time for which retry was stopped.
    pub(crate) stopped: Duration,
    /// The signals and keys that were sent, each with its time since boot.
    pub(crate) sent: Vec<(Act, Duration)>,
    pub(crate) left: Left,
    pub(crate) log: Result<Log, String>,
    /// Stdout, if stdout is not a terminal and the reader reads all of it.
    pub(crate) output: Option<Vec<u8>>,
    /// Stderr, if stderr is not a terminal.
    pub(crate) errors: Option<Vec<u8>>,
    /// The bytes that the terminal received.
    pub(crate) terminal: Option<Vec<u8>>,
    /// An error of the other runs that use the same records.
    pub(crate) company: Option<String>,
    /// The terminal has different modes after the run.
    pub(crate) changed: bool,
    /// The lines of the report, or an error message. None without a report.
    pub(crate) report: Option<Result<Vec<Value>, String>>,
    /// The summary of the report.
    pub(crate) summary: Option<Value>,
    /// Files that the run left behind, as paths relative to its directory.
    pub(crate) files: Vec<PathBuf>,
}

/// The log of the attempts.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The number of each attempt, its pid, and the time since boot.
    pub(crate) begun: Vec<(u64, i32, Duration)>,
    /// For each attempt that ended by itself: its status, and the time since boot.
    pub(crate) ended: BTreeMap<u64, (i32, Duration)>,
    /// The attempts that listen for signals, and the times from which they listen.
    pub(crate) ready: Vec<(u64, Duration)>,
    /// The attempts that got a signal, and the names of the signals.
    pub(crate) got: Vec<(u64, String)>,
    pub(crate) hooks: Vec<Hook>,
}

/// A run of `--on-retry`.
#[derive(Debug)]
pub(crate) struct Hook {
    /// The number of the coming attempt.
    pub(crate) number: u64,
    pub(crate) last_status: i32,
    /// The number of attempts that had begun before.
    pub(crate) after: usize,
}

impl Log {
    /// # Errors
    /// A line that no command writes.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let mut log = Self::default();
        for line in fs::read_to_string(path).unwrap_or_default().lines() {
            log.note(line).ok_or_else(|| format!("no command writes down {line:?}"))?;
        }
        Ok(log)
    }

    /// Adds a line of the log. Returns None if the line is not valid.
    fn note(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(' ').collect();
        let time = |text: &str| Duration::try_from_secs_f64(text.parse().ok()?).ok();
        match words[..] {
            ["begin", number, pid, at] => {
                self.begun.push((number.parse().ok()?, pid.parse().ok()?, time(at)?));
            }
            ["end", number, status, at] => {
                self.ended.insert(number.parse().ok()?, (status.parse().ok()?, time(at)?));
            }
            ["ready", number, at] => self.ready.push((number.parse().ok()?, time(at)?)),
            ["hook", number, last_status] => self.hooks.push(Hook {
                number: number.parse().ok()?,
                last_status: last_status.parse().ok()?,
                after: self.begun.len(),
            }),
            ["got", number, signal] => self.got.push((number.parse().ok()?, format!("SIG{signal}"))),
            _ => return None,
        }
        Some(())
    }

    /// Whether neither an attempt nor a hook has written a line.
    pub(crate) fn is_empty(&self) -> bool {
        self.begun.is_empty() && self.hooks.is_empty()
    }

    /// Time since boot at which this attempt began.
    pub(crate) fn began(&self, number: u64) -> Option<Duration> {
        self.begun.iter().find(|(begun, ..)| *begun == number).map(|(.., at)| *at)
    }

    /// Whether this attempt may have been running at the time `limit`. A command logs its end
    /// before it exits, so the attempt counts as running for [`SOON`] after the entry.
    pub(crate) fn is_near(&self, number: u64, limit: Duration) -> bool {
        self.ended.get(&number).is_none_or(|(_, end)| *end + SOON >= limit)
    }

    /// The number of the last attempt, and its status if it ended by itself.
    pub(crate) fn last(&self) -> Option<(u64, Option<i32>)> {
        let (number, ..) = self.begun.last()?;
        Some((*number, self.ended.get(number).map(|(status, _)| *status)))
    }
}

/// The lines of a report.
///
/// # Errors
/// A line that is not JSON, or the last one without its end.
pub(crate) fn report(path: &Path) -> Result<Vec<Value>, String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(format!("the report ends within a line: {text:?}"));
    }
    let line = |line: &str| serde_json::from_str(line).map_err(|error| format!("{error} in {line:?}"));
    text.lines().map(line).collect()
}

/// An error of a run.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// A busy machine can cause this error.
    Late(String),
    /// This error must not occur on any machine.
    Never(String),
}

impl Wrong {
    /// Adds text to the message.
    pub(crate) fn with(self, more: &str) -> Self {
        match self {
            Self::Late(what) => Self::Late(what + more),
            Self::Never(what) => Self::Never(what + more),
        }
    }
}

/// Reports the first difference between two texts.
pub(crate) fn differs(got: &[u8], right: &[u8]) -> Option<String> {
    let at = got.iter().zip(right).position(|(a, b)| a != b);
    (got != right)
        .then(|| format!("{} bytes came where {} should, other from {at:?} on", got.len(), right.len()))
}
