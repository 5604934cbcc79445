//! Descriptors of retry's own, kept away from the standard streams: a stream that the caller closed must
//! stay closed for the command, and 0 to 2 are what open(2) hands out first.

use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use nix::errno::Errno;

/// Opens something whose descriptor is above the standard streams.
///
/// # Errors
/// Where `open` fails.
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

/// The same description under a descriptor above the standard streams, close-on-exec.
///
/// # Errors
/// Where no descriptor is left.
pub(crate) fn lift(fd: OwnedFd) -> nix::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    // `try_clone` starts at 3 (fcntl(2), F_DUPFD_CLOEXEC).
    fd.try_clone().map_err(|error| error.raw_os_error().map_or(Errno::EMFILE, Errno::from_raw))
}
