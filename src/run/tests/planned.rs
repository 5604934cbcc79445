//! The loop makes the attempts that a plan foretells.

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::Xoshiro256PlusPlus;

use super::scripted::Scripted;
use super::*;
use crate::policy::delay::jitter::Jitter;
use crate::policy::plan::{FOLLOWED, Walk};

proptest! {
    #[test]
    fn a_run_starts_its_attempts_when_its_plan_says(
        seed: u64,
        max in 1u32..30,
        (delay, splay, length) in (1u64..5000, 0u64..3000, 0u64..3),
        deadline in prop_oneof![Just(None), (3001u64..60_000).prop_map(Some)],
        healthy in prop_oneof![Just(None), (1u64..9).prop_map(Some)],
        jitter in prop::sample::select(vec![
            Jitter::Full, Jitter::Equal, Jitter::Decorrelated, Jitter::Additive, Jitter::None,
        ]),
    ) {
        let mut policy = Policy::example(Rules::default());
        let schedule = &mut policy.schedule;
        schedule.max_attempts = std::num::NonZeroU32::new(max);
        schedule.growth = Growth::Exponential { delay: Duration::from_millis(delay), factor: 2.0 };
        (schedule.jitter, schedule.splay) = (jitter, Duration::from_millis(splay));
        schedule.deadline = deadline.map(Duration::from_millis);
        // Without a deadline, a run whose attempts are all healthy has no end.
        schedule.healthy_after = healthy.map(Duration::from_secs).filter(|_| deadline.is_some() || length == 0);
        let mut host = Scripted::new(&[(Outcome::Exited(1), length)]);
        host.random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let start = host.now;
        let _ = run(&policy, &mut host).unwrap();
        let starts: Vec<Duration> = host.started.iter().map(|at| at.saturating_sub(start)).collect();
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let walk = Walk::new(&policy, Duration::from_secs(length), FOLLOWED, &mut random);
        prop_assert_eq!(walk, Walk { starts, is_whole: true });
    }
}
