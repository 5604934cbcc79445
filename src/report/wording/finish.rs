//! Words for the end of a run.

use super::Wording;
use super::outcome::{left, reason, rule_name};
use crate::policy::finish::{Exhausted, Finish, Wait};
use crate::policy::outcome::{By, Cut, Limit, Outcome, Unkept};
use crate::policy::signal::Signal;
use crate::policy::verdict::rule::{Judged, Rule};
use crate::report::event::RunEnd;
use crate::report::format::{count, duration, printable, shortened, size_in_full};
use crate::report::subject::Volume;

impl Wording {
    /// The last line of a run, and the least volume at which it is printed.
    pub(super) fn finish(&self, end: &RunEnd<'_>) -> Option<(Volume, String)> {
        let number = || self.number(end.progress.number());
        let outcome = || self.last_in_row(end);
        Some(match end.finish {
            Finish::Succeeded { rule, .. } => self.succeeded(end, rule)?,
            Finish::GaveUp { outcome, why, .. } => (Volume::Quiet, self.gave_up(end, outcome, why)),
            Finish::NotRetried { rule, .. } => {
                // Many a pipeline ends because its reader has read enough.
                let least =
                    if *rule == Rule::Stopped(Signal::PIPE) { Volume::Verbose } else { Volume::Quiet };
                (least, format!("not retried: {}", self.not_retried(end.last?, rule)))
            }
            Finish::InterruptedAttempt { signal, .. } => {
                let what = match end.last.map(|last| last.attempt.by) {
                    Some(By::Check) => "the check before attempt",
                    Some(By::Command) | None => "attempt",
                };
                let (number, outcome, previous) = (number(), outcome(), self.previous(end));
                let line = format!("interrupted by {signal} during {what} {number}; {outcome}{previous}");
                (Volume::Quiet, line)
            }
            Finish::NotRun { refusal, deadline } => {
                (Volume::Quiet, format!("not run: {}", self.open(refusal, *deadline)))
            }
            Finish::Answered { age } => (Volume::Normal, self.answered(*age)),
            Finish::Busy { by, deadline } => (Volume::Quiet, self.busy(*by, *deadline)),
            Finish::NeverStarted { deadline } => {
                let deadline = self.deadline(*deadline);
                let line = format!("gave up before the first attempt: the deadline of {deadline} has passed");
                (Volume::Quiet, line)
            }
            Finish::InterruptedOutput { signal } => self.output_interrupted(end, *signal),
            Finish::InterruptedWait { signal, wait } => {
                let (wait, state) = self.wait(wait);
                let when = match end.progress.in_all() {
                    0 => "before the first attempt".to_owned(),
                    _ => format!("after attempt {}; {}", number(), outcome()),
                };
                (Volume::Quiet, format!("interrupted by {signal}{wait} {when}{state}"))
            }
        })
    }

    /// A run that succeeds at once says nothing.
    fn succeeded(&self, end: &RunEnd<'_>, rule: &Rule) -> Option<(Volume, String)> {
        let (number, elapsed) = (self.number(end.progress.number()), duration(end.elapsed));
        let at_once = end.progress.in_all() == 1;
        let least = if at_once { Volume::Verbose } else { Volume::Normal };
        let rule = match rule {
            Rule::ExitZero if at_once => return None,
            Rule::Done => {
                let done = if at_once {
                    "not run".to_owned()
                } else {
                    format!("succeeded before attempt {number} in {elapsed}")
                };
                return Some((Volume::Normal, format!("{done}: --check says that the work is done")));
            }
            Rule::ExitZero if self.verbose => " (exit 0)".to_owned(),
            Rule::ExitZero => String::new(),
            _ => format!(": {}", self.last_attempt(end.last, true)),
        };
        Some((least, format!("{} at attempt {number} in {elapsed}{rule}", self.success())))
    }

    fn gave_up(&self, end: &RunEnd<'_>, ended: &Outcome, why: &Exhausted) -> String {
        let outcome = self.last_in_row(end);
        let text = match (why, ended) {
            (Exhausted::Attempts, _) => outcome,
            (Exhausted::Deadline(_), Outcome::TimedOut(Cut { limit: Limit::Deadline(_), .. })) => {
                format!("the last {outcome}{}", self.previous(end))
            }
            (why, _) => format!("{}; {outcome}", self.exhausted(why)),
        };
        let attempts = count(end.progress.in_all(), "attempt");
        match why {
            Exhausted::InputUnkept(_) => format!("not retried: {text}"),
            _ => format!("gave up after {attempts} in {}: {text}", duration(end.elapsed)),
        }
    }

    fn output_interrupted(&self, end: &RunEnd<'_>, signal: Signal) -> (Volume, String) {
        let (number, elapsed) = (self.number(end.progress.number()), duration(end.elapsed));
        let success = match end.progress.in_all() {
            0 => format!("not run: the answer is in {}", self.answer_file()),
            _ => format!("{} at attempt {number} in {elapsed}", self.success()),
        };
        match signal {
            // Many a pipeline ends because its reader has read enough.
            Signal::PIPE => {
                (Volume::Verbose, format!("{success}; the reader of the command's output is gone"))
            }
            signal => (
                Volume::Quiet,
                format!("{success}; interrupted by {signal} while retry passed on the command's output"),
            ),
        }
    }

    /// Words for the last attempt, and for the row of successes that ends with it.
    fn last_in_row(&self, end: &RunEnd<'_>) -> String {
        format!("{}{}", self.last_attempt(end.last, self.verbose), self.unfinished_row(end.progress))
    }

    fn last_attempt(&self, last: Option<&Judged>, names_rule: bool) -> String {
        last.map(|last| self.last_outcome(last, names_rule)).unwrap_or_default()
    }

    /// The attempt before the last one, if the last one does not tell why the command failed.
    fn previous(&self, end: &RunEnd<'_>) -> String {
        let before = end.before_last.map(|before| self.last_outcome(before, self.verbose));
        before.map(|before| format!("; previous attempt: {before}")).unwrap_or_default()
    }

    /// Words for a wait, and for the breaker or the option that asked for it.
    fn wait(&self, wait: &Wait) -> (String, String) {
        match wait {
            Wait::Nothing => (String::new(), String::new()),
            Wait::Delay => (" during the wait".to_owned(), String::new()),
            Wait::Splay => (" during the wait".to_owned(), format!(" ({})", self.splay_option())),
            Wait::Answer => (format!(" during the wait for {}", self.answer_file()), String::new()),
            Wait::Breaker(refusal) => (
                format!(" during the wait for breaker {}", self.breaker()),
                format!("; the breaker is {}", Self::refused(refusal)),
            ),
        }
    }

    /// Says why no further attempt follows.
    fn exhausted(&self, why: &Exhausted) -> String {
        match why {
            Exhausted::Attempts => "no attempt is left".to_owned(),
            Exhausted::Deadline(deadline) => self.passed(*deadline),
            Exhausted::DelayPastDeadline(deadline) => {
                format!("the next delay does not fit into {}", self.limit_of_run(*deadline))
            }
            Exhausted::AskedTooMuch { asked, most } => format!(
                "the server asks to wait {} ({}), longer than --max-retry-after {}",
                duration(asked.wait),
                asked.field,
                self.subject.written.max_retry_after.clone().unwrap_or_else(|| duration(*most))
            ),
            Exhausted::AskedPastDeadline { asked, deadline } => format!(
                "the server asks to wait {} ({}), past {}",
                duration(asked.wait),
                asked.field,
                self.limit_of_run(*deadline)
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
                let name = self.subject.shared.budget.as_ref().map(|place| printable(&place.name));
                let next = duration(spent.next);
                format!("budget {} is spent, next retry allowed in {next}", name.unwrap_or_default())
            }
        }
    }

    /// Says how an attempt ended, which rule forbids another one, and which option allows it.
    fn not_retried(&self, last: &Judged, rule: &Rule) -> String {
        let outcome = &last.attempt.outcome;
        let ending = self.ending(&last.attempt);
        let term = condition(outcome);
        let reason = reason(last).map(|reason| format!("{reason}; ")).unwrap_or_default();
        // A profile that the user named also judges exit 0.
        let all = if outcome.is_failure() { "failure" } else { "any" };
        let why = match rule {
            Rule::LeftAlive => return format!("{ending}; {}", left_alive(outcome)),
            Rule::FatalOn(text) => {
                format!(
                    "{reason}fatal by --fatal-on {}; without that option, the other rules decide",
                    printable(&shortened(text))
                )
            }
            Rule::NotInRetryOn => format!("{reason}not in --retry-on; -r {term} retries it"),
            Rule::Profile { row, status } => {
                format!("{} is fatal: profile {}; -r {all} retries it", status.reason, row.name)
            }
            Rule::Line { row, pattern } => {
                format!("{} is fatal: profile {}; -r {all} retries it", pattern.words(), row.name)
            }
            Rule::Http { status, row, .. } => {
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
                format!(
                    "{reason}the attempt may have taken effect, so --not-idempotent forbids another; -r {all} retries it"
                )
            }
            Rule::OwnError
            | Rule::SuccessOn(_)
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

/// Words for the processes that are still alive.
fn left_alive(outcome: &Outcome) -> String {
    let left = match outcome {
        Outcome::TimedOut(cut) => left(cut),
        Outcome::Exited(_) | Outcome::Signaled(_) | Outcome::NotStarted(_) => String::new(),
    };
    format!("still alive: {left}; end all processes of the attempt before you run the command again")
}

/// The condition for `-r` that names an outcome.
fn condition(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited(status) => status.to_string(),
        Outcome::Signaled(signal) if Signal::parse(&signal.to_string()).is_none() => {
            outcome.status().to_string()
        }
        Outcome::Signaled(signal) => signal.to_string(),
        Outcome::TimedOut(_) => "timeout".to_owned(),
        Outcome::NotStarted(failure) => failure.status().to_string(),
    }
}
