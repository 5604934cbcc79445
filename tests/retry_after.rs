//! Requests of a server: HTTP statuses and `Retry-After`, in every form in which a command shows
//! them. The server's log shows the number and the times of the requests.

use std::time::Duration;

use crate::support::retry::BINARY;
use crate::support::{Reply, Retry, Scratch, Server, each, needs, retry};

/// Without delays of retry, so that the server alone causes each wait.
const NOW: [&str; 4] = ["--delay", "0", "--jitter", "none"];

/// curl without the machine's configuration.
const CURL: [&str; 5] = ["curl", "-q", "--noproxy", "*", "-sS"];

trait Line {
    /// Ends the arguments with a command line, whose words are separated by spaces.
    fn line(self, line: &str) -> Retry;
}

impl Line for Retry {
    fn line(self, line: &str) -> Retry {
        self.arg("--").args(line.split(' ')).env("LC_ALL", "C").env_remove("WGETRC")
    }
}

fn curl(options: &str) -> String {
    format!("{} {options}", CURL.join(" "))
}

fn wget(options: &str) -> String {
    format!("wget --no-config --no-proxy --tries=1 {options}")
}

fn unavailable(retry_after: &str) -> Reply {
    Reply::status(503).header("Retry-After", retry_after)
}

#[test]
fn every_way_to_see_it_is_understood() {
    need!("curl");
    let scratch = Scratch::new();
    let script = scratch.script(
        "script",
        "#!/bin/sh\n[ $RETRY_ATTEMPT = 2 ] || printf 'HTTP 503\\nRetry-After: 1\\n'\nexec curl -qfsSo x --noproxy '*' $1\n",
    );
    let script = script.to_str().unwrap();
    // curl prints this format, as in the README. It is in a file, because a word contains no space
    // here.
    let write_out =
        scratch.file("format", "%{stderr}HTTP %{http_code}\\nRetry-After: %header{retry-after}\\n");
    each(
        [
            ("", curl("-f -i URL")),
            ("", curl("-fi URL")),
            ("", curl("-f -v URL")),
            ("", curl("-f -D /dev/stderr URL")),
            ("", curl("-f -D - URL")),
            ("", curl("-f --dump-header - URL")),
            ("", curl(&format!("-f -w @{} URL", write_out.display()))),
            ("--headers h", curl("-f -D h URL")),
            ("--headers h -p none", curl("-f -D h URL")),
            ("", wget("-S -O - URL")),
            ("", wget("-nv -S -O /dev/null URL")),
            ("-p http", format!("{script} URL")),
            ("-r http:503", format!("{script} URL")),
            ("", format!("env LC_ALL=C timeout 30 {}", curl("-f -i URL"))),
            // Without -f a status is not a failure for curl, so the test names the profile.
            ("-p curl", curl("-i URL")),
        ],
        |(options, line)| {
            if line.starts_with("wget") && !needs::all(&["wget"]) {
                return;
            }
            let server = Server::new([unavailable("1"), Reply::status(200).body("fine\n")]);
            let line = line.replace("URL", &server.url("/"));
            let own = Scratch::new();
            let run = retry().args(NOW).args(options.split_terminator(' ')).line(&line).dir(own.path()).run();
            run.code(0).stderr_contains("Retry-After 1s); next in 1s\n");
            run.check(server.requests().len() == 2, &line);
            run.check(server.gaps()[0] >= Duration::from_secs(1), &line);
        },
    );
}

/// curl opens /dev/stderr again, and there it finds the pipe that carries both streams.
#[test]
fn headers_on_stderr_are_seen_if_both_streams_are_one_pipe() {
    need!("curl");
    each(["-f -D /dev/stderr", "-fD/dev/stderr -o x", "-f --dump-header /dev/fd/2"], |options| {
        let server = Server::new([unavailable("1"), Reply::status(200).body("fine\n")]);
        let scratch = Scratch::new();
        let line = format!("{} {}", curl(options).replace('*', "'*'"), server.url("/"));
        let line = format!("{BINARY} {} -- {line} 2>&1 | cat >&2", NOW.join(" "));
        let run = Retry::new("sh").args(["-c", &line]).dir(scratch.path()).run();
        run.code(0).stderr_contains("Retry-After 1s); next in 1s\n");
        run.check(server.requests().len() == 2, &line);
        run.check(server.gaps()[0] >= Duration::from_secs(1), &line);
    });
}

/// The body of the error quotes a response that would forbid the retry.
#[test]
fn a_body_beside_headers_on_stderr_does_not_count() {
    need!("curl");
    let quoted = "HTTP/1.1 404 Not Found\r\nServer: x\r\n\r\n";
    let server = Server::new([unavailable("1").body(quoted), Reply::status(200).body("fine\n")]);
    let line = format!("{} {}", curl("-D /dev/stderr").replace('*', "'*'"), server.url("/"));
    let line = format!("{BINARY} {} -p curl -- {line} 2>&1 | cat >&2", NOW.join(" "));
    let run = Retry::new("sh").args(["-c", &line]).run();
    run.code(0).stderr_contains("HTTP 503, Retry-After 1s").stderr_contains("next in 1s\n");
    run.check(server.requests().len() == 2, &line);
}

#[test]
fn every_form_is_understood() {
    need!("curl");
    let with = |headers: &[(&str, &str)], status: u16| {
        headers.iter().fold(Reply::status(status), |reply, (name, value)| reply.header(name, value))
    };
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    each(
        [
            (503, &[("Retry-After", "1")][..], Some("Retry-After 1s")),
            (429, &[("retry-after", " 1 ")], Some("Retry-After 1s")),
            (503, &[("Retry-After", "0.7")], Some("Retry-After 0.7s")),
            (503, &[("retry-after-ms", "700")], Some("retry-after-ms 0.7s")),
            // Dates from a clock that is decades behind.
            (
                503,
                &[("Date", date), ("Retry-After", "Sun, 06 Nov 1994 08:49:38 GMT")],
                Some("Retry-After 1s"),
            ),
            (
                503,
                &[("Date", date), ("Retry-After", "Sunday, 06-Nov-94 08:49:38 GMT")],
                Some("Retry-After 1s"),
            ),
            (503, &[("Date", date), ("Retry-After", "Sun Nov  6 08:49:38 1994")], Some("Retry-After 1s")),
            // Two slips that are common.
            (
                503,
                &[("Date", date), ("Retry-After", "Sun, 06 Nov 1994 08:49:38 UTC")],
                Some("Retry-After 1s"),
            ),
            (
                503,
                &[
                    ("Date", "Sun, 06 Nov 1994 08:49:37 +0000"),
                    ("Retry-After", "Sun, 06 Nov 1994 08:49:38 +0000"),
                ],
                Some("Retry-After 1s"),
            ),
            (429, &[("RateLimit-Remaining", "0"), ("RateLimit-Reset", "1")], Some("RateLimit-Reset 1s")),
            (429, &[("RateLimit", "\"default\";r=0;t=1")], Some("RateLimit 1s")),
            (
                403,
                &[("Date", date), ("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "1")],
                Some("X-RateLimit-Reset 1s"),
            ),
            // If there are several headers, the longest wait counts, and it overrides a mere hint.
            (503, &[("Retry-After", "1"), ("Retry-After", "0.5")], Some("Retry-After 1s")),
            (
                429,
                &[("RateLimit-Remaining", "0"), ("RateLimit-Reset", "9"), ("Retry-After", "1")],
                Some("Retry-After 1s"),
            ),
            // Without a usable value the backoff decides.
            (503, &[("Retry-After", "-5")], None),
            (503, &[("Retry-After", "soon")], None),
            (503, &[("Retry-After", "")], None),
            (503, &[("Retry-After", "0x10")], None),
            (503, &[("Retry-After", "1e9")], None),
            (503, &[("Retry-After", "0")], None),
            (503, &[("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT")], None),
            (503, &[("Retry-After", "Sun, 06 Nov 1994 08:49:37")], None),
            (503, &[("RateLimit-Remaining", "5"), ("RateLimit-Reset", "100")], None),
        ],
        |(status, headers, waits)| {
            let server = Server::new([with(headers, status), Reply::status(200)]);
            let run = retry().args(NOW).line(&curl(&format!("-fi {}", server.url("/")))).run();
            run.code(0);
            let expected = match waits {
                Some(asked) => format!("(HTTP {status}, {asked}); next in "),
                None => format!("(HTTP {status}); next in 0s"),
            };
            run.check(run.stderr.contains(&expected), &format!("{expected:?} for {headers:?}"));
            let least = if waits.is_some_and(|asked| asked.ends_with("0.7s")) { 700 } else { 1000 };
            if waits.is_some() {
                run.check(server.gaps()[0] >= Duration::from_millis(least), &format!("{headers:?}"));
            }
        },
    );
}

#[test]
fn the_last_header_block_wins() {
    need!("curl");
    // The redirect asks for a long wait, but only the answer after the redirect counts.
    let redirect = || Reply::status(302).header("Location", "/x").header("Retry-After", "3600");
    let server = Server::new([redirect(), unavailable("1"), redirect(), Reply::status(200)]);
    let run = retry().args(NOW).line(&curl(&format!("-fiL {}", server.url("/")))).run();
    run.code(0).stderr_contains("(HTTP 503, Retry-After 1s); next in 1s\n");
    // Headers in the file from an earlier attempt do not count.
    let scratch = Scratch::new();
    let script = scratch.script(
        "script",
        "#!/bin/sh\n[ $RETRY_ATTEMPT = 1 ] && printf 'HTTP/1.1 503 x\\r\\nRetry-After: 1\\r\\n\\r\\n' >>h\nexit 1\n",
    );
    scratch.file("h", "HTTP/1.1 404 x\r\n\r\n");
    let run = retry().args(NOW).args(["-n3", "--headers", "h"]).arg(script).dir(scratch.path()).run();
    run.code(1).says(&[
        "retry: script: attempt 1 of 3 exited 1 (HTTP 503, Retry-After 1s); next in 1s",
        "retry: script: attempt 2 of 3 exited 1; next in 0s",
        "retry: script: gave up after 3 attempts in {T}: exited 1",
    ]);
}

#[test]
fn a_status_that_will_not_get_better_ends_the_run() {
    each(
        [
            (400, false),
            (401, false),
            (403, false),
            (404, false),
            (408, true),
            (410, false),
            (425, true),
            (429, true),
            (500, true),
            (501, false),
            (502, true),
            (503, true),
            (504, true),
            (505, false),
            (511, false),
            (521, true),
            (529, true),
        ],
        |(status, again)| {
            for line in [curl("-f URL"), wget("-nv -O - URL")] {
                let server = Server::new([Reply::status(status), Reply::status(200)]);
                let program = line.split(' ').next().unwrap();
                if !needs::all(&[program]) {
                    continue;
                }
                let run = retry().args(NOW).line(&line.replace("URL", &server.url("/"))).run();
                // wget reports this status only by its own exit status, without the number.
                match (status, program) {
                    (401, "wget") => {
                        run.code(6)
                            .stderr_contains("not retried: exited 6 (authentication is fatal: profile wget;");
                        continue;
                    }
                    (504, "wget") => {
                        run.code(0).stderr_contains("exited 4 (network failure); next in 0s\n");
                        continue;
                    }
                    _ => {}
                }
                let requests = if again { 2 } else { 1 };
                run.check(
                    server.requests().len() == requests,
                    &format!("{requests} requests after {status}"),
                );
                if again {
                    run.code(0).stderr_contains(&format!("(HTTP {status}); next in 0s\n"));
                } else {
                    run.stderr_contains(&format!(
                    "retry: {program}: not retried: exited {} (HTTP {status} is fatal: profile {program}; \
                     -r failure retries it)\n",
                    run.status.code().unwrap()
                ));
                }
            }
        },
    );
    // A 403 or 413 with Retry-After is not final.
    need!("curl");
    for status in [403, 413] {
        let limited = Reply::status(status).header("Retry-After", "1");
        let server = Server::new([limited, Reply::status(200)]);
        let run = retry().args(NOW).line(&curl(&format!("-fi {}", server.url("/")))).run();
        run.code(0).stderr_contains(&format!("(HTTP {status}, Retry-After 1s); next in 1s\n"));
    }
    // One that names no time is final.
    let server = Server::new([Reply::status(413), Reply::status(200)]);
    let run = retry().args(NOW).line(&curl(&format!("-fi {}", server.url("/")))).run();
    run.code(22).stderr_contains("not retried: exited 22 (HTTP 413 is fatal: ");
}

#[test]
fn what_is_too_long_is_not_waited_for() {
    need!("curl");
    let scratch = Scratch::new();
    for (options, asked, cause) in [
        ("", "301", "the server asks to wait 5m 1s (Retry-After), longer than --max-retry-after 5m"),
        (
            "",
            "99999999999999999999999",
            "the server asks to wait {*} (Retry-After), longer than --max-retry-after 5m",
        ),
        (
            "--max-retry-after 2",
            "3",
            "the server asks to wait 3s (Retry-After), longer than --max-retry-after 2s",
        ),
        ("--deadline 50", "60", "the server asks to wait 60s (Retry-After), past the deadline of 50s"),
    ] {
        let server = Server::new([unavailable(asked)]);
        let run =
            retry().args(options.split_terminator(' ')).line(&curl(&format!("-fi {}", server.url("/"))));
        let run = run.dir(scratch.path()).run();
        run.code(22);
        run.says(&[&format!(
            "retry: curl: gave up after 1 attempt in {{T}}: {cause}; exited 22 (HTTP 503, Retry-After {{*}})"
        )]);
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn a_crowd_that_was_told_the_same_does_not_come_back_together() {
    const CLIENTS: usize = 50;
    need!("curl");
    let told = Duration::from_secs(10);
    let mut script: Vec<Reply> =
        (0..CLIENTS).map(|_| Reply::status(429).header("Retry-After", "10")).collect();
    script.push(Reply::status(200));
    let server = Server::new(script);
    let line = curl(&format!("-fi {}", server.url("/")));
    let running: Vec<_> =
        (0..CLIENTS).map(|seed| retry().args(["--seed", &seed.to_string()]).line(&line).spawn()).collect();
    let mut waits: Vec<String> = Vec::new();
    for run in running {
        let run = run.wait_bounded();
        waits.extend(run.code(0).announced().into_iter().map(str::to_owned));
    }
    let requests = server.requests();
    assert_eq!(requests.len(), 2 * CLIENTS);
    let (first, second) = requests.split_at(CLIENTS);
    // No client returns earlier than ten seconds after its answer. The test compares the sorted
    // times, so it needs no match between clients and requests.
    let mut told_at: Vec<_> = first.iter().map(|request| request.at).collect();
    let mut back_at: Vec<_> = second.iter().map(|request| request.at).collect();
    told_at.sort();
    back_at.sort();
    for (told_at, back_at) in told_at.iter().zip(&back_at) {
        assert!(*back_at >= *told_at + told, "nobody comes early");
    }
    let spread = back_at[CLIENTS - 1] - back_at[0];
    assert!(spread >= Duration::from_millis(800), "{spread:?}");
    // The clients do not come in one heap: no announced wait is shared by more than a third of
    // them.
    assert_eq!(waits.len(), CLIENTS);
    for wait in &waits {
        let near = waits.iter().filter(|other| *other == wait).count();
        assert!(near <= CLIENTS / 3, "{near} wait {wait}");
    }
}

#[test]
fn a_poll_waits_as_the_server_wishes_and_a_404_still_stops_it() {
    need!("curl");
    let accepted = Reply::status(202).header("Retry-After", "1").body("{\"state\": \"pending\"}");
    let server = Server::new([accepted, Reply::status(200).body("{\"state\": \"ready\"}")]);
    let until = ["--until", "stdout~\"state\": *\"ready\"", "--deadline", "10m"];
    let run = retry().args(NOW).args(until).line(&curl(&format!("-fi {}", server.url("/")))).run();
    run.code(0).stderr_contains("retry: curl: attempt 1 exited 0 (HTTP 202, Retry-After 1s); next in 1s\n");
    assert!(server.gaps()[0] >= Duration::from_secs(1));
    let server = Server::new([Reply::status(404)]);
    let run = retry().args(NOW).args(until).line(&curl(&format!("-f {}", server.url("/")))).run();
    run.code(22).says(&[
        "retry: curl: not retried: exited 22 (HTTP 404 is fatal: profile curl; -r failure retries it)",
    ]);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_condition_names_statuses() {
    need!("curl");
    for (options, replies, requests) in [
        ("-r http:404", [404, 200], 2),
        ("-r http:503", [404, 200], 1),
        ("-r http:4xx,7", [418, 200], 2),
        ("-x http:500-503", [502, 200], 1),
        ("-x http:503 -p none", [503, 200], 1),
        ("--success-on http:404", [404, 200], 1),
        ("-r transient -r http:404", [404, 200], 2),
        ("-r transient", [503, 200], 2),
        ("-r transient", [404, 200], 1),
    ] {
        let server = Server::new(replies.map(Reply::status));
        let run =
            retry().args(NOW).args(options.split(' ')).line(&curl(&format!("-fi {}", server.url("/")))).run();
        run.check(server.requests().len() == requests, &format!("{requests} requests with {options}"));
    }
}
