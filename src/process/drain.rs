//! The end of a run: passes on the output of its commands that is still on its way.

use std::time::Duration;

use nix::errno::Errno;

use super::notice::Observer;
use super::pump::Pump;
use super::signal::disposition::is_ignored;
use crate::clock::now;
use crate::error::{Doing as _, Error};
use crate::policy::signal::Signal;
use crate::policy::stream::Stream;

/// A reader of watched streams may pause for this time.
const READER_PATIENCE: Duration = Duration::from_secs(1);

/// A reader that does not pause may take until this long after the deadline.
const PAST_DEADLINE: Duration = Duration::from_secs(10);

/// Passes on the output until all is passed on, a reader pauses for too long, or a signal comes.
/// Output that was held may take until the deadline, because a command that writes for itself would
/// wait for its reader too. `interrupted` is a signal that came during the last attempt.
///
/// Returns the signal that ends the run, PIPE if nobody reads the output any more.
///
/// # Errors
/// If output is lost.
pub(super) fn drain(
    pump: &mut Pump,
    deadline: Option<Duration>,
    interrupted: Option<Signal>,
    observer: &mut impl Observer,
) -> Result<Option<Signal>, Error> {
    let mut progress = Progress::new(deadline, interrupted);
    // Orphans may have died while nobody looked.
    let mut children = true;
    loop {
        pump.pass(None, observer);
        let now = now();
        progress.see(pump.watch.owed(), now);
        // If stdout fails, held bytes for stderr still pass.
        if pump.watch.next_held().is_none()
            && let Some(errno) = pump.watch.take_failure()
        {
            return Err(errno).doing("cannot write to stdout");
        }
        if let Some(stream) = pump.watch.lost_held() {
            let what = match stream {
                Stream::Stdout => "cannot write to stdout",
                Stream::Stderr => "cannot write to stderr",
            };
            return match is_ignored(Signal::PIPE.number()) {
                true => Err(Errno::EPIPE).doing(what),
                false => Ok(Some(Signal::PIPE)),
            };
        }
        if pump.watch.is_drained() {
            return Ok(None);
        }
        let is_held = pump.watch.next_held().is_some();
        let until = progress.until(is_held);
        let signal = pump.answer_signals(&mut children, observer);
        if is_held && signal.is_some() {
            return Ok(signal);
        }
        if signal.is_some() || until.is_some_and(|until| now >= until) {
            return match interrupted {
                Some(signal) if is_held => Ok(Some(signal)),
                Some(_) | None => pump.watch.give_up().map(|()| None),
            };
        }
        pump.wait(if children { Some(Duration::ZERO) } else { until }, observer)?;
    }
}

/// How fast the readers take the output.
#[derive(Debug)]
struct Progress {
    deadline: Option<Duration>,
    interrupted: bool,
    begin: Duration,
    moved_at: Duration,
    /// How many bytes have not been passed on.
    owed: u64,
}

impl Progress {
    fn new(deadline: Option<Duration>, interrupted: Option<Signal>) -> Self {
        let begin = now();
        Self { deadline, interrupted: interrupted.is_some(), begin, moved_at: begin, owed: u64::MAX }
    }

    fn see(&mut self, owed: u64, now: Duration) {
        if owed < self.owed {
            (self.owed, self.moved_at) = (owed, now);
        }
    }

    /// How long to wait for a reader. `is_held`: output that was held is on its way.
    fn until(&self, is_held: bool) -> Option<Duration> {
        let patience = self.moved_at.saturating_add(READER_PATIENCE);
        match (is_held, self.interrupted) {
            // The reader has time even if the command ended just before the deadline.
            (false, _) => Some(self.deadline.map_or(patience, |deadline| {
                patience.min(deadline.max(self.begin).saturating_add(PAST_DEADLINE))
            })),
            // The reader has time even if the success came late.
            (true, false) => self.deadline.map(|deadline| deadline.max(patience)),
            (true, true) => Some(patience),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_have_a_second_and_held_output_has_until_the_deadline() {
        let s = Duration::from_secs;
        let progress = |deadline, interrupted| Progress {
            deadline,
            interrupted,
            begin: s(100),
            moved_at: s(105),
            owed: 1,
        };
        for (deadline, interrupted, is_held, until) in [
            (None, false, false, Some(106)),
            (Some(500), false, false, Some(106)),
            (Some(90), false, false, Some(106)),
            (Some(90), true, false, Some(106)),
            (None, false, true, None),
            (Some(500), false, true, Some(500)),
            (Some(90), false, true, Some(106)),
            (Some(500), true, true, Some(106)),
        ] {
            let progress = progress(deadline.map(s), interrupted);
            assert_eq!(progress.until(is_held), until.map(s), "{progress:?} {is_held}");
        }
        let slow = Progress { moved_at: s(109) + s(3), ..progress(Some(s(90)), false) };
        assert_eq!(slow.until(false), Some(s(110)), "ten seconds in all after the deadline");
    }

    #[test]
    fn a_reader_that_takes_something_gets_more_time() {
        let mut progress = Progress::new(None, None);
        let later = |seconds| progress.begin + Duration::from_secs(seconds);
        let (one, two) = (later(1), later(2));
        progress.see(10, one);
        progress.see(10, two);
        assert_eq!(progress.moved_at, one);
        progress.see(9, two);
        assert_eq!(progress.moved_at, two);
    }
}
