//! Descriptors of retry's own stay above the standard streams.
//!
//! open(2) returns the lowest number that is free. If the caller closed a standard stream, that
//! stream must stay closed for the command.

use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use nix::sys::stat::{FileStat, SFlag};

use crate::error::errno;

/// The kind of a file, as one of the constants of inode(7): `S_IFREG`, `S_IFIFO`.
pub(super) fn file_kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// Calls `open` until it returns a descriptor above the standard streams.
///
/// # Errors
/// The errors of `open`.
pub(crate) fn above_standard<T: AsFd, E>(mut open: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let mut low = Vec::new();
    loop {
        let new = open()?;
        if new.as_fd().as_raw_fd() > 2 {
            return Ok(new);
        }
        low.push(new);
    }
}

/// Moves a descriptor above the standard streams, close-on-exec.
///
/// # Errors
/// If the system has no descriptor left.
pub(crate) fn lift(fd: OwnedFd) -> nix::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    // `try_clone` starts at 3 (fcntl(2), F_DUPFD_CLOEXEC).
    fd.try_clone().map_err(|error| errno(&error))
}
