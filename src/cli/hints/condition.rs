//! Hints for a condition that cannot be read: the condition that the user probably meant.

use super::nearest;
use crate::policy::verdict::condition::Condition;

/// The words of the grammar.
const WORDS: [&str; 6] = ["signal", "timeout", "success", "failure", "any", "transient"];

/// Signals that end commands, to find misspelled names.
const SIGNALS: [&str; 12] = [
    "SIGTERM", "SIGKILL", "SIGINT", "SIGHUP", "SIGQUIT", "SIGSEGV", "SIGABRT", "SIGPIPE", "SIGALRM",
    "SIGBUS", "SIGUSR1", "SIGUSR2",
];

/// Other words for the words of the grammar.
const SYNONYMS: [(&[&str], &str); 6] = [
    (
        &[
            "fail",
            "failed",
            "fails",
            "failures",
            "error",
            "errors",
            "false",
            "nonzero",
            "non-zero",
            "bad",
            "!0",
            "!=0",
            "not 0",
            "on-failure",
        ],
        "failure",
    ),
    (
        &["ok", "true", "succeed", "succeeded", "succeeds", "successful", "successes", "zero", "good"],
        "success",
    ),
    (&["all", "always", "everything", "*", "anything"], "any"),
    (&["timedout", "timed-out", "timed out", "timeouts", "time-out"], "timeout"),
    (&["killed", "signals", "signalled", "signaled", "crash", "crashed"], "signal"),
    (
        &["temporary", "retryable", "retriable", "transients", "network", "tempfail", "intermittent", "auto"],
        "transient",
    ),
];

/// The term that the user probably meant, if there is one.
pub(crate) fn meant(term: &str) -> Option<String> {
    let term = term.trim();
    let lower = term.to_ascii_lowercase();
    let found = http(&lower)
        .or_else(|| pattern(term))
        .or_else(|| status(&lower))
        .or_else(|| synonym(&lower))
        .or_else(|| misspelled_signal(term))
        .or_else(|| nearest(&lower, WORDS.into_iter()).map(ToOwned::to_owned))?;
    // A hint never proposes a term that cannot be read.
    Condition::parse(&found).is_ok().then_some(found)
}

/// `503`, `5xx`, `500-599`, `http 503`, `http=5XX`, `HTTP/503`: a status that no process can exit
/// with.
fn http(lower: &str) -> Option<String> {
    let named = lower.strip_prefix("http");
    let status = named.unwrap_or(lower).trim_start_matches([':', '=', '/', '~', '-', '_', ' ']);
    let status = status.strip_prefix("status").unwrap_or(status).trim_start_matches([':', '=', ' ']);
    let status = status.replace(['*', '?', '.'], "x");
    let http = format!("http:{status}");
    let is_class = status.len() == 3 && status.ends_with("xx");
    let beyond = |text: &str| text.parse::<u32>().is_ok_and(|n| n > 255);
    let (from, to) = status.split_once('-').unwrap_or((&status, &status));
    (named.is_some() || is_class || beyond(from) || beyond(to)).then_some(http)
}

/// `stderr:foo`, `stdout=foo`, `output =~ foo`: a pattern without its tilde.
fn pattern(term: &str) -> Option<String> {
    let lower = term.to_ascii_lowercase();
    let stream = ["stdout", "stderr", "output"].into_iter().find(|stream| lower.starts_with(stream))?;
    let rest = term.get(stream.len()..)?;
    let regex = rest.trim_start_matches([':', '=', '~', ' ']);
    (regex.len() < rest.len() && !regex.is_empty()).then(|| format!("{stream}~{regex}"))
}

/// `-1`, `exit:5`, `code=5`, `1..5`, `>=2`, `2-`, `signal:TERM`.
fn status(lower: &str) -> Option<String> {
    let number = |text: &str| text.trim().parse::<u8>().ok();
    if let Some(negative) = lower.strip_prefix('-').and_then(number) {
        // An exit status has eight bits: exit(-1) is 255.
        return Some(negative.wrapping_neg().to_string());
    }
    if let Some(least) = lower.strip_prefix(">=").and_then(number) {
        return Some(format!("{least}-255"));
    }
    if let Some(below) = lower.strip_prefix('>').and_then(number) {
        return Some(format!("{}-255", below.checked_add(1)?));
    }
    if let Some(least) = lower.strip_suffix('-').or_else(|| lower.strip_suffix('+')).and_then(number) {
        return Some(format!("{least}-255"));
    }
    for separator in ["..=", "...", "..", "\u{2013}", " - ", "to", ":"] {
        if let Some((from, to)) = lower.split_once(separator)
            && let (Some(from), Some(to)) = (number(from), number(to))
        {
            return Some(format!("{from}-{to}"));
        }
    }
    for separator in [';', '|', ' ', '/'] {
        let mut parts = lower.split(separator).map(str::trim).filter(|part| !part.is_empty());
        if lower.contains(separator) && parts.clone().all(|part| number(part).is_some()) {
            let first = parts.next()?.to_owned();
            return Some(parts.fold(first, |list, part| list + "," + part));
        }
    }
    let word = lower.find([':', '=', ' ', '-']);
    let (word, value) = lower.split_at_checked(word?)?;
    let value = value.trim_start_matches([':', '=', ' ', '-']);
    match word {
        "exit" | "code" | "exitcode" | "status" | "rc" | "exit_code" => {
            Some(value.trim_start_matches("code").trim_start_matches([':', '=', ' ', '-']).to_owned())
        }
        "signal" | "sig" | "killed" => Some(value.to_ascii_uppercase()),
        _ => None,
    }
}

/// The two conditions that the user probably meant by one pattern with a comma: `stdout~x` and `7`
/// for `stdout~x,7`. `condition` is a pattern that can be read.
pub(crate) fn two_in_one(condition: &str) -> Option<(&str, &str)> {
    let is_condition = |text: &str| !text.is_empty() && Condition::parse(text).is_ok();
    let commas = condition.match_indices(',').map(|(at, _)| (&condition[..at], condition[at + 1..].trim()));
    commas
        .filter(|(pattern, _)| pattern.contains('~'))
        .find(|(pattern, rest)| is_condition(pattern) && is_condition(rest))
}

fn synonym(lower: &str) -> Option<String> {
    SYNONYMS.iter().find(|(words, _)| words.contains(&lower)).map(|(_, word)| (*word).to_owned())
}

fn misspelled_signal(term: &str) -> Option<String> {
    let upper = term.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    let near = SIGNALS.into_iter().find(|name| strsim::osa_distance(name, &full) == 1)?;
    (full.len() > 5).then(|| near.trim_start_matches("SIG").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_proposed() {
        for (term, proposed) in [
            ("503", "http:503"),
            ("5xx", "http:5xx"),
            ("4XX", "http:4xx"),
            ("5**", "http:5xx"),
            ("500-504", "http:500-504"),
            ("HTTP 503", "http:503"),
            ("http503", "http:503"),
            ("http=5xx", "http:5xx"),
            ("http/429", "http:429"),
            ("http-status:503", "http:503"),
            ("stderr:foo", "stderr~foo"),
            ("stdout=Foo bar", "stdout~Foo bar"),
            ("output =~ x", "output~x"),
            ("STDERR: x", "stderr~x"),
            ("fail", "failure"),
            ("Failed", "failure"),
            ("error", "failure"),
            ("false", "failure"),
            ("!=0", "failure"),
            ("true", "success"),
            ("ok", "success"),
            ("failre", "failure"),
            ("sucess", "success"),
            ("timed-out", "timeout"),
            ("tiemout", "timeout"),
            ("transiet", "transient"),
            ("all", "any"),
            ("killed", "signal"),
            ("-1", "255"),
            ("1..5", "1-5"),
            ("1:5", "1-5"),
            ("1 2", "1,2"),
            ("1;2;3", "1,2,3"),
            (">=2", "2-255"),
            (">0", "1-255"),
            ("2-", "2-255"),
            ("exit:5", "5"),
            ("exit code 5", "5"),
            ("status=7", "7"),
            ("signal:term", "TERM"),
            ("SIGTRM", "TERM"),
            ("sigkil", "KILL"),
        ] {
            assert_eq!(meant(term).as_deref(), Some(proposed), "{term}");
        }
    }

    #[test]
    fn a_condition_behind_the_comma_of_a_pattern_is_seen() {
        for (text, two) in [
            ("stdout~x,7", Some(("stdout~x", "7"))),
            ("stdout~a, b, timeout", Some(("stdout~a, b", "timeout"))),
            ("stderr~x,http:5xx,22", Some(("stderr~x", "http:5xx,22"))),
            ("stderr~x,stdout~y", Some(("stderr~x", "stdout~y"))),
            ("stdout~a{1,7}", None),
            ("stdout~a[,7]", None),
            (r"stdout~a\,7", None),
            ("stdout~a,b", None),
            ("stdout~a,", None),
            ("stdout~failed, any time", None),
        ] {
            assert_eq!(two_in_one(text), two, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_left_alone() {
        for term in [
            "",
            "256-",
            "http:",
            "http:600",
            "http:5",
            "99999999999",
            "frob",
            "stdin~x",
            "x:y",
            "-",
            "stderr",
            "NaN",
        ] {
            assert_eq!(meant(term), None, "{term}");
        }
    }
}
