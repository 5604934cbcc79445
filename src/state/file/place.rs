//! The files of records: one directory for all, and a file in it for each name.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;

use nix::unistd::getuid;

use crate::error::errno;
use crate::policy::environment::value;
use crate::state::redis::Server;
use crate::state::redis::key;
use crate::state::store::StoreError;

/// The ending of a record's file.
const ENDING: &str = ".json";

/// The variable that names the directory of records, or their server.
pub(crate) const VARIABLE: &str = "RETRY_STATE";

/// The home of shared state: where the records of all names are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Home {
    /// retry's own directory. With a server, it is in reserve.
    pub(crate) directory: PathBuf,
    /// The server that keeps the records for all hosts.
    pub(crate) server: Option<Arc<Server>>,
}

impl Home {
    /// A directory that the user has named.
    pub(crate) fn directory(given: &Path) -> Self {
        Self { directory: absolute(given).unwrap_or_else(|_| given.to_owned()), server: None }
    }
}

/// A name, and the place of its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) name: String,
    /// The file of the record. With a server, it is in reserve.
    pub(crate) path: PathBuf,
    /// retry's own directory, which retry may make. None if the name is a path.
    pub(crate) directory: Option<PathBuf>,
    /// The server that keeps the record. None if a file does.
    pub(crate) server: Option<Arc<Server>>,
}

impl Place {
    /// The place of a name in this home. A name that is a path is that file itself, for this
    /// machine alone.
    pub(crate) fn new(name: &str, home: &Home) -> Self {
        if is_path(name) {
            let path = absolute(name).unwrap_or_else(|_| name.into());
            return Self { name: name.to_owned(), path, directory: None, server: None };
        }
        Self {
            name: name.to_owned(),
            path: home.directory.join(format!("{name}{ENDING}")),
            directory: Some(home.directory.clone()),
            server: home.server.clone(),
        }
    }

    /// The place in words: the path of the file, or the server and the key.
    pub(crate) fn shown(&self) -> String {
        match &self.server {
            None => self.path.to_string_lossy().into_owned(),
            Some(server) => format!("{}, key {}", server.address, key(&self.name)),
        }
    }
}

/// Whether a name is the path of a file: `/x`, `./x`, `../x`.
pub(crate) fn is_path(name: &str) -> bool {
    ["/", "./", "../"].iter().any(|begin| name.starts_with(begin))
}

/// The directory of records that the user has not named: `retry` in XDG_STATE_HOME.
pub(crate) fn own_directory(environment: &[CString]) -> PathBuf {
    base("XDG_STATE_HOME", ".local/state", environment).join("retry")
}

/// A base directory of the user (XDG Base Directory Specification): the one in the variable, or
/// else the one below the home directory. The home directory is that of HOME, or else that of the
/// password database, or else `/`.
pub(crate) fn base(name: &str, below_home: &str, environment: &[CString]) -> PathBuf {
    let variable = |name| variable(name, environment);
    // The specification says to ignore a relative path.
    if let Some(base) = variable(name).filter(|path| path.is_absolute()) {
        return base;
    }
    let known = || home_of(getuid().as_raw());
    let home = variable("HOME").filter(|path| path.is_absolute()).or_else(known);
    home.unwrap_or_else(|| "/".into()).join(below_home)
}

/// The path in a variable. None if the variable is not set, or is empty.
pub(crate) fn variable(name: &str, environment: &[CString]) -> Option<PathBuf> {
    let path = value(environment, name).filter(|value| !value.is_empty())?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(path)))
}

/// The home directory of a user in the password database.
///
/// /etc/passwd comes first. Only a dynamic build asks the C library for the users of other
/// databases, such as LDAP. getpwuid(3) loads a shared library for each of them (nsswitch.conf(5)),
/// and a static program that loads a library of another glibc version may crash.
fn home_of(user: u32) -> Option<PathBuf> {
    let local = fs::read("/etc/passwd").ok().and_then(|text| home_in(&text, user));
    #[cfg(not(target_feature = "crt-static"))]
    let local = local.or_else(|| {
        let found = nix::unistd::User::from_uid(user.into()).ok().flatten();
        found.map(|user| user.dir)
    });
    local
}

/// The home directory of a user in the text of a passwd(5) file.
fn home_in(passwd: &[u8], user: u32) -> Option<PathBuf> {
    let homes = passwd.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':').skip(2);
        let id: u32 = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let home = fields.nth(2)?;
        (id == user).then(|| PathBuf::from(std::ffi::OsStr::from_bytes(home)))
    });
    // getpwuid(3) returns the first entry of a user, too.
    homes.into_iter().next().filter(|home| home.is_absolute())
}

/// All records in a directory, by name. If there is no such directory, there are no records.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn listed(directory: &Path) -> Result<Vec<Place>, StoreError> {
    let home = Home { directory: directory.to_owned(), server: None };
    let failed = |error: io::Error| {
        let path = directory.to_owned();
        StoreError::System { doing: "read", path, errno: errno(&error) }
    };
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut places = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        if let Some(name) = name.to_str().and_then(|name| name.strip_suffix(ENDING)) {
            places.push(Place::new(name, &home));
        }
    }
    places.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(environment: &[&str]) -> PathBuf {
        let environment: Vec<_> = environment.iter().map(|entry| CString::new(*entry).unwrap()).collect();
        own_directory(&environment)
    }

    #[test]
    fn the_directory_is_where_xdg_has_it() {
        assert_eq!(found(&["HOME=/h", "XDG_STATE_HOME=/x"]), Path::new("/x/retry"));
        assert_eq!(found(&["HOME=/h"]), Path::new("/h/.local/state/retry"));
        assert_eq!(found(&["HOME=/h", "XDG_STATE_HOME=x"]), Path::new("/h/.local/state/retry"));
        // getenv(3) returns the first value of a name that is there twice, too.
        assert_eq!(found(&["HOME=/a", "HOME=/b"]), Path::new("/a/.local/state/retry"));
        assert!(found(&[]).ends_with(".local/state/retry"));
        assert!(found(&["HOME="]).is_absolute());
        assert!(Home::directory(Path::new("s")).directory.is_absolute());
    }

    #[test]
    fn a_home_is_the_sixth_field_of_the_first_entry() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\n# 7:7:7\n+::::::\nshort:x:7\nbad:x:-7:7::/bad:\n\
                       one:x:7:8:One, \xff:/home/one:/bin/sh\ntwo:x:7:8::/home/two:\nbare:x:9:9::relative:\nlast:x:10:10::/last";
        let home = |user| home_in(passwd, user);
        assert_eq!(home(0).as_deref(), Some(Path::new("/root")));
        assert_eq!(home(7).as_deref(), Some(Path::new("/home/one")));
        assert_eq!(home(10).as_deref(), Some(Path::new("/last")));
        assert_eq!((home(8), home(9), home_in(b"", 0)), (None, None, None));
    }

    #[test]
    fn a_name_is_a_file_in_it_and_a_path_is_that_file() {
        let home = Home::directory(Path::new("/s"));
        let place = |name: &str| Place::new(name, &home).path;
        assert_eq!(place("payments"), Path::new("/s/payments.json"));
        assert_eq!(place(".."), Path::new("/s/...json"));
        assert_eq!(place("/var/x.json"), Path::new("/var/x.json"));
        assert!(place("./x").is_absolute() && place("./x").ends_with("x"));
    }
}
