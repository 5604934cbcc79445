//! Watching: what the command writes to a stream passes through retry, unchanged, in order and at once.
//!
//! The command gets a pipe in place of its stdout or stderr, or a pseudo-terminal where that is a terminal,
//! and retry reads the other end and writes on. Nothing is read before what was read last is written, so
//! the command feels a slow reader as it would without retry. When the reader is gone, retry closes its
//! end, and the command gets SIGPIPE as it would without retry.
//!
//! With `--hold` what it writes to stdout goes to [`hold`](super::hold) instead of on.
//!
//! A background process that the command leaves behind may hold its end open. The attempt does not wait for
//! it; what it writes is passed on for as long as retry runs, and counts for no verdict.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::PollFlags;

use super::hold::{HeldBack, Hold};
use super::matcher::Matcher;
use super::passage::{Goal, Of, Passage};
use super::plan::{Planned, identity, plan};
use super::polled::{Interest, Polled, has_gone};
use super::pseudoterminal::{set_size, size};
use super::sink::Sink;
use super::spool::NotKept;
use super::standard::Standard as _;
use crate::clock::now;
use crate::error::{Doing as _, Error};
use crate::policy::stream::{PerStream, Stream, Streams};
use crate::policy::verdict::evidence::Wanted;

/// The streams that are watched, over all attempts.
#[derive(Debug)]
pub(crate) struct Watch {
    plan: Vec<Planned>,
    sinks: PerStream<Sink>,
    sources: Vec<Passage>,
    /// The descriptors that are polled.
    polled: Vec<Target>,
    part: Vec<u8>,
    /// What the attempt has written to stdout, where that is held.
    hold: Option<Hold>,
    /// stdout and stderr are the same file, pipe or terminal.
    same: bool,
    /// Whether what was passed on to where stderr goes ended within a line, since this was asked last.
    unfinished: Option<bool>,
    /// Why stdout could not be written to, if not for want of a reader.
    failed: Option<Errno>,
    /// Why bytes of a command are lost although the run goes on.
    lost: Option<Error>,
}

/// The command's ends of what it writes to, and which of its descriptors each becomes.
pub(crate) type Ends = Vec<(OwnedFd, &'static [i32])>;

/// How often to look whether the matcher has room. It makes room in about this time if its patterns are
/// quick.
const MATCHER_PAUSE: Duration = Duration::from_millis(2);

/// A descriptor that is polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// The source at this place in the list.
    Source(usize),
    Sink(Stream),
}

/// The state of one source, as far as it decides what is polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Traffic {
    to: Stream,
    /// Bytes of it wait for room in the sink.
    pending: bool,
    held: bool,
    waits_for_matcher: bool,
}

/// Decides what to poll, and for which events. A source is read only if nothing waits for room in its sink:
/// bytes keep their order. A sink is polled for room only if bytes wait for it, but always for the loss of
/// its reader. `holds` tells that held bytes are on their way to stdout.
fn targets(sources: &[Traffic], holds: bool) -> Vec<(Target, PollFlags)> {
    let mut full = PerStream { stdout: holds, stderr: false };
    let mut used = full;
    let mut targets = Vec::new();
    for (place, source) in sources.iter().enumerate() {
        used[source.to] = true;
        full[source.to] |= source.pending;
        if (!full[source.to] || source.held) && !source.waits_for_matcher {
            targets.push((Target::Source(place), PollFlags::POLLIN));
        }
    }
    for stream in [Stream::Stdout, Stream::Stderr].into_iter().filter(|stream| used[*stream]) {
        let flags = if full[stream] { PollFlags::POLLOUT } else { PollFlags::empty() };
        targets.push((Target::Sink(stream), flags));
    }
    targets
}

impl Watch {
    /// Sees which streams there are to watch; with `hold` stdout is held.
    pub(crate) fn new(wanted: &Wanted, hold: bool) -> Self {
        let plan = plan(wanted, hold);
        Self {
            same: !plan.is_empty() && identity(Stream::Stdout) == identity(Stream::Stderr),
            unfinished: None,
            hold: plan.iter().any(|planned| planned.held).then(Hold::default),
            plan,
            sinks: PerStream::each(Sink::new),
            sources: Vec::new(),
            polled: Vec::new(),
            part: Vec::new(),
            failed: None,
            lost: None,
        }
    }

    /// Whether stderr carries stdout's bytes too.
    pub(crate) fn merged(&self) -> bool {
        self.plan.iter().any(|planned| planned.carries == Streams::Both)
    }

    /// Opens the streams that the command of the next attempt writes to: those that are required, or those that
    /// only a profile wants, which are left out if the system has no room for them.
    ///
    /// # Errors
    /// When the system has no descriptor or no pseudo-terminal left.
    pub(crate) fn open(&mut self, required: bool) -> Result<Ends, Error> {
        let mut ends = Vec::new();
        if let Some(hold) = self.hold.as_mut().filter(|_| required) {
            hold.begin();
        }
        for planned in self.plan.clone().into_iter().filter(|planned| planned.required == required) {
            match self.open_one(planned) {
                Ok(end) => ends.push(end),
                // EIO: the terminal has been hung up.
                Err(errno) if !planned.required || (planned.terminal && errno == Errno::EIO) => {}
                Err(errno) if planned.terminal => return Err(errno).doing("cannot open a pseudo-terminal"),
                Err(errno) => return Err(errno).doing("cannot open a pipe"),
            }
        }
        Ok(ends)
    }

    /// Closes what was opened for an attempt that does not begin.
    pub(crate) fn close(&mut self) {
        self.sources.retain(|source| source.of != Of::Current);
    }

    /// Closes a descriptor that passing on can do without. Tells whether there was one.
    pub(crate) fn spare_descriptor(&mut self) -> bool {
        self.sinks.iter_mut().any(|(_, sink)| sink.spare_descriptor())
    }

    fn open_one(&mut self, planned: Planned) -> nix::Result<(OwnedFd, &'static [i32])> {
        let (ours, theirs, holds) = loop {
            let opened = planned.open();
            // Earlier attempts may have to do without: at first those whose output has all been passed on.
            let earlier = |source: &Passage| source.of != Of::Current;
            let drained = |source: &Passage| earlier(source) && source.is_drained();
            let spare = self.sources.iter().position(drained).or(self.sources.iter().position(earlier));
            match (opened, spare) {
                (Err(Errno::EMFILE | Errno::ENFILE), Some(oldest)) => {
                    let source = self.sources.remove(oldest);
                    if !source.is_drained() {
                        self.lost.get_or_insert(unread(source.planned.to));
                    }
                }
                (opened, _) => break opened?,
            }
        };
        let flags = fcntl(&ours, FcntlArg::F_GETFL).map_or(OFlag::empty(), OFlag::from_bits_retain);
        fcntl(&ours, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        self.sources.push(Passage {
            fd: ours,
            planned,
            pending: Vec::new(),
            of: Of::Current,
            ended: false,
            holds,
            owed: None,
            lost: None,
            waits_for_matcher: false,
        });
        let targets: &'static [i32] = match planned.carries {
            Streams::Stdout => &[1],
            Streams::Stderr => &[2],
            Streams::Both => &[1, 2],
        };
        Ok((theirs, targets))
    }

    /// Moves what can be moved now. What passes of the attempt that runs is shown to `matcher`. Where lines of
    /// retry's own wait for stderr (`waiting`), they go before what was held.
    pub(crate) fn turn(&mut self, mut matcher: Option<&mut Matcher>, waiting: bool) {
        let Self { sinks, sources, part, hold, same, failed, lost: unseen, unfinished, .. } = self;
        if sources.is_empty() && hold.is_none() {
            return;
        }
        let mut lost = PerStream::default();
        let mut blocked = PerStream::default();
        for source in sources.iter_mut() {
            let to = source.planned.to;
            if blocked[to] {
                // What was written first goes first.
                continue;
            }
            let matcher = matcher.as_deref_mut().filter(|_| source.of == Of::Current);
            let goal = match (&mut *hold, source.of) {
                (Some(hold), Of::Current | Of::Ended) if source.planned.held => Goal::Hold(hold),
                (_, Of::Left) => Goal::Nowhere,
                (_, Of::Current | Of::Ended) => Goal::Sink(&mut sinks[to]),
            };
            if let Err(errno) = source.move_on(goal, part, matcher) {
                lost[to] = true;
                if source.planned.to == Stream::Stdout && !source.says_gone(errno) {
                    failed.get_or_insert(errno);
                }
            }
            if let Some(errno) = source.lost.take() {
                unseen.get_or_insert(Error::System { what: "cannot write to stderr", errno });
            }
            blocked[to] |= !source.pending.is_empty();
            if source.planned.to == Stream::Stderr || *same {
                *unfinished = sinks[to].take_unfinished().or(*unfinished);
            }
        }
        if let Some(hold) = hold
            && !(waiting && *same)
        {
            match hold.pass(&mut sinks.stdout) {
                Ok(()) => {}
                Err(Errno::EPIPE | Errno::ECONNRESET) => hold.reader_gone(),
                Err(errno) => drop(failed.get_or_insert(errno)),
            }
            if *same {
                *unfinished = sinks.stdout.take_unfinished().or(*unfinished);
            }
        }
        sources.retain(|source| !lost[source.planned.to] && (!source.ended || !source.pending.is_empty()));
    }

    /// Gives up what commands have written and nobody has read, and tells of it.
    ///
    /// # Errors
    /// Where there is something.
    pub(crate) fn give_up(&mut self) -> Result<(), Error> {
        let undrained = |stream: Stream| {
            self.sources.iter().any(|source| source.planned.to == stream && !source.is_drained())
        };
        if self.passes_held() || undrained(Stream::Stdout) {
            return Err(unread(Stream::Stdout));
        }
        if undrained(Stream::Stderr) { Err(unread(Stream::Stderr)) } else { Ok(()) }
    }

    /// Why bytes of a command were lost although the run went on, if any were.
    pub(crate) fn take_loss(&mut self) -> Option<Error> {
        self.lost.take()
    }

    /// Whether the last line that was passed on to where stderr goes is unfinished, if something was passed on
    /// since this was asked last.
    pub(crate) fn take_unfinished(&mut self) -> Option<bool> {
        self.unfinished.take()
    }

    /// Whether bytes wait that must reach stderr before anything else does.
    pub(crate) fn holds_stderr(&self) -> bool {
        let to_stderr =
            |source: &Passage| source.planned.to == Stream::Stderr || source.planned.carries == Streams::Both;
        self.sources.iter().any(|source| to_stderr(source) && !source.pending.is_empty())
    }

    /// Whether a pseudo-terminal stands for a terminal, whose size has to be followed.
    pub(crate) fn has_terminal(&self) -> bool {
        self.sources.iter().any(|source| source.planned.terminal)
    }

    /// The reader of a stream has gone: so it has for the command.
    fn reader_gone(&mut self, stream: Stream) {
        if let Some(hold) = self.hold.as_mut().filter(|_| stream == Stream::Stdout) {
            hold.reader_gone();
            // What has been written would have met nobody: that it was is known by this.
            for source in self.sources.iter_mut().filter(|source| source.planned.held) {
                if source.of == Of::Current {
                    let _ = source.move_on(Goal::Hold(hold), &mut self.part, None);
                }
            }
        }
        self.sources.retain(|source| source.planned.to != stream);
    }

    /// Whether all that the commands wrote has been passed on. Asked after their end, and after a
    /// [`turn`](Self::turn).
    pub(crate) fn is_drained(&self) -> bool {
        !self.passes_held() && self.sources.iter().all(Passage::is_drained)
    }

    /// Whether held bytes are on their way to stdout.
    pub(crate) fn passes_held(&self) -> bool {
        self.hold.as_ref().is_some_and(|hold| hold.left() > 0)
    }

    /// Whether held bytes cannot reach stdout, as nobody reads it any more.
    pub(crate) fn lost_held(&self) -> bool {
        self.hold.as_ref().is_some_and(Hold::is_lost)
    }

    /// The attempt has succeeded: what was held of it may pass.
    ///
    /// # Errors
    /// Where not all of it could be kept.
    pub(crate) fn release(&mut self) -> Result<(), NotKept> {
        if let Some(hold) = &mut self.hold {
            for source in self.sources.iter_mut().filter(|source| source.planned.held && !source.is_left()) {
                // A limit may have come before all was read. Holding never waits, so this ends.
                while !source.is_drained() && source.move_on(Goal::Hold(hold), &mut self.part, None).is_ok() {
                }
            }
        }
        self.leave_held();
        self.hold.as_mut().map_or(Ok(()), Hold::release)
    }

    /// The attempt has failed: what was held of it, if it was anything. What it left behind writes for nobody.
    pub(crate) fn reject(&mut self) -> Option<HeldBack> {
        self.leave_held();
        self.hold.as_mut().and_then(Hold::reject)
    }

    /// What is written from now on where an attempt's output was held is nobody's.
    fn leave_held(&mut self) {
        for source in self.sources.iter_mut().filter(|source| source.planned.held) {
            source.of = Of::Left;
            source.waits_for_matcher = false;
        }
    }

    /// Why something could not be written to stdout since this was asked last.
    pub(crate) fn take_failure(&mut self) -> Option<Errno> {
        self.failed.take()
    }

    /// The command has ended: what is on the way now is all that it wrote.
    pub(crate) fn command_ended(&mut self) {
        for source in
            self.sources.iter_mut().filter(|source| source.of == Of::Current && source.owed.is_none())
        {
            // The command may have made its pipe larger (fcntl(2), F_SETPIPE_SZ).
            let now =
                fcntl(&source.fd, FcntlArg::F_GETPIPE_SZ).ok().and_then(|size| usize::try_from(size).ok());
            source.owed = Some(source.pending.len() + source.holds.max(now.unwrap_or(0)));
        }
    }

    /// How many bytes of commands that have ended may not have been passed on.
    pub(crate) fn owed(&self) -> u64 {
        let sources: usize = self.sources.iter().filter_map(|source| source.owed).sum();
        let held = self.hold.as_ref().map_or(0, Hold::left);
        held.saturating_add(u64::try_from(sources).unwrap_or(u64::MAX))
    }

    /// The attempt is over: what still comes belongs to what it left behind.
    ///
    /// # Errors
    /// Where bytes of it could not be passed on to stdout.
    pub(crate) fn attempt_over(&mut self) -> Result<(), Error> {
        // It may live on: a process of another user, which retry could not end.
        self.command_ended();
        for source in self.sources.iter_mut().filter(|source| source.of == Of::Current) {
            source.of = Of::Ended;
            source.waits_for_matcher = false;
        }
        self.take_failure().map_or(Ok(()), Err).doing("cannot write to stdout")
    }

    /// Gives pseudo-terminals the size of the terminal. Tells whether any had another.
    pub(crate) fn resize(&self) -> bool {
        let mut changed = false;
        for source in self.sources.iter().filter(|source| source.planned.terminal) {
            let (Some(now), Some(before)) = (size(source.planned.to.fd()), size(source.fd.as_fd())) else {
                continue;
            };
            changed |= now != before && set_size(source.fd.as_fd(), now);
        }
        changed
    }
}

impl Polled for Watch {
    fn interests(&mut self) -> Vec<Interest<'_>> {
        let traffic: Vec<Traffic> = self.sources.iter().map(Traffic::of).collect();
        let targets = targets(&traffic, self.passes_held());
        self.polled = targets.iter().map(|(target, _)| *target).collect();
        let Self { sources, sinks, .. } = self;
        let mut sinks = PerStream { stdout: Some(&mut sinks.stdout), stderr: Some(&mut sinks.stderr) };
        let interest = |(target, flags)| {
            let fd = match target {
                Target::Source(place) => sources.get(place)?.fd.as_fd(),
                Target::Sink(stream) => sinks[stream].take()?.fd(),
            };
            Some(Interest { fd, flags })
        };
        targets.into_iter().filter_map(interest).collect()
    }

    fn ready(&mut self, events: &[PollFlags]) {
        for (target, events) in std::mem::take(&mut self.polled).into_iter().zip(events) {
            match target {
                Target::Sink(stream) if has_gone(*events) => self.reader_gone(stream),
                Target::Sink(_) | Target::Source(_) => {}
            }
        }
    }

    fn wake_at(&self) -> Option<Duration> {
        // A matcher that has room again wakes nobody.
        let waits = self.sources.iter().any(|source| source.waits_for_matcher);
        waits.then(|| now().saturating_add(MATCHER_PAUSE))
    }
}

impl Traffic {
    fn of(source: &Passage) -> Self {
        Self {
            to: source.planned.to,
            pending: !source.pending.is_empty(),
            held: source.planned.held,
            waits_for_matcher: source.waits_for_matcher,
        }
    }
}

/// That this stream was not read to the end.
fn unread(stream: Stream) -> Error {
    Error::Unread { stream: stream.name() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Traffic =
        Traffic { to: Stream::Stdout, pending: false, held: false, waits_for_matcher: false };

    /// The places of the sources that are read, and whether each sink is polled for room.
    fn polled(sources: &[Traffic], holds: bool) -> (Vec<usize>, Vec<(Stream, bool)>) {
        let (mut read, mut sinks) = (Vec::new(), Vec::new());
        for (target, flags) in targets(sources, holds) {
            match target {
                Target::Source(place) => {
                    assert_eq!(flags, PollFlags::POLLIN);
                    read.push(place);
                }
                Target::Sink(stream) => sinks.push((stream, flags == PollFlags::POLLOUT)),
            }
        }
        (read, sinks)
    }

    #[test]
    fn a_source_is_read_unless_bytes_wait_before_it() {
        use Stream::{Stderr, Stdout};
        let full = Traffic { pending: true, ..IDLE };
        let stderr = Traffic { to: Stderr, ..IDLE };
        let held = Traffic { held: true, ..IDLE };
        let slow = Traffic { waits_for_matcher: true, ..IDLE };
        assert_eq!(polled(&[], false), (vec![], vec![]));
        assert_eq!(polled(&[IDLE], false), (vec![0], vec![(Stdout, false)]));
        assert_eq!(polled(&[full], false), (vec![], vec![(Stdout, true)]));
        // An earlier attempt's source comes first in the list.
        assert_eq!(polled(&[full, IDLE, stderr], false), (vec![2], vec![(Stdout, true), (Stderr, false)]));
        assert_eq!(polled(&[IDLE, full, stderr], false), (vec![0, 2], vec![(Stdout, true), (Stderr, false)]));
        assert_eq!(polled(&[slow, stderr], false), (vec![1], vec![(Stdout, false), (Stderr, false)]));
        // Held output that passes fills stdout, and does not keep retry from reading what is to be held.
        assert_eq!(polled(&[], true), (vec![], vec![(Stdout, true)]));
        assert_eq!(polled(&[IDLE], true), (vec![], vec![(Stdout, true)]));
        assert_eq!(polled(&[held, stderr], true), (vec![0, 1], vec![(Stdout, true), (Stderr, false)]));
    }
}
