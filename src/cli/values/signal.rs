//! Signals.

use super::ValueError;
use crate::policy::signal::Signal;

/// Reads a signal: `TERM`, `SIGTERM`, `15`, in any case.
pub(crate) fn signal(text: &str) -> Result<Signal, ValueError> {
    let hint = "a signal is a name or number, such as TERM, SIGTERM or 15; kill -l lists them";
    Signal::parse(text).ok_or_else(|| ValueError::new("no such signal", hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_a_name_or_a_number() {
        for text in ["TERM", "sigterm", "15"] {
            assert_eq!(signal(text), Ok(Signal::TERM), "{text}");
        }
        for text in ["", "0", "999", "TERMINATE", "-9"] {
            assert_eq!(signal(text).unwrap_err().cause, "no such signal", "{text}");
        }
    }
}
