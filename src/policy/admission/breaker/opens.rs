//! What opens a breaker: failures in a row, or a share of the last outcomes.
//!
//! Old outcomes say nothing about the present: a service that fails once a day is not down. So an
//! outcome no longer counts after ten cooldowns, and after ten minutes at the earliest.
//!
//! In a store that many hosts share, one host with a broken network must not open the breaker for
//! all others. There, the failures must come from two hosts at least, unless no other host has used
//! the breaker lately.

use std::num::{NonZeroU8, NonZeroU32};
use std::time::Duration;

use super::super::moment::Moment;

/// The option `--breaker-failures`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opens {
    /// This many failures in a row.
    InRow(NonZeroU32),
    /// At least `percent` of the last `of` outcomes, if half of them are known.
    Rate { percent: NonZeroU8, of: NonZeroU8 },
}

/// The most outcomes that are kept.
pub(crate) const MOST_OUTCOMES: usize = 64;

/// The most hosts that are kept.
const MOST_HOSTS: usize = 4;

/// An outcome counts for this many cooldowns.
const COOLDOWNS: u32 = 10;

/// An outcome counts for at least this long.
const SHORTEST_AGE: Duration = Duration::from_mins(10);

/// The use of the breaker by a host is noted this often at most.
const NOTE_USE_EVERY: Duration = Duration::from_mins(1);

/// A host, in a store that many hosts share: a part of a hash of its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostTag(pub(crate) u32);

/// An attempt that has ended while the breaker was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Past {
    pub(crate) at: Moment,
    pub(crate) failed: bool,
    /// None in a store of one host.
    pub(crate) host: Option<HostTag>,
}

/// The last use of the breaker by a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) host: HostTag,
    pub(crate) at: Moment,
}

/// The outcomes since the breaker closed, as far as they are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Outcomes {
    /// The last of them, the newest last.
    pub(crate) past: Vec<Past>,
    /// Failures in a row. `past` may hold fewer.
    pub(crate) in_row: u32,
    /// The hosts that have used the breaker, in a store that many hosts share.
    pub(crate) hosts: Vec<Use>,
}

/// The time for which an outcome counts.
pub(crate) fn age_limit(cooldown: Duration) -> Duration {
    cooldown.saturating_mul(COOLDOWNS).max(SHORTEST_AGE)
}

impl Outcomes {
    /// Adds a success. Outcomes before it are kept only if a rate counts them.
    pub(super) fn succeed(&mut self, host: Option<HostTag>, now: Moment, opens: Opens, age: Duration) {
        self.note_use(host, now);
        self.in_row = 0;
        if matches!(opens, Opens::Rate { .. }) || self.counts_rate() {
            self.push(Past { at: now, failed: false, host }, age);
        } else {
            self.past.clear();
        }
    }

    /// Adds a failure.
    pub(super) fn fail(&mut self, host: Option<HostTag>, now: Moment, age: Duration) {
        self.note_use(host, now);
        self.in_row = self.in_row(now, age).saturating_add(1);
        self.push(Past { at: now, failed: true, host }, age);
    }

    /// The failures in a row that still count.
    pub(crate) fn in_row(&self, now: Moment, age: Duration) -> u32 {
        let failures = self.past.iter().rev().take_while(|past| past.failed);
        let (mut known, mut young) = (0_u32, 0_u32);
        for past in failures {
            known += 1;
            young += u32::from(now.since(past.at) <= age);
        }
        // More failures than are kept: they count as long as all that are kept do.
        if young == known { self.in_row } else { young.min(self.in_row) }
    }

    /// The number of failures that open the breaker now, if they do.
    pub(super) fn opening(&self, opens: Opens, now: Moment, age: Duration) -> Option<u32> {
        let counted: Vec<&Past> = self.past.iter().filter(|past| now.since(past.at) <= age).collect();
        let (failures, counted) = match opens {
            Opens::InRow(most) => {
                let failures = self.in_row(now, age);
                let row: Vec<&Past> = counted.into_iter().rev().take_while(|past| past.failed).collect();
                (Some(failures).filter(|failures| *failures >= most.get()), row)
            }
            Opens::Rate { percent, of } => {
                let last: Vec<&Past> = counted.into_iter().rev().take(of.get().into()).collect();
                let failed = last.iter().filter(|past| past.failed).count();
                let known = last.len() * 2 >= of.get().into();
                let enough = failed * 100 >= last.len() * usize::from(percent.get());
                let failures = u32::try_from(failed).unwrap_or(u32::MAX);
                (Some(failures).filter(|_| known && enough), last)
            }
        };
        failures.filter(|_| self.hosts_agree(&counted, now, age))
    }

    /// Whether a success would change nothing that matters.
    pub(super) fn success_is_known(
        &self,
        opens: Opens,
        host: Option<HostTag>,
        now: Moment,
        age: Duration,
    ) -> bool {
        let used = host.is_none_or(|host| {
            self.hosts.iter().any(|used| used.host == host && now.since(used.at) < NOTE_USE_EVERY)
        });
        let of = match opens {
            Opens::InRow(_) if self.past.is_empty() => return used && self.in_row == 0,
            Opens::InRow(_) => MOST_OUTCOMES,
            Opens::Rate { of, .. } => of.get().into(),
        };
        // They must not all become too old at once.
        let good = |past: &&Past| !past.failed && now.since(past.at) < age / 2;
        let good = self.past.iter().rev().take(of).filter(good).count();
        used && self.in_row == 0 && good >= of
    }

    pub(super) fn not_after(&mut self, now: Moment) {
        self.past.iter_mut().for_each(|past| past.at = past.at.min(now));
        self.hosts.iter_mut().for_each(|used| used.at = used.at.min(now));
    }

    pub(super) fn shift(&mut self, millis: i64) {
        self.past.iter_mut().for_each(|past| past.at = past.at.shifted(millis));
        self.hosts.iter_mut().for_each(|used| used.at = used.at.shifted(millis));
    }

    /// Whether a run that counts a rate has added outcomes: only such a run adds successes.
    fn counts_rate(&self) -> bool {
        self.past.iter().any(|past| !past.failed)
    }

    fn push(&mut self, past: Past, age: Duration) {
        self.past.retain(|earlier| past.at.since(earlier.at) <= age);
        if self.past.len() >= MOST_OUTCOMES {
            self.past.remove(0);
        }
        self.past.push(past);
    }

    fn note_use(&mut self, host: Option<HostTag>, now: Moment) {
        let Some(host) = host else { return };
        self.hosts.retain(|used| used.host != host);
        if self.hosts.len() >= MOST_HOSTS {
            self.hosts.remove(0);
        }
        self.hosts.push(Use { host, at: now });
    }

    /// Whether these outcomes may open the breaker for all hosts.
    fn hosts_agree(&self, outcomes: &[&Past], now: Moment, age: Duration) -> bool {
        let mut failing = outcomes.iter().filter(|past| past.failed).map(|past| past.host);
        let Some(first) = failing.next() else { return true };
        let others_used =
            || self.hosts.iter().any(|used| Some(used.host) != first && now.since(used.at) <= age);
        first.is_none() || failing.any(|host| host != first) || !others_used()
    }
}

#[cfg(test)]
mod tests;
