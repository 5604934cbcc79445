//! Bytes on their way.
//!
//! - Input: [`stdin`] gives every attempt the same bytes. For a pipe or a socket, [`feed`] copies
//!   them from the [`source`] into the command's [`end`] and keeps them in a [`spool`].
//! - Output: [`plan`] decides which streams are watched, [`passage`] moves the bytes of one of
//!   them, and [`watch`] has all of them. [`hold`] keeps the output of an attempt until its
//!   verdict, and [`order`] which stream they are for. [`matcher`] searches the bytes that pass.
//! - [`messages`] are the lines of retry itself on stderr, with the [`countdown`]. They and the watched streams are written
//!   through a [`sink`], which never waits.

pub(crate) mod alarm;
pub(crate) mod append;
pub(crate) mod countdown;
pub(crate) mod descriptor;
pub(crate) mod end;
pub(crate) mod feed;
pub(crate) mod headers;
pub(crate) mod hold;
mod line;
pub(crate) mod lines;
pub(crate) mod matcher;
pub(crate) mod messages;
mod order;
mod pace;
pub(crate) mod passage;
pub(crate) mod plan;
pub(crate) mod polled;
mod preview;
pub(crate) mod pseudoterminal;
pub(crate) mod redirection;
pub(crate) mod replace;
pub(crate) mod sink;
pub(crate) mod source;
pub(crate) mod splice;
pub(crate) mod spool;
pub(crate) mod standard;
pub(crate) mod stdin;
pub(crate) mod watch;
