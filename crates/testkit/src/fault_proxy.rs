//! A TCP proxy on loopback that harms what passes through it, byte by byte, as a test asks.

mod connection;
mod message;
mod outlet;

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{net::TcpListener, task::JoinSet};
use url::Url;

use crate::background;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What happens to an exchange of one request and its reply.
///
/// Bytes are counted from the first one of the request line or status line. Interim replies
/// (`100 Continue`) always pass and do not count. On a connection that does not speak HTTP/1 in
/// the clear, the whole connection is one exchange.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Both connections are closed in order once that many bytes have passed.
    Close(Direction, u64),
    /// As [`Close`](Fault::Close), with a TCP reset.
    Reset(Direction, u64),
    /// Nothing passes that way any more after that many bytes; the connections stay open.
    Stall(Direction, u64),
    /// The reply waits that long before its first byte.
    Delay(Duration),
    /// The server gets the whole request and gives its whole reply; the client gets none of it, and
    /// its connection is closed.
    LoseReply,
    /// Every occurrence of the first text becomes the second one.
    Rewrite(Direction, Vec<u8>, Vec<u8>),
    /// That many bytes at most pass in each period.
    Throttle(Direction, usize, Duration),
    /// The client gets these bytes as the reply, and the server does not see the request.
    Reply(Vec<u8>),
}

impl Fault {
    /// Returns a fault that rewrites the reply.
    pub fn rewrite_reply(from: &str, to: &str) -> Fault {
        Fault::Rewrite(Direction::Down, from.into(), to.into())
    }

    /// Returns a fault that answers instead of the server: a status such as `429 Too Many
    /// Requests`, header lines such as `Retry-After: 1`, and a body. The connection ends with it,
    /// and the reply says so.
    pub fn reply(status: &str, headers: &[&str], body: &str) -> Fault {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = body.len();
        Fault::Reply(
            format!(
                "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
            .into(),
        )
    }
}

/// A request that came through.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The number of its connection, counted from 1.
    pub connection: u64,
    /// Its own number over all connections, counted from 1.
    pub request: u64,
    /// `GET`; empty on a connection that does not speak HTTP/1.
    pub method: String,
    /// Path and query as sent; empty on a connection that does not speak HTTP/1.
    pub target: String,
    /// Request line and headers as sent; empty on a connection that does not speak HTTP/1.
    pub head: String,
}

/// What passed through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Connections that clients opened.
    pub n_connections: u64,
    /// Requests that began.
    pub n_requests: u64,
    /// Bytes handed to the server.
    pub n_bytes_up: u64,
    /// Bytes handed to clients.
    pub n_bytes_down: u64,
}

/// A running proxy; it ends its connections when dropped.
pub struct FaultProxy {
    address: SocketAddr,
    state: Arc<State>,
    _task: background::Guarded,
}

type Filter = Arc<dyn Fn(&Seen) -> bool + Send + Sync>;

#[derive(Clone)]
struct Rule {
    filter: Filter,
    fault: Fault,
    /// How often it still applies.
    left: usize,
}

struct State {
    upstream: SocketAddr,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Seen>>,
    traffic: Mutex<Traffic>,
}

impl FaultProxy {
    /// Starts a proxy that passes everything to `upstream`.
    pub fn start(upstream: SocketAddr) -> FaultProxy {
        let (listener, address) = background::listener();
        let state = Arc::new(State {
            upstream,
            rules: Mutex::default(),
            seen: Mutex::default(),
            traffic: Mutex::default(),
        });
        let task = background::Guarded::spawn(accept(listener, state.clone()));
        FaultProxy { address, state, _task: task }
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns `127.0.0.1:PORT`, as image references name it.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Returns `url` with this proxy in the place of its server.
    pub fn url(&self, url: &Url) -> Url {
        let mut url = url.clone();
        url.set_ip_host(self.address.ip()).expect("http URLs have hosts");
        url.set_port(Some(self.address.port())).expect("http URLs have ports");
        url
    }

    /// Harms every request that `filter` says yes to, from now on.
    ///
    /// All faults that apply to a request work together.
    pub fn inject(&self, filter: impl Fn(&Seen) -> bool + Send + Sync + 'static, fault: Fault) {
        self.inject_times(usize::MAX, filter, fault);
    }

    /// Harms the next request that `filter` says yes to.
    pub fn inject_once(
        &self,
        filter: impl Fn(&Seen) -> bool + Send + Sync + 'static,
        fault: Fault,
    ) {
        self.inject_times(1, filter, fault);
    }

    /// Harms the next `n_times` requests that `filter` says yes to.
    pub fn inject_times(
        &self,
        n_times: usize,
        filter: impl Fn(&Seen) -> bool + Send + Sync + 'static,
        fault: Fault,
    ) {
        let rule = Rule { filter: Arc::new(filter), fault, left: n_times };
        self.state.rules.lock().push(rule);
    }

    /// Lets everything pass again; exchanges under way keep their faults.
    pub fn clear(&self) {
        self.state.rules.lock().clear();
    }

    /// Returns the requests so far, in the order in which they began.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().clone()
    }

    /// Returns the counts so far.
    pub fn traffic(&self) -> Traffic {
        *self.state.traffic.lock()
    }
}

impl State {
    /// Records a request and returns the faults that apply to it.
    fn record(&self, seen: impl FnOnce(u64) -> Seen) -> Vec<Fault> {
        let seen = {
            let mut traffic = self.traffic.lock();
            traffic.n_requests += 1;
            seen(traffic.n_requests)
        };
        let mut faults = Vec::new();
        for rule in self.rules.lock().iter_mut() {
            if rule.left > 0 && (rule.filter)(&seen) {
                rule.left -= 1;
                faults.push(rule.fault.clone());
            }
        }
        self.seen.lock().push(seen);
        faults
    }

    fn count(&self, direction: Direction, n_bytes: usize) {
        let mut traffic = self.traffic.lock();
        match direction {
            Direction::Up => traffic.n_bytes_up += n_bytes as u64,
            Direction::Down => traffic.n_bytes_down += n_bytes as u64,
        }
    }
}

impl fmt::Debug for FaultProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultProxy({} -> {})", self.address, self.state.upstream)
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // Aborting this task drops the set, which ends the connections.
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let number = {
            let mut traffic = state.traffic.lock();
            traffic.n_connections += 1;
            traffic.n_connections
        };
        connections.spawn(connection::relay(state.clone(), number, client));
    }
}
