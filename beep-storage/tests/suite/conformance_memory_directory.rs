//! The oracles of the directory and of the full-text index give every guarantee themselves.

use beep_core::store::{Directory, SearchIndex};
use beep_storage::memory::{MemoryDirectory, MemorySearch};
use std::sync::Arc;

async fn directory() -> (Arc<dyn Directory>, ()) {
    (Arc::new(MemoryDirectory::new()), ())
}

async fn search() -> (Arc<dyn SearchIndex>, ()) {
    (Arc::new(MemorySearch::new()), ())
}

beep_core::directory_suite!(directory);
beep_core::search_suite!(search);
