//! The idempotency key in a file: kept across runs until one succeeds.
//!
//! The file appears whole, by link(2): who is second finds it there and takes the first's key.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::{AT_FDCWD, AtFlags, RenameFlags, renameat2};
use nix::unistd::linkat;
use rand::TryRng as _;
use rand::rngs::SysRng;

use super::files::{belongs_to, errno, owner_of};

/// Longest key, in bytes: what servers take.
pub(crate) const LONGEST: usize = 255;

/// From this age on a server may have forgotten the key, and take a repeat for something new.
const OLD: Duration = Duration::from_hours(24);

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
                write!(f, "cannot {doing} the key file {}: {}", path.display(), errno(error).desc())
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
    let kept = held(path)?;
    match kept {
        Some(Kept { age, .. }) if age > OLD => Err(Unusable::Old { path: path.to_owned(), age }),
        kept => Ok(kept),
    }
}

/// The same, however old.
fn held(path: &Path) -> Result<Option<Kept>, Unusable> {
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
    let mut bytes = Vec::new();
    // One more for the line's end, and one to see that it is too long.
    let most = u64::try_from(LONGEST + 2).unwrap_or(u64::MAX);
    file.take(most).read_to_end(&mut bytes).map_err(system)?;
    let key = parse(&bytes).map_err(no_key)?;
    let seconds = Duration::from_secs(u64::try_from(stat.mtime()).unwrap_or(0));
    // One from the future was written just now, by another clock.
    let written = SystemTime::UNIX_EPOCH.checked_add(seconds);
    let age = written.and_then(|written| SystemTime::now().duration_since(written).ok()).unwrap_or_default();
    Ok(Some(Kept { key: key.to_owned(), age }))
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
    let system = |error| Unusable::System { doing: "make", path: path.to_owned(), error };
    // Again where another run made or removed it between the look and the link.
    for _ in 0..9 {
        if let Some(kept) = read(path)? {
            return Ok((kept.key, Some(kept.age)));
        }
        if path.is_symlink() {
            // To nothing.
            return Err(Unusable::NoFile { path: path.to_owned() });
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
    let directory =
        path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
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

/// Removes a file that still holds this key: the run with it has succeeded.
///
/// # Errors
/// Where it cannot be seen or removed.
pub(crate) fn remove(path: &Path, key: &str) -> Result<(), Unusable> {
    if held(path)?.is_none_or(|kept| kept.key != key) {
        return Ok(());
    }
    // Where it is a link, what holds the key goes.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    fs::remove_file(target).map_err(|error| Unusable::System {
        doing: "remove",
        path: path.to_owned(),
        error,
    })
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
