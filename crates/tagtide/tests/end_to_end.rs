//! The binary as a user has it: a real registry, a real Git server, and stock git as the judge.

#![expect(clippy::disallowed_methods, reason = "it starts the binary that it tests, and stock git")]

mod end_to_end {
    mod credentials;
    mod daemon;
    mod demo;
    mod environments;
    mod explain;
    mod held;
    mod image_loop;
    mod isolation;
    mod kept;
    mod lint;
    mod plan;
    mod proxies;
    mod repositories;
    mod service;
    mod state;
    mod up;
    mod verbs;
    pub(crate) mod world;
}
