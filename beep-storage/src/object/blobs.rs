//! [`BlobStore`] on an object store alone, for stores that refuse to overwrite.
//!
//! A picture is one object, in front of its bytes a line with what is known about it, and before that one with the
//! SHA-256 of all the rest. An empty object in a folder of its owner says that it may be there: written before, removed
//! after it, and named by this put alone, so that no crash and no race leaves a picture that its owner does not list.

use super::objects::{Mode, Objects, Shelf};
use async_trait::async_trait;
use beep_core::bite::Digest;
use beep_core::clock::{Entropy, Millis, System};
use beep_core::id::UserId;
use beep_core::store::{Blob, BlobStore, Capability, NewBlob};
use beep_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Enough of an object to hold its two lines.
const LINES: u64 = 4_096;
/// How many entries of an owner are asked for at once.
const PAGE: usize = 1_000;
/// How often a put begins anew because what stood in its way was deleted.
const TRIES: u32 = 8;

/// Pictures and other small files in an object store.
///
/// Of two that delete the same picture at once, both may hear that it was there.
#[derive(Clone, Debug)]
pub struct ObjectBlobs {
    objects: Objects,
}

/// What is known about a picture.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    owner: UserId,
    media_type: String,
    received: Millis,
    /// Which put this is.
    id: String,
}

impl ObjectBlobs {
    /// The pictures in this store, after a trial whether it keeps names unique.
    ///
    /// [`ErrorKind::Unsupported`] when it overwrites what is there; other errors as of every call.
    pub async fn open(objects: Objects) -> Result<Self> {
        let name = unique()?;
        let mut created = [false; 2];
        for (n, created) in created.iter_mut().enumerate() {
            let bytes = Bytes::from(n.to_string());
            *created = objects.store(Shelf::Probes, &name, bytes, Mode::Create).await?;
        }
        objects.remove(Shelf::Probes, &name).await?;
        if created != [true, false] {
            let sentence = "this object store overwrites what is there (it ignores `If-None-Match`), so it cannot \
                            keep the names of pictures unique: keep them in `postgres:` instead, which may use it for \
                            their bytes";
            return Err(Error::new(ErrorKind::Unsupported, sentence).with("store", format!("{objects:?}")));
        }
        Ok(Self { objects })
    }

    async fn load(&self, name: &str) -> Result<Option<(Header, Bytes)>> {
        let found = self.objects.load(Shelf::Blobs, &key(name), None).await?;
        found.map(|object| opened(name, &object)).transpose()
    }

    async fn header(&self, name: &str) -> Result<Option<Header>> {
        let Some(start) = self.objects.load(Shelf::Blobs, &key(name), Some(LINES)).await? else {
            return Ok(None);
        };
        let found = lines(&start).and_then(|(_, header, _)| serde_json::from_slice(header).ok());
        found.map(Some).ok_or_else(|| damaged(name))
    }
}

#[async_trait]
impl BlobStore for ObjectBlobs {
    fn capability(&self) -> Capability {
        if self.objects.networked() { Capability::networked(true) } else { Capability::new(true, true) }
    }

    async fn put(&self, blob: NewBlob) -> Result<bool> {
        let NewBlob { name, owner, media_type, received, body } = blob;
        checked(&name)?;
        let header = Header { owner, media_type, received, id: unique()? };
        let object = sealed(&header, &body)?;
        let entry = entry(&name, &header.id);
        self.objects.store(Shelf::Owner(&header.owner), &entry, Bytes::new(), Mode::Replace).await?;
        for _ in 0..TRIES {
            if self.objects.store(Shelf::Blobs, &key(&name), object.clone(), Mode::Create).await? {
                return Ok(true);
            }
            let Some((there, bytes)) = self.load(&name).await? else { continue };
            if there.id == header.id {
                return Ok(true); // an answer was lost on the way, and the request was sent again
            }
            self.objects.remove(Shelf::Owner(&header.owner), &entry).await?;
            if bytes == body {
                return Ok(false);
            }
            let sentence = format!("another file is named {name} already");
            return Err(Error::new(ErrorKind::Conflict, sentence));
        }
        let sentence = "others put and delete a file of this name all the time; try again";
        Err(Error::new(ErrorKind::Unavailable, sentence))
    }

    async fn get(&self, name: &str) -> Result<Option<Blob>> {
        let found = self.load(checked(name)?).await?;
        Ok(found.map(|(header, body)| Blob {
            owner: header.owner,
            media_type: header.media_type,
            received: header.received,
            body,
        }))
    }

    async fn delete(&self, name: &str) -> Result<bool> {
        let Some(header) = self.header(checked(name)?).await? else { return Ok(false) };
        self.objects.remove(Shelf::Blobs, &key(name)).await?;
        self.objects.remove(Shelf::Owner(&header.owner), &entry(name, &header.id)).await?;
        Ok(true)
    }

    /// Looks at each file that may be the owner's: an entry alone is what a crash left.
    async fn owned_by(&self, owner: &UserId) -> Result<Vec<String>> {
        let mut names = BTreeSet::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.objects.list(Shelf::Owner(owner), after.as_deref(), PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(names.into_iter().collect()) };
            after = Some(last.clone());
            for (name, id) in page.iter().filter_map(|(entry, _)| named(entry)) {
                if self.header(name).await?.is_some_and(|header| header.id == id) {
                    names.insert(name.to_owned());
                }
            }
        }
    }
}

fn checked(name: &str) -> Result<&str> {
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if (1..=128).contains(&name.len()) && name.bytes().all(valid) {
        return Ok(name);
    }
    Err(Error::new(ErrorKind::Malformed, "a name must be 1 to 128 letters, digits, `-`, `_` and `.`"))
}

/// What a file is called in the store; `..` is a name, too.
fn key(name: &str) -> String {
    format!("n-{name}")
}

fn entry(name: &str, id: &str) -> String {
    format!("n-{name}-{id}")
}

/// Name and id of an entry.
fn named(entry: &str) -> Option<(&str, &str)> {
    let (name, id) = entry.strip_prefix("n-")?.rsplit_once('-')?;
    (id.len() == 32 && checked(name).is_ok()).then_some((name, id))
}

/// 32 hex digits that nobody used.
fn unique() -> Result<String> {
    let mut bytes = [0; 16];
    System.fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn sealed(header: &Header, body: &[u8]) -> Result<Bytes> {
    let mut rest = serde_json::to_vec(header).map_err(|e| Error::internal("writing a header", e))?;
    rest.push(b'\n');
    if rest.len() as u64 > LINES - 65 {
        return Err(Error::new(ErrorKind::Malformed, "the media type is too long"));
    }
    rest.extend_from_slice(body);
    let mut object = format!("{}\n", Digest::of(&rest)).into_bytes();
    object.append(&mut rest);
    Ok(object.into())
}

fn opened(name: &str, object: &Bytes) -> Result<(Header, Bytes)> {
    let (digest, header, at) = lines(object).ok_or_else(|| damaged(name))?;
    if Digest::of(&object[digest.len() + 1..]).to_string().as_bytes() != digest {
        return Err(damaged(name));
    }
    let header = serde_json::from_slice(header).map_err(|e| damaged(name).with_source(e))?;
    Ok((header, object.slice(at..)))
}

/// The two lines, and where the bytes begin.
fn lines(object: &[u8]) -> Option<(&[u8], &[u8], usize)> {
    let line = |from: usize| Some(from + object.get(from..)?.iter().position(|&b| b == b'\n')?);
    let first = line(0)?;
    let second = line(first + 1)?;
    Some((&object[..first], &object[first + 1..second], second + 1))
}

fn damaged(name: &str) -> Error {
    let sentence = format!("the file {name} is not what was stored; restore it from a backup");
    Error::new(ErrorKind::Corrupt, sentence)
}
