//! Why a server cannot be used, in one line each.

use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;

/// Why a server, or a key in it, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("no address for the name {host}: {why}")]
    NoAddress { host: String, why: String },
    #[error("no connection")]
    Unconnected(#[source] Errno),
    #[error("no answer within {} ms", .0.as_millis())]
    Silent(Duration),
    #[error("connection closed by the server")]
    Closed,
    #[error("an answer that is not in the protocol of Redis")]
    Garbage,
    #[cfg(feature = "tls")]
    #[error("no TLS: {0}")]
    Tls(String),
    #[cfg(not(feature = "tls"))]
    #[error("no TLS in this build of retry (its feature tls is off)")]
    NoTls,
    #[error("no password for the user in the URL of the server")]
    NoPassword,
    #[error("{}", refused(code, detail))]
    Refused { code: String, detail: String },
    #[error("key {key} of another program")]
    Foreign { key: String },
    #[error("key {key} is damaged")]
    Damaged { key: String },
    #[error("key {key} of a newer retry (format version {version})")]
    Newer { key: String, version: u64 },
    #[error("too many redirections from server to server")]
    Astray,
    #[error("a node of a cluster, which lists its own keys only")]
    Cluster,
    #[error("no master {master} known to the sentinels")]
    NoMaster { master: String },
    #[error("password file {}: {why}", path.display())]
    Credentials { path: PathBuf, why: &'static str },
    #[error("password file {}", path.display())]
    CredentialsUnread {
        path: PathBuf,
        #[source]
        errno: Errno,
    },
}

impl Trouble {
    /// Whether other keys of the server may do. A user may have rights to some keys only.
    pub(super) fn is_of_key(&self) -> bool {
        match self {
            Self::Foreign { .. } | Self::Damaged { .. } | Self::Newer { .. } => true,
            Self::Refused { code, .. } => code == "NOPERM",
            Self::NoAddress { .. }
            | Self::Unconnected(_)
            | Self::Silent(_)
            | Self::Closed
            | Self::Garbage
            | Self::Astray
            | Self::Cluster
            | Self::NoMaster { .. }
            | Self::NoPassword
            | Self::Credentials { .. }
            | Self::CredentialsUnread { .. } => false,
            #[cfg(feature = "tls")]
            Self::Tls(_) => false,
            #[cfg(not(feature = "tls"))]
            Self::NoTls => false,
        }
    }

    /// Whether the server has become a replica of another one.
    pub(super) fn is_read_only(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "READONLY")
    }

    /// Whether another server may do: the one that the sentinels name now.
    pub(super) fn is_of_this_server(&self) -> bool {
        match self {
            Self::Unconnected(_) | Self::Closed => true,
            Self::Refused { code, .. } => matches!(code.as_str(), "READONLY" | "LOADING" | "MASTERDOWN"),
            Self::NoAddress { .. }
            | Self::Silent(_)
            | Self::Garbage
            | Self::Foreign { .. }
            | Self::Damaged { .. }
            | Self::Newer { .. }
            | Self::Astray
            | Self::Cluster
            | Self::NoMaster { .. }
            | Self::NoPassword
            | Self::Credentials { .. }
            | Self::CredentialsUnread { .. } => false,
            #[cfg(feature = "tls")]
            Self::Tls(_) => false,
            #[cfg(not(feature = "tls"))]
            Self::NoTls => false,
        }
    }
}

/// Words for an error that a server has answered with.
fn refused(code: &str, detail: &str) -> String {
    let known = match code {
        "NOAUTH" => "no password for a server that requires one",
        "WRONGPASS" => "wrong user or password",
        "NOPERM" => return format!("missing rights (NOPERM: {detail})"),
        "OOM" => "no memory left in the server",
        "READONLY" => "a replica, which takes no writes",
        "LOADING" => "a server that still loads its data",
        "MASTERDOWN" => "a replica without its master",
        "MISCONF" => "a server that cannot save its data and refuses writes",
        "BUSY" => "a server that is busy with a script",
        "CLUSTERDOWN" => "a cluster that is down",
        "ASK" | "TRYAGAIN" => "a cluster that is moving the key",
        // The server's own words say more than such a code.
        "ERR" => return format!("error of the server: {detail}"),
        code => return format!("error of the server: {code} {detail}").trim_end().to_owned(),
    };
    format!("{known} ({code})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_server_is_put_into_words() {
        let line = |code: &str, detail: &str| {
            Trouble::Refused { code: code.into(), detail: detail.into() }.to_string()
        };
        assert_eq!(line("READONLY", "You can't write"), "a replica, which takes no writes (READONLY)");
        assert_eq!(line("NOAUTH", "x"), "no password for a server that requires one (NOAUTH)");
        assert_eq!(line("NOPERM", "'set' denied"), "missing rights (NOPERM: 'set' denied)");
        assert_eq!(line("ERR", "DB index is out of range"), "error of the server: DB index is out of range");
        assert_eq!(line("UNBLOCKED", ""), "error of the server: UNBLOCKED");
        assert_eq!(line("NOSCRIPT", "x y"), "error of the server: NOSCRIPT x y");
    }
}
