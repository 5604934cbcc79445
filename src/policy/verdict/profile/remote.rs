//! ssh, and programs that use it.

use super::terminal::{Terminal, free, needs};
use super::{
    PLAIN, Pattern, Profile, Proof, ambiguous_status, fatal, fatal_status, http_status, joined, relay,
    retryable, retryable_status,
};

/// Messages of ssh. Its status is then 255. rsync (12 if it noticed the missing answer first) and
/// git (128) pass the messages on.
const OF_SSH: &[Pattern] = &[
    of_ssh(fatal(r"^Host key verification failed\.", "unverified host key")),
    of_ssh(fatal(r": Too many authentication failures$", "Too many authentication failures")),
    of_ssh(fatal(r"^Unable to negotiate with .*: no matching ", "failed negotiation")),
    // For these too ssh exits with 255. It has not connected to anything.
    of_ssh(fatal(r"^\S+:? line [0-9]+: Bad configuration option: ", "Bad configuration option")),
    of_ssh(fatal(r": terminating, [0-9]+ bad configuration options$", "bad configuration options")),
    of_ssh(fatal(r"^command-line:? line 0: ", "bad -o option")),
    of_ssh(fatal(r"^Can't open user config file ", "missing user config file")),
    of_ssh(fatal(r"^Bad owner or permissions on ", "Bad owner or permissions")),
    of_ssh(fatal(r"^unknown option -- ", "unknown option")),
    of_ssh(fatal(r"^option requires an argument -- ", "missing option argument")),
    of_ssh(fatal(r#"^(?:scp: )?[Bb]ad port ['"]"#, "Bad port")),
    of_ssh(fatal(
        r"^Bad (?:local|remote|dynamic|stdio) forwarding specification ",
        "Bad forwarding specification",
    )),
    of_ssh(fatal(r"^Unknown (?:cipher|mac) type ", "Unknown cipher or mac")),
    of_ssh(fatal(r"^Bad escape character ", "Bad escape character")),
    of_ssh(fatal(r"^Bad tun device ", "Bad tun device")),
    of_ssh(fatal(r"^Invalid -J argument$", "Invalid -J argument")),
    of_ssh(fatal(r"^Invalid multiplex command\.$", "Invalid multiplex command")),
    of_ssh(fatal(r"^Unsupported query ", "Unsupported query")),
    of_ssh(fatal(r#"^No ControlPath specified for "-O" command"#, "missing ControlPath")),
    of_ssh(fatal(r"^Host directive not supported as a command-line option", "bad -o option")),
    of_ssh(fatal(
        r"^(?:hostname|remote username) contains invalid characters$",
        "invalid characters in host or user name",
    )),
    of_ssh(fatal(r"^Cannot fork into background without a command to execute", "missing command for -f")),
    of_ssh(fatal(r"^(?:vdollar_)?percent_expand: unknown key ", "unknown percent_expand key")),
    of_ssh(fatal(r"^No user exists for uid [0-9]+$", "unknown uid")),
    of_ssh(fatal(r"^usage: ssh \[", "usage")),
    of_ssh(retryable(r"^ssh: Could not resolve hostname ", "unresolved host name").unsent()),
    of_ssh(retryable(r"^ssh: connect to host .*: Connection refused", "refused connection").unsent()),
    of_ssh(retryable(r"^ssh: connect to host .*: (?:Connection|Operation) timed out", "connection timeout")),
    of_ssh(retryable(r"^ssh: connect to host .*: No route to host", "No route to host")),
    of_ssh(retryable(r"^ssh: connect to host .*: Network is unreachable", "unreachable network")),
    of_ssh(retryable(r"^Connection timed out during banner exchange", "connection timeout")),
    of_ssh(retryable(r"^(?:kex|ssh)_exchange_identification: ", "kex_exchange_identification")),
    of_ssh(retryable(r"^Connection reset by ", "reset connection")),
    of_ssh(retryable(r"^Connection closed by ", "closed connection")),
    of_ssh(retryable(r"^Connection to \S+ closed by remote host", "closed connection")),
    of_ssh(retryable(r"^Timeout, server \S+ not responding", "timeout of the server")),
    of_ssh(retryable(r"^client_loop: send disconnect: ", "disconnect")),
    // A new machine answers before it has its keys: https://github.com/canonical/cloud-init/issues/2535
    of_ssh(retryable(r"^(?:\S+: )?Permission denied \(", "denied permission")),
];

/// The prefix of a message of ssh.
const fn of_ssh(pattern: Pattern) -> Pattern {
    pattern.only(&[12..=12, 128..=128, 255..=255])
}

/// Messages of scp and sftp. The status is 255 if the connection broke, also after an error about one
/// of several files.
const OF_SCP: &[Pattern] = &[
    of_file(fatal(r"^scp: .*: No such file or directory$", "No such file or directory")),
    of_file(fatal(r"^scp: .*: Permission denied$", "denied permission")),
    of_file(fatal(r#"^File ".*" not found\.$"#, "missing file")),
    of_file(fatal(r"^stat remote: No such file or directory$", "No such file or directory")),
    of_file(fatal(r"^scp: .*: not a regular file$", "no regular file")),
    of_scp(fatal(r"^Invalid command\.$", "invalid command")),
    of_scp(fatal(r"^(?:scp|sftp): (?:unknown|illegal|invalid) option -- ", "unknown option")),
    of_scp(fatal(r"^unknown option -- ", "unknown option")),
    of_scp(fatal(r": invalid uri$", "invalid uri")),
    of_scp(fatal(r"^No such file or directory \(.*\)\.$", "No such file or directory")),
    of_scp(fatal(r#"^Invalid (?:buffer size|number of requests) ""#, "Invalid number")),
    of_scp(fatal(r"^usage: (?:scp|sftp) \[", "usage")),
    // SSH_FX_FAILURE stands for any cause, such as a disk that is full for a moment.
    of_scp(retryable(r#"^(?:remote \w+|write remote) ".*": Failure$"#, "failure of the server")),
];

const fn of_file(pattern: Pattern) -> Pattern {
    pattern.only(&[1..=1])
}

const fn of_scp(pattern: Pattern) -> Pattern {
    pattern.only(&[1..=1, 255..=255])
}

pub(super) const SSH: Profile = Profile {
    name: "ssh",
    programs: &["ssh", "scp", "sftp"],
    source: "ssh(1), EXIT STATUS",
    statuses: &[retryable_status(255..=255, "failed connection")],
    patterns: &joined::<{ OF_SCP.len() + OF_SSH.len() }>(OF_SCP, OF_SSH),
    relays: &[relay("", 2, &[255..=255]).of("ssh")],
    terminal: Terminal::needed_but(&[
        needs("").with(&[&["-t"]]),
        free("").operands(2),
        free("").with(&[&["-N", "-n", "-T", "-f", "-W", "-O", "-Q", "-V"]]),
    ])
    .valued("BbcDEeFIiJLlmOopPQRSWwX", &[]),
    ..PLAIN
};

const OF_RSYNC: &[Pattern] = &[
    fatal(r"^@ERROR: auth failed on module ", "failed authentication"),
    fatal(r"^@ERROR: Unknown module ", "Unknown module"),
    fatal(r"^@ERROR: access denied to ", "denied access"),
    // Not mkstemp and rename: two runs with one destination disturb each other so.
    fatal(
        r#"^rsync: .*(?:change_dir|link_stat|mkdir)\S* ".*" .*failed: No such file or directory \(2\)"#,
        "No such file or directory",
    )
    .only(&[3..=3, 11..=11, 23..=23]),
    fatal(r"^rsync: .*failed to open (?:exclude|include) file .*: No such file or directory", "missing file")
        .only(&[11..=11]),
    fatal(r"^rsync: .*: Permission denied \(13\)", "denied permission").only(&[23..=23]),
    fatal(r"^rsync: .*Failed to exec .*: No such file or directory \(2\)", "missing remote shell")
        .only(&[14..=14]),
    // The daemon could not look up the name of this host.
    retryable(r"^@ERROR: access denied to .* from (?:UNKNOWN|UNDETERMINED) ", "unknown host name"),
    retryable(r"^@ERROR: max connections \([0-9]+\) reached", "too many connections"),
];

pub(super) const RSYNC: Profile = Profile {
    name: "rsync",
    programs: &["rsync"],
    source: "rsync(1), EXIT VALUES",
    statuses: &[
        fatal_status(1..=1, Proof::Usage, "syntax or usage"),
        // Also anything that a login shell prints before rsync starts.
        ambiguous_status(2..=2, "incompatible protocol"),
        ambiguous_status(3..=3, "failed selection of files"),
        fatal_status(4..=4, Proof::Usage, "unsupported action"),
        retryable_status(5..=5, "error starting the client-server protocol"),
        // Also a full disk.
        ambiguous_status(6..=6, "unwritable log"),
        retryable_status(10..=10, "socket I/O"),
        ambiguous_status(11..=11, "file I/O"),
        retryable_status(12..=12, "protocol data stream"),
        ambiguous_status(13..=13, "program diagnostics"),
        ambiguous_status(14..=14, "IPC"),
        ambiguous_status(20..=20, "signal"),
        ambiguous_status(22..=22, "lack of memory"),
        ambiguous_status(23..=23, "partial transfer"),
        ambiguous_status(24..=24, "vanished source files"),
        fatal_status(25..=25, Proof::Local, "limit of --max-delete"),
        retryable_status(30..=30, "timeout in data send or receive"),
        retryable_status(35..=35, "timeout waiting for the daemon"),
        ambiguous_status(124..=124, "failure of the remote shell"),
        ambiguous_status(125..=125, "killed remote shell"),
        fatal_status(126..=126, Proof::Local, "unrunnable remote shell"),
        fatal_status(127..=127, Proof::Local, "missing remote shell"),
        retryable_status(255..=255, "failed ssh connection"),
    ],
    patterns: &joined::<{ OF_RSYNC.len() + OF_SSH.len() }>(OF_RSYNC, OF_SSH),
    ..PLAIN
};

const OF_GIT: &[Pattern] = &[
    http_status(r"^(?:fatal|error): .*The requested URL returned error: ([0-9]{3})"),
    http_status(r"^error: RPC failed; HTTP ([0-9]{3}) "),
    http_status(r"^fatal: .*: (?:CONNECT tunnel failed, response|Received HTTP code) ([0-9]{3})"),
    fatal(r"^fatal: repository '.*' (?:not found|does not exist)", "missing repository"),
    // GitHub's words over ssh. A line that begins with `remote: ` never decides: the server may
    // relay there what it likes.
    fatal(r"^ERROR: Repository not found", "missing repository"),
    fatal(r"^fatal: remote error: access denied", "denied access"),
    fatal(r"^fatal: .*does not appear to be a git repository", "missing git repository"),
    // A hook of `push` may say so, too. The status is then 1.
    fatal(r"^fatal: not a git repository", "missing git repository").only(&[128..=128]),
    fatal(r"^fatal: destination path .* already exists", "existing destination path"),
    fatal(r"^fatal: .*unknown revision or path", "unknown revision or path"),
    fatal(r"^error: pathspec .* did not match any file", "unmatched pathspec"),
    fatal(r"^ ! \[rejected\] ", "rejected push"),
    // A hook may also decline because it cannot reach its own server:
    // https://github.com/NixOS/nixpkgs/pull/120947
    fatal(
        concat!(
            r"^ ! \[remote rejected\] .* \((?:non-fast-forward|protected branch hook declined|deletion .*prohibited",
            r"|shallow update not allowed|branch is currently checked out)\)$",
        ),
        "rejected push",
    ),
    fatal(r"^error: src refspec .* does not match any", "unmatched refspec"),
    fatal(r"^error: could not apply [0-9a-f]+", "merge conflict"),
    fatal(r"^error: (?:tag|branch) '.*' not found", "missing tag or branch"),
    fatal(r"^error: remote .* already exists", "existing remote"),
    fatal(r"^fatal: cannot change to '.*': No such file or directory", "missing directory"),
    fatal(r"^error: can't open patch '.*': No such file or directory", "missing patch"),
    fatal(r"^fatal: could not create work tree dir '.*': Permission denied", "denied permission"),
    fatal(r"^git: .* is not a git command", "unknown git command"),
    // Without a known issuer there may be one bad server behind a name. GnuTLS names no cause.
    fatal(
        concat!(
            r"^fatal: unable to access '.*': SSL(?: certificate problem)?: (?:self[- ]signed certificate",
            r"|certificate has expired|no alternative certificate subject name matches|certificate subject name )",
        ),
        "certificate problem",
    ),
    retryable(r"^fatal: .*Could not resolve (?:host|proxy)", "unresolved host name").unsent(),
    retryable(r"^fatal: unable to look up ", "failed host lookup"),
    retryable(r"^fatal: .*(?:Failed to connect to|Couldn't connect to server)", "failed connection"),
    retryable(r"^fatal: unable to connect to ", "failed connection"),
    retryable(r"^(?:fatal|error): .*Connection reset", "reset connection"),
    retryable(r"^(?:fatal|error): .*(?:Connection|Operation) timed out", "connection timeout"),
    retryable(r"^(?:fatal|error): .*Operation too slow", "slow transfer"),
    retryable(r"^(?:fatal|error): .*Empty reply from server", "Empty reply from server"),
    retryable(r"^fatal: .*transfer closed with ", "closed transfer"),
    retryable(r"^error: RPC failed; ", "failed RPC").general(),
    retryable(r"^fatal: early EOF", "early EOF"),
    retryable(r": unexpected disconnect while reading sideband packet", "unexpected disconnect"),
    retryable(r"^fatal: [Tt]he remote end hung up unexpectedly", "hang-up of the remote end").general(),
    retryable(
        r"^(?:remote: )?(?:fatal|error): .*Unable to create '.*\.lock': File exists",
        "existing lock file",
    ),
    retryable(r"^(?:remote: )?error: cannot lock ref ", "locked ref"),
    retryable(r"^error: could not lock config file .*: File exists", "existing lock file"),
    // https://github.com/microsoft/vscode/issues/182679
    retryable(
        r"^ ! \[remote rejected\] .* \((?:failure|failed to lock|failed to update ref|(?i:internal (?:server )?error))\)$",
        "internal error of the remote",
    ),
    // A server may answer 401 to a client that looks like one of too many, and to a valid token:
    // https://github.com/frappe/erpnext/pull/58718, https://github.com/actions/checkout/issues/26
    retryable(r"^fatal: could not read (?:Username|Password) for ", "missing user name or password")
        .general(),
    retryable(r"^fatal: Authentication failed for ", "failed authentication").general(),
    // It was pushed a moment ago: https://github.com/actions/checkout/issues/299
    retryable(r"^fatal: [Cc]ouldn't find remote ref ", "missing remote ref").general(),
    retryable(r"^fatal: Remote branch .* not found in upstream", "missing remote branch").general(),
    // https://github.com/isaacs/github/issues/1741
    retryable(r"^ ! \[remote failure\] ", "internal error of the remote"),
];

pub(super) const GIT: Profile = Profile {
    name: "git",
    programs: &["git"],
    source: "git's usage.c and http.c; gitcli(7)",
    // 128: git gave up (die). 129: usage. 1 is an answer: nothing to commit, a conflict, rejected.
    statuses: &[
        ambiguous_status(1..=1, "negative answer"),
        ambiguous_status(128..=128, "fatal error"),
        fatal_status(129..=129, Proof::Usage, "usage"),
    ],
    patterns: &joined::<{ OF_GIT.len() + OF_SSH.len() }>(OF_GIT, OF_SSH),
    // They run hooks or programs of the user, which may print git's words and end with any status.
    relays: &[
        relay("commit", 0, &[128..=128]),
        relay("merge", 0, &[128..=128]),
        relay("am", 0, &[128..=128]),
        relay("rebase", 0, &[]),
        relay("bisect", 0, &[]),
        relay("submodule foreach", 0, &[]),
    ],
    terminal: Terminal::needed_but(&[
        needs("submodule foreach"),
        needs("").with(&[&["--paginate"]]),
        free("clone"),
        free("fetch"),
        free("ls-remote"),
        free("archive"),
        free("remote"),
        free("submodule"),
        free("push").with(&[&["--no-verify"]]),
        free("pull").with(&[&["--ff-only", "--no-edit", "--rebase", "-r"]]),
    ])
    .valued("Cc", &["--git-dir", "--work-tree", "--namespace", "--super-prefix", "--config-env"])
    // After the subcommand -p means something else: `git fetch -p` prunes.
    .paging("p", "pager."),
    ..PLAIN
};
