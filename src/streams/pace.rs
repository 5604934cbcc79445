//! How often retry looks at how much the command has read: the kernel does not report that a pipe
//! has become empty.

use std::time::Duration;

/// The shortest and the longest time between two looks.
pub(super) const SHORTEST: Duration = Duration::from_micros(50);
pub(super) const LONGEST: Duration = Duration::from_millis(100);

/// The speed at which the command reads what it was given last. All times are since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// How many bytes it was given, and when.
    given: usize,
    given_at: Duration,
    /// How many of the bytes it has not read, and since when this number has been the same.
    unread: usize,
    unread_since: Duration,
    /// When to look again. None before the first look: if the pipe is full, poll(2) reports when
    /// the command has made room.
    look_at: Option<Duration>,
}

impl Pace {
    pub(super) fn new(given: usize, now: Duration) -> Self {
        Self { given, given_at: now, unread: given, unread_since: now, look_at: None }
    }

    /// When to look again; see [`look_at`](Self).
    pub(super) fn look_at(self) -> Option<Duration> {
        self.look_at
    }

    /// A look found this many bytes unread. The next look comes after half of the time that the
    /// rest takes at the speed so far, and less and less often while the command reads nothing.
    #[must_use]
    pub(super) fn after_look(mut self, unread: usize, now: Duration) -> Self {
        if unread != self.unread {
            (self.unread, self.unread_since) = (unread, now);
        }
        let read = u32::try_from(self.given.saturating_sub(unread)).unwrap_or(u32::MAX);
        let rest = u32::try_from(unread).unwrap_or(u32::MAX);
        let half = match read {
            0 => Duration::ZERO,
            read => now.saturating_sub(self.given_at).saturating_mul(rest) / read / 2,
        };
        let idle = now.saturating_sub(self.unread_since) / 8;
        self.look_at = Some(now.saturating_add(half.max(idle).clamp(SHORTEST, LONGEST)));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn looks_are_as_often_as_the_command_is_fast() {
        let start = micros(1_000_000);
        let after = |unread, since_start: u64, changed_before: u64| {
            let now = start + micros(since_start);
            let pace =
                Pace::new(64_000, start).after_look(unread, now.saturating_sub(micros(changed_before)));
            pace.after_look(unread, now).look_at().unwrap().checked_sub(now).unwrap()
        };
        assert_eq!(Pace::new(64_000, start).look_at(), None);
        // The command has read nothing yet.
        assert_eq!(after(64_000, 0, 0), SHORTEST);
        assert_eq!(after(64_000, 8000, 0), micros(1000));
        assert_eq!(after(64_000, 80_000_000, 0), LONGEST);
        // The wait is half of the time that the rest takes at this speed.
        assert_eq!(after(32_000, 1000, 0), micros(500));
        assert_eq!(after(48_000, 1000, 0), micros(1500));
        assert_eq!(after(1, 1000, 0), SHORTEST);
        // The command read most of the input and then stopped reading.
        assert_eq!(after(1, 801_000, 800_000), LONGEST);
        assert_eq!(after(1, 9000, 8000), micros(1000));
    }
}
