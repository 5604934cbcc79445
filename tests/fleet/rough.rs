//! Rough days: a crowd that waits, a clock that jumps, and a node that leads into nothing.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use crate::fleet::failures::{goes_on, listener, with};
use crate::storm::CLIENT;
use crate::support::redis::{Redis, program};
use crate::support::retry::nice;
use crate::support::storm::{Service, storm};

#[test]
fn a_crowd_that_waits_for_a_breaker_in_a_server_comes_back() {
    let Some(program) = program() else { return };
    let server = Redis::start(&program, &[]);
    let service = Service { outage: Duration::from_secs(2), stumbles: 0, rate: 30.0, asks: None, gathers: 0 };
    let after = storm(service, 60, Duration::from_mins(1), |port| {
        let mut command = nice();
        command.args(["--breaker", "b", "--breaker-wait", "--deadline", "55s", "--", "bash", "-c", CLIENT]);
        command.env("PORT", port.to_string()).env("RETRY_STATE", server.url());
        command.env("XDG_STATE_HOME", server.scratch.path());
        command
    });
    assert_eq!((after.unfinished, after.gave_up), (0, 0));
    // As with files: without the breaker there are more than two requests per client.
    assert!(after.amplification() < 1.5, "{}", after.amplification());
    assert_eq!(server.state("b"), "closed");
}

/// The beginning of the answer to TIME.
const TIME: &[u8] = b"*2\r\n$10\r\n";

/// A way to the server on which its clock is ahead by so many seconds.
fn ahead(server: &Redis, seconds: Arc<AtomicI64>) -> String {
    let port = server.port;
    listener(move |client| {
        let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return };
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Both);
        });
        let mut buffer = [0; 8192];
        while let Ok(length @ 1..) = server.read(&mut buffer) {
            let mut reply = buffer[..length].to_vec();
            // The answer to TIME: seconds of ten digits, and microseconds.
            if let Some(at) = reply.windows(TIME.len()).position(|part| part == TIME) {
                let digits = at + TIME.len()..at + TIME.len() + 10;
                let time: i64 = std::str::from_utf8(&reply[digits.clone()]).unwrap().parse().unwrap();
                let time = (time + seconds.load(Ordering::SeqCst)).to_string();
                reply[digits].copy_from_slice(time.as_bytes());
            }
            if client.write_all(&reply).is_err() {
                break;
            }
        }
    })
}

#[test]
fn a_clock_that_jumps_opens_no_breaker_for_longer() {
    let Some(program) = program() else { return };
    let server = Redis::start(&program, &[]);
    let seconds = Arc::new(AtomicI64::new(0));
    let url = ahead(&server, Arc::clone(&seconds));
    let run = |options: &[&str], script: &str| {
        server.run(|run| {
            let run = run.env("RETRY_STATE", &url).args(["--breaker", "b", "--breaker-failures", "1"]);
            run.args(options.iter().copied()).sh(script)
        })
    };
    let long = ["-n1", "--breaker-cooldown", "10m"];
    run(&long, "exit 7").code(7);
    run(&long, "exit 0").code(75).stderr_contains("next probe in 10m");
    // An hour ahead, the cooldown is over.
    seconds.store(3600, Ordering::SeqCst);
    run(&long, "exit 7").code(7);
    assert_eq!(server.state("b"), "open");
    // Back again, the breaker seems to have opened in the future. It stays open for its cooldown.
    seconds.store(0, Ordering::SeqCst);
    run(&long, "exit 0").code(75).stderr_contains("next probe in 20m");
    let short = ["--breaker-cooldown", "1s", "--breaker-wait", "--deadline", "40s"];
    server.retry().arg("--breaker-reset=b").run().code(0);
    for jump in [86_400, 0, -86_400, 0] {
        run(&["-n1", "--breaker-cooldown", "1s"], "exit 7").code(7);
        assert_eq!(server.state("b"), "open");
        seconds.store(jump, Ordering::SeqCst);
        run(&short, "exit 0").code(0);
        assert_eq!(server.state("b"), "closed", "{jump}");
    }
}

#[test]
fn a_node_that_leads_into_nothing_takes_no_more_time() {
    // It accepts connections, and never answers.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let moved = format!("-MOVED 3999 {}\r\n", silent.local_addr().unwrap());
    let url = listener(move |stream| {
        let reply = format!("*2\r\n$10\r\n1700000000\r\n$1\r\n1\r\n{moved}");
        while stream.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {
            let _ = stream.write_all(reply.as_bytes());
        }
    });
    goes_on(with(&url), "no answer within 500 ms");
    // A node that always names itself.
    let own = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = own.local_addr().unwrap();
    thread::spawn(move || {
        for stream in own.incoming() {
            let mut stream = stream.unwrap();
            let reply = format!("*2\r\n$10\r\n1700000000\r\n$1\r\n1\r\n-MOVED 3999 {address}\r\n");
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(reply.as_bytes());
        }
    });
    goes_on(with(&format!("redis://{address}")), "too many redirections from server to server");
}
