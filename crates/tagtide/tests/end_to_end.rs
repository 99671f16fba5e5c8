//! The binary as a user has it: a real registry, a real Git server, and stock git as the judge.

mod end_to_end {
    mod environments;
    mod held;
    mod image_loop;
    mod state;
    pub(crate) mod world;
}
