//! Whether retry itself was stopped.
//!
//! Nothing tells a process that SIGSTOP had stopped it: a CONT arrives, and time is missing. A busy
//! machine makes time go missing too, and any process may send CONT. So retry takes it for a stop
//! only if both happen, and if the missing time is longer than retry ran or waited for a processor.

use std::fs;
use std::time::Duration;

use crate::clock::awake;

/// Less time than this may go missing for reasons that the kernel does not count, for example if a
/// host takes the processor away from a virtual machine.
const LATE: Duration = Duration::from_millis(250);

/// The same limit if the kernel does not tell how long retry waited for a processor.
const LATE_UNKNOWN: Duration = Duration::from_secs(1);

/// The longest time between two looks at the scheduler's counts.
const FRESH: Duration = Duration::from_secs(1);

/// The time for which this thread has run or waited for a processor: the first two fields of
/// /proc/thread-self/schedstat, in nanoseconds (Documentation/scheduler/sched-stats.rst in Linux).
fn scheduled() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let mut fields = text.split_ascii_whitespace();
    let mut next = || fields.next()?.parse().ok().map(Duration::from_nanos);
    Some(next()?.saturating_add(next()?))
}

/// Looks at the clocks once in each turn of the loop.
#[derive(Debug)]
pub(crate) struct StopDetector {
    /// The time of the last look, on the clock that stands still while the machine is suspended.
    looked: Duration,
    /// A CONT arrived in the last turn. The stop that it ended may count in this turn.
    continued: bool,
    /// When the scheduler's counts were last read, on the same clock.
    counted: Duration,
    /// The scheduler's counts then.
    busy: Option<Duration>,
}

impl StopDetector {
    pub(crate) fn new() -> Self {
        let now = awake();
        Self { looked: now, continued: false, counted: now, busy: scheduled() }
    }

    /// Looks at the clocks; call it before the signals are read. Returns how much more time has
    /// passed than a wait of `planned` and a known stop of `known` explain.
    pub(crate) fn look(&mut self, planned: Option<Duration>, known: Duration) -> Duration {
        let gap = awake().saturating_sub(self.looked);
        self.looked = self.looked.saturating_add(gap);
        planned.map_or(Duration::ZERO, |planned| gap.saturating_sub(planned).saturating_sub(known))
    }

    /// Whether retry was stopped. [`look`](Self::look) returned `late`, and `continued` says
    /// whether a CONT has arrived.
    pub(crate) fn was_stopped(&mut self, late: Duration, continued: bool) -> bool {
        let either = std::mem::replace(&mut self.continued, continued) || continued;
        let stopped = either && late > LATE && is_stop(late, self.spent());
        if self.looked.saturating_sub(self.counted) >= FRESH {
            (self.counted, self.busy) = (self.looked, scheduled());
        }
        stopped
    }

    /// The time that the scheduler accounts for since the last look at its counts.
    fn spent(&self) -> Option<Duration> {
        Some(scheduled()?.saturating_sub(self.busy?))
    }
}

/// Whether a turn was `late` because of a stop. `spent` is the time for which retry ran or waited
/// for a processor during that turn.
fn is_stop(late: Duration, spent: Option<Duration>) -> bool {
    match spent {
        Some(spent) => late > LATE.saturating_add(spent),
        None => late > LATE_UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn time_that_the_scheduler_accounts_for_is_no_stop() {
        for (late, spent, stop) in [
            (MS(300), Some(MS(0)), true),
            (MS(300), Some(MS(40)), true),
            (MS(300), Some(MS(60)), false),
            (MS(4000), Some(MS(1000)), true),
            (MS(4000), Some(MS(3900)), false),
            (MS(900), None, false),
            (MS(1100), None, true),
        ] {
            assert_eq!(is_stop(late, spent), stop, "{late:?} {spent:?}");
        }
    }

    #[test]
    fn the_kernel_tells_how_long_a_thread_ran() {
        let before = scheduled();
        let end = awake() + MS(20);
        while awake() < end {
            std::hint::spin_loop();
        }
        assert!(scheduled() >= before);
        // A busy loop makes the detector's turn late, but the loop is not a stop.
        let mut stops = StopDetector::new();
        let end = awake() + MS(300);
        while awake() < end {
            std::hint::spin_loop();
        }
        let late = stops.look(Some(MS(0)), MS(0));
        assert!(late >= MS(300));
        assert!(scheduled().is_none() || !stops.was_stopped(late, true));
    }
}
