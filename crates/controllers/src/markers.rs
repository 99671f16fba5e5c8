//! The markers of a repository's files, found once per blob.

use std::sync::Arc;

use automation::{
    marker::{self, Found},
    update::{self, Policies},
};
use git::{BlobIndex, Finder, Hit, IndexStore, ObjectId, Snapshot, SnapshotError, Walk};
use redb::{Database, ReadableDatabase, TableDefinition};

/// Finds markers in blobs.
pub(crate) struct MarkerFinder;

/// Which files have markers, by blob and folder.
pub(crate) type MarkerIndex = BlobIndex<MarkerFinder>;

/// Index key → what was found.
const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("marker_index");

impl Finder for MarkerFinder {
    type Value = Found;

    fn version(&self) -> u32 {
        marker::FOUND_VERSION
    }

    fn is_candidate(&self, file_name: &str) -> bool {
        update::is_candidate(file_name)
    }

    fn find(&self, bytes: &[u8]) -> Option<Found> {
        let found = marker::find(bytes);
        (!found.markers.is_empty() || !found.problems.is_empty()).then_some(found)
    }
}

/// Returns an index, kept in `database` if there is one.
pub(crate) fn index(database: Option<Arc<Database>>) -> Arc<MarkerIndex> {
    Arc::new(match database {
        Some(database) => BlobIndex::with_store(MarkerFinder, Arc::new(DiskIndex(database))),
        None => BlobIndex::in_memory(MarkerFinder),
    })
}

/// A marked file.
pub(crate) struct MarkedFile {
    /// The path from the root of the repository.
    pub(crate) path: String,
    /// The path from the update path.
    pub(crate) relative: String,
    /// Its bytes, once [`read_due`] has read them.
    pub(crate) bytes: Vec<u8>,
    pub(crate) found: Arc<Found>,
    id: ObjectId,
}

/// Returns the marked files at and below `path`, without their bytes. Reading blocks.
pub(crate) fn marked_files(
    files: &mut Snapshot,
    path: &str,
    index: &MarkerIndex,
) -> Result<Vec<MarkedFile>, SnapshotError> {
    let Walk { hits, .. } = files.walk(path, index)?;
    let marked = |Hit { path, relative, id, value: found }| {
        let bytes = Vec::new();
        MarkedFile { path, relative, bytes, found, id }
    };
    Ok(hits.into_iter().map(marked).collect())
}

/// Reads the files of which a marked value is not what its policy chose. Reading blocks.
pub(crate) fn read_due(
    files: &mut Snapshot,
    marked: &mut [MarkedFile],
    policies: &Policies,
) -> Result<(), SnapshotError> {
    for file in marked.iter_mut().filter(|file| update::is_due(&file.found, policies)) {
        file.bytes = files.read(file.id)?;
    }
    Ok(())
}

struct DiskIndex(Arc<Database>);

impl IndexStore for DiskIndex {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let transaction = self.0.begin_read().ok()?;
        let table = transaction.open_table(ENTRIES).ok()?;
        Some(table.get(key).ok()??.value().to_vec())
    }

    fn put(&self, entries: Vec<(Vec<u8>, Vec<u8>)>) {
        if entries.is_empty() {
            return;
        }
        let write = || -> Result<(), redb::Error> {
            let transaction = self.0.begin_write()?;
            {
                let mut table = transaction.open_table(ENTRIES)?;
                for (key, value) in &entries {
                    table.insert(key.as_slice(), value.as_slice())?;
                }
            }
            transaction.commit()?;
            tracing::trace!(target: "durable", step = "marker index kept", "Durable step");
            Ok(())
        };
        if let Err(error) = write() {
            tracing::warn!(%error, "Cannot keep the marker index");
        }
    }
}
