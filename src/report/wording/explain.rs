//! Words for the source of a verdict, for `-v`.

use super::Wording;
use crate::policy::verdict::rule::{Known, Rule};

impl Wording {
    /// Names the profile, what it has seen, and the documentation that the profile comes from. None
    /// if no profile decided.
    pub(in crate::report) fn explanation(rule: &Rule) -> Option<String> {
        let (row, evidence) = match rule.known()? {
            Known::Status(row, status) => {
                let (first, last) = (status.range.start(), status.range.end());
                let to = if first == last { String::new() } else { format!("-{last}") };
                (row, format!("exit status {first}{to}"))
            }
            Known::Line(row, pattern) => (row, format!("a line that matches {}", pattern.regex)),
            Known::Http(status, row, None) => (row?, format!("HTTP {status}")),
            Known::Http(status, row, Some(pattern)) => {
                (row?, format!("HTTP {status} in a line that matches {}", pattern.regex))
            }
        };
        Some(format!("profile {} decided by {evidence}; source: {}", row.name, row.source))
    }
}
