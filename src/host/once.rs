//! The answer of `--once`, for this run.

use std::path::Path;

use super::SURROUNDINGS;
use crate::error::Error;
use crate::policy::stream::Stream;
use crate::state::once::{AnswerError, AnswerFile, Redirection};
use crate::streams::plan::{file_of, is_writable};

/// The answer in this file.
///
/// # Errors
/// If stdout is closed. The command would have no stdout either, and nobody could read the answer.
pub(super) fn answer(path: &Path) -> Result<AnswerFile, Error> {
    if !is_writable(Stream::Stdout) {
        return Err(Error::usage(
            "stdout is closed, and --once writes the answer to it",
            "if only the file matters, write >/dev/null",
        ));
    }
    let redirection =
        |stream: Stream| Some(Redirection { stream: stream.name(), identity: file_of(stream)? });
    let redirections = [Stream::Stdout, Stream::Stderr].into_iter().filter_map(redirection).collect();
    Ok(AnswerFile::new(path, redirections, SURROUNDINGS))
}

pub(super) fn unusable(error: AnswerError) -> Error {
    Error::State { hint: Some(error.hint()), cause: error.into() }
}
