//! Everything that runs on a machine share.
//!
//! A [`record`] holds the breaker and the budget of one name. A [`store`] keeps it and is the only
//! door to it: in a file ([`mod@file`]) or in a server ([`mod@redis`]). A [`keeper`] is the store
//! of a name; if a server is away, it goes on with a file. A [`participant`] is one run: it asks
//! the record before each attempt and reports after it. A [`warning`] is what the user must know
//! about a record. [`stamp`] makes times comparable across reboots. [`surroundings`] are the facts
//! about processes and signals that the floor above hands in.
//!
//! Two files of a user's own are apart from these. [`key`] is the idempotency key that a failed run
//! leaves to the next one. [`once`] is the answer that a run leaves to all runs after it.

pub(crate) mod file;
mod host;
pub(crate) mod keeper;
pub(crate) mod key;
pub(crate) mod once;
pub(crate) mod participant;
pub(crate) mod record;
pub(crate) mod redis;
pub(crate) mod stamp;
pub(crate) mod store;
pub(crate) mod surroundings;
pub(crate) mod warning;
