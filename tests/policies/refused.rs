//! Policies that are refused. Each error has the file and the line, and the command never runs.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::{Home, shown};
use crate::support::*;

/// Runs a command with a policy that retry must refuse.
#[track_caller]
fn refused(home: &Home, name: impl AsRef<OsStr>) -> Run {
    let log = home.scratch.log("log");
    let run = home.retry().arg("--policy").arg(name).sh(log.echo("ran")).limit(Duration::from_secs(30));
    let run = run.run();
    run.code(125).stdout("");
    let lines = run.stderr.lines().count();
    run.check(run.messages().len() == lines && (1..=2).contains(&lines), "a cause, and a hint if any");
    assert!(log.lines().is_empty(), "the command ran");
    run
}

#[test]
fn an_error_names_the_file_and_the_line() {
    let home = Home::new();
    for (text, line, cause, hint) in [
        (
            "# x\n--max 8\n",
            2,
            "--max and its value are on one line with a blank between them",
            "write --max=8",
        ),
        (
            "--max=8\ncurl",
            2,
            "a policy has no COMMAND, only options",
            "write an option on each line, such as --max=8; the COMMAND stays on the command line",
        ),
        (
            "--\n",
            1,
            "a policy has no COMMAND, only options",
            "write an option on each line, such as --max=8; \
          the COMMAND stays on the command line",
        ),
        (
            "-q\n--policy=x",
            2,
            "--policy is for the command line only",
            "a policy has only options that change how a COMMAND is run",
        ),
        (
            "-h",
            1,
            "--help is for the command line only",
            "a policy has only options that change how a COMMAND is run",
        ),
        ("\n\n--timout=5", 3, "unknown option --timout", "did you mean --timeout?"),
        (
            "--jitter=half",
            1,
            "--jitter half: no such value",
            "did you mean equal? valid values: full, equal, decorrelated, additive, none",
        ),
    ] {
        let path = shown(home.policy("p", text));
        refused(&home, "p").stderr(&format!("retry: {path}:{line}: {cause}\nretry: hint: {hint}\n"));
        // The path is that which the user wrote.
        let run = home.retry().dir(home.path("")).args(["--policy", "./p", "true"]).run();
        run.code(125).stderr_contains(&format!("retry: ./p:{line}: {cause}\n"));
        let run = home.retry().env("RETRY_POLICY", "p").arg("true").run();
        run.code(125).stderr_contains(&format!("retry: {path}:{line}: {cause}\n"));
    }
}

#[test]
fn a_place_in_a_pattern_is_shown() {
    let home = Home::new();
    let path = shown(home.policy("p", "--fatal-on=stderr~a(b"));
    let run = home.retry().args(["--policy", "p", "true"]).run();
    run.code(125).stderr_contains(&format!("retry: {path}:1: --fatal-on stderr~a(b: "));
    run.stderr_contains("retry:   a(b\nretry:    ^\n");
}

#[test]
fn options_that_do_not_go_together_are_found_in_their_line() {
    let home = Home::new();
    let run = |text: &str, options: &[&str]| {
        let path = shown(home.policy("p", text));
        let run = home.retry().args(["--policy", "p"]).args(options).arg("true").run();
        run.code(125);
        run.messages()[0].replace(&path, "P")
    };
    for (text, options, error) in [
        ("-q\n--breaker-wait\n", &["--breaker=b"][..], "P:2: --breaker-wait needs --deadline"),
        ("-q\n\n--breaker-failures=3", &[], "P:3: --breaker-failures needs --breaker"),
        ("--min-delay=9", &["--max-delay=5"], "P:1: --min-delay is longer than --max-delay"),
        ("-d1,2\n--backoff=linear", &[], "P:1: --backoff and a list for --delay contradict each other"),
        ("--successes=4\n", &["-n3"], "P:1: --successes 4 needs more attempts than --max 3 allows"),
        ("--successes=4\n-n\n3\n", &[], "P:1: --successes 4 needs more attempts than --max 3 allows"),
        // Each of two lines is wrong.
        ("--splay=9\n--breaker-wait", &["--deadline=5"], "P: --breaker-wait needs --breaker"),
        // The command line alone is wrong.
        ("-n3", &["--breaker-wait"], "--breaker-wait needs --breaker"),
    ] {
        assert_eq!(run(text, options), format!("retry: {error}"), "{text} {options:?}");
    }
    // What is missing in a policy may be on the command line.
    home.policy("p", "--breaker-wait\n--breaker-failures=3");
    let run = home.retry().env("RETRY_STATE", home.scratch.join("state"));
    let run = run.args(["--policy", "p", "--breaker=b", "--deadline=60", "true"]).run();
    run.code(0).silent();
    // What contradicts the command line yields.
    home.policy("p", "--delay=0,5\n--stdin-limit=1K");
    let run = home.retry().args(["--policy", "p", "--backoff=linear", "--stdin=null", "true"]).run();
    run.code(0).silent();
}

#[test]
fn a_file_that_is_no_text_is_refused() {
    let home = Home::new();
    let path = shown(home.policy("p", b"--max=3\n--label=a\0b\n"));
    let hint = "retry: hint: a policy is a text file with an option on each line\n";
    refused(&home, "p").stderr(&format!("retry: {path}:2: the line has a NUL byte\n{hint}"));
    // UTF-16, as some editors write it.
    home.policy("p", b"\xff\xfe-\0n\x003\0");
    refused(&home, "p").stderr(&format!("retry: {path}:1: the line has a NUL byte\n{hint}"));
}

#[test]
fn a_long_file_is_refused_and_not_read() {
    let home = Home::new();
    let form = "retry: hint: a policy is a file of options, one on each line\n";
    let limit = 64 * 1024;
    let text = |length: usize| " ".repeat(length - 7) + "--max=7";
    home.policy("p", text(limit));
    assert_eq!(home.limit(&["--policy=p"], None), "7");
    for length in [limit + 1, 10 << 20] {
        let path = shown(home.policy("p", text(length)));
        refused(&home, "p").stderr(&format!("retry: {path} is longer than 64 KiB\n{form}"));
    }
    // A file of a terabyte takes no time.
    let path = home.policy("p", "");
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
    refused(&home, "p").stderr_contains("is longer than 64 KiB");
}

#[test]
fn only_a_regular_file_is_read() {
    let home = Home::new();
    let hint = "retry: hint: a policy is a file of options, one on each line; it must be a regular file\n";
    fs::create_dir(home.path("directory")).unwrap();
    mkfifo(&home.path("fifo"), Mode::S_IRWXU).unwrap();
    let _socket = UnixListener::bind(home.path("socket")).unwrap();
    for (name, kind) in [("directory", "a directory"), ("fifo", "a pipe"), ("socket", "a socket or a device")]
    {
        let path = shown(home.path(name));
        refused(&home, name).stderr(&format!("retry: {path} is {kind}\n{hint}"));
        refused(&home, &path).stderr(&format!("retry: {path} is {kind}\n{hint}"));
    }
    for device in ["/dev/zero", "/dev/null"] {
        refused(&home, device).stderr(&format!("retry: {device} is a device\n{hint}"));
    }
    refused(&home, "/dev/fd/1").stderr_contains(" is a pipe\n");
}

#[test]
fn a_link_to_nothing_is_refused() {
    let home = Home::new();
    let path = home.path("p");
    symlink("no-such", &path).unwrap();
    let error = format!(
        "retry: {} is a link to a file that does not exist\nretry: hint: repair the link, or remove it\n",
        shown(&path)
    );
    refused(&home, "p").stderr(&error);
    refused(&home, shown(&path)).stderr(&error);
    fs::remove_file(&path).unwrap();
    symlink("p", &path).unwrap();
    let run = refused(&home, "p");
    run.stderr(&format!(
        "retry: cannot read the policy {}: Too many symbolic links encountered\n",
        shown(&path)
    ));
}

#[test]
fn a_policy_that_does_not_exist_says_where_it_was_looked_for() {
    let home = Home::new();
    let directory = shown(home.scratch.join("retry"));
    let cause = |by: &str, name: &str| {
        format!(
            "retry: {by} {name}: no such policy: neither {directory}/{name} nor /etc/retry/{name} exists\n"
        )
    };
    let form = "retry: hint: a policy is a file of options, one on each line\n";
    refused(&home, "ci").stderr(&(cause("--policy", "ci") + form));
    // The directory itself may be missing.
    let run = retry().env("XDG_CONFIG_HOME", "/no").args(["--policy=ci", "true"]).run();
    run.code(125).stderr_contains("neither /no/retry/ci nor /etc/retry/ci exists");
    home.policy("wait", "");
    home.policy("registry", "");
    home.policy(".hidden", "");
    home.policy("old~", "");
    refused(&home, "ci").stderr(&(cause("--policy", "ci") + "retry: hint: policies: registry, wait\n"));
    let near = "retry: hint: did you mean registry? policies: registry, wait\n";
    refused(&home, "regsitry").stderr(&(cause("--policy", "regsitry") + near));
    let run = home.retry().env("RETRY_POLICY", "regsitry").arg("true").run();
    run.code(125).stderr(&(cause("RETRY_POLICY", "regsitry") + near));
    refused(&home, "./ci").stderr(&("retry: --policy ./ci: no such file\n".to_owned() + form));
    refused(&home, "~/ci").stderr_contains("hint: a shell expands ~ only at the beginning of a word");
    // This is a URL, which may hold a password.
    refused(&home, "https://u:s3cret@h/x").stderr(&("retry: --policy: no such file\n".to_owned() + form));
    for n in 0..30 {
        home.policy(&format!("many{n}"), "");
    }
    refused(&home, "ci").stderr_contains("hint: these directories have 32 policies\n");
}

#[test]
fn a_name_that_cannot_be_one_is_refused() {
    let home = Home::new();
    for (name, cause) in [
        ("", "--policy '': the name is empty"),
        ("..", "--policy ..: the name is that of a directory"),
        (".", "--policy .: the name is that of a directory"),
        ("a\nb", "--policy: a name cannot contain control characters"),
        ("a\u{9b}b", "--policy: a name cannot contain control characters"),
    ] {
        let run = refused(&home, name);
        run.stderr_contains(&format!("retry: {cause}\nretry: hint: a policy is a file in ~/.config/retry"));
    }
    let run = home.retry().env("RETRY_POLICY", "..").arg("true").run();
    run.code(125).stderr_contains("retry: the variable RETRY_POLICY: the name is that of a directory\n");
    let run = home.retry().args(["--policy", "-v", "true"]).run();
    run.code(125).stderr_contains("--policy needs a value");
    refused(&home, OsStr::from_bytes(b"\xff")).stderr_contains("--policy \u{fffd}: no such policy");
    refused(&home, "x".repeat(300)).stderr_contains("File name too long");
}

#[test]
fn a_policy_that_may_not_be_read_is_refused() {
    let home = Home::new();
    let binary = Scratch::new();
    let Some(nobody) = crate::unusable_state::nobody(&binary) else { return };
    let run = || {
        let run = nobody().env("XDG_CONFIG_HOME", home.scratch.path()).args(["-d0", "--policy", "p"]);
        run.sh("exit $RETRY_MAX_ATTEMPTS").run()
    };
    let path = home.policy("p", "-n7");
    run().code(7);
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    mode(&path, 0o600);
    let error = format!("retry: cannot read the policy {}: Permission denied\n", shown(&path));
    run().code(125).stderr(&error);
    // Another policy of the same name must not take its place.
    mode(&home.path(""), 0o700);
    run().code(125).stderr(&error);
}

#[test]
fn no_error_repeats_what_may_be_a_secret() {
    let home = Home::new();
    for text in [
        "s3cret",
        "--frob=s3cret",
        "password=s3cret",
        "--max=s3cret99X",
        "--max s3cret99X",
        "-pS3cret99s3cret",
        "--idempotency-key s3cret",
        "--check echo s3cret",
        "--state=redis://x:s3cret@h/1",
        "--label s3cret",
        "-n3\n--breaker-wait\n--check=s3cret\n--idempotency-key=s3cret",
        "--idempotency-key=s3cret\n-q x",
    ] {
        home.policy("p", text);
        let run = refused(&home, "p");
        assert!(!run.stderr.to_lowercase().contains("s3cret"), "{text}: {}", run.stderr);
    }
}
