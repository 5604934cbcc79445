//! Completions for shells. In bash, zsh and fish the command's own completion takes over at the
//! word at which the command begins.

use clap::builder::PossibleValuesParser;
use clap::{Command, ValueHint};
use clap_complete::{Shell, generate};
use retry_command::reference::{self, OptionEntry, ValueForm};

use super::template::{fill, replace_once};

/// The signals that end commands.
const SIGNALS: [&str; 8] = ["TERM", "INT", "HUP", "QUIT", "KILL", "ABRT", "USR1", "USR2"];

/// The value of `--policy`: the name of a policy, or the path of a file.
const POLICY: &str = "NAME|FILE|none";

/// The options whose value is the name of a breaker.
const BREAKERS: [&str; 4] = ["breaker", "breaker-status", "breaker-reset", "breaker-trip"];

/// The value of an option that takes a condition.
const CONDITION: &str = "CONDITION";

/// The words of conditions. bash breaks a word at a colon, so the class of HTTP statuses is whole.
const CONDITIONS: &str = "failure success any timeout signal transient http:5xx";

/// The beginnings of conditions that a pattern continues.
const PATTERNS: &str = "'stdout~' 'stderr~' 'output~'";

/// The completion script for a shell.
pub(super) fn script(shell: Shell) -> String {
    let mut command = definition();
    let options = reference::options(&command);
    command.build();
    // The bash script of clap_complete handles neither `--name=value` nor the end of the options.
    if shell == Shell::Bash {
        return bash(&options);
    }
    let mut script = Vec::new();
    generate(shell, &mut command, "retry", &mut script);
    let script = String::from_utf8(script).expect("the script is text");
    match shell {
        Shell::Zsh => zsh(&script, &options),
        Shell::Fish => fish(&script, &options),
        _ => script,
    }
}

/// The definition with defaults in the descriptions, and with hints that only completions need.
fn definition() -> Command {
    let definition = reference::definition();
    let options = reference::options(&definition);
    definition.mut_args(|arg| {
        let option = options.iter().find(|option| arg.get_long() == Some(&option.long));
        let arg = match option {
            Some(option) => arg.help(option.brief.clone()),
            None => arg,
        };
        let has_no_hint = arg.get_action().takes_values() && arg.get_value_hint() == ValueHint::Unknown;
        match arg.get_id().as_str() {
            "signal" => arg.value_parser(PossibleValuesParser::new(SIGNALS)),
            // A duration, a number or a condition is not the name of a file.
            _ if has_no_hint => arg.value_hint(ValueHint::Other),
            _ => arg,
        }
    })
}

/// The names of options by which a script finds the word at which the command begins.
struct Names {
    /// All names with their dashes.
    all: String,
    /// The long names that take a value, as a pattern of `case`.
    long_with_value: String,
    /// The long names whose value is optional and follows `=`.
    long_with_optional: String,
    letters_without_value: String,
    letters_with_value: String,
}

impl Names {
    fn of(options: &[OptionEntry]) -> Self {
        let letters = |with_value: bool| {
            let options = options.iter().filter(|option| option.value.required().is_some() == with_value);
            options.filter_map(|option| option.short).collect()
        };
        let long = options.iter().filter(|option| option.value.required().is_some());
        let long: Vec<String> = long.map(|option| format!("--{}", option.long)).collect();
        let optional = options.iter().filter(|option| matches!(option.value, ValueForm::AfterEquals(_)));
        let optional = optional.map(|option| format!("--{}", option.long));
        Self {
            all: options.iter().flat_map(OptionEntry::names).collect::<Vec<_>>().join(" "),
            long_with_value: long.join(" | "),
            long_with_optional: optional.collect::<Vec<_>>().join(" | "),
            letters_without_value: letters(false),
            letters_with_value: letters(true),
        }
    }
}

fn bash(options: &[OptionEntry]) -> String {
    let mut cases = String::new();
    for option in options.iter().filter(|option| !option.choices.is_empty()) {
        let names = option.names().join(" | ");
        let values: Vec<&str> = option.choices.iter().map(|choice| choice.name.as_str()).collect();
        // A list is completed after its last comma.
        let is_list = option.value.required().is_some_and(|value| value.contains("[,"));
        let head = if is_list { "[[ $cur == *,* ]] && head=${cur%,*},; " } else { "" };
        cases.push_str(&format!("            {names}) {head}values='{}' ;;\n", values.join(" ")));
    }
    for (value, files) in [("FILE", "default"), ("DIR", "dirnames")] {
        for option in options.iter().filter(|option| option.value.required() == Some(value)) {
            let names = option.names().join(" | ");
            cases.push_str(&format!("            {names}) compopt -o {files}; return ;;\n"));
        }
    }
    for option in options.iter().filter(|option| option.value.required() == Some(POLICY)) {
        let names = option.names().join(" | ");
        cases.push_str(&format!("            {names}) _retry_policies \"$cur\"; return ;;\n"));
    }
    let breakers = BREAKERS.map(|name| format!("--{name}")).join(" | ");
    cases.push_str(&format!("            {breakers}) _retry_breakers \"$cur\"; return ;;\n"));
    let conditions = options.iter().filter(|option| option.value.required() == Some(CONDITION));
    let conditions: Vec<String> = conditions.flat_map(OptionEntry::names).collect();
    cases.push_str(&format!(
        "            {})\n                [[ $cur == *,* ]] && head=${{cur%,*}},\n                values='{CONDITIONS} {}' ;;\n",
        conditions.join(" | "),
        PATTERNS.replace('\'', "")
    ));
    let names = Names::of(options);
    fill(
        "completions/retry.bash.in",
        &[
            ("OPTIONS", &names.all),
            ("LONG_WITH_VALUE", &names.long_with_value),
            ("LONG_WITH_OPTIONAL", &names.long_with_optional),
            ("LETTERS_WITHOUT_VALUE", &names.letters_without_value),
            ("LETTERS_WITH_VALUE", &names.letters_with_value),
            ("CASES", cases.trim_end_matches('\n')),
        ],
    )
}

/// The script of clap_complete. A search for the command is added at its beginning, and the
/// command's own completion replaces clap's completion for trailing arguments.
fn zsh(script: &str, options: &[OptionEntry]) -> String {
    let names = Names::of(options);
    let search = fill(
        "completions/_retry.in",
        &[
            ("LONG_WITH_VALUE", &names.long_with_value),
            ("LETTERS_WITHOUT_VALUE", &names.letters_without_value),
            ("LETTERS_WITH_VALUE", &names.letters_with_value),
            ("CONDITIONS", CONDITIONS),
            ("PATTERNS", PATTERNS),
        ],
    );
    let script = replace_once(script, "\n_retry() {\n", &format!("\n_retry() {{\n{search}"));
    let script = replace_once(&script, &format!(":{POLICY}:'"), &format!(":{POLICY}:_retry_policies'"));
    let script = with_values(&script);
    let is_command = |line: &&str| line.ends_with(":_cmdambivalent' \\");
    let mut commands = script.lines().filter(is_command);
    let (command, None) = (commands.next().expect("clap completes the command"), commands.next()) else {
        panic!("clap completes two commands: {script}");
    };
    replace_once(&script, command, "'(-): :_command_names -e' \\")
}

/// A zsh script whose options for breakers and conditions offer the values.
fn with_values(script: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut breakers = 0;
    for line in script.lines() {
        let names_breaker = BREAKERS.iter().any(|name| line.starts_with(&format!("'--{name}=[")));
        let action = if names_breaker { "_retry_breakers" } else { "_retry_conditions" };
        breakers += usize::from(names_breaker);
        match line.strip_suffix(":' \\") {
            Some(rule) if names_breaker || rule.ends_with(CONDITION) => {
                lines.push(format!("{rule}:{action}' \\"));
            }
            Some(_) | None => lines.push(line.to_owned()),
        }
    }
    assert_eq!(breakers, BREAKERS.len(), "a rule for each option: {script}");
    lines.join("\n") + "\n"
}

/// The script of clap_complete, limited to the words before the command. The words after that get
/// the command's own completion.
fn fish(script: &str, options: &[OptionEntry]) -> String {
    const RULE: &str = "complete -c retry ";
    let rules = script.lines().filter(|line| line.starts_with(RULE)).count();
    assert_eq!(rules, options.len(), "a rule for each option: {script}");
    let is_optional = |option: &&OptionEntry| matches!(option.value, ValueForm::AfterEquals(_));
    let mut lines: Vec<String> = script.lines().map(ToOwned::to_owned).collect();
    for option in options.iter().filter(is_optional) {
        // If a value may be omitted, it is not the next word.
        let name = format!(" -l {} ", option.long);
        let rule = lines.iter_mut().find(|line| line.contains(&name)).expect("the option has a rule");
        *rule = replace_once(rule, " -r -f", " -f");
    }
    for option in options {
        let values = match option.value.required() {
            Some(POLICY) => "policies",
            Some(CONDITION) => "conditions",
            _ if BREAKERS.contains(&option.long.as_str()) => "breakers",
            _ => continue,
        };
        let name = format!(" -l {} ", option.long);
        let rule = lines.iter_mut().find(|line| line.contains(&name)).expect("the option has a rule");
        rule.push_str(&format!(" -a '(__retry_{values})'"));
    }
    let script = lines.join("\n").replace(RULE, &format!("{RULE}-n 'not __retry_command' "));
    let argparse: Vec<String> = options.iter().map(argparse).collect();
    fill(
        "completions/retry.fish.in",
        &[
            ("ARGPARSE", &argparse.join(" ")),
            ("SCRIPT", &script),
            ("CONDITIONS", CONDITIONS),
            ("PATTERNS", PATTERNS),
        ],
    )
}

/// An option in the format of fish's `argparse`.
fn argparse(option: &OptionEntry) -> String {
    let short = option.short.map(|letter| format!("{letter}/")).unwrap_or_default();
    match option.value {
        ValueForm::None => format!("{short}{}", option.long),
        ValueForm::Required(_) => format!("{short}{}=", option.long),
        // Older versions of fish take a bare ? for a wildcard.
        ValueForm::AfterEquals(_) => format!("'{short}{}=?'", option.long),
    }
}
