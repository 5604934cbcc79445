//! The way to the server that serves, for all records of a run.
//!
//! A run asks a server that has failed no more: its other records share the link, and so does the
//! renewal of a lease.

use std::net::SocketAddr;
use std::time::Duration;

use redis::{Pipeline, Value};

use super::Server;
use super::address::{Endpoint, Peer};
use super::credentials::Login;
use super::sentinel;
use super::session::{Session, Wire, fine};
use super::trouble::Trouble;
use super::wire::{Fault, Limit, Socket};
use crate::clock::{boot, since_1970};
use crate::policy::admission::moment::Moment;
use crate::state::store::StoreError;
use crate::state::surroundings::Surroundings;

/// A node of a cluster sends retry on to another one at most this often.
const MOST_HOPS: u32 = 3;

/// A server, and the connection to it.
#[derive(Debug)]
pub(crate) struct Link {
    server: Server,
    surroundings: Surroundings,
    session: Option<Session>,
    /// Why the server is not asked any more.
    failure: Option<StoreError>,
    /// The sentinels were asked again, because their master was none.
    asked_again: bool,
    /// Milliseconds that the server's clock is ahead of the time since boot.
    ahead_ms: Option<i64>,
}

impl Link {
    pub(crate) fn new(server: Server, surroundings: Surroundings) -> Self {
        Self { server, surroundings, session: None, failure: None, asked_again: false, ahead_ms: None }
    }

    /// A limit for an exchange that begins now.
    pub(super) fn limit(&self, length: Duration) -> Limit {
        Limit::within(length, &self.surroundings)
    }

    /// The URL of the server, without user and password.
    pub(crate) fn shown(&self) -> String {
        self.server.address.to_string()
    }

    /// Why the server is not asked any more.
    pub(super) fn failure(&self) -> Option<&StoreError> {
        self.failure.as_ref()
    }

    /// The present moment on the server's clock, as far as this run knows it.
    pub(super) fn now(&self) -> Moment {
        match self.ahead_ms {
            Some(ahead_ms) => Moment(boot().now_ms()).shifted(ahead_ms),
            None => Moment(i64::try_from(since_1970().as_millis()).unwrap_or(i64::MAX)),
        }
    }

    /// Milliseconds to add to a time of the server to make it a time since boot.
    pub(super) fn to_boot_ms(&self) -> i64 {
        boot().now_ms().saturating_sub(self.now().0)
    }

    /// Notes the server's present moment.
    pub(super) fn set_now(&mut self, now: Moment) {
        self.ahead_ms = Some(now.0.saturating_sub(boot().now_ms()));
    }

    /// Sends commands that may be sent again, and returns their values. If an old connection has
    /// broken, or another node of the cluster has the key, sends them there.
    ///
    /// # Errors
    /// If the server cannot be used, or answers one of the commands with an error.
    pub(super) fn ask(&mut self, commands: &Pipeline, limit: Limit) -> Result<Vec<Value>, Fault> {
        let (mut is_old, mut hops) = (self.session.is_some(), 0);
        loop {
            let mut session = match self.session.take() {
                Some(session) => session,
                None => self.open(None, limit)?,
            };
            let replies = session.ask(commands, limit);
            // An error of the server is a reply, and the connection serves on.
            if replies.is_ok() {
                self.give_back(session);
            }
            match replies.and_then(|replies| replies.into_iter().map(fine).collect()) {
                Ok(values) => return Ok(values),
                Err(Fault::Trouble(Trouble::Refused { code, detail })) if code == "MOVED" => {
                    hops += 1;
                    if hops > MOST_HOPS {
                        return Err(Trouble::Astray.into());
                    }
                    self.session = Some(self.open(Some(&detail), limit)?);
                    is_old = false;
                }
                Err(Fault::Trouble(trouble)) if is_old && trouble.is_of_this_server() => {
                    (self.session, is_old) = (None, false);
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Sends commands that must not be sent twice, after others. The replies may be errors of the
    /// server.
    ///
    /// # Errors
    /// If the connection does not serve any more.
    pub(super) fn go_on(&mut self, commands: &Pipeline, limit: Limit) -> Result<Vec<Value>, Fault> {
        let mut session = self.session.take().ok_or(Trouble::Closed)?;
        let replies = session.ask(commands, limit)?;
        self.give_back(session);
        Ok(replies)
    }

    /// Whether another server may be asked in place of this one, which is none that can be written.
    /// Once a run at most, and only if there are sentinels to ask.
    pub(super) fn may_ask_again(&mut self, trouble: &Trouble) -> bool {
        let has_sentinels = matches!(self.server.address.endpoint, Endpoint::Sentinel { .. });
        let again = has_sentinels && trouble.is_read_only() && !self.asked_again;
        if again {
            self.asked_again = true;
            self.session = None;
        }
        again
    }

    /// The error for a fault. After a trouble of the server itself, it is not asked any more.
    pub(super) fn error(&mut self, fault: Fault) -> StoreError {
        let trouble = match fault {
            Fault::Interrupted => return StoreError::Interrupted,
            Fault::Trouble(trouble) => trouble,
        };
        // The lease of a record may be renewed on a connection that has brought an error.
        if !matches!(trouble, Trouble::Refused { .. }) {
            self.session = None;
        }
        let error = StoreError::Server { address: self.shown(), trouble };
        self.failure = Some(error.clone());
        error
    }

    /// The connection, for commands that nobody waits for. None if there is none.
    pub(super) fn take_session(&mut self) -> Option<Session> {
        self.session.take()
    }

    /// Takes the connection back, when all replies have come.
    pub(super) fn give_back(&mut self, session: Session) {
        self.session = Some(session).filter(Session::is_in_step);
    }

    /// Closes the connection until it is needed again.
    pub(super) fn close(&mut self) {
        self.session = None;
    }

    /// Opens a session. `moved` is the answer of a node that does not have the key: `SLOT
    /// HOST:PORT`.
    fn open(&self, moved: Option<&str>, limit: Limit) -> Result<Session, Fault> {
        let address = &self.server.address;
        let login = Login::of(&self.server)?;
        let elsewhere = |peer: &Peer| match moved {
            None => Ok(peer.clone()),
            Some(moved) => peer_in(moved, peer),
        };
        let wire = match &address.endpoint {
            Endpoint::Tcp(peer) => Wire::Plain(self.connect(&elsewhere(peer)?, limit)?),
            Endpoint::Tls(peer) => self.encrypt(&elsewhere(peer)?, limit)?,
            Endpoint::Unix(path) => Wire::Plain(Socket::unix(path, limit, &self.surroundings)?),
            Endpoint::Sentinel { sentinels, master } => {
                let peer = sentinel::master(sentinels, master, limit, |peer, question, limit| {
                    self.ask_sentinel(peer, login.as_ref(), question, limit)
                })?;
                Wire::Plain(self.connect(&elsewhere(&peer)?, limit)?)
            }
        };
        Ok(Session::new(wire, login.as_ref(), address.database))
    }

    /// Asks a sentinel without a login, and with the login of the servers if it wants one.
    fn ask_sentinel(
        &self,
        peer: &Peer,
        login: Option<&Login>,
        question: &Pipeline,
        limit: Limit,
    ) -> Result<Vec<Value>, Fault> {
        let wire = || Ok::<_, Fault>(Wire::Plain(self.connect(peer, limit)?));
        let mut replies = Session::new(wire()?, None, 0).ask(question, limit)?;
        let wants_login = matches!(
            replies.first(),
            Some(Value::ServerError(error)) if error.code() == "NOAUTH"
        );
        if wants_login && login.is_some() {
            replies = Session::new(wire()?, login, 0).ask(question, limit)?;
        }
        Ok(replies)
    }

    /// Connects to the first address of a host that accepts. The addresses share the time.
    fn connect(&self, peer: &Peer, limit: Limit) -> Result<Socket, Fault> {
        let addresses = match peer.address() {
            Some(Ok(address)) => vec![address],
            Some(Err(errno)) => {
                let why = format!("its zone is no network interface here: {}", errno.desc());
                return Err(Trouble::NoAddress { host: peer.host.clone(), why }.into());
            }
            None => self.resolve(peer, limit)?,
        };
        let mut last = Trouble::NoAddress { host: peer.host.clone(), why: "unknown".to_owned() }.into();
        for (n, address) in addresses.iter().enumerate() {
            match Socket::tcp(*address, limit.share(addresses.len() - n), &self.surroundings) {
                Err(Fault::Trouble(trouble)) => last = Fault::Trouble(trouble),
                connected => return connected,
            }
        }
        Err(last)
    }

    fn resolve(&self, peer: &Peer, limit: Limit) -> Result<Vec<SocketAddr>, Fault> {
        let host = peer.host.clone();
        let found = (self.surroundings.resolve)(&host, peer.port, limit.left());
        match (found, limit.check()) {
            (_, Err(Fault::Interrupted)) => Err(Fault::Interrupted),
            (found, _) => found.map_err(|why| Trouble::NoAddress { host, why }.into()),
        }
    }

    #[cfg(feature = "tls")]
    fn encrypt(&self, peer: &Peer, limit: Limit) -> Result<Wire, Fault> {
        let socket = self.connect(peer, limit)?;
        Ok(Wire::Encrypted(Box::new(super::tls::encrypted(peer.certified(), socket)?)))
    }

    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unused_self, reason = "a build with TLS needs it")]
    fn encrypt(&self, _peer: &Peer, _limit: Limit) -> Result<Wire, Fault> {
        Err(Trouble::NoTls.into())
    }
}

/// The node in an answer `SLOT HOST:PORT`. An empty host is the one that answered.
fn peer_in(moved: &str, answering: &Peer) -> Result<Peer, Fault> {
    let place = moved.rsplit(' ').next().unwrap_or_default();
    let (host, port) = place.rsplit_once(':').ok_or(Trouble::Garbage)?;
    let port = port.parse().map_err(|_| Trouble::Garbage)?;
    let host = if host.is_empty() { &answering.host } else { host };
    Ok(Peer { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_node_is_read_from_the_answer_of_one() {
        let asked = Peer { host: "here".into(), port: 1 };
        let node = |moved: &str| peer_in(moved, &asked).map(|peer| peer.to_string());
        assert_eq!(node("3999 127.0.0.1:6381").unwrap(), "127.0.0.1:6381");
        assert_eq!(node("3999 ::1:6381").unwrap(), "[::1]:6381");
        assert_eq!(node("3999 :6381").unwrap(), "here:6381");
        for other in ["", "3999", "3999 h:", "3999 h:x", "3999 h:99999"] {
            assert!(node(other).is_err(), "{other}");
        }
    }
}
