//! Which backend holds what: one URL per store.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// Where each store lives.
///
/// * `heed:<folder>` — LMDB, for bites, blobs and short-lived values; they may share a folder. `?max_bytes=<n>` sets
///   the most that its file may have.
/// * `sqlite:<file>` — SQLite, for the directory and the search index.
/// * `postgres://user:password@host/database` — PostgreSQL, for all but short-lived values.
/// * `redis://[user:password@]host:port/database?prefix=beep:` — Redis, for short-lived values; `rediss:` for TLS.
/// * `s3://<bucket>/<prefix>?region=…` and `file:<folder>` — an object store: for the bytes that Postgres names
///   (`bodies`), and for blobs where it honours create-only puts.
/// * `memory:` — every store; gone when the process ends.
///
/// ```
/// use beep_storage::StorageConfig;
/// let config = StorageConfig::embedded("/srv/beep");
/// assert_eq!(config.bites, "heed:/srv/beep/bites");
/// assert_eq!(config.directory, "sqlite:/srv/beep/beep.db");
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageConfig {
    /// Bites, what belongs to them, the log and the workers' cursors.
    pub bites: String,
    /// Users, conversations, members, contacts.
    pub directory: String,
    /// Full text of the transcripts.
    pub search: String,
    /// Pictures.
    pub blobs: String,
    /// Codes, limits, presence.
    pub ephemeral: String,
    /// Where `postgres:` puts bytes that are too many for a row; empty means into its rows.
    #[serde(default)]
    pub bodies: String,
}

impl StorageConfig {
    /// Everything in one folder on this machine.
    pub fn embedded(data_dir: impl AsRef<Path>) -> Self {
        let dir = data_dir.as_ref();
        let bites = format!("heed:{}", dir.join("bites").display());
        Self {
            directory: format!("sqlite:{}", dir.join("beep.db").display()),
            search: format!("sqlite:{}", dir.join("search.db").display()),
            blobs: bites.clone(),
            ephemeral: bites.clone(),
            bites,
            bodies: String::new(),
        }
    }

    /// Everything in memory, gone when the process ends: for tests and trials.
    pub fn memory() -> Self {
        let memory = || "memory:".to_owned();
        Self {
            bites: memory(),
            directory: memory(),
            search: memory(),
            blobs: memory(),
            ephemeral: memory(),
            bodies: String::new(),
        }
    }
}

impl fmt::Debug for StorageConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageConfig")
            .field("bites", &redacted(&self.bites))
            .field("directory", &redacted(&self.directory))
            .field("search", &redacted(&self.search))
            .field("blobs", &redacted(&self.blobs))
            .field("ephemeral", &redacted(&self.ephemeral))
            .field("bodies", &redacted(&self.bodies))
            .finish()
    }
}

/// The URL without user name, password and what is asked of the place (a password may stand there as well), fit for logs
/// and errors.
pub(crate) fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once(':') else { return url.to_owned() };
    // A folder or file of this machine has no secrets in its name.
    if matches!(scheme, "heed" | "sqlite" | "memory") {
        return url.to_owned();
    }
    let slashes = if rest.starts_with("//") { "//" } else { "" };
    let rest = &rest[slashes.len()..];
    // A password may hold any sign, so what is told begins behind the last `@`, if that is not one of a password behind
    // a `?`.
    let (hidden, place) = match rest.rsplit_once('@') {
        Some((hidden, _)) if hidden.contains('?') => return format!("{scheme}:{slashes}…"),
        Some((_, place)) => ("…@", place),
        None => ("", rest),
    };
    let (place, asked) = place.split_once('?').map_or((place, ""), |(place, _)| (place, "?…"));
    format!("{scheme}:{slashes}{hidden}{place}{asked}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_password() {
        let mut config = StorageConfig::memory();
        config.directory = "postgres://beep:hunter2@db:5432/beep".into();
        config.ephemeral = "redis://:hunt@er2@cache".into();
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("er2"), "{shown}");
        assert!(shown.contains("db:5432/beep"), "{shown}");
        for (url, shown) in [
            ("postgres://db/beep?password=hunter2&user=x", "postgres://db/beep?…"),
            ("postgres://beep:a/b@db/beep?password=hun@ter2", "postgres://…"),
            ("mysql:beep:hunter2@db", "mysql:…@db"),
            ("heed:/srv/me@home?max_bytes=1", "heed:/srv/me@home?max_bytes=1"),
        ] {
            assert_eq!(redacted(url), shown);
        }
    }
}
