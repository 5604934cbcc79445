//! Code that the benchmarks share: rounds in which the candidates take turns, and tables of ratios.
#![allow(dead_code, reason = "each bench uses some of it")]

pub(crate) mod server;
pub(crate) mod tools;

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// The program under test. `cargo bench` builds it with optimisation, like the other tools.
pub(crate) const RETRY: &str = env!("CARGO_BIN_EXE_retry");

/// Cost of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) time: Duration,
    /// Largest resident size of the command and of the descendants that were waited for, in KiB
    /// (getrusage(2), `ru_maxrss`).
    pub(crate) peak: i64,
    /// Exit status, or 128+N after signal N.
    pub(crate) status: i32,
}

/// Runs a command to its end.
pub(crate) fn cost(command: &mut Command) -> io::Result<Cost> {
    let start = Instant::now();
    let child = command.spawn()?;
    let (status, peak) = reap(&child)?;
    Ok(Cost { time: start.elapsed(), peak, status })
}

/// Waits for a child. Returns its status and its peak.
pub(crate) fn reap(child: &Child) -> io::Result<(i32, i64)> {
    let pid = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: an all-zero rusage is a valid one.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: wait4(2) writes one int and one rusage.
    if unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) } != pid {
        return Err(io::Error::last_os_error());
    }
    let status = ExitStatus::from_raw(status);
    Ok((ended(status), usage.ru_maxrss))
}

/// The status as a shell shows it: 128+N after signal N.
pub(crate) fn ended(status: ExitStatus) -> i32 {
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// Prepares a command with null streams and without the `RETRY_` variables.
pub(crate) fn quiet(words: &[String]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"RETRY_")) {
        command.env_remove(name);
    }
    // cargo sets this variable. The loader would search its directories first for each program that
    // is not static.
    command.env_remove("LD_LIBRARY_PATH");
    command
}

/// Random numbers from xorshift64*. A seed gives the same numbers in every run.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // One step of SplitMix64 makes the states of small seeds differ.
        let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Self((x ^ (x >> 27)).max(1))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// Returns true in `percent` of 100 cases.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

/// Measures each candidate once in each round. The order is random and differs between rounds.
/// Returns the costs of each candidate.
pub(crate) fn rounds(
    rounds: usize,
    candidates: usize,
    mut measure: impl FnMut(usize) -> Option<Cost>,
) -> Vec<Vec<Option<Cost>>> {
    let mut random = Random::new(42);
    let mut costs = vec![Vec::with_capacity(rounds); candidates];
    for _ in 0..rounds {
        let mut order: Vec<usize> = (0..candidates).collect();
        random.shuffle(&mut order);
        for candidate in order {
            costs[candidate].push(measure(candidate));
        }
    }
    costs
}

/// The value at this fraction of the sorted values, with interpolation: 0.5 is the median.
pub(crate) fn quantile(values: &[f64], at: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len().saturating_sub(1)) as f64 * at;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    low + (high - low) * place.fract()
}

/// `1.08 (1.02-1.15)`: the median and the quartiles.
pub(crate) fn spread(values: &[f64], digits: usize) -> String {
    if values.is_empty() {
        return "-".to_owned();
    }
    let at = |place| quantile(values, place);
    format!("{:.digits$} ({:.digits$}-{:.digits$})", at(0.5), at(0.25), at(0.75))
}

/// `1.08 (1.00-1.21)`: the median, the least and the most. If all values are equal, only the
/// median.
pub(crate) fn range(values: &[f64], digits: usize) -> String {
    let [least, median, most] = [0.0, 0.5, 1.0].map(|place| quantile(values, place));
    if least < most {
        format!("{median:.digits$} ({least:.digits$}-{most:.digits$})")
    } else {
        format!("{median:.digits$}")
    }
}

/// Time of one candidate divided by the time of another, for each round that has both.
pub(crate) fn ratios(of: &[Option<Cost>], to: &[Option<Cost>]) -> Vec<f64> {
    let both = of.iter().zip(to).filter_map(|(a, b)| Some((a.as_ref()?, b.as_ref()?)));
    both.map(|(a, b)| a.time.as_secs_f64() / b.time.as_secs_f64()).collect()
}

/// The times of one candidate in milliseconds.
pub(crate) fn millis(of: &[Option<Cost>]) -> Vec<f64> {
    of.iter().flatten().map(|cost| cost.time.as_secs_f64() * 1e3).collect()
}

/// Prints a table in Markdown.
pub(crate) fn table(title: &str, head: &[&str], rows: &[Vec<String>]) {
    println!("\n### {title}\n");
    let cells = |cells: Vec<String>| println!("| {} |", cells.join(" | "));
    let escaped = |cell: &str| cell.replace('|', "\\|");
    cells(head.iter().map(|cell| escaped(cell)).collect());
    println!("|{}", " --- |".repeat(head.len()));
    for row in rows {
        cells(row.iter().map(|cell| escaped(cell)).collect());
    }
}

/// Prints the date, the machine and the versions of the programs.
pub(crate) fn preamble(name: &str) {
    let first = |path: &str, key: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
        line.rsplit(':').next().unwrap_or_default().trim().to_owned()
    };
    let output = |words: &[&str]| {
        let run = Command::new(words[0]).args(&words[1..]).output();
        run.map(|run| String::from_utf8_lossy(&run.stdout).trim().to_owned()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    println!("\n## {name}\n");
    println!(
        "{}; {} cores ({}); Linux {}; {}; {}; {}.",
        output(&["date", "-u", "+%Y-%m-%d"]),
        cores,
        first("/proc/cpuinfo", "model name"),
        output(&["uname", "-r"]),
        output(&["rustc", "--version"]),
        output(&["env", "--version"]).lines().next().unwrap_or_default(),
        output(&[RETRY, "--version"]),
    );
}

/// The arguments after `--` on the command line of `cargo bench`. cargo adds `--bench`, which is
/// left out.
pub(crate) fn arguments() -> Vec<String> {
    std::env::args().skip(1).filter(|word| word != "--bench").collect()
}

/// The argument at this position, or the default if there is no argument.
///
/// # Panics
/// If the argument cannot be parsed.
pub(crate) fn argument<T: FromStr>(at: usize, default: T) -> T {
    match arguments().get(at).map(|word| (word, word.parse())) {
        None => default,
        Some((_, Ok(value))) => value,
        Some((word, Err(_))) => panic!("{word} cannot be argument {}", at + 1),
    }
}
