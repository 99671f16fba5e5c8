//! Finds the programs of the machine that tests are judged by.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Returns where `program` is, looking through `PATH` and then the folders daemons live in.
///
/// # Panics
///
/// If it is nowhere, naming the Debian package that has it.
#[track_caller]
pub(crate) fn find(program: &str, package: &str) -> PathBuf {
    locate(program).unwrap_or_else(|| {
        panic!("this test needs `{program}`: install it with `apt-get install {package}`")
    })
}

/// Returns where `program` is, if it is anywhere.
pub(crate) fn locate(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin", "/usr/lib/git-core"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| is_file(file))
}

/// Returns a command that the kernel ends with us: a test that is killed cannot drop anything.
pub(crate) fn that_dies_with_us(program: &Path) -> Command {
    let Some(setpriv) = locate("setpriv") else {
        return Command::new(program);
    };
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

fn is_file(file: &Path) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file())
}
