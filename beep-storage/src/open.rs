//! From URLs to stores: the only place that knows every backend.

use crate::StorageConfig;
use crate::config::redacted;
#[cfg(feature = "store-heed")]
use crate::heed::{HeedBites, HeedBlobs, HeedEnv, HeedEphemeral, HeedOptions};
use crate::memory::{MemoryBites, MemoryBlobs, MemoryDirectory, MemoryEphemeral, MemorySearch};
#[cfg(feature = "store-sqlite")]
use crate::sqlite::{SqliteDirectory, SqliteSearch};
use beep_core::clock::Clock;
use beep_core::store::{BiteStore, BlobStore, Directory, Ephemeral, SearchIndex, Stores};
use beep_core::{Error, ErrorKind, Result};
#[cfg(feature = "store-sqlite")]
use std::path::Path;
use std::sync::Arc;

/// Opens every store that the configuration names, or makes it.
///
/// [`ErrorKind::Malformed`] for a URL that names no store, [`ErrorKind::Unsupported`] for one that this build or
/// version lacks; the message names the feature. Backends add their own errors.
pub async fn open(config: &StorageConfig, clock: Arc<dyn Clock>) -> Result<Stores> {
    Ok(Stores {
        bites: bites(&config.bites).await?,
        directory: directory(&config.directory).await?,
        search: search(&config.search).await?,
        blobs: blobs(&config.blobs).await?,
        ephemeral: ephemeral(&config.ephemeral, clock).await?,
    })
}

async fn bites(url: &str) -> Result<Arc<dyn BiteStore>> {
    match parsed(url)? {
        ("memory", "") => Ok(Arc::new(MemoryBites::new())),
        #[cfg(feature = "store-heed")]
        ("heed", place) => Ok(Arc::new(HeedBites::new(&heed(place).await?))),
        _ => Err(refused(url, "bites")),
    }
}

async fn blobs(url: &str) -> Result<Arc<dyn BlobStore>> {
    match parsed(url)? {
        ("memory", "") => Ok(Arc::new(MemoryBlobs::new())),
        #[cfg(feature = "store-heed")]
        ("heed", place) => Ok(Arc::new(HeedBlobs::new(&heed(place).await?))),
        _ => Err(refused(url, "blobs")),
    }
}

async fn ephemeral(url: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn Ephemeral>> {
    match parsed(url)? {
        ("memory", "") => Ok(Arc::new(MemoryEphemeral::new(clock))),
        #[cfg(feature = "store-heed")]
        ("heed", place) => Ok(Arc::new(HeedEphemeral::new(&heed(place).await?, clock))),
        _ => Err(refused(url, "short-lived values")),
    }
}

async fn directory(url: &str) -> Result<Arc<dyn Directory>> {
    match parsed(url)? {
        ("memory", "") => Ok(Arc::new(MemoryDirectory::new())),
        #[cfg(feature = "store-sqlite")]
        ("sqlite", file) => Ok(Arc::new(SqliteDirectory::open(Path::new(file)).await?)),
        _ => Err(refused(url, "the directory")),
    }
}

async fn search(url: &str) -> Result<Arc<dyn SearchIndex>> {
    match parsed(url)? {
        ("memory", "") => Ok(Arc::new(MemorySearch::new())),
        #[cfg(feature = "store-sqlite")]
        ("sqlite", file) => Ok(Arc::new(SqliteSearch::open(Path::new(file)).await?)),
        _ => Err(refused(url, "the search index")),
    }
}

/// Scheme and place.
fn parsed(url: &str) -> Result<(&str, &str)> {
    let (scheme, place) = url.split_once(':').ok_or_else(|| malformed(url))?;
    match scheme {
        "heed" | "sqlite" if place.is_empty() => Err(malformed(url)),
        "memory" if !place.is_empty() => Err(malformed(url)),
        _ => Ok((scheme, place)),
    }
}

fn malformed(url: &str) -> Error {
    let sentence =
        format!("`{}` names no store: write `heed:<folder>`, `sqlite:<file>` or `memory:`", redacted(url));
    Error::new(ErrorKind::Malformed, sentence)
}

/// Why no backend of this build serves this URL for this store.
fn refused(url: &str, what: &str) -> Error {
    let scheme = url.split(':').next().unwrap_or_default();
    let feature = match scheme {
        "heed" => "store-heed",
        "sqlite" => "store-sqlite",
        "postgres" | "postgresql" => "store-postgres",
        "redis" | "rediss" => "store-redis",
        "s3" => "store-s3",
        _ => return malformed(url),
    };
    let here = (scheme == "heed" && cfg!(feature = "store-heed"))
        || (scheme == "sqlite" && cfg!(feature = "store-sqlite"));
    let sentence = if here {
        format!("`{scheme}:` cannot hold {what}: choose another store for it")
    } else {
        format!("this build has no `{scheme}:` stores: build it with the feature `{feature}`")
    };
    Error::new(ErrorKind::Unsupported, sentence)
}

#[cfg(feature = "store-heed")]
async fn heed(place: &str) -> Result<HeedEnv> {
    let (dir, query) = place.split_once('?').unwrap_or((place, ""));
    let mut options = HeedOptions::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        options.max_bytes = match pair.split_once('=') {
            Some(("max_bytes", number)) => number.parse().ok(),
            _ => None,
        }
        .ok_or_else(|| {
            let sentence = format!("`{pair}` is no option of a `heed:` store: write `max_bytes=<number>`");
            Error::new(ErrorKind::Malformed, sentence)
        })?;
    }
    let dir = dir.to_owned();
    // Opening syncs, and waits for the commit of another process.
    let opened = tokio::task::spawn_blocking(move || HeedEnv::open_with(dir, options)).await;
    opened.map_err(|e| Error::internal("opening the store", e))?
}
