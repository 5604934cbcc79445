//! Programs that run another, and statuses that many agree on.

use super::Class::{Ambiguous, Fatal, Retryable};
use super::terminal::Terminal;
use super::{Profile, Stdout};

pub(super) const TIMEOUT: Profile = Profile {
    name: "timeout",
    programs: &["timeout"],
    source: "timeout(1), EXIT STATUS",
    // 137 is KILL, and any other status is the command's own.
    statuses: &[
        (124..=124, Retryable, "timeout"),
        (125..=125, Fatal, "failure of timeout itself"),
        (126..=126, Fatal, "unrunnable command"),
        (127..=127, Fatal, "command not found"),
    ],
    patterns: &[],
    unsent: &[],
    http: false,
    stdout: Stdout::Never,
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
        (77..=77, Fatal, "permission denied"),
        (78..=78, Fatal, "configuration"),
    ],
    patterns: &[],
    unsent: &[],
    http: false,
    stdout: Stdout::Never,
    terminal: Terminal::FREE,
};
