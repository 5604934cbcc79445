//! `--once` around the loop.

use super::*;
use crate::policy::once::Seen;
use crate::policy::outer::Deadline;

const SECOND: Duration = Duration::from_secs(1);

fn policy(deadline: Option<Duration>) -> Policy {
    let mut policy = Policy::example(Rules::default());
    policy.schedule.deadline = deadline;
    policy
}

fn succeeded() -> Finish {
    Finish::Succeeded { outcome: Outcome::Exited(0), rule: Rule::ExitZero }
}

#[test]
fn if_there_is_an_answer_nothing_happens() {
    let mut host = Scripted::new(&[failed(0)]);
    host.looks = vec![Seen::Answer { age: SECOND }];
    host.checks = vec![(0, 0)];
    let mut policy = policy(None);
    policy.schedule.splay = SECOND;
    assert_eq!(run(&policy, &mut host).unwrap(), Finish::Answered { age: SECOND });
    assert_eq!((host.log, host.admitted), (vec![], false));
    // An answer that nobody reads is no success.
    let mut host = Scripted::new(&[failed(0)]);
    host.looks = vec![Seen::Answer { age: SECOND }];
    host.interrupt_output = Some(Signal::PIPE);
    assert_eq!(run(&policy, &mut host).unwrap(), Finish::InterruptedOutput { signal: Signal::PIPE });
}

#[test]
fn a_run_waits_for_another_one_and_takes_over() {
    let mut host = Scripted::new(&[failed(0)]);
    let busy = |by| Seen::Busy { by };
    host.looks =
        vec![busy(None), busy(None), busy(Some(7)), busy(None), busy(Some(7)), busy(Some(9)), Seen::Free];
    assert_eq!(run(&policy(Some(60 * SECOND)), &mut host).unwrap(), succeeded());
    let wait = "wait 0.01s";
    assert_eq!(
        host.log,
        [
            "None makes it",
            wait,
            wait,
            "Some(7) makes it now",
            wait,
            wait,
            "wait 0.01s",
            "Some(9) makes it now",
            "wait 0.0125s",
            "attempt 1 after None",
            "works",
            "keeps"
        ]
    );
}

#[test]
fn a_run_does_not_wait_past_its_deadline_or_without_one() {
    let busy = Seen::Busy { by: Some(7) };
    for (limit, waits) in [(None, false), (Some(SECOND), true)] {
        let mut host = Scripted::new(&[failed(0)]);
        host.looks = vec![busy; 1000];
        let deadline = limit.map(Deadline::Own);
        assert_eq!(run(&policy(limit), &mut host).unwrap(), Finish::Busy { by: Some(7), deadline });
        assert_eq!(host.log.is_empty(), !waits);
        assert_eq!(host.now, Duration::from_secs(1000) + limit.unwrap_or_default());
    }
    let mut host = Scripted::new(&[failed(0)]);
    host.looks = vec![busy; 1000];
    host.interrupt_pause = Some(Signal::TERM);
    let finish = run(&policy(Some(SECOND)), &mut host).unwrap();
    assert_eq!(finish, Finish::InterruptedWait { signal: Signal::TERM, wait: Wait::Answer });
}

#[test]
fn only_the_output_of_a_success_is_kept() {
    let keeps = |script: &[(Outcome, u64)], check: Option<u8>| {
        let mut host = Scripted::new(script);
        host.looks = vec![Seen::Free];
        host.checks = check.into_iter().map(|status| (status, 0)).collect();
        let _ = run(&policy(None), &mut host).unwrap();
        host.log.iter().filter(|line| *line == "keeps").count()
    };
    assert_eq!(keeps(&[failed(0)], None), 1);
    assert_eq!(keeps(&[failed(1), failed(0)], Some(1)), 1);
    assert_eq!(keeps(&[failed(1)], None), 0);
    // The check says that the work is done, and there is no output to keep.
    assert_eq!(keeps(&[failed(0)], Some(0)), 0);
}

#[test]
fn a_success_whose_answer_is_not_kept_is_an_error_of_retry() {
    let mut host = Scripted::new(&[failed(0)]);
    (host.looks, host.unkeepable) = (vec![Seen::Free], true);
    assert!(matches!(run(&policy(None), &mut host), Err(Error::System { what: "cannot keep", .. })));
    // If the output is lost too, both are told.
    let mut host = Scripted::new(&[failed(0)]);
    (host.looks, host.unkeepable) = (vec![Seen::Free], true);
    host.interrupt_output = Some(Signal::PIPE);
    let finish = run(&policy(None), &mut host).unwrap();
    assert_eq!(finish, Finish::InterruptedOutput { signal: Signal::PIPE });
    assert_eq!(host.log.last().map(String::as_str), Some("is lost"));
}
