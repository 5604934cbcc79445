//! Records in Redis or Valkey, for runs on all hosts.
//!
//! The value of a key is the very JSON that stands in a file ([`record`](super::record)). A change
//! reads it and writes it in a transaction that fails if somebody else was faster
//! (compare-and-swap: WATCH, GET, then MULTI, SET, EXEC). So the policy exists once, and the server
//! needs no script. The clock is the server's TIME.
//!
//! [`address`] reads the URL of a server, and [`credentials`] the file with the password. [`wire`]
//! is a connection with one time limit for all that happens on it, [`tls`] encrypts it. A
//! [`session`] speaks the protocol, with the encoder and the parser of the crate `redis`, and
//! receives only the beginning of a [`value`] that is too long. [`link`]
//! opens sessions and finds the server that serves: it asks a [`sentinel`], and follows the nodes
//! of a cluster. An [`exchange`] is what is said about a record. [`store`] keeps one record,
//! [`renewal`] extends its lease, and [`listing`] finds all. [`trouble`] says what went wrong.
//!
//! The crate `redis` has connections of its own. They have no limit for the whole of an exchange
//! and none for the resolution of a name, so this module connects by itself.

pub(crate) mod address;
mod credentials;
mod exchange;
mod link;
mod listing;
pub(crate) mod renewal;
mod sentinel;
mod session;
pub(crate) mod store;
#[cfg(feature = "tls")]
mod tls;
pub(crate) mod trouble;
mod value;
mod wire;

pub(crate) use exchange::key;
#[cfg(fuzzing)]
pub(crate) use exchange::property;
pub(crate) use link::Link;

use std::path::PathBuf;

use address::Address;

/// The variable that names the file with the password.
pub(crate) const CREDENTIALS: &str = "RETRY_STATE_AUTH";

/// A server of shared state, as the user has named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) address: Address,
    /// The file of [`CREDENTIALS`].
    pub(crate) credentials: Option<PathBuf>,
}
