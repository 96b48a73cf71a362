//! PostgreSQL gives every guarantee of the directory and of the full-text index.
#![cfg(feature = "store-postgres")]

use crate::services::postgres::Schema;
use beep_core::conformance::{directory_model, search_text};
use beep_core::store::{Directory, SearchIndex};
use beep_storage::memory::{MemoryDirectory, MemorySearch};
use beep_storage::postgres::{Postgres, PostgresDirectory, PostgresSearch};
use std::sync::Arc;

async fn database() -> Option<(Postgres, Schema)> {
    let schema = Schema::fresh().await?;
    Some((Postgres::open(&schema.url()).await.unwrap(), schema))
}

/// Where no Postgres is, which was said aloud, memory stands in for it.
async fn directory() -> (Arc<dyn Directory>, Option<Schema>) {
    match database().await {
        Some((postgres, schema)) => (Arc::new(PostgresDirectory::new(&postgres)), Some(schema)),
        None => (Arc::new(MemoryDirectory::new()), None),
    }
}

/// As [`directory`].
async fn search() -> (Arc<dyn SearchIndex>, Option<Schema>) {
    match database().await {
        Some((postgres, schema)) => (Arc::new(PostgresSearch::new(&postgres)), Some(schema)),
        None => (Arc::new(MemorySearch::new()), None),
    }
}

beep_core::directory_suite!(directory);
beep_core::search_suite!(search);

#[tokio::test]
async fn any_calls_on_the_directory_do_what_memory_does() {
    for seed in 0..4 {
        let (store, _schema) = directory().await;
        directory_model::agrees_with(store, Arc::new(MemoryDirectory::new()), seed, 500).await;
    }
}

#[tokio::test]
async fn any_calls_on_the_index_do_what_memory_does() {
    for seed in 0..4 {
        let (store, _schema) = search().await;
        search_text::agrees_with(store, Arc::new(MemorySearch::new()), seed, 500).await;
    }
}
