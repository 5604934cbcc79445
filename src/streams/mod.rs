//! Bytes on their way: what retry says, and what it watches of the command's.

pub(crate) mod alarm;
pub(crate) mod descriptor;
pub(crate) mod headers;
pub(crate) mod matcher;
pub(crate) mod messages;
pub(crate) mod pseudoterminal;
pub(crate) mod sink;
pub(crate) mod watch;
