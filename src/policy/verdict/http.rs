//! HTTP responses in the output of a program: the status, and the wait that the server asks for.
//!
//! The lines may be a status line and header fields (as `curl -i`, `curl -v`, `wget -S` and scripts
//! print them, or from the `--headers` file), or a message of the program that names a status.
//! Redirects, `100 Continue` and a CONNECT to a proxy produce several header blocks. The last one
//! counts. The reader takes the values out of a line at once (see [`value`]), and keeps no line.

pub(crate) mod value;

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use super::profile::Class;
use crate::policy::stream::{PerStream, Stream};
use value::{MILLISECOND, Moment, RateLimit, SECOND, is_blank, is_token};

/// A regular expression over bytes that matches inside every line that matters outside of a header
/// block. While no block is open, a buffer without a match does not have to be cut into lines.
///
/// It begins with literals, because the search for literals is fast. It does not match
/// `GET / HTTP/1.1`.
pub(crate) const CANDIDATE: &str = r"(?-u)HTTP(?:/[0-9](?:\.[0-9])?)? +[1-5][0-9][0-9]|(?i:retry-after)";

/// The source of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineSource {
    Stream(Stream),
    /// The `--headers` file.
    HeadersFile,
}

impl LineSource {
    const STDOUT: Self = Self::Stream(Stream::Stdout);
}

/// The sources with an open header block.
#[derive(Debug, Clone, Default)]
struct OpenBlocks {
    streams: PerStream<bool>,
    headers_file: bool,
}

impl OpenBlocks {
    fn at(&self, source: LineSource) -> bool {
        match source {
            LineSource::Stream(stream) => self.streams[stream],
            LineSource::HeadersFile => self.headers_file,
        }
    }

    fn set(&mut self, source: LineSource, open: bool) {
        match source {
            LineSource::Stream(stream) => self.streams[stream] = open,
            LineSource::HeadersFile => self.headers_file = open,
        }
    }
}

/// Reads lines in the order of their arrival. The last header block counts.
#[derive(Debug, Default, Clone)]
pub(crate) struct Reader {
    response: Response,
    /// The source of the header block of the response.
    owner: Option<LineSource>,
    open: OpenBlocks,
    /// Earlier responses, at most [`KEPT`].
    earlier: VecDeque<Response>,
    /// The last status that a message of the program named.
    said: Option<u16>,
    /// Whether `HTTP 503` without a version is a status line on stdout too.
    strict: bool,
    /// A header block has ended on stdout, so the body follows.
    body: bool,
}

/// The number of earlier responses that are kept, because a message may name one of them later.
const KEPT: usize = 8;

impl Reader {
    /// `bare`: `HTTP 503` without a version is a status line on stdout too.
    pub(crate) fn new(bare: bool) -> Self {
        Self { strict: !bare, ..Self::default() }
    }

    /// Takes a line without its terminator. Carriage returns at its end do not count.
    pub(crate) fn line(&mut self, source: LineSource, line: &[u8]) {
        let open = self.in_block(source);
        match Line::read(line) {
            Line::Status { bare: true, .. } if self.strict && source == LineSource::STDOUT => {
                self.open.set(source, false);
            }
            Line::Status { status, .. } => {
                if source != LineSource::STDOUT {
                    // After the message, on the same stream: a newer response. On stdout it may be
                    // older, because programs buffer stdout.
                    self.said = None;
                }
                self.replace(Response { status: Some(status), ..Response::default() });
                self.owner = Some(source);
                self.open.set(source, true);
                self.body |= source == LineSource::STDOUT;
            }
            Line::Field(name, value) => {
                let ours = if open { self.owner == Some(source) } else { self.may_stand_alone(source, name) };
                if ours {
                    self.response.field(name, value);
                }
            }
            Line::Aside => {}
            Line::End => self.open.set(source, false),
        }
    }

    /// Whether a field outside of a block counts. On stdout it is part of a body, unless the user
    /// asked for HTTP and there was no block on stdout.
    fn may_stand_alone(&self, source: LineSource, name: &[u8]) -> bool {
        let body = source == LineSource::STDOUT && (self.strict || self.body);
        !body && stands_alone(name)
    }

    /// Whether a header block is open on this source. If so, the reader needs every line.
    pub(crate) fn in_block(&self, source: LineSource) -> bool {
        self.open.at(source)
    }

    /// Takes the status in a message of the program: `curl: (22) ... error: 503`, wget's `ERROR
    /// 503:`. The last response with this status then counts, with its fields. If there is none,
    /// the status is a response of its own. Both outrank status lines on stdout. Fields before any
    /// status belong to it.
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

    /// The response that counts so far.
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
            // Drop the response that the program named last.
            let keep =
                self.earlier.front().is_some_and(|first| first.status.is_some() && first.status == self.said);
            self.earlier.remove(usize::from(keep));
        }
        self.earlier.push_back(std::mem::replace(&mut self.response, response));
    }
}

enum Line<'a> {
    /// A status line (RFC 9112 §4), or `HTTP 503` from a script.
    Status { status: u16, bare: bool },
    /// The name and the value of a field (RFC 9112 §5).
    Field(&'a [u8], &'a [u8]),
    /// A line that curl writes between the lines of a block.
    Aside,
    /// Any other line, such as a blank one.
    End,
}

impl<'a> Line<'a> {
    fn read(line: &'a [u8]) -> Self {
        // A terminal changes `\r\n` to `\r\r\n`.
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

/// Removes the progress meter of curl before a line. curl redraws the meter after a carriage return
/// and does not end the line: `\r  0     0 ... --:--:--     0< HTTP/1.1 503`.
fn after_meter(line: &[u8]) -> &[u8] {
    let Some(start) = line.iter().rposition(|b| *b == b'\r') else { return line };
    let meter = |b: &u8| b.is_ascii_digit() || b" -.:kMGTPdhms".contains(b);
    let drawn = &line[start + 1..];
    let end = drawn.iter().position(|b| !meter(b)).unwrap_or(drawn.len());
    let rest = &drawn[end..];
    if rest.starts_with(b"<") || is_aside(rest) { rest } else { line }
}

/// Notes of curl, request lines and data counts: `* `, `> `, `{ [5 bytes data]`, `} [5 bytes
/// data]`.
fn is_aside(line: &[u8]) -> bool {
    matches!(line, [b'*' | b'>'] | [b'*' | b'>', b' ', ..] | [b'{' | b'}', b' ', b'[', ..])
}

fn after_blanks(line: &[u8]) -> &[u8] {
    &line[line.iter().position(|b| !is_blank(*b)).unwrap_or(line.len())..]
}

/// Reads `HTTP/1.1 503 Service Unavailable`, `HTTP/2 503` or `HTTP 503`.
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

/// Fields of OpenAI, Azure and AWS that give `Retry-After` in milliseconds.
const IN_MILLISECONDS: [&str; 3] = ["retry-after-ms", "x-ms-retry-after-ms", "x-amz-retry-after"];

const RETRY_AFTER: &str = "Retry-After";

/// Whether a field counts outside of a block. Scripts print such fields alone.
fn stands_alone(name: &[u8]) -> bool {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    is(RETRY_AFTER) || IN_MILLISECONDS.into_iter().any(is)
}

/// The wait that a server asks for, and the field that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) wait: Duration,
    pub(crate) field: &'static str,
}

/// A response, with the fields that matter for a retry. Times count from the Unix epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Response {
    status: Option<u16>,
    /// `Date` (RFC 9110 §6.6.1): the clock of the server.
    date: Option<Duration>,
    /// The largest value of the fields in [`IN_MILLISECONDS`].
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

/// The latest moment of several fields with the same name.
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

    /// The time from `now` to this moment.
    fn wait(&self, now: Duration) -> Option<Duration> {
        self.after.max(self.at.map(|time| time.saturating_sub(now)))
    }
}

/// A rate limit: the requests that are left, and when there are more.
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
    /// Takes a field. Most fields say nothing about a retry.
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

    /// The status code, 100 to 599.
    pub(crate) fn status(&self) -> Option<u16> {
        self.status
    }

    /// The meaning of the status for a retry: RFC 9110 §15.5 and §15.6, RFC 8470 §5.2 (425), RFC
    /// 6585 §4 and §6 (429, 511). A status below 400 has none. GitHub sends 403 for its rate limit. A
    /// 413 with `Retry-After` is about a moment too (RFC 9110 §15.5.14).
    pub(crate) fn class(&self) -> Option<Class> {
        self.class_of(self.status?)
    }

    /// The meaning of this status, in a response with the fields of this one.
    pub(crate) fn class_of(&self, status: u16) -> Option<Class> {
        match status {
            408 | 425 | 429 => Some(Class::Retryable),
            403 | 413 if self.has_limit() => Some(Class::Retryable),
            501 | 505 | 511 | 400..=499 => Some(Class::Fatal),
            500..=599 => Some(Class::Retryable),
            _ => None,
        }
    }

    /// Whether a field says when to come back, or that nothing is left.
    fn has_limit(&self) -> bool {
        self.retry_after.is_some()
            || self.retry_after_ms.is_some()
            || self.rate_limit.is_some_and(|limit| limit.nothing_left)
            || [&self.plain, &self.x].iter().any(|quota| quota.nothing_left == Some(true))
    }

    /// The wait that the server asks for. Fields in milliseconds outrank `Retry-After` (RFC 9110
    /// §10.2.3), and that outranks rate limits. Zero and a past date ask for nothing. A date counts
    /// from the `Date` of the response, so that the two clocks do not have to agree, or else from
    /// `now`, the wall clock.
    pub(crate) fn asked(&self, now: SystemTime) -> Option<Asked> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = self.date.unwrap_or(now);
        let retry_after = Some(RETRY_AFTER).zip(self.retry_after.wait(now));
        let retry_after = retry_after.map(|(field, wait)| Asked { wait, field });
        // Zero milliseconds leave the decision to `Retry-After`. Rate limits count only if there is
        // neither (RFC 9110 §10.2.3 and the RateLimit draft).
        let some = |asked: &Asked| !asked.wait.is_zero();
        match (self.retry_after_ms.filter(some), retry_after) {
            (Some(asked), _) => Some(asked),
            (None, Some(asked)) => Some(asked).filter(some),
            (None, None) if self.retry_after_ms.is_some() => None,
            (None, None) => self.limited(now),
        }
    }

    /// The time until a rate limit ends. A 403 or 413 counts only if nothing is left. 429 and 503 also
    /// count if the fields do not say how much is left.
    fn limited(&self, now: Duration) -> Option<Asked> {
        let unsaid = match self.status? {
            403 | 413 => false,
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
mod tests;
