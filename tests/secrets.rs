//! A secret in a word of the command does not leak, whatever text precedes the secret.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::support::*;

const SECRET: &str = "s3cr3t";

/// The separators between a name and a secret in one word: every character except letters, digits
/// and `-_.+/`.
const SEPARATORS: &str = "[ -*,:-@\\[-^`{-~\\x01-\\x1f\\x7f\u{a0}\u{2028}\u{202e}]";

/// A word with a secret at its end.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        ("[a-z]{1,6}", SEPARATORS, "[-a-z]{0,3}").prop_map(|(head, by, p)| format!("{head}{by}{p}{SECRET}")),
        Just(format!("mysql -p{SECRET} db")),
        Just(format!("PGPASSWORD={SECRET}")),
        Just(format!("-p{SECRET}")),
        Just(format!("--password={SECRET}")),
        // A secret in a URL may follow slashes only.
        Just(format!("https://user:pw@host/{SECRET}")),
        ("[a-z]{100,200}").prop_map(|long| format!("{long}{SECRET}")),
    ]
}

/// Asserts that the secret is neither in the output of retry nor in the state that it keeps.
fn assert_kept(run: &Run, state: &Scratch, what: &str) -> Result<(), TestCaseError> {
    prop_assert!(!run.stderr.contains(SECRET), "{what}: {}", run.stderr);
    prop_assert!(!String::from_utf8_lossy(&run.stdout).contains(SECRET), "{what}");
    for entry in fs::read_dir(state.path()).unwrap() {
        let path = entry.unwrap().path();
        let kept = fs::read(&path).unwrap();
        prop_assert!(!String::from_utf8_lossy(&kept).contains(SECRET), "{what}: {path:?}");
        prop_assert!(!path.to_string_lossy().contains(SECRET));
    }
    Ok(())
}

/// Runs `test` on random words. The words differ in each run of the suite, and so find more.
fn check(cases: u32, test: impl Fn(String) -> Result<(), TestCaseError>) {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    runner.run(&word(), test).unwrap();
}

#[test]
fn a_command_that_is_not_found_is_not_repeated() {
    let state = Scratch::new();
    check(40, |word| {
        for options in [&[][..], &["-v"], &["-q"], &["-r", "127", "-n2", "-d0", "--breaker", "b"]] {
            let run = retry().env("RETRY_STATE", state.path()).args(options).args(["--", &word]).run();
            run.code(127);
            assert_kept(&run, &state, &format!("{options:?} {word:?}"))?;
        }
        let wrapped = ["env", "A=b", &word, "x"];
        // env(1) repeats the word itself, in lines that are not messages of retry.
        let run = retry().args(["-n1", "-v", "--"]).args(wrapped).run();
        prop_assert!(!run.messages().concat().contains(SECRET), "{wrapped:?}: {}", run.stderr);
        Ok(())
    });
}

#[test]
fn a_command_that_fails_is_not_repeated() {
    let (state, place) = (Scratch::new(), Scratch::new());
    check(20, |word| {
        if word.contains('/') {
            return Ok(());
        }
        let path = place.join(&word);
        fs::write(&path, "#!/bin/sh\nexit 7\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        for options in [&["-v", "--timeout", "60"][..], &["--breaker", "b", "--breaker-failures", "1"]] {
            let run = retry().env("RETRY_STATE", state.path()).args(["-n2", "-d0"]).args(options);
            let run = run.arg("--").arg(&path).run();
            assert_kept(&run, &state, &format!("{options:?} {word:?}"))?;
            prop_assert!(run.stderr.starts_with("retry: "), "{}", run.stderr);
        }
        let shown = retry().env("RETRY_STATE", state.path()).arg("--breaker-status=b").run();
        assert_kept(&shown, &state, "the state that is kept")?;
        retry().env("RETRY_STATE", state.path()).arg("--breaker-reset=b").run().code(0);
        // The file is not executable now.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let run = retry().arg("--").arg(&path).run();
        run.code(126);
        assert_kept(&run, &state, &word)
    });
}

#[test]
fn a_wrong_option_is_named_without_its_tail() {
    let state = Scratch::new();
    check(40, |word| {
        let name = word.trim_start_matches('-');
        // A word without a separator is only a name.
        let separated = name.contains(|c: char| !c.is_alphanumeric() && !"-_".contains(c));
        let unknown = if separated { name } else { "" };
        for words in [
            vec![format!("--no-such-{unknown}")],
            vec!["--breaker-status".to_owned(), "--".to_owned(), word.clone()],
            vec!["--json".to_owned(), "--".to_owned(), word.clone()],
            vec!["--breaker-reset=b".to_owned(), "--".to_owned(), word.clone()],
            vec!["--expand".to_owned(), "--timeout".to_owned(), "5".to_owned(), format!("minutes {SECRET}")],
        ] {
            let run = retry().env("RETRY_STATE", state.path()).args(&words).run();
            assert_kept(&run, &state, &format!("{words:?}"))?;
        }
        Ok(())
    });
}

#[test]
fn a_label_is_found_behind_wrappers() {
    let place = Scratch::new();
    let path = place.script("tool", "#!/bin/sh\nexit 7\n").display().to_string();
    for wrapper in [&["env", "A=s3cr3t"][..], &["nice", "-n", "1", "timeout", "60"], &["nohup"]] {
        let run = retry().args(["-n1", "--"]).args(wrapper).arg(&path).run();
        run.code(7).says(&["retry: tool: gave up after 1 attempt in {T}: exited 7"]);
    }
    // If the user gives a label, the messages show that label.
    let run = retry().args(["-n1", "--label", "a=b c", "--", "env"]).arg(&path).run();
    run.code(7).says(&["retry: a=b c: gave up after 1 attempt in {T}: exited 7"]);
    // A missing command is shown as the user typed it, unless there is a label.
    let missing = place.join("none").display().to_string();
    let run = retry().arg(&missing).run();
    run.code(127)
        .stderr_contains(&format!("retry: none: not retried: {missing}: command not found (-r 127 "));
    let run = retry().args(["--label", "nightly", "no-such-command"]).run();
    run.code(127).stderr_contains("retry: nightly: not retried: no-such-command: command not found (");
    let run = retry().arg("no-such-command").run();
    run.code(127).stderr_contains("retry: no-such-command: not retried: command not found (");
}

/// Options whose letters and names other tools use for secrets, and options of retry whose values
/// are secrets.
const VALUED: [&str; 24] = [
    "-p",
    "-u",
    "-d",
    "-x",
    "-r",
    "-n",
    "-j",
    "--profile",
    "--until",
    "--success-on",
    "--timeout",
    "--deadline",
    "--max-delay",
    "--splay",
    "--kill-after",
    "--signal",
    "--backoff",
    "--factor",
    "--seed",
    "--stdin",
    "--stdin-limit",
    "--breaker-failures",
    "--breaker-cooldown",
    "--max-retry-after",
];

#[test]
fn a_wrong_value_that_may_be_a_secret_is_not_repeated() {
    let state = Scratch::new();
    let shapes = [
        SECRET.to_owned(),
        format!("admin:{SECRET}"),
        format!("password={SECRET}"),
        format!("http://me:{SECRET}@proxy:3128"),
        format!("7,{SECRET}"),
        format!("exit {SECRET}"),
        format!("{SECRET}@host"),
    ];
    for option in VALUED {
        for value in &shapes {
            let joined =
                if option.len() == 2 { format!("{option}{value}") } else { format!("{option}={value}") };
            for words in [&[option, value][..], &[&joined]] {
                let run = retry().env("RETRY_STATE", state.path()).args(words).arg("true").run();
                run.code(125).says(&["retry: --{*}", "retry: hint: {*}"]);
                assert_kept(&run, &state, &format!("{words:?}")).unwrap();
            }
        }
    }
    // The error gives a hint, and repeats a value that is nearly right.
    let run = retry().args(["-pSECRET", "mysql"]).run();
    run.code(125).says(&[
        "retry: --profile: no such profile",
        "retry: hint: options of the command follow the command's name; valid values: curl, {*}",
    ]);
    let run = retry().args(["-u", "admin:SECRET", "curl", "-f", "URL"]).run();
    run.code(125).says(&[
        "retry: --until: not a condition",
        "retry: hint: options of the command follow the command's name; a condition is a list {*}",
    ]);
    let run = retry().args(["-p", "Curll", "true"]).run();
    run.code(125).says(&["retry: --profile Curll: no such profile", "retry: hint: did you mean curl? {*}"]);
}

#[test]
fn no_value_is_repeated_whole_if_it_is_long_or_has_lines() {
    let long = "x".repeat(300);
    let lines = format!("first line\n{SECRET}");
    let options = VALUED.into_iter().chain([
        "--idempotency-key",
        "--breaker",
        "--breaker-reset",
        "--breaker-trip",
        "--budget",
    ]);
    for option in options {
        for value in
            [&long, &lines, &format!("stdout~({long}"), &format!("a/b{long}="), &format!("{long}={lines}")]
        {
            let run = retry().args([option, value, "true"]).run();
            run.code(125)
                .check(run.stderr.lines().all(|line| line.starts_with("retry: ")), "no line of the value");
            run.check(!run.stderr.contains(&"x".repeat(61)), "no more than 60 characters of the value");
            run.check(!run.stderr.contains(SECRET), "no secret");
        }
    }
    let run = retry().args(["--idempotency-key", &long, "true"]).run();
    run.says(&["retry: --idempotency-key: the key is longer than 255 bytes", "retry: hint: {*}"]);
    let run = retry().args([&format!("--{long}"), "true"]).run();
    run.code(125).check(!run.stderr.contains(&"x".repeat(61)), "no more than 60 characters of a name");
    // For a long pattern the message shows only the text around the error.
    let run = retry().args(["-u", &format!("stdout~{}(", "y".repeat(200)), "true"]).run();
    run.code(125).says(&[
        "retry: --until stdout~{*}...: unclosed group",
        &format!("retry:   ...{}(", "y".repeat(30)),
        &format!("retry:   {}^", " ".repeat(33)),
        "retry: hint: {*}",
    ]);
}
