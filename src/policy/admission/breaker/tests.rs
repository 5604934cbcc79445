//! Tests the breaker with examples, and against a simple model of its history.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::*;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(seconds: i64) -> Moment {
    Moment(seconds * 1000)
}

fn settings() -> Settings {
    Settings { failures: NonZeroU32::new(3).unwrap(), cooldown: secs(30), lease: secs(20) }
}

fn failure() -> Observation {
    Observation::Failure { description: "exited 7".into(), asked: None }
}

/// The admission of a run. Panics if the breaker refuses the run.
fn pass(breaker: &mut Breaker, now: Moment) -> Pass {
    match breaker.admit(now, secs(20), 1, |_, _| true) {
        Admitted::Yes(pass) => pass,
        Admitted::No(refusal) => panic!("{refusal:?}"),
    }
}

fn opened(now: Moment) -> Breaker {
    let mut breaker = Breaker::default();
    for _ in 0..3 {
        let pass = pass(&mut breaker, now);
        breaker.record(pass, &failure(), now, &settings());
    }
    breaker
}

#[test]
fn failures_in_a_row_open_it_and_a_success_between_does_not() {
    let mut breaker = Breaker::default();
    for observed in [failure(), failure(), Observation::Success, failure(), Observation::Nothing, failure()] {
        let pass = pass(&mut breaker, at(0));
        breaker.record(pass, &observed, at(0), &settings());
    }
    let third = pass(&mut breaker, at(5));
    breaker.record(third, &failure(), at(5), &settings());
    let refusal = breaker.refusal(at(10), |_, _| true).unwrap();
    assert_eq!((refusal.age, refusal.left, refusal.failures), (secs(5), secs(25), 3));
    assert_eq!(refusal.last.as_deref(), Some("exited 7"));
}

#[test]
fn each_failed_probe_doubles_the_cooldown_up_to_sixteen_times() {
    let mut breaker = opened(at(0));
    let mut now = at(0);
    for times in [1, 2, 4, 8, 16, 16, 16] {
        let left = breaker.refusal(now, |_, _| true).unwrap().left;
        assert_eq!(left, secs(30) * times);
        now = now.plus(left);
        let pass = pass(&mut breaker, now);
        assert!(pass.probe);
        breaker.record(pass, &failure(), now, &settings());
    }
    now = now.plus(secs(480));
    let success = pass(&mut breaker, now);
    breaker.record(success, &Observation::Success, now, &settings());
    assert_eq!(breaker.refusal(now, |_, _| true), None);
    // After a success, the first cooldown applies again.
    for _ in 0..3 {
        let pass = pass(&mut breaker, now);
        breaker.record(pass, &failure(), now, &settings());
    }
    assert_eq!(breaker.refusal(now, |_, _| true).unwrap().left, secs(30));
}

#[test]
fn a_server_that_asks_for_more_keeps_it_open_for_longer() {
    for (asked, left) in [(10, 30), (45, 45), (3600, 3600), (10_000_000, 24 * 3600)] {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            let pass = pass(&mut breaker, at(0));
            let observed = Observation::Failure { description: "exited 22".into(), asked: Some(secs(asked)) };
            breaker.record(pass, &observed, at(0), &settings());
        }
        assert_eq!(breaker.refusal(at(0), |_, _| true).unwrap().left, secs(left));
    }
}

#[test]
fn a_probe_that_shows_nothing_leaves_it_to_the_next() {
    let mut breaker = opened(at(0));
    let probe = pass(&mut breaker, at(30));
    breaker.record(probe, &Observation::Nothing, at(31), &settings());
    let next = pass(&mut breaker, at(31));
    assert!(next.probe);
    breaker.record(next, &failure(), at(31), &settings());
    assert_eq!(breaker.refusal(at(31), |_, _| true).unwrap().left, secs(60));
}

#[test]
fn the_lease_of_one_who_is_dead_or_late_goes_to_the_next() {
    let mut breaker = opened(at(0));
    let first = pass(&mut breaker, at(30));
    let refusal = breaker.refusal(at(31), |_, _| true).unwrap();
    assert_eq!((refusal.prober, refusal.left), (Some(1), secs(19)));
    assert!(matches!(
        breaker.admit(at(31), secs(20), 2, |_, _| false),
        Admitted::Yes(Pass { probe: true, .. })
    ));
    assert!(matches!(breaker.admit(at(50), secs(20), 3, |_, _| true), Admitted::No(_)));
    let third = pass(&mut breaker, at(51));
    // The report of a run that lost its lease changes nothing.
    breaker.record(first, &Observation::Success, at(52), &settings());
    assert!(breaker.refusal(at(52), |_, _| true).is_some());
    breaker.record(third, &Observation::Success, at(52), &settings());
    assert_eq!(breaker.refusal(at(52), |_, _| true), None);
}

#[test]
fn a_clock_that_goes_back_opens_it_for_no_longer_than_its_length() {
    for back in [1, 3600, 86_400, 30 * 365 * 86_400] {
        let mut breaker = opened(at(0));
        breaker.not_after(at(-back));
        assert_eq!(breaker.refusal(at(-back), |_, _| true).unwrap().left, secs(30));
        let mut breaker = opened(at(0));
        let _ = pass(&mut breaker, at(30));
        breaker.not_after(at(-back));
        assert_eq!(breaker.refusal(at(-back), |_, _| true).unwrap().left, secs(20));
    }
}

#[test]
fn it_is_told_since_when_why_and_for_how_long() {
    let mut breaker = opened(at(0));
    let probe = pass(&mut breaker, at(30));
    let asking = Observation::Failure { description: "exited 9".into(), asked: Some(secs(100)) };
    breaker.record(probe, &asking, at(31), &settings());
    // The age counts from the first opening. The breaker stays open for as long as the server asks.
    let refusal = breaker.refusal(at(41), |_, _| true).unwrap();
    let Refusal { age, left, cooldown, failures, last, cause, prober, known } = refusal;
    assert_eq!(known, Known::Now);
    assert_eq!((age, left, failures, last.as_deref()), (secs(41), secs(90), 4, Some("exited 9")));
    assert_eq!((cause, prober, cooldown), (Cause::Failures, None, Some(secs(30))));
    // A probe without a result changes nothing else, and the cooldown doubles as before.
    let probe = pass(&mut breaker, at(131));
    breaker.record(probe, &Observation::Nothing, at(132), &settings());
    let probe = pass(&mut breaker, at(132));
    breaker.record(probe, &failure(), at(132), &settings());
    let refusal = breaker.refusal(at(132), |_, _| true).unwrap();
    assert_eq!((refusal.age, refusal.left, refusal.failures), (secs(132), secs(120), 5));
    let probe = pass(&mut breaker, at(252));
    breaker.record(probe, &Observation::Success, at(253), &settings());
    assert_eq!(breaker.state, State::Closed(Closed { since: Some(at(253)), ..Closed::default() }));
    let first = pass(&mut breaker, at(260));
    breaker.record(first, &failure(), at(260), &settings());
    breaker.record(first, &Observation::Success, at(261), &settings());
    assert_eq!(breaker.state, State::Closed(Closed { since: Some(at(253)), ..Closed::default() }));
    breaker.not_after(at(200));
    assert_eq!(breaker.state, State::Closed(Closed { since: Some(at(200)), ..Closed::default() }));
    breaker.trip(at(300), secs(60));
    assert_eq!(breaker.refusal(at(300), |_, _| true).unwrap().cause, Cause::Tripped);
    breaker.not_after(at(100));
    assert_eq!(breaker.refusal(at(110), |_, _| true).unwrap().age, secs(10));
}

#[test]
fn a_record_that_was_lost_is_put_back_as_it_was_seen() {
    let seen = opened(at(1000)).opening().unwrap().clone();
    let refusal = seen.unanswered(at(1010));
    assert_eq!((refusal.known, refusal.age, refusal.left), (Known::Earlier, secs(10), secs(20)));
    // The restored breaker stays open until the same time. One run then probes.
    let mut breaker = Breaker::default();
    breaker.restore(&seen, None, at(1010));
    assert_eq!(breaker.refusal(at(1010), |_, _| true).unwrap().left, secs(20));
    let probe = pass(&mut breaker, at(1030));
    assert!(probe.probe);
    assert!(breaker.refusal(at(1031), |_, _| true).is_some());
    // The report of a probe counts, even if the record was lost in the meantime.
    for (observed, left) in [(failure(), Some(secs(60))), (Observation::Success, None)] {
        let mut breaker = Breaker::default();
        breaker.restore(&seen, Some(probe.generation), at(1031));
        breaker.record(probe, &observed, at(1031), &settings());
        assert_eq!(breaker.refusal(at(1031), |_, _| true).map(|refusal| refusal.left), left);
    }
}

#[test]
fn a_probe_keeps_its_lease_when_its_record_is_lost() {
    let mut breaker = opened(at(1000));
    let seen = breaker.opening().unwrap().clone();
    let probe = pass(&mut breaker, at(1030));
    let lost = || Breaker::probed(probe.generation, 0, at(1031), secs(300));
    // The same holds if a run that has seen the breaker open restores the opening. It also holds if
    // an older probe restores the opening.
    for earlier in [None, Some(probe.generation - 1)] {
        let mut breaker = lost();
        breaker.restore(&seen, earlier, at(1031));
        assert_eq!(breaker.opening(), Some(&seen));
        assert_eq!(breaker.refusal(at(1031), |_, _| true).unwrap().prober, Some(0));
        assert_eq!(breaker.refusal(at(1031), |_, _| false), None, "the probe has died");
        assert_eq!(breaker.refusal(at(1400), |_, _| true), None, "the lease is over");
    }
    let mut breaker = lost();
    breaker.record(probe, &failure(), at(1040), &settings());
    assert_eq!(breaker.refusal(at(1040), |_, _| true).unwrap().left, secs(60));
    let mut breaker = lost();
    breaker.record(probe, &Observation::Success, at(1040), &settings());
    assert_eq!(breaker.refusal(at(1040), |_, _| true), None);
}

#[test]
fn the_cooldown_is_that_of_the_run_that_opened_it_last() {
    let cooldown = |breaker: &Breaker| breaker.refusal(at(1000), |_, _| true).unwrap().cooldown;
    let mut breaker = opened(at(1000));
    assert_eq!(cooldown(&breaker), Some(secs(30)));
    let probe = pass(&mut breaker, at(1030));
    let shorter = Settings { cooldown: secs(2), ..settings() };
    breaker.record(probe, &failure(), at(1030), &shorter);
    assert_eq!(cooldown(&breaker), Some(secs(2)));
    // A probe without a result and a trip do not change the cooldown.
    let probe = pass(&mut breaker, at(1034));
    assert_eq!(cooldown(&breaker), Some(secs(2)));
    breaker.record(probe, &Observation::Nothing, at(1035), &settings());
    breaker.trip(at(1036), secs(60));
    assert_eq!(cooldown(&breaker), Some(secs(2)));
    breaker.reset(at(1037));
    breaker.trip(at(1038), secs(60));
    assert_eq!(cooldown(&breaker), None);
}

#[test]
fn what_a_server_asked_at_an_earlier_failure_counts() {
    let mut breaker = Breaker::default();
    for asked in [Some(secs(1000)), None, None] {
        let pass = pass(&mut breaker, at(0));
        breaker.record(pass, &Observation::Failure { description: String::new(), asked }, at(0), &settings());
    }
    assert_eq!(breaker.refusal(at(0), |_, _| true).unwrap().left, secs(1000));
}

/// An event in the life of a breaker that several runs share.
#[derive(Debug, Clone)]
enum Step {
    /// A run asks for an attempt.
    Ask,
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
        8 => Just(Step::Ask),
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
}

/// A model of the breaker that keeps the whole history.
#[derive(Default)]
struct History {
    runs: Vec<Run>,
    /// The current opening, if the breaker is not closed.
    open: Option<Opened>,
    /// Failures since the last success or change of state. Only runs that were admitted since the
    /// last change count.
    failures: u32,
    not_before: Option<Moment>,
    /// Runs with a lower index were admitted before the last change of state.
    changed: usize,
}

impl History {
    /// The run whose probe counts now.
    fn probing(&self, now: Moment) -> Option<&Run> {
        let live =
            |run: &&Run| run.pass.probe && run.alive && !run.reported && now < run.asked_at.plus(secs(20));
        self.runs[self.changed..].last().filter(live)
    }

    fn close(&mut self) {
        (self.open, self.failures, self.not_before) = (None, 0, None);
        self.changed = self.runs.len();
    }

    /// Counts the report of a run that was admitted since the last change of state.
    fn take(&mut self, pass: Pass, observed: Observation, settings: &Settings, now: Moment) {
        let open_for = |probes: u32, asked: Option<Duration>| {
            (settings.cooldown * 2u32.pow(probes.min(4))).max(asked.unwrap_or_default())
        };
        match (observed, pass.probe, self.open.clone()) {
            (Observation::Success, true, _) => self.close(),
            (Observation::Success, false, _) => (self.failures, self.not_before) = (0, None),
            (Observation::Failure { description, asked }, true, Some(open)) => {
                let (probes, failures) = (open.probes + 1, open.failures + 1);
                let (length, last) = (open_for(probes, asked), Some(description));
                self.reopen(Opened { since: now, length, probes, failures, last, ..open });
            }
            (Observation::Failure { description, asked }, _, _) => {
                self.failures += 1;
                self.not_before = self.not_before.max(asked.map(|asked| now.plus(asked)));
                if self.failures >= settings.failures.get() {
                    let length = open_for(0, self.not_before.map(|until| until.since(now)));
                    let (cause, failures) = (Cause::Failures, self.failures);
                    let last = Some(description);
                    self.reopen(Opened { first: now, since: now, length, cause, probes: 0, failures, last });
                }
            }
            (Observation::Nothing, true, Some(open)) => {
                self.open = Some(Opened { since: now, length: Duration::ZERO, ..open });
                self.changed = self.runs.len();
            }
            (Observation::Nothing, _, _) => {}
        }
    }

    fn reopen(&mut self, open: Opened) {
        self.open = Some(open);
        (self.failures, self.not_before) = (0, None);
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
                let (length, cause) = (secs(seconds), Cause::Tripped);
                let opened =
                    Opened { first: now, since: now, length, cause, probes: 0, failures: 0, last: None };
                self.history.reopen(opened);
            }
            Step::Die { back } => {
                if let Some(run) = self.history.runs.iter_mut().nth_back(back) {
                    run.alive = false;
                }
            }
            Step::Ask => return self.ask(),
            Step::Report { back, observed, threshold, cooldown } => {
                let failures = NonZeroU32::new(threshold).unwrap();
                let settings = Settings { failures, cooldown: secs(cooldown), lease: secs(20) };
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
        }
        for run in &mut self.history.runs {
            run.asked_at = run.asked_at.min(now);
        }
    }

    fn ask(&mut self) -> Result<(), TestCaseError> {
        let (history, now) = (&mut self.history, self.now);
        let probing = history.probing(now).is_some();
        let alive = |generation: u64| {
            let probe = |run: &Run| run.pass.generation == generation && run.pass.probe && run.alive;
            history.runs.iter().any(probe)
        };
        let lives = |generation, owner| owner == 7 && alive(generation);
        let admitted = self.breaker.admit(now, secs(20), 7, lives);
        let refuses = |open: &Opened| now < open.since.plus(open.length) || probing;
        match (admitted, history.open.clone().filter(refuses)) {
            (Admitted::Yes(pass), None) => {
                prop_assert_eq!(pass.probe, history.open.is_some());
                if pass.probe {
                    let mut older = history.runs.iter().map(|run| run.pass.generation);
                    prop_assert!(older.all(|generation| generation != pass.generation), "it is new");
                    history.changed = history.runs.len();
                    // A probe that was due once stays due, even if the clock is set back.
                    history.open.iter_mut().for_each(|open| open.length = Duration::ZERO);
                }
                history.runs.push(Run { pass, asked_at: now, alive: true, reported: false });
            }
            (Admitted::No(refusal), Some(open)) => {
                prop_assert_eq!(refusal.prober.is_some(), probing);
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
        self.breaker.record(pass, &observed, self.now, settings);
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
            prop_assert_eq!(trial.breaker.refusal(later, |_, _| true), None);
        }
    }
}
