//! Reads a stream line by line in bounded memory.

use std::io::{self, BufRead, ErrorKind};

/// Hands each line to `take`, without its newline. A line that is longer than `longest` is handed
/// over as None.
///
/// # Errors
/// The errors of the reader.
pub(crate) fn each_line(
    mut reader: impl BufRead,
    longest: usize,
    mut take: impl FnMut(Option<&[u8]>),
) -> io::Result<()> {
    let mut line = Vec::new();
    let mut too_long = false;
    loop {
        let part = match reader.fill_buf() {
            Ok(part) => part,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if part.is_empty() {
            if !line.is_empty() || too_long {
                take((!too_long).then_some(&line));
            }
            return Ok(());
        }
        let newline = memchr::memchr(b'\n', part);
        let content = &part[..newline.unwrap_or(part.len())];
        // Most lines are whole in the reader's buffer, and need no copy.
        if newline.is_some() && line.is_empty() && !too_long && content.len() <= longest {
            take(Some(content));
        } else {
            too_long |= line.len() + content.len() > longest;
            if too_long {
                line.clear();
            } else {
                line.extend_from_slice(content);
            }
            if newline.is_some() {
                take((!too_long).then_some(&line));
                line.clear();
                too_long = false;
            }
        }
        let used = newline.map_or(part.len(), |at| at + 1);
        reader.consume(used);
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn lines_are_whole_whatever_the_size_of_the_buffer() {
        let text = b"a\n\nbcd\r\nefghij\nklm";
        for size in 1..20 {
            let mut lines = Vec::new();
            let reader = BufReader::with_capacity(size, &text[..]);
            each_line(reader, 4, |line| lines.push(line.map(<[u8]>::to_vec))).unwrap();
            let expected = [Some("a"), Some(""), Some("bcd\r"), None, Some("klm")];
            let expected = expected.map(|line| line.map(|line| line.as_bytes().to_vec()));
            assert_eq!(lines, expected, "{size}");
        }
    }
}
