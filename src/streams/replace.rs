//! Replaces a file as a whole, so that a reader finds either the old content or the new.
//!
//! Processes that change the same file take turns: each locks its directory (flock(2)). The lock is
//! gone with its holder, and leaves no file behind.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;

use crate::clock::now;
use crate::error::errno;

/// The longest wait for other processes.
const PATIENCE: Duration = Duration::from_secs(1);

/// The time between two tries to get the lock.
const BETWEEN: Duration = Duration::from_millis(5);

/// Why a file was not replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotReplaced {
    /// Another process kept the lock for a second.
    Locked,
    /// A directory, a FIFO or a device has this name.
    NotAFile,
    TooLong,
    System(Errno),
}

impl From<std::io::Error> for NotReplaced {
    fn from(error: std::io::Error) -> Self {
        Self::System(errno(&error))
    }
}

/// Replaces the content of a file by what `change` makes of it. A file that does not exist is
/// empty, and one longer than `longest` stays as it is. Everybody may read the new file. A symbolic
/// link stays, and its target is replaced.
///
/// # Errors
/// If the file cannot be read, written or locked. It then has its old content.
pub(crate) fn replace(
    path: &Path,
    longest: u64,
    change: impl FnOnce(&[u8]) -> Vec<u8>,
) -> Result<(), NotReplaced> {
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    let directory_file = File::open(&directory)?;
    lock(&directory_file)?;
    let new = change(&content(path, longest)?);
    let name = path.file_name().unwrap_or_default();
    let mut prefix = name.to_owned();
    prefix.push(".");
    // A reader that looks for the ending of the file's name must not find the new file before it
    // is whole.
    let mut file = tempfile::Builder::new().prefix(&prefix).suffix(".new").tempfile_in(&directory)?;
    file.write_all(&new)?;
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn lock(directory: &File) -> Result<(), NotReplaced> {
    let end = now().saturating_add(PATIENCE);
    loop {
        match directory.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if now() >= end => return Err(NotReplaced::Locked),
            Err(TryLockError::WouldBlock) => thread::sleep(BETWEEN),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

fn content(path: &Path, longest: u64) -> Result<Vec<u8>, NotReplaced> {
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(NotReplaced::NotAFile);
    }
    if metadata.len() > longest {
        return Err(NotReplaced::TooLong);
    }
    let mut content = Vec::new();
    file.take(longest).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stays_and_its_target_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, "a").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        replace(&link, 10, |old| [old, b"b"].concat()).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"ab");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(replace(&file, 1, <[u8]>::to_vec), Err(NotReplaced::TooLong));
        assert_eq!(replace(directory.path(), 1, <[u8]>::to_vec), Err(NotReplaced::NotAFile));
        // Nothing is left behind.
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2);
    }

    #[test]
    fn a_lock_that_is_kept_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let holder = File::open(&directory).unwrap();
        holder.lock().unwrap();
        assert_eq!(replace(&directory.path().join("x"), 1, <[u8]>::to_vec), Err(NotReplaced::Locked));
    }
}
