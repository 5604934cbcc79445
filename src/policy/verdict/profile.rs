//! Profiles: how to interpret the failures of some programs.
//!
//! The table has a row for each program: its names, the documentation of its errors, the meaning of
//! its exit statuses for a retry, and lines of its output that say more than an ambiguous status.
//! If neither the status nor a line decides, the rules after the profiles do. To add a program, add
//! a row to the file of its kind, and recorded failures to `tests/recorded/`.

mod cloud;
mod containers;
mod data;
mod deploy;
pub(crate) mod doubt;
mod kubernetes;
mod packages;
mod remote;
mod system;
pub(crate) mod terminal;
mod web;

use std::ops::RangeInclusive;

use super::class::Class;
use super::http::Printed;
use crate::policy::stream::{Stream, Streams};
use Class::{Fatal, Retryable};
use terminal::Terminal;
pub(crate) use web::CURL_VALUED;

/// Why no transient failure ends with an exit status. Without a proof a status is never fatal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The program rejects its arguments or its configuration before it does anything.
    Usage,
    /// The peer gave a definite answer, and the program has a status of its own for it.
    Answer,
    /// The cause is on this machine and does not pass by itself.
    Local,
    /// Somebody asked the program to stop.
    Interrupted,
}

/// The meaning of an exit status for a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The program lost its connection, or waited for too long. The failure may pass.
    Retryable,
    /// Transient and permanent failures share the status, so it is retried.
    Ambiguous,
    /// Every failure with the status is permanent.
    Fatal(Proof),
}

/// An exit status of a program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) range: RangeInclusive<u8>,
    pub(crate) meaning: Meaning,
    /// A noun phrase, because messages say `exited 7 (...)` and `... is fatal`.
    pub(crate) reason: &'static str,
}

const fn retryable_status(range: RangeInclusive<u8>, reason: &'static str) -> Status {
    Status { range, meaning: Meaning::Retryable, reason }
}

const fn ambiguous_status(range: RangeInclusive<u8>, reason: &'static str) -> Status {
    Status { range, meaning: Meaning::Ambiguous, reason }
}

const fn fatal_status(range: RangeInclusive<u8>, proof: Proof, reason: &'static str) -> Status {
    Status { range, meaning: Meaning::Fatal(proof), reason }
}

/// An invocation in which the program passes on the output of another program, or its status:
/// `docker run`, `ssh HOST COMMAND`. That output proves nothing about the program's own failure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Relay {
    /// The base name, if only this program of the row does so.
    pub(crate) program: Option<&'static str>,
    /// The subcommand: `run`, `compose up`. An empty one stands for any.
    pub(crate) command: &'static str,
    /// The smallest number of operands.
    pub(crate) operands: usize,
    /// The statuses with which the program says that it failed itself. Lines count only with these.
    pub(crate) own: &'static [RangeInclusive<u8>],
}

const fn relay(command: &'static str, operands: usize, own: &'static [RangeInclusive<u8>]) -> Relay {
    Relay { program: None, command, operands, own }
}

impl Relay {
    /// The same invocation, of this program only.
    const fn of(self, program: &'static str) -> Self {
        Self { program: Some(program), ..self }
    }
}

/// The row of one program.
#[derive(Debug)]
pub(crate) struct Profile {
    /// The name for `--profile`.
    pub(crate) name: &'static str,
    /// The base names of commands that use this row by default.
    pub(crate) programs: &'static [&'static str],
    /// The documentation of the statuses and messages.
    pub(crate) source: &'static str,
    pub(crate) statuses: &'static [Status],
    /// Lines that say more than the status. A retryable line outranks a fatal line.
    pub(crate) patterns: &'static [Pattern],
    /// Whether the program breaks its messages into lines. Consecutive lines are then also read as
    /// one line.
    pub(crate) wraps: bool,
    pub(crate) relays: &'static [Relay],
    /// Exit statuses that prove that the program sent nothing.
    pub(crate) unsent: &'static [u8],
    /// Whether the program prints HTTP status lines and header fields.
    pub(crate) http: bool,
    /// Whether retry also watches stdout, for HTTP headers and for the patterns.
    pub(crate) stdout: WatchStdout,
    /// What a command with these arguments prints on stdout, or on both streams, besides its error
    /// messages.
    pub(crate) printed: fn(&[&[u8]], Streams) -> Printed,
    /// Whether the program may need the terminal for itself.
    pub(crate) terminal: Terminal,
}

/// The fields that most rows share.
pub(crate) const PLAIN: Profile = Profile {
    name: "",
    programs: &[],
    source: "",
    statuses: &[],
    patterns: &[],
    wraps: false,
    relays: &[],
    unsent: &[],
    http: false,
    stdout: WatchStdout::Never,
    printed: |_, _| Printed::Messages,
    terminal: Terminal::FREE,
};

/// When stdout is watched, because the program writes evidence there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WatchStdout {
    Never,
    Always,
    /// If one of these options is among the arguments: `-i` (also in a bundle, as in `-sSi`) or
    /// `--include`. `valued` has the letters of options with a value. Options in `to_file` count
    /// only if their value is stdout.
    With {
        options: &'static [&'static str],
        valued: &'static str,
        to_file: &'static [&'static str],
    },
}

impl WatchStdout {
    /// Whether a command with these arguments writes evidence to stdout.
    pub(crate) fn applies_to(self, arguments: &[&[u8]]) -> bool {
        self.applies_on(Streams::Stdout, arguments)
    }

    /// Like [`applies_to`](Self::applies_to), but the value of an option in `to_file` may be any of
    /// these streams.
    fn applies_on(self, streams: Streams, arguments: &[&[u8]]) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::With { options, valued, to_file } => {
                let mut words = arguments.iter();
                while let Some(word) = words.next() {
                    let (found, value) = match word {
                        [b'-', b'-', ..] => {
                            let (name, value) = halves(word, b'=');
                            (options.iter().find(|option| option.as_bytes() == name), value)
                        }
                        // `-i`, `-sSi`. If a letter takes a value, the rest of the word is that
                        // value.
                        [b'-', letters @ ..] => {
                            let end = letters.iter().position(|letter| valued.as_bytes().contains(letter));
                            let last = end.map_or(letters.len(), |end| end + 1);
                            let found = options.iter().find(|option| match option.as_bytes() {
                                [b'-', letter] => letters[..last].contains(letter),
                                _ => false,
                            });
                            let value = letters.get(last..).filter(|value| !value.is_empty());
                            let value =
                                if end.is_some() { value.or_else(|| words.next().copied()) } else { None };
                            (found, value)
                        }
                        _ => (None, None),
                    };
                    let Some(option) = found else { continue };
                    if !to_file.contains(option) {
                        return true;
                    }
                    let file = value.or_else(|| words.next().copied());
                    if file.and_then(stream_of).is_some_and(|stream| streams.contains(stream)) {
                        return true;
                    }
                }
                false
            }
        }
    }
}

/// The stream that this value of an option names. `%` is curl's name for stderr.
fn stream_of(file: &[u8]) -> Option<Stream> {
    match file {
        b"-" | b"/dev/stdout" | b"/dev/fd/1" | b"/proc/self/fd/1" => Some(Stream::Stdout),
        b"%" | b"/dev/stderr" | b"/dev/fd/2" | b"/proc/self/fd/2" => Some(Stream::Stderr),
        _ => None,
    }
}

/// Splits a word at the first such byte, if it has one.
fn halves(word: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match word.iter().position(|byte| *byte == at) {
        Some(place) => (&word[..place], word.get(place + 1..)),
        None => (word, None),
    }
}

/// A line of output, and its meaning. If several patterns of one class match, the first in the row
/// gives the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// The exit statuses for which the line counts. An empty list stands for every failure. If the
    /// list names the status, the line is about this very end, and outranks the status.
    pub(crate) statuses: &'static [RangeInclusive<u8>],
    /// A regular expression over the bytes of one line, without colours. It is case-sensitive, and
    /// anchored to the text that the program prints around the message.
    pub(crate) regex: &'static str,
    /// A faster pattern that matches in every line that `regex` matches.
    pub(crate) found_by: Option<&'static str>,
    /// The line proves that nothing was sent, because there was no connection.
    pub(crate) unsent: bool,
    /// The line begins a message about any of many causes: `Unable to connect to the server: `. It
    /// does not outrank a line that names a permanent cause.
    pub(crate) general: bool,
    pub(crate) says: Says,
}

/// The meaning of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    /// A class, and a reason: a noun phrase, or the error code in the line.
    Class(Class, &'static str),
    /// The first group of the pattern is an HTTP status.
    HttpStatus,
    /// There is a word of a transient cause. It only keeps a permanent cause from counting.
    Doubt(&'static str),
}

/// Every row has a name of its own.
impl PartialEq for Profile {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Profile {}

impl Profile {
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        TABLE.iter().find(|row| row.name == name)
    }

    /// The default row for a command with this base name.
    pub(crate) fn for_program(base_name: &str) -> Option<&'static Self> {
        TABLE.iter().find(|row| row.programs.contains(&base_name))
    }

    /// Whether the output of the program contains HTTP statuses.
    pub(crate) fn reads_http(&self) -> bool {
        self.http || self.patterns.iter().any(|pattern| pattern.says == Says::HttpStatus)
    }

    /// The row of a documented status.
    pub(crate) fn status(&self, status: u8) -> Option<&'static Status> {
        self.statuses.iter().find(|row| row.range.contains(&status))
    }

    /// The invocation of a program with these arguments, if it passes on the output of another
    /// program.
    pub(crate) fn relay(&self, program: &[u8], arguments: &[&[u8]]) -> Option<&'static Relay> {
        let fits = |relay: &&Relay| {
            relay.program.is_none_or(|name| name.as_bytes() == program)
                && self.terminal.runs(arguments, relay.command, relay.operands)
        };
        self.relays.iter().find(fits)
    }
}

/// A pattern that counts with every exit status.
pub(crate) const fn pattern(regex: &'static str, says: Says) -> Pattern {
    Pattern { statuses: &[], regex, found_by: None, unsent: false, general: false, says }
}

const fn fatal(regex: &'static str, words: &'static str) -> Pattern {
    pattern(regex, Says::Class(Fatal, words))
}

const fn retryable(regex: &'static str, words: &'static str) -> Pattern {
    pattern(regex, Says::Class(Retryable, words))
}

const fn http_status(regex: &'static str) -> Pattern {
    pattern(regex, Says::HttpStatus)
}

impl Pattern {
    /// The reason for messages. A pattern for an HTTP status has none.
    pub(crate) fn words(&self) -> &'static str {
        match self.says {
            Says::Class(_, words) | Says::Doubt(words) => words,
            Says::HttpStatus => "",
        }
    }

    /// Whether the line counts with this exit status.
    pub(crate) fn counts_with(&self, status: u8) -> bool {
        self.statuses.is_empty() || self.is_about_the_end(status)
    }

    /// Whether the line is about an end with this very status.
    pub(crate) fn is_about_the_end(&self, status: u8) -> bool {
        self.statuses.iter().any(|range| range.contains(&status))
    }

    /// The same pattern for these exit statuses only.
    const fn only(self, statuses: &'static [RangeInclusive<u8>]) -> Self {
        Self { statuses, ..self }
    }

    /// The same pattern, which also proves that nothing was sent.
    const fn unsent(self) -> Self {
        Self { unsent: true, ..self }
    }

    /// The same pattern, for a line that does not name its cause.
    const fn general(self) -> Self {
        Self { general: true, ..self }
    }

    /// The same pattern, with a faster pattern for the search.
    const fn found_by(self, regex: &'static str) -> Self {
        Self { found_by: Some(regex), ..self }
    }
}

/// The patterns of a row, and those of the libraries and programs that it uses.
const fn joined<const N: usize>(own: &[Pattern], shared: &[Pattern]) -> [Pattern; N] {
    assert!(N == own.len() + shared.len(), "as many as there are");
    let mut all = [own[0]; N];
    let mut n = 0;
    while n < N {
        all[n] = if n < own.len() { own[n] } else { shared[n - own.len()] };
        n += 1;
    }
    all
}

/// All rows, in the order of the man page.
pub(crate) const TABLE: &[Profile] = &[
    web::CURL,
    web::WGET,
    web::HTTP,
    web::HTTPIE,
    remote::SSH,
    remote::RSYNC,
    remote::GIT,
    packages::APT,
    packages::PIP,
    packages::NPM,
    packages::UV,
    packages::YARN,
    packages::PNPM,
    packages::CARGO,
    packages::GO,
    packages::GEM,
    packages::COMPOSER,
    packages::MVN,
    packages::GRADLE,
    packages::DNF,
    packages::APK,
    containers::DOCKER,
    containers::SKOPEO,
    kubernetes::KUBECTL,
    kubernetes::HELM,
    cloud::AWS,
    cloud::AZ,
    cloud::GCLOUD,
    data::PSQL,
    data::PG_ISREADY,
    data::PG_DUMP,
    data::MYSQL,
    data::REDIS_CLI,
    data::RESTIC,
    data::RCLONE,
    deploy::GH,
    deploy::TERRAFORM,
    deploy::ANSIBLE,
    system::RETRY,
    system::TIMEOUT,
    system::SUDO,
    system::DOAS,
    system::SYSEXITS,
];

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod tests;
