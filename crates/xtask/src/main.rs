//! Automation for developers: tests, checks, benchmarks, fuzzing, code generation.

fn main() {}
