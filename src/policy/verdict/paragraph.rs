//! Joins the lines of a message that a program broke to fit a width.
//!
//! terraform draws a box around a message and breaks it at spaces; others indent the lines, or draw
//! a tree. A paragraph ends at a line without any words.

/// The longest paragraph, in bytes. A longer one is read in parts.
const LONGEST: usize = 16 * 1024;

/// Characters that programs draw before the words of a line: boxes, trees and crosses.
const DRAWN: [char; 16] = ['│', '┃', '║', '╷', '╵', '╭', '╰', '├', '└', '─', '▶', '>', '|', '×', '╮', '╯'];

/// The lines of a message so far.
#[derive(Debug, Default)]
pub(super) struct Paragraph {
    joined: Vec<u8>,
    lines: usize,
}

impl Paragraph {
    /// Adds a line. Returns false if the line ends the paragraph instead: it has no words, or does
    /// not fit. An empty paragraph takes every line.
    pub(super) fn add(&mut self, line: &[u8]) -> bool {
        let words = words(line);
        if self.lines == 0 {
            if !words.is_empty() {
                self.joined.extend_from_slice(&words[..words.len().min(LONGEST)]);
                self.lines = 1;
            }
            return true;
        }
        if words.is_empty() || self.joined.len() + words.len() >= LONGEST {
            return false;
        }
        self.joined.push(b' ');
        self.joined.extend_from_slice(words);
        self.lines += 1;
        true
    }

    /// The lines as one line, if there are any.
    pub(super) fn joined(self) -> Option<Vec<u8>> {
        (self.lines > 0).then_some(self.joined)
    }
}

/// The line without what is drawn around its words.
fn words(line: &[u8]) -> &[u8] {
    let mut rest = line.trim_ascii();
    while let Some(drawn) = drawn_length(rest) {
        rest = rest[drawn..].trim_ascii_start();
    }
    // The right side of a box.
    for side in ["│", "┃", "║", "|"] {
        rest = rest.strip_suffix(side.as_bytes()).unwrap_or(rest).trim_ascii_end();
    }
    rest
}

/// The length of a drawn character at the start, in bytes.
fn drawn_length(line: &[u8]) -> Option<usize> {
    let mut buffer = [0; 4];
    DRAWN
        .iter()
        .map(|c| c.encode_utf8(&mut buffer).as_bytes().to_vec())
        .find(|c| line.starts_with(c))
        .map(|c| c.len())
}
