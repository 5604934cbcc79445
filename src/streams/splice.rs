//! Writing without waiting to a pipe that retry may not open again.
//!
//! poll(2) reports room, but another writer may take it before retry writes. With
//! SPLICE_F_NONBLOCK, splice(2) from one pipe to another never waits, whatever flags the
//! descriptions have.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, SpliceFFlags, splice};
use nix::unistd::{pipe2, read, write};

use super::descriptor::lift;

/// How many bytes are moved at a time: the size of a pipe (pipe(7)).
const PART: usize = 64 * 1024;

/// A pipe of retry's own. It is empty between calls.
#[derive(Debug)]
pub(crate) struct Splice {
    from: OwnedFd,
    to: OwnedFd,
}

impl Splice {
    /// # Errors
    /// If the system has no descriptor left.
    pub(crate) fn new() -> nix::Result<Self> {
        let (from, to) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        Ok(Self { from: lift(from)?, to: lift(to)? })
    }

    /// Writes as much to this pipe as there is room for.
    ///
    /// # Errors
    /// EAGAIN if there is no room now, EPIPE if nobody reads, and whatever else splice(2) says.
    pub(crate) fn write(&self, pipe: BorrowedFd<'_>, bytes: &[u8]) -> nix::Result<usize> {
        let offered = write(&self.to, &bytes[..bytes.len().min(PART)])?;
        let mut moved = 0;
        let mut error = Errno::EAGAIN;
        while moved < offered {
            match splice(&self.from, None, pipe, None, offered - moved, SpliceFFlags::SPLICE_F_NONBLOCK) {
                Ok(0) => break,
                Ok(count) => moved += count,
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    error = errno;
                    break;
                }
            }
        }
        self.take_back(offered - moved)?;
        if moved == 0 && offered > 0 { Err(error) } else { Ok(moved) }
    }

    /// Empties retry's pipe of this many bytes.
    fn take_back(&self, count: usize) -> nix::Result<()> {
        let mut left = vec![0; count];
        let mut taken = 0;
        while taken < count {
            match read(&self.from, &mut left[taken..]) {
                Ok(0) => return Err(Errno::EIO),
                Err(Errno::EINTR) => {}
                length => taken += length?,
            }
        }
        Ok(())
    }
}
