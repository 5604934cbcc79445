//! Tests the breaker with examples.

mod model;

use std::num::NonZeroU32;

use super::super::recovery::Recovery;
use super::*;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(seconds: i64) -> Moment {
    Moment(seconds * 1000)
}

fn in_row(failures: u32) -> Opens {
    Opens::InRow(NonZeroU32::new(failures).unwrap())
}

fn settings() -> Settings {
    Settings { opens: in_row(3), cooldown: secs(30), lease: secs(20) }
}

/// A run that does not wait for the breaker.
fn run(pid: u32) -> Applicant {
    Applicant { pid, lease: secs(20), waits: false, returns: false }
}

/// A run that waits for the breaker.
fn waiting(pid: u32) -> Applicant {
    Applicant { waits: true, ..run(pid) }
}

/// The refusal of a run that does not wait. `lives` tells whether the prober lives.
fn refused(breaker: &Breaker, now: Moment, lives: bool) -> Option<Refusal> {
    breaker.opening_refusal(false, now, |_, _| lives)
}

fn closed_at(now: Moment) -> State {
    State::Closed(Closed { since: Some(now), recovery: Some(Recovery::new(now)), ..Closed::default() })
}

fn failure() -> Observation {
    Observation::Failure { description: "exited 7".into(), asked: None }
}

/// The admission of a run. Panics if the breaker refuses the run.
fn pass(breaker: &mut Breaker, now: Moment) -> Pass {
    match breaker.admit(&run(1), now, |_, _| true) {
        Admitted::Yes(pass) => pass,
        Admitted::No(refusal) => panic!("{refusal:?}"),
    }
}

fn opened(now: Moment) -> Breaker {
    let mut breaker = Breaker::default();
    for _ in 0..3 {
        let pass = pass(&mut breaker, now);
        breaker.record(pass, &failure(), None, now, &settings());
    }
    breaker
}

#[test]
fn failures_in_a_row_open_it_and_a_success_between_does_not() {
    let mut breaker = Breaker::default();
    for observed in [failure(), failure(), Observation::Success, failure(), Observation::Nothing, failure()] {
        let pass = pass(&mut breaker, at(0));
        breaker.record(pass, &observed, None, at(0), &settings());
    }
    let third = pass(&mut breaker, at(5));
    breaker.record(third, &failure(), None, at(5), &settings());
    let refusal = refused(&breaker, at(10), true).unwrap();
    assert_eq!((refusal.age, refusal.left, refusal.failures), (secs(5), secs(25), 3));
    assert_eq!(refusal.last.as_deref(), Some("exited 7"));
}

#[test]
fn each_failed_probe_doubles_the_cooldown_up_to_sixteen_times() {
    let mut breaker = opened(at(0));
    let mut now = at(0);
    for times in [1, 2, 4, 8, 16, 16, 16] {
        let left = refused(&breaker, now, true).unwrap().left;
        assert_eq!(left, secs(30) * times);
        now = now.plus(left);
        let pass = pass(&mut breaker, now);
        assert!(pass.is_probe());
        breaker.record(pass, &failure(), None, now, &settings());
    }
    now = now.plus(secs(480));
    let success = pass(&mut breaker, now);
    breaker.record(success, &Observation::Success, None, now, &settings());
    assert_eq!(refused(&breaker, now, true), None);
    // After a success, the first cooldown applies again.
    for _ in 0..3 {
        let pass = pass(&mut breaker, now);
        breaker.record(pass, &failure(), None, now, &settings());
    }
    assert_eq!(refused(&breaker, now, true).unwrap().left, secs(30));
}

#[test]
fn a_server_that_asks_for_more_keeps_it_open_for_longer() {
    for (asked, left) in [(10, 30), (45, 45), (3600, 3600), (10_000_000, 24 * 3600)] {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            let pass = pass(&mut breaker, at(0));
            let observed = Observation::Failure { description: "exited 22".into(), asked: Some(secs(asked)) };
            breaker.record(pass, &observed, None, at(0), &settings());
        }
        assert_eq!(refused(&breaker, at(0), true).unwrap().left, secs(left));
    }
}

#[test]
fn a_probe_that_shows_nothing_leaves_it_to_the_next() {
    let mut breaker = opened(at(0));
    let probe = pass(&mut breaker, at(30));
    breaker.record(probe, &Observation::Nothing, None, at(31), &settings());
    let next = pass(&mut breaker, at(31));
    assert!(next.is_probe());
    breaker.record(next, &failure(), None, at(31), &settings());
    assert_eq!(refused(&breaker, at(31), true).unwrap().left, secs(60));
}

#[test]
fn the_lease_of_one_who_is_dead_or_late_goes_to_the_next() {
    let mut breaker = opened(at(0));
    let first = pass(&mut breaker, at(30));
    let refusal = refused(&breaker, at(31), true).unwrap();
    assert_eq!((refusal.prober(), refusal.left), (Some(1), secs(19)));
    assert!(matches!(
        breaker.admit(&run(2), at(31), |_, _| false),
        Admitted::Yes(Pass { role: Role::Probe, .. })
    ));
    assert!(matches!(breaker.admit(&run(3), at(50), |_, _| true), Admitted::No(_)));
    let third = pass(&mut breaker, at(51));
    // The report of a run that lost its lease changes nothing.
    breaker.record(first, &Observation::Success, None, at(52), &settings());
    assert!(refused(&breaker, at(52), true).is_some());
    breaker.record(third, &Observation::Success, None, at(52), &settings());
    assert_eq!(refused(&breaker, at(52), true), None);
}

#[test]
fn a_clock_that_goes_back_opens_it_for_no_longer_than_its_length() {
    for back in [1, 3600, 86_400, 30 * 365 * 86_400] {
        let mut breaker = opened(at(0));
        breaker.not_after(at(-back));
        assert_eq!(refused(&breaker, at(-back), true).unwrap().left, secs(30));
        let mut breaker = opened(at(0));
        let _ = pass(&mut breaker, at(30));
        breaker.not_after(at(-back));
        assert_eq!(refused(&breaker, at(-back), true).unwrap().left, secs(20));
    }
}

#[test]
fn it_is_told_since_when_why_and_for_how_long() {
    let mut breaker = opened(at(0));
    let probe = pass(&mut breaker, at(30));
    let asking = Observation::Failure { description: "exited 9".into(), asked: Some(secs(100)) };
    breaker.record(probe, &asking, None, at(31), &settings());
    // The age counts from the first opening. The breaker stays open for as long as the server asks.
    let refusal = refused(&breaker, at(41), true).unwrap();
    let Refusal { age, left, failures, last, cause, awaits, known } = refusal;
    assert_eq!(known, Known::Now);
    assert_eq!((age, left, failures, last.as_deref()), (secs(41), secs(90), 4, Some("exited 9")));
    assert_eq!((cause, awaits), (Cause::Failures, Awaits::Probe));
    // A probe without a result changes nothing else, and the cooldown doubles as before.
    let probe = pass(&mut breaker, at(131));
    breaker.record(probe, &Observation::Nothing, None, at(132), &settings());
    let probe = pass(&mut breaker, at(132));
    breaker.record(probe, &failure(), None, at(132), &settings());
    let refusal = refused(&breaker, at(132), true).unwrap();
    assert_eq!((refusal.age, refusal.left, refusal.failures), (secs(132), secs(120), 5));
    let probe = pass(&mut breaker, at(252));
    breaker.record(probe, &Observation::Success, None, at(253), &settings());
    assert_eq!(breaker.state, closed_at(at(253)));
    let first = pass(&mut breaker, at(260));
    breaker.record(first, &failure(), None, at(260), &settings());
    breaker.record(first, &Observation::Success, None, at(261), &settings());
    let State::Closed(closed) = &breaker.state else { panic!("{breaker:?}") };
    assert_eq!((closed.since, closed.outcomes.in_row, &closed.last), (Some(at(253)), 0, &None));
    breaker.not_after(at(200));
    assert!(matches!(&breaker.state, State::Closed(closed) if closed.since == Some(at(200))));
    breaker.trip(at(300), secs(60));
    assert_eq!(refused(&breaker, at(300), true).unwrap().cause, Cause::Tripped);
    breaker.not_after(at(100));
    assert_eq!(refused(&breaker, at(110), true).unwrap().age, secs(10));
}

#[test]
fn a_record_that_was_lost_is_put_back_as_it_was_seen() {
    let seen = opened(at(1000)).opening().unwrap().clone();
    let refusal = seen.unanswered(at(1010));
    assert_eq!((refusal.known, refusal.age, refusal.left), (Known::Earlier, secs(10), secs(20)));
    // The restored breaker stays open until the same time. One run then probes.
    let mut breaker = Breaker::default();
    breaker.restore(&seen, None, at(1010));
    assert_eq!(refused(&breaker, at(1010), true).unwrap().left, secs(20));
    let probe = pass(&mut breaker, at(1030));
    assert!(probe.is_probe());
    assert!(refused(&breaker, at(1031), true).is_some());
    // The report of a probe counts, even if the record was lost in the meantime.
    for (observed, left) in [(failure(), Some(secs(60))), (Observation::Success, None)] {
        let mut breaker = Breaker::default();
        breaker.restore(&seen, Some(probe.generation), at(1031));
        breaker.record(probe, &observed, None, at(1031), &settings());
        assert_eq!(refused(&breaker, at(1031), true).map(|refusal| refusal.left), left);
    }
}

#[test]
fn a_probe_keeps_its_lease_when_its_record_is_lost() {
    let mut breaker = opened(at(1000));
    let seen = breaker.opening().unwrap().clone();
    let probe = pass(&mut breaker, at(1030));
    let lost = || Breaker::probed(probe.generation, 0, at(1031), secs(300));
    // The same holds if a run that has seen the breaker open restores the opening. It also holds if
    // an older probe restores the opening.
    for earlier in [None, Some(probe.generation - 1)] {
        let mut breaker = lost();
        breaker.restore(&seen, earlier, at(1031));
        assert_eq!(breaker.opening(), Some(&seen));
        assert_eq!(refused(&breaker, at(1031), true).unwrap().prober(), Some(0));
        assert_eq!(refused(&breaker, at(1031), false), None, "the probe has died");
        assert_eq!(refused(&breaker, at(1400), true), None, "the lease is over");
    }
    let mut breaker = lost();
    breaker.record(probe, &failure(), None, at(1040), &settings());
    assert_eq!(refused(&breaker, at(1040), true).unwrap().left, secs(60));
    let mut breaker = lost();
    breaker.record(probe, &Observation::Success, None, at(1040), &settings());
    assert_eq!(refused(&breaker, at(1040), true), None);
}

#[test]
fn the_cooldown_is_that_of_the_run_that_opened_it_last() {
    let cooldown = |breaker: &Breaker| breaker.opening().unwrap().cooldown;
    let mut breaker = opened(at(1000));
    assert_eq!(cooldown(&breaker), Some(secs(30)));
    let probe = pass(&mut breaker, at(1030));
    let shorter = Settings { cooldown: secs(2), ..settings() };
    breaker.record(probe, &failure(), None, at(1030), &shorter);
    assert_eq!(cooldown(&breaker), Some(secs(2)));
    // A probe without a result and a trip do not change the cooldown.
    let probe = pass(&mut breaker, at(1034));
    assert_eq!(cooldown(&breaker), Some(secs(2)));
    breaker.record(probe, &Observation::Nothing, None, at(1035), &settings());
    breaker.trip(at(1036), secs(60));
    assert_eq!(cooldown(&breaker), Some(secs(2)));
    breaker.reset(at(1037));
    breaker.trip(at(1038), secs(60));
    assert_eq!(cooldown(&breaker), None);
}

#[test]
fn what_a_server_asked_at_an_earlier_failure_counts() {
    let mut breaker = Breaker::default();
    for asked in [Some(secs(1000)), None, None] {
        let pass = pass(&mut breaker, at(0));
        breaker.record(
            pass,
            &Observation::Failure { description: String::new(), asked },
            None,
            at(0),
            &settings(),
        );
    }
    assert_eq!(refused(&breaker, at(0), true).unwrap().left, secs(1000));
}

#[test]
fn while_a_run_waits_one_probes_early_and_often() {
    let mut breaker = opened(at(0));
    let mut probes = Vec::new();
    for millis in (0..30_000).step_by(50) {
        let now = Moment(millis);
        if let Admitted::Yes(pass) = breaker.admit(&waiting(1), now, |_, _| true) {
            probes.push(millis);
            breaker.record(pass, &failure(), None, now, &settings());
        }
    }
    let first: Vec<i64> = (1..=9).map(|second| second * 1000).collect();
    let then = [10_150, 11_450, 12_900, 14_550, 16_400, 18_450, 20_800, 23_400, 26_350, 29_650];
    assert_eq!(probes, [&first[..], &then].concat());
    // A run that does not wait has noticed nothing of it.
    let refusal = refused(&breaker, at(29), true).unwrap();
    assert_eq!((refusal.left, refusal.failures), (secs(1), 22));
    let probe = pass(&mut breaker, at(30));
    breaker.record(probe, &failure(), None, at(30), &settings());
    assert_eq!(refused(&breaker, at(30), true).unwrap().left, secs(60));
    let left = breaker.opening_refusal(true, at(30), |_, _| true).unwrap().left;
    assert_eq!(left, Duration::from_millis(3750));
}

#[test]
fn early_probes_come_at_least_once_a_cooldown() {
    let mut breaker = opened(at(0));
    let probe = pass(&mut breaker, at(3000));
    breaker.record(probe, &failure(), None, at(3000), &settings());
    assert_eq!(breaker.opening_refusal(true, at(3000), |_, _| true).unwrap().left, secs(30));
}

#[test]
fn no_early_probe_comes_before_the_server_wants_it() {
    let mut breaker = Breaker::default();
    let asking = |seconds| Observation::Failure { description: String::new(), asked: Some(secs(seconds)) };
    for _ in 0..3 {
        let pass = pass(&mut breaker, at(0));
        breaker.record(pass, &asking(7), None, at(0), &settings());
    }
    let left = |breaker: &Breaker, now| breaker.opening_refusal(true, now, |_, _| true).map(|no| no.left);
    assert_eq!(left(&breaker, at(0)), Some(secs(7)));
    let Admitted::Yes(probe) = breaker.admit(&waiting(1), at(7), |_, _| true) else { panic!() };
    breaker.record(probe, &asking(100), None, at(7), &settings());
    assert_eq!(left(&breaker, at(7)), Some(secs(100)));
    assert_eq!(refused(&breaker, at(7), true).unwrap().left, secs(100));
    // A breaker that a person holds open stays open.
    breaker.trip(at(200), secs(60));
    assert_eq!(left(&breaker, at(230)), Some(secs(30)));
}

#[test]
fn an_early_probe_that_never_reports_leaves_the_cooldown_as_it_was() {
    let mut breaker = opened(at(0));
    let Admitted::Yes(pass) = breaker.admit(&waiting(1), at(2), |_, _| true) else { panic!() };
    assert_eq!(refused(&breaker, at(3), true).unwrap().prober(), Some(1));
    assert_eq!(refused(&breaker, at(3), false).unwrap().left, secs(27));
    assert_eq!(breaker.opening_refusal(true, at(3), |_, _| false), None);
    breaker.record(pass, &Observation::Nothing, None, at(3), &settings());
    assert_eq!(refused(&breaker, at(3), true).unwrap().left, secs(27));
    assert_eq!(breaker.opening_refusal(true, at(3), |_, _| false), None);
}

#[test]
fn runs_that_waited_need_a_permit_and_others_do_not() {
    let mut breaker = opened(at(0));
    let Admitted::Yes(probe) = breaker.admit(&waiting(1), at(1), |_, _| true) else { panic!() };
    breaker.record(probe, &Observation::Success, None, at(2), &settings());
    let lives = |_: Claim, _: u32| true;
    let Admitted::Yes(first) = breaker.admit(&waiting(2), at(2), lives) else { panic!() };
    assert!(first.permit().is_some());
    let Answer::Refused(refusal) = breaker.answer(&waiting(3), at(2), lives) else { panic!() };
    assert_eq!((refusal.awaits, refusal.age), (Awaits::Permit, secs(0)));
    assert_eq!(pass(&mut breaker, at(2)).role, Role::Ordinary);
    assert!(!breaker.holds_already(first, &Observation::Success, None, at(2), &settings()));
    breaker.record(first, &Observation::Success, None, at(3), &settings());
    for (pid, now) in [(3, at(3)), (4, at(4))] {
        assert!(matches!(breaker.admit(&waiting(pid), now, lives), Admitted::Yes(_)));
    }
    assert!(matches!(breaker.admit(&waiting(5), at(5), lives), Admitted::No(_)));
    // A holder that dies gives its permit back.
    assert!(matches!(breaker.admit(&waiting(5), at(5), |_, pid| pid != 3), Admitted::Yes(_)));
    // Nobody has waited for long.
    let Admitted::Yes(later) = breaker.admit(&waiting(6), at(100), lives) else { panic!() };
    assert_eq!(later.role, Role::Ordinary);
}

#[test]
fn a_record_that_was_removed_lets_the_waiting_runs_back_slowly_too() {
    let mut breaker = Breaker::default();
    let back = Applicant { returns: true, ..waiting(1) };
    let lives = |_: Claim, _: u32| true;
    assert_eq!(breaker.answer(&back, at(0), lives), Answer::Claim);
    assert_eq!(breaker.answer(&waiting(1), at(0), lives), Answer::Ordinary);
    assert!(matches!(
        breaker.admit(&back, at(0), lives),
        Admitted::Yes(Pass { role: Role::Permitted(_), .. })
    ));
    assert!(matches!(breaker.admit(&back, at(0), lives), Admitted::No(_)));
}
