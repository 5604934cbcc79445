//! A POST or PATCH without an Idempotency-Key: retry says once that a retry may repeat its effect.

use crate::support::needs;
use crate::support::{Reply, Retry, Run, Scratch, Server, retry};

/// The line for a method.
fn line(label: &str, method: &str) -> String {
    format!(
        "retry: {label}: sends a {method} without an Idempotency-Key: a retry may repeat its effect; --not-idempotent prevents this"
    )
}

/// A program of this name that fails with `status`.
fn failing(scratch: &Scratch, name: &str, status: u8) -> Retry {
    scratch.script(name, format!("#!/bin/sh\nexit {status}\n"));
    retry().args(["-n", "3", "-d", "0"]).env("PATH", format!("{}:/usr/bin:/bin", scratch.path().display()))
}

fn lines(run: &Run) -> usize {
    run.stderr.matches("without an Idempotency-Key").count()
}

#[test]
fn the_line_comes_once_after_the_first_retry() {
    let scratch = Scratch::new();
    let run = failing(&scratch, "curl", 7).args(["curl", "-d", "x", "http://127.0.0.1/"]).run();
    run.code(7).says(&[
        "retry: curl: attempt 1 of 3 exited 7 (could not connect); next in 0s",
        &line("curl", "POST"),
        "retry: curl: attempt 2 of 3 exited 7 (could not connect); next in 0s",
        "retry: curl: gave up after 3 attempts in {T}: exited 7 (could not connect)",
    ]);
    let words = ["env", "A=b", "timeout", "9", "curl", "-X", "PATCH", "http://127.0.0.1/"];
    let run = failing(&scratch, "curl", 7).args(["--label", "order"]).args(words).run();
    run.code(7).check(run.messages()[1] == line("order", "PATCH"), "it has the label");
}

#[test]
fn nothing_is_said_where_nothing_is_repeated_or_the_options_take_care() {
    let scratch = Scratch::new();
    let post = ["curl", "-d", "x", "http://127.0.0.1/"];
    for (options, status) in [
        (&["-q"][..], 7),
        (&["-qq"], 7),
        // No retry follows.
        (&["-n", "1"], 7),
        (&[], 0),
        (&[], 3),
        (&["-x", "7"], 7),
        // The failure proves that nothing was sent, or is not retried.
        (&["--not-idempotent"], 7),
        (&["--not-idempotent"], 52),
        (&["--check", "exit 1"], 7),
    ] {
        let run = failing(&scratch, "curl", status).args(options).args(post).run();
        run.check(lines(&run) == 0, &format!("{options:?} {status}"));
    }
    for (options, words) in [
        (&["--expand"][..], &["curl", "-d", "x", "-H", "Idempotency-Key: {key}", "URL"][..]),
        (&["--expand", "--idempotency-key", "k"], &["curl", "-d", "x", "-H", "X-Request-Id: {key}", "URL"]),
        (
            &["--idempotency-key", "k"],
            &[
                "curl",
                "--variable",
                "%RETRY_IDEMPOTENCY_KEY",
                "--expand-header",
                "Request-Id: {{RETRY_IDEMPOTENCY_KEY}}",
                "-d",
                "x",
                "URL",
            ],
        ),
    ] {
        let run = failing(&scratch, "curl", 7).args(options).args(words).run();
        run.code(7).check(lines(&run) == 0, &format!("{options:?} {words:?}"));
    }
    // A key that does not reach the request helps nobody.
    let run = failing(&scratch, "curl", 7).args(["--idempotency-key", "k", "--expand"]).args(post).run();
    run.code(7).check(lines(&run) == 1, "the key is not among the words");
}

/// Runs a command of these words against a server that is down, and compares what retry says with
/// what the server has got.
#[track_caller]
fn compare(line: &str, stdin: Option<&str>) {
    let scratch = Scratch::new();
    scratch.file("f", "body");
    scratch.file("headers", "Idempotency-Key: x\n");
    let server = Server::new([Reply::status(503)]);
    let words = line.split(' ').map(|word| word.replace("URL", &server.url("/")).replace('~', " "));
    let program = line.split(' ').next().unwrap();
    let real = needs::program(program).unwrap();
    // Only the first attempt runs the program, because some programs take long to start.
    let script = format!("#!/bin/sh\n[ $RETRY_ATTEMPT = 1 ] || exit 9\nexec {} \"$@\"\n", real.display());
    scratch.script(program, script);
    let path = format!("{}:{}", scratch.path().display(), std::env::var("PATH").unwrap());
    let mut run = retry().args(["-n", "2", "-d", "0", "-r", "failure"]).args(words).env("PATH", path);
    for (name, value) in [("HOME", "."), ("HTTPIE_CONFIG_DIR", "."), ("no_proxy", "*")] {
        run = run.env(name, value);
    }
    if let Some(stdin) = stdin {
        run = run.stdin(stdin);
    }
    let run = run.env_remove("WGETRC").dir(scratch.path()).run();
    let requests = server.requests();
    run.check(!requests.is_empty(), &format!("{line}: it was sent"));
    run.code(9).stderr_contains("gave up after 2 attempts");
    let unkeyed = requests.iter().find(|request| {
        ["POST", "PATCH"].contains(&request.method.as_str()) && request.header("Idempotency-Key").is_none()
    });
    let expected = unkeyed.map(|request| format!("sends a {} without", request.method));
    match expected {
        Some(said) => run.check(run.stderr.contains(&said), &format!("{line}: it {said}")),
        None => run.check(lines(&run) == 0, &format!("{line}: it says nothing")),
    };
}

#[test]
fn retry_says_what_curl_sends() {
    need!("curl");
    for line in [
        "curl -sSf URL",
        "curl -sSfX POST URL",
        "curl -sSf --request PATCH URL",
        "curl -sSfd x URL",
        "curl -sSf --data-binary @f URL",
        "curl -sSf --data-urlencode a=b URL",
        "curl -sSf -F a=@f URL",
        "curl -sSf --form-string a=b URL",
        "curl -sSfGd x URL",
        "curl -sSf --get --data x URL",
        "curl -sSf -X PUT -d x URL",
        "curl -sSf -T f URL",
        "curl -sSf -T f -X POST URL",
        "curl -sSfI URL",
        "curl -sSf -H Idempotency-Key:~x -d x URL",
        "curl -sSf -HIdempotency-Key:x -d x URL",
        "curl -sSf -H Idempotency-Key: -d x URL",
        "curl -sSf -H Idempotency-Key; -d x URL",
        "curl -sSf -H @headers -d x URL",
        "curl -sSf URL --next -sSf -d x URL",
        "curl -sSf -d x -H Idempotency-Key:x URL -: -sSf -d y URL",
        "curl -sSf -o /dev/null -d x URL",
    ] {
        compare(line, None);
    }
}

#[test]
fn retry_says_what_wget_sends() {
    need!("wget");
    for line in [
        "wget -qO- -t1 URL",
        "wget -qO- -t1 --post-data=x URL",
        "wget -qO- -t1 --post-file f URL",
        "wget -qO- -t1 --method=post --body-data=x URL",
        "wget -qO- -t1 --method=PATCH --body-file=f URL",
        "wget -qO- -t1 --method=PUT --body-data=x URL",
        "wget -qO- -t1 --header=Idempotency-Key:~x --post-data=y URL",
        "wget -qO- -t1 --header=Idempotency-Key:~x --header= --post-data=y URL",
        "wget -qO- -t1 -e post_data=x URL",
        "wget -qO- -t1 -e header=Idempotency-Key:x --post-data=y URL",
        "wget -nv -O - -t1 -H --post-data=x URL",
    ] {
        compare(line, None);
    }
}

#[test]
fn retry_says_what_httpie_sends() {
    need!("http");
    // httpie takes long to start, so the unit tests have the longer table.
    for line in [
        "http --check-status -I patch URL a=b",
        "http --check-status -I URL a==b X-A:b",
        "http --check-status -I URL a:=1",
        "http --check-status -I URL a=b Idempotency-Key:x",
        "http --check-status -I URL a=b Idempotency-Key:",
        "http --check-status -I --raw=x URL",
    ] {
        compare(line, None);
    }
    compare("http --check-status URL", Some("body"));
    compare("http --check-status -I URL", Some("body"));
    // Stdin is /dev/null.
    compare("http --check-status URL", None);
}
