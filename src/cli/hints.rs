//! Hints that say what the user probably meant: options of other tools, misspelled names, shell
//! lines in place of a command.
//!
//! A hint about a command never repeats a word of the command, because the word may hold a secret.

pub(crate) mod condition;
mod elsewhere;
pub(crate) mod unheard;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use crate::policy::verdict::profile::{Profile, TABLE};

pub(crate) const SEE: &str =
    "retry --help lists the options; put -- before the command if its name begins with -";

/// The hint for an unknown option, typed with its dashes.
pub(crate) fn unknown_option(name: &str, ours: &Names) -> Option<String> {
    let Some(long) = name.strip_prefix("--") else {
        if let Some(hint) = elsewhere::short(name) {
            return Some(hint.to_owned());
        }
        let other = name
            .chars()
            .nth(1)
            .map(|c| if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() });
        return other.filter(|c| ours.short.contains(*c)).map(|c| format!("did you mean -{c}?"));
    };
    let plain = elsewhere::plain(long);
    let mean = |found: &String| format!("did you mean --{found}?");
    if let Some(same) = ours.long.iter().find(|known| elsewhere::plain(known) == plain) {
        return Some(mean(same));
    }
    if let Some(hint) = elsewhere::long(&plain) {
        return Some(hint.to_owned());
    }
    let begun = || ours.long.iter().filter(|known| long.len() >= 3 && known.starts_with(long));
    // `--prof` begins both --profile and --profiles.
    if let Some(shortest) = begun().min_by_key(|known| known.len())
        && begun().all(|known| known.starts_with(shortest.as_str()))
    {
        return Some(mean(shortest));
    }
    nearest(long, ours.long.iter().map(String::as_str))
        .map(|near| format!("did you mean --{near}?"))
        .or_else(|| elsewhere::nearly_long(&plain).map(ToOwned::to_owned))
}

/// The names of retry's own options.
#[derive(Debug)]
pub(crate) struct Names {
    /// Without dashes.
    pub(crate) long: Vec<String>,
    pub(crate) short: String,
}

impl Names {
    pub(crate) fn new(definition: &clap::Command) -> Self {
        let arguments = || definition.get_arguments();
        Self {
            long: arguments().filter_map(|arg| arg.get_long().map(ToOwned::to_owned)).collect(),
            short: arguments().filter_map(clap::Arg::get_short).collect(),
        }
    }
}

/// The hint for a long option with one dash, as Go programs take it: `-timeout`, `-attempts=3`.
pub(crate) fn one_dash(word: &str, ours: &Names) -> Option<String> {
    let name = word.strip_prefix('-').filter(|name| !name.starts_with('-'))?;
    let name = name.split('=').next().unwrap_or_default();
    let plain = elsewhere::plain(name);
    if name.len() < 3 {
        return None;
    }
    match ours.long.iter().find(|known| elsewhere::plain(known) == plain) {
        Some(known) => Some(format!("a long option has two dashes: --{known}")),
        None => elsewhere::long(&plain).map(ToOwned::to_owned),
    }
}

/// The candidate that differs least from the text, unless more than a third of the text's letters
/// differ, or more than three.
pub(crate) fn nearest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let text = text.to_ascii_lowercase();
    let distance = |candidate: &&str| strsim::osa_distance(&text, &candidate.to_ascii_lowercase());
    let near = candidates.min_by_key(distance)?;
    let most = (text.chars().count() / 3).clamp(1, 3);
    (text.len() > 1 && distance(&near) <= most).then_some(near)
}

/// The profile that the user probably meant: the row for a program of this name, or a row with a
/// similar name.
pub(crate) fn nearest_profile(value: &str) -> Option<&'static str> {
    let value = value.to_ascii_lowercase();
    let known = Profile::for_program(&value).map(|row| row.name);
    let other = match value.as_str() {
        "postgres" | "postgresql" | "pg" => Some("psql"),
        "k8s" | "kubernetes" => Some("kubectl"),
        "redis" | "valkey" => Some("redis-cli"),
        "openssh" => Some("ssh"),
        "azure" | "azure-cli" => Some("az"),
        "google-cloud" | "gcp" => Some("gcloud"),
        "node" | "nodejs" => Some("npm"),
        "python" => Some("pip"),
        "opentofu" => Some("terraform"),
        _ => None,
    };
    // A name from the list above may have no row.
    let known = known.or(other).filter(|name| TABLE.iter().any(|row| row.name == *name));
    known.or_else(|| nearest(&value, TABLE.iter().map(|row| row.name).chain(["auto", "none"])))
}

/// Words for something that never ends, or that does not exist.
const ENDLESS: [&str; 12] = [
    "forever",
    "inf",
    "infinite",
    "infinity",
    "infinitely",
    "endless",
    "unlimited",
    "nolimit",
    "no-limit",
    "never",
    "none",
    "off",
];

/// The hint for a user who wants no limit or no delay.
pub(crate) fn without_limit(option: &str, value: &str) -> Option<&'static str> {
    let value = value.trim().to_ascii_lowercase();
    let endless = ENDLESS.contains(&value.as_str()) || matches!(value.as_str(), "-1" | "always" | "\u{221e}");
    match option {
        "--max" if endless => Some("for no limit on attempts, write --max unlimited"),
        "--timeout" | "--deadline" if endless => Some("for no limit, write 0"),
        "--delay" if endless => Some("for no delay, write 0"),
        _ => None,
    }
}

/// A number with a point instead of a comma: `5.5s` for `5,5s`. None for a list.
pub(crate) fn with_point(text: &str) -> Option<String> {
    let (whole, rest) = text.split_once(',')?;
    let digits = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let one = digits(rest) && !rest.contains(',') && whole.bytes().all(|b| b.is_ascii_digit());
    (one && !whole.is_empty()).then(|| format!("{whole}.{rest}"))
}

/// A time with units instead of colons: `5s or 5m` for `00:05`, `1h 2m 3s` for `1:02:03`.
pub(crate) fn with_units(text: &str) -> Option<String> {
    let parts: Vec<u32> = text.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let write = |units: &[&str]| {
        let parts = parts.iter().zip(units).filter(|(part, _)| **part > 0);
        let parts: Vec<String> = parts.map(|(part, unit)| format!("{part}{unit}")).collect();
        if parts.is_empty() { "0".to_owned() } else { parts.join(" ") }
    };
    match parts.len() {
        2 if parts == [0, 0] => Some("0".to_owned()),
        2 => Some(format!("{} or {}", write(&["m", "s"]), write(&["h", "m"]))),
        3 => Some(write(&["h", "m", "s"])),
        _ => None,
    }
}

/// The names of units, as humantime knows them, and the short form of each.
const UNITS: [(&str, &[&str]); 8] = [
    ("ns", &["ns", "nsec", "nanos"]),
    ("us", &["us", "usec", "micros"]),
    ("ms", &["ms", "msec", "millis", "milliseconds"]),
    ("s", &["s", "sec", "secs", "second", "seconds"]),
    ("m", &["m", "min", "mins", "minute", "minutes"]),
    ("h", &["h", "hr", "hrs", "hour", "hours"]),
    ("d", &["d", "day", "days"]),
    ("w", &["w", "wk", "wks", "week", "weeks"]),
];

/// The hint for `--timeout 5 minutes`: the command is a unit, and the value before it is a bare
/// number.
pub(crate) fn split_duration(option: &str, number: &str, command: &OsStr) -> Option<String> {
    let bare = number.bytes().all(|b| b.is_ascii_digit() || b == b'.') && !number.is_empty();
    let word = command.to_str().filter(|_| bare)?.to_ascii_lowercase();
    let (unit, _) = UNITS.iter().find(|(_, names)| names.contains(&word.as_str()))?;
    Some(format!("a duration is one word: {option} {number}{unit}"))
}

/// The hint for `--hold both`: the value of an option with an optional value is in the same word.
pub(crate) fn split_hold(command: &OsStr) -> Option<&'static str> {
    match command.to_str()? {
        "both" | "stderr" => Some("to hold standard error too, write --hold=both"),
        "stdout" => Some("to hold standard output, write --hold or --hold=stdout"),
        _ => None,
    }
}

/// The hint for a command that is not found, if there is one.
pub(crate) fn not_found(command: &[impl AsRef<OsStr>]) -> Option<&'static str> {
    let (word, arguments) = command.split_first()?;
    let word = word.as_ref().as_bytes();
    if word.is_empty() {
        return Some("the name of the command is empty: is a variable unset?");
    }
    // The message says enough about a path or a mistyped option.
    let bare = !word.starts_with(b"-") && !word.contains(&b'/');
    if is_assignment(word) && (!arguments.is_empty() || !has_shell_syntax(word)) {
        return Some("to set a variable for the command: retry -- env NAME=VALUE COMMAND");
    }
    if has_shell_syntax(word) || is_shell_keyword(word) {
        return Some("to run a shell command line: retry -- sh -c '...'");
    }
    bare.then_some("a shell function, alias or builtin needs its shell: retry -- bash -c '...'")
}

/// Whether a word is `NAME=...` with a name that a shell accepts (POSIX, XBD 3.216).
fn is_assignment(word: &[u8]) -> bool {
    let name = word.split(|b| *b == b'=').next().filter(|name| name.len() < word.len());
    name.is_some_and(|name| {
        name.first().is_some_and(|b| !b.is_ascii_digit())
            && name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
    })
}

fn has_shell_syntax(word: &[u8]) -> bool {
    word.iter().any(|b| b.is_ascii_whitespace() || b"|&;<>$'\"`*?()\\".contains(b)) || word.starts_with(b"~")
}

fn is_shell_keyword(word: &[u8]) -> bool {
    matches!(
        word,
        b"!" | b"{" | b"}" | b"[[" | b"if" | b"for" | b"while" | b"until" | b"case" | b"function" | b"select"
    )
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::cli::args;

    fn hint(name: &str) -> String {
        unknown_option(name, &Names::new(&args::definition())).unwrap_or_default()
    }

    #[test]
    fn an_option_of_another_tool_names_ours() {
        for (names, ours) in [
            (
                "--retries --attempts --max-attempts --max_attempts --maxAttempts --tries --times -t -a -5",
                "--max",
            ),
            (
                "--interval --sleep --wait --wait-time --retry-delay --waitretry --retry_wait_seconds --RestartSec",
                "--delay",
            ),
            ("-s -w -i --base-delay --initial-interval --min-timeout", "--delay"),
            ("--max-interval --wait-max --max-timeout -m", "--max-delay"),
            ("--max-time --retry-max-time --max-elapsed-time --stop-after-delay", "--deadline"),
            ("-t --task-time --timeout_minutes --connect-timeout -T --RuntimeMaxSec", "--timeout"),
            ("--on-failure --while -w --retry-if --retry-on-exit-code --Restart", "--retry-on"),
            ("--stop-if-status --fail-on --RestartPreventExitStatus", "--fatal-on"),
            ("--condition --expect", "--until"),
            ("--SuccessExitStatus", "--success-on"),
            ("--hold-stdout", "--hold"),
            ("--forever --infinite -U", "--max unlimited"),
            ("--multiplier", "--factor"),
            ("--fib --linear", "--backoff"),
            ("--randomize --no-jitter", "--jitter"),
            ("--dry-run", "-n 1 -v"),
            ("-k --kill-signal", "--kill-after"),
            ("--message --name", "--label"),
            ("--on_retry_command", "--on-retry"),
            ("--preserve-status", "the command's own"),
            // Another spelling, the beginning of a name, or a typing error.
            ("--retry_on --retryOn --retries-on --retryon", "--retry-on"),
            ("--time --timout --time-out --TIMEOUT", "--timeout"),
            ("--jiter --jittr", "--jitter"),
            ("--prof --profil", "--profile?"),
            ("--attemts --intervall", "-"),
            ("-N", "-n"),
            ("-Q", "-q"),
            ("-H --header -L --location -X --request --data-raw -o --output --user", "retry -- curl -f URL"),
            ("--min-successes --success-threshold", "--successes"),
        ] {
            for name in names.split(' ') {
                assert!(hint(name).contains(ours), "{name}: {}", hint(name));
            }
        }
        for name in ["--frob", "-Z", "--"] {
            assert_eq!(hint(name), "", "{name}");
        }
    }

    #[test]
    fn a_long_option_with_one_dash_is_recognized() {
        let names = Names::new(&args::definition());
        let hint = |word| one_dash(word, &names);
        assert_eq!(hint("-timeout").as_deref(), Some("a long option has two dashes: --timeout"));
        assert_eq!(hint("-max-delay=5").as_deref(), Some("a long option has two dashes: --max-delay"));
        assert!(hint("-attempts=3").is_some_and(|hint| hint.contains("--max")));
        for word in ["-n", "-n5", "-vq", "--timeout", "-rsignal", "-"] {
            assert_eq!(hint(word), None, "{word}");
        }
    }

    #[test]
    fn a_command_that_is_not_found_may_be_a_shell_line() {
        const SHELL: &str = "sh -c";
        const ENV: &str = "env NAME=VALUE COMMAND";
        const WORD: &str = "function, alias or builtin";
        for (words, expected) in [
            (&["curl -f URL"][..], SHELL),
            (&["a|b"], SHELL),
            (&["a&&b"], SHELL),
            (&["a;b", "c"], SHELL),
            (&["a>b"], SHELL),
            (&["<a"], SHELL),
            (&["$CMD"], SHELL),
            (&["'a'"], SHELL),
            (&["\"a\""], SHELL),
            (&["`a`"], SHELL),
            (&["*.sh"], SHELL),
            (&["(a)"], SHELL),
            (&["./my script"], SHELL),
            (&["~/bin/x"], SHELL),
            (&["a\tb"], SHELL),
            (&["!", "a"], SHELL),
            (&["A=b c d"], SHELL),
            (&["while", "true"], SHELL),
            (&["A=b", "c"], ENV),
            (&["A=b"], ENV),
            (&["PASSWORD=x y&z", "c"], ENV),
            (&["_a1=", "c"], ENV),
            (&["1=b", "c"], WORD),
            (&["ll"], WORD),
            (&["curll", "-f"], WORD),
            (&["cd", "/x y"], WORD),
            (&[""], "empty"),
        ] {
            assert!(not_found(words).is_some_and(|hint| hint.contains(expected)), "{words:?}");
        }
        for words in [&["/no/such"][..], &["./x"], &["a/"], &["-n"], &["--"], &[]] {
            assert_eq!(not_found(words), None, "{words:?}");
        }
    }

    #[test]
    fn a_value_of_hold_is_no_command() {
        assert_eq!(split_hold(OsStr::new("both")), Some("to hold standard error too, write --hold=both"));
        assert!(split_hold(OsStr::new("stdout")).is_some_and(|hint| hint.contains("--hold=stdout")));
        assert_eq!(split_hold(OsStr::new("curl")), None);
    }

    #[test]
    fn a_fraction_has_a_point_and_a_time_has_units() {
        for (text, expected) in
            [("5,5s", Some("5.5s")), ("1,5", Some("1.5")), ("1,2,3", None), ("5,s", None), ("5s,5", None)]
        {
            assert_eq!(with_point(text).as_deref(), expected, "{text}");
        }
        for (text, expected) in [
            ("00:05", Some("5s or 5m")),
            ("1:30", Some("1m 30s or 1h 30m")),
            ("01:02:03", Some("1h 2m 3s")),
            ("0:0", Some("0")),
            ("0:00:00", Some("0")),
            ("5", None),
            ("a:b", None),
            ("1:2:3:4", None),
        ] {
            assert_eq!(with_units(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_unit_behind_a_number_belongs_to_it() {
        let hint = |number, word: &str| split_duration("--timeout", number, OsStr::new(word));
        assert_eq!(hint("5", "minutes").as_deref(), Some("a duration is one word: --timeout 5m"));
        assert_eq!(hint("1.5", "hrs").as_deref(), Some("a duration is one word: --timeout 1.5h"));
        assert_eq!(hint("5", "SEC").as_deref(), Some("a duration is one word: --timeout 5s"));
        for (number, word) in [("5s", "s"), ("5", "sleep"), ("", "m"), ("5", "months"), ("x", "m")] {
            assert_eq!(hint(number, word), None, "{number} {word}");
        }
    }
}
