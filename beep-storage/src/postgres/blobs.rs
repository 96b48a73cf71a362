//! [`BlobStore`] in Postgres: the row is the file, large bytes lie beside it.

use super::error::storage;
use super::pool::Postgres;
use crate::Bodies;
use async_trait::async_trait;
use beep_core::bite::Digest;
use beep_core::clock::{Entropy, Millis, System};
use beep_core::id::UserId;
use beep_core::store::{Blob, BlobStore, Capability, NewBlob};
use beep_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use std::sync::Arc;

/// The largest file whose bytes stand in its row when there is another place for them.
const INLINE: usize = 64 << 10;
/// How often a call begins anew because the file was deleted or put between two of its steps.
const TRIES: u32 = 8;

/// Pictures and other small files in Postgres.
#[derive(Clone, Debug)]
pub struct PostgresBlobs {
    db: Postgres,
    bodies: Option<Arc<dyn Bodies>>,
}

/// Columns of a row: owner, media type, received, SHA-256, bytes in the row, name of the body.
type Row = (String, String, i64, Vec<u8>, Option<Vec<u8>>, Option<String>);

impl PostgresBlobs {
    /// The files of this database; the bytes of large ones in `bodies`, if there are such. What lies there must stay
    /// reachable for as long as rows name it.
    pub fn new(db: &Postgres, bodies: Option<Arc<dyn Bodies>>) -> Self {
        Self { db: db.clone(), bodies }
    }

    /// Whether the row is new; none when there is one and it is gone already.
    async fn insert(
        &self,
        blob: &NewBlob,
        digest: Digest,
        content: Option<&[u8]>,
        body: Option<&str>,
    ) -> Result<Option<bool>> {
        let done = sqlx::query(
            "INSERT INTO blobs (name, owner, media_type, received, bytes, sha256, content, object)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (name) DO NOTHING",
        )
        .bind(&blob.name)
        .bind(blob.owner.as_str())
        .bind(&blob.media_type)
        .bind(blob.received as i64)
        .bind(blob.body.len() as i64)
        .bind(&digest.0[..])
        .bind(content)
        .bind(body)
        .execute(self.db.pool())
        .await
        .map_err(storage)?;
        if done.rows_affected() == 1 { Ok(Some(true)) } else { self.same(&blob.name, digest).await }
    }

    /// Whether the file of this name has these bytes: `false` as the answer of a put, [`ErrorKind::Conflict`] when it
    /// has others.
    async fn same(&self, name: &str, digest: Digest) -> Result<Option<bool>> {
        let there: Option<Vec<u8>> = sqlx::query_scalar("SELECT sha256 FROM blobs WHERE name = $1")
            .bind(name)
            .fetch_optional(self.db.pool())
            .await
            .map_err(storage)?;
        match there {
            Some(there) if there == digest.0 => Ok(Some(false)),
            Some(_) => Err(Error::new(ErrorKind::Conflict, format!("another file is named {name} already"))),
            None => Ok(None),
        }
    }

    /// Stores the bytes beside, then the row. What a failure leaves between is swept.
    async fn put_beside(&self, bodies: &dyn Bodies, blob: &NewBlob, digest: Digest) -> Result<Option<bool>> {
        if let Some(known) = self.same(&blob.name, digest).await? {
            return Ok(Some(known));
        }
        let body = unique(blob.received)?;
        bodies.put(&body, blob.body.clone()).await?;
        let done = self.insert(blob, digest, None, Some(&body)).await;
        // Any other error may hide that the row was committed.
        let unused = match &done {
            Ok(done) => *done != Some(true),
            Err(e) => e.kind() == ErrorKind::Conflict,
        };
        if unused {
            discard(bodies, &body).await;
        }
        done
    }

    async fn bytes(&self, name: &str, content: Option<Vec<u8>>, body: Option<&str>) -> Result<Option<Bytes>> {
        match (content, body, &self.bodies) {
            (Some(content), ..) => Ok(Some(content.into())),
            (None, Some(body), Some(bodies)) => bodies.get(body).await,
            _ => {
                let sentence = format!(
                    "the bytes of {name} lie in another store: open this one with the same `bodies` as they were put"
                );
                Err(Error::new(ErrorKind::Unavailable, sentence).permanent())
            }
        }
    }
}

#[async_trait]
impl BlobStore for PostgresBlobs {
    fn capability(&self) -> Capability {
        Capability::networked(true)
    }

    async fn put(&self, blob: NewBlob) -> Result<bool> {
        checked(&blob.name)?;
        let digest = Digest::of(&blob.body);
        for _ in 0..TRIES {
            let done = match &self.bodies {
                Some(bodies) if blob.body.len() > INLINE => {
                    self.put_beside(bodies.as_ref(), &blob, digest).await?
                }
                _ => self.insert(&blob, digest, Some(&blob.body), None).await?,
            };
            if let Some(new) = done {
                return Ok(new);
            }
        }
        Err(restless())
    }

    async fn get(&self, name: &str) -> Result<Option<Blob>> {
        checked(name)?;
        let mut missing = None;
        for _ in 0..TRIES {
            let row: Option<Row> = sqlx::query_as(
                "SELECT owner, media_type, received, sha256, content, object FROM blobs WHERE name = $1",
            )
            .bind(name)
            .fetch_optional(self.db.pool())
            .await
            .map_err(storage)?;
            let Some((owner, media_type, received, sha256, content, body)) = row else { return Ok(None) };
            let Some(bytes) = self.bytes(name, content, body.as_deref()).await? else {
                // Deleted since the row was read, or a hole: then the row is still there.
                if missing == body {
                    return Err(damaged(name));
                }
                missing = body;
                continue;
            };
            if Digest::of(&bytes).0[..] != sha256[..] {
                return Err(damaged(name));
            }
            let owner = UserId::parse(&owner).map_err(|_| damaged(name))?;
            return Ok(Some(Blob { owner, media_type, received: received as Millis, body: bytes }));
        }
        Err(restless())
    }

    async fn delete(&self, name: &str) -> Result<bool> {
        let gone: Option<Option<String>> =
            sqlx::query_scalar("DELETE FROM blobs WHERE name = $1 RETURNING object")
                .bind(checked(name)?)
                .fetch_optional(self.db.pool())
                .await
                .map_err(storage)?;
        if let (Some(Some(body)), Some(bodies)) = (&gone, &self.bodies) {
            discard(bodies.as_ref(), body).await;
        }
        Ok(gone.is_some())
    }

    async fn owned_by(&self, owner: &UserId) -> Result<Vec<String>> {
        sqlx::query_scalar("SELECT name FROM blobs WHERE owner = $1 ORDER BY name")
            .bind(owner.as_str())
            .fetch_all(self.db.pool())
            .await
            .map_err(storage)
    }
}

/// Deletes bytes that no row names. Where that fails they are an orphan, which the sweep takes away.
async fn discard(bodies: &dyn Bodies, body: &str) {
    if let Err(error) = bodies.delete(body).await {
        tracing::warn!(body, %error, "a body that nothing names stays until it is swept");
    }
}

fn checked(name: &str) -> Result<&str> {
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if (1..=128).contains(&name.len()) && name.bytes().all(valid) {
        return Ok(name);
    }
    Err(Error::new(ErrorKind::Malformed, "a name must be 1 to 128 letters, digits, `-`, `_` and `.`"))
}

/// A name that nobody used: the time, so that neighbours lie together, and 80 random bits.
fn unique(at: Millis) -> Result<String> {
    let mut random = [0; 10];
    System.fill(&mut random)?;
    Ok(random.iter().fold(format!("{at:012x}"), |name, byte| format!("{name}{byte:02x}")))
}

fn damaged(name: &str) -> Error {
    let sentence = format!("the file {name} is not what was stored; restore it from a backup");
    Error::new(ErrorKind::Corrupt, sentence)
}

fn restless() -> Error {
    let sentence = "others put and delete a file of this name all the time; try again";
    Error::new(ErrorKind::Unavailable, sentence)
}
