//! Watching: what the command writes to a stream passes through retry, unchanged, in order and at once.
//!
//! The command gets a pipe in place of its stdout or stderr, or a pseudo-terminal where that is a terminal,
//! and retry reads the other end and writes on. Nothing is read before what was read last is written, so
//! the command feels a slow reader as it would without retry. When the reader is gone, retry closes its
//! end, and the command gets SIGPIPE as it would without retry.
//!
//! A background process that the command leaves behind may hold its end open. The attempt does not wait for
//! it; what it writes is passed on for as long as retry runs, and counts for no verdict.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::PollFlags;
use nix::sys::stat::fstat;
use nix::unistd::{isatty, pipe2, read};

use super::descriptor::lift;
use super::pseudoterminal::{self, set_size, size};
use super::sink::{Sink, Stream};
use crate::error::{Doing as _, Error};
use crate::policy::verdict::evidence::{Carries, Scanner, Wanted};

/// How much is read at a time, in bytes.
const PART: usize = 64 * 1024;

/// Parts read from one stream before signals and the clock are looked at again.
const ROUNDS: usize = 16;

/// The streams that are watched, over all attempts.
#[derive(Debug)]
pub(crate) struct Watch {
    plan: Vec<Planned>,
    sinks: [Sink; 2],
    sources: Vec<Source>,
    part: Vec<u8>,
    /// Why stdout could not be written to, if not for want of a reader.
    failed: Option<Errno>,
}

/// A descriptor that the command gets in place of retry's own.
#[derive(Debug, Clone, Copy)]
struct Planned {
    carries: Carries,
    /// Where what it writes goes.
    to: Stream,
    terminal: bool,
}

/// The command's ends of what it writes to, and which of its descriptors each becomes.
pub(crate) type Ends = Vec<(OwnedFd, &'static [i32])>;

/// What the command, or what it left behind, may still write to.
#[derive(Debug)]
struct Source {
    fd: OwnedFd,
    planned: Planned,
    /// Read, and not written yet.
    pending: Vec<u8>,
    /// Of the attempt that runs: it counts for the verdict.
    current: bool,
    /// Nothing is there to be read now.
    dry: bool,
    /// Nobody has its other end open.
    ended: bool,
    /// What it can hold, in bytes, and what has been read since the command ended.
    holds: usize,
    read_since: usize,
}

/// What to poll(2) for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interest<'a> {
    pub(crate) fd: BorrowedFd<'a>,
    pub(crate) flags: PollFlags,
    /// It is where bytes go.
    pub(crate) sink: Option<Stream>,
}

/// Where a stream stands in a pair.
fn place(stream: Stream) -> usize {
    match stream {
        Stream::Stdin | Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

impl Watch {
    /// Sees which streams there are to watch.
    pub(crate) fn new(wanted: &Wanted) -> Self {
        Self {
            plan: plan(wanted.stdout, wanted.stderr),
            sinks: [Sink::new(Stream::Stdout), Sink::new(Stream::Stderr)],
            sources: Vec::new(),
            part: Vec::new(),
            failed: None,
        }
    }

    /// Whether stderr carries stdout's bytes too.
    pub(crate) fn merged(&self) -> bool {
        self.plan.iter().any(|planned| planned.carries == Carries::Both)
    }

    /// Opens what the command of the next attempt writes to.
    ///
    /// # Errors
    /// When the system has no descriptor or no pseudo-terminal left.
    pub(crate) fn open(&mut self) -> Result<Ends, Error> {
        let mut ends = Vec::new();
        for planned in &self.plan {
            let (ours, theirs, holds) = if planned.terminal {
                let (ours, theirs) =
                    pseudoterminal::like(planned.to).doing("cannot open a pseudo-terminal")?;
                (ours, theirs, pseudoterminal::HOLDS)
            } else {
                pipe().doing("cannot open a pipe")?
            };
            let flags = fcntl(&ours, FcntlArg::F_GETFL).map_or(OFlag::empty(), OFlag::from_bits_retain);
            fcntl(&ours, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).doing("cannot open a pipe")?;
            self.sources.push(Source {
                fd: ours,
                planned: *planned,
                pending: Vec::new(),
                current: true,
                dry: false,
                ended: false,
                holds,
                read_since: 0,
            });
            let targets: &'static [i32] = match planned.carries {
                Carries::Stdout => &[1],
                Carries::Stderr => &[2],
                Carries::Both => &[1, 2],
            };
            ends.push((theirs, targets));
        }
        Ok(ends)
    }

    /// What to wait for.
    pub(crate) fn interests(&mut self) -> Vec<Interest<'_>> {
        let mut all = Vec::new();
        if self.sources.is_empty() {
            return all;
        }
        let mut full = [false; 2];
        let mut used = [false; 2];
        for source in &self.sources {
            used[place(source.planned.to)] = true;
            if source.pending.is_empty() {
                all.push(Interest { fd: source.fd.as_fd(), flags: PollFlags::POLLIN, sink: None });
            } else {
                full[place(source.planned.to)] = true;
            }
        }
        for (i, sink) in self.sinks.iter_mut().enumerate().filter(|(i, _)| used[*i]) {
            // Without a flag for what is not wanted, poll still tells that the reader has gone.
            let flags = if full[i] { PollFlags::POLLOUT } else { PollFlags::empty() };
            let stream = if i == 0 { Stream::Stdout } else { Stream::Stderr };
            all.push(Interest { fd: sink.fd(), flags, sink: Some(stream) });
        }
        all
    }

    /// Moves what can be moved now. What passes of the attempt that runs is shown to `scanner`.
    pub(crate) fn turn(&mut self, mut scanner: Option<&mut Scanner<'_>>) {
        if self.sources.is_empty() {
            return;
        }
        self.part.resize(PART, 0);
        let Self { sinks, sources, part, failed, .. } = self;
        let mut lost = [false; 2];
        for source in sources.iter_mut() {
            let to = place(source.planned.to);
            let scanner = scanner.as_deref_mut().filter(|_| source.current);
            if let Err(errno) = source.move_on(&mut sinks[to], part, scanner) {
                lost[to] = true;
                if source.planned.to == Stream::Stdout && errno != Errno::EPIPE {
                    failed.get_or_insert(errno);
                }
            }
        }
        sources.retain(|source| {
            !lost[place(source.planned.to)] && (!source.ended || !source.pending.is_empty())
        });
    }

    /// The reader of a stream has gone: so it has for the command.
    pub(crate) fn reader_gone(&mut self, stream: Stream) {
        self.sources.retain(|source| source.planned.to != stream);
    }

    /// Whether all that the command of this attempt wrote has been passed on. Asked after its end, and after
    /// a [`turn`](Self::turn).
    pub(crate) fn is_drained(&self) -> bool {
        self.sources.iter().filter(|source| source.current).all(|source| {
            // Bytes come in order: behind what there was room for, all is newer than the end.
            (source.dry || source.ended || source.read_since >= source.holds) && source.pending.is_empty()
        })
    }

    /// The command has ended; from now on is counted what is read.
    pub(crate) fn command_ended(&mut self) {
        for source in &mut self.sources {
            (source.dry, source.read_since) = (false, 0);
        }
    }

    /// The attempt is over: what still comes belongs to what it left behind.
    ///
    /// # Errors
    /// Where bytes of it could not be passed on to stdout.
    pub(crate) fn attempt_over(&mut self) -> Result<(), Error> {
        for source in &mut self.sources {
            source.current = false;
        }
        match self.failed.take() {
            Some(errno) => Err(errno).doing("cannot write to stdout"),
            None => Ok(()),
        }
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

impl Source {
    /// Writes what is pending, and reads and writes on.
    ///
    /// # Errors
    /// Where the sink takes nothing any more.
    fn move_on(
        &mut self,
        sink: &mut Sink,
        part: &mut [u8],
        mut scanner: Option<&mut Scanner<'_>>,
    ) -> Result<(), Errno> {
        for _ in 0..ROUNDS {
            while !self.pending.is_empty() {
                match pass(sink, self.planned.to, &self.pending)? {
                    0 => return Ok(()),
                    written => drop(self.pending.drain(..written)),
                }
            }
            if self.ended {
                return Ok(());
            }
            let length = match read(&self.fd, part) {
                // EIO: nobody has the other end of the pseudo-terminal open (pty(7)).
                Ok(0) | Err(Errno::EIO) => {
                    self.ended = true;
                    return Ok(());
                }
                Ok(length) => length,
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => {
                    self.dry = true;
                    return Ok(());
                }
                Err(_) => {
                    self.ended = true;
                    return Ok(());
                }
            };
            self.read_since = self.read_since.saturating_add(length);
            let bytes = part.get(..length).unwrap_or_default();
            let mut done = 0;
            while done < length {
                match pass(sink, self.planned.to, &bytes[done..]) {
                    Ok(0) => break,
                    Ok(written) => done += written,
                    Err(errno) => {
                        // It was written, whoever reads it.
                        if let Some(scanner) = &mut scanner {
                            scanner.push(self.planned.carries, bytes);
                        }
                        return Err(errno);
                    }
                }
            }
            self.pending.extend_from_slice(&bytes[done..]);
            if let Some(scanner) = &mut scanner {
                scanner.push(self.planned.carries, bytes);
            }
        }
        Ok(())
    }
}

/// Writes as much as there is room for; 0 where there is none.
///
/// # Errors
/// Where the sink takes nothing any more. A stderr that fails otherwise than for want of a reader swallows
/// the bytes: it must stop nothing.
fn pass(sink: &mut Sink, to: Stream, bytes: &[u8]) -> Result<usize, Errno> {
    match sink.write(bytes) {
        Err(Errno::EAGAIN) => Ok(0),
        Err(errno) if errno != Errno::EPIPE && to == Stream::Stderr => Ok(bytes.len()),
        written => written,
    }
}

/// Which streams are watched, and how: each by itself, or both as one where they are the same file, so that
/// they keep their order.
fn plan(stdout: bool, stderr: bool) -> Vec<Planned> {
    if !stdout && !stderr {
        return Vec::new();
    }
    let identity =
        |stream: Stream| fstat(stream.fd()).ok().map(|stat| (stat.st_dev, stat.st_ino, stat.st_rdev));
    let (out, err) = (identity(Stream::Stdout), identity(Stream::Stderr));
    let terminal = |stream: Stream| isatty(stream.fd()).unwrap_or(false);
    let planned = |carries, to| Planned { carries, to, terminal: terminal(to) };
    let same = out.is_some() && out == err;
    // Of a terminal only what is needed is taken, also where the order suffers.
    if same && ((stdout && stderr) || !terminal(Stream::Stdout)) {
        return vec![planned(Carries::Both, if stdout { Stream::Stdout } else { Stream::Stderr })];
    }
    let mut plan = Vec::new();
    if stdout && out.is_some() {
        plan.push(planned(Carries::Stdout, Stream::Stdout));
    }
    if stderr && err.is_some() {
        plan.push(planned(Carries::Stderr, Stream::Stderr));
    }
    plan
}

/// Our end, the command's, and what a pipe holds.
fn pipe() -> nix::Result<(OwnedFd, OwnedFd, usize)> {
    let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
    let (ours, theirs) = (lift(ours)?, lift(theirs)?);
    let holds = fcntl(&ours, FcntlArg::F_GETPIPE_SZ)?;
    Ok((ours, theirs, usize::try_from(holds).unwrap_or(PART)))
}
