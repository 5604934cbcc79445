//! Moments that several runs can compare.

use std::time::Duration;

/// A moment in milliseconds since boot, including the time that the machine was suspended. A moment
/// before the boot is negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) i64);

impl Moment {
    /// The moment `time` later, or the last that can be counted.
    pub(crate) fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add_unsigned(millis(time)))
    }

    /// The time from `earlier` to this moment. Zero if `earlier` is later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }

    /// The same moment in the count of another boot, which is `millis` ahead.
    pub(crate) fn shifted(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

/// A duration in milliseconds, or as many as can be counted.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_before_the_boot_count_too() {
        let (before, after) = (Moment(-500), Moment(1500));
        assert_eq!(after.since(before), Duration::from_secs(2));
        assert_eq!(before.since(after), Duration::ZERO);
        assert_eq!(before.plus(Duration::from_secs(2)), after);
        assert_eq!(before.shifted(2000), after);
    }

    #[test]
    fn no_sum_overflows() {
        assert_eq!(Moment(5).plus(Duration::MAX), Moment(i64::MAX));
        assert_eq!(Moment(i64::MIN).plus(Duration::MAX), Moment(i64::MAX));
        assert_eq!(Moment(i64::MAX).shifted(1), Moment(i64::MAX));
        assert_eq!(Moment(i64::MIN).shifted(-1), Moment(i64::MIN));
        assert_eq!(Moment(i64::MAX).since(Moment(i64::MIN)), Duration::from_millis(i64::MAX.unsigned_abs()));
        assert_eq!(millis(Duration::MAX), u64::MAX);
    }
}
