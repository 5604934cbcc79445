//! A record as it stands in a file: JSON with a version.
//!
//! Times are milliseconds since the boot that `clock` names; `clock` is the moment of writing.
//! [`decode`] turns them into times of the present boot.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::stamp::Stamp;
use crate::policy::admission::breaker::{
    Breaker, Cause, Closed, HalfOpen, HostTag, Lease, MOST_OUTCOMES, Open, Outcomes, Past, State, Timing, Use,
};
use crate::policy::admission::budget::Bucket;
use crate::policy::admission::moment::{Moment, millis};
use crate::policy::admission::record::Record;
use crate::policy::admission::recovery::{Demand, MOST_PERMITS, Permit, Recovery, window};

/// The version that this program writes, and the newest that it reads.
pub(super) const VERSION: u64 = 2;

/// The largest record, in bytes. retry writes none that is larger.
pub(super) const LARGEST: usize = 64 * 1024;

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
    if bytes.len() > LARGEST {
        return Err(Unreadable::Corrupt);
    }
    let json: RecordJson = match serde_json::from_slice(bytes) {
        Ok(json @ RecordJson { version: 1..=VERSION, .. }) => json,
        Ok(_) | Err(_) => return Err(unreadable(bytes)),
    };
    let shift = now.shift_from(&json.clock);
    let mut record = Record::from(json);
    record.shift(shift);
    let shifted = record.clone();
    record.not_after(now.moment());
    let moved = shift != 0 || record != shifted;
    Ok(Snapshot { record, now: now.moment(), moved })
}

/// Why bytes are not a record of a version that this program reads.
fn unreadable(bytes: &[u8]) -> Unreadable {
    match serde_json::from_slice(bytes) {
        Ok(VersionJson { version }) if version > VERSION => Unreadable::Newer(version),
        Ok(_) | Err(_) => Unreadable::Corrupt,
    }
}

/// The bytes of a record's file, written at `now`.
///
/// They are one line. Indented, a record with many outcomes would be twice as long.
pub(crate) fn encode(record: &Record, now: Stamp) -> Vec<u8> {
    let json = RecordJson {
        version: VERSION,
        clock: now,
        breaker: BreakerJson::from(&record.breaker),
        budget: record.budget.map(BudgetJson::from),
    };
    // serde_json fails only if a key is not a string or a value refuses to be written.
    let mut bytes = serde_json::to_vec(&json).unwrap_or_default();
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
    Closed(ClosedJson),
    Open(OpenJson),
    HalfOpen {
        #[serde(flatten)]
        open: OpenJson,
        probe: LeaseJson,
        /// The probe began before the end of the cooldown.
        #[serde(default, skip_serializing_if = "is_false")]
        early: bool,
    },
}

#[derive(Serialize, Deserialize)]
struct ClosedJson {
    since_ms: Option<i64>,
    /// Failures in a row.
    failures: u32,
    last: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before_ms: Option<i64>,
    /// New in version 2, like all below.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    outcomes: Vec<PastJson>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hosts: Vec<UseJson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recovery: Option<RecoveryJson>,
}

#[derive(Serialize, Deserialize)]
struct PastJson {
    at_ms: i64,
    failed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct UseJson {
    host: u32,
    at_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct RecoveryJson {
    /// Thousandths of permits, like the threshold.
    window: u32,
    threshold: Option<u32>,
    due_ms: i64,
    full_ms: i64,
    halved_ms: Option<i64>,
    next: u64,
    permits: Vec<PermitJson>,
}

#[derive(Serialize, Deserialize)]
struct PermitJson {
    id: u64,
    pid: u32,
    since_ms: i64,
    length_ms: u64,
    /// Other runs may wait for a permit too.
    demand: bool,
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
    /// New in version 2, like the next. Version 1 had no early probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    probed_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before_ms: Option<i64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the type that serde asks for")]
fn is_false(early: &bool) -> bool {
    !early
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

/// The newest of these, which are the last.
fn newest<T>(all: Vec<T>, most: usize) -> impl Iterator<Item = T> {
    let too_many = all.len().saturating_sub(most);
    all.into_iter().skip(too_many)
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
            StateJson::Closed(closed) => Self::Closed(closed.into()),
            StateJson::Open(open) => Self::Open(open.into()),
            StateJson::HalfOpen { open, probe, early } => {
                let timing = if early { Timing::Early } else { Timing::Due };
                Self::HalfOpen(HalfOpen { open: open.into(), lease: probe.into(), timing })
            }
        }
    }
}

impl From<&State> for StateJson {
    fn from(state: &State) -> Self {
        match state {
            State::Closed(closed) => Self::Closed(closed.into()),
            State::Open(open) => Self::Open(open.into()),
            State::HalfOpen(half) => Self::HalfOpen {
                open: (&half.open).into(),
                probe: half.lease.into(),
                early: half.timing == Timing::Early,
            },
        }
    }
}

impl From<ClosedJson> for Closed {
    fn from(json: ClosedJson) -> Self {
        let past = newest(json.outcomes, MOST_OUTCOMES).map(Past::from).collect();
        let hosts = newest(json.hosts, MOST_OUTCOMES).map(Use::from).collect();
        Self {
            since: json.since_ms.map(Moment),
            outcomes: Outcomes { past, in_row: json.failures, hosts },
            last: json.last,
            not_before: json.not_before_ms.map(Moment),
            recovery: json.recovery.map(Recovery::from),
        }
    }
}

impl From<&Closed> for ClosedJson {
    fn from(closed: &Closed) -> Self {
        Self {
            since_ms: closed.since.map(|since| since.0),
            failures: closed.outcomes.in_row,
            last: closed.last.clone(),
            not_before_ms: closed.not_before.map(|until| until.0),
            outcomes: closed.outcomes.past.iter().map(PastJson::from).collect(),
            hosts: closed.outcomes.hosts.iter().map(UseJson::from).collect(),
            recovery: closed.recovery.as_ref().map(RecoveryJson::from),
        }
    }
}

impl From<PastJson> for Past {
    fn from(json: PastJson) -> Self {
        Self { at: Moment(json.at_ms), failed: json.failed, host: json.host.map(HostTag) }
    }
}

impl From<&Past> for PastJson {
    fn from(past: &Past) -> Self {
        Self { at_ms: past.at.0, failed: past.failed, host: past.host.map(|host| host.0) }
    }
}

impl From<UseJson> for Use {
    fn from(json: UseJson) -> Self {
        Self { host: HostTag(json.host), at: Moment(json.at_ms) }
    }
}

impl From<&Use> for UseJson {
    fn from(used: &Use) -> Self {
        Self { host: used.host.0, at_ms: used.at.0 }
    }
}

impl From<RecoveryJson> for Recovery {
    fn from(json: RecoveryJson) -> Self {
        Self {
            window: window(json.window),
            threshold: json.threshold.map(window),
            permits: newest(json.permits, MOST_PERMITS).map(Permit::from).collect(),
            due: Moment(json.due_ms),
            full: Moment(json.full_ms),
            halved: json.halved_ms.map(Moment),
            next: json.next,
        }
    }
}

impl From<&Recovery> for RecoveryJson {
    fn from(recovery: &Recovery) -> Self {
        Self {
            window: recovery.window,
            threshold: recovery.threshold,
            due_ms: recovery.due.0,
            full_ms: recovery.full.0,
            halved_ms: recovery.halved.map(|at| at.0),
            next: recovery.next,
            permits: recovery.permits.iter().map(PermitJson::from).collect(),
        }
    }
}

impl From<PermitJson> for Permit {
    fn from(json: PermitJson) -> Self {
        Self {
            id: json.id,
            owner: json.pid,
            since: Moment(json.since_ms),
            length: Duration::from_millis(json.length_ms),
            demand: if json.demand { Demand::High } else { Demand::Low },
        }
    }
}

impl From<&Permit> for PermitJson {
    fn from(permit: &Permit) -> Self {
        Self {
            id: permit.id,
            pid: permit.owner,
            since_ms: permit.since.0,
            length_ms: millis(permit.length),
            demand: permit.demand == Demand::High,
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
            probed: Moment(json.probed_ms.unwrap_or(json.since_ms)),
            failures: json.failures,
            last: json.last,
            not_before: json.not_before_ms.map(Moment),
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
            probed_ms: (open.probed != open.since).then_some(open.probed.0),
            not_before_ms: open.not_before.map(|until| until.0),
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
mod tests;
