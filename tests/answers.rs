//! Answers that retry itself writes to stdout: help, version, profiles, and the state of breakers.

use std::fs;
use std::io::{PipeReader, Read};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::pipe::{full_pipe, set_nonblocking};
use crate::support::process::wait_until;
use crate::support::records::Records;
use crate::support::{Retry, Running, retry};

/// The number of records in the answer about all breakers. The answer is larger than a pipe.
const MANY: usize = 300;

/// Starts a run with a full, non-blocking pipe as stdout, and waits until the run waits for space.
fn blocked(retry: Retry) -> (PipeReader, Running) {
    let (reader, writer) = full_pipe();
    set_nonblocking(&writer, true);
    let running = retry.stdout(writer).spawn();
    let polls = [libc::SYS_poll, libc::SYS_ppoll].map(|number| number.to_string());
    wait_until("it waits for room", || {
        let call = fs::read_to_string(format!("/proc/{}/syscall", running.pid())).unwrap_or_default();
        running.ended()
            || call.split(' ').next().is_some_and(|number| polls.iter().any(|poll| poll == number))
    });
    (reader, running)
}

/// The bytes that a slow reader gets.
fn read_slowly(mut reader: PipeReader) -> Vec<u8> {
    let (mut all, mut part) = (Vec::new(), vec![0; 16 * 1024]);
    loop {
        match reader.read(&mut part).unwrap() {
            0 => break,
            read => all.extend_from_slice(&part[..read]),
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let filler = all.iter().take_while(|byte| **byte == b'.').count();
    all.split_off(filler)
}

/// A run that prints the state of all breakers as JSON.
fn status(records: &Records) -> Retry {
    records.retry().args(["--breaker-status", "--json"])
}

fn many_records() -> Records {
    let records = Records::new();
    records.retry().arg("--breaker-trip=b0").run().code(0);
    for n in 1..MANY {
        fs::copy(records.path("b0.json"), records.path(&format!("b{n}.json"))).unwrap();
    }
    records
}

#[test]
fn an_answer_waits_for_a_reader_whose_pipe_does_not_block() {
    let records = many_records();
    let shown = status(&records).run().code(0).stdout.len();
    assert!(shown > 80 * 1024, "{shown}");
    for option in ["-h", "--help", "--version", "--plan", "--profiles", "--profiles=git"] {
        let expected = retry().arg(option).run().stdout;
        let (reader, running) = blocked(retry().arg(option));
        assert_eq!(read_slowly(reader), expected, "{option}");
        running.wait_bounded().code(0).silent();
    }
    let (reader, running) = blocked(status(&records));
    let rows: serde_json::Value = serde_json::from_slice(&read_slowly(reader)).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), MANY);
    running.wait_bounded().code(0).silent();
}

#[test]
fn an_answer_that_is_waited_for_ends_with_its_reader_or_by_a_signal() {
    let (_reader, running) = blocked(retry().arg("--help"));
    running.signal(Signal::SIGTERM);
    running.wait_bounded().signal(Signal::SIGTERM);
    let (reader, running) = blocked(retry().arg("--help").ignoring(Signal::SIGPIPE));
    drop(reader);
    running.wait_bounded().code(0).silent();
}
