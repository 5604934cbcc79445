//! Policies: files of options. The command prints what it finds in its environment, so the tests see
//! the options that took effect.

mod refused;
mod shipped;
mod trust;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::support::needs;
use crate::support::records::Records;
use crate::support::retry::BINARY;
use crate::support::scratch::quoted;
use crate::support::*;

/// A user's directory of policies.
struct Home {
    scratch: Scratch,
}

impl Home {
    fn new() -> Self {
        let home = Self { scratch: Scratch::new() };
        fs::create_dir(home.scratch.join("retry")).unwrap();
        for directory in [home.scratch.path().to_owned(), home.scratch.join("retry")] {
            fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).unwrap();
        }
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.join("retry").join(name)
    }

    /// Writes a policy and returns its path.
    fn policy(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        path
    }

    /// A run that finds these policies.
    fn retry(&self) -> Retry {
        retry().env("XDG_CONFIG_HOME", self.scratch.path()).env("HOME", "/nonexistent")
    }

    /// The limits of a run with these options: attempts, and whether there is a deadline.
    fn limit(&self, options: &[&str], variable: Option<&str>) -> String {
        let mut run = self.retry().args(options);
        if let Some(variable) = variable {
            run = run.env("RETRY_POLICY", variable);
        }
        let run = run.sh("printf %s \"$RETRY_MAX_ATTEMPTS\"").run();
        run.code(0).silent();
        String::from_utf8(run.stdout.clone()).unwrap()
    }
}

/// The path in a message.
fn shown(path: impl AsRef<OsStr>) -> String {
    path.as_ref().to_str().unwrap().to_owned()
}

#[test]
fn a_policy_is_found_by_its_name_or_its_path() {
    let home = Home::new();
    let path = shown(home.policy("seven", "--max=7\n"));
    for name in ["seven", &path] {
        assert_eq!(home.limit(&["--policy", name], None), "7");
        assert_eq!(home.limit(&[], Some(name)), "7");
    }
    // A name without / is never a file of the present directory.
    let run = home.retry().dir(home.path("")).args(["-d0", "--policy", "./seven"]);
    run.sh("exit $RETRY_MAX_ATTEMPTS").run().code(7);
    let elsewhere = Home::new();
    let run = elsewhere.retry().dir(home.path("")).args(["--policy", "seven", "true"]).run();
    run.code(125).stderr_contains("hint: for the file in the present directory, write ./seven");
}

#[test]
fn the_users_directory_is_that_of_xdg_or_of_the_home() {
    let scratch = Scratch::new();
    let directory = scratch.join(".config/retry");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("six"), "-n6").unwrap();
    let run = |xdg: Option<&str>| {
        let run = retry().env_remove("XDG_CONFIG_HOME").env("HOME", scratch.path());
        let run = if let Some(xdg) = xdg { run.env("XDG_CONFIG_HOME", xdg) } else { run };
        run.args(["-d0", "--policy=six"]).sh("exit $RETRY_MAX_ATTEMPTS").run()
    };
    run(None).code(6);
    run(Some("")).code(6);
    // A relative path counts as absent.
    run(Some("x")).code(6);
    run(Some("/nonexistent")).code(125);
}

/// Runs a script in which /etc is a new file system. None if that is not permitted.
fn with_etc(script: &str) -> Option<Run> {
    let script = format!("mount -t tmpfs tmpfs /etc && mkdir /etc/retry || exit 99\n{script}");
    let run = Retry::new("unshare").args(["--mount", "sh", "-c", &script]).run();
    if run.status.code() == Some(99) || run.stderr.contains("unshare") {
        needs::left_out("the right to mount a file system");
        return None;
    }
    Some(run)
}

#[test]
fn the_users_policy_outranks_that_of_the_system() {
    let home = Home::new();
    home.policy("both", "--max=7");
    let directory = quoted(home.scratch.path());
    let run = with_etc(&format!(
        "export XDG_CONFIG_HOME={directory}
         echo --max=3 >/etc/retry/both; echo --max=4 >/etc/retry/etc
         for name in both etc; do {BINARY} --policy $name -- sh -c 'echo $RETRY_MAX_ATTEMPTS'; done
         {BINARY} -v --policy etc true
         {BINARY} --policy no true"
    ));
    let Some(run) = run else { return };
    run.code(125).stdout("7\n4\n").stderr(&format!(
        "retry: true: policy etc is /etc/retry/etc, named by --policy\n\
         retry: --policy no: no such policy: neither {}/no nor /etc/retry/no exists\n\
         retry: hint: policies: both, etc\n",
        shown(home.path("")).trim_end_matches('/')
    ));
}

#[test]
fn the_command_line_outranks_policy_and_policy_outranks_variable() {
    let home = Home::new();
    home.policy("three", "--max=3");
    home.policy("four", "--max=4");
    assert_eq!(home.limit(&[], Some("three")), "3");
    assert_eq!(home.limit(&["--policy=four"], Some("three")), "4");
    assert_eq!(home.limit(&["--policy=four", "-n6"], Some("three")), "6");
    assert_eq!(home.limit(&["-n6", "--policy=four"], Some("three")), "6");
    // The last --policy counts.
    assert_eq!(home.limit(&["--policy=four", "--policy=three"], None), "3");
    assert_eq!(home.limit(&["--policy=three", "--policy=none"], Some("four")), "5");
    assert_eq!(home.limit(&["--policy=none"], Some("four")), "5");
    assert_eq!(home.limit(&[], Some("none")), "5");
    assert_eq!(home.limit(&[], Some("")), "5");
    // The policy of the variable is not read, and so it may be missing.
    assert_eq!(home.limit(&["--policy=four"], Some("no-such")), "4");
    assert_eq!(home.limit(&["--policy=none"], Some("/no/such")), "5");
}

#[test]
fn a_list_of_the_command_line_replaces_that_of_the_policy() {
    let home = Home::new();
    let log = home.scratch.log("log");
    home.policy("p", "-r7\n-r8\n-x9\n-d0\n-n2\n");
    let script = |status: &str| format!("{}; exit {status}", log.echo("ran"));
    for (options, status, attempts) in [
        (&[][..], "7", 2),
        (&[], "8", 2),
        (&[], "6", 1),
        (&["-r6"], "6", 2),
        (&["-r6"], "7", 1),
        (&["-r6,9"], "9", 1),
        (&["-r6,9", "-x5"], "9", 2),
    ] {
        let before = log.lines().len();
        let run = home.retry().args(["--policy", "p"]).args(options).sh(script(status)).run();
        run.code(status.parse().unwrap());
        assert_eq!(log.lines().len() - before, attempts, "{options:?} {status}");
    }
}

#[test]
fn an_option_of_a_policy_outranks_its_variable() {
    let home = Home::new();
    let (state, report) = (home.scratch.join("state"), home.scratch.join("report"));
    home.policy("p", format!("--state={}\n--breaker=b\n--report={}\n", shown(&state), shown(&report)));
    let variables = Records::new();
    let other = home.scratch.join("other");
    let run = || {
        let run = home.retry().env("RETRY_STATE", variables.directory()).env("RETRY_REPORT", &other);
        run.args(["-n1", "--policy", "p"])
    };
    run().sh("exit 7").run().code(7);
    assert!(state.join("b.json").exists() && report.exists());
    assert!(!variables.directory().exists() && !other.exists());
    // The command line outranks both.
    let third = home.scratch.join("third");
    run().arg("--report").arg(&third).sh("exit 7").run().code(7);
    assert_eq!(fs::read_to_string(&third).unwrap().lines().count(), 2);
    assert_eq!(fs::read_to_string(&report).unwrap().lines().count(), 2);
}

#[test]
fn values_are_bytes() {
    let home = Home::new();
    let mut text = b"--label=a  b # c\n--check\n\ttest -e ".to_vec();
    text.extend(home.scratch.path().as_os_str().as_bytes());
    text.extend(b"/\xff && echo \"it's\" \xfe >&2");
    let path = home.policy("p", text);
    // So that the path may be any bytes too.
    let strange = home.path("").join(OsStr::from_bytes(b"\xff"));
    fs::copy(path, &strange).unwrap();
    fs::write(home.scratch.join(OsStr::from_bytes(b"\xff")), "").unwrap();
    let run = home.retry().args(["-v", "--policy"]).arg(OsStr::from_bytes(b"\xff")).sh("exit 9").run();
    run.code(0).stderr_contains("it's \u{fffd}\n").stderr_contains("retry: a  b # c: policy \u{fffd} is ");
}

#[test]
fn v_says_which_file_was_read_and_who_named_it() {
    let home = Home::new();
    let path = shown(home.policy("p", "-n3"));
    let said = |run: Retry| run.arg("true").run().code(0).stderr.clone();
    let line = |name: &str, by: &str| format!("retry: true: policy {name} is {path}, named by {by}\n");
    assert_eq!(said(home.retry().args(["-v", "--policy", "p"])), line("p", "--policy"));
    assert_eq!(said(home.retry().arg("-v").env("RETRY_POLICY", "p")), line("p", "RETRY_POLICY"));
    let relative = home.retry().dir(home.path("")).args(["-v", "--policy", "./p"]);
    assert_eq!(said(relative), line("./p", "--policy"));
    home.policy("p", "-v");
    assert_eq!(said(home.retry().args(["--policy", "p"])), line("p", "--policy"));
    assert_eq!(said(home.retry().args(["-q", "--policy", "p"])), "");
    assert_eq!(said(home.retry().args(["-v", "--policy", "none"]).env("RETRY_POLICY", "p")), "");
    assert_eq!(
        said(home.retry().args(["--plan", "-v", "--policy", "p"])),
        format!("retry: policy p is {path}, named by --policy\n")
    );
}

#[test]
fn the_policy_of_a_machine_may_name_the_place_of_shared_state() {
    let home = Home::new();
    let state = shown(home.path("state"));
    home.policy("all", format!("--state={state}\n"));
    let run = || home.retry().env("RETRY_POLICY", "all");
    run().arg("true").run().code(0).silent();
    assert!(!Path::new(&state).exists());
    run().args(["--breaker", "b", "-n1", "false"]).run().code(1);
    assert!(Path::new(&state).join("b.json").exists());
}

#[test]
fn a_comment_behind_an_option_gets_a_hint() {
    let home = Home::new();
    for line in ["--max=2 # twice", "--timeout=30s # slow link"] {
        home.policy("p", line);
        let run = home.retry().args(["--policy", "p", "true"]).run();
        run.code(125).stderr_contains("hint: a comment needs a line of its own");
    }
}

#[test]
fn without_a_policy_nothing_is_looked_for() {
    need!("strace");
    let home = Home::new();
    home.policy("ci", "-n9");
    let trace = home.scratch.join("trace");
    let traced = |options: &[&str]| {
        let run = Retry::new("strace").args(["-f", "-o"]).arg(&trace).arg(BINARY).args(options);
        run.env("XDG_CONFIG_HOME", home.scratch.path()).arg("true").run().code(0);
        let text = fs::read_to_string(&trace).unwrap();
        text.matches(&shown(home.path("")).trim_end_matches('/').to_owned()).count()
            + text.matches("/etc/retry").count()
    };
    assert_eq!(traced(&["-n2"]), 0);
    assert_eq!(traced(&["--policy", "none"]), 0);
    assert!(traced(&["--policy", "ci"]) > 0, "the trace shows what is opened");
}

#[test]
fn only_what_depends_on_a_policy_reads_it() {
    let home = Home::new();
    for options in [&["--help"][..], &["-h"], &["--version"], &["--profiles"], &["--summary", "/dev/null"]] {
        let run = home.retry().env("RETRY_POLICY", "no-such").args(options).run();
        run.code(0).silent();
    }
    let run = home.retry().args(["--policy", "p", "--profiles"]).run();
    run.code(125).stderr_contains("--policy does nothing with --profiles");
    // A breaker is looked for where the policy keeps it.
    let state = shown(home.scratch.join("state"));
    home.policy("p", format!("--state={state}\n--breaker=b\n-n1\n--label=other\n"));
    home.retry().args(["--policy", "p"]).sh("exit 7").run().code(7);
    let run = home.retry().args(["--policy", "p", "--breaker-status", "--json"]).run();
    assert!(String::from_utf8_lossy(&run.code(0).silent().stdout).contains("\"b\""));
    home.retry().env("RETRY_POLICY", "p").arg("--breaker-trip=b").run().code(0);
    home.retry().env("RETRY_POLICY", "p").arg("true").run().code(75);
    home.retry().env("RETRY_POLICY", "no-such").arg("--breaker-status").run().code(125);
}

#[test]
fn a_run_inside_finds_the_policy_of_the_variable_and_none_leaves_it_out() {
    let home = Home::new();
    home.policy("p", "--label=outer\n-n3\n-d0\n");
    let inner = |options: &str| format!("{BINARY} {options} -- sh -c 'printf $RETRY_MAX_ATTEMPTS'");
    let run = |outer: Retry, options: &str| outer.sh(inner(options)).run().code(0).stdout.clone();
    // The inner run inherits the variable, but not the option.
    assert_eq!(run(home.retry().env("RETRY_POLICY", "p"), ""), b"3");
    assert_eq!(run(home.retry().args(["--policy", "p"]), ""), b"5");
    assert_eq!(run(home.retry().env("RETRY_POLICY", "p"), "--policy none"), b"5");
    assert_eq!(run(home.retry().env("RETRY_POLICY", "p"), "-n1"), b"1");
    let failing = format!("{BINARY} -n2 -- sh -c 'exit 7'");
    let run = home.retry().env("RETRY_POLICY", "p").arg("-n1").sh(&failing).run();
    run.code(7).stderr_contains("retry: outer: attempt 1 of 2 exited 7");
    // Both count their failures for the breaker of the policy.
    let records = Records::new();
    home.policy("b", "--breaker=b\n-n1\n");
    for (options, failures) in [("", 2), ("--policy none -n1", 3)] {
        let outer = records.retry().env("XDG_CONFIG_HOME", home.scratch.path()).env("RETRY_POLICY", "b");
        outer.sh(format!("{BINARY} {options} -- sh -c 'exit 7'")).run().code(7);
        assert_eq!(records.failures("b"), failures, "{options}");
    }
}

#[test]
fn a_link_leads_to_its_file() {
    let home = Home::new();
    let path = home.policy("file", "-n7");
    symlink(&path, home.path("link")).unwrap();
    assert_eq!(home.limit(&["--policy=link"], None), "7");
}

#[test]
fn a_policy_may_be_empty_and_come_from_another_system() {
    let home = Home::new();
    for (text, limit) in [
        (&b""[..], "5"),
        (b"# nothing\n", "5"),
        (b"\xef\xbb\xbf", "5"),
        (b"\xef\xbb\xbf--max=7\r\n\r\n\r\n", "7"),
        (b"\xef\xbb\xbf# mark\r\n--max\r\n7\r\n", "7"),
        (b"   --max=7   ", "7"),
        (b"\t-n7\t\n", "7"),
    ] {
        home.policy("p", text);
        assert_eq!(home.limit(&["--policy=p"], None), limit, "{}", text.escape_ascii());
    }
}
