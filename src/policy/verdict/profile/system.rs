//! Programs that run another program: their own refusals are not failures of that program. Also
//! exit statuses that many programs share.

use super::{
    PLAIN, Pattern, Profile, Proof, ambiguous_status, fatal, fatal_status, retryable, retryable_status,
};

/// The inner of two runs of retry. Any status but these belongs to its command, whose row applies
/// too.
pub(super) const RETRY: Profile = Profile {
    name: "retry",
    programs: &["retry"],
    source: "retry(1), EXIT STATUS and MESSAGES",
    statuses: &[
        retryable_status(75..=75, "open breaker"),
        retryable_status(124..=124, "timeout or deadline"),
        // Also output that was lost, on a full disk.
        ambiguous_status(125..=125, "failure of retry itself"),
        fatal_status(126..=126, Proof::Local, "unrunnable command"),
        fatal_status(127..=127, Proof::Local, "missing command"),
    ],
    patterns: &[
        fatal(r"^retry: .+?: not retried: ", "refusal by the inner retry"),
        fatal(r"^retry: (?:unknown option |no command to run|(?:.+:\d+: )?--\w[\w-]* )", "usage")
            .only(&[125..=125]),
        fatal(r"^retry: .+ waits for this run to end$", "answer file of the outer run").only(&[125..=125]),
        // It has seen transient failures, and its attempts were not enough.
        retryable(r"^retry: .+?: gave up after ", "failure of the inner retry"),
    ],
    unsent: &[75],
    ..PLAIN
};

pub(super) const TIMEOUT: Profile = Profile {
    name: "timeout",
    programs: &["timeout"],
    source: "timeout(1), EXIT STATUS",
    // 137 is KILL. Any other status belongs to the command.
    statuses: &[
        retryable_status(124..=124, "timeout"),
        // Also a fork that failed for want of resources (timeout.c).
        ambiguous_status(125..=125, "failure of timeout itself"),
        fatal_status(126..=126, Proof::Local, "unrunnable command"),
        fatal_status(127..=127, Proof::Local, "missing command"),
    ],
    patterns: &[
        fatal(r"^(?:timeout: (?:invalid|unrecognized) |Try 'timeout --help')", "usage").only(&[125..=125]),
        // execve(2): the moment passes.
        retryable(
            r"^timeout: failed to run command .*: (?:Text file busy|Resource temporarily unavailable|Cannot allocate memory)$",
            "failed start",
        )
        .only(&[126..=126]),
    ],
    ..PLAIN
};

/// Messages of sudo when it does not run the command. The status is then 1, which may mean
/// something else to the command. Warnings are not here, because sudo runs the command after them.
/// Unknown users, unknown groups and missing sources of sudoers are not here either: a directory of
/// users that is away looks the same (plugins/sudoers/ldap.c, auth/pam.c).
const OF_SUDO: &[Pattern] = &[
    refusal(r"^sudo: a terminal is required to ", "missing terminal for the password"),
    refusal(r"^sudo: no tty present and no askpass program specified", "missing tty"),
    refusal(r"^sudo: sorry, you must have a tty to run sudo", "missing tty"),
    refusal(r"^sudo: no askpass program specified", "no askpass program"),
    retryable(
        r"^sudo: PAM .*error: (?:Authentication service cannot retrieve authentication info|System error)",
        "error of PAM",
    )
    .only(&[1..=1]),
    refusal(r"^sudo: (?:a password is required|no password was provided)$", "missing password"),
    refusal(r"(?:^|: )sudo: [0-9]+ incorrect password attempts?$", "incorrect password"),
    refusal(r"(?:^|: )\S+ is not in the sudoers file\b", "no entry in the sudoers file"),
    refusal(
        r"(?:^|: )Sorry, user \S+ (?:is not allowed to execute|may not run sudo) ",
        "no permission in sudoers",
    ),
    refusal(r"^\S+ is not allowed to run sudo on ", "no permission in sudoers"),
    refusal(r"^sudo: you are not (?:permitted|allowed) to ", "no permission in sudoers"),
    refusal(r"^sudo: .*: command not found$", "missing command"),
    refusal(
        r"^sudo: unable to execute .*: (?:No such file or directory|Permission denied)$",
        "failed execution",
    ),
    refusal(r"^sudo: (?:invalid|unrecognized) option ", "unknown option"),
    refusal(r"^sudo: option requires an argument ", "missing option argument"),
    refusal(r"^sudo: .*: invalid timeout value$", "invalid timeout value"),
    refusal(r"^sudo: a remote host may only be specified when listing ", "usage"),
    refusal(r"^usage: sudo -", "usage"),
    refusal(r#"^sudo: The "no new privileges" flag is set"#, "no new privileges"),
    refusal(r"^sudo: .* must be owned by uid 0 and have the setuid bit set", "missing setuid bit"),
    refusal(r"^sudo: effective uid is not 0", "missing setuid bit"),
    refusal(
        r"^(?:>>> |sudo: parse error in )?\S*/sudoers.*\b(?:syntax error|near line) ",
        "syntax error in sudoers",
    ),
];

/// The prefix of a message of sudo or doas.
const fn refusal(regex: &'static str, words: &'static str) -> Pattern {
    fatal(regex, words).only(&[1..=1])
}

pub(super) const SUDO: Profile = Profile {
    name: "sudo",
    programs: &["sudo"],
    source: "sudo(8), EXIT VALUE and DIAGNOSTICS",
    // Any other status belongs to the command. 1 may belong to either.
    statuses: &[ambiguous_status(1..=1, "error")],
    patterns: OF_SUDO,
    ..PLAIN
};

pub(super) const DOAS: Profile = Profile {
    name: "doas",
    programs: &["doas"],
    source: "doas(1) and doas.c",
    statuses: &[ambiguous_status(1..=1, "error")],
    patterns: &[
        refusal(r"^doas: Operation not permitted$", "no permission in doas.conf"),
        // Not "Authentication failed" and "unknown user": a directory of users that is away looks
        // the same (pam.c, doas.c).
        refusal(r"^doas: Auth(?:entication|orization) required$", "missing password"),
        refusal(r"^doas: a tty is required$", "missing tty"),
        refusal(r"^doas: .*: command not found$", "missing command"),
        refusal(
            r"^doas: (?:doas is not enabled|not installed setuid|invalid option )",
            "wrong setup or option",
        ),
        refusal(r"^doas: .*: (?:Permission denied|No such file or directory)$", "failed execution"),
        refusal(r"^usage: doas \[", "usage"),
    ],
    ..PLAIN
};

pub(super) const SYSEXITS: Profile = Profile {
    name: "sysexits",
    source: "sysexits.h(3head)",
    // What msmtp makes of an interrupted TLS handshake (76), of a 454 to a password (77) and of a
    // broken connection (74) is recorded in tests/recorded/sysexits.txt.
    statuses: &[
        fatal_status(64..=64, Proof::Usage, "usage"),
        fatal_status(65..=65, Proof::Usage, "bad input data"),
        fatal_status(66..=66, Proof::Local, "no such input"),
        ambiguous_status(67..=67, "no such user"),
        ambiguous_status(68..=68, "no such host"),
        retryable_status(69..=69, "service unavailable"),
        ambiguous_status(70..=70, "internal error"),
        ambiguous_status(71..=71, "system error"),
        fatal_status(72..=72, Proof::Local, "missing system file"),
        ambiguous_status(73..=73, "unwritable output"),
        ambiguous_status(74..=74, "I/O error"),
        retryable_status(75..=75, "temporary failure"),
        ambiguous_status(76..=76, "protocol error"),
        ambiguous_status(77..=77, "denied permission"),
        // msmtp exits so if its password command fails.
        ambiguous_status(78..=78, "configuration error"),
    ],
    ..PLAIN
};
