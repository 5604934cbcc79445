use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::policy::delay::backoff::Growth;
use crate::policy::delay::jitter::Jitter;
use crate::policy::outer::HandedDown;
use crate::policy::verdict::classify::Rules;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// The defaults of the command line, with a change.
fn policy(change: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = Policy::example(Rules::default());
    policy.schedule.max_attempts = NonZeroU32::new(5);
    policy.schedule.jitter = Jitter::Full;
    change(&mut policy);
    policy
}

fn plan(policy: &Policy) -> Plan {
    Plan::new(policy, count(300), None)
}

/// The warnings about the defaults with a change.
fn warned(change: impl FnOnce(&mut Policy)) -> Vec<Warning> {
    plan(&policy(change)).warnings
}

#[test]
fn without_jitter_all_runs_are_the_same() {
    let plan = plan(&policy(|policy| policy.schedule.jitter = Jitter::None));
    let starts: Vec<(u32, u64)> =
        plan.quick.moments.iter().map(|moment| (moment.attempt, moment.at.median.as_secs())).collect();
    assert_eq!(starts, [(1, 0), (2, 1), (3, 3), (4, 7), (5, 15)]);
    assert!(plan.quick.moments.iter().all(|moment| moment.at.least == moment.at.most));
    assert_eq!(plan.quick.last, Extent { least: secs(15), median: secs(15), most: secs(15) });
    assert_eq!((plan.quick.runs, plan.quick.is_whole, plan.quick.without_retry), (1000, true, 0));
    assert_eq!((plan.crowd.peak.arrivals, plan.crowd.peak.at), (300, secs(1)));
    assert!((plan.crowd.requests_per_client - 5.0).abs() < 1e-9);
    let chart = plan.crowd.chart.unwrap();
    assert_eq!((chart.period, chart.arrivals), (secs(5), vec![600, 300, 0, 300]));
    assert_eq!((plan.crowd.fixed.requests_per_client, plan.crowd.fixed.peak), (16, 300));
}

#[test]
fn a_timeout_is_the_worst_case() {
    let plan = plan(&policy(|policy| {
        policy.schedule.jitter = Jitter::None;
        policy.limits.timeout = Some(secs(30));
    }));
    let slow = plan.slow.unwrap();
    let starts: Vec<u64> = slow.moments.iter().map(|moment| moment.at.most.as_secs()).collect();
    assert_eq!(starts, [0, 31, 63, 97, 135]);
    assert_eq!(plan.quick.last.most, secs(15));
}

#[test]
fn the_deadline_cuts_attempts_and_delays() {
    let plan = plan(&policy(|policy| {
        policy.schedule.jitter = Jitter::None;
        policy.schedule.max_attempts = None;
        policy.schedule.deadline = Some(secs(10));
        policy.limits.timeout = Some(secs(4));
    }));
    // 1 + 2 + 4 s, and then nine tenths of the 3 s that are left.
    assert_eq!(plan.quick.last.most, Duration::from_millis(9700));
    assert_eq!(plan.quick.attempts, Extent { least: 5, median: 5, most: 5 });
    // The second attempt ends after 9 s. Its length leaves no room for a third.
    let slow = plan.slow.unwrap();
    assert_eq!((slow.attempts.most, slow.last.most), (2, secs(5)));
}

#[test]
fn a_run_without_an_end_is_followed_for_a_while() {
    for change in [
        (|policy| policy.schedule.max_attempts = None) as fn(&mut Policy),
        |policy| policy.schedule.max_attempts = NonZeroU32::new(1_000_000),
        |policy| {
            // Attempts that take no time, without a delay.
            policy.schedule.growth = Growth::Constant { delay: Duration::ZERO };
            (policy.schedule.max_attempts, policy.schedule.deadline) = (None, Some(secs(60)));
        },
    ] {
        let plan = plan(&policy(change));
        assert!(!plan.quick.is_whole && plan.quick.moments.len() <= 8, "{:?}", plan.quick);
        assert_eq!(plan.quick.attempts.most as usize, FOLLOWED);
        assert_eq!(plan.quick.runs, 100);
    }
}

#[test]
fn a_million_clients_are_counted_by_a_part_of_them() {
    let policy = policy(|policy| policy.schedule.jitter = Jitter::None);
    let plan = Plan::new(&policy, count(1_000_000), None);
    assert_eq!(plan.crowd.peak.arrivals, 1_000_000);
    assert_eq!(plan.crowd.chart.unwrap().arrivals, [2_000_000, 1_000_000, 0, 1_000_000]);
}

#[test]
fn an_outer_deadline_changes_nothing() {
    let handed_down = Some(HandedDown { at: secs(2), unix_ms: 1 });
    let policy = policy(|policy| policy.schedule.splay = secs(3));
    assert_eq!(plan(&Policy { handed_down, ..policy.clone() }), plan(&policy));
}

#[test]
fn a_splay_spreads_the_first_attempts() {
    let plan = plan(&policy(|policy| {
        policy.schedule.splay = secs(60);
        policy.schedule.jitter = Jitter::None;
    }));
    let first = plan.quick.moments[0].at;
    assert!(first.least < secs(1) && first.most > secs(59) && first.most <= secs(60), "{first:?}");
    assert!(plan.crowd.counts_first && plan.crowd.peak.arrivals < 30, "{:?}", plan.crowd);
    assert_eq!(plan.crowd.chart.unwrap().arrivals.iter().sum::<u64>(), 1500);
    assert_eq!(plan.warnings, []);
}

#[test]
fn the_same_options_give_the_same_plan_and_a_seed_another() {
    let policy = policy(|_| ());
    assert_eq!(plan(&policy), plan(&policy));
    let seeded = Plan::new(&policy, count(300), Some(7));
    assert_ne!(seeded.quick, plan(&policy).quick);
    let walk = Walk::new(&policy, Duration::ZERO, FOLLOWED, &mut seeded_source(7));
    assert_eq!(seeded.seeded, Some(walk));
}

fn seeded_source(seed: u64) -> crate::policy::delay::source::Source {
    crate::policy::delay::source::seeded(seed)
}

#[test]
fn options_that_defeat_each_other_are_told() {
    let ms = Duration::from_millis;
    let deadline = secs(10);
    assert_eq!(warned(|_| ()), []);
    assert_eq!(warned(|policy| policy.schedule.max_attempts = NonZeroU32::new(1)), [Warning::NoRetry]);
    assert_eq!(
        warned(|policy| {
            (policy.schedule.deadline, policy.schedule.max_attempts) = (Some(ms(100)), None);
            policy.schedule.jitter = Jitter::Equal;
        }),
        [Warning::DeadlineBeforeRetry { runs: 1000, of: 1000, deadline: ms(100) }]
    );
    let some = warned(|policy| {
        (policy.schedule.deadline, policy.schedule.max_attempts) = (Some(ms(500)), None);
    });
    assert!(matches!(some[..], [Warning::DeadlineBeforeRetry { runs: 300..700, of: 1000, .. }]), "{some:?}");
    let timeouts = |timeout| {
        warned(|policy| {
            (policy.schedule.deadline, policy.schedule.max_attempts) = (Some(deadline), None);
            policy.limits.timeout = Some(timeout);
        })
    };
    assert_eq!(timeouts(secs(11)), [Warning::DeadlineBeforeTimeout { timeout: secs(11), deadline }]);
    assert_eq!(timeouts(deadline), [Warning::DeadlineBeforeTimeout { timeout: deadline, deadline }]);
    let most = timeouts(ms(9900));
    assert!(matches!(most[..], [Warning::NoRetryAfterTimeout { runs: 800..990, of: 1000, .. }]), "{most:?}");
    assert_eq!(timeouts(secs(2)), []);
    let most = warned(|policy| {
        (policy.schedule.deadline, policy.schedule.max_attempts) = (Some(deadline), NonZeroU32::new(500));
    });
    assert!(matches!(most[..], [Warning::MaxNotReached { attempts: 3..20, .. }]), "{most:?}");
    assert_eq!(
        warned(|policy| {
            (policy.schedule.deadline, policy.schedule.max_attempts) = (Some(secs(60)), NonZeroU32::new(4));
        }),
        []
    );
}

#[test]
fn delays_that_do_not_spread_are_told() {
    let clients = count(300);
    assert_eq!(
        warned(|policy| policy.schedule.growth = Growth::Constant { delay: Duration::ZERO }),
        [Warning::NoDelay]
    );
    assert_eq!(warned(|policy| policy.schedule.cap = Duration::ZERO)[0], Warning::NoDelay);
    assert_eq!(
        warned(|policy| policy.schedule.jitter = Jitter::None),
        [Warning::InStep { clients, why: InStep::NoJitter }]
    );
    let few = policy(|policy| policy.schedule.jitter = Jitter::None);
    assert_eq!(Plan::new(&few, count(9), None).warnings, []);
    assert_eq!(
        warned(|policy| (policy.schedule.floor, policy.schedule.cap) = (secs(60), secs(60))),
        [Warning::InStep { clients, why: InStep::FloorIsCap }]
    );
    assert_eq!(warned(|policy| policy.schedule.floor = secs(59)), []);
    let cap = secs(3);
    assert_eq!(
        warned(|policy| {
            policy.schedule.growth = Growth::Linear { delay: secs(5) };
            policy.schedule.cap = cap;
        }),
        [Warning::CapBelowDelay { cap, delay: secs(5) }]
    );
    let list = Growth::List { first: secs(1), rest: vec![secs(9), secs(2)] };
    assert_eq!(
        warned(|policy| (policy.schedule.growth, policy.schedule.cap) = (list.clone(), cap)),
        [Warning::CapBelowDelay { cap, delay: secs(9) }]
    );
    assert_eq!(warned(|policy| policy.schedule.growth = list.clone()), []);
}

#[test]
fn health_and_successes_that_cannot_be_are_told() {
    let health = |healthy_after: u64, timeout: Option<u64>, deadline: Option<u64>| {
        warned(|policy| {
            policy.schedule.healthy_after = Some(secs(healthy_after));
            policy.schedule.deadline = deadline.map(secs);
            policy.limits.timeout = timeout.map(secs);
        })
    };
    let never =
        |healthy_after, limit| vec![Warning::NeverHealthy { healthy_after: secs(healthy_after), limit }];
    // TERM comes after 30 s, and KILL 5 s later.
    assert_eq!(health(36, Some(30), None), never(36, Limit::Timeout(secs(30))));
    assert_eq!(health(60, None, Some(60)), never(60, Limit::Deadline(secs(60))));
    assert_eq!(health(35, Some(30), None), []);
    assert_eq!(health(59, None, Some(60)), []);
    assert_eq!(health(60, None, None), []);
    let (healthy_after, timeout, max) = (secs(30), secs(30), count(5));
    assert_eq!(health(30, Some(30), None), [Warning::TimeoutIsHealthy { healthy_after, timeout, max }]);
    let successes = count(3);
    let row = |max: Option<u32>, deadline: Option<u64>| {
        warned(|policy| {
            policy.schedule.successes = successes;
            policy.schedule.max_attempts = max.and_then(NonZeroU32::new);
            policy.schedule.deadline = deadline.map(secs);
        })
    };
    assert_eq!(row(Some(3), None), [Warning::NoRoomForFailure { successes }]);
    assert_eq!(row(Some(4), None), []);
    let deadline = secs(2);
    assert_eq!(row(None, Some(2)), [Warning::SuccessesPastDeadline { successes, needed: secs(2), deadline }]);
    assert_eq!(row(None, Some(3)), []);
}

fn policies() -> impl Strategy<Value = Policy> {
    let millis = |most: u64| (0..most).prop_map(Duration::from_millis);
    let jitter = prop_oneof![
        Just(Jitter::Full),
        Just(Jitter::Equal),
        Just(Jitter::Decorrelated),
        Just(Jitter::Additive),
        Just(Jitter::None)
    ];
    let some = |strategy: BoxedStrategy<Duration>| prop_oneof![Just(None), strategy.prop_map(Some)];
    (
        (1u32..12, millis(2000), 1.0f64..3.0, jitter),
        (millis(5000), millis(1000), millis(3000)),
        (some((1u64..9000).prop_map(Duration::from_millis).boxed()), some(millis(3000).boxed())),
    )
        .prop_map(|((max, delay, factor, jitter), (cap, floor, splay), (deadline, timeout))| {
            policy(|policy| {
                policy.schedule.max_attempts = NonZeroU32::new(max);
                policy.schedule.growth = Growth::Exponential { delay, factor };
                policy.schedule.jitter = jitter;
                (policy.schedule.cap, policy.schedule.floor) = (cap, floor.min(cap));
                policy.schedule.deadline = deadline;
                policy.schedule.splay = deadline.map_or(splay, |deadline| splay.min(deadline / 2));
                policy.limits.timeout = timeout;
            })
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_plan_keeps_to_the_options(policy in policies(), clients in 1u32..40) {
        let plan = Plan::new(&policy, count(clients), Some(3));
        let max = policy.schedule.max_attempts.unwrap().get();
        let end = policy.schedule.deadline.unwrap_or(Duration::MAX);
        for forecast in std::iter::once(&plan.quick).chain(&plan.slow) {
            for two in forecast.moments.windows(2) {
                prop_assert!(two[0].attempt < two[1].attempt);
                prop_assert!(two[0].at.least <= two[1].at.least && two[0].at.median <= two[1].at.median);
            }
            for at in forecast.moments.iter().map(|moment| moment.at).chain([forecast.last]) {
                prop_assert!(at.least <= at.median && at.median <= at.most && at.most < end);
            }
            prop_assert!(forecast.attempts.most <= max && forecast.is_whole);
            if !forecast.varies() {
                prop_assert!(forecast.moments.windows(2).all(|two| two[0].at.most <= two[1].at.most));
            }
        }
        if !plan.quick.varies() {
            prop_assert_eq!(plan.quick.moments.last().unwrap().at, plan.quick.last);
        }
        prop_assert!(plan.crowd.requests_per_client <= f64::from(max));
        let arrivals: u64 = plan.crowd.chart.iter().flat_map(|chart| &chart.arrivals).sum();
        prop_assert!(arrivals <= u64::from(clients * max) && plan.crowd.peak.arrivals <= arrivals);
        let seeded = plan.seeded.unwrap();
        prop_assert!(seeded.is_whole && seeded.starts.len() <= max as usize);
        prop_assert!(seeded.starts.windows(2).all(|two| two[0] <= two[1]) && seeded.last() < end);
    }
}
