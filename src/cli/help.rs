//! `-h` and `--help`, within 80 columns, made from the definition of the command line.

use clap::Command;

use super::args;
use super::reference::{EXIT_STATUSES, OptionEntry, ValueForm, options};

/// Columns of the narrowest terminal that the help fits.
const WIDTH: usize = 80;

/// The column at which the text of an option begins in `--help`.
const INDENT: usize = 10;

/// The options that `-h` shows.
const MAIN: [&str; 11] = [
    "max", "deadline", "timeout", "delay", "retry-on", "fatal-on", "until", "profile", "quiet", "verbose",
    "help",
];

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

/// The main options, for `-h`.
pub(crate) fn main() -> String {
    let command = args::definition();
    let is_main = |option: &OptionEntry| MAIN.contains(&option.long.as_str());
    let main: Vec<OptionEntry> = options(&command).into_iter().filter(is_main).collect();
    let heads: Vec<String> = main.iter().map(|option| head(option, true)).collect();
    let width = heads.iter().map(String::len).max().unwrap_or(0) + 2;
    let mut text = format!("{}\n{}\n\n", about(&command, false), usage(&command));
    let mut heading = "";
    for (option, head) in main.iter().zip(&heads) {
        if option.heading != heading {
            text.push_str(&format!("{}:\n", option.heading));
            heading = &option.heading;
        }
        text.push_str(&format!("{head:width$}{}\n", option.brief));
    }
    text + MAIN_END
}

/// All options, for `--help`.
pub(crate) fn all() -> String {
    let command = args::definition();
    let mut text = format!("{}{}\n", wrapped(&about(&command, true), 0), usage(&command));
    let mut heading = String::new();
    for option in options(&command) {
        if option.heading != heading {
            text.push_str(&format!("\n{}:\n", option.heading));
            heading.clone_from(&option.heading);
        }
        text.push_str(&paragraph(&option));
    }
    text.push_str("\nExit status:\n");
    for (status, meaning) in EXIT_STATUSES {
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
fn head(option: &OptionEntry, brief: bool) -> String {
    let names = option.names().join(", ");
    let indent = if option.short.is_some() { "  " } else { "      " };
    let value = match &option.value {
        ValueForm::None => String::new(),
        ValueForm::Required(value) if brief => {
            format!(" <{}>", value.split(['|', '[']).next().unwrap_or_default())
        }
        ValueForm::Required(value) => format!(" <{value}>"),
        ValueForm::AfterEquals(value) => format!("[=<{value}>]"),
    };
    format!("{indent}{names}{value}")
}

/// An option in `--help`: its head, its meaning, and the values that it accepts.
fn paragraph(option: &OptionEntry) -> String {
    let default = option.default.as_ref().map(|default| format!(" [default: {default}]")).unwrap_or_default();
    // Sentences end with full stops; a phrase alone has none.
    let stop = if option.meaning.contains(". ") { "." } else { "" };
    let meaning = wrapped(&format!("{}{stop}{default}", option.meaning), INDENT);
    let mut text = format!("{}\n{meaning}", head(option, false));
    let names: Vec<&str> = option.choices.iter().map(|choice| choice.name.as_str()).collect();
    if option.explains_choices() {
        let width = names.iter().map(|name| name.len()).max().unwrap_or(0) + 1;
        for choice in &option.choices {
            text.push_str(&format!(
                "{:INDENT$}- {:width$} {}\n",
                "",
                format!("{}:", choice.name),
                choice.meaning
            ));
        }
    // The values of --profiles are those of --profile.
    } else if !names.is_empty() && option.value.required().is_some() {
        text.push_str(&wrapped(&format!("One of: {}", names.join(", ")), INDENT));
    }
    text
}

/// Breaks text into lines of at most [`WIDTH`] columns, each ended by a newline. A line never
/// begins with a word that begins with a dash, because the line would look like an option.
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
        let options = help.lines().filter(|line| line.starts_with(' ') && line.contains("--")).count();
        assert_eq!(options, MAIN.len(), "{help}");
        // The prompt also takes a line, so 23 lines fit on a screen of 24.
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
