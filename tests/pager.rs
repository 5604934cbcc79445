//! With `--profile auto`, programs that need their terminal keep it. A pager opens the terminal of
//! its stderr by name. At a pseudo-terminal of retry it would wait for keys that nobody types.

use crate::support::{Scratch, Terminal};

/// Creates a program with this name that prints the terminal of its stderr, and fails.
fn shows_its_terminal(scratch: &Scratch, name: &str) {
    scratch.script(name, "#!/bin/sh\nreadlink /proc/$$/fd/2; exit 3\n");
}

#[test]
fn a_pager_of_a_maintainer_script_reads_keys() {
    need!("less");
    let scratch = Scratch::new();
    let text = (1..=200).map(|i| format!("row-{i}\n")).collect::<Vec<_>>().concat();
    let text = scratch.file("text", text);
    // apt-listchanges runs a pager in this way.
    scratch.script("apt-get", format!("#!/bin/sh\nless '{}'\nexit 100\n", text.display()));
    let mut terminal = Terminal::shell();
    terminal.command(&format!("PATH='{}':$PATH", scratch.path().display()));
    terminal.line("TERM=xterm retry -n1 -- apt-get install foo");
    terminal.expect("row-23");
    terminal.send("q");
    terminal.expect("gave up after 1 attempt");
    terminal.expect_prompt();
}

#[test]
fn what_may_ask_or_page_has_its_own_terminal_and_the_rest_is_watched() {
    let scratch = Scratch::new();
    for name in [
        "apt-get",
        "git",
        "npm",
        "gh",
        "docker",
        "kubectl",
        "terraform",
        "ssh",
        "psql",
        "curl",
        "pip",
        "frob",
    ] {
        shows_its_terminal(&scratch, name);
    }
    let mut terminal = Terminal::shell();
    terminal.command(&format!("PATH='{}':$PATH", scratch.path().display()));
    let own = terminal.command("readlink /proc/$$/fd/2");
    // The test compares whole names, because /dev/pts/1 is a prefix of /dev/pts/17.
    let shows_own = |seen: &str| seen.lines().any(|line| line.trim() == own.trim());
    let mut wrong = Vec::new();
    for (line, keeps) in [
        ("apt-get install x", true),
        ("env A=b apt-get -y install x", true),
        ("git commit", true),
        ("npm init", true),
        ("gh pr create", true),
        ("docker run -it x", true),
        ("kubectl edit x", true),
        ("kubectl exec -it x -- sh", true),
        ("terraform apply", true),
        ("ssh host", true),
        ("env psql -c x", true),
        ("nice frob", true),
        ("curl URL", false),
        ("apt-get update", false),
        ("git fetch", false),
        ("npm ci", false),
        ("pip install x", false),
        ("docker pull x", false),
        ("kubectl get x", false),
        ("terraform plan", false),
        ("ssh host true", false),
    ] {
        let seen = terminal.command(&format!("retry -qq -n1 -- {line}"));
        if shows_own(&seen) != keeps {
            wrong.push(format!("{line}: {seen:?}, the terminal is {own:?}"));
        }
    }
    // The user asks for a profile by its name, so retry watches.
    let seen = terminal.command("retry -qq -n1 -p apt -- apt-get install x");
    if shows_own(&seen) {
        wrong.push(format!("-p apt: {seen:?}"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
