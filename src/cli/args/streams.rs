//! The heading "Streams".

use crate::cli::values::{StdinName, size};

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Streams")]
#[group(skip)]
pub(crate) struct StreamArgs {
    /// Standard input of every attempt
    #[arg(long, value_name = "STDIN", value_enum)]
    pub(crate) stdin: Option<StdinName>,

    /// Maximum input kept for replay, such as 64KiB or 1G
    ///
    /// retry does not retry an attempt that read more.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) stdin_limit: Option<u64>,

    /// Pass on only the stdout of the attempt that succeeds
    ///
    /// For a failed attempt, the last 64 KiB go to stderr.
    #[arg(long)]
    pub(crate) hold: bool,
}
