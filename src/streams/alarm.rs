//! A time limit for a system call that may wait forever: a timer interrupts it.
//!
//! SIGALRM and the timer behind alarm(2) stay untouched. Both survive execve(2), so they may belong
//! to the program that became retry, or be meant to end retry. The timer here sends SIGURG, and
//! only to the calling thread. SIGURG is ignored by default (signal(7)), so a stray one does no
//! harm before or after the call.

use std::mem::MaybeUninit;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use nix::unistd::gettid;

/// How long a call is put off if there is no timer to interrupt it.
const WITHOUT_TIMER: Duration = Duration::from_millis(10);

extern "C" fn nothing(_: libc::c_int) {}

/// Makes one system call, and interrupts it (EINTR) after this time. The interruption comes again
/// and again, because the first one may come before the call begins to wait.
///
/// If the system has no timer left, the call is not made, and EINTR is returned after a short
/// while.
///
/// # Errors
/// The errors of the call, EINTR among them.
pub(crate) fn interrupted<T>(after: Duration, call: impl FnOnce() -> nix::Result<T>) -> nix::Result<T> {
    let urgent: SigSet = [Signal::SIGURG].into_iter().collect();
    // Without SA_RESTART, the handler makes the call return (signal(7)).
    let handler = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing, so it is safe at any moment.
    let disposition = unsafe { sigaction(Signal::SIGURG, &handler) }?;
    let mut mask = SigSet::empty();
    let result = sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&urgent), Some(&mut mask)).and_then(|()| {
        let result = if let Ok(_timer) = Timer::every(after) {
            call()
        } else {
            thread::sleep(after.min(WITHOUT_TIMER));
            Err(Errno::EINTR)
        };
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&mask), None).and(result)
    });
    // SAFETY: the disposition is the one that was there before.
    unsafe { sigaction(Signal::SIGURG, &disposition) }.and(result)
}

/// A timer that sends SIGURG to the thread that made it, until it is dropped.
struct Timer(libc::timer_t);

impl Timer {
    /// # Errors
    /// EAGAIN if this user has too many signals pending (RLIMIT_SIGPENDING, timer_create(2)).
    fn every(period: Duration) -> nix::Result<Self> {
        // A period of nothing would turn the timer off (timer_settime(2)).
        let period = period.max(Duration::from_micros(1));
        let period = *nix::sys::time::TimeSpec::from(period).as_ref();
        let times = libc::itimerspec { it_interval: period, it_value: period };
        let mut timer = MaybeUninit::uninit();
        // SAFETY: an all-zero sigevent is valid, and timer_create(2) fills in the timer unless it
        // fails.
        let timer = unsafe {
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = libc::SIGURG;
            event.sigev_notify_thread_id = gettid().as_raw();
            Errno::result(libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, timer.as_mut_ptr()))?;
            Self(timer.assume_init())
        };
        // SAFETY: the timer is ours, and no old times are asked for.
        Errno::result(unsafe { libc::timer_settime(timer.0, 0, &raw const times, std::ptr::null_mut()) })?;
        Ok(timer)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: the timer is ours and not used again.
        unsafe { libc::timer_delete(self.0) };
    }
}
