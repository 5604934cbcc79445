//! Names of breakers and budgets.

use super::ValueError;
use crate::state::file::place::is_path;

/// Longest name, in bytes. The names of a record's files are longer.
const LONGEST: usize = 100;

/// Reads a name, or the path of a record.
pub(crate) fn name(text: &str) -> Result<String, ValueError> {
    let hint = "a name is any text of up to 100 bytes without /, or a file's path: /x, ./x, ../x";
    let error = |cause: &str| Err(ValueError::new(cause, hint));
    if text.is_empty() {
        return error("the name is empty");
    }
    if text.chars().any(char::is_control) {
        return error("a name cannot contain control characters");
    }
    if is_path(text) {
        let last = text.rsplit('/').next().unwrap_or_default();
        return if matches!(last, "" | "." | "..") {
            error("the path names a directory")
        } else {
            Ok(text.to_owned())
        };
    }
    if text.contains('/') {
        return error("a name cannot contain /");
    }
    if text.len() > LONGEST {
        return error("the name is too long");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_text_or_a_path() {
        for text in ["payments", "a b", "é", "a=b", "..", ".x", "/x", "./x", "../x/y", &"x".repeat(100)] {
            assert_eq!(name(text).as_deref(), Ok(text));
        }
        for text in ["", "a/b", "x/", "/", "./", "../..", "/x/.", "a\nb", "\u{85}", &"x".repeat(101)] {
            assert!(name(text).is_err(), "{text:?}");
        }
    }
}
