//! The generator of delays. A run and its plan use the same one, so that `--seed` means the same
//! delays in both.

use rand::SeedableRng as _;
use rand::rngs::Xoshiro256PlusPlus;

pub(crate) type Source = Xoshiro256PlusPlus;

/// The generator for a seed.
pub(crate) fn seeded(seed: u64) -> Source {
    Source::seed_from_u64(seed)
}
