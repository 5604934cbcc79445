//! Directories for single tests, and files to which commands append lines.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::process;

/// A directory for one test, which is removed on drop.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Creates a new, empty directory.
    #[must_use]
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        loop {
            let name = format!("retry-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            match fs::create_dir(&path) {
                Ok(()) => return Self { path },
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => panic!("{} cannot be made: {e}", path.display()),
            }
        }
    }

    /// The path of the directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of `name` in the directory.
    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file and returns its path.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Writes an executable and returns its path.
    ///
    /// Another process writes the file. If we had it open for writing, a command that another
    /// thread starts at that moment could inherit our descriptor, and execve(2) would fail with
    /// ETXTBSY.
    pub(crate) fn script(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        let mut writer = Command::new("sh")
            .args(["-c", r#"cat >"$0" && chmod 755 "$0""#])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        writer.stdin.take().unwrap().write_all(content.as_ref()).unwrap();
        assert!(writer.wait().unwrap().success());
        path
    }

    /// Creates an empty log in the directory.
    pub(crate) fn log(&self, name: &str) -> Log {
        Log { path: self.file(name, "") }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A file to which commands append lines.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    path: PathBuf,
}

impl Log {
    /// The path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The shell command that appends `words`. The shell expands `words` as in double quotes.
    pub(crate) fn echo(&self, words: &str) -> String {
        format!("echo \"{words}\" >>{}", quoted(&self.path))
    }

    /// Appends a line.
    pub(crate) fn append(&self, line: &str) {
        let mut file = OpenOptions::new().append(true).open(&self.path).unwrap();
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// The complete lines so far. A line without its newline does not count yet.
    pub(crate) fn lines(&self) -> Vec<String> {
        let bytes = fs::read(&self.path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
    }

    /// Waits until there are at least `n` lines, and returns all lines.
    #[track_caller]
    pub(crate) fn wait_for(&self, n: usize) -> Vec<String> {
        let end = Instant::now() + process::PATIENCE;
        loop {
            let lines = self.lines();
            if lines.len() >= n {
                return lines;
            }
            assert!(Instant::now() < end, "waited in vain for {n} lines; there are {lines:?}");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Quotes a path as one word for the shell.
pub(crate) fn quoted(path: impl AsRef<Path>) -> String {
    format!("'{}'", path.as_ref().to_str().unwrap().replace('\'', r"'\''"))
}
mod tests {
    use super::*;
    use crate::support::retry::Retry;
    use crate::support::run::tests::sh;

    #[test]
    fn a_scratch_directory_goes_with_its_owner() {
        let scratch = Scratch::new();
        let script = scratch.script("x", "#!/bin/sh\necho \"$1\"\n");
        Retry::new(&script).arg("runs").run().code(0).stdout("runs\n");
        let log = scratch.log("it's");
        sh(&log.echo("$HOME a")).env("HOME", "/h").run().code(0).silent();
        log.append("b");
        assert_eq!(log.wait_for(2), ["/h a", "b"]);
        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists());
    }
}
