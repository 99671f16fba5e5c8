//! `get`: the objects of a kind, or of several, as a table, as JSON or as YAML.

use std::pin::pin;

use anyhow::{Result, bail};
use api::Kind;
use cluster::{Cluster, Selection};
use futures::StreamExt as _;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::args::flux::{Get, GetFlags, GetImages, GetSources, GetSubject, Names};
use crate::console::Console;
use crate::error::Outcome;
use crate::kinds;
use crate::table;

pub(crate) async fn run(get: &Get, console: &Console<'_>) -> Result<Outcome> {
    let (kinds, names): (&[Kind], &Names) = match &get.subject {
        GetSubject::All(names) => (&[kinds::SOURCES.as_slice(), &kinds::IMAGES].concat(), names),
        GetSubject::Images { subject: GetImages::All(names) } => (&kinds::IMAGES, names),
        GetSubject::Images { subject: GetImages::Policy(names) } => (&[Kind::ImagePolicy], names),
        GetSubject::Images { subject: GetImages::Repository(names) } => {
            (&[Kind::ImageRepository], names)
        }
        GetSubject::Images { subject: GetImages::Update(names) } => {
            (&[Kind::ImageUpdateAutomation], names)
        }
        GetSubject::Sources { subject: GetSources::All(names) } => (&kinds::SOURCES, names),
        GetSubject::Sources { subject: GetSources::Git(names) } => (&[Kind::GitRepository], names),
    };
    let is_all = matches!(
        get.subject,
        GetSubject::All(_)
            | GetSubject::Images { subject: GetImages::All(_) }
            | GetSubject::Sources { subject: GetSources::All(_) }
    );
    if is_all && get.flags.watch {
        bail!("expected a single resource type, but found all");
    }
    let format = Format::of(&get.flags)?;
    let namespace = console.checked_namespace()?;
    let view = View {
        console,
        flags: &get.flags,
        cluster: console.cluster().await?,
        namespace,
        name: names.names.first().map(String::as_str),
        is_all,
    };
    let work = async {
        match (format, kinds) {
            (Format::Table, kinds) if is_all => view.tables(kinds).await,
            (Format::Table, [kind]) if get.flags.watch => view.watch(*kind, print_rows).await,
            (_, [kind]) if get.flags.watch => {
                view.watch(*kind, |view, kind, object, _| {
                    view.print(format, &written(kind, object)?)
                })
                .await
            }
            (Format::Table, kinds) => view.table(kinds[0]).await,
            (_, kinds) => view.documents(format, kinds).await,
        }
    };
    let ended = tokio::time::timeout(console.timeout(), work).await;
    ended.unwrap_or_else(|_| bail!("timed out waiting for the condition"))?;
    Ok(Outcome::Done)
}

/// How objects are printed.
#[derive(Clone, Copy, PartialEq)]
enum Format {
    Table,
    Json,
    Yaml,
}

impl Format {
    fn of(flags: &GetFlags) -> Result<Self> {
        match flags.output.as_str() {
            "" => Ok(Format::Table),
            "json" => Ok(Format::Json),
            "yaml" => Ok(Format::Yaml),
            other => bail!("--output must be json or yaml, not {other}"),
        }
    }
}

/// What is asked for, and where.
struct View<'a> {
    console: &'a Console<'a>,
    flags: &'a GetFlags,
    cluster: Cluster,
    namespace: String,
    name: Option<&'a str>,
    /// Whether several kinds are asked for at once.
    is_all: bool,
}

impl View<'_> {
    /// Prints a table for each kind that has objects. An error of one kind does not stop the others.
    async fn tables(&self, kinds: &[Kind]) -> Result<()> {
        for kind in kinds {
            match self.table(*kind).await {
                Err(error) if is_unknown_kind(&error) => {}
                Err(error) => self.console.failure(&format!("{error:#}"))?,
                Ok(()) => {}
            }
        }
        Ok(())
    }

    async fn table(&self, kind: Kind) -> Result<()> {
        let objects = self.cluster.list(kind, &self.selection()).await?;
        if objects.is_empty() {
            return self.nothing(kind);
        }
        let rows = self.rows(kind, &objects)?;
        if self.is_all && rows.is_empty() {
            return Ok(());
        }
        let end = if self.is_all { "\n" } else { "" };
        self.console.ui.data(&format!("{}{end}", table::render(&self.header(kind), &rows)))
    }

    /// Says that there is nothing, which is only a mistake where one kind is asked for.
    fn nothing(&self, kind: Kind) -> Result<()> {
        let place = match self.flags.all_namespaces {
            true => "any".to_owned(),
            false => format!("{:?}", self.namespace),
        };
        match self.name {
            Some(name) => bail!("{kind} object '{name}' not found in {place} namespace"),
            None if self.is_all => Ok(()),
            None => bail!("no {kind} objects found in {place} namespace"),
        }
    }

    async fn documents(&self, format: Format, kinds: &[Kind]) -> Result<()> {
        let mut items = Vec::new();
        for kind in kinds {
            let objects = match self.cluster.list(*kind, &self.selection()).await {
                Err(error) if self.is_all && error.is_unknown_kind() => continue,
                listed => listed?,
            };
            if objects.is_empty() {
                self.nothing(*kind)?;
            }
            for object in objects {
                let object = written(*kind, object)?;
                if self.is_selected(&object)? {
                    items.push(object);
                }
            }
        }
        let one = (self.name.is_some() && items.len() == 1).then(|| items.remove(0));
        let document = one.unwrap_or_else(|| {
            json!({"apiVersion": "v1", "kind": "List", "items": items, "metadata": {"resourceVersion": ""}})
        });
        self.print(format, &document)
    }

    fn print(&self, format: Format, document: &Value) -> Result<()> {
        match format {
            Format::Json => self.console.ui.json(document),
            _ if self.flags.watch => {
                self.console.ui.data(&format!("---\n{}", yaml::to_string(document)))
            }
            _ => self.console.ui.data(&yaml::to_string(document)),
        }
    }

    /// Prints objects as they are and as they become, until the server or time ends it.
    async fn watch(
        &self,
        kind: Kind,
        print: impl Fn(&Self, Kind, DynamicObject, bool) -> Result<()>,
    ) -> Result<()> {
        let mut events = pin!(self.cluster.watch(kind, &self.selection()).await?);
        let mut is_first = true;
        while let Some(object) = events.next().await {
            print(self, kind, object?, is_first)?;
            is_first = false;
        }
        bail!("watch closed before UntilWithoutRetry timeout")
    }

    fn selection(&self) -> Selection<'_> {
        Selection {
            namespace: (!self.flags.all_namespaces).then_some(&self.namespace),
            name: self.name,
            labels: &self.flags.label_selector,
        }
    }

    fn header(&self, kind: Kind) -> Vec<&'static str> {
        if self.flags.no_header {
            return Vec::new();
        }
        let namespace = self.flags.all_namespaces.then_some("Namespace");
        namespace.into_iter().chain(kinds::header(kind)).collect()
    }

    fn rows(&self, kind: Kind, objects: &[DynamicObject]) -> Result<Vec<Vec<String>>> {
        let mut rows = Vec::new();
        for object in objects {
            let object = serde_json::to_value(object)?;
            if self.is_selected(&object)? {
                rows.push(self.row(kind, &object));
            }
        }
        Ok(rows)
    }

    fn row(&self, kind: Kind, object: &Value) -> Vec<String> {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let name = match self.is_all {
            true => format!("{}/{}", kind.names().singular, text("name")),
            false => text("name"),
        };
        let namespace = self.flags.all_namespaces.then(|| text("namespace"));
        namespace.into_iter().chain([name]).chain(kinds::cells(kind, object)).collect()
    }

    fn is_selected(&self, object: &Value) -> Result<bool> {
        let selector = &self.flags.status_selector;
        if selector.is_empty() {
            return Ok(true);
        }
        if let Some((type_, status)) = selector.split_once("!=") {
            return Ok(!kinds::has_status(object, type_, status));
        }
        match selector.split_once('=') {
            Some((type_, status)) => Ok(kinds::has_status(object, type_, status)),
            None => bail!(
                "expected status selector in type=status or type!=status format, but found: {selector}"
            ),
        }
    }
}

fn print_rows(view: &View<'_>, kind: Kind, object: DynamicObject, is_first: bool) -> Result<()> {
    let header = if is_first { view.header(kind) } else { Vec::new() };
    let rows = view.rows(kind, &[object])?;
    view.console.ui.data(&table::render(&header, &rows))
}

/// Returns an object as kubectl prints it: with its type, without who manages which field.
fn written(kind: Kind, object: DynamicObject) -> Result<Value> {
    let mut object = serde_json::to_value(object)?;
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = kind.as_str().into();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    Ok(object)
}

fn is_unknown_kind(error: &anyhow::Error) -> bool {
    error.downcast_ref::<cluster::Error>().is_some_and(cluster::Error::is_unknown_kind)
}
