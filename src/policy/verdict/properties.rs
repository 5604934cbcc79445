//! Properties that hold for any bytes. Tests check them with random bytes, and fuzzers (`fuzz/`)
//! with the bytes that they find.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use regex_automata::meta::Regex;

use crate::policy::expand::{Tokens, expanded, has_key};

use super::condition::Condition;
use super::evidence::{Reach, Scanner, Wanted};
use super::http::{LineSource, Reader};
use super::profile::TABLE;
use super::program::{base_name, look_through};
use super::request::unkeyed;
use super::text::Text;
use super::window::{Piece, WINDOW, Window};
use crate::policy::outcome::{Attempt, Outcome};
use crate::policy::stream::{Stream, Streams};

/// A condition is read or refused. If it is read, it prints the text that it was read from.
pub(crate) fn condition(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Condition::parse(text) {
        Ok(condition) => {
            assert_eq!(condition.to_string(), text);
            for status in [0, 1, 143, 255] {
                let _ = condition.matches(&Attempt::ended(Outcome::Exited(status)), || true);
            }
            if let Some(text) = condition.text() {
                let _ = text.is_match(bytes, 0..bytes.len());
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The response is valid, whatever a server or a script writes. The lines that the scanner skips do
/// not matter.
pub(crate) fn response(bytes: &[u8]) {
    let mut reader = Reader::new(true);
    for line in bytes.split(|b| *b == b'\n') {
        reader.line(LineSource::Stream(Stream::Stderr), line);
    }
    let response = reader.response();
    assert!(response.status().is_none_or(|status| (100..=599).contains(&status)));
    assert!(response.class().is_none() || response.status().is_some());
    for now in [SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 31)] {
        assert!(response.asked(now).is_none_or(|asked| !asked.wait.is_zero()));
    }
    // The rest of the check needs the text in one piece, without colours, and without a line that
    // is longer than the window.
    if bytes.contains(&0x1b) || bytes.split(|b| *b == b'\n').any(|line| line.len() > WINDOW) {
        return;
    }
    let wanted = Wanted::new(Vec::new(), Vec::new(), true, Reach::default());
    let mut scanner = Scanner::new(Arc::new(wanted));
    for part in bytes.chunks(7) {
        scanner.push(Streams::Stderr, part);
    }
    let evidence = scanner.finish(false, b"");
    assert_eq!(evidence.response, *response);
}

/// The evidence of all profiles and of the `--headers` file does not depend on how the output is
/// split into parts. The first byte is the length of the parts, and says whether stderr carries
/// both streams. A NUL ends the output.
pub(crate) fn evidence(bytes: &[u8]) {
    static WANTED: LazyLock<Arc<Wanted>> = LazyLock::new(|| {
        let reach = Reach { stdout: true, terminal: true };
        Arc::new(Wanted::new(Vec::new(), TABLE.iter().collect(), true, reach))
    });
    let (Some(first), rest) = (bytes.first(), bytes.get(1..).unwrap_or_default()) else { return };
    let end = rest.iter().position(|b| *b == 0).unwrap_or(rest.len());
    let (output, headers) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
    let merged = first & 1 == 1;
    let carries = if merged { Streams::Both } else { Streams::Stderr };
    let evidence = |part: usize, streams: &[Streams]| {
        let mut scanner = Scanner::new(Arc::clone(&WANTED));
        for bytes in output.chunks(part) {
            for stream in streams {
                scanner.push(*stream, bytes);
            }
        }
        scanner.finish(merged, headers)
    };
    let part = usize::from(first >> 1) + 1;
    let found = evidence(part, &[carries, Streams::Stdout]);
    assert!(found.response.status().is_none_or(|status| (100..=599).contains(&status)));
    for now in [SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 31)] {
        assert!(found.response.asked(now).is_none_or(|asked| !asked.wait.is_zero()));
    }
    assert!(found.lines().iter().all(|(row, pattern)| row.patterns.contains(pattern)));
    // Only one stream, because the order of the parts of two streams may matter.
    if output.len() <= WINDOW {
        assert_eq!(evidence(part, &[carries]), evidence(output.len().max(1), &[carries]));
    }
}

/// The program that a command line runs is one of its words, its request is found or not, and
/// `--expand` changes only its tokens. A NUL ends a word, as for execve(2).
pub(crate) fn words(bytes: &[u8]) {
    let words: Vec<&[u8]> = bytes.split(|b| *b == 0).collect();
    let programs = look_through(&words);
    let mut places = programs.wrappers.clone();
    places.extend(programs.program);
    assert!(places.windows(2).all(|two| two[0] < two[1]) && places.iter().all(|at| *at < words.len()));
    // Input can add a request, and never takes one away.
    for program in [&b"curl"[..], b"wget", b"http"] {
        let line = [&[program], words.as_slice()].concat();
        let (alone, fed) = (unkeyed(&line, || false), unkeyed(&line, || true));
        assert!(alone.is_none() || alone == fed);
    }
    for word in words {
        assert!(!base_name(word).contains(&b'/'));
        let max = std::num::NonZeroU32::new(7);
        let whole = expanded(word, Tokens { key: "{key}", attempt: 2, max });
        // If `{key}` is the key, the word does not change.
        assert!(has_key(&whole) || !has_key(word));
        if !word.contains(&b'{') {
            assert_eq!(whole, word);
        }
    }
}

/// The window passes on every byte except escape sequences, in order, whatever the parts. A pattern
/// matches in it as in each line alone.
pub(crate) fn window(bytes: &[u8]) {
    let (Some(part), rest) = (bytes.first(), bytes.get(1..).unwrap_or_default()) else { return };
    let spans = |part: usize| {
        let mut window = Window::default();
        let mut all = Vec::new();
        // The break that ends a piece is not searched.
        let mut keep = |piece: Piece<'_>| match &piece.bytes[piece.span.end..] {
            [b'\n' | b'\r'] => all.extend_from_slice(&piece.bytes[piece.span.start..]),
            _ => all.extend_from_slice(&piece.bytes[piece.span]),
        };
        for bytes in rest.chunks(part) {
            window.push(bytes, &mut keep);
        }
        window.finish(&mut keep);
        all
    };
    let text = spans(usize::from(*part) + 1);
    if rest.len() <= WINDOW {
        assert_eq!(text, spans(rest.len().max(1)));
        if !rest.contains(&0x1b) {
            assert_eq!(text, rest);
        }
    }
    for pattern in [r"(?-u)^a[^b]*b$", r"(?-u)x\s+\d", r"(?-u)\bz\b", r"(?-u)^.$"] {
        let bytes = regex_automata::util::syntax::Config::new().utf8(false);
        let plain = Regex::builder().syntax(bytes).build(pattern);
        let (Ok(ours), Ok(plain)) = (Text::new(Streams::Both, pattern), plain) else {
            panic!("{pattern} compiles")
        };
        let lines = text.split(|b| matches!(b, b'\n' | b'\r'));
        // No pattern matches an empty line.
        let found = lines.filter(|line| !line.is_empty()).any(|line| plain.is_match(line));
        assert_eq!(ours.is_match(&text, 0..text.len()), found, "{pattern} in {text:?}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    /// Bytes that resemble the subject of the property: most are from `words`, and some are random.
    fn like(words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof![
            4 => prop::sample::select(words).prop_map(|word| word.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..4),
        ];
        prop::collection::vec(word, 0..12).prop_map(|words| words.concat())
    }

    proptest! {
        #[test]
        fn conditions(bytes in like(&[
            "0", "22", "-", ",", "255", "http:", "5xx", "503", "stdout~", "stderr~", "output~", "(", ")", "[^a]", "{2,3}",
            "TERM", "SIG", "signal", "any", "transient", "~", " ", "\\", "\n",
        ])) {
            super::condition(&bytes);
        }

        #[test]
        fn responses(bytes in like(&[
            "HTTP/1.1 503 x\r\n", "HTTP/2 429\n", "HTTP 404\n", "HTTP/1.1 200 OK\n", "Retry-After: ", "retry-after-ms: ",
            "1", "1.5", "-1", "99999999999999999999", "Sun, 06 Nov 1994 08:49:37 GMT", "Date: ", "RateLimit: ", "r=0;t=5",
            "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: ", "\r\n", "\n", "< ", "* ", "> ", "  ", ":", "curl: ", "\r",
        ])) {
            super::response(&bytes);
        }

        #[test]
        fn all_evidence(bytes in like(&[
            "\x01", "\x0e", "\0", "curl: (7) Failed to connect", "curl: (22) The requested URL returned error: 503", "\n",
            "HTTP/1.1 503 x\r\n", "Retry-After: 3\r\n", "\r\n", "ssh: connect to host x port 22: Connection refused\r\n",
            "E: Could not get lock", "FATAL:  the database system is starting up", "\x1b[31m", "error: ", "x",
        ])) {
            super::evidence(&bytes);
        }

        #[test]
        fn all_words(bytes in like(&[
            "sudo", "env", "timeout", "nice", "/usr/bin/", "-n", "-u", "--", "A=b", "\0", "5s", "--kill-after=3", "-k", "curl", "{key}",
            "{", "}", "{max}", "{attempt}", "=", "-", "-d", "-XPOST", "http", "URL", "Idempotency-Key:x", "-H", "--next", ":",
        ])) {
            super::words(&bytes);
        }

        #[test]
        fn windows(bytes in like(&["a", "b", "x 1", "z", "\n", "\r\n", "\r", "\x1b[31m", "\x1b]0;t\x07", "\x1b", "\0", " "])) {
            super::window(&bytes);
        }
    }
}
