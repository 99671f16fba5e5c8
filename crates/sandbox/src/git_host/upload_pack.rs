//! Fetching, by version 2 of the protocol.

use std::collections::{HashMap, HashSet, VecDeque};

use gix::{ObjectId, objs::Kind};

use super::{
    GitError, Repository, pack,
    pkt_line::{self, Packet},
};

const CAPABILITIES: [&str; 5] = [
    "version 2\n",
    "agent=tagtide-sandbox\n",
    "ls-refs=unborn\n",
    "fetch=shallow\n",
    "object-format=sha1\n",
];

pub(super) fn advertise_capabilities(out: &mut Vec<u8>) {
    for capability in CAPABILITIES {
        pkt_line::write(out, capability.as_bytes());
    }
    out.extend_from_slice(pkt_line::FLUSH);
}

/// Lists references for clients of the older versions, for which this host does no more.
pub(super) fn advertise_references(repository: &Repository, version: u8, out: &mut Vec<u8>) {
    let mut capabilities = "agent=tagtide-sandbox object-format=sha1".to_owned();
    let mut references = Vec::new();
    if let Some(id) = repository.references.get(&repository.head) {
        capabilities = format!("symref=HEAD:{} {capabilities}", repository.head);
        references.push((*id, "HEAD".to_owned()));
    }
    for (name, id) in &repository.references {
        references.push((*id, name.clone()));
        match repository.objects.peel(id) {
            Ok(peeled) if peeled != *id => references.push((peeled, format!("{name}^{{}}"))),
            _ => {}
        }
    }
    write_advertisement(&references, &capabilities, version, out);
}

/// Writes references in the form that all versions before 2 share.
pub(super) fn write_advertisement(
    references: &[(ObjectId, String)],
    capabilities: &str,
    version: u8,
    out: &mut Vec<u8>,
) {
    if version == 1 {
        pkt_line::write(out, b"version 1\n");
    }
    if references.is_empty() {
        let none = ObjectId::null(gix::hash::Kind::Sha1);
        pkt_line::write(out, format!("{none} capabilities^{{}}\0{capabilities}\n").as_bytes());
    }
    for (position, (id, name)) in references.iter().enumerate() {
        let line = match position {
            0 => format!("{id} {name}\0{capabilities}\n"),
            _ => format!("{id} {name}\n"),
        };
        pkt_line::write(out, line.as_bytes());
    }
    out.extend_from_slice(pkt_line::FLUSH);
}

/// Does what a request of version 2 asks.
pub(super) fn command(repository: &Repository, request: &[u8]) -> Result<Vec<u8>, GitError> {
    let mut input = request;
    let mut arguments = Vec::new();
    let mut command = None;
    let mut delimited = false;
    while let Some(packet) = pkt_line::read(&mut input)? {
        match packet {
            Packet::Flush => break,
            Packet::Delimiter => delimited = true,
            Packet::Line(line) if delimited => arguments.push(pkt_line::text(line)?),
            Packet::Line(line) => {
                // What else stands here are capabilities that change nothing for us.
                command = command.or(pkt_line::text(line)?.strip_prefix("command="));
            }
        }
    }
    match command {
        Some("ls-refs") => list_references(repository, &arguments),
        Some("fetch") => fetch(repository, &Fetch::parse(&arguments)?),
        other => Err(GitError::Protocol(format!("unknown command `{}`", other.unwrap_or("")))),
    }
}

fn list_references(repository: &Repository, arguments: &[&str]) -> Result<Vec<u8>, GitError> {
    let asked = |argument| arguments.contains(&argument);
    let prefixes: Vec<&str> =
        arguments.iter().filter_map(|argument| argument.strip_prefix("ref-prefix ")).collect();
    let matches =
        |name: &str| prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix));
    let mut out = Vec::new();
    let mut write = |id: String, name: &str, is_symbolic: bool, peeled: Option<ObjectId>| {
        let mut line = format!("{id} {name}");
        if is_symbolic {
            line += &format!(" symref-target:{}", repository.head);
        }
        if let Some(peeled) = peeled {
            line += &format!(" peeled:{peeled}");
        }
        pkt_line::write(&mut out, format!("{line}\n").as_bytes());
    };
    if matches("HEAD") {
        match repository.references.get(&repository.head) {
            Some(id) => write(id.to_string(), "HEAD", asked("symrefs"), None),
            None if asked("unborn") => write("unborn".to_owned(), "HEAD", true, None),
            None => {}
        }
    }
    for (name, id) in repository.references.iter().filter(|(name, _)| matches(name)) {
        let peeled = repository.objects.peel(id)?;
        let shown = (asked("peel") && peeled != *id).then_some(peeled);
        write(id.to_string(), name, false, shown);
    }
    out.extend_from_slice(pkt_line::FLUSH);
    Ok(out)
}

/// What a client asks for and what it says it has.
#[derive(Default)]
struct Fetch {
    wants: Vec<ObjectId>,
    haves: Vec<ObjectId>,
    /// Commits whose parents the client does not have.
    shallow: HashSet<ObjectId>,
    /// How many commits deep the history shall be, the wanted one included.
    depth: Option<u32>,
    done: bool,
}

impl Fetch {
    fn parse(arguments: &[&str]) -> Result<Fetch, GitError> {
        let mut fetch = Fetch::default();
        for argument in arguments {
            match argument.split_once(' ').unwrap_or((argument, "")) {
                ("want", id) => fetch.wants.push(parse_id(id)?),
                ("have", id) => fetch.haves.push(parse_id(id)?),
                ("shallow", id) => {
                    fetch.shallow.insert(parse_id(id)?);
                }
                ("deepen", depth) => {
                    let depth = depth.parse().ok().filter(|depth| *depth > 0);
                    let bad = || GitError::Protocol(format!("bad depth in `{argument}`"));
                    fetch.depth = Some(depth.ok_or_else(bad)?);
                }
                ("done", "") => fetch.done = true,
                // Permissions that we make no use of.
                ("thin-pack" | "no-progress" | "include-tag" | "ofs-delta", "") => {}
                _ => {
                    let problem = format!("this host does not know `{argument}`");
                    return Err(GitError::Protocol(problem));
                }
            }
        }
        Ok(fetch)
    }
}

pub(super) fn parse_id(text: &str) -> Result<ObjectId, GitError> {
    ObjectId::from_hex(text.as_bytes())
        .map_err(|_| GitError::Protocol(format!("`{text}` is not an object id")))
}

fn fetch(repository: &Repository, fetch: &Fetch) -> Result<Vec<u8>, GitError> {
    let objects = &repository.objects;
    for want in &fetch.wants {
        if objects.get(want).is_none() {
            return Err(GitError::Protocol(format!("upload-pack: not our ref {want}")));
        }
    }
    let common: Vec<ObjectId> =
        fetch.haves.iter().copied().filter(|have| objects.get(have).is_some()).collect();
    let mut out = Vec::new();
    if !fetch.done {
        pkt_line::write(&mut out, b"acknowledgments\n");
        if common.is_empty() {
            pkt_line::write(&mut out, b"NAK\n");
            out.extend_from_slice(pkt_line::FLUSH);
            return Ok(out);
        }
        for id in &common {
            pkt_line::write(&mut out, format!("ACK {id}\n").as_bytes());
        }
        pkt_line::write(&mut out, b"ready\n");
        out.extend_from_slice(pkt_line::DELIMITER);
    }
    let boundary = match fetch.depth {
        Some(depth) => {
            let cut = Cut::at(repository, fetch, depth)?;
            cut.write(&fetch.shallow, &mut out);
            cut.boundary(&fetch.shallow)
        }
        None => fetch.shallow.clone(),
    };
    let had: HashSet<ObjectId> =
        objects.reachable(common, &HashSet::new(), &fetch.shallow)?.into_iter().collect();
    let missing = missing(repository, fetch, &boundary, &had)?;
    let missing = missing.iter().map(|id| objects.need(id)).collect::<Result<Vec<_>, _>>()?;
    pkt_line::write(&mut out, b"packfile\n");
    pkt_line::write_band(&mut out, 1, &pack::write(missing.into_iter())?);
    out.extend_from_slice(pkt_line::FLUSH);
    Ok(out)
}

/// Returns what the client needs, with `boundary` as the commits whose parents it does not get.
fn missing(
    repository: &Repository,
    fetch: &Fetch,
    boundary: &HashSet<ObjectId>,
    had: &HashSet<ObjectId>,
) -> Result<Vec<ObjectId>, GitError> {
    if fetch.depth.is_none() {
        return repository.objects.reachable(fetch.wants.iter().copied(), had, boundary);
    }
    // A deeper history hides behind commits that the client has: all of it is walked.
    let nothing = HashSet::new();
    let wanted = repository.objects.reachable(fetch.wants.iter().copied(), &nothing, boundary)?;
    Ok(wanted.into_iter().filter(|id| !had.contains(id)).collect())
}

/// A history that is cut at a depth.
struct Cut {
    /// Commits within the depth whose parents are not.
    shallow: HashSet<ObjectId>,
    /// Commits within the depth with all their parents.
    whole: HashSet<ObjectId>,
}

impl Cut {
    fn at(repository: &Repository, fetch: &Fetch, depth: u32) -> Result<Cut, GitError> {
        let mut depths: HashMap<ObjectId, u32> = HashMap::new();
        let mut pending: VecDeque<(ObjectId, u32)> = VecDeque::new();
        for want in &fetch.wants {
            let commit = repository.objects.peel(want)?;
            if repository.objects.need(&commit)?.kind == Kind::Commit {
                pending.push_back((commit, 1));
            }
        }
        let mut cut = Cut { shallow: HashSet::new(), whole: HashSet::new() };
        // Breadth first: the first visit of a commit is the one with the least depth.
        while let Some((id, at)) = pending.pop_front() {
            if depths.contains_key(&id) {
                continue;
            }
            depths.insert(id, at);
            let commit = repository.objects.commit(&id)?;
            if at < depth {
                cut.whole.insert(id);
                pending.extend(commit.parents().map(|parent| (parent, at + 1)));
            } else if commit.parents.is_empty() {
                cut.whole.insert(id);
            } else {
                cut.shallow.insert(id);
            }
        }
        Ok(cut)
    }

    /// Tells the client how its boundary changes.
    fn write(&self, known: &HashSet<ObjectId>, out: &mut Vec<u8>) {
        pkt_line::write(out, b"shallow-info\n");
        for id in self.shallow.difference(known) {
            pkt_line::write(out, format!("shallow {id}\n").as_bytes());
        }
        for id in self.whole.intersection(known) {
            pkt_line::write(out, format!("unshallow {id}\n").as_bytes());
        }
        out.extend_from_slice(pkt_line::DELIMITER);
    }

    /// Returns the client's boundary after the fetch.
    fn boundary(&self, known: &HashSet<ObjectId>) -> HashSet<ObjectId> {
        self.shallow.iter().chain(known).filter(|id| !self.whole.contains(*id)).copied().collect()
    }
}
