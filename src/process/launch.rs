//! The child's part of a start, between clone(2) and execve(2).
//!
//! The child runs in retry's own memory while retry is suspended (vfork(2)). It finds its orders in
//! [`Launch`], and leaves its answer in [`LaunchReport`]. All code here is async-signal-safe
//! (signal-safety(7)): it allocates nothing and cannot unwind.

use std::ffi::{CStr, CString, c_char, c_int};
use std::sync::atomic::{AtomicU64, Ordering};

use super::signal::pending;
use super::signal::set::SignalSet;
use super::terminal::Group;

/// The shell that runs a script without `#!` (execvp(3)).
pub(super) const SHELL: &CStr = c"/bin/sh";

/// All that the child needs to become the command.
pub(super) struct Launch<'a> {
    pub(super) group: Group,
    /// Pairs of a descriptor and the standard stream that it becomes.
    pub(super) redirected: &'a [(i32, i32)],
    /// The signal that the command gets when retry dies.
    pub(super) death_signal: i32,
    /// retry's process id.
    pub(super) parent: u32,
    /// Whether the command starts with SIGCHLD ignored.
    pub(super) child_ignored: bool,
    /// The signal mask of the command.
    pub(super) mask: libc::sigset_t,
    /// The open /proc/PID/status of retry, if it could be opened.
    pub(super) status: Option<i32>,
    /// The paths to try, in order.
    pub(super) candidates: &'a [CString],
    /// The lists for execve(2); the last pointer of each is null.
    pub(super) arguments: &'a [*const c_char],
    pub(super) environment: &'a [*const c_char],
    /// `sh FILE ARG...`, with room for the file.
    pub(super) script: &'a mut [*const c_char],
    pub(super) report: LaunchReport,
}

/// The child's answer.
pub(super) struct LaunchReport {
    pub(super) search: Search,
    /// The signals that were pending for retry, if /proc told.
    pub(super) retrys: Option<SignalSet>,
    /// The signals that were pending for the child, a moment later.
    pub(super) childs: SignalSet,
}

impl LaunchReport {
    pub(super) fn new(candidates: usize) -> Self {
        Self { search: Search::new(candidates), retrys: None, childs: SignalSet::default() }
    }
}

/// The stop signals of a terminal.
const STOPS: [c_int; 3] = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

/// Bits of the stop signals that arrived for the child, which did not stop.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Takes the stop signals that the child of the last start dropped.
pub(super) fn take_dropped() -> SignalSet {
    let numbers = DROPPED.swap(0, Ordering::Relaxed);
    let taken = STOPS.into_iter().filter(|signal| numbers & (1 << signal) != 0);
    taken.fold(SignalSet::default(), |set, signal| set.union(SignalSet::of(signal)))
}

/// The handler of stop signals in the child.
extern "C" fn drop_stop(signal: c_int) {
    DROPPED.fetch_or(1 << (signal & 63), Ordering::Relaxed);
}

impl Launch<'_> {
    /// Becomes the command. Returns only if that fails; then the child must exit.
    ///
    /// # Safety
    /// The caller is a child of clone(2) whose parent is suspended until this process executes or
    /// exits.
    pub(super) unsafe fn run(&mut self) {
        // SAFETY: all calls are async-signal-safe, on memory that the suspended parent keeps.
        unsafe {
            if self.group == Group::Own {
                libc::setpgid(0, 0);
            }
            for (from, to) in self.redirected {
                // Both are open and differ, so the call does not fail. The copy stays open over
                // execve.
                libc::dup2(*from, *to);
            }
            self.die_with_retry();
            if self.child_ignored {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = libc::SIG_IGN;
                libc::sigaction(libc::SIGCHLD, &raw const action, std::ptr::null_mut());
            }
            self.note_pending_signals();
            drop_stops();
            libc::sigprocmask(libc::SIG_SETMASK, &raw const self.mask, std::ptr::null_mut());
            self.execute();
        }
    }

    /// Asks for a signal at retry's death, and exits if retry is dead already.
    unsafe fn die_with_retry(&self) {
        // SAFETY: plain system calls.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, self.death_signal);
            // It is 0 if retry is outside the pid namespace of its children.
            let now = libc::getppid().cast_unsigned();
            if now != 0 && now != self.parent {
                libc::_exit(125);
            }
        }
    }

    /// Notes the signals that are pending for retry, and then those that are pending for the child.
    /// The order matters, see [`DuringStart::sort`](super::signal::pending::DuringStart::sort).
    fn note_pending_signals(&mut self) {
        self.report.retrys = self.status.and_then(pending::of_status);
        self.report.childs = pending::own();
    }

    /// Executes the first candidate that can be executed.
    unsafe fn execute(&mut self) {
        for (i, candidate) in self.candidates.iter().enumerate() {
            // SAFETY: the last pointer of each list is null, and all that they point to outlives
            // the call.
            let errno = unsafe {
                libc::execve(candidate.as_ptr(), self.arguments.as_ptr(), self.environment.as_ptr());
                let errno = *libc::__errno_location();
                if errno == libc::ENOEXEC {
                    *self.script.as_mut_ptr().add(1) = candidate.as_ptr();
                    libc::execve(SHELL.as_ptr(), self.script.as_ptr(), self.environment.as_ptr());
                    *libc::__errno_location()
                } else {
                    errno
                }
            };
            if !self.report.search.tries_next(i, errno) {
                break;
            }
        }
        self.report.search.failed = true;
    }
}

/// Drops stop signals from now on. A child that stops before its execve would hold up retry for
/// good, because retry cannot stop and give the terminal back while it is suspended. execve(2)
/// resets the handler. Signals that retry ignores stay ignored.
fn drop_stops() {
    // SAFETY: an all-zero sigaction is valid. The handler makes one atomic store, and no other
    // handler interrupts it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = drop_stop as extern "C" fn(c_int) as usize;
        libc::sigfillset(&raw mut action.sa_mask);
        for signal in STOPS {
            let mut before: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, &raw const action, &raw mut before);
            if before.sa_sigaction == libc::SIG_IGN {
                libc::sigaction(signal, &raw const before, std::ptr::null_mut());
            }
        }
    }
}

/// The search for the command along its candidates.
#[derive(Debug, Clone, Copy)]
pub(super) struct Search {
    /// There are several candidates: one for each directory of PATH.
    several: bool,
    /// The error to report.
    pub(super) errno: i32,
    /// The candidate that had this error.
    pub(super) tried: usize,
    /// No candidate could be executed.
    pub(super) failed: bool,
}

impl Search {
    pub(super) fn new(candidates: usize) -> Self {
        Self { several: candidates > 1, errno: libc::ENOENT, tried: 0, failed: false }
    }

    /// Whether the next candidate is tried after this one failed with `errno`. The rule is that of
    /// execvp(3): the search goes on after directories that do not have the command, and after
    /// files that may not be executed.
    ///
    /// A file system that is away (ESTALE, ETIMEDOUT) may have the command once it is back. So this
    /// error outranks "permission denied", which outranks "not found".
    fn tries_next(&mut self, candidate: usize, errno: i32) -> bool {
        let away = |errno| matches!(errno, libc::ESTALE | libc::ETIMEDOUT);
        let missing = matches!(errno, libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG | libc::ENODEV);
        let skips = self.several && (missing || away(errno) || errno == libc::EACCES);
        let better = match errno {
            _ if !skips => true,
            libc::EACCES => self.errno == libc::ENOENT,
            _ => away(errno) && !away(self.errno),
        };
        if better {
            (self.errno, self.tried) = (errno, candidate);
        }
        skips
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_reports_the_error_that_matters_most() {
        use libc::{EACCES, EIO, ENOENT, ENOTDIR, ESTALE, ETXTBSY};
        for (errors, reported, tried) in [
            (&[ENOENT, ENOENT, ENOTDIR][..], ENOENT, 0),
            (&[ENOENT, EACCES, ENOENT], EACCES, 1),
            (&[EACCES, EACCES], EACCES, 0),
            (&[ENOENT, ESTALE, ENOENT], ESTALE, 1),
            (&[ESTALE, EACCES], ESTALE, 0),
            (&[EACCES, ESTALE], ESTALE, 1),
            // These errors end the search.
            (&[ENOENT, ETXTBSY, ENOENT], ETXTBSY, 1),
            (&[EACCES, EIO, ENOENT], EIO, 1),
            // A name with a slash is not searched for, so its error is the result.
            (&[ENOENT], ENOENT, 0),
            (&[ENOTDIR], ENOTDIR, 0),
            (&[EACCES], EACCES, 0),
        ] {
            let mut search = Search::new(errors.len());
            for (candidate, errno) in errors.iter().enumerate() {
                if !search.tries_next(candidate, *errno) {
                    break;
                }
            }
            assert_eq!((search.errno, search.tried), (reported, tried), "{errors:?}");
        }
    }
}
