//! Finds a POST or PATCH that a retry may carry out twice: one without an Idempotency-Key, from
//! curl, wget or httpie.
//!
//! GET, HEAD, PUT and DELETE are idempotent (RFC 9110, section 9.2.2); POST and PATCH (RFC 5789,
//! section 2) are not. A server that knows the header `Idempotency-Key`
//! (draft-ietf-httpapi-idempotency-key-header) recognizes a repeated request by it.
//!
//! Only the words of the command decide. If they leave something open, the answer is that there is
//! no such request: in a file of options or headers (`curl -K`, `curl -H @file`), or in an
//! abbreviated option. retry does not guess.

mod curl;
mod httpie;
mod options;
#[cfg(test)]
mod tests;
mod wget;

use std::fmt;

use super::program::{base_name, look_through};

/// A method that is not idempotent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Post,
    Patch,
}

impl Method {
    /// None for any other method. The case does not matter: wget and httpie change it, and a server
    /// may not distinguish it.
    fn named(name: &[u8]) -> Option<Self> {
        [Self::Post, Self::Patch]
            .into_iter()
            .find(|method| method.name().as_bytes().eq_ignore_ascii_case(name))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Patch => "PATCH",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The method of the first request that these words send without an Idempotency-Key, if it is POST
/// or PATCH. `has_input` tells whether stdin is something else than a terminal. Only httpie asks,
/// because it sends stdin as the body then.
pub(crate) fn unkeyed(words: &[&[u8]], has_input: impl FnOnce() -> bool) -> Option<Method> {
    let at = look_through(words).program?;
    let arguments = words.get(at + 1..)?;
    match base_name(words.get(at)?) {
        b"curl" => curl::unkeyed(arguments),
        b"wget" => wget::unkeyed(arguments),
        b"http" | b"https" => httpie::unkeyed(arguments, has_input),
        _ => None,
    }
}

/// The request of one command, or of one part of it (`curl --next`).
#[derive(Debug, Default)]
struct Request<'a> {
    /// The method that an option names.
    method: Option<&'a [u8]>,
    implied: Implied,
    has_key: bool,
    has_http_url: bool,
}

/// The method if no option names one.
#[derive(Debug, Default, PartialEq, Eq)]
enum Implied {
    #[default]
    Get,
    /// There is a body.
    Post,
    /// An option makes the method GET, HEAD or PUT, with or without a body.
    Idempotent,
}

impl<'a> Request<'a> {
    fn unkeyed(&self) -> Option<Method> {
        let method = match self.method {
            Some(name) => Method::named(name),
            None => (self.implied == Implied::Post).then_some(Method::Post),
        };
        method.filter(|_| self.has_http_url && !self.has_key)
    }

    /// Adds a body that makes the method POST.
    fn add_body(&mut self) {
        if self.implied == Implied::Get {
            self.implied = Implied::Post;
        }
    }

    /// Adds a header field such as `Idempotency-Key: x`. curl and wget do not send a field without
    /// a value, except that curl sends `Idempotency-Key;` as an empty field.
    fn add_header(&mut self, field: &'a [u8]) {
        let Some(end) = field.iter().position(|b| matches!(b, b':' | b';')) else { return };
        let has_value = field[end] == b';' || !field[end + 1..].trim_ascii().is_empty();
        self.has_key |= has_value && is_key(&field[..end]);
    }

    /// Adds a URL. Without a scheme it is taken for HTTP. `curl -F` also sends mail, and there
    /// nothing is a POST.
    fn add_url(&mut self, url: &[u8]) {
        let end = url.windows(3).position(|part| part == b"://");
        let scheme = end.map(|end| &url[..end]);
        self.has_http_url |= scheme.is_none_or(|scheme| {
            scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https")
        });
    }
}

/// Whether a header field of this name carries the key: `Idempotency-Key`, `X-Idempotency-Key`.
fn is_key(name: &[u8]) -> bool {
    const NAME: &[u8] = b"idempotency-key";
    let name = name.trim_ascii().to_ascii_lowercase();
    name.strip_suffix(NAME).is_some_and(|before| before.is_empty() || before.ends_with(b"-"))
}
