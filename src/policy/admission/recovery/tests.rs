//! Checks the recovery against all short histories of a few runs, and against long random ones.

use proptest::prelude::*;

use super::*;

/// A permit whose attempt takes longer than this comes back.
const LEASE: Duration = Duration::from_secs(5);

/// The time between two events of a history.
const TICK: Duration = Duration::from_millis(125);

/// A run that has waited for the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Run {
    Waits,
    Runs {
        permit: u64,
        since: Moment,
    },
    /// It succeeded or died.
    Ended,
}

/// An event of a history. The number is that of a run.
#[derive(Debug, Clone, Copy)]
enum Step {
    Look(usize),
    Succeed(usize),
    Fail(usize),
    Die(usize),
    /// A run that does not wait reports a failure.
    Outsider,
    Pass(u32),
}

/// A crowd, and the recovery that lets it back.
#[derive(Debug, Clone)]
struct Crowd {
    recovery: Recovery,
    runs: Vec<Run>,
    now: Moment,
}

impl Crowd {
    fn new(runs: usize) -> Self {
        let now = Moment(1_000_000);
        Self { recovery: Recovery::new(now), runs: vec![Run::Waits; runs], now }
    }

    fn lives(runs: &[Run]) -> impl Fn(u64, u32) -> bool {
        move |id, _| runs.iter().any(|run| matches!(run, Run::Runs { permit, .. } if *permit == id))
    }

    /// The attempts that run now under a permit.
    fn running(&self) -> usize {
        let now = self.now;
        let runs = |run: &&Run| matches!(run, Run::Runs { since, .. } if now.since(*since) < LEASE);
        self.runs.iter().filter(runs).count()
    }

    fn take(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Pass(ticks) => self.now = now.plus(TICK * ticks),
            Step::Outsider => self.recovery.report(None, Sign::Failure, now),
            Step::Look(run) => self.look(run),
            Step::Succeed(run) => self.report(run, Sign::Success, Run::Ended),
            Step::Fail(run) => self.report(run, Sign::Failure, Run::Waits),
            Step::Die(run) => self.runs[run] = Run::Ended,
        }
        assert!(self.recovery.permits.len() <= 128);
    }

    fn look(&mut self, run: usize) {
        if self.runs[run] != Run::Waits {
            return;
        }
        let lives = Self::lives(&self.runs);
        let room = self.recovery.gate(self.now, &lives) != Gate::Full;
        let given = self.recovery.grant(self.now, LEASE, 7, lives);
        assert_eq!(given.is_some(), room, "a look tells the same as a transaction");
        if let Some(permit) = given {
            self.runs[run] = Run::Runs { permit, since: self.now };
            assert!(self.running() <= self.recovery.capacity(), "no admission beyond the permits: {self:?}");
        }
    }

    fn report(&mut self, run: usize, sign: Sign, then: Run) {
        if let Run::Runs { permit, .. } = self.runs[run] {
            self.recovery.report(Some(permit), sign, self.now);
            self.runs[run] = then;
        }
    }

    /// All runs look and succeed from now on. Returns the number of ticks until they are through.
    fn ticks_until_all_are_through(mut self) -> usize {
        for tick in 0.. {
            if self.runs.iter().all(|run| *run == Run::Ended) {
                return tick;
            }
            assert!(tick < 1000, "somebody starves: {self:?}");
            for run in 0..self.runs.len() {
                self.take(Step::Look(run));
            }
            for run in 0..self.runs.len() {
                self.take(Step::Succeed(run));
            }
            self.take(Step::Pass(1));
        }
        0
    }
}

/// All histories of two runs and five events, and the end of each if the service works from then on.
#[test]
fn no_short_history_admits_too_many_or_starves_a_run() {
    let steps: Vec<Step> = (0..2)
        .flat_map(|run| [Step::Look(run), Step::Succeed(run), Step::Fail(run), Step::Die(run)])
        .chain([Step::Outsider, Step::Pass(1), Step::Pass(50)])
        .collect();
    let mut crowds = vec![Crowd::new(2)];
    for _ in 0..5 {
        let next = |crowd: &Crowd| {
            let crowd = crowd.clone();
            steps.clone().into_iter().map(move |step| {
                let mut after = crowd.clone();
                after.take(step);
                after
            })
        };
        crowds = crowds.iter().flat_map(next).collect();
        crowds.dedup_by(|one, other| one.recovery == other.recovery && one.runs == other.runs);
    }
    assert!(crowds.len() > 10_000);
    for crowd in crowds {
        // The smallest window keeps a permit for four seconds, and the lease of a run that does not
        // report is five.
        assert!(crowd.ticks_until_all_are_through() <= 2 * (32 + 40));
    }
}

/// All runs look every millisecond for a round, and each attempt ends at once. Returns the number of
/// attempts.
fn round(crowd: &mut Crowd, ends: fn(usize) -> Step) -> usize {
    let begun = crowd.recovery.next;
    for _ in 0..ROUND.as_millis() {
        for run in 0..crowd.runs.len() {
            if crowd.runs[run] == Run::Waits && crowd.recovery.due <= crowd.now {
                crowd.take(Step::Look(run));
                crowd.take(ends(run));
            }
        }
        crowd.now = crowd.now.plus(Duration::from_millis(1));
    }
    usize::try_from(crowd.recovery.next - begun).unwrap()
}

#[test]
fn each_success_makes_room_for_two_more_attempts() {
    let mut crowd = Crowd::new(300);
    let attempts: Vec<usize> = (0..6).map(|_| round(&mut crowd, Step::Succeed)).collect();
    // Successes of the same round count already, so the number more than doubles.
    assert_eq!(attempts, [1, 3, 7, 22, 69, 198]);
}

#[test]
fn slow_attempts_run_as_many_at_a_time_as_the_window_allows() {
    let mut crowd = Crowd::new(300);
    let mut running = Vec::new();
    for _ in 0..5 {
        for _ in 0..1000 {
            if let Some(run) = crowd.runs.iter().position(|run| *run == Run::Waits) {
                crowd.take(Step::Look(run));
            }
            crowd.now = crowd.now.plus(Duration::from_millis(1));
        }
        running.push(crowd.running());
        (0..300).for_each(|run| crowd.take(Step::Succeed(run)));
    }
    assert_eq!(running, [1, 2, 4, 8, 16]);
}

#[test]
fn the_window_grows_to_the_most_permits_and_no_further() {
    let mut crowd = Crowd::new(1000);
    let mut most = 0;
    // Each attempt takes long enough for the whole window to be given.
    for _ in 0..10 {
        for _ in 0..500 {
            if let Some(run) = crowd.runs.iter().position(|run| *run == Run::Waits) {
                crowd.take(Step::Look(run));
            }
            crowd.now = crowd.now.plus(Duration::from_millis(1));
        }
        most = most.max(crowd.running());
        if crowd.running() == 128 {
            break;
        }
        (0..1000).for_each(|run| crowd.take(Step::Succeed(run)));
    }
    assert_eq!((most, crowd.recovery.permits.len(), crowd.recovery.window), (128, 128, LARGEST));
    let lives = |_, _| true;
    assert_eq!(crowd.recovery.gate(crowd.now, lives), Gate::Full, "the next run waits");
    // Each permit that comes back is one permit, not two.
    let running = crowd.runs.iter().position(|run| matches!(run, Run::Runs { .. })).unwrap();
    crowd.take(Step::Succeed(running));
    assert_eq!(crowd.recovery.gate(crowd.now, lives), Gate::Permit);
    let waiting = crowd.runs.iter().position(|run| *run == Run::Waits).unwrap();
    crowd.take(Step::Look(waiting));
    crowd.now = crowd.now.plus(ROUND);
    assert_eq!((crowd.recovery.window, crowd.recovery.gate(crowd.now, lives)), (LARGEST, Gate::Full));
    // A window that another program has written is no larger.
    crowd.recovery.window = u32::MAX;
    assert_eq!(crowd.recovery.gate(crowd.now, lives), Gate::Full);
}

#[test]
fn permits_are_given_at_equal_distances() {
    let mut crowd = Crowd::new(300);
    crowd.recovery.window = 10 * ONE;
    let start = crowd.now;
    let mut given = Vec::new();
    for run in 0..300 {
        crowd.take(Step::Look(run));
        if let Run::Runs { since, .. } = crowd.runs[run] {
            given.push(since.since(start).as_millis());
            crowd.report(run, Sign::Nothing, Run::Ended);
        }
        crowd.now = crowd.now.plus(Duration::from_millis(1));
    }
    assert_eq!(given, [0, 25, 50, 75, 100, 125, 150, 175, 200, 225, 250, 275]);
}

#[test]
fn a_failure_halves_the_window_once_for_each_round_trip_and_then_it_grows_slowly() {
    let mut crowd = Crowd::new(300);
    crowd.recovery.window = 16 * ONE;
    for run in 0..16 {
        crowd.take(Step::Look(run));
        crowd.now = crowd.now.plus(Duration::from_millis(16));
    }
    (0..4).for_each(|run| crowd.take(Step::Fail(run)));
    assert_eq!(crowd.recovery.window, 8 * ONE, "they began before the first of them was reported");
    assert_eq!(crowd.recovery.threshold, Some(12 * ONE));
    (4..8).for_each(|run| crowd.take(Step::Succeed(run)));
    assert_eq!(crowd.recovery.window, 12 * ONE);
    (8..16).for_each(|run| crowd.take(Step::Succeed(run)));
    assert_eq!(crowd.recovery.window, 12 * ONE + 8 * ONE / SLOW_PART);
    crowd.now = crowd.now.plus(ROUND);
    crowd.take(Step::Look(30));
    crowd.take(Step::Fail(30));
    assert_eq!(crowd.recovery.window, 6 * ONE + 4 * ONE / SLOW_PART);
    // A run that needs no permit counts too, once in a round.
    let window = crowd.recovery.window;
    crowd.take(Step::Outsider);
    assert_eq!(crowd.recovery.window, window);
    crowd.now = crowd.now.plus(ROUND);
    crowd.take(Step::Outsider);
    assert_eq!(crowd.recovery.window, window / 2);
}

#[test]
fn below_one_permit_the_next_one_comes_later() {
    let mut crowd = Crowd::new(9);
    let mut waits = Vec::new();
    for run in 0..6 {
        let from = crowd.now;
        while crowd.runs[run] == Run::Waits {
            crowd.now = crowd.now.plus(Duration::from_millis(1));
            crowd.take(Step::Look(run));
        }
        waits.push(crowd.now.since(from).as_millis());
        crowd.take(Step::Fail(run));
    }
    // The time to the next permit is fixed when a permit is given.
    assert_eq!(waits, [1, 249, 500, 1000, 2000, 4032]);
}

#[test]
fn a_holder_that_dies_or_is_late_gives_its_permit_back() {
    let mut crowd = Crowd::new(3);
    crowd.take(Step::Look(0));
    crowd.now = crowd.now.plus(ROUND);
    crowd.take(Step::Look(1));
    assert_eq!(crowd.runs[1], Run::Waits);
    crowd.take(Step::Die(0));
    crowd.take(Step::Look(1));
    assert!(matches!(crowd.runs[1], Run::Runs { .. }), "at once");
    crowd.now = crowd.now.plus(LEASE);
    crowd.take(Step::Look(2));
    assert!(matches!(crowd.runs[2], Run::Runs { .. }), "the lease is over");
}

#[test]
fn it_is_over_when_a_permit_has_been_free_for_long() {
    let everybody = |_: u64, _: u32| true;
    let mut crowd = Crowd::new(2);
    let start = crowd.now;
    assert_eq!(crowd.recovery.gate(start.plus(IDLE.saturating_sub(TICK)), everybody), Gate::Permit);
    assert_eq!(crowd.recovery.gate(start.plus(IDLE), everybody), Gate::Free);
    // A permit that is used is not free.
    crowd.take(Step::Look(0));
    assert_eq!(crowd.recovery.gate(start.plus(Duration::from_secs(4)), everybody), Gate::Full);
    crowd.now = start.plus(Duration::from_secs(4));
    crowd.take(Step::Succeed(0));
    assert_eq!(crowd.recovery.gate(start.plus(Duration::from_secs(13)), everybody), Gate::Permit);
    assert_eq!(crowd.recovery.gate(start.plus(Duration::from_secs(14)), everybody), Gate::Free);
}

#[test]
fn a_success_in_a_window_that_is_not_used_shows_nothing() {
    let mut crowd = Crowd::new(9);
    crowd.recovery.window = 16 * ONE;
    for run in 0..3 {
        crowd.now = crowd.now.plus(ROUND);
        crowd.take(Step::Look(run));
        crowd.take(Step::Succeed(run));
    }
    assert_eq!(crowd.recovery.window, 16 * ONE);
}

fn step(runs: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..runs).prop_map(Step::Look),
        4 => (0..runs).prop_map(Step::Succeed),
        3 => (0..runs).prop_map(Step::Fail),
        1 => (0..runs).prop_map(Step::Die),
        1 => Just(Step::Outsider),
        6 => (0u32..20).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Nobody is admitted beyond the permits, and nobody starves, whatever happened before. A clock
    /// that is set back does not matter.
    #[test]
    fn any_history_ends_well(steps in prop::collection::vec(step(20), 0..200), back in 0i64..100_000) {
        let mut crowd = Crowd::new(20);
        for step in steps {
            crowd.take(step);
        }
        // A run whose permit has come back by its time no longer counts.
        let permits: Vec<u64> = crowd.recovery.permits.iter().map(|permit| permit.id).collect();
        for run in &mut crowd.runs {
            if matches!(run, Run::Runs { permit, .. } if !permits.contains(permit)) {
                *run = Run::Ended;
            }
        }
        crowd.now = crowd.now.shifted(-back);
        let now = crowd.now;
        crowd.recovery.not_after(now);
        crowd.ticks_until_all_are_through();
    }
}
