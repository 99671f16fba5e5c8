//! A small in-process registry and Git smart-HTTP host for the demo and for virtual time.
