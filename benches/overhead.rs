//! What it costs to be there: one success, and a thousand failing attempts without a delay, beside a C program
//! that does nothing but spawn and wait.
//!
//! `cargo bench --bench overhead [-- ROUNDS]`

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a measurement prints, fails by a panic, and counts in floating point"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::tools;
use support::{arguments, cost, millis, preamble, quantile, quiet, ratios, rounds, spread, table};

const TRUE: &str = "/bin/true";
const FALSE: &str = "/bin/false";

fn main() {
    let count = arguments().first().and_then(|word| word.parse().ok()).unwrap_or(200);
    preamble("Overhead");
    let directory = std::env::temp_dir().join(format!("retry-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory for the floor");
    let dynamic = floor(&directory, "dynamic", &[]);
    let fixed = floor(&directory, "static", &["-static"]);
    let Some(dynamic) = dynamic else {
        println!("no C compiler is here, so there is no floor to measure against");
        return;
    };
    let tools = tools::all();
    let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    let floor = |path: &Option<PathBuf>, attempts: &str, command: &str| {
        words(&[path.as_ref()?.to_str()?, attempts, command])
    };
    let some = Some(dynamic);

    let mut success = vec![
        ("C, dynamic", floor(&some, "1", TRUE)),
        ("C, static", floor(&fixed, "1", TRUE)),
        ("the command alone", words(&[TRUE])),
        ("env", words(&["env", TRUE])),
        ("timeout", words(&["timeout", "60", TRUE])),
        (
            "dash loop",
            words(&["dash", "-c", "n=5; while ! /bin/true; do n=$((n-1)); [ $n -gt 0 ] || exit 1; done"]),
        ),
    ];
    success.extend(tools.iter().map(|tool| (tool.name, tool.once(&[TRUE]))));
    measure("One success of /bin/true", &success, count, 1, 0);

    let mut failing = vec![
        ("C, dynamic", floor(&some, "1000", FALSE)),
        ("C, static", floor(&fixed, "1000", FALSE)),
        (
            "dash loop",
            words(&["dash", "-c", "n=1000; until /bin/false; do n=$((n-1)); [ $n -gt 0 ] || exit 1; done"]),
        ),
    ];
    failing.extend(tools.iter().map(|tool| (tool.name, tool.thousand(&[FALSE]))));
    measure("1,000 failing attempts of /bin/false", &failing, (count / 20).max(3), 1000, 1);
    let _ = std::fs::remove_dir_all(directory);
}

/// Compiles the floor.
fn floor(directory: &Path, name: &str, options: &[&str]) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/floor.c");
    let path = directory.join(name);
    let made = Command::new("cc").arg("-O2").args(options).arg(&source).arg("-o").arg(&path).status();
    made.is_ok_and(|status| status.success()).then_some(path)
}

/// Measures these, the first of which is the floor, and prints the table. A success that does not end with 0 is not
/// counted; some tools end with 0 after a failure, too.
fn measure(title: &str, all: &[(&str, Option<Vec<String>>)], count: usize, attempts: u32, expected: i32) {
    let costs = rounds(count, all.len(), |candidate| {
        let words = all[candidate].1.as_ref()?;
        let cost = cost(&mut quiet(words)).ok()?;
        (cost.status == 0 || expected != 0).then_some(cost)
    });
    let row = |(name, words): &(&str, Option<Vec<String>>), own: &Vec<_>| {
        let counted = own.iter().flatten().count();
        let cells = match (words, counted) {
            (None, _) => ["missing, or cannot do this".to_owned(), String::new(), String::new()],
            (Some(_), 0) => ["does not end as it should".to_owned(), String::new(), String::new()],
            (Some(_), _) => {
                let each: Vec<f64> = millis(own).iter().map(|ms| ms / f64::from(attempts)).collect();
                let peaks: Vec<f64> = own.iter().flatten().map(|cost| cost.peak as f64).collect();
                let peak = format!("{:.0}", quantile(&peaks, 0.5));
                [spread(&ratios(own, &costs[0]), 2), spread(&each, 2), peak]
            }
        };
        std::iter::once((*name).to_owned()).chain(cells).collect()
    };
    let rows: Vec<Vec<String>> = all.iter().zip(&costs).map(|(candidate, own)| row(candidate, own)).collect();
    let head = ["", "ratio to C, dynamic: median (quartiles)", "ms per attempt", "peak KiB"];
    table(&format!("{title}, {count} rounds"), &head, &rows);
}
