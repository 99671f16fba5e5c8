//! `tagtide explain image policy`: a verdict and a reason for every tag, from files or from a server.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use api::image::{ImagePolicySpec, ImageRepositorySpec};
use api::{Kind, TagList};
use automation::policy::{Choice, Exclusions, Policy};
use automation::verdict::{Judgement, Verdict};
use cluster::Cluster;
use kube::api::DynamicObject;
use serde::Serialize;
use serde_json::Value;

use crate::args::flux::Connection;
use crate::args::pflag::Program;
use crate::args::{Environment, ExplainPolicy, Output, Place};
use crate::console::Console;
use crate::daemon;
use crate::error::{Outcome, Usage};
use crate::manifests;
use crate::ui::Ui;

/// As many bytes as a listing may have.
const TAGS_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How long a server may take to tell of a policy.
const SERVER_TIMEOUT: Duration = Duration::from_secs(60);

/// The document of `-o json`.
#[derive(Serialize)]
struct Explanation<'a> {
    winner: Option<Chosen<'a>>,
    #[serde(rename = "runnerUp")]
    runner_up: Option<Chosen<'a>>,
    error: Option<String>,
    tags: Vec<Tag<'a>>,
}

#[derive(Serialize)]
struct Chosen<'a> {
    tag: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
struct Tag<'a> {
    tag: &'a str,
    value: Option<&'a str>,
    verdict: &'static str,
    reason: String,
}

/// Explains the policy in a file.
pub(crate) fn run(args: &ExplainPolicy, file: &Path, ui: &Ui) -> Result<Outcome> {
    let (spec, exclusions) = policy_of(args, file)?;
    let tags = read_tags(args)?;
    explain(args, &spec, &exclusions, &tags, ui)
}

/// Explains a policy on a server: by the listing that a `tagtide up` keeps, else by what the objects tell.
pub(crate) async fn on_server(
    args: &ExplainPolicy,
    environment: &Environment,
    ui: &Ui,
) -> Result<Outcome> {
    let Some(name) = &args.name else {
        let missing = "name a policy on the server, or give its file with --policy";
        return Err(Usage(missing.to_owned()).into());
    };
    let (connection, typed) = connection(&args.place);
    let console = Console::new(Program::Tagtide, &connection, &typed, environment, ui);
    let namespace = console.checked_namespace()?;
    let asked = async {
        let cluster = console.cluster().await?;
        let policy = cluster.get(Kind::ImagePolicy, &namespace, name).await?;
        let listing = listing(&cluster, &namespace, &policy, ui).await?;
        anyhow::Ok((policy, listing))
    };
    let asked = tokio::time::timeout(console.timeout(), asked).await;
    let (policy, (exclusions, tags)) = asked.context("the server did not answer in time")??;
    let spec: ImagePolicySpec = serde_json::from_value(policy.data["spec"].clone())
        .with_context(|| format!("ImagePolicy {name}"))?;
    let outcome = explain(args, &spec, &exclusions, &tags, ui)?;
    let status = &policy.data["status"];
    if let Some(tag) = status["latestRef"]["tag"].as_str() {
        ui.note(&format!("in effect: {tag}"))?;
    }
    let held = status["conditions"].as_array().into_iter().flatten();
    for held in held.filter(|held| held["type"] == "Held" && held["status"] == "True") {
        ui.note(&format!("held: {}", held["message"].as_str().unwrap_or_default()))?;
    }
    Ok(outcome)
}

/// Returns the flags of every verb with those that were typed here.
fn connection(place: &Place) -> (Connection, BTreeSet<String>) {
    let flags = [
        ("namespace", &place.namespace),
        ("kubeconfig", &place.kubeconfig),
        ("context", &place.context),
        ("state", &place.state),
    ];
    let typed = flags.iter().filter(|(_, value)| value.is_some());
    let typed = typed.map(|(name, _)| (*name).to_owned()).collect();
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let connection = Connection {
        namespace: text(&place.namespace),
        kubeconfig: text(&place.kubeconfig),
        context: text(&place.context),
        state: text(&place.state),
        timeout: SERVER_TIMEOUT.into(),
        ..Connection::default()
    };
    (connection, typed)
}

/// Returns the exclusions and the tags of the repository that a policy chooses from.
async fn listing(
    cluster: &Cluster,
    namespace: &str,
    policy: &DynamicObject,
    ui: &Ui,
) -> Result<(Vec<String>, TagList)> {
    let reference = &policy.data["spec"]["imageRepositoryRef"];
    let name = reference["name"].as_str().unwrap_or_default();
    let namespace = reference["namespace"].as_str().unwrap_or(namespace);
    let repository = cluster.get(Kind::ImageRepository, namespace, name).await?;
    let spec: ImageRepositorySpec = serde_json::from_value(repository.data["spec"].clone())
        .with_context(|| format!("ImageRepository {name}"))?;
    if let Some(tags) = daemon::tags(cluster, namespace, name).await? {
        return Ok((spec.exclusions(), tags));
    }
    let scan = &repository.data["status"]["lastScanResult"];
    let latest = scan["latestTags"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let tags: TagList = latest.collect();
    let n_tags = scan["tagCount"].as_u64().unwrap_or(0);
    if n_tags > tags.len() as u64 {
        ui.note(&format!(
            "only the {} tags that ImageRepository {namespace}/{name} tells of are explained, of {n_tags}; \
             for all of them give --policy and --tags",
            tags.len()
        ))?;
    }
    Ok((spec.exclusions(), tags))
}

fn explain(
    args: &ExplainPolicy,
    spec: &ImagePolicySpec,
    exclusions: &[String],
    tags: &TagList,
    ui: &Ui,
) -> Result<Outcome> {
    let judged = Exclusions::new(exclusions).map_err(|error| error.to_string());
    let policy =
        Policy::new(&spec.policy, spec.filter_tags.as_ref()).map_err(|error| error.to_string());
    let judgement = match (&policy, &judged) {
        (Ok(policy), Ok(exclusions)) => Ok(policy.judge(tags, exclusions)),
        (Err(error), _) | (_, Err(error)) => Err(error.clone()),
    };
    let mut explanation = match &judgement {
        Ok(judgement) => explanation(judgement),
        Err(error) => Explanation {
            winner: None,
            runner_up: None,
            error: Some(error.clone()),
            tags: Vec::new(),
        },
    };
    if let Some(wanted) = &args.tag {
        if judgement.is_ok() && !explanation.tags.iter().any(|tag| tag.tag == wanted) {
            bail!("tag `{wanted}` is not in the listing");
        }
        explanation.tags.retain(|tag| tag.tag == wanted);
    }
    print(&explanation, args.output, ui)?;
    Ok(if explanation.error.is_some() { Outcome::Failed } else { Outcome::Done })
}

/// Returns the policy's spec, and the exclusions of its repository if the file holds it.
fn policy_of(args: &ExplainPolicy, path: &Path) -> Result<(ImagePolicySpec, Vec<String>)> {
    let file = path.display();
    let loaded = manifests::load(&[path.to_path_buf()], "default")?;
    if let Some(problem) = loaded.problems.first() {
        bail!("{problem}");
    }
    let of_kind = |kind: &'static str| {
        loaded
            .objects
            .iter()
            .map(|manifest| &manifest.value)
            .filter(move |value| value["kind"] == kind)
    };
    let named =
        |value: &&Value| args.name.as_ref().is_none_or(|name| value["metadata"]["name"] == **name);
    let policies: Vec<_> = of_kind("ImagePolicy").filter(named).collect();
    let policy = match (policies.as_slice(), &args.name) {
        ([policy], _) => *policy,
        ([], Some(name)) => bail!("{file} holds no ImagePolicy `{name}`"),
        ([], None) => bail!("{file} holds no ImagePolicy"),
        (_, Some(name)) => bail!("{file} holds several ImagePolicies `{name}`; keep one"),
        (_, None) => {
            return Err(
                Usage(format!("{file} holds several ImagePolicies; name one of them")).into()
            );
        }
    };
    let spec: ImagePolicySpec = serde_json::from_value(policy["spec"].clone())
        .map_err(|error| anyhow!("{file}: ImagePolicy {}: {error}", policy["metadata"]["name"]))?;
    let own = policy["metadata"]["namespace"].as_str().unwrap_or_default();
    let reference = &spec.image_repository_ref;
    let repository = of_kind("ImageRepository").find(|value| {
        value["metadata"]["name"] == *reference.name
            && value["metadata"]["namespace"] == *reference.namespace_or(own)
    });
    let Some(repository) = repository else { return Ok((spec, Vec::new())) };
    let repository: ImageRepositorySpec = serde_json::from_value(repository["spec"].clone())
        .map_err(|error| anyhow!("{file}: ImageRepository `{}`: {error}", reference.name))?;
    Ok((spec, repository.exclusions()))
}

fn read_tags(args: &ExplainPolicy) -> Result<TagList> {
    if let Some(path) = &args.tags {
        return Ok(lines(&read_text(path)?));
    }
    let Some(path) = &args.tags_json else {
        let missing = "--policy needs the tags to choose from: give --tags or --tags-json";
        return Err(Usage(missing.to_owned()).into());
    };
    let text = read_text(path)?;
    let value: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", name_of(path)))?;
    let array = if value.is_object() { &value["tags"] } else { &value };
    let wrong =
        || anyhow!("{} is neither an array of strings nor an object with `tags`", name_of(path));
    let tags = array.as_array().ok_or_else(wrong)?.iter().map(Value::as_str);
    tags.collect::<Option<Vec<_>>>().ok_or_else(wrong).map(|tags| tags.into_iter().collect())
}

/// Returns a tag for every line, verbatim; what follows the last line feed is a line if it is not empty.
fn lines(text: &str) -> TagList {
    text.strip_suffix('\n').unwrap_or(text).split('\n').filter(|_| !text.is_empty()).collect()
}

fn name_of(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

fn read_text(path: &Path) -> Result<String> {
    let mut text = String::new();
    let name = name_of(path);
    let mut take =
        |reader: &mut dyn Read| reader.take(TAGS_BYTES_MAX + 1).read_to_string(&mut text);
    let read = if path == Path::new("-") {
        take(&mut std::io::stdin())
    } else {
        take(&mut std::fs::File::open(path).with_context(|| format!("cannot read {name}"))?)
    };
    let n_bytes = read.with_context(|| format!("cannot read {name}"))?;
    if n_bytes as u64 > TAGS_BYTES_MAX {
        bail!("{name} is over {TAGS_BYTES_MAX} bytes");
    }
    Ok(text)
}

fn explanation<'a>(judgement: &'a Judgement<'a>) -> Explanation<'a> {
    fn chosen<'a>(choice: &'a Choice<'a>) -> Chosen<'a> {
        Chosen { tag: choice.tag, value: &choice.value }
    }
    let tags = judgement.tags.iter().map(|judged| Tag {
        tag: judged.tag,
        value: judged.value.as_deref(),
        verdict: judged.verdict.as_str(),
        reason: judgement.reason(judged),
    });
    Explanation {
        winner: judgement.winner.as_ref().map(chosen),
        runner_up: judgement.runner_up.as_ref().map(chosen),
        error: judgement.error.as_ref().map(ToString::to_string),
        tags: tags.collect(),
    }
}

fn print(explanation: &Explanation<'_>, output: Output, ui: &Ui) -> Result<()> {
    if output == Output::Json {
        return ui.json(explanation);
    }
    let width =
        explanation.tags.iter().map(|tag| tag.tag.escape_debug().count()).max().unwrap_or(0);
    let verdicts =
        [Verdict::NotVersion, Verdict::OutOfRange, Verdict::NotNumber, Verdict::RunnerUp];
    let verdict_width = verdicts.iter().map(|verdict| verdict.as_str().len()).max().unwrap_or(0);
    let mut text = String::new();
    for Tag { tag, verdict, reason, .. } in &explanation.tags {
        let tag = tag.escape_debug().to_string();
        text += &format!("{tag:width$}  {verdict:verdict_width$}  {reason}\n");
    }
    ui.data(&text)?;
    match (&explanation.winner, &explanation.error) {
        (_, Some(error)) => ui.note(&format!("no winner: {error}")),
        (Some(winner), None) => ui.note(&format!("winner: {}", winner.tag)),
        (None, None) => ui.note("no winner"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_tag_verbatim() {
        let check = |text: &str, tags: &[&str]| {
            assert_eq!(lines(text).iter().collect::<Vec<_>>(), tags, "{text:?}");
        };
        check("", &[]);
        check("a", &["a"]);
        check("a\n", &["a"]);
        check("a\r\n b \n\nc", &["a\r", " b ", "", "c"]);
        check("\n", &[""]);
    }
}
