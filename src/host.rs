//! The real world behind the loop: the processes, the shared state and the terminal of this machine.

use std::borrow::Cow;
use std::ffi::CString;
use std::time::Duration;

use nix::errno::Errno;
use rand::rngs::{SysRng, Xoshiro256PlusPlus};
use rand::{SeedableRng as _, TryRng as _};

use crate::cli::resolve::Invocation;
use crate::cli::values::KeySource;
use crate::clock;
use crate::error::Error;
use crate::policy::admission::breaker::{Observation, Refusal};
use crate::policy::admission::record::{Intent, Settlement};
use crate::policy::expand::{Tokens, expanded};
use crate::policy::outcome::{Attempt, Outcome};
use crate::policy::signal::Signal;
use crate::process::attempt::Supervisor;
use crate::process::descendants::{Process, ancestors};
use crate::process::running::Bounds;
use crate::process::signal::end_is_pending;
use crate::report::Report;
use crate::report::event::Event;
use crate::run::{Checked, Host, Randomness};
use crate::state::key;
use crate::state::participant::Participant;
use crate::state::surroundings::Surroundings;
use crate::streams::alarm::interrupted;
use crate::streams::descriptor::lift;

#[derive(Debug)]
pub(crate) struct System<'a> {
    pub(crate) supervisor: Supervisor,
    pub(crate) invocation: &'a Invocation,
    pub(crate) report: Report,
    /// The state that is shared with other runs. None if nothing is shared.
    pub(crate) shared: Option<Participant>,
    /// The random source of delays. A run that succeeds at once never creates it.
    pub(crate) random: Option<Xoshiro256PlusPlus>,
    /// The random source of looks at a breaker.
    pub(crate) dice: Option<Xoshiro256PlusPlus>,
    /// The idempotency key, after the first attempt.
    pub(crate) key: Option<String>,
}

/// The minimum time for the report of an attempt to other runs, even after the deadline.
const REPORT: Duration = Duration::from_secs(1);

const NO_RANDOMNESS: Error = Error::System { what: "cannot get random numbers", errno: Errno::EIO };

/// The processes and signals around shared state.
pub(crate) const SURROUNDINGS: Surroundings = Surroundings {
    end_is_pending,
    is_stopped: Process::is_stopped,
    ancestors: || ancestors().collect(),
    interrupted: |after, call| interrupted(after, call),
    lift,
};

/// The error for a key file that cannot be used.
pub(crate) fn key_error(error: key::KeyFileError) -> Error {
    Error::State { hint: error.hint(), cause: error.into() }
}

/// A seed for delays if the system has no randomness. Runs at the same moment differ in their process
/// ids. retry does not give up, because that would hide how the attempt ended.
fn seed_by_clock() -> u64 {
    let moment = u64::try_from(clock::now().as_nanos()).unwrap_or(u64::MAX);
    moment ^ (u64::from(std::process::id()) << 32)
}

/// Creates a random source at its first use. Without a seed the system seeds it.
fn source(made: &mut Option<Xoshiro256PlusPlus>, seed: Option<u64>) -> &mut Xoshiro256PlusPlus {
    let random = match (made.take(), seed) {
        (Some(random), _) => random,
        (None, Some(seed)) => Xoshiro256PlusPlus::seed_from_u64(seed),
        (None, None) => {
            Xoshiro256PlusPlus::seed_from_u64(SysRng.try_next_u64().unwrap_or_else(|_| seed_by_clock()))
        }
    };
    made.insert(random)
}

impl System<'_> {
    /// Tells about damaged or unusable shared state.
    fn warn(&mut self) {
        for warning in self.shared.as_mut().map(Participant::take_warnings).unwrap_or_default() {
            self.report.tell(&Event::SharedState(&warning));
        }
    }

    /// The key of this run. It is read at the first attempt, because no request can be sent before.
    fn key(&mut self) -> Result<String, Error> {
        if let Some(key) = &self.key {
            return Ok(key.clone());
        }
        let fresh = || {
            let mut bytes = [0; 16];
            SysRng.try_fill_bytes(&mut bytes).map_err(|_| NO_RANDOMNESS)?;
            Ok(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
        };
        let key = match &self.invocation.key {
            KeySource::Fresh => fresh()?,
            KeySource::Given(key) => key.clone(),
            KeySource::File(path) => {
                let (key, age) = key::obtain(path, &fresh()?).map_err(key_error)?;
                if let Some(age) = age {
                    self.report.tell(&Event::KeyReused { path, age });
                }
                key
            }
        };
        Ok(self.key.insert(key).clone())
    }

    /// Removes the key file after a success, because the next run is another request.
    pub(crate) fn forget_key(&mut self) {
        if let (KeySource::File(path), Some(key)) = (&self.invocation.key, &self.key)
            && let Err(why) = key::remove(path, key, end_is_pending)
        {
            self.report.tell(&Event::KeyLeft { why: &why });
        }
    }

    fn bounds(&self, number: u32, deadline: Option<Duration>) -> Bounds {
        let policy = &self.invocation.policy;
        Bounds {
            limits: policy.limits,
            deadline: deadline.zip(policy.schedule.deadline),
            timed: policy.schedule.healthy_after.is_some(),
            last: policy.schedule.is_last(number),
        }
    }

    /// The environment of retry, with the variables of this attempt.
    fn environment(&self, number: u32, last: Option<u8>, key: &str) -> Vec<CString> {
        let max = self.invocation.policy.schedule.max_attempts;
        let own = [
            ("RETRY_IDEMPOTENCY_KEY=", key.to_owned()),
            ("RETRY_ATTEMPT=", number.to_string()),
            ("RETRY_MAX_ATTEMPTS=", max.map(|max| max.to_string()).unwrap_or_default()),
            ("RETRY_LAST_STATUS=", last.map(|last| last.to_string()).unwrap_or_default()),
        ];
        let replaced =
            |entry: &CString| own.iter().any(|(name, _)| entry.as_bytes().starts_with(name.as_bytes()));
        let kept = self.invocation.environment.iter().filter(|entry| !replaced(entry)).cloned();
        let added =
            own.iter().map(|(name, value)| CString::new(format!("{name}{value}")).unwrap_or_default());
        kept.chain(added).collect()
    }
}

impl Host for System<'_> {
    type Random = Xoshiro256PlusPlus;

    fn now(&self) -> Duration {
        clock::now()
    }

    fn random(&mut self, purpose: Randomness) -> &mut Self::Random {
        match purpose {
            Randomness::Delays => source(&mut self.random, self.invocation.seed),
            Randomness::BreakerLooks => source(&mut self.dice, None),
        }
    }

    fn check(&mut self, number: u32, last: Option<u8>, deadline: Option<Duration>) -> Result<Checked, Error> {
        let Some(check) = &self.invocation.check else { return Ok(Checked::NotAsked) };
        let key = self.key()?;
        let environment = self.environment(number, last, &key);
        let bounds = self.bounds(number, deadline);
        let attempt = self.supervisor.check(check, &environment, bounds, &mut self.report)?;
        Ok(match (&attempt.outcome, attempt.interrupted) {
            (Outcome::Exited(1), None) => Checked::NotDone,
            _ => Checked::Instead(Box::new(attempt)),
        })
    }

    fn attempt(
        &mut self,
        number: u32,
        last: Option<u8>,
        deadline: Option<Duration>,
    ) -> Result<Attempt, Error> {
        let policy = &self.invocation.policy;
        let bounds = self.bounds(number, deadline);
        let key = self.key()?;
        let environment = self.environment(number, last, &key);
        let mut command = Cow::Borrowed(&self.invocation.command);
        if self.invocation.expand {
            let max = policy.schedule.max_attempts;
            let tokens = Tokens { key: &key, attempt: number, max };
            command = Cow::Owned(command.with_arguments(|argument| expanded(argument, tokens)));
        }
        self.supervisor.attempt(&command, &environment, bounds, &mut self.report)
    }

    fn breaker_is_closed(&mut self) -> bool {
        self.shared.as_ref().is_none_or(Participant::is_closed)
    }

    fn admit(&mut self, left: Duration) -> Option<Refusal> {
        let shared = self.shared.as_mut()?;
        let refusal = shared.admit(left);
        let probes = shared.probes();
        self.warn();
        if probes {
            self.report.tell(&Event::Probe);
        }
        refusal
    }

    fn settle(&mut self, observation: &Observation, retry: bool, left: Duration) -> Settlement {
        let intent = match (retry, self.invocation.policy.admission.wait) {
            (false, _) => Intent::Stop,
            (true, false) => Intent::Retry,
            (true, true) => Intent::RetryWithin(left),
        };
        let Some(shared) = &mut self.shared else { return Settlement::Go };
        // The report may end after the deadline, because this run makes no attempt after it.
        let settled = shared.settle(observation, intent, (left / 2).max(REPORT));
        self.warn();
        settled
    }

    fn wait_until(&mut self, until: Duration) -> Result<Option<Signal>, Error> {
        self.supervisor.pause(until, &mut self.report)
    }

    fn release_output(&mut self, number: u32, success: bool) -> Result<(), Error> {
        if success {
            return self.supervisor.release();
        }
        if let Some(held) = self.supervisor.reject() {
            self.report.tell(&Event::HeldBack { number, output: &held });
        }
        Ok(())
    }

    fn pass_output(&mut self, deadline: Option<Duration>) -> Result<Option<Signal>, Error> {
        self.supervisor.finish(deadline, &mut self.report)
    }

    fn tell(&mut self, event: &Event<'_>) {
        self.report.tell(event);
    }

    fn describe(&self, attempt: &Attempt) -> String {
        self.report.describe(attempt)
    }
}
