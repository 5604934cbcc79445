//! Python: pip, uv.

use super::super::terminal::{Terminal, free};
use super::super::{
    PLAIN, Profile, Proof, ambiguous_status, fatal, fatal_status, http_status, relay, retryable,
};

/// What pip quotes as the cause of a broken request, if the cause is transient.
macro_rules! broken {
    ($before:literal) => {
        concat!(
            $before,
            r"(?:NewConnection|Protocol|RemoteDisconnected|ReadTimeout|ConnectTimeout|Connection(?:Reset|Refused)",
            r"|IncompleteRead|NameResolution)",
        )
    };
}

pub(in super::super) const PIP: Profile = Profile {
    name: "pip",
    programs: &["pip", "pip3"],
    source: "pip's cli/status_codes.py and exceptions.py",
    // Status 1 has no class: if an index answers 429 or 503, or --retries 0 cannot reach it, the
    // message is the same as for an unknown package: `No matching distribution found (from
    // versions: none)`. The message lists versions if the index has others, or if one of several
    // indexes could not be reached.
    statuses: &[
        ambiguous_status(1..=1, "error"),
        ambiguous_status(2..=2, "usage, or an unexpected error"),
        fatal_status(3..=3, Proof::Local, "missing virtual environment"),
        fatal_status(4..=4, Proof::Local, "previous build directory"),
        fatal_status(23..=23, Proof::Answer, "no matches"),
    ],
    // A wrong hash is not a proof: before version 25, pip did not notice a download that was cut
    // short. Nor is the list of versions for another Python: it goes with every unknown version.
    patterns: &[
        answer!("^ *ERROR: HTTP error ", " while getting "),
        http_status(r"^ERROR: .*\(Caused by ResponseError\('too many ([0-9]{3}) error responses'\)\)"),
        fatal(r"^(?:no such option: |ambiguous option: |\S+ option requires )", "usage").only(&[2..=2]),
        fatal(r"^ERROR: ResolutionImpossible: ", "ResolutionImpossible"),
        fatal(r"^ERROR: Invalid requirement: ", "Invalid requirement"),
        fatal(r"^ERROR: .* is not a valid editable requirement", "invalid editable requirement"),
        fatal(r"^ERROR: You must give at least one requirement", "missing requirement"),
        fatal(r"^ERROR: Could not open requirements file: ", "unreadable requirements file"),
        fatal(r"^ERROR: unknown command ", "unknown command"),
        fatal(r"^ERROR: .* is not a valid wheel filename", "invalid wheel filename"),
        fatal(r"^ERROR: .* is not a supported wheel on this platform", "unsupported wheel"),
        fatal(r"^ERROR: Directory .* is not installable", "uninstallable directory"),
        // EPERM, EACCES, ENOSPC, EROFS. Others pass: a connection, or another pip at work.
        fatal(r"^ERROR: Could not install packages due to an OSError: \[Errno (?:1|13|28|30)\]", "OSError"),
        fatal(r"^error: externally-managed-environment", "externally-managed-environment"),
        fatal(r"^error: ssl-(?:missing|verification-failed)", "failed TLS verification"),
        retryable(
            broken!(r"^ *WARNING: Retrying \(Retry\(.*after connection broken by '"),
            "broken connection",
        ),
        retryable(r"^ *WARNING: Retrying \(Retry\(.*after connection broken by ", "broken request").general(),
        retryable(r"\bRead timed out\.", "read timeout"),
        retryable(broken!(r"^ERROR: .*Max retries exceeded with url.*\(Caused by "), "broken connection"),
        retryable(r"^ERROR: .*Max retries exceeded with url", "too many retries").general(),
        retryable(r"^(?:ERROR: |pip\._vendor\.).*\b(?:ProtocolError|IncompleteRead)\(", "broken connection"),
        retryable(r"^ConnectionResetError: ", "reset connection"),
        retryable(r"^error: (?:proxy-)?connection-failed", "failed connection"),
        retryable(r"^error: connection-timeout", "connection timeout"),
        retryable(r"^error: incomplete-download", "incomplete download"),
    ],
    terminal: Terminal::needed_but(&[
        free("install"),
        free("download"),
        free("wheel"),
        free("index"),
        free("list"),
        free("freeze"),
        free("check"),
        free("show"),
        free("cache"),
        free("hash"),
        free("inspect"),
        free("uninstall").with(&[&["-y", "--yes"]]),
    ])
    .valued(
        "",
        &[
            "--proxy",
            "--retries",
            "--timeout",
            "--log",
            "--python",
            "--cache-dir",
            "--cert",
            "--client-cert",
            "--trusted-host",
            "--exists-action",
            "--keyring-provider",
        ],
    ),
    ..PLAIN
};

/// A cause in the chain under `error: `. Build backends print deeper in.
macro_rules! uv {
    ($cause:literal) => {
        concat!("^  (?:cause|Caused by): ", $cause)
    };
}

pub(in super::super) const UV: Profile = Profile {
    name: "uv",
    programs: &["uv", "uvx"],
    source: "uv's lib.rs (ExitStatus) and commands/diagnostics.rs",
    // uv ends with 2 if it rejects its arguments, and if it cannot connect. It ends with 1 if it
    // finds no solution, which is also its word for an archive that was cut short.
    statuses: &[ambiguous_status(1..=1, "failure"), ambiguous_status(2..=2, "error")],
    patterns: &[
        answer!(uv!(r"HTTP status (?:client|server) error \("), " "),
        answer!(uv!(r"(?:Server|The server) returned status code "), " "),
        fatal(
            r"^error: (?:unexpected argument|unrecognized subcommand|invalid value|the following required) ",
            "usage",
        )
        .only(&[2..=2]),
        fatal(r"^error: No `pyproject\.toml` found in ", "missing pyproject.toml"),
        fatal(r"^error: Failed to parse: ", "invalid file"),
        fatal(r"^error: File not found: ", "missing file"),
        fatal(r"^error: No virtual environment found", "missing virtual environment"),
        fatal(r"^error: No download found for request: ", "unknown Python version"),
        fatal(r"^error: No files found to publish", "no files to publish"),
        fatal(r"^error: Unable to find lockfile at ", "missing lockfile"),
        fatal(r"^error: The lockfile at `.*` needs to be updated", "outdated lockfile"),
        fatal(r"^error: Distribution not found at: file:", "missing distribution"),
        retryable(uv!(r"Connection refused \(os error 111\)"), "refused connection").unsent(),
        retryable(uv!(r"(?:Connection reset by peer|Broken pipe) \(os error"), "broken connection"),
        retryable(uv!(r"(?:connection closed before|end of file before) message"), "broken connection"),
        retryable(uv!("(?:dns error|failed to lookup address information)"), "unresolved host name").unsent(),
        retryable(uv!("(?:operation|request or response body) timed out"), "timeout"),
        retryable(uv!(r"error sending request for url "), "failed request").general(),
        retryable(uv!(r"(?:request or response body error|error decoding response body)"), "broken transfer"),
        retryable(r"^error: Request failed after [0-9]+ retr", "failed request").general(),
    ],
    relays: &[relay("run", 0, &[]), relay("tool run", 0, &[]), relay("", 1, &[]).of("uvx")],
    terminal: Terminal::needed_but(&[
        free("pip"),
        free("sync"),
        free("lock"),
        free("add"),
        free("remove"),
        free("build"),
        free("publish"),
        free("venv"),
        free("export"),
        free("tool install"),
        free("tool upgrade"),
        free("python install"),
        free("self update"),
    ])
    .valued("p", &["--directory", "--project", "--config-file", "--cache-dir", "--python", "--color"]),
    ..PLAIN
};
