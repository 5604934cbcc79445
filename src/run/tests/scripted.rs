//! A world that follows a script.

use rand::SeedableRng as _;
use rand::rngs::Xoshiro256PlusPlus;

use crate::policy::once::Seen;
use crate::policy::outcome::{Outcome, Unkept};
use crate::run::*;

/// A world whose attempts end as the script says. Its clock moves only by the actions of the run.
pub(super) struct Scripted {
    pub(super) now: Duration,
    /// Outcome and length of each attempt. The last entry repeats.
    pub(super) script: Vec<(Outcome, Duration)>,
    /// What each look for an answer finds. Without an entry, the run has no `--once`.
    pub(super) looks: Vec<Seen>,
    pub(super) looked: bool,
    /// An answer cannot be kept.
    pub(super) unkeepable: bool,
    pub(super) interrupt_pause: Option<Signal>,
    /// A wait that ends after this time is interrupted.
    pub(super) interrupt_waits_after: Duration,
    /// Time by which each wait is too long.
    pub(super) stopped: Duration,
    pub(super) interrupt_attempt: Option<Signal>,
    /// A signal that comes while the run waits for the record.
    pub(super) interrupt_after_admission: Option<Signal>,
    pub(super) admitted: bool,
    /// Time that a question to the breaker takes.
    pub(super) asking: Duration,
    /// Time at which somebody closes the breaker.
    pub(super) closed_at: Option<Duration>,
    /// The answer of the breaker before each attempt. The breaker says yes after the last answer.
    pub(super) refusals: Vec<Option<Refusal>>,
    /// The answer to each report. After the last answer, the run goes on.
    pub(super) settlements: Vec<Settlement>,
    /// Status and length of each check, until there are no more.
    pub(super) checks: Vec<(u8, u64)>,
    /// Length of each `--on-retry`, until there are no more.
    pub(super) hooks: Vec<u64>,
    pub(super) interrupt_hook: Option<Signal>,
    /// A signal that comes while retry passes held output on.
    pub(super) interrupt_output: Option<Signal>,
    /// The reason for which the input of an attempt is not kept.
    pub(super) unkept: Option<Unkept>,
    pub(super) log: Vec<String>,
    /// The time at which each attempt began.
    pub(super) started: Vec<Duration>,
    pub(super) judged: Vec<(u32, Output)>,
    /// How often the run has asked for the output that was held back.
    pub(super) shown: u32,
    pub(super) random: Xoshiro256PlusPlus,
}

impl Scripted {
    pub(super) fn new(script: &[(Outcome, u64)]) -> Self {
        Self {
            now: Duration::from_secs(1000),
            script: script.iter().map(|(o, s)| (o.clone(), Duration::from_secs(*s))).collect(),
            looks: Vec::new(),
            looked: false,
            unkeepable: false,
            interrupt_pause: None,
            interrupt_waits_after: Duration::ZERO,
            stopped: Duration::ZERO,
            interrupt_attempt: None,
            interrupt_after_admission: None,
            admitted: false,
            asking: Duration::ZERO,
            closed_at: None,
            refusals: Vec::new(),
            settlements: Vec::new(),
            log: Vec::new(),
            started: Vec::new(),
            checks: Vec::new(),
            hooks: Vec::new(),
            interrupt_hook: None,
            interrupt_output: None,
            unkept: None,
            judged: Vec::new(),
            shown: 0,
            random: Xoshiro256PlusPlus::seed_from_u64(0),
        }
    }
}

impl Host for Scripted {
    type Random = Xoshiro256PlusPlus;

    fn now(&self) -> Duration {
        self.now
    }

    fn random(&mut self, _: Randomness) -> &mut Self::Random {
        &mut self.random
    }

    fn look(&mut self) -> Result<Seen, Error> {
        if self.looks.is_empty() {
            return Ok(Seen::NotAsked);
        }
        self.looked = true;
        Ok(self.looks.remove(0))
    }

    fn keep(&mut self) -> Result<(), Error> {
        if self.looked {
            self.log.push("keeps".to_owned());
        }
        match self.unkeepable {
            true => Err(Error::System { what: "cannot keep", errno: nix::errno::Errno::ENOSPC }),
            false => Ok(()),
        }
    }

    fn attempt(&mut self, number: u32, last: Option<&Judged>, _: Option<Duration>) -> Result<Attempt, Error> {
        let last = last.map(|last| last.attempt.outcome.status());
        self.started.push(self.now);
        let (outcome, ran) = match self.script.len() {
            1 => self.script[0].clone(),
            _ => self.script.remove(0),
        };
        self.now += ran;
        self.log.push(format!("attempt {number} after {last:?}"));
        let (interrupted, unkept) = (self.interrupt_attempt, self.unkept.clone());
        Ok(Attempt { ran, interrupted, unkept, ..Attempt::ended(outcome) })
    }

    fn wait_until(&mut self, until: Duration) -> Result<Option<Signal>, Error> {
        if until <= self.now {
            return Ok(self.interrupt_after_admission.filter(|_| self.admitted));
        }
        self.log.push(format!("wait {}s", until.saturating_sub(self.now).as_secs_f64()));
        self.now = self.now.max(until) + self.stopped;
        Ok(self.interrupt_pause.filter(|_| self.now > self.interrupt_waits_after))
    }

    fn breaker_is_closed(&mut self) -> bool {
        self.closed_at.is_some_and(|at| self.now >= at)
    }

    fn admit(&mut self, _: Duration) -> Option<Refusal> {
        self.admitted = true;
        self.now += self.asking;
        if self.refusals.is_empty() { None } else { self.refusals.remove(0) }
    }

    fn settle(&mut self, observation: &Observation, retry: bool, _: Duration) -> Settlement {
        self.log.push(match (observation, retry) {
            (Observation::Failure { description, .. }, true) => format!("{description}, asks for a retry"),
            (Observation::Failure { description, .. }, false) => description.clone(),
            (Observation::Success, _) => "works".to_owned(),
            (Observation::Nothing, _) => "shows nothing".to_owned(),
        });
        if self.settlements.is_empty() { Settlement::Go } else { self.settlements.remove(0) }
    }

    fn check(&mut self, number: u32, _: Option<&Judged>, _: Option<Duration>) -> Result<Checked, Error> {
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

    fn prepare_retry(
        &mut self,
        number: u32,
        last: Option<&Judged>,
        _: Option<Duration>,
    ) -> Result<Option<Signal>, Error> {
        if self.hooks.is_empty() {
            return Ok(None);
        }
        self.now += Duration::from_secs(self.hooks.remove(0));
        let last = last.map(|last| last.attempt.outcome.status());
        self.log.push(format!("on-retry {number} after {last:?}"));
        Ok(self.interrupt_hook)
    }

    fn settle_output(&mut self, number: u32, fate: Output) -> Result<(), Error> {
        self.judged.push((number, fate));
        Ok(())
    }

    fn show_output(&mut self, _: u32) {
        self.shown += 1;
    }

    fn pass_output(&mut self, _: Option<Duration>) -> Result<Option<Signal>, Error> {
        Ok(self.interrupt_output)
    }

    fn tell(&mut self, event: &Event<'_>) {
        match event {
            Event::Opened { .. } => self.log.push("is open now".to_owned()),
            Event::Waiting { again: false, .. } => self.log.push("waits".to_owned()),
            Event::MayRepeat { .. } => self.log.push("may repeat".to_owned()),
            Event::Splay { .. } => self.log.push("splays".to_owned()),
            Event::Nested { in_all, .. } => self.log.push(format!("nested: {in_all:?}")),
            Event::NotPassed { .. } => self.log.push("is lost".to_owned()),
            Event::Making { by, again } => {
                self.log.push(format!("{by:?} makes it{}", if *again { " now" } else { "" }));
            }
            _ => {}
        }
    }

    fn describe(&self, attempt: &Attempt) -> String {
        let by = if attempt.by == By::Check { "--check " } else { "" };
        match &attempt.outcome {
            Outcome::Exited(status) => format!("{by}exited {status}"),
            outcome => format!("{by}{outcome:?}"),
        }
    }
}
