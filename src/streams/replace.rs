//! Replaces a file as a whole, so that a reader finds either the old content or the new.
//!
//! Processes that change the same file take turns: each locks its directory (flock(2)). The lock is
//! gone with its holder, and leaves no file behind.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;

use super::alarm::interrupted;
use crate::clock::now;
use crate::error::errno;

/// The longest wait for other processes. A holder needs a few milliseconds, unless it is stopped.
const PATIENCE: Duration = Duration::from_secs(1);

/// The ending of the name that damaged content gets, as damaged shared state does.
const CORRUPT: &str = ".corrupt";

/// This many damaged files are kept. The next one replaces the last of them.
const CORRUPT_KEPT: u32 = 9;

/// The new content of a file.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) new: Vec<u8>,
    pub(crate) old: Old,
}

/// What happens to the old content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Old {
    /// The new content has all of it that matters.
    Dropped,
    /// It is damaged, and gets another name.
    SetAside,
}

/// Why a file was not replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotReplaced {
    /// Another process kept the lock for [`PATIENCE`].
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
/// link stays, and its target is replaced. Returns the name that the old content has got.
///
/// # Errors
/// If the file cannot be read, written or locked. It then has its old content.
pub(crate) fn replace(
    path: &Path,
    longest: u64,
    change: impl FnOnce(&[u8]) -> Change,
) -> Result<Option<PathBuf>, NotReplaced> {
    let path = &target(path);
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    let directory_file = File::open(&directory)?;
    lock(&directory_file)?;
    let Change { new, old } = change(&content(path, longest)?);
    let name = path.file_name().unwrap_or_default();
    let mut prefix = name.to_owned();
    prefix.push(".");
    // A reader that looks for the ending of the file's name must not find the new file before it
    // is whole.
    let mut file = tempfile::Builder::new().prefix(&prefix).suffix(".new").tempfile_in(&directory)?;
    // The file itself, because tempfile's own error says less.
    file.as_file_mut().write_all(&new)?;
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    let aside = match old {
        Old::SetAside => Some(put_aside(path)?),
        Old::Dropped => None,
    };
    file.persist(path).map_err(|error| error.error)?;
    Ok(aside)
}

/// Gives a file another name. It keeps its old name too, if the file system can do that, so that a
/// reader never finds no file.
fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = |n: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(CORRUPT);
        if n > 1 {
            name.push(format!("-{n}"));
        }
        PathBuf::from(name)
    };
    let free = (1..=CORRUPT_KEPT).map(aside).find(|aside| fs::symlink_metadata(aside).is_err());
    let aside = free.unwrap_or_else(|| aside(CORRUPT_KEPT));
    let _ = fs::remove_file(&aside);
    fs::hard_link(path, &aside).or_else(|_| fs::rename(path, &aside))?;
    Ok(aside)
}

/// The file that a symbolic link names, even if there is no such file yet.
fn target(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // A chain of links has at most 40 (path_resolution(7)).
    for _ in 0..40 {
        let Ok(link) = fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new("")).join(link);
    }
    path
}

/// Waits in the kernel's queue. Processes that tried again and again would take the processor from
/// the holder.
fn lock(directory: &File) -> Result<(), NotReplaced> {
    let end = now().saturating_add(PATIENCE);
    loop {
        let left = end.saturating_sub(now());
        if left.is_zero() {
            return Err(NotReplaced::Locked);
        }
        match interrupted(left, || directory.lock().map_err(|error| errno(&error))) {
            Ok(()) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(NotReplaced::System(errno)),
        }
    }
}

fn content(path: &Path, longest: u64) -> Result<Vec<u8>, NotReplaced> {
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
    {
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
        let add = |old: &[u8]| Change { new: [old, b"b"].concat(), old: Old::Dropped };
        assert_eq!(replace(&link, 10, add), Ok(None));
        assert_eq!(fs::read(&file).unwrap(), b"ab");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(replace(&file, 1, add), Err(NotReplaced::TooLong));
        assert_eq!(replace(directory.path(), 1, add), Err(NotReplaced::NotAFile));
        // Nothing is left behind.
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2);
    }

    #[test]
    fn damaged_content_is_set_aside_and_the_oldest_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.prom");
        let renew = |_: &[u8]| Change { new: b"new".to_vec(), old: Old::SetAside };
        for n in 1..=11 {
            fs::write(&file, format!("damaged {n}")).unwrap();
            let aside = replace(&file, 20, renew).unwrap().unwrap();
            assert_eq!(fs::read_to_string(aside).unwrap(), format!("damaged {n}"));
            assert_eq!(fs::read(&file).unwrap(), b"new");
        }
        let kept = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(
            (kept("a.prom.corrupt"), kept("a.prom.corrupt-9")),
            ("damaged 1".into(), "damaged 11".into())
        );
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 10);
    }

    #[test]
    fn the_errno_of_a_new_file_is_told() {
        let missing = Path::new("/proc/self/fdinfo");
        let error = tempfile::Builder::new().tempfile_in(missing).unwrap_err();
        assert!(matches!(errno(&error), Errno::ENOENT | Errno::EACCES | Errno::EPERM), "{error:?}");
        for (kind, expected) in [
            (io::ErrorKind::StorageFull, Errno::ENOSPC),
            (io::ErrorKind::PermissionDenied, Errno::EACCES),
            (io::ErrorKind::ReadOnlyFilesystem, Errno::EROFS),
            (io::ErrorKind::Other, Errno::EIO),
        ] {
            assert_eq!(errno(&io::Error::new(kind, "made by a library")), expected);
        }
    }
}
