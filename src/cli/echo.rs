//! Decides whether an error may repeat a value. The value may be a password for another tool.
//!
//! `retry -pSECRET mysql` and `retry -u admin:SECRET curl` give retry the options of mysql(1) and
//! curl(1). Errors go to logs and mails, so an error repeats a value only if it looks like a value
//! of retry's own option: numbers with units, the words of conditions, and short words in lower
//! case.

use super::hints;
use crate::policy::verdict::profile::Profile;
use crate::report::format::shortened_to;

/// The most characters of a value that an error repeats.
pub(crate) const LONGEST: usize = 60;

/// The longest plain word that an error repeats.
const WORD: usize = 12;

/// The longest plain word for `--profile`, because `-p` is the password of mysql(1).
const PROFILE_WORD: usize = 8;

/// The longest text that is too short for a secret.
const SHORT: usize = 3;

/// Words before a `:`, `=`, `~` or `/` in a condition. Numbers are allowed there too.
const HEADS: [&str; 12] = [
    "http",
    "http-status",
    "exit",
    "exitcode",
    "exit_code",
    "code",
    "status",
    "rc",
    "signal",
    "sig",
    "killed",
    "not",
];

/// The value of an option as an error repeats it, in quotes if it could be overlooked. None if the
/// value may be a secret.
pub(crate) fn shown(option: &str, value: &str) -> Option<String> {
    let harmless = match option {
        "--idempotency-key" | "--check" | "--on-retry" | "--label" => value.trim().is_empty(),
        "--profile" | "--profiles" => profile(value),
        // The user chose the name, and messages and file names show it. A URL may hold a password.
        "--breaker" | "--breaker-status" | "--breaker-reset" | "--breaker-trip" | "--budget"
        | "--headers" | "--policy" => !value.contains("://"),
        "--state" => !value.contains("://") && !value.contains('@'),
        "--signal" => plain(value) || value.chars().all(|c| c.is_ascii_uppercase() || c == ' '),
        "--retry-on" | "--fatal-on" | "--until" | "--success-on" => condition(value),
        _ => plain(value),
    };
    (harmless && !value.contains(char::is_control)).then(|| {
        let value = shortened_to(value, LONGEST);
        if value.trim().is_empty() || value.contains(' ') { format!("'{value}'") } else { value.into_owned() }
    })
}

/// Whether a text is a condition, or nearly one.
pub(crate) fn condition(text: &str) -> bool {
    let near = |term: &str| hints::condition::meant(term).is_some();
    !text.contains(char::is_control)
        && (is_pattern(text) || text.split(',').all(|term| term_like(term) || near(term)))
}

/// Whether a value is nearly the name of a profile, or a short word.
fn profile(value: &str) -> bool {
    let word = value.len() <= PROFILE_WORD && value.bytes().all(|b| b.is_ascii_lowercase());
    let lower = value.to_ascii_lowercase();
    word || value.chars().count() <= SHORT
        || Profile::for_program(&lower).is_some()
        || hints::nearest_profile(&lower).is_some()
}

/// Whether a value consists of numbers, units and short words.
fn plain(value: &str) -> bool {
    value.split(',').all(term_like)
}

/// Whether a text is `stdout~REGEX`, or nearly. A user does not look for a password in a command's
/// output.
fn is_pattern(text: &str) -> bool {
    let lower = text.trim_start().to_ascii_lowercase();
    let stream = ["stdout", "stderr", "output", "stdin"].into_iter().find(|stream| lower.starts_with(stream));
    stream.is_some_and(|stream| lower[stream.len()..].trim_start().starts_with([':', '=', '~']))
}

/// Whether a term of a list looks like `22`, `5-7`, `1.5h`, `http:503`, `00:05` or a word.
fn term_like(term: &str) -> bool {
    let term = term.trim();
    if is_pattern(term) {
        return true;
    }
    let head = term.split_once([':', '=', '~', '/']).map_or("", |(head, _)| head.trim());
    let known =
        HEADS.contains(&head.to_ascii_lowercase().as_str()) || !head.contains(|c: char| c.is_alphabetic());
    let separator = |c: char| !c.is_alphanumeric();
    let separators = " ;|+-*.:=/%!<>?~()\u{2013}";
    known
        && term.chars().filter(|c| separator(*c)).all(|c| separators.contains(c))
        && term.split(separator).all(word)
}

/// A number, a number with a unit, or a short word in lower case.
fn word(word: &str) -> bool {
    let short =
        |letters: &str, most: usize| letters.len() <= most && letters.bytes().all(|b| b.is_ascii_lowercase());
    let letters = word.trim_start_matches(char::is_numeric);
    let begins_with_number = letters.len() < word.len();
    let units = letters.trim_end_matches(|c: char| c.is_ascii_digit());
    let upper_signal = word
        .strip_prefix("SIG")
        .is_some_and(|name| name.len() < WORD && name.bytes().all(|b| b.is_ascii_uppercase()));
    word.chars().count() <= SHORT
        || short(word, WORD)
        || upper_signal
        // `5minutes`, `5M`; `0x10`, `1e400`.
        || (begins_with_number && (letters.len() <= 1 || short(letters, PROFILE_WORD) || units.len() <= 1))
        || word.eq_ignore_ascii_case("http")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_the_option_s_own_value_is_shown() {
        for (option, value) in [
            ("--profile", "foo"),
            ("--profile", "curll"),
            ("--profile", "Curl"),
            ("--profile", "postgres"),
            ("--until", "fail"),
            ("--until", "Failed"),
            ("--retry-on", "503"),
            ("--retry-on", "22,tiemout"),
            ("--retry-on", "HTTP 503"),
            ("--retry-on", "http503"),
            ("--retry-on", "stderr:Foo bar"),
            ("--retry-on", "SIGTRM"),
            ("--retry-on", "1..5"),
            ("--retry-on", ">=2"),
            ("--delay", "5,5x"),
            ("--timeout", "00:05"),
            ("--timeout", "1h 5M"),
            ("--timeout", "1e400"),
            ("--deadline", "1month"),
            ("--max", "infinite"),
            ("--jitter", "0.5"),
            ("--backoff", "expo"),
            ("--breaker", "a/b"),
            ("--budget", "My Shop=10/x"),
        ] {
            let quoted = if value.contains(' ') { format!("'{value}'") } else { value.to_owned() };
            assert_eq!(shown(option, value), Some(quoted), "{option} {value}");
        }
        assert_eq!(shown("--label", "  ").as_deref(), Some("'  '"));
        assert_eq!(shown("--breaker", &"x".repeat(101)), Some(format!("{}...", "x".repeat(60))));
    }

    #[test]
    fn what_may_be_a_secret_is_not() {
        for secret in [
            "SECRET",
            "s3cr3t",
            "hunter22",
            "Tr0ub4dor&3",
            "correcthorsebattery",
            "Sesame",
            "p@ss",
            "5ecreT99x",
        ] {
            for option in
                ["--profile", "--until", "--fatal-on", "--delay", "--max", "--jitter", "--stdin", "--factor"]
            {
                for value in [
                    secret.to_owned(),
                    format!("admin:{secret}"),
                    format!("user={secret}"),
                    format!("7,{secret}"),
                ] {
                    assert_eq!(shown(option, &value), None, "{option} {value}");
                }
            }
        }
        for (option, value) in [
            ("--until", "admin:sesame"),
            ("--delay", "password=sesame"),
            ("--fatal-on", "http://me:sesame@proxy:8080"),
            ("--profile", "31415"),
            ("--profile", "longpassword"),
            ("--idempotency-key", "order"),
            ("--state", "redis://x"),
            ("--breaker", "a\nb"),
            ("--until", "stdout~a\nb("),
        ] {
            assert_eq!(shown(option, value), None, "{option} {value}");
        }
    }
}
