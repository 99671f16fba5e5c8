//! The program itself against real servers that are slow, broken or hostile, with stock git as the
//! judge.

#[path = "faults/world.rs"]
mod world;

#[path = "faults/credentials.rs"]
mod credentials;
#[path = "faults/eleven.rs"]
mod eleven;
#[path = "faults/everywhere.rs"]
mod everywhere;
#[path = "faults/full_disks.rs"]
mod full_disks;
#[path = "faults/hostile_git.rs"]
mod hostile_git;
#[path = "faults/hostile_registries.rs"]
mod hostile_registries;
#[path = "faults/interrupts.rs"]
mod interrupts;
#[path = "faults/kills.rs"]
mod kills;
#[path = "faults/races.rs"]
mod races;
