//! The heading "Output".

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, ValueHint};

use super::os_text;
use crate::cli::values::{CiName, label, on_retry, report_file, summary_file};
use crate::report::ReportFile;

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Output")]
#[group(skip)]
pub(crate) struct OutputArgs {
    /// Print only the final error; -qq prints nothing
    #[arg(short, long, action = ArgAction::Count, overrides_with = "verbose")]
    #[arg(long_help = "Print only the final error, and warnings about shared state; -qq prints nothing")]
    pub(crate) quiet: u8,

    /// Also print which rule decided, which signals were sent, and where shared state is kept
    ///
    /// The last of --quiet and --verbose counts.
    #[arg(short, long, overrides_with = "quiet", help = "Also print which rule decided")]
    pub(crate) verbose: bool,

    /// Name of the command in messages
    #[arg(long, value_name = "TEXT", value_parser = label)]
    pub(crate) label: Option<String>,

    /// Write what happened to FILE: JSON lines, or metrics if its name ends in .prom; repeatable
    ///
    /// - is stderr. The environment variable RETRY_REPORT names a file too.
    #[arg(long, value_name = "FILE", value_parser = os_text(report_file), value_hint = ValueHint::FilePath)]
    #[arg(action = ArgAction::Append)]
    pub(crate) report: Vec<ReportFile>,

    /// Annotate a run that was flaky or failed, if a CI shows annotations
    ///
    /// The annotation replaces the last line. With --quiet there is none.
    #[arg(long, value_name = "CI")]
    pub(crate) ci: Option<CiName>,

    /// Shell command to run before each retry
    ///
    /// It runs right after the failure, and its time counts towards the delay. If it fails, retry
    /// says so and goes on.
    #[arg(long, value_name = "SHELL COMMAND", value_parser = os_text(on_retry))]
    #[arg(value_hint = ValueHint::CommandString)]
    pub(crate) on_retry: Option<OsString>,
    /// Instead of a COMMAND: show which labels are flaky in reports, worst first
    ///
    /// Further FILEs may follow. - is stdin.
    #[arg(long, value_name = "FILE", value_parser = os_text(summary_file), value_hint = ValueHint::FilePath)]
    #[arg(action = ArgAction::Append)]
    pub(crate) summary: Vec<PathBuf>,

    /// Print the output of --summary as a table in Markdown
    #[arg(long)]
    pub(crate) markdown: bool,

    /// Print the main options (-h) or all (--help)
    #[arg(short, long, action = ArgAction::Help)]
    pub(crate) help: Option<bool>,

    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version)]
    pub(crate) version: Option<bool>,
}
