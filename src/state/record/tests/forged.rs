//! Numbers that no retry writes. Whatever a record says, some run makes an attempt within a bounded
//! time, and nothing overflows.

use serde_json::Value;

use super::*;
use crate::policy::admission::breaker::{Admitted, Claim, Observation, Opens, Pass, Settings};
use crate::policy::admission::budget::Rate;
use crate::policy::admission::record::{Intent, Preview, Report};

/// The longest claim in a server.
const LEASE: Duration = Duration::from_secs(15);

/// The longest wait of a run that needs a permit: for the claims of others, and for the next permit.
const RECOVERY: Duration = Duration::from_secs(20);

/// Failures open a breaker with a cooldown of 30 s no longer than a server may ask.
const FAILURES: Duration = Duration::from_secs(24 * 3600 + 20);

/// Nothing opens a breaker for longer.
const EVER: Duration = Duration::from_hours(24 * 3650);

const FIFTH: Rate = Rate::Share { billionths: 200_000_000 };

/// The store of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// In a file. Nobody holds the claims, because their holders have died.
    File,
    /// In a file of an earlier boot.
    BeforeBoot,
    /// In a server. Nobody knows whether the holders live.
    Server,
}

impl Kept {
    /// The moment so long after the start.
    fn stamp(self, passed: Duration) -> Stamp {
        let Stamp { boot_id, boot_ms, unix_ms } = now();
        let passed = i64::try_from(passed.as_millis()).unwrap();
        match self {
            Self::File => Stamp { boot_id, boot_ms: boot_ms + passed, unix_ms: unix_ms + passed },
            Self::BeforeBoot => {
                Stamp { boot_id: "b".into(), boot_ms: 9000 + passed, unix_ms: unix_ms + passed }
            }
            Self::Server => Stamp::of_server(boot_ms + passed),
        }
    }

    fn read(self, bytes: &[u8], passed: Duration) -> Option<Snapshot> {
        let mut snapshot = decode(bytes, &self.stamp(passed)).ok()?;
        if self == Self::Server {
            let before = snapshot.record.clone();
            snapshot.record.breaker.limit_claims(LEASE, snapshot.now);
            snapshot.moved |= snapshot.record != before;
        }
        Some(snapshot)
    }

    fn lives(self) -> impl Fn(Claim, u32) -> bool + Copy {
        move |_, _| self == Self::Server
    }
}

/// The records to forge, as they stand in this store.
fn written(kept: Kept) -> Vec<Value> {
    let stamp = if kept == Kept::BeforeBoot { now() } else { kept.stamp(Duration::ZERO) };
    let read = |record: &Record| serde_json::from_slice(&encode(record, stamp.clone())).unwrap();
    records().iter().map(read).collect()
}

/// The paths of all numbers in a value (RFC 6901).
fn numbers(value: &Value, path: &str, into: &mut Vec<String>) {
    match value {
        Value::Number(_) => into.push(path.to_owned()),
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(n, value)| numbers(value, &format!("{path}/{n}"), into));
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| numbers(value, &format!("{path}/{name}"), into));
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn forged() -> Vec<Value> {
    let small = [0_i64, 1, -1, 6, 7, 8, 500_001, (1 << 32) - 1, 1 << 53, i64::MIN, i64::MAX];
    let large = [u64::MAX / 2 + 1, u64::MAX - 1, u64::MAX];
    small.into_iter().map(Value::from).chain(large.map(Value::from)).collect()
}

/// The longest wait that a number may cause.
fn bound(record: &Value, path: &str) -> Duration {
    let breaker = &record["breaker"];
    match breaker["state"].as_str() {
        Some("closed") => RECOVERY,
        // A user may hold it open for as long.
        _ if breaker["cause"] == "tripped" && path == "/breaker/length_ms" => EVER,
        _ => FAILURES,
    }
}

fn applicant(waits: bool) -> Applicant {
    Applicant { pid: 1, lease: Duration::from_secs(5), waits, returns: waits }
}

/// Lets a run look again and again until it is admitted. Returns the record, the pass and the time.
/// None if the bytes are no record: then the run begins a new one.
fn admitted(kept: Kept, bytes: &[u8], waits: bool, from: Duration) -> Option<(Snapshot, Pass, Duration)> {
    let (mut bytes, mut passed) = (bytes.to_vec(), from);
    for _ in 0..2000 {
        let mut seen = kept.read(&bytes, passed)?;
        let previewed = seen.record.preview(&applicant(waits), Some(FIFTH), seen.now, |claim, owner| {
            Some(kept.lives()(claim, owner))
        });
        let refused = matches!(previewed, Preview::Final(Admitted::No(_)));
        match seen.record.admit(&applicant(waits), Some(FIFTH), seen.now, kept.lives()) {
            Admitted::Yes(pass) => {
                assert!(!refused, "a look and a transaction agree");
                return Some((seen, pass, passed));
            }
            Admitted::No(refusal) => {
                if seen.moved {
                    bytes = encode(&seen.record, kept.stamp(passed));
                }
                passed += refusal.left().max(Duration::from_millis(250));
            }
        }
    }
    panic!("no end of looks");
}

/// The number of permits with this number.
fn permits(record: &Record, number: u64) -> usize {
    match &record.breaker.state {
        State::Closed(Closed { recovery: Some(recovery), .. }) => {
            recovery.permits.iter().filter(|permit| permit.id == number).count()
        }
        State::Closed(_) | State::Open(_) | State::HalfOpen(_) => 0,
    }
}

/// Reports this of the attempt, and takes a token of the budget. Returns the record.
fn reported(kept: Kept, seen: Snapshot, pass: Pass, observation: &Observation) -> Record {
    let opens = Opens::InRow(std::num::NonZeroU32::MIN);
    let settings = Settings { opens, cooldown: Duration::from_secs(30), lease: Duration::from_secs(5) };
    let Snapshot { mut record, now, .. } = seen;
    let budget = Some(FIFTH);
    let report = Report { pass, observation, from: None, settings: &settings, intent: Intent::Retry, budget };
    let _ = record.breaker.holds_already(pass, observation, None, now, &settings);
    let _ = record.settle(&report, now, kept.lives());
    if let Some(bucket) = record.budget {
        let _ = (bucket.tokens(now), bucket.full_in());
    }
    record
}

/// Forges this number, and lets a run come and report.
fn check(kept: Kept, record: &Value, path: &str, number: &Value, longest: Duration) {
    let mut record = record.clone();
    *record.pointer_mut(path).unwrap() = number.clone();
    let bytes = record.to_string().into_bytes();
    let failure = Observation::Failure { description: "exited 7".into(), asked: Some(Duration::MAX) };
    for waits in [false, true] {
        let Some((seen, pass, passed)) = admitted(kept, &bytes, waits, Duration::ZERO) else { return };
        let case = format!("{path} is {number}, {kept:?}, waits: {waits}");
        assert!(passed <= longest, "{case}: {passed:?} in {record}");
        // Two permits of one number could not be told apart.
        assert!(pass.permit().is_none_or(|permit| permits(&seen.record, permit) == 1), "{case}");
        for observation in [&failure, &Observation::Success, &Observation::Nothing] {
            let after = reported(kept, seen.clone(), pass, observation);
            let again = encode(&after, kept.stamp(passed));
            let (_, _, then) = admitted(kept, &again, waits, passed).unwrap();
            let waited = then.saturating_sub(passed);
            assert!(waited <= FAILURES, "{case}: {waited:?} after {observation:?}");
        }
    }
}

#[test]
fn no_number_in_a_record_stops_all_runs() {
    for kept in [Kept::File, Kept::BeforeBoot, Kept::Server] {
        let mut checked = 0;
        for record in written(kept) {
            let mut paths = Vec::new();
            numbers(&record, "", &mut paths);
            for (path, number) in paths.iter().flat_map(|path| forged().into_iter().map(move |n| (path, n))) {
                check(kept, &record, path, &number, bound(&record, path));
                checked += 1;
            }
        }
        assert!(checked > 1000, "{checked}");
    }
}

#[test]
fn a_forged_cooldown_has_an_end_too() {
    let mut record = written(Kept::File).remove(2);
    record["breaker"]["cooldown_ms"] = u64::MAX.into();
    check(Kept::File, &record, "/breaker/length_ms", &u64::MAX.into(), EVER);
    // The length that is left of it does not begin anew with each look.
    let bytes = record.to_string().into_bytes();
    let (seen, _, passed) = admitted(Kept::File, &bytes, false, Duration::ZERO).unwrap();
    assert!(seen.record.breaker.opening().is_some() && passed <= EVER);
}

#[test]
fn no_window_in_a_record_is_too_small_to_grow_or_too_large() {
    for (window, threshold) in
        [(0, None), (0, Some(0)), (1, Some(u32::MAX)), (u32::MAX, None), (u32::MAX, Some(0)), (62, None)]
    {
        let mut record = written(Kept::File).remove(1);
        record["breaker"]["recovery"]["window"] = window.into();
        record["breaker"]["recovery"]["threshold"] = threshold.into();
        let (mut bytes, mut passed, mut most) = (record.to_string().into_bytes(), Duration::ZERO, 0);
        let State::Closed(Closed { recovery: Some(read), .. }) =
            decode(&bytes, &now()).unwrap().record.breaker.state
        else {
            panic!("{record}")
        };
        for thousandths in [Some(read.window), read.threshold].into_iter().flatten() {
            assert!((62..=128_000).contains(&thousandths), "{thousandths} of {record}");
        }
        for _ in 0..200 {
            let (seen, pass, then) = admitted(Kept::File, &bytes, true, passed).unwrap();
            let after = reported(Kept::File, seen, pass, &Observation::Success);
            let State::Closed(Closed { recovery: Some(recovery), .. }) = &after.breaker.state else {
                panic!("{after:?}")
            };
            most = recovery.capacity();
            (bytes, passed) = (encode(&after, Kept::File.stamp(then)), then);
        }
        assert!((2..=128).contains(&most), "window {window}, threshold {threshold:?}: {most}");
    }
}

#[test]
fn permits_of_absurd_length_come_back_in_a_server() {
    let mut record = written(Kept::Server).remove(1);
    let recovery = &mut record["breaker"]["recovery"];
    (recovery["permits"][0]["length_ms"], recovery["permits"][1]["length_ms"]) =
        (u64::MAX.into(), u64::MAX.into());
    let (_, _, passed) =
        admitted(Kept::Server, &record.to_string().into_bytes(), true, Duration::ZERO).unwrap();
    assert!(passed >= LEASE && passed <= RECOVERY, "{passed:?}");
    // If there is room for more permits, none gets the number of another.
    record["breaker"]["recovery"]["window"] = 128_000.into();
    check(Kept::Server, &record, "/breaker/recovery/next", &7.into(), RECOVERY);
}

#[test]
fn of_too_many_permits_the_newest_are_kept() {
    let mut record = written(Kept::File).remove(1);
    let permits = &mut record["breaker"]["recovery"]["permits"];
    let permit = permits[0].clone();
    let numbered = |id: u64| {
        let mut permit = permit.clone();
        permit["id"] = id.into();
        permit
    };
    *permits = (0..200).map(numbered).collect();
    let read = decode(&record.to_string().into_bytes(), &now()).unwrap().record;
    let State::Closed(Closed { recovery: Some(recovery), .. }) = read.breaker.state else {
        panic!("{read:?}")
    };
    assert_eq!(
        recovery.permits.iter().map(|permit| permit.id).collect::<Vec<_>>(),
        (72..200).collect::<Vec<_>>()
    );
}
