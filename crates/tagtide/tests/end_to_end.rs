//! The binary as a user has it: a real registry, a real Git server, and stock git as the judge.

mod end_to_end {
    mod image_loop;
    pub(crate) mod world;
}
