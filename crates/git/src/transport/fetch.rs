//! What to ask for in a fetch, and the reply, whose pack is spooled as it comes.

use std::path::Path;

use gix::ObjectId;
use net::Response;

use crate::{
    advertisement::{Capabilities, parse_id, server_text},
    error::RemoteError,
    limits::Limits,
    pkt::{self, Decoder, Packet},
    transport::{
        AGENT,
        spool::{Spool, Spooled},
        write_command,
    },
};

/// Lines about cut history in one reply; ours never cut at more than a few commits.
const SHALLOW_LINES_MAX: usize = 100_000;

/// Lines of acknowledgement in one reply of protocol 0: one per commit we have.
const ACKNOWLEDGEMENTS_MAX: usize = 10_000;

/// What to fetch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wants {
    /// Objects wanted: commits, or tags of commits.
    pub(crate) wants: Vec<ObjectId>,
    /// Commits we have, with all their files.
    pub(crate) haves: Vec<ObjectId>,
    /// Commits whose parents we do not have.
    pub(crate) shallow: Vec<ObjectId>,
    /// How many commits deep.
    pub(crate) depth: u32,
}

/// A received pack.
pub(crate) struct FetchReply {
    pub(crate) pack: Spooled,
    /// Commits whose parents were left out.
    pub(crate) shallow: Vec<ObjectId>,
    /// Commits whose parents are there now.
    pub(crate) unshallow: Vec<ObjectId>,
}

impl Wants {
    pub(crate) fn is_shallow(&self) -> bool {
        self.depth > 0
    }

    pub(super) fn request_v2(&self, capabilities: &Capabilities) -> Vec<u8> {
        let mut body = Vec::new();
        write_command(&mut body, "fetch");
        for argument in ["ofs-delta\n", "no-progress\n"] {
            pkt::write(&mut body, argument.as_bytes());
        }
        if !self.haves.is_empty() {
            pkt::write(&mut body, b"thin-pack\n");
        }
        if capabilities.lists("fetch", "shallow") {
            self.write_shallow(&mut body);
        }
        for id in &self.wants {
            pkt::write(&mut body, format!("want {id}\n").as_bytes());
        }
        self.write_haves(&mut body);
        pkt::write_flush(&mut body);
        body
    }

    pub(super) fn request_v0(&self, capabilities: &Capabilities) -> Result<Vec<u8>, RemoteError> {
        if !capabilities.has("side-band-64k") {
            return Err(RemoteError::Protocol("it lacks side-band-64k"));
        }
        let mut wanted = "side-band-64k".to_owned();
        for capability in ["ofs-delta", "no-progress", "shallow"] {
            if capabilities.has(capability) {
                wanted += &format!(" {capability}");
            }
        }
        if !self.haves.is_empty() && capabilities.has("thin-pack") {
            wanted += " thin-pack";
        }
        let mut body = Vec::new();
        for (number, id) in self.wants.iter().enumerate() {
            let wanted =
                if number == 0 { format!(" {wanted} agent={AGENT}") } else { String::new() };
            pkt::write(&mut body, format!("want {id}{wanted}\n").as_bytes());
        }
        if capabilities.has("shallow") {
            self.write_shallow(&mut body);
        }
        pkt::write_flush(&mut body);
        self.write_haves(&mut body);
        Ok(body)
    }

    fn write_shallow(&self, body: &mut Vec<u8>) {
        for id in &self.shallow {
            pkt::write(body, format!("shallow {id}\n").as_bytes());
        }
        if self.is_shallow() {
            pkt::write(body, format!("deepen {}\n", self.depth).as_bytes());
        }
    }

    fn write_haves(&self, body: &mut Vec<u8>) {
        for id in &self.haves {
            pkt::write(body, format!("have {id}\n").as_bytes());
        }
        pkt::write(body, b"done\n");
    }
}

/// Bytes of what a server says about its progress, which we ask it not to do.
const PROGRESS_BYTES_MAX: u64 = 1 << 20;

/// Takes a reply's packets one by one.
pub(super) struct Parser<'a> {
    state: State,
    spool: Spool,
    limits: &'a Limits,
    shallow: Vec<ObjectId>,
    unshallow: Vec<ObjectId>,
    n_acknowledgements: usize,
    n_progress_bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Protocol 2: a section's name comes.
    Section,
    /// Protocol 2: lines up to a delimiter that are of no interest.
    Ignored,
    /// Lines about cut history, then a delimiter (2) or a flush (0).
    Shallow,
    /// Protocol 0: acknowledgements, then the pack.
    Acknowledgements,
    /// The pack in its band.
    Pack,
    Done,
}

impl<'a> Parser<'a> {
    pub(super) fn v2(spool: &Path, limits: &'a Limits) -> Parser<'a> {
        Parser::new(State::Section, spool, limits)
    }

    pub(super) fn v0(spool: &Path, limits: &'a Limits, shallow: bool) -> Parser<'a> {
        let state = if shallow { State::Shallow } else { State::Acknowledgements };
        Parser::new(state, spool, limits)
    }

    fn new(state: State, spool: &Path, limits: &'a Limits) -> Parser<'a> {
        Parser {
            state,
            spool: Spool::new(spool),
            limits,
            shallow: Vec::new(),
            unshallow: Vec::new(),
            n_acknowledgements: 0,
            n_progress_bytes: 0,
        }
    }

    async fn take(&mut self, packet: Packet) -> Result<(), RemoteError> {
        let data = match packet {
            Packet::Data(data) => data,
            Packet::Flush | Packet::Delimiter | Packet::ResponseEnd => return self.end(&packet),
        };
        if self.state != State::Pack && data.starts_with(b"ERR ") {
            return Err(RemoteError::Server(server_text(&data[4..])));
        }
        match self.state {
            State::Section => {
                self.state = match pkt::line(&data) {
                    b"shallow-info" => State::Shallow,
                    b"packfile" => State::Pack,
                    b"acknowledgments" | b"wanted-refs" => State::Ignored,
                    _ => return Err(RemoteError::Protocol("an unknown section")),
                };
                Ok(())
            }
            State::Ignored => self.count_acknowledgement(),
            State::Shallow => self.take_shallow(pkt::line(&data)),
            State::Acknowledgements if data.starts_with(b"ACK ") || data.starts_with(b"NAK") => {
                self.count_acknowledgement()
            }
            State::Acknowledgements => {
                self.state = State::Pack;
                self.take_band(&data).await
            }
            State::Pack => self.take_band(&data).await,
            State::Done => Err(RemoteError::Protocol("bytes after the end of a reply")),
        }
    }

    fn end(&mut self, packet: &Packet) -> Result<(), RemoteError> {
        self.state = match (self.state, packet) {
            (State::Shallow | State::Ignored, Packet::Delimiter) => State::Section,
            (State::Shallow, Packet::Flush) => State::Acknowledgements,
            (State::Pack, Packet::Flush) => State::Done,
            (State::Done, Packet::ResponseEnd) => State::Done,
            _ => return Err(RemoteError::Protocol("a section that ends where it should not")),
        };
        Ok(())
    }

    fn count_acknowledgement(&mut self) -> Result<(), RemoteError> {
        self.n_acknowledgements += 1;
        if self.n_acknowledgements > ACKNOWLEDGEMENTS_MAX {
            let limit = ACKNOWLEDGEMENTS_MAX as u64;
            return Err(RemoteError::Limit { what: "acknowledgements", limit });
        }
        Ok(())
    }

    fn count_progress(&mut self, n_bytes: usize) -> Result<(), RemoteError> {
        self.n_progress_bytes += n_bytes as u64;
        if self.n_progress_bytes > PROGRESS_BYTES_MAX {
            let limit = PROGRESS_BYTES_MAX;
            return Err(RemoteError::Limit { what: "bytes of progress", limit });
        }
        Ok(())
    }

    fn take_shallow(&mut self, line: &[u8]) -> Result<(), RemoteError> {
        let text = std::str::from_utf8(line).unwrap_or_default();
        let (list, id) = if let Some(id) = text.strip_prefix("shallow ") {
            (&mut self.shallow, id)
        } else if let Some(id) = text.strip_prefix("unshallow ") {
            (&mut self.unshallow, id)
        } else {
            return Err(RemoteError::Protocol("an unknown line about cut history"));
        };
        list.push(parse_id(id)?);
        if list.len() > SHALLOW_LINES_MAX {
            let limit = SHALLOW_LINES_MAX as u64;
            return Err(RemoteError::Limit { what: "shallow commits", limit });
        }
        Ok(())
    }

    async fn take_band(&mut self, data: &[u8]) -> Result<(), RemoteError> {
        match data.split_first() {
            Some((1, pack)) => {
                if self.spool.len() + pack.len() as u64 > self.limits.pack_bytes {
                    let limit = self.limits.pack_bytes;
                    return Err(RemoteError::Limit { what: "bytes in a pack", limit });
                }
                self.spool.write(pack).await.map_err(RemoteError::Spool)
            }
            Some((2, words)) => self.count_progress(words.len()),
            Some((3, text)) => Err(RemoteError::Server(server_text(text))),
            _ => Err(RemoteError::Protocol("a pack outside its band")),
        }
    }

    async fn finish(self) -> Result<FetchReply, RemoteError> {
        if self.state != State::Done {
            return Err(RemoteError::Protocol("a reply that ends too early"));
        }
        let pack = self.spool.finish().await.map_err(RemoteError::Spool)?;
        Ok(FetchReply { pack, shallow: self.shallow, unshallow: self.unshallow })
    }
}

/// Reads a whole reply.
pub(super) async fn receive(
    mut parser: Parser<'_>,
    mut reply: Response,
) -> Result<FetchReply, RemoteError> {
    let mut decoder = Decoder::default();
    while let Some(piece) = reply.chunk().await? {
        decoder.push(&piece);
        while let Some(packet) = decoder.next()? {
            parser.take(packet).await?;
        }
    }
    if !decoder.is_empty() {
        return Err(RemoteError::Protocol("a reply that ends within a packet"));
    }
    parser.finish().await
}

/// Reads a reply as if a server had sent it, under both protocols; for fuzzing.
pub async fn fuzz(bytes: &[u8], spool: &Path) {
    let limits = Limits { pack_bytes: 1 << 20, ..Limits::default() };
    for parser in [Parser::v2(spool, &limits), Parser::v0(spool, &limits, true)] {
        let mut parser = parser;
        let Ok(packets) = pkt::decode_all(bytes) else { return };
        for packet in packets {
            if parser.take(packet).await.is_err() {
                break;
            }
        }
        let _ = parser.finish().await;
    }
}
