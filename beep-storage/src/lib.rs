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
//! | `store-redis` | Redis through redis | short-lived values |
//! | `store-s3` | S3 or a folder | blobs, and the bytes of bites and pictures that Postgres names |
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

mod bodies;
mod config;
mod data_dir;
#[cfg(feature = "store-heed")]
pub mod heed;
pub mod keys;
pub mod memory;
pub mod migrate;
#[cfg(feature = "store-s3")]
pub mod object;
mod open;
#[cfg(feature = "store-postgres")]
pub mod postgres;
#[cfg(feature = "store-redis")]
pub mod redis;
#[cfg(feature = "store-sqlite")]
pub mod sqlite;

mod words;

pub use bodies::Bodies;
pub use config::StorageConfig;
pub use data_dir::DataDir;
pub use open::open;
