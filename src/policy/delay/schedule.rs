//! Attempts, deadline and delay together: what follows a retryable failure.

use std::num::NonZeroU32;
use std::time::Duration;

use rand::Rng;

use super::backoff::Growth;
use super::jitter::{Jitter, Spread, uniform};
use crate::policy::finish::Exhausted;
use crate::policy::verdict::http::Asked;

/// How many attempts, and when.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    /// Attempts in all, the first included; none: no limit.
    pub(crate) max_attempts: Option<NonZeroU32>,
    /// Limit for the whole run, waits included.
    pub(crate) deadline: Option<Duration>,
    /// An attempt that ran this long starts attempts and backoff anew.
    pub(crate) healthy_after: Option<Duration>,
    /// How the delay grows.
    pub(crate) growth: Growth,
    /// How it is spread.
    pub(crate) jitter: Jitter,
    /// No delay is longer.
    pub(crate) cap: Duration,
    /// No delay is shorter, whatever the jitter draws; not above the cap.
    pub(crate) floor: Duration,
    /// Longest random wait before the first attempt.
    pub(crate) splay: Duration,
    /// A server that asks for a longer wait is not waited for.
    pub(crate) max_retry_after: Duration,
}

/// What a server asked for is spread by at least this.
const ASKED_SPREAD: Duration = Duration::from_secs(1);

/// What a wait ends before the deadline, at least.
const TICK: Duration = Duration::from_nanos(1);

/// Where a run stands in its schedule.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    /// Attempts finished since the start, or since the last healthy one, that one included.
    attempts: u32,
    /// The number that the last finished attempt had while it ran.
    number: u32,
    /// Attempts finished in all.
    in_all: u64,
    /// The last delay; the first delay at the start.
    previous: Duration,
    /// How long the longest attempt of the run took.
    longest: Duration,
}

impl Progress {
    /// The number of the attempt that comes next, from 1.
    pub(crate) fn next_attempt(&self) -> u32 {
        self.attempts.saturating_add(1)
    }

    /// The number under which the last finished attempt counts, from 1.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The number that the last finished attempt had while it ran, as its `RETRY_ATTEMPT` said. A
    /// healthy attempt counts as the first of a new series afterwards, and keeps its number.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// How many attempts have been made in all.
    pub(crate) fn in_all(&self) -> u64 {
        self.in_all
    }
}

/// What follows a retryable failure.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) enum Next {
    /// Another attempt after this time.
    Wait(Duration),
    /// No other attempt.
    Stop(Exhausted),
}

impl Schedule {
    /// The state before the first attempt.
    pub(crate) fn start(&self) -> Progress {
        Progress { attempts: 0, number: 0, in_all: 0, previous: self.growth.first(), longest: Duration::ZERO }
    }

    /// Whether no attempt can follow the one of this number, however it ends. One that proves healthy is the
    /// first of a new series.
    #[must_use]
    pub(crate) fn is_last(&self, number: u32) -> bool {
        self.max_attempts.is_some_and(|max| match self.healthy_after {
            None => number >= max.get(),
            Some(_) => max.get() == 1,
        })
    }

    /// The wait before the first attempt.
    #[must_use]
    pub(crate) fn draw_splay(&self, rng: &mut impl Rng) -> Duration {
        uniform(Duration::ZERO, self.splay, rng)
    }

    /// Counts a finished attempt. One that ran for `healthy_after` counts as the first of a new series.
    pub(crate) fn count(&self, progress: &mut Progress, ran: Duration) {
        progress.number = progress.next_attempt();
        if self.healthy_after.is_some_and(|healthy| ran >= healthy) {
            progress.attempts = 0;
            progress.previous = self.growth.first();
        }
        progress.attempts = progress.attempts.saturating_add(1);
        progress.in_all = progress.in_all.saturating_add(1);
        progress.longest = progress.longest.max(ran);
    }

    /// What follows when the counted attempt's failure is retryable, `elapsed` into the run; `asked` is what
    /// the server asks for. It is asked again later than that, never earlier, and spread (RFC 9110 §10.2.3
    /// has no rule for a crowd).
    pub(crate) fn next(
        &self,
        progress: &mut Progress,
        elapsed: Duration,
        asked: Option<Asked>,
        rng: &mut impl Rng,
    ) -> Next {
        if self.max_attempts.is_some_and(|max| progress.attempts >= max.get()) {
            return Next::Stop(Exhausted::Attempts);
        }
        if let Some(asked) = asked.filter(|asked| asked.wait > self.max_retry_after) {
            return Next::Stop(Exhausted::AskedTooMuch { asked, most: self.max_retry_after });
        }
        let left = self.deadline.map(|deadline| (deadline, deadline.saturating_sub(elapsed)));
        match (left, asked) {
            (Some((deadline, Duration::ZERO)), _) => return Next::Stop(Exhausted::Deadline(deadline)),
            (Some((deadline, left)), Some(asked)) if asked.wait >= left => {
                return Next::Stop(Exhausted::AskedPastDeadline { asked, deadline });
            }
            (Some(_) | None, _) => {}
        }
        let backoff = self.draw(progress, rng);
        let wish = asked.map_or(Duration::ZERO, |asked| asked.wait);
        let least = backoff.max(wish);
        let spread = match asked {
            Some(asked) if self.jitter != Jitter::None => {
                uniform(Duration::ZERO, ASKED_SPREAD.max(asked.wait / 10), rng)
            }
            Some(_) | None => Duration::ZERO,
        };
        let delay = least.saturating_add(spread);
        let Some((deadline, left)) = left.filter(|(_, left)| delay >= *left) else {
            return Next::Wait(delay);
        };
        let room = room(left, progress.longest);
        match asked.map(|_| wish) {
            _ if room.max(wish) < (self.growth.first() / 2).max(self.floor) => {
                Next::Stop(Exhausted::DelayPastDeadline(deadline))
            }
            None => Next::Wait(room),
            Some(wish) => {
                // Not earlier than asked, and a crowd not all together: where the attempt has no room, within a
                // tenth of what is left after the wish.
                let from = least.min(room).max(wish).max(self.floor);
                let to = room.max(from + left.saturating_sub(from).saturating_sub(TICK) / 10);
                Next::Wait(if self.jitter == Jitter::None { from.max(room) } else { uniform(from, to, rng) })
            }
        }
    }

    fn draw(&self, progress: &mut Progress, rng: &mut impl Rng) -> Duration {
        let spread = Spread {
            base: self.growth.base(progress.attempts.saturating_sub(1), self.cap),
            first: self.growth.first(),
            previous: progress.previous,
            cap: self.cap,
        };
        let delay = self.jitter.draw(spread, rng).max(self.floor);
        progress.previous = delay;
        delay
    }
}

/// The longest wait after which an attempt still fits before the deadline, `left` away: twice the time of the
/// longest attempt stays free, and a tenth of what is left in any case.
fn room(left: Duration, longest: Duration) -> Duration {
    let tenth = left.saturating_sub(left / 10 * 9).max(TICK);
    left.saturating_sub(longest.saturating_mul(2).max(tenth))
}

#[cfg(test)]
mod tests;
