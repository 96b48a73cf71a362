//! One place for objects, and [`Bodies`] in it.

use super::folder::Folder;
use super::s3::S3;
use crate::Bodies;
use async_trait::async_trait;
use beep_core::clock::Millis;
use beep_core::id::UserId;
use beep_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use std::fmt;
use std::time::Duration;

/// How long a call may take, whatever the store does meanwhile.
const PATIENCE: Duration = Duration::from_secs(9);

/// An object store. Cheap to clone; all clones share the connections.
///
/// * What was put survives what the store promises: S3 what its operator says, a folder `kill -9` and power loss.
/// * A call answers within ten seconds. [`ErrorKind::Unavailable`] when the store does not, or
///   refuses the credentials, [`ErrorKind::Full`] when it has no room; nothing was stored then, or at most an
///   orphan that nothing names.
/// * A folder may be shared by processes of one machine. Its file system has to tell upper from lower case.
#[derive(Clone)]
pub struct Objects {
    place: Place,
}

#[derive(Clone)]
pub(super) enum Place {
    S3(S3),
    Folder(Folder),
}

/// What lies beside each other, under names of its own.
#[derive(Clone, Copy)]
pub(super) enum Shelf<'a> {
    /// [`Bodies`].
    Bodies,
    /// Pictures with what is known about them.
    Blobs,
    /// Which pictures this user owns.
    Owner(&'a UserId),
    /// What was written to see what the store does.
    Probes,
}

impl Shelf<'_> {
    /// Where it stands.
    pub(super) fn path(self) -> String {
        match self {
            Self::Bodies => "bodies".into(),
            Self::Blobs => "blobs".into(),
            Self::Owner(user) => format!("owners/{user}"),
            Self::Probes => "probes".into(),
        }
    }
}

/// What a put does where something is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Leaves it.
    Create,
    /// Replaces it: for names that nobody else uses.
    Replace,
}

impl Objects {
    pub(super) fn new(place: Place) -> Self {
        Self { place }
    }

    /// Whether other machines reach the same objects.
    pub(super) fn networked(&self) -> bool {
        matches!(self.place, Place::S3(_))
    }

    /// Stores an object; false when there is one and the mode leaves it.
    pub(super) async fn store(&self, shelf: Shelf<'_>, name: &str, bytes: Bytes, mode: Mode) -> Result<bool> {
        bounded(async {
            match &self.place {
                Place::S3(s3) => s3.put(shelf, name, bytes, mode).await,
                Place::Folder(folder) => folder.put(shelf, name, bytes, mode).await,
            }
        })
        .await
    }

    /// An object, or its first bytes, at most `first` of them.
    pub(super) async fn load(
        &self,
        shelf: Shelf<'_>,
        name: &str,
        first: Option<u64>,
    ) -> Result<Option<Bytes>> {
        bounded(async {
            match &self.place {
                Place::S3(s3) => s3.get(shelf, name, first).await,
                Place::Folder(folder) => folder.get(shelf, name, first).await,
            }
        })
        .await
    }

    /// Deletes an object; nothing happens where there is none.
    pub(super) async fn remove(&self, shelf: Shelf<'_>, name: &str) -> Result<()> {
        bounded(async {
            match &self.place {
                Place::S3(s3) => s3.delete(shelf, name).await,
                Place::Folder(folder) => folder.delete(shelf, name).await,
            }
        })
        .await
    }

    /// The names behind `after` on a shelf in byte order, at most `limit`, each with when it was written.
    pub(super) async fn list(
        &self,
        shelf: Shelf<'_>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Millis)>> {
        bounded(async {
            match &self.place {
                Place::S3(s3) => s3.list(shelf, after, limit).await,
                Place::Folder(folder) => folder.list(shelf, after, limit).await,
            }
        })
        .await
    }
}

/// The place without anything that opens it.
impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::S3(s3) => write!(f, "Objects({})", s3.name()),
            Place::Folder(folder) => write!(f, "Objects({})", folder.name()),
        }
    }
}

/// Names are 1 to 200 letters, digits, `-`, `_` and `.`, and do not begin with a dot.
#[async_trait]
impl Bodies for Objects {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        // Names are used once, so what is there is an earlier try of the same put.
        self.store(Shelf::Bodies, checked(name)?, bytes, Mode::Replace).await?;
        Ok(())
    }

    async fn get(&self, name: &str) -> Result<Option<Bytes>> {
        self.load(Shelf::Bodies, checked(name)?, None).await
    }

    async fn delete(&self, name: &str) -> Result<()> {
        self.remove(Shelf::Bodies, listed(name)?).await
    }

    /// In a folder also what a crash left half-written, under a name with a `~`, so that a sweep takes it away.
    async fn names(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, Millis)>> {
        self.list(Shelf::Bodies, after.map(listed).transpose()?, limit).await
    }

    async fn ready(&self) -> Result<()> {
        bounded(async {
            match &self.place {
                Place::S3(s3) => s3.list(Shelf::Probes, None, 1).await.map(drop),
                Place::Folder(folder) => folder.ready().await,
            }
        })
        .await
    }
}

async fn bounded<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(PATIENCE, call).await.unwrap_or_else(|_| {
        let sentence = "the object store did not answer in time; try again";
        Err(Error::new(ErrorKind::Unavailable, sentence))
    })
}

fn checked(name: &str) -> Result<&str> {
    if name.contains('~') { Err(malformed()) } else { listed(name) }
}

/// A name that [`Bodies::names`] may have answered.
fn listed(name: &str) -> Result<&str> {
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    if (1..=200).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(valid) {
        return Ok(name);
    }
    Err(malformed())
}

fn malformed() -> Error {
    let sentence =
        "a body's name must be 1 to 200 letters, digits, `-`, `_` and `.`, and not begin with a dot";
    Error::new(ErrorKind::Malformed, sentence)
}
