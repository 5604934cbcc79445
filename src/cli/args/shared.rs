//! The heading "Shared state".

use std::time::Duration;

use clap::ValueHint;

use super::os_text;
use crate::cli::defaults::BREAKER_TRIP;
use crate::cli::values::{Budget, StatePlace, budget, failures, name, positive_duration, state_option, trip};
use crate::policy::admission::breaker::Opens;

#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Shared state")]
#[group(skip)]
pub(crate) struct SharedArgs {
    /// Share a circuit breaker between all runs that give NAME
    ///
    /// Repeated failures open the breaker. While the breaker is open, retry runs nothing and exits
    /// with 75.
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) breaker: Option<String>,

    /// Failures in a row that open the breaker, or a share of the last outcomes
    ///
    /// `50%/40` opens the breaker if at least half of the last 40 attempts failed. `50%` counts the
    /// last 20. The breaker does not open before half of these outcomes are known. An outcome counts
    /// for ten cooldowns, and for at least ten minutes.
    #[arg(long, value_name = "N|P%[/W]", value_parser = failures)]
    pub(crate) breaker_failures: Option<Opens>,

    /// Time that the breaker stays open before one run makes a probe
    ///
    /// The time doubles with every failed probe, to at most 16 times DURATION.
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub(crate) breaker_cooldown: Option<Duration>,

    /// Wait for the breaker to close instead of failing fast; needs --deadline
    ///
    /// While runs wait, one of them probes early and often. When the breaker closes, the waiting runs
    /// come back a few at a time, so that the service is not overrun.
    #[arg(long)]
    pub(crate) breaker_wait: bool,

    /// Limit the retries of all runs that share NAME, by default the name of the breaker
    ///
    /// RATE is `10/s`, `100/m`, or `20%` of first attempts.
    #[arg(long, value_name = "[NAME=]RATE", value_parser = budget)]
    pub(crate) budget: Option<Budget>,

    /// Directory for shared state, or a server that all hosts share: `redis://HOST`
    ///
    /// The server is Redis or Valkey. URL is `redis://[USER@]HOST[:PORT][/DB]`, `rediss://...` for TLS,
    /// `redis+unix:///PATH[?db=N]`, or `redis+sentinel://HOST,HOST/MASTER`. The environment variable
    /// RETRY_STATE_AUTH names a file with the password. Without --state, RETRY_STATE gives the value.
    #[arg(long, value_name = "DIR|URL", value_parser = os_text(state_option), value_hint = ValueHint::DirPath)]
    pub(crate) state: Option<StatePlace>,

    /// Instead of a COMMAND: show all breakers and budgets, or one
    #[arg(long, value_name = "NAME", value_parser = name, num_args = 0..=1, require_equals = true)]
    #[expect(clippy::option_option, reason = "clap's type for an option whose value may be left out")]
    pub(crate) breaker_status: Option<Option<String>>,

    /// Print the output of --breaker-status, --plan or --summary as JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Instead of a COMMAND: close a breaker
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) breaker_reset: Option<String>,

    #[arg(long, value_name = "NAME[=DURATION]", value_parser = trip)]
    #[arg(help = format!("Instead of a COMMAND: hold a breaker open, for {BREAKER_TRIP} or DURATION"))]
    pub(crate) breaker_trip: Option<(String, Duration)>,
}
