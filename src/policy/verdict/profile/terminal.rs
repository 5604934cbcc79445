//! Which invocations of a program need the terminal for themselves.
//!
//! On a terminal, retry replaces the stderr of a watched command by a pseudo-terminal. Programs
//! that read stdin or /dev/tty notice nothing. A pager does: less(1) opens the terminal of its
//! stderr by name and waits there for keys that nobody types. A command that may start a pager, an
//! editor, a shell, a hook or a maintainer script therefore keeps its terminal, and only its exit
//! status decides.

use super::WatchStdout;

/// Whether a program may need the terminal, by its arguments. The first matching rule decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terminal {
    rules: &'static [Rule],
    /// The answer if no rule matches.
    otherwise: bool,
    /// The letters of options with a value.
    valued: &'static str,
    /// The long options whose value is the next word.
    long_valued: &'static [&'static str],
    /// The letters of options before the first operand that ask for a pager.
    paging: &'static str,
    /// Prefixes of option values before the first operand that ask for a pager: `pager.fetch=true`.
    paging_value: Option<&'static str>,
}

/// Whether some command of a program may need the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Never,
    /// It depends on the arguments.
    Sometimes,
    Always,
}

/// A rule for some arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    /// The subcommand: `fetch`, `image pull`. An empty one stands for any.
    command: &'static str,
    /// The smallest number of operands.
    operands: usize,
    /// The words must contain an entry of each group: an option (`-t`, also in a bundle, or
    /// `--tty`) or a word. `@prompt` matches the end of a word.
    with: &'static [&'static [&'static str]],
    needs: bool,
}

/// With this subcommand the program does not need the terminal.
pub(super) const fn free(command: &'static str) -> Rule {
    Rule { command, operands: 0, with: &[], needs: false }
}

/// With this subcommand the program may need the terminal.
pub(super) const fn needs(command: &'static str) -> Rule {
    Rule { command, operands: 0, with: &[], needs: true }
}

impl Rule {
    /// The same rule, if the words contain an option of each group.
    pub(super) const fn with(self, with: &'static [&'static [&'static str]]) -> Self {
        Self { with, ..self }
    }

    /// The same rule, if there are at least this many operands.
    pub(super) const fn operands(self, operands: usize) -> Self {
        Self { operands, ..self }
    }
}

impl Terminal {
    /// The program never needs the terminal. It reads at most stdin or /dev/tty.
    pub(super) const FREE: Self =
        Self { rules: &[], otherwise: false, valued: "", long_valued: &[], paging: "", paging_value: None };

    /// The program may always need the terminal.
    pub(super) const NEEDED: Self = Self { otherwise: true, ..Self::FREE };

    /// The program needs the terminal only if a rule says so.
    pub(super) const fn free_but(rules: &'static [Rule]) -> Self {
        Self { rules, ..Self::FREE }
    }

    /// The program may need the terminal unless a rule says otherwise.
    pub(super) const fn needed_but(rules: &'static [Rule]) -> Self {
        Self { rules, ..Self::NEEDED }
    }

    /// The same rules for a program with these options before its operands.
    pub(super) const fn valued(self, valued: &'static str, long_valued: &'static [&'static str]) -> Self {
        Self { valued, long_valued, ..self }
    }

    /// The same rules for a program that starts a pager if one of these options or values comes
    /// before its first operand.
    pub(super) const fn paging(self, letters: &'static str, value: &'static str) -> Self {
        Self { paging: letters, paging_value: Some(value), ..self }
    }

    /// Whether some command may need the terminal.
    pub(crate) fn need(&self) -> Need {
        let asks = !self.paging.is_empty() || self.paging_value.is_some();
        match self.otherwise {
            true if self.rules.iter().all(|rule| rule.needs) => Need::Always,
            false if !asks && self.rules.iter().all(|rule| !rule.needs) => Need::Never,
            _ => Need::Sometimes,
        }
    }

    /// Whether the words before the first operand ask for a pager.
    fn asks_for_pager(&self, arguments: &[&[u8]]) -> bool {
        let is_value = |word: &[u8]| {
            self.paging_value.is_some_and(|start| word.to_ascii_lowercase().starts_with(start.as_bytes()))
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let [b'-', letters @ ..] = word else { return false };
            if letters.is_empty() || letters == b"-" {
                return false;
            }
            if letters.starts_with(b"-") {
                if self.long_valued.iter().any(|option| option.as_bytes() == *word) {
                    words.next();
                }
                continue;
            }
            let end = letters.iter().position(|letter| self.valued.as_bytes().contains(letter));
            let flags = &letters[..end.unwrap_or(letters.len())];
            if flags.iter().any(|letter| self.paging.as_bytes().contains(letter)) {
                return true;
            }
            let value = end.and_then(|end| match letters.get(end + 1..) {
                Some(value) if !value.is_empty() => Some(value),
                _ => words.next().copied(),
            });
            if value.is_some_and(is_value) {
                return true;
            }
        }
        false
    }

    /// Whether a command with these arguments may need the terminal.
    pub(crate) fn is_needed(&self, arguments: &[&[u8]]) -> bool {
        // Help often opens a man page in a pager.
        if arguments.contains(&b"--help".as_slice()) {
            return *self != Self::FREE;
        }
        if self.asks_for_pager(arguments) {
            return true;
        }
        let operands = self.operands(arguments);
        let fits = |rule: &&Rule| {
            begin(&operands, rule.command, rule.operands)
                && rule.with.iter().all(|group| self.has(arguments, group))
        };
        self.rules.iter().find(fits).map_or(self.otherwise, |rule| rule.needs)
    }

    /// Whether the arguments have this subcommand, and at least this many operands.
    pub(super) fn runs(&self, arguments: &[&[u8]], command: &str, least: usize) -> bool {
        begin(&self.operands(arguments), command, least)
    }

    /// Whether the words contain an option of the group.
    fn has(&self, arguments: &[&[u8]], group: &'static [&'static str]) -> bool {
        let end = arguments.iter().position(|word| *word == b"--");
        let arguments = &arguments[..end.unwrap_or(arguments.len())];
        let as_it_is = group.iter().any(|option| match option.as_bytes() {
            end @ [b'@', ..] => arguments.iter().any(|word| word.ends_with(end)),
            // A letter may also be part of the value of another option.
            option => option.len() > 2 && arguments.contains(&option),
        });
        as_it_is
            || WatchStdout::With { options: group, valued: self.valued, to_file: &[] }.applies_to(arguments)
    }

    /// The operands: neither options nor values of options.
    fn operands<'a>(&self, arguments: &[&'a [u8]]) -> Vec<&'a [u8]> {
        let mut operands = Vec::new();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word {
                [b'-', b'-'] => {
                    operands.extend(words.by_ref());
                }
                [b'-', b'-', ..] => {
                    if self.long_valued.iter().any(|option| option.as_bytes() == *word) {
                        words.next();
                    }
                }
                [b'-', letters @ ..] if !letters.is_empty() => {
                    let end = letters.iter().position(|letter| self.valued.as_bytes().contains(letter));
                    if end.is_some_and(|end| end + 1 == letters.len()) {
                        words.next();
                    }
                }
                operand => operands.push(*operand),
            }
        }
        operands
    }
}

/// Whether the operands begin with the words of a subcommand, and are at least this many.
fn begin(operands: &[&[u8]], command: &str, least: usize) -> bool {
    let mut first = operands.iter();
    let mut words = command.split(' ').filter(|word| !word.is_empty());
    operands.len() >= least && words.all(|word| first.next() == Some(&word.as_bytes()))
}
