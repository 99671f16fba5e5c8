//! The real `docker-registry` on loopback, with its storage in a temporary folder.

mod storage;

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
};

use tempfile::TempDir;
use url::Url;

use crate::{
    USERNAME, background, program,
    tls::{ClientCertificates, Tls},
};

use self::storage::Storage;

/// How often another process may snatch the port we chose for the registry.
const START_ATTEMPTS_MAX: usize = 10;

/// [`PASSWORD`](crate::PASSWORD) as bcrypt with the lowest cost: the registry checks it on every request.
const PASSWORD_BCRYPT: &str = "$2b$04$vBuBmHO0SuEjWfPCYo2fUOZs6rmCYjADLsYjQawXzwIZPz9YhqMay";

/// Who may use a registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RegistryAccess {
    /// Everyone.
    #[default]
    Anonymous,
    /// [`USERNAME`] with [`PASSWORD`](crate::PASSWORD), by Basic authentication.
    Basic,
}

/// How to start a registry; the default is plain http for everyone.
#[derive(Clone, Debug, Default)]
pub struct DockerRegistryOptions {
    /// Who may use it.
    pub access: RegistryAccess,
    /// Serve https with this.
    pub tls: Option<Tls>,
}

/// A running registry; it is killed and its storage removed when dropped.
///
/// Tags are written straight into its storage, which it reads on every request: one tag or ten
/// thousand cost no connection. Debian's version answers a tag listing in one page.
pub struct DockerRegistry {
    child: Child,
    address: SocketAddr,
    scheme: &'static str,
    storage: Storage,
    _folder: TempDir,
}

impl DockerRegistry {
    /// Starts one on plain http for everyone.
    #[track_caller]
    pub fn start() -> DockerRegistry {
        DockerRegistry::start_with(&DockerRegistryOptions::default())
    }

    /// Starts one and returns once it listens.
    #[track_caller]
    pub fn start_with(options: &DockerRegistryOptions) -> DockerRegistry {
        let program = program::find("docker-registry", "docker-registry");
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut log = String::new();
        for _ in 0..START_ATTEMPTS_MAX {
            let address = background::free_address();
            let config = write_config(folder.path(), address, options);
            let mut child = background::spawn_process(command(&program, &config))
                .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
            let stderr = child.stderr.take().expect("stderr is piped");
            match wait_until_it_listens(stderr) {
                Ok(()) => {
                    return DockerRegistry {
                        child,
                        address,
                        scheme: if options.tls.is_some() { "https" } else { "http" },
                        storage: Storage::new(&folder.path().join("storage")),
                        _folder: folder,
                    };
                }
                Err(ended) => log = ended,
            }
            drop(child.wait());
        }
        panic!("docker-registry ended before it listened:\n{log}");
    }

    /// Returns `127.0.0.1:PORT`, as image references name it.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Returns where it listens, for a [`FaultProxy`](crate::FaultProxy) in front of it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns `http://127.0.0.1:PORT/` or its https form.
    pub fn url(&self) -> Url {
        let url = format!("{}://{}/", self.scheme, self.address);
        Url::parse(&url).expect("an address makes a URL")
    }

    /// Makes `tag` name an image that no other tag has, and returns the manifest's digest.
    pub fn push_tag(&self, repository: &str, tag: &str) -> String {
        self.push_image(repository, tag, tag)
    }

    /// Makes `tag` name the image that `content` stands for and returns the manifest's digest:
    /// the same content gives the same digest, other content re-points the tag.
    pub fn push_image(&self, repository: &str, tag: &str, content: &str) -> String {
        let digest = self.storage.add_image(repository, content);
        self.storage.link_tag(repository, tag, &digest);
        digest
    }

    /// Makes all of `tags` name one image, whose digest it returns.
    pub fn push_tags<T: AsRef<str>>(
        &self,
        repository: &str,
        tags: impl IntoIterator<Item = T>,
    ) -> String {
        let digest = self.storage.add_image(repository, "shared");
        for tag in tags {
            self.storage.link_tag(repository, tag.as_ref(), &digest);
        }
        digest
    }

    /// Removes `tag`; its manifest stays reachable by digest.
    pub fn delete_tag(&self, repository: &str, tag: &str) {
        self.storage.unlink_tag(repository, tag);
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn command(program: &Path, config: &Path) -> Command {
    let mut command = program::that_dies_with_us(program);
    command.arg("serve").arg(config);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn write_config(
    folder: &Path,
    address: SocketAddr,
    options: &DockerRegistryOptions,
) -> std::path::PathBuf {
    let mut http = serde_json::json!({"addr": address.to_string(), "secret": "testkit"});
    if let Some(tls) = &options.tls {
        let write = |name: &str, pem: &str| write(folder, name, pem);
        http["tls"] = serde_json::json!({
            "certificate": write("server.pem", &tls.server.certificate),
            "key": write("server.key", &tls.server.key),
        });
        if tls.client_certificates == ClientCertificates::Required {
            http["tls"]["clientcas"] = serde_json::json!([write("ca.pem", &tls.ca)]);
        }
    }
    let mut config = serde_json::json!({
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": true}},
        "storage": {
            "filesystem": {"rootdirectory": folder.join("storage")},
            "delete": {"enabled": true},
        },
        "http": http,
    });
    if options.access == RegistryAccess::Basic {
        let file = write(folder, "htpasswd", &format!("{USERNAME}:{PASSWORD_BCRYPT}\n"));
        config["auth"] = serde_json::json!({"htpasswd": {"realm": "testkit", "path": file}});
    }
    // JSON is YAML.
    write(folder, "config.yaml", &config.to_string())
}

fn write(folder: &Path, name: &str, content: &str) -> std::path::PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, content).expect("the temporary folder can be written");
    file
}

/// Reads the log until the registry has its port; `Err` is the log of one that ended instead.
fn wait_until_it_listens(stderr: ChildStderr) -> Result<(), String> {
    let mut log = BufReader::new(stderr);
    let mut text = String::new();
    loop {
        let start = text.len();
        if log.read_line(&mut text).unwrap_or(0) == 0 {
            return Err(text);
        }
        if text[start..].contains("listening on ") {
            break;
        }
    }
    // A full pipe would stop the registry.
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while log.read(&mut buffer).is_ok_and(|n_bytes| n_bytes > 0) {}
    });
    Ok(())
}
