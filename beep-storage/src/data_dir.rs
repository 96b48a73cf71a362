//! The folder of an embedded installation: what lies where in it, for the server, the command line and embedders alike.

use crate::StorageConfig;
use crate::keys::{self, KeyFiles};
use beep_core::Result;
use beep_core::auth::jwt::{Algorithm, Jwt, JwtConfig, SigningKey};
use beep_core::clock::{Clock, Entropy};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// An installation in one folder: `bites/` (LMDB), `beep.db` and `search.db` (SQLite), `keys/`, `speech/`.
///
/// ```
/// let data = beep_storage::DataDir::new("/srv/beep");
/// assert_eq!(data.speech(), std::path::Path::new("/srv/beep/speech"));
/// ```
#[derive(Clone, Debug)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// The installation in this folder, there or yet to be made.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where an installation is when nobody says: `$XDG_DATA_HOME/beep`, else `~/.local/share/beep`, else
    /// `beep-data` here.
    pub fn default_location() -> Self {
        let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let share = set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share")));
        Self(share.map_or_else(|| PathBuf::from("beep-data"), |share| share.join("beep")))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Its stores.
    pub fn storage(&self) -> StorageConfig {
        StorageConfig::embedded(&self.0)
    }

    /// Its stores, but for those (`bites`, `directory`, `search`, `blobs`, `ephemeral`, `bodies`) that `elsewhere` knows a URL of.
    pub fn storage_but(&self, elsewhere: impl Fn(&str) -> Option<String>) -> StorageConfig {
        let mut storage = self.storage();
        for (name, url) in [
            ("bites", &mut storage.bites),
            ("directory", &mut storage.directory),
            ("search", &mut storage.search),
            ("blobs", &mut storage.blobs),
            ("ephemeral", &mut storage.ephemeral),
            ("bodies", &mut storage.bodies),
        ] {
            if let Some(given) = elsewhere(name).filter(|given| !given.is_empty()) {
                *url = given;
            }
        }
        storage
    }

    /// Where libvosk and speech models lie.
    pub fn speech(&self) -> PathBuf {
        self.0.join("speech")
    }

    /// Who makes and checks tokens here, with the keys of [`DataDir::keys`].
    pub fn jwt(&self, config: JwtConfig, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Result<Jwt> {
        Jwt::new(self.keys()?.into_iter().map(|(_, key)| key).collect(), config, clock, entropy)
    }

    /// The key pairs and their files, the one that signs first: the highest number. All of them verify. Makes one at the
    /// first call (RS256, readable by its owner only).
    pub fn keys(&self) -> Result<Vec<(PathBuf, SigningKey)>> {
        let pems =
            keys::load_or_create(&self.0, || Ok(SigningKey::generate(Algorithm::default())?.to_pem()))?;
        pems.iter().map(|pem| Ok((pem.file().to_owned(), SigningKey::from_pem(pem)?))).collect()
    }

    /// As [`DataDir::keys`], but makes none: empty where there is none.
    pub fn stored_keys(&self) -> Result<Vec<(PathBuf, SigningKey)>> {
        let pems = keys::load(&self.0)?;
        pems.iter().map(|pem| Ok((pem.file().to_owned(), SigningKey::from_pem(pem)?))).collect()
    }

    /// Makes a key pair of the same kind that signs from now on; the ones before it still verify. Servers that run here
    /// notice by [`DataDir::key_files`].
    pub fn rotate_key(&self) -> Result<(PathBuf, SigningKey)> {
        let made = keys::rotate(&self.0, |signing| {
            let algorithm = match signing {
                Some(pem) => SigningKey::from_pem(pem)?.algorithm(),
                None => Algorithm::default(),
            };
            Ok(SigningKey::generate(algorithm)?.to_pem())
        })?;
        Ok((made.file().to_owned(), SigningKey::from_pem(&made)?))
    }

    /// Removes the keys whose last token has ended; answers their files.
    pub fn prune_keys(&self, config: &JwtConfig, clock: &dyn Clock) -> Result<Vec<PathBuf>> {
        // Twice the leeway, as whoever signs may be behind whoever verifies, and a minute for servers to notice.
        let kept = config.lifetime.saturating_add(config.leeway * 2).saturating_add(Duration::from_secs(60));
        keys::prune(&self.0, kept, SystemTime::UNIX_EPOCH + Duration::from_millis(clock.now()))
    }

    /// The key files that are there now: when they differ, [`DataDir::keys`] does.
    pub fn key_files(&self) -> Result<KeyFiles> {
        keys::files(&self.0)
    }
}
