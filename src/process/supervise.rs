//! Supervises one command: observes the events of its [`Lifecycle`], and carries the actions out.

use std::collections::VecDeque;
use std::ffi::CString;
use std::time::Duration;

use signal_hook::consts::{SIGCONT, SIGKILL};

use super::child::{Command, Start};
use super::job::Job;
use super::lifecycle::{Action, Ending, Event, LONGEST_SLEEP, Lifecycle};
use super::notice::{Notice, Observer};
use super::origin::Origins;
use super::pump::Pump;
use super::reap::reap_all;
use super::settings::AttemptSettings;
use super::signal::stream::{Received, Request};
use super::stops::StopDetector;
use super::sweep::{Swept, sweep};
use super::terminal::{Group, Terminal};
use crate::clock::now;
use crate::error::Error;
use crate::policy::outcome::NotStarted;
use crate::policy::signal::Signal;
use crate::streams::matcher::Matcher;
use crate::streams::polled::{Polled, lent};
use crate::streams::redirection::Redirection;

/// Longest wait for the matcher until retry looks at signals and the clock again.
const MATCHER_PATIENCE: Duration = Duration::from_millis(10);

/// A command that is to run.
pub(super) struct Task<'a> {
    pub(super) command: &'a Command,
    pub(super) environment: &'a [CString],
    pub(super) group: Group,
    pub(super) settings: AttemptSettings,
    pub(super) redirections: Vec<Redirection>,
    /// What else has to be done while the command runs.
    pub(super) beside: Option<&'a mut dyn Polled>,
}

/// Starts the command, and stays with it until the attempt is over.
///
/// # Errors
/// If the system refuses a descriptor or poll(2) fails. A command that does not start is no error.
pub(super) fn supervise(
    pump: &mut Pump,
    task: Task<'_>,
    matcher: Option<&mut Matcher>,
    observer: &mut impl Observer,
) -> Result<Result<Ending, NotStarted>, Error> {
    let Task { command, environment, group, settings, redirections, mut beside } = task;
    let mut origins =
        if settings.may_end_all() { Origins::at_start(environment) } else { Origins::default() };
    let marked = origins.marked_environment(environment);
    let terminal = if group == Group::Shared { Terminal::held() } else { None };
    let started = now();
    let stops = settings.counts_stops().then(StopDetector::new);
    let start = Start {
        signals: &pump.signals,
        group,
        death_signal: settings.limits.signal,
        redirections: &redirections,
    };
    let child = command.start(marked.as_deref().unwrap_or(environment), start);
    // From now on only the command keeps these descriptors open.
    drop(redirections);
    let child = match child {
        Ok(child) => child,
        Err(failure) => return Ok(Err(failure)),
    };
    origins.set_command(child.pid);
    let supervision = Supervision {
        pump,
        observer,
        matcher,
        beside: lent(&mut beside),
        job: Job::new(&child, group, origins, started),
        lifecycle: Lifecycle::new(settings, started),
        stops,
        looked_at: started,
        stopped_at_look: Duration::ZERO,
        more_to_reap: false,
        is_matching: false,
    };
    let ending = supervision.run()?;
    if let Some(terminal) = terminal.filter(|_| ending.outcome.is_failure()) {
        terminal.take_back();
    }
    Ok(Ok(ending))
}

/// A command under supervision.
struct Supervision<'a, O> {
    pump: &'a mut Pump,
    observer: &'a mut O,
    matcher: Option<&'a mut Matcher>,
    beside: Option<&'a mut dyn Polled>,
    job: Job,
    lifecycle: Lifecycle,
    stops: Option<StopDetector>,
    /// When the loop last looked at the clock. A stop may come at any moment, not in the wait
    /// alone.
    looked_at: Duration,
    /// How long retry had been stopped at that time.
    stopped_at_look: Duration,
    /// More children have ended than one turn reaps.
    more_to_reap: bool,
    /// The command has ended, and its output is still being matched.
    is_matching: bool,
}

impl<O: Observer> Supervision<'_, O> {
    fn run(mut self) -> Result<Ending, Error> {
        loop {
            self.turn()?;
            if let Some(ending) = self.ending() {
                return Ok(ending);
            }
        }
    }

    fn turn(&mut self) -> Result<(), Error> {
        let until = self.wake_at();
        self.pump.wait_beside(until, self.observer, &mut self.beside)?;
        self.pass();
        let received = self.read_signals(until);
        let children =
            received.iter().any(|received| received.request == Request::Children) || self.more_to_reap;
        for received in received {
            if let Some(event) = self.job.event_of_signal(received, self.lifecycle.is_running()) {
                self.take(event);
            }
        }
        if self.pump.watch.resize() {
            self.job.tell_size();
        }
        self.job.update_origins(children);
        self.more_to_reap = false;
        if children {
            let (changes, more) = self.job.reap();
            self.more_to_reap = more;
            for change in changes {
                self.take(change);
            }
        }
        self.take(Event::Tick);
        if self.job.is_reaped {
            self.pump.watch.command_ended();
        }
        Ok(())
    }

    fn wake_at(&self) -> Option<Duration> {
        if self.more_to_reap || self.is_matching {
            return Some(Duration::ZERO);
        }
        // Nobody tells retry that the terminal has a new size, if retry is in the background.
        let look_at_size =
            self.pump.watch.has_terminal().then(|| self.looked_at.saturating_add(LONGEST_SLEEP));
        self.lifecycle.wake_at(self.looked_at).into_iter().chain(look_at_size).min()
    }

    fn pass(&mut self) {
        self.pump.pass(self.matcher.as_deref_mut(), self.observer);
    }

    /// Reads the signals, and finds out whether retry was stopped since the last look at the clock.
    /// The wait was planned to end at `until`.
    fn read_signals(&mut self, until: Option<Duration>) -> Vec<Received> {
        let planned = until.map(|until| until.saturating_sub(self.looked_at));
        let last = std::mem::replace(&mut self.looked_at, now());
        let known = self.lifecycle.stopped().saturating_sub(self.stopped_at_look);
        // The clocks are read before the signals.
        let late = self.stops.as_mut().map(|stops| stops.look(planned, known));
        let received: Vec<Received> = self.pump.signals.received().collect();
        let continued = received.iter().any(|received| received.request == Request::Continue);
        if let Some((stops, late)) = self.stops.as_mut().zip(late)
            && stops.was_stopped(late, continued)
        {
            let stopped_for = self.looked_at.saturating_sub(last).saturating_sub(known);
            self.take(Event::Resumed { stopped_for });
        }
        self.stopped_at_look = self.lifecycle.stopped();
        received
    }

    /// Takes an event, and all events that its actions answer with.
    fn take(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.lifecycle.on(event, now()) {
                events.extend(self.carry_out(action));
            }
        }
    }

    /// Returns the answers to the action.
    fn carry_out(&mut self, action: Action) -> Vec<Event> {
        match action {
            Action::PassOn(received) => {
                if let Err(errno) = self.job.pass_on(received) {
                    let (signal, pid) = (received.signal, self.job.pid);
                    self.observer.notice(&Notice::NotPassedOn { signal, pid, errno });
                }
                Vec::new()
            }
            Action::StopWithCommand(signal) => {
                vec![Event::Resumed { stopped_for: self.job.stop_with_command(signal) }]
            }
            Action::Terminate(signal) => self.sweep(signal, &[signal.number(), SIGCONT]).events,
            Action::Kill => {
                let Swept { complete, mut events, .. } = self.sweep(Signal::KILL, &[SIGKILL]);
                events.push(Event::KillSent { complete });
                events
            }
            Action::LookForProcesses if self.job.nothing_is_left() => vec![Event::NothingLeft],
            Action::LookForProcesses => vec![Event::SomethingLeft],
            Action::KillSurvivors => vec![Event::Survived(self.job.kill_survivors())],
        }
    }

    fn sweep(&mut self, signal: Signal, signals: &[i32]) -> Swept {
        let mut swept = sweep(&mut self.job, signal, signals);
        let pids = std::mem::take(&mut swept.pids);
        if !pids.is_empty() {
            self.observer.notice(&Notice::SignalSent { signal, pids });
        }
        swept
    }

    /// The result, if the attempt is over. Otherwise the loop goes on.
    fn ending(&mut self) -> Option<Ending> {
        let now = now();
        let waits = self.lifecycle.waits_for_output();
        if !waits && self.lifecycle.ending(now).is_none() {
            return None;
        }
        self.pass();
        if waits && !self.pump.watch.is_drained() {
            return None;
        }
        self.is_matching =
            !self.matcher.as_deref_mut().is_none_or(|matcher| matcher.is_over_within(MATCHER_PATIENCE));
        if waits && self.is_matching {
            return None;
        }
        self.take(Event::OutputPassed);
        // The end of processes that were killed last may not have been announced yet.
        reap_all();
        self.lifecycle.ending(now)
    }
}
