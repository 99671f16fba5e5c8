//! The server as the real `kubectl` sees it, over TLS on loopback.

#![expect(clippy::too_many_lines, reason = "what kubectl prints takes many lines")]

#[path = "kubectl/cluster.rs"]
mod cluster;
#[path = "kubectl/read.rs"]
mod read;
#[path = "kubectl/write.rs"]
mod write;
