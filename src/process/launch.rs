//! The child's side of a start, between clone(2) and execve(2).
//!
//! The child runs in retry's own memory while retry is suspended (vfork(2)), so [`Launch`] carries what it
//! needs and what it has to tell. Everything here is async-signal-safe (signal-safety(7)): it allocates
//! nothing and cannot unwind.

use std::ffi::{CStr, CString, c_char, c_int};
use std::sync::atomic::{AtomicU64, Ordering};

use super::pending::{self, Set};
use super::terminal::Group;

/// The shell of a script without `#!` (execvp(3)).
pub(super) const SHELL: &CStr = c"/bin/sh";

/// What the child needs to become the command.
pub(super) struct Launch<'a> {
    pub(super) group: Group,
    /// Descriptors to copy, and the standard streams that they become.
    pub(super) redirected: &'a [(i32, i32)],
    /// The signal that the command gets when retry dies.
    pub(super) death_signal: i32,
    /// retry's process id.
    pub(super) parent: u32,
    /// The command starts with SIGCHLD ignored.
    pub(super) child_ignored: bool,
    /// The signal mask of the command.
    pub(super) mask: libc::sigset_t,
    /// retry's own /proc/PID/status, open, if it could be opened.
    pub(super) status: Option<i32>,
    /// Every path at which to try the command, in order.
    pub(super) candidates: &'a [CString],
    /// The lists for execve(2), each ended by null.
    pub(super) arguments: &'a [*const c_char],
    pub(super) environment: &'a [*const c_char],
    /// `sh FILE ARG...`, with room for the file.
    pub(super) script: &'a mut [*const c_char],
    pub(super) told: Told,
}

/// What the child tells.
pub(super) struct Told {
    pub(super) search: Search,
    /// The signals that were pending for retry, if /proc told.
    pub(super) retrys: Option<Set>,
    /// The signals that were pending for the child, after that.
    pub(super) childs: Set,
}

/// The stop signals of a terminal.
const STOPS: [c_int; 3] = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

/// The stops that the child took instead of stopping.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// The stops that the child of the last start took, and forgets them.
pub(super) fn take_dropped() -> Set {
    let numbers = DROPPED.swap(0, Ordering::Relaxed);
    let taken = STOPS.into_iter().filter(|signal| numbers & (1 << signal) != 0);
    taken.fold(Set::default(), |set, signal| set.with(Set::of(signal)))
}

/// Runs in the child, instead of a stop.
extern "C" fn drop_stop(signal: c_int) {
    DROPPED.fetch_or(1 << (signal & 63), Ordering::Relaxed);
}

impl Launch<'_> {
    /// Becomes the command. Returns only if it cannot: then the child is to exit.
    ///
    /// # Safety
    /// Only in a child of clone(2) whose parent is suspended until this process executes or exits.
    pub(super) unsafe fn run(&mut self) {
        // SAFETY: only async-signal-safe calls, on memory that outlives the child's stay in it.
        unsafe {
            if self.group == Group::Own {
                libc::setpgid(0, 0);
            }
            for (from, to) in self.redirected {
                // Both are open and differ, so it does not fail; the copy stays open over execve.
                libc::dup2(*from, *to);
            }
            self.die_with_retry();
            if self.child_ignored {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = libc::SIG_IGN;
                libc::sigaction(libc::SIGCHLD, &raw const action, std::ptr::null_mut());
            }
            self.see_signals();
            stay_awake();
            libc::sigprocmask(libc::SIG_SETMASK, &raw const self.mask, std::ptr::null_mut());
            self.execute();
        }
    }

    /// Asks for a signal at retry's death, and exits if that was before.
    unsafe fn die_with_retry(&self) {
        // SAFETY: plain system calls.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, self.death_signal);
            // 0: retry is outside the pid namespace that it gives to its children.
            let now = libc::getppid().cast_unsigned();
            if now != 0 && now != self.parent {
                libc::_exit(125);
            }
        }
    }

    /// Notes what is pending for retry, and then what is pending for the child. The order matters, see
    /// [`Arrived`](super::pending::Arrived).
    ///
    /// retry's set tells something new only if a terminal may send to both.
    fn see_signals(&mut self) {
        self.told.retrys = self.status.and_then(pending::of_status);
        self.told.childs = pending::own();
    }

    /// Tries the candidates.
    unsafe fn execute(&mut self) {
        for (i, candidate) in self.candidates.iter().enumerate() {
            // SAFETY: the lists end with null, and all that they point to outlives the call.
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
            if !self.told.search.goes_on(i, errno) {
                break;
            }
        }
        self.told.search.failed = true;
    }
}

/// Keeps a stop from acting on the child: stopped before its execve, it would hold up retry for good, which
/// cannot stop and give the terminal back while it is suspended. execve(2) resets the handler, and what retry
/// ignores stays ignored.
fn stay_awake() {
    // SAFETY: an all-zero sigaction is valid; the handler makes one atomic store, and no other handler
    // interrupts it.
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

/// What the search for the command has met, in the order of its candidates.
#[derive(Debug, Clone, Copy)]
pub(super) struct Search {
    /// There are several candidates: the directories of PATH.
    several: bool,
    /// The error to report, and the candidate that it belongs to.
    pub(super) errno: i32,
    pub(super) tried: usize,
    /// No candidate could be executed.
    pub(super) failed: bool,
}

impl Search {
    pub(super) fn new(candidates: usize) -> Self {
        Self { several: candidates > 1, errno: libc::ENOENT, tried: 0, failed: false }
    }

    /// Whether the next candidate is tried after this one failed with `errno`, as execvp(3) does it: past
    /// directories that do not have the command, and past files that may not be executed.
    ///
    /// A file system that is away (ESTALE, ETIMEDOUT) may have the command once it is back. So that error
    /// outranks "permission denied", and that outranks "not found".
    fn goes_on(&mut self, candidate: usize, errno: i32) -> bool {
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
    fn the_search_along_the_path_reports_what_matters_most() {
        use libc::{EACCES, EIO, ENOENT, ENOTDIR, ESTALE, ETXTBSY};
        for (errors, reported, tried) in [
            (&[ENOENT, ENOENT, ENOTDIR][..], ENOENT, 0),
            (&[ENOENT, EACCES, ENOENT], EACCES, 1),
            (&[EACCES, EACCES], EACCES, 0),
            (&[ENOENT, ESTALE, ENOENT], ESTALE, 1),
            (&[ESTALE, EACCES], ESTALE, 0),
            (&[EACCES, ESTALE], ESTALE, 1),
            // These end the search.
            (&[ENOENT, ETXTBSY, ENOENT], ETXTBSY, 1),
            (&[EACCES, EIO, ENOENT], EIO, 1),
            // A name with a slash: the error is the answer.
            (&[ENOENT], ENOENT, 0),
            (&[ENOTDIR], ENOTDIR, 0),
            (&[EACCES], EACCES, 0),
        ] {
            let mut search = Search::new(errors.len());
            for (candidate, errno) in errors.iter().enumerate() {
                if !search.goes_on(candidate, *errno) {
                    break;
                }
            }
            assert_eq!((search.errno, search.tried), (reported, tried), "{errors:?}");
        }
    }
}
