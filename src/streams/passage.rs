//! The way of the bytes of one channel: from the command to the sink or into the hold.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::read;

use super::hold::Hold;
use super::matcher::Matcher;
use super::plan::Channel;
use super::sink::Sink;
use crate::policy::stream::Stream;

/// How many bytes are read at a time.
const PART: usize = 64 * 1024;

/// How many parts are read from one channel before the caller looks at signals and the clock again.
pub(crate) const ROUNDS: usize = 16;

/// Our end of a channel to which the command, or a process that it has left behind, may still
/// write.
#[derive(Debug)]
pub(crate) struct Passage {
    pub(crate) fd: OwnedFd,
    pub(crate) channel: Channel,
    pub(crate) writer: Writer,
    /// Bytes that were read and not yet written.
    pub(crate) pending: Vec<u8>,
    /// Nobody has the other end open.
    pub(crate) ended: bool,
    /// How many bytes the channel can hold.
    capacity: usize,
    /// How many bytes of a command that has ended may not have been passed on. None while it runs.
    pub(crate) owed: Option<usize>,
    /// Why bytes for stderr could not be written. They are gone, and the command was not stopped.
    pub(crate) lost: Option<Errno>,
    /// No more is read before the matcher has room.
    pub(crate) waits_for_matcher: bool,
}

/// Whose bytes come through a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    /// The attempt that runs. Its bytes count for the verdict.
    Attempt,
    /// An attempt that has ended. Its bytes must not be lost silently.
    EndedAttempt,
    /// A process that an attempt with held output has left behind. Its bytes are dropped.
    Remainder,
}

/// The decision where the bytes of a channel go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Sink,
    Hold,
    Nowhere,
}

/// A place for bytes, by [`Route`].
pub(crate) enum Destination<'a> {
    Sink(&'a mut Sink),
    /// The hold, for this stream.
    Hold(&'a mut Hold, Stream),
    Nowhere,
}

impl Destination<'_> {
    /// Writes as much as there is room for. Returns 0 if there is none.
    ///
    /// # Errors
    /// The errors of [`Sink::write`] except EAGAIN.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        match self {
            Self::Sink(sink) => match sink.write(bytes) {
                Err(Errno::EAGAIN) => Ok(0),
                written => written,
            },
            Self::Hold(hold, stream) => {
                hold.push(*stream, bytes);
                Ok(bytes.len())
            }
            Self::Nowhere => Ok(bytes.len()),
        }
    }
}

/// The result of reading more.
enum Reading {
    /// This many bytes were read.
    Bytes(usize),
    /// No bytes now, or none any more.
    Nothing,
    Interrupted,
}

impl Passage {
    /// The passage of a channel that was opened for the attempt that begins.
    ///
    /// # Errors
    /// If fcntl(2) fails.
    pub(crate) fn new(ours: OwnedFd, channel: Channel, capacity: usize) -> nix::Result<Self> {
        let flags = fcntl(&ours, FcntlArg::F_GETFL).map_or(OFlag::empty(), OFlag::from_bits_retain);
        fcntl(&ours, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(Self {
            fd: ours,
            channel,
            writer: Writer::Attempt,
            pending: Vec::new(),
            ended: false,
            capacity,
            owed: None,
            lost: None,
            waits_for_matcher: false,
        })
    }

    /// Decides where the bytes go.
    pub(crate) fn route(&self) -> Route {
        match self.writer {
            Writer::Remainder => Route::Nowhere,
            Writer::Attempt | Writer::EndedAttempt if self.channel.is_held() => Route::Hold,
            Writer::Attempt | Writer::EndedAttempt => Route::Sink,
        }
    }

    /// Whether all that a command which has ended wrote has been passed on.
    pub(crate) fn is_drained(&self) -> bool {
        match self.owed {
            Some(owed) => owed == 0,
            None => self.writer != Writer::Attempt,
        }
    }

    /// Whether nothing more can come.
    pub(crate) fn is_over(&self) -> bool {
        self.ended && self.pending.is_empty()
    }

    /// The command has ended. At most a full channel, and the pending bytes, are still to be passed
    /// on.
    pub(crate) fn command_ended(&mut self) {
        if self.writer == Writer::Attempt && self.owed.is_none() {
            // The command may have made its pipe larger (fcntl(2), F_SETPIPE_SZ).
            let now =
                fcntl(&self.fd, FcntlArg::F_GETPIPE_SZ).ok().and_then(|size| usize::try_from(size).ok());
            self.owed = Some(self.pending.len() + self.capacity.max(now.unwrap_or(0)));
        }
    }

    /// This many bytes have been passed on. They come in order, so the command's bytes come before
    /// those of the processes that it has left behind.
    fn passed(&mut self, written: usize) {
        self.owed = self.owed.map(|owed| owed.saturating_sub(written));
    }

    /// The channel is empty: only pending bytes are owed.
    fn is_dry(&mut self) {
        self.owed = self.owed.map(|owed| owed.min(self.pending.len()));
    }

    /// Writes the pending bytes, and reads and writes on, at most this many parts.
    ///
    /// # Errors
    /// The error of a sink that takes nothing any more.
    pub(crate) fn move_on(
        &mut self,
        mut to: Destination<'_>,
        rounds: usize,
        part: &mut Vec<u8>,
        mut matcher: Option<&mut Matcher>,
    ) -> Result<(), Errno> {
        self.waits_for_matcher = false;
        for _ in 0..rounds {
            self.write_pending(&mut to)?;
            if self.ended || !self.pending.is_empty() {
                return Ok(());
            }
            if matcher.as_mut().is_some_and(|matcher| !matcher.has_room()) {
                self.waits_for_matcher = true;
                return Ok(());
            }
            part.resize(PART, 0);
            let length = match self.read(part) {
                Reading::Bytes(length) => length,
                Reading::Interrupted => continue,
                Reading::Nothing => return Ok(()),
            };
            let written = self.write_new(&mut to, part.get(..length).unwrap_or_default());
            if let Some(matcher) = &mut matcher {
                matcher.push(self.channel.carries, part, length);
            }
            written?;
        }
        Ok(())
    }

    fn read(&mut self, part: &mut [u8]) -> Reading {
        match read(&self.fd, part) {
            Err(Errno::EINTR) => return Reading::Interrupted,
            Err(Errno::EAGAIN) => {}
            // EIO: nobody has the other end of the pseudo-terminal open (pty(7)).
            Ok(0) | Err(_) => self.ended = true,
            Ok(length) => return Reading::Bytes(length),
        }
        self.is_dry();
        Reading::Nothing
    }

    fn write_pending(&mut self, to: &mut Destination<'_>) -> Result<(), Errno> {
        while !self.pending.is_empty() {
            let written = to.write(&self.pending);
            let written = self.or_lost(written, self.pending.len())?;
            if written == 0 {
                return Ok(());
            }
            self.passed(written);
            drop(self.pending.drain(..written));
        }
        Ok(())
    }

    /// Writes bytes that were just read, and keeps those for which there is no room.
    fn write_new(&mut self, to: &mut Destination<'_>, bytes: &[u8]) -> Result<(), Errno> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.or_lost(to.write(rest), rest.len())? {
                0 => break,
                written => rest = &rest[written..],
            }
        }
        self.passed(bytes.len() - rest.len());
        self.pending.extend_from_slice(rest);
        Ok(())
    }

    /// Whether an error says that nobody reads any more. A terminal that was hung up gives EIO
    /// (tty_ioctl(4), TIOCVHANGUP), and a socket whose peer has gone may give ECONNRESET (send(2)).
    pub(crate) fn means_no_reader(&self, errno: Errno) -> bool {
        matches!(errno, Errno::EPIPE | Errno::ECONNRESET)
            || (errno == Errno::EIO && self.channel.is_terminal())
    }

    /// Decides what an error of stderr means. If somebody may still read it (a full disk), the
    /// command goes on, the bytes are lost, and the error is kept. A terminal that was hung up
    /// takes the bytes too, and nobody misses them.
    fn or_lost(&mut self, written: Result<usize, Errno>, length: usize) -> Result<usize, Errno> {
        match written {
            Err(errno) if self.channel.to == Stream::Stderr => match self.means_no_reader(errno) {
                true if errno == Errno::EIO => Ok(length),
                true => Err(errno),
                false => {
                    self.lost.get_or_insert(errno);
                    Ok(length)
                }
            },
            written => written,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::plan::{ChannelKind, Necessity, Release};
    use super::*;
    use crate::policy::stream::Streams;

    const CHANNEL: Channel = Channel {
        carries: Streams::Stdout,
        to: Stream::Stdout,
        kind: ChannelKind::Pipe,
        necessity: Necessity::Required,
        release: Release::AtOnce,
    };

    fn passage(channel: Channel) -> (Passage, std::io::PipeWriter) {
        let (reader, writer) = std::io::pipe().unwrap();
        (Passage::new(reader.into(), channel, 4096).unwrap(), writer)
    }

    #[test]
    fn held_bytes_go_to_the_hold_until_the_verdict() {
        let held = Channel { release: Release::OnSuccess, ..CHANNEL };
        for (channel, writer, route) in [
            (CHANNEL, Writer::Attempt, Route::Sink),
            (CHANNEL, Writer::EndedAttempt, Route::Sink),
            (held, Writer::Attempt, Route::Hold),
            (held, Writer::EndedAttempt, Route::Hold),
            (held, Writer::Remainder, Route::Nowhere),
        ] {
            let (mut passage, _theirs) = passage(channel);
            passage.writer = writer;
            assert_eq!(passage.route(), route, "{channel:?} {writer:?}");
        }
    }

    #[test]
    fn a_command_that_has_ended_owes_what_it_wrote() {
        let (mut passage, mut theirs) = passage(Channel { release: Release::OnSuccess, ..CHANNEL });
        let mut hold = Hold::new(Streams::Stdout);
        let mut move_on = |passage: &mut Passage| {
            let to = Destination::Hold(&mut hold, Stream::Stdout);
            passage.move_on(to, ROUNDS, &mut Vec::new(), None).unwrap();
        };
        assert!(!passage.is_drained());
        theirs.write_all(b"abc").unwrap();
        passage.command_ended();
        assert!(passage.owed >= Some(4096));
        move_on(&mut passage);
        assert!(passage.is_drained() && !passage.is_over());
        // A process that was left behind still writes. The passage does not have to pass these
        // bytes on.
        theirs.write_all(b"def").unwrap();
        passage.command_ended();
        assert!(passage.is_drained());
        drop(theirs);
        move_on(&mut passage);
        assert!(passage.is_over());
    }

    #[test]
    fn an_error_of_stderr_stops_the_command_only_if_nobody_reads() {
        let stderr = Channel { carries: Streams::Stderr, to: Stream::Stderr, ..CHANNEL };
        let terminal = Channel { kind: ChannelKind::Pseudoterminal, ..stderr };
        for (channel, errno, result, lost) in [
            (CHANNEL, Errno::EPIPE, Err(Errno::EPIPE), None),
            (CHANNEL, Errno::ENOSPC, Err(Errno::ENOSPC), None),
            (stderr, Errno::EPIPE, Err(Errno::EPIPE), None),
            (stderr, Errno::ENOSPC, Ok(3), Some(Errno::ENOSPC)),
            (stderr, Errno::EIO, Ok(3), Some(Errno::EIO)),
            (terminal, Errno::EIO, Ok(3), None),
        ] {
            let (mut passage, _theirs) = passage(channel);
            assert_eq!(passage.or_lost(Err(errno), 3), result, "{channel:?} {errno}");
            assert_eq!(passage.lost, lost, "{channel:?} {errno}");
        }
    }
}
