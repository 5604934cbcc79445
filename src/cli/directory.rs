//! The home of shared state, from `--state` or the environment.

use std::ffi::CString;
use std::sync::Arc;

use super::args::Args;
use super::values::{StatePlace, ValueError, state_place};
use crate::error::Error;
use crate::state::file::place::{Home, VARIABLE, own_directory, variable};
use crate::state::redis::{CREDENTIALS, Server};

/// The home of shared state.
///
/// # Errors
/// A wrong URL in RETRY_STATE. The parser of `--state` refuses one there.
pub(crate) fn home(args: &Args, environment: &[CString]) -> Result<Home, Error> {
    let named = match (&args.shared.state, variable(VARIABLE, environment)) {
        (Some(given), _) => Some(given.clone()),
        (None, None) => None,
        (None, Some(named)) => {
            Some(state_place(named.into()).map_err(|ValueError { cause, hint, .. }| {
                Error::usage(format!("the variable {VARIABLE}: {cause}"), hint)
            })?)
        }
    };
    Ok(match named {
        Some(StatePlace::Directory(directory)) => Home::directory(&directory),
        Some(StatePlace::Server(address)) => {
            let credentials = variable(CREDENTIALS, environment);
            let server = Some(Arc::new(Server { address, credentials }));
            Home { directory: own_directory(environment), server }
        }
        None => Home { directory: own_directory(environment), server: None },
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_option_outranks_the_variable() {
        let environment = [c"RETRY_STATE=/from/variable".to_owned(), c"HOME=/h".to_owned()];
        let mut args = Args::default();
        assert_eq!(home(&args, &environment).unwrap().directory, Path::new("/from/variable"));
        args.shared.state = Some(StatePlace::Directory("/from/option".into()));
        assert_eq!(home(&args, &environment).unwrap().directory, Path::new("/from/option"));
        assert_eq!(
            home(&Args::default(), &environment[1..]).unwrap().directory,
            Path::new("/h/.local/state/retry")
        );
    }

    #[test]
    fn with_a_server_the_files_in_reserve_are_where_they_are_without_it() {
        let environment = [
            c"RETRY_STATE=redis://u:p@h".to_owned(),
            c"HOME=/h".to_owned(),
            c"RETRY_STATE_AUTH=/a".to_owned(),
        ];
        let Home { directory, server } = home(&Args::default(), &environment).unwrap();
        let server = server.unwrap();
        assert_eq!(directory, Path::new("/h/.local/state/retry"));
        assert_eq!(
            (server.address.to_string(), server.credentials.as_deref()),
            ("redis://h:6379".into(), Some(Path::new("/a")))
        );
    }

    #[test]
    fn an_error_in_the_variable_names_the_variable() {
        let environment = [c"RETRY_STATE=http://SECRET".to_owned()];
        let error = home(&Args::default(), &environment).unwrap_err();
        assert!(error.to_string().starts_with("the variable RETRY_STATE:"), "{error}");
        assert!(!format!("{error:?}").contains("SECRET"));
        assert!(home(&Args::default(), &[]).is_ok());
    }
}
