//! The forms of the report, from options and environment.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt as _;

use crate::cli::args::Args;
use crate::cli::defaults;
use crate::cli::values::{CiName, report_file};
use crate::policy::environment::value;
use crate::report::Forms;
use crate::report::ci::Ci;
use crate::report::json::trace_id;

/// The variable that names a file for the report.
const REPORT: &str = "RETRY_REPORT";

/// The forms of the report. `--report` replaces the file of the variable.
pub(super) fn forms(args: &Args, environment: &[CString]) -> Forms {
    let mut files = args.report.report.clone();
    if files.is_empty()
        && let Some(name) = value(environment, REPORT)
    {
        // An empty variable counts as absent.
        files.extend(report_file(OsStr::from_bytes(name).to_owned()));
    }
    let trace = value(environment, "TRACEPARENT").filter(|_| !files.is_empty());
    Forms { files, ci: ci(args, environment), trace: trace.and_then(trace_id) }
}

/// The CI that the environment names, unless `--ci none` is given.
fn ci(args: &Args, environment: &[CString]) -> Option<Ci> {
    if args.report.ci.unwrap_or(defaults::CI) == CiName::None {
        return None;
    }
    let filled = |name: &str| value(environment, name).filter(|value| !value.is_empty());
    if filled("GITHUB_ACTIONS") == Some(b"true") {
        let summary = filled("GITHUB_STEP_SUMMARY").map(|path| OsStr::from_bytes(path).into());
        return Some(Ci::GitHub { summary });
    }
    filled("TF_BUILD").filter(|value| value.eq_ignore_ascii_case(b"true")).map(|_| Ci::Azure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::ReportFile;

    #[test]
    fn the_option_replaces_the_variable() {
        let environment = [c"RETRY_REPORT=from-variable".to_owned()];
        let mut args = Args::default();
        assert_eq!(forms(&args, &environment).files, [ReportFile::Lines("from-variable".into())]);
        args.report.report = vec![ReportFile::Stderr];
        assert_eq!(forms(&args, &environment).files, [ReportFile::Stderr]);
        assert_eq!(forms(&Args::default(), &[c"RETRY_REPORT=".to_owned()]).files, []);
    }

    #[test]
    fn the_environment_names_the_ci() {
        let found = |entries: &[&str], option: Option<CiName>| {
            let environment: Vec<CString> =
                entries.iter().map(|entry| CString::new(*entry).unwrap()).collect();
            let mut args = Args::default();
            args.report.ci = option;
            forms(&args, &environment).ci
        };
        let summary = Some("/s".into());
        assert_eq!(
            found(&["GITHUB_ACTIONS=true", "GITHUB_STEP_SUMMARY=/s"], None),
            Some(Ci::GitHub { summary })
        );
        assert_eq!(
            found(&["GITHUB_ACTIONS=true", "GITHUB_STEP_SUMMARY="], Some(CiName::Auto)),
            Some(Ci::GitHub { summary: None })
        );
        assert_eq!(found(&["TF_BUILD=True"], None), Some(Ci::Azure));
        for other in [&["GITHUB_ACTIONS=false", "CI=true"][..], &["TF_BUILD=", "TF_BUILD=False"], &[]] {
            assert_eq!(found(other, None), None);
        }
        assert_eq!(found(&["GITHUB_ACTIONS=true"], Some(CiName::None)), None);
    }
}
