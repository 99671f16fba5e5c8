//! Looks into blobs that the index does not know on several threads, before a walk asks for them one by one.

use std::{
    collections::HashSet,
    num::NonZero,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use gix::{ObjectId, objs::Kind};

use super::{Owned, SnapshotError, Walker, too_many};
use crate::{
    blob_index::{BlobIndex, Finder},
    limits::TREE_DEPTH_MAX,
    objects::Objects,
    tree::Mode,
};

/// Unknown blobs from which on a second thread is worth its start: some milliseconds of reading.
const BLOBS_MIN: usize = 100;

/// Threads of one walk. More only add memory: a thread holds one blob and what is found in it.
const THREADS_MAX: usize = 4;

/// Bytes of a blob that is looked into beside others; larger ones wait for the walk, which holds one at a time.
const BYTES_MAX: u64 = 1 << 20;

/// Blobs that a thread takes at once; they lie side by side in the pack, and many are stored as changes of the one before.
const SHARE: usize = 256;

impl<F: Finder> Walker<'_, F> {
    /// Makes the index know the blobs at and below a folder. What cannot be read is left to the walk, which says so.
    pub(super) fn look_ahead(&mut self, folder: ObjectId) -> Result<(), SnapshotError> {
        let n_threads = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
        if n_threads == 1 {
            return Ok(());
        }
        let (n_read, n_entries) = (self.n_read, self.n_entries);
        let unknown = self.unknown(folder)?;
        // The walk itself reads the folders that were read here, and counts them.
        (self.n_read, self.n_entries) = (n_read, n_entries);
        if unknown.len() < BLOBS_MIN {
            return Ok(());
        }
        let unknown = self.objects.in_pack_order(unknown);
        let bytes_max = self.limits.file_bytes.min(BYTES_MAX);
        let (next, index) = (AtomicUsize::new(0), self.index);
        thread::scope(|scope| {
            let readers: Vec<_> = (0..n_threads)
                .map(|_| {
                    let objects = self.objects.another();
                    let (next, unknown) = (&next, &unknown);
                    scope.spawn(move || read(objects, index, unknown, next, bytes_max))
                })
                .collect();
            // A reader that ended early has left its blobs to the walk.
            self.n_read +=
                readers.into_iter().filter_map(|reader| reader.join().ok()).sum::<usize>();
        });
        Ok(())
    }

    /// Returns the blobs to be looked into that the index does not know, in the order of their folders.
    fn unknown(&mut self, folder: ObjectId) -> Result<Vec<ObjectId>, SnapshotError> {
        let mut folders = vec![(folder, 0)];
        let mut seen = HashSet::from([folder]);
        let mut unknown = Vec::new();
        while let Some((id, depth)) = folders.pop() {
            if self.index.folder(&id).is_some() {
                continue;
            }
            if depth > TREE_DEPTH_MAX {
                return Err(too_many("folders within folders", TREE_DEPTH_MAX));
            }
            for Owned { mode, id, .. } in self.entries(id)? {
                match mode {
                    Mode::Folder if seen.insert(id) => folders.push((id, depth + 1)),
                    Mode::File if seen.insert(id) && self.index.blob(&id).is_none() => {
                        unknown.push(id);
                    }
                    Mode::Folder | Mode::File | Mode::Symlink | Mode::Submodule => {}
                }
            }
        }
        Ok(unknown)
    }
}

/// Looks into blobs until none is left; returns how many were read.
fn read<F: Finder>(
    mut objects: Objects,
    index: &BlobIndex<F>,
    unknown: &[ObjectId],
    next: &AtomicUsize,
    bytes_max: u64,
) -> usize {
    let mut n_read = 0;
    loop {
        let start = next.fetch_add(SHARE, Ordering::Relaxed);
        let Some(rest) = unknown.get(start..).filter(|rest| !rest.is_empty()) else {
            return n_read;
        };
        for id in rest.iter().take(SHARE) {
            if let Ok(bytes) = objects.read_up_to(*id, Kind::Blob, bytes_max) {
                index.set_blob(*id, index.finder().find(bytes));
                n_read += 1;
            }
        }
    }
}
