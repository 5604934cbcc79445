use super::*;
use crate::policy::verdict::http::{Expected, Reader};

/// 1994-11-06 08:49:37, the date in the examples of RFC 9110.
const NOW: Duration = Duration::from_secs(784_111_777);

/// The response with this status line and these fields.
fn read(text: &str) -> Response {
    let mut reader = Reader::new(Expected { bare: true, stdout: None, both: None });
    reader.read_file(text.as_bytes());
    reader.finish()
}

/// The wait that the server asks for, in seconds, and the name of the field.
fn asked(response: &Response) -> Option<(f64, &'static str)> {
    let asked = response.asked(SystemTime::UNIX_EPOCH + NOW)?;
    Some((asked.wait.as_secs_f64(), asked.field))
}

#[test]
fn the_class_is_that_of_the_status() {
    let class = |status| read(&format!("HTTP/1.1 {status}")).class();
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
            let response = read(&format!("HTTP/1.1 {status} x\n{fields}\n"));
            assert_eq!(response.class(), Some(class), "{status} {fields}");
        }
        let response = read(&format!("HTTP/1.1 404 Not Found\n{fields}\n"));
        assert_eq!(response.class(), Some(Class::Fatal), "{fields}");
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
        let response = read(&format!("HTTP/1.1 {status} Whatever\r\n{fields}\n\n"));
        assert_eq!(asked(&response), expected, "{status} {fields}");
    }
}

#[test]
fn an_epoch_reset_without_date_counts_from_now() {
    let response = read("HTTP/2 429\nX-RateLimit-Reset: 1735689630\n");
    let ask = |now| response.asked(SystemTime::UNIX_EPOCH + Duration::from_secs(now));
    assert_eq!(ask(1_735_689_600).map(|asked| asked.wait), Some(Duration::from_secs(30)));
    assert_eq!(ask(1_735_689_630), None);
    assert_eq!(ask(1_735_689_631), None);
    let before = response.asked(SystemTime::UNIX_EPOCH - Duration::from_secs(1));
    assert_eq!(before.map(|asked| asked.wait), Some(Duration::from_secs(1_735_689_630)));
}
