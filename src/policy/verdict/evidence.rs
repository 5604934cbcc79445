//! What a watched attempt has shown: which patterns its lines matched, and what an HTTP server answered.
//!
//! [`Wanted`] says beforehand which streams are worth watching; a [`Scanner`] reads one attempt's bytes as
//! they pass and ends as [`Evidence`], which the rules then judge.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use regex_automata::meta::Regex;
use regex_automata::{Input, MatchKind, PatternSet};

use super::http::{CANDIDATE, LineSource, Reader, Response};
use super::profile::{Pattern, Profile, Says};
use super::text::{Syntax, Text, compile};
use super::window::{Piece, Window};
use crate::policy::stream::{PerStream, Stream, Streams};

/// What the rules ask of the streams; whole before the first attempt.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// The user's patterns, each once.
    texts: Vec<Text>,
    /// The rows whose lines count.
    rows: Vec<&'static Profile>,
    /// Whether status lines and header fields are read.
    http: bool,
    /// Whether `HTTP 503` is a status line on stdout too: the user asked for HTTP.
    bare: bool,
    /// Where the rows reach.
    pub(crate) reach: Reach,
    pub(crate) needs: PerStream<Need>,
    lines: OnceLock<Option<Lines>>,
}

/// Who needs a stream to be watched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nobody.
    #[default]
    None,
    /// A profile, which can do without.
    Profile,
    /// A condition of the user's.
    Condition,
}

/// Where the rows of the profile look, for the command at hand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// In stdout too: the command writes something telling there.
    pub(crate) stdout: bool,
    /// In a terminal too: the command starts no pager there that would read keys from it.
    pub(crate) terminal: bool,
}

impl Wanted {
    /// `http` asks for the lines of HTTP on both streams; the rows ask for stderr, and for what `reach` says.
    pub(crate) fn new(texts: Vec<Text>, rows: Vec<&'static Profile>, http: bool, reach: Reach) -> Self {
        let asks = |stream: Stream| texts.iter().any(|text| text.streams.contains(stream));
        let rows: Vec<_> = rows.into_iter().filter(|row| row.http || !row.patterns.is_empty()).collect();
        let need = |stream: Stream, profile: bool| match (http || asks(stream), profile) {
            (true, _) => Need::Condition,
            (false, true) => Need::Profile,
            (false, false) => Need::None,
        };
        Self {
            needs: PerStream {
                stdout: need(Stream::Stdout, reach.stdout && !rows.is_empty()),
                stderr: need(Stream::Stderr, !rows.is_empty()),
            },
            http: http || rows.iter().any(|row| row.http),
            bare: http || rows.iter().any(|row| row.programs.is_empty() && row.http),
            reach: Reach { stdout: reach.stdout || http, ..reach },
            texts,
            rows,
            lines: OnceLock::new(),
        }
    }

    /// How many steps a byte may cost at worst, as far as the user's patterns are concerned.
    fn steps(&self) -> usize {
        self.texts.iter().map(Text::states).sum()
    }

    /// What the lines are matched with, compiled at the first byte.
    fn lines(&self) -> Option<&Lines> {
        self.lines.get_or_init(|| Lines::new(&self.rows, self.http)).as_ref()
    }
}

/// The patterns of the rows and of HTTP, as one.
#[derive(Debug)]
struct Lines {
    /// Finds a line that matches one of them.
    any: Regex,
    /// Tells which of the rows' patterns a line matches; none where they have none.
    each: Option<Regex>,
    /// Of each pattern in `each`; with its own regex, for the group in it, once that was needed.
    patterns: Vec<(&'static Profile, &'static Pattern)>,
    alone: Vec<OnceLock<Option<Regex>>>,
}

impl Lines {
    fn new(rows: &[&'static Profile], http: bool) -> Option<Self> {
        let patterns: Vec<_> =
            rows.iter().flat_map(|row| row.patterns.iter().map(move |pattern| (*row, pattern))).collect();
        let mut sources: Vec<&str> = patterns.iter().map(|(_, pattern)| pattern.regex).collect();
        // Those of the table are known to compile: a test has each.
        let each = if sources.is_empty() {
            None
        } else {
            Some(compile(&sources, Syntax::Bytes, MatchKind::All).ok()?)
        };
        // To find a line takes less than to tell what it says.
        for (source, (_, pattern)) in sources.iter_mut().zip(&patterns) {
            *source = pattern.found_by.unwrap_or(source);
        }
        if http {
            sources.push(CANDIDATE);
        }
        let any = if sources.is_empty() {
            None
        } else {
            compile(&sources, Syntax::Bytes, MatchKind::LeftmostFirst).ok()
        };
        let alone = patterns.iter().map(|_| OnceLock::new()).collect();
        Some(Self { any: any?, each, patterns, alone })
    }

    /// The HTTP status in the first group of a pattern that has matched this line.
    fn status_in(&self, pattern: usize, line: &[u8]) -> Option<u16> {
        let (_, source) = self.patterns.get(pattern)?;
        let compiled = || compile(&[source.regex], Syntax::Bytes, MatchKind::LeftmostFirst).ok();
        let regex = self.alone.get(pattern)?.get_or_init(compiled).as_ref()?;
        let mut groups = regex.create_captures();
        regex.captures(Input::new(line), &mut groups);
        let digits = &line[groups.get_group(1)?.range()];
        std::str::from_utf8(digits).ok()?.parse().ok()
    }
}

/// Reads what passes on the watched streams of one attempt.
#[derive(Debug)]
pub(crate) struct Scanner {
    wanted: Arc<Wanted>,
    windows: PerStream<Window>,
    found: Found,
}

/// What has been found so far.
#[derive(Debug)]
struct Found {
    /// Of each of the user's patterns.
    texts: Vec<bool>,
    lines: Vec<(&'static Profile, &'static Pattern)>,
    http: Reader,
}

impl Scanner {
    pub(crate) fn new(wanted: Arc<Wanted>) -> Self {
        let found = Found {
            texts: vec![false; wanted.texts.len()],
            lines: Vec::new(),
            http: Reader::new(wanted.bare),
        };
        Self { wanted, windows: PerStream::default(), found }
    }

    /// Takes the next bytes of a stream. Bytes that may come from both streams use the window of stderr.
    pub(crate) fn push(&mut self, carries: Streams, bytes: &[u8]) {
        let window = match carries {
            Streams::Stdout => &mut self.windows.stdout,
            Streams::Stderr | Streams::Both => &mut self.windows.stderr,
        };
        window.push(bytes, |piece| self.found.search(&self.wanted, carries, &piece));
    }

    /// How many steps a byte may cost at worst, as far as the user's patterns are concerned.
    pub(crate) fn steps(&self) -> usize {
        self.wanted.steps()
    }

    /// The streams have ended: searches the rest of them. `merged` tells that stderr carried both.
    pub(crate) fn end(&mut self, merged: bool) {
        let carries = if merged { Streams::Both } else { Streams::Stderr };
        self.windows.stdout.finish(|piece| self.found.search(&self.wanted, Streams::Stdout, &piece));
        self.windows.stderr.finish(|piece| self.found.search(&self.wanted, carries, &piece));
    }

    /// The evidence, once the streams have ended, for who need not be quick. `headers` is what the command wrote to the file of
    /// `--headers`; `merged` tells that stderr carried both.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn finish(mut self, merged: bool, headers: &[u8]) -> Evidence {
        self.end(merged);
        self.evidence(headers)
    }

    /// The evidence of what was searched, and of what the command wrote to the file of `--headers`.
    pub(crate) fn evidence(mut self, headers: &[u8]) -> Evidence {
        for line in headers.split(|b| *b == b'\n') {
            self.found.http.line(LineSource::HeadersFile, line);
        }
        let texts = self.wanted.texts.iter().zip(self.found.texts).filter(|(_, found)| *found);
        Evidence {
            texts: texts.map(|(text, _)| text.clone()).collect(),
            lines: self.found.lines,
            response: self.found.http.response().clone(),
        }
    }
}

impl Found {
    fn search(&mut self, wanted: &Wanted, carries: Streams, piece: &Piece<'_>) {
        for (text, found) in wanted.texts.iter().zip(&mut self.texts) {
            if text.streams.overlaps(carries) && !*found {
                *found = text.is_match(piece.bytes, piece.span.clone());
            }
        }
        if carries != Streams::Stdout || wanted.reach.stdout {
            let stream = if carries == Streams::Stdout { Stream::Stdout } else { Stream::Stderr };
            self.search_lines(wanted, LineSource::Stream(stream), piece);
        }
    }

    /// Line by line where a header block is open, else from one telling line to the next.
    fn search_lines(&mut self, wanted: &Wanted, source: LineSource, piece: &Piece<'_>) {
        let Some(lines) = wanted.lines() else { return };
        let Range { mut start, end } = piece.span;
        while start <= end {
            if !self.http.in_block(source) {
                let input = Input::new(piece.bytes).span(start..end).earliest(true);
                let Some(hit) = lines.any.search_half(&input) else { return };
                start = line_start(piece.bytes, start, hit.offset());
            }
            let length = memchr::memchr(b'\n', &piece.bytes[start..end]);
            let stop = length.map_or(end, |length| start + length);
            if wanted.http {
                self.http.line(source, &piece.bytes[start..stop]);
            }
            self.take_line(lines, &piece.bytes[start..stop]);
            start = stop + 1;
        }
    }

    fn take_line(&mut self, lines: &Lines, line: &[u8]) {
        let Some(each) = &lines.each else { return };
        let mut hits = PatternSet::new(lines.patterns.len());
        each.which_overlapping_matches(&Input::new(line), &mut hits);
        for id in hits.iter().map(|id| id.as_usize()) {
            let Some((row, pattern)) = lines.patterns.get(id).copied() else { continue };
            match pattern.says {
                Says::HttpStatus => {
                    if let Some(status) = lines.status_in(id, line) {
                        self.http.said(status);
                    }
                }
                Says::Class(..) if self.lines.iter().any(|(_, known)| std::ptr::eq(*known, pattern)) => {}
                Says::Class(..) => self.lines.push((row, pattern)),
            }
        }
    }
}

/// Where the line of a hit begins, not before `from`.
fn line_start(bytes: &[u8], from: usize, hit: usize) -> usize {
    // A hit of no length at the end of a line belongs to that line.
    memchr::memrchr(b'\n', &bytes[from..hit]).map_or(from, |at| from + at + 1)
}

/// What an attempt has shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    texts: Vec<Text>,
    lines: Vec<(&'static Profile, &'static Pattern)>,
    pub(crate) response: Response,
}

impl Evidence {
    /// That an HTTP response had this status, and nothing else.
    #[cfg(test)]
    pub(crate) fn of_status(status: u16) -> Self {
        let mut http = Reader::default();
        http.said(status);
        Self { response: http.response().clone(), ..Self::default() }
    }

    /// Whether a line matched this pattern.
    pub(crate) fn has(&self, text: &Text) -> bool {
        self.texts.contains(text)
    }

    /// The lines of the table that were seen, in order.
    pub(crate) fn lines(&self) -> &[(&'static Profile, &'static Pattern)] {
        &self.lines
    }
}
