//! Starting the command.
//!
//! clone(2) with CLONE_VM and CLONE_VFORK starts the command, as in glibc's posix_spawn(3). retry
//! does not use posix_spawn because that cannot set a parent-death signal, changes dispositions (it
//! ignores signals 32 and 33 in the child, and the standard library resets an ignored SIGPIPE), and
//! does not run a script without `#!` by `sh`.

use std::ffi::{CStr, CString, OsStr, c_char, c_void};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::launch::{Launch, LaunchReport, SHELL, take_dropped};
use super::reap::reap;
use super::signal::pending::{self, DuringStart};
use super::signal::set::SignalSet;
use super::signal::stream::SignalStream;
use super::terminal::Group;
use crate::policy::outcome::NotStarted;
use crate::policy::signal::Signal;
use crate::streams::descriptor::lift;
use crate::streams::redirection::Redirection;

/// The PATH that execvp(3) uses if PATH is not set (confstr(3), _CS_PATH).
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// Size of the child's stack in bytes, for the few frames between clone(2) and execve(2). The child
/// blocks signals for that time.
const STACK: usize = 32 * 1024;

/// A command line that execve(2) can run any number of times.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    /// The paths to try, in order.
    candidates: Vec<CString>,
    arguments: Vec<CString>,
}

/// The surroundings of a command that starts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start<'a> {
    pub(super) signals: &'a SignalStream,
    pub(super) group: Group,
    /// The kernel sends this signal to the command when retry dies.
    pub(super) death_signal: Signal,
    pub(super) redirections: &'a [Redirection],
}

/// A command that runs.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) pid: i32,
    /// Signals that are pending for retry and arrived while the command was starting.
    pub(super) during_start: DuringStart,
}

impl Command {
    /// Looks up `program` as execvp(3) does: a name with a slash is a path, and any other name is
    /// searched in each directory of `path`, the PATH of retry's own environment.
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

    /// The same command with each argument changed by `change`, except for the name.
    pub(crate) fn with_arguments(&self, change: impl Fn(&[u8]) -> Vec<u8>) -> Self {
        let (name, rest) =
            self.arguments.split_first().map_or((None, &[][..]), |(name, rest)| (Some(name), rest));
        // `change` adds no NUL byte.
        let changed =
            rest.iter().map(|argument| CString::new(change(argument.as_bytes())).unwrap_or_default());
        Self {
            candidates: self.candidates.clone(),
            arguments: name.cloned().into_iter().chain(changed).collect(),
        }
    }

    /// Starts the command with this environment.
    ///
    /// # Errors
    /// If there is no process, or if it cannot execute the command.
    pub(super) fn start(&self, environment: &[CString], start: Start<'_>) -> Result<Child, NotStarted> {
        let environment = pointers(environment);
        let arguments = pointers(&self.arguments);
        // `sh FILE ARG...`. The child fills in the file if it needs the shell.
        let mut script: Vec<*const c_char> = vec![SHELL.as_ptr(), std::ptr::null()];
        script.extend(arguments.iter().skip(1));

        let redirected: Vec<(i32, i32)> =
            start.redirections.iter().flat_map(Redirection::duplications).collect();
        // The child reads the file. retry opens it, because the path would mean the child there.
        let status = if start.group == Group::Shared { own_status() } else { None };
        // The child runs in this memory until its execve succeeds.
        let mut launch = Launch {
            group: start.group,
            redirected: &redirected,
            death_signal: start.death_signal.number(),
            parent: std::process::id(),
            child_ignored: start.signals.child_ignored(),
            mask: *start.signals.inherited_mask().as_ref(),
            status: status.as_ref().map(AsRawFd::as_raw_fd),
            candidates: &self.candidates,
            arguments: &arguments,
            environment: &environment,
            script: &mut script,
            report: LaunchReport::new(self.candidates.len()),
        };
        let pid = clone_into(&mut launch).map_err(NotStarted::NoProcess)?;
        let report = launch.report;
        let dropped = take_dropped();
        if !report.search.failed {
            return Ok(Child { pid, during_start: during_start(&report, start.group, dropped) });
        }
        reap(pid);
        Err(self.not_started(Errno::from_raw(report.search.errno), report.search.tried))
    }

    fn not_started(&self, errno: Errno, tried: usize) -> NotStarted {
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

/// /proc/PID/status of this process, above the standard streams. None if there is no /proc or no
/// free descriptor.
fn own_status() -> Option<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    lift(open("/proc/self/status", flags, Mode::empty()).ok()?).ok()
}

/// Sorts the signals that arrived for retry while the command was starting.
///
/// If /proc did not tell what was pending for retry before the child looked, the set that is
/// pending now serves instead. It has later signals too, so a signal that the terminal sent to both
/// in between reaches the command twice. No signal is lost.
fn during_start(report: &LaunchReport, group: Group, dropped: SignalSet) -> DuringStart {
    let retrys = match (group, report.retrys) {
        (_, Some(retrys)) => retrys,
        (Group::Shared, None) => pending::own(),
        // A signal from before the child left the group came to both; a later one came to retry
        // alone.
        (Group::Own, None) if report.childs.is_empty() => SignalSet::default(),
        (Group::Own, None) => pending::own(),
    };
    // A CONT may have taken the stop back since.
    let dropped = if dropped.is_empty() { dropped } else { dropped.intersection(pending::own()) };
    DuringStart::sort(retrys, report.childs, dropped)
}

/// Starts a process that runs `launch`, and waits until the process is the command or has exited.
fn clone_into(launch: &mut Launch<'_>) -> nix::Result<i32> {
    extern "C" fn call(launch: *mut c_void) -> libc::c_int {
        // SAFETY: the pointer is the reference from below, and the parent is suspended.
        unsafe { (*launch.cast::<Launch<'_>>()).run() };
        126
    }
    // The stack is not filled with zeros: pages that nobody touches take no memory.
    let mut stack = Box::<[u8]>::new_uninit_slice(STACK);
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack is ours and large enough, and CLONE_VFORK keeps it and `launch` alive for
    // as long as the child uses them. A stack grows down, from an address that 16 divides
    // (clone(2)).
    Errno::result(unsafe {
        let top = stack.as_mut_ptr().add(STACK).cast::<c_void>();
        let top = top.byte_sub(top.addr() % 16);
        libc::clone(call, top, flags, std::ptr::from_mut(launch).cast())
    })
}

fn exists(path: &CStr) -> bool {
    Path::new(OsStr::from_bytes(path.to_bytes())).exists()
}

/// The form of a list that execve(2) wants: pointers, the last one null.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|s| s.as_ptr()).chain(std::iter::once(std::ptr::null())).collect()
}
