//! `create`: what each kind of object and of Secret can be given.

use clap::{Args, Subcommand};
use golang::time::Duration;
use net::Secret;

use super::flux::{Connection, Names};

/// The create sub-commands generate sources and resources.
#[derive(Debug, Args)]
pub(crate) struct Create {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) flags: CreateFlags,
    #[command(subcommand)]
    pub(crate) subject: CreateSubject,
}

#[derive(Debug, Args)]
pub(crate) struct CreateFlags {
    /// export in YAML format to stdout
    #[arg(long, global = true)]
    pub(crate) export: bool,
    /// source sync interval
    #[arg(long, global = true, value_name = "duration", default_value = "1m0s")]
    pub(crate) interval: Duration,
    /// set labels on the resource (can specify multiple labels with commas: label1=value1,label2=value2)
    #[arg(long, global = true, value_name = "strings")]
    pub(crate) label: Vec<String>,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "a process has one command line")]
pub(crate) enum CreateSubject {
    /// The image automation objects
    Image {
        #[command(subcommand)]
        subject: CreateImage,
    },
    /// Secrets with credentials
    Secret {
        #[command(subcommand)]
        subject: CreateSecret,
    },
    /// The sources
    Source(CreateSource),
}

#[derive(Debug, Subcommand)]
pub(crate) enum CreateImage {
    /// Create or update an ImagePolicy
    Policy(CreatePolicy),
    /// Create or update an ImageRepository
    Repository(CreateRepository),
    /// Create or update an ImageUpdateAutomation
    Update(CreateUpdate),
}

#[derive(Debug, Args)]
pub(crate) struct CreateRepository {
    #[command(flatten)]
    pub(crate) names: Names,
    /// the name of a secret to use for TLS certificates
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) cert_ref: String,
    /// the image repository to scan; e.g., library/alpine
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) image: String,
    /// a timeout for scanning; this defaults to the interval if not set
    #[arg(long, value_name = "duration", default_value = "0s")]
    pub(crate) scan_timeout: Duration,
    /// the name of a docker-registry secret to use for credentials
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) secret_ref: String,
}

#[derive(Debug, Args)]
pub(crate) struct CreatePolicy {
    #[command(flatten)]
    pub(crate) names: Names,
    /// what to sort by, with the groups of --filter-regex, such as $ts
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) filter_extract: String,
    /// the regular expression that a tag must match
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) filter_regex: String,
    /// the name of an image repository object
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) image_ref: String,
    /// how often to look for a new digest of the same tag, with --reflect-digest=Always
    #[arg(long, value_name = "duration", default_value = "0s")]
    pub(crate) interval: Duration,
    /// whether to write the digest: Never, IfNotPresent or Always
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) reflect_digest: String,
    /// choose by the alphabet: asc for the last tag, desc for the first
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) select_alpha: String,
    /// choose by number: asc for the largest, desc for the smallest
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) select_numeric: String,
    /// choose the highest version in this range; e.g., '1.x'
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) select_semver: String,
}

#[derive(Debug, Args)]
pub(crate) struct CreateUpdate {
    #[command(flatten)]
    pub(crate) names: Names,
    /// the email to use for commit author
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) author_email: String,
    /// the name to use for commit author
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) author_name: String,
    /// the branch to checkout
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) checkout_branch: String,
    /// a template for commit messages
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) commit_template: String,
    /// the namespace of the GitRepository, if it is not the automation's own
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) git_repo_namespace: String,
    /// the folder with the manifests to update, if it is not the whole repository
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) git_repo_path: String,
    /// the name of the GitRepository to update
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) git_repo_ref: String,
    /// the branch to push commits to, if it is not the branch of the checkout
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) push_branch: String,
    /// the name of the Secret with the key that signs commits
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) signing_key_secret: String,
    /// what the key that signs commits is: gpg or ssh
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) signing_key_type: String,
}

#[derive(Debug, Args)]
pub(crate) struct CreateSource {
    /// set a timeout for fetch operations performed by source-controller (e.g. 'git clone' or 'helm repo update')
    #[arg(long, global = true, value_name = "duration", default_value = "0s")]
    pub(crate) fetch_timeout: Duration,
    #[command(subcommand)]
    pub(crate) subject: CreateSourceSubject,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CreateSourceSubject {
    /// Create or update a GitRepository source
    Git(CreateGit),
}

/// How an SSH key is made.
#[derive(Debug, Args)]
pub(crate) struct SshKey {
    /// SSH ECDSA public key curve
    #[arg(long, value_name = "p256|p384|p521", default_value = "p384")]
    pub(crate) ssh_ecdsa_curve: String,
    /// SSH public key algorithm
    #[arg(long, value_name = "rsa|ecdsa|ed25519", default_value = "ecdsa")]
    pub(crate) ssh_key_algorithm: String,
    /// SSH RSA public key bit size (a multiple of 8, at least 1024)
    #[arg(long, value_name = "rsaKeyBits", default_value = "2048")]
    pub(crate) ssh_rsa_bits: String,
}

#[derive(Debug, Args)]
pub(crate) struct CreateGit {
    #[command(flatten)]
    pub(crate) names: Names,
    /// git branch
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) branch: String,
    /// path to TLS CA file used for validating self-signed certificates
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) ca_file: String,
    /// git commit
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) commit: String,
    /// set paths to ignore in git resource (can specify multiple paths with commas: path1,path2)
    #[arg(long, value_name = "strings")]
    pub(crate) ignore_paths: Vec<String>,
    /// basic authentication password
    #[arg(short, long, value_name = "string", default_value = "")]
    pub(crate) password: Secret<String>,
    /// path to a passwordless private key file used for authenticating to the Git SSH server
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) private_key_file: String,
    /// the Git provider name
    #[arg(long, value_name = "generic|github|aws|azure", default_value_t)]
    pub(crate) provider: String,
    /// the name of an existing secret containing the proxy address and credentials
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) proxy_secret_ref: String,
    /// take Git submodules into the artifact
    #[arg(long)]
    pub(crate) recurse_submodules: bool,
    /// git reference name
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) ref_name: String,
    /// the name of an existing secret containing SSH or basic credentials or github app authentication
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) secret_ref: String,
    /// assumes the deploy key is already setup, skips confirmation
    #[arg(short, long)]
    pub(crate) silent: bool,
    /// set paths to sparse checkout in git resource (can specify multiple paths with commas: path1,path2)
    #[arg(long, value_name = "strings")]
    pub(crate) sparse_checkout_paths: Vec<String>,
    #[command(flatten)]
    pub(crate) ssh_key: SshKey,
    /// git tag
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) tag: String,
    /// git tag semver range
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) tag_semver: String,
    /// git address, e.g. ssh://git@host/org/repository
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) url: String,
    /// basic authentication username
    #[arg(short, long, value_name = "string", default_value_t)]
    pub(crate) username: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CreateSecret {
    /// Create or update a Secret for Git
    Git(SecretGit),
    /// Create or update a Secret for a GitHub App
    Githubapp(SecretGithubApp),
    /// Create or update a Secret for Helm repositories
    Helm(SecretHelm),
    /// Create or update a Secret for OCI registries
    Oci(SecretOci),
    /// Create or update a Secret for a proxy
    Proxy(SecretProxy),
    /// Create or update a Secret with TLS certificates
    Tls(SecretTls),
}

#[derive(Debug, Args)]
pub(crate) struct SecretGit {
    #[command(flatten)]
    pub(crate) names: Names,
    /// bearer authentication token
    #[arg(long, value_name = "string", default_value = "")]
    pub(crate) bearer_token: Secret<String>,
    /// path to TLS CA certificate file used for validating self-signed certificates
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) ca_crt_file: String,
    /// basic authentication password
    #[arg(short, long, value_name = "string", default_value = "")]
    pub(crate) password: Secret<String>,
    /// path to a passwordless private key file used for authenticating to the Git SSH server
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) private_key_file: String,
    #[command(flatten)]
    pub(crate) ssh_key: SshKey,
    /// git address, e.g. ssh://git@host/org/repository
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) url: String,
    /// basic authentication username
    #[arg(short, long, value_name = "string", default_value_t)]
    pub(crate) username: String,
}

#[derive(Debug, Args)]
pub(crate) struct SecretGithubApp {
    #[command(flatten)]
    pub(crate) names: Names,
    /// github app base URL
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) app_base_url: String,
    /// github app ID
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) app_id: String,
    /// github app installation ID
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) app_installation_id: String,
    /// github app installation owner (user or organization)
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) app_installation_owner: String,
    /// github app private key file path
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) app_private_key: String,
}

#[derive(Debug, Args)]
pub(crate) struct SecretHelm {
    #[command(flatten)]
    pub(crate) names: Names,
    /// TLS authentication CA file path
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) ca_crt_file: String,
    /// basic authentication password
    #[arg(short, long, value_name = "string", default_value = "")]
    pub(crate) password: Secret<String>,
    /// TLS authentication cert file path
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) tls_crt_file: String,
    /// TLS authentication key file path
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) tls_key_file: String,
    /// basic authentication username
    #[arg(short, long, value_name = "string", default_value_t)]
    pub(crate) username: String,
}

#[derive(Debug, Args)]
pub(crate) struct SecretOci {
    #[command(flatten)]
    pub(crate) names: Names,
    /// basic authentication password
    #[arg(short, long, value_name = "string", default_value = "")]
    pub(crate) password: Secret<String>,
    /// oci repository address e.g ghcr.io/acme/charts
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) url: String,
    /// basic authentication username
    #[arg(short, long, value_name = "string", default_value_t)]
    pub(crate) username: String,
}

#[derive(Debug, Args)]
pub(crate) struct SecretProxy {
    #[command(flatten)]
    pub(crate) names: Names,
    /// proxy address
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) address: String,
    /// basic authentication password
    #[arg(short, long, value_name = "string", default_value = "")]
    pub(crate) password: Secret<String>,
    /// basic authentication username
    #[arg(short, long, value_name = "string", default_value_t)]
    pub(crate) username: String,
}

#[derive(Debug, Args)]
pub(crate) struct SecretTls {
    #[command(flatten)]
    pub(crate) names: Names,
    /// TLS authentication CA file path
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) ca_crt_file: String,
    /// TLS authentication cert file path
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) tls_crt_file: String,
    /// TLS authentication key file path
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) tls_key_file: String,
}
