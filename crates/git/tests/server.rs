//! Against the real `git http-backend`, with stock `git` as judge.

#[path = "server/world.rs"]
mod world;

#[path = "server/access.rs"]
mod access;
#[path = "server/branches.rs"]
mod branches;
#[path = "server/faults.rs"]
mod faults;
#[path = "server/mirrors.rs"]
mod mirrors;
#[path = "server/races.rs"]
mod races;
#[path = "server/references.rs"]
mod references;
#[path = "server/walks.rs"]
mod walks;
