//! Bytes on their way in and out.

pub(crate) mod messages;
