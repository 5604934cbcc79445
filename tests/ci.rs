//! Annotations in a CI. The tests read stderr as the runners of GitHub and Azure do.

use std::fs;
use std::path::Path;

use nix::sys::stat::Mode;

use crate::support::retry::BINARY;
use crate::support::{Retry, Run, Scratch, retry};

/// A command that a runner found.
#[derive(Debug, PartialEq)]
struct Found {
    command: String,
    title: String,
    message: String,
}

/// Undoes escapes. The one of the percent sign comes last, as in the runners.
fn unescaped(text: &str, escapes: &[(&str, &str)]) -> String {
    escapes.iter().fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

/// The commands that GitHub's runner finds: `::` at the beginning of a line, after white space, and
/// `##[` anywhere in a line (actions/runner, ActionCommand.cs).
fn github(stderr: &str) -> Vec<Found> {
    let message = [("%0D", "\r"), ("%0A", "\n"), ("%25", "%")];
    let property = [("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")];
    let mut found = Vec::new();
    for line in stderr.split(['\n', '\r']) {
        if let Some(rest) = line.trim_start().strip_prefix("::")
            && let Some((head, data)) = rest.split_once("::")
        {
            let (command, properties) = head.split_once(' ').unwrap_or((head, ""));
            let title =
                properties.split(',').find_map(|part| part.strip_prefix("title=")).unwrap_or_default();
            found.push(Found {
                command: command.to_owned(),
                title: unescaped(title, &property),
                message: unescaped(data, &message),
            });
        } else if line.contains("##[") {
            found.push(Found { command: "##[".to_owned(), title: String::new(), message: line.to_owned() });
        }
    }
    found
}

/// The commands that Azure's agent finds: `##vso[AREA.EVENT PROPERTIES]MESSAGE` anywhere in a line.
fn azure(stderr: &str) -> Vec<Found> {
    let escapes = [("%3B", ";"), ("%0D", "\r"), ("%0A", "\n"), ("%5D", "]"), ("%AZP25", "%")];
    let mut found = Vec::new();
    for line in stderr.lines() {
        if let Some(at) = line.to_ascii_lowercase().find("##vso[")
            && let Some((head, data)) = line[at + 6..].split_once(']')
        {
            let (command, properties) = head.split_once(' ').unwrap_or((head, ""));
            let kind = properties.split(';').find_map(|part| part.strip_prefix("type=")).unwrap_or_default();
            found.push(Found {
                command: command.to_owned(),
                title: kind.to_owned(),
                message: unescaped(data, &escapes),
            });
        }
    }
    found
}

/// A run in a job of GitHub whose summary is `summary`.
fn on_github(summary: &Path) -> Retry {
    retry().env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", summary).args([
        "-n",
        "5",
        "-d",
        "0.01,0.02",
    ])
}

/// A command that fails twice and then succeeds.
const FLAKY: &str = "[ $RETRY_ATTEMPT -ge 3 ] || exit 7";

/// The lines of retry that are no commands.
fn plain(run: &Run) -> usize {
    run.messages().len()
}

#[test]
fn a_flaky_run_is_annotated_once_in_place_of_its_last_line() {
    let scratch = Scratch::new();
    let summary = scratch.file("summary.md", "# The job\nno end of line");
    let run = on_github(&summary).sh(FLAKY).run();
    run.code(0).stdout("");
    let found = github(&run.stderr);
    assert_eq!(found.len(), 1, "{}", run.stderr);
    assert_eq!((found[0].command.as_str(), found[0].title.as_str()), ("warning", "retry: sh was flaky"));
    let message = &found[0].message;
    assert!(
        message.starts_with("succeeded at attempt 3 of 5 in ") && message.ends_with("; before: exited 7 x2"),
        "{message}"
    );
    assert_eq!(plain(&run), 2, "one for each attempt that failed, and no last line: {}", run.stderr);
    let text = fs::read_to_string(&summary).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[2].starts_with("- ⚠️ **sh** succeeded at attempt 3 of 5 in "), "{text}");
    assert!(text.ends_with(": exited 7 ×2\n"), "{text}");
}

#[test]
fn a_failure_is_an_error_and_a_success_is_nothing() {
    let scratch = Scratch::new();
    let summary = scratch.file("summary.md", "");
    let run = on_github(&summary).args(["-x", "4", "sh", "-c", "exit 4"]).run();
    run.code(4);
    let found = github(&run.stderr);
    assert_eq!(found.len(), 1, "{}", run.stderr);
    assert_eq!((found[0].command.as_str(), found[0].title.as_str()), ("error", "retry: sh failed"));
    assert!(found[0].message.starts_with("not retried: exited 4 (fatal by --fatal-on 4"), "{found:?}");
    assert_eq!(plain(&run), 0);
    assert!(fs::read_to_string(&summary).unwrap().starts_with("- ❌ **sh** not retried: exited 4"));
    fs::write(&summary, "").unwrap();
    on_github(&summary).arg("true").run().code(0).silent();
    // Attempts that only come too early are no flake.
    let polled = on_github(&summary).args(["-u", "stdout~3"]).args(["sh", "-c", "echo $RETRY_ATTEMPT"]).run();
    polled.code(0).check(github(&polled.stderr).is_empty(), "no annotation");
    for quiet in ["-q", "-qq", "--ci=none"] {
        let run = on_github(&summary).arg(quiet).sh(FLAKY).run();
        run.code(0).check(github(&run.stderr).is_empty(), "no annotation");
    }
    assert_eq!(fs::read_to_string(&summary).unwrap(), "");
    let elsewhere = retry().env("GITHUB_ACTIONS", "1").env("CI", "true").args(["-n", "1", "false"]).run();
    elsewhere.code(1).says(&["retry: false: gave up after 1 attempt in {T}: exited 1"]);
}

#[test]
fn an_annotation_begins_on_a_new_line() {
    let scratch = Scratch::new();
    let run =
        on_github(&scratch.join("none")).args(["-n", "1", "sh", "-c", "printf progress >&2; exit 3"]).run();
    run.code(3).check(github(&run.stderr).len() == 1, "the runner finds it");
}

#[test]
fn the_verdict_on_a_run_inside_is_the_same_in_a_ci() {
    let scratch = Scratch::new();
    let summary = scratch.file("summary.md", "");
    for refused in [true, false] {
        let log = scratch.log("log");
        let fatal = if refused { "4" } else { "5" };
        let run = on_github(&summary)
            .args(["-n", "2", "--", BINARY, "-n", "2", "-d", "0.01", "--label", "two words", "-x", fatal])
            .args(["sh", "-c", &format!("{}; exit 4", log.echo("x"))])
            .run();
        run.code(4);
        assert_eq!(log.lines().len(), if refused { 1 } else { 4 }, "{}", run.stderr);
        // Only the outer run annotates.
        assert_eq!(github(&run.stderr).len(), 1, "{}", run.stderr);
    }
    assert_eq!(fs::read_to_string(&summary).unwrap().lines().count(), 2);
}

#[test]
fn a_failure_of_retry_itself_is_annotated_and_reported() {
    let scratch = Scratch::new();
    let run = on_github(&scratch.join("none"))
        .dir(scratch.path())
        .args(["--report", "lines", "--idempotency-key", "file:/dev/null/x", "true"])
        .run();
    let found = github(&run.code(125).stderr);
    assert_eq!(
        found.iter().map(|found| found.command.as_str()).collect::<Vec<_>>(),
        ["error"],
        "{}",
        run.stderr
    );
    assert_eq!(plain(&run), 1, "and it says so itself: {}", run.stderr);
    assert!(fs::read_to_string(scratch.join("lines")).unwrap().contains(r#""result":"error""#));
}

#[test]
fn azure_gets_a_line_of_its_own_form() {
    let on_azure = || retry().env("TF_BUILD", "True").args(["-n", "5", "-d", "0.01"]);
    let run = on_azure().args(["--label", "a;b]c%3B\u{e9}"]).sh(FLAKY).run();
    run.code(0);
    let found = azure(&run.stderr);
    assert_eq!(found.len(), 1, "{}", run.stderr);
    assert_eq!((found[0].command.as_str(), found[0].title.as_str()), ("task.logissue", "warning"));
    assert!(
        found[0].message.starts_with("retry: a;b]c%3B\u{e9} was flaky: succeeded at attempt 3 of 5"),
        "{found:?}"
    );
    let run = on_azure().args(["-n", "1", "false"]).run();
    assert_eq!(azure(&run.code(1).stderr)[0].title, "error");
}

/// Texts that a CI or Markdown would take for more than text.
const HOSTILE: [&str; 8] = [
    "a%0A::error::b",
    "::error::x",
    "x ##[error]y",
    "##vso[task.complete result=Failed;]z",
    "a,title=b:c",
    "<img src=x> [l](u) `c` *b* _i_ | @all",
    "%25%0D%3A;]",
    "##VSO[task.setvariable]q",
];

#[test]
fn no_label_and_no_output_is_a_command_of_a_ci() {
    let scratch = Scratch::new();
    let summary = scratch.file("summary.md", "");
    for hostile in HOSTILE {
        let run = on_github(&summary).args(["--label", hostile]).sh(FLAKY).run();
        let found = github(&run.code(0).stderr);
        assert_eq!(found.len(), 1, "{}", run.stderr);
        // What is broken up has a blank more.
        let title =
            found[0].title.replace("## [", "##[").replace("##vso [", "##vso[").replace("##VSO [", "##VSO[");
        assert_eq!(title, format!("retry: {hostile} was flaky"));
        assert!(azure(&run.stderr).is_empty(), "{}", run.stderr);
        let run = retry().env("TF_BUILD", "True").args(["-n", "1", "--label", hostile, "false"]).run();
        assert_eq!(azure(&run.stderr).len(), 1, "{}", run.stderr);
    }
    let text = fs::read_to_string(&summary).unwrap();
    assert_eq!(text.lines().count(), HOSTILE.len(), "{text}");
    assert!(text.contains(r"**&lt;img src=x&gt; \[l\](u) \`c\` \*b\* \_i\_ \| \@all**"), "{text}");
    // Output of a failed attempt that retry shows.
    let output = HOSTILE.join("\\n") + "\\r  ::set-output name=x::y\\n\\377";
    let script = format!("printf '{}'; exit 3", output.replace('%', "%%"));
    let shown = on_github(&summary).args(["-n", "1", "--hold", "sh", "-c", &script]).run();
    let found = github(&shown.code(3).stderr);
    assert_eq!(
        found.iter().map(|found| found.command.as_str()).collect::<Vec<_>>(),
        ["error"],
        "{}",
        shown.stderr
    );
    assert!(azure(&shown.stderr).is_empty() && shown.stderr.contains(": :error::x"), "{}", shown.stderr);
}

#[test]
fn a_summary_that_is_missing_or_full_is_left_alone() {
    let scratch = Scratch::new();
    let missing = scratch.join("missing.md");
    let directory = scratch.path().to_owned();
    let fifo = scratch.join("fifo");
    nix::unistd::mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let full = scratch.file("full.md", vec![b'x'; 900 * 1024 - 20]);
    for path in [&missing, &directory, &fifo, &full, &Path::new("").to_owned()] {
        let run = on_github(path).args(["-n", "1", "false"]).run();
        run.code(1).check(github(&run.stderr).len() == 1 && plain(&run) == 0, "only the annotation");
    }
    assert!(!missing.exists());
    assert_eq!(fs::metadata(&full).unwrap().len(), 900 * 1024 - 20);
}
