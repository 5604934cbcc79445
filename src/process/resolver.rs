//! The addresses of a host, within a limit of time.
//!
//! getaddrinfo(3) has no limit: with a dead name server it waits for half a minute. A helper
//! process makes the call, and dies at the limit. A thread could not be ended. It would still be
//! there when the next command starts.
//!
//! In a static program, getaddrinfo(3) may load libraries of another version of the C library
//! (nsswitch.conf(5)), and crash. There the helper becomes getent(1) of the system, which asks the
//! same sources. It makes the call itself only if there is no getent.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdout, execv, fork, pipe2};

use super::reap::reap;
use super::signal::pending::end_is_pending;
use crate::clock::now;

/// A waiting run looks this often for a signal that ends it.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The most addresses that are used.
const MOST: usize = 8;

/// The addresses of a host, found in this time at most. A signal that ends the run ends the search.
///
/// # Errors
/// Why there are none, in words.
pub(crate) fn resolve(host: &str, port: u16, within: Duration) -> Result<Vec<SocketAddr>, String> {
    let until = now().saturating_add(within);
    let (answer, out) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| errno.desc().to_owned())?;
    // SAFETY: the child makes a few calls and leaves. It may allocate: the C library makes
    // malloc(3) safe after fork(2), and no other thread of this process holds a lock that it needs.
    let child = match unsafe { fork() }.map_err(|errno| errno.desc().to_owned())? {
        ForkResult::Child => {
            drop(answer);
            find(host, port, File::from(out))
        }
        ForkResult::Parent { child } => child,
    };
    drop(out);
    let mut answer = File::from(answer);
    let mut text = String::new();
    let read = loop {
        let left = until.saturating_sub(now());
        if left.is_zero() || end_is_pending() {
            break None;
        }
        let slice = u16::try_from(left.min(LOOK_EVERY).as_millis()).unwrap_or(u16::MAX).max(1);
        // The answer is small, and comes in one piece.
        match poll(&mut [PollFd::new(answer.as_fd(), PollFlags::POLLIN)], PollTimeout::from(slice)) {
            Ok(0) | Err(_) => {}
            Ok(_) => break answer.read_to_string(&mut text).ok(),
        }
    };
    end(child);
    match (read, text.strip_prefix('!')) {
        (None, _) => Err("no answer of the name servers in time".to_owned()),
        (Some(_), Some(why)) => Err(why.to_owned()),
        (Some(_), None) => Ok(addresses(&text, port)),
    }
}

/// The addresses in the lines of `getent ahosts`: an address, the type of a socket, a name.
fn addresses(text: &str, port: u16) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        (words.next()? == "STREAM").then_some(SocketAddr::new(address, port))
    };
    text.lines().filter_map(address).take(MOST).collect()
}

/// The child: writes the addresses as `getent ahosts` does, or `!` and the reason why there are
/// none.
fn find(host: &str, port: u16, mut out: File) -> ! {
    // SAFETY: plain system calls. The first one asks for a signal at retry's death.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if cfg!(all(target_env = "gnu", target_feature = "crt-static")) {
        become_getent(host, &out);
    }
    let text = match (host, port).to_socket_addrs() {
        Ok(addresses) => {
            addresses.map(|address| format!("{} STREAM\n", address.ip())).collect::<Vec<_>>().concat()
        }
        Err(error) => format!("!{}", reason(&error.to_string())),
    };
    let _ = out.write_all(text.as_bytes());
    // SAFETY: the child leaves without the handlers of the parent's exit.
    unsafe { libc::_exit(0) }
}

/// Becomes getent(1), which writes into `out`. Returns if there is no such program.
fn become_getent(host: &str, out: &File) {
    let Ok(host) = CString::new(host) else { return };
    let arguments = [c"getent", c"ahosts", c"--", &host];
    let silent = open("/dev/null", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty());
    let redirected = dup2_stdout(out).and(silent).and_then(|silent| dup2_stderr(&silent));
    if redirected.is_ok() {
        for program in [c"/usr/bin/getent", c"/bin/getent"] {
            // An error of the call is the only way back.
            let _ = execv(program, &arguments);
        }
    }
}

/// The words of getaddrinfo(3), without those of the standard library before them.
fn reason(error: &str) -> &str {
    error.rsplit(": ").next().unwrap_or(error)
}

/// Kills the child, and waits for its end.
fn end(child: Pid) {
    let _ = nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL);
    reap(child.as_raw());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_the_lines_of_getent() {
        let text =
            "::1             STREAM localhost\n::1             DGRAM  \n127.0.0.1       STREAM\nx STREAM\n\n";
        let found: Vec<String> = addresses(text, 7).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["[::1]:7", "127.0.0.1:7"]);
    }

    #[test]
    fn a_host_has_addresses_or_a_reason() {
        let found = resolve("localhost", 7, Duration::from_secs(10)).unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 7), "{found:?}");
        assert!(!found.is_empty());
        // getent gives no reason.
        let none = resolve("a..b", 7, Duration::from_secs(10));
        assert!(none.map_or_else(|why| !why.is_empty(), |found| found.is_empty()));
        let why = resolve("localhost", 7, Duration::ZERO).unwrap_err();
        assert_eq!(why, "no answer of the name servers in time");
    }
}
