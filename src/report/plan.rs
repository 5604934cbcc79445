//! The output of `--plan`: a page for people, and JSON for programs.
//!
//! The page begins with the answer: the outage that a run outlives, and what that costs the service.
//! The figures follow, and what they assume comes last. Lines fit the width of the terminal.

mod chart;
mod json;
mod screen;
mod table;
#[cfg(test)]
mod tests;
mod warning;
mod wording;

pub(crate) use screen::Screen;

use std::time::Duration;

use super::format::moment;
use super::wrap::wrapped;
use crate::policy::Policy;
use crate::policy::plan::Plan;

/// A plan, and the run that it is about.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) label: &'a str,
    /// Whether the user gave a COMMAND.
    pub(crate) has_command: bool,
    pub(crate) policy: &'a Policy,
    pub(crate) seed: Option<u64>,
    pub(crate) plan: &'a Plan,
}

impl Subject<'_> {
    /// The page for a terminal.
    #[must_use]
    pub(crate) fn text(&self, screen: Screen) -> String {
        let Plan { quick, crowd, warnings, .. } = self.plan;
        let mut text = hanging("", &self.answer(screen), screen);
        for note in self.notes() {
            text.push_str(&hanging("", &note, screen));
        }
        for warning in warnings {
            text.push_str(&hanging("Warning: ", &warning::in_words(warning), screen));
        }
        text.push('\n');
        text.push_str(&table::table(self, screen));
        if let Some(chart) = &crowd.chart {
            text.push('\n');
            text.push_str(&hanging("", &wording::chart_head(crowd, chart, quick), screen));
            text.push_str(&chart::bars(chart, screen));
            text.push_str(&hanging("", &wording::fixed(crowd, quick), screen));
        }
        text.push('\n');
        for line in self.assumptions() {
            text.push_str(&hanging("", &line, screen));
        }
        text
    }

    /// The document for programs.
    #[must_use]
    pub(crate) fn json(&self) -> String {
        json::document(self)
    }

    /// The names of the profiles that judge the failures.
    fn profiles(&self) -> Vec<&'static str> {
        self.policy.rules.profiles.iter().map(|row| row.name).collect()
    }
}

/// Stands for a blank at which no line ends.
const JOINT: char = '\u{1f}';

/// A time whose parts stay on one line.
fn time(time: Duration) -> String {
    moment(time).replace(' ', &JOINT.to_string())
}

/// A head, and a text beside it that stays behind the head in each line.
fn hanging(head: &str, text: &str, screen: Screen) -> String {
    let indent = head.chars().count();
    let lines = wrapped(text, screen.width - indent);
    let line = |(n, line): (usize, &String)| format!("{:indent$}{line}\n", if n == 0 { head } else { "" });
    lines.iter().enumerate().map(line).collect::<String>().replace(JOINT, " ")
}
