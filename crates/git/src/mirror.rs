//! Kept bare mirrors: fetched only when a tip moved, dropped and made anew when damaged or overgrown.

pub(crate) mod packs;
pub(crate) mod store;
mod temporary;

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use clock::Clock;
use gix::ObjectId;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::{
    access::Access,
    error::{GitError, RemoteError},
    lane::Lanes,
    limits::Limits,
    mirror::{packs::IngestError, store::Store, temporary::Temporary},
    objects::ObjectError,
    pool::{GivenUp, Pool},
    reference::{self, CommitId, RefName, Reference, RemoteRef, Resolved},
    snapshot::Snapshot,
    transport::{Known, Listing, Remote, fetch::Wants, http::Http},
    url::RemoteUrl,
};

/// No cut: all commits between what we have and what is wanted.
pub(crate) const WHOLE: u32 = 0;

/// All mirrors of a process, and the lanes of its pushes. Cheap to clone.
#[derive(Clone)]
pub struct Mirrors {
    core: Arc<Core>,
    folder: PathBuf,
    open: Arc<Mutex<HashMap<String, Arc<Mirror>>>>,
    /// Goes last, with everything in it.
    _temporary: Option<Arc<Temporary>>,
}

/// What all mirrors share.
pub(crate) struct Core {
    pub(crate) client: net::Client,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    pub(crate) pool: Pool,
    pub(crate) lanes: Lanes,
}

/// The mirror of one repository, as one credential reference sees it.
pub struct Mirror {
    core: Arc<Core>,
    url: RemoteUrl,
    folder: PathBuf,
    known: Arc<Mutex<Known>>,
    /// Held from the listing to the end of the fetch that follows it.
    fetching: tokio::sync::Mutex<()>,
    store: Mutex<Option<Arc<Store>>>,
}

/// A commit whose files are in the mirror.
#[derive(Clone)]
pub struct Tip {
    /// The reference, the commit and the revision.
    pub resolved: Resolved,
    /// The root folder.
    pub tree: ObjectId,
    pub(crate) store: Arc<Store>,
}

/// What a push starts from.
pub(crate) struct Ground {
    /// The push branch as it is; none if it is to be made.
    pub(crate) branch: Option<CommitId>,
    /// What each checkout reference is; none if it does not exist.
    pub(crate) checkouts: Vec<Option<Resolved>>,
    /// What is committed upon: the push branch, else the first checkout there is.
    pub(crate) base: Option<Tip>,
}

impl Mirrors {
    /// Returns the mirrors kept in a folder, which nobody else may use meanwhile.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(
        folder: &Path,
        client: net::Client,
        clock: Clock,
        limits: Limits,
    ) -> io::Result<Mirrors> {
        fs::create_dir_all(folder)?;
        let core = Core { client, clock, limits, pool: Pool::new(), lanes: Lanes::default() };
        Ok(Mirrors {
            core: Arc::new(core),
            folder: folder.to_owned(),
            open: Arc::default(),
            _temporary: None,
        })
    }

    /// Returns mirrors that vanish with the last clone of this value. What processes left that were
    /// killed vanishes now.
    ///
    /// # Errors
    /// When no temporary folder can be made.
    pub fn temporary(client: net::Client, clock: Clock, limits: Limits) -> io::Result<Mirrors> {
        let folder = Temporary::create()?;
        let mut mirrors = Mirrors::open(folder.path(), client, clock, limits)?;
        mirrors._temporary = Some(Arc::new(folder));
        Ok(mirrors)
    }

    /// Returns when no blocking work on any mirror is under way. New work is not kept out.
    pub async fn idle(&self) {
        self.core.pool.idle().await;
    }

    /// Returns the mirror of a repository under a credential reference, such as a Secret's name.
    ///
    /// The reference keeps what one credential may read from those who have another; the
    /// credential itself may change.
    pub fn mirror(&self, url: &RemoteUrl, credential_key: &str) -> Arc<Mirror> {
        let user = url.userinfo().map_or("", |userinfo| userinfo.username.as_str());
        let key = hex(&Sha256::digest(format!("{url}\0{user}\0{credential_key}")));
        let mut open = self.open.lock();
        let mirror = open.entry(key).or_insert_with_key(|key| {
            Arc::new(Mirror {
                core: Arc::clone(&self.core),
                url: url.clone(),
                folder: self.folder.join(key),
                known: Arc::default(),
                fetching: tokio::sync::Mutex::default(),
                store: Mutex::default(),
            })
        });
        Arc::clone(mirror)
    }
}

/// Half of a digest tells all mirrors apart.
fn hex(digest: &[u8]) -> String {
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

impl Mirror {
    /// Returns the repository's URL.
    pub fn url(&self) -> &RemoteUrl {
        &self.url
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// Returns what a reference is on the server. Nothing is fetched.
    ///
    /// # Errors
    /// When the server cannot be asked, or the reference does not exist.
    pub async fn resolve(
        &self,
        reference: &Reference,
        access: &Access,
    ) -> Result<Resolved, GitError> {
        let remote = self.remote(access, self.deadline(access), self.folder.clone());
        let listing = self.list(&remote, std::slice::from_ref(reference), None).await?;
        match reference.find(&listing.refs) {
            Some(resolved) => Ok(resolved),
            None => Err(self.missing(&remote, reference, &listing).await),
        }
    }

    /// Returns a reference's commit with its files, fetched only if it is not here.
    ///
    /// # Errors
    /// When the server cannot be asked, the reference does not exist, or what the server sends
    /// is refused.
    pub async fn refresh(&self, reference: &Reference, access: &Access) -> Result<Tip, GitError> {
        let deadline = self.deadline(access);
        let _fetching = self.fetching.lock().await;
        let store = self.store(deadline).await?;
        let remote = self.remote(access, deadline, store.spool());
        let listing = self.list(&remote, std::slice::from_ref(reference), None).await?;
        match reference.find(&listing.refs) {
            Some(resolved) => self.fetch(&remote, &listing, store, resolved).await,
            None => Err(self.missing(&remote, reference, &listing).await),
        }
    }

    /// Returns the push branch, or what it is to be made from, after one listing for all.
    pub(crate) async fn ground(
        &self,
        branch: &RefName,
        checkouts: &[Reference],
        access: &Access,
    ) -> Result<Ground, GitError> {
        let deadline = self.deadline(access);
        let _fetching = self.fetching.lock().await;
        let store = self.store(deadline).await?;
        let remote = self.remote(access, deadline, store.spool());
        let listing = self.list(&remote, checkouts, Some(branch)).await?;
        let checkouts: Vec<Option<Resolved>> =
            checkouts.iter().map(|checkout| checkout.find(&listing.refs)).collect();
        let existing = Reference::Branch(branch.clone()).find(&listing.refs);
        let start = existing.clone().or_else(|| checkouts.iter().flatten().next().cloned());
        let base = match start {
            Some(start) => Some(self.fetch(&remote, &listing, store, start).await?),
            None => None,
        };
        Ok(Ground { branch: existing.map(|existing| existing.id), checkouts, base })
    }

    /// Returns what references are on the server, by their full names.
    pub(crate) async fn look(
        &self,
        names: &[&RefName],
        access: &Access,
    ) -> Result<Vec<RemoteRef>, RemoteError> {
        let remote = self.remote(access, self.deadline(access), self.folder.clone());
        let prefixes: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        let mut refs = remote.list(&prefixes).await?.refs;
        refs.retain(|found| names.contains(&&found.name));
        Ok(refs)
    }

    /// Returns whether a commit and its files are here.
    pub(crate) async fn knows(&self, commit: CommitId, access: &Access) -> Result<bool, GitError> {
        Ok(self.store(self.deadline(access)).await?.has(commit))
    }

    /// Returns whether a commit is at a branch's tip or below it, as far as is looked: `depth`
    /// commits, or all that are not here yet.
    pub(crate) async fn is_below(
        &self,
        commit: CommitId,
        branch: &RefName,
        depth: u32,
        access: &Access,
    ) -> Result<bool, GitError> {
        let deadline = self.deadline(access);
        let _fetching = self.fetching.lock().await;
        let store = self.store(deadline).await?;
        let remote = self.remote(access, deadline, store.spool());
        let listing = remote.list(&[branch.as_str()]).await.map_err(GitError::remote(&self.url))?;
        let Some(found) = reference::find(&listing.refs, branch) else { return Ok(false) };
        let tip = CommitId(found.id);
        let wants = store.wants(vec![tip.0], depth);
        let tips = [(branch.clone(), tip)];
        self.fetch_into(&remote, &listing, &store, wants, &tips).await?;
        let limits = self.core.limits.clone();
        let walked = self.blocking(deadline, move |stop| {
            let mut objects = store.objects(&limits, stop);
            descends(&mut objects, tip, commit)
        });
        walked.await
    }

    /// Runs a function on a commit's files, in the pool for blocking work.
    ///
    /// # Errors
    /// When it takes longer than the timeout.
    pub async fn with_files<R: Send + 'static>(
        &self,
        tip: &Tip,
        access: &Access,
        read: impl FnOnce(&mut Snapshot) -> R + Send + 'static,
    ) -> Result<R, GitError> {
        let (tip, limits) = (tip.clone(), self.core.limits.clone());
        let read = move |stop| read(&mut tip.snapshot(&limits, stop));
        self.blocking(self.deadline(access), read).await
    }

    pub(crate) async fn blocking<R: Send + 'static>(
        &self,
        deadline: Instant,
        job: impl FnOnce(Arc<std::sync::atomic::AtomicBool>) -> R + Send + 'static,
    ) -> Result<R, GitError> {
        let done = self.core.pool.run(deadline, job).await;
        done.map_err(|GivenUp| GitError::Deadline { url: self.url.clone() })
    }

    pub(crate) fn deadline(&self, access: &Access) -> Instant {
        Instant::now() + access.timeout
    }

    pub(crate) fn remote(&self, access: &Access, deadline: Instant, spool: PathBuf) -> Remote<'_> {
        let http = Http {
            client: &self.core.client,
            url: &self.url,
            credential: access.credential_for(&self.url),
            route: access.route(),
            deadline,
        };
        Remote { http, known: Arc::clone(&self.known), limits: &self.core.limits, spool }
    }

    async fn list(
        &self,
        remote: &Remote<'_>,
        references: &[Reference],
        branch: Option<&RefName>,
    ) -> Result<Listing, GitError> {
        let mut prefixes: Vec<&str> = references.iter().filter_map(|r| r.prefix()).collect();
        prefixes.extend(branch.map(RefName::as_str));
        prefixes.sort_unstable();
        prefixes.dedup();
        if prefixes.is_empty() {
            // A commit is asked for by id; without a prefix the server would list everything.
            prefixes.push("refs/heads/main");
        }
        remote.list(&prefixes).await.map_err(GitError::remote(&self.url))
    }

    /// Returns why a reference was not found: an empty repository has none.
    async fn missing(
        &self,
        remote: &Remote<'_>,
        reference: &Reference,
        listing: &Listing,
    ) -> GitError {
        if listing.refs.is_empty() {
            match remote.list(&["refs/"]).await {
                Ok(listing) if listing.refs.is_empty() => return GitError::Empty,
                Ok(_) => {}
                Err(source) => return GitError::remote(&self.url)(source),
            }
        }
        self.not_found(reference)
    }

    /// Returns the error for a reference that does not exist.
    pub(crate) fn not_found(&self, reference: &Reference) -> GitError {
        let no_ref = |name: &RefName| GitError::remote(&self.url)(RemoteError::NoRef(name.clone()));
        match reference {
            Reference::Branch(name) | Reference::Tag(name) => no_ref(name),
            Reference::Semver { range, .. } => GitError::NoMatch { range: range.clone() },
            Reference::Name(name) => GitError::NoCommit { name: name.clone() },
            Reference::Commit { .. } => {
                GitError::remote(&self.url)(RemoteError::Protocol("a commit that is not there"))
            }
        }
    }

    /// Returns the error for a checkout that does not exist, after a look at the whole repository.
    pub(crate) async fn why_missing(&self, reference: &Reference, access: &Access) -> GitError {
        let remote = self.remote(access, self.deadline(access), self.folder.clone());
        match remote.list(&["refs/"]).await {
            Ok(listing) if listing.refs.is_empty() => GitError::Empty,
            Ok(_) | Err(_) => self.not_found(reference),
        }
    }

    /// Returns a commit with its files. A mirror that proves damaged is made anew, once.
    async fn fetch(
        &self,
        remote: &Remote<'_>,
        listing: &Listing,
        store: Arc<Store>,
        resolved: Resolved,
    ) -> Result<Tip, GitError> {
        let is_sound = !store.is_damaged();
        if is_sound && store.has(resolved.id) {
            match self.tip(&store, &resolved, remote.deadline()).await? {
                Ok(tip) => return Ok(tip),
                Err(error) => self.warn(&error),
            }
        } else if is_sound && !store.is_overgrown(&self.core.limits) {
            let wants = store.wants(vec![resolved.want], 1);
            let tips = [(name_of(&resolved), resolved.id)];
            match self.fetch_into(remote, listing, &store, wants, &tips).await {
                Ok(()) => match self.tip(&store, &resolved, remote.deadline()).await? {
                    Ok(tip) => {
                        self.set_current(&store)?;
                        return Ok(tip);
                    }
                    Err(error) => self.warn(&error),
                },
                // What was built on what we had may fail for what we had.
                Err(GitError::Remote { source: RemoteError::Index(_), .. })
                    if !store.is_empty() =>
                {
                    tracing::warn!(url = %self.url, "Mirror is made anew: a pack does not fit it");
                }
                Err(error) => return Err(error),
            }
        }
        self.fetch_fresh(remote, listing, &resolved).await
    }

    fn warn(&self, error: &ObjectError) {
        tracing::warn!(url = %self.url, %error, "Mirror is made anew: it is damaged");
    }

    /// Makes a new mirror beside the present one and swaps it in.
    async fn fetch_fresh(
        &self,
        remote: &Remote<'_>,
        listing: &Listing,
        resolved: &Resolved,
    ) -> Result<Tip, GitError> {
        let store = Arc::new(self.create_beside().map_err(GitError::mirror(&self.url))?);
        // Until it is whole, it is nothing to keep.
        store.retire();
        let wants = store.wants(vec![resolved.want], 1);
        let tips = [(name_of(resolved), resolved.id)];
        self.fetch_into(remote, listing, &store, wants, &tips).await?;
        let tip = self.tip(&store, resolved, remote.deadline()).await?;
        let tip = tip.map_err(|source| GitError::Object { url: self.url.clone(), source })?;
        store.settle();
        self.set_current(&store)?;
        if let Some(old) = self.store.lock().replace(Arc::clone(&store)) {
            old.retire();
        }
        Ok(tip)
    }

    async fn fetch_into(
        &self,
        remote: &Remote<'_>,
        listing: &Listing,
        store: &Arc<Store>,
        wants: Wants,
        tips: &[(RefName, CommitId)],
    ) -> Result<(), GitError> {
        let reply = remote.fetch(listing, &wants).await.map_err(GitError::remote(&self.url))?;
        let (store, limits, tips) = (Arc::clone(store), self.core.limits.clone(), tips.to_vec());
        let ingest = move |stop| store.ingest(reply, &tips, &limits, &stop);
        match self.blocking(remote.deadline(), ingest).await? {
            Ok(()) => Ok(()),
            Err(IngestError::Remote(error)) => Err(GitError::remote(&self.url)(error)),
            Err(IngestError::Io(error)) => Err(GitError::mirror(&self.url)(error)),
        }
    }

    async fn tip(
        &self,
        store: &Arc<Store>,
        resolved: &Resolved,
        deadline: Instant,
    ) -> Result<Result<Tip, ObjectError>, GitError> {
        let (store, resolved, limits) =
            (Arc::clone(store), resolved.clone(), self.core.limits.clone());
        let read = move |stop| {
            let tree = store::tree_of(&mut store.objects(&limits, stop), resolved.id)?;
            Ok(Tip { resolved, tree, store })
        };
        self.blocking(deadline, read).await
    }

    /// Returns the present generation, opening or making it at first.
    async fn store(&self, deadline: Instant) -> Result<Arc<Store>, GitError> {
        if let Some(store) = &*self.store.lock() {
            return Ok(Arc::clone(store));
        }
        let folder = self.folder.clone();
        let opened = self.blocking(deadline, move |_| open_current(&folder)).await?;
        let store = Arc::new(opened.map_err(GitError::mirror(&self.url))?);
        *self.store.lock() = Some(Arc::clone(&store));
        Ok(store)
    }

    fn create_beside(&self) -> io::Result<Store> {
        let free = (0..).map(|number: u32| self.folder.join(number.to_string()));
        let folder = free.into_iter().find(|folder| !folder.exists());
        Store::create(&folder.ok_or(io::ErrorKind::AlreadyExists)?)
    }

    /// Says which generation is the one to open at the next start.
    fn set_current(&self, store: &Store) -> Result<(), GitError> {
        store.set_current(&self.folder).map_err(GitError::mirror(&self.url))
    }
}

/// Returns the kept generation, or a new one if there is none that can be read; removes others.
fn open_current(folder: &Path) -> io::Result<Store> {
    fs::create_dir_all(folder)?;
    let current = fs::read_to_string(folder.join("current")).unwrap_or_default();
    let current = current.trim();
    let is_number = !current.is_empty() && current.bytes().all(|byte| byte.is_ascii_digit());
    let kept = is_number.then(|| Store::open(&folder.join(current))).and_then(Result::ok);
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_kept = kept.is_some() && path.file_name().is_some_and(|name| name == current);
        if path.is_dir() && !is_kept {
            fs::remove_dir_all(path)?;
        }
    }
    match kept {
        Some(store) => Ok(store),
        None => Store::create(&folder.join("0")),
    }
}

/// Returns the name under which a commit is kept.
fn name_of(resolved: &Resolved) -> RefName {
    let by_id = || format!("refs/commits/{}", resolved.id).parse();
    resolved.name.clone().map_or_else(by_id, Ok).expect("an id makes a valid reference name")
}

/// Returns whether `below` is `tip` or one of its ancestors, as far as they are here.
fn descends(objects: &mut crate::objects::Objects, tip: CommitId, below: CommitId) -> bool {
    let mut seen = std::collections::HashSet::from([tip]);
    let mut next = vec![tip];
    while let Some(commit) = next.pop() {
        if commit == below {
            return true;
        }
        if !objects.contains(&commit.0) || seen.len() > 100_000 {
            continue;
        }
        let parents = store::parents_of(objects, commit).unwrap_or_default();
        next.extend(parents.into_iter().filter(|parent| seen.insert(*parent)));
    }
    false
}

impl Tip {
    pub(crate) fn snapshot(
        &self,
        limits: &Limits,
        stop: Arc<std::sync::atomic::AtomicBool>,
    ) -> Snapshot {
        let objects = self.store.objects(limits, stop);
        Snapshot::new(objects, limits.clone(), self.resolved.id, self.tree)
    }
}
