//! The descriptors that the command gets in place of retry's own standard streams.

use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};

use crate::policy::stream::Streams;

/// The standard streams of the command that one descriptor becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Becomes {
    Stdin,
    Output(Streams),
}

/// A descriptor that becomes standard streams of the command.
#[derive(Debug)]
pub(crate) struct Redirection {
    fd: OwnedFd,
    becomes: Becomes,
}

impl Redirection {
    pub(crate) fn new(fd: OwnedFd, becomes: Becomes) -> Self {
        Self { fd, becomes }
    }

    /// The pairs of old and new number for dup2(2).
    pub(crate) fn duplications(&self) -> impl Iterator<Item = (RawFd, RawFd)> {
        let fd = self.fd.as_raw_fd();
        self.becomes.numbers().iter().map(move |number| (fd, *number))
    }
}

impl Becomes {
    fn numbers(self) -> &'static [RawFd] {
        match self {
            Self::Stdin => &[libc::STDIN_FILENO],
            Self::Output(Streams::Stdout) => &[libc::STDOUT_FILENO],
            Self::Output(Streams::Stderr) => &[libc::STDERR_FILENO],
            Self::Output(Streams::Both) => &[libc::STDOUT_FILENO, libc::STDERR_FILENO],
        }
    }
}
