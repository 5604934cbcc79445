//! The time and the memory for a gibibyte through each path of the streams, compared with `cat`.
//!
//! `cargo bench --bench streams [-- ROUNDS]`

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a measurement prints, fails by a panic, and counts in floating point"
)]

mod support;

use std::path::Path;
use std::process::Stdio;

use support::{
    RETRY, argument, cost, millis, preamble, quantile, quiet, ratios, rounds, spread, table, tools,
};

/// Placeholder for the command that reads all bytes at the end of a pipeline.
const SINK: &str = "{sink}";

/// Bytes that pass through a pipeline.
const BYTES: u64 = 1 << 30;

fn main() {
    let count = argument(0, 9);
    preamble("Streams");
    let directory = std::env::temp_dir().join(format!("retry-streams-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let tools = tools::all();
    let peer = |name: &str, options: &str| {
        let path = tools.iter().find(|tool| tool.name == name)?.path.as_ref()?;
        Some(format!("{} {options}", path.to_str()?))
    };
    let retry = |options: &str| Some(format!("{RETRY} {options}"));

    let source = format!("head -c {BYTES} /dev/zero");
    let mut out: Vec<Candidate> = vec![
        ("cat", Some(format!("{source} | {SINK}")), 1),
        ("cat | cat", Some(format!("{source} | cat | {SINK}")), 1),
        (
            "cat > file; cat file",
            Some(format!("{source} | cat >$TMPDIR/f; cat $TMPDIR/f | {SINK}; rm $TMPDIR/f")),
            1,
        ),
    ];
    let mut all = out.clone();
    let behind = |wrapper: Option<String>| Some(format!("{} -- {source} | {SINK}", wrapper?));
    out.extend([
        ("retry", behind(retry("")), 1),
        ("retry, watched (-r 'stdout~never')", behind(retry("-r 'stdout~never$'")), 1),
        ("retry --hold", behind(retry("--hold")), 1),
        ("debian-retry, which always holds", behind(peer("debian-retry", "")), 1),
        ("recur -O", peer("recur", &format!("-O {source} | {SINK}")), 1),
    ]);
    measure("stdout", &out, count, &directory);

    // This command keeps its stdout open, and writes only after it has read everything. If it
    // closed stdout, Debian's retry would stop the input. If it wrote while it read, the command
    // and Debian's retry would wait for each other forever.
    let consume = format!("sh -c '{SINK}; exit 0'");
    // retry keeps no input during the last attempt. The first attempt reads one byte, so retry must
    // replay that byte to the second attempt.
    let once = format!("sh -c 'case $RETRY_ATTEMPT in 1) head -c1 >/dev/null; exit 1;; esac; exec {SINK}'");
    let twice = format!("sh -c '{SINK}; [ $RETRY_ATTEMPT = 2 ]'");
    let into = |wrapper: Option<String>| Some(format!("{source} | {}", wrapper?));
    all.extend([
        ("retry -n1 (the pipe itself)", into(retry(&format!("-n1 -- {consume}"))), 1),
        ("retry, replay that keeps nothing", into(retry(&format!("-q -n2 -d0 -- {once}"))), 1),
        ("retry, replay that keeps", into(retry(&format!("-- {consume}"))), 1),
        ("retry, read twice", into(retry(&format!("-q -d0 -- {twice}"))), 2),
        ("debian-retry, which always keeps", into(peer("debian-retry", &format!("-- {consume}"))), 1),
        ("recur -I", into(peer("recur", &format!("-I {consume}"))), 1),
    ]);
    measure("stdin", &all, count, &directory);
    let _ = std::fs::remove_dir_all(directory);
}

/// A candidate: its name, its pipeline (None if the tool is missing), and the number of times that
/// all bytes pass.
type Candidate = (&'static str, Option<String>, usize);

/// Command line of a pipeline, with `sink` in the place of [`SINK`].
fn words(line: &str, sink: &str) -> Vec<String> {
    // Some tools hang, so each pipeline has a time limit. With pipefail, a pipeline fails if any of
    // its commands fails.
    let words = ["timeout", "--kill-after=1", "60", "bash", "-e", "-o", "pipefail", "-c"].map(str::to_owned);
    words.into_iter().chain([line.replace(SINK, sink)]).collect()
}

/// Whether all bytes pass through the pipeline this number of times.
fn passes(line: &str, times: usize, directory: &Path) -> bool {
    let mut command = quiet(&words(line, "wc -c"));
    let run = command.env("TMPDIR", directory).stdout(Stdio::piped()).output().expect("it starts");
    run.status.success() && run.stdout == format!("{BYTES}\n").repeat(times).into_bytes()
}

/// Measures the pipelines and prints the table. The first three pipelines are the references for
/// the others.
fn measure(title: &str, all: &[Candidate], count: usize, directory: &Path) {
    let lines: Vec<Option<&String>> = all
        .iter()
        .map(|(_, line, times)| line.as_ref().filter(|line| passes(line, *times, directory)))
        .collect();
    let costs = rounds(count, all.len(), |candidate| {
        let mut command = quiet(&words(lines[candidate]?, "cat >/dev/null"));
        command.env("TMPDIR", directory);
        // The sync keeps the writes of one pipeline from slowing the next pipeline.
        nix::unistd::sync();
        cost(&mut command).ok().filter(|cost| cost.status == 0)
    });
    let rows: Vec<Vec<String>> = all
        .iter()
        .zip(&costs)
        .map(|((name, line, _), own)| {
            if own.iter().flatten().count() == 0 {
                let cause = if line.is_none() { "missing" } else { "does not pass all" };
                return [*name, cause, "", "", "", ""].map(str::to_owned).to_vec();
            }
            let rates: Vec<f64> = millis(own).iter().map(|ms| BYTES as f64 / 1e3 / ms).collect();
            let peaks: Vec<f64> = own.iter().flatten().map(|cost| cost.peak as f64 / 1024.0).collect();
            vec![
                (*name).to_owned(),
                spread(&ratios(own, &costs[0]), 2),
                spread(&ratios(own, &costs[1]), 2),
                spread(&ratios(own, &costs[2]), 2),
                spread(&rates, 0),
                format!("{:.1}", quantile(&peaks, 0.5)),
            ]
        })
        .collect();
    let head = [
        "",
        "time / cat",
        "time / (cat | cat)",
        "time / (cat > file; cat file)",
        "MB/s",
        "peak MiB of any process",
    ];
    table(&format!("1 GiB of {title}, {count} rounds"), &head, &rows);
}
