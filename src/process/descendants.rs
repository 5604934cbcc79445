//! The processes below retry: finding them in /proc, and signalling them. Signals go through
//! pidfds, so that a process that has reused a pid never gets one.
//!
//! If an attempt has a limit, retry is a child subreaper (PR_SET_CHILD_SUBREAPER, prctl(2)): the
//! orphans of the attempt become children of retry, so all processes that the attempt started stay
//! below retry. Other processes may live there too, see [`origin`](super::origin).

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::unistd::{Pid, getpgid, getsid};

use super::reap::has_ended;
use super::signal::send::send;

/// A process. Its start tells it from a later process with the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// Clock ticks after boot (proc_pid_stat(5), field 22), or [`HIDDEN`].
    start: u64,
}

/// The start of a child that /proc hides. Only the first process of the machine has this start in
/// truth.
const HIDDEN: u64 = 0;

/// One row of the process table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) process: Process,
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) session: i32,
    pub(super) state: State,
}

/// The state of a process, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Alive,
    Stopped,
    /// Dead, and not reaped yet.
    Dead,
}

/// A process that a walk has just found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) process: Process,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    /// The process is dead, and not reaped yet.
    pub(crate) dead: bool,
    /// The pidfd, which was opened before the process was identified. None if the kernel refuses
    /// one.
    handle: Option<OwnedFd>,
}

impl Found {
    /// Sends signals to the process, in order. It is no error if the process has ended.
    ///
    /// # Errors
    /// As [`Process::send`].
    pub(crate) fn send(&self, signals: &[i32]) -> Result<(), Errno> {
        let Some(handle) = &self.handle else { return self.process.send(signals) };
        for (i, number) in signals.iter().enumerate() {
            match pidfd_send_signal(handle, *number) {
                Ok(()) => {}
                Err(Errno::ESRCH) => return Ok(()),
                Err(_) => return self.process.send(signals.get(i..).unwrap_or_default()),
            }
        }
        Ok(())
    }
}

/// Visits the processes below retry, each one before its children. It goes on to the children if
/// `visit` returns true. It leaves out a process that `takes` refuses, with all processes below it;
/// `takes` also learns whether the process is listed as a child of retry. The walk reads the
/// kernel's lists of children (proc_pid_children(5)) and not the whole process table, so it keeps
/// up with a chain of processes that fork and exit.
///
/// If `visit` kills (`kills`), the walk reads the list of a process after the visit, because the
/// process forks no more then. Otherwise it reads the list before the visit, so that it leaves out
/// processes that a signal handler starts. A walk that kills sends KILL to all children of retry
/// first, if all of them belong to the attempt (`takes_all`). Children keep their pids until they
/// are reaped.
///
/// The walk ends early if `enough` returns true. The lists may miss a process that moves to another
/// parent while they are read, so processes may be left even if the walk finds none. Returns false
/// if the kernel has no lists.
pub(super) fn walk(
    kills: bool,
    takes_all: bool,
    mut takes: impl FnMut(&Row, bool) -> bool,
    enough: impl Fn() -> bool,
    mut visit: impl FnMut(&Found) -> bool,
) -> bool {
    if !proc_is_ours() || fs::metadata("/proc/thread-self/children").is_err() {
        return false;
    }
    let own = own_pid();
    let first: Vec<i32> = listed_children(own).collect();
    for pid in first.iter().filter(|_| kills && takes_all) {
        // If the process belongs to another user, the visit finds that out.
        let _ = send(*pid, libc::SIGKILL);
    }
    let mut seen = BTreeSet::new();
    let mut parents = vec![(own, first)];
    while let Some((parent, children)) = parents.pop() {
        for pid in children {
            if enough() {
                return true;
            }
            if !seen.insert(pid) {
                continue;
            }
            // The pidfd comes first: it stays with the process that has the pid now.
            let handle = pidfd_open(pid).ok();
            let row = fs::read(format!("/proc/{pid}/stat")).ok().and_then(|stat| parse(pid, &stat));
            // The kernel also lists children that /proc hides. A pid that is still listed is the
            // child's.
            let row =
                row.or_else(|| hidden(pid, parent).filter(|_| listed_children(parent).any(|c| c == pid)));
            let is_below = |row: &Row| row.parent == parent || row.parent == own;
            let Some(row) = row.filter(|row| is_below(row) && takes(row, parent == own)) else { continue };
            let (process, group, dead) = (row.process, row.group, row.state == State::Dead);
            let found = Found { process, parent: row.parent, group, dead, handle };
            let mut children = if kills || dead { Vec::new() } else { listed_children(pid).collect() };
            let goes_on = visit(&found);
            if goes_on && kills && !dead {
                children.extend(listed_children(pid));
            }
            if goes_on {
                parents.push((pid, children));
            }
        }
    }
    true
}

/// The children of all threads of a process: those of the first thread first, each thread's latest
/// child first.
fn listed_children(pid: i32) -> impl Iterator<Item = i32> {
    let list = move |task: i32| children_of(pid, task).into_iter().rev();
    let threads =
        std::iter::once_with(move || fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten());
    let threads = threads.flatten().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let others = threads.filter(move |task| *task != pid).flat_map(list);
    std::iter::once(pid).flat_map(list).chain(others)
}

pub(super) fn own_pid() -> i32 {
    std::process::id().cast_signed()
}

/// Whether /proc tells that this process has no child.
pub(super) fn has_no_children() -> bool {
    let own = own_pid();
    matches!(fs::read(children_file(own, own)), Ok(children) if children.is_empty())
}

/// The rows below `root`, parents first.
pub(super) fn below(table: &[Row], root: i32) -> Vec<Row> {
    let mut found = Vec::new();
    let mut parents = vec![root];
    let mut seen = BTreeSet::from([root]);
    while let Some(parent) = parents.pop() {
        for row in table.iter().filter(|row| row.parent == parent) {
            if seen.insert(row.process.pid) {
                found.push(*row);
                parents.push(row.process.pid);
            }
        }
    }
    found
}

/// The processes that /proc shows, and all children of this process. None if /proc is not mounted
/// or shows another pid namespace, or if no descriptor is left to read it.
pub(super) fn table() -> Option<Vec<Row>> {
    if !proc_is_ours() {
        return None;
    }
    let mut rows = Vec::new();
    for entry in fs::read_dir("/proc").ok()? {
        let Some(pid) = entry.ok()?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        match fs::read(format!("/proc/{pid}/stat")) {
            Ok(stat) => rows.extend(parse(pid, &stat)),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => return None,
            // The process has ended.
            Err(_) => {}
        }
    }
    let seen: BTreeSet<i32> = rows.iter().map(|row| row.process.pid).collect();
    let own = own_pid();
    let unseen = children_of(own, own).into_iter().filter(|pid| !seen.contains(pid));
    rows.extend(unseen.filter_map(|pid| hidden(pid, own)));
    Some(rows)
}

/// The children of one thread of a process, the latest last (proc_pid_children(5)). The list also
/// has the children that hidepid hides elsewhere in /proc.
fn children_of(pid: i32, task: i32) -> Vec<i32> {
    let list = fs::read_to_string(children_file(pid, task)).unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn children_file(pid: i32, task: i32) -> String {
    format!("/proc/{pid}/task/{task}/children")
}

/// The row of a child that the rest of /proc does not show, because /proc is mounted with hidepid
/// (proc(5)) and the child belongs to another user or its program may not be read.
fn hidden(pid: i32, parent: i32) -> Option<Row> {
    let id = Some(Pid::from_raw(pid));
    let (group, session) = (getpgid(id).ok()?.as_raw(), getsid(id).ok()?.as_raw());
    let state = if has_ended(pid) { State::Dead } else { State::Alive };
    let process = Process { pid, start: HIDDEN };
    // The child may have been started since the table was read.
    row(pid).or(Some(Row { process, parent, group, session, state }))
}

/// Whether /proc shows the pid namespace of this process.
fn proc_is_ours() -> bool {
    fs::read_link("/proc/self").is_ok_and(|link| link.as_os_str() == own_pid().to_string().as_str())
}

fn row(pid: i32) -> Option<Row> {
    if !proc_is_ours() {
        return None;
    }
    parse(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Whether a process below this one has this pid and is not dead.
pub(super) fn is_alive(pid: i32) -> bool {
    match row(pid) {
        Some(row) => row.state != State::Dead,
        // /proc hides the process, or it is gone.
        None => getpgid(Some(Pid::from_raw(pid))).is_ok() && !has_ended(pid),
    }
}

/// The address of the stack of a living process (proc_pid_stat(5), field 28). It is 0 while the
/// process is within execve(2) and does not have its environment yet.
pub(super) fn stack(pid: i32) -> Option<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse(pid, &stat).filter(|row| row.state != State::Dead)?;
    let end = stat.iter().rposition(|b| *b == b')')?;
    // Field 3 follows the name.
    let fields: Vec<&str> =
        std::str::from_utf8(stat.get(end + 1..)?).ok()?.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).and_then(|field| field.parse().ok());
    let (stack, arguments): (u64, u64) = (field(28)?, field(48)?);
    // execve(2) puts both at the same place at first. Its last step moves the start of the stack
    // below the arguments, and a step before that sets the place of the environment.
    Some(if stack < arguments { stack } else { 0 })
}

/// Reads a line of proc_pid_stat(5). The second field, the name, may have any bytes, so the fields
/// are counted from the last closing bracket.
fn parse(pid: i32, stat: &[u8]) -> Option<Row> {
    let end = stat.iter().rposition(|b| *b == b')')?;
    let mut fields = std::str::from_utf8(stat.get(end + 1..)?).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    // Field 20 and field 22; the next one is field 7.
    let threads = fields.nth(20 - 7)?;
    let start = fields.nth(1)?.parse().ok()?;
    let state = match state {
        // The first thread has ended, and others run.
        "Z" if threads.parse().is_ok_and(|threads: u32| threads > 1) => State::Alive,
        "Z" | "X" | "x" => State::Dead,
        // `t` is a stop by a tracer.
        "T" | "t" => State::Stopped,
        _ => State::Alive,
    };
    Some(Row { process: Process { pid, start }, parent, group, session, state })
}

impl Process {
    #[cfg(test)]
    pub(super) fn new(pid: i32, start: u64) -> Self {
        Self { pid, start }
    }

    /// The child with this pid, even if /proc hides it.
    pub(super) fn child(pid: i32) -> Self {
        Self::with_pid(pid).unwrap_or(Self { pid, start: HIDDEN })
    }

    /// Whether both are the same process. /proc may hide a child now and show it later, or the
    /// other way round, because execve(2) changes its program, and its user if the program is
    /// set-uid.
    pub(super) fn is(self, other: Self) -> bool {
        self.pid == other.pid && (self.start == other.start || self.start == HIDDEN || other.start == HIDDEN)
    }

    /// All processes with this pid, at any time.
    pub(super) fn any_start(self) -> RangeInclusive<Self> {
        Self { start: u64::MIN, ..self }..=Self { start: u64::MAX, ..self }
    }

    /// The process that has this pid now.
    pub(crate) fn with_pid(pid: i32) -> Option<Self> {
        row(pid).map(|row| row.process)
    }

    /// Whether the process with this pid is stopped now. The answer is yes if /proc does not tell.
    pub(crate) fn is_stopped(pid: i32) -> bool {
        row(pid).is_none_or(|row| row.state == State::Stopped)
    }

    /// Sends signals to the process, in order. It is no error if the process has ended.
    ///
    /// # Errors
    /// EPERM if it belongs to another user.
    pub(crate) fn send(self, signals: &[i32]) -> Result<(), Errno> {
        // The pidfd comes first: it stays with the process that has the pid now.
        let handle = pidfd_open(self.pid).ok();
        if !self.may_have_its_pid() {
            return Ok(());
        }
        for number in signals {
            if handle.as_ref().is_some_and(|handle| pidfd_send_signal(handle, *number).is_ok()) {
                continue;
            }
            // The error may tell about the call and not about the process: a seccomp(2) filter may
            // return any errno, and Linux 5.2 has no pidfd_open(2). kill(2) tells about the
            // process.
            if !self.may_have_its_pid() {
                return Ok(());
            }
            match send(self.pid, *number) {
                Ok(()) => {}
                Err(Errno::ESRCH) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Whether the process still has its pid, as far as /proc tells.
    fn may_have_its_pid(self) -> bool {
        Self::with_pid(self.pid).is_none_or(|now| now.is(self))
    }
}

/// The processes above this one, from its parent to the last below pid 1 of its pid namespace.
pub(crate) fn ancestors() -> impl Iterator<Item = u32> {
    let parent = |pid: i32| {
        let line = fs::read(format!("/proc/{pid}/stat")).ok()?;
        parse(pid, &line).map(|row| row.parent)
    };
    // The chain could be endless, because parents may change during the walk.
    let above = std::iter::successors(parent(own_pid()), move |pid| parent(*pid)).take(1000);
    above.take_while(|pid| *pid > 1).filter_map(|pid| u32::try_from(pid).ok())
}

fn pidfd_open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: pidfd_open(2) takes two numbers and returns a new descriptor, close-on-exec.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the descriptor is new, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn pidfd_send_signal(process: &OwnedFd, number: i32) -> Result<(), Errno> {
    let information = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: no information is passed, so nothing is read.
    let sent =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), number, information, 0) };
    Errno::result(sent).map(drop)
}

/// A line of proc_pid_stat(5) is read or refused, whatever name the process has.
#[cfg(any(test, fuzzing))]
pub(crate) fn property(bytes: &[u8]) {
    let known = parse(7, bytes);
    let named = [b"7 (a) R 1 (".as_slice(), bytes].concat();
    if known.is_some() {
        assert_eq!(parse(7, &named), known);
    }
    let name =
        [b"7 (".as_slice(), bytes, b") T 5 6 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 12345 0 0"].concat();
    let process = Process { pid: 7, start: 12345 };
    let row = Row { process, parent: 5, group: 6, session: 7, state: State::Stopped };
    assert_eq!(parse(7, &name), Some(row));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_name_is_accepted(bytes in prop::collection::vec(prop::sample::select(b"() 1Z\n\xff-".to_vec()), 0..60)) {
            property(&bytes);
        }
    }

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_confuse() {
        let line = b"77 (a) b) R 5 7 8 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 12345 0 0";
        let row = parse(77, line).unwrap();
        let process = Process { pid: 77, start: 12345 };
        assert_eq!(row, Row { process, parent: 5, group: 7, session: 8, state: State::Alive });
        assert_eq!(parse(77, b"77 (x"), None);
        assert_eq!(parse(77, b"77 (x) Z 5"), None);
    }

    #[test]
    fn this_process_is_in_the_table_as_it_is() {
        let own = table().unwrap().into_iter().find(|row| row.process.pid == own_pid()).unwrap();
        assert_eq!(own.group, nix::unistd::getpgrp().as_raw());
        assert_eq!(own.state, State::Alive);
    }

    #[test]
    fn parents_come_before_their_children_and_other_processes_are_left_out() {
        let row = |(pid, parent)| Row {
            process: Process { pid, start: 1 },
            parent,
            group: 1,
            session: 1,
            state: State::Alive,
        };
        let table = [(5, 4), (4, 1), (2, 1), (3, 2), (9, 8)].map(row);
        let pids: Vec<i32> = below(&table, 1).iter().map(|row| row.process.pid).collect();
        let at = |pid| pids.iter().position(|found| *found == pid);
        assert_eq!(pids.len(), 4, "{pids:?}");
        assert!(at(4) < at(5) && at(2) < at(3) && at(9).is_none(), "{pids:?}");
    }
}
