//! Bytes kept for later, of any number: the first mebibyte in memory, all of them in an unlinked file once there
//! are more.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use nix::errno::Errno;

use super::descriptor::above_standard;
use crate::error::errno;

/// How much is kept in memory, in bytes.
const IN_MEMORY: usize = 1024 * 1024;

/// Bytes in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Spool {
    memory: Vec<u8>,
    /// Holds all of them, and the memory none, once they are too many for that.
    file: Option<File>,
    length: u64,
}

/// Where files are kept: `$TMPDIR`, or /tmp where that is not set or empty (mktemp(1)).
fn directory() -> PathBuf {
    let set = std::env::var_os("TMPDIR").filter(|name| !name.is_empty());
    set.map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
}

/// Bytes that could not be kept: where the file would have been, and why there is none or no more of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotKept {
    pub(crate) directory: PathBuf,
    pub(crate) errno: Errno,
}

impl NotKept {
    /// Whether it would be otherwise in another directory.
    pub(crate) fn is_of_the_place(&self) -> bool {
        use Errno::{EACCES, EDQUOT, ENOENT, ENOSPC, ENOTDIR, EPERM, EROFS};
        [EACCES, EDQUOT, ENOENT, ENOSPC, ENOTDIR, EPERM, EROFS].contains(&self.errno)
    }
}

impl Spool {
    /// How many there are.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Adds some.
    ///
    /// # Errors
    /// Where no file can be made in `$TMPDIR`, or it cannot be written; what was there before is still there.
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

    /// Moves all from memory to a file.
    fn move_out(&mut self) -> io::Result<&File> {
        let directory = directory();
        let file = above_standard(|| tempfile::tempfile_in(&directory))?;
        file.write_all_at(&self.memory, 0)?;
        self.memory = Vec::new();
        Ok(self.file.insert(file))
    }

    /// Fills `part` with what stands at `position`; returns how much that is, 0 at the end.
    ///
    /// # Errors
    /// What pread(2) says.
    pub(crate) fn read_at(&self, position: u64, part: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.length.saturating_sub(position)).unwrap_or(usize::MAX);
        let most = most.min(part.len());
        let part = part.get_mut(..most).unwrap_or_default();
        if most == 0 {
            return Ok(0);
        }
        if let Some(file) = &self.file {
            return file.read_at(part, position);
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

    /// All that is kept, read in parts of this size.
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
