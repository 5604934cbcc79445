//! The CI action: its script runs with the environment that a runner gives it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::retry::BINARY;
use crate::support::*;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const NAME: &str = concat!("retry-", env!("CARGO_PKG_VERSION"), "-x86_64-unknown-linux-gnu");

/// A runner with the files of one step.
struct Runner {
    scratch: Scratch,
    output: PathBuf,
}

impl Runner {
    fn new() -> Self {
        let scratch = Scratch::new();
        fs::create_dir(scratch.join("bin")).unwrap();
        std::os::unix::fs::symlink(BINARY, scratch.join("bin/retry")).unwrap();
        let output = scratch.file("output", "");
        Self { scratch, output }
    }

    /// The step with these inputs, which installs a release.
    fn step(&self, inputs: &[(&str, &str)]) -> Retry {
        let step = Retry::new(format!("{ROOT}/packaging/action/run"))
            .dir(self.scratch.path())
            .env("GITHUB_ACTION_PATH", ROOT)
            .env("GITHUB_OUTPUT", &self.output)
            .env("RUNNER_TEMP", self.scratch.path())
            .env("RUNNER_OS", "Linux")
            .env("RUNNER_ARCH", "X64");
        inputs.iter().fold(step, |step, (name, value)| {
            step.env(format!("INPUT_{}", name.to_uppercase().replace('-', "_")), value)
        })
    }

    /// The step with the command under test as the installed retry.
    fn installed(&self, inputs: &[(&str, &str)]) -> Retry {
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", self.scratch.join("bin").display());
        self.step(inputs).env("INPUT_INSTALLED", "true").env("PATH", path)
    }

    /// The outputs as the runner reads them: a name, `=` and a value in a line; the last one counts.
    #[track_caller]
    fn outputs(&self) -> BTreeMap<String, String> {
        let text = fs::read_to_string(&self.output).unwrap();
        let pair = |line: &str| {
            let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("no output: {line}"));
            assert!(!name.contains("<<"), "{line}");
            (name.to_owned(), value.to_owned())
        };
        text.lines().filter(|line| !line.is_empty()).map(pair).collect()
    }

    #[track_caller]
    fn has(&self, attempts: &str, status: &str, flaky: &str) {
        let outputs = self.outputs();
        let found = ["attempts", "status", "flaky"].map(|name| outputs[name].as_str());
        assert_eq!(found, [attempts, status, flaky]);
    }

    /// The tarball of a release, whose executable runs the command under test; and its checksum.
    fn release(&self) -> (Vec<u8>, String) {
        fs::create_dir(self.scratch.join(NAME)).unwrap();
        self.scratch.script(&format!("{NAME}/retry"), format!("#!/bin/sh\nexec {BINARY} \"$@\"\n"));
        let tar = format!("tar --create --gzip --file release {NAME} && sha256sum <release | cut -d' ' -f1");
        let made = Command::new("sh").args(["-c", &tar]).current_dir(self.scratch.path()).output().unwrap();
        let sum = String::from_utf8(made.stdout).unwrap().trim().to_owned();
        (fs::read(self.scratch.join("release")).unwrap(), sum)
    }
}

#[test]
fn the_outputs_say_how_the_command_ended() {
    each(
        [
            ("true", 0, ["1", "0", "false"]),
            ("test $RETRY_ATTEMPT = 2", 0, ["2", "0", "true"]),
            ("exit 7", 7, ["3", "7", "false"]),
            // The options of the runner's own shell: each line must succeed, and each part of a pipe.
            ("false\ntrue", 1, ["3", "1", "false"]),
            ("false | true", 1, ["3", "1", "false"]),
            (
                "echo attempts=99 >> $GITHUB_OUTPUT; printf flaky=true >> $GITHUB_OUTPUT",
                0,
                ["1", "0", "false"],
            ),
        ],
        |(command, code, [attempts, status, flaky])| {
            let runner = Runner::new();
            let inputs = [("command", command), ("max-attempts", "3"), ("delay", "0")];
            runner.installed(&inputs).run().code(code);
            runner.has(attempts, status, flaky);
        },
    );
}

#[test]
fn a_value_is_never_code_or_an_option() {
    let nasty = "$(touch pwned) `touch pwned` '; touch pwned; \" && touch pwned\n--help\n::set-env::";
    for input in ["max-attempts", "timeout", "deadline", "delay", "retry-on", "policy", "shell"] {
        let runner = Runner::new();
        let log = runner.scratch.log("ran");
        let command = log.echo("ran");
        let run = runner.installed(&[("command", &command), (input, nasty)]).run();
        run.code(125).stdout("");
        assert!(!runner.scratch.join("pwned").exists(), "{input}");
        assert_eq!(log.lines(), [""; 0], "{input}");
    }
    let runner = Runner::new();
    let inputs = [("command", "true"), ("label", "--max=9 $(touch pwned) \",\"attempts\":9,\"")];
    runner.installed(&inputs).run().code(0);
    assert!(!runner.scratch.join("pwned").exists());
    runner.has("1", "0", "false");
}

#[test]
fn the_command_arrives_as_it_is() {
    let command = "--version 2>/dev/null || true\nprintf '%s|' \"it's\" '$(x)' \\\n  '\"q\"'\nenv | grep -c ^INPUT_ || true";
    let runner = Runner::new();
    runner.installed(&[("command", command)]).run().code(0).stdout("it's|$(x)|\"q\"|0\n");
    let runner = Runner::new();
    runner
        .installed(&[("command", "echo ${0##*/}; echo $-"), ("shell", "sh")])
        .run()
        .code(0)
        .stdout("command\ne\n");
}

#[test]
fn conditions_stand_in_lines_and_a_hook_runs_before_a_retry() {
    let runner = Runner::new();
    let log = runner.scratch.log("hook");
    let command = "case $RETRY_ATTEMPT in 1) exit 7;; 2) echo 'a, b' >&2; exit 1;; esac; exit 9";
    let inputs = [
        ("command", command),
        ("delay", "0"),
        ("retry-on", "7\nstderr~a, b\n"),
        ("on-retry", &log.echo("hook")),
    ];
    runner.installed(&inputs).run().code(9);
    runner.has("3", "9", "false");
    assert_eq!(log.lines(), ["hook", "hook"]);
}

#[test]
fn the_report_of_the_job_is_kept() {
    let runner = Runner::new();
    let report = runner.scratch.join("job.jsonl");
    runner.installed(&[("command", "true")]).env("RETRY_REPORT", &report).run().code(0);
    assert!(fs::read_to_string(report).unwrap().contains("\"event\":\"run\""));
}

#[test]
fn a_cancelled_step_ends_its_command() {
    for (signal, status) in [(Signal::SIGINT, "130"), (Signal::SIGTERM, "143")] {
        let runner = Runner::new();
        let log = runner.scratch.log("pid");
        let command = format!("{}; exec sleep 300", log.echo("$$"));
        let step = runner.installed(&[("command", &command)]).spawn();
        let pid = log.wait_for(1)[0].clone();
        step.signal(signal);
        step.wait_bounded().code(status.parse().unwrap());
        runner.has("1", status, "false");
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}

#[test]
fn a_release_is_installed_only_if_its_checksum_is_right() {
    need!("curl");
    let runner = Runner::new();
    let (tarball, sum) = runner.release();
    let server = Server::new([Reply::status(200).body(tarball)]);
    let url = server.url("/release.tar.gz");
    let wrong = "0".repeat(64);
    let step = |sum: &str| runner.step(&[("command", "echo ran"), ("url", &url), ("checksum", sum)]);

    let run = step(&wrong).run();
    run.code(125).stdout("");
    let stderr = run.stderr.clone();
    let refusal =
        format!("::error title=retry action::{url} has another checksum: expected {wrong}, got {sum}\n");
    assert_eq!(stderr, refusal);

    step(&sum.to_uppercase()).run().code(0).stdout("ran\n");
    runner.has("1", "0", "false");
    // A second step of the job has the file already, and still checks it.
    step(&sum).run().code(0).stdout("ran\n");
    assert_eq!(server.requests().len(), 2);
    fs::write(runner.scratch.join(format!("retry-action/{NAME}.tar.gz")), "other").unwrap();
    step(&sum).run().code(0).stdout("ran\n");
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn the_release_of_the_action_itself_is_the_default() {
    need!("curl");
    let runner = Runner::new();
    let (tarball, sum) = runner.release();
    let server = Server::new([Reply::status(200).body(tarball)]);
    let step = runner.step(&[("command", "true"), ("checksum", &sum)]);
    step.env("GITHUB_SERVER_URL", server.url("")).env("ACTION_REPOSITORY", "owner/retry").run().code(0);
    let path = format!("/owner/retry/releases/download/v{}/{NAME}.tar.gz", env!("CARGO_PKG_VERSION"));
    assert_eq!(server.requests()[0].path, path);
}

#[test]
fn what_cannot_be_installed_is_refused() {
    let error = |message: &str| format!("::error title=retry action::{message}\n");
    let runner = Runner::new();
    let step = || runner.step(&[("command", "echo ran")]);
    let no_sum = format!("there is no checksum for {NAME}.tar.gz: the input checksum must have its SHA-256");
    step().run().code(125).stdout("").stderr(&error(&no_sum));
    let run = step().env("INPUT_CHECKSUM", "abc").run();
    run.code(125).stderr(&error("input checksum: a SHA-256 of 64 hexadecimal digits is expected"));
    let run = step().env("RUNNER_OS", "Windows").run();
    run.code(125).stderr(&error("the runner must run Linux, and this one runs Windows"));
    let run = step().env("RUNNER_ARCH", "ARM").run();
    run.code(125).stderr(&error("there is no release for the architecture ARM"));
    let run = step().env("INPUT_VERSION", "1/../..\n").run();
    run.code(125).stderr(&error("input version: a version such as 1.2.3 is expected"));
    let other = Runner::new();
    fs::remove_file(other.scratch.join("bin/retry")).unwrap();
    let path = other.scratch.script("bin/retry", "#!/bin/sh\necho another\n");
    let run = other.installed(&[("command", "echo ran")]).run();
    run.code(125).stderr(&error(&format!("input installed: {} is another program", path.display())));
}

/// Every input reaches the script through a variable, and none stands in the text of the script.
#[test]
fn the_action_passes_every_input_on() {
    let action = fs::read_to_string(format!("{ROOT}/action.yml")).unwrap();
    let script = fs::read_to_string(format!("{ROOT}/packaging/action/run")).unwrap();
    let (_, inputs) = action.split_once("\ninputs:\n").unwrap();
    let (inputs, rest) = inputs.split_once("\noutputs:\n").unwrap();
    let (outputs, runs) = rest.split_once("\nruns:\n").unwrap();
    let names = |text: &str| -> Vec<String> {
        let keys = text.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        keys.map(|line| line.trim().trim_end_matches(':').to_owned()).collect()
    };
    assert_eq!(names(outputs), ["attempts", "status", "flaky"]);
    assert!(names(inputs).len() >= 12);
    let page = fs::read_to_string(format!("{ROOT}/docs/coming-from-nick-fields.md")).unwrap();
    for name in names(inputs) {
        let variable = format!("INPUT_{}", name.to_uppercase().replace('-', "_"));
        assert!(runs.contains(&format!("{variable}: ${{{{ inputs.{name} }}}}\n")), "{name}");
        assert!(script.contains(&variable), "{variable}");
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
    let code = runs.lines().filter(|line| line.contains("run:") && line.contains("${{"));
    assert_eq!(code.count(), 0);
}
