//! Requests of curl(1).

use super::options::{Part, Syntax, Word};
use super::{Implied, Method, Request};
use crate::policy::verdict::profile::CURL_VALUED;

/// From src/tool_getparam.c of curl 8.16. Older versions know less, and take `=` after a long name
/// for a part of it.
const SYNTAX: Syntax = Syntax {
    options: &[
        (Some(b'X'), "request", Part::Method),
        (Some(b'd'), "data", Part::Body),
        (None, "data-ascii", Part::Body),
        (None, "data-binary", Part::Body),
        (None, "data-raw", Part::Body),
        (None, "data-urlencode", Part::Body),
        (None, "json", Part::Body),
        (Some(b'F'), "form", Part::Body),
        (None, "form-string", Part::Body),
        (Some(b'G'), "get", Part::Idempotent),
        (Some(b'I'), "head", Part::Idempotent),
        (Some(b'T'), "upload-file", Part::Idempotent),
        (Some(b'H'), "header", Part::Header),
        (None, "url", Part::Url),
        (Some(b':'), "next", Part::Next),
        (Some(b'K'), "config", Part::Open),
        (Some(b'h'), "help", Part::Open),
        (Some(b'M'), "manual", Part::Open),
        (Some(b'V'), "version", Part::Open),
    ],
    valued: CURL_VALUED.as_bytes(),
    long_valued: "abstract-unix-socket alt-svc aws-sigv4 cacert capath cert cert-type ciphers config \
        connect-timeout connect-to continue-at cookie cookie-jar create-file-mode crlfile curves data \
        data-ascii data-binary data-raw data-urlencode delegation dns-interface dns-ipv4-addr \
        dns-ipv6-addr dns-servers doh-url dump-header ech egd-file engine etag-compare etag-save \
        expect100-timeout form form-string ftp-account ftp-alternative-to-user ftp-method ftp-port \
        ftp-ssl-ccc-mode happy-eyeballs-timeout-ms haproxy-clientip header help hostpubmd5 \
        hostpubsha256 hsts httpsig-algo httpsig-headers httpsig-key httpsig-keyid interface ip-tos \
        ipfs-gateway json keepalive-cnt keepalive-time key key-type knownhosts krb krb4 libcurl \
        limit-rate local-port login-options mail-auth mail-from mail-rcpt max-filesize max-redirs \
        max-time netrc-file noproxy oauth2-bearer output output-dir parallel-max parallel-max-host pass \
        pinnedpubkey preproxy proto proto-default proto-redir proxy proxy-cacert proxy-capath proxy-cert \
        proxy-cert-type proxy-ciphers proxy-crlfile proxy-header proxy-key proxy-key-type proxy-pass \
        proxy-pinnedpubkey proxy-service-name proxy-tls13-ciphers proxy-tlsauthtype proxy-tlspassword \
        proxy-tlsuser proxy-user proxy1.0 pubkey quote random-file range rate referer request \
        request-target resolve retry retry-delay retry-max-time sasl-authzid service-name sigalgs socks4 \
        socks4a socks5 socks5-gssapi-service socks5-hostname speed-limit speed-time ssl-sessions stderr \
        telnet-option tftp-blksize time-cond tls-max tls13-ciphers tlsauthtype tlspassword tlsuser trace \
        trace-ascii trace-config unix-socket upload-file upload-flags url url-query user user-agent \
        variable vlan-priority write-out",
    // `--expand-data '{{name}}'`
    prefix: "expand-",
};

pub(super) fn unkeyed(arguments: &[&[u8]]) -> Option<Method> {
    let mut requests = vec![Request::default()];
    for word in SYNTAX.read(arguments)? {
        let request = requests.last_mut()?;
        match word {
            Word::Option(Part::Method, name) => request.method = Some(name),
            Word::Option(Part::Body, _) => request.add_body(),
            Word::Option(Part::Idempotent, _) => request.implied = Implied::Idempotent,
            // A file of header fields, or stdin.
            Word::Option(Part::Header, [b'@', ..]) | Word::Option(Part::Open, _) => return None,
            Word::Option(Part::Header, field) => request.add_header(field),
            Word::Option(Part::Url, url) | Word::Operand(url) => request.add_url(url),
            Word::Option(Part::Next, _) => requests.push(Request::default()),
            Word::Option(Part::Setting | Part::NoInput, _) => {}
        }
    }
    requests.iter().find_map(Request::unkeyed)
}
