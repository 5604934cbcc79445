//! The loop: attempt, verdict, what next, wait.

use std::time::Duration;

use rand::Rng;

use crate::error::Error;
use crate::policy::Policy;
use crate::policy::delay::schedule::{Next, Progress};
use crate::policy::verdict::classify::Rule;
use crate::policy::verdict::outcome::{Attempt, Cut, Exhausted, Finish, Limit, Outcome, Signal, Verdict};
use crate::report::Event;

/// What the loop needs of the world.
pub(crate) trait Host {
    /// The random source of the delays.
    type Random: Rng;

    /// The time since some moment; it never goes back.
    fn now(&self) -> Duration;

    /// The random source, made when first asked for.
    ///
    /// # Errors
    /// When the system has no randomness to seed it.
    fn random(&mut self) -> Result<&mut Self::Random, Error>;

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

    /// Waits until a time. A signal that ends the run ends the wait and is returned.
    ///
    /// # Errors
    /// Where retry itself fails.
    fn pause(&mut self, until: Duration) -> Result<Option<Signal>, Error>;

    /// Passes on what the commands have written and nobody has read yet, while that is taken.
    ///
    /// # Errors
    /// Where it was not taken, and must have been.
    fn finish(&mut self, deadline: Option<Duration>) -> Result<(), Error>;

    /// Tells the user.
    fn tell(&mut self, event: &Event<'_>);
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
    let mut last: Option<Attempt> = None;
    let mut wait = match schedule.splay {
        Duration::ZERO => Duration::ZERO,
        _ => schedule.draw_splay(host.random()?),
    };
    let mut rule = Rule::AnyFailure;
    let finish = loop {
        // Also where there is nothing to wait for: a signal that has come must not meet a new attempt.
        let until = host.now().saturating_add(wait);
        if let Some(signal) = host.pause(until)? {
            break Finish::InterruptedWait { signal };
        }
        if let Some(length) = schedule.deadline.filter(|_| deadline.is_some_and(|at| at <= host.now())) {
            // retry was stopped meanwhile, or the machine was very slow.
            break match &last {
                Some(attempt) => {
                    let outcome = attempt.outcome.clone();
                    Finish::GaveUp { outcome, rule, why: Exhausted::Deadline(length) }
                }
                None => Finish::NeverStarted { deadline: length },
            };
        }
        let status = last.as_ref().map(|attempt| attempt.outcome.status());
        let attempt = &*last.insert(host.attempt(progress.next_attempt(), status, deadline)?);
        schedule.count(&mut progress, attempt.ran);
        let verdict = policy.rules.classify(attempt);
        match settle(policy, host, &mut progress, start, attempt, &verdict)? {
            Settled::Again(delay) => {
                host.tell(&Event::Retry { progress: &progress, attempt, verdict: &verdict, delay });
                rule = verdict.rule().clone();
                wait = delay;
            }
            Settled::Over(finish) => break finish,
        }
    };
    let passed = host.finish(deadline);
    if matches!(finish, Finish::Succeeded { .. }) {
        passed?;
    }
    host.tell(&Event::Finish {
        progress: &progress,
        last: last.as_ref(),
        finish: &finish,
        elapsed: host.now().saturating_sub(start),
    });
    Ok(finish)
}

enum Settled {
    Again(Duration),
    Over(Finish),
}

/// What follows a judged attempt.
fn settle(
    policy: &Policy,
    host: &mut impl Host,
    progress: &mut Progress,
    start: Duration,
    attempt: &Attempt,
    verdict: &Verdict,
) -> Result<Settled, Error> {
    let outcome = attempt.outcome.clone();
    let rule = verdict.rule().clone();
    Ok(match (verdict, attempt.interrupted, &attempt.outcome) {
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
            match policy.schedule.next(progress, elapsed, attempt.asked, host.random()?) {
                Next::Wait(delay) => Settled::Again(delay),
                Next::Stop(why) => Settled::Over(Finish::GaveUp { outcome, rule, why }),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use rand::SeedableRng as _;
    use rand::rngs::Xoshiro256PlusPlus;

    use super::*;
    use crate::policy::Limits;
    use crate::policy::delay::backoff::Growth;
    use crate::policy::delay::jitter::Jitter;
    use crate::policy::delay::schedule::Schedule;
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
        log: Vec<String>,
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
                log: Vec::new(),
                random: Xoshiro256PlusPlus::seed_from_u64(0),
            }
        }
    }

    impl Host for Scripted {
        type Random = Xoshiro256PlusPlus;

        fn now(&self) -> Duration {
            self.now
        }

        fn random(&mut self) -> Result<&mut Self::Random, Error> {
            Ok(&mut self.random)
        }

        fn attempt(&mut self, number: u32, last: Option<u8>, _: Option<Duration>) -> Result<Attempt, Error> {
            let (outcome, ran) = match self.script.len() {
                1 => self.script[0].clone(),
                _ => self.script.remove(0),
            };
            self.now += ran;
            self.log.push(format!("attempt {number} after {last:?}"));
            Ok(Attempt { ran, interrupted: self.interrupt_attempt, ..Attempt::ended(outcome) })
        }

        fn pause(&mut self, until: Duration) -> Result<Option<Signal>, Error> {
            if until <= self.now {
                return Ok(None);
            }
            self.log.push(format!("wait {}s", until.saturating_sub(self.now).as_secs_f64()));
            self.now = self.now.max(until) + self.stopped;
            Ok(self.interrupt_pause)
        }

        fn finish(&mut self, _: Option<Duration>) -> Result<(), Error> {
            Ok(())
        }

        fn tell(&mut self, _: &Event<'_>) {}
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
                cap: Duration::from_secs(60),
                floor: Duration::ZERO,
                splay: Duration::ZERO,
                max_retry_after: Duration::from_secs(300),
            },
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
                "wait 1s",
                "attempt 2 after Some(1)",
                "wait 2s",
                "attempt 3 after Some(7)"
            ]
        );
    }

    #[test]
    fn a_fatal_failure_ends_it_at_once() {
        let mut host = Scripted::new(&[failed(3)]);
        let rules = Rules { fatal_on: vec![Condition::parse("3").unwrap()], ..Rules::default() };
        let finish = run(&policy(rules), &mut host).unwrap();
        assert!(matches!(finish, Finish::NotRetried { .. }));
        assert_eq!(host.log, ["attempt 1 after None"]);
    }

    #[test]
    fn attempts_run_out_without_a_last_wait() {
        let mut host = Scripted::new(&[failed(1)]);
        let finish = run(&policy(Rules::default()), &mut host).unwrap();
        assert_eq!(
            finish,
            Finish::GaveUp { outcome: Outcome::Exited(1), rule: Rule::AnyFailure, why: Exhausted::Attempts }
        );
        assert_eq!(host.log.len(), 5);
    }

    #[test]
    fn a_signal_in_a_wait_or_an_attempt_ends_it() {
        let mut host = Scripted::new(&[failed(1)]);
        host.interrupt_pause = Some(Signal::TERM);
        let finish = run(&policy(Rules::default()), &mut host).unwrap();
        assert_eq!(finish, Finish::InterruptedWait { signal: Signal::TERM });
        assert_eq!(host.log, ["attempt 1 after None", "wait 1s"]);

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
    fn no_attempt_begins_past_the_deadline() {
        let mut policy = policy(Rules::default());
        policy.schedule.deadline = Some(Duration::from_secs(10));
        let mut host = Scripted::new(&[failed(1)]);
        host.stopped = Duration::from_secs(60);
        let finish = run(&policy, &mut host).unwrap();
        assert!(matches!(finish, Finish::GaveUp { why: Exhausted::Deadline(_), .. }), "{finish:?}");
        assert_eq!(host.log, ["attempt 1 after None", "wait 1s"]);
        policy.schedule.splay = Duration::from_secs(5);
        let mut host = Scripted::new(&[failed(1)]);
        host.stopped = Duration::from_secs(60);
        let finish = run(&policy, &mut host).unwrap();
        assert_eq!(finish, Finish::NeverStarted { deadline: Duration::from_secs(10) });
        assert_eq!(host.log.len(), 1);
    }

    #[test]
    fn the_splay_comes_before_the_first_attempt() {
        let mut host = Scripted::new(&[failed(0)]);
        let mut policy = policy(Rules::default());
        policy.schedule.splay = Duration::from_secs(10);
        let _ = run(&policy, &mut host).unwrap();
        assert!(host.log[0].starts_with("wait "), "{:?}", host.log);
        assert_eq!(host.log.len(), 2);
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
