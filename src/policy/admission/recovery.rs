//! Slow start: a service that works again gets its crowd back a few runs at a time.
//!
//! While a breaker is open, many runs may wait for it. When a probe succeeds, they must not all
//! come at once. So each of them needs a permit for its attempt. The window limits the permits in two
//! ways: as many attempts may run at the same time, and as many may begin in a [`ROUND`]. The second
//! limit is for quick attempts: a service that answers within a millisecond would otherwise get a
//! thousand requests in a second, one after the other. Permits are given at equal distances, because a
//! service with a rate limit refuses bursts.
//!
//! At first the window is one permit, and each success adds one: two attempts follow each success, so
//! that the window doubles with each round trip, or in less time. A failure halves it. Then it doubles again, to three quarters of what it was, and from
//! there it grows slowly, as TCP does (RFC 5681 §3.1): the service has shown where its limit is. If
//! even one attempt in a round is too much, the window becomes a fraction of a permit.
//!
//! A permit comes back when its run reports, dies, or is late. The recovery is over when nobody has
//! taken a permit for [`IDLE`] although there was one: then nobody waits.

use std::time::Duration;

use super::moment::Moment;

/// At most as many attempts begin in this time as the window has permits.
pub(super) const ROUND: Duration = Duration::from_millis(250);

/// If nobody has taken a permit for this long, nobody waits. A waiting run looks more often than that.
const IDLE: Duration = Duration::from_secs(10);

/// A permit that is taken within twice this time, or twice the time between two permits, was waited
/// for.
const SOON: Duration = Duration::from_millis(20);

/// Above the threshold, the window grows by this part of itself in a round trip.
const SLOW_PART: u32 = 10;

/// One permit. The window is counted in thousandths of permits.
const ONE: u32 = 1000;

/// The smallest window: an attempt every four seconds.
const SMALLEST: u32 = ONE / 16;

/// The most permits. A record with as many is still small.
pub(crate) const MOST_PERMITS: usize = 128;

/// The largest window: that of the most permits.
const LARGEST: u32 = 128 * ONE;

/// The permits of the runs that have waited for a breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recovery {
    /// The size of the window, in thousandths of permits.
    pub(crate) window: u32,
    /// Below this window, in thousandths, each success adds a permit. None before the first failure.
    pub(crate) threshold: Option<u32>,
    /// The permits of the attempts that run.
    pub(crate) permits: Vec<Permit>,
    /// No permit is given before this moment.
    pub(crate) due: Moment,
    /// As many attempts as the window allows ran at this moment, and perhaps later.
    pub(crate) full: Moment,
    /// The window was last halved at this moment.
    pub(crate) halved: Option<Moment>,
    /// The number of the next permit.
    pub(crate) next: u64,
}

/// The right of one run to make one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Permit {
    pub(crate) id: u64,
    /// The process id of the run that holds it.
    pub(crate) owner: u32,
    pub(crate) since: Moment,
    /// It comes back after this time, whether its run lives or not.
    pub(crate) length: Duration,
    pub(crate) demand: Demand,
}

/// What a run that waits finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// The recovery is over, because nobody waits any more. The run needs no permit.
    Free,
    /// There is a permit.
    Permit,
    /// All permits are held, or the last one was given a moment ago.
    Full,
}

/// Whether other runs wait for a permit too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Demand {
    /// The permit was taken as soon as there was one, so they may.
    High,
    /// The permit lay there for a while.
    Low,
}

/// What an attempt showed of a service that recovers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    Success,
    Failure,
    Nothing,
}

/// The window of this many thousandths of permits that a record has, or the nearest one that there
/// may be. From a window of nothing, no success would lead back.
pub(crate) fn window(thousandths: u32) -> u32 {
    thousandths.clamp(SMALLEST, LARGEST)
}

impl Recovery {
    /// A service that works again since now.
    pub(crate) fn new(now: Moment) -> Self {
        Self {
            window: ONE,
            threshold: None,
            permits: Vec::new(),
            due: now,
            full: now,
            halved: None,
            next: now.0.max(0).unsigned_abs(),
        }
    }

    /// What a run that waits finds now. `lives` gets the number of a permit and the process id of its
    /// holder.
    pub(crate) fn gate(&self, now: Moment, lives: impl Fn(u64, u32) -> bool) -> Gate {
        if now < self.due || self.held(now, lives) >= self.capacity() {
            Gate::Full
        } else if now.since(self.free_since(now)) >= IDLE {
            Gate::Free
        } else {
            Gate::Permit
        }
    }

    /// Gives a permit to the run with this process id. None if it must wait.
    pub(crate) fn grant(
        &mut self,
        now: Moment,
        length: Duration,
        owner: u32,
        lives: impl Fn(u64, u32) -> bool,
    ) -> Option<u64> {
        if self.gate(now, &lives) == Gate::Full {
            return None;
        }
        let demand = match now.since(self.free_since(now)) <= self.gap().max(SOON) * 2 {
            true => Demand::High,
            false => Demand::Low,
        };
        self.take_back(now, lives);
        let id = self.unused();
        self.next = id.wrapping_add(1);
        self.permits.push(Permit { id, owner, since: now, length, demand });
        self.note_full(now);
        // A run that looks a little late does not put off all after it.
        self.due = self.due.plus(self.gap()).max(now);
        Some(id)
    }

    /// The next number that no permit has.
    fn unused(&self) -> u64 {
        let mut id = self.next;
        while self.runs(id) {
            id = id.wrapping_add(1);
        }
        id
    }

    /// Takes the report of an attempt: of the run with this permit, or of a run that needed none.
    pub(crate) fn report(&mut self, permit: Option<u64>, sign: Sign, now: Moment) {
        self.take_back(now, |_, _| true);
        let found = self.permits.iter().position(|held| Some(held.id) == permit);
        let permit = found.map(|index| self.permits.remove(index));
        match (sign, permit) {
            // A success shows nothing about more requests than there were.
            (Sign::Success, Some(Permit { demand: Demand::High, .. })) => self.grow(),
            (Sign::Failure, permit) if self.is_news(permit, now) => self.halve(now),
            (Sign::Success | Sign::Failure | Sign::Nothing, _) => {}
        }
    }

    /// Extends a permit: it lasts for `length` from now. Returns whether there is such a permit.
    pub(crate) fn renew(&mut self, permit: u64, now: Moment, length: Duration) -> bool {
        let held = self.permits.iter_mut().find(|held| held.id == permit);
        let is_held = held.is_some();
        if let Some(held) = held {
            held.length = now.since(held.since).saturating_add(length);
        }
        is_held
    }

    /// Whether the attempt of this permit has not been reported yet.
    pub(crate) fn runs(&self, permit: u64) -> bool {
        self.permits.iter().any(|held| held.id == permit)
    }

    /// The number of attempts that may run at the same time: one at least. A window that this program
    /// has not written may be too large.
    pub(crate) fn capacity(&self) -> usize {
        usize::try_from(self.window.min(LARGEST) / ONE).unwrap_or(usize::MAX).max(1)
    }

    /// Ends all permits at most `longest` after now.
    pub(crate) fn limit_permits(&mut self, longest: Duration, now: Moment) {
        for permit in &mut self.permits {
            permit.length = permit.length.min(now.plus(longest).since(permit.since));
        }
    }

    /// Moves times that lie ahead of `now` back to `now`.
    pub(crate) fn not_after(&mut self, now: Moment) {
        self.due = self.due.min(now.plus(self.gap()));
        self.full = self.full.min(now);
        self.halved = self.halved.map(|at| at.min(now));
        for permit in &mut self.permits {
            permit.since = permit.since.min(now);
        }
    }

    /// Moves all times into the count of another boot, which is `millis` ahead.
    pub(crate) fn shift(&mut self, millis: i64) {
        self.due = self.due.shifted(millis);
        self.full = self.full.shifted(millis);
        self.halved = self.halved.map(|at| at.shifted(millis));
        for permit in &mut self.permits {
            permit.since = permit.since.shifted(millis);
        }
    }

    /// The time between two permits.
    fn gap(&self) -> Duration {
        ROUND * ONE / self.window.max(SMALLEST)
    }

    fn held(&self, now: Moment, lives: impl Fn(u64, u32) -> bool) -> usize {
        self.permits.iter().filter(|permit| permit.is_held(now, &lives)).count()
    }

    /// Removes the permits that have come back.
    fn take_back(&mut self, now: Moment, lives: impl Fn(u64, u32) -> bool) {
        self.full = self.full_until(now);
        self.permits.retain(|permit| permit.is_held(now, &lives));
    }

    /// The moment since which there has been a permit, if there is one now.
    fn free_since(&self, now: Moment) -> Moment {
        self.due.max(self.full_until(now))
    }

    /// The last moment at which all permits were held, as far as their times tell.
    fn full_until(&self, now: Moment) -> Moment {
        if self.permits.len() < self.capacity() {
            return self.full;
        }
        let first_back = self.permits.iter().map(Permit::until).min().unwrap_or(now);
        self.full.max(first_back.min(now))
    }

    fn note_full(&mut self, now: Moment) {
        if self.permits.len() >= self.capacity() {
            self.full = self.full.max(now);
        }
    }

    fn grow(&mut self) {
        self.window = window(self.window);
        let whole = self.window.min(ONE);
        let more = match self.threshold {
            Some(threshold) if self.window >= threshold => whole / SLOW_PART,
            Some(_) | None => whole,
        };
        self.window = self.window.saturating_add(more.max(1)).min(LARGEST);
    }

    /// Whether a failure shows something that the last halving did not know. An attempt that began
    /// before it says nothing about the smaller window.
    fn is_news(&self, permit: Option<Permit>, now: Moment) -> bool {
        self.halved.is_none_or(|halved| match permit {
            Some(permit) => permit.since > halved,
            None => now.since(halved) >= ROUND,
        })
    }

    fn halve(&mut self, now: Moment) {
        self.threshold = Some((self.window / 4 * 3).max(SMALLEST));
        self.window = (self.window / 2).max(SMALLEST);
        self.halved = Some(now);
    }
}

impl Permit {
    fn is_held(&self, now: Moment, lives: impl Fn(u64, u32) -> bool) -> bool {
        now < self.until() && lives(self.id, self.owner)
    }

    /// The moment at which it comes back, if its run does not report.
    fn until(&self) -> Moment {
        self.since.plus(self.length)
    }
}

#[cfg(test)]
mod tests;
