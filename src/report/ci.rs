//! Annotations in a CI, and the summary of a job on GitHub.
//!
//! A run says at its end, once, that it was flaky or failed. The CI shows the annotation beside the
//! job, where somebody sees it although the job is green. GitHub's and Azure's agents read stderr
//! too, so stdout stays the command's.

use std::path::PathBuf;
use std::rc::Rc;

use super::Sink;
use super::event::{Event, Lost};
use super::format::{escaped_markdown, printable};
use super::subject::Volume;
use super::tally::{Ended, RunResult};
use super::wording::Wording;
use crate::error::one_line;
use crate::streams::append::append_to_existing;
use crate::streams::messages::Messages;

/// The summary of a step may have 1 MiB. GitHub drops all of it if it is longer, so that retry stops
/// well before.
const LONGEST_SUMMARY: u64 = 900 * 1024;

/// A CI that shows annotations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ci {
    /// GitHub Actions, Gitea and Forgejo.
    GitHub {
        /// The file of the job's summary.
        summary: Option<PathBuf>,
    },
    /// Azure Pipelines.
    Azure,
}

/// How loud an annotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Warning,
    Error,
}

/// Whether the end of a run deserves an annotation. It then takes the place of the last line.
pub(super) fn level(ended: &Ended) -> Option<Level> {
    match ended.result {
        RunResult::Succeeded | RunResult::Done => ended.flaky.then_some(Level::Warning),
        RunResult::GaveUp | RunResult::NotRetried | RunResult::NotRun | RunResult::Error => {
            Some(Level::Error)
        }
        // Somebody cancelled the job.
        RunResult::Interrupted => None,
    }
}

#[derive(Debug)]
pub(super) struct Annotations {
    ci: Ci,
    wording: Rc<Wording>,
}

impl Annotations {
    pub(super) fn new(ci: Ci, wording: Rc<Wording>) -> Self {
        Self { ci, wording }
    }

    fn annotate(&self, ended: &Ended, level: Level, line: &str, stderr: &mut Messages) {
        let label = self.wording.label();
        let (what, mark) = match (level, ended.result) {
            (Level::Warning, _) => ("was flaky", "⚠️"),
            (Level::Error, RunResult::NotRun) => ("was not run", "❌"),
            (Level::Error, _) => ("failed", "❌"),
        };
        let title = format!("retry: {label} {what}");
        let message = match level {
            Level::Warning => format!("{line}; before: {}", kinds(ended, " x")),
            Level::Error => line.to_owned(),
        };
        match &self.ci {
            Ci::GitHub { summary } => {
                // The command may have left an unfinished line, and the runner reads a command
                // only at the beginning of a line.
                stderr.say(&format!("\n{}", github(level, &title, &message)));
                if let Some(path) = summary {
                    let before = match level {
                        Level::Warning => format!(": {}", escaped_markdown(&kinds(ended, " ×"))),
                        Level::Error => String::new(),
                    };
                    let (label, line) = (escaped_markdown(label), escaped_markdown(line));
                    let item = format!("- {mark} **{label}** {line}{before}\n");
                    // A job without a summary has nothing to write to. That is no fault.
                    let _ = append_to_existing(path, &item, LONGEST_SUMMARY);
                }
            }
            Ci::Azure => stderr.say(&azure(level, &format!("{title}: {message}"))),
        }
    }

    fn last_line(&self, event: &Event<'_>) -> Option<String> {
        match event {
            Event::Failure(error) => Some(printable(&one_line(*error)).into_owned()),
            event => {
                let (least, line) = self.wording.event(event)?;
                (least <= Volume::Normal).then_some(line)
            }
        }
    }
}

/// The failures of the run: `exited 22 (HTTP 503) x2, timed out after 30s`.
fn kinds(ended: &Ended, times: &str) -> String {
    let kind = |(kind, count): &(String, u64)| match count {
        1 => kind.clone(),
        count => format!("{kind}{times}{count}"),
    };
    ended.kinds.iter().map(kind).collect::<Vec<_>>().join(", ")
}

impl Sink for Annotations {
    fn take(&mut self, event: &Event<'_>, ended: Option<&Ended>, stderr: &mut Messages) -> Result<(), Lost> {
        if let Some(ended) = ended
            && let Some(level) = level(ended)
            && let Some(line) = self.last_line(event)
        {
            self.annotate(ended, level, &line, stderr);
        }
        Ok(())
    }
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A command of GitHub's runner, which reads it at the beginning of a line.
fn github(level: Level, title: &str, message: &str) -> String {
    let data = |text: &str| printable(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = data(title).replace(':', "%3A").replace(',', "%2C");
    format!("::{} title={property}::{}", level.word(), data(message))
}

/// A command of Azure's agent.
fn azure(level: Level, message: &str) -> String {
    let data = printable(message)
        .replace('%', "%AZP25")
        .replace(';', "%3B")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
        .replace(']', "%5D");
    format!("##vso[task.logissue type={}]{data}", level.word())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_is_escaped_first() {
        assert_eq!(
            github(Level::Warning, "retry: a,b:%0A was flaky", "::error::x%0A\n##[y"),
            "::warning title=retry%3A a%2Cb%3A%250A was flaky::::error::x%250A\\n## [y"
        );
        assert_eq!(
            azure(Level::Error, "a;b]%3B\n##vso[task.complete]"),
            "##vso[task.logissue type=error]a%3Bb%5D%AZP253B\\n##vso [task.complete%5D"
        );
    }
}
