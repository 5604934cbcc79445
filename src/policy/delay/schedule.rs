//! The schedule of a run: the number of attempts, the deadline and the delays.

use std::num::NonZeroU32;
use std::time::Duration;

use rand::Rng;

use super::backoff::Growth;
use super::jitter::{Jitter, Spread, uniform};
use crate::policy::finish::Exhausted;
use crate::policy::outer::TimeLeft;
use crate::policy::verdict::http::Asked;

#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    /// The maximum number of attempts, including the first. None: no limit.
    pub(crate) max_attempts: Option<NonZeroU32>,
    /// The number of successes in a row that the run needs.
    pub(crate) successes: NonZeroU32,
    /// The time limit for the whole run, including waits.
    pub(crate) deadline: Option<Duration>,
    /// An attempt that ran this long resets attempts and backoff.
    pub(crate) healthy_after: Option<Duration>,
    pub(crate) growth: Growth,
    pub(crate) jitter: Jitter,
    /// The upper bound of every delay.
    pub(crate) cap: Duration,
    /// The lower bound of every delay. It is not above the cap.
    pub(crate) floor: Duration,
    /// The longest random wait before the first attempt.
    pub(crate) splay: Duration,
    /// The run gives up if a server asks for a longer wait.
    pub(crate) max_retry_after: Duration,
}

/// The minimum spread of a wait that a server asked for.
const ASKED_SPREAD: Duration = Duration::from_secs(1);

/// The minimum time between the end of a wait and the deadline.
const TICK: Duration = Duration::from_nanos(1);

/// The position of a run in its schedule.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    /// Finished attempts since the start, or since the last healthy attempt, which counts.
    attempts: u32,
    /// The number of the last finished attempt while it ran.
    number: u32,
    /// All finished attempts.
    in_all: u64,
    /// Successful attempts since the last failure.
    in_row: u32,
    /// The number of the last success in the current series. The backoff begins anew after it.
    succeeded_at: u32,
    /// The previous delay. At the start it is the first delay.
    previous: Duration,
    /// The time of the longest attempt.
    longest: Duration,
}

impl Progress {
    /// The number of the next attempt. Numbers begin at 1.
    pub(crate) fn next_attempt(&self) -> u32 {
        self.attempts.saturating_add(1)
    }

    /// The number of the last finished attempt in the current series.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The number of the last finished attempt while it ran (`RETRY_ATTEMPT`). It differs from
    /// [`attempts`](Self::attempts) if the attempt was healthy: it then begins a new series.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn in_all(&self) -> u64 {
        self.in_all
    }

    /// The number of successful attempts since the last failure.
    pub(crate) fn in_row(&self) -> u32 {
        self.in_row
    }
}

/// The decision of the schedule after a retryable failure.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) enum Next {
    /// Another attempt follows after this delay.
    Wait(Duration),
    /// No attempt follows.
    Stop(Exhausted),
}

impl Schedule {
    /// The position before the first attempt.
    pub(crate) fn start(&self) -> Progress {
        Progress {
            attempts: 0,
            number: 0,
            in_all: 0,
            in_row: 0,
            succeeded_at: 0,
            previous: self.growth.first(),
            longest: Duration::ZERO,
        }
    }

    /// The maximum number of attempts in all. None: no limit. Healthy attempts reset the count.
    #[must_use]
    pub(crate) fn most_attempts(&self) -> Option<u64> {
        let max = self.max_attempts.filter(|max| self.healthy_after.is_none() || max.get() == 1)?;
        Some(u64::from(max.get()))
    }

    /// Whether no attempt can follow attempt `number`, however it ends. A healthy attempt would
    /// begin a new series.
    #[must_use]
    pub(crate) fn is_last(&self, number: u32) -> bool {
        self.max_attempts.is_some_and(|max| match self.healthy_after {
            None => number >= max.get(),
            Some(_) => max.get() == 1,
        })
    }

    /// Draws the wait before the first attempt. It ends before the deadline of a retry outside, with
    /// room for the attempt.
    #[must_use]
    pub(crate) fn draw_splay(&self, outer_left: Option<Duration>, rng: &mut impl Rng) -> Duration {
        let most = outer_left.map_or(Duration::MAX, |left| room(left, Duration::ZERO));
        uniform(Duration::ZERO, self.splay.min(most), rng)
    }

    /// Counts a finished attempt. If it ran for `healthy_after`, it counts as the first of a new
    /// series.
    pub(crate) fn count(&self, progress: &mut Progress, ran: Duration) {
        progress.number = progress.next_attempt();
        if self.healthy_after.is_some_and(|healthy| ran >= healthy) {
            progress.attempts = 0;
            progress.succeeded_at = 0;
            progress.previous = self.growth.first();
        }
        progress.attempts = progress.attempts.saturating_add(1);
        progress.in_all = progress.in_all.saturating_add(1);
        progress.longest = progress.longest.max(ran);
    }

    /// Counts a success, or starts the row of successes anew. Returns whether the run has enough of
    /// them.
    pub(crate) fn count_in_row(&self, progress: &mut Progress, success: bool) -> bool {
        if success {
            progress.in_row = progress.in_row.saturating_add(1);
            progress.succeeded_at = progress.attempts;
            progress.previous = self.growth.first();
        } else {
            progress.in_row = 0;
        }
        progress.in_row >= self.successes.get()
    }

    /// The delay after a success that is not enough.
    pub(crate) fn delay_in_row(&self) -> Duration {
        self.growth.first().min(self.cap).max(self.floor)
    }

    /// Decides after a success that is not enough, with this time until the first deadline. The delay
    /// is always the first one.
    pub(crate) fn next_in_row(&self, progress: &Progress, left: Option<TimeLeft>) -> Next {
        if self.max_attempts.is_some_and(|max| progress.attempts >= max.get()) {
            return Next::Stop(Exhausted::Attempts);
        }
        let delay = self.delay_in_row();
        match left.filter(|until| delay >= until.left) {
            Some(TimeLeft { deadline, left: Duration::ZERO }) => Next::Stop(Exhausted::Deadline(deadline)),
            Some(TimeLeft { deadline, .. }) => Next::Stop(Exhausted::DelayPastDeadline(deadline)),
            None => Next::Wait(delay),
        }
    }

    /// Decides after a retryable failure, with this time until the first deadline. `asked` is the
    /// wait that the server asks for. The next attempt never comes before the end of that wait, and
    /// is spread over some time after it: RFC 9110 §10.2.3 has no rule for many clients that are told
    /// the same.
    pub(crate) fn next(
        &self,
        progress: &mut Progress,
        left: Option<TimeLeft>,
        asked: Option<Asked>,
        rng: &mut impl Rng,
    ) -> Next {
        if self.max_attempts.is_some_and(|max| progress.attempts >= max.get()) {
            return Next::Stop(Exhausted::Attempts);
        }
        if let Some(asked) = asked.filter(|asked| asked.wait > self.max_retry_after) {
            return Next::Stop(Exhausted::AskedTooMuch { asked, most: self.max_retry_after });
        }
        match (left, asked) {
            (Some(TimeLeft { deadline, left: Duration::ZERO }), _) => {
                return Next::Stop(Exhausted::Deadline(deadline));
            }
            (Some(TimeLeft { deadline, left }), Some(asked)) if asked.wait >= left => {
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
        let Some(TimeLeft { deadline, left }) = left.filter(|until| delay >= until.left) else {
            return Next::Wait(delay);
        };
        let room = room(left, progress.longest);
        match asked.map(|_| wish) {
            _ if room.max(wish) < (self.growth.first() / 2).max(self.floor) => {
                Next::Stop(Exhausted::DelayPastDeadline(deadline))
            }
            None => Next::Wait(room),
            Some(wish) => {
                // Not earlier than asked, and not all clients at once. If the attempt does not fit
                // before the deadline, spread over a tenth of the time between the asked moment and
                // the deadline.
                let from = least.min(room).max(wish).max(self.floor);
                let to = room.max(from + left.saturating_sub(from).saturating_sub(TICK) / 10);
                Next::Wait(if self.jitter == Jitter::None { from.max(room) } else { uniform(from, to, rng) })
            }
        }
    }

    fn draw(&self, progress: &mut Progress, rng: &mut impl Rng) -> Duration {
        let spread = Spread {
            base: self
                .growth
                .base(progress.attempts.saturating_sub(progress.succeeded_at).saturating_sub(1), self.cap),
            first: self.growth.first(),
            previous: progress.previous,
            cap: self.cap,
        };
        let delay = self.jitter.draw(spread, rng).max(self.floor);
        progress.previous = delay;
        delay
    }
}

/// The longest wait after which an attempt still fits before the deadline. It leaves twice the time
/// of the longest attempt free, and at least a tenth of `left`, the time until the deadline.
fn room(left: Duration, longest: Duration) -> Duration {
    let tenth = left.saturating_sub(left / 10 * 9).max(TICK);
    left.saturating_sub(longest.saturating_mul(2).max(tenth))
}

#[cfg(test)]
mod tests;
