//! Bytes kept for later. Up to one mebibyte is in memory. More bytes are all in an unlinked file,
//! so the memory stays bounded.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use nix::errno::Errno;

use super::descriptor::above_standard;
use crate::error::errno;

/// The most bytes in memory.
const IN_MEMORY: usize = 1024 * 1024;

/// Bytes in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Spool {
    memory: Vec<u8>,
    /// All bytes, if they are too many for the memory.
    file: Option<File>,
    length: u64,
}

/// The directory of the file: `$TMPDIR`, or /tmp if that is not set or empty (mktemp(1)).
fn directory() -> PathBuf {
    let set = std::env::var_os("TMPDIR").filter(|name| !name.is_empty());
    set.map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
}

/// Bytes could not be kept: the file could not be made, or not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot keep bytes in {}", directory.display())]
pub(crate) struct NotKept {
    pub(crate) directory: PathBuf,
    #[source]
    pub(crate) errno: Errno,
}

impl NotKept {
    /// Whether another directory may help.
    pub(crate) fn is_of_the_place(&self) -> bool {
        use Errno::{EACCES, EDQUOT, ENOENT, ENOSPC, ENOTDIR, EPERM, EROFS};
        [EACCES, EDQUOT, ENOENT, ENOSPC, ENOTDIR, EPERM, EROFS].contains(&self.errno)
    }
}

impl Spool {
    /// The first `length` bytes of a file. Nothing can be added to them.
    pub(crate) fn of(file: File, length: u64) -> Self {
        Self { memory: Vec::new(), file: Some(file), length }
    }

    /// How many bytes there are.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// If no file can be made in `$TMPDIR`, or it cannot be written. The earlier bytes are still
    /// there.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), NotKept> {
        let length = self.length + u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        match &self.file {
            None if self.memory.len() + bytes.len() <= IN_MEMORY => self.memory.extend_from_slice(bytes),
            None => {
                let end = self.length;
                self.move_out()
                    .and_then(|file| file.write_all_at(bytes, end))
                    .map_err(|error| not_kept(&error))?;
            }
            Some(file) => file.write_all_at(bytes, self.length).map_err(|error| not_kept(&error))?,
        }
        self.length = length;
        Ok(())
    }

    /// Moves all bytes from memory to a file.
    fn move_out(&mut self) -> io::Result<&File> {
        let directory = directory();
        let file = above_standard(|| tempfile::tempfile_in(&directory))?;
        file.write_all_at(&self.memory, 0)?;
        self.memory = Vec::new();
        Ok(self.file.insert(file))
    }

    /// Fills `part` with the bytes at `position`. Returns how many there are, 0 at the end.
    ///
    /// # Errors
    /// The errors of pread(2), but not EINTR.
    pub(crate) fn read_at(&self, position: u64, part: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.length.saturating_sub(position)).unwrap_or(usize::MAX);
        let most = most.min(part.len());
        let part = part.get_mut(..most).unwrap_or_default();
        if most == 0 {
            return Ok(0);
        }
        if let Some(file) = &self.file {
            loop {
                match file.read_at(part, position) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => return read,
                }
            }
        }
        let start = usize::try_from(position).unwrap_or(usize::MAX);
        part.copy_from_slice(self.memory.get(start..start.saturating_add(most)).unwrap_or_default());
        Ok(most)
    }
}

fn not_kept(error: &io::Error) -> NotKept {
    NotKept { directory: directory(), errno: errno(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All bytes, read in parts of this size.
    fn all(spool: &Spool, size: usize) -> Vec<u8> {
        let (mut bytes, mut part) = (Vec::new(), vec![0; size]);
        loop {
            let position = u64::try_from(bytes.len()).unwrap();
            match spool.read_at(position, &mut part).unwrap() {
                0 => return bytes,
                length => bytes.extend_from_slice(&part[..length]),
            }
        }
    }

    #[test]
    fn bytes_come_back_as_they_were_from_memory_and_from_a_file() {
        let mut spool = Spool::default();
        let mut expected = Vec::new();
        assert_eq!(all(&spool, 7), b"");
        for (i, size) in [1, 0, 1000, IN_MEMORY - 1001, 1, 70_000, 1].into_iter().enumerate() {
            let bytes: Vec<u8> = (0..size).map(|n| u8::try_from((n * 7 + i) % 251).unwrap()).collect();
            spool.push(&bytes).unwrap();
            expected.extend_from_slice(&bytes);
            assert_eq!(spool.file.is_some(), expected.len() > IN_MEMORY);
            assert_eq!(spool.length(), u64::try_from(expected.len()).unwrap());
            assert!(all(&spool, 4093) == expected, "after {} bytes", expected.len());
        }
        assert!(spool.memory.capacity() == 0);
        assert_eq!(spool.read_at(u64::MAX, &mut [0; 4]).unwrap(), 0);
    }
}
