//! The values of options, with a file for each kind of value.
//!
//! A [`ValueError`] names the fault and the form that the option takes. The name of the option and,
//! if it is harmless, the text are added in [`super::usage_error`].

mod budget;
mod choice;
mod condition;
mod count;
mod delays;
mod duration;
mod key;
mod name;
mod number;
mod path;
mod policy;
mod signal;
mod size;
mod state;
mod text;
mod trip;

pub(crate) use budget::{Budget, budget};
pub(crate) use choice::{BackoffName, CiName, HoldName, JitterName, StdinName};
pub(crate) use condition::condition;
pub(crate) use count::{MaxAttempts, clients, failures, max_attempts, successes};
pub(crate) use delays::{Delays, delays};
pub(crate) use duration::{Span, duration, healthy_after, positive_duration, span};
pub(crate) use key::{KeySource, key};
pub(crate) use name::name;
pub(crate) use number::{factor, seed};
pub(crate) use path::{answer_file, file, report_file, summary_file};
pub(crate) use policy::{PolicyName, policy};
pub(crate) use signal::signal;
pub(crate) use size::size;
pub(crate) use state::{StatePlace, state_option, state_place};
pub(crate) use text::{check, label, on_retry};
pub(crate) use trip::trip;

use crate::error::Quote;

/// A text that is not a value of its option.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub(crate) struct ValueError {
    pub(crate) cause: String,
    pub(crate) hint: String,
    /// The part of the text with the fault, if the fault has a place.
    pub(crate) quote: Option<Quote>,
}

impl ValueError {
    pub(crate) fn new(cause: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { cause: cause.into(), hint: hint.into(), quote: None }
    }
}
