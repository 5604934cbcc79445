//! Words for retries around this run.

use super::Wording;
use crate::policy::outer::{Deadline, Outer};
use crate::report::format::{count, duration};

/// Says how many attempts all retries may make together.
pub(super) fn nested(outer: Outer, in_all: Option<u64>) -> String {
    let number = match outer.max {
        Some(max) => format!("{} of {max}", outer.attempt),
        None => outer.attempt.to_string(),
    };
    let in_all = match in_all {
        Some(most) => format!("up to {} in all", count(most, "attempt")),
        None => "no limit on the attempts in all".to_owned(),
    };
    format!("runs inside another retry (attempt {number}): {in_all}; -n 1 leaves them to the outer one")
}

impl Wording {
    /// Names a deadline that is still to come.
    pub(super) fn limit_of_run(&self, deadline: Deadline) -> String {
        match deadline {
            Deadline::Own(length) => format!("the deadline of {}", self.deadline(length)),
            Deadline::Outer(left) => format!("the outer retry's deadline (in {})", duration(left)),
        }
    }

    /// Says that a deadline has passed.
    pub(super) fn passed(&self, deadline: Deadline) -> String {
        match deadline {
            Deadline::Own(length) => format!("the deadline of {} has passed", self.deadline(length)),
            Deadline::Outer(_) => "the outer retry's deadline has passed".to_owned(),
        }
    }
}
