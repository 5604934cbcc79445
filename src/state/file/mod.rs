//! Records as files in a directory.
//!
//! [`place`] finds the file of a name. [`store`] reads and replaces it, under the [`lock`] beside
//! it. [`private`] makes files that only their owner can use.
//!
//! Two more serve the files of a key and of an answer: [`fitness`] judges a file that the user has
//! named, and [`whole`] makes a new file that appears whole.

pub(super) mod fitness;
pub(super) mod lock;
pub(crate) mod place;
pub(super) mod private;
pub(crate) mod store;
pub(super) mod whole;
