//! Records as files in a directory.
//!
//! [`place`] finds the file of a name. [`store`] reads and replaces it, under the [`lock`] beside
//! it. [`private`] makes files that only their owner can use.

mod lock;
pub(crate) mod place;
pub(super) mod private;
pub(crate) mod store;
