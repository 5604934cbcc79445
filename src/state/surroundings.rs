//! The few facts about processes and signals that shared state depends on.
//!
//! Watching processes and signals is the work of another part of retry on the same floor. The floor
//! above knows both, and hands these functions in.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// A system call that may wait, and that returns whether it got what it asked for.
pub(crate) type WaitingCall<'a> = dyn FnMut() -> nix::Result<bool> + 'a;

/// Finds the addresses of a host and a port, in this time at most. The error is in words.
pub(crate) type Resolve = fn(&str, u16, Duration) -> Result<Vec<SocketAddr>, String>;

/// Functions that shared state needs of the world, beyond files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings {
    /// Whether a signal that ends the run has arrived, and the run has not taken it yet.
    pub(crate) end_is_pending: fn() -> bool,
    /// Whether the process of this id is stopped. If that is unknown, the process counts as
    /// stopped.
    pub(crate) is_stopped: fn(i32) -> bool,
    /// The process ids of this process's parent, of its parent, and so on.
    pub(crate) ancestors: fn() -> Vec<u32>,
    /// Makes a call, and interrupts it (EINTR) after this time.
    pub(crate) interrupted: fn(Duration, &mut WaitingCall<'_>) -> nix::Result<bool>,
    /// Moves a descriptor above the standard streams.
    pub(crate) lift: fn(OwnedFd) -> nix::Result<OwnedFd>,
    pub(crate) resolve: Resolve,
}

#[cfg(test)]
impl Surroundings {
    /// No signal arrives, no process is stopped, and this process has no ancestors. Calls do not
    /// wait.
    pub(crate) fn none() -> Self {
        Self {
            end_is_pending: || false,
            is_stopped: |_| false,
            ancestors: Vec::new,
            interrupted: |_, _| Err(nix::errno::Errno::EINTR),
            lift: Ok,
            resolve: |_, _, _| Ok(Vec::new()),
        }
    }
}
