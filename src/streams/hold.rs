//! `--hold`: the output of an attempt, its stdout or both streams, is kept until the verdict is
//! known. The output of the attempt that succeeds is passed on, whole and once, each stream where
//! it belongs. Of a failed attempt only the end is wanted, for stderr.

use std::fs::File;
use std::io;

use nix::errno::Errno;

use super::order::Order;
use super::sink::Sink;
use super::spool::{NotKept, Spool};
use crate::error::errno;
use crate::policy::stream::{PerStream, Stream, Streams};

/// How many bytes of a failed attempt are shown.
const SHOWN: usize = 64 * 1024;

/// How many bytes are passed on at a time.
const PART: usize = 64 * 1024;

/// How many parts are passed on before the caller looks at signals and the clock again.
const ROUNDS: usize = 16;

/// The output of one attempt.
#[derive(Debug)]
pub(crate) struct Hold {
    streams: Streams,
    spool: Spool,
    /// The streams of the bytes in the spool.
    order: Order,
    /// How many bytes came for each stream, with those that could not be kept.
    lengths: PerStream<u64>,
    state: State,
    readers: PerStream<Reader>,
    part: Vec<u8>,
}

/// Whether a stream takes bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Reader {
    #[default]
    Present,
    /// Nobody reads the stream any more.
    Gone,
    /// The stream could not be written. It gets no more, so that nothing is missing in the middle.
    Failed,
}

#[derive(Debug, Default)]
enum State {
    /// The spool has all bytes.
    #[default]
    Whole,
    /// The spool failed, for this reason. Only the last bytes are kept.
    End { bytes: Vec<u8>, why: NotKept },
    /// The spool has all bytes, and some have been passed on.
    Released(Passed),
}

/// How far released bytes have been passed on.
#[derive(Debug, Default)]
struct Passed {
    bytes: u64,
    /// The number of the run that comes next.
    run: u64,
    /// A stream that nobody reads any more, and for which there were bytes.
    lost: Option<Stream>,
}

/// The output of a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldBack {
    /// The streams that it was for.
    pub(crate) streams: Streams,
    /// How many bytes the attempt wrote.
    pub(crate) length: u64,
    /// The last of them, at most 64 KiB.
    pub(crate) end: Vec<u8>,
}

impl Hold {
    /// Keeps what is for these streams.
    pub(crate) fn new(streams: Streams) -> Self {
        Self {
            streams,
            spool: Spool::default(),
            order: Order::default(),
            lengths: PerStream::default(),
            state: State::default(),
            readers: PerStream::default(),
            part: Vec::new(),
        }
    }

    /// Forgets all bytes.
    pub(crate) fn clear(&mut self) {
        *self = Self { readers: self.readers, ..Self::new(self.streams) };
    }

    /// Keeps bytes for a stream.
    pub(crate) fn push(&mut self, stream: Stream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.lengths[stream] = self.lengths[stream].saturating_add(length);
        match &mut self.state {
            State::Whole | State::Released(_) => {
                let kept = self.order.push(stream, self.spool.length());
                if let Err(why) = kept.and_then(|()| self.spool.push(bytes)) {
                    self.keep_only_the_end(why);
                    self.push_to_end(bytes);
                }
            }
            State::End { .. } => self.push_to_end(bytes),
        }
    }

    /// How many bytes came.
    pub(crate) fn length(&self) -> u64 {
        self.lengths.stdout.saturating_add(self.lengths.stderr)
    }

    fn keep_only_the_end(&mut self, why: NotKept) {
        self.state = State::End { bytes: self.end_of_spool(), why };
        (self.spool, self.order) = (Spool::default(), Order::default());
    }

    fn push_to_end(&mut self, bytes: &[u8]) {
        let State::End { bytes: end, .. } = &mut self.state else { return };
        end.extend_from_slice(bytes);
        let over = end.len().saturating_sub(SHOWN);
        // To move the bytes for each push would take too long.
        if over >= SHOWN {
            drop(end.drain(..over));
        }
    }

    /// The last bytes for all streams.
    fn end_of_spool(&self) -> Vec<u8> {
        let end = self.spool.length();
        self.read(end.saturating_sub(u64::try_from(SHOWN).unwrap_or(0)), end)
    }

    /// The last bytes for one stream, from the last run to the first.
    fn end_of(&self, stream: Stream) -> Vec<u8> {
        let mut parts = Vec::new();
        let mut missing = u64::try_from(SHOWN).unwrap_or(0);
        let mut end = self.spool.length();
        for number in (0..=self.order.ended()).rev() {
            // After an error, the bytes so far are the best to show.
            let Ok(run) = self.order.run(number) else { break };
            let before = number.checked_sub(1).map(|before| self.order.run(before));
            let begin = before.and_then(|run| run.ok()?.end).unwrap_or(0);
            if run.stream == stream && missing > 0 {
                let from = begin.max(end.saturating_sub(missing));
                missing -= end - from;
                parts.push(self.read(from, end));
            }
            end = begin;
        }
        parts.reverse();
        parts.concat()
    }

    /// The bytes between two positions.
    fn read(&self, mut position: u64, end: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(position)).unwrap_or(0)];
        let mut filled = 0;
        while let Some(part) = bytes.get_mut(filled..).filter(|part| !part.is_empty()) {
            match self.spool.read_at(position, part) {
                // After an error, the bytes so far are the best to show.
                Ok(0) | Err(_) => break,
                Ok(length) => {
                    filled += length;
                    position += u64::try_from(length).unwrap_or(0);
                }
            }
        }
        bytes.truncate(filled);
        bytes
    }

    /// The attempt has failed. Returns its output, if there is any: the output for those streams
    /// that somebody still reads. Nothing is kept any more.
    pub(crate) fn reject(&mut self) -> Option<HeldBack> {
        let is_read =
            |stream: Stream| self.streams.contains(stream) && self.readers[stream] == Reader::Present;
        let state = std::mem::take(&mut self.state);
        let alone = |stream: Stream| (Streams::from(stream), self.lengths[stream], self.end_of(stream));
        let (streams, length, mut end) = match (state, is_read(Stream::Stdout), is_read(Stream::Stderr)) {
            (_, false, false) => (self.streams, 0, Vec::new()),
            // Nobody knows any more which stream the bytes were for.
            (State::End { bytes, .. }, ..) => (self.streams, self.length(), bytes),
            (State::Whole | State::Released(_), false, true) => alone(Stream::Stderr),
            (State::Whole | State::Released(_), true, false) => alone(Stream::Stdout),
            (State::Whole | State::Released(_), true, true) => {
                (self.streams, self.length(), self.end_of_spool())
            }
        };
        self.clear();
        drop(end.drain(..end.len().saturating_sub(SHOWN)));
        (length > 0).then_some(HeldBack { streams, length, end })
    }

    /// The attempt has succeeded. Its output may be passed on.
    ///
    /// # Errors
    /// If not all of it could be kept.
    pub(crate) fn release(&mut self) -> Result<(), NotKept> {
        match std::mem::take(&mut self.state) {
            State::End { why, .. } => {
                self.clear();
                Err(why)
            }
            State::Whole | State::Released(_) => {
                self.state = State::Released(Passed::default());
                Ok(())
            }
        }
    }

    /// The first `length` bytes of a file take the place of output for stdout that was released.
    pub(crate) fn release_file(&mut self, file: File, length: u64) {
        self.clear();
        self.spool = Spool::of(file, length);
        self.state = State::Released(Passed::default());
    }

    /// Hands all bytes for a stream to `take`, in their order and in parts.
    ///
    /// # Errors
    /// The errors of `take`, and those of pread(2).
    pub(crate) fn copy(
        &self,
        stream: Stream,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut part = vec![0; PART];
        let mut position = 0;
        for number in 0..=self.order.ended() {
            let run = self.order.run(number)?;
            let end = run.end.unwrap_or(self.spool.length());
            while run.stream == stream && position < end {
                let most = usize::try_from(end - position).unwrap_or(PART).min(PART);
                let length = self.spool.read_at(position, part.get_mut(..most).unwrap_or_default())?;
                if length == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                take(part.get(..length).unwrap_or_default())?;
                position += u64::try_from(length).unwrap_or(0);
            }
            position = end;
        }
        Ok(())
    }

    /// How many bytes are still to be passed on.
    pub(crate) fn left(&self) -> u64 {
        match &self.state {
            State::Released(passed) => self.spool.length().saturating_sub(passed.bytes),
            State::Whole | State::End { .. } => 0,
        }
    }

    /// The stream of the bytes that are passed on next. None if there are none.
    pub(crate) fn next(&self) -> Option<Stream> {
        match &self.state {
            State::Released(passed) if self.left() > 0 => {
                let run = self.order.run(passed.run);
                Some(run.map_or(Stream::Stdout, |run| run.stream))
            }
            State::Released(_) | State::Whole | State::End { .. } => None,
        }
    }

    /// Passes on as much as there is room for, up to bytes for a stream that is `blocked`. Bytes
    /// for a stream without a reader are lost.
    ///
    /// # Errors
    /// If a stream takes nothing any more although somebody may read it, or the bytes cannot be
    /// read back. The bytes for the other stream are passed on all the same.
    pub(crate) fn pass(
        &mut self,
        sinks: &mut PerStream<Sink>,
        blocked: PerStream<bool>,
    ) -> Result<(), (Stream, Errno)> {
        let length = self.spool.length();
        for _ in 0..ROUNDS {
            let State::Released(passed) = &mut self.state else { return Ok(()) };
            if passed.bytes >= length {
                return Ok(());
            }
            let run = match self.order.run(passed.run) {
                Ok(run) => run,
                Err(error) => return Err(self.unreadable(Stream::Stdout, errno(&error))),
            };
            let (stream, end) = (run.stream, run.end.unwrap_or(length));
            if passed.bytes >= end {
                passed.run += 1;
                continue;
            }
            let reader = self.readers[stream];
            if reader == Reader::Gone {
                passed.lost.get_or_insert(stream);
            }
            if reader != Reader::Present {
                passed.bytes = end;
                continue;
            }
            if blocked[stream] {
                return Ok(());
            }
            self.part.resize(PART.min(usize::try_from(end - passed.bytes).unwrap_or(PART)), 0);
            let length = match self.spool.read_at(passed.bytes, &mut self.part) {
                Err(error) => return Err(self.unreadable(stream, errno(&error))),
                // The file has become shorter.
                Ok(0) => return Err(self.unreadable(stream, Errno::EIO)),
                Ok(length) => length,
            };
            match sinks[stream].write(self.part.get(..length).unwrap_or_default()) {
                Ok(written) => passed.bytes += u64::try_from(written).unwrap_or(0),
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EPIPE | Errno::ECONNRESET) => self.readers[stream] = Reader::Gone,
                Err(errno) => {
                    self.readers[stream] = Reader::Failed;
                    return Err((stream, errno));
                }
            }
        }
        Ok(())
    }

    /// The bytes cannot be read back, so no more of them can be passed on.
    fn unreadable(&mut self, stream: Stream, errno: Errno) -> (Stream, Errno) {
        self.readers = PerStream::each(|_| Reader::Failed);
        if let State::Released(passed) = &mut self.state {
            passed.bytes = self.spool.length();
        }
        (stream, errno)
    }

    /// Nobody reads the stream any more.
    pub(crate) fn reader_gone(&mut self, stream: Stream) {
        self.readers[stream] = Reader::Gone;
    }

    /// A stream whose released bytes reached nobody, when all others have been passed on.
    pub(crate) fn lost(&self) -> Option<Stream> {
        match &self.state {
            State::Released(passed) if self.left() == 0 => passed.lost,
            State::Released(_) | State::Whole | State::End { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use Stream::{Stderr, Stdout};

    use super::*;

    fn not_kept() -> NotKept {
        NotKept { directory: "x".into(), errno: Errno::ENOSPC }
    }

    fn held_back(streams: Streams, length: u64, end: &[u8]) -> HeldBack {
        HeldBack { streams, length, end: end.to_vec() }
    }

    #[test]
    fn of_a_failed_attempt_the_end_is_left() {
        let mut hold = Hold::new(Streams::Stdout);
        assert_eq!(hold.reject(), None);
        hold.push(Stdout, b"a");
        hold.push(Stdout, b"b\n");
        assert_eq!(hold.reject(), Some(held_back(Streams::Stdout, 3, b"ab\n")));
        let bytes: Vec<u8> = (0..2_500_000u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        for (size, fails) in [(1000, false), (1000, true), (100_000, true)] {
            hold.clear();
            for (n, part) in bytes.chunks(size).enumerate() {
                if fails && n == 3 {
                    hold.keep_only_the_end(not_kept());
                }
                hold.push(Stdout, part);
            }
            let HeldBack { length, end, .. } = hold.reject().unwrap();
            assert_eq!(length, 2_500_000);
            assert!(end == bytes[2_500_000 - SHOWN..], "{size} {fails}");
            assert_eq!(hold.reject(), None);
        }
    }

    #[test]
    fn only_output_with_a_reader_is_left_of_a_failed_attempt() {
        let filled = || {
            let mut hold = Hold::new(Streams::Both);
            for (stream, text) in [(Stdout, "a"), (Stderr, "b"), (Stdout, "cd"), (Stderr, "e"), (Stderr, "f")]
            {
                hold.push(stream, text.as_bytes());
            }
            hold
        };
        assert_eq!(filled().reject(), Some(held_back(Streams::Both, 6, b"abcdef")));
        for (gone, streams, end) in [(Stdout, Streams::Stderr, "bef"), (Stderr, Streams::Stdout, "acd")] {
            let mut hold = filled();
            hold.reader_gone(gone);
            assert_eq!(hold.reject(), Some(held_back(streams, 3, end.as_bytes())), "{gone:?}");
        }
        let mut hold = filled();
        hold.reader_gone(Stdout);
        hold.reader_gone(Stderr);
        assert_eq!(hold.reject(), None);
        // The end of one stream is cut as the end of both is.
        let mut hold = Hold::new(Streams::Both);
        for n in 0..40u8 {
            hold.push(Stdout, b"x");
            hold.push(Stderr, &[n; 3000]);
        }
        hold.reader_gone(Stdout);
        let HeldBack { length, end, .. } = hold.reject().unwrap();
        let all: Vec<u8> = (0..40u8).flat_map(|n| [n; 3000]).collect();
        assert_eq!(length, 120_000);
        assert!(end == all[120_000 - SHOWN..]);
    }

    #[test]
    fn the_bytes_of_one_stream_are_copied_without_those_between() {
        let mut hold = Hold::new(Streams::Both);
        let copied = |hold: &Hold, stream| {
            let mut bytes = Vec::new();
            hold.copy(stream, |part| {
                bytes.extend_from_slice(part);
                Ok(())
            })
            .unwrap();
            bytes
        };
        assert!(copied(&hold, Stdout).is_empty());
        let mut expected = PerStream::<Vec<u8>>::default();
        for n in 0..40u8 {
            for (stream, length) in [(Stdout, 30_000), (Stderr, 7), (Stderr, 1)] {
                let bytes = vec![n; length];
                hold.push(stream, &bytes);
                expected[stream].extend(bytes);
            }
        }
        hold.release().unwrap();
        for stream in [Stdout, Stderr] {
            assert!(copied(&hold, stream) == expected[stream], "{stream:?}");
        }
        let failed = hold.copy(Stdout, |_| Err(io::ErrorKind::StorageFull.into()));
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_file_is_passed_on_in_place_of_output() {
        let mut hold = Hold::new(Streams::Both);
        hold.push(Stderr, b"old");
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, b"answer, and more").unwrap();
        hold.release_file(file, 6);
        assert_eq!((hold.left(), hold.next(), hold.lost()), (6, Some(Stdout), None));
        hold.release_file(tempfile::tempfile().unwrap(), 0);
        assert_eq!((hold.left(), hold.next(), hold.lost()), (0, None, None));
    }

    #[test]
    fn only_whole_output_is_released() {
        let mut hold = Hold::new(Streams::Both);
        hold.push(Stderr, b"abc");
        assert_eq!((hold.left(), hold.next()), (0, None));
        assert_eq!(hold.release(), Ok(()));
        assert_eq!((hold.left(), hold.next(), hold.lost()), (3, Some(Stderr), None));
        hold.reader_gone(Stderr);
        let mut sinks = PerStream::each(Sink::new);
        assert_eq!(hold.pass(&mut sinks, PerStream::default()), Ok(()));
        assert_eq!((hold.left(), hold.lost()), (0, Some(Stderr)));
        hold.clear();
        hold.push(Stdout, b"abc");
        hold.keep_only_the_end(not_kept());
        assert_eq!((hold.release(), hold.left()), (Err(not_kept()), 0));
        assert_eq!(hold.reject(), None);
    }
}
