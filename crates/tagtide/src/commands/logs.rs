//! `logs`: the log lines of the controllers that belong to objects.

use std::io::Write as _;
use std::pin::pin;

use anyhow::{Result, anyhow, bail};
use cluster::Cluster;
use futures::future::join_all;
use futures::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, LogParams};
use serde::Deserialize;

use crate::args::flux::Logs;
use crate::console::{Console, said};
use crate::controllers_of::deployments;
use crate::daemon::{self, Daemon};
use crate::error::Outcome;

/// The container that a controller runs in when its pod has several.
const CONTAINER: &str = "manager";
/// Bytes of one line; Flux stops reading at half of it.
const LINE_BYTES_MAX: u64 = 128 * 1024;

/// What is told of a line, as controllers write it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    ts: String,
    level: String,
    msg: String,
    error: String,
    #[serde(rename = "reconciler kind")]
    reconciler_kind: String,
    #[serde(rename = "controllerKind")]
    controller_kind: String,
    name: String,
    namespace: String,
}

pub(crate) async fn run(logs: &Logs, console: &Console<'_>) -> Result<Outcome> {
    let namespace = console.checked_namespace()?;
    let cluster = console.cluster().await?;
    if !logs.names.names.is_empty() {
        bail!("no argument required");
    }
    let params = params(logs)?;
    let view = View { logs, namespace: &namespace, console, since: since(&params, &cluster) };
    if let Some(daemon) = Daemon::of(&cluster).await?
        && !daemon.controllers(&logs.flux_namespace).is_empty()
    {
        let lines = daemon::logs(&cluster, params.tail_lines, logs.follow).await?;
        // Following ends with the verb's time, which is no failure.
        let read = tokio::time::timeout(console.timeout(), view.lines(lines)).await;
        read.unwrap_or(Ok(()))?;
        return Ok(Outcome::Done);
    }
    let pods = pods(&cluster, &logs.flux_namespace).await?;
    if pods.is_empty() {
        bail!("no Flux pods found in namespace \"{}\"", logs.flux_namespace);
    }
    // Pods themselves leave older lines out.
    let view = View { since: None, ..view };
    let api = Api::<Pod>::namespaced(cluster.client().clone(), &logs.flux_namespace);
    if logs.follow && pods.len() > 1 {
        let streams = pods.iter().map(|pod| view.pod(&api, pod, &params));
        let followed = tokio::time::timeout(console.timeout(), join_all(streams)).await;
        for failed in followed.unwrap_or_default().into_iter().filter_map(Result::err) {
            console.ui.note(&format!("failed getting logs: {failed:#}"))?;
        }
        return Ok(Outcome::Done);
    }
    let mut has_failed = false;
    for pod in &pods {
        let read = tokio::time::timeout(console.timeout(), view.pod(&api, pod, &params)).await;
        let read = read.unwrap_or_else(|_| Err(anyhow!("context deadline exceeded")));
        if let Err(error) = read {
            console.ui.note(&format!("failed getting logs: {error:#}"))?;
            has_failed = true;
        }
    }
    if has_failed {
        bail!("failed to collect logs from all Flux pods");
    }
    Ok(Outcome::Done)
}

fn params(logs: &Logs) -> Result<LogParams> {
    let mut params = LogParams { follow: logs.follow, ..LogParams::default() };
    params.tail_lines = (logs.tail > -1).then_some(logs.tail);
    let since = logs.since.to_std();
    if !logs.since_time.is_empty() && !since.is_zero() {
        bail!("at most one of `sinceTime` or `sinceDuration` may be specified");
    }
    if !logs.since_time.is_empty() {
        let time = logs.since_time.parse::<Timestamp>();
        let Ok(time) = time else {
            bail!("{} is not a valid (RFC3339) time", logs.since_time);
        };
        params.since_time = Some(time);
    }
    if !since.is_zero() {
        params.since_seconds = Some(since.as_secs_f64().round() as i64);
    }
    Ok(params)
}

/// Returns one pod of each Deployment of the installation, one that runs before others.
async fn pods(cluster: &Cluster, namespace: &str) -> Result<Vec<Pod>> {
    let api = Api::<Pod>::namespaced(cluster.client().clone(), namespace);
    let mut pods = Vec::new();
    for deployment in deployments(cluster, namespace).await? {
        let params = ListParams::default().labels(&deployment.pod_selector());
        let found = cluster.list_all(&api, params).await?;
        pods.extend(found.into_iter().min_by_key(|pod| !is_ready(pod)));
    }
    Ok(pods)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut ready = conditions.filter(|condition| condition.type_ == "Ready");
    ready.any(|condition| condition.status == "True")
}

/// Returns from when on lines are asked for.
fn since(params: &LogParams, cluster: &Cluster) -> Option<Timestamp> {
    let seconds = params.since_seconds.map(SignedDuration::from_secs);
    params.since_time.or(seconds.map(|seconds| cluster.clock().now() - seconds))
}

struct View<'a> {
    logs: &'a Logs,
    namespace: &'a str,
    console: &'a Console<'a>,
    /// Lines before this time are left out.
    since: Option<Timestamp>,
}

impl View<'_> {
    async fn pod(&self, api: &Api<Pod>, pod: &Pod, params: &LogParams) -> Result<()> {
        let n_containers = pod.spec.as_ref().map_or(0, |spec| spec.containers.len());
        let container = (n_containers > 1).then(|| CONTAINER.to_owned());
        let params = LogParams { container, ..params.clone() };
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let lines = api.log_stream(name, &params).await.map_err(said)?;
        self.lines(lines).await
    }

    /// Prints the lines of a stream that are asked for; a line that cannot be read ends it.
    async fn lines(&self, lines: impl AsyncBufRead) -> Result<()> {
        let mut lines = pin!(lines);
        loop {
            let mut line = Vec::new();
            (&mut lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
            if line.is_empty() {
                return Ok(());
            }
            if line.len() as u64 == LINE_BYTES_MAX && !line.ends_with(b"\n") {
                bail!("a line is longer than {LINE_BYTES_MAX} bytes");
            }
            if !line.starts_with(b"{") {
                continue;
            }
            match serde_json::from_slice::<Line>(&line) {
                Ok(line) if self.is_asked(&line) => self.console.ui.data(&line.formatted()?)?,
                Ok(_) => {}
                Err(error) => {
                    self.console.failure(&format!("parse error: {error}"))?;
                    return Ok(());
                }
            }
        }
    }

    fn is_asked(&self, line: &Line) -> bool {
        let logs = self.logs;
        let is = |wanted: &str, value: &str| wanted.eq_ignore_ascii_case(value);
        let kinds = [&line.reconciler_kind, &line.controller_kind];
        let is_older = |since: Timestamp| line.ts.parse().is_ok_and(|ts: Timestamp| ts < since);
        !self.since.is_some_and(is_older)
            && (logs.level.is_empty() || logs.level == line.level)
            && (logs.kind.is_empty() || kinds.iter().any(|kind| is(&logs.kind, kind)))
            && (logs.name.is_empty() || is(&logs.name, &line.name))
            && (logs.all_namespaces || is(self.namespace, &line.namespace))
    }
}

impl Line {
    fn formatted(&self) -> Result<String> {
        let kind = match self.reconciler_kind.as_str() {
            "" => &self.controller_kind,
            kind => kind,
        };
        let mut text = Vec::new();
        write!(text, "{} {} {kind}", self.ts, self.level)?;
        if !self.name.is_empty() {
            write!(text, "/{}.{}", self.name, self.namespace)?;
        }
        writeln!(text, " - {} {}", self.msg, self.error)?;
        Ok(String::from_utf8(text)?)
    }
}
