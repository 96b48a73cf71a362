//! Every test of this crate that shares a process, linked once.
#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

mod conformance_heed;
mod conformance_memory;
mod conformance_memory_directory;
mod conformance_object;
mod conformance_postgres_bites;
mod conformance_postgres_people;
mod conformance_redis;
mod conformance_sqlite;
mod conformance_wrapped;
mod heed_damage;
mod heed_faults;
mod heed_limits;
mod heed_processes;
mod migrate;
mod object_s3;
mod object_sweep;
mod postgres_away;
mod postgres_open;
mod postgres_people;
mod postgres_scale;
mod redis_restart;
mod redis_trust;
#[path = "../services/mod.rs"]
mod services;
mod sqlite_files;
mod sqlite_processes;
mod sqlite_scale;
mod sqlite_words;
