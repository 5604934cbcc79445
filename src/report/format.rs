//! Formats times, sizes, counts, and text from outside, which must not control the terminal.

use std::borrow::Cow;
use std::time::Duration;

/// Formats a time: `50ms`, `0.8s`, `12.4s`, `2m 5s`, `3h 20m`.
pub(crate) fn duration(time: Duration) -> String {
    let millis = time.as_millis();
    if millis < 100 {
        return if millis == 0 { "0s".to_owned() } else { format!("{millis}ms") };
    }
    let tenths = (millis + 50) / 100;
    let seconds = (millis + 500) / 1000;
    match seconds {
        0..=119 if tenths.is_multiple_of(10) => format!("{}s", tenths / 10),
        0..=119 => format!("{}.{}s", tenths / 10, tenths % 10),
        120..=3599 => pair(seconds / 60, "m", seconds % 60, "s"),
        3600..=86_399 => pair(seconds / 3600, "h", seconds % 3600 / 60, "m"),
        _ => pair(seconds / 86400, "d", seconds % 86400 / 3600, "h"),
    }
}

/// Formats a time for a plan: as [`duration`], but with minutes from 60 s on: `1m 4s`.
pub(crate) fn moment(time: Duration) -> String {
    let (tenths, seconds) = ((time.as_millis() + 50) / 100, (time.as_millis() + 500) / 1000);
    if tenths >= 600 && seconds < 120 { pair(1, "m", seconds - 60, "s") } else { duration(time) }
}

fn pair(large: u128, large_unit: &str, small: u128, small_unit: &str) -> String {
    match small {
        0 => format!("{large}{large_unit}"),
        _ => format!("{large}{large_unit} {small}{small_unit}"),
    }
}

/// Formats a number of bytes: `17 bytes`, `4KiB`, `1.5MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let unit = UNITS.iter().zip(1..).take_while(|(_, power)| bytes >> (10 * power) > 0).last();
    let Some((name, power)) = unit else { return count(bytes, "byte") };
    // Tenths, rounded down.
    let tenths = (u128::from(bytes) * 10) >> (10 * power);
    match tenths % 10 {
        0 => format!("{}{name}", tenths / 10),
        tenth => format!("{}.{tenth}{name}", tenths / 10),
    }
}

/// Formats a number of bytes without rounding, close to what the user typed.
pub(crate) fn size_in_full(bytes: u64) -> String {
    let whole = |power: &u32| bytes >> (10 * power) > 0 && bytes.trailing_zeros() >= 10 * power;
    match (1..=4).rev().find(whole) {
        Some(_) => size(bytes),
        None => bytes.to_string(),
    }
}

/// `1 attempt`, `3 attempts`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The output of a command as printable text. None if the output is binary: it contains a NUL, or a
/// tenth of it is not UTF-8. Control characters are escaped, except line breaks, tabs and colours
/// (ECMA-48, SGR). What a CI would take for a command is broken up.
pub(crate) fn readable(bytes: &[u8]) -> Option<String> {
    // Both ends may be cut within a character, which has up to four bytes.
    let starts = bytes.iter().take(3).take_while(|b| (0x80..0xc0).contains(*b)).count();
    let text = String::from_utf8_lossy(bytes.get(starts..).unwrap_or_default());
    let strange = text.chars().filter(|c| *c == char::REPLACEMENT_CHARACTER).count();
    if bytes.contains(&0) || strange > 1 + bytes.len() / 10 {
        return None;
    }
    let mut readable = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    while let Some(c) = rest.chars().next() {
        let colour = rest.strip_prefix("\x1b[").and_then(|tail| {
            let end = tail.find(|c: char| !c.is_ascii_digit() && c != ';' && c != ':')?;
            tail[end..].starts_with('m').then_some(end + 3)
        });
        let length = colour.unwrap_or(c.len_utf8());
        let part = &rest[..length];
        if colour.is_some() || matches!(c, '\n' | '\r' | '\t') {
            readable.push_str(part);
        } else {
            readable.push_str(&printable(part));
        }
        rest = &rest[length..];
    }
    Some(without_ci_lines(&without_ci_brackets(&readable)))
}

/// The longest text from outside in a line, in characters.
const LONGEST: usize = 200;

/// Shortens a text so that the rest of the line has room.
pub(crate) fn shortened(text: &str) -> Cow<'_, str> {
    shortened_to(text, LONGEST)
}

/// Cuts a text after `longest` characters, and adds dots.
pub(crate) fn shortened_to(text: &str, longest: usize) -> Cow<'_, str> {
    match text.char_indices().nth(longest) {
        Some((end, _)) => Cow::Owned(format!("{}...", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// Quotes a text for a shell, if that is necessary.
pub(crate) fn shell_word(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_alphanumeric() || "-_./=+:,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("'{}'", text.replace('\'', "'\\''")))
}

/// Escapes control characters, so that the text cannot control the terminal, and breaks up what a CI
/// would take for a command of its own.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    // U+202A.. and U+2066.. change the direction of the text.
    let odd = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(odd) {
        return without_ci_brackets(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if odd(c) { escaped.extend(c.escape_default()) } else { escaped.push(c) }
    }
    Cow::Owned(without_ci_brackets(&escaped).into_owned())
}

/// Breaks up `##[` and `##vso[`, which the agents of GitHub and Azure find anywhere in a line.
fn without_ci_brackets(text: &str) -> Cow<'_, str> {
    if !text.contains("##") {
        return Cow::Borrowed(text);
    }
    let mut broken = String::with_capacity(text.len() + 8);
    for (at, c) in text.char_indices() {
        let before = &text.as_bytes()[..at];
        let is_command = c == '['
            && (before.ends_with(b"##")
                || before
                    .len()
                    .checked_sub(5)
                    .is_some_and(|start| before[start..].eq_ignore_ascii_case(b"##vso")));
        if is_command {
            broken.push(' ');
        }
        broken.push(c);
    }
    Cow::Owned(broken)
}

/// Breaks up `::` where a line begins with it, as GitHub's runner reads a command there. It skips
/// white space before that, and a carriage return ends a line for it too.
pub(super) fn without_ci_lines(text: &str) -> String {
    let mut broken = String::with_capacity(text.len());
    for line in text.split_inclusive(['\n', '\r']) {
        let rest = line.trim_start_matches(|c: char| c.is_whitespace() && c != '\n' && c != '\r');
        match rest.strip_prefix("::") {
            Some(after) => {
                broken.push_str(&line[..line.len() - rest.len()]);
                broken.push_str(": :");
                broken.push_str(after);
            }
            None => broken.push_str(line),
        }
    }
    broken
}

/// Escapes what Markdown and HTML would not show as it is (GFM 6.1, backslash escapes).
pub(crate) fn escaped_markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '$' | '@' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// Of the control characters in a text, only line breaks, tabs and colours reach the terminal.
#[cfg(any(test, fuzzing))]
pub(crate) fn property(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    assert!(!printable(&text).contains(char::is_control));
    assert!(shortened(&text).chars().count() <= LONGEST + 3);
    // In quotes none ends early: each within stands by itself, escaped.
    let word = shell_word(&text);
    if let Some(quoted) = word.strip_prefix('\'').and_then(|word| word.strip_suffix('\'')) {
        assert_eq!(quoted.replace("'\\''", "'"), text);
    }
    if let Some(readable) = readable(bytes) {
        let mut rest = readable.as_str();
        while let Some(at) = rest.find(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            let colour = rest[at..].strip_prefix("\x1b[").and_then(|tail| {
                let tail = tail.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, ';' | ':'));
                tail.strip_prefix('m')
            });
            rest = colour.unwrap_or_else(|| panic!("{readable:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_reaches_into_the_terminal(bytes in prop::collection::vec(prop::sample::select(b"\x1b[31;m'\n\t\0\x9b\xc2 ax\xff".to_vec()), 0..60)) {
            property(&bytes);
        }
    }

    #[test]
    fn sizes_read_as_a_person_says_them() {
        for (bytes, text, in_full) in [
            (0, "0 bytes", "0"),
            (1, "1 byte", "1"),
            (1023, "1023 bytes", "1023"),
            (1024, "1KiB", "1KiB"),
            (1999, "1.9KiB", "1999"),
            (1536 << 10, "1.5MiB", "1.5MiB"),
            (1 << 30, "1GiB", "1GiB"),
            (u64::MAX, "16777215.9TiB", "18446744073709551615"),
        ] {
            assert_eq!((size(bytes).as_str(), size_in_full(bytes).as_str()), (text, in_full));
        }
    }

    #[test]
    fn output_is_shown_as_far_as_it_is_text() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"a\tb\r\n", "a\tb\r\n"),
            (b"\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
            ("größer ☃\n".as_bytes(), "größer ☃\n"),
            (b"\x1b]0;title\x07x\n", "\\u{1b}]0;title\\u{7}x\n"),
            (b"\x1b[2J\x1b[3", "\\u{1b}[2J\\u{1b}[3"),
            ("\u{202e}x".as_bytes(), "\\u{202e}x"),
            (b"caf\xe9 au lait", "caf\u{fffd} au lait"),
            (&"☃x☃".as_bytes()[1..6], "x\u{fffd}"),
        ] {
            assert_eq!(readable(bytes).as_deref(), Some(text), "{bytes:?}");
        }
        for bytes in [&b"a\0b"[..], b"\x7fELF\0", &[0x80; 100]] {
            assert_eq!(readable(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn times_read_as_a_person_says_them() {
        for (millis, text) in [
            (0, "0s"),
            (50, "50ms"),
            (99, "99ms"),
            (100, "0.1s"),
            (800, "0.8s"),
            (999, "1s"),
            (3200, "3.2s"),
            (12_440, "12.4s"),
            (60_000, "60s"),
            (119_400, "119.4s"),
            (119_600, "2m"),
            (125_000, "2m 5s"),
            (3_599_000, "59m 59s"),
            (3_600_000, "1h"),
            (5_400_000, "1h 30m"),
            (7_199_600, "2h"),
            (12_000_000, "3h 20m"),
            (86_400_000, "1d"),
            (90_000_000_000, "1041d 16h"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
        assert!(duration(Duration::MAX).ends_with('h'));
        for (millis, text) in [(59_940, "59.9s"), (59_960, "1m"), (64_000, "1m 4s"), (125_000, "2m 5s")] {
            assert_eq!(moment(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn words_for_a_shell_are_quoted_where_they_must_be() {
        assert_eq!(
            shell_word("/home/deploy/.local/state/retry/payments.json"),
            "/home/deploy/.local/state/retry/payments.json"
        );
        assert_eq!(shell_word("a b"), "'a b'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
        assert_eq!(shell_word("$x;~"), "'$x;~'");
    }

    #[test]
    fn no_ci_finds_a_command() {
        for (text, shown) in [
            ("##[error]x ##vso[task.complete]", "## [error]x ##vso [task.complete]"),
            ("###[x] #[x] ##VSO[x]", "### [x] #[x] ##VSO [x]"),
            ("a::b ::c", "a::b ::c"),
        ] {
            assert_eq!(printable(text), shown);
            assert_eq!(readable(text.as_bytes()).unwrap(), shown);
        }
        let lines = "::a\n \t::b::\r::c\r\n::d x::e\n\n::";
        assert_eq!(readable(lines.as_bytes()).unwrap(), ": :a\n \t: :b::\r: :c\r\n: :d x::e\n\n: :");
        assert_eq!(escaped_markdown("<b>*_[x](y)`|&\n"), "&lt;b&gt;\\*\\_\\[x\\](y)\\`\\|&amp;\\\\n");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("curl"), "curl");
        assert_eq!(printable("a\x1b[31m\nb\u{9b}\u{202e}é"), "a\\u{1b}[31m\\nb\\u{9b}\\u{202e}é");
    }
}
