//! A service that is down for a while and then serves a limited number of requests per second, and
//! a crowd of clients that call it all at once.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The behaviour of the service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service {
    /// The time during which the service refuses everybody.
    pub(crate) outage: Duration,
    /// The number of further requests that it refuses after the outage.
    pub(crate) stumbles: usize,
    /// The number of requests per second that it serves after that. It refuses the rest.
    pub(crate) rate: f64,
    /// The seconds that a refusal asks for (`Retry-After`), if any.
    pub(crate) asks: Option<u32>,
    /// The number of first requests that it holds until the last of them has arrived. The outage
    /// begins at that moment.
    pub(crate) gathers: usize,
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// The time since the beginning of the outage.
    pub(crate) at: Duration,
    pub(crate) served: bool,
}

/// The results of a storm.
#[derive(Debug, Clone)]
pub(crate) struct Aftermath {
    pub(crate) clients: usize,
    pub(crate) arrivals: Vec<Arrival>,
    /// The number of clients that ended without success.
    pub(crate) gave_up: usize,
    /// The number of clients that had not ended within the limit.
    pub(crate) unfinished: usize,
    /// The time from the beginning to the end of the last successful client.
    pub(crate) last_success: Option<Duration>,
    pub(crate) outage: Duration,
}

impl Aftermath {
    /// The number of requests per client during the outage.
    pub(crate) fn amplification(&self) -> f64 {
        let during = self.arrivals.iter().filter(|arrival| arrival.at < self.outage).count();
        count(during) / count(self.clients)
    }

    /// The largest number of requests within a tenth of a second, after the outage.
    pub(crate) fn peak(&self) -> usize {
        let after: Vec<Duration> =
            self.arrivals.iter().map(|arrival| arrival.at).filter(|at| *at >= self.outage).collect();
        let within = |from: &Duration| {
            after.iter().filter(|at| *at >= from && **at < *from + Duration::from_millis(100)).count()
        };
        after.iter().map(within).max().unwrap_or(0)
    }
}

/// A count as a float, for a ratio.
fn count(things: usize) -> f64 {
    u32::try_from(things).map_or(f64::INFINITY, f64::from)
}

/// Starts `clients` processes of `command` at once and waits for all of them, at most for `limit`.
/// `command` receives the port of the service.
pub(crate) fn storm(
    service: Service,
    clients: usize,
    limit: Duration,
    command: impl Fn(u16) -> Command,
) -> Aftermath {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let arrivals = Arc::new(Mutex::new(Vec::new()));
    let over = Arc::new(AtomicBool::new(false));
    let start = Instant::now();
    let server = {
        let (arrivals, over) = (Arc::clone(&arrivals), Arc::clone(&over));
        thread::spawn(move || serve(&listener, service, start, &arrivals, &over))
    };
    let mut running: Vec<Child> = (0..clients)
        .map(|_| {
            let mut command = command(address.port());
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().unwrap()
        })
        .collect();
    let (mut gave_up, mut last_success) = (0, None);
    while !running.is_empty() && start.elapsed() < limit {
        running.retain_mut(|child| match child.try_wait().unwrap() {
            None => true,
            Some(status) if status.success() => {
                last_success = Some(start.elapsed());
                false
            }
            Some(_) => {
                gave_up += 1;
                false
            }
        });
        thread::sleep(Duration::from_millis(5));
    }
    for child in &mut running {
        let _ = child.kill();
        let _ = child.wait();
    }
    over.store(true, Ordering::Release);
    // The connection wakes the server.
    let _ = TcpStream::connect(address);
    server.join().unwrap();
    let arrivals = arrivals.lock().unwrap().clone();
    let unfinished = running.len();
    Aftermath { clients, arrivals, gave_up, unfinished, last_success, outage: service.outage }
}

fn serve(
    listener: &TcpListener,
    service: Service,
    start: Instant,
    arrivals: &Mutex<Vec<Arrival>>,
    over: &AtomicBool,
) {
    let mut gathered: Vec<TcpStream> = Vec::new();
    let mut start = start;
    while gathered.len() < service.gathers {
        let Ok((stream, _)) = listener.accept() else { return };
        if over.load(Ordering::Acquire) {
            return;
        }
        gathered.push(stream);
        start = Instant::now();
    }
    for mut stream in gathered {
        arrivals.lock().unwrap().push(Arrival { at: Duration::ZERO, served: false });
        let _ = stream.write_all(answer(false, service.asks).as_bytes());
    }
    // The bucket holds the requests of a tenth of a second.
    let most = (service.rate / 10.0).max(1.0);
    let (mut tokens, mut filled, mut stumbles) = (most, service.outage, service.stumbles);
    while let Ok((mut stream, _)) = listener.accept() {
        if over.load(Ordering::Acquire) {
            return;
        }
        let at = start.elapsed();
        let mut served = false;
        if at >= service.outage {
            tokens = (tokens + at.saturating_sub(filled).as_secs_f64() * service.rate).min(most);
            filled = at;
            if stumbles > 0 {
                stumbles -= 1;
            } else if tokens >= 1.0 {
                tokens -= 1.0;
                served = true;
            }
        }
        arrivals.lock().unwrap().push(Arrival { at, served });
        // The client may have disconnected meanwhile, so an error does not matter.
        let _ = stream.write_all(answer(served, service.asks).as_bytes());
    }
}

fn answer(served: bool, asks: Option<u32>) -> String {
    match (served, asks) {
        (true, _) => "HTTP/1.1 200 OK\n".to_owned(),
        (false, None) => "HTTP/1.1 503 Service Unavailable\n".to_owned(),
        (false, Some(asks)) => format!("HTTP/1.1 503 Service Unavailable\nRetry-After: {asks}\n"),
    }
}
