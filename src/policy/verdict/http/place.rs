//! A line with its place in a stream.

use super::{Printed, Source};

/// A line, and what the machine has to know about its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) source: Source,
    /// Whether lone status lines and fields count on stdout too.
    pub(super) bare: bool,
    /// See [`super::Expected`].
    pub(super) printed: Option<Printed>,
    /// The lines before, as far as the piece contains them.
    pub(super) before: Option<&'a [u8]>,
    /// The offset of the line in the stream.
    pub(super) start: u64,
    /// The offset of the next line.
    pub(super) end: u64,
    /// The number of bytes of the stream that have arrived.
    pub(super) arrived: u64,
    /// Whether the line has an end.
    pub(super) ended: bool,
}

impl Place<'_> {
    /// Whether lone status lines without a version, and lone fields, count here.
    pub(super) fn takes_lone(&self) -> bool {
        match self.source {
            Source::Stdout => self.bare,
            Source::Both => self.bare || self.printed.is_some(),
            Source::Stderr | Source::HeadersFile => true,
        }
    }

    /// Whether header blocks may stand between the lines of both streams.
    pub(super) fn takes_blocks(&self) -> bool {
        self.source != Source::Both
            || self.bare
            || matches!(self.printed, Some(Printed::Messages | Printed::Blocks))
    }

    /// Whether no body stands here.
    pub(super) fn has_no_bodies(&self) -> bool {
        self.printed == Some(Printed::Blocks) && matches!(self.source, Source::Stdout | Source::Both)
    }
}

/// The machine's opinion of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It belongs to a header block.
    Block,
    /// It is no part of HTTP.
    Text,
    /// It is the beginning of a body.
    Body,
}
