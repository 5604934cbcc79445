//! The circuit breaker: after some failures no run makes an attempt for a while. Then one run probes,
//! and the outcome of its probe opens or closes the breaker for all. The runs that waited for it come
//! back a few at a time.
//!
//! A breaker is [`Closed`], [`Open`] or [`HalfOpen`]. Each state answers the same questions:
//! whether it refuses an attempt, which state follows a report, and what is left of its times if
//! the clock was set back.
//!
//! Every change of state begins a new generation. Its number was never used since boot, even if the
//! record was lost meanwhile. A report carries the generation that admitted its attempt. A report
//! of an older generation says nothing about the present, and changes nothing.
//!
//! The right to probe is a lease. It ends when its holder dies or when its time is over, so no
//! breaker can stay half-open for ever.

mod closed;
mod half_open;
mod open;
mod opens;
mod refusal;

pub(crate) use closed::Closed;
pub(crate) use half_open::{HalfOpen, Lease, Timing};
pub(crate) use open::{Cause, Open};
pub(crate) use opens::{HostTag, MOST_OUTCOMES, Opens, Outcomes, Past, Use};
pub(crate) use refusal::{Awaits, Known, Refusal};

use std::time::Duration;

use super::moment::Moment;
use super::recovery::Gate;

/// The cooldown doubles at most this often: it becomes up to 16 times as long.
const MOST_DOUBLINGS: u32 = 4;

/// A server that asks for a longer wait keeps the breaker open for this long. The server may be
/// wrong.
const LONGEST_ASKED: Duration = Duration::from_hours(24);

/// The options of a run for its breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) opens: Opens,
    /// The time that it stays open at first.
    pub(crate) cooldown: Duration,
    /// The longest time that a living probe may take to report.
    pub(crate) lease: Duration,
}

/// A breaker as it is kept between runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Breaker {
    pub(crate) generation: u64,
    pub(crate) state: State,
}

/// The state of a breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Closed(Closed),
    Open(Open),
    HalfOpen(HalfOpen),
}

/// Whether an attempt may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) enum Admitted {
    Yes(Pass),
    No(Refusal),
}

/// A run that asks for an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Applicant {
    /// Its process id, for its claim.
    pub(crate) pid: u32,
    /// The longest time that its attempt may take, if the attempt is a probe or needs a permit.
    pub(crate) lease: Duration,
    /// The run waits for an open breaker.
    pub(crate) waits: bool,
    /// The run waits for the breaker, and has seen it open.
    pub(crate) returns: bool,
}

/// The answer to an applicant, before anything has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) enum Answer {
    Refused(Refusal),
    /// The applicant may make an attempt, and the breaker stays as it is.
    Ordinary,
    /// The applicant may make an attempt under a claim: as a probe, or with a permit.
    Claim,
}

/// The circumstances under which an attempt was admitted. Its report carries them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pass {
    pub(crate) generation: u64,
    pub(crate) role: Role,
}

/// The part of an attempt in the life of the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The breaker was closed.
    Ordinary,
    /// The attempt is the probe.
    Probe,
    /// The run has waited, and has the permit of this number.
    Permitted(u64),
}

/// Something that one run holds as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Claim {
    /// The right to probe in this generation.
    Probe(u64),
    /// The permit of this number.
    Permit(u64),
}

impl Pass {
    /// The claim that the run holds while its attempt runs.
    pub(crate) fn claim(&self) -> Option<Claim> {
        match self.role {
            Role::Ordinary => None,
            Role::Probe => Some(Claim::Probe(self.generation)),
            Role::Permitted(permit) => Some(Claim::Permit(permit)),
        }
    }

    pub(crate) fn is_probe(&self) -> bool {
        self.role == Role::Probe
    }

    /// The number of its permit.
    pub(crate) fn permit(&self) -> Option<u64> {
        match self.role {
            Role::Permitted(permit) => Some(permit),
            Role::Ordinary | Role::Probe => None,
        }
    }
}

/// The knowledge that an attempt gives about the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Observation {
    /// The service works.
    Success,
    /// The service does not work.
    Failure {
        /// How the attempt ended.
        description: String,
        /// The server asked to be left alone for this long.
        asked: Option<Duration>,
    },
    /// Nothing: the request was wrong, the command is missing, or the user interrupted it.
    Nothing,
}

impl Settings {
    /// The time to stay open after this many failed probes.
    fn open_for(&self, probes: u32, asked: Option<Duration>) -> Duration {
        let cooldown = self.cooldown.saturating_mul(1 << probes.min(MOST_DOUBLINGS));
        cooldown.max(asked.unwrap_or_default().min(LONGEST_ASKED))
    }
}

impl State {
    /// The state that follows a report. None if the breaker stays in this state.
    fn after(
        &mut self,
        permit: Option<u64>,
        observation: &Observation,
        from: Option<HostTag>,
        now: Moment,
        settings: &Settings,
    ) -> Option<Self> {
        match self {
            Self::Closed(closed) => closed.after(permit, observation, from, now, settings),
            // No attempt is admitted in the generation of an open breaker.
            Self::Open(_) => None,
            Self::HalfOpen(half) => Some(half.after(observation, now, settings)),
        }
    }

    fn opening(&self) -> Option<&Open> {
        match self {
            Self::Closed(_) => None,
            Self::Open(open) | Self::HalfOpen(HalfOpen { open, .. }) => Some(open),
        }
    }

    fn not_after(&mut self, now: Moment) {
        match self {
            Self::Closed(closed) => closed.not_after(now),
            Self::Open(open) => open.not_after(now),
            Self::HalfOpen(half) => half.not_after(now),
        }
    }

    fn shift(&mut self, millis: i64) {
        match self {
            Self::Closed(closed) => closed.shift(millis),
            Self::Open(open) => open.shift(millis),
            Self::HalfOpen(half) => half.shift(millis),
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self { generation: 0, state: State::Closed(Closed::default()) }
    }
}

impl Breaker {
    /// Whether the applicant may make an attempt now. After the cooldown one run may, as a probe,
    /// under a lease. After an opening, the runs that waited need permits. `lives` gets a claim and
    /// the process id of its holder.
    pub(crate) fn admit(
        &mut self,
        applicant: &Applicant,
        now: Moment,
        lives: impl Fn(Claim, u32) -> bool,
    ) -> Admitted {
        let role = match (self.answer(applicant, now, &lives), &mut self.state) {
            (Answer::Refused(refusal), _) => return Admitted::No(refusal),
            (Answer::Ordinary, _) => Role::Ordinary,
            (Answer::Claim, State::Closed(closed)) => {
                closed.grant(applicant, now, lives).map_or(Role::Ordinary, Role::Permitted)
            }
            (
                Answer::Claim,
                State::Open(open) | State::HalfOpen(HalfOpen { open, timing: Timing::Early, .. }),
            ) => {
                let timing = if now < open.until() { Timing::Early } else { Timing::Due };
                self.probe(applicant, timing, now)
            }
            // A probe that was due once stays due, even if the clock is set back.
            (Answer::Claim, State::HalfOpen(HalfOpen { timing: Timing::Due, .. })) => {
                self.probe(applicant, Timing::Due, now)
            }
        };
        Admitted::Yes(Pass { generation: self.generation, role })
    }

    /// The answer to an applicant. `lives` is that of [`admit`](Self::admit).
    pub(crate) fn answer(
        &self,
        applicant: &Applicant,
        now: Moment,
        lives: impl Fn(Claim, u32) -> bool,
    ) -> Answer {
        match &self.state {
            State::Closed(closed) => match closed.gate(applicant, now, lives) {
                Gate::Full => Answer::Refused(closed.without_permit(now)),
                Gate::Permit => Answer::Claim,
                Gate::Free => Answer::Ordinary,
            },
            State::Open(_) | State::HalfOpen(_) => {
                self.opening_refusal(applicant.waits, now, lives).map_or(Answer::Claim, Answer::Refused)
            }
        }
    }

    /// Gives the lease of a probe to the applicant.
    fn probe(&mut self, applicant: &Applicant, timing: Timing, now: Moment) -> Role {
        let Some(open) = self.opening().cloned() else { return Role::Ordinary };
        let lease = Lease { owner: applicant.pid, since: now, length: applicant.lease };
        self.enter(State::HalfOpen(HalfOpen { open, lease, timing }), now);
        Role::Probe
    }

    /// Takes the report of an attempt that was admitted under `pass`, from a host of a store that
    /// many hosts share.
    pub(crate) fn record(
        &mut self,
        pass: Pass,
        observation: &Observation,
        from: Option<HostTag>,
        now: Moment,
        settings: &Settings,
    ) {
        if pass.generation != self.generation {
            return;
        }
        if let Some(next) = self.state.after(pass.permit(), observation, from, now, settings) {
            self.enter(next, now);
        }
    }

    /// The refusal by the opening, for a run that asks now. None if the run may probe, or if the breaker
    /// is closed. `lives` is that of [`admit`](Self::admit).
    pub(crate) fn opening_refusal(
        &self,
        waits: bool,
        now: Moment,
        lives: impl Fn(Claim, u32) -> bool,
    ) -> Option<Refusal> {
        match &self.state {
            State::Closed(_) => None,
            State::Open(open) => open.refusal(waits, now),
            State::HalfOpen(half) => {
                half.refusal(waits, now, |owner| lives(Claim::Probe(self.generation), owner))
            }
        }
    }

    /// Whether a report of this would change nothing that matters: a success, and the breaker is
    /// closed and knows of no failure.
    pub(crate) fn holds_already(
        &self,
        pass: Pass,
        observation: &Observation,
        from: Option<HostTag>,
        now: Moment,
        settings: &Settings,
    ) -> bool {
        match &self.state {
            State::Closed(closed) => {
                *observation == Observation::Success
                    && self.generation == pass.generation
                    && closed.success_is_known(pass.permit(), from, now, settings)
            }
            State::Open(_) | State::HalfOpen(_) => false,
        }
    }

    /// Its opening, unless it is closed.
    pub(crate) fn opening(&self) -> Option<&Open> {
        self.state.opening()
    }

    /// The breaker in place of a record that was lost while a probe runs. Only the lease of the
    /// probe is known. The report of the probe counts as it would have with the lost record.
    pub(crate) fn probed(generation: u64, owner: u32, now: Moment, length: Duration) -> Self {
        let open = Open::new(Cause::Failures, now, Duration::ZERO);
        let lease = Lease { owner, since: now, length };
        Self { generation, state: State::HalfOpen(HalfOpen { open, lease, timing: Timing::Due }) }
    }

    /// Puts back the opening that a run has seen, in place of a record that was lost meanwhile.
    /// `probe` is the generation of that run's own probe. A newer probe that still runs keeps its
    /// lease.
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
                self.state = State::HalfOpen(HalfOpen { open: seen.clone(), lease, timing: Timing::Due });
            }
            None => self.enter(State::Open(seen.clone()), now),
        }
    }

    /// Extends the claim of a pass: it lasts for `length` from now. Returns whether there is such a
    /// claim.
    pub(crate) fn renew(&mut self, pass: Pass, now: Moment, length: Duration) -> bool {
        if self.generation != pass.generation {
            return false;
        }
        match (&mut self.state, pass.permit()) {
            (State::HalfOpen(half), None) => {
                half.lease = Lease { since: now, length, ..half.lease };
                true
            }
            (State::Closed(closed), Some(permit)) => {
                closed.recovery.as_mut().is_some_and(|recovery| recovery.renew(permit, now, length))
            }
            (State::Closed(_) | State::Open(_) | State::HalfOpen(_), _) => false,
        }
    }

    /// Ends all claims at most `longest` after now. No claim of a server lasts longer, and there
    /// nobody can see whether its holder lives.
    pub(crate) fn limit_claims(&mut self, longest: Duration, now: Moment) {
        match &mut self.state {
            State::Closed(Closed { recovery: Some(recovery), .. }) => recovery.limit_permits(longest, now),
            State::HalfOpen(half) => half.limit_lease(longest, now),
            State::Closed(_) | State::Open(_) => {}
        }
    }

    /// Closes it, whatever its state.
    pub(crate) fn reset(&mut self, now: Moment) {
        self.enter(State::Closed(Closed::since(now)), now);
    }

    /// Opens it for this long, whatever its state.
    pub(crate) fn trip(&mut self, now: Moment, length: Duration) {
        let cooldown = self.opening().and_then(|open| open.cooldown);
        let open = Open { cooldown, ..Open::new(Cause::Tripped, now, length) };
        self.enter(State::Open(open), now);
    }

    /// Moves times that lie ahead of `now` back to `now`. They lie ahead if the clock was set back.
    /// An open breaker stays open from `now` for its own length, and no longer.
    pub(crate) fn not_after(&mut self, now: Moment) {
        self.state.not_after(now);
    }

    /// Moves all times into the count of another boot, which is `millis` ahead.
    pub(crate) fn shift(&mut self, millis: i64) {
        self.state.shift(millis);
    }

    fn enter(&mut self, state: State, now: Moment) {
        // The time makes the number a new one even if the record with the last number was lost.
        self.generation = self.generation.wrapping_add(1).max(now.0.max(0).unsigned_abs());
        self.state = state;
    }
}

#[cfg(test)]
mod tests;
