//! The idempotency key of a run.

use std::time::Duration;

use nix::errno::Errno;
use rand::TryRng as _;
use rand::rngs::SysRng;

use crate::cli::values::KeySource;
use crate::error::Error;
use crate::process::signal::pending::end_is_pending;
use crate::state::key::{self, KeyFileError};

/// The key is read or made at the first attempt, because no request can be sent before.
#[derive(Debug)]
pub(super) struct RunKey<'a> {
    source: &'a KeySource,
    key: Option<String>,
}

const NO_RANDOMNESS: Error = Error::System { what: "cannot get random numbers", errno: Errno::EIO };

impl<'a> RunKey<'a> {
    pub(super) fn new(source: &'a KeySource) -> Self {
        Self { source, key: None }
    }

    /// Looks at the key file before the first wait.
    ///
    /// # Errors
    /// If it cannot be used.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.source {
            KeySource::File(path) => key::read(path).map(drop).map_err(unusable),
            KeySource::Fresh | KeySource::Given(_) => Ok(()),
        }
    }

    /// The key, and the age of the key file if this call has read the key of an earlier run from
    /// it.
    ///
    /// # Errors
    /// If the key file cannot be used, or the system has no randomness.
    pub(super) fn get(&mut self) -> Result<(String, Option<Duration>), Error> {
        if let Some(key) = &self.key {
            return Ok((key.clone(), None));
        }
        let (key, age) = match self.source {
            KeySource::Fresh => (fresh()?, None),
            KeySource::Given(key) => (key.clone(), None),
            KeySource::File(path) => key::obtain(path, &fresh()?).map_err(unusable)?,
        };
        Ok((self.key.insert(key).clone(), age))
    }

    /// Removes the key file after a success, because the next run is another request.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub(super) fn forget(&mut self) -> Result<(), KeyFileError> {
        match (self.source, self.key.take()) {
            (KeySource::File(path), Some(key)) => key::remove(path, &key, end_is_pending),
            (KeySource::File(_), None) | (KeySource::Fresh | KeySource::Given(_), _) => Ok(()),
        }
    }
}

/// A random UUID (RFC 9562, version 4).
fn fresh() -> Result<String, Error> {
    let mut bytes = [0; 16];
    SysRng.try_fill_bytes(&mut bytes).map_err(|_| NO_RANDOMNESS)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
}

fn unusable(error: KeyFileError) -> Error {
    Error::State { hint: error.hint(), cause: error.into() }
}
