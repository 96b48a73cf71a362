//! Directory and full-text index in SQLite.
//!
//! Two files, because their writers must not wait for each other: who there is (`beep.db`), and what was said
//! (`search.db`, which can be rebuilt). Both in write-ahead mode with `synchronous=FULL`, so an answer outlives a power
//! cut. Each process has one writing connection and a few reading ones per file; several processes may share them.

mod directory;
mod error;
mod pool;
mod search;

pub use directory::SqliteDirectory;
pub use search::SqliteSearch;
