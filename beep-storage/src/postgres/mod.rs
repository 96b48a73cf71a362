//! Directory, full-text index, bites and log in PostgreSQL 15 or newer, for installations of several nodes.
//!
//! One schema holds all of them; a URL that names it with any of them brings all of it up to date.

#[macro_use]
mod call;
mod bell;
mod bites;
mod blobs;
mod directory;
mod error;
mod pool;
mod search;
mod snippet;
mod sweep;
mod text;

pub use bites::PostgresBites;
pub use blobs::PostgresBlobs;
pub use directory::PostgresDirectory;
pub use pool::Postgres;
pub use search::PostgresSearch;
pub(crate) use sweep::keep_sweeping;
pub use sweep::{Swept, sweep};
