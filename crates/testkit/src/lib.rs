//! A world for tests: real servers, a byte-level fault proxy, an API server in memory.
