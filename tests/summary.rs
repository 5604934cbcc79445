//! `--summary`: what reports say about each label.

use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use crate::support::retry::{BINARY, Retry};
use crate::support::{Scratch, retry};

/// A report of real runs: `flaky` recovers twice, `broken` fails once, `fine` succeeds.
fn report(scratch: &Scratch) {
    for (label, script) in [
        ("flaky", "[ $RETRY_ATTEMPT = 3 ]"),
        ("flaky", "[ $RETRY_ATTEMPT = 2 ] || exit 7"),
        ("broken | *x*", "kill -9 $$"),
        ("fine", "exit 0"),
    ] {
        let options = ["-qq", "-n", "3", "-d", "0.01", "--report", "report", "--label", label];
        retry().dir(scratch.path()).args(options).sh(script).run();
    }
}

#[test]
fn the_worst_label_comes_first() {
    let scratch = Scratch::new();
    report(&scratch);
    let run = |arguments: &[&str]| retry().dir(scratch.path()).arg("--summary").args(arguments).run();
    let table = run(&["report"]);
    table.code(0).silent();
    let text = String::from_utf8(table.stdout.clone()).unwrap();
    let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["LABEL", "RUNS", "FLAKY", "FAILED", "RETRIES", "WAITED"]);
    assert_eq!(words[1][..6], ["flaky", "2", "2", "(100%)", "0", "3"], "{text}");
    assert_eq!(words[2], ["2x", "exited", "1"], "{text}");
    assert_eq!(words[3], ["1x", "exited", "7"], "{text}");
    assert!(text.contains("3x killed by KILL") && text.lines().all(|line| line.len() <= 80), "{text}");

    let json = run(&["report", "report", "--json"]);
    let json: Value = serde_json::from_slice(&json.code(0).stdout).unwrap();
    let labels: Vec<&str> =
        json["labels"].as_array().unwrap().iter().filter_map(|row| row["label"].as_str()).collect();
    assert_eq!(labels, ["flaky", "broken | *x*", "fine"]);
    assert_eq!((&json["labels"][0]["runs"], &json["labels"][0]["retries"]), (&2.into(), &3.into()));

    let markdown = run(&["report", "--markdown"]);
    let markdown = String::from_utf8(markdown.code(0).stdout.clone()).unwrap();
    assert!(markdown.contains(r"| broken \| \*x\* | 1 | 0 | 1 (100%) | 2 |"), "{markdown}");
    let hostile = ["-qq", "-n", "1", "--report", "hostile", "--label", "::error::x", "true"];
    retry().dir(scratch.path()).args(hostile).run().code(0);
    let shown = run(&["hostile"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("\n: :error::x "), "{shown}");
    let stdin = retry().args(["--summary", "-"]).stdin(fs::File::open(scratch.join("report")).unwrap()).run();
    stdin.code(0).stdout(&table.stdout);
}

#[test]
fn what_is_no_line_of_a_report_is_skipped_and_counted() {
    let scratch = Scratch::new();
    report(&scratch);
    let clean = retry().dir(scratch.path()).args(["--summary", "report"]).run();
    let mut bytes = fs::read(scratch.join("report")).unwrap();
    let torn = bytes[..40].to_vec();
    bytes.extend(torn.iter().chain(b"\n\nhello\n{\"v\":2,\"event\":\"new\"}\n\xff\xfe\n"));
    bytes.extend(b"{\"v\":1,\"event\":\"unknown\",\"run\":\"x\",\"label\":\"y\",\"more\":{}}\n");
    bytes.extend(vec![b'x'; 200_000]);
    let mixed = scratch.file("mixed", bytes);
    let run = retry().arg("--summary").arg(mixed).run();
    run.code(0).stdout(&clean.stdout).says(&[
        "retry: skipped 4 lines: not in the form of a report, or incomplete",
        "retry: skipped 1 line of a newer retry",
    ]);
    retry()
        .arg("--summary")
        .arg(scratch.path())
        .run()
        .code(125)
        .says(&["retry: cannot read {*}: Is a directory"]);
    let empty = scratch.file("empty", "");
    retry().arg("--summary").arg(empty).run().code(0).stdout("no run found\n");
}

#[test]
fn a_run_counts_once_whatever_files_have_its_lines() {
    let scratch = Scratch::new();
    report(&scratch);
    let run = |arguments: &[&str]| {
        let run = retry().dir(scratch.path()).arg("--summary").args(arguments).run();
        run.code(0).silent();
        run.stdout
    };
    let table = run(&["report"]);
    fs::copy(scratch.join("report"), scratch.join("copy")).unwrap();
    std::os::unix::fs::symlink("report", scratch.join("link")).unwrap();
    let text = fs::read_to_string(scratch.join("report")).unwrap();
    // Each of these parts but the last ends within a run.
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    assert_eq!(lines.len(), 13);
    for (name, part) in [("report.2", &lines[..2]), ("report.1", &lines[2..9]), ("report.0", &lines[9..])] {
        scratch.file(name, part.concat());
    }
    for files in [
        &["report", "report"][..],
        &["report", "./report", "link"],
        &["report", "copy"],
        &["report.2", "report.1", "report.0"],
        &["report.0", "report.1", "report.2"],
    ] {
        let shown = run(files);
        assert!(shown == table, "{files:?}\n{}", String::from_utf8_lossy(&shown));
    }
}

#[test]
fn a_file_that_cannot_be_read_does_not_hide_the_others() {
    let scratch = Scratch::new();
    report(&scratch);
    let run = |arguments: &[&str]| retry().dir(scratch.path()).arg("--summary").args(arguments).run();
    let table = run(&["report"]);
    for files in [&["report", "none", "report"][..], &["none", "report"], &["report", "none"]] {
        let some = run(files);
        some.code(1).stdout(&table.stdout).says(&["retry: cannot read none: No such file or directory"]);
    }
    run(&["none", "."]).code(125).stdout("").says(&[
        "retry: cannot read none: No such file or directory",
        "retry: cannot read .: Is a directory",
    ]);
    scratch.file("empty", "");
    let none = run(&["none", "empty", "--json"]);
    none.code(1).check(String::from_utf8_lossy(&none.stdout).contains("\"labels\": []"), "no label");
}

#[test]
fn memory_stays_bounded_whatever_a_report_contains() {
    let scratch = Scratch::new();
    let mut text = String::new();
    for n in 0..150_000 {
        let _ = writeln!(
            text,
            r#"{{"v":1,"event":"attempt","run":"{n:036}","label":"label {n}","verdict":"retryable","outcome":{{"exited":1}},"reason":"reason {n}"}}"#
        );
    }
    scratch.file("report", text);
    // 8 MiB for all data (setrlimit(2), RLIMIT_DATA). The report has 22 MiB.
    let script = "ulimit -d 8192 && exec $R --summary report";
    let run = Retry::new("bash").args(["-c", script]).dir(scratch.path()).env("R", BINARY).run();
    run.code(0).check(run.stdout.starts_with(b"LABEL"), "a table");
}
