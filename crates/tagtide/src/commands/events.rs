//! `events`: what was told about objects, the oldest first.

use std::pin::pin;

use anyhow::{Context, Result, bail};
use api::Kind;
use cluster::Cluster;
use futures::StreamExt as _;
use futures::stream::select_all;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::{ListParams, WatchParams};

use crate::args::flux::Events;
use crate::console::Console;
use crate::error::Outcome;
use crate::table;

/// Kinds whose events are shown: Flux's.
const KINDS: [&str; 14] = [
    "Alert",
    "ArtifactGenerator",
    "Bucket",
    "GitRepository",
    "HelmChart",
    "HelmRelease",
    "HelmRepository",
    "ImagePolicy",
    "ImageRepository",
    "ImageUpdateAutomation",
    "Kustomization",
    "OCIRepository",
    "Provider",
    "Receiver",
];

/// The objects that events are asked for: all of a namespace, or one, or what that one refers to.
struct Asked {
    namespace: Option<String>,
    fields: String,
}

pub(crate) async fn run(events: &Events, console: &Console<'_>) -> Result<Outcome> {
    for type_ in &events.types {
        if !["Normal", "Warning"].iter().any(|known| known.eq_ignore_ascii_case(type_)) {
            bail!("type '{type_}' not supported. Supported types are Normal, Warning");
        }
    }
    let namespace = console.checked_namespace()?;
    let cluster = console.cluster().await?;
    let asked = asked(events, &cluster, &namespace).await?;
    let place = (!events.all_namespaces).then_some(&*namespace);
    let is_elsewhere = asked.iter().any(|asked| asked.namespace.as_deref() != place);
    let view = View {
        console,
        cluster,
        types: &events.types,
        shows_namespace: events.all_namespaces || is_elsewhere,
    };
    if events.watch {
        // Time ends it, which is no failure.
        let watched = tokio::time::timeout(console.timeout(), view.watch(&asked)).await;
        watched.unwrap_or(Ok(()))?;
        return Ok(Outcome::Done);
    }
    let rows = view.list(&asked).await?;
    if !rows.is_empty() {
        console.ui.data(&table::render(&view.header(), &rows))?;
    } else if events.all_namespaces {
        console.failure("No events found.")?;
    } else {
        console.failure(&format!("No events found in {namespace} namespace."))?;
    }
    Ok(Outcome::Done)
}

/// Reads `--for KIND[/NAME]`, and looks up what that object refers to.
async fn asked(events: &Events, cluster: &Cluster, namespace: &str) -> Result<Vec<Asked>> {
    let place = (!events.all_namespaces).then(|| namespace.to_owned());
    if events.for_object.is_empty() {
        return Ok(vec![Asked { namespace: place, fields: String::new() }]);
    }
    let (kind, name) = match events.for_object.split('/').collect::<Vec<_>>()[..] {
        [kind, name] => (kind, name),
        // With more than one slash all of it is taken for a kind.
        _ => (events.for_object.as_str(), ""),
    };
    if kind.is_empty() {
        bail!("--for selector must be of format <kind>[/<name>]");
    }
    let Some(known) = KINDS.iter().find(|known| known.eq_ignore_ascii_case(kind)) else {
        bail!("'{kind}' is not a recognized Flux kind");
    };
    let mut asked = vec![Asked { namespace: place, fields: fields(known, name) }];
    if *known == Kind::ImagePolicy.as_str() && !name.is_empty() {
        let policy = cluster.get(Kind::ImagePolicy, namespace, name).await?;
        let reference = &policy.data["spec"]["imageRepositoryRef"];
        let repository = reference["name"].as_str().with_context(|| {
            format!("field 'spec.imageRepositoryRef.name' for '{namespace}/{name}' not found")
        })?;
        let elsewhere = reference["namespace"].as_str().unwrap_or(namespace);
        asked.push(Asked {
            namespace: Some(elsewhere.to_owned()),
            fields: fields(Kind::ImageRepository.as_str(), repository),
        });
    }
    Ok(asked)
}

fn fields(kind: &str, name: &str) -> String {
    match name {
        "" => format!("involvedObject.kind={kind}"),
        name => format!("involvedObject.kind={kind},involvedObject.name={name}"),
    }
}

struct View<'a> {
    console: &'a Console<'a>,
    cluster: Cluster,
    types: &'a [String],
    shows_namespace: bool,
}

impl View<'_> {
    async fn list(&self, asked: &[Asked]) -> Result<Vec<Vec<String>>> {
        let mut events = Vec::new();
        for asked in asked {
            let params = match asked.fields.as_str() {
                "" => ListParams::default(),
                fields => ListParams::default().fields(fields),
            };
            let listed = self.cluster.list_all(&self.api(asked), params).await;
            events.extend(listed.context("error getting events")?);
        }
        events.sort_by_key(last_seen);
        Ok(events
            .iter()
            .filter(|event| self.is_shown(event))
            .map(|event| self.row(event))
            .collect())
    }

    /// Prints events as they come, until the server ends one of the watches.
    async fn watch(&self, asked: &[Asked]) -> Result<()> {
        let mut watches = Vec::new();
        for asked in asked {
            let params = match asked.fields.as_str() {
                "" => WatchParams::default(),
                fields => WatchParams::default().fields(fields),
            };
            watches.push(self.cluster.watch_all(&self.api(asked), params).await?.boxed());
        }
        let mut header = self.header();
        let mut events = pin!(select_all(watches));
        while let Some(event) = events.next().await {
            let event = event?;
            if self.is_shown(&event) {
                self.console.ui.data(&table::render(&header, &[self.row(&event)]))?;
                header.clear();
            }
        }
        Ok(())
    }

    fn api(&self, asked: &Asked) -> Api<Event> {
        let client = self.cluster.client().clone();
        match &asked.namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        }
    }

    fn is_shown(&self, event: &Event) -> bool {
        let kind = event.involved_object.kind.as_deref().unwrap_or_default();
        let type_ = event.type_.as_deref().unwrap_or_default();
        KINDS.iter().any(|known| known.eq_ignore_ascii_case(kind))
            && (self.types.is_empty()
                || self.types.iter().any(|wanted| wanted.eq_ignore_ascii_case(type_)))
    }

    fn header(&self) -> Vec<&'static str> {
        let namespace = self.shows_namespace.then_some("Namespace");
        namespace.into_iter().chain(["Last seen", "Type", "Reason", "Object", "Message"]).collect()
    }

    fn row(&self, event: &Event) -> Vec<String> {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let object = &event.involved_object;
        let namespace = self.shows_namespace.then(|| text(&event.metadata.namespace));
        let cells = [
            seen(event, self.cluster.clock().now()),
            text(&event.type_),
            text(&event.reason),
            format!("{}/{}", text(&object.kind), text(&object.name)),
            text(&event.message),
        ];
        namespace.into_iter().chain(cells).collect()
    }
}

/// When an event was last seen, for its place among others.
fn last_seen(event: &Event) -> Option<Timestamp> {
    if let Some(series) = &event.series {
        return series.last_observed_time.as_ref().map(|time| time.0);
    }
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    last.or(event.event_time.as_ref().map(|time| time.0))
}

/// Returns how long ago an event was seen, and how often since when.
fn seen(event: &Event, now: Timestamp) -> String {
    let since = |time: Option<Timestamp>| match time {
        Some(time) => ago(now.duration_since(time)),
        None => "<unknown>".to_owned(),
    };
    let event_time = event.event_time.as_ref().map(|time| time.0);
    let first = since(event_time.or(event.first_timestamp.as_ref().map(|time| time.0)));
    if let Some(series) = &event.series {
        let last = since(series.last_observed_time.as_ref().map(|time| time.0));
        return format!("{last} (x{} over {first})", series.count.unwrap_or(0));
    }
    match event.count {
        Some(count) if count > 1 => {
            let last = since(event.last_timestamp.as_ref().map(|time| time.0));
            format!("{last} (x{count} over {first})")
        }
        _ => first,
    }
}

/// Returns a time span as kubectl writes it: two units at most.
fn ago(span: SignedDuration) -> String {
    let seconds = span.as_secs();
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let two = |large: i64, unit: char, small: i64, other: char| match small {
        0 => format!("{large}{unit}"),
        small => format!("{large}{unit}{small}{other}"),
    };
    match () {
        // Clocks differ by a little.
        () if seconds < -1 => "<invalid>".to_owned(),
        () if seconds < 0 => "0s".to_owned(),
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, 'm', seconds % 60, 's'),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, 'h', minutes % 60, 'm'),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => two(days, 'd', hours % 24, 'h'),
        () if years < 2 => format!("{days}d"),
        () if years < 8 => two(years, 'y', days % 365, 'd'),
        () => format!("{years}y"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_as_kubectl_writes_them() {
        let check = |seconds: i64, expected: &str| {
            assert_eq!(ago(SignedDuration::from_secs(seconds)), expected, "{seconds}");
        };
        check(-5, "<invalid>");
        check(-1, "0s");
        check(119, "119s");
        check(120, "2m");
        check(190, "3m10s");
        check(600, "10m");
        check(3 * 3600, "3h");
        check(3 * 3600 + 300, "3h5m");
        check(47 * 3600, "47h");
        check(49 * 3600, "2d1h");
        check(9 * 86400, "9d");
        check(2 * 365 * 86400, "2y");
        check(3 * 365 * 86400 + 86400, "3y1d");
        check(9 * 365 * 86400, "9y");
    }
}
