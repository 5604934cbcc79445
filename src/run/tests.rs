mod between;
mod once;
mod planned;
mod scripted;

use scripted::Scripted;

use super::*;
use crate::policy::admission::Admission;
use crate::policy::admission::breaker::{Awaits, Cause, Known, Opens, Settings};
use crate::policy::admission::budget::Spent;
use crate::policy::delay::backoff::Growth;
use crate::policy::outcome::{Cut, Limit, Outcome, Unkept};
use crate::policy::outer::HandedDown;
use crate::policy::verdict::classify::Rules;
use crate::policy::verdict::condition::Condition;
use crate::policy::verdict::request::Method;
use crate::policy::verdict::rule::Rule;

fn failed(status: u8) -> (Outcome, u64) {
    (Outcome::Exited(status), 0)
}

#[test]
fn it_runs_until_success_and_waits_between() {
    let mut host = Scripted::new(&[failed(1), failed(7), failed(0)]);
    let finish = run(&Policy::example(Rules::default()), &mut host).unwrap();
    assert_eq!(finish, Finish::Succeeded { outcome: Outcome::Exited(0), rule: Rule::ExitZero });
    assert_eq!(
        host.log,
        [
            "attempt 1 after None",
            "exited 1, asks for a retry",
            "wait 1s",
            "attempt 2 after Some(1)",
            "exited 7, asks for a retry",
            "wait 2s",
            "attempt 3 after Some(7)",
            "works"
        ]
    );
    assert_eq!(host.judged, [(1, Output::HeldBack), (2, Output::HeldBack), (3, Output::Passed)]);
}

#[test]
fn output_that_is_not_passed_on_is_no_success() {
    let mut host = Scripted::new(&[failed(0)]);
    host.interrupt_output = Some(Signal::PIPE);
    let finish = run(&Policy::example(Rules::default()), &mut host).unwrap();
    assert_eq!(finish, Finish::InterruptedOutput { signal: Signal::PIPE });
    // The held output of a failure is not passed on.
    let mut host = Scripted::new(&[failed(3)]);
    host.interrupt_output = Some(Signal::PIPE);
    let finish = run(&Policy::example(Rules::default()), &mut host).unwrap();
    assert!(matches!(finish, Finish::GaveUp { .. }));
}

#[test]
fn a_check_comes_before_every_attempt() {
    let mut host = Scripted::new(&[failed(7)]);
    host.checks = vec![(1, 0), (2, 0), (0, 0)];
    let finish = run(&Policy::example(Rules::default()), &mut host).unwrap();
    assert_eq!(finish, Finish::Succeeded { outcome: Outcome::Exited(0), rule: Rule::Done });
    assert_eq!(
        host.log,
        [
            "check 1",
            "attempt 1 after None",
            "exited 7, asks for a retry",
            "wait 1s",
            "check 2",
            "--check exited 2, asks for a retry",
            "wait 2s",
            "check 3",
            "shows nothing"
        ]
    );
    // The check cannot tell, up to the last attempt.
    let mut host = Scripted::new(&[failed(7)]);
    host.checks = vec![(2, 0), (3, 0), (9, 0)];
    let finish = run(&Policy::example(Rules::default()), &mut host).unwrap();
    let outcome = Outcome::Exited(9);
    assert_eq!(finish, Finish::GaveUp { outcome, rule: Rule::CannotTell, why: Exhausted::Attempts });
}

#[test]
fn no_attempt_begins_when_the_check_has_used_the_time_up() {
    let mut policy = Policy::example(Rules::default());
    policy.schedule.deadline = Some(Duration::from_secs(5));
    let mut host = Scripted::new(&[failed(0)]);
    host.checks = vec![(1, 5)];
    let finish = run(&policy, &mut host).unwrap();
    assert_eq!(finish, Finish::NeverStarted { deadline: Duration::from_secs(5) });
    assert_eq!(host.log, ["check 1", "shows nothing"]);
    // No attempt begins if a signal came in the meantime.
    let mut host = Scripted::new(&[failed(0)]);
    host.checks = vec![(1, 0)];
    host.interrupt_after_admission = Some(Signal::TERM);
    let finish = run(&policy, &mut host).unwrap();
    assert_eq!(finish, Finish::InterruptedWait { signal: Signal::TERM, wait: Wait::Nothing });
}

#[test]
fn without_its_input_no_attempt_follows() {
    let mut host = Scripted::new(&[failed(3)]);
    host.unkept = Some(Unkept::TooLong { limit: 7 });
    let finish = run(&Policy::example(Rules::default()), &mut host).unwrap();
    let why = Exhausted::InputUnkept(Unkept::TooLong { limit: 7 });
    assert_eq!(finish, Finish::GaveUp { outcome: Outcome::Exited(3), rule: Rule::AnyFailure, why });
    assert_eq!(host.log, ["attempt 1 after None", "exited 3"]);
}

#[test]
fn a_fatal_failure_ends_it_at_once() {
    let mut host = Scripted::new(&[failed(3)]);
    let rules = Rules { fatal_on: vec![Condition::parse("3").unwrap()], ..Rules::default() };
    let finish = run(&Policy::example(rules), &mut host).unwrap();
    assert!(matches!(finish, Finish::NotRetried { .. }));
    assert_eq!(host.log, ["attempt 1 after None", "shows nothing"]);
}

#[test]
fn attempts_run_out_without_a_last_wait() {
    let mut host = Scripted::new(&[failed(1)]);
    let finish = run(&Policy::example(Rules::default()), &mut host).unwrap();
    assert_eq!(
        finish,
        Finish::GaveUp { outcome: Outcome::Exited(1), rule: Rule::AnyFailure, why: Exhausted::Attempts }
    );
    assert_eq!(host.log.iter().filter(|line| line.starts_with("wait")).count(), 2);
}

#[test]
fn a_signal_in_a_wait_or_an_attempt_ends_it() {
    let mut host = Scripted::new(&[failed(1)]);
    host.interrupt_pause = Some(Signal::TERM);
    let finish = run(&Policy::example(Rules::default()), &mut host).unwrap();
    assert_eq!(finish, Finish::InterruptedWait { signal: Signal::TERM, wait: Wait::Delay });
    assert_eq!(host.log, ["attempt 1 after None", "exited 1, asks for a retry", "wait 1s"]);

    let mut host = Scripted::new(&[failed(1)]);
    host.interrupt_attempt = Some(Signal::INT);
    let finish = run(&Policy::example(Rules::default()), &mut host).unwrap();
    let rule = Rule::AnyFailure;
    assert_eq!(finish, Finish::InterruptedAttempt { signal: Signal::INT, outcome: Outcome::Exited(1), rule });

    let mut host = Scripted::new(&[failed(0)]);
    host.interrupt_attempt = Some(Signal::INT);
    assert!(matches!(run(&Policy::example(Rules::default()), &mut host).unwrap(), Finish::Succeeded { .. }));
}

#[test]
fn death_by_a_signal_to_retry_is_no_success_whatever_was_waited_for() {
    for outcome in [Outcome::Signaled(Signal::INT), Outcome::Exited(130)] {
        let rules = [(None, "failure"), (Some("failure"), "0")].map(|(until, success)| Rules {
            until: until.map(|text| Condition::parse(text).unwrap()),
            success_on: vec![Condition::parse(success).unwrap()],
            ..Rules::default()
        });
        for rules in rules {
            let mut host = Scripted::new(&[(outcome.clone(), 0)]);
            host.interrupt_attempt = Some(Signal::INT);
            let finish = run(&Policy::example(rules), &mut host).unwrap();
            assert!(matches!(finish, Finish::InterruptedAttempt { .. }), "{finish:?}");
        }
    }
}

#[test]
fn an_interrupted_wait_names_what_it_was_for() {
    let interrupted = |policy: &Policy, mut host: Scripted| {
        host.interrupt_pause = Some(Signal::TERM);
        match run(policy, &mut host).unwrap() {
            Finish::InterruptedWait { wait, .. } => wait,
            finish => panic!("{finish:?}"),
        }
    };
    let mut splayed = Policy::example(Rules::default());
    splayed.schedule.splay = Duration::from_secs(5);
    assert_eq!(interrupted(&splayed, Scripted::new(&[failed(1)])), Wait::Splay);
    let mut waits = Policy::example(Rules::default());
    waits.admission = Admission { breaker: None, wait: true, budget: None };
    waits.schedule.deadline = Some(Duration::from_hours(1));
    // The next look at the breaker is due after 5 s. It comes one minute late, because retry was
    // stopped.
    let mut host = Scripted::new(&[failed(1)]);
    host.refusals = vec![Some(refusal(20))];
    host.stopped = Duration::from_mins(1);
    let Wait::Breaker(aged) = interrupted(&waits, host) else { panic!("no breaker") };
    assert_eq!(aged, refusal(20).after(Duration::from_secs(65)));
    assert_eq!((aged.age, aged.left), (Duration::from_secs(85), Duration::ZERO));
    // An attempt opened the breaker.
    let mut host = Scripted::new(&[failed(1)]);
    host.settlements = vec![Settlement::Wait(refusal(40))];
    assert!(matches!(interrupted(&waits, host), Wait::Breaker(_)));
}

#[test]
fn no_attempt_begins_past_the_deadline() {
    let mut policy = Policy::example(Rules::default());
    policy.schedule.deadline = Some(Duration::from_secs(10));
    let mut host = Scripted::new(&[failed(1)]);
    host.stopped = Duration::from_mins(1);
    let finish = run(&policy, &mut host).unwrap();
    assert!(matches!(finish, Finish::GaveUp { why: Exhausted::Deadline(_), .. }), "{finish:?}");
    assert_eq!(host.log, ["attempt 1 after None", "exited 1, asks for a retry", "wait 1s"]);
    policy.schedule.splay = Duration::from_secs(5);
    let mut host = Scripted::new(&[failed(1)]);
    host.stopped = Duration::from_mins(1);
    let finish = run(&policy, &mut host).unwrap();
    assert_eq!(finish, Finish::NeverStarted { deadline: Duration::from_secs(10) });
    assert_eq!(host.log.len(), 2);
}

fn refusal(left: u64) -> Refusal {
    let left = Duration::from_secs(left);
    Refusal {
        age: left,
        left,
        cause: Cause::Failures,
        failures: 5,
        last: None,
        awaits: Awaits::Probe,
        known: Known::Now,
    }
}

#[test]
fn an_open_breaker_runs_nothing_and_between_attempts_it_ends_the_run() {
    let mut host = Scripted::new(&[failed(1)]);
    host.refusals = vec![Some(refusal(20))];
    let finish = run(&Policy::example(Rules::default()), &mut host).unwrap();
    assert_eq!(finish, Finish::NotRun { refusal: refusal(20), deadline: None });
    assert!(host.log.is_empty());

    let why = Exhausted::BreakerOpen { refusal: refusal(30), deadline: None };
    let gave_up = Finish::GaveUp { outcome: Outcome::Exited(1), rule: Rule::AnyFailure, why };
    // The run's own failure opens the breaker, so there is no wait.
    let mut host = Scripted::new(&[failed(1)]);
    host.settlements = vec![Settlement::Open(refusal(30))];
    assert_eq!(run(&Policy::example(Rules::default()), &mut host).unwrap(), gave_up);
    assert_eq!(host.log, ["attempt 1 after None", "exited 1, asks for a retry"]);
    // The last attempt opens the breaker, and retry says so.
    let mut host = Scripted::new(&[failed(1)]);
    host.settlements = vec![Settlement::Go, Settlement::Go, Settlement::Open(refusal(30))];
    let finish = run(&Policy::example(Rules::default()), &mut host).unwrap();
    assert!(matches!(finish, Finish::GaveUp { why: Exhausted::Attempts, .. }));
    assert_eq!(host.log.last().map(String::as_str), Some("is open now"));
    // The failure of another run opens the breaker in the meantime.
    let mut host = Scripted::new(&[failed(1)]);
    host.refusals = vec![None, Some(refusal(30))];
    assert_eq!(run(&Policy::example(Rules::default()), &mut host).unwrap(), gave_up);
    assert_eq!(host.log.len(), 3);
}

#[test]
fn a_signal_that_comes_while_the_record_is_waited_for_meets_no_attempt() {
    let mut policy = Policy::example(Rules::default());
    policy.admission.budget = Some(crate::policy::admission::budget::Rate::Share { billionths: 1 });
    let mut host = Scripted::new(&[failed(0)]);
    host.interrupt_after_admission = Some(Signal::TERM);
    let finish = run(&policy, &mut host).unwrap();
    assert_eq!(finish, Finish::InterruptedWait { signal: Signal::TERM, wait: Wait::Nothing });
    // The run gives its probe back.
    assert_eq!(host.log, ["shows nothing"]);
}

#[test]
fn a_breaker_is_waited_for_within_the_deadline() {
    let cooldown = Duration::from_secs(30);
    let settings = Settings { opens: Opens::InRow(std::num::NonZeroU32::MIN), cooldown, lease: cooldown };
    let mut policy = Policy::example(Rules::default());
    policy.admission = Admission { breaker: Some(settings), wait: true, budget: None };
    policy.schedule.deadline = Some(Duration::from_mins(1));
    let mut host = Scripted::new(&[failed(0)]);
    host.refusals = vec![Some(refusal(20))];
    assert!(matches!(run(&policy, &mut host).unwrap(), Finish::Succeeded { .. }));
    let waited = host.now.saturating_sub(Duration::from_secs(1000));
    assert!((Duration::from_secs(20)..=Duration::from_secs(35)).contains(&waited), "{waited:?}");
    // retry reports the wait once, as long as nothing changes.
    let mut host = Scripted::new(&[failed(0)]);
    host.refusals = vec![Some(refusal(2)), Some(refusal(1)), Some(refusal(1))];
    assert!(matches!(run(&policy, &mut host).unwrap(), Finish::Succeeded { .. }));
    assert_eq!(host.log.iter().filter(|line| *line == "waits").count(), 1);
    // Somebody closes the breaker, so the wait ends early.
    policy.schedule.deadline = Some(Duration::from_mins(150));
    let mut host = Scripted::new(&[failed(0)]);
    host.refusals = vec![Some(refusal(3600))];
    host.closed_at = Some(host.now + Duration::from_mins(1));
    assert!(matches!(run(&policy, &mut host).unwrap(), Finish::Succeeded { .. }));
    let waited = host.now.saturating_sub(Duration::from_secs(1000));
    assert!((Duration::from_mins(1)..=Duration::from_secs(80)).contains(&waited), "{waited:?}");
    // A signal that arrives after the breaker has closed does not interrupt a wait for the breaker.
    let mut host = Scripted::new(&[failed(0)]);
    host.refusals = vec![Some(refusal(3600))];
    host.closed_at = Some(host.now + Duration::from_mins(1));
    (host.interrupt_waits_after, host.interrupt_pause) =
        (host.now + Duration::from_mins(1), Some(Signal::TERM));
    let finish = run(&policy, &mut host).unwrap();
    assert_eq!(finish, Finish::InterruptedWait { signal: Signal::TERM, wait: Wait::Delay });
    policy.schedule.deadline = Some(Duration::from_mins(1));
    // The deadline passes while retry is stopped. The run then ends because of the breaker, without
    // an attempt.
    let mut host = Scripted::new(&[failed(0)]);
    host.refusals = vec![Some(refusal(3))];
    host.stopped = Duration::from_secs(100);
    let deadline = policy.schedule.deadline.map(Deadline::Own);
    let finish = run(&policy, &mut host).unwrap();
    let passed = host.now.saturating_sub(Duration::from_secs(1000));
    assert_eq!(finish, Finish::NotRun { refusal: refusal(3).after(passed), deadline });
    // The run's own failure opens the breaker. One wait covers the delay and the breaker.
    let mut host = Scripted::new(&[failed(1), failed(0)]);
    host.settlements = vec![Settlement::Wait(refusal(40))];
    host.closed_at = Some(host.now + Duration::from_secs(5));
    assert!(matches!(run(&policy, &mut host).unwrap(), Finish::Succeeded { .. }));
    assert!(host.now <= Duration::from_mins(17), "it notices a reset");
    let mut host = Scripted::new(&[failed(1), failed(0)]);
    host.settlements = vec![Settlement::Wait(refusal(20))];
    assert!(matches!(run(&policy, &mut host).unwrap(), Finish::Succeeded { .. }));
    assert_eq!(host.log[2], "is open now");
    let waited = host.now.saturating_sub(Duration::from_secs(1000));
    assert!((Duration::from_secs(20)..=Duration::from_secs(35)).contains(&waited), "{waited:?}");
    let mut host = Scripted::new(&[failed(0)]);
    host.refusals = vec![Some(refusal(61))];
    assert_eq!(run(&policy, &mut host).unwrap(), Finish::NotRun { refusal: refusal(61), deadline });
    assert!(host.log.is_empty());
}

#[test]
fn a_deadline_that_passes_while_the_breaker_is_asked_meets_no_attempt() {
    let mut policy = Policy::example(Rules::default());
    let cooldown = Duration::from_secs(30);
    let settings = Settings { opens: Opens::InRow(std::num::NonZeroU32::MIN), cooldown, lease: cooldown };
    policy.admission = Admission { breaker: Some(settings), wait: true, budget: None };
    let deadline = Duration::from_mins(1);
    policy.schedule.deadline = Some(deadline);
    let mut host = Scripted::new(&[failed(0)]);
    host.asking = deadline;
    assert_eq!(run(&policy, &mut host).unwrap(), Finish::NeverStarted { deadline });
    // The run gives its probe back.
    assert_eq!(host.log, ["shows nothing"]);
    // A run that has seen the breaker open ends like a run that the breaker refused.
    let mut host = Scripted::new(&[failed(0)]);
    host.asking = Duration::from_secs(25);
    host.refusals = vec![Some(refusal(20))];
    let finish = run(&policy, &mut host).unwrap();
    // The run got the first answer after 25 s.
    let passed = host.now.saturating_sub(Duration::from_secs(1025));
    assert_eq!(
        finish,
        Finish::NotRun { refusal: refusal(20).after(passed), deadline: Some(Deadline::Own(deadline)) }
    );
    assert!(!host.log.iter().any(|line| line.starts_with("attempt")), "{:?}", host.log);
}

#[test]
fn a_spent_budget_ends_the_run_before_the_wait() {
    let mut host = Scripted::new(&[failed(1)]);
    let spent = Spent { next: Duration::from_secs(24) };
    host.settlements = vec![Settlement::Go, Settlement::Spent(spent)];
    let finish = run(&Policy::example(Rules::default()), &mut host).unwrap();
    let why = Exhausted::BudgetSpent(spent);
    assert_eq!(finish, Finish::GaveUp { outcome: Outcome::Exited(1), rule: Rule::AnyFailure, why });
    assert_eq!(host.log.iter().filter(|line| line.starts_with("wait")).count(), 1);
    // If no retry follows, the run asks for no token, and the answer does not matter.
    let mut host = Scripted::new(&[failed(3)]);
    host.settlements = vec![Settlement::Spent(spent)];
    let rules = Rules { fatal_on: vec![Condition::parse("3").unwrap()], ..Rules::default() };
    assert!(matches!(run(&Policy::example(rules), &mut host).unwrap(), Finish::NotRetried { .. }));
    assert_eq!(host.log, ["attempt 1 after None", "shows nothing"]);
}

#[test]
fn the_splay_comes_before_the_first_attempt() {
    let mut host = Scripted::new(&[failed(0)]);
    let mut policy = Policy::example(Rules::default());
    policy.schedule.splay = Duration::from_secs(10);
    let _ = run(&policy, &mut host).unwrap();
    assert_eq!(host.log[0], "splays");
    assert!(host.log[1].starts_with("wait "), "{:?}", host.log);
    assert_eq!(host.log.len(), 4);
}

#[test]
fn the_deadline_ends_the_run_even_where_no_condition_names_a_timeout() {
    let limit = Duration::from_secs(9);
    let cut = Cut { limit: Limit::Deadline(limit), ended_by: Signal::TERM, left: Vec::new() };
    let mut host = Scripted::new(&[(Outcome::TimedOut(cut), 9)]);
    let rules = Rules { retry_on: vec![Condition::parse("7").unwrap()], ..Rules::default() };
    let mut policy = Policy::example(rules);
    policy.schedule.deadline = Some(limit);
    let finish = run(&policy, &mut host).unwrap();
    assert!(matches!(finish, Finish::GaveUp { why: Exhausted::Deadline(_), .. }));
}

#[test]
fn the_first_retry_alone_says_that_it_may_repeat_something() {
    let policy = Policy { repeated: Some(Method::Post), ..Policy::example(Rules::default()) };
    let mut host = Scripted::new(&[failed(7)]);
    let _ = run(&policy, &mut host).unwrap();
    assert_eq!(
        host.log,
        [
            "attempt 1 after None",
            "exited 7, asks for a retry",
            "may repeat",
            "wait 1s",
            "attempt 2 after Some(7)",
            "exited 7, asks for a retry",
            "wait 2s",
            "attempt 3 after Some(7)",
            "exited 7",
        ]
    );
    // Without a retry, nothing is repeated.
    let mut host = Scripted::new(&[failed(0)]);
    let _ = run(&policy, &mut host).unwrap();
    assert_eq!(host.log, ["attempt 1 after None", "works"]);
}
