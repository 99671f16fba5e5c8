//! What a verb works with: where it speaks to, how long it may take, and Flux's signs before its sentences.

use std::collections::BTreeSet;
use std::io::Read;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clock::Clock;
use cluster::Cluster;
use kube::core::Status;

use crate::args::Environment;
use crate::args::flux::Connection;
use crate::args::pflag::Program;
use crate::target::Target;
use crate::ui::Ui;

/// The namespace when nothing names one.
const NAMESPACE: &str = "flux-system";
/// Bytes of an answer to a question.
const ANSWER_BYTES_MAX: usize = 1024;

/// One verb's surroundings.
pub(crate) struct Console<'a> {
    pub(crate) ui: &'a Ui,
    pub(crate) program: Program,
    pub(crate) environment: &'a Environment,
    connection: &'a Connection,
    /// Long names of the flags that were typed.
    typed: &'a BTreeSet<String>,
}

impl<'a> Console<'a> {
    pub(crate) fn new(
        program: Program,
        connection: &'a Connection,
        typed: &'a BTreeSet<String>,
        environment: &'a Environment,
        ui: &'a Ui,
    ) -> Self {
        Self { ui, program, environment, connection, typed }
    }

    /// Returns whether a flag was typed, whatever its value.
    pub(crate) fn was_typed(&self, flag: &str) -> bool {
        self.typed.contains(flag)
    }

    /// Returns how long the verb may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.connection.timeout.to_std()
    }

    /// Returns the namespace that is meant: `--namespace`, the context's if asked for, the environment's, Flux's own.
    pub(crate) fn namespace(&self) -> Result<String> {
        if self.was_typed("namespace") {
            return Ok(self.connection.namespace.clone());
        }
        let follows = self.connection.ns_follows_kube_context
            || self.environment.get("FLUX_NS_FOLLOWS_KUBE_CONTEXT").is_some();
        if follows && let Some(namespace) = self.target().namespace_of_context() {
            return Ok(namespace);
        }
        match self.environment.get("FLUX_SYSTEM_NAMESPACE") {
            Some(namespace) if is_dns_label(namespace) => Ok(namespace.to_owned()),
            Some(namespace) => {
                self.warning(&format!(" ignoring invalid FLUX_SYSTEM_NAMESPACE: {namespace:?}"))?;
                Ok(NAMESPACE.to_owned())
            }
            None => Ok(NAMESPACE.to_owned()),
        }
    }

    /// Returns the namespace, which must be one that Kubernetes takes.
    pub(crate) fn checked_namespace(&self) -> Result<String> {
        let namespace = self.namespace()?;
        if !is_dns_label(&namespace) {
            bail!("namespace must be a valid DNS label: {namespace:?}");
        }
        Ok(namespace)
    }

    /// Returns where the verb speaks to.
    pub(crate) fn target(&self) -> Target<'_> {
        Target::new(self.program, self.connection, self.typed, self.environment)
    }

    /// Connects to where the verb speaks to.
    pub(crate) async fn cluster(&self) -> Result<Cluster> {
        let client = self.target().connect(self.timeout()).await?.client;
        Ok(Cluster::new(client, Clock::real()))
    }

    /// Connects for a verb that changes something: says first what it is about to change.
    pub(crate) async fn cluster_to_change(&self) -> Result<Cluster> {
        let connected = self.target().connect(self.timeout()).await?;
        if self.program == Program::Tagtide {
            self.ui.note(&format!("target: {}", connected.name))?;
        }
        Ok(Cluster::new(connected.client, Clock::real()))
    }

    pub(crate) fn action(&self, text: &str) -> Result<()> {
        self.ui.note(&format!("► {text}"))
    }

    pub(crate) fn generate(&self, text: &str) -> Result<()> {
        self.ui.note(&format!("✚ {text}"))
    }

    pub(crate) fn waiting(&self, text: &str) -> Result<()> {
        self.ui.note(&format!("◎ {text}"))
    }

    pub(crate) fn success(&self, text: &str) -> Result<()> {
        self.ui.note(&format!("✔ {text}"))
    }

    pub(crate) fn warning(&self, text: &str) -> Result<()> {
        self.ui.note(&format!("⚠️ {text}"))
    }

    pub(crate) fn failure(&self, text: &str) -> Result<()> {
        self.ui.note(&format!("✗ {text}"))
    }

    /// Asks a person; anything but yes ends the verb.
    pub(crate) fn confirm(&self, question: &str) -> Result<()> {
        self.ui.ask(&format!("? {question}? [y/N] "))?;
        let mut answer = Vec::new();
        for byte in std::io::stdin().lock().bytes().take(ANSWER_BYTES_MAX) {
            match byte.context("cannot read the answer")? {
                b'\n' => break,
                byte => answer.push(byte),
            }
        }
        match answer.trim_ascii() {
            b"y" | b"Y" | b"yes" => Ok(()),
            _ => bail!("aborting"),
        }
    }
}

/// Returns whether a name is a label of DNS: what Kubernetes takes for a namespace.
fn is_dns_label(name: &str) -> bool {
    let is_inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=63).contains(&name.len())
        && name.bytes().all(is_inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Returns an error of the API as kubectl says it: the API's own message, or why there was no answer.
pub(crate) fn said(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) => {
            let Status { message, .. } = *status;
            anyhow::anyhow!(message)
        }
        error => anyhow::Error::new(error).context("the request to the API failed"),
    }
}
