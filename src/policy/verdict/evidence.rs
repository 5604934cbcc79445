//! The evidence in the output of an attempt: which patterns its lines matched, and what an HTTP
//! server answered.
//!
//! [`Wanted`] says before the first attempt which streams retry has to watch. A [`Scanner`] reads
//! the bytes of one attempt while they pass, and returns the [`Evidence`] that the rules judge.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use regex_automata::meta::Regex;
use regex_automata::{Input, MatchKind, PatternSet};

use super::http::{CANDIDATE, Cursor, Expected, Part, Printed, Reader, Response, Source};
use super::paragraph::Paragraph;
use super::profile::doubt::DOUBT;
use super::profile::{Pattern, Profile, Says};
use super::text::{Syntax, Text, compile};
use super::window::{Piece, Window};
use crate::policy::stream::{PerStream, Stream, Streams};

/// What the rules look for in the output. It is the same for all attempts.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// The patterns of the user, without duplicates.
    texts: Vec<Text>,
    /// The profiles whose patterns count.
    rows: Vec<&'static Profile>,
    /// Whether the scanner reads HTTP status lines and header fields.
    http: bool,
    /// Whether a bare `HTTP 503` is a status line. This holds if the user asked for HTTP.
    bare: bool,
    /// Where the patterns of the profiles look.
    pub(crate) reach: Reach,
    pub(crate) needs: PerStream<Need>,
    lines: OnceLock<Option<Lines>>,
}

/// Who needs retry to watch a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Need {
    #[default]
    None,
    /// A profile. Without the stream it knows less.
    Profile,
    /// A condition. Without the stream retry cannot judge.
    Condition,
}

/// Where the patterns of a profile look, for the command of this run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// In stdout too, because this command writes its errors or headers there.
    pub(crate) stdout: bool,
    /// In a terminal too, because this command starts no program there that reads keys.
    pub(crate) terminal: bool,
    /// What this command prints on stdout.
    pub(crate) printed: Printed,
    /// What this command prints on a stream that carries both. None if only its messages count there.
    pub(crate) printed_on_both: Option<Printed>,
}

impl Wanted {
    /// `http` asks for HTTP on both streams. Profiles ask for stderr, and for more if `reach`
    /// allows it.
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

    /// Whether a program may break its messages into lines.
    fn wraps(&self) -> bool {
        self.rows.iter().any(|row| row.wraps)
    }

    /// The number of steps that the patterns of the user take for each byte in the worst case.
    fn steps(&self) -> usize {
        self.texts.iter().map(Text::states).sum()
    }

    /// The compiled patterns. They are compiled at the first byte, because most commands print
    /// nothing.
    fn lines(&self) -> Option<&Lines> {
        self.lines.get_or_init(|| Lines::new(&self.rows, self.http)).as_ref()
    }
}

/// The patterns of all profiles and of HTTP, compiled into one.
#[derive(Debug)]
struct Lines {
    /// Finds the next line that matches any pattern.
    any: Regex,
    /// Finds out which patterns of the profiles a line matches.
    each: Option<Regex>,
    /// The patterns in the order of `each`.
    patterns: Vec<(&'static Profile, &'static Pattern)>,
    alone: Vec<OnceLock<Option<Regex>>>,
}

impl Lines {
    fn new(rows: &[&'static Profile], http: bool) -> Option<Self> {
        let mut patterns: Vec<_> =
            rows.iter().flat_map(|row| row.patterns.iter().map(move |pattern| (*row, pattern))).collect();
        // The status of a program that shows HTTP responses says enough, and a body may hold any word.
        if let Some(row) = rows.iter().find(|row| !row.http) {
            patterns.push((row, &DOUBT));
        }
        let mut sources: Vec<&str> = patterns.iter().map(|(_, pattern)| pattern.regex).collect();
        // All patterns of the table compile: a test compiles each.
        let each = if sources.is_empty() {
            None
        } else {
            Some(compile(&sources, Syntax::Bytes, MatchKind::All).ok()?)
        };
        // A simpler pattern is enough to find the line.
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

    /// The patterns that match this line.
    fn hits(&self, line: &[u8]) -> Vec<Hit> {
        let Some(each) = &self.each else { return Vec::new() };
        let mut hits = PatternSet::new(self.patterns.len());
        each.which_overlapping_matches(&Input::new(line), &mut hits);
        let hit = |id: usize| {
            let (row, pattern) = *self.patterns.get(id)?;
            let status = match pattern.says {
                Says::HttpStatus => Some(self.status_in(id, line)?),
                Says::Class(..) | Says::Doubt(_) => None,
            };
            Some(Hit { row, pattern, status })
        };
        hits.iter().filter_map(|id| hit(id.as_usize())).collect()
    }

    /// The HTTP status in the first group of a pattern that matched this line.
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

/// A pattern of a profile that matched a line, and the HTTP status that it found there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hit {
    row: &'static Profile,
    pattern: &'static Pattern,
    status: Option<u16>,
}

/// Reads the watched streams of one attempt.
#[derive(Debug)]
pub(crate) struct Scanner {
    wanted: Arc<Wanted>,
    windows: PerStream<Window>,
    found: Found,
}

#[derive(Debug)]
struct Found {
    /// For each pattern of the user: whether a line matched.
    texts: Vec<bool>,
    lines: Vec<(&'static Profile, &'static Pattern)>,
    /// HTTP statuses in messages of the program, at most [`MOST_SAID`].
    said: Vec<Said>,
    http: Reader,
    /// The lines of each stream that are read as one line.
    paragraphs: PerStream<Paragraph>,
    /// What such lines matched, at most [`MOST_SAID`]. It counts after all single lines, because its
    /// place among them depends on how the output was split into parts.
    joined: Vec<(Source, Hit)>,
}

/// The largest number of different messages with an HTTP status that count.
const MOST_SAID: usize = 64;

/// An HTTP status in a message of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) row: &'static Profile,
    pub(crate) pattern: &'static Pattern,
    pub(crate) status: u16,
}

impl Scanner {
    pub(crate) fn new(wanted: Arc<Wanted>) -> Self {
        let stdout = wanted.reach.stdout.then_some(wanted.reach.printed);
        let found = Found {
            texts: vec![false; wanted.texts.len()],
            lines: Vec::new(),
            said: Vec::new(),
            http: Reader::new(Expected {
                bare: wanted.bare,
                stdout,
                both: wanted.reach.printed_on_both.or(stdout),
            }),
            paragraphs: PerStream::default(),
            joined: Vec::new(),
        };
        Self { wanted, windows: PerStream::default(), found }
    }

    /// Takes the next bytes of a stream. If both streams share a descriptor, their bytes go through
    /// the window of stderr.
    pub(crate) fn push(&mut self, carries: Streams, bytes: &[u8]) {
        let window = match carries {
            Streams::Stdout => &mut self.windows.stdout,
            Streams::Stderr | Streams::Both => &mut self.windows.stderr,
        };
        window.push(bytes, |piece| self.found.search(&self.wanted, carries, &piece));
    }

    /// See [`Wanted::steps`].
    pub(crate) fn steps(&self) -> usize {
        self.wanted.steps()
    }

    /// Searches the rest of the streams after their end. `merged`: stderr carried both streams.
    pub(crate) fn end(&mut self, merged: bool) {
        let carries = if merged { Streams::Both } else { Streams::Stderr };
        self.found.http.arrived(Source::Stdout, self.windows.stdout.arrived());
        self.windows.stdout.finish(|piece| self.found.search(&self.wanted, Streams::Stdout, &piece));
        self.windows.stderr.finish(|piece| self.found.search(&self.wanted, carries, &piece));
        if let Some(lines) = self.wanted.lines().filter(|_| self.wanted.wraps()) {
            self.found.end_paragraph(lines, Source::Stdout);
            self.found.end_paragraph(lines, carries.into());
        }
        for (source, hit) in std::mem::take(&mut self.found.joined) {
            self.found.take_hit(Place::Text(source), hit);
        }
    }

    /// The evidence of streams that have ended. It may take a while. `headers` is the content of
    /// the `--headers` file. `merged`: stderr carried both streams.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn finish(mut self, merged: bool, headers: &[u8]) -> Evidence {
        self.end(merged);
        self.evidence(headers)
    }

    /// The evidence of the searched streams and of the `--headers` file.
    pub(crate) fn evidence(mut self, headers: &[u8]) -> Evidence {
        self.found.http.read_file(headers);
        let texts = self.wanted.texts.iter().zip(self.found.texts).filter(|(_, found)| *found);
        Evidence {
            texts: texts.map(|(text, _)| text.clone()).collect(),
            lines: self.found.lines,
            said: self.found.said,
            response: self.found.http.finish(),
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
        if carries == Streams::Stdout && !wanted.reach.stdout {
            return;
        }
        let Some(lines) = wanted.lines() else { return };
        let source = Source::from(carries);
        if wanted.http {
            self.search_http(lines, source, piece);
        } else {
            self.search_lines(lines, source, piece.bytes, piece.span.clone());
        }
        if wanted.wraps() {
            self.search_paragraphs(lines, source, &piece.bytes[piece.span.clone()]);
        }
    }

    /// Reads header blocks. A body on stdout contains no line of the program.
    fn search_http(&mut self, lines: &Lines, source: Source, piece: &Piece<'_>) {
        let mut cursor = Cursor::new(piece);
        while let Some(part) = self.http.next(source, &mut cursor, &lines.any) {
            match part {
                Part::Block(range) => self.search_line(lines, Place::Block, &piece.bytes[range]),
                Part::Body(_) if source == Source::Stdout => {}
                Part::Text(range) | Part::Body(range) => self.search_lines(lines, source, piece.bytes, range),
            }
        }
    }

    /// Skips to the next line that matches, again and again.
    fn search_lines(&mut self, lines: &Lines, source: Source, bytes: &[u8], span: Range<usize>) {
        let Range { mut start, end } = span;
        while start <= end {
            let input = Input::new(bytes).span(start..end).earliest(true);
            let Some(hit) = lines.any.search_half(&input) else { return };
            start = line_start(bytes, start, hit.offset());
            let length = memchr::memchr(b'\n', &bytes[start..end]);
            let stop = length.map_or(end, |length| start + length);
            self.take_line(lines, Place::Text(source), &bytes[start..stop]);
            start = stop + 1;
        }
    }

    /// Joins the lines of each message.
    fn search_paragraphs(&mut self, lines: &Lines, source: Source, text: &[u8]) {
        for line in text.split(|b| *b == b'\n') {
            if !self.paragraph(source).add(line) {
                self.end_paragraph(lines, source);
                self.paragraph(source).add(line);
            }
        }
    }

    fn paragraph(&mut self, source: Source) -> &mut Paragraph {
        match source {
            Source::Stdout => &mut self.paragraphs.stdout,
            Source::Stderr | Source::Both | Source::HeadersFile => &mut self.paragraphs.stderr,
        }
    }

    /// Searches the lines that belong together as one line. Only rows whose programs break their
    /// messages into lines count.
    fn end_paragraph(&mut self, lines: &Lines, source: Source) {
        let Some(joined) = std::mem::take(self.paragraph(source)).joined() else { return };
        if !lines.any.is_match(&joined) {
            return;
        }
        for hit in lines.hits(&joined) {
            let counts = hit.row.wraps || matches!(hit.pattern.says, Says::Doubt(_));
            if counts && self.joined.len() < MOST_SAID && !self.joined.contains(&(source, hit)) {
                self.joined.push((source, hit));
            }
        }
    }

    /// Searches a line of which nothing is known. To find out which patterns match takes much longer
    /// than to find out that none does.
    fn search_line(&mut self, lines: &Lines, place: Place, line: &[u8]) {
        if lines.any.is_match(line) {
            self.take_line(lines, place, line);
        }
    }

    /// Takes a line that matches.
    fn take_line(&mut self, lines: &Lines, place: Place, line: &[u8]) {
        for hit in lines.hits(line) {
            self.take_hit(place, hit);
        }
    }

    fn take_hit(&mut self, place: Place, Hit { row, pattern, status }: Hit) {
        let Some(status) = status else {
            if !self.lines.iter().any(|(_, known)| std::ptr::eq(*known, pattern)) {
                self.lines.push((row, pattern));
            }
            return;
        };
        // The pattern of a row without programs matches the text of any program.
        let counts = match place {
            Place::Text(source) if row.programs.is_empty() => self.http.mentioned(source, status),
            Place::Block if row.programs.is_empty() => false,
            Place::Text(_) | Place::Block => self.http.said(status),
        };
        let said = Said { row, pattern, status };
        if counts && self.said.len() < MOST_SAID && !self.said.contains(&said) {
            self.said.push(said);
        }
    }
}

/// The place of a line.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// In a header block.
    Block,
    /// In other text on this source.
    Text(Source),
}

/// The start of the line with a match, or `from` if that is later.
fn line_start(bytes: &[u8], from: usize, hit: usize) -> usize {
    // An empty match at the end of a line belongs to that line.
    memchr::memrchr(b'\n', &bytes[from..hit]).map_or(from, |at| from + at + 1)
}

/// The evidence in the output of an attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    texts: Vec<Text>,
    lines: Vec<(&'static Profile, &'static Pattern)>,
    said: Vec<Said>,
    pub(crate) response: Response,
}

impl Evidence {
    /// Evidence of an HTTP response with this status.
    #[cfg(test)]
    pub(crate) fn of_status(status: u16) -> Self {
        let mut http = Reader::default();
        http.said(status);
        Self { response: http.finish(), ..Self::default() }
    }

    /// Whether a line matched this pattern.
    pub(crate) fn has(&self, text: &Text) -> bool {
        self.texts.contains(text)
    }

    /// The patterns of profiles that matched, in the order of the table.
    pub(crate) fn lines(&self) -> &[(&'static Profile, &'static Pattern)] {
        &self.lines
    }

    /// The pattern of a line with a word of a transient cause, and the row that it was added to.
    pub(crate) fn doubt(&self) -> Option<(&'static Profile, &'static Pattern)> {
        self.lines.iter().copied().find(|(_, pattern)| matches!(pattern.says, Says::Doubt(_)))
    }

    /// The HTTP statuses in messages of the program, in the order of the output.
    pub(crate) fn said(&self) -> &[Said] {
        &self.said
    }
}
