//! Whether retry may trust a file that the user has named.
//!
//! retry sends the content of a key file to a server, and prints an answer in place of a command's
//! output. Another user may have put a file there to make that happen. So retry refuses a symbolic
//! link, a file of another user, and a file with a second name (hard link) in a directory that
//! others can write.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use nix::errno::Errno;
use nix::unistd::geteuid;

use crate::clock::wall;
use crate::error::errno;

/// Why retry does not trust a file, as the end of a sentence about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// A symbolic link, wherever it leads.
    #[error("is not a regular file but a symbolic link")]
    Link,
    /// A directory, a pipe or a device.
    #[error("is not a regular file")]
    NotAFile,
    /// The owner is neither this user, nor root, nor the owner of the directory.
    #[error("belongs to another user ({owner})")]
    Foreign { owner: u32 },
    #[error("has another name (a hard link), and other users can write to its directory")]
    SecondName,
}

/// Why a file cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::state) enum Unusable {
    Unfit(Unfit),
    /// The system refused to open it.
    System(Errno),
}

impl From<Unfit> for Unusable {
    fn from(why: Unfit) -> Self {
        Self::Unfit(why)
    }
}

impl From<Errno> for Unusable {
    fn from(errno: Errno) -> Self {
        Self::System(errno)
    }
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Self::System(errno(&error))
    }
}

/// Opens a file, if this run may trust it. None if there is no file. `open` may change the options
/// for reading that it gets.
///
/// # Errors
/// Why the file cannot be used.
pub(in crate::state) fn open(
    path: &Path,
    open: impl FnOnce(&mut OpenOptions) -> io::Result<File>,
) -> Result<Option<File>, Unusable> {
    // Look before opening: to open a pipe or a device may have an effect.
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        stat => check_kind(&stat?)?,
    }
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = match open(&mut options) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => return Err(Unfit::Link.into()),
        opened => opened?,
    };
    let stat = file.metadata()?;
    check_kind(&stat)?;
    check_owner(path, &stat)?;
    Ok(Some(file))
}

fn check_kind(stat: &Metadata) -> Result<(), Unfit> {
    match (stat.is_symlink(), stat.is_file()) {
        (true, _) => Err(Unfit::Link),
        (false, true) => Ok(()),
        (false, false) => Err(Unfit::NotAFile),
    }
}

/// Checks that no other user can have put the file there. The owner of the directory decides about
/// its files anyhow, and root makes files for that user.
fn check_owner(path: &Path, stat: &Metadata) -> Result<(), Unusable> {
    /// Write permission for the group and for all others.
    const OTHERS_WRITE: u32 = 0o022;
    let directory = fs::metadata(directory_of(path))?;
    let owner = stat.uid();
    if ![geteuid().as_raw(), 0, directory.uid()].contains(&owner) {
        return Err(Unfit::Foreign { owner }.into());
    }
    if stat.nlink() > 1 && directory.mode() & OTHERS_WRITE != 0 {
        return Err(Unfit::SecondName.into());
    }
    Ok(())
}

/// The directory of a file. It may be the present one.
pub(in crate::state) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The time since a file was written. A file from the future was written just now, by another clock.
pub(in crate::state) fn age(stat: &Metadata) -> Duration {
    let seconds = Duration::from_secs(stat.mtime().max(0).unsigned_abs());
    let written = UNIX_EPOCH.checked_add(seconds);
    written.and_then(|written| wall().duration_since(written).ok()).unwrap_or_default()
}
