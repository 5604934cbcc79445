//! The heading "Delays".

use std::time::Duration;

use crate::cli::values::{
    BackoffName, Delays, JitterName, Span, delays, duration, factor, healthy_after, seed, span,
};

#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Delays")]
#[group(skip)]
pub(crate) struct DelayArgs {
    /// First delay, or the whole schedule as a list
    ///
    /// The last entry of a list repeats.
    #[arg(short, long, value_name = "DURATION[,DURATION]...", value_parser = delays)]
    #[arg(help = "First delay, or a list of all delays")]
    pub(crate) delay: Option<Delays>,

    /// How to randomize the delay
    #[arg(short, long, value_name = "JITTER", value_enum)]
    pub(crate) jitter: Option<JitterName>,

    /// How the delay grows
    #[arg(long, value_name = "BACKOFF", value_enum)]
    pub(crate) backoff: Option<BackoffName>,

    /// Growth per retry, for exponential backoff; at least 1
    #[arg(long, value_name = "NUMBER", value_parser = factor)]
    pub(crate) factor: Option<f64>,

    /// Upper bound on the delay, jitter included
    ///
    /// A longer --delay or --min-delay raises the default.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) max_delay: Option<Duration>,

    /// Lower bound on every delay
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) min_delay: Option<Duration>,

    /// Longest random wait before the first attempt
    #[arg(long, value_name = "DURATION", value_parser = span)]
    pub(crate) splay: Option<Span>,

    /// Reset the attempt count and the backoff after an attempt that ran this long
    #[arg(long, value_name = "DURATION", value_parser = healthy_after)]
    pub(crate) healthy_after: Option<Span>,

    /// Seed of the jitter: the same options and seed give the same delays
    #[arg(long, value_name = "N", value_parser = seed)]
    pub(crate) seed: Option<u64>,
}
