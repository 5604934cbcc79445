//! What retry says on stderr, in a way that never stops it: a stderr that is closed, full or never read
//! costs the lines, not the run. What does not go out at once waits here and goes out when it can.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::sink::{ATOMIC, Sink, Stream};

/// How much waits until further lines are dropped, in bytes.
const MOST: usize = 64 * 1024;

/// How long the last lines may take when the run is over.
const PATIENCE: Duration = Duration::from_secs(1);

/// The lines that wait, and the way to stderr.
#[derive(Debug)]
pub(crate) struct Messages {
    queue: Vec<u8>,
    sink: Sink,
    /// Bytes of the command's are on their way to stderr, and go first.
    held: bool,
}

impl Default for Messages {
    fn default() -> Self {
        Self { queue: Vec::new(), sink: Sink::new(Stream::Stderr), held: false }
    }
}

impl Messages {
    /// Says a line. It ends without a newline; one is added.
    pub(crate) fn say(&mut self, line: &str) {
        if self.queue.len() + line.len() < MOST {
            self.queue.extend_from_slice(line.as_bytes());
            self.queue.push(b'\n');
        }
        self.flush();
    }

    /// Shows output of the command's, up to [`MOST`] of it, and ends its last line.
    pub(crate) fn show(&mut self, output: &[u8]) {
        if self.queue.len() < MOST {
            self.queue.extend_from_slice(output.get(..output.len().min(MOST)).unwrap_or_default());
            if !output.ends_with(b"\n") {
                self.queue.push(b'\n');
            }
        }
        self.flush();
    }

    /// Holds the lines back behind bytes of the command's that are still on their way to stderr, or no more.
    pub(crate) fn hold(&mut self, hold: bool) {
        let released = self.held && !hold;
        self.held = hold;
        if released {
            self.flush();
        }
    }

    /// stderr, where something waits for room on it.
    pub(crate) fn pending_on(&mut self) -> Option<BorrowedFd<'_>> {
        if self.queue.is_empty() || self.held { None } else { Some(self.sink.fd()) }
    }

    /// Passes on what waits, as far as stderr takes it now.
    pub(crate) fn flush(&mut self) {
        if self.held {
            return;
        }
        while !self.queue.is_empty() {
            // Whole lines, so that what the command writes meanwhile does not land inside one.
            let window = &self.queue[..self.queue.len().min(ATOMIC)];
            let end = window.iter().rposition(|b| *b == b'\n').map_or(window.len(), |i| i + 1);
            match self.sink.write(&self.queue[..end]) {
                Ok(written) => drop(self.queue.drain(..written)),
                Err(Errno::EAGAIN) => return,
                Err(_) => {
                    self.sink.give_up();
                    self.queue.clear();
                }
            }
        }
    }

    /// Passes on what waits when the run is over; gives up after a second.
    pub(crate) fn finish(&mut self, now: impl Fn() -> Duration) {
        let end = now() + PATIENCE;
        self.held = false;
        loop {
            self.flush();
            let Some(fd) = self.pending_on() else { return };
            let left = end.saturating_sub(now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            let mut fds = [PollFd::new(fd, PollFlags::POLLOUT)];
            if left.is_zero() || !matches!(poll(&mut fds, timeout), Ok(1) | Err(Errno::EINTR)) {
                return;
            }
        }
    }
}
