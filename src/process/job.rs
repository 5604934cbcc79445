//! The processes of one attempt: the command, and all that it has started.
//!
//! [`Job`] passes signals on to the command, reaps it, and tells what is left of it.
//! [`sweep`](super::sweep) signals all of its processes.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::{Pid, getpgid, getpgrp, getpid, getsid};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGKILL, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH};

use super::child::Child;
use super::descendants::Process;
use super::lifecycle::Event;
use super::origin::Origins;
use super::reap::{Change, REAPED_PER_TURN, has_ended, next_change, none_left};
use super::signal::pending::DuringStart;
use super::signal::send::{send, stop_self};
use super::signal::set::SignalSet;
use super::signal::stream::{Received, Request};
use super::terminal::{Group, Terminal, is_watched_by_a_shell};
use crate::clock::now;
use crate::policy::outcome::{Alive, Survivor};
use crate::policy::signal::Signal;

/// Time between two looks at the children of older processes, while no child has ended.
const ORIGINS_PERIOD: Duration = Duration::from_millis(100);

/// The processes of one attempt.
#[derive(Debug)]
pub(super) struct Job {
    /// The pid of the command. No other process gets it before the command is reaped.
    pub(super) pid: i32,
    pub(super) group: Group,
    pub(super) origins: Origins,
    pub(super) is_reaped: bool,
    /// The processes of which the user knows that retry sent KILL to them.
    pub(super) told: BTreeSet<Process>,
    during_start: DuringStart,
    origins_updated: Duration,
}

/// The process group of a process; 0 if the process is gone.
pub(super) fn group_of(process: Process) -> i32 {
    getpgid(Some(Pid::from_raw(process.pid))).map_or(0, Pid::as_raw)
}

impl Job {
    /// A command that was started at `started`. `origins` knows the processes that lived below
    /// retry then.
    pub(super) fn new(child: &Child, group: Group, origins: Origins, started: Duration) -> Self {
        Self {
            pid: child.pid,
            group,
            origins,
            is_reaped: false,
            told: BTreeSet::new(),
            during_start: child.during_start,
            origins_updated: started,
        }
    }

    /// Reaps children. Returns the changes of the command, and whether more children may be left
    /// than one turn reaps.
    pub(super) fn reap(&mut self) -> (Vec<Event>, bool) {
        let mut events = Vec::new();
        for _ in 0..REAPED_PER_TURN {
            let Some((pid, change)) = next_change() else { return (events, false) };
            if pid == self.pid {
                events.push(self.event_of(change));
            }
        }
        (events, true)
    }

    fn event_of(&mut self, change: Change) -> Event {
        match change {
            Change::Ended(outcome) => {
                self.is_reaped = true;
                Event::CommandEnded(outcome)
            }
            Change::Stopped(signal) => Event::CommandStopped { signal, stops_job: self.stops_job(signal) },
        }
    }

    /// Whether a stop of the command by `signal` is a stop of the whole job at a terminal.
    fn stops_job(&self, signal: Signal) -> bool {
        let by_terminal = matches!(signal.number(), SIGTSTP | SIGTTIN | SIGTTOU);
        self.group == Group::Shared && (by_terminal || is_watched_by_a_shell())
    }

    /// Notes which processes the older processes have started. It walks the process table, so it
    /// does nothing if the last walk was recent and no child has ended since.
    pub(super) fn update_origins(&mut self, child_ended: bool) {
        let now = now();
        if child_ended || now >= self.origins_updated.saturating_add(ORIGINS_PERIOD) {
            self.origins_updated = now;
            self.origins.update();
        }
    }

    /// The event of a signal that has arrived, if it is one for the attempt. `is_running`: the
    /// attempt waits for the command to end.
    pub(super) fn event_of_signal(&self, received: Received, is_running: bool) -> Option<Event> {
        if received.sender == getpid().as_raw() {
            return None;
        }
        Some(match received.request {
            Request::End if is_running && self.needs(received) && has_ended(self.pid) => {
                Event::EndRequestedTooLate(received.signal)
            }
            Request::End => Event::EndRequested(received),
            Request::Notify => Event::Notified(received),
            Request::Stop => Event::StopRequested {
                received,
                command_is_stopped: !self.is_reaped && Process::is_stopped(self.pid),
            },
            Request::Continue => Event::ContinueRequested(received),
            Request::Children => return None,
        })
    }

    /// Whether retry has to pass a signal on to the command. The command has a signal already that
    /// the terminal sent to both, and does not want back a signal that it sent itself.
    fn needs(&self, received: Received) -> bool {
        let number = received.signal.number();
        let missed = self.during_start.missed.contains(number);
        // A terminal that hangs up tells only the leader of the session, as long as that lives
        // (tty_ioctl(4)). A command that has left the group of retry gets nothing from the
        // terminal.
        let told_alone = number == SIGHUP && getsid(None) == Ok(getpid());
        let shares_group = getpgid(Some(Pid::from_raw(self.pid))) == Ok(getpgrp());
        let by_terminal = self.group == Group::Shared && received.by_kernel && shares_group && !told_alone;
        let has_it = (by_terminal && !missed) || self.during_start.delivered.contains(number);
        !self.is_reaped && !has_it && received.sender != self.pid
    }

    /// Passes a signal on to the command, if it needs it.
    ///
    /// # Errors
    /// If the system refuses that. It is no error if the command is gone.
    pub(super) fn pass_on(&mut self, received: Received) -> Result<(), Errno> {
        let number = received.signal.number();
        if received.request == Request::Continue {
            // CONT takes back the stops that were pending (signal(7)).
            for stop in [SIGTSTP, SIGTTIN, SIGTTOU] {
                self.during_start.missed = self.during_start.missed.difference(SignalSet::of(stop));
            }
        }
        let needed = self.needs(received);
        let signal = SignalSet::of(number);
        self.during_start.missed = self.during_start.missed.difference(signal);
        self.during_start.delivered = self.during_start.delivered.difference(signal);
        if !needed {
            return Ok(());
        }
        let sent = match (self.group, received.request) {
            // A terminal would signal the whole job too.
            (Group::Own, Request::End | Request::Stop | Request::Continue) => match send(-self.pid, number) {
                // The command has moved to another group.
                Err(Errno::ESRCH) => send(self.pid, number),
                sent => sent,
            },
            (Group::Own, Request::Notify | Request::Children) | (Group::Shared, _) => send(self.pid, number),
        };
        match sent {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Tells the command that its pseudo-terminals have a new size. The kernel tells a new size
    /// only to the foreground group of the real terminal, and before the pseudo-terminals had it.
    pub(super) fn tell_size(&self) {
        let group = match self.group {
            Group::Own => -self.pid,
            Group::Shared => Terminal::foreground().map_or(0, |group| -group),
        };
        // A process that is gone or belongs to another user does not matter.
        let _ = send(group, SIGWINCH);
    }

    /// Stops retry, as the command is stopped, until somebody continues retry. Returns how long
    /// that took.
    pub(super) fn stop_with_command(&self, signal: Signal) -> Duration {
        let from = now();
        // Somebody may have continued the command already. Then nobody would continue retry.
        stop_self(signal, || Process::is_stopped(self.pid));
        let stopped_for = now().saturating_sub(from);
        if self.group == Group::Own {
            // retry was continued or could not stop (an orphaned group, PID 1), so the command goes
            // on.
            let _ = send(-self.pid, SIGCONT);
        }
        stopped_for
    }

    /// Whether no process of the attempt lives. retry is a child subreaper and gets every orphan,
    /// so it has a child as long as any process lives below it. If older processes live there too,
    /// a walk has to tell them apart.
    pub(super) fn nothing_is_left(&mut self) -> bool {
        if !self.is_reaped {
            return false;
        }
        if self.origins.no_older() {
            return none_left();
        }
        // A process that forks and exits without end may be missed by one walk.
        (0..2).all(|_| self.origins.nothing_lives())
    }

    /// Sends KILL once more to each process of the attempt that lives, and tells why it may live.
    /// The list is never empty.
    pub(super) fn kill_survivors(&mut self) -> Vec<Survivor> {
        let survivor = |pid, sent| match sent {
            Err(Errno::EPERM) => Survivor { pid: Some(pid), why: Alive::Foreign },
            _ => Survivor { pid: Some(pid), why: Alive::Unkillable },
        };
        let alive = self.origins.living().unwrap_or_default();
        let mut left: Vec<Survivor> = alive.iter().map(|p| survivor(p.pid, p.send(&[SIGKILL]))).collect();
        // /proc may hide the command, or all processes.
        if !self.is_reaped && alive.iter().all(|process| process.pid != self.pid) {
            left.push(survivor(self.pid, send(self.pid, SIGKILL)));
        }
        if left.is_empty()
            && self.origins.no_older()
            && self.group == Group::Own
            && send(-self.pid, SIGKILL) == Err(Errno::EPERM)
        {
            // The group outlives its leader, which is reaped: another process may have its pid by
            // now.
            left.push(Survivor { pid: None, why: Alive::Foreign });
        }
        if left.is_empty() {
            // There is a child, or /proc told of one a moment ago, and nobody can name it.
            left.push(Survivor { pid: None, why: Alive::Unseen });
        }
        left
    }
}
