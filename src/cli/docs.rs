//! What is made from the definition of the command line: `-h` and `--help`, the man page, completions, and the
//! README's table.

mod completion;
pub(crate) mod help;
mod man;

use clap::{Arg, Command, ValueEnum};

pub use completion::completion;
pub use man::man_page;

use super::args;

/// A long help that lists the values of an option whose short help has no room for them.
pub(crate) fn with_values<V: ValueEnum>(help: &str) -> String {
    let values: Vec<_> = V::value_variants().iter().filter_map(ValueEnum::to_possible_value).collect();
    let width = values.iter().map(|value| value.get_name().len() + 1).max().unwrap_or(0);
    let mut text = format!("{help}\n\nPossible values:");
    for value in values {
        let meaning = value.get_help().map(ToString::to_string).unwrap_or_default();
        text.push_str(&format!("\n- {:width$} {meaning}", format!("{}:", value.get_name())));
    }
    text
}

/// One option, as pages show it.
struct Entry {
    /// Its help heading.
    group: String,
    /// `-n`, `--max`: with dashes, the short one first.
    names: Vec<String>,
    /// Its value, a name, may be left out, and stands behind `=`.
    optional: bool,
    /// What its value is called, where it has to have one.
    value: Option<String>,
    /// The values that it takes, with their meaning, where they are few.
    values: Vec<(String, String)>,
    /// What it does: sentences without the last full stop.
    meaning: String,
    /// What holds where it is not given.
    default: Option<String>,
    /// The text for `-h`, with the default in it, if the option stands there.
    brief: Option<String>,
}

impl Entry {
    fn short(&self) -> Option<&str> {
        self.names.iter().map(String::as_str).find(|name| !name.starts_with("--"))
    }

    fn long(&self) -> Option<&str> {
        self.names.iter().map(String::as_str).find(|name| name.starts_with("--"))
    }
}

/// The definition, whole.
fn definition() -> Command {
    let mut command = args::definition();
    command.build();
    command
}

/// All options in the order of their definition.
fn entries(command: &Command) -> Vec<Entry> {
    command.get_arguments().filter(|arg| !arg.is_hide_set()).map(entry).collect()
}

fn entry(arg: &Arg) -> Entry {
    let names = arg.get_short().map(|c| format!("-{c}")).into_iter();
    let values = arg.get_possible_values().into_iter().map(|value| {
        (value.get_name().to_owned(), value.get_help().map(ToString::to_string).unwrap_or_default())
    });
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let help = help.split("\n\nPossible values:").next().unwrap_or_default();
    // `Meaning [default: value]`, and perhaps more in another paragraph.
    let (first, more) = help.split_once("\n\n").unwrap_or((help, ""));
    let (first, default) = match first.strip_suffix(']').and_then(|text| text.split_once(" [default: ")) {
        Some((meaning, default)) => (meaning, Some(default.to_owned())),
        None => (first, None),
    };
    let takes_value = arg.get_action().takes_values();
    let optional = arg.is_require_equals_set();
    Entry {
        group: arg.get_help_heading().unwrap_or_default().to_owned(),
        names: names.chain(arg.get_long().map(|name| format!("--{name}"))).collect(),
        optional,
        value: arg.get_value_names().filter(|_| takes_value && !optional).map(<[_]>::concat),
        values: if takes_value { values.collect() } else { Vec::new() },
        meaning: if more.is_empty() { first.to_owned() } else { format!("{first}. {more}") }
            .trim_end_matches('.')
            .to_owned(),
        default,
        brief: (!arg.is_hide_short_help_set())
            .then(|| arg.get_help().map(ToString::to_string).unwrap_or_default()),
    }
}

/// The options as a table in Markdown.
#[doc(hidden)]
pub fn option_table() -> String {
    let mut table = String::from("| group | option | meaning | default |\n| --- | --- | --- | --- |\n");
    let mut last = String::new();
    for entry in entries(&definition()) {
        let listed: Vec<&str> = entry.values.iter().map(|(name, _)| name.as_str()).collect();
        let value = match (entry.value, listed.is_empty()) {
            (None, _) if entry.optional => "[=NAME]".to_owned(),
            (None, _) => String::new(),
            // Values that have a meaning each are all there are: they stand for the name.
            (Some(_), false) if entry.values.iter().all(|(_, meaning)| !meaning.is_empty()) => {
                format!(" <{}>", listed.join("|"))
            }
            (Some(name), _) => format!(" <{name}>"),
        };
        let option = format!("{}{value}", entry.names.join(", ")).replace('|', "\\|");
        let group = if entry.group == last { "" } else { &entry.group };
        let default = entry.default.unwrap_or_default();
        table.push_str(&format!("| {group} | `{option}` | {} | {default} |\n", entry.meaning));
        last = entry.group;
    }
    table
}
