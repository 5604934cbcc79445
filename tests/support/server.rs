//! An HTTP/1.1 server on loopback that follows a script and keeps a log.
//!
//! The server takes one request per connection. The n-th request gets the n-th reply of the script,
//! and the last reply repeats. The log holds only complete requests. The time of a request is taken
//! before its reply begins.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::process;

/// The server's reaction to a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Sends an answer: see [`Reply::status`].
    Answer(Answer),
    /// Breaks the connection, so that the client sees ECONNRESET.
    Reset,
    /// Closes the connection in good order, but without an answer.
    Close,
    /// Leaves the client waiting until the server is dropped.
    Stall,
    /// Announces a longer body than it sends: it sends [`PARTIAL`] and closes the connection.
    Truncate,
}

/// The part of the body that [`Reply::Truncate`] sends.
pub(crate) const PARTIAL: &str = "part";

/// A complete answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Reply {
    /// An answer with this status, an empty body, and no headers except those that frame the body.
    pub(crate) fn status(status: u16) -> Self {
        Self::Answer(Answer { status, headers: Vec::new(), body: Vec::new() })
    }

    /// Adds a header to an answer.
    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        self.change(|answer| answer.headers.push((name.to_owned(), value.to_owned())))
    }

    /// Gives an answer its body.
    pub(crate) fn body(self, body: impl AsRef<[u8]>) -> Self {
        self.change(|answer| answer.body = body.as_ref().to_vec())
    }

    /// Sends the body in one chunk, without its length.
    pub(crate) fn chunked(self) -> Self {
        self.header("Transfer-Encoding", "chunked")
    }

    fn change(mut self, change: impl FnOnce(&mut Answer)) -> Self {
        match &mut self {
            Self::Answer(answer) => change(answer),
            Self::Reset | Self::Close | Self::Stall | Self::Truncate => panic!("{self:?} is no answer"),
        }
        self
    }
}

/// A complete request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The time when the request was complete.
    pub(crate) at: Instant,
    /// The method, for example `GET`.
    pub(crate) method: String,
    /// The target, including the query.
    pub(crate) path: String,
    /// The headers in order, with names in lower case and values trimmed.
    pub(crate) headers: Vec<(String, String)>,
    /// The body, decoded from its chunks.
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The value of the first header with this name, in any case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// A running server. Drop closes every connection and the port.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    act: Act,
    stopping: AtomicBool,
    log: Mutex<Vec<Request>>,
    stalled: Mutex<Vec<Arc<TcpStream>>>,
}

/// A function that chooses the reaction to a request.
struct Act(Box<Does>);

type Does = dyn Fn(usize, &Request) -> Reply + Send + Sync;

impl std::fmt::Debug for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Act")
    }
}

/// Every client in the tests sends its request within this time.
const READ_LIMIT: Duration = Duration::from_secs(30);

impl Server {
    /// Starts a server that follows `script`.
    #[must_use]
    pub(crate) fn new(script: impl IntoIterator<Item = Reply>) -> Self {
        let script: Vec<Reply> = script.into_iter().collect();
        assert!(!script.is_empty(), "a server without a script has nothing to say");
        Self::acting(move |number, _| script.get(number).or(script.last()).unwrap().clone())
    }

    /// Starts a server that calls `act` for each request, with the number of requests before it.
    #[must_use]
    pub(crate) fn acting(act: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            act: Act(Box::new(act)),
            stopping: AtomicBool::new(false),
            log: Mutex::new(Vec::new()),
            stalled: Mutex::new(Vec::new()),
        });
        let of_thread = Arc::clone(&shared);
        let acceptor = thread::spawn(move || accept(&listener, &of_thread));
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// The server's port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// The URL of `path`, which begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The requests so far, in the order of the replies.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.log.lock().unwrap().clone()
    }

    /// Waits until at least `n` requests have arrived, and returns all of them.
    #[track_caller]
    pub(crate) fn wait_for(&self, n: usize) -> Vec<Request> {
        process::wait_until(&format!("{n} requests"), || self.requests().len() >= n);
        self.requests()
    }

    /// The time from each request to the next. It includes the whole wait between two attempts: the
    /// earlier time is taken before the reply, and the later time after the next attempt has begun.
    pub(crate) fn gaps(&self) -> Vec<Duration> {
        self.requests().windows(2).map(|pair| pair[1].at - pair[0].at).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // The connection wakes the acceptor, which then sees the flag.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    // The references are weak, because a connection must close, or be reset if the script says so,
    // as soon as its thread is done with it.
    let mut connections: Vec<(JoinHandle<()>, Weak<TcpStream>)> = Vec::new();
    while let Ok((stream, _)) = listener.accept() {
        if shared.stopping.load(Ordering::SeqCst) {
            break;
        }
        connections.retain(|(thread, stream)| !thread.is_finished() || stream.strong_count() > 0);
        let (stream, shared) = (Arc::new(stream), Arc::clone(shared));
        let handle = Arc::downgrade(&stream);
        // A client that disconnects in the middle is not a failure, because tests kill clients.
        let thread = thread::spawn(move || drop(converse(stream, &shared)));
        connections.push((thread, handle));
    }
    for (thread, stream) in connections {
        if let Some(stream) = stream.upgrade() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let _ = thread.join();
    }
    shared.stalled.lock().unwrap().clear();
}

fn converse(connection: Arc<TcpStream>, shared: &Shared) -> io::Result<()> {
    let mut stream = &*connection;
    stream.set_read_timeout(Some(READ_LIMIT))?;
    stream.set_write_timeout(Some(READ_LIMIT))?;
    stream.set_nodelay(true)?;
    let request = read_request(&mut BufReader::new(stream))?;
    let head_only = request.method == "HEAD";
    let reply = {
        let mut log = shared.log.lock().unwrap();
        let reply = (shared.act.0)(log.len(), &request);
        log.push(request);
        reply
    };
    match reply {
        Reply::Answer(answer) => stream.write_all(&answer.bytes(head_only)),
        Reply::Truncate => {
            let mut answer = Answer { status: 200, headers: Vec::new(), body: PARTIAL.into() }.bytes(false);
            let (short, long) =
                (format!("Content-Length: {}\r\n", PARTIAL.len()), "Content-Length: 1000\r\n");
            answer = String::from_utf8_lossy(&answer).replace(&short, long).into_bytes();
            stream.write_all(&answer)?;
            stream.shutdown(Shutdown::Write)
        }
        Reply::Close => stream.shutdown(Shutdown::Write),
        Reply::Reset => reset(stream),
        Reply::Stall => {
            shared.stalled.lock().unwrap().push(connection);
            Ok(())
        }
    }
}

impl Answer {
    fn bytes(&self, head_only: bool) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        let bodiless = matches!(self.status, 100..200 | 204 | 304);
        let chunked = self.headers.iter().any(|(name, _)| name == "Transfer-Encoding");
        if !bodiless && !chunked {
            write!(head, "Content-Length: {}\r\n", self.body.len()).unwrap();
        }
        head.push_str("Connection: close\r\n\r\n");
        let mut bytes = head.into_bytes();
        if !bodiless && !head_only {
            let size = format!("{:x}\r\n", self.body.len());
            let (before, after) = if chunked { (size.as_str(), "\r\n0\r\n\r\n") } else { ("", "") };
            bytes.extend([before.as_bytes(), &self.body, after.as_bytes()].concat());
        }
        bytes
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        408 => "Request Timeout",
        425 => "Too Early",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        511 => "Network Authentication Required",
        _ => "Unnamed",
    }
}

/// Reads a complete request (RFC 9112), with its body by length or by chunks. Sends `100 Continue`
/// if the client waits for it (RFC 9110 section 10.1.1).
fn read_request(reader: &mut BufReader<&TcpStream>) -> io::Result<Request> {
    let first = line(reader)?;
    let mut words = first.split(' ').map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut request = Request { at: Instant::now(), method, path, headers: Vec::new(), body: Vec::new() };
    loop {
        let line = line(reader)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
        request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    if request.header("expect").is_some_and(|e| e.eq_ignore_ascii_case("100-continue")) {
        reader.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    if request.header("transfer-encoding").is_some_and(|e| e.eq_ignore_ascii_case("chunked")) {
        loop {
            let size = line(reader)?;
            let size = u64::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16)
                .map_err(io::Error::other)?;
            read_exactly(reader, size, &mut request.body)?;
            // This line ends a chunk. After the last chunk it ends the trailers, which no client
            // here sends.
            line(reader)?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = request.header("content-length") {
        let length = length.parse().map_err(io::Error::other)?;
        read_exactly(reader, length, &mut request.body)?;
    }
    request.at = Instant::now();
    Ok(request)
}

fn read_exactly(reader: &mut impl Read, length: u64, into: &mut Vec<u8>) -> io::Result<()> {
    let read = reader.take(length).read_to_end(into)?;
    if u64::try_from(read).is_ok_and(|read| read == length) {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let line = line.strip_suffix('\n').ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// Makes the close of this connection send RST (socket(7), `SO_LINGER`).
fn reset(stream: &TcpStream) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = libc::socklen_t::try_from(size_of_val(&linger)).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open, and the value is a `linger` of the given size.
    let set = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size,
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A port that refuses every connection. A socket is bound to it, so that no other process takes
/// the port, but nothing listens there.
#[derive(Debug)]
pub(crate) struct RefusedPort {
    _socket: OwnedFd,
    port: u16,
}

/// Reserves a port that refuses every connection, until it is dropped.
#[must_use]
pub(crate) fn refused_port() -> RefusedPort {
    // SAFETY: no pointers are passed.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    assert!(socket >= 0, "no socket: {}", io::Error::last_os_error());
    // SAFETY: the descriptor was just created, and nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let mut address = libc::sockaddr_in {
        sin_family: libc::sa_family_t::try_from(libc::AF_INET).unwrap(),
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from(Ipv4Addr::LOCALHOST).to_be() },
        sin_zero: [0; 8],
    };
    let mut size = libc::socklen_t::try_from(size_of_val(&address)).unwrap();
    // SAFETY: the address is a `sockaddr_in` of the given size, and bind only reads it.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) };
    assert_eq!(bound, 0, "not bound: {}", io::Error::last_os_error());
    // SAFETY: the address is a `sockaddr_in`, and getsockname writes no more than the given size.
    let named = unsafe { libc::getsockname(socket.as_raw_fd(), (&raw mut address).cast(), &raw mut size) };
    assert_eq!(named, 0, "no name: {}", io::Error::last_os_error());
    RefusedPort { _socket: socket, port: u16::from_be(address.sin_port) }
}

impl RefusedPort {
    /// The port's number.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The URL of `path`, which begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

mod tests {
    use super::*;

    /// Sends `request` and returns the whole answer.
    fn ask(server: &Server, request: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(server.address)?;
        stream.set_read_timeout(Some(READ_LIMIT))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    const GET: &str = "GET /a?b HTTP/1.1\r\nHost: x\r\nX-Two:  2 \r\n\r\n";

    #[test]
    fn a_script_is_followed_and_its_last_reply_repeats() {
        let server =
            Server::new([Reply::status(503).header("Retry-After", "1"), Reply::status(200).body("yes")]);
        let first = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        assert_eq!(ask(&server, GET).unwrap(), first);
        for _ in 0..2 {
            let answer = ask(&server, GET).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nyes"), "{answer}");
        }
        let requests = server.requests();
        assert_eq!((requests.len(), server.gaps().len()), (3, 2));
        assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("GET", "/a?b"));
        assert_eq!((requests[0].header("x-TWO"), requests[0].header("x-three")), (Some("2"), None));
    }

    #[test]
    fn bodies_are_read_by_length_and_by_chunks() {
        let server = Server::new([Reply::status(204)]);
        ask(&server, "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").unwrap();
        let chunked = "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n\
                       2\r\nab\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n";
        let answer = ask(&server, chunked).unwrap();
        assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 "), "{answer}");
        let bodies: Vec<_> = server.requests().into_iter().map(|r| r.body).collect();
        assert_eq!(bodies, [b"abc".to_vec(), b"ab0123456789".to_vec()]);
    }

    #[test]
    fn connections_break_as_the_script_has_it() {
        let server = Server::new([Reply::Reset, Reply::Close, Reply::Truncate]);
        assert_eq!(ask(&server, GET).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(ask(&server, GET).unwrap(), "");
        let answer = ask(&server, GET).unwrap();
        assert!(answer.contains("Content-Length: 1000\r\n") && answer.ends_with("\r\n\r\npart"), "{answer}");
    }

    #[test]
    fn a_stall_lasts_until_the_server_goes() {
        let server = Server::new([Reply::Stall]);
        let mut stream = TcpStream::connect(server.address).unwrap();
        let mut half = TcpStream::connect(server.address).unwrap();
        stream.write_all(GET.as_bytes()).unwrap();
        half.write_all(&GET.as_bytes()[..9]).unwrap();
        server.wait_for(1);
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(server);
        stream.set_read_timeout(Some(READ_LIMIT)).unwrap();
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
    }

    #[test]
    fn a_port_is_closed_with_its_server() {
        let closed = || {
            let server = Server::new([Reply::Stall]);
            let port = server.port();
            drop(server);
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err()
        };
        // Another test may take the port in between, but that does not happen every time.
        assert!((0..5).any(|_| closed()));
    }

    #[test]
    fn a_refused_port_refuses_and_stays_taken() {
        let refused = refused_port();
        let address = (Ipv4Addr::LOCALHOST, refused.port());
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(TcpListener::bind(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
