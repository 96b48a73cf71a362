//! [`BlobStore`] in LMDB. Durable, and shared with other processes that open the same folder.

use super::codec::{self, Header};
use super::env::{Dbs, HeedEnv};
use super::fault::{Abort, error};
use super::write::Write;
use async_trait::async_trait;
use beep_core::bite::Digest;
use beep_core::id::UserId;
use beep_core::store::{Blob, BlobStore, Capability, NewBlob};
use beep_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use heed::RoTxn;

/// The largest blob that is read on the caller's own thread.
const READ_HERE: usize = 256 << 10;

/// Pictures and other small files in LMDB.
#[derive(Clone, Debug)]
pub struct HeedBlobs {
    env: HeedEnv,
}

impl HeedBlobs {
    /// The blobs of this environment.
    pub fn new(env: &HeedEnv) -> Self {
        Self { env: env.clone() }
    }
}

#[async_trait]
impl BlobStore for HeedBlobs {
    fn capability(&self) -> Capability {
        Capability::new(true, true)
    }

    async fn put(&self, blob: NewBlob) -> Result<bool> {
        checked(&blob.name)?;
        let (digest, sum) = (Digest::of(&blob.body), codec::sum(&blob.body));
        self.env.writer().run(blob.body.len() + 512, move |write| put(write, &blob, digest, sum)).await
    }

    async fn get(&self, name: &str) -> Result<Option<Blob>> {
        let name = checked(name)?.to_owned();
        let small =
            self.env.read(|dbs, txn| match dbs.blobs.get(txn, name.as_bytes()).map_err(error)? {
                Some(value) if value.len() > READ_HERE => Ok(None),
                value => value.map(|value| read(name.as_bytes(), value)).transpose().map(Some),
            })?;
        match small {
            Some(blob) => Ok(blob),
            None => {
                let read = move |dbs: &Dbs, txn: &RoTxn<'_>| {
                    let value = dbs.blobs.get(txn, name.as_bytes()).map_err(error)?;
                    value.map(|value| read(name.as_bytes(), value)).transpose()
                };
                self.env.read_long(read).await
            }
        }
    }

    async fn delete(&self, name: &str) -> Result<bool> {
        let name = checked(name)?.to_owned();
        self.env.writer().run(0, move |write| delete(write, &name)).await
    }

    async fn owned_by(&self, owner: &UserId) -> Result<Vec<String>> {
        let prefix = owned(owner.as_str(), "");
        self.env.read(|dbs, txn| {
            let mut names = Vec::new();
            for row in dbs.owners.prefix_iter(txn, &prefix).map_err(error)? {
                let (key, _) = row.map_err(error)?;
                let name =
                    String::from_utf8(key[prefix.len()..].to_vec()).map_err(|_| codec::damaged(key))?;
                if names.last().is_some_and(|last| *last >= name) {
                    return Err(codec::damaged(key)); // a damaged page can lead in circles
                }
                names.push(name);
            }
            Ok(names)
        })
    }
}

fn checked(name: &str) -> Result<&str> {
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if (1..=128).contains(&name.len()) && name.bytes().all(valid) {
        return Ok(name);
    }
    Err(Error::new(ErrorKind::Malformed, "a name must be 1 to 128 letters, digits, `-`, `_` and `.`"))
}

/// The key in the index of owners. No id of a user contains the zero.
fn owned(owner: &str, name: &str) -> Vec<u8> {
    [owner.as_bytes(), b"\0", name.as_bytes()].concat()
}

fn read(name: &[u8], value: &[u8]) -> Result<Blob> {
    let (header, body) = codec::whole(name, value)?;
    Ok(Blob {
        owner: UserId::parse(header.user)?,
        media_type: header.media_type.to_owned(),
        received: header.received,
        body: Bytes::copy_from_slice(body),
    })
}

fn put(write: &mut Write<'_>, blob: &NewBlob, digest: Digest, sum: [u8; 8]) -> Result<bool, Abort> {
    let header = Header {
        user: blob.owner.as_str(),
        device: "",
        media_type: &blob.media_type,
        duration_ms: None,
        bytes: blob.body.len() as u64,
        sha256: digest.0,
        sum,
        received: blob.received,
    };
    let (dbs, name) = (write.dbs, blob.name.as_bytes());
    if write.put_new(dbs.blobs, name, &header.encode(name)?, &blob.body)? {
        write.put(dbs.owners, &owned(blob.owner.as_str(), &blob.name), b"")?;
        return Ok(true);
    }
    let value = dbs.blobs.get(&write.txn, name)?.ok_or_else(|| codec::damaged(name))?;
    if codec::record(name, value)?.0.sha256 == digest.0 {
        return Ok(false);
    }
    Err(Error::new(ErrorKind::Conflict, format!("another file is named {} already", blob.name)).into())
}

fn delete(write: &mut Write<'_>, name: &str) -> Result<bool, Abort> {
    let dbs = write.dbs;
    let Some(value) = dbs.blobs.get(&write.txn, name.as_bytes())? else { return Ok(false) };
    let index = owned(codec::record(name.as_bytes(), value)?.0.user, name);
    write.remove(dbs.owners, &index)?;
    Ok(write.remove(dbs.blobs, name.as_bytes())?)
}
