//! Whether an attempt may be made at all, by the common knowledge of all runs of one name.
//!
//! The [`breaker`] keeps runs away from a service that is down. The [`budget`] keeps retries a
//! small part of the load. A [`record`] holds both. These are values: what happened, and when,
//! changes them. Something else keeps them between runs.

pub(crate) mod breaker;
pub(crate) mod budget;
pub(crate) mod moment;
pub(crate) mod record;

use std::time::Duration;

use rand::Rng;

use super::delay::jitter::uniform;

/// The options of a run for shared state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Admission {
    /// `--breaker`
    pub(crate) breaker: Option<breaker::Settings>,
    /// `--breaker-wait`: the run waits for an open breaker.
    pub(crate) wait: bool,
    /// `--budget`
    pub(crate) budget: Option<budget::Rate>,
}

/// The lease of a probe: the longest time that its attempt can take, and a while for the report.
pub(crate) fn probe_lease(timeout: Option<Duration>, kill_after: Duration) -> Duration {
    const FOR_THE_REPORT: Duration = Duration::from_secs(5);
    const WITHOUT_TIMEOUT: Duration = Duration::from_mins(5);
    timeout
        .map_or(WITHOUT_TIMEOUT, |timeout| timeout.saturating_add(kill_after).saturating_add(FOR_THE_REPORT))
}

/// The shortest wait between two looks at an open breaker.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);

/// A wait ends at least this long before the deadline.
const BEFORE_DEADLINE: Duration = Duration::from_millis(1);

impl Admission {
    /// Whether the run shares anything with other runs.
    pub(crate) fn is_shared(&self) -> bool {
        self.breaker.is_some() || self.budget.is_some()
    }

    /// The time that this run stays behind the first of the runs that wait for a breaker.
    pub(crate) fn spread(&self, refusal: &breaker::Refusal, rng: &mut impl Rng) -> Duration {
        uniform(Duration::ZERO, self.width(refusal), rng)
    }

    /// The time over which all waiting runs spread their looks: half the cooldown of the breaker.
    /// All must use the same cooldown, so the setting of this run counts only if the record names
    /// none.
    fn width(&self, refusal: &breaker::Refusal) -> Duration {
        let own = || self.breaker.map(|settings| settings.cooldown);
        refusal.cooldown.or_else(own).unwrap_or_default() / 2
    }

    /// The wait until the next look at an open breaker, `left` before the deadline. None if this
    /// run does not wait for the breaker, or not for this long. Waiting runs come back spread over
    /// half a cooldown of the breaker, not all at once.
    #[must_use]
    pub(crate) fn next_look(
        &self,
        refusal: &breaker::Refusal,
        left: Duration,
        rng: &mut impl Rng,
    ) -> Option<Duration> {
        if !self.wait {
            return None;
        }
        // A probe that runs may end at any moment.
        let due = if refusal.prober.is_some() { Duration::ZERO } else { refusal.left };
        let from = due.max(SHORTEST_WAIT);
        let to = from.saturating_add(self.width(refusal)).min(left.saturating_sub(BEFORE_DEADLINE));
        (from <= to).then(|| uniform(from, to, rng))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::rngs::Xoshiro256PlusPlus;

    use super::breaker::{Cause, Known, Refusal, Settings};
    use super::*;

    fn refusal(left: u64, prober: Option<u32>) -> Refusal {
        let (age, left) = (Duration::ZERO, Duration::from_secs(left));
        let cooldown = Some(Duration::from_secs(30));
        Refusal {
            age,
            left,
            cooldown,
            cause: Cause::Failures,
            failures: 5,
            last: None,
            prober,
            known: Known::Now,
        }
    }

    /// A run with its own cooldown, which differs from the cooldown of the breaker.
    fn admission(wait: bool) -> Admission {
        let cooldown = Duration::from_mins(10);
        let failures = NonZeroU32::new(5).unwrap();
        Admission { breaker: Some(Settings { failures, cooldown, lease: cooldown }), wait, budget: None }
    }

    #[test]
    fn a_run_waits_only_if_it_was_asked_to_and_has_the_time() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
        assert_eq!(admission(false).next_look(&refusal(1, None), Duration::MAX, &mut rng), None);
        let long = refusal(60, None);
        assert_eq!(admission(true).next_look(&long, Duration::from_mins(1), &mut rng), None);
    }

    #[test]
    fn waiting_runs_come_back_spread_over_half_a_cooldown() {
        let (admission, refusal) = (admission(true), refusal(20, None));
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
        let look = |rng: &mut _| admission.next_look(&refusal, Duration::from_secs(100), rng).unwrap();
        let looks: Vec<Duration> = (0..300).map(|_| look(&mut rng)).collect();
        let within = |from, to| {
            let range = Duration::from_millis(from)..Duration::from_millis(to);
            looks.iter().filter(|look| range.contains(look)).count()
        };
        // An even spread has 20 of the 300 runs in each of the fifteen seconds.
        for second in 0..15 {
            let there = within(20_000 + second * 1000, 21_000 + second * 1000);
            assert!((5..=40).contains(&there), "{there} in second {second}");
        }
        let spreads: Vec<Duration> = (0..300).map(|_| admission.spread(&refusal, &mut rng)).collect();
        assert!(spreads.iter().min() < Some(&Duration::from_secs(1)));
        assert!(spreads.iter().max() > Some(&Duration::from_secs(14)));
        assert!(spreads.iter().max() <= Some(&Duration::from_secs(15)));
    }

    #[test]
    fn without_a_cooldown_in_the_record_the_waiter_s_own_counts() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
        let tripped = Refusal { cooldown: None, ..refusal(20, None) };
        let mut look = || admission(true).next_look(&tripped, Duration::MAX, &mut rng).unwrap();
        let looks: Vec<Duration> = (0..300).map(|_| look()).collect();
        assert!(looks.iter().max() > Some(&Duration::from_mins(5)));
        assert!(looks.iter().max() <= Some(&Duration::from_secs(320)));
    }

    proptest! {
        /// A run looks at the breaker when the probe is due, at most half the cooldown later, and
        /// before the deadline.
        #[test]
        fn a_waiting_run_looks_in_time(
            left in 0u64..100,
            deadline in 1u64..200,
            cooldown in 0u64..100,
            probing: bool,
            seed: u64,
        ) {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let cooldown = Duration::from_secs(cooldown);
            let refusal = Refusal { cooldown: Some(cooldown), ..refusal(left, probing.then_some(1)) };
            let deadline = Duration::from_secs(deadline);
            let due = if probing { Duration::ZERO } else { refusal.left };
            match admission(true).next_look(&refusal, deadline, &mut rng) {
                Some(look) => {
                    prop_assert!(look >= due && look >= SHORTEST_WAIT && look < deadline);
                    prop_assert!(look <= due.max(SHORTEST_WAIT) + cooldown / 2);
                }
                None => prop_assert!(due >= deadline),
            }
        }
    }
}
