//! The one place that blocks: poll(2) on all sources of events.
//!
//! A source, which is [`Polled`], says which descriptors it waits for and when it has to be woken,
//! and is told what happened. The [`Poller`] knows no source. Moving bytes and reading signals is
//! left to the caller, which knows their order.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::signal::stream::SignalStream;
use crate::clock::now;
use crate::error::{Doing as _, Error};
use crate::streams::descriptor::above_standard;
use crate::streams::polled::{Interest, Polled};

/// Longest single sleep. Nobody needs a longer one, and the kernel's own limit is near.
const LONGEST_SLEEP: Duration = Duration::from_hours(8760);

/// Longest sleep without a timer. poll(2) uses a clock that stops while the machine is suspended.
const LONGEST_WITHOUT_TIMER: Duration = Duration::from_mins(1);

/// Sleep in place of poll(2) while the system refuses it.
const WITHOUT_POLL: Duration = Duration::from_millis(10);

/// Waits for sources. It owns the timer, and opens it when it is first needed.
#[derive(Debug, Default)]
pub(super) struct Poller {
    timer: Option<TimerFd>,
}

impl Poller {
    /// Waits until a source is ready or has to be woken, or until the time `until` since boot. It
    /// may return earlier for no reason.
    ///
    /// # Errors
    /// If poll(2) fails.
    pub(super) fn wait(
        &mut self,
        sources: &mut [&mut dyn Polled],
        until: Option<Duration>,
    ) -> Result<(), Error> {
        let now = now();
        let wakes = sources.iter().filter_map(|source| source.wake_at());
        let until = wakes.chain(until).min();
        let timeout = until.map_or(PollTimeout::NONE, |until| self.set(until, now));
        let events = self.poll(sources, timeout, until)?;
        for (source, events) in sources.iter_mut().zip(&events) {
            source.ready(events);
        }
        Ok(())
    }

    /// Makes the next poll(2) end at `until`. Returns a timeout for it in case there is no
    /// descriptor for the timer.
    fn set(&mut self, until: Duration, now: Duration) -> PollTimeout {
        if self.set_timer(until, now).is_ok() {
            return PollTimeout::NONE;
        }
        let timeout = until.saturating_sub(now).min(LONGEST_WITHOUT_TIMER);
        // Rounded up: a wait may end late, but not early.
        PollTimeout::try_from(timeout + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
    }

    /// Setting the timer also clears an expiration that nobody has read. If it fails, the timer is
    /// closed.
    fn set_timer(&mut self, until: Duration, now: Duration) -> nix::Result<()> {
        let open =
            || TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK);
        let timer = match self.timer.take() {
            Some(timer) => timer,
            None => above_standard(open)?,
        };
        // Zero would turn the timer off (timerfd_settime(2)).
        let at = until.min(now.saturating_add(LONGEST_SLEEP)).max(Duration::from_nanos(1));
        timer.set(Expiration::OneShot(TimeSpec::from(at)), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        self.timer = Some(timer);
        Ok(())
    }

    /// Returns the events of each source.
    fn poll(
        &self,
        sources: &mut [&mut dyn Polled],
        timeout: PollTimeout,
        until: Option<Duration>,
    ) -> Result<Vec<Vec<PollFlags>>, Error> {
        let timer = self.timer.as_ref().filter(|_| until.is_some());
        let mut fds: Vec<PollFd<'_>> =
            timer.map(|timer| PollFd::new(timer.as_fd(), PollFlags::POLLIN)).into_iter().collect();
        let mut counts = Vec::with_capacity(sources.len());
        let first = fds.len();
        for source in sources.iter_mut() {
            let interests = source.interests();
            counts.push(interests.len());
            fds.extend(interests.iter().map(|interest| PollFd::new(interest.fd, interest.flags)));
        }
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            // There is no memory, or there are more descriptors than the present limit allows
            // (poll(2)). The attempt must not be left alone, so the caller looks at everything a
            // little later.
            Err(Errno::ENOMEM | Errno::EINVAL) => {
                let left = until.map_or(Duration::MAX, |until| until.saturating_sub(now()));
                std::thread::sleep(left.min(WITHOUT_POLL));
            }
            Err(errno) => return Err(errno).doing("cannot wait"),
        }
        let mut events = fds.iter().skip(first).map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        Ok(counts.into_iter().map(|count| events.by_ref().take(count).collect()).collect())
    }

    /// Closes the timer until it is needed again. Returns whether it was open.
    pub(super) fn spare_descriptor(&mut self) -> bool {
        self.timer.take().is_some()
    }
}

impl Polled for SignalStream {
    fn interests(&mut self) -> Vec<Interest<'_>> {
        vec![Interest { fd: (*self).as_fd(), flags: PollFlags::POLLIN }]
    }

    /// The caller reads the signals.
    fn ready(&mut self, _events: &[PollFlags]) {}

    fn wake_at(&self) -> Option<Duration> {
        None
    }
}

/// Whether the reader of this pipe, socket or terminal is gone. Does not wait.
pub(super) fn reader_gone(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::empty())];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1))
        && fds[0].revents().is_some_and(|events| events.intersects(PollFlags::POLLERR | PollFlags::POLLHUP))
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use nix::unistd::{pipe, write};

    use super::*;

    struct Pipe {
        fd: OwnedFd,
        wake_at: Option<Duration>,
        events: Vec<PollFlags>,
    }

    impl Polled for Pipe {
        fn interests(&mut self) -> Vec<Interest<'_>> {
            vec![Interest { fd: self.fd.as_fd(), flags: PollFlags::POLLIN }; 2]
        }

        fn ready(&mut self, events: &[PollFlags]) {
            self.events = events.to_vec();
        }

        fn wake_at(&self) -> Option<Duration> {
            self.wake_at
        }
    }

    #[test]
    fn each_source_gets_its_own_events_and_the_earliest_time_wakes_all() {
        let ((quiet, _keep), (busy, writer)) = (pipe().unwrap(), pipe().unwrap());
        let mut quiet = Pipe { fd: quiet, wake_at: None, events: Vec::new() };
        let mut busy = Pipe { fd: busy, wake_at: None, events: Vec::new() };
        write(&writer, b"x").unwrap();
        let mut poller = Poller::default();
        poller.wait(&mut [&mut quiet, &mut busy], None).unwrap();
        assert_eq!(quiet.events, [PollFlags::empty(); 2]);
        assert_eq!(busy.events, [PollFlags::POLLIN; 2]);

        for (source, caller) in [(1, 1_000_000), (1_000_000, 1)] {
            let from = now();
            quiet.wake_at = Some(from + Duration::from_millis(source));
            poller.wait(&mut [&mut quiet], Some(from + Duration::from_millis(caller))).unwrap();
            assert!(now() >= from + Duration::from_millis(1));
        }
        assert!(poller.spare_descriptor());
        assert!(!poller.spare_descriptor());
    }
}
