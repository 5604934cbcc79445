//! The idempotency key in a file: kept across runs until one succeeds.
//!
//! The file appears whole, by link(2), and never in place of another: of two runs that begin at
//! once, the second finds the file of the first and uses its key.
//!
//! A run that succeeds removes the file. Meanwhile another run with the same key may have succeeded
//! and removed it, and a third may have failed and left a new key under the same name. So a file is
//! removed only under a lock on that very file (flock(2)), after a second look that the path still
//! names it. Nobody who keeps to this can remove or replace the file between look and removal, and
//! a run that dies there leaves nothing behind but its lock, which the kernel frees.
//!
//! The first line of the file goes to a server, and the file itself goes with success. So a file
//! that somebody else may have put there for that is refused: a symbolic link, a file of another
//! user, or a second name of a file (hard link) in a directory that others can write.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, Flock, FlockArg, RenameFlags, renameat2};
use nix::unistd::{AccessFlags, access, geteuid, linkat};
use rand::TryRng as _;
use rand::rngs::SysRng;

use super::files::{belongs_to, errno, owner_of};
use crate::clock::{now, wall};
use crate::process::signal::end_is_pending;

/// Longest key, in bytes: what servers take.
pub(crate) const LONGEST: usize = 255;

/// From this age on a server may have forgotten the key, and take a repeat for something new.
const OLD: Duration = Duration::from_hours(24);

/// How long another run may hold the lock on a file. It needs it for less than a millisecond.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two attempts to lock a file.
const TICK: Duration = Duration::from_millis(5);

/// A key that a file held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) key: String,
    /// How long ago it was written.
    pub(crate) age: Duration,
}

/// Why a key file cannot be used.
#[derive(Debug)]
pub(crate) enum Unusable {
    System {
        doing: &'static str,
        path: PathBuf,
        error: io::Error,
    },
    /// A directory, a pipe, a device.
    NoFile {
        path: PathBuf,
    },
    /// A symbolic link, wherever it leads.
    Link {
        path: PathBuf,
    },
    /// A file of a user who is neither this one, nor root, nor the owner of the directory.
    Foreign {
        path: PathBuf,
        owner: u32,
    },
    /// A file that has another name, in a directory that others can write.
    Shared {
        path: PathBuf,
    },
    /// This user cannot remove the file later.
    Fixed {
        path: PathBuf,
        errno: Errno,
    },
    /// There is no key in it, or no key that can be one.
    NoKey {
        path: PathBuf,
        why: &'static str,
    },
    Old {
        path: PathBuf,
        age: Duration,
    },
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { doing, path, error } => {
                write!(f, "cannot {doing} the key file {}: {}", path.display(), errno(error).desc())
            }
            Self::NoFile { path } => write!(f, "the key file {} is not a regular file", path.display()),
            Self::Link { path } => {
                write!(f, "the key file {} is not a regular file but a symbolic link", path.display())
            }
            Self::Foreign { path, owner } => {
                write!(f, "the key file {} belongs to another user ({owner})", path.display())
            }
            Self::Shared { path } => write!(
                f,
                "the key file {} has another name (a hard link), and other users can write to its directory",
                path.display()
            ),
            Self::Fixed { path, errno } => {
                let why = errno.desc();
                write!(f, "retry could not remove the key file {} after a success: {why}", path.display())
            }
            Self::NoKey { path, why } => write!(f, "the key file {} {why}", path.display()),
            Self::Old { path, age } => write!(
                f,
                "the key in {} is {} hours old: the server may have forgotten it and treat a repeat as a new request",
                path.display(),
                age.as_secs() / 3600
            ),
        }
    }
}

impl Unusable {
    fn failed(doing: &'static str, path: &Path, error: io::Error) -> Self {
        Self::System { doing, path: path.to_owned(), error }
    }

    /// What the user can do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Old { .. } => Some("check whether the request was carried out, then remove the file"),
            Self::NoKey { .. } => Some("remove the file, or write the key into it as one line"),
            Self::Link { .. } => Some("give the path of the file itself, or remove the link"),
            Self::NoFile { .. } => Some("give the path of a file that retry may create and remove"),
            Self::Foreign { .. } | Self::Shared { .. } => Some(
                "find out who created the file, and keep the key in a directory that only you can write to",
            ),
            Self::Fixed { .. } => Some(
                "the next request would repeat its key: keep the file in a directory that you can write to",
            ),
            Self::System { .. } => None,
        }
    }
}

/// The key in a file; none where there is no file.
///
/// # Errors
/// Where it cannot be read or removed later, is no key, or is too old.
pub(crate) fn read(path: &Path) -> Result<Option<Kept>, Unusable> {
    let kept = held(path)?;
    match kept {
        Some(Kept { age, .. }) if age > OLD => Err(Unusable::Old { path: path.to_owned(), age }),
        Some(kept) => check_removable(path).map(|()| Some(kept)),
        None => Ok(None),
    }
}

/// Checks that this user can remove the file. If it stayed after a success, the next request would go out with the
/// same key, and the server would take it for a repeat.
fn check_removable(path: &Path) -> Result<(), Unusable> {
    /// Only the owner of a file or of the directory may remove it (unlink(2)).
    const STICKY: u32 = 0o1000;
    let fixed = |errno| Err(Unusable::Fixed { path: path.to_owned(), errno });
    let directory = directory_of(path);
    if let Err(errno) = access(directory, AccessFlags::W_OK | AccessFlags::X_OK) {
        return fixed(errno);
    }
    // Nobody may remove an immutable file, not even root (ioctl_iflags(2)). A lack of write permission for the file
    // itself (EACCES) does not matter.
    if access(path, AccessFlags::W_OK) == Err(Errno::EPERM) {
        return fixed(Errno::EPERM);
    }
    let (Ok(above), Ok(file)) = (fs::metadata(directory), fs::symlink_metadata(path)) else { return Ok(()) };
    let user = geteuid();
    let owns = [above.uid(), file.uid()].contains(&user.as_raw());
    if above.mode() & STICKY != 0 && !owns && !user.is_root() { fixed(Errno::EPERM) } else { Ok(()) }
}

/// The same, however old.
fn held(path: &Path) -> Result<Option<Kept>, Unusable> {
    let Some(file) = open(path, Access::Read)? else { return Ok(None) };
    let key = content(path, &file)?;
    let stat = file.metadata().map_err(|error| Unusable::failed("read", path, error))?;
    let seconds = Duration::from_secs(u64::try_from(stat.mtime()).unwrap_or(0));
    // One from the future was written just now, by another clock.
    let written = UNIX_EPOCH.checked_add(seconds);
    let age = written.and_then(|written| wall().duration_since(written).ok()).unwrap_or_default();
    Ok(Some(Kept { key, age }))
}

/// What an open key file is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    /// To lock it, too. NFS locks only what is open for writing (flock(2)).
    Lock,
}

/// Opens a key file, if it is one that this run may use. None if there is no file.
fn open(path: &Path, access: Access) -> Result<Option<File>, Unusable> {
    let failed = |error| Unusable::failed("read", path, error);
    // A look first: to open a pipe or a device may have an effect.
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        stat => check_kind(path, &stat.map_err(failed)?)?,
    }
    let mut options = fs::OpenOptions::new();
    options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
    let writable = || options.clone().write(true).open(path);
    let opened = match access {
        Access::Read => options.open(path),
        Access::Lock => writable().or_else(|_| options.open(path)),
    };
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(Unusable::Link { path: path.to_owned() });
        }
        opened => opened.map_err(failed)?,
    };
    let stat = file.metadata().map_err(failed)?;
    check_kind(path, &stat)?;
    check_owner(path, &stat)?;
    Ok(Some(file))
}

fn check_kind(path: &Path, stat: &fs::Metadata) -> Result<(), Unusable> {
    if stat.is_symlink() {
        return Err(Unusable::Link { path: path.to_owned() });
    }
    if stat.is_file() { Ok(()) } else { Err(Unusable::NoFile { path: path.to_owned() }) }
}

/// That nobody else can have put the file there. Whoever owns the directory decides what is in it
/// anyhow, and root makes files for that user.
fn check_owner(path: &Path, stat: &fs::Metadata) -> Result<(), Unusable> {
    /// Write permission for the group and for all others.
    const OTHERS_WRITE: u32 = 0o022;
    let directory =
        fs::metadata(directory_of(path)).map_err(|error| Unusable::failed("read", path, error))?;
    let owner = stat.uid();
    if ![geteuid().as_raw(), 0, directory.uid()].contains(&owner) {
        return Err(Unusable::Foreign { path: path.to_owned(), owner });
    }
    if stat.nlink() > 1 && directory.mode() & OTHERS_WRITE != 0 {
        return Err(Unusable::Shared { path: path.to_owned() });
    }
    Ok(())
}

/// The directory of a file, which may be the present one.
fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The key in an open file.
fn content(path: &Path, file: &File) -> Result<String, Unusable> {
    // One more for the line's end, and one to see that it is too long.
    let mut bytes = [0; LONGEST + 2];
    let mut length = 0;
    while length < bytes.len() {
        match file.read_at(&mut bytes[length..], u64::try_from(length).unwrap_or(u64::MAX)) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Unusable::failed("read", path, error)),
        }
    }
    let key = parse(&bytes[..length]);
    key.map(ToOwned::to_owned).map_err(|why| Unusable::NoKey { path: path.to_owned(), why })
}

/// The key that is the content of a file, as a line or without the line's end.
///
/// # Errors
/// What is wrong with it.
fn parse(bytes: &[u8]) -> Result<&str, &'static str> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if bytes.len() > LONGEST {
        return Err("holds more than 255 bytes");
    }
    let key = std::str::from_utf8(bytes).map_err(|_| "holds no text")?;
    match wrong_with(key) {
        None => Ok(key),
        Some("is empty") => Err("is empty"),
        Some(_) => Err("holds control characters"),
    }
}

/// Whatever stands in a file, it is a key or refused; what is a key can be written and read again.
#[cfg(any(test, fuzzing))]
pub(crate) fn property(bytes: &[u8]) {
    if let Ok(key) = parse(bytes) {
        assert!((1..=LONGEST).contains(&key.len()) && !key.contains('\n'));
        assert_eq!(parse(format!("{key}\n").as_bytes()), Ok(key));
    }
}

/// What is wrong with a key, if something is.
pub(crate) fn wrong_with(key: &str) -> Option<&'static str> {
    match key {
        "" => Some("is empty"),
        key if key.len() > LONGEST => Some("is longer than 255 bytes"),
        key if key.chars().any(char::is_control) => Some("has control characters"),
        _ => None,
    }
}

/// The key in a file, with its age, or else `fresh`, which is then in it.
///
/// # Errors
/// As [`read`], and where the file cannot be made.
pub(crate) fn obtain(path: &Path, fresh: &str) -> Result<(String, Option<Duration>), Unusable> {
    let system = |error| Unusable::failed("make", path, error);
    // Again where another run made or removed it between the look and the link.
    for _ in 0..9 {
        if let Some(kept) = read(path)? {
            return Ok((kept.key, Some(kept.age)));
        }
        match make(path, fresh) {
            Ok(()) => return Ok((fresh.to_owned(), None)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(system(error)),
        }
    }
    Err(system(io::Error::from_raw_os_error(libc::EEXIST)))
}

/// Makes the file, whole and never over another.
fn make(path: &Path, key: &str) -> io::Result<()> {
    let directory = directory_of(path);
    let line = format!("{key}\n");
    let fill = |file: &mut File| {
        belongs_to(&*file, owner_of(Some(directory)));
        file.write_all(line.as_bytes())?;
        file.sync_all()
    };
    let mut options = fs::OpenOptions::new();
    options.write(true).mode(0o600);
    // Without a name nothing is left of it if retry is killed (open(2), O_TMPFILE).
    match options.clone().custom_flags(libc::O_TMPFILE).open(directory) {
        Ok(mut file) => {
            fill(&mut file)?;
            let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
            linkat(AT_FDCWD, unnamed.as_str(), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW)?;
        }
        // Not every file system can.
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)) =>
        {
            let mut random = [0; 8];
            SysRng.try_fill_bytes(&mut random).map_err(|_| io::Error::from_raw_os_error(libc::EIO))?;
            let new = directory.join(format!(".{:016x}.retry-tmp", u64::from_ne_bytes(random)));
            let mut file = options.create_new(true).open(&new)?;
            let named = fill(&mut file).and_then(|()| {
                renameat2(AT_FDCWD, &new, AT_FDCWD, path, RenameFlags::RENAME_NOREPLACE)
                    .or_else(|_| linkat(AT_FDCWD, &new, AT_FDCWD, path, AtFlags::empty()))
                    .map_err(io::Error::from)
            });
            let _ = fs::remove_file(&new);
            named?;
        }
        Err(error) => return Err(error),
    }
    // The name, too, must not be lost once a request with the key may have been sent.
    File::open(directory).and_then(|directory| directory.sync_all())
}

/// Removes the file if it still holds this key: the run with it has succeeded.
///
/// # Errors
/// If the file cannot be seen, locked or removed.
pub(crate) fn remove(path: &Path, key: &str) -> Result<(), Unusable> {
    let end = now().saturating_add(PATIENCE);
    loop {
        // Anew each time: whoever held the lock may have removed the file, and a run that failed
        // may have left another.
        let Some(file) = open(path, Access::Lock)? else { return Ok(()) };
        if content(path, &file)? != key {
            return Ok(());
        }
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) if !is_at(&file, path) => {}
            // It may have been written to while it was not locked.
            Ok(file) if content(path, &file)? != key => return Ok(()),
            Ok(_locked) => {
                return fs::remove_file(path).map_err(|error| Unusable::failed("remove", path, error));
            }
            Err((_, Errno::EWOULDBLOCK)) if now() < end && !end_is_pending() => thread::sleep(TICK),
            Err((_, errno)) => return Err(Unusable::failed("lock", path, errno.into())),
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

    proptest! {
        #[test]
        fn any_file_holds_a_key_or_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            super::property(&bytes);
        }

        #[test]
        fn a_line_of_text_is_a_key(text in "[ -~äß☃]{1,80}\n?") {
            super::property(text.as_bytes());
            prop_assert!(super::parse(text.as_bytes()).is_ok());
        }
    }
}
