//! Every test of this crate that shares a process, linked once.
#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

mod conformance_heed;
mod conformance_memory;
mod conformance_memory_directory;
mod conformance_sqlite;
mod heed_damage;
mod heed_faults;
mod heed_limits;
mod heed_processes;
#[path = "../services/mod.rs"]
mod services;
mod sqlite_files;
mod sqlite_processes;
mod sqlite_scale;
mod sqlite_words;
