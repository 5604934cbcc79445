//! The file of `--headers`, and the part of it that the command has written since its attempt
//! began.
//!
//! The command may replace the content of the file, as `curl -D FILE` does, or append to it. The
//! earlier content belongs to an earlier attempt, and must not count as an answer to this one.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// How many bytes at the end of the file are read.
const MOST: u64 = 256 * 1024;

/// A file that the command writes and retry reads.
#[derive(Debug)]
pub(crate) struct HeadersFile {
    path: PathBuf,
}

/// The file as it was when an attempt began. None if there was no file.
#[derive(Debug)]
pub(crate) struct Mark(Option<Snapshot>);

#[derive(Debug, PartialEq, Eq)]
struct Snapshot {
    /// Device and inode.
    identity: (u64, u64),
    /// The time of the last write in seconds and nanoseconds.
    written: (i64, i64),
    size: u64,
    /// At most the last [`MOST`] bytes.
    content: Vec<u8>,
}

impl HeadersFile {
    /// The file at this path, which need not exist yet.
    ///
    /// # Errors
    /// If there is something other than a regular file, or the file cannot be read.
    pub(crate) fn new(path: &Path) -> Result<Self, Error> {
        let file = Self { path: path.to_owned() };
        let hint = "name the file that the command writes the headers to, as in curl -D FILE";
        match file.open() {
            Ok(Some(_)) => Ok(file),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(file),
            Ok(None) => Err(Error::usage(format!("--headers {}: not a regular file", path.display()), hint)),
            Err(error) => Err(Error::usage(format!("--headers {}: {error}", path.display()), hint)),
        }
    }

    /// Remembers the content.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.read().ok().flatten())
    }

    /// The bytes that were written since the mark. None if the file has not changed or does not
    /// exist.
    pub(crate) fn since(&self, mark: &Mark) -> Vec<u8> {
        let Ok(Some(mut now)) = self.read() else { return Vec::new() };
        match &mark.0 {
            Some(before) if *before == now => Vec::new(),
            // The command appended to the file. If a response did not end there, it has written a
            // new file with the same beginning.
            Some(before)
                if before.identity == now.identity
                    && before.size < now.size
                    && now.size <= MOST
                    && now.content.starts_with(&before.content)
                    && ends_there(&before.content, &now.content[before.content.len()..]) =>
            {
                now.content.split_off(before.content.len())
            }
            Some(before) if before.identity == now.identity && before.size < now.size && now.size > MOST => {
                let new = usize::try_from(now.size - before.size).unwrap_or(usize::MAX);
                let old = now.content.len().saturating_sub(new);
                now.content.split_off(old)
            }
            Some(_) | None => now.content,
        }
    }

    /// Returns None if it is no regular file.
    fn open(&self) -> std::io::Result<Option<File>> {
        // Opening a FIFO would wait for a writer.
        let file =
            OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(&self.path)?;
        Ok(file.metadata()?.is_file().then_some(file))
    }

    fn read(&self) -> std::io::Result<Option<Snapshot>> {
        let Some(mut file) = self.open()? else { return Ok(None) };
        let metadata = file.metadata()?;
        let mut content = Vec::new();
        file.seek(SeekFrom::Start(metadata.len().saturating_sub(MOST)))?;
        file.take(MOST).read_to_end(&mut content)?;
        Ok(Some(Snapshot {
            identity: (metadata.dev(), metadata.ino()),
            written: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.len(),
            content,
        }))
    }
}

/// Whether a response ends with the earlier content, so that the rest is new: a blank line ends it,
/// or a status line follows.
fn ends_there(before: &[u8], rest: &[u8]) -> bool {
    before.ends_with(b"\n\n")
        || before.ends_with(b"\n\r\n")
        || (before.ends_with(b"\n") && rest.trim_ascii_start().starts_with(b"HTTP"))
        || before.is_empty()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The new part of a file that had this content and then changed.
    fn new_of(before: Option<&str>, change: impl FnOnce(&Path)) -> String {
        let directory =
            std::env::temp_dir().join(format!("retry-headers-{}-{:p}", std::process::id(), &before));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("h");
        if let Some(before) = before {
            fs::write(&path, before).unwrap();
        }
        let file = HeadersFile::new(&path).unwrap();
        let mark = file.mark();
        // The sleep is longer than a tick of the file system's clock.
        std::thread::sleep(std::time::Duration::from_millis(20));
        change(&path);
        let new = String::from_utf8(file.since(&mark)).unwrap();
        fs::remove_dir_all(&directory).unwrap();
        new
    }

    #[test]
    fn only_what_was_written_since_counts() {
        let (old, new) = ("HTTP/1.1 503 x\r\nA: b\r\n\r\n", "HTTP/1.1 404 y\r\n\r\n");
        let append = |text: &'static str| {
            move |path: &Path| {
                use std::io::Write as _;
                OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
            }
        };
        let rewrite = |text: &'static str| move |path: &Path| fs::write(path, text).unwrap();
        assert_eq!(new_of(None, |_| {}), "");
        assert_eq!(new_of(None, rewrite(new)), new);
        assert_eq!(new_of(Some(old), |_| {}), "");
        assert_eq!(new_of(Some(old), append(new)), new);
        assert_eq!(new_of(Some(old), rewrite(new)), new);
        assert_eq!(new_of(Some(old), rewrite(old)), old);
        assert_eq!(new_of(Some(old), |path| fs::remove_file(path).unwrap()), "");
        // The rewritten file begins as before and is longer.
        assert_eq!(
            new_of(Some("HTTP/1.1 404 x\r\nA: b\r\n"), rewrite("HTTP/1.1 404 x\r\nA: b\r\nC: d\r\n\r\n")),
            "HTTP/1.1 404 x\r\nA: b\r\nC: d\r\n\r\n"
        );
        assert_eq!(
            new_of(Some("HTTP/1.1 503 S"), rewrite("HTTP/1.1 503 Service\r\n\r\n")),
            "HTTP/1.1 503 Service\r\n\r\n"
        );
        // A script adds one line at a time to its log.
        assert_eq!(new_of(Some("HTTP 404\n"), append("HTTP 503\n")), "HTTP 503\n");
    }
}
