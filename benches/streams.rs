//! A gibibyte through each way that bytes take, beside `cat`, and what memory that takes.
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

use support::{
    RETRY, argument, cost, millis, preamble, quantile, quiet, ratios, rounds, spread, table, tools,
};

/// How much passes, in bytes.
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

    // What is behind the pipe is `cat`, so that somebody reads.
    let source = format!("head -c {BYTES} /dev/zero");
    let out: Vec<(&str, Option<String>)> = vec![
        ("cat", Some(format!("{source} | cat"))),
        ("cat | cat", Some(format!("{source} | cat | cat"))),
        (
            "cat > file; cat file",
            Some(format!("{source} | cat >$TMPDIR/f; cat $TMPDIR/f | cat; rm $TMPDIR/f")),
        ),
        ("retry", retry(&format!("-- {source} | cat"))),
        ("retry, watched (-r 'stdout~never')", retry(&format!("-r 'stdout~never$' -- {source} | cat"))),
        ("retry --hold", retry(&format!("--hold -- {source} | cat"))),
        ("debian-retry, which always holds", peer("debian-retry", &format!("-- {source} | cat"))),
        ("recur -O", peer("recur", &format!("-O {source} | cat"))),
    ];
    measure("stdout", &out, count, &directory);

    // Keeps its output open, and writes nothing while it reads: where it closes it, Debian's retry stops feeding it;
    // where it writes meanwhile, both wait for ever.
    let consume = "sh -c 'cat >/dev/null; exit 0'";
    // The last attempt keeps nothing; before it one reads a single byte, so that it has to be replayed.
    let once = "sh -c 'case $RETRY_ATTEMPT in 1) head -c1 >/dev/null; exit 1;; esac; exec cat >/dev/null'";
    let into: Vec<(&str, Option<String>)> = vec![
        ("cat", Some(format!("{source} | cat >/dev/null"))),
        ("cat | cat", Some(format!("{source} | cat | cat >/dev/null"))),
        (
            "cat > file; cat file",
            Some(format!("{source} | cat >$TMPDIR/f; cat $TMPDIR/f | cat >/dev/null; rm $TMPDIR/f")),
        ),
        (
            "retry -n1 (the pipe itself)",
            retry(&format!("-n1 -- {consume}")).map(|run| format!("{source} | {run}")),
        ),
        (
            "retry, replay that keeps nothing",
            retry(&format!("-q -n2 -d0 -- {once}")).map(|run| format!("{source} | {run}")),
        ),
        ("retry, replay that keeps", retry(&format!("-- {consume}")).map(|run| format!("{source} | {run}"))),
        (
            "retry, read twice",
            retry("-q -d0 -- sh -c 'cat >/dev/null; [ $RETRY_ATTEMPT = 2 ]'")
                .map(|run| format!("{source} | {run}")),
        ),
        (
            "debian-retry, which always keeps",
            peer("debian-retry", &format!("-- {consume}")).map(|run| format!("{source} | {run}")),
        ),
        ("recur -I", peer("recur", &format!("-I {consume}")).map(|run| format!("{source} | {run}"))),
    ];
    measure("stdin", &into, count, &directory);
    let _ = std::fs::remove_dir_all(directory);
}

/// Measures pipelines, the first three of which are the measures of the others.
fn measure(title: &str, all: &[(&str, Option<String>)], count: usize, directory: &std::path::Path) {
    let costs = rounds(count, all.len(), |candidate| {
        let line = all[candidate].1.as_ref()?;
        // Some hang.
        let words = ["timeout", "--kill-after=1", "60", "sh", "-c", line];
        let mut command = quiet(&words.map(str::to_owned));
        command.env("TMPDIR", directory);
        // What the last one wrote is not to be this one's burden.
        nix::unistd::sync();
        cost(&mut command).ok().filter(|cost| cost.status == 0)
    });
    let rows: Vec<Vec<String>> = all
        .iter()
        .zip(&costs)
        .map(|((name, line), own)| {
            if own.iter().flatten().count() == 0 {
                let cause = if line.is_none() { "missing" } else { "does not end as it should" };
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
    let head =
        ["", "time to cat", "to cat | cat", "to cat > file; cat file", "MB/s", "peak MiB of any process"];
    table(&format!("1 GiB of {title}, {count} rounds"), &head, &rows);
}
