//! Tests of the committed completions in the shells themselves.

use std::path::Path;
use std::process::Command;

use crate::support::terminal::PROMPT;
use crate::support::{Retry, Run, Scratch, Terminal};

/// ^U, the key that empties the line.
const CTRL_U: &[u8] = b"\x15";

fn script(name: &str) -> String {
    format!("{}/completions/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The text before the tab, and the completed text that each shell must show. `mine` is a command
/// with one option, `--its-own`, which its own completion offers.
const TYPED: [(&str, &str); 23] = [
    ("retry --ji", "retry --jitter"),
    ("retry --jitter f", "retry --jitter full"),
    ("retry --jitter=de", "retry --jitter=decorrelated"),
    ("retry -vj eq", "retry -vj equal"),
    ("retry --profile cu", "retry --profile curl"),
    ("retry -p pg_i", "retry -p pg_isready"),
    ("retry --profiles=wg", "retry --profiles=wget"),
    ("retry --headers ./sin", "retry --headers ./single"),
    ("retry --policy reg", "retry --policy registry"),
    ("retry --policy=reg", "retry --policy=registry"),
    ("retry --policy no", "retry --policy none"),
    ("retry --policy ./sin", "retry --policy ./single"),
    ("retry -r fai", "retry -r failure"),
    ("retry --retry-on=22,tim", "retry --retry-on=22,timeout"),
    ("retry --success-on ht", "retry --success-on http:5xx"),
    ("retry --breaker pay", "retry --breaker payments"),
    ("retry --breaker-status=pay", "retry --breaker-status=payments"),
    ("retry --breaker-reset ./sin", "retry --breaker-reset ./single"),
    ("retry -- mine --it", "retry -- mine --its-own"),
    ("retry -n 3 mine --it", "retry -n 3 mine --its-own"),
    ("retry -n3 --delay=1 -v mine --it", "retry -n3 --delay=1 -v mine --its-own"),
    ("retry --delay 5 -- ./sin", "retry --delay 5 -- ./single"),
    ("retry ./sin", "retry ./single"),
];

/// An interactive shell in a terminal, at its prompt.
fn shell(program: &str, args: &[&str], home: &Path) -> Terminal {
    let mut shell = Command::new(program);
    for name in [
        "ENV",
        "BASH_ENV",
        "ZDOTDIR",
        "PROMPT_COMMAND",
        "INPUTRC",
        "FPATH",
        "XDG_CONFIG_HOME",
        "XDG_STATE_HOME",
    ] {
        shell.env_remove(name);
    }
    shell.args(args).current_dir(home).env("HOME", home).env("TERM", "dumb").env("PS1", PROMPT);
    // The terminal is so wide that no line has to scroll.
    shell.env("COLUMNS", "200").env("INPUTRC", "/dev/null").env("LC_ALL", "C");
    let mut terminal = Terminal::open(shell);
    terminal.size(24, 200);
    terminal.expect_prompt();
    terminal
}

/// A home directory with a file `single`, a policy `registry` and a breaker `payments`.
fn home() -> Scratch {
    let home = Scratch::new();
    home.script("single", "");
    std::fs::create_dir_all(home.join(".config/retry/directory")).unwrap();
    home.file(".config/retry/registry", "");
    std::fs::create_dir_all(home.join(".local/state/retry")).unwrap();
    home.file(".local/state/retry/payments.json", "");
    home.file(".local/state/retry/payments.json.lock", "");
    home
}

#[track_caller]
fn tab(shell: &mut Terminal, typed: &str, completed: &str) {
    shell.send(typed);
    shell.key(b"\t");
    shell.expect(completed);
    // The line waits for the shell. A signal could be lost while the shell still completes.
    shell.key(CTRL_U);
    shell.send(":\r");
    shell.expect_prompt();
}

#[test]
fn bash_completes_options_values_and_the_command() {
    let home = home();
    let mut bash = shell("bash", &["--norc", "--noprofile", "-i"], home.path());
    bash.command(&format!("source '{}'", script("retry.bash")));
    // This function imitates bash-completion: it calls the command's own completion on the
    // command's words.
    bash.command("_command_offset() { [[ ${COMP_WORDS[$1]} == mine ]] && COMPREPLY=(--its-own) || compopt -o default; }");
    for (typed, completed) in TYPED {
        tab(&mut bash, typed, completed);
    }
    tab(&mut bash, "retry -p curl,wg", "retry -p curl,wget");
    tab(&mut bash, "retry -x stdo", "retry -x stdout~");
}

/// Calls the bash function on words, of which the last is incomplete. The output has one line for
/// each reply.
fn bash_replies(words: &[&str]) -> Run {
    let call = "source \"$0\"; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _retry; printf '%s\\n' \"${COMPREPLY[@]}\"";
    Retry::new("bash").args(["--norc", "--noprofile", "-c", call]).arg(script("retry.bash")).args(words).run()
}

#[test]
fn bash_without_bash_completion_completes_the_commands_name() {
    bash_replies(&["retry", "-n", "3", "time"]).code(0).silent();
    let run = bash_replies(&["retry", "--timeout", "5", "timeou"]);
    assert_eq!(run.stdout.split(|b| *b == b'\n').next(), Some(&b"timeout"[..]));
    // The value cannot be guessed, so the function offers nothing, not even a file.
    bash_replies(&["retry", "--timeout", ""]).code(0).silent().stdout("\n");
    bash_replies(&["retry", "--jitter", "=", ""])
        .code(0)
        .silent()
        .stdout("full\nequal\ndecorrelated\nadditive\nnone\n");
    // Options end at the command and at `--`.
    bash_replies(&["retry", "--", "--ji"]).code(0).stdout("\n");
}

#[test]
fn zsh_completes_options_values_and_the_command() {
    need!("zsh");
    let home = home();
    let mut zsh = shell("zsh", &["-f", "-i"], home.path());
    let functions = Path::new(&script("_retry")).parent().unwrap().display().to_string();
    zsh.command(&format!("fpath=('{functions}' $fpath); autoload -Uz compinit && compinit -u -D"));
    zsh.command("_mine() { compadd -- --its-own }; compdef _mine mine; mine() { : }");
    for (typed, completed) in TYPED {
        tab(&mut zsh, typed, completed);
    }
    tab(&mut zsh, "retry -x stdo", "retry -x stdout\\~");
}

#[test]
fn fish_completes_options_values_and_the_command() {
    need!("fish");
    let home = home();
    let complete = |line: &str| {
        let setup =
            "source $argv[1]; complete -c mine -f -l its-own; function mine; end; complete -C $argv[2]";
        Retry::new("fish")
            .args(["-c", setup, "--", &script("retry.fish"), line])
            .dir(home.path())
            .env("HOME", home.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_STATE_HOME")
            .run()
    };
    for (typed, completed) in TYPED {
        let run = complete(typed);
        let word = completed.rsplit(' ').next().unwrap();
        let text = String::from_utf8_lossy(&run.code(0).silent().stdout).into_owned();
        let replies: Vec<_> = text.lines().map(|line| line.split('\t').next().unwrap()).collect();
        assert_eq!(replies, [word], "{typed}");
    }
    // Options of retry are offered before the command, but not after the command's name.
    assert!(!complete("retry --").stdout.is_empty());
    complete("retry mine --ji").code(0).stdout("");
    complete("retry --timeout ").code(0).stdout("");
}
