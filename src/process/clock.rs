//! The wall clock, as people read it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time that lies so far back, in the local time zone: `02:58:11 on 2026-11-26`. The date is always there,
/// as the line may be read on another day. The zone is TZ's, as in date(1).
pub(crate) fn local(ago: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let then = broken_down(now.saturating_sub(ago));
    then.map_or_else(
        || format!("{} s ago", ago.as_secs()),
        |then| format!("{} on {}", time(&then), date(&then)),
    )
}

/// A time that lies so far ahead: `02:58:11`, with the date before it unless it is today's.
pub(crate) fn local_in(time: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    shown(now.saturating_add(time), now).unwrap_or_else(|| format!("in {} s", time.as_secs()))
}

/// A time since 1970, with its date where that is not that of `now`.
fn shown(at: Duration, now: Duration) -> Option<String> {
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
