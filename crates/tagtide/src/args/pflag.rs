//! Reads a command line of Flux's verbs as Flux's own libraries do, in their order and with their words.
//!
//! The result is a command line that clap takes: commands, then flags with `=`, then
//! `--`, then what else was typed. The flags themselves are declared with clap alone.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};
use golang::strconv;
use golang::time::Duration;

use super::flux::OURS;
use super::later;

/// A command line that was understood.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Line {
    /// The commands, without the program.
    pub(crate) path: Vec<String>,
    /// What clap is to read, without the program.
    pub(crate) arguments: Vec<String>,
    /// The long names of the flags that were typed.
    pub(crate) typed: BTreeSet<String>,
}

/// Why there is nothing to run.
#[derive(Debug, PartialEq)]
pub(crate) enum Stop {
    /// The help text of the command at this path is asked for, or all that it has.
    Help(Vec<String>),
    /// The version is asked for.
    Version,
    /// A mistake, in the words that are shown.
    Mistake(String),
}

/// Reads `words`, all that follows the program, by the flags that `root` declares.
///
/// `root` must be built, so that commands know the flags of those above them.
pub(crate) fn parse(root: &Command, words: &[String], program: Program) -> Result<Line, Stop> {
    if let Some(("help", words)) = words.split_first().map(|(first, rest)| (&**first, rest)) {
        return Err(Stop::Help(find(root, words)?.0));
    }
    let (path, leaf, rest) = find(root, words)?;
    let mut reader = Reader { leaf, program, flags: Vec::new(), positional: Vec::new() };
    reader.read(rest)?;
    let Reader { flags, positional, .. } = reader;
    if flags.iter().any(|(name, _)| name == "help") {
        return Err(Stop::Help(path));
    }
    if path.is_empty() && flags.iter().any(|(name, _)| name == "version") {
        return Err(Stop::Version);
    }
    if leaf.has_subcommands() {
        return Err(Stop::Help(path));
    }
    if let (Some(word), None) = (positional.first(), leaf.get_positionals().next()) {
        let command = [&[root.get_name().to_owned()], &*path].concat().join(" ");
        return Err(Stop::Mistake(format!("unknown command {} for \"{command}\"", quoted(word))));
    }
    let typed = flags.iter().map(|(name, _)| name.clone()).collect();
    let mut arguments = path.clone();
    arguments.extend(settled(leaf, flags));
    arguments.push("--".to_owned());
    arguments.extend(positional);
    Ok(Line { path, arguments, typed })
}

/// Who is asked: only `tagtide` has flags of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// Called through a link of that name.
    Flux,
    /// Called by our own name.
    Tagtide,
}

/// Returns whether the first command among the words of `tagtide` is one of Flux's, built or not.
pub(crate) fn is_verb(root: &Command, flux: &Command, words: &[OsString]) -> bool {
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into()).collect();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if !word.starts_with('-') {
            return flux.find_subcommand(word).is_some() || later::is_later(&[], word);
        }
        if takes_next(root, word) {
            words.next();
        }
    }
    false
}

/// Follows the commands among the words; returns the last one, its path, and all other words.
fn find<'c>(
    root: &'c Command,
    words: &[String],
) -> Result<(Vec<String>, &'c Command, Vec<String>), Stop> {
    let (mut command, mut path, mut rest) = (root, Vec::new(), Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            rest.push(word.clone());
            break;
        }
        if word.starts_with('-') && word != "-" {
            rest.push(word.clone());
            if takes_next(command, word) {
                rest.extend(words.next().cloned());
            }
            continue;
        }
        let Some(next) = command.find_subcommand(word) else {
            if let Some(mistake) = later::mistake(root.get_name(), &path, word) {
                return Err(Stop::Mistake(mistake));
            }
            if path.is_empty() {
                let word = quoted(word);
                let name = root.get_name();
                return Err(Stop::Mistake(format!("unknown command {word} for \"{name}\"")));
            }
            rest.push(word.clone());
            break;
        };
        path.push(next.get_name().to_owned());
        command = next;
    }
    rest.extend(words.cloned());
    Ok((path, command, rest))
}

/// Whether the word after this flag is its value.
fn takes_next(command: &Command, word: &str) -> bool {
    let arg = match word.strip_prefix("--") {
        Some(name) if name.contains('=') => return false,
        Some(name) => by_long(command, name),
        None if word.chars().count() > 2 => return false,
        None => word.chars().nth(1).and_then(|short| by_short(command, short)),
    };
    arg.is_some_and(takes_value)
}

fn by_long<'c>(command: &'c Command, name: &str) -> Option<&'c Arg> {
    command.get_arguments().find(|arg| arg.get_long() == Some(name))
}

fn by_short(command: &Command, short: char) -> Option<&Arg> {
    command.get_arguments().find(|arg| arg.get_short() == Some(short))
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

/// Reads flags by what one command knows.
struct Reader<'c> {
    leaf: &'c Command,
    program: Program,
    /// Long names and values, in the order of the line.
    flags: Vec<(String, String)>,
    positional: Vec<String>,
}

impl Reader<'_> {
    fn read(&mut self, words: Vec<String>) -> Result<(), Stop> {
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            if word == "--" {
                self.positional.extend(words);
                break;
            }
            if let Some(flag) = word.strip_prefix("--") {
                self.long(flag, &word, &mut words)?;
            } else if word.starts_with('-') && word != "-" {
                self.shorts(&word[1..], &mut words)?;
            } else {
                self.positional.push(word);
            }
        }
        Ok(())
    }

    fn long(
        &mut self,
        flag: &str,
        word: &str,
        words: &mut impl Iterator<Item = String>,
    ) -> Result<(), Stop> {
        if flag.starts_with(['-', '=']) {
            return Err(Stop::Mistake(format!("bad flag syntax: {word}")));
        }
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        let known = by_long(self.leaf, name).filter(|arg| self.is_known(arg));
        let arg = known.ok_or_else(|| Stop::Mistake(format!("unknown flag: --{name}")))?;
        let value = match value {
            Some(value) => value,
            None if !takes_value(arg) => "true".to_owned(),
            None => words
                .next()
                .ok_or_else(|| Stop::Mistake(format!("flag needs an argument: --{name}")))?,
        };
        self.set(arg, value)
    }

    /// Reads `An` of `-An NAME`.
    fn shorts(
        &mut self,
        flags: &str,
        words: &mut impl Iterator<Item = String>,
    ) -> Result<(), Stop> {
        let mut rest = flags;
        while let Some(short) = rest.chars().next() {
            let after = &rest[short.len_utf8()..];
            let known = by_short(self.leaf, short).filter(|arg| self.is_known(arg));
            let arg = known.ok_or_else(|| {
                Stop::Mistake(format!("unknown shorthand flag: '{short}' in -{rest}"))
            })?;
            if let Some(value) = after.strip_prefix('=').filter(|value| !value.is_empty()) {
                return self.set(arg, value.to_owned());
            }
            if takes_value(arg) {
                let value = if after.is_empty() { words.next() } else { Some(after.to_owned()) };
                let value = value.ok_or_else(|| {
                    Stop::Mistake(format!("flag needs an argument: '{short}' in -{rest}"))
                })?;
                return self.set(arg, value);
            }
            self.set(arg, "true".to_owned())?;
            rest = after;
        }
        Ok(())
    }

    fn is_known(&self, arg: &Arg) -> bool {
        self.program == Program::Tagtide || arg.get_help_heading() != Some(OURS)
    }

    fn set(&mut self, arg: &Arg, value: String) -> Result<(), Stop> {
        let name = arg.get_long().unwrap_or_default().to_owned();
        check(arg, &value).map_err(|error| {
            let flag = match arg.get_short() {
                Some(short) => format!("-{short}, --{name}"),
                None => format!("--{name}"),
            };
            let value = quoted(&value);
            Stop::Mistake(format!("invalid argument {value} for \"{flag}\" flag: {error}"))
        })?;
        self.flags.push((name, value));
        Ok(())
    }
}

/// Returns the type that Flux gives a flag; a flag without a value is a `bool`.
pub(crate) fn type_of(arg: &Arg) -> &str {
    if !takes_value(arg) {
        return "bool";
    }
    arg.get_value_names().and_then(|names| names.first()).map_or("string", |name| name.as_str())
}

/// Checks a value by the flag's type, with the words of Go or of Flux.
fn check(arg: &Arg, value: &str) -> Result<(), String> {
    let is_blank = value.trim().is_empty();
    let one_of = |types: &str| types.split('|').any(|known| known == value);
    let listed = |types: &str| types.replace('|', ", ");
    match type_of(arg) {
        "bool" => strconv::parse_bool(value).map(drop).map_err(|error| error.to_string()),
        "int" => strconv::parse_int(value, 0, 64).map(drop).map_err(|error| error.to_string()),
        "float32" => strconv::parse_float(value).map(drop).map_err(|error| error.to_string()),
        "duration" => value.parse::<Duration>().map(drop).map_err(|error| error.to_string()),
        "strings" => comma_separated(value).map(drop),
        types @ "generic|github|aws|azure" if is_blank => {
            let _ = types;
            Err("no source Git provider given, please specify the Git provider name".to_owned())
        }
        types @ "generic|github|aws|azure" if !one_of(types) => {
            Err(format!("source Git provider '{value}' is not supported, must be one of: {types}"))
        }
        types @ "debug|info|error" if is_blank => {
            Err(format!("no log level given, must be one of: {}", listed(types)))
        }
        types @ "debug|info|error" if !one_of(types) => {
            Err(format!("unsupported log level '{value}', must be one of: {}", listed(types)))
        }
        types @ "rsa|ecdsa|ed25519" if is_blank => {
            Err(format!("no public key algorithm given, must be one of: {}", listed(types)))
        }
        types @ "rsa|ecdsa|ed25519" if !one_of(types) => Err(format!(
            "unsupported public key algorithm '{value}', must be one of: {}",
            listed(types)
        )),
        types @ "p256|p384|p521" if !one_of(types) => {
            Err(format!("unsupported curve '{value}', must be one of: {}", listed(types)))
        }
        "rsaKeyBits" if !is_blank => check_rsa_bits(value),
        _ => Ok(()),
    }
}

fn check_rsa_bits(value: &str) -> Result<(), String> {
    // What Go's Atoi says names itself.
    let bits = strconv::parse_int(value, 10, 64)
        .map_err(|error| error.to_string().replacen("ParseInt", "Atoi", 1))?;
    match bits {
        ..1024 => Err("RSA key bit size must be at least 1024".to_owned()),
        bits if bits % 8 != 0 => Err("RSA key bit size must be a multiples of 8".to_owned()),
        _ => Ok(()),
    }
}

/// Returns the flags as clap reads them: the last value of each, every value of lists, switches that are on alone.
fn settled(leaf: &Command, flags: Vec<(String, String)>) -> Vec<String> {
    let mut settled: Vec<(String, Vec<String>)> = Vec::new();
    for (name, value) in flags {
        let Some(arg) = by_long(leaf, &name) else { continue };
        let written = |value: &str| format!("--{name}={value}");
        let values = match type_of(arg) {
            "bool" if strconv::parse_bool(&value) == Ok(true) => vec![format!("--{name}")],
            "bool" => Vec::new(),
            "strings" => {
                let parts = comma_separated(&value).unwrap_or_default();
                parts.iter().map(|part| written(part)).collect()
            }
            _ => vec![written(&value)],
        };
        let is_list = matches!(arg.get_action(), ArgAction::Append);
        match settled.iter_mut().find(|(known, _)| *known == name) {
            Some((_, all)) if is_list => all.extend(values),
            Some((_, all)) => *all = values,
            None => settled.push((name, values)),
        }
    }
    settled.into_iter().flat_map(|(_, values)| values).collect()
}

/// Reads one line of comma-separated values: a field in double quotes may hold commas, and quotes written twice.
pub(crate) fn comma_separated(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let line = text.split(['\r', '\n']).next().unwrap_or_default();
    let mut fields = Vec::new();
    let mut rest = Some(line);
    while let Some(field) = rest {
        let column = line.len() - field.len() + 1;
        if let Some(quoted) = field.strip_prefix('"') {
            let (value, after) = quoted_field(quoted).ok_or_else(|| {
                format!(
                    "parse error on line 1, column {}: extraneous or missing \" in quoted-field",
                    line.len() + 1
                )
            })?;
            fields.push(value);
            rest = after;
            continue;
        }
        let (value, after) = match field.split_once(',') {
            Some((value, after)) => (value, Some(after)),
            None => (field, None),
        };
        if let Some(at) = value.find('"') {
            let column = column + at;
            return Err(format!(
                "parse error on line 1, column {column}: bare \" in non-quoted-field"
            ));
        }
        fields.push(value.to_owned());
        rest = after;
    }
    Ok(fields)
}

/// Reads a field up to its closing quote; returns what follows the comma behind it.
fn quoted_field(text: &str) -> Option<(String, Option<&str>)> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('"')?;
        value += part;
        match after.as_bytes().first() {
            Some(b'"') => {
                value.push('"');
                rest = &after[1..];
            }
            Some(b',') => return Some((value, Some(&after[1..]))),
            None => return Some((value, None)),
            Some(_) => return None,
        }
    }
}

fn quoted(text: &str) -> String {
    strconv::quote(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::flux::Flux;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let mut root = Flux::command();
        root.build();
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let got = match parse(&root, &words, Program::Flux) {
            Ok(line) => line.arguments.join(" "),
            Err(Stop::Help(path)) => format!("help of {path:?}"),
            Err(Stop::Version) => "version".to_owned(),
            Err(Stop::Mistake(mistake)) => mistake,
        };
        assert_eq!(got, expected, "{line}");
    }

    #[test]
    fn flags_stand_anywhere() {
        check("-n apps get images policy", "get images policy --namespace=apps --");
        check(
            "get -n=apps images policy a -A b",
            "get images policy --namespace=apps --all-namespaces -- a b",
        );
        check(
            "get images policy -An apps -- -x",
            "get images policy --all-namespaces --namespace=apps -- -x",
        );
        check("get image policy --namespace apps", "get images policy --namespace=apps --");
    }

    #[test]
    fn the_last_value_wins_and_lists_add() {
        check("get all -n a --namespace=b", "get all --namespace=b --");
        check("get all -A --all-namespaces=false", "get all --");
        check(
            "create image policy p --label=a=b,c=d --label e=f",
            "create image policy --label=a=b --label=c=d --label=e=f -- p",
        );
    }

    #[test]
    fn mistakes_are_told_in_gos_words() {
        check("get all --foo", "unknown flag: --foo");
        check("get all -Ax", "unknown shorthand flag: 'x' in -x");
        check("get all --state=x", "unknown flag: --state");
        check("get all -n", "flag needs an argument: 'n' in -n");
        check("get all --namespace", "flag needs an argument: --namespace");
        check("get all ---x", "bad flag syntax: ---x");
        check(
            "create image repository x --interval=abc",
            r#"invalid argument "abc" for "--interval" flag: time: invalid duration "abc""#,
        );
        check(
            "get all -A=maybe",
            r#"invalid argument "maybe" for "-A, --all-namespaces" flag: strconv.ParseBool: parsing "maybe": invalid syntax"#,
        );
        check("nosuch", r#"unknown command "nosuch" for "flux""#);
        check("check x", r#"unknown command "x" for "flux check""#);
    }

    #[test]
    fn a_group_without_a_command_gives_its_help() {
        check("get images -n envs", r#"help of ["get", "images"]"#);
        check("get image nosuch", r#"help of ["get", "images"]"#);
        check("get images policy -h", r#"help of ["get", "images", "policy"]"#);
        check("-v", "version");
    }

    #[test]
    fn fields_between_commas_may_be_quoted() {
        let fields = |text: &str| comma_separated(text);
        let owned = |fields: &[&str]| Ok(fields.iter().map(|&field| field.to_owned()).collect());
        assert_eq!(fields(""), owned(&[]));
        assert_eq!(fields("a,,b"), owned(&["a", "", "b"]));
        assert_eq!(fields(r#""a,b",c"#), owned(&["a,b", "c"]));
        assert_eq!(fields(r#""a""b""#), owned(&[r#"a"b"#]));
        assert!(fields(r#"a"b"#).is_err());
        assert!(fields(r#""a"#).is_err());
    }
}
