//! Processes that fork while retry ends them: chains of processes that fork and exit, and signal
//! handlers that start processes.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::process::{self, Entry};
use crate::support::retry::BINARY;
use crate::support::scratch::quoted;
use crate::support::{Log, Scratch, Terminal, retry};

/// A limit far below the life of a chain, and above the needs of a busy machine.
const SOON: Duration = Duration::from_secs(5);

/// Chains of processes: each process forks a child and exits. The chains end after 20 s in any
/// case.
const CHAINS: &str = r#"
    $SIG{TERM} = "IGNORE" if $ARGV[0] eq "deaf";
    my $end = time + 20;
    for (1 .. $ARGV[1]) {
        next if fork;
        while (time < $end) { exit if fork; select undef, undef, undef, 0.005 }
        exit;
    }
    sleep 1 while time < $end;
"#;

/// The living perl processes with this word in their command line.
fn with_word(word: &Path) -> Vec<i32> {
    let has = |entry: &Entry| {
        let line = fs::read(format!("/proc/{}/cmdline", entry.pid)).unwrap_or_default();
        entry.lives() && String::from_utf8_lossy(&line).split('\0').any(|w| Path::new(w) == word)
    };
    process::table().into_iter().filter(|entry| entry.name == "perl" && has(entry)).map(|e| e.pid).collect()
}

#[test]
fn chains_that_fork_and_exit_end_soon() {
    need!("perl");
    for (options, hears) in [
        (&["--timeout", "0.4"][..], "hearing"),
        (&["--timeout", "0.4", "--kill-after", "0.2"], "deaf"),
        (&["--timeout", "0.4", "--kill-after", "0"], "deaf"),
    ] {
        let scratch = Scratch::new();
        let script = scratch.file("chains.pl", CHAINS);
        let run = retry()
            .args(["-n", "1"])
            .args(options)
            .arg("--")
            .arg("perl")
            .arg(&script)
            .args([hears, "40"])
            .run();
        run.code(124).check(run.took < SOON, "an end soon after the limit");
        assert_eq!(with_word(&script), [0; 0]);
    }
}

#[test]
fn chains_in_the_group_of_a_terminal_end_soon() {
    need!("perl");
    let scratch = Scratch::new();
    let script = scratch.file("chains.pl", CHAINS);
    let mut command = Command::new(BINARY);
    command.args(["-n", "1", "--timeout", "0.4", "--kill-after", "0.2", "--", "perl"]);
    // In the terminal's group retry ends one process after the other. More chains would take all
    // processors from retry.
    command.arg(&script).args(["deaf", "4"]);
    let started = Instant::now();
    let mut terminal = Terminal::open(command);
    assert_eq!(terminal.wait().code(), Some(124));
    assert!(started.elapsed() < SOON, "{:?}\n{}", started.elapsed(), terminal.transcript());
    assert_eq!(with_word(&script), [0; 0]);
}

/// The timeout of a tree: even on a busy machine all of its processes have started then. A shell that
/// gets TERM while it forks may run its trap in the child too.
const STARTED: &str = "4";

/// The depth of [`tree`].
const DEPTH: usize = 12;

/// A script whose processes each have a child. Each process handles TERM with a command that takes
/// some time.
fn tree(scratch: &Scratch, log: &Log) -> String {
    let clean = scratch.file("clean", format!("sleep 0.3; {}", log.echo("clean")));
    let text = format!(
        "trap '{}; sh {}; exit 0' TERM
        {}
        if [ $1 = 1 ]; then sleep 60 & else sh \"$0\" $(($1 - 1)) & fi
        wait",
        log.echo("term"),
        clean.display(),
        log.echo("up"),
    );
    format!("sh {} {DEPTH}", quoted(scratch.file("tree", text)))
}

fn count(log: &Log, word: &str) -> usize {
    log.lines().iter().filter(|line| *line == word).count()
}

#[test]
fn the_signal_reaches_each_process_once_and_nothing_that_its_handlers_start() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    retry().args(["-n", "1", "--timeout", STARTED]).sh(tree(&scratch, &log)).run().code(124);
    assert_eq!(["up", "term", "clean"].map(|word| count(&log, word)), [DEPTH; 3], "{:?}", log.lines());

    // The same in the group of a terminal.
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let mut command = Command::new(BINARY);
    command.args(["-n", "1", "--timeout", STARTED, "--", "sh", "-c"]).arg(tree(&scratch, &log));
    let mut terminal = Terminal::open(command);
    assert_eq!(terminal.wait().code(), Some(124));
    assert_eq!(["up", "term", "clean"].map(|word| count(&log, word)), [DEPTH; 3], "{:?}", log.lines());
}
