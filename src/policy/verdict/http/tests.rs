use proptest::prelude::*;

use super::*;

const STDOUT: LineSource = LineSource::STDOUT;
const STDERR: LineSource = LineSource::Stream(Stream::Stderr);
const HEADERS: LineSource = LineSource::HeadersFile;

/// 1994-11-06 08:49:37, the date in the examples of RFC 9110.
const NOW: Duration = Duration::from_secs(784_111_777);

fn read(source: LineSource, text: &str) -> Reader {
    let mut reader = Reader::default();
    feed(&mut reader, source, text);
    reader
}

fn feed(reader: &mut Reader, source: LineSource, text: &str) {
    for line in text.split_terminator('\n') {
        reader.line(source, line.as_bytes());
    }
}

/// The wait that the server asks for, in seconds, and the name of the field.
fn asked(reader: &Reader) -> Option<(f64, &'static str)> {
    let asked = reader.response().asked(SystemTime::UNIX_EPOCH + NOW)?;
    Some((asked.wait.as_secs_f64(), asked.field))
}

#[test]
fn status_lines_are_read_as_programs_write_them() {
    for (line, status) in [
        ("HTTP/1.1 503 Service Unavailable", Some(503)),
        ("HTTP/1.1 503 Service Unavailable\r", Some(503)),
        ("HTTP/1.1 503 Service Unavailable\r\r", Some(503)),
        ("HTTP/1.0 404", Some(404)),
        ("HTTP/2 503", Some(503)),
        ("HTTP/2 503 ", Some(503)),
        ("HTTP/2.0 200", Some(200)),
        ("HTTP/3 429", Some(429)),
        ("HTTP 503", Some(503)),
        ("HTTP 503 (attempt 2)", Some(503)),
        ("  HTTP/1.1 429 Too Many Requests", Some(429)),
        ("\tHTTP/1.1 429", Some(429)),
        ("< HTTP/1.1 100 Continue", Some(100)),
        (
            "\r  0     0    0     0    0     0      0      0 --:--:--  0:00:02 --:--:--     0< HTTP/2 503 \r",
            Some(503),
        ),
        ("HTTP/1.1 599", Some(599)),
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
        let reader = read(STDERR, line);
        assert_eq!(reader.response().status(), status, "{line:?}");
        assert_eq!(reader.in_block(STDERR), status.is_some(), "{line:?}");
        assert!(!reader.in_block(STDOUT) && !reader.in_block(HEADERS), "{line:?}");
    }
}

#[test]
fn the_class_is_that_of_the_status() {
    let class = |status| read(STDOUT, &format!("HTTP/1.1 {status}")).response().class();
    for status in 100..=599u16 {
        let expected = match status {
            408 | 425 | 429 => Some(Class::Retryable),
            501 | 505 | 511 => Some(Class::Fatal),
            100..=399 => None,
            400..=499 => Some(Class::Fatal),
            _ => Some(Class::Retryable),
        };
        assert_eq!(class(status), expected, "{status}");
    }
    assert_eq!(Response::default().class(), None);
}

#[test]
fn a_403_or_413_is_retryable_if_it_is_a_limit() {
    for (fields, class) in [
        ("", Class::Fatal),
        ("Retry-After: 60", Class::Retryable),
        ("Retry-After: 0", Class::Retryable),
        ("Retry-After: Sat, 05 Nov 1994 08:49:37 GMT", Class::Retryable),
        ("Retry-After: soon", Class::Fatal),
        ("retry-after-ms: 10", Class::Retryable),
        ("X-RateLimit-Remaining: 0", Class::Retryable),
        ("X-RateLimit-Remaining: 1", Class::Fatal),
        ("X-RateLimit-Remaining: none", Class::Fatal),
        ("X-RateLimit-Reset: 60", Class::Fatal),
        ("RateLimit-Remaining: 0", Class::Retryable),
        ("RateLimit: \"a\";r=0", Class::Retryable),
        ("RateLimit: \"a\";r=1", Class::Fatal),
        ("RateLimit: \"a\";r=0;", Class::Fatal),
    ] {
        for status in [403, 413] {
            let reader = read(STDOUT, &format!("HTTP/1.1 {status} x\n{fields}\n"));
            assert_eq!(reader.response().class(), Some(class), "{status} {fields}");
        }
        let reader = read(STDOUT, &format!("HTTP/1.1 404 Not Found\n{fields}\n"));
        assert_eq!(reader.response().class(), Some(Class::Fatal), "{fields}");
    }
}

#[test]
fn what_is_asked_is_in_the_fields_of_the_response() {
    let huge = format!("Retry-After: {}", "9".repeat(100));
    for (status, fields, expected) in [
        (503, "", None),
        (503, "Retry-After: 120", Some((120.0, "Retry-After"))),
        (503, "retry-after:120", Some((120.0, "Retry-After"))),
        (503, "RETRY-AFTER: \t 1.5 \t", Some((1.5, "Retry-After"))),
        (503, "Retry-After 120", None),
        (503, "Retry-After : 120", None),
        (503, "Retry-After: ", None),
        (503, "Retry-After: 0", None),
        (503, "Retry-After: -5", None),
        (503, "Retry-After: 1e9", None),
        (503, "Retry-After: NaN", None),
        (503, "Retry-After: inf", None),
        (503, "Retry-After: 5, 6", None),
        (503, &huge, Some((Duration::MAX.as_secs_f64(), "Retry-After"))),
        // A response with any status may ask for a wait.
        (301, "Retry-After: 5", Some((5.0, "Retry-After"))),
        (404, "Retry-After: 5", Some((5.0, "Retry-After"))),
        // The largest valid value counts.
        (503, "Retry-After: 5\nRetry-After: 7\nRetry-After: 6\nRetry-After: x", Some((7.0, "Retry-After"))),
        (503, "Retry-After: 5\nRetry-After: Sun, 06 Nov 1994 08:49:46 GMT", Some((9.0, "Retry-After"))),
        // Dates count from `Date`, or from now.
        (503, "Retry-After: Sun, 06 Nov 1994 08:50:37 GMT", Some((60.0, "Retry-After"))),
        (503, "Retry-After: Sunday, 06-Nov-94 08:50:37 GMT", Some((60.0, "Retry-After"))),
        (503, "Retry-After: Sun Nov  6 08:50:37 1994", Some((60.0, "Retry-After"))),
        (
            503,
            "Date: Wed, 01 Jan 2025 00:00:00 UTC\nRetry-After: Wed, 01 Jan 2025 00:00:30 +0000",
            Some((30.0, "Retry-After")),
        ),
        (503, "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT", None),
        (503, "Retry-After: Sun, 06 Nov 1994 08:49:36 GMT", None),
        (
            503,
            "Retry-After: Wed, 01 Jan 2025 00:00:30 GMT\nDate: Wed, 01 Jan 2025 00:00:00 GMT",
            Some((30.0, "Retry-After")),
        ),
        (503, "Date: yesterday\nRetry-After: Sun, 06 Nov 1994 08:50:37 GMT", Some((60.0, "Retry-After"))),
        // The fields in milliseconds win over `Retry-After`, even with the value zero.
        (503, "Retry-After: 9\nretry-after-ms: 1500", Some((1.5, "retry-after-ms"))),
        (503, "Retry-After: 9\nRetry-After-Ms: 0.5", Some((0.0005, "retry-after-ms"))),
        (503, "x-ms-retry-after-ms: 20\nRetry-After: 9", Some((0.02, "x-ms-retry-after-ms"))),
        (503, "x-amz-retry-after: 20\nretry-after-ms: 30", Some((0.03, "retry-after-ms"))),
        (503, "retry-after-ms: 0\nRetry-After: 9", Some((9.0, "Retry-After"))),
        (503, "retry-after-ms: -1\nRetry-After: 9", Some((9.0, "Retry-After"))),
        // `Retry-After` wins over the rate limits, even with the value zero.
        (429, "RateLimit: \"a\";r=0;t=30\nRetry-After: 9", Some((9.0, "Retry-After"))),
        (429, "RateLimit: \"a\";r=0;t=30\nRetry-After: 0", None),
        (429, "RateLimit: \"a\";r=0;t=30\nRetry-After: x", Some((30.0, "RateLimit"))),
        // Rate limits.
        (403, "RateLimit: \"a\";r=0;t=30", Some((30.0, "RateLimit"))),
        (403, "RateLimit: \"a\";r=0;t=30\nRateLimit: \"b\";r=0;t=40", Some((40.0, "RateLimit"))),
        (503, "RateLimit: \"a\";r=1;t=30", None),
        (503, "RateLimit: \"a\";r=0;t=30,", None),
        (500, "RateLimit: \"a\";r=0;t=30", None),
        (429, "RateLimit-Remaining: 0\nRateLimit-Reset: 30", Some((30.0, "RateLimit-Reset"))),
        (429, "RateLimit-Remaining: 5\nRateLimit-Reset: 30", None),
        (429, "RateLimit-Reset: 30", Some((30.0, "RateLimit-Reset"))),
        (503, "RateLimit-Reset: 30", Some((30.0, "RateLimit-Reset"))),
        (403, "RateLimit-Reset: 30", None),
        (403, "RateLimit-Reset: 30\nRateLimit-Remaining: 0", Some((30.0, "RateLimit-Reset"))),
        (413, "RateLimit-Reset: 30\nRateLimit-Remaining: 0", Some((30.0, "RateLimit-Reset"))),
        (413, "RateLimit-Reset: 30", None),
        (413, "Retry-After: 5", Some((5.0, "Retry-After"))),
        (502, "RateLimit-Reset: 30\nRateLimit-Remaining: 0", None),
        (429, "RateLimit-Reset: 0\nX-RateLimit-Reset: 20", Some((20.0, "X-RateLimit-Reset"))),
        (
            403,
            "X-RateLimit-Remaining: 0\nX-RateLimit-Reset: 1735689630\nDate: Wed, 01 Jan 2025 00:00:00 GMT",
            Some((30.0, "X-RateLimit-Reset")),
        ),
        (
            403,
            "X-RateLimit-Remaining: 0\nX-RateLimit-Reset: 1735689630500\nDate: Wed, 01 Jan 2025 00:00:00 GMT",
            Some((30.5, "X-RateLimit-Reset")),
        ),
        (
            429,
            "X-RateLimit-Reset: 1735689630\nX-RateLimit-Reset-After: 2.5",
            Some((2.5, "X-RateLimit-Reset-After")),
        ),
        (403, "X-RateLimit-Reset-After: 2.5", None),
        (429, "X-RateLimit-Remaining: 1\nX-RateLimit-Reset-After: 2.5", None),
        (429, "X-RateLimit-Remaining: 0\nX-RateLimit-Reset: 500000000", None),
        (429, "X-RateLimit-Remaining: 0\nX-RateLimit-Reset: 2013-07-01T17:47:53Z", None),
    ] {
        let reader = read(HEADERS, &format!("HTTP/1.1 {status} Whatever\r\n{fields}\n\n"));
        assert_eq!(asked(&reader), expected, "{status} {fields}");
    }
}

#[test]
fn an_epoch_reset_without_date_counts_from_now() {
    let reader = read(STDOUT, "HTTP/2 429\nX-RateLimit-Reset: 1735689630\n");
    let ask = |now| reader.response().asked(SystemTime::UNIX_EPOCH + Duration::from_secs(now));
    assert_eq!(ask(1_735_689_600).map(|asked| asked.wait), Some(Duration::from_secs(30)));
    assert_eq!(ask(1_735_689_630), None);
    assert_eq!(ask(1_735_689_631), None);
    let before = reader.response().asked(SystemTime::UNIX_EPOCH - Duration::from_secs(1));
    assert_eq!(before.map(|asked| asked.wait), Some(Duration::from_secs(1_735_689_630)));
}

/// The output of curl 7.88 and wget 1.21, as these programs wrote it, and the output of scripts.
#[test]
fn programs_are_understood() {
    let meter = "\r  0     0    0     0    0     0      0      0 --:--:--  0:00:02 --:--:--     0";
    let block = "HTTP/1.1 503 Service Unavailable\r\nServer: x\r\nRetry-After: 120\r\n\r\n";
    for (text, status, expected) in [
        // curl -i, with a body that contains header fields.
        (format!("{block}X-RateLimit-Reset: 7\nretry after: 5\n"), Some(503), Some(120.0)),
        // curl -iL, a 100 Continue, or the CONNECT of a proxy.
        (format!("HTTP/1.1 302 Found\r\nRetry-After: 9\r\n\r\n{block}"), Some(503), Some(120.0)),
        (format!("{block}HTTP/1.1 200 OK\r\n\r\n"), Some(200), None),
        (format!("HTTP/1.1 100 Continue\n\n{block}"), Some(503), Some(120.0)),
        // curl -v
        (
            "* Connected to 127.0.0.1 (127.0.0.1) port 80 (#0)\n> GET / HTTP/1.1\r\n> Retry-After: 5\r\n> \r\n\
             < HTTP/1.1 503 Service Unavailable\r\n< Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             * Added cookie\n{ [5 bytes data]\n} [5 bytes data]\n> x\n>\n*\n< Retry-After: 120\r\n< \r\n\
             { [3 bytes data]\n* Closing connection 0\n< X-RateLimit-Reset: 5\n"
                .into(),
            Some(503),
            Some(120.0),
        ),
        // curl -v with a slow server: the progress meter comes before the lines.
        (
            format!("{meter}{meter}< HTTP/1.1 503 x\r\n{meter}* note\n{meter}< Retry-After: 120\r\n< \r\n"),
            Some(503),
            Some(120.0),
        ),
        // curl -fv leaves the block open.
        (
            "< HTTP/1.1 503 Service Unavailable\r\n< Retry-After: 120\r\n\
             * The requested URL returned error: 503\n* Closing connection 0\ncurl: (22) error: 503\n"
                .into(),
            Some(503),
            Some(120.0),
        ),
        // wget -S
        (
            "HTTP request sent, awaiting response... \n  HTTP/1.1 503 Service Unavailable\n  Server: x\n  \
             Retry-After: 120\n2026-11-24 21:51:59 ERROR 503: Service Unavailable.\n  X-RateLimit-Reset: 5\n"
                .into(),
            Some(503),
            Some(120.0),
        ),
        // Scripts.
        ("HTTP 429\nretrying\nRetry-After: 3\n".into(), Some(429), Some(3.0)),
        ("HTTP 429\nRetry-After: 3\n\nRetry-After: 4\nretry-after-ms: x\n".into(), Some(429), Some(4.0)),
        ("HTTP 429\nRetry-After: 3\nHTTP 503\n".into(), Some(503), None),
        ("Retry-After: 3\n".into(), None, Some(3.0)),
        ("< x-amz-retry-after: 3000\n".into(), None, Some(3.0)),
        ("X-RateLimit-Remaining: 0\nX-RateLimit-Reset: 3\nDate: x\n".into(), None, None),
        ("error: Retry-After: 3\n".into(), None, None),
    ] {
        let reader = read(STDERR, &text);
        assert_eq!(reader.response().status(), status, "{text}");
        assert_eq!(asked(&reader).map(|(wait, _)| wait), expected, "{text}");
    }
}

#[test]
fn a_block_ends_at_a_blank_line_or_at_one_that_is_no_field() {
    for (line, open) in [
        ("", false),
        ("\r", false),
        (" \t", false),
        ("<", false),
        ("< \r", false),
        ("<html>", false),
        ("no field", false),
        (": 5", false),
        ("{\"retry_after\": 5}", false),
        ("name: value", true),
        ("name:", true),
        ("  name: value", true),
        ("< name: value", true),
        ("* note", true),
        ("> sent", true),
        ("{ [5 bytes data]", true),
        ("} [5 bytes data]", true),
        ("HTTP/1.1 200", true),
    ] {
        let reader = read(STDOUT, &format!("HTTP/1.1 503\n{line}\n"));
        assert_eq!(reader.in_block(STDOUT), open, "{line:?}");
    }
}

#[test]
fn the_last_block_of_any_source_wins_and_only_its_fields_count() {
    let mut reader = read(STDOUT, "HTTP/1.1 503\nRetry-After: 1\n");
    feed(&mut reader, STDERR, "< HTTP/1.1 429\n");
    assert!(reader.in_block(STDOUT) && reader.in_block(STDERR));
    feed(&mut reader, STDOUT, "Retry-After: 2\n");
    assert_eq!((reader.response().status(), asked(&reader)), (Some(429), None));
    feed(&mut reader, STDERR, "< Retry-After: 3\n");
    assert_eq!(asked(&reader), Some((3.0, "Retry-After")));
    // A field outside of a block belongs to the last response.
    feed(&mut reader, HEADERS, "Retry-After: 4\n");
    assert_eq!(asked(&reader), Some((4.0, "Retry-After")));
    feed(&mut reader, STDOUT, "\n");
    assert!(!reader.in_block(STDOUT) && reader.in_block(STDERR));
}

#[test]
fn a_program_s_message_names_the_last_response_or_another() {
    let retry_after = |reader: &Reader| (reader.response().status(), asked(reader).map(|(wait, _)| wait));
    let mut reader = read(STDOUT, "HTTP/1.1 503\nRetry-After: 5\n");
    reader.said(503);
    assert_eq!(retry_after(&reader), (Some(503), Some(5.0)));
    feed(&mut reader, STDOUT, "Retry-After: 6\n");
    assert_eq!(retry_after(&reader), (Some(503), Some(6.0)), "the block is still its own");
    reader.said(429);
    assert_eq!(retry_after(&reader), (Some(429), None));
    feed(&mut reader, STDOUT, "Retry-After: 7\n");
    assert_eq!(retry_after(&reader), (Some(429), None), "the block was another response's");
    feed(&mut reader, STDERR, "Retry-After: 8\n");
    assert_eq!(retry_after(&reader), (Some(429), Some(8.0)), "it stands alone");
    for status in [0, 99, 600, u16::MAX] {
        reader.said(status);
        assert_eq!(retry_after(&reader), (Some(429), Some(8.0)), "{status} is no status");
    }
    let mut reader = read(STDERR, "Retry-After: 5\n");
    reader.said(503);
    assert_eq!(retry_after(&reader), (Some(503), Some(5.0)), "what came before any status is kept");
    feed(&mut reader, STDERR, "HTTP/1.1 502\n");
    assert_eq!(retry_after(&reader), (Some(502), None));
    // A body that looks like a response comes later on stdout. It does not count.
    let mut reader = read(STDOUT, "HTTP/1.1 503\nRetry-After: 5\n\n");
    reader.said(503);
    feed(&mut reader, STDOUT, "HTTP/1.1 404\nRetry-After: 200\n\n");
    assert_eq!(retry_after(&reader), (Some(503), Some(5.0)));
    let mut reader = Reader::new(false);
    reader.said(503);
    feed(&mut reader, STDOUT, "HTTP/1.1 503\nRetry-After: 5\n\nHTTP/1.1 404\nHTTP 404\n");
    assert_eq!(retry_after(&reader), (Some(503), Some(5.0)));
    let mut reader = Reader::new(false);
    feed(&mut reader, STDOUT, "HTTP 404\n");
    assert_eq!(retry_after(&reader), (None, None), "nobody asked for it");
}

/// Lines that programs write, and lines that are almost the same.
fn lines() -> impl Strategy<Value = Vec<(LineSource, String)>> {
    let source = prop_oneof![Just(STDOUT), Just(STDERR), Just(HEADERS)];
    let prefix = prop_oneof![Just(""), Just("< "), Just("  "), Just("> "), Just("<"), Just("\r 0 --:-- 0< ")];
    let value = prop_oneof![
        Just("5".to_owned()),
        Just("0".to_owned()),
        Just("Sun, 06 Nov 1994 08:49:37 GMT".to_owned()),
        Just("Fri, 31 Dec 9999 23:59:59 GMT".to_owned()),
        Just("\"a\";r=0;t=5".to_owned()),
        "[0-9.]{1,30}",
        "[ -~]{0,30}",
    ];
    let name = prop_oneof![
        "(?i)retry-after|retry-after-ms|x-ms-retry-after-ms|x-amz-retry-after|date",
        "(X-)?RateLimit(-Remaining|-Reset|-Reset-After)?",
    ];
    let text = prop_oneof![
        "HTTP(/[1-3](\\.[01])?)? {0,2}(403|429|503|[0-9]{2,4})( [a-z]*)?\r{0,2}",
        (name, "[: ]{1,2}", value).prop_map(|(name, colon, value)| format!("{name}{colon}{value}\r")),
        Just(String::new()),
        "[ -~]{0,20}",
    ];
    let line = (source, prefix, text).prop_map(|(source, prefix, text)| (source, format!("{prefix}{text}")));
    proptest::collection::vec(line, 0..12)
}

proptest! {
    #[test]
    fn no_bytes_panic(lines: Vec<Vec<u8>>, now: u32) {
        let mut reader = Reader::default();
        for line in &lines {
            reader.line(STDOUT, line);
        }
        let _ = reader.response().asked(SystemTime::UNIX_EPOCH + Duration::from_secs(now.into()));
    }

    /// A wait that a server asks for is more than zero, whatever the lines are.
    #[test]
    fn nobody_asks_for_nothing(lines in lines(), said: Option<u16>, now: u32) {
        let mut reader = Reader::default();
        for (source, line) in &lines {
            reader.line(*source, line.as_bytes());
        }
        said.inspect(|status| reader.said(*status));
        let response = reader.response();
        let asked = response.asked(SystemTime::UNIX_EPOCH + Duration::from_secs(now.into()));
        prop_assert!(asked.is_none_or(|asked| !asked.wait.is_zero()));
        prop_assert!(response.status().is_none_or(|status| (100..=599).contains(&status)));
    }

    /// Lines before the last block do not count.
    #[test]
    fn the_last_block_wins(before in lines(), block in lines(), source in 0..3usize) {
        let source = [STDOUT, STDERR, HEADERS][source];
        let mut reader = Reader::default();
        for (source, line) in &before {
            reader.line(*source, line.as_bytes());
        }
        let mut fresh = Reader::default();
        for reader in [&mut reader, &mut fresh] {
            reader.line(source, b"HTTP/1.1 503 Service Unavailable");
            for (_, line) in &block {
                reader.line(source, line.as_bytes());
            }
        }
        prop_assert_eq!(reader.response(), fresh.response());
        prop_assert_eq!(reader.in_block(source), fresh.in_block(source));
    }

    /// While no block is open, a reader needs only the lines that match [`CANDIDATE`].
    #[test]
    fn the_candidates_are_all_that_a_reader_takes(lines in lines()) {
        let candidate = regex::bytes::Regex::new(CANDIDATE).unwrap();
        let (mut all, mut some) = (Reader::default(), Reader::default());
        for (source, line) in &lines {
            all.line(*source, line.as_bytes());
            // The line stands between other lines, as in a buffer.
            if some.in_block(*source) || candidate.is_match(format!("x\n{line}\ny").as_bytes()) {
                some.line(*source, line.as_bytes());
            }
        }
        prop_assert_eq!(all.response(), some.response());
    }
}

#[test]
fn a_huge_line_leaves_nothing_behind() {
    let mut reader = read(STDOUT, "HTTP/1.1 429\n");
    for (name, byte) in
        [("Retry-After: ", b'9'), ("RateLimit: ", b'a'), ("x", b'x'), ("", b'\r'), ("* ", b' ')]
    {
        let mut line = name.as_bytes().to_vec();
        line.resize(1_000_000, byte);
        reader.line(STDOUT, &line);
    }
    assert_eq!(asked(&reader), Some((Duration::MAX.as_secs_f64(), "Retry-After")));
}
