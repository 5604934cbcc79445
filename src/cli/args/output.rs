//! The heading "Output".

use clap::ArgAction;

use crate::cli::values::label;

#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Output")]
#[group(skip)]
pub(crate) struct OutputArgs {
    /// Print only the final error, and warnings about shared state, key files and reports
    ///
    /// -qq prints nothing.
    #[arg(short, long, action = ArgAction::Count, overrides_with = "verbose")]
    #[arg(help = "Print only the final error; -qq prints nothing")]
    pub(crate) quiet: u8,

    /// Also print which rule decided, which signals were sent, and where policy and shared state are
    ///
    /// The last of --quiet and --verbose counts.
    #[arg(short, long, overrides_with = "quiet", help = "Also print which rule decided")]
    pub(crate) verbose: bool,

    /// Name of the command in messages and reports
    #[arg(long, value_name = "TEXT", value_parser = label)]
    pub(crate) label: Option<String>,

    /// Print the main options (-h) or all (--help)
    #[arg(short, long, action = ArgAction::Help)]
    pub(crate) help: Option<bool>,

    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version)]
    pub(crate) version: Option<bool>,
}
