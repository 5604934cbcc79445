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
    /// Key that every attempt finds in RETRY_IDEMPOTENCY_KEY
    ///
    /// file:PATH keeps the key in a file until a run succeeds.
    #[arg(long, value_name = "KEY|file:PATH", value_parser = os_text(key))]
    pub(crate) idempotency_key: Option<KeySource>,

    /// Replace {key}, {attempt} and {max} in ARGs
    #[arg(long)]
    pub(crate) expand: bool,

    /// Shell command to run before each attempt
    ///
    /// Exit status 0 means that the work is already done, and 1 that it is not. Anything else counts
    /// as a failed attempt.
    #[arg(long, value_name = "SHELL COMMAND", value_parser = os_text(check))]
    #[arg(value_hint = ValueHint::CommandString)]
    pub(crate) check: Option<OsString>,

    /// Shell command to run before each retry
    ///
    /// It runs right after the failure, and its time is part of the delay. If it fails, retry says so,
    /// and the retry follows.
    #[arg(long, value_name = "SHELL COMMAND", value_parser = os_text(on_retry))]
    #[arg(value_hint = ValueHint::CommandString)]
    pub(crate) on_retry: Option<OsString>,

    /// Retry only failures that prove that the command had no effect
    #[arg(long)]
    pub(crate) not_idempotent: bool,

    /// Run once, and keep the output in FILE
    ///
    /// If FILE exists, retry prints it and runs nothing. If another run is making FILE, retry waits
    /// for it until --deadline; without --deadline, it exits with 75.
    #[arg(long, value_name = "FILE", value_parser = os_text(answer_file), value_hint = ValueHint::FilePath)]
    pub(crate) once: Option<PathBuf>,
}
