//! An attempt under way, as states and events.
//!
//! The states are Running, Terminating (the limit has come and `--signal` is sent) and Killing. The events
//! are a signal to retry, a change of a child, and the time; a timeout is an event like any other.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal as Name};
use nix::unistd::{Pid, getpgid, getpgrp, getpid, getsid};
use signal_hook::consts::{SIGCONT, SIGKILL, SIGWINCH};

use super::child::{Change, Child, REAPED, has_ended, next_change, none_left};
use super::descendants::{Found, Process};
use super::origin::Before;
use super::signal::{Kind, Received, send, stop_self};
use super::terminal::{Group, Terminal, is_watched_by_a_shell};
use crate::clock::now;
use crate::policy::Limits;
use crate::policy::outcome::{Alive, Cut, Limit, Outcome, Survivor};
use crate::policy::signal::Signal;
use crate::streams::messages::Messages;

/// How long KILL may take until what still lives is reported.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Between two rounds of KILL; the rounds are for what was forked meanwhile.
const KILL_ROUND: Duration = Duration::from_millis(50);

/// How long one round may look for what was forked meanwhile: something that forks without end must not keep
/// retry from its signals and its clock.
const ROUND: Duration = Duration::from_millis(100);

/// How long the first walk of a round may take, which is to find everything: for a tree of ten thousand.
const WHOLE: Duration = Duration::from_millis(500);

/// A round is over when so many walks in a row have found nothing new. One is not enough: what moves while a
/// walk reads, because its parent has died, may be missed.
const QUIET: usize = 2;

/// How long the command may take to stop when asked; a later stop is somebody else's.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks at what older processes have started, while nothing is known to have ended.
const REMEMBER: Duration = Duration::from_millis(100);

/// Longest sleep while a timeout runs. A stop that cannot be caught (SIGSTOP) shows as a longer one.
pub(crate) const BEAT: Duration = Duration::from_secs(1);

/// What an attempt tells while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    /// The limit was reached and these processes were sent a signal.
    Signalled { signal: Signal, pids: Vec<i32> },
    /// A signal to retry could not be passed on to the command.
    NotPassedOn { signal: Signal, pid: i32, errno: Errno },
    /// The output was not matched to its end before a limit or a signal came.
    NotMatched,
}

/// Where notes go, and what else waits to be said.
pub(crate) trait Voice {
    /// Tells the user, or does not.
    fn note(&mut self, note: &Note);
    /// The lines on their way to stderr.
    fn messages(&mut self) -> &mut Messages;
}

/// The limits of one attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) limits: Limits,
    /// When the run's deadline is (time since boot), and how long it was.
    pub(crate) deadline: Option<(Duration, Duration)>,
    /// How long it runs matters even without a timeout.
    pub(crate) timed: bool,
    /// No attempt can follow.
    pub(crate) last: bool,
}

impl Bounds {
    /// Whether a stop of retry changes anything: it puts a timeout off, or a run is to have lasted.
    pub(crate) fn is_timed(&self) -> bool {
        self.limits.timeout.is_some() || self.timed
    }
}

/// What is being done about an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It runs, and may.
    Running,
    /// `--signal` is sent; KILL follows at this time.
    Terminating { limit: Limit, kill_at: Duration },
    /// KILL is sent, and again at `again_at` to what was forked meanwhile.
    Killing { limit: Limit, again_at: Duration, give_up_at: Duration },
}

/// One round of a signal.
#[derive(Debug)]
struct Round<'a> {
    signal: Signal,
    numbers: &'a [i32],
    /// The group that has got it as a whole.
    group: Option<i32>,
    /// The processes that the walks have met.
    met: BTreeSet<i32>,
    /// The processes that have got it.
    sent: BTreeSet<i32>,
    /// The processes that had got it before this walk.
    sent_before: BTreeSet<i32>,
    /// The pids to tell of.
    pids: Vec<i32>,
    /// This walk has met a process that no walk had met.
    moved: bool,
    /// This is the first walk.
    is_first: bool,
}

impl<'a> Round<'a> {
    fn new(signal: Signal, numbers: &'a [i32]) -> Self {
        let (met, sent, sent_before) = Default::default();
        Self {
            signal,
            numbers,
            group: None,
            met,
            sent,
            sent_before,
            pids: Vec::new(),
            moved: false,
            is_first: true,
        }
    }

    fn kills(&self) -> bool {
        self.signal == Signal::KILL
    }

    /// Sends the signal to a process that was found, unless it has got it. Whether its children are of this
    /// round. `killed` are the processes of which KILL was told.
    fn visit(&mut self, found: &Found, killed: &mut BTreeSet<Process>) -> bool {
        let Found { process, parent, group, dead, .. } = *found;
        if !self.kills() && !self.met.contains(&process.pid) && self.sent_before.contains(&parent) {
            // A handler has started it: the list of its parent was read when that had got the signal.
            return false;
        }
        self.moved |= self.met.insert(process.pid);
        // A process that had the signal blocked may have forked an orphan since that has not got it.
        let is_late = !self.is_first && parent == getpid().as_raw();
        let in_group = self.group == Some(group) && !is_late;
        if (!dead || in_group) && self.sent.insert(process.pid) {
            let told = self.kills() && !killed.insert(process);
            // A handler is to run once.
            let has_it = dead || (in_group && !self.kills());
            let reached = if has_it { send(process.pid, 0) } else { found.send(self.numbers) };
            if reached.is_ok() && !told {
                self.pids.push(process.pid);
            }
        }
        true
    }

    /// The same where the kernel has no lists of children.
    fn reach(&mut self, process: Process, killed: &mut BTreeSet<Process>) {
        self.moved |= self.met.insert(process.pid);
        if self.sent.insert(process.pid) {
            let told = self.kills() && !killed.insert(process);
            let has_it = self.group == Some(group_of(process)) && !self.kills();
            let reached = if has_it { send(process.pid, 0) } else { process.send(self.numbers) };
            if reached.is_ok() && !told {
                self.pids.push(process.pid);
            }
        }
    }
}

/// The process group of a process; 0 if it is gone.
fn group_of(process: Process) -> i32 {
    getpgid(Some(Pid::from_raw(process.pid))).map_or(0, Pid::as_raw)
}

/// An attempt under way.
#[derive(Debug)]
pub(crate) struct Running {
    /// The command itself. Its pid is not reused before it is reaped.
    pid: i32,
    group: Group,
    bounds: Bounds,
    before: Before,
    /// Signals that came to retry and not to the command, which was not there yet.
    early: SigSet,
    /// Signals that retry has not read yet and that the command has already.
    shared: SigSet,
    /// When `before` was last brought up to date.
    remembered: Duration,
    /// How the command itself ended.
    pub(crate) ended: Option<Outcome>,
    state: State,
    timeout_at: Option<Duration>,
    /// How long retry was stopped.
    pub(crate) stopped: Duration,
    /// When its limit came.
    pub(crate) limit_at: Option<Duration>,
    /// When the terminal, or somebody, asked for a stop that the command has not yet made.
    stop_asked: Option<Duration>,
    /// The command has stopped, and retry did not stop with it.
    stopped_alone: bool,
    /// Sent KILL already: told once.
    killed: BTreeSet<Process>,
    pub(crate) interrupted: Option<Signal>,
    /// What would have been, had the command not ended before it could be passed on.
    pub(crate) late: Option<Signal>,
    /// Its last output is not waited for: a limit has come, or a signal.
    urged: bool,
}

impl Running {
    /// A command that was started at `started` (time since boot). `before` is what lived below retry then.
    pub(crate) fn new(
        child: &Child,
        group: Group,
        bounds: Bounds,
        before: Before,
        started: Duration,
    ) -> Self {
        Self {
            pid: child.pid,
            group,
            bounds,
            before,
            early: child.early,
            shared: child.shared,
            remembered: started,
            ended: None,
            state: State::Running,
            timeout_at: bounds.limits.timeout.map(|timeout| started.saturating_add(timeout)),
            stopped: Duration::ZERO,
            limit_at: None,
            stop_asked: None,
            stopped_alone: false,
            killed: BTreeSet::new(),
            interrupted: None,
            late: None,
            urged: false,
        }
    }

    /// Reaps what has ended. Whether more may be left than one turn reaps.
    pub(crate) fn reap(&mut self) -> bool {
        (0..REAPED).all(|_| match next_change() {
            Some((pid, change)) => {
                self.on_change(pid, change);
                true
            }
            None => false,
        })
    }

    /// Whether it ended by itself: nothing that it left behind is waited for.
    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Running && self.ended.is_some()
    }

    /// Whether what it wrote must be passed on before the attempt is over. After a limit or a signal it is not
    /// waited for: the reader may never come.
    pub(crate) fn waits_for_output(&self) -> bool {
        self.is_over() && !self.urged && self.interrupted.is_none()
    }

    /// Notes what older processes have started since; not at every byte that passes, as it is a walk.
    pub(crate) fn remember(&mut self, children: bool) {
        let now = now();
        if children || now >= self.remembered.saturating_add(REMEMBER) {
            self.remembered = now;
            self.before.grow();
        }
    }

    /// When something is to be done although nothing happens.
    pub(crate) fn wake_at(&self, now: Duration) -> Option<Duration> {
        match self.state {
            State::Running => {
                let beat = match self.timeout_at {
                    Some(at) => Some(at.min(now.saturating_add(BEAT))),
                    None => self.bounds.timed.then(|| now.saturating_add(BEAT)),
                };
                let deadline = self.bounds.deadline.map(|(at, _)| at);
                beat.into_iter().chain(deadline).min()
            }
            State::Terminating { kill_at, .. } => Some(kill_at),
            State::Killing { again_at, .. } => Some(again_at),
        }
    }

    /// retry itself was stopped for so long: the timeout comes so much later.
    pub(crate) fn was_stopped(&mut self, time: Duration) {
        self.stopped = self.stopped.saturating_add(time);
        self.timeout_at = self.timeout_at.map(|at| at.saturating_add(time));
    }

    pub(crate) fn on_signal(&mut self, received: Received, voice: &mut impl Voice) {
        if received.sender == getpid().as_raw() {
            return;
        }
        match received.kind {
            Kind::End if self.passes_on(received) && self.state == State::Running && has_ended(self.pid) => {
                self.late.get_or_insert(received.signal);
                self.urged = true;
            }
            Kind::End => {
                self.interrupted.get_or_insert(received.signal);
                self.urged |= self.ended.is_some();
                self.pass_on(received, voice);
            }
            Kind::Notice => self.pass_on(received, voice),
            Kind::Stop => {
                self.stop_asked = Some(now());
                self.pass_on(received, voice);
                if self.stopped_alone && self.ended.is_none() && Process::is_stopped(self.pid) {
                    // It cannot stop once more, so no other change of it will come.
                    self.stop_with_it(received.signal);
                }
            }
            Kind::Continue => {
                self.stop_asked = None;
                // It has taken back the stops that were pending (signal(7)).
                for stop in [Name::SIGTSTP, Name::SIGTTIN, Name::SIGTTOU] {
                    self.early.remove(stop);
                }
                self.stopped_alone = false;
                self.pass_on(received, voice);
            }
            Kind::Child => {}
        }
    }

    /// Whether the command is to get what retry got: not what the terminal sent to both, and not what the
    /// command itself sent.
    fn passes_on(&self, received: Received) -> bool {
        let early = self.early.contains(received.name);
        // A hangup goes to the session's leader alone as long as that lives (tty_ioctl(4)), and nothing of
        // the terminal's goes to a command that has left the group.
        let leads = received.name == Name::SIGHUP && getsid(None) == Ok(getpid());
        let shares = getpgid(Some(Pid::from_raw(self.pid))) == Ok(getpgrp());
        let by_terminal = self.group == Group::Shared && received.by_kernel && shares && !leads && !early;
        let has_it = by_terminal || self.shared.contains(received.name);
        self.ended.is_none() && !has_it && received.sender != self.pid
    }

    fn pass_on(&mut self, received: Received, voice: &mut impl Voice) {
        let passes_on = self.passes_on(received);
        self.early.remove(received.name);
        self.shared.remove(received.name);
        if !passes_on {
            return;
        }
        let number = received.signal.number();
        let sent = match (self.group, received.kind) {
            // As a terminal would: to the whole job.
            (Group::Own, Kind::End | Kind::Stop | Kind::Continue) => match send(-self.pid, number) {
                // It has moved to another group.
                Err(Errno::ESRCH) => send(self.pid, number),
                sent => sent,
            },
            (Group::Own, Kind::Notice | Kind::Child) | (Group::Shared, _) => send(self.pid, number),
        };
        if let Err(errno) = sent
            && errno != Errno::ESRCH
        {
            voice.note(&Note::NotPassedOn { signal: received.signal, pid: self.pid, errno });
        }
    }

    /// Its pseudo-terminals have another size now. What the terminal told the group came before that.
    pub(crate) fn tell_size(&self) {
        let group = match self.group {
            Group::Own => -self.pid,
            Group::Shared => Terminal::foreground().map_or(0, |group| -group),
        };
        // That some of it is gone, or another user's, is no matter.
        let _ = send(group, SIGWINCH);
    }

    fn on_change(&mut self, pid: i32, change: Change) {
        if pid != self.pid {
            return;
        }
        match change {
            Change::Ended(outcome) => self.ended = Some(outcome),
            Change::Stopped(signal) => self.on_stop(signal),
        }
    }

    /// The command has stopped. At a terminal that stops the job, so retry stops too: the shell sees only
    /// retry, and takes the terminal back when the command is ready for that. Nobody would continue a retry
    /// that no job control looks after. Then the command stays stopped alone, and its limits hold.
    fn on_stop(&mut self, signal: Signal) {
        use signal_hook::consts::{SIGTSTP, SIGTTIN, SIGTTOU};
        let job_control = matches!(signal.number(), SIGTSTP | SIGTTIN | SIGTTOU);
        let asked = self.stop_asked.is_some_and(|at| now() < at.saturating_add(STOP_PATIENCE));
        let follows = asked || (self.group == Group::Shared && (job_control || is_watched_by_a_shell()));
        if self.state == State::Running {
            self.stopped_alone = !follows;
            if follows {
                self.stop_with_it(signal);
            }
        }
    }

    /// Stops retry, as the command is stopped, until somebody continues it.
    fn stop_with_it(&mut self, signal: Signal) {
        let from = now();
        // Continued already: then a stop of retry would last for ever.
        stop_self(signal, || Process::is_stopped(self.pid));
        self.stop_asked = None;
        self.was_stopped(now().saturating_sub(from));
        if self.group == Group::Own {
            // retry was continued, or could not stop (an orphaned group, PID 1): then neither can it.
            let _ = send(-self.pid, SIGCONT);
        }
    }

    pub(crate) fn on_time(&mut self, now: Duration, voice: &mut impl Voice) {
        match self.state {
            State::Running => {
                let timeout = self.timeout_at.zip(self.bounds.limits.timeout);
                let due = |at: Option<(Duration, Duration)>| at.filter(|(at, _)| *at <= now);
                // It ran until its limit came, however late that is noticed.
                if let Some((at, length)) = due(timeout) {
                    self.limit_at.get_or_insert(at);
                    self.terminate(Limit::Timeout(length), now, voice);
                } else if let Some((at, length)) = due(self.bounds.deadline) {
                    self.limit_at.get_or_insert(at);
                    self.terminate(Limit::Deadline(length), now, voice);
                }
            }
            State::Terminating { limit, kill_at } if now >= kill_at => {
                self.kill(limit, now, now.saturating_add(KILL_PATIENCE), voice);
            }
            State::Killing { limit, again_at, give_up_at } if now >= again_at && now < give_up_at => {
                self.kill(limit, now, give_up_at, voice);
            }
            State::Terminating { .. } | State::Killing { .. } => {}
        }
    }

    fn terminate(&mut self, limit: Limit, now: Duration, voice: &mut impl Voice) {
        if self.ended.is_some() {
            // It ended by itself and in time: only its reader is late.
            self.urged = true;
            return;
        }
        let Limits { signal, kill_after, .. } = self.bounds.limits;
        if kill_after.is_zero() || signal == Signal::KILL {
            return self.kill(limit, now, now.saturating_add(KILL_PATIENCE), voice);
        }
        self.state = State::Terminating { limit, kill_at: now.saturating_add(kill_after) };
        // CONT, for a stopped process does not act on any other signal.
        self.send_all(signal, &[signal.number(), SIGCONT], voice);
    }

    fn kill(&mut self, limit: Limit, now: Duration, give_up_at: Duration, voice: &mut impl Voice) {
        // Before the round, which reaps.
        self.state = State::Killing { limit, again_at: now, give_up_at };
        let caught = self.send_all(Signal::KILL, &[SIGKILL], voice);
        let pause = if caught { KILL_ROUND } else { Duration::ZERO };
        let again_at = now.saturating_add(pause).min(give_up_at);
        self.state = State::Killing { limit, again_at, give_up_at };
    }

    /// Sends to all that the attempt started, and to what was forked meanwhile. Whether the last walks have
    /// found nothing new.
    fn send_all(&mut self, signal: Signal, numbers: &[i32], voice: &mut impl Voice) -> bool {
        let start = now();
        let until = start.saturating_add(ROUND);
        // The first round is to find everything.
        let mut limit = if self.killed.is_empty() { start.saturating_add(WHOLE) } else { until };
        let mut round = Round::new(signal, numbers);
        self.before.grow();
        self.send_group(&mut round);
        let mut quiet = 0;
        while quiet < QUIET {
            self.send_new(&mut round, limit);
            quiet = if round.moved { 0 } else { quiet + 1 };
            if now() >= until {
                break;
            }
            limit = until;
            round.is_first = false;
            // The dead lengthen the lists that the next walk reads.
            self.reap();
        }
        if round.group.is_none() && self.ended.is_none() && !round.sent.contains(&self.pid) {
            // /proc hides it.
            for number in numbers {
                let _ = send(self.pid, *number);
            }
        }
        if !round.pids.is_empty() {
            voice.note(&Note::Signalled { signal, pids: round.pids });
        }
        quiet >= QUIET
    }

    /// Sends to those that have not got it yet.
    fn send_new(&mut self, round: &mut Round<'_>, limit: Duration) {
        round.moved = false;
        round.sent_before = round.sent.clone();
        let (strike, killed) = (round.kills(), &mut self.killed);
        if !self.before.walk(strike, || now() >= limit, |found| round.visit(found, killed)) {
            for process in self.before.attempts().unwrap_or_default() {
                round.reach(process, &mut self.killed);
            }
        }
    }

    /// Sends to the command's own group, if it has one. That reaches all of its members at once: no fork
    /// escapes it, as kill(2) and fork(2) exclude each other in the kernel.
    fn send_group(&mut self, round: &mut Round<'_>) {
        if self.group == Group::Shared {
            return;
        }
        // Once the command is reaped, only a member keeps the number of the group from being another's.
        let is_ours = self.ended.is_none()
            || self
                .before
                .attempts()
                .is_none_or(|alive| alive.iter().any(|process| group_of(*process) == self.pid));
        for number in round.numbers.iter().filter(|_| is_ours) {
            if send(-self.pid, *number).is_ok() {
                round.group = Some(self.pid);
            }
        }
    }

    /// Whether nothing of the attempt lives. As a child subreaper retry gets every orphan, so while anything
    /// lives below it, it has a child; where older processes live there too, the walk has to tell them apart.
    fn nothing_left(&mut self) -> bool {
        if self.ended.is_none() {
            return false;
        }
        if self.before.is_empty() {
            return none_left();
        }
        // Twice: what forks and exits without end may pass between the rows of one walk.
        (0..2).all(|_| self.before.nothing_lives())
    }

    /// The outcome, once there is nothing more to do for it.
    pub(crate) fn finished(&mut self, now: Duration) -> Option<Outcome> {
        let state = self.state;
        match state {
            State::Running => self.ended.clone(),
            State::Terminating { limit, .. } => self.nothing_left().then(|| self.cut(limit, Vec::new())),
            State::Killing { limit, .. } if self.nothing_left() => Some(self.cut(limit, Vec::new())),
            State::Killing { limit, give_up_at, .. } => {
                let left = self.left();
                let hopeless = !left.is_empty() && left.iter().all(|s| s.why == Alive::Foreign);
                (hopeless || now >= give_up_at).then(|| self.cut(limit, left))
            }
        }
    }

    /// What was sent KILL and is still there.
    fn left(&mut self) -> Vec<Survivor> {
        let survivor = |pid, sent| match sent {
            Err(Errno::EPERM) => Survivor { pid: Some(pid), why: Alive::Foreign },
            _ => Survivor { pid: Some(pid), why: Alive::Unkillable },
        };
        let alive = self.before.attempts().unwrap_or_default();
        let mut left: Vec<Survivor> = alive.iter().map(|p| survivor(p.pid, p.send(&[SIGKILL]))).collect();
        // /proc may hide the command, or all.
        if self.ended.is_none() && alive.iter().all(|p| p.pid != self.pid) {
            left.push(survivor(self.pid, send(self.pid, SIGKILL)));
        }
        if left.is_empty()
            && self.before.is_empty()
            && self.group == Group::Own
            && send(-self.pid, SIGKILL) == Err(Errno::EPERM)
        {
            // The group outlives its leader, whose pid may no longer be named: it is reaped.
            left.push(Survivor { pid: None, why: Alive::Foreign });
        }
        if left.is_empty() {
            // A child is there, or /proc told of one before: it lives, and cannot be named.
            left.push(Survivor { pid: None, why: Alive::Unseen });
        }
        left
    }

    fn cut(&self, limit: Limit, left: Vec<Survivor>) -> Outcome {
        let ended_by = match self.state {
            State::Killing { .. } => Signal::KILL,
            State::Running | State::Terminating { .. } => self.bounds.limits.signal,
        };
        Outcome::TimedOut(Cut { limit, ended_by, left })
    }
}
