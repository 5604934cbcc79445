//! One run against a service that stays down.

use std::time::Duration;

use rand::Rng;

use crate::policy::Policy;
use crate::policy::delay::schedule::Schedule;
use crate::policy::outcome::{Attempt, Outcome};
use crate::policy::step::Step;
use crate::policy::verdict::rule::{Judged, Rule, Verdict};

/// The most attempts of a run that a plan follows. A run may have no end.
pub(crate) const FOLLOWED: usize = 10_000;

/// The attempts of a run that fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Walk {
    /// The moment at which each attempt starts, counted from the start of the run. It may be empty.
    pub(crate) starts: Vec<Duration>,
    /// Whether the run has ended. Otherwise more attempts follow.
    pub(crate) is_whole: bool,
}

impl Walk {
    /// A run whose attempts each take `length`, unless the deadline cuts them. Follows at most `most`
    /// attempts.
    pub(crate) fn new(policy: &Policy, length: Duration, most: usize, rng: &mut impl Rng) -> Self {
        const START: Duration = Duration::ZERO;
        let failure = Judged {
            attempt: Attempt::ended(Outcome::Exited(1)),
            verdict: Verdict::Retryable(Rule::AnyFailure),
            cause: None,
        };
        let left = |now| policy.time_left(START, now);
        let mut starts = Vec::new();
        let mut progress = policy.schedule.start();
        let mut now = policy.first_wait(START, || &mut *rng);
        while left(now).is_none_or(|until| !until.left.is_zero()) {
            if starts.len() >= most {
                return Self { starts, is_whole: false };
            }
            starts.push(now);
            let ran = left(now).map_or(length, |until| length.min(until.left));
            now = now.saturating_add(ran);
            policy.schedule.count(&mut progress, ran);
            match policy.next(&failure, &mut progress, left(now), || &mut *rng) {
                Step::Again(delay) => now = now.saturating_add(delay),
                // A failure is neither repeated nor, without a breaker, waited for.
                Step::Repeat(_) | Step::Await { .. } | Step::Over(_) => break,
            }
        }
        Self { starts, is_whole: true }
    }

    /// The moment of the last attempt.
    pub(crate) fn last(&self) -> Duration {
        self.starts.last().copied().unwrap_or_default()
    }

    /// The moment of the last attempt that can begin a success: with `--successes`, others must be
    /// able to follow it. Zero if there is none.
    pub(crate) fn outlived(&self, schedule: &Schedule) -> Duration {
        let further = schedule.successes.get() - 1;
        let needed = schedule.delay_in_row().saturating_mul(further);
        let begins = |(index, start): (usize, &Duration)| {
            let number = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1);
            let fits = schedule.max_attempts.is_none_or(|max| number.saturating_add(further) <= max.get());
            let in_time =
                schedule.deadline.is_none_or(|end| further == 0 || start.saturating_add(needed) < end);
            (fits && in_time).then_some(*start)
        };
        self.starts.iter().enumerate().rev().find_map(begins).unwrap_or_default()
    }
}
