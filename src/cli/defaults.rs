//! The default of each option, once: the product takes the values from here, and help, man page,
//! completions and README show their texts.

use std::fmt;
use std::num::{NonZeroU8, NonZeroU32};
use std::time::Duration;

use clap::ValueEnum;

use super::values::{BackoffName, CiName, JitterName, StdinName};
use crate::policy::signal::Signal;

pub(crate) const MAX_ATTEMPTS: NonZeroU32 = NonZeroU32::new(5).expect("5 is not 0");
pub(crate) const SUCCESSES: NonZeroU32 = NonZeroU32::MIN;
pub(crate) const SIGNAL: Signal = Signal::TERM;
pub(crate) const KILL_AFTER: Length = Length::Seconds(5);
pub(crate) const DELAY: Length = Length::Seconds(1);
pub(crate) const JITTER: JitterName = JitterName::Full;
pub(crate) const BACKOFF: BackoffName = BackoffName::Exponential;
pub(crate) const FACTOR: f64 = 2.0;
pub(crate) const MAX_DELAY: Length = Length::Seconds(60);
pub(crate) const MIN_DELAY: Length = Length::Seconds(0);
pub(crate) const SPLAY: Length = Length::Seconds(0);
pub(crate) const PROFILE: &str = "auto";
pub(crate) const MAX_RETRY_AFTER: Length = Length::Minutes(5);
pub(crate) const BREAKER_FAILURES: NonZeroU32 = NonZeroU32::new(5).expect("5 is not 0");
pub(crate) const BREAKER_OUTCOMES: NonZeroU8 = NonZeroU8::new(20).expect("20 is not 0");
pub(crate) const BREAKER_COOLDOWN: Length = Length::Seconds(30);
pub(crate) const BREAKER_TRIP: Length = Length::Hours(1);
pub(crate) const CLIENTS: NonZeroU32 = NonZeroU32::new(300).expect("300 is not 0");
pub(crate) const CI: CiName = CiName::Auto;
pub(crate) const STDIN: StdinName = StdinName::Replay;
pub(crate) const STDIN_LIMIT: Gibibytes = Gibibytes(1);

/// A duration in the unit in which help shows it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Length {
    Seconds(u64),
    Minutes(u64),
    Hours(u64),
}

impl Length {
    pub(crate) const fn duration(self) -> Duration {
        match self {
            Self::Seconds(count) => Duration::from_secs(count),
            Self::Minutes(count) => Duration::from_mins(count),
            Self::Hours(count) => Duration::from_hours(count),
        }
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seconds(0) | Self::Minutes(0) | Self::Hours(0) => f.write_str("0"),
            Self::Seconds(count) => write!(f, "{count}s"),
            Self::Minutes(count) => write!(f, "{count}m"),
            Self::Hours(count) => write!(f, "{count}h"),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Gibibytes(u64);

impl Gibibytes {
    pub(crate) const fn bytes(self) -> u64 {
        self.0 << 30
    }
}

impl fmt::Display for Gibibytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}GiB", self.0)
    }
}

/// The default of an option as its description shows it.
#[derive(Debug)]
pub(crate) struct DefaultText {
    /// For `-h` and completions.
    pub(crate) brief: Option<String>,
    /// For `--help`, the man page and the README.
    pub(crate) full: String,
}

/// The text for an option, by its long name. None if the option has no default, or its name says
/// it.
pub(crate) fn text(option: &str) -> Option<DefaultText> {
    let default: &dyn fmt::Display = match option {
        "max" => &MAX_ATTEMPTS,
        "successes" => &SUCCESSES,
        "signal" => &SIGNAL,
        "kill-after" => &KILL_AFTER,
        "delay" => &DELAY,
        "jitter" => &choice(&JITTER),
        "backoff" => &choice(&BACKOFF),
        "factor" => &FACTOR,
        "max-delay" => &MAX_DELAY,
        "min-delay" => &MIN_DELAY,
        "splay" => &SPLAY,
        "healthy-after" => &"never",
        "seed" => &"random",
        "retry-on" => &"any failure",
        "profile" => &PROFILE,
        "max-retry-after" => &MAX_RETRY_AFTER,
        "breaker-failures" => &BREAKER_FAILURES,
        "breaker-cooldown" => &BREAKER_COOLDOWN,
        "state" => &"$XDG_STATE_HOME/retry",
        "stdin" => &choice(&STDIN),
        "stdin-limit" => &STDIN_LIMIT,
        "idempotency-key" => &"a fresh UUID",
        "ci" => &choice(&CI),
        "label" => &"its base name",
        _ => return None,
    };
    let default = default.to_string();
    let full = match option {
        "max" => format!("{default}; unlimited with --deadline"),
        "jitter" => format!("{default}; none for a list and for --backoff constant"),
        _ => default.clone(),
    };
    // The line of --retry-on in `-h` has no room for it.
    Some(DefaultText { brief: (option != "retry-on").then_some(default), full })
}

/// The name of a value as it is typed.
fn choice(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::values::{duration, size};

    #[test]
    fn a_text_reads_back_as_the_value() {
        for length in [KILL_AFTER, DELAY, MAX_DELAY, MIN_DELAY, SPLAY, MAX_RETRY_AFTER, BREAKER_COOLDOWN] {
            assert_eq!(duration(&length.to_string()), Ok(length.duration()), "{length}");
        }
        assert_eq!(duration(&BREAKER_TRIP.to_string()), Ok(BREAKER_TRIP.duration()));
        assert_eq!(size(&STDIN_LIMIT.to_string()), Ok(STDIN_LIMIT.bytes()));
    }

    #[test]
    fn a_note_is_for_the_full_help_only() {
        let text = text("max").unwrap();
        assert_eq!(text.brief.as_deref(), Some("5"));
        assert_eq!(text.full, "5; unlimited with --deadline");
    }
}
