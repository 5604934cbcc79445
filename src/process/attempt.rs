//! Attempts and the waits between them: the events come in here, one after the other, and go to what is
//! [`running`](super::running).

use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::prctl;

use super::child::{Command, Start, reap_all};
use super::origin::Before;
use super::running::{BEAT, Bounds, Note, Running, Voice};
use super::signal::{Kind, Received, Signals, StartMask, is_ignored, stop_self};
use super::stops::Stops;
use super::terminal::{Group, Terminal, group};
use super::wait::{Waiter, reader_gone};
use crate::clock::{now, wall};
use crate::error::{Doing as _, Error};
use crate::policy::outcome::{Attempt, By, NotStarted, Outcome};
use crate::policy::signal::Signal;
use crate::policy::stream::{Stream, Streams};
use crate::policy::verdict::evidence::{Scanner, Wanted};
use crate::streams::headers::{HeadersFile, Mark};
use crate::streams::hold::HeldBack;
use crate::streams::matcher::{Matched, Matcher};
use crate::streams::plan::Necessity;
use crate::streams::redirection::{Becomes, Redirection};
use crate::streams::standard::Standard as _;
use crate::streams::stdin::{Input, Stdin, null};
use crate::streams::watch::Watch;

/// How long a reader of watched streams may take nothing, once the run is over.
const READER_PATIENCE: Duration = Duration::from_secs(1);

/// How long a reader that takes something now and then may take past the deadline.
const PAST_DEADLINE: Duration = Duration::from_secs(10);

/// How long the matcher is waited for until signals and the clock are looked at again.
const MATCHING: Duration = Duration::from_millis(10);

/// Runs attempts and waits, one at a time, and answers signals meanwhile.
#[derive(Debug)]
pub(crate) struct Supervisor {
    wanted: Arc<Wanted>,
    headers: Option<HeadersFile>,
    watch: Watch,
    input: Input,
    signals: Signals,
    waiter: Waiter,
    group: Group,
    subreaper: bool,
    /// An INT, TERM, HUP or QUIT that came when the command had just ended: it belongs to the wait.
    late: Option<Signal>,
    /// The INT, TERM, HUP or QUIT that came during the last attempt.
    asked: Option<Signal>,
    /// Why output of an attempt that was interrupted is lost.
    unpassed: Option<Error>,
}

/// A command that has ended.
struct Ended {
    outcome: Outcome,
    /// How long it ran, time stopped not counted.
    ran: Duration,
    running: Running,
}

/// What is between the command and retry's own streams.
#[derive(Debug)]
pub(crate) struct Between {
    /// What to watch.
    pub(crate) wanted: Arc<Wanted>,
    /// The file of `--headers`.
    pub(crate) headers: Option<HeadersFile>,
    /// What attempts read.
    pub(crate) stdin: Stdin,
    /// Only the stdout of the attempt that succeeds is passed on.
    pub(crate) hold: bool,
}

impl Supervisor {
    /// Takes the signals of this process.
    ///
    /// # Errors
    /// When the system refuses a descriptor.
    pub(crate) fn new(between: Between, mask: StartMask) -> Result<Self, Error> {
        let signals = Signals::take(mask)?;
        Ok(Self {
            watch: Watch::new(&between.wanted, between.hold),
            input: Input::new(between.stdin),
            wanted: between.wanted,
            headers: between.headers,
            signals,
            waiter: Waiter::default(),
            group: group(),
            subreaper: false,
            late: None,
            asked: None,
            unpassed: None,
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
        // Orphans may have died while nobody looked, and the attempt has read the CHLD that said so.
        let mut children = true;
        loop {
            for received in self.signals.arrived() {
                match received.kind {
                    Kind::End => return Ok(Some(received.signal)),
                    Kind::Stop => stop_self(received.signal, || true),
                    Kind::Child => children = true,
                    Kind::Notice | Kind::Continue => {}
                }
            }
            children = children && reap_all();
            if now() >= until {
                return Ok(None);
            }
            let until = if children { Duration::ZERO } else { until };
            self.waiter.wait(
                &self.signals,
                voice.messages(),
                &mut self.watch,
                &mut self.input,
                Some(until),
            )?;
            self.pass(None, voice);
        }
    }

    /// The run is over: passes on what commands have written, while the reader takes it. The signal that ended
    /// this, PIPE if nobody reads any more.
    ///
    /// # Errors
    /// When bytes of a command have been lost, now or earlier in the run.
    pub(crate) fn finish(
        &mut self,
        deadline: Option<Duration>,
        voice: &mut impl Voice,
    ) -> Result<Option<Signal>, Error> {
        let passed = self.pass_rest(deadline, voice)?;
        match self.unpassed.take().or_else(|| self.watch.take_loss()) {
            Some(error) if passed.is_none() => Err(error),
            Some(_) | None => Ok(passed),
        }
    }

    /// Passes on the rest. A reader that takes nothing for a second, or a signal, ends this. For what was held
    /// only the deadline or a signal does: the command would have waited as long.
    ///
    /// # Errors
    /// When not all of it was taken.
    fn pass_rest(
        &mut self,
        deadline: Option<Duration>,
        voice: &mut impl Voice,
    ) -> Result<Option<Signal>, Error> {
        let begin = now();
        let mut moved_at = begin;
        let mut owed = u64::MAX;
        // A signal that the command has answered, or that came when it had just ended.
        let asked = self.late.take().or(self.asked);
        let mut children = true;
        loop {
            self.pass(None, voice);
            let now = now();
            let left = self.watch.owed();
            if left < owed {
                (owed, moved_at) = (left, now);
            }
            if let Some(errno) = self.watch.take_failure() {
                return Err(errno).doing("cannot write to stdout");
            }
            if self.watch.lost_held() {
                return match is_ignored(Signal::PIPE.number()) {
                    true => Err(Errno::EPIPE).doing("cannot write to stdout"),
                    false => Ok(Some(Signal::PIPE)),
                };
            }
            if self.watch.is_drained() {
                return Ok(None);
            }
            let patience = moved_at.saturating_add(READER_PATIENCE);
            let until = match (self.watch.passes_held(), asked) {
                // A command that came just before the deadline has its reader too.
                (false, _) => Some(match deadline {
                    Some(deadline) => patience.min(deadline.max(begin).saturating_add(PAST_DEADLINE)),
                    None => patience,
                }),
                // The reader has its time also where the success came late.
                (true, None) => deadline.map(|deadline| deadline.max(patience)),
                (true, Some(_)) => Some(patience),
            };
            let mut ends = until.is_some_and(|until| now >= until);
            for received in self.signals.arrived() {
                match received.kind {
                    Kind::End if self.watch.passes_held() => return Ok(Some(received.signal)),
                    Kind::End => ends = true,
                    Kind::Stop => stop_self(received.signal, || true),
                    Kind::Child => children = true,
                    Kind::Notice | Kind::Continue => {}
                }
            }
            children = children && reap_all();
            if ends
                && self.watch.passes_held()
                && let Some(signal) = asked
            {
                return Ok(Some(signal));
            }
            if ends {
                return self.watch.give_up().map(|()| None);
            }
            let until = if children { Some(Duration::ZERO) } else { until };
            self.waiter.wait(&self.signals, voice.messages(), &mut self.watch, &mut self.input, until)?;
        }
    }

    /// The attempt has succeeded: what was held of it may pass.
    ///
    /// # Errors
    /// Where not all of it could be kept.
    pub(crate) fn release(&mut self) -> Result<(), Error> {
        self.watch.release().map_err(|why| Error::Unkept {
            hint: why.is_of_the_place(),
            directory: why.directory,
            errno: why.errno,
        })
    }

    /// The attempt has failed: what was held of it, if it was anything.
    pub(crate) fn reject(&mut self) -> Option<HeldBack> {
        self.watch.reject()
    }

    /// Moves what can be moved on the watched streams; lines of retry's own wait behind it.
    fn pass(&mut self, matcher: Option<&mut Matcher>, voice: &mut impl Voice) {
        self.watch.turn(matcher, voice.messages().is_waiting());
        self.input.turn(now);
        if let Some(unfinished) = self.watch.take_unfinished() {
            voice.messages().continues(unfinished);
        }
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
        let mark = self.headers.as_ref().map(HeadersFile::mark);
        let redirections = self.open(bounds.last, voice).map_err(Error::before_attempt)?;
        let mut matcher = Matcher::new(Scanner::new(Arc::clone(&self.wanted)), self.watch.merged());
        // What is there is there for the command's first look.
        self.input.turn(now);
        match self.supervise(command, environment, bounds, redirections, Some(&mut matcher), voice)? {
            Ok(ended) => self.over(ended, matcher, mark.as_ref(), voice),
            Err(failure) => {
                self.pass(None, voice);
                self.input.attempt_over()?;
                self.watch.attempt_over()?;
                Ok(Attempt::ended(Outcome::NotStarted(failure)))
            }
        }
    }

    /// Opens what the command gets in place of retry's own streams. What retry has opened meanwhile and can do
    /// without is closed if there is no descriptor left: an attempt needs no more than the one before.
    ///
    /// # Errors
    /// When the system has no descriptor or no pseudo-terminal left.
    fn open(&mut self, last: bool, voice: &mut impl Voice) -> Result<Vec<Redirection>, Error> {
        loop {
            match self.try_open(last) {
                Err(Error::System { errno: Errno::EMFILE | Errno::ENFILE, .. })
                    if self.spare_descriptor(voice) =>
                {
                    self.watch.close();
                }
                opened => return opened,
            }
        }
    }

    /// The same, once. The input comes before the streams that only a profile wants: without a pipe for it no
    /// other attempt can follow.
    fn try_open(&mut self, last: bool) -> Result<Vec<Redirection>, Error> {
        let mut redirections = self.watch.open(Necessity::Required)?;
        redirections.extend(self.input.open(last)?.map(|end| Redirection::new(end, Becomes::Stdin)));
        redirections.extend(self.watch.open(Necessity::Optional)?);
        Ok(redirections)
    }

    /// Closes a descriptor that retry can do without for a while. Tells whether there was one.
    fn spare_descriptor(&mut self, voice: &mut impl Voice) -> bool {
        self.waiter.spare_descriptor() || self.watch.spare_descriptor() || voice.messages().spare_descriptor()
    }

    /// Runs a command that says whether an attempt is needed: what it reads is nothing, and what it writes to
    /// stdout goes to stderr.
    ///
    /// # Errors
    /// As [`attempt`](Self::attempt).
    pub(crate) fn check(
        &mut self,
        command: &Command,
        environment: &[CString],
        bounds: Bounds,
        voice: &mut impl Voice,
    ) -> Result<Attempt, Error> {
        let redirections = loop {
            match check_ends() {
                Err(Errno::EMFILE | Errno::ENFILE) if self.spare_descriptor(voice) => {}
                opened => break opened.doing("cannot open /dev/null").map_err(Error::before_attempt)?,
            }
        };
        let (outcome, interrupted, ran) =
            match self.supervise(command, environment, bounds, redirections, None, voice)? {
                Ok(Ended { outcome, running, ran }) => (outcome, running.interrupted, ran),
                Err(failure) => (Outcome::NotStarted(failure), None, Duration::ZERO),
            };
        Ok(Attempt { by: By::Check, ran, interrupted, ..Attempt::ended(outcome) })
    }

    /// Starts a command that has these `ends`, and stays with it.
    ///
    /// # Errors
    /// When the system refuses what supervision needs.
    fn supervise(
        &mut self,
        command: &Command,
        environment: &[CString],
        bounds: Bounds,
        redirections: Vec<Redirection>,
        mut matcher: Option<&mut Matcher>,
        voice: &mut impl Voice,
    ) -> Result<Result<Ended, NotStarted>, Error> {
        let limited = bounds.limits.timeout.is_some() || bounds.deadline.is_some();
        if limited && !self.subreaper {
            let adopts = prctl::set_child_subreaper(true).doing("cannot adopt orphaned processes");
            adopts.map_err(Error::before_attempt)?;
            self.subreaper = true;
        }
        let mut before = if limited { Before::now(environment) } else { Before::default() };
        let marked = before.marked(environment);
        let terminal = if self.group == Group::Shared { Terminal::held() } else { None };
        let started = now();
        let mut stops = bounds.is_timed().then(Stops::new);
        let start = Start {
            signals: &self.signals,
            group: self.group,
            death_signal: bounds.limits.signal,
            redirections: &redirections,
        };
        let child = command.start(marked.as_deref().unwrap_or(environment), start);
        // Only what the command holds keeps them open.
        drop(redirections);
        let child = match child {
            Ok(child) => child,
            Err(failure) => return Ok(Err(failure)),
        };
        before.command_is(child.pid);
        let mut running = Running::new(&child, self.group, bounds, before, started);
        // The last look at the clock: a stop may come at any moment, not in the wait alone.
        let mut from = started;
        // How long retry had been stopped then.
        let mut stopped = Duration::ZERO;
        // More children have ended than one turn reaps.
        let mut more = false;
        // The command has ended, and its output is still being matched.
        let mut matching = false;
        loop {
            let beat = self.watch.has_terminal().then(|| from.saturating_add(BEAT));
            let until = match more || matching {
                true => Some(Duration::ZERO),
                false => running.wake_at(from).into_iter().chain(beat).min(),
            };
            self.waiter.wait(&self.signals, voice.messages(), &mut self.watch, &mut self.input, until)?;
            self.pass(matcher.as_deref_mut(), voice);
            let planned = until.map(|until| until.saturating_sub(from));
            let last = std::mem::replace(&mut from, now());
            let known = running.stopped.saturating_sub(stopped);
            let late = stops.as_mut().map(|stops| stops.look(planned, known));
            let arrived: Vec<Received> = self.signals.arrived().collect();
            let has = |kind| arrived.iter().any(|received| received.kind == kind);
            if let Some((stops, late)) = stops.as_mut().zip(late)
                && stops.was_stopped(late, has(Kind::Continue))
            {
                running.was_stopped(from.saturating_sub(last).saturating_sub(known));
            }
            stopped = running.stopped;
            let children = has(Kind::Child) || more;
            for received in arrived {
                running.on_signal(received, voice);
            }
            // The kernel tells a new size to the foreground group alone, which may be another than this.
            if self.watch.resize() {
                running.tell_size();
            }
            running.remember(children);
            more = children && running.reap();
            running.on_time(now(), voice);
            if running.ended.is_some() {
                self.watch.command_ended();
            }
            let now = now();
            if let Some(outcome) = running.finished(now) {
                self.pass(matcher.as_deref_mut(), voice);
                if running.waits_for_output() && !self.watch.is_drained() {
                    continue;
                }
                matching = !matcher.as_deref_mut().is_none_or(|matcher| matcher.is_over_within(MATCHING));
                if matching && running.waits_for_output() {
                    continue;
                }
                // The end of what was killed last may not have been announced yet.
                reap_all();
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
                self.asked = running.interrupted;
                let ran = running.limit_at.unwrap_or(now).saturating_sub(started);
                let ran = ran.saturating_sub(running.stopped);
                return Ok(Ok(Ended { outcome, ran, running }));
            }
        }
    }

    /// What there is to say of an attempt that has ended so.
    fn over(
        &mut self,
        ended: Ended,
        matcher: Matcher,
        mark: Option<&Mark>,
        voice: &mut impl Voice,
    ) -> Result<Attempt, Error> {
        let Ended { outcome, ran, running } = ended;
        let over = self.watch.attempt_over().and(self.input.attempt_over());
        let unkept = match over {
            // The run ends by the signal all the same; the loss is said then.
            Err(error) if running.interrupted.is_some() => {
                self.unpassed.get_or_insert(error);
                None
            }
            over => over?,
        };
        let headers =
            self.headers.as_ref().zip(mark).map(|(file, mark)| file.since(mark)).unwrap_or_default();
        let scanner = match matcher.finish() {
            Matched::Whole(scanner) => Some(scanner),
            Matched::Partly(scanner) => {
                voice.note(&Note::NotMatched);
                scanner
            }
        };
        let scanner = scanner.unwrap_or_else(|| Scanner::new(Arc::clone(&self.wanted)));
        let evidence = scanner.evidence(&headers);
        Ok(Attempt {
            reader_gone: outcome.is_failure() && reader_gone(Stream::Stdout.fd()),
            outcome,
            ran,
            by: By::Command,
            interrupted: running.interrupted,
            asked: evidence.response.asked(wall()),
            evidence,
            unkept,
        })
    }

    /// No attempt follows: gives back what was shared with others.
    pub(crate) fn leave(&mut self) {
        self.input.leave();
    }
}

/// What a check reads and writes: nothing, and stderr, or nothing where that is closed.
fn check_ends() -> nix::Result<Vec<Redirection>> {
    let nothing = null(OFlag::O_RDONLY)?;
    let stderr = match Stream::Stderr.fd().try_clone_to_owned() {
        Ok(stderr) => stderr,
        Err(_) => null(OFlag::O_WRONLY)?,
    };
    let stdout = Becomes::Output(Streams::Stdout);
    Ok(vec![Redirection::new(nothing, Becomes::Stdin), Redirection::new(stderr, stdout)])
}
