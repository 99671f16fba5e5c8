//! `completion`: a script that completes commands and flags in a shell.

use anyhow::Result;
use clap_complete::Shell as Kind;

use crate::args;
use crate::args::flux::{Completion, Shell};
use crate::console::Console;
use crate::error::Outcome;

pub(crate) fn run(completion: &Completion, console: &Console<'_>) -> Result<Outcome> {
    let shell = match completion.shell {
        Shell::Bash(_) => Kind::Bash,
        Shell::Fish(_) => Kind::Fish,
        Shell::Powershell(_) => Kind::PowerShell,
        Shell::Zsh(_) => Kind::Zsh,
    };
    let mut command = args::command(console.program);
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    console.ui.data(&String::from_utf8(script)?)?;
    Ok(Outcome::Done)
}
