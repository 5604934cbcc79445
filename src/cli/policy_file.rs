//! Policies: files of options that `--policy` or `RETRY_POLICY` names.
//!
//! [`mod@file`] finds the file and reads it. [`lines`] splits it into words, [`options`] reads the
//! words by the definition of the command line, and [`layers`] puts the options of the command line
//! over them. [`trust`] refuses a file in which another user could have written a command. Only
//! [`mod@file`] and [`trust`] touch the system.
//!
//! The words of a policy are never put before the words of the command line: the conditions of both
//! would add up, and nobody could take a condition of the policy away.

mod file;
mod layers;
mod lines;
mod options;
#[cfg(test)]
mod tests;
mod trust;

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf, absolute};

use lines::Word;

use super::args::Args;
use super::values::{PolicyName, policy};
use crate::error::Error;
use crate::policy::environment::value;
use crate::report::subject::PolicySource;

/// The variable that names a policy.
const VARIABLE: &str = "RETRY_POLICY";

/// A policy as the user named it.
#[derive(Debug)]
struct Named {
    name: OsString,
    /// The option or the variable that named it.
    by: &'static str,
}

/// The policy of a run.
#[derive(Debug)]
pub(crate) struct PolicyFile {
    source: PolicySource,
    /// The path as messages show it.
    path: PathBuf,
    words: Vec<Word>,
    args: Args,
}

/// An error in a line.
#[derive(Debug)]
struct Fault {
    line: usize,
    error: Error,
}

impl Fault {
    fn new(line: usize, cause: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { line, error: Error::usage(cause, hint) }
    }
}

/// Reads the policy for the options of a command line. None if neither they nor the environment name
/// one.
///
/// # Errors
/// A policy that cannot be found, read, understood or trusted.
pub(crate) fn read(typed: &Args, environment: &[CString]) -> Result<Option<PolicyFile>, Error> {
    let Some(named) = named(typed, environment)? else { return Ok(None) };
    let file = file::read(&named, environment)?;
    let words = lines::words(&file.text).map_err(|fault| located(&file.path, fault))?;
    let args = options::read(&words).map_err(|fault| located(&file.path, fault))?;
    trust::check(&file, &words, &args).map_err(|fault| located(&file.path, fault))?;
    let source = PolicySource {
        name: named.name.to_string_lossy().into_owned(),
        path: absolute(&file.path).unwrap_or_else(|_| file.path.clone()),
        named_by: named.by,
    };
    Ok(Some(PolicyFile { source, path: file.path, words, args }))
}

/// The policy that the user named. `--policy` outranks the variable.
///
/// # Errors
/// A variable that cannot be a name.
fn named(typed: &Args, environment: &[CString]) -> Result<Option<Named>, Error> {
    // These actions have no option that a policy could set.
    if typed.verdict.profiles.is_some() || !typed.report.summary.is_empty() {
        return Ok(None);
    }
    let named = match &typed.policy.policy {
        Some(name) => Some((name.clone(), "--policy")),
        None => in_variable(environment)?.map(|name| (name, VARIABLE)),
    };
    Ok(named.and_then(|(name, by)| match name {
        PolicyName::None => None,
        PolicyName::File(name) => Some(Named { name, by }),
    }))
}

/// The policy that the variable names. An empty variable counts as absent.
///
/// # Errors
/// A variable that cannot be a name.
fn in_variable(environment: &[CString]) -> Result<Option<PolicyName>, Error> {
    let Some(name) = value(environment, VARIABLE).filter(|name| !name.is_empty()) else { return Ok(None) };
    let name = policy(OsStr::from_bytes(name).to_owned());
    name.map(Some)
        .map_err(|error| Error::usage(format!("the variable {VARIABLE}: {}", error.cause), error.hint))
}

/// Puts the file and the line in front of an error.
fn located(path: &Path, Fault { line, error }: Fault) -> Error {
    before(&format!("{}:{line}", path.display()), error)
}

fn before(place: &str, error: Error) -> Error {
    match error {
        Error::Usage { cause, hint, quote } => {
            Error::Usage { cause: format!("{place}: {cause}"), hint, quote }
        }
        other => other,
    }
}

/// The most options for which [`PolicyFile::explain`] looks for the one at fault.
const MOST_EXPLAINED: usize = 200;

impl PolicyFile {
    /// The options of the command line over those of the policy.
    pub(crate) fn under(&self, typed: Args) -> Args {
        let mut policy = self.args.clone();
        layers::drop_useless_state(&mut policy.shared, &typed.shared);
        let merged = layers::merged(typed, policy);
        Args { policy_file: Some(self.source.clone()), ..merged }
    }

    /// Says where an error about the options of both comes from: from the line without which there
    /// is no error, or from the file if the command line is right without it. `works` tells whether
    /// options are right.
    pub(crate) fn explain(&self, error: Error, typed: &Args, works: impl Fn(Args) -> bool) -> Error {
        let works_with = |policy: Args| works(layers::merged(typed.clone(), policy));
        let options = options::each(&self.words).unwrap_or_default();
        let mut options = options.iter().filter(|_| options.len() <= MOST_EXPLAINED);
        let at_fault = options.find(|option| {
            let others = [&self.words[..option.words.start], &self.words[option.words.end..]].concat();
            options::read(&others).is_ok_and(works_with)
        });
        match at_fault {
            Some(option) => located(&self.path, Fault { line: option.line, error }),
            None if works(typed.clone()) => before(&self.path.to_string_lossy(), error),
            None => error,
        }
    }
}

/// Checks that any bytes are read as options of a run, or refused with one of their lines, a cause
/// and a hint, and that the options one by one are the same words.
#[cfg(any(test, fuzzing))]
pub(crate) fn property(bytes: &[u8]) {
    let refused = |Fault { line, error }: Fault| {
        let lines = bytes.split(|byte| *byte == b'\n').count();
        assert!((1..=lines).contains(&line) && !error.to_string().is_empty());
        assert!(error.hint().is_some_and(|hint| !hint.is_empty()));
    };
    let words = match lines::words(bytes) {
        Ok(words) => words,
        Err(fault) => return refused(fault),
    };
    match (options::read(&words), options::each(&words)) {
        (Ok(args), Ok(each)) => {
            assert!(!args.serves_action() && args.command.is_empty());
            assert_eq!(each.iter().map(|option| option.words.len()).sum::<usize>(), words.len());
        }
        (Err(fault), Err(_)) => refused(fault),
        (read, each) => panic!("{read:?} {each:?}"),
    }
}
