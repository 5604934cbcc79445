//! What happens between attempts: hooks, successes in a row, and the retry around the run.

use super::*;

#[test]
fn a_run_inside_another_retry_says_so_at_its_first_retry() {
    let outer = Outer { attempt: 2, max: Some(5), product: Some(5) };
    let policy = Policy { outer: Some(outer), ..Policy::example(Rules::default()) };
    let nested = |policy: &Policy, script: &[(Outcome, u64)]| {
        let mut host = Scripted::new(script);
        let _ = run(policy, &mut host).unwrap();
        host.log.into_iter().filter(|line| line.starts_with("nested")).collect::<Vec<_>>()
    };
    assert_eq!(nested(&policy, &[failed(7)]), ["nested: Some(15)"]);
    assert_eq!(nested(&policy, &[failed(0)]), [""; 0]);
    let once = Policy { outer: Some(Outer { product: Some(1), ..outer }), ..policy.clone() };
    assert_eq!(nested(&once, &[failed(7)]), [""; 0]);
    // A healthy attempt resets the count, so there is no limit.
    let mut healthy = policy;
    healthy.schedule.healthy_after = Some(Duration::from_secs(9));
    assert_eq!(nested(&healthy, &[failed(7)]), ["nested: None"]);
}

/// A policy with a deadline that an outer retry has handed down, this many seconds from the start.
fn handed_down(seconds: u64) -> Policy {
    let at = Duration::from_secs(1000 + seconds);
    Policy { handed_down: Some(HandedDown { at, unix_ms: 0 }), ..Policy::example(Rules::default()) }
}

#[test]
fn no_wait_ends_after_a_deadline_that_was_handed_down() {
    let why = |policy: &Policy, host: &mut Scripted| match run(policy, host).unwrap() {
        Finish::GaveUp { why, .. } => why,
        finish => panic!("{finish:?}"),
    };
    let outer = |millis| Deadline::Outer(Duration::from_millis(millis));
    let mut policy = handed_down(2);
    policy.schedule.growth = Growth::Constant { delay: Duration::from_secs(1) };
    let mut host = Scripted::new(&[(Outcome::Exited(1), 0), (Outcome::Exited(1), 1)]);
    assert_eq!(why(&policy, &mut host), Exhausted::Deadline(outer(0)));
    assert_eq!(host.log.len(), 5, "{:?}", host.log);
    // After the first delay, 100 ms are left.
    let mut host = Scripted::new(&[(Outcome::Exited(1), 0)]);
    host.stopped = Duration::from_millis(900);
    assert_eq!(why(&policy, &mut host), Exhausted::DelayPastDeadline(outer(100)));
    // The run's own deadline comes first.
    policy.schedule.deadline = Some(Duration::from_secs(1));
    let own = Deadline::Own(Duration::from_secs(1));
    let mut host = Scripted::new(&[(Outcome::Exited(1), 1)]);
    assert_eq!(why(&policy, &mut host), Exhausted::Deadline(own));
    // A wait was longer than planned.
    let mut host = Scripted::new(&[failed(1)]);
    host.stopped = Duration::from_mins(1);
    assert_eq!(why(&handed_down(10), &mut host), Exhausted::Deadline(outer(0)));
}

#[test]
fn a_first_attempt_is_made_whatever_was_handed_down() {
    let mut policy = handed_down(5);
    policy.schedule.splay = Duration::from_hours(1);
    let mut host = Scripted::new(&[failed(0)]);
    assert!(matches!(run(&policy, &mut host).unwrap(), Finish::Succeeded { .. }));
    assert!(host.now < Duration::from_secs(1005), "{:?}", host.log);
    let mut host = Scripted::new(&[failed(0)]);
    host.stopped = Duration::from_mins(1);
    assert!(matches!(run(&policy, &mut host).unwrap(), Finish::Succeeded { .. }));
}

#[test]
fn a_breaker_is_waited_for_within_a_deadline_that_was_handed_down() {
    let mut policy = handed_down(10);
    policy.admission.wait = true;
    policy.schedule.deadline = Some(Duration::from_hours(1));
    let mut host = Scripted::new(&[failed(0)]);
    host.refusals = vec![Some(refusal(20))];
    let deadline = Some(Deadline::Outer(Duration::from_secs(10)));
    assert_eq!(run(&policy, &mut host).unwrap(), Finish::NotRun { refusal: refusal(20), deadline });
    assert!(host.log.is_empty(), "{:?}", host.log);
    // The run's own failure opens the breaker.
    let mut host = Scripted::new(&[failed(1)]);
    host.settlements = vec![Settlement::Wait(refusal(40))];
    let finish = run(&policy, &mut host).unwrap();
    assert!(
        matches!(&finish, Finish::GaveUp { why: Exhausted::BreakerOpen { deadline: at, .. }, .. } if *at == deadline),
        "{finish:?}"
    );
}

#[test]
fn a_run_that_fails_shows_the_output_of_its_last_attempt_once() {
    let policy = Policy::example(Rules::default());
    let shown = |change: &dyn Fn(&mut Scripted), status| {
        let mut host = Scripted::new(&[failed(status)]);
        change(&mut host);
        let _ = run(&policy, &mut host).unwrap();
        host.shown
    };
    assert_eq!(shown(&|_| {}, 0), 0);
    assert_eq!(shown(&|_| {}, 7), 1);
    assert_eq!(shown(&|host| host.interrupt_pause = Some(Signal::TERM), 7), 1);
    assert_eq!(shown(&|host| host.interrupt_output = Some(Signal::TERM), 0), 0);
}

#[test]
fn a_hook_runs_before_a_retry_and_its_time_counts_towards_the_delay() {
    let mut host = Scripted::new(&[failed(1), failed(7), failed(0)]);
    // The second delay of 2 s is over when the hook ends.
    host.hooks = vec![0, 3, 1];
    let _ = run(&Policy::example(Rules::default()), &mut host).unwrap();
    assert_eq!(
        host.log,
        [
            "attempt 1 after None",
            "exited 1, asks for a retry",
            "on-retry 2 after Some(1)",
            "wait 1s",
            "attempt 2 after Some(1)",
            "exited 7, asks for a retry",
            "on-retry 3 after Some(7)",
            "attempt 3 after Some(7)",
            "works"
        ]
    );
    let mut host = Scripted::new(&[failed(7), failed(0)]);
    host.hooks = vec![1];
    let mut policy = Policy::example(Rules::default());
    policy.schedule.growth = Growth::Constant { delay: Duration::from_secs(4) };
    let _ = run(&policy, &mut host).unwrap();
    assert_eq!(host.log[3], "wait 3s");
}

#[test]
fn a_hook_runs_only_if_a_retry_follows() {
    let hooks = |policy: &Policy, mut host: Scripted| {
        host.hooks = vec![0; 9];
        let _ = run(policy, &mut host).unwrap();
        host.log.iter().filter(|line| line.starts_with("on-retry")).count()
    };
    let policy = Policy::example(Rules::default());
    // Three attempts have two retries between them.
    assert_eq!(hooks(&policy, Scripted::new(&[failed(7)])), 2);
    assert_eq!(hooks(&policy, Scripted::new(&[failed(0)])), 0);
    assert_eq!(hooks(&policy, Scripted::new(&[failed(127)])), 0);
    for settlement in [Settlement::Open(refusal(30)), Settlement::Spent(Spent { next: Duration::ZERO })] {
        let mut host = Scripted::new(&[failed(7)]);
        host.settlements = vec![settlement];
        assert_eq!(hooks(&policy, host), 0);
    }
    let mut host = Scripted::new(&[failed(7)]);
    host.unkept = Some(Unkept::TooLong { limit: 7 });
    assert_eq!(hooks(&policy, host), 0);
    let mut short = policy.clone();
    short.schedule.deadline = Some(Duration::from_millis(300));
    assert_eq!(hooks(&short, Scripted::new(&[failed(7)])), 0);
    // A run that waits for the breaker runs it once, however often it looks.
    let mut waits = policy;
    waits.admission.wait = true;
    waits.schedule.deadline = Some(Duration::from_hours(1));
    let mut host = Scripted::new(&[failed(7), failed(0)]);
    host.settlements = vec![Settlement::Wait(refusal(20))];
    host.refusals = vec![None, Some(refusal(2)), Some(refusal(1))];
    assert_eq!(hooks(&waits, host), 1);
}

#[test]
fn a_signal_or_the_deadline_during_a_hook_ends_the_run() {
    let mut host = Scripted::new(&[failed(7)]);
    (host.hooks, host.interrupt_hook) = (vec![1], Some(Signal::TERM));
    let finish = run(&Policy::example(Rules::default()), &mut host).unwrap();
    assert_eq!(finish, Finish::InterruptedWait { signal: Signal::TERM, wait: Wait::Delay });
    assert_eq!(host.log.last().map(String::as_str), Some("on-retry 2 after Some(7)"));
    let mut policy = Policy::example(Rules::default());
    policy.schedule.deadline = Some(Duration::from_secs(5));
    let mut host = Scripted::new(&[failed(7)]);
    host.hooks = vec![5];
    let finish = run(&policy, &mut host).unwrap();
    assert!(matches!(finish, Finish::GaveUp { why: Exhausted::Deadline(_), .. }), "{finish:?}");
}

fn in_row(successes: u32, max: u32) -> Policy {
    let mut policy = Policy::example(Rules::default());
    policy.schedule.successes = std::num::NonZeroU32::new(successes).unwrap();
    policy.schedule.max_attempts = std::num::NonZeroU32::new(max);
    policy
}

#[test]
fn a_success_is_repeated_until_there_are_enough_in_a_row() {
    let mut host = Scripted::new(&[failed(0), failed(7), failed(7), failed(0), failed(0)]);
    host.hooks = vec![0; 9];
    let outer = Outer { attempt: 2, max: Some(5), product: Some(5) };
    let policy = Policy { outer: Some(outer), ..in_row(2, 9) };
    let finish = run(&policy, &mut host).unwrap();
    assert_eq!(finish, Finish::Succeeded { outcome: Outcome::Exited(0), rule: Rule::ExitZero });
    // Each wait after a success is the first delay, and so is the first one after it. A success takes
    // no token and runs no hook.
    assert_eq!(
        host.log,
        [
            "attempt 1 after None",
            "works",
            "wait 1s",
            "attempt 2 after Some(0)",
            "exited 7, asks for a retry",
            "nested: Some(45)",
            "on-retry 3 after Some(7)",
            "wait 1s",
            "attempt 3 after Some(7)",
            "exited 7, asks for a retry",
            "on-retry 4 after Some(7)",
            "wait 2s",
            "attempt 4 after Some(7)",
            "works",
            "wait 1s",
            "attempt 5 after Some(0)",
            "works"
        ]
    );
    let fates: Vec<Output> = host.judged.iter().map(|(_, fate)| *fate).collect();
    let (dropped, held) = (Output::Dropped, Output::HeldBack);
    assert_eq!(fates, [dropped, held, held, dropped, Output::Passed]);
}

#[test]
fn a_row_that_ends_too_early_is_no_success() {
    let gave_up = |policy: &Policy, host: &mut Scripted| match run(policy, host).unwrap() {
        Finish::GaveUp { outcome: Outcome::Exited(0), why, .. } => why,
        finish => panic!("{finish:?}"),
    };
    let mut host = Scripted::new(&[failed(7), failed(0)]);
    assert_eq!(gave_up(&in_row(3, 3), &mut host), Exhausted::Attempts);
    assert_eq!(host.judged.last(), Some(&(3, Output::HeldBack)));
    let mut policy = in_row(3, 9);
    policy.schedule.deadline = Some(Duration::from_secs(2));
    let deadline = Deadline::Own(Duration::from_secs(2));
    let mut host = Scripted::new(&[failed(0)]);
    assert_eq!(gave_up(&policy, &mut host), Exhausted::DelayPastDeadline(deadline));
    let mut host = Scripted::new(&[failed(0)]);
    host.unkept = Some(Unkept::TooLong { limit: 7 });
    assert!(matches!(gave_up(&in_row(3, 9), &mut host), Exhausted::InputUnkept(_)));
    let mut host = Scripted::new(&[failed(0)]);
    host.refusals = vec![None, Some(refusal(30))];
    assert!(matches!(gave_up(&in_row(3, 9), &mut host), Exhausted::BreakerOpen { .. }));
    // A signal ends the run, unless the row is complete.
    for (script, interrupted) in [(vec![failed(0)], true), (vec![failed(0), failed(0)], false)] {
        let mut host = Scripted::new(&script);
        host.interrupt_attempt = Some(Signal::TERM);
        let finish = run(&in_row(if interrupted { 2 } else { 1 }, 9), &mut host).unwrap();
        assert_eq!(matches!(finish, Finish::InterruptedAttempt { .. }), interrupted, "{finish:?}");
    }
    // The check ends the run at once.
    let mut host = Scripted::new(&[failed(0)]);
    host.checks = vec![(1, 0), (0, 0)];
    let finish = run(&in_row(3, 9), &mut host).unwrap();
    assert_eq!(finish, Finish::Succeeded { outcome: Outcome::Exited(0), rule: Rule::Done });
}
