//! curl and wget against a failing server: the number of attempts, their times, and the messages.

use std::time::Duration;

use nix::sys::signal::Signal;
use predicates::prelude::PredicateBooleanExt as _;
use predicates::str::contains;

use crate::support::{Reply, Retry, Run, Scratch, Server, each, needs, refused_port, retry};

/// Options that make a run fast and its delays exact.
const FAST: [&str; 4] = ["--delay", "0.01", "--jitter", "none"];

trait Clients {
    /// Ends the arguments with curl and `url`, without the machine's configuration of curl.
    fn curl(self, url: &str) -> Retry;
    /// Does the same with wget. wget makes one try per attempt and writes to stdout.
    fn wget(self, url: &str) -> Retry;
}

impl Clients for Retry {
    fn curl(self, url: &str) -> Retry {
        self.args(["--", "curl", "-q", "--noproxy", "*", "-fsS", url]).env("LC_ALL", "C")
    }

    fn wget(self, url: &str) -> Retry {
        self.args(["--", "wget", "--no-config", "--no-proxy", "--tries=1", "-nv", "-O", "-", url])
            .env("LC_ALL", "C")
            .env_remove("WGETRC")
    }
}

/// The number of lines with `needle` in the command's own stderr, which is the number of attempts
/// that failed in this way.
fn lines_with(run: &Run, needle: &str) -> usize {
    run.stderr.lines().filter(|line| !line.starts_with("retry: ") && line.contains(needle)).count()
}

/// The time in a message in seconds. The time must be below a minute.
fn seconds(text: &str) -> f64 {
    match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(ms), _) => ms.parse::<f64>().unwrap() / 1000.0,
        (None, Some(s)) => s.parse().unwrap(),
        (None, None) => panic!("{text:?} is no time below a minute"),
    }
}

#[test]
fn a_first_attempt_that_succeeds_says_nothing() {
    need!("curl");
    let server = Server::new([Reply::status(200).body("fine\n")]);
    retry().curl(&server.url("/")).run().code(0).stdout("fine\n").silent();
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_server_that_recovers_is_asked_until_then() {
    need!("curl");
    let server = Server::new([
        Reply::status(503).body("no"),
        Reply::status(503).body("no"),
        Reply::status(200).body("yes\n"),
    ]);
    let run = retry().args(FAST).curl(&server.url("/x?y")).run();
    run.code(0).stdout("yes\n").says(&[
        "retry: curl: attempt 1 of 5 exited 22{R}; next in {T}",
        "retry: curl: attempt 2 of 5 exited 22{R}; next in {T}",
        "retry: curl: succeeded at attempt 3 of 5 in {T}",
    ]);
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|r| r.method == "GET" && r.path == "/x?y"));
}

#[test]
fn broken_connections_are_retried() {
    need!("curl");
    let cases = [
        (Reply::Reset, 56, ""),
        (Reply::Close, 52, ""),
        // The partial body has already passed to stdout.
        (Reply::Truncate, 18, "part"),
    ];
    for (reply, status, passed) in cases {
        let server = Server::new([reply, Reply::status(200).body("whole")]);
        let run = retry().args(FAST).curl(&server.url("/")).run();
        run.code(0).stdout(format!("{passed}whole")).says(&[
            &format!("retry: curl: attempt 1 of 5 exited {status}{{R}}; next in {{T}}"),
            "retry: curl: succeeded at attempt 2 of 5 in {T}",
        ]);
        assert_eq!(server.requests().len(), 2);
    }
}

#[test]
fn a_stalled_attempt_is_ended_at_its_timeout() {
    need!("curl");
    let server = Server::new([Reply::Stall, Reply::status(200).body("late")]);
    let run = retry().args(FAST).args(["--timeout", "2"]).curl(&server.url("/")).run();
    run.code(0).stdout("late").stderr_is(&contains("curl: (").not()).says(&[
        "retry: curl: attempt 1 of 5 timed out after 2s, ended by TERM; next in {T}",
        "retry: curl: succeeded at attempt 2 of 5 in {T}",
    ]);
    assert_eq!(server.requests().len(), 2);
    run.check(run.took >= Duration::from_secs(2), "no less than the timeout");
}

#[test]
fn a_timeout_of_the_last_attempt_is_status_124() {
    need!("curl");
    let server = Server::new([Reply::Stall]);
    let run = retry().args(FAST).args(["-n", "2", "--timeout", "0.5"]).curl(&server.url("/")).run();
    run.code(124).stdout("").says(&[
        "retry: curl: attempt 1 of 2 timed out after {T}, ended by TERM; next in {T}",
        "retry: curl: gave up after 2 attempts in {T}: timed out after {T}, ended by TERM",
    ]);
    run.check(run.took >= Duration::from_secs(1), "no less than both timeouts");
}

#[test]
fn a_refused_connection_is_retried_to_the_end() {
    need!("curl");
    let nobody = refused_port();
    let run = retry().args(FAST).args(["--max", "3"]).curl(&nobody.url("/")).run();
    run.code(7).stdout("").says(&[
        "retry: curl: attempt 1 of 3 exited 7 (could not connect); next in {T}",
        "retry: curl: attempt 2 of 3 exited 7 (could not connect); next in {T}",
        "retry: curl: gave up after 3 attempts in {T}: exited 7 (could not connect)",
    ]);
    assert_eq!(lines_with(&run, "curl: (7)"), 3);
}

#[test]
fn a_url_that_curl_cannot_use_is_not_retried() {
    need!("curl");
    for (url, status) in [("nosuch://127.0.0.1/", 1), ("http://127.0.0.1:99999999/", 3)] {
        let run = retry().args(FAST).curl(url).run();
        run.code(status)
            .says(&[&format!("retry: curl: not retried: exited {status} ({{*}}profile curl{{*}})")]);
        assert_eq!(lines_with(&run, &format!("curl: ({status})")), 1);
    }
}

#[test]
fn what_is_declared_fatal_is_not_retried() {
    need!("curl");
    let server = Server::new([Reply::status(404)]);
    let run = retry().args(FAST).args(["-x", "22"]).curl(&server.url("/")).run();
    run.code(22).says(&["retry: curl: not retried: exited 22 ({*})"]);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn what_is_not_among_the_retryable_is_not_retried() {
    need!("curl");
    let server = Server::new([Reply::status(503)]);
    let run = retry().args(FAST).args(["-r", "7"]).curl(&server.url("/")).run();
    run.code(22).says(&["retry: curl: not retried: exited 22 ({*})"]);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn what_is_declared_retryable_is_retried_against_the_profile() {
    need!("curl");
    let run = retry().args(FAST).args(["-r", "1,3", "-n", "2"]).curl("nosuch://127.0.0.1/").run();
    run.code(1);
    assert_eq!(lines_with(&run, "curl: (1)"), 2);
}

#[test]
fn the_profile_can_be_left_out() {
    need!("curl");
    let run = retry().args(FAST).args(["-p", "none", "-n", "2"]).curl("nosuch://127.0.0.1/").run();
    run.code(1);
    assert_eq!(lines_with(&run, "curl: (1)"), 2);
}

#[test]
fn wget_is_retried_after_network_failures() {
    need!("wget");
    let nobody = refused_port();
    let run = retry().args(FAST).args(["-n", "2"]).wget(&nobody.url("/")).run();
    run.code(4).stdout("").says(&[
        "retry: wget: attempt 1 of 2 exited 4{R}; next in {T}",
        "retry: wget: gave up after 2 attempts in {T}: exited 4{R}",
    ]);
    assert_eq!(lines_with(&run, "refused"), 2);
}

#[test]
fn wget_is_retried_after_an_error_of_the_server() {
    need!("wget");
    let server = Server::new([Reply::status(503), Reply::status(200).body("yes")]);
    let run = retry().args(FAST).wget(&server.url("/")).run();
    run.code(0).stdout("yes").says(&[
        "retry: wget: attempt 1 of 5 exited 8{R}; next in {T}",
        "retry: wget: succeeded at attempt 2 of 5 in {T}",
    ]);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn wget_is_not_retried_after_a_wrong_option() {
    need!("wget");
    let run = retry().args(FAST).args(["wget", "--no-such-option"]).env("LC_ALL", "C").run();
    run.code(2).says(&["retry: wget: not retried: exited 2 ({*}profile wget{*})"]);
    assert_eq!(lines_with(&run, "unrecognized option"), 1);
}

#[test]
fn the_maximum_counts_all_attempts() {
    need!("curl");
    for max in [1, 3] {
        let server = Server::new([Reply::status(503)]);
        let run = retry().args(FAST).args(["-n", &max.to_string()]).curl(&server.url("/")).run();
        run.code(22);
        assert_eq!((server.requests().len(), lines_with(&run, "curl: (22)")), (max, max));
        assert_eq!(run.announced().len(), max - 1);
    }
}

#[test]
fn without_a_maximum_there_are_five_attempts() {
    need!("curl");
    let server = Server::new([Reply::status(503)]);
    let run = retry().args(FAST).curl(&server.url("/")).run();
    run.code(22);
    assert_eq!((server.requests().len(), run.announced().len()), (5, 4));
}

#[test]
fn a_deadline_ends_a_run_that_fails_again_and_again() {
    need!("curl");
    let server = Server::new([Reply::status(503)]);
    let args = ["--deadline", "2", "--delay", "0.1", "--backoff", "constant"];
    let run = retry().args(args).curl(&server.url("/")).run();
    // The last attempt may have been cut at the deadline.
    run.check(matches!(run.status.code(), Some(22 | 124)), "the command's status, or 124");
    run.stderr_contains("retry: curl: gave up after ").stderr_contains("deadline of 2s");
    // A delay is shortened to half of the remaining time, if that is at least the first delay.
    run.check(run.took >= Duration::from_millis(1800), "no end before the next delay does not fit");
    run.check(run.took < Duration::from_secs(15), "an end soon after the deadline");
    let gaps = server.gaps();
    assert!(gaps.iter().all(|&gap| gap >= Duration::from_millis(100)), "{gaps:?}");
    // A run with a deadline has no maximum, so no message says "of 5".
    run.check(!run.stderr.contains(" of 5"), "no maximum");
}

#[test]
fn a_deadline_ends_an_attempt_that_does_not_end() {
    need!("curl");
    let server = Server::new([Reply::Stall]);
    let run = retry().args(["--deadline", "2"]).curl(&server.url("/")).run();
    run.code(124).stdout("");
    run.check(run.took >= Duration::from_secs(2), "no end before the deadline");
    run.check(run.took < Duration::from_secs(15), "an end soon after the deadline");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_list_of_delays_is_the_schedule() {
    need!("curl");
    let server = Server::new([Reply::status(503)]);
    let run = retry().args(["-n", "4", "--delay", "0.2,0.5"]).curl(&server.url("/")).run();
    run.code(22);
    let announced: Vec<f64> = run.announced().into_iter().map(seconds).collect();
    assert_eq!(announced, [0.2, 0.5, 0.5]);
    let gaps = server.gaps();
    assert_eq!(gaps.len(), 3);
    for (gap, delay) in gaps.iter().zip([200, 500, 500]) {
        assert!(*gap >= Duration::from_millis(delay), "{gaps:?}");
    }
}

#[test]
fn backoff_doubles_up_to_its_cap() {
    need!("curl");
    let server = Server::new([Reply::status(503)]);
    let args = ["-n", "5", "--delay", "0.1", "--max-delay", "0.3", "--jitter", "none"];
    retry().args(args).curl(&server.url("/")).run().code(22);
    let gaps = server.gaps();
    assert_eq!(gaps.len(), 4);
    for (gap, delay) in gaps.iter().zip([100, 200, 300, 300]) {
        assert!(*gap >= Duration::from_millis(delay), "{gaps:?}");
    }
}

#[test]
fn a_seed_fixes_the_jitter() {
    need!("curl");
    let waits = |seed: &str| {
        let server = Server::new([Reply::status(503)]);
        let args = ["-n", "6", "--delay", "0.5", "--factor", "1", "--jitter", "full", "--seed", seed];
        let run = retry().args(args).curl(&server.url("/")).run();
        run.code(22);
        let announced: Vec<String> = run.announced().into_iter().map(str::to_owned).collect();
        let gaps = server.gaps();
        assert_eq!((announced.len(), gaps.len()), (5, 5));
        for (text, gap) in announced.iter().zip(gaps) {
            assert!(seconds(text) <= 0.5, "{announced:?}");
            // The text is rounded, at most to a tenth of a second.
            assert!(gap.as_secs_f64() + 0.05 >= seconds(text), "{announced:?}: {gap:?}");
        }
        announced
    };
    let first = waits("7");
    assert_eq!(waits("7"), first);
    assert_ne!(waits("8"), first);
    assert!(first.iter().any(|text| *text != first[0]), "{first:?} is not spread");
}

#[test]
fn an_attempt_that_was_healthy_for_long_enough_starts_anew() {
    need!("curl");
    let fails = || Reply::status(503);
    let server = Server::new([fails(), fails(), Reply::Stall, fails()]);
    let run = retry()
        .args(["-n", "3", "--delay", "0.1,0.4", "--timeout", "4", "--healthy-after", "3"])
        .curl(&server.url("/"))
        .run();
    run.code(22).stderr_contains("gave up after ");
    // There are two attempts, the healthy attempt, and at least two of the three attempts of the
    // new series.
    let announced: Vec<f64> = run.announced().into_iter().map(seconds).collect();
    run.check(server.requests().len() >= 5, "more than three attempts");
    assert_eq!(announced[..4], [0.1, 0.4, 0.1, 0.4], "the backoff starts anew too");
}

#[test]
fn an_attempt_that_was_not_healthy_for_long_enough_counts() {
    need!("curl");
    let server = Server::new([Reply::status(503)]);
    let run = retry().args(FAST).args(["-n", "3", "--healthy-after", "1h"]).curl(&server.url("/")).run();
    run.code(22);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_wait_ends_at_once_by_a_signal_and_no_request_follows() {
    need!("curl");
    let server = Server::new([Reply::status(503)]);
    let running = retry()
        .args(["--delay", "1h", "--max-delay", "1h", "--jitter", "none"])
        .curl(&server.url("/"))
        .spawn();
    running.wait_for_stderr("; next in ");
    running.signal(Signal::SIGTERM);
    let run = running.wait_bounded();
    run.signal(Signal::SIGTERM).stderr_contains(
        "retry: curl: interrupted by TERM during the wait after attempt 1 of 5; exited 22 (HTTP 503",
    );
    assert_eq!(server.requests().len(), 1);
}

/// A body that quotes a response with this status, in every form in which programs print one.
fn quoting(status: u16) -> String {
    let block = format!("HTTP/1.1 {status} Quoted\r\nServer: x\r\nRetry-After: 200\r\n\r\n");
    let marked = format!("< HTTP/1.1 {status} Quoted\n< Retry-After: 200\n< \n");
    let indented = format!("  HTTP/1.1 {status} Quoted\n  Retry-After: 200\n\n");
    format!("text\n{block}text\n{marked}{indented}HTTP {status}\nRetry-After: 200\n{block}text")
}

/// Command lines that print a status and fields, and most of them the body too.
fn ways_to_show_a_response(format: &str) -> Vec<(&'static str, String)> {
    let curl = |options: &str| format!("curl -q --noproxy * -sS {options} URL");
    let wget = |options: &str| {
        format!("wget --no-config --no-proxy --tries=1 --content-on-error {options} -O - URL")
    };
    let merged = |line: String| format!("sh -c {}", line.replace(' ', "\u{a0}") + "\u{a0}1>&2");
    vec![
        ("curl", curl("-i")),
        ("curl", curl("-i --http1.1")),
        ("curl", curl("-i --http1.0")),
        ("curl", curl("-i --compressed")),
        ("curl", curl("-i -L")),
        ("curl", curl("-D -")),
        ("curl", curl("-v")),
        ("curl", curl("-v -i")),
        ("curl", curl("-v -L")),
        ("curl", curl("-i URL")),
        ("curl", curl("-v URL")),
        ("curl", curl(&format!("-w @{format}"))),
        ("curl", curl(&format!("-i -w @{format}"))),
        ("curl", merged(curl("-i"))),
        ("curl", merged(curl("-v"))),
        ("curl", merged(curl("-vi --no-buffer"))),
        ("curl --headers h", curl("-D h")),
        ("curl --headers h", curl("-i -o h")),
        ("http", curl("-i")),
        ("http", merged(curl("-v"))),
        ("wget", wget("-S")),
        ("wget", wget("-nv -S")),
        ("wget", merged(wget("-S"))),
        ("wget", merged(wget("-nv -S"))),
        ("httpie", "http --ignore-stdin -v URL".to_owned()),
        ("httpie", "http --ignore-stdin -p hb URL".to_owned()),
        ("httpie", "http --ignore-stdin --all --follow -p HBhbm URL".to_owned()),
        ("httpie", "http --ignore-stdin -v POST URL a=HTTP/1.1".to_owned()),
    ]
}

/// Runs a command line against a server with these replies, and returns the number of requests.
/// With two URLs each attempt sends two requests.
fn run_way(way: &(&str, String), replies: Vec<Reply>) -> (Run, usize, usize) {
    let (profile, line) = way;
    let server = Server::new(replies);
    let scratch = Scratch::new();
    let urls = line.matches("URL").count();
    let words = line.split(' ').map(|word| word.replace('\u{a0}', " ").replace("URL", &server.url("/")));
    let run = retry()
        .args(FAST)
        .args(["-n", "2", "-p"])
        .args(profile.split(' '))
        .arg("--")
        .args(words)
        .env("LC_ALL", "C")
        .env("HOME", scratch.path())
        .env_remove("WGETRC")
        .dir(scratch.path())
        .run();
    (run, server.requests().len(), urls)
}

#[test]
fn a_body_that_quotes_a_response_changes_nothing() {
    let scratch = Scratch::new();
    let format = scratch.file("format", "%{stderr}HTTP %{http_code}\\nRetry-After: %header{retry-after}\\n");
    let ways = ways_to_show_a_response(format.to_str().unwrap());
    each(ways.into_iter().enumerate(), |(index, way)| {
        let program =
            way.1.split([' ', '\u{a0}']).find(|word| ["curl", "wget", "http"].contains(word)).unwrap();
        if !needs::all(&[program]) {
            return;
        }
        for chunked in [false, true] {
            let reply = |status: u16, quoted: u16| {
                let reply = Reply::status(status).body(quoting(quoted));
                if chunked { reply.chunked() } else { reply }
            };
            // httpie takes long to start, so each way shows one of the two kinds of body.
            if program == "http" && chunked == (index % 2 == 0) {
                continue;
            }
            // Of several responses of unknown length in one stream, only the first is found.
            let urls = way.1.matches("URL").count();
            if chunked && urls > 1 && way.1.contains(" -i ") {
                continue;
            }
            let note = |what: &str| format!("{what}, chunked: {chunked}: {way:?}");
            let twice = |reply: Reply| vec![reply; urls];
            // The last attempt succeeds, although its body quotes a status that is fatal.
            let (run, requests, _) = run_way(&way, [twice(reply(503, 404)), twice(reply(200, 404))].concat());
            run.check(requests == 2 * urls, &note("a 503 that quotes a 404"));
            run.check(run.stderr.contains("(HTTP 503); next in 10ms\n"), &note("the reason"));
            run.code(0);
            let (run, requests, _) = run_way(&way, [twice(reply(404, 503)), twice(reply(200, 503))].concat());
            run.check(requests == urls, &note("a 404 that quotes a 503"));
            run.check(run.stderr.contains("(HTTP 404 is fatal"), &note("the reason"));
            // The first attempt succeeds, although its body quotes a status that is retryable.
            let (run, requests, _) = run_way(&way, twice(reply(200, 503)));
            run.check(requests == urls, &note("a 200"));
            run.check(!run.stderr.contains("retry: "), &note("no message"));
            run.code(0);
        }
    });
}

#[test]
fn the_last_of_several_responses_counts() {
    need!("curl");
    let curl = |options: &str| format!("curl -q --noproxy * -sS {options}");
    let ways = [
        ("curl", curl("-i URL URL")),
        ("curl", curl("-v URL URL")),
        ("curl", curl("-D - -o x URL -o y URL")),
        ("curl", curl("-I URL URL")),
        ("curl", curl("-fi URL URL")),
        ("http", curl("-i URL URL")),
        ("curl --headers h", curl("-D h URL URL")),
    ];
    each(ways, |way| {
        let body = quoting(500);
        let reply = |status: u16| Reply::status(status).body(&body);
        let (run, requests, _) = run_way(&way, vec![reply(404), reply(503), reply(200), reply(200)]);
        run.check(requests == 4, &format!("a 404, then a 503: {way:?}"));
        run.code(0);
        if way.1.contains("-o x") {
            // Without a body on stdout, its length does not matter.
            let reply = |status: u16| reply(status).chunked();
            let (run, requests, _) = run_way(&way, vec![reply(404), reply(503), reply(200), reply(200)]);
            run.check(requests == 4, &format!("chunks: {way:?}"));
        }
        let (run, requests, _) = run_way(&way, vec![reply(200), reply(404)]);
        run.check(requests == 2, &format!("a 200, then a 404: {way:?}"));
        run.check(run.stderr.contains("(HTTP 404 is fatal"), &format!("the reason: {way:?}"));
    });
    // A redirect, whose body curl does not print.
    let redirect = || Reply::status(302).header("Location", "/x").body(quoting(404));
    let replies = vec![redirect(), Reply::status(503).body(quoting(404)), Reply::status(200)];
    let (run, requests, _) = run_way(&("curl", curl("-iL URL")), replies);
    run.check(requests == 3, "a redirect to a 503");
    run.code(0);
}
