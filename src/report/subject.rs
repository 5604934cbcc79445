//! The run that is reported on.

use std::num::NonZeroU32;
use std::path::PathBuf;

use super::format::printable;
use crate::policy::outer::Outer;
use crate::policy::verdict::classify::Rules;
use crate::state::file::place::Place;
use crate::state::participant::Affected;

/// The amount of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Volume {
    /// `-qq`: nothing.
    Silent,
    /// `-q`: the last line of a run that failed, and warnings about shared state.
    Quiet,
    /// A line for every failure, and a last line.
    Normal,
    /// `-v`: also the rules that decided, and the signals that retry sent.
    Verbose,
}

/// The run in the words of the user.
#[derive(Debug, Default)]
pub(crate) struct Subject {
    /// The name of the command in messages.
    pub(crate) label: String,
    /// The command as the user typed it, if it is safe to print and differs from the label.
    pub(crate) typed: Option<String>,
    pub(crate) max_attempts: Option<NonZeroU32>,
    /// The number of successes in a row that the run needs.
    pub(crate) successes: u32,
    /// The retry that this run is part of.
    pub(crate) outer: Option<Outer>,
    pub(crate) rules: Rules,
    pub(crate) shared: Names,
    /// The file of `--once`, as the user typed it.
    pub(crate) once: Option<PathBuf>,
    pub(crate) written: Written,
    pub(crate) policy_file: Option<PolicySource>,
    /// A note about options that probably do not mean what the user wants. It is told at the first
    /// failure.
    pub(crate) doubt: Option<String>,
}

/// The policy file of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PolicySource {
    /// The name or path that the user wrote.
    pub(crate) name: String,
    /// The absolute path.
    pub(crate) path: PathBuf,
    /// `--policy` or `RETRY_POLICY`.
    pub(crate) named_by: &'static str,
}

/// Durations as the user wrote them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Written {
    pub(crate) deadline: Option<String>,
    pub(crate) timeout: Option<String>,
    pub(crate) max_retry_after: Option<String>,
    pub(crate) healthy_after: Option<String>,
    pub(crate) splay: Option<String>,
}

/// The names of the breaker and the budget.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    pub(crate) breaker: Option<Place>,
    pub(crate) budget: Option<Place>,
}

impl Names {
    pub(super) fn each(&self) -> impl Iterator<Item = (&'static str, &Place)> {
        let breaker = self.breaker.as_ref().map(|place| ("breaker", place));
        breaker.into_iter().chain(self.budget.as_ref().map(|place| ("budget", place)))
    }

    /// `breaker payments`, `budget payments`, `breaker and budget payments`, `breaker payments and
    /// budget mail`.
    pub(super) fn names(&self, affected: Affected) -> String {
        let name = |place: &Option<Place>| {
            place.as_ref().map(|place| printable(&place.name).into_owned()).unwrap_or_default()
        };
        match affected {
            Affected::Both if self.breaker == self.budget => {
                format!("breaker and budget {}", name(&self.breaker))
            }
            Affected::Both => format!("breaker {} and budget {}", name(&self.breaker), name(&self.budget)),
            Affected::Breaker => format!("breaker {}", name(&self.breaker)),
            Affected::Budget => format!("budget {}", name(&self.budget)),
        }
    }
}
