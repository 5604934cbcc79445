//! Programs that run another program: their own refusals are not failures of that program. Also
//! exit statuses that many programs share.

use super::Class::{Ambiguous, Fatal, Retryable};
use super::terminal::Terminal;
use super::{Pattern, Profile, WatchStdout, fatal};

pub(super) const TIMEOUT: Profile = Profile {
    name: "timeout",
    programs: &["timeout"],
    source: "timeout(1), EXIT STATUS",
    // 137 is KILL. Any other status belongs to the command.
    statuses: &[
        (124..=124, Retryable, "timeout"),
        (125..=125, Fatal, "failure of timeout itself"),
        (126..=126, Fatal, "unrunnable command"),
        (127..=127, Fatal, "missing command"),
    ],
    patterns: &[],
    unsent: &[],
    http: false,
    stdout: WatchStdout::Never,
    terminal: Terminal::FREE,
};

/// Messages of sudo when it does not run the command. The status is then 1, which may mean
/// something else to the command. Warnings are not here, because sudo runs the command after them.
const OF_SUDO: &[Pattern] = &[
    refusal(r"^sudo: a terminal is required to ", "missing terminal for the password"),
    refusal(r"^sudo: no tty present and no askpass program specified", "missing tty"),
    refusal(r"^sudo: sorry, you must have a tty to run sudo", "missing tty"),
    refusal(r"^sudo: no askpass program specified", "no askpass program"),
    refusal(r"^sudo: (?:a password is required|no password was provided)$", "missing password"),
    refusal(r"(?:^|: )sudo: [0-9]+ incorrect password attempts?$", "incorrect password"),
    refusal(r"^sudo: unknown (?:user|uid)[: ]", "unknown user"),
    refusal(r"^sudo: unknown (?:group|gid)[: ]", "unknown group"),
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
    refusal(r"^sudo: no valid sudoers sources found", "no valid sudoers sources"),
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
    statuses: &[(1..=1, Ambiguous, "error")],
    patterns: OF_SUDO,
    unsent: &[],
    http: false,
    stdout: WatchStdout::Never,
    terminal: Terminal::FREE,
};

pub(super) const DOAS: Profile = Profile {
    name: "doas",
    programs: &["doas"],
    source: "doas(1) and doas.c",
    statuses: &[(1..=1, Ambiguous, "error")],
    patterns: &[
        refusal(r"^doas: Operation not permitted$", "no permission in doas.conf"),
        refusal(r"^doas: Auth(?:entication|orization) (?:failed|required)$", "failed authentication"),
        refusal(r"^doas: a tty is required$", "missing tty"),
        refusal(r"^doas: unknown (?:user|group)", "unknown user"),
        refusal(r"^doas: .*: command not found$", "missing command"),
        refusal(
            r"^doas: (?:doas is not enabled|not installed setuid|invalid option )",
            "wrong setup or option",
        ),
        refusal(r"^doas: .*: (?:Permission denied|No such file or directory)$", "failed execution"),
        refusal(r"^usage: doas \[", "usage"),
    ],
    unsent: &[],
    http: false,
    stdout: WatchStdout::Never,
    terminal: Terminal::FREE,
};

pub(super) const SYSEXITS: Profile = Profile {
    name: "sysexits",
    programs: &[],
    source: "sysexits.h(3head)",
    statuses: &[
        (64..=64, Fatal, "usage"),
        (65..=65, Fatal, "bad input data"),
        (66..=66, Fatal, "no such input"),
        (67..=67, Fatal, "no such user"),
        (68..=68, Ambiguous, "no such host"),
        (69..=69, Retryable, "service unavailable"),
        (70..=70, Fatal, "internal error"),
        (71..=71, Ambiguous, "system error"),
        (72..=72, Fatal, "missing system file"),
        (73..=73, Fatal, "unwritable output"),
        (74..=74, Ambiguous, "I/O error"),
        (75..=75, Retryable, "temporary failure"),
        (76..=76, Fatal, "protocol error"),
        (77..=77, Fatal, "denied permission"),
        (78..=78, Fatal, "configuration"),
    ],
    patterns: &[],
    unsent: &[],
    http: false,
    stdout: WatchStdout::Never,
    terminal: Terminal::FREE,
};
