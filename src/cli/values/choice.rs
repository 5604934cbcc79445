//! Options with a few named values. Help shows the comment on each value.

use clap::ValueEnum;

use crate::policy::delay::jitter::Jitter;
use crate::streams::plan::Held;

/// Values of `--stdin`: the input of every attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StdinName {
    /// the same input, from its beginning
    Replay,
    /// the input that the previous attempt left unread
    Inherit,
    /// nothing
    Null,
}

/// Values of `--hold`: the streams that are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HoldName {
    /// stdout; stderr passes at once
    Stdout,
    /// stdout and stderr, in their order
    Both,
}

impl From<HoldName> for Held {
    fn from(name: HoldName) -> Self {
        match name {
            HoldName::Stdout => Self::Stdout,
            HoldName::Both => Self::Both,
        }
    }
}

/// Values of `--jitter`: how the delay is randomized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum JitterName {
    /// random between 0 and the delay
    Full,
    /// random between half the delay and the delay
    Equal,
    /// random from the first delay to 3 times the previous
    Decorrelated,
    /// random between the delay and twice the delay
    Additive,
    /// the delay, not randomized
    None,
}

impl From<JitterName> for Jitter {
    fn from(name: JitterName) -> Self {
        match name {
            JitterName::Full => Self::Full,
            JitterName::Equal => Self::Equal,
            JitterName::Decorrelated => Self::Decorrelated,
            JitterName::Additive => Self::Additive,
            JitterName::None => Self::None,
        }
    }
}

/// Values of `--backoff`: how the delay grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackoffName {
    /// multiplied by --factor for every retry
    Exponential,
    /// 1, 2, 3, 4 times the first delay
    Linear,
    /// 1, 1, 2, 3, 5 times the first delay
    Fibonacci,
    /// always the first delay
    Constant,
}

/// Values of `--ci`: whether to annotate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CiName {
    /// in GitHub Actions and Azure Pipelines
    Auto,
    /// never
    None,
}
