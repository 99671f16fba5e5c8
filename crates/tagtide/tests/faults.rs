//! The program itself against real servers that are slow, broken or hostile, with stock git as the
//! judge.

#[path = "faults/world.rs"]
mod world;

#[path = "faults/eleven.rs"]
mod eleven;
#[path = "faults/kills.rs"]
mod kills;
#[path = "faults/races.rs"]
mod races;
