//! PostgreSQL gives every guarantee of the bites, with their bytes in its rows and beside them.
#![cfg(all(feature = "store-postgres", feature = "store-s3"))]

use crate::services::postgres::Schema;
use beep_core::store::BiteStore;
use beep_storage::Bodies;
use beep_storage::memory::MemoryBites;
use beep_storage::object::Objects;
use beep_storage::postgres::{Postgres, PostgresBites};
use std::sync::Arc;
use tempfile::TempDir;

/// Bytes in the rows only.
mod inline {
    use super::*;

    /// Where no Postgres is, which was said aloud, memory stands in for it.
    async fn bites() -> (Arc<dyn BiteStore>, Option<Schema>) {
        let Some(schema) = Schema::fresh().await else { return (Arc::new(MemoryBites::new()), None) };
        let postgres = Postgres::open(&schema.url()).await.unwrap();
        (Arc::new(PostgresBites::new(&postgres, None)), Some(schema))
    }

    beep_core::bite_store_suite!(bites);
}

/// Larger ones in a folder.
mod beside {
    use super::*;

    /// As for those in rows.
    async fn bites() -> (Arc<dyn BiteStore>, Option<(Schema, TempDir)>) {
        let Some(schema) = Schema::fresh().await else { return (Arc::new(MemoryBites::new()), None) };
        let postgres = Postgres::open(&schema.url()).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let bodies: Arc<dyn Bodies> =
            Arc::new(Objects::open(&format!("file:{}", dir.path().display())).unwrap());
        (Arc::new(PostgresBites::new(&postgres, Some(bodies))), Some((schema, dir)))
    }

    beep_core::bite_store_suite!(bites);
}
