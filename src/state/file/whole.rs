//! A new file that appears whole, and never in place of another file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags, RenameFlags, renameat2};
use nix::unistd::{linkat, syncfs};

use super::fitness::directory_of;
use super::private::{belongs_to, owner_of};

/// Makes a file with the content that `fill` writes, and does not return before the file is on the
/// disk. `fill` may be called a second time, for another file. `temporary` names a file in the same
/// directory, for file systems that need one.
///
/// # Errors
/// If the file cannot be made. EEXIST if there is a file of this name.
pub(in crate::state) fn make(
    path: &Path,
    temporary: impl FnOnce() -> io::Result<PathBuf>,
    fill: impl Fn(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let directory = directory_of(path);
    let fill = |file: &mut File| {
        belongs_to(&*file, owner_of(Some(directory)));
        fill(file)?;
        file.sync_all()
    };
    let file = match unnamed(path, directory, fill)? {
        Some(file) => file,
        None => named(path, &temporary()?, fill)?,
    };
    sync_directory(directory, &file)
}

/// Fills a file that has no name until it is whole. So nothing is left of it if retry is killed
/// (open(2), O_TMPFILE). None if the system cannot do this.
fn unnamed(
    path: &Path,
    directory: &Path,
    fill: impl Fn(&mut File) -> io::Result<()>,
) -> io::Result<Option<File>> {
    let opened = OpenOptions::new().write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(directory);
    let mut file = match opened {
        // Not every file system can do this.
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)) =>
        {
            return Ok(None);
        }
        opened => opened?,
    };
    let number = format!("/proc/self/fd/{}", file.as_raw_fd());
    if !Path::new(&number).exists() {
        return Ok(None);
    }
    fill(&mut file)?;
    linkat(AT_FDCWD, number.as_str(), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW)?;
    Ok(Some(file))
}

/// Fills a file with a name of its own, and renames it.
fn named(path: &Path, new: &Path, fill: impl Fn(&mut File) -> io::Result<()>) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).mode(0o600).create_new(true).open(new)?;
    let named = fill(&mut file).and_then(|()| {
        renameat2(AT_FDCWD, new, AT_FDCWD, path, RenameFlags::RENAME_NOREPLACE)
            .or_else(|_| linkat(AT_FDCWD, new, AT_FDCWD, path, AtFlags::empty()))
            .map_err(io::Error::from)
    });
    let _ = fs::remove_file(new);
    named.map(|()| file)
}

/// Writes the new name to the disk too.
fn sync_directory(directory: &Path, file: &File) -> io::Result<()> {
    match File::open(directory) {
        Ok(directory) => directory.sync_all(),
        // This user may write to the directory, but not read it.
        Err(_) => syncfs(file).map_err(io::Error::from),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    type Way<'a> = &'a dyn Fn(&[u8]) -> io::Result<()>;

    #[test]
    fn a_file_appears_whole_whatever_the_file_system_can_do() {
        let directory = tempfile::tempdir().unwrap();
        let (path, new) = (directory.path().join("x"), directory.path().join("x.new"));
        let left = || {
            let names = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name());
            names.collect::<Vec<_>>()
        };
        let ways: [Way<'_>; 2] = [
            &|content: &[u8]| make(&path, || Ok(new.clone()), |file| file.write_all(content)),
            &|content: &[u8]| named(&path, &new, |file| file.write_all(content)).map(drop),
        ];
        for make in ways {
            make(b"first").unwrap();
            assert_eq!(make(b"second").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(fs::read(&path).unwrap(), b"first");
            assert_eq!(left(), ["x"]);
            fs::remove_file(&path).unwrap();
        }
        for failed in [
            make(&path, || Ok(new.clone()), |_| Err(io::ErrorKind::StorageFull.into())),
            named(&path, &new, |_| Err(io::ErrorKind::StorageFull.into())).map(drop),
        ] {
            assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
        }
        assert_eq!(left(), [""; 0]);
    }
}
