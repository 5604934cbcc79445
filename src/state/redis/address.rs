//! The URL of a server: `redis://[user@]host[:port][/db]` and its relatives.
//!
//! The text comes from the user and may hold a password, so no error repeats any part of it.

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::net::{SocketAddr, SocketAddrV6};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use nix::net::if_::if_nametoindex;

/// The ports that servers and sentinels listen on by default.
const SERVER_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(pub(super) String);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

/// Where a server is, and which of its databases is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(super) endpoint: Endpoint,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) database: u32,
}

/// The way to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    Tcp(Peer),
    Tls(Peer),
    Unix(PathBuf),
    /// The sentinels know which server is the master of this name.
    Sentinel {
        sentinels: Vec<Peer>,
        master: String,
    },
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) host: String,
    pub(super) port: u16,
}

/// Why a text is not the URL of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("shared state is in a directory, or in a server of Redis or Valkey")]
    Scheme,
    #[error("the URL of the server names no host")]
    Host,
    #[error("the URL of the server has a port that is not a number from 1 to 65535")]
    Port,
    #[error("the URL of the server has a database that is not a number")]
    Database,
    #[error("the URL of the server has a % without two hexadecimal digits, or bytes that are not UTF-8")]
    Escape,
    #[error("the URL of the server has an empty user name or password")]
    Credentials,
    #[error("the URL of the server names no socket")]
    Socket,
    #[error("the URL of the sentinels names no master")]
    Master,
    #[error("the URL of the server has a part that retry does not understand")]
    Rest,
}

impl AddressError {
    /// The form that a URL should have.
    pub(crate) fn hint(self) -> &'static str {
        match self {
            Self::Scheme | Self::Host | Self::Port | Self::Database | Self::Rest => {
                "write redis://HOST, rediss://HOST:PORT/DB, redis+unix:///PATH?db=N or redis+sentinel://HOST,HOST/MASTER"
            }
            Self::Escape => "write a % as %25, and any other special character as its two hexadecimal digits",
            Self::Credentials => {
                "name a user like redis://USER@HOST, and put the password into a file that RETRY_STATE_AUTH names"
            }
            Self::Socket => "write redis+unix:///PATH, or redis+unix:///PATH?db=N",
            Self::Master => "write redis+sentinel://HOST,HOST/MASTER, with the name that the sentinels watch",
        }
    }
}

impl Address {
    /// Reads a URL. `scheme` is the part before `://`, and `rest` the part after it.
    ///
    /// # Errors
    /// If it is not the URL of a server.
    pub(crate) fn parse(scheme: &str, rest: &[u8]) -> Result<Self, AddressError> {
        let rest = std::str::from_utf8(rest).map_err(|_| AddressError::Escape)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (login, hosts) = authority.rsplit_once('@').map_or((None, authority), |(l, h)| (Some(l), h));
        let (user, password) = login.map_or(Ok((None, None)), credentials)?;
        let (endpoint, database) = match scheme.to_ascii_lowercase().as_str() {
            "redis" => (Endpoint::Tcp(Peer::parse(hosts, SERVER_PORT)?), database(rest)?),
            "rediss" => (Endpoint::Tls(Peer::parse(hosts, SERVER_PORT)?), database(rest)?),
            "redis+unix" if hosts.is_empty() => socket(rest)?,
            "redis+unix" => return Err(AddressError::Socket),
            "redis+sentinel" => watched(hosts, rest)?,
            _ => return Err(AddressError::Scheme),
        };
        Ok(Self { endpoint, user, password, database })
    }

    /// Whether the URL has a password in it.
    pub(crate) fn has_password(&self) -> bool {
        self.password.is_some()
    }
}

impl fmt::Display for Address {
    /// The URL without user and password. It reads back as the same address: a character that would
    /// mean something else is escaped.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Endpoint::Tcp(peer) => write!(formatter, "redis://{peer}")?,
            Endpoint::Tls(peer) => write!(formatter, "rediss://{peer}")?,
            Endpoint::Unix(path) => {
                write!(formatter, "redis+unix://{}", escaped(path.as_os_str().as_bytes(), b"/"))?;
            }
            Endpoint::Sentinel { sentinels, master } => {
                let peers: Vec<String> = sentinels.iter().map(ToString::to_string).collect();
                write!(
                    formatter,
                    "redis+sentinel://{}/{}",
                    peers.join(","),
                    escaped(master.as_bytes(), b"")
                )?;
            }
        }
        match (&self.endpoint, self.database) {
            (_, 0) => Ok(()),
            (Endpoint::Unix(_), number) => write!(formatter, "?db={number}"),
            (Endpoint::Tcp(_) | Endpoint::Tls(_) | Endpoint::Sentinel { .. }, number) => {
                write!(formatter, "/{number}")
            }
        }
    }
}

impl Peer {
    /// Reads `host`, `host:port`, `[IPv6]` or `[IPv6]:port`.
    fn parse(text: &str, default: u16) -> Result<Self, AddressError> {
        let (host, port) = match text.strip_prefix('[') {
            Some(literal) => {
                let (host, after) = literal.split_once(']').ok_or(AddressError::Host)?;
                match after.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if after.is_empty() => (host, None),
                    None => return Err(AddressError::Port),
                }
            }
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let host = unescaped_text(host)?;
        if host.is_empty() || host.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(AddressError::Host);
        }
        let port = match port {
            None | Some("") => default,
            Some(port) => number(port).filter(|port| *port != 0).ok_or(AddressError::Port)?,
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        let is_literal = host.contains(':');
        let host = escaped(host.as_bytes(), b":");
        match is_literal {
            true => write!(formatter, "[{host}]:{port}"),
            false => write!(formatter, "{host}:{port}"),
        }
    }
}

impl Peer {
    /// The address, if the host is one: IPv4, or IPv6 with or without a zone (RFC 4007 §11). A zone
    /// is the name or the number of a network interface.
    ///
    /// # Errors
    /// If there is no such interface.
    pub(super) fn address(&self) -> Option<nix::Result<SocketAddr>> {
        if let Ok(address) = self.host.parse() {
            return Some(Ok(SocketAddr::new(address, self.port)));
        }
        let (literal, zone) = self.host.split_once('%')?;
        let address = literal.parse().ok()?;
        let interface = match number(zone).filter(|_| !zone.is_empty()) {
            Some(interface) => Ok(interface),
            None => if_nametoindex(zone),
        };
        Some(interface.map(|interface| SocketAddrV6::new(address, self.port, 0, interface).into()))
    }

    /// The host as a certificate names it: a zone means something on this machine only
    /// (RFC 6874 §4).
    #[cfg(feature = "tls")]
    pub(super) fn certified(&self) -> &str {
        let literal = self.host.split_once('%').map(|(literal, _)| literal);
        literal.filter(|literal| literal.contains(':')).unwrap_or(&self.host)
    }
}

/// Reads `user`, `user:password` or `:password`.
fn credentials(text: &str) -> Result<(Option<String>, Option<Secret>), AddressError> {
    let (user, password) = text.split_once(':').map_or((text, None), |(user, word)| (user, Some(word)));
    let user = Some(unescaped_text(user)?).filter(|user| !user.is_empty());
    let password = password.map(unescaped_text).transpose()?.map(Secret);
    match (&user, &password) {
        (None, None) => Err(AddressError::Credentials),
        (_, Some(Secret(password))) if password.is_empty() => Err(AddressError::Credentials),
        (_, _) => Ok((user, password)),
    }
}

/// Reads what follows the host: nothing, `/` or `/db`.
fn database(text: &str) -> Result<u32, AddressError> {
    match text.strip_prefix('/') {
        None if text.is_empty() => Ok(0),
        Some("") => Ok(0),
        Some(text) if text.contains(['/', '?', '#']) => Err(AddressError::Rest),
        Some(text) => number(text).ok_or(AddressError::Database),
        None => Err(AddressError::Rest),
    }
}

/// Reads `/path` or `/path?db=N`.
fn socket(text: &str) -> Result<(Endpoint, u32), AddressError> {
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    let database = match query {
        None => 0,
        Some(query) => {
            let number_of = query.strip_prefix("db=").ok_or(AddressError::Rest)?;
            number(number_of).ok_or(AddressError::Database)?
        }
    };
    let path = unescaped(path)?;
    if path.len() < 2 || path.contains(&0) {
        return Err(AddressError::Socket);
    }
    Ok((Endpoint::Unix(OsString::from_vec(path).into()), database))
}

/// Reads `h1,h2` and `/master` or `/master/db`.
fn watched(hosts: &str, rest: &str) -> Result<(Endpoint, u32), AddressError> {
    let sentinels: Vec<Peer> =
        hosts.split(',').map(|host| Peer::parse(host, SENTINEL_PORT)).collect::<Result<_, _>>()?;
    let rest = rest.strip_prefix('/').ok_or(AddressError::Master)?;
    let (master, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let master = unescaped_text(master)?;
    if master.is_empty() || master.chars().any(char::is_control) {
        return Err(AddressError::Master);
    }
    Ok((Endpoint::Sentinel { sentinels, master }, database(rest)?))
}

/// A decimal number, digits only.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn unescaped_text(text: &str) -> Result<String, AddressError> {
    String::from_utf8(unescaped(text)?).map_err(|_| AddressError::Escape)
}

/// The bytes of a text with percent-escapes (RFC 3986 §2.1).
fn unescaped(text: &str) -> Result<Vec<u8>, AddressError> {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            plain.push(byte);
            continue;
        }
        let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
            return Err(AddressError::Escape);
        };
        plain.push(u8::try_from(high * 16 + low).map_err(|_| AddressError::Escape)?);
    }
    Ok(plain)
}

/// The text with percent-escapes in place of all bytes that may mean something else in a URL, except
/// the `plain` ones.
fn escaped(text: &[u8], plain: &[u8]) -> String {
    let escape = |shown: &mut String, bytes: &[u8]| {
        for byte in bytes {
            // A String takes all that is written into it.
            let _ = write!(shown, "%{byte:02X}");
        }
    };
    let mut shown = String::with_capacity(text.len());
    for part in text.utf8_chunks() {
        for character in part.valid().chars() {
            let is_plain = match u8::try_from(character) {
                Ok(byte) if byte.is_ascii() => {
                    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || plain.contains(&byte)
                }
                _ => !character.is_control() && !character.is_whitespace(),
            };
            match is_plain {
                true => shown.push(character),
                false => escape(&mut shown, character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        escape(&mut shown, part.invalid());
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(url: &str) -> Result<Address, AddressError> {
        let (scheme, rest) = url.split_once("://").unwrap();
        Address::parse(scheme, rest.as_bytes())
    }

    #[test]
    fn a_url_is_read_and_shown_without_user_and_password() {
        for (url, shown) in [
            ("redis://cache", "redis://cache:6379"),
            ("REDIS://cache:7/", "redis://cache:7"),
            ("redis://u:p%40w@cache:7/3", "redis://cache:7/3"),
            ("redis://:p@w@cache", "redis://cache:6379"),
            ("redis://[::1]:6380/0", "redis://[::1]:6380"),
            ("redis://[fe80::1%25eth0]", "redis://[fe80::1%25eth0]:6379"),
            ("rediss://u@10.0.0.7", "rediss://10.0.0.7:6379"),
            ("redis+unix:///run/redis.sock", "redis+unix:///run/redis.sock"),
            ("redis+unix://u:p@/run/a%20b?db=2", "redis+unix:///run/a%20b?db=2"),
            (
                "redis+sentinel://a,b:1,[::1]/mymaster/2",
                "redis+sentinel://a:26379,b:1,[::1]:26379/mymaster/2",
            ),
        ] {
            assert_eq!(parse(url).unwrap().to_string(), shown, "{url}");
        }
    }

    fn peers() -> impl Strategy<Value = Peer> {
        let hosts = ["[^\\p{C}\\s]{1,8}", "fe80::[0-9a-f]{1,4}(%[a-z0-9.%]{1,6})?"];
        let hosts = prop_oneof![hosts[0], hosts[1]];
        (hosts, 1_u16..).prop_map(|(host, port)| Peer { host, port })
    }

    fn endpoints() -> impl Strategy<Value = Endpoint> {
        let path = prop::collection::vec(1_u8.., 1..20)
            .prop_map(|bytes| Endpoint::Unix(OsString::from_vec([&b"/"[..], &bytes].concat()).into()));
        let sentinels = (prop::collection::vec(peers(), 1..4), "[^\\p{Cc}]{1,8}")
            .prop_map(|(sentinels, master)| Endpoint::Sentinel { sentinels, master });
        prop_oneof![peers().prop_map(Endpoint::Tcp), peers().prop_map(Endpoint::Tls), path, sentinels]
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(endpoint in endpoints(), database in any::<u32>()) {
            let address = Address { endpoint, user: None, password: None, database };
            let shown = address.to_string();
            prop_assert!(!shown.contains(|c: char| c.is_control() || c.is_whitespace()), "{shown}");
            prop_assert_eq!(parse(&shown), Ok(address), "{}", shown);
        }
    }

    #[test]
    fn a_zone_is_an_interface() {
        let address = |host: &str| Peer { host: host.to_owned(), port: 7 }.address();
        let own = if_nametoindex("lo").unwrap();
        let zoned = |scope| SocketAddr::from(SocketAddrV6::new("fe80::1".parse().unwrap(), 7, 0, scope));
        assert_eq!(address("fe80::1%lo"), Some(Ok(zoned(own))));
        assert_eq!(address("fe80::1%4321"), Some(Ok(zoned(4321))));
        assert_eq!(address("127.0.0.1"), Some(Ok("127.0.0.1:7".parse().unwrap())));
        assert_eq!(address("::1"), Some(Ok("[::1]:7".parse().unwrap())));
        assert!(matches!(address("fe80::1%no-such-if"), Some(Err(_))));
        assert!(matches!(address("fe80::1%"), Some(Err(_))));
        assert_eq!((address("host"), address("10.0.0.1%lo"), address("a%b")), (None, None, None));
    }

    #[test]
    fn user_and_password_are_read() {
        let read = |url| {
            let address = parse(url).unwrap();
            (address.user, address.password.map(|Secret(text)| text))
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(read("redis://u@h"), (text("u"), None));
        assert_eq!(read("redis://u%3A:p%2F:@h"), (text("u:"), text("p/:")));
        assert_eq!(read("redis://:p@h"), (None, text("p")));
        let address = parse("redis://u:HIDDEN@h").unwrap();
        assert!(address.has_password() && !format!("{address:?} {address}").contains("HIDDEN"));
    }

    #[test]
    fn another_text_is_an_error_that_names_its_part() {
        use AddressError as E;
        for (url, error) in [
            ("http://h", E::Scheme),
            ("redis://", E::Host),
            ("redis://[::1", E::Host),
            ("redis://a b", E::Host),
            ("redis://a%0ab", E::Host),
            ("redis://h:0", E::Port),
            ("redis://h:65536", E::Port),
            ("redis://::1", E::Host),
            ("redis://[::1]6", E::Port),
            ("redis://h/x", E::Database),
            ("redis://h/-1", E::Database),
            ("redis://h/1/2", E::Rest),
            ("redis://h?timeout=1", E::Rest),
            ("redis://h/1#x", E::Rest),
            ("redis://%zz", E::Escape),
            ("redis://%ff", E::Escape),
            ("redis://@h", E::Credentials),
            ("redis://u:@h", E::Credentials),
            ("redis+unix://", E::Socket),
            ("redis+unix:///", E::Socket),
            ("redis+unix://run/redis.sock", E::Socket),
            ("redis+unix:///s?x=1", E::Rest),
            ("redis+unix:///s?db=x", E::Database),
            ("redis+sentinel://h", E::Master),
            ("redis+sentinel://h/", E::Master),
            ("redis+sentinel://h,,g/m", E::Host),
        ] {
            assert_eq!(parse(url), Err(error), "{url}");
            assert!(!error.hint().is_empty());
        }
    }
}
