//! Cuts a piece of a stream into header lines, bodies and other text.

use std::ops::Range;

use regex_automata::Input;
use regex_automata::meta::Regex;

use super::place::{Place, Taken};
use super::{Reader, Source};
use crate::policy::verdict::window::{OVERLAP, Piece};

/// A part of a piece, by the positions in its bytes. No part contains the end of its last line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// A line of a header block.
    Block(Range<usize>),
    /// Lines of the program, which may match any pattern. The parts before and after this one do
    /// not match.
    Text(Range<usize>),
    /// A part of a body. If stderr carries both streams, the program's own lines may stand in it.
    Body(Range<usize>),
}

/// A position in a piece.
#[derive(Debug)]
pub(crate) struct Cursor<'p, 'b> {
    piece: &'p Piece<'b>,
    /// The start of the next line. None at the end of the piece.
    start: Option<usize>,
    /// The piece begins in the middle of a line.
    inside: bool,
}

impl<'p, 'b> Cursor<'p, 'b> {
    pub(crate) fn new(piece: &'p Piece<'b>) -> Self {
        Self { piece, start: Some(piece.span.start), inside: piece.span.start > 0 }
    }

    /// The offset of a position in the stream.
    fn offset(&self, position: usize) -> u64 {
        self.piece.at.saturating_add(u64::try_from(position).unwrap_or(u64::MAX))
    }

    /// The position of an offset, at most `limit`.
    fn position(&self, offset: u64, limit: usize) -> usize {
        usize::try_from(offset.saturating_sub(self.piece.at)).map_or(limit, |position| position.min(limit))
    }

    /// The end of the line that begins here, if the piece contains it. The piece ends with the end
    /// of a line if it is whole.
    fn line_end(&self, start: usize) -> Option<usize> {
        let end = self.piece.span.end;
        let found = memchr::memchr(b'\n', &self.piece.bytes[start..end]).map(|length| start + length);
        found.or(self.piece.whole.then_some(end))
    }

    /// The lines before a position, without the end of the last one.
    fn before(&self, start: usize) -> Option<&'p [u8]> {
        self.piece.bytes[self.piece.span.start..start].strip_suffix(b"\n")
    }
}

impl Reader {
    /// The next part of a piece. `any` matches in every line that matters, such as those that match
    /// [`super::CANDIDATE`]. In a header block every line matters.
    pub(crate) fn next(&mut self, source: Source, cursor: &mut Cursor<'_, '_>, any: &Regex) -> Option<Part> {
        let start = cursor.start?;
        let end = cursor.piece.span.end;
        self.merged |= source == Source::Both;
        if start == cursor.piece.span.start {
            self.arrived(source, cursor.piece.arrived);
        }
        let at = cursor.offset(start);
        let (track, _) = self.track_mut(source);
        if track.next > at {
            let stop = cursor.position(track.next, end);
            cursor.inside = false;
            cursor.start = (track.next <= cursor.offset(end)).then_some(stop);
            return Some(Part::Body(start..stop));
        }
        if cursor.inside && track.next < at {
            // The rest of a line whose beginning has left the window.
            cursor.inside = false;
            track.long_line();
            if track.next > at {
                return self.next(source, cursor, any);
            }
            let stop = cursor.line_end(start);
            cursor.start = stop.filter(|stop| *stop < end).map(|stop| stop + 1);
            if let Some(stop) = stop {
                track.next = cursor.offset(stop + 1);
            }
            return Some(Part::Text(start..stop.unwrap_or(end)));
        }
        cursor.inside = false;
        let start = if track.needs_every_line() {
            start
        } else {
            match any.search_half(&Input::new(cursor.piece.bytes).span(start..end).earliest(true)) {
                // An empty match at the end of a line belongs to that line.
                Some(hit) => {
                    let before = &cursor.piece.bytes[start..hit.offset()];
                    memchr::memrchr(b'\n', before).map_or(start, |at| start + at + 1)
                }
                None => return self.leave(source, cursor, start),
            }
        };
        if cursor.line_end(start).is_none() && end - start > OVERLAP {
            // The next piece does not contain the beginning of this line.
            let (at, track) = (cursor.offset(start), self.track_mut(source).0);
            track.next = at;
            track.long_line();
            if track.next > at {
                cursor.start = Some(start);
                return self.next(source, cursor, any);
            }
        }
        Some(self.take(source, cursor, start))
    }

    /// The stream has arrived up to this offset. A piece says so too, but no piece may follow the last
    /// escape sequence.
    pub(crate) fn arrived(&mut self, source: Source, offset: u64) {
        let (track, answers) = self.track_mut(source);
        track.arrived(offset, source, answers);
    }

    /// Reads the line at this position.
    fn take(&mut self, source: Source, cursor: &mut Cursor<'_, '_>, start: usize) -> Part {
        let end = cursor.piece.span.end;
        let place = |stop: usize, expected: super::Expected| Place {
            source,
            bare: expected.bare,
            printed: expected.on(source),
            before: cursor.before(start),
            start: cursor.offset(start),
            end: cursor.offset(stop + 1),
            arrived: cursor.piece.arrived,
            ended: stop < cursor.piece.bytes.len(),
        };
        let Some(stop) = cursor.line_end(start) else {
            // The end of the line is in the next piece, which begins with this line again.
            let offset = cursor.offset(start);
            self.track_mut(source).0.next = offset;
            cursor.start = None;
            return Part::Text(start..end);
        };
        let place = place(stop, self.expected);
        let (track, answers) = self.track_mut(source);
        track.next = place.end;
        let taken = track.line(&cursor.piece.bytes[start..stop], &place, answers);
        let next = track.next;
        if stop == end {
            track.leave(&cursor.piece.bytes[cursor.piece.span.clone()]);
        }
        // The end of a body may stand within the line.
        cursor.start = if next < place.end {
            Some(cursor.position(next, end))
        } else {
            (stop < end).then_some(stop + 1)
        };
        match taken {
            Taken::Block => Part::Block(start..stop),
            Taken::Text => Part::Text(start..stop),
            Taken::Body => Part::Body(start..cursor.position(next, stop)),
        }
    }

    /// Nothing more in this piece matters.
    fn leave(&mut self, source: Source, cursor: &mut Cursor<'_, '_>, start: usize) -> Option<Part> {
        let end = cursor.piece.span.end;
        let last = memchr::memrchr(b'\n', &cursor.piece.bytes[start..end]).map_or(start, |at| start + at + 1);
        let next = if cursor.piece.whole { end + 1 } else { last };
        let bare = self.expected.bare;
        let (track, _) = self.track_mut(source);
        track.next = track.next.max(cursor.offset(next));
        // On stdout, wget and curl announce a response only if a script sends stderr there.
        if cursor.piece.whole && (source != Source::Stdout || bare) {
            track.leave(&cursor.piece.bytes[cursor.piece.span.clone()]);
        }
        cursor.start = None;
        None
    }

    /// Reads the whole `--headers` file.
    pub(crate) fn read_file(&mut self, bytes: &[u8]) {
        let mut start = 0;
        while start < bytes.len() {
            let stop = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |length| start + length);
            let offset = |position: usize| u64::try_from(position).unwrap_or(u64::MAX);
            let place = Place {
                source: Source::HeadersFile,
                bare: self.expected.bare,
                printed: self.expected.on(Source::HeadersFile),
                before: None,
                start: offset(start),
                end: offset(stop + 1),
                arrived: offset(bytes.len()),
                ended: stop < bytes.len(),
            };
            let track = &mut self.headers_file;
            track.next = place.end;
            track.line(&bytes[start..stop], &place, &mut self.answers);
            start = usize::try_from(track.next).unwrap_or(bytes.len());
        }
    }
}
