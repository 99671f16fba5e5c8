//! Pushing.

use std::collections::HashSet;

use gix::{ObjectId, objs::Kind};

use super::{
    GitError, Repository, pack,
    pkt_line::{self, Packet},
    upload_pack::{parse_id, write_advertisement},
};

const CAPABILITIES: &str = "report-status report-status-v2 delete-refs side-band-64k quiet \
     atomic ofs-delta push-options object-format=sha1 agent=tagtide-sandbox";

pub(super) fn advertise(repository: &Repository, version: u8, out: &mut Vec<u8>) {
    let references: Vec<(ObjectId, String)> =
        repository.references.iter().map(|(name, id)| (*id, name.clone())).collect();
    write_advertisement(&references, CAPABILITIES, version, out);
}

/// A reference that a client wants moved.
struct Command {
    old: ObjectId,
    new: ObjectId,
    name: String,
}

struct Push<'a> {
    commands: Vec<Command>,
    capabilities: Vec<String>,
    pack: &'a [u8],
}

impl Push<'_> {
    fn parse(request: &[u8]) -> Result<Push<'_>, GitError> {
        let mut input = request;
        let mut push = Push { commands: Vec::new(), capabilities: Vec::new(), pack: &[] };
        while let Some(Packet::Line(line)) = pkt_line::read(&mut input)? {
            let mut parts = pkt_line::text(line)?.splitn(2, '\0');
            push.commands.push(Command::parse(parts.next().unwrap_or_default())?);
            let capabilities = parts.next().unwrap_or_default().split_whitespace();
            push.capabilities.extend(capabilities.map(str::to_owned));
        }
        if push.has("push-options") {
            // They are for hooks, of which this host has none.
            while let Some(Packet::Line(_)) = pkt_line::read(&mut input)? {}
        }
        push.pack = input;
        Ok(push)
    }

    fn has(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|has| has == capability)
    }
}

impl Command {
    fn parse(line: &str) -> Result<Command, GitError> {
        let mut words = line.splitn(3, ' ');
        let (Some(old), Some(new), Some(name)) = (words.next(), words.next(), words.next()) else {
            return Err(GitError::Protocol(format!("`{line}` is not an update of a reference")));
        };
        Ok(Command { old: parse_id(old)?, new: parse_id(new)?, name: name.to_owned() })
    }

    /// Moves the reference, or says why not, in the words of stock git.
    fn apply(&self, repository: &mut Repository) -> Result<(), &'static str> {
        if !self.name.starts_with("refs/")
            || gix::validate::reference::name(self.name.as_str().into()).is_err()
        {
            return Err("funny refname");
        }
        let current = repository.references.get(&self.name).copied();
        if current.unwrap_or(ObjectId::null(gix::hash::Kind::Sha1)) != self.old {
            return Err("failed to update ref");
        }
        if self.new.is_null() {
            if self.name == repository.head {
                return Err("deletion of the current branch prohibited");
            }
            repository.references.remove(&self.name);
            return Ok(());
        }
        let is_commit =
            repository.objects.get(&self.new).is_some_and(|object| object.kind == Kind::Commit);
        if self.name.starts_with("refs/heads/") && !is_commit {
            return Err("cannot update ref to a non-commit object");
        }
        repository.references.insert(self.name.clone(), self.new);
        Ok(())
    }
}

/// Takes a push and reports on it.
pub(super) fn receive(repository: &mut Repository, request: &[u8]) -> Result<Vec<u8>, GitError> {
    let push = Push::parse(request)?;
    let mut report = Vec::new();
    match unpack(repository, &push) {
        Ok(()) => {
            pkt_line::write(&mut report, b"unpack ok\n");
            for (command, outcome) in push.commands.iter().zip(update(repository, &push)) {
                let line = match outcome {
                    Ok(()) => format!("ok {}\n", command.name),
                    Err(reason) => format!("ng {} {reason}\n", command.name),
                };
                pkt_line::write(&mut report, line.as_bytes());
            }
        }
        Err(error) => {
            pkt_line::write(&mut report, format!("unpack {error}\n").as_bytes());
            for command in &push.commands {
                let line = format!("ng {} unpacker error\n", command.name);
                pkt_line::write(&mut report, line.as_bytes());
            }
        }
    }
    report.extend_from_slice(pkt_line::FLUSH);
    if !push.has("report-status") && !push.has("report-status-v2") {
        return Ok(Vec::new());
    }
    if !push.has("side-band-64k") {
        return Ok(report);
    }
    let mut out = Vec::new();
    pkt_line::write_band(&mut out, 1, &report);
    out.extend_from_slice(pkt_line::FLUSH);
    Ok(out)
}

/// Takes the pack in, if everything that the new references need is there then.
fn unpack(repository: &mut Repository, push: &Push<'_>) -> Result<(), GitError> {
    if push.pack.is_empty() {
        return check(repository, push);
    }
    // Objects of a refused push must not stay: another push could then lean on them.
    let before = repository.objects.clone();
    for (kind, data) in pack::read(push.pack, &repository.objects)? {
        repository.objects.insert(kind, data);
    }
    check(repository, push).inspect_err(|_| repository.objects = before)
}

/// Walks from the new ids to what the references had before.
fn check(repository: &Repository, push: &Push<'_>) -> Result<(), GitError> {
    let known: HashSet<ObjectId> = repository.references.values().copied().collect();
    let new = push.commands.iter().map(|command| command.new).filter(|id| !id.is_null());
    repository.objects.reachable(new, &known, &HashSet::new())?;
    Ok(())
}

fn update(repository: &mut Repository, push: &Push<'_>) -> Vec<Result<(), &'static str>> {
    let before = repository.references.clone();
    let outcomes: Vec<Result<(), &'static str>> =
        push.commands.iter().map(|command| command.apply(repository)).collect();
    if push.has("atomic") && outcomes.iter().any(Result::is_err) {
        repository.references = before;
        return outcomes
            .into_iter()
            .map(|outcome| outcome.and(Err("atomic push failure")))
            .collect();
    }
    for (command, _) in push.commands.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok()) {
        let id = |id: ObjectId| (!id.is_null()).then_some(id);
        repository.moved(&command.name, id(command.old), id(command.new));
    }
    outcomes
}
