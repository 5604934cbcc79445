//! What the profiles know, and where a verdict comes from: `--profiles` and `-v`.

use crate::support::{Run, Scratch, retry};

/// The stdout of a run that prints and does nothing else.
#[track_caller]
fn printed(options: &[&str]) -> String {
    String::from_utf8(retry().args(options).run().code(0).silent().stdout.clone()).unwrap()
}

/// The names that `--profile` accepts, without `auto` and `none`.
fn names() -> Vec<String> {
    let run = retry().args(["-p", "foo", "true"]).run();
    let (_, names) = run.stderr.trim_end().split_once("valid values: ").unwrap();
    let names = names.split(", ").filter(|name| !["auto", "none"].contains(name));
    names.map(str::to_owned).collect()
}

#[test]
fn the_table_has_every_profile_in_80_columns() {
    let table = printed(&["--profiles"]);
    let mut lines = table.lines();
    assert!(lines.next().unwrap().starts_with("NAME "), "{table}");
    let rows: Vec<&str> =
        lines.filter(|line| !line.starts_with(' ')).map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(rows, names());
    assert!(rows.len() > 20, "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    assert!(table.contains("\ncurl ") && table.contains(" curl(1), EXIT CODES\n"), "{table}");
    // No directory and no variable is needed.
    retry().arg("--profiles").env("RETRY_STATE", "redis://127.0.0.1").run().code(0).silent().stdout(&table);
}

#[test]
fn a_page_says_what_a_profile_knows() {
    let page = printed(&["--profiles=curl"]);
    for line in [
        "Programs:  curl\n",
        "Source:    curl(1), EXIT CODES\n",
        "Watched:   stderr, stdout with -i --include ",
        "Terminal:  watched too\n",
        "\n  7        retryable           could not connect\n",
        "\n  22       ambiguous           HTTP error\n",
        "\n  ambiguous: no proof, so retried unless ",
        "permanent (usage)   malformed URL\n",
        "\n  usage:     the program rejects its arguments",
        "      ^curl: \\(22\\) The requested URL returned error: ([0-9]{3})\n",
    ] {
        assert!(page.contains(line), "{line} in {page}");
    }
    let gh = printed(&["--profiles=gh"]);
    assert!(gh.contains("any command but those of the program"), "{gh}");
    for name in names() {
        let page = printed(&[&format!("--profiles={name}")]);
        assert!(page.starts_with(&format!("Profile:   {name}\n")), "{page}");
        assert!(page.contains("\nSource:    ") && page.contains("\nWatched:   "), "{page}");
        // A terminal matters only if retry watches something there.
        let watches = !page.contains("\nWatched:   nothing\n");
        assert_eq!(page.contains("\nTerminal:  "), watches, "{page}");
    }
}

#[test]
fn a_profile_that_does_not_exist_is_an_error_with_the_nearest_name() {
    for (option, cause, hint) in [
        ("--profiles=curll", "--profiles curll: no such profile", "did you mean curl? valid values: curl, "),
        ("--profiles=postgres", "--profiles postgres: no such profile", "did you mean psql? valid values: "),
        ("--profiles=auto", "--profiles auto: no such profile", "valid values: curl, "),
        ("--profiles=Sesam0penNow", "--profiles: no such profile", "valid values: curl, "),
        ("--profiles=", "--profiles needs a value", "valid values: curl, "),
    ] {
        let run = retry().arg(option).run();
        run.code(125).stdout("").says(&[&format!("retry: {cause}"), &format!("retry: hint: {hint}{{*}}")]);
    }
}

#[test]
fn profiles_stand_alone() {
    let scratch = Scratch::new();
    let log = scratch.log("ran");
    for (options, cause, hint) in [
        (&["--profiles", "true"][..], "--profiles takes no COMMAND", "leave the command out{*}"),
        (
            &["--profiles", "git"],
            "--profiles takes no COMMAND",
            "to see a profile, write --profiles=git; to use it, write --profile git",
        ),
        (&["--profiles=git", "--", "sh", "-c", "x"], "--profiles takes no COMMAND", "{*}"),
        (&["--profiles", "-n", "3"], "--max does nothing with --profiles", "{*}"),
        (&["-v", "--profiles"], "--verbose does nothing with --profiles", "{*}"),
        (&["--profiles", "--json"], "--json does nothing with --profiles", "{*}"),
        (&["--profiles", "--state", "x"], "--state does nothing with --profiles", "{*}"),
        (
            &["--profiles", "--breaker-status"],
            "--breaker-status and --profiles contradict each other",
            "give only one of them",
        ),
    ] {
        let run = retry().args(options).dir(scratch.path()).run();
        run.code(125).stdout("").says(&[&format!("retry: {cause}"), &format!("retry: hint: {hint}")]);
    }
    retry().arg("--profiles").sh(log.echo("ran")).run().code(125);
    assert_eq!(log.lines(), [""; 0]);
}

/// Runs a program of this name that writes `text` to stderr and exits with `status`.
fn failing(name: &str, text: &str, status: u8, options: &[&str]) -> Run {
    let scratch = Scratch::new();
    let message = scratch.file("message", format!("{text}\n"));
    scratch.script(name, format!("#!/bin/sh\ncat '{}' >&2\nexit {status}\n", message.display()));
    let path = format!("{}:/usr/bin:/bin", scratch.path().display());
    retry().args(["-n", "2", "-d", "0"]).args(options).args([name, "x"]).env("PATH", path).run()
}

#[test]
fn verbose_names_the_profile_its_evidence_and_its_source() {
    let source = "source: curl(1), EXIT CODES";
    let run = failing("curl", "curl: (7) Failed to connect", 7, &["-v"]);
    run.code(7).says(&[
        "retry: curl: attempt 1 of 2 exited 7 (could not connect{*}); next in 0s",
        &format!("retry: curl: profile curl decided by exit status 7; {source}"),
        "retry: curl: gave up after 2 attempts in {T}: exited 7 (could not connect{*})",
        &format!("retry: curl: profile curl decided by exit status 7; {source}"),
    ]);
    let run = failing("curl", "curl: (22) The requested URL returned error: 404", 22, &["-v"]);
    run.code(22).says(&[
        "retry: curl: not retried: exited 22 (HTTP 404 is fatal: profile curl; -r failure retries it)",
        &format!("retry: curl: profile curl decided by HTTP 404{{*}}; {source}"),
    ]);
    let run = failing("curl", "curl: (3) URL malformed", 3, &["-v"]);
    run.code(3).says(&[
        "retry: curl: not retried: exited 3 (malformed URL is fatal: profile curl; -r failure retries it)",
        &format!("retry: curl: profile curl decided by exit status 3; {source}"),
    ]);
    let run = failing("apt-get", "E: Invalid operation x", 100, &["-v"]);
    run.code(100).stderr_contains("retry: apt-get: not retried: exited 100 (");
    run.stderr_contains("retry: apt-get: profile apt decided by a line that matches ^E: ");
    // The conditions of the user and the default rules have no source.
    for options in [&["-v", "-x", "7"][..], &["-v", "-r", "7"], &["-v", "-p", "none"]] {
        let run = failing("curl", "curl: (7) Failed to connect", 7, options);
        run.code(7).check(!run.stderr.contains(" decided by "), &format!("{options:?}"));
    }
    let run = failing("curl", "", 7, &[]);
    run.code(7).check(!run.stderr.contains(" decided by "), "not without -v");
}
