//! What a remote may make us read, hold and compute.

/// Caps on everything a remote sends. Hitting one is an error that names it.
#[derive(Clone, Debug)]
pub struct Limits {
    /// References in one listing.
    pub refs: usize,
    /// Bytes of one listing.
    pub refs_bytes: u64,
    /// Bytes of one pack as sent.
    pub pack_bytes: u64,
    /// Objects in one pack.
    pub objects: u32,
    /// Bytes of one object, inflated.
    pub object_bytes: u64,
    /// Bytes of all objects of a pack, inflated and with their deltas applied.
    pub inflated_bytes: u64,
    /// Deltas on top of one another.
    pub delta_depth: u32,
    /// Bytes of a file that is looked into.
    pub file_bytes: u64,
    /// Entries of one walk, over all folders read.
    pub walk_entries: usize,
    /// Files of one walk in which something was found.
    pub walk_hits: usize,
    /// Packs in a mirror before a fresh one is made beside it.
    pub mirror_packs: usize,
    /// Loose objects written to a mirror before a fresh one is made beside it.
    pub mirror_loose: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            // The largest public repositories advertise about half a million (pull requests).
            refs: 1_000_000,
            // A million references at a hundred bytes each would be 100 MB; most have 65.
            refs_bytes: 96 << 20,
            // Hosting services refuse pushes beyond 2 GiB.
            pack_bytes: 2 << 30,
            // A shallow checkout of a repository with a million files.
            objects: 2_000_000,
            // Hosting services stop at 100 MB per file; one such object fits in memory.
            object_bytes: 128 << 20,
            // Four times the largest pack: text deflates to a quarter.
            inflated_bytes: 8 << 30,
            // Git itself never goes beyond 4,095.
            delta_depth: 4_095,
            // The largest manifests (bundles of CRDs) are a tenth of it.
            file_bytes: 16 << 20,
            walk_entries: 5_000_000,
            walk_hits: 200_000,
            // Every lookup asks every pack; a hundred still costs microseconds.
            mirror_packs: 100,
            mirror_loose: 10_000,
        }
    }
}

/// Folders within folders: real trees stay below 30, recursion below our stack.
pub(crate) const TREE_DEPTH_MAX: usize = 128;

/// Entries of one folder: a million generated manifests side by side.
pub(crate) const TREE_ENTRIES_MAX: usize = 1_000_000;

/// Bytes of a path within a repository: Linux's own limit.
pub(crate) const PATH_BYTES_MAX: usize = 4096;

/// Bytes of a commit message: far above what templates may render.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// A mirror below this size is never replaced for its growth: a fresh one would be no better.
pub(crate) const MIRROR_BYTES_MIN: u64 = 4 << 20;

/// How much larger than when it was fresh a mirror may become.
pub(crate) const MIRROR_GROWTH_MAX: u64 = 4;
