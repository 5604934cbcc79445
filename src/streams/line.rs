//! Whether the last line of a stream is finished. A message of retry's own begins on a new line.

/// The state of the last line of a stream.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// The line has no text that can be seen.
    #[default]
    Empty,
    /// An escape character came last. The line is empty otherwise.
    Escape,
    /// A control sequence has begun (ECMA-48, CSI). The line is empty otherwise.
    Sequence,
    /// The line has text.
    Begun,
}

impl Line {
    /// The state after these bytes. Colours are no text: many programs reset them after the
    /// newline.
    #[must_use]
    pub(crate) fn after(self, bytes: &[u8]) -> Self {
        let (mut line, rest) = match memchr::memrchr(b'\n', bytes) {
            Some(end) => (Self::Empty, bytes.get(end + 1..).unwrap_or_default()),
            None => (self, bytes),
        };
        for byte in rest {
            line = match (line, byte) {
                // Only a newline can end it. To read the rest would cost time for all bytes that
                // pass.
                (Self::Begun, _) => return Self::Begun,
                (Self::Empty, b'\r') | (Self::Sequence, 0x40..=0x7e) => Self::Empty,
                (Self::Empty, 0x1b) => Self::Escape,
                (Self::Escape, b'[') | (Self::Sequence, _) => Self::Sequence,
                (Self::Escape, _) => Self::Empty,
                (Self::Empty, _) => Self::Begun,
            };
        }
        line
    }

    /// Whether a message would continue the line.
    pub(crate) fn is_unfinished(self) -> bool {
        self == Self::Begun
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_unfinished_until_its_newline() {
        for (text, unfinished) in [
            ("", false),
            ("\n", false),
            ("a", true),
            ("a\n", false),
            ("a\nb", true),
            ("a\r\n", false),
            // The text of a progress bar is still on the line.
            ("50%\r", true),
            ("\r", false),
            ("a\n\x1b[0m", false),
            ("\x1b[31ma\x1b[0m\n", false),
            ("\x1b[31ma\x1b[0m", true),
            ("a\n\x1b[0mb", true),
            ("a\n\x1b7", false),
            ("a\n\x1b[1;3", false),
        ] {
            assert_eq!(Line::default().after(text.as_bytes()).is_unfinished(), unfinished, "{text:?}");
        }
    }

    proptest! {
        /// The state does not depend on how the bytes are cut.
        #[test]
        fn the_cuts_do_not_matter(bytes in "[a\n\r\x1b\\[0m;]{0,20}", cut in 0usize..20) {
            let (head, tail) = bytes.as_bytes().split_at(cut.min(bytes.len()));
            let whole = Line::default().after(bytes.as_bytes());
            prop_assert_eq!(Line::default().after(head).after(tail), whole);
        }
    }
}
