//! Changes references on a server, and finds out what became of a push whose reply was lost.
//!
//! Every update names the id it was computed from, which the server compares: nothing is ever
//! overwritten that we have not seen.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use flate2::Compression;
use gix::ObjectId;
use tokio::time::Instant;

use crate::{
    access::Access,
    advertisement::Capabilities,
    commit::Commit,
    error::{PushError, RemoteError},
    mirror::{Mirror, Tip, WHOLE},
    objects::{Objects, Staged},
    pack::{self, Outgoing},
    pkt,
    pool::{GivenUp, Pool},
    reference::{self, CommitId, RefName},
    transport::{AGENT, PushReply, Remote},
};

/// How often a server that does not answer is asked what became of a push.
const RECOGNITION_TRIES: u32 = 4;

/// How long to wait before asking again, the first time.
const RECOGNITION_PAUSE: Duration = Duration::from_millis(250);

/// How often one push is sent: again once when its reply was lost and nothing moved.
const SENDS_MAX: u32 = 2;

/// Push options of one push, and bytes of one: servers take few and short ones.
const OPTIONS_MAX: usize = 100;
const OPTION_BYTES_MAX: usize = 16 << 10;

/// A change of one reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The reference.
    pub name: RefName,
    /// What it must be now; none if it must not exist.
    pub expected: Option<CommitId>,
    /// What it shall be; none to delete it.
    pub new: Option<CommitId>,
}

/// The objects of a push, and a pack of them with deltas against what the server has.
pub(crate) struct Packs {
    thin: Vec<u8>,
    objects: Arc<[Staged]>,
}

impl Packs {
    /// Returns packs without objects, for commits the server has.
    pub(crate) fn empty() -> Packs {
        Packs { thin: whole_pack(&[], Compression::default()), objects: Arc::new([]) }
    }

    /// Returns packs of these commits. Reads bases from the mirror.
    pub(crate) fn of(commits: &[Commit], objects: &mut Objects) -> Packs {
        let mut seen = HashSet::new();
        let staged: Arc<[Staged]> = commits
            .iter()
            .flat_map(|commit| &commit.objects)
            .filter(|staged| seen.insert(staged.id))
            .cloned()
            .collect();
        let ours: HashMap<ObjectId, &Staged> = staged.iter().map(|s| (s.id, s)).collect();
        let mut bases: HashMap<ObjectId, Arc<[u8]>> = HashMap::new();
        for object in &*staged {
            let Some(base) = object.base else { continue };
            if let Some(ours) = ours.get(&base) {
                bases.insert(base, Arc::clone(&ours.data));
            } else if let Ok(data) = objects.read(base, object.kind) {
                bases.insert(base, data.into());
            }
        }
        let outgoing = staged.iter().map(|object| Outgoing {
            kind: object.kind,
            data: &object.data,
            base: object.base.and_then(|id| Some((id, &**bases.get(&id)?))),
        });
        Packs { thin: pack::write_pack(outgoing, Compression::default()), objects: staged }
    }

    /// Returns the objects of the push, each once.
    pub(crate) fn into_objects(self) -> Arc<[Staged]> {
        self.objects
    }

    /// Returns a pack without deltas, which few servers want: it is made when one does.
    async fn whole(&self, pool: &Pool, deadline: Instant) -> Result<Vec<u8>, RemoteError> {
        let objects = Arc::clone(&self.objects);
        let writing = pool.run(deadline, move |_| whole_pack(&objects, Compression::default()));
        writing.await.map_err(|GivenUp| RemoteError::Late)
    }
}

/// Returns a pack of these objects without deltas.
pub(crate) fn whole_pack(objects: &[Staged], compression: Compression) -> Vec<u8> {
    let outgoing =
        objects.iter().map(|object| Outgoing { kind: object.kind, data: &object.data, base: None });
    pack::write_pack(outgoing, compression)
}

/// What became of one update.
enum Sent {
    Done,
    Refused(String),
}

impl Mirror {
    /// Changes references to commits the server has, or deletes them.
    ///
    /// # Errors
    /// The first update that failed; those before it are done.
    pub async fn push(
        &self,
        updates: &[Update],
        options: &[(String, String)],
        access: &Access,
    ) -> Result<(), PushError> {
        let packs = Packs::empty();
        for update in updates {
            self.push_update(update, options, &packs, access).await?;
        }
        Ok(())
    }

    /// Changes one reference, whatever happens to the replies.
    ///
    /// # Errors
    /// [`PushError::Raced`] if the reference is not what was expected, [`PushError::Rejected`]
    /// with the server's words if it is and the server refused.
    pub(crate) async fn push_update(
        &self,
        update: &Update,
        options: &[(String, String)],
        packs: &Packs,
        access: &Access,
    ) -> Result<(), PushError> {
        check_options(options)?;
        let mut was_lost = false;
        for send in 1..=SENDS_MAX {
            // A push spools nothing.
            let remote = self.remote(access, self.deadline(access), PathBuf::new());
            let pool = &self.core().pool;
            let error = match send_adapted(&remote, update, options, packs, pool).await {
                Ok(Sent::Done) => return Ok(()),
                Ok(Sent::Refused(reason)) => {
                    return self.why_refused(update, reason, was_lost, access).await;
                }
                Err(SendError::NoPushOptions) => return Err(PushError::NoPushOptions),
                Err(SendError::Remote(error)) => error,
            };
            if !error.is_ambiguous() {
                return Err(PushError::Remote(Arc::new(error)));
            }
            was_lost = true;
            tracing::warn!(url = %self.url(), name = %update.name, %error, "Reply to a push was lost");
            match self.recognise(update, access).await {
                Recognised::Applied => return Ok(()),
                Recognised::Moved => return Err(PushError::Raced { name: update.name.clone() }),
                Recognised::Unchanged if send < SENDS_MAX => {}
                Recognised::Unchanged | Recognised::Unknown => {
                    return Err(PushError::Remote(Arc::new(error)));
                }
            }
        }
        Err(PushError::Raced { name: update.name.clone() })
    }

    /// Tells a lost race from a refusal by what the reference is, not by the server's words.
    async fn why_refused(
        &self,
        update: &Update,
        reason: String,
        was_lost: bool,
        access: &Access,
    ) -> Result<(), PushError> {
        let name = update.name.clone();
        match self.recognise(update, access).await {
            // The first push was applied after all, while the second was on its way.
            Recognised::Applied if was_lost => Ok(()),
            // Somebody made the same change.
            Recognised::Applied | Recognised::Moved => Err(PushError::Raced { name }),
            // Another push holds the lock, and may yet win or lose.
            Recognised::Unchanged if reason.contains("lock") => Err(PushError::Raced { name }),
            Recognised::Unchanged | Recognised::Unknown => {
                Err(PushError::Rejected { name, reason })
            }
        }
    }

    /// Finds out what a reference is after a push of which we do not know.
    async fn recognise(&self, update: &Update, access: &Access) -> Recognised {
        let mut pause = RECOGNITION_PAUSE;
        for _ in 0..RECOGNITION_TRIES {
            match self.look(&[&update.name], access).await {
                Ok(refs) => {
                    let now = reference::find(&refs, &update.name).map(|found| CommitId(found.id));
                    return self.compare(update, now, access).await;
                }
                Err(_) => self.core().clock.sleep(pause).await,
            }
            pause *= 2;
        }
        Recognised::Unknown
    }

    async fn compare(&self, update: &Update, now: Option<CommitId>, access: &Access) -> Recognised {
        if now == update.new {
            return Recognised::Applied;
        }
        if now == update.expected {
            return Recognised::Unchanged;
        }
        // Somebody may have gone on from our commit before we looked.
        match update.new {
            Some(new) => match self.is_below(new, &update.name, WHOLE, access).await {
                Ok(true) => Recognised::Applied,
                Ok(false) | Err(_) => Recognised::Moved,
            },
            None => Recognised::Moved,
        }
    }

    /// Returns the packs of these commits.
    pub(crate) async fn packs(
        &self,
        tip: &Tip,
        commits: Vec<Commit>,
        access: &Access,
    ) -> Result<Packs, crate::error::GitError> {
        self.with_files(tip, access, move |files| Packs::of(&commits, files.objects())).await
    }
}

/// What a reference is after a push of which we do not know.
enum Recognised {
    Applied,
    Unchanged,
    Moved,
    Unknown,
}

enum SendError {
    NoPushOptions,
    Remote(RemoteError),
}

impl From<RemoteError> for SendError {
    fn from(error: RemoteError) -> SendError {
        SendError::Remote(error)
    }
}

fn check_options(options: &[(String, String)]) -> Result<(), PushError> {
    let is_bad = |text: &str| text.len() > OPTION_BYTES_MAX || text.contains(['\n', '\0', '\r']);
    let bad = options.iter().any(|(key, value)| is_bad(key) || is_bad(value) || key.is_empty());
    if bad || options.len() > OPTIONS_MAX {
        let text = "push options must be few, short and of one line each";
        return Err(PushError::Remote(Arc::new(RemoteError::Protocol(text))));
    }
    Ok(())
}

/// Sends an update at once, or, where that does not do, after asking what the server can.
///
/// Stateless servers need no introduction before a push, which saves a listing of all their
/// references. Nothing can go wrong unseen: the update names the id it expects, and a server
/// that cannot take the pack changes nothing.
async fn send_adapted(
    remote: &Remote<'_>,
    update: &Update,
    options: &[(String, String)],
    packs: &Packs,
    pool: &Pool,
) -> Result<Sent, SendError> {
    let known = remote.known_receive_capabilities();
    if known.is_none() && options.is_empty() {
        match send(remote, update, options, &packs.thin, None).await {
            Ok(reply) if reply.report.unpacked.is_ok() => return Ok(outcome(update, reply)),
            // A server that wants an introduction, or cannot complete packs.
            Ok(_) => {}
            Err(RemoteError::Status(400..=499) | RemoteError::NotGit) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let capabilities = remote.receive_capabilities().await?;
    if !options.is_empty() && !capabilities.has("push-options") {
        return Err(SendError::NoPushOptions);
    }
    if !capabilities.has("no-thin") {
        let reply = send(remote, update, options, &packs.thin, Some(&capabilities)).await?;
        if reply.report.unpacked.is_ok() {
            return Ok(outcome(update, reply));
        }
        // It cannot complete packs and does not say so.
    }
    let whole = packs.whole(pool, remote.deadline()).await?;
    let reply = send(remote, update, options, &whole, Some(&capabilities)).await?;
    Ok(outcome(update, reply))
}

async fn send(
    remote: &Remote<'_>,
    update: &Update,
    options: &[(String, String)],
    pack: &[u8],
    capabilities: Option<&Capabilities>,
) -> Result<PushReply, RemoteError> {
    tracing::trace!(target: "durable", step = "push to be sent", name = %update.name, "Durable step");
    let reply = remote.push(request(update, options, pack, capabilities).into()).await;
    tracing::trace!(target: "durable", step = "push over", name = %update.name, "Durable step");
    reply
}

fn request(
    update: &Update,
    options: &[(String, String)],
    pack: &[u8],
    capabilities: Option<&Capabilities>,
) -> Vec<u8> {
    let null = ObjectId::null(gix::hash::Kind::Sha1);
    let id = |commit: Option<CommitId>| commit.map_or(null, |commit| commit.0);
    let (old, new) = (id(update.expected), id(update.new));
    let mut wanted = "side-band-64k".to_owned();
    // Every server has the first form; the second says more about hooks that rename.
    let v2 = capabilities.is_some_and(|c| c.has("report-status-v2"));
    wanted += if v2 { " report-status-v2" } else { " report-status" };
    if capabilities.is_some_and(|c| c.has("delete-refs")) && update.new.is_none() {
        wanted += " delete-refs";
    }
    if !options.is_empty() {
        wanted += " push-options";
    }
    let mut body = Vec::with_capacity(pack.len() + 512);
    let command = format!("{old} {new} {}\0 {wanted} agent={AGENT}", update.name);
    pkt::write(&mut body, command.as_bytes());
    pkt::write_flush(&mut body);
    if !options.is_empty() {
        for (key, value) in options {
            pkt::write(&mut body, format!("{key}={value}").as_bytes());
        }
        pkt::write_flush(&mut body);
    }
    if update.new.is_some() {
        body.extend_from_slice(pack);
    }
    body
}

fn outcome(update: &Update, reply: PushReply) -> Sent {
    let PushReply { report, remarks } = reply;
    let with_remarks = |reason: String| match remarks.as_str() {
        "" => reason,
        remarks => format!("{reason} ({remarks})"),
    };
    if let Err(reason) = report.unpacked {
        return Sent::Refused(with_remarks(format!("unpack: {reason}")));
    }
    // Exactly our reference must be reported: silence is not success.
    match report.refs.into_iter().find(|(name, _)| name == update.name.as_str()) {
        Some((_, Ok(()))) => Sent::Done,
        Some((_, Err(reason))) => Sent::Refused(with_remarks(reason)),
        None => Sent::Refused(with_remarks("the server does not say what became of it".to_owned())),
    }
}
