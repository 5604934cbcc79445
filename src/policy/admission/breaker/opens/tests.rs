//! Tests what opens a breaker, with examples.

use super::*;

const AGE: Duration = Duration::from_mins(10);

fn at(seconds: i64) -> Moment {
    Moment(seconds * 1000)
}

fn in_row(failures: u32) -> Opens {
    Opens::InRow(NonZeroU32::new(failures).unwrap())
}

fn rate(percent: u8, of: u8) -> Opens {
    Opens::Rate { percent: NonZeroU8::new(percent).unwrap(), of: NonZeroU8::new(of).unwrap() }
}

/// Outcomes as a text: `x` is a failure and `.` a success, one a second. An upper-case letter before
/// an outcome is its host.
fn outcomes(text: &str, opens: Opens) -> (Outcomes, Moment) {
    let (mut outcomes, mut now, mut host) = (Outcomes::default(), at(0), None);
    for c in text.chars() {
        match c {
            'x' => outcomes.fail(host, now, AGE),
            '.' => outcomes.succeed(host, now, opens, AGE),
            host_name => {
                host = Some(HostTag(u32::from(host_name)));
                continue;
            }
        }
        now = now.plus(Duration::from_secs(1));
    }
    (outcomes, now)
}

fn opening(text: &str, opens: Opens) -> Option<u32> {
    let (outcomes, now) = outcomes(text, opens);
    outcomes.opening(opens, now, AGE)
}

#[test]
fn failures_in_a_row_open_it() {
    assert_eq!(opening("xx", in_row(3)), None);
    assert_eq!(opening("xxx", in_row(3)), Some(3));
    assert_eq!(opening("xx.xx", in_row(3)), None);
    assert_eq!(opening(&"x".repeat(200), in_row(200)), Some(200));
    assert_eq!(opening(&"x".repeat(199), in_row(200)), None);
}

#[test]
fn a_share_of_the_last_outcomes_opens_it_if_half_of_them_are_known() {
    assert_eq!(opening("xxxx", rate(50, 10)), None, "four of ten are known");
    assert_eq!(opening("xxxxx", rate(50, 10)), Some(5));
    assert_eq!(opening(".x.x.x.x.x", rate(50, 10)), Some(5));
    assert_eq!(opening(".x.x.x.x..", rate(50, 10)), None);
    // Only the last ten count.
    assert_eq!(opening("..........xxxxx", rate(50, 10)), Some(5));
    assert_eq!(opening("xxxxx..........", rate(10, 10)), None);
    assert_eq!(opening(&"..x".repeat(30), rate(35, 64)), None);
    assert_eq!(opening(&"..x".repeat(30), rate(34, 64)), Some(22));
    assert_eq!(opening("x", rate(100, 2)), Some(1), "one of two is known");
}

#[test]
fn the_largest_rate_counts_exactly_the_outcomes_that_are_kept() {
    let (half, f, s) = (rate(50, 64), |n| "x".repeat(n), |n| ".".repeat(n));
    assert_eq!((opening(&f(31), half), opening(&f(32), half)), (None, Some(32)), "half of them are known");
    assert_eq!(opening(&(f(32) + &s(32)), half), Some(32), "the first of 64 counts");
    assert_eq!(opening(&(f(32) + &s(33)), half), None, "the first of 65 does not");
    for (text, kept) in [(s(63), 63), (s(64), 64), (s(65), 64), (f(65), 64)] {
        let (outcomes, _) = outcomes(&text, half);
        assert_eq!(outcomes.past.len(), kept);
    }
    // More failures in a row than outcomes are kept count all the same.
    let (outcomes, now) = outcomes(&f(65), in_row(66));
    assert_eq!((outcomes.in_row, outcomes.in_row(now, AGE)), (65, 65));
}

#[test]
fn old_outcomes_do_not_count() {
    for (opens, expected) in [(in_row(3), Some(3)), (rate(50, 4), Some(3))] {
        let (mut outcomes, now) = outcomes("xx", opens);
        let late = now.plus(AGE);
        let later = late.plus(Duration::from_secs(1));
        outcomes.clone().fail(None, later, AGE);
        outcomes.fail(None, at(600), AGE);
        assert_eq!(outcomes.opening(opens, at(600), AGE), expected);
        assert_eq!(outcomes.opening(opens, at(602), AGE), None, "the first are too old");
        assert_eq!(outcomes.in_row(at(602), AGE), 1);
        outcomes.fail(None, at(602), AGE);
        assert_eq!(outcomes.in_row, 2);
    }
    assert_eq!(age_limit(Duration::from_secs(30)), Duration::from_mins(10));
    assert_eq!(age_limit(Duration::from_mins(5)), Duration::from_mins(50));
}

#[test]
fn failures_of_an_older_record_have_no_times_and_count() {
    let mut outcomes = Outcomes { in_row: 2, ..Outcomes::default() };
    outcomes.fail(None, at(5), AGE);
    assert_eq!(outcomes.in_row, 3);
}

#[test]
fn one_host_does_not_open_it_for_others() {
    assert_eq!(opening("AxxxBx", in_row(3)), Some(4));
    assert_eq!(opening("Axxx", in_row(3)), Some(3), "no other host has used it");
    assert_eq!(opening("B.Axxxxxxx", in_row(3)), None, "another host has used it");
    assert_eq!(opening("B.AxxxxxBx", in_row(3)), Some(6));
    assert_eq!(opening("B..AxxxxAx", rate(50, 8)), None);
    assert_eq!(opening("B..AxxxxBx", rate(50, 8)), Some(5));
    // The other host has not used it lately.
    let (mut outcomes, _) = outcomes("B.", in_row(2));
    for second in [601, 602] {
        outcomes.fail(Some(HostTag(1)), at(second), AGE);
    }
    assert_eq!(outcomes.opening(in_row(2), at(602), AGE), Some(2));
}

#[test]
fn a_success_is_written_only_if_it_is_news() {
    let known = |text: &str, opens| {
        let (outcomes, now) = outcomes(text, opens);
        outcomes.success_is_known(opens, None, now, AGE)
    };
    assert!(known("", in_row(3)));
    assert!(known("..", in_row(3)));
    assert!(!known("..x", in_row(3)));
    assert!(!known("", rate(50, 4)));
    assert!(!known("...", rate(50, 4)));
    assert!(known("....", rate(50, 4)));
    assert!(known("x....", rate(50, 4)));
    assert!(!known("....x", rate(50, 4)));
    // Outcomes that soon are too old must be followed by new ones.
    let (outcomes, _) = outcomes("....", rate(50, 4));
    assert!(!outcomes.success_is_known(rate(50, 4), None, at(302), AGE));
}

#[test]
fn the_use_by_a_host_is_noted_once_a_minute() {
    let (outcomes, now) = outcomes("A.", in_row(3));
    let (host, other) = (Some(HostTag(u32::from('A'))), Some(HostTag(7)));
    assert!(outcomes.success_is_known(in_row(3), host, now, AGE));
    assert!(!outcomes.success_is_known(in_row(3), other, now, AGE));
    assert!(!outcomes.success_is_known(in_row(3), host, at(61), AGE));
}

#[test]
fn a_run_that_counts_in_a_row_keeps_the_outcomes_of_a_rate() {
    let (mut mixed, now) = outcomes(".x.x", rate(50, 4));
    mixed.succeed(None, now, in_row(3), AGE);
    assert_eq!(mixed.past.len(), 5);
    let (mut alone, now) = outcomes("xx", in_row(3));
    alone.succeed(None, now, in_row(3), AGE);
    assert!(alone.past.is_empty());
}
