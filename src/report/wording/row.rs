//! Words for successes in a row (`--successes`).

use std::time::Duration;

use super::Wording;
use crate::policy::delay::schedule::Progress;
use crate::policy::verdict::rule::{Judged, Rule};
use crate::report::format::duration;

impl Wording {
    /// Says that an attempt succeeded and is repeated.
    pub(super) fn repeat(&self, progress: &Progress, judged: &Judged, delay: Duration) -> String {
        let (number, row) = (self.number(progress.number()), self.row(progress));
        let how = if *judged.rule() == Rule::ExitZero {
            String::new()
        } else {
            format!(": {}", self.outcome(judged, true))
        };
        format!("attempt {number} succeeded{how} ({row}); next in {}", duration(delay))
    }

    /// `2 of 3 in a row`
    fn row(&self, progress: &Progress) -> String {
        format!("{} of {} in a row", progress.in_row(), self.subject.successes)
    }

    /// The length of a row that is not complete, behind the outcome of its last attempt.
    pub(super) fn unfinished_row(&self, progress: &Progress) -> String {
        match progress.in_row() {
            0 => String::new(),
            row if row >= self.subject.successes => String::new(),
            _ => format!(", {}", self.row(progress)),
        }
    }

    /// `succeeded`, or `succeeded 3 times in a row`.
    pub(super) fn success(&self) -> String {
        match self.subject.successes {
            0 | 1 => "succeeded".to_owned(),
            times => format!("succeeded {times} times in a row"),
        }
    }
}
