//! The idempotency key in a file: kept across runs until one succeeds.
//!
//! The file appears whole, by link(2): who is second finds it there and takes the first's key.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

/// Longest key, in bytes: what servers take.
pub(crate) const LONGEST: usize = 255;

/// From this age on a server may have forgotten the key, and take a repeat for something new.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

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
    /// A directory, a pipe.
    NoFile {
        path: PathBuf,
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
                let why = error.raw_os_error().map(nix::errno::Errno::from_raw);
                let why = why.map_or_else(|| error.to_string(), |errno| errno.desc().to_owned());
                write!(f, "cannot {doing} the key file {}: {why}", path.display())
            }
            Self::NoFile { path } => write!(f, "the key file {} is not a regular file", path.display()),
            Self::NoKey { path, why } => write!(f, "the key file {} {why}", path.display()),
            Self::Old { path, age } => write!(
                f,
                "the key in {} is {} hours old: a server may have forgotten it, and take a repeat for something new",
                path.display(),
                age.as_secs() / 3600
            ),
        }
    }
}

/// The key in a file; none where there is no file.
///
/// # Errors
/// Where it cannot be read, is no key, or is too old.
pub(crate) fn read(path: &Path) -> Result<Option<Kept>, Unusable> {
    let path_of = || path.to_owned();
    let system = |error| Unusable::System { doing: "read", path: path_of(), error };
    let file = match fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(system)?,
    };
    let stat = file.metadata().map_err(system)?;
    if !stat.is_file() {
        return Err(Unusable::NoFile { path: path_of() });
    }
    let no_key = |why| Unusable::NoKey { path: path_of(), why };
    let mut text = String::new();
    // One more for the line's end, and one to see that it is too long.
    let most = u64::try_from(LONGEST + 2).unwrap_or(u64::MAX);
    file.take(most).read_to_string(&mut text).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => no_key("holds no text"),
        _ => system(error),
    })?;
    let key = text.strip_suffix('\n').unwrap_or(&text);
    match wrong_with(key) {
        Some("is empty") => return Err(no_key("is empty")),
        Some("is longer than 255 bytes") => return Err(no_key("holds more than 255 bytes")),
        Some(_) => return Err(no_key("holds control characters")),
        None => {}
    }
    let written =
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(stat.mtime()).unwrap_or(0)));
    // One from the future was written just now, by another clock.
    let age = written.and_then(|written| SystemTime::now().duration_since(written).ok()).unwrap_or_default();
    if age > OLD {
        return Err(Unusable::Old { path: path_of(), age });
    }
    Ok(Some(Kept { key: key.to_owned(), age }))
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

/// The key in a file, or else `fresh`, which is then in it.
///
/// # Errors
/// As [`read`], and where the file cannot be made.
pub(crate) fn obtain(path: &Path, fresh: &str) -> Result<(String, Option<Duration>), Unusable> {
    let system = |error| Unusable::System { doing: "make", path: path.to_owned(), error };
    // Again where another run made or removed it between the look and the link.
    for _ in 0..9 {
        if let Some(kept) = read(path)? {
            return Ok((kept.key, Some(kept.age)));
        }
        let mut new = path.to_owned().into_os_string();
        new.push(format!(".{}.retry-tmp", std::process::id()));
        let new = PathBuf::from(new);
        let _ = fs::remove_file(&new);
        let made = private(&new).and_then(|mut file| {
            file.write_all(format!("{fresh}\n").as_bytes())?;
            // The key must not be lost once a request with it may have been sent.
            file.sync_all()?;
            // Where the file system knows no links (link(2), EPERM), a rename that replaces nothing.
            fs::hard_link(&new, path).or_else(|error| match error.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported => {
                    renameat2(AT_FDCWD, &new, AT_FDCWD, path, RenameFlags::RENAME_NOREPLACE)
                        .map_err(|errno| io::Error::from_raw_os_error(errno as i32))
                }
                _ => Err(error),
            })
        });
        let _ = fs::remove_file(&new);
        match made {
            Ok(()) => return Ok((fresh.to_owned(), None)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(system(error)),
        }
    }
    Err(system(io::ErrorKind::AlreadyExists.into()))
}

/// Removes a file that still holds this key: the run with it has succeeded.
///
/// # Errors
/// Where it cannot be removed.
pub(crate) fn remove(path: &Path, key: &str) -> Result<(), Unusable> {
    let held = fs::read(path).unwrap_or_default();
    if held.strip_suffix(b"\n").unwrap_or(&held) != key.as_bytes() {
        return Ok(());
    }
    fs::remove_file(path).map_err(|error| Unusable::System { doing: "remove", path: path.to_owned(), error })
}

fn private(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}
