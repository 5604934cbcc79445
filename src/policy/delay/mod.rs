//! When? [`backoff`] gives the base delay of a retry, [`jitter`] spreads it under the cap, and
//! [`schedule`] fits it into attempts and deadline.

pub(crate) mod backoff;
pub(crate) mod jitter;
pub(crate) mod schedule;
