//! A mirror's folder: a bare repository that stock git can read, of packs, tips and cut history.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use flate2::Compression;
use gix::{ObjectId, objs::Kind};
use gix_pack::cache::lru::MemoryCappedHashmap;
use parking_lot::Mutex;

use crate::{
    error::RemoteError,
    limits::{Limits, MIRROR_BYTES_MIN, MIRROR_GROWTH_MAX},
    mirror::packs::{self, IngestError},
    objects::{ObjectError, Objects, Staged},
    push,
    reference::{CommitId, RefName},
    transport::{
        fetch::{FetchReply, Wants},
        spool::Spooled,
    },
};

/// Commits named to a server as what we have: the newest of each branch we follow.
const HAVES_MAX: usize = 256;

/// Objects of one push from which on they are kept as a pack: a file for each of a thousand costs more than the push itself.
///
/// It takes as many pushes to reach the limit of packs as that of loose objects.
const PACKED_MIN: usize = 100;

/// Slots for packs, well above the number at which a mirror is replaced.
const PACK_SLOTS: u16 = 512;

/// Bytes of objects that a reader keeps because others of a pack are stored as their changes.
///
/// Without them, a file that is stored as the fiftieth change of another costs fifty files.
const BASES_BYTES_MAX: usize = 32 << 20;

/// One generation of a mirror.
pub(crate) struct Store {
    folder: PathBuf,
    handle: Mutex<gix::odb::Handle>,
    state: Mutex<State>,
    damaged: Arc<AtomicBool>,
    /// Whether the folder goes when nobody reads it any more.
    obsolete: AtomicBool,
}

#[derive(Default)]
struct State {
    tips: BTreeMap<RefName, CommitId>,
    /// Commits whose files are all there.
    complete: HashSet<ObjectId>,
    shallow: BTreeSet<ObjectId>,
    n_packs: usize,
    n_loose: usize,
    bytes: u64,
    fresh_bytes: u64,
}

impl Store {
    /// Returns a new, empty generation.
    pub(crate) fn create(folder: &Path) -> io::Result<Store> {
        for name in ["objects/pack", "objects/info", "refs/heads", "tmp"] {
            fs::create_dir_all(folder.join(name))?;
        }
        tracing::trace!(target: "durable", step = "mirror folder made", "Durable step");
        fs::write(folder.join("HEAD"), "ref: refs/heads/none\n")?;
        fs::write(folder.join("config"), "[core]\n\trepositoryformatversion = 0\n\tbare = true\n")?;
        Store::at(folder, State::default())
    }

    /// Returns a kept generation; an error means that it has to be made anew.
    pub(crate) fn open(folder: &Path) -> io::Result<Store> {
        remove_leftovers(folder)?;
        let tips = parse_tips(&fs::read_to_string(folder.join("packed-refs"))?)?;
        let shallow = parse_shallow(&fs::read_to_string(folder.join("shallow"))?)?;
        let fresh = fs::read_to_string(folder.join("fresh"))?;
        let fresh_bytes = fresh.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
        let complete = tips.values().map(|tip| tip.0).collect();
        let state = State { tips, complete, shallow, fresh_bytes, ..State::default() };
        let store = Store::at(folder, state)?;
        store.measure()?;
        Ok(store)
    }

    fn at(folder: &Path, state: State) -> io::Result<Store> {
        let options = gix::odb::store::init::Options {
            slots: gix::odb::store::init::Slots::Given(PACK_SLOTS),
            use_multi_pack_index: false,
            ..Default::default()
        };
        let kind = gix::hash::Kind::Sha1;
        let mut handle = gix::odb::at_opts(folder.join("objects"), kind, None, options)?;
        handle.set_pack_cache(|| Box::new(MemoryCappedHashmap::new(BASES_BYTES_MAX)));
        Ok(Store {
            folder: folder.to_owned(),
            handle: Mutex::new(handle),
            state: Mutex::new(state),
            damaged: Arc::default(),
            obsolete: AtomicBool::new(false),
        })
    }

    /// Returns where replies may be spooled; what a crash leaves there goes at the next start.
    pub(crate) fn spool(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    pub(crate) fn objects(&self, limits: &Limits, stop: Arc<AtomicBool>) -> Objects {
        Objects::new(self.handle.lock().clone(), Arc::clone(&self.damaged), stop, limits)
    }

    /// Returns whether a commit and all its files are there.
    pub(crate) fn has(&self, commit: CommitId) -> bool {
        self.state.lock().complete.contains(&commit.0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().complete.is_empty()
    }

    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Returns whether a fresh mirror would be better than this one.
    pub(crate) fn is_overgrown(&self, limits: &Limits) -> bool {
        let state = self.state.lock();
        let allowed = state.fresh_bytes.saturating_mul(MIRROR_GROWTH_MAX).max(MIRROR_BYTES_MIN);
        state.n_packs > limits.mirror_packs
            || state.n_loose > limits.mirror_loose
            || state.bytes > allowed
    }

    /// Lets the folder go as soon as nobody reads it.
    pub(crate) fn retire(&self) {
        self.obsolete.store(true, Ordering::Relaxed);
    }

    /// Takes back [`Store::retire`]: the folder is whole.
    pub(crate) fn settle(&self) {
        self.obsolete.store(false, Ordering::Relaxed);
    }

    /// Says in the folder above that this is the generation to open.
    pub(crate) fn set_current(&self, above: &Path) -> io::Result<()> {
        let name = self.folder.file_name().unwrap_or_default().to_string_lossy();
        let current = fs::read_to_string(above.join("current")).unwrap_or_default();
        if current.trim() == name {
            Ok(())
        } else {
            replace(above, "current", &format!("{name}\n"))
        }
    }

    /// Returns what to ask a server for, given what is here.
    pub(crate) fn wants(&self, wants: Vec<ObjectId>, depth: u32) -> Wants {
        let state = self.state.lock();
        let tips: BTreeSet<ObjectId> = state.tips.values().map(|tip| tip.0).collect();
        Wants {
            wants,
            haves: tips.into_iter().take(HAVES_MAX).collect(),
            shallow: state.shallow.iter().copied().collect(),
            depth,
        }
    }

    /// Takes a received pack in: screened, indexed, completed, checked to hold what was wanted.
    pub(crate) fn ingest(
        &self,
        reply: FetchReply,
        tips: &[(RefName, CommitId)],
        limits: &Limits,
        stop: &Arc<AtomicBool>,
    ) -> Result<(), IngestError> {
        if !reply.pack.is_empty() {
            self.index(reply.pack, limits, stop)?;
        }
        let mut objects = self.objects(limits, Arc::clone(stop));
        for (_, tip) in tips {
            let missing = || RemoteError::Protocol("a pack without what was asked for");
            tree_of(&mut objects, *tip).map_err(|_| IngestError::Remote(missing()))?;
        }
        let mut state = self.state.lock();
        state.shallow.extend(reply.shallow.iter().copied());
        for id in &reply.unshallow {
            state.shallow.remove(id);
        }
        let is_fresh = state.complete.is_empty();
        for (name, tip) in tips {
            state.tips.insert(name.clone(), *tip);
            state.complete.insert(tip.0);
        }
        drop(state);
        self.measure()?;
        if is_fresh {
            let mut state = self.state.lock();
            state.fresh_bytes = state.bytes;
            replace(&self.folder, "fresh", &format!("{}\n", state.fresh_bytes))?;
        }
        self.save()?;
        Ok(())
    }

    /// Keeps a pushed commit, so that it need not be fetched. No object may be there twice.
    pub(crate) fn keep(
        &self,
        name: &RefName,
        commit: CommitId,
        objects: &[Staged],
        limits: &Limits,
        stop: &Arc<AtomicBool>,
    ) -> Result<(), IngestError> {
        if objects.len() < PACKED_MIN {
            self.objects(limits, Arc::clone(stop)).write(objects)?;
            let mut state = self.state.lock();
            state.n_loose += objects.len();
            state.bytes += objects.iter().map(|object| object.data.len() as u64).sum::<u64>();
        } else {
            let pack = push::whole_pack(objects, Compression::fast());
            self.index(Spooled::Memory(pack), limits, stop)?;
            self.measure()?;
        }
        let mut state = self.state.lock();
        state.tips.insert(name.clone(), commit);
        state.complete.insert(commit.0);
        drop(state);
        Ok(self.save()?)
    }

    fn index(&self, pack: Spooled, limits: &Limits, stop: &AtomicBool) -> Result<(), IngestError> {
        let bases = self.handle.lock().clone();
        packs::take(&self.folder, pack, bases, limits, stop)
    }

    /// Counts packs, loose objects and bytes.
    fn measure(&self) -> io::Result<()> {
        let (mut n_packs, mut n_loose, mut bytes) = (0, 0, 0);
        for folder in fs::read_dir(self.folder.join("objects"))? {
            let folder = folder?;
            // Another branch's commit may just be being written here, under a name that goes again.
            if !folder.file_type()?.is_dir() {
                continue;
            }
            let is_loose = folder.file_name().len() == 2;
            for file in fs::read_dir(folder.path())? {
                let file = file?;
                let Ok(metadata) = file.metadata() else { continue };
                bytes += metadata.len();
                n_loose += usize::from(is_loose);
                n_packs += usize::from(file.path().extension().is_some_and(|e| e == "pack"));
            }
        }
        let mut state = self.state.lock();
        (state.n_packs, state.n_loose, state.bytes) = (n_packs, n_loose, bytes);
        Ok(())
    }

    /// Writes cut history first: a tip must never be known without it.
    fn save(&self) -> io::Result<()> {
        let state = self.state.lock();
        let shallow: String = state.shallow.iter().map(|id| format!("{id}\n")).collect();
        replace(&self.folder, "shallow", &shallow)?;
        let mut tips = "# pack-refs with: sorted \n".to_owned();
        for (name, tip) in &state.tips {
            tips += &format!("{tip} {name}\n");
        }
        replace(&self.folder, "packed-refs", &tips)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.obsolete.load(Ordering::Relaxed) {
            // A folder that stays is removed at the next start.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Returns the root folder of a commit.
pub(crate) fn tree_of(objects: &mut Objects, commit: CommitId) -> Result<ObjectId, ObjectError> {
    let data = objects.read(commit.0, Kind::Commit)?;
    let tree = gix::objs::CommitRefIter::from_bytes(data, gix::hash::Kind::Sha1).tree_id();
    let tree = tree.map_err(|_| ObjectError::Kind { id: commit.0, expected: Kind::Commit })?;
    objects.read(tree, Kind::Tree)?;
    Ok(tree)
}

/// Returns the parents of a commit.
pub(crate) fn parents_of(
    objects: &mut Objects,
    commit: CommitId,
) -> Result<Vec<CommitId>, ObjectError> {
    let data = objects.read(commit.0, Kind::Commit)?;
    let commit = gix::objs::CommitRefIter::from_bytes(data, gix::hash::Kind::Sha1);
    Ok(commit.parent_ids().map(CommitId).collect())
}

/// Removes what a crash may have left behind.
fn remove_leftovers(folder: &Path) -> io::Result<()> {
    fs::remove_dir_all(folder.join("tmp")).or_else(ignore_missing)?;
    fs::create_dir_all(folder.join("tmp"))?;
    for file in fs::read_dir(folder.join("objects/pack"))? {
        let path = file?.path();
        let known = path.extension().is_some_and(|e| e == "pack" || e == "idx");
        if !known || !path.with_extension("idx").exists() {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn parse_tips(text: &str) -> io::Result<BTreeMap<RefName, CommitId>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (id, name) = line.split_once(' ').ok_or(io::ErrorKind::InvalidData)?;
            let id = id.parse().map_err(|_| io::ErrorKind::InvalidData)?;
            Ok((name.parse().map_err(|_| io::ErrorKind::InvalidData)?, id))
        })
        .collect()
}

fn parse_shallow(text: &str) -> io::Result<BTreeSet<ObjectId>> {
    let parse = |line: &str| ObjectId::from_hex(line.as_bytes());
    text.lines().map(|line| parse(line).map_err(|_| io::ErrorKind::InvalidData.into())).collect()
}

/// Replaces a file in one step.
pub(crate) fn replace(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    let temporary = folder.join(format!("{name}.new"));
    fs::write(&temporary, text)?;
    tracing::trace!(target: "durable", step = "mirror file written", name, "Durable step");
    fs::rename(temporary, folder.join(name))?;
    tracing::trace!(target: "durable", step = "mirror file replaced", name, "Durable step");
    Ok(())
}
