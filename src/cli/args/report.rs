//! The heading "Report".

use std::path::PathBuf;

use clap::{ArgAction, ValueHint};

use super::os_text;
use crate::cli::values::{CiName, report_file, summary_file};
use crate::report::ReportFile;

#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Report")]
#[group(skip)]
pub(crate) struct ReportArgs {
    /// Write what happened to FILE: JSON lines, or metrics if FILE ends in .prom; repeatable
    ///
    /// - is stderr. Without --report, the environment variable RETRY_REPORT names the file.
    #[arg(long, value_name = "FILE", value_parser = os_text(report_file), value_hint = ValueHint::FilePath)]
    #[arg(action = ArgAction::Append)]
    pub(crate) report: Vec<ReportFile>,

    /// Annotate a run that was flaky or failed, if a CI shows annotations
    ///
    /// retry prints the annotation in place of its last message. --quiet hides the annotation.
    #[arg(long, value_name = "CI")]
    pub(crate) ci: Option<CiName>,

    /// Instead of a COMMAND: show from reports which commands are flaky, the worst first
    ///
    /// FILE is a file that --report wrote. Further FILEs may follow. - is stdin. A run that is in several FILEs counts once.
    #[arg(long, value_name = "FILE", value_parser = os_text(summary_file), value_hint = ValueHint::FilePath)]
    #[arg(action = ArgAction::Append)]
    pub(crate) summary: Vec<PathBuf>,

    /// Print the output of --summary as a table in Markdown
    #[arg(long)]
    pub(crate) markdown: bool,
}
