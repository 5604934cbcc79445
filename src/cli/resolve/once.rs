//! `--once`: what cannot be beside it.

use std::fs;
use std::path::{Path, PathBuf, absolute};

use super::Sharing;
use crate::cli::args::Args;
use crate::cli::values::KeySource;
use crate::error::Error;
use crate::report::{Forms, ReportFile};
use crate::state::once::files;

/// The file of the answer.
///
/// # Errors
/// An option that contradicts `--once`, or that names the same file.
pub(super) fn once(args: &Args, forms: &Forms, sharing: &Sharing) -> Result<Option<PathBuf>, Error> {
    let Some(path) = &args.repeats.once else { return Ok(None) };
    if !args.verdict.success_on.is_empty() {
        return Err(Error::usage(
            "--once keeps the output of a success with status 0, and --success-on allows other statuses",
            "with --until, such as --until 0,3, retry exits with 0",
        ));
    }
    let own = files(path).map(|own| place(&own));
    let same = others(args, forms, sharing).into_iter().find(|(_, other)| own.contains(&place(other)));
    match same {
        Some((option, _)) => Err(Error::usage(
            format!("--once and {option} name the same file"),
            "give each of them a file of its own, and leave FILE.lock beside the answer to retry",
        )),
        None => Ok(Some(path.clone())),
    }
}

/// The files that other options name.
fn others<'a>(args: &'a Args, forms: &'a Forms, sharing: &'a Sharing) -> Vec<(&'static str, &'a Path)> {
    let mut others = Vec::new();
    if let Some(KeySource::File(path)) = &args.repeats.idempotency_key {
        others.push(("--idempotency-key", path.as_path()));
    }
    others.extend(args.verdict.headers.as_deref().map(|path| ("--headers", path)));
    others.extend(sharing.breaker.as_ref().map(|place| ("--breaker", place.path.as_path())));
    others.extend(sharing.budget.as_ref().map(|place| ("--budget", place.path.as_path())));
    others.extend(forms.files.iter().filter_map(|file| match file {
        ReportFile::Stderr => None,
        ReportFile::Lines(path) | ReportFile::Metrics(path) => Some(("the report", path.as_path())),
    }));
    others
}

/// The path of a file that need not exist, without links in the path to it.
fn place(path: &Path) -> PathBuf {
    let path = absolute(path).unwrap_or_else(|_| path.to_owned());
    let directory = path.parent().and_then(|directory| fs::canonicalize(directory).ok());
    directory.zip(path.file_name()).map_or_else(|| path.clone(), |(directory, name)| directory.join(name))
}
