//! Waiting for children: which have ended or stopped, and whether any is left.

use nix::errno::Errno;

use crate::policy::outcome::Outcome;
use crate::policy::signal::Signal;

/// A change of a child's state that waitpid(2) reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// The child ended, and is reaped.
    Ended(Outcome),
    /// This signal stopped the child. It may run again by now.
    Stopped(Signal),
}

/// The most children that one turn of a loop reaps. A program that forks without end must not keep
/// retry from its signals and its clock.
pub(super) const REAPED_PER_TURN: usize = 64;

/// The next child that has ended or stopped, if there is one. It may be any child: the command, an
/// orphan that retry adopted, or a child of the program that became retry by execve(2).
pub(super) fn next_change() -> Option<(i32, Change)> {
    loop {
        let mut status = 0;
        // SAFETY: waitpid(2) writes one int.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::WUNTRACED) };
        if pid <= 0 {
            return None;
        }
        if libc::WIFSTOPPED(status) {
            return Some((pid, Change::Stopped(Signal::reported(libc::WSTOPSIG(status)))));
        }
        if libc::WIFSIGNALED(status) {
            return Some((pid, Change::Ended(Outcome::Signaled(Signal::reported(libc::WTERMSIG(status))))));
        }
        if libc::WIFEXITED(status) {
            let code = u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX);
            return Some((pid, Change::Ended(Outcome::Exited(code))));
        }
    }
}

/// Reaps children whose end means nothing to retry, at most as many as one turn reaps. Tells
/// whether more may be left.
pub(super) fn reap_all() -> bool {
    (0..REAPED_PER_TURN).all(|_| next_change().is_some())
}

/// Reaps the child with this pid, and waits for its end.
pub(super) fn reap(pid: i32) {
    // SAFETY: no status is asked for.
    while unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) } == -1 && Errno::last() == Errno::EINTR {}
}

/// Whether this child has ended. It stays to be reaped.
pub(super) fn has_ended(pid: i32) -> bool {
    let Ok(id) = libc::id_t::try_from(pid) else { return false };
    let mut information = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: waitid(2) fills in the information. It leaves zeros if there is nothing to tell.
    unsafe {
        libc::waitid(libc::P_PID, id, information.as_mut_ptr(), options) == 0
            && information.assume_init().si_pid() == pid
    }
}

/// Whether this process has no child at all, not even one to reap (ECHILD from waitid(2)).
pub(super) fn none_left() -> bool {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: no information is asked for.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, std::ptr::null_mut(), options) };
    Errno::result(result).is_err_and(|errno| errno == Errno::ECHILD)
}
