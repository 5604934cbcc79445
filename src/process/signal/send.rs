//! Sending signals: to processes, to process groups, and to retry itself in order to stop it.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal as Name};

use super::disposition::is_ignored;
use super::stream::take_pending;
use crate::policy::signal::Signal;

/// Sends a signal to a process, or with a negative `pid` to a process group. Signal 0 sends nothing
/// and only tells whether retry could send one.
///
/// # Errors
/// EPERM if the process belongs to another user, ESRCH if there is none (kill(2)).
pub(in crate::process) fn send(pid: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: kill(2) takes two numbers and touches no memory.
    Errno::result(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Stops this process by `signal`, and returns when somebody continues it. `still_wanted` is asked
/// when the stop is pending already: if it says no, nothing stops.
///
/// A process in an orphaned process group does not stop (POSIX, 2.4.3). SIGSTOP has no such
/// exception and cannot be taken back, so in its place another stop signal is used that retry does
/// not ignore.
pub(in crate::process) fn stop_self(signal: Signal, still_wanted: impl FnOnce() -> bool) {
    let stops = [Name::SIGTSTP, Name::SIGTTIN, Name::SIGTTOU];
    let name = match Name::try_from(signal.number()) {
        Ok(Name::SIGSTOP) => stops.into_iter().find(|name| !is_ignored(*name as i32)),
        name => name.ok(),
    };
    let Some(name) = name else { return };
    // The signal is blocked, so it is pending now. A CONT that comes from now on takes it away
    // again (signal(7)), and cannot be lost between the question and the stop.
    let _ = signal_hook::low_level::raise(name as i32);
    let set = SigSet::from(name);
    if still_wanted() {
        let _ = set.thread_unblock();
        let _ = set.thread_block();
    } else {
        let _ = take_pending(&set);
    }
}
