//! Package managers of distributions: apt, dnf, apk.

use super::super::terminal::{Terminal, free};
use super::super::{
    PLAIN, Profile, Proof, ambiguous_status, fatal, fatal_status, http_status, retryable, retryable_status,
};

pub(in super::super) const APT: Profile = Profile {
    name: "apt",
    programs: &["apt-get", "apt"],
    source: "apt-get(8), DIAGNOSTICS; apt's acquire-item.cc; https://github.com/phusion/passenger/issues/2167",
    statuses: &[ambiguous_status(100..=100, "error")],
    // `W:` marks a warning. It may be about another repository than the error. Not a proof:
    // `does not have a Release file`, because apt says so too if the answer was 503; an unknown
    // package or an unmet dependency, because on a new machine the first boot may still be writing
    // the list of sources (https://github.com/hashicorp/packer/issues/2639).
    patterns: &[
        // A mirror answers 404 while it is being updated, and if the lists are out of date.
        answer!(r"^E: Failed to fetch \S+  ", "  "),
        http_status(r"^W: Failed to fetch \S+  (408|425|429|5[0-9]{2})  "),
        fatal(r"^E: Invalid operation ", "Invalid operation"),
        fatal(r"^E: Command line option ", "invalid command line option"),
        fatal(r"^E: Unsupported file ", "Unsupported file"),
        fatal(r"^E: You must put some 'deb-src' URIs in your sources\.list", "no source repositories"),
        fatal(r"^E: The list of sources could not be read", "unreadable list of sources"),
        fatal(r"^E: .* - open \(13: Permission denied\)", "denied permission"),
        fatal(r"^E: Archives directory .* is missing", "missing archives directory"),
        fatal(r"^E: dpkg was interrupted, you must manually run ", "interrupted dpkg"),
        fatal(r"^E: You don't have enough free space in ", "lack of free space"),
        fatal(r"^E: .*NO_PUBKEY ", "NO_PUBKEY"),
        retryable(r"^E: Could not get lock ", "no lock"),
        // The clock is behind, or the mirror is ahead.
        retryable(r"^E: Release file for .* is not valid yet ", "future Release file"),
        retryable(r"^[EW]: Failed to fetch .*  Could not resolve ", "unresolved host name").unsent(),
        retryable(
            r"^[EW]: Failed to fetch .*  Temporary failure resolving ",
            "temporary failure in name resolution",
        ),
        retryable(r"^[EW]: Failed to fetch .*  (?:Could not|Cannot initiate the) connect", "no connection"),
        retryable(r"^[EW]: Failed to fetch .*  Connection (?:failed|timed out|reset)", "failed connection"),
        retryable(r"^[EW]: Failed to fetch .*  Hash Sum mismatch", "Hash Sum mismatch"),
        retryable(r"^[EW]: Failed to fetch .*  File has unexpected size ", "unexpected file size"),
        // Something between answered instead of the mirror, often for a moment.
        retryable(
            r"^[EW]: Failed to fetch .*  Clearsigned file isn't valid, ",
            "unsigned answer of another server",
        ),
        retryable(r"^[EW]: Failed to fetch ", "failed fetch").general(),
    ],
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
    ..PLAIN
};

pub(in super::super) const DNF: Profile = Profile {
    name: "dnf",
    programs: &["dnf", "dnf-3", "dnf4", "microdnf", "yum"],
    source: "dnf(8), EXIT STATUS; dnf's cli/main.py; librepo's messages",
    statuses: &[
        ambiguous_status(1..=1, "error"),
        fatal_status(2..=2, Proof::Usage, "usage"),
        ambiguous_status(3..=3, "unexpected error"),
        // `check-update` found updates.
        fatal_status(100..=100, Proof::Answer, "available updates"),
        retryable_status(200..=200, "no lock"),
    ],
    patterns: &[
        // Only a transient answer counts: dnf goes on without a repository that it could not read,
        // and the error at the end is about something else.
        http_status(r"^  - Status code: (408|425|429|5[0-9]{2}) for "),
        fatal(r"^No such command: ", "unknown command"),
        fatal(r"^Error: Unknown repo: ", "unknown repository"),
        fatal(r"^Error: Cache-only enabled but no cache for ", "empty cache"),
        fatal(r"^Error: This command has to be run with superuser privileges", "lack of privileges"),
        retryable(r"^  - Curl error \((?:5|6|7|16|18|28|35|52|55|56|92|95|96)\): ", "failed transfer"),
        // yum 3
        retryable(r"^[0-9]+: curl#(?:5|6|7|16|18|28|35|52|55|56|92|95|96) - ", "failed transfer"),
        retryable(r"^Waiting for process with pid ", "no lock"),
        retryable(r"^Error: Failed to download metadata for repo ", "failed metadata download").general(),
        retryable(r"^Error: Error downloading packages:", "failed package download").general(),
    ],
    terminal: Terminal::needed_but(&[
        free("makecache"),
        free("check-update"),
        free("download"),
        free("reposync"),
        free("clean"),
    ])
    .valued("cdexR", &["--config", "--repo", "--repoid", "--installroot", "--releasever", "--setopt"]),
    ..PLAIN
};

pub(in super::super) const APK: Profile = Profile {
    name: "apk",
    programs: &["apk"],
    source: "apk-tools 2.14 and 3.0, print.c and database.c",
    // The status is the number of errors, or 99 if the database could not be opened.
    statuses: &[ambiguous_status(1..=98, "error"), ambiguous_status(99..=99, "unusable database")],
    patterns: &[
        answer!(r"^ERROR: \S+: HTTP ", ": "),
        http_status(r"^WARNING: .*: HTTP (408|425|429|5[0-9]{2}): "),
        fatal(r"^ERROR: '.*' is not an apk command", "unknown command"),
        fatal(r"^(?:ERROR: command line|apk): unrecognized option", "usage"),
        fatal(r"^ERROR: Unable to open root: ", "unusable root"),
        fatal(r"^ERROR: No such package: ", "unknown package"),
        fatal(r"^ERROR: \S+: UNTRUSTED signature$", "UNTRUSTED signature"),
        retryable(r"^ERROR: Unable to lock database: ", "no lock"),
        retryable(r"^(?:ERROR|WARNING): .*: temporary error \(try again later\)", "temporary error"),
        retryable(r"^(?:ERROR|WARNING): .*: Connection refused$", "refused connection").unsent(),
        retryable(r"^(?:ERROR|WARNING): .*: could not connect to server ", "no connection").unsent(),
        retryable(r"^(?:ERROR|WARNING): .*: DNS", "unresolved host name").unsent(),
        retryable(
            r"^(?:ERROR|WARNING): .*: (?:Connection (?:reset|aborted)|network connection aborted)",
            "broken connection",
        ),
        retryable(r"^(?:ERROR|WARNING): .*: (?:Connection|operation) timed out$", "timeout"),
        retryable(r"^(?:ERROR|WARNING): .*: (?:Input/output error|IO ERROR)$", "broken transfer"),
        retryable(
            r"^(?:ERROR|WARNING): .*: (?:remote server returned error|HTTP: unrecognized server error)",
            "server error",
        ),
    ],
    // It asks only if `-i` is given, and runs scripts of packages.
    terminal: Terminal::needed_but(&[
        free("update"),
        free("fetch"),
        free("search"),
        free("info"),
        free("policy"),
        free("verify"),
    ])
    .valued("pXt", &["--root", "--repository", "--arch", "--keys-dir", "--cache-dir", "--wait", "--timeout"]),
    ..PLAIN
};
