//! The folder of an embedded installation: what lies where in it, for the server, the command line and embedders alike.

use crate::StorageConfig;
use crate::keys;
use beep_core::Result;
use beep_core::auth::jwt::{Algorithm, Jwt, JwtConfig, SigningKey};
use beep_core::clock::{Clock, Entropy};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

    /// Its stores, but for those (`bites`, `directory`, `search`, `blobs`, `ephemeral`) that `elsewhere` knows a URL of.
    pub fn storage_but(&self, elsewhere: impl Fn(&str) -> Option<String>) -> StorageConfig {
        let mut storage = self.storage();
        for (name, url) in [
            ("bites", &mut storage.bites),
            ("directory", &mut storage.directory),
            ("search", &mut storage.search),
            ("blobs", &mut storage.blobs),
            ("ephemeral", &mut storage.ephemeral),
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

    /// Who makes and checks tokens here. Makes the key pair at the first call (RS256, readable by its owner only).
    pub fn jwt(&self, config: JwtConfig, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Result<Jwt> {
        let pems =
            keys::load_or_create(&self.0, || Ok(SigningKey::generate(Algorithm::default())?.to_pem()))?;
        let keys = pems.iter().map(|pem| SigningKey::from_pem(pem)).collect::<Result<Vec<_>>>()?;
        Jwt::new(keys, config, clock, entropy)
    }
}
