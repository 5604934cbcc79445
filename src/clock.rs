//! Every clock that retry reads.
//!
//! Deadlines and waits count in [`now`], which goes on while the machine is suspended and which
//! nobody can set. The wall clock can jump, so it serves only for times that people read and for
//! times that outlive a boot. Processes in different time namespaces read different times since
//! boot (time_namespaces(7)); [`boot`] names the boot and the offset of this process, so that they
//! can share a record.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// The time since boot, including the time that the machine was suspended (CLOCK_BOOTTIME,
/// clock_gettime(2)).
pub(crate) fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// The time since boot, without the time that the machine was suspended (CLOCK_MONOTONIC,
/// clock_gettime(2)).
pub(crate) fn awake() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default()
}

/// The wall clock, which anybody with the right to do so can set.
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// The wall clock as the time since 1970, UTC.
pub(crate) fn since_1970() -> Duration {
    wall().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The boot of this machine, as this process sees it.
#[derive(Debug)]
pub(crate) struct Boot {
    /// The boot's name (random(4), /proc/sys/kernel/random/boot_id). Empty if nobody can read it,
    /// or if the time since boot cannot be compared with that of other processes.
    pub(crate) id: String,
    /// Milliseconds that the time namespace of this process adds to the time since boot.
    offset_ms: i64,
}

impl Boot {
    /// Milliseconds since boot in the initial time namespace, which all processes share.
    pub(crate) fn now_ms(&self) -> i64 {
        i64::try_from(now().as_millis()).unwrap_or(i64::MAX).saturating_sub(self.offset_ms)
    }
}

/// The present boot. The first call reads it: a process does not outlive its boot and does not
/// change its time namespace.
pub(crate) fn boot() -> &'static Boot {
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

/// Milliseconds that the time namespace of this process adds to the time since boot. None if that
/// cannot be found out.
fn offset_ms() -> Option<i64> {
    /// The initial namespace has this number on every machine (PROC_TIME_INIT_INO in the kernel's
    /// proc_ns.h).
    const INITIAL: &str = "time:[4026531834]";
    let own = match fs::read_link("/proc/self/ns/time") {
        Ok(own) => own,
        // The kernel has no time namespaces.
        Err(error) if error.kind() == ErrorKind::NotFound && Path::new("/proc/self/ns").exists() => {
            return Some(0);
        }
        // /proc may belong to another pid namespace.
        Err(_) => return None,
    };
    if own.as_os_str() == INITIAL {
        return Some(0);
    }
    // The file holds the offsets of the namespace that new children enter.
    if fs::read_link("/proc/self/ns/time_for_children").ok()? != own {
        return None;
    }
    offset_in(&fs::read_to_string("/proc/self/timens_offsets").ok()?)
}

/// The offset of the time since boot in the text of /proc/self/timens_offsets: each line has a
/// clock, seconds and nanoseconds (time_namespaces(7)).
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

/// The local time `ago` before now: `02:58:11 on 2026-11-26`. It has the date, because a person may
/// read the line on another day. The zone is TZ's, as in date(1).
pub(crate) fn local_ago(ago: Duration) -> String {
    broken_down(since_1970().saturating_sub(ago)).map_or_else(
        || format!("{} s ago", ago.as_secs()),
        |then| format!("{} on {}", time(&then), date(&then)),
    )
}

/// The local time `ahead` of now: `02:58:11`, with the date before it unless that is today.
pub(crate) fn local_in(ahead: Duration) -> String {
    let now = since_1970();
    time_with_date(now.saturating_add(ahead), now).unwrap_or_else(|| format!("in {} s", ahead.as_secs()))
}

/// The time of day at `at`, with its date if `now` is on another day. Both count from 1970.
fn time_with_date(at: Duration, now: Duration) -> Option<String> {
    let (then, today) = (broken_down(at)?, broken_down(now)?);
    if (then.tm_year, then.tm_yday) == (today.tm_year, today.tm_yday) {
        return Some(time(&then));
    }
    Some(format!("{} {}", date(&then), time(&then)))
}

fn time(parts: &libc::tm) -> String {
    format!("{:02}:{:02}:{:02}", parts.tm_hour, parts.tm_min, parts.tm_sec)
}

fn date(parts: &libc::tm) -> String {
    format!("{}-{:02}-{:02}", i64::from(parts.tm_year) + 1900, parts.tm_mon + 1, parts.tm_mday)
}

/// A time since 1970 as date and time of the local zone (localtime(3)).
fn broken_down(time: Duration) -> Option<libc::tm> {
    let seconds = libc::time_t::try_from(time.as_secs()).ok()?;
    let mut parts = std::mem::MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are to values on this stack. localtime_r(3) fills the result in unless
    // it returns null. It reads the environment, and no part of retry changes the environment.
    let filled = unsafe { libc::localtime_r(&raw const seconds, parts.as_mut_ptr()) };
    // SAFETY: the pointer is not null, so localtime_r(3) has filled the result in.
    (!filled.is_null()).then(|| unsafe { parts.assume_init() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_of_a_time_namespace_is_read_in_milliseconds() {
        let offsets = "monotonic           7         0\nboottime      -86400 500000000\n";
        assert_eq!(offset_in(offsets), Some(-86_400_000 + 500));
        for other in ["", "monotonic 7 0", "boottime 7", "boottime x 0", "boottime 9223372036854775807 0"] {
            assert_eq!(offset_in(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_time_on_another_day_has_its_date() {
        let day = Duration::from_hours(24);
        let now = Duration::from_secs(1_700_000_000);
        assert_eq!(time_with_date(now, now).unwrap().len(), "02:58:11".len());
        assert_eq!(time_with_date(now + 2 * day, now).unwrap().len(), "2026-11-26 02:58:11".len());
        assert_eq!(
            time_with_date(now.saturating_sub(2 * day), now).unwrap().len(),
            "2026-11-26 02:58:11".len()
        );
        assert_eq!(time_with_date(Duration::MAX, now), None, "time_t cannot hold it");
    }
}
