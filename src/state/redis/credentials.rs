//! The user and the password for a server, from a file or from the URL.
//!
//! The file has the rules of ssh for a key, with one exception. ssh refuses a key that others can
//! read. A secret that a container or a service manager mounts belongs to root, and all can read it
//! there; its user cannot change that. So retry accepts a file of root that others can read. It
//! refuses a file that others can write, and a file of a third user.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::{FileStat, Mode, fstat};
use nix::unistd::geteuid;

use super::Server;
use super::address::Secret;
use super::trouble::Trouble;
use crate::error::errno;
use crate::state::file::private::is_file;

/// The largest file, in bytes.
const LARGEST: u64 = 4096;

/// What a run says to a server about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Secret,
}

impl Login {
    /// The login for a server. None if the user has given no name and no password. A name without a
    /// password is a login too, with an empty password: a user that needs none accepts any.
    ///
    /// # Errors
    /// If the file of the password cannot be used.
    pub(super) fn of(server: &Server) -> Result<Option<Self>, Trouble> {
        let user = server.address.user.clone();
        if let Some(path) = &server.credentials {
            let Self { user: named, password } = read(path)?;
            return Ok(Some(Self { user: named.or(user), password }));
        }
        Ok(match (user, server.address.password.clone()) {
            (None, None) => None,
            (user, password) => {
                Some(Self { user, password: password.unwrap_or_else(|| Secret(String::new())) })
            }
        })
    }
}

/// Reads `password` or `user:password` from the first line of a file.
fn read(path: &Path) -> Result<Login, Trouble> {
    let unusable = |why: &'static str| Trouble::Credentials { path: path.to_owned(), why };
    let failed = |errno| Trouble::CredentialsUnread { path: path.to_owned(), errno };
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty()).map_err(failed)?);
    let stat = fstat(&file).map_err(failed)?;
    if let Some(why) = fault(&stat, geteuid().as_raw()) {
        return Err(unusable(why));
    }
    let mut bytes = Vec::new();
    let read = file.take(LARGEST + 1).read_to_end(&mut bytes);
    read.map_err(|error| failed(errno(&error)))?;
    parse(&bytes).map_err(unusable)
}

/// Why a file of this kind, owner and mode is not safe for a password of `user`.
fn fault(stat: &FileStat, user: u32) -> Option<&'static str> {
    let shared = |bits: Mode| Mode::from_bits_truncate(stat.st_mode).intersects(bits);
    match stat.st_uid {
        _ if !is_file(stat) => Some("not a regular file"),
        0 if shared(Mode::S_IWGRP | Mode::S_IWOTH) => Some("other users can write to it"),
        0 => None,
        owner if owner != user && user != 0 => Some("it belongs to another user"),
        _ if shared(Mode::S_IRWXG | Mode::S_IRWXO) => Some("other users can read or write it"),
        _ => None,
    }
}

fn parse(bytes: &[u8]) -> Result<Login, &'static str> {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = std::str::from_utf8(line).map_err(|_| "its first line is not UTF-8")?;
    let (user, password) = match text.split_once(':') {
        Some((user, password)) => (Some(user.to_owned()).filter(|user| !user.is_empty()), password),
        None => (None, text),
    };
    match password {
        "" => Err("there is no password in its first line"),
        _ if bytes.len() as u64 > LARGEST => Err("it is too large"),
        password => Ok(Login { user, password: Secret(password.to_owned()) }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_line_is_a_password_or_a_user_and_a_password() {
        let read = |text: &str| {
            parse(text.as_bytes()).map(|Login { user, password: Secret(password) }| (user, password))
        };
        let login = |user: Option<&str>, password: &str| Ok((user.map(str::to_owned), password.to_owned()));
        assert_eq!(read("secret"), login(None, "secret"));
        assert_eq!(read("secret\r\nmore\n"), login(None, "secret"));
        assert_eq!(read("u:se:cret\n"), login(Some("u"), "se:cret"));
        assert_eq!(read(":se:cret"), login(None, "se:cret"));
        assert!(read("").is_err() && read("u:\n").is_err() && read("\nsecret").is_err());
        assert!(read(&"x".repeat(5000)).is_err());
        assert!(parse(b"\xff").is_err());
    }

    #[test]
    fn a_file_that_others_can_change_is_refused() {
        let stat = |kind: u32, mode: u32, owner: u32| {
            let directory = tempfile::tempdir().unwrap();
            let mut stat = fstat(File::open(directory.path()).unwrap()).unwrap();
            (stat.st_mode, stat.st_uid) = (kind | mode, owner);
            stat
        };
        let file = libc::S_IFREG;
        for (stat, user, safe) in [
            (stat(file, 0o600, 7), 7, true),
            (stat(file, 0o400, 7), 7, true),
            (stat(file, 0o400, 7), 0, true),
            (stat(file, 0o640, 7), 7, false),
            (stat(file, 0o604, 7), 7, false),
            (stat(file, 0o620, 7), 7, false),
            (stat(file, 0o600, 8), 7, false),
            (stat(file, 0o644, 0), 7, true),
            (stat(file, 0o644, 0), 0, true),
            (stat(file, 0o664, 0), 7, false),
            (stat(file, 0o646, 0), 7, false),
            (stat(libc::S_IFDIR, 0o700, 7), 7, false),
        ] {
            assert_eq!(fault(&stat, user).is_none(), safe, "{:o} {} {user}", stat.st_mode, stat.st_uid);
        }
    }

    #[test]
    fn a_file_names_itself_in_its_errors() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("redis");
        let errno = nix::errno::Errno::ENOENT;
        assert_eq!(read(&path), Err(Trouble::CredentialsUnread { path: path.clone(), errno }));
        std::fs::write(&path, "secret\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o602)).unwrap();
        assert!(matches!(read(&path), Err(Trouble::Credentials { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read(&path).unwrap().password, Secret("secret".into()));
    }
}
