//! From URLs to stores: the only place that knows every backend.

#[cfg(feature = "store-postgres")]
use crate::Bodies;
use crate::StorageConfig;
use crate::config::redacted;
#[cfg(feature = "store-heed")]
use crate::heed::{HeedBites, HeedBlobs, HeedEnv, HeedEphemeral, HeedOptions};
use crate::memory::{MemoryBites, MemoryBlobs, MemoryDirectory, MemoryEphemeral, MemorySearch};
#[cfg(feature = "store-s3")]
use crate::object::{ObjectBlobs, Objects};
#[cfg(feature = "store-postgres")]
use crate::postgres::{
    Postgres, PostgresBites, PostgresBlobs, PostgresDirectory, PostgresSearch, keep_sweeping,
};
#[cfg(feature = "store-redis")]
use crate::redis::RedisEphemeral;
#[cfg(feature = "store-sqlite")]
use crate::sqlite::{SqliteDirectory, SqliteSearch};
use beep_core::clock::Clock;
use beep_core::store::{BiteStore, BlobStore, Directory, Ephemeral, SearchIndex, Stores};
use beep_core::{Error, ErrorKind, Result};
#[cfg(feature = "store-postgres")]
use std::collections::HashMap;
#[cfg(feature = "store-sqlite")]
use std::path::Path;
use std::sync::Arc;

/// Opens every store that the configuration names, or makes it.
///
/// [`ErrorKind::Malformed`] for a URL that names no store, [`ErrorKind::Unsupported`] for one that this build or
/// version lacks; the message names the feature. [`ErrorKind::Invalid`] when servers on several machines would share
/// some stores and not others. Backends add their own errors.
pub async fn open(config: &StorageConfig, clock: Arc<dyn Clock>) -> Result<Stores> {
    let mut opened = Opened::default();
    let stores = Stores {
        bites: opened.bites(config).await?,
        directory: opened.directory(&config.directory).await?,
        search: opened.search(&config.search).await?,
        blobs: opened.blobs(config).await?,
        ephemeral: ephemeral(&config.ephemeral, clock.clone()).await?,
    };
    agree(&stores, config)?;
    #[cfg(feature = "store-postgres")]
    opened.sweep(config, clock);
    Ok(stores)
}

/// Servers and tools on several machines must find everything in the same place, or nothing.
fn agree(stores: &Stores, config: &StorageConfig) -> Result<()> {
    let places = [
        ("bites", &config.bites, stores.bites.capability().networked),
        ("directory", &config.directory, stores.directory.capability().networked),
        ("search", &config.search, stores.search.capability().networked),
        ("blobs", &config.blobs, stores.blobs.capability().networked),
    ];
    let shared = places.iter().find(|place| place.2);
    let here = places.iter().find(|place| !place.2);
    if let (Some((shared, there, _)), Some((alone, place, _))) = (shared, here) {
        let sentence = format!(
            "store.{shared} (`{}`) can be reached from other machines, but store.{alone} (`{}`) is on this one: choose \
             networked stores for bites, directory, search and blobs, or for none of them",
            redacted(there),
            redacted(place)
        );
        return Err(Error::new(ErrorKind::Invalid, sentence));
    }
    if shared.is_some() && !stores.ephemeral.capability().networked {
        tracing::warn!(
            "short-lived values are kept on this machine (store.ephemeral): with a second server, codes and limits would \
             not be shared; name a `redis:` store"
        );
    }
    Ok(())
}

/// What several stores share.
#[derive(Default)]
struct Opened {
    #[cfg(feature = "store-postgres")]
    postgres: HashMap<String, Postgres>,
    #[cfg(feature = "store-postgres")]
    bodies: Option<Arc<dyn Bodies>>,
}

impl Opened {
    async fn bites(&mut self, config: &StorageConfig) -> Result<Arc<dyn BiteStore>> {
        let url = &config.bites;
        match parsed(url)? {
            ("memory", "") => Ok(Arc::new(MemoryBites::new())),
            #[cfg(feature = "store-heed")]
            ("heed", place) => Ok(Arc::new(HeedBites::new(&heed(place).await?))),
            #[cfg(feature = "store-postgres")]
            ("postgres" | "postgresql", _) => {
                let (database, bodies) = (self.postgres(url).await?, self.bodies(&config.bodies)?);
                Ok(Arc::new(PostgresBites::new(&database, bodies)))
            }
            _ => Err(refused(url, "bites")),
        }
    }

    async fn blobs(&mut self, config: &StorageConfig) -> Result<Arc<dyn BlobStore>> {
        let url = &config.blobs;
        match parsed(url)? {
            ("memory", "") => Ok(Arc::new(MemoryBlobs::new())),
            #[cfg(feature = "store-heed")]
            ("heed", place) => Ok(Arc::new(HeedBlobs::new(&heed(place).await?))),
            #[cfg(feature = "store-postgres")]
            ("postgres" | "postgresql", _) => {
                let (database, bodies) = (self.postgres(url).await?, self.bodies(&config.bodies)?);
                Ok(Arc::new(PostgresBlobs::new(&database, bodies)))
            }
            #[cfg(feature = "store-s3")]
            ("s3" | "file", _) => Ok(Arc::new(ObjectBlobs::open(Objects::open(url)?).await?)),
            _ => Err(refused(url, "blobs")),
        }
    }

    async fn directory(&mut self, url: &str) -> Result<Arc<dyn Directory>> {
        match parsed(url)? {
            ("memory", "") => Ok(Arc::new(MemoryDirectory::new())),
            #[cfg(feature = "store-sqlite")]
            ("sqlite", file) => Ok(Arc::new(SqliteDirectory::open(Path::new(file)).await?)),
            #[cfg(feature = "store-postgres")]
            ("postgres" | "postgresql", _) => {
                Ok(Arc::new(PostgresDirectory::new(&self.postgres(url).await?)))
            }
            _ => Err(refused(url, "the directory")),
        }
    }

    async fn search(&mut self, url: &str) -> Result<Arc<dyn SearchIndex>> {
        match parsed(url)? {
            ("memory", "") => Ok(Arc::new(MemorySearch::new())),
            #[cfg(feature = "store-sqlite")]
            ("sqlite", file) => Ok(Arc::new(SqliteSearch::open(Path::new(file)).await?)),
            #[cfg(feature = "store-postgres")]
            ("postgres" | "postgresql", _) => Ok(Arc::new(PostgresSearch::new(&self.postgres(url).await?))),
            _ => Err(refused(url, "the search index")),
        }
    }

    /// One pool of connections for all stores of a database.
    #[cfg(feature = "store-postgres")]
    async fn postgres(&mut self, url: &str) -> Result<Postgres> {
        if let Some(open) = self.postgres.get(url) {
            return Ok(open.clone());
        }
        let open = Postgres::open(url).await?;
        self.postgres.insert(url.to_owned(), open.clone());
        Ok(open)
    }

    /// Has bodies swept that no row names. Only where one database names all of them: another's look like orphans to it.
    #[cfg(feature = "store-postgres")]
    fn sweep(self, config: &StorageConfig, clock: Arc<dyn Clock>) {
        let database = self.postgres.get(&config.bites).filter(|_| config.blobs == config.bites);
        if let (Some(database), Some(bodies)) = (database, &self.bodies) {
            tokio::spawn(keep_sweeping(database.clone(), Arc::downgrade(bodies), clock));
        }
    }

    #[cfg(feature = "store-postgres")]
    fn bodies(&mut self, url: &str) -> Result<Option<Arc<dyn Bodies>>> {
        if self.bodies.is_none() && !url.is_empty() {
            self.bodies = Some(bodies(url)?);
        }
        Ok(self.bodies.clone())
    }
}

#[cfg(feature = "store-postgres")]
fn bodies(url: &str) -> Result<Arc<dyn Bodies>> {
    match parsed(url)? {
        #[cfg(feature = "store-s3")]
        ("s3" | "file", _) => Ok(Arc::new(Objects::open(url)?)),
        _ => Err(refused(url, "the bytes of bites beside Postgres")),
    }
}

async fn ephemeral(url: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn Ephemeral>> {
    match parsed(url)? {
        ("memory", "") => Ok(Arc::new(MemoryEphemeral::new(clock))),
        #[cfg(feature = "store-heed")]
        ("heed", place) => Ok(Arc::new(HeedEphemeral::new(&heed(place).await?, clock))),
        #[cfg(feature = "store-redis")]
        ("redis" | "rediss", _) => Ok(Arc::new(RedisEphemeral::open(url).await?)),
        _ => Err(refused(url, "short-lived values")),
    }
}

/// Scheme and place.
fn parsed(url: &str) -> Result<(&str, &str)> {
    let (scheme, place) = url.split_once(':').ok_or_else(|| malformed(url))?;
    match scheme {
        "heed" | "sqlite" | "file" if place.is_empty() => Err(malformed(url)),
        "memory" if !place.is_empty() => Err(malformed(url)),
        _ => Ok((scheme, place)),
    }
}

fn malformed(url: &str) -> Error {
    let sentence = format!(
        "`{}` names no store: write `heed:<folder>`, `sqlite:<file>`, `postgres://…`, `redis://…`, `s3://…` or `memory:`",
        redacted(url)
    );
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
        "s3" | "file" => "store-s3",
        _ => return malformed(url),
    };
    let built = [
        ("store-heed", cfg!(feature = "store-heed")),
        ("store-sqlite", cfg!(feature = "store-sqlite")),
        ("store-postgres", cfg!(feature = "store-postgres")),
        ("store-redis", cfg!(feature = "store-redis")),
        ("store-s3", cfg!(feature = "store-s3")),
    ];
    let here = built.contains(&(feature, true));
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
