use std::num::NonZeroU32;

use rand::SeedableRng as _;
use rand::rngs::Xoshiro256PlusPlus;

use super::*;
use crate::policy::admission::breaker::{Awaits, Cause, Known};
use crate::policy::admission::budget::Spent;
use crate::policy::outcome::{Alive, NotStarted, Survivor, Unkept};
use crate::policy::signal::Signal;
use crate::policy::verdict::classify::Rules;
use crate::policy::verdict::condition::Condition;

const SECOND: Duration = Duration::from_secs(1);

fn rng() -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(0)
}

fn judged(policy: &Policy, attempt: Attempt) -> Judged {
    policy.rules.judge(attempt)
}

/// The step after a first attempt, in one or two words.
fn next(policy: &Policy, attempt: Attempt) -> String {
    let mut progress = policy.schedule.start();
    policy.schedule.count(&mut progress, attempt.ran);
    let step = policy.next(&judged(policy, attempt), &mut progress, None, || Box::leak(Box::new(rng())));
    in_words(&step)
}

fn in_words(step: &Step) -> String {
    match step {
        Step::Again(delay) => format!("again in {delay:?}"),
        Step::Repeat(delay) => format!("repeat in {delay:?}"),
        Step::Await { delay, .. } => format!("await, {delay:?} at least"),
        Step::Over(Finish::GaveUp { why, .. }) => format!("gave up: {why:?}"),
        Step::Over(Finish::Succeeded { .. }) => "succeeded".to_owned(),
        Step::Over(Finish::NotRetried { .. }) => "not retried".to_owned(),
        Step::Over(Finish::InterruptedAttempt { signal, .. }) => format!("interrupted by {signal}"),
        Step::Over(finish) => format!("{finish:?}"),
    }
}

#[test]
fn a_run_goes_on_after_retryable_failures_only() {
    let policy = Policy::example(Rules::default());
    let exited = |status| Attempt::ended(Outcome::Exited(status));
    let interrupted = |status| Attempt { interrupted: Some(Signal::TERM), ..exited(status) };
    let cut = |limit, left| Attempt::ended(Outcome::TimedOut(Cut { limit, ended_by: Signal::TERM, left }));
    let survivor = vec![Survivor { pid: None, why: Alive::Unseen }];
    let unkept = Some(Unkept::TooLong { limit: 7 });
    for (attempt, expected) in [
        (exited(0), "succeeded"),
        (exited(1), "again in 1s"),
        (exited(127), "not retried"),
        (interrupted(0), "succeeded"),
        (interrupted(1), "interrupted by TERM"),
        (cut(Limit::Timeout(SECOND), Vec::new()), "again in 1s"),
        (cut(Limit::Timeout(SECOND), survivor.clone()), "not retried"),
        (cut(Limit::Deadline(SECOND), Vec::new()), "gave up: Deadline(Own(1s))"),
        (cut(Limit::Deadline(SECOND), survivor), "not retried"),
        (Attempt { unkept: unkept.clone(), ..exited(1) }, "gave up: InputUnkept(TooLong { limit: 7 })"),
        (Attempt { unkept, ..exited(0) }, "succeeded"),
    ] {
        assert_eq!(next(&policy, attempt.clone()), expected, "{attempt:?}");
    }
}

#[test]
fn a_command_that_dies_by_the_interrupt_key_is_no_success() {
    let until = Rules { until: Some(Condition::parse("INT").unwrap()), ..Rules::default() };
    let died = Attempt::ended(Outcome::Signaled(Signal::INT));
    let pressed = Attempt { interrupted: Some(Signal::INT), ..died.clone() };
    assert_eq!(next(&Policy::example(until.clone()), died), "succeeded");
    assert_eq!(next(&Policy::example(until), pressed), "interrupted by INT");
}

#[test]
fn without_attempts_that_are_left_the_run_ends() {
    let mut policy = Policy::example(Rules::default());
    policy.schedule.max_attempts = NonZeroU32::new(1);
    assert_eq!(next(&policy, Attempt::ended(Outcome::Exited(1))), "gave up: Attempts");
    policy.schedule.successes = NonZeroU32::new(2).unwrap();
    assert_eq!(next(&policy, Attempt::ended(Outcome::Exited(0))), "gave up: Attempts");
    policy.schedule.max_attempts = NonZeroU32::new(2);
    assert_eq!(next(&policy, Attempt::ended(Outcome::Exited(0))), "repeat in 1s");
}

#[test]
fn breaker_and_budget_have_a_say_in_retries_only() {
    let refusal = |left| Refusal {
        age: Duration::ZERO,
        left: SECOND * left,
        cause: Cause::Failures,
        failures: 5,
        last: None,
        awaits: Awaits::Probe,
        known: Known::Now,
    };
    let spent = Spent { next: SECOND };
    let mut policy = Policy::example(Rules::default());
    let failed = judged(&policy, Attempt::ended(Outcome::Exited(1)));
    let left = Some(TimeLeft::outer(SECOND * 60));
    let agree = |policy: &Policy, next, settlement| {
        in_words(&policy.agree(&failed, next, settlement, left, || Box::leak(Box::new(rng()))))
    };
    let again = || Step::Again(SECOND);
    let over = || Step::Over(failed.gave_up(Exhausted::Attempts));
    assert_eq!(agree(&policy, again(), Settlement::Go), "again in 1s");
    assert!(agree(&policy, again(), Settlement::Spent(spent)).starts_with("gave up: BudgetSpent"));
    assert!(agree(&policy, again(), Settlement::Open(refusal(5))).starts_with("gave up: BreakerOpen"));
    for settlement in [Settlement::Spent(spent), Settlement::Open(refusal(5)), Settlement::Wait(refusal(5))] {
        assert_eq!(agree(&policy, over(), settlement), "gave up: Attempts");
    }
    // --breaker-wait waits for the breaker, unless the deadline comes first.
    policy.admission.wait = true;
    assert_eq!(agree(&policy, again(), Settlement::Wait(refusal(5))), "await, 1s at least");
    assert!(agree(&policy, again(), Settlement::Wait(refusal(70))).starts_with("gave up: BreakerOpen"));
}

#[test]
fn only_the_service_s_own_failures_count_against_it() {
    let not_found = Outcome::NotStarted(NotStarted::NotFound);
    let cut = |limit| Outcome::TimedOut(Cut { limit, ended_by: Signal::TERM, left: Vec::new() });
    let (time, second) = (Limit::Timeout(Duration::from_secs(1)), Duration::from_secs(1));
    let fatal_list = |text: &str| match text {
        "" => Vec::new(),
        text => vec![Condition::parse(text).unwrap()],
    };
    let rules = |fatal: &str| Rules { fatal_on: fatal_list(fatal), ..Rules::default() };
    let until = Rules { until: Some(Condition::parse("failure").unwrap()), ..Rules::default() };
    for (outcome, ran, timeout, rules, interrupted, counts) in [
        (Outcome::Exited(1), 0, None, rules(""), false, "failure"),
        (Outcome::Exited(0), 0, None, rules(""), false, "success"),
        (Outcome::Exited(1), 0, None, rules("1"), false, "nothing"),
        (Outcome::Exited(1), 0, None, rules(""), true, "nothing"),
        (Outcome::Exited(0), 0, None, rules(""), true, "success"),
        (Outcome::Signaled(Signal::INT), 0, None, rules(""), false, "nothing"),
        (not_found, 0, None, rules(""), false, "nothing"),
        (cut(time), 1, Some(second), rules(""), false, "failure"),
        (cut(time), 1, Some(second), rules("timeout"), false, "failure"),
        (cut(Limit::Deadline(second)), 1, None, rules(""), false, "failure"),
        (cut(Limit::Deadline(second)), 0, None, rules(""), false, "nothing"),
        (cut(Limit::Deadline(second)), 1, Some(second), rules(""), false, "nothing"),
        // The command works, but the awaited result has not come yet.
        (Outcome::Exited(0), 0, None, until.clone(), false, "success"),
        (Outcome::Exited(0), 0, None, until, true, "nothing"),
        // The attempt ran long enough to count as healthy.
        (Outcome::Exited(1), 9, None, rules(""), false, "success"),
        (Outcome::Exited(1), 9, None, rules("1"), false, "nothing"),
    ] {
        let mut policy = Policy::example(rules);
        policy.limits.timeout = timeout;
        policy.schedule.healthy_after = Some(Duration::from_secs(9));
        let (interrupted, ran) = (interrupted.then_some(Signal::TERM), Duration::from_secs(ran));
        let attempt = Attempt { ran, interrupted, ..Attempt::ended(outcome.clone()) };
        let judged = policy.rules.judge(attempt);
        let got = match policy.observe(&judged, |_| String::new()) {
            Observation::Failure { .. } => "failure",
            Observation::Success => "success",
            Observation::Nothing => "nothing",
        };
        assert_eq!(got, counts, "{outcome:?} {interrupted:?} {ran:?}");
    }
}
