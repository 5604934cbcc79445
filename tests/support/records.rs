//! The state that runs share, seen from outside: a directory of records, read and changed as files.

use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use serde_json::Value;

use super::retry::{Retry, retry};
use super::scratch::Scratch;

/// A directory of records for one test.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) scratch: Scratch,
}

impl Records {
    /// A directory that does not exist yet.
    pub(crate) fn new() -> Self {
        Self { scratch: Scratch::new() }
    }

    /// The path of the directory.
    pub(crate) fn directory(&self) -> PathBuf {
        self.scratch.join("state")
    }

    /// A run that keeps its records in this directory.
    pub(crate) fn retry(&self) -> Retry {
        retry().env("RETRY_STATE", self.directory())
    }

    /// The path of a record, of its lock, or of another file in the directory.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory().join(file)
    }

    /// The record of a name.
    #[track_caller]
    pub(crate) fn read(&self, name: &str) -> Value {
        let bytes = fs::read(self.path(&format!("{name}.json"))).unwrap();
        serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{error}: {}", bytes.escape_ascii()))
    }

    /// The field `state` of the breaker in the record `name`.
    #[track_caller]
    pub(crate) fn state(&self, name: &str) -> String {
        state_of(&self.read(name))
    }

    /// The field `failures` of the breaker in the record `name`.
    #[track_caller]
    pub(crate) fn failures(&self, name: &str) -> u64 {
        failures_of(&self.read(name))
    }

    /// Changes the record of a name.
    pub(crate) fn edit(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut record = self.read(name);
        change(&mut record);
        fs::write(self.path(&format!("{name}.json")), record.to_string()).unwrap();
    }

    /// Makes every time in the record of a name older by `by`.
    pub(crate) fn age(&self, name: &str, by: Duration) {
        fn older(value: &mut Value, by: i64) {
            if let Some(values) = value.as_array_mut() {
                for value in values {
                    older(value, by);
                }
            }
            let Some(fields) = value.as_object_mut() else { return };
            let lengths = ["length_ms", "cooldown_ms", "returns_in_ms"];
            for (name, value) in fields {
                match value.as_i64() {
                    Some(time) if name.ends_with("_ms") && !lengths.contains(&name.as_str()) => {
                        *value = (time - by).into();
                    }
                    _ => older(value, by),
                }
            }
        }
        let by = i64::try_from(by.as_millis()).unwrap();
        self.edit(name, |record| {
            older(&mut record["breaker"], by);
            older(&mut record["budget"], by);
        });
    }

    /// Holds the lock of a record, like a run that was stopped in the middle of a transaction.
    #[track_caller]
    pub(crate) fn locked(&self, name: &str) -> File {
        let path = self.path(&format!("{name}.json.lock"));
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let lock = libc::flock {
            l_type: libc::F_WRLCK.try_into().unwrap(),
            l_whence: 0,
            l_start: 0,
            l_len: 1,
            l_pid: 0,
        };
        // Another process may hold the lock for a moment.
        super::process::wait_until("the lock is free", || fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)).is_ok());
        file
    }

    /// The sorted names of the files in the directory.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory()).into_iter().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// The field `state` of the breaker in a record.
#[track_caller]
pub(super) fn state_of(record: &Value) -> String {
    record["breaker"]["state"].as_str().unwrap().to_owned()
}

/// The field `failures` of the breaker in a record.
#[track_caller]
pub(super) fn failures_of(record: &Value) -> u64 {
    record["breaker"]["failures"].as_u64().unwrap()
}
