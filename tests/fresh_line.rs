//! A message begins on a new line if retry has seen that the command left its line unfinished.

use std::fs::File;

use crate::support::retry::BINARY;
use crate::support::*;

/// Runs a script whose stdout and stderr are one file, and returns the file's content.
fn merged(options: &[&str], script: &str) -> String {
    let scratch = Scratch::new();
    let path = scratch.join("log");
    let file = File::create(&path).unwrap();
    let run = retry().args(["-d0", "-n2"]).args(options).sh(script);
    run.stdout(file.try_clone().unwrap()).stderr(file).run();
    std::fs::read_to_string(path).unwrap()
}

const NEXT: &str = "retry: sh: attempt 1 of 2 exited 3; next in 0s\n";

#[test]
fn a_message_does_not_continue_the_commands_line() {
    for (options, script, before) in [
        (&["-x", "stderr~fatal"][..], "printf abc >&2; exit 3", "abc\n"),
        (&["-x", "output~fatal"], "printf abc; exit 3", "abc\n"),
        (&["-x", "output~fatal"], "printf 'abc\\n'; exit 3", "abc\n"),
        (&["-x", "output~fatal"], "printf 'a\\r50%%\\r'; exit 3", "a\r50%\r\n"),
        (&["-x", "output~fatal"], "printf 'abc\\n\\033[0m'; exit 3", "abc\n\x1b[0m"),
        // retry does not guess about output that it has not seen.
        (&[], "printf abc >&2; exit 3", "abc"),
    ] {
        let text = merged(options, script);
        assert!(text.starts_with(&format!("{before}{NEXT}")), "{script}: {text:?}");
        let last = text.rsplit_once("retry: sh: gave up after 2").unwrap().0;
        assert_eq!(last, format!("{before}{NEXT}{before}"), "{script}");
    }
}

#[test]
fn held_output_is_followed_by_a_new_line() {
    let script = "[ $RETRY_ATTEMPT = 2 ] || exit 3; printf answer";
    let text = merged(&["--hold"], script);
    assert!(
        text.starts_with(&format!("{NEXT}answer\nretry: sh: succeeded at attempt 2 of 2 in ")),
        "{text:?}"
    );
    // If stdout is elsewhere, the output stays unchanged.
    let run = retry().args(["-d0", "-n2", "--hold"]).sh(script).run();
    run.code(0).stdout("answer").check(!run.stderr.contains("\n\n"), "no empty line");
}

#[test]
fn a_message_begins_on_a_new_line_at_a_terminal_too() {
    let mut terminal = Terminal::shell();
    terminal.line(&format!("{BINARY} -n1 -x 'stderr~fatal' sh -c 'printf \"a prompt: \" >&2; exit 3'"));
    let seen = terminal.expect("retry: sh: gave up after 1");
    assert!(seen.ends_with("a prompt: \r\n"), "{seen:?}");
}
