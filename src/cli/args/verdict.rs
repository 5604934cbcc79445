//! The heading "Verdict".

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{ArgAction, ValueHint};

use super::os_text;
use crate::cli::values::{Span, condition, file, span};
use crate::policy::verdict::condition::Condition;
use crate::policy::verdict::profile::TABLE;

#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Verdict")]
#[group(skip)]
pub(crate) struct VerdictArgs {
    /// Retry these failures and no others; repeatable
    #[arg(short, long, value_name = "CONDITION", value_parser = condition, action = ArgAction::Append)]
    pub(crate) retry_on: Vec<Condition>,

    /// Never retry these failures; repeatable
    #[arg(short = 'x', long, value_name = "CONDITION", value_parser = condition, action = ArgAction::Append)]
    pub(crate) fatal_on: Vec<Condition>,

    /// Retry until this holds; exit 0 is not enough
    #[arg(short, long, value_name = "CONDITION", value_parser = condition)]
    #[arg(long_help = "Retry until this condition holds; exit 0 alone is not success")]
    pub(crate) until: Option<Condition>,

    /// Count these outcomes as success too; repeatable
    #[arg(long, value_name = "CONDITION", value_parser = condition, action = ArgAction::Append)]
    pub(crate) success_on: Vec<Condition>,

    /// How to interpret the failures
    #[arg(short, long, value_name = "NAME[,NAME]|auto|none", value_parser = profile_names())]
    #[arg(value_delimiter = ',', action = ArgAction::Set, num_args = 1)]
    #[arg(long_help = "How to interpret the command's failures")]
    pub(crate) profile: Option<Vec<String>>,

    /// Read HTTP status and headers from FILE, which the command writes
    #[arg(long, value_name = "FILE", value_parser = os_text(file), value_hint = ValueHint::FilePath)]
    pub(crate) headers: Option<PathBuf>,

    /// Give up if a server asks for a longer wait than DURATION
    #[arg(long, value_name = "DURATION", value_parser = span)]
    pub(crate) max_retry_after: Option<Span>,

    /// Instead of a COMMAND: show all profiles, or all that one profile knows
    #[arg(long, value_name = "NAME", value_parser = row_names(), num_args = 0..=1, require_equals = true)]
    #[expect(clippy::option_option, reason = "clap's type for an option whose value may be left out")]
    pub(crate) profiles: Option<Option<String>>,
}

/// The values of `--profiles`: the rows of the table.
fn row_names() -> PossibleValuesParser {
    PossibleValuesParser::new(TABLE.iter().map(|row| row.name))
}

/// The values of `--profile`: the rows of the table, `auto` and `none`.
fn profile_names() -> PossibleValuesParser {
    let rows = TABLE.iter().map(|row| row.name);
    PossibleValuesParser::new(rows.chain(["auto", "none"]))
}
