//! Requests of wget(1).

use super::options::{Part, Syntax, Word};
use super::{Method, Request};

const SYNTAX: Syntax = Syntax {
    options: &[
        (None, "method", Part::Method),
        (None, "post-data", Part::Body),
        (None, "post-file", Part::Body),
        (None, "header", Part::Header),
        (Some(b'e'), "execute", Part::Setting),
        (Some(b'i'), "input-file", Part::Url),
        (None, "config", Part::Open),
        (Some(b'h'), "help", Part::Open),
        (Some(b'V'), "version", Part::Open),
    ],
    // A letter follows -n, as in -nv.
    valued: b"AaBDeIilnOoPQRTtUwX",
    long_valued: "accept accept-regex append-output backups base bind-address body-data body-file \
        ca-certificate ca-directory certificate certificate-type ciphers compression config \
        connect-timeout crl-file cut-dirs default-page directory-prefix dns-timeout domains \
        exclude-directories exclude-domains execute follow-tags ftp-password ftp-user header hsts-file \
        http-password http-user ignore-tags include-directories input-file level limit-rate \
        load-cookies local-encoding max-redirect method output-document output-file password \
        pinnedpubkey post-data post-file prefer-family private-key private-key-type progress \
        proxy-password proxy-user quota read-timeout referer regex-type reject reject-regex \
        rejected-log remote-encoding report-speed restrict-file-names retry-on-http-error save-cookies \
        secure-protocol start-pos timeout tries use-askpass user user-agent wait waitretry warc-dedup \
        warc-file warc-header warc-max-size warc-tempdir",
    prefix: "",
};

pub(super) fn unkeyed(arguments: &[&[u8]]) -> Option<Method> {
    let mut request = Request::default();
    for word in SYNTAX.read(arguments)? {
        match word {
            Word::Option(part, value) => set(&mut request, part, value)?,
            Word::Operand(url) => request.add_url(url),
        }
    }
    request.unkeyed()
}

/// None if the words leave the request open.
fn set<'a>(request: &mut Request<'a>, part: Part, value: &'a [u8]) -> Option<()> {
    match part {
        Part::Method => request.method = Some(value),
        Part::Body => request.add_body(),
        // An empty field removes those before it.
        Part::Header if value.is_empty() => request.has_key = false,
        Part::Header => request.add_header(value),
        Part::Url => request.has_http_url = true,
        Part::Setting => return setting(request, value),
        Part::Open => return None,
        Part::Idempotent | Part::Next | Part::NoInput => {}
    }
    Some(())
}

/// Reads a line of .wgetrc: `post_data = x`. Case, `-` and `_` in a name do not matter.
fn setting<'a>(request: &mut Request<'a>, line: &'a [u8]) -> Option<()> {
    let end = line.iter().position(|b| *b == b'=')?;
    let name: Vec<u8> =
        line[..end].iter().filter(|b| b.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).collect();
    let part = match name.as_slice() {
        b"method" => Part::Method,
        b"postdata" | b"postfile" => Part::Body,
        b"header" => Part::Header,
        _ => return Some(()),
    };
    set(request, part, line[end + 1..].trim_ascii())
}
