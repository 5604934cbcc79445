//! Safe repeats: one key for all attempts of a run, and for the next run if this run fails.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::records::Records;
use crate::support::scratch::quoted;
use crate::support::{Reply, Retry, Run, Scratch, Server, process, refused_port, retry};

/// The key of an attempt.
const KEY: &str = "$RETRY_IDEMPOTENCY_KEY";

#[test]
fn all_attempts_of_a_run_have_one_fresh_key() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    for _ in 0..2 {
        let script = format!("{}; exit 7", log.echo(KEY));
        // The run ignores the key of an outer run.
        retry().args(["-n3", "-d0"]).sh(script).env("RETRY_IDEMPOTENCY_KEY", "outer").run().code(7);
    }
    let keys = log.lines();
    assert_eq!((&keys[0], &keys[0]), (&keys[1], &keys[2]));
    assert_eq!((&keys[3], &keys[3]), (&keys[4], &keys[5]));
    assert_ne!(keys[0], keys[3]);
    // The key is a random UUID (RFC 9562, section 5.4).
    let dashes: Vec<_> = keys[0].match_indices('-').map(|(at, _)| at).collect();
    assert_eq!((keys[0].len(), dashes, &keys[0][14..15]), (36, vec![8, 13, 18, 23], "4"));
    retry()
        .args(["--idempotency-key", "order 42"])
        .sh(format!("echo {KEY}"))
        .run()
        .code(0)
        .stdout("order 42\n");
}

#[test]
fn exactly_the_tokens_in_arguments_are_replaced() {
    let run = |options: &[&str], arguments: &[&str]| {
        let command = ["--", "printf", "%s\n"];
        retry().args(options).args(command).args(arguments).run()
    };
    let key = ["--expand", "--idempotency-key", "k{max}"];
    run(&key, &["{key}", "a{attempt}/{max}b", "{{key}}", r#"{"max":{}}"#, "{{.Max}} {Key}", ""])
        .code(0)
        .stdout("k{max}\na1/5b\n{k{max}}\n{\"max\":{}}\n{{.Max}} {Key}\n\n");
    run(&["--expand", "-n", "unlimited"], &["[{max}]"]).code(0).stdout("[]\n");
    // Without `--expand` retry replaces nothing. If the user gives a key, `{key}` in an argument is
    // a mistake.
    run(&[], &["{key}", "{attempt}"]).code(0).stdout("{key}\n{attempt}\n");
    let refused = run(&["--idempotency-key", "k"], &["{key}"]);
    refused.code(125).stdout("").says(&[
        "retry: --idempotency-key is given, but {key} in an argument is not replaced without --expand",
        "retry: hint: add --expand, so that retry replaces {key}",
    ]);
    run(&["--idempotency-key", "k"], &["{attempt}"]).code(0).stdout("{attempt}\n");
    // Each attempt replaces its own number. The command's name is not an argument.
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let script =
        scratch.script("{attempt}", format!("#!/bin/sh\necho \"$1\" >>{}\nexit 7\n", quoted(log.path())));
    retry().args(["--expand", "-n3", "-d0"]).arg(&script).arg("{attempt}").run().code(7);
    assert_eq!(log.lines(), ["1", "2", "3"]);
}

/// Runs with its key in this file.
fn with_file(path: &Path, script: &str) -> Run {
    let mut option = std::ffi::OsString::from("file:");
    option.push(path);
    retry().args(["-n2", "-d0", "--idempotency-key"]).arg(option).sh(script).run()
}

#[test]
fn a_key_file_outlives_failed_runs_and_goes_with_success() {
    let scratch = Scratch::new();
    let (path, log) = (scratch.join("order.key"), scratch.log("log"));
    let (fails, works) = (format!("{}; exit 7", log.echo(KEY)), log.echo(KEY));
    with_file(&path, &fails).code(7).says(&["{*}; next in 0s", "{*}gave up{*}"]);
    let key = log.lines()[0].clone();
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{key}\n"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let hours = Duration::from_hours(3);
    File::open(&path).unwrap().set_modified(SystemTime::now() - hours).unwrap();
    with_file(&path, &works)
        .code(0)
        .says(&[&format!("retry: sh: using the key that an earlier run kept in {}, 3h old", path.display())]);
    assert_eq!(log.lines(), [key.as_str(); 3]);
    assert!(!path.exists());
    with_file(&path, &works).code(0).silent();
    assert_ne!(log.lines()[3], key);
    // No other file remains.
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    // A run that is refused before its first attempt has sent nothing, so it leaves no key.
    with_file(&path, "exit 0").code(0);
    let option = format!("file:{}", path.display());
    let run = retry().args(["--breaker-trip=b"]).env("RETRY_STATE", scratch.join("s")).run();
    run.code(0);
    let refused = retry().args(["--breaker", "b", "--idempotency-key", &option, "true"]);
    refused.env("RETRY_STATE", scratch.join("s")).run().code(75);
    assert!(!path.exists());
}

#[test]
fn a_key_file_that_is_none_is_refused_before_anything_runs() {
    let scratch = Scratch::new();
    let (path, log) = (scratch.join("key"), scratch.log("log"));
    let ran = log.echo("ran");
    let refused = |cause: &str| {
        let run = with_file(&path, &ran);
        let lines = run.code(125).messages();
        run.check(lines[0].starts_with("retry: ") && lines[0].contains(cause), cause);
        run.check(!lines[0].contains("os error"), "a word for the error");
    };
    for (content, cause) in [
        (&b""[..], "key is empty"),
        (b"\n", "key is empty"),
        (b"a\nb\n", "holds control characters"),
        (b"\xff\n", "is not UTF-8 text"),
        (&[b'k'; 256], "holds more than 255 bytes"),
        (&[b'k'; 9999], "holds more than 255 bytes"),
        ("é".repeat(200).as_bytes(), "holds more than 255 bytes"),
    ] {
        fs::write(&path, content).unwrap();
        refused(cause);
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    fs::write(&path, "k").unwrap();
    let day = Duration::from_hours(24);
    File::open(&path).unwrap().set_modified(SystemTime::now() - day - Duration::from_mins(1)).unwrap();
    refused("is 24 hours old: the server may have forgotten it");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused("is not a regular file");
    fs::remove_dir(&path).unwrap();
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    refused("is not a regular file");
    let nowhere = scratch.join("none/key");
    with_file(&nowhere, &ran).code(125).stderr_contains("cannot make the key file");
    assert_eq!(log.lines(), [""; 0]);
    // Another program wrote the key, without an end of line and with the greatest length.
    fs::remove_file(&path).unwrap();
    fs::write(&path, [b'k'; 255]).unwrap();
    with_file(&path, &format!("test ${{#RETRY_IDEMPOTENCY_KEY}} = 255 && {ran}")).code(0);
    assert_eq!(log.lines(), ["ran"]);
    assert!(!path.exists());
}

#[test]
fn runs_at_once_on_one_key_file_have_one_key() {
    let scratch = Scratch::new();
    for round in 0..5 {
        let (path, log) = (scratch.join(format!("key{round}")), scratch.log("log"));
        let option = format!("file:{}", path.display());
        let running: Vec<_> = (0..16)
            .map(|_| {
                let run = retry().args(["-n1", "--idempotency-key", &option]);
                run.sh(format!("{}; exit 7", log.echo(KEY))).spawn()
            })
            .collect();
        for run in running {
            run.wait_bounded().code(7);
        }
        let keys = log.lines();
        assert!(keys.len() == 16 && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 2 + round);
    }
}

#[test]
fn a_key_of_another_run_is_not_removed() {
    let scratch = Scratch::new();
    let path = scratch.join("key");
    with_file(&path, &format!("echo another >{}", path.display())).code(0);
    assert_eq!(fs::read_to_string(&path).unwrap(), "another\n");
    // retry never waits, whatever the key file has become meanwhile, and reports that the file
    // stays.
    fs::remove_file(&path).unwrap();
    let run = with_file(&path, &format!("rm {0}; mkfifo {0}", path.display()));
    run.code(0)
        .stderr_contains("is not a regular file; remove it before the next run, which needs a new key");
    // A link to nothing is not a place for a key.
    let link = scratch.join("link");
    std::os::unix::fs::symlink(scratch.join("none"), &link).unwrap();
    with_file(&link, "exit 0").code(125).stderr_contains("is not a regular file");
}

#[test]
fn whenever_it_is_killed_the_key_file_is_whole_and_nothing_else_is_left() {
    let scratch = Scratch::new();
    let path = scratch.join("key");
    let option = format!("file:{}", path.display());
    for n in 0..150u64 {
        let running = retry().args(["-n1", "--idempotency-key", &option]).sh("exit 0").spawn();
        std::thread::sleep(Duration::from_micros(n * 7919 % 9000));
        running.signal(nix::sys::signal::Signal::SIGKILL);
        drop(running);
        if let Ok(text) = fs::read_to_string(&path) {
            assert_eq!(text.len(), 37, "{text:?}");
        }
    }
    let left = fs::read_dir(scratch.path()).unwrap().count();
    assert!(left <= 1, "{left}");
    // The owner can read the key file under any umask.
    let _ = fs::remove_file(&path);
    let script = format!(
        "umask 0777; exec {} -n1 --idempotency-key {option} -- sh -c 'exit 7'",
        crate::support::retry::BINARY
    );
    crate::support::Retry::new("sh").args(["-c", &script]).run().code(7);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_may_have_had_its_effect_is_not_repeated() {
    need!("curl");
    let curl = |options: &[&str], url: &str| {
        let run = retry().args(["-n2", "-d0", "-jnone", "--not-idempotent"]).args(options);
        run.args(["--", "curl", "-fsSi", "-X", "POST", url]).run()
    };
    let refused = refused_port();
    curl(&[], &refused.url("/")).code(7).stderr_contains("gave up after 2 attempts");
    for (reply, requests) in [
        (Reply::status(429), 2),
        (Reply::status(503).header("Retry-After", "1"), 2),
        (Reply::status(503), 1),
        (Reply::status(500), 1),
        (Reply::status(504), 1),
    ] {
        let server = Server::new([reply.clone(), reply]);
        let run = curl(&[], &server.url("/order"));
        run.code(22);
        assert_eq!(server.requests().len(), requests, "{}", run.stderr);
        if requests == 1 {
            run.stderr_contains(
                "the attempt may have taken effect, so --not-idempotent forbids another; -r failure retries it)",
            );
        }
    }
    // A condition given by hand still allows the repeat.
    let server = Server::new([Reply::status(500), Reply::status(500)]);
    curl(&["-r", "http:500"], &server.url("/")).code(22);
    assert_eq!(server.requests().len(), 2);
    // The option refuses a repeat after a timeout and after an unknown failure.
    let run = retry().args(["--not-idempotent", "-d0"]).sh("exit 3").run();
    run.code(3).says(&["retry: sh: not retried: exited 3 (the attempt may have taken effect, so --not-idempotent forbids another; -r failure retries it)"]);
    let run = retry().args(["--not-idempotent", "-d0", "--timeout", "0.2"]).sh("exec sleep 300").run();
    run.code(124).stderr_contains("not retried: timed out");
}

/// The bodies of a shop's orders by key, and the number of orders that the shop carried out.
type Orders = (BTreeMap<String, Vec<u8>>, usize);

/// A server that recognizes orders by their key. It breaks the first two connections after it has
/// carried out the order.
fn shop() -> (Server, Arc<Mutex<Orders>>) {
    let table = Arc::new(Mutex::new((BTreeMap::new(), 0)));
    let of_server = Arc::clone(&table);
    let server = Server::acting(move |number, request| {
        let mut table = of_server.lock().unwrap();
        // Without a key every request is a new order.
        let key = request.header("Idempotency-Key").map_or_else(|| format!("none-{number}"), str::to_owned);
        if !table.0.contains_key(&key) {
            table.0.insert(key.clone(), request.body.clone());
            table.1 += 1;
        }
        match number {
            0 | 1 => Reply::Reset,
            _ => Reply::status(201).body(format!("order {}\n", table.1)),
        }
    });
    (server, table)
}

#[test]
fn with_a_key_three_attempts_make_one_order() {
    need!("curl");
    let scratch = Scratch::new();
    let order = scratch.file("order.json", r#"{"item":"{max}","max":3}"#);
    let curl = |options: &[&str], server: &Server| {
        let data = format!("@{}", order.display());
        let run = retry().args(["-d0", "-n3"]).args(options).args(["--", "curl", "-fsS"]);
        let header = if options.is_empty() { "X: y" } else { "Idempotency-Key: {key}" };
        run.args(["-H", header, "-d", &data, &server.url("/orders")]).run()
    };
    let key = format!("file:{}", scratch.join("order.key").display());
    let (server, table) = shop();
    curl(&["--expand", "--idempotency-key", &key], &server).code(0).stdout("order 1\n");
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    let (orders, acted) = &*table.lock().unwrap();
    assert_eq!(*acted, 1);
    let (key_seen, body) = orders.first_key_value().unwrap();
    assert_eq!(key_seen.len(), 36);
    assert_eq!(body.as_slice(), fs::read(&order).unwrap(), "the body is no argument");
    assert!(!scratch.join("order.key").exists());
    // Without a key the same requests make three orders.
    let (server, table) = shop();
    curl(&[], &server).code(0);
    assert_eq!(table.lock().unwrap().1, 3);
    // A failed run and the run of the next day make one order.
    let (server, table) = shop();
    curl(&["--expand", "--idempotency-key", &key], &server).code(0);
    assert_eq!(table.lock().unwrap().1, 1);
    let (server, table) = shop();
    let data = format!("@{}", order.display());
    let once = || {
        let run = retry().args(["-n2", "-d0", "--expand", "--idempotency-key", &key, "--", "curl", "-fsS"]);
        run.args(["-H", "Idempotency-Key: {key}", "-d", &data, &server.url("/orders")]).run()
    };
    once().code(56).stderr_contains("gave up after 2 attempts");
    once().code(0).stdout("order 1\n").stderr_contains("using the key that an earlier run kept in");
    assert_eq!((server.requests().len(), table.lock().unwrap().1), (3, 1));
}

#[test]
fn a_check_before_every_attempt_says_whether_it_is_needed() {
    let scratch = Scratch::new();
    let (log, done) = (scratch.log("log"), scratch.join("done"));
    // The first effect was achieved, and only the answer was lost.
    let script = format!(
        "{}; [ $RETRY_ATTEMPT = 2 ] && : >{}; exit 56",
        log.echo("attempt $RETRY_ATTEMPT"),
        quoted(&done)
    );
    let words = "check $RETRY_ATTEMPT/$RETRY_MAX_ATTEMPTS after $RETRY_LAST_STATUS";
    let check = format!("{}; test -e {}", log.echo(words), quoted(&done));
    let run = || retry().args(["-d0", "--check", &check]).sh(&script).run();
    run().code(0).stdout("").says(&[
        "retry: sh: attempt 1 of 5 exited 56; next in 0s",
        "retry: sh: attempt 2 of 5 exited 56; next in 0s",
        "retry: sh: succeeded before attempt 3 of 5 in {T}: --check says that the work is done",
    ]);
    let lines = ["check 1/5 after ", "attempt 1", "check 2/5 after 56", "attempt 2", "check 3/5 after 56"];
    assert_eq!(log.lines(), lines);
    run().code(0).says(&["retry: sh: not run: --check says that the work is done"]);
    assert_eq!(log.lines()[5..], ["check 1/5 after "]);
    // The check has the same key as the attempt, and success removes the key.
    let option = format!("file:{}", scratch.join("key").display());
    let script = log.echo(KEY);
    let run =
        retry().args(["--idempotency-key", &option, "--check", &format!("{script}; false")]).sh(&script);
    run.run().code(0);
    assert_eq!(log.lines()[6], log.lines()[7]);
    assert!(!scratch.join("key").exists());
}

#[test]
fn a_check_that_cannot_tell_is_a_failed_attempt_that_is_not_made() {
    let scratch = Scratch::new();
    let records = Records::new();
    let log = scratch.log("log");
    let with = |check: &str| {
        // Conditions apply to the command, and not to the check.
        let options = ["-n2", "-d0", "-x", "any", "-p", "curl", "--not-idempotent", "--check", check];
        retry().args(options).sh(log.echo("ran")).run()
    };
    for (check, status, how) in [
        ("exit 2", 2, "exited 2"),
        ("exit 22", 22, "exited 22"),
        ("nonsuch 2>/dev/null", 127, "exited 127"),
        ("kill -USR1 $$", 138, "killed by USR1"),
    ] {
        with(check).code(status).says(&[
            &format!("retry: sh: attempt 1 of 2 was not made: --check {how}; next in 0s"),
            &format!("retry: sh: gave up after 2 attempts in {{T}}: --check {how}"),
        ]);
    }
    assert!(log.lines().is_empty());
    // The timeout of an attempt also limits its check, and no process of the check survives.
    let check = format!("{}; sleep 600 & sleep 600", log.echo("$$"));
    let run = retry().args(["-n1", "--timeout", "0.5", "--check", &check]).sh("exit 0").run();
    run.code(124).says(&["{*}gave up after 1 attempt in {T}: --check timed out after 0.5s, ended by TERM"]);
    let pid = log.lines()[0].parse().unwrap();
    assert!(!process::alive(pid) && process::session(pid).is_empty());
    // A check that reports finished work says nothing about the health of the service.
    let done = |options: &[&str]| {
        let run =
            retry().args(["-n1", "--breaker", "d"]).args(options).env("RETRY_STATE", records.directory());
        run.run()
    };
    done(&["sh", "-c", "exit 7"]).code(7);
    done(&["--check", "true", "false"]).code(0);
    assert_eq!(records.failures("d"), 1);
    // An option after `--check` is not taken for its value.
    retry()
        .args(["--check", "--hold", "--", "true"])
        .run()
        .code(125)
        .stderr_contains("--check needs a value");
    retry().args(["--check=-e", "true"]).run().code(127).stderr_contains("--check exited 127");
    // A check may fail first and work before a later attempt.
    let check = "[ $RETRY_ATTEMPT = 2 ] && exit 1; exit 3";
    retry().args(["-q", "-d0", "--check", check]).sh("echo $RETRY_ATTEMPT").run().code(0).stdout("2\n");
    // A breaker counts a failed check like any other failure.
    let run = retry().args(["-n2", "-d0", "--breaker", "b", "--check", "exit 3", "true"]);
    run.env("RETRY_STATE", records.directory()).run().code(3);
    assert_eq!(records.failures("b"), 2);
}

#[test]
fn a_check_reads_nothing_and_writes_to_stderr() {
    let check = "cat; echo looked; echo so >&2; exit 1";
    for options in [&[][..], &["--hold"], &["-r", "stdout~looked", "-d0"]] {
        let run = retry().args(options).args(["--check", check, "cat"]).stdin("in\n").run();
        run.code(0).stdout("in\n").stderr("looked\nso\n");
    }
    // The same holds if stderr is closed.
    let script = format!("{} --check 'echo x; exit 1' -- echo y 2>&-", crate::support::retry::BINARY);
    Retry::new("sh").args(["-c", &script]).run().code(0).stdout("y\n");
    // The command gets the input, and the check gets none of it.
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"a\nb\n").unwrap();
    let run = retry().args(["--check", "read x && exit 7; exit 1", "-d0", "-q"]);
    let run = run.sh("read x; echo $x; [ $RETRY_ATTEMPT = 2 ]").stdin(reader).run();
    run.code(0).stdout("a\na\n");
}

#[test]
fn a_signal_during_a_check_meets_no_attempt() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let check = format!("{}; exec sleep 600", log.echo("looks"));
    let running = retry().args(["--check", &check]).sh(log.echo("ran")).spawn();
    log.wait_for(1);
    running.signal(Signal::SIGTERM);
    let run = running.wait_bounded();
    run.signal(Signal::SIGTERM);
    run.says(&[
        "retry: sh: interrupted by TERM during the check before attempt 1 of 5; --check killed by TERM",
    ]);
    // The check may catch the signal and exit with an answer.
    let check = format!("trap 'exit 1' TERM; {}; while :; do sleep 0.02; done", log.echo("looks"));
    let running = retry().args(["--check", &check]).sh(log.echo("ran")).spawn();
    log.wait_for(2);
    running.signal(Signal::SIGTERM);
    // There was no attempt whose exit status retry could return.
    running
        .wait_bounded()
        .signal(Signal::SIGTERM)
        .says(&["{*}interrupted by TERM during the check before attempt 1 of 5; --check exited 1"]);
    assert_eq!(log.lines(), ["looks"; 2]);
}
