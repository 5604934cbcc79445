//! HTTP responses in the output of a program: the status, and the wait that the server asks for.
//!
//! The lines may be a status line and header fields (as `curl -i`, `curl -v`, `wget -S` and scripts
//! print them, or from the `--headers` file), or a message of the program that names a status.
//! Redirects, `100 Continue` and a CONNECT to a proxy produce several header blocks. The last
//! complete one counts. A body never does: a [`track`] follows each source, and knows where a
//! program may begin a response. The reader takes the values out of a line at once (see [`value`]),
//! and keeps no line.

mod head;
mod line;
mod pieces;
mod place;
mod response;
mod track;
pub(crate) mod value;

use std::collections::VecDeque;

use crate::policy::stream::Streams;
pub(crate) use pieces::{Cursor, Part};
pub(crate) use response::{Asked, Response};
use track::Track;

/// A regular expression over bytes that matches inside every line that matters outside of a header
/// block: a status line, the first line of a request, or a wait. While no block is open, a buffer
/// without a match does not have to be cut into lines.
///
/// It begins with literals, because the search for literals is fast.
pub(crate) const CANDIDATE: &str =
    r"(?-u)HTTP(?:/[0-9](?:\.[0-9])?)? +[1-5][0-9][0-9]|HTTP/[0-9](?:\.[0-9])?$|(?i:retry-after)";

/// The source of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
    /// Stderr carries stdout too.
    Both,
    /// The `--headers` file.
    HeadersFile,
}

impl From<Streams> for Source {
    fn from(streams: Streams) -> Self {
        match streams {
            Streams::Stdout => Self::Stdout,
            Streams::Stderr => Self::Stderr,
            Streams::Both => Self::Both,
        }
    }
}

/// The parts of HTTP messages that a program prints on stdout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Printed {
    /// Header blocks and bodies.
    #[default]
    Messages,
    /// Header blocks only: `curl -I`, `curl -D - -o FILE`.
    Blocks,
    /// Bodies, and lone status lines: `curl -w`.
    LoneLines,
}

/// Where responses may stand.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Expected {
    /// `HTTP 503` without a version is a status line on stdout too, because the user asked for HTTP.
    pub(crate) bare: bool,
    /// None if the rules do not look at stdout.
    pub(crate) stdout: Option<Printed>,
    /// On a stream that carries both. None if only messages of the program count there.
    pub(crate) both: Option<Printed>,
}

impl Expected {
    /// What the program prints on this source.
    fn on(self, source: Source) -> Option<Printed> {
        match source {
            Source::Both => self.both,
            Source::Stdout | Source::Stderr | Source::HeadersFile => self.stdout,
        }
    }
}

/// Reads lines in the order of their arrival. The last header block counts.
#[derive(Debug, Default, Clone)]
pub(crate) struct Reader {
    expected: Expected,
    stdout: Track,
    stderr: Track,
    headers_file: Track,
    /// Whether stderr carries stdout too.
    merged: bool,
    answers: Answers,
}

impl Reader {
    pub(crate) fn new(expected: Expected) -> Self {
        Self { expected, ..Self::default() }
    }

    fn track(&self, source: Source) -> &Track {
        match source {
            Source::Stdout => &self.stdout,
            Source::Stderr | Source::Both => &self.stderr,
            Source::HeadersFile => &self.headers_file,
        }
    }

    fn track_mut(&mut self, source: Source) -> (&mut Track, &mut Answers) {
        let track = match source {
            Source::Stdout => &mut self.stdout,
            Source::Stderr | Source::Both => &mut self.stderr,
            Source::HeadersFile => &mut self.headers_file,
        };
        (track, &mut self.answers)
    }

    /// Takes the status in a message of the program: `curl: (22) ... error: 503`, wget's `ERROR
    /// 503:`. The last response with this status then counts, with its fields. If there is none,
    /// the status is a response of its own. Both outrank status lines on stdout. Fields before any
    /// status belong to it. Returns whether it is a status.
    pub(crate) fn said(&mut self, status: u16) -> bool {
        let counts = (100..=599).contains(&status);
        if counts {
            self.answers.said = Some(status);
            self.answers.name(status);
        }
        counts
    }

    /// Takes the status in a text of any program, such as `error: HTTP 503`. It is part of a body if
    /// there was a header block on this source. Returns whether it counts.
    pub(crate) fn mentioned(&mut self, source: Source, status: u16) -> bool {
        let counts = (100..=599).contains(&status) && !self.track(source).has_block();
        if counts {
            self.answers.begins(source);
            self.answers.name(status);
        }
        counts
    }

    /// The response that counts, after the end of all sources.
    pub(crate) fn finish(mut self) -> Response {
        let bare = self.expected.bare;
        let stderr = if self.merged { Source::Both } else { Source::Stderr };
        for source in [Source::Stdout, stderr, Source::HeadersFile] {
            let (track, answers) = self.track_mut(source);
            track.finish(source, bare, answers);
        }
        self.answers.chosen()
    }
}

/// A response, and where it came from.
#[derive(Debug, Clone)]
struct Answer {
    response: Response,
    source: Option<Source>,
    number: u64,
    /// Its header block has no end, so any other response outranks it.
    weak: bool,
}

/// The responses in the order of their header blocks, at most [`KEPT`].
#[derive(Debug, Default, Clone)]
struct Answers {
    list: VecDeque<Answer>,
    /// The number of responses so far.
    pushed: u64,
    /// The last status that a message of the program named.
    said: Option<u16>,
}

/// The number of responses that are kept, because a message may name one of them later.
const KEPT: usize = 9;

impl Answers {
    /// A status line, which is newer than a message of the program. On stdout it may be older,
    /// because programs buffer stdout.
    fn begins(&mut self, source: Source) {
        if source != Source::Stdout {
            self.said = None;
        }
    }

    fn push(&mut self, response: Response, source: impl Into<Option<Source>>, weak: bool) {
        if self.list.len() == KEPT {
            // Keep the response that the program named last.
            let keep = self.list.front().is_some_and(|first| {
                first.response.status().is_some() && first.response.status() == self.said
            });
            self.list.remove(usize::from(keep));
        }
        self.list.push_back(Answer { response, source: source.into(), number: self.pushed, weak });
        self.pushed += 1;
    }

    /// Removes the responses of a source from this number on.
    fn forget(&mut self, source: Source, from: u64) {
        self.list.retain(|answer| answer.number < from || answer.source != Some(source));
    }

    /// A field outside of a block belongs to the last response.
    fn lone_field(&mut self, source: Source, name: &[u8], value: &[u8]) {
        if self.list.is_empty() {
            self.push(Response::default(), source, false);
        }
        if let Some(last) = self.list.back_mut() {
            last.response.field(name, value);
        }
    }

    /// Makes a response with this status the last one.
    fn name(&mut self, status: u16) {
        match self.list.back_mut() {
            Some(last) if last.response.status().is_none() => last.response.status = Some(status),
            Some(last) if last.response.status() == Some(status) => {}
            Some(_) | None => {
                let known = self.list.iter().rev().find(|answer| answer.response.status() == Some(status));
                let response = known.map_or_else(|| Response::of(status), |answer| answer.response.clone());
                self.push(response, None, false);
            }
        }
    }

    fn chosen(self) -> Response {
        let mut newest_first = self.list.iter().rev();
        let named = self.said.and_then(|said| {
            let mut all = self.list.iter().rev();
            all.find(|answer| answer.response.status() == Some(said))
        });
        let strong = newest_first.find(|answer| !answer.weak).or(self.list.back());
        named.or(strong).map(|answer| answer.response.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
