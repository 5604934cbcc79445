//! Which of the processes below retry the running attempt has started.
//!
//! If nothing lived below retry when the attempt began, the attempt has started everything there. Otherwise older
//! processes live there too: an earlier attempt left them, or a program started them and then became retry by
//! execve(2). A limit never ends older processes, nor what they start while the attempt runs.
//!
//! As long as its parent lives, a process belongs to the side of its parent. Orphans come to retry as their subreaper
//! (prctl(2)), and the process table does not say who started them. The first of these rules that applies decides:
//!
//! 1. An earlier walk has seen the process on one side.
//! 2. The process carries the mark of the attempt. The mark is a variable that only the command of this attempt gets,
//!    and everything inherits it that the command starts. There is a mark only if older processes live when the attempt
//!    begins.
//! 3. The process is in a session or process group that a walk has seen on one side.
//! 4. The process carries the key of this run, but not the mark: an earlier attempt has started it.
//! 5. The process carries neither: it has cleared its environment, or it comes from a program that knows nothing of
//!    this run. If an older process lacks the key too, the process counts as older: it is worse to end what belongs to
//!    others than to spare a daemon of the attempt. If all older processes carry the key, the attempt has started it.
//!
//! A process has no environment for a moment within execve(2). This surprised the author: without a second look, a
//! daemon that is just being started seems to have cleared its environment.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::io::ErrorKind;
use std::thread;
use std::time::Duration;

use nix::unistd::{Pid, getpgrp, getsid};

use super::descendants::{
    self, Found, Process, Row, State, below, has_no_children, is_alive, own_pid, stack, table,
};
use crate::clock::now;

/// The variable that holds the marks of an attempt and of the attempts around it, with a colon between them.
const MARK: &str = "RETRY_ORIGIN";

/// The variable that all attempts of a run get with the same value.
const KEY: &str = "RETRY_IDEMPOTENCY_KEY";

/// How many looks a process gets that is within execve(2), with a millisecond between them.
const LOOKS: usize = 100;

/// Who started a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Attempt,
    Older,
}

/// What walks have seen on one side.
#[derive(Debug, Default)]
struct Known {
    processes: BTreeSet<Process>,
    /// Process groups and sessions, without those of retry: both sides may be in these.
    groups: BTreeSet<i32>,
    sessions: BTreeSet<i32>,
}

/// Where this process is.
#[derive(Debug, Clone, Copy)]
struct Own {
    pid: i32,
    group: i32,
    session: i32,
}

impl Own {
    fn now() -> Self {
        let session = getsid(None).map_or(0, Pid::as_raw);
        Self { pid: own_pid(), group: getpgrp().as_raw(), session }
    }
}

impl Known {
    /// Adds a process; whether it is new.
    fn add(&mut self, row: &Row, own: Own) -> bool {
        if row.group != own.group {
            self.groups.insert(row.group);
        }
        if row.session != own.session {
            self.sessions.insert(row.session);
        }
        self.processes.insert(row.process)
    }

    fn has(&self, process: Process) -> bool {
        self.processes.range(process.any_start()).any(|known| known.is(process))
    }

    /// Whether it is in a group or session of these.
    fn holds(&self, row: &Row) -> bool {
        self.groups.contains(&row.group) || self.sessions.contains(&row.session)
    }
}

/// What lived below retry when an attempt began, and what tells the attempt's processes from it.
#[derive(Debug, Default)]
pub(crate) struct Before {
    older: Known,
    attempt: Known,
    /// The command itself.
    command: Option<Process>,
    /// The mark of the attempt.
    mark: Vec<u8>,
    /// The entry with the run's key in the environment of the command.
    key: Vec<u8>,
    /// An older process does not carry the key of this run.
    foreign: bool,
    /// The last walk has seen a living orphan that a later walk has to decide about.
    undecided: bool,
}

impl Before {
    /// Remembers what lives below this process now, just before it starts a command with this environment.
    pub(crate) fn now(environment: &[CString]) -> Self {
        // Usually nothing does, and one small file says so.
        if has_no_children() {
            return Self::default();
        }
        let key = environment.iter().find(|entry| value(entry.as_bytes(), KEY).is_some());
        let mut before = Self {
            mark: format!("{}.{}", own_pid(), now().as_nanos()).into_bytes(),
            key: key.map(|key| key.as_bytes().to_vec()).unwrap_or_default(),
            ..Self::default()
        };
        let own = Own::now();
        for row in below(&table().unwrap_or_default(), own.pid) {
            before.record(&row, Side::Older, own, &environment_of);
        }
        before
    }

    /// Whether nothing lived there.
    pub(crate) fn is_empty(&self) -> bool {
        self.older.processes.is_empty()
    }

    /// The environment for the command, with the mark of the attempt; none if it needs no mark.
    pub(crate) fn marked(&self, environment: &[CString]) -> Option<Vec<CString>> {
        if self.is_empty() {
            return None;
        }
        let is_mark = |entry: &&CString| value(entry.as_bytes(), MARK).is_some();
        // A retry around this one looks for a mark of its own.
        let outer = environment.iter().find(is_mark).and_then(|entry| value(entry.as_bytes(), MARK));
        let marks: Vec<&[u8]> = outer.into_iter().chain([self.mark.as_slice()]).collect();
        let entry = [MARK.as_bytes(), b"=", &marks.join(&b':')].concat();
        let kept = environment.iter().filter(|entry| !is_mark(entry)).cloned();
        // Neither part holds a NUL byte.
        Some(kept.chain(CString::new(entry)).collect())
    }

    /// The command has this pid.
    pub(crate) fn command_is(&mut self, pid: i32) {
        if !self.is_empty() {
            self.command = Some(Process::child(pid));
            // A group or session of this name can only come from the command.
            self.attempt.groups.insert(pid);
            self.attempt.sessions.insert(pid);
        }
    }

    /// Looks at what either side has started since the last walk.
    pub(crate) fn grow(&mut self) {
        if !self.is_empty() {
            let _ = self.rows();
        }
    }

    /// What lives below this process now and belongs to the attempt, parents first; none if /proc does not tell.
    pub(crate) fn attempts(&mut self) -> Option<Vec<Process>> {
        let alive = |row: &Row| row.state != State::Dead;
        Some(self.rows()?.into_iter().filter(alive).map(|row| row.process).collect())
    }

    /// Whether a walk finds nothing alive that belongs to the attempt, or may.
    pub(crate) fn nothing_lives(&mut self) -> bool {
        self.attempts().is_some_and(|alive| alive.is_empty()) && !self.undecided
    }

    /// Visits what lives below this process and belongs to the attempt, as [`walk`](descendants::walk) does.
    pub(crate) fn walk(
        &mut self,
        kills: bool,
        enough: impl Fn() -> bool,
        visit: impl FnMut(&Found) -> bool,
    ) -> bool {
        let takes_all = self.is_empty();
        descendants::walk(
            kills,
            takes_all,
            |row, is_child| takes_all || self.takes(row, is_child),
            enough,
            visit,
        )
    }

    /// Whether a process belongs to the attempt that a walk has met as a child of this process, or below a process of
    /// the attempt.
    fn takes(&mut self, row: &Row, is_child: bool) -> bool {
        let known = self.known(row.process);
        let side = match known.or((!is_child).then_some(Side::Attempt)) {
            Some(side) => side,
            None => match environment_of(row.process.pid) {
                Some(environment) => self.side_of_orphan(row, &environment),
                None => return false,
            },
        };
        self.record(row, side, Own::now(), &environment_of);
        side == Side::Attempt
    }

    /// The rows of the attempt.
    fn rows(&mut self) -> Option<Vec<Row>> {
        let table = table()?;
        if self.is_empty() {
            return Some(below(&table, own_pid()));
        }
        Some(self.sort(&table, Own::now(), &environment_of))
    }

    /// Finds the side of everything below this process, and returns the attempt's.
    fn sort(&mut self, table: &[Row], own: Own, environment: &dyn Fn(i32) -> Option<Vec<u8>>) -> Vec<Row> {
        self.undecided = false;
        let mut found = Vec::new();
        let children: Vec<&Row> = table.iter().filter(|row| row.parent == own.pid).collect();
        let mut take = |before: &mut Self, child: &Row, side| {
            for row in std::iter::once(*child).chain(below(table, child.process.pid)) {
                before.record(&row, side, own, environment);
                if side == Side::Attempt {
                    found.push(row);
                }
            }
        };
        // What is known comes first: it shows whose the groups and sessions are.
        for child in &children {
            if let Some(side) = self.known(child.process) {
                take(self, child, side);
            }
        }
        for child in children.iter().filter(|child| child.state != State::Dead) {
            if self.known(child.process).is_some() {
                continue;
            }
            match environment(child.process.pid) {
                Some(environment) => {
                    let side = self.side_of_orphan(child, &environment);
                    take(self, child, side);
                }
                None => self.undecided |= is_alive(child.process.pid),
            }
        }
        found
    }

    fn known(&self, process: Process) -> Option<Side> {
        if self.command.is_some_and(|command| command.is(process)) || self.attempt.has(process) {
            Some(Side::Attempt)
        } else {
            self.older.has(process).then_some(Side::Older)
        }
    }

    /// The side of a process that no walk has seen, and whose parent is gone.
    fn side_of_orphan(&self, row: &Row, environment: &[u8]) -> Side {
        if self.is_marked(environment) {
            Side::Attempt
        } else if self.older.holds(row) {
            Side::Older
        } else if self.attempt.holds(row) {
            Side::Attempt
        } else if self.carries_key(environment) || self.foreign {
            Side::Older
        } else {
            Side::Attempt
        }
    }

    fn record(&mut self, row: &Row, side: Side, own: Own, environment: &dyn Fn(i32) -> Option<Vec<u8>>) {
        match side {
            Side::Attempt => drop(self.attempt.add(row, own)),
            Side::Older => {
                if self.older.add(row, own)
                    && !self.foreign
                    && let Some(environment) = environment(row.process.pid)
                {
                    self.foreign = !self.carries_key(&environment);
                }
            }
        }
    }

    fn is_marked(&self, environment: &[u8]) -> bool {
        let marks = environment.split(|byte| *byte == 0).filter_map(|entry| value(entry, MARK));
        marks.flat_map(|marks| marks.split(|byte| *byte == b':')).any(|mark| mark == self.mark)
    }

    fn carries_key(&self, environment: &[u8]) -> bool {
        environment.split(|byte| *byte == 0).any(|entry| entry == self.key)
    }
}

/// The value in an entry of the environment, if it has this name.
fn value<'a>(entry: &'a [u8], name: &str) -> Option<&'a [u8]> {
    entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

/// The environment that a process was started with (proc_pid_environ(5)): empty if it belongs to another user, none
/// if the process is gone or stays within execve(2).
fn environment_of(pid: i32) -> Option<Vec<u8>> {
    for _ in 0..LOOKS {
        let before = stack(pid);
        match fs::read(format!("/proc/{pid}/environ")) {
            Ok(environment) if !environment.is_empty() => return Some(environment),
            Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound) => {
                return is_alive(pid).then(Vec::new);
            }
            // For a moment within execve(2) a process has no environment, whatever it is going to have, and a process
            // that exits loses its environment before it is dead.
            Ok(_) | Err(_) => {}
        }
        let after = stack(pid)?;
        if after != 0 && before == Some(after) {
            return Some(Vec::new());
        }
        thread::sleep(Duration::from_millis(1));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Own = Own { pid: 1, group: 1, session: 1 };

    /// A row of parent, group and session.
    fn row(pid: i32, parent: i32, group: i32, session: i32) -> Row {
        Row { process: Process::new(pid, 1), parent, group, session, state: State::Alive }
    }

    fn marked() -> Vec<u8> {
        b"A=1\0RETRY_IDEMPOTENCY_KEY=k\0RETRY_ORIGIN=9.9:7.7".to_vec()
    }

    fn keyed() -> Vec<u8> {
        b"RETRY_IDEMPOTENCY_KEY=k\0A=1".to_vec()
    }

    fn bare() -> Vec<u8> {
        b"A=1".to_vec()
    }

    /// Of an attempt with command 4 that began while `older` was there with these environments.
    fn before(older: &[(Row, Vec<u8>)]) -> Before {
        let mut before = Before {
            mark: b"7.7".to_vec(),
            key: b"RETRY_IDEMPOTENCY_KEY=k".to_vec(),
            command: Some(Process::new(4, 1)),
            ..Before::default()
        };
        for (row, environment) in older {
            before.record(row, Side::Older, OWN, &|_| Some(environment.clone()));
        }
        before
    }

    fn pids(rows: &[Row]) -> Vec<i32> {
        let mut pids: Vec<i32> = rows.iter().map(|row| row.process.pid).collect();
        pids.sort_unstable();
        pids
    }

    #[test]
    fn parents_tell_while_they_live_and_are_remembered() {
        let mut before = before(&[(row(2, 1, 2, 2), bare())]);
        let none = |_| Some(bare());
        let table = [row(2, 1, 2, 2), row(3, 2, 3, 3), row(4, 1, 4, 1), row(5, 4, 5, 5), row(9, 8, 9, 9)];
        assert_eq!(pids(&before.sort(&table, OWN, &none)), [4, 5]);
        // Both parents are gone; 6 and 7 are new in the sessions that 3 and 5 have made.
        let table = [row(3, 1, 3, 3), row(5, 1, 5, 5), row(6, 1, 6, 3), row(7, 1, 7, 5)];
        assert_eq!(pids(&before.sort(&table, OWN, &none)), [5, 7]);
    }

    #[test]
    fn an_orphan_is_told_by_mark_group_key_and_what_the_older_ones_lack() {
        let orphan = |group, session| row(6, 1, group, session);
        let older = || row(2, 1, 2, 2);
        for (lacks, environment, orphan, expected) in [
            // The mark, also where the group tells otherwise.
            (bare(), marked(), orphan(6, 6), true),
            (bare(), marked(), orphan(2, 1), true),
            // Another attempt's mark is none.
            (bare(), b"RETRY_ORIGIN=7.70:17.7".to_vec(), orphan(6, 6), false),
            // Groups and sessions.
            (keyed(), bare(), orphan(2, 1), false),
            (keyed(), bare(), orphan(6, 2), false),
            (bare(), bare(), orphan(4, 1), true),
            // Those of retry tell nothing.
            (keyed(), bare(), orphan(1, 1), true),
            // Of an earlier attempt.
            (keyed(), keyed(), orphan(6, 6), false),
            // Neither mark nor key.
            (keyed(), bare(), orphan(6, 6), true),
            (bare(), bare(), orphan(6, 6), false),
            (bare(), Vec::new(), orphan(6, 6), false),
        ] {
            let mut before = before(&[(older(), lacks.clone())]);
            let shown = format!("{lacks:?} {environment:?} {orphan:?}");
            let table = [row(4, 1, 4, 1), orphan];
            let found =
                before.sort(&table, OWN, &|pid| Some(if pid == 6 { environment.clone() } else { marked() }));
            assert_eq!(pids(&found), if expected { vec![4, 6] } else { vec![4] }, "{shown}");
        }
    }

    #[test]
    fn a_pid_that_went_to_another_process_is_another() {
        let mut before = before(&[(row(2, 1, 2, 2), keyed())]);
        let later = Row { process: Process::new(2, 5), ..row(2, 1, 6, 6) };
        assert_eq!(pids(&before.sort(&[later], OWN, &|_| Some(marked()))), [2]);
    }

    #[test]
    fn a_mark_stands_beside_those_of_retries_around() {
        let environment = |entries: &[&str]| -> Vec<CString> {
            entries.iter().map(|entry| CString::new(*entry).unwrap()).collect()
        };
        let before = before(&[(row(2, 1, 2, 2), bare())]);
        let with = |entries: &[&str]| before.marked(&environment(entries)).unwrap();
        assert_eq!(with(&["A=1"]), environment(&["A=1", "RETRY_ORIGIN=7.7"]));
        assert_eq!(with(&["RETRY_ORIGIN=9.9", "A=1"]), environment(&["A=1", "RETRY_ORIGIN=9.9:7.7"]));
        assert_eq!(Before::default().marked(&environment(&["A=1"])), None);
    }
}
