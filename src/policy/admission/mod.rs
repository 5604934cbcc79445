//! Whether an attempt may be made at all, by the common knowledge of all runs of one name.
//!
//! The [`breaker`] keeps runs away from a service that is down. The [`budget`] keeps retries a
//! small part of the load. A [`record`] holds both. These are values: what happened, and when,
//! changes them. Something else keeps them between runs. A run inside another one may go on with the
//! claims [`above`] it.

pub(crate) mod above;
pub(crate) mod breaker;
pub(crate) mod budget;
#[cfg(test)]
mod crowd;
pub(crate) mod moment;
pub(crate) mod record;
pub(crate) mod recovery;

use std::time::Duration;

use rand::Rng;

use super::delay::jitter::uniform;
use breaker::Awaits;

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

/// The looks of the runs that wait for a probe are spread over a part of the wait: a quarter of it,
/// within these limits.
const NARROWEST: Duration = Duration::from_millis(100);
const WIDEST: Duration = Duration::from_secs(1);

impl Admission {
    /// Whether the run shares anything with other runs.
    pub(crate) fn is_shared(&self) -> bool {
        self.breaker.is_some() || self.budget.is_some()
    }

    /// The time that this run stays behind the first of the runs that wait for a breaker, after the
    /// breaker has closed.
    pub(crate) fn spread(rng: &mut impl Rng) -> Duration {
        let (from, width) = looks(Awaits::Permit, Duration::ZERO);
        uniform(Duration::ZERO, from + width, rng)
    }

    /// The wait until the next look at a breaker that refuses this run, `left` before the deadline.
    /// None if this run does not wait for the breaker, or not for this long. Waiting runs do not look
    /// in step.
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
        let (from, width) = looks(refusal.awaits, refusal.left());
        let to = from.saturating_add(width).min(left.saturating_sub(BEFORE_DEADLINE));
        (from <= to).then(|| uniform(from, to, rng))
    }
}

/// The shortest wait until the next look, and the time over which looks are spread. A look at a record
/// costs the service nothing.
fn looks(awaits: Awaits, left: Duration) -> (Duration, Duration) {
    match awaits {
        Awaits::Probe => (left.max(SHORTEST_WAIT), (left / 4).clamp(NARROWEST, WIDEST)),
        // The probe may end at any moment.
        Awaits::Prober(_) => (SHORTEST_WAIT, WIDEST),
        // With many permits, several come back in each round.
        Awaits::Permit => (SHORTEST_WAIT, 2 * recovery::ROUND),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::rngs::Xoshiro256PlusPlus;

    use super::breaker::{Cause, Known, Opens, Refusal, Settings};
    use super::*;

    fn refusal(left: u64, awaits: Awaits) -> Refusal {
        let (age, left) = (Duration::ZERO, Duration::from_secs(left));
        Refusal { age, left, cause: Cause::Failures, failures: 5, last: None, awaits, known: Known::Now }
    }

    fn admission(wait: bool) -> Admission {
        let (cooldown, opens) = (Duration::from_mins(10), Opens::InRow(NonZeroU32::MIN));
        Admission { breaker: Some(Settings { opens, cooldown, lease: cooldown }), wait, budget: None }
    }

    #[test]
    fn a_run_waits_only_if_it_was_asked_to_and_has_the_time() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
        let soon = refusal(1, Awaits::Probe);
        assert_eq!(admission(false).next_look(&soon, Duration::MAX, &mut rng), None);
        let long = refusal(60, Awaits::Probe);
        assert_eq!(admission(true).next_look(&long, Duration::from_mins(1), &mut rng), None);
    }

    #[test]
    fn waiting_runs_do_not_look_in_step() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
        for (refusal, from, to) in [
            (refusal(20, Awaits::Probe), 20_000, 21_000),
            (refusal(1, Awaits::Probe), 1000, 1250),
            (refusal(0, Awaits::Probe), 50, 150),
            (refusal(300, Awaits::Prober(7)), 50, 1050),
            (refusal(0, Awaits::Permit), 50, 550),
        ] {
            let mut look = || admission(true).next_look(&refusal, Duration::MAX, &mut rng).unwrap();
            let looks: Vec<Duration> = (0..1000).map(|_| look()).collect();
            let (from, to) = (Duration::from_millis(from), Duration::from_millis(to));
            assert!(looks.iter().all(|look| (from..=to).contains(look)), "{refusal:?}");
            // An even spread has 100 of the 1000 looks in each tenth.
            for tenth in 0..10 {
                let step = to.saturating_sub(from) / 10;
                let range = from + step * tenth..from + step * (tenth + 1);
                let there = looks.iter().filter(|look| range.contains(look)).count();
                assert!((50..=150).contains(&there), "{there} in tenth {tenth} of {refusal:?}");
            }
        }
    }

    proptest! {
        /// A run looks at the breaker when it may have closed, at most a second later, and before the
        /// deadline.
        #[test]
        fn a_waiting_run_looks_in_time(
            left in 0u64..100,
            deadline in 1u64..200,
            awaits in prop::sample::select(vec![Awaits::Probe, Awaits::Prober(1), Awaits::Permit]),
            seed: u64,
        ) {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let refusal = refusal(left, awaits);
            let deadline = Duration::from_secs(deadline);
            let due = refusal.left();
            match admission(true).next_look(&refusal, deadline, &mut rng) {
                Some(look) => {
                    prop_assert!(look >= due && look >= SHORTEST_WAIT && look < deadline);
                    prop_assert!(look <= due.max(SHORTEST_WAIT) + WIDEST);
                }
                None => prop_assert!(due >= deadline),
            }
        }
    }
}
