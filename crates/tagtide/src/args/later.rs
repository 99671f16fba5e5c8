//! Flux's commands that are not here yet: each is named, so that nobody takes it for a mistake of his own.

/// Groups of commands, and in each the commands with their aliases that are still to come.
const LATER: [(&str, &[&str]); 13] = [
    (
        "",
        &[
            "bootstrap",
            "build",
            "debug",
            "diff",
            "envsubst",
            "install",
            "list",
            "migrate",
            "plugin",
            "pull",
            "push",
            "tag",
            "trace",
            "tree",
            "trigger",
            "uninstall",
        ],
    ),
    (
        "create",
        &[
            "alert",
            "alert-provider",
            "helmrelease",
            "hr",
            "kustomization",
            "ks",
            "receiver",
            "tenant",
        ],
    ),
    ("create secret", &["notation", "receiver"]),
    ("create source", &["bucket", "chart", "helm", "oci"]),
    ("delete", &DEPLOYMENT),
    ("delete source", &SOURCES),
    (
        "export",
        &[
            "alert",
            "alert-provider",
            "artifact",
            "helmrelease",
            "hr",
            "kustomization",
            "ks",
            "receiver",
        ],
    ),
    ("export source", &["bucket", "chart", "external", "helm", "oci"]),
    (
        "get",
        &[
            "alert-providers",
            "alert-provider",
            "alerts",
            "alert",
            "artifacts",
            "artifact",
            "helmreleases",
            "helmrelease",
            "hr",
            "kustomizations",
            "kustomization",
            "ks",
            "receivers",
            "receiver",
        ],
    ),
    ("get sources", &["bucket", "chart", "external", "helm", "oci"]),
    ("reconcile", &["helmrelease", "hr", "kustomization", "ks", "receiver"]),
    ("reconcile source", &SOURCES),
    ("resume", &DEPLOYMENT),
];

const DEPLOYMENT: [&str; 7] =
    ["alert", "alert-provider", "helmrelease", "hr", "kustomization", "ks", "receiver"];

const SOURCES: [&str; 4] = ["bucket", "chart", "helm", "oci"];

/// Returns whether Flux has a command behind `path` that we do not have yet.
pub(crate) fn is_later(path: &[String], word: &str) -> bool {
    let path = path.join(" ");
    // What can be suspended can be resumed.
    let path = path.strip_prefix("suspend").map_or(path.clone(), |rest| format!("resume{rest}"));
    let group = if path == "resume source" { "delete source".to_owned() } else { path };
    LATER.iter().any(|(known, words)| *known == group && words.contains(&word))
}

/// Returns what is said of a command that is not here yet.
pub(crate) fn mistake(program: &str, path: &[String], word: &str) -> Option<String> {
    let command = [&[program.to_owned()], path, &[word.to_owned()]].concat().join(" ");
    is_later(path, word).then(|| {
        format!(
            "`{command}` is not yet supported: so far there are image automation and Git sources"
        )
    })
}
