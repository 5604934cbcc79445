//! Programs that refuse before they have done anything. sudo and doas are not the program that they
//! run. ssh ends with 255 for a wrong option and for a broken connection.

use crate::support::{Run, Scratch, retry};

/// Runs `line` with a program `name` in its PATH. The program writes `message` to stderr and exits
/// with `status`.
fn with(scratch: &Scratch, name: &str, message: &str, status: u8, line: &str) -> (Run, usize) {
    let log = scratch.log("log");
    let before = log.lines().len();
    let text = scratch.file("message", format!("{message}\n"));
    scratch.script(
        name,
        format!("#!/bin/sh\n{}\ncat '{}' >&2\nexit {status}\n", log.echo("ran"), text.display()),
    );
    let path = format!("{}:/usr/bin:/bin", scratch.path().display());
    let run = retry().args(["-n", "2", "-d", "0"]).args(line.split(' ')).env("PATH", path).run();
    (run, log.lines().len() - before)
}

#[test]
fn what_sudo_or_doas_refuses_is_not_the_programs_failure() {
    let scratch = Scratch::new();
    for (message, words) in [
        ("sudo: a password is required", "missing password"),
        (
            "sudo: a terminal is required to read the password; either use the -S option",
            "missing terminal for the password",
        ),
        ("deploy is not in the sudoers file.", "no entry in the sudoers file"),
        (
            "Sorry, user deploy is not allowed to execute '/usr/bin/psql' as root on host.",
            "no permission in sudoers",
        ),
        ("sudo: psql: command not found", "missing command"),
        ("sudo: 3 incorrect password attempts", "incorrect password"),
    ] {
        // The status 1 is fatal for psql, and has no known meaning for frob.
        for line in ["sudo -n psql -c x", "sudo -u nosuch env A=b psql", "sudo frob"] {
            let (run, attempts) = with(&scratch, "sudo", message, 1, line);
            run.code(1).stderr_contains(&format!("not retried: exited 1 ({words} is fatal: profile sudo;"));
            assert_eq!(attempts, 1, "{line}: {message}");
        }
    }
    let (run, attempts) = with(&scratch, "doas", "doas: Operation not permitted", 1, "doas psql");
    run.code(1).stderr_contains("(no permission in doas.conf is fatal: profile doas;");
    assert_eq!(attempts, 1);
}

#[test]
fn a_failure_of_sudo_that_nobody_knows_is_not_the_programs_permanent_fault() {
    let scratch = Scratch::new();
    for message in
        ["sudo: Ein Passwort ist notwendig", "sudo: unable to allocate pty: Device or resource busy", ""]
    {
        // The status 1 is fatal for each of these programs.
        for program in ["curl", "rsync", "psql", "terraform"] {
            let (run, attempts) = with(&scratch, "sudo", message, 1, &format!("sudo -n {program} x"));
            run.code(1).stderr_contains("attempt 1 of 2 exited 1; next in");
            assert_eq!(attempts, 2, "{program}: {message}");
        }
    }
}

#[test]
fn what_the_program_says_behind_sudo_is_its_own() {
    let scratch = Scratch::new();
    // The message is only a warning, because sudo has run the program.
    let warning = "sudo: unable to resolve host here: Temporary failure in name resolution";
    let (run, attempts) = with(&scratch, "sudo", warning, 7, "sudo curl URL");
    run.code(7).stderr_contains("exited 7 (could not connect)");
    assert_eq!(attempts, 2);
    let (run, attempts) = with(&scratch, "sudo", "curl: (3) URL malformed", 3, "sudo curl URL");
    run.code(3).stderr_contains("malformed URL is fatal: profile curl");
    assert_eq!(attempts, 1);
    let (_, attempts) = with(&scratch, "sudo", "", 1, "sudo frob");
    assert_eq!(attempts, 2, "1 alone may be the program's");
    // A refusal by sudo has the status 1.
    let (_, attempts) = with(&scratch, "sudo", "sudo: a password is required", 9, "sudo frob");
    assert_eq!(attempts, 2);
}

#[test]
fn wrong_options_of_ssh_are_no_broken_connection() {
    need!("scp", "ssh");
    let scratch = Scratch::new();
    scratch.file("bad", "Host *\n  NoSuchThing yes\n");
    for (line, words) in [
        ("ssh", "usage"),
        ("ssh -p abc 127.0.0.1 true", "Bad port"),
        ("ssh -p 99999 127.0.0.1 true", "Bad port"),
        ("ssh -F /no/such 127.0.0.1 true", "missing user config file"),
        ("ssh -F bad 127.0.0.1 true", "Bad configuration option"),
        ("ssh -o NoSuch=1 127.0.0.1 true", "Bad configuration option"),
        ("ssh -o Port=abc 127.0.0.1 true", "bad -o option"),
        ("ssh -Z 127.0.0.1 true", "unknown option"),
        ("ssh -L x 127.0.0.1 true", "Bad forwarding specification"),
        ("scp -P abc bad 127.0.0.1:x", "Bad port"),
        ("scp -F /no/such bad 127.0.0.1:x", "missing user config file"),
        ("scp bad", "usage"),
    ] {
        let run = retry()
            .args(["-n", "2", "-d", "0"])
            .args(line.split(' '))
            .dir(scratch.path())
            .env("LC_ALL", "C")
            .run();
        run.stderr_contains(&format!("({words} is fatal: profile ssh;"));
        run.check(run.messages().len() == 1, line);
    }
    // Failures that may pass are retried.
    for (line, words) in [
        ("ssh -o BatchMode=yes -p 1 127.0.0.1 true", "refused connection"),
        ("ssh -o BatchMode=yes nothing.invalid true", "unresolved host name"),
    ] {
        let run = retry().args(["-n", "2", "-d", "0"]).args(line.split(' ')).env("LC_ALL", "C").run();
        run.code(255).stderr_contains(&format!("attempt 1 of 2 exited 255 ({words}); next in "));
    }
}
