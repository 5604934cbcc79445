//! Starting the command, and reaping.
//!
//! The command is started by clone(2) with CLONE_VM and CLONE_VFORK, as glibc's posix_spawn(3) does it, but
//! with what posix_spawn has no room for: a parent-death signal, dispositions left alone (posix_spawn
//! ignores signals 32 and 33 in the child, the standard library resets an ignored SIGPIPE), and a script
//! without `#!` run by `sh`.

use std::ffi::{CStr, CString, OsStr, c_char, c_void};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::signal::SigSet;
use nix::sys::stat::Mode;

use super::launch::{Launch, SHELL, Search, Told, take_dropped};
use super::pending::{self, Arrived, Set};
use super::signal::Signals;
use super::terminal::Group;
use crate::policy::outcome::{NotStarted, Outcome};
use crate::policy::signal::Signal;
use crate::streams::descriptor::lift;
use crate::streams::redirection::Redirection;

/// Where execvp(3) looks when PATH is not set (confstr(3), _CS_PATH).
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// Room for the few frames between clone(2) and execve(2); signals are blocked meanwhile.
const STACK: usize = 32 * 1024;

/// A command line, ready for execve(2) however often.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    /// Every path at which to try it, in order.
    candidates: Vec<CString>,
    arguments: Vec<CString>,
}

/// How a command is to be started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start<'a> {
    pub(crate) signals: &'a Signals,
    pub(crate) group: Group,
    /// What the command is sent when retry dies.
    pub(crate) death_signal: Signal,
    pub(crate) redirections: &'a [Redirection],
}

/// A command that runs.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: i32,
    /// Signals that are pending for retry and did not come to the command: it was not there yet, or had to
    /// drop them.
    pub(crate) early: SigSet,
    /// Signals that are pending for retry and came to the command too.
    pub(crate) shared: SigSet,
}

impl Command {
    /// Looks up `program` as execvp(3) does: as it is when it has a slash, else in every directory of
    /// `path`, which is the PATH of retry's own environment.
    pub(crate) fn new(program: &OsStr, arguments: &[impl AsRef<OsStr>], path: Option<&[u8]>) -> Self {
        // An argument cannot hold a NUL byte: it came from a C string.
        let c_string = |bytes: &[u8]| CString::new(bytes).unwrap_or_default();
        let name = program.as_bytes();
        let candidates = if name.is_empty() {
            Vec::new()
        } else if name.contains(&b'/') {
            vec![c_string(name)]
        } else {
            path.unwrap_or(DEFAULT_PATH)
                .split(|b| *b == b':')
                .map(|directory| match directory {
                    b"" => c_string(name),
                    _ => c_string(&[directory, b"/", name].concat()),
                })
                .collect()
        };
        let rest = arguments.iter().map(|argument| c_string(argument.as_ref().as_bytes()));
        Self { candidates, arguments: std::iter::once(c_string(name)).chain(rest).collect() }
    }

    /// The same with other arguments: what `change` makes of each, the name aside.
    pub(crate) fn with_arguments(&self, change: impl Fn(&[u8]) -> Vec<u8>) -> Self {
        let (name, rest) =
            self.arguments.split_first().map_or((None, &[][..]), |(name, rest)| (Some(name), rest));
        // What replaces holds no NUL byte either.
        let changed =
            rest.iter().map(|argument| CString::new(change(argument.as_bytes())).unwrap_or_default());
        Self {
            candidates: self.candidates.clone(),
            arguments: name.cloned().into_iter().chain(changed).collect(),
        }
    }

    /// Starts it with this environment.
    ///
    /// # Errors
    /// Why there is no process, or none that runs the command.
    pub(crate) fn start(&self, environment: &[CString], start: Start<'_>) -> Result<Child, NotStarted> {
        let environment = pointers(environment);
        let arguments = pointers(&self.arguments);
        // `sh FILE ARG...`, the file filled in where it is needed.
        let mut script: Vec<*const c_char> = vec![SHELL.as_ptr(), std::ptr::null()];
        script.extend(arguments.iter().skip(1));

        let redirected: Vec<(i32, i32)> =
            start.redirections.iter().flat_map(Redirection::duplications).collect();
        // The child reads it. It is retry's whatever process the path means there, and whatever /proc shows.
        let status = if start.group == Group::Shared { own_status() } else { None };
        // Shared with the child, which runs in this memory until its execve succeeds.
        let mut launch = Launch {
            group: start.group,
            redirected: &redirected,
            death_signal: start.death_signal.number(),
            parent: std::process::id(),
            child_ignored: start.signals.child_ignored(),
            mask: *start.signals.mask().as_ref(),
            status: status.as_ref().map(AsRawFd::as_raw_fd),
            candidates: &self.candidates,
            arguments: &arguments,
            environment: &environment,
            script: &mut script,
            told: Told { search: Search::new(self.candidates.len()), retrys: None, childs: Set::default() },
        };
        let pid = clone_into(&mut launch).map_err(NotStarted::NoProcess)?;
        let told = launch.told;
        let dropped = take_dropped();
        if !told.search.failed {
            let Arrived { early, shared } = arrived(&told, start.group, dropped);
            return Ok(Child { pid, early: early.to_sigset(), shared: shared.to_sigset() });
        }
        reap_one(pid);
        Err(self.why(Errno::from_raw(told.search.errno), told.search.tried))
    }

    /// Not found, or found and why it could not run.
    fn why(&self, errno: Errno, tried: usize) -> NotStarted {
        let Some(path) = self.candidates.get(tried) else { return NotStarted::NotFound };
        let path = Path::new(OsStr::from_bytes(path.as_bytes()));
        match errno {
            Errno::ENOENT => match self.candidates.iter().find(|c| exists(c)) {
                Some(_) => NotStarted::NoInterpreter,
                None => NotStarted::NotFound,
            },
            Errno::EACCES if path.is_dir() => NotStarted::Directory,
            _ => NotStarted::CannotRun(errno),
        }
    }
}

/// This process's /proc/PID/status, above the standard streams; none without /proc or a free descriptor.
fn own_status() -> Option<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    lift(open("/proc/self/status", flags, Mode::empty()).ok()?).ok()
}

/// Sorts what came to retry while the command started.
///
/// If /proc did not tell what was pending for retry before the child's look, then retry's own set of now serves.
/// It holds later signals too, and one that the terminal sent to both in between reaches the command twice.
/// None is lost.
fn arrived(told: &Told, group: Group, dropped: Set) -> Arrived {
    let retrys = match (group, told.retrys) {
        (_, Some(retrys)) => retrys,
        (Group::Shared, None) => pending::own(),
        // What came before the child left the group came to both, and anything later to retry alone.
        (Group::Own, None) if told.childs.is_empty() => Set::default(),
        (Group::Own, None) => pending::own(),
    };
    // A CONT may have taken the stop back meanwhile.
    let dropped = if dropped.is_empty() { dropped } else { dropped.in_both(pending::own()) };
    Arrived::sort(retrys, told.childs, dropped)
}

/// Starts a process that carries this out, and waits until it is the command or has exited.
fn clone_into(launch: &mut Launch<'_>) -> nix::Result<i32> {
    extern "C" fn call(launch: *mut c_void) -> libc::c_int {
        // SAFETY: it is the reference of below, and the parent is suspended.
        unsafe { (*launch.cast::<Launch<'_>>()).run() };
        126
    }
    // Not filled with zeros: a stack that is not used takes no memory.
    let mut stack = Box::<[u8]>::new_uninit_slice(STACK);
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack is ours and large enough, and CLONE_VFORK keeps it and `launch` alive for as long as
    // the child uses them. A stack grows down, from an address that 16 divides (clone(2)).
    Errno::result(unsafe {
        let top = stack.as_mut_ptr().add(STACK).cast::<c_void>();
        let top = top.byte_sub(top.addr() % 16);
        libc::clone(call, top, flags, std::ptr::from_mut(launch).cast())
    })
}

fn exists(path: &CStr) -> bool {
    Path::new(OsStr::from_bytes(path.to_bytes())).exists()
}

/// A list as execve(2) wants it: pointers, ended by null.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|s| s.as_ptr()).chain(std::iter::once(std::ptr::null())).collect()
}

/// What happened to a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// It ended, and is reaped.
    Ended(Outcome),
    /// It was stopped by this signal, and still is.
    Stopped(Signal),
}

/// The next child that has ended or stopped, if there is one; a child of any kind, also one that a process
/// now exec'ed into retry had started, or an orphan that came to retry.
pub(crate) fn next_change() -> Option<(i32, Change)> {
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

/// Children that one turn reaps at most: something that forks without end must not keep retry from its
/// signals and its clock.
pub(crate) const REAPED: usize = 64;

/// Reaps children of which nothing is to be known. Whether more may be left than one turn reaps.
pub(crate) fn reap_all() -> bool {
    (0..REAPED).all(|_| next_change().is_some())
}

/// Whether a child has ended, which stays to be reaped.
pub(crate) fn has_ended(pid: i32) -> bool {
    let Ok(id) = libc::id_t::try_from(pid) else { return false };
    let mut information = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: waitid(2) fills in the information, which is all zero where there is nothing to tell.
    unsafe {
        libc::waitid(libc::P_PID, id, information.as_mut_ptr(), options) == 0
            && information.assume_init().si_pid() == pid
    }
}

/// Whether this process has no child at all, not even one to reap (ECHILD from waitid(2)).
pub(crate) fn none_left() -> bool {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: no information is asked for.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, std::ptr::null_mut(), options) };
    Errno::result(result).is_err_and(|errno| errno == Errno::ECHILD)
}

/// Waits for the one child that has just exited by itself.
fn reap_one(pid: i32) {
    // SAFETY: no status is asked for.
    while unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) } == -1 && Errno::last() == Errno::EINTR {}
}
