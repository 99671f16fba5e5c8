//! Installs the Debian packages that the tests run against, and names those it cannot get.

use anyhow::{Result, bail};

use crate::run;

/// A Debian package and a program that shows it is there.
struct Package {
    name: &'static str,
    program: &'static str,
}

/// What the tests run against. One line each: the peer is real, never imitated.
const PACKAGES: &[Package] = &[
    Package { name: "docker-registry", program: "docker-registry" },
    Package { name: "git", program: "git" },
];

/// Installs the packages that are missing, through `sudo` where the user is not root.
pub(crate) fn install_missing() -> Result<()> {
    let missing: Vec<_> = PACKAGES.iter().filter(|package| !run::has(package.program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|package| package.name).collect();
    run::say(&format!("installing the Debian packages {}", names.join(", ")));
    // An old package list may still be good enough, so its refresh may fail.
    if let Err(error) = apt(&["update"]) {
        run::say(&format!("warning: {error:#}"));
    }
    let mut args = vec!["install", "--yes", "--no-install-recommends"];
    args.extend(&names);
    if let Err(error) = apt(&args) {
        run::say(&format!("warning: {error:#}"));
    }
    let absent: Vec<_> = missing
        .iter()
        .filter(|package| !run::has(package.program))
        .map(|package| package.name)
        .collect();
    if !absent.is_empty() {
        bail!(
            "the tests need these Debian packages, which could not be installed: {}",
            absent.join(", ")
        );
    }
    Ok(())
}

fn apt(args: &[&str]) -> Result<()> {
    if run::output(std::path::Path::new("/"), "id", &["-u"])?.trim() == "0" {
        return run::program("apt-get", args);
    }
    let mut sudo = vec!["apt-get"];
    sudo.extend(args);
    run::program("sudo", &sudo)
}
