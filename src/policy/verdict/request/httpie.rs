//! Requests of httpie: <https://httpie.io/docs/cli/http-method> and
//! <https://httpie.io/docs/cli/request-items>.

use super::options::{Part, Syntax, Word};
use super::{Implied, Method, Request, is_key};

const SYNTAX: Syntax = Syntax {
    options: &[
        (None, "raw", Part::Body),
        (Some(b'I'), "ignore-stdin", Part::NoInput),
        // It builds the request, and does not send it.
        (None, "offline", Part::Open),
        (None, "help", Part::Open),
        (None, "manual", Part::Open),
        (None, "version", Part::Open),
    ],
    valued: b"AaoPps",
    long_valued: "auth auth-type boundary cert cert-key cert-key-pass ciphers default-scheme \
        format-options history-print max-headers max-redirects output pretty print proxy raw \
        response-charset response-mime session session-read-only ssl style timeout verify",
    prefix: "",
};

pub(super) fn unkeyed(arguments: &[&[u8]], has_input: impl FnOnce() -> bool) -> Option<Method> {
    let mut request = Request::default();
    let (mut reads_stdin, mut operands) = (true, Vec::new());
    for word in SYNTAX.read(arguments)? {
        match word {
            Word::Option(Part::Body, _) => request.add_body(),
            Word::Option(Part::NoInput, _) => reads_stdin = false,
            Word::Option(Part::Open, _) => return None,
            Word::Option(
                Part::Method | Part::Idempotent | Part::Header | Part::Url | Part::Next | Part::Setting,
                _,
            ) => {}
            Word::Operand(operand) => operands.push(operand),
        }
    }
    // [METHOD] URL [ITEM]...
    let (method, url, items) = match operands.as_slice() {
        [method, url, items @ ..] if method.iter().all(u8::is_ascii_alphabetic) => {
            (Some(*method), *url, items)
        }
        [url, items @ ..] => (None, *url, items),
        [] => return None,
    };
    request.method = method;
    request.add_url(url);
    for item in items {
        match Item::read(item) {
            Some(Item::Data) => request.add_body(),
            Some(Item::Header { name, has_value }) => request.has_key |= has_value && is_key(name),
            Some(Item::Query) | None => {}
        }
    }
    if method.is_none() && request.implied == Implied::Get && reads_stdin && has_input() {
        // Without a method, httpie sends a POST if stdin is not a terminal.
        request.add_body();
    }
    request.unkeyed()
}

/// A request item.
#[derive(Debug, PartialEq, Eq)]
enum Item<'a> {
    /// `name=text`, `name:=json`, `name@file`, `name=@file`, `name:=@file`
    Data,
    /// `name==text`, `name==@file`
    Query,
    /// `Name:text`, `Name:@file`; `Name;` sends an empty field, and `Name:` none.
    Header { name: &'a [u8], has_value: bool },
}

impl<'a> Item<'a> {
    /// The first separator decides, in its longest form. A backslash before a separator escapes it.
    fn read(word: &'a [u8]) -> Option<Self> {
        let mut at = 0;
        while let Some(byte) = word.get(at) {
            let rest = &word[at + 1..];
            match (byte, rest) {
                (b'\\', _) => at += 1,
                (b':', [b'=', ..]) | (b'@', _) => return Some(Self::Data),
                (b':' | b';', _) => {
                    let has_value = *byte == b';' || !rest.is_empty();
                    return Some(Self::Header { name: &word[..at], has_value });
                }
                (b'=', [b'=', ..]) => return Some(Self::Query),
                (b'=', _) => return Some(Self::Data),
                _ => {}
            }
            at += 1;
        }
        None
    }
}
