//! Applies the rules in order. The first rule that matches decides.

use super::class::Class;
use super::condition::Condition;
use super::evidence::{Reach, Wanted};
use super::profile::{Profile, Relay};
use super::text::Text;
use super::weigh::Evidences;
use crate::policy::outcome::{Attempt, By, Outcome};
use crate::policy::signal::Signal;
use crate::policy::verdict::rule::{Cause, Judged, Known, Rule, Verdict};

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
    /// For a row by its name: the invocation in which its program passes on the output of another.
    pub(crate) relays: Vec<(&'static str, &'static Relay)>,
    /// The user named the profiles, so they also judge exit 0.
    pub(crate) named: bool,
    /// `--not-idempotent`: a failure is retried only if it proves that the command had no effect.
    pub(crate) not_idempotent: bool,
    /// `--headers`: HTTP statuses count, whatever the program.
    pub(crate) headers: bool,
}

impl Rules {
    /// The verdict on a finished attempt, and the cause of a failure.
    pub(crate) fn judge(&self, attempt: Attempt) -> Judged {
        Judged { verdict: self.classify(&attempt), cause: self.cause(&attempt), attempt }
    }

    /// The verdict on a finished attempt.
    pub(crate) fn classify(&self, attempt: &Attempt) -> Verdict {
        let outcome = &attempt.outcome;
        if attempt.error.is_some() {
            return Verdict::Fatal(Rule::OwnError);
        }
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

    /// The cause of a failure, for messages.
    fn cause(&self, attempt: &Attempt) -> Option<Cause> {
        let response = &attempt.evidence.response;
        let answered = || response.status().filter(|_| response.class().is_some()).map(Cause::Http);
        let Outcome::Exited(status) = attempt.outcome else { return answered() };
        if attempt.by == By::Check {
            return answered();
        }
        let cause = match self.weigh(attempt, status).and_then(|(_, rule)| rule.known()) {
            Some(Known::Http(status, ..)) => Some(Cause::Http(status)),
            Some(Known::Line(_, pattern)) => Some(Cause::Words(pattern.words())),
            Some(Known::Status(_, status)) => Some(Cause::Words(status.reason)),
            None => answered(),
        };
        cause
            .or_else(|| {
                let listed: Vec<_> = self.profiles.iter().filter_map(|row| row.status(status)).collect();
                // With several profiles (`sudo curl`) the status may be that of either program.
                let unclear = listed.len() > 1;
                listed.first().filter(|_| !unclear).map(|status| Cause::Words(status.reason))
            })
            // This reason says no more than the status.
            .filter(|cause| *cause != Cause::Words("error"))
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
        match rule.known() {
            Some(Known::Http(answer, ..)) => {
                status(answer) && attempt.evidence.said().iter().all(|said| status(said.status))
            }
            Some(Known::Line(_, pattern)) => !answered && pattern.unsent,
            Some(Known::Status(row, _)) => !answered && row.unsent.contains(&attempt.outcome.status()),
            // The command did not run.
            None => *rule == Rule::StartMayPass,
        }
    }

    /// See [`Evidences::weigh`].
    fn weigh(&self, attempt: &Attempt, status: u8) -> Option<(Class, Rule)> {
        let (profiles, relays, headers) = (&self.profiles, &self.relays, self.headers);
        Evidences { profiles, relays, headers, attempt, status }.weigh()
    }

    fn known(&self, attempt: &Attempt) -> Verdict {
        if let Outcome::Exited(status) = attempt.outcome
            && (status != 0 || self.named)
            && let Some((class, rule)) = self.weigh(attempt, status)
        {
            match class {
                Class::Retryable if !attempt.reader_gone => return Verdict::Retryable(rule),
                Class::Fatal => return Verdict::Fatal(rule),
                Class::Retryable => {}
            }
        }
        match &attempt.outcome {
            Outcome::Exited(0) if self.until.is_some() => Verdict::Retryable(Rule::NotYet),
            Outcome::Exited(0) => Verdict::Success(Rule::ExitZero),
            Outcome::NotStarted(failure) if failure.may_pass() => Verdict::Retryable(Rule::StartMayPass),
            // Another command could not run, and its reason may pass.
            Outcome::Exited(126 | 127) if attempt.evidence.doubt().is_some() && !attempt.reader_gone => {
                Verdict::Retryable(Rule::AnyFailure)
            }
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
}

#[cfg(test)]
mod tests;
