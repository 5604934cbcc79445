//! The moment at which a record was written, by every clock that its readers may need.
//!
//! Within one boot the time since boot decides. After a reboot only the wall clock can tell how
//! long ago the record was written, and the wall clock jumps.

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::policy::admission::moment::Moment;

/// In place of a boot: the moment is one of the clock of a server, and counts from 1970.
const SERVER: &str = "server";

/// One moment by several clocks, as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// The boot that `boot_ms` counts from, or `server`. Empty if it is unknown; see
    /// [`clock::Boot::id`].
    pub(crate) boot_id: String,
    /// Milliseconds since boot, in the initial time namespace.
    pub(crate) boot_ms: i64,
    /// Milliseconds since 1970, UTC.
    pub(crate) unix_ms: i64,
}

impl Stamp {
    /// The present moment.
    pub(crate) fn now() -> Self {
        let boot = clock::boot();
        Self {
            boot_id: boot.id.clone(),
            boot_ms: boot.now_ms(),
            unix_ms: i64::try_from(clock::since_1970().as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// A moment of the clock of a server, in milliseconds since 1970. Only the records in a server
    /// have it. After a failover the clock of another server counts, which may differ a little.
    pub(crate) fn of_server(unix_ms: i64) -> Self {
        Self { boot_id: SERVER.to_owned(), boot_ms: unix_ms, unix_ms }
    }

    /// The same moment, since boot.
    pub(crate) fn moment(&self) -> Moment {
        Moment(self.boot_ms)
    }

    /// Milliseconds to add to a time of `earlier`'s boot to make it a time of this boot.
    pub(crate) fn shift_from(&self, earlier: &Self) -> i64 {
        if self.boot_id == earlier.boot_id && !self.boot_id.is_empty() {
            return 0;
        }
        // If the wall clock was set back, the difference is negative: then no time has passed.
        let elapsed = self.unix_ms.saturating_sub(earlier.unix_ms).max(0);
        self.boot_ms.saturating_sub(elapsed).saturating_sub(earlier.boot_ms)
    }
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
    fn a_server_has_one_clock_for_all() {
        let (earlier, now) = (Stamp::of_server(1_000_000), Stamp::of_server(900_000));
        assert_eq!((now.shift_from(&earlier), now.moment()), (0, Moment(900_000)));
        // A record that somebody has copied from a file.
        let now = Stamp::of_server(1_030_000);
        assert_eq!(50_000 + now.shift_from(&stamp("a", 50_000, 1_000_000)), 1_000_000);
    }

    #[test]
    fn over_a_boot_the_wall_clock_tells_how_long_ago_it_was() {
        let earlier = stamp("a", 50_000, 1_000_000);
        // The wall clock is 30 s later, and the new boot was 2 s ago. The earlier time is now 30 s
        // ago.
        let now = stamp("b", 2000, 1_030_000);
        assert_eq!(earlier.boot_ms + now.shift_from(&earlier), 2000 - 30_000);
        // The wall clock was set back, so the earlier time counts as the present.
        let now = stamp("b", 2000, 5);
        assert_eq!(earlier.boot_ms + now.shift_from(&earlier), 2000);
        // Without a boot id, only the wall clock counts.
        let (earlier, now) = (stamp("", 50_000, 1_000_000), stamp("", 60_000, 1_030_000));
        assert_eq!(earlier.boot_ms + now.shift_from(&earlier), 60_000 - 30_000);
    }
}
