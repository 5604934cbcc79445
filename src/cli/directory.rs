//! The directory of shared state, from `--state` or the environment.

use std::ffi::CString;
use std::path::PathBuf;

use super::args::Args;
use super::values::{self, ValueError};
use crate::error::Error;
use crate::state::file::place::{self, VARIABLE, variable};

/// The directory of shared state.
///
/// # Errors
/// A URL in RETRY_STATE. The parser of `--state` refuses a URL there.
pub(crate) fn state_directory(args: &Args, environment: &[CString]) -> Result<PathBuf, Error> {
    if args.shared.state.is_none()
        && let Some(named) = variable(VARIABLE, environment)
        && let Err(ValueError { cause, hint, .. }) = values::state_directory(named.into())
    {
        return Err(Error::usage(format!("the variable {VARIABLE}: {cause}"), hint));
    }
    Ok(place::directory(args.shared.state.as_deref(), environment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_outranks_the_variable() {
        let environment = [c"RETRY_STATE=/from/variable".to_owned()];
        let mut args = Args::default();
        assert_eq!(state_directory(&args, &environment).unwrap(), PathBuf::from("/from/variable"));
        args.shared.state = Some("/from/option".into());
        assert_eq!(state_directory(&args, &environment).unwrap(), PathBuf::from("/from/option"));
    }

    #[test]
    fn a_url_in_the_variable_is_an_error_that_names_the_variable() {
        let environment = [c"RETRY_STATE=redis://SECRET".to_owned()];
        let error = state_directory(&Args::default(), &environment).unwrap_err();
        assert!(error.to_string().starts_with("the variable RETRY_STATE:"), "{error}");
        let args = Args::default();
        assert!(!format!("{error:?}").contains("SECRET"));
        assert!(state_directory(&args, &[]).is_ok());
    }
}
