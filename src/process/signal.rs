//! Signals come in through one descriptor; mask and dispositions go back to the command as they were.
//!
//! The signals that retry answers are blocked. A signalfd(2) says when one has arrived, and sigtimedwait(2)
//! reads it, so there is no handler and nothing runs at a bad moment. SIGPIPE and SIGXFSZ are blocked too: a write to a pipe without a reader, or
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
use crate::policy::signal::Signal;
use crate::streams::descriptor::above_standard;

/// The mask that retry was started with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StartMask(SigSet);

/// Blocks USR1 and USR2 as the first thing that retry does. They are for the command and would kill retry
/// before it has looked at its options. INT, TERM, HUP and QUIT still end it then, as they should.
pub(crate) fn hold_notices() -> StartMask {
    let notices: SigSet = [Name::SIGUSR1, Name::SIGUSR2].into_iter().collect();
    let mut mask = SigSet::empty();
    // It fails for no arguments that can be given here.
    let _ = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&notices), Some(&mut mask));
    StartMask(mask)
}

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
    /// The signals that it tells of.
    taken: SigSet,
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
    pub(crate) fn take(start: StartMask) -> Result<Self, Error> {
        let mut blocked: SigSet = TAKEN.into_iter().collect();
        let taken = blocked;
        blocked.add(Name::SIGPIPE);
        blocked.add(Name::SIGXFSZ);
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), None).doing("cannot block signals")?;
        // SAFETY: the default disposition runs no code of ours.
        let before = unsafe { nix::sys::signal::signal(Name::SIGCHLD, SigHandler::SigDfl) }
            .doing("cannot catch SIGCHLD")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = above_standard(|| SignalFd::with_flags(&taken, flags))
            .doing("cannot open a signal descriptor")?;
        Ok(Self { fd, taken, mask: start.0, child_ignored: matches!(before, SigHandler::SigIgn) })
    }

    /// The mask for the command: the one that retry was started with.
    pub(crate) fn mask(&self) -> &SigSet {
        &self.mask
    }

    /// Whether the command is to be started with CHLD ignored, as retry was.
    pub(crate) fn child_ignored(&self) -> bool {
        self.child_ignored
    }

    /// The signals that have arrived. Each number comes once: a process may send signals faster than
    /// retry reads them, and the other signals and the clock need their turn too. Ignored signals are
    /// dropped.
    pub(crate) fn arrived(&self) -> impl Iterator<Item = Received> + use<> {
        let mut left = self.taken;
        std::iter::from_fn(move || {
            loop {
                let information = take_pending(&left)?;
                let Ok(name) = Name::try_from(information.si_signo) else { continue };
                left.remove(name);
                if !is_ignored(information.si_signo)
                    && let Some(received) = Received::new(name, &information)
                {
                    return Some(received);
                }
            }
        })
    }
}

impl Received {
    fn new(name: Name, information: &libc::siginfo_t) -> Option<Self> {
        let kind = match name {
            Name::SIGINT | Name::SIGTERM | Name::SIGHUP | Name::SIGQUIT => Kind::End,
            Name::SIGUSR1 | Name::SIGUSR2 | Name::SIGWINCH => Kind::Notice,
            Name::SIGTSTP | Name::SIGTTIN | Name::SIGTTOU => Kind::Stop,
            Name::SIGCONT => Kind::Continue,
            Name::SIGCHLD => Kind::Child,
            _ => return None,
        };
        // SAFETY: the kernel fills in a pid for each signal of `TAKEN`, whoever sent it (sigaction(2)).
        let sender = unsafe { information.si_pid() };
        Some(Self {
            signal: Signal::reported(information.si_signo),
            name,
            kind,
            by_kernel: information.si_code == SI_KERNEL,
            sender,
        })
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
/// returns when somebody continues it. In an orphaned process group nothing stops, as without retry. SIGSTOP
/// knows no such exception and cannot be taken back, so another stop signal that retry does not ignore does
/// its work.
pub(crate) fn stop_self(signal: Signal, still_wanted: impl FnOnce() -> bool) {
    let stops = [Name::SIGTSTP, Name::SIGTTIN, Name::SIGTTOU];
    let name = match Name::try_from(signal.number()) {
        Ok(Name::SIGSTOP) => stops.into_iter().find(|name| !is_ignored(*name as i32)),
        name => name.ok(),
    };
    let Some(name) = name else { return };
    // Blocked, so it is pending: a CONT that comes from now on takes it away again (signal(7)), and cannot
    // be lost between the question and the stop.
    let _ = signal_hook::low_level::raise(name as i32);
    let set = SigSet::from(name);
    if still_wanted() {
        let _ = set.thread_unblock();
        let _ = set.thread_block();
    } else {
        let _ = take_pending(&set);
    }
}

/// Takes one pending, blocked signal of this set off the queue, the lowest number first.
fn take_pending(set: &SigSet) -> Option<libc::siginfo_t> {
    let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let mut information = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: the set and the time are initialised; the kernel fills in the information.
    unsafe {
        let taken = libc::sigtimedwait(set.as_ref(), information.as_mut_ptr(), &raw const at_once);
        (taken > 0).then(|| information.assume_init())
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
