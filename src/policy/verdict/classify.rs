//! Applies the rules in order. The first rule that matches decides.

use super::condition::Condition;
use super::evidence::{Reach, Wanted};
use super::profile::{Class, Pattern, Profile, Says};
use super::text::Text;
use crate::policy::outcome::{Attempt, By, Outcome};
use crate::policy::signal::Signal;
use crate::policy::verdict::rule::{Rule, Verdict};

/// The conditions of the user, and the profiles of the command.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// `--fatal-on`
    pub(crate) fatal_on: Vec<Condition>,
    /// `--success-on`
    pub(crate) success_on: Vec<Condition>,
    /// `--until`
    pub(crate) until: Option<Condition>,
    /// `--retry-on`
    pub(crate) retry_on: Vec<Condition>,
    /// The profiles that apply, in order.
    pub(crate) profiles: Vec<&'static Profile>,
    /// The user named the profiles, so they also judge exit 0.
    pub(crate) named: bool,
    /// `--not-idempotent`: a failure is retried only if it proves that the command had no effect.
    pub(crate) not_idempotent: bool,
    /// `--headers`: HTTP statuses count, whatever the program.
    pub(crate) headers: bool,
}

impl Rules {
    /// The verdict on a finished attempt.
    pub(crate) fn classify(&self, attempt: &Attempt) -> Verdict {
        let outcome = &attempt.outcome;
        if let Outcome::TimedOut(cut) = outcome
            && !cut.left.is_empty()
        {
            return Verdict::Fatal(Rule::LeftAlive);
        }
        if attempt.by == By::Check {
            return match outcome {
                Outcome::Exited(0) => Verdict::Success(Rule::Done),
                Outcome::Exited(1) => Verdict::Retryable(Rule::NotDone),
                _ => Verdict::Retryable(Rule::CannotTell),
            };
        }
        let transient = || matches!(self.behind_conditions(attempt), Verdict::Retryable(_));
        let first = |conditions: &[Condition]| {
            conditions.iter().find(|c| c.matches(attempt, transient)).map(ToString::to_string)
        };
        // `failure` and `any` do not match a command that could not start, because with `--until`
        // or `--success-on` that would be a success. In `--retry-on` and `--fatal-on` they do.
        let passing = matches!(outcome, Outcome::NotStarted(failure) if failure.may_pass());
        let every = |conditions: &[Condition]| {
            conditions.iter().find(|c| passing && c.names_every_failure()).map(ToString::to_string)
        };
        if let Some(text) = first(&self.fatal_on).or_else(|| every(&self.fatal_on)) {
            return Verdict::Fatal(Rule::FatalOn(text));
        }
        if let Some(text) = first(&self.success_on) {
            return Verdict::Success(Rule::SuccessOn(text));
        }
        if let Some(text) = first(self.until.as_slice()) {
            return Verdict::Success(Rule::Until(text));
        }
        if let Some(text) = first(&self.retry_on).or_else(|| every(&self.retry_on)) {
            return Verdict::Retryable(Rule::RetryOn(text));
        }
        if outcome.is_failure() && !self.retry_on.is_empty() {
            return Verdict::Fatal(Rule::NotInRetryOn);
        }
        self.behind_conditions(attempt)
    }

    /// What to look for in the output. `reach` says where the profiles look.
    pub(crate) fn wanted(&self, reach: Reach) -> Wanted {
        let conditions =
            || self.fatal_on.iter().chain(&self.success_on).chain(&self.until).chain(&self.retry_on);
        let mut texts: Vec<Text> = Vec::new();
        for text in conditions().filter_map(|condition| condition.text()) {
            if !texts.contains(text) {
                texts.push(text.clone());
            }
        }
        // With `--headers` the file answers the `http:` conditions.
        let http = !self.headers && conditions().any(super::condition::Condition::asks_http);
        Wanted::new(texts, self.profiles.clone(), http, reach)
    }

    /// A few words about the cause of a failure, for messages.
    pub(crate) fn reason(&self, attempt: &Attempt) -> Option<&'static str> {
        let Outcome::Exited(status) = attempt.outcome else { return None };
        if attempt.by == By::Check {
            return None;
        }
        let line = Self::line(attempt, status).map(|(_, _, pattern)| pattern.words());
        line.or_else(|| {
            let listed: Vec<_> = self.profiles.iter().filter_map(|row| row.status(status)).collect();
            // With several profiles (`sudo curl`) the status may be that of either program.
            let unclear = listed.len() > 1 && self.is_ambiguous(status);
            listed.first().filter(|_| !unclear).map(|(_, reason)| *reason)
        })
        // This reason says no more than the status.
        .filter(|reason| *reason != "error")
    }

    /// Whether a profile says that this status has several causes.
    fn is_ambiguous(&self, status: u8) -> bool {
        self.profiles.iter().filter_map(|row| row.status(status)).any(|(class, _)| class == Class::Ambiguous)
    }

    /// The rules after the conditions of the user: profiles, then defaults, then
    /// `--not-idempotent`.
    fn behind_conditions(&self, attempt: &Attempt) -> Verdict {
        match self.known(attempt) {
            Verdict::Retryable(rule) if self.not_idempotent && !Self::is_unsent(attempt, &rule) => {
                Verdict::Fatal(Rule::MaybeSent)
            }
            verdict => verdict,
        }
    }

    /// Whether a rule proves that the request had no effect: the server refused it, or there was
    /// neither a connection nor an earlier response.
    fn is_unsent(attempt: &Attempt, rule: &Rule) -> bool {
        let status = |status: u16| status == 429 || (status == 503 && attempt.asked.is_some());
        let answered = attempt.evidence.response.status().is_some();
        match rule {
            // The command did not run.
            Rule::StartMayPass => true,
            Rule::Http { status: answer, .. } => status(*answer),
            Rule::Line { pattern, .. } => !answered && pattern.unsent,
            Rule::Profile { row, .. } => !answered && row.unsent.contains(&attempt.outcome.status()),
            Rule::LeftAlive
            | Rule::Done
            | Rule::NotDone
            | Rule::CannotTell
            | Rule::FatalOn(_)
            | Rule::SuccessOn(_)
            | Rule::Until(_)
            | Rule::RetryOn(_)
            | Rule::NotInRetryOn
            | Rule::ExitZero
            | Rule::NotYet
            | Rule::CannotRun
            | Rule::Stopped(_)
            | Rule::ReaderGone
            | Rule::MaybeSent
            | Rule::AnyFailure => false,
        }
    }

    fn known(&self, attempt: &Attempt) -> Verdict {
        if let Outcome::Exited(status) = attempt.outcome
            && (status != 0 || self.named)
            && let Some((class, rule)) = self.profile(attempt, status)
        {
            match class {
                Class::Retryable if !attempt.reader_gone => return Verdict::Retryable(rule),
                Class::Fatal => return Verdict::Fatal(rule),
                Class::Retryable | Class::Ambiguous => {}
            }
        }
        match &attempt.outcome {
            Outcome::Exited(0) if self.until.is_some() => Verdict::Retryable(Rule::NotYet),
            Outcome::Exited(0) => Verdict::Success(Rule::ExitZero),
            Outcome::NotStarted(failure) if failure.may_pass() => Verdict::Retryable(Rule::StartMayPass),
            Outcome::NotStarted(_) | Outcome::Exited(126 | 127) => Verdict::Fatal(Rule::CannotRun),
            Outcome::Signaled(signal @ (Signal::INT | Signal::QUIT | Signal::PIPE)) => {
                Verdict::Fatal(Rule::Stopped(*signal))
            }
            Outcome::Exited(_) | Outcome::Signaled(_) | Outcome::TimedOut(_) if attempt.reader_gone => {
                Verdict::Fatal(Rule::ReaderGone)
            }
            Outcome::Exited(_) | Outcome::Signaled(_) | Outcome::TimedOut(_) => {
                Verdict::Retryable(Rule::AnyFailure)
            }
        }
    }

    /// The profiles decide by HTTP status first, then by lines, then by exit status.
    fn profile(&self, attempt: &Attempt, status: u8) -> Option<(Class, Rule)> {
        let response = &attempt.evidence.response;
        let row = self.profiles.iter().copied().find(|row| row.reads_http());
        if (row.is_some() || self.headers)
            && let Some((class, status)) = response.class().zip(response.status())
        {
            return Some((class, Rule::Http { status, row }));
        }
        if let Some((row, class, pattern)) = Self::line(attempt, status) {
            return Some((class, Rule::Line { row, pattern }));
        }
        // If another profile calls this status ambiguous, it may be the status of that program
        // (`sudo curl`). The status alone then does not prove that the failure is fatal.
        let ambiguous = self.is_ambiguous(status);
        let decides = |class: &Class| match class {
            Class::Retryable => true,
            Class::Fatal => !ambiguous,
            Class::Ambiguous => false,
        };
        self.profiles.iter().find_map(|row| {
            let (class, reason) = row.status(status).filter(|(class, _)| decides(class))?;
            Some((class, Rule::Profile { row, reason }))
        })
    }

    /// The pattern that settles a status: the first fatal pattern of the table that matched, or
    /// else the first retryable one.
    fn line(attempt: &Attempt, status: u8) -> Option<(&'static Profile, Class, &'static Pattern)> {
        let settles = |pattern: &Pattern| {
            pattern.statuses.is_empty() || pattern.statuses.iter().any(|range| range.contains(&status))
        };
        let seen = attempt.evidence.lines();
        let first = |class| {
            seen.iter().map(|(row, _)| *row).find_map(|row| {
                row.patterns.iter().find_map(|pattern| match pattern.says {
                    Says::Class(says, _)
                        if says == class && settles(pattern) && seen.contains(&(row, pattern)) =>
                    {
                        Some((row, class, pattern))
                    }
                    Says::Class(..) | Says::HttpStatus => None,
                })
            })
        };
        first(Class::Fatal).or_else(|| first(Class::Retryable))
    }
}

#[cfg(test)]
mod tests;
