//! Runs attempts and the waits between them, one at a time, and answers signals all the time.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::prctl;

use super::child::Command;
use super::drain::drain;
use super::lifecycle::Ending;
use super::notice::{Notice, Observer};
use super::poll::{Poller, reader_gone};
use super::pump::Pump;
use super::settings::AttemptSettings;
use super::signal::disposition::InheritedMask;
use super::signal::stream::SignalStream;
use super::supervise::{Task, supervise};
use super::terminal::{Group, group};
use crate::clock::{now, wall};
use crate::error::{Doing as _, Error};
use crate::policy::outcome::{Attempt, By, NotStarted, Outcome, OwnError};
use crate::policy::signal::Signal;
use crate::policy::stream::{Stream, Streams};
use crate::policy::verdict::evidence::{Scanner, Wanted};
use crate::streams::headers::{HeadersFile, Mark};
use crate::streams::hold::HeldBack;
use crate::streams::matcher::{Matched, Matcher};
use crate::streams::plan::Held;
use crate::streams::polled::{Polled, lent};
use crate::streams::redirection::{Becomes, Redirection};
use crate::streams::standard::Standard as _;
use crate::streams::stdin::{Input, Stdin, null};
use crate::streams::watch::Watch;

/// The streams of the command, and how retry uses them.
#[derive(Debug)]
pub(crate) struct StreamSettings {
    /// The conditions that output is matched with.
    pub(crate) wanted: Arc<Wanted>,
    /// The file of `--headers`.
    pub(crate) headers: Option<HeadersFile>,
    pub(crate) stdin: Stdin,
    /// `--hold`: what of an attempt is passed on only if it succeeds.
    pub(crate) hold: Option<Held>,
}

/// Runs attempts and waits.
#[derive(Debug)]
pub(crate) struct Supervisor {
    wanted: Arc<Wanted>,
    headers: Option<HeadersFile>,
    pump: Pump,
    group: Group,
    /// `--hold=both` keeps the output of `--check` and `--on-retry` too.
    holds_beside: bool,
    is_subreaper: bool,
    /// An INT, TERM, HUP or QUIT that came when the command had just ended. It interrupts the wait.
    too_late: Option<Signal>,
    /// The INT, TERM, HUP or QUIT that came during the last attempt.
    interrupted: Option<Signal>,
    /// Why output of an attempt that was interrupted is lost.
    lost_output: Option<Error>,
}

impl Supervisor {
    /// Takes over the signals of this process.
    ///
    /// # Errors
    /// If the system refuses a descriptor.
    pub(crate) fn new(streams: StreamSettings, mask: InheritedMask) -> Result<Self, Error> {
        let signals = SignalStream::open(mask)?;
        let watch = Watch::new(&streams.wanted, streams.hold);
        let input = Input::new(streams.stdin);
        Ok(Self {
            wanted: streams.wanted,
            headers: streams.headers,
            pump: Pump { signals, watch, input, poller: Poller::default() },
            group: group(),
            holds_beside: streams.hold.is_some_and(|hold| hold.streams() == Streams::Both),
            is_subreaper: false,
            too_late: None,
            interrupted: None,
            lost_output: None,
        })
    }

    /// Runs the command once. Past a limit, waits for the end of all processes that it started.
    /// `beside` is served meanwhile.
    ///
    /// # Errors
    /// If the system refuses a descriptor. A command that cannot start is an outcome.
    pub(crate) fn attempt(
        &mut self,
        command: &Command,
        environment: &[CString],
        settings: AttemptSettings,
        mut beside: Option<&mut dyn Polled>,
        observer: &mut impl Observer,
    ) -> Result<Attempt, Error> {
        let mark = self.headers.as_ref().map(HeadersFile::mark);
        let redirections = self.pump.open(settings.is_last, observer).map_err(Error::before_attempt)?;
        let mut matcher = Matcher::new(Scanner::new(Arc::clone(&self.wanted)), self.pump.watch.merged());
        // The command finds the input that is there when it first looks.
        self.pump.input.turn(now);
        let task = Task {
            command,
            environment,
            group: self.group,
            settings,
            redirections,
            beside: lent(&mut beside),
        };
        match self.supervise(task, Some(&mut matcher), observer)? {
            Ok(ending) => self.attempt_over(ending, matcher, mark.as_ref(), observer),
            Err(failure) => {
                self.pump.pass(None, observer);
                self.pump.input.attempt_over()?;
                self.pump.watch.attempt_over()?;
                Ok(Attempt::ended(Outcome::NotStarted(failure)))
            }
        }
    }

    /// Runs the command of `--check` or `--on-retry`. It reads nothing, and its stdout goes to stderr.
    /// If stderr is held, so is its output, before that of the next attempt. `beside` is served
    /// meanwhile.
    ///
    /// # Errors
    /// As [`attempt`](Self::attempt).
    pub(crate) fn run_beside(
        &mut self,
        command: &Command,
        environment: &[CString],
        settings: AttemptSettings,
        mut beside: Option<&mut dyn Polled>,
        observer: &mut impl Observer,
    ) -> Result<Attempt, Error> {
        let redirections = loop {
            match self.redirections_beside() {
                Err(Errno::EMFILE | Errno::ENFILE) if self.pump.spare_descriptor(observer) => {}
                opened => {
                    break opened
                        .doing("cannot open /dev/null or a pipe for --check or --on-retry")
                        .map_err(Error::before_attempt)?;
                }
            }
        };
        let task = Task {
            command,
            environment,
            group: self.group,
            settings,
            redirections,
            beside: lent(&mut beside),
        };
        let (outcome, interrupted, ran) = match self.supervise(task, None, observer)? {
            Ok(Ending { outcome, interrupted, ran, .. }) => (outcome, interrupted, ran),
            Err(failure) => (Outcome::NotStarted(failure), None, Duration::ZERO),
        };
        if self.holds_beside
            && let Err(error) = self.pump.watch.attempt_over()
        {
            // The end of the run tells about the loss.
            self.lost_output.get_or_insert(error);
        }
        Ok(Attempt { ran, interrupted, ..Attempt::ended(outcome) })
    }

    /// The streams of such a command: /dev/null, and stderr, or /dev/null if stderr is closed.
    fn redirections_beside(&mut self) -> nix::Result<Vec<Redirection>> {
        let nothing = Redirection::new(null(OFlag::O_RDONLY)?, Becomes::Stdin);
        if self.holds_beside
            && let Some(held) = self.pump.watch.open_beside()?
        {
            return Ok(vec![nothing, held]);
        }
        let stderr = match Stream::Stderr.fd().try_clone_to_owned() {
            Ok(stderr) => stderr,
            Err(_) => null(OFlag::O_WRONLY)?,
        };
        Ok(vec![nothing, Redirection::new(stderr, Becomes::Output(Streams::Stdout))])
    }

    fn supervise(
        &mut self,
        task: Task<'_>,
        matcher: Option<&mut Matcher>,
        observer: &mut impl Observer,
    ) -> Result<Result<Ending, NotStarted>, Error> {
        let adopts = task.settings.may_end_all();
        if adopts != self.is_subreaper {
            let set = prctl::set_child_subreaper(adopts).doing("cannot adopt orphaned processes");
            set.map_err(Error::before_attempt)?;
            self.is_subreaper = adopts;
        }
        let ended = supervise(&mut self.pump, task, matcher, observer)?;
        if let Ok(ending) = &ended {
            (self.too_late, self.interrupted) = (ending.too_late, ending.interrupted);
        }
        Ok(ended)
    }

    fn attempt_over(
        &mut self,
        ending: Ending,
        matcher: Matcher,
        mark: Option<&Mark>,
        observer: &mut impl Observer,
    ) -> Result<Attempt, Error> {
        let Ending { outcome, ran, interrupted, .. } = ending;
        let over = self.pump.watch.attempt_over().and(self.pump.input.attempt_over());
        let (unkept, error) = match over {
            Ok(unkept) => (unkept, None),
            // The signal ends the run all the same, and the end of the run tells about the loss.
            Err(error) if interrupted.is_some() => {
                self.lost_output.get_or_insert(error);
                (None, None)
            }
            Err(Error::System { what, errno }) => (None, Some(OwnError { what, errno })),
            Err(error) => return Err(error),
        };
        let headers =
            self.headers.as_ref().zip(mark).map(|(file, mark)| file.since(mark)).unwrap_or_default();
        let scanner = match matcher.finish() {
            Matched::Whole(scanner) => Some(scanner),
            Matched::Partly(scanner) => {
                observer.notice(&Notice::OutputNotMatched);
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
            interrupted,
            asked: evidence.response.asked(wall()),
            evidence,
            unkept,
            error,
        })
    }

    /// Waits until a time since boot. An INT, TERM, HUP or QUIT ends the wait and is returned.
    ///
    /// # Errors
    /// If poll(2) fails.
    pub(crate) fn pause(
        &mut self,
        until: Duration,
        observer: &mut impl Observer,
    ) -> Result<Option<Signal>, Error> {
        if let Some(signal) = self.too_late.take() {
            return Ok(Some(signal));
        }
        // Orphans may have died while nobody looked, and the attempt has read the CHLD for them.
        let mut children = true;
        loop {
            if let Some(signal) = self.pump.answer_signals(&mut children, observer) {
                return Ok(Some(signal));
            }
            if now() >= until {
                return Ok(None);
            }
            let until = if children { Duration::ZERO } else { until };
            self.pump.wait(Some(until), observer)?;
            self.pump.pass(None, observer);
        }
    }

    /// Passes on the output that was held of the attempt that succeeded.
    ///
    /// # Errors
    /// If not all of it could be kept.
    pub(crate) fn release(&mut self) -> Result<(), Error> {
        let holds_both = self.holds_beside;
        self.pump.watch.release().map_err(|why| Error::Unkept {
            what: if holds_both { "output" } else { "stdout" },
            hint: why.is_of_the_place(),
            directory: why.directory,
            errno: why.errno,
        })
    }

    /// Passes on the first `length` bytes of a file as output for stdout, although nothing has run.
    pub(crate) fn release_file(&mut self, file: File, length: u64) {
        self.pump.watch.release_file(file, length);
    }

    /// Hands the held stdout of the attempt that succeeded to `take`.
    ///
    /// # Errors
    /// The errors of `take`, and those of pread(2).
    pub(crate) fn copy_stdout(&self, take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        self.pump.watch.copy_held(Stream::Stdout, take)
    }

    /// Drops the output that was held of an attempt that failed, and returns its end for the user.
    pub(crate) fn reject(&mut self) -> Option<HeldBack> {
        self.pump.watch.reject()
    }

    /// Passes on the output of the commands that is still on its way, when the run is over. Returns
    /// the signal that ended this, PIPE if nobody reads the output any more.
    ///
    /// # Errors
    /// If output is lost, now or earlier in the run.
    pub(crate) fn finish(
        &mut self,
        deadline: Option<Duration>,
        observer: &mut impl Observer,
    ) -> Result<Option<Signal>, Error> {
        let interrupted = self.too_late.take().or(self.interrupted);
        let passed = drain(&mut self.pump, deadline, interrupted, observer)?;
        match self.lost_output.take().or_else(|| self.pump.watch.take_loss()) {
            Some(error) if passed.is_none() => Err(error),
            Some(_) | None => Ok(passed),
        }
    }

    /// Gives back what retry shares with other processes, when no attempt follows.
    pub(crate) fn leave(&mut self) {
        self.pump.input.leave();
    }
}
