//! The limits of one attempt, and how retry times it.

use std::time::Duration;

use crate::policy::Limits;

/// The end of the whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline {
    pub(crate) at: Duration,
    /// The value of `--deadline`, for messages.
    pub(crate) length: Duration,
}

/// What runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The command of the user. It decides for itself what a signal that ends the run means.
    Command,
    /// `--check` or `--on-retry`. KILL follows such a signal after `--kill-after`.
    Beside,
}

/// The settings of one attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttemptSettings {
    pub(crate) role: Role,
    pub(crate) limits: Limits,
    pub(crate) deadline: Option<Deadline>,
    /// The run time counts for `--healthy-after`, so it must leave out stops of retry.
    pub(crate) measures_run_time: bool,
    /// No other attempt can follow.
    pub(crate) is_last: bool,
}

impl AttemptSettings {
    /// Whether retry may have to end all processes of the attempt.
    pub(super) fn may_end_all(&self) -> bool {
        self.limits.timeout.is_some() || self.deadline.is_some() || self.role == Role::Beside
    }

    /// Whether a stop of retry changes a timeout or a run time.
    pub(super) fn counts_stops(&self) -> bool {
        self.limits.timeout.is_some() || self.measures_run_time
    }
}
