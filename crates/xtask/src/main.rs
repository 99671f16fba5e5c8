//! Automation for developers: `cargo xtask test`, `ci`, `tidy`, `bench`, `simulate`, `fuzz`.

mod kube_assets;
mod packages;
mod run;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Automation for developers of Tagtide")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the tests need, then run every test
    Test {
        /// Passed to `cargo test` (package selection, filters)
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Check formatting and lints, then run `test`
    Ci,
    /// Check the rules of the house that no compiler knows
    Tidy,
    /// Build kubectl from the sources of Kubernetes, for machines that have none or an old one
    KubeAssets {
        /// Also build kube-apiserver and etcd, to compare with
        #[arg(long)]
        server: bool,
    },
    /// Run the benchmarks, all or those whose name is given
    Bench { names: Vec<String> },
    /// Live many simulated lives of the loop; a failing one says how to live it again
    Simulate {
        /// How many
        #[arg(long, default_value_t = 10_000)]
        seeds: u64,
        /// The first seed
        #[arg(long, default_value_t = 1)]
        first: u64,
    },
    /// Mutate the corpus of a fuzz body for a while: `fuzz yaml_edit --seconds 60`
    Fuzz {
        name: String,
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
}

fn main() -> ExitCode {
    match perform(Args::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            run::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<()> {
    let root = root()?;
    match task {
        Task::Test { args } => test(&root, &args),
        Task::Ci => ci(&root),
        Task::KubeAssets { server: false } => kube_assets::build(&root, &["kubectl"]),
        Task::KubeAssets { server: true } => {
            kube_assets::build(&root, &["kubectl", "kube-apiserver", "etcd"])
        }
        Task::Tidy => tidy::check(&root),
        Task::Bench { names } => run::benches(&root, &names),
        Task::Simulate { seeds, first } => run::simulate(&root, seeds, first),
        Task::Fuzz { name, seconds } => run::fuzz(&root, &name, seconds),
    }
}

fn test(root: &std::path::Path, args: &[String]) -> Result<()> {
    packages::install_missing()?;
    kube_assets::ensure_kubectl(root)?;
    // The binary is built first: the end-to-end tests run it.
    run::cargo(root, &["build", "--package", "tagtide"])?;
    // All that fails is shown, not the first alone.
    let mut cargo = vec!["test", "--no-fail-fast"];
    if !args.iter().any(|arg| arg == "-p" || arg == "--package") {
        cargo.push("--workspace");
    }
    cargo.extend(args.iter().map(String::as_str));
    run::cargo(root, &cargo)
}

fn ci(root: &std::path::Path) -> Result<()> {
    run::cargo(root, &["fmt", "--all", "--check"])?;
    run::cargo(
        root,
        &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
    )?;
    test(root, &[])
}

fn root() -> Result<PathBuf> {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.ancestors().nth(2).context("xtask lies two folders below the root")?;
    Ok(root.to_path_buf())
}
