//! The part of the input that the command was given while the input still has it too.
//!
//! retry takes bytes from the input only after the command has read its copy. Another process that
//! reads the same pipe may take some of them earlier. retry then takes bytes that come later in the
//! input, and the command may never have seen those. So the bytes that are taken are compared with
//! the preview. Either they stand in the preview, in the same order, or the command gets them as
//! further input. Two readers of one pipe may both get a byte, but each byte reaches one of them.

use std::ops::Range;

/// Bytes that the command was given.
#[derive(Debug, Default)]
pub(super) struct Preview {
    bytes: Vec<u8>,
    /// How many of the bytes the command has read.
    read: usize,
    /// How many of the bytes the input has no longer: retry or another reader has taken them.
    gone: usize,
    /// The bytes that retry itself has taken before the command read them.
    taken_early: Vec<Range<usize>>,
}

impl Preview {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// The command was given only this many bytes.
    pub(super) fn shorten(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// The bytes that the command has not read.
    pub(super) fn unread(&self) -> &[u8] {
        self.bytes.get(self.read..).unwrap_or_default()
    }

    /// The command has read this many more bytes. Returns these bytes.
    pub(super) fn advance(&mut self, count: usize) -> &[u8] {
        let from = self.read;
        self.read = from.saturating_add(count).min(self.bytes.len());
        self.bytes.get(from..self.read).unwrap_or_default()
    }

    /// How many bytes the command has read that the input may still have.
    pub(super) fn to_take(&self) -> usize {
        self.read.saturating_sub(self.gone)
    }

    /// The input continues with `next`: passes over what another reader has taken. Returns how many
    /// bytes of `next` stand in the preview.
    ///
    /// `next` may begin at several places in the preview if the input repeats itself. Each of them
    /// is right, because the preview then has all of `next` up to the preview's end.
    pub(super) fn align(&mut self, next: &[u8]) -> usize {
        let left = self.bytes.get(self.gone..).unwrap_or_default();
        let agrees = |skipped: &usize| {
            let rest = &left[*skipped..];
            rest.starts_with(next) || next.starts_with(rest)
        };
        let skipped = (0..left.len()).find(agrees).unwrap_or(left.len());
        self.gone += skipped;
        next.len().min(left.len() - skipped)
    }

    /// retry has taken these bytes from the input. Returns those that the command was not given.
    pub(super) fn take<'a>(&mut self, taken: &'a [u8]) -> &'a [u8] {
        let shown = self.align(taken);
        let early = self.gone.max(self.read)..self.gone + shown;
        if !early.is_empty() {
            self.taken_early.push(early);
        }
        self.gone += shown;
        taken.get(shown..).unwrap_or_default()
    }

    /// The bytes that only retry has: it has taken them, and the command has not read them.
    pub(super) fn only_here(&self) -> Vec<u8> {
        let unread = |range: &Range<usize>| self.bytes.get(range.start.max(self.read)..range.end);
        self.taken_early.iter().filter_map(unread).flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_the_command_has_read_is_taken() {
        let mut preview = Preview::new(b"abcdef".to_vec());
        assert_eq!(preview.to_take(), 0);
        assert_eq!(preview.advance(4), b"abcd");
        assert_eq!((preview.to_take(), preview.unread()), (4, &b"ef"[..]));
        assert_eq!(preview.take(b"abc"), b"");
        assert_eq!(preview.to_take(), 1);
        assert_eq!(preview.take(b"d"), b"");
        assert_eq!(preview.advance(9), b"ef");
        assert_eq!(preview.take(b"efgh"), b"gh");
        assert!(preview.only_here().is_empty());
    }

    #[test]
    fn what_another_reader_has_taken_is_not_taken_again() {
        let mut preview = Preview::new(b"abcdef".to_vec());
        preview.advance(2);
        // Another reader has taken one byte of the two that the command has read.
        assert_eq!(preview.align(b"bcde"), 4);
        assert_eq!(preview.to_take(), 1);
        // The other reader took two more bytes before retry took one.
        assert_eq!(preview.take(b"d"), b"");
        assert_eq!(preview.to_take(), 0);
        assert_eq!(preview.only_here(), b"d");
        preview.advance(1);
        assert_eq!(preview.only_here(), b"d");
        preview.advance(1);
        assert_eq!(preview.only_here(), b"");
    }

    #[test]
    fn what_the_command_was_not_given_is_told() {
        let mut preview = Preview::new(b"abcdef".to_vec());
        preview.advance(3);
        assert_eq!(preview.take(b"xyz"), b"xyz");
        assert_eq!(preview.to_take(), 0);
        let mut preview = Preview::new(b"abcdef".to_vec());
        preview.advance(3);
        assert_eq!(preview.take(b"efg"), b"g");
        assert_eq!(preview.only_here(), b"ef");
        assert_eq!(Preview::default().take(b"a"), b"a");
    }

    proptest! {
        /// The command, another reader and retry move in any order. What the command reads and what
        /// the other reader takes is all of the input, and each piece that retry takes reaches the
        /// command.
        #[test]
        fn each_byte_reaches_a_reader(
            moves in prop::collection::vec((0u8..3, 1usize..6), 0..60),
            window in 1usize..20,
            letters in 2u8..250,
        ) {
            let input: Vec<u8> = (0..400u32).map(|n| u8::try_from(n * n % 251 % u32::from(letters)).unwrap()).collect();
            let mut rest = &input[..];
            let mut take = |count: usize| {
                let taken;
                (taken, rest) = rest.split_at(count.min(rest.len()));
                (taken, rest)
            };
            let (mut preview, mut further) = (Preview::default(), Vec::new());
            let (mut command, mut other) = (Vec::new(), Vec::new());
            for (kind, count) in moves {
                match kind {
                    0 => {
                        if preview.unread().is_empty() && preview.to_take() == 0 {
                            command.append(&mut further);
                            let (_, ahead) = take(0);
                            preview = Preview::new(ahead[..window.min(ahead.len())].to_vec());
                        }
                        command.extend_from_slice(preview.advance(count));
                    }
                    1 => other.extend_from_slice(take(count).0),
                    _ => {
                        let (_, ahead) = take(0);
                        if count % 2 == 0 {
                            preview.align(&ahead[..count.min(ahead.len())]);
                        }
                        let (taken, _) = take(preview.to_take());
                        further.extend_from_slice(preview.take(taken));
                    }
                }
            }
            let at_the_end = [&preview.only_here()[..], &further].concat();
            command.extend_from_slice(&at_the_end);
            let count = |all: &[&[u8]], byte: u8| {
                all.iter().flat_map(|part| part.iter()).filter(|b| **b == byte).count()
            };
            let (_, left) = take(0);
            for byte in 0..letters {
                let (had, got) = (count(&[&input], byte), count(&[&command, &other, left], byte));
                prop_assert!(got >= had, "{byte}: {got} of {had}");
            }
        }
    }
}
