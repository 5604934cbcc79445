//! Tests the format of a record, and bytes that are not a record.

use proptest::prelude::*;

use super::*;
use crate::policy::admission::breaker::Applicant;

mod forged;

fn now() -> Stamp {
    Stamp { boot_id: "a".into(), boot_ms: 500_000, unix_ms: 2_000_000 }
}

fn as_written(record: Record) -> Snapshot {
    Snapshot { record, now: now().moment(), moved: false }
}

fn open() -> Open {
    Open {
        first: Moment(100_000),
        since: Moment(400_000),
        length: Duration::from_mins(2),
        cooldown: Some(Duration::from_secs(30)),
        cause: Cause::Failures,
        probes: 2,
        probed: Moment(405_000),
        failures: 7,
        last: Some("exited 7".into()),
        not_before: Some(Moment(510_000)),
    }
}

fn records() -> Vec<Record> {
    let lease = Lease { owner: 17, since: Moment(450_000), length: Duration::from_mins(5) };
    let host = Some(HostTag(0xfeed));
    let permit =
        |id, demand| Permit { id, owner: 9, since: Moment(490_000), length: Duration::from_secs(20), demand };
    let recovery = Recovery {
        window: 2500,
        threshold: Some(1000),
        permits: vec![permit(7, Demand::High), permit(6, Demand::Low)],
        due: Moment(500_100),
        full: Moment(490_000),
        halved: Some(Moment(480_000)),
        next: 8,
    };
    let closed = Closed {
        since: Some(Moment(-5)),
        outcomes: Outcomes {
            past: vec![
                Past { at: Moment(470_000), failed: false, host: None },
                Past { at: Moment(480_000), failed: true, host },
            ],
            in_row: 2,
            hosts: vec![Use { host: HostTag(0xfeed), at: Moment(480_000) }],
        },
        last: Some("killed by \"TERM\"".into()),
        not_before: Some(Moment(600_000)),
        recovery: Some(recovery),
    };
    let tripped = Open { cooldown: None, cause: Cause::Tripped, last: None, ..open() };
    let states = [
        State::Closed(Closed::default()),
        State::Closed(closed),
        State::Open(open()),
        State::Open(tripped),
        State::HalfOpen(HalfOpen { open: open(), lease, timing: Timing::Due }),
        State::HalfOpen(HalfOpen { open: open(), lease, timing: Timing::Early }),
    ];
    let budget = Some(Bucket {
        billionths: 7_400_000_000,
        at: Moment(400_000),
        size: 10,
        returns: (1, Duration::from_secs(30)),
    });
    let records = states.into_iter().zip(0..).map(|(state, generation)| Record {
        breaker: Breaker { generation, state },
        budget: budget.filter(|_| generation % 2 == 0),
    });
    records.collect()
}

#[test]
fn a_record_reads_back_as_it_was() {
    for record in records() {
        let bytes = encode(&record, now());
        assert_eq!(decode(&bytes, &now()), Ok(as_written(record)), "{}", String::from_utf8_lossy(&bytes));
    }
}

/// As many permits and outcomes as there may be, and numbers of the greatest length.
#[test]
fn the_longest_record_is_no_larger_than_a_record_may_be() {
    let least = Moment(i64::MIN);
    let longest = Duration::from_millis(u64::MAX);
    let permit = Permit { id: u64::MAX, owner: u32::MAX, since: least, length: longest, demand: Demand::Low };
    let host = HostTag(u32::MAX);
    let recovery = Recovery {
        window: u32::MAX,
        threshold: Some(u32::MAX),
        permits: vec![permit; 128],
        due: least,
        full: least,
        halved: Some(least),
        next: u64::MAX,
    };
    let past = Past { at: least, failed: false, host: Some(host) };
    let closed = Closed {
        since: Some(least),
        outcomes: Outcomes {
            past: vec![past; MOST_OUTCOMES],
            in_row: u32::MAX,
            hosts: vec![Use { host, at: least }; 4],
        },
        // Longer than any description of an attempt.
        last: Some("\u{1}".repeat(1000)),
        not_before: Some(least),
        recovery: Some(recovery),
    };
    let state = State::Closed(closed);
    let budget = Bucket { billionths: u64::MAX, at: least, size: u64::MAX, returns: (u32::MAX, longest) };
    let record = Record { breaker: Breaker { generation: u64::MAX, state }, budget: Some(budget) };
    let bytes = encode(&record, Stamp { boot_id: "a".repeat(36), boot_ms: i64::MIN, unix_ms: i64::MIN });
    assert!(bytes.len() <= LARGEST / 3 * 2, "{}", bytes.len());
}

#[test]
fn a_record_has_at_most_64_kib() {
    let record = records().remove(1);
    let mut bytes = encode(&record, now());
    bytes.resize(64 * 1024, b' ');
    assert_eq!(decode(&bytes, &now()), Ok(as_written(record)));
    bytes.push(b' ');
    assert_eq!(decode(&bytes, &now()), Err(Unreadable::Corrupt));
}

#[test]
fn of_too_many_outcomes_the_newest_are_kept() {
    let past: Vec<Past> =
        (0..70).map(|at| Past { at: Moment(at), failed: at % 3 == 0, host: None }).collect();
    let written = |past: &[Past]| {
        let outcomes = Outcomes { past: past.to_vec(), ..Outcomes::default() };
        let state = State::Closed(Closed { outcomes, ..Closed::default() });
        Record { breaker: Breaker { generation: 1, state }, budget: None }
    };
    let read = decode(&encode(&written(&past), now()), &now());
    assert_eq!(read, Ok(as_written(written(&past[6..]))));
}

#[test]
fn a_torn_record_is_told_from_something_else() {
    let whole = encode(&records().remove(4), now());
    for end in 0..whole.len() {
        assert!(looks_like_one(&whole[..end]), "{end}");
    }
    assert!(looks_like_one(&[0; 999]));
    for other in [
        &b"#!/bin/sh\n"[..],
        b"{\"a\": 1}",
        b"{\"version\": \"1.0.0\"}",
        b"{\"version\": 2, \"a\": 1}",
        b"x",
        b"\0x",
        b"[1]",
        b"\n",
        b"  <html>",
    ] {
        assert!(!looks_like_one(other), "{other:?}");
    }
}

#[test]
fn the_format_of_version_1_stays_readable() {
    let text = r#"{
      "version": 1,
      "clock": { "boot_id": "a", "boot_ms": 450000, "unix_ms": 1950000 },
      "breaker": {
        "generation": 9, "state": "half-open",
        "first_ms": 100000, "since_ms": 400000, "length_ms": 120000, "cause": "failures",
        "probes": 2, "failures": 7, "last": "exited 7",
        "probe": { "pid": 17, "since_ms": 450000, "length_ms": 300000 }
      },
      "budget": { "billionths": 7400000000, "at_ms": 400000, "size": 10, "returns": 1, "returns_in_ms": 30000 }
    }"#;
    let lease = Lease { owner: 17, since: Moment(450_000), length: Duration::from_mins(5) };
    // Such a record may have no cooldown.
    let open = Open { cooldown: None, probed: Moment(400_000), not_before: None, ..open() };
    let state = State::HalfOpen(HalfOpen { open, lease, timing: Timing::Due });
    let expected = Record {
        breaker: Breaker { generation: 9, state },
        budget: Some(Bucket {
            billionths: 7_400_000_000,
            at: Moment(400_000),
            size: 10,
            returns: (1, Duration::from_secs(30)),
        }),
    };
    assert_eq!(decode(text.as_bytes(), &now()), Ok(as_written(expected)));
}

#[test]
fn a_closed_breaker_of_version_1_keeps_its_failures() {
    let text = r#"{
      "version": 1,
      "clock": { "boot_id": "a", "boot_ms": 450000, "unix_ms": 1950000 },
      "breaker": { "generation": 9, "state": "closed", "since_ms": null, "failures": 4, "last": "exited 7" }
    }"#;
    let outcomes = Outcomes { in_row: 4, ..Outcomes::default() };
    let closed = Closed { outcomes, last: Some("exited 7".into()), ..Closed::default() };
    let breaker = Breaker { generation: 9, state: State::Closed(closed) };
    assert_eq!(decode(text.as_bytes(), &now()), Ok(as_written(Record { breaker, budget: None })));
}

#[test]
fn what_is_torn_empty_or_newer_is_told_apart() {
    let whole = encode(&records().remove(4), now());
    for end in 0..whole.len() - 2 {
        assert_eq!(decode(&whole[..end], &now()), Err(Unreadable::Corrupt), "{end}");
    }
    let newer = br#"{"version": 3, "clock": "quite different"}"#;
    assert_eq!(decode(newer, &now()), Err(Unreadable::Newer(3)));
    for wrong in
        ["null", "[]", "{}", r#"{"version": 0}"#, r#"{"version": -1}"#, r#"{"version": 1}"#, "\0\0\0"]
    {
        assert_eq!(decode(wrong.as_bytes(), &now()), Err(Unreadable::Corrupt), "{wrong}");
    }
}

#[test]
fn after_a_reboot_and_a_jump_it_is_open_for_no_longer_than_its_length() {
    let record = Record { breaker: Breaker { generation: 1, state: State::Open(open()) }, budget: None };
    // The record was written when the breaker opened.
    let written = Stamp { boot_id: "a".into(), boot_ms: 400_000, unix_ms: 1_900_000 };
    let bytes = encode(&record, written);
    let year = 365 * 86_400_000;
    for (boot_id, boot_ms, unix_ms, left) in [
        ("a", 410_000, 1_910_000, Some(110)),
        ("a", 410_000, 1_910_000 + 30 * year, Some(110)),
        ("a", 410_000, 0, Some(110)),
        ("b", 3000, 1_910_000, Some(110)),
        ("b", 3000, 1_910_000 - 3_600_000, Some(120)),
        ("b", 3000, 1_910_000 - 30 * year, Some(120)),
        // The breaker is not closed, so the next attempt is a probe.
        ("b", 3000, 1_910_000 + 3_600_000, None),
        ("b", 3000, 1_910_000 + 30 * year, None),
        ("a", 5, 1_910_000, Some(120)),
        ("", 3000, 1_910_000, Some(110)),
    ] {
        let now = Stamp { boot_id: boot_id.into(), boot_ms, unix_ms };
        let Snapshot { record: read, moved, .. } = decode(&bytes, &now).unwrap();
        assert_eq!(moved, boot_id != "a" || boot_ms < 400_000, "{now:?}");
        let refusal = read.breaker.opening_refusal(false, now.moment(), |_, _| false);
        assert_eq!(refusal.map(|refusal| refusal.left.as_secs()), left, "{now:?}");
        assert!(matches!(read.breaker.state, State::Open(_)), "{now:?}");
    }
}

proptest! {
    #[test]
    fn any_file_is_read_or_refused(which in 0usize..5, at in 0usize..400, with in prop::collection::vec(any::<u8>(), 0..6), cut in 0usize..6) {
        let mut bytes = encode(&records()[which], now());
        let from = at.min(bytes.len());
        let to = (from + cut).min(bytes.len());
        bytes.splice(from..to, with);
        property(&bytes);
    }

    #[test]
    fn any_numbers_are_borne(first in any::<i64>(), since in any::<i64>(), length in any::<u64>(), shift in any::<i64>(), waits: bool) {
        let open = Open { first: Moment(first), since: Moment(since), length: Duration::from_millis(length), ..open() };
        let record = Record { breaker: Breaker { generation: u64::MAX, state: State::Open(open) }, budget: None };
        let bytes = encode(&record, Stamp { boot_id: "z".into(), boot_ms: shift, unix_ms: first });
        let Snapshot { mut record, .. } = decode(&bytes, &now()).unwrap();
        let moment = now().moment();
        let applicant = Applicant { pid: 1, lease: Duration::MAX, waits, returns: false };
        if let Some(refusal) = record.breaker.opening_refusal(waits, moment, |_, _| true) {
            prop_assert!(refusal.left <= Duration::from_millis(length));
        }
        let _ = record.breaker.admit(&applicant, moment, |_, _| true);
        property(&bytes);
    }
}
