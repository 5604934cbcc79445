//! What the loop needs of the world.

use std::time::Duration;

use rand::Rng;

use crate::error::Error;
use crate::policy::admission::breaker::{Observation, Refusal};
use crate::policy::admission::record::Settlement;
use crate::policy::once::Seen;
use crate::policy::outcome::Attempt;
use crate::policy::signal::Signal;
use crate::policy::verdict::rule::Judged;
use crate::report::event::Event;

/// The world as the loop sees it: the clock, the command, the runs that share state, and the user.
///
/// All times are counted from the same moment, and never go back.
pub(crate) trait Host {
    type Random: Rng;

    fn now(&self) -> Duration;

    /// The random source for a purpose. It is made when the loop first asks for it.
    fn random(&mut self, purpose: Randomness) -> &mut Self::Random;

    /// Looks for the answer of `--once`. If there is none, this run makes it unless another run is
    /// making it.
    ///
    /// # Errors
    /// If the answer can neither be read nor made.
    fn look(&mut self) -> Result<Seen, Error>;

    /// Keeps the output of the attempt that succeeded as the answer of `--once`.
    ///
    /// # Errors
    /// If there is no answer then.
    fn keep(&mut self) -> Result<(), Error>;

    /// Runs `--check`, if it is given, with the arguments of [`attempt`](Self::attempt).
    ///
    /// # Errors
    /// If retry itself fails. A check that fails is not an error.
    fn check(
        &mut self,
        number: u32,
        last: Option<&Judged>,
        deadline: Option<Duration>,
    ) -> Result<Checked, Error>;

    /// Runs the command once. Numbers begin at 1, `last` is the attempt before, and `deadline` is the
    /// end of the run.
    ///
    /// # Errors
    /// If retry itself fails. A command that fails is not an error.
    fn attempt(
        &mut self,
        number: u32,
        last: Option<&Judged>,
        deadline: Option<Duration>,
    ) -> Result<Attempt, Error>;

    /// Runs `--on-retry`, if it is given, before attempt `number`. Returns the signal that interrupted
    /// it. The report tells if the command fails.
    ///
    /// # Errors
    /// If retry itself fails.
    fn prepare_retry(
        &mut self,
        number: u32,
        last: Option<&Judged>,
        deadline: Option<Duration>,
    ) -> Result<Option<Signal>, Error>;

    /// Does this to the held output of attempt `number`.
    ///
    /// # Errors
    /// If some of the output is lost.
    fn settle_output(&mut self, number: u32, fate: Output) -> Result<(), Error>;

    /// Shows the output that was held back of the last attempt, when no attempt follows, and that of
    /// a check for the `next` one.
    fn show_output(&mut self, next: u32);

    /// Passes on the output that retry has not yet written. Returns the signal that interrupted
    /// this, or PIPE if nobody reads the output any more.
    ///
    /// # Errors
    /// If some of the output is lost.
    fn pass_output(&mut self, deadline: Option<Duration>) -> Result<Option<Signal>, Error>;

    /// Waits, and returns the signal that ended the wait early.
    ///
    /// # Errors
    /// If retry itself fails.
    fn wait_until(&mut self, until: Duration) -> Result<Option<Signal>, Error>;

    /// Asks the breaker for an attempt, and puts the first attempt of a run into the budget. This
    /// takes no longer than `left`, the time until the deadline.
    fn admit(&mut self, left: Duration) -> Option<Refusal>;

    /// Looks whether the breaker is closed, without asking for an attempt.
    fn breaker_is_closed(&mut self) -> bool;

    /// Reports what an attempt has shown, `left` before the deadline. Takes a token from the budget
    /// if a retry is wanted.
    fn settle(&mut self, observation: &Observation, retry: bool, left: Duration) -> Settlement;

    fn tell(&mut self, event: &Event<'_>);

    /// Describes how an attempt ended, for the record of the breaker.
    fn describe(&self, attempt: &Attempt) -> String;
}

/// What random numbers are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Randomness {
    /// Delays. `--seed` makes them repeatable.
    Delays,
    /// Looks at an open breaker. Runs that share a seed must not look at the same moment.
    BreakerLooks,
}

/// What happens to the held output of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// The run succeeds, so the output is passed on.
    Passed,
    /// The attempt failed, or is the last one of a run that fails.
    HeldBack,
    /// The attempt succeeded, and is repeated: the output of the last success counts.
    Dropped,
}

/// The answer of `--check`.
#[derive(Debug)]
pub(crate) enum Checked {
    /// There is no `--check`.
    NotAsked,
    /// The work is not done, so the command has to run.
    NotDone,
    /// The command does not run: the work is done, the check failed, or a signal arrived. The check
    /// counts as the attempt.
    Instead(Box<Attempt>),
}
