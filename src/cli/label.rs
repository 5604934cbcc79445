//! The name of the command in messages.
//!
//! Any word of a command line may hold a secret: `'mysql -pSECRET db'` in quotes by mistake,
//! `PGPASSWORD=SECRET` without env, a URL with a password if the command is missing. So retry
//! prints a word only if it looks like the name of a program, and a name has no character that
//! separates it from something else.

use crate::policy::verdict::program::{base_name, look_through};

/// The name of a command whose word is not safe to print.
const UNNAMED: &str = "command";

/// Longest name of a program, in characters. A longer word is more likely a key or a token.
const LONGEST_NAME: usize = 100;

/// Longest path that messages show, in characters.
const LONGEST_PATH: usize = 200;

/// The label of a command line: the base name of the program that it runs, after wrappers such as
/// sudo and env. If the options of a wrapper are unknown, the label is the wrapper's name.
pub(crate) fn label<'a>(words: &[&'a [u8]]) -> &'a str {
    let programs = look_through(words);
    let at = programs.program.or_else(|| programs.wrappers.last().copied());
    at.and_then(|at| name(words.get(at)?)).unwrap_or(UNNAMED)
}

/// The base name of a word, if it is safe to print.
fn name(word: &[u8]) -> Option<&str> {
    let word = plain(word)?.trim_end_matches('/');
    let name = std::str::from_utf8(base_name(word.as_bytes())).ok()?;
    // `-pSECRET` is an option with its value. `-n` has no value.
    let option = name.starts_with('-') && name.len() > 2;
    (!name.is_empty() && !option && name.chars().count() <= LONGEST_NAME).then_some(name)
}

/// A command's word as the user typed it, if it is safe to print.
pub(crate) fn typed(word: &[u8]) -> Option<&str> {
    name(word)?;
    plain(word).filter(|word| word.chars().count() <= LONGEST_PATH)
}

/// A word with only characters of names and paths.
fn plain(word: &[u8]) -> Option<&str> {
    let word = std::str::from_utf8(word).ok()?;
    let fits = |c: char| c.is_alphanumeric() || "-_.+/".contains(c);
    word.chars().all(fits).then_some(word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(words: &[&str]) -> String {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        label(&words).to_owned()
    }

    #[test]
    fn the_label_is_the_program_s_base_name() {
        for (line, expected) in [
            ("curl -f URL", "curl"),
            ("/usr/bin/curl", "curl"),
            ("./größer", "größer"),
            ("g++-12", "g++-12"),
            ("python3.11", "python3.11"),
            ("a/", "a"),
            ("..", ".."),
            ("-n 5", "-n"),
            ("-- x", "--"),
            ("- x", "-"),
            ("sudo -u bob env A=B mysql", "mysql"),
            ("timeout 5 /usr/bin/rsync a b", "rsync"),
            ("nice -n 5 nohup curl", "curl"),
            ("env -i A=b ./x", "x"),
            // The program that sudo runs here is unknown.
            ("timeout 5 /usr/bin/sudo --unheard-of curl", "sudo"),
            ("env", "env"),
        ] {
            assert_eq!(of(&line.split(' ').collect::<Vec<_>>()), expected, "{line}");
        }
    }

    #[test]
    fn a_word_that_may_hold_a_secret_is_not_a_label() {
        let long = "x".repeat(101);
        for word in [
            "",
            "/",
            "mysql -pSECRET db",
            "mysql\tSECRET",
            "PGPASSWORD=SECRET",
            "/opt/x/SECRET?y",
            "https://user:pw@host/SECRET",
            "user@SECRET",
            "x:SECRET",
            "x|SECRET",
            "x;SECRET",
            "$SECRET",
            "'SECRET'",
            "x\\SECRET",
            "x~SECRET",
            "x\u{7}SECRET",
            "x\u{a0}SECRET",
            "x\u{202e}SECRET",
            "-pSECRET",
            "/x/--password-SECRET",
            long.as_str(),
        ] {
            assert_eq!(of(&[word]), "command", "{word:?}");
            assert_eq!(of(&["sudo", "--", word]), "command", "{word:?}");
            assert_eq!(typed(word.as_bytes()), None, "{word:?}");
        }
        assert_eq!(label(&[b"x\xff"]), "command");
        assert_eq!(label(&[]), "command");
    }

    #[test]
    fn a_plain_path_is_fit_to_print() {
        assert_eq!(typed(b"/opt/x/tool"), Some("/opt/x/tool"));
        assert_eq!(typed(b"tool"), Some("tool"));
        assert_eq!(typed("/x".repeat(101).as_bytes()), None);
    }

    proptest! {
        /// The text after a character that names do not have never gets into a label.
        #[test]
        fn nothing_after_a_separator_is_printed(
            head in "[a-z/]{0,9}",
            separator in "[\\x00-*,:-@\\[-^`{-\\x7f\\s\u{9b}\u{a0}\u{202e}]",
            path in "/?[a-z/]{0,9}",
        ) {
            let word = format!("{head}{separator}{path}SECRET");
            for words in [vec![word.as_str()], vec!["sudo", "-n", &word], vec!["env", "A=b", &word, "x"]] {
                prop_assert!(!of(&words).contains("SECRET"), "{:?}", words);
            }
            prop_assert_eq!(typed(word.as_bytes()), None);
        }

        #[test]
        fn no_bytes_panic(words: Vec<Vec<u8>>) {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let label = label(&words);
            let fits = |c: char| c.is_alphanumeric() || "-_.+".contains(c);
            prop_assert!(!label.is_empty() && label.chars().all(fits));
        }
    }
}
