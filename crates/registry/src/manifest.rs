//! Asks for a manifest's digest without its body.

use api::{Digest, Repository, Tag};
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use net::{Response, redacted};
use tokio::time::Instant;

use crate::client::{Access, Inner};
use crate::error::{ManifestError, clean};
use crate::session::{Ask, Session};

/// Index types first: an image of several platforms is known by its index.
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json,\
application/vnd.docker.distribution.manifest.list.v2+json,\
application/vnd.oci.image.manifest.v1+json,\
application/vnd.docker.distribution.manifest.v2+json,\
application/vnd.docker.distribution.manifest.v1+prettyjws,\
application/vnd.docker.distribution.manifest.v1+json";

/// Returns the digest that the registry gives for a reference, `None` if it
/// says that there is no such manifest.
pub(crate) async fn head(
    inner: &Inner,
    repository: &Repository,
    reference: &str,
    access: &Access,
    deadline: Instant,
) -> Result<Option<Digest>, ManifestError> {
    let digest: Option<Digest> = reference.parse().ok();
    if digest.is_none() && !Tag::is_valid(reference) {
        return Err(ManifestError::Reference(clean(reference, &[])));
    }
    let mut session = Session::open(inner, repository, access, deadline).await?;
    let mut ask = Ask::new(Method::HEAD, session.url(&format!("manifests/{reference}"))?);
    ask.headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
    // A packed body would have no length of its own.
    ask.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let answer = session.fetch(&ask).await?;
    let response = &answer.response;
    match response.status {
        StatusCode::OK => read(response, digest.as_ref()).map(Some),
        // Only the registry itself can say that there is none.
        StatusCode::NOT_FOUND if session.is_registry(&response.url) => Ok(None),
        _ => Err(session.refused(&ask, answer).await.into()),
    }
}

fn read(response: &Response, asked: Option<&Digest>) -> Result<Digest, ManifestError> {
    let url = redacted(&response.url);
    let field = |name: &str| response.headers.get(name).and_then(|value| value.to_str().ok());
    let missing = |method: &str, name: &str| {
        ManifestError::Answer(format!("{method} {url}: response did not include {name} header"))
    };
    let given = |name: &str| field(name).filter(|value| !value.is_empty());
    given(CONTENT_TYPE.as_str()).ok_or_else(|| missing("HEAD", "Content-Type"))?;
    // Flux's text says GET here.
    given(CONTENT_LENGTH.as_str())
        .filter(|value| value.parse::<u64>().is_ok())
        .ok_or_else(|| missing("GET", "Content-Length"))?;
    let text =
        given("docker-content-digest").ok_or_else(|| missing("HEAD", "Docker-Content-Digest"))?;
    let digest: Digest = text.parse().map_err(|_| {
        let text = clean(text, &[]);
        ManifestError::Answer(format!(
            "HEAD {url}: the Docker-Content-Digest `{text}` is no digest"
        ))
    })?;
    match asked {
        Some(asked) if *asked != digest => Err(ManifestError::Answer(format!(
            "manifest digest: \"{digest}\" does not match requested digest: \"{asked}\" for \"{url}\""
        ))),
        _ => Ok(digest),
    }
}
