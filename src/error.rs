//! retry's own errors, by cause. Each has one line of cause and, where there is something to do about it,
//! one line of hint; the exit status is 125 whatever the cause.

use std::fmt;
use std::path::PathBuf;

/// What made retry itself fail.
#[derive(Debug)]
pub(crate) enum Error {
    /// A word of the command line is wrong; nothing was run.
    Usage { cause: String, hint: String, quote: Option<Quote> },
    /// The system refused something that retry needs.
    System { what: &'static str, errno: nix::errno::Errno },
    /// The system refused something that the next attempt needs; nothing of that attempt has run.
    Unprepared { what: &'static str, errno: nix::errno::Errno },
    /// What runs share cannot be used, where that is all that was asked for.
    State { cause: String, hint: Option<String> },
    /// Output of a command did not reach its reader on this stream (`stdout` or `stderr`).
    Unread { stream: &'static str },
    /// Output of a command that succeeded could not be held whole: where, and why.
    Unkept { directory: PathBuf, errno: nix::errno::Errno, hint: bool },
}

/// A text and a place in it, in bytes, for a caret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quote {
    pub(crate) text: String,
    pub(crate) at: usize,
}

impl Error {
    pub(crate) fn usage(cause: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { cause: cause.into(), hint: hint.into(), quote: None }
    }

    /// The text at fault, where a place in it is.
    pub(crate) fn quote(&self) -> Option<&Quote> {
        match self {
            Self::Usage { quote, .. } => quote.as_ref(),
            Self::System { .. }
            | Self::Unprepared { .. }
            | Self::State { .. }
            | Self::Unread { .. }
            | Self::Unkept { .. } => None,
        }
    }

    /// What the user can do about it.
    pub(crate) fn hint(&self) -> Option<&str> {
        match self {
            Self::Usage { hint, .. } => Some(hint),
            Self::State { hint, .. } => hint.as_deref(),
            Self::Unkept { hint: true, .. } => Some("set TMPDIR to use another directory"),
            Self::Unkept { hint: false, .. }
            | Self::System { .. }
            | Self::Unprepared { .. }
            | Self::Unread { .. } => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage { cause, .. } | Self::State { cause, .. } => f.write_str(cause),
            Self::Unread { stream } => {
                write!(f, "the command has ended, but its {stream} was not read to the end")
            }
            Self::Unkept { directory, errno, .. } => write!(
                f,
                "the command has ended, but its stdout could not be held in {}: {}",
                directory.display(),
                errno.desc()
            ),
            Self::System { what, errno } | Self::Unprepared { what, errno } => {
                write!(f, "{what}: {}", errno.desc())
            }
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    /// The same, where it means that an attempt could not begin.
    pub(crate) fn before_attempt(self) -> Self {
        match self {
            Self::System { what, errno } => Self::Unprepared { what, errno },
            other => other,
        }
    }
}

/// Names the call that failed.
pub(crate) trait Doing<T> {
    /// Turns an errno into an [`Error::System`] that says what could not be done.
    ///
    /// # Errors
    /// Where `self` is one.
    fn doing(self, what: &'static str) -> Result<T, Error>;
}

impl<T> Doing<T> for nix::Result<T> {
    fn doing(self, what: &'static str) -> Result<T, Error> {
        self.map_err(|errno| Error::System { what, errno })
    }
}
