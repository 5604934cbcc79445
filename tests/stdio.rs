//! The three standard streams in all their possible states. A run that succeeds at once does
//! nothing that the command would not do.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;

use crate::support::pipe::{fill, flags, full_pipe, set_nonblocking};
use crate::support::retry::BINARY;
use crate::support::scratch::quoted;
use crate::support::{Retry, Scratch, retry};

/// A limit well below the sleeps of the commands here, and far above the needs of a busy machine.
const BOUNDED: Duration = Duration::from_secs(40);

/// Appends the open descriptors of the current shell, one `FD NAME` per line, and a final line
/// `end`.
fn list_descriptors(log: &Path) -> String {
    let log = quoted(log);
    // The script uses no redirection and no pipe during the look, because the shell may create
    // descriptors for them.
    format!(
        "find /proc/$$/fd -mindepth 1 -fprintf {log}.$$ '%f %l\\n'; sort {log}.$$ >>{log}; echo end >>{log}"
    )
}

#[test]
fn closed_descriptors_stay_closed_and_the_status_is_the_commands() {
    for closed in 0..8 {
        let redirections: Vec<&str> = ["<&-", ">&-", "2>&-"]
            .into_iter()
            .enumerate()
            .filter_map(|(n, redirection)| (closed & (1 << n) != 0).then_some(redirection))
            .collect();
        let redirections = redirections.join(" ");
        let scratch = Scratch::new();
        // The other streams are files, so that the test can compare their names.
        let run = |wrapper: &[&str], log: &Path| {
            let outer = format!("exec \"$@\" {redirections}");
            let inner = format!("{}; exit 7", list_descriptors(log));
            Retry::new("sh")
                .args(["-c", &outer, "sh"])
                .args(wrapper)
                .args(["sh", "-c", &inner])
                .stdout(File::create(scratch.join("out")).unwrap())
                .stderr(File::create(scratch.join("err")).unwrap())
                .run()
        };
        let (plain, wrapped) = (scratch.log("plain"), scratch.log("wrapped"));
        run(&[], plain.path()).code(7);
        let run = run(&[BINARY, "-n", "2", "-d", "0"], wrapped.path());
        run.code(7);
        let plain = plain.lines();
        let open: Vec<&str> = plain.iter().filter_map(|line| line.split(' ').next()).collect();
        for fd in 0..3 {
            let is_open = open.contains(&fd.to_string().as_str());
            assert_eq!(is_open, closed & (1 << fd) == 0, "{redirections}: {plain:?}");
        }
        // Both attempts have the same descriptors.
        assert_eq!(wrapped.lines(), [&plain[..], &plain[..]].concat(), "{redirections}");
        assert_eq!(fs::read(scratch.join("out")).unwrap(), b"");
        let said = fs::read_to_string(scratch.join("err")).unwrap();
        assert_eq!(said.lines().count(), if closed & 4 == 0 { 2 } else { 0 }, "{redirections}: {said}");
    }
}

#[test]
fn a_wrong_option_ends_with_125_whatever_is_closed() {
    for redirections in ["<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"] {
        let outer = format!("exec \"$@\" {redirections}");
        let run = Retry::new("sh").args(["-c", &outer, "sh", BINARY, "--max", "0", "true"]).run();
        run.code(125).stdout("");
        let lines = if redirections.contains("2>") { 0 } else { 2 };
        run.check(run.stderr.lines().count() == lines, &format!("{lines} lines with {redirections}"));
    }
}

#[test]
fn a_full_stderr_stops_nothing() {
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let scratch = Scratch::new();
    let log = scratch.log("attempts");
    let script = format!("{}; exit 3", log.echo("$RETRY_ATTEMPT"));
    retry().args(["-v", "-n", "3", "-d", "0"]).sh(&script).stderr(full()).run().code(3);
    assert_eq!(log.lines(), ["1", "2", "3"]);
    retry().args(["--max", "0", "true"]).stderr(full()).run().code(125);
    let late = "[ $RETRY_ATTEMPT = 2 ] && echo done";
    retry().args(["-d", "0"]).sh(late).stderr(full()).run().code(0).stdout("done\n");
}

/// The kinds of stderr without a reader.
fn unread() -> [(&'static str, OwnedFd); 2] {
    let (reader, pipe) = io::pipe().unwrap();
    drop(reader);
    let (peer, socket) = UnixStream::pair().unwrap();
    drop(peer);
    [("pipe", pipe.into()), ("socket", socket.into())]
}

#[test]
fn a_stderr_whose_reader_has_gone_stops_nothing() {
    for (kind, stderr) in unread() {
        let scratch = Scratch::new();
        let log = scratch.log("attempts");
        let script = format!("{}; exit 3", log.echo("$RETRY_ATTEMPT"));
        let run = retry().args(["-v", "-n", "3", "-d", "0"]).sh(&script).stderr(stderr).run();
        run.check(run.status.code() == Some(3), kind);
        assert_eq!(log.lines(), ["1", "2", "3"], "{kind}");
    }
    for (kind, stderr) in unread() {
        let run = retry().args(["--max", "0", "true"]).stderr(stderr).run();
        run.check(run.status.code() == Some(125), kind);
    }
}

#[test]
fn a_reader_of_stderr_may_go_after_the_first_line() {
    let (reader, pipe) = io::pipe().unwrap();
    let (peer, socket) = UnixStream::pair().unwrap();
    let ways: [(&str, Box<dyn Read>, OwnedFd); 2] =
        [("pipe", Box::new(reader), pipe.into()), ("socket", Box::new(peer), socket.into())];
    for (kind, mut reader, stderr) in ways {
        let scratch = Scratch::new();
        let log = scratch.log("attempts");
        let go = scratch.join("go");
        let wait = format!("[ $RETRY_ATTEMPT = 1 ] || until [ -e {} ]; do sleep 0.02; done", quoted(&go));
        let script = format!("{}; {wait}; exit 3", log.echo("$RETRY_ATTEMPT"));
        let running = retry().args(["-n", "4", "-d", "0"]).sh(&script).stderr(stderr).spawn();
        let mut seen = Vec::new();
        while !seen.ends_with(b"\n") {
            let mut byte = [0];
            reader.read_exact(&mut byte).unwrap();
            seen.extend(byte);
        }
        drop(reader);
        fs::write(go, "").unwrap();
        let run = running.wait_bounded();
        run.check(run.status.code() == Some(3), kind);
        assert_eq!(log.lines(), ["1", "2", "3", "4"], "{kind}");
        let seen = String::from_utf8(seen).unwrap();
        assert!(seen.starts_with("retry: sh: attempt 1 of 4 exited 3; next in "), "{kind}: {seen}");
    }
}

#[test]
fn a_full_stderr_that_nobody_reads_does_not_hold_up_a_timeout() {
    let (pipe_reader, pipe) = full_pipe();
    let (peer, mut socket) = UnixStream::pair().unwrap();
    fill(&mut socket);
    let ways: [(&str, OwnedFd, OwnedFd); 2] =
        [("pipe", pipe_reader.into(), pipe.into()), ("socket", peer.into(), socket.into())];
    for (kind, reader, writer) in ways {
        let scratch = Scratch::new();
        let log = scratch.log("attempts");
        let script = format!("{}; exec sleep 600", log.echo("$RETRY_ATTEMPT"));
        let ours = writer.try_clone().unwrap();
        let run = retry()
            .args(["-v", "-n", "2", "-d", "0", "--timeout", "1"])
            .sh(&script)
            .stderr(writer)
            .limit(BOUNDED)
            .run();
        run.check(run.status.code() == Some(124), kind);
        assert_eq!(log.lines(), ["1", "2"], "{kind}");
        assert!(!flags(&ours).contains(OFlag::O_NONBLOCK), "{kind}");
        // retry added nothing, because the pipe was full all the time.
        drop(ours);
        let mut left = Vec::new();
        File::from(reader).read_to_end(&mut left).unwrap();
        assert!(left.iter().all(|byte| *byte == b'.'), "{kind}");
    }
}

#[test]
fn a_full_stderr_that_is_read_late_gets_whole_lines() {
    let (reader, writer) = full_pipe();
    let scratch = Scratch::new();
    let log = scratch.log("attempts");
    let go = scratch.join("go");
    let wait = format!("[ $RETRY_ATTEMPT = 1 ] || until [ -e {} ]; do sleep 0.02; done", quoted(&go));
    let script = format!("{}; {wait}; exit 3", log.echo("$RETRY_ATTEMPT"));
    let running = retry().args(["-n", "2", "-d", "0"]).sh(&script).stderr(writer).spawn();
    // By now the first message waits for space.
    log.wait_for(2);
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        let mut reader = reader;
        reader.read_to_end(&mut all).map(|_| all)
    });
    fs::write(go, "").unwrap();
    running.wait_bounded().code(3);
    let all = String::from_utf8(reading.join().unwrap().unwrap()).unwrap();
    let lines: Vec<&str> = all.trim_start_matches('.').lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0], "retry: sh: attempt 1 of 2 exited 3; next in 0s");
    assert!(lines[1].starts_with("retry: sh: gave up after 2 attempts in "), "{lines:?}");
}

#[test]
fn a_socket_as_stderr_gets_every_line() {
    let (mut peer, socket) = UnixStream::pair().unwrap();
    retry().args(["-n", "2", "-d", "0"]).sh("echo out; exit 3").stderr(OwnedFd::from(socket)).run().code(3);
    let mut all = String::new();
    peer.read_to_string(&mut all).unwrap();
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!(lines.len(), 2, "{all}");
    assert_eq!(lines[0], "retry: sh: attempt 1 of 2 exited 3; next in 0s");
    assert!(lines[1].starts_with("retry: sh: gave up after 2 attempts in "), "{all}");
}

#[test]
fn descriptors_keep_their_flags() {
    for nonblocking in [false, true] {
        for kind in ["pipe", "socket"] {
            let scratch = Scratch::new();
            let log = scratch.log("flags");
            let pair = || -> (OwnedFd, OwnedFd) {
                if kind == "pipe" {
                    let (reader, writer) = io::pipe().unwrap();
                    (reader.into(), writer.into())
                } else {
                    let (one, other) = UnixStream::pair().unwrap();
                    (one.into(), other.into())
                }
            };
            let [input, output, error] = [pair(), pair(), pair()];
            for fd in [&input.0, &output.1, &error.1] {
                set_nonblocking(fd, nonblocking);
            }
            let ours = [&input.0, &output.1, &error.1].map(|fd| fd.try_clone().unwrap());
            let before = ours.each_ref().map(flags);
            // The script uses no redirection, because the shell may create a descriptor for it.
            let awk = format!("/^flags:/ {{ print >>\"{}\" }}", log.path().display());
            let script = format!("cd /proc/$$/fdinfo; awk {} 0 1 2; exit 3", quoted(awk));
            let run = retry()
                .args(["-v", "-n", "2", "-d", "0", "--timeout", "60"])
                .sh(script)
                .stdin(File::from(input.0))
                .stdout(output.1)
                .stderr(error.1)
                .run();
            run.code(3);
            let seen: Vec<OFlag> = log
                .lines()
                .iter()
                .map(|line| i32::from_str_radix(line.trim_start_matches("flags:").trim(), 8).unwrap())
                .map(OFlag::from_bits_retain)
                .collect();
            let seen: Vec<bool> = seen.iter().map(|flags| flags.contains(OFlag::O_NONBLOCK)).collect();
            assert_eq!(seen, [nonblocking; 6], "{kind}");
            assert_eq!(ours.each_ref().map(flags), before, "{kind}");
        }
    }
}

#[test]
fn stdout_has_the_commands_bytes_and_no_others() {
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let run = retry().args(["-v", "cat"]).stdin(bytes.clone()).run();
    run.code(0).stdout(&bytes).silent();
    let script = "printf '%s\\n' \"$RETRY_ATTEMPT\"; echo err >&2; [ $RETRY_ATTEMPT = 3 ]";
    let run = retry().args(["-v", "-d", "0"]).sh(script).run();
    run.code(0).stdout("1\n2\n3\n").check(run.messages().len() == 3, "three messages");
    retry().args(["-v", "-n", "1", "--timeout", "0.3", "sleep", "600"]).run().code(124).stdout("");
}

/// The system calls of a run, by process.
struct Trace {
    /// The pid and the call, in order.
    calls: Vec<(i32, String)>,
}

impl Trace {
    fn of(command: &[&str]) -> Self {
        let scratch = Scratch::new();
        let out = scratch.join("trace");
        let calls = "trace=open,openat,openat2,creat,clone,clone3,fork,vfork,execve";
        let run = Retry::new("strace").args(["-f", "-o"]).arg(&out).args(["-e", calls]).args(command).run();
        run.code(0).silent();
        let text = fs::read_to_string(out).unwrap();
        let calls = text.lines().filter_map(|line| {
            let (pid, call) = line.split_once(' ')?;
            Some((pid.parse().ok()?, call.trim().to_owned()))
        });
        Self { calls: calls.collect() }
    }

    /// The files that the first process opened, except for the loader's libraries.
    fn opens(&self) -> Vec<&str> {
        let first = self.calls[0].0;
        let own = self.calls.iter().filter(|(pid, _)| *pid == first).map(|(_, call)| call.as_str());
        let opens = own.filter(|call| call.starts_with("open") || call.starts_with("creat"));
        opens.filter(|call| !call.contains("/ld.so.") && !call.contains(".so")).collect()
    }

    /// The calls that created processes or threads.
    fn made(&self) -> Vec<&str> {
        let makes = ["clone", "fork", "vfork"];
        let calls = self.calls.iter().map(|(_, call)| call.as_str());
        // If strace splits a call into two lines, only the first line begins with the name.
        calls.filter(|call| makes.iter().any(|name| call.starts_with(name))).collect()
    }
}

#[test]
fn a_run_that_succeeds_opens_nothing_and_makes_one_process() {
    need!("strace");
    let trace = Trace::of(&[BINARY, "true"]);
    let opens = trace.opens();
    let only_tty = opens.iter().all(|call| call.contains("\"/dev/tty\"") && call.contains("= -1"));
    assert!(only_tty && opens.len() <= 1, "{opens:#?}");
    let made = trace.made();
    assert_eq!(made.len(), 1, "{made:#?}");
    assert!(!made[0].contains("CLONE_THREAD"), "{made:#?}");

    // This check shows that the trace would contain such calls.
    let scratch = Scratch::new();
    let file = scratch.file("file", "");
    let script = format!(": <{}; true & wait", quoted(&file));
    let trace = Trace::of(&["sh", "-c", &script]);
    assert_eq!(trace.opens().len(), 1, "{:#?}", trace.calls);
    assert_eq!(trace.made().len(), 1, "{:#?}", trace.calls);
}

#[test]
fn sigpipe_is_the_commands_own() {
    // By default the command dies of SIGPIPE. If SIGPIPE is ignored, the command gets an error, as
    // without retry.
    let script = "(sleep 600 & kill $!); while :; do echo x; done 2>/dev/null; exit 5";
    for ignored in [false, true] {
        let status = |wrapper: &[&str]| {
            let (reader, writer) = io::pipe().unwrap();
            drop(reader);
            let inner = format!("trap - TERM; echo x 2>/dev/null || exit 5; {script}");
            let mut run = Retry::new("env").args(wrapper).args(["sh", "-c", &inner]).stdout(writer);
            if ignored {
                run = run.ignoring(Signal::SIGPIPE);
            }
            run.run().status
        };
        let (plain, wrapped) = (status(&[]), status(&[BINARY]));
        let plain = plain.code().or(plain.signal().map(|signal| 128 + signal));
        assert_eq!(wrapped.code(), plain, "ignored: {ignored}");
        assert_eq!(plain, Some(if ignored { 5 } else { 141 }));
    }
}
