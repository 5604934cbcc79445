//! What the user must know about records.

use std::path::PathBuf;

use super::store::{Replacement, StoreError};

/// Something that the user must know about a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    pub(crate) affected: Affected,
    pub(crate) problem: Problem,
}

/// The part of shared state that a warning is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Affected {
    Breaker,
    Budget,
    Both,
}

/// A problem with a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// It cannot be used, and the run goes on without it.
    Unusable(StoreError),
    /// It cannot be used now. The breaker was open when this run last saw it, so the run treats it
    /// as open.
    Unanswered(StoreError),
    /// It was damaged, and the store renamed its file to this path.
    SetAside(PathBuf),
    /// Its server cannot be used, and a file of this machine serves in its place.
    Replaced(Replacement),
    /// Too many runs changed it at the same time, and what this run had to say is lost.
    Unheard,
}

impl Affected {
    pub(super) fn with(self, other: Self) -> Self {
        if self == other { self } else { Self::Both }
    }
}
