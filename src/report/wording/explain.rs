//! Words for the source of a verdict, for `-v`.

use super::Wording;
use crate::policy::verdict::rule::Rule;

impl Wording {
    /// Names the profile, what it has seen, and the documentation that the profile comes from. None
    /// if no profile decided.
    pub(in crate::report) fn explanation(rule: &Rule) -> Option<String> {
        let (row, evidence) = match rule {
            Rule::Profile { row, status } => {
                let (first, last) = (status.range.start(), status.range.end());
                let to = if first == last { String::new() } else { format!("-{last}") };
                (row, format!("exit status {first}{to}"))
            }
            Rule::Line { row, pattern } => (row, format!("a line that matches {}", pattern.regex)),
            Rule::Http { status, row: Some(row), pattern: None } => (row, format!("HTTP {status}")),
            Rule::Http { status, row: Some(row), pattern: Some(pattern) } => {
                (row, format!("HTTP {status} in a line that matches {}", pattern.regex))
            }
            Rule::Http { row: None, .. }
            | Rule::LeftAlive
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
            | Rule::StartMayPass
            | Rule::CannotRun
            | Rule::Stopped(_)
            | Rule::ReaderGone
            | Rule::MaybeSent
            | Rule::AnyFailure => return None,
        };
        Some(format!("profile {} decided by {evidence}; source: {}", row.name, row.source))
    }
}
