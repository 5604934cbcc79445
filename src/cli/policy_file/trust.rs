//! Whether another user could have written a policy.
//!
//! A policy may name commands, and files that retry writes or removes. retry carries these options
//! out with the rights of its user, so such a file must be in the hands of that user or of root
//! alone, and so must every directory and link on the way to it. sshd(8) judges an authorized_keys
//! file in the same way (StrictModes). A policy without these options only sets numbers, and anybody
//! may have written it.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf, absolute};

use nix::errno::Errno;
use nix::fcntl::readlink;
use nix::sys::stat::{FileStat, SFlag, lstat};
use nix::unistd::{Uid, geteuid};

use super::file::File;
use super::lines::Word;
use super::{Fault, options};
use crate::cli::args::Args;
use crate::cli::values::KeySource;
use crate::error::Error;
use crate::report::ReportFile;
use crate::report::format::shell_word;
use crate::state::file::place::is_path;

/// The most links on the way to a file, as path_resolution(7) has it.
const MOST_LINKS: usize = 40;

/// The permissions of a group and of all others to write.
const WRITTEN_BY_OTHERS: u32 = 0o022;

/// In a directory with this bit, nobody can remove or replace the file of another user.
const STICKY: u32 = 0o1000;

/// # Errors
/// A file that names a command, or a file to be written, and that another user may have written.
pub(super) fn check(file: &File, words: &[Word], args: &Args) -> Result<(), Fault> {
    if power(args).is_none() {
        return Ok(());
    }
    let found = flaw(&file.path, &file.stat, geteuid());
    if matches!(found, Ok(None)) {
        return Ok(());
    }
    let options = options::each(words)?;
    let mut powers = options.iter().filter_map(|option| Some((option.line, power(&option.args)?)));
    let (line, power) = powers.next().unwrap_or((1, Power::Command("an option")));
    let (why, hint) = match found {
        Ok(Some(flaw)) => flaw.words(),
        Ok(None) => return Ok(()),
        Err(errno) => {
            (format!("retry cannot tell who may write this file: {}", errno.desc()), FORM.to_owned())
        }
    };
    Err(Fault { line, error: Error::usage(format!("{}, but {why}", power.words()), hint) })
}

const FORM: &str = "only you or root may be able to write a policy that names commands or files";

/// An option that acts with the rights of the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Power {
    /// It names a command that retry runs.
    Command(&'static str),
    /// It names a file or a directory that retry writes to.
    Place(&'static str),
}

impl Power {
    fn words(self) -> String {
        match self {
            Self::Command(option) => format!("{option} names a command"),
            Self::Place(option) => format!("{option} names a place that retry writes to"),
        }
    }
}

/// The first option with such a power.
pub(super) fn power(args: &Args) -> Option<Power> {
    let budget = args.shared.budget.as_ref().and_then(|budget| budget.name.as_deref());
    let to_files = args.report.report.iter().any(|file| *file != ReportFile::Stderr);
    [
        (args.repeats.check.is_some(), Power::Command("--check")),
        (args.repeats.on_retry.is_some(), Power::Command("--on-retry")),
        (matches!(args.repeats.idempotency_key, Some(KeySource::File(_))), Power::Place("--idempotency-key")),
        (args.repeats.once.is_some(), Power::Place("--once")),
        (to_files, Power::Place("--report")),
        (args.shared.state.is_some(), Power::Place("--state")),
        (args.shared.breaker.as_deref().is_some_and(is_path), Power::Place("--breaker")),
        (budget.is_some_and(is_path), Power::Place("--budget")),
    ]
    .into_iter()
    .find_map(|(is_given, power)| is_given.then_some(power))
}

/// Why another user may have written a file.
#[derive(Debug, PartialEq, Eq)]
enum Flaw {
    /// A group or all users may write the file, or replace it in this directory.
    Writable(PathBuf),
    /// The file, or a directory or link on the way to it, belongs to this user.
    Owned(PathBuf, Uid),
    /// The path leads to another file than the one that was read.
    Replaced,
}

impl Flaw {
    /// The reason and a hint.
    fn words(self) -> (String, String) {
        match self {
            Self::Writable(path) => {
                let path = path.to_string_lossy();
                (format!("other users may write {path}"), format!("chmod go-w {}", shell_word(&path)))
            }
            Self::Owned(path, owner) => {
                (format!("{} belongs to user {owner}", path.display()), FORM.to_owned())
            }
            Self::Replaced => ("the file was replaced while retry read it".to_owned(), FORM.to_owned()),
        }
    }
}

/// The first flaw on the way to a file that was opened with this path.
///
/// # Errors
/// If a part of the way cannot be examined.
fn flaw(path: &Path, opened: &FileStat, user: Uid) -> nix::Result<Option<Flaw>> {
    let mut rest = reversed(&absolute(path).map_err(|error| crate::error::errno(&error))?);
    let mut here = PathBuf::from("/");
    let mut links = 0;
    let mut last = lstat(&here)?;
    loop {
        if let Some(flaw) = judged(&here, &last, user) {
            return Ok(Some(flaw));
        }
        let Some(name) = rest.pop() else { break };
        // A directory above is one that was judged already.
        if name == ".." {
            here.pop();
            last = lstat(&here)?;
            continue;
        }
        let next = here.join(name);
        last = lstat(&next)?;
        if kind(&last) != SFlag::S_IFLNK {
            here = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(Errno::ELOOP);
        }
        let target = PathBuf::from(readlink(&next)?);
        if let Some(flaw) = judged(&next, &last, user) {
            return Ok(Some(flaw));
        }
        if target.is_absolute() {
            here = PathBuf::from("/");
        }
        rest.extend(reversed(&target));
        last = lstat(&here)?;
    }
    let same = (last.st_dev, last.st_ino) == (opened.st_dev, opened.st_ino);
    Ok((!same).then_some(Flaw::Replaced))
}

/// The names in a path below `/`, the last one first.
fn reversed(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    names.collect::<Vec<_>>().into_iter().rev().collect()
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// The flaw of a file, a directory or a link.
fn judged(path: &Path, stat: &FileStat, user: Uid) -> Option<Flaw> {
    let owner = Uid::from_raw(stat.st_uid);
    if owner != user && !owner.is_root() {
        return Some(Flaw::Owned(path.to_owned(), owner));
    }
    // The mode of a link means nothing (symlink(7)). In a sticky directory, the owner of the entry is
    // judged next.
    let guarded = match kind(stat) {
        SFlag::S_IFLNK => true,
        SFlag::S_IFDIR => stat.st_mode & STICKY != 0,
        _ => false,
    };
    (!guarded && stat.st_mode & WRITTEN_BY_OTHERS != 0).then(|| Flaw::Writable(path.to_owned()))
}
