//! `--expand`: replaces tokens in the arguments of the command.

/// The values of the tokens in one attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tokens<'a> {
    /// `{key}`
    pub(crate) key: &'a str,
    /// `{attempt}`
    pub(crate) attempt: u32,
    /// `{max}`. It is empty if there is no limit.
    pub(crate) max: Option<std::num::NonZeroU32>,
}

pub(crate) const KEY: &[u8] = b"{key}";

/// Replaces the tokens `{key}`, `{attempt}` and `{max}`, and nothing else. Tokens in a value are
/// not replaced again.
#[must_use]
pub(crate) fn expanded(argument: &[u8], tokens: Tokens<'_>) -> Vec<u8> {
    let known = [
        (KEY, tokens.key.to_owned()),
        (b"{attempt}", tokens.attempt.to_string()),
        (b"{max}", tokens.max.map(|max| max.to_string()).unwrap_or_default()),
    ];
    let mut out = Vec::with_capacity(argument.len());
    let mut rest = argument;
    while let Some((first, behind)) = rest.split_first() {
        if let Some((token, value)) = known.iter().find(|(token, _)| rest.starts_with(token)) {
            out.extend_from_slice(value.as_bytes());
            rest = &rest[token.len()..];
        } else {
            out.push(*first);
            rest = behind;
        }
    }
    out
}

/// Whether an argument contains `{key}`.
pub(crate) fn has_key(argument: &[u8]) -> bool {
    argument.windows(KEY.len()).any(|window| window == KEY)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(argument: &[u8]) -> Vec<u8> {
        let max = std::num::NonZeroU32::new(5);
        expanded(argument, Tokens { key: "k{attempt}", attempt: 2, max })
    }

    #[test]
    fn exactly_three_tokens_are_replaced() {
        for (argument, expected) in [
            ("Idempotency-Key: {key}", "Idempotency-Key: k{attempt}"),
            ("{attempt}/{max}", "2/5"),
            ("{{key}}", "{k{attempt}}"),
            ("{key", "{key"),
            ("{Key} {keys} { key } {} {attempt", "{Key} {keys} { key } {} {attempt"),
            (r#"{"a": {"max": 1}}"#, r#"{"a": {"max": 1}}"#),
            ("{{.Key}} ${key} %{key}", "{{.Key}} $k{attempt} %k{attempt}"),
            ("{{max}{max}", "{55"),
            ("", ""),
        ] {
            assert_eq!(all(argument.as_bytes()), expected.as_bytes(), "{argument}");
        }
        assert_eq!(all(b"\xff{max}\xfe"), b"\xff5\xfe");
        let unlimited = Tokens { key: "", attempt: 1, max: None };
        assert_eq!(expanded(b"[{max}]", unlimited), b"[]");
    }

    proptest! {
        #[test]
        fn without_a_token_nothing_changes(argument in prop::collection::vec(prop::sample::select(b"{}keymaxt\xff".to_vec()), 0..30)) {
            let has = |token: &[u8]| argument.windows(token.len()).any(|window| window == token);
            let any = has(KEY) || has(b"{attempt}") || has(b"{max}");
            prop_assert_eq!(all(&argument) == argument, !any);
            prop_assert_eq!(has_key(&argument), has(KEY));
        }
    }
}
