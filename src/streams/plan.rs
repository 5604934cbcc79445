//! Which streams of the command are watched or held, and what it gets in their place: a pipe or a pseudo-terminal.

use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::SockType;
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{Whence, isatty, lseek, pipe2};

use super::descriptor::lift;
use super::pseudoterminal;
use super::standard::Standard as _;
use crate::policy::stream::{Stream, Streams};
use crate::policy::verdict::evidence::{Need, Wanted};

/// What a pipe holds (pipe(7)), in bytes, if the system does not tell.
const PIPE: usize = 64 * 1024;

/// A descriptor that the command gets in place of retry's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planned {
    pub(crate) carries: Streams,
    /// Where what it writes goes.
    pub(crate) to: Stream,
    pub(crate) terminal: bool,
    /// A condition needs it, or `--hold`: without it nothing is run.
    pub(crate) required: bool,
    /// It is held until the verdict.
    pub(crate) held: bool,
}

/// What a stream is, to tell whether another is the same.
pub(crate) fn identity(stream: Stream) -> Option<(u64, u64, u64)> {
    fstat(stream.fd()).ok().map(|stat| (stat.st_dev, stat.st_ino, stat.st_rdev))
}

/// Whether stdout can be held: not where it is a socket that keeps messages apart.
pub(crate) fn can_hold() -> bool {
    !is_writable(Stream::Stdout) || takes_a_stream(Stream::Stdout)
}

/// Which streams are watched, and how: each by itself, or both as one where they are the same file, so that
/// they keep their order.
pub(crate) fn plan(wanted: &Wanted, hold: bool) -> Vec<Planned> {
    if (wanted.needs.stdout, wanted.needs.stderr, hold) == (Need::None, Need::None, false) {
        return Vec::new();
    }
    let (out, err) = (identity(Stream::Stdout), identity(Stream::Stderr));
    let terminal = |stream: Stream| isatty(stream.fd()).unwrap_or(false);
    // A profile leaves a terminal alone where the command may need it.
    let needed = |stream: Stream, need: Need| match need {
        Need::None => false,
        Need::Profile => takes_a_stream(stream) && (wanted.reach.terminal || !terminal(stream)),
        Need::Condition => takes_a_stream(stream),
    };
    let (stdout, stderr) =
        (needed(Stream::Stdout, wanted.needs.stdout), needed(Stream::Stderr, wanted.needs.stderr));
    let planned = |carries, to, need| Planned {
        carries,
        to,
        terminal: terminal(to),
        required: need == Need::Condition,
        held: false,
    };
    if hold && is_writable(Stream::Stdout) {
        // A pipe also for a terminal, and stderr by itself.
        let stdout = Planned {
            terminal: false,
            required: true,
            held: true,
            ..planned(Streams::Stdout, Stream::Stdout, Need::None)
        };
        let stderr = stderr.then(|| planned(Streams::Stderr, Stream::Stderr, wanted.needs.stderr));
        return std::iter::once(stdout).chain(stderr).collect();
    }
    // Of a terminal only what is needed is taken, also where the order suffers.
    let same = out == err && out.is_some() && is_writable(Stream::Stdout) && is_writable(Stream::Stderr);
    let same = same && write_at_one_place();
    if same && (if terminal(Stream::Stdout) { stdout && stderr } else { stdout || stderr }) {
        let need =
            if wanted.needs.stdout == Need::Condition { wanted.needs.stdout } else { wanted.needs.stderr };
        // The bytes are stdout's too, so they go there, whichever stream a rule needs: stdout must be whole.
        return vec![planned(Streams::Both, Stream::Stdout, need)];
    }
    let mut plan = Vec::new();
    if stdout {
        plan.push(planned(Streams::Stdout, Stream::Stdout, wanted.needs.stdout));
    }
    if stderr {
        plan.push(planned(Streams::Stderr, Stream::Stderr, wanted.needs.stderr));
    }
    plan
}

/// Whether it can be written to as a stream of bytes: not closed, not open for reading only, and no socket
/// that keeps messages apart.
fn takes_a_stream(stream: Stream) -> bool {
    let messages =
        getsockopt(&stream.fd(), SockType).is_ok_and(|kind| kind != nix::sys::socket::SockType::Stream);
    is_writable(stream) && !messages
}

/// Whether what is written to stdout and to stderr, which are the same file, goes to the same place in it. A file
/// that was opened twice (`>log 2>>log`) has two offsets, and one stream's bytes would overwrite others at the
/// offset of the other stream. Both streams always write at the end with O_APPEND (open(2)).
fn write_at_one_place() -> bool {
    let (out, err) = (Stream::Stdout, Stream::Stderr);
    let has_offset = fstat(out.fd()).is_ok_and(|stat| {
        let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        kind == SFlag::S_IFREG || kind == SFlag::S_IFBLK
    });
    let appends = |stream| flags(stream).is_some_and(|flags| flags.contains(OFlag::O_APPEND));
    if !has_offset || (appends(out) && appends(err)) {
        return true;
    }
    // Without kcmp(2), streams that cannot be told apart count as one.
    is_one_description().unwrap_or_else(|| {
        let offset = |stream: Stream| lseek(stream.fd(), 0, Whence::SeekCur);
        appends(out) == appends(err) && offset(out) == offset(err)
    })
}

/// Whether stdout and stderr share an open file description; none if the kernel does not tell (kcmp(2)).
fn is_one_description() -> Option<bool> {
    /// `KCMP_FILE` of `linux/kcmp.h`.
    const FILE: libc::c_int = 0;
    let (out, err) = (Stream::Stdout.fd().as_raw_fd(), Stream::Stderr.fd().as_raw_fd());
    let own = std::process::id();
    // SAFETY: kcmp(2) takes numbers only, and touches no memory.
    let order = Errno::result(unsafe { libc::syscall(libc::SYS_kcmp, own, own, FILE, out, err) });
    order.ok().map(|order| order == 0)
}

/// The flags that it was opened with.
fn flags(stream: Stream) -> Option<OFlag> {
    fcntl(stream.fd(), FcntlArg::F_GETFL).ok().map(OFlag::from_bits_retain)
}

/// Whether it is open for writing.
fn is_writable(stream: Stream) -> bool {
    flags(stream).is_some_and(|flags| flags & OFlag::O_ACCMODE != OFlag::O_RDONLY)
}

impl Planned {
    /// Our end, the command's, and how much what is between holds.
    pub(crate) fn open(self) -> nix::Result<(OwnedFd, OwnedFd, usize)> {
        if self.terminal {
            let (ours, theirs) = pseudoterminal::like(self.to)?;
            return Ok((ours, theirs, pseudoterminal::HOLDS));
        }
        pipe()
    }
}

/// Our end, the command's, and what a pipe holds.
fn pipe() -> nix::Result<(OwnedFd, OwnedFd, usize)> {
    let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
    let (ours, theirs) = (lift(ours)?, lift(theirs)?);
    let holds = fcntl(&ours, FcntlArg::F_GETPIPE_SZ)?;
    Ok((ours, theirs, usize::try_from(holds).unwrap_or(PIPE)))
}
