//! Properties that hold for any bytes. Tests check them with random bytes, and fuzzers (`fuzz/`)
//! with the bytes that they find.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use regex_automata::meta::Regex;

use crate::policy::expand::{Tokens, expanded, has_key};

use super::condition::Condition;
use super::evidence::{Reach, Scanner, Wanted};
use super::profile::{Says, TABLE};
use super::program::{base_name, look_through};
use super::request::unkeyed;
use super::text::Text;
use super::window::{Piece, WINDOW, Window};
use crate::policy::outcome::{Attempt, Outcome};
use crate::policy::stream::Streams;

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

/// The response is valid, whatever a server or a script writes.
pub(crate) fn response(bytes: &[u8]) {
    let wanted = Arc::new(Wanted::new(Vec::new(), Vec::new(), true, Reach::default()));
    let read = |streams: Streams, part: usize| {
        let mut scanner = Scanner::new(Arc::clone(&wanted));
        for part in bytes.chunks(part) {
            scanner.push(streams, part);
        }
        scanner.finish(streams == Streams::Both, b"").response
    };
    for streams in [Streams::Stdout, Streams::Stderr, Streams::Both] {
        let response = read(streams, bytes.len().max(1));
        assert!(response.status().is_none_or(|status| (100..=599).contains(&status)));
        assert!(response.class().is_none() || response.status().is_some());
        for now in [SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 31)] {
            assert!(response.asked(now).is_none_or(|asked| !asked.wait.is_zero()));
        }
        // The offsets in a piece with escape sequences depend on its parts.
        if bytes.len() <= WINDOW && !bytes.contains(&0x1b) {
            assert_eq!(read(streams, 7), response);
        }
    }
}

/// A body never changes the response, whatever it contains. The first byte chooses the program and
/// the status, the rest is the body.
pub(crate) fn body(bytes: &[u8]) {
    let (Some(first), body) = (bytes.first(), bytes.get(1..).unwrap_or_default()) else { return };
    let status = [200, 404, 503][usize::from(first / 8) % 3];
    let length = body.len();
    let (streams, before, after) = match first % 8 {
        0 => (Streams::Stdout, format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n"), ""),
        1 => (Streams::Stdout, format!("HTTP/1.1 {status} x\r\nTransfer-Encoding: chunked\r\n"), ""),
        2 => (Streams::Stdout, format!("HTTP/2 {status} \r\ncontent-type: x\r\n"), ""),
        3 => (Streams::Stdout, format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n"), "\n\n"),
        4 => (
            Streams::Stdout,
            format!("GET / HTTP/1.1\r\n\r\n\n\nHTTP/1.0 {status} x\r\nA: b\r\nContent-Type: x\r\n"),
            "\n",
        ),
        5 => (Streams::Both, format!("* x\n> GET / HTTP/1.1\r\n> \r\n< HTTP/1.1 {status} x\r\n"), "* x\n"),
        6 => (
            Streams::Both,
            format!("HTTP request sent, awaiting response... \n  HTTP/1.1 {status} x\n"),
            "\n",
        ),
        _ => (Streams::Stderr, format!("HTTP/1.1 {status} x\r\nContent-Type: x\r\n"), ""),
    };
    let end = match first % 8 {
        5 => "< Retry-After: 7\r\n< \r\n{ [5 bytes data]\n",
        6 => "  Retry-After: 7\nLength: 5\n\n",
        _ => "Retry-After: 7\r\n\r\n",
    };
    // A quotation of the program's own lines cannot be told from them.
    let has = |text: &[u8]| memchr::memmem::find(body, text).is_some();
    let time = body.windows(5).any(|five| five[0].is_ascii_digit() && matches!(five, [.., b':', _, _]));
    let quotes_program = match first % 8 {
        5 => body.iter().any(|b| b"*>{}".contains(b)),
        6 => has(b"... ") || has("\u{2026} ".as_bytes()) || has(b"Auth") || time,
        _ => false,
    };
    if quotes_program {
        return;
    }
    let output = [before.as_bytes(), end.as_bytes(), body, after.as_bytes()].concat();
    let wanted = Arc::new(Wanted::new(Vec::new(), Vec::new(), true, Reach::default()));
    for part in [1, 7, output.len()] {
        let mut scanner = Scanner::new(Arc::clone(&wanted));
        for part in output.chunks(part) {
            scanner.push(streams, part);
        }
        let response = scanner.finish(streams == Streams::Both, b"").response;
        let asked = response.asked(SystemTime::UNIX_EPOCH).map(|asked| asked.wait);
        assert_eq!(
            (response.status(), asked),
            (Some(status), Some(Duration::from_secs(7))),
            "{first} by {part}"
        );
    }
}

/// The evidence of all profiles and of the `--headers` file does not depend on how the output is
/// split into parts. The first byte is the length of the parts, and says whether stderr carries
/// both streams. A NUL ends the output.
pub(crate) fn evidence(bytes: &[u8]) {
    static WANTED: LazyLock<Arc<Wanted>> = LazyLock::new(|| {
        let reach = Reach { stdout: true, terminal: true, ..Reach::default() };
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
    assert!(
        found
            .lines()
            .iter()
            .all(|(row, pattern)| row.patterns.contains(pattern) || matches!(pattern.says, Says::Doubt(_)))
    );
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
    use std::path::Path;

    use proptest::prelude::*;

    #[test]
    fn the_seeds_of_the_fuzzers() {
        type Property = fn(&[u8]);
        let properties = [
            ("body", super::body as Property),
            ("condition", super::condition),
            ("evidence", super::evidence),
            ("response", super::response),
            ("window", super::window),
            ("words", super::words),
        ];
        for (name, property) in properties {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds").join(name);
            let seeds: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
            assert!(!seeds.is_empty(), "{name}");
            for seed in seeds {
                property(&std::fs::read(seed.unwrap().path()).unwrap());
            }
        }
    }

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
        fn a_body_that_ends_with_a_colour(first in 0u8..24, quote in prop::sample::select(vec!["HTTP/1.1 503 x\r\n\r\n", "\nHTTP/2 404 \r\n\r\n"])) {
            super::body(&[&[first], quote.as_bytes(), b"\x1b[31m"].concat());
        }

        #[test]
        fn bodies(first: u8, bytes in like(&[
            "HTTP/1.1 503 x\r\n", "HTTP/2 429 \n", "HTTP 404\n", "HTTP/1.1 200 OK\n", "Retry-After: 100", "< ", "  ", "\r\n", "\n",
            "Content-Length: 9\r\n", "GET / HTTP/1.1\r\n", "Elapsed time: 1s\n", "\r", "x", "\x1b[31m", "curl: ",
        ])) {
            super::body(&[&[first], &bytes[..]].concat());
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
