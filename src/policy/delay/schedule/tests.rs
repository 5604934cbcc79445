use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::Xoshiro256PlusPlus;

use super::*;
use crate::policy::outer::Deadline;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn schedule() -> Schedule {
    Schedule {
        max_attempts: NonZeroU32::new(5),
        successes: NonZeroU32::MIN,
        deadline: None,
        healthy_after: None,
        growth: Growth::Exponential { delay: secs(1), factor: 2.0 },
        jitter: Jitter::None,
        cap: secs(60),
        floor: Duration::ZERO,
        splay: Duration::ZERO,
        max_retry_after: secs(300),
    }
}

fn rng(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

/// The time until the deadline of a schedule.
fn left(schedule: &Schedule, elapsed: Duration) -> Option<TimeLeft> {
    schedule.deadline.map(|length| TimeLeft::own(length, elapsed))
}

/// The steps of a run from `elapsed` on. Its attempts take no time, and they fail.
fn steps(schedule: &Schedule, mut elapsed: Duration, seed: u64, most: usize) -> Vec<Next> {
    let (mut progress, mut rng) = (schedule.start(), rng(seed));
    let mut steps = Vec::new();
    while steps.len() < most {
        schedule.count(&mut progress, Duration::ZERO);
        let next = schedule.next(&mut progress, left(schedule, elapsed), None, &mut rng);
        steps.push(next.clone());
        match next {
            Next::Wait(delay) => elapsed += delay,
            Next::Stop(_) => break,
        }
    }
    steps
}

#[test]
fn five_attempts_have_four_delays_and_none_after_the_last() {
    let wait = |s| Next::Wait(secs(s));
    assert_eq!(
        steps(&schedule(), Duration::ZERO, 0, 9),
        [wait(1), wait(2), wait(4), wait(8), Next::Stop(Exhausted::Attempts)]
    );
    let once = Schedule { max_attempts: NonZeroU32::new(1), ..schedule() };
    assert_eq!(steps(&once, Duration::ZERO, 0, 9), [Next::Stop(Exhausted::Attempts)]);
}

#[test]
fn a_delay_past_the_deadline_is_shortened_while_that_is_worth_it() {
    let deadline = secs(10);
    let schedule = Schedule { max_attempts: None, deadline: Some(deadline), ..schedule() };
    // The first delays take 1 + 2 + 4 = 7 s. A delay of 8 s does not fit into the last 3 s, but
    // nine tenths of these 3 s do. The next 0.27 s are less than half of the first delay.
    assert_eq!(
        steps(&schedule, Duration::ZERO, 0, 9),
        [
            Next::Wait(secs(1)),
            Next::Wait(secs(2)),
            Next::Wait(secs(4)),
            Next::Wait(Duration::from_millis(2700)),
            Next::Stop(Exhausted::DelayPastDeadline(Deadline::Own(deadline))),
        ]
    );
    assert_eq!(steps(&schedule, deadline, 0, 9), [Next::Stop(Exhausted::Deadline(Deadline::Own(deadline)))]);
}

/// The step after an attempt that took `ran`, with `left` until the deadline.
fn after_attempt(
    schedule: &Schedule,
    ran: Duration,
    left: Duration,
    wish: Option<Duration>,
    seed: u64,
) -> Next {
    let deadline = ran + left;
    let schedule = Schedule { deadline: Some(deadline), max_attempts: None, ..schedule.clone() };
    let mut progress = schedule.start();
    schedule.count(&mut progress, ran);
    schedule.next(&mut progress, self::left(&schedule, ran), wish.map(asked), &mut rng(seed))
}

#[test]
fn a_shortened_delay_leaves_room_for_an_attempt() {
    let slow = Schedule { growth: Growth::Constant { delay: secs(60) }, ..schedule() };
    let next = |ran, left| after_attempt(&slow, secs(ran), secs(left), None, 0);
    let over = |deadline| Next::Stop(Exhausted::DelayPastDeadline(Deadline::Own(secs(deadline))));
    // The delay leaves a tenth of the time free, or twice the length of the attempt.
    assert_eq!(next(0, 50), Next::Wait(secs(45)));
    assert_eq!(next(2, 50), Next::Wait(secs(45)));
    assert_eq!(next(10, 50), Next::Wait(secs(30)));
    // A delay of less than half of the first delay is not worth a wait.
    assert_eq!(next(11, 50), over(61));
    assert_eq!(next(30, 50), over(80));
    assert_eq!(next(0, 33), over(33));
    // A delay that fits is not shortened, even after a long attempt.
    assert_eq!(next(60, 61), Next::Wait(secs(60)));
    // The first entry of a list is its first delay.
    let list = Growth::List { first: secs(1), rest: vec![secs(500)] };
    let list = Schedule { growth: list, ..schedule() };
    let mut progress = list.start();
    let limited = Schedule { deadline: Some(secs(50)), max_attempts: None, ..list };
    for expected in [Next::Wait(secs(1)), Next::Wait(secs(45))] {
        limited.count(&mut progress, Duration::ZERO);
        assert_eq!(limited.next(&mut progress, left(&limited, Duration::ZERO), None, &mut rng(0)), expected);
    }
    // The longest attempt counts, and not the last attempt. It also counts after a healthy attempt.
    let healthy = Schedule { healthy_after: Some(secs(10)), deadline: Some(secs(50)), ..slow.clone() };
    let mut progress = healthy.start();
    for ran in [2, 10, 1] {
        healthy.count(&mut progress, secs(ran));
    }
    let left = left(&healthy, Duration::ZERO);
    assert_eq!(healthy.next(&mut progress, left, None, &mut rng(0)), Next::Wait(secs(30)));
}

#[test]
fn a_wish_is_not_shortened_where_an_attempt_has_no_room() {
    let spread = Schedule { jitter: Jitter::Full, ..schedule() };
    // The server asks for 48 of the 50 s, and attempts take 10 s. A draw that fits stays. Any other
    // draw moves to the first 0.2 s after the time that the server asks for.
    let waits = (0..50).map(|seed| after_attempt(&spread, secs(10), secs(50), Some(secs(48)), seed));
    let (early, late): (Vec<_>, Vec<_>) = waits.partition(
        |next| matches!(next, Next::Wait(wait) if (secs(48)..=Duration::from_millis(48_200)).contains(wait)),
    );
    assert!(early.len() >= 20, "{early:?}");
    for next in late {
        assert!(matches!(next, Next::Wait(wait) if (secs(48)..secs(50)).contains(&wait)), "{next:?}");
    }
    assert_eq!(after_attempt(&schedule(), secs(10), secs(50), Some(secs(48)), 0), Next::Wait(secs(48)));
    // A backoff that is too long is shortened, but not below the wait that the server asks for.
    let slow = Schedule { growth: Growth::Constant { delay: secs(60) }, ..schedule() };
    assert_eq!(after_attempt(&slow, secs(5), secs(50), Some(secs(20)), 0), Next::Wait(secs(40)));
    assert_eq!(after_attempt(&slow, secs(20), secs(50), Some(secs(35)), 0), Next::Wait(secs(35)));
    let next = after_attempt(&slow, secs(20), secs(50), Some(secs(20)), 0);
    assert_eq!(next, Next::Stop(Exhausted::DelayPastDeadline(Deadline::Own(secs(70)))));
}

#[test]
fn the_cut_delay_is_not_shorter_than_the_floor() {
    let schedule = Schedule { deadline: Some(secs(12)), floor: secs(6), ..schedule() };
    assert_eq!(
        steps(&schedule, Duration::ZERO, 0, 9),
        [Next::Wait(secs(6)), Next::Stop(Exhausted::DelayPastDeadline(Deadline::Own(secs(12)))),]
    );
}

#[test]
fn a_healthy_attempt_is_the_first_of_a_new_series() {
    let schedule = Schedule { healthy_after: Some(secs(30)), ..schedule() };
    let (mut progress, mut rng) = (schedule.start(), rng(0));
    let (mut delays, mut numbers) = (Vec::new(), Vec::new());
    for ran in [1, 1, 30, 1] {
        schedule.count(&mut progress, secs(ran));
        numbers.push((progress.number(), progress.attempts()));
        delays.push(schedule.next(&mut progress, None, None, &mut rng));
    }
    assert_eq!(delays, [1, 2, 1, 2].map(|s| Next::Wait(secs(s))));
    assert_eq!(numbers, [(1, 1), (2, 2), (3, 1), (2, 2)]);
    assert_eq!((progress.next_attempt(), progress.in_all()), (3, 4));
}

#[test]
fn the_floor_holds_against_every_draw() {
    let schedule = Schedule { jitter: Jitter::Full, floor: secs(1), ..schedule() };
    for seed in 0..50 {
        for step in steps(&schedule, Duration::ZERO, seed, 4) {
            assert!(matches!(step, Next::Wait(delay) if delay >= secs(1)), "{step:?}");
        }
    }
}

fn asked(wait: Duration) -> Asked {
    Asked { wait, field: "Retry-After" }
}

/// The step after the first failure if the server asks for this wait.
fn after_asked(schedule: &Schedule, wait: Duration, elapsed: Duration, seed: u64) -> Next {
    let mut progress = schedule.start();
    schedule.count(&mut progress, Duration::ZERO);
    schedule.next(&mut progress, left(schedule, elapsed), Some(asked(wait)), &mut rng(seed))
}

#[test]
fn the_server_is_asked_again_when_it_wants_and_not_earlier() {
    // Without jitter, the wait is exactly the longer one of the server's wait and the backoff.
    assert_eq!(after_asked(&schedule(), secs(7), Duration::ZERO, 0), Next::Wait(secs(7)));
    let slow = Schedule { growth: Growth::Constant { delay: secs(20) }, ..schedule() };
    assert_eq!(after_asked(&slow, secs(7), Duration::ZERO, 0), Next::Wait(secs(20)));
    // The cap limits only the backoff, so a longer wait that a server asks for stays.
    let capped = Schedule { cap: secs(2), ..schedule() };
    assert_eq!(after_asked(&capped, secs(100), Duration::ZERO, 0), Next::Wait(secs(100)));
    let most = secs(300);
    assert_eq!(after_asked(&schedule(), most, Duration::ZERO, 0), Next::Wait(most));
    let more = most + Duration::from_nanos(1);
    assert_eq!(
        after_asked(&schedule(), more, Duration::ZERO, 0),
        Next::Stop(Exhausted::AskedTooMuch { asked: asked(more), most })
    );
    let deadline = secs(60);
    let limited = Schedule { deadline: Some(deadline), ..schedule() };
    assert_eq!(
        after_asked(&limited, secs(10), secs(50), 0),
        Next::Stop(Exhausted::AskedPastDeadline {
            asked: asked(secs(10)),
            deadline: Deadline::Own(deadline)
        })
    );
    assert_eq!(after_asked(&limited, secs(9), secs(50), 0), Next::Wait(secs(9)));
    // A wait that a server asks for does not shorten the delay.
    let floor = Schedule { floor: secs(8), deadline: Some(secs(6)), ..schedule() };
    assert_eq!(
        after_asked(&floor, secs(1), Duration::ZERO, 0),
        Next::Stop(Exhausted::DelayPastDeadline(Deadline::Own(secs(6))))
    );
    let last = Schedule { max_attempts: NonZeroU32::new(1), ..schedule() };
    assert_eq!(after_asked(&last, secs(9999), Duration::ZERO, 0), Next::Stop(Exhausted::Attempts));
}

#[test]
fn fifty_clients_that_were_told_the_same_spread_over_a_second_at_least() {
    for (jitter, told, spread) in [
        (Jitter::Full, secs(10), 1.0),
        (Jitter::Decorrelated, secs(10), 1.0),
        (Jitter::Equal, secs(100), 10.0),
    ] {
        let schedule = Schedule { jitter, ..schedule() };
        let mut waits: Vec<f64> = (0..50)
            .map(|seed| match after_asked(&schedule, told, Duration::ZERO, seed) {
                Next::Wait(wait) => wait.as_secs_f64() - told.as_secs_f64(),
                stop @ Next::Stop(_) => panic!("{stop:?}"),
            })
            .collect();
        waits.sort_by(f64::total_cmp);
        assert!(waits[0] >= 0.0 && waits[49] <= spread, "{waits:?}");
        // Fifty uniform draws come close to both ends.
        assert!(waits[0] < 0.15 * spread && waits[49] > 0.85 * spread, "{jitter:?} {waits:?}");
    }
}

proptest! {
    /// A wait that a server asks for is never cut short, and never ends after the deadline.
    #[test]
    fn what_was_asked_for_is_waited_for(
        seed: u64, deadline in 1u64..100_000, elapsed in 0u64..100_000, told in 1u64..100_000, first in 0u64..100_000,
    ) {
        let millis = Duration::from_millis;
        let schedule = Schedule {
            deadline: Some(millis(deadline)),
            jitter: Jitter::Full,
            growth: Growth::Exponential { delay: millis(first), factor: 2.0 },
            ..schedule()
        };
        match after_asked(&schedule, millis(told), millis(elapsed), seed) {
            Next::Wait(wait) => {
                prop_assert!(wait >= millis(told));
                prop_assert!(millis(elapsed) + wait < millis(deadline));
            }
            Next::Stop(Exhausted::AskedPastDeadline { .. } | Exhausted::Deadline(_)) => {
                prop_assert!(elapsed + told >= deadline);
            }
            // The backoff does not fit, and the time that is left is too short.
            Next::Stop(_) => prop_assert!(first * 5 > (deadline - elapsed) * 9 && told < deadline - elapsed),
        }
    }

    /// No wait ends at or past the deadline, whatever the schedule.
    #[test]
    fn every_wait_ends_before_the_deadline(
        seed: u64, deadline in 1u64..100_000, elapsed in 0u64..100_000, first in 0u64..100, floor in 0u64..50,
    ) {
        let schedule = Schedule {
            max_attempts: None,
            deadline: Some(Duration::from_millis(deadline)),
            jitter: Jitter::Full,
            growth: Growth::Exponential { delay: Duration::from_millis(first), factor: 2.0 },
            floor: Duration::from_millis(floor),
            ..schedule()
        };
        let mut now = Duration::from_millis(elapsed);
        for step in steps(&schedule, now, seed, 200) {
            if let Next::Wait(delay) = step {
                now += delay;
                prop_assert!(now < Duration::from_millis(deadline));
                prop_assert!(delay >= Duration::from_millis(floor));
            }
        }
    }

    /// A delay that does not fit is shortened so that an attempt just fits, or the run ends. The
    /// wait that a server asks for and the lower bound hold in both cases.
    #[test]
    fn a_delay_is_shortened_to_make_room_or_given_up(
        seed: u64, left in 1u64..100_000, ran in 0u64..50_000, first in 0u64..200_000, floor in 0u64..50_000,
        told in prop::option::of(1u64..100_000), spread: bool, list: bool,
    ) {
        let millis = Duration::from_millis;
        let growth = match list {
            true => Growth::List { first: millis(first), rest: vec![millis(9)] },
            false => Growth::Constant { delay: millis(first) },
        };
        let jitter = if spread { Jitter::Full } else { Jitter::None };
        let schedule = Schedule { growth, jitter, floor: millis(floor), cap: secs(1000), ..schedule() };
        let told = told.map(millis);
        let (left, ran) = (millis(left), millis(ran));
        let room = left.saturating_sub((ran * 2).max(left / 10));
        let least = (millis(first) / 2).max(millis(floor));
        match after_attempt(&schedule, ran, left, told, seed) {
            Next::Wait(wait) => {
                prop_assert!(wait < left && wait >= millis(floor) && wait >= told.unwrap_or_default());
                if jitter == Jitter::None && told.is_none() {
                    let whole = millis(first).max(millis(floor));
                    let fits = if whole < left { whole } else { room };
                    prop_assert!(wait.abs_diff(fits) <= Duration::from_micros(1), "{wait:?} {fits:?}");
                    prop_assert!(whole < left || wait >= least);
                }
            }
            Next::Stop(Exhausted::AskedPastDeadline { asked, .. }) => prop_assert!(asked.wait >= left),
            Next::Stop(Exhausted::DelayPastDeadline(_)) => {
                prop_assert!(room.max(told.unwrap_or_default()) <= least);
            }
            stop @ Next::Stop(_) => prop_assert!(false, "{stop:?}"),
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_delays(seed: u64) {
        let schedule = Schedule { jitter: Jitter::Decorrelated, max_attempts: None, ..schedule() };
        prop_assert_eq!(steps(&schedule, Duration::ZERO, seed, 50), steps(&schedule, Duration::ZERO, seed, 50));
    }

    #[test]
    fn the_splay_stays_within_its_bound(seed: u64, splay in 0u64..1_000_000) {
        let splay = Duration::from_millis(splay);
        let schedule = Schedule { splay, ..schedule() };
        prop_assert!(schedule.draw_splay(None, &mut rng(seed)) <= splay);
        // It leaves room before the deadline of a retry outside.
        let outer = Duration::from_millis(900);
        prop_assert!(schedule.draw_splay(Some(outer), &mut rng(seed)) <= splay.min(outer / 10 * 9));
    }
}
