//! The beginning of a value that is too long to be received.
//!
//! Anybody may write a value of up to 512 MiB into a key. retry does not read such a value to its
//! end: an exchange has a limit for its bytes, and one for its time. But it must tell this from a server that talks nonsense, because the other keys of the
//! server are as good as before.

use crate::state::record;

/// The longest value of a string (<https://redis.io/docs/latest/develop/data-types/strings/>).
const LONGEST: usize = 512 * 1024 * 1024;

/// One byte more than a record may have. It shows that the value is none.
const MOST_READ: usize = record::LARGEST + 1;

/// The beginning of the value after so many replies, in the bytes of all of them. None if these are
/// other bytes.
pub(super) fn cut(bytes: &[u8], replies: usize) -> Option<&[u8]> {
    let (line, rest) = line(after(bytes, replies)?)?;
    let length = number(line.strip_prefix(b"$")?)?;
    rest.get(..MOST_READ).filter(|_| length > MOST_READ && length <= LONGEST)
}

/// The bytes after so many replies.
fn after(mut bytes: &[u8], replies: usize) -> Option<&[u8]> {
    let mut pending = replies;
    while pending > 0 {
        pending -= 1;
        let (line, rest) = line(bytes)?;
        bytes = match line.split_first()? {
            // The value or the array does not exist.
            (_, b"-1") => rest,
            (b'$', length) => rest.get(number(length)?.checked_add(2)?..)?,
            (b'*', length) => {
                pending = pending.checked_add(number(length)?)?;
                rest
            }
            (b'+' | b'-' | b':', _) => rest,
            _ => return None,
        };
    }
    Some(bytes)
}

/// The first line, and what comes after its end.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(before: &str, length: &str, bytes: usize) -> Vec<u8> {
        let mut head = format!("{before}${length}\r\n").into_bytes();
        head.resize(head.len() + bytes, b'x');
        head
    }

    #[test]
    fn the_beginning_of_a_long_value_is_found_behind_other_replies() {
        let time = "*2\r\n$10\r\n1700000000\r\n$6\r\n123456\r\n";
        let all = format!("+OK\r\n-X y\r\n:1\r\n$-1\r\n*-1\r\n*0\r\n{time}");
        for (before, replies) in [("", 0), (time, 1), (&all, 7)] {
            let head = head(before, "400000", MOST_READ + 1);
            assert_eq!(cut(&head, replies), Some(&*vec![b'x'; MOST_READ]), "{before}");
            assert_eq!(cut(&head, replies + 1), None, "{before}");
        }
    }

    #[test]
    fn nonsense_is_no_value() {
        for (before, replies, length, bytes) in [
            ("", 0, "999999999999", MOST_READ),
            ("", 0, "x", MOST_READ),
            ("", 0, "400000", MOST_READ - 1),
            ("", 0, "65537", MOST_READ),
            ("+OK\r\n", 0, "400000", MOST_READ),
            ("HTTP\r\n", 1, "400000", MOST_READ),
            ("$18446744073709551615\r\n", 1, "400000", MOST_READ),
            ("*18446744073709551615\r\n", 2, "400000", MOST_READ),
            ("\r\n", 1, "400000", MOST_READ),
        ] {
            assert_eq!(cut(&head(before, length, bytes), replies), None, "{before}{length}");
        }
        assert_eq!(cut(&vec![b'x'; 100_000], 0), None);
        assert_eq!(cut(&b"*1\r\n".repeat(60_000), 1), None);
    }
}
