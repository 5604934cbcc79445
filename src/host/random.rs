//! The random sources of a run.

use rand::TryRng as _;
use rand::rngs::SysRng;

use crate::clock;
use crate::policy::delay::source::{Source, seeded};
use crate::run::Randomness;

/// A source is created at its first use, so that a run that succeeds at once needs no randomness.
#[derive(Debug)]
pub(super) struct Sources {
    seed: Option<u64>,
    delays: Option<Source>,
    breaker_looks: Option<Source>,
}

impl Sources {
    /// `seed` is that of the delays.
    pub(super) fn new(seed: Option<u64>) -> Self {
        Self { seed, delays: None, breaker_looks: None }
    }

    pub(super) fn source(&mut self, purpose: Randomness) -> &mut Source {
        match purpose {
            Randomness::Delays => {
                let seed = self.seed;
                self.delays.get_or_insert_with(|| seeded(seed.unwrap_or_else(random_seed)))
            }
            Randomness::BreakerLooks => self.breaker_looks.get_or_insert_with(|| seeded(random_seed())),
        }
    }
}

/// If the system has no randomness, the clock and the process id are the seed: runs at the same
/// moment differ in their process ids. An error would hide how the attempt ended.
fn random_seed() -> u64 {
    SysRng.try_next_u64().unwrap_or_else(|_| {
        let moment = u64::try_from(clock::now().as_nanos()).unwrap_or(u64::MAX);
        moment ^ (u64::from(std::process::id()) << 32)
    })
}
