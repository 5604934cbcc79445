//! Weighs the evidence about a failure: fatal needs proof.
//!
//! The first of these that says something decides:
//!
//! 1. Evidence of a transient cause: an HTTP status, or a line of the program.
//! 2. The program's own words about its end: a line, or an HTTP status in a line that counts only
//!    with this exit status.
//! 3. An exit status that means a broken connection or a timeout, whatever a server said before.
//! 4. An HTTP status for a permanent cause.
//! 5. A line that begins a message about any of many causes. Some of them are transient.
//! 6. An exit status with a proof that no transient failure ends with it.
//!
//! Before a permanent cause counts, the output must be free of words that many programs use for
//! transient causes (see [`doubt`](super::profile::doubt)).
//!
//! If nothing decides, the failure is ambiguous, and the rules after the profiles retry it.

use super::class::Class;
use super::evidence::Said;
use super::profile::{Meaning, Pattern, Profile, Relay, Says};
use super::rule::Rule;
use crate::policy::outcome::Attempt;

/// What is known about the failure of one attempt.
pub(super) struct Evidences<'a> {
    /// The profiles that apply, in order.
    pub(super) profiles: &'a [&'static Profile],
    /// For a row by its name: the invocation in which its program passes on the output of another.
    pub(super) relays: &'a [(&'static str, &'static Relay)],
    /// Whether a `--headers` file shows HTTP responses, whatever the program.
    pub(super) headers: bool,
    pub(super) attempt: &'a Attempt,
    pub(super) status: u8,
}

impl Evidences<'_> {
    /// The class of the failure, and the rule that decided. None if the failure is ambiguous.
    pub(super) fn weigh(&self) -> Option<(Class, Rule)> {
        match self.known() {
            Some((Class::Fatal, rule)) => Some(self.doubt().unwrap_or((Class::Fatal, rule))),
            decided => decided,
        }
    }

    /// A word of a transient cause, which no pattern of the row knows.
    fn doubt(&self) -> Option<(Class, Rule)> {
        let (row, pattern) = self.attempt.evidence.doubt()?;
        Some((Class::Retryable, Rule::Line { row, pattern }))
    }

    fn known(&self) -> Option<(Class, Rule)> {
        let about_the_end = |pattern: &Pattern| pattern.is_about_the_end(self.status);
        let any = |_: &Pattern| true;
        self.response(Class::Retryable)
            .or_else(|| self.said_status(Class::Retryable, any))
            .or_else(|| self.line(Class::Retryable, |pattern| !pattern.general))
            .or_else(|| self.line(Class::Fatal, any))
            .or_else(|| self.said_status(Class::Fatal, about_the_end))
            .or_else(|| self.broken_connection())
            .or_else(|| self.response(Class::Fatal))
            .or_else(|| self.said_status(Class::Fatal, any))
            .or_else(|| self.line(Class::Retryable, any))
            .or_else(|| self.proven_status())
    }

    /// An exit status that means a broken connection or a timeout.
    fn broken_connection(&self) -> Option<(Class, Rule)> {
        self.profiles.iter().find_map(|row| {
            let status = row.status(self.status).filter(|status| status.meaning == Meaning::Retryable)?;
            Some((Class::Retryable, Rule::Profile { row, status }))
        })
    }

    /// An exit status with a proof. If another profile calls the status ambiguous, it may be the
    /// status of that program (`sudo curl`), and proves nothing. So does a status that the program
    /// passes on.
    fn proven_status(&self) -> Option<(Class, Rule)> {
        let listed: Vec<_> =
            self.profiles.iter().filter_map(|row| Some((*row, row.status(self.status)?))).collect();
        if listed.iter().any(|(row, _)| !self.is_own_status(row)) {
            return None;
        }
        if listed.iter().any(|(_, status)| status.meaning == Meaning::Ambiguous) {
            return None;
        }
        listed.into_iter().find_map(|(row, status)| match status.meaning {
            Meaning::Fatal(_) => Some((Class::Fatal, Rule::Profile { row, status })),
            Meaning::Retryable | Meaning::Ambiguous => None,
        })
    }

    /// The last complete header block.
    fn response(&self, class: Class) -> Option<(Class, Rule)> {
        let response = &self.attempt.evidence.response;
        let row = self.profiles.iter().copied().find(|row| row.reads_http());
        if (row.is_none() && !self.headers) || response.class() != Some(class) {
            return None;
        }
        let status = response.status()?;
        let pattern = self.said().find(|said| said.status == status).map(|said| said.pattern);
        // A message named the status, but it does not count with this exit status.
        if pattern.is_none() && self.attempt.evidence.said().iter().any(|said| said.status == status) {
            return None;
        }
        Some((class, Rule::Http { status, row, pattern }))
    }

    /// The first HTTP status of this class in a message of the program.
    fn said_status(&self, class: Class, counts: impl Fn(&Pattern) -> bool) -> Option<(Class, Rule)> {
        let response = &self.attempt.evidence.response;
        let of_class = |said: &Said| response.class_of(said.status) == Some(class);
        let Said { row, pattern, status } = self.said().filter(|said| counts(said.pattern)).find(of_class)?;
        Some((class, Rule::Http { status, row: Some(row), pattern: Some(pattern) }))
    }

    /// The first pattern of this class, in the order of the table, that a line matched.
    fn line(&self, class: Class, counts: impl Fn(&Pattern) -> bool) -> Option<(Class, Rule)> {
        let seen = self.attempt.evidence.lines();
        let (row, pattern) = seen.iter().map(|(row, _)| *row).find_map(|row| {
            let pattern = row.patterns.iter().find(|pattern| {
                matches!(pattern.says, Says::Class(says, _) if says == class)
                    && counts(pattern)
                    && self.counts(row, pattern)
                    && seen.contains(&(row, pattern))
            })?;
            Some((row, pattern))
        })?;
        Some((class, Rule::Line { row, pattern }))
    }

    fn said(&self) -> impl Iterator<Item = Said> {
        // A script that succeeds may have told of earlier statuses. Of these only the last one counts,
        // as the response.
        let told = |said: &Said| self.status == 0 && said.row.programs.is_empty();
        let said = self.attempt.evidence.said().iter().copied();
        said.filter(move |said| !told(said) && self.counts(said.row, said.pattern))
    }

    /// Whether a line of the program counts with this exit status, and is its own.
    fn counts(&self, row: &'static Profile, pattern: &Pattern) -> bool {
        self.is_own_status(row) && pattern.counts_with(self.status)
    }

    /// Whether the status is that of the program itself, and not of another that it runs.
    fn is_own_status(&self, row: &Profile) -> bool {
        let relay = self.relays.iter().find(|(of, _)| *of == row.name);
        relay.is_none_or(|(_, relay)| relay.own.iter().any(|range| range.contains(&self.status)))
    }
}

#[cfg(test)]
mod tests;
