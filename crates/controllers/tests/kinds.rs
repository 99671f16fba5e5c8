//! The kinds in a world: an API server in memory, a registry and a Git host behind `net`, and a
//! clock that only moves when nothing else does.

mod kinds {
    mod artifacts;
    mod credentials;
    mod driver;
    mod environments;
    mod failures;
    mod full_disks;
    mod held;
    mod image_loop;
    mod journal;
    mod markers;
    mod state;
    mod triggers;
    mod world;
}
