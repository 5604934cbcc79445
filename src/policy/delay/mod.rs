//! Decides when the next attempt begins: [`backoff`] computes the base delay, [`jitter`] randomizes
//! it, and [`schedule`] fits it into the number of attempts and the deadline. [`source`] is the generator of
//! random numbers.

pub(crate) mod backoff;
pub(crate) mod jitter;
pub(crate) mod schedule;
pub(crate) mod source;
