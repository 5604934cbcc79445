//! Signals, by number and by name.

use std::fmt;

/// A signal number of this system. Real-time signals are included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Signal(i32);

/// The real-time signals that glibc leaves to programs (signal(7)).
const REALTIME: std::ops::RangeInclusive<i32> = 34..=64;

impl Signal {
    pub(crate) const INT: Self = Self(2);
    pub(crate) const QUIT: Self = Self(3);
    pub(crate) const KILL: Self = Self(9);
    pub(crate) const PIPE: Self = Self(13);
    pub(crate) const TERM: Self = Self(15);

    /// Valid numbers are 1 to 31 and 34 to 64.
    pub(crate) fn new(number: i32) -> Option<Self> {
        ((1..=31).contains(&number) || REALTIME.contains(&number)).then_some(Self(number))
    }

    /// A signal that the kernel reported.
    pub(crate) fn reported(number: i32) -> Self {
        Self(number)
    }

    /// Reads `TERM`, `SIGTERM`, `15`, `RTMIN+1` or `RTMAX-1`. Case does not matter.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return Self::new(text.parse().ok()?);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let offset = |rest: &str, sign: char| -> Option<i32> {
            if rest.is_empty() {
                return Some(0);
            }
            let digits = rest.strip_prefix(sign)?;
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
        };
        if let Some(rest) = name.strip_prefix("RTMIN") {
            return Self::new(REALTIME.start().checked_add(offset(rest, '+')?)?)
                .filter(|s| REALTIME.contains(&s.0));
        }
        if let Some(rest) = name.strip_prefix("RTMAX") {
            return Self::new(REALTIME.end().checked_sub(offset(rest, '-')?)?)
                .filter(|s| REALTIME.contains(&s.0));
        }
        (1..=31).map(Self).find(|s| s.name() == Some(name))
    }

    pub(crate) fn number(self) -> i32 {
        self.0
    }

    /// The exit status that shells and timeout(1) report: 128 + number.
    pub(crate) fn status(self) -> u8 {
        u8::try_from(128 + self.0).unwrap_or(u8::MAX)
    }

    fn name(self) -> Option<&'static str> {
        let signal = nix::sys::signal::Signal::try_from(self.0).ok()?;
        signal.as_str().strip_prefix("SIG")
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None if self.0 == *REALTIME.start() => f.write_str("RTMIN"),
            None if REALTIME.contains(&self.0) => write!(f, "RTMIN+{}", self.0 - REALTIME.start()),
            None => write!(f, "signal {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_by_name_and_number_in_any_case() {
        for text in ["TERM", "SIGTERM", "15", "term", "SigTerm", "015"] {
            assert_eq!(Signal::parse(text), Some(Signal::TERM), "{text}");
        }
        assert_eq!(Signal::parse("RTMIN+6").map(Signal::number), Some(40));
        assert_eq!(Signal::parse("rtmax").map(Signal::number), Some(64));
        for text in [
            "",
            "0",
            "32",
            "33",
            "65",
            "-1",
            "+15",
            "FOO",
            "SIG",
            "SIGSIGTERM",
            "RTMIN+31",
            "RTMIN+",
            "RTMAX-99",
            "RTMIN-1",
        ] {
            assert_eq!(Signal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_signal_reads_back_as_it_is_shown() {
        for number in (1..=31).chain(REALTIME) {
            let signal = Signal::new(number).unwrap();
            assert_eq!(Signal::parse(&signal.to_string()), Some(signal));
        }
    }
}
