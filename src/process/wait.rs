//! The one place that blocks: poll(2) on the signals, a timer, and what retry still has to say.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::clock::now;
use crate::error::{Doing as _, Error};
use crate::streams::descriptor::above_standard;
use crate::streams::messages::Messages;
use crate::streams::polled::Polled;
use crate::streams::stdin::Input;
use crate::streams::watch::Watch;

/// Longest single sleep. A timer of more is of no use to anybody and near the kernel's own limit.
const LONGEST: Duration = Duration::from_hours(8760);

/// The pause between two looks if poll(2) cannot be had.
const BREATH: Duration = Duration::from_millis(10);

/// Waits; owns the timer, which is made when first needed.
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    timer: Option<TimerFd>,
}

impl Waiter {
    /// Returns when a signal has arrived, the time `until` (since boot) has come, or for no reason; meanwhile
    /// passes on `messages` as stderr takes them. Also returns when something can be moved on a watched
    /// stream or of the command's input; moving it is the caller's.
    ///
    /// # Errors
    /// When poll(2) fails.
    pub(crate) fn wait(
        &mut self,
        signals: impl AsFd,
        messages: &mut Messages,
        watch: &mut Watch,
        input: &mut Input,
        until: Option<Duration>,
    ) -> Result<(), Error> {
        let mut clients: [&mut dyn Polled; 3] = [input, watch, messages];
        let until = clients.iter().filter_map(|client| client.wake_at()).chain(until).min();
        // Without a descriptor for the timer, poll's own clock serves: it only misses suspended time.
        let timed = until.is_none_or(|until| self.set(until).is_ok());
        let timeout = match until {
            Some(until) if !timed => until.saturating_sub(now()).min(Duration::from_mins(1)),
            _ => Duration::MAX,
        };
        let timer = self.timer.as_ref().filter(|_| until.is_some() && timed);
        let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(timer.map(|timer| PollFd::new(timer.as_fd(), PollFlags::POLLIN)));
        let first = fds.len();
        let mut counts = Vec::new();
        for client in &mut clients {
            let interests = client.interests();
            fds.extend(interests.iter().map(|interest| PollFd::new(interest.fd, interest.flags)));
            counts.push(interests.len());
        }
        // Rounded up: a wait may end late, not early.
        let timeout = match timeout {
            Duration::MAX => PollTimeout::NONE,
            time => PollTimeout::try_from(time + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX),
        };
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            // No memory, or more descriptors than the limit of now allows (poll(2)): the caller looks at all of
            // them a little later, as an attempt must not be left alone for that.
            Err(Errno::ENOMEM | Errno::EINVAL) => {
                let left = until.map_or(Duration::MAX, |until| until.saturating_sub(now()));
                std::thread::sleep(left.min(BREATH));
            }
            Err(errno) => return Err(errno).doing("cannot wait"),
        }
        let mut events: Vec<PollFlags> =
            fds[first..].iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty())).collect();
        for (client, count) in clients.into_iter().zip(counts) {
            let others = events.split_off(count);
            client.ready(&events);
            events = others;
        }
        Ok(())
    }

    /// Closes the timer: poll's own clock serves until it is opened again. Tells whether it was open.
    pub(crate) fn spare_descriptor(&mut self) -> bool {
        self.timer.take().is_some()
    }

    /// Sets the timer to a time since boot. Setting it also clears an expiration that nobody read.
    fn set(&mut self, until: Duration) -> Result<(), Error> {
        let timer = match self.timer.take() {
            Some(timer) => timer,
            None => above_standard(|| {
                TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)
            })
            .doing("cannot open a timer")?,
        };
        // A timer set to 0 is off (timerfd_settime(2)).
        let at = until.min(now().saturating_add(LONGEST)).max(Duration::from_nanos(1));
        timer
            .set(Expiration::OneShot(TimeSpec::from(at)), TimerSetTimeFlags::TFD_TIMER_ABSTIME)
            .doing("cannot set a timer")?;
        self.timer = Some(timer);
        Ok(())
    }
}

/// Whether whoever read this pipe, socket or terminal has gone. Does not wait.
pub(crate) fn reader_gone(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::empty())];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1))
        && fds[0].revents().is_some_and(|r| r.intersects(PollFlags::POLLERR | PollFlags::POLLHUP))
}
