//! Which invocations of a program need the terminal for themselves.
//!
//! On a terminal, watching replaces stderr by a pseudo-terminal. The keyboard stays where it is: a program that reads
//! its standard input or /dev/tty notices nothing. A pager does: less(1) opens the terminal of its stderr by name and
//! waits there for keys that nobody types. So whatever may start a pager, an editor, a shell, or another program
//! that asks (a hook, a maintainer script) keeps its terminal, and the exit status decides.

use super::Stdout;

/// Whether a program may need the terminal, by its arguments: the first rule that fits decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terminal {
    rules: &'static [Rule],
    /// Whether it may need the terminal where no rule fits.
    otherwise: bool,
    /// Letters of options that take a value.
    valued: &'static str,
    /// Long options whose value is the next word.
    long_valued: &'static [&'static str],
    /// Letters of options that ask for a pager if they stand before the first operand.
    paging: &'static str,
    /// The beginning of values, before the first operand, that ask for a pager: `pager.fetch=true`.
    paging_value: Option<&'static str>,
}

/// What holds for some arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    /// The subcommand: `fetch`, `image pull`; empty: any.
    command: &'static str,
    /// Least number of operands.
    operands: usize,
    /// Of each group one has to be among the words: an option (`-t`, also inside a bundle, `--tty`), or a word
    /// as it is. `@prompt` is what a word ends with.
    with: &'static [&'static [&'static str]],
    needs: bool,
}

/// This subcommand leaves the terminal to retry.
pub(super) const fn free(command: &'static str) -> Rule {
    Rule { command, operands: 0, with: &[], needs: false }
}

/// This subcommand may need the terminal.
pub(super) const fn needs(command: &'static str) -> Rule {
    Rule { command, operands: 0, with: &[], needs: true }
}

impl Rule {
    /// The same only with one option of each group.
    pub(super) const fn with(self, with: &'static [&'static [&'static str]]) -> Self {
        Self { with, ..self }
    }

    /// The same only with so many operands.
    pub(super) const fn operands(self, operands: usize) -> Self {
        Self { operands, ..self }
    }
}

impl Terminal {
    /// It reads its standard input or /dev/tty, if anything, and starts nothing that reads keys.
    pub(super) const FREE: Self =
        Self { rules: &[], otherwise: false, valued: "", long_valued: &[], paging: "", paging_value: None };

    /// It may always need the terminal.
    pub(super) const NEEDED: Self = Self { otherwise: true, ..Self::FREE };

    /// It needs no terminal, but where a rule says so.
    pub(super) const fn free_but(rules: &'static [Rule]) -> Self {
        Self { rules, ..Self::FREE }
    }

    /// It may need the terminal, but where a rule says otherwise.
    pub(super) const fn needed_but(rules: &'static [Rule]) -> Self {
        Self { rules, ..Self::NEEDED }
    }

    /// The same, of a program with these options before its operands.
    pub(super) const fn valued(self, valued: &'static str, long_valued: &'static [&'static str]) -> Self {
        Self { valued, long_valued, ..self }
    }

    /// The same, of a program that starts a pager if one of these options, or a value that begins so, stands
    /// before its first operand.
    pub(super) const fn paging(self, letters: &'static str, value: &'static str) -> Self {
        Self { paging: letters, paging_value: Some(value), ..self }
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

    /// Whether a command of these arguments may need the terminal.
    pub(crate) fn is_needed(&self, arguments: &[&[u8]]) -> bool {
        // Help is often a man page in a pager.
        if arguments.contains(&b"--help".as_slice()) {
            return *self != Self::FREE;
        }
        if self.asks_for_pager(arguments) {
            return true;
        }
        let operands = self.operands(arguments);
        let fits = |rule: &&Rule| {
            let mut words = rule.command.split(' ').filter(|word| !word.is_empty());
            let mut first = operands.iter();
            operands.len() >= rule.operands
                && words.all(|word| first.next() == Some(&word.as_bytes()))
                && rule.with.iter().all(|group| self.has(arguments, group))
        };
        self.rules.iter().find(fits).map_or(self.otherwise, |rule| rule.needs)
    }

    /// Whether one of a group of options is among the words.
    fn has(&self, arguments: &[&[u8]], group: &'static [&'static str]) -> bool {
        let end = arguments.iter().position(|word| *word == b"--");
        let arguments = &arguments[..end.unwrap_or(arguments.len())];
        let as_it_is = group.iter().any(|option| match option.as_bytes() {
            end @ [b'@', ..] => arguments.iter().any(|word| word.ends_with(end)),
            // Short ones are looked for with their values in mind.
            option => option.len() > 2 && arguments.contains(&option),
        });
        as_it_is || Stdout::With { options: group, valued: self.valued, to_file: &[] }.is_told_by(arguments)
    }

    /// What is no option, and no value of one.
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
