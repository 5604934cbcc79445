//! What is known of some programs' failures.
//!
//! One row a program: its names, the pages that a reader can check it against, what its documented exit
//! statuses mean for a retry, and lines of its stderr that settle a status that may mean either. A status
//! that is not listed, or is ambiguous and not settled, is left to the rules after the profile. To add a
//! program, add a row.

use std::ops::RangeInclusive;

/// What a status or a line means for a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// It may well succeed later.
    Retryable,
    /// It fails the same way every time.
    Fatal,
    /// The status alone does not tell.
    Ambiguous,
}

use Class::{Ambiguous, Fatal, Retryable};

/// One row: the knowledge of one program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Profile {
    /// The name for `--profile`.
    pub(crate) name: &'static str,
    /// Base names of commands for which `auto` takes this row.
    pub(crate) programs: &'static [&'static str],
    /// Where the statuses and messages are documented.
    pub(crate) source: &'static str,
    /// Statuses, their class, and a reason to print.
    pub(crate) statuses: &'static [(RangeInclusive<u8>, Class, &'static str)],
    /// Lines of its stderr that tell more than its status. A fatal one outranks a retryable one.
    pub(crate) patterns: &'static [Pattern],
    /// Whether status lines and header fields in its watched streams are read.
    pub(crate) http: bool,
    /// Whether its stdout is watched too: for HTTP headers, and for its patterns.
    pub(crate) stdout: Stdout,
}

/// When a program's stdout tells something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stdout {
    Never,
    Always,
    /// When one of these options is among its arguments: `-i` (also inside a bundle, as in `-sSi`),
    /// `--include`.
    With(&'static [&'static str]),
}

impl Stdout {
    /// Whether a command of these words writes something to stdout that tells.
    pub(crate) fn is_told_by(self, words: &[&[u8]]) -> bool {
        let has = |option: &str| {
            let option = option.as_bytes();
            words.iter().any(|word| match option {
                // `--include`, `--output=x`
                [b'-', b'-', ..] => {
                    word.strip_prefix(option).is_some_and(|rest| matches!(rest, [] | [b'=', ..]))
                }
                // `-i`, `-sSi`; a letter that belongs to another option's value costs a look at stdout, no more.
                [b'-', letter] => {
                    matches!(word, [b'-', first, ..] if *first != b'-') && word[1..].contains(letter)
                }
                _ => *word == option,
            })
        };
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::With(options) => options.iter().any(|option| has(option)),
        }
    }
}

/// A line of a program's stderr and what it means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// The exit statuses that it may settle; none: every failure.
    pub(crate) statuses: &'static [RangeInclusive<u8>],
    /// A regex over one line, colours removed, case as written: anchored to what the program prints
    /// around it.
    pub(crate) regex: &'static str,
    pub(crate) says: Says,
}

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    /// A class, and a reason to print: the telling words of the line.
    Class(Class, &'static str),
    /// The pattern's first group is an HTTP status.
    HttpStatus,
}

impl Profile {
    /// The row of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        TABLE.iter().find(|row| row.name == name)
    }

    /// The row that `auto` takes for a command with this base name.
    pub(crate) fn for_program(base_name: &str) -> Option<&'static Self> {
        TABLE.iter().find(|row| row.programs.contains(&base_name))
    }

    /// Whether it tells HTTP statuses.
    pub(crate) fn reads_http(&self) -> bool {
        self.http || self.patterns.iter().any(|pattern| pattern.says == Says::HttpStatus)
    }

    /// Class and reason of a status, where it is documented.
    pub(crate) fn status(&self, status: u8) -> Option<(Class, &'static str)> {
        let row = self.statuses.iter().find(|(range, ..)| range.contains(&status));
        row.map(|(_, class, reason)| (*class, *reason))
    }
}

/// Every row, in the order in which help and man page list them.
pub(crate) const TABLE: &[Profile] = &[
    Profile {
        name: "curl",
        programs: &["curl"],
        source: "curl(1), EXIT CODES",
        statuses: &[
            (1..=1, Fatal, "unsupported protocol"),
            (2..=2, Fatal, "curl failed to initialise"),
            (3..=3, Fatal, "malformed URL"),
            (4..=4, Fatal, "feature not built in"),
            (5..=5, Retryable, "could not resolve proxy"),
            (6..=6, Retryable, "could not resolve host"),
            (7..=7, Retryable, "could not connect"),
            (8..=8, Ambiguous, "weird server reply"),
            (9..=9, Fatal, "access denied"),
            (12..=12, Retryable, "FTP active session timed out"),
            (16..=16, Retryable, "HTTP/2 framing"),
            (18..=18, Retryable, "partial transfer"),
            (22..=22, Ambiguous, "HTTP error"),
            (23..=23, Fatal, "could not write its output"),
            (26..=26, Fatal, "could not read its input"),
            (27..=27, Fatal, "out of memory"),
            (28..=28, Retryable, "timeout"),
            (35..=35, Retryable, "TLS handshake"),
            (37..=37, Fatal, "could not read the file"),
            (43..=43, Fatal, "internal error"),
            (47..=47, Fatal, "too many redirects"),
            (48..=48, Fatal, "unknown option"),
            (52..=52, Retryable, "empty reply"),
            (53..=54, Fatal, "TLS engine"),
            (55..=55, Retryable, "could not send"),
            (56..=56, Retryable, "could not receive"),
            (58..=58, Fatal, "client certificate"),
            (59..=59, Fatal, "TLS cipher"),
            (60..=60, Fatal, "server certificate not trusted"),
            (61..=61, Fatal, "unknown transfer encoding"),
            (63..=63, Fatal, "file too large"),
            (64..=64, Fatal, "TLS required but not given"),
            (66..=66, Fatal, "TLS engine"),
            (67..=67, Fatal, "login denied"),
            (68..=74, Fatal, "refused by the TFTP server"),
            (77..=77, Fatal, "could not read the CA certificates"),
            (78..=78, Fatal, "no such resource"),
            (82..=82, Fatal, "could not load the CRL"),
            (83..=83, Fatal, "certificate issuer"),
            (90..=90, Fatal, "pinned public key differs"),
            (91..=91, Fatal, "invalid certificate status"),
            (92..=92, Retryable, "HTTP/2 or HTTP/3 stream"),
            (94..=94, Fatal, "authentication function"),
            (95..=95, Retryable, "HTTP/3"),
            (96..=96, Retryable, "QUIC connection"),
            (97..=97, Ambiguous, "proxy handshake"),
            (98..=98, Fatal, "client certificate required"),
            (101..=101, Fatal, "could not load the ECH keys"),
        ],
        patterns: &[Pattern {
            statuses: &[22..=22],
            regex: r"^curl: \(22\) The requested URL returned error: (\d{3})",
            says: Says::HttpStatus,
        }],
        http: true,
        stdout: Stdout::With(&[
            "-i",
            "--include",
            "--show-headers",
            "-I",
            "--head",
            "-D",
            "--dump-header",
            "-w",
            "--write-out",
        ]),
    },
    Profile {
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
        patterns: &[Pattern { statuses: &[8..=8], regex: r" ERROR (\d{3}): ", says: Says::HttpStatus }],
        http: true,
        stdout: Stdout::Never,
    },
    Profile {
        name: "ssh",
        programs: &["ssh", "scp", "sftp"],
        source: "ssh(1), EXIT STATUS",
        // Any other status is the remote command's own.
        statuses: &[(255..=255, Retryable, "connection failed")],
        patterns: &[Pattern {
            statuses: &[255..=255],
            regex: r"Permission denied \(",
            says: Says::Class(Fatal, "Permission denied"),
        }],
        http: false,
        stdout: Stdout::Never,
    },
    Profile {
        name: "rsync",
        programs: &["rsync"],
        source: "rsync(1), EXIT VALUES",
        statuses: &[
            (1..=1, Fatal, "syntax or usage"),
            (2..=2, Fatal, "protocol incompatible"),
            (3..=3, Fatal, "could not select files"),
            (4..=4, Fatal, "action not supported"),
            (5..=5, Retryable, "error starting the client-server protocol"),
            (6..=6, Fatal, "could not append to the log"),
            (10..=10, Retryable, "socket I/O"),
            (11..=11, Ambiguous, "file I/O"),
            (12..=12, Retryable, "protocol data stream"),
            (13..=13, Fatal, "program diagnostics"),
            (14..=14, Fatal, "IPC"),
            (20..=20, Fatal, "ended by a signal"),
            (22..=22, Fatal, "out of memory"),
            (23..=23, Ambiguous, "partial transfer"),
            (24..=24, Ambiguous, "source files vanished"),
            (25..=25, Fatal, "--max-delete reached"),
            (30..=30, Retryable, "timeout in data send or receive"),
            (35..=35, Retryable, "timeout waiting for the daemon"),
            (124..=124, Ambiguous, "the remote shell failed"),
            (125..=125, Ambiguous, "the remote shell was killed"),
            (126..=126, Fatal, "the remote shell could not be run"),
            (127..=127, Fatal, "the remote shell was not found"),
            (255..=255, Retryable, "ssh: connection failed"),
        ],
        patterns: &[],
        http: false,
        stdout: Stdout::Never,
    },
    Profile {
        name: "timeout",
        programs: &["timeout"],
        source: "timeout(1), EXIT STATUS",
        // 137 is KILL, and any other status is the command's own.
        statuses: &[
            (124..=124, Retryable, "timed out"),
            (125..=125, Fatal, "timeout itself failed"),
            (126..=126, Fatal, "command could not be run"),
            (127..=127, Fatal, "command not found"),
        ],
        patterns: &[],
        http: false,
        stdout: Stdout::Never,
    },
    Profile {
        name: "http",
        programs: &[],
        source: "RFC 9110, 15",
        statuses: &[],
        patterns: &[],
        http: true,
        stdout: Stdout::Always,
    },
    Profile {
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
            (73..=73, Fatal, "could not create its output"),
            (74..=74, Ambiguous, "I/O error"),
            (75..=75, Retryable, "temporary failure"),
            (76..=76, Fatal, "protocol error"),
            (77..=77, Fatal, "permission denied"),
            (78..=78, Fatal, "configuration"),
        ],
        patterns: &[],
        http: false,
        stdout: Stdout::Never,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_status_stands_twice_in_a_row_and_every_row_has_a_source() {
        for row in TABLE {
            for status in 0..=u8::MAX {
                let listed = row.statuses.iter().filter(|(range, ..)| range.contains(&status)).count();
                assert!(listed <= 1, "{} lists {status} {listed} times", row.name);
            }
            assert!(row.status(0).is_none(), "{}: success is not a failure", row.name);
            assert!(!row.source.is_empty());
            assert_eq!(Profile::named(row.name), Some(row));
        }
    }

    #[test]
    fn auto_finds_a_row_by_each_of_its_programs() {
        for row in TABLE {
            for program in row.programs {
                assert_eq!(Profile::for_program(program), Some(row));
            }
        }
        assert_eq!(Profile::for_program("true"), None);
    }

    /// The classes of the reference table, written a second time and by class: a slip in one shows.
    #[test]
    fn the_classes_are_those_of_the_sources() {
        for (name, class, statuses) in [
            ("curl", Retryable, &[5, 6, 7, 12, 16, 18, 28, 35, 52, 55, 56, 92, 95, 96][..]),
            (
                "curl",
                Fatal,
                &[
                    1, 2, 3, 4, 9, 23, 26, 27, 37, 43, 47, 48, 53, 54, 58, 59, 60, 61, 63, 64, 66, 67, 68,
                    69, 70, 71, 72, 73, 74, 77, 78, 82, 83, 90, 91, 94, 98, 101,
                ],
            ),
            ("curl", Ambiguous, &[8, 22, 97]),
            ("wget", Retryable, &[4]),
            ("wget", Fatal, &[2, 3, 5, 6]),
            ("wget", Ambiguous, &[1, 7, 8]),
            ("ssh", Retryable, &[255]),
            ("rsync", Retryable, &[5, 10, 12, 30, 35, 255]),
            ("rsync", Fatal, &[1, 2, 3, 4, 6, 13, 14, 20, 22, 25, 126, 127]),
            ("rsync", Ambiguous, &[11, 23, 24, 124, 125]),
            ("timeout", Retryable, &[124]),
            ("timeout", Fatal, &[125, 126, 127]),
            ("sysexits", Retryable, &[69, 75]),
            ("sysexits", Fatal, &[64, 65, 66, 67, 70, 72, 73, 76, 77, 78]),
            ("sysexits", Ambiguous, &[68, 71, 74]),
        ] {
            let row = Profile::named(name).unwrap();
            let listed: Vec<u8> =
                (0..=u8::MAX).filter(|s| row.status(*s).is_some_and(|(c, _)| c == class)).collect();
            assert_eq!(listed, statuses, "{name} {class:?}");
        }
    }
}
