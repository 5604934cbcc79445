//! Which of the processes below retry the running attempt has started.
//!
//! If no process lived below retry when the attempt began, the attempt has started all of them.
//! Otherwise older processes live there too: an earlier attempt left them, or a program started
//! them and then became retry by execve(2). A limit ends neither older processes nor processes that
//! these start while the attempt runs.
//!
//! As long as its parent lives, a process has the origin of its parent. Orphans come to retry as
//! their subreaper (prctl(2)), and the process table does not tell who started them. The first of
//! these rules that applies decides:
//!
//! 1. An earlier walk knew the origin of the process.
//! 2. The process carries the mark of the attempt. The mark is a variable that only the command of
//!    this attempt gets, and each process inherits it that the command starts. There is a mark only
//!    if older processes live when the attempt begins.
//! 3. The process is in a session or process group that a walk has seen with one origin.
//! 4. The process carries the key of this run, but not the mark: an earlier attempt has started it.
//! 5. The process carries neither: it has cleared its environment, or comes from a program that
//!    knows nothing of this run. If an older process lacks the key too, the process counts as older:
//!    it is worse to end a process of others than to spare a daemon of the attempt. If all older
//!    processes carry the key, the attempt has started it.
//!
//! An orphan may come from a session that an older process has created since the last walk. So retry
//! looks at all known processes once more before it decides by the last rule.

use std::collections::BTreeSet;
use std::ffi::CString;

use nix::unistd::{Pid, getpgrp, getsid};

use super::descendants::{
    self, Found, Process, Row, State, below, has_no_children, is_alive, own_pid, table,
};
use super::environ::environment_of;
use crate::clock::now;
use crate::policy::environment::{IDEMPOTENCY_KEY, value, value_in, with};

/// The variable that holds the marks of an attempt and of the attempts around it, with a colon
/// between them.
const MARK: &str = "RETRY_ORIGIN";

/// The starter of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Attempt,
    Older,
}

/// How walks see other processes. A trait, so that a test can order what is seen.
trait Sight {
    /// The process table. None if /proc does not tell.
    fn table(&self) -> Option<Vec<Row>>;
    /// As [`environment_of`].
    fn environment(&self, pid: i32) -> Option<Vec<u8>>;
}

/// The sight of /proc.
struct Proc;

impl Sight for Proc {
    fn table(&self) -> Option<Vec<Row>> {
        table()
    }

    fn environment(&self, pid: i32) -> Option<Vec<u8>> {
        environment_of(pid)
    }
}

/// The processes of one origin that walks have seen.
#[derive(Debug, Default)]
struct Seen {
    processes: BTreeSet<Process>,
    /// Process groups and sessions. Those of retry are left out, because both origins may be in
    /// them.
    groups: BTreeSet<i32>,
    sessions: BTreeSet<i32>,
}

/// The ids of this process.
#[derive(Debug, Clone, Copy)]
struct OwnIds {
    pid: i32,
    group: i32,
    session: i32,
}

impl OwnIds {
    fn read() -> Self {
        let session = getsid(None).map_or(0, Pid::as_raw);
        Self { pid: own_pid(), group: getpgrp().as_raw(), session }
    }
}

impl Seen {
    /// Adds a process. Returns whether it is new.
    fn add(&mut self, row: &Row, own: OwnIds) -> bool {
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

    fn has_group_or_session_of(&self, row: &Row) -> bool {
        self.groups.contains(&row.group) || self.sessions.contains(&row.session)
    }
}

/// The origins of the processes below retry, during one attempt.
#[derive(Debug, Default)]
pub(super) struct Origins {
    older: Seen,
    attempt: Seen,
    command: Option<Process>,
    mark: Vec<u8>,
    /// The entry with the key of the run in the environment of the command.
    key: Vec<u8>,
    /// An older process does not carry the key of this run.
    older_lacks_key: bool,
    /// The last walk has seen a living orphan, and could not tell its origin yet.
    is_undecided: bool,
}

impl Origins {
    /// Looks at the processes below retry, which is about to start a command with this environment.
    pub(super) fn at_start(environment: &[CString]) -> Self {
        // Usually there are none, and one small file tells so.
        if has_no_children() {
            return Self::default();
        }
        let key = environment.iter().find(|entry| value_in(entry.as_bytes(), IDEMPOTENCY_KEY).is_some());
        let mut origins = Self {
            mark: format!("{}.{}", own_pid(), now().as_nanos()).into_bytes(),
            key: key.map(|key| key.as_bytes().to_vec()).unwrap_or_default(),
            ..Self::default()
        };
        let own = OwnIds::read();
        for row in below(&table().unwrap_or_default(), own.pid) {
            origins.record(&row, Origin::Older, own, &Proc);
        }
        origins
    }

    /// Whether all processes below retry are the attempt's, because no older process lived there.
    pub(super) fn no_older(&self) -> bool {
        self.older.processes.is_empty()
    }

    /// The environment for the command with the mark of the attempt. None if the command needs no
    /// mark.
    pub(super) fn marked_environment(&self, environment: &[CString]) -> Option<Vec<CString>> {
        if self.no_older() {
            return None;
        }
        // A retry around this one looks for a mark of its own.
        let outer = value(environment, MARK);
        let marks: Vec<&[u8]> = outer.into_iter().chain([self.mark.as_slice()]).collect();
        Some(with(environment, &[(MARK, Some(marks.join(&b':')))]))
    }

    /// Tells the pid of the command, which has just started.
    pub(super) fn set_command(&mut self, pid: i32) {
        if !self.no_older() {
            self.command = Some(Process::child(pid));
            // Only the command can make a group or session with this number.
            self.attempt.groups.insert(pid);
            self.attempt.sessions.insert(pid);
        }
    }

    /// Notes the processes that were started since the last walk.
    pub(super) fn update(&mut self) {
        if !self.no_older() {
            let _ = self.rows();
        }
    }

    /// The living processes of the attempt, parents first. None if /proc does not tell.
    pub(super) fn living(&mut self) -> Option<Vec<Process>> {
        let alive = |row: &Row| row.state != State::Dead;
        Some(self.rows()?.into_iter().filter(alive).map(|row| row.process).collect())
    }

    /// Whether a walk finds no living process that belongs to the attempt, or may.
    pub(super) fn nothing_lives(&mut self) -> bool {
        self.living().is_some_and(|alive| alive.is_empty()) && !self.is_undecided
    }

    /// Visits the processes of the attempt, as [`walk`](descendants::walk) does.
    pub(super) fn walk(
        &mut self,
        kills: bool,
        enough: impl Fn() -> bool,
        visit: impl FnMut(&Found) -> bool,
    ) -> bool {
        let takes_all = self.no_older();
        descendants::walk(
            kills,
            takes_all,
            |row, is_child| takes_all || self.takes(row, is_child),
            enough,
            visit,
        )
    }

    /// Whether a process belongs to the attempt. A walk has found it as a child of retry
    /// (`is_child`), or below a process of the attempt.
    fn takes(&mut self, row: &Row, is_child: bool) -> bool {
        let known = self.known(row.process);
        let origin = match known.or((!is_child).then_some(Origin::Attempt)) {
            Some(origin) => origin,
            None => match environment_of(row.process.pid) {
                Some(environment) => self.origin_of_orphan(row, &environment, OwnIds::read(), &Proc),
                None => return false,
            },
        };
        self.record(row, origin, OwnIds::read(), &Proc);
        origin == Origin::Attempt
    }

    /// The rows of the attempt, the dead ones too. None if /proc does not tell.
    fn rows(&mut self) -> Option<Vec<Row>> {
        let table = table()?;
        if self.no_older() {
            return Some(below(&table, own_pid()));
        }
        Some(self.sort(&table, OwnIds::read(), &Proc))
    }

    /// Finds the origin of each process below retry, and returns those of the attempt.
    fn sort(&mut self, table: &[Row], own: OwnIds, sight: &dyn Sight) -> Vec<Row> {
        self.is_undecided = false;
        // Known processes come first, because they tell the origin of groups and sessions.
        let mut found = self.sort_known(table, own, sight);
        for child in table.iter().filter(|row| row.parent == own.pid && row.state != State::Dead) {
            if self.known(child.process).is_some() {
                continue;
            }
            match sight.environment(child.process.pid) {
                Some(environment) => {
                    let origin = self.origin_of_orphan(child, &environment, own, sight);
                    found.extend(self.sort_tree(table, child, origin, own, sight));
                }
                None => self.is_undecided |= is_alive(child.process.pid),
            }
        }
        found
    }

    /// Records the children of retry that are known, and all processes below them. Returns those of
    /// the attempt.
    fn sort_known(&mut self, table: &[Row], own: OwnIds, sight: &dyn Sight) -> Vec<Row> {
        let mut found = Vec::new();
        for child in table.iter().filter(|row| row.parent == own.pid) {
            if let Some(origin) = self.known(child.process) {
                found.extend(self.sort_tree(table, child, origin, own, sight));
            }
        }
        found
    }

    /// Records a child of retry and all processes below it. Returns them if they belong to the
    /// attempt.
    fn sort_tree(
        &mut self,
        table: &[Row],
        child: &Row,
        origin: Origin,
        own: OwnIds,
        sight: &dyn Sight,
    ) -> Vec<Row> {
        let mut tree = vec![*child];
        tree.extend(below(table, child.process.pid));
        for row in &tree {
            self.record(row, origin, own, sight);
        }
        if origin == Origin::Attempt { tree } else { Vec::new() }
    }

    fn known(&self, process: Process) -> Option<Origin> {
        if self.command.is_some_and(|command| command.is(process)) || self.attempt.has(process) {
            Some(Origin::Attempt)
        } else {
            self.older.has(process).then_some(Origin::Older)
        }
    }

    /// The origin of a process that no walk has seen, and whose parent is gone.
    fn origin_of_orphan(&mut self, row: &Row, environment: &[u8], own: OwnIds, sight: &dyn Sight) -> Origin {
        if self.is_marked(environment) {
            return Origin::Attempt;
        }
        if let Some(origin) = self.origin_of_group_or_session(row) {
            return origin;
        }
        if self.carries_key(environment) || self.older_lacks_key {
            return Origin::Older;
        }
        // Whoever has created the session did so before it started the orphan.
        let table = sight.table().unwrap_or_default();
        self.sort_known(&table, own, sight);
        let last_rule = if self.older_lacks_key { Origin::Older } else { Origin::Attempt };
        self.origin_of_group_or_session(row).unwrap_or(last_rule)
    }

    fn origin_of_group_or_session(&self, row: &Row) -> Option<Origin> {
        if self.older.has_group_or_session_of(row) {
            Some(Origin::Older)
        } else {
            self.attempt.has_group_or_session_of(row).then_some(Origin::Attempt)
        }
    }

    fn record(&mut self, row: &Row, origin: Origin, own: OwnIds, sight: &dyn Sight) {
        match origin {
            Origin::Attempt => drop(self.attempt.add(row, own)),
            Origin::Older => {
                if self.older.add(row, own)
                    && !self.older_lacks_key
                    && let Some(environment) = sight.environment(row.process.pid)
                {
                    self.older_lacks_key = !self.carries_key(&environment);
                }
            }
        }
    }

    fn is_marked(&self, environment: &[u8]) -> bool {
        let marks = environment.split(|byte| *byte == 0).filter_map(|entry| value_in(entry, MARK));
        marks.flat_map(|marks| marks.split(|byte| *byte == b':')).any(|mark| mark == self.mark)
    }

    fn carries_key(&self, environment: &[u8]) -> bool {
        environment.split(|byte| *byte == 0).any(|entry| entry == self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: OwnIds = OwnIds { pid: 1, group: 1, session: 1 };

    /// A row of the process table.
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

    /// A sight of this table, in which each process has the environment that the function tells.
    struct Seeing<F>(Vec<Row>, F);

    impl<F: Fn(i32) -> Vec<u8>> Sight for Seeing<F> {
        fn table(&self) -> Option<Vec<Row>> {
            Some(self.0.clone())
        }

        fn environment(&self, pid: i32) -> Option<Vec<u8>> {
            Some((self.1)(pid))
        }
    }

    /// The origins of an attempt whose command is process 4. The `older` processes, with these
    /// environments, lived when the attempt began.
    fn origins(older: &[(Row, Vec<u8>)]) -> Origins {
        let mut origins = Origins {
            mark: b"7.7".to_vec(),
            key: b"RETRY_IDEMPOTENCY_KEY=k".to_vec(),
            command: Some(Process::new(4, 1)),
            ..Origins::default()
        };
        for (row, environment) in older {
            origins.record(row, Origin::Older, OWN, &Seeing(Vec::new(), |_| environment.clone()));
        }
        origins
    }

    fn pids(rows: &[Row]) -> Vec<i32> {
        let mut pids: Vec<i32> = rows.iter().map(|row| row.process.pid).collect();
        pids.sort_unstable();
        pids
    }

    #[test]
    fn a_parent_tells_the_origin_and_the_origin_stays() {
        let mut origins = origins(&[(row(2, 1, 2, 2), bare())]);
        let none = Seeing(Vec::new(), |_| bare());
        let table = [row(2, 1, 2, 2), row(3, 2, 3, 3), row(4, 1, 4, 1), row(5, 4, 5, 5), row(9, 8, 9, 9)];
        assert_eq!(pids(&origins.sort(&table, OWN, &none)), [4, 5]);
        // Both parents are gone. 6 and 7 are new in the sessions of 3 and 5.
        let table = [row(3, 1, 3, 3), row(5, 1, 5, 5), row(6, 1, 6, 3), row(7, 1, 7, 5)];
        assert_eq!(pids(&origins.sort(&table, OWN, &none)), [5, 7]);
    }

    #[test]
    fn mark_group_and_key_tell_the_origin_of_an_orphan() {
        let orphan = |group, session| row(6, 1, group, session);
        let older = || row(2, 1, 2, 2);
        for (lacks, environment, orphan, expected) in [
            // The mark decides, even if the group says otherwise.
            (bare(), marked(), orphan(6, 6), true),
            (bare(), marked(), orphan(2, 1), true),
            // The mark of another attempt does not count.
            (bare(), b"RETRY_ORIGIN=7.70:17.7".to_vec(), orphan(6, 6), false),
            // Groups and sessions.
            (keyed(), bare(), orphan(2, 1), false),
            (keyed(), bare(), orphan(6, 2), false),
            (bare(), bare(), orphan(4, 1), true),
            // The group and the session of retry decide nothing.
            (keyed(), bare(), orphan(1, 1), true),
            // An earlier attempt started the process.
            (keyed(), keyed(), orphan(6, 6), false),
            // The process has neither the mark nor the key.
            (keyed(), bare(), orphan(6, 6), true),
            (bare(), bare(), orphan(6, 6), false),
            (bare(), Vec::new(), orphan(6, 6), false),
        ] {
            let mut origins = origins(&[(older(), lacks.clone())]);
            let shown = format!("{lacks:?} {environment:?} {orphan:?}");
            let table = [row(4, 1, 4, 1), orphan];
            let sight = Seeing(table.to_vec(), |pid| if pid == 6 { environment.clone() } else { marked() });
            let found = origins.sort(&table, OWN, &sight);
            assert_eq!(pids(&found), if expected { vec![4, 6] } else { vec![4] }, "{shown}");
        }
    }

    #[test]
    fn a_session_that_an_older_process_creates_during_the_walk_is_older() {
        let mut origins = origins(&[(row(2, 1, 1, 1), keyed())]);
        // The walk sees process 2 before setsid(2), and then an orphan that process 2 has started
        // after setsid(2).
        let table = [row(2, 1, 1, 1), row(4, 1, 4, 1), row(6, 1, 2, 2)];
        let later = Seeing(vec![row(2, 1, 2, 2), row(4, 1, 4, 1), row(6, 1, 2, 2)], |_| bare());
        assert_eq!(pids(&origins.sort(&table, OWN, &later)), [4]);
    }

    #[test]
    fn a_pid_that_is_used_again_is_another_process() {
        let mut origins = origins(&[(row(2, 1, 2, 2), keyed())]);
        let later = Row { process: Process::new(2, 5), ..row(2, 1, 6, 6) };
        assert_eq!(pids(&origins.sort(&[later], OWN, &Seeing(Vec::new(), |_| marked()))), [2]);
    }

    #[test]
    fn a_mark_is_added_to_the_marks_of_other_retries() {
        let environment = |entries: &[&str]| -> Vec<CString> {
            entries.iter().map(|entry| CString::new(*entry).unwrap()).collect()
        };
        let origins = origins(&[(row(2, 1, 2, 2), bare())]);
        let with = |entries: &[&str]| origins.marked_environment(&environment(entries)).unwrap();
        assert_eq!(with(&["A=1"]), environment(&["A=1", "RETRY_ORIGIN=7.7"]));
        assert_eq!(with(&["RETRY_ORIGIN=9.9", "A=1"]), environment(&["A=1", "RETRY_ORIGIN=9.9:7.7"]));
        assert_eq!(Origins::default().marked_environment(&environment(&["A=1"])), None);
    }
}
