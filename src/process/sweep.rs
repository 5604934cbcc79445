//! A sweep: one signal to all processes of an attempt, once to each.
//!
//! Processes may fork while a sweep runs. So it walks the processes again and again until the last
//! walks have found nothing new, or until its time is over.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::getpid;

use super::descendants::{Found, Process};
use super::job::{Job, group_of};
use super::lifecycle::Event;
use super::signal::send::send;
use super::terminal::Group;
use crate::clock::now;
use crate::policy::signal::Signal;

/// Time limit of a sweep. A program that forks without end must not keep retry from its signals and
/// its clock.
const SWEEP: Duration = Duration::from_millis(100);

/// Time limit of the first walk of the first sweep, which should find everything: enough for a tree
/// of ten thousand processes.
const FIRST_WALK: Duration = Duration::from_millis(500);

/// A sweep is complete when this many walks in a row have found nothing new. One is not enough: a
/// walk may miss a process whose parent dies during the walk and which moves to another parent.
const QUIET_WALKS: usize = 2;

/// The result of a sweep.
#[derive(Debug)]
pub(super) struct Swept {
    /// The last walks have found nothing new.
    pub(super) complete: bool,
    /// The processes that got the signal and were not reported before.
    pub(super) pids: Vec<i32>,
    /// Changes of the command that were seen during the sweep.
    pub(super) events: Vec<Event>,
}

/// Sends `signals`, in order, to all processes of the job. The first one is the signal of the
/// sweep.
pub(super) fn sweep(job: &mut Job, signal: Signal, signals: &[i32]) -> Swept {
    let until = now().saturating_add(SWEEP);
    // The first sweep of KILL takes its time. A sweep of another signal is the only one.
    let is_first = job.told.is_empty();
    let mut limit = if is_first { now().saturating_add(FIRST_WALK) } else { until };
    let mut sweep = Sweep::new(signal, signals);
    let mut events = Vec::new();
    job.origins.update();
    sweep.signal_group(job);
    let mut quiet = 0;
    while quiet < QUIET_WALKS {
        sweep.walk(job, limit);
        quiet = if sweep.found_new { 0 } else { quiet + 1 };
        if now() >= until {
            break;
        }
        limit = until;
        sweep.is_first_walk = false;
        // The dead lengthen the lists that the next walk reads.
        events.extend(job.reap().0);
    }
    if sweep.group.is_none() && !job.is_reaped && !sweep.signalled.contains(&job.pid) {
        // /proc hides the command.
        for number in signals {
            let _ = send(job.pid, *number);
        }
    }
    Swept { complete: quiet >= QUIET_WALKS, pids: sweep.reported, events }
}

#[derive(Debug)]
struct Sweep<'a> {
    signal: Signal,
    signals: &'a [i32],
    /// The process group that got the signal as a whole.
    group: Option<i32>,
    /// The members of that group before it got the signal, as far as they were seen.
    members: BTreeSet<i32>,
    /// The processes that the walks have found.
    found: BTreeSet<i32>,
    /// The processes that got the signal.
    signalled: BTreeSet<i32>,
    /// The processes that had got the signal before the present walk.
    signalled_before: BTreeSet<i32>,
    reported: Vec<i32>,
    /// The present walk has found a new process.
    found_new: bool,
    is_first_walk: bool,
}

impl<'a> Sweep<'a> {
    fn new(signal: Signal, signals: &'a [i32]) -> Self {
        Self {
            signal,
            signals,
            group: None,
            members: BTreeSet::new(),
            found: BTreeSet::new(),
            signalled: BTreeSet::new(),
            signalled_before: BTreeSet::new(),
            reported: Vec::new(),
            found_new: false,
            is_first_walk: true,
        }
    }

    fn kills(&self) -> bool {
        self.signal == Signal::KILL
    }

    /// Signals the group of the command, if it has one of its own. That reaches all members at
    /// once: no fork escapes, because kill(2) and fork(2) exclude each other in the kernel.
    fn signal_group(&mut self, job: &mut Job) {
        if job.group == Group::Shared {
            return;
        }
        // A process may get KILL twice. So a sweep that kills asks for the members only if the group may
        // be another one.
        let members = (job.is_reaped || !self.kills()).then(|| members(job)).flatten();
        // Once the command is reaped, another process may lead a group with this number, unless a
        // member of the old group lives.
        let is_ours = !job.is_reaped || members.as_ref().is_none_or(|members| !members.is_empty());
        self.members = members.filter(|_| !self.kills()).unwrap_or_default();
        for number in self.signals.iter().filter(|_| is_ours) {
            if send(-job.pid, *number).is_ok() {
                self.group = Some(job.pid);
            }
        }
    }

    /// Signals the processes that have not got the signal yet, until `limit`.
    fn walk(&mut self, job: &mut Job, limit: Duration) {
        self.found_new = false;
        self.signalled_before.clone_from(&self.signalled);
        let (kills, told) = (self.kills(), &mut job.told);
        if !job.origins.walk(kills, || now() >= limit, |found| self.visit(found, told)) {
            // The kernel has no lists of children.
            for process in job.origins.living().unwrap_or_default() {
                let in_group = self.group == Some(group_of(process));
                self.deliver(process, false, in_group, told, |signals| process.send(signals));
            }
        }
    }

    /// Signals a process that the walk has found. Returns whether the walk goes on to its children.
    fn visit(&mut self, found: &Found, told: &mut BTreeSet<Process>) -> bool {
        let Found { process, parent, group, dead, .. } = *found;
        let is_new = !self.found.contains(&process.pid);
        if !self.kills() && is_new && self.signalled_before.contains(&parent) {
            // The parent's handler of the signal has started this process: an earlier walk read the
            // parent's list of children when the parent had got the signal.
            return false;
        }
        // An orphan of the group may have been forked by a process that had the signal blocked,
        // after the group was signalled. A member that has become an orphan since has the signal: its
        // parent has handled it and has ended, and the first walk may have missed it.
        let is_late_orphan =
            !self.is_first_walk && parent == getpid().as_raw() && !self.members.contains(&process.pid);
        let in_group = self.group == Some(group) && !is_late_orphan;
        self.deliver(process, dead, in_group, told, |signals| found.send(signals));
        true
    }

    /// Sends the signal to a process, unless the process got it before. `in_group`: the process got
    /// it with its group. A process may get KILL twice, but a handler must run once.
    fn deliver(
        &mut self,
        process: Process,
        dead: bool,
        in_group: bool,
        told: &mut BTreeSet<Process>,
        send_to_process: impl FnOnce(&[i32]) -> Result<(), Errno>,
    ) {
        self.found_new |= self.found.insert(process.pid);
        if (dead && !in_group) || !self.signalled.insert(process.pid) {
            return;
        }
        let is_reported = self.kills() && !told.insert(process);
        let has_it = dead || (in_group && !self.kills());
        let sent = if has_it { send(process.pid, 0) } else { send_to_process(self.signals) };
        if sent.is_ok() && !is_reported {
            self.reported.push(process.pid);
        }
    }
}

/// The living members of the command's group. None if /proc does not tell.
fn members(job: &mut Job) -> Option<BTreeSet<i32>> {
    let living = job.origins.living()?;
    let members = living.into_iter().filter(|process| group_of(*process) == job.pid);
    Some(members.map(|process| process.pid).collect())
}
