//! What shared state adds to a run: alone, with 50 and with 500 at once; and whether an update is lost.
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

use std::process::Child;
use std::time::Instant;

use support::{Cost, RETRY, argument, cost, millis, preamble, quiet, ratios, rounds, spread, table};

fn main() {
    let count = argument(0, 100);
    preamble("Shared state");
    let directory = std::env::temp_dir().join(format!("retry-state-{}", std::process::id()));
    let state = directory.join("state");
    std::fs::create_dir_all(&state).expect("a directory");
    let state = state.to_str().expect("a path in UTF-8").to_owned();
    // So many failures that it never opens.
    let breaker = ["--breaker", "b", "--breaker-failures", "1000000000", "--state", &state];
    let budget = ["--budget", "x=1000000/s", "--state", &state];
    let runs: Vec<(&str, Vec<&str>, &str)> = vec![
        ("success", vec![], "/bin/true"),
        ("success, breaker", breaker.to_vec(), "/bin/true"),
        ("success, budget", budget.to_vec(), "/bin/true"),
        ("one failure", vec!["-n1"], "/bin/false"),
        ("one failure, breaker", [&["-n1"], &breaker[..]].concat(), "/bin/false"),
        ("one failure, budget", [&["-n1"], &budget[..]].concat(), "/bin/false"),
    ];
    let words = |options: &[&str], command: &str| -> Vec<String> {
        let all = [RETRY, "-qq"].into_iter().chain(options.iter().copied()).chain(["--", command]);
        all.map(str::to_owned).collect()
    };
    for at_once in [1, 50, 500] {
        let count = if at_once == 1 { count } else { (count / 10).max(3) };
        let costs = rounds(count, runs.len(), |candidate| {
            let (_, options, command) = &runs[candidate];
            let words = words(options, command);
            if at_once == 1 {
                return cost(&mut quiet(&words)).ok();
            }
            let start = Instant::now();
            let children: Vec<Child> = (0..at_once).filter_map(|_| quiet(&words).spawn().ok()).collect();
            for mut child in children {
                let _ = child.wait();
            }
            Some(Cost { time: start.elapsed() / at_once, peak: 0, status: 0 })
        });
        let rows: Vec<Vec<String>> = runs
            .iter()
            .zip(&costs)
            .enumerate()
            .map(|(i, ((name, ..), own))| {
                vec![(*name).to_owned(), spread(&ratios(own, &costs[i / 3 * 3]), 2), spread(&millis(own), 2)]
            })
            .collect();
        let head = ["", "ratio to the same without", "ms per run"];
        table(&format!("{at_once} at once, {count} rounds"), &head, &rows);
    }
    lost(&state);
    let _ = std::fs::remove_dir_all(directory);
}

/// Counts 500 runs of four failing attempts, all at once.
fn lost(state: &str) {
    let options =
        ["-qq", "-n4", "-d0", "--breaker", "lost", "--breaker-failures", "1000000000", "--state", state];
    let words: Vec<String> =
        [RETRY].into_iter().chain(options).chain(["--", "/bin/false"]).map(str::to_owned).collect();
    let children: Vec<Child> = (0..500).filter_map(|_| quiet(&words).spawn().ok()).collect();
    let runs = children.len();
    for mut child in children {
        let _ = child.wait();
    }
    let record = std::fs::read_to_string(format!("{state}/lost.json")).unwrap_or_default();
    let failures = record.lines().find_map(|line| line.trim().strip_prefix("\"failures\": "));
    let counted: usize = failures.and_then(|text| text.trim_end_matches(',').parse().ok()).unwrap_or(0);
    println!("\n{runs} runs of four failing attempts at once: {counted} of {} counted.", runs * 4);
}
