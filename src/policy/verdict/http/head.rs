//! A header block while it is read: the response, and how its body is framed.

use super::line::{Form, StatusLine};
use super::response::Response;

/// The longest field that is read, in bytes. No field that matters is longer.
const LONGEST: usize = 8 * 1024;

/// The length of the body that may follow a block (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Bytes(u64),
    /// Chunked, encoded, or as long as the connection.
    Unknown,
}

/// The fields that frame a body.
#[derive(Debug, Clone, Default)]
pub(super) struct Framing {
    length: Option<u64>,
    doubt: Option<LengthDoubt>,
    typed: bool,
    /// A field says where or how to send another request.
    sequel: bool,
}

/// The reason why the body is not as long as `Content-Length` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LengthDoubt {
    Chunked,
    /// A program may decode the body before it prints it.
    Encoded,
    /// The fields do not agree, or one is no number.
    Confused,
}

impl Framing {
    pub(super) fn field(&mut self, name: &[u8], value: &[u8]) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("Content-Length") {
            let digits = std::str::from_utf8(value).ok().filter(|v| v.bytes().all(|b| b.is_ascii_digit()));
            let length = digits.and_then(|digits| digits.parse().ok());
            if length.is_none() || self.length.is_some_and(|known| Some(known) != length) {
                self.doubt.get_or_insert(LengthDoubt::Confused);
            }
            self.length = length;
        } else if is("Transfer-Encoding") {
            self.doubt = Some(LengthDoubt::Chunked);
        } else if is("Content-Encoding") && !value.eq_ignore_ascii_case(b"identity") {
            self.doubt.get_or_insert(LengthDoubt::Encoded);
        } else if is("Content-Type") {
            self.typed = true;
        } else if is("Location") || is("WWW-Authenticate") || is("Proxy-Authenticate") {
            self.sequel = true;
        }
    }

    pub(super) fn length(&self) -> Length {
        match (self.length, self.doubt) {
            (Some(length), None) => Length::Bytes(length),
            (None, _) | (_, Some(_)) => Length::Unknown,
        }
    }

    pub(super) fn is_chunked(&self) -> bool {
        self.doubt == Some(LengthDoubt::Chunked)
    }
}

/// An open header block.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) line: StatusLine,
    pub(super) response: Response,
    pub(super) framing: Framing,
    pub(super) fields: usize,
    /// The status line ended with CR LF, as a server sends it. A script prints LF.
    pub(super) raw: bool,
    /// All lines ended with CR LF. If not, a terminal or a program changed them, and perhaps the
    /// body too.
    pub(super) exact: bool,
    /// The last field, because a folded line may follow (RFC 9112 §5.2).
    pending: Option<(Vec<u8>, Vec<u8>)>,
}

impl Head {
    pub(super) fn new(line: StatusLine, raw: bool, exact: bool) -> Self {
        let response = Response::of(line.status);
        Self { line, response, framing: Framing::default(), fields: 0, raw, exact, pending: None }
    }

    pub(super) fn field(&mut self, name: &[u8], value: &[u8]) {
        self.flush();
        self.fields += 1;
        if name.len() + value.len() <= LONGEST {
            self.pending = Some((name.to_vec(), value.to_vec()));
        }
    }

    /// Takes a line that continues the last field.
    pub(super) fn fold(&mut self, text: &[u8]) {
        match &mut self.pending {
            Some((name, value)) if name.len() + value.len() + text.len() < LONGEST => {
                if !value.is_empty() {
                    value.push(b' ');
                }
                value.extend_from_slice(text.trim_ascii());
            }
            // The field is too long to matter.
            pending => *pending = None,
        }
    }

    /// Takes the last field, because no folded line follows.
    pub(super) fn flush(&mut self) {
        if let Some((name, value)) = self.pending.take() {
            self.response.field(&name, value.trim_ascii());
            self.framing.field(&name, value.trim_ascii());
        }
    }

    /// Whether this is a block of a server, rather than lines of a script.
    pub(super) fn is_block(&self) -> bool {
        match self.line.form {
            _ if self.line.bare => false,
            Form::Plain => self.raw || self.fields > 0,
            Form::Marked => true,
            Form::Indented => self.fields > 0,
        }
    }

    /// Whether the response has no body (RFC 9112 §6.3).
    pub(super) fn is_bodiless(&self) -> bool {
        matches!(self.line.status, 100..=199 | 204 | 304) || self.framing.length() == Length::Bytes(0)
    }

    /// Whether the program may leave out the body and print the next response at once, because it
    /// goes on with another request: after a redirect, a challenge, or a CONNECT. The answer to a
    /// CONNECT has neither a length nor a type (RFC 9110 §9.3.6).
    pub(super) fn is_passed_over(&self) -> bool {
        let framing = &self.framing;
        match self.line.status {
            200..=299 => framing.length() == Length::Unknown && framing.doubt.is_none() && !framing.typed,
            300..=399 | 401 | 407 => framing.sequel,
            _ => false,
        }
    }
}
