//! `create secret`: credentials as Flux's controllers read them.

use anyhow::{Context, Result, anyhow, bail};
use api::Reference;
use api::image_ref::Reading;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use golang::url::Url;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Map, Value, json};

use super::{Work, read_file};
use crate::args::create::{
    CreateSecret, SecretGit, SecretGithubApp, SecretHelm, SecretOci, SecretProxy, SecretTls,
};
use crate::error::Outcome;

type Entries = Vec<(&'static str, String)>;

/// A Secret to be made: what it is called in sentences, its type, its entries.
struct Made {
    word: &'static str,
    type_: Option<&'static str>,
    entries: Entries,
    /// Whether Flux forgets the labels that were typed.
    forgets_labels: bool,
}

pub(super) async fn run(subject: &CreateSecret, work: &Work<'_>) -> Result<Outcome> {
    let made = match subject {
        CreateSecret::Git(args) => git(args, work),
        CreateSecret::Githubapp(args) => github_app(args),
        CreateSecret::Helm(args) => helm(args, work),
        CreateSecret::Oci(args) => oci(args),
        CreateSecret::Proxy(args) => proxy(args, work),
        CreateSecret::Tls(args) => tls(args, work),
    }?;
    if made.entries.is_empty() && !work.keeps_quirks() {
        bail!("there is nothing to put into the Secret; give it credentials or certificates");
    }
    let Made { word, type_, entries, forgets_labels } = made;
    let secret = work.secret(entries, type_, forgets_labels)?;
    let console = work.console;
    if work.flags.export {
        // All but this one end with an empty line.
        let end = if word == "tls" { "" } else { "\n" };
        let text = yaml::to_string(&described(&secret));
        console.ui.data(&format!("---\n{text}{end}"))?;
        return Ok(Outcome::Done);
    }
    let cluster = console.cluster_to_change().await?;
    cluster.apply_secret(secret).await?;
    let (name, namespace) = (work.name, &work.namespace);
    console.action(&format!("{word} secret '{name}' created in '{namespace}' namespace"))?;
    Ok(Outcome::Done)
}

impl Work<'_> {
    /// Returns a Secret with these entries.
    pub(super) fn secret(
        &self,
        entries: Entries,
        type_: Option<&str>,
        forgets_labels: bool,
    ) -> Result<Secret> {
        let labels = match forgets_labels && self.keeps_quirks() {
            true => Default::default(),
            false => self.labels()?,
        };
        let metadata = ObjectMeta {
            name: Some(self.name.to_owned()),
            namespace: Some(self.namespace.clone()),
            labels: Some(labels).filter(|labels| !labels.is_empty()),
            ..ObjectMeta::default()
        };
        let entries = entries.into_iter().map(|(key, text)| (key.to_owned(), text)).collect();
        Ok(Secret {
            metadata,
            string_data: Some(entries),
            type_: type_.map(str::to_owned),
            ..Secret::default()
        })
    }
}

/// Returns a Secret as it is exported: with its entries as text.
fn described(secret: &Secret) -> Value {
    let mut described = Map::new();
    described.insert("apiVersion".to_owned(), "v1".into());
    described.insert("kind".to_owned(), "Secret".into());
    described.insert("metadata".to_owned(), json!(secret.metadata));
    let entries = secret.string_data.as_ref().filter(|entries| !entries.is_empty());
    described.extend(entries.map(|entries| ("stringData".to_owned(), json!(entries))));
    described.extend(secret.type_.as_ref().map(|type_| ("type".to_owned(), json!(type_))));
    described.into()
}

/// Returns the scheme of a Git address, which must be one that Git over the network has.
pub(super) fn scheme_of(url: &str) -> Result<String> {
    let url = Url::parse(url.as_bytes()).context("git URL parse failed")?;
    let scheme = String::from_utf8_lossy(&url.scheme).into_owned();
    if !matches!(scheme.as_str(), "ssh" | "http" | "https") {
        bail!("git URL scheme '{scheme}' not supported, can be: ssh, http and https");
    }
    Ok(scheme)
}

fn git(args: &SecretGit, work: &Work<'_>) -> Result<Made> {
    if args.url.is_empty() {
        bail!("url is required");
    }
    let url = Url::parse(args.url.as_bytes()).context("git URL parse failed")?;
    work.labels()?;
    match url.scheme.as_slice() {
        b"ssh" => bail!(
            "SSH keys are not yet supported; make the Secret with `kubectl create secret generic` \
             and the entries identity and known_hosts"
        ),
        b"http" | b"https" => {}
        _ => scheme_of(&args.url).map(drop)?,
    }
    let (password, token) = (args.password.expose(), args.bearer_token.expose());
    let has_user = !args.username.is_empty() && !password.is_empty();
    if !has_user && token.is_empty() {
        bail!("for Git over HTTP/S the username and password, or a bearer token is required");
    }
    if has_user && !token.is_empty() {
        bail!("user credentials and bearer token cannot be used together");
    }
    let mut entries = Entries::new();
    if has_user {
        entries.push(("username", args.username.clone()));
        entries.push(("password", password.clone()));
    }
    if !token.is_empty() {
        entries.push(("bearerToken", token.clone()));
    }
    let ca = read(&args.ca_crt_file, "unable to read TLS CA file")?;
    entries.extend(ca.map(|ca| ("ca.crt", text(&ca))));
    Ok(Made { word: "git", type_: None, entries, forgets_labels: false })
}

fn github_app(args: &SecretGithubApp) -> Result<Made> {
    let key = read_file(&args.app_private_key).context("unable to read private key file")?;
    if args.app_id.is_empty() {
        bail!("githubAppID is required");
    }
    if key.is_empty() {
        bail!("githubAppPrivateKey is required");
    }
    let (owner, id) = (&args.app_installation_owner, &args.app_installation_id);
    if owner.is_empty() == id.is_empty() {
        bail!(
            "exactly one of githubAppInstallationOwner or githubAppInstallationID must be provided"
        );
    }
    let optional = [
        ("githubAppInstallationOwner", owner),
        ("githubAppInstallationID", id),
        ("githubAppBaseURL", &args.app_base_url),
    ];
    let mut entries = Entries::new();
    entries.push(("githubAppID", args.app_id.clone()));
    entries.push(("githubAppPrivateKey", text(&key)));
    entries.extend(
        optional.into_iter().filter(|(_, value)| !value.is_empty()).map(|(k, v)| (k, v.clone())),
    );
    Ok(Made { word: "githubapp", type_: Some("Opaque"), entries, forgets_labels: true })
}

fn helm(args: &SecretHelm, work: &Work<'_>) -> Result<Made> {
    work.labels()?;
    let ca = read(&args.ca_crt_file, "unable to read TLS CA file")?;
    let certificate = read(&args.tls_crt_file, "failed to read cert file")?;
    let key = read(&args.tls_key_file, "failed to read key file")?;
    if certificate.is_some() || key.is_some() {
        return tls_entries("helm", certificate, key, ca);
    }
    let password = args.password.expose();
    if args.username.is_empty() && password.is_empty() {
        return match ca {
            Some(ca) => tls_entries("helm", None, None, Some(ca)),
            None => Ok(Made {
                word: "helm",
                type_: None,
                entries: Entries::new(),
                forgets_labels: false,
            }),
        };
    }
    let mut entries = Entries::new();
    for (key, value) in [("username", &args.username), ("password", password)] {
        if value.is_empty() {
            bail!("{key} is required");
        }
        entries.push((key, value.clone()));
    }
    entries.extend(ca.map(|ca| ("ca.crt", text(&ca))));
    Ok(Made {
        word: "helm",
        type_: Some("kubernetes.io/basic-auth"),
        entries,
        forgets_labels: false,
    })
}

fn oci(args: &SecretOci) -> Result<Made> {
    let password = args.password.expose();
    let required = [("--url", &args.url), ("--username", &args.username), ("--password", password)];
    for (flag, value) in required {
        if value.is_empty() {
            bail!("{flag} is required");
        }
    }
    Reference::parse(&args.url, Reading::Weak)
        .map_err(|error| anyhow!("error parsing url: '{error}'"))?;
    let auth = STANDARD.encode(format!("{}:{password}", args.username));
    let [url, username, password] = [&args.url, &args.username, password].map(|v| quoted(v));
    let config = format!(
        "{{\n  \"auths\": {{\n    {url}: {{\n      \"username\": {username},\n      \
         \"password\": {password},\n      \"auth\": \"{auth}\"\n    }}\n  }}\n}}"
    );
    Ok(Made {
        word: "oci",
        type_: Some("kubernetes.io/dockerconfigjson"),
        entries: vec![(".dockerconfigjson", config)],
        forgets_labels: true,
    })
}

fn proxy(args: &SecretProxy, work: &Work<'_>) -> Result<Made> {
    work.labels()?;
    if args.address.is_empty() {
        bail!("address is required");
    }
    Url::parse(args.address.as_bytes()).context("invalid proxy address")?;
    let optional = [("username", &args.username), ("password", args.password.expose())];
    let given = optional.into_iter().filter(|(_, value)| !value.is_empty());
    let mut entries = vec![("address", args.address.clone())];
    entries.extend(given.map(|(key, value)| (key, value.clone())));
    Ok(Made { word: "proxy", type_: Some("Opaque"), entries, forgets_labels: false })
}

fn tls(args: &SecretTls, work: &Work<'_>) -> Result<Made> {
    work.labels()?;
    let ca = read(&args.ca_crt_file, "unable to read TLS CA file")?;
    let certificate = read(&args.tls_crt_file, "failed to read cert file")?;
    let key = read(&args.tls_key_file, "failed to read key file")?;
    tls_entries("tls", certificate, key, ca)
}

/// A certificate stands with its key, with a CA beside it or alone.
fn tls_entries(
    word: &'static str,
    certificate: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
    ca: Option<Vec<u8>>,
) -> Result<Made> {
    let mut entries = Entries::new();
    let mut type_ = "Opaque";
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            check_pair(&certificate, &key).context("invalid TLS certificate and key pair")?;
            entries.push(("tls.crt", text(&certificate)));
            entries.push(("tls.key", text(&key)));
            type_ = "kubernetes.io/tls";
        }
        (Some(_), None) => bail!("found certificate but missing private key"),
        (None, Some(_)) => bail!("found private key but missing certificate"),
        (None, None) if ca.is_none() => bail!("no CA certificate or client certificate pair found"),
        (None, None) => {}
    }
    entries.extend(ca.map(|ca| ("ca.crt", text(&ca))));
    Ok(Made { word, type_: Some(type_), entries, forgets_labels: false })
}

fn check_pair(certificate: &[u8], key: &[u8]) -> Result<()> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate).flatten().collect();
    if chain.is_empty() {
        bail!("tls: failed to find any PEM data in certificate input");
    }
    let Ok(key) = PrivateKeyDer::from_pem_slice(key) else {
        bail!("tls: failed to find any PEM data in key input");
    };
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key);
    let key = key.context("tls: failed to parse private key")?;
    match rustls::sign::CertifiedKey::new(chain, key).keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => {
            bail!("tls: private key does not match public key")
        }
        Err(error) => Err(anyhow!(error).context("tls: failed to parse certificate")),
    }
}

/// Reads a file if one was named; an empty one counts as none.
fn read(path: &str, failed: &'static str) -> Result<Option<Vec<u8>>> {
    if path.is_empty() {
        return Ok(None);
    }
    Ok(Some(read_file(path).context(failed)?).filter(|bytes| !bytes.is_empty()))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns a text as Go's JSON quotes it.
fn quoted(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    let escapes = [
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("&", "\\u0026"),
        ("\u{2028}", "\\u2028"),
        ("\u{2029}", "\\u2029"),
    ];
    escapes.iter().fold(quoted, |quoted, (from, to)| quoted.replace(from, to))
}
