//! Decides whether a failure is retried.
//!
//! [`classify`] judges an [outcome](super::outcome) by the [`condition`]s of the user and by the
//! [`profile`] of the command. If the exit status does not say enough, the [`evidence`] in the
//! output decides: lines that match a [`text`] pattern, and responses of a server ([`http`]).
//! [`window`] cuts the output into lines. [`request`] finds requests that a retry may carry out
//! twice.

pub(crate) mod class;
pub(crate) mod classify;
pub(crate) mod condition;
pub(crate) mod evidence;
pub(crate) mod http;
mod paragraph;
pub(crate) mod profile;
pub(crate) mod program;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
pub(crate) mod request;
pub(crate) mod rule;
pub(crate) mod text;
mod weigh;
pub(crate) mod window;
