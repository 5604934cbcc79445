//! The value of `--policy`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use super::ValueError;

/// A policy, as `--policy` or `RETRY_POLICY` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PolicyName {
    /// No policy.
    None,
    /// A file: its path if there is a `/` in it, else its name in a directory of policies.
    File(OsString),
}

/// Reads the name of a policy, the path of its file, or `none`.
pub(crate) fn policy(name: OsString) -> Result<PolicyName, ValueError> {
    let hint = "a policy is a file in ~/.config/retry or /etc/retry, or a path that contains /; \
                none means no policy";
    let error = |cause: &str| Err(ValueError::new(cause, hint));
    if name.to_string_lossy().contains(char::is_control) {
        return error("a name cannot contain control characters");
    }
    match name.as_bytes() {
        b"" => error("the name is empty"),
        b"none" => Ok(PolicyName::None),
        b"." | b".." => error("the name is that of a directory"),
        _ => Ok(PolicyName::File(name)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn a_policy_has_a_name_or_a_path() {
        for name in ["ci", "a b", "None", "...", "a.conf", "é", "-", "/x", "./x", "a/b", "./none"] {
            assert_eq!(policy(name.into()), Ok(PolicyName::File(name.into())), "{name}");
        }
        assert_eq!(policy("none".into()), Ok(PolicyName::None));
        let bytes = OsString::from_vec(vec![0xff]);
        assert_eq!(policy(bytes.clone()), Ok(PolicyName::File(bytes)));
        for name in ["", ".", "..", "a\nb", "/x\t", "\u{9b}"] {
            assert!(policy(name.into()).is_err(), "{name:?}");
        }
    }
}
