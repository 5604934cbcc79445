//! The rules in their order; the first that matches decides, and the verdict names it.

use super::condition::Condition;
use super::evidence::{Reach, Wanted};
use super::profile::{Class, Pattern, Profile, Says};
use super::text::Text;
use crate::policy::outcome::{Attempt, By, Outcome};
use crate::policy::signal::Signal;
use crate::policy::verdict::rule::{Rule, Verdict};

/// What the user said of outcomes, and what is known of the command.
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
    /// The rows of the profile table that apply, in order.
    pub(crate) profiles: Vec<&'static Profile>,
    /// They were named by the user, and judge exit 0 too.
    pub(crate) named: bool,
    /// `--not-idempotent`: what may have had its effect is not retried.
    pub(crate) not_idempotent: bool,
    /// `--headers` was given: HTTP statuses count, whatever the program.
    pub(crate) headers: bool,
}

impl Rules {
    /// The verdict on a finished attempt. Total: every outcome gets one.
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
        // `failure` and `any` do not name a start that failed: with `--until` or `--success-on` it would be
        // success. But who names every failure to have it retried, or not, means this one too.
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

    /// What the streams have to be watched for; the rows look where `reach` says.
    pub(crate) fn wanted(&self, reach: Reach) -> Wanted {
        let conditions =
            || self.fatal_on.iter().chain(&self.success_on).chain(&self.until).chain(&self.retry_on);
        let mut texts: Vec<Text> = Vec::new();
        for text in conditions().filter_map(|condition| condition.text()) {
            if !texts.contains(text) {
                texts.push(text.clone());
            }
        }
        // The file tells all that `http:` asks for.
        let http = !self.headers && conditions().any(super::condition::Condition::asks_http);
        Wanted::new(texts, self.profiles.clone(), http, reach)
    }

    /// What is known of why the attempt ended as it did, in a few words: for a message.
    pub(crate) fn reason(&self, attempt: &Attempt) -> Option<&'static str> {
        let Outcome::Exited(status) = attempt.outcome else { return None };
        if attempt.by == By::Check {
            return None;
        }
        let line = Self::line(attempt, status).map(|(_, _, pattern)| pattern.words());
        line.or_else(|| {
            let listed: Vec<_> = self.profiles.iter().filter_map(|row| row.status(status)).collect();
            // Behind sudo the status may be sudo's own: then no row knows the cause.
            let unclear = listed.len() > 1 && self.is_ambiguous(status);
            listed.first().filter(|_| !unclear).map(|(_, reason)| *reason)
        })
        // A reason that says no more than the status does.
        .filter(|reason| *reason != "error")
    }

    /// Whether a row says that this status has several causes.
    fn is_ambiguous(&self, status: u8) -> bool {
        self.profiles.iter().filter_map(|row| row.status(status)).any(|(class, _)| class == Class::Ambiguous)
    }

    /// The rules behind the user's conditions: profile, then defaults; and no repeat of what may have had its
    /// effect, where that is not wanted.
    fn behind_conditions(&self, attempt: &Attempt) -> Verdict {
        match self.known(attempt) {
            Verdict::Retryable(rule) if self.not_idempotent && !Self::is_unsent(attempt, &rule) => {
                Verdict::Fatal(Rule::MaybeSent)
            }
            verdict => verdict,
        }
    }

    /// Whether what a rule says proves that the request was not carried out: the server refused it, or there
    /// was no connection and no other response.
    fn is_unsent(attempt: &Attempt, rule: &Rule) -> bool {
        let status = |status: u16| status == 429 || (status == 503 && attempt.asked.is_some());
        let answered = attempt.evidence.response.status().is_some();
        match rule {
            // Nothing ran that could have sent it.
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

    /// What the profile says: HTTP status, then lines, then exit status.
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
        // A status that another row calls ambiguous may be that program's own (`sudo curl`), so the status
        // alone proves nothing.
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

    /// What settles a status: a fatal line if there is one, else a retryable one; of several of one class the
    /// first of the table.
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
