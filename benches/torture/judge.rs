//! Whether a run was right: what its attempts wrote down, how retry ended, and what is left must agree.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::plan::{Act, Input, Plan, Way, Writes};
use crate::stage::{End, Seen};

/// How much longer than it should a run may take.
const SLACK: Duration = Duration::from_secs(1);

/// By how much a time from `/proc/uptime`, which has hundredths, may be behind.
const TICK: Duration = Duration::from_millis(20);

/// How soon a command is to have noted a signal.
const SOON: Duration = Duration::from_millis(300);

/// What is wrong with a run.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// That can be a busy machine's doing.
    Late(String),
    /// That must not be.
    Never(String),
}

/// What the attempts wrote down.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The number of each attempt, its pid, and the time since boot.
    begun: Vec<(u64, i32, Duration)>,
    /// By which status each ended by itself.
    ended: BTreeMap<u64, i32>,
    /// That it listens from then on.
    ready: Vec<(u64, Duration)>,
    /// The signals that it got.
    got: Vec<String>,
}

impl Log {
    pub(crate) fn read(path: &Path) -> Self {
        let mut log = Self::default();
        for line in fs::read_to_string(path).unwrap_or_default().lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words[at].parse().expect("a number");
            let time = |at: usize| Duration::from_secs_f64(words[at].parse().expect("a time"));
            match words[0] {
                "begin" => log.begun.push((number(1), number(2) as i32, time(3))),
                "end" => drop(log.ended.insert(number(1), number(2) as i32)),
                "ready" => log.ready.push((number(1), time(2))),
                "got" => log.got.push(format!("SIG{}", words[1])),
                _ => panic!("a line that no command writes: {line}"),
            }
        }
        log
    }

    /// The number of the last attempt, and the status by which it ended itself.
    fn last(&self) -> Option<(u64, Option<i32>)> {
        let (number, ..) = self.begun.last()?;
        Some((*number, self.ended.get(number).copied()))
    }
}

/// What may be in the way of a next attempt.
const IN_THE_WAY: [&str; 12] = [
    "-r",
    "-x",
    "-p",
    "--until",
    "--success-on",
    "--not-idempotent",
    "--budget",
    "--breaker",
    "--check",
    "--stdin-limit",
    "--deadline",
    "--headers",
];

/// The signals that end a run.
const ENDING: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];

/// The others that kill a command.
const DEADLY: [Signal; 2] = [Signal::SIGUSR1, Signal::SIGUSR2];

pub(crate) fn judge(plan: &Plan, seen: &Seen) -> Result<(), Wrong> {
    let never = |text: String| Err(Wrong::Never(text));
    let Some(end) = seen.end else { return Err(Wrong::Late("it did not end".to_owned())) };
    let trial = Trial { plan, seen, end };
    if seen.took > plan.longest + seen.stopped + SLACK {
        return Err(Wrong::Late(format!("it took {:?}, and {:?} are allowed", seen.took, plan.longest)));
    }
    if let Some(what) = trial.attempts() {
        return never(what);
    }
    if let Some(what) = trial.status() {
        return never(format!("it ended with {end:?}, {what}; {:?}", seen.log));
    }
    if trial.is_tidy() && (seen.left.dead > 0 || !seen.left.alive.is_empty() || seen.left.lost) {
        return never(format!("it ended with {end:?}, and this is left: {:?}", seen.left));
    }
    if seen.changed && !plan.job.is(Way::Modes) {
        return never("the terminal has other modes".to_owned());
    }
    if let Some(what) = trial.orphan().or_else(|| trial.output()).or_else(|| trial.files()) {
        return never(format!("it ended with {end:?}, and {what}; {:?}", seen.log));
    }
    trial.unheard().or_else(|| trial.unmoved()).map_or(Ok(()), |what| Err(Wrong::Late(what)))
}

struct Trial<'a> {
    plan: &'a Plan,
    seen: &'a Seen,
    end: End,
}

impl Trial<'_> {
    /// The signals of these that have been sent, or come from the keyboard, and are not ignored; and when.
    fn sent<'b>(&'b self, of: &'b [Signal]) -> impl Iterator<Item = (Signal, Duration)> + 'b {
        let by_key = |key| match key {
            3 => Some(Signal::SIGINT),
            28 => Some(Signal::SIGQUIT),
            _ => None,
        };
        let all = self.seen.sent.iter().filter_map(move |(act, at)| match act {
            Act::Send(signal) => Some((*signal, *at)),
            Act::Key(key) => by_key(*key).map(|signal| (signal, *at)),
        });
        all.filter(|(signal, _)| of.contains(signal) && Some(*signal) != self.plan.ignored)
    }

    fn was_killed(&self) -> bool {
        self.sent(&[Signal::SIGKILL]).next().is_some()
    }

    /// Whether a limit can have ended an attempt.
    fn was_limited(&self) -> bool {
        let least = self.plan.timeout.into_iter().chain(self.plan.deadline).min();
        least.is_some_and(|least| self.seen.took >= least)
    }

    fn is_success(&self) -> bool {
        match self.end {
            End::Status(0) => true,
            End::Status(7) => self.plan.has("--success-on"),
            End::Status(_) | End::Signal(_) => false,
        }
    }

    /// Whether ^Z has stopped a job of the command's own: a script that is told so ends, and leaves it.
    fn has_stopped_job(&self) -> bool {
        self.plan.job.is(Way::Leads) && self.seen.sent.iter().any(|(act, _)| *act == Act::Key(26))
    }

    /// What is wrong with the number of attempts, and with when they began.
    fn attempts(&self) -> Option<String> {
        let begun = &self.seen.log.begun;
        if begun.windows(2).any(|two| two[0].0 >= two[1].0) {
            return Some(format!("attempts out of order: {begun:?}"));
        }
        let last = begun.last().map_or(0, |(number, ..)| *number);
        if self.plan.attempts.is_some_and(|most| last > most) {
            return Some(format!("attempt {last} was made"));
        }
        if !begun.is_empty() && self.plan.tripped {
            return Some("an attempt passed a breaker that is held open".to_owned());
        }
        // One may have been on its way.
        for (act, at) in &self.seen.sent {
            if let Act::Send(signal) = act
                && ENDING.contains(signal)
                && Some(*signal) != self.plan.ignored
                && begun.iter().filter(|(.., began)| *began > *at + TICK).count() > 1
            {
                return Some(format!("attempts began after {signal}: {begun:?}, {at:?}"));
            }
        }
        // What fails is made again, where nothing is known of the failure and nothing was in the way.
        let free = !IN_THE_WAY.iter().any(|option| self.plan.has(option))
            && self.seen.sent.is_empty()
            && self.plan.reader_leaves.is_none()
            && self.plan.job.instead.is_none()
            && !matches!(self.plan.job.writes, Writes::Text(_));
        if free && !matches!(self.end, End::Status(0 | 124)) && self.plan.attempts != Some(last) {
            return Some(format!("it failed with {:?} after {last} attempts", self.end));
        }
        None
    }

    /// What is wrong with the status.
    fn status(&self) -> Option<String> {
        if self.was_killed() && self.end == End::Signal(9) {
            return None;
        }
        let mut allowed: Vec<End> = Vec::new();
        let mut allow = |status: i32| allowed.push(End::Status(status));
        if self.was_limited() {
            allow(124);
        }
        for (signal, _) in self.sent(&DEADLY) {
            allow(128 + signal as i32);
        }
        // Of a script whose last command it ended, also.
        for (signal, _) in self.sent(&ENDING) {
            allow(128 + signal as i32);
        }
        if self.plan.reader_leaves.is_some() {
            allow(141);
        }
        if self.has_stopped_job() {
            allow(128 + Signal::SIGTSTP as i32);
        }
        match self.plan.value("--check") {
            Some("exit 0") => allow(0),
            Some("exit 2") => allow(2),
            Some(check) if check.starts_with("[ -s") && !self.seen.log.begun.is_empty() => allow(0),
            _ => {}
        }
        let skipped = matches!(self.plan.value("--check"), Some("exit 0" | "exit 2" | "sleep 60"));
        if skipped && !self.seen.log.begun.is_empty() {
            return Some("an attempt was made that the check forbids".to_owned());
        }
        let until = self.plan.has("--until");
        match (self.seen.log.last(), self.plan.job.instead) {
            (None, instead) => {
                if self.plan.has("--breaker") {
                    allow(75);
                }
                if let Some((_, status)) = instead.filter(|_| !skipped) {
                    allow(status);
                }
            }
            // It succeeds when it fails, which a limit and a signal make of it too.
            (Some((_, status)), _) if until => {
                allow(0);
                match status {
                    Some(0) => allow(1),
                    // Where somebody has asked for the end it is none.
                    Some(status) => allow(status),
                    None => {}
                }
            }
            (Some((_, Some(status))), _) => allow(status),
            (Some((_, None)), _) => {}
        }
        if until && (self.was_limited() || !self.seen.sent.is_empty()) {
            allow(0);
        }
        // Before an attempt began it may not have been ready for any.
        if self.sent(&ENDING).next().is_some() || self.seen.log.begun.is_empty() {
            let by = self.sent(&ENDING).chain(self.sent(&DEADLY));
            let by: Vec<End> = by.map(|(signal, _)| End::Signal(signal as i32)).collect();
            allowed.extend(by);
        }
        if self.plan.reader_leaves.is_some() {
            allowed.push(End::Signal(Signal::SIGPIPE as i32));
        }
        (!allowed.contains(&self.end)).then(|| format!("where {allowed:?} are allowed"))
    }

    /// Whether nothing may be left: an attempt that ends by itself, also by a signal that was passed on to it,
    /// may leave something behind; one that is ended may not.
    fn is_tidy(&self) -> bool {
        if self.has_stopped_job()
            || self.plan.job.is(Way::Leaves)
            || self.was_killed()
            || self.sent(&DEADLY).next().is_some()
        {
            return false;
        }
        let cut =
            self.end == End::Status(124) && self.seen.log.last().is_none_or(|(_, status)| status.is_none());
        cut || self.sent(&ENDING).next().is_none()
    }

    /// The command, where it has outlived a retry that was killed.
    fn orphan(&self) -> Option<String> {
        let (_, pid, _) = self.seen.log.begun.last()?;
        // A shell that waits for another program leaves INT to that.
        let defies = self.plan.job.is(Way::Defies) || self.plan.value("--signal") == Some("INT");
        let outlived = self.was_killed() && !defies && self.seen.left.alive.contains(pid);
        outlived.then(|| format!("the command {pid} has outlived it"))
    }

    /// What is wrong with the output.
    fn output(&self) -> Option<String> {
        let output = self.seen.output.as_ref()?;
        let (log, job) = (&self.seen.log, self.plan.job);
        let whole =
            log.ended.len() == log.begun.len() && log.last().is_none_or(|(n, _)| n == log.ended.len() as u64);
        // What one wrote that did not come to its end is anything; so is what was passed on while it was wanted
        // that retry ends.
        let cut = matches!(self.end, End::Signal(_)) || self.was_killed();
        if !whole || cut || job.writes == Writes::Something {
            return None;
        }
        let held = self.plan.has("--hold");
        let times = match (held, self.is_success()) {
            (false, _) => log.ended.len(),
            // Of a check that says done there is none, and a signal may have ended it before it began.
            (true, true) if self.plan.has("--check") || !self.seen.sent.is_empty() => return None,
            (true, true) => 1,
            (true, false) => 0,
        };
        let one = match job.writes {
            Writes::Nothing | Writes::Something => Vec::new(),
            Writes::Numbers(most) => {
                (1..=most).flat_map(|number| format!("{number}\n").into_bytes()).collect()
            }
            Writes::Zeros(length) => vec![0; length],
            Writes::Text(text) => text.as_bytes().to_vec(),
            Writes::Input => match (&self.plan.input, self.plan.value("--stdin")) {
                (Input::Terminal, _) | (_, Some("null")) => Vec::new(),
                (Input::Pipe(bytes), Some("inherit")) if held => match log.ended.len() {
                    1 => bytes.clone(),
                    _ => Vec::new(),
                },
                // The first attempt leaves nothing.
                (Input::Pipe(bytes), Some("inherit")) => {
                    let right = if times > 0 { &bytes[..] } else { &[] };
                    return differs(output, right);
                }
                (Input::Pipe(bytes), _) => bytes.clone(),
            },
        };
        differs(output, &one.repeat(times))
    }

    /// What is wrong with what is left of files.
    fn files(&self) -> Option<String> {
        let records = ["state/b.json", "state/b.json.lock", "state/c.json", "state/c.json.lock"];
        let kept = |path: &Path| {
            let name = path.to_str().unwrap_or_default();
            // What it was writing when it was killed.
            let cut = self.was_killed() && (name.starts_with("state/") || name.starts_with("key"));
            records.contains(&name) || name == "key" || cut
        };
        let strays: Vec<_> = self.seen.files.iter().filter(|path| !kept(path)).collect();
        if !strays.is_empty() {
            return Some(format!("files are left: {strays:?}"));
        }
        let keeps = self.plan.value("--idempotency-key").is_some_and(|key| key.starts_with("file:"));
        let there = self.seen.files.iter().any(|path| path == Path::new("key"));
        let tried = !self.seen.log.begun.is_empty();
        if !keeps || self.was_killed() {
            None
        } else if there && self.is_success() {
            Some("the key is there after a success".to_owned())
        } else if !there && tried && !self.is_success() {
            Some("the key is gone after a failure".to_owned())
        } else {
            None
        }
    }

    /// That the run went on though it was told to end, and its command does not defy that.
    fn unmoved(&self) -> Option<String> {
        let tells = |signal: Signal| {
            // A shell that waits for another program leaves INT to that, which gets none from retry where they
            // share a group.
            ENDING.contains(&signal) && !(self.plan.terminal && signal == Signal::SIGINT)
        };
        let first = self.seen.sent.iter().find_map(|(act, at)| match act {
            Act::Send(signal) if tells(*signal) && Some(*signal) != self.plan.ignored => Some((signal, *at)),
            Act::Send(_) | Act::Key(_) => None,
        });
        let (signal, at) = first.filter(|_| !self.plan.job.is(Way::Defies))?;
        let over = self.seen.started + self.seen.took;
        (over > at + self.seen.stopped + SLACK)
            .then(|| format!("it ended {:?} after {signal}", over.saturating_sub(at)))
    }

    /// A signal that the command was to note, and did not: one that came while it listened, and had the time.
    fn unheard(&self) -> Option<String> {
        if !self.plan.job.is(Way::Listens) {
            return None;
        }
        let all = [&ENDING[..], &DEADLY[..]].concat();
        let missing = self.sent(&all).find(|(signal, at)| {
            let Some((number, _)) = self.seen.log.ready.iter().rfind(|(_, ready)| *ready + TICK < *at) else {
                return false;
            };
            let Some((_, _, began)) = self.seen.log.begun.iter().find(|(begun, ..)| begun == number) else {
                return false;
            };
            // Its limits were far, and there was no next attempt.
            let timeout = self.plan.timeout.map(|timeout| *began + timeout);
            let deadline = self.plan.deadline.map(|deadline| self.seen.started + deadline);
            let limit = timeout.into_iter().chain(deadline).min().unwrap_or(Duration::MAX);
            let in_time = self.seen.log.begun.len() == 1 && limit > *at + SOON;
            in_time && !self.seen.log.got.contains(&signal.to_string())
        });
        missing.map(|(signal, _)| format!("the command did not get {signal}; {:?}", self.seen))
    }
}

/// Where two texts differ, if they do.
fn differs(got: &[u8], right: &[u8]) -> Option<String> {
    let at = got.iter().zip(right).position(|(a, b)| a != b);
    (got != right)
        .then(|| format!("{} bytes came where {} should, other from {at:?} on", got.len(), right.len()))
}
