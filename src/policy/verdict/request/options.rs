//! Reads the options of a program that matter for its request.

/// What an option says about the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The value is the method.
    Method,
    /// The value is a body, and the method becomes POST.
    Body,
    /// The method becomes GET, HEAD or PUT.
    Idempotent,
    /// The value is a header field.
    Header,
    /// The value is a URL.
    Url,
    /// The words after it are about another request.
    Next,
    /// The value is a setting of the program's configuration file.
    Setting,
    /// The program does not read stdin.
    NoInput,
    /// The value is a file of options, which may say anything; or the program sends nothing.
    Open,
}

/// The options of a program, in the syntax of getopt(3). Options and operands may be mixed.
pub(super) struct Syntax {
    /// The options that matter: the letter, if there is one, and the long name.
    pub(super) options: &'static [(Option<u8>, &'static str, Part)],
    /// The letters of all options with a value.
    pub(super) valued: &'static [u8],
    /// The long names of all options with a value, separated by spaces. They are not abbreviated.
    pub(super) long_valued: &'static str,
    /// A beginning of long options that changes nothing here.
    pub(super) prefix: &'static str,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word<'a> {
    /// An option that matters. An option without a value has an empty one.
    Option(Part, &'a [u8]),
    Operand(&'a [u8]),
}

impl Syntax {
    /// The options that matter, and the operands. None if a long option is an abbreviation of one
    /// that matters.
    pub(super) fn read<'a>(&self, arguments: &[&'a [u8]]) -> Option<Vec<Word<'a>>> {
        let mut read = Vec::new();
        let mut words = arguments.iter().copied();
        while let Some(word) = words.next() {
            match word {
                b"--" => read.extend(words.by_ref().map(Word::Operand)),
                [b'-', b'-', long @ ..] => self.long(long, &mut words, &mut read)?,
                [b'-', letters @ ..] if !letters.is_empty() => self.short(letters, &mut words, &mut read),
                operand => read.push(Word::Operand(operand)),
            }
        }
        Some(read)
    }

    fn long<'a>(
        &self,
        word: &'a [u8],
        words: &mut impl Iterator<Item = &'a [u8]>,
        read: &mut Vec<Word<'a>>,
    ) -> Option<()> {
        let word = word.strip_prefix(self.prefix.as_bytes()).unwrap_or(word);
        let end = word.iter().position(|b| *b == b'=');
        let name = &word[..end.unwrap_or(word.len())];
        let takes_value = self.long_valued.split_ascii_whitespace().any(|known| known.as_bytes() == name);
        let value = match end {
            Some(end) => &word[end + 1..],
            None if takes_value => words.next().unwrap_or_default(),
            None => b"",
        };
        let part = self.options.iter().find(|(_, long, _)| long.as_bytes() == name);
        if let Some((.., part)) = part {
            read.push(Word::Option(*part, value));
        } else if !takes_value && self.options.iter().any(|(_, long, _)| long.as_bytes().starts_with(name)) {
            return None;
        }
        Some(())
    }

    /// Reads a bundle of short options: `-sSfd`, `-XPOST`.
    fn short<'a>(
        &self,
        letters: &'a [u8],
        words: &mut impl Iterator<Item = &'a [u8]>,
        read: &mut Vec<Word<'a>>,
    ) {
        for (at, letter) in letters.iter().enumerate() {
            let takes_value = self.valued.contains(letter);
            let value = match &letters[at + 1..] {
                [] if takes_value => words.next().unwrap_or_default(),
                rest if takes_value => rest,
                _ => b"",
            };
            if let Some((.., part)) = self.options.iter().find(|(short, ..)| *short == Some(*letter)) {
                read.push(Word::Option(*part, value));
            }
            if takes_value {
                break;
            }
        }
    }
}
