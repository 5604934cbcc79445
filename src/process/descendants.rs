//! All that an attempt started, wherever it went: found by a walk over the process table, signalled
//! through pidfds so that a reused pid is never hit.
//!
//! retry is a child subreaper (PR_SET_CHILD_SUBREAPER, prctl(2)) wherever an attempt has a limit, so an
//! orphan of the attempt comes to retry, and everything that it started stays below retry. What lived there
//! before the attempt began, left by an earlier attempt or by a process that exec'ed into retry, is known
//! by pid and start time and never touched.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::unistd::{Pid, getpgid};

use super::child::has_ended;
use super::signal;

/// A process, told apart from a later one with the same pid by when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// Clock ticks after boot (proc_pid_stat(5), field 22), or [`HIDDEN`].
    start: u64,
}

/// The start of a child that /proc hides. Only the first process of the machine starts with the boot.
const HIDDEN: u64 = 0;

/// One row of the process table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    process: Process,
    parent: i32,
    group: i32,
    state: State,
}

/// What a process does, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Alive,
    Stopped,
    /// Dead, and only not reaped yet.
    Dead,
}

/// What lived below retry at one moment.
#[derive(Debug, Default)]
pub(crate) struct Before {
    processes: BTreeSet<Process>,
    /// Process groups of theirs, retry's own aside: whatever joins them later is theirs too.
    groups: BTreeSet<i32>,
}

impl Before {
    /// Remembers what lives below this process now.
    pub(crate) fn now() -> Self {
        // Usually nothing does, and one small file says so.
        if matches!(fs::read("/proc/thread-self/children"), Ok(children) if children.is_empty()) {
            return Self::default();
        }
        let own = own_group();
        let mut before = Self::default();
        for row in below(&table().unwrap_or_default(), own_pid(), &Self::default()) {
            before.processes.insert(row.process);
            if row.group != own {
                before.groups.insert(row.group);
            }
        }
        before
    }

    /// Adds what the processes that lived there have started since: it is as much theirs, also once they are
    /// gone and it has come to retry.
    pub(crate) fn grow(&mut self) {
        if self.is_empty() {
            return;
        }
        let own = own_group();
        let table = table().unwrap_or_default();
        let roots = table.iter().filter(|row| self.holds(row)).map(|row| row.process.pid);
        for root in roots.collect::<Vec<_>>() {
            for row in below(&table, root, &Self::default()) {
                self.processes.insert(row.process);
                if row.group != own {
                    self.groups.insert(row.group);
                }
            }
        }
    }

    /// Whether nothing lived there.
    pub(crate) fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    fn holds(&self, row: &Row) -> bool {
        let hidden = Process { start: HIDDEN, ..row.process };
        self.processes.contains(&row.process)
            || self.processes.contains(&hidden)
            || self.groups.contains(&row.group)
    }
}

/// What lives below this process now and did not before, parents first; none where /proc does not tell.
pub(crate) fn since(before: &Before) -> Option<Vec<Process>> {
    let rows = below(&table()?, own_pid(), before);
    Some(rows.into_iter().filter(|row| row.state != State::Dead).map(|row| row.process).collect())
}

/// A process that a walk has just found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) process: Process,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    /// It is dead and not reaped yet.
    pub(crate) dead: bool,
    /// Opened before the process was identified. None if the kernel refuses.
    handle: Option<OwnedFd>,
}

impl Found {
    /// Sends it signals, in order. That it has ended meanwhile is no error.
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

/// Visits what lives below this process and did not before, each process before its children, and goes on to
/// the children if `visit` says so. It reads the kernel's lists of children (proc_pid_children(5)) instead of the
/// whole table, so it can keep up with a chain of processes that fork and exit.
///
/// If `visit` kills, a list is read after the visit: the process forks no more. Otherwise it is read before, and
/// does not have what a handler of a signal starts. A walk that kills also sends KILL to all own children first,
/// if nothing lived here before. Their pids stay theirs until they are reaped.
///
/// The lists may miss what moves while they are read, so nothing found does not mean that nothing is left.
/// It ends early when `enough` says so. False if there are no such lists.
pub(crate) fn walk(
    before: &Before,
    kills: bool,
    enough: impl Fn() -> bool,
    mut visit: impl FnMut(&Found) -> bool,
) -> bool {
    if !proc_is_ours() || fs::metadata("/proc/thread-self/children").is_err() {
        return false;
    }
    let own = own_pid();
    let first: Vec<i32> = listed_children(own).collect();
    for pid in first.iter().filter(|_| kills && before.is_empty()) {
        // Another user's process shows when it is looked at.
        let _ = signal::send(*pid, libc::SIGKILL);
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
            // While the handle is open, the pid cannot pass to another process unseen.
            let handle = pidfd_open(pid).ok();
            let row = fs::read(format!("/proc/{pid}/stat")).ok().and_then(|stat| parse(pid, &stat));
            let is_below = |row: &Row| row.parent == parent || row.parent == own;
            let Some(row) = row.filter(|row| is_below(row) && !before.holds(row)) else { continue };
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

/// The children of each thread of a process, those of the first thread first, and the latest first.
fn listed_children(pid: i32) -> impl Iterator<Item = i32> {
    let list = move |task: i32| {
        let list = fs::read_to_string(format!("/proc/{pid}/task/{task}/children")).unwrap_or_default();
        let pids = list.split_ascii_whitespace().rev().filter_map(|pid| pid.parse().ok());
        pids.collect::<Vec<i32>>()
    };
    let threads =
        std::iter::once_with(move || fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten());
    let threads = threads.flatten().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let others = threads.filter(move |task| *task != pid).flat_map(list);
    std::iter::once(pid).flat_map(list).chain(others)
}

fn own_pid() -> i32 {
    std::process::id().cast_signed()
}

fn own_group() -> i32 {
    nix::unistd::getpgrp().as_raw()
}

/// The rows below `root`, parents first; what was there before is left out with all that is below it.
fn below(table: &[Row], root: i32, before: &Before) -> Vec<Row> {
    let mut found = Vec::new();
    let mut parents = vec![root];
    let mut seen = BTreeSet::from([root]);
    while let Some(parent) = parents.pop() {
        for row in table.iter().filter(|row| row.parent == parent) {
            if !before.holds(row) && seen.insert(row.process.pid) {
                found.push(*row);
                parents.push(row.process.pid);
            }
        }
    }
    found
}

/// The process table, as far as /proc shows it, with all children of this process. None if /proc is not mounted
/// or shows another pid namespace, or if no descriptor is left to read it.
fn table() -> Option<Vec<Row>> {
    if !proc_is_ours() {
        return None;
    }
    let mut rows = Vec::new();
    for entry in fs::read_dir("/proc").ok()? {
        let Some(pid) = entry.ok()?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        match fs::read(format!("/proc/{pid}/stat")) {
            Ok(stat) => rows.extend(parse(pid, &stat)),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => return None,
            // It has ended meanwhile.
            Err(_) => {}
        }
    }
    let seen: BTreeSet<i32> = rows.iter().map(|row| row.process.pid).collect();
    rows.extend(children().into_iter().filter(|pid| !seen.contains(pid)).filter_map(hidden));
    Some(rows)
}

/// The pids of this process's children (proc_pid_children(5)), those included that hidepid hides elsewhere in
/// /proc. None of them passes to another process before this one reaps it.
fn children() -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/self/task/{}/children", own_pid())).unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The row of a child that the rest of /proc does not show: it belongs to another user, or its program may not be
/// read, and /proc is mounted with hidepid (proc(5)).
fn hidden(pid: i32) -> Option<Row> {
    let group = getpgid(Some(Pid::from_raw(pid))).ok()?.as_raw();
    let state = if has_ended(pid) { State::Dead } else { State::Alive };
    // It may have been started since the table was read.
    row(pid).or(Some(Row { process: Process { pid, start: HIDDEN }, parent: own_pid(), group, state }))
}

/// Whether /proc has the pids that this process uses.
fn proc_is_ours() -> bool {
    fs::read_link("/proc/self").is_ok_and(|link| link.as_os_str() == own_pid().to_string().as_str())
}

fn row(pid: i32) -> Option<Row> {
    if !proc_is_ours() {
        return None;
    }
    parse(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads a line of proc_pid_stat(5). The name, the second field, may hold anything, so what follows its
/// last closing bracket is read.
fn parse(pid: i32, stat: &[u8]) -> Option<Row> {
    let end = stat.iter().rposition(|b| *b == b')')?;
    let mut fields = std::str::from_utf8(stat.get(end + 1..)?).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    // Field 20 and field 22; the next one is field 6.
    let threads = fields.nth(20 - 6)?;
    let start = fields.nth(1)?.parse().ok()?;
    let state = match state {
        // The first thread may be gone while others go on.
        "Z" if threads.parse().is_ok_and(|threads: u32| threads > 1) => State::Alive,
        "Z" | "X" | "x" => State::Dead,
        // `t` is how a tracer shows it.
        "T" | "t" => State::Stopped,
        _ => State::Alive,
    };
    Some(Row { process: Process { pid, start }, parent, group, state })
}

impl Process {
    /// The process that has this pid now.
    pub(crate) fn with_pid(pid: i32) -> Option<Self> {
        row(pid).map(|row| row.process)
    }

    /// Whether the process that has this pid is stopped now; where /proc does not tell, it is taken to be.
    pub(crate) fn is_stopped(pid: i32) -> bool {
        row(pid).is_none_or(|row| row.state == State::Stopped)
    }

    /// Sends it signals, in order. That it has ended meanwhile is no error.
    ///
    /// # Errors
    /// EPERM if it belongs to another user.
    pub(crate) fn send(self, signals: &[i32]) -> Result<(), Errno> {
        // While the handle is open, the pid cannot pass to another process unseen.
        let handle = pidfd_open(self.pid).ok();
        if !self.may_have_its_pid() {
            return Ok(());
        }
        for number in signals {
            if handle.as_ref().is_some_and(|handle| pidfd_send_signal(handle, *number).is_ok()) {
                continue;
            }
            // A refusal may be the call's and not the process's: a seccomp(2) filter may answer with any errno,
            // and Linux 5.2 has no pidfd_open(2). kill(2) says what holds for the process.
            if !self.may_have_its_pid() {
                return Ok(());
            }
            match signal::send(self.pid, *number) {
                Ok(()) => {}
                Err(Errno::ESRCH) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Whether the pid is still that of this process, as far as /proc tells.
    fn may_have_its_pid(self) -> bool {
        Self::with_pid(self.pid).is_none_or(|now| now == self || self.start == HIDDEN)
    }
}

/// Whether this process was started by that one, or by one that was. Not through a pid namespace.
pub(crate) fn is_ancestor(pid: u32) -> bool {
    let Ok(sought) = i32::try_from(pid) else { return false };
    let parent = |pid: i32| {
        let line = fs::read(format!("/proc/{pid}/stat")).ok()?;
        parse(pid, &line).map(|row| row.parent)
    };
    // Longer than any row of ancestors; parents may change while it is walked.
    let above = std::iter::successors(parent(own_pid()), |pid| parent(*pid)).take(1000);
    sought > 1 && above.take_while(|pid| *pid > 0).any(|pid| pid == sought)
}

fn pidfd_open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: pidfd_open(2) takes two numbers and returns a new descriptor, close-on-exec.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn pidfd_send_signal(process: &OwnedFd, number: i32) -> Result<(), Errno> {
    let information = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: no information is passed, so nothing is read.
    let sent =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), number, information, 0) };
    Errno::result(sent).map(drop)
}

/// Whatever a process calls itself, its line is read or refused; and read from any beginning it may have.
#[cfg(any(test, fuzzing))]
pub(crate) fn property(bytes: &[u8]) {
    let known = parse(7, bytes);
    let named = [b"7 (a) R 1 (".as_slice(), bytes].concat();
    if known.is_some() {
        assert_eq!(parse(7, &named), known);
    }
    let name =
        [b"7 (".as_slice(), bytes, b") T 5 6 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 12345 0 0"].concat();
    let row = Row { process: Process { pid: 7, start: 12345 }, parent: 5, group: 6, state: State::Stopped };
    assert_eq!(parse(7, &name), Some(row));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_name_is_borne(bytes in prop::collection::vec(prop::sample::select(b"() 1Z\n\xff-".to_vec()), 0..60)) {
            property(&bytes);
        }
    }

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_confuse() {
        let line = b"77 (a) b) R 5 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 12345 0 0";
        let row = parse(77, line).unwrap();
        assert_eq!(
            row,
            Row { process: Process { pid: 77, start: 12345 }, parent: 5, group: 7, state: State::Alive }
        );
        assert_eq!(parse(77, b"77 (x"), None);
        assert_eq!(parse(77, b"77 (x) Z 5"), None);
    }

    #[test]
    fn this_process_is_in_the_table_as_it_is() {
        let own = table().unwrap().into_iter().find(|row| row.process.pid == own_pid()).unwrap();
        assert_eq!(own.group, own_group());
        assert_eq!(own.state, State::Alive);
    }

    fn tree(rows: &[(i32, i32, i32)]) -> Vec<Row> {
        let row = |(pid, parent, group)| Row {
            process: Process { pid, start: 1 },
            parent,
            group,
            state: State::Alive,
        };
        rows.iter().copied().map(row).collect()
    }

    fn pids(rows: &[Row]) -> Vec<i32> {
        let mut pids: Vec<i32> = rows.iter().map(|row| row.process.pid).collect();
        pids.sort_unstable();
        pids
    }

    #[test]
    fn what_was_there_before_is_left_out_with_its_children_and_its_group() {
        // 1 is retry. 2 was there with its child 3; 4 is the attempt with 5; 6 is a later orphan of 2's.
        let table = tree(&[(2, 1, 2), (3, 2, 3), (4, 1, 4), (5, 4, 5), (6, 1, 2), (9, 8, 9)]);
        let before =
            Before { processes: BTreeSet::from([Process { pid: 2, start: 1 }]), groups: BTreeSet::from([2]) };
        assert_eq!(pids(&below(&table, 1, &before)), [4, 5]);
        assert_eq!(pids(&below(&table, 1, &Before::default())), [2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_pid_that_went_to_another_process_is_another() {
        let table = tree(&[(2, 1, 2)]);
        let before =
            Before { processes: BTreeSet::from([Process { pid: 2, start: 2 }]), ..Before::default() };
        assert_eq!(pids(&below(&table, 1, &before)), [2]);
    }
}
