//! The section DIAGNOSTICS of the man page quotes messages. Each quotation is compared with what the
//! command prints.

use std::fs;
use std::path::Path;

use crate::support::{Run, Scratch, retry};

/// The text of the section, without the requests and escapes of roff, on one line.
fn section() -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("man/retry.1")).unwrap();
    let (_, page) = page.split_once(".SH DIAGNOSTICS\n").unwrap();
    let (section, _) = page.split_once(".SH ENVIRONMENT\n").unwrap();
    let escapes = [("\\fB", ""), ("\\fI", ""), ("\\fR", ""), ("\\-", "-"), ("\\(aq", "'"), ("\\(ha", "^")];
    escapes.iter().fold(section.replace('\n', " "), |text, (from, to)| text.replace(from, to))
}

/// Checks that a run printed the words, and that the section has them.
#[track_caller]
fn quotes(run: &Run, words: &[&str]) {
    let section = section();
    for words in words {
        run.stderr_contains(words);
        assert!(section.contains(words), "{words:?} in {section}");
    }
}

#[test]
fn messages_about_attempts_are_quoted() {
    let quick = |options: &[&str]| retry().args(["-n2", "-d0"]).args(options);
    for (options, script, words) in [
        (&["-n3", "-d1ms"][..], "[ $RETRY_ATTEMPT = 3 ]", &["succeeded at attempt 3 of", "; next in"][..]),
        (&["--check", "exit 2"], "", &["was not made: --check exited 2", "gave up after"]),
        (&["--until", "3"], "", &["--until", "did not hold"]),
        (&["--on-retry", "exit 1"], "exit 1", &["--on-retry exited 1; the retry follows"]),
        (&["--successes", "2"], "exit 0", &["in a row); next in"]),
        (&["--hold"], "echo x; exit 1", &["attempt 1 of", "to stdout:"]),
        (&["-r3"], "exit 1", &["not retried:", "not in --retry-on"]),
        (&["-x1"], "exit 1", &["fatal by --fatal-on"]),
        (
            &["--not-idempotent"],
            "exit 1",
            &["the attempt may have taken effect, so --not-idempotent forbids another"],
        ),
        (&[], "kill -INT $$", &["treated as a request to stop"]),
        (&[], "exec nosuch 2>/dev/null", &["not retried:"]),
        (&["--timeout=0.1", "--kill-after=0"], "exec sleep 600", &["timed out after", "ended by KILL"]),
        (&["--timeout=0.1"], "exec sleep 600", &["ended by TERM"]),
        (&["--deadline=0.1"], "exec sleep 600", &["was cut by the deadline of", "ended by TERM"]),
        (&["--deadline=5", "-d600"], "exit 1", &["the next delay does not fit into the deadline of"]),
        (
            &["-phttp"],
            "echo 'HTTP/1.1 503 x\nRetry-After: 600\n'; exit 1",
            &["(Retry-After), longer than --max-retry-after 5m"],
        ),
        (&["--report=/nosuch/x"], "exit 1", &["cannot write the report to"]),
        (&["--report=/nosuch/x.prom"], "exit 1", &["cannot write the metrics to"]),
    ] {
        quotes(&quick(options).sh(script).run(), words);
    }
    let inner = retry()
        .args(["-n2", "-d0"])
        .env("RETRY_ATTEMPT", "1")
        .env("RETRY_MAX_ATTEMPTS", "5")
        .sh("exit 1")
        .run();
    quotes(&inner, &["runs inside another retry"]);
    let long = retry().args(["-d0", "--stdin-limit=1"]).stdin("long").sh("cat >/dev/null; exit 1").run();
    quotes(&long, &["stdin is longer than --stdin-limit"]);
    quotes(&retry().args(["--", "nosuch-command"]).run(), &["command not found", "hint:"]);
    quotes(&retry().arg("--nosuch").run(), &["unknown option", "hint:"]);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    quotes(&retry().arg("--hold").stdout(full).sh("echo x").run(), &["cannot write to stdout"]);
}

#[test]
fn messages_about_files_and_shared_state_are_quoted() {
    let scratch = Scratch::new();
    let run = |options: &[&str]| retry().dir(scratch.path()).args(["-n2", "-d0"]).args(options);
    let opened = run(&["--state=s", "--breaker=b", "--breaker-failures=1"]).sh("exit 1").run();
    quotes(&opened, &["gave up after", "is open"]);
    let refused = run(&["--state=s", "--breaker=b"]).sh("exit 0").run();
    quotes(refused.code(75), &["not run: breaker", "is open since"]);
    let waited =
        run(&["--state=s", "--breaker=b", "--breaker-wait", "--deadline=0.5", "-v"]).sh("exit 1").run();
    quotes(&waited, &["is open since"]);
    let spent = run(&["-n4", "--state=s", "--budget=x=1/h"]).sh("exit 1").run();
    quotes(&spent, &["budget", "is spent"]);
    scratch.file("s/d.json", "{\"breaker");
    quotes(&run(&["--state=s", "--breaker=d"]).sh("exit 0").run(), &["the file was damaged"]);
    quotes(&run(&["--state=/proc/x", "--breaker=d"]).sh("exit 0").run(), &["continuing without breaker"]);
    let away = run(&["--state=redis://127.0.0.1:1", "--breaker=d"]).sh("exit 0").run();
    quotes(&away, &["sharing breaker", "on this machine only"]);
    run(&["--idempotency-key=file:key"]).sh("exit 1").run();
    let again = run(&["--idempotency-key=file:key"]).sh("exit 1").run();
    quotes(&again, &["using the key that an earlier run kept in"]);
    run(&["--once=answer"]).sh("exit 0").run().code(0);
    quotes(&run(&["--once=answer"]).sh("exit 0").run(), &["not run: done"]);
    quotes(&run(&["--check=exit 0"]).sh("exit 1").run(), &["not run: --check says that the work is done"]);
    scratch.file("m.prom", "no metrics\n");
    quotes(&run(&["--report=m.prom"]).sh("exit 0").run(), &["was not metrics"]);
}
