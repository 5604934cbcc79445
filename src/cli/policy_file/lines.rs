//! The lines of a policy. Each line is one word of a command line, without the blanks around it.
//! Nothing is quoted. Empty lines, and lines that begin with `#`, are left out.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use super::Fault;

/// The mark that some editors put at the beginning of a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A word, and the number of its line from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) line: usize,
    pub(super) text: OsString,
}

/// # Errors
/// A NUL byte: the file is not a text.
pub(super) fn words(text: &[u8]) -> Result<Vec<Word>, Fault> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let mut words = Vec::new();
    for (line, bytes) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        if bytes.contains(&0) {
            return Err(Fault::new(
                line,
                "the line has a NUL byte",
                "a policy is a text file with an option on each line",
            ));
        }
        let word = bytes.trim_ascii();
        if !word.is_empty() && !word.starts_with(b"#") {
            words.push(Word { line, text: OsStr::from_bytes(word).to_owned() });
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<(usize, String)> {
        let words = words(text).unwrap();
        words.into_iter().map(|word| (word.line, word.text.to_string_lossy().into_owned())).collect()
    }

    #[test]
    fn a_line_is_a_word() {
        let text =
            "\u{feff}# a comment\r\n\r\n  --max=8 \t\r\n\t# another\n--check=test -e 'a  b' # c\n#\n-q";
        assert_eq!(
            read(text.as_bytes()),
            [(3, "--max=8".to_owned()), (5, "--check=test -e 'a  b' # c".to_owned()), (7, "-q".to_owned())]
        );
        for empty in ["", "\n\n", "\u{feff}", " \r\n#", "\u{feff}# x"] {
            assert_eq!(read(empty.as_bytes()), [], "{empty:?}");
        }
        // Any other byte is part of the word.
        assert_eq!(words(b"\xff\xa0").unwrap()[0].text.as_bytes(), b"\xff\xa0");
    }

    #[test]
    fn a_nul_byte_is_an_error_with_its_line() {
        for (text, line) in [(&b"\0"[..], 1), (b"--max=8\n\n# \0", 3), (b"-\0q\n", 1)] {
            assert_eq!(words(text).unwrap_err().line, line);
        }
    }
}
