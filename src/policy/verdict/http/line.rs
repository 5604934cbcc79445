//! A line of output, as far as it may belong to an HTTP message.

use super::value::{is_blank, is_token};

/// How a program prints the lines of a header block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As they came: `HTTP/1.1 503`. curl -i, curl -D, httpie.
    Plain,
    /// After `< `: curl -v.
    Marked,
    /// After two spaces: wget -S.
    Indented,
}

/// A status line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StatusLine {
    pub(super) form: Form,
    pub(super) status: u16,
    /// `HTTP 503`, without a version. Only scripts print it.
    pub(super) bare: bool,
}

/// Removes the carriage returns at the end of a line, and counts them.
pub(super) fn trimmed(line: &[u8]) -> (&[u8], usize) {
    let end = line.iter().rposition(|b| *b != b'\r').map_or(0, |last| last + 1);
    (&line[..end], line.len() - end)
}

/// Reads a status line in any form (RFC 9112 §4). `line` has no carriage return at its end.
pub(super) fn status_line(line: &[u8]) -> Option<StatusLine> {
    let line = after_meter(line);
    let (form, text) = match line.strip_prefix(b"< ") {
        Some(text) => (Form::Marked, text),
        None if line.first().is_some_and(|b| is_blank(*b)) => (Form::Indented, after_blanks(line)),
        None => (Form::Plain, line),
    };
    let status = status(text)?;
    Some(StatusLine { form, status, bare: !text.starts_with(b"HTTP/") })
}

/// The name and the value of a field (RFC 9112 §5), without the mark of a form.
pub(super) fn field(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let name = text.iter().position(|b| !is_token(*b))?;
    match text.split_at(name) {
        (name @ [_, ..], [b':', value @ ..]) => Some((name, value.trim_ascii())),
        _ => None,
    }
}

/// Whether a line is the first line of a request: `GET /a HTTP/1.1` (RFC 9112 §3). httpie prints
/// it.
pub(super) fn is_request(line: &[u8]) -> bool {
    let mut words = line.split(|b| *b == b' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    method.is_some_and(|m| !m.is_empty() && m.iter().all(u8::is_ascii_uppercase))
        && target.is_some_and(|target| !target.is_empty())
        && version.is_some_and(|version| matches!(version, [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', ..]))
        && words.next().is_none()
}

/// A line of curl -v that begins with `<`: the text after the mark.
pub(super) fn marked(line: &[u8]) -> Option<&[u8]> {
    match after_meter(line) {
        [b'<'] => Some(&[]),
        [b'<', b' ', text @ ..] => Some(text),
        _ => None,
    }
}

/// The note with which curl -fv ends a header block. curl does not print the blank line then.
pub(super) fn is_end_of_failed_block(line: &[u8]) -> bool {
    after_meter(line).starts_with(b"* The requested URL returned error")
}

/// Whether curl announces a response at the end of this text, with a note or a line of a request:
/// `* Connected`, `> GET / HTTP/1.1`. Counts of data may follow: `{ [5 bytes data]`. None if the text
/// has nothing but such counts.
pub(super) fn is_announced_by_curl(text: &[u8]) -> Option<bool> {
    let is_count = |line: &[u8]| matches!(line, [b'{' | b'}', b' ', b'[', ..]);
    let mut lines = text.rsplit(|b| *b == b'\n').map(|line| after_meter(trimmed(line).0));
    let last = lines.find(|line| !is_count(line))?;
    Some(is_aside(last))
}

/// Whether wget announces a response in the last line of this text: with a time (`--2026-11-24
/// 21:51:59--  URL`, `2026-11-24 21:51:59 ERROR 404: ...`), or with `HTTP request sent, awaiting
/// response... `. Both can be told in every language.
pub(super) fn is_announced_by_wget(text: &[u8]) -> bool {
    let line = trimmed(&text[memchr::memrchr(b'\n', text).map_or(0, |at| at + 1)..]).0;
    // The sign stands at the beginning of a line, or at its end if a body has no line break there.
    let line = &line[line.len().saturating_sub(4096)..];
    let awaits = line.ends_with(b"... ") || line.ends_with("\u{2026} ".as_bytes());
    let is_time = |text: &[u8]| {
        text.iter().zip(b"0000-00-00 00:00:00").all(|(b, form)| match form {
            b'0' => b.is_ascii_digit(),
            form => b == form,
        })
    };
    (awaits && memchr::memmem::find(line, b"HTTP").is_some())
        || line.windows(19).any(is_time)
        || line.starts_with(b"Authentication selected: ")
}

/// Removes the progress meter of curl before a line. curl redraws the meter after a carriage return
/// and does not end the line: `\r  0     0 ... --:--:--     0< HTTP/1.1 503`.
fn after_meter(line: &[u8]) -> &[u8] {
    let Some(start) = memchr::memrchr(b'\r', line) else { return line };
    let meter = |b: &u8| b.is_ascii_digit() || b" -.:kMGTPdhms".contains(b);
    let drawn = &line[start + 1..];
    let end = drawn.iter().position(|b| !meter(b)).unwrap_or(drawn.len());
    let rest = &drawn[end..];
    if rest.starts_with(b"<") || is_aside(rest) { rest } else { line }
}

fn is_aside(line: &[u8]) -> bool {
    matches!(line, [b'*' | b'>'] | [b'*' | b'>', b' ', ..] | [b'{' | b'}', b' ', b'[', ..])
}

pub(super) fn after_blanks(line: &[u8]) -> &[u8] {
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
