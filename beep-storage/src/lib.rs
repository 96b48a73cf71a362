//! # Beep's stores on real engines
//!
//! [`open`] turns a [`StorageConfig`] (one URL per store) into the stores that the pipeline works with; a
//! [`DataDir`] is a whole installation in one folder.
//!
//! | feature | backend | serves |
//! |---|---|---|
//! | (always) | [`memory`] | every trait; the oracle that the others are compared with |
//! | `store-heed` | LMDB through heed | bites, log, cursors, blobs, short-lived values |
//! | `store-sqlite` | SQLite through sqlx | directory, full-text index |
//!
//! ```
//! use beep_core::clock::System;
//! use beep_storage::{StorageConfig, open};
//! use std::sync::Arc;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> beep_core::Result<()> {
//! let stores = open(&StorageConfig::memory(), Arc::new(System)).await?;
//! assert_eq!(stores.bites.tail().await?, 0);
//! # Ok(())
//! # }
//! ```

mod config;
mod data_dir;
#[cfg(feature = "store-heed")]
pub mod heed;
pub mod keys;
pub mod memory;
mod open;
#[cfg(feature = "store-sqlite")]
pub mod sqlite;

mod words;

pub use config::StorageConfig;
pub use data_dir::DataDir;
pub use open::open;
