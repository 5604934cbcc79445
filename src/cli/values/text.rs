//! Texts: labels and shell commands.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use super::ValueError;

/// Reads a label: any text that is not blank.
pub(crate) fn label(text: &str) -> Result<String, ValueError> {
    match text.trim() {
        "" => Err(ValueError::new(
            "the label is empty",
            "without --label, messages use the command's base name",
        )),
        _ => Ok(text.to_owned()),
    }
}

/// Reads the shell command of `--check`.
pub(crate) fn check(text: OsString) -> Result<OsString, ValueError> {
    shell_command(text, "retry runs it with sh -c; exit status 0 means done, 1 means not done")
}

/// Reads the shell command of `--on-retry`.
pub(crate) fn on_retry(text: OsString) -> Result<OsString, ValueError> {
    shell_command(text, "retry runs it with sh -c before each retry")
}

/// Reads a command for the shell: any bytes, unless they are blank.
fn shell_command(text: OsString, hint: &str) -> Result<OsString, ValueError> {
    match text.as_bytes().iter().all(u8::is_ascii_whitespace) {
        true => Err(ValueError::new("the command is empty", hint)),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_text_is_refused() {
        for text in ["", " ", "\t\n"] {
            assert_eq!(label(text).unwrap_err().cause, "the label is empty");
            assert_eq!(check(text.into()).unwrap_err().cause, "the command is empty");
            assert_eq!(on_retry(text.into()).unwrap_err().cause, "the command is empty");
        }
        assert_eq!(label(" x "), Ok(" x ".to_owned()));
        assert_eq!(check("test -e x".into()), Ok("test -e x".into()));
    }
}
