//! The names of all records in a server.

use std::time::Duration;

use redis::{Value, pipe};

use super::exchange::{key, prefix};
use super::link::Link;
use super::session::text;
use super::trouble::Trouble;
use super::wire::{Fault, Limit};
use crate::state::file::place::is_path;
use crate::state::store::StoreError;

/// The longest time for the list. A person waits for it.
const LISTING: Duration = Duration::from_secs(5);

/// The keys that the server looks at in one step.
const AT_ONCE: u32 = 1000;

/// So many keys are nearly always spread over all nodes of a cluster.
const SAMPLES: u32 = 16;

impl Link {
    /// The names of all records, sorted.
    ///
    /// # Errors
    /// If the server cannot be used, does not allow SCAN, or is a node of a cluster, which knows
    /// its own keys only.
    pub(crate) fn names(&mut self) -> Result<Vec<String>, StoreError> {
        let limit = self.limit(LISTING);
        self.scan(limit).map_err(|fault| self.error(fault))
    }

    fn scan(&mut self, limit: Limit) -> Result<Vec<String>, Fault> {
        self.check_alone(limit)?;
        let (mut names, mut cursor) = (Vec::new(), "0".to_owned());
        loop {
            let mut commands = pipe();
            let scan = commands.cmd("SCAN").arg(&cursor).arg("MATCH").arg(format!("{}*", prefix()));
            scan.arg("COUNT").arg(AT_ONCE);
            let replies = self.ask(&commands, limit)?;
            let [Value::Array(parts)] = replies.as_slice() else { return Err(Trouble::Garbage.into()) };
            let [next, Value::Array(keys)] = parts.as_slice() else { return Err(Trouble::Garbage.into()) };
            // A name that is a path, or no text, is none that retry writes.
            let found = keys.iter().filter_map(|key| text(key).ok()?.strip_prefix(&prefix()));
            names.extend(found.filter(|name| !is_path(name)).map(str::to_owned));
            text(next)?.clone_into(&mut cursor);
            if cursor == "0" {
                break;
            }
        }
        // SCAN may return a key twice.
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Checks that the server has all keys, by asking for some.
    fn check_alone(&mut self, limit: Limit) -> Result<(), Fault> {
        let mut ping = pipe();
        ping.cmd("TIME");
        self.ask(&ping, limit)?;
        let mut samples = pipe();
        for n in 0..SAMPLES {
            // A value may be long, and the answer to WATCH is short.
            samples.cmd("WATCH").arg(key(&n.to_string()));
        }
        samples.cmd("UNWATCH");
        let replies = self.go_on(&samples, limit)?;
        let sends_on = |reply: &Value| matches!(reply, Value::ServerError(error) if error.code() == "MOVED");
        match replies.iter().any(sends_on) {
            true => Err(Trouble::Cluster.into()),
            false => Ok(()),
        }
    }
}
