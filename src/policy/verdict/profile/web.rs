//! Programs that use HTTP, and HTTP status lines in the output of any program.

use super::{
    PLAIN, Profile, Proof, WatchStdout, ambiguous_status, fatal, fatal_status, http_status, retryable,
    retryable_status,
};
use crate::policy::stream::Streams;
use crate::policy::verdict::http::Printed;

/// The letters of curl's options with a value.
pub(crate) const CURL_VALUED: &str = "AbCcDdEeFHhKmoPQrTtUuwXxYyz";

/// See [`Profile::printed`].
fn printed_by_curl(arguments: &[&[u8]], streams: Streams) -> Printed {
    const DUMP: &[&str] = &["-D", "--dump-header"];
    const OUTPUT: &[&str] = &["-o", "--output"];
    let has = |options, to_file| {
        WatchStdout::With { options, valued: CURL_VALUED, to_file }.applies_on(streams, arguments)
    };
    let to_file = has(OUTPUT, &[]) && !has(OUTPUT, OUTPUT);
    if !has(&["-i", "--include", "--show-headers", "-I", "--head"], &[]) && !has(DUMP, DUMP) {
        Printed::LoneLines
    } else if to_file || has(&["-I", "--head", "-O", "--remote-name", "--remote-name-all"], &[]) {
        Printed::Blocks
    } else {
        Printed::Messages
    }
}

pub(super) const CURL: Profile = Profile {
    name: "curl",
    programs: &["curl"],
    source: "curl(1), EXIT CODES",
    statuses: &[
        // Also an answer that is no HTTP, from a server that starts: "Received HTTP/0.9 when not
        // allowed" (lib/http.c).
        ambiguous_status(1..=1, "unsupported protocol"),
        ambiguous_status(2..=2, "failed initialization"),
        fatal_status(3..=3, Proof::Usage, "malformed URL"),
        fatal_status(4..=4, Proof::Usage, "missing feature"),
        retryable_status(5..=5, "unresolved proxy name"),
        retryable_status(6..=6, "unresolved host name"),
        retryable_status(7..=7, "could not connect"),
        ambiguous_status(8..=8, "weird server reply"),
        // Also FTP's 450.
        ambiguous_status(9..=9, "denied access"),
        retryable_status(12..=12, "FTP active session timeout"),
        retryable_status(16..=16, "HTTP/2 framing"),
        retryable_status(18..=18, "partial transfer"),
        ambiguous_status(22..=22, "HTTP error"),
        // Also a full disk, and a compressed body that broke (lib/content_encoding.c).
        ambiguous_status(23..=23, "unwritable output"),
        // Also a file that became shorter during its upload (lib/sendf.c).
        ambiguous_status(26..=26, "unreadable input"),
        ambiguous_status(27..=27, "lack of memory"),
        retryable_status(28..=28, "timeout"),
        retryable_status(35..=35, "TLS handshake"),
        fatal_status(37..=37, Proof::Local, "unreadable file"),
        ambiguous_status(43..=43, "internal error"),
        fatal_status(47..=47, Proof::Answer, "too many redirects"),
        fatal_status(48..=48, Proof::Usage, "unknown option"),
        retryable_status(52..=52, "empty reply"),
        fatal_status(53..=54, Proof::Local, "TLS engine"),
        retryable_status(55..=55, "send failure"),
        retryable_status(56..=56, "receive failure"),
        fatal_status(58..=58, Proof::Local, "client certificate"),
        fatal_status(59..=59, Proof::Usage, "TLS cipher"),
        // Also a clock that is not set yet, and one bad server behind a name:
        // https://github.com/actions/runner-images/issues/2810
        ambiguous_status(60..=60, "untrusted server certificate"),
        ambiguous_status(61..=61, "unknown transfer encoding"),
        fatal_status(63..=63, Proof::Answer, "oversized file"),
        // Also a refusal for the moment, as FTP's 431 (lib/ftp.c).
        ambiguous_status(64..=64, "missing TLS"),
        ambiguous_status(66..=66, "TLS engine"),
        // Also FTP's 530 for too many clients.
        ambiguous_status(67..=67, "denied login"),
        fatal_status(68..=69, Proof::Answer, "refusal by the TFTP server"),
        // A full disk of the server, or a packet of an earlier transfer.
        ambiguous_status(70..=70, "full disk of the TFTP server"),
        // Also TFTP's error 0, which stands for any cause (lib/tftp.c).
        ambiguous_status(71..=71, "illegal TFTP operation"),
        ambiguous_status(72..=72, "unknown TFTP transfer"),
        fatal_status(73..=74, Proof::Answer, "refusal by the TFTP server"),
        // curl with NSS fails so now and then: https://github.com/dotnet/corefx/issues/16201
        ambiguous_status(77..=77, "unreadable CA certificates"),
        // Also FTP's 450.
        ambiguous_status(78..=78, "no such resource"),
        fatal_status(82..=82, Proof::Local, "unreadable CRL"),
        fatal_status(83..=83, Proof::Answer, "certificate issuer"),
        fatal_status(90..=90, Proof::Answer, "pinned public key mismatch"),
        ambiguous_status(91..=91, "invalid certificate status"),
        retryable_status(92..=92, "HTTP/2 or HTTP/3 stream"),
        ambiguous_status(94..=94, "authentication function"),
        retryable_status(95..=95, "HTTP/3"),
        retryable_status(96..=96, "QUIC connection"),
        ambiguous_status(97..=97, "proxy handshake"),
        fatal_status(98..=98, Proof::Answer, "missing client certificate"),
        // Also an outdated record of the name server (lib/vtls/openssl.c).
        ambiguous_status(101..=101, "failed ECH"),
    ],
    patterns: &[
        fatal(r"^curl: try 'curl --", "usage").only(&[2..=2, 26..=26]),
        fatal(r"^curl: \(1\) (?:Protocol |Unsupported protocol)", "unsupported protocol").only(&[1..=1]),
        fatal(
            concat!(
                r"^curl: \(60\) SSL(?: certificate problem)?: (?:self[- ]signed certificate|certificate has expired",
                r"|no alternative certificate subject name matches|certificate subject name .* does not match)",
            ),
            "untrusted server certificate",
        )
        .only(&[60..=60]),
        fatal(
            r"^curl: \(77\) error (?:setting certificate|adding trust anchors)",
            "unreadable CA certificates",
        )
        .only(&[77..=77]),
        fatal(
            r"^curl: \(97\) (?:User was rejected by the SOCKS5 server|Can't complete SOCKS5 connection to .* \(2\)$)",
            "refusal by the SOCKS proxy",
        )
        .only(&[97..=97]),
        // The text of strerror(3) is translated, so only English counts.
        fatal(
            r"^Warning: Failed to open the file .*: (?:No such file or directory|Permission denied|Is a directory)",
            "unwritable output",
        )
        .only(&[23..=23]),
        // With several URLs, an earlier one may have failed in another way.
        retryable(
            concat!(
                r"^curl: \((?:5|6|7|18|28|35|52|55|92|95|96)\) |^curl: \(56\) (?:Recv failure",
                r"|Failure when receiving|\S+ (?:SSL_read|recv error)|SSL read)",
            ),
            "broken connection",
        )
        .only(&[22..=22, 56..=56]),
        // With --retry, curl prints it for each of its own attempts.
        http_status(r"^curl: \(22\) The requested URL returned error: ([0-9]{3})"),
        // The answer of a proxy. Versions before 8.0 have other words.
        http_status(r"^curl: \(56\) (?:CONNECT tunnel failed, response|Received HTTP code) ([0-9]{3})")
            .only(&[56..=56]),
    ],
    unsent: &[5, 6, 7],
    http: true,
    stdout: WatchStdout::With {
        options: &[
            "-i",
            "--include",
            "--show-headers",
            "-D",
            "--dump-header",
            "-I",
            "--head",
            "-w",
            "--write-out",
        ],
        valued: CURL_VALUED,
        to_file: &["-D", "--dump-header"],
    },
    printed: printed_by_curl,
    ..PLAIN
};

pub(super) const WGET: Profile = Profile {
    name: "wget",
    programs: &["wget"],
    source: "wget(1), EXIT STATUS",
    statuses: &[
        ambiguous_status(1..=1, "generic error"),
        fatal_status(2..=2, Proof::Usage, "bad option or .wgetrc"),
        // Also a full disk.
        ambiguous_status(3..=3, "file I/O"),
        retryable_status(4..=4, "network failure"),
        // Also a clock that is not set yet, and one bad server behind a name.
        ambiguous_status(5..=5, "TLS verification"),
        // Also FTP's 530 for too many clients: wget says "Login incorrect." for each of them.
        ambiguous_status(6..=6, "authentication"),
        ambiguous_status(7..=7, "protocol error"),
        ambiguous_status(8..=8, "error response from the server"),
    ],
    patterns: &[
        http_status(r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8} ERROR ([0-9]{3})[:.]"),
        // With --retry-on-http-error, wget exits with 4 instead of 8, and only this line shows the
        // status.
        http_status(r"^HTTP request sent, awaiting response\.\.\. ([0-9]{3}) "),
        fatal(r": Unsupported scheme '", "Unsupported scheme"),
        fatal(
            r": (?:Bad port number|Unterminated IPv6 numeric address|Invalid (?:IPv6 numeric address|host name|user name))\.$",
            "malformed URL",
        )
        .only(&[1..=1]),
        fatal(r"^Try `wget --help' for more options", "usage").only(&[1..=1]),
        fatal(r"^.+: No such file or directory$", "No such file or directory").only(&[1..=1, 3..=3]),
        fatal(r"^Cannot write to '.*' \(No such file or directory\)", "No such file or directory").only(&[3..=3]),
        fatal(r"^Username/Password Authentication Failed\.$", "authentication").only(&[6..=6]),
        // The first two are of GnuTLS, the others of OpenSSL.
        fatal(r"^(?:ERROR: )?The certificate of '.*' has expired", "expired server certificate").only(&[5..=5]),
        fatal(r"^The certificate's owner does not match hostname ", "certificate of another host").only(&[5..=5]),
        fatal(
            r"^ERROR: (?:no certificate subject alternative name matches|certificate common name .* doesn't match )",
            "certificate of another host",
        )
        .only(&[5..=5]),
        fatal(r"^  (?:Self-signed|Issued) certificate (?:encountered|has expired)", "untrusted server certificate")
            .only(&[5..=5]),
        // The lowest status wins, so a broken connection may hide behind 3.
        retryable(
            r"^(?:.*awaiting response\.\.\. )?(?:Read error \(.*\) in headers|No data received)\.$",
            "broken connection",
        ),
        retryable(r"^(?:Connecting to .*\.\.\. )?failed: Connection (?:refused|timed out)\.$", "failed connection"),
        // wget warns about a missing file with cookies, and goes on.
        retryable(
            r"\b(?:Resource temporarily unavailable|Stale file handle|Input/output error|Device or resource busy)\b",
            "failed write",
        )
        .only(&[3..=3]),
    ],
    // --server-response
    http: true,
    ..PLAIN
};

pub(super) const HTTP: Profile = Profile {
    name: "http",
    source: "RFC 9110, section 15",
    patterns: &[
        // `HTTP 503`, `(HTTP 429)`, `error: HTTP/1.1 502`, `HTTP Error 404: Not Found`, `HTTP
        // status code: 500`. It does not match in a URL, or in a longer number.
        http_status(concat!(
            r"(?:^|[^\w/.%?&=-])HTTP(?:/[0-9.]+)?(?: (?i:error|status|code|response))*:? ",
            r"\(?([1-5][0-9]{2})(?:[^\w/-]|$)",
        ))
        .found_by(r"HTTP(?:/[0-9.]+)?(?: (?i:error|status|code|response))*:? \(?[1-5][0-9]{2}"),
    ],
    http: true,
    stdout: WatchStdout::Always,
    ..PLAIN
};

/// An error of httpie. Version 3.2.1 with Python 3.11 prints `LogLevel.ERROR` instead of `error`.
macro_rules! httpie {
    ($words:literal) => {
        concat!(r"^https?: (?:LogLevel\.ERROR|error): ", $words)
    };
}

pub(super) const HTTPIE: Profile = Profile {
    name: "httpie",
    programs: &["http", "https", "httpie"],
    source: "https://httpie.io/docs/cli/scripting",
    statuses: &[
        ambiguous_status(1..=1, "error"),
        retryable_status(2..=2, "timeout"),
        fatal_status(3..=3, Proof::Answer, "unfollowed redirection"),
        ambiguous_status(4..=4, "HTTP 4xx"),
        ambiguous_status(5..=5, "HTTP 5xx"),
        fatal_status(6..=6, Proof::Answer, "too many redirects"),
        ambiguous_status(7..=7, "plugin error"),
        fatal_status(130..=130, Proof::Interrupted, "interruption"),
    ],
    patterns: &[
        // With --check-status.
        http_status(r"^https?: (?:LogLevel\.WARNING|warning): HTTP ([0-9]{3}) "),
        http_status(httpie!(r"ProxyError: .*Tunnel connection failed: ([0-9]{3}) ")),
        // Without a known issuer there may be one bad server behind a name.
        fatal(
            httpie!(
                r"SSLError: .*certificate verify failed: (?:self[- ]signed certificate|certificate has expired|\w+ mismatch)"
            ),
            "CERTIFICATE_VERIFY_FAILED",
        ),
        fatal(httpie!(r"SSLError: .*CertificateError\("), "certificate of another host"),
        fatal(
            httpie!("OSError: Could not find a suitable TLS CA certificate bundle"),
            "missing CA certificates",
        ),
        fatal(httpie!("InvalidSchema: "), "InvalidSchema"),
        fatal(httpie!("InvalidURL: "), "InvalidURL"),
        fatal(r"^usage:$", "usage").only(&[1..=1]),
        retryable(httpie!(".*Connection refused"), "refused connection").unsent(),
        retryable(httpie!(".*Connection reset"), "reset connection"),
        retryable(httpie!("ConnectionError: "), "ConnectionError"),
        retryable(httpie!("gaierror: "), "gaierror"),
        retryable(httpie!(".*IncompleteRead"), "IncompleteRead"),
        retryable(httpie!("(?:ChunkedEncoding|ContentDecoding)Error: "), "broken transfer"),
        retryable(httpie!("Incomplete download: "), "incomplete download"),
        retryable(httpie!("Request timed out"), "request timeout"),
    ],
    http: true,
    // On a terminal httpie always writes headers. The warning on stderr also contains the status.
    stdout: WatchStdout::With {
        options: &["-h", "--headers", "-v", "--verbose", "-p", "--print", "--all"],
        valued: "soPpaA",
        to_file: &[],
    },
    ..PLAIN
};
