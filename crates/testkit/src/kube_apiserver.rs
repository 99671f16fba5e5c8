//! The real `kube-apiserver` on loopback, with its `etcd`, where the machine has them.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower::ServiceExt as _;

use crate::{TOKEN, background, program, tls::Tls};

/// The variable that names the folder with the programs, as Kubernetes' own test kits have it.
const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// What a server may need to be ready on a busy machine.
const START_MAX: Duration = Duration::from_secs(180);

/// How often it is asked whether it is ready.
const START_POLL: Duration = Duration::from_millis(100);

/// A running API server; it is killed and its storage removed when dropped.
///
/// Neither controllers nor a kubelet run: nothing becomes available, no namespace ends.
pub struct KubeApiserver {
    children: Vec<Child>,
    address: SocketAddr,
    tls: Tls,
    folder: TempDir,
}

impl KubeApiserver {
    /// Starts one in which [`TOKEN`](crate::TOKEN) may do everything, and returns once it is
    /// ready; `None` if no `KUBEBUILDER_ASSETS` names a folder with `kube-apiserver` and `etcd`.
    pub fn start() -> Option<KubeApiserver> {
        let assets = PathBuf::from(std::env::var_os(ASSETS)?);
        let programs = [assets.join("etcd"), assets.join("kube-apiserver")];
        programs.iter().all(|file| file.is_file()).then(|| KubeApiserver::with(&programs))
    }

    fn with([etcd, kube_apiserver]: &[PathBuf; 2]) -> KubeApiserver {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let tls = Tls::generate();
        write_files(folder.path(), &tls);
        let (peers, storage, address) =
            (background::free_address(), background::free_address(), background::free_address());
        let children = vec![
            start(etcd_command(etcd, folder.path(), storage, peers), folder.path()),
            start(server_command(kube_apiserver, folder.path(), storage, address), folder.path()),
        ];
        let mut server = KubeApiserver { children, address, tls, folder };
        server.wait_until_ready();
        server
    }

    /// Returns `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Returns the certificate of its authority as PEM.
    pub fn ca(&self) -> &str {
        &self.tls.ca
    }

    /// Returns a service that sends every request to the server as it is, on a connection of its own.
    pub fn router(&self) -> Router {
        let (address, connector) = (self.address, connector(&self.tls));
        Router::new().fallback(move |request: Request<Body>| forward(address, connector, request))
    }

    fn wait_until_ready(&mut self) {
        let start = Instant::now();
        while !self.is_ready() {
            let has_ended = |child: &mut Child| !matches!(child.try_wait(), Ok(None));
            if start.elapsed() > START_MAX || self.children.iter_mut().any(has_ended) {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                panic!("kube-apiserver and etcd are not ready:\n{log}");
            }
            std::thread::sleep(START_POLL);
        }
    }

    fn is_ready(&self) -> bool {
        let request = Request::get("/readyz")
            .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
            .body(Body::empty())
            .expect("a sound request");
        let (sender, receiver) = std::sync::mpsc::channel();
        let answer = self.router().oneshot(request);
        drop(background::spawn(async move { sender.send(answer.await.map(|a| a.status())) }));
        matches!(receiver.recv(), Ok(Ok(StatusCode::OK)))
    }
}

impl Drop for KubeApiserver {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Writes what the server reads: who may come in, its certificate, the key of its service accounts.
fn write_files(folder: &Path, tls: &Tls) {
    for (name, text) in [
        ("tokens.csv", format!("{TOKEN},admin,admin,system:masters\n")),
        ("server.crt", tls.server.certificate.clone()),
        ("server.key", tls.server.key.clone()),
        ("accounts.crt", tls.client.certificate.clone()),
        ("accounts.key", tls.client.key.clone()),
    ] {
        fs::write(folder.join(name), text).expect("the folder is writable");
    }
}

fn etcd_command(program: &Path, folder: &Path, clients: SocketAddr, peers: SocketAddr) -> Command {
    let mut command = program::that_dies_with_us(program);
    let (clients, peers) = (format!("http://{clients}"), format!("http://{peers}"));
    command.arg("--data-dir").arg(folder.join("etcd")).args([
        "--listen-client-urls",
        &clients,
        "--advertise-client-urls",
        &clients,
        "--listen-peer-urls",
        &peers,
        "--initial-advertise-peer-urls",
        &peers,
        "--initial-cluster",
        &format!("default={peers}"),
    ]);
    command
}

fn server_command(
    program: &Path,
    folder: &Path,
    storage: SocketAddr,
    address: SocketAddr,
) -> Command {
    let mut command = program::that_dies_with_us(program);
    let file = |flag: &str, name: &str| format!("--{flag}={}", folder.join(name).display());
    command.args([
        format!("--etcd-servers=http://{storage}"),
        format!("--secure-port={}", address.port()),
        file("tls-cert-file", "server.crt"),
        file("tls-private-key-file", "server.key"),
        file("service-account-key-file", "accounts.crt"),
        file("service-account-signing-key-file", "accounts.key"),
        file("token-auth-file", "tokens.csv"),
        file("cert-dir", "certs"),
    ]);
    command.args([
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--disable-admission-plugins=ServiceAccount",
        "--authorization-mode=AlwaysAllow",
    ]);
    command
}

/// Starts a program whose words go to the log of the folder.
fn start(mut command: Command, folder: &Path) -> Child {
    let log = fs::File::options().create(true).append(true).open(folder.join("log"));
    let log = log.expect("the folder is writable");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let program = command.get_program().to_owned();
    background::spawn_process(command)
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()))
}

fn connector(tls: &Tls) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(tls.ca.as_bytes()).expect("we wrote it");
    roots.add(ca).expect("our authority is a valid root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// Sends a request on; a server that does not answer is told as 502.
async fn forward(
    address: SocketAddr,
    connector: TlsConnector,
    mut request: Request<Body>,
) -> Response {
    let host = address.to_string();
    let host = HeaderValue::from_str(&host).expect("an address is a header value");
    request.headers_mut().entry(header::HOST).or_insert(host);
    match send(address, connector, request).await {
        Ok(response) => response.map(Body::new),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

async fn send(
    address: SocketAddr,
    connector: TlsConnector,
    request: Request<Body>,
) -> Result<Response<hyper::body::Incoming>, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost")?;
    let stream = connector.connect(name, stream).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    drop(tokio::spawn(connection));
    Ok(sender.send_request(request).await?)
}
