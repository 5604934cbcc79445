//! Two hosts that share a breaker: one is this network namespace, the other a namespace without any
//! network. Both reach the server by its socket.

use crate::support::redis::{Redis, program};
use crate::support::retry::BINARY;
use crate::support::*;

/// A server with a socket, and the URL of the socket.
fn server() -> Option<(Redis, String)> {
    let program = program()?;
    let server = Redis::start(&program, &["--unixsocket", "socket"]);
    let url = format!("redis+unix://{}", server.scratch.join("socket").display());
    let can_unshare = Retry::new("unshare").args(["--net", "true"]).run().status.code() == Some(0);
    can_unshare.then_some((server, url))
}

/// An attempt on the first or on the second host.
fn attempt(server: &Redis, url: &str, second: bool, script: &str) -> Run {
    let options =
        ["-n1", "--breaker", "b", "--breaker-failures", "3", "--state", url, "--", "sh", "-c", script];
    for _ in 0..20 {
        let run = match second {
            true => Retry::new("unshare").args(["--net", BINARY]).args(options),
            false => retry().args(options),
        };
        let run = run.env("XDG_STATE_HOME", server.scratch.path()).run();
        // On a very busy machine a run may get no answer in time.
        if !run.stderr.contains("no answer within ") {
            return run;
        }
    }
    panic!("no run was served");
}

#[test]
fn one_bad_host_does_not_open_the_breaker_for_others() {
    let Some((server, url)) = server() else { return };
    attempt(&server, &url, true, "exit 0").code(0);
    for _ in 0..5 {
        attempt(&server, &url, false, "exit 7").code(7);
    }
    assert_eq!(server.state("b"), "closed");
    assert_eq!(server.failures("b"), 5);
    // The failure of another host shows that it is the service.
    attempt(&server, &url, true, "exit 7").code(7);
    assert_eq!(server.state("b"), "open");
    attempt(&server, &url, false, "exit 0").code(75);
    attempt(&server, &url, true, "exit 0").code(75);
}

#[test]
fn a_host_that_is_alone_opens_the_breaker() {
    let Some((server, url)) = server() else { return };
    for _ in 0..3 {
        attempt(&server, &url, true, "exit 7").code(7);
    }
    assert_eq!(server.state("b"), "open");
}
