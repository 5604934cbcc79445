//! Package managers.

use super::terminal::{Terminal, free};
use super::{Profile, Proof, WatchStdout, ambiguous_status, fatal, fatal_status, http_status, retryable};

pub(super) const APT: Profile = Profile {
    name: "apt",
    programs: &["apt-get", "apt"],
    source: "apt-get(8), DIAGNOSTICS",
    statuses: &[ambiguous_status(100..=100, "error")],
    // `W:` marks a warning with status 0, which the profile does not judge by default.
    patterns: &[
        http_status(r"^[EW]: Failed to fetch \S+  ([0-9]{3})  "),
        fatal(r"^E: Unable to locate package ", "unknown package"),
        fatal(r"^E: Package .* has no installation candidate", "no installation candidate"),
        fatal(r"^E: (?:Version|Release) .* for .* was not found", "missing version or release"),
        fatal(r"^E: Unable to correct problems, you have held broken packages", "held broken packages"),
        fatal(r"^E: Unmet dependencies", "Unmet dependencies"),
        fatal(r"^E: Invalid operation ", "Invalid operation"),
        fatal(r"^E: Command line option ", "invalid command line option"),
        fatal(r"^E: The list of sources could not be read", "unreadable list of sources"),
        fatal(r"^E: .* - open \(13: Permission denied\)", "denied permission"),
        fatal(r"^E: dpkg was interrupted, you must manually run ", "interrupted dpkg"),
        fatal(r"^E: You don't have enough free space in ", "lack of free space"),
        fatal(r"^E: The repository '.*' does not have a Release file", "no Release file"),
        fatal(r"^[EW]: .*NO_PUBKEY ", "NO_PUBKEY"),
        retryable(r"^E: Could not get lock ", "no lock"),
        retryable(r"^[EW]: Failed to fetch .*  Could not resolve ", "unresolved host name").unsent(),
        retryable(
            r"^[EW]: Failed to fetch .*  Temporary failure resolving ",
            "temporary failure in name resolution",
        ),
        retryable(r"^[EW]: Failed to fetch .*  (?:Could not|Cannot initiate the) connect", "no connection"),
        retryable(r"^[EW]: Failed to fetch .*  Connection (?:failed|timed out|reset)", "failed connection"),
        retryable(r"^[EW]: Failed to fetch .*  Hash Sum mismatch", "Hash Sum mismatch"),
        retryable(r"^[EW]: Failed to fetch .*  File has unexpected size ", "unexpected file size"),
        retryable(r"^[EW]: Failed to fetch ", "failed fetch").general(),
    ],
    wraps: false,
    relays: &[],
    unsent: &[],
    http: false,
    stdout: WatchStdout::Never,
    terminal: Terminal::needed_but(&[
        free("update"),
        free("download"),
        free("source"),
        free("indextargets"),
        free("clean"),
        free("autoclean"),
        free("check"),
    ])
    .valued("acot", &["--option", "--config-file", "--target-release", "--default-release"]),
};

pub(super) const PIP: Profile = Profile {
    name: "pip",
    programs: &["pip", "pip3"],
    source: "pip's cli/status_codes.py and exceptions",
    // Status 1 has no class: if an index answers 429 or 503, or --retries 0 cannot reach it, the
    // message is the same as for an unknown package: `No matching distribution found (from
    // versions: none)`.
    statuses: &[
        ambiguous_status(1..=1, "error"),
        ambiguous_status(2..=2, "usage, or an unexpected error"),
        fatal_status(3..=3, Proof::Local, "missing virtual environment"),
        fatal_status(4..=4, Proof::Local, "previous build directory"),
        fatal_status(23..=23, Proof::Answer, "no matches"),
    ],
    patterns: &[
        http_status(r"^ *ERROR: HTTP error ([0-9]{3}) while getting "),
        http_status(r"^ERROR: .*\(Caused by ResponseError\('too many ([0-9]{3}) error responses'\)\)"),
        fatal(r"^(?:no such option: |ambiguous option: |\S+ option requires )", "usage").only(&[2..=2]),
        fatal(r"^ERROR: ResolutionImpossible: ", "ResolutionImpossible"),
        fatal(r"^ERROR: THESE PACKAGES DO NOT MATCH THE HASHES ", "hash mismatch"),
        // The message lists versions, so pip reached the index.
        fatal(r"^ERROR: Could not find a version .*\(from versions: [0-9]", "no such version"),
        fatal(
            r"^ERROR: Ignored the following versions that require a different python",
            "requirement of a different Python",
        ),
        fatal(r"^ERROR: Invalid requirement: ", "Invalid requirement"),
        fatal(r"^ERROR: Could not open requirements file: ", "unreadable requirements file"),
        fatal(r"^ERROR: unknown command ", "unknown command"),
        fatal(r"^ERROR: .* is not a valid wheel filename", "invalid wheel filename"),
        fatal(r"^ERROR: .* is not a supported wheel on this platform", "unsupported wheel"),
        fatal(r"^ERROR: Directory .* is not installable", "uninstallable directory"),
        fatal(r"^ERROR: Could not install packages due to an OSError: \[Errno ", "OSError"),
        fatal(r"^error: externally-managed-environment", "externally-managed-environment"),
        fatal(r"^error: ssl-(?:missing|verification-failed)", "failed TLS verification"),
        retryable(r"^ *WARNING: Retrying \(Retry\(.*after connection broken by ", "broken connection")
            .general(),
        retryable(r"\bRead timed out\.", "read timeout"),
        retryable(r"^ERROR: .*Max retries exceeded with url", "too many retries").general(),
        retryable(r"^(?:ERROR: |pip\._vendor\.).*\b(?:ProtocolError|IncompleteRead)\(", "broken connection"),
        retryable(r"^error: (?:proxy-)?connection-failed", "failed connection"),
        retryable(r"^error: connection-timeout", "connection timeout"),
        retryable(r"^error: incomplete-download", "incomplete download"),
    ],
    wraps: false,
    relays: &[],
    unsent: &[],
    http: false,
    stdout: WatchStdout::Never,
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
};

/// An error code of npm. Before version 10 it follows `npm ERR!`.
macro_rules! npm {
    ($code:literal) => {
        concat!("^npm (?:error|ERR!) code ", $code, "$")
    };
}

pub(super) const NPM: Profile = Profile {
    name: "npm",
    programs: &["npm", "npx"],
    source: "npm's exit-handler.js and error-message.js",
    // 1 and most other statuses may come from a script. The line with `code` says more.
    statuses: &[ambiguous_status(1..=1, "error")],
    patterns: &[
        http_status(npm!("E([0-9]{3})")),
        fatal(npm!("ERESOLVE"), "ERESOLVE"),
        fatal(npm!("EUSAGE"), "EUSAGE"),
        fatal(npm!("ETARGET"), "ETARGET"),
        fatal(npm!("ENOVERSIONS"), "ENOVERSIONS"),
        fatal(npm!("EBADENGINE"), "EBADENGINE"),
        fatal(npm!("EBADPLATFORM"), "EBADPLATFORM"),
        fatal(npm!("EJSONPARSE"), "EJSONPARSE"),
        fatal(npm!("ENOENT"), "ENOENT"),
        fatal(npm!("EACCES"), "EACCES"),
        fatal(npm!("ENEEDAUTH"), "ENEEDAUTH"),
        fatal(npm!("EOTP"), "EOTP"),
        fatal(r"^npm (?:error|ERR!) Missing script: ", "Missing script"),
        retryable(npm!("ECONNREFUSED"), "ECONNREFUSED"),
        retryable(npm!("ECONNRESET"), "ECONNRESET"),
        retryable(npm!("ETIMEDOUT"), "ETIMEDOUT"),
        retryable(npm!("ERR_SOCKET_TIMEOUT"), "ERR_SOCKET_TIMEOUT"),
        retryable(npm!("EAI_AGAIN"), "EAI_AGAIN"),
        retryable(npm!("ENOTFOUND"), "ENOTFOUND"),
        retryable(npm!("FETCH_ERROR"), "FETCH_ERROR").general(),
        // Usually the download was damaged, and the next one may be whole.
        retryable(npm!("EINTEGRITY"), "EINTEGRITY"),
    ],
    wraps: false,
    relays: &[],
    unsent: &[],
    http: false,
    stdout: WatchStdout::Never,
    terminal: Terminal::needed_but(&[
        free("install"),
        free("i"),
        free("ci"),
        free("update"),
        free("audit"),
        free("pack"),
        free("view"),
        free("outdated"),
        free("ping"),
        free("publish").with(&[&["--otp"]]),
    ])
    .valued("", &["--prefix", "--registry", "--loglevel", "--workspace", "--userconfig", "--cache"]),
};
