//! Pipes in awkward states.

use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::AsFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// The flags of an open description.
pub(crate) fn flags(fd: impl AsFd) -> OFlag {
    OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).unwrap())
}

/// Makes an open description non-blocking, or blocking again.
pub(crate) fn set_nonblocking(fd: impl AsFd, yes: bool) {
    let mut new = flags(&fd);
    new.set(OFlag::O_NONBLOCK, yes);
    fcntl(&fd, FcntlArg::F_SETFL(new)).unwrap();
}

/// A pipe that has no room for another byte.
pub(crate) fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = io::pipe().unwrap();
    fill(&mut writer);
    (reader, writer)
}

/// Writes until the pipe is full.
pub(crate) fn fill(writer: &mut (impl Write + AsFd)) {
    set_nonblocking(writer.as_fd(), true);
    for size in [4096, 1] {
        loop {
            match writer.write(&vec![b'.'; size]) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    set_nonblocking(writer.as_fd(), false);
}
