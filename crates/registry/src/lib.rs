//! A client for OCI distribution registries and the per-host scheduler in front of it.
