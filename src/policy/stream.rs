//! The output streams of a command, and values for each of them.

use std::ops::{Index, IndexMut};

/// An output stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Stdout => Self::Stderr,
            Self::Stderr => Self::Stdout,
        }
    }

    /// The name in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One output stream or both: the streams that a pattern looks at, or the streams whose bytes a
/// pipe carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Streams {
    Stdout,
    Stderr,
    Both,
}

impl Streams {
    pub(crate) fn contains(self, stream: Stream) -> bool {
        self.overlaps(stream.into())
    }

    /// Whether a stream is in both sets.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        self == other || self == Self::Both || other == Self::Both
    }
}

impl From<Stream> for Streams {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Stdout => Self::Stdout,
            Stream::Stderr => Self::Stderr,
        }
    }
}

/// A value for each output stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PerStream<T> {
    pub(crate) stdout: T,
    pub(crate) stderr: T,
}

impl<T> PerStream<T> {
    /// Makes the value of each stream.
    pub(crate) fn each(mut value: impl FnMut(Stream) -> T) -> Self {
        Self { stdout: value(Stream::Stdout), stderr: value(Stream::Stderr) }
    }

    /// The values with their streams. Stdout comes first.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Stream, &mut T)> {
        [(Stream::Stdout, &mut self.stdout), (Stream::Stderr, &mut self.stderr)].into_iter()
    }
}

impl<T> Index<Stream> for PerStream<T> {
    type Output = T;

    fn index(&self, stream: Stream) -> &T {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }
}

impl<T> IndexMut<Stream> for PerStream<T> {
    fn index_mut(&mut self, stream: Stream) -> &mut T {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_streams_overlap_if_they_share_a_stream() {
        use Streams::{Both, Stderr, Stdout};
        for (one, other, overlaps) in [
            (Stdout, Stdout, true),
            (Stdout, Stderr, false),
            (Stdout, Both, true),
            (Stderr, Stderr, true),
            (Stderr, Both, true),
            (Both, Both, true),
        ] {
            assert_eq!((one.overlaps(other), other.overlaps(one)), (overlaps, overlaps), "{one:?} {other:?}");
        }
        assert!(Both.contains(Stream::Stdout) && Both.contains(Stream::Stderr));
        assert!(!Stdout.contains(Stream::Stderr) && !Stderr.contains(Stream::Stdout));
    }

    #[test]
    fn each_stream_has_its_own_value() {
        let mut names = PerStream::each(Stream::name);
        assert_eq!((names[Stream::Stdout], names[Stream::Stderr]), ("stdout", "stderr"));
        names[Stream::Stderr] = "x";
        assert_eq!(names, PerStream { stdout: "stdout", stderr: "x" });
        let order: Vec<Stream> = names.iter_mut().map(|(stream, _)| stream).collect();
        assert_eq!(order, [Stream::Stdout, Stream::Stderr]);
    }
}
