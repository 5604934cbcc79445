//! What retry says on stderr, in a way that never stops it: a stderr that is closed, full or never read
//! costs the lines, not the run. What does not go out at once waits here and goes out when it can.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::polled::{Interest, Polled};
use super::sink::{ATOMIC, Sink};
use crate::policy::stream::Stream;

/// How much waits until further lines are dropped, in bytes; and as much again of the command's output.
const MOST: usize = 64 * 1024;

/// How long nothing may be taken of the last lines when the run is over, and how long that may last in all.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// The lines that wait, and the way to stderr.
#[derive(Debug)]
pub(crate) struct Messages {
    queue: VecDeque<Piece>,
    sink: Sink,
    /// Bytes of the command's are on their way to stderr, and go first.
    held: bool,
    /// The command has left its last line unfinished.
    unfinished: bool,
}

/// What waits.
#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    /// How much of it has gone out.
    written: usize,
    /// It is output of the command's: a line is worth more.
    shown: bool,
}

impl Piece {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }
}

impl Default for Messages {
    fn default() -> Self {
        Self { queue: VecDeque::new(), sink: Sink::new(Stream::Stderr), held: false, unfinished: false }
    }
}

impl Messages {
    /// Says a line. It ends without a newline; one is added.
    pub(crate) fn say(&mut self, line: &str) {
        if self.waiting(false) + line.len() < MOST {
            let bytes = [line.as_bytes(), b"\n"].concat();
            self.queue.push_back(Piece { bytes, written: 0, shown: false });
        }
        self.flush();
    }

    /// Shows output of the command's, the last [`MOST`] of it, and ends its last line. Where there is no room for
    /// it, what was to be shown first is not.
    pub(crate) fn show(&mut self, output: &[u8]) {
        let mut bytes = output.get(output.len().saturating_sub(MOST)..).unwrap_or_default().to_vec();
        if !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        while self.waiting(true) > 0 && self.waiting(true) + bytes.len() > MOST + 1 {
            // Not from the middle of a line.
            match self.queue.iter().position(|piece| piece.shown && piece.written == 0) {
                Some(oldest) => drop(self.queue.remove(oldest)),
                None => break,
            }
        }
        if self.waiting(true) + bytes.len() <= 2 * MOST + 2 {
            self.queue.push_back(Piece { bytes, written: 0, shown: true });
        }
        self.flush();
    }

    /// How much waits, in bytes: of output or of lines.
    fn waiting(&self, shown: bool) -> usize {
        self.queue.iter().filter(|piece| piece.shown == shown).map(|piece| piece.rest().len()).sum()
    }

    /// Whether something waits.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Holds the lines back behind bytes of the command's that are still on their way to stderr, or no more.
    pub(crate) fn hold(&mut self, hold: bool) {
        let released = self.held && !hold;
        self.held = hold;
        if released {
            self.flush();
        }
    }

    /// Closes a descriptor that messages can do without. Tells whether there was one.
    pub(crate) fn spare_descriptor(&mut self) -> bool {
        self.sink.spare_descriptor()
    }

    /// The command has left its last line on stderr `unfinished`, or not: the next line begins on a new one.
    pub(crate) fn continues(&mut self, unfinished: bool) {
        self.unfinished = unfinished;
    }

    /// stderr, if something waits for room on it.
    fn pending_on(&mut self) -> Option<BorrowedFd<'_>> {
        if self.queue.is_empty() || self.held { None } else { Some(self.sink.fd()) }
    }

    /// Passes on what waits, as far as stderr takes it now. Returns whether it took something.
    pub(crate) fn flush(&mut self) -> bool {
        let mut moved = false;
        while !self.held
            && let Some(piece) = self.queue.front_mut()
        {
            if self.unfinished && piece.written == 0 {
                match self.sink.write(b"\n") {
                    Ok(written) => self.unfinished = written == 0,
                    Err(Errno::EAGAIN) => return moved,
                    // The line itself meets the same.
                    Err(_) => self.unfinished = false,
                }
                continue;
            }
            // Whole lines, so that what the command writes meanwhile does not land inside one.
            let rest = piece.rest();
            let window = rest.get(..rest.len().min(ATOMIC)).unwrap_or_default();
            let end = window.iter().rposition(|b| *b == b'\n').map_or(window.len(), |i| i + 1);
            match self.sink.write(window.get(..end).unwrap_or_default()) {
                Ok(written) => {
                    moved |= written > 0;
                    piece.written += written;
                }
                Err(Errno::EAGAIN) => return moved,
                Err(_) => {
                    self.sink.give_up();
                    self.queue.clear();
                    return moved;
                }
            }
            if piece.rest().is_empty() {
                self.queue.pop_front();
            }
        }
        moved
    }

    /// Passes on what waits when the run is over, as long as it is taken.
    pub(crate) fn finish(&mut self, now: impl Fn() -> Duration) {
        let (pause, in_all) = PATIENCE;
        let start = now();
        let mut moved_at = start;
        self.held = false;
        loop {
            if self.flush() {
                moved_at = now();
            }
            let Some(fd) = self.pending_on() else { return };
            let end = moved_at.saturating_add(pause).min(start.saturating_add(in_all));
            let left = end.saturating_sub(now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            let mut fds = [PollFd::new(fd, PollFlags::POLLOUT)];
            if left.is_zero() || !matches!(poll(&mut fds, timeout), Ok(1) | Err(Errno::EINTR)) {
                return;
            }
        }
    }
}

impl Polled for Messages {
    fn interests(&mut self) -> Vec<Interest<'_>> {
        self.pending_on().map(|fd| Interest { fd, flags: PollFlags::POLLOUT }).into_iter().collect()
    }

    fn ready(&mut self, events: &[PollFlags]) {
        if events.iter().any(|events| !events.is_empty()) {
            self.flush();
        }
    }

    fn wake_at(&self) -> Option<Duration> {
        None
    }
}
