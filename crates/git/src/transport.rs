//! Talks Git's smart protocol, version 2 where the server has it, else 1 and 0.

pub(crate) mod fetch;
pub(crate) mod http;
pub(crate) mod spool;

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    advertisement::{self, Advertisement, Capabilities, Report},
    error::RemoteError,
    limits::Limits,
    pkt::{self, Packet},
    reference::RemoteRef,
    transport::{
        fetch::{FetchReply, Wants},
        http::{Base, Http},
    },
};

pub(crate) const UPLOAD_PACK: &str = "git-upload-pack";
pub(crate) const RECEIVE_PACK: &str = "git-receive-pack";

/// What we call ourselves to servers.
pub(crate) const AGENT: &str = concat!("git/tagtide-", env!("CARGO_PKG_VERSION"));

/// Bytes of a push's reply: the report, and what hooks print.
const PUSH_REPLY_BYTES_MAX: u64 = 4 << 20;

/// Prefixes sent to narrow a listing; git servers ignore more than 65,536, we never need that.
const PREFIXES_MAX: usize = 1_000;

/// What is known of a server, kept between conversations so that they need no introduction.
#[derive(Default)]
pub(crate) struct Known {
    /// Where the repository is after redirects, and what upload-pack can do under protocol 2.
    upload_pack: Option<(Base, Capabilities)>,
    /// What receive-pack can do.
    receive_pack: Option<Capabilities>,
}

/// One conversation with a server, to be over by a deadline.
pub(crate) struct Remote<'a> {
    pub(crate) http: Http<'a>,
    pub(crate) known: Arc<Mutex<Known>>,
    pub(crate) limits: &'a Limits,
    /// Where large replies are spooled to.
    pub(crate) spool: PathBuf,
}

/// What a server has, and how it was asked.
pub(crate) struct Listing {
    pub(crate) refs: Vec<RemoteRef>,
    protocol: Protocol,
}

#[derive(Clone)]
enum Protocol {
    V2 { base: Base, capabilities: Capabilities },
    V0 { base: Base, capabilities: Capabilities },
}

/// What became of the bytes of a push.
pub(crate) struct PushReply {
    pub(crate) report: Report,
    /// What the server printed for people.
    pub(crate) remarks: String,
}

impl Remote<'_> {
    /// Returns the references that begin with one of these prefixes, and maybe others.
    pub(crate) async fn list(&self, prefixes: &[&str]) -> Result<Listing, RemoteError> {
        let known = self.known.lock().upload_pack.clone();
        if let Some((base, capabilities)) = known {
            match self.ls_refs(&base, prefixes).await {
                Ok(refs) => {
                    return Ok(Listing { refs, protocol: Protocol::V2 { base, capabilities } });
                }
                // The server may have been replaced by another: introduce ourselves anew.
                Err(RemoteError::Status(_) | RemoteError::NotGit | RemoteError::Packet(_)) => {
                    self.known.lock().upload_pack = None;
                }
                Err(error) => return Err(error),
            }
        }
        let (base, reply) = self.http.advertisement(UPLOAD_PACK, self.limits.refs_bytes).await?;
        match advertisement::parse_advertisement(&reply, UPLOAD_PACK, self.limits)? {
            Advertisement::V0 { capabilities, refs } => {
                Ok(Listing { refs, protocol: Protocol::V0 { base, capabilities } })
            }
            Advertisement::V2(capabilities) => {
                self.known.lock().upload_pack = Some((base.clone(), capabilities.clone()));
                let refs = self.ls_refs(&base, prefixes).await?;
                Ok(Listing { refs, protocol: Protocol::V2 { base, capabilities } })
            }
        }
    }

    async fn ls_refs(&self, base: &Base, prefixes: &[&str]) -> Result<Vec<RemoteRef>, RemoteError> {
        let mut body = Vec::new();
        write_command(&mut body, "ls-refs");
        pkt::write(&mut body, b"peel\n");
        for prefix in prefixes.iter().take(PREFIXES_MAX) {
            pkt::write(&mut body, format!("ref-prefix {prefix}\n").as_bytes());
        }
        pkt::write_flush(&mut body);
        let reply = self.http.post(base, UPLOAD_PACK, body.into(), true).await?;
        let reply = http::whole(reply, self.limits.refs_bytes, "bytes of references").await?;
        let refs = advertisement::parse_ls_refs(&reply, self.limits)?;
        // The whole listing must be there: a lost end would be a lost reference.
        match reply.ends_with(b"0000") {
            true => Ok(refs),
            false => Err(RemoteError::Protocol("a listing without an end")),
        }
    }

    /// Returns a spooled pack with what is wanted, and where the history it brings is cut.
    pub(crate) async fn fetch(
        &self,
        listing: &Listing,
        wants: &Wants,
    ) -> Result<FetchReply, RemoteError> {
        let (base, body, v2) = match &listing.protocol {
            Protocol::V2 { base, capabilities } => (base, wants.request_v2(capabilities), true),
            Protocol::V0 { base, capabilities } => (base, wants.request_v0(capabilities)?, false),
        };
        let mut reply = self.http.post(base, UPLOAD_PACK, body.into(), v2).await?;
        reply.limit(self.limits.pack_bytes.saturating_add(self.limits.pack_bytes / 64));
        let parser = if v2 {
            fetch::Parser::v2(&self.spool, self.limits)
        } else {
            fetch::Parser::v0(&self.spool, self.limits, wants.is_shallow())
        };
        fetch::receive(parser, reply).await
    }

    /// Returns where pushes go: to where fetches were redirected.
    fn push_base(&self) -> Base {
        match &self.known.lock().upload_pack {
            Some((base, _)) => base.clone(),
            None => self.http.base(),
        }
    }

    /// Returns what the server's receive-pack can do, asking it if that is not known.
    pub(crate) async fn receive_capabilities(&self) -> Result<Capabilities, RemoteError> {
        if let Some(capabilities) = &self.known.lock().receive_pack {
            return Ok(capabilities.clone());
        }
        let (_, reply) = self.http.advertisement(RECEIVE_PACK, self.limits.refs_bytes).await?;
        let capabilities =
            match advertisement::parse_advertisement(&reply, RECEIVE_PACK, self.limits)? {
                Advertisement::V0 { capabilities, .. } | Advertisement::V2(capabilities) => {
                    capabilities
                }
            };
        self.known.lock().receive_pack = Some(capabilities.clone());
        Ok(capabilities)
    }

    /// Returns what is known of receive-pack without asking.
    pub(crate) fn known_receive_capabilities(&self) -> Option<Capabilities> {
        self.known.lock().receive_pack.clone()
    }

    /// Sends commands and pack, and returns what the server said.
    pub(crate) async fn push(&self, body: Bytes) -> Result<PushReply, RemoteError> {
        let base = self.push_base();
        let reply = self.http.post(&base, RECEIVE_PACK, body, false).await?;
        let reply = http::whole(reply, PUSH_REPLY_BYTES_MAX, "bytes in reply to a push").await?;
        parse_push_reply(&reply, |text| self.http.scrub(text))
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.http.deadline
    }
}

/// Returns the report that lies in the first band, and the remarks of the second.
fn parse_push_reply(
    reply: &[u8],
    scrub: impl Fn(&str) -> String,
) -> Result<PushReply, RemoteError> {
    let (mut report, mut remarks) = (Vec::new(), Vec::new());
    for packet in pkt::decode_all(reply)? {
        let Packet::Data(data) = packet else { break };
        match data.split_first() {
            Some((1, rest)) => report.extend_from_slice(rest),
            Some((2, rest)) => remarks.extend_from_slice(rest),
            Some((3, rest)) => {
                return Err(RemoteError::Server(scrub(&advertisement::server_text(rest))));
            }
            _ if data.starts_with(b"ERR ") => {
                return Err(RemoteError::Server(scrub(&advertisement::server_text(&data[4..]))));
            }
            _ => return Err(RemoteError::Protocol("a reply to a push outside its bands")),
        }
    }
    let mut report = advertisement::parse_report(&report)?;
    report.unpacked = report.unpacked.map_err(|reason| scrub(&reason));
    for (_, outcome) in &mut report.refs {
        *outcome = std::mem::replace(outcome, Ok(())).map_err(|reason| scrub(&reason));
    }
    Ok(PushReply { report, remarks: scrub(&advertisement::server_text(&remarks)) })
}

/// Begins a command of protocol 2.
fn write_command(body: &mut Vec<u8>, command: &str) {
    pkt::write(body, format!("command={command}\n").as_bytes());
    pkt::write(body, format!("agent={AGENT}\n").as_bytes());
    pkt::write(body, b"object-format=sha1\n");
    pkt::write_delimiter(body);
}

pub use fetch::fuzz as fuzz_fetch_reply;
