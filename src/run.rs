//! The loop: wait, ask the breaker, make an attempt, judge it, and settle what follows.

mod host;
mod once;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub(crate) use host::{Checked, Host, Output, Randomness};

use crate::error::Error;
use crate::policy::Policy;
use crate::policy::admission::Admission;
use crate::policy::admission::breaker::{Observation, Refusal};
use crate::policy::admission::record::Settlement;
use crate::policy::delay::schedule::Progress;
use crate::policy::finish::{Exhausted, Finish, Wait};
use crate::policy::outcome::{Attempt, By, OwnError};
use crate::policy::outer::{Deadline, Outer, TimeLeft};
use crate::policy::signal::Signal;
use crate::policy::step::Step;
use crate::policy::verdict::rule::Judged;
use crate::report::event::{Awaited, Event, Pause, RunEnd};

/// Makes attempts until one succeeds, none can succeed, or none is left.
///
/// # Errors
/// If retry itself fails.
pub(crate) fn run(policy: &Policy, host: &mut impl Host) -> Result<Finish, Error> {
    let mut run = Run::new(policy, host);
    match run.attempts() {
        End::Finish(finish) => run.finish(*finish),
        End::Failure(error) => {
            run.show_output();
            Err(error)
        }
    }
}

/// A run between its start and its end. All times are those of [`Host::now`].
struct Run<'a, H> {
    policy: &'a Policy,
    host: &'a mut H,
    start: Duration,
    deadline: Option<Duration>,
    progress: Progress,
    last: Option<Judged>,
    before_last: Option<Judged>,
    waiting: Waiting,
    /// The time of all waits so far.
    waited: Duration,
    /// Whether a retry has followed an attempt.
    has_retried: bool,
}

/// What the next attempt waits for.
enum Waiting {
    Nothing,
    /// The random wait before the first attempt.
    Splay(Duration),
    /// The delay after an attempt.
    Delay(Duration),
    /// An open breaker, which is asked again after `length`.
    Breaker {
        length: Duration,
        breaker: OpenBreaker,
    },
}

/// The last answer of a breaker that this run waits for.
struct OpenBreaker {
    refusal: Refusal,
    answered: Duration,
    /// The end of the delay: no attempt begins earlier, whatever the breaker says.
    earliest: Duration,
}

/// The end of the loop. Each step of the loop returns it as its error.
enum End {
    Finish(Box<Finish>),
    Failure(Error),
}

impl From<Finish> for End {
    fn from(finish: Finish) -> Self {
        Self::Finish(Box::new(finish))
    }
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failure(error)
    }
}

/// The time between two looks at a breaker that somebody may have closed by hand.
const GLANCE: Duration = Duration::from_secs(5);

impl<'a, H: Host> Run<'a, H> {
    fn new(policy: &'a Policy, host: &'a mut H) -> Self {
        let schedule = &policy.schedule;
        let start = host.now();
        Self {
            policy,
            host,
            start,
            deadline: schedule.deadline.map(|deadline| start.saturating_add(deadline)),
            progress: schedule.start(),
            last: None,
            before_last: None,
            waiting: Waiting::Nothing,
            waited: Duration::ZERO,
            has_retried: false,
        }
    }

    fn attempts(&mut self) -> End {
        if let Err(end) = self.claim() {
            return end;
        }
        self.splay();
        loop {
            if let Err(end) = self.turn() {
                return end;
            }
        }
    }

    /// Postpones the first attempt, if `--splay` says so.
    fn splay(&mut self) {
        let now = self.host.now();
        let wait = self.policy.first_wait(now, || self.host.random(Randomness::Delays));
        if !wait.is_zero() {
            self.host.tell(&Event::Splay { wait });
            self.waiting = Waiting::Splay(wait);
        }
    }

    fn turn(&mut self) -> Result<(), End> {
        self.wait()?;
        if self.is_admitted()? {
            let attempt = self.make_attempt()?;
            let judged = self.judge(attempt);
            self.settle(judged)?;
        }
        Ok(())
    }

    /// Waits for the next attempt. It does so even if there is nothing to wait for, because a
    /// signal may have arrived, and then no attempt begins.
    fn wait(&mut self) -> Result<(), End> {
        let (from, length) = (self.host.now(), self.waiting.length());
        let until = from.saturating_add(length);
        self.tell_pause(length, until);
        let interrupted = self.wait_until(until);
        self.host.tell(&Event::Pause(None));
        self.waited = self.waited.saturating_add(self.host.now().saturating_sub(from));
        if let Some(signal) = interrupted? {
            let wait = self.waiting.reason(self.host.now());
            return Err(Finish::InterruptedWait { signal, wait }.into());
        }
        // The run was stopped meanwhile, or the machine was very slow.
        self.check_deadline(self.waiting.refusal(self.host.now()))
    }

    /// The wait for a breaker may end sooner: a reset may close it. All runs that wait come back
    /// spread over half of its cooldown, as after any other wait for it.
    fn wait_until(&mut self, mut until: Duration) -> Result<Option<Signal>, Error> {
        loop {
            let now = self.host.now();
            let waits_for_breaker = self.waiting.breaker().is_some();
            let slice = if waits_for_breaker { until.min(now.saturating_add(GLANCE)) } else { until };
            if let Some(signal) = self.host.wait_until(slice)? {
                return Ok(Some(signal));
            }
            if slice >= until {
                return Ok(None);
            }
            if let Some(OpenBreaker { earliest, .. }) = self.waiting.breaker()
                && self.host.breaker_is_closed()
            {
                let spread = Admission::spread(self.host.random(Randomness::BreakerLooks));
                let now = self.host.now();
                until = until.min(now.max(*earliest).saturating_add(spread));
                let length = until.saturating_sub(now);
                self.waiting = Waiting::Delay(length);
                self.tell_pause(length, until);
            }
        }
    }

    fn tell_pause(&mut self, length: Duration, until: Duration) {
        let awaited = match self.waiting {
            Waiting::Nothing | Waiting::Splay(_) | Waiting::Delay(_) => {
                Awaited::Attempt(self.progress.next_attempt())
            }
            Waiting::Breaker { .. } => Awaited::Look,
        };
        self.host.tell(&Event::Pause(Some(Pause { awaited, length, until })));
    }

    /// Asks the breaker. If it refuses and the run waits for it, [`wait`](Self::wait) comes next.
    fn is_admitted(&mut self) -> Result<bool, End> {
        let Some(refusal) = self.host.admit(self.left()) else { return Ok(true) };
        let (left, admission) = (self.left(), &self.policy.admission);
        let looks = self.host.random(Randomness::BreakerLooks);
        if let Some(length) = admission.next_look(&refusal, left, looks) {
            let again = self.waiting.breaker().is_some_and(|last| last.refusal.is_like(&refusal));
            self.host.tell(&Event::Waiting { refusal: &refusal, look: length, again });
            let now = self.host.now();
            let breaker = OpenBreaker { refusal, answered: now, earliest: now };
            self.waiting = Waiting::Breaker { length, breaker };
            return Ok(false);
        }
        let deadline = self.time_left().map(|until| until.deadline).filter(|_| admission.wait);
        Err(match &self.last {
            Some(last) => last.gave_up(Exhausted::BreakerOpen { refusal, deadline }),
            None => Finish::NotRun { refusal, deadline },
        }
        .into())
    }

    fn make_attempt(&mut self) -> Result<Attempt, End> {
        let attempt = self.check_and_attempt();
        if attempt.is_err() {
            // Another run may probe the breaker instead.
            let _ = self.host.settle(&Observation::Nothing, false, self.left());
        }
        attempt
    }

    /// Runs `--check` and then the command, unless the check decides.
    fn check_and_attempt(&mut self) -> Result<Attempt, End> {
        let number = self.progress.next_attempt();
        // It may have taken a while to ask the breaker.
        if self.policy.admission.is_shared() {
            self.check_interruption(self.waiting.refusal(self.host.now()))?;
        }
        let checked = self.host.check(number, self.last.as_ref(), self.deadline);
        match checked.map_err(|error| self.unprepared(error))? {
            Checked::Instead(attempt) => return Ok(*attempt),
            Checked::NotAsked => {}
            Checked::NotDone => self.check_interruption(None)?,
        }
        let attempt = self.host.attempt(number, self.last.as_ref(), self.deadline);
        attempt.map_err(|error| self.unprepared(error))
    }

    /// The end of a run that cannot prepare an attempt. It must not hide how the command ended
    /// before.
    fn unprepared(&self, error: Error) -> End {
        match (error, &self.last) {
            (Error::Unprepared { what, errno }, Some(last)) => {
                last.gave_up(Exhausted::Unprepared { what, errno }).into()
            }
            (error, _) => error.into(),
        }
    }

    fn judge(&mut self, attempt: Attempt) -> Judged {
        // A check does not prove that the command is healthy.
        let ran = if attempt.by == By::Check { Duration::ZERO } else { attempt.ran };
        self.policy.schedule.count(&mut self.progress, ran);
        self.policy.rules.judge(attempt)
    }

    /// Decides what follows, with the breaker and the budget.
    fn settle(&mut self, judged: Judged) -> Result<(), End> {
        if let Some(OwnError { what, errno }) = judged.attempt.error {
            return Err(self.broken(&judged, Error::System { what, errno }));
        }
        let left = self.time_left();
        let next =
            self.policy.next(&judged, &mut self.progress, left, || self.host.random(Randomness::Delays));
        let fate = match &next {
            Step::Over(Finish::Succeeded { .. }) => Output::Passed,
            Step::Repeat(_) => Output::Dropped,
            Step::Again(_) | Step::Await { .. } | Step::Over(_) => Output::HeldBack,
        };
        let settled = self.host.settle_output(self.progress.number(), fate);
        let step = self.agree(&judged, next);
        let waiting = match step {
            Step::Again(delay) | Step::Repeat(delay) => Ok(Waiting::Delay(delay)),
            Step::Await { delay, look, refusal } => {
                let answered = self.host.now();
                let breaker = OpenBreaker { refusal, answered, earliest: answered.saturating_add(delay) };
                Ok(Waiting::Breaker { length: delay.max(look), breaker })
            }
            Step::Over(finish) => Err(finish),
        };
        self.tell_attempt(&judged, waiting.as_ref().ok().map(Waiting::length));
        settled?;
        self.before_last = self.last.replace(judged);
        self.waiting = waiting?;
        self.prepare_retry()
    }

    /// retry itself failed when the attempt was over. The report has the attempt all the same.
    fn broken(&mut self, judged: &Judged, error: Error) -> End {
        // Another run may probe the breaker instead.
        let _ = self.host.settle(&Observation::Nothing, false, self.left());
        self.tell_attempt(judged, None);
        End::Failure(error)
    }

    /// Runs `--on-retry`. Its time is a part of the wait for the next attempt.
    fn prepare_retry(&mut self) -> Result<(), End> {
        if self.last.as_ref().is_some_and(Judged::is_success) {
            return Ok(());
        }
        let start = self.host.now();
        let number = self.progress.next_attempt();
        let interrupted = self.host.prepare_retry(number, self.last.as_ref(), self.deadline)?;
        let now = self.host.now();
        if let Some(signal) = interrupted {
            return Err(Finish::InterruptedWait { signal, wait: self.waiting.reason(now) }.into());
        }
        self.waiting.shorten(now.saturating_sub(start));
        Ok(())
    }

    /// Reports an attempt to the runs that share its breaker, and asks them for the next one.
    fn agree(&mut self, judged: &Judged, next: Step) -> Step {
        let left = self.left();
        let observation = self.policy.observe(judged, |attempt| self.host.describe(attempt));
        let retry = matches!(next, Step::Again(_));
        let settlement = self.host.settle(&observation, retry, left);
        if let (Settlement::Open(refusal) | Settlement::Wait(refusal), Observation::Failure { .. }, false) =
            (&settlement, &observation, retry)
        {
            self.host.tell(&Event::Opened { refusal });
        }
        let left = self.time_left();
        let step =
            self.policy.agree(judged, next, settlement, left, || self.host.random(Randomness::BreakerLooks));
        if let Step::Await { refusal, .. } = &step {
            self.host.tell(&Event::Opened { refusal });
        }
        step
    }

    /// `next` is the wait before the next attempt, if one follows.
    fn tell_attempt(&mut self, judged: &Judged, next: Option<Duration>) {
        self.host.tell(&Event::Attempt { progress: &self.progress, judged, next });
        let is_retry = next.is_some() && !judged.is_success();
        if !is_retry || std::mem::replace(&mut self.has_retried, true) {
            return;
        }
        if let Some(method) = self.policy.repeated {
            self.host.tell(&Event::MayRepeat { method });
        }
        if let Some(outer) = self.policy.outer.filter(Outer::repeats) {
            let in_all = outer.in_all(self.policy.schedule.most_attempts());
            self.host.tell(&Event::Nested { outer, in_all });
        }
    }

    /// Passes on the rest of the output and tells how the run ended.
    fn finish(mut self, finish: Finish) -> Result<Finish, Error> {
        let finish = self.keep_and_pass(finish)?;
        self.host.tell(&Event::Finish(RunEnd {
            finish: &finish,
            progress: &self.progress,
            last: self.last.as_ref(),
            before_last: self.before_last.as_ref(),
            elapsed: self.elapsed(),
            waited: self.waited,
        }));
        Ok(finish)
    }

    /// A run succeeds only if all output of its last attempt is passed on.
    fn pass_output(&mut self, finish: Finish) -> Result<Finish, Error> {
        match (self.host.pass_output(self.deadline), finish) {
            (passed, finish @ (Finish::Succeeded { .. } | Finish::Answered { .. })) => Ok(match passed? {
                Some(signal) => Finish::InterruptedOutput { signal },
                None => finish,
            }),
            (Err(error), finish) => {
                self.show_output();
                // The exit status tells about the failure of the command, which matters more.
                self.host.tell(&Event::NotPassed { error: &error });
                Ok(finish)
            }
            (Ok(_), finish) => {
                self.show_output();
                Ok(finish)
            }
        }
    }

    /// Shows what the last attempt wrote, if it was held back.
    fn show_output(&mut self) {
        self.host.show_output(self.progress.next_attempt());
    }

    /// Ends the run if a signal has arrived or the deadline has passed.
    fn check_interruption(&mut self, refusal: Option<Refusal>) -> Result<(), End> {
        let now = self.host.now();
        if let Some(signal) = self.host.wait_until(now)? {
            return Err(Finish::InterruptedWait { signal, wait: Wait::Nothing }.into());
        }
        self.check_deadline(refusal)
    }

    /// Ends the run if a deadline has passed between two attempts. `refusal` is the answer of the
    /// breaker that the run waited for.
    fn check_deadline(&self, refusal: Option<Refusal>) -> Result<(), End> {
        let Some(TimeLeft { deadline, .. }) = self.time_left().filter(|until| until.left.is_zero()) else {
            return Ok(());
        };
        Err(match (&self.last, refusal, deadline) {
            (Some(last), ..) => last.gave_up(Exhausted::Deadline(deadline)),
            (None, Some(refusal), _) => Finish::NotRun { refusal, deadline: Some(deadline) },
            (None, None, Deadline::Own(deadline)) => Finish::NeverStarted { deadline },
            // The retry outside ends the attempt when it wants to.
            (None, None, Deadline::Outer(_)) => return Ok(()),
        }
        .into())
    }

    /// The time until the first deadline: the one of this run, or one that was handed down.
    fn time_left(&self) -> Option<TimeLeft> {
        self.policy.time_left(self.start, self.host.now())
    }

    /// The time until the first deadline.
    fn left(&self) -> Duration {
        self.time_left().map_or(Duration::MAX, |until| until.left)
    }

    fn elapsed(&self) -> Duration {
        self.host.now().saturating_sub(self.start)
    }
}

impl OpenBreaker {
    /// The answer as it reads now: messages turn its age into a time of day.
    fn refusal_at(&self, now: Duration) -> Refusal {
        self.refusal.clone().after(now.saturating_sub(self.answered))
    }
}

impl Waiting {
    fn length(&self) -> Duration {
        match self {
            Self::Nothing => Duration::ZERO,
            Self::Splay(length) | Self::Delay(length) | Self::Breaker { length, .. } => *length,
        }
    }

    /// A part of the wait is over.
    fn shorten(&mut self, passed: Duration) {
        match self {
            Self::Nothing => {}
            Self::Splay(length) | Self::Delay(length) | Self::Breaker { length, .. } => {
                *length = length.saturating_sub(passed);
            }
        }
    }

    fn breaker(&self) -> Option<&OpenBreaker> {
        match self {
            Self::Breaker { breaker, .. } => Some(breaker),
            Self::Nothing | Self::Splay(_) | Self::Delay(_) => None,
        }
    }

    /// The last answer of the breaker that the run waits for, if any.
    fn refusal(&self, now: Duration) -> Option<Refusal> {
        self.breaker().map(|breaker| breaker.refusal_at(now))
    }

    fn reason(&self, now: Duration) -> Wait {
        match self {
            Self::Nothing => Wait::Nothing,
            Self::Splay(_) => Wait::Splay,
            Self::Delay(_) => Wait::Delay,
            Self::Breaker { breaker, .. } => Wait::Breaker(breaker.refusal_at(now)),
        }
    }
}
