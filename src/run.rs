//! The loop: attempt, verdict, what next, wait.

use std::time::Duration;

use nix::errno::Errno;
use rand::Rng;

use crate::error::Error;
use crate::policy::Policy;
use crate::policy::admission::Settlement;
use crate::policy::admission::breaker::{Refusal, Shown};
use crate::policy::delay::schedule::{Next, Progress};
use crate::policy::finish::{Exhausted, Finish, Wait};
use crate::policy::outcome::{Attempt, By, Cut, Limit, Outcome};
use crate::policy::signal::Signal;
use crate::policy::verdict::rule::Rule;
use crate::policy::verdict::rule::{Judged, Verdict};
use crate::report::Event;

/// What the loop needs of the world.
pub(crate) trait Host {
    /// The random source of the delays.
    type Random: Rng;

    /// The time since some moment; it never goes back.
    fn now(&self) -> Duration;

    /// The random source, made when first asked for.
    fn random(&mut self) -> &mut Self::Random;

    /// Asks `--check`, if there is one, whether an attempt is needed; the arguments are those of
    /// [`attempt`](Self::attempt).
    ///
    /// # Errors
    /// Where retry itself fails; a failing check is an outcome.
    fn check(&mut self, number: u32, last: Option<u8>, deadline: Option<Duration>) -> Result<Checked, Error>;

    /// Runs the command once. `number` is from 1, `last` the status of the attempt before; the run's
    /// deadline is at `deadline`.
    ///
    /// # Errors
    /// Where retry itself fails; a failing command is an outcome.
    fn attempt(
        &mut self,
        number: u32,
        last: Option<u8>,
        deadline: Option<Duration>,
    ) -> Result<Attempt, Error>;

    /// The random source of looks at a breaker: they must not come in step, also where the delays are seeded.
    fn dice(&mut self) -> &mut Self::Random;

    /// Asks the breaker for an attempt, and puts a run's first into the budget. This may take until the deadline,
    /// which is `left` away. The refusal, if there is one.
    fn admit(&mut self, left: Duration) -> Option<Refusal>;

    /// Whether a breaker that refused is closed now. Only a look.
    fn is_closed(&mut self) -> bool;

    /// Reports what an attempt has shown, `left` before the deadline, and asks for a retry if one is wanted.
    fn settle(&mut self, shown: &Shown, retry: bool, left: Duration) -> Settlement;

    /// The verdict on the attempt of this number is known: what was held of its output may pass, or not.
    ///
    /// # Errors
    /// Where what may pass is not all there.
    fn judged(&mut self, number: u32, success: bool) -> Result<(), Error>;

    /// Waits until a time. A signal that ends the run ends the wait and is returned.
    ///
    /// # Errors
    /// Where retry itself fails.
    fn pause(&mut self, until: Duration) -> Result<Option<Signal>, Error>;

    /// Passes on what the commands have written and nobody has read yet, while that is taken. The signal that
    /// ended that, PIPE where nobody reads any more.
    ///
    /// # Errors
    /// Where it was not taken, and must have been.
    fn finish(&mut self, deadline: Option<Duration>) -> Result<Option<Signal>, Error>;

    /// Tells the user.
    fn tell(&mut self, event: &Event<'_>);

    /// How an attempt ended, in the words that the breaker's record keeps.
    fn ending(&self, attempt: &Attempt) -> String;
}

/// What `--check` says.
#[derive(Debug)]
pub(crate) enum Checked {
    /// There is none.
    NotAsked,
    /// The attempt is to be made.
    NotDone,
    /// It is done, or that cannot be told, or somebody wants the end: this stands for the attempt.
    Instead(Box<Attempt>),
}

/// Runs attempts until one succeeds, or none can, or none is left.
///
/// # Errors
/// Where retry itself fails.
pub(crate) fn run(policy: &Policy, host: &mut impl Host) -> Result<Finish, Error> {
    let schedule = &policy.schedule;
    let start = host.now();
    let deadline = schedule.deadline.map(|deadline| start.saturating_add(deadline));
    let mut progress = schedule.start();
    // The last attempt, and the one before it.
    let (mut last, mut before): (Option<Judged>, Option<Judged>) = (None, None);
    let mut wait = match schedule.splay {
        Duration::ZERO => Duration::ZERO,
        _ => schedule.draw_splay(host.random()),
    };
    if !wait.is_zero() {
        host.tell(&Event::Splay { wait });
    }
    let mut awaited: Option<Awaited> = None;
    let finish = loop {
        // Also where there is nothing to wait for: a signal that has come must not meet a new attempt.
        let until = host.now().saturating_add(wait);
        if let Some(signal) = pause(policy, host, until, awaited.as_ref())? {
            let wait = waited_for(wait, awaited.map(|awaited| awaited.refusal_at(host.now())), last.as_ref());
            break Finish::InterruptedWait { signal, wait };
        }
        if let Some(length) = schedule.deadline.filter(|_| deadline.is_some_and(|at| at <= host.now())) {
            // retry was stopped meanwhile, or the machine was very slow.
            break past(length, last.as_ref(), awaited.map(|awaited| awaited.refusal_at(host.now())));
        }
        if let Some(refusal) = host.admit(left(host, deadline)) {
            let left = left(host, deadline);
            if policy.admission.wait
                && let Some(look) = policy.admission.next_look(&refusal, left, host.dice())
            {
                let again = awaited.as_ref().is_some_and(|last| last.refusal.is_like(&refusal));
                host.tell(&Event::Waiting { refusal: &refusal, look, again });
                let now = host.now();
                (wait, awaited) = (look, Some(Awaited { refusal, since: now, least: now }));
                continue;
            }
            let deadline = schedule.deadline.filter(|_| policy.admission.wait);
            break match &last {
                Some(last) => last.gave_up(Exhausted::BreakerOpen { refusal, deadline }),
                None => Finish::NotRun { refusal, deadline },
            };
        }
        let status = last.as_ref().map(|last| last.attempt.outcome.status());
        let attempt = match attempt(policy, host, progress.next_attempt(), status, deadline)? {
            Ok(attempt) => attempt,
            Err(halt) => {
                let _ = host.settle(&Shown::Nothing, false, left(host, deadline));
                let refusal = awaited.map(|awaited| awaited.refusal_at(host.now()));
                break end_before(halt, schedule.deadline, last.as_ref(), refusal)?;
            }
        };
        // A check proves nothing healthy.
        let ran = if attempt.by == By::Check { Duration::ZERO } else { attempt.ran };
        schedule.count(&mut progress, ran);
        let verdict = policy.rules.classify(&attempt);
        before = last.take();
        let judged = &*last.insert(Judged { rule: verdict.rule().clone(), attempt });
        let attempt = &judged.attempt;
        let next = next(policy, host, &mut progress, start, attempt, &verdict);
        let success = matches!(next, Settled::Over(Finish::Succeeded { .. }));
        let kept = host.judged(progress.number(), success);
        let left = left(host, deadline);
        awaited = None;
        let settled = settle(policy, host, judged, &verdict, next, left);
        kept?;
        match settled {
            Settled::Again(delay) => {
                host.tell(&Event::Retry { progress: &progress, attempt, verdict: &verdict, delay });
                wait = delay;
            }
            Settled::Await { delay, look, refusal } => {
                let wait_for = delay.max(look);
                host.tell(&Event::Retry { progress: &progress, attempt, verdict: &verdict, delay: wait_for });
                let since = host.now();
                let least = since.saturating_add(delay);
                (wait, awaited) = (wait_for, Some(Awaited { refusal, since, least }));
            }
            Settled::Over(finish) => break finish,
        }
    };
    let finish = pass_rest(host, deadline, finish)?;
    host.tell(&Event::Finish {
        progress: &progress,
        last: last.as_ref(),
        before: before.as_ref(),
        finish: &finish,
        elapsed: host.now().saturating_sub(start),
    });
    Ok(finish)
}

/// The breaker that this run waits for.
struct Awaited {
    /// Its last answer.
    refusal: Refusal,
    /// When it gave this answer.
    since: Duration,
    /// When the next attempt may begin at the earliest, whatever the breaker says: the end of the delay.
    least: Duration,
}

impl Awaited {
    /// The refusal as it reads now: messages turn its age into a time of the day.
    fn refusal_at(self, now: Duration) -> Refusal {
        self.refusal.after(now.saturating_sub(self.since))
    }
}

/// What a wait of this length is for. `refusal` is the breaker's, if this run waits for one.
fn waited_for(length: Duration, refusal: Option<Refusal>, last: Option<&Judged>) -> Wait {
    match (refusal, last) {
        (Some(refusal), _) => Wait::Breaker(refusal),
        (None, Some(_)) => Wait::Delay,
        (None, None) if length.is_zero() => Wait::Nothing,
        (None, None) => Wait::Splay,
    }
}

/// Passes on the rest of the output. Without it a success is none.
///
/// # Errors
/// Where output of a command that succeeded is lost.
fn pass_rest(host: &mut impl Host, deadline: Option<Duration>, finish: Finish) -> Result<Finish, Error> {
    let passed = host.finish(deadline);
    Ok(match finish {
        Finish::Succeeded { outcome, rule } => match passed? {
            Some(signal) => Finish::InterruptedOutput { signal },
            None => Finish::Succeeded { outcome, rule },
        },
        finish => {
            // The status tells of a failure already.
            if let Err(error) = &passed {
                host.tell(&Event::NotPassed { error });
            }
            finish
        }
    })
}

/// What forbids an attempt that the breaker has allowed.
#[derive(Debug, Clone, Copy)]
enum Halt {
    Signal(Signal),
    /// The deadline passed while the breaker was asked.
    Late,
    /// The deadline passed while `--check` ran.
    LateByCheck,
    /// The system refused something that the attempt needs.
    Unprepared {
        what: &'static str,
        errno: Errno,
    },
}

/// The end of a run whose next attempt may not begin; `last` is the attempt before.
///
/// # Errors
/// When the system refused what the first attempt needs.
fn end_before(
    halt: Halt,
    deadline: Option<Duration>,
    last: Option<&Judged>,
    refusal: Option<Refusal>,
) -> Result<Finish, Error> {
    let length = deadline.unwrap_or_default();
    Ok(match (halt, last) {
        (Halt::Late, last) => past(length, last, refusal),
        (Halt::LateByCheck, last) => past(length, last, None),
        (Halt::Signal(signal), _) => Finish::InterruptedWait { signal, wait: Wait::Nothing },
        // An attempt that cannot begin must not hide how the command ended before.
        (Halt::Unprepared { what, errno }, Some(last)) => last.gave_up(Exhausted::Unprepared { what, errno }),
        (Halt::Unprepared { what, errno }, None) => return Err(Error::Unprepared { what, errno }),
    })
}

/// Makes an attempt, unless `--check` says that it is not to be made: that stands for it then.
///
/// # Errors
/// Where retry itself fails.
fn attempt(
    policy: &Policy,
    host: &mut impl Host,
    number: u32,
    status: Option<u8>,
    deadline: Option<Duration>,
) -> Result<Result<Attempt, Halt>, Error> {
    // Other runs may have held the record for a while.
    if policy.admission.is_shared()
        && let Some(halt) = halted(host, deadline, Halt::Late)?
    {
        return Ok(Err(halt));
    }
    let unprepared = |error| match error {
        Error::Unprepared { what, errno } => Ok(Halt::Unprepared { what, errno }),
        error => Err(error),
    };
    let checked = match host.check(number, status, deadline) {
        Err(error) => return unprepared(error).map(Err),
        Ok(checked) => checked,
    };
    match checked {
        Checked::Instead(attempt) => return Ok(Ok(*attempt)),
        Checked::NotAsked => {}
        Checked::NotDone => {
            if let Some(halt) = halted(host, deadline, Halt::LateByCheck)? {
                return Ok(Err(halt));
            }
        }
    }
    match host.attempt(number, status, deadline) {
        Err(error) => unprepared(error).map(Err),
        Ok(attempt) => Ok(Ok(attempt)),
    }
}

/// A signal that has come meanwhile, or else `late` if the deadline has passed.
///
/// # Errors
/// Where retry itself fails.
fn halted(host: &mut impl Host, deadline: Option<Duration>, late: Halt) -> Result<Option<Halt>, Error> {
    if let Some(signal) = host.pause(host.now())? {
        return Ok(Some(Halt::Signal(signal)));
    }
    Ok(deadline.is_some_and(|at| at <= host.now()).then_some(late))
}

/// The end of a run whose deadline of this length has passed between two attempts.
fn past(length: Duration, last: Option<&Judged>, refused: Option<Refusal>) -> Finish {
    match (last, refused) {
        (Some(last), _) => last.gave_up(Exhausted::Deadline(length)),
        (None, Some(refusal)) => Finish::NotRun { refusal, deadline: Some(length) },
        (None, None) => Finish::NeverStarted { deadline: length },
    }
}

/// The time until the deadline.
fn left(host: &impl Host, deadline: Option<Duration>) -> Duration {
    deadline.map_or(Duration::MAX, |at| at.saturating_sub(host.now()))
}

enum Settled {
    Again(Duration),
    /// After this delay, and after the breaker that has opened.
    Await {
        delay: Duration,
        look: Duration,
        refusal: Refusal,
    },
    Over(Finish),
}

/// Reports an attempt to those who share its breaker, and asks them for the retry that is to follow.
fn settle(
    policy: &Policy,
    host: &mut impl Host,
    judged: &Judged,
    verdict: &Verdict,
    next: Settled,
    left: Duration,
) -> Settled {
    let shown = shown(policy, host, &judged.attempt, verdict);
    let wish = match next {
        Settled::Again(delay) => Some(delay),
        Settled::Over(_) | Settled::Await { .. } => None,
    };
    let deadline = policy.schedule.deadline.filter(|_| policy.admission.wait);
    let why = match (host.settle(&shown, wish.is_some(), left), wish) {
        (Settlement::Go, _) | (Settlement::Spent(_), None) => return next,
        (Settlement::Open(refusal) | Settlement::Wait(refusal), None) => {
            if matches!(shown, Shown::Failure { .. }) {
                host.tell(&Event::Opened { refusal: &refusal });
            }
            return next;
        }
        (Settlement::Wait(refusal), Some(delay)) => {
            match policy.admission.next_look(&refusal, left, host.dice()) {
                Some(look) => {
                    host.tell(&Event::Opened { refusal: &refusal });
                    return Settled::Await { delay, look, refusal };
                }
                None => Exhausted::BreakerOpen { refusal, deadline },
            }
        }
        (Settlement::Open(refusal), Some(_)) => Exhausted::BreakerOpen { refusal, deadline },
        (Settlement::Spent(spent), Some(_)) => Exhausted::BudgetSpent(spent),
    };
    Settled::Over(judged.gave_up(why))
}

/// Between two looks whether a breaker that is waited for has been closed.
const GLANCE: Duration = Duration::from_secs(5);

/// Waits until a time. A wait for a breaker may end sooner if somebody closes it meanwhile, as by a reset. All
/// who wait come back spread over half its cooldown, as in any other wait for it.
fn pause(
    policy: &Policy,
    host: &mut impl Host,
    mut until: Duration,
    awaited: Option<&Awaited>,
) -> Result<Option<Signal>, Error> {
    let mut watched = awaited;
    loop {
        let now = host.now();
        let slice = if watched.is_some() { until.min(now.saturating_add(GLANCE)) } else { until };
        if let Some(signal) = host.pause(slice)? {
            return Ok(Some(signal));
        }
        if slice >= until {
            return Ok(None);
        }
        if let Some(Awaited { refusal, least, .. }) = watched
            && host.is_closed()
        {
            let spread = policy.admission.spread(refusal, host.dice());
            (watched, until) = (None, until.min(host.now().max(*least).saturating_add(spread)));
        }
    }
}

/// What an attempt shows of the service.
fn shown(policy: &Policy, host: &impl Host, attempt: &Attempt, verdict: &Verdict) -> Shown {
    let failure =
        || Shown::Failure { what: host.ending(attempt), asked: attempt.asked.map(|asked| asked.wait) };
    let worked = attempt.outcome == Outcome::Exited(0) && matches!(verdict, Verdict::Success(_));
    let healthy = attempt.by == By::Command
        && policy.schedule.healthy_after.is_some_and(|healthy| attempt.ran >= healthy);
    match (&attempt.outcome, verdict) {
        // The user wanted its end.
        _ if attempt.interrupted.is_some() && !worked => Shown::Nothing,
        (Outcome::NotStarted(_), _) => Shown::Nothing,
        // The service was not asked.
        (_, Verdict::Success(Rule::Done)) => Shown::Nothing,
        (_, Verdict::Success(_)) => Shown::Success,
        // It works, and what `--until` waits for is another question.
        (_, Verdict::Retryable(Rule::NotYet)) => Shown::Success,
        (Outcome::TimedOut(Cut { limit: Limit::Timeout(_), .. }), _) => failure(),
        // It did not have its time: that is the timeout's or, for want of one, most of the deadline's.
        (Outcome::TimedOut(Cut { limit: Limit::Deadline(length), .. }), _)
            if policy.limits.timeout.is_some() || attempt.ran < *length / 2 =>
        {
            Shown::Nothing
        }
        // It worked for so long.
        (_, Verdict::Retryable(_)) if healthy => Shown::Success,
        (Outcome::Exited(0), Verdict::Fatal(Rule::MaybeSent)) => Shown::Success,
        (_, Verdict::Retryable(_) | Verdict::Fatal(Rule::MaybeSent)) => failure(),
        (_, Verdict::Fatal(_)) => Shown::Nothing,
    }
}

/// What follows a judged attempt, as far as this run knows.
fn next(
    policy: &Policy,
    host: &mut impl Host,
    progress: &mut Progress,
    start: Duration,
    attempt: &Attempt,
    verdict: &Verdict,
) -> Settled {
    let outcome = attempt.outcome.clone();
    let rule = verdict.rule().clone();
    match (verdict, attempt.interrupted, &attempt.outcome) {
        (Verdict::Fatal(Rule::LeftAlive), ..) => Settled::Over(Finish::NotRetried { outcome, rule }),
        // Death by ^C is no success, whatever `--until` waits for.
        (verdict, Some(signal), ended)
            if !matches!((verdict, ended), (Verdict::Success(_), Outcome::Exited(0))) =>
        {
            Settled::Over(Finish::InterruptedAttempt { signal, outcome, rule })
        }
        (Verdict::Success(_), ..) => Settled::Over(Finish::Succeeded { outcome, rule }),
        (_, _, Outcome::TimedOut(Cut { limit: Limit::Deadline(deadline), left, .. })) if left.is_empty() => {
            Settled::Over(Finish::GaveUp { outcome, rule, why: Exhausted::Deadline(*deadline) })
        }
        (Verdict::Fatal(rule), ..) => Settled::Over(Finish::NotRetried { outcome, rule: rule.clone() }),
        (Verdict::Retryable(_), ..) => {
            let elapsed = host.now().saturating_sub(start);
            match policy.schedule.next(progress, elapsed, attempt.asked, host.random()) {
                Next::Wait(delay) => match &attempt.unkept {
                    None => Settled::Again(delay),
                    Some(unkept) => {
                        let why = Exhausted::InputUnkept(unkept.clone());
                        Settled::Over(Finish::GaveUp { outcome, rule, why })
                    }
                },
                Next::Stop(why) => Settled::Over(Finish::GaveUp { outcome, rule, why }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use rand::SeedableRng as _;
    use rand::rngs::Xoshiro256PlusPlus;

    use super::*;
    use crate::policy::Limits;
    use crate::policy::admission::Admission;
    use crate::policy::admission::breaker::{Cause, Known, Settings};
    use crate::policy::admission::budget::Spent;
    use crate::policy::delay::backoff::Growth;
    use crate::policy::delay::jitter::Jitter;
    use crate::policy::delay::schedule::Schedule;
    use crate::policy::outcome::Unkept;
    use crate::policy::verdict::classify::Rules;
    use crate::policy::verdict::condition::Condition;

    /// A world whose attempts end as scripted and whose clock moves only by what is done.
    struct Scripted {
        now: Duration,
        /// Outcome and length of each attempt; the last repeats.
        script: Vec<(Outcome, Duration)>,
        interrupt_pause: Option<Signal>,
        /// How much longer a wait takes than it should.
        stopped: Duration,
        interrupt_attempt: Option<Signal>,
        /// Comes while the record is waited for.
        interrupt_after_admission: Option<Signal>,
        admitted: bool,
        /// How long it takes to ask the breaker.
        asking: Duration,
        /// When somebody closes the breaker.
        closed_at: Option<Duration>,
        /// What the breaker says before each attempt; after these, yes.
        refusals: Vec<Option<Refusal>>,
        /// What is said to each report; after these, go.
        settlements: Vec<Settlement>,
        /// Status and length of each check, while there are any.
        checks: Vec<(u8, u64)>,
        /// Comes while held output is passed on.
        interrupt_output: Option<Signal>,
        /// Why the input of an attempt is not kept.
        unkept: Option<Unkept>,
        log: Vec<String>,
        judged: Vec<(u32, bool)>,
        random: Xoshiro256PlusPlus,
    }

    impl Scripted {
        fn new(script: &[(Outcome, u64)]) -> Self {
            Self {
                now: Duration::from_secs(1000),
                script: script.iter().map(|(o, s)| (o.clone(), Duration::from_secs(*s))).collect(),
                interrupt_pause: None,
                stopped: Duration::ZERO,
                interrupt_attempt: None,
                interrupt_after_admission: None,
                admitted: false,
                asking: Duration::ZERO,
                closed_at: None,
                refusals: Vec::new(),
                settlements: Vec::new(),
                log: Vec::new(),
                checks: Vec::new(),
                interrupt_output: None,
                unkept: None,
                judged: Vec::new(),
                random: Xoshiro256PlusPlus::seed_from_u64(0),
            }
        }
    }

    impl Host for Scripted {
        type Random = Xoshiro256PlusPlus;

        fn now(&self) -> Duration {
            self.now
        }

        fn random(&mut self) -> &mut Self::Random {
            &mut self.random
        }

        fn attempt(&mut self, number: u32, last: Option<u8>, _: Option<Duration>) -> Result<Attempt, Error> {
            let (outcome, ran) = match self.script.len() {
                1 => self.script[0].clone(),
                _ => self.script.remove(0),
            };
            self.now += ran;
            self.log.push(format!("attempt {number} after {last:?}"));
            let (interrupted, unkept) = (self.interrupt_attempt, self.unkept.clone());
            Ok(Attempt { ran, interrupted, unkept, ..Attempt::ended(outcome) })
        }

        fn pause(&mut self, until: Duration) -> Result<Option<Signal>, Error> {
            if until <= self.now {
                return Ok(self.interrupt_after_admission.filter(|_| self.admitted));
            }
            self.log.push(format!("wait {}s", until.saturating_sub(self.now).as_secs_f64()));
            self.now = self.now.max(until) + self.stopped;
            Ok(self.interrupt_pause)
        }

        fn dice(&mut self) -> &mut Self::Random {
            &mut self.random
        }

        fn is_closed(&mut self) -> bool {
            self.closed_at.is_some_and(|at| self.now >= at)
        }

        fn admit(&mut self, _: Duration) -> Option<Refusal> {
            self.admitted = true;
            self.now += self.asking;
            if self.refusals.is_empty() { None } else { self.refusals.remove(0) }
        }

        fn settle(&mut self, shown: &Shown, retry: bool, _: Duration) -> Settlement {
            self.log.push(match (shown, retry) {
                (Shown::Failure { what, .. }, true) => format!("{what}, asks for a retry"),
                (Shown::Failure { what, .. }, false) => what.clone(),
                (Shown::Success, _) => "works".to_owned(),
                (Shown::Nothing, _) => "shows nothing".to_owned(),
            });
            if self.settlements.is_empty() { Settlement::Go } else { self.settlements.remove(0) }
        }

        fn check(&mut self, number: u32, _: Option<u8>, _: Option<Duration>) -> Result<Checked, Error> {
            if self.checks.is_empty() {
                return Ok(Checked::NotAsked);
            }
            let (status, ran) = self.checks.remove(0);
            self.now += Duration::from_secs(ran);
            self.log.push(format!("check {number}"));
            if status == 1 {
                return Ok(Checked::NotDone);
            }
            let attempt = Attempt { by: By::Check, ..Attempt::ended(Outcome::Exited(status)) };
            Ok(Checked::Instead(Box::new(attempt)))
        }

        fn judged(&mut self, number: u32, success: bool) -> Result<(), Error> {
            self.judged.push((number, success));
            Ok(())
        }

        fn finish(&mut self, _: Option<Duration>) -> Result<Option<Signal>, Error> {
            Ok(self.interrupt_output)
        }

        fn tell(&mut self, event: &Event<'_>) {
            match event {
                Event::Opened { .. } => self.log.push("is open now".to_owned()),
                Event::Waiting { again: false, .. } => self.log.push("waits".to_owned()),
                Event::Splay { .. } => self.log.push("splays".to_owned()),
                Event::NotPassed { .. } => self.log.push("is lost".to_owned()),
                Event::Waiting { again: true, .. } | Event::Retry { .. } | Event::Finish { .. } => {}
            }
        }

        fn ending(&self, attempt: &Attempt) -> String {
            let by = if attempt.by == By::Check { "--check " } else { "" };
            match &attempt.outcome {
                Outcome::Exited(status) => format!("{by}exited {status}"),
                outcome => format!("{by}{outcome:?}"),
            }
        }
    }

    fn policy(rules: Rules) -> Policy {
        Policy {
            rules,
            schedule: Schedule {
                max_attempts: NonZeroU32::new(3),
                deadline: None,
                healthy_after: None,
                growth: Growth::Exponential { delay: Duration::from_secs(1), factor: 2.0 },
                jitter: Jitter::None,
                cap: Duration::from_mins(1),
                floor: Duration::ZERO,
                splay: Duration::ZERO,
                max_retry_after: Duration::from_mins(5),
            },
            admission: Admission::default(),
            limits: Limits { timeout: None, signal: Signal::TERM, kill_after: Duration::from_secs(5) },
        }
    }

    fn failed(status: u8) -> (Outcome, u64) {
        (Outcome::Exited(status), 0)
    }

    #[test]
    fn it_runs_until_success_and_waits_between() {
        let mut host = Scripted::new(&[failed(1), failed(7), failed(0)]);
        let finish = run(&policy(Rules::default()), &mut host).unwrap();
        assert_eq!(finish, Finish::Succeeded { outcome: Outcome::Exited(0), rule: Rule::ExitZero });
        assert_eq!(
            host.log,
            [
                "attempt 1 after None",
                "exited 1, asks for a retry",
                "wait 1s",
                "attempt 2 after Some(1)",
                "exited 7, asks for a retry",
                "wait 2s",
                "attempt 3 after Some(7)",
                "works"
            ]
        );
        assert_eq!(host.judged, [(1, false), (2, false), (3, true)]);
    }

    #[test]
    fn output_that_is_not_passed_on_is_no_success() {
        let mut host = Scripted::new(&[failed(0)]);
        host.interrupt_output = Some(Signal::PIPE);
        let finish = run(&policy(Rules::default()), &mut host).unwrap();
        assert_eq!(finish, Finish::InterruptedOutput { signal: Signal::PIPE });
        // Of a failure nothing is.
        let mut host = Scripted::new(&[failed(3)]);
        host.interrupt_output = Some(Signal::PIPE);
        let finish = run(&policy(Rules::default()), &mut host).unwrap();
        assert!(matches!(finish, Finish::GaveUp { .. }));
    }

    #[test]
    fn a_check_comes_before_every_attempt() {
        let mut host = Scripted::new(&[failed(7)]);
        host.checks = vec![(1, 0), (2, 0), (0, 0)];
        let finish = run(&policy(Rules::default()), &mut host).unwrap();
        assert_eq!(finish, Finish::Succeeded { outcome: Outcome::Exited(0), rule: Rule::Done });
        assert_eq!(
            host.log,
            [
                "check 1",
                "attempt 1 after None",
                "exited 7, asks for a retry",
                "wait 1s",
                "check 2",
                "--check exited 2, asks for a retry",
                "wait 2s",
                "check 3",
                "shows nothing"
            ]
        );
        // It cannot tell until the end.
        let mut host = Scripted::new(&[failed(7)]);
        host.checks = vec![(2, 0), (3, 0), (9, 0)];
        let finish = run(&policy(Rules::default()), &mut host).unwrap();
        let outcome = Outcome::Exited(9);
        assert_eq!(finish, Finish::GaveUp { outcome, rule: Rule::CannotTell, why: Exhausted::Attempts });
    }

    #[test]
    fn no_attempt_begins_when_the_check_has_used_the_time_up() {
        let mut policy = policy(Rules::default());
        policy.schedule.deadline = Some(Duration::from_secs(5));
        let mut host = Scripted::new(&[failed(0)]);
        host.checks = vec![(1, 5)];
        let finish = run(&policy, &mut host).unwrap();
        assert_eq!(finish, Finish::NeverStarted { deadline: Duration::from_secs(5) });
        assert_eq!(host.log, ["check 1", "shows nothing"]);
        // Nor where a signal has come meanwhile.
        let mut host = Scripted::new(&[failed(0)]);
        host.checks = vec![(1, 0)];
        host.interrupt_after_admission = Some(Signal::TERM);
        let finish = run(&policy, &mut host).unwrap();
        assert_eq!(finish, Finish::InterruptedWait { signal: Signal::TERM, wait: Wait::Nothing });
    }

    #[test]
    fn without_its_input_no_attempt_follows() {
        let mut host = Scripted::new(&[failed(3)]);
        host.unkept = Some(Unkept::TooLong { limit: 7 });
        let finish = run(&policy(Rules::default()), &mut host).unwrap();
        let why = Exhausted::InputUnkept(Unkept::TooLong { limit: 7 });
        assert_eq!(finish, Finish::GaveUp { outcome: Outcome::Exited(3), rule: Rule::AnyFailure, why });
        assert_eq!(host.log, ["attempt 1 after None", "exited 3"]);
    }

    #[test]
    fn a_fatal_failure_ends_it_at_once() {
        let mut host = Scripted::new(&[failed(3)]);
        let rules = Rules { fatal_on: vec![Condition::parse("3").unwrap()], ..Rules::default() };
        let finish = run(&policy(rules), &mut host).unwrap();
        assert!(matches!(finish, Finish::NotRetried { .. }));
        assert_eq!(host.log, ["attempt 1 after None", "shows nothing"]);
    }

    #[test]
    fn attempts_run_out_without_a_last_wait() {
        let mut host = Scripted::new(&[failed(1)]);
        let finish = run(&policy(Rules::default()), &mut host).unwrap();
        assert_eq!(
            finish,
            Finish::GaveUp { outcome: Outcome::Exited(1), rule: Rule::AnyFailure, why: Exhausted::Attempts }
        );
        assert_eq!(host.log.iter().filter(|line| line.starts_with("wait")).count(), 2);
    }

    #[test]
    fn a_signal_in_a_wait_or_an_attempt_ends_it() {
        let mut host = Scripted::new(&[failed(1)]);
        host.interrupt_pause = Some(Signal::TERM);
        let finish = run(&policy(Rules::default()), &mut host).unwrap();
        assert_eq!(finish, Finish::InterruptedWait { signal: Signal::TERM, wait: Wait::Delay });
        assert_eq!(host.log, ["attempt 1 after None", "exited 1, asks for a retry", "wait 1s"]);

        let mut host = Scripted::new(&[failed(1)]);
        host.interrupt_attempt = Some(Signal::INT);
        let finish = run(&policy(Rules::default()), &mut host).unwrap();
        let rule = Rule::AnyFailure;
        assert_eq!(
            finish,
            Finish::InterruptedAttempt { signal: Signal::INT, outcome: Outcome::Exited(1), rule }
        );

        let mut host = Scripted::new(&[failed(0)]);
        host.interrupt_attempt = Some(Signal::INT);
        assert!(matches!(run(&policy(Rules::default()), &mut host).unwrap(), Finish::Succeeded { .. }));
    }

    #[test]
    fn death_by_a_signal_to_retry_is_no_success_whatever_was_waited_for() {
        for outcome in [Outcome::Signaled(Signal::INT), Outcome::Exited(130)] {
            let rules = [(None, "failure"), (Some("failure"), "0")].map(|(until, success)| Rules {
                until: until.map(|text| Condition::parse(text).unwrap()),
                success_on: vec![Condition::parse(success).unwrap()],
                ..Rules::default()
            });
            for rules in rules {
                let mut host = Scripted::new(&[(outcome.clone(), 0)]);
                host.interrupt_attempt = Some(Signal::INT);
                let finish = run(&policy(rules), &mut host).unwrap();
                assert!(matches!(finish, Finish::InterruptedAttempt { .. }), "{finish:?}");
            }
        }
    }

    #[test]
    fn an_interrupted_wait_names_what_it_was_for() {
        let interrupted = |policy: &Policy, mut host: Scripted| {
            host.interrupt_pause = Some(Signal::TERM);
            match run(policy, &mut host).unwrap() {
                Finish::InterruptedWait { wait, .. } => wait,
                finish => panic!("{finish:?}"),
            }
        };
        let mut splayed = policy(Rules::default());
        splayed.schedule.splay = Duration::from_secs(5);
        assert_eq!(interrupted(&splayed, Scripted::new(&[failed(1)])), Wait::Splay);
        let mut waits = policy(Rules::default());
        waits.admission = Admission { breaker: None, wait: true, budget: None };
        waits.schedule.deadline = Some(Duration::from_hours(1));
        // The first look whether the breaker is closed comes after 5 s, and is a minute late.
        let mut host = Scripted::new(&[failed(1)]);
        host.refusals = vec![Some(refusal(20))];
        host.stopped = Duration::from_mins(1);
        let Wait::Breaker(aged) = interrupted(&waits, host) else { panic!("no breaker") };
        assert_eq!(aged, refusal(20).after(Duration::from_secs(65)));
        assert_eq!((aged.age, aged.left), (Duration::from_secs(85), Duration::ZERO));
        // An attempt opened it.
        let mut host = Scripted::new(&[failed(1)]);
        host.settlements = vec![Settlement::Wait(refusal(40))];
        assert!(matches!(interrupted(&waits, host), Wait::Breaker(_)));
    }

    #[test]
    fn no_attempt_begins_past_the_deadline() {
        let mut policy = policy(Rules::default());
        policy.schedule.deadline = Some(Duration::from_secs(10));
        let mut host = Scripted::new(&[failed(1)]);
        host.stopped = Duration::from_mins(1);
        let finish = run(&policy, &mut host).unwrap();
        assert!(matches!(finish, Finish::GaveUp { why: Exhausted::Deadline(_), .. }), "{finish:?}");
        assert_eq!(host.log, ["attempt 1 after None", "exited 1, asks for a retry", "wait 1s"]);
        policy.schedule.splay = Duration::from_secs(5);
        let mut host = Scripted::new(&[failed(1)]);
        host.stopped = Duration::from_mins(1);
        let finish = run(&policy, &mut host).unwrap();
        assert_eq!(finish, Finish::NeverStarted { deadline: Duration::from_secs(10) });
        assert_eq!(host.log.len(), 2);
    }

    fn refusal(left: u64) -> Refusal {
        let left = Duration::from_secs(left);
        let cooldown = Some(Duration::from_secs(30));
        Refusal {
            age: left,
            left,
            cooldown,
            cause: Cause::Failures,
            failures: 5,
            last: None,
            prober: None,
            known: Known::Now,
        }
    }

    #[test]
    fn an_open_breaker_runs_nothing_and_between_attempts_it_ends_the_run() {
        let mut host = Scripted::new(&[failed(1)]);
        host.refusals = vec![Some(refusal(20))];
        let finish = run(&policy(Rules::default()), &mut host).unwrap();
        assert_eq!(finish, Finish::NotRun { refusal: refusal(20), deadline: None });
        assert!(host.log.is_empty());

        let why = Exhausted::BreakerOpen { refusal: refusal(30), deadline: None };
        let gave_up = Finish::GaveUp { outcome: Outcome::Exited(1), rule: Rule::AnyFailure, why };
        // This run's own failure opens it: there is no wait.
        let mut host = Scripted::new(&[failed(1)]);
        host.settlements = vec![Settlement::Open(refusal(30))];
        assert_eq!(run(&policy(Rules::default()), &mut host).unwrap(), gave_up);
        assert_eq!(host.log, ["attempt 1 after None", "exited 1, asks for a retry"]);
        // The last of its attempts opens it: that is said.
        let mut host = Scripted::new(&[failed(1)]);
        host.settlements = vec![Settlement::Go, Settlement::Go, Settlement::Open(refusal(30))];
        let finish = run(&policy(Rules::default()), &mut host).unwrap();
        assert!(matches!(finish, Finish::GaveUp { why: Exhausted::Attempts, .. }));
        assert_eq!(host.log.last().map(String::as_str), Some("is open now"));
        // Another's failure opens it meanwhile.
        let mut host = Scripted::new(&[failed(1)]);
        host.refusals = vec![None, Some(refusal(30))];
        assert_eq!(run(&policy(Rules::default()), &mut host).unwrap(), gave_up);
        assert_eq!(host.log.len(), 3);
    }

    #[test]
    fn a_signal_that_comes_while_the_record_is_waited_for_meets_no_attempt() {
        let mut policy = policy(Rules::default());
        policy.admission.budget = Some(crate::policy::admission::budget::Rate::Share { billionths: 1 });
        let mut host = Scripted::new(&[failed(0)]);
        host.interrupt_after_admission = Some(Signal::TERM);
        let finish = run(&policy, &mut host).unwrap();
        assert_eq!(finish, Finish::InterruptedWait { signal: Signal::TERM, wait: Wait::Nothing });
        // A probe is given back.
        assert_eq!(host.log, ["shows nothing"]);
    }

    #[test]
    fn a_breaker_is_waited_for_within_the_deadline() {
        let cooldown = Duration::from_secs(30);
        let settings = Settings { failures: std::num::NonZeroU32::MIN, cooldown, lease: cooldown };
        let mut policy = policy(Rules::default());
        policy.admission = Admission { breaker: Some(settings), wait: true, budget: None };
        policy.schedule.deadline = Some(Duration::from_mins(1));
        let mut host = Scripted::new(&[failed(0)]);
        host.refusals = vec![Some(refusal(20))];
        assert!(matches!(run(&policy, &mut host).unwrap(), Finish::Succeeded { .. }));
        let waited = host.now.saturating_sub(Duration::from_secs(1000));
        assert!((Duration::from_secs(20)..=Duration::from_secs(35)).contains(&waited), "{waited:?}");
        // Said once, while nothing changes.
        let mut host = Scripted::new(&[failed(0)]);
        host.refusals = vec![Some(refusal(2)), Some(refusal(1)), Some(refusal(1))];
        assert!(matches!(run(&policy, &mut host).unwrap(), Finish::Succeeded { .. }));
        assert_eq!(host.log.iter().filter(|line| *line == "waits").count(), 1);
        // Closed by hand it is not waited for to the end.
        policy.schedule.deadline = Some(Duration::from_mins(150));
        let mut host = Scripted::new(&[failed(0)]);
        host.refusals = vec![Some(refusal(3600))];
        host.closed_at = Some(host.now + Duration::from_mins(1));
        assert!(matches!(run(&policy, &mut host).unwrap(), Finish::Succeeded { .. }));
        let waited = host.now.saturating_sub(Duration::from_secs(1000));
        assert!((Duration::from_mins(1)..=Duration::from_secs(80)).contains(&waited), "{waited:?}");
        policy.schedule.deadline = Some(Duration::from_mins(1));
        // The deadline passes while retry is stopped: nothing was run, for the breaker's sake.
        let mut host = Scripted::new(&[failed(0)]);
        host.refusals = vec![Some(refusal(3))];
        host.stopped = Duration::from_secs(100);
        let deadline = policy.schedule.deadline;
        let finish = run(&policy, &mut host).unwrap();
        let passed = host.now.saturating_sub(Duration::from_secs(1000));
        assert_eq!(finish, Finish::NotRun { refusal: refusal(3).after(passed), deadline });
        // Its own failure opens it: one wait, for both.
        let mut host = Scripted::new(&[failed(1), failed(0)]);
        host.settlements = vec![Settlement::Wait(refusal(40))];
        host.closed_at = Some(host.now + Duration::from_secs(5));
        assert!(matches!(run(&policy, &mut host).unwrap(), Finish::Succeeded { .. }));
        assert!(host.now <= Duration::from_mins(17), "it notices a reset");
        let mut host = Scripted::new(&[failed(1), failed(0)]);
        host.settlements = vec![Settlement::Wait(refusal(20))];
        assert!(matches!(run(&policy, &mut host).unwrap(), Finish::Succeeded { .. }));
        assert_eq!(host.log[2], "is open now");
        let waited = host.now.saturating_sub(Duration::from_secs(1000));
        assert!((Duration::from_secs(20)..=Duration::from_secs(35)).contains(&waited), "{waited:?}");
        let mut host = Scripted::new(&[failed(0)]);
        host.refusals = vec![Some(refusal(61))];
        assert_eq!(run(&policy, &mut host).unwrap(), Finish::NotRun { refusal: refusal(61), deadline });
        assert!(host.log.is_empty());
    }

    #[test]
    fn a_deadline_that_passes_while_the_breaker_is_asked_meets_no_attempt() {
        let mut policy = policy(Rules::default());
        let cooldown = Duration::from_secs(30);
        let settings = Settings { failures: std::num::NonZeroU32::MIN, cooldown, lease: cooldown };
        policy.admission = Admission { breaker: Some(settings), wait: true, budget: None };
        let deadline = Duration::from_mins(1);
        policy.schedule.deadline = Some(deadline);
        let mut host = Scripted::new(&[failed(0)]);
        host.asking = deadline;
        assert_eq!(run(&policy, &mut host).unwrap(), Finish::NeverStarted { deadline });
        // A probe is given back.
        assert_eq!(host.log, ["shows nothing"]);
        // Whoever has seen the breaker open ends as one who was refused.
        let mut host = Scripted::new(&[failed(0)]);
        host.asking = Duration::from_secs(25);
        host.refusals = vec![Some(refusal(20))];
        let finish = run(&policy, &mut host).unwrap();
        // The first answer came after 25 s.
        let passed = host.now.saturating_sub(Duration::from_secs(1025));
        assert_eq!(finish, Finish::NotRun { refusal: refusal(20).after(passed), deadline: Some(deadline) });
        assert!(!host.log.iter().any(|line| line.starts_with("attempt")), "{:?}", host.log);
    }

    #[test]
    fn a_spent_budget_ends_the_run_before_the_wait() {
        let mut host = Scripted::new(&[failed(1)]);
        let spent = Spent { next: Duration::from_secs(24) };
        host.settlements = vec![Settlement::Go, Settlement::Spent(spent)];
        let finish = run(&policy(Rules::default()), &mut host).unwrap();
        let why = Exhausted::BudgetSpent(spent);
        assert_eq!(finish, Finish::GaveUp { outcome: Outcome::Exited(1), rule: Rule::AnyFailure, why });
        assert_eq!(host.log.iter().filter(|line| line.starts_with("wait")).count(), 1);
        // Where no retry follows none is asked for, and what is said to that does not matter.
        let mut host = Scripted::new(&[failed(3)]);
        host.settlements = vec![Settlement::Spent(spent)];
        let rules = Rules { fatal_on: vec![Condition::parse("3").unwrap()], ..Rules::default() };
        assert!(matches!(run(&policy(rules), &mut host).unwrap(), Finish::NotRetried { .. }));
        assert_eq!(host.log, ["attempt 1 after None", "shows nothing"]);
    }

    #[test]
    fn only_the_service_s_own_failures_count_against_it() {
        let not_found = Outcome::NotStarted(crate::policy::outcome::NotStarted::NotFound);
        let cut = |limit| Outcome::TimedOut(Cut { limit, ended_by: Signal::TERM, left: Vec::new() });
        let (time, second) = (Limit::Timeout(Duration::from_secs(1)), Duration::from_secs(1));
        let fatal_list = |text: &str| match text {
            "" => Vec::new(),
            text => vec![Condition::parse(text).unwrap()],
        };
        let rules = |fatal: &str| Rules { fatal_on: fatal_list(fatal), ..Rules::default() };
        let until = Rules { until: Some(Condition::parse("failure").unwrap()), ..Rules::default() };
        for (outcome, ran, timeout, rules, interrupted, counts) in [
            (Outcome::Exited(1), 0, None, rules(""), false, "failure"),
            (Outcome::Exited(0), 0, None, rules(""), false, "success"),
            (Outcome::Exited(1), 0, None, rules("1"), false, "nothing"),
            (Outcome::Exited(1), 0, None, rules(""), true, "nothing"),
            (Outcome::Exited(0), 0, None, rules(""), true, "success"),
            (Outcome::Signaled(Signal::INT), 0, None, rules(""), false, "nothing"),
            (not_found, 0, None, rules(""), false, "nothing"),
            (cut(time), 1, Some(second), rules(""), false, "failure"),
            (cut(time), 1, Some(second), rules("timeout"), false, "failure"),
            (cut(Limit::Deadline(second)), 1, None, rules(""), false, "failure"),
            (cut(Limit::Deadline(second)), 0, None, rules(""), false, "nothing"),
            (cut(Limit::Deadline(second)), 1, Some(second), rules(""), false, "nothing"),
            // Not yet what is waited for, and it works.
            (Outcome::Exited(0), 0, None, until.clone(), false, "success"),
            (Outcome::Exited(0), 0, None, until, true, "nothing"),
            // It ran for as long as is healthy.
            (Outcome::Exited(1), 9, None, rules(""), false, "success"),
            (Outcome::Exited(1), 9, None, rules("1"), false, "nothing"),
        ] {
            let mut policy = policy(rules);
            policy.limits.timeout = timeout;
            policy.schedule.healthy_after = Some(Duration::from_secs(9));
            let (interrupted, ran) = (interrupted.then_some(Signal::TERM), Duration::from_secs(ran));
            let attempt = Attempt { ran, interrupted, ..Attempt::ended(outcome.clone()) };
            let verdict = policy.rules.classify(&attempt);
            let got = match shown(&policy, &Scripted::new(&[]), &attempt, &verdict) {
                Shown::Failure { .. } => "failure",
                Shown::Success => "success",
                Shown::Nothing => "nothing",
            };
            assert_eq!(got, counts, "{outcome:?} {interrupted:?} {ran:?}");
        }
    }

    #[test]
    fn the_splay_comes_before_the_first_attempt() {
        let mut host = Scripted::new(&[failed(0)]);
        let mut policy = policy(Rules::default());
        policy.schedule.splay = Duration::from_secs(10);
        let _ = run(&policy, &mut host).unwrap();
        assert_eq!(host.log[0], "splays");
        assert!(host.log[1].starts_with("wait "), "{:?}", host.log);
        assert_eq!(host.log.len(), 4);
    }

    #[test]
    fn the_deadline_ends_the_run_even_where_no_condition_names_a_timeout() {
        let limit = Duration::from_secs(9);
        let cut = Cut { limit: Limit::Deadline(limit), ended_by: Signal::TERM, left: Vec::new() };
        let mut host = Scripted::new(&[(Outcome::TimedOut(cut), 9)]);
        let rules = Rules { retry_on: vec![Condition::parse("7").unwrap()], ..Rules::default() };
        let mut policy = policy(rules);
        policy.schedule.deadline = Some(limit);
        let finish = run(&policy, &mut host).unwrap();
        assert!(matches!(finish, Finish::GaveUp { why: Exhausted::Deadline(_), .. }));
    }
}
