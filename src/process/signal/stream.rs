//! The signals that arrive at retry, behind one descriptor.
//!
//! The signals are blocked. A signalfd(2) tells that one has arrived, and sigtimedwait(2) reads it.
//! SIGPIPE and SIGXFSZ are blocked too, so that a write to a pipe without a reader, or to a file
//! that has reached its limit, fails and kills nobody. retry changes one disposition only: it must
//! not ignore CHLD, or it could not wait for children. A signal that is blocked and ignored arrives
//! all the same, and is dropped here.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal as Name, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::disposition::{InheritedMask, is_ignored};
use crate::error::{Doing as _, Error};
use crate::policy::signal::Signal;
use crate::streams::descriptor::above_standard;

/// The signals that retry answers. WINCH and CONT change nothing for retry itself, but the command
/// may want them.
const ANSWERED: [Name; 12] = [
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

/// `si_code` of a signal that the kernel sent, for example on behalf of a terminal (sigaction(2)).
const SI_KERNEL: i32 = 0x80;

/// A signal, by the answer that retry gives to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::process) enum Request {
    /// INT, TERM, HUP, QUIT: no attempt follows.
    End,
    /// USR1, USR2, WINCH: only the command wants to know.
    Notify,
    /// TSTP, TTIN, TTOU.
    Stop,
    /// CONT.
    Continue,
    /// CHLD: a child has ended or stopped.
    Children,
}

/// A signal that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::process) struct Received {
    pub(in crate::process) signal: Signal,
    pub(in crate::process) name: Name,
    pub(in crate::process) request: Request,
    /// The kernel sent it. If the command shares the process group of retry, the sender is the
    /// terminal, and the command has got the signal too.
    pub(in crate::process) by_kernel: bool,
    /// The pid of the sender; 0 if the kernel or another pid namespace sent the signal.
    pub(in crate::process) sender: i32,
}

/// All signals of this process. There is one value, and it lives as long as the process.
#[derive(Debug)]
pub(in crate::process) struct SignalStream {
    fd: SignalFd,
    answered: SigSet,
    inherited: InheritedMask,
    child_ignored: bool,
}

impl SignalStream {
    /// Blocks the signals that retry answers, PIPE and XFSZ, and opens the descriptor.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub(in crate::process) fn open(inherited: InheritedMask) -> Result<Self, Error> {
        let mut blocked: SigSet = ANSWERED.into_iter().collect();
        let answered = blocked;
        blocked.add(Name::SIGPIPE);
        blocked.add(Name::SIGXFSZ);
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), None).doing("cannot block signals")?;
        // SAFETY: the default disposition runs no code of ours.
        let before = unsafe { nix::sys::signal::signal(Name::SIGCHLD, SigHandler::SigDfl) }
            .doing("cannot catch SIGCHLD")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = above_standard(|| SignalFd::with_flags(&answered, flags))
            .doing("cannot open a signal descriptor")?;
        Ok(Self { fd, answered, inherited, child_ignored: matches!(before, SigHandler::SigIgn) })
    }

    /// The signal mask for the command: the mask that retry was started with.
    pub(in crate::process) fn inherited_mask(&self) -> &SigSet {
        &self.inherited.0
    }

    /// Whether retry was started with CHLD ignored. Then the command is started so too.
    pub(in crate::process) fn child_ignored(&self) -> bool {
        self.child_ignored
    }

    /// Reads the signals that have arrived, each number once. A process may send signals faster
    /// than retry reads them, and the other signals and the clock need their turn. Signals that the
    /// caller does not take from the iterator stay pending.
    pub(in crate::process) fn received(&self) -> impl Iterator<Item = Received> + use<> {
        let mut left = self.answered;
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
        let request = match name {
            Name::SIGINT | Name::SIGTERM | Name::SIGHUP | Name::SIGQUIT => Request::End,
            Name::SIGUSR1 | Name::SIGUSR2 | Name::SIGWINCH => Request::Notify,
            Name::SIGTSTP | Name::SIGTTIN | Name::SIGTTOU => Request::Stop,
            Name::SIGCONT => Request::Continue,
            Name::SIGCHLD => Request::Children,
            _ => return None,
        };
        // SAFETY: the kernel fills in a pid for each signal of `ANSWERED`, whoever sent it
        // (sigaction(2)).
        let sender = unsafe { information.si_pid() };
        Some(Self {
            signal: Signal::reported(information.si_signo),
            name,
            request,
            by_kernel: information.si_code == SI_KERNEL,
            sender,
        })
    }
}

impl AsFd for SignalStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Takes one pending signal of this set off the queue, the lowest number first. The signals of the
/// set must be blocked.
pub(super) fn take_pending(set: &SigSet) -> Option<libc::siginfo_t> {
    let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let mut information = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: the set and the time are initialised, and the kernel fills in the information.
    unsafe {
        let taken = libc::sigtimedwait(set.as_ref(), information.as_mut_ptr(), &raw const at_once);
        (taken > 0).then(|| information.assume_init())
    }
}
