//! Against the real `git http-backend`, with stock `git` as judge.

#[path = "server/world.rs"]
mod world;

#[path = "server/branches.rs"]
mod branches;
