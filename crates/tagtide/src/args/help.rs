//! Help texts of Flux's verbs, laid out as Flux's are.

use clap::{Arg, Command};

use super::flux::OURS;
use super::pflag::{Program, type_of};

/// Columns that the names of commands take at least.
const NAME_WIDTH: usize = 11;

/// Returns the help text of the command at `path` below `root`, which must be built.
pub(crate) fn text(root: &Command, path: &[String], program: Program) -> String {
    let mut above = Vec::new();
    let mut command = root;
    for name in path {
        let Some(next) = command.find_subcommand(name) else { break };
        above.push(command);
        command = next;
    }
    let names = above.iter().chain([&command]).map(|command| command.get_name());
    let line = names.collect::<Vec<_>>().join(" ");
    let is_inherited = |arg: &&Arg| above.iter().any(|above| has(above, arg));
    let is_shown = |arg: &&Arg| {
        !arg.is_positional()
            && arg.get_long() != Some("help")
            && (program == Program::Tagtide || arg.get_help_heading() != Some(OURS))
    };
    let flags = command.get_arguments().filter(is_shown);
    let (inherited, own): (Vec<&Arg>, Vec<&Arg>) = flags.partition(is_inherited);

    let mut text = about(command);
    text += "\n\nUsage:\n";
    if command.has_subcommands() {
        text += &format!("  {line} [command]\n");
    } else {
        let name = if command.get_positionals().next().is_some() { " [name]" } else { "" };
        text += &format!("  {line}{name} [flags]\n");
    }
    let aliases: Vec<&str> = command.get_visible_aliases().collect();
    if !aliases.is_empty() {
        text += &format!("\nAliases:\n  {}, {}\n", command.get_name(), aliases.join(", "));
    }
    if command.has_subcommands() {
        text += "\nAvailable Commands:\n";
        text += &commands(command);
    }
    text += "\nFlags:\n";
    text += &usages(&own, command.get_name());
    if !inherited.is_empty() {
        text += "\nGlobal Flags:\n";
        text += &usages(&inherited, "");
    }
    if command.has_subcommands() {
        text +=
            &format!("\nUse \"{line} [command] --help\" for more information about a command.\n");
    }
    text
}

fn has(command: &Command, arg: &Arg) -> bool {
    command.get_arguments().any(|known| known.get_id() == arg.get_id() && known.is_global_set())
}

fn about(command: &Command) -> String {
    let about = command.get_long_about().or(command.get_about());
    about.map(|about| about.to_string().trim().to_owned()).unwrap_or_default()
}

fn commands(command: &Command) -> String {
    let mut commands: Vec<&Command> = command.get_subcommands().collect();
    commands.sort_by_key(|command| command.get_name());
    let names = commands.iter().map(|command| command.get_name().len());
    let width = names.max().unwrap_or(0).max(NAME_WIDTH);
    let line = |command: &&Command| {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        format!("  {:width$} {about}\n", command.get_name())
    };
    commands.iter().map(line).collect()
}

/// Returns a line for each flag; `command` is the one whose help is told of, if it is.
fn usages(flags: &[&Arg], command: &str) -> String {
    let mut lines: Vec<(&str, String, String)> = flags.iter().map(|arg| usage(arg)).collect();
    if !command.is_empty() {
        lines.push(("help", "  -h, --help".to_owned(), format!("help for {command}")));
    }
    lines.sort_by_key(|(name, ..)| *name);
    let width = lines.iter().map(|(_, flag, _)| flag.chars().count()).max().unwrap_or(0);
    lines.iter().map(|(_, flag, usage)| format!("{flag:width$}   {usage}\n")).collect()
}

fn usage(arg: &Arg) -> (&str, String, String) {
    let name = arg.get_long().unwrap_or_default();
    let short = arg.get_short().map_or("    ".to_owned(), |short| format!("-{short}, "));
    let type_ = type_of(arg);
    let value = if type_ == "bool" { String::new() } else { format!(" {type_}") };
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    if let Some(default) = default_of(arg) {
        help += &format!(" (default {default})");
    }
    (name, format!("  {short}--{name}{value}"), help)
}

/// Returns a flag's default as help texts show it, if it has one that is worth showing.
pub(crate) fn default_of(arg: &Arg) -> Option<String> {
    let values = arg.get_default_values();
    let values: Vec<_> = values.iter().map(|value| value.to_string_lossy()).collect();
    match (type_of(arg), values.as_slice()) {
        ("bool", _) | (_, []) => None,
        (_, [value]) if value.is_empty() => None,
        ("duration", [value]) if value == "0s" => None,
        ("string", [value]) => Some(format!("\"{value}\"")),
        ("strings", values) => Some(format!("[{}]", values.join(","))),
        (_, [value]) => Some(value.to_string()),
        (_, _) => None,
    }
}
