//! A store of your own: pictures as files in a folder. `cargo test -p beep-examples` runs Beep's suite on it.
//!
//! To be short it works on its files right in the async calls; a real one does so in `tokio::task::spawn_blocking`.

use async_trait::async_trait;
use beep_core::bite::Digest;
use beep_core::id::UserId;
use beep_core::store::{Blob, BlobStore, Capability, NewBlob};
use beep_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use std::fs;
use std::io::{ErrorKind as Io, Write};
use std::path::{Path, PathBuf};

/// One file per blob: a line with digest, owner, arrival and media type, then the bytes.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn path(&self, name: &str) -> Result<PathBuf> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if !(1..=128).contains(&name.len()) || !name.bytes().all(plain) {
            return Err(Error::new(
                ErrorKind::Malformed,
                "a name must be 1 to 128 letters, digits, `-`, `_` and `.`",
            ));
        }
        // The suffix keeps `.` and `..` from being folders.
        Ok(self.0.join(format!("{name}.blob")))
    }

    fn read(&self, path: &Path) -> Result<Option<Blob>> {
        let bytes = match fs::read(path) {
            Ok(bytes) => Bytes::from(bytes),
            Err(e) if e.kind() == Io::NotFound => return Ok(None),
            Err(e) => return Err(Error::internal("reading a file", e)),
        };
        let damaged = || Error::new(ErrorKind::Corrupt, "the file is damaged").with("path", path.display());
        let end = bytes.iter().position(|b| *b == b'\n').ok_or_else(damaged)?;
        let head = std::str::from_utf8(&bytes[..end]).map_err(|_| damaged())?;
        let [sum, owner, received, media_type] = head.splitn(4, ' ').collect::<Vec<_>>()[..] else {
            return Err(damaged());
        };
        let body = bytes.slice(end + 1..);
        if sum != digest(&head[sum.len()..], &body) {
            return Err(damaged());
        }
        let received = received.parse().map_err(|_| damaged())?;
        Ok(Some(Blob { owner: UserId::parse(owner)?, media_type: media_type.into(), received, body }))
    }

    /// All of it or nothing, and only where nothing is: the bytes are on disk before the name is.
    fn create(&self, path: &Path, blob: &NewBlob) -> std::io::Result<()> {
        let head = format!(" {} {} {}", blob.owner, blob.received, blob.media_type);
        let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
        writeln!(file, "{}{head}", digest(&head, &blob.body))?;
        file.write_all(&blob.body)?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path)?;
        fs::File::open(&self.0)?.sync_all()
    }
}

fn digest(head: &str, body: &[u8]) -> String {
    Digest::of(&[head.as_bytes(), body].concat()).to_string()
}

#[async_trait]
impl BlobStore for Folder {
    fn capability(&self) -> Capability {
        Capability::new(true, true)
    }

    async fn put(&self, blob: NewBlob) -> Result<bool> {
        let path = self.path(&blob.name)?;
        match self.create(&path, &blob) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == Io::AlreadyExists => match self.read(&path)? {
                Some(there) if there.body == blob.body && there.owner == blob.owner => Ok(false),
                _ => Err(Error::new(ErrorKind::Conflict, "another file has this name")),
            },
            Err(e) if e.kind() == Io::StorageFull => Err(Error::new(ErrorKind::Full, "the disk is full")),
            Err(e) => Err(Error::internal("writing a file", e)),
        }
    }

    async fn get(&self, name: &str) -> Result<Option<Blob>> {
        self.read(&self.path(name)?)
    }

    async fn delete(&self, name: &str) -> Result<bool> {
        match fs::remove_file(self.path(name)?) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == Io::NotFound => Ok(false),
            Err(e) => Err(Error::internal("deleting a file", e)),
        }
    }

    async fn owned_by(&self, owner: &UserId) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(|e| Error::internal("listing the folder", e))? {
            let path = entry.map_err(|e| Error::internal("listing the folder", e))?.path();
            let name = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix(".blob"));
            if let (Some(name), Some(blob)) = (name, self.read(&path)?)
                && blob.owner == *owner
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let dir = tempfile::tempdir().map_err(|e| Error::internal("making a folder", e))?;
    let store = Folder(dir.path().to_owned());
    let owner: UserId = "u-ada".parse()?;
    let picture = NewBlob {
        name: "ada.png".into(),
        owner: owner.clone(),
        media_type: "image/png".into(),
        received: 0,
        body: Bytes::from_static(b"\x89PNG"),
    };
    println!("new: {}", store.put(picture.clone()).await?);
    println!("again: {}", store.put(picture).await?);
    println!("Ada's: {:?}", store.owned_by(&owner).await?);
    Ok(())
}

#[cfg(test)]
mod suite {
    use super::*;
    use std::sync::Arc;

    async fn fresh() -> (Arc<dyn BlobStore>, tempfile::TempDir) {
        let dir = tempfile::tempdir().expect("a folder");
        (Arc::new(Folder(dir.path().to_owned())), dir)
    }

    beep_core::blob_store_suite!(fresh);

    #[test]
    fn main_runs() {
        main().expect("the example");
    }
}
