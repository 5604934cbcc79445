//! If output of a command is lost, retry reports the loss or fails, whichever stream a rule needs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::pipe::full_pipe;
use crate::support::retry::BINARY;
use crate::support::scratch::quoted;
use crate::support::{Retry, Scratch, retry};

/// A limit well below the sleeps of the commands here, and far above the needs of a busy machine.
const BOUNDED: Duration = Duration::from_secs(40);

/// Options that watch stderr, stdout or both. No rule matches.
const RULES: [&[&str]; 5] = [
    &["-p", "curl"],
    &["-r", "stderr~never"],
    &["-x", "stdout~never"],
    &["-u", "output~^done$"],
    &["-x", "http:499"],
];

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

/// Sends both streams to one place, like `>... 2>&1` in the shell.
fn both(run: Retry, to: impl Into<std::os::fd::OwnedFd>) -> Retry {
    let to = to.into();
    run.stdout(to.try_clone().unwrap()).stderr(to)
}

#[test]
fn a_full_disk_under_both_streams_is_no_success() {
    for rule in RULES {
        for script in ["echo done", "echo done >&2", "seq 200000; echo done"] {
            let run = retry().args(rule).arg("-d0").sh(script);
            let run = both(run, full()).run();
            run.check(run.status.code() == Some(125), &format!("125 for {rule:?} and {script}"));
        }
    }
    // The same holds for two open descriptions of one file.
    let run = retry().args(["-p", "curl"]).sh("echo done").stdout(full()).stderr(full()).run();
    run.code(125);
    // If only stdout is lost, retry reports the reason.
    for rule in RULES.into_iter().filter(|rule| !rule[1].starts_with("stderr") && rule[0] != "-p") {
        let run = retry().args(rule).sh("echo done").stdout(full()).run();
        run.code(125).says(&["retry: cannot write to stdout: No space left on device"]);
    }
}

#[test]
fn a_file_that_may_grow_no_further_is_no_success() {
    let scratch = Scratch::new();
    let log = scratch.join("log");
    for rule in ["-p curl", "-r stderr~never", "-x stdout~never"] {
        // The limit is 512 or 1024 bytes, depending on the shell.
        let script = format!("ulimit -f 1; exec {BINARY} {rule} -- seq 10000 >{} 2>&1", quoted(&log));
        Retry::new("sh").args(["-c", &script]).run().code(125);
        let kept = fs::read(&log).unwrap();
        assert!(!kept.is_empty() && kept.len() <= 1024 && kept.starts_with(b"1\n2\n3\n"), "{rule}");
    }
}

#[test]
fn a_full_disk_under_stderr_alone_stops_nothing_and_is_no_success() {
    let scratch = Scratch::new();
    for rule in [&["-p", "curl"][..], &["-r", "stderr~never", "-r", "failure"], &["-x", "output~never"]] {
        // Each attempt runs to its end, and the failure keeps its status.
        let log = scratch.log("attempts");
        let script = format!("{}; seq 200000 >&2; echo out; exit 7", log.echo("$RETRY_ATTEMPT"));
        let run = retry().args(rule).args(["-n2", "-d0"]).sh(&script).stderr(full()).run();
        run.code(7).stdout("out\nout\n");
        assert_eq!(log.lines(), ["1", "2"]);
    }
    // A success would hide the loss of the command's messages.
    for script in
        ["echo err >&2; echo done", "[ $RETRY_ATTEMPT = 2 ] || { echo err >&2; exit 7; }; echo done"]
    {
        let run = retry().args(["-p", "curl", "-d0"]).sh(script).stderr(full()).run();
        run.code(125).stdout("done\n");
    }
    // If the command wrote nothing to stderr, nothing is lost.
    retry().args(["-p", "curl"]).sh("echo done").stderr(full()).run().code(0).stdout("done\n");
    // The same holds with --hold.
    let run = retry().args(["-p", "curl", "--hold"]).sh("echo err >&2; echo done").stderr(full()).run();
    run.code(125).stdout("done\n");
}

/// Reads a little at a time, with pauses.
fn slowly(mut reader: PipeReader, length: usize, pause: Duration) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let (mut all, mut part) = (Vec::new(), vec![0; length]);
        loop {
            match reader.read(&mut part).unwrap() {
                0 => return all,
                length => all.extend_from_slice(&part[..length]),
            }
            thread::sleep(pause);
        }
    })
}

/// More than the pipe to the reader holds, and less than that pipe and the command's pipe hold
/// together.
const LENGTH: usize = 120_000;

#[test]
fn a_slow_reader_gets_all_that_was_written_before_a_limit() {
    let writes = format!("head -c {LENGTH} /dev/zero | tr '\\0' x");
    let ends = format!("{writes}; exit 0");
    let stays = format!("{writes}; exec sleep 600");
    let mut all = Vec::new();
    for (limit, script, status) in [
        ("--timeout=0.5", &ends, 0),
        ("--deadline=0.5", &ends, 0),
        ("--timeout=0.5", &stays, 124),
        ("--deadline=0.5", &stays, 124),
    ] {
        for rule in ["stderr~never", "stdout~never"] {
            let (reader, writer) = io::pipe().unwrap();
            let run = retry().args(["-n1", "--kill-after=0", limit, "-x", rule]).sh(script);
            let running = both(run, writer).limit(BOUNDED).spawn();
            let reader = slowly(reader, 8192, Duration::from_millis(80));
            all.push((format!("{limit} {rule} {script}"), status, running, reader));
        }
    }
    for (what, status, running, reader) in all {
        let run = running.wait_bounded();
        run.check(run.status.code() == Some(status), &what);
        let read = reader.join().unwrap();
        let count = memchr::memchr_iter(b'x', &read).count();
        assert!(count >= LENGTH, "{what}: {count} bytes");
        assert!(!String::from_utf8_lossy(&read).contains("did not read all of it"), "{what}");
    }
}

#[test]
fn a_signal_leaves_time_for_what_was_written() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let (reader, writer) = io::pipe().unwrap();
    let script = format!("head -c {LENGTH} /dev/zero; {}; exec sleep 600", log.echo("up"));
    let running = both(retry().args(["-p", "curl"]).sh(script), writer).limit(BOUNDED).spawn();
    log.wait_for(1);
    running.signal(Signal::SIGTERM);
    let reader = slowly(reader, 8192, Duration::from_millis(30));
    let run = running.wait_bounded();
    run.check(run.status.signal() == Some(Signal::SIGTERM as i32), "death by TERM");
    let all = reader.join().unwrap();
    assert_eq!(memchr::memchr_iter(0, &all).count(), LENGTH);
}

#[test]
fn what_a_stopped_reader_never_takes_is_told() {
    // A success becomes a failure, and a failure keeps its status. The loss is reported if stderr
    // has a reader.
    let unread = "the command has ended, but the reader of its stdout did not read all of it";
    let limited = |rule| retry().args(["--timeout=0.3", "--kill-after=0", "-x", rule]).limit(BOUNDED);
    let mut all = Vec::new();
    for (rule, shared) in [("stderr~never", true), ("stdout~never", true), ("stdout~never", false)] {
        for (script, status) in [("echo x", 125), ("echo x; exit 7", 7), ("echo x; exec sleep 600", 124)] {
            let (reader, writer) = full_pipe();
            let run = limited(rule).arg("-n1").sh(script);
            let running = if shared { both(run, writer) } else { run.stdout(writer) }.spawn();
            all.push((format!("{rule} {script}"), status, shared, running, reader));
        }
    }
    // The attempt that was cut is not the last attempt, but its output is still missing.
    let (reader, writer) = full_pipe();
    let script = "[ $RETRY_ATTEMPT = 2 ] && exit 0; echo x; exec sleep 600";
    let run = limited("stdout~never").arg("-d0").sh(script).stdout(writer);
    all.push((script.to_owned(), 125, false, run.spawn(), reader));
    // The same holds for stderr. Without a limit the command and retry would wait for the reader.
    for (script, status) in [("echo x >&2", 125), ("echo x >&2; exit 7", 7)] {
        let (reader, writer) = full_pipe();
        all.push((
            script.to_owned(),
            status,
            true,
            limited("stderr~never").arg("-n1").sh(script).stderr(writer).spawn(),
            reader,
        ));
    }
    for (what, status, mute, running, reader) in all {
        let run = running.wait_bounded();
        run.check(run.status.code() == Some(status), &format!("{status} for {what}"));
        run.check(mute || run.stderr.contains(unread), "it is said");
        drop(reader);
    }
}

#[test]
fn a_reader_that_has_gone_is_no_loss() {
    for rule in RULES {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let run = both(retry().args(rule).args(["-n1", "yes"]), writer).limit(BOUNDED).run();
        run.check(run.status.code() == Some(141), &format!("{rule:?}"));
    }
}
