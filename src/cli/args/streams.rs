//! The heading "Streams".

use crate::cli::values::{HoldName, StdinName, size};

#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Streams")]
#[group(skip)]
pub(crate) struct StreamArgs {
    /// Standard input of every attempt
    #[arg(long, value_name = "STDIN", value_enum)]
    pub(crate) stdin: Option<StdinName>,

    /// Maximum input kept for replay, such as 64KiB or 1G
    ///
    /// If a failed attempt has read more, retry does not retry it.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) stdin_limit: Option<u64>,

    /// Pass on only the output of the attempt that succeeds
    ///
    /// retry shows the last 64 KiB of each failed attempt's stdout on stderr. With `both`, retry shows
    /// only the output of the last attempt. Write the value in the same word: --hold=both.
    #[arg(long, value_name = "STREAMS", value_enum, num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "stdout")]
    pub(crate) hold: Option<HoldName>,
}
