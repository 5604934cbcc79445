//! The errors of retry itself, by cause. Each is one line, with the causes behind it, and some have
//! a line of advice. The exit status is 125 for all of them.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

/// Why retry itself failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A word of the command line, or a line of a policy, is wrong. Nothing was run.
    #[error("{cause}")]
    Usage { cause: String, hint: String, quote: Option<Quote> },
    /// The system refused something that retry needs.
    #[error("{what}")]
    System {
        what: &'static str,
        #[source]
        errno: Errno,
    },
    /// The system refused something that the next attempt needs. Nothing of that attempt has run.
    #[error("{what}")]
    Unprepared {
        what: &'static str,
        #[source]
        errno: Errno,
    },
    /// A record, a key file or a policy cannot be used, and there is nothing to do without it.
    #[error("{}", one_line(cause.as_ref()))]
    State { cause: anyhow::Error, hint: Option<&'static str> },
    /// The reader of a stream (`stdout` or `stderr`) has not taken all output of the command.
    #[error("the command has ended, but the reader of its {stream} did not read all of it")]
    Unread { stream: &'static str },
    /// The command succeeded, but retry could not hold all of `what` in this directory. `hint` says
    /// whether another directory may help.
    #[error("the command succeeded, but retry could not keep its {what} in {}", directory.display())]
    Unkept {
        what: &'static str,
        directory: PathBuf,
        #[source]
        errno: Errno,
        hint: bool,
    },
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

    /// The text at fault, if the error points at a place in it.
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

    /// Advice for the user.
    pub(crate) fn hint(&self) -> Option<&str> {
        match self {
            Self::Usage { hint, .. } => Some(hint),
            Self::State { hint, .. } => *hint,
            Self::Unkept { hint: true, .. } => Some("set TMPDIR to use another directory"),
            Self::Unkept { hint: false, .. }
            | Self::System { .. }
            | Self::Unprepared { .. }
            | Self::Unread { .. } => None,
        }
    }

    /// Marks an error of the system as one that kept an attempt from beginning.
    pub(crate) fn before_attempt(self) -> Self {
        match self {
            Self::System { what, errno } => Self::Unprepared { what, errno },
            other => other,
        }
    }
}

/// An error and its causes, on one line.
pub(crate) fn one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    for cause in std::iter::successors(error.source(), |cause| cause.source()) {
        line.push_str(": ");
        match cause.downcast_ref::<Errno>() {
            // As text, an errno begins with its name: `ENOENT: No such file or directory`.
            Some(errno) => line.push_str(errno.desc()),
            None => line.push_str(&cause.to_string()),
        }
    }
    line
}

/// The errno of an error of the standard library. That library, and others, make some errors
/// themselves; then the kind of the error tells. EIO if it does not.
pub(crate) fn errno(error: &io::Error) -> Errno {
    use io::ErrorKind;

    error.raw_os_error().map_or_else(
        || match error.kind() {
            ErrorKind::NotFound => Errno::ENOENT,
            ErrorKind::PermissionDenied => Errno::EACCES,
            ErrorKind::StorageFull => Errno::ENOSPC,
            ErrorKind::QuotaExceeded => Errno::EDQUOT,
            ErrorKind::FileTooLarge => Errno::EFBIG,
            ErrorKind::ReadOnlyFilesystem => Errno::EROFS,
            ErrorKind::InvalidFilename => Errno::ENAMETOOLONG,
            _ => Errno::EIO,
        },
        Errno::from_raw,
    )
}

/// Adds to an errno what retry was doing.
pub(crate) trait Doing<T> {
    /// Turns an errno into an [`Error::System`].
    ///
    /// # Errors
    /// If `self` is an errno.
    fn doing(self, what: &'static str) -> Result<T, Error>;
}

impl<T> Doing<T> for nix::Result<T> {
    fn doing(self, what: &'static str) -> Result<T, Error> {
        self.map_err(|errno| Error::System { what, errno })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_with_its_causes() {
        let refused = Err::<(), _>(Errno::EACCES).doing("cannot open a pipe").unwrap_err();
        assert_eq!(one_line(&refused), "cannot open a pipe: Permission denied");
        assert_eq!(one_line(&refused.before_attempt()), "cannot open a pipe: Permission denied");
        let inner = Error::System { what: "cannot wait", errno: Errno::ENOMEM };
        let outer = Error::State { cause: inner.into(), hint: None };
        assert_eq!(one_line(&outer), "cannot wait: Out of memory");
        let unkept =
            Error::Unkept { what: "stdout", directory: "/t".into(), errno: Errno::ENOSPC, hint: true };
        assert_eq!(
            one_line(&unkept),
            "the command succeeded, but retry could not keep its stdout in /t: No space left on device"
        );
        assert_eq!(one_line(&Error::usage("no command", "give one")), "no command");
    }

    #[test]
    fn an_error_of_the_library_itself_has_no_errno() {
        assert_eq!(errno(&io::Error::from_raw_os_error(libc::ENOENT)), Errno::ENOENT);
        assert_eq!(errno(&io::Error::other("x")), Errno::EIO);
    }
}
