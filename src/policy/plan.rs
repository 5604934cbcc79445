//! What a policy means for a service that is down: when the attempts come, how long an outage a run
//! outlives, and how many clients arrive at once.
//!
//! Nothing here computes a delay. [`walk`] makes the decisions of a run with the functions that the
//! loop itself calls, so a plan cannot differ from a run. [`forecast`] draws many runs, [`crowd`] lets
//! many clients fail at the same instant, and [`warning`] finds options that defeat each other.
//!
//! A plan shows the options alone. A deadline that a retry outside hands down is not part of it.

mod crowd;
mod forecast;
#[cfg(test)]
mod tests;
mod walk;
mod warning;

use std::num::NonZeroU32;
use std::time::Duration;

pub(crate) use crowd::{Chart, Crowd};
pub(crate) use forecast::{Extent, Forecast};
pub(crate) use walk::{FOLLOWED, Walk};
pub(crate) use warning::{InStep, Limit, Warning};

use super::Policy;
use super::delay::source::seeded;

/// The seed of a plan without `--seed`, so that the same options give the same plan.
const SEED: u64 = 1;

/// What the options mean.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// The attempts fail at once.
    pub(crate) quick: Forecast,
    /// Each attempt ends at its timeout. None without a timeout.
    pub(crate) slow: Option<Forecast>,
    pub(crate) crowd: Crowd,
    /// The run with the seed of `--seed`.
    pub(crate) seeded: Option<Walk>,
    pub(crate) warnings: Vec<Warning>,
}

impl Plan {
    /// Draws a plan for this many clients. `seed` is that of `--seed`.
    #[must_use]
    pub(crate) fn new(policy: &Policy, clients: NonZeroU32, seed: Option<u64>) -> Self {
        let policy = &Policy { outer: None, handed_down: None, ..policy.clone() };
        let rng = &mut seeded(seed.unwrap_or(SEED));
        let quick = Forecast::new(policy, Duration::ZERO, rng, forecast::shown);
        let slow = policy.limits.timeout.map(|timeout| {
            let rows = || quick.moments.iter().map(|moment| moment.attempt);
            Forecast::new(policy, timeout, rng, |most| rows().filter(|attempt| *attempt <= most).collect())
        });
        let crowd = Crowd::new(policy, clients, &quick, rng);
        let warnings = warning::warnings(policy, clients, &quick, slow.as_ref());
        let seeded = seed.map(|seed| Walk::new(policy, Duration::ZERO, FOLLOWED, &mut seeded(seed)));
        Self { quick, slow, crowd, seeded, warnings }
    }
}
