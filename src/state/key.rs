//! The idempotency key in a file, which lasts across runs until one succeeds.
//!
//! The file appears whole, by link(2), and never in place of another file. If two runs begin at the
//! same time, the second finds the file of the first and uses its key.
//!
//! A run that succeeds removes the file. Meanwhile another run with the same key may have succeeded
//! and removed it, and a third may have failed and left a new key under the same name. So a run
//! removes the file only under a lock on that very file (flock(2)), after it has looked again
//! whether the path still names it. No run that follows this rule can remove or replace the file
//! between the look and the removal. A run that dies there leaves only its lock, which the kernel
//! frees.
//!
//! retry sends the first line of the file to a server, and removes the file after a success. So it
//! judges the file first: see [`fitness`].

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{AccessFlags, access, geteuid};
use rand::TryRng as _;
use rand::rngs::SysRng;

use super::file::fitness::{self, Unfit, Unusable, directory_of};
use super::file::whole;
use crate::clock::now;
use crate::error::errno;

/// The longest key, in bytes. Servers take no longer ones.
const LONGEST: usize = 255;

/// A server may have forgotten an older key, and take a repeat for a new request.
const OLD: Duration = Duration::from_hours(24);

/// The longest wait for another run that has locked the file. It needs the lock for less than a
/// millisecond.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// The pause between two attempts to lock the file.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// How often a run looks for the file and tries to make it, while other runs make and remove it.
const ROUNDS: u32 = 9;

/// A key that an earlier run has left in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) key: String,
    /// The time since it was written.
    pub(crate) age: Duration,
}

/// Why a text cannot be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("is empty")]
    Empty,
    #[error("is longer than 255 bytes")]
    TooLong,
    #[error("has control characters")]
    ControlCharacters,
}

/// Why the content of a file cannot be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ContentError {
    #[error("is empty")]
    Empty,
    #[error("holds more than 255 bytes")]
    TooLong,
    #[error("holds control characters")]
    ControlCharacters,
    #[error("is not UTF-8 text")]
    NotText,
}

impl From<KeyError> for ContentError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Empty => Self::Empty,
            KeyError::TooLong => Self::TooLong,
            KeyError::ControlCharacters => Self::ControlCharacters,
        }
    }
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    #[error("cannot {doing} the key file {}", path.display())]
    System {
        doing: &'static str,
        path: PathBuf,
        #[source]
        errno: Errno,
    },
    #[error("the key file {} {why}", path.display())]
    Unfit { path: PathBuf, why: Unfit },
    /// This user could not remove the file later.
    #[error("retry will not be able to remove the key file {} after a success", path.display())]
    Unremovable {
        path: PathBuf,
        #[source]
        errno: Errno,
    },
    #[error("the key file {} {content}", path.display())]
    NoKey { path: PathBuf, content: ContentError },
    #[error(
        "the key in {} is {} hours old: the server may have forgotten it and treat a repeat as a new request",
        path.display(),
        age.as_secs() / 3600
    )]
    Old { path: PathBuf, age: Duration },
}

impl KeyFileError {
    fn system(doing: &'static str, path: &Path, errno: Errno) -> Self {
        Self::System { doing, path: path.to_owned(), errno }
    }

    fn unusable(path: &Path, why: Unusable) -> Self {
        match why {
            Unusable::Unfit(why) => Self::Unfit { path: path.to_owned(), why },
            Unusable::System(errno) => Self::system("read", path, errno),
        }
    }

    /// The error for a call of the standard library.
    fn io(doing: &'static str, path: &Path, error: &io::Error) -> Self {
        Self::system(doing, path, errno(error))
    }

    /// Advice for the user.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Old { .. } => Some("check whether the request was carried out, then remove the file"),
            Self::NoKey { .. } => Some("remove the file, or write the key into it as one line"),
            Self::Unfit { why: Unfit::Link, .. } => {
                Some("give the path of the file itself, or remove the link")
            }
            Self::Unfit { why: Unfit::NotAFile, .. } => {
                Some("give the path of a file that retry may create and remove")
            }
            Self::Unfit { why: Unfit::Foreign { .. } | Unfit::SecondName, .. } => Some(
                "find out who created the file, and keep the key in a directory that only you can write to",
            ),
            Self::Unremovable { .. } => Some(
                "the next request would repeat its key: keep the file in a directory that you can write to",
            ),
            Self::System { .. } => None,
        }
    }
}

/// The key in a file. None if there is no file.
///
/// # Errors
/// If the file cannot be read or removed later, if it holds no key, or if the key is too old.
pub(crate) fn read(path: &Path) -> Result<Option<Kept>, KeyFileError> {
    let Some(kept) = read_at_any_age(path)? else { return Ok(None) };
    if kept.age > OLD {
        return Err(KeyFileError::Old { path: path.to_owned(), age: kept.age });
    }
    check_removable(path)?;
    Ok(Some(kept))
}

/// Checks that this user can remove the file. If it stayed after a success, the next request would
/// go out with the same key, and the server would take it for a repeat.
fn check_removable(path: &Path) -> Result<(), KeyFileError> {
    /// In such a directory only the owner of the file or of the directory may remove it
    /// (unlink(2)).
    const STICKY: u32 = 0o1000;
    let unremovable = |errno| Err(KeyFileError::Unremovable { path: path.to_owned(), errno });
    let directory = directory_of(path);
    if let Err(errno) = access(directory, AccessFlags::W_OK | AccessFlags::X_OK) {
        return unremovable(errno);
    }
    // Nobody may remove an immutable file, not even root (ioctl_iflags(2)). A lack of write
    // permission for the file itself (EACCES) does not matter.
    if access(path, AccessFlags::W_OK) == Err(Errno::EPERM) {
        return unremovable(Errno::EPERM);
    }
    let (Ok(above), Ok(file)) = (fs::metadata(directory), fs::symlink_metadata(path)) else { return Ok(()) };
    let user = geteuid();
    let owns = [above.uid(), file.uid()].contains(&user.as_raw());
    if above.mode() & STICKY != 0 && !owns && !user.is_root() { unremovable(Errno::EPERM) } else { Ok(()) }
}

fn read_at_any_age(path: &Path) -> Result<Option<Kept>, KeyFileError> {
    let Some(file) = open(path, Access::Read)? else { return Ok(None) };
    let key = content(path, &file)?;
    let stat = file.metadata().map_err(|error| KeyFileError::io("read", path, &error))?;
    Ok(Some(Kept { key, age: fitness::age(&stat) }))
}

/// The purpose of opening a key file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    /// Read and lock. NFS locks only files that are open for writing (flock(2)).
    Lock,
}

/// Opens a key file, if this run may use it. None if there is no file.
fn open(path: &Path, access: Access) -> Result<Option<File>, KeyFileError> {
    let opened = fitness::open(path, |options| match access {
        Access::Read => options.open(path),
        Access::Lock => options.clone().write(true).open(path).or_else(|_| options.open(path)),
    });
    opened.map_err(|why| KeyFileError::unusable(path, why))
}

/// The key in an open file, from its beginning.
fn content(path: &Path, mut file: &File) -> Result<String, KeyFileError> {
    // One byte more for the end of the line, and one to see that the key is too long.
    const ENOUGH: usize = LONGEST + 2;
    let mut bytes = Vec::with_capacity(ENOUGH);
    let read = file.rewind().and_then(|()| file.take(ENOUGH as u64).read_to_end(&mut bytes));
    read.map_err(|error| KeyFileError::io("read", path, &error))?;
    let key = parse(&bytes).map_err(|content| KeyFileError::NoKey { path: path.to_owned(), content })?;
    Ok(key.to_owned())
}

/// The key that is the content of a file, with or without the end of its line.
fn parse(bytes: &[u8]) -> Result<&str, ContentError> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if bytes.len() > LONGEST {
        return Err(ContentError::TooLong);
    }
    let key = std::str::from_utf8(bytes).map_err(|_| ContentError::NotText)?;
    check(key)?;
    Ok(key)
}

/// Checks that a text can be a key.
///
/// # Errors
/// Why it cannot.
pub(crate) fn check(key: &str) -> Result<(), KeyError> {
    match key {
        "" => Err(KeyError::Empty),
        key if key.len() > LONGEST => Err(KeyError::TooLong),
        key if key.chars().any(char::is_control) => Err(KeyError::ControlCharacters),
        _ => Ok(()),
    }
}

/// Any content of a file is a key or is refused, and a key can be written and read again.
#[cfg(any(test, fuzzing))]
pub(crate) fn property(bytes: &[u8]) {
    if let Ok(key) = parse(bytes) {
        assert!((1..=LONGEST).contains(&key.len()) && !key.contains('\n'));
        assert_eq!(parse(format!("{key}\n").as_bytes()), Ok(key));
    }
}

/// The key in a file and its age. If there is no file, makes one with the key `fresh`, which has no
/// age.
///
/// # Errors
/// As [`read`], and if the file cannot be made.
pub(crate) fn obtain(path: &Path, fresh: &str) -> Result<(String, Option<Duration>), KeyFileError> {
    let failed = |error: io::Error| KeyFileError::io("make", path, &error);
    for _ in 0..ROUNDS {
        if let Some(kept) = read(path)? {
            return Ok((kept.key, Some(kept.age)));
        }
        match make(path, fresh) {
            Ok(()) => return Ok((fresh.to_owned(), None)),
            // Another run was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Err(failed(io::Error::from_raw_os_error(libc::EEXIST)))
}

/// Makes the file, whole and never in place of another. It is on the disk before a request with the
/// key goes out.
fn make(path: &Path, key: &str) -> io::Result<()> {
    let line = format!("{key}\n");
    let temporary = || {
        let mut random = [0; 8];
        SysRng.try_fill_bytes(&mut random).map_err(|_| io::Error::from_raw_os_error(libc::EIO))?;
        Ok(directory_of(path).join(format!(".{:016x}.retry-tmp", u64::from_ne_bytes(random))))
    };
    whole::make(path, temporary, |file| file.write_all(line.as_bytes()))
}

/// Removes the file if it still holds this key, because the run with the key has succeeded. Waits
/// for other runs that have locked the file, until `end_is_pending`.
///
/// # Errors
/// If the file cannot be seen, locked or removed.
pub(crate) fn remove(path: &Path, key: &str, end_is_pending: fn() -> bool) -> Result<(), KeyFileError> {
    let end = now().saturating_add(LOCK_PATIENCE);
    loop {
        // Open it anew each time: the last holder of the lock may have removed the file, and a
        // failed run may have left another.
        let Some(file) = open(path, Access::Lock)? else { return Ok(()) };
        if content(path, &file)? != key {
            return Ok(());
        }
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) if !is_at(&file, path) => {}
            // Another run may have written to it before this run had the lock.
            Ok(file) if content(path, &file)? != key => return Ok(()),
            Ok(_locked) => {
                return fs::remove_file(path).map_err(|error| KeyFileError::io("remove", path, &error));
            }
            Err((_, Errno::EWOULDBLOCK)) if now() < end && !end_is_pending() => thread::sleep(LOCK_PAUSE),
            Err((_, errno)) => return Err(KeyFileError::system("lock", path, errno)),
        }
    }
}

/// Whether the path still names this file.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |stat: fs::Metadata| (stat.dev(), stat.ino());
    let there = fs::symlink_metadata(path).map(identity);
    there.is_ok_and(|there| file.metadata().is_ok_and(|own| identity(own) == there))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::one_line;

    #[test]
    fn a_key_is_made_once_and_removed_by_its_own_run() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        assert_eq!(obtain(&path, "first").unwrap(), ("first".to_owned(), None));
        let (key, age) = obtain(&path, "second").unwrap();
        assert_eq!((key.as_str(), age.is_some()), ("first", true));
        remove(&path, "second", || false).unwrap();
        assert!(path.exists(), "it holds another run's key");
        remove(&path, "first", || false).unwrap();
        assert!(!path.exists());
        remove(&path, "first", || false).unwrap();
    }

    #[test]
    fn a_locked_file_is_waited_for_until_a_signal() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        fs::write(&path, "first\n").unwrap();
        let _held = Flock::lock(File::open(&path).unwrap(), FlockArg::LockExclusive).unwrap();
        let error = remove(&path, "first", || true).unwrap_err();
        assert!(matches!(error, KeyFileError::System { doing: "lock", errno: Errno::EWOULDBLOCK, .. }));
        assert!(path.exists());
    }

    #[test]
    fn the_content_of_a_file_is_judged() {
        for (content, expected) in [
            (&b"a-key\n"[..], Ok("a-key")),
            (b"a-key", Ok("a-key")),
            (b"", Err(ContentError::Empty)),
            (b"\n", Err(ContentError::Empty)),
            (b"two\nlines\n", Err(ContentError::ControlCharacters)),
            (b"\xff", Err(ContentError::NotText)),
            (&[b'x'; LONGEST + 1], Err(ContentError::TooLong)),
        ] {
            assert_eq!(parse(content), expected, "{content:?}");
        }
    }

    #[test]
    fn every_error_names_its_file_and_its_cause() {
        let path = || PathBuf::from("/k");
        for (error, line) in [
            (
                KeyFileError::system("read", &path(), Errno::EACCES),
                "cannot read the key file /k: Permission denied",
            ),
            (
                KeyFileError::Unremovable { path: path(), errno: Errno::EPERM },
                "retry will not be able to remove the key file /k after a success: Operation not permitted",
            ),
            (
                KeyFileError::NoKey { path: path(), content: ContentError::TooLong },
                "the key file /k holds more than 255 bytes",
            ),
            (
                KeyFileError::Old { path: path(), age: Duration::from_hours(25) },
                "the key in /k is 25 hours old: the server may have forgotten it and treat a repeat as a new request",
            ),
        ] {
            assert_eq!(one_line(&error), line);
        }
    }

    proptest! {
        #[test]
        fn any_file_holds_a_key_or_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            property(&bytes);
        }

        #[test]
        fn a_line_of_text_is_a_key(text in "[ -~äß☃]{1,80}\n?") {
            property(text.as_bytes());
            prop_assert!(parse(text.as_bytes()).is_ok());
        }
    }
}
