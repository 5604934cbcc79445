//! Safe repeats: one key for all attempts, and for the next run where this one fails.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::scratch::quoted;
use crate::support::{Reply, Run, Scratch, Server, refused_port, retry};

/// What each attempt found as its key.
const KEY: &str = "$RETRY_IDEMPOTENCY_KEY";

#[test]
fn all_attempts_of_a_run_have_one_fresh_key() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    for _ in 0..2 {
        let script = format!("{}; exit 7", log.echo(KEY));
        // What an outer run had is not this one's.
        retry().args(["-n3", "-d0"]).sh(script).env("RETRY_IDEMPOTENCY_KEY", "outer").run().code(7);
    }
    let keys = log.lines();
    assert_eq!((&keys[0], &keys[0]), (&keys[1], &keys[2]));
    assert_eq!((&keys[3], &keys[3]), (&keys[4], &keys[5]));
    assert_ne!(keys[0], keys[3]);
    // A random UUID (RFC 9562, section 5.4).
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
    // Without the option nothing is, and where a key is given that is no slip.
    run(&[], &["{key}", "{attempt}"]).code(0).stdout("{key}\n{attempt}\n");
    let refused = run(&["--idempotency-key", "k"], &["{key}"]);
    refused.code(125).stdout("").says(&[
        "retry: --idempotency-key is given, and {key} in an argument is not replaced",
        "retry: hint: add --expand, which replaces it",
    ]);
    run(&["--idempotency-key", "k"], &["{attempt}"]).code(0).stdout("{attempt}\n");
    // Each attempt has its own number; the command's name is no argument.
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let script =
        scratch.script("{attempt}", format!("#!/bin/sh\necho \"$1\" >>{}\nexit 7\n", quoted(log.path())));
    retry().args(["--expand", "-n3", "-d0"]).arg(&script).arg("{attempt}").run().code(7);
    assert_eq!(log.lines(), ["1", "2", "3"]);
}

/// A run whose key is in this file.
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
    let hours = Duration::from_secs(3 * 3600);
    File::open(&path).unwrap().set_modified(SystemTime::now() - hours).unwrap();
    with_file(&path, &works).code(0).says(&[&format!(
        "retry: sh: repeats with the key in {}, 3h old: it was kept by an earlier run",
        path.display()
    )]);
    assert_eq!(log.lines(), [key.as_str(); 3]);
    assert!(!path.exists());
    with_file(&path, &works).code(0).silent();
    assert_ne!(log.lines()[3], key);
    // Nothing else is left.
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    // A run that is refused before its first attempt has sent nothing.
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
        (b"\xff\n", "holds no text"),
        (&[b'k'; 256], "holds more than 255 bytes"),
        (&[b'k'; 9999], "holds more than 255 bytes"),
        ("é".repeat(200).as_bytes(), "holds more than 255 bytes"),
    ] {
        fs::write(&path, content).unwrap();
        refused(cause);
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    fs::write(&path, "k").unwrap();
    let day = Duration::from_secs(24 * 3600);
    File::open(&path).unwrap().set_modified(SystemTime::now() - day - Duration::from_secs(60)).unwrap();
    refused("is 24 hours old: a server may have forgotten it");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused("is not a regular file");
    fs::remove_dir(&path).unwrap();
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    refused("is not a regular file");
    let nowhere = scratch.join("none/key");
    with_file(&nowhere, &ran).code(125).stderr_contains("cannot make the key file");
    assert_eq!(log.lines(), [""; 0]);
    // One that somebody has written without an end of line, and of the greatest length.
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
    // Whatever it has become meanwhile, nothing is waited for, and that it stays is said.
    fs::remove_file(&path).unwrap();
    let run = with_file(&path, &format!("rm {0}; mkfifo {0}", path.display()));
    run.code(0).stderr_contains("is not a regular file; the next run would repeat with the same key");
    // A link to nothing is no place for one.
    let link = scratch.join("link");
    std::os::unix::fs::symlink(scratch.join("none"), &link).unwrap();
    with_file(&link, "exit 0").code(125).stderr_contains("is not a regular file");
}

#[test]
fn whenever_it_is_killed_the_key_file_is_whole_and_nothing_else_is_left() {
    let scratch = Scratch::new();
    let path = scratch.join("key");
    let option = format!("file:{}", path.display());
    for n in 0..300u64 {
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
    // Whatever the umask, its owner can read it.
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
            run.stderr_contains("it may have had its effect: --not-idempotent; -r failure retries it)");
        }
    }
    // By hand all the same.
    let server = Server::new([Reply::status(500), Reply::status(500)]);
    curl(&["-r", "http:500"], &server.url("/")).code(22);
    assert_eq!(server.requests().len(), 2);
    // A timeout, an unknown failure.
    let run = retry().args(["--not-idempotent", "-d0"]).sh("exit 3").run();
    run.code(3).says(&["retry: sh: not retried: exited 3 (it may have had its effect: --not-idempotent; -r failure retries it)"]);
    let run = retry().args(["--not-idempotent", "-d0", "--timeout", "0.2"]).sh("exec sleep 300").run();
    run.code(124).stderr_contains("not retried: timed out");
}
