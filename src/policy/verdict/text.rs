//! Regular expressions over lines, in the syntax of Rust's regex crate, over bytes.
//!
//! A search covers a piece of the stream with many lines. Each pattern is therefore changed before
//! it is compiled: no part of it can match a line break, and `^`, `$`, `\A` and `\z` match at the
//! ends of a line. A match then lies within one line. A line ends with LF, CR LF, or CR alone
//! (progress bars).

use std::fmt;
use std::ops::Range;

use regex_automata::meta::{Config, Regex};
use regex_automata::{Input, MatchKind};
use regex_syntax::hir::{
    Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Look,
};
use regex_syntax::{Parser, ParserBuilder};

use crate::policy::stream::Streams;

/// The largest size of a compiled pattern, in bytes. A larger pattern is an error.
const LARGEST: usize = 10 << 20;

/// The largest size of the cache for a search, in bytes for each pattern, and in all. A search whose
/// cache is too small for the patterns takes a hundred times as long.
const CACHE: usize = 512 << 10;
const LARGEST_CACHE: usize = 16 << 20;

/// The approximate size of one state of a compiled pattern, in bytes. See [`Text::states`].
const STATE: usize = 64;

/// A pattern of the user for the lines of a stream.
#[derive(Clone)]
pub(crate) struct Text {
    pub(crate) streams: Streams,
    source: String,
    regex: Regex,
}

impl Text {
    /// # Errors
    /// If the pattern is not a regular expression, is too large, or can match only line breaks.
    pub(crate) fn new(streams: Streams, source: &str) -> Result<Self, PatternError> {
        let regex = compile(&[source], Syntax::Unicode, MatchKind::LeftmostFirst)?;
        Ok(Self { streams, source: source.to_owned(), regex })
    }

    /// An estimate of the number of states. In the worst case a search visits all of them for each
    /// byte.
    pub(crate) fn states(&self) -> usize {
        self.regex.memory_usage() / STATE
    }

    /// Whether a line in the span of a piece matches.
    pub(crate) fn is_match(&self, piece: &[u8], span: Range<usize>) -> bool {
        self.regex.is_match(Input::new(piece).span(span).earliest(true))
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        (self.streams, &self.source) == (other.streams, &other.source)
    }
}

impl Eq for Text {}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}~{}", self.streams, self.source)
    }
}

/// Whether `.`, `\w` and the like match characters or bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    Unicode,
    Bytes,
}

/// Compiles patterns into one. With [`MatchKind::All`] a search finds all patterns that match a
/// line, not only the first.
///
/// # Errors
/// If a pattern cannot be compiled. The error is about the first such pattern.
pub(crate) fn compile(patterns: &[&str], syntax: Syntax, kind: MatchKind) -> Result<Regex, PatternError> {
    let hirs = patterns.iter().map(|pattern| parse(pattern, syntax)).collect::<Result<Vec<_>, _>>()?;
    let config = Config::new()
        .match_kind(kind)
        .utf8_empty(false)
        .nfa_size_limit(Some(LARGEST))
        .hybrid_cache_capacity(LARGEST_CACHE.min(CACHE * patterns.len()))
        .pool_capacity(1);
    Regex::builder().configure(config).build_many_from_hir(&hirs).map_err(|error| {
        let source = patterns.first().copied().unwrap_or_default();
        let cause = match error.size_limit() {
            Some(_) => "the regex is too large when compiled".to_owned(),
            None => error.to_string().lines().next().unwrap_or_default().to_owned(),
        };
        PatternError { cause, pattern: source.to_owned(), at: None }
    })
}

fn parse(pattern: &str, syntax: Syntax) -> Result<Hir, PatternError> {
    let error = |cause: String, at: Option<usize>| PatternError { cause, pattern: pattern.to_owned(), at };
    let mut parser: Parser = ParserBuilder::new()
        .unicode(syntax == Syntax::Unicode)
        .utf8(false)
        .multi_line(true)
        .crlf(true)
        .build();
    let hir = parser.parse(pattern).map_err(|wrong| match wrong {
        regex_syntax::Error::Parse(wrong) => error(wrong.kind().to_string(), Some(wrong.span().start.offset)),
        regex_syntax::Error::Translate(wrong) => {
            error(wrong.kind().to_string(), Some(wrong.span().start.offset))
        }
        wrong => error(wrong.to_string(), None),
    })?;
    let hir = within_a_line(&hir);
    match hir.properties().minimum_len() {
        Some(_) => Ok(hir),
        None => Err(error("it can match no line: a line is matched without its end".into(), None)),
    }
}

/// Changes a pattern so that it matches only within one line.
fn within_a_line(hir: &Hir) -> Hir {
    let is_break = |b: &u8| matches!(b, b'\n' | b'\r');
    match hir.kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) if literal.0.iter().any(is_break) => Hir::fail(),
        HirKind::Literal(literal) => Hir::literal(literal.0.clone()),
        HirKind::Class(Class::Unicode(class)) => {
            let breaks = ['\n', '\r'].map(|c| ClassUnicodeRange::new(c, c));
            let mut without = class.clone();
            without.difference(&ClassUnicode::new(breaks));
            Hir::class(Class::Unicode(without))
        }
        HirKind::Class(Class::Bytes(class)) => {
            let breaks = [b'\n', b'\r'].map(|b| ClassBytesRange::new(b, b));
            let mut without = class.clone();
            without.difference(&ClassBytes::new(breaks));
            Hir::class(Class::Bytes(without))
        }
        HirKind::Look(look) => Hir::look(match look {
            Look::Start | Look::StartLF | Look::StartCRLF => Look::StartCRLF,
            Look::End | Look::EndLF | Look::EndCRLF => Look::EndCRLF,
            look => *look,
        }),
        HirKind::Repetition(repetition) => {
            let sub = within_a_line(&repetition.sub);
            match (sub.properties().minimum_len(), repetition.min) {
                // The repeated part never matches, so only zero repetitions do.
                (None, 0) => Hir::empty(),
                (None, _) => Hir::fail(),
                (Some(_), _) => Hir::repetition(repetition.with(sub)),
            }
        }
        HirKind::Capture(capture) => {
            let mut capture = capture.clone();
            capture.sub = Box::new(within_a_line(&capture.sub));
            Hir::capture(capture)
        }
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(within_a_line).collect()),
        HirKind::Alternation(parts) => {
            let possible = |hir: &Hir| hir.properties().minimum_len().is_some();
            Hir::alternation(parts.iter().map(within_a_line).filter(possible).collect())
        }
    }
}

/// A pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub(crate) struct PatternError {
    cause: String,
    pub(crate) pattern: String,
    /// The place of the fault in the pattern, in bytes.
    pub(crate) at: Option<usize>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::window::{Piece, Window};
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Text::new(Streams::Stdout, pattern).unwrap().is_match(text.as_bytes(), 0..text.len())
    }

    #[test]
    fn a_match_lies_within_one_line() {
        for (pattern, text, expected) in [
            ("b", "a\nb\n", true),
            ("^b$", "a\nb\nc", true),
            ("^b$", "a\r\nb\r\nc", true),
            ("^b$", "10%\rb\r20%", true),
            (r"\Ab\z", "a\nb\nc", true),
            ("(?-m)^b$", "a\nb\nc", true),
            ("(?m-R)^b$", "a\r\nb\r\nc", true),
            (r"a\s+b", "a\nb", false),
            (r"a\s+b", "a  b", true),
            ("a[^x]b", "a\nb", false),
            ("(?s)a.b", "a\nb", false),
            ("(?s)a.*b", "a\r\nb\nc", false),
            (r"a\W", "a\nb", false),
            (r"(?-u)a[\x00-\xff]", "a\n", false),
            ("^$", "a\n\nb", true),
            ("a(?:|b)$", "x\nab\n", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern:?} in {text:?}");
        }
    }

    #[test]
    fn what_stands_around_the_span_is_seen_but_not_matched() {
        let text = Text::new(Streams::Stdout, "^b|b$").unwrap();
        assert!(!text.is_match(b"abc", 1..2));
        assert!(text.is_match(b"\nbc", 1..2));
        assert!(text.is_match(b"ab\n", 1..2));
    }

    #[test]
    fn bytes_that_are_not_utf8_match_as_bytes() {
        let text = Text::new(Streams::Stderr, r"(?-u)\xff\x00b").unwrap();
        assert!(text.is_match(b"a\xff\x00b", 0..4));
        assert!(matches(
            "state: *\"ready\"",
            "{\"state\": \"ready\"}".replace("\"state\"", "state").as_str()
        ));
    }

    #[test]
    fn what_cannot_be_compiled_is_said_with_its_place() {
        let error = |pattern: &str| Text::new(Streams::Stdout, pattern).unwrap_err();
        assert_eq!(
            error("ab(c"),
            PatternError { cause: "unclosed group".into(), pattern: "ab(c".into(), at: Some(2) }
        );
        assert_eq!(error("x{2,1}").at, Some(1));
        assert_eq!(error(r"\p{Nope}").at, Some(0));
        for pattern in ["a\nb", r"a\nb", r"\r", "[\\r\\n]", "(a\\n)+b"] {
            let cause = error(pattern).to_string();
            assert_eq!(cause, "it can match no line: a line is matched without its end", "{pattern}");
        }
        assert!(matches(r"ready\r?$", "ready\r\n") && matches(r"ab|c\n", "ab"));
        assert_eq!(error(r"\w{1000}{1000}").to_string(), "the regex is too large when compiled");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// A search over many lines finds the same as a search over each line.
        #[test]
        fn many_lines_are_searched_as_each_alone(
            pattern in prop::sample::select(vec![
                "^a", "b$", "a.*b", r"a\s*b", "[^b]b", "^$", r"\bab\b", "(?s)a.b", "^a*$", "a|b$", r"\Ab", r"a\z",
            ]),
            lines in prop::collection::vec("[ab ]{0,4}", 0..6),
            ending in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        ) {
            let all = lines.join(ending);
            let each = regex_automata::meta::Regex::new(pattern).unwrap();
            // The text after the last end of a line is not a line if it is empty.
            let expected = all.split_terminator(ending).any(|line| each.is_match(line));
            let text = Text::new(Streams::Stdout, pattern).unwrap();
            let mut found = false;
            let mut search = |piece: Piece<'_>| found |= text.is_match(piece.bytes, piece.span);
            let mut window = Window::default();
            window.push(all.as_bytes(), &mut search);
            window.finish(&mut search);
            prop_assert_eq!(found, expected, "{:?} in {:?}", pattern, all);
        }

        #[test]
        fn no_pattern_panics(pattern in "\\PC{0,20}", text: Vec<u8>) {
            if let Ok(compiled) = Text::new(Streams::Both, &pattern) {
                let _ = compiled.is_match(&text, 0..text.len());
            }
        }
    }
}
