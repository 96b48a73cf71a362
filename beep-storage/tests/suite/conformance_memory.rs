//! The oracle gives every guarantee that it is the oracle of.

use beep_core::clock::ManualClock;
use beep_core::conformance::ephemeral::UnderTest;
use beep_core::store::{BiteStore, BlobStore};
use beep_storage::memory::{MemoryBites, MemoryBlobs, MemoryEphemeral};
use std::sync::Arc;

async fn bites() -> (Arc<dyn BiteStore>, ()) {
    (Arc::new(MemoryBites::new()), ())
}

async fn blobs() -> (Arc<dyn BlobStore>, ()) {
    (Arc::new(MemoryBlobs::new()), ())
}

async fn ephemeral() -> (UnderTest, ()) {
    let clock = Arc::new(ManualClock::at(1_000));
    (UnderTest::with_clock(Arc::new(MemoryEphemeral::new(clock.clone())), clock), ())
}

beep_core::bite_store_suite!(bites);
beep_core::blob_store_suite!(blobs);
beep_core::ephemeral_suite!(ephemeral);
