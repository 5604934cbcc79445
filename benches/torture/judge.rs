//! Decides whether a run was right. The log of its attempts must agree with the exit status, and
//! with the processes and files that the run left.

mod files;
mod report;

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::plan::{Act, Input, Plan, Way, Writes};
use crate::seen::{End, Log, SOON, Seen, Wrong, differs};

/// A run may take this much longer than its plan allows.
const SLACK: Duration = Duration::from_millis(400);

/// A time from `/proc/uptime` may be this much too early, because `/proc/uptime` counts hundredths
/// of a second.
const TICK: Duration = Duration::from_millis(20);

/// Number of zeros that a command with [`Way::Wails`] writes to stderr.
const WAIL: usize = 1_000_000;

/// Options that may prevent the next attempt, whatever the command is.
const IN_THE_WAY: [&str; 5] = ["--until", "--not-idempotent", "--budget", "--breaker", "--deadline"];

/// The signals that end a run.
const ENDING: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];

/// The other signals that kill a command.
const DEADLY: [Signal; 2] = [Signal::SIGUSR1, Signal::SIGUSR2];

pub(crate) fn judge(plan: &Plan, seen: &Seen) -> Result<(), Wrong> {
    let never = |text: String| Err(Wrong::Never(text));
    let Some(end) = seen.end else { return never("it did not end".to_owned()) };
    let log = match &seen.log {
        Ok(log) => log,
        Err(what) => return never(what.clone()),
    };
    if let Some(what) = &seen.company {
        return never(format!("in company {what}"));
    }
    let trial = Trial { plan, seen, end, log };
    if seen.took > plan.longest + seen.stopped + SLACK {
        return Err(Wrong::Late(format!("it took {:?}, and {:?} are allowed", seen.took, plan.longest)));
    }
    if let Some(what) = trial.attempts() {
        return never(what);
    }
    if let Some(what) = trial.status() {
        return never(format!("it ended with {end:?}, {what}; {log:?}"));
    }
    let lost = seen.left.lost && !trial.was_killed();
    if lost || trial.is_tidy() && (seen.left.dead > 0 || !seen.left.alive.is_empty()) {
        return never(format!("it ended with {end:?}, and this is left: {:?}", seen.left));
    }
    if seen.changed && !plan.job.is(Way::Modes) {
        return never("the terminal has other modes".to_owned());
    }
    if let Some(what) = trial.orphan().or_else(|| trial.output()).or_else(|| trial.files()) {
        return never(format!("it ended with {end:?}, and {what}; {log:?}"));
    }
    if let Some(what) = trial.hooks().or_else(|| trial.successes()).or_else(|| trial.report()) {
        return never(format!("it ended with {end:?}, and {what}; {log:?}; {:?}", seen.report));
    }
    let late = trial.unheard().or_else(|| trial.unwarned()).or_else(|| trial.unmoved());
    late.or_else(|| trial.after()).or_else(|| trial.unhooked()).map_or(Ok(()), |what| Err(Wrong::Late(what)))
}

/// The signal that this act sends, or that the terminal sends for this key. None for ^Z.
fn signal(act: Act) -> Option<Signal> {
    match act {
        Act::Send(signal) => Some(signal),
        Act::Key(3) => Some(Signal::SIGINT),
        Act::Key(28) => Some(Signal::SIGQUIT),
        Act::Key(_) => None,
    }
}

struct Trial<'a> {
    plan: &'a Plan,
    seen: &'a Seen,
    end: End,
    log: &'a Log,
}

impl Trial<'_> {
    /// The signals in `of` that were sent or came from the keyboard, with their times. Leaves out
    /// the signal that retry ignores.
    fn sent<'b>(&'b self, of: &'b [Signal]) -> impl Iterator<Item = (Signal, Duration)> + 'b {
        self.signals(of, true)
    }

    /// The signals of [`Self::sent`]. `keys` tells whether the signals from the keyboard are
    /// included.
    fn signals<'b>(&'b self, of: &'b [Signal], keys: bool) -> impl Iterator<Item = (Signal, Duration)> + 'b {
        let all = self.seen.sent.iter().filter(move |(act, _)| keys || matches!(act, Act::Send(_)));
        let all = all.filter_map(|(act, at)| Some((signal(*act)?, *at)));
        all.filter(|(signal, _)| of.contains(signal) && Some(*signal) != self.plan.ignored)
    }

    fn was_killed(&self) -> bool {
        self.sent(&[Signal::SIGKILL]).next().is_some()
    }

    /// Whether a limit may have ended the last attempt or a check.
    fn was_limited(&self) -> bool {
        let plan = self.plan;
        let run = plan.deadline.is_some_and(|deadline| self.seen.took >= deadline);
        match self.log.begun.last() {
            Some((number, _, began)) if !plan.has("--check") => {
                let near = |limit| self.log.is_near(*number, limit);
                let over = self.seen.started + self.seen.took;
                // On a busy machine, the attempt may log its beginning late.
                let attempt = |timeout| over + SOON >= *began + timeout && near(*began + timeout);
                plan.timeout.is_some_and(attempt)
                    || run && plan.deadline.is_some_and(|deadline| near(self.seen.started + deadline))
            }
            _ => run || plan.timeout.is_some_and(|timeout| self.seen.took >= timeout),
        }
    }

    /// Whether something may prevent the next attempt.
    fn is_in_the_way(&self) -> bool {
        let (plan, job) = (self.plan, self.plan.job);
        IN_THE_WAY.iter().any(|option| plan.has(option))
            || job.instead.is_some()
            || matches!(job.writes, Writes::Text(_))
            || plan.value("-p").is_some_and(|profile| profile.contains("curl"))
            || plan.value("--check").is_some_and(|check| check != "exit 1")
            || self.may_forbid()
            || job.is(Way::Reads) && plan.has("--stdin-limit")
    }

    /// Whether the command may write the line that `-x` forbids on stderr. On a terminal, stdout
    /// counts as stderr too.
    fn may_forbid(&self) -> bool {
        self.plan.has("-x") && !matches!(self.plan.job.writes, Writes::Nothing | Writes::Zeros(_))
    }

    /// The least time between the beginnings of two attempts.
    fn gap(&self) -> Duration {
        let plan = self.plan;
        let base = match plan.value("-d") {
            Some("0.2") => Duration::from_millis(200),
            Some("1m") => Duration::from_mins(1),
            _ => return Duration::ZERO,
        };
        match (plan.value("-j"), plan.value("--backoff")) {
            (Some("none" | "decorrelated"), _) | (None, Some("constant")) => base,
            // Additive jitter lowers the base to half of the cap of 0.3 s, to leave room for the
            // jitter.
            (Some("additive"), _) => base.min(Duration::from_millis(150)),
            (Some("equal"), _) => base / 2,
            _ => Duration::ZERO,
        }
    }

    fn is_success(&self) -> bool {
        match self.end {
            End::Status(0) => true,
            End::Status(7) => self.plan.has("--success-on"),
            End::Status(_) | End::Signal(_) => false,
        }
    }

    /// Whether ^Z stopped a job that the command started. The shell then returns to the script. The
    /// script ends and leaves the job behind.
    fn has_stopped_job(&self) -> bool {
        self.plan.job.is(Way::Leads) && self.seen.sent.iter().any(|(act, _)| *act == Act::Key(26))
    }

    /// Checks the number of the attempts and the times of their beginnings. This method and the
    /// methods below return an error message, or None if the run is right.
    fn attempts(&self) -> Option<String> {
        let begun = &self.log.begun;
        let gap = self.gap();
        if begun.windows(2).any(|two| two[1].2 + TICK < two[0].2 + gap) {
            return Some(format!("attempts came sooner than after {gap:?}: {begun:?}"));
        }
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
        for (signal, at) in self.told() {
            // One attempt may have been starting when the signal came.
            let most = usize::from(!self.is_running(at));
            if begun.iter().filter(|(.., began)| *began > at + TICK).count() > most {
                return Some(format!("attempts began after {signal}: {begun:?}, {at:?}"));
            }
        }
        // If nothing prevents another attempt, retry must repeat each failed attempt.
        let free = !self.is_in_the_way() && self.seen.sent.is_empty() && self.plan.reader_leaves.is_none();
        if free && !self.is_success() && self.plan.attempts != Some(last) {
            return Some(format!("it failed with {:?} after {last} attempts", self.end));
        }
        None
    }

    /// Whether an attempt was running at this time, and was not close to the end by a limit.
    fn is_running(&self, at: Duration) -> bool {
        let Some((number, _, began)) = self.log.begun.iter().rfind(|(.., began)| *began + TICK < at) else {
            return false;
        };
        let ended = self.log.ended.get(number);
        ended.map_or(self.plan.job.is(Way::Hangs), |(_, end)| *end > at) && self.limit(*began) > at + SOON
    }

    /// The time at which an attempt that began at `began` reaches its limit.
    fn limit(&self, began: Duration) -> Duration {
        let timeout = self.plan.timeout.map(|timeout| began + timeout);
        let deadline = self.plan.deadline.map(|deadline| self.seen.started + deadline);
        timeout.into_iter().chain(deadline).min().unwrap_or(Duration::MAX)
    }

    /// The signals that tell retry to end, and their times. The signals from the keyboard count
    /// only if the command does not take the foreground of the terminal.
    fn told(&self) -> impl Iterator<Item = (Signal, Duration)> + '_ {
        self.signals(&ENDING, !self.plan.job.is(Way::Leads))
    }

    /// Checks that no attempt began long after a signal that ends the run.
    fn after(&self) -> Option<String> {
        let begun = &self.log.begun;
        let mut after = self.told().filter(|(_, at)| begun.iter().any(|(.., began)| *began > *at + SOON));
        after.next().map(|(signal, at)| format!("an attempt began after {signal}: {begun:?}, {at:?}"))
    }

    /// Checks the exit status.
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
        // retry ends with this status too if the signal ended the last command of a script.
        for (signal, _) in self.sent(&ENDING) {
            allow(128 + signal as i32);
        }
        if self.plan.reader_leaves.is_some() {
            allow(141);
        }
        if self.has_stopped_job() {
            allow(128 + Signal::SIGTSTP as i32);
            // A shell that reports `You have stopped jobs` does not end at its first `exit`.
            allow(0);
        }
        match self.plan.value("--check") {
            Some("exit 0") => allow(0),
            Some("exit 2") => allow(2),
            Some(check) if check.starts_with("[ -s") && !self.log.is_empty() => allow(0),
            _ => {}
        }
        let skipped = matches!(self.plan.value("--check"), Some("exit 0" | "exit 2" | "sleep 60"));
        if skipped && !self.log.begun.is_empty() {
            return Some("an attempt was made that the check forbids".to_owned());
        }
        if self.plan.has("--successes") {
            // The attempts may be used up before enough of them in a row have succeeded.
            allow(1);
        }
        let until = self.plan.has("--until");
        let meddled = self.was_limited() || !self.seen.sent.is_empty();
        match (self.log.last(), self.plan.job.instead) {
            (None, instead) => {
                if self.plan.has("--breaker") {
                    allow(75);
                }
                if let Some((_, status)) = instead.filter(|_| !skipped) {
                    allow(status);
                }
            }
            // With `--until failure`, an attempt that fails is a success for retry, and an attempt
            // that exits with 0 makes retry exit with 1.
            (Some((_, Some(0))), _) if until => allow(1),
            (Some((_, Some(status))), _) if until => {
                allow(0);
                // The failure is not the awaited one if a limit or a signal ended the attempt, or
                // if `-x` forbids its output.
                if meddled || self.may_forbid() {
                    allow(status);
                }
            }
            (Some((_, Some(status))), _) => allow(status),
            (Some((_, None)), _) => {}
        }
        // A limit or a signal also makes an attempt fail, and `--until failure` then succeeds.
        if until && meddled {
            allow(0);
        }
        // retry may not have set its signal handlers before the first attempt began.
        if self.sent(&ENDING).next().is_some() || self.log.begun.is_empty() {
            let by = self.sent(&ENDING).chain(self.sent(&DEADLY));
            let by: Vec<End> = by.map(|(signal, _)| End::Signal(signal as i32)).collect();
            allowed.extend(by);
        }
        if self.plan.reader_leaves.is_some() {
            allowed.push(End::Signal(Signal::SIGPIPE as i32));
        }
        (!allowed.contains(&self.end)).then(|| format!("where {allowed:?} are allowed"))
    }

    /// Whether the run must leave no process. An attempt that ends by itself may leave processes,
    /// and so may an attempt that ends by a signal that retry passed on. An attempt that retry
    /// ended must not leave any.
    fn is_tidy(&self) -> bool {
        if self.has_stopped_job()
            || self.plan.job.is(Way::Leaves)
            || self.was_killed()
            || self.sent(&DEADLY).next().is_some()
        {
            return false;
        }
        let cut = self.end == End::Status(124) && self.log.last().is_none_or(|(_, status)| status.is_none());
        cut || self.sent(&ENDING).next().is_none()
    }

    /// Checks that the command did not outlive a retry that was killed.
    fn orphan(&self) -> Option<String> {
        let (_, pid, _) = self.log.begun.last()?;
        // A shell that waits for another program does not end on INT. A signal that was ignored at
        // the start stays ignored.
        let signal = self.plan.value("--signal").unwrap_or("TERM");
        let ignored = self.plan.ignored.is_some_and(|ignored| ignored.as_str() == format!("SIG{signal}"));
        let defies = self.plan.job.is(Way::Defies) || signal == "INT" || ignored;
        let outlived = self.was_killed() && !defies && self.seen.left.alive.contains(pid);
        outlived.then(|| format!("the command {pid} has outlived it"))
    }

    /// Checks the output.
    fn output(&self) -> Option<String> {
        let (log, job, seen) = (self.log, self.plan.job, self.seen);
        let whole =
            log.ended.len() == log.begun.len() && log.last().is_none_or(|(n, _)| n == log.ended.len() as u64);
        // The output of an attempt that did not come to its end can be anything. The output that
        // retry was passing on when it was told to end can be anything too.
        let cut = matches!(self.end, End::Signal(_)) || self.was_killed();
        // Some keys make the terminal discard the output that it has not yet passed on.
        let forgotten = seen.sent.iter().any(|(act, _)| matches!(act, Act::Key(_)));
        // At a limit, retry does not wait for the reader of its output.
        let last = log.begun.last();
        let limited = last.is_some_and(|(number, _, began)| log.is_near(*number, self.limit(*began)));
        if !whole || cut || forgotten || limited {
            return None;
        }
        let times = match (self.plan.has("--hold=both"), self.is_success()) {
            (false, _) => log.ended.len(),
            (true, true) => 1,
            // Binary output is not shown.
            (true, false) => 0,
        };
        if let Some(errors) = seen.terminal.as_ref().or(seen.errors.as_ref())
            && job.is(Way::Wails)
            && zeros(errors) != WAIL * times
        {
            return Some(format!("{} attempts wrote {} zeros to stderr", log.ended.len(), zeros(errors)));
        }
        if job.writes == Writes::Something {
            return None;
        }
        let held = self.plan.has("--hold") || self.plan.has("--hold=both");
        let times = match (held, self.is_success()) {
            (false, _) => log.ended.len(),
            // If the check reports success, no attempt runs and there is no output. A signal may
            // also have ended the run before an attempt began.
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
                // The first attempt reads the whole input, so the others get none.
                (Input::Pipe(bytes), Some("inherit")) => {
                    let right = if times > 0 { &bytes[..] } else { &[] };
                    return self.came(right);
                }
                (Input::Pipe(bytes), _) => bytes.clone(),
            },
        };
        self.came(&one.repeat(times))
    }

    /// Compares the output with the expected bytes. A terminal also has the messages of retry
    /// between these bytes, and changes the bytes a little.
    fn came(&self, right: &[u8]) -> Option<String> {
        match (&self.seen.output, &self.seen.terminal) {
            (Some(output), _) => differs(output, right),
            (None, Some(terminal)) => {
                let mut there = terminal.iter();
                let missing = right.iter().position(|byte| !there.any(|other| other == byte));
                missing.map(|at| format!("the terminal has got {at} of {} bytes", right.len()))
            }
            (None, None) => None,
        }
    }

    /// Checks that the run ended soon after a signal told it to end, unless the command defies
    /// signals.
    fn unmoved(&self) -> Option<String> {
        // A shell that waits for another program leaves INT to that program. On a terminal, the
        // command is in the group of retry, and retry sends INT only to the shell. The program then
        // gets INT only from the keyboard.
        let left = |signal, at| {
            let by_key = self.seen.sent.contains(&(Act::Key(3), at));
            self.plan.terminal && signal == Signal::SIGINT && !by_key
        };
        let first = self.told().find(|(signal, at)| !left(*signal, *at));
        let (signal, at) = first.filter(|_| !self.plan.job.is(Way::Defies))?;
        let over = self.seen.started + self.seen.took;
        (over > at + self.seen.stopped + SLACK)
            .then(|| format!("it ended {:?} after {signal}", over.saturating_sub(at)))
    }

    /// Checks that the command logged each signal that came while it listened, if there was time.
    fn unheard(&self) -> Option<String> {
        if !self.plan.job.is(Way::Listens) {
            return None;
        }
        let all = [&ENDING[..], &DEADLY[..]].concat();
        let missing = self.sent(&all).find(|(signal, at)| {
            let Some((number, _)) = self.log.ready.iter().rfind(|(_, ready)| *ready + TICK < *at) else {
                return false;
            };
            // The limits of the attempt must be far away, and no next attempt may have begun.
            let far = self.log.began(*number).is_some_and(|began| self.limit(began) > *at + SOON);
            far && self.log.begun.len() == 1 && !self.has_got(*number, *signal)
        });
        missing.map(|(signal, _)| format!("the command did not get {signal}; {:?}", self.log))
    }

    fn has_got(&self, number: u64, signal: Signal) -> bool {
        self.log.got.iter().any(|(attempt, got)| *attempt == number && got == signal.as_str())
    }

    /// Checks that each attempt that listened in time got the signal before KILL at its limit.
    fn unwarned(&self) -> Option<String> {
        let signal = match self.plan.value("--signal") {
            Some("KILL") => return None,
            Some("INT") => Signal::SIGINT,
            _ => Signal::SIGTERM,
        };
        if self.plan.value("--kill-after") != Some("300ms") || !self.seen.sent.is_empty() {
            return None;
        }
        let (number, _) = self.log.ready.iter().find(|(number, ready)| {
            let began = self.log.began(*number);
            began.is_some_and(|began| *ready + TICK < self.limit(began)) && !self.has_got(*number, signal)
        })?;
        Some(format!("attempt {number} did not get {signal}; {:?}", self.log))
    }
}

fn zeros(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == 0).count() - 1
}
