//! Pictures and other small files by name.

use super::Capability;
use crate::Result;
use crate::clock::Millis;
use crate::id::UserId;
use async_trait::async_trait;
use bytes::Bytes;

/// A file to be stored.
#[derive(Clone, Debug)]
pub struct NewBlob {
    /// Its name: 1 to 128 letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Who owns it.
    pub owner: UserId,
    /// Its media type.
    pub media_type: String,
    /// When it was received.
    pub received: Millis,
    /// Its bytes.
    pub body: Bytes,
}

/// A stored file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Who owns it.
    pub owner: UserId,
    /// Its media type.
    pub media_type: String,
    /// When it was received.
    pub received: Millis,
    /// Its bytes.
    pub body: Bytes,
}

/// Named files.
///
/// * `put` is create-only: the same bytes again answer `false`, other bytes under a taken name are
///   [`crate::ErrorKind::Conflict`].
/// * A name that is none is [`crate::ErrorKind::Malformed`].
/// * `Ok` means durable where [`Capability::durable`] says so; a full disk is [`crate::ErrorKind::Full`].
/// * Bytes that differ from what was stored are never returned ([`crate::ErrorKind::Corrupt`] instead).
#[async_trait]
pub trait BlobStore: Send + Sync + std::fmt::Debug {
    /// What this backend can do.
    fn capability(&self) -> Capability;
    /// Stores a file; whether it is new.
    async fn put(&self, blob: NewBlob) -> Result<bool>;
    /// The file of this name.
    async fn get(&self, name: &str) -> Result<Option<Blob>>;
    /// Deletes it; whether it was there.
    async fn delete(&self, name: &str) -> Result<bool>;
    /// The names that belong to this user, in order.
    async fn owned_by(&self, owner: &UserId) -> Result<Vec<String>>;
}
