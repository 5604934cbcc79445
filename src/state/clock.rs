//! The time that runs share. Within one boot it is the time since boot; across boots only the wall clock tells,
//! and that one jumps.
//!
//! Runs in different time namespaces read different times since boot (time_namespaces(7)). Records hold the time
//! of the initial namespace, so that such runs can share a record.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::policy::admission::Moment;
use crate::process::wait;

/// One moment by all clocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// Which boot (random(4), /proc/sys/kernel/random/boot_id); empty if it cannot be read, or if the time since
    /// boot cannot be compared with that of other processes.
    pub(crate) boot_id: String,
    /// Milliseconds since boot (CLOCK_BOOTTIME, clock_gettime(2)) in the initial time namespace.
    pub(crate) boot_ms: i64,
    /// Milliseconds since 1970, UTC.
    pub(crate) unix_ms: i64,
}

impl Stamp {
    /// The present moment.
    pub(crate) fn now() -> Self {
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let boot = boot();
        Self {
            boot_id: boot.id.clone(),
            boot_ms: millis(wait::now()).saturating_sub(boot.offset_ms),
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

/// The boot, as this process sees it.
#[derive(Debug)]
pub(super) struct Boot {
    id: String,
    /// What this process's time namespace adds to the time since boot, in milliseconds.
    offset_ms: i64,
}

/// Reads the boot once: a process does not outlive its boot, nor does it change its time namespace.
pub(super) fn boot() -> &'static Boot {
    static BOOT: OnceLock<Boot> = OnceLock::new();
    BOOT.get_or_init(|| {
        let id =
            || fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        match offset_ms() {
            Some(offset_ms) => Boot { id: id(), offset_ms },
            None => Boot { id: String::new(), offset_ms: 0 },
        }
    })
}

/// What this process's time namespace adds to the time since boot, in milliseconds; none if that is not known.
fn offset_ms() -> Option<i64> {
    /// The initial namespace has this number on every machine (PROC_TIME_INIT_INO in the kernel's proc_ns.h).
    const INITIAL: &str = "time:[4026531834]";
    let own = match fs::read_link("/proc/self/ns/time") {
        Ok(own) => own,
        // The kernel has no time namespaces.
        Err(error) if error.kind() == ErrorKind::NotFound && Path::new("/proc/self/ns").exists() => {
            return Some(0);
        }
        // /proc may be that of another pid namespace.
        Err(_) => return None,
    };
    if own.as_os_str() == INITIAL {
        return Some(0);
    }
    // The file tells the offsets of the namespace that children will be in.
    if fs::read_link("/proc/self/ns/time_for_children").ok()? != own {
        return None;
    }
    offset_in(&fs::read_to_string("/proc/self/timens_offsets").ok()?)
}

/// The offset of the time since boot in a text as time_namespaces(7) describes it: clock, seconds, nanoseconds.
fn offset_in(offsets: &str) -> Option<i64> {
    offsets.lines().find_map(|line| {
        let [clock, seconds, nanoseconds] = line.split_ascii_whitespace().collect::<Vec<_>>()[..] else {
            return None;
        };
        let seconds: i64 = if clock == "boottime" { seconds.parse().ok()? } else { return None };
        let nanoseconds: i64 = nanoseconds.parse().ok()?;
        seconds.checked_mul(1000)?.checked_add(nanoseconds / 1_000_000)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(boot_id: &str, boot_ms: i64, unix_ms: i64) -> Stamp {
        Stamp { boot_id: boot_id.into(), boot_ms, unix_ms }
    }

    #[test]
    fn the_offset_of_a_time_namespace_is_read_in_milliseconds() {
        let offsets = "monotonic           7         0\nboottime      -86400 500000000\n";
        assert_eq!(offset_in(offsets), Some(-86_400_000 + 500));
        for other in ["", "monotonic 7 0", "boottime 7", "boottime x 0", "boottime 9223372036854775807 0"] {
            assert_eq!(offset_in(other), None, "{other:?}");
        }
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
