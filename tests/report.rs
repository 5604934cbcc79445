//! `--report`: JSON lines and metrics.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use serde_json::Value;

use crate::support::pipe::fill;
use crate::support::process::{children_of, wait_until};
use crate::support::retry::{BINARY, Retry, nice};
use crate::support::{Run, Scratch, retry};

/// The lines of a report. Each must be JSON.
#[track_caller]
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// One member of each line.
fn each<'a>(lines: &'a [Value], member: &str) -> Vec<&'a Value> {
    lines.iter().map(|line| &line[member]).collect()
}

#[test]
fn each_attempt_has_a_line_and_the_run_has_one() {
    let scratch = Scratch::new();
    let report = scratch.join("report.jsonl");
    let script = "[ -e done ] && exit 0; [ -e one ] && touch done; touch one; kill -9 $$";
    let run = retry()
        .dir(scratch.path())
        .args(["--report", "report.jsonl", "-d", "0.1,0.2", "--breaker", "payments", "--state", "state"])
        .args(["--label", "my job"])
        .env("TRACEPARENT", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .env("RETRY_ATTEMPT", "2")
        .env("RETRY_MAX_ATTEMPTS", "5")
        .sh(script)
        .run();
    run.code(0);
    let lines = lines(&report);
    assert_eq!(each(&lines, "event"), ["attempt", "attempt", "attempt", "run"]);
    assert_eq!(each(&lines, "run").into_iter().collect::<HashSet<_>>().len(), 1, "one id");
    assert!(lines.iter().all(|line| line["label"] == "my job" && line["v"] == 1), "{lines:?}");
    assert_eq!(each(&lines[..3], "attempt"), [1, 2, 3]);
    assert_eq!(each(&lines[..3], "verdict"), ["retryable", "retryable", "success"]);
    assert_eq!(lines[0]["outcome"], serde_json::json!({ "killed": "KILL" }));
    assert_eq!(lines[2]["outcome"], serde_json::json!({ "exited": 0 }));
    assert_eq!((&lines[0]["next_s"], &lines[1]["next_s"]), (&0.1.into(), &0.2.into()));
    assert_eq!(lines[2]["next_s"], Value::Null);
    let end = &lines[3];
    assert_eq!(
        (&end["result"], &end["flaky"], &end["status"]),
        (&"succeeded".into(), &true.into(), &0.into())
    );
    assert_eq!((&end["attempts"], &end["retries"]), (&3.into(), &2.into()));
    assert_eq!(end["breaker"], "payments");
    assert_eq!(end["nested"], serde_json::json!({ "attempt": 2, "max": 5 }));
    assert_eq!(end["trace"], "4bf92f3577b34da6a3ce929d0e0e4736");
    let waited = end["waited_s"].as_f64().unwrap();
    assert!(waited >= 0.3 && end["elapsed_s"].as_f64().unwrap() >= waited, "{end}");
}

#[test]
fn a_success_that_is_repeated_is_neither_a_retry_nor_a_flake() {
    let scratch = Scratch::new();
    let report = scratch.join("report");
    let row = |command: &str| {
        let options = ["-qq", "--successes", "2", "-d", "0.01", "--report"];
        retry().dir(scratch.path()).args(options).arg(&report).sh(command).run().code(0);
        let end = lines(&report).pop().unwrap();
        (end["attempts"].as_u64(), end["retries"].as_u64(), end["flaky"].as_bool())
    };
    assert_eq!(row("exit 0"), (Some(2), Some(0), Some(false)));
    assert_eq!(row("[ $RETRY_ATTEMPT -gt 1 ]"), (Some(3), Some(1), Some(true)));
}

/// Runs that end in each way, into one report.
fn all_kinds(scratch: &Scratch) {
    let with = |arguments: &str| {
        retry().dir(scratch.path()).args(["--report", "all"]).args(arguments.split(' ')).run();
    };
    with("-n 2 -d 0.01 -- sh -c exit\t3");
    for arguments in [
        "-n 1 -- false",
        "-x 1 -- false",
        "--timeout 0.05 -n 1 -- sleep 60",
        "-n 2 -d 0.01 --no-such-command-here",
        "-n 1 -- /",
        "-n unlimited --check true -- false",
        "-n 1 --check false -- true",
        "--deadline 0.2 -d 60 -- false",
        "--breaker b --state . --breaker-failures 1 -n 1 -- false",
        "--breaker b --state . -- true",
        "--state . --breaker c --budget 1/h -d 0.01 -n 9 -- false",
        "--idempotency-key file:/dev/null/x -- true",
    ] {
        with(arguments);
    }
    let run = retry().dir(scratch.path()).args(["--report", "all", "--", "sleep", "60"]).spawn();
    wait_until("the command runs", || !children_of(run.pid()).is_empty());
    run.signal(Signal::SIGTERM);
    run.wait_bounded().signal(Signal::SIGTERM);
}

#[test]
fn every_line_fits_the_schema() {
    need!("jsonschema");
    let scratch = Scratch::new();
    all_kinds(&scratch);
    let lines = lines(&scratch.join("all"));
    let results: HashSet<&str> = lines.iter().filter_map(|line| line["result"].as_str()).collect();
    for result in ["done", "succeeded", "gave-up", "not-retried", "not-run", "interrupted"] {
        assert!(results.contains(result), "{result} is not among {results:?}");
    }
    let outcomes: HashSet<&String> =
        lines.iter().filter_map(|line| line["outcome"].as_object()).flat_map(|kind| kind.keys()).collect();
    assert_eq!(outcomes.len(), 4, "{outcomes:?}");
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/report.schema.json");
    let all = scratch.file("all.json", serde_json::to_vec(&lines).unwrap());
    let each = serde_json::json!({
        "type": "array",
        "items": serde_json::from_slice::<Value>(&fs::read(&schema).unwrap()).unwrap(),
        // References are looked up from the root.
        "$defs": serde_json::from_slice::<Value>(&fs::read(&schema).unwrap()).unwrap()["$defs"],
    });
    let schema = scratch.file("each.json", serde_json::to_vec(&each).unwrap());
    let check =
        |instance: &Path| Command::new("jsonschema").arg("-i").arg(instance).arg(&schema).output().unwrap();
    let valid = check(&all);
    assert!(valid.status.success(), "{}", String::from_utf8_lossy(&valid.stderr));
    let mut wrong = lines[0].clone();
    wrong["outcome"] = serde_json::json!({ "exited": 256 });
    let wrong = scratch.file("wrong.json", serde_json::to_vec(&[wrong]).unwrap());
    assert!(!check(&wrong).status.success(), "the schema accepts anything");
}

#[test]
fn an_attempt_whose_output_is_lost_has_a_line() {
    let scratch = Scratch::new();
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let options = ["--report", "log", "--report", "job.prom", "-r", "stdout~never", "-r", "7"];
    for (script, outcome) in [("echo x", 0), ("echo x; exit 7", 7)] {
        let run = retry().dir(scratch.path()).args(options).sh(script).stdout(full()).run();
        run.code(125).says(&["retry: cannot write to stdout: No space left on device"]);
        let lines = lines(&scratch.join("log"));
        let [attempt, end] = &lines[lines.len() - 2..] else { panic!("{lines:#?}") };
        assert_eq!(
            (&attempt["event"], &attempt["attempt"], &attempt["verdict"]),
            (&"attempt".into(), &1.into(), &"fatal".into())
        );
        assert_eq!(attempt["outcome"]["exited"], outcome);
        assert_eq!(attempt["reason"], "cannot write to stdout: No space left on device");
        assert_eq!(
            (&end["result"], &end["status"], &end["attempts"]),
            (&"error".into(), &125.into(), &1.into())
        );
    }
    let text = fs::read_to_string(scratch.join("job.prom")).unwrap();
    assert_eq!(metric(&text, "retry_last_run_attempts{label=\"sh\"}"), Some(1.0));
    assert_eq!(metric(&text, "retry_runs_total{label=\"sh\",result=\"failed\"}"), Some(2.0));
    let summary = retry().dir(scratch.path()).args(["--summary", "log"]).run();
    let summary = String::from_utf8_lossy(&summary.stdout).into_owned();
    assert!(summary.contains("1x exited 7 (cannot write to stdout: No space left on device)"), "{summary}");
}

#[test]
fn two_hundred_runs_share_a_file_without_a_torn_line() {
    let scratch = Scratch::new();
    let report = scratch.join("report");
    let start = |_| {
        nice()
            .args(["-q", "-n", "3", "-d", "0.01", "--report"])
            .arg(&report)
            .args(["--", "false"])
            .env_remove("GITHUB_ACTIONS")
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let runs: Vec<_> = (0..200).map(start).collect();
    for mut run in runs {
        assert_eq!(run.wait().unwrap().code(), Some(1));
    }
    let lines = lines(&report);
    assert_eq!(lines.len(), 800);
    let ids: HashSet<&str> = lines.iter().filter_map(|line| line["run"].as_str()).collect();
    assert_eq!(ids.len(), 200);
}

/// Runs a command that fails twice, with a report that cannot be written.
#[track_caller]
fn cannot_be_written(report: impl AsRef<Path>, why: &str) -> Run {
    let run = retry().args(["-n", "2", "-d", "0.01", "--report"]).arg(report.as_ref()).arg("false").run();
    let lost = format!("retry: false: cannot write the report to {}: {why}", report.as_ref().display());
    run.code(1).check(run.messages().iter().filter(|line| **line == lost).count() == 1, &lost);
    run.check(run.messages().len() == 3, "two other messages");
    run
}

#[test]
fn a_report_that_cannot_be_written_is_one_warning() {
    let scratch = Scratch::new();
    cannot_be_written(scratch.path(), "Is a directory");
    cannot_be_written(scratch.join("no/such"), "No such file or directory");
    cannot_be_written("/dev/full", "No space left on device");
    cannot_be_written("/dev/fd/987", "Bad file number");
    let fifo = scratch.join("fifo");
    nix::unistd::mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    cannot_be_written(&fifo, "nobody reads it");
    // Somebody has it open and never reads.
    let mut full =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&fifo).unwrap();
    fill(&mut full);
    cannot_be_written(&fifo, "its reader is too slow");
    // -q does not hide it, -qq does.
    let quiet = |option: &str| retry().args([option, "--report"]).arg(scratch.path()).arg("true").run();
    quiet("-q").code(0).says(&["retry: true: cannot write the report to {*}: Is a directory"]);
    quiet("-qq").code(0).silent();
}

#[test]
fn a_line_that_has_no_room_does_not_spoil_the_next() {
    let scratch = Scratch::new();
    let report = scratch.file("report", "x".repeat(1000) + "\n");
    let shell = |script: &str| {
        let shell = Retry::new("bash").args(["-c", script]).dir(scratch.path()).env("R", BINARY);
        let run = shell.run();
        run.code(1);
        run
    };
    // The limit of 1 KiB is in the middle of the first line.
    shell("ulimit -f 1; exec $R -n 2 -d 0.01 --report report -- false").says(&[
        "retry: false: attempt 1 {*}",
        "retry: false: cannot write the report to report: File too large",
        "retry: false: gave up {*}",
    ]);
    let text = fs::read_to_string(&report).unwrap();
    assert_eq!(text.len(), 1024, "{text}");
    shell("exec $R -n 2 -d 0.01 --report report -- false");
    let text = fs::read_to_string(&report).unwrap();
    let whole = text.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count();
    assert_eq!((whole, text.lines().count()), (3, 5), "{text}");
}

#[test]
fn stderr_can_be_the_report() {
    let scratch = Scratch::new();
    for name in ["-", "/dev/stderr", "/dev/fd/2"] {
        // A file has one offset: lines and messages must not write over each other.
        let log = scratch.join("log");
        let file = File::create(&log).unwrap();
        retry().args(["--report", name, "-n", "2", "-d", "0.01", "false"]).stderr(file).run().code(1);
        let text = fs::read_to_string(&log).unwrap();
        let json = text.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count();
        let messages = text.lines().filter(|line| line.starts_with("retry: ")).count();
        assert_eq!((json, messages), (3, 2), "{name}: {text}");
    }
    // A number that the caller has not opened is none of retry's own descriptors.
    for number in 3..10 {
        let name = format!("/dev/fd/{number}");
        let closed = "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-";
        let script =
            format!("{closed}; exec $R --hold -n 2 -d 0.01 --report {name} sh -c 'cat; echo out; exit 1'");
        let run = Retry::new("sh").args(["-c", &script]).env("R", BINARY).run();
        run.code(1)
            .stdout("")
            .stderr_contains(&format!("cannot write the report to {name}: Bad file number"));
    }
    // Another descriptor of the caller keeps its offset too.
    let script = "exec 3>>log3; echo before >&3; $R -q --report /dev/fd/3 true; echo after >&3";
    let run = Retry::new("sh").args(["-c", script]).dir(scratch.path()).env("R", BINARY).run();
    run.code(0).silent();
    let text = fs::read_to_string(scratch.join("log3")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[3]), (4, "before", "after"), "{text}");
}

#[test]
fn a_killed_retry_leaves_its_attempts() {
    let scratch = Scratch::new();
    let report = scratch.join("report");
    let run = retry().args(["-d", "60", "-j", "none", "--report"]).arg(&report).arg("false").spawn();
    run.wait_for_stderr("next in");
    run.signal(Signal::SIGKILL);
    run.wait_bounded().signal(Signal::SIGKILL);
    assert_eq!(each(&lines(&report), "event"), ["attempt"]);
}

#[test]
fn nothing_secret_is_in_a_report() {
    let scratch = Scratch::new();
    let key = "KEY-5e7c";
    let run = retry()
        .dir(scratch.path())
        .args(["--report", "lines", "--report", "metrics.prom", "-n", "2", "-d", "0.01"])
        .args(["--idempotency-key", key, "--", "sh", "-c"])
        .args(["echo OUT-5e7c; echo ERR-5e7c >&2; exit 3", "ARG-5e7c", "--password=5e7c"])
        .run();
    run.code(3).check(run.stdout == b"OUT-5e7c\nOUT-5e7c\n", "the output");
    for file in ["lines", "metrics.prom"] {
        let text = fs::read_to_string(scratch.join(file)).unwrap();
        assert!(!text.is_empty() && !text.contains("5e7c"), "{text}");
    }
}

#[test]
fn the_variable_names_a_report_too() {
    let scratch = Scratch::new();
    let with = |arguments: &[&str]| {
        retry()
            .dir(scratch.path())
            .env("RETRY_REPORT", "log")
            .args(arguments)
            .arg("true")
            .run()
            .code(0)
            .silent();
    };
    with(&[]);
    with(&["--report", "other"]);
    assert_eq!(lines(&scratch.join("log")).len(), 2);
    assert_eq!(lines(&scratch.join("other")).len(), 2);
    // The command finds the variable, and a retry in it reports too.
    let nested = format!("{BINARY} true");
    retry().dir(scratch.path()).env("RETRY_REPORT", "nested").sh(nested).run().code(0);
    assert_eq!(lines(&scratch.join("nested")).len(), 4);
}

/// The value of a metric.
fn metric(text: &str, sample: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(sample)?.trim().parse().ok())
}

#[track_caller]
fn promtool_accepts(path: &Path) {
    let out = Command::new("promtool").args(["check", "metrics"]).stdin(File::open(path).unwrap()).output();
    let out = out.unwrap();
    let said = [out.stdout, out.stderr].concat();
    assert!(out.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn metrics_of_all_labels_and_programs_share_a_file() {
    need!("promtool");
    let scratch = Scratch::new();
    let file = scratch
        .file("job.prom", "# HELP other_total Things.\n# TYPE other_total counter\nother_total{a=\"}\"} 3\n");
    let run = |label: &str, script: &str| {
        let run = retry()
            .args(["-n", "2", "-d", "0.01", "-x", "9", "--label", label, "--report"])
            .arg(&file)
            .sh(script);
        run.dir(scratch.path()).run()
    };
    run("back\\up \"x\"", "[ -e done ] || { touch done; exit 7; }").code(0);
    let before = fs::read_to_string(&file).unwrap();
    run("back\\up \"x\"", "exit 9").code(9);
    run("other", "exit 0").code(0).silent();
    promtool_accepts(&file);
    let text = fs::read_to_string(&file).unwrap();
    let label = r#"label="back\\up \"x\"""#;
    let of = |text: &str, name: &str| metric(text, &format!("retry_{name}{{{label}}}"));
    assert_eq!(of(&text, "last_run_exit_status"), Some(9.0));
    assert_eq!(of(&text, "last_run_attempts"), Some(1.0));
    assert_eq!(of(&text, "retries_total"), Some(1.0));
    // A failure does not change the time of the last success.
    let success = of(&before, "last_success_timestamp_seconds");
    assert!(success.is_some_and(|time| time > 1.7e9), "{before}");
    assert_eq!(of(&text, "last_success_timestamp_seconds"), success);
    for (result, count) in [("flaky", 1.0), ("failed", 1.0), ("succeeded", 0.0), ("not_run", 0.0)] {
        let sample = format!("retry_runs_total{{{label},result=\"{result}\"}}");
        assert_eq!(metric(&text, &sample), Some(count), "{sample}");
    }
    assert_eq!(metric(&text, "retry_runs_total{label=\"other\",result=\"succeeded\"}"), Some(1.0));
    assert_eq!(metric(&text, "other_total{a=\"}\"}"), Some(3.0));
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 2, "only the file and `done`");
}

#[test]
fn no_run_is_lost_when_many_write_metrics_at_once() {
    let scratch = Scratch::new();
    let file = scratch.join("job.prom");
    symlink("real.prom", &file).unwrap();
    let start = |n: usize| {
        let label = if n.is_multiple_of(2) { "even" } else { "odd" };
        retry().args(["-q", "--label", label, "--report"]).arg(&file).arg("true").spawn()
    };
    // Each waits a second at most for the others.
    let runs: Vec<_> = (0..8).map(start).collect();
    // A reader never sees a part of a file.
    while !file.exists() {
        std::thread::yield_now();
    }
    for run in runs {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.ends_with('\n') && text.contains("retry_retries_total"), "{text}");
        run.wait_bounded().code(0).silent();
    }
    let text = fs::read_to_string(&file).unwrap();
    for label in ["even", "odd"] {
        let sample = format!("retry_runs_total{{label=\"{label}\",result=\"succeeded\"}}");
        assert_eq!(metric(&text, &sample), Some(4.0), "{text}");
    }
    assert!(fs::symlink_metadata(&file).unwrap().is_symlink());
}

#[test]
fn timestamps_of_others_go_because_they_spoil_the_file() {
    need!("promtool");
    let scratch = Scratch::new();
    let file =
        scratch.file("job.prom", "# TYPE other gauge\nother{a=\"x y\"} 3 1700000000000\nother{a=\"z\"} 4\n");
    let run = || retry().arg("--report").arg(&file).arg("true").run();
    run()
        .code(0)
        .says(&["retry: true: metrics of other programs in {*}/job.prom had timestamps; retry removed \
                          the timestamps, because node_exporter refuses a file that has any"]);
    run().code(0).silent();
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("\nother{a=\"x y\"} 3\nother{a=\"z\"} 4\n"), "{text}");
    assert!(!text.contains("1700000000000"), "{text}");
}

#[test]
fn a_lock_that_is_kept_does_not_keep_the_run() {
    let scratch = Scratch::new();
    let holder = File::open(scratch.path()).unwrap();
    holder.lock().unwrap();
    let start = Instant::now();
    let run = retry().arg("--report").arg(scratch.join("job.prom")).arg("true").run();
    assert!(start.elapsed() >= Duration::from_secs(1));
    run.code(0)
        .says(&["retry: true: cannot write the metrics to {*}: another process keeps the directory locked"]);
}

#[test]
fn a_file_that_is_none_of_metrics() {
    let scratch = Scratch::new();
    let run = |file: &Path| retry().arg("--report").arg(file).arg("true").run();
    let broken = scratch.file("broken.prom", "half a li");
    run(&broken).code(0).says(&[
        "retry: true: the content of {*}/broken.prom was not metrics; retry renamed it to {*}.prom.corrupt",
    ]);
    assert_eq!(fs::read_to_string(scratch.join("broken.prom.corrupt")).unwrap(), "half a li");
    run(&broken).code(0).silent();
    assert_eq!(
        metric(&fs::read_to_string(&broken).unwrap(), "retry_last_run_attempts{label=\"true\"}"),
        Some(1.0)
    );
    let directory = scratch.join("directory.prom");
    fs::create_dir(&directory).unwrap();
    run(&directory).code(0).says(&["retry: true: cannot write the metrics to {*}: it is not a regular file"]);
    let fifo = scratch.join("fifo.prom");
    nix::unistd::mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    run(&fifo).code(0).says(&["retry: true: cannot write the metrics to {*}: it is not a regular file"]);
    let mut huge = File::create(scratch.join("huge.prom")).unwrap();
    huge.write_all(b"a 1\n").unwrap();
    huge.set_len(17 << 20).unwrap();
    run(&scratch.join("huge.prom")).code(0).says(&["{*}: it is too long for a file of metrics"]);
}
