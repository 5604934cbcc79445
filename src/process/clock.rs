//! The wall clock, as people read it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time that lies so far back, in the local time zone: `02:58:11`, with its date before it where that is
/// not today's. The zone is TZ's, as in date(1).
pub(crate) fn local(ago: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    shown(now.saturating_sub(ago), now).unwrap_or_else(|| format!("{} s ago", ago.as_secs()))
}

/// A time that lies so far ahead, as [`local`] has it.
pub(crate) fn local_in(time: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    shown(now.saturating_add(time), now).unwrap_or_else(|| format!("in {} s", time.as_secs()))
}

/// A time since 1970, with its date where that is not that of `now`.
fn shown(time: Duration, now: Duration) -> Option<String> {
    let (then, today) = (broken_down(time)?, broken_down(now)?);
    let time = format!("{:02}:{:02}:{:02}", then.tm_hour, then.tm_min, then.tm_sec);
    if (then.tm_year, then.tm_yday) == (today.tm_year, today.tm_yday) {
        return Some(time);
    }
    Some(format!("{}-{:02}-{:02} {time}", i64::from(then.tm_year) + 1900, then.tm_mon + 1, then.tm_mday))
}

/// A time since 1970 as a date and time of the local zone (localtime(3)).
fn broken_down(time: Duration) -> Option<libc::tm> {
    let seconds = libc::time_t::try_from(time.as_secs()).ok()?;
    let mut parts = std::mem::MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both point to values of ours; the result is filled in unless null is returned. It reads the
    // environment, which nobody changes.
    let filled = unsafe { libc::localtime_r(&raw const seconds, parts.as_mut_ptr()) };
    // SAFETY: not null, so it was filled in.
    (!filled.is_null()).then(|| unsafe { parts.assume_init() })
}
