//! What names an installation: a data folder, a file with a `[store]` table, or the URL of one database for everything.

use crate::failure::{Failure, Result};
use beep_core::bite::Digest;
use beep_core::clock::System;
use beep_core::store::Stores;
use beep_storage::{DataDir, StorageConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::{Table, Value};

/// One side of a move.
pub struct Place {
    /// Where its stores are. Short-lived values do not move, so theirs are not opened.
    storage: StorageConfig,
    /// Its data folder, where one is known: token keys are files of it.
    pub data: Option<PathBuf>,
    /// As it was said, without a password.
    shown: String,
}

impl Place {
    /// Reads what was said after `--from` or `--to`.
    pub fn parse(text: &str) -> Result<Self> {
        let (mut storage, data) = if text.contains("://") {
            let url = || text.to_owned();
            let storage = StorageConfig {
                bites: url(),
                directory: url(),
                search: url(),
                blobs: url(),
                ephemeral: url(),
                bodies: String::new(),
            };
            (storage, None)
        } else if text.ends_with(".toml") {
            from_file(Path::new(text))?
        } else {
            (DataDir::new(text).storage(), Some(PathBuf::from(text)))
        };
        storage.ephemeral = "memory:".into();
        Ok(Self { storage, data, shown: without_password(text) })
    }

    /// Whether there is a data folder to move from; a URL answers when it is opened.
    pub fn must_exist(&self) -> Result<()> {
        match &self.data {
            Some(dir) if !dir.is_dir() => {
                Err(Failure::not_found(format!("there is no data directory {}", dir.display())))
            }
            _ => Ok(()),
        }
    }

    /// Opens the stores, also beside a running server.
    pub async fn open(&self) -> Result<Stores> {
        let opened = beep_storage::open(&self.storage, Arc::new(System)).await;
        opened.map_err(|e| Failure::from(e).about(&self.shown))
    }

    /// The same for the same stores, however their place is written.
    pub fn fingerprint(&self) -> String {
        let urls = [&self.storage.bites, &self.storage.directory].map(|url| match url.split_once(':') {
            Some((scheme, path)) if !path.starts_with("//") => {
                let full = std::fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path));
                format!("{scheme}:{}", full.display())
            }
            _ => without_password(url),
        });
        Digest::of(urls.join("\n").as_bytes()).to_string()[..16].to_owned()
    }
}

/// A file as the server's: `data_dir`, and in `[store]` what lies elsewhere.
fn from_file(path: &Path) -> Result<(StorageConfig, Option<PathBuf>)> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::io("read", path, &e))?;
    let wrong = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    let file: Table = text.parse().map_err(|e: toml::de::Error| wrong(e.message().to_owned()))?;
    let store = match file.get("store") {
        None => None,
        Some(Value::Table(store)) => Some(store),
        Some(_) => return Err(wrong("`store` must be a table".into())),
    };
    let word = |table: Option<&Table>, name: &str| match table.and_then(|t| t.get(name)) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|t| !t.is_empty())),
        Some(_) => Err(wrong(format!("`{name}` must be a text"))),
    };
    let data = word(Some(&file), "data_dir")?.map(PathBuf::from);
    let mut storage = DataDir::new(data.clone().unwrap_or_default()).storage();
    for (name, url) in [
        ("bites", &mut storage.bites),
        ("directory", &mut storage.directory),
        ("search", &mut storage.search),
        ("blobs", &mut storage.blobs),
    ] {
        match word(store, name)? {
            Some(given) => *url = given,
            None if data.is_some() => {}
            None => return Err(wrong(format!("it says neither `{name}` in `[store]` nor `data_dir`"))),
        }
    }
    Ok((storage, data))
}

/// A URL that may be shown and compared: user name and password are not part of where a store is.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    rest.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, place)| format!("{scheme}://{place}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_names_every_store_and_shows_no_password() {
        let place = Place::parse("postgres://beep:hunter2@db:5432/beep").unwrap();
        assert_eq!(place.storage.search, "postgres://beep:hunter2@db:5432/beep");
        assert_eq!(place.shown, "postgres://db:5432/beep");
        let same = Place::parse("postgres://other:word@db:5432/beep").unwrap();
        assert_eq!(place.fingerprint(), same.fingerprint());
        assert_ne!(place.fingerprint(), Place::parse("postgres://db:5432/other").unwrap().fingerprint());
    }

    #[test]
    fn a_file_must_name_every_store() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("beep.toml");
        let parse = |text: &str| {
            std::fs::write(&file, text).unwrap();
            Place::parse(file.to_str().unwrap())
        };
        let place =
            parse("data_dir = '/srv/beep'\n[store]\nbites = 'heed:/fast/bites'\n[http]\nmax_body = 5\n")
                .unwrap();
        assert_eq!(place.storage.bites, "heed:/fast/bites");
        assert_eq!(place.storage.directory, "sqlite:/srv/beep/beep.db");
        assert_eq!(place.data.unwrap(), Path::new("/srv/beep"));
        for wrong in ["[store]\nbites = 'heed:/x'", "store = 1", "data_dir = 5", "not toml"] {
            assert_eq!(parse(wrong).err().unwrap().exit_code(), 2, "{wrong}");
        }
    }
}
