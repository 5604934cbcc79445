//! If shared state cannot be used, retry reports that before the first attempt, even with --quiet.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use crate::support::records::Records;
use crate::support::retry::BINARY;
use crate::support::{Retry, Run, Scratch, retry};

/// The command writes this to stderr, so that the test can see the messages before it.
const RAN: &str = "ran";

impl Run {
    /// Asserts that the run succeeded, and that its only message, before the first attempt, says
    /// that it continues without `what`.
    #[track_caller]
    fn continues_without(&self, what: &str, why: &str) -> &Self {
        self.code(0).says(&[&format!("retry: sh: continuing without {what}: {{*}}{why}")]);
        self.check(self.stderr.ends_with(&format!("\n{RAN}\n")), "said before the attempt")
    }
}

/// A quiet run that succeeds at once.
fn quiet(directory: &Path, options: &[&str]) -> Run {
    let run = retry().args(["-q", "--state"]).arg(directory).args(options);
    run.sh(format!("echo {RAN} >&2")).run()
}

#[test]
fn a_place_that_cannot_be_is_said_before_the_first_attempt() {
    let scratch = Scratch::new();
    let file = scratch.file("file", "x");
    symlink(scratch.join("none"), scratch.join("link")).unwrap();
    let not_a_directory = "(--state sets another directory): Not a directory";
    for (place, why) in [
        (file.clone(), not_a_directory),
        (file.join("below/it"), not_a_directory),
        ("/dev/null".into(), not_a_directory),
        ("/proc/none".into(), "No such file or directory"),
        ("/proc".into(), "No such file or directory"),
        (scratch.join("link/below"), ""),
    ] {
        let run = quiet(&place, &["--breaker", "b"]);
        run.continues_without("breaker b", why);
        // The budget is alone, in the same record as the breaker, or in another record.
        quiet(&place, &["--budget", "c=20%"]).continues_without("budget c", why);
        quiet(&place, &["--breaker", "b", "--budget", "20%"]).continues_without("breaker and budget b", why);
        if !matches!(why, "No such file or directory") {
            let run = quiet(&place, &["--breaker", "b", "--budget", "c=9/m"]);
            run.continues_without("breaker b and budget c", why);
        }
        // Several attempts print one line.
        let run = retry().args(["-q", "-n4", "-d0", "--breaker", "b", "--state"]).arg(&place);
        let run = run.sh("exit 7").run();
        run.code(7).says(&["{*}continuing without breaker b: {*}", "{*}gave up after 4 attempts{*}"]);
        // With -qq retry is silent.
        let run = retry().args(["-qq", "--breaker", "b", "--state"]).arg(&place).arg("true").run();
        run.code(0).silent();
    }
    assert!(!scratch.join("none").exists());
    assert_eq!(fs::read(&file).unwrap(), b"x");
}

#[test]
fn a_name_that_is_a_path_needs_its_directory() {
    let scratch = Scratch::new();
    let path = scratch.join("none/b");
    let name = path.to_str().unwrap();
    let run = quiet(scratch.path(), &["--breaker", name]);
    run.continues_without(&format!("breaker {name}"), "none: No such file or directory");
    assert!(!scratch.join("none").exists(), "it is not retry's to make");
    fs::create_dir(scratch.join("none")).unwrap();
    let run = quiet(scratch.path(), &["--breaker", name]);
    run.code(0).stderr("ran\n");
}

#[test]
fn a_place_that_can_be_used_is_not_spoken_of() {
    let records = Records::new();
    let deep = records.path("deep/er");
    quiet(&deep, &["--breaker", "b", "--budget", "c=20%"]).code(0).stderr("ran\n");
    // retry created the directory for its owner alone.
    assert_eq!(fs::metadata(&deep).unwrap().permissions().mode() & 0o777, 0o700);
    // Without the options retry looks at no state.
    let run = retry().env("RETRY_STATE", "/dev/null/none").arg("true").run();
    run.code(0).silent();
}

/// Runs a script in a new mount namespace. Returns `None` if that is not permitted.
fn with_mounts(script: &str) -> Option<Run> {
    let run = Retry::new("unshare").args(["--mount", "sh", "-c", script]).run();
    (run.status.code() != Some(99) && !run.stderr.starts_with("unshare")).then_some(run)
}

#[test]
fn a_file_system_that_is_read_only_is_said_before_the_first_attempt() {
    for before in ["mkdir state", "mkdir state; : >state/b.json.lock", ":"] {
        let scratch = Scratch::new();
        let script = format!(
            "cd {0} && {before} && mount --bind {0} {0} && mount -o remount,ro,bind {0} || exit 99
             exec {BINARY} -q --state {0}/state --breaker b -- sh -c 'echo {RAN} >&2'",
            scratch.path().display()
        );
        let Some(run) = with_mounts(&script) else { return };
        run.continues_without("breaker b", "Read-only file system");
    }
}

#[test]
fn a_full_file_system_is_said_before_the_first_attempt() {
    let fail = format!("{BINARY} -qq -n1 --state state --breaker b false");
    for (size, before) in [
        // No block is left, with a lock file, without a lock file, or with a record.
        ("size=64k", "mkdir state; cat /dev/zero >fill".to_owned()),
        ("size=64k", "mkdir state; : >state/b.json.lock; cat /dev/zero >fill".to_owned()),
        ("size=64k", format!("{fail}; test -s state/b.json || exit 98; cat /dev/zero >fill")),
        // No inode is left, because the root and three more are in use.
        ("size=1m,nr_inodes=4", "mkdir state; : >state/b.json.lock; : >fill".to_owned()),
    ] {
        let scratch = Scratch::new();
        let script = format!(
            "mount -t tmpfs -o {size} tmpfs {0} || exit 99
             cd {0} && {{ {before}; }} 2>/dev/null
             exec {BINARY} -q --state {0}/state --breaker b -- sh -c 'echo {RAN} >&2'",
            scratch.path().display()
        );
        let Some(run) = with_mounts(&script) else { return };
        run.continues_without("breaker b", "No space left on device");
    }
}

#[test]
fn a_name_with_no_room_for_what_stands_beside_it_is_said_before_the_first_attempt() {
    let scratch = Scratch::new();
    // The name has room for `.lock` after 248 bytes, but not for `.retry-tmp`.
    for (length, fits) in [(245, true), (248, false)] {
        let path = scratch.join("x".repeat(length));
        let name = path.to_str().unwrap();
        let run = quiet(scratch.path(), &["--breaker", name]);
        if fits {
            run.code(0).stderr("ran\n");
        } else {
            run.code(0).stderr_contains("continuing without breaker").stderr_contains("File name too long");
            run.check(run.stderr.ends_with("\nran\n"), "said before the attempt");
        }
    }
}

/// The binary as run by a user without privileges, or `None` unless root runs the test.
pub(crate) fn nobody(scratch: &Scratch) -> Option<impl Fn() -> Retry> {
    if !Uid::effective().is_root() {
        return None;
    }
    let binary = scratch.join("retry");
    let copied = Retry::new("install").args(["-m", "755", BINARY]).arg(&binary).run();
    copied.code(0);
    fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o755)).unwrap();
    Some(move || {
        let who = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        Retry::new("setpriv").args(who).arg(&binary)
    })
}

#[test]
fn what_may_not_be_written_is_said_before_the_first_attempt() {
    let scratch = Scratch::new();
    let Some(nobody) = nobody(&scratch) else { return };
    let state = scratch.join("state");
    let run = || {
        let run = nobody().args(["-q", "--breaker", "b", "--state"]).arg(&state);
        run.sh(format!("echo {RAN} >&2")).run()
    };
    let owned = |path: &Path| {
        let id = (Some(Uid::from_raw(65534)), Some(nix::unistd::Gid::from_raw(65534)));
        nix::unistd::chown(path, id.0, id.1).unwrap();
    };
    let mode =
        |path: &PathBuf, mode: u32| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    // The directory cannot be created, because its parent belongs to root.
    run().continues_without("breaker b", "Permission denied");
    fs::create_dir(&state).unwrap();
    // The directory belongs to root.
    run().continues_without("breaker b", "state (--state sets another directory): Permission denied");
    owned(&state);
    run().code(0).stderr("ran\n");
    // Each of its files may be unusable, or the directory itself although its files are usable.
    let lock = state.join("b.json.lock");
    mode(&lock, 0o400);
    run().continues_without("breaker b", "b.json.lock: Permission denied");
    mode(&lock, 0o600);
    mode(&state, 0o500);
    run().continues_without("breaker b", "state (--state sets another directory): Permission denied");
    mode(&state, 0o700);
    fs::write(state.join("b.json"), "").unwrap();
    mode(&state.join("b.json"), 0o000);
    run().continues_without("breaker b", "b.json: Permission denied");
}

#[test]
fn an_open_breaker_counts_also_for_those_who_may_only_read_it() {
    let scratch = Scratch::new();
    let Some(nobody) = nobody(&scratch) else { return };
    let state = scratch.join("state");
    retry().arg("--breaker-trip=b").arg("--state").arg(&state).run().code(0);
    fs::set_permissions(&state, PermissionsExt::from_mode(0o755)).unwrap();
    fs::set_permissions(state.join("b.json"), PermissionsExt::from_mode(0o644)).unwrap();
    let run = nobody().args(["--breaker", "b", "--state"]).arg(&state).arg("true").run();
    run.code(75).stderr_contains("not run: breaker b is open since ");
}
