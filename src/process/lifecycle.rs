//! The lifecycle of one attempt: states, events and actions.
//!
//! [`Lifecycle::on`] is the whole of it: an event in a state leads to the next state and to
//! actions. It only decides. [`supervise`](super::supervise) observes the events and carries out
//! the actions, and some actions answer with another event. A timeout is an event like any other:
//! time has passed.
//!
//! ```text
//! Running ⇄ StopAsked, StoppedAlone ──the command ends──▶ Ended ──its output is passed on──▶ Over
//!    └────────────a limit comes────────────▶ Terminating ──▶ Killing ──nothing is left──▶ Over
//! ```
//!
//! A signal that ends the run does not limit the command itself, but `--check` and `--on-retry`:
//! from Running, KILL follows the signal after `--kill-after`.
//!
//! All times are times since boot.

mod event;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub(super) use event::{Action, Event};

use super::settings::{AttemptSettings, Deadline, Role};
use super::signal::stream::Received;
use crate::policy::Limits;
use crate::policy::outcome::{Alive, Cut, Limit, Outcome, Survivor};
use crate::policy::signal::Signal;

/// retry reports the processes that are still alive this long after the first KILL.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Time between two rounds of KILL. A later round ends the processes that others forked during an
/// earlier one.
const KILL_PAUSE: Duration = Duration::from_millis(50);

/// The command stops within this time after it was asked to. A later stop has another cause.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Longest sleep while a timeout runs. SIGSTOP cannot be caught, but makes this sleep longer, and
/// so retry learns of the stop.
pub(super) const LONGEST_SLEEP: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Running,
    /// The terminal or another process asked for a stop at this time, and the command has not
    /// stopped yet.
    StopAsked {
        at: Duration,
    },
    /// The command has stopped, and retry has not stopped with it.
    StoppedAlone,
    /// The command has ended by itself, and its output may still be on its way.
    Ended(Outcome),
    /// A limit came, and retry has sent `--signal`.
    Terminating {
        limit: Limit,
        kill_at: Duration,
    },
    /// retry has sent KILL, and sends it again until nothing is left.
    Killing {
        cause: KillCause,
        again_at: Duration,
        give_up_at: Duration,
    },
    /// The attempt is over.
    Over(Outcome),
}

/// Why retry sends KILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KillCause {
    Limit(Limit),
    /// INT, TERM, HUP or QUIT came, and the command has not ended since.
    EndRequest,
}

/// The result of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) outcome: Outcome,
    /// How long the attempt ran, without the time for which retry was stopped. An attempt that met
    /// a limit ran until the limit, however late retry noticed.
    pub(super) ran: Duration,
    /// The first INT, TERM, HUP or QUIT of the attempt.
    pub(super) interrupted: Option<Signal>,
    /// An INT, TERM, HUP or QUIT that came when the command had just ended. It interrupts what
    /// follows the attempt.
    pub(super) too_late: Option<Signal>,
}

/// An attempt: its state, and what the result needs from before.
#[derive(Debug)]
pub(super) struct Lifecycle {
    settings: AttemptSettings,
    started: Duration,
    state: State,
    timeout_at: Option<Duration>,
    /// How long retry was stopped.
    stopped: Duration,
    /// The time of the limit that the attempt met.
    limit_at: Option<Duration>,
    interrupted: Option<Signal>,
    too_late: Option<Signal>,
    /// When KILL follows the signal that came.
    kill_at: Option<Duration>,
}

impl Lifecycle {
    pub(super) fn new(settings: AttemptSettings, started: Duration) -> Self {
        Self {
            settings,
            started,
            state: State::Running,
            timeout_at: settings.limits.timeout.map(|timeout| started.saturating_add(timeout)),
            stopped: Duration::ZERO,
            limit_at: None,
            interrupted: None,
            too_late: None,
            kill_at: None,
        }
    }

    /// Takes the event, and returns the actions that follow from it, in order.
    #[must_use]
    pub(super) fn on(&mut self, event: Event, now: Duration) -> Vec<Action> {
        match event {
            Event::EndRequested(received) => self.on_end_request(received, now),
            Event::EndRequestedTooLate(signal) => self.on_late_end_request(signal),
            Event::Notified(received) => self.pass_on(received),
            Event::StopRequested { received, command_is_stopped } => {
                self.on_stop_request(received, command_is_stopped, now)
            }
            Event::ContinueRequested(received) => self.on_continue_request(received),
            Event::CommandStopped { signal, stops_job } => self.on_stop(signal, stops_job, now),
            Event::CommandEnded(outcome) => self.on_end(outcome),
            Event::OutputPassed => self.on_output_passed(),
            Event::Resumed { stopped_for } => self.on_resume(stopped_for),
            Event::Tick => self.on_tick(now),
            Event::KillSent { complete } => self.on_kill_sent(complete),
            Event::NothingLeft => self.on_nothing_left(),
            Event::SomethingLeft => self.on_something_left(),
            Event::Survived(survivors) => self.on_survivors(survivors, now),
        }
    }

    fn on_end_request(&mut self, received: Received, now: Duration) -> Vec<Action> {
        match &self.state {
            State::Running | State::StopAsked { .. } | State::StoppedAlone => {
                self.interrupted.get_or_insert(received.signal);
                if self.settings.role == Role::Beside {
                    self.kill_at.get_or_insert(now.saturating_add(self.settings.limits.kill_after));
                }
                vec![Action::PassOn(received)]
            }
            State::Terminating { .. } | State::Killing { .. } => {
                self.interrupted.get_or_insert(received.signal);
                vec![Action::PassOn(received)]
            }
            // The reader of the output may never come.
            State::Ended(outcome) => {
                self.interrupted.get_or_insert(received.signal);
                self.state = State::Over(outcome.clone());
                Vec::new()
            }
            State::Over(_) => Vec::new(),
        }
    }

    fn on_late_end_request(&mut self, signal: Signal) -> Vec<Action> {
        match self.state {
            State::Running | State::StopAsked { .. } | State::StoppedAlone => {
                self.too_late.get_or_insert(signal);
            }
            // The supervisor sends this event only while it waits for the command to end.
            State::Ended(_) | State::Terminating { .. } | State::Killing { .. } | State::Over(_) => {}
        }
        Vec::new()
    }

    fn pass_on(&self, received: Received) -> Vec<Action> {
        match self.state {
            State::Running
            | State::StopAsked { .. }
            | State::StoppedAlone
            | State::Terminating { .. }
            | State::Killing { .. } => vec![Action::PassOn(received)],
            State::Ended(_) | State::Over(_) => Vec::new(),
        }
    }

    fn on_stop_request(
        &mut self,
        received: Received,
        command_is_stopped: bool,
        now: Duration,
    ) -> Vec<Action> {
        match self.state {
            // The command cannot stop once more, so no stop of it will be reported.
            State::StoppedAlone if command_is_stopped => {
                vec![Action::PassOn(received), Action::StopWithCommand(received.signal)]
            }
            State::Running | State::StopAsked { .. } | State::StoppedAlone => {
                self.state = State::StopAsked { at: now };
                vec![Action::PassOn(received)]
            }
            State::Terminating { .. } | State::Killing { .. } => vec![Action::PassOn(received)],
            State::Ended(_) | State::Over(_) => Vec::new(),
        }
    }

    fn on_continue_request(&mut self, received: Received) -> Vec<Action> {
        match self.state {
            State::Running | State::StopAsked { .. } | State::StoppedAlone => {
                self.state = State::Running;
                vec![Action::PassOn(received)]
            }
            State::Terminating { .. } | State::Killing { .. } => vec![Action::PassOn(received)],
            State::Ended(_) | State::Over(_) => Vec::new(),
        }
    }

    /// A shell sees only retry, so retry stops with the command: then the shell takes the terminal
    /// back when the command is ready for that. If no shell controls retry, nobody would continue
    /// it. Then the command stays stopped alone, and its limits hold.
    fn on_stop(&mut self, signal: Signal, stops_job: bool, now: Duration) -> Vec<Action> {
        let asked = match self.state {
            State::StopAsked { at } => now < at.saturating_add(STOP_PATIENCE),
            State::Running | State::StoppedAlone => false,
            State::Ended(_) | State::Terminating { .. } | State::Killing { .. } | State::Over(_) => {
                return Vec::new();
            }
        };
        if asked || stops_job {
            self.state = State::Running;
            vec![Action::StopWithCommand(signal)]
        } else {
            self.state = State::StoppedAlone;
            Vec::new()
        }
    }

    fn on_end(&mut self, outcome: Outcome) -> Vec<Action> {
        match self.state {
            State::Running | State::StopAsked { .. } | State::StoppedAlone => {
                // After an interruption the output is not waited for: its reader may never come.
                let interrupted = self.interrupted.is_some() || self.too_late.is_some();
                self.state = if interrupted { State::Over(outcome) } else { State::Ended(outcome) };
            }
            // Processes that the command has started may be left.
            State::Terminating { .. } | State::Killing { .. } => {}
            // The command ends once.
            State::Ended(_) | State::Over(_) => {}
        }
        Vec::new()
    }

    fn on_output_passed(&mut self) -> Vec<Action> {
        match &self.state {
            State::Ended(outcome) => self.state = State::Over(outcome.clone()),
            State::Running
            | State::StopAsked { .. }
            | State::StoppedAlone
            | State::Terminating { .. }
            | State::Killing { .. }
            | State::Over(_) => {}
        }
        Vec::new()
    }

    /// A timeout comes later by the time of the stop, in any state. A deadline does not.
    fn on_resume(&mut self, stopped_for: Duration) -> Vec<Action> {
        self.stopped = self.stopped.saturating_add(stopped_for);
        self.timeout_at = self.timeout_at.map(|at| at.saturating_add(stopped_for));
        Vec::new()
    }

    fn on_tick(&mut self, now: Duration) -> Vec<Action> {
        match &self.state {
            State::Running | State::StopAsked { .. } | State::StoppedAlone => match self.meet_limit(now) {
                Some(limit) => self.terminate(limit, now),
                None if self.kill_at.is_some_and(|at| at <= now) => self.kill(KillCause::EndRequest, now),
                None => Vec::new(),
            },
            // The command has ended in time. Only the reader of its output is late.
            State::Ended(outcome) => {
                let over = State::Over(outcome.clone());
                if self.meet_limit(now).is_some() {
                    self.state = over;
                }
                Vec::new()
            }
            State::Terminating { limit, kill_at } if now >= *kill_at => {
                self.kill(KillCause::Limit(*limit), now)
            }
            State::Killing { cause, again_at, give_up_at } if now >= *again_at && now < *give_up_at => {
                self.state = State::Killing { cause: *cause, again_at: now, give_up_at: *give_up_at };
                vec![Action::Kill]
            }
            State::Terminating { .. } | State::Killing { .. } => vec![Action::LookForProcesses],
            State::Over(_) => {
                let _ = self.meet_limit(now);
                Vec::new()
            }
        }
    }

    /// The limit that the attempt has met by now.
    fn meet_limit(&mut self, now: Duration) -> Option<Limit> {
        let timeout = self.timeout_at.zip(self.settings.limits.timeout.map(Limit::Timeout));
        let deadline = self.settings.deadline.map(|Deadline { at, length }| (at, Limit::Deadline(length)));
        let (at, limit) = [timeout, deadline].into_iter().flatten().find(|(at, _)| *at <= now)?;
        self.limit_at.get_or_insert(at);
        Some(limit)
    }

    fn terminate(&mut self, limit: Limit, now: Duration) -> Vec<Action> {
        let Limits { signal, kill_after, .. } = self.settings.limits;
        if kill_after.is_zero() || signal == Signal::KILL {
            return self.kill(KillCause::Limit(limit), now);
        }
        let kill_at = now.saturating_add(kill_after);
        self.state =
            State::Terminating { limit, kill_at: self.kill_at.map_or(kill_at, |at| at.min(kill_at)) };
        vec![Action::Terminate(signal), Action::LookForProcesses]
    }

    fn kill(&mut self, cause: KillCause, now: Duration) -> Vec<Action> {
        let give_up_at = now.saturating_add(KILL_PATIENCE);
        self.state = State::Killing { cause, again_at: now, give_up_at };
        vec![Action::Kill]
    }

    fn on_kill_sent(&mut self, complete: bool) -> Vec<Action> {
        match &mut self.state {
            State::Killing { again_at, give_up_at, .. } => {
                // A round that something new has cut short goes on at once.
                let pause = if complete { KILL_PAUSE } else { Duration::ZERO };
                *again_at = again_at.saturating_add(pause).min(*give_up_at);
                vec![Action::LookForProcesses]
            }
            State::Running
            | State::StopAsked { .. }
            | State::StoppedAlone
            | State::Ended(_)
            | State::Terminating { .. }
            | State::Over(_) => Vec::new(),
        }
    }

    fn on_nothing_left(&mut self) -> Vec<Action> {
        match self.state {
            State::Terminating { limit, .. } => {
                self.cut(limit, self.settings.limits.signal, Vec::new());
            }
            State::Killing { cause, .. } => self.killed(cause, Vec::new()),
            State::Running
            | State::StopAsked { .. }
            | State::StoppedAlone
            | State::Ended(_)
            | State::Over(_) => {}
        }
        Vec::new()
    }

    fn on_something_left(&self) -> Vec<Action> {
        match self.state {
            State::Killing { .. } => vec![Action::KillSurvivors],
            State::Running
            | State::StopAsked { .. }
            | State::StoppedAlone
            | State::Ended(_)
            | State::Terminating { .. }
            | State::Over(_) => Vec::new(),
        }
    }

    fn on_survivors(&mut self, survivors: Vec<Survivor>, now: Duration) -> Vec<Action> {
        match self.state {
            State::Killing { cause, give_up_at, .. } => {
                let foreign = |survivor: &Survivor| survivor.why == Alive::Foreign;
                let is_hopeless = !survivors.is_empty() && survivors.iter().all(foreign);
                if is_hopeless || now >= give_up_at {
                    self.killed(cause, survivors);
                }
            }
            State::Running
            | State::StopAsked { .. }
            | State::StoppedAlone
            | State::Ended(_)
            | State::Terminating { .. }
            | State::Over(_) => {}
        }
        Vec::new()
    }

    /// Nothing of the attempt is left, or nothing that KILL ends.
    fn killed(&mut self, cause: KillCause, left: Vec<Survivor>) {
        match cause {
            KillCause::Limit(limit) => self.cut(limit, Signal::KILL, left),
            KillCause::EndRequest => self.state = State::Over(Outcome::Signaled(Signal::KILL)),
        }
    }

    fn cut(&mut self, limit: Limit, ended_by: Signal, left: Vec<Survivor>) {
        self.state = State::Over(Outcome::TimedOut(Cut { limit, ended_by, left }));
    }

    /// The time of the next [`Event::Tick`] if nothing happens before.
    pub(super) fn wake_at(&self, now: Duration) -> Option<Duration> {
        match self.state {
            State::Running | State::StopAsked { .. } | State::StoppedAlone | State::Ended(_) => {
                let longest = self.settings.counts_stops().then(|| now.saturating_add(LONGEST_SLEEP));
                let deadline = self.settings.deadline.map(|deadline| deadline.at);
                [longest, self.timeout_at, deadline, self.kill_at].into_iter().flatten().min()
            }
            State::Terminating { kill_at, .. } => Some(kill_at),
            State::Killing { again_at, .. } => Some(again_at),
            State::Over(_) => Some(now),
        }
    }

    /// Whether the command runs and no limit has come.
    pub(super) fn is_running(&self) -> bool {
        match self.state {
            State::Running | State::StopAsked { .. } | State::StoppedAlone => true,
            State::Ended(_) | State::Terminating { .. } | State::Killing { .. } | State::Over(_) => false,
        }
    }

    /// How long retry was stopped.
    pub(super) fn stopped(&self) -> Duration {
        self.stopped
    }

    /// Whether the attempt is over as soon as the output of the command is passed on.
    pub(super) fn waits_for_output(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    /// The result, if the attempt is over. `now` is the time of its end.
    pub(super) fn ending(&self, now: Duration) -> Option<Ending> {
        let State::Over(outcome) = &self.state else { return None };
        let ran = self.limit_at.unwrap_or(now).saturating_sub(self.started);
        let mut ending = Ending {
            outcome: outcome.clone(),
            ran: ran.saturating_sub(self.stopped),
            interrupted: self.interrupted,
            too_late: self.too_late,
        };
        if let Some(signal) = ending.too_late
            && ending.outcome == Outcome::Signaled(signal)
        {
            // The signal came to both while the command was starting, and it ended the command.
            ending.interrupted.get_or_insert(signal);
            ending.too_late = None;
        }
        Some(ending)
    }
}
