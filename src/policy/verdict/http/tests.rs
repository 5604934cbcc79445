use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use regex_automata::MatchKind;
use regex_automata::meta::Regex;

use super::*;
use crate::policy::verdict::text::{Syntax, compile};
use crate::policy::verdict::window::Window;

const STDOUT: Streams = Streams::Stdout;
const STDERR: Streams = Streams::Stderr;
const BOTH: Streams = Streams::Both;

/// 1994-11-06 08:49:37, the date in the examples of RFC 9110.
const NOW: Duration = Duration::from_secs(784_111_777);

/// A program that prints headers on stdout, as with curl -i.
const CURL: Expected =
    Expected { bare: false, stdout: Some(Printed::Messages), both: Some(Printed::Messages) };
/// Any program, with `-p http`.
const ANY: Expected = Expected { bare: true, stdout: Some(Printed::Messages), both: Some(Printed::Messages) };
/// curl without -i.
const NO_HEADERS: Expected = Expected { bare: false, stdout: None, both: None };

/// Reads streams as the scanner does.
struct Feed {
    reader: Reader,
    windows: [Window; 2],
    candidates: Regex,
    /// The bytes of bodies.
    skipped: usize,
}

impl Feed {
    fn new(expected: Expected) -> Self {
        static CANDIDATES: LazyLock<Regex> =
            LazyLock::new(|| compile(&[CANDIDATE], Syntax::Bytes, MatchKind::LeftmostFirst).unwrap());
        let candidates = CANDIDATES.clone();
        Self { reader: Reader::new(expected), windows: Default::default(), candidates, skipped: 0 }
    }

    fn push(&mut self, streams: Streams, bytes: impl AsRef<[u8]>) {
        let Self { reader, windows, candidates, skipped } = self;
        let window = &mut windows[usize::from(streams != STDOUT)];
        window.push(bytes.as_ref(), |piece| search(reader, streams, &piece, candidates, skipped));
    }

    fn end(&mut self, streams: Streams) {
        let Self { reader, windows, candidates, skipped } = self;
        let window = &mut windows[usize::from(streams != STDOUT)];
        window.finish(|piece| search(reader, streams, &piece, candidates, skipped));
    }

    fn finish(mut self, streams: Streams) -> Response {
        self.end(streams);
        self.reader.finish()
    }
}

fn search(
    reader: &mut Reader,
    streams: Streams,
    piece: &crate::policy::verdict::window::Piece<'_>,
    candidates: &Regex,
    skipped: &mut usize,
) {
    let mut cursor = Cursor::new(piece);
    while let Some(part) = reader.next(Source::from(streams), &mut cursor, candidates) {
        if let Part::Body(range) = part {
            *skipped += range.len();
        }
    }
}

/// The response in the output of a program, for output that arrives in parts of this size.
fn read_in(expected: Expected, streams: Streams, output: &[u8], part: usize) -> Response {
    let mut feed = Feed::new(expected);
    for bytes in output.chunks(part) {
        feed.push(streams, bytes);
    }
    feed.finish(streams)
}

fn read(expected: Expected, streams: Streams, output: &str) -> Response {
    let whole = read_in(expected, streams, output.as_bytes(), usize::MAX);
    assert_eq!(whole, read_in(expected, streams, output.as_bytes(), 1), "{output}");
    whole
}

fn read_file(text: &str) -> Response {
    let mut reader = Reader::new(CURL);
    reader.read_file(text.as_bytes());
    reader.finish()
}

/// The status, and the wait in seconds.
fn says(response: &Response) -> (Option<u16>, Option<f64>) {
    let asked = response.asked(SystemTime::UNIX_EPOCH + NOW);
    (response.status(), asked.map(|asked| asked.wait.as_secs_f64()))
}

#[test]
fn status_lines_are_read_as_programs_write_them() {
    use line::Form::{Indented, Marked, Plain};
    let meter = "\r  0     0    0     0    0     0      0      0 --:--:--  0:00:02 --:--:--     0";
    for (line, expected) in [
        ("HTTP/1.1 503 Service Unavailable", Some((Plain, 503))),
        ("HTTP/1.0 404", Some((Plain, 404))),
        ("HTTP/2 503", Some((Plain, 503))),
        ("HTTP/2 503 ", Some((Plain, 503))),
        ("HTTP/2.0 200", Some((Plain, 200))),
        ("HTTP/3 429", Some((Plain, 429))),
        ("HTTP 503", Some((Plain, 503))),
        ("HTTP 503 (attempt 2)", Some((Plain, 503))),
        ("  HTTP/1.1 429 Too Many Requests", Some((Indented, 429))),
        ("\tHTTP/1.1 429", Some((Indented, 429))),
        ("< HTTP/1.1 100 Continue", Some((Marked, 100))),
        (&format!("{meter}< HTTP/2 503 "), Some((Marked, 503))),
        ("HTTP/1.1 599", Some((Plain, 599))),
        ("HTTP/1.1 600", None),
        ("HTTP/1.1 099", None),
        ("HTTP/1.1 50", None),
        ("HTTP/1.1 5030", None),
        ("HTTP/1.1 503:", None),
        ("HTTP/1.1503", None),
        ("HTTP503", None),
        ("HTTP/ 503", None),
        ("HTTP/11 503", None),
        ("HTTP/1. 503", None),
        ("HTTP/1.1", None),
        ("http/1.1 503", None),
        ("HTTP: 503", None),
        ("> HTTP/1.1 503", None),
        ("<HTTP/1.1 503", None),
        ("<  HTTP/1.1 503", None),
        ("* HTTP/1.1 503", None),
        ("error: HTTP/1.1 503", None),
        ("progress\rHTTP/1.1 503", None),
        ("", None),
    ] {
        let read = line::status_line(line.as_bytes());
        assert_eq!(read.map(|line| (line.form, line.status)), expected, "{line:?}");
    }
}

const BLOCK: &str = "HTTP/1.1 503 Service Unavailable\r\nServer: x\r\nRetry-After: 120\r\n\r\n";

/// The output of curl 7.88, wget 1.21 and httpie 3.2, as these programs wrote it.
#[test]
fn programs_are_understood() {
    let meter = "\r  0     0    0     0    0     0      0      0 --:--:--  0:00:02 --:--:--     0";
    let found = (Some(503), Some(120.0));
    for (streams, text, expected) in [
        // curl -i, with a body that contains header fields.
        (STDOUT, format!("{BLOCK}X-RateLimit-Reset: 7\nretry after: 5\nRetry-After: 7\n"), found),
        // curl -iL, a 100 Continue, or the CONNECT of a proxy.
        (STDOUT, format!("HTTP/1.1 302 Found\r\nLocation: /\r\nRetry-After: 9\r\n\r\n{BLOCK}"), found),
        (STDOUT, format!("HTTP/1.1 100 Continue\r\n\r\n{BLOCK}"), found),
        (STDOUT, format!("HTTP/1.1 200 Connection established\r\n\r\n{BLOCK}"), found),
        (
            STDOUT,
            format!("HTTP/1.1 401 x\r\nWWW-Authenticate: Digest x\r\nContent-Length: 9\r\n\r\n{BLOCK}"),
            found,
        ),
        // Names in lower case, a folded field, and a line that is none.
        (STDOUT, "HTTP/2 503 \r\nx: a\r\n b\r\nretry-after:\r\n\t120\r\nwhat\r\n\r\n".into(), found),
        // curl -i with two URLs. The first body does not end with a line break.
        (STDOUT, format!("HTTP/1.1 404 x\r\nContent-Length: 3\r\n\r\nend{BLOCK}"), found),
        // The same with -w.
        (STDOUT, format!("HTTP/1.1 404 x\r\nContent-Length: 3\r\n\r\nend\n404\n{BLOCK}"), found),
        // curl -I with two URLs, where the body does not come.
        (STDOUT, format!("HTTP/1.1 404 x\r\nContent-Length: 300\r\n\r\n{BLOCK}"), found),
        // curl -v
        (
            STDERR,
            "* Connected to 127.0.0.1 (127.0.0.1) port 80 (#0)\n> GET / HTTP/1.1\r\n> Retry-After: 5\r\n> \r\n\
             < HTTP/1.1 503 Service Unavailable\r\n< Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             * Added cookie\n{ [5 bytes data]\n} [5 bytes data]\n> x\n>\n*\n< Retry-After: 120\r\n< \r\n\
             { [3 bytes data]\n* Closing connection 0\n< X-RateLimit-Reset: 5\n"
                .into(),
            found,
        ),
        // curl -vL
        (
            STDERR,
            "> \r\n< HTTP/1.1 302 Found\r\n< Retry-After: 9\r\n< \r\n* Connection #0 left intact\n> GET /x HTTP/1.1\r\n\
             > \r\n< HTTP/1.1 100 Continue\r\n< \r\n< HTTP/1.1 503 x\r\n< Retry-After: 120\r\n< \r\n"
                .into(),
            found,
        ),
        // curl -v with a slow server: the progress meter comes before the lines.
        (
            STDERR,
            format!(
                "> \r\n{meter}{meter}< HTTP/1.1 503 x\r\n{meter}* note\n{meter}< Retry-After: 120\r\n< \r\n"
            ),
            found,
        ),
        // curl -fv leaves the block open, and says why.
        (
            STDERR,
            "> \r\n< HTTP/1.1 503 Service Unavailable\r\n< Retry-After: 120\r\n\
             * The requested URL returned error: 503\n* Closing connection 0\ncurl: (22) error: 503\n"
                .into(),
            found,
        ),
        // curl -vi with both streams in one, and unbuffered.
        (
            BOTH,
            "> \r\n< HTTP/1.1 503 x\r\nHTTP/1.1 503 x\r\n< Retry-After: 120\r\nRetry-After: 120\r\n< \r\n\r\n\
             HTTP/1.1 404 x\r\n\r\n"
                .into(),
            found,
        ),
        // wget -S
        (
            STDERR,
            "HTTP request sent, awaiting response... \n  HTTP/1.1 503 Service Unavailable\n  Server: x\n  \
             Retry-After: 120\n2026-11-24 21:51:59 ERROR 503: Service Unavailable.\n  X-RateLimit-Reset: 5\n"
                .into(),
            found,
        ),
        // wget -nv -S after a redirect.
        (
            STDERR,
            "  HTTP/1.1 302 Found\n  Location: /x\n  HTTP/1.1 503 x\n  Retry-After: 120\n".into(),
            found,
        ),
        // wget -S in French, with two URLs.
        (
            BOTH,
            "--2026-11-24 21:51:59--  http://x/\nrequ\u{ea}te HTTP transmise, en attente de la r\u{e9}ponse\u{2026} \n  \
             HTTP/1.1 404 Not Found\n  Server: x\n2026-11-24 21:51:59 erreur 404 : Not Found.\n\n\
             --2026-11-24 21:51:59--  http://x/y\nR\u{e9}utilisation de la connexion existante\n\
             requ\u{ea}te HTTP transmise, en attente de la r\u{e9}ponse\u{2026} \n  HTTP/1.1 503 x\n  Retry-After: 120\n"
                .into(),
            found,
        ),
        // httpie -v --all
        (
            STDOUT,
            format!(
                "POST / HTTP/1.1\r\nContent-Length: 15\r\n\r\n\nHTTP/1.1 404 \n\n\nHTTP/1.1 302 x\r\n\
                 Location: /\r\nContent-Length: 4\r\n\r\nbody\n\nGET / HTTP/1.1\r\nHost: x\r\n\r\n\n\n{BLOCK}"
            ),
            found,
        ),
        // httpie -p hm
        (
            STDOUT,
            format!(
                "HTTP/1.1 302 x\r\nContent-Length: 4\r\n\r\nElapsed time: 0.1s\n\n{BLOCK}Elapsed time: 0.1s\n\n"
            ),
            found,
        ),
        // httpie -v on a terminal lays out the body of the request.
        (
            STDOUT,
            format!("POST / HTTP/1.1\r\nContent-Length: 7\r\r\n\r\r\n{{\r\n  \"a\": 1\r\n}}\r\n\r\n{BLOCK}"),
            found,
        ),
    ] {
        assert_eq!(says(&read(CURL, streams, &text)), expected, "{text}");
        assert_eq!(says(&read(ANY, streams, &text)), expected, "any program: {text}");
    }
}

#[test]
fn scripts_are_understood() {
    for (text, status, wait) in [
        ("HTTP 429\nretrying\nRetry-After: 3\n", Some(429), Some(3.0)),
        ("HTTP 429\nRetry-After: 3\n\nRetry-After: 4\nretry-after-ms: x\n", Some(429), Some(4.0)),
        ("HTTP 429\nRetry-After: 3\nHTTP 503\n", Some(503), None),
        ("HTTP 404\n\nHTTP 429\n  Retry-After: 3\n", Some(429), Some(3.0)),
        ("Retry-After: 3\n", None, Some(3.0)),
        ("< x-amz-retry-after: 3000\n", None, Some(3.0)),
        ("X-RateLimit-Remaining: 0\nX-RateLimit-Reset: 3\nDate: x\n", None, None),
        ("error: Retry-After: 3\n", None, None),
        // curl -sI URL | head -n 1
        ("HTTP/1.1 404 Not Found\r\nHTTP/1.1 503 x\r\n", Some(503), None),
        ("checking\nHTTP/1.1 503", Some(503), None),
    ] {
        for streams in [STDOUT, STDERR, BOTH] {
            let read = read(ANY, streams, text);
            assert_eq!(says(&read), (status, wait), "{text}");
        }
        assert_eq!(says(&read_file(text)), (status, wait), "--headers: {text}");
        // Nobody asked for lone lines on stdout.
        if !text.contains("HTTP/") {
            assert_eq!(says(&read(CURL, STDOUT, text)), (None, None), "{text}");
            assert_eq!(says(&read(NO_HEADERS, BOTH, text)), (None, None), "{text}");
        }
    }
    // After a block lone lines are part of the body.
    let text = format!("{BLOCK}HTTP 404\nRetry-After: 3\nHTTP/1.1 404\n\n");
    assert_eq!(says(&read(ANY, STDOUT, &text)), (Some(503), Some(120.0)));
}

#[test]
fn a_block_without_an_end_does_not_outrank_a_complete_one() {
    let cut = "HTTP/1.1 404 Not Found\r\nServer: x\r\nRetry-Af";
    let complete = "HTTP/1.1 503 x\r\nContent-Length: 0\r\nRetry-After: 5\r\n\r\n";
    for (expected, text, status) in [
        (CURL, format!("{complete}{cut}"), Some(503)),
        (ANY, format!("{complete}{cut}"), Some(503)),
        (CURL, cut.to_owned(), None),
        (ANY, cut.to_owned(), Some(404)),
        (CURL, "HTTP/1.1 404 Not Fou".to_owned(), None),
        (CURL, "HTTP/1.1 404 Not Found\r\n".to_owned(), None),
        // curl -o FILE -w 'HTTP/1.1 %{http_code}'
        (CURL, "HTTP/1.1 404".to_owned(), Some(404)),
        (CURL, "HTTP/1.1 404\n".to_owned(), Some(404)),
    ] {
        assert_eq!(read(expected, STDOUT, &text).status(), status, "{text}");
    }
    assert_eq!(read_file(&format!("{complete}{cut}")).status(), Some(503));
    assert_eq!(read_file(cut).status(), Some(404));
    // The file is read last.
    let mut feed = Feed::new(CURL);
    feed.push(STDOUT, complete);
    feed.end(STDOUT);
    feed.reader.read_file(cut.as_bytes());
    assert_eq!(says(&feed.reader.finish()), (Some(503), Some(5.0)));
    let marked =
        "> \r\n< HTTP/1.1 503 x\r\n< Retry-After: 5\r\n< \r\n* x\n< HTTP/1.1 404 x\r\n< Server: x\r\n";
    assert_eq!(says(&read(CURL, STDERR, marked)), (Some(503), Some(5.0)));
}

#[test]
fn a_body_is_as_long_as_its_length() {
    let length = |fields: &str, body: &str| format!("HTTP/1.1 503 x\r\n{fields}\r\n\r\n{body}");
    let other = "HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n";
    for (text, status) in [
        (length("Content-Length: 5", &format!("a\nb\nc{other}")), 404),
        (length("Content-Length: 0", other), 404),
        (length("content-length: 3\r\nContent-Length: 3", &format!("abc{other}")), 404),
        // Lengths that cannot be trusted.
        (length("Content-Length: 3\r\nContent-Length: 4", &format!("abc{other}")), 503),
        (length("Content-Length: +3", &format!("abc{other}")), 503),
        (length("Content-Length: 3\r\nTransfer-Encoding: chunked", &format!("abc{other}")), 503),
        (length("Content-Length: 3\r\nContent-Encoding: gzip", &format!("abc{other}")), 503),
        (length("Server: x", &format!("abc\n{other}")), 503),
        (length("Server: x", other), 503),
        // The whole body is a quotation, or its beginning is.
        (length("Content-Length: 37", other), 503),
        (length("Content-Length: 38", &format!("\n{other}")), 503),
        (length("Content-Length: 90", &format!("{other}{}", "x".repeat(53))), 503),
        (length("Content-Length: 90", &format!("\r\n{other}\n{}", "x".repeat(50))), 503),
        // No body.
        (length("Content-Length: 90", other), 404),
        // The rest of a quotation that is longer than the body.
        (length("Content-Length: 99999999999999999999", other), 503),
    ] {
        assert_eq!(read(CURL, STDOUT, &text).status(), Some(status), "{text}");
    }
    assert_eq!(other.len(), 37);
}

#[test]
fn a_body_in_long_lines_is_counted() {
    for length in [65_000, 65_536, 100_000, 300_000] {
        let body = "x".repeat(length);
        let text = format!("HTTP/1.1 404 x\r\nContent-Length: {length}\r\n\r\n{body}{BLOCK}");
        for part in [1000, 65_536, usize::MAX] {
            let mut feed = Feed::new(CURL);
            for bytes in text.as_bytes().chunks(part) {
                feed.push(STDOUT, bytes);
            }
            feed.end(STDOUT);
            assert!(feed.skipped >= length, "{length} by {part}: {}", feed.skipped);
            assert_eq!(says(&feed.reader.finish()), (Some(503), Some(120.0)), "{length} by {part}");
        }
        // The rest of a long line is no line.
        let text = format!("{body}HTTP 404 x\n{body}");
        assert_eq!(read_in(ANY, STDOUT, text.as_bytes(), 4096).status(), None, "{length}");
    }
}

#[test]
fn a_program_without_headers_on_stdout_prints_bodies_there() {
    let body = "HTTP/1.1 404 Not Found\r\nServer: x\r\n\r\n";
    assert_eq!(read(NO_HEADERS, BOTH, body).status(), None);
    assert_eq!(read(CURL, STDOUT, &format!("text\n{body}")).status(), None);
    assert_eq!(read(NO_HEADERS, BOTH, "< HTTP/1.1 404 Not Found\r\n< \r\n").status(), None);
    assert_eq!(read(NO_HEADERS, BOTH, "  HTTP/1.1 404 Not Found\n  Server: x\nx\n").status(), None);
    let verbose = "* Connected\n> \r\n< HTTP/1.1 503 x\r\n< \r\n{ [5 bytes data]\n";
    assert_eq!(read(NO_HEADERS, BOTH, &format!("{verbose}{body}< HTTP/1.1 404\n")).status(), Some(503));
}

#[test]
fn options_of_curl_say_what_stands_on_stdout() {
    let expected = |printed| Expected { bare: false, stdout: Some(printed), both: Some(printed) };
    let body = "HTTP/1.1 404 Not Found\r\nServer: x\r\n\r\n";
    // curl -w, with a body that begins as a response does.
    let lone = expected(Printed::LoneLines);
    assert_eq!(read(lone, STDOUT, body).status(), None);
    assert_eq!(read(lone, BOTH, body).status(), None);
    assert_eq!(read(lone, STDOUT, "HTTP/1.1 503\n").status(), Some(503));
    assert_eq!(says(&read(lone, BOTH, "HTTP 503\nRetry-After: 3\n")), (Some(503), Some(3.0)));
    // curl -I and curl -D - -o FILE, with responses whose length is not known, and with -w.
    let blocks = expected(Printed::Blocks);
    let chunked = "HTTP/1.1 404 x\r\nTransfer-Encoding: chunked\r\n\r\n";
    for between in ["", "404\n"] {
        let text = format!("{chunked}{between}{BLOCK}");
        assert_eq!(says(&read(blocks, STDOUT, &text)), (Some(503), Some(120.0)), "{between}");
        assert_eq!(says(&read(blocks, BOTH, &text)), (Some(503), Some(120.0)), "{between}");
    }
}

/// `curl -D /dev/stderr`: header blocks stand on stderr, and bodies on stdout.
#[test]
fn a_block_on_stderr_counts_if_stderr_carries_both() {
    let aside = |printed| Expected { bare: false, stdout: None, both: Some(printed) };
    for printed in [Printed::Messages, Printed::Blocks] {
        assert_eq!(says(&read(aside(printed), BOTH, BLOCK)), (Some(503), Some(120.0)));
        assert_eq!(says(&read(aside(printed), STDERR, BLOCK)), (Some(503), Some(120.0)));
    }
    let quoting = "HTTP/1.1 503 x\r\nRetry-After: 1\r\n\r\n";
    let quoted = format!("HTTP/1.1 429 x\r\nContent-Length: {}\r\n\r\n{quoting}", quoting.len());
    assert_eq!(says(&read(aside(Printed::Messages), BOTH, &quoted)), (Some(429), None));
}

#[test]
fn the_last_complete_block_of_any_source_wins() {
    let mut feed = Feed::new(CURL);
    feed.push(STDERR, "> \r\n< HTTP/1.1 429 x\r\n");
    feed.push(STDOUT, "HTTP/1.1 503 x\r\nRetry-After: 1\r\n\r\n");
    feed.push(STDERR, "< Retry-After: 3\r\n< \r\n");
    feed.end(STDOUT);
    feed.end(STDERR);
    assert_eq!(says(&feed.reader.clone().finish()), (Some(429), Some(3.0)));
    feed.reader.read_file(b"HTTP/1.1 502 x\r\nRetry-After: 4\r\n\r\n");
    assert_eq!(says(&feed.reader.finish()), (Some(502), Some(4.0)));
    // A lone field belongs to the last response.
    let mut feed = Feed::new(CURL);
    feed.push(STDOUT, "HTTP/1.1 503 x\r\n\r\n");
    feed.push(STDERR, "Retry-After: 2\n");
    feed.end(STDERR);
    assert_eq!(says(&feed.reader.finish()), (Some(503), Some(2.0)));
}

#[test]
fn the_file_holds_one_block_after_another() {
    let first = "HTTP/1.1 302 x\r\nContent-Length: 5\r\n\r\n";
    for between in ["", "X-Trailer: y\r\nRetry-After: 7\r\n", "\r\n", "12345"] {
        assert_eq!(
            says(&read_file(&format!("{first}{between}{BLOCK}"))),
            (Some(503), Some(120.0)),
            "{between}"
        );
    }
    let trailer = read_file(&format!("{BLOCK}Retry-After: 7\r\n"));
    assert_eq!(says(&trailer), (Some(503), Some(120.0)));
    // With curl -i -o FILE the file holds a body too.
    let body = read_file(&format!("{BLOCK}text\nHTTP/1.1 404 x\r\nServer: x\r\n\r\n"));
    assert_eq!(says(&body), (Some(503), Some(120.0)));
}

#[test]
fn a_program_s_message_names_the_last_response_or_another() {
    let mut feed = Feed::new(CURL);
    feed.push(STDOUT, "HTTP/1.1 503 x\r\nRetry-After: 5\r\n\r\n");
    feed.reader.said(503);
    assert_eq!(says(&feed.reader.clone().finish()), (Some(503), Some(5.0)));
    feed.reader.said(429);
    assert_eq!(says(&feed.reader.clone().finish()), (Some(429), None));
    feed.push(STDERR, "Retry-After: 8\n");
    assert_eq!(says(&feed.reader.clone().finish()), (Some(429), Some(8.0)), "it stands alone");
    for status in [0, 99, 600, u16::MAX] {
        feed.reader.said(status);
        assert_eq!(says(&feed.reader.clone().finish()), (Some(429), Some(8.0)), "{status} is no status");
    }
    let mut feed = Feed::new(CURL);
    feed.push(STDERR, "Retry-After: 5\n");
    feed.reader.said(503);
    assert_eq!(says(&feed.reader.clone().finish()), (Some(503), Some(5.0)), "what came before is kept");
    feed.push(STDERR, "HTTP/1.1 502\n");
    assert_eq!(says(&feed.finish(STDERR)), (Some(502), None));
    // curl buffers stdout, so the block comes after the message.
    let mut feed = Feed::new(CURL);
    feed.reader.said(503);
    feed.push(STDOUT, "HTTP/1.1 503 x\r\nRetry-After: 5\r\n\r\n");
    assert_eq!(says(&feed.finish(STDOUT)), (Some(503), Some(5.0)));
}

#[test]
fn a_text_that_mentions_a_status_is_no_response_in_a_body() {
    let mut feed = Feed::new(ANY);
    feed.push(STDOUT, "HTTP 429\nRetry-After: 3\nx\n");
    feed.reader.mentioned(Source::Stdout, 429);
    assert_eq!(says(&feed.reader.clone().finish()), (Some(429), Some(3.0)));
    feed.reader.mentioned(Source::Stdout, 503);
    assert_eq!(says(&feed.reader.clone().finish()), (Some(503), None));
    feed.push(STDERR, BLOCK);
    feed.reader.mentioned(Source::Stderr, 404);
    assert_eq!(says(&feed.reader.finish()), (Some(503), Some(120.0)));
}

#[test]
fn a_huge_line_leaves_nothing_behind() {
    for (name, byte) in
        [("Retry-After: ", b'9'), ("RateLimit: ", b'a'), ("x", b'x'), ("", b'\r'), ("* ", b' '), (" ", b'x')]
    {
        let mut line = name.as_bytes().to_vec();
        line.resize(1_000_000, byte);
        let text = [b"HTTP/1.1 429 x\r\nRetry-After: 7\r\n", &line[..], b"\r\nA: b\r\n\r\n"].concat();
        let found = read_in(ANY, STDOUT, &text, 10_000);
        assert_eq!(found.status(), Some(429), "{name}");
    }
}

mod bodies;
