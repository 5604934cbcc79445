//! Programs that use HTTP, and HTTP status lines in the output of any program.

use super::Class::{Ambiguous, Fatal, Retryable};
use super::terminal::Terminal;
use super::{Profile, WatchStdout, fatal, http_status, retryable};

pub(super) const CURL: Profile = Profile {
    name: "curl",
    programs: &["curl"],
    source: "curl(1), EXIT CODES",
    statuses: &[
        (1..=1, Fatal, "unsupported protocol"),
        (2..=2, Fatal, "failed initialization"),
        (3..=3, Fatal, "malformed URL"),
        (4..=4, Fatal, "missing feature"),
        (5..=5, Retryable, "unresolved proxy name"),
        (6..=6, Retryable, "unresolved host name"),
        (7..=7, Retryable, "could not connect"),
        (8..=8, Ambiguous, "weird server reply"),
        (9..=9, Fatal, "denied access"),
        (12..=12, Retryable, "FTP active session timeout"),
        (16..=16, Retryable, "HTTP/2 framing"),
        (18..=18, Retryable, "partial transfer"),
        (22..=22, Ambiguous, "HTTP error"),
        (23..=23, Fatal, "unwritable output"),
        (26..=26, Fatal, "unreadable input"),
        (27..=27, Fatal, "lack of memory"),
        (28..=28, Retryable, "timeout"),
        (35..=35, Retryable, "TLS handshake"),
        (37..=37, Fatal, "unreadable file"),
        (43..=43, Fatal, "internal error"),
        (47..=47, Fatal, "too many redirects"),
        (48..=48, Fatal, "unknown option"),
        (52..=52, Retryable, "empty reply"),
        (53..=54, Fatal, "TLS engine"),
        (55..=55, Retryable, "send failure"),
        (56..=56, Retryable, "receive failure"),
        (58..=58, Fatal, "client certificate"),
        (59..=59, Fatal, "TLS cipher"),
        (60..=60, Fatal, "untrusted server certificate"),
        (61..=61, Fatal, "unknown transfer encoding"),
        (63..=63, Fatal, "oversized file"),
        (64..=64, Fatal, "missing TLS"),
        (66..=66, Fatal, "TLS engine"),
        (67..=67, Fatal, "denied login"),
        (68..=74, Fatal, "refusal by the TFTP server"),
        (77..=77, Fatal, "unreadable CA certificates"),
        (78..=78, Fatal, "no such resource"),
        (82..=82, Fatal, "unreadable CRL"),
        (83..=83, Fatal, "certificate issuer"),
        (90..=90, Fatal, "pinned public key mismatch"),
        (91..=91, Fatal, "invalid certificate status"),
        (92..=92, Retryable, "HTTP/2 or HTTP/3 stream"),
        (94..=94, Fatal, "authentication function"),
        (95..=95, Retryable, "HTTP/3"),
        (96..=96, Retryable, "QUIC connection"),
        (97..=97, Ambiguous, "proxy handshake"),
        (98..=98, Fatal, "missing client certificate"),
        (101..=101, Fatal, "unreadable ECH keys"),
    ],
    patterns: &[
        // With --retry, curl prints it for each of its own attempts.
        http_status(r"^curl: \(22\) The requested URL returned error: ([0-9]{3})"),
        // The answer of a proxy. Versions before 8.0 have other words.
        http_status(r"^curl: \(56\) (?:CONNECT tunnel failed, response|Received HTTP code) ([0-9]{3})"),
        fatal(r"^curl: \(35\) .*wrong version number", "wrong version number"),
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
        valued: "AbCcDdEeFHhKmoPQrTtUuwXxYyz",
        to_file: &["-D", "--dump-header"],
    },
    terminal: Terminal::FREE,
};

pub(super) const WGET: Profile = Profile {
    name: "wget",
    programs: &["wget"],
    source: "wget(1), EXIT STATUS",
    statuses: &[
        (1..=1, Ambiguous, "generic error"),
        (2..=2, Fatal, "bad option or .wgetrc"),
        (3..=3, Fatal, "file I/O"),
        (4..=4, Retryable, "network failure"),
        (5..=5, Fatal, "TLS verification"),
        (6..=6, Fatal, "authentication"),
        (7..=7, Ambiguous, "protocol error"),
        (8..=8, Ambiguous, "error response from the server"),
    ],
    patterns: &[
        http_status(r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8} ERROR ([0-9]{3})[:.]"),
        // With --retry-on-http-error, wget exits with 4 instead of 8, and only this line shows the
        // status.
        http_status(r"^HTTP request sent, awaiting response\.\.\. ([0-9]{3}) "),
        fatal(r": Unsupported scheme '", "Unsupported scheme"),
        fatal(r"^.+: No such file or directory$", "No such file or directory").only(&[1..=1, 3..=3]),
    ],
    // --server-response
    unsent: &[],
    http: true,
    stdout: WatchStdout::Never,
    terminal: Terminal::FREE,
};

pub(super) const HTTP: Profile = Profile {
    name: "http",
    programs: &[],
    source: "RFC 9110, section 15",
    statuses: &[],
    patterns: &[
        // `HTTP 503`, `(HTTP 429)`, `error: HTTP/1.1 502`, `HTTP Error 404: Not Found`, `HTTP
        // status code: 500`. It does not match in a URL, or in a longer number.
        http_status(concat!(
            r"(?:^|[^\w/.%?&=-])HTTP(?:/[0-9.]+)?(?: (?i:error|status|code|response))*:? ",
            r"\(?([1-5][0-9]{2})(?:[^\w/-]|$)",
        ))
        .found_by(r"HTTP(?:/[0-9.]+)?(?: (?i:error|status|code|response))*:? \(?[1-5][0-9]{2}"),
    ],
    unsent: &[],
    http: true,
    stdout: WatchStdout::Always,
    terminal: Terminal::FREE,
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
        (1..=1, Ambiguous, "error"),
        (2..=2, Retryable, "timeout"),
        (3..=3, Fatal, "unfollowed redirection"),
        (4..=4, Ambiguous, "HTTP 4xx"),
        (5..=5, Retryable, "HTTP 5xx"),
        (6..=6, Fatal, "too many redirects"),
        (7..=7, Fatal, "plugin error"),
        (130..=130, Fatal, "interruption"),
    ],
    patterns: &[
        // With --check-status.
        http_status(r"^https?: (?:LogLevel\.WARNING|warning): HTTP ([0-9]{3}) "),
        fatal(httpie!("SSLError: .*CERTIFICATE_VERIFY_FAILED"), "CERTIFICATE_VERIFY_FAILED"),
        fatal(httpie!("InvalidSchema: "), "InvalidSchema"),
        fatal(httpie!("InvalidURL: "), "InvalidURL"),
        fatal(r"^usage:$", "usage").only(&[1..=1]),
        retryable(httpie!(".*Connection refused"), "refused connection").unsent(),
        retryable(httpie!(".*Connection reset"), "reset connection"),
        retryable(httpie!("ConnectionError: "), "ConnectionError"),
        retryable(httpie!("gaierror: "), "gaierror"),
        retryable(httpie!(".*IncompleteRead"), "IncompleteRead"),
        retryable(httpie!("Request timed out"), "request timeout"),
    ],
    unsent: &[],
    http: true,
    // On a terminal httpie always writes headers. The warning on stderr also contains the status.
    stdout: WatchStdout::With {
        options: &["-h", "--headers", "-v", "--verbose", "-p", "--print", "--all"],
        valued: "soPpaA",
        to_file: &[],
    },
    terminal: Terminal::FREE,
};
