//! What benchmarks and fuzz bodies of every crate share. It depends on nothing, so that the pure
//! crates can use it.

pub mod bench;
pub mod fuzz;
