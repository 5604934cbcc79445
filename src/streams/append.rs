//! Appends lines to a file of any kind, without waiting.
//!
//! Several processes may append to the same file. Each line is one write(2) to a description with
//! O_APPEND, so that a line of another process is either before it or behind it. A line that has
//! continued an unfinished line is written again. A FIFO or a terminal is opened non-blocking: if
//! it takes nothing now, the line is lost, and the run goes on.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::sys::uio::pread;
use nix::unistd::{Whence, lseek, write};

use super::descriptor::{file_kind, lift};
use super::sink::has_room;
use crate::error::errno;

/// A file that gets lines.
#[derive(Debug)]
pub(crate) struct Appender {
    path: PathBuf,
    /// None before the first line, and after an error.
    way: Option<Way>,
    /// Why a descriptor of the caller cannot be used.
    refused: Option<Errno>,
    /// Only a part of the last line was written.
    torn: bool,
}

#[derive(Debug)]
enum Way {
    /// A regular file: a description of retry's own, and another one that reads the file, if this
    /// user may.
    File { end: OwnedFd, reader: Option<OwnedFd> },
    /// Another file, in a description of retry's own.
    Own(OwnedFd),
    /// A description that the caller of retry has opened. It may block, but a pipe with room takes a
    /// line at once: a line is shorter than PIPE_BUF bytes (pipe(7)).
    Inherited(OwnedFd),
    /// The same, and it is a socket.
    Socket(OwnedFd),
}

impl Appender {
    /// The file is opened when the first line is written. A descriptor of the caller is looked for
    /// now: later, its number may be that of one of retry's own.
    pub(crate) fn new(path: PathBuf) -> Self {
        let (way, refused) = match inherited(&path).map(Way::find_inherited) {
            Some(Ok(way)) => (Some(way), None),
            Some(Err(errno)) => (None, Some(errno)),
            None => (None, None),
        };
        Self { path, way, refused, torn: false }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a line and a newline.
    ///
    /// # Errors
    /// The errors of open(2) and write(2): ENXIO if nobody reads a FIFO, EAGAIN if a pipe is full,
    /// the reason if only a part of the line had room. The next line tries again.
    pub(crate) fn line(&mut self, line: &str) -> Result<(), Errno> {
        if let Some(errno) = self.refused {
            return Err(errno);
        }
        let way = match &mut self.way {
            Some(way) => way,
            none => none.insert(Way::find(&self.path)?),
        };
        let start = if self.torn { "\n" } else { "" };
        let bytes = format!("{start}{line}\n");
        let mut written = way.write(bytes.as_bytes());
        // While other processes write, only the line itself shows what it has followed.
        if written == Ok(bytes.len()) && way.continues_a_line(bytes.len()) {
            written = way.write(bytes.as_bytes());
        }
        match written {
            Ok(length) if length == bytes.len() => {
                self.torn = false;
                Ok(())
            }
            // The rest has no room. The next line must not continue this one, and the end of the line
            // meets the error that kept the rest away.
            Ok(length) => {
                self.torn |= length > start.len();
                let ended = way.write(b"\n");
                self.torn &= ended.is_err();
                Err(ended.err().unwrap_or(Errno::ENOSPC))
            }
            Err(Errno::EAGAIN) => Err(Errno::EAGAIN),
            Err(errno) => {
                if inherited(&self.path).is_none() {
                    self.way = None;
                }
                Err(errno)
            }
        }
    }
}

impl Way {
    fn find(path: &Path) -> Result<Self, Errno> {
        let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | NEVER_WAIT;
        let mode = Mode::from_bits_truncate(0o644);
        let end = open(path, flags, mode).and_then(lift)?;
        let stat = fstat(&end)?;
        if file_kind(&stat) != SFlag::S_IFREG {
            return Ok(Self::Own(end));
        }
        let reader = open(path, OFlag::O_RDONLY | NEVER_WAIT, Mode::empty()).and_then(lift);
        let is_same = |other: &FileStat| (other.st_dev, other.st_ino) == (stat.st_dev, stat.st_ino);
        let reader = reader.ok().filter(|reader| fstat(reader).is_ok_and(|other| is_same(&other)));
        Ok(Self::File { end, reader })
    }

    /// A file that is opened again has an offset of its own, and other writers would write over its
    /// bytes. So a regular file keeps the description that all of them share.
    fn find_inherited(number: i32) -> Result<Self, Errno> {
        // SAFETY: the descriptor is only borrowed for these calls. If it is closed, they fail.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        let copy = || fd.try_clone_to_owned().map_err(|error| errno(&error));
        match file_kind(&fstat(fd)?) {
            SFlag::S_IFREG => copy().map(Self::Inherited),
            SFlag::S_IFSOCK => copy().map(Self::Socket),
            _ => {
                let path = format!("/proc/self/fd/{number}");
                let flags = OFlag::O_WRONLY | NEVER_WAIT;
                match open(path.as_str(), flags, Mode::empty()).and_then(lift) {
                    Ok(own) => Ok(Self::Own(own)),
                    Err(Errno::ENXIO) => Err(Errno::ENXIO),
                    Err(_) => copy().map(Self::Inherited),
                }
            }
        }
    }

    /// Whether the `length` bytes that were just written follow an unfinished line. Another program
    /// may have left it, for example because the disk was full. No if that cannot be seen.
    ///
    /// To look at the end of the file before writing would tell less: while another process writes
    /// a line across two pages, the file ends in the middle of the line.
    fn continues_a_line(&self, length: usize) -> bool {
        let Self::File { end, reader: Some(reader) } = self else { return false };
        // write(2) to a description with O_APPEND leaves its offset behind the bytes.
        let before = lseek(end, 0, Whence::SeekCur)
            .ok()
            .zip(i64::try_from(length).ok())
            .map(|(offset, length)| offset - length - 1);
        before.filter(|before| *before >= 0).is_some_and(|before| unfinished_at(reader, before))
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        loop {
            let written = match self {
                Self::File { end: fd, .. } | Self::Own(fd) => write(fd, bytes),
                Self::Inherited(fd) if !has_room(fd.as_fd()) => Err(Errno::EAGAIN),
                Self::Inherited(fd) => write(fd, bytes),
                Self::Socket(fd) => {
                    send(fd.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)
                }
            };
            if written != Err(Errno::EINTR) {
                return written;
            }
        }
    }
}

/// Appends a text with one write(2) to a regular file that exists, unless the file would then be
/// longer than `most`. The text begins on a new line.
///
/// # Errors
/// ENOENT, EFBIG, and the other errors of open(2) and write(2).
pub(crate) fn append_to_existing(path: &Path, text: &str, most: u64) -> Result<(), Errno> {
    let file = open(path, OFlag::O_RDWR | OFlag::O_APPEND | NEVER_WAIT, Mode::empty()).and_then(lift)?;
    let stat = fstat(&file)?;
    if file_kind(&stat) != SFlag::S_IFREG {
        return Err(Errno::EINVAL);
    }
    let start = if has_unfinished_line(&file, &stat) { "\n" } else { "" };
    let bytes = format!("{start}{text}");
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if u64::try_from(stat.st_size).unwrap_or(u64::MAX).saturating_add(length) > most {
        return Err(Errno::EFBIG);
    }
    write(&file, bytes.as_bytes()).map(|_| ())
}

/// Whether another program has left a line without its end.
fn has_unfinished_line(file: &OwnedFd, stat: &FileStat) -> bool {
    stat.st_size > 0 && unfinished_at(file, stat.st_size - 1)
}

/// Whether a line goes on behind this byte. No if the file cannot be read.
fn unfinished_at(file: &OwnedFd, offset: i64) -> bool {
    let mut byte = [b'\n'];
    pread(file, &mut byte, offset).is_ok() && byte != [b'\n']
}

/// Neither open(2) nor write(2) waits, and a terminal does not become the controlling one.
const NEVER_WAIT: OFlag = OFlag::O_NONBLOCK.union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);

/// The number in `/dev/fd/3`, `/proc/self/fd/3` or `/dev/stdout`: the name of a descriptor that is
/// open already (proc_pid_fd(5)).
pub(crate) fn inherited(path: &Path) -> Option<i32> {
    match path.to_str()? {
        "/dev/stdin" => Some(0),
        "/dev/stdout" => Some(1),
        "/dev/stderr" => Some(2),
        path => path.strip_prefix("/dev/fd/").or_else(|| path.strip_prefix("/proc/self/fd/"))?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_name_a_descriptor() {
        for (path, number) in [
            ("/dev/fd/3", Some(3)),
            ("/proc/self/fd/12", Some(12)),
            ("/dev/stdout", Some(1)),
            ("/dev/stderr", Some(2)),
            ("/dev/fd/x", None),
            ("/dev/null", None),
            ("fd/3", None),
        ] {
            assert_eq!(inherited(Path::new(path)), number, "{path}");
        }
    }

    #[test]
    fn a_closed_descriptor_and_a_full_device_are_errors() {
        let mut closed = Appender::new("/dev/fd/987".into());
        assert_eq!(closed.line("x"), Err(Errno::EBADF));
        let mut full = Appender::new("/dev/full".into());
        assert_eq!(full.line("x"), Err(Errno::ENOSPC));
        assert_eq!(full.line("x"), Err(Errno::ENOSPC));
    }
}
