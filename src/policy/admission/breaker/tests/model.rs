//! Compares the breaker with a simple model of its history.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::*;

/// An event in the life of a breaker that several runs share.
#[derive(Debug, Clone)]
enum Step {
    /// A run asks for an attempt. It may be one that waits for the breaker.
    Ask {
        waits: bool,
    },
    /// One of the most recent runs reports, with its own settings.
    Report {
        back: usize,
        observed: Observation,
        threshold: u32,
        cooldown: u64,
    },
    /// One of the most recent runs dies.
    Die {
        back: usize,
    },
    Pass(u64),
    /// The clock is set back.
    Back(u64),
    Reset,
    Trip(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let observed = prop_oneof![
        4 => Just(failure()),
        1 => (0u64..200).prop_map(|s| Observation::Failure { description: s.to_string(), asked: Some(secs(s)) }),
        1 => Just(Observation::Success),
        1 => Just(Observation::Nothing),
    ];
    prop_oneof![
        8 => any::<bool>().prop_map(|waits| Step::Ask { waits }),
        8 => (0usize..3, observed, 1u32..4, 1u64..40).prop_map(|(back, observed, threshold, cooldown)| {
            Step::Report { back, observed, threshold, cooldown }
        }),
        1 => (0usize..3).prop_map(|back| Step::Die { back }),
        6 => (0u64..100).prop_map(Step::Pass),
        1 => (0u64..100).prop_map(Step::Back),
        1 => Just(Step::Reset),
        1 => (1u64..100).prop_map(Step::Trip),
    ]
}

/// A run in the history.
struct Run {
    pass: Pass,
    asked_at: Moment,
    alive: bool,
    reported: bool,
}

/// An opening in the model.
#[derive(Clone)]
struct Opened {
    first: Moment,
    since: Moment,
    length: Duration,
    cause: Cause,
    probes: u32,
    failures: u32,
    last: Option<String>,
    cooldown: Option<Duration>,
    /// The last failed probe, early ones included.
    probed: Moment,
    not_before: Option<Moment>,
    /// The probe that runs began before the end of the cooldown.
    early: bool,
}

impl Opened {
    fn new(now: Moment, length: Duration, cause: Cause) -> Self {
        Self {
            first: now,
            since: now,
            length,
            cause,
            probes: 0,
            failures: 0,
            last: None,
            cooldown: None,
            probed: now,
            not_before: None,
            early: false,
        }
    }

    fn until(&self) -> Moment {
        self.since.plus(self.length)
    }

    /// The moment from which a run that waits may probe.
    fn due(&self, waits: bool) -> Moment {
        match self.cooldown {
            Some(cooldown) if waits && (self.cause == Cause::Failures || self.probes > 0) => {
                let pause = (self.probed.since(self.first) / 8).max(secs(1)).min(cooldown);
                let early = self.probed.plus(pause);
                self.not_before.map_or(early, |until| early.max(until)).min(self.until())
            }
            _ => self.until(),
        }
    }
}

/// A model of the breaker that keeps the whole history.
#[derive(Default)]
struct History {
    runs: Vec<Run>,
    /// The current opening, if the breaker is not closed.
    open: Option<Opened>,
    /// Failures since the last success or change of state. Only runs that were admitted since the
    /// last change count.
    failures: Vec<Moment>,
    not_before: Option<Moment>,
    /// A run has probed after the end of the cooldown.
    probe_is_due: bool,
    /// Runs with a lower index were admitted before the last change of state.
    changed: usize,
}

impl History {
    /// The run whose probe counts now.
    fn probing(&self, now: Moment) -> Option<&Run> {
        let live = |run: &&Run| {
            run.pass.is_probe() && run.alive && !run.reported && now < run.asked_at.plus(secs(20))
        };
        self.runs[self.changed..].last().filter(live)
    }

    fn close(&mut self) {
        self.probe_is_due = false;
        (self.open, self.not_before) = (None, None);
        self.failures.clear();
        self.changed = self.runs.len();
    }

    /// Counts the report of a run that was admitted since the last change of state.
    fn take(&mut self, pass: Pass, observed: Observation, settings: &Settings, now: Moment) {
        let open_for = |probes: u32, asked: Option<Duration>| {
            (settings.cooldown * 2u32.pow(probes.min(4))).max(asked.unwrap_or_default())
        };
        match (observed, pass.is_probe(), self.open.clone()) {
            (Observation::Success, true, _) => self.close(),
            (Observation::Success, false, _) => {
                self.failures.clear();
                self.not_before = None;
            }
            (Observation::Failure { description, asked }, true, Some(open)) => {
                let failures = open.failures + 1;
                let last = Some(description);
                let asked_until = asked.map(|asked| now.plus(asked));
                let open = Opened { failures, last, probed: now, ..open };
                self.reopen(if open.early {
                    let length = asked_until.map_or(Duration::ZERO, |until| until.since(open.since));
                    let not_before = open.not_before.max(asked_until);
                    Opened { length: open.length.max(length), not_before, early: false, ..open }
                } else {
                    let (probes, cooldown) = (open.probes + 1, Some(settings.cooldown));
                    let length = open_for(probes, asked);
                    Opened { since: now, length, probes, cooldown, not_before: asked_until, ..open }
                });
            }
            (Observation::Failure { description, asked }, _, _) => {
                // The shortest time for which a failure counts. All cooldowns here are shorter.
                self.failures.retain(|at| now.since(*at) <= secs(600));
                self.failures.push(now);
                self.not_before = self.not_before.max(asked.map(|asked| now.plus(asked)));
                let Opens::InRow(most) = settings.opens else { return };
                if self.failures.len() >= most.get() as usize {
                    let length = open_for(0, self.not_before.map(|until| until.since(now)));
                    let failures = u32::try_from(self.failures.len()).unwrap();
                    let (cooldown, last) = (Some(settings.cooldown), Some(description));
                    let not_before = self.not_before.filter(|until| *until > now);
                    let opened = Opened::new(now, length, Cause::Failures);
                    self.reopen(Opened { failures, last, cooldown, not_before, ..opened });
                }
            }
            (Observation::Nothing, true, Some(open)) => {
                self.open = Some(match open.early {
                    true => Opened { early: false, ..open },
                    false => Opened { since: now, length: Duration::ZERO, ..open },
                });
                self.probe_is_due = false;
                self.changed = self.runs.len();
            }
            (Observation::Nothing, _, _) => {}
        }
    }

    fn reopen(&mut self, open: Opened) {
        self.probe_is_due = false;
        self.open = Some(open);
        self.failures.clear();
        self.not_before = None;
        self.changed = self.runs.len();
    }
}

/// The breaker, and the model that it must agree with.
struct Trial {
    breaker: Breaker,
    history: History,
    now: Moment,
}

impl Trial {
    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        let now = self.now;
        match step {
            Step::Pass(seconds) => self.now = now.plus(secs(seconds)),
            Step::Back(seconds) => self.set_back(i64::try_from(seconds).unwrap()),
            Step::Reset => {
                self.breaker.reset(now);
                self.history.close();
            }
            Step::Trip(seconds) => {
                self.breaker.trip(now, secs(seconds));
                let cooldown = self.history.open.as_ref().and_then(|open| open.cooldown);
                let opened = Opened::new(now, secs(seconds), Cause::Tripped);
                self.history.reopen(Opened { cooldown, ..opened });
            }
            Step::Die { back } => {
                if let Some(run) = self.history.runs.iter_mut().nth_back(back) {
                    run.alive = false;
                }
            }
            Step::Ask { waits } => return self.ask(waits),
            Step::Report { back, observed, threshold, cooldown } => {
                let opens = in_row(threshold);
                let settings = Settings { opens, cooldown: secs(cooldown), lease: secs(20) };
                return self.report(back, observed, &settings);
            }
        }
        Ok(())
    }

    fn set_back(&mut self, seconds: i64) {
        self.now = self.now.shifted(-seconds * 1000);
        let now = self.now;
        self.breaker.not_after(now);
        if let Some(open) = &mut self.history.open {
            (open.first, open.since) = (open.first.min(now), open.since.min(now));
            open.probed = open.probed.min(now);
            let latest = now.plus(open.length);
            open.not_before = open.not_before.map(|until| until.min(latest));
        }
        self.history.failures.iter_mut().for_each(|at| *at = (*at).min(now));
        for run in &mut self.history.runs {
            run.asked_at = run.asked_at.min(now);
        }
    }

    fn ask(&mut self, waits: bool) -> Result<(), TestCaseError> {
        let (history, now) = (&mut self.history, self.now);
        // The permits after an opening have a test of their own.
        let waits = waits && history.open.is_some();
        let probing = history.probing(now).is_some();
        let alive = |claim| history.runs.iter().any(|run| run.pass.claim() == Some(claim) && run.alive);
        let lives = |claim, owner| owner == 7 && alive(claim);
        let applicant = Applicant { waits, ..run(7) };
        let admitted = self.breaker.admit(&applicant, now, lives);
        let due = history.probe_is_due;
        let refuses = |open: &Opened| probing || (now < open.due(waits) && !due);
        match (admitted, history.open.clone().filter(refuses)) {
            (Admitted::Yes(pass), None) => {
                prop_assert_eq!(pass.is_probe(), history.open.is_some());
                if pass.is_probe() {
                    let mut older = history.runs.iter().map(|run| run.pass.generation);
                    prop_assert!(older.all(|generation| generation != pass.generation), "it is new");
                    history.changed = history.runs.len();
                    let open = history.open.as_mut().unwrap();
                    open.early = now < open.until() && !due;
                    // A probe that was due once stays due, even if the clock is set back.
                    history.probe_is_due = !open.early;
                }
                history.runs.push(Run { pass, asked_at: now, alive: true, reported: false });
            }
            (Admitted::No(refusal), Some(open)) => {
                prop_assert_eq!(refusal.prober().is_some(), probing);
                prop_assert!(refusal.left > Duration::ZERO);
                prop_assert!(refusal.left <= open.length.max(secs(20)));
                prop_assert_eq!(refusal.age, now.since(open.first));
                let told = (refusal.cause, refusal.failures, refusal.last);
                prop_assert_eq!(told, (open.cause, open.failures, open.last));
            }
            (admitted, _) => prop_assert!(false, "{admitted:?} was not expected"),
        }
        Ok(())
    }

    fn report(
        &mut self,
        back: usize,
        observed: Observation,
        settings: &Settings,
    ) -> Result<(), TestCaseError> {
        let Some(index) = self.history.runs.len().checked_sub(back + 1) else { return Ok(()) };
        let run = &mut self.history.runs[index];
        if !run.alive || run.reported {
            return Ok(());
        }
        run.reported = true;
        let (pass, late) = (run.pass, index < self.history.changed);
        let before = self.breaker.clone();
        self.breaker.record(pass, &observed, None, self.now, settings);
        if late {
            prop_assert_eq!(&self.breaker, &before);
        } else {
            self.history.take(pass, observed, settings, self.now);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    /// Compares the breaker with the model. An open breaker admits no run. There is at most one
    /// live probe. Only a success or a reset closes the breaker. Late reports change nothing. No
    /// state lasts forever.
    #[test]
    fn any_history_keeps_the_promises(steps in prop::collection::vec(step(), 1..80)) {
        let (breaker, history) = (Breaker::default(), History::default());
        let mut trial = Trial { breaker, history, now: at(100_000) };
        for step in steps {
            trial.take(step)?;
            let is_closed = matches!(trial.breaker.state, State::Closed(_));
            prop_assert_eq!(is_closed, trial.history.open.is_none());
            let later = trial.now.plus(secs(24 * 3600));
            prop_assert_eq!(refused(&trial.breaker, later, true), None);
        }
    }
}
