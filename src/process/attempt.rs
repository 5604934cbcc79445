//! One attempt, from start to end, as states and events; and the waits between attempts.
//!
//! The states are Running, Terminating (the limit has come and `--signal` is sent) and Killing. The events
//! are a signal to retry, a change of a child, and the time; a timeout is an event like any other.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::SigSet;
use nix::unistd::{Pid, getpgid, getpgrp, getpid, getsid};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGKILL, SIGWINCH};

use super::child::{Change, Child, Command, Start, has_ended, next_change, none_left};
use super::descendants::{Before, Process, since};
use super::signal::{Kind, Received, Signals, send, stop_self};
use super::terminal::{Group, Terminal, group};
use super::wait::{Waiter, now, reader_gone};
use crate::error::{Doing as _, Error};
use crate::policy::Limits;
use crate::policy::verdict::evidence::{Scanner, Wanted};
use crate::policy::verdict::outcome::{Alive, Attempt, Cut, Limit, Outcome, Signal, Survivor};
use crate::streams::headers::{HeadersFile, Mark};
use crate::streams::messages::Messages;
use crate::streams::sink::Stream;
use crate::streams::watch::Watch;

/// How long KILL may take until what still lives is reported.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Between two rounds of KILL; the rounds are for what was forked meanwhile.
const KILL_ROUND: Duration = Duration::from_millis(50);

/// Walks for one signal, at most: something that forks without end must not keep retry from its clock.
const WALKS: usize = 50;

/// How long the command may take to stop when asked; a later stop is somebody else's.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How long a reader of watched streams may take nothing, once the run is over.
const READER_PATIENCE: Duration = Duration::from_secs(1);

/// Between two looks at what older processes have started, while nothing is known to have ended.
const REMEMBER: Duration = Duration::from_millis(100);

/// Longest sleep while a timeout runs. A stop that cannot be caught (SIGSTOP) shows as a longer one.
const BEAT: Duration = Duration::from_secs(1);

/// A wait that ends later than this was not held up by a busy machine alone.
const LATE: Duration = Duration::from_millis(100);

/// What an attempt tells while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    /// The limit was reached and these processes were sent a signal.
    Signalled { signal: Signal, pids: Vec<i32> },
    /// A signal to retry could not be passed on to the command.
    NotPassedOn { signal: Signal, pid: i32, errno: Errno },
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
}

/// Runs attempts and waits, one at a time, and answers signals meanwhile.
#[derive(Debug)]
pub(crate) struct Supervisor<'a> {
    wanted: &'a Wanted,
    headers: Option<HeadersFile>,
    watch: Watch,
    signals: Signals,
    waiter: Waiter,
    group: Group,
    subreaper: bool,
    /// An INT, TERM, HUP or QUIT that came when the command had just ended: it belongs to the wait.
    late: Option<Signal>,
}

impl<'a> Supervisor<'a> {
    /// Takes the signals of this process. `wanted` says what to watch; `headers` is the file of `--headers`.
    ///
    /// # Errors
    /// When the system refuses a descriptor.
    pub(crate) fn new(wanted: &'a Wanted, headers: Option<HeadersFile>) -> Result<Self, Error> {
        let signals = Signals::take()?;
        Ok(Self {
            wanted,
            headers,
            watch: Watch::new(wanted),
            signals,
            waiter: Waiter::default(),
            group: group(),
            subreaper: false,
            late: None,
        })
    }

    /// Waits until a time since boot. An INT, TERM, HUP or QUIT ends the wait and is returned.
    ///
    /// # Errors
    /// When the system refuses a timer.
    pub(crate) fn pause(&mut self, until: Duration, voice: &mut impl Voice) -> Result<Option<Signal>, Error> {
        if let Some(signal) = self.late.take() {
            return Ok(Some(signal));
        }
        loop {
            while let Some(received) = self.signals.next() {
                match received.kind {
                    Kind::End => return Ok(Some(received.signal)),
                    Kind::Stop => stop_self(received.signal, || true),
                    Kind::Child => while next_change().is_some() {},
                    Kind::Notice | Kind::Continue => {}
                }
            }
            if now() >= until {
                return Ok(None);
            }
            self.waiter.wait(&self.signals, voice.messages(), &mut self.watch, Some(until))?;
            self.pass(None, voice);
        }
    }

    /// Passes on what watched commands have written, as long as that is taken: the run is over. A reader that
    /// takes nothing for a second, a signal, or the deadline ends it.
    ///
    /// # Errors
    /// When output of a command that ended by itself was not taken.
    pub(crate) fn finish(&mut self, deadline: Option<Duration>, voice: &mut impl Voice) -> Result<(), Error> {
        let mut moved_at = now();
        let mut owed = usize::MAX;
        loop {
            self.pass(None, voice);
            let now = now();
            let left = self.watch.owed();
            if left < owed {
                (owed, moved_at) = (left, now);
            }
            if self.watch.is_drained() {
                return Ok(());
            }
            let until = moved_at.saturating_add(READER_PATIENCE);
            let until = deadline.map_or(until, |deadline| until.min(deadline));
            let mut ends = now >= until;
            while let Some(received) = self.signals.next() {
                ends |= received.kind == Kind::End;
            }
            if ends {
                return if self.watch.owes_stdout() { Err(Error::Unread) } else { Ok(()) };
            }
            self.waiter.wait(&self.signals, voice.messages(), &mut self.watch, Some(until))?;
        }
    }

    /// Moves what can be moved on the watched streams; lines of retry's own wait behind it.
    fn pass(&mut self, scanner: Option<&mut Scanner<'_>>, voice: &mut impl Voice) {
        self.watch.turn(scanner);
        voice.messages().hold(self.watch.holds_stderr());
    }

    /// Runs the command once, to its end and, past a limit, to the end of all that it started.
    ///
    /// # Errors
    /// When the system refuses what supervision needs; a command that cannot be started is an outcome.
    pub(crate) fn attempt(
        &mut self,
        command: &Command,
        environment: &[CString],
        bounds: Bounds,
        voice: &mut impl Voice,
    ) -> Result<Attempt, Error> {
        let limited = bounds.limits.timeout.is_some() || bounds.deadline.is_some();
        if limited && !self.subreaper {
            prctl::set_child_subreaper(true).doing("cannot adopt orphans")?;
            self.subreaper = true;
        }
        let before = if limited { Before::now() } else { Before::default() };
        let mark = self.headers.as_ref().map(HeadersFile::mark);
        let ends = self.watch.open()?;
        let mut scanner = Scanner::new(self.wanted);
        let terminal = if self.group == Group::Shared { Terminal::held() } else { None };
        let started = now();
        let start = Start {
            signals: &self.signals,
            group: self.group,
            death_signal: bounds.limits.signal,
            ends: &ends,
        };
        let child = command.start(environment, start);
        // Only what the command holds keeps them open.
        drop(ends);
        let Child { pid, early } = match child {
            Ok(child) => child,
            Err(failure) => {
                self.pass(None, voice);
                self.watch.attempt_over(true)?;
                return Ok(Attempt::ended(Outcome::NotStarted(failure)));
            }
        };
        let mut running = Running {
            pid,
            group: self.group,
            bounds,
            before,
            early,
            remembered: started,
            ended: None,
            state: State::Running,
            timeout_at: bounds.limits.timeout.map(|timeout| started.saturating_add(timeout)),
            stopped: Duration::ZERO,
            limit_at: None,
            stop_asked: None,
            killed: BTreeSet::new(),
            interrupted: None,
            late: None,
            urged: false,
            asked_to_end: false,
        };
        // Of the last look at the clock: a stop may come at any moment, not in the wait alone.
        let mut from = started;
        loop {
            let beat = self.watch.has_terminal().then(|| from.saturating_add(BEAT));
            let until = running.wake_at(from).into_iter().chain(beat).min();
            self.waiter.wait(&self.signals, voice.messages(), &mut self.watch, until)?;
            self.pass(Some(&mut scanner), voice);
            let mut children = false;
            while let Some(received) = self.signals.next() {
                if received.kind == Kind::Continue
                    && until.is_some_and(|until| now() > until.saturating_add(LATE))
                {
                    running.was_stopped(now().saturating_sub(from));
                }
                children |= received.kind == Kind::Child;
                running.on_signal(received, voice);
            }
            // The kernel tells a new size to the foreground group alone, which may be another than this.
            if self.watch.resize() {
                running.tell_size();
            }
            running.remember(children);
            while children
                && !running.is_over()
                && let Some((pid, change)) = next_change()
            {
                running.on_change(pid, change);
                if running.ended.is_some() {
                    self.watch.command_ended();
                }
            }
            from = now();
            running.on_time(from, voice);
            if let Some(outcome) = running.finished(from) {
                self.pass(Some(&mut scanner), voice);
                if running.waits_for_output() && !self.watch.is_drained() {
                    continue;
                }
                if !running.is_over() {
                    // What was killed last is dead, but its end may not have been announced yet.
                    while next_change().is_some() {}
                }
                if let Some(terminal) = terminal.filter(|_| outcome.is_failure()) {
                    terminal.take_back();
                }
                if let Some(signal) = running.late
                    && outcome == Outcome::Signaled(signal)
                {
                    // It came to both before the command was all there: that is what ended it.
                    running.interrupted.get_or_insert(signal);
                    running.late = None;
                }
                self.late = running.late;
                let ran = running.limit_at.unwrap_or(from).saturating_sub(started);
                return self.over(&running, outcome, ran, scanner, mark.as_ref());
            }
        }
    }

    /// What there is to say of an attempt that has ended so.
    fn over(
        &mut self,
        running: &Running,
        outcome: Outcome,
        ran: Duration,
        scanner: Scanner<'_>,
        mark: Option<&Mark>,
    ) -> Result<Attempt, Error> {
        match self.watch.attempt_over(running.is_over() && !running.asked_to_end) {
            // It ends by the signal all the same.
            Err(_) if running.interrupted.is_some() => {}
            over => over?,
        }
        let headers =
            self.headers.as_ref().zip(mark).map(|(file, mark)| file.since(mark)).unwrap_or_default();
        let evidence = scanner.finish(self.watch.merged(), &headers);
        Ok(Attempt {
            reader_gone: outcome.is_failure() && reader_gone(Stream::Stdout.fd()),
            outcome,
            ran: ran.saturating_sub(running.stopped),
            interrupted: running.interrupted,
            asked: evidence.response.asked(SystemTime::now()),
            evidence,
        })
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

/// An attempt under way.
#[derive(Debug)]
struct Running {
    /// The command itself. Its pid is not reused before it is reaped.
    pid: i32,
    group: Group,
    bounds: Bounds,
    before: Before,
    /// What came to retry and not to the command, which was not there yet.
    early: SigSet,
    /// When `before` was last brought up to date.
    remembered: Duration,
    /// How the command itself ended.
    ended: Option<Outcome>,
    state: State,
    timeout_at: Option<Duration>,
    /// How long retry was stopped.
    stopped: Duration,
    /// When its limit came.
    limit_at: Option<Duration>,
    /// When the terminal, or somebody, asked for a stop that the command has not yet made.
    stop_asked: Option<Duration>,
    /// Sent KILL already: told once.
    killed: BTreeSet<Process>,
    interrupted: Option<Signal>,
    /// What would have been, had the command not ended before it could be passed on.
    late: Option<Signal>,
    /// Its last output is not waited for: a limit has come, or a signal.
    urged: bool,
    /// INT, TERM, HUP or QUIT came before it ended.
    asked_to_end: bool,
}

impl Running {
    /// Whether it ended by itself: nothing that it left behind is waited for.
    fn is_over(&self) -> bool {
        self.state == State::Running && self.ended.is_some()
    }

    /// Whether what it wrote must be passed on before the attempt is over. After a limit or a signal it is not
    /// waited for: the reader may never come.
    fn waits_for_output(&self) -> bool {
        self.is_over() && !self.urged && self.interrupted.is_none()
    }

    /// Notes what older processes have started since; not at every byte that passes, as it is a walk.
    fn remember(&mut self, children: bool) {
        let now = now();
        if children || now >= self.remembered.saturating_add(REMEMBER) {
            self.remembered = now;
            self.before.grow();
        }
    }

    /// When something is to be done although nothing happens.
    fn wake_at(&self, now: Duration) -> Option<Duration> {
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
    fn was_stopped(&mut self, time: Duration) {
        self.stopped = self.stopped.saturating_add(time);
        self.timeout_at = self.timeout_at.map(|at| at.saturating_add(time));
    }

    fn on_signal(&mut self, received: Received, voice: &mut impl Voice) {
        if received.sender == getpid().as_raw() {
            return;
        }
        match received.kind {
            Kind::End if self.passes_on(received) && self.state == State::Running && has_ended(self.pid) => {
                self.late.get_or_insert(received.signal);
            }
            Kind::End => {
                self.interrupted.get_or_insert(received.signal);
                self.urged |= self.ended.is_some();
                self.asked_to_end |= self.ended.is_none();
                self.pass_on(received, voice);
            }
            Kind::Notice => self.pass_on(received, voice),
            Kind::Stop => {
                self.stop_asked = Some(now());
                self.pass_on(received, voice);
            }
            Kind::Continue => {
                self.stop_asked = None;
                self.pass_on(received, voice);
            }
            Kind::Child => {}
        }
    }

    /// Whether the command is to get what retry got: not what the terminal sent to both, and not what the
    /// command itself sent.
    fn passes_on(&self, received: Received) -> bool {
        let number = received.signal.number();
        let early = nix::sys::signal::Signal::try_from(number).is_ok_and(|name| self.early.contains(name));
        // A hangup goes to the session's leader alone as long as that lives (tty_ioctl(4)), and nothing of
        // the terminal's goes to a command that has left the group.
        let leads = number == SIGHUP && getsid(None) == Ok(getpid());
        let shares = getpgid(Some(Pid::from_raw(self.pid))) == Ok(getpgrp());
        let by_terminal = self.group == Group::Shared && received.by_kernel && shares && !leads && !early;
        self.ended.is_none() && !by_terminal && received.sender != self.pid
    }

    fn pass_on(&mut self, received: Received, voice: &mut impl Voice) {
        let passes_on = self.passes_on(received);
        if let Ok(name) = nix::sys::signal::Signal::try_from(received.signal.number()) {
            self.early.remove(name);
        }
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
    fn tell_size(&self) {
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

    /// The command has stopped. Where that is job control, retry stops with it, so that the shell takes the
    /// terminal back once the command is ready for that. A SIGSTOP that nobody announced is somebody
    /// else's business with the command.
    fn on_stop(&mut self, signal: Signal) {
        use signal_hook::consts::{SIGTSTP, SIGTTIN, SIGTTOU};
        let job_control = matches!(signal.number(), SIGTSTP | SIGTTIN | SIGTTOU);
        let asked = self.stop_asked.is_some_and(|at| now() < at.saturating_add(STOP_PATIENCE));
        let follow = asked || (self.group == Group::Shared && job_control);
        if self.state == State::Running && follow {
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
    }

    fn on_time(&mut self, now: Duration, voice: &mut impl Voice) {
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
        self.state =
            State::Killing { limit, again_at: now.saturating_add(KILL_ROUND).min(give_up_at), give_up_at };
        self.send_all(Signal::KILL, &[SIGKILL], voice);
    }

    /// Sends to all that the attempt started, and once more to what was forked meanwhile.
    fn send_all(&mut self, signal: Signal, numbers: &[i32], voice: &mut impl Voice) {
        let mut sent = BTreeSet::new();
        let mut pids = Vec::new();
        for _ in 0..WALKS {
            let Some(alive) = since(&self.before) else { break };
            let fresh: Vec<Process> = alive.into_iter().filter(|p| !sent.contains(p)).collect();
            if fresh.is_empty() {
                break;
            }
            for process in fresh {
                sent.insert(process);
                let told = signal == Signal::KILL && !self.killed.insert(process);
                if process.send(numbers).is_ok() && !told {
                    pids.push(process.pid);
                }
            }
        }
        if !sent.iter().any(|process| process.pid == self.pid) {
            // The walk does not show the command: it has ended, or /proc hides it. Its group, where that is
            // its own, may hold more.
            let target = if self.group == Group::Own { -self.pid } else { self.pid };
            if self.group == Group::Own || self.ended.is_none() {
                for number in numbers {
                    let _ = send(target, *number);
                }
            }
        }
        if !pids.is_empty() {
            voice.note(&Note::Signalled { signal, pids });
        }
    }

    /// Whether nothing of the attempt lives. As a child subreaper retry gets every orphan, so while anything
    /// lives below it, it has a child; where older processes live there too, the walk has to tell them apart.
    fn nothing_left(&self) -> bool {
        if self.ended.is_none() {
            return false;
        }
        if self.before.is_empty() {
            return none_left();
        }
        // Twice: what forks and exits without end may pass between the rows of one walk.
        (0..2).all(|_| since(&self.before).is_some_and(|alive| alive.is_empty()))
    }

    /// The outcome, once there is nothing more to do for it.
    fn finished(&self, now: Duration) -> Option<Outcome> {
        match self.state {
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
    fn left(&self) -> Vec<Survivor> {
        let survivor = |pid, sent| match sent {
            Err(Errno::EPERM) => Survivor { pid: Some(pid), why: Alive::Foreign },
            _ => Survivor { pid: Some(pid), why: Alive::Unkillable },
        };
        let alive = since(&self.before).unwrap_or_default();
        let mut left: Vec<Survivor> = alive.iter().map(|p| survivor(p.pid, p.send(&[SIGKILL]))).collect();
        // /proc may hide the command, or all.
        if self.ended.is_none() && alive.iter().all(|p| p.pid != self.pid) {
            left.push(survivor(self.pid, send(self.pid, SIGKILL)));
        }
        if left.is_empty() && self.before.is_empty() && self.group == Group::Own {
            let sent = send(-self.pid, SIGKILL);
            if sent != Err(Errno::ESRCH) {
                left.push(survivor(self.pid, sent));
            }
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
