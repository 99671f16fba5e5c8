//! The folders in which the registry keeps tags, manifests and blobs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// An empty tar archive, compressed.
const LAYER: &[u8] = &[
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0x63, 0x60, 0x18, 0x05, 0xa3, 0x60,
    0x14, 0x8c, 0x54, 0x00, 0x00, 0x2e, 0xaf, 0xb5, 0xef, 0x00, 0x04, 0x00, 0x00,
];

pub(super) struct Storage {
    root: PathBuf,
}

impl Storage {
    pub(super) fn new(folder: &Path) -> Storage {
        Storage { root: folder.join("docker/registry/v2") }
    }

    /// Stores an image of one empty layer that `content` makes different from others.
    pub(super) fn add_image(&self, repository: &str, content: &str) -> String {
        let config = serde_json::json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"content": content}},
            "rootfs": {"type": "layers", "diff_ids": [digest(&[0; 1024])]},
        });
        let config = config.to_string();
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor(CONFIG_TYPE, config.as_bytes()),
            "layers": [descriptor(LAYER_TYPE, LAYER)],
        });
        for blob in [config.as_bytes(), LAYER] {
            let digest = self.add_blob(blob);
            self.link(repository, "_layers", &digest);
        }
        let digest = self.add_blob(manifest.to_string().as_bytes());
        self.link(repository, "_manifests/revisions", &digest);
        digest
    }

    pub(super) fn link_tag(&self, repository: &str, tag: &str, digest: &str) {
        write(&self.tag(repository, tag).join("current/link"), digest.as_bytes());
    }

    pub(super) fn unlink_tag(&self, repository: &str, tag: &str) {
        let folder = self.tag(repository, tag);
        fs::remove_dir_all(&folder)
            .unwrap_or_else(|error| panic!("no tag {tag} to delete in {repository}: {error}"));
    }

    fn tag(&self, repository: &str, tag: &str) -> PathBuf {
        assert!(!tag.is_empty() && !tag.contains('/'), "`{tag}` is no tag");
        self.repository(repository).join("_manifests/tags").join(tag)
    }

    fn repository(&self, repository: &str) -> PathBuf {
        self.root.join("repositories").join(repository)
    }

    fn add_blob(&self, blob: &[u8]) -> String {
        let digest = digest(blob);
        let hex = hex(&digest);
        write(&self.root.join("blobs/sha256").join(&hex[..2]).join(hex).join("data"), blob);
        digest
    }

    fn link(&self, repository: &str, place: &str, digest: &str) {
        let folder = self.repository(repository).join(place).join("sha256").join(hex(digest));
        write(&folder.join("link"), digest.as_bytes());
    }
}

/// Replaces a file whole: the registry may be reading it.
fn write(file: &Path, bytes: &[u8]) {
    let folder = file.parent().expect("files of the storage lie in folders");
    fs::create_dir_all(folder).expect("the storage can be written");
    let mut unfinished = file.as_os_str().to_owned();
    unfinished.push(".unfinished");
    fs::write(&unfinished, bytes).expect("the storage can be written");
    fs::rename(&unfinished, file).expect("the storage can be written");
}

fn descriptor(media_type: &str, blob: &[u8]) -> serde_json::Value {
    serde_json::json!({"mediaType": media_type, "size": blob.len(), "digest": digest(blob)})
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").expect("all our digests are SHA-256")
}
