//! What a piece of evidence says about a retry.

/// The meaning of a line or of an HTTP status for a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// The command may succeed later.
    Retryable,
    /// The command will fail in the same way again.
    Fatal,
}
