//! What runs share, seen from outside: a directory of records, read and changed as files.

use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use serde_json::Value;

use super::retry::{Retry, retry};
use super::scratch::Scratch;

/// A directory of records of the test's own.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) scratch: Scratch,
}

impl Records {
    /// An empty one: it is not even there.
    pub(crate) fn new() -> Self {
        Self { scratch: Scratch::new() }
    }

    /// Where it is.
    pub(crate) fn directory(&self) -> PathBuf {
        self.scratch.join("state")
    }

    /// A run that keeps its records there.
    pub(crate) fn retry(&self) -> Retry {
        retry().env("RETRY_STATE", self.directory())
    }

    /// The file of a name, or of what goes with it.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory().join(file)
    }

    /// The record of a name.
    #[track_caller]
    pub(crate) fn read(&self, name: &str) -> Value {
        let bytes = fs::read(self.path(&format!("{name}.json"))).unwrap();
        serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{error}: {}", bytes.escape_ascii()))
    }

    /// `state` of the breaker in it.
    #[track_caller]
    pub(crate) fn state(&self, name: &str) -> String {
        self.read(name)["breaker"]["state"].as_str().unwrap().to_owned()
    }

    /// `failures` of the breaker in it.
    #[track_caller]
    pub(crate) fn failures(&self, name: &str) -> u64 {
        self.read(name)["breaker"]["failures"].as_u64().unwrap()
    }

    /// Changes the record of a name.
    pub(crate) fn edit(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut record = self.read(name);
        change(&mut record);
        fs::write(self.path(&format!("{name}.json")), record.to_string()).unwrap();
    }

    /// Makes all that is in the record of a name so much older.
    pub(crate) fn age(&self, name: &str, by: Duration) {
        fn older(value: &mut Value, by: i64) {
            let Some(fields) = value.as_object_mut() else { return };
            for (name, value) in fields {
                match value.as_i64() {
                    Some(time) if name == "at_ms" || name == "since_ms" || name == "first_ms" => {
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

    /// Holds the lock of a record, as a run does that was stopped in the midst of a transaction.
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
        // The lock may be another's for a moment.
        super::process::wait_until("the lock is free", || fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)).is_ok());
        file
    }

    /// The files there, by name.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory()).into_iter().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}
