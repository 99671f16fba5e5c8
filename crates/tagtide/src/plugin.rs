//! The program that a user's own kubeconfig names to log in, as EKS, GKE and AKS have it.
//!
//! This is the one subprocess of the product. Only the command line runs it, never a
//! daemon or a controller, and never for a kubeconfig that an object gives.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kube::config::{AuthInfo, ExecConfig, ExecInteractiveMode, Kubeconfig};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::args::flux::Connection;

/// Bytes that a plugin may answer; tokens have a few thousand.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;

/// Runs the plugin of the user that counts, if it names one, and puts what it answers in its place.
pub(crate) async fn resolve(
    kubeconfig: &mut Kubeconfig,
    connection: &Connection,
    timeout: Duration,
) -> Result<()> {
    let cluster = cluster_of(kubeconfig, connection);
    let Some(user) = user_of(kubeconfig, connection) else { return Ok(()) };
    let Some(exec) = user.exec.take() else { return Ok(()) };
    // A token that is typed needs no other.
    if connection.token.as_ref().is_some_and(|token| !token.expose().is_empty()) {
        return Ok(());
    }
    let name = exec.command.clone().unwrap_or_default();
    let answer = tokio::time::timeout(timeout, run(&exec, cluster)).await;
    let answer = answer.unwrap_or_else(|_| {
        bail!("it did not answer within {} seconds", timeout.as_secs());
    });
    let status = answer.with_context(|| format!("the kubeconfig's login plugin `{name}`"))?;
    let text = |field: &str| status[field].as_str().map(str::to_owned);
    user.token = text("token").map(Into::into).or(user.token.take());
    if let (Some(certificate), Some(key)) = (text("clientCertificateData"), text("clientKeyData")) {
        user.client_certificate_data = Some(base64(&certificate));
        user.client_key_data = Some(base64(&key).into());
    }
    Ok(())
}

/// Runs a plugin and returns the `status` of what it answers.
#[expect(
    clippy::disallowed_methods,
    reason = "a user's own kubeconfig may name a login plugin, as kubectl runs it"
)]
async fn run(exec: &ExecConfig, cluster: Value) -> Result<Value> {
    let program = exec.command.as_deref().context("its command is empty")?;
    let interactive = exec.interactive_mode != Some(ExecInteractiveMode::Never);
    let mut spec = json!({"interactive": interactive});
    if exec.provide_cluster_info {
        spec["cluster"] = cluster;
    }
    let info = json!({"kind": "ExecCredential", "apiVersion": exec.api_version, "spec": spec});
    let mut command = Command::new(program);
    command.args(exec.args.iter().flatten());
    for variable in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
            command.env(name, value);
        }
    }
    for variable in exec.drop_env.iter().flatten() {
        command.env_remove(variable);
    }
    command.env("KUBERNETES_EXEC_INFO", info.to_string());
    command.stdin(if interactive { Stdio::inherit() } else { Stdio::null() });
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .context("it cannot be started")?;
    let stdout = child.stdout.take().context("its output is not to be had")?;
    let mut answer = Vec::new();
    stdout.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut answer).await?;
    if answer.len() as u64 > ANSWER_BYTES_MAX {
        bail!("it answered more than {ANSWER_BYTES_MAX} bytes");
    }
    let status = child.wait().await?;
    if !status.success() {
        bail!("it failed: {status}");
    }
    // The text may hold a token: an error tells where it is wrong, not what it says.
    let documents = yaml::documents(&answer);
    let first = documents.into_iter().next().context("it answered nothing")?;
    let credential = first.map_err(|_| anyhow::anyhow!("its answer is no JSON"))?.value;
    let status = credential["status"].clone();
    if status["token"].is_null() && status["clientCertificateData"].is_null() {
        bail!("its answer has neither a token nor a certificate");
    }
    Ok(status)
}

fn user_of<'k>(
    kubeconfig: &'k mut Kubeconfig,
    connection: &Connection,
) -> Option<&'k mut AuthInfo> {
    let name = match connection.user.as_str() {
        "" => context_of(kubeconfig, connection)?.user.clone()?,
        user => user.to_owned(),
    };
    let user = kubeconfig.auth_infos.iter_mut().find(|user| user.name == name)?;
    user.auth_info.as_mut()
}

/// Returns what a plugin that asks for it is told of the cluster.
fn cluster_of(kubeconfig: &Kubeconfig, connection: &Connection) -> Value {
    let name = match connection.cluster.as_str() {
        "" => context_of(kubeconfig, connection).map(|context| context.cluster.clone()),
        cluster => Some(cluster.to_owned()),
    };
    let known = kubeconfig.clusters.iter().find(|cluster| Some(&cluster.name) == name.as_ref());
    let Some(cluster) = known.and_then(|cluster| cluster.cluster.as_ref()) else {
        return Value::Null;
    };
    let mut told = json!({"server": cluster.server});
    let mut tell = |field: &str, value: Option<Value>| {
        if let Some(value) = value {
            told[field] = value;
        }
    };
    tell("tls-server-name", cluster.tls_server_name.clone().map(Value::from));
    tell("insecure-skip-tls-verify", cluster.insecure_skip_tls_verify.map(Value::from));
    tell("certificate-authority-data", cluster.certificate_authority_data.clone().map(Value::from));
    tell("proxy-url", cluster.proxy_url.clone().map(Value::from));
    told
}

fn context_of<'k>(
    kubeconfig: &'k Kubeconfig,
    connection: &Connection,
) -> Option<&'k kube::config::Context> {
    let name = match connection.context.as_str() {
        "" => kubeconfig.current_context.clone()?,
        context => context.to_owned(),
    };
    kubeconfig.contexts.iter().find(|context| context.name == name)?.context.as_ref()
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
