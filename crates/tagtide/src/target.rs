//! Where a verb speaks to: which kubeconfig, which context in it, and as whom.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use http::Uri;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};

use crate::args::Environment;
use crate::args::flux::Connection;
use crate::args::pflag::Program;
use crate::config;
use crate::plugin;

/// Bytes of a kubeconfig; those of a thousand clusters have about this many.
const KUBECONFIG_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a verb speaks to, before anything is read.
pub(crate) struct Target<'a> {
    program: Program,
    connection: &'a Connection,
    typed: &'a BTreeSet<String>,
    environment: &'a Environment,
}

/// An API that can be asked.
pub(crate) struct Connected {
    pub(crate) client: kube::Client,
    /// What to call it before it is changed.
    pub(crate) name: String,
}

/// The kubeconfig that counts.
struct Found {
    kubeconfig: Kubeconfig,
    /// What it is called in sentences.
    origin: String,
}

impl<'a> Target<'a> {
    pub(crate) fn new(
        program: Program,
        connection: &'a Connection,
        typed: &'a BTreeSet<String>,
        environment: &'a Environment,
    ) -> Self {
        Self { program, connection, typed, environment }
    }

    /// Returns the namespace that the kubeconfig's context names.
    pub(crate) fn namespace_of_context(&self) -> Option<String> {
        let Found { kubeconfig, .. } = self.find().ok()??;
        let wanted = non_empty(&self.connection.context).or(kubeconfig.current_context.clone())?;
        let context = kubeconfig.contexts.into_iter().find(|context| context.name == wanted)?;
        context.context?.namespace.filter(|namespace| !namespace.is_empty())
    }

    /// Reads the kubeconfig and makes a client of what it names; `timeout` bounds the plugin that it may run.
    pub(crate) async fn connect(&self, timeout: Duration) -> Result<Connected> {
        let connection = self.connection;
        let (mut settings, origin) = match self.find()? {
            Some(Found { mut kubeconfig, origin }) => {
                let context = non_empty(&connection.context);
                if let Some(context) = &context
                    && !kubeconfig.contexts.iter().any(|known| known.name == *context)
                {
                    bail!("context \"{context}\" does not exist");
                }
                plugin::resolve(&mut kubeconfig, connection, timeout).await?;
                let options = KubeConfigOptions {
                    context,
                    cluster: non_empty(&connection.cluster),
                    user: non_empty(&connection.user),
                };
                let settings = Config::from_custom_kubeconfig(kubeconfig, &options).await;
                (settings.with_context(|| format!("cannot use {origin}"))?, origin)
            }
            None => (self.without_kubeconfig()?, "the command line".to_owned()),
        };
        self.overrule(&mut settings)?;
        // Waits have limits of their own; an answer that is being sent may take its time.
        settings.connect_timeout = Some(CONNECT_TIMEOUT);
        settings.read_timeout = None;
        let name = format!("{} ({origin})", settings.cluster_url);
        let client = kube::Client::try_from(settings);
        Ok(Connected { client: client.context("cannot make a client of the API")?, name })
    }

    /// Returns the kubeconfig that counts: kubectl's, and before the one in the home folder that of `tagtide up`.
    fn find(&self) -> Result<Option<Found>> {
        let connection = self.connection;
        if let Some(path) = non_empty(&connection.kubeconfig) {
            return read(&[PathBuf::from(path)]).map(Some);
        }
        let is_ours = self.program == Program::Tagtide && !self.typed.contains("context");
        if is_ours && let Some(state) = non_empty(&connection.state) {
            return self.of_state(Path::new(&state)).map(Some);
        }
        if let Some(paths) = self.environment.get("KUBECONFIG") {
            let paths: Vec<PathBuf> = std::env::split_paths(paths)
                .filter(|path| !path.as_os_str().is_empty() && path.exists())
                .collect();
            if !paths.is_empty() {
                return read(&paths).map(Some);
            }
        }
        if is_ours
            && let Some(state) = default_state(self.environment)
            && state.join("kubeconfig").exists()
        {
            return self.of_state(&state).map(Some);
        }
        let home = self.environment.get("HOME").map(|home| Path::new(home).join(".kube/config"));
        home.filter(|path| path.exists()).map(|path| read(&[path])).transpose()
    }

    fn of_state(&self, state: &Path) -> Result<Found> {
        let path = state.join("kubeconfig");
        if !path.exists() {
            bail!("no `tagtide up` has run on the state folder {}; start one", state.display());
        }
        let found = read(&[path])?;
        Ok(Found { origin: format!("`tagtide up` on {}", state.display()), ..found })
    }

    fn without_kubeconfig(&self) -> Result<Config> {
        if let Some(server) = non_empty(&self.connection.server) {
            return Ok(Config::new(url_of(&server)?));
        }
        if let Ok(config) = Config::incluster() {
            return Ok(config);
        }
        let hint = match self.program {
            Program::Flux => "name one with --kubeconfig or KUBECONFIG",
            Program::Tagtide => "start `tagtide up`, or name one with --kubeconfig or KUBECONFIG",
        };
        Err(anyhow!("there is no kubeconfig; {hint}"))
    }

    /// What was typed wins over what the kubeconfig says.
    fn overrule(&self, config: &mut Config) -> Result<()> {
        let connection = self.connection;
        if let Some(server) = non_empty(&connection.server) {
            config.cluster_url = url_of(&server)?;
        }
        if let Some(file) = non_empty(&connection.certificate_authority) {
            config.root_cert = None;
            config.root_cert_file = Some(PathBuf::from(file));
        }
        if connection.insecure_skip_tls_verify {
            config.accept_invalid_certs = true;
        }
        if let Some(name) = non_empty(&connection.tls_server_name) {
            config.tls_server_name = Some(name);
        }
        if let Some(file) = non_empty(&connection.client_certificate) {
            config.auth_info.client_certificate = Some(file);
            config.auth_info.client_certificate_data = None;
        }
        if let Some(file) = non_empty(&connection.client_key) {
            config.auth_info.client_key = Some(file);
            config.auth_info.client_key_data = None;
        }
        let token = connection.token.as_ref().and_then(|token| non_empty(token.expose()));
        if let Some(token) = token {
            config.auth_info.token = Some(token.into());
            config.auth_info.token_file = None;
        }
        config.disable_compression |= connection.disable_compression;
        self.impersonate(config)
    }

    fn impersonate(&self, config: &mut Config) -> Result<()> {
        let connection = self.connection;
        if let Some(user) = non_empty(&connection.as_user) {
            config.auth_info.impersonate = Some(user);
        }
        if !connection.as_group.is_empty() {
            config.auth_info.impersonate_groups = Some(connection.as_group.clone());
        }
        if let Some(uid) = non_empty(&connection.as_uid) {
            config.auth_info.impersonate_uid = Some(uid);
        }
        for extra in &connection.as_user_extra {
            let (key, value) = extra
                .split_once('=')
                .ok_or_else(|| anyhow!("--as-user-extra `{extra}` is not of the form key=value"))?;
            let extras = config.auth_info.impersonate_user_extra.get_or_insert_default();
            extras.entry(key.to_owned()).or_default().push(value.to_owned());
        }
        Ok(())
    }
}

/// Returns the state folder of a `tagtide up` that was told no other.
fn default_state(environment: &Environment) -> Option<PathBuf> {
    if let Some(state) = environment.get("TAGTIDE_STATE") {
        return Some(PathBuf::from(state));
    }
    config::default_state(environment)
}

/// Reads kubeconfigs; of what several name alike the first counts.
fn read(paths: &[PathBuf]) -> Result<Found> {
    let mut merged = Kubeconfig::default();
    for path in paths {
        let say = || format!("cannot read the kubeconfig {}", path.display());
        let size = std::fs::metadata(path).with_context(say)?.len();
        if size > KUBECONFIG_BYTES_MAX {
            bail!("the kubeconfig {} is over {KUBECONFIG_BYTES_MAX} bytes", path.display());
        }
        let next = Kubeconfig::read_from(path).with_context(say)?;
        merged = merged.merge(next).with_context(say)?;
    }
    let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    Ok(Found { kubeconfig: merged, origin: names.join(", ") })
}

fn url_of(server: &str) -> Result<Uri> {
    let url = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
    url.parse().with_context(|| format!("--server `{server}` is no address"))
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
