//! `create`: makes an object from flags, prints it or applies it, and waits until it was reconciled.

mod git_repository;
mod image_policy;
mod image_repository;
mod image_update_automation;
mod labels;
mod secret;
mod sound;

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Result, anyhow, bail};
use api::Kind;
use cluster::Upserted;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use crate::args::create::{
    Create, CreateFlags, CreateImage, CreateSecret, CreateSource, CreateSourceSubject,
    CreateSubject,
};
use crate::args::pflag::Program;
use crate::commands::export;
use crate::console::Console;
use crate::error::Outcome;

/// Bytes of a certificate or key; a Secret takes no more in all.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Characters of a name.
const NAME_LENGTHS: std::ops::RangeInclusive<usize> = 2..=63;

pub(crate) async fn run(create: &Create, console: &Console<'_>) -> Result<Outcome> {
    let name = check_name(names_of(&create.subject).first())?;
    let namespace = match console.program {
        // Flux does not look at the namespace here.
        Program::Flux => console.namespace()?,
        Program::Tagtide => console.checked_namespace()?,
    };
    let work = Work { console, flags: &create.flags, name, namespace };
    match &create.subject {
        CreateSubject::Image { subject: CreateImage::Policy(policy) } => {
            work.object(Kind::ImagePolicy, image_policy::spec(policy, &work)?).await
        }
        CreateSubject::Image { subject: CreateImage::Repository(repository) } => {
            work.object(Kind::ImageRepository, image_repository::spec(repository, &work)?).await
        }
        CreateSubject::Image { subject: CreateImage::Update(update) } => {
            let spec = image_update_automation::spec(update, &work)?;
            work.object(Kind::ImageUpdateAutomation, spec).await
        }
        CreateSubject::Source(source @ CreateSource { subject, .. }) => match subject {
            CreateSourceSubject::Git(git) => git_repository::run(git, source, &work).await,
        },
        CreateSubject::Secret { subject } => secret::run(subject, &work).await,
    }
}

/// One object to be made.
struct Work<'a> {
    console: &'a Console<'a>,
    flags: &'a CreateFlags,
    name: &'a str,
    namespace: String,
}

impl Work<'_> {
    /// Returns the labels that were typed.
    fn labels(&self) -> Result<BTreeMap<String, String>> {
        labels::parse(&self.flags.label)
    }

    /// Whether a quirk of Flux is kept, though it makes an object that does not work.
    fn keeps_quirks(&self) -> bool {
        self.console.program == Program::Flux
    }

    fn describe(&self, kind: Kind, spec: Value) -> Result<DynamicObject> {
        let names = kind.names();
        let kind = GroupVersionKind::gvk(names.group, names.version, names.kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, names.plural);
        let mut object = DynamicObject::new(self.name, &resource).within(&self.namespace);
        object.metadata.labels = Some(self.labels()?).filter(|labels| !labels.is_empty());
        object.data = json!({"spec": spec});
        Ok(object)
    }

    /// Prints an object of an image kind, or applies it and waits for it.
    async fn object(&self, kind: Kind, spec: Value) -> Result<Outcome> {
        let console = self.console;
        let object = self.describe(kind, spec)?;
        if !self.keeps_quirks() {
            sound::check(kind, &object)?;
        }
        if self.flags.export {
            export::print(&export::exported(kind, &object), console)?;
            return Ok(Outcome::Done);
        }
        let cluster = console.cluster_to_change().await?;
        console.generate(&format!("generating {kind}"))?;
        console.action(&format!("applying {kind}"))?;
        match cluster.create_or_update(kind, &object).await? {
            Upserted::Created => console.success(&format!("{kind} created"))?,
            Upserted::Updated => console.success(&format!("{kind} updated"))?,
            Upserted::Unchanged => {}
        }
        console.waiting(&format!("waiting for {kind} reconciliation"))?;
        cluster.wait_ready(kind, &self.namespace, self.name, console.timeout()).await?;
        console.success(&format!("{kind} reconciliation completed"))?;
        Ok(Outcome::Done)
    }
}

fn names_of(subject: &CreateSubject) -> &[String] {
    let names = match subject {
        CreateSubject::Image { subject } => match subject {
            CreateImage::Policy(policy) => &policy.names,
            CreateImage::Repository(repository) => &repository.names,
            CreateImage::Update(update) => &update.names,
        },
        CreateSubject::Source(CreateSource { subject: CreateSourceSubject::Git(git), .. }) => {
            &git.names
        }
        CreateSubject::Secret { subject } => match subject {
            CreateSecret::Git(secret) => &secret.names,
            CreateSecret::Githubapp(secret) => &secret.names,
            CreateSecret::Helm(secret) => &secret.names,
            CreateSecret::Oci(secret) => &secret.names,
            CreateSecret::Proxy(secret) => &secret.names,
            CreateSecret::Tls(secret) => &secret.names,
        },
    };
    &names.names
}

fn check_name(name: Option<&String>) -> Result<&str> {
    let Some(name) = name else { bail!("name is required") };
    let is_alphanumeric = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    let is_valid = NAME_LENGTHS.contains(&name.len())
        && name.bytes().all(|byte| is_alphanumeric(byte) || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if !is_valid {
        bail!(
            "name '{name}' is invalid, it should adhere to standard defined in RFC 1123, \
             the name can only contain alphanumeric characters or '-'"
        );
    }
    Ok(name)
}

/// Returns a text, or null if it is empty, so that the field is left out.
fn optional(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { text.into() }
}

/// Returns a reference to an object by its name, or null if there is none.
fn reference(name: &str) -> Value {
    if name.is_empty() { Value::Null } else { json!({"name": name}) }
}

/// Removes the fields without a value, at every level.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, value)| !value.is_null());
            kept.map(|(field, value)| (field, without_nulls(value))).collect()
        }
        value => value,
    }
}

/// Reads a file that was named on the command line; an error is worded as Go words it.
fn read_file(path: &str) -> Result<Vec<u8>> {
    let said = |what: &str, error: std::io::Error| {
        let text = error.to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        let mut letters = text.chars();
        let first = letters.next().map(|letter| letter.to_ascii_lowercase());
        let text: String = first.into_iter().chain(letters).collect();
        anyhow!("{what} {path}: {text}")
    };
    let file = std::fs::File::open(path).map_err(|error| said("open", error))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| said("read", error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        bail!("read {path}: over {FILE_BYTES_MAX} bytes, more than a Secret takes");
    }
    Ok(bytes)
}
