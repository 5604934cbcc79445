//! Words for how an attempt ended, and for the rule that decided.

use nix::errno::Errno;

use super::Wording;
use crate::policy::outcome::{Alive, Attempt, By, Cut, Limit, NotStarted, Outcome};
use crate::policy::verdict::rule::{Cause, Judged, Rule};
use crate::report::format::{duration, printable, shortened, shortened_to};

/// The longest condition of `--until` that a line repeats, in characters.
const LONGEST_CONDITION: usize = 80;

impl Wording {
    /// Words for an attempt that another one follows: the outcome, and in brackets the reason and,
    /// if `names_rule`, the rule.
    pub(super) fn outcome(&self, judged: &Judged, names_rule: bool) -> String {
        // The reason matters more here. The last line of the run names the condition.
        let unmet = self.unmet(judged).filter(|_| reason(judged).is_none());
        self.bracketed(judged, names_rule, unmet)
    }

    /// Words for an attempt, without the rule and without control characters.
    pub(in crate::report) fn ended(&self, judged: &Judged) -> String {
        printable(&self.outcome(judged, false)).into_owned()
    }

    /// Words for the last attempt.
    pub(super) fn last_outcome(&self, last: &Judged, names_rule: bool) -> String {
        let own_reason = |_: &String| reason(last).is_none() || last.attempt.outcome == Outcome::Exited(0);
        self.bracketed(last, names_rule, self.unmet(last).filter(own_reason))
    }

    fn bracketed(&self, judged: &Judged, names_rule: bool, unmet: Option<String>) -> String {
        let (attempt, rule) = (&judged.attempt, judged.rule());
        let reason = match rule {
            // The name of the rule contains the reason.
            Rule::Line { .. } if names_rule => asked(attempt),
            _ => reason(judged),
        };
        let named = names_rule && !(unmet.is_some() && *rule == Rule::NotYet);
        let rule = named.then(|| rule_name(rule, &attempt.outcome));
        let known: Vec<String> = reason.into_iter().chain(unmet).chain(rule).collect();
        let ending = self.ending(attempt);
        if known.is_empty() { ending } else { format!("{ending} ({})", known.join("; ")) }
    }

    /// Words for the condition of `--until`, if it did not hold.
    fn unmet(&self, judged: &Judged) -> Option<String> {
        let until = self.subject.rules.until.as_ref()?.to_string();
        let earlier = matches!(
            judged.rule(),
            Rule::LeftAlive
                | Rule::Done
                | Rule::NotDone
                | Rule::CannotTell
                | Rule::FatalOn(_)
                | Rule::SuccessOn(_)
                | Rule::Until(_)
                | Rule::ExitZero
        );
        let asked = !earlier && matches!(judged.attempt.outcome, Outcome::Exited(_));
        asked.then(|| {
            let until = shortened_to(&until, LONGEST_CONDITION);
            format!("--until {} did not hold", printable(&until))
        })
    }

    /// Words for the outcome.
    pub(super) fn ending(&self, attempt: &Attempt) -> String {
        let ending = in_words(attempt, |limit| self.limit(limit));
        match self.named(attempt) {
            Some(typed) => format!("{typed}: {ending}"),
            None => ending,
        }
    }

    /// Words for the record of a breaker. They do not name the command, because other runs print
    /// them.
    pub(in crate::report) fn recorded(&self, attempt: &Attempt) -> String {
        let status = attempt.evidence.response.status().map(|status| format!("HTTP {status}"));
        let said: Vec<String> = status.into_iter().chain(asked(attempt)).collect();
        let ending = in_words(attempt, |limit| self.limit(limit));
        if said.is_empty() { ending } else { format!("{ending}, {}", said.join(", ")) }
    }

    /// Words for a command of `--on-retry` that failed, with the processes that are left of it.
    pub(super) fn hook_failed(&self, outcome: &Outcome) -> String {
        let left = match outcome {
            Outcome::TimedOut(cut) if !cut.left.is_empty() => format!("; still alive: {}", left(cut)),
            Outcome::TimedOut(_) | Outcome::Exited(_) | Outcome::Signaled(_) | Outcome::NotStarted(_) => {
                String::new()
            }
        };
        let ended = outcome_in_words(outcome, |limit| self.limit(limit));
        match outcome {
            Outcome::TimedOut(Cut { limit: Limit::Deadline(_), .. }) => format!("--on-retry {ended}{left}"),
            Outcome::TimedOut(_) | Outcome::Exited(_) | Outcome::Signaled(_) | Outcome::NotStarted(_) => {
                format!("--on-retry {ended}{left}; the retry follows")
            }
        }
    }

    pub(super) fn limit(&self, limit: &Limit) -> String {
        match limit {
            Limit::Timeout(time) => self.subject.written.timeout.clone().unwrap_or_else(|| duration(*time)),
            Limit::Deadline(time) => self.deadline(*time),
        }
    }

    /// The command as the user typed it, if the attempt could not start because of its file.
    pub(super) fn named(&self, attempt: &Attempt) -> Option<&str> {
        let typed = self.subject.typed.as_deref()?;
        let named = match &attempt.outcome {
            Outcome::NotStarted(failure) => attempt.by == By::Command && failure.is_about_the_file(),
            Outcome::Exited(_) | Outcome::Signaled(_) | Outcome::TimedOut(_) => false,
        };
        named.then_some(typed)
    }

    /// Words for a failure without what changes from attempt to attempt: `exited 22 (HTTP 503)`.
    pub(in crate::report) fn outcome_and_cause(&self, judged: &Judged) -> String {
        let ending = self.ending(&judged.attempt);
        judged.cause.map_or_else(|| ending.clone(), |cause| format!("{ending} ({})", cause_in_words(cause)))
    }
}

/// The cause of a failure without the wait that the server asks for: `HTTP 503`.
pub(in crate::report) fn cause_in_words(cause: Cause) -> String {
    match cause {
        Cause::Http(status) => format!("HTTP {status}"),
        Cause::Words(words) => words.to_owned(),
    }
}

/// The cause of a failure, if it is known: `HTTP 503, Retry-After 3s`, `could not connect`.
pub(super) fn reason(judged: &Judged) -> Option<String> {
    let asked = asked(&judged.attempt);
    let answered = || judged.attempt.evidence.response.status().filter(|_| asked.is_some());
    let cause = judged.cause.or_else(|| answered().map(Cause::Http));
    match (cause.map(cause_in_words), asked) {
        (Some(why), Some(asked)) => Some(format!("{why}, {asked}")),
        (why, asked) => why.or(asked),
    }
}

/// Words for the outcome of an attempt. `words` formats a limit.
fn in_words(attempt: &Attempt, words: impl FnOnce(&Limit) -> String) -> String {
    let ending = outcome_in_words(&attempt.outcome, words);
    match attempt.by {
        By::Command => ending,
        By::Check => format!("--check {ending}"),
    }
}

fn outcome_in_words(outcome: &Outcome, words: impl FnOnce(&Limit) -> String) -> String {
    match outcome {
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
    }
}

/// Words for an error of clone(2) or execve(2). The words of the system for two of them, "try
/// again" and "file table overflow", do not say what is exhausted.
fn cause(errno: Errno) -> &'static str {
    match errno {
        Errno::EAGAIN => "too many processes",
        Errno::ENFILE => "too many open files in the system",
        errno => errno.desc(),
    }
}

/// Words for the wait that the server asks for: `Retry-After 3s`.
pub(super) fn asked(attempt: &Attempt) -> Option<String> {
    attempt.asked.map(|asked| format!("{} {}", asked.field, duration(asked.wait)))
}

/// Words for the processes that survived KILL.
pub(super) fn left(cut: &Cut) -> String {
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

/// The rule that decided, for a report: `profile curl: HTTP 503`. The verdict stands beside it.
pub(in crate::report) fn decider(judged: &Judged) -> String {
    match judged.rule() {
        Rule::Profile { row, status } => format!("profile {}: {}", row.name, status.reason),
        Rule::Line { row, pattern } => format!("profile {}: {}", row.name, pattern.words()),
        Rule::Http { status, row: Some(row), .. } => format!("profile {}: HTTP {status}", row.name),
        Rule::Http { status, row: None, .. } => format!("--headers: HTTP {status}"),
        Rule::StartMayPass => "a start that may work later".to_owned(),
        Rule::AnyFailure => "any failure".to_owned(),
        rule => rule_name(rule, &judged.attempt.outcome),
    }
}

/// A short name for a rule.
pub(super) fn rule_name(rule: &Rule, outcome: &Outcome) -> String {
    match rule {
        Rule::OwnError => "retry itself failed".to_owned(),
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
        Rule::Http { status, row: Some(row), .. } => {
            format!("profile {}: HTTP {status} is retryable", row.name)
        }
        Rule::Http { status, row: None, .. } => format!("--headers: HTTP {status} is retryable"),
        Rule::ExitZero => "exit 0".to_owned(),
        Rule::NotYet => "--until did not hold".to_owned(),
        Rule::CannotRun => "could not run".to_owned(),
        Rule::StartMayPass => "a start that may work later is retryable".to_owned(),
        Rule::Stopped(signal) => format!("killed by {signal}"),
        Rule::ReaderGone => "the reader of the command's output is gone".to_owned(),
        Rule::MaybeSent => "the attempt may have taken effect".to_owned(),
        Rule::AnyFailure => "any failure is retryable".to_owned(),
    }
}
