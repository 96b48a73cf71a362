//! Object stores, and Postgres with its bytes in them, give every guarantee of the blob store.
#![cfg(all(feature = "store-s3", feature = "store-postgres"))]

use crate::services::postgres::Schema;
use crate::services::s3::Garage;
use crate::services::skip;
use beep_core::clock::{Clock, System};
use beep_core::store::BlobStore;
use beep_storage::memory::MemoryBlobs;
use beep_storage::object::{Credentials, ObjectBlobs, Objects};
use beep_storage::postgres::{Postgres, PostgresBlobs};
use std::sync::Arc;
use tempfile::TempDir;

pub(crate) fn folder() -> (Objects, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file:{}", dir.path().join("objects").display());
    (Objects::open(&url).unwrap(), dir)
}

pub(crate) fn bucket(garage: &Garage) -> Objects {
    let (key_id, secret) = garage.key();
    Objects::open_with(&garage.url(), Credentials { key_id, secret, token: None }).unwrap()
}

/// Where a service is missing memory stands in, so that the suite runs, and the skip is said aloud.
fn stand_in() -> Arc<dyn BlobStore> {
    Arc::new(MemoryBlobs::new())
}

mod postgres_inline {
    use super::*;

    async fn blobs() -> (Arc<dyn BlobStore>, Option<Schema>) {
        let Some(schema) = Schema::fresh().await else { return (stand_in(), None) };
        let db = Postgres::open(&schema.url()).await.unwrap();
        (Arc::new(PostgresBlobs::new(&db, None)), Some(schema))
    }

    beep_core::blob_store_suite!(blobs);
}

mod postgres_and_folder {
    use super::*;

    async fn blobs() -> (Arc<dyn BlobStore>, Option<(Schema, TempDir)>) {
        let Some(schema) = Schema::fresh().await else { return (stand_in(), None) };
        let db = Postgres::open(&schema.url()).await.unwrap();
        let (objects, dir) = folder();
        (Arc::new(PostgresBlobs::new(&db, Some(Arc::new(objects)))), Some((schema, dir)))
    }

    beep_core::blob_store_suite!(blobs);
}

mod postgres_and_s3 {
    use super::*;

    async fn blobs() -> (Arc<dyn BlobStore>, Option<(Schema, Garage)>) {
        let Some(schema) = Schema::fresh().await else { return (stand_in(), None) };
        let Some(garage) = Garage::start() else { return (stand_in(), None) };
        let db = Postgres::open(&schema.url()).await.unwrap();
        (Arc::new(PostgresBlobs::new(&db, Some(Arc::new(bucket(&garage))))), Some((schema, garage)))
    }

    beep_core::blob_store_suite!(blobs);
}

mod objects_in_a_folder {
    use super::*;

    async fn blobs() -> (Arc<dyn BlobStore>, TempDir) {
        let (objects, dir) = folder();
        (Arc::new(ObjectBlobs::open(objects).await.unwrap()), dir)
    }

    beep_core::blob_store_suite!(blobs);
}

/// On a store that honours create-only puts, with credentials from the environment: garage does not.
mod objects_in_s3 {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    async fn blobs() -> (Arc<dyn BlobStore>, ()) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let Ok(url) = std::env::var("BEEP_TEST_S3") else {
            skip("s3-create", "BEEP_TEST_S3 names no S3 store that honours If-None-Match");
            return (stand_in(), ());
        };
        let (next, process) = (NEXT.fetch_add(1, Ordering::Relaxed), std::process::id());
        let url = url.replacen('?', &format!("/beep-{}-{process}-{next}?", System.now()), 1);
        (Arc::new(ObjectBlobs::open(Objects::open(&url).unwrap()).await.unwrap()), ())
    }

    beep_core::blob_store_suite!(blobs);
}
