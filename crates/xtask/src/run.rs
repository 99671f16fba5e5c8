//! Starts cargo and prints what it is started with.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a developer's tool starts programs and talks to a terminal"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Prints a line for the developer.
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// Runs `cargo ARGS` in `root`; its failure is an error that names the command.
pub(crate) fn cargo(root: &Path, args: &[&str]) -> Result<()> {
    cargo_with(root, args, &[])
}

/// Runs `program ARGS`; its failure is an error that names the command.
pub(crate) fn program(program: &str, args: &[&str]) -> Result<()> {
    say(&format!("+ {program} {}", args.join(" ")));
    let status =
        Command::new(program).args(args).status().with_context(|| format!("starting {program}"))?;
    if !status.success() {
        bail!("`{program} {}` failed: {status}", args.join(" "));
    }
    Ok(())
}

/// Runs `program ARGS` in `folder`; its failure is an error that names the command.
pub(crate) fn program_in(folder: &Path, program: &str, args: &[&str]) -> Result<()> {
    say(&format!("+ {program} {}", args.join(" ")));
    let status = Command::new(program)
        .args(args)
        .current_dir(folder)
        // What is built runs in any container.
        .env("CGO_ENABLED", "0")
        .status()
        .with_context(|| format!("starting {program}"))?;
    if !status.success() {
        bail!("`{program} {}` failed: {status}", args.join(" "));
    }
    Ok(())
}

/// Returns whether `program` is found on the path.
pub(crate) fn has(program: &str) -> bool {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    });
    found || Path::new("/usr/sbin").join(program).is_file()
}

/// Returns what `program ARGS` prints to its standard output.
pub(crate) fn output(root: &Path, program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(args)
        .current_dir(root)
        .output()
        .with_context(|| format!("starting {program}"))?;
    if !output.status.success() {
        bail!(
            "`{program} {}` failed: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{program} printed no UTF-8"))
}

/// Runs the benchmarks whose target name is among `names`, or all.
///
/// They are named one by one: `--benches` would also build every crate's unit tests, optimised.
pub(crate) fn benches(root: &Path, names: &[String]) -> Result<()> {
    let mut args = vec!["bench".to_owned()];
    for krate in crates(root)? {
        let Ok(files) = std::fs::read_dir(krate.join("benches")) else { continue };
        for file in files {
            let path = file.context("reading benches/")?.path();
            // A folder holds the modules of the benchmark of its name.
            if path.is_dir() {
                continue;
            }
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if names.is_empty() || names.contains(&name) {
                let package = krate.file_name().unwrap_or_default().to_string_lossy().into_owned();
                args.extend(["--package".to_owned(), package, "--bench".to_owned(), name]);
            }
        }
    }
    if args.len() == 1 {
        bail!("no benchmark is named {}", names.join(" or "));
    }
    cargo(root, &args.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Lives `n` simulated lives, beginning with the seed `first`.
pub(crate) fn simulate(root: &Path, n: u64, first: u64) -> Result<()> {
    cargo_with(
        root,
        &["test", "--package", "controllers", "--test", "simulate", "--", "--nocapture"],
        &[("TAGTIDE_SEEDS", &n.to_string()), ("TAGTIDE_FIRST_SEED", &first.to_string())],
    )
}

/// Runs the fuzz body `name` of whichever crate has a corpus for it, for `seconds`.
pub(crate) fn fuzz(root: &Path, name: &str, seconds: u64) -> Result<()> {
    let mut owners = Vec::new();
    for krate in crates(root)? {
        if krate.join("tests/corpus").join(name).is_dir() {
            owners.push(krate.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    let [owner] = owners.as_slice() else {
        bail!("no crate has exactly one folder `tests/corpus/{name}`; found in {owners:?}");
    };
    let seconds = seconds.to_string();
    cargo_with(
        root,
        &["test", "--profile", "bench", "--package", owner, "--test", "fuzz", "--", "--nocapture"],
        &[("TAGTIDE_FUZZ", name), ("TAGTIDE_FUZZ_SECONDS", &seconds)],
    )
}

/// Returns the folders of our crates, sorted.
fn crates(root: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(root.join("crates")).context("reading crates/")?;
    let mut crates = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    crates.sort();
    Ok(crates)
}

fn cargo_with(root: &Path, args: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    say(&format!("+ cargo {}", args.join(" ")));
    let status = Command::new(cargo)
        .args(args)
        .envs(environment.iter().copied())
        .current_dir(root)
        .status()
        .context("starting cargo")?;
    if !status.success() {
        bail!("`cargo {}` failed: {status}", args.join(" "));
    }
    Ok(())
}
