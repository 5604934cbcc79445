//! The heading "Safe repeats".

use std::ffi::OsString;
use std::path::PathBuf;

use clap::ValueHint;

use super::os_text;
use crate::cli::values::{KeySource, answer_file, check, key, on_retry};

#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Safe repeats")]
#[group(skip)]
pub(crate) struct RepeatArgs {
    /// Key by which a server recognizes a repeated request
    ///
    /// Every attempt finds the key in the environment variable RETRY_IDEMPOTENCY_KEY. With file:PATH,
    /// retry keeps the key in a file until a run succeeds.
    #[arg(long, value_name = "KEY|file:PATH", value_parser = os_text(key))]
    pub(crate) idempotency_key: Option<KeySource>,

    /// Replace {key}, {attempt} and {max} in ARGs
    #[arg(long)]
    pub(crate) expand: bool,

    /// Shell command that tells before each attempt whether the work is already done
    ///
    /// If it exits with 0, the work is done, and retry exits with 0. If it exits with 1, the attempt
    /// runs. Anything else counts as a failed attempt.
    #[arg(long, value_name = "SHELL COMMAND", value_parser = os_text(check))]
    #[arg(value_hint = ValueHint::CommandString)]
    pub(crate) check: Option<OsString>,

    /// Shell command to run before each retry
    ///
    /// The shell command runs right after the failure, and its time is part of the delay. If it fails,
    /// retry says so, and the retry follows.
    #[arg(long, value_name = "SHELL COMMAND", value_parser = os_text(on_retry))]
    #[arg(value_hint = ValueHint::CommandString)]
    pub(crate) on_retry: Option<OsString>,

    /// Retry only failures that prove that the command had no effect
    #[arg(long)]
    pub(crate) not_idempotent: bool,

    /// Run once, and keep the output in FILE
    ///
    /// If FILE exists, retry prints it and runs nothing. If another run is making FILE, retry waits
    /// for that run until --deadline; without --deadline, retry exits with 75.
    #[arg(long, value_name = "FILE", value_parser = os_text(answer_file), value_hint = ValueHint::FilePath)]
    pub(crate) once: Option<PathBuf>,
}
