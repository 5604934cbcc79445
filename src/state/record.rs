//! A record as it stands in a file: JSON with a version.
//!
//! Times are milliseconds since the boot that `clock` names; `clock` is the moment of writing.
//! [`decode`] turns them into times of the present boot.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::stamp::Stamp;
use crate::policy::admission::breaker::{Breaker, Cause, Closed, HalfOpen, Lease, Open, State};
use crate::policy::admission::budget::Bucket;
use crate::policy::admission::moment::{Moment, millis};
use crate::policy::admission::record::Record;

/// The version that this program writes, and the newest that it reads.
const VERSION: u64 = 1;

/// A record as it was at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) record: Record,
    pub(crate) now: Moment,
    /// Decoding has changed times, because of a reboot or because a clock was set back. The changed
    /// times must be written, or the next reader would move the old ones again from a later moment.
    pub(crate) moved: bool,
}

impl Snapshot {
    /// The record of a name that no run has used.
    pub(crate) fn empty(now: Moment) -> Self {
        Self { record: Record::default(), now, moved: false }
    }
}

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Neither this program nor an older one writes such bytes.
    Corrupt,
    /// A newer program wrote them, in this version of the format, and will want them again.
    Newer(u64),
}

/// Reads the bytes of a file. Turns its times into those of the present boot, none of them ahead of
/// `now`.
///
/// # Errors
/// If the bytes are not a record that this program knows.
pub(crate) fn decode(bytes: &[u8], now: &Stamp) -> Result<Snapshot, Unreadable> {
    let VersionJson { version } = serde_json::from_slice(bytes).map_err(|_| Unreadable::Corrupt)?;
    if version > VERSION {
        return Err(Unreadable::Newer(version));
    }
    let json: RecordJson = serde_json::from_slice(bytes).map_err(|_| Unreadable::Corrupt)?;
    if version == 0 {
        return Err(Unreadable::Corrupt);
    }
    let shift = now.shift_from(&json.clock);
    let mut record = Record::from(json);
    record.shift(shift);
    let shifted = record.clone();
    record.not_after(now.moment());
    let moved = shift != 0 || record != shifted;
    Ok(Snapshot { record, now: now.moment(), moved })
}

/// The bytes of a record's file, written at `now`.
pub(crate) fn encode(record: &Record, now: Stamp) -> Vec<u8> {
    let json = RecordJson {
        version: VERSION,
        clock: now,
        breaker: BreakerJson::from(&record.breaker),
        budget: record.budget.map(BudgetJson::from),
    };
    // serde_json fails only if a key is not a string or a value refuses to be written.
    let mut bytes = serde_json::to_vec_pretty(&json).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// Whether bytes may once have been a record of any version. They may if they are empty or all NUL,
/// as after a power failure, or if they begin as a record begins, as far as they go.
pub(crate) fn looks_like_one(bytes: &[u8]) -> bool {
    const BEGINNING: [&[u8]; 2] = [br#"{"version":"#, br#","clock":{"#];
    let mut text =
        bytes.trim_ascii_start().iter().copied().filter(|byte| !byte.is_ascii_whitespace()).peekable();
    if text.peek().is_none() {
        return bytes.is_empty();
    }
    for (n, part) in BEGINNING.into_iter().enumerate() {
        for expected in part {
            match text.next() {
                None => return true,
                Some(byte) if byte == *expected => {}
                Some(_) => return bytes.iter().all(|byte| *byte == 0),
            }
        }
        while n == 0 && text.next_if(u8::is_ascii_digit).is_some() {}
    }
    true
}

/// The part of a file that every version has.
#[derive(Serialize, Deserialize)]
struct VersionJson {
    version: u64,
}

#[derive(Serialize, Deserialize)]
struct RecordJson {
    version: u64,
    clock: Stamp,
    breaker: BreakerJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<BudgetJson>,
}

#[derive(Serialize, Deserialize)]
struct BreakerJson {
    generation: u64,
    #[serde(flatten)]
    state: StateJson,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
enum StateJson {
    Closed {
        since_ms: Option<i64>,
        failures: u32,
        last: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before_ms: Option<i64>,
    },
    Open(OpenJson),
    HalfOpen {
        #[serde(flatten)]
        open: OpenJson,
        probe: LeaseJson,
    },
}

#[derive(Serialize, Deserialize)]
struct OpenJson {
    first_ms: i64,
    since_ms: i64,
    length_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cooldown_ms: Option<u64>,
    cause: CauseJson,
    probes: u32,
    failures: u32,
    last: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum CauseJson {
    Failures,
    Tripped,
}

#[derive(Serialize, Deserialize)]
struct LeaseJson {
    pid: u32,
    since_ms: i64,
    length_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct BudgetJson {
    /// Billionths of a token.
    billionths: u64,
    at_ms: i64,
    /// Tokens.
    size: u64,
    /// This many tokens come back in `returns_in_ms`.
    returns: u32,
    returns_in_ms: u64,
}

impl From<RecordJson> for Record {
    fn from(json: RecordJson) -> Self {
        Self { breaker: json.breaker.into(), budget: json.budget.map(Bucket::from) }
    }
}

impl From<BreakerJson> for Breaker {
    fn from(json: BreakerJson) -> Self {
        Self { generation: json.generation, state: json.state.into() }
    }
}

impl From<&Breaker> for BreakerJson {
    fn from(breaker: &Breaker) -> Self {
        Self { generation: breaker.generation, state: StateJson::from(&breaker.state) }
    }
}

impl From<StateJson> for State {
    fn from(json: StateJson) -> Self {
        match json {
            StateJson::Closed { since_ms, failures, last, not_before_ms } => Self::Closed(Closed {
                since: since_ms.map(Moment),
                failures,
                last,
                not_before: not_before_ms.map(Moment),
            }),
            StateJson::Open(open) => Self::Open(open.into()),
            StateJson::HalfOpen { open, probe } => {
                Self::HalfOpen(HalfOpen { open: open.into(), lease: probe.into() })
            }
        }
    }
}

impl From<&State> for StateJson {
    fn from(state: &State) -> Self {
        match state {
            State::Closed(closed) => Self::Closed {
                since_ms: closed.since.map(|since| since.0),
                failures: closed.failures,
                last: closed.last.clone(),
                not_before_ms: closed.not_before.map(|until| until.0),
            },
            State::Open(open) => Self::Open(open.into()),
            State::HalfOpen(half) => Self::HalfOpen { open: (&half.open).into(), probe: half.lease.into() },
        }
    }
}

impl From<OpenJson> for Open {
    fn from(json: OpenJson) -> Self {
        Self {
            first: Moment(json.first_ms),
            since: Moment(json.since_ms),
            length: Duration::from_millis(json.length_ms),
            cooldown: json.cooldown_ms.map(Duration::from_millis),
            cause: match json.cause {
                CauseJson::Failures => Cause::Failures,
                CauseJson::Tripped => Cause::Tripped,
            },
            probes: json.probes,
            failures: json.failures,
            last: json.last,
        }
    }
}

impl From<&Open> for OpenJson {
    fn from(open: &Open) -> Self {
        Self {
            first_ms: open.first.0,
            since_ms: open.since.0,
            length_ms: millis(open.length),
            cooldown_ms: open.cooldown.map(millis),
            cause: match open.cause {
                Cause::Failures => CauseJson::Failures,
                Cause::Tripped => CauseJson::Tripped,
            },
            probes: open.probes,
            failures: open.failures,
            last: open.last.clone(),
        }
    }
}

impl From<LeaseJson> for Lease {
    fn from(json: LeaseJson) -> Self {
        Self { owner: json.pid, since: Moment(json.since_ms), length: Duration::from_millis(json.length_ms) }
    }
}

impl From<Lease> for LeaseJson {
    fn from(lease: Lease) -> Self {
        Self { pid: lease.owner, since_ms: lease.since.0, length_ms: millis(lease.length) }
    }
}

impl From<BudgetJson> for Bucket {
    fn from(json: BudgetJson) -> Self {
        Self {
            billionths: json.billionths,
            at: Moment(json.at_ms),
            size: json.size,
            returns: (json.returns, Duration::from_millis(json.returns_in_ms)),
        }
    }
}

impl From<Bucket> for BudgetJson {
    fn from(bucket: Bucket) -> Self {
        let (returns, returns_in) = bucket.returns;
        Self {
            billionths: bucket.billionths,
            at_ms: bucket.at.0,
            size: bucket.size,
            returns,
            returns_in_ms: millis(returns_in),
        }
    }
}

/// Any bytes are decoded or refused, and what is decoded reads the same after it was encoded.
#[cfg(any(test, fuzzing))]
pub(crate) fn property(bytes: &[u8]) {
    let now = Stamp { boot_id: "a".into(), boot_ms: 1000, unix_ms: 2000 };
    if let Ok(Snapshot { record, .. }) = decode(bytes, &now) {
        let written = encode(&record, now.clone());
        assert_eq!(decode(&written, &now), Ok(Snapshot { record, now: now.moment(), moved: false }));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            failures: 7,
            last: Some("exited 7".into()),
        }
    }

    fn records() -> Vec<Record> {
        let lease = Lease { owner: 17, since: Moment(450_000), length: Duration::from_mins(5) };
        let closed = Closed {
            since: Some(Moment(-5)),
            failures: 2,
            last: Some("killed by \"TERM\"".into()),
            not_before: Some(Moment(600_000)),
        };
        let tripped = Open { cooldown: None, cause: Cause::Tripped, last: None, ..open() };
        let states = [
            State::Closed(Closed::default()),
            State::Closed(closed),
            State::Open(open()),
            State::Open(tripped),
            State::HalfOpen(HalfOpen { open: open(), lease }),
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
        // It named no cooldown.
        let open = Open { cooldown: None, ..open() };
        let state = State::HalfOpen(HalfOpen { open, lease });
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
    fn what_is_torn_empty_or_newer_is_told_apart() {
        let whole = encode(&records().remove(4), now());
        for end in 0..whole.len() - 2 {
            assert_eq!(decode(&whole[..end], &now()), Err(Unreadable::Corrupt), "{end}");
        }
        let newer = br#"{"version": 2, "clock": "quite different"}"#;
        assert_eq!(decode(newer, &now()), Err(Unreadable::Newer(2)));
        for wrong in
            ["null", "[]", "{}", r#"{"version": 0}"#, r#"{"version": -1}"#, r#"{"version": 1}"#, "\0\0\0"]
        {
            assert_eq!(decode(wrong.as_bytes(), &now()), Err(Unreadable::Corrupt), "{wrong}");
        }
    }

    #[test]
    fn after_a_reboot_and_a_jump_it_is_open_for_no_longer_than_its_length() {
        let record = Record { breaker: Breaker { generation: 1, state: State::Open(open()) }, budget: None };
        // It was written when it opened.
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
            // It is not closed: the next is a probe.
            ("b", 3000, 1_910_000 + 3_600_000, None),
            ("b", 3000, 1_910_000 + 30 * year, None),
            ("a", 5, 1_910_000, Some(120)),
            ("", 3000, 1_910_000, Some(110)),
        ] {
            let now = Stamp { boot_id: boot_id.into(), boot_ms, unix_ms };
            let Snapshot { record: read, moved, .. } = decode(&bytes, &now).unwrap();
            assert_eq!(moved, boot_id != "a" || boot_ms < 400_000, "{now:?}");
            let refusal = read.breaker.refusal(now.moment(), |_, _| false);
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
        fn any_numbers_are_borne(first in any::<i64>(), since in any::<i64>(), length in any::<u64>(), shift in any::<i64>()) {
            let open = Open { first: Moment(first), since: Moment(since), length: Duration::from_millis(length), ..open() };
            let record = Record { breaker: Breaker { generation: u64::MAX, state: State::Open(open) }, budget: None };
            let bytes = encode(&record, Stamp { boot_id: "z".into(), boot_ms: shift, unix_ms: first });
            let Snapshot { mut record, .. } = decode(&bytes, &now()).unwrap();
            let moment = now().moment();
            if let Some(refusal) = record.breaker.refusal(moment, |_, _| true) {
                prop_assert!(refusal.left <= Duration::from_millis(length));
            }
            let _ = record.breaker.admit(moment, Duration::MAX, 1, |_, _| true);
            property(&bytes);
        }
    }
}
