//! The circuit breaker: after some failures in a row nobody runs anything for a while; then one run tries,
//! and its outcome opens or closes for all.
//!
//! Every change of state begins a new generation, of a number that was never used since boot, also where the
//! record was lost meanwhile. A report carries the generation in which its attempt was
//! admitted; one of an older generation says nothing of the present and changes nothing. The probe is a
//! lease: it ends when its holder dies or its time is over, so that no breaker can stick half-open.

use std::num::NonZeroU32;
use std::time::Duration;

use super::Moment;

/// How often the cooldown doubles: up to 16 times its length.
const MOST_DOUBLINGS: u32 = 4;

/// A server that asks for a longer wait keeps the breaker open for this long: it may be wrong.
const LONGEST_ASKED: Duration = Duration::from_hours(24);

/// What a run wants of its breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Failures in a row that open it.
    pub(crate) failures: NonZeroU32,
    /// How long it stays open at first.
    pub(crate) cooldown: Duration,
    /// How long a probe that lives may take to report.
    pub(crate) lease: Duration,
}

/// A breaker as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Breaker {
    pub(crate) generation: u64,
    pub(crate) state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Closed(Closed),
    Open(Open),
    HalfOpen(HalfOpen),
}

/// Attempts are made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Closed {
    /// Since when, if it was ever otherwise.
    pub(crate) since: Option<Moment>,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// What the last of them was.
    pub(crate) last: Option<String>,
    /// A server has asked to be left alone until then.
    pub(crate) not_before: Option<Moment>,
}

/// No attempt is made before the cooldown is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Open {
    /// When it opened, failed probes aside.
    pub(crate) first: Moment,
    /// When it opened last.
    pub(crate) since: Moment,
    /// How long it is open from then.
    pub(crate) length: Duration,
    /// `--breaker-cooldown` of the run that opened it; unknown if it was opened by hand.
    pub(crate) cooldown: Option<Duration>,
    pub(crate) cause: Cause,
    /// Probes that failed since it opened first.
    pub(crate) probes: u32,
    /// Failures in a row, the probes among them.
    pub(crate) failures: u32,
    /// What the last of them was.
    pub(crate) last: Option<String>,
}

/// One probe is under way, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HalfOpen {
    pub(crate) open: Open,
    pub(crate) lease: Lease,
}

/// The right to probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    /// The pid of the retry that has it: for people, as it may be another container's. 0 if it is unknown.
    pub(crate) owner: u32,
    pub(crate) since: Moment,
    pub(crate) length: Duration,
}

/// Why it opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Failures in a row.
    Failures,
    /// `--breaker-trip`
    Tripped,
}

/// Whether an attempt may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) enum Admitted {
    Yes(Pass),
    No(Refusal),
}

/// Under what an attempt was admitted; its outcome is reported with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pass {
    pub(crate) generation: u64,
    /// It is the probe.
    pub(crate) probe: bool,
}

/// Why no attempt may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// How long it has been open.
    pub(crate) age: Duration,
    /// How long until a probe may be made; of a probe that runs, until it must have reported.
    pub(crate) left: Duration,
    /// The cooldown of the run that opened it, before any doubling. All who wait spread their looks by it.
    pub(crate) cooldown: Option<Duration>,
    pub(crate) cause: Cause,
    pub(crate) failures: u32,
    pub(crate) last: Option<String>,
    /// The pid of the run that probes, 0 if it is unknown.
    pub(crate) prober: Option<u32>,
    pub(crate) known: Known,
}

/// From when the knowledge is that a refusal rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// The record says so.
    Now,
    /// The record said so when this run looked last. Now it cannot be read, or not locked.
    Earlier,
}

/// What an attempt has shown of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    /// That it works.
    Success,
    /// That it does not: `what` is how the attempt ended, `asked` how long the server asks to wait.
    Failure { what: String, asked: Option<Duration> },
    /// Nothing: the request was wrong, the command is missing, the user has interrupted it.
    Nothing,
}

impl Refusal {
    /// Whether another says the same, but for the time.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let what =
            |refusal: &Self| (refusal.cause, refusal.failures, refusal.prober.is_some(), refusal.known);
        what(self) == what(other)
    }

    /// The same refusal after some time has passed.
    #[must_use]
    pub(crate) fn after(self, passed: Duration) -> Self {
        Self { age: self.age.saturating_add(passed), left: self.left.saturating_sub(passed), ..self }
    }

    /// Whether a probe may be made in less than this time; one that runs may end at any.
    pub(crate) fn is_over_in(&self, time: Duration) -> bool {
        self.prober.is_some() || self.left < time
    }
}

impl Settings {
    /// How long it stays open after so many failed probes. Saturating.
    fn open_for(&self, probes: u32, asked: Option<Duration>) -> Duration {
        let cooldown = self.cooldown.saturating_mul(1 << probes.min(MOST_DOUBLINGS));
        cooldown.max(asked.unwrap_or_default().min(LONGEST_ASKED))
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self { generation: 0, state: State::Closed(Closed::default()) }
    }
}

impl Breaker {
    /// Whether an attempt may be made now by the run with this pid. After the cooldown one may, as a probe,
    /// under a lease of this length. `lives` tells of a generation's lease,
    /// and of the pid that took it, whether the holder lives.
    pub(crate) fn admit(
        &mut self,
        now: Moment,
        lease: Duration,
        owner: u32,
        lives: impl FnOnce(u64, u32) -> bool,
    ) -> Admitted {
        let open = match &self.state {
            State::Closed(_) => return Admitted::Yes(Pass { generation: self.generation, probe: false }),
            State::Open(open) if now < open.until() => return Admitted::No(open.refusal(now)),
            State::Open(open) => open.clone(),
            State::HalfOpen(half) if now < half.lease.until() && lives(self.generation, half.lease.owner) => {
                return Admitted::No(half.refusal(now));
            }
            State::HalfOpen(half) => half.open.clone(),
        };
        let lease = Lease { owner, since: now, length: lease };
        self.enter(State::HalfOpen(HalfOpen { open, lease }), now);
        Admitted::Yes(Pass { generation: self.generation, probe: true })
    }

    /// Takes the report of an attempt that was admitted under `pass`.
    pub(crate) fn record(&mut self, pass: Pass, shown: &Shown, now: Moment, settings: &Settings) {
        if pass.generation != self.generation {
            return;
        }
        match (&mut self.state, shown) {
            (State::Closed(closed), Shown::Success) => {
                *closed = Closed { since: closed.since, ..Closed::default() };
            }
            (State::Closed(closed), Shown::Failure { what, asked }) => {
                closed.failures = closed.failures.saturating_add(1);
                closed.last = Some(what.clone());
                let until = asked.map(|asked| now.plus(asked.min(LONGEST_ASKED)));
                closed.not_before = closed.not_before.max(until);
                if closed.failures >= settings.failures.get() {
                    let open = Open {
                        first: now,
                        since: now,
                        length: settings.open_for(0, closed.not_before.map(|until| until.since(now))),
                        cooldown: Some(settings.cooldown),
                        cause: Cause::Failures,
                        probes: 0,
                        failures: closed.failures,
                        last: closed.last.take(),
                    };
                    self.enter(State::Open(open), now);
                }
            }
            (State::HalfOpen(_), Shown::Success) => {
                self.enter(State::Closed(Closed { since: Some(now), ..Closed::default() }), now);
            }
            (State::HalfOpen(half), Shown::Failure { what, asked }) => {
                let probes = half.open.probes.saturating_add(1);
                let open = Open {
                    since: now,
                    length: settings.open_for(probes, *asked),
                    cooldown: Some(settings.cooldown),
                    probes,
                    failures: half.open.failures.saturating_add(1),
                    last: Some(what.clone()),
                    ..half.open.clone()
                };
                self.enter(State::Open(open), now);
            }
            (State::HalfOpen(half), Shown::Nothing) => {
                // The next run probes.
                let open = Open { since: now, length: Duration::ZERO, ..half.open.clone() };
                self.enter(State::Open(open), now);
            }
            // Nothing is admitted under the generation of an open breaker.
            (State::Open(_), _) | (State::Closed(_), Shown::Nothing) => {}
        }
    }

    /// What a run that asked now would be told, if it is refused. Changes nothing.
    pub(crate) fn refusal(&self, now: Moment, lives: impl FnOnce(u64, u32) -> bool) -> Option<Refusal> {
        match self.clone().admit(now, Duration::ZERO, 0, lives) {
            Admitted::Yes(_) => None,
            Admitted::No(refusal) => Some(refusal),
        }
    }

    /// Its opening, unless it is closed.
    pub(crate) fn opening(&self) -> Option<&Open> {
        match &self.state {
            State::Closed(_) => None,
            State::Open(open) | State::HalfOpen(HalfOpen { open, .. }) => Some(open),
        }
    }

    /// The breaker in place of a record that was lost while a probe runs: only the lease of the probe is known. The
    /// report of the probe counts as it would have with the lost record.
    pub(crate) fn probed(generation: u64, owner: u32, now: Moment, length: Duration) -> Self {
        let open = Open {
            first: now,
            since: now,
            length: Duration::ZERO,
            cooldown: None,
            cause: Cause::Failures,
            probes: 0,
            failures: 0,
            last: None,
        };
        let lease = Lease { owner, since: now, length };
        Self { generation, state: State::HalfOpen(HalfOpen { open, lease }) }
    }

    /// Puts back the opening that a run has seen, in place of a record that was lost meanwhile. `probe` is the
    /// generation of that run's own probe. A newer probe that still runs keeps its lease.
    pub(crate) fn restore(&mut self, seen: &Open, probe: Option<u64>, now: Moment) {
        if let State::HalfOpen(half) = &mut self.state
            && probe.is_none_or(|generation| generation < self.generation)
        {
            half.open = seen.clone();
            return;
        }
        match probe {
            Some(generation) => {
                let lease = Lease { owner: 0, since: now, length: Duration::ZERO };
                self.generation = generation;
                self.state = State::HalfOpen(HalfOpen { open: seen.clone(), lease });
            }
            None => self.enter(State::Open(seen.clone()), now),
        }
    }

    /// Closes it, whatever it was.
    pub(crate) fn reset(&mut self, now: Moment) {
        self.enter(State::Closed(Closed { since: Some(now), ..Closed::default() }), now);
    }

    /// Opens it for so long, whatever it was.
    pub(crate) fn trip(&mut self, now: Moment, length: Duration) {
        let open = Open {
            first: now,
            since: now,
            length,
            cooldown: self.opening().and_then(|open| open.cooldown),
            cause: Cause::Tripped,
            probes: 0,
            failures: 0,
            last: None,
        };
        self.enter(State::Open(open), now);
    }

    /// Takes back what lies ahead of `now`: the clock was set back, and what is open may be so from now on for
    /// its own length, no longer.
    pub(crate) fn not_after(&mut self, now: Moment) {
        let open = match &mut self.state {
            State::Closed(closed) => {
                closed.since = closed.since.map(|since| since.min(now));
                let latest = now.plus(LONGEST_ASKED);
                closed.not_before = closed.not_before.map(|until| until.min(latest));
                return;
            }
            State::Open(open) => open,
            State::HalfOpen(half) => {
                half.lease.since = half.lease.since.min(now);
                &mut half.open
            }
        };
        open.since = open.since.min(now);
        open.first = open.first.min(now);
    }

    fn enter(&mut self, state: State, now: Moment) {
        self.generation = self.generation.wrapping_add(1).max(u64::try_from(now.0).unwrap_or(0));
        self.state = state;
    }
}

impl Open {
    /// When a probe may be made.
    pub(crate) fn until(&self) -> Moment {
        self.since.plus(self.length)
    }

    fn refusal(&self, now: Moment) -> Refusal {
        Refusal {
            age: now.since(self.first),
            left: self.until().since(now),
            cooldown: self.cooldown,
            cause: self.cause,
            failures: self.failures,
            last: self.last.clone(),
            prober: None,
            known: Known::Now,
        }
    }

    /// The answer to a run that has seen this opening, and gets no answer from the record now.
    pub(crate) fn unanswered(&self, now: Moment) -> Refusal {
        Refusal { known: Known::Earlier, ..self.refusal(now) }
    }
}

impl HalfOpen {
    fn refusal(&self, now: Moment) -> Refusal {
        Refusal {
            left: self.lease.until().since(now),
            prober: Some(self.lease.owner),
            ..self.open.refusal(now)
        }
    }
}

impl Lease {
    fn until(self) -> Moment {
        self.since.plus(self.length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    fn failure() -> Shown {
        Shown::Failure { what: "exited 7".into(), asked: None }
    }

    /// Admits or panics.
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
        for shown in [failure(), failure(), Shown::Success, failure(), Shown::Nothing, failure()] {
            let pass = pass(&mut breaker, at(0));
            breaker.record(pass, &shown, at(0), &settings());
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
        breaker.record(success, &Shown::Success, now, &settings());
        assert_eq!(breaker.refusal(now, |_, _| true), None);
        // All over again from the first cooldown.
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
                let shown = Shown::Failure { what: "exited 22".into(), asked: Some(secs(asked)) };
                breaker.record(pass, &shown, at(0), &settings());
            }
            assert_eq!(breaker.refusal(at(0), |_, _| true).unwrap().left, secs(left));
        }
    }

    #[test]
    fn a_probe_that_shows_nothing_leaves_it_to_the_next() {
        let mut breaker = opened(at(0));
        let probe = pass(&mut breaker, at(30));
        breaker.record(probe, &Shown::Nothing, at(31), &settings());
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
        // What comes late changes nothing.
        breaker.record(first, &Shown::Success, at(52), &settings());
        assert!(breaker.refusal(at(52), |_, _| true).is_some());
        breaker.record(third, &Shown::Success, at(52), &settings());
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
        let what = Shown::Failure { what: "exited 9".into(), asked: Some(secs(100)) };
        breaker.record(probe, &what, at(31), &settings());
        // Since it opened first; for as long as the server asks.
        let refusal = breaker.refusal(at(41), |_, _| true).unwrap();
        let Refusal { age, left, cooldown, failures, last, cause, prober, known } = refusal;
        assert_eq!(known, Known::Now);
        assert_eq!((age, left, failures, last.as_deref()), (secs(41), secs(90), 4, Some("exited 9")));
        assert_eq!((cause, prober, cooldown), (Cause::Failures, None, Some(secs(30))));
        // What a probe that shows nothing leaves behind is as it was, and the doubling goes on.
        let probe = pass(&mut breaker, at(131));
        breaker.record(probe, &Shown::Nothing, at(132), &settings());
        let probe = pass(&mut breaker, at(132));
        breaker.record(probe, &failure(), at(132), &settings());
        let refusal = breaker.refusal(at(132), |_, _| true).unwrap();
        assert_eq!((refusal.age, refusal.left, refusal.failures), (secs(132), secs(120), 5));
        let probe = pass(&mut breaker, at(252));
        breaker.record(probe, &Shown::Success, at(253), &settings());
        assert_eq!(breaker.state, State::Closed(Closed { since: Some(at(253)), ..Closed::default() }));
        let first = pass(&mut breaker, at(260));
        breaker.record(first, &failure(), at(260), &settings());
        breaker.record(first, &Shown::Success, at(261), &settings());
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
        // It is open for as long as before, and then one run probes.
        let mut breaker = Breaker::default();
        breaker.restore(&seen, None, at(1010));
        assert_eq!(breaker.refusal(at(1010), |_, _| true).unwrap().left, secs(20));
        let probe = pass(&mut breaker, at(1030));
        assert!(probe.probe);
        assert!(breaker.refusal(at(1031), |_, _| true).is_some());
        // The report of a probe counts, also if the record was lost meanwhile.
        for (shown, left) in [(failure(), Some(secs(60))), (Shown::Success, None)] {
            let mut breaker = Breaker::default();
            breaker.restore(&seen, Some(probe.generation), at(1031));
            breaker.record(probe, &shown, at(1031), &settings());
            assert_eq!(breaker.refusal(at(1031), |_, _| true).map(|refusal| refusal.left), left);
        }
    }

    #[test]
    fn a_probe_keeps_its_lease_when_its_record_is_lost() {
        let mut breaker = opened(at(1000));
        let seen = breaker.opening().unwrap().clone();
        let probe = pass(&mut breaker, at(1030));
        let lost = || Breaker::probed(probe.generation, 0, at(1031), secs(300));
        // Also if a run that has seen the breaker open, or an older probe, puts its opening back.
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
        breaker.record(probe, &Shown::Success, at(1040), &settings());
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
        // A probe that shows nothing, and a trip, leave it as it was.
        let probe = pass(&mut breaker, at(1034));
        assert_eq!(cooldown(&breaker), Some(secs(2)));
        breaker.record(probe, &Shown::Nothing, at(1035), &settings());
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
            breaker.record(pass, &Shown::Failure { what: String::new(), asked }, at(0), &settings());
        }
        assert_eq!(breaker.refusal(at(0), |_, _| true).unwrap().left, secs(1000));
    }

    /// What may happen to a breaker that several runs share.
    #[derive(Debug, Clone)]
    enum Step {
        /// A run asks for an attempt.
        Ask,
        /// One of the last runs that were admitted reports, with settings of its own.
        Report {
            back: usize,
            shown: Shown,
            threshold: u32,
            cooldown: u64,
        },
        /// One of the last runs dies.
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
        let shown = prop_oneof![
            4 => Just(failure()),
            1 => (0u64..200).prop_map(|s| Shown::Failure { what: s.to_string(), asked: Some(secs(s)) }),
            1 => Just(Shown::Success),
            1 => Just(Shown::Nothing),
        ];
        prop_oneof![
            8 => Just(Step::Ask),
            8 => (0usize..3, shown, 1u32..4, 1u64..40).prop_map(|(back, shown, threshold, cooldown)| {
                Step::Report { back, shown, threshold, cooldown }
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

    /// What the history says of an opening.
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

    /// What the history alone says of now: nothing of the breaker's own.
    #[derive(Default)]
    struct History {
        runs: Vec<Run>,
        /// Not closed since.
        open: Option<Opened>,
        /// Failures since the last success or change, of runs admitted since the last change.
        failures: u32,
        not_before: Option<Moment>,
        /// Runs with a lower index were admitted before the last change of state.
        changed: usize,
    }

    impl History {
        /// The run whose probe counts now.
        fn probing(&self, now: Moment) -> Option<&Run> {
            let live = |run: &&Run| {
                run.pass.probe && run.alive && !run.reported && now < run.asked_at.plus(secs(20))
            };
            self.runs[self.changed..].last().filter(live)
        }

        fn close(&mut self) {
            (self.open, self.failures, self.not_before) = (None, 0, None);
            self.changed = self.runs.len();
        }

        fn reopen(&mut self, open: Opened) {
            self.open = Some(open);
            (self.failures, self.not_before) = (0, None);
            self.changed = self.runs.len();
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

        /// Against a naive history: nothing is admitted while it is open, there is one live probe at most,
        /// it closes only by a success or a reset, late reports change nothing, and it never sticks.
        #[test]
        fn any_history_keeps_the_promises(steps in prop::collection::vec(step(), 1..80)) {
            let (mut breaker, mut history, mut now) = (Breaker::default(), History::default(), at(100_000));
            for step in steps {
                match step {
                    Step::Pass(seconds) => now = now.plus(secs(seconds)),
                    Step::Back(seconds) => {
                        now = Moment(now.0 - i64::try_from(seconds).unwrap() * 1000);
                        breaker.not_after(now);
                        if let Some(open) = &mut history.open {
                            (open.first, open.since) = (open.first.min(now), open.since.min(now));
                        }
                        for run in &mut history.runs {
                            run.asked_at = run.asked_at.min(now);
                        }
                    }
                    Step::Reset => {
                        breaker.reset(now);
                        history.close();
                    }
                    Step::Trip(seconds) => {
                        breaker.trip(now, secs(seconds));
                        let (length, cause) = (secs(seconds), Cause::Tripped);
                        history.reopen(Opened { first: now, since: now, length, cause, probes: 0, failures: 0, last: None });
                    }
                    Step::Die { back } => {
                        if let Some(run) = history.runs.iter_mut().nth_back(back) {
                            run.alive = false;
                        }
                    }
                    Step::Ask => {
                        let probing = history.probing(now).map(|run| run.pass.generation);
                        let alive = |generation: u64| {
                            history.runs.iter().any(|run| run.pass.generation == generation && run.pass.probe && run.alive)
                        };
                        let admitted = breaker.admit(now, secs(20), 7, |generation, owner| owner == 7 && alive(generation));
                        let expected = history.open.clone().filter(|open| {
                            now < open.since.plus(open.length) || probing.is_some()
                        });
                        match (admitted, expected) {
                            (Admitted::Yes(pass), None) => {
                                prop_assert_eq!(pass.probe, history.open.is_some());
                                if pass.probe {
                                    // Never used before.
                                    prop_assert!(history.runs.iter().all(|run| run.pass.generation != pass.generation));
                                    history.changed = history.runs.len();
                                    // Once due, it is so whatever the clock.
                                    history.open.iter_mut().for_each(|open| open.length = Duration::ZERO);
                                }
                                history.runs.push(Run { pass, asked_at: now, alive: true, reported: false });
                            }
                            (Admitted::No(refusal), Some(open)) => {
                                prop_assert_eq!(refusal.prober.is_some(), probing.is_some());
                                prop_assert!(refusal.left > Duration::ZERO);
                                prop_assert!(refusal.left <= open.length.max(secs(20)));
                                prop_assert_eq!(refusal.age, now.since(open.first));
                                prop_assert_eq!(
                                    (refusal.cause, refusal.failures, refusal.last),
                                    (open.cause, open.failures, open.last)
                                );
                            }
                            (admitted, _) => prop_assert!(false, "{admitted:?}, not what was expected"),
                        }
                    }
                    Step::Report { back, shown, threshold, cooldown } => {
                        let Some(index) = history.runs.len().checked_sub(back + 1) else { continue };
                        let run = &mut history.runs[index];
                        if !run.alive || run.reported {
                            continue;
                        }
                        run.reported = true;
                        let (pass, late) = (run.pass, index < history.changed);
                        let before = breaker.clone();
                        let failures = NonZeroU32::new(threshold).unwrap();
                        let settings = Settings { failures, cooldown: secs(cooldown), lease: secs(20) };
                        breaker.record(pass, &shown, now, &settings);
                        if late {
                            prop_assert_eq!(&breaker, &before);
                            continue;
                        }
                        let open_for = |probes: u32, asked: Option<Duration>| {
                            (secs(cooldown) * 2u32.pow(probes.min(4))).max(asked.unwrap_or_default())
                        };
                        match (shown, pass.probe, history.open.clone()) {
                            (Shown::Success, true, _) => history.close(),
                            (Shown::Success, false, _) => (history.failures, history.not_before) = (0, None),
                            (Shown::Failure { what, asked }, true, Some(open)) => {
                                let (probes, failures) = (open.probes + 1, open.failures + 1);
                                let length = open_for(probes, asked);
                                history.reopen(Opened { since: now, length, probes, failures, last: Some(what), ..open });
                            }
                            (Shown::Failure { what, asked }, _, _) => {
                                history.failures += 1;
                                history.not_before = history.not_before.max(asked.map(|asked| now.plus(asked)));
                                if history.failures >= threshold {
                                    let length = open_for(0, history.not_before.map(|until| until.since(now)));
                                    let (cause, failures) = (Cause::Failures, history.failures);
                                    let last = Some(what);
                                    history.reopen(Opened { first: now, since: now, length, cause, probes: 0, failures, last });
                                }
                            }
                            (Shown::Nothing, true, Some(open)) => {
                                history.open = Some(Opened { since: now, length: Duration::ZERO, ..open });
                                history.changed = history.runs.len();
                            }
                            (Shown::Nothing, _, _) => {}
                        }
                    }
                }
                let is_closed = matches!(breaker.state, State::Closed(_));
                prop_assert_eq!(is_closed, history.open.is_none(), "closed only by a success or a reset");
                // Whatever has happened, it admits again in the end.
                let later = now.plus(secs(24 * 3600));
                prop_assert_eq!(breaker.refusal(later, |_, _| true), None);
            }
        }
    }
}
