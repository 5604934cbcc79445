//! Completions for shells, from the definition of the command line. In bash, zsh and fish the command's
//! own completion takes over where the command begins.

use clap::builder::PossibleValuesParser;
use clap::{Command, ValueHint};
use clap_complete::{Shell, generate};

use super::super::args;
use super::{Entry, entries};

/// The completion script for `bash`, `zsh`, `fish`, `powershell` or `elvish`; empty for another shell.
#[doc(hidden)]
pub fn completion(shell: &str) -> String {
    let Ok(shell) = shell.parse::<Shell>() else { return String::new() };
    let mut command = definition();
    command.build();
    let entries = entries(&command);
    // clap_complete's bash knows neither `--name=value` nor where options end.
    if shell == Shell::Bash {
        return bash(&entries);
    }
    let mut script = Vec::new();
    generate(shell, &mut command, "retry", &mut script);
    let script = String::from_utf8_lossy(&script);
    match shell {
        Shell::Zsh => zsh(&script, &entries),
        Shell::Fish => fish(&script, &entries),
        _ => script.into_owned(),
    }
}

/// The definition with what only completions need.
fn definition() -> Command {
    args::definition().mut_args(|arg| {
        let free = arg.get_action().takes_values() && arg.get_value_hint() == ValueHint::Unknown;
        match arg.get_id().as_str() {
            "signal" => arg.value_parser(PossibleValuesParser::new(SIGNALS)),
            // A duration, a number, a condition: no file's name.
            _ if free => arg.value_hint(ValueHint::Other),
            _ => arg,
        }
    })
}

/// The signals that end commands.
const SIGNALS: [&str; 8] = ["TERM", "INT", "HUP", "QUIT", "KILL", "ABRT", "USR1", "USR2"];

/// Puts the options' names where a template asks for them: all of them, the long ones that take a value,
/// the letters that take none, the letters that take one.
fn with_names(template: &str, entries: &[Entry]) -> String {
    let letters = |valued: bool| -> String {
        let named = entries.iter().filter(|entry| entry.value.is_some() == valued);
        named.filter_map(|entry| entry.short()?.strip_prefix('-')).collect()
    };
    let long: Vec<&str> =
        entries.iter().filter(|entry| entry.value.is_some()).filter_map(Entry::long).collect();
    let all: Vec<&str> = entries.iter().flat_map(|entry| &entry.names).map(String::as_str).collect();
    template
        .replace("@ALL@", &all.join(" "))
        .replace("@LONG@", &long.join(" | "))
        .replace("@FLAGS@", &letters(false))
        .replace("@VALUED@", &letters(true))
}

fn bash(entries: &[Entry]) -> String {
    let mut cases = String::new();
    for entry in entries.iter().filter(|entry| !entry.values.is_empty()) {
        let names = entry.names.join(" | ");
        let values: Vec<&str> = entry.values.iter().map(|(name, _)| name.as_str()).collect();
        // A list is completed behind its last comma.
        let list = entry.value.as_ref().is_some_and(|value| value.contains("[,"));
        let head = if list { "[[ $cur == *,* ]] && head=${cur%,*},; " } else { "" };
        let values = values.join(" ");
        cases.push_str(&format!("            {names}) {head}values='{values}' ;;\n"));
    }
    for entry in entries.iter().filter(|entry| entry.value.as_deref() == Some("FILE")) {
        cases.push_str(&format!("            {}) compopt -o default; return ;;\n", entry.names.join(" | ")));
    }
    for entry in entries.iter().filter(|entry| entry.value.as_deref() == Some("DIR")) {
        cases.push_str(&format!("            {}) compopt -o dirnames; return ;;\n", entry.names.join(" | ")));
    }
    with_names(BASH, entries).replace("@CASES@\n", &cases)
}

const BASH: &str = r#"# Completion of retry(1) for bash.

_retry() {
    local i=1 word ended= option= head= values= cur=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    # Where does the command begin?
    while ((i < COMP_CWORD)); do
        word=${COMP_WORDS[i]}
        case $word in
            --) ended=1; ((i += 1)); break ;;
            @LONG@)
                option=$word
                # Readline makes a word of the "=" between name and value.
                [[ ${COMP_WORDS[i + 1]} == = ]] && ((i += 1))
                ((i += 2)) ;;
            --*) ((i += 1)) ;;
            -*)
                if [[ $word =~ ^-[@FLAGS@]*[@VALUED@]$ ]]; then
                    option=-${word: -1}
                    ((i += 1))
                fi
                ((i += 1)) ;;
            *) break ;;
        esac
    done
    if ((i > COMP_CWORD)); then
        [[ $cur == = ]] && cur=
        case $option in
@CASES@
        esac
        COMPREPLY=($(compgen -P "$head" -W "$values" -- "${cur#"$head"}"))
    elif [[ -z $ended && $cur == -* ]] && ((i == COMP_CWORD)); then
        COMPREPLY=($(compgen -W '@ALL@' -- "$cur"))
    elif declare -F _comp_command_offset >/dev/null; then
        _comp_command_offset "$i"
    elif declare -F _command_offset >/dev/null; then
        _command_offset "$i"
    elif ((i == COMP_CWORD)); then
        COMPREPLY=($(compgen -c -- "$cur"))
    else
        # Files.
        compopt -o default
    fi
}

complete -F _retry retry
"#;

/// Where the command begins, its own completion in place of clap's specification of it.
fn zsh(script: &str, entries: &[Entry]) -> String {
    let mut zsh = String::new();
    for line in script.lines() {
        if line.ends_with(":_cmdambivalent' \\") {
            zsh.push_str("'(-): :_command_names -e' \\");
        } else {
            zsh.push_str(line);
        }
        zsh.push('\n');
        if line == "_retry() {" {
            zsh.push_str(&with_names(ZSH, entries));
        }
    }
    zsh
}

const ZSH: &str = r#"    # Where does the command begin?
    local word i=2 begin=0
    while (( i < CURRENT && ! begin )); do
        word=$words[i]
        case $word in
            --) (( begin = i + 1 )) ;;
            @LONG@) (( i += 2 )) ;;
            --*) (( i += 1 )) ;;
            -*)
                [[ $word =~ '^-[@FLAGS@]*[@VALUED@]$' ]] && (( i += 1 ))
                (( i += 1 )) ;;
            *) (( begin = i )) ;;
        esac
    done
    if (( begin )); then
        words=("${(@)words[begin,-1]}")
        (( CURRENT -= begin - 1 ))
        _normal -p retry
        return
    fi

"#;

/// Options only before the command, and behind them the command's own completion.
fn fish(script: &str, entries: &[Entry]) -> String {
    let specification = |entry: &Entry| {
        let short = entry.short().and_then(|name| name.strip_prefix('-')).map(|letter| format!("{letter}/"));
        let long = entry.long().and_then(|name| name.strip_prefix("--")).unwrap_or_default();
        let value = match entry.value {
            Some(_) => "=",
            None if entry.optional => "=?",
            None => "",
        };
        let option = format!("{}{long}{value}", short.unwrap_or_default());
        // A bare ? is a wildcard in older ones.
        if entry.optional { format!("'{option}'") } else { option }
    };
    let options: Vec<String> = entries.iter().map(specification).collect();
    let mut script = script.replace("complete -c retry ", "complete -c retry -n 'not __retry_command' ");
    // A value that may be left out is no word of its own.
    for entry in entries.iter().filter(|entry| entry.optional) {
        let name = entry.long().and_then(|name| name.strip_prefix("--")).unwrap_or_default();
        let lines = script.lines().map(|line| match line.contains(&format!(" -l {name} ")) {
            true => line.trim_end_matches(" -r -f").to_owned() + " -f\n",
            false => format!("{line}\n"),
        });
        script = lines.collect();
    }
    FISH.replace("@OPTIONS@", &options.join(" ")).replace("@SCRIPT@\n", &script)
}

const FISH: &str = r"# Completion of retry(1) for fish.

# The command and its arguments so far, separated by NUL; fails where they have not begun.
function __retry_command_line
    set -l tokens (commandline -opc) (commandline -ct)
    set -e tokens[1]
    argparse -s @OPTIONS@ -- $tokens 2>/dev/null
    or return 1
    set -q argv[1]
    or return 1
    string match -qr -- '^-' $argv[1]
    and return 1
    # Its own status says whether there was more than one to join.
    string join0 -- $argv
    return 0
end

function __retry_command
    __retry_command_line >/dev/null
end

function __retry_complete_command
    set -l line (__retry_command_line | string split0)
    set -l last $line[-1]
    set -e line[-1]
    complete -C (string join -- ' ' (for word in $line; string escape -- $word; end) $last | string collect)
end

@SCRIPT@
complete -c retry -x -n __retry_command -a '(__retry_complete_command)'
";
