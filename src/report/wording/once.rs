//! Words for `--once`.

use std::time::Duration;

use super::Wording;
use crate::policy::outer::Deadline;
use crate::report::format::{duration, printable};

impl Wording {
    /// The file of the answer, as the user typed it.
    pub(super) fn answer_file(&self) -> String {
        let path = self.subject.once.as_ref().map(|path| path.to_string_lossy());
        path.map(|path| printable(&path).into_owned()).unwrap_or_default()
    }

    /// Says that another run is making the answer.
    pub(super) fn making(&self, by: Option<u32>) -> String {
        let run = by.map_or_else(|| "another run".to_owned(), |pid| format!("process {pid}"));
        format!("{run} is making {}", self.answer_file())
    }

    /// Says that an earlier run has made the answer.
    pub(super) fn answered(&self, age: Duration) -> String {
        format!("not run: done {} ago ({})", duration(age), self.answer_file())
    }

    /// Says that the run did not wait for the answer, or not longer.
    pub(super) fn busy(&self, by: Option<u32>, deadline: Option<Deadline>) -> String {
        let making = self.making(by);
        match deadline {
            Some(deadline) => format!("not run: {making}, and {}", self.passed(deadline)),
            None => format!("not run: {making}; with --deadline, retry waits for it"),
        }
    }
}
