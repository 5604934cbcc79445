//! The protocol on one connection: commands in, replies out.
//!
//! The login and the database go out before the first command, in the same packet, so a look at a
//! record costs one round trip.

use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;

use redis::{Parser, Pipeline, Value, pipe};

use super::credentials::Login;
use super::trouble::Trouble;
use super::value;
use super::wire::{Fault, Limit, Socket};

/// The longest text of an error that a server has answered with.
const LONGEST_DETAIL: usize = 200;

/// The way of the bytes.
#[derive(Debug)]
pub(super) enum Wire {
    Plain(Socket),
    #[cfg(feature = "tls")]
    Encrypted(Box<super::tls::Encrypted>),
}

impl Wire {
    fn socket(&mut self) -> &mut Socket {
        match self {
            Self::Plain(socket) => socket,
            #[cfg(feature = "tls")]
            Self::Encrypted(stream) => &mut stream.sock,
        }
    }

    /// The reason for an error of a read or a write.
    fn fault(&mut self, error: &(dyn std::error::Error + 'static)) -> Fault {
        if let Some(fault) = self.socket().take_fault() {
            return fault;
        }
        #[cfg(feature = "tls")]
        if let Self::Encrypted(stream) = self {
            return super::tls::fault(stream, error);
        }
        let _ = error;
        Trouble::Garbage.into()
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            #[cfg(feature = "tls")]
            Self::Encrypted(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            #[cfg(feature = "tls")]
            Self::Encrypted(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            #[cfg(feature = "tls")]
            Self::Encrypted(stream) => stream.flush(),
        }
    }
}

/// A connection that speaks the protocol.
pub(super) struct Session {
    wire: Wire,
    parser: Parser,
    /// The commands that go out before the first one of the user.
    opening: Pipeline,
    /// The login at the beginning of the opening, until its reply has come.
    login: Option<Password>,
    /// The bytes of the replies that are received.
    received: Vec<u8>,
    /// The rest of a value is still to come, and nobody reads it.
    is_cut: bool,
}

/// Whether a login has a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Password {
    Given,
    /// The user may be one that needs none (ACL SETUSER, nopass).
    Missing,
}

impl std::fmt::Debug for Session {
    /// The opening has the password in it.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Session").field("wire", &self.wire).finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(wire: Wire, login: Option<&Login>, database: u32) -> Self {
        let mut opening = pipe();
        if let Some(Login { user, password }) = login {
            let auth = opening.cmd("AUTH");
            if let Some(user) = user {
                auth.arg(user);
            }
            auth.arg(&password.0);
        }
        // A node of a cluster knows database 0 only, and no SELECT.
        if database != 0 {
            opening.cmd("SELECT").arg(database);
        }
        let password =
            |login: &Login| if login.password.0.is_empty() { Password::Missing } else { Password::Given };
        let login = login.map(password);
        Self { wire, parser: Parser::new(), opening, login, received: Vec::new(), is_cut: false }
    }

    /// Sends commands, and returns their replies. An error of the server is a reply.
    pub(super) fn ask(&mut self, commands: &Pipeline, limit: Limit) -> Result<Vec<Value>, Fault> {
        let expected = self.send(commands, limit)?;
        self.receive(expected, limit)
    }

    /// Sends commands. Returns the number of replies that will come.
    pub(super) fn send(&mut self, commands: &Pipeline, limit: Limit) -> Result<Expected, Fault> {
        self.wire.socket().begin(limit);
        let opening = std::mem::take(&mut self.opening);
        let mut bytes = opening.get_packed_pipeline();
        bytes.extend(commands.get_packed_pipeline());
        let written = self.wire.write_all(&bytes).and_then(|()| self.wire.flush());
        written.map_err(|error| self.wire.fault(&error))?;
        Ok(Expected { opening: opening.len(), replies: commands.len() })
    }

    /// Receives the replies to what was sent. If the last of them is a value that is longer than a
    /// record, and cannot be received to its end, only its beginning is returned. Then the connection is
    /// [out of step](Self::is_in_step).
    pub(super) fn receive(&mut self, expected: Expected, limit: Limit) -> Result<Vec<Value>, Fault> {
        self.wire.socket().begin(limit);
        self.received.clear();
        for _ in 0..expected.opening {
            let reply = fine(self.reply()?);
            match self.login.take() {
                Some(password) => reply.map_err(|fault| of_login(fault, password))?,
                None => reply?,
            };
        }
        let mut replies = Vec::with_capacity(expected.replies);
        for n in 1..=expected.replies {
            let is_last = n == expected.replies;
            replies.push(match self.reply() {
                Err(Fault::Trouble(trouble)) if is_last => {
                    let value = value::cut(&self.received, expected.opening + n - 1).ok_or(trouble)?;
                    self.is_cut = true;
                    Value::BulkString(value.to_vec())
                }
                reply => reply?,
            });
        }
        Ok(replies)
    }

    /// Whether the next bytes will be the reply to the next command.
    pub(super) fn is_in_step(&self) -> bool {
        !self.is_cut
    }

    /// The descriptor, which becomes readable when replies come.
    pub(super) fn as_fd(&mut self) -> BorrowedFd<'_> {
        self.wire.socket().as_fd()
    }

    fn reply(&mut self) -> Result<Value, Fault> {
        let mut reader = Received { wire: &mut self.wire, bytes: &mut self.received };
        self.parser.parse_value(&mut reader).map_err(|error| self.wire.fault(&error))
    }
}

/// Keeps the bytes that it reads.
struct Received<'a> {
    wire: &'a mut Wire,
    bytes: &'a mut Vec<u8>,
}

impl Read for Received<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.wire.read(buffer)?;
        self.bytes.extend_from_slice(&buffer[..length]);
        Ok(length)
    }
}

/// The replies that are on their way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    opening: usize,
    replies: usize,
}

/// The value of a reply.
///
/// # Errors
/// If it is an error of the server.
pub(super) fn fine(reply: Value) -> Result<Value, Fault> {
    match reply {
        Value::ServerError(error) => {
            let detail = error.details().unwrap_or_default().chars().take(LONGEST_DETAIL).collect();
            Err(Trouble::Refused { code: error.code().to_owned(), detail }.into())
        }
        value => Ok(value),
    }
}

/// The fault of a login. A server that does not know the command repeats the password in its error:
/// `unknown command 'AUTH', with args beginning with: 'PASSWORD'`. So nothing that it says is shown,
/// with one exception.
fn of_login(fault: Fault, password: Password) -> Fault {
    const NEEDS_NONE: &str = "AUTH <password> called without any password configured";
    match fault {
        Fault::Trouble(Trouble::Refused { code, .. })
            if code == "WRONGPASS" && password == Password::Missing =>
        {
            Trouble::NoPassword.into()
        }
        Fault::Trouble(Trouble::Refused { code, detail }) if !detail.starts_with(NEEDS_NONE) => {
            Trouble::Refused { code, detail: "the login is refused".to_owned() }.into()
        }
        fault => fault,
    }
}

/// The values of some replies.
///
/// # Errors
/// If one of them is an error of the server.
pub(super) fn all_fine<const N: usize>(replies: Vec<Value>) -> Result<[Value; N], Fault> {
    let values: Vec<Value> = replies.into_iter().map(fine).collect::<Result<_, _>>()?;
    values.try_into().map_err(|_| Trouble::Garbage.into())
}

/// The text of a value, for example of a host.
pub(super) fn text(value: &Value) -> Result<&str, Fault> {
    let bytes = match value {
        Value::BulkString(bytes) => bytes,
        Value::SimpleString(text) => text.as_bytes(),
        _ => return Err(Trouble::Garbage.into()),
    };
    std::str::from_utf8(bytes).map_err(|_| Trouble::Garbage.into())
}
