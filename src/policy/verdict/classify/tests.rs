use std::sync::Arc;

use std::time::Duration;

use proptest::prelude::*;

use super::super::evidence::{Evidence, Need, Scanner};
use super::*;
use crate::policy::outcome::{Alive, Cut, Limit, NotStarted, Survivor};
use crate::policy::stream::Streams;

fn attempt(outcome: Outcome) -> Attempt {
    Attempt::ended(outcome)
}

fn condition(text: &str) -> Condition {
    Condition::parse(text).unwrap()
}

fn timed_out(left: Vec<Survivor>) -> Outcome {
    let limit = Limit::Timeout(Duration::from_secs(1));
    Outcome::TimedOut(Cut { limit, ended_by: Signal::TERM, left })
}

#[test]
fn without_conditions_the_defaults_decide() {
    let rules = Rules::default();
    for (outcome, verdict) in [
        (Outcome::Exited(0), Verdict::Success(Rule::ExitZero)),
        (Outcome::Exited(1), Verdict::Retryable(Rule::AnyFailure)),
        (Outcome::Exited(126), Verdict::Fatal(Rule::CannotRun)),
        (Outcome::Exited(127), Verdict::Fatal(Rule::CannotRun)),
        (Outcome::NotStarted(NotStarted::NotFound), Verdict::Fatal(Rule::CannotRun)),
        (Outcome::Signaled(Signal::INT), Verdict::Fatal(Rule::Stopped(Signal::INT))),
        (Outcome::Signaled(Signal::QUIT), Verdict::Fatal(Rule::Stopped(Signal::QUIT))),
        (Outcome::Signaled(Signal::PIPE), Verdict::Fatal(Rule::Stopped(Signal::PIPE))),
        (Outcome::Signaled(Signal::TERM), Verdict::Retryable(Rule::AnyFailure)),
        (timed_out(vec![]), Verdict::Retryable(Rule::AnyFailure)),
    ] {
        assert_eq!(rules.classify(&attempt(outcome.clone())), verdict, "{outcome:?}");
    }
}

#[test]
fn a_start_that_may_work_later_is_retried() {
    use nix::errno::Errno;
    let passing = attempt(Outcome::NotStarted(NotStarted::CannotRun(Errno::ETXTBSY)));
    let fatal = attempt(Outcome::NotStarted(NotStarted::CannotRun(Errno::E2BIG)));
    let no_process = |errno| attempt(Outcome::NotStarted(NotStarted::NoProcess(errno)));
    let plain = Rules::default();
    assert_eq!(plain.classify(&passing), Verdict::Retryable(Rule::StartMayPass));
    assert_eq!(plain.classify(&no_process(Errno::EAGAIN)), Verdict::Retryable(Rule::StartMayPass));
    assert_eq!(plain.classify(&fatal), Verdict::Fatal(Rule::CannotRun));
    assert_eq!(plain.classify(&no_process(Errno::EPERM)), Verdict::Fatal(Rule::CannotRun));
    let careful = Rules { not_idempotent: true, ..Rules::default() };
    assert_eq!(careful.classify(&passing), Verdict::Retryable(Rule::StartMayPass));
    for (text, retried, ended) in [
        ("126", true, true),
        ("transient", true, true),
        ("failure", true, true),
        ("any", true, true),
        ("1,failure", true, true),
        ("7", false, false),
        ("timeout,signal", false, false),
    ] {
        let retry_on = Rules { retry_on: vec![condition(text)], ..Rules::default() };
        let verdict = retry_on.classify(&passing);
        assert_eq!(matches!(verdict, Verdict::Retryable(_)), retried, "-r {text}: {verdict:?}");
        let fatal_on = Rules { fatal_on: vec![condition(text)], ..Rules::default() };
        let verdict = fatal_on.classify(&passing);
        assert_eq!(matches!(verdict, Verdict::Fatal(_)), ended, "-x {text}: {verdict:?}");
    }
    // A command that never ran is not a success, even if the rules wait for a failure.
    for text in ["failure", "any"] {
        let until = Rules { until: Some(condition(text)), ..Rules::default() };
        assert_eq!(until.classify(&passing), Verdict::Retryable(Rule::StartMayPass));
        let success_on = Rules { success_on: vec![condition(text)], ..Rules::default() };
        assert_eq!(success_on.classify(&passing), Verdict::Retryable(Rule::StartMayPass));
    }
}

#[test]
fn a_status_that_may_be_a_wrapper_s_own_is_not_fatal_by_itself() {
    let rows = |names: &[&str]| Rules {
        profiles: names.iter().map(|name| Profile::named(name).unwrap()).collect(),
        ..Rules::default()
    };
    let failed = attempt(Outcome::Exited(1));
    let alone = rows(&["rsync"]);
    assert!(matches!(alone.classify(&failed), Verdict::Fatal(Rule::Profile { .. })));
    for wrapper in ["sudo", "doas"] {
        let wrapped = rows(&["rsync", wrapper]);
        assert_eq!(wrapped.classify(&failed), Verdict::Retryable(Rule::AnyFailure), "{wrapper}");
        assert_eq!(wrapped.judge(failed.clone()).cause, None, "{wrapper}");
    }
    // sudo itself uses only status 1, so any other status is the command's.
    let wrapped = rows(&["curl", "sudo"]);
    assert!(matches!(wrapped.classify(&attempt(Outcome::Exited(3))), Verdict::Fatal(_)));
    assert_eq!(wrapped.judge(attempt(Outcome::Exited(7))).cause, Some(Cause::Words("could not connect")));
}

#[test]
fn the_order_is_fatal_success_until_retry_then_the_rest() {
    let all = Rules {
        fatal_on: vec![condition("1")],
        success_on: vec![condition("1,2")],
        until: Some(condition("1-3")),
        retry_on: vec![condition("1-4")],
        ..Rules::default()
    };
    let verdict = |status| all.classify(&attempt(Outcome::Exited(status)));
    assert_eq!(verdict(1), Verdict::Fatal(Rule::FatalOn("1".into())));
    assert_eq!(verdict(2), Verdict::Success(Rule::SuccessOn("1,2".into())));
    assert_eq!(verdict(3), Verdict::Success(Rule::Until("1-3".into())));
    assert_eq!(verdict(4), Verdict::Retryable(Rule::RetryOn("1-4".into())));
    assert_eq!(verdict(5), Verdict::Fatal(Rule::NotInRetryOn));
    assert_eq!(verdict(0), Verdict::Retryable(Rule::NotYet));
}

#[test]
fn what_may_have_had_its_effect_is_not_retried_where_that_is_not_wanted() {
    let profiles = vec![Profile::named("curl").unwrap()];
    let rules = Rules { profiles, not_idempotent: true, ..Rules::default() };
    let retried = |rules: &Rules, attempt: &Attempt| matches!(rules.classify(attempt), Verdict::Retryable(_));
    let answered = |status, asked: Option<u64>| {
        let asked =
            asked.map(|s| super::super::http::Asked { wait: Duration::from_secs(s), field: "Retry-After" });
        Attempt { evidence: Evidence::of_status(status), asked, ..attempt(Outcome::Exited(22)) }
    };
    for (attempt, expected) in [
        (attempt(Outcome::Exited(7)), true),
        (attempt(Outcome::Exited(6)), true),
        (attempt(Outcome::Exited(28)), false),
        (attempt(Outcome::Exited(56)), false),
        (attempt(Outcome::Exited(1)), false),
        (attempt(Outcome::Signaled(Signal::KILL)), false),
        (attempt(timed_out(vec![])), false),
        (answered(429, None), true),
        (answered(503, Some(3)), true),
        (answered(503, None), false),
        (answered(502, Some(3)), false),
        (answered(500, None), false),
        // A status came before the failure, for example from a redirect. curl therefore had sent a
        // request.
        (Attempt { evidence: Evidence::of_status(302), ..attempt(Outcome::Exited(7)) }, false),
    ] {
        assert_eq!(retried(&rules, &attempt), expected, "{attempt:?}");
        let by_hand = Rules { retry_on: vec![condition("failure")], ..rules.clone() };
        assert!(retried(&by_hand, &attempt));
        let transient = Rules { retry_on: vec![condition("transient")], ..rules.clone() };
        assert_eq!(retried(&transient, &attempt), expected);
    }
    let until = Rules { until: Some(condition("9")), ..rules };
    assert_eq!(until.classify(&attempt(Outcome::Exited(0))), Verdict::Fatal(Rule::MaybeSent));
}

#[test]
fn a_check_says_done_or_cannot_tell_whatever_the_conditions() {
    let all = || vec![condition("any")];
    for rules in [
        Rules::default(),
        Rules { fatal_on: all(), success_on: all(), not_idempotent: true, ..Rules::default() },
        Rules { retry_on: vec![condition("9")], until: Some(condition("9")), ..Rules::default() },
    ] {
        let verdict = |outcome| rules.classify(&Attempt { by: By::Check, ..attempt(outcome) });
        assert_eq!(verdict(Outcome::Exited(0)), Verdict::Success(Rule::Done));
        assert_eq!(verdict(Outcome::Exited(1)), Verdict::Retryable(Rule::NotDone));
        for outcome in [
            Outcome::Exited(2),
            Outcome::Exited(127),
            Outcome::Signaled(Signal::QUIT),
            Outcome::NotStarted(NotStarted::NotFound),
            timed_out(vec![]),
        ] {
            assert_eq!(verdict(outcome), Verdict::Retryable(Rule::CannotTell));
        }
        let left = vec![Survivor { pid: Some(1), why: Alive::Unkillable }];
        assert_eq!(verdict(timed_out(left)), Verdict::Fatal(Rule::LeftAlive));
    }
}

#[test]
fn a_profile_stands_behind_the_conditions_and_before_the_defaults() {
    let profiles = vec![Profile::named("curl").unwrap()];
    let rules = Rules { profiles, ..Rules::default() };
    assert!(matches!(rules.classify(&attempt(Outcome::Exited(7))), Verdict::Retryable(Rule::Profile { .. })));
    assert!(matches!(rules.classify(&attempt(Outcome::Exited(3))), Verdict::Fatal(Rule::Profile { .. })));
    assert_eq!(rules.classify(&attempt(Outcome::Exited(22))), Verdict::Retryable(Rule::AnyFailure));
    let rules = Rules { retry_on: vec![condition("transient,3")], ..rules };
    assert!(matches!(rules.classify(&attempt(Outcome::Exited(7))), Verdict::Retryable(Rule::RetryOn(_))));
    assert!(matches!(rules.classify(&attempt(Outcome::Exited(3))), Verdict::Retryable(Rule::RetryOn(_))));
    assert_eq!(rules.classify(&attempt(Outcome::Exited(4))), Verdict::Fatal(Rule::NotInRetryOn));
}

#[test]
fn an_http_status_comes_before_lines_and_those_before_the_exit_status() {
    let rules = |named| Rules {
        profiles: vec![Profile::named("curl").unwrap()],
        named: named == "named",
        headers: named == "headers",
        ..Rules::default()
    };
    let with =
        |exit, status| Attempt { evidence: Evidence::of_status(status), ..attempt(Outcome::Exited(exit)) };
    let http =
        |status, row: Option<&str>| Rule::Http { status, row: row.and_then(Profile::named), pattern: None };
    let auto = rules("auto");
    assert_eq!(auto.classify(&with(22, 503)), Verdict::Retryable(http(503, Some("curl"))));
    assert_eq!(auto.classify(&with(22, 404)), Verdict::Fatal(http(404, Some("curl"))));
    assert!(matches!(auto.classify(&with(7, 404)), Verdict::Retryable(Rule::Profile { .. })));
    assert_eq!(auto.classify(&with(22, 302)), Verdict::Retryable(Rule::AnyFailure));
    assert_eq!(auto.classify(&with(0, 404)), Verdict::Success(Rule::ExitZero), "auto leaves success alone");
    assert_eq!(rules("named").classify(&with(0, 404)), Verdict::Fatal(http(404, Some("curl"))));
    assert_eq!(rules("named").classify(&with(0, 503)), Verdict::Retryable(http(503, Some("curl"))));
    assert_eq!(rules("named").classify(&with(0, 200)), Verdict::Success(Rule::ExitZero));
    let headers = Rules { profiles: vec![], ..rules("headers") };
    assert_eq!(headers.classify(&with(1, 503)), Verdict::Retryable(http(503, None)));
    let none = Rules { profiles: vec![], ..rules("auto") };
    assert_eq!(none.classify(&with(1, 404)), Verdict::Retryable(Rule::AnyFailure), "no profile reads it");
    let until = Rules { until: Some(condition("stdout~x")), ..rules("auto") };
    assert_eq!(until.classify(&with(22, 404)), Verdict::Fatal(http(404, Some("curl"))));
    assert_eq!(until.classify(&with(0, 200)), Verdict::Retryable(Rule::NotYet));
    let asked = Rules { retry_on: vec![condition("http:404")], ..rules("auto") };
    assert_eq!(asked.classify(&with(22, 404)), Verdict::Retryable(Rule::RetryOn("http:404".into())));
}

#[test]
fn what_has_to_be_watched_follows_from_the_rules() {
    let curl = Profile::named("curl").unwrap();
    let statuses_alone = Profile::named("pg_isready").unwrap();
    let streams = |rules: Rules, stdout| {
        let wanted = rules.wanted(Reach { stdout, terminal: true, ..Reach::default() });
        (wanted.needs.stdout != Need::None, wanted.needs.stderr != Need::None)
    };
    let retry_on = |text| vec![condition(text)];
    assert_eq!(streams(Rules::default(), false), (false, false));
    assert_eq!(streams(Rules { profiles: vec![statuses_alone], ..Rules::default() }, true), (false, false));
    assert_eq!(streams(Rules { profiles: vec![curl], ..Rules::default() }, false), (false, true));
    assert_eq!(streams(Rules { profiles: vec![curl], ..Rules::default() }, true), (true, true));
    for (text, expected) in [
        ("stdout~x", (true, false)),
        ("stderr~x", (false, true)),
        ("output~x", (true, true)),
        ("http:5xx", (true, true)),
        ("7", (false, false)),
    ] {
        assert_eq!(
            streams(Rules { retry_on: retry_on(text), ..Rules::default() }, false),
            expected,
            "{text}"
        );
    }
    let file = Rules { retry_on: retry_on("http:5xx"), headers: true, ..Rules::default() };
    assert_eq!(streams(file, false), (false, false), "the file tells");
}

#[test]
fn a_pattern_holds_for_the_lines_of_its_streams() {
    let rules = Rules {
        fatal_on: vec![condition("stderr~^fatal:")],
        success_on: vec![condition("output~^done$")],
        ..Rules::default()
    };
    let wanted = Arc::new(rules.wanted(Reach::default()));
    let verdict = |parts: &[(Streams, &str)]| {
        let mut scanner = Scanner::new(Arc::clone(&wanted));
        for (carries, text) in parts {
            scanner.push(*carries, text.as_bytes());
        }
        let merged = parts.iter().any(|(carries, _)| *carries == Streams::Both);
        let evidence = scanner.finish(merged, b"");
        rules.classify(&Attempt { evidence, ..attempt(Outcome::Exited(1)) })
    };
    let fatal = Verdict::Fatal(Rule::FatalOn("stderr~^fatal:".into()));
    let success = Verdict::Success(Rule::SuccessOn("output~^done$".into()));
    let neither = Verdict::Retryable(Rule::AnyFailure);
    assert_eq!(verdict(&[(Streams::Stderr, "a\nfat"), (Streams::Stderr, "al: b\n")]), fatal);
    assert_eq!(verdict(&[(Streams::Stdout, "fatal: b\n")]), neither);
    assert_eq!(verdict(&[(Streams::Both, "fatal: b")]), fatal);
    assert_eq!(verdict(&[(Streams::Stdout, "\ndone")]), success);
    assert_eq!(verdict(&[(Streams::Stderr, "done\r\nmore")]), success);
    assert_eq!(verdict(&[(Streams::Stdout, "do"), (Streams::Stderr, "ne")]), neither);
    assert_eq!(verdict(&[]), neither);
}

#[test]
fn a_lost_reader_makes_every_failure_fatal_but_leaves_success_alone() {
    let rules = Rules { profiles: vec![Profile::named("curl").unwrap()], ..Rules::default() };
    let gone = |outcome| Attempt { reader_gone: true, ..attempt(outcome) };
    assert_eq!(
        rules.classify(&gone(Outcome::Exited(3))),
        Verdict::Fatal(Rule::Profile {
            row: Profile::named("curl").unwrap(),
            status: Profile::named("curl").unwrap().status(3).unwrap()
        })
    );
    assert_eq!(rules.classify(&gone(Outcome::Exited(7))), Verdict::Fatal(Rule::ReaderGone));
    assert_eq!(rules.classify(&gone(Outcome::Signaled(Signal::TERM))), Verdict::Fatal(Rule::ReaderGone));
    assert_eq!(rules.classify(&gone(Outcome::Exited(0))), Verdict::Success(Rule::ExitZero));
    let rules = Rules { retry_on: vec![condition("failure")], ..rules };
    assert!(matches!(rules.classify(&gone(Outcome::Exited(7))), Verdict::Retryable(_)));
}

#[test]
fn what_still_lives_forbids_the_next_attempt_whatever_the_user_said() {
    let rules = Rules { retry_on: vec![condition("any")], ..Rules::default() };
    let left = vec![Survivor { pid: Some(7), why: Alive::Foreign }];
    assert_eq!(rules.classify(&attempt(timed_out(left))), Verdict::Fatal(Rule::LeftAlive));
}

proptest! {
    /// Each outcome has a verdict. Only exit 0, or a rule of the user, makes an attempt a success.
    #[test]
    fn only_exit_zero_succeeds_by_default(status: u8, signal in 1..=64i32, reader_gone: bool) {
        for outcome in [Outcome::Exited(status), Outcome::Signaled(Signal::reported(signal))] {
            let zero = outcome == Outcome::Exited(0);
            let verdict = Rules::default().classify(&Attempt { reader_gone, ..attempt(outcome) });
            prop_assert_eq!(matches!(verdict, Verdict::Success(_)), zero);
        }
    }
}
