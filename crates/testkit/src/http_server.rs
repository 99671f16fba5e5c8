//! Serves an axum router on loopback, plain or with TLS.

use std::net::SocketAddr;

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use url::Url;

use crate::{background, tls::Tls};

/// A router behind a loopback port; it stops, connections and all, when dropped.
pub struct HttpServer {
    address: SocketAddr,
    url: Url,
    _task: background::Guarded,
}

impl HttpServer {
    /// Serves `router` on a free port, with TLS if `tls` is given.
    pub fn start(router: Router, tls: Option<&Tls>) -> HttpServer {
        let (listener, address) = background::listener();
        let acceptor = tls.map(Tls::acceptor);
        let scheme = if tls.is_some() { "https" } else { "http" };
        HttpServer {
            address,
            url: Url::parse(&format!("{scheme}://{address}/")).expect("an address makes a URL"),
            _task: background::Guarded::spawn(accept(listener, acceptor, router)),
        }
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns `http://127.0.0.1:PORT/` or its https form.
    pub fn url(&self) -> &Url {
        &self.url
    }
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, router: Router) {
    // Aborting this task drops the set, which ends the connections.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        connections.spawn(secure(stream, acceptor.clone(), router.clone()));
    }
}

async fn secure(stream: TcpStream, acceptor: Option<TlsAcceptor>, router: Router) {
    // Small replies must not wait for an acknowledgement.
    drop(stream.set_nodelay(true));
    match acceptor {
        None => serve(stream, router).await,
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, router).await;
            }
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let service = TowerToHyperService::new(router);
    let builder = auto::Builder::new(TokioExecutor::new());
    // A connection that its client breaks off is what tests do on purpose.
    drop(builder.serve_connection(TokioIo::new(stream), service).await);
}
