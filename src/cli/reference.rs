//! The facts about the command line from which help, man page, completions and the table of options
//! are made: its options, exit statuses and profiles.

use std::ops::RangeInclusive;

use clap::{Arg, Command};

use super::{args, defaults};
use crate::exit::TABLE;
use crate::policy::verdict::profile::{self, Meaning, Profile};

/// Exit statuses of `retry` and their meanings, with names to type in backquotes.
pub const EXIT_STATUSES: [(&str, &str); 8] = TABLE;

/// One option.
#[derive(Debug)]
pub struct OptionEntry {
    /// The heading above the option in the help.
    pub heading: String,
    /// Its one-letter name, without the dash.
    pub short: Option<char>,
    /// Its long name, without the dashes.
    pub long: String,
    /// The value that it takes.
    pub value: ValueForm,
    /// The only values that it accepts, if there are few.
    pub choices: Vec<Choice>,
    /// A description in sentences, without the last full stop.
    pub meaning: String,
    /// The value or behaviour without the option.
    pub default: Option<String>,
    /// The text for `-h` and completions: a phrase with the default in it.
    pub brief: String,
}

/// How an option takes its value. The text is the name of the value in the help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueForm {
    /// The option takes no value.
    None,
    /// `--max N`, `--max=N`
    Required(String),
    /// `--breaker-status`, `--breaker-status=NAME`
    AfterEquals(String),
}

/// A value that an option accepts. The meaning is empty if the name says enough.
#[derive(Debug)]
pub struct Choice {
    /// The text to type.
    pub name: String,
    /// A phrase.
    pub meaning: String,
}

impl OptionEntry {
    fn new(arg: &Arg) -> Self {
        let long = arg.get_long().unwrap_or_default();
        let default = defaults::text(long);
        let brief = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let full = arg.get_long_help().map_or(brief.clone(), ToString::to_string);
        let takes_value = arg.get_action().takes_values();
        let choices = arg.get_possible_values().into_iter().filter(|_| takes_value).map(|value| Choice {
            name: value.get_name().to_owned(),
            meaning: value.get_help().map(ToString::to_string).unwrap_or_default(),
        });
        Self {
            heading: arg.get_help_heading().unwrap_or_default().to_owned(),
            short: arg.get_short(),
            long: long.to_owned(),
            value: ValueForm::new(arg),
            choices: choices.collect(),
            meaning: full.replace("\n\n", ". ").trim_end_matches('.').to_owned(),
            brief: match default.as_ref().and_then(|default| default.brief.as_ref()) {
                Some(default) => format!("{brief} [default: {default}]"),
                None => brief,
            },
            default: default.map(|default| default.full),
        }
    }

    /// Its names with their dashes, the short one first.
    pub fn names(&self) -> Vec<String> {
        let short = self.short.map(|letter| format!("-{letter}"));
        short.into_iter().chain([format!("--{}", self.long)]).collect()
    }

    /// Whether each of its choices has a meaning of its own to show.
    pub fn explains_choices(&self) -> bool {
        self.choices.iter().any(|choice| !choice.meaning.is_empty())
    }
}

impl ValueForm {
    fn new(arg: &Arg) -> Self {
        let name = arg.get_value_names().map(<[_]>::concat).unwrap_or_default();
        match (arg.get_action().takes_values(), arg.is_require_equals_set()) {
            (false, _) => Self::None,
            (true, false) => Self::Required(name),
            (true, true) => Self::AfterEquals(name),
        }
    }

    /// The name of the value, if the option cannot be without a value.
    pub fn required(&self) -> Option<&str> {
        match self {
            Self::Required(name) => Some(name),
            Self::None | Self::AfterEquals(_) => None,
        }
    }
}

/// The definition of the command line.
pub fn definition() -> Command {
    args::definition()
}

/// All options in the order of their definition.
pub fn options(definition: &Command) -> Vec<OptionEntry> {
    definition.get_arguments().filter(|arg| !arg.is_hide_set()).map(OptionEntry::new).collect()
}

/// The knowledge of `retry` about the failures of one program.
#[derive(Debug)]
pub struct ProfileEntry {
    /// The name for `--profile`.
    pub name: &'static str,
    /// The base names of the commands for which `--profile auto` picks the profile.
    pub programs: &'static [&'static str],
    /// The page that documents the program's failures.
    pub source: &'static str,
    /// Exit statuses that are retried.
    pub retried: Vec<RangeInclusive<u8>>,
    /// Exit statuses that are not retried.
    pub not_retried: Vec<RangeInclusive<u8>>,
    /// Whether HTTP statuses decide.
    pub reads_http: bool,
    /// Whether lines of the output decide.
    pub reads_lines: bool,
}

impl ProfileEntry {
    fn new(row: &Profile) -> Self {
        let with = |means: fn(Meaning) -> bool| {
            row.statuses
                .iter()
                .filter(|status| means(status.meaning))
                .map(|status| status.range.clone())
                .collect()
        };
        Self {
            name: row.name,
            programs: row.programs,
            source: row.source,
            retried: with(|meaning| meaning == Meaning::Retryable),
            not_retried: with(|meaning| matches!(meaning, Meaning::Fatal(_))),
            reads_http: row.reads_http(),
            reads_lines: !row.patterns.is_empty(),
        }
    }
}

/// All profiles in the order of the man page.
pub fn profiles() -> Vec<ProfileEntry> {
    profile::TABLE.iter().map(ProfileEntry::new).collect()
}
