//! The order in which the bytes of two streams came, for bytes that lie in one spool.
//!
//! A run is a series of bytes for the same stream. A command may change the stream after every
//! byte, so the ends of the runs are in a spool of their own, and take little memory too.

use std::io;

use super::spool::{NotKept, Spool};
use crate::policy::stream::Stream;

/// The bytes of an entry: the end of a run, times two, plus one if the run is for stderr.
const ENTRY: u64 = 8;

/// The runs of a spool.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The entries of all runs but the last.
    ends: Spool,
    /// The stream of the last run. None if there are no bytes.
    last: Option<Stream>,
}

/// A series of bytes for one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) stream: Stream,
    /// The position after its last byte. None for the last run, which has no end yet.
    pub(super) end: Option<u64>,
}

impl Order {
    /// Notes that the bytes from `position` on are for `stream`.
    ///
    /// # Errors
    /// If the entry cannot be kept.
    pub(super) fn push(&mut self, stream: Stream, position: u64) -> Result<(), NotKept> {
        if let Some(last) = self.last.filter(|last| *last != stream) {
            let entry = position << 1 | u64::from(last == Stream::Stderr);
            self.ends.push(&entry.to_ne_bytes())?;
        }
        self.last = Some(stream);
        Ok(())
    }

    /// How many runs there are before the last one.
    pub(super) fn ended(&self) -> u64 {
        self.ends.length() / ENTRY
    }

    /// The run of this number, which begins at 0. The last run if there are fewer.
    ///
    /// # Errors
    /// The errors of pread(2).
    pub(super) fn run(&self, number: u64) -> io::Result<Run> {
        let mut entry = [0; 8];
        let mut filled = 0;
        while let Some(rest) = entry.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let position = number.saturating_mul(ENTRY) + u64::try_from(filled).unwrap_or(0);
            match self.ends.read_at(position, rest) {
                Ok(0) if number < self.ended() => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(0) => return Ok(Run { stream: self.last.unwrap_or(Stream::Stdout), end: None }),
                read => filled += read?,
            }
        }
        let entry = u64::from_ne_bytes(entry);
        let stream = if entry & 1 == 1 { Stream::Stderr } else { Stream::Stdout };
        Ok(Run { stream, end: Some(entry >> 1) })
    }
}

#[cfg(test)]
mod tests {
    use Stream::{Stderr, Stdout};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_runs_come_back_as_they_were(pushes in prop::collection::vec((any::<bool>(), 1u64..9), 1..60)) {
            let mut order = Order::default();
            let (mut position, mut expected) = (0, Vec::<Run>::new());
            for (is_stderr, length) in pushes {
                let stream = if is_stderr { Stderr } else { Stdout };
                order.push(stream, position).unwrap();
                if expected.last().is_none_or(|last| last.stream != stream) {
                    if let Some(last) = expected.last_mut() {
                        last.end = Some(position);
                    }
                    expected.push(Run { stream, end: None });
                }
                position += length;
            }
            let runs: Vec<Run> = (0..=order.ended()).map(|number| order.run(number).unwrap()).collect();
            prop_assert_eq!(&runs, &expected);
            prop_assert_eq!(order.run(order.ended() + 7).unwrap().end, None);
        }
    }

    #[test]
    fn many_runs_are_kept_in_a_file() {
        let mut order = Order::default();
        for position in 0..200_000 {
            order.push(if position % 2 == 0 { Stdout } else { Stderr }, position).unwrap();
        }
        assert_eq!(order.ended(), 199_999);
        for number in [0, 1, 131_071, 131_072, 199_998] {
            let stream = if number % 2 == 0 { Stdout } else { Stderr };
            assert_eq!(order.run(number).unwrap(), Run { stream, end: Some(number + 1) });
        }
    }

    #[test]
    fn one_stream_alone_is_one_run_without_an_entry() {
        let mut order = Order::default();
        for position in [0, 5, 70_000] {
            order.push(Stderr, position).unwrap();
        }
        assert_eq!((order.ended(), order.run(0).unwrap()), (0, Run { stream: Stderr, end: None }));
    }
}
