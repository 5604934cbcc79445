//! A call that may wait for ever, made to end: an alarm interrupts it.

use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

extern "C" fn nothing(_: libc::c_int) {}

/// Makes one system call, and interrupts it (EINTR) after this time, and then again and again, should the first
/// alarm have come before it began to wait.
///
/// # Errors
/// What the call says, EINTR among it.
pub(crate) fn interrupted<T>(after: Duration, call: impl FnOnce() -> nix::Result<T>) -> nix::Result<T> {
    let alarm: SigSet = [Signal::SIGALRM].into_iter().collect();
    let mut mask = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&alarm), Some(&mut mask))?;
    let tick = libc::timeval {
        tv_sec: libc::time_t::try_from(after.as_secs()).unwrap_or(libc::time_t::MAX),
        // A timer of nothing is off (setitimer(2)).
        tv_usec: libc::suseconds_t::from(after.subsec_micros()).max(1),
    };
    let timer = libc::itimerval { it_interval: tick, it_value: tick };
    // SAFETY: an all-zero sigaction is complete: an empty mask and no SA_RESTART, so that the call is
    // interrupted (signal(7)). The handler does nothing. Disposition and timer are given back as they
    // were, also an alarm that was set before an exec into retry.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        let mut before: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGALRM, &raw const action, &raw mut before);
        let mut timer_before: libc::itimerval = std::mem::zeroed();
        libc::setitimer(libc::ITIMER_REAL, &raw const timer, &raw mut timer_before);
        let result = call();
        libc::setitimer(libc::ITIMER_REAL, &raw const timer_before, std::ptr::null_mut());
        libc::sigaction(libc::SIGALRM, &raw const before, std::ptr::null_mut());
        result
    };
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&mask), None)?;
    result
}
