//! Flux's verbs: their names, flags, shorthands and defaults, as Flux has them.
//!
//! The name of a value is the type that Flux gives the flag. What only we have stands
//! under the heading [`OURS`] and is left out when we are called `flux`.

use clap::{Args, Parser, Subcommand};
use golang::time::Duration;
use net::Secret;

use super::create::Create;

/// The heading of what Flux does not have.
pub(crate) const OURS: &str = "Tagtide";

/// Works with the objects of a GitOps loop
#[derive(Debug, Parser)]
#[command(name = "flux", disable_help_subcommand = true, disable_version_flag = true)]
pub(crate) struct Flux {
    #[command(flatten)]
    connection: Connection,
    /// version for flux
    #[arg(short, long)]
    version: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Which API, as whom, and where in it.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Connection {
    /// Username to impersonate for the operation. User could be a regular user or a service account in a namespace.
    #[arg(
        verbatim_doc_comment,
        long = "as",
        global = true,
        value_name = "string",
        default_value_t
    )]
    pub(crate) as_user: String,
    /// Group to impersonate for the operation, this flag can be repeated to specify multiple groups.
    #[arg(verbatim_doc_comment, long, global = true, value_name = "stringArray")]
    pub(crate) as_group: Vec<String>,
    /// UID to impersonate for the operation.
    #[arg(verbatim_doc_comment, long, global = true, value_name = "string", default_value_t)]
    pub(crate) as_uid: String,
    /// User extras to impersonate for the operation, this flag can be repeated to specify multiple values for the same key.
    #[arg(verbatim_doc_comment, long, global = true, value_name = "stringArray")]
    pub(crate) as_user_extra: Vec<String>,
    /// Default cache directory (default "$HOME/.kube/cache")
    #[arg(long, global = true, value_name = "string", default_value_t)]
    pub(crate) cache_dir: String,
    /// Path to a cert file for the certificate authority to authenticate the Kubernetes API server
    #[arg(long, global = true, value_name = "string", default_value_t)]
    pub(crate) certificate_authority: String,
    /// Path to a client certificate file for TLS authentication to the Kubernetes API server
    #[arg(long, global = true, value_name = "string", default_value_t)]
    pub(crate) client_certificate: String,
    /// Path to a client key file for TLS authentication to the Kubernetes API server
    #[arg(long, global = true, value_name = "string", default_value_t)]
    pub(crate) client_key: String,
    /// The name of the kubeconfig cluster to use
    #[arg(long, global = true, value_name = "string", default_value_t)]
    pub(crate) cluster: String,
    /// The name of the kubeconfig context to use
    #[arg(long, global = true, value_name = "string", default_value_t)]
    pub(crate) context: String,
    /// If true, opt-out of response compression for all requests to the server
    #[arg(long, global = true)]
    pub(crate) disable_compression: bool,
    /// If true, the Kubernetes API server's certificate will not be checked for validity. This will make your HTTPS connections insecure
    #[arg(long, global = true)]
    pub(crate) insecure_skip_tls_verify: bool,
    /// The maximum burst queries-per-second of requests sent to the Kubernetes API.
    #[arg(verbatim_doc_comment, long, global = true, value_name = "int", default_value = "300")]
    pub(crate) kube_api_burst: String,
    /// The maximum queries-per-second of requests sent to the Kubernetes API.
    #[arg(verbatim_doc_comment, long, global = true, value_name = "float32", default_value = "50")]
    pub(crate) kube_api_qps: String,
    /// Path to the kubeconfig file to use for CLI requests.
    #[arg(verbatim_doc_comment, long, global = true, value_name = "string", default_value_t)]
    pub(crate) kubeconfig: String,
    /// If present, the namespace scope for this CLI request
    #[arg(short, long, global = true, value_name = "string", default_value = "flux-system")]
    pub(crate) namespace: String,
    /// use the namespace from the kubeconfig context instead of the default flux-system namespace, can also be set via FLUX_NS_FOLLOWS_KUBE_CONTEXT env var
    #[arg(long, global = true)]
    pub(crate) ns_follows_kube_context: bool,
    /// The address and port of the Kubernetes API server
    #[arg(long, global = true, value_name = "string", default_value_t)]
    pub(crate) server: String,
    /// The state folder of the `tagtide up` to talk to when no kubeconfig is named
    #[arg(long, global = true, value_name = "string", default_value_t, help_heading = OURS)]
    pub(crate) state: String,
    /// timeout for this operation
    #[arg(long, global = true, value_name = "duration", default_value = "5m0s")]
    pub(crate) timeout: Duration,
    /// Server name to use for server certificate validation. If it is not provided, the hostname used to contact the server is used
    #[arg(long, global = true, value_name = "string", default_value_t)]
    pub(crate) tls_server_name: String,
    /// Bearer token for authentication to the API server
    #[arg(long, global = true, value_name = "string")]
    pub(crate) token: Option<Secret<String>>,
    /// The name of the kubeconfig user to use
    #[arg(long, global = true, value_name = "string", default_value_t)]
    pub(crate) user: String,
    /// print generated objects
    #[arg(long, global = true)]
    pub(crate) verbose: bool,
}

/// Flux's verbs.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "a process has one command line")]
pub(crate) enum Verb {
    /// Check requirements and installation
    Check(Check),
    /// Generate the completion script of a shell
    Completion(Completion),
    /// Create or update sources and resources
    Create(Create),
    /// Delete sources and resources
    Delete(Delete),
    /// Show the events of the objects
    Events(Events),
    /// Export resources in YAML format
    Export(Export),
    /// Get the resources and their status
    Get(Get),
    /// Show the controllers' log lines
    Logs(Logs),
    /// Reconcile sources and resources
    Reconcile(Reconcile),
    /// Resume suspended resources
    Resume(Resume),
    /// Count the objects and what they store
    Stats(Stats),
    /// Suspend resources
    Suspend(Suspend),
    /// Print the versions of the client and of the controllers
    Version(Version),
}

impl Verb {
    /// Returns which API the verb is for.
    pub(crate) fn connection(&self) -> &Connection {
        match self {
            Verb::Check(verb) => &verb.connection,
            Verb::Completion(verb) => &verb.connection,
            Verb::Create(verb) => &verb.connection,
            Verb::Delete(verb) => &verb.connection,
            Verb::Events(verb) => &verb.connection,
            Verb::Export(verb) => &verb.connection,
            Verb::Get(verb) => &verb.connection,
            Verb::Logs(verb) => &verb.connection,
            Verb::Reconcile(verb) => &verb.connection,
            Verb::Resume(verb) => &verb.connection,
            Verb::Stats(verb) => &verb.connection,
            Verb::Suspend(verb) => &verb.connection,
            Verb::Version(verb) => &verb.connection,
        }
    }
}

/// What stands behind a command and its flags.
#[derive(Debug, Args)]
pub(crate) struct Names {
    #[arg(value_name = "name")]
    pub(crate) names: Vec<String>,
}

/// The kinds, as most verbs name them.
#[derive(Debug, Subcommand)]
pub(crate) enum Subject {
    /// The image automation objects
    Image {
        #[command(subcommand)]
        subject: ImageSubject,
    },
    /// The sources
    Source {
        #[command(subcommand)]
        subject: SourceSubject,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImageSubject {
    /// ImagePolicy objects
    Policy(Names),
    /// ImageRepository objects
    Repository(Names),
    /// ImageUpdateAutomation objects
    Update(Names),
}

#[derive(Debug, Subcommand)]
pub(crate) enum SourceSubject {
    /// GitRepository objects
    Git(Names),
}

impl ImageSubject {
    fn named(&self) -> (api::Kind, &[String]) {
        match self {
            ImageSubject::Policy(names) => (api::Kind::ImagePolicy, &names.names),
            ImageSubject::Repository(names) => (api::Kind::ImageRepository, &names.names),
            ImageSubject::Update(names) => (api::Kind::ImageUpdateAutomation, &names.names),
        }
    }
}

impl Subject {
    /// Returns the kind and the names that were typed.
    pub(crate) fn named(&self) -> (api::Kind, &[String]) {
        match self {
            Subject::Image { subject } => subject.named(),
            Subject::Source { subject: SourceSubject::Git(names) } => {
                (api::Kind::GitRepository, &names.names)
            }
        }
    }
}

/// The get sub-commands print the statuses of Flux resources.
#[derive(Debug, Args)]
pub(crate) struct Get {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) flags: GetFlags,
    #[command(subcommand)]
    pub(crate) subject: GetSubject,
}

#[derive(Debug, Args)]
pub(crate) struct GetFlags {
    /// list the requested object(s) across all namespaces
    #[arg(short = 'A', long, global = true)]
    pub(crate) all_namespaces: bool,
    /// filter objects by label selector
    #[arg(short = 'l', long, global = true, value_name = "string", default_value_t)]
    pub(crate) label_selector: String,
    /// skip the header when printing the results
    #[arg(long, global = true)]
    pub(crate) no_header: bool,
    /// the format to print objects in instead of a table: json or yaml
    #[arg(short, long, global = true, value_name = "string", default_value_t, help_heading = OURS)]
    pub(crate) output: String,
    /// specify the status condition name and the desired state to filter the get result, e.g. ready=false or ready!=true
    #[arg(long, global = true, value_name = "string", default_value_t)]
    pub(crate) status_selector: String,
    /// After listing/getting the requested object, watch for changes.
    #[arg(verbatim_doc_comment, short, long, global = true)]
    pub(crate) watch: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GetSubject {
    /// Get all resources and statuses
    All(Names),
    /// Get image automation object status
    #[command(
        visible_alias = "image",
        long_about = "The get image sub-commands print the status of image automation objects."
    )]
    Images {
        #[command(subcommand)]
        subject: GetImages,
    },
    /// Get source statuses
    #[command(
        visible_alias = "source",
        long_about = "The get source sub-commands print the statuses of the sources."
    )]
    Sources {
        #[command(subcommand)]
        subject: GetSources,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum GetImages {
    /// Get all image statuses
    All(Names),
    /// Get ImagePolicy status
    Policy(Names),
    /// Get ImageRepository status
    Repository(Names),
    /// Get ImageUpdateAutomation status
    Update(Names),
}

#[derive(Debug, Subcommand)]
pub(crate) enum GetSources {
    /// Get all source statuses
    All(Names),
    /// Get GitRepository source statuses
    Git(Names),
}

/// The reconcile sub-commands trigger a reconciliation of sources and resources.
#[derive(Debug, Args)]
pub(crate) struct Reconcile {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) subject: Subject,
}

/// The suspend sub-commands suspend the reconciliation of a resource.
#[derive(Debug, Args)]
pub(crate) struct Suspend {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// suspend all resources in that namespace
    #[arg(long, global = true)]
    pub(crate) all: bool,
    #[command(subcommand)]
    pub(crate) subject: Subject,
}

/// The resume sub-commands resume a suspended resource.
#[derive(Debug, Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// resume all resources in that namespace
    #[arg(long, global = true)]
    pub(crate) all: bool,
    /// waits for one resource to reconcile before moving to the next one
    #[arg(long, global = true)]
    pub(crate) wait: bool,
    #[command(subcommand)]
    pub(crate) subject: Subject,
}

/// The delete sub-commands delete sources and resources.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// delete resource without asking for confirmation
    #[arg(short, long, global = true)]
    pub(crate) silent: bool,
    #[command(subcommand)]
    pub(crate) subject: Subject,
}

/// The export sub-commands export resources in YAML format.
#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// select all resources
    #[arg(long, global = true)]
    pub(crate) all: bool,
    #[command(subcommand)]
    pub(crate) subject: ExportSubject,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExportSubject {
    /// The image automation objects
    Image {
        #[command(subcommand)]
        subject: ImageSubject,
    },
    /// The sources
    Source(ExportSource),
}

#[derive(Debug, Args)]
pub(crate) struct ExportSource {
    /// include credential secrets
    #[arg(long, global = true)]
    pub(crate) with_credentials: bool,
    #[command(subcommand)]
    subject: SourceSubject,
}

impl ExportSubject {
    /// Returns the kind and the names that were typed.
    pub(crate) fn named(&self) -> (api::Kind, &[String]) {
        match self {
            ExportSubject::Image { subject } => subject.named(),
            ExportSubject::Source(ExportSource { subject: SourceSubject::Git(names), .. }) => {
                (api::Kind::GitRepository, &names.names)
            }
        }
    }

    /// Returns whether Secrets are asked for.
    pub(crate) fn with_credentials(&self) -> bool {
        matches!(self, ExportSubject::Source(ExportSource { with_credentials: true, .. }))
    }
}

/// Checks the API, the controllers and the definitions, and says what is missing.
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// list of components, accepts comma-separated values
    #[arg(long, value_name = "strings", default_values = [
        "source-controller", "kustomize-controller", "helm-controller", "notification-controller",
    ])]
    pub(crate) components: Vec<String>,
    /// list of components in addition to those supplied or defaulted, accepts comma-separated values
    #[arg(long, value_name = "strings")]
    pub(crate) components_extra: Vec<String>,
    /// how often the health checker should poll the cluster for the latest state of the resources.
    #[arg(verbatim_doc_comment, long, value_name = "duration", default_value = "5s")]
    pub(crate) poll_interval: Duration,
    /// only run pre-installation checks
    #[arg(long)]
    pub(crate) pre: bool,
}

/// Shows the Kubernetes events of the objects, the oldest first.
#[derive(Debug, Args)]
pub(crate) struct Events {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) names: Names,
    /// display events from Flux resources across all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// get events for a particular object
    #[arg(long = "for", value_name = "string", default_value_t)]
    pub(crate) for_object: String,
    /// filter events for certain types (valid types are: Normal, Warning)
    #[arg(long, value_name = "strings")]
    pub(crate) types: Vec<String>,
    /// indicate if the events should be streamed
    #[arg(short, long)]
    pub(crate) watch: bool,
}

/// Shows the log lines of the controllers that belong to objects.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) names: Names,
    /// displays logs for objects across all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// the namespace where the Flux components are running
    #[arg(long, value_name = "string", default_value = "flux-system")]
    pub(crate) flux_namespace: String,
    /// specifies if the logs should be streamed
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// displays errors of a particular toolkit kind e.g GitRepository
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) kind: String,
    /// log level
    #[arg(long, value_name = "debug|info|error", default_value_t)]
    pub(crate) level: String,
    /// specifies the name of the object logs to be displayed
    #[arg(long, value_name = "string", default_value_t)]
    pub(crate) name: String,
    /// Only return logs newer than a relative duration like 5s, 2m, or 3h. Defaults to all logs. Only one of since-time / since may be used.
    #[arg(verbatim_doc_comment, long, value_name = "duration", default_value = "0s")]
    pub(crate) since: Duration,
    /// Only return logs after a specific date (RFC3339). Defaults to all logs. Only one of since-time / since may be used.
    #[arg(verbatim_doc_comment, long, value_name = "string", default_value_t)]
    pub(crate) since_time: String,
    /// lines of recent log file to display
    #[arg(long, value_name = "int", default_value = "-1", allow_hyphen_values = true)]
    pub(crate) tail: i64,
}

/// Counts the objects of every kind, those that fail and rest, and the bytes that sources store.
#[derive(Debug, Args)]
pub(crate) struct Stats {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// list the statistics for objects across all namespaces
    #[arg(short = 'A', long, global = true)]
    pub(crate) all_namespaces: bool,
}

/// Prints the versions of the client and of the controllers of the current context.
#[derive(Debug, Args)]
pub(crate) struct Version {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) names: Names,
    /// print only client version
    #[arg(long)]
    pub(crate) client: bool,
    /// the format in which the information should be printed. can be 'json' or 'yaml'
    #[arg(short, long, value_name = "string", default_value = "yaml")]
    pub(crate) output: String,
}

/// Prints a script that completes commands and flags in a shell.
#[derive(Debug, Args)]
pub(crate) struct Completion {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) shell: Shell,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Shell {
    /// For bash: source it from a startup file
    Bash(Names),
    /// For fish: save it as ~/.config/fish/completions/NAME.fish
    Fish(Names),
    /// For PowerShell: run it from the profile
    Powershell(Names),
    /// For zsh: save it as _NAME in a folder of $fpath
    Zsh(Names),
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::io::{BufRead as _, BufReader};

    use clap::{Arg, Command, CommandFactory as _};
    use serde_json::Value;

    use super::{Flux, OURS};
    use crate::args::help::default_of;
    use crate::args::later::is_later;
    use crate::args::pflag::type_of;

    /// Flags as `--name -s type = default`, by command.
    type Surface = BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>;

    /// Every command of flux is here with the same aliases and flags, or is named among those to come.
    #[test]
    fn commands_and_flags_are_those_of_flux() {
        let mut root = Flux::command();
        root.build();
        let mut ours = Surface::new();
        collect(&root, "", &mut Vec::new(), &mut ours);
        for (command, (aliases, flags)) in recorded() {
            // One that asks for help has no flag of its own.
            let Some((our_aliases, our_flags)) = ours.remove(&command) else {
                let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
                let is_named = (0..words.len()).any(|n| is_later(&words[..n], &words[n]));
                assert!(is_named, "`flux {command}` is neither here nor said to come");
                continue;
            };
            assert_eq!(our_aliases, aliases, "aliases of `flux {command}`");
            assert_eq!(our_flags, flags, "flags of `flux {command}`");
        }
        // The recorded listing leaves completion out.
        let more: Vec<String> = ours.into_keys().collect();
        let shells = ["", " bash", " fish", " powershell", " zsh"];
        assert_eq!(more, shells.map(|shell| format!("completion{shell}")));
    }

    fn collect(command: &Command, path: &str, above: &mut Vec<String>, surface: &mut Surface) {
        let is_own = |arg: &&Arg| {
            !arg.is_positional()
                && arg.get_help_heading() != Some(OURS)
                && arg.get_long() != Some("help")
        };
        let mut own = BTreeSet::new();
        let mut names = Vec::new();
        for arg in command.get_arguments().filter(is_own) {
            let name = arg.get_long().expect("a flag has a name").to_owned();
            let flag = flag(
                &name,
                arg.get_short().map(String::from).as_deref(),
                type_of(arg),
                default_of(arg).as_deref(),
            );
            // What was declared above is inherited, unless it is declared anew.
            if !above.contains(&flag) {
                own.insert(flag.clone());
            }
            names.push(flag);
        }
        let aliases = command.get_visible_aliases().map(str::to_owned).collect();
        surface.insert(path.to_owned(), (aliases, own));
        let n_above = above.len();
        above.extend(names);
        for next in command.get_subcommands() {
            let path = format!("{path} {}", next.get_name());
            collect(next, path.trim(), above, surface);
        }
        above.truncate(n_above);
    }

    fn flag(name: &str, short: Option<&str>, type_: &str, default: Option<&str>) -> String {
        let short = short.map(|short| format!(" -{short}")).unwrap_or_default();
        let default = default.map(|default| format!(" = {default}")).unwrap_or_default();
        format!("--{name}{short} {type_}{default}")
    }

    fn recorded() -> Surface {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/surface.jsonl.gz");
        let file = std::fs::File::open(path).expect("the golden file is there");
        let lines = BufReader::new(flate2::read::GzDecoder::new(file)).lines();
        let record = |line: std::io::Result<String>| {
            let record: Value = serde_json::from_str(&line.expect("a line")).expect("a record");
            let texts = |field: &str| -> Vec<Value> {
                record[field].as_array().cloned().unwrap_or_default()
            };
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            let flags = texts("flags")
                .iter()
                .map(|recorded| {
                    let optional = |field: &str| recorded[field].as_str();
                    let (name, type_) = (text(&recorded["name"]), text(&recorded["type"]));
                    flag(&name, optional("short"), &type_, optional("default"))
                })
                .collect();
            (text(&record["command"]), (texts("aliases").iter().map(text).collect(), flags))
        };
        lines.map(record).collect()
    }
}
