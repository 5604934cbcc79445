//! The time that runs share: since boot where the boot is the same, else by the wall clock, which is the
//! only one that outlives a boot, and jumps.

use std::fs;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::policy::admission::Moment;
use crate::process::wait;

/// One moment by all clocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// Which boot (random(4), /proc/sys/kernel/random/boot_id); empty where that cannot be read.
    pub(crate) boot_id: String,
    /// Milliseconds since boot (CLOCK_BOOTTIME, clock_gettime(2)).
    pub(crate) boot_ms: i64,
    /// Milliseconds since 1970, UTC.
    pub(crate) unix_ms: i64,
}

impl Stamp {
    /// The present moment.
    pub(crate) fn now() -> Self {
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        Self {
            boot_id: boot_id().to_owned(),
            boot_ms: millis(wait::now()),
            unix_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis),
        }
    }

    /// The same moment, since boot.
    pub(crate) fn moment(&self) -> Moment {
        Moment(self.boot_ms)
    }

    /// What turns times of `earlier`'s boot into times of this one, in milliseconds to add.
    pub(crate) fn shift_from(&self, earlier: &Self) -> i64 {
        if self.boot_id == earlier.boot_id && !self.boot_id.is_empty() {
            return 0;
        }
        // A wall clock that was set back would make them lie ahead.
        let elapsed = self.unix_ms.saturating_sub(earlier.unix_ms).max(0);
        self.boot_ms.saturating_sub(elapsed).saturating_sub(earlier.boot_ms)
    }
}

/// The name of this boot, read once: a process does not outlive it.
pub(super) fn boot_id() -> &'static str {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    let read = || fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
    BOOT_ID.get_or_init(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(boot_id: &str, boot_ms: i64, unix_ms: i64) -> Stamp {
        Stamp { boot_id: boot_id.into(), boot_ms, unix_ms }
    }

    #[test]
    fn within_a_boot_the_wall_clock_does_not_matter() {
        let earlier = stamp("a", 1000, 1_000_000);
        for unix_ms in [0, 1_000_000, i64::MAX] {
            assert_eq!(stamp("a", 5000, unix_ms).shift_from(&earlier), 0);
        }
    }

    #[test]
    fn over_a_boot_the_wall_clock_tells_how_long_ago_it_was() {
        let earlier = stamp("a", 50_000, 1_000_000);
        // 30 s later by the wall clock, 2 s after boot: what was then is now 30 s ago.
        let now = stamp("b", 2000, 1_030_000);
        assert_eq!(earlier.boot_ms + now.shift_from(&earlier), 2000 - 30_000);
        // Set back: it was just now.
        let now = stamp("b", 2000, 5);
        assert_eq!(earlier.boot_ms + now.shift_from(&earlier), 2000);
        // Without a boot's name there is only the wall clock.
        let (earlier, now) = (stamp("", 50_000, 1_000_000), stamp("", 60_000, 1_030_000));
        assert_eq!(earlier.boot_ms + now.shift_from(&earlier), 60_000 - 30_000);
    }
}
