//! Signals come in through one descriptor; mask and dispositions go back to the command as they were.
//!
//! The signals that retry answers are blocked and read from a signalfd(2), so there is no handler and
//! nothing runs at a bad moment. SIGPIPE and SIGXFSZ are blocked too: a write to a pipe without a reader, or
//! to a file that has reached its limit, then fails and kills nobody. No disposition is changed but that of CHLD, which must not be ignored if children
//! are to be waited for; a blocked signal that is ignored arrives all the same and is dropped here.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal as Name, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use signal_hook::consts::{SIGCHLD, SIGKILL, SIGSTOP};

use crate::error::{Doing as _, Error};
use crate::policy::verdict::outcome::Signal;
use crate::streams::descriptor::above_standard;

/// What retry answers. WINCH and CONT do nothing to retry itself, but the command may want them.
const TAKEN: [Name; 12] = [
    Name::SIGINT,
    Name::SIGTERM,
    Name::SIGHUP,
    Name::SIGQUIT,
    Name::SIGUSR1,
    Name::SIGUSR2,
    Name::SIGWINCH,
    Name::SIGCONT,
    Name::SIGTSTP,
    Name::SIGTTIN,
    Name::SIGTTOU,
    Name::SIGCHLD,
];

/// `si_code` of a signal that the kernel sent, as the terminal does (sigaction(2)).
const SI_KERNEL: i32 = 0x80;

/// What retry does about a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// INT, TERM, HUP, QUIT: no attempt follows.
    End,
    /// USR1, USR2, WINCH: for the command alone.
    Notice,
    /// TSTP, TTIN, TTOU: stop.
    Stop,
    /// CONT: go on.
    Continue,
    /// CHLD: look after the children.
    Child,
}

/// A signal that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) signal: Signal,
    pub(crate) name: Name,
    pub(crate) kind: Kind,
    /// Sent by the kernel: where the group is shared, by the terminal, to the command as well.
    pub(crate) by_kernel: bool,
    /// The sender's pid, 0 where the kernel or another pid namespace sent it.
    pub(crate) sender: i32,
}

/// The signals of this process, taken for as long as it lives.
#[derive(Debug)]
pub(crate) struct Signals {
    fd: SignalFd,
    /// The mask at the start.
    mask: SigSet,
    /// CHLD was ignored at the start.
    child_ignored: bool,
}

impl Signals {
    /// Blocks what retry answers, and SIGPIPE, and opens the descriptor.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(crate) fn take() -> Result<Self, Error> {
        let mut blocked: SigSet = TAKEN.into_iter().collect();
        let taken = blocked;
        blocked.add(Name::SIGPIPE);
        blocked.add(Name::SIGXFSZ);
        let mut mask = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), Some(&mut mask)).doing("cannot block signals")?;
        // SAFETY: the default disposition runs no code of ours.
        let before = unsafe { nix::sys::signal::signal(Name::SIGCHLD, SigHandler::SigDfl) }
            .doing("cannot take SIGCHLD")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = above_standard(|| SignalFd::with_flags(&taken, flags))
            .doing("cannot open a signal descriptor")?;
        Ok(Self { fd, mask, child_ignored: matches!(before, SigHandler::SigIgn) })
    }

    /// The mask for the command: the one that retry was started with.
    pub(crate) fn mask(&self) -> &SigSet {
        &self.mask
    }

    /// Whether the command is to be started with CHLD ignored, as retry was.
    pub(crate) fn child_ignored(&self) -> bool {
        self.child_ignored
    }

    /// The next signal that has arrived, if there is one. Ignored signals are dropped.
    pub(crate) fn next(&self) -> Option<Received> {
        loop {
            let info = self.fd.read_signal().ok().flatten()?;
            let number = i32::try_from(info.ssi_signo).unwrap_or(0);
            if is_ignored(number) {
                continue;
            }
            let Ok(name) = Name::try_from(number) else { continue };
            let kind = match name {
                Name::SIGINT | Name::SIGTERM | Name::SIGHUP | Name::SIGQUIT => Kind::End,
                Name::SIGUSR1 | Name::SIGUSR2 | Name::SIGWINCH => Kind::Notice,
                Name::SIGTSTP | Name::SIGTTIN | Name::SIGTTOU => Kind::Stop,
                Name::SIGCONT => Kind::Continue,
                Name::SIGCHLD => Kind::Child,
                _ => continue,
            };
            return Some(Received {
                signal: Signal::reported(number),
                name,
                kind,
                by_kernel: info.ssi_code == SI_KERNEL,
                sender: i32::try_from(info.ssi_pid).unwrap_or(0),
            });
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Lets a write fail instead of killing retry, where no command follows that would want its mask back.
pub(crate) fn survive_writes() {
    let set: SigSet = [Name::SIGPIPE, Name::SIGXFSZ].into_iter().collect();
    let _ = set.thread_block();
}

/// The blocked signals that have come and were not read yet (sigpending(2)).
pub(crate) fn pending() -> SigSet {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigpending(2) fills in the set, of which nothing is read where it fails.
    unsafe {
        match libc::sigpending(set.as_mut_ptr()) {
            0 => SigSet::from_sigset_t_unchecked(set.assume_init()),
            _ => SigSet::empty(),
        }
    }
}

/// Whether an INT, TERM, HUP or QUIT has come, and was not read yet.
pub(crate) fn end_is_pending() -> bool {
    let pending = pending();
    let ends = [Name::SIGINT, Name::SIGTERM, Name::SIGHUP, Name::SIGQUIT];
    ends.into_iter().any(|name| pending.contains(name) && !is_ignored(name as i32))
}

/// Whether a signal's disposition is to ignore it. Asked when one arrives: retry changes none but CHLD's.
pub(crate) fn is_ignored(number: i32) -> bool {
    if number == SIGCHLD {
        return false;
    }
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null second argument only asks; the third has room for the answer.
    if unsafe { libc::sigaction(number, std::ptr::null(), action.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: sigaction(2) succeeded and filled it in.
    unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// Stops this process as `signal` would have, if `still_wanted` says so once the stop is on its way, and
/// returns when somebody continues it. In an orphaned process group nothing stops, as without retry.
pub(crate) fn stop_self(signal: Signal, still_wanted: impl FnOnce() -> bool) {
    if signal.number() == SIGSTOP {
        if still_wanted() {
            let _ = signal_hook::low_level::raise(SIGSTOP);
        }
        return;
    }
    let Ok(name) = Name::try_from(signal.number()) else { return };
    // Blocked, so it is pending: a CONT that comes from now on takes it away again (signal(7)), and cannot
    // be lost between the question and the stop.
    let _ = signal_hook::low_level::raise(signal.number());
    let set = SigSet::from(name);
    if still_wanted() {
        let _ = set.thread_unblock();
        let _ = set.thread_block();
    } else {
        take_pending(signal.number());
    }
}

/// Takes a pending, blocked signal off the queue.
fn take_pending(number: i32) {
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both sets and the time are ours and initialised; no information is asked back.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, number);
        libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const now);
    }
}

/// Dies by a signal, without a core of its own beside the command's. Returns where that is impossible: as
/// PID 1 of a namespace, whose default dispositions do nothing.
pub(crate) fn die_by(signal: Signal) {
    let _ = prctl::set_dumpable(false);
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let number = signal.number();
    // SAFETY: an all-zero sigaction is the default disposition with an empty mask, and the set is filled
    // in before it is used; one thread only.
    unsafe {
        if number != SIGKILL && number != SIGSTOP {
            let action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(number, &raw const action, std::ptr::null_mut());
        }
        let _ = signal_hook::low_level::raise(number);
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, number);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
    }
}

/// Sends a signal to a process, or with a negative `pid` to a group.
///
/// # Errors
/// EPERM for another user's process, ESRCH where there is none (kill(2)).
pub(crate) fn send(pid: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: kill(2) takes two numbers and touches no memory.
    Errno::result(unsafe { libc::kill(pid, signal) }).map(drop)
}
