//! What an HTTP response says of a retry: its status, and how long the server asks to wait.
//!
//! It is read from lines that a program wrote: status line and header fields as `curl -i`, `curl -v`,
//! `wget -S` and scripts show them, from the file of `--headers`, or a status that a program's own message
//! names. Redirects, `100 Continue` and a proxy's CONNECT give several header blocks: the last wins.
//! Values are read at once (see [`value`]), so that no line, however long, is kept.

pub(crate) mod value;

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use super::profile::Class;
use value::{MILLISECOND, Moment, RateLimit, SECOND, is_blank, is_token};

/// A regex over bytes: it matches inside every line that [`Reader::line`] takes outside of a block, so that
/// a buffer without a match need not be cut into lines while no block is open.
///
/// Its beginnings are literals, and a search for those runs as fast as memory; `GET / HTTP/1.1` is not one.
pub(crate) const CANDIDATE: &str = r"(?-u)HTTP(?:/[0-9](?:\.[0-9])?)? +[1-5][0-9][0-9]|(?i:retry-after)";

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
    /// The file of `--headers`.
    Headers,
}

/// Reads lines in the order in which they came; the last header block wins.
#[derive(Debug, Default, Clone)]
pub(crate) struct Reader {
    response: Response,
    /// The source of the block that made the response, if a block did.
    owner: Option<Source>,
    /// Whether a block is open, by source.
    open: [bool; 3],
    /// The responses before it, at most [`KEPT`].
    earlier: VecDeque<Response>,
    /// What the program itself said last.
    said: Option<u16>,
    /// On stdout a status line needs its version: what a program passes on may hold anything.
    strict: bool,
    /// A block has come on stdout: what follows it there is a body.
    body: bool,
}

/// How many responses are kept, for a status that the program names later.
const KEPT: usize = 8;

impl Reader {
    /// A reader that takes `HTTP 503`, without a version, for a status line on stdout too only if `bare`.
    pub(crate) fn new(bare: bool) -> Self {
        Self { strict: !bare, ..Self::default() }
    }

    /// Takes a line without its terminator; carriage returns at its end do not count.
    pub(crate) fn line(&mut self, source: Source, line: &[u8]) {
        let open = self.in_block(source);
        match Line::read(line) {
            Line::Status { bare: true, .. } if self.strict && source == Source::Stdout => {
                self.open[source as usize] = false;
            }
            Line::Status { status, .. } => {
                if source != Source::Stdout {
                    // Behind the message on its own stream: a newer response. On stdout it may be older, and
                    // have waited in the program's buffer.
                    self.said = None;
                }
                self.replace(Response { status: Some(status), ..Response::default() });
                self.owner = Some(source);
                self.open[source as usize] = true;
                self.body |= source == Source::Stdout;
            }
            Line::Field(name, value) => {
                let ours = if open { self.owner == Some(source) } else { self.may_stand_alone(source, name) };
                if ours {
                    self.response.field(name, value);
                }
            }
            Line::Aside => {}
            Line::End => self.open[source as usize] = false,
        }
    }

    /// Whether a field outside of a block counts. On stdout it is part of a body, unless the user asked for
    /// HTTP and no block has come there.
    fn may_stand_alone(&self, source: Source, name: &[u8]) -> bool {
        let body = source == Source::Stdout && (self.strict || self.body);
        !body && stands_alone(name)
    }

    /// Whether a header block is open on this source: every line up to the blank one must be given.
    pub(crate) fn in_block(&self, source: Source) -> bool {
        self.open[source as usize]
    }

    /// A program's own message named this status: `curl: (22) ... error: 503`, wget's `ERROR 503:`. It is
    /// the status of the last response that has it, which keeps its fields, or a response of its own, and
    /// wins over whatever looks like a status line on stdout. Fields that came before any status belong to it.
    pub(crate) fn said(&mut self, status: u16) {
        if !(100..=599).contains(&status) {
            return;
        }
        self.said = Some(status);
        if self.response.status.is_some_and(|last| last != status) {
            let known = self.earlier.iter().rev().find(|response| response.status == Some(status));
            let fresh = known.cloned().unwrap_or_default();
            self.replace(fresh);
            self.owner = None;
        }
        self.response.status = Some(status);
    }

    /// The response that counts so far: the last, or the last with the status that the program named.
    pub(crate) fn response(&self) -> &Response {
        match self.said {
            Some(said) if self.response.status != Some(said) => {
                let named = self.earlier.iter().rev().find(|response| response.status == Some(said));
                named.unwrap_or(&self.response)
            }
            Some(_) | None => &self.response,
        }
    }

    fn replace(&mut self, response: Response) {
        if self.earlier.len() == KEPT {
            // Not the one that the program named, if there is another.
            let keep =
                self.earlier.front().is_some_and(|first| first.status.is_some() && first.status == self.said);
            self.earlier.remove(usize::from(keep));
        }
        self.earlier.push_back(std::mem::replace(&mut self.response, response));
    }
}

/// What a line is.
enum Line<'a> {
    /// A status line (RFC 9112 §4), or a script's `HTTP 503`.
    Status { status: u16, bare: bool },
    /// A field's name and value (RFC 9112 §5).
    Field(&'a [u8], &'a [u8]),
    /// What curl writes between the lines of a block: neither part of it nor its end.
    Aside,
    /// A blank line, or one that is in no block.
    End,
}

impl<'a> Line<'a> {
    fn read(line: &'a [u8]) -> Self {
        // A terminal turns `\r\n` into `\r\r\n`.
        let end = line.iter().rposition(|b| *b != b'\r').map_or(0, |last| last + 1);
        let line = after_meter(&line[..end]);
        let text = if let Some(text) = line.strip_prefix(b"< ") {
            text
        } else if is_aside(line) {
            return Self::Aside;
        } else {
            after_blanks(line)
        };
        if let Some(status) = status(text) {
            return Self::Status { status, bare: !text.starts_with(b"HTTP/") };
        }
        let name = text.iter().position(|b| !is_token(*b)).unwrap_or(text.len());
        match text.split_at(name) {
            (name @ [_, ..], [b':', value @ ..]) => Self::Field(name, value.trim_ascii()),
            _ => Self::End,
        }
    }
}

/// The line without curl's progress meter before it. The meter is redrawn after a carriage return and does
/// not end its line: what follows it is `\r  0     0 ... --:--:--     0< HTTP/1.1 503`.
fn after_meter(line: &[u8]) -> &[u8] {
    let Some(start) = line.iter().rposition(|b| *b == b'\r') else { return line };
    let meter = |b: &u8| b.is_ascii_digit() || b" -.:kMGTPdhms".contains(b);
    let drawn = &line[start + 1..];
    let end = drawn.iter().position(|b| !meter(b)).unwrap_or(drawn.len());
    let rest = &drawn[end..];
    if rest.starts_with(b"<") || is_aside(rest) { rest } else { line }
}

/// curl's notes, what it sends, and its counts of data: `* `, `> `, `{ [5 bytes data]`, `} [5 bytes data]`.
fn is_aside(line: &[u8]) -> bool {
    matches!(line, [b'*' | b'>'] | [b'*' | b'>', b' ', ..] | [b'{' | b'}', b' ', b'[', ..])
}

fn after_blanks(line: &[u8]) -> &[u8] {
    &line[line.iter().position(|b| !is_blank(*b)).unwrap_or(line.len())..]
}

/// The status of `HTTP/1.1 503 Service Unavailable`, `HTTP/2 503`, `HTTP 503`.
fn status(text: &[u8]) -> Option<u16> {
    let rest = match text.strip_prefix(b"HTTP")? {
        [b'/', b'0'..=b'9', b'.', b'0'..=b'9', rest @ ..] | [b'/', b'0'..=b'9', rest @ ..] => rest,
        rest => rest,
    };
    let spaces = rest.iter().take_while(|b| **b == b' ').count();
    match &rest[spaces..] {
        [a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9']
        | [a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ', ..]
            if spaces > 0 =>
        {
            Some([a, b, c].iter().fold(0, |n, digit| n * 10 + u16::from(**digit - b'0')))
        }
        _ => None,
    }
}

/// The names of `Retry-After` in milliseconds: of OpenAI, Azure and AWS.
const IN_MILLISECONDS: [&str; 3] = ["retry-after-ms", "x-ms-retry-after-ms", "x-amz-retry-after"];

const RETRY_AFTER: &str = "Retry-After";

/// Whether a field counts outside of a block: scripts print it.
fn stands_alone(name: &[u8]) -> bool {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    is(RETRY_AFTER) || IN_MILLISECONDS.into_iter().any(is)
}

/// How long a server asks to wait, and the field that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Never zero.
    pub(crate) wait: Duration,
    pub(crate) field: &'static str,
}

/// A response: its status and what its fields say of when to come back. Times are since the Unix epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Response {
    status: Option<u16>,
    /// `Date` (RFC 9110 §6.6.1): the server's clock.
    date: Option<Duration>,
    /// The largest of [`IN_MILLISECONDS`].
    retry_after_ms: Option<Asked>,
    /// The latest `Retry-After`.
    retry_after: Latest,
    /// `RateLimit`
    rate_limit: Option<RateLimit>,
    /// `RateLimit-Remaining`, `RateLimit-Reset`
    plain: Quota,
    /// `X-RateLimit-Remaining`, `X-RateLimit-Reset`
    x: Quota,
    /// `X-RateLimit-Reset-After`
    x_reset_after: Option<Duration>,
}

/// The latest of the moments that fields of one name gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Latest {
    after: Option<Duration>,
    at: Option<Duration>,
}

impl Latest {
    fn add(&mut self, moment: Option<Moment>) {
        match moment {
            Some(Moment::After(wait)) => self.after = self.after.max(Some(wait)),
            Some(Moment::At(time)) => self.at = self.at.max(Some(time)),
            None => {}
        }
    }

    fn is_some(&self) -> bool {
        self.after.is_some() || self.at.is_some()
    }

    /// How long it is from `now`, which is since the Unix epoch.
    fn wait(&self, now: Duration) -> Option<Duration> {
        self.after.max(self.at.map(|time| time.saturating_sub(now)))
    }
}

/// What is left of a quota, and when there is more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Quota {
    nothing_left: Option<bool>,
    reset: Latest,
}

impl Quota {
    fn remaining(&mut self, value: &[u8]) {
        let nothing = value::number(value, SECOND).map(|left| left.is_zero());
        self.nothing_left = self.nothing_left.max(nothing);
    }
}

impl Response {
    /// Takes what a field says; the rest of the fields say nothing of a retry.
    fn field(&mut self, name: &[u8], value: &[u8]) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("Date") {
            self.date = value::date(value);
        } else if is(RETRY_AFTER) {
            self.retry_after.add(value::retry_after(value));
        } else if let Some(field) = IN_MILLISECONDS.into_iter().find(|known| is(known)) {
            let asked = value::number(value, MILLISECOND).map(|wait| Asked { wait, field });
            self.retry_after_ms = [self.retry_after_ms, asked].into_iter().flatten().max_by_key(|a| a.wait);
        } else if is("RateLimit") {
            let limit = value::rate_limit(value);
            self.rate_limit = match (self.rate_limit, limit) {
                (Some(a), Some(b)) => Some(RateLimit {
                    nothing_left: a.nothing_left || b.nothing_left,
                    wait: a.wait.max(b.wait),
                }),
                (a, b) => a.or(b),
            };
        } else if is("RateLimit-Remaining") {
            self.plain.remaining(value);
        } else if is("RateLimit-Reset") {
            self.plain.reset.add(value::reset(value));
        } else if is("X-RateLimit-Remaining") {
            self.x.remaining(value);
        } else if is("X-RateLimit-Reset") {
            self.x.reset.add(value::reset(value));
        } else if is("X-RateLimit-Reset-After") {
            self.x_reset_after = self.x_reset_after.max(value::number(value, SECOND));
        }
    }

    /// Its status code, 100 to 599.
    pub(crate) fn status(&self) -> Option<u16> {
        self.status
    }

    /// What the status means for a retry; nothing below 400. RFC 9110 §15.5, §15.6; 425: RFC 8470 §5.2;
    /// 429, 511: RFC 6585 §4, §6. A 403 with a limit is a rate limit, as GitHub sends it.
    pub(crate) fn class(&self) -> Option<Class> {
        match self.status? {
            408 | 425 | 429 => Some(Class::Retryable),
            403 if self.has_limit() => Some(Class::Retryable),
            501 | 505 | 511 | 400..=499 => Some(Class::Fatal),
            500..=599 => Some(Class::Retryable),
            _ => None,
        }
    }

    /// Whether it says when to come back or that nothing is left.
    fn has_limit(&self) -> bool {
        self.retry_after.is_some()
            || self.retry_after_ms.is_some()
            || self.rate_limit.is_some_and(|limit| limit.nothing_left)
            || [&self.plain, &self.x].iter().any(|quota| quota.nothing_left == Some(true))
    }

    /// How long the server asks to wait. Milliseconds outrank `Retry-After` (RFC 9110 §10.2.3), which
    /// outranks the rate limits. Zero and a past date ask for nothing. A date counts from the response's
    /// `Date`, so that the two clocks need not agree, or else from `now`, the local wall clock.
    pub(crate) fn asked(&self, now: SystemTime) -> Option<Asked> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = self.date.unwrap_or(now);
        let retry_after = Some(RETRY_AFTER).zip(self.retry_after.wait(now));
        let retry_after = retry_after.map(|(field, wait)| Asked { wait, field });
        // A wait of nothing is none. In milliseconds it leaves the word to the field that all servers know;
        // rate limits are asked only where there is neither (see RFC 9110 §10.2.3 and the RateLimit draft).
        let some = |asked: &Asked| !asked.wait.is_zero();
        match (self.retry_after_ms.filter(some), retry_after) {
            (Some(asked), _) => Some(asked),
            (None, Some(asked)) => Some(asked).filter(some),
            (None, None) if self.retry_after_ms.is_some() => None,
            (None, None) => self.limited(now),
        }
    }

    /// When a rate limit is lifted. A 403 counts only where nothing is left; 429 and 503 also where the
    /// fields do not say how much.
    fn limited(&self, now: Duration) -> Option<Asked> {
        let unsaid = match self.status? {
            403 => false,
            429 | 503 => true,
            _ => return None,
        };
        let applies = |quota: &Quota| quota.nothing_left.unwrap_or(unsaid);
        let reset = |quota: &Quota| quota.reset.wait(now).filter(|_| applies(quota));
        [
            ("RateLimit", self.rate_limit.and_then(|limit| limit.wait)),
            ("RateLimit-Reset", reset(&self.plain)),
            ("X-RateLimit-Reset-After", self.x_reset_after.filter(|_| applies(&self.x))),
            ("X-RateLimit-Reset", reset(&self.x)),
        ]
        .into_iter()
        .find_map(|(field, wait)| Some(Asked { wait: wait.filter(|wait| !wait.is_zero())?, field }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Source::{Headers, Stderr, Stdout};
    use super::*;

    /// 1994-11-06 08:49:37, the date of RFC 9110's examples.
    const NOW: Duration = Duration::from_secs(784_111_777);

    fn read(source: Source, text: &str) -> Reader {
        let mut reader = Reader::default();
        feed(&mut reader, source, text);
        reader
    }

    fn feed(reader: &mut Reader, source: Source, text: &str) {
        for line in text.split_terminator('\n') {
            reader.line(source, line.as_bytes());
        }
    }

    /// The wait in seconds, and the field.
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
            let reader = read(Stderr, line);
            assert_eq!(reader.response().status(), status, "{line:?}");
            assert_eq!(reader.in_block(Stderr), status.is_some(), "{line:?}");
            assert!(!reader.in_block(Stdout) && !reader.in_block(Headers), "{line:?}");
        }
    }

    #[test]
    fn the_class_is_that_of_the_status() {
        let class = |status| read(Stdout, &format!("HTTP/1.1 {status}")).response().class();
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
    fn a_403_is_retryable_where_it_is_a_rate_limit() {
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
            let reader = read(Stdout, &format!("HTTP/1.1 403 Forbidden\n{fields}\n"));
            assert_eq!(reader.response().class(), Some(class), "{fields}");
            let reader = read(Stdout, &format!("HTTP/1.1 404 Not Found\n{fields}\n"));
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
            // Any status may ask.
            (301, "Retry-After: 5", Some((5.0, "Retry-After"))),
            (404, "Retry-After: 5", Some((5.0, "Retry-After"))),
            // The largest that is valid.
            (
                503,
                "Retry-After: 5\nRetry-After: 7\nRetry-After: 6\nRetry-After: x",
                Some((7.0, "Retry-After")),
            ),
            (503, "Retry-After: 5\nRetry-After: Sun, 06 Nov 1994 08:49:46 GMT", Some((9.0, "Retry-After"))),
            // Dates count from `Date`, or from now.
            (503, "Retry-After: Sun, 06 Nov 1994 08:50:37 GMT", Some((60.0, "Retry-After"))),
            (503, "Retry-After: Sunday, 06-Nov-94 08:50:37 GMT", Some((60.0, "Retry-After"))),
            (503, "Retry-After: Sun Nov  6 08:50:37 1994", Some((60.0, "Retry-After"))),
            (503, "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT", None),
            (503, "Retry-After: Sun, 06 Nov 1994 08:49:36 GMT", None),
            (
                503,
                "Retry-After: Wed, 01 Jan 2025 00:00:30 GMT\nDate: Wed, 01 Jan 2025 00:00:00 GMT",
                Some((30.0, "Retry-After")),
            ),
            (503, "Date: yesterday\nRetry-After: Sun, 06 Nov 1994 08:50:37 GMT", Some((60.0, "Retry-After"))),
            // Milliseconds outrank it, even with zero.
            (503, "Retry-After: 9\nretry-after-ms: 1500", Some((1.5, "retry-after-ms"))),
            (503, "Retry-After: 9\nRetry-After-Ms: 0.5", Some((0.0005, "retry-after-ms"))),
            (503, "x-ms-retry-after-ms: 20\nRetry-After: 9", Some((0.02, "x-ms-retry-after-ms"))),
            (503, "x-amz-retry-after: 20\nretry-after-ms: 30", Some((0.03, "retry-after-ms"))),
            (503, "retry-after-ms: 0\nRetry-After: 9", Some((9.0, "Retry-After"))),
            (503, "retry-after-ms: -1\nRetry-After: 9", Some((9.0, "Retry-After"))),
            // It outranks the limits, even with zero.
            (429, "RateLimit: \"a\";r=0;t=30\nRetry-After: 9", Some((9.0, "Retry-After"))),
            (429, "RateLimit: \"a\";r=0;t=30\nRetry-After: 0", None),
            (429, "RateLimit: \"a\";r=0;t=30\nRetry-After: x", Some((30.0, "RateLimit"))),
            // Limits.
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
            let reader = read(Headers, &format!("HTTP/1.1 {status} Whatever\r\n{fields}\n\n"));
            assert_eq!(asked(&reader), expected, "{status} {fields}");
        }
    }

    #[test]
    fn an_epoch_reset_without_date_counts_from_now() {
        let reader = read(Stdout, "HTTP/2 429\nX-RateLimit-Reset: 1735689630\n");
        let ask = |now| reader.response().asked(SystemTime::UNIX_EPOCH + Duration::from_secs(now));
        assert_eq!(ask(1_735_689_600).map(|asked| asked.wait), Some(Duration::from_secs(30)));
        assert_eq!(ask(1_735_689_630), None);
        assert_eq!(ask(1_735_689_631), None);
        let before = reader.response().asked(SystemTime::UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!(before.map(|asked| asked.wait), Some(Duration::from_secs(1_735_689_630)));
    }

    /// The output of curl 7.88 and wget 1.21, as it was written, and of scripts.
    #[test]
    fn programs_are_understood() {
        let meter = "\r  0     0    0     0    0     0      0      0 --:--:--  0:00:02 --:--:--     0";
        let block = "HTTP/1.1 503 Service Unavailable\r\nServer: x\r\nRetry-After: 120\r\n\r\n";
        for (text, status, expected) in [
            // curl -i, with a body that speaks of HTTP.
            (format!("{block}X-RateLimit-Reset: 7\nretry after: 5\n"), Some(503), Some(120.0)),
            // curl -iL, or 100 Continue, or a proxy's CONNECT.
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
            // curl -v with a slow server: the progress meter stands before lines.
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
            let reader = read(Stderr, &text);
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
            let reader = read(Stdout, &format!("HTTP/1.1 503\n{line}\n"));
            assert_eq!(reader.in_block(Stdout), open, "{line:?}");
        }
    }

    #[test]
    fn the_last_block_of_any_source_wins_and_only_its_fields_count() {
        let mut reader = read(Stdout, "HTTP/1.1 503\nRetry-After: 1\n");
        feed(&mut reader, Stderr, "< HTTP/1.1 429\n");
        assert!(reader.in_block(Stdout) && reader.in_block(Stderr));
        feed(&mut reader, Stdout, "Retry-After: 2\n");
        assert_eq!((reader.response().status(), asked(&reader)), (Some(429), None));
        feed(&mut reader, Stderr, "< Retry-After: 3\n");
        assert_eq!(asked(&reader), Some((3.0, "Retry-After")));
        // Outside of a block, a field is the last response's.
        feed(&mut reader, Headers, "Retry-After: 4\n");
        assert_eq!(asked(&reader), Some((4.0, "Retry-After")));
        feed(&mut reader, Stdout, "\n");
        assert!(!reader.in_block(Stdout) && reader.in_block(Stderr));
    }

    #[test]
    fn a_program_s_message_names_the_last_response_or_another() {
        let retry_after = |reader: &Reader| (reader.response().status(), asked(reader).map(|(wait, _)| wait));
        let mut reader = read(Stdout, "HTTP/1.1 503\nRetry-After: 5\n");
        reader.said(503);
        assert_eq!(retry_after(&reader), (Some(503), Some(5.0)));
        feed(&mut reader, Stdout, "Retry-After: 6\n");
        assert_eq!(retry_after(&reader), (Some(503), Some(6.0)), "the block is still its own");
        reader.said(429);
        assert_eq!(retry_after(&reader), (Some(429), None));
        feed(&mut reader, Stdout, "Retry-After: 7\n");
        assert_eq!(retry_after(&reader), (Some(429), None), "the block was another response's");
        feed(&mut reader, Stderr, "Retry-After: 8\n");
        assert_eq!(retry_after(&reader), (Some(429), Some(8.0)), "it stands alone");
        for status in [0, 99, 600, u16::MAX] {
            reader.said(status);
            assert_eq!(retry_after(&reader), (Some(429), Some(8.0)), "{status} is no status");
        }
        let mut reader = read(Stderr, "Retry-After: 5\n");
        reader.said(503);
        assert_eq!(retry_after(&reader), (Some(503), Some(5.0)), "what came before any status is kept");
        feed(&mut reader, Stderr, "HTTP/1.1 502\n");
        assert_eq!(retry_after(&reader), (Some(502), None));
        // What a body imitates comes behind on stdout.
        let mut reader = read(Stdout, "HTTP/1.1 503\nRetry-After: 5\n\n");
        reader.said(503);
        feed(&mut reader, Stdout, "HTTP/1.1 404\nRetry-After: 200\n\n");
        assert_eq!(retry_after(&reader), (Some(503), Some(5.0)));
        let mut reader = Reader::new(false);
        reader.said(503);
        feed(&mut reader, Stdout, "HTTP/1.1 503\nRetry-After: 5\n\nHTTP/1.1 404\nHTTP 404\n");
        assert_eq!(retry_after(&reader), (Some(503), Some(5.0)));
        let mut reader = Reader::new(false);
        feed(&mut reader, Stdout, "HTTP 404\n");
        assert_eq!(retry_after(&reader), (None, None), "nobody asked for it");
    }

    /// Lines as programs write them, and near misses.
    fn lines() -> impl Strategy<Value = Vec<(Source, String)>> {
        let source = prop_oneof![Just(Stdout), Just(Stderr), Just(Headers)];
        let prefix =
            prop_oneof![Just(""), Just("< "), Just("  "), Just("> "), Just("<"), Just("\r 0 --:-- 0< ")];
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
        let line =
            (source, prefix, text).prop_map(|(source, prefix, text)| (source, format!("{prefix}{text}")));
        proptest::collection::vec(line, 0..12)
    }

    proptest! {
        #[test]
        fn no_bytes_panic(lines: Vec<Vec<u8>>, now: u32) {
            let mut reader = Reader::default();
            for line in &lines {
                reader.line(Stdout, line);
            }
            let _ = reader.response().asked(SystemTime::UNIX_EPOCH + Duration::from_secs(now.into()));
        }

        /// Whatever came, what is asked is more than nothing.
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

        /// What came before the last block does not count.
        #[test]
        fn the_last_block_wins(before in lines(), block in lines(), source in 0..3usize) {
            let source = [Stdout, Stderr, Headers][source];
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

        /// While no block is open, a line that is no candidate need not be given.
        #[test]
        fn the_candidates_are_all_that_a_reader_takes(lines in lines()) {
            let candidate = regex::bytes::Regex::new(CANDIDATE).unwrap();
            let (mut all, mut some) = (Reader::default(), Reader::default());
            for (source, line) in &lines {
                all.line(*source, line.as_bytes());
                // As it lies in a buffer.
                if some.in_block(*source) || candidate.is_match(format!("x\n{line}\ny").as_bytes()) {
                    some.line(*source, line.as_bytes());
                }
            }
            prop_assert_eq!(all.response(), some.response());
        }
    }

    #[test]
    fn a_huge_line_leaves_nothing_behind() {
        let mut reader = read(Stdout, "HTTP/1.1 429\n");
        for (name, byte) in
            [("Retry-After: ", b'9'), ("RateLimit: ", b'a'), ("x", b'x'), ("", b'\r'), ("* ", b' ')]
        {
            let mut line = name.as_bytes().to_vec();
            line.resize(1_000_000, byte);
            reader.line(Stdout, &line);
        }
        assert_eq!(asked(&reader), Some((Duration::MAX.as_secs_f64(), "Retry-After")));
    }
}
