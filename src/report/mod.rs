//! Words out: an event becomes a line on stderr.
//!
//! The command's ARGs are never part of one: they carry secrets.

pub(crate) mod status;
#[cfg(test)]
mod tests;
pub(crate) mod text;

use std::borrow::Cow;
use std::io::IsTerminal as _;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use crate::clock::local_ago;
use crate::error::{Error, Quote};
use crate::policy::admission::breaker::{Cause, Known, Refusal};
use crate::policy::delay::schedule::Progress;
use crate::policy::finish::{Exhausted, Finish, Wait};
use crate::policy::outcome::{Alive, Attempt, By, Cut, Limit, NotStarted, Outcome, Unkept};
use crate::policy::signal::Signal;
use crate::policy::verdict::classify::Rules;
use crate::policy::verdict::rule::Judged;
use crate::policy::verdict::rule::Rule;
use crate::process::running::{Note, Voice};
use crate::state::key::Unusable;
use crate::state::place::Place;
use crate::state::shared::{Warning, Wrong};
use crate::streams::hold::HeldBack;
use crate::streams::messages::Messages;
use text::{count, duration, printable, readable, shell_word, shortened, shortened_to, size, size_in_full};

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Volume {
    /// `-qq`: nothing.
    Silent,
    /// `-q`: the last line of a run that failed, and what is wrong with shared state.
    Quiet,
    /// A line for every failure, and how it ended.
    Normal,
    /// `-v`: also which rule decided, and what was signalled.
    Verbose,
}

/// Longest label, in characters.
const LONGEST_LABEL: usize = 100;

/// Longest condition of `--until` that a line repeats, in characters.
const LONGEST_CONDITION: usize = 80;

/// Shortest wait that somebody at a terminal is told of.
const WORTH_TELLING: Duration = Duration::from_secs(2);

/// What happened.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// `--splay` puts the first attempt off.
    Splay { wait: Duration },
    /// An attempt failed and another follows.
    Retry { progress: &'a Progress, judged: &'a Judged, delay: Duration },
    /// The breaker is open, and is looked at again after this time.
    /// Once more (`again`) where it has been said already.
    Waiting { refusal: &'a Refusal, look: Duration, again: bool },
    /// The breaker has opened.
    Opened { refusal: &'a Refusal },
    /// Output of a command that failed was lost.
    NotPassed { error: &'a Error },
    /// The run is over; `last` is its last attempt, and `before` the attempt before that.
    Finish {
        progress: &'a Progress,
        last: Option<&'a Judged>,
        before: Option<&'a Judged>,
        finish: &'a Finish,
        elapsed: Duration,
    },
}

/// What is shared with other runs, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    pub(crate) breaker: Option<Place>,
    pub(crate) budget: Option<Place>,
}

impl Names {
    fn each(&self) -> impl Iterator<Item = (&'static str, &Place)> {
        let breaker = self.breaker.as_ref().map(|place| ("breaker", place));
        breaker.into_iter().chain(self.budget.as_ref().map(|place| ("budget", place)))
    }

    /// `breaker payments`, `budget payments`, `breaker and budget payments`, `breaker payments and budget mail`.
    fn names(&self, breaker: bool, budget: bool) -> String {
        let name = |place: &Option<Place>| {
            place.as_ref().map(|place| printable(&place.name).into_owned()).unwrap_or_default()
        };
        match (breaker, budget) {
            (true, true) if self.breaker == self.budget => {
                format!("breaker and budget {}", name(&self.breaker))
            }
            (true, true) => format!("breaker {} and budget {}", name(&self.breaker), name(&self.budget)),
            (true, false) => format!("breaker {}", name(&self.breaker)),
            (false, _) => format!("budget {}", name(&self.budget)),
        }
    }
}

/// The run that is reported on, in the user's own words where there are any.
#[derive(Debug, Default)]
pub(crate) struct Subject {
    /// The command's name in messages.
    pub(crate) label: String,
    /// The command as it was typed, if it is fit to print and the label does not tell it.
    pub(crate) typed: Option<String>,
    pub(crate) max_attempts: Option<NonZeroU32>,
    pub(crate) rules: Rules,
    pub(crate) shared: Names,
    pub(crate) written: Written,
}

/// Durations of options as the user wrote them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Written {
    pub(crate) deadline: Option<String>,
    pub(crate) timeout: Option<String>,
    pub(crate) max_retry_after: Option<String>,
    pub(crate) healthy_after: Option<String>,
    pub(crate) splay: Option<String>,
}

/// Tells the user what happens, as much as was asked for.
#[derive(Debug)]
pub(crate) struct Report {
    messages: Messages,
    phrases: Phrases,
    volume: Volume,
    /// What the options probably do not mean, to be told once an attempt has failed.
    doubt: Option<String>,
}

impl Report {
    /// A report on this run.
    pub(crate) fn new(subject: Subject, volume: Volume, doubt: Option<String>) -> Self {
        let Subject { label, typed, max_attempts, rules, shared, written } = subject;
        // A longer name says no more, and could push the rest out of sight.
        let label = match label.char_indices().nth(LONGEST_LABEL) {
            Some((end, _)) => format!("{}...", printable(&label[..end])),
            None if label.is_empty() => "''".to_owned(),
            None => printable(&label).into_owned(),
        };
        let verbose = volume == Volume::Verbose;
        Self {
            messages: Messages::default(),
            phrases: Phrases { label, typed, max_attempts, rules, shared, written, verbose },
            volume,
            doubt,
        }
    }

    /// Says what an event is worth.
    pub(crate) fn tell(&mut self, event: &Event<'_>) {
        if let Event::Splay { wait } = event
            && *wait >= WORTH_TELLING
            && std::io::stderr().is_terminal()
        {
            // A run that succeeds at once prints nothing, so that cron sends no mail. But somebody who
            // waits at a terminal must see why nothing happens.
            self.say(Volume::Normal, &self.phrases.splay(*wait));
        } else if let Some((least, line)) = self.phrases.event(event)
            && self.volume >= least
        {
            self.messages.say(&line);
        }
        // A run that succeeds at once prints nothing.
        let failed = match event {
            Event::Retry { .. } => true,
            Event::Finish { finish, .. } => {
                matches!(finish, Finish::GaveUp { .. } | Finish::NotRetried { .. })
            }
            Event::Splay { .. } | Event::Waiting { .. } | Event::Opened { .. } | Event::NotPassed { .. } => {
                false
            }
        };
        if failed && let Some(doubt) = self.doubt.take() {
            self.say(Volume::Normal, &printable(&doubt));
        }
    }

    /// How an attempt ended, for the breaker's record.
    pub(crate) fn ending(&self, attempt: &Attempt) -> String {
        self.phrases.recorded(attempt)
    }

    /// Says where what is shared is kept.
    pub(crate) fn kept(&mut self) {
        let line = |(what, place): (&str, &Place)| {
            let path = place.path.to_string_lossy();
            format!("{what} {} is kept in {}", printable(&place.name), printable(&path))
        };
        let lines: Vec<String> = self.phrases.shared.each().map(line).collect();
        for line in lines {
            self.say(Volume::Verbose, &line);
        }
    }

    /// Says that an earlier run's key is used, and how old it is.
    pub(crate) fn repeats(&mut self, path: &Path, age: Duration) {
        let (path, age) = (path.to_string_lossy(), duration(age));
        let line = format!("using the key that an earlier run kept in {}, {age} old", printable(&path));
        self.say(Volume::Normal, &line);
    }

    /// Says that the key of a run that has succeeded is still there.
    pub(crate) fn keeps(&mut self, why: &Unusable) {
        let why = why.to_string();
        self.say(Volume::Quiet, &format!("{}; the next run will use the same key", printable(&why)));
    }

    /// Shows what a failed attempt wrote to stdout, of which nothing was passed on.
    pub(crate) fn held_back(&mut self, number: u32, held: &HeldBack) {
        let wrote = size(held.length);
        let left_out = held.length.saturating_sub(u64::try_from(held.end.len()).unwrap_or(0));
        let shown = readable(&held.end);
        let what = match (&shown, left_out) {
            (None, _) => ", and not shown because it is binary".to_owned(),
            (Some(_), 0) => ":".to_owned(),
            (Some(_), _) => format!("; the last {} of it:", size(held.length - left_out)),
        };
        let number = self.phrases.number(number);
        self.say(Volume::Normal, &format!("attempt {number} wrote {wrote} to stdout, held back{what}"));
        if let Some(shown) = shown.filter(|_| self.volume >= Volume::Normal) {
            self.messages.show(shown.as_bytes());
        }
    }

    /// Says that the attempt that begins is the breaker's probe.
    pub(crate) fn probes(&mut self) {
        let name = self.phrases.shared.breaker.as_ref().map(|place| printable(&place.name));
        let line = format!("the next attempt is the probe of breaker {}", name.unwrap_or_default());
        self.say(Volume::Verbose, &line);
    }

    /// Says what is wrong with what is shared.
    pub(crate) fn warn(&mut self, warning: &Warning) {
        let names = self.phrases.shared.names(warning.breaker, warning.budget);
        let line = match &warning.what {
            Wrong::Unusable(trouble) => {
                format!("continuing without {names}: {}", printable(&trouble.to_string()))
            }
            Wrong::Unanswered(trouble) => format!(
                "{names} was open and cannot be used now, so the command is not run: {}",
                printable(&trouble.to_string())
            ),
            Wrong::SetAside(path) => {
                let path = path.to_string_lossy();
                format!("{names}: a damaged file was set aside as {}", printable(&path))
            }
        };
        // With --quiet too: a run without its protection must not look like one that has it.
        self.say(Volume::Quiet, &line);
    }

    /// Says that `http:` conditions cannot match, and why.
    pub(crate) fn http_unheard(&mut self, why: &str) {
        self.say(Volume::Verbose, &format!("the http: conditions cannot match: {why}"));
    }

    /// Says what to try, behind the line that says what failed.
    pub(crate) fn hint(&mut self, hint: &str) {
        if self.volume > Volume::Silent {
            self.messages.say(&format!("retry: hint: {}", printable(hint)));
        }
    }

    fn say(&mut self, least: Volume, line: &str) {
        if self.volume >= least {
            self.messages.say(&format!("retry: {}: {line}", self.phrases.label));
        }
    }

    /// Says why retry itself failed.
    pub(crate) fn fail(&mut self, error: &Error) {
        if self.volume > Volume::Silent {
            say_error(&mut self.messages, error);
        }
    }

    /// Waits a little for what has not been passed on.
    pub(crate) fn finish(&mut self, now: impl Fn() -> Duration) {
        self.messages.finish(now);
    }
}

/// Says an error: a line of cause and, where there is one, a line of hint.
pub(crate) fn say_error(messages: &mut Messages, error: &Error) {
    messages.say(&format!("retry: {}", printable(&error.to_string())));
    if let Some(Quote { text, at }) = error.quote() {
        let before = printable(text.get(..*at).unwrap_or_default()).chars().count();
        messages.say(&format!("retry:   {}", printable(text)));
        messages.say(&format!("retry:   {}^", " ".repeat(before)));
    }
    if let Some(hint) = error.hint() {
        messages.say(&format!("retry: hint: {}", printable(hint)));
    }
}

impl Voice for Report {
    fn note(&mut self, note: &Note) {
        let label = &self.phrases.label;
        let (least, line) = match note {
            Note::Signalled { signal, pids } => {
                let list: Vec<String> = pids.iter().map(ToString::to_string).collect();
                let processes = if pids.len() == 1 { "process" } else { "processes" };
                (Volume::Verbose, format!("retry: {label}: sent {signal} to {processes} {}", list.join(", ")))
            }
            Note::NotPassedOn { signal, pid, errno } => (
                Volume::Normal,
                format!("retry: {label}: cannot pass {signal} on to process {pid}: {}", errno.desc()),
            ),
            Note::NotMatched => (
                Volume::Normal,
                format!("retry: {label}: not all output was matched in time; the rest counts as no match"),
            ),
        };
        if self.volume >= least {
            self.messages.say(&line);
        }
    }

    fn messages(&mut self) -> &mut Messages {
        &mut self.messages
    }
}

/// The wording, apart from where it goes.
#[derive(Debug)]
struct Phrases {
    /// The command's name, fit to print.
    label: String,
    typed: Option<String>,
    max_attempts: Option<NonZeroU32>,
    rules: Rules,
    shared: Names,
    written: Written,
    verbose: bool,
}

impl Phrases {
    /// The line for an event, and the least volume at which it is said; none where there is nothing to say.
    fn event(&self, event: &Event<'_>) -> Option<(Volume, String)> {
        let (volume, text) = match event {
            Event::Splay { wait } => (Volume::Verbose, self.splay(*wait)),
            Event::Retry { progress, judged, delay } => {
                let attempt = &judged.attempt;
                let verb = match (attempt.by, &attempt.outcome) {
                    (By::Check, _) => " was not made: ",
                    (By::Command, Outcome::NotStarted(NotStarted::NotFound)) => ": ",
                    (By::Command, _) if self.named(attempt).is_some() => ": ",
                    (By::Command, _) => " ",
                };
                let outcome = self.outcome(attempt, judged.rule(), self.verbose);
                let number = self.number(progress.number());
                let anew = self.anew(progress, attempt);
                let delay = duration(*delay);
                (Volume::Normal, format!("attempt {number}{verb}{outcome}{anew}; next in {delay}"))
            }
            Event::Opened { refusal } => (Volume::Normal, self.refusal(refusal)),
            Event::Waiting { refusal, look, again } => {
                let breaker = self.refusal(refusal);
                let least = if *again { Volume::Verbose } else { Volume::Normal };
                (least, format!("{breaker}; retry looks again in {}", duration(*look)))
            }
            Event::NotPassed { error } => (Volume::Quiet, printable(&error.to_string()).into_owned()),
            Event::Finish { progress, last, before, finish, elapsed } => {
                self.finish(progress, *last, *before, finish, *elapsed)?
            }
        };
        Some((volume, format!("retry: {}: {text}", self.label)))
    }

    fn splay(&self, wait: Duration) -> String {
        format!("first attempt in {} ({})", duration(wait), self.splay_option())
    }

    /// `--splay` with its value, as the user wrote it.
    fn splay_option(&self) -> String {
        let splay = self.written.splay.as_ref().map(|splay| format!(" {splay}")).unwrap_or_default();
        format!("--splay{splay}")
    }

    /// That a healthy attempt counts under another number from now on than it had.
    fn anew(&self, progress: &Progress, attempt: &Attempt) -> String {
        if progress.number() == progress.attempts() {
            return String::new();
        }
        let healthy = self.written.healthy_after.as_ref().map(|time| format!(" {time}")).unwrap_or_default();
        let number = self.number(progress.attempts());
        format!(
            "; it ran {} (--healthy-after{healthy}), so it now counts as attempt {number}",
            duration(attempt.ran)
        )
    }

    fn finish(
        &self,
        progress: &Progress,
        last: Option<&Judged>,
        before: Option<&Judged>,
        finish: &Finish,
        elapsed: Duration,
    ) -> Option<(Volume, String)> {
        let after = || format!("{} in {}", count(progress.in_all(), "attempt"), duration(elapsed));
        let number = || self.number(progress.number());
        let outcome = |names_rule| last.map(|last| self.last_outcome(last, names_rule)).unwrap_or_default();
        let before = || {
            let before = before.map(|before| self.last_outcome(before, self.verbose));
            before.map(|before| format!("; previous attempt: {before}")).unwrap_or_default()
        };
        Some(match finish {
            Finish::Succeeded { rule: Rule::ExitZero, .. } if progress.in_all() == 1 => return None,
            Finish::Succeeded { rule: Rule::Done, .. } => {
                let done = match progress.in_all() {
                    1 => "not run".to_owned(),
                    _ => format!("succeeded before attempt {} in {}", number(), duration(elapsed)),
                };
                (Volume::Normal, format!("{done}: --check says that the work is done"))
            }
            Finish::Succeeded { rule, .. } => {
                let least = if progress.in_all() == 1 { Volume::Verbose } else { Volume::Normal };
                let rule = match rule {
                    Rule::ExitZero if self.verbose => " (exit 0)".to_owned(),
                    Rule::ExitZero => String::new(),
                    _ => format!(": {}", outcome(true)),
                };
                (least, format!("succeeded at attempt {} in {}{rule}", number(), duration(elapsed)))
            }
            Finish::GaveUp { outcome: ended, why, .. } => {
                let outcome = outcome(self.verbose);
                let text = match (why, ended) {
                    (Exhausted::Attempts, _) => outcome,
                    (Exhausted::Deadline(_), Outcome::TimedOut(Cut { limit: Limit::Deadline(_), .. })) => {
                        format!("the last {outcome}{}", before())
                    }
                    (why, _) => format!("{}; {outcome}", self.exhausted(why)),
                };
                match why {
                    Exhausted::InputUnkept(_) => (Volume::Quiet, format!("not retried: {text}")),
                    _ => (Volume::Quiet, format!("gave up after {}: {text}", after())),
                }
            }
            Finish::NotRetried { rule, .. } => {
                // A pipe whose reader has had enough is the normal end of many a pipeline.
                let least =
                    if *rule == Rule::Stopped(Signal::PIPE) { Volume::Verbose } else { Volume::Quiet };
                (least, format!("not retried: {}", self.not_retried(&last?.attempt, rule)))
            }
            Finish::InterruptedAttempt { signal, .. } => {
                let outcome = outcome(self.verbose);
                let what = match last.map(|last| last.attempt.by) {
                    Some(By::Check) => "the check before attempt",
                    Some(By::Command) | None => "attempt",
                };
                let before = before();
                (
                    Volume::Quiet,
                    format!("interrupted by {signal} during {what} {}; {outcome}{before}", number()),
                )
            }
            Finish::NotRun { refusal, deadline } => {
                (Volume::Quiet, format!("not run: {}", self.open(refusal, *deadline)))
            }
            Finish::NeverStarted { deadline } => {
                let deadline = self.deadline(*deadline);
                (
                    Volume::Quiet,
                    format!("gave up before the first attempt: the deadline of {deadline} has passed"),
                )
            }
            Finish::InterruptedOutput { signal } => {
                let success = format!("succeeded at attempt {} in {}", number(), duration(elapsed));
                match *signal {
                    // The normal end of many a pipeline.
                    Signal::PIPE => {
                        (Volume::Verbose, format!("{success}; the reader of the command's output is gone"))
                    }
                    signal => (
                        Volume::Quiet,
                        format!(
                            "{success}; interrupted by {signal} while retry passed on the command's output"
                        ),
                    ),
                }
            }
            Finish::InterruptedWait { signal, wait } => {
                let (wait, state) = self.wait(wait);
                let when = match progress.in_all() {
                    0 => "before the first attempt".to_owned(),
                    _ => format!("after attempt {}; {}", number(), outcome(self.verbose)),
                };
                (Volume::Quiet, format!("interrupted by {signal}{wait} {when}{state}"))
            }
        })
    }

    /// What a run waited for, and the state of the breaker or the option that asked for the wait.
    fn wait(&self, wait: &Wait) -> (String, String) {
        match wait {
            Wait::Nothing => (String::new(), String::new()),
            Wait::Delay => (" during the wait".to_owned(), String::new()),
            Wait::Splay => (" during the wait".to_owned(), format!(" ({})", self.splay_option())),
            Wait::Breaker(refusal) => (
                format!(" during the wait for breaker {}", self.breaker()),
                format!("; the breaker is {}", Self::refused(refusal)),
            ),
        }
    }

    /// The breaker's name.
    fn breaker(&self) -> Cow<'_, str> {
        self.shared.breaker.as_ref().map(|place| printable(&place.name)).unwrap_or_default()
    }

    /// That the breaker is open, since when, why, and for how long.
    fn refusal(&self, refusal: &Refusal) -> String {
        format!("breaker {} is {}", self.breaker(), Self::refused(refusal))
    }

    /// Since when a breaker is open, why, and for how long.
    fn refused(refusal: &Refusal) -> String {
        let why = match refusal.cause {
            Cause::Tripped if refusal.failures == 0 => "held open by --breaker-trip".to_owned(),
            Cause::Failures if refusal.failures == 0 => "its record was damaged".to_owned(),
            Cause::Tripped | Cause::Failures => {
                let last =
                    refusal.last.as_deref().map(|last| format!(", last: {}", printable(&shortened(last))));
                format!("{}{}", count(refusal.failures.into(), "failure"), last.unwrap_or_default())
            }
        };
        let next = match (refusal.known, refusal.prober) {
            (Known::Earlier, _) => "and its record cannot be used now".to_owned(),
            (Known::Now, Some(pid)) => {
                let prober = if pid == 0 { "another run".to_owned() } else { format!("process {pid}") };
                format!("{prober} probes, for {} at most", duration(refusal.left))
            }
            (Known::Now, None) => format!("next probe in {}", duration(refusal.left)),
        };
        format!("open since {} ({why}), {next}", local_ago(refusal.age))
    }

    /// The same with what to do about it.
    fn open(&self, refusal: &Refusal, deadline: Option<Duration>) -> String {
        let path = self.shared.breaker.as_ref().map(|place| place.path.to_string_lossy());
        let path = path.as_deref().map(shell_word).unwrap_or_default();
        let past = match deadline {
            Some(time) if refusal.prober.is_some() || refusal.known == Known::Earlier => {
                format!("; the deadline of {} comes first", self.deadline(time))
            }
            Some(time) if refusal.left.is_zero() => {
                format!("; the deadline of {} has passed", self.deadline(time))
            }
            Some(time) => format!(", past the deadline of {}", self.deadline(time)),
            None => String::new(),
        };
        let refusal = self.refusal(refusal);
        format!("{refusal}{past}; to close it: retry --breaker-reset={}", printable(&path))
    }

    /// Why there is no further attempt.
    fn exhausted(&self, why: &Exhausted) -> String {
        match why {
            Exhausted::Attempts => "no attempt is left".to_owned(),
            Exhausted::Deadline(deadline) => {
                format!("the deadline of {} has passed", self.deadline(*deadline))
            }
            Exhausted::DelayPastDeadline(deadline) => {
                format!("the next delay does not fit into the deadline of {}", self.deadline(*deadline))
            }
            Exhausted::AskedTooMuch { asked, most } => format!(
                "the server asks to wait {} ({}), longer than --max-retry-after {}",
                duration(asked.wait),
                asked.field,
                self.written.max_retry_after.clone().unwrap_or_else(|| duration(*most))
            ),
            Exhausted::AskedPastDeadline { asked, deadline } => format!(
                "the server asks to wait {} ({}), past the deadline of {}",
                duration(asked.wait),
                asked.field,
                self.deadline(*deadline)
            ),
            Exhausted::BreakerOpen { refusal, deadline } => self.open(refusal, *deadline),
            Exhausted::InputUnkept(Unkept::TooLong { limit }) => {
                format!(
                    "stdin is longer than --stdin-limit {}; a higher limit allows a retry",
                    size_in_full(*limit)
                )
            }
            Exhausted::InputUnkept(Unkept::NoRoom { directory, why, hint }) => format!(
                "stdin could not be kept in {} ({why}){}",
                printable(directory),
                if *hint { "; set TMPDIR to use another directory" } else { "" }
            ),
            Exhausted::InputUnkept(Unkept::HandedOver { why }) => {
                format!("stdin could not be kept for another attempt ({why})")
            }
            Exhausted::Unprepared { what, errno } => format!("{what}: {}", errno.desc()),
            Exhausted::InputUnkept(Unkept::Broken { why }) => {
                format!("stdin could not be read to its end ({why})")
            }
            Exhausted::BudgetSpent(spent) => {
                let name = self.shared.budget.as_ref().map(|place| printable(&place.name));
                let next = duration(spent.next);
                format!("budget {} is spent, next retry allowed in {next}", name.unwrap_or_default())
            }
        }
    }

    /// `2 of 5`, or `2` where there is no limit.
    fn number(&self, number: u32) -> String {
        match self.max_attempts {
            Some(max) => format!("{number} of {max}"),
            None => number.to_string(),
        }
    }

    /// The deadline of the run, as the user wrote it.
    fn deadline(&self, length: Duration) -> String {
        self.written.deadline.clone().unwrap_or_else(|| duration(length))
    }

    /// How an attempt that another follows ended: the reason in brackets and, if `names_rule`, the rule.
    fn outcome(&self, attempt: &Attempt, rule: &Rule, names_rule: bool) -> String {
        let reason = self.reason(attempt);
        // What the server said matters more here: the last line names the condition in any case.
        let unmet = self.unmet(attempt, rule).filter(|_| reason.is_none());
        self.bracketed(attempt, rule, names_rule, unmet)
    }

    /// How an attempt that none follows ended.
    fn last_outcome(&self, last: &Judged, names_rule: bool) -> String {
        let (attempt, rule) = (&last.attempt, last.rule());
        let reason = self.reason(attempt);
        let own_reason = |_: &String| reason.is_none() || attempt.outcome == Outcome::Exited(0);
        self.bracketed(attempt, rule, names_rule, self.unmet(attempt, rule).filter(own_reason))
    }

    fn bracketed(&self, attempt: &Attempt, rule: &Rule, names_rule: bool, unmet: Option<String>) -> String {
        let reason = match rule {
            // The name of the rule has the reason.
            Rule::Line { .. } if names_rule => asked(attempt),
            _ => self.reason(attempt),
        };
        let named = names_rule && !(unmet.is_some() && *rule == Rule::NotYet);
        let rule = named.then(|| rule_name(rule, &attempt.outcome));
        let known: Vec<String> = reason.into_iter().chain(unmet).chain(rule).collect();
        let ending = self.ending(attempt);
        if known.is_empty() { ending } else { format!("{ending} ({})", known.join("; ")) }
    }

    /// The condition of `--until`, if the rule shows that the command did not meet it.
    fn unmet(&self, attempt: &Attempt, rule: &Rule) -> Option<String> {
        let until = self.rules.until.as_ref()?.to_string();
        let asked = match rule {
            Rule::LeftAlive
            | Rule::Done
            | Rule::NotDone
            | Rule::CannotTell
            | Rule::FatalOn(_)
            | Rule::SuccessOn(_)
            | Rule::Until(_)
            | Rule::ExitZero => false,
            Rule::RetryOn(_)
            | Rule::NotInRetryOn
            | Rule::Profile { .. }
            | Rule::Line { .. }
            | Rule::Http { .. }
            | Rule::NotYet
            | Rule::StartMayPass
            | Rule::CannotRun
            | Rule::Stopped(_)
            | Rule::ReaderGone
            | Rule::MaybeSent
            | Rule::AnyFailure => matches!(attempt.outcome, Outcome::Exited(_)),
        };
        asked.then(|| {
            let until = shortened_to(&until, LONGEST_CONDITION);
            format!("--until {} did not hold", printable(&until))
        })
    }

    /// How an attempt, or what was asked before it, ended, in the user's words.
    fn ending(&self, attempt: &Attempt) -> String {
        let ending = in_words(attempt, |limit| self.limit(limit));
        match self.named(attempt) {
            Some(typed) => format!("{typed}: {ending}"),
            None => ending,
        }
    }

    /// How an attempt ended and what a server said. Other runs read this, so that it does not name the command.
    fn recorded(&self, attempt: &Attempt) -> String {
        let status = attempt.evidence.response.status().map(|status| format!("HTTP {status}"));
        let said: Vec<String> = status.into_iter().chain(asked(attempt)).collect();
        let ending = in_words(attempt, |limit| self.limit(limit));
        if said.is_empty() { ending } else { format!("{ending}, {}", said.join(", ")) }
    }

    /// A limit as the user wrote it.
    fn limit(&self, limit: &Limit) -> String {
        match limit {
            Limit::Timeout(time) => self.written.timeout.clone().unwrap_or_else(|| duration(*time)),
            Limit::Deadline(time) => self.deadline(*time),
        }
    }

    /// The command as it was typed, if its file is why the attempt could not start.
    fn named(&self, attempt: &Attempt) -> Option<&str> {
        let typed = self.typed.as_deref()?;
        let named = match &attempt.outcome {
            Outcome::NotStarted(failure) => attempt.by == By::Command && failure.is_about_the_file(),
            Outcome::Exited(_) | Outcome::Signaled(_) | Outcome::TimedOut(_) => false,
        };
        named.then_some(typed)
    }

    /// What is known of why it ended so: `HTTP 503, Retry-After 3s`, `could not connect`.
    fn reason(&self, attempt: &Attempt) -> Option<String> {
        let asked = asked(attempt);
        let response = &attempt.evidence.response;
        let http = response.status().filter(|_| response.class().is_some() || asked.is_some());
        let why = match http {
            Some(status) => Some(format!("HTTP {status}")),
            None => self.rules.reason(attempt).map(ToOwned::to_owned),
        };
        match (why, asked) {
            (Some(why), Some(asked)) => Some(format!("{why}, {asked}")),
            (why, asked) => why.or(asked),
        }
    }

    /// How an attempt ended, the rule that forbids another, and how to have one all the same.
    fn not_retried(&self, attempt: &Attempt, rule: &Rule) -> String {
        let outcome = &attempt.outcome;
        let ending = self.ending(attempt);
        let term = match outcome {
            Outcome::Exited(status) => status.to_string(),
            Outcome::Signaled(signal) if Signal::parse(&signal.to_string()).is_none() => {
                outcome.status().to_string()
            }
            Outcome::Signaled(signal) => signal.to_string(),
            Outcome::TimedOut(_) => "timeout".to_owned(),
            Outcome::NotStarted(failure) => failure.status().to_string(),
        };
        let reason = self.reason(attempt).map(|reason| format!("{reason}; ")).unwrap_or_default();
        // A profile that was named judges exit 0 too.
        let all = if outcome.is_failure() { "failure" } else { "any" };
        let why = match rule {
            Rule::LeftAlive => {
                let left = match outcome {
                    Outcome::TimedOut(cut) => left(cut),
                    _ => String::new(),
                };
                return format!("{ending}; still alive: {left}: end what is left before you run this again");
            }
            Rule::FatalOn(text) => {
                format!(
                    "{reason}fatal by --fatal-on {}; without that option, the other rules decide",
                    printable(&shortened(text))
                )
            }
            Rule::NotInRetryOn => format!("{reason}not in --retry-on; -r {term} retries it"),
            Rule::Profile { row, reason } => {
                format!("{reason} is fatal: profile {}; -r {all} retries it", row.name)
            }
            Rule::Line { row, pattern } => {
                format!("{} is fatal: profile {}; -r {all} retries it", pattern.words(), row.name)
            }
            Rule::Http { status, row } => {
                let source =
                    row.map_or_else(|| "--headers".to_owned(), |row| format!("profile {}", row.name));
                format!("HTTP {status} is fatal: {source}; -r {all} retries it")
            }
            Rule::CannotRun => match outcome {
                Outcome::Exited(126) => "a command could not run; -r 126 retries it".to_owned(),
                Outcome::Exited(127) => "a command was not found; -r 127 retries it".to_owned(),
                _ => format!("-r {term} retries it"),
            },
            Rule::Stopped(Signal::PIPE) => {
                format!("the reader of the command's output is gone; -r {term} retries it")
            }
            Rule::Stopped(_) => format!("treated as a request to stop; -r {term} retries it"),
            Rule::ReaderGone => {
                "the reader of the command's output is gone; -r failure retries it".to_owned()
            }
            Rule::MaybeSent => {
                format!("{reason}it may already have taken effect: --not-idempotent; -r {all} retries it")
            }
            Rule::SuccessOn(_)
            | Rule::Done
            | Rule::NotDone
            | Rule::CannotTell
            | Rule::Until(_)
            | Rule::RetryOn(_)
            | Rule::ExitZero
            | Rule::NotYet
            | Rule::StartMayPass
            | Rule::AnyFailure => rule_name(rule, outcome),
        };
        format!("{ending} ({why})")
    }
}

/// How an attempt ended; `words` puts the limit that ended it into words.
fn in_words(attempt: &Attempt, words: impl FnOnce(&Limit) -> String) -> String {
    let ending = match &attempt.outcome {
        Outcome::Exited(status) => format!("exited {status}"),
        Outcome::Signaled(signal) => format!("killed by {signal}"),
        Outcome::TimedOut(Cut { limit, ended_by, .. }) => {
            let length = words(limit);
            match limit {
                Limit::Timeout(_) => format!("timed out after {length}, ended by {ended_by}"),
                Limit::Deadline(_) => format!("was cut by the deadline of {length}, ended by {ended_by}"),
            }
        }
        Outcome::NotStarted(NotStarted::NotFound) => "command not found".to_owned(),
        Outcome::NotStarted(NotStarted::Directory) => "could not run: it is a directory".to_owned(),
        Outcome::NotStarted(NotStarted::NoInterpreter) => {
            "could not run: its interpreter was not found".to_owned()
        }
        Outcome::NotStarted(NotStarted::CannotRun(errno)) => format!("could not run: {}", cause(*errno)),
        Outcome::NotStarted(NotStarted::NoProcess(errno)) => {
            format!("could not be started: {}", cause(*errno))
        }
    };
    match attempt.by {
        By::Command => ending,
        By::Check => format!("--check {ending}"),
    }
}

/// Why a start failed. The system's words for two errors do not say what is exhausted: "try again" (clone(2),
/// execve(2)) and "file table overflow".
fn cause(errno: Errno) -> &'static str {
    match errno {
        Errno::EAGAIN => "too many processes",
        Errno::ENFILE => "too many open files in the system",
        errno => errno.desc(),
    }
}

/// What the server asks for: `Retry-After 3s`.
fn asked(attempt: &Attempt) -> Option<String> {
    attempt.asked.map(|asked| format!("{} {}", asked.field, duration(asked.wait)))
}

/// What outlived KILL, with pids.
fn left(cut: &Cut) -> String {
    let each: Vec<String> = cut
        .left
        .iter()
        .map(|survivor| {
            let why = match survivor.why {
                Alive::Foreign => "belongs to another user",
                Alive::Unkillable => "survived KILL",
                Alive::Unseen => "/proc does not show which",
            };
            match survivor.pid {
                Some(pid) => format!("process {pid} ({why})"),
                None => format!("a process ({why})"),
            }
        })
        .collect();
    each.join(", ")
}

/// A rule in a word or two.
fn rule_name(rule: &Rule, outcome: &Outcome) -> String {
    match rule {
        Rule::LeftAlive => "processes of the attempt are still alive".to_owned(),
        Rule::Done => "--check says that the work is done".to_owned(),
        Rule::NotDone => "--check says that the work is not done".to_owned(),
        Rule::CannotTell => "--check cannot tell whether the work is done".to_owned(),
        Rule::FatalOn(text) => format!("--fatal-on {}", printable(&shortened(text))),
        Rule::SuccessOn(text) => format!("--success-on {}", printable(&shortened(text))),
        Rule::Until(text) => format!("--until {}", printable(&shortened(text))),
        Rule::RetryOn(text) => format!("--retry-on {}", printable(&shortened(text))),
        Rule::NotInRetryOn => "not in --retry-on".to_owned(),
        Rule::Profile { row, .. } => match outcome {
            Outcome::Exited(status) => format!("profile {}: {status} is retryable", row.name),
            _ => format!("profile {}", row.name),
        },
        Rule::Line { row, pattern } => format!("profile {}: {} is retryable", row.name, pattern.words()),
        Rule::Http { status, row: Some(row) } => {
            format!("profile {}: HTTP {status} is retryable", row.name)
        }
        Rule::Http { status, row: None } => format!("--headers: HTTP {status} is retryable"),
        Rule::ExitZero => "exit 0".to_owned(),
        Rule::NotYet => "--until did not hold".to_owned(),
        Rule::CannotRun => "could not run".to_owned(),
        Rule::StartMayPass => "a start that may work later is retryable".to_owned(),
        Rule::Stopped(signal) => format!("killed by {signal}"),
        Rule::ReaderGone => "the reader of the command's output is gone".to_owned(),
        Rule::MaybeSent => "it may already have taken effect".to_owned(),
        Rule::AnyFailure => "any failure is retryable".to_owned(),
    }
}
