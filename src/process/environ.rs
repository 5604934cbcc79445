//! The environment that another process was started with (proc_pid_environ(5)).
//!
//! The file is not safe to read while the process is within execve(2), and two things surprised the
//! author. For a moment the process has no environment, so it seems to have cleared it. And the file
//! stays with the program that the process had when the file was opened. It ends early once that
//! program is gone, so a reader that needs two calls may get the first part only.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::thread;
use std::time::Duration;

use super::descendants::{is_alive, stack};

/// How many times retry looks at a process that is within execve(2), with a millisecond in between.
const LOOKS: usize = 100;

/// The size of the first buffer. Most environments are smaller.
const BUFFER: usize = 64 * 1024;

/// The environment of a process. It is empty if the process belongs to another user. None if the
/// process is gone or stays within execve(2).
pub(super) fn environment_of(pid: i32) -> Option<Vec<u8>> {
    for _ in 0..LOOKS {
        let before = stack(pid);
        match read_at_once(|| File::open(format!("/proc/{pid}/environ"))) {
            Ok(environment) if !environment.is_empty() => return Some(environment),
            Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound) => {
                return is_alive(pid).then(Vec::new);
            }
            // A process has no environment for a moment within execve(2), and a process that exits
            // loses its environment before it is dead.
            Ok(_) | Err(_) => {}
        }
        let after = stack(pid)?;
        if after != 0 && before == Some(after) {
            return Some(Vec::new());
        }
        thread::sleep(Duration::from_millis(1));
    }
    None
}

/// Reads a file with one call. If the buffer is too small, opens the file again and reads all of it
/// with a larger buffer.
fn read_at_once<F: Read>(mut open: impl FnMut() -> io::Result<F>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; BUFFER];
    loop {
        let length = open()?.read(&mut bytes)?;
        if length < bytes.len() {
            bytes.truncate(length);
            return Ok(bytes);
        }
        bytes.resize(2 * length, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A process with this environment. It calls execve(2) when it has read a line.
    struct Shell(Child);

    impl Shell {
        fn new(environment: &[(&str, &str)]) -> Self {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", "read line; exec sleep 300"]).stdin(Stdio::piped());
            let shell = Self(shell.env_clear().envs(environment.iter().copied()).spawn().unwrap());
            // The parent of vfork(2) goes on before the new program has its environment.
            while std::fs::read(shell.file()).unwrap().is_empty() {
                thread::sleep(Duration::from_millis(1));
            }
            shell
        }

        fn file(&self) -> String {
            format!("/proc/{}/environ", self.0.id())
        }

        /// Lets the process call execve(2), and waits until it has.
        fn exec(&mut self) {
            if let Some(mut line) = self.0.stdin.take() {
                line.write_all(b"\n").unwrap();
            }
            let name = format!("/proc/{}/comm", self.0.id());
            while std::fs::read_to_string(&name).unwrap() != "sleep\n" {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    impl Drop for Shell {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// A file whose process calls execve(2) after the first read.
    struct Replaced<'a> {
        file: File,
        shell: &'a mut Shell,
    }

    impl Read for Replaced<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.file.read(buffer)?;
            self.shell.exec();
            Ok(length)
        }
    }

    #[test]
    fn an_environment_is_whole_even_if_the_process_calls_execve_while_it_is_read() {
        let mut shell = Shell::new(&[("A", &"a".repeat(100)), ("LAST", "1")]);
        let file = File::open(shell.file()).unwrap();
        let mut replaced = Some(Replaced { file, shell: &mut shell });
        let environment = read_at_once(|| Ok(replaced.take().unwrap())).unwrap();
        assert!(environment.windows(7).any(|entry| entry == b"LAST=1\0"), "{environment:?}");
    }

    #[test]
    fn a_long_environment_is_read_whole() {
        let part = "a".repeat(BUFFER - 10);
        let shell = Shell::new(&[("A", &part), ("B", &part), ("C", &part), ("LAST", "1")]);
        let environment = environment_of(i32::try_from(shell.0.id()).unwrap()).unwrap();
        assert!(environment.len() > 3 * part.len(), "{}", environment.len());
        assert!(environment.ends_with(b"LAST=1\0"));
    }
}
