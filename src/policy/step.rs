//! What follows a judged attempt: another attempt, a wait for the breaker, or the end of the run.
//!
//! The decision has two halves. [`Policy::next`] knows only this run: its schedule, its signals,
//! its input. [`Policy::agree`] then takes the answer of the breaker and the budget into account.

#[cfg(test)]
mod tests;

use std::time::Duration;

use rand::Rng;

use super::Policy;
use super::admission::breaker::{Observation, Refusal};
use super::admission::record::Settlement;
use super::delay::schedule::{Next, Progress};
use super::finish::{Exhausted, Finish};
use super::outcome::{Attempt, By, Cut, Limit, Outcome};
use super::outer::{Deadline, TimeLeft};
use super::verdict::rule::{Judged, Rule, Verdict};

/// What follows a judged attempt.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Step {
    /// A retry after this delay.
    Again(Duration),
    /// Another attempt after this delay, although the last one succeeded: the run needs more successes
    /// in a row.
    Repeat(Duration),
    /// A retry after this delay, if the breaker allows it then. The first look at the breaker comes
    /// `look` from now.
    Await { delay: Duration, look: Duration, refusal: Refusal },
    /// No other attempt.
    Over(Finish),
}

impl Policy {
    /// The wait before the first attempt, if it begins at `now`. Only `--splay` asks for the random
    /// source.
    #[must_use]
    pub(crate) fn first_wait<'r, R: Rng + 'r>(
        &self,
        now: Duration,
        random: impl FnOnce() -> &'r mut R,
    ) -> Duration {
        if self.schedule.splay.is_zero() {
            return Duration::ZERO;
        }
        let outer_left = self.handed_down.map(|deadline| deadline.at.saturating_sub(now));
        self.schedule.draw_splay(outer_left, random())
    }

    /// The time until the first deadline of a run that began at `start`: its own deadline, or one that
    /// was handed down.
    #[must_use]
    pub(crate) fn time_left(&self, start: Duration, now: Duration) -> Option<TimeLeft> {
        let own = self.schedule.deadline.map(|length| TimeLeft::own(length, now.saturating_sub(start)));
        let outer = self.handed_down.map(|outer| TimeLeft::outer(outer.at.saturating_sub(now)));
        own.into_iter().chain(outer).min_by_key(|until| until.left)
    }

    /// What follows an attempt, with this time until the first deadline, as far as this run alone
    /// decides. Only a retry asks for the random source.
    pub(crate) fn next<'r, R: Rng + 'r>(
        &self,
        judged: &Judged,
        progress: &mut Progress,
        left: Option<TimeLeft>,
        random: impl FnOnce() -> &'r mut R,
    ) -> Step {
        let Judged { attempt, verdict, .. } = judged;
        let (outcome, rule) = (attempt.outcome.clone(), verdict.rule().clone());
        let enough =
            self.schedule.count_in_row(progress, judged.is_success()) || *verdict.rule() == Rule::Done;
        let succeeded = enough && matches!((verdict, &outcome), (Verdict::Success(_), Outcome::Exited(0)));
        Step::Over(match (verdict, attempt.interrupted, &attempt.outcome) {
            (Verdict::Fatal(Rule::LeftAlive), ..) => Finish::NotRetried { outcome, rule },
            // A command that died by ^C is no success, whatever --until waits for.
            (_, Some(signal), _) if !succeeded => Finish::InterruptedAttempt { signal, outcome, rule },
            (Verdict::Success(_), ..) if enough => Finish::Succeeded { outcome, rule },
            (_, _, Outcome::TimedOut(Cut { limit: Limit::Deadline(deadline), left, .. }))
                if left.is_empty() =>
            {
                judged.gave_up(Exhausted::Deadline(Deadline::Own(*deadline)))
            }
            (Verdict::Fatal(_), ..) => Finish::NotRetried { outcome, rule },
            (Verdict::Success(_) | Verdict::Retryable(_), ..) => {
                let next = if judged.is_success() {
                    self.schedule.next_in_row(progress, left)
                } else {
                    self.schedule.next(progress, left, attempt.asked, random())
                };
                match (next, &attempt.unkept) {
                    (Next::Wait(delay), None) if judged.is_success() => return Step::Repeat(delay),
                    (Next::Wait(delay), None) => return Step::Again(delay),
                    (Next::Wait(_), Some(unkept)) => judged.gave_up(Exhausted::InputUnkept(unkept.clone())),
                    (Next::Stop(why), _) => judged.gave_up(why),
                }
            }
        })
    }

    /// What follows an attempt after `settlement`, the answer of the breaker and the budget. `left`
    /// is the time until the first deadline.
    pub(crate) fn agree<'r, R: Rng + 'r>(
        &self,
        judged: &Judged,
        next: Step,
        settlement: Settlement,
        left: Option<TimeLeft>,
        random: impl FnOnce() -> &'r mut R,
    ) -> Step {
        let Step::Again(delay) = next else { return next };
        let deadline = left.map(|until| until.deadline).filter(|_| self.admission.wait);
        let left = left.map_or(Duration::MAX, |until| until.left);
        let why = match settlement {
            Settlement::Go => return next,
            Settlement::Wait(refusal) => match self.admission.next_look(&refusal, left, random()) {
                Some(look) => return Step::Await { delay, look, refusal },
                None => Exhausted::BreakerOpen { refusal, deadline },
            },
            Settlement::Open(refusal) => Exhausted::BreakerOpen { refusal, deadline },
            Settlement::Spent(spent) => Exhausted::BudgetSpent(spent),
        };
        Step::Over(judged.gave_up(why))
    }

    /// What an attempt shows of the service. `describe` puts a failure into words for other runs.
    pub(crate) fn observe(&self, judged: &Judged, describe: impl FnOnce(&Attempt) -> String) -> Observation {
        let Judged { attempt, verdict, .. } = judged;
        let failure = || Observation::Failure {
            description: describe(attempt),
            asked: attempt.asked.map(|asked| asked.wait),
        };
        let worked = attempt.outcome == Outcome::Exited(0) && matches!(verdict, Verdict::Success(_));
        let healthy = attempt.by == By::Command
            && self.schedule.healthy_after.is_some_and(|healthy| attempt.ran >= healthy);
        match (&attempt.outcome, verdict) {
            // The user ended it.
            _ if attempt.interrupted.is_some() && !worked => Observation::Nothing,
            (Outcome::NotStarted(_), _) => Observation::Nothing,
            // --check decided, and nobody asked the service.
            (_, Verdict::Success(Rule::Done)) => Observation::Nothing,
            (_, Verdict::Success(_)) => Observation::Success,
            // The service works. Whether --until holds is another question.
            (_, Verdict::Retryable(Rule::NotYet)) => Observation::Success,
            (Outcome::TimedOut(Cut { limit: Limit::Timeout(_), .. }), _) => failure(),
            // The attempt may not have had enough time. Enough is the timeout, or half of the
            // deadline if there is no timeout.
            (Outcome::TimedOut(Cut { limit: Limit::Deadline(length), .. }), _)
                if self.limits.timeout.is_some() || attempt.ran < *length / 2 =>
            {
                Observation::Nothing
            }
            (_, Verdict::Retryable(_)) if healthy => Observation::Success,
            (Outcome::Exited(0), Verdict::Fatal(Rule::MaybeSent)) => Observation::Success,
            (_, Verdict::Retryable(_) | Verdict::Fatal(Rule::MaybeSent)) => failure(),
            (_, Verdict::Fatal(_)) => Observation::Nothing,
        }
    }
}
