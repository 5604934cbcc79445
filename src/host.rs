//! The real world behind the loop: the processes, the shared state and the terminal of this
//! machine.

mod key;
mod once;
mod random;
mod renewing;

use std::borrow::Cow;
use std::ffi::CString;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use key::RunKey;
use random::Sources;
use renewing::Renewing;

use crate::cli::resolve::Invocation;
use crate::cli::values::KeySource;
use crate::clock;
use crate::error::Error;
use crate::exit::{Exit, FAILED};
use crate::policy::admission::above::{CLAIMS, ClaimsAbove};
use crate::policy::admission::breaker::{Observation, Refusal};
use crate::policy::admission::record::{Intent, Settlement};
use crate::policy::delay::source::Source;
use crate::policy::environment;
use crate::policy::expand::{Tokens, expanded};
use crate::policy::finish::Finish;
use crate::policy::once::Seen;
use crate::policy::outcome::{Attempt, By, NotStarted, Outcome};
use crate::policy::outer;
use crate::policy::signal::Signal;
use crate::policy::verdict::rule::Judged;
use crate::process::descendants::{Process, ancestors};
use crate::process::resolver::resolve;
use crate::process::settings::{AttemptSettings, Deadline, Role};
use crate::process::signal::disposition::InheritedMask;
use crate::process::signal::pending::end_is_pending;
use crate::process::supervisor::{StreamSettings, Supervisor};
use crate::report::Report;
use crate::report::event::Event;
use crate::report::subject::{Names, Subject};
use crate::run::{self, Checked, Host, Output, Randomness};
use crate::state::once::{AnswerFile, Found};
use crate::state::participant::Participant;
use crate::state::surroundings::Surroundings;
use crate::streams::alarm::interrupted;
use crate::streams::descriptor::lift;
use crate::streams::headers::HeadersFile;
use crate::streams::hold::HeldBack;
use crate::streams::plan::{Held, cannot_hold};

/// Runs the command of an invocation until the end of the run.
pub(crate) fn run(invocation: &Invocation, mask: InheritedMask) -> Exit {
    // A descriptor that the report names is looked for before retry opens any of its own.
    let mut report = report(invocation);
    let exit = match attempts(invocation, mask, &mut report) {
        Ok(finish) => {
            if let Some(hint) = invocation.not_found_hint.as_deref().filter(|_| is_not_found(&finish)) {
                report.tell(&Event::Hint(hint));
            }
            Exit::of(&finish)
        }
        Err(error) => {
            report.tell(&Event::Failure(&error));
            Exit::Status(FAILED)
        }
    };
    report.finish(clock::now);
    exit
}

/// # Errors
/// If retry itself fails.
fn attempts(invocation: &Invocation, mask: InheritedMask, report: &mut Report) -> Result<Finish, Error> {
    let policy = &invocation.policy;
    let key = RunKey::new(&invocation.key);
    let answer = invocation.once.as_deref().map(once::answer).transpose()?;
    // If there is an answer, the run needs no key.
    if answer.is_none() {
        key.check()?;
    }
    if let Some(stream) = invocation.hold.and_then(cannot_hold) {
        return Err(Error::usage(
            format!("{} is a socket with message boundaries, and --hold would lose them", stream.name()),
            "leave --hold out, or pass the output through a pipe",
        ));
    }
    let streams = StreamSettings {
        wanted: Arc::new(policy.rules.wanted(invocation.reach)),
        headers: invocation.headers.as_deref().map(HeadersFile::new).transpose()?,
        stdin: invocation.stdin,
        hold: invocation.hold,
    };
    let supervisor = Supervisor::new(streams, mask)?;
    let random = Sources::new(invocation.seed);
    let above = ClaimsAbove::read(&invocation.environment);
    let shared = shared(invocation, &above);
    let mut host =
        System { supervisor, invocation, report, shared, above, random, key, answer, held_back: None };
    let finish = run::run(policy, &mut host);
    host.leave(&finish);
    finish
}

/// A report that has told about the start of the run.
fn report(invocation: &Invocation) -> Report {
    let subject = Subject {
        label: invocation.label.clone(),
        typed: invocation.typed.clone(),
        max_attempts: invocation.policy.schedule.max_attempts,
        successes: invocation.policy.schedule.successes.get(),
        outer: invocation.policy.outer,
        rules: invocation.policy.rules.clone(),
        shared: Names {
            breaker: invocation.sharing.breaker.clone(),
            budget: invocation.sharing.budget.clone(),
        },
        once: invocation.once.clone(),
        written: invocation.written.clone(),
        policy_file: invocation.policy_file.clone(),
        doubt: invocation.two_in_one.clone(),
    };
    let mut report = Report::new(subject, invocation.volume, invocation.forms.clone());
    report.tell(&Event::Started);
    if let Some(why) = invocation.http_unheard {
        report.tell(&Event::HttpUnseen { why });
    }
    report
}

fn shared(invocation: &Invocation, above: &ClaimsAbove) -> Option<Participant> {
    let Invocation { sharing, policy, .. } = invocation;
    Participant::new(
        sharing.breaker.as_ref().zip(policy.admission.breaker),
        policy.admission.wait,
        sharing.budget.as_ref().zip(policy.admission.budget),
        above,
        SURROUNDINGS,
    )
}

/// Whether the run ended because the command was not found.
fn is_not_found(finish: &Finish) -> bool {
    matches!(
        finish,
        Finish::NotRetried { outcome: Outcome::NotStarted(NotStarted::NotFound), .. }
            | Finish::GaveUp { outcome: Outcome::NotStarted(NotStarted::NotFound), .. }
    )
}

#[derive(Debug)]
struct System<'a> {
    supervisor: Supervisor,
    invocation: &'a Invocation,
    report: &'a mut Report,
    /// The state that is shared with other runs. None if nothing is shared.
    shared: Option<Participant>,
    /// The claims of the retries around this run.
    above: ClaimsAbove,
    random: Sources,
    key: RunKey<'a>,
    /// The answer of `--once`.
    answer: Option<AnswerFile>,
    /// With `--hold=both`: the output of the last attempt, and its number.
    held_back: Option<(u32, HeldBack)>,
}

/// The minimum time for the report of an attempt to other runs, even after the deadline. When a
/// deadline cuts many runs at once on a busy machine, the lock takes this long to go from hand to
/// hand.
const REPORT: Duration = Duration::from_secs(5);

/// The processes and signals around shared state.
pub(crate) const SURROUNDINGS: Surroundings = Surroundings {
    end_is_pending,
    is_stopped: Process::is_stopped,
    ancestors: || ancestors().collect(),
    interrupted: |after, call| interrupted(after, call),
    lift,
    resolve,
};

impl System<'_> {
    /// Tells about damaged or unusable shared state.
    fn warn(&mut self) {
        for warning in self.shared.as_mut().map(Participant::take_warnings).unwrap_or_default() {
            self.report.tell(&Event::SharedState(&warning));
        }
    }

    fn key(&mut self) -> Result<String, Error> {
        let (key, age) = self.key.get()?;
        if let (Some(age), KeySource::File(path)) = (age, &self.invocation.key) {
            self.report.tell(&Event::KeyReused { path, age });
        }
        Ok(key)
    }

    /// Puts the terminal back, removes the key file after a success, and lets another run make the
    /// answer if this one has not made it.
    fn leave(mut self, finish: &Result<Finish, Error>) {
        self.supervisor.leave();
        if matches!(finish, Ok(Finish::Succeeded { .. })) {
            self.forget_key();
        }
        if let Some(answer) = &mut self.answer {
            answer.release();
        }
    }

    fn forget_key(&mut self) {
        if let Err(why) = self.key.forget() {
            self.report.tell(&Event::KeyLeft { why: &why });
        }
    }

    fn settings(&self, role: Role, number: u32, deadline: Option<Duration>) -> AttemptSettings {
        let policy = &self.invocation.policy;
        let deadline = deadline.zip(policy.schedule.deadline);
        AttemptSettings {
            role,
            limits: policy.limits,
            deadline: deadline.map(|(at, length)| Deadline { at, length }),
            measures_run_time: policy.schedule.healthy_after.is_some(),
            is_last: policy.schedule.is_last(number),
        }
    }

    /// The environment of retry, with the variables of this attempt.
    fn environment(
        &self,
        number: u32,
        last: Option<&Judged>,
        key: &str,
        deadline: Option<Duration>,
    ) -> Vec<CString> {
        let policy = &self.invocation.policy;
        let or_empty = |number: Option<String>| Some(number.unwrap_or_default());
        let own = [
            (environment::IDEMPOTENCY_KEY, Some(key.to_owned())),
            (outer::ATTEMPT, Some(number.to_string())),
            (outer::MAX_ATTEMPTS, or_empty(policy.schedule.max_attempts.map(|max| max.to_string()))),
            (
                outer::ATTEMPTS_ABOVE,
                policy.outer.and_then(|outer| or_empty(outer.product.map(|product| product.to_string()))),
            ),
            (CLAIMS, self.above.handed_down(self.shared.as_ref().and_then(Participant::handed_down))),
            (outer::DEADLINE, self.handed_down(deadline).map(|unix_ms| unix_ms.to_string())),
            ("RETRY_LAST_STATUS", or_empty(last.map(|last| last.attempt.outcome.status().to_string()))),
            ("RETRY_LAST_REASON", or_empty(last.map(|last| self.report.reason(last)))),
        ];
        let own = own.map(|(name, value)| (name, value.map(String::into_bytes)));
        environment::with(&self.invocation.environment, &own)
    }

    /// The end of an attempt that begins now, for the retries in it: its timeout, the end of the run,
    /// or what was handed down to this run, whichever comes first. In milliseconds since 1970.
    fn handed_down(&self, deadline: Option<Duration>) -> Option<u64> {
        let policy = &self.invocation.policy;
        let now = clock::now();
        let timeout = policy.limits.timeout.map(|timeout| now.saturating_add(timeout));
        let own = timeout.into_iter().chain(deadline).min();
        match policy.handed_down.filter(|outer| outer.at > now) {
            Some(outer) if own.is_none_or(|own| outer.at <= own) => Some(outer.unix_ms),
            Some(_) | None => own.map(|own| {
                let unix = clock::since_1970().saturating_add(own.saturating_sub(now));
                u64::try_from(unix.as_millis()).unwrap_or(u64::MAX)
            }),
        }
    }
}

impl Host for System<'_> {
    type Random = Source;

    fn now(&self) -> Duration {
        clock::now()
    }

    fn random(&mut self, purpose: Randomness) -> &mut Self::Random {
        self.random.source(purpose)
    }

    fn look(&mut self) -> Result<Seen, Error> {
        let Some(answer) = &mut self.answer else { return Ok(Seen::NotAsked) };
        match answer.look().map_err(once::unusable)? {
            Found::Answer(answer) => {
                self.supervisor.release_file(answer.file, answer.length);
                Ok(Seen::Answer { age: answer.age })
            }
            Found::Free => self.key.check().map(|()| Seen::Free),
            Found::Busy { by } => Ok(Seen::Busy { by }),
        }
    }

    fn keep(&mut self) -> Result<(), Error> {
        let Some(answer) = &mut self.answer else { return Ok(()) };
        let supervisor = &self.supervisor;
        let kept = answer.keep(|file| supervisor.copy_stdout(|part| file.write_all(part)));
        kept.map_err(once::unusable)?;
        self.report.tell(&Event::Kept);
        // Whatever happens to the output now, the next run is another request.
        self.forget_key();
        Ok(())
    }

    fn check(
        &mut self,
        number: u32,
        last: Option<&Judged>,
        deadline: Option<Duration>,
    ) -> Result<Checked, Error> {
        let Some(check) = &self.invocation.check else { return Ok(Checked::NotAsked) };
        let key = self.key()?;
        let environment = self.environment(number, last, &key, deadline);
        let settings = self.settings(Role::Beside, number, deadline);
        let mut lease = Renewing::of(self.shared.as_ref());
        let beside = lease.as_mut().map(Renewing::polled);
        let attempt = self.supervisor.run_beside(check, &environment, settings, beside, self.report)?;
        let attempt = Attempt { by: By::Check, ..attempt };
        if attempt.outcome == Outcome::Exited(1) && attempt.interrupted.is_none() {
            return Ok(Checked::NotDone);
        }
        self.held_back = None;
        Ok(Checked::Instead(Box::new(attempt)))
    }

    fn attempt(
        &mut self,
        number: u32,
        last: Option<&Judged>,
        deadline: Option<Duration>,
    ) -> Result<Attempt, Error> {
        let policy = &self.invocation.policy;
        let settings = self.settings(Role::Command, number, deadline);
        let key = self.key()?;
        let environment = self.environment(number, last, &key, deadline);
        let mut command = Cow::Borrowed(&self.invocation.command);
        if self.invocation.expand {
            let max = policy.schedule.max_attempts;
            let tokens = Tokens { key: &key, attempt: number, max };
            command = Cow::Owned(command.with_arguments(|argument| expanded(argument, tokens)));
        }
        let mut lease = Renewing::of(self.shared.as_ref());
        let beside = lease.as_mut().map(Renewing::polled);
        let attempt = self.supervisor.attempt(&command, &environment, settings, beside, self.report)?;
        self.held_back = None;
        Ok(attempt)
    }

    fn prepare_retry(
        &mut self,
        number: u32,
        last: Option<&Judged>,
        deadline: Option<Duration>,
    ) -> Result<Option<Signal>, Error> {
        let Some(hook) = &self.invocation.on_retry else { return Ok(None) };
        let key = self.key()?;
        let environment = self.environment(number, last, &key, deadline);
        let settings = self.settings(Role::Beside, number, deadline);
        match self.supervisor.run_beside(hook, &environment, settings, None, self.report) {
            Ok(attempt) if attempt.interrupted.is_some() => Ok(attempt.interrupted),
            Ok(attempt) => {
                if attempt.outcome.is_failure() {
                    self.report.tell(&Event::HookFailed { outcome: &attempt.outcome });
                }
                Ok(None)
            }
            Err(error @ Error::Unprepared { .. }) => {
                self.report.tell(&Event::HookNotRun { error: &error });
                Ok(None)
            }
            Err(error) => Err(error),
        }
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
        self.supervisor.pause(until, self.report)
    }

    fn settle_output(&mut self, number: u32, fate: Output) -> Result<(), Error> {
        if fate == Output::Passed {
            return self.supervisor.release();
        }
        self.held_back = self.supervisor.reject().map(|output| (number, output));
        // Of both streams, only the output of the last attempt is shown.
        match (self.invocation.hold, fate) {
            (Some(Held::Stdout), Output::HeldBack) => self.show_output(number),
            (Some(Held::Stdout), Output::Dropped) => self.held_back = None,
            (Some(Held::Both | Held::Apart) | None, _) | (_, Output::Passed) => {}
        }
        Ok(())
    }

    fn show_output(&mut self, next: u32) {
        // A check may have written something although no attempt followed.
        let last = self.held_back.take();
        for (number, output) in last.into_iter().chain(self.supervisor.reject().map(|output| (next, output)))
        {
            self.report.tell(&Event::HeldBack { number, output: &output });
        }
    }

    fn pass_output(&mut self, deadline: Option<Duration>) -> Result<Option<Signal>, Error> {
        self.supervisor.finish(deadline, self.report)
    }

    fn tell(&mut self, event: &Event<'_>) {
        self.report.tell(event);
    }

    fn describe(&self, attempt: &Attempt) -> String {
        self.report.describe(attempt)
    }
}
