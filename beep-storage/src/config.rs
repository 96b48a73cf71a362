//! Which backend holds what: one URL per store.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// Where each store lives.
///
/// * `heed:<folder>` — LMDB, for bites, blobs and short-lived values; they may share a folder. `?max_bytes=<n>` sets
///   the most that its file may have.
/// * `sqlite:<file>` — SQLite, for the directory and the search index.
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
        }
    }

    /// Everything in memory, gone when the process ends: for tests and trials.
    pub fn memory() -> Self {
        let memory = || "memory:".to_owned();
        Self { bites: memory(), directory: memory(), search: memory(), blobs: memory(), ephemeral: memory() }
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
            .finish()
    }
}

/// The URL without user name and password, fit for logs and errors.
pub(crate) fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    match rest.rsplit_once('@') {
        Some((_, place)) => format!("{scheme}://…@{place}"),
        None => url.to_owned(),
    }
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
    }
}
