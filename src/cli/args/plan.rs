//! The heading "Plan".

use std::num::NonZeroU32;

use crate::cli::values::clients;

#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Plan")]
#[group(skip)]
pub(crate) struct PlanArgs {
    /// Show what the options mean, and run nothing
    ///
    /// retry shows when the attempts start if the service stays down, how long an outage a run
    /// outlives, and how many requests CLIENTS send if all of them fail at the same instant.
    #[arg(long, value_name = "CLIENTS", value_parser = clients, num_args = 0..=1, require_equals = true)]
    #[expect(clippy::option_option, reason = "clap's type for an option whose value may be left out")]
    pub(crate) plan: Option<Option<NonZeroU32>>,
}
