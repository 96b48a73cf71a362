//! LMDB gives every guarantee of the stores that it serves.
#![cfg(feature = "store-heed")]

use beep_core::clock::ManualClock;
use beep_core::conformance::ephemeral::UnderTest;
use beep_core::store::{BiteStore, BlobStore};
use beep_storage::heed::{HeedBites, HeedBlobs, HeedEnv, HeedEphemeral};
use std::sync::Arc;
use tempfile::TempDir;

fn env() -> (HeedEnv, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (HeedEnv::open(dir.path()).unwrap(), dir)
}

async fn bites() -> (Arc<dyn BiteStore>, TempDir) {
    let (env, dir) = env();
    (Arc::new(HeedBites::new(&env)), dir)
}

async fn blobs() -> (Arc<dyn BlobStore>, TempDir) {
    let (env, dir) = env();
    (Arc::new(HeedBlobs::new(&env)), dir)
}

async fn ephemeral() -> (UnderTest, TempDir) {
    let (env, dir) = env();
    let clock = Arc::new(ManualClock::at(1_000));
    (UnderTest::with_clock(Arc::new(HeedEphemeral::new(&env, clock.clone())), clock), dir)
}

beep_core::bite_store_suite!(bites);
beep_core::blob_store_suite!(blobs);
beep_core::ephemeral_suite!(ephemeral);
