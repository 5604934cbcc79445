//! `--once`: the first run that succeeds keeps its output in a file, and all later runs print it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, chown, mkfifo};

use crate::support::records::Records;
use crate::support::retry::BINARY;
use crate::support::scratch::quoted;
use crate::support::{Log, Retry, Run, Scratch, each, needs, retry};

/// A run whose answer is in this file.
fn once(path: &Path) -> Retry {
    retry().arg("--once").arg(path)
}

/// The sorted names in a directory.
fn names(scratch: &Scratch) -> Vec<String> {
    let names = fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_first_run_makes_the_answer_and_the_next_ones_print_it() {
    let scratch = Scratch::new();
    let (path, log) = (scratch.join("answer"), scratch.log("log"));
    let script = format!("umask 0; {}; printf 'a\\000\\377b'", log.echo("ran"));
    once(&path).sh(&script).run().code(0).stdout(b"a\0\xffb").silent();
    assert_eq!(fs::read(&path).unwrap(), b"a\0\xffb");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let shown = path.display();
    let run = once(&path).sh(&script).run();
    run.code(0).stdout(b"a\0\xffb").says(&[&format!("retry: sh: not run: done {{T}} ago ({shown})")]);
    once(&path).arg("-q").sh(&script).run().code(0).stdout(b"a\0\xffb").silent();
    let file = File::options().write(true).open(&path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3 * 3600 + 5)).unwrap();
    // A relative path counts from the present directory.
    let run = retry().dir(scratch.path()).args(["--once", "answer"]).sh(&script).run();
    run.code(0).stdout(b"a\0\xffb").stderr("retry: sh: not run: done 3h ago (answer)\n");
    assert_eq!(log.lines(), ["ran"]);
    assert_eq!(names(&scratch), ["answer", "log"]);
    // Without the file, the run begins again.
    fs::remove_file(&path).unwrap();
    once(&path).arg("-v").sh(&script).run().code(0).stderr_contains(&format!("the answer is in {shown}\n"));
    assert_eq!(log.lines().len(), 2);
}

#[test]
fn an_answer_may_be_empty_or_large() {
    let scratch = Scratch::new();
    let path = scratch.join("empty");
    once(&path).arg("true").run().code(0).stdout("").silent();
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    once(&path).sh("echo more").run().code(0).stdout("").stderr_contains("not run: done ");
    // It is more than memory is to hold, so it goes through a file in $TMPDIR.
    let path = scratch.join("large");
    let run = once(&path).sh("seq 1000000").run();
    run.code(0).silent();
    assert!(run.stdout.starts_with(b"1\n2\n") && run.stdout.ends_with(b"\n1000000\n"));
    assert!(fs::read(&path).unwrap() == run.stdout);
    let again = once(&path).arg("-q").sh("grep VmHWM /proc/$PPID/status >&2").run();
    assert!(again.code(0).silent().stdout == run.stdout);
    assert_eq!(names(&scratch), ["empty", "large"]);
}

#[test]
fn nothing_else_happens_if_there_is_an_answer() {
    let records = Records::new();
    let (path, log) = (records.scratch.file("answer", "done\n"), records.scratch.log("log"));
    // The key is too old, and the state cannot be used. Nobody has to know now.
    let key = records.scratch.file("key", "old\n");
    let file = File::options().write(true).open(&key).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_hours(48)).unwrap();
    let ran = log.echo("ran");
    let run = once(&path)
        .args(["--splay", "50m", "--breaker", "b", "--budget", "20%", "--state", "/dev/null/none"])
        .arg("--idempotency-key")
        .arg(format!("file:{}", key.display()))
        .args(["--check", &ran, "--on-retry", &ran, "-u", "stdout~never", "--deadline", "1h"])
        .sh(&ran)
        .run();
    run.code(0).stdout("done\n").says(&["retry: sh: not run: done {T} ago ({*})"]);
    run.check(run.took < Duration::from_secs(30), "no wait");
    assert_eq!(log.lines(), [""; 0]);
    assert!(key.exists());
    // Nobody reads the input.
    let script = format!("echo line | {{ {BINARY} -q --once {} -- cat; cat; }}", quoted(&path));
    Retry::new("sh").args(["-c", &script]).run().code(0).stdout("done\nline\n").silent();
}

#[test]
fn only_a_success_is_kept() {
    let scratch = Scratch::new();
    let (path, log) = (scratch.join("answer"), scratch.log("log"));
    let run = |options: &[&str], script: &str| once(&path).args(options).arg("-d0").sh(script).run();
    run(&["-n2"], "echo half; exit 7").code(7).stdout("");
    run(&["-n1", "--timeout", "0.2"], "echo half; exec sleep 600").code(124).stdout("");
    run(&["-n2", "-u", "stdout~ready"], "echo half").code(1).stdout("");
    run(&["-n3", "--successes", "2"], "echo half; exit $((RETRY_ATTEMPT % 2))").code(1);
    // The check says that the work is done, and there is no output.
    let done = run(&["--check", "true"], &log.echo("ran"));
    done.code(0).says(&["retry: sh: not run: --check says that the work is done"]);
    assert_eq!(names(&scratch), ["log"]);
    let answers = [
        (&["--check", "exit 1"][..], "echo checked", "checked\n"),
        (&["-u", "failure"], "echo until; exit 3", "until\n"),
        (&["-u", "stdout~ready"], "[ $RETRY_ATTEMPT = 2 ] && echo ready", "ready\n"),
        (&["--successes", "2"], "echo $RETRY_ATTEMPT", "2\n"),
        (&[], "echo $RETRY_ATTEMPT; [ $RETRY_ATTEMPT = 3 ]", "3\n"),
    ];
    for (options, script, answer) in answers {
        run(options, script).code(0).stdout(answer);
        assert_eq!(fs::read_to_string(&path).unwrap(), answer);
        // The status of an answer is 0.
        run(options, script).code(0).stdout(answer).stderr_contains("not run: done ");
        fs::remove_file(&path).unwrap();
    }
    assert_eq!((names(&scratch), log.lines().len()), (vec!["log".to_owned()], 0));
}

#[test]
fn a_run_that_a_breaker_or_a_signal_ends_keeps_nothing() {
    let records = Records::new();
    let path = records.scratch.join("answer");
    let breaker = ["-n1", "--breaker", "b", "--breaker-failures", "1"];
    records.retry().args(breaker).sh("exit 7").run().code(7);
    let run = records.retry().args(breaker).arg("--once").arg(&path).sh("echo x").run();
    run.code(75).stdout("").stderr_contains("not run: breaker b is open");
    let running = once(&path).sh("echo half; echo up >&2; exec sleep 600").spawn();
    running.wait_for_stderr("up\n");
    running.signal(Signal::SIGTERM);
    running.wait_bounded().signal(Signal::SIGTERM).stdout("");
    assert_eq!(names(&records.scratch), ["state"]);
}

#[test]
fn stderr_is_no_part_of_the_answer() {
    let scratch = Scratch::new();
    let path = scratch.join("answer");
    let script = "echo out 1; echo err >&2; echo out 2";
    once(&path).sh(script).run().code(0).stdout("out 1\nout 2\n").stderr("err\n");
    fs::remove_file(&path).unwrap();
    once(&path).arg("--hold=both").sh(script).run().code(0).stdout("out 1\nout 2\n").stderr("err\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), "out 1\nout 2\n");
    fs::remove_file(&path).unwrap();
    // Both streams of retry are the same pipe.
    let shell = format!("{BINARY} --hold=both --once {} -- sh -c '{script}' 2>&1", quoted(&path));
    let run = Retry::new("sh").args(["-c", &shell]).run();
    let text = String::from_utf8_lossy(&run.code(0).stdout).into_owned();
    run.check(text.contains("out 1\n") && text.contains("out 2\n") && text.contains("err\n"), "all lines");
    assert_eq!(fs::read_to_string(&path).unwrap(), "out 1\nout 2\n");
    // A failure shows both.
    fs::remove_file(&path).unwrap();
    let run = once(&path).args(["--hold=both", "-q", "-n1"]).sh("echo out; echo err >&2; exit 7").run();
    run.code(7).stdout("").stderr_contains("out\n").stderr_contains("err\n");
}

/// Asserts that a run is refused before its check and its command.
#[track_caller]
fn refused(run: Retry, log: &Log, cause: &str) -> Run {
    let ran = log.echo("ran");
    let run = run.args(["--check", &ran]).sh(&ran).run();
    let lines = run.code(125).stdout("").messages();
    run.check(lines.len() == 2 && lines[0].contains(cause), cause);
    run.check(lines[1].starts_with("retry: hint: "), "a hint");
    assert_eq!(log.lines(), [""; 0], "{cause}");
    run
}

#[test]
fn what_is_no_file_is_refused_and_nothing_is_opened() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let (fifo, socket, link) = (scratch.join("fifo"), scratch.join("socket"), scratch.join("link"));
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let writer = Retry::new("sh").args(["-c", &format!("echo x >{}", quoted(&fifo))]).spawn();
    let _listener = UnixListener::bind(&socket).unwrap();
    for path in [&fifo, &socket, scratch.path(), "/dev/null".as_ref(), "/dev/zero".as_ref()] {
        refused(once(path), &log, "is not a regular file");
    }
    assert!(!writer.ended());
    assert_eq!(fs::read(&fifo).unwrap(), b"x\n");
    writer.wait_bounded().code(0);
    scratch.file("target", "not the answer\n");
    for to in ["target", "none", "link", "/dev/zero"] {
        symlink(to, &link).unwrap();
        refused(once(&link), &log, "is not a regular file but a symbolic link");
        fs::remove_file(&link).unwrap();
    }
    assert!(!scratch.join("none").exists());
    // A link in the path to the file counts as a directory.
    symlink(scratch.path(), scratch.join("here")).unwrap();
    once(&scratch.join("here/answer")).sh("echo x").run().code(0);
    assert_eq!(fs::read(scratch.join("answer")).unwrap(), b"x\n");
}

#[test]
fn a_place_that_cannot_be_used_is_said_before_the_first_attempt() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let file = scratch.file("file", "");
    refused(once(&scratch.join("none/answer")), &log, "none: No such file or directory");
    refused(once(&file.join("answer")), &log, "Not a directory");
    refused(once(&scratch.join("x".repeat(252))), &log, "File name too long");
    // The lock file is that of another program.
    scratch.file("a.lock", "theirs\n");
    refused(once(&scratch.join("a")), &log, "a.lock is not a lock file of retry");
    fs::create_dir(scratch.join("b.lock")).unwrap();
    refused(once(&scratch.join("b")), &log, "b.lock is not a lock file of retry");
    assert_eq!(fs::read(scratch.join("a.lock")).unwrap(), b"theirs\n");
    assert_eq!(names(&scratch), ["a.lock", "b.lock", "file", "log"]);
}

/// Gives a file to a user without privileges. Returns false if that is not permitted.
fn given_away(path: &Path) -> bool {
    Uid::effective().is_root() && chown(path, Some(Uid::from_raw(65534)), Some(Gid::from_raw(65534))).is_ok()
}

#[test]
fn a_file_that_somebody_else_may_have_put_there_is_no_answer() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let (path, target) = (scratch.join("second"), scratch.file("first", "not the answer\n"));
    fs::hard_link(&target, &path).unwrap();
    fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o1777)).unwrap();
    refused(once(&path), &log, "has another name (a hard link)");
    fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o755)).unwrap();
    once(&path).arg("true").run().code(0).stdout("not the answer\n");
    let path = scratch.file("theirs", "theirs\n");
    if !given_away(&path) {
        return;
    }
    refused(once(&path), &log, "belongs to another user (65534)");
    // Root acts for the owner of the directory.
    assert!(given_away(scratch.path()));
    once(&path).arg("true").run().code(0).stdout("theirs\n");
    let path = scratch.join("new");
    once(&path).arg("true").run().code(0);
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(&path).unwrap());
    assert_eq!(owner, 65534);
}

#[test]
fn other_options_must_not_get_in_the_way() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    symlink(".", scratch.join("here")).unwrap();
    let path = scratch.join("answer");
    let same = scratch.join("here/answer");
    let same = same.to_str().unwrap();
    for (options, cause) in [
        (vec!["--report", same], "--once and the report name the same file"),
        (vec!["--report", "answer.lock"], "--once and the report name the same file"),
        (vec!["--idempotency-key", "file:answer"], "--once and --idempotency-key name the same file"),
        (vec!["--headers", "./answer"], "--once and --headers name the same file"),
        (vec!["--breaker", "./answer"], "--once and --breaker name the same file"),
        (vec!["--budget", "./answer=20%"], "--once and --budget name the same file"),
        (vec!["--success-on", "3"], "--success-on allows other statuses"),
    ] {
        refused(once(&path).dir(scratch.path()).args(options), &log, cause);
    }
    let report = once(&path).dir(scratch.path()).env("RETRY_REPORT", "answer");
    refused(report, &log, "--once and the report name the same file");
    for name in ["", "answer/", ".", "..", "here/."] {
        refused(retry().dir(scratch.path()).args(["--once", name]), &log, "--once");
    }
    assert_eq!(names(&scratch), ["here", "log"]);
}

#[test]
fn a_redirection_to_the_file_itself_is_no_answer() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    for (redirection, stream) in [(">answer", "stdout"), (">>answer", "stdout"), ("2>answer", "stderr")] {
        let shell = format!("{BINARY} --once answer -- sh -c '{}' {redirection}", log.echo("ran"));
        let run = Retry::new("sh").dir(scratch.path()).args(["-c", &shell]).run();
        run.code(125).stdout("");
        let said = run.stderr.clone() + &fs::read_to_string(scratch.join("answer")).unwrap();
        assert!(said.contains(&format!("retry: {stream} goes to the answer file ")), "{said}");
        assert!(said.contains("remove the file first, because the shell has emptied it"), "{said}");
        fs::remove_file(scratch.join("answer")).unwrap();
    }
    let shell = format!("{BINARY} --once answer -- sh -c '{}' >&-", log.echo("ran"));
    let run = Retry::new("sh").dir(scratch.path()).args(["-c", &shell]).run();
    run.code(125).stderr_contains("stdout is closed, and --once writes the answer to it");
    assert_eq!(log.lines(), [""; 0]);
    assert_eq!(names(&scratch), ["log"]);
}

#[test]
fn a_directory_that_was_removed_is_said_at_once() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let script = format!(
        "mkdir gone; cd gone; rmdir ../gone; exec {BINARY} --once answer --deadline 1h -- sh -c '{}'",
        log.echo("ran")
    );
    let run = Retry::new("sh").dir(scratch.path()).args(["-c", &script]).run();
    run.code(125).stdout("").stderr_contains("No such file or directory");
    assert_eq!(log.lines(), [""; 0]);
}

#[test]
fn an_answer_stays_if_it_cannot_be_printed() {
    let scratch = Scratch::new();
    let path = scratch.join("answer");
    let key = scratch.join("key");
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let option = format!("file:{}", key.display());
    let run = once(&path).args(["--idempotency-key", &option]).stdout(full()).sh("echo x").run();
    run.code(125).says(&["retry: cannot write to stdout: No space left on device"]);
    assert_eq!(fs::read(&path).unwrap(), b"x\n");
    // The next request is another one, because this one is done.
    assert!(!key.exists());
    once(&path).stdout(full()).arg("true").run().code(125).stderr_contains("cannot write to stdout");
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    once(&path).stdout(closed()).arg("true").run().signal(Signal::SIGPIPE).silent();
    let ignored = once(&path).stdout(closed()).ignoring(Signal::SIGPIPE).arg("true").run();
    ignored.code(125).stderr_contains("cannot write to stdout: Broken pipe");
    assert_eq!(names(&scratch), ["answer"]);
}

/// The output of seq(1).
fn seq(last: u32) -> String {
    let numbers: Vec<String> = (1..=last).map(|n| n.to_string()).collect();
    numbers.join("\n") + "\n"
}

/// Asserts that a success whose answer is not kept passes its output on and is no success.
#[track_caller]
fn not_kept(run: &Run, output: &str, why: &str) {
    run.code(125).stdout(output);
    let cause = format!("retry: the command succeeded, but retry could not keep its output in {{*}}: {why}");
    run.says(&[&cause, "retry: hint: the work is done, and the next run repeats it"]);
}

#[test]
fn a_success_that_cannot_be_kept_is_passed_on_and_is_no_success() {
    let scratch = Scratch::new();
    let (directory, key) = (scratch.join("directory"), scratch.join("key"));
    fs::create_dir(&directory).unwrap();
    let path = directory.join("answer");
    let option = format!("file:{}", key.display());
    let script = format!("rm -r {}; echo x", quoted(&directory));
    let run = once(&path).args(["--idempotency-key", &option]).sh(&script).run();
    not_kept(&run, "x\n", "No such file or directory");
    // The next run repeats the request.
    assert!(key.exists());
    fs::create_dir(&directory).unwrap();
    let run = once(&path).sh(format!("echo theirs >{}; echo x", quoted(&path))).run();
    not_kept(&run, "x\n", "File exists");
    once(&path).arg("true").run().code(0).stdout("theirs\n");
    fs::remove_file(&path).unwrap();
    let shell = format!("ulimit -f 16; exec {BINARY} --once {} -- seq 10000", quoted(&path));
    let run = Retry::new("sh").args(["-c", &shell]).run();
    let all = seq(10_000);
    not_kept(&run, &all, "File too large");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
}

/// Runs a script in a new mount namespace. Returns `None` if that is not permitted.
fn with_mounts(script: &str) -> Option<Run> {
    let run = Retry::new("unshare").args(["--mount", "sh", "-c", script]).run();
    if run.status.code() == Some(99) || run.stderr.starts_with("unshare") {
        needs::left_out("the right to mount a file system");
        return None;
    }
    Some(run)
}

#[test]
fn a_full_disk_and_one_that_is_read_only() {
    let scratch = Scratch::new();
    let place = scratch.path().display();
    let script = format!(
        "mount -t tmpfs -o size=64k tmpfs {place} || exit 99
         cd / && exec {BINARY} --once {place}/answer -- seq 40000"
    );
    let Some(run) = with_mounts(&script) else { return };
    let all = seq(40_000);
    not_kept(&run, &all, "No space left on device");
    for before in [":", ": >answer.lock"] {
        let script = format!(
            "cd {place} && {before} && mount --bind {place} {place} && mount -o remount,ro,bind {place} || exit 99
             exec {BINARY} --once {place}/answer -- sh -c 'echo ran'"
        );
        let run = with_mounts(&script).unwrap();
        run.code(125).stdout("").stderr_contains("Read-only file system");
    }
    // An answer can be read from such a place.
    let script = format!(
        "cd {place} && echo done >answer && mount --bind {place} {place} && mount -o remount,ro,bind {place} || exit 99
         exec {BINARY} --once {place}/answer -- sh -c 'echo ran'"
    );
    with_mounts(&script).unwrap().code(0).stdout("done\n").stderr_contains("not run: done ");
}

#[test]
fn a_report_and_metrics_have_the_run() {
    let scratch = Scratch::new();
    let path = scratch.file("answer", "done\n");
    let report = ["--report", "all.jsonl", "--report", "all.prom", "--label", "job"];
    once(&path).dir(scratch.path()).args(report).arg("true").run().code(0);
    let lines = fs::read_to_string(scratch.join("all.jsonl")).unwrap();
    let line: serde_json::Value = serde_json::from_str(lines.trim_end()).unwrap();
    assert_eq!(
        (&line["event"], &line["result"], &line["why"], &line["status"], &line["attempts"]),
        (&"run".into(), &"done".into(), &"once".into(), &0.into(), &0.into())
    );
    let metrics = fs::read_to_string(scratch.join("all.prom")).unwrap();
    assert!(metrics.contains("retry_last_run_attempts{label=\"job\"} 0\n"), "{metrics}");
    assert!(metrics.contains("retry_runs_total{label=\"job\",result=\"succeeded\"} 1\n"), "{metrics}");
}

#[test]
fn runs_with_different_files_do_not_meet() {
    let scratch = Scratch::new();
    each(["a", "b", "c"], |name| {
        let inner =
            format!("{BINARY} --once {} -- echo {name}", quoted(scratch.join(format!("{name}-inner"))));
        let run = once(&scratch.join(name)).sh(&inner).run();
        run.code(0).stdout(format!("{name}\n")).silent();
    });
    assert_eq!(names(&scratch), ["a", "a-inner", "b", "b-inner", "c", "c-inner"]);
}
