//! Words for breakers, budgets and their records.

use std::borrow::Cow;

use super::Wording;
use crate::clock::local_ago;
use crate::error::one_line;
use crate::policy::admission::breaker::{Awaits, Cause, Known, Refusal};
use crate::policy::outer::Deadline;
use crate::report::format::{count, duration, printable, shell_word, shortened};
use crate::report::subject::{PolicySource, Volume};
use crate::state::file::place::Place;
use crate::state::participant::{Problem, Warning};
use crate::state::store::Replacement;

impl Wording {
    /// A line with the path of the policy file, and of each record of shared state.
    pub(in crate::report) fn places(&self) -> Vec<String> {
        let line = |(what, place): (&str, &Place)| {
            format!("{what} {} is kept in {}", printable(&place.name), printable(&place.shown()))
        };
        self.subject
            .policy_file
            .as_ref()
            .map(read)
            .into_iter()
            .chain(self.subject.shared.each().map(line))
            .collect()
    }

    /// A report that is lost says nothing that other reports do not say.
    pub(super) fn volume(warning: &Warning) -> Volume {
        match warning.problem {
            Problem::Unheard => Volume::Verbose,
            Problem::Unusable(_) | Problem::Unanswered(_) | Problem::SetAside(_) | Problem::Replaced(_) => {
                Volume::Quiet
            }
        }
    }

    pub(super) fn warning(&self, warning: &Warning) -> String {
        let names = self.subject.shared.names(warning.affected);
        match &warning.problem {
            Problem::Unusable(error) => {
                format!("continuing without {names}: {}", printable(&one_line(error)))
            }
            Problem::Unanswered(error) => format!(
                "{names} was open and cannot be used now, so the command is not run: {}",
                printable(&one_line(error))
            ),
            Problem::Replaced(Replacement { why, directory }) => format!(
                "sharing {names} on this machine only, in {}: {}{}",
                printable(&directory.to_string_lossy()),
                printable(&one_line(why)),
                why.hint().map(|hint| format!("; {hint}")).unwrap_or_default()
            ),
            Problem::Unheard => {
                format!("{names}: too many runs report at the same time; this report is lost")
            }
            Problem::SetAside(path) => {
                let path = path.to_string_lossy();
                format!(
                    "{names}: the file was damaged; retry renamed it to {} and no longer uses it",
                    printable(&path)
                )
            }
        }
    }

    /// The name of the breaker, if the run shares one.
    pub(in crate::report) fn breaker_name(&self) -> Option<String> {
        self.subject.shared.breaker.as_ref().map(|_| self.breaker().into_owned())
    }

    pub(super) fn breaker(&self) -> Cow<'_, str> {
        self.subject.shared.breaker.as_ref().map(|place| printable(&place.name)).unwrap_or_default()
    }

    /// Words for an open breaker, with its name.
    pub(super) fn refusal(&self, refusal: &Refusal) -> String {
        format!("breaker {} is {}", self.breaker(), Self::refused(refusal))
    }

    /// Words for an open breaker: since when it is open, why, and when the next probe comes.
    pub(super) fn refused(refusal: &Refusal) -> String {
        if refusal.awaits == Awaits::Permit {
            let since = local_ago(refusal.age);
            return format!("closed since {since} and lets the waiting runs back a few at a time");
        }
        let why = match refusal.cause {
            Cause::Tripped if refusal.failures == 0 => "held open by --breaker-trip".to_owned(),
            Cause::Failures if refusal.failures == 0 => "its record was damaged".to_owned(),
            Cause::Tripped | Cause::Failures => {
                let last =
                    refusal.last.as_deref().map(|last| format!(", last: {}", printable(&shortened(last))));
                format!("{}{}", count(refusal.failures.into(), "failure"), last.unwrap_or_default())
            }
        };
        let next = match (refusal.known, refusal.prober()) {
            (Known::Earlier, _) => "and its record cannot be used now".to_owned(),
            (Known::Now, Some(pid)) => {
                let prober = if pid == 0 { "another run".to_owned() } else { format!("process {pid}") };
                format!("{prober} probes, for {} at most", duration(refusal.left))
            }
            (Known::Now, None) => format!("next probe in {}", duration(refusal.left)),
        };
        format!("open since {} ({why}), {next}", local_ago(refusal.age))
    }

    /// Words for an open breaker that ended the run, with the command that closes it.
    pub(super) fn open(&self, refusal: &Refusal, deadline: Option<Deadline>) -> String {
        let reset = self.subject.shared.breaker.as_ref().map(reset).unwrap_or_default();
        let past = match deadline {
            Some(deadline) if refusal.awaits != Awaits::Probe || refusal.known == Known::Earlier => {
                format!("; {} comes first", self.limit_of_run(deadline))
            }
            Some(deadline) if refusal.left.is_zero() => format!("; {}", self.passed(deadline)),
            Some(deadline) => format!(", past {}", self.limit_of_run(deadline)),
            None => String::new(),
        };
        let closed = refusal.awaits == Awaits::Permit;
        let refusal = self.refusal(refusal);
        if closed {
            return format!("{refusal}{past}");
        }
        format!("{refusal}{past}; to close it: {}", printable(&reset))
    }
}

/// Words for the policy file that has been read.
pub(crate) fn read(policy: &PolicySource) -> String {
    let path = policy.path.to_string_lossy();
    format!("policy {} is {}, named by {}", printable(&policy.name), printable(&path), policy.named_by)
}

/// The command that closes the breaker at a place.
fn reset(place: &Place) -> String {
    match &place.server {
        None => format!("retry --breaker-reset={}", shell_word(&place.path.to_string_lossy())),
        Some(server) => {
            let (server, name) = (server.address.to_string(), shell_word(&place.name));
            format!("retry --state={} --breaker-reset={name}", shell_word(&server))
        }
    }
}
