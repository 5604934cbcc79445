//! Which output streams of the command are watched or held, and how.
//!
//! [`Surroundings`] is what retry finds out about its own stdout and stderr. [`plan`] decides from
//! that, and from what the rules need, which [`Channel`]s the command gets.

use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::SockType as Type;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::SockType;
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{Whence, isatty, lseek, pipe2};

use super::descriptor::{file_kind, lift};
use super::pseudoterminal;
use super::standard::Standard as _;
use crate::policy::stream::{PerStream, Stream, Streams};
use crate::policy::verdict::evidence::{Need, Wanted};

/// The size of a pipe (pipe(7)) in bytes, if the system does not tell.
const PIPE: usize = 64 * 1024;

/// A pipe or pseudo-terminal that the command gets in place of retry's own stdout, stderr, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Channel {
    pub(crate) carries: Streams,
    /// The stream of retry that the bytes are for.
    pub(crate) to: Stream,
    pub(crate) kind: ChannelKind,
    pub(crate) necessity: Necessity,
    pub(crate) release: Release,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChannelKind {
    Pipe,
    Pseudoterminal,
}

/// Whether an attempt may run without the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Necessity {
    /// Only a profile watches the stream.
    Optional,
    /// A condition, or `--hold`, needs the stream.
    Required,
}

/// When the bytes go to retry's own stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    AtOnce,
    /// After the verdict, if the attempt succeeds (`--hold`).
    OnSuccess,
}

/// The kind of one of retry's own output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Closed, or open for reading only.
    NotWritable,
    /// A socket that keeps messages apart. Bytes that pass through retry would lose their limits.
    Messages,
    Terminal,
    /// A file, a pipe, or anything else that takes a stream of bytes.
    Bytes,
}

/// retry's own output streams, as far as they decide what is watched.
#[derive(Debug, Clone, Copy)]
struct Surroundings {
    kinds: PerStream<Kind>,
    /// Both streams are the same file, pipe or terminal, and write to the same place in it.
    same_place: bool,
}

/// The streams that `--hold` keeps until the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    Stdout,
    Both,
    /// Both, each through a pipe of its own, because stdout alone is the answer of `--once`.
    Apart,
}

impl Held {
    pub(crate) fn streams(self) -> Streams {
        match self {
            Self::Stdout => Streams::Stdout,
            Self::Both | Self::Apart => Streams::Both,
        }
    }
}

/// A stream that cannot be held: a socket that keeps messages apart. None if all can.
pub(crate) fn cannot_hold(held: Held) -> Option<Stream> {
    let streams = [Stream::Stdout, Stream::Stderr].into_iter();
    streams.filter(|stream| held.streams().contains(*stream)).find(|stream| kind(*stream) == Kind::Messages)
}

/// Whether the stream is open for writing.
pub(crate) fn is_writable(stream: Stream) -> bool {
    kind(stream) != Kind::NotWritable
}

/// Device and inode of the file that the stream goes to. None if it is closed.
pub(crate) fn file_of(stream: Stream) -> Option<(u64, u64)> {
    fstat(stream.fd()).ok().map(|stat| (stat.st_dev, stat.st_ino))
}

/// Whether stdout and stderr are the same file, pipe or terminal.
pub(crate) fn is_one_file() -> bool {
    let identity =
        |stream: Stream| fstat(stream.fd()).ok().map(|stat| (stat.st_dev, stat.st_ino, stat.st_rdev));
    identity(Stream::Stdout) == identity(Stream::Stderr)
}

/// The channels for the command, some of which are held.
pub(crate) fn plan(wanted: &Wanted, hold: Option<Held>) -> Vec<Channel> {
    if wanted.needs == PerStream::default() && hold.is_none() {
        return Vec::new();
    }
    let kinds = PerStream::each(kind);
    let writable = kinds.stdout != Kind::NotWritable && kinds.stderr != Kind::NotWritable;
    let same_place = writable && is_one_file() && write_at_one_place();
    decide(wanted.needs, wanted.reach.terminal, hold, Surroundings { kinds, same_place })
}

/// The channels for streams that rules need so. `terminal` tells that a profile may watch a
/// terminal: the command does not need it for itself.
fn decide(
    needs: PerStream<Need>,
    terminal: bool,
    hold: Option<Held>,
    surroundings: Surroundings,
) -> Vec<Channel> {
    let Surroundings { kinds, same_place } = surroundings;
    let is_watched = PerStream::each(|stream| match (needs[stream], kinds[stream]) {
        (Need::None, _) | (_, Kind::NotWritable | Kind::Messages) => false,
        (Need::Profile, Kind::Terminal) => terminal,
        (Need::Profile | Need::Condition, _) => true,
    });
    let channel = |carries: Streams, to: Stream, need: Need| Channel {
        carries,
        to,
        kind: if kinds[to] == Kind::Terminal { ChannelKind::Pseudoterminal } else { ChannelKind::Pipe },
        necessity: if need == Need::Condition { Necessity::Required } else { Necessity::Optional },
        release: Release::AtOnce,
    };
    let alone = |stream: Stream| is_watched[stream].then(|| channel(stream.into(), stream, needs[stream]));
    // A held stream is no terminal.
    let held = |carries: Streams, to: Stream| {
        (kinds[to] != Kind::NotWritable).then_some(Channel {
            carries,
            to,
            kind: ChannelKind::Pipe,
            necessity: Necessity::Required,
            release: Release::OnSuccess,
        })
    };
    match hold {
        // One pipe keeps the order exactly. Its bytes are all for the one place.
        Some(Held::Both) if same_place => return held(Streams::Both, Stream::Stdout).into_iter().collect(),
        Some(Held::Both | Held::Apart) => {
            let stdout = held(Streams::Stdout, Stream::Stdout);
            return [stdout, held(Streams::Stderr, Stream::Stderr)].into_iter().flatten().collect();
        }
        // A held stdout has no order with stderr.
        Some(Held::Stdout) if kinds.stdout != Kind::NotWritable => {
            let stdout = held(Streams::Stdout, Stream::Stdout);
            return [stdout, alone(Stream::Stderr)].into_iter().flatten().collect();
        }
        Some(Held::Stdout) | None => {}
    }
    // A stream of a terminal that no rule needs is left alone, although the order of the two
    // suffers.
    let as_one = match kinds.stdout {
        Kind::Terminal => is_watched.stdout && is_watched.stderr,
        Kind::Bytes | Kind::Messages | Kind::NotWritable => is_watched.stdout || is_watched.stderr,
    };
    if same_place && as_one {
        let need = if needs.stdout == Need::Condition { needs.stdout } else { needs.stderr };
        // Some of the bytes are stdout's, and stdout must be whole. So they all go to stdout.
        return vec![channel(Streams::Both, Stream::Stdout, need)];
    }
    [alone(Stream::Stdout), alone(Stream::Stderr)].into_iter().flatten().collect()
}

fn kind(stream: Stream) -> Kind {
    let is_writable = flags(stream).is_some_and(|flags| flags & OFlag::O_ACCMODE != OFlag::O_RDONLY);
    if !is_writable {
        Kind::NotWritable
    } else if getsockopt(&stream.fd(), SockType).is_ok_and(|kind| kind != Type::Stream) {
        Kind::Messages
    } else if isatty(stream.fd()).unwrap_or(false) {
        Kind::Terminal
    } else {
        Kind::Bytes
    }
}

/// Whether stdout and stderr, which are the same file, write to the same place in it.
///
/// A file that was opened twice (`>log 2>>log`) has two offsets, and the bytes of one stream would
/// overwrite other bytes at the offset of the other. With O_APPEND both streams write at the end
/// (open(2)).
fn write_at_one_place() -> bool {
    let (out, err) = (Stream::Stdout, Stream::Stderr);
    let has_offset = fstat(out.fd()).is_ok_and(|stat| {
        let kind = file_kind(&stat);
        kind == SFlag::S_IFREG || kind == SFlag::S_IFBLK
    });
    let appends = |stream| flags(stream).is_some_and(|flags| flags.contains(OFlag::O_APPEND));
    if !has_offset || (appends(out) && appends(err)) {
        return true;
    }
    // Without kcmp(2), streams that look alike count as one.
    is_one_description().unwrap_or_else(|| {
        let offset = |stream: Stream| lseek(stream.fd(), 0, Whence::SeekCur);
        appends(out) == appends(err) && offset(out) == offset(err)
    })
}

/// Whether stdout and stderr share an open file description. None if the kernel does not tell
/// (kcmp(2)).
fn is_one_description() -> Option<bool> {
    /// `KCMP_FILE` of `linux/kcmp.h`.
    const FILE: libc::c_int = 0;
    let (out, err) = (Stream::Stdout.fd().as_raw_fd(), Stream::Stderr.fd().as_raw_fd());
    let own = std::process::id();
    // SAFETY: kcmp(2) takes numbers only, and touches no memory.
    let order = Errno::result(unsafe { libc::syscall(libc::SYS_kcmp, own, own, FILE, out, err) });
    order.ok().map(|order| order == 0)
}

/// The flags with which the stream was opened. None if it is closed.
fn flags(stream: Stream) -> Option<OFlag> {
    fcntl(stream.fd(), FcntlArg::F_GETFL).ok().map(OFlag::from_bits_retain)
}

/// The two ends of an open channel.
pub(crate) struct Opened {
    pub(crate) ours: OwnedFd,
    pub(crate) theirs: OwnedFd,
    /// How many bytes the channel can hold.
    pub(crate) capacity: usize,
}

impl Channel {
    /// # Errors
    /// If the system has no descriptor, or no pseudo-terminal, left. EIO if the terminal was hung
    /// up.
    pub(crate) fn open(self) -> nix::Result<Opened> {
        match self.kind {
            ChannelKind::Pseudoterminal => {
                let (ours, theirs) = pseudoterminal::like(self.to)?;
                Ok(Opened { ours, theirs, capacity: pseudoterminal::HOLDS })
            }
            ChannelKind::Pipe => {
                let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
                let (ours, theirs) = (lift(ours)?, lift(theirs)?);
                let capacity = fcntl(&ours, FcntlArg::F_GETPIPE_SZ)?;
                Ok(Opened { ours, theirs, capacity: usize::try_from(capacity).unwrap_or(PIPE) })
            }
        }
    }

    pub(crate) fn is_held(self) -> bool {
        self.release == Release::OnSuccess
    }

    pub(crate) fn is_terminal(self) -> bool {
        self.kind == ChannelKind::Pseudoterminal
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Kind::{Bytes, Messages, NotWritable, Terminal};
    use Need::{Condition, Profile};

    const STDOUT: Channel = Channel {
        carries: Streams::Stdout,
        to: Stream::Stdout,
        kind: ChannelKind::Pipe,
        necessity: Necessity::Required,
        release: Release::AtOnce,
    };
    const STDERR: Channel = Channel { carries: Streams::Stderr, to: Stream::Stderr, ..STDOUT };
    const BOTH: Channel = Channel { carries: Streams::Both, ..STDOUT };

    fn per<T>(stdout: T, stderr: T) -> PerStream<T> {
        PerStream { stdout, stderr }
    }

    fn apart(stdout: Kind, stderr: Kind) -> Surroundings {
        Surroundings { kinds: per(stdout, stderr), same_place: false }
    }

    fn one(kind: Kind) -> Surroundings {
        Surroundings { kinds: per(kind, kind), same_place: true }
    }

    fn optional(channel: Channel) -> Channel {
        Channel { necessity: Necessity::Optional, ..channel }
    }

    fn terminal(channel: Channel) -> Channel {
        Channel { kind: ChannelKind::Pseudoterminal, ..channel }
    }

    #[test]
    fn the_streams_that_rules_need_are_watched() {
        let none = Need::None;
        for (needs, surroundings, channels) in [
            (per(none, Profile), apart(Bytes, Bytes), vec![optional(STDERR)]),
            (per(Profile, Condition), apart(Bytes, Bytes), vec![optional(STDOUT), STDERR]),
            (per(Condition, none), apart(Terminal, Bytes), vec![terminal(STDOUT)]),
            (per(Condition, Condition), apart(NotWritable, Messages), vec![]),
            (per(Condition, Condition), apart(Messages, Terminal), vec![terminal(STDERR)]),
            // If both streams are one file, retry watches them as one stream to keep the order.
            (per(none, Profile), one(Bytes), vec![optional(BOTH)]),
            (per(Condition, none), one(Bytes), vec![BOTH]),
            (per(Profile, Condition), one(Bytes), vec![BOTH]),
            // On a terminal, retry watches only the streams that it needs.
            (per(none, Condition), one(Terminal), vec![terminal(STDERR)]),
            (per(Condition, Condition), one(Terminal), vec![terminal(BOTH)]),
        ] {
            assert_eq!(decide(needs, true, None, surroundings), channels, "{needs:?} {surroundings:?}");
        }
    }

    #[test]
    fn a_profile_leaves_a_terminal_alone_that_the_command_may_need() {
        let watched =
            |need, terminal| decide(per(Need::None, need), terminal, None, apart(Terminal, Terminal));
        assert_eq!(watched(Profile, false), []);
        assert_eq!(watched(Profile, true), [optional(terminal(STDERR))]);
        assert_eq!(watched(Condition, false), [terminal(STDERR)]);
    }

    #[test]
    fn a_held_stdout_is_a_pipe_of_its_own() {
        let held = Channel { release: Release::OnSuccess, ..STDOUT };
        let hold = Some(Held::Stdout);
        for surroundings in [apart(Bytes, Bytes), one(Bytes), one(Terminal)] {
            assert_eq!(decide(per(Need::None, Need::None), true, hold, surroundings), [held]);
        }
        assert_eq!(decide(per(Condition, Condition), true, hold, one(Bytes)), [held, STDERR]);
        assert_eq!(
            decide(per(Condition, Profile), true, hold, apart(NotWritable, Bytes)),
            [optional(STDERR)]
        );
    }

    #[test]
    fn streams_that_are_held_apart_are_two_pipes_wherever_they_go() {
        let held = |channel| Channel { release: Release::OnSuccess, ..channel };
        for surroundings in [apart(Bytes, Bytes), one(Bytes), one(Terminal)] {
            let channels = decide(per(Need::None, Condition), true, Some(Held::Apart), surroundings);
            assert_eq!(channels, [held(STDOUT), held(STDERR)], "{surroundings:?}");
        }
    }

    #[test]
    fn both_held_streams_are_one_pipe_where_they_go_to_one_place() {
        let held = |channel| Channel { release: Release::OnSuccess, ..channel };
        for needs in [per(Need::None, Need::None), per(Condition, Profile)] {
            for (surroundings, channels) in [
                (apart(Bytes, Bytes), vec![held(STDOUT), held(STDERR)]),
                (apart(Bytes, Terminal), vec![held(STDOUT), held(STDERR)]),
                (one(Bytes), vec![held(BOTH)]),
                (one(Terminal), vec![held(BOTH)]),
                (apart(NotWritable, Bytes), vec![held(STDERR)]),
                (apart(Bytes, NotWritable), vec![held(STDOUT)]),
                (apart(NotWritable, NotWritable), vec![]),
            ] {
                assert_eq!(
                    decide(needs, false, Some(Held::Both), surroundings),
                    channels,
                    "{surroundings:?}"
                );
            }
        }
    }
}
