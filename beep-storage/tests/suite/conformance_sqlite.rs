//! SQLite gives every guarantee of the stores that it serves.
#![cfg(feature = "store-sqlite")]

use beep_core::conformance::{directory_model, search_text};
use beep_core::store::{Directory, SearchIndex};
use beep_storage::memory::{MemoryDirectory, MemorySearch};
use beep_storage::sqlite::{SqliteDirectory, SqliteSearch};
use std::sync::Arc;
use tempfile::TempDir;

async fn directory() -> (Arc<dyn Directory>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Arc::new(SqliteDirectory::open(&dir.path().join("beep.db")).await.unwrap()), dir)
}

async fn search() -> (Arc<dyn SearchIndex>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Arc::new(SqliteSearch::open(&dir.path().join("search.db")).await.unwrap()), dir)
}

beep_core::directory_suite!(directory);
beep_core::search_suite!(search);

#[tokio::test]
async fn any_calls_on_the_directory_do_what_memory_does() {
    for seed in 0..4 {
        let (store, _dir) = directory().await;
        directory_model::agrees_with(store, Arc::new(MemoryDirectory::new()), seed, 500).await;
    }
}

#[tokio::test]
async fn any_calls_on_the_index_do_what_memory_does() {
    for seed in 0..4 {
        let (store, _dir) = search().await;
        search_text::agrees_with(store, Arc::new(MemorySearch::new()), seed, 500).await;
    }
}
