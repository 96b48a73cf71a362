//! Every test of this crate that shares a process, linked once.
#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

mod confirm;
mod directory;
mod export_crash;
mod import;
mod ingest;
mod ingest_crash;
mod keys;
mod migrate;
mod people;
mod read;
mod remote;
mod shell;
mod support;
mod transcribe;
