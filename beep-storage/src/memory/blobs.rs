//! [`BlobStore`] in memory.

use async_trait::async_trait;
use beep_core::id::UserId;
use beep_core::store::{Blob, BlobStore, Capability, NewBlob};
use beep_core::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Pictures and other small files in memory. Not durable.
#[derive(Debug, Default)]
pub struct MemoryBlobs {
    files: Mutex<BTreeMap<String, Blob>>,
}

impl MemoryBlobs {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Blob>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl BlobStore for MemoryBlobs {
    fn capability(&self) -> Capability {
        Capability::new(false, false)
    }

    async fn put(&self, blob: NewBlob) -> Result<bool> {
        checked(&blob.name)?;
        let NewBlob { name, owner, media_type, received, body } = blob;
        let mut files = self.files();
        match files.get(&name) {
            None => {
                files.insert(name, Blob { owner, media_type, received, body });
                Ok(true)
            }
            Some(there) if there.body == body => Ok(false),
            Some(_) => Err(Error::new(ErrorKind::Conflict, format!("another file is named {name} already"))),
        }
    }

    async fn get(&self, name: &str) -> Result<Option<Blob>> {
        Ok(self.files().get(checked(name)?).cloned())
    }

    async fn delete(&self, name: &str) -> Result<bool> {
        Ok(self.files().remove(checked(name)?).is_some())
    }

    async fn owned_by(&self, owner: &UserId) -> Result<Vec<String>> {
        Ok(self
            .files()
            .iter()
            .filter(|(_, blob)| blob.owner == *owner)
            .map(|(name, _)| name.clone())
            .collect())
    }
}

fn checked(name: &str) -> Result<&str> {
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if (1..=128).contains(&name.len()) && name.bytes().all(valid) {
        return Ok(name);
    }
    Err(Error::new(ErrorKind::Malformed, "a name must be 1 to 128 letters, digits, `-`, `_` and `.`"))
}
