//! The shape of everything that waits for a descriptor or for a time.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::poll::PollFlags;

/// A descriptor to watch with poll(2).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interest<'a> {
    pub(crate) fd: BorrowedFd<'a>,
    /// The events to wait for. Without any, poll(2) still reports that the other side has gone.
    pub(crate) flags: PollFlags,
}

/// A client of the one place that waits.
pub(crate) trait Polled {
    /// The descriptors to watch until the next call.
    fn interests(&mut self) -> Vec<Interest<'_>>;

    /// Reports the events (`revents`) of all interests, in the order of the last
    /// [`interests`](Self::interests).
    fn ready(&mut self, events: &[PollFlags]);

    /// When the client has work to do although nothing happens, as a time since boot.
    fn wake_at(&self) -> Option<Duration>;
}

/// No source, or one. A source that is not there waits for nothing.
impl Polled for Option<&mut dyn Polled> {
    fn interests(&mut self) -> Vec<Interest<'_>> {
        self.as_mut().map_or_else(Vec::new, |source| source.interests())
    }

    fn ready(&mut self, events: &[PollFlags]) {
        if let Some(source) = self {
            source.ready(events);
        }
    }

    fn wake_at(&self) -> Option<Duration> {
        self.as_ref().and_then(|source| source.wake_at())
    }
}

/// The same source, for a while.
pub(crate) fn lent<'a>(source: &'a mut Option<&mut dyn Polled>) -> Option<&'a mut dyn Polled> {
    match source {
        Some(source) => Some(&mut **source),
        None => None,
    }
}

/// Whether the events say that the other side has gone.
pub(crate) fn has_gone(events: PollFlags) -> bool {
    events.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL)
}
