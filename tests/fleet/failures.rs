//! A server that cannot be used holds up no command: one warning, and files of this machine serve.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::needs;
use crate::support::redis::{Redis, program};
use crate::support::scratch::quoted;
use crate::support::*;

/// Far more than the limits of a server: they are half a second for a look and a second for a
/// change.
const SOON: Duration = Duration::from_secs(8);

/// The warning about a server that cannot be used.
pub(super) const WARNING: &str = " on this machine only, in ";

/// Asserts that a run of two attempts goes on with files, and says once why.
#[track_caller]
pub(super) fn goes_on(run: Retry, why: &str) {
    let scratch = Scratch::new();
    let options = ["-n2", "-d0", "-v", "--breaker", "b", "--budget", "other=9/s", "--breaker-failures", "9"];
    let run = run.env("XDG_STATE_HOME", scratch.path()).args(options).sh("exit 7").run();
    let told: Vec<&str> = run.messages().into_iter().filter(|line| line.contains(WARNING)).collect();
    assert_eq!(told.len(), 1, "{}", run.stderr);
    let line = "retry: sh: sharing breaker b and budget other on this machine only, in ";
    assert!(told[0].starts_with(line), "{}", told[0]);
    assert!(told[0].ends_with(why), "{} instead of {why}", told[0]);
    // It is said before the first attempt.
    assert!(run.stderr.find(WARNING) < run.stderr.find("attempt 1"), "{}", run.stderr);
    run.code(7).check(run.took < SOON, "it goes on soon");
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(scratch.join("retry/b.json")).unwrap()).unwrap();
    assert_eq!(record["breaker"]["failures"], 2, "the files of this machine count: {record}");
}

/// A run with this home of shared state.
pub(super) fn with(url: &str) -> Retry {
    retry().env("RETRY_STATE", url)
}

#[test]
fn a_refused_connection() {
    let port = refused_port();
    let url = format!("redis://127.0.0.1:{}", port.port());
    goes_on(with(&url), &format!("cannot use {url}: no connection: Connection refused"));
    let socket = "redis+unix:///nowhere/redis.sock";
    goes_on(with(socket), &format!("cannot use {socket}: no connection: No such file or directory"));
}

#[test]
fn a_server_that_is_stopped() {
    let Some(program) = program() else { return };
    let server = Redis::start(&program, &[]);
    server.signal(Signal::SIGSTOP);
    goes_on(with(&server.url()), &format!("cannot use {}: no answer within 500 ms", server.url()));
    // An action has nothing else to use.
    for action in ["--breaker-status", "--breaker-trip=b"] {
        let run = with(&server.url()).arg(action).run();
        run.code(125).stderr_contains("no answer within").check(run.took < SOON, "it ends soon");
    }
}

#[test]
fn an_address_that_swallows_connections() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    // SAFETY: listen(2) takes numbers.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let address = listener.local_addr().unwrap();
    // The queue takes one connection or two.
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        queue.push(stream);
        assert!(queue.len() < 100, "the queue has an end");
    }
    let url = format!("redis://{address}");
    goes_on(with(&url), &format!("cannot use {url}: no answer within 500 ms"));
}

#[test]
fn a_name_without_an_address_and_dead_name_servers() {
    let scratch = Scratch::new();
    let run = with("redis://nothing.invalid").env("XDG_STATE_HOME", scratch.path());
    let run = run.args(["-n1", "--breaker", "b"]).sh("exit 7").run();
    run.code(7).stderr_contains(
        "cannot use redis://nothing.invalid:6379: no address for the name nothing.invalid: ",
    );
    // A name server that never answers, in the place of those of this machine.
    let Ok(_silent) = UdpSocket::bind(("127.0.0.77", 53)) else {
        return needs::left_out("port 53");
    };
    let resolv = scratch.file("resolv.conf", "nameserver 127.0.0.77\noptions timeout:30 attempts:5\n");
    let inner = format!("mount --bind {} /etc/resolv.conf && exec \"$@\"", quoted(&resolv));
    let unshared = |words: &[&str]| Retry::new("unshare").args(["-m", "sh", "-c", &inner, "sh"]).args(words);
    if unshared(&["true"]).run().status.code() != Some(0) {
        return needs::left_out("unshare -m");
    }
    let run = unshared(&[crate::support::retry::BINARY]).env("RETRY_STATE", "redis://cache.test");
    let why = "cannot use redis://cache.test:6379: no address for the name cache.test: no answer of the name servers in time";
    goes_on(run, why);
}

#[test]
fn a_password_comes_from_a_file_or_from_the_variable() {
    let Some(program) = program() else { return };
    let server = Redis::start(&program, &["--requirepass", "s3cr3t"]);
    let url = server.url();
    goes_on(with(&url), &format!("cannot use {url}: no password for a server that requires one (NOAUTH)"));
    let wrong = with(&url.replace("//", "//:wr0ng@"));
    goes_on(wrong, &format!("cannot use {url}: wrong user or password (WRONGPASS)"));
    let scratch = Scratch::new();
    let file = scratch.file("auth", "s3cr3t\n");
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    let run = |url: &str, file: &std::path::Path| {
        let run = with(url).env("RETRY_STATE_AUTH", file).env("XDG_STATE_HOME", scratch.path());
        run.args(["-vn1", "--breaker", "b"]).sh("env; exit 7").run()
    };
    mode(0o600);
    for run in [run(&url, &file), run(&url.replace("//", "//default@"), &file)] {
        run.code(7).check(!run.stderr.contains(WARNING), "the server serves");
        assert!(!String::from_utf8_lossy(&run.stdout).contains("s3cr3t"));
    }
    // A password in the variable stays in the environment, which the command inherits.
    let told = run(&url.replace("//", "//:s3cr3t@"), std::path::Path::new(""));
    told.code(7)
        .check(!told.stderr.contains("s3cr3t") && !told.stderr.contains(WARNING), "it is not printed");
    mode(0o602);
    run(&url, &file)
        .code(7)
        .stderr_contains(&format!("cannot use {url}: password file {}: other users can ", file.display()));
    let missing = scratch.join("missing");
    run(&url, &missing).code(7).stderr_contains(&format!(
        "cannot use {url}: password file {}: No such file or directory",
        missing.display()
    ));
}

#[test]
fn a_server_that_repeats_the_password_in_its_error_does_not_reveal_it() {
    let Some(program) = program() else { return };
    // This server says: unknown command 'AUTH', with args beginning with: 'u' 's3cr3t'.
    let server = Redis::start(&program, &["--rename-command", "AUTH", ""]);
    let url = server.url().replace("//", "//u:s3cr3t@");
    let why = format!("cannot use {}: error of the server: the login is refused", server.url());
    goes_on(with(&url), &why);
    let status = with(&url).arg("--breaker-status").run();
    status.code(125).stderr_contains(&why).check(!status.stderr.contains("s3cr3t"), "it is not printed");
}

#[test]
fn a_user_without_a_password_is_a_login() {
    let Some(program) = program() else { return };
    let server = Redis::start(&program, &[]);
    for user in ["free nopass on +@all ~*", "keyed >s3cr3t on +@all ~*"] {
        let words: Vec<&str> = ["ACL", "SETUSER"].into_iter().chain(user.split(' ')).collect();
        server.ask(&words);
    }
    // A run that ignored the name would be served as the user `default`.
    server.ask(&["ACL", "SETUSER", "default", "-set"]);
    let url = |user: &str| server.url().replace("//", &format!("//{user}@"));
    let run = |user: &str| {
        let run = with(&url(user)).env("XDG_STATE_HOME", server.scratch.path());
        run.args(["-n1", "--breaker", "b"]).sh("exit 7").run()
    };
    let served = run("free");
    served.code(7).check(!served.stderr.contains(WARNING), "the server serves");
    let why = format!("cannot use {}: no password for the user in the URL of the server", server.url());
    run("keyed").code(7).stderr_contains(&why);
}

#[test]
fn the_rights_in_the_manual_are_enough_and_all_are_needed() {
    let Some(program) = program() else { return };
    let server = Redis::start(&program, &[]);
    let manual = include_str!("../../docs/operations.md");
    let line = manual.lines().find(|line| line.starts_with("ACL SETUSER retry ")).unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    let url = server.url().replace("//", "//retry:PASSWORD@");
    let scratch = Scratch::new();
    let run = |options: &[&str]| with(&url).env("XDG_STATE_HOME", scratch.path()).args(options).run();
    let cycle = || {
        let attempt =
            ["-n2", "-d0", "--breaker", "b", "--budget", "20%", "--breaker-failures", "1", "--", "false"];
        let runs = [run(&attempt), run(&["--breaker-reset=b"]), run(&["--breaker-status=b"])];
        runs.iter().all(|run| !run.stderr.contains("missing rights") && run.status.code() != Some(125))
    };
    server.ask(&words);
    assert!(cycle());
    run(&["--breaker-status"])
        .code(125)
        .stderr_contains("missing rights (NOPERM: ")
        .stderr_contains("hint: name a breaker: --breaker-status=NAME");
    let commands = words.iter().filter(|word| word.starts_with('+'));
    for command in commands {
        server.ask(&["ACL", "SETUSER", "retry", &command.replace('+', "-")]);
        assert!(!cycle(), "{command} is not needed");
        server.ask(&words);
    }
    server.ask(&["ACL", "SETUSER", "retry", "+scan"]);
    run(&["--breaker-status"]).code(0);
}

#[test]
fn a_key_of_another_program_is_left_alone() {
    let Some(server) = Redis::shared() else { return };
    let keys = |name: &str| ["v1", "v2", "v3"].map(|version| format!("retry:{version}:{name}"));
    for key in keys("list") {
        server.ask(&["LPUSH", &key, "x"]);
    }
    for key in keys("text") {
        server.ask(&["SET", &key, "hello"]);
    }
    for (name, why) in [("list", "of another program"), ("text", "of another program")] {
        let run = server.retry().args(["-n1", "--breaker", name]).sh("exit 7").run();
        run.code(7).stderr_contains(WARNING).stderr_contains(why);
        server.retry().arg(format!("--breaker-trip={name}")).run().code(125).stderr_contains(why);
    }
    assert!(keys("list").iter().all(|key| server.ask(&["LLEN", key]) == "1"));
    assert!(keys("text").iter().all(|key| server.ask(&["GET", key]) == "hello"));
}

#[test]
fn a_server_that_takes_no_writes() {
    let Some(program) = program() else { return };
    let full = Redis::start(&program, &[]);
    full.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    goes_on(with(&full.url()), "no memory left in the server (OOM)");
    let replica = Redis::start(&program, &["--replicaof", "127.0.0.1", "1"]);
    goes_on(with(&replica.url()), "a replica, which takes no writes (READONLY)");
    replica.ask(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
    goes_on(with(&replica.url()), "a replica without its master (MASTERDOWN)");
}

#[test]
fn a_server_that_loads_its_data() {
    let Some(program) = program() else { return };
    let server = Redis::start(&program, &["--enable-debug-command", "yes", "--rdbcompression", "no"]);
    server.ask(&["DEBUG", "POPULATE", "400", "key", "2000"]);
    server.ask(&["SAVE"]);
    let file = fs::read(server.scratch.join("dump.rdb")).unwrap();
    let slow = Scratch::new();
    slow.file("dump.rdb", file);
    let directory = slow.path().to_str().unwrap();
    let options =
        ["--dir", directory, "--key-load-delay", "50000", "--loading-process-events-interval-bytes", "1024"];
    let loading = Redis::start(&program, &options);
    goes_on(with(&loading.url()), "a server that still loads its data (LOADING)");
}

/// Starts something that listens and talks to each of its clients.
pub(super) fn listener(talk: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let talk = std::sync::Arc::new(talk);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (talk, mut stream) = (std::sync::Arc::clone(&talk), stream.unwrap());
            thread::spawn(move || talk(&mut stream));
        }
    });
    format!("redis://{address}")
}

/// Something that answers whatever it is asked with these bytes, and then closes.
pub(super) fn answering(bytes: &[u8]) -> String {
    let bytes = bytes.to_vec();
    listener(move |stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(&bytes);
    })
}

#[test]
fn something_that_is_no_server() {
    let garbage = "an answer that is not in the protocol of Redis";
    let closed = "connection closed by the server";
    let deep = "*1\r\n".repeat(200);
    for (bytes, why) in [
        (&b""[..], closed),
        (b"*2\r\n$1\r\n1\r\n", closed),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", garbage),
        (b"+OK\r\n+OK\r\n", garbage),
        (b"*2\r\n$1\r\nx\r\n$1\r\n1\r\n$-1\r\n", garbage),
        (b":1\r\n:1\r\n:1\r\n", garbage),
        (deep.as_bytes(), garbage),
        (
            b"-ERR unknown command 'TIME'\x1b[31m\r\n-X\r\n",
            "error of the server: unknown command 'TIME'\\u{1b}[31m",
        ),
    ] {
        let url = answering(bytes);
        goes_on(with(&url), &format!("cannot use {url}: {why}"));
    }
}

#[test]
fn something_that_never_stops_talking() {
    // A reply without an end, as fast as it goes.
    let url = listener(|stream| while stream.write_all(&[b'x'; 8192]).is_ok() {});
    goes_on(with(&url), "an answer that is not in the protocol of Redis");
    let url = listener(|stream| {
        let _ = stream.write_all(b"*2\r\n$1\r\n1\r\n$1\r\n1\r\n$999999999999\r\n");
        while stream.write_all(&[b'x'; 8192]).is_ok() {}
    });
    goes_on(with(&url), "an answer that is not in the protocol of Redis");
    // A byte at a time.
    let url = listener(|stream| {
        while stream.write_all(b"+").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    });
    goes_on(with(&url), "no answer within 500 ms");
}

#[test]
fn a_value_without_an_end_is_a_damaged_record() {
    // Too much for a record has come when the time is over.
    let url = listener(|stream| {
        let _ = stream.read(&mut [0; 4096]);
        let record = format!("{{\"version\":2,\"clock\":{{{}", " ".repeat(70_000));
        let _ = write!(stream, "*2\r\n$1\r\n1\r\n$1\r\n1\r\n$100000\r\n{record}");
        let _ = stream.read(&mut [0; 4096]);
    });
    let scratch = Scratch::new();
    let run =
        with(&url).env("XDG_STATE_HOME", scratch.path()).args(["-n1", "--breaker", "b"]).sh("exit 7").run();
    let why = format!("cannot use {url}: key retry:v2:b is damaged; remove the key: redis-cli DEL KEY");
    run.code(7).stderr_contains(&why).check(run.took < SOON, "it goes on soon");
}

#[test]
fn a_server_that_dies_and_comes_back_while_an_attempt_runs_is_used_again() {
    let Some(program) = program() else { return };
    let server = Redis::start(&program, &[]);
    let log = server.scratch.log("attempts");
    let go = quoted(server.scratch.join("go"));
    let script = format!(
        "{}; [ $RETRY_ATTEMPT = 2 ] && exit 0; until [ -e {go} ]; do sleep 0.01; done; exit 7",
        log.echo("$RETRY_ATTEMPT")
    );
    let running = server.retry().args(["-n2", "-d0", "--breaker", "b"]).sh(script).spawn();
    log.wait_for(1);
    server.kill();
    server.restart();
    server.scratch.file("go", "");
    let run = running.wait_bounded();
    run.code(0).check(!run.stderr.contains(WARNING), "the server serves");
    assert_eq!(server.failures("b"), 0);
}

#[test]
fn a_server_that_dies_between_two_attempts_is_one_warning_about_both_records() {
    let Some(program) = program() else { return };
    let server = Redis::start(&program, &[]);
    // The breaker notices it before the second attempt, and the budget after it.
    let kill = format!(
        "kill -9 {} 2>&-; while redis-cli -p {} ping; do sleep 0.01; done >&- 2>&-",
        server.pid(),
        server.port
    );
    let options = ["-n3", "-d0", "--breaker", "b", "--budget", "other=9/s", "--on-retry", &kill];
    let run = server.retry().args(options).sh("exit 7").run();
    let told: Vec<&str> = run.messages().into_iter().filter(|line| line.contains(WARNING)).collect();
    assert_eq!(told.len(), 1, "{}", run.stderr);
    let line = "retry: sh: sharing breaker b and budget other on this machine only, in ";
    assert!(told[0].starts_with(line), "{}", told[0]);
    assert!(run.stderr.find("attempt 1 of 3") < run.stderr.find(WARNING), "{}", run.stderr);
    run.code(7)
        .check(run.stderr.find(WARNING) < run.stderr.find("attempt 2 of 3"), "before the second attempt");
}

#[test]
fn what_a_run_has_seen_in_the_server_counts_in_its_files() {
    let Some(program) = program() else { return };
    let server = Redis::start(&program, &[]);
    server.retry().arg("--breaker-trip=b=2s").run().code(0);
    let log = server.scratch.log("attempts");
    let options = ["-v", "--breaker", "b", "--breaker-wait", "--deadline", "60s", "--breaker-cooldown", "1s"];
    let running = server.retry().args(options).sh(log.echo("ran")).spawn();
    running.wait_for_stderr("breaker b is open");
    server.kill();
    let run = running.wait_bounded();
    // The run waits until the probe is due, although the file knew nothing of the breaker.
    run.code(0).stderr_contains(WARNING).check(run.took >= Duration::from_millis(1500), "it waits");
    assert_eq!(log.lines().len(), 1);
}
