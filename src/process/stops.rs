//! Was retry itself stopped? Nothing tells a process that SIGSTOP had stopped it: CONT arrives, and time is
//! missing. A busy machine makes time go missing too, and anybody may send CONT. So a stop needs both, and
//! the missing time must be more than retry spent on a processor or in the queue for one.

use std::fs;
use std::time::Duration;

use crate::clock::awake;

/// Less time than this may go missing for reasons that the kernel does not count, such as a host that takes
/// the processor away from a virtual machine.
const LATE: Duration = Duration::from_millis(250);

/// The same if the kernel does not say how long retry had to wait for a processor.
const LATE_UNKNOWN: Duration = Duration::from_secs(1);

/// How old a look at the scheduler's counts may become.
const FRESH: Duration = Duration::from_secs(1);

/// How long this thread has run and has waited for a processor: the first two fields of
/// /proc/thread-self/schedstat, in nanoseconds (Documentation/scheduler/sched-stats.rst in Linux).
fn scheduled() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let mut fields = text.split_ascii_whitespace();
    let mut next = || fields.next()?.parse().ok().map(Duration::from_nanos);
    Some(next()?.saturating_add(next()?))
}

/// The looks at the clocks, one for each turn of the loop.
#[derive(Debug)]
pub(crate) struct Stops {
    /// The last look, on the clock that a suspended machine stops.
    looked: Duration,
    /// A CONT arrived in the last turn. The stop that it ended may fall into this one.
    continued: bool,
    /// When the scheduler's counts were last read, on the same clock.
    counted: Duration,
    /// The scheduler's counts then.
    busy: Option<Duration>,
}

impl Stops {
    pub(crate) fn new() -> Self {
        let now = awake();
        Self { looked: now, continued: false, counted: now, busy: scheduled() }
    }

    /// Looks at the clocks, before the signals are read. How much later it is than a wait of `planned` and a
    /// known stop of `known` explain.
    pub(crate) fn look(&mut self, planned: Option<Duration>, known: Duration) -> Duration {
        let gap = awake().saturating_sub(self.looked);
        self.looked = self.looked.saturating_add(gap);
        planned.map_or(Duration::ZERO, |planned| gap.saturating_sub(planned).saturating_sub(known))
    }

    /// Whether retry was stopped, if it is so `late`. `continued` says whether a CONT has arrived.
    pub(crate) fn was_stopped(&mut self, late: Duration, continued: bool) -> bool {
        let either = std::mem::replace(&mut self.continued, continued) || continued;
        let stopped = either && late > LATE && is_stop(late, self.spent());
        if self.looked.saturating_sub(self.counted) >= FRESH {
            (self.counted, self.busy) = (self.looked, scheduled());
        }
        stopped
    }

    /// How much time the scheduler accounts for since it was last asked.
    fn spent(&self) -> Option<Duration> {
        Some(scheduled()?.saturating_sub(self.busy?))
    }
}

/// Whether a turn that came `late` was late because of a stop. `spent` is the time for which retry ran or
/// waited for a processor meanwhile.
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
        // A turn that spins is late and was not stopped, whatever the machine does meanwhile.
        let mut stops = Stops::new();
        let end = awake() + MS(300);
        while awake() < end {
            std::hint::spin_loop();
        }
        let late = stops.look(Some(MS(0)), MS(0));
        assert!(late >= MS(300));
        assert!(scheduled().is_none() || !stops.was_stopped(late, true));
    }
}
