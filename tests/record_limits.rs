//! Records at their limits: the largest record, the most permits, and the most outcomes.

use serde_json::{Value, json};

use crate::support::records::Records;
use crate::support::redis::{Redis, program};

/// The most bytes of a record.
const LARGEST: usize = 64 * 1024;

/// The text of a record with blanks at its end, so that it has this many bytes.
fn padded(text: &str, length: usize) -> String {
    text.to_owned() + &" ".repeat(length - text.len())
}

#[test]
fn a_file_is_a_record_up_to_64_kib() {
    let records = Records::new();
    let path = records.path("b.json");
    records.retry().arg("--breaker-trip=b=1h").run().code(0);
    let record = std::fs::read_to_string(&path).unwrap();
    let run = || records.retry().args(["-n1", "--breaker", "b"]).sh("exit 0").run();
    std::fs::write(&path, padded(&record, LARGEST)).unwrap();
    run().code(75).stderr_contains("breaker b is open");
    // One byte more: nothing in it counts, and it is set aside.
    let larger = padded(&record, LARGEST + 1);
    std::fs::write(&path, &larger).unwrap();
    let status = records.retry().arg("--breaker-status=b").run();
    status.check(status.stderr.contains("b.json is damaged"), "the status says so");
    records
        .retry()
        .args(["-n1", "--breaker", "b"])
        .sh("exit 7")
        .run()
        .code(7)
        .stderr_contains("b.json.corrupt");
    assert_eq!(std::fs::read_to_string(records.path("b.json.corrupt")).unwrap(), larger);
    assert_eq!((records.state("b").as_str(), records.failures("b")), ("closed", 1));
    run().code(0).silent();
}

#[test]
fn a_key_is_a_record_up_to_64_kib() {
    let Some(program) = program() else { return };
    let server = Redis::start(&program, &[]);
    server.retry().arg("--breaker-trip=b=1h").run().code(0);
    let key = server.key("b");
    let record = server.ask(&["GET", &key]);
    let run = || {
        let options = ["-n2", "-d0", "--breaker", "b", "--breaker-failures", "99", "--budget", "other=9/s"];
        server.run(|run| run.args(options).sh("exit 7"))
    };
    server.set(&key, &padded(&record, LARGEST));
    run().code(75).stderr_contains("breaker b is open");
    // One byte more, and more than an exchange may have: the key stays as it is, and says so.
    let damaged = format!("cannot use {}: key {key} is damaged", server.url());
    let remove = "remove the key: redis-cli DEL KEY";
    for length in [LARGEST + 1, 400_000, 3_000_000] {
        server.set(&key, &padded(&record, LARGEST));
        server.ask(&["SETRANGE", &key, &(length - 1).to_string(), " "]);
        server.ask(&["DEL", &key.replace(":b", ":other")]);
        let run = run();
        let told: Vec<&str> =
            run.messages().into_iter().filter(|line| line.contains("machine only")).collect();
        assert_eq!(told.len(), 1, "{}", run.stderr);
        assert!(told[0].starts_with("retry: sh: sharing breaker b on this machine only, in "), "{}", told[0]);
        assert!(told[0].ends_with(&format!(": {damaged}; {remove}")), "{}", told[0]);
        run.code(7);
        assert_eq!(server.ask(&["STRLEN", &key]), length.to_string());
        assert!(server.read("other")["budget"]["billionths"].is_u64(), "the server keeps the budget");
        for action in ["--breaker-reset=b", "--breaker-trip=b", "--breaker-status=b"] {
            let run = server.retry().arg(action).run();
            run.code(125).says(&[&format!("retry: {damaged}"), &format!("retry: hint: {remove}")]);
        }
        let all = server.retry().arg("--breaker-status").run();
        all.code(0)
            .stderr_contains(&damaged)
            .check(String::from_utf8_lossy(&all.stdout).contains("other"), "the other record");
    }
    server.ask(&["DEL", &key]);
    run().code(7).check(server.failures("b") == 2, "the server serves again");
    // Something long that is no record belongs to another program.
    server.ask(&["DEL", &key]);
    server.ask(&["SETRANGE", &key, "400000", "x"]);
    server.ask(&["SETRANGE", &key, "0", "hello"]);
    run().code(7).stderr_contains(&format!("key {key} of another program"));
}

/// The server's time in milliseconds since 1970.
fn time(server: &Redis) -> i64 {
    let time = server.ask(&["TIME"]);
    let (seconds, micros) = time.split_once('\n').unwrap();
    seconds.parse::<i64>().unwrap() * 1000 + micros.parse::<i64>().unwrap() / 1000
}

#[test]
fn a_lease_in_a_server_ends_whatever_its_record_says() {
    let Some(program) = program() else { return };
    let server = Redis::start(&program, &[]);
    let run = || server.run(|run| run.args(["-n1", "--breaker", "b"]).sh("exit 0"));
    server.retry().arg("--breaker-trip=b=1h").run().code(0);
    let mut record = server.read("b");
    let now = time(&server);
    record["breaker"]["state"] = "half-open".into();
    record["breaker"]["probe"] = json!({"pid": 1, "since_ms": now, "length_ms": u64::MAX});
    server.set(&server.key("b"), &record.to_string());
    run().code(75).stderr_contains("process 1 probes, for 1");
    // That was written down, so that the next look does not begin anew.
    let mut record = server.read("b");
    let lease = &mut record["breaker"]["probe"];
    let end = lease["since_ms"].as_i64().unwrap() + lease["length_ms"].as_i64().unwrap();
    assert!((now + 15_000..=time(&server) + 15_000).contains(&end), "{lease}");
    lease["since_ms"] = (lease["since_ms"].as_i64().unwrap() - 60_000).into();
    server.set(&server.key("b"), &record.to_string());
    run().code(0);
    assert_eq!(server.state("b"), "closed");
}

#[test]
fn a_crowd_has_at_most_128_permits() {
    let Some(program) = program() else { return };
    let server = Redis::start(&program, &[]);
    // The shape of a record of a breaker that has just closed.
    let trip = || {
        server.retry().arg("--breaker-trip=b=0.001s").run().code(0);
        server.run(|run| run.args(["-n1", "--breaker", "b"]).sh("exit 0")).code(0);
    };
    // In a server, time alone ends a permit, so nobody needs to hold it.
    let held = |permits: u64, window: u64| {
        trip();
        let mut record = server.read("b");
        let now = time(&server);
        let permit = |id| json!({"id": id, "pid": 1, "since_ms": now, "length_ms": 600_000, "demand": true});
        let recovery = &mut record["breaker"]["recovery"];
        recovery["window"] = window.into();
        recovery["permits"] = (1..=permits).map(permit).collect();
        (recovery["due_ms"], recovery["full_ms"]) = (now.into(), now.into());
        server.set(&server.key("b"), &record.to_string());
    };
    let wait = |deadline: &str| {
        let options = ["-n1", "--breaker", "b", "--breaker-wait", "--deadline", deadline];
        server.run(|run| run.args(options).sh("exit 0"))
    };
    held(127, 128_000);
    wait("60").code(0);
    let recovery = &server.read("b")["breaker"]["recovery"];
    assert_eq!(recovery["permits"].as_array().map(Vec::len), Some(127), "the last permit has come back");
    assert_eq!(recovery["window"], 128_000, "a success makes the window no larger");
    // More permits than there may be, and a window that no retry writes.
    held(200, u32::MAX.into());
    wait("1").code(75).stderr_contains("lets the waiting runs back a few at a time");
    let recovery = &server.read("b")["breaker"]["recovery"];
    let permits = recovery["permits"].as_array().unwrap();
    assert_eq!((permits.len(), &recovery["window"]), (128, &json!(128_000)));
    // They were given for ten minutes. No permit of a server lasts so long without its run.
    let end = |permit: &Value| permit["since_ms"].as_i64().unwrap() + permit["length_ms"].as_i64().unwrap();
    let latest = time(&server) + 15_000;
    assert!(permits.iter().all(|permit| end(permit) <= latest), "{permits:?}");
}

#[test]
fn a_record_keeps_the_last_64_outcomes() {
    let records = Records::new();
    let rate = ["-n1", "--breaker", "b", "--breaker-failures", "50%/64"];
    let attempt = |script: &str| records.retry().args(rate).sh(script).run();
    attempt("exit 0").code(0);
    attempt("exit 7").code(7);
    let failed = |number: usize| {
        records.edit("b", |record| {
            let at = record["breaker"]["outcomes"].as_array().unwrap().last().unwrap()["at_ms"].clone();
            // The oldest of them succeeded.
            let past = |n| json!({"at_ms": at, "failed": n >= 64 - number});
            record["breaker"]["outcomes"] = (0..64).map(past).collect();
        });
    };
    let known = || {
        let outcomes = records.read("b")["breaker"]["outcomes"].as_array().unwrap().clone();
        (outcomes.len(), outcomes.iter().filter(|past| past["failed"] == true).count())
    };
    // A success goes out at one end, and the failure comes in at the other: 31 of 64 are not half.
    failed(30);
    attempt("exit 7").code(7);
    assert_eq!((records.state("b").as_str(), known()), ("closed", (64, 31)));
    attempt("exit 7").code(7);
    assert_eq!(records.state("b"), "open", "32 of 64");
    attempt("exit 0").code(75).stderr_contains("(32 failures, last: exited 7)");
}

#[test]
fn forged_numbers_in_a_file_stop_no_run() {
    let records = Records::new();
    let run = || records.retry().args(["-n1", "--breaker", "b", "--budget", "20%"]).sh("exit 0").run();
    records.retry().args(["-n2", "-d0", "--breaker", "b", "--budget", "20%"]).sh("exit 7").run().code(7);
    records.retry().arg("--breaker-trip=b=1h").run().code(0);
    records.edit("b", |record| {
        let breaker = &mut record["breaker"];
        breaker["generation"] = u64::MAX.into();
        breaker["state"] = "half-open".into();
        breaker["probe"] = json!({"pid": u32::MAX, "since_ms": i64::MAX, "length_ms": u64::MAX});
        (breaker["since_ms"], breaker["first_ms"]) = (i64::MIN.into(), i64::MIN.into());
        (breaker["probes"], breaker["failures"]) = (u32::MAX.into(), u32::MAX.into());
        let budget = &mut record["budget"];
        (budget["billionths"], budget["size"]) = (u64::MAX.into(), u64::MAX.into());
        (budget["returns"], budget["returns_in_ms"], budget["at_ms"]) =
            (u32::MAX.into(), u64::MAX.into(), i64::MAX.into());
    });
    records.retry().arg("--breaker-status=b").run().code(0);
    records.retry().args(["--breaker-status=b", "--json"]).run().code(0);
    // Nobody holds the lease of the probe, so this run probes.
    run().code(0);
    assert_eq!(records.state("b"), "closed");
    records.edit("b", |record| {
        let recovery = &mut record["breaker"]["recovery"];
        (recovery["window"], recovery["due_ms"], recovery["full_ms"]) =
            (0.into(), i64::MAX.into(), i64::MAX.into());
    });
    let waits = ["-n1", "--breaker", "b", "--breaker-wait", "--deadline", "100"];
    records.retry().args(waits).sh("exit 0").run().code(0);
    assert!(records.read("b")["breaker"]["recovery"]["window"].as_u64().unwrap() >= 62);
}
