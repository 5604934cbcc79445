//! The shared offset of a file that is stdin. retry never moves the offset back past the reads of
//! other processes.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;

use nix::fcntl::{Flock, FlockArg};

use crate::support::retry::BINARY;
use crate::support::scratch::quoted;
use crate::support::{Log, Retry, Scratch, retry};

/// The shared offset when retry begins.
const START: usize = 5;

/// A file of 1000 bytes at [`START`]. Two descriptors share one open description.
fn shared(path: &Path) -> (Stdio, File) {
    let bytes: Vec<u8> = (0..1000_u32).map(|n| b'a' + u8::try_from(n % 26).unwrap()).collect();
    fs::write(path, bytes).unwrap();
    let mut file = File::open(path).unwrap();
    file.seek(SeekFrom::Start(START as u64)).unwrap();
    (OwnedFd::from(file.try_clone().unwrap()).into(), file)
}

/// A script that reads 20 bytes, reports that in the log, and waits for the other reader.
fn reads_and_waits(log: &Log, gate: &Path, end: &str) -> String {
    format!("head -c 20 >/dev/null; {}; read go <{}; {end}", log.echo("$RETRY_ATTEMPT"), quoted(gate))
}

/// Runs this script, and reads the given number of bytes from the shared description during each
/// attempt. Returns the final offset, counted from [`START`].
fn offset_after(options: &[&str], end: &str, reads: &[usize], lock: bool) -> u64 {
    let scratch = Scratch::new();
    let (log, gate) = (scratch.log("log"), scratch.join("gate"));
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // The open does not block, because it opens the FIFO for reading and writing.
    let mut opens = File::options().read(true).write(true).open(&gate).unwrap();
    let (stdin, file) = shared(&scratch.join("file"));
    let mut held = None;
    let mut file = if lock {
        // The lock belongs to the open description, which the clone shares.
        let lock = Flock::lock(file.try_clone().unwrap(), FlockArg::LockExclusive).unwrap();
        held = Some(lock);
        file
    } else {
        file
    };
    let script = reads_and_waits(&log, &gate, end);
    let running = retry().args(["-q", "-d0"]).args(options).sh(script).stdin(stdin).spawn();
    for (n, length) in reads.iter().enumerate() {
        log.wait_for(n + 1);
        file.read_exact(&mut vec![0; *length]).unwrap();
        opens.write_all(b"go\n").unwrap();
    }
    let run = running.wait_bounded();
    run.check(log.lines().len() == reads.len(), "as many attempts");
    drop(held);
    file.stream_position().unwrap() - START as u64
}

#[test]
fn it_goes_to_the_furthest_of_the_command_and_others() {
    // The other process reads nothing, less than the command, as much, or more.
    for (others, expected) in [(0, 20), (7, 20), (20, 20), (300, 300)] {
        assert_eq!(offset_after(&["-n5"], "exit 0", &[others], false), expected, "a success, {others}");
        // A failure that is not retried also ends the run.
        assert_eq!(offset_after(&["-x3"], "exit 3", &[others], false), expected, "fatal, {others}");
    }
}

#[test]
fn others_may_read_during_any_attempt() {
    let second = "[ $RETRY_ATTEMPT = 2 ]";
    for (reads, expected) in [(&[300, 0], 300), (&[0, 300], 300), (&[100, 100], 200), (&[3, 4], 20)] {
        assert_eq!(offset_after(&["-n5"], second, reads, false), expected, "{reads:?}");
    }
    // The last attempt uses the shared description itself, unless other processes have moved its
    // offset.
    for (reads, expected) in [(&[300, 0], 300), (&[300, 50], 350), (&[0, 0], 20), (&[0, 300], 320)] {
        assert_eq!(offset_after(&["-n2"], "exit 3", reads, false), expected, "the last, {reads:?}");
    }
}

#[test]
fn others_may_read_during_a_wait_where_only_the_shared_description_will_do() {
    // The command may rely on its lock, so it gets the shared description. retry resets the offset
    // for each attempt.
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let (stdin, mut file) = shared(&scratch.join("file"));
    let lock = Flock::lock(file.try_clone().unwrap(), FlockArg::LockExclusive).unwrap();
    let script = format!("head -c 20 >/dev/null; {}; [ $RETRY_ATTEMPT = 2 ]", log.echo("$RETRY_ATTEMPT"));
    let running = retry().args(["-d0.5", "-jnone"]).sh(script).stdin(stdin).spawn();
    running.wait_for_stderr("next in");
    file.read_exact(&mut vec![0; 300]).unwrap();
    running.wait_bounded().code(0);
    assert_eq!(log.lines(), ["1", "2"]);
    assert_eq!(file.stream_position().unwrap(), START as u64 + 320);
    drop(lock);
    assert_eq!(offset_after(&["-n3"], "exit 3", &[0, 0, 0], true), 20);
}

#[test]
fn a_command_that_goes_back_takes_the_offset_back() {
    need!("python3");
    let scratch = Scratch::new();
    let (stdin, mut file) = shared(&scratch.join("file"));
    let rewinds = "import os; os.lseek(0, 2, os.SEEK_SET)";
    retry().args(["python3", "-c", rewinds]).stdin(stdin).run().code(0);
    assert_eq!(file.stream_position().unwrap(), 2);
}

#[test]
fn a_shell_loop_with_commands_in_the_background_reads_each_line_once() {
    need!("dash");
    let scratch = Scratch::new();
    let lines = scratch.file("lines", "1\n2\n3\n4\n5\n6\n");
    let script = format!(
        "exec 3<{0}; read x <&3
         {BINARY} -- sh -c 'echo >{1}; until [ -e {2} ]; do sleep 0.01; done' <&3 &
         until [ -e {1} ]; do sleep 0.01; done
         for n in 1 2 3; do read x <&3; done; touch {2}; wait; read x <&3; echo $x",
        quoted(&lines),
        scratch.join("up").display(),
        scratch.join("go").display()
    );
    // The loop reads on while a command runs. No line comes twice.
    for shell in ["bash", "dash"] {
        let _ = (fs::remove_file(scratch.join("up")), fs::remove_file(scratch.join("go")));
        Retry::new(shell).args(["-c", &script]).run().code(0).silent().stdout("5\n");
    }
}
