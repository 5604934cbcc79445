//! Cuts a stream into pieces for the search, in bounded memory.
//!
//! A piece holds whole lines if they fit into the window. The pieces of a longer line overlap, so
//! that every match that is shorter than the overlap is found. The window drops terminal escape
//! sequences (ECMA-48), because a colour change may split a word.

use std::ops::Range;

/// The longest line that is searched whole, in bytes.
pub(crate) const WINDOW: usize = 64 * 1024;

/// The overlap between two pieces of a longer line, in bytes.
pub(crate) const OVERLAP: usize = 16 * 1024;

/// A part of a stream. Only `span` is searched. The bytes around it show whether a line begins or
/// ends there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) span: Range<usize>,
    /// The offset of the bytes in the stream.
    pub(crate) at: u64,
    /// The number of bytes of the stream up to the end of the piece, with escape sequences.
    pub(crate) arrived: u64,
    /// The last line of the span is whole. If not, the next piece repeats the end of the span.
    pub(crate) whole: bool,
}

/// The part of a stream that has not been searched yet.
#[derive(Debug, Default)]
pub(crate) struct Window {
    buffer: Vec<u8>,
    /// The start of the next search: 0, or 1 if the buffer begins with the last byte of a longer
    /// line.
    start: usize,
    /// The offset of the buffer in the stream.
    at: u64,
    /// The escape sequences since that offset, in bytes.
    dropped: usize,
    escape: Escape,
}

impl Window {
    /// Takes the next bytes of the stream, and passes complete pieces to `search`.
    pub(crate) fn push(&mut self, bytes: &[u8], mut search: impl FnMut(Piece<'_>)) {
        // The buffer never holds more than the window and one part of this size.
        for part in bytes.chunks(WINDOW) {
            let before = self.buffer.len();
            self.escape.strip(part, &mut self.buffer);
            self.dropped += before + part.len() - self.buffer.len();
            if let Some(end) = self.last_line_end() {
                // The bytes after the last line break may be the start of a line.
                search(self.piece(end, self.start..end - 1, true));
                self.drop_to(end, 0);
            }
            if self.buffer.len() > WINDOW
                && let Some(end) = memchr::memrchr(b'\r', &self.buffer[self.start..self.buffer.len() - 1])
            {
                // A CR also ends a line, so it is a better place for the cut than the middle of a
                // line.
                let end = self.start + end;
                search(self.piece(end + 1, self.start..end, true));
                self.drop_to(end + 1, 0);
            }
            if self.buffer.len() > WINDOW {
                // The last byte shows whether the line ends here.
                let end = self.buffer.len() - 1;
                search(self.piece(end + 1, self.start..end, false));
                self.drop_to(end - OVERLAP - 1, 1);
            }
        }
    }

    /// Passes on the rest, after the end of the stream.
    pub(crate) fn finish(&mut self, mut search: impl FnMut(Piece<'_>)) {
        if self.buffer.len() > self.start {
            let end = self.buffer.len() - usize::from(self.buffer.ends_with(b"\r"));
            search(self.piece(self.buffer.len(), self.start..end, true));
        }
        *self = Self::default();
    }

    /// The number of bytes of the stream so far, with escape sequences.
    pub(crate) fn arrived(&self) -> u64 {
        self.at.saturating_add(length_of(self.buffer.len() + self.dropped))
    }

    fn piece(&self, length: usize, span: Range<usize>, whole: bool) -> Piece<'_> {
        let arrived = self.at.saturating_add(length_of(length + self.dropped));
        Piece { bytes: &self.buffer[..length], span, at: self.at, arrived, whole }
    }

    /// Forgets the beginning of the buffer.
    fn drop_to(&mut self, length: usize, start: usize) {
        self.buffer.drain(..length);
        self.at = self.at.saturating_add(length_of(length + self.dropped));
        self.dropped = 0;
        self.start = start;
    }

    /// The end of the last whole line. A CR alone does not count here: a progress bar prints many
    /// versions of the same line.
    fn last_line_end(&self) -> Option<usize> {
        memchr::memrchr(b'\n', &self.buffer[self.start..]).map(|end| self.start + end + 1)
    }
}

fn length_of(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The position of the stream in an escape sequence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// After ESC.
    Begun,
    /// In a control sequence: ESC `[` to a final byte (ECMA-48, 5.4).
    Control,
    /// In a control string: ESC `]` and the like, to BEL or ESC `\` (ECMA-48, 5.6).
    Text,
    /// After an ESC in a control string.
    TextEnding,
}

impl Escape {
    /// Appends `bytes` without escape sequences. A line break also ends a sequence.
    fn strip(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if *self == Self::None {
                let end = memchr::memchr(0x1b, rest).unwrap_or(rest.len());
                out.extend_from_slice(&rest[..end]);
                rest = &rest[end..];
                if let Some((_, after)) = rest.split_first() {
                    (*self, rest) = (Self::Begun, after);
                }
                continue;
            }
            let Some((byte, after)) = rest.split_first() else { break };
            let next = match (*self, byte) {
                // The line break is not part of the sequence, so the loop looks at it again.
                (_, b'\n' | b'\r') => {
                    *self = Self::None;
                    continue;
                }
                (Self::TextEnding, b'\\') | (Self::Text, 0x07) => Self::None,
                (Self::Begun | Self::Control, 0x1b) => Self::Begun,
                (Self::Text | Self::TextEnding, 0x1b) => Self::TextEnding,
                (Self::Begun | Self::TextEnding, b'[') => Self::Control,
                (Self::Begun | Self::TextEnding, b']' | b'P' | b'X' | b'^' | b'_') => Self::Text,
                // Intermediate bytes of a short sequence, such as ESC ( B.
                (Self::Begun, 0x20..=0x2f) => Self::Begun,
                (Self::Begun, _) => Self::None,
                (Self::Control, 0x20..=0x3f) => Self::Control,
                (Self::Control, _) => Self::None,
                (Self::Text | Self::TextEnding, _) => Self::Text,
                (Self::None, _) => Self::None,
            };
            (*self, rest) = (next, after);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All pieces of a stream that arrives in parts of this size. Each piece is its span, and the
    /// byte before and the byte after the span.
    fn pieces(stream: &[u8], part: usize) -> Vec<(Option<u8>, Vec<u8>, Option<u8>)> {
        let (mut window, mut all) = (Window::default(), Vec::new());
        let mut keep = |piece: Piece<'_>| {
            // The break at the end of a piece is not searched.
            let end = match &piece.bytes[piece.span.end..] {
                [b'\n' | b'\r'] => piece.bytes.len(),
                _ => piece.span.end,
            };
            let piece = Piece { span: piece.span.start..end, ..piece };
            let before = piece.span.start.checked_sub(1).map(|i| piece.bytes[i]);
            let after = piece.bytes.get(piece.span.end).copied();
            all.push((before, piece.bytes[piece.span].to_vec(), after));
        };
        for bytes in stream.chunks(part) {
            window.push(bytes, &mut keep);
            assert!(window.buffer.len() <= WINDOW, "{}", window.buffer.len());
        }
        window.finish(&mut keep);
        all
    }

    #[test]
    fn lines_come_whole_whatever_the_parts() {
        for part in [1, 2, 3, 100] {
            let text: Vec<u8> = pieces(b"one\ntwo\r\n50%\r60%\rend", part).concat_spans();
            assert_eq!(text, b"one\ntwo\r\n50%\r60%\rend", "{part}");
            for (before, span, after) in pieces(b"one\ntwo\r\n50%\r60%\rend", part) {
                assert_eq!((before, after), (None, None));
                assert!(span.ends_with(b"\n") || span.ends_with(b"end"), "{span:?}");
            }
        }
    }

    trait Spans {
        fn concat_spans(&self) -> Vec<u8>;
    }

    impl Spans for Vec<(Option<u8>, Vec<u8>, Option<u8>)> {
        fn concat_spans(&self) -> Vec<u8> {
            self.iter().flat_map(|(_, span, _)| span.clone()).collect()
        }
    }

    #[test]
    fn a_longer_line_comes_in_pieces_that_overlap() {
        let line: Vec<u8> = (0..5 * WINDOW).map(|i| b'a' + u8::try_from(i % 23).unwrap()).collect();
        for part in [1000, WINDOW, 5 * WINDOW] {
            let all = pieces(&line, part);
            assert!(all.len() > 3);
            assert_eq!((all[0].0, all.last().unwrap().2), (None, None));
            let mut at = 0;
            for (before, span, after) in &all {
                // The position of the piece in the line, without the overlap.
                let from = if at == 0 { 0 } else { at - OVERLAP };
                assert_eq!(*span, line[from..from + span.len()]);
                assert_eq!(*before, from.checked_sub(1).map(|i| line[i]));
                at = from + span.len();
                assert_eq!(*after, line.get(at).copied());
            }
            assert_eq!(at, line.len());
        }
    }

    #[test]
    fn escape_sequences_are_taken_out() {
        for (stream, text) in [
            ("\x1b[31mfatal:\x1b[0m no", "fatal: no"),
            ("a\x1b]0;title\x07b", "ab"),
            ("a\x1b]8;;http://x\x1b\\link", "alink"),
            ("\x1b(B\x1b[mplain", "plain"),
            ("\x1b[31\nnext", "\nnext"),
            ("\x1b]never ended\nnext", "\nnext"),
            ("a\x1bMb", "ab"),
            ("a\x1b\x1b[1mb", "ab"),
            ("end\x1b", "end"),
        ] {
            for part in [1, 2, 100] {
                let got = pieces(stream.as_bytes(), part).concat_spans();
                assert_eq!(String::from_utf8(got).unwrap(), text, "{stream:?} by {part}");
            }
        }
    }

    proptest! {
        /// The window searches exactly the bytes of the stream, for any stream and any parts.
        #[test]
        fn nothing_is_lost(stream in prop::collection::vec(prop::sample::select(b"ab\n\r\x00\xff".to_vec()), 0..200), part in 1usize..50) {
            prop_assert_eq!(pieces(&stream, part).concat_spans(), stream);
        }

        #[test]
        fn no_bytes_panic(stream: Vec<u8>, part in 1usize..20) {
            let _ = pieces(&stream, part);
        }
    }
}
