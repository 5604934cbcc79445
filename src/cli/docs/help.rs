//! `-h` and `--help`, within 80 columns: made from the definition, as the pages are.

use clap::Command;

use super::{Entry, entries};
use crate::cli::args;
use crate::exit::TABLE;

/// Columns of the narrowest terminal that is served.
const WIDTH: usize = 80;

/// Where the text of an option begins in `--help`.
const INDENT: usize = 10;

const MAIN_END: &str = "
Conditions: 7 5-9 TERM signal timeout failure transient http:5xx stderr~REGEX
Exit status: the command's; 124 timed out, 125 retry failed, 126 could not run,
  127 not found, 128+N killed by signal N, 75 breaker open
Example: retry --max 3 -- curl -fsS http://127.0.0.1:8080/data
";

const ALL_END: &str = "
Examples:
  retry -- curl -fsS http://127.0.0.1:8080/data
  retry --deadline 2m -- pg_isready -h 127.0.0.1
  retry -n 3 --timeout 30s -x 2 -- ./deploy

More: retry(1)
";

/// The ten options that matter, for `-h`.
pub(crate) fn main() -> String {
    let command = args::definition();
    let main: Vec<Entry> = entries(&command).into_iter().filter(|entry| entry.brief.is_some()).collect();
    let heads: Vec<String> = main.iter().map(|entry| head(entry, true)).collect();
    let width = heads.iter().map(String::len).max().unwrap_or(0) + 2;
    let mut text = format!("{}\n{}\n\n", about(&command, false), usage(&command));
    let mut group = "";
    for (entry, head) in main.iter().zip(&heads) {
        if entry.group != group {
            text.push_str(&format!("{}:\n", entry.group));
            group = &entry.group;
        }
        let brief = entry.brief.as_deref().unwrap_or_default();
        text.push_str(format!("{head:width$}{brief}").trim_end());
        text.push('\n');
    }
    text + MAIN_END
}

/// All options, for `--help`.
pub(crate) fn all() -> String {
    let command = args::definition();
    let mut text = format!("{}{}\n", wrapped(&about(&command, true), 0), usage(&command));
    let mut group = String::new();
    for entry in entries(&command) {
        if entry.group != group {
            text.push_str(&format!("\n{}:\n", entry.group));
            group.clone_from(&entry.group);
        }
        text.push_str(&option(&entry));
    }
    text.push_str("\nExit status:\n");
    for (status, meaning) in TABLE {
        text.push_str(&format!("  {status:<9} {}\n", meaning.replace('`', "")));
    }
    text + ALL_END
}

fn about(command: &Command, long: bool) -> String {
    let about = if long { command.get_long_about() } else { command.get_about() };
    about.map(ToString::to_string).unwrap_or_default()
}

fn usage(command: &Command) -> String {
    command.clone().render_usage().to_string()
}

/// `  -n, --max <N|unlimited>`; briefly `  -n, --max <N>`.
fn head(entry: &Entry, brief: bool) -> String {
    let names = entry.names.join(", ");
    let lead = if entry.short().is_some() { "  " } else { "      " };
    let value = match &entry.value {
        Some(value) if brief => format!(" <{}>", value.split(['|', '[']).next().unwrap_or_default()),
        Some(value) => format!(" <{value}>"),
        None if entry.optional => "[=<NAME>]".to_owned(),
        None => String::new(),
    };
    format!("{lead}{names}{value}")
}

fn option(entry: &Entry) -> String {
    let default = entry.default.as_ref().map(|default| format!(" [default: {default}]")).unwrap_or_default();
    // Sentences have full stops; a phrase alone has none.
    let stop = if entry.meaning.contains(". ") { "." } else { "" };
    let text = wrapped(&format!("{}{stop}{default}", entry.meaning), INDENT);
    let mut text = format!("{}\n{text}", head(entry, false));
    let width = entry.values.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 1;
    if entry.values.iter().any(|(_, meaning)| !meaning.is_empty()) {
        for (name, meaning) in &entry.values {
            text.push_str(&format!("{:INDENT$}- {:width$} {meaning}\n", "", format!("{name}:")));
        }
    } else if !entry.values.is_empty() {
        let names: Vec<&str> = entry.values.iter().map(|(name, _)| name.as_str()).collect();
        text.push_str(&wrapped(&format!("One of: {}", names.join(", ")), INDENT));
    }
    text
}

/// Lines of at most [`WIDTH`] columns, each ended by a newline. No line begins with a word that begins with a
/// dash, which would look like an option.
fn wrapped(text: &str, indent: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut line: Vec<&str> = Vec::new();
    let length = |line: &[&str]| indent + line.iter().map(|word| word.chars().count() + 1).sum::<usize>();
    for word in text.split_whitespace() {
        if !line.is_empty() && length(&line) + word.chars().count() > WIDTH {
            let stays =
                line.iter().rposition(|word| !word.starts_with('-')).filter(|_| word.starts_with('-'));
            let rest = line.split_off(stays.unwrap_or(line.len()));
            lines.push(line.join(" "));
            line = rest;
        }
        line.push(word);
    }
    lines.push(line.join(" "));
    let margin = " ".repeat(indent);
    lines.iter().flat_map(|line| [margin.as_str(), line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_help_fits_on_a_screen_of_80_by_24() {
        let help = main();
        // The prompt takes a line too.
        assert!(help.lines().count() <= 23, "{}: {help}", help.lines().count());
        for line in help.lines() {
            assert!(line.chars().count() <= WIDTH, "{}: {line}", line.chars().count());
        }
        for word in ["-q, --quiet", "-p, --profile", "Exit status", "124", "125", "126", "127", "128+N", "75"]
        {
            assert!(help.contains(word), "{word} in {help}");
        }
    }

    #[test]
    fn the_whole_help_fits_into_80_columns() {
        for line in all().lines() {
            assert!(line.chars().count() <= WIDTH, "{}: {line}", line.chars().count());
            assert_eq!(line.trim_end(), line);
        }
    }

    #[test]
    fn no_wrapped_line_begins_like_an_option() {
        let text = "word ".repeat(14) + "next --deadline 5 -- and more";
        let lines = wrapped(&text, INDENT);
        assert!(lines.lines().count() > 1, "{lines}");
        assert!(
            lines.lines().all(|line| line.len() <= WIDTH && !line.trim_start().starts_with('-')),
            "{lines}"
        );
    }
}
