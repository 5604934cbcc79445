//! Randomizes delays, so that clients that failed together do not come back together.
//!
//! Every draw stays under the cap. In the simulation (see the test), full jitter makes the fewest
//! calls. Decorrelated jitter ends about as soon, but makes more calls.

use std::time::Duration;

use rand::{Rng, RngExt as _};

use super::backoff::from_nanos;

/// How to randomize a base delay `e`. `U(a, b)` is uniform, and includes both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Jitter {
    /// `U(0, e)`
    Full,
    /// `e/2 + U(0, e/2)`
    Equal,
    /// `U(delay, min(cap, 3 · previous))`, for every kind of growth
    Decorrelated,
    /// `e' + U(0, e')` with `e' = min(cap/2, base)`
    Additive,
    /// `e`
    None,
}

/// The arguments of a draw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    /// `e`, the base delay of this retry. It is not above the cap.
    pub(crate) base: Duration,
    /// The first delay.
    pub(crate) first: Duration,
    /// The previous delay. At the start it is the first delay.
    pub(crate) previous: Duration,
    /// The upper bound of every draw.
    pub(crate) cap: Duration,
}

impl Jitter {
    /// The delay for one retry, never above the cap.
    #[must_use]
    pub(crate) fn draw(self, spread: Spread, rng: &mut impl Rng) -> Duration {
        let Spread { base, first, previous, cap } = spread;
        let drawn = match self {
            Self::Full => uniform(Duration::ZERO, base, rng),
            Self::Equal => {
                let half = base / 2;
                base.saturating_sub(half).saturating_add(uniform(Duration::ZERO, half, rng))
            }
            Self::Decorrelated => {
                let top = previous.saturating_mul(3).min(cap);
                uniform(first.min(top), top, rng)
            }
            Self::Additive => {
                let base = base.min(cap / 2);
                base.saturating_add(uniform(Duration::ZERO, base, rng))
            }
            Self::None => base,
        };
        drawn.min(cap)
    }
}

/// A uniform draw from `low` to `high`, both included. `low` is not above `high`.
pub(crate) fn uniform(low: Duration, high: Duration, rng: &mut impl Rng) -> Duration {
    // 64 bits are enough for 584 years, and need one draw instead of two.
    let (low, high) = (low.as_nanos(), high.as_nanos());
    match (u64::try_from(low), u64::try_from(high)) {
        (Ok(low), Ok(high)) => from_nanos(u128::from(rng.random_range(low..=high))),
        _ => from_nanos(rng.random_range(low..=high)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::rngs::Xoshiro256PlusPlus;

    use super::super::backoff::Growth;
    use super::*;

    const ALL: [Jitter; 5] =
        [Jitter::Full, Jitter::Equal, Jitter::Decorrelated, Jitter::Additive, Jitter::None];

    fn rng(seed: u64) -> Xoshiro256PlusPlus {
        Xoshiro256PlusPlus::seed_from_u64(seed)
    }

    fn secs(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn durations() -> impl Strategy<Value = Duration> {
        (prop_oneof![0u64..120, any::<u64>()], 0u32..1_000_000_000).prop_map(|(s, n)| Duration::new(s, n))
    }

    proptest! {
        #[test]
        fn never_above_the_cap(
            base in durations(), first in durations(), previous in durations(), cap in durations(), seed: u64,
        ) {
            for jitter in ALL {
                let spread = Spread { base: base.min(cap), first, previous, cap };
                prop_assert!(jitter.draw(spread, &mut rng(seed)) <= cap);
            }
        }

        #[test]
        fn the_same_seed_draws_the_same(base in durations(), seed: u64) {
            for jitter in ALL {
                let spread = Spread { base, first: base, previous: base, cap: Duration::MAX };
                prop_assert_eq!(jitter.draw(spread, &mut rng(seed)), jitter.draw(spread, &mut rng(seed)));
            }
        }
    }

    /// Compares the mean and the range of many draws of each jitter with the formulas.
    #[test]
    fn each_jitter_has_its_range_and_mean() {
        let spread = Spread { base: secs(8.0), first: secs(1.0), previous: secs(4.0), cap: secs(10.0) };
        for (jitter, low, high) in [
            (Jitter::Full, 0.0, 8.0),
            (Jitter::Equal, 4.0, 8.0),
            (Jitter::Decorrelated, 1.0, 10.0),
            (Jitter::Additive, 5.0, 10.0),
            (Jitter::None, 8.0, 8.0),
        ] {
            let mut rng = rng(1);
            let draws: Vec<f64> = (0..100_000).map(|_| jitter.draw(spread, &mut rng).as_secs_f64()).collect();
            let (least, most) = draws.iter().fold((f64::MAX, 0.0f64), |(a, b), d| (a.min(*d), b.max(*d)));
            let mean = draws.iter().sum::<f64>() / 100_000.0;
            let width = high - low;
            assert!(least >= low && least <= low + width * 0.01, "{jitter:?} least {least}");
            assert!(most <= high && most >= high - width * 0.01, "{jitter:?} most {most}");
            // The tolerance is four standard errors of the mean of 100,000 uniform draws.
            assert!(
                (mean - f64::midpoint(low, high)).abs() <= width * 0.0037 + 1e-9,
                "{jitter:?} mean {mean}"
            );
        }
    }

    /// `--seed` promises the same delays. This test fails if an update of the generator changes
    /// them.
    #[test]
    fn a_seed_means_these_delays() {
        let mut rng = rng(7);
        let spread = Spread { base: secs(8.0), first: secs(1.0), previous: secs(1.0), cap: secs(60.0) };
        let draws: Vec<u128> = (0..3).map(|_| Jitter::Full.draw(spread, &mut rng).as_millis()).collect();
        assert_eq!(draws, [442, 1376, 5740]);
    }

    /// One optimistic-locking contest of the AWS backoff simulator: `clients` writers of one row, a
    /// network of N(10, 2) ms, base 5 and cap 2000 ms. Returns the calls made and the time of the
    /// last.
    fn contest(
        clients: usize,
        seed: u64,
        delay: &mut dyn FnMut(u32, &mut Duration, &mut Xoshiro256PlusPlus) -> Duration,
    ) -> (u32, f64) {
        use std::cmp::Reverse;
        use std::collections::BinaryHeap;

        #[derive(PartialEq, Eq, PartialOrd, Ord)]
        enum Step {
            Read,
            Reply(u64),
            Write(u64),
            Verdict(bool),
        }
        struct Client {
            retries: u32,
            previous: Duration,
        }
        let mut rng = rng(seed);
        let hop = |rng: &mut Xoshiro256PlusPlus| {
            // The Box–Muller transform.
            let (u, v): (f64, f64) = (rng.random_range(f64::EPSILON..1.0), rng.random_range(0.0..1.0));
            let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
            secs((10.0 + 2.0 * normal).max(0.0) / 1000.0)
        };
        let mut row = 0u64;
        let (mut calls, mut order, mut end) = (0, 0u64, Duration::ZERO);
        let mut clients_state: Vec<Client> =
            (0..clients).map(|_| Client { retries: 0, previous: secs(0.005) }).collect();
        let mut events = BinaryHeap::new();
        for client in 0..clients {
            order += 1;
            events.push(Reverse((hop(&mut rng), order, client, Step::Read)));
        }
        while let Some(Reverse((now, _, client, step))) = events.pop() {
            let (at, next) = match step {
                Step::Read => (now + hop(&mut rng), Step::Reply(row)),
                Step::Reply(seen) => {
                    calls += 1;
                    (now + hop(&mut rng), Step::Write(seen))
                }
                Step::Write(seen) => {
                    let won = seen == row;
                    row += u64::from(won);
                    (now + hop(&mut rng), Step::Verdict(won))
                }
                Step::Verdict(true) => {
                    end = now;
                    continue;
                }
                Step::Verdict(false) => {
                    let state = &mut clients_state[client];
                    state.retries += 1;
                    let wait = delay(state.retries, &mut state.previous, &mut rng);
                    (now + wait + hop(&mut rng), Step::Read)
                }
            };
            order += 1;
            events.push(Reverse((at, order, client, next)));
        }
        (calls, end.as_secs_f64() * 1000.0)
    }

    /// The jitters of this file reproduce the table of the contention model: mean calls and mean
    /// end over 20 seeds, with 100 clients.
    #[test]
    fn the_contention_model_gives_its_table() {
        let (first, cap) = (secs(0.005), secs(2.0));
        let growth = Growth::Exponential { delay: first, factor: 2.0 };
        for (jitter, calls, end, tolerance) in [
            (Jitter::None, 1995.0, 68605.0, 0.10),
            (Jitter::Equal, 816.0, 6673.0, 0.10),
            (Jitter::Full, 810.0, 5033.0, 0.10),
            (Jitter::Decorrelated, 1049.0, 4806.0, 0.20),
        ] {
            let mut sums = (0.0, 0.0);
            for seed in 0..20 {
                let (c, e) = contest(100, seed, &mut |retry, previous, rng| {
                    // The simulator counts the first retry as 1.
                    let base = growth.base(retry, cap);
                    let drawn = jitter.draw(Spread { base, first, previous: *previous, cap }, rng);
                    *previous = drawn;
                    drawn
                });
                sums = (sums.0 + f64::from(c), sums.1 + e);
            }
            let (c, e) = (sums.0 / 20.0, sums.1 / 20.0);
            println!("{jitter:?}: {c:.0} calls, {e:.0} ms");
            assert!((c / calls - 1.0).abs() <= tolerance, "{jitter:?}: {c} calls, not {calls}");
            assert!((e / end - 1.0).abs() <= tolerance, "{jitter:?}: {e} ms, not {end}");
        }
    }
}
