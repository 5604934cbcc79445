//! The circuit breaker: after some failures in a row no run makes an attempt for a while. Then one
//! run probes, and the outcome of its probe opens or closes the breaker for all.
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
mod refusal;

pub(crate) use closed::Closed;
pub(crate) use half_open::{HalfOpen, Lease};
pub(crate) use open::{Cause, Open};
pub(crate) use refusal::{Known, Refusal};

use std::num::NonZeroU32;
use std::time::Duration;

use super::moment::Moment;

/// The cooldown doubles at most this often: it becomes up to 16 times as long.
const MOST_DOUBLINGS: u32 = 4;

/// A server that asks for a longer wait keeps the breaker open for this long. The server may be
/// wrong.
const LONGEST_ASKED: Duration = Duration::from_hours(24);

/// The options of a run for its breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Failures in a row that open it.
    pub(crate) failures: NonZeroU32,
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

/// The circumstances under which an attempt was admitted. Its report carries them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pass {
    pub(crate) generation: u64,
    /// The attempt is the probe.
    pub(crate) probe: bool,
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
    fn refusal(&self, now: Moment, holder_lives: impl FnOnce(u32) -> bool) -> Option<Refusal> {
        match self {
            Self::Closed(_) => None,
            Self::Open(open) => open.refusal(now),
            Self::HalfOpen(half) => half.refusal(now, holder_lives),
        }
    }

    /// The state that follows a report. None if the breaker stays in this state.
    fn after(&mut self, observation: &Observation, now: Moment, settings: &Settings) -> Option<Self> {
        match self {
            Self::Closed(closed) => closed.after(observation, now, settings),
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
    /// Whether the run with this process id, `owner`, may make an attempt now. After the cooldown
    /// one run may, as a probe, under a lease of this length. `holder_lives` gets the generation of
    /// a lease and the process id of its holder.
    pub(crate) fn admit(
        &mut self,
        now: Moment,
        lease: Duration,
        owner: u32,
        holder_lives: impl FnOnce(u64, u32) -> bool,
    ) -> Admitted {
        if let Some(refusal) = self.refusal(now, holder_lives) {
            return Admitted::No(refusal);
        }
        let Some(open) = self.opening().cloned() else {
            return Admitted::Yes(Pass { generation: self.generation, probe: false });
        };
        let lease = Lease { owner, since: now, length: lease };
        self.enter(State::HalfOpen(HalfOpen { open, lease }), now);
        Admitted::Yes(Pass { generation: self.generation, probe: true })
    }

    /// Takes the report of an attempt that was admitted under `pass`.
    pub(crate) fn record(&mut self, pass: Pass, observation: &Observation, now: Moment, settings: &Settings) {
        if pass.generation != self.generation {
            return;
        }
        if let Some(next) = self.state.after(observation, now, settings) {
            self.enter(next, now);
        }
    }

    /// The refusal of a run that asks now. None if the run may make an attempt.
    pub(crate) fn refusal(
        &self,
        now: Moment,
        holder_lives: impl FnOnce(u64, u32) -> bool,
    ) -> Option<Refusal> {
        self.state.refusal(now, |owner| holder_lives(self.generation, owner))
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
        Self { generation, state: State::HalfOpen(HalfOpen { open, lease }) }
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
                self.state = State::HalfOpen(HalfOpen { open: seen.clone(), lease });
            }
            None => self.enter(State::Open(seen.clone()), now),
        }
    }

    /// Extends the lease of a probe of this generation: it lasts for `length` from now. Returns whether
    /// there is such a lease.
    pub(crate) fn renew(&mut self, generation: u64, now: Moment, length: Duration) -> bool {
        match &mut self.state {
            State::HalfOpen(half) if self.generation == generation => {
                half.lease = Lease { since: now, length, ..half.lease };
                true
            }
            State::Closed(_) | State::Open(_) | State::HalfOpen(_) => false,
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
