//! The overhead of retry: one success, and a thousand failing attempts without a delay. The
//! reference is a C program that only spawns a command and waits for the command.
//!
//! The benchmark measures copies of the programs, because an installation copies them too. The
//! linker writes a program in parts, so the page cache holds the linker's file in small pages. The
//! system needs 10 % more time to map small pages.
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

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use support::tools::{self, Tool};
use support::{argument, cost, millis, preamble, quiet, ratios, rounds, spread, table};

const TRUE: &str = "/bin/true";
const FALSE: &str = "/bin/false";

/// A candidate has a name and a command line. If there is no command line, it has the reason.
type Candidate = (&'static str, Result<Vec<String>, &'static str>);

fn main() {
    let count = argument(0, 200);
    preamble("Overhead");
    let directory = std::env::temp_dir().join(format!("retry-bench-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory for the floor");
    let dynamic = floor(&directory, "dynamic", &[]);
    let fixed = floor(&directory, "static", &["-static"]);
    let Some(dynamic) = dynamic else {
        println!("no C compiler is here, so there is no floor to measure against");
        return;
    };
    let mut tools = tools::all();
    for tool in &mut tools {
        tool.path = tool.path.take().map(|path| installed(&directory, tool.name, &path));
    }
    let words = |words: &[&str]| Ok(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    let floor = |path: &Option<PathBuf>, attempts: &str, command: &str| {
        let path = path.as_ref().and_then(|path| path.to_str()).ok_or("cannot be linked")?;
        words(&[path, attempts, command])
    };
    let of = |tool: &Tool, words: Option<Vec<String>>| {
        words.ok_or(if tool.path.is_none() { "missing" } else { "cannot do this" })
    };
    let some = Some(dynamic);

    let mut success: Vec<Candidate> = vec![
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
    success.extend(tools.iter().map(|tool| (tool.name, of(tool, tool.once(&[TRUE])))));
    let three = &["--max", "3", "--jitter", "full", "--timeout", "1m", "--"][..];
    let five =
        ["--max", "3", "--jitter", "full", "--timeout", "1m", "--delay", "2", "--deadline", "1h", "--"];
    for (own, name, options) in [
        ("retry (this)", "retry (this), three options", three),
        ("retry (this)", "retry (this), five options", &five),
        ("retry-dynamic", "retry-dynamic, three options", three),
    ] {
        let tool = tools.iter().find(|tool| tool.name == own).expect("it is one of them");
        success.push((name, of(tool, tool.words(options, &[TRUE]))));
    }
    measure("One success of /bin/true", &success, count, 1);

    let mut failing: Vec<Candidate> = vec![
        ("C, dynamic", floor(&some, "1000", FALSE)),
        ("C, static", floor(&fixed, "1000", FALSE)),
        (
            "dash loop",
            words(&["dash", "-c", "n=1000; until /bin/false; do n=$((n-1)); [ $n -gt 0 ] || exit 1; done"]),
        ),
    ];
    failing.extend(tools.iter().map(|tool| (tool.name, of(tool, tool.thousand(&[FALSE])))));
    for (_, words) in &mut failing {
        if words.as_ref().is_ok_and(|words| !makes_all(&directory, words)) {
            *words = Err("does not make them all");
        }
    }
    measure("1,000 failing attempts of /bin/false", &failing, (count / 20).max(3), 1000);
    let _ = fs::remove_dir_all(directory);
}

/// Compiles `floor.c`, the reference for the ratios.
fn floor(directory: &Path, name: &str, options: &[&str]) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/floor.c");
    let path = directory.join(name);
    let made = Command::new("cc").arg("-O2").args(options).arg(&source).arg("-o").arg(&path).status();
    made.is_ok_and(|status| status.success()).then(|| installed(directory, name, &path))
}

/// Copies a compiled program, as an installation does. Returns the path unchanged if the program is
/// a script.
fn installed(directory: &Path, name: &str, path: &Path) -> PathBuf {
    let mut start = [0; 4];
    let compiled = fs::File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok();
    let copy = directory.join(format!("installed-{}", name.replace(' ', "-")));
    if compiled && start == *b"\x7fELF" && fs::copy(path, &copy).is_ok() { copy } else { path.to_owned() }
}

/// Whether this command line makes a thousand attempts. A script that counts its runs takes the
/// place of the failing command.
fn makes_all(directory: &Path, words: &[String]) -> bool {
    let (count, script) = (directory.join("count"), directory.join("counting"));
    let _ = fs::remove_file(&count);
    fs::write(&script, format!("#!/bin/sh\nprintf . >>{}\nexit 1\n", count.display())).expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("a script");
    let script = script.to_str().expect("a path in UTF-8");
    let words: Vec<String> = words.iter().map(|word| word.replace(FALSE, script)).collect();
    let _ = quiet(&words).status();
    fs::metadata(&count).is_ok_and(|count| count.len() == 1000)
}

/// Peak resident size, in KiB, of a program that waits for its command (proc(5), VmHWM). wait4(2)
/// would report at least the size of this benchmark, because a process keeps its peak across exec.
fn resident(words: &[String]) -> Option<u64> {
    let words: Vec<String> = words.iter().map(|word| word.replace(TRUE, "/bin/sleep")).collect();
    let mut child = quiet(&words).arg("0.3").spawn().ok()?;
    thread::sleep(Duration::from_millis(200));
    let status = fs::read_to_string(format!("/proc/{}/status", child.id()));
    let _ = child.wait();
    let status = status.ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// Measures the candidates and prints the table. The first candidate is the reference. A success
/// counts only if the status is 0. A failing run always counts, because some tools end with 0 after
/// a failure too.
fn measure(title: &str, all: &[Candidate], count: usize, attempts: u32) {
    let costs = rounds(count, all.len(), |candidate| {
        let words = all[candidate].1.as_ref().ok()?;
        let cost = cost(&mut quiet(words)).ok()?;
        (cost.status == 0 || attempts > 1).then_some(cost)
    });
    // The last column needs a candidate that waits. Only a run of one attempt whose last word is
    // the command can be made to wait.
    let columns = if attempts == 1 { 4 } else { 3 };
    let row = |(name, words): &Candidate, own: &Vec<_>| {
        let blank = |cause: &str| [cause, "", ""].map(str::to_owned);
        let cells = match words {
            Err(cause) => blank(cause),
            Ok(_) if own.iter().flatten().count() == 0 => blank("does not end as it should"),
            Ok(words) => {
                let each: Vec<f64> = millis(own).iter().map(|ms| ms / f64::from(attempts)).collect();
                let waits = attempts == 1 && words.len() > 1 && words.last().is_some_and(|last| last == TRUE);
                let resident = if waits { resident(words) } else { None };
                let peak = resident.map_or_else(|| "-".to_owned(), |kib| kib.to_string());
                [spread(&ratios(own, &costs[0]), 2), spread(&each, 2), peak]
            }
        };
        std::iter::once((*name).to_owned()).chain(cells).take(columns).collect()
    };
    let rows: Vec<Vec<String>> = all.iter().zip(&costs).map(|(candidate, own)| row(candidate, own)).collect();
    let head = ["", "ratio to C, dynamic: median (quartiles)", "ms per attempt", "peak KiB while it waits"];
    table(&format!("{title}, {count} rounds"), &head[..columns], &rows);
}
