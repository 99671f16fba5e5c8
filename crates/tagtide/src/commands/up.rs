//! `tagtide up`: the API on a port, objects in it, and the reconcilers, until somebody stops them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use apiserver::{Damage, OnDamage, Server};
use clock::Clock;
use controllers::state::State;
use controllers::{Artifacts, Driver, Notifier, Settings};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::args::{Environment, Up};
use crate::artifact_server;
use crate::commands::run;
use crate::config;
use crate::endpoints::{self, Endpoints};
use crate::error::Outcome;
use crate::interrupt::Interrupt;
use crate::loader::{Loader, Look};
use crate::log_book::LogBook;
use crate::manifest_files::ManifestFiles;
use crate::pki::Pki;
use crate::requests::Requests;
use crate::serve::{self, Certificate, Listen};
use crate::session::{self, Doors};
use crate::ui::{Ui, count};

/// Where the API is served if that port is free.
const PORT: u16 = 7443;
/// Where the archives of sources are served if that port is free.
const ARTIFACTS_PORT: u16 = 7480;
/// How often certificates are looked at.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(12 * 60 * 60);

/// Where the daemon is and who it is.
struct Home {
    folder: PathBuf,
    state: State,
    listener: TcpListener,
    archives: Archives,
    /// Where measurements and health are served beside, if anywhere, and where that is.
    metrics: Option<(TcpListener, SocketAddr)>,
    health: Option<(TcpListener, SocketAddr)>,
    /// Where clients of this machine reach it.
    url: String,
    pki: Pki,
    notice: Option<String>,
}

/// The archives of sources, and where they are served.
struct Archives {
    folder: PathBuf,
    listener: TcpListener,
    artifacts: Artifacts,
}

/// The objects and what works on them.
struct World {
    server: Server,
    driver: Driver,
    loader: Loader,
    /// What the first look at the manifests came to.
    look: Look,
    notices: Vec<String>,
    clock: Clock,
    requests: Requests,
    /// What sends events, if they are sent anywhere.
    sending: Option<JoinHandle<()>>,
}

pub(crate) async fn run(
    args: &Up,
    environment: &Environment,
    logs: LogBook,
    interrupt: &Interrupt,
    ui: &Ui,
) -> Result<Outcome> {
    let mut files = ManifestFiles::new(&args.manifests.paths, &args.manifests.namespace)?;
    files.look().1?;
    let home = Home::open(args, environment).await?;
    logs.keep_in(&home.state.log()?)?;
    let world = World::open(args, environment, files, &home).await?;
    tell(&home, &world, ui)?;
    let World { server, driver, loader, clock, requests, sending, .. } = world;
    let (ending, mut tasks) = (CancellationToken::new(), JoinSet::new());
    let kubeconfig = home.kubeconfig();
    let certificate = Certificate::new(home.pki.certified_key()?);
    let tls = certificate.acceptor()?;
    let driver = Arc::new(driver);
    let namespace = args.manifests.namespace.clone();
    let beside = Endpoints { driver: Arc::clone(&driver), logs, requests, namespace };
    let metrics = endpoints::only_metrics(beside.clone());
    let health = endpoints::only_health(Arc::clone(&driver));
    for (at, router) in [(home.metrics, metrics), (home.health, health)] {
        if let Some((listener, _)) = at {
            tasks.spawn(serve::serve(listener, None, router, ending.clone()));
        }
    }
    let router = endpoints::beside(server.router(), beside);
    let router = apiserver::require_token(router, home.pki.token().expose());
    let archives = artifact_server::router(&home.archives.folder, &home.pki.artifacts_key());
    tasks.spawn(serve::serve(home.archives.listener, None, archives, ending.clone()));
    tasks.spawn(serve::serve(home.listener, Some(tls), router, ending.clone()));
    tasks.spawn(renew(home.pki, certificate, kubeconfig, home.url, clock, ending.clone()));
    let watch = if args.watch { Some(tokio::spawn(loader.watch())) } else { None };
    driver.run(interrupt.stop()).await;
    ending.cancel();
    watch.inspect(JoinHandle::abort);
    tasks.join_all().await;
    drop(driver);
    if let Some(sending) = sending {
        // The last news are about what was finished just now. It ends soon; a panic is logged.
        drop(sending.await);
    }
    ui.note("stopped")?;
    Ok(Outcome::Done)
}

impl Home {
    async fn open(args: &Up, environment: &Environment) -> Result<Self> {
        let folder = config::state_folder(&args.state, environment)?;
        let folder = std::path::absolute(&folder).context("cannot find the state folder")?;
        let state = State::open(&folder)?;
        let listen = args.listen.map_or(Listen::Loopback { port: PORT }, Listen::At);
        let (listener, address) = serve::bind(listen).await?;
        let now = Clock::real().now();
        let (pki, notice) = Pki::open(&state.pki()?, address.ip(), now)?;
        let archives = Archives::open(args, &state.artifacts()?, &pki).await?;
        let home = Self {
            folder,
            state,
            listener,
            archives,
            metrics: bind_at(args.metrics_addr).await?,
            health: bind_at(args.health_addr).await?,
            url: format!("https://{}", near(address)),
            pki,
            notice,
        };
        home.pki.write_kubeconfig(&home.kubeconfig(), &home.url)?;
        Ok(home)
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }
}

impl Archives {
    async fn open(args: &Up, folder: &Path, pki: &Pki) -> Result<Self> {
        let listen = Listen::Loopback { port: ARTIFACTS_PORT };
        let (listener, address) = serve::bind(args.storage_addr.map_or(listen, Listen::At)).await?;
        let address = args.storage_adv_addr.clone().unwrap_or_else(|| near(address).to_string());
        let url = format!("http://{address}/{}", pki.artifacts_key());
        let artifacts = Artifacts::open(folder, &url)
            .with_context(|| format!("cannot make folder {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned(), listener, artifacts })
    }
}

impl World {
    async fn open(
        args: &Up,
        environment: &Environment,
        files: ManifestFiles,
        home: &Home,
    ) -> Result<Self> {
        let settings = config::settings(&args.state)?;
        let found = files.found();
        let credentials = config::credentials(&args.manifests, environment)?;
        let (doors, sending) = doors(args, environment, home)?;
        let (clock, requests) = (doors.clock.clone(), doors.requests.clone());
        let (server, damage) =
            Server::open(&home.state.objects(), clock.clone(), OnDamage::MoveAside)?;
        session::define(&server)?;
        for ((namespace, name), data) in &credentials.secrets {
            session::load_secret(&server, namespace, name, data)?;
        }
        server.flush().await?;
        let mut notices = session::notices(&found, &credentials, &settings);
        notices.extend(damage.as_ref().map(told));
        notices.extend(home.state.notices().iter().cloned());
        let mut loader = Loader::new(session::client(&server), files);
        loader.remember().await?;
        let look = loader.load().await;
        let fallback = Some(Arc::new(credentials.fallback));
        let driver =
            session::driver(&server, doors, Some(&home.state), Settings { fallback, ..settings })?;
        Ok(Self { server, driver, loader, look, notices, clock, requests, sending })
    }
}

/// Returns the doors of the reconcilers, and what sends their events, if they are sent anywhere.
fn doors(
    args: &Up,
    environment: &Environment,
    home: &Home,
) -> Result<(Doors, Option<JoinHandle<()>>)> {
    let doors = run::doors(&args.manifests, environment)?;
    let notifier = args.events_addr.clone().map(|address| {
        let (net, clock) = (doors.net.clone(), doors.clock.clone());
        let cache = Some(home.state.cache());
        let (notifier, send) = Notifier::new(net, address, &host(), clock, cache);
        (notifier, tokio::spawn(send))
    });
    let (notifier, sending) = notifier.unzip();
    let artifacts = Some(home.archives.artifacts.clone());
    Ok((Doors { artifacts, notifier, ..doors }, sending))
}

/// Returns what a person should know about objects that were damaged.
fn told(damage: &Damage) -> String {
    let (moved_to, reason) = (damage.moved_to.display(), &damage.reason);
    format!(
        "the objects were damaged ({reason}); what is left of them is in {moved_to}, and all \
         objects begin anew"
    )
}

/// Prints what was loaded and how to reach it.
fn tell(home: &Home, world: &World, ui: &Ui) -> Result<()> {
    for notice in home.notice.iter().chain(&world.notices) {
        ui.note(&format!("notice: {notice}"))?;
    }
    for problem in &world.look.problems {
        ui.note(&format!("problem: {problem}"))?;
    }
    let (url, folder) = (&home.url, home.folder.display());
    let loaded = count(world.look.n_applied, "object");
    let beside = |what: &str, path: &str, at: &Option<(TcpListener, SocketAddr)>| {
        let at = at.as_ref().map(|(_, address)| near(*address));
        at.map(|address| format!("{what}: http://{address}/{path}\n")).unwrap_or_default()
    };
    let metrics = beside("metrics", "metrics", &home.metrics);
    let health = beside("health", "healthz", &home.health);
    ui.data(&format!(
        "tagtide serves {url}\n\
         state: {folder}\n\
         loaded: {loaded}\n\
         {metrics}{health}\
         try: kubectl --kubeconfig {} get imagerepositories,imagepolicies -A\n",
        home.kubeconfig().display()
    ))
}

/// Keeps certificates young.
async fn renew(
    mut pki: Pki,
    certificate: Arc<Certificate>,
    kubeconfig: PathBuf,
    url: String,
    clock: Clock,
    ending: CancellationToken,
) {
    loop {
        tokio::select! {
            () = ending.cancelled() => return,
            () = clock.sleep(RENEWAL_INTERVAL) => {}
        }
        if let Err(error) = renew_once(&mut pki, &certificate, &kubeconfig, &url, &clock) {
            tracing::error!(error = %format!("{error:#}"), "Cannot renew the certificate");
        }
    }
}

fn renew_once(
    pki: &mut Pki,
    certificate: &Certificate,
    kubeconfig: &Path,
    url: &str,
    clock: &Clock,
) -> Result<()> {
    if pki.renew(clock.now())? {
        pki.write_kubeconfig(kubeconfig, url)?;
        certificate.replace(pki.certified_key()?);
        tracing::info!("Renewed the certificate");
    }
    Ok(())
}

async fn bind_at(address: Option<SocketAddr>) -> Result<Option<(TcpListener, SocketAddr)>> {
    match address {
        Some(address) => serve::bind(Listen::At(address)).await.map(Some),
        None => Ok(None),
    }
}

/// Returns the name of this machine, as events carry it.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// Returns where this machine reaches a listener on `address`.
fn near(address: SocketAddr) -> SocketAddr {
    let loopback = if address.is_ipv4() {
        [127, 0, 0, 1].into()
    } else {
        std::net::Ipv6Addr::LOCALHOST.into()
    };
    let ip = if address.ip().is_unspecified() { loopback } else { address.ip() };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::{SignedDuration, Timestamp};
    use kube::config::{KubeConfigOptions, Kubeconfig};

    /// An API that is served with a certificate which is renewed.
    struct Served {
        pki: Pki,
        certificate: Arc<Certificate>,
        url: String,
        folder: tempfile::TempDir,
        _serving: JoinSet<()>,
    }

    impl Served {
        /// Serves with an identity that is some days old.
        async fn since(days: i64) -> Served {
            let folder = tempfile::tempdir().expect("a folder");
            let (listener, address) =
                serve::bind(Listen::Loopback { port: 0 }).await.expect("a port");
            let (pki, _) = Pki::open(folder.path(), address.ip(), days_ago(days)).expect("made");
            let certificate = Certificate::new(pki.certified_key().expect("a key"));
            let server = session::server(Clock::real()).expect("our own definitions");
            let router = apiserver::require_token(server.router(), pki.token().expose());
            let tls = certificate.acceptor().expect("TLS");
            let mut serving = JoinSet::new();
            serving.spawn(serve::serve(listener, Some(tls), router, CancellationToken::new()));
            let url = format!("https://{address}");
            let served = Served { pki, certificate, url, folder, _serving: serving };
            served.pki.write_kubeconfig(&served.kubeconfig(), &served.url).expect("written");
            served
        }

        fn kubeconfig(&self) -> PathBuf {
            self.folder.path().join("kubeconfig")
        }

        async fn client(&self) -> kube::Client {
            let kubeconfig = Kubeconfig::read_from(self.kubeconfig()).expect("a kubeconfig");
            let options = KubeConfigOptions::default();
            let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
            kube::Client::try_from(config.expect("it is whole")).expect("a client")
        }

        /// Renews what is due; nobody is told of a new kubeconfig.
        fn renew(&mut self) {
            let aside = self.folder.path().join("new");
            let clock = Clock::real();
            renew_once(&mut self.pki, &self.certificate, &aside, &self.url, &clock).expect("done");
            assert!(aside.exists(), "something was due");
        }
    }

    fn days_ago(days: i64) -> Timestamp {
        Timestamp::now() - SignedDuration::from_hours(24 * days)
    }

    async fn is_served(client: &kube::Client) -> bool {
        client.list_core_api_versions().await.is_ok()
    }

    #[tokio::test]
    async fn a_certificate_is_renewed_while_clients_go_on() {
        let mut served = Served::since(70).await;
        let client = served.client().await;
        assert!(is_served(&client).await);
        served.renew();
        assert!(is_served(&client).await, "a connection that stands goes on");
        assert!(is_served(&served.client().await).await, "so does the kubeconfig");
    }

    #[tokio::test]
    async fn a_kubeconfig_outlives_the_authority_that_it_names() {
        // The authority ends in three weeks, its first certificate years ago.
        let mut served = Served::since(3650 - 21).await;
        assert!(!is_served(&served.client().await).await);
        served.renew();
        assert!(is_served(&served.client().await).await);
    }
}
