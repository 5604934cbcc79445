//! The output of `--profiles`: the table of all profiles, and everything that one of them knows.
//!
//! Lines fit into 80 columns. Only a regular expression or a URL that stands alone may be longer,
//! because somebody may want to copy it.

use std::ops::RangeInclusive;

use super::wrap::wrapped;
use crate::policy::verdict::class::Class;
use crate::policy::verdict::profile::terminal::Need;
use crate::policy::verdict::profile::{Meaning, Pattern, Profile, Proof, Relay, Says, WatchStdout};
use crate::policy::verdict::program::is_wrapper;

/// Columns of the narrowest terminal that the output fits.
const WIDTH: usize = 80;

/// The widest column of programs in the table.
const PROGRAMS: usize = 20;

/// The column at which the facts of a page begin.
const INDENT: usize = 11;

/// The table of rows: name, programs and source.
pub(crate) fn table(rows: &[Profile]) -> String {
    let name = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    let mut line = |cells: [&str; 3]| {
        let line = format!("{:name$}  {:PROGRAMS$}  {}", cells[0], cells[1], cells[2]);
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(["NAME", "PROGRAMS", "SOURCE"]);
    for row in rows {
        let programs = wrapped(&programs(row), PROGRAMS);
        let sources = wrapped(row.source, WIDTH - name - PROGRAMS - 4);
        for n in 0..programs.len().max(sources.len()) {
            let cell = |column: &[String]| column.get(n).cloned().unwrap_or_default();
            line([if n == 0 { row.name } else { "" }, &cell(&programs), &cell(&sources)]);
        }
    }
    text
}

/// Everything that a row knows.
pub(crate) fn page(row: &Profile) -> String {
    let mut text = fact("Profile:", row.name);
    text.push_str(&fact("Programs:", &programs(row)));
    // The source is not broken, so that a URL can be copied.
    text.push_str(&format!("{:INDENT$}{}\n", "Source:", row.source));
    text.push_str(&fact("Watched:", &watched(row)));
    if row.reads_http() || !row.patterns.is_empty() {
        text.push_str(&fact("Terminal:", terminal(row)));
    }
    if !row.unsent.is_empty() {
        let statuses: Vec<String> = row.unsent.iter().map(ToString::to_string).collect();
        let unsent = format!("nothing, with exit status {} (--not-idempotent)", statuses.join(", "));
        text.push_str(&fact("Sent:", &unsent));
    }
    if !row.relays.is_empty() {
        text.push_str(&fact("Relays:", &relays(row.relays)));
    }
    text + &statuses(row) + &patterns(row)
}

/// The programs of a row, for which `auto` picks the row.
fn programs(row: &Profile) -> String {
    if row.programs.is_empty() { "-".to_owned() } else { row.programs.join(", ") }
}

fn watched(row: &Profile) -> String {
    let what = match (row.patterns.is_empty(), row.reads_http()) {
        (true, false) => return "nothing".to_owned(),
        (false, false) => "lines",
        (true, true) => "HTTP responses",
        (false, true) => "lines and HTTP responses",
    };
    let stdout = match row.stdout {
        WatchStdout::Never => String::new(),
        WatchStdout::Always => ", stdout".to_owned(),
        WatchStdout::With { options, .. } => format!(", stdout with {}", options.join(" ")),
    };
    let wrapped = if row.wraps { "; lines that the program has wrapped are joined" } else { "" };
    format!("stderr{stdout}, for {what}{wrapped}")
}

fn terminal(row: &Profile) -> &'static str {
    // The program that a wrapper runs may start a pager.
    if !row.programs.is_empty() && row.programs.iter().all(|program| is_wrapper(program)) {
        return "watched by auto only if a profile knows the program behind it and allows that";
    }
    match row.terminal.need() {
        Need::Never => "watched too",
        Need::Sometimes => "not watched by auto if the arguments may start a pager, an editor or a shell",
        Need::Always => "not watched by auto, because the program may start a pager or an editor",
    }
}

/// The invocations that pass on the output of another program, by the exit statuses with which
/// lines count nevertheless.
fn relays(relays: &[Relay]) -> String {
    let mut groups: Vec<(&[RangeInclusive<u8>], Vec<&Relay>)> = Vec::new();
    let (own, others): (Vec<&Relay>, Vec<&Relay>) = relays.iter().partition(|relay| relay.own == [0..=255]);
    for relay in others {
        match groups.iter_mut().find(|(own, _)| *own == relay.own) {
            Some((_, group)) => group.push(relay),
            None => groups.push((relay.own, vec![relay])),
        }
    }
    let own_commands = !own.is_empty();
    let group = |(own, group): (&[RangeInclusive<u8>], Vec<&Relay>)| {
        let commands: Vec<String> = group.into_iter().map(|relay| relaying(relay, own_commands)).collect();
        let lines = match own {
            [] => "no line counts".to_owned(),
            own => format!("lines count only with exit status {}", ranges(own)),
        };
        format!("{} ({lines})", commands.join(", "))
    };
    groups.into_iter().map(group).collect::<Vec<_>>().join("; ")
}

fn relaying(relay: &Relay, own_commands: bool) -> String {
    let any = if own_commands { "any command but those of the program itself" } else { "any command" };
    let words: Vec<&str> = relay.program.into_iter().chain(Some(relay.command)).collect();
    let command = words.join(" ").trim().to_owned();
    let command = if command.is_empty() { any.to_owned() } else { command };
    match relay.operands {
        0 => command,
        1 if own_commands && relay.command.is_empty() => command,
        1 => format!("{command} with an operand"),
        least => format!("{command} with {least} or more operands"),
    }
}

/// The exit statuses, and the meaning of the proofs that occur.
fn statuses(row: &Profile) -> String {
    if row.statuses.is_empty() {
        return String::new();
    }
    let cells: Vec<(String, String, &str)> = row
        .statuses
        .iter()
        .map(|status| (range(&status.range), meaning(status.meaning), status.reason))
        .collect();
    let width = cells.iter().map(|(_, meaning, _)| meaning.len()).max().unwrap_or(0);
    let mut text = "\nExit statuses:\n".to_owned();
    for (range, meaning, reason) in cells {
        text.push_str(&format!("  {range:7}  {meaning:width$}  {reason}\n"));
    }
    if row.statuses.iter().any(|status| status.meaning == Meaning::Ambiguous) {
        let sentence = "no proof, so retried unless a line or an HTTP status is permanent";
        text.push_str(&hanging("  ambiguous: ", sentence));
    }
    for proof in [Proof::Usage, Proof::Answer, Proof::Local, Proof::Interrupted] {
        if row.statuses.iter().any(|status| status.meaning == Meaning::Fatal(proof)) {
            let (name, sentence) = (format!("{}:", name(proof)), explained(proof));
            text.push_str(&hanging(&format!("  {name:11}"), sentence));
        }
    }
    text
}

fn meaning(meaning: Meaning) -> String {
    match meaning {
        Meaning::Retryable => "retryable".to_owned(),
        Meaning::Ambiguous => "ambiguous".to_owned(),
        Meaning::Fatal(proof) => format!("permanent ({})", name(proof)),
    }
}

fn name(proof: Proof) -> &'static str {
    match proof {
        Proof::Usage => "usage",
        Proof::Answer => "answer",
        Proof::Local => "local",
        Proof::Interrupted => "stopped",
    }
}

fn explained(proof: Proof) -> &'static str {
    match proof {
        Proof::Usage => "the program rejects its arguments or its configuration before it does anything",
        Proof::Answer => "the peer gave a definite answer",
        Proof::Local => "the cause is on this machine, and does not pass by itself",
        Proof::Interrupted => "somebody asked the program to stop",
    }
}

fn patterns(row: &Profile) -> String {
    let mut text = String::new();
    if !row.patterns.is_empty() {
        text.push_str("\nLines that decide (regular expressions):\n");
    }
    for pattern in row.patterns {
        text.push_str(&hanging("  ", &verdict(pattern)));
        text.push_str(&format!("      {}\n", pattern.regex));
    }
    text
}

/// `retryable: refused connection (exit status 1; nothing was sent)`
fn verdict(pattern: &Pattern) -> String {
    let mut notes = Vec::new();
    if !pattern.statuses.is_empty() {
        notes.push(format!("exit status {}", ranges(pattern.statuses)));
    }
    if pattern.unsent {
        notes.push("nothing was sent".to_owned());
    }
    if pattern.general {
        notes.push("unless a permanent line matches too".to_owned());
    }
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
    match pattern.says {
        Says::Class(Class::Retryable, words) | Says::Doubt(words) => format!("retryable: {words}{notes}"),
        Says::Class(Class::Fatal, words) => format!("permanent: {words}{notes}"),
        Says::HttpStatus => format!("the HTTP status in the line decides{notes}"),
    }
}

fn ranges(all: &[RangeInclusive<u8>]) -> String {
    all.iter().map(range).collect::<Vec<_>>().join(", ")
}

fn range(range: &RangeInclusive<u8>) -> String {
    match (range.start(), range.end()) {
        (from, to) if from == to => from.to_string(),
        (from, to) => format!("{from}-{to}"),
    }
}

fn fact(head: &str, text: &str) -> String {
    hanging(&format!("{head:INDENT$}"), text)
}

/// A head, and a text beside it that stays behind the head in each line.
fn hanging(head: &str, text: &str) -> String {
    let lines = wrapped(text, WIDTH - head.len());
    let line = |(n, line): (usize, &String)| {
        format!("{:width$}{line}\n", if n == 0 { head } else { "" }, width = head.len())
    };
    lines.iter().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::verdict::profile::TABLE;

    #[test]
    fn the_table_has_every_row_and_fits_into_80_columns() {
        let table = table(TABLE);
        for line in table.lines() {
            assert!(line.chars().count() <= WIDTH && line.trim_end() == line, "{line:?}");
        }
        for row in TABLE {
            let begins =
                |line: &str| line.split_whitespace().next() == Some(row.name) && !line.starts_with(' ');
            assert_eq!(table.lines().filter(|line| begins(line)).count(), 1, "{}", row.name);
        }
    }

    /// Each fact of a row is on its page, and only a line that is copied is longer than 80 columns.
    #[test]
    fn a_page_has_everything_that_a_row_knows() {
        for row in TABLE {
            let page = page(row);
            let lines: Vec<&str> = page.lines().collect();
            for line in &lines {
                let is_copied = line.starts_with("Source:")
                    || row.patterns.iter().any(|pattern| line.ends_with(pattern.regex));
                assert!(is_copied || line.chars().count() <= WIDTH, "{}: {line}", row.name);
            }
            assert!(page.contains(row.name) && page.contains(row.source), "{page}");
            for program in row.programs {
                assert!(page.contains(program), "{program}: {page}");
            }
            for status in row.statuses {
                let cells = [range(&status.range), meaning(status.meaning), status.reason.to_owned()];
                let has = |line: &&str| {
                    let mut rest = line.trim_start();
                    cells.iter().all(|cell| match rest.strip_prefix(cell.as_str()) {
                        Some(after) => {
                            rest = after.trim_start();
                            true
                        }
                        None => false,
                    }) && rest.is_empty()
                };
                assert_eq!(lines.iter().filter(|line| has(line)).count(), 1, "{cells:?}: {page}");
            }
            for pattern in row.patterns {
                let at = lines.iter().position(|line| line.strip_prefix("      ") == Some(pattern.regex));
                let at = at.unwrap_or_else(|| panic!("{}: {page}", pattern.regex));
                // Long words about a pattern take two lines.
                let above = lines[at - 2..at].join(" ");
                let class = match pattern.says {
                    Says::Class(Class::Retryable, _) | Says::Doubt(_) => "retryable",
                    Says::Class(Class::Fatal, _) => "permanent",
                    Says::HttpStatus => "HTTP status",
                };
                assert!(above.contains(class) && above.contains(pattern.words()), "{above}");
            }
        }
    }
}
