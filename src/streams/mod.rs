//! Bytes on their way: what retry says, what the command reads, and what is watched or held of what it writes.

pub(crate) mod alarm;
pub(crate) mod descriptor;
pub(crate) mod end;
pub(crate) mod feed;
pub(crate) mod headers;
pub(crate) mod hold;
mod line;
pub(crate) mod matcher;
pub(crate) mod messages;
mod pace;
pub(crate) mod passage;
pub(crate) mod plan;
pub(crate) mod polled;
mod preview;
pub(crate) mod pseudoterminal;
pub(crate) mod sink;
pub(crate) mod source;
pub(crate) mod splice;
pub(crate) mod spool;
pub(crate) mod standard;
pub(crate) mod stdin;
pub(crate) mod watch;
