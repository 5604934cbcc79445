//! The renewal of a lease, as a source of events for the one place that waits.

use std::time::Duration;

use nix::poll::PollFlags;

use crate::state::participant::Participant;
use crate::state::redis::renewal::Renewal;
use crate::streams::polled::{Interest, Polled};

/// The lease that an attempt holds in a server.
#[derive(Debug)]
pub(super) struct Renewing(Renewal);

impl Renewing {
    /// The lease of the attempt that comes. None if there is none that must be renewed.
    pub(super) fn of(shared: Option<&Participant>) -> Option<Self> {
        shared?.renewal().map(Self)
    }

    pub(super) fn polled(&mut self) -> &mut dyn Polled {
        self
    }
}

impl Polled for Renewing {
    fn interests(&mut self) -> Vec<Interest<'_>> {
        let interest = |fd| Interest { fd, flags: PollFlags::POLLIN };
        self.0.fd().map(interest).into_iter().collect()
    }

    fn ready(&mut self, events: &[PollFlags]) {
        self.0.go_on(events.iter().any(|events| !events.is_empty()));
    }

    fn wake_at(&self) -> Option<Duration> {
        self.0.wake_at()
    }
}
