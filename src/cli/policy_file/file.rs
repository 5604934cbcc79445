//! The file of a policy: where it may be, and its text.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use super::Named;
use crate::cli::hints::nearest;
use crate::error::{Error, errno};
use crate::state::file::place::base;

/// Longest policy, in bytes. A policy is read into memory as a whole.
const LONGEST: u64 = 64 * 1024;

/// The directory of policies for all users.
const SYSTEM: &str = "/etc/retry";

/// The most names that an error lists.
const MOST_NAMES: usize = 20;

const FORM: &str = "a policy is a file of options, one on each line";

/// The file of a policy.
#[derive(Debug)]
pub(super) struct File {
    /// The path as messages show it.
    pub(super) path: PathBuf,
    pub(super) text: Vec<u8>,
    pub(super) stat: FileStat,
}

/// Finds and reads a policy.
///
/// # Errors
/// If there is none, or if it cannot be read.
pub(super) fn read(named: &Named, environment: &[CString]) -> Result<File, Error> {
    if named.name.as_bytes().contains(&b'/') {
        let path = PathBuf::from(&named.name);
        let file = opened(&path)?.ok_or_else(|| no_such_file(named))?;
        return contents(path, file);
    }
    let directories = directories(environment);
    for directory in &directories {
        let path = directory.join(&named.name);
        if let Some(file) = opened(&path)? {
            return contents(path, file);
        }
    }
    Err(no_such_name(named, &directories))
}

/// The directories of policies: the user's own, which comes first, and that of the system.
fn directories(environment: &[CString]) -> [PathBuf; 2] {
    [base("XDG_CONFIG_HOME", ".config", environment).join("retry"), PathBuf::from(SYSTEM)]
}

/// Opens a file. None if there is no such file.
///
/// # Errors
/// If the system refuses it, or if it is a link to nothing: whoever made the link wants the policy.
fn opened(path: &Path) -> Result<Option<OwnedFd>, Error> {
    // A FIFO without a writer would block.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    match open(path, flags, Mode::empty()) {
        Ok(file) => Ok(Some(file)),
        Err(Errno::ENOENT | Errno::ENOTDIR) if path.is_symlink() => Err(Error::usage(
            format!("{} is a link to a file that does not exist", path.display()),
            "repair the link, or remove it",
        )),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        // A socket cannot be opened.
        Err(Errno::ENXIO) => Err(not_a_file(path, "a socket or a device")),
        Err(errno) => Err(unreadable(path, errno)),
    }
}

fn contents(path: PathBuf, file: OwnedFd) -> Result<File, Error> {
    let stat = fstat(&file).map_err(|errno| unreadable(&path, errno))?;
    match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFREG => {}
        SFlag::S_IFDIR => return Err(not_a_file(&path, "a directory")),
        SFlag::S_IFIFO => return Err(not_a_file(&path, "a pipe")),
        _ => return Err(not_a_file(&path, "a device")),
    }
    let mut text = Vec::new();
    let read = fs::File::from(file).take(LONGEST + 1).read_to_end(&mut text);
    let read = read.map_err(|error| unreadable(&path, errno(&error)))?;
    if u64::try_from(read).is_ok_and(|read| read > LONGEST) {
        return Err(Error::usage(format!("{} is longer than 64 KiB", path.display()), FORM));
    }
    Ok(File { path, text, stat })
}

fn unreadable(path: &Path, errno: Errno) -> Error {
    let cause = anyhow::Error::new(errno).context(format!("cannot read the policy {}", path.display()));
    Error::State { cause, hint: None }
}

fn not_a_file(path: &Path, kind: &str) -> Error {
    Error::usage(format!("{} is {kind}", path.display()), format!("{FORM}; it must be a regular file"))
}

fn no_such_file(named: &Named) -> Error {
    let path = named.name.to_string_lossy();
    // A URL may hold a password.
    let shown = if path.contains("://") { String::new() } else { format!(" {path}") };
    let hint = match path.strip_prefix("~/") {
        Some(_) => "a shell expands ~ only at the beginning of a word: write --policy ~/...",
        None => FORM,
    };
    Error::usage(format!("{}{shown}: no such file", named.by), hint)
}

fn no_such_name(named: &Named, directories: &[PathBuf; 2]) -> Error {
    let name = named.name.to_string_lossy();
    let [user, system] = directories.each_ref().map(|directory| directory.join(&named.name));
    let cause = format!(
        "{} {name}: no such policy: neither {} nor {} exists",
        named.by,
        user.display(),
        system.display()
    );
    let names = names(directories);
    let known = match names.len() {
        0 => FORM.to_owned(),
        1..=MOST_NAMES => format!("policies: {}", names.join(", ")),
        more => format!("these directories have {more} policies"),
    };
    let hint = match nearest(&name, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {near}? {known}"),
        None if Path::new(&named.name).is_file() => {
            format!("for the file in the present directory, write ./{name}; {known}")
        }
        None => known,
    };
    Error::usage(cause, hint)
}

/// The names of all policies.
fn names(directories: &[PathBuf; 2]) -> Vec<String> {
    let entries = directories.iter().filter_map(|directory| fs::read_dir(directory).ok()).flatten().flatten();
    let files = entries.filter(|entry| entry.path().is_file());
    let names = files.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| is_plain(OsStr::new(name))).collect();
    names.sort();
    names.dedup();
    names
}

/// Whether a name is neither hidden nor the copy that an editor keeps.
fn is_plain(name: &OsStr) -> bool {
    let name = name.as_bytes();
    !name.starts_with(b".") && !name.ends_with(b"~") && !name.iter().any(u8::is_ascii_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_s_own_directory_comes_first() {
        let environment = |entries: &[&str]| -> Vec<CString> {
            entries.iter().map(|entry| CString::new(*entry).unwrap()).collect()
        };
        let user = |entries: &[&str]| directories(&environment(entries))[0].clone();
        assert_eq!(user(&["HOME=/h", "XDG_CONFIG_HOME=/c"]), Path::new("/c/retry"));
        assert_eq!(user(&["HOME=/h", "XDG_CONFIG_HOME=c"]), Path::new("/h/.config/retry"));
        assert_eq!(user(&["HOME=/h", "XDG_CONFIG_HOME="]), Path::new("/h/.config/retry"));
        assert!(user(&[]).is_absolute() && user(&[]).ends_with(".config/retry"));
        assert_eq!(directories(&[])[1], Path::new("/etc/retry"));
    }

    #[test]
    fn hidden_files_and_copies_are_not_listed() {
        assert!(is_plain(OsStr::new("ci")) && is_plain(OsStr::new("é b")));
        for name in [".ci", "ci~", "c\ni", ".ci.swp"] {
            assert!(!is_plain(OsStr::new(name)), "{name}");
        }
    }
}
