//! The heading "Attempts".

use std::num::NonZeroU32;
use std::time::Duration;

use crate::cli::values::{MaxAttempts, Span, duration, max_attempts, signal, span, successes};
use crate::policy::signal::Signal;

#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Attempts")]
#[group(skip)]
pub(crate) struct AttemptArgs {
    /// Maximum attempts, the first included
    #[arg(short = 'n', long, value_name = "N|unlimited", value_parser = max_attempts)]
    pub(crate) max: Option<MaxAttempts>,

    /// Time limit for the whole run, including waits
    ///
    /// 0 sets no limit.
    #[arg(long, value_name = "DURATION", value_parser = span)]
    pub(crate) deadline: Option<Span>,

    /// Time limit for each attempt
    ///
    /// 0 sets no limit.
    #[arg(long, value_name = "DURATION", value_parser = span)]
    pub(crate) timeout: Option<Span>,

    /// Signal to send at the timeout or the deadline
    ///
    /// The command also gets this signal if KILL kills retry.
    #[arg(long, value_name = "SIGNAL", value_parser = signal)]
    pub(crate) signal: Option<Signal>,

    /// Send KILL this long after --signal; 0 sends KILL immediately
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) kill_after: Option<Duration>,

    /// Succeed only after N successful attempts in a row
    ///
    /// retry repeats a successful attempt after --delay. --max counts all attempts.
    #[arg(long, value_name = "N", value_parser = successes)]
    pub(crate) successes: Option<NonZeroU32>,
}
