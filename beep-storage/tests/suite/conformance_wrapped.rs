//! A box around a counted reference around a store gives every guarantee of the store.

use beep_core::clock::ManualClock;
use beep_core::conformance::ephemeral::UnderTest;
use beep_core::store::{BiteStore, BlobStore, Directory, Ephemeral, SearchIndex};
use beep_storage::memory::{MemoryBites, MemoryBlobs, MemoryDirectory, MemoryEphemeral, MemorySearch};
use std::sync::Arc;

async fn bites() -> (Arc<dyn BiteStore>, ()) {
    let boxed: Box<dyn BiteStore> = Box::new(Arc::new(MemoryBites::new()));
    (Arc::new(boxed), ())
}

async fn blobs() -> (Arc<dyn BlobStore>, ()) {
    let boxed: Box<dyn BlobStore> = Box::new(Arc::new(MemoryBlobs::new()));
    (Arc::new(boxed), ())
}

async fn directory() -> (Arc<dyn Directory>, ()) {
    let boxed: Box<dyn Directory> = Box::new(Arc::new(MemoryDirectory::new()));
    (Arc::new(boxed), ())
}

async fn search() -> (Arc<dyn SearchIndex>, ()) {
    let boxed: Box<dyn SearchIndex> = Box::new(Arc::new(MemorySearch::new()));
    (Arc::new(boxed), ())
}

async fn ephemeral() -> (UnderTest, ()) {
    let clock = Arc::new(ManualClock::at(1_000));
    let boxed: Box<dyn Ephemeral> = Box::new(Arc::new(MemoryEphemeral::new(clock.clone())));
    (UnderTest::with_clock(Arc::new(boxed), clock), ())
}

beep_core::bite_store_suite!(bites);
beep_core::blob_store_suite!(blobs);
beep_core::directory_suite!(directory);
beep_core::search_suite!(search);
beep_core::ephemeral_suite!(ephemeral);
