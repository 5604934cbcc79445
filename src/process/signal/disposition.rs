//! Signal masks and dispositions of this process.

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal as Name, sigprocmask};
use signal_hook::consts::{SIGCHLD, SIGKILL, SIGSTOP};

use crate::policy::signal::Signal;

/// The signal mask that retry was started with. The command gets it back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InheritedMask(pub(super) SigSet);

/// Blocks USR1 and USR2. retry does this first of all, because these signals are for the command
/// and would kill retry while it reads its options. INT, TERM, HUP and QUIT still end retry during
/// that time, as they should.
pub(crate) fn block_user_signals() -> InheritedMask {
    let user: SigSet = [Name::SIGUSR1, Name::SIGUSR2].into_iter().collect();
    let mut mask = SigSet::empty();
    // sigprocmask(2) fails only for invalid arguments.
    let _ = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&user), Some(&mut mask));
    InheritedMask(mask)
}

/// Blocks the signals that a failed write sends, so that it fails and does not kill retry. For
/// actions that start no command: a command would inherit the mask.
pub(crate) fn block_write_signals() {
    let set: SigSet = [Name::SIGPIPE, Name::SIGXFSZ].into_iter().collect();
    let _ = set.thread_block();
}

/// Whether this process ignores a signal. The answer for CHLD is always no, because retry resets
/// the disposition of CHLD and of no other signal.
pub(crate) fn is_ignored(number: i32) -> bool {
    if number == SIGCHLD {
        return false;
    }
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null second argument only asks, and the third has room for the answer.
    if unsafe { libc::sigaction(number, std::ptr::null(), action.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: sigaction(2) succeeded and filled it in.
    unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// Dies by a signal, without a core file: the command may have written one. Returns if the signal
/// cannot kill this process: as PID 1 of a namespace, whose default dispositions do nothing.
pub(crate) fn die_by(signal: Signal) {
    let _ = prctl::set_dumpable(false);
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let number = signal.number();
    // SAFETY: an all-zero sigaction is the default disposition with an empty mask, and the set is
    // filled in before it is used. This process has one thread only.
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
