//! A proxy as companies have it: for HTTP, with `CONNECT` for whatever is inside TLS, or SOCKS 5.

use std::{collections::HashMap, io, net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use url::Url;

use crate::{PASSWORD, USERNAME, background, basic_authorization};

/// Longer than any head that a client sends.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// HTTP/1.1: requests in absolute form, and `CONNECT`.
    Http,
    /// SOCKS 5.
    Socks5,
}

/// Who may use a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyAccess {
    /// Everyone.
    Anonymous,
    /// [`USERNAME`] with [`PASSWORD`].
    Password,
}

/// A running proxy; it ends its connections when dropped.
pub struct ForwardProxy {
    url: Url,
    state: Arc<State>,
    _task: background::Guarded,
}

struct State {
    protocol: ProxyProtocol,
    access: ProxyAccess,
    /// Names that exist only behind the proxy.
    hosts: HashMap<String, SocketAddr>,
    targets: Mutex<Vec<String>>,
    n_refused: Mutex<usize>,
}

impl ForwardProxy {
    /// Starts a proxy that knows these names beside the addresses of this machine.
    pub fn start(
        protocol: ProxyProtocol,
        access: ProxyAccess,
        hosts: &[(&str, SocketAddr)],
    ) -> ForwardProxy {
        let (listener, address) = background::listener();
        let scheme = match protocol {
            ProxyProtocol::Http => "http",
            ProxyProtocol::Socks5 => "socks5",
        };
        let hosts = hosts.iter().map(|(name, address)| ((*name).to_owned(), *address));
        let state = Arc::new(State {
            protocol,
            access,
            hosts: hosts.collect(),
            targets: Mutex::default(),
            n_refused: Mutex::default(),
        });
        let task = background::Guarded::spawn(accept(listener, Arc::clone(&state)));
        let url = Url::parse(&format!("{scheme}://{address}")).expect("an address makes a URL");
        ForwardProxy { url, state, _task: task }
    }

    /// Returns its address as clients are given it, without a user.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns `HOST:PORT` of every connection that it made, as clients named them.
    pub fn targets(&self) -> Vec<String> {
        self.state.targets.lock().clone()
    }

    /// Returns how many clients it turned away.
    pub fn n_refused(&self) -> usize {
        *self.state.n_refused.lock()
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // Aborting this task drops the set, which ends the connections.
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        connections.spawn(serve(client, Arc::clone(&state)));
    }
}

/// Serves one client; one that breaks off is what tests do on purpose.
async fn serve(mut client: TcpStream, state: Arc<State>) {
    drop(client.set_nodelay(true));
    drop(match state.protocol {
        ProxyProtocol::Http => state.http(&mut client).await,
        ProxyProtocol::Socks5 => state.socks(&mut client).await,
    });
}

impl State {
    async fn http(&self, client: &mut TcpStream) -> io::Result<()> {
        let head = read_head(client).await?;
        if self.access == ProxyAccess::Password && !is_authorized(&head) {
            *self.n_refused.lock() += 1;
            let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\n\
                           Proxy-Authenticate: Basic realm=\"proxy\"\r\nContent-Length: 0\r\n\
                           Connection: close\r\n\r\n";
            return client.write_all(refusal.as_bytes()).await;
        }
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if method == "CONNECT" {
            let mut server = self.connect(target).await?;
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
            return relay(client, &mut server).await;
        }
        let url = Url::parse(target).map_err(io::Error::other)?;
        let port = url.port_or_known_default().unwrap_or(80);
        let mut server =
            self.connect(&format!("{}:{port}", url.host_str().unwrap_or_default())).await?;
        // Servers take the absolute form; what is the proxy's own stays here.
        let is_own = |line: &&str| line.to_ascii_lowercase().starts_with("proxy-");
        let lines = head.split_inclusive("\r\n").filter(|line| !is_own(line));
        let head: String = lines.collect();
        server.write_all(head.as_bytes()).await?;
        relay(client, &mut server).await
    }

    async fn socks(&self, client: &mut TcpStream) -> io::Result<()> {
        let [_, n_methods] = read(client).await?;
        let mut methods = vec![0; usize::from(n_methods)];
        client.read_exact(&mut methods).await?;
        let method = match self.access {
            ProxyAccess::Anonymous => 0,
            ProxyAccess::Password => 2,
        };
        if !methods.contains(&method) {
            *self.n_refused.lock() += 1;
            return client.write_all(&[5, 0xff]).await;
        }
        client.write_all(&[5, method]).await?;
        if method == 2 && !self.socks_login(client).await? {
            return Ok(());
        }
        let [_, _, _, kind] = read(client).await?;
        let host = match kind {
            1 => std::net::Ipv4Addr::from(read::<4>(client).await?).to_string(),
            4 => format!("[{}]", std::net::Ipv6Addr::from(read::<16>(client).await?)),
            _ => text(client).await?,
        };
        let port = u16::from_be_bytes(read(client).await?);
        let mut server = self.connect(&format!("{host}:{port}")).await?;
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
        relay(client, &mut server).await
    }

    async fn socks_login(&self, client: &mut TcpStream) -> io::Result<bool> {
        let [_version] = read(client).await?;
        let (username, password) = (text(client).await?, text(client).await?);
        let is_known = (username.as_str(), password.as_str()) == (USERNAME, PASSWORD);
        *self.n_refused.lock() += usize::from(!is_known);
        client.write_all(&[1, u8::from(!is_known)]).await?;
        Ok(is_known)
    }

    async fn connect(&self, target: &str) -> io::Result<TcpStream> {
        self.targets.lock().push(target.to_owned());
        let server = match self.hosts.get(target) {
            Some(address) => TcpStream::connect(address).await?,
            None => TcpStream::connect(target).await?,
        };
        server.set_nodelay(true)?;
        Ok(server)
    }
}

fn is_authorized(head: &str) -> bool {
    let expected = basic_authorization(USERNAME, PASSWORD);
    head.lines().any(|line| {
        let (name, value) = line.split_once(':').unwrap_or_default();
        name.eq_ignore_ascii_case("proxy-authorization") && value.trim() == expected
    })
}

async fn relay(client: &mut TcpStream, server: &mut TcpStream) -> io::Result<()> {
    tokio::io::copy_bidirectional(client, server).await.map(drop)
}

async fn read<const N: usize>(client: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Reads a text behind its length.
async fn text(client: &mut TcpStream) -> io::Result<String> {
    let [length] = read(client).await?;
    let mut bytes = vec![0; usize::from(length)];
    client.read_exact(&mut bytes).await?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

async fn read_head(client: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        // Byte by byte, so that nothing behind the head is taken.
        head.push(client.read_u8().await?);
        if head.len() > HEAD_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    String::from_utf8(head).map_err(io::Error::other)
}
