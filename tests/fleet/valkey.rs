//! Valkey serves as Redis does.

use std::path::PathBuf;

use super::failures::{WARNING, goes_on};
use crate::support::needs;
use crate::support::redis::Redis;

/// The path of `valkey-server`, if this machine has it. It is not in Debian 12.
fn valkey() -> Option<PathBuf> {
    needs::program("redis-cli").and_then(|_| needs::program("valkey-server"))
}

#[test]
fn valkey_keeps_a_breaker_and_a_budget() {
    let Some(program) = valkey() else { return };
    let server = Redis::start(&program, &[]);
    let run = |script: &str| {
        let options = ["-n2", "-d0", "--breaker", "b", "--breaker-failures", "3", "--budget", "1/9h"];
        let run = server.run(|run| run.args(options).sh(script));
        run.check(!run.stderr.contains(WARNING), "Valkey serves");
        run
    };
    run("exit 7").code(7).stderr_contains("gave up after 2 attempts");
    run("exit 7").code(7).stderr_contains("breaker b is open since ");
    run("exit 0").code(75);
    let status = server.retry().arg("--breaker-status").run();
    let table = String::from_utf8_lossy(&status.code(0).stdout).into_owned();
    assert!(table.contains("\nb     open   3"), "{table}");
    server.retry().arg("--breaker-reset=b").run().code(0);
    run("exit 7").code(7).stderr_contains("budget b is spent");
    assert_eq!(server.failures("b"), 1);
    server.ask(&["FLUSHALL"]);
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    goes_on(server.retry(), "no memory left in the server (OOM)");
}

#[test]
fn a_user_of_valkey_needs_the_same_rights() {
    let Some(program) = valkey() else { return };
    let server = Redis::start(&program, &[]);
    let manual = include_str!("../../docs/operations.md");
    let line = manual.lines().find(|line| line.starts_with("ACL SETUSER retry ")).unwrap();
    server.ask(&line.split(' ').collect::<Vec<_>>());
    let url = server.url().replace("//", "//retry:PASSWORD@");
    let run = server.retry().env("RETRY_STATE", url).args(["-n1", "--breaker", "b", "--budget", "20%"]);
    let run = run.sh("exit 7").run();
    run.code(7).check(!run.stderr.contains(WARNING), "Valkey serves");
    assert_eq!(server.failures("b"), 1);
}
