//! The time that shared state adds to a run: one run alone, 50 runs at once, and 500 runs at once.
//! The benchmark also checks that no update is lost.
//!
//! `cargo bench --bench state [-- ROUNDS]`

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a measurement prints, fails by a panic, and counts in floating point"
)]

mod support;

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use support::server::Server;
use support::{
    Cost, RETRY, argument, cost, millis, preamble, quantile, quiet, ratios, reap, rounds, spread, table,
};

/// A number of failures that the benchmark never reaches, so the breaker stays closed.
const NEVER: &str = "1000000000";

/// Runs at once in the largest crowd, and in the checks for lost updates.
const CROWD: usize = 500;

/// Tokens in the bucket of [`lost_tokens`], fewer than the 1,500 retries that ask for them. One
/// token comes back each minute.
const TOKENS: usize = 1440;

fn main() -> ExitCode {
    let count = argument(0, 100);
    preamble("Shared state");
    let directory = std::env::temp_dir().join(format!("retry-state-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let state = directory.to_str().expect("a path in UTF-8").to_owned();
    // `healthy` is a breaker without failures, and `breaker` has failures. `full` is a full bucket,
    // and `used` is a bucket that hardly fills.
    let healthy = ["--breaker", "h", "--breaker-failures", NEVER, "--state", &state];
    let breaker = ["--breaker", "b", "--breaker-failures", NEVER, "--state", &state];
    let full = ["--budget", "f=20%", "--state", &state];
    let used = ["--budget", "u=0.01%", "--state", &state];
    let rate = ["--budget", "r=1000000/s", "--state", &state];
    let twice = ["-n2", "-d0"];
    let server = Server::start();
    let url = server.as_ref().map(Server::url);
    let served = url.as_ref().map(|url| ["--breaker", "s", "--breaker-failures", NEVER, "--state", url]);
    let mut runs: Vec<(&str, Vec<&str>, &str)> = vec![
        ("success", vec![], "/bin/true"),
        ("success, breaker without failures", healthy.to_vec(), "/bin/true"),
        ("success, budget that is full", full.to_vec(), "/bin/true"),
        ("success, budget that is not full", used.to_vec(), "/bin/true"),
        ("two failures", twice.to_vec(), "/bin/false"),
        ("two failures, breaker", [&twice, &breaker[..]].concat(), "/bin/false"),
        ("two failures, budget of a rate", [&twice, &rate[..]].concat(), "/bin/false"),
    ];
    if let Some(served) = &served {
        let healthy = [&["--breaker", "sh"], &served[2..]].concat();
        runs.push(("success, breaker without failures in a server", healthy, "/bin/true"));
        runs.push(("two failures, breaker in a server", [&twice, &served[..]].concat(), "/bin/false"));
    } else {
        println!("There is no redis-server, so no row with a server.");
    }
    for at_once in [1, 50, CROWD] {
        let count = if at_once == 1 { count } else { (count / 10).max(3) };
        // The records before the measurement: a success clears the failure in `healthy`, and five
        // successes pay for the retry in `full`. No success pays for the ten retries in `used`.
        for (times, attempts, options, command) in [
            (1, "1", &healthy[..], "false"),
            (1, "1", &healthy, "true"),
            (1, "2", &full, "false"),
            (5, "1", &full, "true"),
            (1, "11", &used, "false"),
        ] {
            let options = [&["-n", attempts, "-d0"], options].concat();
            for _ in 0..times {
                let _ = cost(&mut quiet(&words(&options, &[command]))).expect("it starts");
            }
        }
        let mut slowest: Vec<Vec<f64>> = vec![Vec::new(); runs.len()];
        let costs = rounds(count, runs.len(), |candidate| {
            let (_, options, command) = &runs[candidate];
            let all = crowd(at_once, &words(options, &[command]));
            let right = i32::from(*command == "/bin/false");
            assert!(all.iter().all(|run| run.status == right), "a run ended with another status: {all:?}");
            let times: Vec<f64> = all.iter().map(|run| run.time.as_secs_f64()).collect();
            slowest[candidate].push(quantile(&times, 0.99) * 1e3);
            let time = Duration::from_secs_f64(quantile(&times, 0.5));
            Some(Cost { time, peak: 0, status: right })
        });
        let rows: Vec<Vec<String>> = runs
            .iter()
            .enumerate()
            .map(|(i, (name, ..))| {
                let own = millis(&costs[i]);
                // The first row with the same command has no shared state.
                let without = runs.iter().position(|other| other.2 == runs[i].2).expect("itself");
                let added: Vec<f64> = own.iter().zip(millis(&costs[without])).map(|(a, b)| a - b).collect();
                let ratio = spread(&ratios(&costs[i], &costs[without]), 2);
                let added = if i == without { "-".to_owned() } else { spread(&added, 2) };
                let mut row = vec![(*name).to_owned(), ratio, added, spread(&own, 2)];
                if at_once > 1 {
                    row.push(spread(&slowest[i], 1));
                }
                row
            })
            .collect();
        let head = ["", "ratio to the same without shared state", "added ms", "ms", "ms, 99th percentile"];
        let head = &head[..if at_once > 1 { 5 } else { 4 }];
        table(&format!("{at_once} at once, {count} rounds, median of a round's runs"), head, &rows);
    }
    let kept = [lost_failures(&directory), lost_tokens(&directory)];
    let _ = std::fs::remove_dir_all(directory);
    if kept == [true; 2] { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn words(options: &[&str], command: &[&str]) -> Vec<String> {
    let all = [RETRY, "-qq"].into_iter().chain(options.iter().copied()).chain(["--"]);
    all.chain(command.iter().copied()).map(str::to_owned).collect()
}

/// Makes `at_once` runs of a command together. No run begins before all of them are ready, and the
/// time of each run counts from that moment to its end. A single run starts immediately, and its
/// time includes the spawn.
fn crowd(at_once: usize, words: &[String]) -> Vec<Cost> {
    if at_once == 1 {
        return vec![cost(&mut quiet(words)).expect("it starts")];
    }
    let (mut arrivals, here) = io::pipe().expect("a pipe");
    let (gate, mut keys) = io::pipe().expect("a pipe");
    let (here, gate) = (here.as_raw_fd(), gate.as_raw_fd());
    thread::scope(|scope| {
        let one = move || {
            let mut command = quiet(words);
            // SAFETY: read(2) and write(2) are async-signal-safe, and the descriptors outlive this
            // scope.
            unsafe {
                command.pre_exec(move || {
                    nix::unistd::write(BorrowedFd::borrow_raw(here), b".")?;
                    nix::unistd::read(BorrowedFd::borrow_raw(gate), &mut [0])?;
                    Ok(())
                });
            }
            let (status, peak) = reap(&command.spawn().expect("it starts")).expect("it is waited for");
            (status, peak, Instant::now())
        };
        let all: Vec<_> = (0..at_once).map(|_| scope.spawn(one)).collect();
        arrivals.read_exact(&mut vec![0; at_once]).expect("all arrive");
        let start = Instant::now();
        keys.write_all(&vec![b'.'; at_once]).expect("the gate opens");
        let ends = all.into_iter().map(|thread| thread.join().expect("it is waited for"));
        ends.map(|(status, peak, end)| Cost { time: end - start, peak, status }).collect()
    })
}

/// Checks that the breaker counts every failure of a crowd.
fn lost_failures(state: &Path) -> bool {
    let path = state.to_str().expect("a path in UTF-8");
    let options = ["-n4", "-d0", "--breaker", "lost", "--breaker-failures", NEVER, "--state", path];
    let _ = crowd(CROWD, &words(&options, &["/bin/false"]));
    let record = std::fs::read_to_string(state.join("lost.json")).unwrap_or_default();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap_or_default();
    let (counted, all) = (record["breaker"]["failures"].as_u64(), CROWD * 4);
    let counted = counted.and_then(|counted| usize::try_from(counted).ok()).unwrap_or(0);
    println!("\n{CROWD} runs at once, with four failing attempts each:");
    println!("the breaker counted {counted} of {all} failures.");
    counted == all
}

/// Checks that the budget grants as many retries as there are tokens. Each minute of the check may
/// add one token.
fn lost_tokens(state: &Path) -> bool {
    let (path, log) = (state.to_str().expect("a path in UTF-8"), state.join("log"));
    let rate = format!("tokens={TOKENS}/d");
    let options = ["-n4", "-d0", "--budget", &rate, "--state", path];
    let append = format!("echo >>'{}'; exit 1", log.display());
    let start = Instant::now();
    let _ = crowd(CROWD, &words(&options, &["sh", "-c", &append]));
    let minutes = start.elapsed().as_secs() / 60;
    let granted = std::fs::read_to_string(log).unwrap_or_default().lines().count().saturating_sub(CROWD);
    println!("With a budget of {TOKENS} retries, these runs made {granted} retries.");
    (TOKENS..=TOKENS + minutes as usize).contains(&granted)
}
