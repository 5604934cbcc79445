//! Several servers: a cluster, and servers that sentinels watch.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use super::failures::{WARNING, answering, goes_on, listener, with};
use crate::support::process::wait_until;
use crate::support::redis::{Redis, free_port, program, start};
use crate::support::scratch::quoted;
use crate::support::*;

/// Two nodes of a cluster. They know nothing of each other.
fn nodes() -> Option<(Redis, Redis)> {
    let program = program()?;
    let node = || Redis::start(&program, &["--cluster-enabled", "yes", "--cluster-node-timeout", "5000"]);
    Some((node(), node()))
}

#[test]
fn a_key_is_found_on_the_node_of_a_cluster_that_has_it() {
    let Some((first, second)) = nodes() else { return };
    goes_on(with(&first.url()), "a cluster that is down (CLUSTERDOWN)");
    first.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]);
    second.ask(&["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]);
    first.ask(&["CLUSTER", "MEET", "127.0.0.1", &second.port.to_string()]);
    for node in [&first, &second] {
        wait_until("the cluster is up", || node.ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok"));
    }
    let keys = |node: &Redis| node.ask(&["DBSIZE"]).parse::<u32>().unwrap();
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        for failures in 1..=2 {
            let run = first.run(|run| run.args(["-n1", "--breaker", name]).sh("exit 7"));
            run.code(7).check(!run.stderr.contains(WARNING), "the cluster serves");
            let status = first.run(|run| run.args([&format!("--breaker-status={name}"), "--json"]));
            let row: serde_json::Value = serde_json::from_slice(&status.code(0).stdout).unwrap();
            assert_eq!(row["failures"], failures);
        }
    }
    assert_eq!(keys(&first) + keys(&second), 8);
    assert!(keys(&first) > 0 && keys(&second) > 0);
    let run = first.retry().arg("--breaker-status").run();
    run.code(125).stderr_contains("a node of a cluster, which lists its own keys only");
}

#[test]
fn nodes_that_send_retry_on_for_ever_are_left() {
    let url = listener(|stream| {
        use std::io::{Read as _, Write as _};
        let port = stream.local_addr().unwrap().port();
        let _ = stream.read(&mut [0; 4096]);
        let _ = write!(stream, "*2\r\n$1\r\n1\r\n$1\r\n1\r\n-MOVED 1 :{port}\r\n");
        let _ = stream.read(&mut [0; 4096]);
    });
    goes_on(with(&url), &format!("cannot use {url}: too many redirections from server to server"));
}

/// A sentinel that watches one server under the name `mymaster`.
struct Sentinel {
    child: Child,
    port: u16,
    _scratch: Scratch,
}

impl Sentinel {
    fn start(program: &std::path::Path, of: &Redis) -> Self {
        let (scratch, port) = (Scratch::new(), free_port());
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor mymaster 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds mymaster 60000\nsentinel failover-timeout mymaster 10000\n",
            scratch.path().display(),
            of.port
        );
        let mut command = Command::new(program);
        command.arg(scratch.file("sentinel.conf", text)).arg("--sentinel");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let sentinel = Self { child: start(command), port, _scratch: scratch };
        wait_until("the sentinel answers", || sentinel.master().is_some());
        sentinel
    }

    fn ask(&self, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        let output = command.args(["-p", &self.port.to_string(), "SENTINEL"]).args(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// The port of the master.
    fn master(&self) -> Option<u16> {
        self.ask(&["get-master-addr-by-name", "mymaster"]).lines().nth(1)?.parse().ok()
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_failover_in_the_middle_of_a_run_changes_nothing_for_it() {
    let Some(program) = program() else { return };
    let old = Redis::start(&program, &["--repl-diskless-sync-delay", "0"]);
    let new = Redis::start(&program, &["--replicaof", "127.0.0.1", &old.port.to_string()]);
    wait_until("the replica is in step", || {
        new.ask(&["INFO", "replication"]).contains("master_link_status:up")
    });
    let sentinel = Sentinel::start(&program, &old);
    wait_until("the sentinel knows the replica", || {
        sentinel.ask(&["replicas", "mymaster"]).contains(&new.port.to_string())
    });
    let nobody = refused_port();
    // The first sentinel is away.
    let url = format!("redis+sentinel://127.0.0.1:{},127.0.0.1:{}/mymaster", nobody.port(), sentinel.port);
    let log = old.scratch.log("attempts");
    let go = quoted(old.scratch.join("go"));
    let script = format!("{}; until [ -e {go} ]; do sleep 0.01; done; exit 7", log.echo("$RETRY_ATTEMPT"));
    let running = with(&url).env("XDG_STATE_HOME", old.scratch.path()).args(["-n2", "-d0", "--breaker", "b"]);
    let running = running.sh(script).spawn();
    log.wait_for(1);
    // The sentinel may not have looked at the replica yet.
    wait_until("the failover begins", || {
        let answer = sentinel.ask(&["failover", "mymaster"]);
        answer == "OK" || answer.starts_with("INPROG")
    });
    wait_until("the replica is the master", || sentinel.master() == Some(new.port));
    // The old master is gone, and with it the connection of the run.
    old.kill();
    old.scratch.file("go", "");
    let run = running.wait_bounded();
    run.code(7).check(!run.stderr.contains(WARNING), "the new master serves");
    assert_eq!(new.failures("b"), 2);
}

#[test]
fn sentinels_are_asked_again_if_their_master_is_a_replica() {
    let Some(program) = program() else { return };
    let replica = Redis::start(&program, &["--replicaof", "127.0.0.1", "1"]);
    let server = Redis::shared().unwrap();
    let asked = std::sync::atomic::AtomicU32::new(0);
    let (first, then) = (replica.port, server.port);
    let url = listener(move |stream| {
        use std::io::{Read as _, Write as _};
        let _ = stream.read(&mut [0; 4096]);
        let n = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let port = if n == 0 { first } else { then }.to_string();
        let _ = write!(stream, "*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len());
    });
    let url = format!("{}/m", url.replace("redis:", "redis+sentinel:"));
    let run = with(&url).env("XDG_STATE_HOME", replica.scratch.path()).args(["-n1", "--breaker", "again"]);
    let run = run.sh("exit 7").run();
    run.code(7).check(!run.stderr.contains(WARNING), "the second answer serves");
    assert_eq!(server.failures("again"), 1);
}

#[test]
fn sentinels_without_an_answer() {
    let unknown = answering(b"*-1\r\n").replace("redis:", "redis+sentinel:");
    goes_on(
        with(&format!("{unknown}/m")),
        &format!("cannot use {unknown}/m: no master m known to the sentinels"),
    );
    let garbage = answering(b"*1\r\n$1\r\nx\r\n").replace("redis:", "redis+sentinel:");
    goes_on(with(&format!("{garbage}/m")), "an answer that is not in the protocol of Redis");
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let silent = format!("redis+sentinel://{}/m", listener.local_addr().unwrap());
    goes_on(with(&silent), "no answer within 500 ms");
}
