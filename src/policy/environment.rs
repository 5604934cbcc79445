//! The entries of an environment, `NAME=VALUE` (environ(7)).

use std::ffi::{CStr, CString};

/// The variable that all attempts of a run get with the same value.
pub(crate) const IDEMPOTENCY_KEY: &str = "RETRY_IDEMPOTENCY_KEY";

/// The value in an entry, if the entry has this name.
pub(crate) fn value_in<'a>(entry: &'a [u8], name: &str) -> Option<&'a [u8]> {
    // Every run goes through its environment several times. Few entries get beyond this line.
    if entry.first() != name.as_bytes().first() {
        return None;
    }
    entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

/// The value of a variable. If several entries have the name, the first one counts, as for
/// getenv(3).
pub(crate) fn value<'a>(environment: &'a [CString], name: &str) -> Option<&'a [u8]> {
    environment.iter().find_map(|entry| value_in(entry.as_bytes(), name))
}

/// The same environment with these variables in place of all entries that have their names. A
/// variable without a value is removed, and a value with a NUL byte becomes empty.
pub(crate) fn with(environment: &[CString], variables: &[(&str, Option<Vec<u8>>)]) -> Vec<CString> {
    let is_replaced =
        |entry: &CStr| variables.iter().any(|(name, _)| value_in(entry.to_bytes(), name).is_some());
    let kept = environment.iter().filter(|entry| !is_replaced(entry)).cloned();
    let added = variables.iter().filter_map(|(name, value)| {
        let name = [name.as_bytes(), b"="].concat();
        let entry = CString::new([name.as_slice(), value.as_ref()?].concat());
        Some(entry.or_else(|_| CString::new(name)).unwrap_or_default())
    });
    kept.chain(added).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(entries: &[&str]) -> Vec<CString> {
        entries.iter().map(|entry| CString::new(*entry).unwrap()).collect()
    }

    #[test]
    fn the_first_entry_of_a_name_counts() {
        let environment = environment(&["AB=0", "A", "=A=2", "A=1=x", "A=3", "B="]);
        assert_eq!(value(&environment, "A"), Some(&b"1=x"[..]));
        assert_eq!(value(&environment, "B"), Some(&b""[..]));
        assert_eq!(value(&environment, "C"), None);
    }

    #[test]
    fn all_entries_of_a_name_are_replaced() {
        let before = environment(&["A=1", "AB=2", "A=3", "odd"]);
        let variables = [("A", Some(b"4".to_vec())), ("C", Some(b"5\0".to_vec()))];
        assert_eq!(with(&before, &variables), environment(&["AB=2", "odd", "A=4", "C="]));
        assert_eq!(with(&before, &[("A", None), ("C", None)]), environment(&["AB=2", "odd"]));
    }
}
