//! Watching: what the command writes to a stream passes through retry, unchanged, in order and at
//! once.
//!
//! The command gets a pipe in place of its stdout or stderr, or a pseudo-terminal in place of a
//! terminal. retry reads the other end and writes on. It reads nothing new before it has written
//! what it read last, so a slow reader slows the command down as it would without retry. When the
//! reader goes away, retry closes its end, and the command gets SIGPIPE as it would without retry.
//!
//! With `--hold`, the bytes of stdout, or of both streams, go to the [`hold`](super::hold) first.
//! Two held streams are read in the order in which they become readable, a part of each in turn.
//!
//! A background process that the command leaves behind may hold its end open. The attempt does not
//! wait for it. retry passes on what it writes for as long as retry runs, and these bytes count for
//! no verdict.

mod polling;

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

use nix::errno::Errno;

use self::polling::Target;
use super::hold::{HeldBack, Hold};
use super::matcher::Matcher;
use super::passage::{Destination, Passage, ROUNDS, Route, Writer};
use super::plan::{Channel, Held, Necessity, is_one_file, plan};
use super::pseudoterminal::{set_size, size};
use super::redirection::{Becomes, Redirection};
use super::sink::Sink;
use super::spool::NotKept;
use super::standard::Standard as _;
use crate::error::{Doing as _, Error};
use crate::policy::stream::{PerStream, Stream, Streams};
use crate::policy::verdict::evidence::Wanted;

/// The streams that are watched, over all attempts.
#[derive(Debug)]
pub(crate) struct Watch {
    channels: Vec<Channel>,
    sinks: PerStream<Sink>,
    /// The open channels, those of earlier attempts first.
    passages: Vec<Passage>,
    /// The descriptors of the last poll.
    polled: Vec<Target>,
    /// The last poll says that bytes can move.
    can_move: bool,
    part: Vec<u8>,
    hold: Option<Hold>,
    /// The held stream that became readable first. None if one stream is held, or none.
    first: Option<Stream>,
    /// stdout and stderr are the same file, pipe or terminal.
    is_one_file: bool,
    /// Whether the last bytes that went to the file of stderr ended within a line. None if none
    /// went there since the last [`take_unfinished`](Self::take_unfinished).
    unfinished: Option<bool>,
    /// Why stdout could not be written, if somebody still reads it.
    failed: Option<Errno>,
    /// Why bytes of a command are lost although the run goes on.
    lost: Option<Error>,
}

impl Watch {
    /// Decides which streams to watch, and which to hold.
    pub(crate) fn new(wanted: &Wanted, hold: Option<Held>) -> Self {
        let channels = plan(wanted, hold);
        let held = channels.iter().filter(|channel| channel.is_held());
        Self {
            is_one_file: !channels.is_empty() && is_one_file(),
            hold: hold.filter(|_| held.clone().count() > 0).map(|hold| Hold::new(hold.streams())),
            first: (held.count() > 1).then_some(Stream::Stdout),
            channels,
            sinks: PerStream::each(Sink::new),
            passages: Vec::new(),
            polled: Vec::new(),
            can_move: false,
            part: Vec::new(),
            unfinished: None,
            failed: None,
            lost: None,
        }
    }

    /// Whether one channel carries the bytes of both streams.
    pub(crate) fn merged(&self) -> bool {
        self.channels.iter().any(|channel| channel.carries == Streams::Both)
    }

    /// Opens the channels of this necessity for the command of the next attempt. It leaves out
    /// optional channels for which the system has no room.
    ///
    /// # Errors
    /// If the system has no descriptor or no pseudo-terminal left.
    pub(crate) fn open(&mut self, necessity: Necessity) -> Result<Vec<Redirection>, Error> {
        let mut redirections = Vec::new();
        for channel in self.channels.clone().into_iter().filter(|channel| channel.necessity == necessity) {
            match self.open_channel(channel) {
                Ok(redirection) => redirections.push(redirection),
                Err(_) if necessity == Necessity::Optional => {}
                // The terminal has been hung up.
                Err(Errno::EIO) if channel.is_terminal() => {}
                Err(errno) if channel.is_terminal() => {
                    return Err(errno).doing("cannot open a pseudo-terminal");
                }
                Err(errno) => return Err(errno).doing("cannot open a pipe"),
            }
        }
        Ok(redirections)
    }

    /// Opens a channel for the output of `--check` or `--on-retry`, if stderr is held.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub(crate) fn open_beside(&mut self) -> nix::Result<Option<Redirection>> {
        let held =
            self.channels.iter().find(|channel| channel.is_held() && channel.carries != Streams::Stdout);
        let channel = held.map(|channel| Channel { carries: Streams::Both, ..*channel });
        channel.map(|channel| self.open_channel(channel)).transpose()
    }

    fn open_channel(&mut self, channel: Channel) -> nix::Result<Redirection> {
        let opened = loop {
            match channel.open() {
                Err(Errno::EMFILE | Errno::ENFILE) if self.drop_earlier() => {}
                opened => break opened?,
            }
        };
        self.passages.push(Passage::new(opened.ours, channel, opened.capacity)?);
        Ok(Redirection::new(opened.theirs, Becomes::Output(channel.carries)))
    }

    /// Closes the channel of an earlier attempt, first one whose bytes have all been passed on.
    /// Returns whether there was one.
    fn drop_earlier(&mut self) -> bool {
        let is_earlier = |passage: &Passage| passage.writer != Writer::Attempt;
        let is_drained = |passage: &Passage| is_earlier(passage) && passage.is_drained();
        let oldest =
            self.passages.iter().position(is_drained).or_else(|| self.passages.iter().position(is_earlier));
        let Some(oldest) = oldest else { return false };
        let passage = self.passages.remove(oldest);
        if !passage.is_drained() {
            self.lost.get_or_insert(unread(passage.channel.to));
        }
        true
    }

    /// Closes the channels that were opened for an attempt that does not begin.
    pub(crate) fn close(&mut self) {
        self.passages.retain(|passage| passage.writer != Writer::Attempt);
    }

    /// Closes a descriptor that writing can do without. Returns whether there was one.
    pub(crate) fn spare_descriptor(&mut self) -> bool {
        self.sinks.iter_mut().any(|(_, sink)| sink.spare_descriptor())
    }

    /// Moves what can be moved now, and shows the `matcher` the bytes of the attempt that runs. If
    /// lines of retry's own wait for stderr (`waiting`), they go before held bytes.
    pub(crate) fn turn(&mut self, mut matcher: Option<&mut Matcher>, waiting: bool) {
        if self.passages.is_empty() && self.hold.is_none() {
            return;
        }
        let mut passages = std::mem::take(&mut self.passages);
        let (times, rounds) = if self.first.is_some() { (ROUNDS, 1) } else { (1, ROUNDS) };
        let mut first = self.first.unwrap_or(Stream::Stdout);
        for _ in 0..times {
            let before = self.hold.as_ref().map(Hold::length);
            for to in [first, first.other()] {
                self.move_to(to, &mut passages, rounds, matcher.as_deref_mut());
            }
            if before == self.hold.as_ref().map(Hold::length) {
                break;
            }
            // Nobody knows which of the next parts came first. Errors are often about the output
            // before them.
            first = Stream::Stdout;
        }
        self.passages = passages;
        self.pass_held(waiting);
    }

    /// Whether the last poll says that bytes can move.
    pub(crate) fn can_move(&self) -> bool {
        self.can_move
    }

    /// Moves what can be moved now to one of retry's own streams, at most this many parts from each
    /// passage. Drops passages that are over.
    fn move_to(
        &mut self,
        to: Stream,
        passages: &mut Vec<Passage>,
        rounds: usize,
        mut matcher: Option<&mut Matcher>,
    ) {
        let (mut is_gone, mut is_blocked) = (false, false);
        for passage in passages.iter_mut().filter(|passage| passage.channel.to == to) {
            // Bytes that were written earlier go first.
            if !is_blocked {
                is_gone |= self.move_on(passage, rounds, matcher.as_deref_mut()).is_err();
                is_blocked |= !passage.pending.is_empty();
            }
        }
        passages.retain(|passage| passage.channel.to != to || !(is_gone || passage.is_over()));
    }

    /// Moves what can be moved now through one passage.
    ///
    /// # Errors
    /// If the sink takes nothing any more.
    fn move_on(
        &mut self,
        passage: &mut Passage,
        rounds: usize,
        matcher: Option<&mut Matcher>,
    ) -> Result<(), Errno> {
        let to = passage.channel.to;
        let destination = match (passage.route(), &mut self.hold) {
            (Route::Hold, Some(hold)) => Destination::Hold(hold, to),
            (Route::Nowhere, _) => Destination::Nowhere,
            (Route::Sink | Route::Hold, _) => Destination::Sink(&mut self.sinks[to]),
        };
        let matcher = matcher.filter(|_| passage.writer == Writer::Attempt);
        let moved = passage.move_on(destination, rounds, &mut self.part, matcher);
        if let Err(errno) = moved
            && to == Stream::Stdout
            && !passage.means_no_reader(errno)
        {
            self.failed.get_or_insert(errno);
        }
        if let Some(errno) = passage.lost.take() {
            self.lost.get_or_insert(Error::System { what: "cannot write to stderr", errno });
        }
        self.note_unfinished(to);
        moved
    }

    /// Passes on held bytes that have been released. If lines of retry's own wait for stderr, they
    /// go before.
    fn pass_held(&mut self, waiting: bool) {
        let Some(hold) = &mut self.hold else { return };
        let blocked = PerStream { stdout: waiting && self.is_one_file, stderr: waiting };
        match hold.pass(&mut self.sinks, blocked) {
            Ok(()) => {}
            Err((Stream::Stdout, errno)) => drop(self.failed.get_or_insert(errno)),
            Err((Stream::Stderr, errno)) => {
                self.lost.get_or_insert(Error::System { what: "cannot write to stderr", errno });
            }
        }
        self.note_unfinished(Stream::Stdout);
        self.note_unfinished(Stream::Stderr);
    }

    /// Notes whether the file of stderr is within a line, if bytes have gone there.
    fn note_unfinished(&mut self, to: Stream) {
        if to == Stream::Stderr || self.is_one_file {
            self.unfinished = self.sinks[to].take_unfinished().or(self.unfinished);
        }
    }

    /// Whether the last line that went to the file of stderr is unfinished. None if nothing went
    /// there since the last call.
    pub(crate) fn take_unfinished(&mut self) -> Option<bool> {
        self.unfinished.take()
    }

    /// Whether bytes wait that must reach stderr before any line of retry's own.
    pub(crate) fn holds_stderr(&self) -> bool {
        let is_for_stderr = |passage: &Passage| {
            passage.channel.to == Stream::Stderr || passage.channel.carries == Streams::Both
        };
        self.passages.iter().any(|passage| is_for_stderr(passage) && !passage.pending.is_empty())
    }

    /// Why bytes of a command were lost although the run went on, if any were.
    pub(crate) fn take_loss(&mut self) -> Option<Error> {
        self.lost.take()
    }

    /// Why stdout could not be written since the last call, if it could not.
    pub(crate) fn take_failure(&mut self) -> Option<Errno> {
        self.failed.take()
    }

    /// Gives up the bytes that commands have written and nobody has read.
    ///
    /// # Errors
    /// If there are any.
    pub(crate) fn give_up(&mut self) -> Result<(), Error> {
        let is_owed = |stream: Stream| {
            self.passages.iter().any(|passage| passage.channel.to == stream && !passage.is_drained())
        };
        match self.next_held() {
            Some(stream) => Err(unread(stream)),
            None if is_owed(Stream::Stdout) => Err(unread(Stream::Stdout)),
            None if is_owed(Stream::Stderr) => Err(unread(Stream::Stderr)),
            None => Ok(()),
        }
    }

    /// The reader of a stream has gone, so retry closes the command's channels to it.
    fn reader_gone(&mut self, stream: Stream) {
        if let Some(hold) = &mut self.hold {
            hold.reader_gone(stream);
            // Bytes that the attempt has written already count as written for nobody.
            let is_held = |passage: &&mut Passage| passage.channel.is_held() && passage.channel.to == stream;
            for passage in self.passages.iter_mut().filter(is_held) {
                if passage.writer == Writer::Attempt {
                    let to = Destination::Hold(hold, stream);
                    let _ = passage.move_on(to, ROUNDS, &mut self.part, None);
                }
            }
        }
        self.passages.retain(|passage| passage.channel.to != stream);
    }

    /// Whether all that the commands wrote has been passed on. It is known after a
    /// [`turn`](Self::turn) that follows the command's end.
    pub(crate) fn is_drained(&self) -> bool {
        self.next_held().is_none() && self.passages.iter().all(Passage::is_drained)
    }

    /// How many bytes of commands that have ended may not have been passed on.
    pub(crate) fn owed(&self) -> u64 {
        let passages: usize = self.passages.iter().filter_map(|passage| passage.owed).sum();
        let held = self.hold.as_ref().map_or(0, Hold::left);
        held.saturating_add(u64::try_from(passages).unwrap_or(u64::MAX))
    }

    /// The stream that held bytes are on their way to, if any are.
    pub(crate) fn next_held(&self) -> Option<Stream> {
        self.hold.as_ref().and_then(Hold::next)
    }

    /// A stream that held bytes could not reach, because nobody reads it any more.
    pub(crate) fn lost_held(&self) -> Option<Stream> {
        self.hold.as_ref().and_then(Hold::lost)
    }

    /// The attempt has succeeded: its held bytes may pass.
    ///
    /// # Errors
    /// If not all of them could be kept.
    pub(crate) fn release(&mut self) -> Result<(), NotKept> {
        if let Some(hold) = &mut self.hold {
            for passage in self.passages.iter_mut().filter(|passage| passage.route() == Route::Hold) {
                // A limit may have come before retry had read everything. Holding never waits, so
                // this ends.
                let stream = passage.channel.to;
                while !passage.is_drained()
                    && passage.move_on(Destination::Hold(hold, stream), ROUNDS, &mut self.part, None).is_ok()
                {
                }
            }
        }
        self.drop_remainder();
        self.hold.as_mut().map_or(Ok(()), Hold::release)
    }

    /// The first `length` bytes of a file are passed on in place of held bytes.
    pub(crate) fn release_file(&mut self, file: File, length: u64) {
        if let Some(hold) = &mut self.hold {
            hold.release_file(file, length);
        }
    }

    /// Hands all held bytes for a stream to `take`.
    ///
    /// # Errors
    /// The errors of `take`, and those of pread(2).
    pub(crate) fn copy_held(
        &self,
        stream: Stream,
        take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.hold.as_ref().map_or(Ok(()), |hold| hold.copy(stream, take))
    }

    /// The attempt has failed. Returns its held bytes, if there are any.
    pub(crate) fn reject(&mut self) -> Option<HeldBack> {
        self.drop_remainder();
        self.hold.as_mut().and_then(Hold::reject)
    }

    /// The verdict is known. Bytes that still come through a held channel are dropped.
    fn drop_remainder(&mut self) {
        for passage in self.passages.iter_mut().filter(|passage| passage.channel.is_held()) {
            passage.writer = Writer::Remainder;
            passage.waits_for_matcher = false;
        }
    }

    /// The command has ended, and retry has not yet read all that it wrote.
    pub(crate) fn command_ended(&mut self) {
        self.passages.iter_mut().for_each(Passage::command_ended);
    }

    /// The attempt is over. Bytes that still come belong to the processes that it has left behind.
    ///
    /// # Errors
    /// If bytes of the attempt could not be written to stdout.
    pub(crate) fn attempt_over(&mut self) -> Result<(), Error> {
        // The command may live on: retry cannot end a process of another user.
        self.command_ended();
        for passage in self.passages.iter_mut().filter(|passage| passage.writer == Writer::Attempt) {
            passage.writer = Writer::EndedAttempt;
            passage.waits_for_matcher = false;
        }
        self.take_failure().map_or(Ok(()), Err).doing("cannot write to stdout")
    }

    /// Whether the command has a pseudo-terminal, which follows the size of the terminal.
    pub(crate) fn has_terminal(&self) -> bool {
        self.passages.iter().any(|passage| passage.channel.is_terminal())
    }

    /// Gives pseudo-terminals the size of the terminal. Returns whether the size of any has
    /// changed.
    pub(crate) fn resize(&self) -> bool {
        let mut changed = false;
        for passage in self.passages.iter().filter(|passage| passage.channel.is_terminal()) {
            let (Some(now), Some(before)) = (size(passage.channel.to.fd()), size(passage.fd.as_fd())) else {
                continue;
            };
            changed |= now != before && set_size(passage.fd.as_fd(), now);
        }
        changed
    }
}

fn unread(stream: Stream) -> Error {
    Error::Unread { stream: stream.name() }
}
