use std::ffi::OsString;
use std::num::NonZeroU32;

use super::*;
use crate::cli::parse::{Parsed, parse};
use crate::policy::delay::backoff::Growth;
use crate::policy::delay::jitter::Jitter;
use crate::policy::signal::Signal;
use crate::policy::verdict::program::look_through;

fn resolved(line: &str) -> Result<Invocation, Error> {
    let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
    match parse(&words).unwrap() {
        Parsed::Run(args) => resolve(*args, Vec::new()),
        Parsed::Print(text) => panic!("{text}"),
    }
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn no_option_means_the_defaults() {
    let run = resolved("true").unwrap();
    let schedule = &run.policy.schedule;
    assert_eq!(schedule.max_attempts, NonZeroU32::new(5));
    assert_eq!((schedule.deadline, schedule.successes), (None, NonZeroU32::MIN));
    assert_eq!(schedule.growth, Growth::Exponential { delay: secs(1), factor: 2.0 });
    assert_eq!(schedule.jitter, Jitter::Full);
    assert_eq!((schedule.floor, schedule.cap, schedule.splay), (secs(0), secs(60), secs(0)));
    assert_eq!(schedule.max_retry_after, secs(300));
    assert_eq!(run.policy.limits, Limits { timeout: None, signal: Signal::TERM, kill_after: secs(5) });
    assert!(run.policy.admission.breaker.is_none() && run.policy.admission.budget.is_none());
    assert!(matches!(run.stdin, Stdin::Replay { limit: 1_073_741_824 }));
    assert!(matches!(run.key, KeySource::Fresh));
    assert_eq!(run.label, "true");
}

#[test]
fn zero_sets_no_limit() {
    let run = resolved("--timeout 0 --deadline 0 true").unwrap();
    assert_eq!(run.policy.limits.timeout, None);
    assert_eq!(run.policy.schedule.deadline, None);
    assert_eq!(run.policy.schedule.max_attempts, NonZeroU32::new(5));
}

#[test]
fn a_deadline_lifts_the_default_of_max() {
    let attempts = |line| resolved(line).unwrap().policy.schedule.max_attempts;
    assert_eq!(attempts("--deadline 1m true"), None);
    assert_eq!(attempts("--deadline 1m -n 3 true"), NonZeroU32::new(3));
    assert_eq!(attempts("-n unlimited true"), None);
}

#[test]
fn a_list_and_constant_delays_have_no_jitter_by_default() {
    let jitter = |line| resolved(line).unwrap().policy.schedule.jitter;
    assert_eq!(jitter("-d 1,2 true"), Jitter::None);
    assert_eq!(jitter("--backoff constant true"), Jitter::None);
    assert_eq!(jitter("--backoff linear true"), Jitter::Full);
    assert_eq!(jitter("-d 1,2 -j equal true"), Jitter::Equal);
}

#[test]
fn a_longer_delay_raises_the_default_of_max_delay() {
    let cap = |line| resolved(line).unwrap().policy.schedule.cap;
    assert_eq!(cap("-d 90 true"), secs(90));
    assert_eq!(cap("-d 1,2m,3 true"), secs(120));
    assert_eq!(cap("--min-delay 70 true"), secs(70));
    assert_eq!(cap("-d 90 --max-delay 5 true"), secs(5));
}

#[test]
fn the_lease_of_a_probe_has_time_for_a_check_too() {
    let lease = |line| resolved(line).unwrap().policy.admission.breaker.unwrap().lease;
    let (one, two) = (
        lease("--breaker a --timeout 10 --kill-after 0 true"),
        lease("--breaker a --timeout 10 --kill-after 0 --check : true"),
    );
    assert!(two >= one + secs(10), "{one:?} {two:?}");
}

#[test]
fn a_budget_has_the_name_of_the_breaker_or_its_own() {
    let names = |line| {
        let sharing = resolved(line).unwrap().sharing;
        let name = |place: Option<crate::state::file::place::Place>| place.map(|place| place.name);
        (name(sharing.breaker), name(sharing.budget))
    };
    assert_eq!(names("--breaker a --budget 20% true"), (Some("a".into()), Some("a".into())));
    assert_eq!(names("--breaker a --budget b=20% true"), (Some("a".into()), Some("b".into())));
    assert_eq!(names("--budget b=20% true"), (None, Some("b".into())));
    assert_eq!(names("true"), (None, None));
}

#[test]
fn profiles_come_from_the_program_or_by_name() {
    let rules = |line| {
        let rules = resolved(line).unwrap().policy.rules;
        (rules.profiles.iter().map(|row| row.name).collect::<Vec<_>>(), rules.named)
    };
    assert_eq!(rules("true"), (vec![], false));
    assert_eq!(rules("sudo curl x"), (vec!["curl", "sudo"], false));
    assert_eq!(rules("-p wget,auto,wget curl x"), (vec!["wget", "curl"], true));
    assert_eq!(rules("-p none curl x"), (vec![], false));
}

/// retry itself may be the command of retry. An option that the wrappers do not know ends the
/// search. One that they know has a value there if it has one here.
#[test]
fn the_program_behind_an_inner_retry_is_found_after_its_options() {
    let mut known = 0;
    for option in crate::cli::args::definition().get_opts() {
        let valued = option.get_action().takes_values() && !option.is_require_equals_set();
        let long = option.get_long().map(|long| format!("--{long}"));
        for name in long.into_iter().chain(option.get_short().map(|short| format!("-{short}"))) {
            let mut words = vec!["retry".to_owned(), name, "1".to_owned(), "curl".to_owned()];
            if !valued {
                words.remove(2);
            }
            let program = look_through(&words).program;
            assert!(program.is_none_or(|at| at == words.len() - 1), "{words:?}");
            known += usize::from(program.is_some());
        }
    }
    assert!(known > 40, "{known}");
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    for (line, cause) in [
        ("--breaker-failures 3", "--breaker-failures needs --breaker"),
        ("--breaker-cooldown 3", "--breaker-cooldown needs --breaker"),
        ("--breaker a --breaker-wait", "--breaker-wait needs --deadline"),
        ("--breaker a --breaker-wait --deadline 0", "--breaker-wait needs a --deadline other than 0"),
        ("--state /x", "--state needs --breaker or --budget"),
        ("--budget 20%", "--budget needs a name"),
        ("-p none,curl", "--profile none,curl: none and another profile contradict each other"),
        ("--stdin null --stdin-limit 5", "--stdin-limit is for --stdin replay only"),
        ("--min-delay 9 --max-delay 5", "--min-delay is longer than --max-delay"),
        ("--successes 6", "--successes 6 needs more attempts than --max 5 allows"),
        ("--successes 3 -n 2", "--successes 3 needs more attempts than --max 2 allows"),
        ("--splay 9 --deadline 9", "--splay must be shorter than --deadline"),
        ("-d 1,2 --backoff linear", "--backoff and a list for --delay contradict each other"),
        ("--factor 3 --backoff linear", "--factor is for exponential backoff only"),
        ("-j decorrelated --backoff linear", "--jitter decorrelated makes its own schedule"),
        ("-j decorrelated --factor 3", "--factor does nothing with --jitter decorrelated"),
        (
            "--idempotency-key k true {key}",
            "--idempotency-key is given, but {key} in an argument is not replaced without --expand",
        ),
    ] {
        let error = resolved(&format!("{line} true")).unwrap_err();
        assert_eq!(error.to_string(), cause, "{line}");
    }
}

#[test]
fn the_last_of_quiet_and_verbose_counts() {
    let volume = |line| resolved(line).unwrap().volume;
    assert!(matches!(volume("true"), Volume::Normal));
    assert!(matches!(volume("-v true"), Volume::Verbose));
    assert!(matches!(volume("-v -q true"), Volume::Quiet));
    assert!(matches!(volume("-qq true"), Volume::Silent));
}
