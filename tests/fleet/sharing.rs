//! A server keeps the records as files do.

use std::thread;

use crate::support::redis::{Redis, program};
use crate::support::*;

/// Runs that report at the same time.
const RUNS: u64 = 40;

/// The shared server, or the end of the test if this machine has none.
macro_rules! server {
    () => {
        match Redis::shared() {
            Some(server) => server,
            None => return,
        }
    };
}

#[test]
fn failures_of_all_runs_open_a_breaker_and_a_reset_closes_it() {
    let server = server!();
    let run = |script: &str| {
        server.run(|run| run.args(["-n1", "--breaker", "opened", "--breaker-failures", "3"]).sh(script))
    };
    for failures in 1..=3 {
        run("exit 7").code(7);
        assert_eq!(server.failures("opened"), failures);
    }
    let refused = run("exit 0");
    refused.code(75).stderr_contains("retry: sh: not run: breaker opened is open since ");
    refused.stderr_contains(&format!(
        "(3 failures, last: exited 7), next probe in {}; to close it: retry --state={} --breaker-reset=opened\n",
        refused.stderr.split("probe in ").nth(1).unwrap().split(';').next().unwrap(),
        server.url()
    ));
    let reset = server.retry().args(["--breaker-reset", "opened"]).run();
    assert!(
        String::from_utf8_lossy(&reset.code(0).stdout)
            .starts_with("breaker opened is closed; it was open for ")
    );
    run("exit 0").code(0).silent();
    assert_eq!(server.state("opened"), "closed");
}

#[test]
fn a_success_clears_the_count_and_a_record_expires() {
    let server = server!();
    let run = |script: &str| server.run(|run| run.args(["-n1", "--breaker", "cleared"]).sh(script));
    run("exit 7").code(7);
    run("exit 0").code(0);
    assert_eq!(server.failures("cleared"), 0);
    let seconds: u64 = server.ask(&["TTL", &server.key("cleared")]).parse().unwrap();
    assert!((2 * 86_400 - 60..=2 * 86_400).contains(&seconds), "{seconds}");
    // A breaker that is held open for longer lives longer.
    server.retry().args(["--breaker-trip", "cleared=30days"]).run().code(0);
    let seconds: u64 = server.ask(&["TTL", &server.key("cleared")]).parse().unwrap();
    assert!((31 * 86_400 - 60..=31 * 86_400).contains(&seconds), "{seconds}");
}

#[test]
fn a_success_that_changes_nothing_writes_nothing() {
    let server = server!();
    let succeed = || server.run(|run| run.args(["-n1", "--breaker", "calm"]).sh("exit 0"));
    // The first one says that this host uses the name.
    succeed().code(0).silent();
    let before = server.ask(&["GET", &server.key("calm")]);
    succeed().code(0).silent();
    assert_eq!(server.ask(&["GET", &server.key("calm")]), before);
}

#[test]
fn a_budget_is_one_for_all_runs() {
    let server = server!();
    let run = || {
        let options = ["-n2", "-d0", "--budget", "spent=2/1h"];
        server.run(|run| run.args(options).sh("exit 7"))
    };
    for _ in 0..2 {
        run().code(7).stderr_contains("gave up after 2 attempts");
    }
    run().code(7).stderr_contains("gave up after 1 attempt").stderr_contains("budget spent is spent");
    // It lasts for as long as its tokens take to come back.
    let seconds: u64 = server.ask(&["TTL", &server.key("spent")]).parse().unwrap();
    assert!(seconds > 86_400, "{seconds}");
}

#[test]
fn no_report_of_many_runs_is_lost_while_the_race_can_be_won() {
    let server = server!();
    let log = server.scratch.log("crowd");
    let script = format!("{}; exit 7", log.echo("ran"));
    let runs: Vec<_> = (0..RUNS)
        .map(|_| {
            let (server, script) = (server, script.clone());
            thread::spawn(move || {
                let options = ["-n1", "--breaker", "crowd", "--breaker-failures", "1000", "-v"];
                server.retry().args(options).sh(script).run()
            })
        })
        .collect();
    let runs: Vec<Run> = runs.into_iter().map(|run| run.join().unwrap()).collect();
    let unheard = runs.iter().filter(|run| run.stderr.contains("this report is lost")).count() as u64;
    assert!(runs.iter().all(|run| run.status.code() == Some(7)));
    assert_eq!(log.lines().len() as u64, RUNS);
    let away = runs.iter().filter(|run| run.stderr.contains("no answer within ")).count() as u64;
    let counted = server.failures("crowd") + unheard;
    assert!(counted <= RUNS && counted + away >= RUNS, "{counted}, {away}: {}", runs[0].stderr);
}

#[test]
fn the_status_lists_what_is_in_the_server() {
    let Some(program) = program() else { return };
    let server = Redis::start(&program, &[]);
    let status = |options: &[&str]| {
        let run = server.retry().args(options).run();
        String::from_utf8_lossy(&run.code(0).stdout).into_owned()
    };
    let none = format!("no breaker and no budget in {}\n", server.url());
    assert_eq!(status(&["--breaker-status"]), none);
    for name in ["b one", "a"] {
        server.retry().args(["--breaker-trip", name]).run().code(0);
    }
    server.ask(&["SET", "other", "x"]);
    let table = status(&["--breaker-status"]);
    let names: Vec<&str> = table.lines().map(|line| line.split("  ").next().unwrap()).collect();
    assert_eq!(names, ["NAME", "a", "b one"], "{table}");
    let row: serde_json::Value = serde_json::from_str(&status(&["--breaker-status=a", "--json"])).unwrap();
    assert_eq!((&row["state"], &row["cause"]), (&"open".into(), &"tripped".into()));
    assert_eq!(row["path"], format!("{}, key {}", server.url(), server.key("a")));
    let run = server.retry().arg("--breaker-status=never").run();
    run.code(0).stderr_contains("key retry:v").stderr_contains("never does not exist yet");
}

#[test]
fn verbose_says_where_the_record_is() {
    let server = server!();
    let run = server.retry().args(["-v", "-n1", "--breaker", "told", "--budget", "1/s"]).sh("exit 0").run();
    run.code(0).stderr_contains(&format!("breaker told is kept in {}, key retry:v", server.url()));
}

#[test]
fn another_database_and_a_socket_are_other_ways() {
    let Some(program) = program() else { return };
    let scratch = Scratch::new();
    let socket = scratch.join("redis.sock");
    let server = Redis::start(&program, &["--unixsocket", socket.to_str().unwrap()]);
    let run = |url: &str| {
        retry()
            .args(["-n1", "--breaker", "b", "--state", url])
            .env("HOME", server.scratch.path())
            .sh("exit 7")
            .run()
    };
    run(&format!("{}/3", server.url())).code(7);
    assert_eq!(server.ask(&["-n", "3", "DBSIZE"]), "1");
    run(&format!("redis+unix://{}", socket.display())).code(7);
    run(&format!("redis+unix://{}?db=0", socket.display())).code(7);
    assert_eq!(server.failures("b"), 2);
    // The host is a name, too.
    run(&format!("redis://localhost:{}", server.port)).code(7);
    assert_eq!(server.failures("b"), 3);
}

#[test]
fn a_name_that_is_a_path_stays_a_file() {
    let server = server!();
    let path = server.scratch.join("own.json");
    let name = path.to_str().unwrap();
    server.retry().args(["-n1", "--breaker", name]).sh("exit 7").run().code(7);
    assert!(path.exists());
    assert_eq!(server.ask(&["KEYS", "*own*"]), "");
}

#[test]
fn a_password_on_the_command_line_is_refused() {
    for url in ["redis://u:s3cr3t@127.0.0.1", "rediss://:s3cr3t@h", "redis+unix://u:s3cr3t@/s"] {
        let run = retry().args(["--breaker", "b", "--state", url, "true"]).run();
        run.code(125)
            .stderr_contains("--state: a password on the command line can be seen by all users")
            .stderr_contains("RETRY_STATE_AUTH");
        assert!(!run.stderr.contains("s3cr3t"), "{}", run.stderr);
    }
}
