//! Joins the lines of a message that a program broke to fit a width.
//!
//! terraform draws a box around a message and breaks it at spaces; others indent the lines, or draw
//! a tree. A paragraph ends at a line without any words.

/// The longest paragraph, in bytes. A longer one is read in parts.
const LONGEST: usize = 16 * 1024;

/// What programs draw before the words of a line: boxes, trees and crosses.
const DRAWN: [&[u8]; 16] = [
    "│".as_bytes(),
    "┃".as_bytes(),
    "║".as_bytes(),
    "╷".as_bytes(),
    "╵".as_bytes(),
    "╭".as_bytes(),
    "╰".as_bytes(),
    "├".as_bytes(),
    "└".as_bytes(),
    "─".as_bytes(),
    "▶".as_bytes(),
    b">",
    b"|",
    "×".as_bytes(),
    "╮".as_bytes(),
    "╯".as_bytes(),
];

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
    while let Some(inner) = DRAWN.iter().find_map(|drawn| rest.strip_prefix(*drawn)) {
        rest = inner.trim_ascii_start();
    }
    // The right side of a box.
    for side in ["│", "┃", "║", "|"] {
        rest = rest.strip_suffix(side.as_bytes()).unwrap_or(rest).trim_ascii_end();
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paragraphs of a text.
    fn paragraphs(text: &str) -> Vec<String> {
        let (mut all, mut paragraph) = (Vec::new(), Paragraph::default());
        for line in text.lines() {
            if !paragraph.add(line.as_bytes()) {
                all.extend(std::mem::take(&mut paragraph).joined());
                paragraph.add(line.as_bytes());
            }
        }
        all.extend(paragraph.joined());
        all.into_iter().map(|joined| String::from_utf8(joined).unwrap()).collect()
    }

    #[test]
    fn a_paragraph_ends_at_a_line_without_words() {
        for (text, expected) in [
            ("", &[][..]),
            ("one\ntwo\n\nthree", &["one two", "three"]),
            ("╷\n│ Error: x\n│ \n│ dial tcp: i/o\n│ timeout\n╵\n", &["Error: x", "dial tcp: i/o timeout"]),
            (
                "  × Failed\n  ├─▶ Request failed\n  ╰─▶ timed\n      out",
                &["Failed Request failed timed out"],
            ),
            (
                "  [TransportException]  \n  curl error 28  \n  while downloading  \n",
                &["[TransportException] curl error 28 while downloading"],
            ),
            ("| left  right |\n| again     |", &["left  right again"]),
            ("a\r\nb\r\n", &["a b"]),
        ] {
            assert_eq!(paragraphs(text), expected, "{text}");
        }
    }

    #[test]
    fn a_paragraph_is_bounded() {
        let line = "x".repeat(1000);
        let all = paragraphs(&format!("{line}\n").repeat(100));
        assert!(all.len() > 5 && all.iter().all(|joined| joined.len() <= LONGEST));
        assert_eq!(all.iter().map(|joined| joined.matches('x').count()).sum::<usize>(), 100_000);
        assert_eq!(paragraphs(&"x".repeat(3 * LONGEST))[0].len(), LONGEST);
    }
}
