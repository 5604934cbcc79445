//! The place of a server: what a URL may say, what of it is shown, and the list of all records.

use std::net::TcpListener;

use crate::fleet::failures::{WARNING, with};
use crate::support::needs;
use crate::support::redis::{Redis, program};
use crate::support::retry::BINARY;
use crate::support::*;

#[test]
fn a_zone_of_ipv6_is_an_interface_of_this_machine() {
    if TcpListener::bind("[::1]:0").is_err() {
        return needs::left_out("IPv6");
    }
    let Some(program) = program() else { return };
    let server = Redis::start(&program, &["--bind", "127.0.0.1", "::1"]);
    for zone in ["lo", "1"] {
        let url = format!("redis://[::1%25{zone}]:{}", server.port);
        let run =
            server.run(|run| run.env("RETRY_STATE", &url).args(["-n1", "--breaker", zone]).sh("exit 7"));
        run.code(7).check(!run.stderr.contains(WARNING), "the server serves");
        assert_eq!(server.failures(zone), 1);
    }
    let elsewhere = "redis://[fe80::1%25no-such]:7";
    let run = with(elsewhere).env("XDG_STATE_HOME", server.scratch.path());
    let run = run.args(["-n1", "--breaker", "b"]).sh("exit 7").run();
    run.code(7).stderr_contains(&format!(
        "cannot use {elsewhere}: no address for the name fe80::1%no-such: its zone is no network interface here"
    ));
}

#[test]
fn what_is_shown_of_a_url_names_the_same_server() {
    let Some(program) = program() else { return };
    let scratch = Scratch::new();
    let socket = scratch.join("a b?c#d%e'f");
    let server = Redis::start(&program, &["--unixsocket", socket.to_str().unwrap()]);
    let url = format!("redis+unix://{}/a%20b%3fc%23d%25e'f?db=3", scratch.path().display());
    let run =
        |arguments: &[&str]| server.run(|run| run.env("RETRY_STATE", &url).args(arguments.iter().copied()));
    run(&["--breaker-trip=b"]).code(0);
    let refused = run(&["-n1", "--breaker", "b", "true"]);
    let (_, hint) = refused.code(75).stderr.split_once("to close it: retry ").unwrap();
    // The hint is for a shell.
    let pasted = Retry::new("sh").args(["-c", &format!("{BINARY} {hint}")]).env_remove("RETRY_STATE").run();
    pasted.code(0);
    run(&["-n1", "--breaker", "b", "true"]).code(0);
}

#[test]
fn a_server_without_its_slashes_is_no_directory() {
    let scratch = Scratch::new();
    for place in ["redis:/h", "REDIS:h:6379", "rediss:u:s3cr3t@h", "valkey:h", "valkey://h", "127.0.0.1:6379"]
    {
        let run = || retry().dir(scratch.path()).args(["-n1", "--breaker", "b"]);
        for run in [
            run().args(["--state", place]).sh("exit 0").run(),
            run().env("RETRY_STATE", place).sh("exit 0").run(),
        ] {
            run.code(125).stderr_contains("hint: write redis://HOST").stderr_contains("write ./");
            run.check(!run.stderr.contains("s3cr3t"), "no password is printed");
        }
    }
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    let run = retry().dir(scratch.path()).args(["-n1", "--breaker", "b", "--state", "./redis:x"]);
    run.sh("exit 7").run().code(7);
    assert!(scratch.join("redis:x/b.json").exists());
}

#[test]
fn the_list_of_all_records_takes_one_connection() {
    let Some(program) = program() else { return };
    let server = Redis::start(&program, &[]);
    server.run(|run| run.args(["-n1", "--breaker", "b0"]).sh("exit 7")).code(7);
    let record = server.read("b0").to_string();
    for n in 1..30 {
        server.ask(&["SET", &server.key("b0").replace("b0", &format!("b{n}")), &record]);
    }
    let connections = || {
        let text = server.ask(&["INFO", "stats"]);
        let line = text.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        line.unwrap().trim().parse::<u32>().unwrap()
    };
    let before = connections();
    let run = server.retry().arg("--breaker-status").run();
    let rows = String::from_utf8_lossy(&run.code(0).stdout).lines().count();
    // The second look connects too.
    assert_eq!((rows, connections() - before), (31, 2));
}

#[test]
fn a_trouble_of_the_server_is_told_once_in_the_list() {
    let Some(program) = program() else { return };
    let server = Redis::start(&program, &["--rename-command", "GET", ""]);
    for name in ["a", "b", "c"] {
        server.ask(&["SET", &format!("retry:v2:{name}"), "x"]);
    }
    let run = server.retry().arg("--breaker-status").run();
    run.code(0).says(&["retry: cannot use {*}: error of the server: unknown command{*}"]);
    assert_eq!(String::from_utf8_lossy(&run.stdout).matches("unusable").count(), 3);
}

#[test]
fn no_password_is_in_anything_that_retry_writes() {
    let Some(program) = program() else { return };
    let server = Redis::start(&program, &["--requirepass", "s3cr3t"]);
    let url = server.url().replace("//", "//default:s3cr3t@");
    let report = server.scratch.join("report");
    let run = |arguments: &[&str]| {
        let run = with(&url).env("XDG_STATE_HOME", server.scratch.path()).env("RETRY_REPORT", &report);
        run.args(arguments.iter().copied()).run()
    };
    let options = ["-vn3", "-d0", "--breaker", "b", "--breaker-failures", "2", "--budget", "20%"];
    let runs = [
        run(&[&options[..], &["false"]].concat()),
        run(&[&options[..], &["true"]].concat()),
        run(&["--breaker-status"]),
        run(&["--breaker-status=b", "--json"]),
        run(&["--breaker-status=none"]),
        run(&["--breaker-reset=b"]),
        run(&["--breaker-trip=b", "--json"]),
        run(&["--plan", "--breaker", "b"]),
    ];
    let text = |run: &Run| format!("{}{}", String::from_utf8_lossy(&run.stdout), run.stderr);
    let mut texts: Vec<String> = runs.iter().map(text).collect();
    texts.push(std::fs::read_to_string(&report).unwrap());
    for text in texts {
        assert!(!text.contains("s3cr3t") && !text.contains(WARNING), "{text}");
    }
}
