//! A stdout or stderr that retry may not open again, while another process writes to it. retry must
//! never wait in a write.

use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::getuid;

use crate::support::pipe::fill;
use crate::support::process::{send, state, wait_until};
use crate::support::retry::BINARY;
use crate::support::{Retry, Running, Scratch, retry};

/// A limit far above the needs of a busy machine. A run that waits in a write never ends.
const BOUNDED: Duration = Duration::from_secs(30);

/// Takes from root the right to open files in spite of their permissions.
const POWERLESS: [&str; 3] = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"];

fn powerless() -> Retry {
    // Root may open every file, unless root lacks these capabilities.
    if getuid().is_root() { Retry::new(POWERLESS[0]).args(&POWERLESS[1..]).arg(BINARY) } else { retry() }
}

/// The same run, but strace delays its first write for a second, after retry has decided to write.
fn hesitant() -> Retry {
    let delay =
        ["-q", "-o", "/dev/null", "-e", "trace=write", "-e", "inject=write:delay_enter=1000000:when=1"];
    let run = Retry::new("strace").args(delay);
    if getuid().is_root() { run.args(POWERLESS).arg(BINARY) } else { run.arg(BINARY) }
}

/// A pipe that cannot be opened again.
fn closed_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = io::pipe().unwrap();
    fchmod(writer.as_fd(), Mode::empty()).unwrap();
    (reader, writer)
}

/// Waits until retry is delayed before a write, then fills the pipe. Returns the pid of retry.
fn take_the_room(running: &Running, writer: &mut PipeWriter) -> i32 {
    let read = |path: String| fs::read_to_string(path).unwrap_or_default();
    // The file begins with the number of the current system call (proc_pid_syscall(5)).
    let number = format!("{} ", libc::SYS_write);
    let writes = |pid: &i32| {
        // strace has other children when it starts.
        read(format!("/proc/{pid}/comm")) == "retry\n"
            && state(*pid) == Some('t')
            && read(format!("/proc/{pid}/syscall")).starts_with(&number)
    };
    let mut retry = None;
    wait_until("retry is held back before a write", || {
        // The test reads the list of children, because a walk over all processes may take long.
        let children = read(format!("/proc/{0}/task/{0}/children", running.pid()));
        retry = children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(writes);
        retry.is_some()
    });
    let retry = retry.unwrap();
    fill(writer);
    retry
}

#[test]
fn a_limit_is_kept_though_another_writer_takes_the_room() {
    need!("strace");
    let start = |limit| {
        let (reader, mut writer) = closed_pipe();
        let run = hesitant().args(["-n1", "--kill-after=0", limit, "-x", "stdout~never"]);
        let running = run.sh("echo x; exec sleep 600").stdout(writer.try_clone().unwrap());
        let running = running.limit(BOUNDED).spawn();
        take_the_room(&running, &mut writer);
        (running, reader)
    };
    for (running, reader) in ["--timeout=2", "--deadline=2"].map(start) {
        running.wait_bounded().code(124);
        drop(reader);
    }
}

#[test]
fn a_signal_is_answered_though_another_writer_takes_the_room() {
    need!("strace");
    let (reader, mut writer) = closed_pipe();
    let run = hesitant().args(["-x", "stdout~never"]).sh("echo x; exec sleep 600");
    let running = run.stdout(writer.try_clone().unwrap()).limit(BOUNDED).spawn();
    let pid = take_the_room(&running, &mut writer);
    send(pid, Signal::SIGTERM);
    running.wait_bounded().signal(Signal::SIGTERM);
    drop(reader);
}

#[test]
fn messages_wait_for_nobody_either() {
    need!("strace");
    let (reader, mut writer) = closed_pipe();
    let run = hesitant().args(["--deadline=2", "-d0", "--min-delay=10ms"]).sh("exit 3");
    let running = run.stderr(writer.try_clone().unwrap()).limit(BOUNDED).spawn();
    take_the_room(&running, &mut writer);
    let run = running.wait_bounded();
    run.check(matches!(run.status.code(), Some(3 | 124)), "the deadline ends it");
    drop(reader);
}

#[test]
fn bytes_pass_whole_through_a_pipe_that_cannot_be_opened_again() {
    let scratch = Scratch::new();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect();
    let file = scratch.file("bytes", &bytes);
    for options in [&["-x", "stdout~never"][..], &["--hold"]] {
        let (mut reader, writer) = closed_pipe();
        let running = powerless().args(options).arg("cat").arg(&file).stdout(writer).limit(BOUNDED).spawn();
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert!(read == bytes, "{options:?}");
        running.wait_bounded().code(0).silent();
    }
    // The command gets SIGPIPE after the reader has left.
    let (reader, writer) = closed_pipe();
    let running = powerless().args(["-x", "stdout~never", "yes"]).stdout(writer).limit(BOUNDED).spawn();
    drop(reader);
    running.wait_bounded().code(141);
}
