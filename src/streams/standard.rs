//! retry's own standard streams, which the command shares.

use std::io::{Stderr, Stdin, Stdout, stderr, stdin, stdout};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::LazyLock;

use crate::policy::stream::Stream;

/// The descriptor of a standard stream. If the caller closed the stream, each use of it gives
/// EBADF.
pub(crate) trait Standard {
    fn fd(self) -> BorrowedFd<'static>;
}

impl Standard for Stream {
    fn fd(self) -> BorrowedFd<'static> {
        static STDOUT: LazyLock<Stdout> = LazyLock::new(stdout);
        static STDERR: LazyLock<Stderr> = LazyLock::new(stderr);
        match self {
            Self::Stdout => STDOUT.as_fd(),
            Self::Stderr => STDERR.as_fd(),
        }
    }
}

/// The descriptor of standard input, under the same rule.
pub(crate) fn input() -> BorrowedFd<'static> {
    static STDIN: LazyLock<Stdin> = LazyLock::new(stdin);
    STDIN.as_fd()
}
