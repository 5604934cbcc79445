//! The place of shared state: a directory, or a server.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::ValueError;
use crate::state::redis::address::{Address, AddressError};

/// The place that the user has named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StatePlace {
    Directory(PathBuf),
    Server(Address),
}

/// Reads the place of shared state on the command line, which all users can see (ps(1)). So a URL
/// with a password is an error.
pub(crate) fn state_option(name: OsString) -> Result<StatePlace, ValueError> {
    let place = state_place(name)?;
    match &place {
        StatePlace::Server(address) if address.has_password() => Err(ValueError::new(
            "a password on the command line can be seen by all users",
            "put it into a file, and name the file in the variable RETRY_STATE_AUTH",
        )),
        StatePlace::Server(_) | StatePlace::Directory(_) => Ok(place),
    }
}

/// Reads the place of shared state: a directory, or the URL of a server.
pub(crate) fn state_place(name: OsString) -> Result<StatePlace, ValueError> {
    if name.is_empty() {
        return Err(ValueError::new(
            "the directory name is empty",
            "give the name of a directory, or the URL of a server",
        ));
    }
    let Some((scheme, rest)) = split(name.as_bytes()) else {
        return match looks_like_a_server(name.as_bytes()) {
            // Again, no text repeats what may be a password.
            true => Err(ValueError::new(
                "the name of a server without redis:// before it",
                "write redis://HOST or redis://HOST:PORT; if this is a directory, write ./ before its name",
            )),
            false => Ok(StatePlace::Directory(name.into())),
        };
    };
    match Address::parse(scheme, rest) {
        Ok(address) => Ok(StatePlace::Server(address)),
        // No text repeats the rest of the URL, which may hold a password.
        Err(error @ AddressError::Scheme) => Err(ValueError::new(
            error.to_string(),
            format!("write redis://HOST or rediss://HOST; if this is a directory, write ./{scheme}://..."),
        )),
        Err(error) => Err(ValueError::new(error.to_string(), error.hint())),
    }
}

/// The scheme of a URL, and the part after `://` (RFC 3986 §3.1).
fn split(text: &[u8]) -> Option<(&str, &[u8])> {
    let end = text.windows(3).position(|part| part == b"://")?;
    let (first, rest) = text[..end].split_first()?;
    let in_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    let valid = first.is_ascii_alphabetic() && rest.iter().all(in_scheme);
    let scheme = valid.then(|| std::str::from_utf8(&text[..end]).ok()).flatten()?;
    Some((scheme, &text[end + 3..]))
}

/// Whether a name without `://` is that of a server all the same: it begins with the scheme of a
/// server, or it is `HOST:PORT`. A directory of that name would surprise its user.
fn looks_like_a_server(text: &[u8]) -> bool {
    let Some(end) = text.iter().position(|byte| *byte == b':') else { return false };
    let (first, after) = (text[..end].to_ascii_lowercase(), &text[end + 1..]);
    let family = first.split(|byte| b"+-".contains(byte)).next().unwrap_or_default();
    let is_scheme = [&b"redis"[..], b"rediss", b"valkey", b"valkeys"].contains(&family);
    let is_port = (1..=5).contains(&after.len()) && after.iter().all(u8::is_ascii_digit);
    is_scheme || (is_port && !first.is_empty() && !first.contains(&b'/'))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn a_name_may_be_any_bytes() {
        let bytes = OsString::from_vec(vec![0xff]);
        assert_eq!(state_option(bytes.clone()), Ok(StatePlace::Directory(bytes.into())));
        assert!(state_option(OsString::new()).is_err());
        for name in
            ["a:b", "./x://y", "1x://y", "x//y", "://", "./redis:x", "redis", "redisx:y", "/r:1", ":1"]
        {
            assert_eq!(state_option(name.into()), Ok(StatePlace::Directory(name.into())));
        }
    }

    #[test]
    fn a_server_without_its_slashes_is_no_directory() {
        for name in [
            "redis:x",
            "redis:/h",
            "REDIS:h:6379",
            "rediss:u:SECRET@h",
            "redis+unix:/s",
            "valkey:/h",
            "cache:6379",
        ] {
            let error = state_place(name.into()).unwrap_err();
            assert!(error.hint.contains("./") && !format!("{error:?}").contains("SECRET"), "{name}");
        }
    }

    #[test]
    fn a_url_is_a_server() {
        for url in ["redis://cache/1", "rediss://u@cache", "redis+unix:///s", "redis+sentinel://a,b/m"] {
            assert!(matches!(state_option(url.into()), Ok(StatePlace::Server(_))), "{url}");
        }
        let error = state_option("https://user:SECRET@host/0".into()).unwrap_err();
        assert_eq!(
            error.hint,
            "write redis://HOST or rediss://HOST; if this is a directory, write ./https://..."
        );
    }

    #[test]
    fn a_password_is_for_the_variable_only() {
        let url = "redis://u:SECRET@host";
        assert!(matches!(state_place(url.into()), Ok(StatePlace::Server(_))));
        let error = state_option(url.into()).unwrap_err();
        assert!(error.hint.contains("RETRY_STATE_AUTH") && !format!("{error:?}").contains("SECRET"));
        for url in ["redis://u:SECRET@", "redis://u:SECRET@h:x", "redis://u:%zSECRET@h", "x://SECRET"] {
            assert!(!format!("{:?}", state_place(url.into()).unwrap_err()).contains("SECRET"), "{url}");
        }
    }
}
