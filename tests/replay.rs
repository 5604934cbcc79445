//! Replay: every attempt reads the same input, and unread input stays there for the next reader.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{getuid, mkfifo};

use crate::support::needs;
use crate::support::pipe::set_nonblocking;
use crate::support::retry::BINARY;
use crate::support::scratch::quoted;
use crate::support::{Retry, Run, Scratch, Terminal, retry};

const INPUT: &str = "one 11\ntwo 22\nthree 333\n";

/// Ways in which a command may read, each with the part of [`INPUT`] that it consumes.
const WAYS: [(&str, &str); 4] =
    [("cat", INPUT), ("head -c 10", "one 11\ntwo"), ("read -r x; echo \"$x\"", "one 11\n"), (":", "")];

/// Runs three failing attempts that read in this way.
fn three(run: Retry, way: &str, stdin: impl Into<Stdio>) -> Run {
    let stdio: Stdio = stdin.into();
    let run = run.args(["-q", "-n3", "-d0"]).sh(format!("{way}; echo '|'; exit 3")).stdin(stdio).run();
    run.code(3).says(&["{*} gave up after 3 attempts {*}"]);
    run
}

/// Reads everything that is left in the input, after all its writers have closed it.
fn rest(shared: &mut impl Read) -> String {
    let mut rest = String::new();
    shared.read_to_string(&mut rest).unwrap();
    rest
}

/// Runs three attempts for each way of reading. Each attempt must read the same as a single command
/// without retry, and the rest of the input must still be there. `make` returns the input twice:
/// for retry and for the test.
#[track_caller]
fn same_for_all<R: Read>(retry: impl Fn() -> Retry, mut make: impl FnMut() -> (OwnedFd, R)) {
    for (way, read) in WAYS {
        let (stdin, mut shared) = make();
        three(retry(), way, stdin).stdout(format!("{read}|\n").repeat(3));
        assert_eq!(rest(&mut shared), INPUT[read.len()..], "after {way}");
    }
}

/// A pipe with these bytes and no writer, in two copies.
fn pipe_with(bytes: &[u8]) -> (OwnedFd, File) {
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(bytes).unwrap();
    let shared = File::from(OwnedFd::from(reader.try_clone().unwrap()));
    (reader.into(), shared)
}

#[test]
fn of_a_pipe_every_attempt_reads_the_same_and_no_more_is_taken() {
    same_for_all(retry, || pipe_with(INPUT.as_bytes()));
}

#[test]
fn of_a_socket_every_attempt_reads_the_same_and_no_more_is_taken() {
    same_for_all(retry, || {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(INPUT.as_bytes()).unwrap();
        (ours.try_clone().unwrap().into(), ours)
    });
}

#[test]
fn of_a_fifo_every_attempt_reads_the_same_and_no_more_is_taken() {
    let scratch = Scratch::new();
    let path = scratch.join("fifo");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    same_for_all(retry, || {
        // The open does not block, because it opens the FIFO for reading and writing.
        let mut both = File::options().read(true).write(true).open(&path).unwrap();
        both.write_all(INPUT.as_bytes()).unwrap();
        let reader = File::open(&path).unwrap();
        (reader.try_clone().unwrap().into(), reader)
    });
}

/// A file whose offset is behind its first line, in two copies.
fn file_at_an_offset(path: &Path) -> (OwnedFd, File) {
    fs::write(path, format!("before\n{INPUT}")).unwrap();
    let mut file = File::open(path).unwrap();
    file.seek(SeekFrom::Start(7)).unwrap();
    (file.try_clone().unwrap().into(), file)
}

#[test]
fn of_a_file_every_attempt_reads_from_where_it_stood() {
    let scratch = Scratch::new();
    let path = scratch.join("file");
    same_for_all(retry, || file_at_an_offset(&path));
    same_for_all(retry, || {
        let twice = file_at_an_offset(&path);
        fs::remove_file(&path).unwrap();
        twice
    });
}

#[test]
fn of_a_file_that_cannot_be_opened_anew_every_attempt_reads_the_same() {
    let scratch = Scratch::new();
    let path = scratch.join("file");
    let powerless = || {
        if !getuid().is_root() {
            return retry();
        }
        // Root may open every file, unless root lacks these capabilities.
        let without = ["--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all", BINARY];
        Retry::new("setpriv").args(without)
    };
    let opens = powerless().args(["-n1", "cat"]).arg(scratch.file("secret", "x"));
    let closed = || fs::set_permissions(scratch.join("secret"), fs::Permissions::from_mode(0o0)).unwrap();
    closed();
    let run = opens.run();
    run.check(run.status.code() == Some(1) && run.stderr.contains("ermission"), "it cannot be opened");
    same_for_all(powerless, || {
        let twice = file_at_an_offset(&path);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
        let new = scratch.join("new");
        fs::rename(&path, new).unwrap();
        twice
    });
}

/// The names of descriptor 0 in the two attempts of this run.
fn name_of_stdin(run: Retry) -> Vec<String> {
    let run = run.args(["-q", "-n2", "-d0"]).sh("readlink /proc/$$/fd/0; exit 3").run();
    run.code(3);
    String::from_utf8_lossy(&run.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn what_cannot_be_replayed_is_the_commands_own() {
    let socket =
        |fd: &OwnedFd| format!("socket:[{}]", File::from(fd.try_clone().unwrap()).metadata().unwrap().ino());
    let (one, _other) = UnixDatagram::pair().unwrap();
    let one = OwnedFd::from(one);
    let name = socket(&one);
    assert_eq!(name_of_stdin(retry().stdin(Stdio::from(one))), [name.clone(), name]);
    let null = || Stdio::from(File::open("/dev/null").unwrap());
    assert_eq!(name_of_stdin(retry().stdin(null())), ["/dev/null"; 2]);
    let scratch = Scratch::new();
    let directory = File::open(scratch.path()).unwrap();
    assert_eq!(name_of_stdin(retry().stdin(directory)), [scratch.path().to_str().unwrap(); 2]);
    // The socket is stdout too, and the command may want both directions.
    let (one, mut other) = UnixStream::pair().unwrap();
    let one = OwnedFd::from(one);
    let name = socket(&one);
    let run = retry().args(["-q", "-n2", "-d0"]).sh("readlink /proc/$$/fd/0; exit 3");
    run.stdout(one.try_clone().unwrap()).stdin(Stdio::from(one)).run().code(3);
    assert_eq!(rest(&mut other), format!("{name}\n{name}\n"));
    // The input is a terminal: each attempt gets the line that the test typed for it.
    let mut terminal = Terminal::shell();
    terminal.line("retry -q -d0 -n2 -- sh -c 'read x; echo got-$x; tty; exit 3'");
    for line in ["a", "b"] {
        terminal.send(&format!("{line}\r"));
        terminal.expect(&format!("got-{line}"));
        terminal.expect("/dev/pts/");
    }
    terminal.expect("gave up");
}

#[test]
fn a_shell_loop_keeps_its_input() {
    let scratch = Scratch::new();
    let lines = scratch.file("lines", "1\n2\n3\n4\n5\n6\n");
    let reads = "'read y; echo $x-$y; [ $RETRY_ATTEMPT = 2 ]'";
    let script = format!("while read x; do export x; {BINARY} -q -d0 -- sh -c {reads}; done");
    let twice = "1-2\n1-2\n3-4\n3-4\n5-6\n5-6\n";
    for shell in ["bash", "dash"] {
        if !needs::all(&[shell]) {
            continue;
        }
        let run = |script: &str| Retry::new(shell).args(["-c", script]).run();
        run(&format!("{script} <{}", quoted(&lines))).code(0).silent().stdout(twice);
        run(&format!("cat {} | {script}", quoted(&lines))).code(0).silent().stdout(twice);
        // A command that reads nothing consumes nothing.
        let nothing = format!("cat {} | while read x; do {BINARY} echo $x; done", quoted(&lines));
        run(&nothing).code(0).silent().stdout("1\n2\n3\n4\n5\n6\n");
    }
    // The same holds under job control.
    let mut terminal = Terminal::shell();
    let script = script.replace(BINARY, "retry");
    let seen = terminal.command(&format!("{script} <{}; echo", quoted(&lines)));
    assert!(seen.replace('\r', "").contains(twice), "{seen}");
    let seen = terminal.command(&format!("cat {} | {script}; echo", quoted(&lines)));
    assert!(seen.replace('\r', "").contains(twice), "{seen}");
}

#[test]
fn inherit_and_null_are_what_they_say() {
    let (stdin, _shared) = pipe_with(INPUT.as_bytes());
    let run = retry().args(["--stdin", "inherit", "-q", "-n3", "-d0"]).stdin(Stdio::from(stdin));
    run.sh("read x; echo $x; exit 3").run().code(3).stdout("one 11\ntwo 22\nthree 333\n");
    let (stdin, mut shared) = pipe_with(INPUT.as_bytes());
    let run = retry().args(["--stdin=null", "-q", "-n2", "-d0"]).stdin(Stdio::from(stdin));
    run.sh("readlink /proc/$$/fd/0; cat; exit 3").run().code(3).stdout("/dev/null\n/dev/null\n");
    assert_eq!(rest(&mut shared), INPUT);
    let limited = retry().args(["--stdin", "null", "--stdin-limit", "4k", "true"]).run();
    limited.code(125).says(&["{*}--stdin-limit is for --stdin replay only", "{*}"]);
    // The last possible attempt gets the pipe itself. So does an attempt if nothing was read before
    // it.
    for (options, script) in
        [(["-n1", "-d0"], "exit 3"), (["-n2", "-d0"], "[ $RETRY_ATTEMPT = 1 ] && exit 3")]
    {
        let (stdin, _shared) = pipe_with(b"");
        let name = format!("pipe:[{}]\n", File::from(stdin.try_clone().unwrap()).metadata().unwrap().ino());
        let script = format!("{script}; readlink /proc/$$/fd/0; exit 3");
        let script = if options[0] == "-n1" { script.replacen("exit 3; ", "", 1) } else { script };
        let run = retry().arg("-q").args(options).sh(script).stdin(Stdio::from(stdin)).run();
        run.code(3).stdout(&name);
    }
}

/// Bytes from which a test can tell the place of a loss.
fn numbered(length: usize) -> Vec<u8> {
    (0_u64..).flat_map(|n| format!("{n:07}\n").into_bytes()).take(length).collect()
}

#[test]
fn much_is_replayed_whole_and_in_little_memory() {
    // The input is kept in memory or in a file, and its length is not always a multiple of the page
    // size.
    for length in [1024 * 1024, 1024 * 1024 + 1, 20_000_001] {
        let bytes = numbered(length);
        let scratch = Scratch::new();
        let expected = scratch.file("expected", &bytes);
        let script =
            format!("cmp - {}; grep VmHWM /proc/$PPID/status >&2; [ $RETRY_ATTEMPT = 3 ]", quoted(&expected));
        let directory = scratch.join("tmp");
        fs::create_dir(&directory).unwrap();
        let run = retry().args(["-q", "-d0"]).sh(script).env("TMPDIR", &directory).stdin(bytes).run();
        run.code(0).stdout("");
        let peaks = run.stderr.lines().map(|line| line.split_whitespace().nth(1).unwrap().parse().unwrap());
        let peaks: Vec<u64> = peaks.collect();
        run.check(
            peaks.len() == 3 && peaks.iter().all(|peak| *peak < 16 * 1024),
            "under 16 MiB, unoptimised",
        );
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    }
    // One attempt reads further than the attempt before it, and a later attempt reads less.
    let bytes = numbered(5_000_000);
    let script = "case $RETRY_ATTEMPT in
        1) head -c 100001 ;; 2) head -c 3000000 ;; 3) : ;; 4) head -c 10 ;; *) cat ;; esac; [ $RETRY_ATTEMPT = 5 ]";
    let run = retry().args(["-q", "-d0"]).sh(script).stdin(bytes.clone()).run();
    let parts = [&bytes[..100_001], &bytes[..3_000_000], &bytes[..10], &bytes];
    run.code(0).stdout(parts.concat());
}

#[test]
fn many_kinds_of_readers_read_exact_bytes() {
    let Some(python) = needs::program("python3") else { return };
    let bytes = numbered(300_000);
    let prelude = "import os, sys, select, fcntl, termios, struct
out = b''
def done():
    os.write(2, b'%d ' % len(out)); os.write(1, out) if os.environ['RETRY_ATTEMPT'] == '2' else None
    sys.exit(0 if os.environ['RETRY_ATTEMPT'] == '2' else 3)
";
    for reader in [
        "while True:
    select.select([0], [], [])
    part = os.read(0, 1000)
    if not part: break
    out += part",
        "poll = select.poll(); poll.register(0, select.POLLIN)
while True:
    poll.poll()
    part = os.read(0, 100000)
    if not part: break
    out += part",
        "os.set_blocking(0, False)
poll = select.epoll(); poll.register(0, select.EPOLLIN | select.EPOLLET)
end = False
while not end:
    poll.poll()
    while True:
        try: part = os.read(0, 5000)
        except BlockingIOError: break
        if not part: end = True; break
        out += part",
        "r, w = os.pipe()
while True:
    n = os.splice(0, w, 30000)
    if not n: break
    out += os.read(r, n)",
        "fcntl.fcntl(0, 1031, 1 << 17) if os.environ['RETRY_ATTEMPT'] == '1' else None
while True:
    select.select([0], [], [])
    n = struct.unpack('i', fcntl.ioctl(0, termios.FIONREAD, b'0000'))[0]
    part = os.read(0, n)
    if not part: break
    out += part",
        "with open('/dev/stdin', 'rb') as again: out = again.read()",
        "while True:
    part = os.read(0, 1 + len(out) % 977)
    if not part: break
    out += part",
    ] {
        let program = format!("{prelude}{reader}\ndone()\n");
        let run = retry().args(["-q", "-n2", "-d0"]).arg(&python).args(["-I", "-S", "-c", &program]);
        let run = run.stdin(bytes.clone()).run();
        run.check(run.stderr.starts_with("300000 300000"), "all, twice").code(0).stdout(&bytes);
    }
}

#[test]
fn writes_that_fill_no_page_are_exact_whatever_the_size_of_the_pipes() {
    need!("python3");
    let bytes = numbered(3_000_000);
    let feed = |run: Retry| {
        let (reader, mut writer) = io::pipe().unwrap();
        let bytes = bytes.clone();
        let writes = thread::spawn(move || bytes.chunks(3000).all(|part| writer.write_all(part).is_ok()));
        let run = run.stdin(reader).run();
        assert!(writes.join().unwrap());
        run
    };
    let larger = "import fcntl, os, sys
fcntl.fcntl(0, 1031, 1 << 20)
while part := os.read(0, 100000):
    os.write(1, part) if os.environ['RETRY_ATTEMPT'] == '2' else None
sys.exit(0 if os.environ['RETRY_ATTEMPT'] == '2' else 3)";
    let run = feed(retry().args(["-q", "-n2", "-d0", "python3", "-c", larger]));
    run.code(0).check(run.stdout == bytes, "the same bytes");
    // A nested retry is also a command with a larger pipe.
    let script = "cat | { [ $RETRY_ATTEMPT = 2 ] && cat || { cat >/dev/null; exit 3; }; }";
    let run = feed(retry().args(["-q", "-n2", "-d0", BINARY, "-q", "-n2", "-d0"]).sh(script));
    run.code(0).check(run.stdout == bytes, "the same bytes");
}

#[test]
fn what_is_there_is_there_at_the_first_look() {
    need!("perl");
    // The earlier a command looks, the harder the test. perl starts much faster than python3.
    let look = "vec(my $stdin, 0, 1) = 1; exit(select($stdin, undef, undef, 0) ? 0 : 1)";
    for _ in 0..30 {
        let (stdin, _shared) = pipe_with(INPUT.as_bytes());
        let run = retry().args(["-n2", "-d0", "-q", "perl", "-e", look]);
        run.stdin(Stdio::from(stdin)).run().code(0);
    }
}

#[test]
fn what_commands_count_on_stays() {
    let scratch = Scratch::new();
    // The description of the locked file is shared, so that its holder can lock it again.
    let lock = scratch.file("lock", "line\n");
    let script = format!(
        "(flock 0; {BINARY} -q -d0 -- sh -c 'flock 0; cat; [ $RETRY_ATTEMPT = 2 ]') <{}",
        quoted(&lock)
    );
    Retry::new("bash").args(["-c", &script]).run().code(0).stdout("line\nline\n");
    // The FIFO is also open for writing.
    let fifo = scratch.join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let script =
        format!("{BINARY} -n2 -d0 -- sh -c 'echo token >&0; read x; echo got $x' <>{}", quoted(&fifo));
    Retry::new("bash").args(["-c", &script]).run().code(0).stdout("got token\n").silent();
    // retry leaves the last free descriptors to the command.
    let script = format!("echo in | (ulimit -n 6; exec {BINARY} -n2 -d0 -- sh -c 'cat; exit 3')");
    let run = Retry::new("bash").args(["-c", &script]).run();
    run.code(3)
        .stdout("in\n")
        .stderr_contains("not retried: stdin could not be kept for another attempt (Too many open files)");
    // If TMPDIR is empty, input that does not fit into memory is kept in /tmp, and not in the
    // working directory.
    let there = scratch.join("there");
    fs::create_dir(&there).unwrap();
    let script = "wc -c; ls -l /proc/$PPID/fd | grep -o '[^ ]*/#[0-9]*\\|[^ ]*/[.]tmp[^ ]*' >&2; [ $RETRY_ATTEMPT = 2 ]";
    let run =
        retry().args(["-q", "-d0"]).sh(script).env("TMPDIR", "").dir(&there).stdin(numbered(3_000_000)).run();
    run.code(0).check(
        run.stderr.lines().count() == 2 && run.stderr.lines().all(|name| name.starts_with("/tmp/")),
        "in /tmp",
    );
}

#[test]
fn a_source_that_gives_nothing_is_not_asked_without_end() {
    // poll(2) reports an out-of-band byte, but ordinary reads do not return it (unix(7)).
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let running = retry().args(["-q", "cat"]).stdin(Stdio::from(OwnedFd::from(ours))).spawn();
    theirs.write_all(b"a").unwrap();
    running.wait_for_stdout("a");
    // Older kernels do not support out-of-band data on these sockets.
    let sent = nix::sys::socket::send(theirs.as_raw_fd(), b"!", nix::sys::socket::MsgFlags::MSG_OOB);
    let ticks = cpu_time(running.pid());
    thread::sleep(Duration::from_millis(500));
    assert!(cpu_time(running.pid()) - ticks < 10);
    theirs.write_all(b"b").unwrap();
    drop(theirs);
    let run = running.wait_bounded();
    run.code(0);
    assert!(sent.is_err() || run.stdout.ends_with(b"b"));
}

#[test]
fn neither_an_endless_nor_a_silent_writer_holds_anything_up() {
    let sh = |script: &str| Retry::new("sh").args(["-c", script]).run();
    sh(&format!("yes | {BINARY} -q -n3 -d0 -- sh -c 'head -n1; exit 3'")).code(3).stdout("y\ny\ny\n");
    // The input has no data and does not end.
    let (reader, _writer) = io::pipe().unwrap();
    retry()
        .args(["-q", "-n3", "-d0"])
        .sh("echo ran; exit 3")
        .stdin(reader)
        .run()
        .code(3)
        .stdout("ran\nran\nran\n");
    // The command gets each line at once: the test writes a line after it has seen the output for
    // the line before.
    let (reader, mut writer) = io::pipe().unwrap();
    let script = "while read x; do echo $RETRY_ATTEMPT-$x; done; [ $RETRY_ATTEMPT = 2 ]";
    let running = retry().args(["-q", "-d0"]).sh(script).stdin(reader).spawn();
    for line in ["a", "b", "c"] {
        writer.write_all(format!("{line}\n").as_bytes()).unwrap();
        running.wait_for_stdout(&format!("1-{line}\n"));
    }
    drop(writer);
    running.wait_bounded().code(0).stdout("1-a\n1-b\n1-c\n2-a\n2-b\n2-c\n");
    // The second attempt reads the input of the first attempt, and then the new input.
    let (reader, mut writer) = io::pipe().unwrap();
    let script =
        "read x; echo $RETRY_ATTEMPT-$x; [ $RETRY_ATTEMPT = 1 ] && exit 3; read x; echo $RETRY_ATTEMPT-$x";
    let running = retry().args(["-q", "-d0"]).sh(script).stdin(reader).spawn();
    writer.write_all(b"a\n").unwrap();
    running.wait_for_stdout("2-a\n");
    writer.write_all(b"b\n").unwrap();
    running.wait_bounded().code(0).stdout("1-a\n2-a\n2-b\n");
}

#[test]
fn a_command_that_closes_its_input_kills_nobody() {
    let bytes = numbered(300_000);
    let script = "case $RETRY_ATTEMPT in 1) head -c 200000 | wc -c ;; 2) exec <&- ;; *) cat | wc -c ;; esac
        [ $RETRY_ATTEMPT = 3 ]";
    for ignored in [false, true] {
        let run = retry().args(["-q", "-d0"]).sh(script).stdin(bytes.clone());
        let run = if ignored { run.ignoring(Signal::SIGPIPE) } else { run };
        run.run().code(0).silent().stdout("200000\n300000\n");
    }
    // The command runs on without its input.
    let (stdin, mut shared) = pipe_with(INPUT.as_bytes());
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let script = format!("exec <&-; {}; read go <{}", log.echo("closed"), quoted(scratch.join("gate")));
    mkfifo(&scratch.join("gate"), Mode::S_IRWXU).unwrap();
    let running = retry().sh(script).stdin(Stdio::from(stdin)).spawn();
    log.wait_for(1);
    let ticks = cpu_time(running.pid());
    thread::sleep(Duration::from_millis(300));
    assert!(cpu_time(running.pid()) - ticks < 10, "it waits, and does not ask without end");
    fs::write(scratch.join("gate"), "\n").unwrap();
    running.wait_bounded().code(0).silent();
    assert_eq!(rest(&mut shared), INPUT);
}

/// The processor time of a process, in hundredths of a second (proc_pid_stat(5)).
fn cpu_time(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_command_that_reads_half_and_waits_is_not_asked_without_end() {
    let (stdin, _shared) = pipe_with(INPUT.as_bytes());
    let scratch = Scratch::new();
    let log = scratch.log("log");
    mkfifo(&scratch.join("gate"), Mode::S_IRWXU).unwrap();
    let script = format!("read x; {}; read go <{}", log.echo("$x"), quoted(scratch.join("gate")));
    let running = retry().sh(script).stdin(Stdio::from(stdin)).spawn();
    log.wait_for(1);
    let ticks = cpu_time(running.pid());
    thread::sleep(Duration::from_secs(1));
    assert!(cpu_time(running.pid()) - ticks < 10, "a tenth of a second of one");
    fs::write(scratch.join("gate"), "\n").unwrap();
    running.wait_bounded().code(0);
}

#[test]
fn each_record_reaches_one_of_two_readers() {
    let (reader, mut writer) = io::pipe().unwrap();
    let mut shared = File::from(OwnedFd::from(reader.try_clone().unwrap()));
    let running = retry().args(["-n2", "dd", "bs=5", "status=none"]).stdin(reader).spawn();
    let records: Vec<String> = (0..60_000).map(|n| format!("{n:04x}")).collect();
    let text = records.join("\n") + "\n";
    // Each write puts whole records into the pipe at once (pipe(7), PIPE_BUF).
    let write =
        thread::spawn(move || text.as_bytes().chunks(4095).for_each(|part| writer.write_all(part).unwrap()));
    running.wait_for_stdout("0000\n");
    let (mut other, mut part) = (Vec::new(), [0; 5]);
    while let length @ 1.. = shared.read(&mut part).unwrap() {
        other.extend_from_slice(&part[..length]);
        if other.len() % 250 == 0 {
            // The pause lets the command get its share on a busy machine, too.
            thread::sleep(Duration::from_micros(100));
        }
    }
    write.join().unwrap();
    let run = running.wait_bounded();
    run.code(0).silent();
    let lines =
        |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().lines().map(str::to_owned).collect();
    let (command, other): (BTreeSet<String>, BTreeSet<String>) = (lines(&run.stdout), lines(&other));
    assert!(!command.is_empty() && !other.is_empty(), "both read: {} {}", command.len(), other.len());
    let missing = records.iter().filter(|record| !command.contains(*record) && !other.contains(*record));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn a_background_process_takes_nothing_more() {
    let (stdin, mut shared) = pipe_with(INPUT.as_bytes());
    let scratch = Scratch::new();
    let log = scratch.log("log");
    mkfifo(&scratch.join("gate"), Mode::S_IRWXU).unwrap();
    // The background process has the attempt's input open, and reads from it after the run has
    // ended.
    let script = format!(
        "(read go <{gate}; cat >{log}; echo end >>{log}) <&0 & head -c 7",
        gate = quoted(scratch.join("gate")),
        log = quoted(log.path())
    );
    let run = retry().sh(script).stdin(Stdio::from(stdin)).run();
    run.code(0).stdout("one 11\n");
    assert_eq!(rest(&mut shared), INPUT[7..]);
    fs::write(scratch.join("gate"), "\n").unwrap();
    assert_eq!(log.wait_for(1), ["end"]);
}

#[test]
fn past_the_limit_the_attempt_goes_on_and_only_the_retry_is_refused() {
    let bytes = numbered(2_000_000);
    let script = "wc -c; exit 3";
    let with = |limit: &str| {
        retry().args(["-n2", "-d0", "--stdin-limit", limit]).sh(script).stdin(bytes.clone()).run()
    };
    with("1999999").code(3).stdout("2000000\n").says(&[
        "retry: sh: not retried: stdin is longer than --stdin-limit 1999999; a higher limit allows a retry; exited 3",
    ]);
    with("2000000").code(3).stdout("2000000\n2000000\n");
    with("0").code(3).stdout("2000000\n").says(&[
        "retry: sh: not retried: stdin is longer than --stdin-limit 0; a higher limit allows a retry; exited 3",
    ]);
    // Unread input does not count towards the limit.
    let unread = retry().args(["-n2", "-d0", "--stdin-limit", "10"]).sh("head -c 10; exit 3");
    unread.stdin(bytes.clone()).run().code(3).stdout("0000000\n000000000\n00");
    // The limit does not affect a successful attempt, and unread input stays in the pipe.
    let (stdin, mut shared) = pipe_with(INPUT.as_bytes());
    let run = retry().args(["--stdin-limit", "3"]).sh("head -c 7").stdin(Stdio::from(stdin)).run();
    run.code(0).silent().stdout("one 11\n");
    assert_eq!(rest(&mut shared), INPUT[7..]);
}

#[test]
fn without_room_the_attempt_goes_on_and_only_the_retry_is_refused() {
    let bytes = numbered(3_000_000);
    let refused = |place: &str, why: &str| {
        let hint = if why == "File too large" { "" } else { "; set TMPDIR to use another directory" };
        format!("retry: sh: not retried: stdin could not be kept in {place} ({why}){hint}; exited 3")
    };
    let run = retry().args(["-n2", "-d0"]).sh("wc -c; exit 3").env("TMPDIR", "/nonexistent");
    let run = run.stdin(bytes.clone()).run();
    run.code(3).stdout("3000000\n").says(&[&refused("/nonexistent", "No such file or directory")]);
    // A file size limit of the process refuses the retry like a full disk, and does not kill retry.
    let script = format!("ulimit -f 1500; exec {BINARY} -n2 -d0 -- sh -c 'wc -c; exit 3'");
    let run = Retry::new("sh").args(["-c", &script]).env("TMPDIR", "/tmp").stdin(bytes.clone()).run();
    run.code(3).stdout("3000000\n").says(&[&refused("/tmp", "File too large")]);
    let scratch = Scratch::new();
    let script = format!(
        "mount -t tmpfs -o size=2m tmpfs {directory} || exit 99
         TMPDIR={directory} {BINARY} -n2 -d0 -- sh -c 'wc -c; exit 3'",
        directory = scratch.path().display()
    );
    let run = Retry::new("unshare").args(["--mount", "sh", "-c", &script]).stdin(bytes).run();
    if run.status.code() == Some(99) || run.stderr.contains("unshare") {
        needs::left_out("the right to mount a file system");
        return;
    }
    let place = scratch.path().to_str().unwrap();
    run.code(3).stdout("3000000\n").says(&[&refused(place, "No space left on device")]);
}

#[test]
fn where_there_is_no_tee_it_is_read_ahead_and_replayed_all_the_same() {
    for (way, read) in WAYS {
        let (stdin, _shared) = pipe_with(INPUT.as_bytes());
        three(retry().without_tee(), way, stdin).stdout(format!("{read}|\n").repeat(3));
    }
    let bytes = numbered(5_000_001);
    let script = "case $RETRY_ATTEMPT in 1) head -c 300001 | tail -c 9 ;; 2) exec <&- ;; *) cat ;; esac; [ $RETRY_ATTEMPT = 3 ]";
    let run = retry().without_tee().args(["-q", "-d0"]).sh(script).stdin(bytes.clone()).run();
    run.code(0).stdout([&bytes[299_992..300_001], &bytes].concat());
    // retry reads only as much as the command needs, and does not wait for the writer.
    let (reader, mut writer) = io::pipe().unwrap();
    let script = "read x; echo $RETRY_ATTEMPT-$x; [ $RETRY_ATTEMPT = 2 ]";
    let running = retry().without_tee().args(["-q", "-d0"]).sh(script).stdin(reader).spawn();
    writer.write_all(b"a\n").unwrap();
    running.wait_bounded().code(0).stdout("1-a\n2-a\n");
    let limited = retry().without_tee().args(["-n2", "-d0", "--stdin-limit", "4999999"]);
    let limited = limited.sh("wc -c; exit 3").stdin(bytes).run();
    limited.code(3).stdout("5000001\n").stderr_contains("not retried: stdin is longer than");
}

#[test]
fn a_signal_ends_a_run_that_is_being_fed() {
    let (reader, mut writer) = io::pipe().unwrap();
    set_nonblocking(&writer, true);
    let _ = writer.write(&numbered(60_000));
    let running = retry().args(["-q"]).sh("head -c 5; sleep 600").stdin(reader.try_clone().unwrap()).spawn();
    running.wait_for_stdout("00000");
    running.signal(Signal::SIGTERM);
    running.wait_bounded().signal(Signal::SIGTERM);
    assert_eq!(File::from(OwnedFd::from(reader)).read(&mut vec![0; 100_000]).unwrap(), 60_000 - 5);
}

#[test]
fn a_socket_that_breaks_is_not_its_end() {
    use std::net::{TcpListener, TcpStream};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (near, _) = listener.accept().unwrap();
    far.write_all(b"half of it").unwrap();
    let running =
        retry().args(["-q", "-n2", "-d0"]).arg("cat").stdin(Stdio::from(OwnedFd::from(near))).spawn();
    running.wait_for_stdout("half of it");
    // With a linger time of zero, a close sends a reset (socket(7)).
    nix::sys::socket::setsockopt(
        &far,
        nix::sys::socket::sockopt::Linger,
        &libc::linger { l_onoff: 1, l_linger: 0 },
    )
    .unwrap();
    drop(far);
    let run = running.wait_bounded();
    run.code(1).stdout("half of it").stderr_contains("cat: -: Connection reset by peer\n").says(&[
        "retry: cat: not retried: stdin could not be read to its end (Connection reset by peer); exited 1",
    ]);
}
