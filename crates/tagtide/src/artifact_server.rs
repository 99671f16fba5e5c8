//! Serves the archives of sources, over plain HTTP, to whoever knows their address: it has a part
//! that nobody guesses.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio_util::io::ReaderStream;

/// The path of an archive: what it is of, namespace, name, file.
const PARTS: usize = 4;

struct Served {
    folder: PathBuf,
    key: String,
}

/// Returns a server of the archives in `folder` below `/KEY/`.
pub(crate) fn router(folder: &Path, key: &str) -> Router {
    let served = Served { folder: folder.to_owned(), key: key.to_owned() };
    Router::new().fallback(get(answer)).with_state(Arc::new(served))
}

async fn answer(State(served): State<Arc<Served>>, uri: Uri) -> Response {
    let not_found = || (StatusCode::NOT_FOUND, "404 page not found\n").into_response();
    let Some(path) = served.path(uri.path()) else { return not_found() };
    let Ok(file) = tokio::fs::File::open(path).await else { return not_found() };
    let length = match file.metadata().await {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        _ => return not_found(),
    };
    let headers = [
        (header::CONTENT_TYPE, "application/gzip".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
    ];
    (headers, Body::from_stream(ReaderStream::new(file))).into_response()
}

impl Served {
    /// Returns the file that a path names, if it is one that could be an archive.
    fn path(&self, path: &str) -> Option<PathBuf> {
        let (key, path) = path.strip_prefix('/')?.split_once('/')?;
        let parts: Vec<&str> = path.split('/').collect();
        let is_plain = |part: &&str| {
            !part.starts_with('.')
                && !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        };
        let is_archive =
            parts.len() == PARTS && parts.iter().all(is_plain) && path.ends_with(".tar.gz");
        (key == self.key && is_archive).then(|| self.folder.join(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_archives_below_the_key_have_a_path() {
        let served = Served { folder: "/f".into(), key: "k".to_owned() };
        let path = |path: &str| served.path(path).map(|path| path.display().to_string());
        let archive = "gitrepository/ns/n/1.tar.gz";
        assert_eq!(path(&format!("/k/{archive}")), Some(format!("/f/{archive}")));
        for wrong in [
            "/k/gitrepository/ns/n/1.txt",
            "/k/gitrepository/ns/../1.tar.gz",
            "/k/gitrepository/ns/.n/1.tar.gz",
            "/k/gitrepository/ns//1.tar.gz",
            "/k/gitrepository/ns/%2e%2e/1.tar.gz",
            "/k/1.tar.gz",
            "/other/gitrepository/ns/n/1.tar.gz",
            "/gitrepository/ns/n/1.tar.gz",
        ] {
            assert_eq!(path(wrong), None, "{wrong}");
        }
    }
}
