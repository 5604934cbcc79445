//! The lines of retry itself on stderr.
//!
//! They never stop the run: if stderr is closed, full or never read, the lines are lost. Lines for
//! which there is no room now wait here. The [`countdown`](super::countdown) stands below the lines.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::countdown::{Countdown, Place};
use super::polled::{Interest, Polled};
use super::sink::{ATOMIC, Sink};
use crate::clock::now;
use crate::policy::stream::Stream;

/// The most bytes of lines that wait. Further lines are dropped. As many bytes of the command's
/// output may wait too.
const MOST: usize = 64 * 1024;

/// When the run is over: how long a reader may take none of the last lines.
const READER_PATIENCE: Duration = Duration::from_secs(1);

/// When the run is over: how long it may take to write the last lines.
const LONGEST_FINISH: Duration = Duration::from_secs(10);

/// The lines that wait, and the way to stderr.
#[derive(Debug)]
pub(crate) struct Messages {
    queue: VecDeque<Piece>,
    sink: Sink,
    /// Bytes of the command are on their way to stderr, and go first.
    held: bool,
    /// The last line of the command on stderr is unfinished.
    unfinished: bool,
    countdown: Place,
}

/// Bytes that wait.
#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    /// How many of the bytes have been written.
    written: usize,
    kind: PieceKind,
}

/// Whose bytes they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PieceKind {
    /// A line of retry's own.
    Line,
    /// Output of the command. It is dropped before a line is.
    Output,
}

impl Piece {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }
}

impl Default for Messages {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            sink: Sink::new(Stream::Stderr),
            held: false,
            unfinished: false,
            countdown: Place::default(),
        }
    }
}

impl Messages {
    /// Says a line, and adds a newline.
    pub(crate) fn say(&mut self, line: &str) {
        if self.waiting(PieceKind::Line) + line.len() < MOST {
            let bytes = [line.as_bytes(), b"\n"].concat();
            self.queue.push_back(Piece { bytes, written: 0, kind: PieceKind::Line });
        }
        self.flush();
    }

    /// Shows the last [`MOST`] bytes of the command's output, and ends the last line. If there is
    /// no room, earlier output is dropped.
    pub(crate) fn show(&mut self, output: &[u8]) {
        let mut bytes = output.get(output.len().saturating_sub(MOST)..).unwrap_or_default().to_vec();
        if !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        while self.waiting(PieceKind::Output) > 0 && self.waiting(PieceKind::Output) + bytes.len() > MOST + 1
        {
            // Output that has been written in part is not dropped in the middle of a line.
            match self.queue.iter().position(|piece| piece.kind == PieceKind::Output && piece.written == 0) {
                Some(oldest) => drop(self.queue.remove(oldest)),
                None => break,
            }
        }
        if self.waiting(PieceKind::Output) + bytes.len() <= 2 * MOST + 2 {
            self.queue.push_back(Piece { bytes, written: 0, kind: PieceKind::Output });
        }
        self.flush();
    }

    /// Counts down on the terminal until [`end_countdown`](Self::end_countdown).
    pub(crate) fn count_down(&mut self, countdown: Countdown) {
        self.countdown.begin(countdown);
    }

    pub(crate) fn end_countdown(&mut self) {
        self.countdown.end();
        self.erase();
    }

    /// Whether the countdown is on the terminal now.
    pub(crate) fn is_counting(&self) -> bool {
        self.countdown.is_drawn
    }

    /// Erases the countdown, because something else goes to the terminal. It comes back a little
    /// later.
    pub(crate) fn make_way(&mut self) {
        self.erase();
        self.countdown.draw_later(now());
    }

    /// Somebody has continued retry after a stop, or the terminal has another size. The countdown
    /// comes back at once.
    pub(crate) fn redraw_countdown(&mut self) {
        self.countdown.draw_soon();
    }

    fn erase(&mut self) {
        if !self.countdown.erase(&mut self.sink) {
            // The next message begins on a new line.
            self.unfinished = true;
        }
    }

    /// How many bytes of this kind wait.
    fn waiting(&self, kind: PieceKind) -> usize {
        self.queue.iter().filter(|piece| piece.kind == kind).map(|piece| piece.rest().len()).sum()
    }

    /// Whether bytes wait.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Holds the lines back while bytes of the command are on their way to stderr.
    pub(crate) fn hold(&mut self, hold: bool) {
        let released = self.held && !hold;
        self.held = hold;
        if released {
            self.flush();
        }
    }

    /// Closes a descriptor that messages can do without. Returns whether there was one.
    pub(crate) fn spare_descriptor(&mut self) -> bool {
        self.sink.spare_descriptor()
    }

    /// Notes whether the last line of the command on stderr is unfinished. If it is, the next
    /// message begins with a newline.
    pub(crate) fn continues(&mut self, unfinished: bool) {
        self.unfinished = unfinished;
    }

    /// The descriptor of stderr, if bytes wait for room.
    fn pending_on(&mut self) -> Option<BorrowedFd<'_>> {
        if self.queue.is_empty() || self.held { None } else { Some(self.sink.fd()) }
    }

    /// Writes as much as stderr takes now. Returns whether it took anything.
    pub(crate) fn flush(&mut self) -> bool {
        let mut moved = false;
        if self.countdown.is_drawn && !self.held && !self.queue.is_empty() {
            self.erase();
            self.countdown.draw_soon();
        }
        while !self.held
            && let Some(piece) = self.queue.front_mut()
        {
            if self.unfinished && piece.written == 0 {
                match self.sink.write(b"\n") {
                    Ok(written) => self.unfinished = written == 0,
                    Err(Errno::EAGAIN) => return moved,
                    // The line itself meets the same error.
                    Err(_) => self.unfinished = false,
                }
                continue;
            }
            // Whole lines, so that the command does not write in the middle of a line.
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

    /// Writes the lines that wait when the run is over, while the reader takes them.
    pub(crate) fn finish(&mut self, now: impl Fn() -> Duration) {
        let start = now();
        let mut moved_at = start;
        self.held = false;
        loop {
            if self.flush() {
                moved_at = now();
            }
            let Some(fd) = self.pending_on() else { return };
            let end = moved_at.saturating_add(READER_PATIENCE).min(start.saturating_add(LONGEST_FINISH));
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
        if self.countdown.draw_at().is_some() {
            let is_free = !self.held && !self.unfinished && self.queue.is_empty();
            self.countdown.draw(now(), is_free, &mut self.sink);
        }
    }

    fn wake_at(&self) -> Option<Duration> {
        self.countdown.draw_at()
    }
}
