//! A key file that is not a key file of this user, and runs that remove the same key file at the
//! same time.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Pid, Uid, chown, mkfifo};

use crate::support::retry::BINARY;
use crate::support::scratch::quoted;
use crate::support::{Log, Retry, Run, Running, Scratch, process, retry};

/// The key of an attempt.
const KEY: &str = "$RETRY_IDEMPOTENCY_KEY";

fn option(path: &Path) -> String {
    format!("file:{}", path.display())
}

/// A run of one attempt with its key in this file.
fn run(path: &Path, script: &str) -> Run {
    retry().args(["-n1", "--idempotency-key", &option(path)]).sh(script).run()
}

/// Asserts that a run is refused before its check and its command.
#[track_caller]
fn refused(path: &Path, log: &Log, cause: &str) {
    let ran = log.echo("ran");
    let run = retry().args(["--check", &ran, "--idempotency-key", &option(path)]).sh(&ran).run();
    let lines = run.code(125).stdout("").messages();
    run.check(lines.len() == 2 && lines[0].contains(cause) && lines[0].contains("key file"), cause);
    run.check(lines[1].starts_with("retry: hint: "), "a hint");
    assert_eq!(log.lines(), [""; 0], "{cause}");
}

#[test]
fn a_link_is_not_followed_wherever_it_leads() {
    let scratch = Scratch::new();
    let (link, log) = (scratch.join("key"), scratch.log("log"));
    let target = scratch.file("target", "not-for-a-server\n");
    fs::create_dir(scratch.join("directory")).unwrap();
    for to in ["target", "none", "directory", "key", "/dev/zero", "/proc/self/environ"] {
        symlink(to, &link).unwrap();
        refused(&link, &log, "is not a regular file but a symbolic link");
        assert_eq!(fs::read_link(&link).unwrap(), Path::new(to));
        fs::remove_file(&link).unwrap();
    }
    assert!(!scratch.join("none").exists());
    // retry does not follow a link that replaces the file while the command runs.
    let script = format!("printf '%s\n' {KEY} >{0}; ln -sf {0} {1}", quoted(&target), quoted(&link));
    run(&link, &script)
        .code(0)
        .stderr_contains("a symbolic link; remove it before the next run, which needs a new key");
    assert!(link.is_symlink() && fs::read_to_string(&target).unwrap().len() == 37);
    // A link in the path to the file counts as a directory.
    symlink(scratch.path(), scratch.join("here")).unwrap();
    let path = scratch.join("here/other");
    run(&path, "exit 7").code(7);
    assert!(scratch.join("other").is_file());
    run(&path, "exit 0").code(0);
    assert!(!scratch.join("other").exists());
}

#[test]
fn what_is_no_file_is_refused_and_nothing_is_opened() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let fifo = scratch.join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    // A writer waits for a reader of the FIFO, and retry must not become that reader.
    let writer = Retry::new("sh").args(["-c", &format!("echo x >{}; echo done", quoted(&fifo))]).spawn();
    let socket = scratch.join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let places = [fifo.as_path(), &socket, scratch.path(), "/dev/zero".as_ref(), "/dev/tty".as_ref()];
    for path in places.into_iter().filter(|path| path.exists()) {
        refused(path, &log, "is not a regular file");
    }
    assert!(!writer.ended());
    assert_eq!(fs::read(&fifo).unwrap(), b"x\n");
    writer.wait_bounded().code(0).stdout("done\n");
}

/// Gives a file to a user without privileges. Returns false if that is not permitted.
fn given_away(path: &Path) -> bool {
    Uid::effective().is_root() && chown(path, Some(Uid::from_raw(65534)), Some(Gid::from_raw(65534))).is_ok()
}

#[test]
fn a_file_of_another_user_is_refused_unless_the_directory_is_theirs() {
    let scratch = Scratch::new();
    let (path, log) = (scratch.file("key", "theirs\n"), scratch.log("log"));
    if !given_away(&path) {
        return;
    }
    // The same holds in a directory like /tmp.
    for mode in [0o755, 0o1777] {
        fs::set_permissions(scratch.path(), PermissionsExt::from_mode(mode)).unwrap();
        refused(&path, &log, "belongs to another user (65534)");
        assert_eq!(fs::read(&path).unwrap(), b"theirs\n");
    }
    // Root acts for the owner of the directory.
    assert!(given_away(scratch.path()));
    run(&path, &log.echo(KEY)).code(0).stderr_contains("using the key that an earlier run kept in");
    assert_eq!(log.lines(), ["theirs"]);
    assert!(!path.exists());
}

#[test]
fn a_second_name_of_a_file_is_refused_where_others_could_have_given_it() {
    let scratch = Scratch::new();
    let (path, log) = (scratch.join("key"), scratch.log("log"));
    let target = scratch.file("target", "not-for-a-server\n");
    fs::hard_link(&target, &path).unwrap();
    for mode in [0o1777, 0o775] {
        fs::set_permissions(scratch.path(), PermissionsExt::from_mode(mode)).unwrap();
        refused(&path, &log, "has another name (a hard link)");
    }
    // If only the user can write to the directory, the second name is the user's own.
    fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o755)).unwrap();
    run(&path, &log.echo(KEY)).code(0);
    assert_eq!(log.lines(), ["not-for-a-server"]);
    assert!(!path.exists());
    assert_eq!(fs::read(&target).unwrap(), b"not-for-a-server\n");
}

/// The system calls that can remove a name.
const REMOVAL: &str = "unlink,unlinkat,rename,renameat,renameat2";

/// A run whose calls that can remove a name start with this delay in microseconds.
fn slow_remover(scratch: &Scratch, path: &Path, script: &str, delay: u32) -> Running {
    let out = scratch.join("strace");
    let inject = format!("inject={REMOVAL}:delay_enter={delay}");
    let strace = Retry::new("strace").arg("-o").arg(&out).args(["-e", &format!("trace={REMOVAL}")]);
    let run = strace.args(["-e", &inject, BINARY, "-n1", "--idempotency-key", &option(path)]);
    run.sh(script).spawn()
}

#[test]
fn a_success_leaves_the_new_key_of_another_run_alone() {
    need!("strace");
    let scratch = Scratch::new();
    let (path, log, go) = (scratch.join("key"), scratch.log("log"), scratch.join("go"));
    run(&path, "exit 7").code(7);
    let old = fs::read_to_string(&path).unwrap();
    let (waits, go) = (log.echo("waits"), quoted(&go));
    // Two runs repeat with this key and succeed. The first run removes the key slowly.
    let script = format!("{waits}; until [ -e {go} ]; do sleep 0.01; done");
    let second = retry().args(["-n1", "--idempotency-key", &option(&path)]).sh(&script).spawn();
    log.wait_for(1);
    let first = slow_remover(&scratch, &path, &log.echo("first $PPID"), 700_000);
    let pid: i32 = log.wait_for(2)[1].strip_prefix("first ").unwrap().parse().unwrap();
    process::wait_until("the first is about to remove the key", || in_a_removal(pid));
    fs::write(scratch.join("go"), "").unwrap();
    let second = second.wait_bounded();
    second.code(0).check(!second.stderr.contains("cannot"), "no word of what another run removes");
    // A third run begins another request, and fails.
    run(&path, &format!("{}; exit 7", log.echo(KEY))).code(7);
    let new = fs::read_to_string(&path).unwrap();
    assert_ne!(new, old);
    first.wait_bounded().code(0);
    assert_eq!(fs::read_to_string(&path).ok(), Some(new), "the key of the run that failed");
}

/// The current system call of a process (proc(5), /proc/PID/syscall).
fn call(pid: i32) -> Option<i64> {
    let text = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    text.split_whitespace().next().and_then(|number| number.parse().ok())
}

/// Tells whether a process is in a call that removes a name.
fn in_a_removal(pid: i32) -> bool {
    let removals = [libc::SYS_unlink, libc::SYS_unlinkat, libc::SYS_rename, libc::SYS_renameat2];
    call(pid).is_some_and(|call| removals.contains(&call))
}

#[test]
fn a_run_that_dies_while_it_removes_the_key_leaves_it_to_the_next() {
    need!("strace");
    let scratch = Scratch::new();
    let (path, log) = (scratch.join("key"), scratch.log("log"));
    run(&path, "exit 7").code(7);
    let key = fs::read_to_string(&path).unwrap();
    let dies = slow_remover(&scratch, &path, &log.echo("$PPID"), 60_000_000);
    let pid: i32 = log.wait_for(1)[0].parse().unwrap();
    process::wait_until("it is about to remove the key", || in_a_removal(pid));
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    drop(dies);
    assert_eq!(fs::read_to_string(&path).unwrap(), key);
    let run = run(&path, "exit 0");
    run.code(0).check(run.took < Duration::from_secs(5), "it waits for nobody");
    assert!(!path.exists());
}

#[test]
fn a_file_that_somebody_has_locked_is_said_to_stay() {
    let scratch = Scratch::new();
    let path = scratch.join("key");
    run(&path, "exit 7").code(7);
    let file = File::open(&path).unwrap();
    file.lock().unwrap();
    // A signal ends the wait for the lock.
    let running = retry().args(["-n1", "--idempotency-key", &option(&path)]).sh("exit 0").spawn();
    process::wait_until("it waits for the lock", || call(running.pid()) == Some(libc::SYS_clock_nanosleep));
    running.signal(Signal::SIGTERM);
    let run = running.wait_bounded();
    run.stderr_contains("cannot lock the key file").stderr_contains("remove it before the next run");
    run.check(run.took < Duration::from_secs(9), "not waited for");
    assert!(path.exists());
}
