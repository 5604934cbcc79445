//! The wording of every event, as a reader sees it.

use std::num::NonZeroU32;

use super::*;
use crate::clock::local_ago;
use crate::policy::admission::breaker::{Awaits, Cause, Known, Refusal};
use crate::policy::delay::backoff::Growth;
use crate::policy::delay::jitter::Jitter;
use crate::policy::delay::schedule::Schedule;
use crate::policy::finish::{Exhausted, Finish, Wait};
use crate::policy::outcome::{Cut, Limit};
use crate::policy::outer::{Deadline, Outer};
use crate::policy::signal::Signal;
use crate::policy::verdict::classify::Rules;
use crate::policy::verdict::condition::Condition;
use crate::policy::verdict::profile::Profile;
use crate::report::event::RunEnd;
use crate::report::subject::{Names, Written};
use crate::state::file::place::Place;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn wording() -> Wording {
    let subject = Subject {
        label: "curl".into(),
        max_attempts: NonZeroU32::new(5),
        rules: Rules { profiles: vec![Profile::named("curl").unwrap()], ..Rules::default() },
        ..Subject::default()
    };
    Wording::new(subject, false)
}

/// The usual wording, after a change of its subject.
fn with(change: impl FnOnce(&mut Subject)) -> Wording {
    let mut wording = wording();
    change(&mut wording.subject);
    wording
}

/// The line for an event, with the label before it.
fn line(wording: &Wording, event: &Event<'_>) -> String {
    format!("retry: {}: {}", wording.label(), wording.event(event).unwrap().1)
}

fn until(condition: &str) -> Wording {
    let until = Some(Condition::parse(condition).unwrap());
    with(|subject| subject.rules.until = until)
}

/// The progress of a run after attempts that took this long, in seconds. An attempt of 30 s is
/// healthy.
fn progress(ran: &[u64]) -> Progress {
    let schedule = schedule();
    let mut progress = schedule.start();
    for ran in ran {
        schedule.count(&mut progress, secs(*ran));
    }
    progress
}

fn schedule() -> Schedule {
    Schedule {
        max_attempts: NonZeroU32::new(5),
        successes: NonZeroU32::MIN,
        deadline: None,
        healthy_after: Some(secs(30)),
        growth: Growth::Constant { delay: secs(1) },
        jitter: Jitter::None,
        cap: secs(60),
        floor: Duration::ZERO,
        splay: Duration::ZERO,
        max_retry_after: secs(300),
    }
}

fn exited(status: u8) -> Attempt {
    Attempt::ended(Outcome::Exited(status))
}

fn cut(limit: Limit) -> Attempt {
    Attempt::ended(Outcome::TimedOut(Cut { limit, ended_by: Signal::TERM, left: Vec::new() }))
}

/// The line for an attempt that is repeated.
fn retry(wording: &Wording, progress: &Progress, attempt: &Attempt) -> String {
    let judged = wording.subject.rules.judge(attempt.clone());
    let event = Event::Attempt { progress, judged: &judged, next: Some(Duration::from_millis(800)) };
    line(wording, &event)
}

/// The line for the end of a run with these attempts. The line may mention the last two attempts.
fn ends(wording: &Wording, attempts: &[Attempt], finish: impl FnOnce(&Judged) -> Finish) -> String {
    let judge = |attempt: &Attempt| wording.subject.rules.judge(attempt.clone());
    let judged: Vec<Judged> = attempts.iter().map(judge).collect();
    let (last, before) = (judged.last().unwrap(), judged.len().checked_sub(2).map(|at| &judged[at]));
    let (progress, finish) = (progress(&vec![0; attempts.len()]), finish(last));
    let elapsed = Duration::from_millis(12_400);
    let event = Event::Finish(RunEnd {
        finish: &finish,
        progress: &progress,
        last: Some(last),
        before_last: before,
        elapsed,
        waited: Duration::ZERO,
    });
    line(wording, &event)
}

fn gave_up(why: Exhausted) -> impl FnOnce(&Judged) -> Finish {
    |last| last.gave_up(why)
}

#[test]
fn an_attempt_says_how_it_ended_and_why() {
    let verbose = Wording { verbose: true, ..wording() };
    let last = with(|subject| subject.max_attempts = None);
    for (wording, attempt, expected) in [
        (&wording(), exited(7), "attempt 1 of 5 exited 7 (could not connect)"),
        (&verbose, exited(7), "attempt 1 of 5 exited 7 (could not connect; profile curl: 7 is retryable)"),
        (&last, exited(99), "attempt 1 exited 99"),
        (&wording(), Attempt::ended(Outcome::Signaled(Signal::TERM)), "attempt 1 of 5 killed by TERM"),
    ] {
        let line = retry(wording, &progress(&[0]), &attempt);
        assert_eq!(line, format!("retry: curl: {expected}; next in 0.8s"));
    }
}

#[test]
fn an_unmet_condition_is_named() {
    let unmet = "(--until stdout~^done did not hold)";
    let done = until("stdout~^done");
    let first = progress(&[0]);
    assert_eq!(
        retry(&done, &first, &exited(0)),
        format!("retry: curl: attempt 1 of 5 exited 0 {unmet}; next in 0.8s")
    );
    assert_eq!(
        ends(&done, &[exited(0)], gave_up(Exhausted::Attempts)),
        format!("retry: curl: gave up after 1 attempt in 12.4s: exited 0 {unmet}")
    );
    assert_eq!(
        ends(&done, &[exited(0)], gave_up(Exhausted::DelayPastDeadline(Deadline::Own(secs(60))))),
        format!(
            "retry: curl: gave up after 1 attempt in 12.4s: the next delay does not fit into the deadline of 60s; \
             exited 0 {unmet}"
        )
    );
    // A failure with a reason needs no second reason.
    assert_eq!(
        retry(&done, &first, &exited(7)),
        "retry: curl: attempt 1 of 5 exited 7 (could not connect); next in 0.8s"
    );
    assert_eq!(
        retry(&until("3"), &first, &exited(99)),
        "retry: curl: attempt 1 of 5 exited 99 (--until 3 did not hold); next in 0.8s"
    );
    let verbose = Wording { verbose: true, ..until("3") };
    assert_eq!(
        retry(&verbose, &first, &exited(0)),
        "retry: curl: attempt 1 of 5 exited 0 (--until 3 did not hold); next in 0.8s"
    );
    assert_eq!(
        retry(&verbose, &first, &exited(99)),
        "retry: curl: attempt 1 of 5 exited 99 (--until 3 did not hold; any failure is retryable); next in 0.8s"
    );
    // The user writes the condition, so it may contain anything.
    let long = until(&format!("stdout~\x1b{}", "x".repeat(100)));
    assert_eq!(
        retry(&long, &first, &exited(0)),
        format!(
            "retry: curl: attempt 1 of 5 exited 0 (--until stdout~\\u{{1b}}{}... did not hold); next in 0.8s",
            "x".repeat(72)
        )
    );
}

#[test]
fn a_cut_does_not_hide_the_failure_before_it() {
    let deadline = secs(10);
    let cut = cut(Limit::Deadline(deadline));
    let why = || gave_up(Exhausted::Deadline(Deadline::Own(deadline)));
    assert_eq!(
        ends(&wording(), &[exited(7), cut.clone()], why()),
        "retry: curl: gave up after 2 attempts in 12.4s: the last was cut by the deadline of 10s, ended by TERM; \
         previous attempt: exited 7 (could not connect)"
    );
    assert_eq!(
        ends(&wording(), std::slice::from_ref(&cut), why()),
        "retry: curl: gave up after 1 attempt in 12.4s: the last was cut by the deadline of 10s, ended by TERM"
    );
    let verbose = Wording { verbose: true, ..until("stdout~x") };
    assert!(
        ends(&verbose, &[exited(0), cut.clone()], why())
            .ends_with("; previous attempt: exited 0 (--until stdout~x did not hold)")
    );
    // A signal has the same effect.
    let killed = Attempt::ended(Outcome::Signaled(Signal::INT));
    let interrupted = |last: &Judged| Finish::InterruptedAttempt {
        signal: Signal::INT,
        outcome: last.attempt.outcome.clone(),
        rule: last.rule().clone(),
    };
    assert_eq!(
        ends(&wording(), &[exited(7), killed], interrupted),
        "retry: curl: interrupted by INT during attempt 2 of 5; killed by INT; \
         previous attempt: exited 7 (could not connect)"
    );
}

#[test]
fn an_interrupted_wait_says_what_it_waited_after() {
    let finish = |wait: Wait| |_: &Judged| Finish::InterruptedWait { signal: Signal::TERM, wait };
    assert_eq!(
        ends(&wording(), &[exited(7)], finish(Wait::Delay)),
        "retry: curl: interrupted by TERM during the wait after attempt 1 of 5; exited 7 (could not connect)"
    );
    assert_eq!(
        ends(&wording(), &[exited(7)], finish(Wait::Nothing)),
        "retry: curl: interrupted by TERM after attempt 1 of 5; exited 7 (could not connect)"
    );
}

/// The line for a run that a signal ends before its first attempt.
fn never_began(wording: &Wording, wait: Wait) -> String {
    let finish = Finish::InterruptedWait { signal: Signal::TERM, wait };
    let (progress, elapsed) = (progress(&[]), secs(1));
    let event = Event::Finish(RunEnd {
        finish: &finish,
        progress: &progress,
        last: None,
        before_last: None,
        elapsed,
        waited: Duration::ZERO,
    });
    line(wording, &event)
}

#[test]
fn an_interrupted_wait_says_what_it_waited_for() {
    let place = Place { name: "payments".into(), path: "/p".into(), directory: None, server: None };
    let shared = Names { breaker: Some(place), budget: None };
    let written = Written { splay: Some("5m".into()), ..Written::default() };
    let wording = with(|subject| (subject.shared, subject.written) = (shared, written));
    let refusal = Refusal {
        age: secs(60),
        left: secs(23),
        cause: Cause::Failures,
        failures: 5,
        last: Some("exited 7".into()),
        awaits: Awaits::Probe,
        known: Known::Now,
    };
    let state = format!(
        "; the breaker is open since {} (5 failures, last: exited 7), next probe in 23s",
        local_ago(secs(60))
    );
    for (wait, expected) in [
        (Wait::Nothing, " before the first attempt".to_owned()),
        (Wait::Splay, " during the wait before the first attempt (--splay 5m)".to_owned()),
        (
            Wait::Breaker(refusal.clone()),
            format!(" during the wait for breaker payments before the first attempt{state}"),
        ),
    ] {
        assert_eq!(never_began(&wording, wait), format!("retry: curl: interrupted by TERM{expected}"));
    }
    let finish = |_: &Judged| Finish::InterruptedWait { signal: Signal::TERM, wait: Wait::Breaker(refusal) };
    assert_eq!(
        ends(&wording, &[exited(7)], finish),
        format!(
            "retry: curl: interrupted by TERM during the wait for breaker payments after attempt 1 of 5; exited 7 \
             (could not connect){state}"
        )
    );
}

#[test]
fn a_command_that_is_not_found_is_named_as_it_was_typed() {
    let none = Attempt::ended(Outcome::NotStarted(NotStarted::NotFound));
    let fatal = |last: &Judged| Finish::NotRetried {
        outcome: last.attempt.outcome.clone(),
        rule: last.rule().clone(),
    };
    let typed = with(|subject| subject.typed = Some("/opt/x/curl".into()));
    for (wording, what) in [(&typed, "/opt/x/curl: command not found"), (&wording(), "command not found")] {
        assert_eq!(
            ends(wording, std::slice::from_ref(&none), fatal),
            format!("retry: curl: not retried: {what} (-r 127 retries it)")
        );
        assert_eq!(
            retry(wording, &progress(&[0]), &none),
            format!("retry: curl: attempt 1 of 5: {what}; next in 0.8s")
        );
    }
}

#[test]
fn a_command_that_cannot_run_is_named_as_it_was_typed() {
    let typed = with(|subject| subject.typed = Some("x/job".into()));
    for (failure, what) in [
        (NotStarted::NoInterpreter, "x/job: could not run: its interpreter was not found"),
        (NotStarted::Directory, "x/job: could not run: it is a directory"),
    ] {
        let failed = Attempt::ended(Outcome::NotStarted(failure));
        assert_eq!(
            retry(&typed, &progress(&[0]), &failed),
            format!("retry: curl: attempt 1 of 5: {what}; next in 0.8s")
        );
    }
}

#[test]
fn a_healthy_attempt_says_when_it_counts_anew() {
    let written = Written { healthy_after: Some("0.5m".into()), ..Written::default() };
    let wording = with(|subject| subject.written = written);
    let healthy = Attempt { ran: secs(31), ..exited(99) };
    assert_eq!(
        retry(&wording, &progress(&[1, 1, 31]), &healthy),
        "retry: curl: attempt 3 of 5 exited 99; it ran 31s (--healthy-after 0.5m), so it now counts as attempt 1 of 5; \
         next in 0.8s"
    );
    // A healthy first attempt is attempt 1 in both counts.
    assert_eq!(
        retry(&wording, &progress(&[31]), &healthy),
        "retry: curl: attempt 1 of 5 exited 99; next in 0.8s"
    );
}

#[test]
fn a_splay_says_when_the_first_attempt_comes() {
    let written = Written { splay: Some("5m".into()), ..Written::default() };
    let wording = with(|subject| subject.written = written);
    let (volume, line) = wording.event(&Event::Splay { wait: secs(252) }).unwrap();
    assert_eq!((volume, &*line), (Volume::Verbose, "first attempt in 4m 12s (--splay 5m)"));
}

#[test]
fn durations_are_echoed_as_they_were_written() {
    let written = Written {
        deadline: Some("90m".into()),
        timeout: Some("0.5h".into()),
        max_retry_after: Some("120s".into()),
        ..Written::default()
    };
    let (wording, hours) = (with(|subject| subject.written = written), secs(5400));
    let ends = |attempt, why| ends(&wording, &[attempt], gave_up(why));
    let timed_out = ends(cut(Limit::Timeout(secs(1800))), Exhausted::Attempts);
    assert!(timed_out.ends_with(": timed out after 0.5h, ended by TERM"), "{timed_out}");
    for (limit, expected) in [
        (Limit::Timeout(secs(1800)), "timed out after 0.5h, ended by TERM"),
        (Limit::Deadline(hours), "was cut by the deadline of 90m, ended by TERM"),
    ] {
        assert_eq!(wording.recorded(&cut(limit)), expected);
    }
    let own = Deadline::Own(hours);
    let asked = crate::policy::verdict::http::Asked { wait: secs(9000), field: "Retry-After" };
    for (why, expected) in [
        (Exhausted::Deadline(own), "the deadline of 90m has passed"),
        (Exhausted::DelayPastDeadline(own), "the next delay does not fit into the deadline of 90m"),
        (
            Exhausted::AskedPastDeadline { asked, deadline: own },
            "the server asks to wait 2h 30m (Retry-After), past the deadline of 90m",
        ),
        (
            Exhausted::AskedTooMuch { asked, most: secs(120) },
            "the server asks to wait 2h 30m (Retry-After), longer than --max-retry-after 120s",
        ),
    ] {
        let line = ends(exited(7), why);
        assert!(line.contains(&format!(": {expected}; exited 7")), "{line}");
    }
}

#[test]
fn a_row_of_successes_is_counted() {
    let wording = with(|subject| subject.successes = 3);
    let schedule = || Schedule { successes: NonZeroU32::new(3).unwrap(), ..schedule() };
    let mut progress = schedule().start();
    for _ in 0..2 {
        schedule().count(&mut progress, secs(1));
        let _ = schedule().count_in_row(&mut progress, true);
    }
    assert_eq!(
        retry(&wording, &progress, &exited(0)),
        "retry: curl: attempt 2 of 5 succeeded (2 of 3 in a row); next in 0.8s"
    );
    let other = with(|subject| {
        subject.successes = 3;
        subject.rules.success_on = vec![Condition::parse("3").unwrap()];
    });
    assert_eq!(
        retry(&other, &progress, &exited(3)),
        "retry: curl: attempt 2 of 5 succeeded: exited 3 (malformed URL; --success-on 3) (2 of 3 in a row); next in 0.8s"
    );
}

#[test]
fn a_retry_around_this_one_is_named() {
    let outer = Outer { attempt: 2, max: Some(5), product: Some(5) };
    let unlimited = Outer { max: None, product: None, ..outer };
    let once = Outer { product: Some(1), ..outer };
    for (outer, own, expected) in [
        (outer, Some(5), "attempt 2 of 5): up to 25 attempts in all"),
        (outer, None, "attempt 2 of 5): no limit on the attempts in all"),
        (unlimited, Some(5), "attempt 2): no limit on the attempts in all"),
        (once, Some(1), "attempt 2 of 5): up to 1 attempt in all"),
    ] {
        let line = line(&wording(), &Event::Nested { outer, in_all: outer.in_all(own) });
        let rest = "; -n 1 leaves them to the outer one";
        assert_eq!(line, format!("retry: curl: runs inside another retry ({expected}{rest}"));
    }
    let asked = crate::policy::verdict::http::Asked { wait: secs(3), field: "Retry-After" };
    let deadline = Deadline::Outer(Duration::from_millis(1200));
    for (why, expected) in [
        (Exhausted::Deadline(deadline), "the outer retry's deadline has passed"),
        (
            Exhausted::DelayPastDeadline(deadline),
            "the next delay does not fit into the outer retry's deadline (in 1.2s)",
        ),
        (
            Exhausted::AskedPastDeadline { asked, deadline },
            "the server asks to wait 3s (Retry-After), past the outer retry's deadline (in 1.2s)",
        ),
    ] {
        let line = ends(&wording(), &[exited(99)], gave_up(why));
        assert_eq!(line, format!("retry: curl: gave up after 1 attempt in 12.4s: {expected}; exited 99"));
    }
}

#[test]
fn what_forbids_a_retry_reads_as_a_sentence() {
    let fatal = |last: &Judged| Finish::NotRetried {
        outcome: last.attempt.outcome.clone(),
        rule: last.rule().clone(),
    };
    let once = with(|subject| subject.rules.not_idempotent = true);
    let interrupted = Attempt::ended(Outcome::Signaled(Signal::INT));
    let unread = Attempt { reader_gone: true, ..exited(7) };
    for (wording, attempt, expected) in [
        (&wording(), exited(3), "exited 3 (malformed URL is fatal: profile curl; -r failure retries it)"),
        (&wording(), interrupted, "killed by INT (treated as a request to stop; -r INT retries it)"),
        (&wording(), unread, "exited 7 (the reader of the command's output is gone; -r failure retries it)"),
        (
            &once,
            exited(28),
            "exited 28 (timeout; the attempt may have taken effect, so --not-idempotent forbids another; -r failure retries it)",
        ),
    ] {
        assert_eq!(ends(wording, &[attempt], fatal), format!("retry: curl: not retried: {expected}"));
    }
}
