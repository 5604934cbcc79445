//! What is kept of one name between runs, and how it stands in a file: JSON with a version.
//!
//! Times are milliseconds since the boot that `clock` names; `clock` is when the file was written.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::stamp::Stamp;
use crate::policy::admission::Moment;
use crate::policy::admission::breaker::{Breaker, Cause, Closed, HalfOpen, Lease, Open, State};
use crate::policy::admission::budget::Bucket;

/// The version that this program writes, and the newest that it reads.
const VERSION: u64 = 1;

/// What is kept of one name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Record {
    pub(crate) breaker: Breaker,
    /// None before the first run with a budget.
    pub(crate) budget: Option<Bucket>,
}

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Not what this or an older program writes.
    Corrupt,
    /// A newer program's, which will want it again.
    Newer(u64),
}

#[derive(Serialize, Deserialize)]
struct Version {
    version: u64,
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u64,
    clock: Stamp,
    breaker: BreakerFile,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<BudgetFile>,
}

#[derive(Serialize, Deserialize)]
struct BreakerFile {
    generation: u64,
    #[serde(flatten)]
    state: StateFile,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
enum StateFile {
    Closed {
        since_ms: Option<i64>,
        failures: u32,
        last: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before_ms: Option<i64>,
    },
    Open(OpenFile),
    HalfOpen {
        #[serde(flatten)]
        open: OpenFile,
        probe: ProbeFile,
    },
}

#[derive(Serialize, Deserialize)]
struct OpenFile {
    first_ms: i64,
    since_ms: i64,
    length_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cooldown_ms: Option<u64>,
    cause: CauseFile,
    probes: u32,
    failures: u32,
    last: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum CauseFile {
    Failures,
    Tripped,
}

#[derive(Serialize, Deserialize)]
struct ProbeFile {
    pid: u32,
    since_ms: i64,
    length_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct BudgetFile {
    /// Billionths of a token.
    billionths: u64,
    at_ms: i64,
    /// Tokens.
    size: u64,
    /// So many tokens come back in such a time.
    returns: u32,
    returns_in_ms: u64,
}

/// Whether bytes may once have been a record, of whatever version: empty or all NUL, as after a power failure,
/// or with a record's beginning, as far as they go.
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

/// In milliseconds, as many as they count.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Record {
    /// Reads a file's bytes, with its times turned into those of the present boot, none of them ahead of now;
    /// and whether any had to be changed for that.
    ///
    /// # Errors
    /// Where they are no record that this program knows.
    pub(crate) fn read(bytes: &[u8], now: &Stamp) -> Result<(Self, bool), Unreadable> {
        let Version { version } = serde_json::from_slice(bytes).map_err(|_| Unreadable::Corrupt)?;
        if version > VERSION {
            return Err(Unreadable::Newer(version));
        }
        let file: File = serde_json::from_slice(bytes).map_err(|_| Unreadable::Corrupt)?;
        if version == 0 {
            return Err(Unreadable::Corrupt);
        }
        let shift = now.shift_from(&file.clock);
        let moment = |millis: i64| Moment(millis.saturating_add(shift));
        let mut record = Self {
            breaker: Breaker { generation: file.breaker.generation, state: file.breaker.state.state(moment) },
            budget: file.budget.map(|budget| Bucket {
                billionths: budget.billionths,
                at: moment(budget.at_ms),
                size: budget.size,
                returns: (budget.returns, Duration::from_millis(budget.returns_in_ms)),
            }),
        };
        let before = record.clone();
        record.breaker.not_after(now.moment());
        if let Some(bucket) = &mut record.budget {
            bucket.not_after(now.moment());
        }
        let moved = shift != 0 || record != before;
        Ok((record, moved))
    }

    /// The bytes of its file.
    pub(crate) fn write(&self, now: Stamp) -> Vec<u8> {
        let file = File {
            version: VERSION,
            clock: now,
            breaker: BreakerFile {
                generation: self.breaker.generation,
                state: StateFile::of(&self.breaker.state),
            },
            budget: self.budget.map(|bucket| BudgetFile {
                billionths: bucket.billionths,
                at_ms: bucket.at.0,
                size: bucket.size,
                returns: bucket.returns.0,
                returns_in_ms: millis(bucket.returns.1),
            }),
        };
        // Numbers and text only: it does not fail.
        let mut bytes = serde_json::to_vec_pretty(&file).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

impl StateFile {
    fn state(self, moment: impl Fn(i64) -> Moment) -> State {
        let opened = |open: OpenFile| Open {
            first: moment(open.first_ms),
            since: moment(open.since_ms),
            length: Duration::from_millis(open.length_ms),
            cooldown: open.cooldown_ms.map(Duration::from_millis),
            cause: match open.cause {
                CauseFile::Failures => Cause::Failures,
                CauseFile::Tripped => Cause::Tripped,
            },
            probes: open.probes,
            failures: open.failures,
            last: open.last,
        };
        match self {
            Self::Closed { since_ms, failures, last, not_before_ms } => State::Closed(Closed {
                since: since_ms.map(&moment),
                failures,
                last,
                not_before: not_before_ms.map(&moment),
            }),
            Self::Open(open) => State::Open(opened(open)),
            Self::HalfOpen { open, probe } => State::HalfOpen(HalfOpen {
                open: opened(open),
                lease: Lease {
                    owner: probe.pid,
                    since: moment(probe.since_ms),
                    length: Duration::from_millis(probe.length_ms),
                },
            }),
        }
    }

    fn of(state: &State) -> Self {
        let opened = |open: &Open| OpenFile {
            first_ms: open.first.0,
            since_ms: open.since.0,
            length_ms: millis(open.length),
            cooldown_ms: open.cooldown.map(millis),
            cause: match open.cause {
                Cause::Failures => CauseFile::Failures,
                Cause::Tripped => CauseFile::Tripped,
            },
            probes: open.probes,
            failures: open.failures,
            last: open.last.clone(),
        };
        match state {
            State::Closed(closed) => Self::Closed {
                since_ms: closed.since.map(|since| since.0),
                failures: closed.failures,
                last: closed.last.clone(),
                not_before_ms: closed.not_before.map(|until| until.0),
            },
            State::Open(open) => Self::Open(opened(open)),
            State::HalfOpen(half) => Self::HalfOpen {
                open: opened(&half.open),
                probe: ProbeFile {
                    pid: half.lease.owner,
                    since_ms: half.lease.since.0,
                    length_ms: millis(half.lease.length),
                },
            },
        }
    }
}

/// Whatever stands in a file, it is read or refused, and what is read is written as it was.
#[cfg(any(test, fuzzing))]
pub(crate) fn property(bytes: &[u8]) {
    let now = Stamp { boot_id: "a".into(), boot_ms: 1000, unix_ms: 2000 };
    if let Ok((record, _)) = Record::read(bytes, &now) {
        let written = record.write(now.clone());
        assert_eq!(Record::read(&written, &now), Ok((record, false)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> Stamp {
        Stamp { boot_id: "a".into(), boot_ms: 500_000, unix_ms: 2_000_000 }
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
            let bytes = record.write(now());
            assert_eq!(
                Record::read(&bytes, &now()),
                Ok((record, false)),
                "{}",
                String::from_utf8_lossy(&bytes)
            );
        }
    }

    #[test]
    fn a_torn_record_is_told_from_something_else() {
        let whole = records().remove(4).write(now());
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
        assert_eq!(Record::read(text.as_bytes(), &now()), Ok((expected, false)));
    }

    #[test]
    fn what_is_torn_empty_or_newer_is_told_apart() {
        let whole = records().remove(4).write(now());
        for end in 0..whole.len() - 2 {
            assert_eq!(Record::read(&whole[..end], &now()), Err(Unreadable::Corrupt), "{end}");
        }
        let newer = br#"{"version": 2, "clock": "quite different"}"#;
        assert_eq!(Record::read(newer, &now()), Err(Unreadable::Newer(2)));
        for wrong in
            ["null", "[]", "{}", r#"{"version": 0}"#, r#"{"version": -1}"#, r#"{"version": 1}"#, "\0\0\0"]
        {
            assert_eq!(Record::read(wrong.as_bytes(), &now()), Err(Unreadable::Corrupt), "{wrong}");
        }
    }

    #[test]
    fn after_a_reboot_and_a_jump_it_is_open_for_no_longer_than_its_length() {
        let record = Record { breaker: Breaker { generation: 1, state: State::Open(open()) }, budget: None };
        // It was written when it opened.
        let written = Stamp { boot_id: "a".into(), boot_ms: 400_000, unix_ms: 1_900_000 };
        let bytes = record.write(written);
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
            let (read, moved) = Record::read(&bytes, &now).unwrap();
            assert_eq!(moved, boot_id != "a" || boot_ms < 400_000, "{now:?}");
            let refusal = read.breaker.refusal(now.moment(), |_, _| false);
            assert_eq!(refusal.map(|refusal| refusal.left.as_secs()), left, "{now:?}");
            assert!(matches!(read.breaker.state, State::Open(_)), "{now:?}");
        }
    }

    proptest! {
        #[test]
        fn any_file_is_read_or_refused(which in 0usize..5, at in 0usize..400, with in prop::collection::vec(any::<u8>(), 0..6), cut in 0usize..6) {
            let mut bytes = records()[which].write(now());
            let from = at.min(bytes.len());
            let to = (from + cut).min(bytes.len());
            bytes.splice(from..to, with);
            property(&bytes);
        }

        #[test]
        fn any_numbers_are_borne(first in any::<i64>(), since in any::<i64>(), length in any::<u64>(), shift in any::<i64>()) {
            let open = Open { first: Moment(first), since: Moment(since), length: Duration::from_millis(length), ..open() };
            let record = Record { breaker: Breaker { generation: u64::MAX, state: State::Open(open) }, budget: None };
            let bytes = record.write(Stamp { boot_id: "z".into(), boot_ms: shift, unix_ms: first });
            let (mut record, _) = Record::read(&bytes, &now()).unwrap();
            let moment = now().moment();
            if let Some(refusal) = record.breaker.refusal(moment, |_, _| true) {
                prop_assert!(refusal.left <= Duration::from_millis(length));
            }
            let _ = record.breaker.admit(moment, Duration::MAX, 1, |_, _| true);
            property(&bytes);
        }
    }
}
