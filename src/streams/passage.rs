//! The way of one stream's bytes: from what the command writes to, to where they go.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::unistd::read;

use super::hold::Hold;
use super::matcher::Matcher;
use super::plan::Planned;
use super::sink::Sink;
use crate::policy::stream::Stream;

/// How much is read at a time, in bytes.
const PART: usize = 64 * 1024;

/// Parts read from one stream before signals and the clock are looked at again.
const ROUNDS: usize = 16;

/// What the command, or what it left behind, may still write to.
#[derive(Debug)]
pub(crate) struct Passage {
    pub(crate) fd: OwnedFd,
    pub(crate) planned: Planned,
    /// Read, and not written yet.
    pub(crate) pending: Vec<u8>,
    pub(crate) of: Of,
    /// Nobody has its other end open.
    pub(crate) ended: bool,
    /// What it can hold, in bytes.
    pub(crate) holds: usize,
    /// How much of what the command wrote may not have been passed on, once that has ended, in bytes.
    pub(crate) owed: Option<usize>,
    /// Why bytes for stderr could not be written. They are gone, and the command was not stopped.
    pub(crate) lost: Option<Errno>,
    /// Nothing more is read of it before the matcher has room.
    pub(crate) waits_for_matcher: bool,
}

/// Whose bytes a source has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// The attempt that runs: they count for the verdict.
    Current,
    /// A command that has ended, by itself, at a limit or by a signal: what it wrote must not be lost unseen.
    Ended,
    /// What stayed behind of one whose output was held: they are dropped.
    Left,
}

/// Where bytes go.
pub(crate) enum Goal<'a> {
    Sink(&'a mut Sink),
    Hold(&'a mut Hold),
    Nowhere,
}

impl Goal<'_> {
    /// Writes as much as there is room for; 0 where there is none.
    ///
    /// # Errors
    /// Where it takes nothing any more.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        match self {
            Self::Sink(sink) => match sink.write(bytes) {
                Err(Errno::EAGAIN) => Ok(0),
                written => written,
            },
            Self::Hold(hold) => {
                hold.push(bytes);
                Ok(bytes.len())
            }
            Self::Nowhere => Ok(bytes.len()),
        }
    }
}

impl Passage {
    /// Whether all that a command which has ended wrote to it has been passed on.
    pub(crate) fn is_drained(&self) -> bool {
        self.owed.is_none_or(|owed| owed == 0) && (self.of != Of::Current || self.owed.is_some())
    }

    /// Whether its bytes are nobody's any more.
    pub(crate) fn is_left(&self) -> bool {
        self.of == Of::Left
    }

    /// So much of it has been passed on. Bytes come in order: what came behind the command's is not owed.
    fn passed(&mut self, written: usize) {
        self.owed = self.owed.map(|owed| owed.saturating_sub(written));
    }

    /// Nothing is there to be read now: what it owes is what it has read.
    fn is_dry(&mut self) {
        self.owed = self.owed.map(|owed| owed.min(self.pending.len()));
    }

    /// Writes what is pending, and reads and writes on.
    ///
    /// # Errors
    /// Where the sink takes nothing any more.
    pub(crate) fn move_on(
        &mut self,
        mut goal: Goal<'_>,
        part: &mut Vec<u8>,
        mut matcher: Option<&mut Matcher>,
    ) -> Result<(), Errno> {
        self.waits_for_matcher = false;
        for _ in 0..ROUNDS {
            while !self.pending.is_empty() {
                let taken = goal.take(&self.pending);
                match self.or_lost(taken, self.pending.len())? {
                    0 => return Ok(()),
                    written => {
                        self.passed(written);
                        drop(self.pending.drain(..written));
                    }
                }
            }
            if self.ended {
                return Ok(());
            }
            if matcher.as_mut().is_some_and(|matcher| !matcher.has_room()) {
                self.waits_for_matcher = true;
                return Ok(());
            }
            part.resize(PART, 0);
            let length = match read(&self.fd, part) {
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => {
                    self.is_dry();
                    return Ok(());
                }
                // EIO: nobody has the other end of the pseudo-terminal open (pty(7)).
                Ok(0) | Err(_) => {
                    self.ended = true;
                    self.is_dry();
                    return Ok(());
                }
                Ok(length) => length,
            };
            let passed = self.pass_on(&mut goal, part.get(..length).unwrap_or_default());
            if let Some(matcher) = &mut matcher {
                matcher.push(self.planned.carries, part, length);
            }
            passed?;
        }
        Ok(())
    }

    /// Whether an error says that nobody reads any more. A terminal that was hung up gives EIO (tty_ioctl(4),
    /// TIOCVHANGUP), a socket whose peer has gone may give ECONNRESET (send(2)).
    pub(crate) fn says_gone(&self, errno: Errno) -> bool {
        matches!(errno, Errno::EPIPE | Errno::ECONNRESET) || (errno == Errno::EIO && self.planned.terminal)
    }

    /// A stderr that fails although somebody may read it (a full disk) stops nothing: its bytes are lost, and
    /// the reason is kept. A terminal that was hung up takes the bytes likewise, and nobody misses them.
    fn or_lost(&mut self, taken: Result<usize, Errno>, length: usize) -> Result<usize, Errno> {
        match taken {
            Err(errno) if self.planned.to == Stream::Stderr => match self.says_gone(errno) {
                true if errno == Errno::EIO => Ok(length),
                true => Err(errno),
                false => {
                    self.lost.get_or_insert(errno);
                    Ok(length)
                }
            },
            taken => taken,
        }
    }

    /// Writes what has been read, and keeps what there is no room for.
    ///
    /// # Errors
    /// Where the sink takes nothing any more.
    fn pass_on(&mut self, goal: &mut Goal<'_>, bytes: &[u8]) -> Result<(), Errno> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.or_lost(goal.take(rest), rest.len())? {
                0 => break,
                written => rest = &rest[written..],
            }
        }
        self.passed(bytes.len() - rest.len());
        self.pending.extend_from_slice(rest);
        Ok(())
    }
}
