//! Files and directories for their owner alone, also where root makes them for another.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, stat};
use nix::unistd::{Gid, Uid, fchown, geteuid};

/// Only its owner may read and write it.
pub(super) const PRIVATE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// What is opened is itself a file, no link; waits for nobody; and is not the command's.
pub(super) const SAFE: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);

/// A user and a group.
pub(super) type Owner = (Uid, Gid);

/// Whose a file or directory is, for root, who makes files for others: in the present directory where there
/// is no path.
pub(super) fn owner_of(path: Option<&Path>) -> Option<Owner> {
    if !geteuid().is_root() {
        return None;
    }
    let path = path.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let stat = stat(path).ok()?;
    Some((Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid)))
}

/// Makes a new file private, whatever the umask, and gives it to its owner.
pub(super) fn belongs_to(file: impl AsFd, owner: Option<Owner>) {
    // Where either fails the next run says that it cannot use the file.
    let _ = fchmod(&file, PRIVATE);
    if let Some((user, group)) = owner.filter(|(user, _)| !user.is_root()) {
        let _ = fchown(file, Some(user), Some(group));
    }
}

/// Makes a directory and those above it that are missing, for their owner alone: who has the one above.
///
/// # Errors
/// Where one cannot be made.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|above| !above.exists()).collect();
    for directory in missing.into_iter().rev() {
        let owner = owner_of(directory.parent());
        match fs::DirBuilder::new().mode(0o700).create(directory) {
            // Another was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            made => made?,
        }
        // A strict umask may have left it unreadable.
        let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
        let Some((user, group)) = owner.filter(|(user, _)| !user.is_root()) else { continue };
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        if let Ok(opened) = open(directory, flags, Mode::empty())
            && fstat(&opened).is_ok_and(|stat| stat.st_uid == 0)
        {
            let _ = fchown(&opened, Some(user), Some(group));
        }
    }
    Ok(())
}

pub(super) fn is_file(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
}

pub(super) fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
