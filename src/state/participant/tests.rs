//! Runs that share records in memory.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::rc::Rc;

use nix::errno::Errno;

use super::super::store::Claims;
use super::*;
use crate::policy::admission::breaker::{Cause, HostTag, Opens};
use crate::policy::admission::moment::Moment;

const ONE_A_DAY: Rate = Rate::Times { count: 1, period: Duration::from_hours(24) };
const COOLDOWN: Duration = Duration::from_secs(30);
const FOREVER: Duration = Duration::MAX;

/// A record that several runs share.
#[derive(Debug, Default)]
struct Shelf {
    record: RefCell<Record>,
    /// The time in seconds.
    now: Cell<i64>,
    /// The run that has a claim.
    claims: RefCell<BTreeMap<Claim, u32>>,
    /// The next transaction finds the record damaged.
    damaged: Cell<bool>,
    transactions: Cell<u32>,
}

/// The store of one run. Each run has a number, because all runs are in this process.
#[derive(Debug)]
struct Memory {
    shelf: Rc<Shelf>,
    run: u32,
    failure: Rc<RefCell<Option<StoreError>>>,
    set_aside: Option<PathBuf>,
}

impl Memory {
    fn fails(&self) -> Result<(), StoreError> {
        self.failure.borrow().clone().map_or(Ok(()), Err)
    }
}

impl Claims for Memory {
    fn hold(&self, claim: Claim) -> Result<(), StoreError> {
        self.shelf.claims.borrow_mut().insert(claim, self.run);
        Ok(())
    }

    fn holder_lives(&self, claim: Claim, _: u32) -> bool {
        self.shelf.claims.borrow().get(&claim).is_some_and(|holder| *holder != self.run)
    }
}

impl Store for Memory {
    fn now(&self) -> Moment {
        Moment(self.shelf.now.get() * 1000)
    }

    fn transact<T>(
        &mut self,
        _: Duration,
        mut change: impl FnMut(&mut Record, &Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.fails()?;
        self.shelf.transactions.set(self.shelf.transactions.get() + 1);
        let is_lost = self.shelf.damaged.take();
        let mut record = self.shelf.record.borrow().clone();
        if is_lost {
            (record, self.set_aside) = (Record::default(), Some("/s/x.json.corrupt".into()));
        }
        let transaction = Transaction { now: self.now(), is_lost, moved_ms: 0, claims: &*self };
        let result = change(&mut record, &transaction)?;
        self.shelf.record.replace(record);
        Ok(result)
    }

    fn look(&self) -> Result<Snapshot, StoreError> {
        self.fails()?;
        if self.shelf.damaged.get() {
            return Err(StoreError::Damaged { path: "/s/x.json".into() });
        }
        Ok(Snapshot { record: self.shelf.record.borrow().clone(), now: self.now(), moved: false })
    }

    fn host(&self) -> Option<HostTag> {
        None
    }

    fn holder_lives(&self, claim: Claim, owner: u32) -> Option<bool> {
        Some(Claims::holder_lives(self, claim, owner))
    }

    fn release(&self, claim: Claim) {
        self.shelf.claims.borrow_mut().remove(&claim);
    }

    fn close(&mut self) {
        self.shelf.claims.borrow_mut().retain(|_, holder| *holder != self.run);
    }

    fn check_writable(&mut self) -> Result<(), StoreError> {
        self.fails()
    }

    fn take_set_aside(&mut self) -> Option<PathBuf> {
        self.set_aside.take()
    }
}

/// Runs with a breaker on one shelf. A budget with its own name is on another shelf.
#[derive(Default)]
struct World {
    breaker: Rc<Shelf>,
    budget: Rc<Shelf>,
    runs: u32,
    /// New runs wait for the breaker.
    waits: bool,
    /// Every store fails with this error.
    failure: Rc<RefCell<Option<StoreError>>>,
}

impl World {
    fn store(&self, shelf: &Rc<Shelf>) -> Memory {
        let (shelf, failure) = (Rc::clone(shelf), Rc::clone(&self.failure));
        Memory { shelf, run: self.runs, failure, set_aside: None }
    }

    fn run(&mut self, budget_in_breaker: Option<Rate>, own_budget: Option<Rate>) -> Participant<Memory> {
        self.runs += 1;
        let opens = Opens::InRow(NonZeroU32::new(2).unwrap());
        let settings = Settings { opens, cooldown: COOLDOWN, lease: COOLDOWN };
        let store = self.store(&self.breaker);
        let breaker = BreakerRecord { store, settings, waits: self.waits, budget: budget_in_breaker };
        let budget = own_budget.map(|rate| BudgetRecord { store: self.store(&self.budget), rate });
        Participant::with(Some(breaker), budget).unwrap()
    }

    /// A run whose failures have opened the breaker.
    fn opened(&mut self) -> Participant<Memory> {
        let mut run = self.run(None, None);
        assert_eq!(fail(&mut run, Intent::Retry), Settlement::Go);
        assert!(matches!(fail(&mut run, Intent::Retry), Settlement::Open(_)));
        run
    }

    fn pass_time(&self, time: Duration) {
        self.breaker.now.set(self.breaker.now.get() + i64::try_from(time.as_secs()).unwrap());
    }

    fn break_stores(&self) -> StoreError {
        let error = StoreError::System { doing: "read", path: "/s/x.json".into(), errno: Errno::EIO };
        self.failure.replace(Some(error.clone()));
        error
    }
}

fn failure() -> Observation {
    Observation::Failure { description: "exited 7".into(), asked: None }
}

/// Makes an attempt that fails.
fn fail(run: &mut Participant<Memory>, intent: Intent) -> Settlement {
    assert_eq!(run.admit(FOREVER), None);
    run.settle(&failure(), intent, FOREVER)
}

#[test]
fn a_run_that_shares_nothing_takes_no_part() {
    assert!(Participant::<Memory>::with(None, None).is_none());
    assert!(Participant::new(None, false, None, &ClaimsAbove::default(), Surroundings::none()).is_none());
}

#[test]
fn looks_are_enough_while_all_is_well() {
    let mut world = World::default();
    let mut run = world.run(Some(ONE_A_DAY), None);
    assert_eq!(run.admit(FOREVER), None);
    assert!(!run.probes() && run.is_closed());
    assert_eq!(run.settle(&Observation::Success, Intent::Stop, FOREVER), Settlement::Go);
    assert_eq!(world.breaker.transactions.get(), 0);
}

#[test]
fn the_failures_of_one_run_stop_another() {
    let mut world = World::default();
    let _ = world.opened();
    let before = world.breaker.transactions.get();
    let mut other = world.run(None, None);
    let refusal = other.admit(FOREVER).unwrap();
    assert_eq!((refusal.left, refusal.failures, refusal.known), (COOLDOWN, 2, Known::Now));
    assert!(!other.is_closed());
    assert_eq!(world.breaker.transactions.get(), before, "a look tells");
}

#[test]
fn one_run_probes_for_all_and_its_success_closes_the_breaker() {
    let mut world = World::default();
    let _ = world.opened();
    world.pass_time(COOLDOWN);
    let (mut prober, mut other) = (world.run(None, None), world.run(None, None));
    assert_eq!(prober.admit(FOREVER), None);
    assert!(prober.probes());
    assert_eq!(other.admit(FOREVER).unwrap().prober(), Some(std::process::id()));
    assert_eq!(prober.settle(&Observation::Success, Intent::Stop, FOREVER), Settlement::Go);
    assert!(world.breaker.claims.borrow().is_empty());
    assert_eq!(other.admit(FOREVER), None);
    assert!(!other.probes() && other.is_closed());
}

#[test]
fn a_run_that_waits_is_told_for_how_long() {
    let mut world = World::default();
    let mut run = world.run(None, None);
    assert_eq!(fail(&mut run, Intent::RetryWithin(FOREVER)), Settlement::Go);
    assert!(
        matches!(fail(&mut run, Intent::RetryWithin(FOREVER)), Settlement::Wait(refusal) if refusal.left == Duration::from_secs(1))
    );
}

#[test]
fn a_retry_takes_a_token_from_either_record() {
    let mut world = World::default();
    for (beside, own) in [(Some(ONE_A_DAY), None), (None, Some(ONE_A_DAY))] {
        let mut run = world.run(beside, own);
        assert_eq!(run.admit(FOREVER), None);
        assert_eq!(run.settle(&Observation::Nothing, Intent::Stop, FOREVER), Settlement::Go);
        assert_eq!(run.admit(FOREVER), None);
        assert_eq!(run.settle(&Observation::Nothing, Intent::Retry, FOREVER), Settlement::Go);
        assert_eq!(run.admit(FOREVER), None);
        assert!(matches!(run.settle(&Observation::Nothing, Intent::Retry, FOREVER), Settlement::Spent(_)));
    }
}

#[test]
fn a_run_goes_on_without_records_that_cannot_be_used() {
    for (beside, own, affected) in [
        (None, None, Affected::Breaker),
        (Some(ONE_A_DAY), None, Affected::Both),
        // Both records have the same problem, so there is one warning.
        (None, Some(ONE_A_DAY), Affected::Both),
    ] {
        let mut world = World::default();
        let error = world.break_stores();
        let mut run = world.run(beside, own);
        assert_eq!(run.admit(FOREVER), None);
        assert_eq!(run.take_warnings(), [Warning { affected, problem: Problem::Unusable(error) }]);
        assert_eq!(run.settle(&failure(), Intent::Retry, FOREVER), Settlement::Go);
        world.failure.take();
        assert_eq!(run.admit(FOREVER), None);
        assert!(run.take_warnings().is_empty() && run.is_closed());
        assert_eq!(world.breaker.transactions.get(), 0, "it does not come back to it");
    }
}

#[test]
fn a_signal_is_no_warning() {
    let mut world = World::default();
    world.failure.replace(Some(StoreError::Interrupted));
    let mut run = world.run(None, None);
    assert_eq!(run.admit(FOREVER), None);
    assert!(run.take_warnings().is_empty());
}

#[test]
fn a_run_that_has_seen_the_breaker_open_takes_silence_for_a_refusal() {
    let mut world = World::default();
    let mut run = world.opened();
    let error = world.break_stores();
    for warnings in [1, 0] {
        let refusal = run.admit(FOREVER).unwrap();
        assert_eq!((refusal.known, refusal.left), (Known::Earlier, COOLDOWN));
        let expected = Warning { affected: Affected::Breaker, problem: Problem::Unanswered(error.clone()) };
        assert_eq!(run.take_warnings(), vec![expected; warnings], "told once");
    }
    // The same holds if a probe is due, because this run cannot get the lease.
    world.pass_time(COOLDOWN * 2);
    assert_eq!(run.admit(FOREVER).unwrap().known, Known::Earlier);
    world.failure.take();
    assert_eq!(run.admit(FOREVER), None);
    assert!(run.probes());
}

#[test]
fn a_probe_that_cannot_report_counts_for_its_own_run() {
    let mut world = World::default();
    let mut run = world.opened();
    world.pass_time(COOLDOWN);
    assert_eq!(run.admit(FOREVER), None);
    world.break_stores();
    let settled = run.settle(&failure(), Intent::Retry, FOREVER);
    assert!(matches!(settled, Settlement::Open(refusal) if refusal.left == COOLDOWN * 2));
    assert!(world.breaker.claims.borrow().is_empty(), "nobody waits for its lease");
}

#[test]
fn a_damaged_record_is_put_back_by_a_run_that_knows_it() {
    let mut world = World::default();
    let mut run = world.opened();
    world.pass_time(Duration::from_secs(10));
    world.breaker.damaged.set(true);
    let refusal = run.admit(FOREVER).unwrap();
    let expected = (Cause::Failures, 2, COOLDOWN.saturating_sub(Duration::from_secs(10)));
    assert_eq!((refusal.cause, refusal.failures, refusal.left), expected);
    let problem = Problem::SetAside("/s/x.json.corrupt".into());
    assert_eq!(run.take_warnings(), [Warning { affected: Affected::Breaker, problem }]);
    // A run that has never seen the breaker open begins anew.
    world.breaker.damaged.set(true);
    assert_eq!(world.run(None, None).admit(FOREVER), None);
}
