//! What is said about a record: the commands, and the meaning of their replies.

use std::time::Duration;

use redis::{Pipeline, Value, pipe};

use super::session::{all_fine, fine, text};
use super::trouble::Trouble;
use super::wire::Fault;
use crate::policy::admission::breaker::{HalfOpen, State};
use crate::policy::admission::moment::{Moment, millis};
use crate::policy::admission::record::Record;
use crate::state::record::{self, Snapshot, Unreadable, decode, encode, looks_like_one};
use crate::state::stamp::Stamp;

/// The longest lease of a probe, and of a permit. The run that holds it renews it, so the death of
/// its host frees it soon.
pub(super) const LEASE: Duration = Duration::from_secs(15);

/// A key expires this long after the last moment at which its record means something.
const SPARE: Duration = Duration::from_hours(24);

/// No key lives longer. The server refuses a much longer time.
const LONGEST_LIFE: Duration = Duration::from_hours(24 * 3650);

/// The key of a name. Each version of the format has its own keys, so that programs of two versions
/// do not refuse each other's records.
pub(crate) fn key(name: &str) -> String {
    format!("{}{name}", prefix())
}

/// The beginning of all keys.
pub(super) fn prefix() -> String {
    format!("retry:v{}:", record::VERSION)
}

/// Asks for a record.
pub(super) fn to_look(key: &str) -> Pipeline {
    let mut commands = pipe();
    commands.cmd("TIME").cmd("GET").arg(key);
    commands
}

/// Asks for a record that is going to be changed. If another run changes it first, the write fails.
pub(super) fn to_read(key: &str) -> Pipeline {
    let mut commands = pipe();
    // An earlier change of this run may have watched a key and written nothing.
    commands.cmd("UNWATCH").cmd("WATCH").arg(key).cmd("TIME").cmd("GET").arg(key);
    commands
}

/// The record in the replies to [`to_look`] or [`to_read`], and the moment by the server's clock.
/// None if there is no such key.
pub(super) fn record_in(key: &str, mut replies: Vec<Value>) -> Result<(Stamp, Option<Snapshot>), Fault> {
    let last = replies.split_off(replies.len().saturating_sub(2));
    for reply in replies {
        fine(reply)?;
    }
    let [time, value] = all_fine(last).map_err(|fault| fault.about(key))?;
    let stamp = Stamp::of_server(unix_ms(&time)?);
    let bytes = match &value {
        Value::Nil => return Ok((stamp, None)),
        Value::BulkString(bytes) => bytes,
        _ => return Err(Trouble::Garbage.into()),
    };
    let key = || key.to_owned();
    match decode(bytes, &stamp) {
        Ok(snapshot) => Ok((stamp, Some(with_short_claims(snapshot)))),
        Err(_) if !looks_like_one(bytes) => Err(Trouble::Foreign { key: key() }.into()),
        Err(Unreadable::Newer(version)) => Err(Trouble::Newer { key: key(), version }.into()),
        // A record is written whole, so something else has written this. It expires.
        Err(Unreadable::Corrupt) => Err(Trouble::Damaged { key: key() }.into()),
    }
}

/// The same, with no claim that lasts longer than the lease: time alone ends a claim in a server. A
/// shortened claim must be written, or the next reader would shorten the old one from a later moment.
fn with_short_claims(mut snapshot: Snapshot) -> Snapshot {
    let before = snapshot.record.breaker.clone();
    snapshot.record.breaker.limit_claims(LEASE, snapshot.now);
    snapshot.moved |= snapshot.record.breaker != before;
    snapshot
}

/// Writes a record, unless another run has changed it since [`to_read`].
pub(super) fn to_write(key: &str, record: &Record, stamp: Stamp) -> Pipeline {
    let life = millis(life(record, stamp.moment()));
    let mut commands = pipe();
    commands.cmd("MULTI");
    commands.cmd("SET").arg(key).arg(encode(record, stamp)).arg("PX").arg(life);
    commands.cmd("EXEC");
    commands
}

/// Whether a record was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Written {
    Yes,
    /// Another run was faster.
    No,
}

/// The meaning of the replies to [`to_write`].
pub(super) fn was_written(replies: Vec<Value>) -> Result<Written, Fault> {
    let [_, _, outcome] = all_fine(replies)?;
    match outcome {
        Value::Nil => Ok(Written::No),
        Value::Array(results) => {
            let fine = results.into_iter().try_for_each(|result| fine(result).map(drop));
            fine.map(|()| Written::Yes)
        }
        _ => Err(Trouble::Garbage.into()),
    }
}

/// Begins a write and takes it back. The server judges a command when it queues it, so this shows
/// whether it would take a write. If it denies MULTI, it carries the SET out: `NX XX` makes that an
/// error.
pub(super) fn to_try_write(key: &str) -> Pipeline {
    let mut commands = pipe();
    commands.cmd("MULTI").cmd("SET").arg(key).arg("").arg("NX").arg("XX").cmd("DISCARD");
    commands
}

/// The time for which a record means something, and a while more.
fn life(record: &Record, now: Moment) -> Duration {
    let breaker = match &record.breaker.state {
        State::Closed(_) => Duration::ZERO,
        State::Open(open) => open.until().since(now),
        State::HalfOpen(HalfOpen { lease, .. }) => lease.since.plus(lease.length).since(now),
    };
    let budget = record.budget.map_or(Duration::ZERO, |bucket| bucket.full_in());
    breaker.max(budget).max(SPARE).saturating_add(SPARE).min(LONGEST_LIFE)
}

/// The answer to TIME in milliseconds: seconds and microseconds since 1970.
fn unix_ms(value: &Value) -> Result<i64, Fault> {
    let number = |value: &Value| -> Result<i64, Fault> {
        let number = text(value)?.parse::<u32>().map_err(|_| Trouble::Garbage)?;
        Ok(number.into())
    };
    match value {
        Value::Array(parts) => match parts.as_slice() {
            [seconds, micros] => Ok(number(seconds)? * 1000 + number(micros)? / 1000),
            _ => Err(Trouble::Garbage.into()),
        },
        _ => Err(Trouble::Garbage.into()),
    }
}

/// Any bytes of a server are a record or an error, and a record that was read can be written.
#[cfg(any(test, fuzzing))]
pub(crate) fn property(mut bytes: &[u8]) {
    let mut parser = redis::Parser::new();
    let replies: Vec<Value> = std::iter::from_fn(|| parser.parse_value(&mut bytes).ok()).take(8).collect();
    if let Ok((stamp, Some(snapshot))) = record_in("k", replies.clone()) {
        let written = to_write("k", &snapshot.record, stamp.clone()).get_packed_pipeline();
        let again = encode(&snapshot.record, stamp);
        assert!(written.windows(again.len()).any(|part| part == again));
    }
    let _ = was_written(replies.clone());
    for reply in replies {
        let _ = super::sentinel::peer(&reply);
        if let Err(Fault::Trouble(trouble)) = fine(reply) {
            assert!(!trouble.to_string().is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(mut bytes: &[u8]) -> Vec<Value> {
        let mut parser = redis::Parser::new();
        std::iter::from_fn(|| parser.parse_value(&mut bytes).ok()).collect()
    }

    /// The replies to a look, with this value of the key.
    fn look(value: &str) -> Vec<u8> {
        format!("*2\r\n$10\r\n1700000000\r\n$6\r\n123456\r\n${}\r\n{value}\r\n", value.len()).into_bytes()
    }

    #[test]
    fn a_record_comes_with_the_time_of_the_server() {
        let (stamp, seen) =
            record_in("k", parsed(b"*2\r\n$10\r\n1700000000\r\n$6\r\n123456\r\n$-1\r\n")).unwrap();
        assert_eq!((stamp.moment(), seen), (Moment(1_700_000_000_123), None));
        let record = String::from_utf8(encode(&Record::default(), stamp)).unwrap();
        let (_, seen) = record_in("k", parsed(&look(&record))).unwrap();
        assert_eq!(seen.unwrap().record, Record::default());
    }

    #[test]
    fn the_page_about_servers_names_the_keys() {
        let page = include_str!("../../../docs/operations.md");
        assert!(page.contains(&format!("`{}NAME`", prefix())) && page.contains(&key("payments")));
    }

    #[test]
    fn what_is_no_record_is_an_error() {
        let trouble = |bytes: &[u8]| match record_in("k", parsed(bytes)) {
            Err(Fault::Trouble(trouble)) => trouble,
            other => panic!("{other:?}"),
        };
        let key = || "k".to_owned();
        assert_eq!(trouble(&look("hello")), Trouble::Foreign { key: key() });
        assert_eq!(trouble(&look("{\"version\":1,\"clock\":{")), Trouble::Damaged { key: key() });
        let newer = "{\"version\": 99, \"clock\": {}}";
        assert_eq!(trouble(&look(newer)), Trouble::Newer { key: key(), version: 99 });
        assert_eq!(trouble(b"+OK\r\n+OK\r\n"), Trouble::Garbage);
        assert_eq!(trouble(b""), Trouble::Garbage);
        let wrong_type = trouble(b"*2\r\n$1\r\n1\r\n$1\r\n1\r\n-WRONGTYPE Operation against a key\r\n");
        assert_eq!(wrong_type, Trouble::Foreign { key: key() });
        // An error of an earlier command outranks what follows.
        let denied = trouble(b"+OK\r\n-NOPERM no\r\n*2\r\n$1\r\n1\r\n$1\r\n1\r\n$-1\r\n");
        assert!(matches!(denied, Trouble::Refused { code, .. } if code == "NOPERM"));
    }

    #[test]
    fn a_write_that_lost_the_race_is_none() {
        let written = |bytes: &[u8]| was_written(parsed(bytes));
        assert_eq!(written(b"+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n"), Ok(Written::Yes));
        assert_eq!(written(b"+OK\r\n+QUEUED\r\n*-1\r\n"), Ok(Written::No));
        assert!(written(b"+OK\r\n-OOM command not allowed\r\n-EXECABORT x\r\n").is_err());
        assert!(written(b"+OK\r\n+QUEUED\r\n*1\r\n-READONLY x\r\n").is_err());
        assert!(written(b"+OK\r\n+QUEUED\r\n").is_err());
    }

    proptest! {
        #[test]
        fn any_replies_are_borne(
            parts in prop::collection::vec(
                prop_oneof![
                    "[*$:+-][0-9]{1,3}\r\n",
                    "[-+][A-Z]{1,9} [ -~]{0,9}\r\n",
                    "[|%~>#,=!(_][ -~]{0,5}\r\n",
                    Just("*2\r\n$1\r\n1\r\n$1\r\n1\r\n".to_owned()),
                    Just("$-1\r\n".to_owned()),
                    Just("*-1\r\n".to_owned()),
                ],
                0..12,
            ),
            cut in 0usize..200,
        ) {
            let text = parts.concat();
            property(text.get(..cut).unwrap_or(&text).as_bytes());
        }
    }
}
