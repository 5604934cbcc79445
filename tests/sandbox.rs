//! Features that a sandbox removes or changes: time namespaces, seccomp filters, and a /proc that
//! hides processes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::process::{self, Doomed};
use crate::support::records::Records;
use crate::support::retry::BINARY;
use crate::support::{Log, Retry, Run, Scratch, each, retry};

/// retry in a time namespace whose time since boot is ahead by this many seconds, or `None` if that
/// is not permitted.
fn in_time_namespace(records: &Records, ahead: &str) -> Option<Retry> {
    let unshare = || Retry::new("unshare").args(["--time", "--boottime", ahead, "--fork"]);
    (unshare().arg("true").run().status.code() == Some(0))
        .then(|| unshare().arg(BINARY).env("RETRY_STATE", records.directory()))
}

#[test]
fn runs_in_different_time_namespaces_share_a_record() {
    let options = ["-n1", "--breaker", "b", "--breaker-failures", "1", "--breaker-cooldown", "100"];
    for ahead in ["100000", "-3"] {
        for opened_there in [false, true] {
            let records = Records::new();
            let Some(there) = in_time_namespace(&records, ahead) else { return };
            let here = records.retry();
            let (first, second) = if opened_there { (there, here) } else { (here, there) };
            first.args(options).sh("exit 7").run().code(7);
            // The wall clock in the record must not influence the remaining time.
            records.edit("b", |record| record["clock"]["unix_ms"] = 0.into());
            let opened = records.read("b");
            let run = second.args(["--breaker-status=b", "--json"]).run();
            let seen: serde_json::Value = serde_json::from_slice(&run.code(0).stdout).unwrap();
            let left = seen["next_probe_seconds"].as_f64().unwrap();
            assert!(left > 60.0 && left <= 100.0, "{ahead}: {seen}");
            let there = || in_time_namespace(&records, ahead).unwrap();
            let refused = if opened_there { records.retry() } else { there() };
            refused.args(options).sh("exit 0").run().code(75);
            assert_eq!(records.read("b"), opened, "{ahead}: its times were moved");
        }
    }
}

// Timeouts.

/// Timeouts that the test tries in turn, until one is long enough for all lines of the command.
const TIMEOUTS: [&str; 3] = ["0.5", "4", "16"];

/// Runs retry with each timeout until its command has written `lines` pids to the log. Returns that
/// run, the pids, and the processes among them that still live.
#[track_caller]
fn timed_out(lines: usize, make: impl Fn(&str, &Log) -> Retry) -> (Run, Vec<i32>, Vec<Doomed>) {
    for timeout in TIMEOUTS {
        let scratch = Scratch::new();
        fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let log = scratch.log("log");
        fs::set_permissions(log.path(), PermissionsExt::from_mode(0o666)).unwrap();
        let run = make(timeout, &log).run();
        let pids: Vec<i32> = log.lines().iter().map(|pid| pid.parse().unwrap()).collect();
        let left = pids.iter().filter(|pid| process::alive(**pid)).map(|pid| Doomed::new(*pid)).collect();
        if pids.len() >= lines {
            run.code(124);
            return (run, pids, left);
        }
    }
    panic!("its lines are missing");
}

#[test]
fn a_timeout_ends_all_of_it_where_a_filter_denies_pidfds() {
    // The shell ignores the signal, and the other process has its own session.
    let script = "trap '' TERM; echo $$ >>\"$LOG\"
        setsid sh -c 'echo $$ >>\"$LOG\"; exec sleep 300' & while :; do sleep 1; done";
    let check = |call, errno| {
        let (run, _, left) = timed_out(2, |timeout, log| {
            let options = ["-n1", "--kill-after", "0.1", "-v", "--timeout", timeout];
            retry().args(options).sh(script).env("LOG", log.path()).denying(call, errno)
        });
        run.stderr_contains("sent KILL");
        assert!(left.is_empty(), "{call} {errno}: {left:?}");
    };
    each(
        [
            (libc::SYS_pidfd_send_signal, libc::EPERM),
            (libc::SYS_pidfd_send_signal, libc::ENOSYS),
            (libc::SYS_pidfd_open, libc::EACCES),
            (libc::SYS_pidfd_open, libc::ESRCH),
        ],
        |(call, errno)| check(call, errno),
    );
}

// A /proc that hides processes of other users.

/// Copies a program with this mode, which may make the copy set-uid or unreadable.
fn install(mode: &str, from: &str, to: &Path) {
    assert!(Command::new("install").args(["-m", mode, from]).arg(to).status().unwrap().success());
}

/// A directory with the binary, a `sleep` that only root may read, and a set-uid `become-root`.
fn programs() -> Scratch {
    let folder = Scratch::new();
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    install("755", BINARY, &folder.join("retry"));
    install("711", "/usr/bin/sleep", &folder.join("sleep"));
    install("4755", "/usr/bin/setpriv", &folder.join("become-root"));
    folder
}

/// retry as a user without privileges, in a mount namespace whose /proc hides the processes of
/// other users.
fn with_hidepid(programs: &Scratch) -> Retry {
    let script = "mount -t proc -o hidepid=2 proc /proc || exit 99
        exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$0\" \"$@\"";
    Retry::new("unshare").args(["--mount", "sh", "-c", script]).arg(programs.join("retry"))
}

/// Tells whether this machine allows namespaces with set-uid programs in them.
fn can_hide(programs: &Scratch) -> bool {
    let as_root = programs.join("become-root");
    let as_root = [as_root.to_str().unwrap(), "--reuid=0", "--regid=0", "--clear-groups", "id", "-u"];
    with_hidepid(programs).arg("--").args(as_root).run().stdout == b"0\n"
}

#[test]
fn a_timeout_ends_what_proc_hides() {
    let programs = programs();
    if !can_hide(&programs) {
        return;
    }
    // /proc hides a program that its user may not read, even from that user.
    let script = "setsid \"$PROGRAMS/sleep\" 300 & echo $! >>\"$LOG\"; wait";
    let (run, _, left) = timed_out(1, |timeout, log| {
        let options = ["-n1", "--kill-after", "10", "--timeout", timeout];
        let retry = with_hidepid(&programs).args(options).sh(script);
        retry.env("LOG", log.path()).env("PROGRAMS", programs.path())
    });
    assert!(left.is_empty(), "{left:?}");
    run.stderr_contains("ended by TERM");
}

#[test]
fn a_survivor_that_proc_hides_has_its_own_pid_in_the_message() {
    let programs = programs();
    if !can_hide(&programs) {
        return;
    }
    // The leader of the group ends at the signal, but root's process in the group does not.
    let script = "\"$PROGRAMS/become-root\" --reuid=0 --regid=0 --clear-groups \
        sh -c 'echo $$ >>\"$LOG\"; exec sleep 300' & wait";
    let (run, pids, left) = timed_out(1, |timeout, log| {
        let options = ["-n2", "-d0", "--kill-after", "0.1", "--timeout", timeout];
        let retry = with_hidepid(&programs).args(options).sh(script);
        retry.env("LOG", log.path()).env("PROGRAMS", programs.path())
    });
    assert_eq!((pids.len(), left.len()), (1, 1));
    run.stderr_contains(&format!("still alive: process {} (belongs to another user)", pids[0]));
}
