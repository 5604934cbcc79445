//! Compiled languages: cargo, go.

use super::super::terminal::{Terminal, free};
use super::super::{PLAIN, Profile, Relay, ambiguous_status, fatal, http_status, relay, retryable};

const EVERY: &[std::ops::RangeInclusive<u8>] = &[0..=255];

/// A subcommand that runs no program of the user's. The first that fits counts.
const fn own(command: &'static str) -> Relay {
    relay(command, 0, EVERY)
}

/// Every other subcommand may run a program: `cargo run`, `go test`, an alias, a plugin.
const RUNS: Relay = relay("", 1, &[]);

pub(in super::super) const CARGO: Profile = Profile {
    name: "cargo",
    programs: &["cargo"],
    source: "cargo's bin/cargo/main.rs, util/network/retry.rs and core/compiler/mod.rs",
    // 101 is the status of nearly every failure. `cargo run` and plugins end with another
    // program's status.
    statuses: &[ambiguous_status(1..=1, "usage"), ambiguous_status(101..=101, "error")],
    // Not a proof: an unknown crate or version, because the index may not list it yet; a wrong
    // checksum, because the download may be damaged; a failed build script, which may download.
    patterns: &[
        answer!(
            r"^(?:Caused by: )? *failed to get (?:successful HTTP|a 200 OK|200) response(?: from `[^`]*`(?: \([^)]*\))?)?, got ",
            r"\b"
        ),
        answer!(r"^(?:Caused by: )? *failed to receive HTTP 200 response: got ", r"\b"),
        // A compiler that was killed does not count its errors.
        fatal(r"^error: could not compile .* due to [0-9]+ previous errors?", "compile error")
            .only(&[101..=101]),
        fatal(r"^error: no such command: ", "unknown command"),
        fatal(r"^error: (?:unexpected argument|unrecognized subcommand|invalid value) ", "usage"),
        fatal(r"^error: could not find `Cargo\.toml` in ", "missing Cargo.toml"),
        // Not in the registry's copy: an archive may be unpacked in part
        // (https://github.com/cloudflare/wrangler-legacy/issues/1380).
        retryable(r"^error: failed to parse manifest at `\S*/registry/src/", "damaged archive"),
        fatal(r"^error: failed to parse manifest at ", "invalid Cargo.toml"),
        fatal(r"^error: .* --> \S*Cargo\.toml:[0-9]+:[0-9]+(?: |$)", "invalid Cargo.toml"),
        fatal(r"^error: the package '.*' does not contain th(?:is|ese) feature", "unknown feature"),
        fatal(r"^error: no (?:bin|lib|example|test|bench) target ", "unknown target"),
        fatal(
            r"^error: (?:cannot (?:create|update) )?the lock file .* --locked was passed",
            "outdated lock file",
        ),
        fatal(r"^error: .* As a reminder, you're using offline mode", "offline mode"),
        fatal(r"^error: rustc \S+ is not supported by the following package", "too old rustc"),
        fatal(r"^error: there is nothing to install in ", "nothing to install"),
        fatal(r"^Caused by: authenticated registries require a credential-provider", "no credentials"),
        retryable(r"^(?:Caused by: )? *\[(?:5|6|7|16|18|28|35|52|55|56|92|95|96)\] ", "failed transfer"),
        // Macros may connect, too: sqlx reads a database.
        retryable(
            r"^error(?:\[E[0-9]+\])?: .*(?:\(os error (?:101|104|110|111|113)\)|failed to lookup address)",
            "failed connection",
        ),
        retryable(r"^(?:Caused by: )? *process didn't exit successfully: .*\(signal: 9, ", "killed compiler"),
        retryable(r"terminated with signal 9 \[Killed\]", "killed linker"),
        retryable(r"^(?:Caused by: )? *network failure seems to have happened", "network failure").general(),
        retryable(r"^warning: spurious network error ", "spurious network error").general(),
    ],
    wraps: true,
    relays: &[
        own("build"),
        own("b"),
        own("check"),
        own("c"),
        own("clippy"),
        own("doc"),
        own("fetch"),
        own("install"),
        own("update"),
        own("generate-lockfile"),
        own("vendor"),
        own("package"),
        own("publish"),
        own("add"),
        own("search"),
        own("yank"),
        RUNS,
    ],
    terminal: Terminal::needed_but(&[
        free("build"),
        free("b"),
        free("check"),
        free("c"),
        free("clippy"),
        free("fetch"),
        free("install"),
        free("update"),
        free("generate-lockfile"),
        free("vendor"),
        free("package"),
        free("publish"),
        free("search"),
    ])
    .valued("CZ", &["--config", "--color"]),
    ..PLAIN
};

/// What go prints before a message about a module: its name, the import that needs the module, or a
/// tab at the end of a chain of requirements.
macro_rules! go {
    ($message:literal) => {
        concat!(r"^(?:go: |\t|\S+\.go:[0-9]+:[0-9]+: |\S+@v\S+: ).*", $message)
    };
}

pub(in super::super) const GO: Profile = Profile {
    name: "go",
    programs: &["go"],
    source: "cmd/go/internal/base and modfetch; https://go.dev/ref/mod#goproxy-protocol",
    // 1 is the status of nearly every failure, and before version 1.20 also 2. `go run` and
    // `go test` end with 1 if the program fails.
    statuses: &[ambiguous_status(1..=1, "error"), ambiguous_status(2..=2, "usage, or a compile error")],
    // Not a proof: 401 and 403, and 404 and 410, with which a proxy also answers for a module that it does not have
    // yet; a compile error, which go prints as the compiler wrote it.
    patterns: &[
        http_status(go!(r": reading https?://\S+: ([1235][0-9]{2}|4(?:0[025-9]|1[1-9]|[2-9][0-9])) ")),
        fatal(r"^flag provided but not defined: ", "usage").only(&[2..=2]),
        fatal(r"^go: errors parsing (?:\S*/)?go\.(?:mod|work):", "invalid go.mod"),
        fatal(r"^go: go\.mod file not found in current directory", "missing go.mod"),
        fatal(r"^go: (?:\S*/)?go\.mod requires go >= .*GOTOOLCHAIN=local", "too old go"),
        fatal(r"^go: updates to go\.mod needed", "outdated go.mod"),
        fatal(go!("missing go\\.sum entry "), "missing go.sum entry"),
        // The archive was complete: a shorter one ends with `unexpected EOF`.
        fatal(r"^verifying \S+: checksum mismatch$", "checksum mismatch"),
        retryable(go!(r"dial tcp .*: connect: connection refused"), "refused connection").unsent(),
        retryable(go!(r"dial tcp: lookup "), "unresolved host name").unsent(),
        retryable(go!(r"dial tcp"), "no connection").unsent(),
        retryable(go!(r": (?:unexpected )?EOF$"), "broken connection"),
        retryable(
            go!(r"(?:connection reset by peer|broken pipe|stream error: |http2: )"),
            "broken connection",
        ),
        retryable(go!(r"(?:TLS handshake timeout|i/o timeout|Client\.Timeout|deadline exceeded)"), "timeout"),
        retryable(r"^(?:go: |\S+\.go:[0-9]+:[0-9]+: )zip: not a valid zip file$", "damaged archive"),
    ],
    relays: &[
        own("build"),
        own("install"),
        own("get"),
        own("mod"),
        own("vet"),
        own("list"),
        own("work"),
        RUNS,
    ],
    terminal: Terminal::needed_but(&[
        free("build"),
        free("install"),
        free("get"),
        free("mod"),
        free("vet"),
        free("list"),
    ])
    .valued("C", &[]),
    ..PLAIN
};
