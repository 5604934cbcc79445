//! The command line: its words become [`args::Args`] ([`scan`], [`parse`], [`values`]). Those of a
//! file may stand below them ([`policy_file`]). They become a policy and an invocation ([`resolve`],
//! [`label`]) or an action on shared state ([`action`]).
//!
//! [`usage_error`] explains words that cannot be read, [`echo`] decides how much of a word an error
//! repeats, and [`hints`] says what was probably meant. [`help`] and [`mod@reference`] describe the
//! options from their one definition.

pub(crate) mod action;
pub(crate) mod args;
mod defaults;
mod directory;
mod echo;
mod help;
pub(crate) mod hints;
pub(crate) mod label;
pub(crate) mod parse;
pub(crate) mod policy_file;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
pub mod reference;
pub(crate) mod resolve;
mod scan;
mod usage_error;
pub(crate) mod values;
