//! The idempotency key.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use super::ValueError;
use crate::state::key::check;

/// The source of the idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// Every run makes a new key.
    Fresh,
    Given(String),
    /// A file keeps the key until a run succeeds.
    File(PathBuf),
}

/// Reads a key, or `file:PATH`. The path may be any bytes.
pub(crate) fn key(text: OsString) -> Result<KeySource, ValueError> {
    let hint = "a key is text of 1 to 255 bytes; file:PATH keeps one in a file until a run succeeds";
    if let Some(path) = text.as_bytes().strip_prefix(b"file:") {
        return match path {
            b"" => Err(ValueError::new("file: needs the path of a file after it", hint)),
            path => Ok(KeySource::File(OsString::from_vec(path.to_vec()).into())),
        };
    }
    let text = text.into_string().map_err(|_| ValueError::new("the key is not UTF-8", hint))?;
    match check(&text) {
        Err(why) => Err(ValueError::new(format!("the key {why}"), hint)),
        Ok(()) => Ok(KeySource::Given(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_text_or_in_a_file() {
        let read = |text: &str| key(text.into());
        assert_eq!(read("order 42"), Ok(KeySource::Given("order 42".into())));
        assert_eq!(read("file:a/b"), Ok(KeySource::File("a/b".into())));
        assert_eq!(
            key(OsString::from_vec(b"file:\xff".to_vec())),
            Ok(KeySource::File(OsString::from_vec(vec![0xff]).into()))
        );
        assert!(read(&"k".repeat(255)).is_ok());
        for text in ["", "file:", "a\tb", "a\n", &"k".repeat(256)] {
            assert!(read(text).is_err(), "{text:?}");
        }
        assert!(key(OsString::from_vec(vec![0xff])).is_err());
    }
}
