//! Files and directories that only their owner can use. If root makes them for another user, they
//! belong to that user.

use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmod, fchmodat, fstat, mkdirat, stat};
use nix::unistd::{Gid, Uid, fchown, geteuid};

/// Only its owner may read and write the file.
pub(in crate::state) const PRIVATE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// Opens no link, waits for no pipe or device, and leaves the file to retry alone, not to the
/// command.
pub(in crate::state) const SAFE: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);

/// A user and a group.
pub(in crate::state) type Owner = (Uid, Gid);

/// The owner of a file or directory, for root, who makes files for others. None for other users.
/// Without a path, the owner of the present directory.
pub(in crate::state) fn owner_of(path: Option<&Path>) -> Option<Owner> {
    if !geteuid().is_root() {
        return None;
    }
    let path = path.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let stat = stat(path).ok()?;
    Some((Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid)))
}

/// Makes a new file private, whatever the umask, and gives it to its owner.
pub(in crate::state) fn belongs_to(file: impl AsFd, owner: Option<Owner>) {
    // If one of these fails, the next run says that it cannot use the file.
    let _ = fchmod(&file, PRIVATE);
    if let Some((user, group)) = owner.filter(|(user, _)| !user.is_root()) {
        let _ = fchown(file, Some(user), Some(group));
    }
}

/// Makes a directory and all that are missing above it. Each belongs to the owner of the one above,
/// and only the owner can use it. Each is made and opened below the one before, so that nobody can
/// put a link between.
///
/// # Errors
/// If one cannot be made.
pub(in crate::state) fn make_directory(path: &Path) -> nix::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|above| !above.exists()).collect();
    let Some(first) = missing.last().and_then(|first| first.parent()) else { return Ok(()) };
    let first = if first.as_os_str().is_empty() { Path::new(".") } else { first };
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut above = open(first, OFlag::O_PATH | flags, Mode::empty())?;
    for directory in missing.into_iter().rev() {
        let Some(name) = directory.file_name() else { return Err(Errno::EINVAL) };
        let made = mkdirat(&above, name, Mode::S_IRWXU);
        if made.is_err() && made != Err(Errno::EEXIST) {
            return made;
        }
        let root = geteuid().is_root();
        if made.is_ok() && !root {
            // A strict umask may have made it unusable even for its owner.
            let _ = fchmodat(&above, name, Mode::S_IRWXU, FchmodatFlags::FollowSymlink);
        }
        let kind = if root { OFlag::O_RDONLY } else { OFlag::O_PATH };
        let below = openat(&above, name, kind | OFlag::O_NOFOLLOW | flags, Mode::empty())?;
        if made.is_ok() && root && fstat(&below)?.st_uid == 0 {
            let _ = fchmod(&below, Mode::S_IRWXU);
            let owner = fstat(&above)?;
            if owner.st_uid != 0 {
                let _ = fchown(&below, Some(Uid::from_raw(owner.st_uid)), Some(Gid::from_raw(owner.st_gid)));
            }
        }
        above = below;
    }
    Ok(())
}

/// Whether it is a regular file.
pub(in crate::state) fn is_file(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
}
