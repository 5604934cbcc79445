//! The heading "Policy".

use super::os_text;
use crate::cli::values::{PolicyName, policy};

#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Policy")]
#[group(skip)]
pub(crate) struct PolicyArgs {
    /// Take options from a file, one option a line
    ///
    /// NAME is a file in $XDG_CONFIG_HOME/retry or /etc/retry; FILE is a path that contains /; `none`
    /// means no policy. The options of the command line replace those of the file. Without --policy,
    /// the environment variable RETRY_POLICY names the policy.
    #[arg(long, value_name = "NAME|FILE|none", value_parser = os_text(policy))]
    pub(crate) policy: Option<PolicyName>,
}
