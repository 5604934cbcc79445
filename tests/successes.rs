//! `--successes N`: a run succeeds only after N successful attempts in a row.

use nix::sys::signal::Signal;

use crate::support::records::Records;
use crate::support::*;

/// A run that needs this many successes in a row, with delays of 10 ms. Its attempts exit with these
/// statuses in turn, and log their number and their key.
struct Row {
    scratch: Scratch,
    log: Log,
}

impl Row {
    fn new() -> Self {
        let scratch = Scratch::new();
        let log = scratch.log("log");
        Self { scratch, log }
    }

    fn script(&self, statuses: &str) -> String {
        let log = self.log.echo("$RETRY_ATTEMPT $RETRY_LAST_STATUS $RETRY_IDEMPOTENCY_KEY");
        format!("{log}; echo out $RETRY_ATTEMPT; set -- {statuses}; shift $((RETRY_ATTEMPT - 1)); exit $1")
    }

    fn run(&self, options: &str, statuses: &str) -> Run {
        let fast = ["-d", "0.01", "-j", "none"];
        retry().args(fast).args(options.split(' ')).sh(self.script(statuses)).run()
    }

    fn attempts(&self) -> usize {
        self.log.lines().len()
    }
}

#[test]
fn a_success_is_repeated_until_there_are_enough_in_a_row() {
    let row = Row::new();
    row.run("-n 9 --successes 3 --idempotency-key k", "0 7 7 0 0 0").code(0).says(&[
        "retry: sh: attempt 1 of 9 succeeded (1 of 3 in a row); next in 10ms",
        "retry: sh: attempt 2 of 9 exited 7; next in 10ms",
        "retry: sh: attempt 3 of 9 exited 7; next in 20ms",
        "retry: sh: attempt 4 of 9 succeeded (1 of 3 in a row); next in 10ms",
        "retry: sh: attempt 5 of 9 succeeded (2 of 3 in a row); next in 10ms",
        "retry: sh: succeeded 3 times in a row at attempt 6 of 9 in {T}",
    ]);
    assert_eq!(row.log.lines(), ["1  k", "2 0 k", "3 7 k", "4 7 k", "5 0 k", "6 0 k"]);
    row.run("--successes 2 -q", "0 0").code(0).stderr("").stdout("out 1\nout 2\n");
    // One success is enough, as without the option.
    row.run("--successes 1", "0").code(0).silent();
    // Other successes count too, and the last one gives the status.
    row.run("--successes 2 --success-on 3", "0 3").code(3);
    row.run("--successes 2 --until 3", "3 0 3 3").code(0).says(&[
        "retry: sh: attempt 1 of 5 succeeded: exited 3 (--until 3) (1 of 2 in a row); next in 10ms",
        "retry: sh: attempt 2 of 5 exited 0 (--until 3 did not hold); next in 10ms",
        "retry: sh: attempt 3 of 5 succeeded: exited 3 (--until 3) (1 of 2 in a row); next in 10ms",
        "retry: sh: succeeded 2 times in a row at attempt 4 of 5 in {T}: exited 3 (--until 3)",
    ]);
}

#[test]
fn a_row_that_is_not_complete_is_no_success() {
    let row = Row::new();
    row.run("-n 4 --successes 3 -q", "0 7 0 0")
        .code(1)
        .says(&["retry: sh: gave up after 4 attempts in {T}: exited 0, 2 of 3 in a row"]);
    row.run("-n 3 --successes 3 -q", "0 0 7")
        .code(7)
        .says(&["retry: sh: gave up after 3 attempts in {T}: exited 7"]);
    row.run("-n 3 --successes 3 -q -x 7", "0 7").code(7).stderr_contains("not retried: exited 7");
    // A repeat that does not fit into the deadline.
    let run = retry().args(["-d", "60", "--deadline", "30", "--successes", "2", "true"]).run();
    run.code(1).says(&[
        "retry: true: gave up after 1 attempt in {T}: the next delay does not fit into the deadline of 30s; \
         exited 0, 1 of 2 in a row",
    ]);
    // An input that cannot be kept cannot be read again.
    let run = retry().args(["-d0", "--successes", "2", "--stdin-limit", "1", "cat"]).stdin("abc").run();
    run.code(1).stdout("abc").stderr_contains("stdin is longer than --stdin-limit 1");
    // A signal during the wait for a repeat.
    let running = retry().args(["-d", "60", "--successes", "2", "true"]).spawn();
    running.wait_for_stderr("; next in 60s");
    running.signal(Signal::SIGTERM);
    running.wait_bounded().signal(Signal::SIGTERM).stderr_contains(
        "interrupted by TERM during the wait after attempt 1 of 5; exited 0, 1 of 2 in a row",
    );
    for (options, cause) in [
        (&["--successes", "6"][..], "--successes 6 needs more attempts than --max 5 allows"),
        (&["--successes", "3", "-n2"], "--successes 3 needs more attempts than --max 2 allows"),
    ] {
        let run = retry().args(options).sh(row.script("0")).run();
        run.code(125)
            .stdout("")
            .says(&[&format!("retry: {cause}"), "retry: hint: raise --max: it counts all attempts"]);
    }
    assert_eq!(row.attempts(), 9);
}

#[test]
fn only_the_output_of_the_last_success_is_passed_on() {
    let row = Row::new();
    for hold in ["--hold", "--hold=both"] {
        let run = row.run(&format!("{hold} --successes 3 -q"), "0 0 0");
        run.code(0).stdout("out 3\n").stderr("");
    }
    // Of a run that fails, the last attempt is shown, although it succeeded.
    for hold in ["--hold", "--hold=both"] {
        let run = row.run(&format!("{hold} --successes 2 -n 3"), "0 7 0");
        run.code(1).stdout("").stderr_contains("out 3\n");
        run.check(!run.stderr.contains("out 1"), "the output of a success in between is dropped");
    }
}

#[test]
fn a_repeat_is_not_a_retry() {
    let (row, records) = (Row::new(), Records::new());
    // The budget has one token.
    let options = ["-d0", "--budget", "b=1/h", "--breaker", "b", "--successes", "3"];
    let hook = row.log.echo("hook before $RETRY_ATTEMPT");
    let run = || records.retry().args(options).args(["--on-retry", &hook]);
    run().sh(row.script("0 7 0 0 0")).run().code(0);
    let lines: Vec<String> =
        row.log.lines().iter().map(|line| line[..line.len().min(13)].to_owned()).collect();
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert_eq!(row.log.lines()[2], "hook before 3");
    run().sh(row.script("0 7")).run().code(7).stderr_contains("budget b is spent");
    // A check that says that the work is done ends the run.
    let check = "[ $RETRY_ATTEMPT = 2 ] || exit 1";
    retry().args(["-d0", "--successes", "3", "--check", check, "true"]).run().code(0).says(&[
        "retry: true: attempt 1 of 5 succeeded (1 of 3 in a row); next in 0s",
        "retry: true: succeeded before attempt 2 of 5 in {T}: --check says that the work is done",
    ]);
    // Every attempt reads the same input, and has the key of a file that goes with the run.
    let key = row.scratch.join("key");
    let option = format!("file:{}", key.display());
    let run = retry().args(["-d0", "-q", "--successes", "2", "--idempotency-key", &option]);
    run.sh(format!("cat; test -e {}", key.display())).stdin("in\n").run().code(0).stdout("in\nin\n");
    assert!(!key.exists());
    // Nothing is said about a retry around this run, because no retry follows.
    let run = retry().args(["-d0", "--successes", "2", "true"]).env("RETRY_ATTEMPT", "1");
    let run = run.env("RETRY_MAX_ATTEMPTS", "5").run();
    run.code(0).check(!run.stderr.contains("inside another retry"), "no retry");
}
