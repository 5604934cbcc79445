//! A committed text with placeholders such as `@OPTIONS@`.

use std::collections::BTreeSet;
use std::fs;

use super::path;
use crate::support::failure::failure;

/// Fills the placeholders of a template, each in all its places.
///
/// Panics if the template has a placeholder without a value, or a value has no placeholder.
#[track_caller]
pub(super) fn fill(file: &str, values: &[(&str, &str)]) -> String {
    let template = fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut used = BTreeSet::new();
    let mut filled = String::new();
    let mut rest = template.as_str();
    while let Some((before, placeholder, after)) = next_placeholder(rest) {
        let value = values.iter().find(|(name, _)| *name == placeholder);
        let (name, value) = value.unwrap_or_else(|| panic!("{file}: @{placeholder}@ has no value"));
        used.insert(name);
        filled.push_str(before);
        filled.push_str(value);
        rest = after;
    }
    let unused: Vec<_> = values.iter().map(|(name, _)| name).filter(|name| !used.contains(name)).collect();
    assert!(unused.is_empty(), "{file} has no placeholder for {unused:?}");
    filled + rest
}

/// The text before the first placeholder, the name of the placeholder, and the text after it.
fn next_placeholder(text: &str) -> Option<(&str, &str, &str)> {
    text.match_indices('@').find_map(|(start, _)| {
        let (name, after) = text[start + 1..].split_once('@')?;
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        is_name.then(|| (&text[..start], name, after))
    })
}

/// Replaces a text that must occur exactly once.
#[track_caller]
pub(super) fn replace_once(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from:?} in {text}");
    text.replace(from, to)
}

#[test]
fn a_placeholder_is_upper_case_between_at_signs() {
    assert_eq!(next_placeholder("a @b@ @C_D@ @E@"), Some(("a @b@ ", "C_D", " @E@")));
    assert_eq!(next_placeholder("${COMP_WORDS[@]} @order.json @ @@ @"), None);
}

#[test]
fn a_placeholder_needs_a_value() {
    let text = failure(|| fill("completions/retry.bash.in", &[]));
    assert!(text.contains("@LONG_WITH_VALUE@ has no value"), "{text}");
}

#[test]
fn a_value_needs_a_placeholder() {
    let known = [
        "CASES",
        "OPTIONS",
        "LONG_WITH_VALUE",
        "LONG_WITH_OPTIONAL",
        "LETTERS_WITHOUT_VALUE",
        "LETTERS_WITH_VALUE",
        "NONE",
    ];
    let text = failure(|| fill("completions/retry.bash.in", &known.map(|name| (name, ""))));
    assert!(text.contains("has no placeholder for [\"NONE\"]"), "{text}");
}
